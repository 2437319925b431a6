//! A wait for a queue that owns what the queue lies in.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::call::{Reply, Syscall};
use crate::ring::Ring;
use crate::trap::Trap;
use crate::wait_queue::{QueueId, WaitQueue};

/// A [`park`](WaitQueue::park) that keeps the queue alive by itself: for futures of the library that
/// share with others what they wait for, and cannot borrow from themselves.
#[must_use = "a system call does nothing until it is awaited"]
pub struct ParkOn<Q> {
    // Dropped first: the call leaves the queue before the queue may go.
    trap: Trap,
    asked: QueueId,
    queue: fn(&Q) -> &WaitQueue,
    holder: Q,
}

impl<Q> ParkOn<Q> {
    /// A wait for the queue that `queue` finds in `holder`, made at `site`.
    pub fn new(
        holder: Q,
        queue: fn(&Q) -> &WaitQueue,
        site: &'static Location<'static>,
    ) -> ParkOn<Q> {
        // The request is completed when the queue is bound, at the first poll.
        let asked = QueueId::unknown();
        ParkOn { trap: Trap::new(Syscall::Park(asked), site), asked, queue, holder }
    }
}

impl<Q: Unpin> Future for ParkOn<Q> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.trap.is_unborn() {
            let ring = Ring::of_running_task();
            this.asked = (this.queue)(&this.holder).bind(ring);
            if let Some(call) = this.trap.submit_request(Syscall::Park(this.asked), cx) {
                ring.enqueue(this.asked, call);
            }
            return Poll::Pending;
        }
        let ring = this.trap.ring();
        let Poll::Ready(reply) = this.trap.poll_reply(cx) else { return Poll::Pending };
        if let (Reply::Token, Some(ring)) = (reply, ring) {
            ring.token_taken(this.asked);
        }
        Poll::Ready(())
    }
}

impl<Q> fmt::Debug for ParkOn<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParkOn").field("asked", &self.asked).finish_non_exhaustive()
    }
}
