//! So much in so much time.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use thiserror::Error;
use trapline_abi::{Instant, Reply, Ring, Syscall, Trap, WaitQueue};

use crate::sync::acquire::TakeTokens;
use crate::task::unexpected;

/// A token bucket: lets `count` things through in each `per`, and after a rest so many at once as the
/// bucket holds.
///
/// The bucket is full at first. It fills evenly, to the nanosecond, by the scheduler's clock. Tokens
/// are taken when they are there, never in advance: who gives up waiting has taken nothing. Those who
/// wait are served in the order in which they came, so that one who wants many is not starved by others
/// who want few.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
/// use trapline::pattern::RateLimiter;
///
/// // Ten a second, and no more than two at once.
/// let limiter = RateLimiter::new(10, Duration::from_secs(1)).burst(2);
/// let start = trapline::now().await;
/// for _request in 0..5 {
///     limiter.acquire().await;
/// }
/// assert_eq!(trapline::now().await - start, Duration::from_millis(300));
/// # }).unwrap();
/// ```
///
/// # Kin
/// The crate `governor`; asyncio's `aiolimiter`; `tc-tbf(8)`.
pub struct RateLimiter {
    /// A nanosecond brings so many parts of a token, and a token has `parts` of them. So there is no
    /// rounding, whatever the rate.
    count: u32,
    parts: u128,
    burst: u32,
    /// What was in the bucket, in parts, and when; by the clock of which life of a ring.
    level: Cell<u128>,
    as_of: Cell<Option<(u64, Instant)>>,
    /// The first in line holds it, while it waits for tokens.
    line: WaitQueue,
}

impl RateLimiter {
    /// A limiter that lets `count` through in each `per`, and holds as many.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::pattern::RateLimiter;
    ///
    /// let limiter = RateLimiter::new(2, Duration::from_secs(1));
    /// assert!(limiter.try_acquire(2).await.is_ok());
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If `count` or `per` is zero.
    #[must_use]
    #[track_caller]
    pub fn new(count: u32, per: Duration) -> RateLimiter {
        assert!(count > 0 && !per.is_zero(), "a rate limiter lets something through in some time");
        let mut limiter = RateLimiter {
            count,
            parts: per.as_nanos(),
            burst: 0,
            level: Cell::new(0),
            as_of: Cell::new(None),
            line: WaitQueue::lock("rate limiter", 1),
        };
        limiter.burst = count;
        limiter.level.set(limiter.capacity());
        limiter
    }

    /// Makes the bucket hold `burst`, and fills it.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::pattern::RateLimiter;
    ///
    /// let limiter = RateLimiter::new(100, Duration::from_secs(1)).burst(1);
    /// assert!(limiter.try_acquire(1).await.is_ok());
    /// assert!(limiter.try_acquire(1).await.is_err());
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If it is zero.
    #[must_use]
    #[track_caller]
    pub fn burst(mut self, burst: u32) -> RateLimiter {
        assert!(burst > 0, "a rate limiter lets through one at least");
        self.burst = burst;
        self.level.set(self.capacity());
        self
    }

    /// Names it, for the task table and reports.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::pattern::RateLimiter;
    ///
    /// let limiter = RateLimiter::new(2, Duration::from_secs(1)).named("requests");
    /// assert!(format!("{limiter:?}").contains("requests"));
    /// ```
    #[must_use]
    pub fn named(self, name: &str) -> RateLimiter {
        self.line.set_name(name);
        self
    }

    /// Waits for a token, and takes it.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::pattern::RateLimiter;
    ///
    /// let limiter = RateLimiter::new(1, Duration::from_secs(1));
    /// let start = trapline::now().await;
    /// limiter.acquire().await;
    /// limiter.acquire().await;
    /// assert_eq!(trapline::now().await - start, Duration::from_secs(1));
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If it is polled outside a task, or again after it was ready; if tasks of another scheduler wait
    /// for this limiter.
    ///
    /// # Cancel safety
    /// Safe: dropping it gives up the place in the line, and takes nothing.
    ///
    /// # Cost
    /// One trap, to ask for the time; up to three where it has to wait. No allocation where nobody
    /// waits.
    #[track_caller]
    pub fn acquire(&self) -> Acquire<'_> {
        Acquire { take: Take::new(self, 1, Location::caller()) }
    }

    /// Waits for so many tokens, and takes them together. None are taken before all are there.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::pattern::{ExceedsBurst, RateLimiter};
    ///
    /// let limiter = RateLimiter::new(10, Duration::from_secs(1));
    /// assert_eq!(limiter.acquire_many(10).await, Ok(()));
    /// assert_eq!(limiter.acquire_many(11).await, Err(ExceedsBurst));
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`ExceedsBurst`] if the bucket never holds so many.
    ///
    /// # Panics
    /// As [`acquire`](RateLimiter::acquire).
    ///
    /// # Cancel safety
    /// Safe: dropping it gives up the place in the line, and takes nothing.
    ///
    /// # Cost
    /// As [`acquire`](RateLimiter::acquire).
    #[track_caller]
    pub fn acquire_many(&self, tokens: u32) -> AcquireMany<'_> {
        AcquireMany { take: Take::new(self, tokens, Location::caller()) }
    }

    /// Takes so many tokens if they are there now, and nobody waits.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::pattern::{RateLimited, RateLimiter};
    ///
    /// let limiter = RateLimiter::new(2, Duration::from_secs(1));
    /// assert_eq!(limiter.try_acquire(2).await, Ok(()));
    /// assert_eq!(limiter.try_acquire(1).await, Err(RateLimited));
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`RateLimited`] if they are not, or somebody waits.
    ///
    /// # Panics
    /// If it is polled outside a task, or again after it was ready.
    ///
    /// # Cancel safety
    /// Safe: dropping it takes nothing.
    ///
    /// # Cost
    /// One trap, to ask for the time.
    #[track_caller]
    pub fn try_acquire(&self, tokens: u32) -> TryAcquire<'_> {
        let now = Trap::new(Syscall::Now, Location::caller());
        TryAcquire { limiter: self, tokens, now }
    }

    fn capacity(&self) -> u128 {
        u128::from(self.burst) * self.parts
    }

    /// Pours in what has come since the last time. Another scheduler's clock says nothing about that.
    fn refill(&self, now: Instant) {
        let life = Ring::of_running_task().life();
        let last = self.as_of.get().filter(|(clock, _)| *clock == life);
        let last = last.map_or(now, |(_, last)| last);
        let nanos = (now - last).as_nanos();
        let level = self.level.get().saturating_add(nanos * u128::from(self.count));
        // Who waits comes at a whole nanosecond, by when a part of the next token is there. It is kept
        // although the bucket is full, or the rate would fall short of what it should be.
        let parts_of_next = u128::from(self.count).min(self.parts) - 1;
        self.level.set(level.min(self.capacity() + parts_of_next));
        self.as_of.set(Some((life, last.max(now))));
    }

    /// Takes so many tokens now, or says when they will be there.
    fn take(&self, tokens: u32, now: Instant) -> Result<(), Instant> {
        self.refill(now);
        let wanted = u128::from(tokens) * self.parts;
        match self.level.get().checked_sub(wanted) {
            Some(left) => {
                self.level.set(left);
                Ok(())
            }
            None => {
                let missing = wanted - self.level.get();
                let nanos = missing.div_ceil(u128::from(self.count));
                let (_, as_of) = self.as_of.get().unwrap_or((0, now));
                Err(as_of + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
            }
        }
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter")
            .field("count", &self.count)
            .field("per_nanos", &self.parts)
            .field("burst", &self.burst)
            .field("tokens_at_last_look", &(self.level.get() / self.parts))
            .field("line", &self.line)
            .finish()
    }
}

