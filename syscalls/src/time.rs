//! Time: now, sleep, timeout, interval.

use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project::pin_project;
use thiserror::Error;
use trapline_abi::{Instant, Reply, Syscall, Trap};

use crate::task::{trap_future, unexpected};

/// Asks for the time on the scheduler's clock.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
///
/// let start = trapline::now().await;
/// trapline::sleep(Duration::from_secs(3600)).await;
/// assert!(trapline::now().await - start >= Duration::from_secs(3600));
/// # }).unwrap();
/// ```
///
/// # Cancel safety
/// Safe: it changes nothing.
///
/// # Cost
/// One trap and one look at the clock.
///
/// # Kin
/// `clock_gettime(2)` with `CLOCK_MONOTONIC`.
#[track_caller]
pub fn now() -> Now {
    Now::new(Syscall::Now)
}

trap_future! {
    /// The future of [`now`].
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    ///
    /// let later = trapline::now();
    /// trapline::sleep(Duration::from_secs(5)).await;
    /// // The clock is looked at when it is awaited.
    /// assert_eq!(later.await.as_nanos(), 5_000_000_000);
    /// # }).unwrap();
    /// ```
    Now -> Instant, |reply| match reply {
        Reply::Time(time) => time,
        other => unexpected(Syscall::Now, other),
    }
}

/// Waits for at least `duration`, and gives the time at which the wait ended.
///
/// The duration counts from the moment the call is served. Zero yields once. The operating
/// system's driver may be up to 1 ms late. More than 584 years count as 584 years.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// trapline::sleep(std::time::Duration::from_millis(20)).await;
/// # }).unwrap();
/// ```
///
/// # Cancel safety
/// Safe: dropping it disarms the timer.
///
/// # Cost
/// One trap, O(log timers).
///
/// # Kin
/// `nanosleep(2)`.
#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    Sleep::new(Syscall::Sleep { nanos: saturating_nanos(duration) })
}

/// Waits until `deadline`, and gives the time at which the wait ended. A deadline in the past is
/// answered at once.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
///
/// let noon = trapline::now().await + Duration::from_secs(3600);
/// assert_eq!(trapline::sleep_until(noon).await, noon);
/// # }).unwrap();
/// ```
///
/// # Cancel safety
/// Safe: dropping it disarms the timer.
///
/// # Cost
/// One trap, O(log timers).
///
/// # Kin
/// `clock_nanosleep(2)` with `TIMER_ABSTIME`.
#[track_caller]
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep::new(Syscall::SleepUntil(deadline))
}

trap_future! {
    /// The future of [`sleep`] and [`sleep_until`].
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    ///
    /// let mut nap = trapline::sleep(Duration::from_secs(5));
    /// // Given up after two seconds, it sleeps on.
    /// assert!(trapline::timeout(Duration::from_secs(2), &mut nap).await.is_err());
    /// assert_eq!(nap.await.as_nanos(), 5_000_000_000);
    /// # }).unwrap();
    /// ```
    Sleep -> Instant, |reply| match reply {
        Reply::Time(time) => time,
        other => unexpected(Syscall::Sleep { nanos: 0 }, other),
    }
}

/// As [`sleep`], made at `site`.
pub(crate) fn sleep_at(duration: Duration, site: &'static Location<'static>) -> Sleep {
    Sleep { trap: Trap::new(Syscall::Sleep { nanos: saturating_nanos(duration) }, site) }
}

/// As [`now`], made at `site`.
pub(crate) fn now_at(site: &'static Location<'static>) -> Now {
    Now { trap: Trap::new(Syscall::Now, site) }
}

/// As [`timeout`], made at `site`.
pub(crate) fn timeout_at<F: Future>(
    duration: Duration,
    future: F,
    site: &'static Location<'static>,
) -> Timeout<F> {
    Timeout { future: Some(future), sleep: sleep_at(duration, site) }
}

