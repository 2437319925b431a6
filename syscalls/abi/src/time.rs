//! An instant on the scheduler's clock.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A point on a scheduler's monotonic clock, in nanoseconds since that clock began.
///
/// It is not `std::time::Instant`, since a scheduler's clock may be virtual. Instants of one
/// driver compare and subtract; those of different drivers mean nothing to each other.
///
/// ```
/// use std::time::Duration;
/// use trapline_abi::Instant;
///
/// let start = Instant::from_nanos(0);
/// let later = start + Duration::from_millis(5);
/// assert_eq!(later - start, Duration::from_millis(5));
/// assert_eq!(start - later, Duration::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The instant `nanos` nanoseconds after the clock began.
    ///
    /// ```
    /// use trapline_abi::Instant;
    ///
    /// assert_eq!(Instant::from_nanos(7).as_nanos(), 7);
    /// ```
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Instant {
        Instant(nanos)
    }

    /// Nanoseconds since the clock began.
    ///
    /// ```
    /// use std::time::Duration;
    /// use trapline_abi::Instant;
    ///
    /// let later = Instant::from_nanos(7) + Duration::from_micros(1);
    /// assert_eq!(later.as_nanos(), 1_007);
    /// ```
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it was not earlier.
    ///
    /// ```
    /// use trapline_abi::Instant;
    ///
    /// let (early, late) = (Instant::from_nanos(2), Instant::from_nanos(7));
    /// assert_eq!(late.duration_since(early).as_nanos(), 5);
    /// assert!(early.duration_since(late).is_zero());
    /// ```
    #[must_use]
    pub const fn duration_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// `duration` in nanoseconds; 584 years where it is longer.
pub(crate) fn saturating_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Instant {
    type Output = Instant;

    /// Saturates at the end of the clock, 584 years after it began.
    fn add(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_add(saturating_nanos(duration)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.duration_since(earlier)
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Duration::from_nanos(self.0), f)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instant({self})")
    }
}
