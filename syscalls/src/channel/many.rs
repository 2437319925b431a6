//! Several values at a time.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::channel::core::Core;
use crate::channel::receiver::Receiver;
use crate::pace::{Claim, spend};

impl<T> Receiver<T> {
    /// Waits for a value, and takes it and what else is there, `limit` values at most, in the order in
    /// which they were sent. It puts them at the end of `into`, and says how many there were: 0 at
    /// the end of the channel, or if `limit` is 0.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::channel(8);
    /// for number in 0..5 {
    ///     sender.send(number).await.unwrap();
    /// }
    /// let mut batch = Vec::new();
    /// assert_eq!(receiver.recv_many(&mut batch, 3).await, 3);
    /// assert_eq!(receiver.recv_many(&mut batch, 3).await, 2);
    /// assert_eq!(batch, [0, 1, 2, 3, 4]);
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// As [`recv`](Receiver::recv).
    ///
    /// # Cancel safety
    /// Safe: values are taken at the poll that tells of them; one that is dropped has taken nothing.
    ///
    /// # Cost
    /// As [`recv`](Receiver::recv); each value counts to the quantum.
    ///
    /// # Kin
    /// `readv(2)` from a pipe; tokio's `mpsc::Receiver::recv_many`.
    #[track_caller]
    pub fn recv_many<'a>(&'a self, into: &'a mut Vec<T>, limit: usize) -> RecvMany<'a, T> {
        self.leave_line();
        let item = Claim::at(&self.core.items, Location::caller());
        RecvMany { core: Some(&self.core), item, into, limit }
    }

    /// Takes what is there and nobody who waits was given, value by value, for as long as there is
    /// something.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::unbounded();
    /// (0..3).for_each(|number| sender.try_send(number).unwrap());
    /// assert!(receiver.try_iter().eq(0..3));
    /// ```
    ///
    /// # Cost
    /// No trap, O(1) a value.
    ///
    /// # Kin
    /// `std::sync::mpsc::Receiver::try_iter`; flume's `drain`.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { receiver: self }
    }
}

/// The future of [`Receiver::recv_many`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let (sender, receiver) = trapline::channel::channel(4);
/// for number in 0..3 {
///     sender.send(number).await.unwrap();
/// }
/// let mut batch = Vec::new();
/// let recv = receiver.recv_many(&mut batch, 10);
/// assert_eq!(recv.await, 3);
/// assert_eq!(batch, [0, 1, 2]);
/// # }).unwrap();
/// ```
#[must_use = "nothing is received until this is awaited"]
pub struct RecvMany<'a, T> {
    /// `None` when it has been ready.
    core: Option<&'a Core<T>>,
    item: Claim<'a>,
    into: &'a mut Vec<T>,
    limit: usize,
}

impl<T> Future for RecvMany<'_, T> {
    type Output = usize;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        let this = &mut *self;
        let core = this.core.expect("a recv_many was polled again after it was ready");
        if this.limit == 0 {
            return Poll::Ready(0);
        }
        let comes = ready!(this.item.poll(cx, || core.is_over()));
        this.core = None;
        if !comes {
            return Poll::Ready(0);
        }
        this.into.push(core.take());
        let mut count = 1;
        while count < this.limit
            && let Some(value) = core.try_receive()
        {
            this.into.push(value);
            spend();
            count += 1;
        }
        Poll::Ready(count)
    }
}

impl<T> fmt::Debug for RecvMany<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvMany")
            .field("channel", &self.core)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// The values that are in a channel. Made by [`Receiver::try_iter`].
///
/// ```
/// # use trapline_syscalls as trapline;
/// let (sender, receiver) = trapline::channel::channel(4);
/// sender.try_send(1).unwrap();
/// sender.try_send(2).unwrap();
/// assert_eq!(receiver.try_iter().collect::<Vec<u32>>(), [1, 2]);
/// ```
#[must_use = "nothing is taken until the iterator is asked"]
pub struct TryIter<'a, T> {
    receiver: &'a Receiver<T>,
}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}

impl<T> fmt::Debug for TryIter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TryIter").field(self.receiver).finish()
    }
}
