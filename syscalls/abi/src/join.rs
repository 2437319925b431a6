//! The handle of a task.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use crate::call::{Post, Reply, Syscall};
use crate::cancel::{CancelReason, Cancelled};
use crate::id::TaskId;
use crate::outcomes::{Outcome, Panic};
use crate::ring::Ring;
use crate::trap::Trap;

/// The right to a task's result. Await it to *join* the task.
///
/// Joining gives what the task returned, before or after its exit. Dropping the handle detaches
/// the task: it runs on, and leaves nothing behind when it ends.
///
/// The source line that is shown for the wait is that of the `.await`; of whoever polls the handle,
/// where it is awaited by reference or inside a combinator. [`join`](JoinHandle::join) takes the
/// line it is called at.
///
/// ```
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// let handle = scheduler.spawn(async { 6 * 7 });
/// assert_eq!(scheduler.block_on(handle)?.unwrap(), 42);
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
///
/// # Errors
/// [`JoinError`], if the task panicked or was killed.
///
/// # Panics
/// If it is awaited in a task of another scheduler, or again after it was ready.
///
/// # Cancel safety
/// Safe, through `&mut handle`: dropping the wait leaves the result where it is, and the handle
/// may be awaited again.
///
/// # Cost
/// One trap, O(1).
///
/// # Kin
/// `pthread_join(3)`.
#[must_use = "dropping the handle detaches the task; say `.detach()` if that is meant"]
pub struct JoinHandle<T> {
    task: TaskId,
    ring: &'static Ring,
    life: u64,
    trap: Option<Trap>,
    output: PhantomData<fn() -> T>,
}

impl<T: 'static> JoinHandle<T> {
    /// The handle of a task that was just spawned with a body whose output is `T`. For kernels and
    /// the library.
    #[doc(hidden)]
    pub fn new(task: TaskId, ring: &'static Ring) -> JoinHandle<T> {
        JoinHandle { task, ring, life: ring.life(), trap: None, output: PhantomData }
    }

    /// The task's id.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.spawn(async {});
    /// assert_eq!(task.id().sequence(), 1);
    /// ```
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.task
    }

    /// Waits for the task and takes its result: the same as awaiting the handle, at this line.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.spawn(async { 7 });
    /// assert_eq!(scheduler.block_on(task.join())?.unwrap(), 7);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    ///
    /// # Cancel safety
    /// Lossy: the handle goes with the future, so dropping it detaches the task. Await `&mut
    /// handle` to keep it.
    #[track_caller]
    pub fn join(mut self) -> JoinHandle<T> {
        self.ask_at(Location::caller());
        self
    }

    /// Whoever polls it first joins at the line `site`: for the library.
    #[doc(hidden)]
    pub fn ask_at(&mut self, site: &'static Location<'static>) {
        if self.trap.is_none() {
            self.trap = Some(Trap::new(Syscall::Join(self.task), site));
        }
    }

    /// Ends the task, as `trapline::kill` does, by a post: without suspending. The handle may still be
    /// awaited.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.spawn(std::future::pending::<()>());
    /// task.kill();
    /// assert!(scheduler.block_on(task)?.unwrap_err().is_killed());
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    #[doc(alias = "abort")]
    pub fn kill(&self) {
        if self.ring.life() == self.life {
            self.ring.post(Post::Kill(self.task));
        }
    }

    /// Asks the task to end, as `trapline::cancel` does, by a post: without suspending.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.spawn(std::future::pending::<()>());
    /// task.cancel("no longer needed");
    /// let error = scheduler.block_on(task)?.unwrap_err();
    /// assert_eq!(error.cancelled().unwrap().text(), "no longer needed");
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    #[track_caller]
    pub fn cancel(&self, reason: impl Into<CancelReason>) {
        if self.ring.life() == self.life {
            let why = Cancelled::new(reason.into(), Location::caller());
            self.ring.post(Post::Cancel(self.task, why));
        }
    }

    /// Lets the task run on without a handle.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// scheduler.spawn(async { println!("on its own") }).detach();
    /// let report = scheduler.run()?;
    /// assert_eq!(report.failures, 0);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    pub fn detach(self) {}

    #[inline]
    fn open(&self, reply: Reply) -> Result<T, JoinError> {
        let task = self.task;
        let outcome = match reply {
            Reply::Outcome(key) => self.ring.take_outcome(key as u32, task),
            _ => None,
        };
        let Some(Outcome { body, panic, cancelled }) = outcome else {
            return Err(JoinError { task, cause: Cause::Gone });
        };
        let mut slot: Option<T> = None;
        if let Some(mut body) = body {
            body.as_mut().take_output(&mut slot);
        }
        match (slot, panic) {
            (Some(output), _) => Ok(output),
            (None, Some(panic)) => Err(JoinError { task, cause: Cause::of(*panic) }),
            (None, None) => {
                let cause = cancelled.map_or(Cause::Killed, Cause::Cancelled);
                Err(JoinError { task, cause })
            }
        }
    }
}

