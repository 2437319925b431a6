//! The condition variable: wait, with a mutex let go of, until somebody says that something changed.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use trapline_abi::{Parking, WaitQueue, Woken};

use crate::sync::acquire::{TakeTokens, polled_after_ready};
use crate::sync::mutex::{Mutex, MutexGuard};

/// Where tasks wait for a change of what a [`Mutex`] guards.
///
/// Waiters are woken in the order in which they came. A notification with nobody waiting is nothing.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::rc::Rc;
/// use trapline::sync::{Condvar, Mutex};
///
/// let shared = Rc::new((Mutex::new(Vec::new()), Condvar::new().named("news")));
/// let theirs = Rc::clone(&shared);
/// let reader = trapline::spawn(async move {
///     let (letters, news) = &*theirs;
///     let guard = letters.lock().await;
///     let mut letters = news.wait_while(guard, |letters| letters.is_empty()).await;
///     letters.pop()
/// })
/// .await;
/// trapline::yield_now().await;
/// let (letters, news) = &*shared;
/// letters.lock().await.push("a letter");
/// news.notify_one();
/// assert_eq!(reader.await.unwrap(), Some("a letter"));
/// # }).unwrap();
/// ```
///
/// # Kin
/// `pthread_cond_t`; curio's and trio's `Condition`.
pub struct Condvar {
    queue: WaitQueue,
}

impl Condvar {
    /// A condition that nobody waits for.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use trapline::sync::Condvar;
    ///
    /// let condition = Condvar::new();
    /// // Nobody waits, so nobody is told, and nothing is kept.
    /// condition.notify_one();
    /// ```
    #[must_use]
    #[track_caller]
    pub const fn new() -> Condvar {
        Condvar { queue: WaitQueue::signal("condition") }
    }

    /// Names it, for the task table and reports.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let condition = trapline::sync::Condvar::new().named("not empty");
    /// condition.notify_all();
    /// ```
    #[must_use]
    pub fn named(self, name: impl Into<Rc<str>>) -> Condvar {
        self.queue.set_name(name);
        self
    }

    /// Lets go of the mutex, waits to be notified, and takes the mutex again.
    ///
    /// The place in the queue is taken before the mutex is let go of, so no notification is missed in
    /// between. When the mutex is had again, others may have had it before: test again what was waited
    /// for, or use [`wait_while`](Condvar::wait_while).
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::rc::Rc;
    /// use trapline::sync::{Condvar, Mutex};
    ///
    /// let shared = Rc::new((Mutex::new(false), Condvar::new()));
    /// let there = Rc::clone(&shared);
    /// let waiter = trapline::spawn(async move {
    ///     let mut is_open = there.0.lock().await;
    ///     while !*is_open {
    ///         is_open = there.1.wait(is_open).await;
    ///     }
    /// });
    /// let waiter = waiter.await;
    /// *shared.0.lock().await = true;
    /// shared.1.notify_one();
    /// waiter.await.unwrap();
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If it is polled outside a task, or while tasks of another scheduler wait for the condition.
    ///
    /// # Cancel safety
    /// Safe for the others: a wait that is dropped passes on the notification it had, also while it
    /// waited for the mutex. The guard is gone with it, whenever that is: whoever needs
    /// the mutex then locks it anew.
    ///
    /// # Cost
    /// One trap, and one more if the mutex is not free then. The first wait allocates.
    ///
    /// # Kin
    /// `pthread_cond_wait(3)`.
    #[track_caller]
    pub fn wait<'a, T>(&'a self, guard: MutexGuard<'a, T>) -> CondvarWait<'a, T> {
        CondvarWait::new(self, guard, Location::caller())
    }

