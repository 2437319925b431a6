//! The ring: the memory that tasks and kernel share, like `io_uring`'s queues.
//!
//! It holds the call table, the trap register, the posts, the wait queues and the readiness of the
//! library's sources. There is one for each scheduler. Rings are leaked once and recycled, so that
//! a call in flight can hold a plain `&'static` to the ring it was made in and may be dropped
//! anywhere, at any time. What stays of a retired ring is the bare struct.
//!
//! Foreign code (wakers, destructors) never runs while a table is borrowed: every function that
//! frees something hands it out, and it is dropped once the borrow has ended.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use slab::Slab;

use crate::call::{Post, Reply, Syscall};
use crate::call_table::{Booking, Call, CallInfo, CallState, CallTable, ListHead, On};
use crate::id::{CallId, SourceId, TaskId};
use crate::source::SourceTable;
use crate::task::{Beside, Outcome};
use crate::wait_queue::QueueEntry;

thread_local! {
    /// The ring of the scheduler that is at work on this thread.
    static CURRENT: Cell<Option<&'static Ring>> = const { Cell::new(None) };
    /// The rings that wait for a next scheduler.
    static RETIRED: RefCell<Vec<&'static Ring>> = const { RefCell::new(Vec::new()) };
}

/// Room for so many posts is kept; more is given back when they have been served.
const MANY_POSTS: usize = 1024;

/// Tells one claim of a ring from the next, in every thread.
static LAST_LIFE: AtomicU64 = AtomicU64::new(0);

/// How many rings were ever made, in every thread.
static RINGS: AtomicU64 = AtomicU64::new(0);

/// The task's side of the ring.
pub struct Ring {
    /// Which claim of the ring this is; 0 while it is retired.
    life: Cell<u64>,
    /// The task that is being polled.
    running: Cell<Option<TaskId>>,
    /// The data pointer of that task's own waker.
    waker_data: Cell<*const ()>,
    /// What is left of the task's quantum.
    budget: Cell<u32>,
    /// The state of the scheduler's random numbers.
    random: Cell<u64>,
    /// Whether anything stands in the trap register.
    has_submitted: Cell<bool>,
    /// Whether anything has been posted.
    has_posts: Cell<bool>,
    posts: RefCell<VecDeque<Post>>,
    pub(crate) calls: RefCell<CallTable>,
    pub(crate) queues: RefCell<Slab<QueueEntry>>,
    pub(crate) sources: RefCell<SourceTable>,
    pub(crate) outcomes: RefCell<Slab<Outcome>>,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("life", &self.life.get())
            .field("running", &self.running.get())
            .finish_non_exhaustive()
    }
}

/// The calling thread's current ring: that of the innermost scheduler at work.
#[inline]
pub(crate) fn current() -> Option<&'static Ring> {
    CURRENT.get()
}

#[cold]
#[inline(never)]
fn outside_a_task() -> ! {
    panic!(
        "a system call was made outside a task: await it inside a future that a scheduler runs \
         (`Scheduler::spawn` or `Scheduler::block_on`); a destructor may post, but cannot trap"
    )
}

#[cold]
#[inline(never)]
fn scheduler_is_gone() -> ! {
    panic!("a system call was polled after its scheduler was dropped")
}