impl<T: 'static> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    #[track_caller]
    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let site = Location::caller();
        let task = self.task;
        let trap = self.trap.get_or_insert_with(|| Trap::new(Syscall::Join(task), site));
        if trap.is_unborn() {
            let ring = Ring::of_running_task();
            assert!(
                ring.life() == self.life,
                "task {task} was joined by a task of another scheduler"
            );
        }
        let trap = self.trap.as_mut().expect("it was put there above");
        let Poll::Ready(reply) = trap.poll_reply(cx) else { return Poll::Pending };
        Poll::Ready(self.open(reply))
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        if self.trap.as_ref().is_some_and(Trap::is_taken) {
            // It has been told, and has what there was.
            return;
        }
        let untaken = self.trap.as_ref().and_then(Trap::untaken_outcome);
        // The call leaves first, so that its withdrawal is served before the detachment.
        self.trap = None;
        if self.ring.life() == self.life {
            self.ring.post(match untaken {
                Some(key) => Post::Discard(self.task, key),
                None => Post::Detach(self.task),
            });
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("task", &self.task).finish_non_exhaustive()
    }
}

/// Why a join gave no value.
///
/// ```
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// let task = scheduler.spawn(async { panic!("no luck") });
/// let error = scheduler.block_on(task)?.unwrap_err();
/// assert!(error.is_panic() && !error.is_killed());
/// let payload = error.try_into_panic().unwrap();
/// assert_eq!(payload.downcast_ref(), Some(&"no luck"));
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
pub struct JoinError {
    task: TaskId,
    cause: Cause,
}

enum Cause {
    /// What it said, and its payload, which none but one who owns the error can see: so that errors may
    /// go to other threads, and into error types that ask for it.
    Panicked(Arc<str>, Mutex<Box<dyn Any + Send>>),
    Killed,
    Cancelled(Cancelled),
    Gone,
}

impl Cause {
    #[cold]
    fn of(panic: Panic) -> Cause {
        Cause::Panicked(Arc::from(&*panic.text), Mutex::new(panic.payload))
    }
}

impl JoinError {
    /// The task that was joined.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.spawn(async { panic!("oh dear") });
    /// let id = task.id();
    /// let error = scheduler.block_on(task)?.map(|()| ()).unwrap_err();
    /// assert_eq!(error.task(), id);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    #[must_use]
    pub fn task(&self) -> TaskId {
        self.task
    }

    /// Whether the task panicked.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.spawn(async { panic!("oh dear") });
    /// let error = scheduler.block_on(task)?.map(|()| ()).unwrap_err();
    /// assert!(error.is_panic() && error.to_string().contains("oh dear"));
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self.cause, Cause::Panicked(..))
    }

    /// Whether the task was killed.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.spawn(std::future::pending::<()>());
    /// task.kill();
    /// assert!(scheduler.block_on(task)?.unwrap_err().is_killed());
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
    /// let task = scheduler.spawn(std::future::pending::<()>());
    /// task.cancel("no longer needed");
    /// let error = scheduler.block_on(task)?.unwrap_err();
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

    /// The payload of the panic, for `std::panic::resume_unwind`.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.spawn(async { panic!("oh dear") });
    /// let error = scheduler.block_on(task)?.map(|()| ()).unwrap_err();
    /// let payload = error.try_into_panic().unwrap();
    /// assert_eq!(payload.downcast_ref(), Some(&"oh dear"));
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    ///
    /// # Errors
    /// The error itself, if the task did not panic.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, JoinError> {
        match self.cause {
            Cause::Panicked(_, payload) => {
                Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner))
            }
            cause => Err(JoinError { task: self.task, cause }),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Panicked(text, _) => write!(f, "task {} panicked: {text}", self.task),
            Cause::Killed => write!(f, "task {} was killed", self.task),
            Cause::Cancelled(why) => write!(f, "task {} was {why}", self.task),
            Cause::Gone => write!(f, "task {} left no result", self.task),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {}

const _: () = {
    const fn goes_anywhere<T: Send + Sync>() {}
    goes_anywhere::<JoinError>();
};
