//! The kernel's side of the ring: claim it, enter it, take what tasks ask, answer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use crate::call::{Post, Reply, Syscall};
use crate::call_table::{Booking, Call, CallInfo, CallState, CallTable, ListHead, On};
use crate::cancel::Cancelled;
use crate::holder::{Holder, QueueInfo};
use crate::id::{CallId, SourceId, TaskId};
use crate::outcomes::{Outcome, Panic};
use crate::queue_entry::Queues;
use crate::ring::{CURRENT, Ring};
use crate::scopes::CancelRequest;
use crate::source::SourceTable;
use crate::task::{Beside, TaskBody};
use crate::wait_queue::{QueueId, Want};

thread_local! {
    /// The rings that wait for a next scheduler.
    static RETIRED: RefCell<Vec<&'static Ring>> = const { RefCell::new(Vec::new()) };
}

/// Tells one claim of a ring from the next, in every thread.
static LAST_LIFE: AtomicU64 = AtomicU64::new(0);

/// How many rings were ever made, in every thread.
static RINGS: AtomicU64 = AtomicU64::new(0);

/// A call that the kernel has taken, to be served.
#[derive(Clone, Copy, Debug)]
pub struct Submitted {
    /// Its id.
    pub id: CallId,
    /// What is asked.
    pub request: Syscall,
    /// Where in the source.
    pub site: &'static Location<'static>,
}

/// What becomes of a call, where that is known as soon as it is made: serving it is only to say so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Foregone {
    /// It yields, and is answered.
    Yield,
    /// It parks, and stands in line, blocked.
    Park {
        /// Where.
        queue: QueueId,
        /// The task that alone holds what it waits for, if that is known.
        holder: Option<TaskId>,
    },
}

/// What became of a call that parks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parked {
    /// It stands in line, and is blocked.
    Blocked {
        /// The task that alone holds what it waits for, if that is known.
        holder: Option<TaskId>,
    },
    /// It was given its tokens before it was served.
    Answered(Reply),
    /// Its future was dropped before it was served.
    Gone,
}

/// The kernel's side of a ring. Dropping it retires the ring for the thread's next scheduler.
#[derive(Debug)]
pub struct KernelRing {
    ring: &'static Ring,
}

/// While it lives, the ring is the thread's current one; then the one before is again.
#[derive(Debug)]
#[must_use]
pub struct Entered {
    before: Option<&'static Ring>,
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

impl KernelRing {
    /// Claims a ring, recycled or new. Its random numbers come from `seed`.
    #[must_use]
    pub fn claim(seed: u64) -> KernelRing {
        let recycled = RETIRED.try_with(|retired| retired.borrow_mut().pop()).ok().flatten();
        let ring = recycled.unwrap_or_else(|| {
            Box::leak(Box::new(Ring::new(RINGS.fetch_add(1, Ordering::Relaxed))))
        });
        ring.life.set(LAST_LIFE.fetch_add(1, Ordering::Relaxed) + 1);
        ring.random.set(seed);
        ring.owed.set(0);
        ring.threads.set_tokens(0);
        let ring = KernelRing { ring };
        ring.finish();
        ring
    }

    /// The tasks' side.
    #[must_use]
    #[inline]
    pub fn ring(&self) -> &'static Ring {
        self.ring
    }

    /// How many rings this thread keeps for schedulers to come.
    #[must_use]
    pub fn retired_in_this_thread() -> usize {
        RETIRED.with_borrow(Vec::len)
    }

    /// Makes the ring the thread's current one.
    #[inline]
    pub fn enter(&self) -> Entered {
        Entered { before: CURRENT.replace(Some(self.ring)) }
    }

    /// `task` is about to be polled under `waker`, its own.
    #[inline]
    pub fn begin(&self, task: TaskId, waker: &Waker) {
        self.ring.calls.caller.set(task);
        self.ring.waker_data.set(waker.data());
    }

    /// The poll has returned.
    #[inline]
    pub fn finish(&self) {
        self.ring.waker_data.set(self.ring.data_of_nobody());
    }

