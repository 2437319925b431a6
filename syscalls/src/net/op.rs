//! The engine of every operation: try, and trap where it would block.

use std::io;
use std::panic::Location;
use std::task::{Context, Poll, ready};

use trapline_abi::{Direction, Reply, Ring, Syscall, Trap};

use crate::net::source::{Amount, Kind, Source};

/// An operation under way: the trap it waits in, if it does.
///
/// ```text
///            budget spent             known to block, or told so
///   yield <──────────────── try ────────────────────────────────> wait
///     └───────── answered ───^└──> done       ^────── answered ─────┘
/// ```
#[derive(Debug)]
pub(crate) struct Op {
    site: &'static Location<'static>,
    trap: Option<Trap>,
    /// Whether that trap is a wait for readiness.
    waits: bool,
    /// It has trapped since its last success: the others have had their turn, and the trap has
    /// been counted.
    rested: bool,
}

impl Op {
    pub(crate) fn new(site: &'static Location<'static>) -> Op {
        Op { site, trap: None, waits: false, rested: false }
    }

    pub(crate) fn site(&self) -> &'static Location<'static> {
        self.site
    }

    /// What is done from here on is done at `site`.
    pub(crate) fn set_site(&mut self, site: &'static Location<'static>) {
        self.site = site;
    }

    /// Does the operation, which is told of by its name, as often as it takes. `attempt` may be made at once, and again.
    #[inline]
    pub(crate) fn poll<S: Kind, T: Amount>(
        &mut self,
        cx: &mut Context<'_>,
        source: &Source<S>,
        (operation, direction): (&'static str, Direction),
        mut attempt: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let waited = ready!(self.poll_trap(cx))?;
        let ring = ready!(self.poll_rest(cx))?;
        // Who was woken tries, whatever is known: of what cannot be waited for nothing is known.
        if !waited && !source.may_try(ring, direction) {
            return self.wait(cx, source.wait(ring, direction));
        }
        loop {
            match attempt() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    source.told_to_wait(direction);
                    return self.wait(cx, source.wait(ring, direction));
                }
                result => {
                    self.count(ring, source, operation, &result);
                    return Poll::Ready(result);
                }
            }
        }
    }

    /// Waits until an operation in `direction` may succeed.
    pub(crate) fn poll_ready<S: Kind>(
        &mut self,
        cx: &mut Context<'_>,
        source: &Source<S>,
        (operation, direction): (&'static str, Direction),
    ) -> Poll<io::Result<()>> {
        let waited = ready!(self.poll_trap(cx))?;
        let ring = ready!(self.poll_rest(cx))?;
        let known = source.is_bound_to(ring) && source.may_try(ring, direction);
        if !waited && !known {
            return self.wait(cx, source.wait(ring, direction));
        }
        self.count(ring, source, operation, &Ok(()));
        Poll::Ready(Ok(()))
    }

    /// Gives way to the others if the quantum is spent and this operation has not done so yet.
    pub(crate) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&'static Ring>> {
        ready!(self.poll_trap(cx))?;
        let ring = Ring::of_running_task();
        if ring.is_spent() && !self.rested {
            return self.wait(cx, Syscall::Yield);
        }
        Poll::Ready(Ok(ring))
    }

    /// Traps. The reply comes with a later poll.
    pub(crate) fn wait<T>(
        &mut self,
        cx: &mut Context<'_>,
        request: Syscall,
    ) -> Poll<io::Result<T>> {
        self.waits = matches!(request, Syscall::ReadWait(_) | Syscall::WriteWait(_));
        let trap = self.trap.insert(Trap::new(request, self.site));
        let submitted = trap.poll_reply(cx);
        debug_assert!(submitted.is_pending(), "a trap suspends at its first poll");
        Poll::Pending
    }

    /// Takes the reply of the trap in flight, if there is one. Whether it was a wait for
    /// readiness.
    #[inline]
    fn poll_trap(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Some(trap) = &mut self.trap else { return Poll::Ready(Ok(false)) };
        let reply = ready!(trap.poll_reply(cx));
        self.trap = None;
        self.rested = true;
        Poll::Ready(match error_of(reply) {
            Some(error) => Err(error),
            None => Ok(self.waits),
        })
    }

    /// What ends without a trap counts to the quantum, and is told; a trap has been counted, and told,
    /// already.
    #[inline]
    fn count<S: Kind, T: Amount>(
        &mut self,
        ring: &Ring,
        source: &Source<S>,
        operation: &'static str,
        result: &io::Result<T>,
    ) {
        if !std::mem::take(&mut self.rested) {
            ring.spend();
            if ring.is_listened_to() {
                source.note_done(ring, operation, result, self.site);
            }
        }
    }
}

/// What the kernel says against a wait.
pub(crate) fn error_of(reply: Reply) -> Option<io::Error> {
    match reply {
        Reply::Os(errno) => Some(errno.to_error()),
        Reply::SourceClosed => {
            let text =
                "the descriptor was closed, or left the scheduler, while a task waited for it";
            Some(io::Error::new(io::ErrorKind::NotConnected, text))
        }
        _ => None,
    }
}
