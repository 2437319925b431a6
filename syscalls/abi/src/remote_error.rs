//! Why a task that a thread started gave no value.

use std::any::Any;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::cancel::Cancelled;

/// Why a task that a thread started gave no value.
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
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self.cause, Cause::Panicked(_))
    }

    /// Whether the task was killed.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        matches!(self.cause, Cause::Killed)
    }

    /// Who cancelled the task and why, if that is how it ended.
    #[must_use]
    pub fn cancelled(&self) -> Option<&Cancelled> {
        match &self.cause {
            Cause::Cancelled(why) => Some(why),
            _ => None,
        }
    }

    /// Whether the scheduler is gone: before it was asked, before the task began, or while it lived.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self.cause, Cause::Gone)
    }

    /// The payload of the panic, for `std::panic::resume_unwind`.
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
