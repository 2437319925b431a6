//! Readiness of descriptors.

use trapline_abi::{CallId, Direction, SourceId, Target};

use crate::kernel::{Fate, Kernel};
use crate::sources::Answers;

#[inline(never)]
pub(crate) fn wait(
    kernel: &mut Kernel,
    call: CallId,
    target: Target,
    direction: Direction,
) -> Fate {
    let mut answers = Answers::new();
    let Kernel { sources, ring, driver, .. } = kernel;
    let fate = sources.wait(ring, &mut **driver, call, (target, direction), &mut answers);
    // Blocked before the others are told: a waker of theirs may drop this very call.
    if let Fate::Block(on) = fate {
        kernel.ring.block(call, on);
    }
    kernel.answer_all(answers);
    fate
}

#[inline(never)]
pub(crate) fn close(kernel: &mut Kernel, source: SourceId) {
    let mut answers = Answers::new();
    kernel.sources.close_owned(&kernel.ring, source, &mut answers);
    kernel.answer_all(answers);
}
