//! The mutex: one task at a time.

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use trapline_abi::WaitQueue;

use crate::sync::acquire::{Held, TakeTokens};

/// A value that one task at a time may use, also across its awaits.
///
/// What is not held across an await needs no lock: tasks of one scheduler do not run at the same
/// time, and a `RefCell` will do.
///
/// First come, first served, by hand-over: whoever waits longest has the mutex when the guard is
/// dropped. Never poisoned: a guard that is dropped by a panic or a kill releases.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::rc::Rc;
/// use trapline::sync::Mutex;
///
/// let log = Rc::new(Mutex::new(Vec::new()).named("log"));
/// let theirs = Rc::clone(&log);
/// let child = trapline::spawn(async move {
///     let mut log = theirs.lock().await;
///     log.push("child");
///     trapline::yield_now().await;
///     log.push("child");
/// })
/// .await;
/// trapline::yield_now().await;
/// log.lock().await.push("parent");
/// child.await.unwrap();
/// assert_eq!(*log.lock().await, ["child", "child", "parent"]);
/// # }).unwrap();
/// ```
///
/// # Kin
/// `pthread_mutex_t`; tokio's and curio's mutex, trio's `StrictFIFOLock`.
pub struct Mutex<T> {
    queue: WaitQueue,
    /// `None` while an owned guard has it. That guard keeps the mutex alive and shared, so nobody
    /// who has all of it can find it so.
    value: RefCell<Option<T>>,
}

/// Why a value must be there.
const OWNED: &str = "the value is with its mutex, or else with the guard that holds it";

impl<T> Mutex<T> {
    /// A mutex that nobody holds.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let mutex = trapline::sync::Mutex::new(7);
    /// assert_eq!(*mutex.try_lock().unwrap(), 7);
    /// ```
    #[must_use]
    #[track_caller]
    pub const fn new(value: T) -> Mutex<T> {
        Mutex { queue: WaitQueue::lock("mutex", 1), value: RefCell::new(Some(value)) }
    }

    /// Names it, for the task table and reports.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let mutex = trapline::sync::Mutex::new(()).named("accounts");
    /// assert!(format!("{mutex:?}").contains("accounts"));
    /// ```
    #[must_use]
    pub fn named(self, name: impl Into<Rc<str>>) -> Mutex<T> {
        self.queue.set_name(name);
        self
    }

    /// Waits until it is free, and takes it.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::sync::Mutex;
    ///
    /// let balance = Mutex::new(100);
    /// *balance.lock().await -= 30;
    /// {
    ///     let mut held = balance.lock().await;
    ///     // Others wait meanwhile, whatever is awaited here.
    ///     trapline::yield_now().await;
    ///     *held -= 30;
    /// }
    /// assert_eq!(*balance.lock().await, 40);
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If it has to wait outside a task, or while tasks of another scheduler wait for it.
    ///
    /// # Cancel safety
    /// Safe: dropping it gives up the place in the queue; one that had been handed the mutex hands it
    /// on.
    ///
    /// # Cost
    /// A few instructions if it is free; else one trap. The first wait for it allocates.
    ///
    /// # Kin
    /// `pthread_mutex_lock(3)`.
    #[track_caller]
    #[inline]
    pub fn lock(&self) -> Lock<'_, T> {
        Lock { mutex: self, take: TakeTokens::new(1, Location::caller()) }
    }

    /// Takes it if it is free; `None` if it is not, or somebody waits for it.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let mutex = trapline::sync::Mutex::new(1);
    /// let held = mutex.try_lock().unwrap();
    /// assert!(mutex.try_lock().is_none());
    /// drop(held);
    /// assert!(mutex.try_lock().is_some());
    /// ```
    ///
    /// # Cost
    /// A few instructions.
    ///
    /// # Kin
    /// `pthread_mutex_trylock(3)`.
    #[track_caller]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let since = Location::caller();
        self.try_hold(since).then(|| self.guard(since))
    }

    /// The same as [`lock`](Mutex::lock), with a guard that keeps the mutex alive, for tasks
    /// and structures that cannot borrow it.
    ///
    /// The value moves into the guard, and back: box it if it is large.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::rc::Rc;
    /// use trapline::sync::Mutex;
    ///
    /// let count = Rc::new(Mutex::new(1));
    /// let mut guard = count.lock_owned().await;
    /// let child = trapline::spawn(async move { *guard += 1 }).await;
    /// assert_eq!(*count.lock().await, 2);
    /// # child.await.unwrap();
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// As [`lock`](Mutex::lock).
    ///
    /// # Cancel safety
    /// Safe, as [`lock`](Mutex::lock).
    ///
    /// # Cost
    /// As [`lock`](Mutex::lock), and two moves of the value.
    #[track_caller]
    pub fn lock_owned(self: &Rc<Self>) -> LockOwned<T> {
        LockOwned { mutex: Rc::clone(self), take: TakeTokens::new(1, Location::caller()) }
    }

    /// The same as [`try_lock`](Mutex::try_lock), with a guard that keeps the mutex alive.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use std::rc::Rc;
    /// use trapline::sync::Mutex;
    ///
    /// let mutex = Rc::new(Mutex::new(1));
    /// let held = mutex.try_lock_owned().unwrap();
    /// assert!(mutex.try_lock_owned().is_none());
    /// assert_eq!(*held, 1);
    /// ```
    #[track_caller]
    pub fn try_lock_owned(self: &Rc<Self>) -> Option<OwnedMutexGuard<T>> {
        let since = Location::caller();
        self.try_hold(since).then(|| OwnedMutexGuard::new(Rc::clone(self), since))
    }

    /// Whether somebody holds it, or has been handed it.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let mutex = trapline::sync::Mutex::new(7);
    /// let held = mutex.try_lock();
    /// assert!(mutex.is_held());
    /// drop(held);
    /// assert!(!mutex.is_held());
    /// ```
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.queue.tokens() == 0
    }

    /// The value of a mutex that is not shared: so nobody holds it.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let mut mutex = trapline::sync::Mutex::new(1);
    /// *mutex.get_mut() = 2;
    /// assert_eq!(mutex.into_inner(), 2);
    /// ```
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "it has the value, since nobody holds it")]
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut().as_mut().expect(OWNED)
    }

    /// The value.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// assert_eq!(trapline::sync::Mutex::new("whole").into_inner(), "whole");
    /// ```
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "it has the value, since nobody holds it")]
    pub fn into_inner(self) -> T {
        self.value.into_inner().expect(OWNED)
    }

    fn try_hold(&self, since: &'static Location<'static>) -> bool {
        self.queue.try_hold(1, since)
    }

    pub(crate) fn queue(&self) -> &WaitQueue {
        &self.queue
    }

    /// The guard of one who has the token.
    #[inline]
    pub(crate) fn guard(&self, since: &'static Location<'static>) -> MutexGuard<'_, T> {
        let value = RefMut::map(self.value.borrow_mut(), |value| value.as_mut().expect(OWNED));
        MutexGuard { value, mutex: self, _held: Held::new(&self.queue, 1, since) }
    }
}

