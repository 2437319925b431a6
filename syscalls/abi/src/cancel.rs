//! Why a task is asked to end.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::id::TaskId;
use crate::ring::Ring;
use crate::time::Instant;

/// What brought a cancellation about.
///
/// ```
/// use trapline_abi::{CancelCause, CancelReason};
///
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// let task = scheduler.spawn(std::future::pending::<()>());
/// task.cancel(CancelReason::shutdown("closing time"));
/// let error = scheduler.block_on(task)?.unwrap_err();
/// assert_eq!(error.cancelled().unwrap().cause(), CancelCause::Shutdown);
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CancelCause {
    /// Somebody asked for it.
    Request,
    /// This deadline passed.
    Deadline(Instant),
    /// This task failed, and took those who work with it along.
    Failure(TaskId),
    /// The program is shutting down.
    Shutdown,
}

/// Why a task is to be cancelled, in the words of whoever asks for it.
///
/// A text alone will do where one is asked for: `trapline::cancel(task, "no longer needed")`.
///
/// ```
/// use trapline_abi::CancelReason;
///
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// let task = scheduler.spawn(std::future::pending::<()>());
/// task.cancel(CancelReason::shutdown("closing time"));
/// let error = scheduler.block_on(task)?.unwrap_err();
/// assert_eq!(error.cancelled().unwrap().text(), "closing time");
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CancelReason {
    cause: CancelCause,
    text: Cow<'static, str>,
}

impl CancelReason {
    /// A reason in words.
    ///
    /// ```
    /// use trapline_abi::CancelReason;
    ///
    /// // Words are turned into one wherever a reason is asked for.
    /// assert_eq!(CancelReason::new("closing time"), "closing time".into());
    /// ```
    #[must_use]
    pub fn new(text: impl Into<Cow<'static, str>>) -> CancelReason {
        CancelReason { cause: CancelCause::Request, text: text.into() }
    }

    /// A deadline has passed.
    ///
    /// ```
    /// use trapline_abi::{CancelCause, CancelReason, Instant};
    ///
    /// let noon = Instant::from_nanos(12_000);
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.spawn(std::future::pending::<()>());
    /// task.cancel(CancelReason::deadline(noon));
    /// let error = scheduler.block_on(task)?.unwrap_err();
    /// assert_eq!(error.cancelled().unwrap().cause(), CancelCause::Deadline(noon));
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    #[must_use]
    pub fn deadline(deadline: Instant) -> CancelReason {
        CancelReason { cause: CancelCause::Deadline(deadline), text: "the time was up".into() }
    }

    /// A task has failed that this one works with; `text` says how.
    ///
    /// ```
    /// use trapline_abi::{CancelCause, CancelReason};
    ///
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let reader = scheduler.spawn(async {});
    /// let writer = scheduler.spawn(std::future::pending::<()>());
    /// writer.cancel(CancelReason::failure(reader.id(), "the file is empty"));
    /// let error = scheduler.block_on(writer)?.unwrap_err();
    /// assert_eq!(error.cancelled().unwrap().cause(), CancelCause::Failure(reader.id()));
    /// assert!(error.to_string().ends_with("task 1 failed: the file is empty"));
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    #[must_use]
    pub fn failure(task: TaskId, text: impl Into<Cow<'static, str>>) -> CancelReason {
        CancelReason { cause: CancelCause::Failure(task), text: text.into() }
    }

    /// The program is shutting down.
    ///
    /// ```
    /// use trapline_abi::{CancelCause, CancelReason};
    ///
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.spawn(std::future::pending::<()>());
    /// task.cancel(CancelReason::shutdown("closing time"));
    /// let error = scheduler.block_on(task)?.unwrap_err();
    /// assert_eq!(error.cancelled().unwrap().cause(), CancelCause::Shutdown);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    #[must_use]
    pub fn shutdown(text: impl Into<Cow<'static, str>>) -> CancelReason {
        CancelReason { cause: CancelCause::Shutdown, text: text.into() }
    }
}

