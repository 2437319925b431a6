//! Wait queues: the queue itself lives in the ring and has acted already; the kernel only blocks
//! and resumes.

use trapline_abi::{CallId, CallInfo, On, Parked, QueueId, TaskId, Want};

use crate::kernel::{Fate, Kernel};

/// The call stands in its queue.
#[inline(always)]
pub(crate) fn parked(kernel: &mut Kernel, queue: QueueId, holder: Option<TaskId>) -> Fate {
    if let Some(holder) = holder {
        warn_of_ended_holder(kernel, kernel.ring.trap_at_hand().id, queue, holder);
    }
    Fate::Block(On::Queue(queue))
}

/// The call stands in its queue, unless it was given a token there before it was served.
#[inline(never)]
pub(crate) fn park(kernel: &mut Kernel, call: CallId, want: Want) -> Fate {
    match kernel.ring.park(call, want) {
        Parked::Blocked { holder } => {
            if let Some(holder) = holder {
                warn_of_ended_holder(kernel, call, want.queue(), holder);
            }
            Fate::Block(On::Queue(want.queue()))
        }
        Parked::Answered(reply) => Fate::Answer(reply),
        Parked::Gone => Fate::Gone,
    }
}

/// Who waits for what an ended task holds may wait for ever: its guard was leaked, or moved away.
#[inline]
fn warn_of_ended_holder(kernel: &mut Kernel, call: CallId, queue: QueueId, holder: TaskId) {
    if !kernel.is_live(holder) {
        warn_of(kernel, call, queue);
    }
}

#[cold]
#[inline(never)]
fn warn_of(kernel: &mut Kernel, call: CallId, queue: QueueId) {
    if kernel.ring.is_first_word_of(queue)
        && let Some(CallInfo { site, .. }) = kernel.ring.info(call)
    {
        kernel.warn("a task waits for a lock whose holder has ended", site);
    }
}

/// A wake has answered a call that was blocked, and there is more to do than to resume its task.
#[inline(never)]
pub(crate) fn granted(kernel: &mut Kernel, call: CallId) {
    if let Some((reply, booking)) = kernel.ring.granted(call) {
        kernel.resume_answered(call, reply, booking);
    }
}