impl<T: Default> Default for Mutex<T> {
    #[track_caller]
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    #[track_caller]
    fn from(value: T) -> Mutex<T> {
        Mutex::new(value)
    }
}

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Mutex");
        // Held while it is shown: a value's `Debug` may do anything.
        match self.try_lock() {
            Some(guard) => shown.field("value", &*guard),
            None => shown.field("value", &format_args!("<held>")),
        };
        shown.field("name", &self.queue.name()).finish_non_exhaustive()
    }
}

/// The future of [`Mutex::lock`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
/// use trapline::sync::Mutex;
///
/// let mutex = Mutex::new(1);
/// let held = mutex.lock().await;
/// let lock = mutex.lock();
/// assert!(trapline::timeout(Duration::from_secs(1), lock).await.is_err());
/// drop(held);
/// assert_eq!(*mutex.lock().await, 1);
/// # }).unwrap();
/// ```
#[must_use = "a lock is not asked for until it is awaited"]
pub struct Lock<'a, T> {
    mutex: &'a Mutex<T>,
    take: TakeTokens,
}

impl<T> fmt::Debug for Lock<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("take", &self.take).finish_non_exhaustive()
    }
}

impl<'a, T> Future for Lock<'a, T> {
    type Output = MutexGuard<'a, T>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<MutexGuard<'a, T>> {
        let mutex = self.mutex;
        ready!(self.take.poll(&mutex.queue, cx));
        Poll::Ready(mutex.guard(self.take.site()))
    }
}

/// The future of [`Mutex::lock_owned`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::rc::Rc;
/// use trapline::sync::Mutex;
///
/// let mutex = Rc::new(Mutex::new(1));
/// let lock = mutex.lock_owned();
/// // It needs no borrow: a task may have it.
/// let child = trapline::spawn(async move { *lock.await += 1 }).await;
/// child.await.unwrap();
/// assert_eq!(*mutex.lock().await, 2);
/// # }).unwrap();
/// ```
#[must_use = "a lock is not asked for until it is awaited"]
pub struct LockOwned<T> {
    mutex: Rc<Mutex<T>>,
    take: TakeTokens,
}

impl<T> fmt::Debug for LockOwned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockOwned").field("take", &self.take).finish_non_exhaustive()
    }
}

impl<T> Future for LockOwned<T> {
    type Output = OwnedMutexGuard<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<OwnedMutexGuard<T>> {
        let LockOwned { mutex, take } = &mut *self;
        ready!(take.poll(&mutex.queue, cx));
        Poll::Ready(OwnedMutexGuard::new(Rc::clone(mutex), take.site()))
    }
}

/// The mutex is held while this lives.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::sync::{Mutex, MutexGuard};
///
/// fn add(mut balance: MutexGuard<'_, u32>) {
///     *balance += 1;
///     // It is free again from here.
/// }
///
/// let balance = Mutex::new(1);
/// add(balance.lock().await);
/// assert_eq!(*balance.lock().await, 2);
/// # }).unwrap();
/// ```
#[must_use = "a mutex is released as soon as its guard is dropped"]
pub struct MutexGuard<'a, T> {
    value: RefMut<'a, T>,
    mutex: &'a Mutex<T>,
    _held: Held<'a>,
}