pub(crate) fn saturating_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The time was up. A `?` turns it into an [`io::Error`] of the kind
/// [`TimedOut`](io::ErrorKind::TimedOut).
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::io;
/// use std::time::Duration;
///
/// async fn hurried() -> io::Result<()> {
///     Ok(trapline::timeout(Duration::from_secs(1), std::future::pending()).await?)
/// }
/// assert_eq!(hurried().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the time was up")]
pub struct Elapsed;

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}

/// Gives `future` so much time.
///
/// The future is polled first, so a timeout of zero still polls it once, and where its reply and
/// the deadline come in one batch the reply wins. When the time is up the future is dropped before
/// [`Elapsed`] is returned.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
///
/// let second = Duration::from_secs(1);
/// assert_eq!(trapline::timeout(second, async { 7 }).await, Ok(7));
/// assert!(trapline::timeout(second, std::future::pending::<()>()).await.is_err());
/// # }).unwrap();
/// ```
///
/// # Errors
/// [`Elapsed`] if the time was up first.
///
/// # Panics
/// If it is polled again after it was ready.
///
/// # Cancel safety
/// As safe as the future's own: dropping the timeout drops it.
///
/// # Cost
/// One trap where the future does not end at its first poll.
///
/// # Kin
/// curio's `timeout_after`, trio's `fail_after`.
#[doc(alias("timeout_after", "move_on_after", "fail_after"))]
#[track_caller]
pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    Timeout { future: Some(future), sleep: sleep(duration) }
}

/// The future of [`timeout`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
///
/// let patient = trapline::timeout(Duration::from_secs(2), trapline::sleep(Duration::from_secs(1)));
/// let hasty = trapline::timeout(Duration::from_secs(1), trapline::sleep(Duration::from_secs(2)));
/// let (kept, elapsed) = trapline::join(patient, hasty).await;
/// assert!(kept.is_ok() && elapsed.is_err());
/// # }).unwrap();
/// ```
#[pin_project]
#[derive(Debug)]
#[must_use = "a timeout does nothing until it is awaited"]
pub struct Timeout<F> {
    #[pin]
    future: Option<F>,
    sleep: Sleep,
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    // So that a handle that is given so much time shows the line of the `.await`.
    #[track_caller]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let future = this.future.as_mut().as_pin_mut().expect("a timeout was polled after its end");
        if let Poll::Ready(output) = future.poll(cx) {
            this.future.set(None);
            return Poll::Ready(Ok(output));
        }
        if Pin::new(this.sleep).poll(cx).is_pending() {
            return Poll::Pending;
        }
        this.future.set(None);
        Poll::Ready(Err(Elapsed))
    }
}

/// What an [`Interval`] does about ticks that were missed.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
/// use trapline::MissedTick;
///
/// let second = Duration::from_secs(1);
/// let start = trapline::now().await;
/// let mut ticks = trapline::interval(second).missed(MissedTick::Skip);
/// ticks.tick().await;
/// trapline::sleep(second * 5 / 2).await;
/// ticks.tick().await;
/// ticks.tick().await;
/// let elapsed = trapline::now().await - start;
/// assert_eq!(elapsed.subsec_nanos(), 0, "in step with the first");
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MissedTick {
    /// Each of them comes, one after the other without delay, until the phase is caught up.
    #[default]
    Burst,
    /// The next tick comes a whole period after the late one: the phase moves.
    Delay,
    /// They are left out: the next tick is the next that is due in the old phase.
    Skip,
}

/// Ticks every `period`, the first time at once.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
///
/// let mut clock = trapline::interval(Duration::from_secs(1));
/// let first = clock.tick().await;
/// assert_eq!(clock.tick().await - first, Duration::from_secs(1));
/// # }).unwrap();
/// ```
///
/// # Panics
/// If `period` is zero.
///
/// # Kin
/// `timerfd_create(2)`; tokio's `interval`.
#[doc(alias = "ticker")]
pub fn interval(period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval has a period");
    Interval { period, next: None, missed: MissedTick::default() }
}

