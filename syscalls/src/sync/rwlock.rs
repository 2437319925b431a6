//! The reader-writer lock: many who read, or one who writes.

use std::cell::{Ref, RefCell, RefMut};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use trapline_abi::WaitQueue;

use crate::sync::acquire::{Held, TakeTokens};

/// A reader takes one token, a writer all of them: so many may read at the same time.
const ALL: u32 = WaitQueue::ALL;

/// A value that many tasks may read at the same time, or one may change, also across awaits.
///
/// First come, first served: a reader that comes after a writer waits behind it, so that no stream of
/// readers starves one who wants to write. Hence a task that reads and asks to read again may
/// wait for a writer that waits for itself. Never poisoned.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::sync::RwLock;
///
/// let table = RwLock::new(vec![1]).named("table");
/// {
///     let one = table.read().await;
///     let other = table.read().await;
///     assert_eq!(one.len(), other.len());
/// }
/// table.write().await.push(2);
/// assert_eq!(table.into_inner(), [1, 2]);
/// # }).unwrap();
/// ```
///
/// # Kin
/// `pthread_rwlock_t`; tokio's `RwLock`.
pub struct RwLock<T: ?Sized> {
    queue: WaitQueue,
    value: RefCell<T>,
}

impl<T> RwLock<T> {
    /// A lock that nobody holds.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let lock = trapline::sync::RwLock::new(7);
    /// assert_eq!(*lock.try_read().unwrap(), 7);
    /// ```
    #[must_use]
    #[track_caller]
    pub const fn new(value: T) -> RwLock<T> {
        RwLock { queue: WaitQueue::lock("rwlock", ALL as usize), value: RefCell::new(value) }
    }

    /// Names it, for the task table and reports.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let lock = trapline::sync::RwLock::new(()).named("routes");
    /// assert!(format!("{lock:?}").contains("routes"));
    /// ```
    #[must_use]
    pub fn named(self, name: impl Into<Rc<str>>) -> RwLock<T> {
        self.queue.set_name(name);
        self
    }

    /// The value.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// assert_eq!(trapline::sync::RwLock::new(7).into_inner(), 7);
    /// ```
    #[must_use]
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until nobody writes, nor has waited longer, and takes it to read.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::sync::RwLock;
    ///
    /// let lock = RwLock::new(7);
    /// // Readers are many.
    /// let (first, second) = trapline::join(lock.read(), lock.read()).await;
    /// assert_eq!(*first + *second, 14);
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If it has to wait outside a task, or while tasks of another scheduler wait for it.
    ///
    /// # Cancel safety
    /// Safe: dropping it gives up the place in the queue; what it had been given is the next one's.
    ///
    /// # Cost
    /// A few instructions if it need not wait; else one trap. The first wait for it allocates.
    ///
    /// # Kin
    /// `pthread_rwlock_rdlock(3)`.
    #[track_caller]
    pub fn read(&self) -> Read<'_, T> {
        Read { lock: self, take: TakeTokens::new(1, Location::caller()) }
    }

    /// Waits until nobody reads or writes, nor has waited longer, and takes it to write.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::sync::RwLock;
    ///
    /// let lock = RwLock::new(7);
    /// let mut writer = lock.write().await;
    /// *writer += 1;
    /// assert!(lock.try_read().is_none());
    /// drop(writer);
    /// assert_eq!(*lock.read().await, 8);
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// As [`read`](RwLock::read).
    ///
    /// # Cancel safety
    /// Safe: dropping it gives up the place in the queue, and readers that stood behind it go on; what it
    /// had been given is the next one's.
    ///
    /// # Cost
    /// As [`read`](RwLock::read).
    ///
    /// # Kin
    /// `pthread_rwlock_wrlock(3)`.
    #[track_caller]
    pub fn write(&self) -> Write<'_, T> {
        Write { lock: self, take: TakeTokens::new(ALL, Location::caller()) }
    }

    /// Takes it to read, if nobody writes or waits.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let lock = trapline::sync::RwLock::new(7);
    /// let reader = lock.try_read();
    /// assert!(reader.is_some() && lock.try_read().is_some());
    /// ```
    #[track_caller]
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        let since = Location::caller();
        self.try_take(1, since).then(|| self.read_guard(since))
    }

    /// Takes it to write, if nobody reads, writes or waits.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let lock = trapline::sync::RwLock::new(7);
    /// let reader = lock.try_read();
    /// assert!(lock.try_write().is_none());
    /// drop(reader);
    /// assert!(lock.try_write().is_some());
    /// ```
    #[track_caller]
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        let since = Location::caller();
        self.try_take(ALL, since).then(|| self.write_guard(since))
    }

    /// The value of a lock that is not shared: so nobody holds it.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let mut lock = trapline::sync::RwLock::new(1);
    /// *lock.get_mut() = 2;
    /// assert_eq!(lock.into_inner(), 2);
    /// ```
    #[must_use]
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    fn try_take(&self, tokens: u32, since: &'static Location<'static>) -> bool {
        let taken = self.queue.try_take_many(tokens);
        if taken {
            self.queue.note_held(since);
        }
        taken
    }

    /// The guard of one who has a token.
    fn read_guard(&self, since: &'static Location<'static>) -> RwLockReadGuard<'_, T> {
        RwLockReadGuard { value: self.value.borrow(), _held: Held::new(&self.queue, 1, since) }
    }

    /// The guard of one who has all tokens.
    fn write_guard(&self, since: &'static Location<'static>) -> RwLockWriteGuard<'_, T> {
        let held = Held::new(&self.queue, ALL, since);
        RwLockWriteGuard { value: self.value.borrow_mut(), lock: self, held }
    }
}

