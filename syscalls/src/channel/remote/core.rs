//! What the ends of a remote channel share, under one lock.
//!
//! The rules are those of a channel between tasks: room and values are tokens, and who waits is given
//! one. But here nobody has a ring in common, so those who wait leave a waker. Wakers and values are
//! foreign code: none is called or dropped while the lock is held.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A place in a line; drawn by who has to wait.
#[derive(Default)]
pub(crate) struct Ticket(Option<u64>);

impl Ticket {
    pub(crate) fn is_drawn(&self) -> bool {
        self.0.is_some()
    }
}

/// Tokens, and those who wait for one, in order.
pub(crate) struct Tokens {
    kept: usize,
    /// By ticket, which is in the order in which they came.
    waiting: BTreeMap<u64, Waker>,
    /// Those who were given one and have not come for it.
    given: BTreeSet<u64>,
    last_ticket: u64,
}

impl Tokens {
    fn new(kept: usize) -> Tokens {
        Tokens { kept, waiting: BTreeMap::new(), given: BTreeSet::new(), last_ticket: 0 }
    }

    pub(crate) fn try_take(&mut self) -> bool {
        let Some(left) = self.kept.checked_sub(1) else { return false };
        self.kept = left;
        true
    }

    /// Gives a token to the first who waits, who is to be woken; or keeps it.
    #[must_use]
    fn give(&mut self) -> Option<Waker> {
        let Some((ticket, waker)) = self.waiting.pop_first() else {
            self.kept += 1;
            return None;
        };
        self.given.insert(ticket);
        Some(waker)
    }

    fn draw(&mut self, waker: Waker) -> Ticket {
        self.last_ticket += 1;
        self.waiting.insert(self.last_ticket, waker);
        Ticket(Some(self.last_ticket))
    }

    /// Takes the token that the owner of a ticket was given.
    fn redeem(&mut self, ticket: &mut Ticket) -> bool {
        ticket.0.take_if(|number| self.given.remove(number)).is_some()
    }

    /// Replaces the waker of one who waits still. Gives the one that is not needed.
    fn renew(&mut self, ticket: &Ticket, waker: Waker) -> Waker {
        match ticket.0.and_then(|number| self.waiting.get_mut(&number)) {
            Some(old) => std::mem::replace(old, waker),
            None => waker,
        }
    }

    /// Gives up a place; a token that came for it goes on. Gives wakers to be dropped, and woken.
    fn leave(&mut self, ticket: &mut Ticket) -> (Option<Waker>, Option<Waker>) {
        if self.redeem(ticket) {
            return (None, self.give());
        }
        (ticket.0.take().and_then(|number| self.waiting.remove(&number)), None)
    }

    /// All who wait, to be told of the end.
    fn dismiss(&mut self) -> impl Iterator<Item = Waker> + use<> {
        std::mem::take(&mut self.waiting).into_values()
    }
}

pub(crate) struct Core<T> {
    values: VecDeque<T>,
    pub(crate) items: Tokens,
    pub(crate) room: Tokens,
    closed: bool,
    pub(crate) senders: usize,
    pub(crate) receivers: usize,
}

impl<T> Core<T> {
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn is_over(&self) -> bool {
        self.closed && self.values.is_empty()
    }

    /// Puts a value in; the caller has a token of `room`. Gives whom to wake.
    #[must_use]
    pub(crate) fn put(&mut self, value: T) -> Option<Waker> {
        self.values.push_back(value);
        self.items.give()
    }

    /// Takes the first value; the caller has a token of `items`. Gives whom to wake.
    #[must_use]
    pub(crate) fn take(&mut self) -> (T, Vec<Waker>) {
        let value = self.values.pop_front();
        let value = value.expect("a token of a channel stands for a value (one-token)");
        let mut woken: Vec<Waker> = self.room.give().into_iter().collect();
        if self.is_over() {
            woken.extend(self.items.dismiss());
        }
        (value, woken)
    }
}

/// The lock. A panic while it is held leaves nothing half done: no foreign code runs there.
pub(crate) struct Shared<T>(Mutex<Core<T>>);

