//! Groups: tasks that nothing outlives.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures::Stream;
use pin_project::pin_project;
use trapline_abi::{CancelReason, Cancelled, Instant, TaskId};

mod children;
mod core;
mod member;

mod spawn;
mod start;

mod results;
mod run;

mod error;

pub use error::{ChildError, GroupError};
pub use results::{CloseGroup, FirstEnded, FirstOk, JoinGroup, NextEnded};
pub use run::GroupRun;
pub use spawn::GroupSpawn;
pub use start::{NeverReady, Ready, Start};

use self::core::Core;

/// Tasks that belong together: none of them outlives the group.
///
/// The children are tasks like others. Each returns a `Result`; one that returns an error, panics, or
/// is killed or cancelled by somebody else has *failed*, and takes its siblings along: they are
/// cancelled at once ([`tolerant`](TaskGroup::tolerant) groups leave them be). Their results come
/// [one by one](GroupHandle::next), as they end, or [all at once](TaskGroup::join_all), in the order in
/// which they were spawned. A group that is dropped kills its children before the step is over.
///
/// A group is made by whoever waits for it. What else there is to do with one, its [`GroupHandle`] can
/// do, which it dereferences to: spawn and cancel.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::num::ParseIntError;
/// use trapline::TaskGroup;
///
/// let group = TaskGroup::new();
/// for word in ["1", "2", "3"] {
///     group.spawn(async move { Ok::<u32, ParseIntError>(word.parse()?) }).await;
/// }
/// assert_eq!(group.join_all().await.unwrap(), [1, 2, 3]);
/// # }).unwrap();
/// ```
///
/// # Kin
/// trio's nursery, curio's `TaskGroup`, tokio's `JoinSet`.
#[doc(alias("JoinSet", "Nursery"))]
#[must_use = "dropping the group kills its children"]
pub struct TaskGroup<T, E = std::convert::Infallible> {
    core: Rc<Core<T, E>>,
    handle: GroupHandle<T, E>,
    /// The one that the stream waits for.
    streamed: Option<NextEnded<T, E>>,
}

impl<T, E> TaskGroup<T, E> {
    /// A group without children.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<u32>::new();
    /// assert!(group.is_empty());
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn new() -> TaskGroup<T, E> {
        TaskGroup::new_at(Location::caller())
    }

    pub(crate) fn new_at(site: &'static Location<'static>) -> TaskGroup<T, E> {
        let core = Core::new(site);
        let handle = GroupHandle { core: Rc::clone(&core) };
        TaskGroup { core, handle, streamed: None }
    }

    /// Lets a failure be a result like others: it cancels nobody.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<u32, &str>::new().tolerant();
    /// group.post(async { Err("out of cheese") });
    /// group.post(async { Ok(7) });
    /// let (_, first) = group.next().await.unwrap();
    /// assert!(first.is_err());
    /// let (_, second) = group.next().await.unwrap();
    /// assert_eq!(second.unwrap(), 7);
    /// # }).unwrap();
    /// ```
    pub fn tolerant(self) -> TaskGroup<T, E> {
        self.core.set_policy(|policy| policy.fails_fast = false);
        self
    }

    /// Drops the values that children return, so that a group may have children without end. Failures
    /// are kept.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<u32>::new().forget_values();
    /// for number in 0..100 {
    ///     group.post_value(async move { number });
    /// }
    /// assert!(group.join_all().await.unwrap().is_empty());
    /// # }).unwrap();
    /// ```
    pub fn forget_values(self) -> TaskGroup<T, E> {
        self.core.set_policy(|policy| policy.keeps = false);
        self
    }

    /// The part of it that its children may have, and others.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<&str>::new();
    /// let handle = group.handle();
    /// group.post_value(async move {
    ///     handle.post_value(async { "grandchild" });
    ///     "child"
    /// });
    /// assert_eq!(group.join_all().await.unwrap(), ["child", "grandchild"]);
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn handle(&self) -> GroupHandle<T, E> {
        self.handle.clone()
    }

    /// The next result: see [`GroupHandle::next`].
    // Here as well, so that it is this one where `StreamExt` is in scope.
    #[track_caller]
    pub fn next(&self) -> NextEnded<T, E> {
        self.handle.next()
    }