/// Tokens on their way: first the head of the line, then the clock, then what is missing.
#[derive(Debug)]
struct Take<'a> {
    limiter: &'a RateLimiter,
    tokens: u32,
    turn: TakeTokens,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    InLine,
    /// At the head: asks for the time, or sleeps until there is enough.
    AtHead(Trap),
    Done,
}

impl<'a> Take<'a> {
    fn new(limiter: &'a RateLimiter, tokens: u32, site: &'static Location<'static>) -> Take<'a> {
        Take { limiter, tokens, turn: TakeTokens::new(1, site), phase: Phase::InLine }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Phase::InLine = self.phase {
            ready!(self.turn.poll(&self.limiter.line, cx));
            self.phase = Phase::AtHead(Trap::new(Syscall::Now, self.turn.site()));
        }
        loop {
            let Phase::AtHead(trap) = &mut self.phase else {
                panic!("a wait for a rate limiter was polled again after it was ready")
            };
            let now = match ready!(trap.poll_reply(cx)) {
                Reply::Time(now) => now,
                other => unexpected(Syscall::Now, other),
            };
            match self.limiter.take(self.tokens, now) {
                Ok(()) => {
                    self.leave_head();
                    return Poll::Ready(());
                }
                Err(when) => {
                    let sleep = Trap::new(Syscall::SleepUntil(when), self.turn.site());
                    self.phase = Phase::AtHead(sleep);
                }
            }
        }
    }

    fn leave_head(&mut self) {
        self.phase = Phase::Done;
        self.limiter.line.note_released(self.turn.site());
        self.limiter.line.wake();
    }
}

impl Drop for Take<'_> {
    fn drop(&mut self) {
        if let Phase::AtHead(_) = self.phase {
            self.leave_head();
        }
    }
}

/// The future of [`RateLimiter::acquire`].
#[derive(Debug)]
#[must_use = "nothing is waited for until it is awaited"]
pub struct Acquire<'a> {
    take: Take<'a>,
}

impl Future for Acquire<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.take.poll(cx)
    }
}

/// The future of [`RateLimiter::acquire_many`].
#[derive(Debug)]
#[must_use = "nothing is waited for until it is awaited"]
pub struct AcquireMany<'a> {
    take: Take<'a>,
}

impl Future for AcquireMany<'_> {
    type Output = Result<(), ExceedsBurst>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.take.tokens > self.take.limiter.burst {
            return Poll::Ready(Err(ExceedsBurst));
        }
        self.take.poll(cx).map(Ok)
    }
}

/// The future of [`RateLimiter::try_acquire`].
#[derive(Debug)]
#[must_use = "nothing is taken until it is awaited"]
pub struct TryAcquire<'a> {
    limiter: &'a RateLimiter,
    tokens: u32,
    now: Trap,
}

impl Future for TryAcquire<'_> {
    type Output = Result<(), RateLimited>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let now = match ready!(self.now.poll_reply(cx)) {
            Reply::Time(now) => now,
            other => unexpected(Syscall::Now, other),
        };
        // Whoever asked for the time before this one has had it, and left the line, unless it waits.
        if self.limiter.line.tokens() == 0 {
            return Poll::Ready(Err(RateLimited));
        }
        Poll::Ready(self.limiter.take(self.tokens, now).map_err(|_| RateLimited))
    }
}

/// More was asked for at once than the bucket ever holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the rate limiter never lets so many through at once")]
pub struct ExceedsBurst;

/// There are not so many tokens now, or others wait for them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the rate limiter does not let it through now")]
pub struct RateLimited;
