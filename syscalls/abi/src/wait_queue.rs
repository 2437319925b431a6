//! Wait queues: the waiters of one thing, in order, and the tokens that nobody waits for.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::call::{Post, Reply, Syscall};
use crate::call_table::{CallState, CallTable, ListHead, On};
use crate::id::CallId;
use crate::ring::Ring;
use crate::trap::Trap;

/// Names a wait queue within its ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueId(u64);

impl QueueId {
    /// Of a queue that is not bound yet.
    pub(crate) const fn unknown() -> QueueId {
        QueueId(u64::MAX)
    }

    pub(crate) fn place(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "queue {}", self.0)
    }
}

/// What a queue is when it has been waited for: shared by the object and the ring it is bound to,
/// so that the tokens outlive either.
struct Home {
    tokens: Cell<usize>,
    label: Cell<Option<&'static str>>,
    /// The ring it is bound to, that ring's life, and its place there.
    bound: Cell<Option<(&'static Ring, u64, QueueId)>>,
}

impl Home {
    /// The ring and the place, if that ring still lives.
    fn binding(&self) -> Option<(&'static Ring, QueueId)> {
        self.bound
            .get()
            .filter(|(ring, life, _)| ring.life() == *life)
            .map(|(ring, _, id)| (ring, id))
    }
}

/// A wait queue in its ring.
pub(crate) struct QueueEntry {
    list: ListHead,
    waiting: usize,
    /// Tokens given to calls that have not been taken.
    untaken: usize,
    home: Rc<Home>,
}

impl QueueEntry {
    pub(crate) fn leave(&mut self, calls: &mut CallTable, id: CallId) {
        calls.unlink(&mut self.list, id);
        self.waiting -= 1;
    }

    pub(crate) fn label(&self) -> Option<&'static str> {
        self.home.label.get()
    }

    /// Takes back what was given to calls and not taken: their ring is about to be retired.
    pub(crate) fn take_back_tokens(&self) {
        self.home.tokens.set(self.home.tokens.get() + self.untaken);
    }

    fn is_idle(&self) -> bool {
        self.waiting == 0 && self.untaken == 0
    }

    pub(crate) fn check(&self, place: usize, calls: &CallTable) {
        let members = calls.members(&self.list);
        let mut count = 0;
        for id in members {
            let state = calls.get(id).map(|call| call.state);
            let here = QueueId(place as u64);
            assert_eq!(state, Some(CallState::Blocked(On::Queue(here))), "no-orphan: in a queue");
            count += 1;
        }
        assert_eq!(count, self.waiting, "no-orphan: a queue counts its waiters");
        assert!(
            self.waiting == 0 || self.home.tokens.get() == 0,
            "one-token: a token is kept while somebody waits for it"
        );
    }
}

/// The pair that locks and channels are built on: tasks *park* until there is a token; a *wake*
/// hands one to the first of them, or keeps it where nobody waits.
///
/// A wake before the park is not lost. Waiters are served in the order in which they came, by
/// hand-over: a token that was given to a waiter cannot be taken by a late-comer. A waiter that is
/// dropped, timed out or killed with a token it has not taken passes it on. So the number of
/// tokens is the whole state of a semaphore, and 0 or 1 that of a lock.
///
/// It may be made anywhere, also in `const` context, and binds to a scheduler when it is first
/// waited for. While tasks of one scheduler wait, a `park` in another one panics.
///
/// ```
/// # use trapline_abi as trapline;
/// use trapline::WaitQueue;
///
/// let queue = WaitQueue::new(1);
/// assert!(queue.try_take());
/// assert!(!queue.try_take());
/// queue.wake();
/// assert_eq!(queue.tokens(), 1);
/// ```
///
/// # Kin
/// `futex(2)`, with the count kept in the queue.
pub struct WaitQueue {
    /// The tokens, until somebody has waited.
    unbound_tokens: Cell<usize>,
    label: Cell<Option<&'static str>>,
    home: OnceCell<Rc<Home>>,
}

impl WaitQueue {
    /// A queue with so many tokens, and nobody waiting.
    #[must_use]
    pub const fn new(tokens: usize) -> WaitQueue {
        WaitQueue {
            unbound_tokens: Cell::new(tokens),
            label: Cell::new(None),
            home: OnceCell::new(),
        }
    }

