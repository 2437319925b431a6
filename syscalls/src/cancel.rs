//! Cancelling: the polite way to end a task, and what the task may say to it.

use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project::pin_project;
use trapline_abi::{
    Beside, CancelReason, Cancelled, Post, Reply, Ring, Scope, ScopeKind, Syscall, TaskId, Trap,
    cancel_reason,
};

use crate::task::NoSuchTask;

/// What [`cancel`] found.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::CancelOutcome;
///
/// let child = trapline::spawn(trapline::cancelled()).await;
/// assert_eq!(trapline::cancel(child.id(), "enough").await, Ok(CancelOutcome::Cancelled));
/// let id = child.id();
/// child.await.unwrap();
/// assert_eq!(trapline::cancel(id, "enough").await, Ok(CancelOutcome::AlreadyEnded));
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CancelOutcome {
    /// The task lived, and has been told, or will be.
    Cancelled,
    /// It had been cancelled before; the first reason stands.
    AlreadyCancelled,
    /// It had ended before.
    AlreadyEnded,
}

/// Asks a task to end, once, and says why.
///
/// The outermost [`cancellable`] futures that are open in it return `Err`; the code after them runs
/// and may await undisturbed. A task that has none open ends as cancelled: where it is blocked, or,
/// if it has a reply to take, as soon as it blocks or yields after that. One whose waker was called while
/// it ran may have something to take, too, and goes on: what always wakes itself, as some futures of others
/// do to give way, hears in a scope alone. A [`shield`] holds all of this off until it ends. A second
/// cancel changes nothing.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let child = trapline::spawn(std::future::pending::<()>()).await;
/// trapline::yield_now().await;
/// trapline::cancel(child.id(), "no longer needed").await.unwrap();
/// let error = child.await.unwrap_err();
/// assert_eq!(error.cancelled().unwrap().text(), "no longer needed");
/// # }).unwrap();
/// ```
///
/// # Errors
/// [`NoSuchTask`] if no task has ever had this id.
///
/// # Cancel safety
/// Lossy: dropped before it is polled, or in the same turn, it cancels nobody; dropped later, the task
/// has been asked. [`post_cancel`] cannot be dropped.
///
/// # Cost
/// One trap, and one allocation for the reason.
///
/// # Kin
/// `pthread_cancel(3)`; trio's `CancelScope.cancel`, curio's `Task.cancel`, both without a reason.
#[track_caller]
pub fn cancel(target: TaskId, reason: impl Into<CancelReason>) -> Cancel {
    let site = Location::caller();
    Cancel { trap: Trap::new(Syscall::Cancel(target), site), reason: Some(reason.into()), site }
}

/// The future of [`cancel`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let child = trapline::spawn(trapline::cancellable(std::future::pending::<()>())).await;
/// let order = trapline::cancel(child.id(), "enough");
/// order.await.unwrap();
/// assert!(child.await.unwrap().is_err());
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a system call does nothing until it is awaited"]
pub struct Cancel {
    trap: Trap,
    reason: Option<CancelReason>,
    site: &'static Location<'static>,
}

impl Future for Cancel {
    type Output = Result<CancelOutcome, NoSuchTask>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.trap.is_unborn() {
            // Outside a task this panics, and nothing is lost.
            let _ = Ring::of_running_task();
        }
        if let Some(reason) = self.reason.take() {
            let why = Cancelled::new(reason, self.site);
            self.trap.submit(Beside::Why(why), cx);
            return Poll::Pending;
        }
        self.trap.poll_reply(cx).map(|reply| match reply {
            Reply::Done => Ok(CancelOutcome::Cancelled),
            Reply::AlreadyCancelled => Ok(CancelOutcome::AlreadyCancelled),
            Reply::AlreadyEnded => Ok(CancelOutcome::AlreadyEnded),
            _ => Err(NoSuchTask),
        })
    }
}

