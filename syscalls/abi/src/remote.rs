//! The way into a scheduler from other threads: errands, which it runs between two steps.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;

use thiserror::Error;

use crate::call::{Post, Reply};
use crate::call_table::{CallState, On};
use crate::cancel::{CancelReason, Cancelled};
use crate::id::{CallId, TaskId};
use crate::kernel_ring::KernelRing;
use crate::remote_join::{RemoteBody, RemoteJoinHandle, Teller};
use crate::ring::Ring;
use crate::task::{Beside, NewTask, TaskBody, TaskOptions};

/// Something to be done on a scheduler's own thread, between two steps. Its ring is then the current
/// one, so an errand may post.
pub type Errand = Box<dyn FnOnce() + Send>;

/// Where a kernel takes errands in, from any thread.
pub trait Door: Send + Sync {
    /// Hands in an errand. They are run in the order in which they arrive, also among the wake-ups
    /// of other threads; a kernel that sleeps wakes up for it.
    ///
    /// # Errors
    /// The errand itself, if the scheduler is gone. One that was accepted is dropped if it has not been
    /// run when the scheduler goes.
    fn send(&self, errand: Errand) -> Result<(), Errand>;

    /// Whether the scheduler is gone.
    fn is_closed(&self) -> bool;
}

/// The scheduler that was asked is gone.
///
/// ```
/// use trapline_abi::SchedulerGone;
///
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// let task = scheduler.spawn(std::future::pending::<()>());
/// let (handle, id) = (scheduler.handle(), task.id());
/// drop(scheduler);
/// assert_eq!(handle.kill(id), Err(SchedulerGone));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the scheduler is gone")]
pub struct SchedulerGone;

/// A scheduler, as other threads see it: they may start tasks in it, and end them.
///
/// It may be cloned and sent anywhere. It does not keep its scheduler alive, nor its `run` going; and a
/// task that waits for what only the holder of a handle could do is in a deadlock, as far as the scheduler
/// can tell.
///
/// ```
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// let server = scheduler.spawn(std::future::pending::<()>());
/// let (handle, id) = (scheduler.handle(), server.id());
/// let thread = std::thread::spawn(move || handle.kill(id));
/// thread.join().unwrap().unwrap();
/// assert!(scheduler.block_on(server)?.unwrap_err().is_killed());
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
///
/// # Kin
/// tokio's `runtime::Handle`; trio's `from_thread`.
#[derive(Clone)]
pub struct Handle {
    door: Arc<dyn Door>,
}

impl Handle {
    /// A handle that hands in at `door`. For kernels.
    #[doc(hidden)]
    #[must_use]
    pub fn new(door: Arc<dyn Door>) -> Handle {
        Handle { door }
    }

    /// Starts the task that `start` makes, on the scheduler's thread. `start` goes there and is called
    /// in the new task, so that what it makes need not be `Send`; only the task's value comes back.
    ///
    /// Tasks are started in the order in which the scheduler was asked. Dropping the handle of the task
    /// detaches it. If the scheduler is gone, or goes before the task has ended, that handle tells.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let handle = scheduler.handle();
    /// let thread = std::thread::spawn(move || handle.spawn(|| async { 6 * 7 }));
    /// let task = thread.join().unwrap();
    /// let report = scheduler.run()?;
    /// assert_eq!(task.join().unwrap(), 42);
    /// # drop(report);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    ///
    /// # Cost
    /// Two allocations, and a wake-up of the scheduler if it sleeps.
    #[track_caller]
    pub fn spawn<S, F>(&self, start: S) -> RemoteJoinHandle<F::Output>
    where
        S: FnOnce() -> F + Send + 'static,
        F: Future<Output: Send + 'static> + 'static,
    {
        self.spawn_with(TaskOptions::new(), start)
    }

    /// The same with a name, or for a daemon.
    ///
    /// ```
    /// use trapline_abi::TaskOptions;
    ///
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let handle = scheduler.handle();
    /// let task = handle.spawn_with(TaskOptions::new().name("answer"), || async { 42 });
    /// let report = scheduler.run()?;
    /// assert_eq!(task.join().unwrap(), 42);
    /// # drop(report);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    #[track_caller]
    pub fn spawn_with<S, F>(&self, options: TaskOptions, start: S) -> RemoteJoinHandle<F::Output>
    where
        S: FnOnce() -> F + Send + 'static,
        F: Future<Output: Send + 'static> + 'static,
    {
        let site = Location::caller();
        let (teller, handle) = Teller::pair(Arc::clone(&self.door), site);
        let errand = move || post_spawn(options, RemoteBody::new(start, teller), site);
        // One that is not accepted is dropped, and with it the teller, which tells.
        drop(self.door.send(Box::new(errand)));
        handle
    }

