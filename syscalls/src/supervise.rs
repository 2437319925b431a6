//! Supervision: what failed is started again, so often and no oftener.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{Either, select};
use trapline_abi::{Post, Ring};

use crate::group::{ChildError, GroupHandle, GroupSpawn, NextEnded, TaskGroup};
use crate::shutdown::{Part, Shutdown, ShutdownReport, ShutdownWait, stop_in_reverse};
use crate::time::{now_at, sleep_at};

mod policy;

pub use policy::{Policy, Restart};

use self::policy::History;

/// A supervised child was given up.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::{Policy, Restart};
///
/// let tries = trapline::supervise(Policy::new(Restart::Never), async || Err::<(), _>("no luck"));
/// let gave_up = tries.await.unwrap_err();
/// assert_eq!(gave_up.restarts, 0);
/// assert_eq!(gave_up.last.unwrap().error(), Some(&"no luck"));
/// # }).unwrap();
/// ```
pub struct GaveUp<E> {
    /// The name of the child, if it was given one.
    pub name: Option<Cow<'static, str>>,
    /// How often it was started again; 0 if whoever supervised it was ended.
    pub restarts: u64,
    /// How it ended the last time, or that it could not be made; `None` if whoever supervised it was
    /// ended.
    pub last: Option<ChildError<E>>,
}

impl<E: fmt::Display> fmt::Display for GaveUp<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref().unwrap_or("a child");
        write!(f, "{name} was given up after {} restarts", self.restarts)?;
        match &self.last {
            Some(last) => write!(f, ": {last}"),
            None => f.write_str(": its supervision was ended"),
        }
    }
}

impl<E: fmt::Debug> fmt::Debug for GaveUp<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("GaveUp");
        shown.field("name", &self.name).field("restarts", &self.restarts);
        shown.field("last", &self.last).finish()
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for GaveUp<E> {}

type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;

/// Makes a child anew for each start.
type Maker<T, E> = Box<dyn FnMut() -> Boxed<Result<T, E>>>;

fn boxed<T, E, F>(mut make: impl FnMut() -> F + 'static) -> Maker<T, E>
where
    F: Future<Output = Result<T, E>> + 'static,
{
    Box::new(move || Box::pin(make()))
}

/// Runs a child until it has returned, and starts it again as the policy says.
///
/// The child is a task of its own, made by `make` for each start, and does not outlive the future: a
/// group of one. Each restart is told to the probe.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
/// use trapline::{Backoff, Policy, Restart};
///
/// let second = Duration::from_secs(1);
/// let policy = Policy::new(Restart::OnFailure).backoff(Backoff::constant(second));
/// let mut tries = 0;
/// let outcome = trapline::supervise(policy, move || {
///     tries += 1;
///     async move { if tries < 3 { Err("not yet") } else { Ok(tries) } }
/// });
/// assert_eq!(outcome.await.unwrap(), 3);
/// # }).unwrap();
/// ```
///
/// # Errors
/// [`GaveUp`] with the last failure, if the policy allows no further restart. With [`Restart::Always`]
/// and too many restarts, a last value is returned as it is.
///
/// # Panics
/// If it is polled outside a task, or again after it was ready.
///
/// # Cancel safety
/// Lossy: dropping it kills the child.
///
/// # Cost
/// Three traps a start.
///
/// # Kin
/// Erlang's `supervisor`, with one child; systemd's `Restart=`.
#[track_caller]
pub fn supervise<T, E, F>(policy: Policy, make: impl FnMut() -> F + 'static) -> Supervise<T, E>
where
    F: Future<Output = Result<T, E>> + 'static,
    T: 'static,
    E: 'static,
{
    let ward = Ward { name: None, policy, make: boxed(make), site: Location::caller() };
    Supervise { tending: Box::pin(tend(ward)) }
}

/// The future of [`supervise`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::Policy;
///
/// let child = trapline::supervise(Policy::default(), async || Ok::<_, &str>(7));
/// assert_eq!(child.await.unwrap(), 7);
/// # }).unwrap();
/// ```
#[must_use = "it does nothing until it is awaited"]
pub struct Supervise<T, E> {
    tending: Boxed<Result<T, GaveUp<E>>>,
}

impl<T, E> Future for Supervise<T, E> {
    type Output = Result<T, GaveUp<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.tending.as_mut().poll(cx)
    }
}

impl<T, E> fmt::Debug for Supervise<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervise").finish_non_exhaustive()
    }
}

