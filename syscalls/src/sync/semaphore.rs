//! The semaphore: so many at a time.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use thiserror::Error;
use trapline_abi::{WaitQueue, Woken};

use crate::sync::acquire::TakeTokens;

/// So many permits, which tasks take and give back.
///
/// First come, first served: while somebody waits for many permits, they gather for it, and nobody
/// who wants fewer passes.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::sync::Semaphore;
///
/// let seats = Semaphore::new(3).named("seats");
/// let pair = seats.acquire_many(2).await?;
/// let single = seats.acquire().await?;
/// assert!(seats.try_acquire().is_err());
/// drop(pair);
/// assert_eq!(seats.available(), 2);
/// # drop(single);
/// # Ok::<(), trapline::sync::Closed>(()) }).unwrap().unwrap();
/// ```
///
/// # Kin
/// `sem_t`; tokio's semaphore; curio's and trio's, which take one permit at a time.
pub struct Semaphore {
    queue: WaitQueue,
    closed: Cell<bool>,
}

/// The semaphore was closed.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::sync::{Closed, Semaphore};
///
/// let semaphore = Semaphore::new(0);
/// let (refused, ()) = trapline::join(semaphore.acquire(), async { semaphore.close() }).await;
/// assert_eq!(refused.unwrap_err(), Closed);
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the semaphore was closed")]
pub struct Closed;

/// Why there is no permit.
///
/// ```
/// # use trapline_syscalls as trapline;
/// use trapline::sync::{Semaphore, TryAcquireError};
///
/// let semaphore = Semaphore::new(0);
/// assert_eq!(semaphore.try_acquire().unwrap_err(), TryAcquireError::NoPermits);
/// semaphore.close();
/// assert_eq!(semaphore.try_acquire().unwrap_err(), TryAcquireError::Closed);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum TryAcquireError {
    /// So many are not free, or somebody waits.
    #[error("so many permits are not free")]
    NoPermits,
    /// The semaphore was closed.
    #[error("the semaphore was closed")]
    Closed,
}

impl Semaphore {
    /// A semaphore with so many permits free.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// assert_eq!(trapline::sync::Semaphore::new(3).available(), 3);
    /// ```
    #[must_use]
    #[track_caller]
    pub const fn new(permits: usize) -> Semaphore {
        Semaphore { queue: WaitQueue::lock("semaphore", permits), closed: Cell::new(false) }
    }

    /// Names it, for the task table and reports.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let seats = trapline::sync::Semaphore::new(3).named("seats");
    /// assert!(format!("{seats:?}").contains("seats"));
    /// ```
    #[must_use]
    pub fn named(self, name: impl Into<Rc<str>>) -> Semaphore {
        self.queue.set_name(name);
        self
    }

    /// How many permits are free: none while somebody waits.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let seats = trapline::sync::Semaphore::new(3);
    /// let _taken = seats.try_acquire_many(2);
    /// assert_eq!(seats.available(), 1);
    /// ```
    #[must_use]
    pub fn available(&self) -> usize {
        self.queue.tokens()
    }