impl Ring {
    /// The ring of the scheduler at work on this thread, with a task running or a destructor.
    #[must_use]
    #[inline]
    pub fn current() -> Option<&'static Ring> {
        current()
    }

    /// The ring of the task that is being polled.
    ///
    /// # Panics
    /// Outside a task.
    #[must_use]
    #[inline]
    pub fn of_running_task() -> &'static Ring {
        match current() {
            Some(ring) if ring.running.get().is_some() => ring,
            _ => outside_a_task(),
        }
    }

    /// Which claim of the ring this is: a number no other claim has, in any thread.
    #[must_use]
    #[inline]
    pub fn life(&self) -> u64 {
        self.life.get()
    }

    /// The task that is being polled, if one is.
    #[must_use]
    #[inline]
    pub fn running(&self) -> Option<TaskId> {
        self.running.get()
    }

    /// Posts a request that needs no answer.
    #[inline]
    pub fn post(&self, post: Post) {
        self.posts.borrow_mut().push_back(post);
        self.has_posts.set(true);
    }

    /// Takes one unit of the running task's quantum, for an operation that succeeded without a
    /// trap.
    #[inline]
    pub fn spend(&self) {
        self.budget.set(self.budget.get().saturating_sub(1));
    }

    /// Whether the running task has used up its quantum.
    #[must_use]
    #[inline]
    pub fn is_spent(&self) -> bool {
        self.budget.get() == 0
    }

    /// A number from the scheduler's seed (`SplitMix64`).
    pub(crate) fn draw(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// The running task, if `waker` is its own.
    #[inline]
    fn own_waker_of(&'static self, waker: &Waker) -> Option<TaskId> {
        let current = current().is_some_and(|ring| ptr::eq(ring, self));
        let task = self.running.get()?;
        (current && ptr::eq(waker.data(), self.waker_data.get())).then_some(task)
    }

    /// Takes a slot in the call table and writes the call into the trap register.
    #[inline(always)]
    pub(crate) fn submit(
        request: Syscall,
        site: &'static Location<'static>,
        cx: &Context<'_>,
    ) -> (&'static Ring, CallId) {
        let Some(ring) = current() else { outside_a_task() };
        let Some(task) = ring.running.get() else { outside_a_task() };
        let id = ring.calls.borrow_mut().submit(task, request, site);
        ring.has_submitted.set(true);
        if !ptr::eq(cx.waker().data(), ring.waker_data.get()) {
            ring.rebook(id, cx);
        }
        (ring, id)
    }

    /// Lays something bulky beside a request that was just submitted.
    pub(crate) fn lay_beside(&self, id: CallId, beside: Beside) {
        let mut calls = self.calls.borrow_mut();
        if let Beside::Body(body) = beside {
            calls.lay_body(id, body);
            return;
        }
        let call = calls.get_mut(id).expect("a call that is submitted is in flight");
        call.put_beside(beside);
    }

    /// Takes the reply, if it is there; else books the call to whoever polls it now.
    #[inline]
    pub(crate) fn poll_call(&'static self, id: CallId, cx: &Context<'_>) -> Poll<Reply> {
        let mut calls = self.calls.borrow_mut();
        match calls.take_plain_reply(id) {
            Some(reply) => Poll::Ready(reply),
            None => {
                drop(calls);
                self.poll_call_slowly(id, cx)
            }
        }
    }

    /// The same where there is no reply yet, or more to take than that.
    #[inline(never)]
    fn poll_call_slowly(&'static self, id: CallId, cx: &Context<'_>) -> Poll<Reply> {
        let mut calls = self.calls.borrow_mut();
        let Some(call) = calls.get_mut(id) else { scheduler_is_gone() };
        if let CallState::Answered(reply) = call.state {
            let leftover = calls.free(id);
            drop(calls);
            drop(leftover);
            return Poll::Ready(reply);
        }
        drop(calls);
        self.rebook(id, cx);
        Poll::Pending
    }

    /// The same with what lies beside the reply.
    pub(crate) fn poll_call_and_beside(
        &'static self,
        id: CallId,
        cx: &Context<'_>,
    ) -> Poll<(Reply, Beside)> {
        let mut calls = self.calls.borrow_mut();
        let beside = match calls.get_mut(id) {
            Some(call) if matches!(call.state, CallState::Answered(_)) => call.take_beside(),
            _ => Beside::Nothing,
        };
        drop(calls);
        self.poll_call(id, cx).map(|reply| (reply, beside))
    }

    #[inline(never)]
    fn rebook(&'static self, id: CallId, cx: &Context<'_>) {
        let own = self.own_waker_of(cx.waker());
        let elsewhere = current().is_none_or(|ring| !ptr::eq(ring, self));
        let task = if elsewhere { None } else { self.running.get() };
        let mut calls = self.calls.borrow_mut();
        let call = calls.get_mut(id).expect("a call that is polled is in flight");
        call.task = task;
        if own.is_none() && call.waker().is_some_and(|held| held.will_wake(cx.waker())) {
            return;
        }
        let stale = call.take_waker();
        drop(calls);
        drop(stale);
        if own.is_none() {
            let waker = cx.waker().clone();
            let mut calls = self.calls.borrow_mut();
            let call = calls.get_mut(id).expect("a call that is polled is in flight");
            let displaced = call.put_waker(waker);
            drop(calls);
            drop(displaced);
        }
    }

    /// The future of a call is gone: frees its slot, or leaves that to the kernel where it has a
    /// wait to forget.
    pub(crate) fn withdraw(&self, id: CallId) {
        let mut calls = self.calls.borrow_mut();
        let Some(call) = calls.get_mut(id) else { return };
        let token_of = match (call.state, call.request) {
            (CallState::Answered(Reply::Token), Syscall::Park(queue)) => Some(queue),
            _ => None,
        };
        match call.state {
            CallState::Blocked(On::Queue(queue)) | CallState::Queued(queue) => {
                let mut queues = self.queues.borrow_mut();
                queues[queue.place()].leave(&mut calls, id);
            }
            CallState::Blocked(on) => {
                call.state = CallState::Withdrawn(on);
                let leftover = call.take_extra();
                drop(calls);
                self.post(Post::Withdraw(id));
                drop(leftover);
                return;
            }
            CallState::Withdrawn(_) => return,
            CallState::Submitted | CallState::Answered(_) => {}
        }
        let parked_on = calls.get(id).and_then(|call| match call.request {
            Syscall::Park(queue) => Some(queue),
            _ => None,
        });
        let leftover = calls.free(id);
        drop(calls);
        if let Some(queue) = token_of {
            self.token_returned(queue);
        }
        if let Some(queue) = parked_on {
            self.queue_maybe_idle(queue);
        }
        drop(leftover);
    }

    /// Detaches the task whose id is the reply that nobody took.
    pub(crate) fn detach_untaken(&self, id: CallId) {
        let state = self.calls.borrow().get(id).map(|call| call.state);
        if let Some(CallState::Answered(Reply::Task(task))) = state {
            self.post(Post::Detach(task));
        }
    }

    /// What a task with a handle left, if it has not been taken.
    pub(crate) fn take_outcome(&self, key: u64, task: TaskId) -> Option<Outcome> {
        let mut outcomes = self.outcomes.borrow_mut();
        let held = outcomes.get(key as usize).is_some_and(|outcome| outcome.task == task);
        held.then(|| outcomes.remove(key as usize))
    }
}