/// Asks a task to end, as [`cancel`] does, by a post: without suspending, from a destructor too. An id
/// that names no living task is passed over.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let child = trapline::spawn(std::future::pending::<()>()).await;
/// trapline::post_cancel(child.id(), "no longer needed");
/// let error = child.await.unwrap_err();
/// assert_eq!(error.cancelled().unwrap().text(), "no longer needed");
/// # }).unwrap();
/// ```
///
/// # Panics
/// Outside a scheduler.
///
/// # Cost
/// No trap; one allocation for the reason.
#[track_caller]
pub fn post_cancel(target: TaskId, reason: impl Into<CancelReason>) {
    let ring = Ring::current().expect("a task is cancelled by a task");
    let why = Cancelled::new(reason.into(), Location::caller());
    ring.post(Post::Cancel(target, why));
}

/// Lets a cancellation of this task end `future`, and the code after it run on.
///
/// Of such futures that are open in a task, those that are within no other return `Err` when it is
/// cancelled: each first polls its future, so that a reply that is already there wins, and then drops
/// it, with all that is open within. If the task was cancelled before this one was opened, it polls
/// its future once.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
///
/// let child = trapline::spawn(async {
///     let work = trapline::sleep(Duration::from_secs(3600));
///     let Err(why) = trapline::cancellable(work).await else { return "finished".to_owned() };
///     trapline::sleep(Duration::from_millis(10)).await; // cleans up, undisturbed
///     why.text().to_owned()
/// })
/// .await;
/// trapline::yield_now().await;
/// trapline::cancel(child.id(), "closing time").await.unwrap();
/// assert_eq!(child.await.unwrap(), "closing time");
/// # }).unwrap();
/// ```
///
/// # Errors
/// [`Cancelled`], with the reason, if the task was cancelled first.
///
/// # Panics
/// If it is polled outside a task, or again after it was ready.
///
/// # Cancel safety
/// As safe as the future's own: dropping it drops the future.
///
/// # Cost
/// No trap. O(log scopes) to open and to close; it allocates no more than a table's growth. Closing
/// one that scopes opened within it outlive, as they may in a `FuturesUnordered`, is O(scopes of the task).
///
/// # Kin
/// `pthread_setcancelstate(3)`; trio's `CancelScope`.
#[doc(alias = "CancelScope")]
#[track_caller]
pub fn cancellable<F: Future>(future: F) -> Cancellable<F> {
    let scope = Scope::new(ScopeKind::Cancellable, Location::caller());
    Cancellable { future: Some(future), scope }
}

/// The future of [`cancellable`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let child = trapline::spawn(async {
///     let work = trapline::cancellable(std::future::pending::<()>());
///     match work.await {
///         Ok(()) => "done",
///         Err(_cancelled) => "tidied up",
///     }
/// });
/// let child = child.await;
/// trapline::cancel(child.id(), "enough").await.unwrap();
/// assert_eq!(child.await.unwrap(), "tidied up");
/// # }).unwrap();
/// ```
#[pin_project]
#[derive(Debug)]
#[must_use = "it does nothing until it is awaited"]
pub struct Cancellable<F> {
    // Dropped first, so that what is open within closes before its scope.
    #[pin]
    future: Option<F>,
    scope: Scope,
}

impl<F: Future> Future for Cancellable<F> {
    type Output = Result<F::Output, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let future =
            this.future.as_mut().as_pin_mut().expect("a cancellable was polled after its end");
        let within = this.scope.enter();
        let polled = future.poll(cx);
        drop(within);
        let output = match polled {
            Poll::Ready(output) => Ok(output),
            Poll::Pending => match this.scope.poll_due(cx) {
                Poll::Ready(why) => Err(why),
                Poll::Pending => return Poll::Pending,
            },
        };
        this.future.set(None);
        if output.is_err() {
            this.scope.deliver();
        }
        this.scope.close();
        Poll::Ready(output)
    }
}

