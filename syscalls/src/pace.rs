//! The pace of what succeeds without a trap: it counts to the quantum, and once that is spent an
//! operation yields before it tries anything.

use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use trapline_abi::{Park, Ring, Syscall, Trap, WaitQueue};

/// Gives way to the others once, where the quantum is spent. Outside a task there are no others.
#[derive(Debug)]
pub(crate) struct Pace {
    /// The yield: unborn until it is needed, taken when the others have had their turn.
    rest: Trap,
}

impl Pace {
    #[track_caller]
    #[inline]
    pub(crate) fn new() -> Pace {
        Pace::at(Location::caller())
    }

    /// The same for whoever stands at `site`.
    #[inline]
    pub(crate) fn at(site: &'static Location<'static>) -> Pace {
        Pace { rest: Trap::new(Syscall::Yield, site) }
    }

    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.rest.is_unborn() && !must_rest() {
            return Poll::Ready(());
        }
        self.poll_rest(cx)
    }

    #[inline(never)]
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.rest.is_taken() {
            return Poll::Ready(());
        }
        self.rest.poll_reply(cx).map(|_| ())
    }

    /// Counts an operation that succeeded. One that yielded has been counted as a trap.
    #[inline]
    pub(crate) fn count(&self) {
        if !self.rest.is_taken() {
            spend();
        }
    }
}

#[inline]
fn must_rest() -> bool {
    Ring::current().is_some_and(|ring| ring.is_spent() && ring.running().is_some())
}

/// Counts an operation that succeeded without a trap, if a task made it.
#[inline]
pub(crate) fn spend() {
    if let Some(ring) = Ring::current() {
        ring.spend();
    }
}

/// Whether an operation may be tried now, without a future to wait in.
#[inline]
pub(crate) fn may_try() -> bool {
    !must_rest()
}

/// How an operation comes by a token: it tries first, and parks where there is none.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    queue: &'a WaitQueue,
    pace: Pace,
    park: Park<'a>,
    parked: bool,
}

impl<'a> Claim<'a> {
    #[track_caller]
    #[inline]
    pub(crate) fn new(queue: &'a WaitQueue) -> Claim<'a> {
        Claim::at(queue, Location::caller())
    }

    /// The same for whoever stands at `site`.
    #[inline]
    pub(crate) fn at(queue: &'a WaitQueue, site: &'static Location<'static>) -> Claim<'a> {
        Claim { queue, pace: Pace::at(site), park: queue.park_at(site), parked: false }
    }

    /// Gives a token, or false if there will be none: `is_over` says so. Where it becomes so while
    /// somebody waits, whoever brings it about wakes all.
    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, is_over: impl Fn() -> bool) -> Poll<bool> {
        if !self.parked {
            ready!(self.pace.poll(cx));
            let over = is_over();
            if over || self.queue.try_take() {
                self.pace.count();
                return Poll::Ready(!over);
            }
            self.parked = true;
        }
        ready!(Pin::new(&mut self.park).poll(cx));
        Poll::Ready(!is_over())
    }

    /// Whether it had to wait.
    pub(crate) fn has_waited(&self) -> bool {
        self.parked
    }

    /// Waits until `is_over`, however many tokens there are. Whoever brings it about wakes all.
    pub(crate) fn poll_over(
        &mut self,
        cx: &mut Context<'_>,
        is_over: impl Fn() -> bool,
    ) -> Poll<()> {
        if !self.parked {
            ready!(self.pace.poll(cx));
            if is_over() {
                self.pace.count();
                return Poll::Ready(());
            }
            self.parked = true;
        }
        Pin::new(&mut self.park).poll(cx)
    }
}
