//! Wait queues on the side of the ring: who waits, and what was given and not taken.
//!
//! All of it stands in cells that the object and the ring share, so that a wake with nobody waiting and
//! a token that is taken need not look into any table.
//!
//! One who parks through the trap register is in line at once; it does so only where no token is free.

use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;

use slab::Slab;

use crate::call::{Post, Reply, Syscall};
use crate::call_table::{CallState, CallTable, ListHead, On};
use crate::holder::QueueInfo;
use crate::id::CallId;
use crate::queue_core::Rule;
use crate::ring::Ring;
use crate::wait_queue::{Home, QueueId, Want};

/// The wait queues of a ring.
pub(crate) type Queues = Slab<Rc<Home>>;

/// Those who wait in a queue.
#[derive(Default)]
pub(crate) struct Line {
    pub(crate) list: ListHead,
    /// How many they are.
    waiting: Cell<usize>,
    /// Tokens that have come for the first waiter: fewer than it wants (one-token).
    gathered: Cell<usize>,
    /// Whether one who wants nothing may be among them: it goes on as soon as it is the first.
    has_wantless: Cell<bool>,
    /// Calls that were given what they wanted and have not been taken.
    granted: Cell<usize>,
}

impl Line {
    #[inline]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.get()
    }

    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.get() == 0 && self.granted.get() == 0
    }

    /// One more has been put into the list.
    #[inline]
    pub(crate) fn count_in(&self) {
        self.waiting.set(self.waiting.get() + 1);
    }

    #[inline]
    fn note_granted(&self) {
        self.granted.set(self.granted.get() + 1);
    }

    /// A call has taken what it was given.
    #[inline]
    pub(crate) fn note_taken(&self) {
        self.granted.set(self.granted.get() - 1);
    }
}

impl Home {
    /// What a task waits for here, as it is shown in the life `life` of the ring.
    pub(crate) fn info(&self, life: u64) -> QueueInfo {
        let core = &self.core;
        let name = self.name().map(|name| String::from(&*name));
        QueueInfo { kind: core.kind(), name, holder: core.holders().shown_in(life) }
    }

    /// Takes back what was given to so many calls and not taken, and what has gathered: their ring is
    /// about to be retired.
    pub(crate) fn take_back_tokens(&self, (granted, untaken): (usize, usize)) {
        let line = &self.line;
        line.list.clear();
        line.waiting.set(0);
        line.granted.set(0);
        line.has_wantless.set(false);
        self.keep(untaken + line.gathered.take());
        self.core.leave_unseen(granted);
    }

