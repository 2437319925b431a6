//! Why a channel did not do what it was asked. What was to be sent comes back in the error.

use std::error::Error;
use std::fmt;

use thiserror::Error;

/// The channel is closed. Here is the value back.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::channel::{SendError, channel};
///
/// let (sender, receiver) = channel(1);
/// drop(receiver);
/// let Err(SendError(back)) = sender.send("unread").await else { unreachable!("nobody reads") };
/// assert_eq!(back, "unread");
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

impl<T> SendError<T> {
    /// The value.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::oneshot();
    /// drop(receiver);
    /// assert_eq!(sender.send("unread").unwrap_err().into_inner(), "unread");
    /// ```
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody can receive it any more")
    }
}

impl<T> Error for SendError<T> {}

/// Why a value could not be sent at once. Here it is back.
///
/// ```
/// # use trapline_syscalls as trapline;
/// use trapline::channel::{TrySendError, channel};
///
/// let (sender, _receiver) = channel(1);
/// sender.try_send(1).unwrap();
/// match sender.try_send(2) {
///     Err(TrySendError::Full(later)) => assert_eq!(later, 2),
///     Err(TrySendError::Closed(_)) | Ok(()) => unreachable!("it is full, and open"),
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// There is no room now; at a rendezvous, no receiver waits.
    Full(T),
    /// The channel is closed.
    Closed(T),
}

impl<T> TrySendError<T> {
    /// The value.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::channel(1);
    /// drop(receiver);
    /// assert_eq!(sender.try_send("unread").unwrap_err().into_inner(), "unread");
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            TrySendError::Full(value) | TrySendError::Closed(value) => value,
        }
    }

    /// Whether there may be room later.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::channel(1);
    /// sender.try_send(1).unwrap();
    /// assert!(sender.try_send(2).unwrap_err().is_full());
    /// drop(receiver);
    /// assert!(!sender.try_send(3).unwrap_err().is_full());
    /// ```
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, TrySendError::Full(_))
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "Full(..)",
            TrySendError::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "there is no room for it now",
            TrySendError::Closed(_) => "nobody can receive it any more",
        })
    }
}

impl<T> Error for TrySendError<T> {}

/// Why nothing could be received at once.
///
/// ```
/// # use trapline_syscalls as trapline;
/// use trapline::channel::{TryRecvError, channel};
///
/// let (sender, receiver) = channel::<u32>(1);
/// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
/// drop(sender);
/// assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum TryRecvError {
    /// There is nothing now.
    #[error("there is nothing to receive now")]
    Empty,
    /// Nothing will ever come any more.
    #[error("nothing will come any more")]
    Closed,
}

/// The other end is gone, or the channel was closed.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::channel::{Closed, watch};
///
/// let (sender, mut receiver) = watch(1);
/// drop(sender);
/// assert_eq!(receiver.changed().await, Err(Closed));
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the channel is closed")]
pub struct Closed;
