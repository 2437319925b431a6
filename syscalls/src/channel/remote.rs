//! Values from thread to thread: a channel whose ends may live anywhere.

mod receiver;
mod sender;

mod block;
mod core;

use std::sync::Arc;

use crate::channel::remote::core::{Shared, Ticket};

pub use receiver::{Receiver, Recv};
pub use sender::{Send, Sender};

/// A channel with room for `capacity` values (`usize::MAX`: without bound), whose ends may be sent to
/// other threads: for work that a thread does for a task, or the other way about.
///
/// Tasks await, threads block, and neither stops the scheduler: what would block its thread panics
/// instead. Those who wait are served in the order in which they came, tasks and threads alike.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let (sender, receiver) = trapline::channel::remote(8);
/// let thread = std::thread::spawn(move || sender.send_blocking("from a thread").unwrap());
/// assert_eq!(receiver.recv().await, Some("from a thread"));
/// # thread.join().unwrap();
/// # }).unwrap();
/// ```
///
/// A task that waits here waits for a waker that others hold, and so is shown without a line or a
/// label in the task table; what waits here is never reported as a deadlock, but as stalled.
///
/// # Panics
/// If `capacity` is 0.
///
/// # Cost
/// A lock an operation. Waking a task of another thread ends its scheduler's sleep.
///
/// # Kin
/// `std::sync::mpsc`, one end of which can be awaited; curio's `UniversalQueue`.
#[must_use]
pub fn remote<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a remote channel has room for a value");
    let shared = Arc::new(Shared::new(capacity));
    let sender = Sender { shared: Arc::clone(&shared) };
    (sender, Receiver { shared, line: Ticket::default(), has_rested: false })
}