    /// What is left of the running task's quantum.
    #[must_use]
    #[inline]
    pub fn budget(&self) -> u32 {
        self.ring.budget.get()
    }

    /// Sets what is left of the quantum.
    #[inline]
    pub fn set_budget(&self, budget: u32) {
        self.ring.budget.set(budget);
    }

    /// Takes the next call of this turn, in the order in which they were made. Calls
    /// dropped meanwhile are passed over.
    #[inline(always)]
    pub fn next_trap(&self) -> Option<Submitted> {
        self.ring.calls.next()
    }

    /// Where the first call of this turn that has not been taken was made, if there is one.
    #[must_use]
    pub fn first_site(&self) -> Option<&'static Location<'static>> {
        self.ring.calls.first_site()
    }

    /// Takes the next post.
    #[inline]
    pub fn next_post(&self) -> Option<Post> {
        self.ring.posts.pop()
    }

    /// Takes the next post, if it resumes a task whose call was granted what it wanted: what most posts
    /// are, in a cheaper way. `None` says no more than that one has to look.
    #[inline(always)]
    pub fn next_resume(&self) -> Option<TaskId> {
        self.ring.posts.pop_first_resume()
    }

    /// Whether there are posts to be served.
    #[must_use]
    #[inline]
    pub fn has_posts(&self) -> bool {
        self.ring.posts.any()
    }

    /// Writes the reply of a call in flight, and says whom to resume. `None` if the call is gone,
    /// withdrawn, or answered (answered-once).
    #[inline]
    pub fn answer(&self, id: CallId, reply: Reply) -> Option<Booking> {
        let mut calls = self.ring.calls.table();
        let booking = calls.get_mut(id)?.answer(reply);
        if self.ring.scoped.has_any() {
            drop(calls);
            return self.redirect(id, booking);
        }
        booking
    }

    /// An answer may be for a child within the task: see [`crate::scoped`].
    #[cold]
    #[inline(never)]
    fn redirect(&self, id: CallId, booking: Option<Booking>) -> Option<Booking> {
        booking.map(|booking| self.ring.scoped.redirect(id, booking))
    }

    /// The call that [`next_trap`](KernelRing::next_trap) took last, once more.
    #[must_use]
    #[inline(always)]
    pub fn trap_at_hand(&self) -> Submitted {
        self.ring.calls.at_hand()
    }

    /// Writes the reply of the call at hand, which `caller` has just made. `None` if the caller
    /// itself waits for it, which is usual; else whom to resume.
    #[inline(always)]
    pub fn answer_at_hand(&self, reply: Reply, caller: TaskId) -> Option<Booking> {
        if self.ring.calls.answer_taken(reply) {
            return None;
        }
        self.answer_in_table(reply, caller)
    }

    #[cold]
    #[inline(never)]
    fn answer_in_table(&self, reply: Reply, caller: TaskId) -> Option<Booking> {
        let id = self.trap_at_hand().id;
        let mut calls = self.ring.calls.table();
        let call = calls.get_mut(id)?;
        if matches!(call.state, CallState::Submitted) {
            call.state = CallState::Answered(reply);
        }
        let booking = Booking { task: call.task, waker: call.take_waker() };
        drop(calls);
        let booking = self.ring.scoped.redirect(id, booking);
        if booking.task == Some(caller) && booking.waker.is_none() {
            return None;
        }
        Some(booking)
    }

    /// Serves a call of which it was known when it was made what becomes of it: the only one of its
    /// turn, not [taken](KernelRing::next_trap) before. It is [at hand](KernelRing::trap_at_hand) then.
    #[inline(always)]
    pub fn serve_foregone(&self) -> Option<Foregone> {
        self.ring.calls.serve_foregone()
    }

    /// Serves any other park: blocks it, unless it has been given what it wanted.
    pub fn park(&self, id: CallId, want: Want) -> Parked {
        match self.state(id) {
            Some(CallState::Answered(reply)) => Parked::Answered(reply),
            Some(_) => {
                let queue = want.queue();
                self.block(id, On::Queue(queue));
                Parked::Blocked { holder: self.sole_holder_of(queue) }
            }
            None => Parked::Gone,
        }
    }

