//! What can be done with a group without being its owner.

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project::pin_project;
use trapline_abi::{CancelReason, Cancelled, Instant};

use super::core::Core;
use super::results::NextEnded;
use super::spawn::GroupSpawn;
use super::start::{Ready, Start};

/// What can be done with a group without being its owner: spawn into it, cancel it, ask for the next
/// result. Children may have one.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::GroupHandle;
///
/// fn add(group: &GroupHandle<u32>, number: u32) {
///     group.post_value(async move { number });
/// }
///
/// let group = trapline::TaskGroup::<u32>::new();
/// add(&group, 1);
/// add(&group, 2);
/// assert_eq!(group.join_all().await.unwrap(), [1, 2]);
/// # }).unwrap();
/// ```
pub struct GroupHandle<T, E = std::convert::Infallible> {
    core: Rc<Core<T, E>>,
}

impl<T, E> GroupHandle<T, E> {
    pub(super) fn new(core: Rc<Core<T, E>>) -> GroupHandle<T, E> {
        GroupHandle { core }
    }

    pub(crate) fn core(&self) -> &Rc<Core<T, E>> {
        &self.core
    }

    /// Starts a child, and gives its id. Name it, or make it a daemon of the group, before the
    /// `.await`; or [`post`](GroupSpawn::post) it, which does not suspend.
    ///
    /// In a group that has been cancelled it is cancelled, too: it ends where it first blocks.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<u32, &str>::new();
    /// let child = group.spawn(async { Ok(7) }).name("seven").await;
    /// let (ended, result) = group.next().await.unwrap();
    /// assert_eq!((ended, result.unwrap()), (child, 7));
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If the group has ended, been closed, or has children in another scheduler. At 2^24 live tasks.
    ///
    /// # Cancel safety
    /// Lossy: dropped before it is polled, or in the same turn, nothing is started, and `child` is
    /// dropped; dropped later, the child is one all the same.
    ///
    /// # Cost
    /// One trap, O(1), one allocation.
    ///
    /// # Kin
    /// trio's `nursery.start_soon`.
    #[doc(alias = "start_soon")]
    #[track_caller]
    #[inline]
    pub fn spawn<F>(&self, child: F) -> GroupSpawn<F, T, E>
    where
        F: Future<Output = Result<T, E>> + 'static,
        T: 'static,
        E: 'static,
    {
        GroupSpawn::new(&self.core, child, Location::caller())
    }

    /// The same for a child that cannot fail but by a panic, and returns a bare value.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<u32>::new();
    /// group.spawn_value(async { 7 }).await;
    /// assert_eq!(group.join_all().await.unwrap(), [7]);
    /// # }).unwrap();
    /// ```
    #[track_caller]
    #[inline]
    pub fn spawn_value<F>(&self, child: F) -> GroupSpawn<Giving<F, E>, T, E>
    where
        F: Future<Output = T> + 'static,
        T: 'static,
        E: 'static,
    {
        GroupSpawn::new(&self.core, Giving::new(child), Location::caller())
    }

    /// Starts a child without suspending: short for `spawn(child).post()`.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<u32, &str>::new();
    /// group.post(async { Ok(7) });
    /// assert_eq!(group.join_all().await.unwrap(), [7]);
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// Outside a task or its destructors; if the group has ended, been closed, or has children in
    /// another scheduler.
    ///
    /// # Cost
    /// No trap; three allocations.
    #[track_caller]
    pub fn post<F>(&self, child: F)
    where
        F: Future<Output = Result<T, E>> + 'static,
        T: 'static,
        E: 'static,
    {
        self.spawn(child).post();
    }

    /// The same for a child that returns a bare value.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<u32>::new();
    /// group.post_value(async { 7 });
    /// assert_eq!(group.join_all().await.unwrap(), [7]);
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// Outside a task or its destructors; if the group has ended, been closed, or has children in
    /// another scheduler.
    #[track_caller]
    pub fn post_value<F>(&self, child: F)
    where
        F: Future<Output = T> + 'static,
        T: 'static,
        E: 'static,
    {
        self.spawn_value(child).post();
    }