/// A pseudo-random number from the scheduler's seed.
///
/// The same seed and the same answers from outside give the same numbers. Not for secrets.
///
/// # Panics
/// Outside a task.
///
/// # Cost
/// No trap; a few instructions.
#[must_use]
pub fn random() -> u64 {
    Ring::of_running_task().draw()
}

/// A call taken out of the trap register.
#[derive(Clone, Copy, Debug)]
pub struct Submitted {
    /// Its id.
    pub id: CallId,
    /// What is asked.
    pub request: Syscall,
    /// Where in the source.
    pub site: &'static Location<'static>,
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
            Box::leak(Box::new(Ring {
                life: Cell::new(0),
                running: Cell::new(None),
                waker_data: Cell::new(ptr::null()),
                budget: Cell::new(0),
                random: Cell::new(0),
                has_submitted: Cell::new(false),
                has_posts: Cell::new(false),
                posts: RefCell::default(),
                calls: RefCell::new(CallTable::new(RINGS.fetch_add(1, Ordering::Relaxed))),
                queues: RefCell::default(),
                sources: RefCell::default(),
                outcomes: RefCell::default(),
            }))
        });
        ring.life.set(LAST_LIFE.fetch_add(1, Ordering::Relaxed) + 1);
        ring.random.set(seed);
        KernelRing { ring }
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
        self.ring.running.set(Some(task));
        self.ring.waker_data.set(waker.data());
    }

    /// The poll has returned.
    #[inline]
    pub fn finish(&self) {
        self.ring.running.set(None);
        self.ring.waker_data.set(ptr::null());
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

    /// Takes the next call out of the trap register, in the order in which they were made. Calls
    /// dropped meanwhile are passed over.
    #[inline]
    pub fn next_trap(&self) -> Option<Submitted> {
        if !self.ring.has_submitted.get() {
            return None;
        }
        let mut calls = self.ring.calls.borrow_mut();
        let Some((id, call)) = calls.next_submitted() else {
            self.ring.has_submitted.set(false);
            return None;
        };
        let trap = Submitted { id, request: call.request, site: call.site };
        if calls.register_is_empty() {
            self.ring.has_submitted.set(false);
        }
        Some(trap)
    }

    /// Takes the next post.
    pub fn next_post(&self) -> Option<Post> {
        let mut posts = self.ring.posts.borrow_mut();
        let post = posts.pop_front();
        self.ring.has_posts.set(post.is_some());
        if post.is_none() && posts.capacity() > MANY_POSTS {
            // A crowd has passed: give its memory back.
            posts.shrink_to(MANY_POSTS);
        }
        post
    }

    /// Whether there are posts to be served.
    #[must_use]
    #[inline]
    pub fn has_posts(&self) -> bool {
        self.ring.has_posts.get()
    }

    /// Writes the reply of a call in flight, and says whom to resume. `None` if the call is gone,
    /// withdrawn, or answered (answered-once).
    #[inline]
    pub fn answer(&self, id: CallId, reply: Reply) -> Option<Booking> {
        let mut calls = self.ring.calls.borrow_mut();
        let call = calls.get_mut(id)?;
        match call.state {
            CallState::Submitted | CallState::Blocked(_) => call.state = CallState::Answered(reply),
            // Its future was dropped in this very turn, and it has just been taken out of where it
            // waited: there is nothing left to forget but the slot.
            CallState::Withdrawn(_) => {
                call.state = CallState::Withdrawn(On::Own);
                return None;
            }
            CallState::Queued(_) | CallState::Answered(_) => return None,
        }
        Some(Booking { task: call.task, waker: call.take_waker() })
    }

    /// Writes the reply of a call that `caller` has just made. `None` if the caller itself waits
    /// for it, which is usual; else whom to resume.
    #[inline]
    pub fn answer_caller(&self, id: CallId, reply: Reply, caller: TaskId) -> Option<Booking> {
        let mut calls = self.ring.calls.borrow_mut();
        let call = calls.get_mut(id)?;
        if matches!(call.state, CallState::Submitted) {
            call.state = CallState::Answered(reply);
        }
        if call.task == Some(caller) && call.waker().is_none() {
            return None;
        }
        Some(Booking { task: call.task, waker: call.take_waker() })
    }

    /// Whom to resume for a call that its wait queue has answered.
    pub fn booking(&self, id: CallId) -> Option<Booking> {
        let mut calls = self.ring.calls.borrow_mut();
        let call = calls.get_mut(id)?;
        Some(Booking { task: call.task, waker: call.take_waker() })
    }

    /// Notes what a call is blocked on.
    pub fn block(&self, id: CallId, on: On) {
        if let Some(call) = self.ring.calls.borrow_mut().get_mut(id)
            && matches!(call.state, CallState::Submitted | CallState::Queued(_))
        {
            call.state = CallState::Blocked(on);
        }
    }

    /// Where a call is in its life, or `None` if it is gone.
    #[must_use]
    pub fn state(&self, id: CallId) -> Option<CallState> {
        self.ring.calls.borrow().get(id).map(|call| call.state)
    }

    /// What a call asks, or `None` if it is gone.
    #[must_use]
    pub fn request(&self, id: CallId) -> Option<Syscall> {
        self.ring.calls.borrow().get(id).map(|call| call.request)
    }

    /// Frees the slot of a withdrawn call, once the kernel has forgotten its wait.
    pub fn release(&self, id: CallId) {
        let mut calls = self.ring.calls.borrow_mut();
        let leftover = calls.get(id).is_some().then(|| calls.free(id));
        drop(calls);
        drop(leftover);
    }

    /// Takes what lies beside a request.
    #[must_use]
    pub fn take_beside(&self, id: CallId) -> Beside {
        let mut calls = self.ring.calls.borrow_mut();
        if let Some(body) = calls.take_body(id) {
            return Beside::Body(body);
        }
        calls.get_mut(id).map(Call::take_beside).unwrap_or_default()
    }

    /// Lays `beside` beside the reply. Gives it back if the call is gone.
    ///
    /// # Errors
    /// `beside` itself, if the call is no longer in flight.
    pub fn put_beside(&self, id: CallId, beside: Beside) -> Result<(), Beside> {
        let mut calls = self.ring.calls.borrow_mut();
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

    /// Appends a call to a list of waiters.
    pub fn link(&self, list: &mut ListHead, id: CallId) {
        self.ring.calls.borrow_mut().push_back(list, id);
    }

    /// Takes a call out of the list it is in.
    pub fn unlink(&self, list: &mut ListHead, id: CallId) {
        self.ring.calls.borrow_mut().unlink(list, id);
    }

    /// Takes the first waiter out of a list.
    pub fn pop_waiter(&self, list: &mut ListHead) -> Option<CallId> {
        self.ring.calls.borrow_mut().pop_front(list)
    }

    /// The waiters in a list, first to last.
    #[must_use]
    pub fn waiters(&self, list: &ListHead) -> Vec<CallId> {
        self.ring.calls.borrow().members(list).collect()
    }

    /// Keeps what a task left, for its handle; gives the key to answer [`Syscall::Join`] with.
    pub fn keep_outcome(&self, outcome: Outcome) -> u64 {
        self.ring.outcomes.borrow_mut().insert(outcome) as u64
    }

    /// Takes an outcome that its handle has not taken.
    #[must_use]
    pub fn take_outcome(&self, key: u64, task: TaskId) -> Option<Outcome> {
        self.ring.take_outcome(key, task)
    }

    /// Takes all outcomes: the scheduler is being dropped.
    #[must_use]
    pub fn take_outcomes(&self) -> Vec<Outcome> {
        self.ring.outcomes.take().into_iter().map(|(_, outcome)| outcome).collect()
    }

    /// Whether the handle has yet to take this outcome.
    #[must_use]
    pub fn has_outcome(&self, key: u64, task: TaskId) -> bool {
        self.ring.outcomes.borrow().get(key as usize).is_some_and(|kept| kept.task == task)
    }

    /// How many calls are in flight.
    #[must_use]
    pub fn calls_in_flight(&self) -> usize {
        self.ring.calls.borrow().len()
    }

    /// How many outcomes wait for their handles.
    #[must_use]
    pub fn outcomes_kept(&self) -> usize {
        self.ring.outcomes.borrow().len()
    }

    /// The calls in flight, in the order of their places.
    #[must_use]
    pub fn calls(&self) -> Vec<CallInfo> {
        let queues = self.ring.queues.borrow();
        let calls = self.ring.calls.borrow();
        calls.iter().map(|(id, call)| info_of(&queues, id, call)).collect()
    }

    /// A call in flight, as a snapshot shows it.
    #[must_use]
    pub fn info(&self, id: CallId) -> Option<CallInfo> {
        let queues = self.ring.queues.borrow();
        self.ring.calls.borrow().get(id).map(|call| info_of(&queues, id, call))
    }

    /// Checks what the ring must keep by itself: that no queue has both a token and a waiter
    /// (one-token), that each waiter is in the list its state names (no-orphan), and that the trap
    /// register is empty.
    ///
    /// # Panics
    /// If it does not hold.
    pub fn check(&self) {
        let calls = self.ring.calls.borrow();
        assert!(calls.register_is_empty(), "no-orphan: a call was left unserved");
        for (place, queue) in self.ring.queues.borrow().iter() {
            queue.check(place, &calls);
        }
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

    /// Names the descriptor of a source, and whether the task has closed it.
    #[must_use]
    pub fn source_fd(&self, id: SourceId) -> Option<std::os::fd::RawFd> {
        self.sources().borrow().fd(id)
    }
}

impl Drop for KernelRing {
    fn drop(&mut self) {
        let ring = self.ring;
        ring.life.set(0);
        ring.running.set(None);
        ring.has_submitted.set(false);
        ring.has_posts.set(false);
        // Whatever their destructors post goes, too; a second round sees to it.
        for _ in 0..2 {
            ring.sources.borrow_mut().clear();
            let (calls, bodies) = ring.calls.borrow_mut().clear();
            let posts = ring.posts.take();
            let (outcomes, queues) = (ring.outcomes.take(), ring.queues.take());
            // Calls kept elsewhere can no longer give back the tokens they were given (one-token).
            queues.iter().for_each(|(_, queue)| queue.take_back_tokens());
            drop_each(calls);
            drop_each(bodies);
            drop_each(posts);
            drop_each(outcomes);
            drop_each(queues);
            ring.has_posts.set(false);
        }
        let _ = RETIRED.try_with(|retired| retired.borrow_mut().push(ring));
    }
}

fn info_of(queues: &Slab<QueueEntry>, id: CallId, call: &Call) -> CallInfo {
    let label = match (&call.request, call.beside()) {
        (Syscall::Park(queue), _) => queues.get(queue.place()).and_then(QueueEntry::label),
        (Syscall::Own, Some(Beside::Own(own))) => Some(own.name()),
        _ => None,
    };
    let &Call { task, request, site, state, .. } = call;
    CallInfo { id, task, request, label, site, state }
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