    /// Waits until all children have ended, and gives what those returned that nobody has asked for
    /// yet, in the order in which they were spawned. Daemons are ended when the others have.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    ///
    /// let group = trapline::TaskGroup::<u64>::new();
    /// for seconds in [3, 1, 2] {
    ///     group.post_value(async move {
    ///         trapline::sleep(Duration::from_secs(seconds)).await;
    ///         seconds
    ///     });
    /// }
    /// // In the order in which they were spawned.
    /// assert_eq!(group.join_all().await.unwrap(), [3, 1, 2]);
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`GroupError`] with all failures, if a child failed; or with the reason, if the group was
    /// cancelled and a child left no value.
    ///
    /// # Cancel safety
    /// Lossy: the group goes with the future, so dropping it kills the children.
    ///
    /// # Cost
    /// One trap, however many children there are, and one for each that left no result; O(n log n).
    ///
    /// # Kin
    /// The end of a trio nursery; `asyncio.gather`.
    #[track_caller]
    pub fn join_all(self) -> JoinGroup<T, E> {
        JoinGroup::new(self, Location::caller())
    }

    /// Waits until a child has ended, kills the others, waits until their destructors have run, and
    /// gives what the first one came to; `None` if there are no children.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    ///
    /// let race = trapline::TaskGroup::<&str>::new();
    /// for (name, seconds) in [("tortoise", 9), ("hare", 3)] {
    ///     race.post_value(async move {
    ///         trapline::sleep(Duration::from_secs(seconds)).await;
    ///         name
    ///     });
    /// }
    /// let (_, winner) = race.first().await.unwrap();
    /// assert_eq!(winner.unwrap(), "hare");
    /// # }).unwrap();
    /// ```
    ///
    /// # Cancel safety
    /// Lossy: the group goes with the future, so dropping it kills the children.
    ///
    /// # Cost
    /// Up to three traps, and the destructors of the others.
    ///
    /// # Kin
    /// curio's `TaskGroup(wait=any)`, Go's `select` over a channel each.
    #[track_caller]
    pub fn first(self) -> FirstEnded<T, E> {
        FirstEnded::new(self, Location::caller())
    }

    /// The same for the first that succeeds. A group that is not [`tolerant`](TaskGroup::tolerant)
    /// cancels the others at the first failure, so there is little to wait for then.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let mirrors = trapline::TaskGroup::<&str, &str>::new().tolerant();
    /// mirrors.post(async { Err("unreachable") });
    /// mirrors.post(async { Ok("the file") });
    /// let (_, file) = mirrors.first_ok().await.unwrap();
    /// assert_eq!(file, "the file");
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`GroupError`] with all failures, if no child succeeded.
    ///
    /// # Cancel safety
    /// Lossy: the group goes with the future, so dropping it kills the children.
    ///
    /// # Kin
    /// JavaScript's `Promise.any`; "happy eyeballs".
    #[track_caller]
    pub fn first_ok(self) -> FirstOk<T, E> {
        FirstOk::new(self, Location::caller())
    }

    /// Kills the children, and waits until the last destructor has run. A failure that nobody was told
    /// of is reported to the probe.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<()>::new();
    /// group.post_value(std::future::pending());
    /// group.close().await;
    /// # }).unwrap();
    /// ```
    ///
    /// # Cancel safety
    /// Lossy: dropped before it is polled, it kills them all the same, and waits for nobody.
    ///
    /// # Cost
    /// One trap, and the children's destructors.
    #[track_caller]
    pub fn close(self) -> CloseGroup<T, E> {
        CloseGroup::new(self, Location::caller())
    }

    /// Runs `body` beside the children, within this task, until it and they have ended. Daemons are
    /// ended then.
    ///
    /// A child that fails cancels the others, and interrupts the body: its future is polled once more,
    /// so that a reply which is there wins, and dropped. [Cancelling](GroupHandle::cancel) the group does
    /// the same. A body that fails cancels the children, and comes out when they have ended.
    ///
    /// If this task is cancelled, and has no [`cancellable`](crate::cancellable) open around the group,
    /// the group is cancelled with the same reason; when the last child has ended, so does the task.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<(), &str>::new();
    /// let sum = group.run(async |group| {
    ///     group.spawn(async { Ok(()) }).name("helper").await;
    ///     Ok(40 + 2)
    /// });
    /// assert_eq!(sum.await.unwrap(), 42);
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`GroupError`] with all that failed: children, body, or both; or with the reason for which the
    /// group was cancelled, if that interrupted the body.
    ///
    /// # Panics
    /// With the panic of the body, when the children have ended. If it is polled outside a task, or
    /// again after it was ready.
    ///
    /// # Cancel safety
    /// Lossy: dropping it drops the body and kills the children.
    ///
    /// # Cost
    /// One trap beside those of the body; O(log scopes).
    ///
    /// # Kin
    /// trio's `async with open_nursery()`.
    #[track_caller]
    pub fn run<B, F>(self, body: impl FnOnce(GroupHandle<T, E>) -> F) -> GroupRun<F, B, T, E>
    where
        F: Future<Output = Result<B, E>>,
    {
        self.run_at(body, Location::caller())
    }

    pub(crate) fn run_at<B, F>(
        self,
        body: impl FnOnce(GroupHandle<T, E>) -> F,
        site: &'static Location<'static>,
    ) -> GroupRun<F, B, T, E>
    where
        F: Future<Output = Result<B, E>>,
    {
        self.core.set_policy(|policy| policy.reserves = true);
        let body = body(self.handle());
        GroupRun::new(self, body, site)
    }
}