    /// Starts a child that says when it is ready, and waits until it does. It is handed the right to
    /// say so, and gives a value with it: an address it has bound, say.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::TcpListener;
    ///
    /// let group = trapline::TaskGroup::<(), std::io::Error>::new();
    /// let server = |ready: trapline::Ready<_>| async move {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     ready.report(listener.local_addr()?);
    ///     // … serves …
    ///     Ok(())
    /// };
    /// let addr = group.start(server).await.unwrap();
    /// assert_ne!(addr.port(), 0);
    /// # group.close().await;
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`NeverReady`](super::NeverReady) if the child ended, or dropped its [`Ready`], before. How it ended, the group is
    /// told.
    ///
    /// # Panics
    /// If the group has ended, been closed, or has children in another scheduler. At 2^24 live tasks.
    ///
    /// # Cancel safety
    /// Lossy: dropped before the child is ready, it kills the child.
    ///
    /// # Cost
    /// Two traps.
    ///
    /// # Kin
    /// trio's `nursery.start`.
    #[track_caller]
    pub fn start<V, F>(&self, child: impl FnOnce(Ready<V>) -> F) -> Start<F, V, T, E>
    where
        F: Future<Output = Result<T, E>> + 'static,
        T: 'static,
        E: 'static,
    {
        Start::new(self, child, Location::caller())
    }

    /// Waits until a child has ended, and gives its id and what it came to: the next one, in the order
    /// of their ends; `None` if no child is left but daemons. Each is told of once. Several may wait:
    /// they are served in order.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    ///
    /// let group = trapline::TaskGroup::<u64>::new();
    /// for seconds in [3, 1] {
    ///     group.post_value(async move {
    ///         trapline::sleep(Duration::from_secs(seconds)).await;
    ///         seconds
    ///     });
    /// }
    /// let mut ended = Vec::new();
    /// while let Some((_, seconds)) = group.next().await {
    ///     ended.push(seconds.unwrap());
    /// }
    /// assert_eq!(ended, [1, 3]);
    /// # }).unwrap();
    /// ```
    ///
    /// Of a group with a body, and not [`tolerant`](super::TaskGroup::tolerant), failures are told by the group
    /// when it ends, and not here.
    ///
    /// # Errors
    /// [`ChildError`](super::ChildError), if the child failed, or was told to end.
    ///
    /// # Cancel safety
    /// Safe: a result that is not taken is the next one's.
    ///
    /// # Cost
    /// No trap where a child has ended; else one. One more for a child that left no result.
    ///
    /// # Kin
    /// `wait(2)`; curio's `next_done`, tokio's `JoinSet::join_next`.
    #[track_caller]
    pub fn next(&self) -> NextEnded<T, E> {
        NextEnded::new(&self.core, Location::caller())
    }

    /// Asks all children to end, those that are yet to come, too: see [`cancel`](crate::cancel). The
    /// first reason counts.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<()>::new();
    /// group.post_value(std::future::pending());
    /// group.cancel("closing time");
    /// let error = group.join_all().await.unwrap_err();
    /// assert_eq!(error.cancelled().unwrap().text(), "closing time");
    /// # }).unwrap();
    /// ```
    ///
    /// # Cost
    /// No trap; O(n log n).
    #[track_caller]
    pub fn cancel(&self, reason: impl Into<CancelReason>) {
        self.core.cancel(Cancelled::new(reason.into(), Location::caller()));
    }

    /// Cancels the group when this time has come, if it has not ended by then.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    ///
    /// let group = trapline::TaskGroup::<()>::new();
    /// group.cancel_at(trapline::now().await + Duration::from_secs(5));
    /// group.post_value(std::future::pending());
    /// let error = group.join_all().await.unwrap_err();
    /// assert_eq!(error.cancelled().unwrap().text(), "the time was up");
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// Outside a task or its destructors; if the group has ended, been closed, or has children in
    /// another scheduler.
    ///
    /// # Cost
    /// A daemon child that sleeps.
    ///
    /// # Kin
    /// trio's `CancelScope(deadline=…)`.
    #[track_caller]
    pub fn cancel_at(&self, deadline: Instant)
    where
        T: 'static,
        E: 'static,
    {
        let (site, group) = (Location::caller(), self.clone());
        let clock = async move {
            crate::time::sleep_until(deadline).await;
            group.core.cancel(Cancelled::new(CancelReason::deadline(deadline), site));
            std::future::pending().await
        };
        GroupSpawn::new(&self.core, clock, site).name("deadline").daemon().post();
    }

    /// How many children have not ended, daemons left out.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<()>::new();
    /// group.post_value(async {});
    /// assert_eq!(group.len(), 1);
    /// group.next().await;
    /// assert!(group.is_empty());
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.core.live()
    }

    /// Whether all children but daemons have ended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Who cancelled the group and why, if that was so: its first failure, it may be.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<()>::new();
    /// assert!(group.cancelled().is_none());
    /// group.cancel("closing time");
    /// assert_eq!(group.cancelled().unwrap().text(), "closing time");
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn cancelled(&self) -> Option<Cancelled> {
        self.core.cancelled()
    }
}

impl<T, E> Clone for GroupHandle<T, E> {
    fn clone(&self) -> GroupHandle<T, E> {
        GroupHandle { core: Rc::clone(&self.core) }
    }
}

impl<T, E> fmt::Debug for GroupHandle<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupHandle").field("live", &self.core.live()).finish_non_exhaustive()
    }
}

/// A future whose bare value counts as a success: see [`GroupHandle::spawn_value`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let group = trapline::TaskGroup::<u32>::new();
/// // The child is wrapped: its value is an `Ok`.
/// let child = group.spawn_value(async { 7 }).name("seven").await;
/// assert_eq!(group.next().await.unwrap().0, child);
/// # }).unwrap();
/// ```
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Giving<F, E> {
    #[pin]
    future: F,
    error: PhantomData<fn() -> E>,
}

impl<F, E> Giving<F, E> {
    fn new(future: F) -> Giving<F, E> {
        Giving { future, error: PhantomData }
    }
}

impl<F: Future, E> Future for Giving<F, E> {
    type Output = Result<F::Output, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().future.poll(cx).map(Ok)
    }
}
