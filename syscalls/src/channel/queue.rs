//! Work to be done, in one of three orders.

mod job;
mod waits;

mod heap;
mod store;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;

use thiserror::Error;
use trapline_abi::WaitQueue;

use crate::channel::queue::heap::Heap;
use crate::channel::queue::store::Store;
use crate::channel::queues;
use crate::pace::{Claim, spend};
use crate::told::Thing;

pub use job::{GetJob, Job};
pub use waits::{Get, Join, Put};

/// A queue of work: some tasks put values in, others get them, and whoever wants may wait until all
/// that was put in has been dealt with.
///
/// It has no ends, and is never closed: share it by reference, or in an `Rc`.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::rc::Rc;
/// use trapline::channel::Queue;
///
/// let queue = Rc::new(Queue::fifo(8));
/// let work = Rc::clone(&queue);
/// let worker = trapline::spawn(async move {
///     loop {
///         let job: u32 = work.get().await;
///         // … what there is to do about it …
///         # let _ = job;
///         work.task_done().unwrap();
///     }
/// })
/// .await;
/// for job in 0..20 {
///     queue.put(job).await;
/// }
/// queue.join().await;
/// trapline::kill(worker.id()).await.unwrap();
/// # }).unwrap();
/// ```
///
/// # Kin
/// curio's `Queue`, `LifoQueue` and `PriorityQueue`; Python's `queue`.
pub struct Queue<T> {
    store: Store<T>,
    /// A token for each value that is not promised to a task which waited for it.
    items: WaitQueue,
    /// A token for each place that is neither filled nor promised.
    room: WaitQueue,
    /// Keeps no tokens: all who wait are woken when all is done.
    done: WaitQueue,
    capacity: usize,
    len: Cell<usize>,
    /// Values put in that nobody has called done.
    unfinished: Cell<usize>,
    thing: Thing,
}

/// Wakes the first who waits, also if what comes between panics.
struct WakeAtLast<'a>(&'a WaitQueue);

impl Drop for WakeAtLast<'_> {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// Something was called done that had not been put in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("more was called done than had been put in")]
pub struct NothingToDo;

impl<T> Queue<T> {
    /// A queue that gives what came first. It has room for `capacity` values; `usize::MAX` is
    /// without bound.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let queue = trapline::channel::Queue::fifo(8);
    /// queue.try_put(1).unwrap();
    /// queue.try_put(2).unwrap();
    /// assert_eq!(queue.try_get(), Some(1));
    /// ```
    ///
    /// # Panics
    /// If `capacity` is 0.
    #[must_use]
    #[track_caller]
    pub fn fifo(capacity: usize) -> Queue<T> {
        Queue::new(Store::Fifo(RefCell::default()), capacity)
    }

    /// A queue that gives what came last: a stack.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let stack = trapline::channel::Queue::lifo(8);
    /// stack.try_put(1).unwrap();
    /// stack.try_put(2).unwrap();
    /// assert_eq!(stack.try_get(), Some(2));
    /// ```
    ///
    /// # Panics
    /// If `capacity` is 0.
    #[must_use]
    #[track_caller]
    pub fn lifo(capacity: usize) -> Queue<T> {
        Queue::new(Store::Lifo(RefCell::default()), capacity)
    }

    /// A queue that gives the least, and of equal ones that which came first.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let queue = trapline::channel::Queue::priority(8);
    /// queue.put((2, "dessert")).await;
    /// queue.put((1, "soup")).await;
    /// assert_eq!(queue.get().await, (1, "soup"));
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If `capacity` is 0. Using the queue panics inside a comparison of its values; if a comparison
    /// panics, the order of the values is anybody's guess, but those in the queue stay there.
    #[must_use]
    #[track_caller]
    pub fn priority(capacity: usize) -> Queue<T>
    where
        T: Ord,
    {
        Queue::new(Store::Priority(Heap::new(|one, other| one < other)), capacity)
    }

    #[track_caller]
    fn new(store: Store<T>, capacity: usize) -> Queue<T> {
        let site = Location::caller();
        assert!(capacity > 0, "a queue has room for a value");
        Queue {
            store,
            items: queues::queue("a value of a queue", 0, site),
            room: queues::queue("room in a queue", capacity, site),
            done: queues::queue("a queue to be done with", 0, site),
            capacity,
            len: Cell::new(0),
            unfinished: Cell::new(0),
            thing: Thing::new("queue", site).of_capacity(capacity),
        }
    }

