//! Readiness of descriptors.

use trapline_abi::{Direction, SourceId, Target};

use crate::kernel::{Fate, Kernel};
use crate::sources::Answers;

#[inline(never)]
pub(crate) fn wait(kernel: &mut Kernel, target: Target, direction: Direction) -> Fate {
    let mut answers = Answers::new();
    let Kernel { sources, ring, driver, .. } = kernel;
    let fate = sources.wait(ring, &mut **driver, (target, direction), &mut answers);
    // It is blocked before the others are told: a waker of theirs may drop this very call.
    kernel.answer_all(answers);
    fate
}

#[inline(never)]
pub(crate) fn close(kernel: &mut Kernel, source: SourceId) {
    let mut answers = Answers::new();
    kernel.sources.close_owned(&kernel.ring, source, &mut answers);
    kernel.answer_all(answers);
}
