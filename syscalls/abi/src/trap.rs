//! The trap: a system call as a future.

use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::call::{Reply, Syscall};
use crate::id::CallId;
use crate::ring::Ring;
use crate::task::Beside;

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
    request: Syscall,
    site: &'static Location<'static>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Unborn,
    InFlight(&'static Ring, CallId),
    Taken,
}

impl Trap {
    /// A call that asks for `request`, made at `site`.
    #[inline]
    pub const fn new(request: Syscall, site: &'static Location<'static>) -> Trap {
        Trap { request, site, phase: Phase::Unborn }
    }

    /// What is asked.
    #[must_use]
    pub fn request(&self) -> Syscall {
        self.request
    }

    /// Where in the source.
    #[must_use]
    pub fn site(&self) -> &'static Location<'static> {
        self.site
    }

    /// Whether it has been submitted and its reply not taken.
    #[must_use]
    pub fn is_in_flight(&self) -> bool {
        matches!(self.phase, Phase::InFlight(..))
    }

    /// Whether it has not been polled.
    #[must_use]
    pub fn is_unborn(&self) -> bool {
        matches!(self.phase, Phase::Unborn)
    }

    /// Polls for the reply.
    // Always inlined: a caller that knows the phase, or needs no reply, is left with half of it.
    #[inline(always)]
    pub fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Reply> {
        match self.phase {
            Phase::Unborn => {
                self.submit_now(cx);
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

    /// Out of line, and written in place: a pair returned through memory is waited for.
    #[inline(never)]
    fn submit_now(&mut self, cx: &Context<'_>) {
        let (ring, id) = Ring::submit(self.request, self.site, cx);
        self.phase = Phase::InFlight(ring, id);
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
        self.submit_now(cx);
        if let Phase::InFlight(ring, id) = self.phase {
            ring.lay_beside(id, beside);
        }
    }

    /// The future of a spawn is gone: if the task was started, and nobody took its id, it runs on
    /// detached.
    pub fn abandon_spawn(&self) {
        if let Phase::InFlight(ring, id) = self.phase {
            ring.detach_untaken(id);
        }
    }

    /// Submits `request` in place of the one it was made with: for what is known only at the first
    /// poll.
    pub(crate) fn submit_request(&mut self, request: Syscall, cx: &Context<'_>) -> CallId {
        let (ring, id) = Ring::submit(request, self.site, cx);
        self.request = request;
        self.phase = Phase::InFlight(ring, id);
        id
    }

    /// The ring it is in flight in.
    #[must_use]
    pub fn ring(&self) -> Option<&'static Ring> {
        match self.phase {
            Phase::InFlight(ring, _) => Some(ring),
            Phase::Unborn | Phase::Taken => None,
        }
    }
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
