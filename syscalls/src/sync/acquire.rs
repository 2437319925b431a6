//! The engine of every lock: take tokens if they are free, and park where they are not.

use std::panic::Location;
use std::task::{Context, Poll, ready};

use trapline_abi::{Parking, Ring, Syscall, Trap, WaitQueue, Woken};

/// Tokens on their way to a task.
///
/// ```text
///            quantum spent                none free
///   yield <───────────────── try ──────────────────────> park
///     └────── answered ──────^└──> done <──── granted ─────┘
/// ```
#[derive(Debug)]
pub(crate) struct TakeTokens {
    wanted: u32,
    phase: Phase,
    rest: Rest,
}

#[derive(Debug)]
enum Phase {
    Tries,
    Parked(Parking),
    Done,
}

impl TakeTokens {
    #[inline]
    pub(crate) fn new(wanted: u32, site: &'static Location<'static>) -> TakeTokens {
        TakeTokens { wanted, phase: Phase::Tries, rest: Rest::new(site) }
    }

    /// The same for one who has trapped just now.
    pub(crate) fn rested(wanted: u32, site: &'static Location<'static>) -> TakeTokens {
        TakeTokens { wanted, phase: Phase::Tries, rest: Rest { state: RestState::Rested, site } }
    }

    #[inline]
    pub(crate) fn site(&self) -> &'static Location<'static> {
        self.rest.site
    }

    /// Gives way where no tokens are needed after all, as it would before it took some.
    pub(crate) fn rest(&mut self) -> &mut Rest {
        &mut self.rest
    }

    /// Gives up its place in the queue, or the tokens it was given there.
    pub(crate) fn give_up(&mut self) {
        self.phase = Phase::Done;
    }

    /// Whether it has not been polled to its end, and its place in the queue has not been taken.
    pub(crate) fn is_trying(&self) -> bool {
        matches!(self.phase, Phase::Tries)
    }

    /// Polls for the tokens; `queue` is the same each time.
    ///
    /// # Panics
    /// If it is polled again after it was ready; if it has to wait outside a task.
    #[inline]
    pub(crate) fn poll(&mut self, queue: &WaitQueue, cx: &mut Context<'_>) -> Poll<Woken> {
        if let Phase::Tries = self.phase {
            // One that has to park gives way by that.
            if queue.tokens() >= self.wanted as usize {
                ready!(self.rest.poll(cx));
            }
            if queue.try_hold(self.wanted, self.rest.site) {
                self.rest.count();
                self.phase = Phase::Done;
                return Poll::Ready(Woken::Granted);
            }
        }
        self.poll_parked(queue, cx)
    }

    #[inline(never)]
    fn poll_parked(&mut self, queue: &WaitQueue, cx: &mut Context<'_>) -> Poll<Woken> {
        // Whoever was woken by its turn of rest only finds that it must wait, too.
        if let Phase::Tries = self.phase {
            ready!(self.rest.poll_begun(cx));
            self.phase = Phase::Parked(Parking::new(self.wanted, self.rest.site));
        }
        let Phase::Parked(parking) = &mut self.phase else { polled_after_ready() };
        let woken = ready!(parking.poll(queue, cx));
        self.phase = Phase::Done;
        Poll::Ready(woken)
    }
}

/// Tokens that go back when this is dropped: in a guard it stands behind the value, which is let
/// go of first.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    queue: &'a WaitQueue,
    tokens: u32,
    since: &'static Location<'static>,
}

impl<'a> Held<'a> {
    /// Of one who has so many tokens, and was noted as a holder.
    #[inline]
    pub(crate) fn new(
        queue: &'a WaitQueue,
        tokens: u32,
        since: &'static Location<'static>,
    ) -> Held<'a> {
        Held { queue, tokens, since }
    }

    /// Gives back all tokens but one.
    pub(crate) fn keep_one(&mut self) {
        let back = std::mem::replace(&mut self.tokens, 1) - 1;
        self.queue.wake_many(back as usize);
    }
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        self.queue.release(self.since, self.tokens as usize);
    }
}

#[cold]
#[inline(never)]
pub(crate) fn polled_after_ready() -> ! {
    panic!("a wait was polled again after it was ready")
}

/// Goes on at once, or else waits to be woken with all who wait; no tokens.
#[derive(Debug)]
pub(crate) struct ParkOnce {
    phase: Phase,
    rest: Rest,
}

/// How one went on that need not have waited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Went {
    AtOnce,
    Woken,
}

impl ParkOnce {
    #[inline]
    pub(crate) fn new(site: &'static Location<'static>) -> ParkOnce {
        ParkOnce { phase: Phase::Tries, rest: Rest::new(site) }
    }

    /// Ready if `may_go`, which is asked only before it waits, or else once it was woken.
    ///
    /// # Panics
    /// As [`TakeTokens::poll`].
    pub(crate) fn poll(
        &mut self,
        queue: &WaitQueue,
        cx: &mut Context<'_>,
        may_go: impl Fn() -> bool,
    ) -> Poll<Went> {
        if let Phase::Tries = self.phase {
            if may_go() {
                ready!(self.rest.poll(cx));
            }
            ready!(self.rest.poll_begun(cx));
            if may_go() {
                self.rest.count();
                self.phase = Phase::Done;
                return Poll::Ready(Went::AtOnce);
            }
            self.phase = Phase::Parked(Parking::new(1, self.rest.site));
        }
        let Phase::Parked(parking) = &mut self.phase else { polled_after_ready() };
        ready!(parking.poll(queue, cx));
        self.phase = Phase::Done;
        Poll::Ready(Went::Woken)
    }
}

/// Gives way to the others, once, before something is tried that need not wait, if the quantum is
/// spent.
#[derive(Debug)]
pub(crate) struct Rest {
    state: RestState,
    site: &'static Location<'static>,
}

#[derive(Debug)]
enum RestState {
    Fresh,
    Yields(Trap),
    Rested,
}

impl Rest {
    #[inline]
    pub(crate) fn new(site: &'static Location<'static>) -> Rest {
        Rest { state: RestState::Fresh, site }
    }

    /// Ready when something may be tried. Outside a task that is always.
    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let RestState::Fresh = self.state {
            match running() {
                Some(ring) if ring.is_spent() => {}
                _ => return Poll::Ready(()),
            }
        }
        self.poll_slowly(cx)
    }

    #[inline(never)]
    fn poll_slowly(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let RestState::Fresh = self.state {
            self.state = RestState::Yields(Trap::new(Syscall::Yield, self.site));
        }
        self.poll_begun(cx)
    }

    /// Ready unless it gives way at this moment.
    pub(crate) fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let RestState::Yields(trap) = &mut self.state {
            ready!(trap.poll_reply(cx));
            self.state = RestState::Rested;
        }
        Poll::Ready(())
    }

    /// What was done without a trap counts to the quantum; a trap has been counted already.
    #[inline]
    pub(crate) fn count(&self) {
        if let (RestState::Fresh, Some(ring)) = (&self.state, running()) {
            ring.spend();
        }
    }
}

/// The ring of the task that is being polled, if one is.
#[inline]
pub(crate) fn running() -> Option<&'static Ring> {
    Ring::current().filter(|ring| ring.running().is_some())
}