/// A child, and how it is to be looked after.
struct Ward<T, E> {
    name: Option<Cow<'static, str>>,
    policy: Policy,
    make: Maker<T, E>,
    site: &'static Location<'static>,
}

/// Looks after a child in a group of its own, so that a cancellation reaches it.
async fn tend<T: 'static, E: 'static>(ward: Ward<T, E>) -> Result<T, GaveUp<E>> {
    let (name, site) = (ward.name.clone(), ward.site);
    let body = |group| async move { Ok(tend_in(ward, group).await) };
    let ran = TaskGroup::new_at(site).tolerant().run_at(body, site).await;
    ran.unwrap_or_else(|error| {
        let last = error.into_errors().0.into_iter().next();
        Err(GaveUp { name, restarts: 0, last })
    })
}

async fn tend_in<T: 'static, E: 'static>(
    ward: Ward<T, E>,
    group: GroupHandle<T, E>,
) -> Result<T, GaveUp<E>> {
    let Ward { name, policy, mut make, site } = ward;
    let (mut history, mut restarts) = (History::default(), 0);
    loop {
        let mut child = GroupSpawn::new(group.core(), make(), site);
        if let Some(name) = &name {
            child = child.name(name.clone());
        }
        child.await;
        let told = NextEnded::new(group.core(), site).await;
        let (_, end) = told.expect("a child that was spawned ends");
        let allowed =
            if policy.wants(&end) { history.allow(&policy, now_at(site).await) } else { None };
        let Some(delay) = allowed else {
            return end.map_err(|last| GaveUp { name, restarts, last: Some(last) });
        };
        restarts += 1;
        let ring = Ring::of_running_task();
        ring.post(Post::Warn("a supervised task has ended and is started again", site));
        if !delay.is_zero() {
            sleep_at(delay, site).await;
        }
    }
}

/// Several supervised children: each is started again by itself, as its policy says ("one for one").
/// They are started in order and shut down in reverse.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
/// use trapline::{Policy, Shutdown, Supervisor};
///
/// let grace = Duration::from_secs(5);
/// let shutdown = Shutdown::new();
/// let supervisor = Supervisor::<&str>::new()
///     .child("database", Policy::default(), grace, || std::future::pending())
///     .child("server", Policy::default(), grace, || std::future::pending());
/// shutdown.trigger("closing time");
/// let report = supervisor.run(&shutdown).await.unwrap();
/// assert!(report.killed.is_empty());
/// # }).unwrap();
/// ```
///
/// # Kin
/// Erlang's `supervisor` with `one_for_one`.
#[must_use = "a supervisor does nothing until it is run"]
pub struct Supervisor<E> {
    wards: Vec<(Ward<(), E>, Duration)>,
}

impl<E: 'static> Supervisor<E> {
    /// A supervisor without children.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::{Policy, Shutdown, Supervisor};
    ///
    /// let supervisor = Supervisor::new()
    ///     .child("once", Policy::default(), Duration::from_secs(1), async || Ok::<_, &str>(()));
    /// assert!(supervisor.run(&Shutdown::new()).await.is_ok());
    /// # }).unwrap();
    /// ```
    pub fn new() -> Supervisor<E> {
        Supervisor { wards: Vec::new() }
    }

    /// One more child, made by `make` for each start, which is given `grace` to end when it is shut down.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    /// use std::time::Duration;
    /// use trapline::{Policy, Shutdown, Supervisor};
    ///
    /// let starts = Rc::new(Cell::new(0));
    /// let count = Rc::clone(&starts);
    /// let flaky = move || {
    ///     count.set(count.get() + 1);
    ///     let fails = count.get() < 3;
    ///     async move { if fails { Err("no luck") } else { Ok(()) } }
    /// };
    /// let supervisor =
    ///     Supervisor::new().child("flaky", Policy::default(), Duration::from_secs(1), flaky);
    /// assert!(supervisor.run(&Shutdown::new()).await.is_ok());
    /// assert_eq!(starts.get(), 3);
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn child<F>(
        mut self,
        name: impl Into<Cow<'static, str>>,
        policy: Policy,
        grace: Duration,
        make: impl FnMut() -> F + 'static,
    ) -> Supervisor<E>
    where
        F: Future<Output = Result<(), E>> + 'static,
    {
        let (name, site) = (Some(name.into()), Location::caller());
        self.wards.push((Ward { name, policy, make: boxed(make), site }, grace));
        self
    }

    /// Starts the children in order, and looks after them until all have ended for good, or one is given
    /// up, or `shutdown` is triggered. Those that are left then are shut down in reverse order: each is
    /// cancelled, given its grace, and killed; and only then the next.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::{Policy, Restart, Shutdown, Supervisor};
    ///
    /// let policy = Policy::new(Restart::Never);
    /// let supervisor = Supervisor::new()
    ///     .child("broken", policy, Duration::from_secs(1), async || Err("no luck"));
    /// let gave_up = supervisor.run(&Shutdown::new()).await.unwrap_err();
    /// assert!(gave_up.to_string().contains("broken"));
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`GaveUp`], of the first child that was given up.
    ///
    /// # Panics
    /// If it is polled outside a task, or again after it was ready.
    ///
    /// # Cancel safety
    /// Lossy: dropping it kills the children.
    #[track_caller]
    pub fn run(self, shutdown: &Shutdown) -> RunSupervisor<E> {
        let running = run(self.wards, shutdown.clone(), Location::caller());
        RunSupervisor { running: Box::pin(running) }
    }
}

