//! A child is spawned into a group.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project::pin_project;
use trapline_abi::{
    Herald, NewTask, Post, Reply, Ring, Syscall, TaskBody, TaskId, TaskOptions, Trap,
};

use super::children::Key;
use super::core::Core;
use super::member::Member;
use crate::task::unexpected;

/// The future of [`GroupHandle::spawn`](super::GroupHandle::spawn). Until it is polled it is a
/// builder.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let group = trapline::TaskGroup::<u32>::new();
/// // Nothing is started before the `.await`; names come first.
/// let birth = group.spawn(async { Ok(7) }).name("seven");
/// birth.await;
/// assert_eq!(group.join_all().await.unwrap(), [7]);
/// # }).unwrap();
/// ```
#[pin_project(PinnedDrop)]
#[must_use = "a child is not started until this is awaited, or `.post()`ed"]
pub struct GroupSpawn<F, T, E> {
    core: Rc<Core<T, E>>,
    future: Option<F>,
    options: TaskOptions,
    site: &'static Location<'static>,
    call: Option<(Trap, Key)>,
}

impl<F, T, E> fmt::Debug for GroupSpawn<F, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupSpawn").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<F, T, E> GroupSpawn<F, T, E>
where
    F: Future<Output = Result<T, E>> + 'static,
    T: 'static,
    E: 'static,
{
    pub(crate) fn new(
        core: &Rc<Core<T, E>>,
        future: F,
        site: &'static Location<'static>,
    ) -> GroupSpawn<F, T, E> {
        let core = Rc::clone(core);
        GroupSpawn { core, future: Some(future), options: TaskOptions::new(), site, call: None }
    }

    /// Names the child, for reports and the task table.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<u32>::new();
    /// group.spawn_value(async { 7 }).name("seven").await;
    /// assert_eq!(group.join_all().await.unwrap(), [7]);
    /// # }).unwrap();
    /// ```
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> GroupSpawn<F, T, E> {
        self.options = std::mem::take(&mut self.options).name(name);
        self
    }

    /// Makes it a daemon of the group: the group does not wait for it, but ends it when the others
    /// have ended. What it returns is dropped; that it fails counts.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<u32>::new();
    /// group.spawn_value(std::future::pending()).name("heartbeat").daemon().await;
    /// group.spawn_value(async { 1 }).await;
    /// assert_eq!(group.join_all().await.unwrap(), [1]);
    /// # }).unwrap();
    /// ```
    pub fn daemon(mut self) -> GroupSpawn<F, T, E> {
        self.options = std::mem::take(&mut self.options).daemon();
        self
    }

    /// Starts the child without suspending: a post.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<u32>::new();
    /// group.spawn_value(async { 7 }).name("seven").post();
    /// assert_eq!(group.join_all().await.unwrap(), [7]);
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// Outside a task or its destructors; after it has been polled; if the group has ended, or has
    /// children in another scheduler.
    pub fn post(mut self) {
        let future = self.future.take().expect("a child is posted before it is polled");
        let ring = Ring::current().expect("a child is spawned by a task");
        let daemon = self.options.is_daemon();
        let (key, body) = Self::admit(&self.core, &mut self.options, future, ring);
        let core = Rc::clone(&self.core);
        let herald = Rc::new(Birth { core, key, ring, born: Cell::new(false) });
        let (parent, site) = (ring.running(), self.site);
        ring.post(Post::Spawn(NewTask { body, daemon, parent, site, herald: Some(herald) }));
    }

    #[inline]
    fn admit(
        core: &Rc<Core<T, E>>,
        options: &mut TaskOptions,
        future: F,
        ring: &'static Ring,
    ) -> (Key, Pin<Box<dyn TaskBody>>) {
        let key = core.admit(options.is_daemon(), ring);
        let member = Member::new(future, Rc::clone(core), key);
        (key, options.wrap(member))
    }
}

impl<F, T, E> Future for GroupSpawn<F, T, E>
where
    F: Future<Output = Result<T, E>> + 'static,
    T: 'static,
    E: 'static,
{
    type Output = TaskId;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TaskId> {
        // Nothing in it is pinned: the child's future moves on into its task.
        let this = self.project();
        if this.future.is_some() {
            // Outside a task this panics, and nothing is lost.
            let ring = Ring::of_running_task();
            if let Some(future) = this.future.take() {
                let (key, body) = Self::admit(this.core, this.options, future, ring);
                let daemon = this.options.is_daemon();
                let request = if daemon { Syscall::SpawnDaemon } else { Syscall::Spawn };
                let (trap, _) = this.call.insert((Trap::new(request, this.site), key));
                trap.submit_spawn(body, cx);
                return Poll::Pending;
            }
        }
        let (trap, key) = this.call.as_mut().expect("it was submitted when the future was taken");
        let ring = trap.ring();
        let Poll::Ready(reply) = trap.poll_reply(cx) else { return Poll::Pending };
        match reply {
            Reply::Task(task) => {
                let ring = ring.expect("a call that was answered was in flight");
                this.core.born(*key, task, ring);
                Poll::Ready(task)
            }
            Reply::TooManyTasks => {
                this.core.unborn(*key);
                panic!("there is no place for one more task")
            }
            other => unexpected(Syscall::Spawn, other),
        }
    }
}

impl<F, T, E> GroupSpawn<F, T, E> {
    /// Where the child is being started, until its id has been taken.
    pub(super) fn ring(&self) -> Option<&'static Ring> {
        self.call.as_ref()?.0.ring()
    }

    /// The child, if it has been started and nobody has taken its id.
    pub(super) fn untaken(&self) -> Option<TaskId> {
        self.call.as_ref()?.0.untaken_task()
    }
}

/// A child that was started is the group's, whether or not anyone takes its id.
#[pin_project::pinned_drop]
impl<F, T, E> PinnedDrop for GroupSpawn<F, T, E> {
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        let Some((trap, key)) = this.call else { return };
        match (trap.untaken_task(), trap.ring()) {
            (Some(task), Some(ring)) => this.core.born(*key, task, ring),
            (None, Some(_)) => this.core.unborn(*key),
            _ => {}
        }
    }
}

/// Tells the group of the birth of a child that was posted.
struct Birth<T, E> {
    core: Rc<Core<T, E>>,
    key: Key,
    ring: &'static Ring,
    born: Cell<bool>,
}

impl<T, E> Herald for Birth<T, E> {
    fn born(&self, task: TaskId) {
        self.born.set(true);
        self.core.born(self.key, task, self.ring);
    }
}

impl<T, E> Drop for Birth<T, E> {
    fn drop(&mut self) {
        if !self.born.get() {
            self.core.unborn(self.key);
        }
    }
}
