//! Channels: values from task to task, in order.
//!
//! | | senders | receivers | what a receiver gets |
//! |---|---|---|---|
//! | [`channel()`], [`unbounded`], [`rendezvous`] | many | many | each value goes to one of them |
//! | [`oneshot()`] | one | one | one value |
//! | [`broadcast()`] | many | many | each value goes to all of them |
//! | [`watch()`] | many | many | the latest value |
//! | [`remote()`] | many, in any thread | many, in any thread | each value goes to one of them |
//!
//! A [`Queue`] has no ends, three orders, and tells when all that was put in has been done.
//!
//! All but `remote` are for the tasks of one thread.
//!
//! ```
//! # let mut scheduler = trapline_scheduler::Scheduler::new();
//! # scheduler.block_on(async { use trapline_syscalls as trapline;
//! let (sender, receiver) = trapline::channel::channel(2);
//! trapline::spawn_detached(async move {
//!     for word in ["one", "after", "the", "other"] {
//!         sender.send(word).await.unwrap();
//!     }
//! });
//! let mut words = Vec::new();
//! while let Some(word) = receiver.recv().await {
//!     words.push(word);
//! }
//! assert_eq!(words.join(" "), "one after the other");
//! # }).unwrap();
//! ```

mod receiver;
mod sender;

pub mod broadcast;
pub mod oneshot;
pub mod remote;
pub mod watch;

mod queue;

mod many;
mod reserve;
mod send;
mod until_closed;

mod sink;
mod stream;

mod error;

mod core;
pub(crate) mod queues;

use std::panic::Location;
use std::rc::Rc;

use crate::channel::core::Core;

#[doc(inline)]
pub use broadcast::{Lag, broadcast, broadcast_with};
#[doc(inline)]
pub use oneshot::oneshot;
pub use queue::{Get, GetJob, Job, Join, NothingToDo, Put, Queue};
#[doc(inline)]
pub use remote::remote;
#[doc(inline)]
pub use watch::watch;

pub use error::{Closed, SendError, TryRecvError, TrySendError};
pub use many::{RecvMany, TryIter};
pub use receiver::{Receiver, Recv};
pub use reserve::{Permit, Reserve};
pub use send::Send;
pub use sender::Sender;
pub use until_closed::UntilClosed;

/// A channel with room for `capacity` values. Senders wait where there is none.
///
/// Any number of tasks may send, and any number receive; clone the ends. A capacity of 0 makes a
/// [`rendezvous`], one of `usize::MAX` an [`unbounded`] channel.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let (sender, receiver) = trapline::channel::channel(1);
/// sender.send(1).await.unwrap();
/// assert!(sender.try_send(2).unwrap_err().is_full());
/// assert_eq!(receiver.recv().await, Some(1));
/// # }).unwrap();
/// ```
///
/// # Cost
/// Two allocations; none a value. Where nobody has to wait, no operation traps. A value sent to a
/// receiver that waits costs one post, and the receiver one trap.
///
/// # Kin
/// `pipe(2)`; tokio's `mpsc`, trio's `open_memory_channel`.
#[doc(alias("bounded", "mpsc", "open_memory_channel"))]
#[must_use]
#[track_caller]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    channel_at(capacity, Location::caller())
}

/// The same for whoever stands at `site`.
pub(crate) fn channel_at<T>(
    capacity: usize,
    site: &'static Location<'static>,
) -> (Sender<T>, Receiver<T>) {
    let core = Rc::new(Core::new(capacity, site));
    (Sender::new(Rc::clone(&core)), Receiver::new(core))
}

/// A channel with room for any number of values: senders never wait.
///
/// ```
/// # use trapline_syscalls as trapline;
/// // What need not wait works outside a task, too.
/// let (sender, receiver) = trapline::channel::unbounded();
/// for number in 0..1000 {
///     sender.try_send(number).unwrap();
/// }
/// assert_eq!((receiver.len(), receiver.try_recv()), (1000, Ok(0)));
/// ```
///
/// # Kin
/// tokio's `mpsc::unbounded_channel`.
#[must_use]
#[track_caller]
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    channel(usize::MAX)
}

/// A channel without room: a value passes from hand to hand, and a send is complete when a receiver
/// has taken it.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let (sender, receiver) = trapline::channel::rendezvous();
/// let receiving = trapline::spawn(async move { receiver.recv().await }).await;
/// sender.send("from hand to hand").await.unwrap();
/// assert_eq!(receiving.await.unwrap(), Some("from hand to hand"));
/// # }).unwrap();
/// ```
///
/// # Kin
/// Go's unbuffered channels; Ada's rendezvous; trio's `open_memory_channel(0)`.
#[must_use]
#[track_caller]
pub fn rendezvous<T>() -> (Sender<T>, Receiver<T>) {
    channel(0)
}