    /// What a call was answered by its wait queue, and whom to resume for it; `None` if it is gone.
    #[inline]
    pub fn granted(&self, id: CallId) -> Option<(Reply, Booking)> {
        // One that was answered is in the table; what is in the register may stay there.
        let mut calls = self.ring.calls.behind_register();
        let call = calls.get_mut(id)?;
        let CallState::Answered(reply) = call.state else { return None };
        let booking = Booking { task: call.task, waker: call.take_waker() };
        drop(calls);
        Some((reply, self.ring.scoped.redirect(id, booking)))
    }

    /// Notes what a call is blocked on.
    pub fn block(&self, id: CallId, on: On) {
        if let Some(call) = self.ring.calls.table().get_mut(id)
            && matches!(call.state, CallState::Submitted | CallState::Queued(_))
        {
            call.state = CallState::Blocked(on);
        }
    }

    /// Where a call is in its life, or `None` if it is gone: also of a yield that was answered as soon
    /// as it was served, of which nothing is kept.
    #[must_use]
    pub fn state(&self, id: CallId) -> Option<CallState> {
        self.ring.calls.table().get(id).map(|call| call.state)
    }

    /// What a call asks, or `None` if it is gone.
    #[must_use]
    pub fn request(&self, id: CallId) -> Option<Syscall> {
        self.ring.calls.table().get(id).map(|call| call.request)
    }

    /// Frees the slot of a withdrawn call, once the kernel has forgotten its wait.
    pub fn release(&self, id: CallId) {
        let mut calls = self.ring.calls.table();
        let leftover = calls.get(id).is_some().then(|| calls.free(id));
        drop(calls);
        drop(leftover);
    }

    /// Takes the body that lies beside a spawn.
    #[must_use]
    #[inline]
    pub fn take_body(&self, id: CallId) -> Option<Pin<Box<dyn TaskBody>>> {
        self.ring.calls.take_body(id)
    }

    /// Takes what lies beside a request.
    #[must_use]
    pub fn take_beside(&self, id: CallId) -> Beside {
        if let Some(body) = self.ring.calls.take_body(id) {
            return Beside::Body(body);
        }
        self.ring.calls.table().get_mut(id).map(Call::take_beside).unwrap_or_default()
    }

    /// Lays `beside` beside the reply. Gives it back if the call is gone.
    ///
    /// # Errors
    /// `beside` itself, if the call is no longer in flight.
    pub fn put_beside(&self, id: CallId, beside: Beside) -> Result<(), Beside> {
        let mut calls = self.ring.calls.table();
        match calls.get_mut(id) {
            Some(call) if !matches!(call.state, CallState::Withdrawn(_)) => {
                let before = call.put_beside(beside);
                drop(calls);
                drop(before);
                Ok(())
            }
            _ => Err(beside),
        }
    }

    /// Appends the call at hand to a list of waiters, and notes what it is blocked on.
    #[inline]
    pub fn block_at_hand(&self, list: &ListHead, on: On) {
        if !self.ring.calls.block_taken(list, on) {
            let id = self.trap_at_hand().id;
            self.link(list, id);
            self.block(id, on);
        }
    }

    /// Answers the only waiter in a list and takes it out, if it is a [join](Syscall::Join) of a task that is to be
    /// resumed for it: what most exits come to. Gives that task. `None` says no more than that one has to look.
    #[inline]
    pub fn answer_sole_join(&self, list: &ListHead, reply: Reply) -> Option<TaskId> {
        if self.ring.scoped.has_any() {
            return None;
        }
        self.ring.calls.answer_sole_join(list, reply)
    }

    /// Appends a call to a list of waiters.
    pub fn link(&self, list: &ListHead, id: CallId) {
        self.ring.calls.table().push_back(list, id);
    }

