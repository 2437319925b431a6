//! Time: read the clock, and wait for a deadline. The clock is read when a call is served.

use std::time::Duration;

use trapline_abi::{CallId, Instant, On, Reply};

use crate::kernel::{Fate, Kernel};

#[inline(never)]
pub(crate) fn now(kernel: &mut Kernel) -> Fate {
    Fate::Answer(Reply::Time(kernel.driver.now()))
}

/// A sleep of zero is a yield.
#[inline(never)]
pub(crate) fn sleep(kernel: &mut Kernel, call: CallId, nanos: u64) -> Fate {
    let now = kernel.driver.now();
    if nanos == 0 {
        return Fate::Yield(Reply::Time(now));
    }
    let deadline = now + Duration::from_nanos(nanos);
    Fate::Block(On::Timer(kernel.timers.arm(deadline, call)))
}

#[inline(never)]
pub(crate) fn sleep_until(kernel: &mut Kernel, call: CallId, deadline: Instant) -> Fate {
    let now = kernel.driver.now();
    if deadline <= now {
        return Fate::Answer(Reply::Time(now));
    }
    Fate::Block(On::Timer(kernel.timers.arm(deadline, call)))
}
