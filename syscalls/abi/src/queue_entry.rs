//! Wait queues on the side of the ring: who waits, and what was given and not taken.

use std::panic::Location;
use std::rc::Rc;
use std::task::Context;

use crate::call::{Post, Reply, Syscall};
use crate::call_table::{CallState, CallTable, ListHead, On};
use crate::holder::{Holders, QueueInfo};
use crate::id::CallId;
use crate::ring::Ring;
use crate::wait_queue::{Home, QueueId, Rule, Want};

/// A wait queue in its ring.
pub(crate) struct QueueEntry {
    list: ListHead,
    waiting: usize,
    /// Tokens that have come for the first waiter: fewer than it wants (one-token).
    gathered: usize,
    /// Calls that were given what they wanted and have not been taken, and how much that is.
    granted: usize,
    untaken: usize,
    home: Rc<Home>,
}

impl QueueEntry {
    pub(crate) fn new(home: Rc<Home>) -> QueueEntry {
        QueueEntry { list: ListHead::new(), waiting: 0, gathered: 0, granted: 0, untaken: 0, home }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(crate) fn label(&self) -> Option<&'static str> {
        self.home.core.label()
    }

    /// What a task waits for here, as it is shown in the life `life` of the ring.
    pub(crate) fn info(&self, life: u64) -> QueueInfo {
        let core = &self.home.core;
        let name = self.home.name().map(|name| String::from(&*name));
        QueueInfo { kind: core.kind(), name, holder: core.holders.shown_in(life) }
    }

    #[inline]
    pub(crate) fn holders(&self) -> &Holders {
        &self.home.core.holders
    }

    /// Takes back what was given to calls and not taken, and what has gathered: their ring is about
    /// to be retired.
    pub(crate) fn take_back_tokens(&self) {
        self.home.core.keep(self.untaken + self.gathered);
        if self.home.core.rule() == Rule::Held {
            self.home.core.holders.leave_unseen(self.granted);
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting == 0 && self.granted == 0
    }

    /// Whether nobody is in it and its object is gone.
    #[inline]
    fn is_orphan(&self) -> bool {
        self.is_idle() && Rc::strong_count(&self.home) == 1
    }

    #[inline]
    fn note_granted(&mut self, want: Want) {
        self.granted += 1;
        self.untaken += want.tokens() as usize;
    }

    #[inline]
    fn note_taken(&mut self, want: Want) {
        self.granted -= 1;
        self.untaken -= want.tokens() as usize;
    }

    /// Checks the queue, of whose calls `granted` have `untaken` tokens that were not taken.
    pub(crate) fn check(
        &self,
        place: usize,
        calls: &CallTable,
        (granted, untaken): (usize, usize),
    ) {
        let mut count = 0;
        for id in calls.members(&self.list) {
            let state = calls.get(id).map(|call| call.state);
            let here = QueueId::new(place);
            assert_eq!(state, Some(CallState::Blocked(On::Queue(here))), "no-orphan: in a queue");
            count += 1;
        }
        assert_eq!(count, self.waiting, "no-orphan: a queue counts its waiters");
        let wanted = calls.front(&self.list).map_or(0, |call| wanted_by(call.request).tokens());
        let free = self.home.core.tokens.get();
        let forgets = self.home.core.rule() == Rule::Forgets;
        assert!(
            self.waiting == 0 || free == 0,
            "one-token: a token is free while somebody waits for it"
        );
        assert!(
            self.gathered == 0 || self.gathered < wanted as usize,
            "one-token: the first waiter's tokens are kept from it"
        );
        assert!(self.waiting == 0 || wanted > 0, "one-token: one who wants nothing waits, first");
        assert!(free == 0 || !forgets, "one-token: kept where none is kept");
        assert_eq!((self.granted, self.untaken), (granted, untaken), "one-token: not taken");
    }
}

/// How many tokens a parked call wants, and of which queue.
fn wanted_by(request: Syscall) -> Want {
    let Syscall::Park(want) = request else {
        unreachable!("only parked calls stand in a wait queue (no-orphan)")
    };
    want
}

/// Wait queues: what is done to them at the moment it is asked for.
impl Ring {
    /// A call arrives: it takes the tokens it wants if they are free, or stands at the back. It goes
    /// into the table at once, since it is linked to others there.
    pub(crate) fn park(
        &self,
        want: Want,
        site: &'static Location<'static>,
        cx: &Context<'_>,
    ) -> CallId {
        let (task, waker) = self.caller(cx);
        let mut queues = self.queues.borrow_mut();
        let mut calls = self.calls.table();
        let call = self.calls.submit_to_table(&mut calls, task, Syscall::Park(want), site);
        if let Some(waker) = waker {
            calls.book_elsewhere(call, waker);
        }
        let entry = &mut queues[want.queue().place()];
        let free = &entry.home.core.tokens;
        let left = free.get().checked_sub(want.tokens() as usize);
        let arrived = calls.get_mut(call).expect("a call that is submitted is in flight");
        if let (0, Some(left)) = (entry.waiting, left) {
            free.set(left);
            if entry.home.core.rule() == Rule::Held {
                entry.home.core.holders.enter_as(arrived.task, self.life(), arrived.site);
            }
            arrived.state = CallState::Answered(Reply::Token);
            entry.note_granted(want);
            return call;
        }
        arrived.state = CallState::Queued(want.queue());
        // What is there gathers for the first (one-token).
        if entry.waiting == 0 {
            entry.gathered = free.take();
        }
        entry.waiting += 1;
        calls.push_back(&mut entry.list, call);
        call
    }

