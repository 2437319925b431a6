//! Every value to every receiver.

mod receiver;
mod sender;

mod hub;

use std::panic::Location;
use std::rc::Rc;

use crate::channel::broadcast::hub::Hub;

pub use receiver::{Receiver, Recv, RecvError, TryRecvError};
pub use sender::{Send, Sender};

/// What becomes of a value when a receiver has yet to take one that is `capacity` values older.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Lag {
    /// The oldest is dropped, and a receiver that has not taken it is told how many it missed.
    #[default]
    Report,
    /// The oldest is dropped, and nobody is told.
    Skip,
    /// The sender waits for the slowest receiver; when the last one is gone, it has its value back.
    Wait,
}

/// A channel each of whose values goes to each receiver. The last `capacity` values are kept for
/// those who are slower; one who is slower still is told how many it missed.
///
/// A receiver gets what is sent after it was made: by this function, by
/// [`subscribe`](Sender::subscribe), or as a clone, which begins where the other one is.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let (sender, mut one) = trapline::channel::broadcast(8);
/// let mut two = sender.subscribe();
/// sender.send("news").await.unwrap();
/// assert_eq!(one.recv().await, Ok("news"));
/// assert_eq!(two.recv().await, Ok("news"));
/// # }).unwrap();
/// ```
///
/// # Panics
/// If `capacity` is 0.
///
/// # Cost
/// Two allocations, and one a value. A value wakes all who wait: O(waiters).
///
/// # Kin
/// tokio's `broadcast`.
#[must_use]
#[track_caller]
pub fn broadcast<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    broadcast_with(capacity, Lag::Report)
}

/// The same with another policy for receivers that lag behind.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::channel::{Lag, broadcast_with};
///
/// let (sender, mut receiver) = broadcast_with(1, Lag::Skip);
/// sender.send("old news").await.unwrap();
/// sender.send("news").await.unwrap();
/// assert_eq!(receiver.recv().await, Ok("news"));
/// # }).unwrap();
/// ```
///
/// # Panics
/// If `capacity` is 0.
#[must_use]
#[track_caller]
pub fn broadcast_with<T>(capacity: usize, lag: Lag) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a broadcast channel has room for a value");
    let hub = Rc::new(Hub::new(capacity, lag, Location::caller()));
    (Sender::new(Rc::clone(&hub)), Receiver::new(hub, 0))
}
