//! A yield as a future: a trap that most often leaves no trace.

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::call::Syscall;
use crate::id::CallId;
use crate::register::YieldId;
use crate::ring::Ring;
use crate::trap::Trap;

/// A [`Trap`] that asks for [`Syscall::Yield`].
///
/// It lives and panics as every other does, and is served as every other is. But its answer is known
/// to be [`Reply::Done`](crate::Reply::Done); so where it is answered as soon as it is served, nothing
/// is written into the call table, and nothing read there.
#[derive(Debug)]
#[must_use = "a system call does nothing until it is awaited"]
pub struct YieldTrap {
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Unborn(&'static Location<'static>),
    /// Submitted through the register.
    Passing(&'static Ring, YieldId),
    /// Submitted as any other call.
    InFlight(&'static Ring, CallId),
    Taken,
}

impl YieldTrap {
    /// A yield made at `site`.
    #[inline]
    pub const fn new(site: &'static Location<'static>) -> YieldTrap {
        YieldTrap { phase: Phase::Unborn(site) }
    }

    #[cold]
    #[inline(never)]
    fn poll_slowly(&mut self, cx: &Context<'_>) -> Poll<()> {
        let polled = match self.phase {
            Phase::Unborn(site) => {
                let (ring, id) = Ring::submit(Syscall::Yield, site, cx);
                self.phase = Phase::InFlight(ring, id);
                return Poll::Pending;
            }
            Phase::Passing(ring, id) => ring.poll_yield(id, cx),
            Phase::InFlight(ring, id) => ring.poll_call(id, cx),
            Phase::Taken => Trap::polled_after_ready(),
        };
        if polled.is_ready() {
            self.phase = Phase::Taken;
        }
        polled.map(drop)
    }
}

impl Future for YieldTrap {
    type Output = ();

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.phase {
            Phase::Passing(ring, id) if ring.has_passed(id) => {
                self.phase = Phase::Taken;
                Poll::Ready(())
            }
            Phase::Unborn(site) => match Ring::submit_yield(site, cx) {
                Some((ring, id)) => {
                    self.phase = Phase::Passing(ring, id);
                    Poll::Pending
                }
                None => self.poll_slowly(cx),
            },
            _ => self.poll_slowly(cx),
        }
    }
}

impl Drop for YieldTrap {
    #[inline]
    fn drop(&mut self) {
        match self.phase {
            Phase::Passing(ring, id) if !ring.has_passed(id) => ring.withdraw_yield(id),
            Phase::InFlight(ring, id) => ring.withdraw(id),
            _ => {}
        }
    }
}
