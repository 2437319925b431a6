//! Shutdown as a pattern: the parts of a program, in order of start, are asked to end in reverse.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use trapline_abi::{CancelReason, Cancelled, ExitStatus, ParkOn, Post, Ring, TaskId, WaitQueue};

use crate::task::wait_at;
use crate::time::timeout_at;

/// The end of a program, or of a part of one: who wants it says so, who must act on it waits for it,
/// and what must end is registered. Clones are the same shutdown.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
///
/// let shutdown = trapline::Shutdown::new();
/// for (name, polite) in [("stubborn", false), ("polite", true)] {
///     let part = trapline::spawn(async move {
///         if polite {
///             trapline::cancelled().await;
///         } else {
///             trapline::shield(std::future::pending::<()>()).await;
///         }
///     });
///     let part = part.await;
///     shutdown.add(name, part.id(), Duration::from_secs(5));
///     part.detach();
/// }
/// shutdown.trigger("closing time");
/// let report = shutdown.run().await;
/// assert_eq!(report.killed.len(), 1);
/// assert_eq!(report.killed[0].name, "stubborn");
/// # }).unwrap();
/// ```
///
/// # Kin
/// `CancellationToken` and `TaskTracker` of tokio-util; systemd's `TimeoutStopSec=`.
#[doc(alias = "CancellationToken")]
#[derive(Clone)]
pub struct Shutdown {
    shared: Rc<Shared>,
}

struct Shared {
    reason: RefCell<Option<CancelReason>>,
    parts: RefCell<Vec<Part>>,
    triggered: WaitQueue,
}

/// A part of a program that a [`Shutdown`] ends.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Part {
    /// What it is called.
    pub name: Cow<'static, str>,
    /// Its task.
    pub task: TaskId,
    /// How long it is given to end.
    pub grace: Duration,
}

/// What a shutdown came to.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Why it was wanted, if it was.
    pub reason: Option<CancelReason>,
    /// The parts that did not end in time and were killed, in that order.
    pub killed: Vec<Part>,
    /// The parts that panicked while they were waited for, and what they said. Nobody else is told.
    pub panicked: Vec<(Part, Rc<str>)>,
}

impl Shutdown {
    /// A shutdown that nobody has asked for, of nothing.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// assert!(!trapline::Shutdown::new().is_triggered());
    /// ```
    #[must_use]
    #[track_caller]
    pub fn new() -> Shutdown {
        let triggered = WaitQueue::part("shutdown", 0);
        let (reason, parts) = (RefCell::new(None), RefCell::new(Vec::new()));
        Shutdown { shared: Rc::new(Shared { reason, parts, triggered }) }
    }

    /// Asks for it; the first reason counts. From anywhere on the scheduler's thread.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let shutdown = trapline::Shutdown::new();
    /// shutdown.trigger("SIGTERM");
    /// assert!(shutdown.is_triggered());
    /// ```
    pub fn trigger(&self, reason: impl Into<CancelReason>) {
        let reason = reason.into();
        let is_first = self.shared.reason.borrow().is_none();
        if is_first {
            self.shared.reason.replace(Some(reason));
            self.shared.triggered.wake_all();
        }
    }

    /// Whether it has been asked for.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let shutdown = trapline::Shutdown::new();
    /// assert!(!shutdown.is_triggered());
    /// shutdown.trigger("SIGTERM");
    /// assert!(shutdown.is_triggered());
    /// ```
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        self.shared.reason.borrow().is_some()
    }

    /// Waits until it is asked for, and gives the reason.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    ///
    /// let shutdown = trapline::Shutdown::new();
    /// let stop = shutdown.clone();
    /// let server = trapline::spawn(async move {
    ///     trapline::race(std::future::pending(), stop.wait()).await;
    ///     trapline::sleep(Duration::from_secs(1)).await; // says goodbye
    /// });
    /// let server = server.await;
    /// shutdown.trigger("closing time");
    /// server.await.unwrap();
    /// # }).unwrap();
    /// ```
    ///
    /// # Cancel safety
    /// Safe: it changes nothing.
    ///
    /// # Cost
    /// One trap, or none where it has been asked for.
    #[track_caller]
    pub fn wait(&self) -> ShutdownWait {
        ShutdownWait::new(self, Location::caller())
    }

    /// Registers a part that has just been started. When its turn comes, it is cancelled, given `grace`
    /// to end, and killed.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    ///
    /// let shutdown = trapline::Shutdown::new();
    /// let stubborn = trapline::spawn(trapline::shield(std::future::pending::<()>())).await;
    /// shutdown.add("stubborn", stubborn.id(), Duration::from_secs(5));
    /// trapline::yield_now().await;
    /// shutdown.trigger("closing time");
    /// // It is given five seconds, and killed then.
    /// assert_eq!(shutdown.run().await.killed[0].name, "stubborn");
    /// # stubborn.detach();
    /// # }).unwrap();
    /// ```
    pub fn add(&self, name: impl Into<Cow<'static, str>>, task: TaskId, grace: Duration) {
        self.shared.parts.borrow_mut().push(Part { name: name.into(), task, grace });
    }

    /// Waits until it is asked for, then ends the parts in the reverse order of their registration: each
    /// when the one before has ended. Says which had to be killed.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    ///
    /// let shutdown = trapline::Shutdown::new();
    /// let server = trapline::spawn(std::future::pending::<()>()).await;
    /// shutdown.add("server", server.id(), Duration::from_secs(5));
    /// shutdown.trigger("closing time");
    /// let report = shutdown.run().await;
    /// assert!(report.killed.is_empty());
    /// assert!(server.await.unwrap_err().cancelled().is_some());
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If it is polled outside a task, or again after it was ready.
    ///
    /// # Cancel safety
    /// Lossy: dropped, it asks no further parts to end, and what it would have reported is lost. Run again,
    /// it goes on with the part that it was at, which is given its grace anew.
    ///
    /// # Cost
    /// Two traps a part.
    #[track_caller]
    pub fn run(&self) -> RunShutdown {
        let (shutdown, site) = (self.clone(), Location::caller());
        RunShutdown { running: Box::pin(run(shutdown, site)) }
    }
}