    /// Takes a call out of the list it is in.
    pub fn unlink(&self, list: &ListHead, id: CallId) {
        self.ring.calls.table().unlink(list, id);
    }

    /// Takes the first waiter out of a list.
    pub fn pop_waiter(&self, list: &ListHead) -> Option<CallId> {
        if list.is_empty() {
            return None;
        }
        self.ring.calls.table().pop_front(list).map(|(id, _)| id)
    }

    /// Takes the first waiter out of a list and answers it, according to what it asked. Says what it
    /// was answered, and whom to resume as [`answer`](KernelRing::answer) does.
    #[inline(always)]
    pub fn answer_waiter(
        &self,
        list: &ListHead,
        reply_to: impl FnOnce(Syscall) -> Reply,
    ) -> Option<(CallId, Reply, Option<Booking>)> {
        if list.is_empty() {
            return None;
        }
        let mut calls = self.ring.calls.table();
        let (id, call) = calls.pop_front(list)?;
        let reply = reply_to(call.request);
        let booking = call.answer(reply);
        if self.ring.scoped.has_any() {
            drop(calls);
            return Some((id, reply, self.redirect(id, booking)));
        }
        Some((id, reply, booking))
    }

    /// The waiters in a list, first to last.
    #[must_use]
    pub fn waiters(&self, list: &ListHead) -> Vec<CallId> {
        self.ring.calls.table().members(list).collect()
    }

    /// Keeps what a task left, for its handle; gives the key to answer [`Syscall::Join`] with.
    #[inline]
    pub fn keep_outcome(
        &self,
        task: TaskId,
        body: Option<Pin<Box<dyn TaskBody>>>,
        panic: Option<Box<Panic>>,
        cancelled: Option<Cancelled>,
    ) -> u32 {
        self.ring.outcomes.borrow_mut().keep(task, body, panic, cancelled)
    }

    /// Takes an outcome that its handle has not taken.
    #[must_use]
    #[inline]
    pub fn take_outcome(&self, key: u32, task: TaskId) -> Option<Outcome> {
        self.ring.take_outcome(key, task)
    }

    /// Takes all outcomes: the scheduler is being dropped.
    #[must_use]
    pub fn take_outcomes(&self) -> Vec<Outcome> {
        self.ring.outcomes.take().into_all().collect()
    }

    /// Notes that somebody but the handle was told of the panic in this outcome.
    pub fn note_observed(&self, key: u32, task: TaskId) {
        self.ring.outcomes.borrow_mut().note_observed(key, task);
    }

    /// Whether the handle has yet to take this outcome.
    #[must_use]
    pub fn has_outcome(&self, key: u32, task: TaskId) -> bool {
        self.ring.outcomes.borrow().holds(key, task)
    }

    /// Notes that a task is to be cancelled, and why; says what is to be done for it to hear.
    pub fn request_cancel(&self, task: TaskId, why: Cancelled) -> CancelRequest {
        self.ring.scopes.request(task, why)
    }

    /// Whether a task is to be cancelled and has not been told.
    #[must_use]
    #[inline(always)]
    pub fn has_pending_cancels(&self) -> bool {
        self.ring.scopes.has_pending()
    }

    /// Why `task`, which blocks, is to be ended, if it is: it has been cancelled, and nothing in it is
    /// there to hear of it.
    #[must_use]
    pub fn cancel_landing(&self, task: TaskId) -> Option<Cancelled> {
        self.ring.scopes.landing(task)
    }

    /// Why `task` was cancelled, if it was; and a shield that is open in it.
    #[must_use]
    pub fn cancel_state(
        &self,
        task: TaskId,
    ) -> (Option<Cancelled>, Option<&'static Location<'static>>) {
        (self.ring.scopes.reason(task), self.ring.scopes.shield(task))
    }

    /// A task has ended: what is known of its cancellation is forgotten.
    #[inline]
    pub fn forget_cancel(&self, task: TaskId) {
        if self.ring.scopes.knows_any() {
            self.ring.scopes.forget(task);
        }
    }