    /// Checks the queue, `granted` of whose calls have tokens that they have not taken.
    pub(crate) fn check(&self, place: usize, calls: &CallTable, granted: usize) {
        let line = &self.line;
        let mut count = 0;
        for id in calls.members(&line.list) {
            let state = calls.get(id).map(|call| call.state);
            let here = QueueId::new(place);
            assert_eq!(state, Some(CallState::Blocked(On::Queue(here))), "no-orphan: in a queue");
            count += 1;
        }
        let wanted = calls.front(&line.list).map_or(0, |call| wanted_by(call.request).tokens());
        let (waiting, gathered) = (line.waiting.get(), line.gathered.get());
        assert_eq!(count, waiting, "no-orphan: a queue counts its waiters");
        let free = self.core.free();
        let forgets = self.core.rule() == Rule::Forgets;
        assert!(
            waiting == 0 || free == 0,
            "one-token: a token is free while somebody waits for it"
        );
        assert!(
            gathered == 0 || gathered < wanted as usize,
            "one-token: the first waiter's tokens are kept from it"
        );
        assert!(waiting == 0 || wanted > 0, "one-token: one who wants nothing waits, first");
        assert!(free == 0 || !forgets, "one-token: kept where none is kept");
        assert_eq!(line.granted.get(), granted, "one-token: not taken");
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
    /// A call arrives: it takes the tokens it wants if they are free, or stands at the back.
    pub(crate) fn enqueue(&self, home: &Home, want: Want, call: CallId) {
        let mut calls = self.calls.table();
        let line = &home.line;
        let free = home.core.free();
        let left = free.checked_sub(want.tokens() as usize);
        let arrived = calls.get_mut(call).expect("a call that is submitted is in flight");
        if let (0, Some(left)) = (line.waiting(), left) {
            home.core.set_free(Some(home), left);
            home.core.grant(home, arrived.task, self.life(), arrived.site);
            arrived.state = CallState::Answered(Reply::Token);
            line.note_granted();
            return;
        }
        arrived.state = CallState::Queued(want.queue());
        // What is there gathers for the first (one-token).
        if line.waiting() == 0 {
            line.gathered.set(free);
            if free > 0 {
                home.core.set_free(Some(home), 0);
            }
        }
        if want.tokens() == 0 {
            line.has_wantless.set(true);
        }
        line.count_in();
        calls.push_back(&line.list, call);
    }

    /// Gives `n` tokens to those who wait, for somebody does, and keeps what is left (one-token).
    pub(crate) fn give(&self, home: &Home, n: usize) {
        self.hand_out(home, &mut self.calls.table(), n);
    }

    /// Gives one token to the first, if one is all that it wants; says whether it did. The shortest way
    /// through [`give`](Ring::give), and by far the most frequent.
    #[inline]
    pub(crate) fn give_one(&self, home: &Home) -> bool {
        let Home { core, line, .. } = home;
        if line.has_wantless.get() {
            return false;
        }
        let mut calls = self.calls.table();
        let Some((id, served, first)) = calls.grant_one(&line.list, line.gathered.get()) else {
            return false;
        };
        line.waiting.set(line.waiting.get() - 1);
        line.note_granted();
        core.grant(home, first.task, self.life(), first.site);
        if served {
            match first.resumes_plainly() {
                Some(task) if !self.tells_grants.get() && !self.scoped.has_any() => {
                    self.posts.push_resume(id.place, task);
                }
                _ => self.post_granted(id),
            }
        }
        true
    }

    #[cold]
    #[inline(never)]
    fn post_granted(&self, id: CallId) {
        self.post(Post::Granted(id));
    }

    /// Gives the first waiters what they want, of what has gathered and `n` tokens more, while there is
    /// enough for the first; keeps what is left when nobody waits any more.
    #[inline(never)]
    fn hand_out(&self, home: &Home, calls: &mut CallTable, n: usize) {
        let Home { core, line, .. } = home;
        let mut gathered = line.gathered.get().saturating_add(n);
        while let Some(first) = calls.front(&line.list) {
            let want = wanted_by(first.request);
            let Some(left) = gathered.checked_sub(want.tokens() as usize) else { break };
            gathered = left;
            line.note_granted();
            core.grant(home, first.task, self.life(), first.site);
            self.answer_first(line, calls, Reply::Token);
        }
        if line.list.is_empty() {
            line.has_wantless.set(false);
            core.keep(Some(home), std::mem::take(&mut gathered));
        }
        line.gathered.set(gathered);
    }

    /// Answers the first waiter, if there is one. A call that has not been served is told when it is
    /// served; one that has been served needs the kernel, hence a post.
    fn answer_first(&self, line: &Line, calls: &mut CallTable, reply: Reply) -> bool {
        let Some((id, call)) = calls.pop_front(&line.list) else { return false };
        line.waiting.set(line.waiting.get() - 1);
        let served = matches!(call.state, CallState::Blocked(_));
        call.state = CallState::Answered(reply);
        if served {
            self.post(Post::Granted(id));
        }
        true
    }

    /// Answers all who wait, without tokens; what has gathered is kept.
    pub(crate) fn answer_all(&self, home: &Home) -> usize {
        let mut calls = self.calls.table();
        let mut answered = 0;
        while self.answer_first(&home.line, &mut calls, Reply::Done) {
            answered += 1;
        }
        home.keep(home.line.gathered.take());
        answered
    }

    /// A call that held tokens is gone: they go on by the same rule.
    pub(crate) fn tokens_returned(&self, want: Want, site: &'static Location<'static>) {
        let Some(home) = self.calls.home(want.queue()) else { return };
        home.line.note_taken();
        if home.core.rule() == Rule::Held {
            home.core.leave(Some(&home), site);
        }
        home.take_in(want.tokens() as usize);
    }

    /// A call leaves the queue it waits in. What had gathered for it is the next one's.
    pub(crate) fn leave_queue(&self, queue: QueueId, calls: &mut CallTable, id: CallId) {
        let Some(home) = self.calls.home(queue) else { return };
        let line = &home.line;
        calls.unlink(&line.list, id);
        line.waiting.set(line.waiting.get() - 1);
        self.hand_out(&home, calls, 0);
    }

    /// Removes a queue that nobody is in and whose object is gone.
    pub(crate) fn queue_maybe_idle(&self, queue: QueueId) {
        let orphan = |home: &Rc<Home>| home.line.is_idle() && Rc::strong_count(home) == 1;
        let remove = self.calls.queues.borrow().get(queue.place()).is_some_and(orphan);
        if remove {
            self.remove_queue(queue);
        }
    }

    pub(crate) fn remove_queue(&self, queue: QueueId) {
        let home = self.calls.queues.borrow_mut().remove(queue.place());
        home.unbind();
    }
}