impl From<&'static str> for CancelReason {
    fn from(text: &'static str) -> CancelReason {
        CancelReason::new(text)
    }
}

impl From<String> for CancelReason {
    fn from(text: String) -> CancelReason {
        CancelReason::new(text)
    }
}

/// A task was cancelled: by whom, from where, and why. Cheap to clone.
///
/// ```
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// let task = scheduler.spawn(std::future::pending::<()>());
/// task.cancel("no longer needed");
/// let error = scheduler.block_on(task)?.unwrap_err();
/// let cancelled = error.cancelled().unwrap();
/// assert_eq!((cancelled.text(), cancelled.by()), ("no longer needed", None));
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Cancelled(Arc<Told>);

#[derive(PartialEq, Eq)]
struct Told {
    reason: CancelReason,
    by: Option<TaskId>,
    site: &'static Location<'static>,
}

impl Cancelled {
    /// A cancellation asked for at `site`, by the running task if there is one.
    ///
    /// ```
    /// use std::panic::Location;
    /// use trapline_abi::Cancelled;
    ///
    /// let why = Cancelled::new("closing time".into(), Location::caller());
    /// // Asked for outside a task.
    /// assert_eq!((why.text(), why.by()), ("closing time", None));
    /// ```
    #[must_use]
    pub fn new(reason: CancelReason, site: &'static Location<'static>) -> Cancelled {
        let by = Ring::current().and_then(Ring::running);
        Cancelled(Arc::new(Told { reason, by, site }))
    }

    /// What brought it about.
    ///
    /// ```
    /// use trapline_abi::CancelCause;
    ///
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # let task = scheduler.spawn(std::future::pending::<()>());
    /// task.cancel("no longer needed");
    /// let error = scheduler.block_on(task)?.unwrap_err();
    /// assert_eq!(error.cancelled().unwrap().cause(), CancelCause::Request);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    #[must_use]
    pub fn cause(&self) -> CancelCause {
        self.0.reason.cause
    }

    /// The reason in words.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # let task = scheduler.spawn(std::future::pending::<()>());
    /// task.cancel("no longer needed");
    /// let error = scheduler.block_on(task)?.unwrap_err();
    /// assert_eq!(error.cancelled().unwrap().text(), "no longer needed");
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.reason.text
    }

    /// The task that asked for it, if one did.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # let task = scheduler.spawn(std::future::pending::<()>());
    /// let foreman = scheduler.spawn(async move {
    ///     task.cancel("no longer needed");
    ///     task.await
    /// });
    /// let id = foreman.id();
    /// let error = scheduler.block_on(foreman)?.unwrap().unwrap_err();
    /// assert_eq!(error.cancelled().unwrap().by(), Some(id));
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    #[must_use]
    pub fn by(&self) -> Option<TaskId> {
        self.0.by
    }

    /// Where it was asked for.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # let task = scheduler.spawn(std::future::pending::<()>());
    /// let line = line!() + 1;
    /// task.cancel("no longer needed");
    /// let error = scheduler.block_on(task)?.unwrap_err();
    /// assert_eq!(error.cancelled().unwrap().site().line(), line);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    #[must_use]
    pub fn site(&self) -> &'static Location<'static> {
        self.0.site
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Told { reason, by, site } = &*self.0;
        f.write_str("cancelled")?;
        if let Some(by) = by {
            write!(f, " by task {by}")?;
        }
        write!(f, " at {site}: ")?;
        match reason.cause {
            CancelCause::Failure(task) => write!(f, "task {task} failed: {}", reason.text),
            CancelCause::Deadline(at) => write!(f, "{} at {at}", reason.text),
            CancelCause::Request | CancelCause::Shutdown => f.write_str(&reason.text),
        }
    }
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cancelled({self})")
    }
}

impl std::error::Error for Cancelled {}
