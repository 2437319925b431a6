//! The event: something has happened, for all who ask.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use trapline_abi::WaitQueue;

use crate::sync::acquire::ParkOnce;

/// A flag that tasks wait for.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::rc::Rc;
/// use trapline::sync::Event;
///
/// let ready = Rc::new(Event::new().named("ready"));
/// let theirs = Rc::clone(&ready);
/// let child = trapline::spawn(async move { theirs.wait().await }).await;
/// ready.set();
/// child.await.unwrap();
/// ready.wait().await;
/// # }).unwrap();
/// ```
///
/// # Kin
/// `eventfd(2)`; curio's, trio's and Python's `Event`.
#[doc(alias = "Notify")]
pub struct Event {
    queue: WaitQueue,
    set: Cell<bool>,
}

impl Event {
    /// An event that has not happened.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// assert!(!trapline::sync::Event::new().is_set());
    /// ```
    #[must_use]
    #[track_caller]
    pub const fn new() -> Event {
        Event { queue: WaitQueue::signal("event"), set: Cell::new(false) }
    }

    /// Names it, for the task table and reports.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let event = trapline::sync::Event::new().named("the cache is warm");
    /// assert!(!event.is_set());
    /// ```
    #[must_use]
    pub fn named(self, name: impl Into<Rc<str>>) -> Event {
        self.queue.set_name(name);
        self
    }

    /// It has happened: wakes all who wait, in the order in which they came, also if it is cleared
    /// before they run.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::sync::Event;
    ///
    /// let event = Event::new();
    /// trapline::join(event.wait(), async { event.set() }).await;
    /// assert!(event.is_set());
    /// # }).unwrap();
    /// ```
    ///
    /// # Cost
    /// No trap; O(waiters).
    pub fn set(&self) {
        self.set.set(true);
        self.queue.tell("set", || 1);
        self.queue.wake_all();
    }

    /// It has not happened: who comes from now on waits.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let event = trapline::sync::Event::new();
    /// event.set();
    /// event.clear();
    /// assert!(!event.is_set());
    /// ```
    pub fn clear(&self) {
        self.set.set(false);
        self.queue.tell("set", || 0);
    }

    /// Whether it has happened.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let event = trapline::sync::Event::new();
    /// assert!(!event.is_set());
    /// event.set();
    /// assert!(event.is_set());
    /// ```
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.set.get()
    }

    /// Waits until it has happened. Goes on at once if it has.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::rc::Rc;
    /// use trapline::sync::Event;
    ///
    /// let event = Rc::new(Event::new());
    /// let there = Rc::clone(&event);
    /// let waiter = trapline::spawn(async move { there.wait().await });
    /// let waiter = waiter.await;
    /// event.set();
    /// waiter.await.unwrap();
    /// // It stays set: this does not wait.
    /// event.wait().await;
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If it has to wait outside a task, or while tasks of another scheduler wait for it.
    ///
    /// # Cancel safety
    /// Safe: it changes nothing.
    ///
    /// # Cost
    /// A few instructions if the event is set; else one trap. The first wait allocates.
    #[track_caller]
    pub fn wait(&self) -> EventWait<'_> {
        EventWait { event: self, park: ParkOnce::new(Location::caller()) }
    }
}

impl Default for Event {
    #[track_caller]
    fn default() -> Event {
        Event::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("set", &self.set.get()).field("queue", &self.queue).finish()
    }
}

/// The future of [`Event::wait`].
#[derive(Debug)]
#[must_use = "it does not wait until it is awaited"]
pub struct EventWait<'a> {
    event: &'a Event,
    park: ParkOnce,
}

impl Future for EventWait<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let event = self.event;
        ready!(self.park.poll(&event.queue, cx, || event.is_set()));
        Poll::Ready(())
    }
}
