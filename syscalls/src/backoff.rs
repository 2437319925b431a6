//! How long to pause between attempts, and how many to make.

use std::num::NonZeroU32;
use std::time::Duration;

use trapline_abi::random;

/// How [`retry`](crate::pattern::retry) spaces its attempts, and [`supervise`](crate::supervise()) its
/// restarts; and when they give up.
///
/// ```
/// # use trapline_syscalls as trapline;
/// use std::time::Duration;
/// use trapline::pattern::Backoff;
///
/// let ms = Duration::from_millis;
/// let backoff = Backoff::exponential(ms(10)).cap(ms(50)).max_attempts(6);
/// let pauses: Vec<_> = (1..6).map(|failures| backoff.pause_after(failures)).collect();
/// assert_eq!(pauses, [ms(10), ms(20), ms(40), ms(50), ms(50)]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    first: Duration,
    factor: u32,
    cap: Duration,
    jitter: Jitter,
    max_attempts: Option<NonZeroU32>,
    max_elapsed: Option<Duration>,
}

/// How far chance may shorten a pause, so that those who failed together do not come back together.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
/// use trapline::{Backoff, Jitter};
///
/// let second = Duration::from_secs(1);
/// let backoff = Backoff::constant(second).jitter(Jitter::Half);
/// let pause = backoff.pause_after(1);
/// assert!(pause >= second / 2 && pause <= second);
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Jitter {
    /// Not at all.
    #[default]
    None,
    /// By up to half.
    Half,
    /// To anything between nothing and all of it.
    Full,
}

impl Backoff {
    /// The same pause each time; without an end.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::pattern::Backoff;
    ///
    /// let second = Duration::from_secs(1);
    /// assert_eq!(Backoff::constant(second).pause_after(9), second);
    /// ```
    #[must_use]
    pub const fn constant(pause: Duration) -> Backoff {
        Backoff {
            first: pause,
            factor: 1,
            cap: Duration::MAX,
            jitter: Jitter::None,
            max_attempts: None,
            max_elapsed: None,
        }
    }

    /// Each pause twice as long as the one before; without an end.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::pattern::Backoff;
    ///
    /// let backoff = Backoff::exponential(Duration::from_secs(1));
    /// assert_eq!([1, 2, 3].map(|failures| backoff.pause_after(failures).as_secs()), [1, 2, 4]);
    /// ```
    #[must_use]
    pub const fn exponential(first: Duration) -> Backoff {
        Backoff { factor: 2, ..Backoff::constant(first) }
    }

    /// Each pause so many times as long as the one before.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::pattern::Backoff;
    ///
    /// let backoff = Backoff::constant(Duration::from_secs(1)).factor(10);
    /// assert_eq!([1, 2, 3].map(|failures| backoff.pause_after(failures).as_secs()), [1, 10, 100]);
    /// ```
    ///
    /// # Panics
    /// If `factor` is zero.
    #[must_use]
    pub const fn factor(self, factor: u32) -> Backoff {
        assert!(factor > 0, "a pause does not shrink to nothing: the factor is at least 1");
        Backoff { factor, ..self }
    }

    /// No pause longer than `cap`.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::pattern::Backoff;
    ///
    /// let second = Duration::from_secs(1);
    /// assert_eq!(Backoff::exponential(second).cap(second * 30).pause_after(100), second * 30);
    /// ```
    #[must_use]
    pub const fn cap(self, cap: Duration) -> Backoff {
        Backoff { cap, ..self }
    }

    /// Lets chance shorten the pauses: by the scheduler's own numbers, so that a run can be repeated.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::pattern::{Backoff, Jitter, retry};
    ///
    /// let second = Duration::from_secs(1);
    /// let backoff = Backoff::constant(second).jitter(Jitter::Half).max_attempts(2);
    /// let start = trapline::now().await;
    /// let _failed = retry(backoff, async || Err::<(), _>("busy")).await;
    /// let pause = trapline::now().await - start;
    /// assert!(second / 2 <= pause && pause <= second);
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub const fn jitter(self, jitter: Jitter) -> Backoff {
        Backoff { jitter, ..self }
    }

    /// At most so many attempts, the first among them.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::pattern::{Backoff, retry};
    ///
    /// let mut attempts = 0;
    /// let backoff = Backoff::constant(Duration::from_secs(1)).max_attempts(3);
    /// let failed = retry(backoff, || {
    ///     attempts += 1;
    ///     async { Err::<(), _>("busy") }
    /// });
    /// assert_eq!(failed.await, Err("busy"));
    /// assert_eq!(attempts, 3);
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If it is zero.
    #[must_use]
    pub const fn max_attempts(self, attempts: u32) -> Backoff {
        let attempts = NonZeroU32::new(attempts);
        assert!(attempts.is_some(), "there is at least one attempt");
        Backoff { max_attempts: attempts, ..self }
    }

    /// No attempt begins later than so long after the first. One under way is not interrupted: for
    /// that, put a [`timeout`](crate::timeout) into it, or around all of it.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::pattern::{Backoff, retry};
    ///
    /// let second = Duration::from_secs(1);
    /// let backoff = Backoff::constant(second).max_elapsed(second * 5);
    /// let start = trapline::now().await;
    /// assert!(retry(backoff, async || Err::<(), _>("busy")).await.is_err());
    /// assert!(trapline::now().await - start <= second * 5);
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub const fn max_elapsed(self, elapsed: Duration) -> Backoff {
        Backoff { max_elapsed: Some(elapsed), ..self }
    }

    /// The pause after so many failures, 1 or more, before chance shortens it.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::pattern::Backoff;
    ///
    /// let backoff = Backoff::exponential(Duration::from_millis(100));
    /// assert_eq!(backoff.pause_after(4), Duration::from_millis(800));
    /// ```
    #[must_use]
    pub fn pause_after(&self, failures: u32) -> Duration {
        let times = self.factor.saturating_pow(failures.saturating_sub(1));
        self.first.saturating_mul(times).min(self.cap)
    }

    /// The same after chance has had its say. In a task only, if there is a jitter.
    pub(crate) fn draw_pause_after(&self, failures: u32) -> Duration {
        let pause = self.pause_after(failures);
        let nanos = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        match self.jitter {
            Jitter::None => pause,
            Jitter::Half => Duration::from_nanos(nanos - up_to(nanos / 2)),
            Jitter::Full => Duration::from_nanos(up_to(nanos)),
        }
    }

    pub(crate) fn is_exhausted_by(&self, failures: u32) -> bool {
        self.max_attempts.is_some_and(|most| failures >= most.get())
    }

    pub(crate) fn longest(&self) -> Option<Duration> {
        self.max_elapsed
    }
}

/// A number up to `most`, each as likely as the others.
fn up_to(most: u64) -> u64 {
    let scaled = u128::from(random()) * (u128::from(most) + 1);
    (scaled >> 64) as u64
}