impl<T: Default> Default for RwLock<T> {
    #[track_caller]
    fn default() -> RwLock<T> {
        RwLock::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RwLock");
        // Held while it is shown: a value's `Debug` may do anything.
        match self.try_read() {
            Some(guard) => shown.field("value", &&*guard),
            None => shown.field("value", &format_args!("<held>")),
        };
        shown.field("name", &self.queue.name()).finish_non_exhaustive()
    }
}

/// The future of [`RwLock::read`].
#[must_use = "a lock is not asked for until it is awaited"]
pub struct Read<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    take: TakeTokens,
}

impl<'a, T: ?Sized> Future for Read<'a, T> {
    type Output = RwLockReadGuard<'a, T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<RwLockReadGuard<'a, T>> {
        let lock = self.lock;
        ready!(self.take.poll(&lock.queue, cx));
        Poll::Ready(lock.read_guard(self.take.site()))
    }
}

impl<T: ?Sized> fmt::Debug for Read<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Read").field("take", &self.take).finish_non_exhaustive()
    }
}

/// The future of [`RwLock::write`].
#[must_use = "a lock is not asked for until it is awaited"]
pub struct Write<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    take: TakeTokens,
}

impl<'a, T: ?Sized> Future for Write<'a, T> {
    type Output = RwLockWriteGuard<'a, T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<RwLockWriteGuard<'a, T>> {
        let lock = self.lock;
        ready!(self.take.poll(&lock.queue, cx));
        Poll::Ready(lock.write_guard(self.take.site()))
    }
}

impl<T: ?Sized> fmt::Debug for Write<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Write").field("take", &self.take).finish_non_exhaustive()
    }
}

/// The value may be read while this lives.
#[must_use = "a lock is released as soon as its guard is dropped"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    value: Ref<'a, T>,
    _held: Held<'a>,
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RwLockReadGuard").field(&&**self).finish()
    }
}

/// The value may be changed while this lives.
#[must_use = "a lock is released as soon as its guard is dropped"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    value: RefMut<'a, T>,
    lock: &'a RwLock<T>,
    held: Held<'a>,
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Turns it into a reader's guard, with nobody in between. Readers who stand first in the queue
    /// are let in.
    ///
    /// ```
    /// use trapline_syscalls::sync::{RwLock, RwLockWriteGuard};
    ///
    /// let lock = RwLock::new(1);
    /// let mut guard = lock.try_write().unwrap();
    /// *guard += 1;
    /// let guard = RwLockWriteGuard::downgrade(guard);
    /// assert_eq!((*guard, *lock.try_read().unwrap()), (2, 2));
    /// ```
    pub fn downgrade(this: RwLockWriteGuard<'a, T>) -> RwLockReadGuard<'a, T> {
        let RwLockWriteGuard { value, lock, mut held } = this;
        drop(value);
        held.keep_one();
        RwLockReadGuard { value: lock.value.borrow(), _held: held }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RwLockWriteGuard").field(&&**self).finish()
    }
}
