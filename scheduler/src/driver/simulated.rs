//! A virtual clock that jumps.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use trapline_abi::Instant;

use super::poller::Poller;
use super::{Driver, Interest, IoEvent, Unpark, Until, Waited};

/// A driver whose clock stands still while anything can run, and jumps to the next deadline when
/// nothing can.
///
/// Hours of sleeping pass at once, and read back exactly. Descriptors are the real ones: they are
/// looked at before the clock jumps, and waited for where no timer is armed. So a time-out may
/// come due while a peer in another thread is still at work; with the virtual clock, let a peer be
/// done before the deadline matters.
///
/// ```
/// use std::time::Duration;
/// use trapline_scheduler::Scheduler;
/// use trapline_scheduler::driver::SimulatedDriver;
///
/// let mut scheduler = Scheduler::builder().driver(SimulatedDriver::new()).build();
/// let end = scheduler.block_on(trapline_syscalls::sleep(Duration::from_secs(3600)))?;
/// assert_eq!(end.as_nanos(), 3_600_000_000_000, "to the nanosecond");
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
#[derive(Debug, Default)]
pub struct SimulatedDriver {
    now_nanos: u64,
    poller: Poller,
}

impl SimulatedDriver {
    /// A clock that shows zero.
    ///
    /// ```
    /// use trapline_scheduler::driver::{Driver, SimulatedDriver};
    ///
    /// assert_eq!(SimulatedDriver::new().now().as_nanos(), 0);
    /// ```
    #[must_use]
    pub fn new() -> SimulatedDriver {
        SimulatedDriver::default()
    }
}

impl Driver for SimulatedDriver {
    fn now(&mut self) -> Instant {
        Instant::from_nanos(self.now_nanos)
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
        match until {
            Until::Now => self.poller.wait(Some(Duration::ZERO), events),
            Until::Real(nanos) => self.poller.wait(Some(Duration::from_nanos(nanos)), events),
            Until::Forever => self.poller.wait(None, events),
            Until::Deadline(deadline) => {
                let waited = self.poller.wait(Some(Duration::ZERO), events)?;
                if waited == Waited::TimedOut {
                    self.now_nanos = self.now_nanos.max(deadline.as_nanos());
                }
                Ok(waited)
            }
        }
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        self.poller.unparker()
    }
}
