//! The reentrant lock: one task at a time, which may take it again.

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use trapline_abi::{TaskId, WaitQueue};

use crate::sync::acquire::{TakeTokens, running};

/// A lock that belongs to the task that took it: that task may take it again, and others have it when
/// it has been released as often.
///
/// For code that calls itself, or is called with the lock held and without. Since its holder may be
/// in it several times, also in the branches of a `join!`, it gives shared access only: what is to be
/// changed lies in a `Cell` or a `RefCell` inside.
///
/// First come, first served. Never poisoned. Outside a task it belongs to the program.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::cell::Cell;
/// use trapline::sync::RLock;
///
/// let count = RLock::new(Cell::new(0)).named("count");
/// let outer = count.lock().await;
/// let inner = count.lock().await;
/// inner.set(outer.get() + 1);
/// drop(outer);
/// assert!(count.is_held());
/// drop(inner);
/// assert!(!count.is_held());
/// # }).unwrap();
/// ```
///
/// # Kin
/// `PTHREAD_MUTEX_RECURSIVE`; curio's and Python's `RLock`.
pub struct RLock<T: ?Sized> {
    queue: WaitQueue,
    /// Who has it, how often, and where it was taken first.
    owner: Cell<Option<Owner>>,
    depth: Cell<usize>,
    since: Cell<Option<&'static Location<'static>>>,
    value: T,
}

/// A task, and of which life of which ring; `None` outside a task.
type Owner = Option<(u64, TaskId)>;

fn who_runs() -> Owner {
    running().and_then(|ring| Some((ring.life(), ring.running()?)))
}

impl<T> RLock<T> {
    /// A lock that nobody holds.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::sync::RLock;
    ///
    /// let lock = RLock::new(7);
    /// assert_eq!(*lock.lock().await, 7);
    /// # }).unwrap();
    /// ```
    #[must_use]
    #[track_caller]
    pub const fn new(value: T) -> RLock<T> {
        RLock {
            queue: WaitQueue::lock("reentrant lock", 1),
            owner: Cell::new(None),
            depth: Cell::new(0),
            since: Cell::new(None),
            value,
        }
    }

    /// Names it, for the task table and reports.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let lock = trapline::sync::RLock::new(()).named("tree");
    /// assert!(format!("{lock:?}").contains("tree"));
    /// ```
    #[must_use]
    pub fn named(self, name: impl Into<Rc<str>>) -> RLock<T> {
        self.queue.set_name(name);
        self
    }

    /// The value.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// assert_eq!(trapline::sync::RLock::new(7).into_inner(), 7);
    /// ```
    #[must_use]
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T: ?Sized> RLock<T> {
    /// Waits until it is free or the calling task's own, and takes it.
    ///
    /// A task that has it passes those who wait, who could not have it before.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::sync::RLock;
    ///
    /// let lock = RLock::new(7);
    /// let outer = lock.lock().await;
    /// // The same task: it does not wait for itself.
    /// let inner = lock.lock().await;
    /// assert_eq!(*outer, *inner);
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If it has to wait outside a task, or while tasks of another scheduler wait for it.
    ///
    /// # Cancel safety
    /// Safe: dropping it gives up the place in the queue; one that had been handed the lock hands it on.
    ///
    /// # Cost
    /// A few instructions if it is free or held already; else one trap. The first wait for it
    /// allocates.
    #[track_caller]
    pub fn lock(&self) -> RLockLock<'_, T> {
        RLockLock { lock: self, take: TakeTokens::new(1, Location::caller()) }
    }

    /// Takes it if it is free or the calling task's own.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::rc::Rc;
    /// use trapline::sync::RLock;
    ///
    /// let lock = Rc::new(RLock::new(7));
    /// let held = lock.try_lock();
    /// assert!(held.is_some() && lock.try_lock().is_some());
    /// let there = Rc::clone(&lock);
    /// let other = trapline::spawn(async move { there.try_lock().is_some() }).await;
    /// assert!(!other.await.unwrap());
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn try_lock(&self) -> Option<RLockGuard<'_, T>> {
        if let Some(guard) = self.take_again() {
            return Some(guard);
        }
        let since = Location::caller();
        self.queue.try_take().then(|| {
            self.queue.note_held(since);
            self.take_first(since)
        })
    }

    /// Whether somebody holds it, or has been handed it.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let lock = trapline::sync::RLock::new(7);
    /// let held = lock.lock().await;
    /// assert!(lock.is_held());
    /// drop(held);
    /// assert!(!lock.is_held());
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.queue.tokens() == 0
    }

    /// The value of a lock that is not shared: so nobody holds it.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let mut lock = trapline::sync::RLock::new(1);
    /// *lock.get_mut() = 2;
    /// assert_eq!(lock.into_inner(), 2);
    /// ```
    #[must_use]
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.value
    }

    fn is_mine(&self) -> bool {
        self.owner.get().is_some_and(|owner| owner == who_runs())
    }

    /// The guard of one who holds it already.
    fn take_again(&self) -> Option<RLockGuard<'_, T>> {
        self.is_mine().then(|| {
            self.depth.set(self.depth.get() + 1);
            RLockGuard { lock: self }
        })
    }

    /// The guard of one who has the token, and was noted as a holder.
    fn take_first(&self, since: &'static Location<'static>) -> RLockGuard<'_, T> {
        self.owner.set(Some(who_runs()));
        self.since.set(Some(since));
        self.depth.set(1);
        RLockGuard { lock: self }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RLock")
            .field("name", &self.queue.name())
            .field("depth", &self.depth.get())
            .field("value", &&self.value)
            .finish_non_exhaustive()
    }
}

/// The future of [`RLock::lock`].
#[must_use = "a lock is not asked for until it is awaited"]
pub struct RLockLock<'a, T: ?Sized> {
    lock: &'a RLock<T>,
    take: TakeTokens,
}

impl<T: ?Sized> fmt::Debug for RLockLock<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RLockLock").field("take", &self.take).finish_non_exhaustive()
    }
}

impl<'a, T: ?Sized> Future for RLockLock<'a, T> {
    type Output = RLockGuard<'a, T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<RLockGuard<'a, T>> {
        let lock = self.lock;
        if self.take.is_trying() && lock.is_mine() {
            ready!(self.take.rest().poll(cx));
        }
        // A branch of this task may have been let in while another one waited in the queue.
        if let Some(guard) = lock.take_again() {
            self.take.rest().count();
            self.take.give_up();
            return Poll::Ready(guard);
        }
        ready!(self.take.poll(&lock.queue, cx));
        Poll::Ready(lock.take_first(self.take.site()))
    }
}

/// The lock is held while this lives. It may be dropped anywhere, and releases what was taken by the
/// task that got it.
#[must_use = "a lock is released as soon as its guard is dropped"]
pub struct RLockGuard<'a, T: ?Sized> {
    lock: &'a RLock<T>,
}

impl<T: ?Sized> Deref for RLockGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.lock.value
    }
}

impl<T: ?Sized> Drop for RLockGuard<'_, T> {
    fn drop(&mut self) {
        let lock = self.lock;
        lock.depth.set(lock.depth.get() - 1);
        if lock.depth.get() == 0 {
            lock.owner.set(None);
            if let Some(since) = lock.since.take() {
                lock.queue.note_released(since);
            }
            lock.queue.wake();
        }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RLockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RLockGuard").field(&&**self).finish()
    }
}