    /// Waits for a permit, and takes it.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::sync::Semaphore;
    ///
    /// let seats = Semaphore::new(1);
    /// let seat = seats.acquire().await.unwrap();
    /// assert_eq!(seats.available(), 0);
    /// drop(seat);
    /// assert_eq!(seats.available(), 1);
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`Closed`] if the semaphore is closed, or is closed before the permit is there.
    ///
    /// # Panics
    /// If it has to wait outside a task, or while tasks of another scheduler wait for it.
    ///
    /// # Cancel safety
    /// Safe: dropping it gives up the place in the queue; permits it was given go to the next.
    ///
    /// # Cost
    /// A few instructions if it is free; else one trap. The first wait allocates.
    ///
    /// # Kin
    /// `sem_wait(3)`.
    #[track_caller]
    pub fn acquire(&self) -> Acquire<'_> {
        self.acquire_many(1)
    }

    /// Waits for `n` permits, and takes them together.
    ///
    /// It has its turn however many there are who want fewer. For more permits than there will ever
    /// be it waits for ever, and all behind it.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::sync::Semaphore;
    ///
    /// let seats = Semaphore::new(5);
    /// let family = seats.acquire_many(4).await.unwrap();
    /// assert_eq!((family.count(), seats.available()), (4, 1));
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`acquire`](Semaphore::acquire).
    ///
    /// # Panics
    /// As [`acquire`](Semaphore::acquire).
    ///
    /// # Cancel safety
    /// Safe: dropping it gives up the place in the queue; permits that it was given, or that
    /// had gathered for it, are the next one's.
    ///
    /// # Cost
    /// As [`acquire`](Semaphore::acquire).
    ///
    /// # Kin
    /// `semop(2)`.
    #[track_caller]
    pub fn acquire_many(&self, n: u32) -> Acquire<'_> {
        Acquire { semaphore: self, take: TakePermits::new(n, Location::caller()) }
    }

    /// Takes a permit if one is free and nobody waits.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use trapline::sync::Semaphore;
    ///
    /// let seats = Semaphore::new(1);
    /// let _seat = seats.try_acquire().unwrap();
    /// assert!(seats.try_acquire().is_err());
    /// ```
    ///
    /// # Errors
    /// [`TryAcquireError`] says why not.
    #[track_caller]
    pub fn try_acquire(&self) -> Result<Permit<'_>, TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// Takes `n` permits if so many are free and nobody waits.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let seats = trapline::sync::Semaphore::new(3);
    /// assert!(seats.try_acquire_many(4).is_err());
    /// assert_eq!(seats.try_acquire_many(3).unwrap().count(), 3);
    /// ```
    ///
    /// # Errors
    /// [`TryAcquireError`] says why not.
    #[track_caller]
    pub fn try_acquire_many(&self, n: u32) -> Result<Permit<'_>, TryAcquireError> {
        let since = Location::caller();
        self.try_take(n, since)?;
        Ok(Permit { semaphore: self, count: n, since })
    }

    /// The same as [`acquire`](Semaphore::acquire), with a permit that keeps the semaphore alive.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::rc::Rc;
    /// use trapline::sync::Semaphore;
    ///
    /// let seats = Rc::new(Semaphore::new(1));
    /// let seat = seats.acquire_owned().await.unwrap();
    /// // The permit goes with the task.
    /// let guest = trapline::spawn(async move { drop(seat) }).await;
    /// guest.await.unwrap();
    /// assert_eq!(seats.available(), 1);
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`acquire`](Semaphore::acquire).
    ///
    /// # Panics
    /// As [`acquire`](Semaphore::acquire).
    ///
    /// # Cancel safety
    /// Safe, as [`acquire`](Semaphore::acquire).
    #[track_caller]
    pub fn acquire_owned(self: &Rc<Self>) -> AcquireOwned {
        self.acquire_many_owned(1)
    }

    /// The same as [`acquire_many`](Semaphore::acquire_many), with permits that keep the
    /// semaphore alive.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::rc::Rc;
    /// use trapline::sync::Semaphore;
    ///
    /// let seats = Rc::new(Semaphore::new(3));
    /// assert_eq!(seats.acquire_many_owned(2).await.unwrap().count(), 2);
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`acquire`](Semaphore::acquire).
    ///
    /// # Panics
    /// As [`acquire`](Semaphore::acquire).
    ///
    /// # Cancel safety
    /// Safe, as [`acquire_many`](Semaphore::acquire_many).
    #[track_caller]
    pub fn acquire_many_owned(self: &Rc<Self>, n: u32) -> AcquireOwned {
        let take = TakePermits::new(n, Location::caller());
        AcquireOwned { semaphore: Rc::clone(self), take }
    }

    /// The same as [`try_acquire`](Semaphore::try_acquire), with a permit that keeps the semaphore
    /// alive.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use std::rc::Rc;
    /// use trapline::sync::Semaphore;
    ///
    /// let seats = Rc::new(Semaphore::new(1));
    /// let seat = seats.try_acquire_owned().unwrap();
    /// assert!(seats.try_acquire_owned().is_err());
    /// drop(seat);
    /// ```
    ///
    /// # Errors
    /// [`TryAcquireError`] says why not.
    #[track_caller]
    pub fn try_acquire_owned(self: &Rc<Self>) -> Result<OwnedPermit, TryAcquireError> {
        self.try_acquire_many_owned(1)
    }

    /// The same as [`try_acquire_many`](Semaphore::try_acquire_many), with permits that keep the
    /// semaphore alive.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use std::rc::Rc;
    /// use trapline::sync::Semaphore;
    ///
    /// let seats = Rc::new(Semaphore::new(3));
    /// assert!(seats.try_acquire_many_owned(4).is_err());
    /// ```
    ///
    /// # Errors
    /// [`TryAcquireError`] says why not.
    #[track_caller]
    pub fn try_acquire_many_owned(self: &Rc<Self>, n: u32) -> Result<OwnedPermit, TryAcquireError> {
        let since = Location::caller();
        self.try_take(n, since)?;
        Ok(OwnedPermit { semaphore: Rc::clone(self), count: n, since })
    }

    /// Adds permits, which go to those who wait.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let seats = trapline::sync::Semaphore::new(1);
    /// seats.add_permits(2);
    /// assert_eq!(seats.available(), 3);
    /// ```
    ///
    /// # Cost
    /// No trap; O(waiters that have what they want).
    ///
    /// # Kin
    /// `sem_post(3)`.
    pub fn add_permits(&self, n: usize) {
        self.queue.wake_many(n);
    }

    /// Closes it: those who wait, and those who come, are told [`Closed`]. Permits that are out, or
    /// have been given to one who has not gone on yet, stay good.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let seats = trapline::sync::Semaphore::new(0);
    /// let (turned_away, ()) = trapline::join(seats.acquire(), async { seats.close() }).await;
    /// assert!(turned_away.is_err());
    /// # }).unwrap();
    /// ```
    pub fn close(&self) {
        self.closed.set(true);
        self.queue.tell("closed", || 1);
        self.queue.wake_all();
    }

    /// Whether it was closed.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let seats = trapline::sync::Semaphore::new(1);
    /// seats.close();
    /// assert!(seats.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    fn try_take(&self, n: u32, since: &'static Location<'static>) -> Result<(), TryAcquireError> {
        if self.closed.get() {
            return Err(TryAcquireError::Closed);
        }
        match self.queue.try_hold(n, since) {
            true => Ok(()),
            false => Err(TryAcquireError::NoPermits),
        }
    }

    /// One who came in at `since` leaves, and gives back so many permits.
    fn give_back(&self, n: u32, since: &'static Location<'static>) {
        match n {
            0 => self.queue.note_released(since),
            _ => self.queue.release(since, n as usize),
        }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("closed", &self.closed.get())
            .field("queue", &self.queue)
            .finish()
    }
}