/// Keeps a cancellation of this task away from `future`, and from what is around it until it ends.
///
/// It holds off a [`cancel`] only: a timeout, a lost `select!` branch and a kill drop what is within.
/// Once the outermost shield has ended, the cancellation reaches the [`cancellable`] around it, or ends
/// the task where it next blocks.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
///
/// let written = std::rc::Rc::new(std::cell::Cell::new(false));
/// let flag = written.clone();
/// let child = trapline::spawn(async move {
///     trapline::shield(async {
///         trapline::sleep(Duration::from_secs(1)).await;
///         flag.set(true);
///     })
///     .await;
///     trapline::sleep(Duration::from_secs(1)).await; // it ends here
/// })
/// .await;
/// trapline::yield_now().await;
/// trapline::cancel(child.id(), "no more").await.unwrap();
/// assert!(child.await.unwrap_err().cancelled().is_some());
/// assert!(written.get());
/// # }).unwrap();
/// ```
///
/// # Panics
/// If it is polled outside a task, or again after it was ready.
///
/// # Cancel safety
/// As safe as the future's own: dropping it drops the future.
///
/// # Cost
/// No trap. O(log scopes), and O(depth) in the scopes around it, to open and to close.
///
/// # Kin
/// trio's `CancelScope(shield=True)`, asyncio's `shield`.
#[track_caller]
pub fn shield<F: Future>(future: F) -> Shield<F> {
    Shield { future: Some(future), scope: Scope::new(ScopeKind::Shield, Location::caller()) }
}

/// The future of [`shield`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
///
/// let child = trapline::spawn(async {
///     let goodbye = trapline::shield(trapline::sleep(Duration::from_secs(1)));
///     goodbye.await;
///     "said goodbye"
/// });
/// let child = child.await;
/// trapline::yield_now().await;
/// trapline::cancel(child.id(), "enough").await.unwrap();
/// assert_eq!(child.await.unwrap(), "said goodbye");
/// # }).unwrap();
/// ```
#[pin_project]
#[derive(Debug)]
#[must_use = "it does nothing until it is awaited"]
pub struct Shield<F> {
    #[pin]
    future: Option<F>,
    scope: Scope,
}

impl<F: Future> Future for Shield<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let future = this.future.as_mut().as_pin_mut().expect("a shield was polled after its end");
        let within = this.scope.enter();
        let polled = future.poll(cx);
        drop(within);
        if polled.is_ready() {
            this.future.set(None);
            this.scope.close();
        }
        polled
    }
}

/// Waits until this task is cancelled, and gives the reason. Ask without waiting by
/// [`CancelledWait::ask`].
///
/// While it waits the task has something open to hear of the cancellation, and so is not ended by it;
/// once it has given the reason, the task has been told. Within a [`shield`] it hears all the same.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let child = trapline::spawn(async { trapline::cancelled().await.text().to_owned() }).await;
/// trapline::yield_now().await;
/// child.cancel("lights out");
/// assert_eq!(child.await.unwrap(), "lights out");
/// # }).unwrap();
/// ```
///
/// # Panics
/// If it is polled outside a task.
///
/// # Cancel safety
/// Safe: it changes nothing until it is ready.
///
/// # Cost
/// No trap. O(log scopes).
///
/// # Kin
/// `CancellationToken::cancelled` of tokio-util.
#[track_caller]
pub fn cancelled() -> CancelledWait {
    CancelledWait { scope: Scope::new(ScopeKind::Listener, Location::caller()) }
}

/// The future of [`cancelled`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let child = trapline::spawn(async {
///     let order = trapline::cancelled();
///     assert!(order.ask().is_none(), "not yet");
///     order.await;
/// });
/// let child = child.await;
/// trapline::yield_now().await;
/// trapline::cancel(child.id(), "enough").await.unwrap();
/// child.await.unwrap();
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "it does nothing until it is awaited or asked"]
pub struct CancelledWait {
    scope: Scope,
}

impl CancelledWait {
    /// Why the running task was cancelled, if it was. It does not count as being told.
    ///
    /// # Panics
    /// Outside a task.
    #[must_use]
    pub fn ask(&self) -> Option<Cancelled> {
        cancel_reason()
    }
}

impl Future for CancelledWait {
    type Output = Cancelled;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Cancelled> {
        drop(self.scope.enter());
        let polled = self.scope.poll_due(cx);
        if polled.is_ready() {
            self.scope.deliver();
            self.scope.close();
        }
        polled
    }
}