/// Runs `body` with a group to spawn into, until it and all children have ended. What children return
/// is dropped, but for their failures: see [`TaskGroup::run`], which this is short for.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let outcome = trapline::group_scope(async |group| {
///     group.spawn(async { Err::<(), &str>("out of cheese") }).await;
///     std::future::pending::<Result<(), &str>>().await
/// })
/// .await;
/// assert_eq!(outcome.unwrap_err().child().unwrap().error(), Some(&"out of cheese"));
/// # }).unwrap();
/// ```
///
/// # Errors
/// [`GroupError`] with all that failed: children, body, or both.
///
/// # Panics
/// With the panic of the body, when the children have ended. If it is polled outside a task, or again
/// after it was ready.
///
/// # Cancel safety
/// Lossy: dropping it drops the body and kills the children.
///
/// # Kin
/// trio's `async with open_nursery()`.
#[doc(alias = "open_nursery")]
#[track_caller]
pub fn group_scope<T, E, B, F>(body: impl FnOnce(GroupHandle<T, E>) -> F) -> GroupRun<F, B, T, E>
where
    F: Future<Output = Result<B, E>>,
{
    TaskGroup::new().forget_values().run(body)
}

impl<T, E> Default for TaskGroup<T, E> {
    #[track_caller]
    fn default() -> TaskGroup<T, E> {
        TaskGroup::new()
    }
}

impl<T, E> Deref for TaskGroup<T, E> {
    type Target = GroupHandle<T, E>;

    fn deref(&self) -> &GroupHandle<T, E> {
        &self.handle
    }
}

/// The results as the children end.
impl<T, E> Stream for TaskGroup<T, E> {
    type Item = (TaskId, Result<T, ChildError<E>>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let TaskGroup { core, streamed, .. } = &mut *self;
        let next = streamed.get_or_insert_with(|| NextEnded::new(core, core.site()));
        let told = ready!(Pin::new(next).poll(cx));
        *streamed = None;
        Poll::Ready(told)
    }
}

impl<T, E> Unpin for TaskGroup<T, E> {}

impl<T, E> Drop for TaskGroup<T, E> {
    fn drop(&mut self) {
        self.core.close();
    }
}

impl<T, E> fmt::Debug for TaskGroup<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup")
            .field("live", &self.core.live())
            .field("daemons", &self.core.daemons())
            .field("untold", &self.core.untold())
            .field("cancelled", &self.core.cancelled())
            .finish()
    }
}

/// What can be done with a group without being its owner: spawn into it, cancel it, ask for the next
/// result. Children may have one.
pub struct GroupHandle<T, E = std::convert::Infallible> {
    core: Rc<Core<T, E>>,
}

impl<T, E> GroupHandle<T, E> {
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
    #[doc(alias = "start_soon")]
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
    /// [`NeverReady`] if the child ended, or dropped its [`Ready`], before. How it ended, the group is
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
    /// Of a group with a body, and not [`tolerant`](TaskGroup::tolerant), failures are told by the group
    /// when it ends, and not here.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    ///
    /// let group = trapline::TaskGroup::<u64>::new();
    /// for seconds in [3, 1, 2] {
    ///     group.post_value(async move {
    ///         trapline::sleep(Duration::from_secs(seconds)).await;
    ///         seconds
    ///     });
    /// }
    /// let mut ended = Vec::new();
    /// while let Some((_, result)) = group.next().await {
    ///     ended.push(result.unwrap());
    /// }
    /// assert_eq!(ended, [1, 2, 3]);
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`ChildError`], if the child failed, or was told to end.
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
    /// let deadline = trapline::now().await + Duration::from_secs(5);
    /// let group = trapline::TaskGroup::<()>::new();
    /// group.post_value(std::future::pending());
    /// group.cancel_at(deadline);
    /// assert!(group.join_all().await.is_err());
    /// assert_eq!(trapline::now().await, deadline);
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