    /// How many scopes and shields are open.
    #[must_use]
    pub fn scopes_open(&self) -> usize {
        self.ring.scopes.len()
    }

    /// How many calls are in flight. Counts them.
    #[must_use]
    pub fn calls_in_flight(&self) -> usize {
        self.ring.calls.table().len()
    }

    /// How many calls are in flight beside the first of each task.
    #[must_use]
    pub fn further_calls(&self) -> usize {
        self.ring.calls.table().further()
    }

    /// Gives the memory back that a crowd of tasks needed, where no call is in flight.
    pub fn shrink(&self) {
        self.ring.calls.shrink();
        self.ring.outcomes.borrow_mut().shrink();
    }

    /// How many outcomes wait for their handles.
    #[must_use]
    pub fn outcomes_kept(&self) -> usize {
        self.ring.outcomes.borrow().len()
    }

    /// The calls in flight, in the order of their places.
    #[must_use]
    pub fn calls(&self) -> Vec<CallInfo> {
        let queues = self.ring.calls.queues.borrow();
        let calls = self.ring.calls.table();
        calls.iter().map(|(id, call)| info_of(self.ring, &queues, id, call)).collect()
    }

    /// A call in flight, as a snapshot shows it.
    #[must_use]
    pub fn info(&self, id: CallId) -> Option<CallInfo> {
        let queues = self.ring.calls.queues.borrow();
        self.ring.calls.table().get(id).map(|call| info_of(self.ring, &queues, id, call))
    }

    /// What a task waits for in its own slot and in the pool: all its blocked calls, but for such as
    /// were moved to it from another task.
    #[must_use]
    pub fn blocked_calls_of(&self, task: TaskId) -> Vec<CallInfo> {
        let queues = self.ring.calls.queues.borrow();
        let calls = self.ring.calls.table();
        let of_task = calls.slots_of(task).filter(|(_, call)| {
            call.task == Some(task) && matches!(call.state, CallState::Blocked(_))
        });
        of_task.map(|(id, call)| info_of(self.ring, &queues, id, call)).collect()
    }

    /// What a queue is, if it is in use.
    #[must_use]
    pub fn queue_info(&self, queue: QueueId) -> Option<QueueInfo> {
        let queues = self.ring.calls.queues.borrow();
        queues.get(queue.place()).map(|home| home.info(self.ring.life()))
    }

    /// Who holds what a queue guards, if anybody does.
    #[must_use]
    pub fn holder_in(&self, queue: QueueId) -> Option<Holder> {
        let queues = self.ring.calls.queues.borrow();
        queues.get(queue.place())?.core.holders().shown_in(self.ring.life())
    }

    /// The task that alone holds what a queue guards.
    #[must_use]
    #[inline]
    pub fn sole_holder_of(&self, queue: QueueId) -> Option<TaskId> {
        let queues = self.ring.calls.queues.borrow();
        queues.get(queue.place())?.core.holders().sole_task(self.ring.life())
    }

    /// Whether this is the first time that somebody asks, since the last one took it: so that what
    /// is to be said of a holder is said once.
    #[must_use]
    pub fn is_first_word_of(&self, queue: QueueId) -> bool {
        let queues = self.ring.calls.queues.borrow();
        queues.get(queue.place()).is_some_and(|home| home.core.holders().first_word())
    }

    /// Checks what the ring must keep by itself: that no queue keeps tokens from its first
    /// waiter (one-token), that each waiter is in the list its state names (no-orphan), and that the trap
    /// register is empty.
    ///
    /// # Panics
    /// If it does not hold.
    pub fn check(&self) {
        assert!(self.ring.calls.all_served(), "no-orphan: a call was left unserved");
        self.ring.scopes.check();
        let calls = self.ring.calls.table();
        let mut granted = granted_and_not_taken(&calls);
        for (place, queue) in self.ring.calls.queues.borrow().iter() {
            queue.check(place, &calls, granted.remove(&place).unwrap_or_default().0);
        }
        assert!(granted.is_empty(), "one-token: tokens of a queue that is gone");
        for (_, call) in calls.iter() {
            assert!(
                !matches!(call.state, CallState::Withdrawn(_) | CallState::Submitted),
                "no-orphan: a call is between two states after a step: {:?}",
                call.state
            );
            if let Some(source) = call.source() {
                let known = self.ring.sources.borrow().contains(source);
                let waits = matches!(call.state, CallState::Blocked(_));
                assert!(known || !waits, "no-orphan: a call waits on a source that is gone");
            }
        }
    }

