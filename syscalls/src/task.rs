//! Tasks: who am I, start one, wait for one, end one.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project::pin_project;
use thiserror::Error;
use trapline_abi::{
    Beside, Ended, ExitStatus, JoinHandle, NewTask, Post, Reply, Ring, Syscall, TaskBody, TaskId,
    TaskOptions, Trap, YieldTrap,
};

/// A future that is a trap and a way to read its reply.
macro_rules! trap_future {
    ($(#[$attribute:meta])* $name:ident -> $output:ty, |$reply:pat_param| $read:expr) => {
        $(#[$attribute])*
        #[derive(Debug)]
        #[must_use = "a system call does nothing until it is awaited"]
        pub struct $name {
            trap: Trap,
        }

        impl $name {
            #[track_caller]
            #[inline]
            fn new(request: Syscall) -> $name {
                $name { trap: Trap::new(request, Location::caller()) }
            }
        }

        impl Future for $name {
            type Output = $output;

            // Inlined, a request that is known never passes through memory: see `Trap`.
            #[inline(always)]
            fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<$output> {
                match self.trap.poll_reply(cx) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready($reply) => Poll::Ready($read),
                }
            }
        }
    };
}
pub(crate) use trap_future;

#[cold]
#[inline(never)]
pub(crate) fn unexpected(request: Syscall, reply: Reply) -> ! {
    panic!("the kernel answered {request} with \"{reply}\"")
}

/// Asks for the id of the calling task.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// assert_eq!(trapline::get_tid().await.sequence(), 1);
/// # }).unwrap();
/// ```
///
/// # Cancel safety
/// Safe: it changes nothing.
///
/// # Cost
/// One trap, O(1), no allocation.
///
/// # Kin
/// `gettid(2)`; pyos4 `GetTid`.
#[doc(alias("current_task", "task_id"))]
#[track_caller]
pub fn get_tid() -> GetTid {
    GetTid::new(Syscall::GetTid)
}

trap_future! {
    /// The future of [`get_tid`].
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let asked: trapline::GetTid = trapline::get_tid();
    /// // The first task of its scheduler.
    /// assert_eq!(asked.await.sequence(), 1);
    /// # }).unwrap();
    /// ```
    GetTid -> TaskId, |reply| match reply {
        Reply::Task(task) => task,
        other => unexpected(Syscall::GetTid, other),
    }
}

/// Goes to the back of the ready queue, so that the others run first.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// for _part in 0..3 {
///     // … some of the work …
///     trapline::yield_now().await;
/// }
/// # }).unwrap();
/// ```
///
/// # Cancel safety
/// Safe: it changes nothing.
///
/// # Cost
/// One trap, O(1), no allocation.
///
/// # Kin
/// `sched_yield(2)`; a bare `yield` in pyos.
#[doc(alias = "checkpoint")]
#[track_caller]
#[inline]
pub fn yield_now() -> Yield {
    Yield { trap: YieldTrap::new(Location::caller()) }
}

/// The future of [`yield_now`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use futures::FutureExt;
///
/// let mut turn = trapline::yield_now();
/// assert!((&mut turn).now_or_never().is_none(), "the others come first");
/// turn.await;
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a system call does nothing until it is awaited"]
pub struct Yield {
    trap: YieldTrap,
}

impl Future for Yield {
    type Output = ();

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.trap).poll(cx)
    }
}

/// Starts a task, and gives its handle.
///
/// The child stands in the ready queue before its parent goes on. Name it, or make it a daemon,
/// before the `.await`.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let child = trapline::spawn(async { 6 * 7 }).name("adder").await;
/// assert_eq!(child.await.unwrap(), 42);
/// # }).unwrap();
/// ```
///
/// # Panics
/// At 2^24 live tasks.
///
/// # Cancel safety
/// Lossy: dropped before it is polled, or in the same turn, nothing is started, and the future is
/// dropped; dropped later but before it is ready, the task runs detached.
///
/// # Cost
/// One trap, O(1), one allocation.
///
/// # Kin
/// `pthread_create(3)`; pyos5 `NewTask`.
#[doc(alias("spawn_local", "create_task"))]
#[track_caller]
pub fn spawn<F>(future: F) -> Spawn<F>
where
    F: Future<Output: 'static> + 'static,
{
    Spawn {
        future: Some(future),
        options: TaskOptions::new(),
        site: Location::caller(),
        trap: None,
    }
}

/// The future of [`spawn`]. Until it is polled it is a builder.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// // Nothing runs until it is awaited; names and the like come before.
/// let birth = trapline::spawn(async { 7 }).name("seven");
/// let child = birth.await;
/// assert_eq!(child.await.unwrap(), 7);
/// # }).unwrap();
/// ```
#[pin_project(PinnedDrop)]
#[must_use = "a task is not started until this is awaited, or `.detach()`ed"]
pub struct Spawn<F> {
    future: Option<F>,
    options: TaskOptions,
    site: &'static Location<'static>,
    trap: Option<Trap>,
}