/// Permits on their way to a task.
#[derive(Debug)]
struct TakePermits {
    count: u32,
    take: TakeTokens,
}

impl TakePermits {
    fn new(count: u32, site: &'static Location<'static>) -> TakePermits {
        TakePermits { count, take: TakeTokens::new(count, site) }
    }

    fn poll(&mut self, semaphore: &Semaphore, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        // One who stands in the queue is told by its reply.
        if semaphore.closed.get() && self.take.is_trying() {
            ready!(self.take.rest().poll(cx));
            self.take.rest().count();
            return Poll::Ready(Err(Closed));
        }
        Poll::Ready(match ready!(self.take.poll(&semaphore.queue, cx)) {
            Woken::Granted => Ok(()),
            Woken::WithAll => Err(Closed),
        })
    }
}

/// The future of [`Semaphore::acquire`] and [`Semaphore::acquire_many`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
/// use trapline::sync::Semaphore;
///
/// let semaphore = Semaphore::new(1);
/// let permit = semaphore.acquire().await.unwrap();
/// let second = semaphore.acquire();
/// assert!(trapline::timeout(Duration::from_secs(1), second).await.is_err());
/// drop(permit);
/// assert_eq!(semaphore.available(), 1);
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a permit is not asked for until it is awaited"]
pub struct Acquire<'a> {
    semaphore: &'a Semaphore,
    take: TakePermits,
}

impl<'a> Future for Acquire<'a> {
    type Output = Result<Permit<'a>, Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let semaphore = self.semaphore;
        let taken = ready!(self.take.poll(semaphore, cx));
        let (count, since) = (self.take.count, self.take.take.site());
        Poll::Ready(taken.map(|()| Permit { semaphore, count, since }))
    }
}

/// The future of [`Semaphore::acquire_owned`] and [`Semaphore::acquire_many_owned`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::rc::Rc;
/// use trapline::sync::Semaphore;
///
/// let semaphore = Rc::new(Semaphore::new(1));
/// let acquire = semaphore.acquire_owned();
/// // It needs no borrow: a task may have it.
/// let child = trapline::spawn(async move { acquire.await.unwrap().count() }).await;
/// assert_eq!(child.await.unwrap(), 1);
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a permit is not asked for until it is awaited"]
pub struct AcquireOwned {
    semaphore: Rc<Semaphore>,
    take: TakePermits,
}

impl Future for AcquireOwned {
    type Output = Result<OwnedPermit, Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let AcquireOwned { semaphore, take } = &mut *self;
        let taken = ready!(take.poll(semaphore, cx));
        let (count, since) = (take.count, take.take.site());
        Poll::Ready(taken.map(|()| OwnedPermit { semaphore: Rc::clone(semaphore), count, since }))
    }
}

