//! Cores and CPU time.

use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::harness::Result;

/// Where a process runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// The first core: what is measured.
    First,
    /// The last core: what puts load on it. The same core where there is only one.
    Last,
    /// Any core.
    Anywhere,
}

/// The cores that this process was started on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores(CpuSet);

impl Cores {
    /// To be taken before the first `pin`.
    pub(crate) fn allowed() -> Result<Self> {
        Ok(Self(sched_getaffinity(None)?))
    }

    /// Pins the calling thread, and whatever it starts from now on.
    pub(crate) fn pin(&self, place: Place) -> Result<()> {
        Ok(sched_setaffinity(None, &self.at(place))?)
    }

    /// Pins a thread of another process.
    pub(crate) fn pin_other(&self, thread: u32, place: Place) -> Result<()> {
        let thread = rustix::thread::Pid::from_raw(thread.try_into()?);
        Ok(sched_setaffinity(thread, &self.at(place))?)
    }

    fn at(&self, place: Place) -> CpuSet {
        let mut numbers = (0..CpuSet::MAX_CPU).filter(|n| self.0.is_set(*n));
        let chosen = match place {
            Place::First => numbers.next(),
            Place::Last => numbers.next_back(),
            Place::Anywhere => None,
        };
        let Some(core) = chosen else { return self.0 };
        let mut set = CpuSet::new();
        set.set(core);
        set
    }
}

/// Calls `work`; gives what it gives, and the CPU time in ns that this process took for it.
pub(crate) fn time<T>(work: impl FnOnce() -> T) -> Result<(T, f64)> {
    let before = read(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
    let value = work();
    Ok((value, read(ClockId::CLOCK_PROCESS_CPUTIME_ID)? - before))
}

/// The CPU time in ns that a process has taken so far, all its threads together.
///
/// The process's own clock counts ns; `/proc/PID/stat` counts hundredths of a second.
pub(crate) fn of_process(pid: u32) -> Result<f64> {
    read(clock_getcpuclockid(Pid::from_raw(pid.try_into()?))?)
}

fn read(clock: ClockId) -> Result<f64> {
    let time = clock_gettime(clock)?;
    Ok(time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64)
}