    /// Ends a task, as `post_kill` does: soon, and after the tasks that were started through this handle
    /// before. An id that names no living task is passed over.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.spawn(std::future::pending::<()>());
    /// scheduler.handle().kill(task.id()).unwrap();
    /// assert!(scheduler.block_on(task)?.unwrap_err().is_killed());
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    ///
    /// # Errors
    /// [`SchedulerGone`], if it is.
    pub fn kill(&self, target: TaskId) -> Result<(), SchedulerGone> {
        let errand = move || post(Post::Kill(target));
        self.door.send(Box::new(errand)).map_err(|_| SchedulerGone)
    }

    /// Asks a task to end, as `post_cancel` does: soon, and after the tasks that were started through this
    /// handle before. An id that names no living task is passed over.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.spawn(std::future::pending::<()>());
    /// scheduler.run().unwrap_err(); // nobody could wake it
    /// scheduler.handle().cancel(task.id(), "no longer needed").unwrap();
    /// let error = scheduler.block_on(task)?.unwrap_err();
    /// assert_eq!(error.cancelled().unwrap().text(), "no longer needed");
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    ///
    /// # Errors
    /// [`SchedulerGone`], if it is.
    #[track_caller]
    pub fn cancel(
        &self,
        target: TaskId,
        reason: impl Into<CancelReason>,
    ) -> Result<(), SchedulerGone> {
        let why = Cancelled::new(reason.into(), Location::caller());
        let errand = move || post(Post::Cancel(target, why));
        self.door.send(Box::new(errand)).map_err(|_| SchedulerGone)
    }

    /// Whether the scheduler is gone.
    ///
    /// ```
    /// let scheduler = trapline_scheduler::Scheduler::new();
    /// let handle = scheduler.handle();
    /// drop(scheduler);
    /// assert!(handle.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.door.is_closed()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("closed", &self.is_closed()).finish()
    }
}

/// Posts to the scheduler that runs the errand.
pub(crate) fn post(post: Post) {
    if let Some(ring) = Ring::current() {
        ring.post(post);
    }
}

fn post_spawn(
    mut options: TaskOptions,
    body: impl TaskBody + 'static,
    site: &'static Location<'static>,
) {
    let daemon = options.is_daemon();
    let body: Pin<Box<dyn TaskBody>> = options.wrap(body);
    post(Post::Spawn(NewTask { body, daemon, parent: None, site, herald: None }));
}

/// What the library needs of a scheduler to have work done by threads.
impl Ring {
    /// Where other threads hand in errands for this scheduler.
    ///
    /// # Panics
    /// If its kernel takes none.
    #[must_use]
    pub fn door(&self) -> Arc<dyn Door> {
        let door = self.door.borrow().clone();
        door.expect("this kernel takes nothing in from other threads")
    }

    /// Notes that a thread owes an errand: until then, nobody who waits is in a deadlock.
    pub fn owe_errand(&self) {
        self.owed.set(self.owed.get() + 1);
    }

    /// Notes that such an errand is being run.
    pub fn errand_paid(&self) {
        self.owed.set(self.owed.get().saturating_sub(1));
    }

    /// Answers a blocked call of the program's own, from an errand. `reply` is a box of that call's
    /// [`OwnCall::Reply`](crate::OwnCall::Reply).
    ///
    /// # Errors
    /// The reply itself, if the call is gone, has been answered, or has another type of reply.
    pub fn answer_own(
        &self,
        id: CallId,
        reply: Box<dyn std::any::Any>,
    ) -> Result<(), Box<dyn std::any::Any>> {
        let mut own = match self.calls.table().get_mut(id) {
            Some(call) if call.state == CallState::Blocked(On::Own) => match call.take_beside() {
                Beside::Own(own) => own,
                _ => return Err(reply),
            },
            _ => return Err(reply),
        };
        // What it holds may be foreign: no table is borrowed.
        let accepted = own.accept(reply);
        if let Some(call) = self.calls.table().get_mut(id) {
            let _nothing = call.put_beside(Beside::Own(own));
            if accepted.is_ok() {
                call.state = CallState::Answered(Reply::Beside);
                self.post(Post::Granted(id));
            }
        }
        accepted
    }
}

/// What a kernel says of its door.
impl KernelRing {
    /// Errands are taken in at `door` from here on.
    pub fn set_door(&self, door: Arc<dyn Door>) {
        let before = self.ring().door.replace(Some(door));
        drop(before);
    }

    /// How many errands threads owe: as long as there are any, nobody is in a deadlock.
    #[must_use]
    pub fn errands_owed(&self) -> usize {
        self.ring().owed.get()
    }

    /// How many closures may run on threads at the same time, from here on: for a ring just claimed.
    pub fn set_thread_limit(&self, limit: usize) {
        self.ring().threads.set_tokens(limit);
    }
}
