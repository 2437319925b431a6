//! The handle of a task that another thread started, and the other end of it.

use std::any::Any;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use pin_project::{pin_project, pinned_drop};

use crate::call::Post;
use crate::cancel::Cancelled;
use crate::id::TaskId;
use crate::remote::{Door, post};
use crate::remote_error::{Cause, RemoteJoinError};
use crate::ring::Ring;
use crate::task::TaskBody;

type Payload = Box<dyn Any + Send>;

/// What a task that a thread started came to.
enum Told<T> {
    /// Nothing yet.
    NotYet(Option<Waker>),
    /// It ended so.
    Ended(Result<T, RemoteJoinError>),
    /// The handle has taken it, or is gone.
    Closed,
}

/// What both ends share.
struct Shared<T> {
    told: Mutex<Told<T>>,
    changed: Condvar,
    task: OnceLock<TaskId>,
    door: Arc<dyn Door>,
    site: &'static Location<'static>,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Told<T>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells how the task ended. Gives it back where nobody can hear.
    fn tell(&self, end: Result<T, RemoteJoinError>) -> Option<Result<T, RemoteJoinError>> {
        let mut told = self.lock();
        let Told::NotYet(waker) = &mut *told else { return Some(end) };
        let waker = waker.take();
        *told = Told::Ended(end);
        drop(told);
        self.changed.notify_all();
        // Foreign code, so the lock is free.
        if let Some(waker) = waker {
            waker.wake();
        }
        None
    }

    /// Takes how the task ended, if it has.
    fn take(&self, told: &mut Told<T>) -> Option<Result<T, RemoteJoinError>> {
        match std::mem::replace(told, Told::Closed) {
            Told::Ended(end) => Some(end),
            other => {
                *told = other;
                None
            }
        }
    }
}

/// The task's end: tells what the task came to, once.
pub(crate) struct Teller<T> {
    shared: Arc<Shared<T>>,
    done: bool,
    /// Why the task ends, if it was cancelled.
    cancelled: Option<Cancelled>,
}

impl<T> Teller<T> {
    /// The two ends of a task that is to be started through `door`.
    pub(crate) fn pair(
        door: Arc<dyn Door>,
        site: &'static Location<'static>,
    ) -> (Teller<T>, RemoteJoinHandle<T>) {
        let shared = Arc::new(Shared {
            told: Mutex::new(Told::NotYet(None)),
            changed: Condvar::new(),
            task: OnceLock::new(),
            door,
            site,
        });
        let teller = Teller { shared: Arc::clone(&shared), done: false, cancelled: None };
        (teller, RemoteJoinHandle { shared })
    }

    /// Whom it is about.
    fn begin(&self) {
        if let Some(task) = Ring::current().and_then(Ring::running) {
            let _ = self.shared.task.set(task);
        }
    }

    /// Tells the value.
    fn returned(&mut self, value: T) {
        self.done = true;
        // Where nobody can hear, the value goes here.
        drop(self.shared.tell(Ok(value)));
    }

    /// Tells of a panic. Gives the payload back where nobody can hear.
    fn panicked(&mut self, payload: Payload) -> Option<Payload> {
        self.done = true;
        let error = RemoteJoinError::panicked(payload);
        let untold = self.shared.tell(Err(error))?;
        untold.err()?.try_into_panic().ok()
    }
}

impl<T> Drop for Teller<T> {
    fn drop(&mut self) {
        if !self.done {
            let cause = match self.cancelled.take() {
                Some(why) => Cause::Cancelled(why),
                None if self.shared.door.is_closed() => Cause::Gone,
                None => Cause::Killed,
            };
            drop(self.shared.tell(Err(RemoteJoinError::of(cause))));
        }
    }
}

/// The body of a task that another thread started.
#[pin_project(PinnedDrop, project = BodyProjection)]
pub(crate) struct RemoteBody<S, F: Future> {
    start: Option<S>,
    #[pin]
    future: Option<F>,
    teller: Teller<F::Output>,
}

impl<S, F: Future> RemoteBody<S, F> {
    pub(crate) fn new(start: S, teller: Teller<F::Output>) -> RemoteBody<S, F> {
        RemoteBody { start: Some(start), future: None, teller }
    }
}

/// The future of a task that is killed goes before its end is told.
#[pinned_drop]
impl<S, F: Future> PinnedDrop for RemoteBody<S, F> {
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.future.set(None);
    }
}

