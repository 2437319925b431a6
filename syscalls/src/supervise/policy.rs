//! When, how often and how fast a child is started again.

use std::collections::VecDeque;
use std::time::Duration;

use trapline_abi::Instant;

use crate::backoff::Backoff;

/// When a child is to be started again.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::{Policy, Restart};
///
/// let mut left = 2;
/// let count = move || {
///     left -= 1;
///     async move { if left > 0 { Err("again") } else { Ok(left) } }
/// };
/// let outcome = trapline::supervise(Policy::new(Restart::OnFailure), count);
/// assert_eq!(outcome.await.unwrap(), 0);
/// # }).unwrap();
/// ```
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

/// When, how often and how fast a child is started again: by default on failure, three times within
/// five seconds, without delay.
///
/// ```
/// # use trapline_syscalls as trapline;
/// use std::time::Duration;
/// use trapline::{Backoff, Policy, Restart};
///
/// let minute = Duration::from_secs(60);
/// let patient = Backoff::exponential(Duration::from_secs(1)).cap(minute);
/// let policy = Policy::new(Restart::Always).at_most(5, minute).backoff(patient);
/// assert!(format!("{policy:?}").contains("Always"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Policy {
    restart: Restart,
    most: usize,
    window: Duration,
    backoff: Option<Backoff>,
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
        Policy { restart, most: 3, window, backoff: None }
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

    /// How long to wait before a restart. The waits grow anew once a window has passed without one; until
    /// then the attempts that the backoff allows are counted. How long they may take all in all is the
    /// window's to say, and not the backoff's.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::{Backoff, Policy};
    ///
    /// let second = Duration::from_secs(1);
    /// let backoff = Backoff::exponential(second).cap(second * 10);
    /// let policy = Policy::default().at_most(3, second * 60).backoff(backoff);
    /// let start = trapline::now().await;
    /// let _gave_up = trapline::supervise(policy, || async { Err::<(), _>("no luck") }).await;
    /// assert_eq!(trapline::now().await - start, second * (1 + 2 + 4));
    /// # }).unwrap();
    /// ```
    pub const fn backoff(mut self, backoff: Backoff) -> Policy {
        self.backoff = Some(backoff);
        self
    }

    pub(super) fn wants<T, E>(&self, end: &Result<T, E>) -> bool {
        match self.restart {
            Restart::Never => false,
            Restart::OnFailure => end.is_err(),
            Restart::Always => true,
        }
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
        self.in_a_row = self.in_a_row.saturating_add(1);
        let failures = self.in_a_row;
        if policy.backoff.is_some_and(|backoff| backoff.is_exhausted_by(failures)) {
            return None;
        }
        let delay = policy.backoff.map_or(Duration::ZERO, |b| b.draw_pause_after(failures));
        self.times.push_back(now + delay);
        Some(delay)
    }
}