    /// Waits, as often as it takes, until `condition` is false. It is asked with the mutex held, the
    /// first time at once.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::rc::Rc;
    /// use trapline::sync::{Condvar, Mutex};
    ///
    /// let shared = Rc::new((Mutex::new(0), Condvar::new()));
    /// let there = Rc::clone(&shared);
    /// let waiter = trapline::spawn(async move {
    ///     let count = there.0.lock().await;
    ///     *there.1.wait_while(count, |count| *count < 2).await
    /// });
    /// let waiter = waiter.await;
    /// for _ in 0..2 {
    ///     *shared.0.lock().await += 1;
    ///     shared.1.notify_one();
    /// }
    /// assert_eq!(waiter.await.unwrap(), 2);
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// As [`wait`](Condvar::wait); with what `condition` panics with, and then the notification that
    /// it was asked for goes to the next who waits.
    ///
    /// # Cancel safety
    /// As [`wait`](Condvar::wait).
    ///
    /// # Cost
    /// None if the condition is false at once; else as [`wait`](Condvar::wait), each time.
    #[track_caller]
    pub fn wait_while<'a, T, F: FnMut(&mut T) -> bool>(
        &'a self,
        guard: MutexGuard<'a, T>,
        condition: F,
    ) -> WaitWhile<'a, T, F> {
        let site = Location::caller();
        WaitWhile { condvar: self, state: While::Tests(Some(guard)), condition, site }
    }

    /// Wakes the one who has waited longest, if anybody waits.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::rc::Rc;
    /// use trapline::sync::{Condvar, Mutex};
    ///
    /// let shared = Rc::new((Mutex::new(()), Condvar::new()));
    /// let mut waiters = Vec::new();
    /// for number in 1..=2 {
    ///     let there = Rc::clone(&shared);
    ///     let waiter = async move {
    ///         there.1.wait(there.0.lock().await).await;
    ///         number
    ///     };
    ///     waiters.push(trapline::spawn(waiter).await);
    /// }
    /// trapline::yield_now().await;
    /// shared.1.notify_one();
    /// // The first to come is the first to be told.
    /// assert_eq!(trapline::race_all(waiters).await.unwrap(), 1);
    /// # }).unwrap();
    /// ```
    ///
    /// # Cost
    /// No trap, O(1).
    ///
    /// # Kin
    /// `pthread_cond_signal(3)`.
    pub fn notify_one(&self) {
        self.queue.wake();
    }

    /// Wakes all who wait now, in the order in which they came.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::rc::Rc;
    /// use trapline::sync::{Condvar, Mutex};
    ///
    /// let shared = Rc::new((Mutex::new(()), Condvar::new()));
    /// let mut waiters = Vec::new();
    /// for _ in 0..2 {
    ///     let there = Rc::clone(&shared);
    ///     let waiter = async move {
    ///         there.1.wait(there.0.lock().await).await;
    ///     };
    ///     waiters.push(trapline::spawn(waiter).await);
    /// }
    /// trapline::yield_now().await;
    /// shared.1.notify_all();
    /// let ended = trapline::join_all(waiters).await;
    /// assert!(ended.iter().all(Result::is_ok));
    /// # }).unwrap();
    /// ```
    ///
    /// # Cost
    /// No trap; O(waiters).
    ///
    /// # Kin
    /// `pthread_cond_broadcast(3)`.
    pub fn notify_all(&self) {
        self.queue.wake_all();
    }
}

impl Default for Condvar {
    #[track_caller]
    fn default() -> Condvar {
        Condvar::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").field("queue", &self.queue).finish()
    }
}

/// The future of [`Condvar::wait`].
#[must_use = "it does not wait until it is awaited"]
pub struct CondvarWait<'a, T> {
    condvar: &'a Condvar,
    mutex: &'a Mutex<T>,
    site: &'static Location<'static>,
    phase: Phase<'a, T>,
}

enum Phase<'a, T> {
    /// Not yet polled.
    Holds(#[expect(dead_code, reason = "kept until the place is taken")] MutexGuard<'a, T>),
    Parked(Parking),
    /// Woken so, and waits for the mutex.
    Locks(TakeTokens, Woken),
    /// Woken so, and has the mutex.
    Done(Woken),
}