/// Permits of a [`Semaphore`], given back when this is dropped.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::sync::Semaphore;
///
/// let semaphore = Semaphore::new(3);
/// let permits = semaphore.acquire_many(2).await.unwrap();
/// assert_eq!((permits.count(), semaphore.available()), (2, 1));
/// // They go back when it is dropped.
/// drop(permits);
/// assert_eq!(semaphore.available(), 3);
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a permit is given back as soon as it is dropped"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    count: u32,
    since: &'static Location<'static>,
}

impl<'a> Permit<'a> {
    /// How many permits it stands for.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let seats = trapline::sync::Semaphore::new(3);
    /// assert_eq!(seats.try_acquire_many(2).unwrap().count(), 2);
    /// ```
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Splits off a permit for `n` of them, to be given back by itself; `None` if it does not stand for so
    /// many.
    ///
    /// ```
    /// use trapline_syscalls::sync::Semaphore;
    ///
    /// let seats = Semaphore::new(2);
    /// let mut pair = seats.try_acquire_many(2).unwrap();
    /// let one = pair.split(1).unwrap();
    /// drop(pair);
    /// assert_eq!((one.count(), seats.available()), (1, 1));
    /// ```
    pub fn split(&mut self, n: u32) -> Option<Permit<'a>> {
        self.count = self.count.checked_sub(n)?;
        self.semaphore.queue.note_held(self.since);
        Some(Permit { semaphore: self.semaphore, count: n, since: self.since })
    }

    /// Does not give them back: the semaphore has so many fewer from now on.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let seats = trapline::sync::Semaphore::new(3);
    /// seats.try_acquire().unwrap().forget();
    /// assert_eq!(seats.available(), 2);
    /// ```
    pub fn forget(mut self) {
        self.count = 0;
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.semaphore.give_back(self.count, self.since);
    }
}

/// Permits that keep their [`Semaphore`] alive, given back when this is dropped.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::rc::Rc;
/// use trapline::sync::{OwnedPermit, Semaphore};
///
/// let semaphore = Rc::new(Semaphore::new(1));
/// let permit: OwnedPermit = semaphore.acquire_owned().await.unwrap();
/// let child = trapline::spawn(async move { drop(permit) }).await;
/// assert_eq!(semaphore.available(), 0, "the child has it");
/// child.await.unwrap();
/// assert_eq!(semaphore.available(), 1);
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a permit is given back as soon as it is dropped"]
pub struct OwnedPermit {
    semaphore: Rc<Semaphore>,
    count: u32,
    since: &'static Location<'static>,
}

impl OwnedPermit {
    /// How many permits it stands for.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let seats = std::rc::Rc::new(trapline::sync::Semaphore::new(3));
    /// assert_eq!(seats.try_acquire_many_owned(2).unwrap().count(), 2);
    /// ```
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The semaphore.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use std::rc::Rc;
    ///
    /// let seats = Rc::new(trapline::sync::Semaphore::new(3));
    /// let seat = seats.try_acquire_owned().unwrap();
    /// assert!(Rc::ptr_eq(seat.semaphore(), &seats));
    /// ```
    #[must_use]
    pub fn semaphore(&self) -> &Rc<Semaphore> {
        &self.semaphore
    }

    /// Splits off a permit for `n` of them, to be given back by itself; `None` if it does not stand for so
    /// many.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use trapline_syscalls::sync::Semaphore;
    ///
    /// let seats = Rc::new(Semaphore::new(2));
    /// let mut pair = seats.try_acquire_many_owned(2).unwrap();
    /// let one = pair.split(1).unwrap();
    /// drop(pair);
    /// assert_eq!((one.count(), seats.available()), (1, 1));
    /// ```
    pub fn split(&mut self, n: u32) -> Option<OwnedPermit> {
        self.count = self.count.checked_sub(n)?;
        self.semaphore.queue.note_held(self.since);
        Some(OwnedPermit { semaphore: Rc::clone(&self.semaphore), count: n, since: self.since })
    }

    /// Does not give them back: the semaphore has so many fewer from now on.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let seats = std::rc::Rc::new(trapline::sync::Semaphore::new(3));
    /// seats.try_acquire_owned().unwrap().forget();
    /// assert_eq!(seats.available(), 2);
    /// ```
    pub fn forget(mut self) {
        self.count = 0;
    }
}

impl Drop for OwnedPermit {
    fn drop(&mut self) {
        self.semaphore.give_back(self.count, self.since);
    }
}