    /// Gives `n` tokens to those who wait, and keeps what is left (one-token).
    pub(crate) fn give(&self, queue: QueueId, n: usize) {
        let mut queues = self.queues.borrow_mut();
        let entry = &mut queues[queue.place()];
        if entry.waiting == 0 {
            entry.home.core.keep(n);
            return;
        }
        entry.gathered = entry.gathered.saturating_add(n);
        self.hand_out(entry, &mut self.calls.table());
    }

    /// Gives the first waiters what they want, while enough has gathered for the first; keeps what
    /// is left when nobody waits any more.
    fn hand_out(&self, entry: &mut QueueEntry, calls: &mut CallTable) {
        while let Some(first) = calls.front(&entry.list) {
            let want = wanted_by(first.request);
            let (task, site) = (first.task, first.site);
            let Some(left) = entry.gathered.checked_sub(want.tokens() as usize) else { return };
            entry.gathered = left;
            entry.note_granted(want);
            if entry.home.core.rule() == Rule::Held {
                entry.home.core.holders.enter_as(task, self.life(), site);
            }
            self.answer_first(entry, calls, Reply::Token);
        }
        entry.home.core.keep(std::mem::take(&mut entry.gathered));
    }

    /// Answers the first waiter, if there is one. A call that has not been served is told when it is
    /// served; one that has been served needs the kernel, hence a post.
    #[inline]
    fn answer_first(&self, entry: &mut QueueEntry, calls: &mut CallTable, reply: Reply) -> bool {
        let Some((id, call)) = calls.pop_front(&mut entry.list) else { return false };
        entry.waiting -= 1;
        let served = matches!(call.state, CallState::Blocked(_));
        call.state = CallState::Answered(reply);
        if served {
            self.post(Post::Granted(id));
        }
        true
    }

    /// Answers all who wait, without tokens; what has gathered is kept.
    pub(crate) fn answer_all(&self, queue: QueueId) -> usize {
        let mut queues = self.queues.borrow_mut();
        let mut calls = self.calls.table();
        let entry = &mut queues[queue.place()];
        let mut answered = 0;
        while self.answer_first(entry, &mut calls, Reply::Done) {
            answered += 1;
        }
        entry.home.core.keep(std::mem::take(&mut entry.gathered));
        drop((queues, calls));
        self.queue_maybe_idle(queue);
        answered
    }

    pub(crate) fn tokens_taken(&self, want: Want) {
        let queue = want.queue();
        let mut queues = self.queues.borrow_mut();
        let entry = &mut queues[queue.place()];
        entry.note_taken(want);
        if entry.is_orphan() {
            drop(queues);
            self.remove_queue(queue);
        }
    }

    /// A call that held tokens is gone: they go on by the same rule.
    pub(crate) fn tokens_returned(&self, want: Want, site: &'static Location<'static>) {
        let queue = want.queue();
        let mut queues = self.queues.borrow_mut();
        let entry = &mut queues[queue.place()];
        entry.note_taken(want);
        if entry.home.core.rule() == Rule::Held {
            entry.home.core.holders.leave(site);
        }
        drop(queues);
        self.give(queue, want.tokens() as usize);
    }

    /// A call leaves the queue it waits in. What had gathered for it is the next one's.
    pub(crate) fn leave_queue(&self, queue: QueueId, calls: &mut CallTable, id: CallId) {
        let mut queues = self.queues.borrow_mut();
        let entry = &mut queues[queue.place()];
        calls.unlink(&mut entry.list, id);
        entry.waiting -= 1;
        self.hand_out(entry, calls);
    }

    /// Removes a queue that nobody is in and whose object is gone.
    #[inline]
    pub(crate) fn queue_maybe_idle(&self, queue: QueueId) {
        let remove = self.queues.borrow().get(queue.place()).is_some_and(QueueEntry::is_orphan);
        if remove {
            self.remove_queue(queue);
        }
    }

    pub(crate) fn remove_queue(&self, queue: QueueId) {
        let entry = self.queues.borrow_mut().remove(queue.place());
        entry.home.unbind();
    }
}
