//! A yield as a future: a trap that most often leaves no trace.

use std::future::Future;
use std::num::NonZeroU64;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::call::Syscall;
use crate::id::CallId;
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

// The parts of the call's id lie singly, so that the tag has room beside the place.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Unborn(&'static Location<'static>),
    /// Submitted through the register.
    Passing(&'static Ring, NonZeroU64, u32),
    /// Submitted as any other call.
    InFlight(&'static Ring, NonZeroU64, u32),
    Taken,
}

const _: () = assert!(size_of::<YieldTrap>() == 24);

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
                let (ring, CallId { serial, place }) = Ring::submit(Syscall::Yield, site, cx);
                self.phase = Phase::InFlight(ring, serial, place);
                return Poll::Pending;
            }
            Phase::Passing(ring, serial, place) => ring.poll_yield(CallId { serial, place }, cx),
            Phase::InFlight(ring, serial, place) => ring.poll_call(CallId { serial, place }, cx),
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
            Phase::Passing(ring, serial, _) if ring.has_passed(serial) => {
                self.phase = Phase::Taken;
                Poll::Ready(())
            }
            Phase::Unborn(site) => match Ring::submit_yield(site, cx) {
                Some((ring, CallId { serial, place })) => {
                    self.phase = Phase::Passing(ring, serial, place);
                    Poll::Pending
                }
                None => self.poll_slowly(cx),
            },
            _ => self.poll_slowly(cx),
        }
    }
}

impl YieldTrap {
    #[cold]
    #[inline(never)]
    fn give_up(&self) {
        match self.phase {
            Phase::Passing(ring, serial, place) => ring.withdraw_yield(CallId { serial, place }),
            Phase::InFlight(ring, serial, place) => ring.withdraw(CallId { serial, place }),
            Phase::Unborn(..) | Phase::Taken => {}
        }
    }
}

impl Drop for YieldTrap {
    #[inline(always)]
    fn drop(&mut self) {
        if let Phase::Passing(..) | Phase::InFlight(..) = self.phase {
            self.give_up();
        }
    }
}
