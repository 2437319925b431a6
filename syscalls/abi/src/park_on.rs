//! A wait for a queue that owns what the queue lies in.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::wait_queue::{Parking, WaitQueue};

/// A [`park`](WaitQueue::park) that keeps the queue alive by itself: for futures of the library that
/// share with others what they wait for, and cannot borrow from themselves.
#[must_use = "a system call does nothing until it is awaited"]
pub struct ParkOn<Q> {
    // Dropped first: the call leaves the queue before the queue may go.
    parking: Parking,
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
        ParkOn { parking: Parking::new(1, site), queue, holder }
    }
}

impl<Q: Unpin> Future for ParkOn<Q> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.parking.poll((this.queue)(&this.holder), cx).map(drop)
    }
}

impl<Q> fmt::Debug for ParkOn<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParkOn").field("parking", &self.parking).finish_non_exhaustive()
    }
}
