//! The trap: a system call as a future.

use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::call::{Reply, Syscall};
use crate::call_table::CallState;
use crate::id::CallId;
use crate::ring::Ring;
use crate::task::{Beside, TaskBody};
use crate::wait_queue::Want;

/// A system call as a future: submitted at its first poll, answered by the kernel, taken at a
/// later poll, withdrawn if it is dropped before.
///
/// It always suspends at its first poll, also where the answer is immediate: the kernel serves
/// the call, not the task.
///
/// # Panics
/// Polled first outside a task; polled again after it was ready; polled after its scheduler was
/// dropped.
#[derive(Debug)]
#[must_use = "a system call does nothing until it is awaited"]
pub struct Trap {
    phase: Phase,
}

/// What is asked, and where, is the table's to know once the call is submitted: every future that
/// traps is the smaller for it.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Unborn(Syscall, &'static Location<'static>),
    InFlight(&'static Ring, CallId),
    Taken,
}

impl Trap {
    /// A call that asks for `request`, made at `site`.
    #[inline]
    pub const fn new(request: Syscall, site: &'static Location<'static>) -> Trap {
        Trap { phase: Phase::Unborn(request, site) }
    }

    /// Whether it has been submitted and its reply not taken.
    #[must_use]
    pub fn is_in_flight(&self) -> bool {
        matches!(self.phase, Phase::InFlight(..))
    }

    /// Whether it has not been polled.
    #[must_use]
    pub fn is_unborn(&self) -> bool {
        matches!(self.phase, Phase::Unborn(..))
    }

    /// Whether its reply has been taken.
    #[must_use]
    #[inline]
    pub fn is_taken(&self) -> bool {
        matches!(self.phase, Phase::Taken)
    }

    /// The key of the outcome that it was answered with, if that has not been taken.
    pub(crate) fn untaken_outcome(&self) -> Option<u32> {
        let Phase::InFlight(ring, id) = self.phase else { return None };
        match ring.calls.table().get(id)?.state {
            CallState::Answered(Reply::Outcome(key)) => Some(key as u32),
            _ => None,
        }
    }

    /// Polls for the reply.
    // Always inlined: a caller that knows the phase, or needs no reply, is left with half of it.
    #[inline(always)]
    pub fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Reply> {
        match self.phase {
            Phase::Unborn(request, site) => {
                submit(&mut self.phase, request, site, cx);
                Poll::Pending
            }
            Phase::InFlight(ring, id) => {
                let polled = ring.poll_call(id, cx);
                if polled.is_ready() {
                    self.phase = Phase::Taken;
                }
                polled
            }
            Phase::Taken => polled_after_ready(),
        }
    }

    /// Polls for the reply, and for what lies beside it.
    pub fn poll_reply_and_beside(&mut self, cx: &mut Context<'_>) -> Poll<(Reply, Beside)> {
        let Phase::InFlight(ring, id) = self.phase else {
            return self.poll_reply(cx).map(|reply| (reply, Beside::Nothing));
        };
        let polled = ring.poll_call_and_beside(id, cx);
        if polled.is_ready() {
            self.phase = Phase::Taken;
        }
        polled
    }

    /// Submits the call with something bulky beside the request: the first poll of a future that
    /// has more to ask than 16 bytes.
    #[inline]
    pub fn submit(&mut self, beside: Beside, cx: &Context<'_>) {
        if let Phase::Unborn(request, site) = self.phase {
            submit(&mut self.phase, request, site, cx);
        }
        if let Phase::InFlight(ring, id) = self.phase {
            ring.lay_beside(id, beside);
        }
    }

    /// Submits a spawn with the body of the new task.
    #[inline]
    pub fn submit_spawn(&mut self, body: Pin<Box<dyn TaskBody>>, cx: &Context<'_>) {
        if let Phase::Unborn(request, site) = self.phase {
            submit(&mut self.phase, request, site, cx);
        }
        if let Phase::InFlight(ring, id) = self.phase {
            ring.calls.lay_body(id, body);
        }
    }

    /// The future of a spawn is gone: if the task was started, and nobody took its id, it runs on
    /// detached.
    pub fn abandon_spawn(&self) {
        if let Phase::InFlight(ring, id) = self.phase {
            ring.detach_untaken(id);
        }
    }

    /// A wait for so many tokens of a queue, which takes its place there at once.
    #[inline]
    pub(crate) fn parked(
        ring: &'static Ring,
        want: Want,
        site: &'static Location<'static>,
        cx: &Context<'_>,
    ) -> Trap {
        Trap { phase: Phase::InFlight(ring, ring.park(want, site, cx)) }
    }

    /// Where it was made, if it has not been polled.
    #[inline]
    pub(crate) fn unborn_site(&self) -> Option<&'static Location<'static>> {
        match self.phase {
            Phase::Unborn(_, site) => Some(site),
            Phase::InFlight(..) | Phase::Taken => None,
        }
    }

    /// The ring it is in flight in.
    #[must_use]
    pub fn ring(&self) -> Option<&'static Ring> {
        match self.phase {
            Phase::InFlight(ring, _) => Some(ring),
            Phase::Unborn(..) | Phase::Taken => None,
        }
    }
}

/// Submits a call, and notes where it went.
///
/// Always inlined, with the request as an argument: read back from a trap that was just made, in one
/// piece where it was written in two, it was waited for, for a quarter of the time of a switch.
#[inline(always)]
fn submit(phase: &mut Phase, request: Syscall, site: &'static Location<'static>, cx: &Context<'_>) {
    match Ring::submit_first(request, site, cx) {
        Some((ring, id)) => *phase = Phase::InFlight(ring, id),
        None => submit_anyhow(phase, request, site, cx),
    }
}

#[cold]
#[inline(never)]
fn submit_anyhow(
    phase: &mut Phase,
    request: Syscall,
    site: &'static Location<'static>,
    cx: &Context<'_>,
) {
    let (ring, id) = Ring::submit(request, site, cx);
    *phase = Phase::InFlight(ring, id);
}

#[cold]
#[inline(never)]
fn polled_after_ready() -> ! {
    panic!("a system call was polled again after it was ready")
}

impl Future for Trap {
    type Output = Reply;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reply> {
        self.poll_reply(cx)
    }
}

impl Drop for Trap {
    #[inline]
    fn drop(&mut self) {
        if let Phase::InFlight(ring, id) = self.phase {
            ring.withdraw(id);
        }
    }
}