impl Default for Shutdown {
    #[track_caller]
    fn default() -> Shutdown {
        Shutdown::new()
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown")
            .field("reason", &self.shared.reason.borrow())
            .field("parts", &self.shared.parts.borrow())
            .finish()
    }
}

/// The future of [`Shutdown::wait`].
#[must_use = "it does nothing until it is awaited"]
pub struct ShutdownWait {
    shared: Rc<Shared>,
    site: &'static Location<'static>,
    park: Option<ParkOn<Rc<Shared>>>,
}

impl ShutdownWait {
    pub(crate) fn new(shutdown: &Shutdown, site: &'static Location<'static>) -> ShutdownWait {
        ShutdownWait { shared: Rc::clone(&shutdown.shared), site, park: None }
    }
}

impl Future for ShutdownWait {
    type Output = CancelReason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CancelReason> {
        let ShutdownWait { shared, site, park } = &mut *self;
        loop {
            let reason = shared.reason.borrow().clone();
            if let Some(reason) = reason {
                *park = None;
                return Poll::Ready(reason);
            }
            let wait = || ParkOn::new(Rc::clone(shared), |shared| &shared.triggered, site);
            ready!(Pin::new(park.get_or_insert_with(wait)).poll(cx));
            *park = None;
        }
    }
}

impl fmt::Debug for ShutdownWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownWait").field("site", &self.site).finish_non_exhaustive()
    }
}

/// The future of [`Shutdown::run`].
#[must_use = "it does nothing until it is awaited"]
pub struct RunShutdown {
    running: Pin<Box<dyn Future<Output = ShutdownReport>>>,
}

impl Future for RunShutdown {
    type Output = ShutdownReport;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ShutdownReport> {
        self.running.as_mut().poll(cx)
    }
}

impl fmt::Debug for RunShutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunShutdown").finish_non_exhaustive()
    }
}

/// A part that is being ended: it is put back if nobody waits for that.
struct Stopping<'a> {
    shared: &'a Shared,
    part: Option<Part>,
}

impl Stopping<'_> {
    fn stopped(mut self) {
        self.part = None;
    }
}

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.shared.parts.borrow_mut().extend(self.part.take());
    }
}

async fn run(shutdown: Shutdown, site: &'static Location<'static>) -> ShutdownReport {
    let reason = ShutdownWait::new(&shutdown, site).await;
    let mut report = ShutdownReport::default();
    loop {
        // Taken one by one: a part may be registered while another one is ending.
        let Some(part) = shutdown.shared.parts.borrow_mut().pop() else { break };
        let stopping = Stopping { shared: &shutdown.shared, part: Some(part.clone()) };
        stop(part, &reason, &mut report, site).await;
        stopping.stopped();
    }
    report.reason = Some(reason);
    report
}

/// Ends parts in reverse.
pub(crate) async fn stop_in_reverse(
    parts: Vec<Part>,
    reason: &CancelReason,
    report: &mut ShutdownReport,
    site: &'static Location<'static>,
) {
    for part in parts.into_iter().rev() {
        stop(part, reason, report, site).await;
    }
}

/// Asks a part to end, gives it its grace, and kills it.
async fn stop(
    part: Part,
    reason: &CancelReason,
    report: &mut ShutdownReport,
    site: &'static Location<'static>,
) {
    let ring = Ring::of_running_task();
    ring.post(Post::Cancel(part.task, Cancelled::new(reason.clone(), site)));
    match timeout_at(part.grace, wait_at(part.task, site), site).await {
        Ok(Ok(ExitStatus::Panicked(text))) => report.panicked.push((part, text)),
        Ok(_) => {}
        Err(_) => {
            ring.post(Post::Kill(part.task));
            // Its destructors have run when this is answered.
            let _ended = wait_at(part.task, site).await;
            report.killed.push(part);
        }
    }
}