impl<T> Shared<T> {
    pub(crate) fn new(capacity: usize) -> Shared<T> {
        Shared(Mutex::new(Core {
            values: VecDeque::new(),
            items: Tokens::new(0),
            room: Tokens::new(capacity),
            closed: false,
            senders: 1,
            receivers: 1,
        }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Core<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a value, or draws a ticket and waits; `None` at the end.
    pub(crate) fn poll_recv(&self, ticket: &mut Ticket, cx: &Context<'_>) -> Poll<Option<T>> {
        let attempt = |core: &mut Core<T>, ticket: &mut Ticket| {
            if core.is_over() {
                ticket.0 = None;
                return Some((None, Vec::new()));
            }
            let has_token =
                core.items.redeem(ticket) || (!ticket.is_drawn() && core.items.try_take());
            has_token.then(|| core.take()).map(|(value, woken)| (Some(value), woken))
        };
        self.poll_tokens(ticket, cx, |core| &mut core.items, attempt)
    }

    /// Puts the value in, or draws a ticket and waits; false if the channel is closed.
    pub(crate) fn poll_send(
        &self,
        ticket: &mut Ticket,
        cx: &Context<'_>,
        value: &mut Option<T>,
    ) -> Poll<bool> {
        let attempt = |core: &mut Core<T>, ticket: &mut Ticket| {
            if core.is_closed() {
                ticket.0 = None;
                return Some((false, Vec::new()));
            }
            let has_token =
                core.room.redeem(ticket) || (!ticket.is_drawn() && core.room.try_take());
            let value = if has_token { value.take() } else { None };
            value.map(|value| (true, core.put(value).into_iter().collect()))
        };
        self.poll_tokens(ticket, cx, |core| &mut core.room, attempt)
    }

    fn poll_tokens<R>(
        &self,
        ticket: &mut Ticket,
        cx: &Context<'_>,
        tokens: impl Fn(&mut Core<T>) -> &mut Tokens,
        mut attempt: impl FnMut(&mut Core<T>, &mut Ticket) -> Option<(R, Vec<Waker>)>,
    ) -> Poll<R> {
        let mut waker = None;
        loop {
            let mut core = self.lock();
            if let Some((done, woken)) = attempt(&mut core, ticket) {
                drop(core);
                woken.into_iter().for_each(Waker::wake);
                return Poll::Ready(done);
            }
            if let Some(waker) = waker.take() {
                let unneeded = if ticket.is_drawn() {
                    Some(tokens(&mut core).renew(ticket, waker))
                } else {
                    *ticket = tokens(&mut core).draw(waker);
                    None
                };
                drop(core);
                drop(unneeded);
                return Poll::Pending;
            }
            // It is cloned outside the lock; then all is tried once more.
            drop(core);
            waker = Some(cx.waker().clone());
        }
    }

    /// Gives up a place in a line.
    pub(crate) fn leave(&self, ticket: &mut Ticket, tokens: impl Fn(&mut Core<T>) -> &mut Tokens) {
        if !ticket.is_drawn() {
            return;
        }
        let mut core = self.lock();
        let (unneeded, woken) = tokens(&mut core).leave(ticket);
        drop(core);
        drop(unneeded);
        woken.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn close(&self) -> bool {
        let mut core = self.lock();
        if std::mem::replace(&mut core.closed, true) {
            return false;
        }
        let mut woken: Vec<Waker> = core.room.dismiss().collect();
        if core.is_over() {
            woken.extend(core.items.dismiss());
        }
        drop(core);
        woken.into_iter().for_each(Waker::wake);
        true
    }

    pub(crate) fn remove_sender(&self) {
        let mut core = self.lock();
        core.senders -= 1;
        let was_last = core.senders == 0;
        drop(core);
        if was_last {
            self.close();
        }
    }

    pub(crate) fn remove_receiver(&self) {
        let mut core = self.lock();
        core.receivers -= 1;
        let was_last = core.receivers == 0;
        drop(core);
        if was_last {
            self.close();
            let untaken = std::mem::take(&mut self.lock().values);
            drop(untaken);
        }
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = self.lock();
        let (len, closed, senders, receivers) =
            (core.len(), core.closed, core.senders, core.receivers);
        let (waiting_senders, waiting_receivers) =
            (core.room.waiting.len(), core.items.waiting.len());
        // Whoever is written to may be the channel's user.
        drop(core);
        f.debug_struct("Remote")
            .field("len", &len)
            .field("closed", &closed)
            .field("senders", &senders)
            .field("receivers", &receivers)
            .field("waiting_senders", &waiting_senders)
            .field("waiting_receivers", &waiting_receivers)
            .finish()
    }
}
