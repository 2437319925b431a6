//! When, how often and how fast a child is started again.

use std::collections::VecDeque;
use std::time::Duration;

use trapline_abi::{Instant, random};

/// When a child is to be started again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Restart {
    /// Never.
    Never,
    /// When it has failed: by an error, a panic, a kill or a cancellation.
    #[default]
    OnFailure,
    /// Whenever it has ended.
    Always,
}

/// How long to wait before a child is started again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backoff {
    /// Not at all.
    None,
    /// So long, each time.
    Constant(Duration),
    /// So long the first time, and each time twice as long as before, up to a cap.
    Exponential {
        /// The first time.
        first: Duration,
        /// The longest.
        cap: Duration,
    },
}

impl Backoff {
    /// How long to wait before the `count`-th restart in a row, counted from 0.
    fn delay(self, count: u32) -> Duration {
        match self {
            Backoff::None => Duration::ZERO,
            Backoff::Constant(delay) => delay,
            Backoff::Exponential { first, cap } => {
                let factor = 1_u32.checked_shl(count).unwrap_or(u32::MAX);
                first.saturating_mul(factor).min(cap)
            }
        }
    }
}

/// When, how often and how fast a child is started again: by default on failure, three times within
/// five seconds, without delay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Policy {
    restart: Restart,
    most: usize,
    window: Duration,
    backoff: Backoff,
    jitter_percent: u32,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy::new(Restart::OnFailure)
    }
}

impl Policy {
    /// The default, but for when.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use trapline::{Policy, Restart};
    ///
    /// assert_eq!(Policy::new(Restart::OnFailure), Policy::default());
    /// ```
    pub const fn new(restart: Restart) -> Policy {
        let window = Duration::from_secs(5);
        Policy { restart, most: 3, window, backoff: Backoff::None, jitter_percent: 0 }
    }

    /// How many restarts there may be within a window of so much time; one more, and it is given up.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::Policy;
    ///
    /// let policy = Policy::default().at_most(2, Duration::from_secs(60));
    /// let gave_up = trapline::supervise(policy, || async { Err::<(), _>("no luck") }).await;
    /// assert!(gave_up.is_err());
    /// # }).unwrap();
    /// ```
    pub const fn at_most(mut self, restarts: usize, window: Duration) -> Policy {
        (self.most, self.window) = (restarts, window);
        self
    }

    /// How long to wait before a restart. The waits grow anew once a window has passed without one.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::{Backoff, Policy};
    ///
    /// let second = Duration::from_secs(1);
    /// let backoff = Backoff::Exponential { first: second, cap: second * 10 };
    /// let policy = Policy::default().at_most(3, second * 60).backoff(backoff);
    /// let start = trapline::now().await;
    /// let _gave_up = trapline::supervise(policy, || async { Err::<(), _>("no luck") }).await;
    /// assert_eq!(trapline::now().await - start, second * (1 + 2 + 4));
    /// # }).unwrap();
    /// ```
    pub const fn backoff(mut self, backoff: Backoff) -> Policy {
        self.backoff = backoff;
        self
    }

    /// Takes up to so many hundredths off each wait, at random, so that those who failed together do
    /// not come back together. The random numbers are the scheduler's.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::{Backoff, Policy};
    ///
    /// // From a half to the whole of a second.
    /// let backoff = Backoff::Constant(Duration::from_secs(1));
    /// let policy = Policy::default().backoff(backoff).jitter_percent(50);
    /// # assert_ne!(policy, Policy::default());
    /// ```
    pub const fn jitter_percent(mut self, percent: u32) -> Policy {
        self.jitter_percent = if percent > 100 { 100 } else { percent };
        self
    }

    pub(super) fn wants<T, E>(&self, end: &Result<T, E>) -> bool {
        match self.restart {
            Restart::Never => false,
            Restart::OnFailure => end.is_err(),
            Restart::Always => true,
        }
    }

    /// Takes the jitter off a delay.
    fn shaken(&self, delay: Duration) -> Duration {
        if self.jitter_percent == 0 || delay.is_zero() {
            return delay;
        }
        let most = delay.as_nanos() * u128::from(self.jitter_percent) / 100;
        let less = u128::from(random()) % (most + 1);
        delay - Duration::from_nanos(u64::try_from(less).unwrap_or(u64::MAX))
    }
}

/// The restarts of a child, as far back as they count.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// When it was started again: after the delay.
    times: VecDeque<Instant>,
    in_a_row: u32,
}

impl History {
    /// Another end at `now`: how long to wait, or `None` if there were too many.
    pub(super) fn allow(&mut self, policy: &Policy, now: Instant) -> Option<Duration> {
        while self.times.front().is_some_and(|first| now - *first > policy.window) {
            self.times.pop_front();
        }
        if self.times.is_empty() {
            self.in_a_row = 0;
        }
        if self.times.len() >= policy.most {
            return None;
        }
        let delay = policy.shaken(policy.backoff.delay(self.in_a_row));
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.times.push_back(now + delay);
        Some(delay)
    }
}