impl<F> fmt::Debug for Spawn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawn").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<F> Spawn<F>
where
    F: Future<Output: 'static> + 'static,
{
    /// Names the task, for reports and the task table.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let child = trapline::spawn(async { "done" }).name("counter").await;
    /// assert_eq!(child.await.unwrap(), "done");
    /// # }).unwrap();
    /// ```
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Spawn<F> {
        self.options = std::mem::take(&mut self.options).name(name);
        self
    }

    /// Makes it a daemon: `run` does not wait for it.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// // It keeps nobody waiting: the program ends without it.
    /// let heartbeat = trapline::spawn(std::future::pending::<()>()).daemon().await;
    /// heartbeat.detach();
    /// # }).unwrap();
    /// ```
    pub fn daemon(mut self) -> Spawn<F> {
        self.options = std::mem::take(&mut self.options).daemon();
        self
    }

    /// Starts the task without a handle: a post. See [`spawn_detached`].
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// trapline::spawn(async { println!("on its own") }).detach();
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// Outside a task or its destructors; after it has been polled.
    pub fn detach(mut self) {
        let future = self.future.take().expect("a spawn is detached before it is polled");
        post_spawn(std::mem::take(&mut self.options), future, self.site);
    }
}

impl<F> Future for Spawn<F>
where
    F: Future<Output: 'static> + 'static,
{
    type Output = JoinHandle<F::Output>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.future.is_some() {
            // Outside a task this panics, and nothing is lost.
            let _ = Ring::of_running_task();
        }
        if let Some(future) = this.future.take() {
            let daemon = this.options.is_daemon();
            let request = if daemon { Syscall::SpawnDaemon } else { Syscall::Spawn };
            let body = this.options.body(future);
            let trap = this.trap.insert(Trap::new(request, this.site));
            trap.submit_spawn(body, cx);
            return Poll::Pending;
        }
        let trap = this.trap.as_mut().expect("it was submitted when the future was taken");
        let ring = trap.ring();
        let Poll::Ready(reply) = trap.poll_reply(cx) else { return Poll::Pending };
        match reply {
            Reply::Task(task) => {
                let ring = ring.expect("a call that was answered was in flight");
                Poll::Ready(JoinHandle::new(task, ring))
            }
            Reply::TooManyTasks => panic!("there is no place for one more task"),
            other => unexpected(Syscall::Spawn, other),
        }
    }
}

/// A reply nobody takes is a task nobody has the handle of.
#[pin_project::pinned_drop]
impl<F> PinnedDrop for Spawn<F> {
    fn drop(self: Pin<&mut Self>) {
        if let Some(trap) = self.project().trap {
            trap.abandon_spawn();
        }
    }
}

/// Starts a task that nobody waits for: a post.
///
/// It can be called from anywhere that runs inside a task, a destructor too, and does not suspend.
/// The task leaves nothing behind when it ends; its panic is reported to the probe and counted.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// trapline::spawn_detached(async { println!("on my own") });
/// # }).unwrap();
/// ```
///
/// # Panics
/// Outside a scheduler.
///
/// # Cost
/// No trap; one allocation.
///
/// # Kin
/// `pthread_create(3)` with `PTHREAD_CREATE_DETACHED`.
#[track_caller]
pub fn spawn_detached<F>(future: F)
where
    F: Future<Output: 'static> + 'static,
{
    post_spawn(TaskOptions::new(), future, Location::caller());
}

fn post_spawn<F>(mut options: TaskOptions, future: F, site: &'static Location<'static>)
where
    F: Future<Output: 'static> + 'static,
{
    let ring = Ring::at_work().expect("a task is spawned by a task, or by `Scheduler::spawn`");
    let daemon = options.is_daemon();
    let body: Pin<Box<dyn TaskBody>> = options.body(future);
    ring.post(Post::Spawn(NewTask { body, daemon, parent: ring.running(), site, herald: None }));
}

/// No task has ever had this id.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::NoSuchTask;
///
/// let child = trapline::spawn(async {}).await;
/// let id = child.id();
/// child.await.unwrap();
/// // One that has ended is known still; none has this id.
/// assert!(trapline::wait(id).await.is_ok());
/// assert_eq!(NoSuchTask.to_string(), "no task has ever had this id");
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("no task has ever had this id")]
pub struct NoSuchTask;

