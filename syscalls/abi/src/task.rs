//! What a kernel is handed when a task is born, and what the task leaves when it ends.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project::pin_project;

use crate::call::Ended;
use crate::cancel::Cancelled;
use crate::id::TaskId;
use crate::own_call::ErasedOwnCall;

/// A task's future with a place for its result, as the kernel sees it.
pub trait TaskBody {
    /// Polls the future, and keeps its output when it is done.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;

    /// The name the task was given.
    fn name(&self) -> Option<&str> {
        None
    }

    /// The poll panicked, with `payload`, and somebody else than a handle may be there to take it. Gives
    /// it back if not.
    fn panicked(self: Pin<&mut Self>, payload: Box<dyn Any + Send>) -> Option<Box<dyn Any + Send>> {
        Some(payload)
    }

    /// Whether the handle, if there is one, is yet to ask how the task ended. One that has told somebody
    /// else what it came to leaves nothing.
    fn leaves_outcome(&self) -> bool {
        true
    }

    /// The task has been cancelled, and ends by that: told before the body is dropped.
    fn cancelled(self: Pin<&mut Self>, why: &Cancelled) {
        let _ = why;
    }

    /// Moves the output into `slot`, an `Option` of the output's type.
    fn take_output(self: Pin<&mut Self>, slot: &mut dyn Any);
}

#[pin_project(project = BodyProjection)]
enum Body<F: Future> {
    Running(#[pin] F),
    Finished(Option<F::Output>),
}

impl<F: Future<Output: 'static>> TaskBody for Body<F> {
    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let BodyProjection::Running(future) = self.as_mut().project() else {
            return Poll::Ready(());
        };
        let Poll::Ready(output) = future.poll(cx) else {
            return Poll::Pending;
        };
        self.set(Body::Finished(Some(output)));
        Poll::Ready(())
    }

    fn take_output(self: Pin<&mut Self>, slot: &mut dyn Any) {
        if let BodyProjection::Finished(output) = self.project()
            && let Some(slot) = slot.downcast_mut::<Option<F::Output>>()
        {
            *slot = output.take();
        }
    }
}

#[pin_project]
struct Named<B> {
    #[pin]
    body: B,
    name: Cow<'static, str>,
}

impl<B: TaskBody> TaskBody for Named<B> {
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().body.poll(cx)
    }

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn panicked(self: Pin<&mut Self>, payload: Box<dyn Any + Send>) -> Option<Box<dyn Any + Send>> {
        self.project().body.panicked(payload)
    }

    fn leaves_outcome(&self) -> bool {
        self.body.leaves_outcome()
    }

    fn cancelled(self: Pin<&mut Self>, why: &Cancelled) {
        self.project().body.cancelled(why);
    }

    fn take_output(self: Pin<&mut Self>, slot: &mut dyn Any) {
        self.project().body.take_output(slot);
    }
}

/// How a task is to be started: its name, and whether it is a daemon.
///
/// ```
/// use trapline_abi::TaskOptions;
///
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// let options = TaskOptions::new().name("clock").daemon();
/// scheduler.spawn_with(options, std::future::pending::<()>()).detach();
/// // A daemon keeps no run from ending.
/// scheduler.run()?;
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct TaskOptions {
    name: Option<Cow<'static, str>>,
    daemon: bool,
}

impl TaskOptions {
    /// No name; not a daemon.
    ///
    /// ```
    /// use trapline_abi::TaskOptions;
    ///
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.spawn_with(TaskOptions::new().name("cook"), async {});
    /// assert_eq!(scheduler.snapshot().task(task.id()).unwrap().name.as_deref(), Some("cook"));
    /// ```
    #[must_use]
    pub const fn new() -> TaskOptions {
        TaskOptions { name: None, daemon: false }
    }

    /// Names the task, for reports and the task table.
    ///
    /// ```
    /// use trapline_abi::TaskOptions;
    ///
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let options = TaskOptions::new().name("cook");
    /// let deadlock = scheduler.spawn_with(options, std::future::pending::<()>());
    /// let error = scheduler.block_on(deadlock).unwrap_err();
    /// assert!(error.to_string().contains("cook"));
    /// ```
    #[must_use]
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> TaskOptions {
        self.name = Some(name.into());
        self
    }

    /// Makes it a daemon: `run` does not wait for it. It stays for the next `run`, and goes with
    /// the scheduler.
    ///
    /// ```
    /// use trapline_abi::TaskOptions;
    ///
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// scheduler.spawn_with(TaskOptions::new().daemon(), std::future::pending::<()>()).detach();
    /// // Nobody waits for it.
    /// drop(scheduler.run()?);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    #[must_use]
    pub fn daemon(mut self) -> TaskOptions {
        self.daemon = true;
        self
    }

    /// Whether it is a daemon.
    ///
    /// ```
    /// use trapline_abi::TaskOptions;
    ///
    /// assert!(!TaskOptions::new().is_daemon());
    /// assert!(TaskOptions::new().daemon().is_daemon());
    /// ```
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.daemon
    }

    /// Boxes `future` as the body of such a task, which takes the name.
    ///
    /// ```
    /// use trapline_abi::TaskOptions;
    ///
    /// let body = TaskOptions::new().name("cook").body(async { "soup" });
    /// assert_eq!(body.name(), Some("cook"));
    /// ```
    pub fn body<F>(&mut self, future: F) -> Pin<Box<dyn TaskBody>>
    where
        F: Future<Output: 'static> + 'static,
    {
        self.wrap(Body::Running(future))
    }

    /// Boxes a body, which takes the name. For the library.
    #[doc(hidden)]
    #[inline]
    pub fn wrap(&mut self, body: impl TaskBody + 'static) -> Pin<Box<dyn TaskBody>> {
        match self.name.take() {
            None => Box::pin(body),
            Some(name) => Box::pin(Named { body, name }),
        }
    }
}

