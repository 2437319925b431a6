//! Wait queues: the queue itself lives in the ring and has acted already; the kernel only blocks
//! and resumes.

use trapline_abi::{CallId, CallInfo, CallState, On, QueueId};

use crate::kernel::{Fate, Kernel};
use crate::probe::Event;

/// The call stands in its queue since it was submitted, unless it was given a token there.
#[inline(never)]
pub(crate) fn park(kernel: &mut Kernel, call: CallId, queue: QueueId) -> Fate {
    match kernel.ring.block_parked(call, queue) {
        Some(CallState::Answered(reply)) => Fate::Answer(reply),
        Some(_) => {
            warn_of_ended_holder(kernel, call, queue);
            Fate::Block(On::Queue(queue))
        }
        None => Fate::Gone,
    }
}

/// Who waits for what an ended task holds may wait for ever: its guard was leaked, or moved away.
#[inline]
fn warn_of_ended_holder(kernel: &mut Kernel, call: CallId, queue: QueueId) {
    let Some(holder) = kernel.ring.sole_holder_of(queue) else { return };
    if kernel.is_live(holder) || !kernel.ring.is_first_word_of(queue) {
        return;
    }
    if let Some(CallInfo { site, .. }) = kernel.ring.info(call) {
        kernel.warn("a task waits for a lock whose holder has ended", site);
    }
}

/// A wake has answered a call that was blocked.
#[inline(never)]
pub(crate) fn granted(kernel: &mut Kernel, call: CallId) {
    let Some((reply, booking)) = kernel.ring.granted(call) else { return };
    if kernel.probe.is_some() {
        let (task, by) = (booking.task, kernel.cause);
        kernel.tell(&Event::Answered { task, call, reply, by });
    }
    kernel.resume_booked(booking);
}