impl<'a, T> MutexGuard<'a, T> {
    /// The mutex.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use trapline::sync::{Mutex, MutexGuard};
    ///
    /// let mutex = Mutex::new(1);
    /// let guard = mutex.try_lock().unwrap();
    /// assert!(std::ptr::eq(MutexGuard::mutex(&guard), &mutex));
    /// ```
    #[must_use]
    pub fn mutex(this: &MutexGuard<'a, T>) -> &'a Mutex<T> {
        this.mutex
    }

    /// Narrows the guard to a part of the value; the whole stays locked.
    ///
    /// ```
    /// use trapline_syscalls::sync::{Mutex, MutexGuard};
    ///
    /// let pair = Mutex::new((1, 2));
    /// let guard = pair.try_lock().unwrap();
    /// *MutexGuard::map(guard, |pair| &mut pair.1) += 1;
    /// assert_eq!(pair.into_inner(), (1, 3));
    /// ```
    pub fn map<U>(
        this: MutexGuard<'a, T>,
        part: impl FnOnce(&mut T) -> &mut U,
    ) -> MappedMutexGuard<'a, U> {
        let MutexGuard { value, _held, .. } = this;
        MappedMutexGuard { value: RefMut::map(value, part), _held }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MutexGuard").field(&*self.value).finish()
    }
}

/// A [`MutexGuard`] of a part of the value.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::sync::{MappedMutexGuard, Mutex, MutexGuard};
///
/// let pair = Mutex::new((1, "one"));
/// let mut number: MappedMutexGuard<'_, u32> = MutexGuard::map(pair.lock().await, |pair| &mut pair.0);
/// *number = 2;
/// assert!(pair.is_held());
/// drop(number);
/// assert_eq!(pair.into_inner(), (2, "one"));
/// # }).unwrap();
/// ```
#[must_use = "a mutex is released as soon as its guard is dropped"]
pub struct MappedMutexGuard<'a, U: ?Sized> {
    value: RefMut<'a, U>,
    _held: Held<'a>,
}

impl<U: ?Sized> Deref for MappedMutexGuard<'_, U> {
    type Target = U;

    fn deref(&self) -> &U {
        &self.value
    }
}

impl<U: ?Sized> DerefMut for MappedMutexGuard<'_, U> {
    fn deref_mut(&mut self) -> &mut U {
        &mut self.value
    }
}

impl<U: ?Sized + fmt::Debug> fmt::Debug for MappedMutexGuard<'_, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MappedMutexGuard").field(&&*self.value).finish()
    }
}

/// A guard that keeps the mutex alive, and has the value with it.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::rc::Rc;
/// use trapline::sync::{Mutex, OwnedMutexGuard};
///
/// let mutex = Rc::new(Mutex::new(1));
/// let mut guard: OwnedMutexGuard<u32> = mutex.lock_owned().await;
/// // It may go to another task, which then holds the mutex.
/// trapline::spawn(async move { *guard = 2 }).await.await.unwrap();
/// assert_eq!(*mutex.lock().await, 2);
/// # }).unwrap();
/// ```
#[must_use = "a mutex is released as soon as its guard is dropped"]
pub struct OwnedMutexGuard<T> {
    mutex: Rc<Mutex<T>>,
    /// `None` when it is dropped, and no sooner.
    value: Option<T>,
    since: &'static Location<'static>,
}

impl<T> OwnedMutexGuard<T> {
    /// The guard of one who has the token.
    fn new(mutex: Rc<Mutex<T>>, since: &'static Location<'static>) -> OwnedMutexGuard<T> {
        let value = mutex.value.take();
        OwnedMutexGuard { mutex, value, since }
    }

    /// The mutex.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use std::rc::Rc;
    /// use trapline::sync::{Mutex, OwnedMutexGuard};
    ///
    /// let mutex = Rc::new(Mutex::new(1));
    /// let guard = mutex.try_lock_owned().unwrap();
    /// assert!(Rc::ptr_eq(OwnedMutexGuard::mutex(&guard), &mutex));
    /// ```
    #[must_use]
    pub fn mutex(this: &OwnedMutexGuard<T>) -> &Rc<Mutex<T>> {
        &this.mutex
    }
}

impl<T> Deref for OwnedMutexGuard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect(OWNED)
    }
}

impl<T> DerefMut for OwnedMutexGuard<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect(OWNED)
    }
}

impl<T> Drop for OwnedMutexGuard<T> {
    fn drop(&mut self) {
        let none = self.mutex.value.replace(self.value.take());
        debug_assert!(none.is_none(), "{OWNED}");
        drop(Held::new(&self.mutex.queue, 1, self.since));
    }
}

impl<T: fmt::Debug> fmt::Debug for OwnedMutexGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedMutexGuard").field(&**self).finish()
    }
}
