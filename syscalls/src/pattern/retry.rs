//! Trying again.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project::pin_project;
use trapline_abi::{Instant, Reply, Syscall, Trap};

use crate::backoff::Backoff;
use crate::task::unexpected;
use crate::time::saturating_nanos;

/// Does an operation, again and again until it succeeds, with pauses between the attempts.
///
/// `operation` is called once for each attempt. Say by [`when`](Retry::when) which errors are worth
/// another one.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
/// use trapline::pattern::{Backoff, retry};
///
/// let mut answers = ["busy", "busy", "at your service"].into_iter();
/// let backoff = Backoff::exponential(Duration::from_millis(100)).max_attempts(5);
/// let start = trapline::now().await;
/// let answer = retry(backoff, || {
///     let answer = answers.next().unwrap();
///     async move { if answer == "busy" { Err(answer) } else { Ok(answer) } }
/// });
/// assert_eq!(answer.await, Ok("at your service"));
/// assert_eq!(trapline::now().await - start, Duration::from_millis(100 + 200));
/// # }).unwrap();
/// ```
///
/// # Errors
/// The last error of the operation, when the backoff allows no further attempt, or the error is not
/// worth one.
///
/// # Panics
/// If it is polled again after it was ready, or has to wait outside a task.
///
/// # Cancel safety
/// As safe as the operation's own: dropping it drops the attempt under way, or ends the pause.
///
/// # Cost
/// That of the attempts, and one trap a pause. With a
/// [`max_elapsed`](Backoff::max_elapsed), one trap more at the beginning and one a failure.
///
/// # Kin
/// The crates `backoff` and `tokio-retry`; Python's `tenacity`.
#[track_caller]
pub fn retry<Op, Fut, T, E>(backoff: Backoff, operation: Op) -> Retry<Op, Fut, E>
where
    Op: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    Retry {
        backoff,
        operation,
        when: |_| true,
        site: Location::caller(),
        failures: 0,
        began: None,
        error: None,
        state: State::Unpolled,
    }
}

/// The future of [`retry`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
/// use trapline::pattern::{Backoff, retry};
///
/// let stubborn = retry(Backoff::constant(Duration::from_secs(1)), async || Err::<(), _>("busy"));
/// assert!(trapline::timeout(Duration::from_secs(60), stubborn).await.is_err());
/// # }).unwrap();
/// ```
#[pin_project]
#[must_use = "nothing is tried until it is awaited"]
pub struct Retry<Op, Fut, E, When = fn(&E) -> bool> {
    backoff: Backoff,
    operation: Op,
    when: When,
    site: &'static Location<'static>,
    failures: u32,
    /// When the first attempt began, if that matters.
    began: Option<Instant>,
    /// The last one, from the failure to the next attempt.
    error: Option<E>,
    #[pin]
    state: State<Fut>,
}

#[pin_project(project = StateProjection)]
enum State<Fut> {
    Unpolled,
    /// Asks when the first attempt begins.
    Begins(Trap),
    Tries(#[pin] Fut),
    /// Asks when an attempt failed.
    Failed(Trap, Duration),
    Pauses(Trap),
    Done,
}

impl<Op, Fut, E, When> Retry<Op, Fut, E, When> {
    /// Tries again only after errors of which `worth_it` is true.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::pattern::{Backoff, retry};
    ///
    /// let backoff = Backoff::constant(Duration::from_secs(1));
    /// let denied = retry(backoff, async || Err::<(), _>("denied")).when(|error| *error == "busy");
    /// // It is not tried again.
    /// assert_eq!(denied.await, Err("denied"));
    /// # }).unwrap();
    /// ```
    pub fn when<Other: FnMut(&E) -> bool>(self, worth_it: Other) -> Retry<Op, Fut, E, Other> {
        let Retry { backoff, operation, site, .. } = self;
        Retry {
            backoff,
            operation,
            when: worth_it,
            site,
            failures: 0,
            began: None,
            error: None,
            state: State::Unpolled,
        }
    }
}

impl<Op, Fut, T, E, When> Future for Retry<Op, Fut, E, When>
where
    Op: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
    When: FnMut(&E) -> bool,
{
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut this = self.as_mut().project();
            let site = *this.site;
            let next = match this.state.as_mut().project() {
                StateProjection::Unpolled if this.backoff.longest().is_some() => {
                    State::Begins(Trap::new(Syscall::Now, site))
                }
                StateProjection::Unpolled => State::Tries((this.operation)()),
                StateProjection::Begins(now) => {
                    *this.began = Some(ready!(poll_time(now, cx)));
                    State::Tries((this.operation)())
                }
                StateProjection::Tries(attempt) => match ready!(attempt.poll(cx)) {
                    Ok(value) => {
                        this.state.set(State::Done);
                        return Poll::Ready(Ok(value));
                    }
                    Err(error) => {
                        *this.failures = this.failures.saturating_add(1);
                        let again =
                            !this.backoff.is_exhausted_by(*this.failures) && (this.when)(&error);
                        *this.error = Some(error);
                        if again {
                            after_failure(this.backoff, *this.failures, site)
                        } else {
                            State::Done
                        }
                    }
                },
                StateProjection::Failed(now, pause) => {
                    let now = ready!(poll_time(now, cx));
                    match this.backoff.longest().zip(*this.began) {
                        Some((longest, began)) if now + *pause > began + longest => State::Done,
                        _ => State::Pauses(sleep(*pause, site)),
                    }
                }
                StateProjection::Pauses(sleep) => {
                    ready!(poll_time(sleep, cx));
                    let _tried_again = this.error.take();
                    State::Tries((this.operation)())
                }
                StateProjection::Done => {
                    let error = this.error.take();
                    return Poll::Ready(Err(error.expect("a retry was polled after its end")));
                }
            };
            this.state.set(next);
        }
    }
}

/// A pause, if there need be no look at the clock before it.
fn after_failure<Fut>(
    backoff: &Backoff,
    failures: u32,
    site: &'static Location<'static>,
) -> State<Fut> {
    let pause = backoff.draw_pause_after(failures);
    match backoff.longest() {
        Some(_) => State::Failed(Trap::new(Syscall::Now, site), pause),
        None => State::Pauses(sleep(pause, site)),
    }
}

fn sleep(pause: Duration, site: &'static Location<'static>) -> Trap {
    Trap::new(Syscall::Sleep { nanos: saturating_nanos(pause) }, site)
}

fn poll_time(trap: &mut Trap, cx: &mut Context<'_>) -> Poll<Instant> {
    trap.poll_reply(cx).map(|reply| match reply {
        Reply::Time(time) => time,
        other => unexpected(Syscall::Now, other),
    })
}

impl<Op, Fut, E, When> fmt::Debug for Retry<Op, Fut, E, When> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("backoff", &self.backoff)
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}