    /// The same with a name, for the task table and reports.
    #[must_use]
    pub const fn labelled(label: &'static str, tokens: usize) -> WaitQueue {
        WaitQueue {
            unbound_tokens: Cell::new(tokens),
            label: Cell::new(Some(label)),
            home: OnceCell::new(),
        }
    }

    fn count(&self) -> &Cell<usize> {
        self.home.get().map_or(&self.unbound_tokens, |home| &home.tokens)
    }

    /// How many tokens are kept. Not zero means that nobody waits.
    #[must_use]
    #[inline]
    pub fn tokens(&self) -> usize {
        self.count().get()
    }

    /// How many calls wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let bound = self.home.get().and_then(|home| home.binding());
        bound.map_or(0, |(ring, id)| ring.queues.borrow()[id.place()].waiting)
    }

    /// Takes a token, if one is kept.
    ///
    /// # Cost
    /// No trap, no allocation.
    #[must_use]
    #[inline]
    pub fn try_take(&self) -> bool {
        let count = self.count();
        let Some(left) = count.get().checked_sub(1) else { return false };
        count.set(left);
        true
    }

    /// Waits for a token, and takes it.
    ///
    /// # Panics
    /// If it is polled outside a task, or while tasks of another scheduler wait on the queue.
    ///
    /// # Cancel safety
    /// Safe: dropping it gives up the place in the queue; a token it was given and has not taken
    /// goes to the next waiter, or back to the queue.
    ///
    /// # Cost
    /// One trap, O(1). The first wait on a queue allocates.
    ///
    /// # Kin
    /// `FUTEX_WAIT`; `sem_wait(3)`.
    #[track_caller]
    pub fn park(&self) -> Park<'_> {
        // The request is completed when the queue is bound, at the first poll.
        let trap = Trap::new(Syscall::Park(QueueId(u64::MAX)), Location::caller());
        Park { queue: self, asked: QueueId(u64::MAX), trap }
    }

    /// Gives a token to the first waiter, or keeps it.
    ///
    /// Acts at once, from anywhere on the scheduler's thread; the waiter runs when its turn comes.
    ///
    /// # Cost
    /// No trap, O(1).
    ///
    /// # Kin
    /// `FUTEX_WAKE`; `sem_post(3)`.
    pub fn wake(&self) {
        match self.home.get().and_then(|home| home.binding()) {
            Some((ring, id)) => ring.give(id),
            None => self.count().set(self.count().get() + 1),
        }
    }

    /// Wakes all who wait now, in order, without a token: one that is dropped before it goes on passes
    /// nothing on. Says how many there were.
    ///
    /// # Cost
    /// No trap; O(waiters).
    ///
    /// # Kin
    /// `FUTEX_WAKE` with `INT_MAX`.
    pub fn wake_all(&self) -> usize {
        let Some((ring, id)) = self.home.get().and_then(|home| home.binding()) else { return 0 };
        let mut woken = 0;
        while ring.answer_first(id, Reply::Done) {
            woken += 1;
        }
        ring.queue_maybe_idle(id);
        woken
    }

    /// Binds the queue to `ring`, if it is not.
    pub(crate) fn bind(&self, ring: &'static Ring) -> QueueId {
        let home = self.home.get_or_init(|| {
            Rc::new(Home {
                tokens: Cell::new(self.unbound_tokens.take()),
                label: self.label.clone(),
                bound: Cell::new(None),
            })
        });
        if let Some((bound, id)) = home.binding() {
            if std::ptr::eq(bound, ring) {
                return id;
            }
            let idle = bound.queues.borrow()[id.place()].is_idle();
            assert!(
                idle,
                "a wait queue was used under another scheduler while tasks of the first wait on it"
            );
            bound.remove_queue(id);
        }
        let entry =
            QueueEntry { list: ListHead::new(), waiting: 0, untaken: 0, home: Rc::clone(home) };
        let place = ring.queues.borrow_mut().insert(entry);
        let id = QueueId(place as u64);
        home.bound.set(Some((ring, ring.life(), id)));
        id
    }
}

impl Default for WaitQueue {
    fn default() -> WaitQueue {
        WaitQueue::new(0)
    }
}

