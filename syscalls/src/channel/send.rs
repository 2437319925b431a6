//! Sending a value.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use trapline_abi::{Parking, WaitQueue};

use crate::channel::core::Core;
use crate::channel::error::SendError;
use crate::pace::Claim;

/// The future of [`Sender::send`](crate::channel::Sender::send).
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
///
/// let (sender, receiver) = trapline::channel::channel(1);
/// sender.send(1).await.unwrap();
/// let send = sender.send(2);
/// assert!(trapline::timeout(Duration::from_secs(1), send).await.is_err());
/// assert_eq!((receiver.len(), receiver.recv().await), (1, Some(1)));
/// # }).unwrap();
/// ```
#[must_use = "nothing is sent until this is awaited"]
pub struct Send<'a, T> {
    core: &'a Core<T>,
    /// The value, until it is in the channel.
    value: Option<T>,
    room: Claim<'a>,
    offer: Offer,
}

/// Whether the value lies in a rendezvous, and the place is ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Offer {
    No,
    Lies,
    /// The receiver came, or the channel was closed.
    Over,
}

impl<T> Unpin for Send<'_, T> {}

impl<'a, T> Send<'a, T> {
    #[track_caller]
    #[inline]
    pub(crate) fn new(core: &'a Core<T>, value: T) -> Send<'a, T> {
        Send::at(core, value, Location::caller())
    }

    /// The same for whoever stands at `site`.
    #[inline]
    pub(crate) fn at(core: &'a Core<T>, value: T, site: &'static Location<'static>) -> Send<'a, T> {
        Send { core, value: Some(value), room: Claim::at(&core.room, site), offer: Offer::No }
    }

    /// Lays the value down for a receiver, and waits until one has taken it.
    #[cold]
    #[inline(never)]
    fn poll_rendezvous(
        &mut self,
        taken: &WaitQueue,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<T>>> {
        assert!(self.offer != Offer::Over, "a send was polled again after it was ready");
        let site = self.room.site();
        let wait = self.room.wait();
        if self.offer == Offer::No {
            // From here on the place is given up when this is dropped, also if it cannot wait here.
            self.offer = Offer::Lies;
            *wait = Parking::new(1, site);
            let submitted = wait.poll(taken, cx);
            debug_assert!(submitted.is_pending(), "a trap suspends at its first poll");
            self.value.take().into_iter().for_each(|value| self.core.put(value));
            return Poll::Pending;
        }
        ready!(wait.poll(taken, cx));
        self.offer = Offer::Over;
        // Woken by the end of the channel, it may have its value back.
        let back = if self.core.is_closed() { self.core.take_back() } else { None };
        self.core.free_place();
        Poll::Ready(back.map_or(Ok(()), |value| Err(SendError(value))))
    }

    /// Takes the value out of a rendezvous, where it lies still.
    #[cold]
    #[inline(never)]
    fn leave(&mut self) {
        // The word that had come for it stays in the queue: nobody else is there.
        *self.room.wait() = Parking::idle();
        let told = self.core.taken.as_ref().is_some_and(WaitQueue::try_take);
        let back = self.core.take_back();
        // Where a receiver has been promised the value, it frees the place.
        if told || self.core.len() == 0 {
            self.core.free_place();
        }
        drop(back);
    }
}

impl<T> Future for Send<'_, T> {
    type Output = Result<(), SendError<T>>;

    // As for `Recv`.
    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let core = this.core;
        if let (Some(taken), Offer::Lies | Offer::Over) = (&core.taken, this.offer) {
            return this.poll_rendezvous(taken, cx);
        }
        assert!(this.value.is_some(), "a send was polled again after it was ready");
        let open = ready!(this.room.poll(cx, || core.is_closed()));
        if let (true, Some(taken)) = (open, &core.taken) {
            return this.poll_rendezvous(taken, cx);
        }
        let value = this.value.take().expect("it was there above");
        if !open {
            return Poll::Ready(Err(SendError(value)));
        }
        core.put(value);
        Poll::Ready(Ok(()))
    }
}

impl<T> Drop for Send<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.offer == Offer::Lies {
            self.leave();
        }
    }
}

impl<T> fmt::Debug for Send<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Send")
            .field("channel", self.core)
            .field("offered", &(self.offer != Offer::No))
            .finish_non_exhaustive()
    }
}
