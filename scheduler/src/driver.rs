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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waited {
    /// The time was up, and nothing had happened.
    TimedOut,
    /// Something happened, or may have: an event, a wake-up, a signal.
    Woken,
}

/// Which readiness a registration is for.
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
pub trait Unpark: Send + Sync {
    /// Ends the wait.
    fn unpark(&self);
}