/// Ticks at a fixed period. See [`interval`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
///
/// let start = trapline::now().await;
/// let mut seconds = trapline::interval(Duration::from_secs(1));
/// for _ in 0..3 {
///     seconds.tick().await;
/// }
/// assert!(trapline::now().await >= start + Duration::from_secs(2));
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Interval {
    period: Duration,
    /// When the next tick is due; `None` before the first.
    next: Option<Instant>,
    missed: MissedTick,
}

impl Interval {
    /// What to do about ticks that were missed.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::MissedTick;
    ///
    /// let second = Duration::from_secs(1);
    /// let mut ticks = trapline::interval(second).missed(MissedTick::Skip);
    /// let start = ticks.tick().await;
    /// trapline::sleep(second * 3 + second / 2).await;
    /// // Those at 1, 2 and 3 seconds were missed.
    /// ticks.tick().await;
    /// assert_eq!(ticks.tick().await - start, second * 4);
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn missed(mut self, policy: MissedTick) -> Interval {
        self.missed = policy;
        self
    }

    /// The period.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    ///
    /// assert_eq!(trapline::interval(Duration::from_secs(5)).period().as_secs(), 5);
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Starts anew: the next tick comes at once, and the phase counts from there.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    ///
    /// let second = Duration::from_secs(1);
    /// let mut ticks = trapline::interval(second * 10);
    /// let start = ticks.tick().await;
    /// trapline::sleep(second * 3).await;
    /// ticks.reset();
    /// assert_eq!(ticks.tick().await - start, second * 3);
    /// assert_eq!(ticks.tick().await - start, second * 13);
    /// # }).unwrap();
    /// ```
    ///
    /// # Kin
    /// tokio's `Interval::reset_immediately`.
    pub fn reset(&mut self) {
        self.next = None;
    }

    /// Waits for the next tick, and gives the instant at which it was due.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    ///
    /// let second = Duration::from_secs(1);
    /// let mut ticks = trapline::interval(second);
    /// let first = ticks.tick().await;
    /// assert_eq!(ticks.tick().await - first, second);
    /// # }).unwrap();
    /// ```
    ///
    /// # Cancel safety
    /// Safe: a tick that is not taken comes again.
    ///
    /// # Cost
    /// One trap, O(log timers).
    #[track_caller]
    pub fn tick(&mut self) -> Tick<'_> {
        let request = match self.next {
            None => Syscall::Now,
            Some(deadline) => Syscall::SleepUntil(deadline),
        };
        Tick { trap: Trap::new(request, Location::caller()), interval: self }
    }

    fn ticked(&mut self, now: Instant) -> Instant {
        let due = self.next.unwrap_or(now);
        let following = due + self.period;
        self.next = Some(match self.missed {
            MissedTick::Burst => following,
            MissedTick::Delay if following > now => following,
            MissedTick::Delay => now + self.period,
            MissedTick::Skip => {
                let late = (now - due).as_nanos() / self.period.as_nanos();
                let late = u64::try_from(late).unwrap_or(u64::MAX);
                let periods = saturating_nanos(self.period).saturating_mul(late);
                following + Duration::from_nanos(periods)
            }
        });
        due
    }
}

/// The future of [`Interval::tick`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
///
/// let mut seconds = trapline::interval(Duration::from_secs(1));
/// seconds.tick().await;
/// let tick = seconds.tick();
/// assert!(trapline::timeout(Duration::from_millis(1), tick).await.is_err());
/// // It was not lost.
/// seconds.tick().await;
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a system call does nothing until it is awaited"]
pub struct Tick<'a> {
    interval: &'a mut Interval,
    trap: Trap,
}

impl Future for Tick<'_> {
    type Output = Instant;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Instant> {
        let Poll::Ready(reply) = self.trap.poll_reply(cx) else { return Poll::Pending };
        match reply {
            Reply::Time(now) => Poll::Ready(self.interval.ticked(now)),
            other => unexpected(Syscall::Now, other),
        }
    }
}
