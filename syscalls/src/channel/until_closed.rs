//! Waiting for the end of a channel, from the side that sends.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::channel::core::Core;
use crate::channel::sender::Sender;
use crate::pace::Claim;

impl<T> Sender<T> {
    /// Waits until the channel is closed, or no receiver is left: then nobody needs another value.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::channel::<u32>(8);
    /// let producer = trapline::spawn(async move { sender.closed().await }).await;
    /// drop(receiver);
    /// producer.await.unwrap();
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If it has to wait outside a task, or while tasks of another scheduler wait for this.
    ///
    /// # Cancel safety
    /// Safe: it changes nothing.
    ///
    /// # Cost
    /// One trap, where the channel is open.
    ///
    /// # Kin
    /// `POLLERR` of the writing end of a pipe; tokio's `mpsc::Sender::closed`.
    #[track_caller]
    pub fn closed(&self) -> UntilClosed<'_, T> {
        UntilClosed { core: &self.core, wait: Claim::new(&self.core.end) }
    }
}

/// The future of [`Sender::closed`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let (sender, receiver) = trapline::channel::channel::<u32>(1);
/// let closed = sender.closed();
/// trapline::join(closed, async { drop(receiver) }).await;
/// assert!(sender.is_closed());
/// # }).unwrap();
/// ```
#[must_use = "nothing is waited for until this is awaited"]
pub struct UntilClosed<'a, T> {
    core: &'a Core<T>,
    wait: Claim<'a>,
}

impl<T> Future for UntilClosed<'_, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let core = self.core;
        self.wait.poll_over(cx, || core.is_closed())
    }
}

impl<T> fmt::Debug for UntilClosed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UntilClosed").field("channel", self.core).finish_non_exhaustive()
    }
}
