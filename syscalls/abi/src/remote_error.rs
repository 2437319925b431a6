//! Why a task that a thread started gave no value.

use std::any::Any;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::cancel::Cancelled;

/// Why a task that a thread started gave no value.
///
/// ```
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// let task = scheduler.handle().spawn(|| async { "7o".parse::<u32>().expect("a number") });
/// scheduler.run()?;
/// let error = task.join().unwrap_err();
/// assert!(error.to_string().starts_with("the task panicked: a number"));
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
pub struct RemoteJoinError {
    cause: Cause,
}

pub(crate) enum Cause {
    /// Behind a lock, so that the error may be shared between threads.
    Panicked(Mutex<Box<dyn Any + Send>>),
    Killed,
    Cancelled(Cancelled),
    Gone,
}

impl RemoteJoinError {
    pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> RemoteJoinError {
        RemoteJoinError { cause: Cause::Panicked(Mutex::new(payload)) }
    }

    pub(crate) fn of(cause: Cause) -> RemoteJoinError {
        RemoteJoinError { cause }
    }

    /// Whether the task panicked.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.handle().spawn(|| async { "7o".parse::<u32>().expect("a number") });
    /// scheduler.run()?;
    /// assert!(task.join().unwrap_err().is_panic());
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self.cause, Cause::Panicked(_))
    }

    /// Whether the task was killed.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let handle = scheduler.handle();
    /// let task = handle.spawn(std::future::pending::<()>);
    /// scheduler.run().unwrap_err(); // nobody could wake it
    /// handle.kill(task.id().unwrap()).unwrap();
    /// scheduler.run()?;
    /// assert!(task.join().unwrap_err().is_killed());
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    #[must_use]
    pub fn is_killed(&self) -> bool {
        matches!(self.cause, Cause::Killed)
    }

    /// Who cancelled the task and why, if that is how it ended.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let handle = scheduler.handle();
    /// let task = handle.spawn(std::future::pending::<()>);
    /// scheduler.run().unwrap_err(); // nobody could wake it
    /// handle.cancel(task.id().unwrap(), "no longer needed").unwrap();
    /// scheduler.run()?;
    /// let error = task.join().unwrap_err();
    /// assert_eq!(error.cancelled().unwrap().text(), "no longer needed");
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    #[must_use]
    pub fn cancelled(&self) -> Option<&Cancelled> {
        match &self.cause {
            Cause::Cancelled(why) => Some(why),
            _ => None,
        }
    }

    /// Whether the scheduler is gone: before it was asked, before the task began, or while it lived.
    ///
    /// ```
    /// let scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.handle().spawn(|| async { 42 });
    /// drop(scheduler);
    /// assert!(task.join().unwrap_err().is_gone());
    /// ```
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self.cause, Cause::Gone)
    }

    /// The payload of the panic, for `std::panic::resume_unwind`.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.handle().spawn(|| async { assert!(1 > 2, "oh dear") });
    /// scheduler.run()?;
    /// let payload = task.join().unwrap_err().try_into_panic().unwrap();
    /// assert_eq!(payload.downcast_ref(), Some(&"oh dear"));
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    ///
    /// # Errors
    /// The error itself, if the task did not panic.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, RemoteJoinError> {
        match self.cause {
            Cause::Panicked(payload) => {
                Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner))
            }
            cause => Err(RemoteJoinError { cause }),
        }
    }
}

impl fmt::Display for RemoteJoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Killed => f.write_str("the task was killed"),
            Cause::Cancelled(why) => write!(f, "the task was {why}"),
            Cause::Gone => f.write_str("the scheduler is gone"),
            Cause::Panicked(payload) => {
                let payload = payload.lock().unwrap_or_else(PoisonError::into_inner);
                let text = payload.downcast_ref::<String>().map(String::as_str);
                match text.or_else(|| payload.downcast_ref::<&str>().copied()) {
                    Some(text) => write!(f, "the task panicked: {text}"),
                    None => f.write_str("the task panicked"),
                }
            }
        }
    }
}

impl fmt::Debug for RemoteJoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteJoinError({self})")
    }
}

impl std::error::Error for RemoteJoinError {}