/// Waits until `target` has ended, and takes its exit status.
///
/// Any number of tasks may wait for one task; each is told, in order. Answers at once if it has
/// ended. A task that waits for itself waits for ever, which is reported as a deadlock.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline_abi::ExitStatus;
///
/// let child = trapline::spawn(async {}).await;
/// assert_eq!(trapline::wait(child.id()).await, Ok(ExitStatus::Returned));
/// # }).unwrap();
/// ```
///
/// # Errors
/// [`NoSuchTask`] if no task has ever had this id.
///
/// # Cancel safety
/// Safe: dropping it gives up the place in the queue; the status and other waiters are unaffected.
/// A panic counts as looked at once it was told, also to a waiter that is dropped before it takes it.
///
/// # Cost
/// One trap, O(1), no allocation.
///
/// # Kin
/// `waitpid(2)`; pyos6 `WaitTask`, which gave only a bool.
#[doc(alias = "waitpid")]
#[track_caller]
pub fn wait(target: TaskId) -> Wait {
    Wait { trap: Trap::new(Syscall::Wait(target), Location::caller()) }
}

/// As [`wait`], made at `site`.
pub(crate) fn wait_at(target: TaskId, site: &'static Location<'static>) -> Wait {
    Wait { trap: Trap::new(Syscall::Wait(target), site) }
}

/// The future of [`wait`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
///
/// let child = trapline::spawn(trapline::sleep(Duration::from_secs(60))).await;
/// let wait = trapline::wait(child.id());
/// // Who gives up leaves the task as it is.
/// assert!(trapline::timeout(Duration::from_secs(1), wait).await.is_err());
/// child.await.unwrap();
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a system call does nothing until it is awaited"]
pub struct Wait {
    trap: Trap,
}

impl Future for Wait {
    type Output = Result<ExitStatus, NoSuchTask>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.trap.poll_reply_and_beside(cx).map(|told| match told {
            (Reply::Exited(Ended::Returned), _) => Ok(ExitStatus::Returned),
            (Reply::Exited(Ended::Killed), _) => Ok(ExitStatus::Killed),
            (Reply::Exited(_), Beside::Status(status)) => Ok(status),
            (Reply::Exited(_), _) => Ok(ExitStatus::Forgotten),
            _ => Err(NoSuchTask),
        })
    }
}

/// What [`kill`] found.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::KillOutcome;
///
/// let child = trapline::spawn(std::future::pending::<()>()).await;
/// assert_eq!(trapline::kill(child.id()).await, Ok(KillOutcome::Killed));
/// assert_eq!(trapline::kill(child.id()).await, Ok(KillOutcome::AlreadyEnded));
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KillOutcome {
    /// The task lived, and has been ended.
    Killed,
    /// It had ended before.
    AlreadyEnded,
}

/// Ends a task now: its future is dropped, so its destructors run, and whoever waits for it is
/// told.
///
/// It works on a task in any state, also on the calling one, which then does not come back from
/// this call.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::KillOutcome;
///
/// let child = trapline::spawn(std::future::pending::<()>()).await;
/// assert_eq!(trapline::kill(child.id()).await, Ok(KillOutcome::Killed));
/// assert!(child.await.unwrap_err().is_killed());
/// # }).unwrap();
/// ```
///
/// # Errors
/// [`NoSuchTask`] if no task has ever had this id.
///
/// # Cancel safety
/// Lossy: dropped before it is polled, or in the same turn, it ends nobody; dropped later, the task
/// has ended. [`post_kill`] cannot be dropped.
///
/// # Cost
/// One trap, and the task's destructors.
///
/// # Kin
/// `kill(2)` with `SIGKILL`; pyos5 `KillTask`, `generator.close()`.
#[doc(alias = "abort")]
#[track_caller]
pub fn kill(target: TaskId) -> Kill {
    Kill::new(Syscall::Kill(target))
}

trap_future! {
    /// The future of [`kill`].
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let child = trapline::spawn(async { "alive" }).await;
    /// let order = trapline::kill(child.id());
    /// // Nobody is ended until it is awaited.
    /// drop(order);
    /// assert_eq!(child.await.unwrap(), "alive");
    /// # }).unwrap();
    /// ```
    Kill -> Result<KillOutcome, NoSuchTask>, |reply| match reply {
        Reply::Done => Ok(KillOutcome::Killed),
        Reply::AlreadyEnded => Ok(KillOutcome::AlreadyEnded),
        _ => Err(NoSuchTask),
    }
}

/// Ends a task, as [`kill`] does, by a post: without suspending, from a destructor too. An id that
/// names no living task is passed over.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let child = trapline::spawn(std::future::pending::<()>()).await;
/// trapline::post_kill(child.id());
/// assert!(child.await.unwrap_err().is_killed());
/// # }).unwrap();
/// ```
///
/// # Panics
/// Outside a scheduler.
///
/// # Cost
/// No trap.
pub fn post_kill(target: TaskId) {
    let ring = Ring::at_work().expect("a task is killed by a task");
    ring.post(Post::Kill(target));
}