impl<S, F> TaskBody for RemoteBody<S, F>
where
    S: FnOnce() -> F,
    F: Future,
{
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if let Some(start) = this.start.take() {
            this.teller.begin();
            let future = start();
            this.future.set(Some(future));
        }
        let Some(future) = this.future.as_mut().as_pin_mut() else { return Poll::Ready(()) };
        let Poll::Ready(value) = future.poll(cx) else { return Poll::Pending };
        this.future.set(None);
        this.teller.returned(value);
        Poll::Ready(())
    }

    fn panicked(self: Pin<&mut Self>, payload: Payload) -> Option<Payload> {
        self.project().teller.panicked(payload)
    }

    fn cancelled(self: Pin<&mut Self>, why: &Cancelled) {
        self.project().teller.cancelled = Some(why.clone());
    }

    fn take_output(self: Pin<&mut Self>, _slot: &mut dyn Any) {}
}

/// The right to the value of a task that another thread started, from any thread: await it, under any
/// executor, or [`join`](RemoteJoinHandle::join) it.
///
/// Dropping it detaches the task. A task that awaits it waits for somebody's waker, as far as its
/// scheduler can tell.
///
/// ```
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// let handle = scheduler.handle();
/// // In another thread, as a rule.
/// let task = handle.spawn(|| async { 6 * 7 });
/// scheduler.run()?;
/// assert_eq!(task.join().unwrap(), 42);
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
///
/// # Errors
/// [`RemoteJoinError`], if the task panicked, was killed or cancelled, or its
/// scheduler is gone.
///
/// # Panics
/// If it is polled again after it was ready.
///
/// # Cancel safety
/// Safe, through `&mut handle`: the value stays where it is, and the handle may be awaited again.
#[must_use = "dropping the handle detaches the task; say `.detach()` if that is meant"]
pub struct RemoteJoinHandle<T> {
    shared: Arc<Shared<T>>,
}

impl<T> RemoteJoinHandle<T> {
    /// The task's id, once it has begun.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.handle().spawn(|| async {});
    /// assert_eq!(task.id(), None);
    /// drop(scheduler.run()?);
    /// assert_eq!(task.id().unwrap().sequence(), 1);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    #[must_use]
    pub fn id(&self) -> Option<TaskId> {
        self.shared.task.get().copied()
    }

    /// Whether the task has ended, or never will begin: then `join` does not block.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.handle().spawn(|| async {});
    /// assert!(!task.is_finished());
    /// drop(scheduler.run()?);
    /// assert!(task.is_finished());
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        !matches!(&*self.shared.lock(), Told::NotYet(_))
    }

    /// Blocks this thread until the task has ended, and takes its value.
    ///
    /// ```
    /// let scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.handle().spawn(|| async { 42 });
    /// drop(scheduler);
    /// assert!(task.join().unwrap_err().is_gone());
    /// ```
    ///
    /// # Errors
    /// [`RemoteJoinError`], if the task panicked, was killed or cancelled, or its scheduler is gone.
    ///
    /// # Panics
    /// Inside a task, whose scheduler it would stop; there, await it.
    ///
    /// # Kin
    /// `std::thread::JoinHandle::join`.
    #[track_caller]
    pub fn join(self) -> Result<T, RemoteJoinError> {
        assert!(
            Ring::current().is_none(),
            "`join` would block the scheduler that runs this task: await the handle"
        );
        let mut told = self.shared.lock();
        loop {
            if let Some(end) = self.shared.take(&mut told) {
                return end;
            }
            told = self.shared.changed.wait(told).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets the task run on without a handle.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// scheduler.handle().spawn(|| async { println!("on its own") }).detach();
    /// drop(scheduler.run()?);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    pub fn detach(self) {}
}

impl<T> Future for RemoteJoinHandle<T> {
    type Output = Result<T, RemoteJoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut waker = Some(cx.waker().clone());
        let mut told = self.shared.lock();
        if let Some(end) = self.shared.take(&mut told) {
            drop(told);
            return Poll::Ready(end);
        }
        let Told::NotYet(kept) = &mut *told else {
            drop(told);
            panic!("the handle of a task was polled again after it was ready")
        };
        std::mem::swap(kept, &mut waker);
        drop(told);
        // The one it was polled under before: foreign code, so the lock is free.
        drop(waker);
        Poll::Pending
    }
}

impl<T> Drop for RemoteJoinHandle<T> {
    fn drop(&mut self) {
        let told = std::mem::replace(&mut *self.shared.lock(), Told::Closed);
        if let Told::Ended(Err(error)) = &told
            && error.is_panic()
        {
            let site = self.shared.site;
            let text = "a task that a thread started panicked, and its handle was dropped unread";
            drop(self.shared.door.send(Box::new(move || post(Post::Warn(text, site)))));
        }
        drop(told);
    }
}

impl<T> fmt::Debug for RemoteJoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteJoinHandle").field("task", &self.id()).finish_non_exhaustive()
    }
}
