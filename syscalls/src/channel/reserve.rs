//! Room for a value that is yet to come.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::channel::core::Core;
use crate::channel::error::{Closed, SendError};
use crate::pace::Claim;

/// The future of [`Sender::reserve`](crate::channel::Sender::reserve).
#[must_use = "nothing is reserved until this is awaited"]
pub struct Reserve<'a, T> {
    core: &'a Core<T>,
    room: Claim<'a>,
}

impl<'a, T> Reserve<'a, T> {
    #[track_caller]
    pub(crate) fn new(core: &'a Core<T>) -> Reserve<'a, T> {
        Reserve::at(core, Location::caller())
    }

    /// The same for whoever stands at `site`.
    pub(crate) fn at(core: &'a Core<T>, site: &'static Location<'static>) -> Reserve<'a, T> {
        Reserve { core, room: Claim::at(&core.room, site) }
    }
}

impl<'a, T> Future for Reserve<'a, T> {
    type Output = Result<Permit<'a, T>, Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let core = self.core;
        let polled = self.room.poll(cx, || core.is_closed());
        polled.map(|open| if open { Ok(Permit::new(core)) } else { Err(Closed) })
    }
}

impl<T> fmt::Debug for Reserve<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserve").field("channel", self.core).finish_non_exhaustive()
    }
}

/// Room in a channel for one value. Dropped unused, it goes to the next who waits.
#[must_use = "the room is kept from others until a value is sent or this is dropped"]
pub struct Permit<'a, T> {
    core: &'a Core<T>,
    used: bool,
}

impl<'a, T> Permit<'a, T> {
    pub(crate) fn new(core: &'a Core<T>) -> Permit<'a, T> {
        Permit { core, used: false }
    }

    /// Sends a value. At a rendezvous it lies there until a receiver comes.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::channel(1);
    /// let permit = sender.try_reserve().unwrap();
    /// // The room is kept for it.
    /// assert!(sender.try_send(1).is_err());
    /// permit.send(2).unwrap();
    /// assert_eq!(receiver.try_recv(), Ok(2));
    /// ```
    ///
    /// # Errors
    /// [`SendError`] with the value, if the channel has been closed.
    ///
    /// # Cost
    /// No trap, O(1).
    pub fn send(mut self, value: T) -> Result<(), SendError<T>> {
        if self.core.is_closed() {
            return Err(SendError(value));
        }
        self.used = true;
        self.core.put(value);
        Ok(())
    }
}

impl<T> Permit<'_, T> {
    /// Leaves the room to whoever keeps it by other means.
    pub(crate) fn keep(mut self) {
        self.used = true;
    }
}

impl<T> Drop for Permit<'_, T> {
    fn drop(&mut self) {
        if !self.used {
            self.core.free_place();
        }
    }
}

impl<T> fmt::Debug for Permit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("channel", self.core).finish()
    }
}
