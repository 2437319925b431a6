//! What the outside is: a clock, readiness of descriptors, and a way for other threads to end a
//! wait. Only a driver reads the clock (kernel-time).

mod os;
mod poller;
mod simulated;

pub use os::OsDriver;
pub use simulated::SimulatedDriver;

use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use trapline_abi::{Instant, Readiness};

/// How long a driver may wait.
///
/// ```
/// use trapline_abi::Instant;
/// use trapline_scheduler::driver::{Driver, SimulatedDriver, Until};
///
/// let mut driver = SimulatedDriver::new();
/// // A virtual clock jumps there.
/// driver.wait(Until::Deadline(Instant::from_nanos(500)), &mut Vec::new())?;
/// assert_eq!(driver.now().as_nanos(), 500);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// Not at all.
    Now,
    /// Until this instant on the driver's clock.
    Deadline(Instant),
    /// So many nanoseconds of real time, whatever the driver's clock is.
    Real(u64),
    /// Until something happens.
    Forever,
}

/// What ended a wait.
///
/// ```
/// use trapline_scheduler::driver::{Driver, OsDriver, Until, Waited};
///
/// let mut driver = OsDriver::new();
/// assert_eq!(driver.wait(Until::Now, &mut Vec::new())?, Waited::TimedOut);
/// driver.unparker().unpark();
/// assert_eq!(driver.wait(Until::Forever, &mut Vec::new())?, Waited::Woken);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waited {
    /// The time was up, and nothing had happened.
    TimedOut,
    /// Something happened, or may have: an event, a wake-up, a signal.
    Woken,
}

/// Which readiness a registration is for.
///
/// ```
/// use std::os::fd::AsRawFd;
/// use std::os::unix::net::UnixStream;
/// use trapline_scheduler::driver::{Driver, Interest, OsDriver, Until, Waited};
///
/// let (near, _far) = UnixStream::pair()?;
/// # near.set_nonblocking(true)?;
/// let mut driver = OsDriver::new();
/// // There is nothing to read, but there is room to write.
/// driver.register(near.as_raw_fd(), 7, Interest::Read)?;
/// assert_eq!(driver.wait(Until::Now, &mut Vec::new())?, Waited::TimedOut);
/// driver.reregister(near.as_raw_fd(), 7, Interest::Both)?;
/// assert_eq!(driver.wait(Until::Forever, &mut Vec::new())?, Waited::Woken);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interest {
    /// Something to read.
    Read,
    /// Room to write.
    Write,
    /// Both.
    Both,
}

/// What happened to a registered descriptor.
///
/// ```
/// use std::io::Write;
/// use std::os::fd::AsRawFd;
/// use std::os::unix::net::UnixStream;
/// use trapline_abi::Readiness;
/// use trapline_scheduler::driver::{Driver, Interest, OsDriver, Until};
///
/// let (near, mut far) = UnixStream::pair()?;
/// # near.set_nonblocking(true)?;
/// let (mut driver, mut events) = (OsDriver::new(), Vec::new());
/// driver.register(near.as_raw_fd(), 7, Interest::Read)?;
/// far.write_all(b"hello")?;
/// driver.wait(Until::Forever, &mut events)?;
/// assert_eq!(events[0].token, 7);
/// assert!(events[0].readiness.intersects(Readiness::READABLE));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoEvent {
    /// The token it was registered with.
    pub token: u64,
    /// What it became ready for.
    pub readiness: Readiness,
}

/// The outside of a scheduler.
///
/// Registrations are edge-triggered: one event when a descriptor becomes ready, and one at
/// `register` and `reregister` if it is ready then.
///
/// ```
/// # use std::io;
/// # use std::os::fd::RawFd;
/// # use std::sync::Arc;
/// use trapline_abi::Instant;
/// # use trapline_scheduler::driver::{Interest, Unpark};
/// use trapline_scheduler::Scheduler;
/// use trapline_scheduler::driver::{Driver, IoEvent, SimulatedDriver, Until, Waited};
///
/// /// The virtual clock; says what the loop waits for.
/// #[derive(Debug)]
/// struct Told(SimulatedDriver);
///
/// impl Driver for Told {
///     fn now(&mut self) -> Instant {
///         self.0.now()
///     }
///
///     fn wait(&mut self, until: Until, events: &mut Vec<IoEvent>) -> io::Result<Waited> {
///         println!("nobody can run: waits for {until:?}");
///         self.0.wait(until, events)
///     }
///     // … and the other methods, which hand on likewise.
/// #    fn register(&mut self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
/// #        self.0.register(fd, token, interest)
/// #    }
/// #    fn reregister(&mut self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
/// #        self.0.reregister(fd, token, interest)
/// #    }
/// #    fn deregister(&mut self, fd: RawFd) -> io::Result<()> {
/// #        self.0.deregister(fd)
/// #    }
/// #    fn unparker(&self) -> Arc<dyn Unpark> {
/// #        self.0.unparker()
/// #    }
/// }
///
/// let mut scheduler = Scheduler::builder().driver(Told(SimulatedDriver::new())).build();
/// scheduler.block_on(trapline_syscalls::sleep(std::time::Duration::from_secs(3600)))?;
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
pub trait Driver: fmt::Debug {
    /// The time on the driver's clock.
    fn now(&mut self) -> Instant;

    /// Starts to report events of `fd` under `token`.
    ///
    /// # Errors
    /// What the operating system says: `EEXIST` if the number is registered, `EPERM` if it is of
    /// a kind that is always ready, `EBADF`.
    fn register(&mut self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()>;

    /// Changes a registration and re-arms it.
    ///
    /// # Errors
    /// What the operating system says: `ENOENT` if the number has a new owner.
    fn reregister(&mut self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()>;

    /// Ends a registration.
    ///
    /// # Errors
    /// What the operating system says.
    fn deregister(&mut self, fd: RawFd) -> io::Result<()>;

    /// Waits, and appends what happened to `events`. Says whether the time was up.
    ///
    /// # Errors
    /// What the operating system says; an interruption by a signal is no error.
    fn wait(&mut self, until: Until, events: &mut Vec<IoEvent>) -> io::Result<Waited>;

    /// The program was held for so long, and is to take no notice of it: sets the clock back. For a clock that
    /// stands still by itself there is nothing to do.
    fn stood_still(&mut self, held: Duration) {
        let _ = held;
    }

    /// Ends a wait from another thread.
    fn unparker(&self) -> Arc<dyn Unpark>;
}

/// Ends a driver's wait, from any thread: the one under way, or else the next.
///
/// ```
/// use std::thread;
/// use trapline_scheduler::driver::{Driver, OsDriver, Until};
///
/// let mut driver = OsDriver::new();
/// let unparker = driver.unparker();
/// let other = thread::spawn(move || unparker.unpark());
/// driver.wait(Until::Forever, &mut Vec::new())?;
/// # other.join().unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Unpark: Send + Sync {
    /// Ends the wait.
    fn unpark(&self);
}
