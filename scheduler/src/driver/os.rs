//! The operating system: its monotonic clock, and `mio`.

use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use trapline_abi::Instant;

use super::poller::Poller;
use super::{Driver, Interest, IoEvent, Unpark, Until, Waited};

/// When the clock of every OS driver began: at the first look at it, so that instants of all
/// schedulers of a process compare.
static EPOCH: OnceLock<std::time::Instant> = OnceLock::new();

/// The driver of production: the operating system's monotonic clock, and readiness by `mio`.
///
/// A wait ends up to 1 ms after its deadline, since `epoll` counts in milliseconds; never before.
///
/// ```
/// use std::time::Duration;
/// use trapline_scheduler::driver::{Driver, OsDriver, Until};
///
/// let mut driver = OsDriver::new();
/// let deadline = driver.now() + Duration::from_millis(1);
/// driver.wait(Until::Deadline(deadline), &mut Vec::new())?;
/// assert!(driver.now() >= deadline, "it does not wake early");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct OsDriver {
    poller: Poller,
    /// How long the program was held.
    held: Duration,
}

impl OsDriver {
    /// A driver that has asked the operating system for nothing yet.
    ///
    /// ```
    /// use trapline_scheduler::Scheduler;
    /// use trapline_scheduler::driver::OsDriver;
    ///
    /// // What a builder takes where it is told of no other.
    /// let scheduler = Scheduler::builder().driver(OsDriver::new()).build();
    /// # drop(scheduler);
    /// ```
    #[must_use]
    pub fn new() -> OsDriver {
        OsDriver::default()
    }
}

impl Driver for OsDriver {
    #[expect(clippy::disallowed_methods, reason = "the driver is where the clock is read")]
    fn now(&mut self) -> Instant {
        let now = std::time::Instant::now();
        let since = now.saturating_duration_since(*EPOCH.get_or_init(|| now));
        let nanos = since.saturating_sub(self.held).as_nanos();
        Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn register(&mut self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.poller.register(fd, token, interest)
    }

    fn reregister(&mut self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.poller.reregister(fd, token, interest)
    }

    fn deregister(&mut self, fd: RawFd) -> io::Result<()> {
        self.poller.deregister(fd)
    }

    fn wait(&mut self, until: Until, events: &mut Vec<IoEvent>) -> io::Result<Waited> {
        let timeout = match until {
            Until::Now => Some(Duration::ZERO),
            Until::Deadline(deadline) => Some(deadline - self.now()),
            Until::Real(nanos) => Some(Duration::from_nanos(nanos)),
            Until::Forever => None,
        };
        self.poller.wait(timeout, events)
    }

    fn stood_still(&mut self, held: Duration) {
        self.held = self.held.saturating_add(held);
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        self.poller.unparker()
    }
}