    /// The readiness table, for [`crate::source`].
    pub(crate) fn sources(&self) -> &RefCell<SourceTable> {
        &self.ring.sources
    }

    /// The descriptor of a source, or `None` if its entry has been freed.
    #[must_use]
    pub fn source_fd(&self, id: SourceId) -> Option<std::os::fd::RawFd> {
        self.sources().borrow().fd(id)
    }
}

impl Drop for KernelRing {
    fn drop(&mut self) {
        self.listen(false);
        let ring = self.ring;
        ring.life.set(0);
        self.finish();
        let door = ring.door.take();
        drop(door);
        // Whatever their destructors post goes, too; a second round sees to it.
        for _ in 0..2 {
            ring.sources.borrow_mut().clear();
            let table = ring.calls.clear();
            let granted = granted_and_not_taken(&table);
            let (own, pool, bodies) = table.into_parts();
            let posts = ring.posts.take();
            let scopes = ring.scopes.clear();
            let scoped = ring.scoped.clear();
            let notes = ring.notes.clear();
            let (outcomes, queues) = (ring.outcomes.take(), ring.calls.queues.take());
            // Calls kept elsewhere can no longer give back the tokens they were given (one-token).
            for (place, queue) in &queues {
                queue.take_back_tokens(granted.get(&place).copied().unwrap_or_default());
            }
            drop_each(own);
            drop_each(pool);
            drop_each(bodies);
            drop_each(posts);
            drop_each(scopes);
            drop_each([scoped]);
            drop_each(notes);
            drop_each(outcomes.into_all());
            drop_each(queues);
            drop_each(ring.estates.take_all());
        }
        drop_each(ring.posts.take());
        let _ = RETIRED.try_with(|retired| retired.borrow_mut().push(ring));
    }
}

fn info_of(ring: &Ring, queues: &Queues, id: CallId, call: &Call) -> CallInfo {
    let home = match call.request {
        Syscall::Park(want) => queues.get(want.queue().place()),
        _ => None,
    };
    let label = match (&call.request, call.beside()) {
        (Syscall::Own, Some(Beside::Own(own))) => Some(own.name()),
        _ => home.and_then(|home| home.core.label()),
    };
    let &Call { task, request, site, state, .. } = call;
    CallInfo {
        id,
        task,
        request,
        label,
        site,
        state,
        queue: home.map(|home| home.info(ring.life())),
        stack: ring.notes.frames.of_call(id),
        object: match home {
            Some(home) => Some(home.object(ring)),
            None => call.source().and_then(|source| ring.object_of_source(source)),
        },
        deadline: None,
    }
}

/// By the place of the queue: how many calls have been given tokens and not taken them, and how
/// many tokens.
fn granted_and_not_taken(calls: &CallTable) -> BTreeMap<usize, (usize, usize)> {
    let mut granted: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for (_, call) in calls.iter() {
        if let (CallState::Answered(Reply::Token), Syscall::Park(want)) = (call.state, call.request)
        {
            let (count, tokens) = granted.entry(want.queue().place()).or_default();
            *count += 1;
            *tokens += want.tokens() as usize;
        }
    }
    granted
}

/// Drops one after the other, so that a destructor that panics spoils no other.
fn drop_each<T>(things: impl IntoIterator<Item = T>) {
    for thing in things {
        let dropped = std::panic::AssertUnwindSafe(move || drop(thing));
        if let Err(payload) = std::panic::catch_unwind(dropped) {
            // Its own destructor may panic, too.
            std::mem::forget(payload);
        }
    }
}