impl<E: 'static> Default for Supervisor<E> {
    fn default() -> Supervisor<E> {
        Supervisor::new()
    }
}

impl<E> fmt::Debug for Supervisor<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.wards.iter().map(|(ward, _)| ward.name.as_deref());
        f.debug_list().entries(names).finish()
    }
}

/// The future of [`Supervisor::run`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
/// use trapline::{Policy, Shutdown, Supervisor};
///
/// let shutdown = Shutdown::new();
/// let run = Supervisor::<&str>::new()
///     .child("server", Policy::default(), Duration::from_secs(1), || std::future::pending())
///     .run(&shutdown);
/// let (report, ()) = trapline::join(run, async { shutdown.trigger("closing time") }).await;
/// assert!(report.unwrap().killed.is_empty());
/// # }).unwrap();
/// ```
#[must_use = "it does nothing until it is awaited"]
pub struct RunSupervisor<E> {
    running: Boxed<Result<ShutdownReport, GaveUp<E>>>,
}

impl<E> Future for RunSupervisor<E> {
    type Output = Result<ShutdownReport, GaveUp<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.running.as_mut().poll(cx)
    }
}

impl<E> fmt::Debug for RunSupervisor<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunSupervisor").finish_non_exhaustive()
    }
}

async fn run<E: 'static>(
    wards: Vec<(Ward<(), E>, Duration)>,
    shutdown: Shutdown,
    site: &'static Location<'static>,
) -> Result<ShutdownReport, GaveUp<E>> {
    let group = TaskGroup::<Result<(), GaveUp<E>>, Infallible>::new_at(site).tolerant();
    let mut parts = Vec::new();
    for (ward, grace) in wards {
        let (name, site) = (ward.name.clone().unwrap_or_default(), ward.site);
        let tending = async move { Ok(tend(ward).await) };
        let task = GroupSpawn::new(group.core(), tending, site).name(name.clone()).await;
        parts.push(Part { name, task, grace });
    }
    let mut report = ShutdownReport::default();
    let given_up = loop {
        let next = pin!(NextEnded::new(group.core(), site));
        match select(next, pin!(ShutdownWait::new(&shutdown, site))).await {
            Either::Left((None, _)) => break None,
            Either::Left((Some((_, Ok(Ok(())))), _)) => {}
            Either::Left((Some((_, Ok(Err(gave_up)))), _)) => break Some(gave_up),
            Either::Left((Some((task, Err(error))), _)) => {
                let part = parts.iter().find(|part| part.task == task);
                let name = part.map(|part| part.name.clone());
                let last = match error {
                    // What makes the child panicked: nobody else is told.
                    ChildError::Ended(error) if error.is_panic() => Some(ChildError::Ended(error)),
                    ChildError::Ended(_) | ChildError::Failed { .. } => None,
                };
                break Some(GaveUp { name, restarts: 0, last });
            }
            Either::Right((reason, _)) => {
                report.reason = Some(reason);
                break None;
            }
        }
    };
    let reason = report.reason.clone().unwrap_or_else(|| "a sibling was given up".into());
    stop_in_reverse(parts, &reason, &mut report, site).await;
    match given_up {
        Some(gave_up) => Err(gave_up),
        None => Ok(report),
    }
}
