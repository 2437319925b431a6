//! Groups: tasks that nothing outlives.

use std::fmt;
use std::ops::Deref;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures::Stream;
use trapline_abi::TaskId;

mod children;
mod core;
mod member;

mod handle;
mod spawn;
mod start;

mod results;
mod run;

mod error;

pub use error::{ChildError, GroupError};
pub use handle::{Giving, GroupHandle};
pub use results::{CloseGroup, FirstEnded, FirstOk, JoinGroup, NextEnded};
pub use run::GroupRun;
pub use spawn::GroupSpawn;
pub use start::{NeverReady, Ready, Start};

use self::core::Core;
use crate::frame::site_or;

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
        let handle = GroupHandle::new(Rc::clone(&core));
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
    /// mirrors.post(async { Err("down") });
    /// mirrors.post(async { Ok("page") });
    /// assert_eq!(mirrors.first_ok().await.unwrap().1, "page");
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
    /// Where a scope beside the group in this task was told instead, the group comes out with the reason.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<u32, &str>::new();
    /// let outcome = group.run(async |group| {
    ///     group.spawn(async { Ok(20) }).await;
    ///     group.spawn(async { Ok(22) }).await;
    ///     let mut sum = 0;
    ///     while let Some((_, value)) = group.next().await {
    ///         sum += value.unwrap();
    ///     }
    ///     Ok(sum)
    /// });
    /// assert_eq!(outcome.await.unwrap(), 42);
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
        let next = streamed.get_or_insert_with(|| NextEnded::new(core, site_or(core.site())));
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