impl<'a, T> CondvarWait<'a, T> {
    fn new(
        condvar: &'a Condvar,
        guard: MutexGuard<'a, T>,
        site: &'static Location<'static>,
    ) -> CondvarWait<'a, T> {
        let mutex = MutexGuard::mutex(&guard);
        CondvarWait { condvar, mutex, site, phase: Phase::Holds(guard) }
    }
}

impl<'a, T> Future for CondvarWait<'a, T> {
    type Output = MutexGuard<'a, T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<MutexGuard<'a, T>> {
        let CondvarWait { condvar, mutex, site, phase } = &mut *self;
        if let Phase::Holds(_) = phase {
            // The guard goes when the place in the queue has been taken.
            let mut parking = Parking::new(1, site);
            let parked = parking.poll(&condvar.queue, cx);
            debug_assert!(parked.is_pending(), "a trap suspends at its first poll");
            *phase = Phase::Parked(parking);
            return Poll::Pending;
        }
        if let Phase::Parked(parking) = phase {
            let woken = ready!(parking.poll(&condvar.queue, cx));
            *phase = Phase::Locks(TakeTokens::rested(1, site), woken);
        }
        let Phase::Locks(take, woken) = phase else { polled_after_ready() };
        ready!(take.poll(mutex.queue(), cx));
        *phase = Phase::Done(*woken);
        Poll::Ready(mutex.guard(site))
    }
}

impl<T> Drop for CondvarWait<'_, T> {
    fn drop(&mut self) {
        // It was woken for something that it will not see to.
        if let Phase::Locks(_, Woken::Granted) = self.phase {
            self.condvar.notify_one();
        }
    }
}

impl<T> fmt::Debug for CondvarWait<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match self.phase {
            Phase::Holds(_) => "holds the mutex",
            Phase::Parked(_) => "waits",
            Phase::Locks(..) => "waits for the mutex",
            Phase::Done(_) => "done",
        };
        f.debug_struct("CondvarWait").field("phase", &phase).finish_non_exhaustive()
    }
}

/// The future of [`Condvar::wait_while`].
#[must_use = "it does not wait until it is awaited"]
pub struct WaitWhile<'a, T, F> {
    condvar: &'a Condvar,
    state: While<'a, T>,
    condition: F,
    site: &'static Location<'static>,
}

/// Passes a notification on where a condition panics: whoever was woken will not see to it.
struct PassOn<'a>(Option<&'a Condvar>);

impl Drop for PassOn<'_> {
    fn drop(&mut self) {
        if let Some(condvar) = self.0 {
            condvar.notify_one();
        }
    }
}

enum While<'a, T> {
    Tests(Option<MutexGuard<'a, T>>),
    Waits(CondvarWait<'a, T>),
}

// The condition is called, never pinned.
impl<T, F> Unpin for WaitWhile<'_, T, F> {}

impl<'a, T, F: FnMut(&mut T) -> bool> Future for WaitWhile<'a, T, F> {
    type Output = MutexGuard<'a, T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<MutexGuard<'a, T>> {
        let WaitWhile { condvar, state, condition, site } = &mut *self;
        loop {
            let mut pass_on = PassOn(None);
            let mut guard = match state {
                While::Tests(guard) => guard.take().unwrap_or_else(|| polled_after_ready()),
                While::Waits(wait) => {
                    let guard = ready!(Pin::new(&mut *wait).poll(cx));
                    let notified = matches!(wait.phase, Phase::Done(Woken::Granted));
                    pass_on.0 = notified.then_some(*condvar);
                    guard
                }
            };
            let waits = condition(&mut guard);
            pass_on.0 = None;
            if !waits {
                *state = While::Tests(None);
                return Poll::Ready(guard);
            }
            *state = While::Waits(CondvarWait::new(condvar, guard, site));
        }
    }
}

impl<T, F> fmt::Debug for WaitWhile<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitWhile").finish_non_exhaustive()
    }
}
