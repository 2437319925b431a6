//! The pace of what succeeds without a trap: it counts to the quantum, and once that is spent an
//! operation yields before it tries anything.

use std::panic::Location;
use std::task::{Context, Poll, ready};

use trapline_abi::{Parking, Ring, Syscall, Trap, WaitQueue, Woken};

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
        if self.rest.is_unborn() && may_try() {
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
fn must_rest(ring: &Ring) -> bool {
    ring.is_spent() && ring.running().is_some()
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
    !Ring::current().is_some_and(must_rest)
}

/// How an operation comes by a token: it tries first, and parks where there is none.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    queue: &'a WaitQueue,
    site: &'static Location<'static>,
    stage: Stage,
    /// What it rests or parks by. One thing for both, so that dropping it is one test.
    wait: Parking,
}

/// How far it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// It tries, if the quantum is not spent.
    Fresh,
    /// It gives way to the others.
    Rests,
    /// It has done so, and tries.
    Rested,
    /// It found no token.
    Parks,
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
        Claim { queue, site, stage: Stage::Fresh, wait: Parking::idle() }
    }

    /// Where it was made.
    pub(crate) fn site(&self) -> &'static Location<'static> {
        self.site
    }

    /// For the next wait of the same operation: what it waited for itself has come.
    pub(crate) fn wait(&mut self) -> &mut Parking {
        &mut self.wait
    }

    /// Gives a token, or false if there will be none: `is_over` says so. Where it becomes so while
    /// somebody waits, whoever brings it about wakes all.
    #[inline(always)]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, is_over: impl Fn() -> bool) -> Poll<bool> {
        let attempt = |queue: &WaitQueue| {
            let over = is_over();
            (over || queue.try_take()).then_some(!over)
        };
        // Woken with all, it has no token, whatever has become of the end meanwhile.
        self.poll_attempt(cx, attempt).map(|went| match went {
            Ok(open) => open,
            Err(Woken::Granted) if is_over() => {
                // It has no use for its token any more, but another may have.
                self.queue.wake();
                false
            }
            Err(woken) => woken == Woken::Granted,
        })
    }

    /// Waits until `is_over`, however many tokens there are. Whoever brings it about wakes all.
    pub(crate) fn poll_over(
        &mut self,
        cx: &mut Context<'_>,
        is_over: impl Fn() -> bool,
    ) -> Poll<()> {
        self.poll_attempt(cx, |_| is_over().then_some(())).map(drop)
    }

    /// Gives what `attempt` gives; or else how it was woken.
    // Always inlined, the rare parts are not: this is all there is to an operation on a channel.
    #[inline(always)]
    fn poll_attempt<R>(
        &mut self,
        cx: &mut Context<'_>,
        attempt: impl FnOnce(&WaitQueue) -> Option<R>,
    ) -> Poll<Result<R, Woken>> {
        let ring = Ring::current();
        if self.stage != Stage::Parks {
            if self.stage != Stage::Fresh || ring.is_some_and(must_rest) {
                ready!(self.poll_rest(cx));
            }
            if let Some(done) = attempt(self.queue) {
                // One that has rested has been counted as a trap.
                if let (Some(ring), Stage::Fresh) = (ring, self.stage) {
                    ring.spend();
                }
                return Poll::Ready(Ok(done));
            }
            self.stage = Stage::Parks;
            self.wait.park(ring, self.queue, 1, self.site, cx);
            return Poll::Pending;
        }
        self.wait.poll_in(ring, self.queue, cx).map(Err)
    }

    #[cold]
    #[inline(never)]
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.stage == Stage::Fresh {
            self.stage = Stage::Rests;
            self.wait.rest(self.site, cx);
            return Poll::Pending;
        }
        if self.stage == Stage::Rests {
            ready!(self.wait.poll(self.queue, cx));
            self.stage = Stage::Rested;
        }
        Poll::Ready(())
    }
}
