//! What a run comes to.

use std::fmt;
use std::io::{self, Write};
use std::rc::Rc;

use thiserror::Error;
use trapline_abi::{Cancelled, TaskId};

use crate::deadlock::DeadlockReport;
use crate::kernel::Kernel;

/// What a run left to be said.
///
/// ```
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// scheduler.spawn(async { panic!("unseen") }).detach();
/// let report = scheduler.run()?;
/// assert_eq!((report.failures, &*report.first_failures[0].text), (1, "unseen"));
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Debug)]
#[must_use = "a report may hold failures that nobody else will tell of"]
pub struct RunReport {
    /// How many panics nobody could look at any more: of tasks without handle or waiters, and in
    /// destructors.
    pub failures: usize,
    /// The first few of them.
    pub first_failures: Vec<Failure>,
    /// The text with which the probe panicked, and was removed.
    pub probe_panic: Option<Rc<str>>,
}

/// A panic that nobody looked at.
///
/// ```
/// use trapline_scheduler::Failure;
///
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// scheduler.spawn(async { panic!("unseen") }).detach();
/// for Failure { task, text } in scheduler.run()?.first_failures {
///     println!("task {task}: {text}");
/// }
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Whose.
    pub task: TaskId,
    /// What it said.
    pub text: Rc<str>,
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.failures == 1 { "" } else { "s" };
        write!(f, "{} failure{plural}", self.failures)?;
        for Failure { task, text } in &self.first_failures {
            write!(f, "\n  task {task}: {text}")?;
        }
        if let Some(text) = &self.probe_panic {
            write!(f, "\n  the probe: {text}")?;
        }
        Ok(())
    }
}

/// Why a run ended before its tasks did.
///
/// ```
/// use trapline_scheduler::{RunError, Scheduler};
///
/// let mut scheduler = Scheduler::new();
/// match scheduler.block_on(std::future::pending::<()>()) {
///     Err(RunError::Deadlock(report)) => println!("{report}"),
///     other => unreachable!("{other:?}"),
/// }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// A task cannot run a scheduler: it would stop every other task of its own.
    #[error("a scheduler cannot be run inside a task")]
    InsideTask,
    /// Nobody can ever run again.
    #[error("deadlock: {0}")]
    Deadlock(DeadlockReport),
    /// Nothing could run but by a waker held elsewhere, for longer than the builder allows.
    #[error("stalled: {0}")]
    Stalled(DeadlockReport),
    /// The task of `block_on` was killed.
    #[error("the task of `block_on` was killed")]
    Killed,
    /// The task of `block_on` was cancelled.
    #[error("the task of `block_on` was {0}")]
    Cancelled(Cancelled),
    /// There is no place for one more task.
    #[error("too many tasks")]
    TooManyTasks,
    /// The driver failed.
    #[error("the driver failed: {0}")]
    Driver(#[source] io::Error),
}

impl Kernel {
    pub(crate) fn take_driver_error(&mut self) -> io::Error {
        self.driver_error.take().unwrap_or_else(|| io::Error::other("unknown"))
    }

    pub(crate) fn take_report(&mut self) -> RunReport {
        RunReport {
            failures: std::mem::take(&mut self.failures),
            first_failures: std::mem::take(&mut self.first_failures),
            probe_panic: self.probe_panic.take(),
        }
    }
}

/// Says a line on standard error. Where nobody reads that, `eprintln!` would panic, and what is said in the middle
/// of a step would take the kernel down.
#[doc(hidden)]
pub fn complain(line: fmt::Arguments<'_>) {
    // In one piece, so that other threads' lines stand beside it and not within.
    let _ = io::stderr().lock().write_all(format!("trapline: {line}\n").as_bytes());
}