    /// Puts a value in, once there is room. Those who wait are served in the order in which they
    /// came.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::channel::Queue;
    ///
    /// let queue = Queue::fifo(1);
    /// let cook = async {
    ///     queue.put("soup").await;
    ///     // Waits until there is room again.
    ///     queue.put("dessert").await;
    /// };
    /// let guest = async { (queue.get().await, queue.get().await) };
    /// let ((), eaten) = trapline::join(cook, guest).await;
    /// assert_eq!(eaten, ("soup", "dessert"));
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If it has to wait outside a task; if it is polled again after it was ready.
    ///
    /// # Cancel safety
    /// Lossy: the value goes with the future, and is not in the queue.
    ///
    /// # Cost
    /// No trap where there is room; else one. O(log values) by priority, O(1) otherwise.
    #[track_caller]
    pub fn put(&self, value: T) -> Put<'_, T> {
        Put { queue: self, value: Some(value), room: Claim::new(&self.room) }
    }

    /// Puts a value in, if there is room.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let queue = trapline::channel::Queue::fifo(1);
    /// assert_eq!(queue.try_put(1), Ok(()));
    /// assert_eq!(queue.try_put(2), Err(2));
    /// ```
    ///
    /// # Errors
    /// The value, if there is none.
    pub fn try_put(&self, value: T) -> Result<(), T> {
        self.store.check_in();
        if !self.room.try_take() {
            return Err(value);
        }
        spend();
        self.keep(value);
        Ok(())
    }

    /// Waits for a value, and takes it. Those who wait are served in the order in which they came.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::channel::Queue;
    ///
    /// let queue = Queue::fifo(1);
    /// let (value, ()) = trapline::join(queue.get(), queue.put(7)).await;
    /// assert_eq!(value, 7);
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If it has to wait outside a task; if it is polled again after it was ready.
    ///
    /// # Cancel safety
    /// Safe: a future that is dropped has taken nothing.
    ///
    /// # Cost
    /// No trap where there is a value; else one. O(log values) by priority, O(1) otherwise.
    #[track_caller]
    pub fn get(&self) -> Get<'_, T> {
        Get { queue: Some(self), item: Claim::new(&self.items) }
    }

    /// Takes a value, if one is there that nobody who waits was given.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let queue = trapline::channel::Queue::fifo(1);
    /// assert_eq!(queue.try_get(), None);
    /// queue.try_put(7).unwrap();
    /// assert_eq!(queue.try_get(), Some(7));
    /// ```
    pub fn try_get(&self) -> Option<T> {
        self.store.check_in();
        if !self.items.try_take() {
            return None;
        }
        spend();
        Some(self.fetch())
    }

    /// Says that a value which was got has been dealt with.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let queue = trapline::channel::Queue::fifo(1);
    /// queue.try_put("work").unwrap();
    /// let _work = queue.try_get();
    /// assert!(queue.task_done().is_ok());
    /// // There was one value only.
    /// assert!(queue.task_done().is_err());
    /// ```
    ///
    /// # Errors
    /// [`NothingToDo`], if that was said of every value before.
    ///
    /// # Cost
    /// No trap; O(tasks that join) the last time.
    pub fn task_done(&self) -> Result<(), NothingToDo> {
        let left = self.unfinished.get().checked_sub(1).ok_or(NothingToDo)?;
        self.unfinished.set(left);
        if left == 0 {
            self.done.wake_all();
        }
        Ok(())
    }

    /// Waits until every value that was put in has been called done.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::rc::Rc;
    /// use trapline::channel::Queue;
    ///
    /// let queue = Rc::new(Queue::fifo(8));
    /// let jobs = Rc::clone(&queue);
    /// let worker = async move {
    ///     loop {
    ///         let job: u32 = jobs.get().await;
    ///         // One job makes another.
    ///         if job > 0 {
    ///             jobs.put(job - 1).await;
    ///         }
    ///         jobs.task_done().unwrap();
    ///     }
    /// };
    /// let worker = trapline::spawn(async move { worker.await }).await;
    /// queue.put(3).await;
    /// queue.join().await;
    /// worker.kill();
    /// assert_eq!(queue.unfinished(), 0);
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If it has to wait outside a task.
    ///
    /// # Cancel safety
    /// Safe: it changes nothing.
    ///
    /// # Cost
    /// No trap where all is done; else one.
    #[track_caller]
    pub fn join(&self) -> Join<'_> {
        Join { unfinished: &self.unfinished, done: Claim::new(&self.done) }
    }

    /// How many values are in it.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let queue = trapline::channel::Queue::fifo(8);
    /// queue.try_put(7).unwrap();
    /// assert_eq!((queue.len(), queue.is_empty(), queue.capacity()), (1, false, 8));
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.len.get()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// For how many it has room.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many values were put in that nobody has called done.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let queue = trapline::channel::Queue::fifo(8);
    /// queue.try_put(7).unwrap();
    /// let _job = queue.try_get();
    /// // It is out of the queue, and not done.
    /// assert_eq!((queue.len(), queue.unfinished()), (0, 1));
    /// ```
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.unfinished.get()
    }

    /// Keeps a value. The caller has a token of `room`.
    fn keep(&self, value: T) {
        self.unfinished.set(self.unfinished.get() + 1);
        self.len.set(self.len.get() + 1);
        self.thing.tell("count", || self.len());
        let _wake = WakeAtLast(&self.items);
        self.store.push(value);
    }

    /// Takes the value whose turn it is. The caller has a token of `items`.
    fn fetch(&self) -> T {
        // Where a comparison panics the value stays, and so does its token.
        let mut wake = WakeAtLast(&self.items);
        let value = self.store.pop();
        wake.0 = &self.room;
        self.len.set(self.len.get() - 1);
        self.thing.tell("count", || self.len());
        value.expect("a token of a queue stands for a value (one-token)")
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("order", &self.store.order())
            .field("len", &self.len())
            .field("capacity", &self.capacity)
            .field("unfinished", &self.unfinished())
            .finish()
    }
}