impl fmt::Debug for WaitQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitQueue")
            .field("label", &self.label.get())
            .field("tokens", &self.tokens())
            .field("waiting", &self.waiting())
            .finish()
    }
}

impl Drop for WaitQueue {
    fn drop(&mut self) {
        let Some(home) = self.home.take() else { return };
        let Some((ring, id)) = home.binding() else { return };
        drop(home);
        ring.queue_maybe_idle(id);
    }
}

/// The future of [`WaitQueue::park`].
#[derive(Debug)]
#[must_use = "a system call does nothing until it is awaited"]
pub struct Park<'a> {
    queue: &'a WaitQueue,
    /// Where the queue was when the call was submitted.
    asked: QueueId,
    trap: Trap,
}

impl Future for Park<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.trap.is_unborn() {
            let ring = Ring::of_running_task();
            self.asked = self.queue.bind(ring);
            let asked = self.asked;
            if let Some(call) = self.trap.submit_request(Syscall::Park(asked), cx) {
                ring.enqueue(asked, call);
            }
            return Poll::Pending;
        }
        let ring = self.trap.ring();
        let Poll::Ready(reply) = self.trap.poll_reply(cx) else { return Poll::Pending };
        if let (Reply::Token, Some(ring)) = (reply, ring) {
            ring.token_taken(self.asked);
        }
        Poll::Ready(())
    }
}

/// Wait queues: what is done to them at the moment it is asked for.
impl Ring {
    /// A call arrives: it takes a token that is kept, or stands at the back.
    pub(crate) fn enqueue(&self, queue: QueueId, call: CallId) {
        let mut queues = self.queues.borrow_mut();
        let mut calls = self.calls.table();
        let entry = &mut queues[queue.place()];
        let tokens = entry.home.tokens.get();
        let state = if tokens > 0 {
            entry.home.tokens.set(tokens - 1);
            entry.untaken += 1;
            CallState::Answered(Reply::Token)
        } else {
            entry.waiting += 1;
            calls.push_back(&mut entry.list, call);
            CallState::Queued(queue)
        };
        calls.get_mut(call).expect("a call that is submitted is in flight").state = state;
    }

    /// Gives a token to the first waiter, or keeps it (one-token).
    fn give(&self, queue: QueueId) {
        if self.answer_first(queue, Reply::Token) {
            self.queues.borrow_mut()[queue.place()].untaken += 1;
        } else {
            let queues = self.queues.borrow();
            let tokens = &queues[queue.place()].home.tokens;
            tokens.set(tokens.get() + 1);
        }
    }

    /// Answers the first waiter. A call that has not been served is told when it is
    /// served; one that has been served needs the kernel, hence a post.
    fn answer_first(&self, queue: QueueId, reply: Reply) -> bool {
        let mut queues = self.queues.borrow_mut();
        let mut calls = self.calls.table();
        let entry = &mut queues[queue.place()];
        let Some((id, call)) = calls.pop_front(&mut entry.list) else { return false };
        entry.waiting -= 1;
        let served = matches!(call.state, CallState::Blocked(_));
        call.state = CallState::Answered(reply);
        if served {
            self.post(Post::Granted(id));
        }
        true
    }

    pub(crate) fn token_taken(&self, queue: QueueId) {
        self.queues.borrow_mut()[queue.place()].untaken -= 1;
        self.queue_maybe_idle(queue);
    }

    /// A call that held a token is gone: the token goes on by the same rule.
    pub(crate) fn token_returned(&self, queue: QueueId) {
        self.queues.borrow_mut()[queue.place()].untaken -= 1;
        self.give(queue);
    }

    /// Removes a queue that nobody is in and whose object is gone.
    pub(crate) fn queue_maybe_idle(&self, queue: QueueId) {
        let orphan = |entry: &QueueEntry| entry.is_idle() && Rc::strong_count(&entry.home) == 1;
        let remove = self.queues.borrow().get(queue.place()).is_some_and(orphan);
        if remove {
            self.remove_queue(queue);
        }
    }

    fn remove_queue(&self, queue: QueueId) {
        let entry = self.queues.borrow_mut().remove(queue.place());
        entry.home.bound.set(None);
    }
}