/// A task that is posted to a kernel.
pub struct NewTask {
    /// Its future.
    pub body: Pin<Box<dyn TaskBody>>,
    /// Whether `run` may end while it lives.
    pub daemon: bool,
    /// Who spawned it, if a task did.
    pub parent: Option<TaskId>,
    /// Where.
    pub site: &'static Location<'static>,
    /// Who takes the handle of the task, if it is to have one.
    pub herald: Option<Rc<dyn Herald>>,
}

/// Who is told of the birth of a task that was posted, since a post has no reply. Dropped untold, it
/// knows that the task was never started.
pub trait Herald {
    /// The task has been born, and has a handle: this is the herald's to make.
    fn born(&self, task: TaskId);
}

impl fmt::Debug for NewTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewTask")
            .field("name", &self.body.name())
            .field("daemon", &self.daemon)
            .field("parent", &self.parent)
            .finish_non_exhaustive()
    }
}

/// What lies beside a request or a reply, in the call's slot.
#[derive(Default)]
pub enum Beside {
    /// Nothing.
    #[default]
    Nothing,
    /// The body of a task to be spawned.
    Body(Pin<Box<dyn TaskBody>>),
    /// A call that the program defines, and later its reply.
    Own(Box<dyn ErasedOwnCall>),
    /// How a task ended, where that is more than a byte.
    Status(ExitStatus),
    /// Why a task is to be cancelled.
    Why(Cancelled),
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Beside::Nothing => "Nothing",
            Beside::Body(_) => "Body",
            Beside::Own(_) => "Own",
            Beside::Status(_) => "Status",
            Beside::Why(_) => "Why",
        })
    }
}

/// How a task ended.
///
/// ```
/// use trapline_abi::{Ended, ExitStatus, TaskState};
///
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// let task = scheduler.spawn(async { panic!("no luck") });
/// scheduler.run()?;
/// let snapshot = scheduler.snapshot();
/// let TaskState::Ended(status) = &snapshot.task(task.id()).unwrap().state else { unreachable!() };
/// assert!(matches!(status, ExitStatus::Panicked(text) if &**text == "no luck"));
/// assert_eq!(status.ended(), Ended::Panicked);
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ExitStatus {
    /// It returned.
    Returned,
    /// It panicked; this is the text.
    Panicked(Rc<str>),
    /// It was killed.
    Killed,
    /// It was cancelled.
    Cancelled(Cancelled),
    /// It ended, and nobody kept how: a detached task leaves nothing behind, nor does one whose handle
    /// has been told.
    Forgotten,
}

impl ExitStatus {
    /// The status in a byte.
    ///
    /// ```
    /// use trapline_abi::{Ended, ExitStatus};
    ///
    /// assert_eq!(ExitStatus::Panicked("no luck".into()).ended(), Ended::Panicked);
    /// ```
    #[must_use]
    pub fn ended(&self) -> Ended {
        match self {
            ExitStatus::Returned => Ended::Returned,
            ExitStatus::Panicked(_) => Ended::Panicked,
            ExitStatus::Killed => Ended::Killed,
            ExitStatus::Cancelled(_) => Ended::Cancelled,
            ExitStatus::Forgotten => Ended::Forgotten,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Panicked(text) => write!(f, "panicked: {text}"),
            ExitStatus::Cancelled(why) => why.fmt(f),
            other => other.ended().fmt(f),
        }
    }
}

/// A task in a snapshot of the task table.
///
/// ```
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// let task = scheduler.spawn(async {});
/// let snapshot = scheduler.snapshot();
/// let info = snapshot.task(task.id()).unwrap();
/// assert_eq!((info.parent, info.daemon, info.dispatches), (None, false, 0));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskInfo {
    /// Its id.
    pub id: TaskId,
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// Who spawned it, if a task did.
    pub parent: Option<TaskId>,
    /// Where it was spawned.
    pub site: &'static Location<'static>,
    /// Whether `run` may end while it lives.
    pub daemon: bool,
    /// What it is doing.
    pub state: TaskState,
    /// How often it was taken to run.
    pub dispatches: u64,
    /// Why it was cancelled, if it was.
    pub cancelled: Option<Cancelled>,
    /// A shield that is open in it, if one is.
    pub shield: Option<&'static Location<'static>>,
}

/// What a task in the task table is doing.
///
/// ```
/// use trapline_abi::TaskState;
///
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// let task = scheduler.spawn(async {});
/// assert_eq!(scheduler.snapshot().task(task.id()).unwrap().state, TaskState::Ready);
/// scheduler.run()?;
/// assert!(matches!(scheduler.snapshot().task(task.id()).unwrap().state, TaskState::Ended(_)));
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TaskState {
    /// It runs, or goes on at the next step.
    Running,
    /// It stands in the ready queue.
    Ready,
    /// It waits for its calls in flight; for somebody's waker, where there is none.
    Blocked(Vec<crate::call_table::CallInfo>),
    /// It ended, and its handle may still ask how.
    Ended(ExitStatus),
}
