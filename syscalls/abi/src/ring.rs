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
use std::fmt;
use std::num::NonZeroU64;
use std::panic::Location;
use std::ptr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::call::{Post, Reply, Syscall};
use crate::call_table::{Call, CallState, On};
use crate::estate::Estates;
use crate::id::{CallId, TaskId};
use crate::note::{Note, Notes};
use crate::outcomes::{Outcome, Outcomes};
use crate::posts::Posts;
use crate::register::Calls;
use crate::remote::Door;
use crate::scoped::Scoped;
use crate::scopes::Scopes;
use crate::source::SourceTable;
use crate::task::Beside;
use crate::wait_queue::WaitQueue;

thread_local! {
    /// The ring of the scheduler that is at work on this thread.
    pub(crate) static CURRENT: Cell<Option<&'static Ring>> = const { Cell::new(None) };

    /// Whether the current ring is hidden, and which one it was: see [`Ring::hide`].
    static HIDDEN: Cell<(bool, Option<&'static Ring>)> = const { Cell::new((false, None)) };
}

/// While it lives, the thread has no current ring, so that nothing can trap; then the one before is
/// the current one again. See [`Ring::hide`].
#[derive(Debug)]
#[must_use]
pub struct Hidden {
    current: Option<&'static Ring>,
    hidden: (bool, Option<&'static Ring>),
}

impl Drop for Hidden {
    #[inline]
    fn drop(&mut self) {
        CURRENT.set(self.current);
        HIDDEN.set(self.hidden);
    }
}

/// The task's side of the ring.
pub struct Ring {
    /// Which claim of the ring this is; 0 while it is retired.
    pub(crate) life: Cell<u64>,
    /// The data pointer of the own waker of the task that is being polled. While none is, it is the
    /// address of the ring, which is the data of no waker.
    pub(crate) waker_data: Cell<*const ()>,
    /// What is left of the task's quantum.
    pub(crate) budget: Cell<u32>,
    /// The state of the scheduler's random numbers.
    pub(crate) random: Cell<u64>,
    pub(crate) posts: Posts,
    /// Whether somebody listens: the kernel is told of each call that is granted something, and notes are
    /// laid.
    pub(crate) tells_grants: Cell<bool>,
    pub(crate) notes: Notes,
    pub(crate) calls: Calls,
    pub(crate) sources: RefCell<SourceTable>,
    pub(crate) outcomes: RefCell<Outcomes>,
    pub(crate) scopes: Scopes,
    /// Where other threads hand in errands.
    pub(crate) door: RefCell<Option<Arc<dyn Door>>>,
    /// How many errands threads owe.
    pub(crate) owed: Cell<usize>,
    pub(crate) threads: WaitQueue,
    pub(crate) estates: Estates,
    pub(crate) scoped: Scoped,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("life", &self.life.get())
            .field("running", &self.running())
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
fn outside_a_task(site: Option<&Location<'_>>) -> ! {
    let here = site.map_or(String::new(), |site| format!(" at {site}"));
    if CURRENT.get().is_none() && HIDDEN.get().0 {
        panic!(
            "a system call was made{here} inside a generator or coroutine that is driven as an iterator \
             or by `send`, where nothing can wait: inside a task, drive the generator as a `Stream` \
             (`Generator::into_stream`), the coroutine as a `Sink` (`Coroutine::into_sink`)"
        )
    }
    panic!(
        "a system call was made{here} outside a task: await it inside a future that a scheduler runs \
         (`Scheduler::spawn` or `Scheduler::block_on`); a destructor may post, but cannot trap"
    )
}

#[cold]
#[inline(never)]
fn scheduler_is_gone() -> ! {
    panic!("a system call was polled after its scheduler was dropped")
}

impl Ring {
    /// A ring without a scheduler, the `number`-th of the process.
    pub(crate) fn new(number: u64) -> Ring {
        Ring {
            life: Cell::new(0),
            waker_data: Cell::new(ptr::null()),
            budget: Cell::new(0),
            random: Cell::new(0),
            posts: Posts::default(),
            tells_grants: Cell::new(false),
            notes: Notes::default(),
            calls: Calls::new(number),
            sources: RefCell::default(),
            outcomes: RefCell::default(),
            scopes: Scopes::default(),
            door: RefCell::default(),
            owed: Cell::new(0),
            threads: WaitQueue::labelled("unblock", 0).made_nowhere(),
            estates: Estates::default(),
            scoped: Scoped::default(),
        }
    }

    /// The ring of the scheduler at work on this thread, with a task running or a destructor.
    #[must_use]
    #[inline]
    pub fn current() -> Option<&'static Ring> {
        current()
    }

    /// Hides the thread's current ring: for code that is driven inside a task, or outside, by
    /// somebody who cannot wait, as an iterator's caller cannot. A system call in there panics and
    /// says so; posts still find the ring, by [`at_work`](Ring::at_work).
    #[inline]
    pub fn hide() -> Hidden {
        let guard = Hidden { current: CURRENT.replace(None), hidden: HIDDEN.get() };
        HIDDEN.set((true, guard.current.or(guard.hidden.1)));
        guard
    }

    /// The current ring, or else the one that is hidden: for posts, and for whoever must know
    /// whether a scheduler is at work on this thread.
    #[must_use]
    #[inline]
    pub fn at_work() -> Option<&'static Ring> {
        CURRENT.get().or_else(|| HIDDEN.get().1)
    }

    /// The ring of the task that is being polled.
    ///
    /// # Panics
    /// Outside a task.
    #[must_use]
    #[inline]
    pub fn of_running_task() -> &'static Ring {
        match current() {
            Some(ring) if ring.running().is_some() => ring,
            _ => outside_a_task(None),
        }
    }

    /// The same for a call that was made at `site`.
    #[inline]
    pub(crate) fn of_caller(site: &Location<'_>) -> &'static Ring {
        match current() {
            Some(ring) if ring.running().is_some() => ring,
            _ => outside_a_task(Some(site)),
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
        let nobody = ptr::eq(self.waker_data.get(), self.data_of_nobody());
        (!nobody).then_some(self.calls.caller.get())
    }

    /// What `waker_data` is while no task is polled.
    #[inline]
    pub(crate) fn data_of_nobody(&self) -> *const () {
        ptr::from_ref(self).cast()
    }

    /// How many more closures may run on threads: a token each.
    #[must_use]
    pub fn threads(&'static self) -> &'static WaitQueue {
        &self.threads
    }

    /// Posts a request that needs no answer.
    #[inline]
    pub fn post(&self, post: Post) {
        self.posts.push(post);
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
    pub(crate) fn own_waker_of(&'static self, waker: &Waker) -> Option<TaskId> {
        let current = current().is_some_and(|ring| ptr::eq(ring, self));
        let task = self.running()?;
        (current && ptr::eq(waker.data(), self.waker_data.get())).then_some(task)
    }

    /// Writes the call into the trap register, if it is the first of its turn and polled under its
    /// task's own waker.
    #[inline(always)]
    pub(crate) fn submit_first(
        request: Syscall,
        site: &'static Location<'static>,
        cx: &Context<'_>,
    ) -> Option<(&'static Ring, CallId)> {
        let ring = Ring::of_waker(cx)?;
        Some((ring, ring.calls.submit_first(request, site)?))
    }

    /// The same for a yield.
    #[inline(always)]
    pub(crate) fn submit_yield(
        site: &'static Location<'static>,
        cx: &Context<'_>,
    ) -> Option<(&'static Ring, CallId)> {
        let ring = Ring::of_waker(cx)?;
        Some((ring, ring.calls.submit_yield(site)?))
    }

    /// The current ring, if a task runs and this is its own waker.
    #[inline(always)]
    fn of_waker(cx: &Context<'_>) -> Option<&'static Ring> {
        current().filter(|ring| ptr::eq(cx.waker().data(), ring.waker_data.get()))
    }

    /// Whether the running task, if this is the current ring, is polled under its own waker.
    #[inline(always)]
    pub(crate) fn polls_under(&self, cx: &Context<'_>) -> bool {
        ptr::eq(cx.waker().data(), self.waker_data.get())
    }

    /// Writes the call into the trap register, or into the call table.
    pub(crate) fn submit(
        request: Syscall,
        site: &'static Location<'static>,
        cx: &Context<'_>,
    ) -> (&'static Ring, CallId) {
        let ring = Ring::of_caller(site);
        let waker = ring.foreign_waker(cx);
        let id = ring.calls.submit(request, site);
        if ring.scoped.is_polled_under(cx.waker()) {
            // Out of the register, whose calls are answered to the task alone.
            drop(ring.calls.table());
            ring.scoped.book(id);
        }
        if let Some(waker) = waker {
            ring.calls.table().book_elsewhere(id, waker);
        }
        (ring, id)
    }

    /// The waker that the running task polls under, if that is neither its own nor that of a child
    /// within it.
    // Cloned before there is a call: it is foreign code, and may panic.
    #[inline]
    pub(crate) fn foreign_waker(&self, cx: &Context<'_>) -> Option<Waker> {
        let own = ptr::eq(cx.waker().data(), self.waker_data.get());
        (!own && !self.scoped.is_polled_under(cx.waker())).then(|| cx.waker().clone())
    }

    /// Lays something bulky beside a request that was just submitted.
    pub(crate) fn lay_beside(&self, id: CallId, beside: Beside) {
        if let Beside::Body(body) = beside {
            self.calls.lay_body(id, body);
            return;
        }
        let mut calls = self.calls.table();
        let call = calls.get_mut(id).expect("a call that is submitted is in flight");
        call.put_beside(beside);
    }

    /// Takes the reply, if it is there; else books the call to whoever polls it now.
    #[inline]
    pub(crate) fn poll_call(&'static self, id: CallId, cx: &Context<'_>) -> Poll<Reply> {
        match self.calls.take_plain_reply(id) {
            Some(reply) => Poll::Ready(reply),
            None => self.poll_call_slowly(id, cx),
        }
    }

    /// Whether a yield is known to have been answered. False says no more than that one has to look.
    #[inline(always)]
    pub(crate) fn has_passed(&self, serial: NonZeroU64) -> bool {
        self.calls.has_passed(serial)
    }

    /// Polls a yield that was submitted through the register.
    pub(crate) fn poll_yield(&'static self, id: CallId, cx: &Context<'_>) -> Poll<Reply> {
        if self.calls.is_nowhere(id) {
            return Poll::Ready(Reply::Done);
        }
        self.poll_call_slowly(id, cx)
    }

    /// The future of a yield is gone.
    pub(crate) fn withdraw_yield(&self, id: CallId) {
        if !self.calls.is_nowhere(id) {
            self.withdraw(id);
        }
    }

    /// The same where there is no reply yet, or more to take than that.
    #[inline(never)]
    fn poll_call_slowly(&'static self, id: CallId, cx: &Context<'_>) -> Poll<Reply> {
        let mut calls = self.calls.table();
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
        let mut calls = self.calls.table();
        let beside = match calls.get_mut(id) {
            Some(call) if matches!(call.state, CallState::Answered(_)) => call.take_beside(),
            _ => Beside::Nothing,
        };
        drop(calls);
        self.poll_call(id, cx).map(|reply| (reply, beside))
    }

    #[inline(never)]
    fn rebook(&'static self, id: CallId, cx: &Context<'_>) {
        let child = self.scoped.is_polled_under(cx.waker());
        let own = self.own_waker_of(cx.waker()).is_some() || child;
        let elsewhere = current().is_none_or(|ring| !ptr::eq(ring, self));
        let task = if elsewhere { None } else { self.running() };
        let mut calls = self.calls.table();
        let call = calls.get_mut(id).expect("a call that is polled is in flight");
        if std::mem::replace(&mut call.task, task) != task
            && self.is_listened_to()
            && matches!(call.state, CallState::Blocked(_))
        {
            self.note(Note::Booked { call: id, task });
        }
        if !own && call.waker().is_some_and(|held| held.will_wake(cx.waker())) {
            return;
        }
        let stale = call.take_waker();
        drop(calls);
        drop(stale);
        if child {
            self.scoped.book(id);
        } else {
            self.scoped.unbook(id);
        }
        if !own {
            let waker = cx.waker().clone();
            let mut calls = self.calls.table();
            let call = calls.get_mut(id).expect("a call that is polled is in flight");
            let displaced = call.put_waker(waker);
            drop(calls);
            drop(displaced);
        }
    }

    /// The future of a call is gone: frees its slot, or leaves that to the kernel where it has a
    /// wait to forget.
    pub(crate) fn withdraw(&self, id: CallId) {
        let mut calls = self.calls.table();
        let Some(call) = calls.get_mut(id) else { return };
        let site = call.site;
        let tokens_of = match (call.state, call.request) {
            (CallState::Answered(Reply::Token), Syscall::Park(want)) => Some(want),
            _ => None,
        };
        if self.is_listened_to() {
            self.note_withdrawn(id, call);
        }
        match call.state {
            CallState::Blocked(On::Queue(queue)) | CallState::Queued(queue) => {
                self.leave_queue(queue, &mut calls, id);
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
            Syscall::Park(want) => Some(want.queue()),
            _ => None,
        });
        let leftover = calls.free(id);
        drop(calls);
        if let Some(want) = tokens_of {
            self.posts.forget_resume(id.place);
            self.tokens_returned(want, site);
        }
        if let Some(queue) = parked_on {
            self.queue_maybe_idle(queue);
        }
        drop(leftover);
    }

    /// Notes that a call is dropped, if the kernel is not to hear of it otherwise.
    #[cold]
    #[inline(never)]
    fn note_withdrawn(&self, id: CallId, call: &Call) {
        let unheard = match call.state {
            CallState::Blocked(On::Queue(_)) => true,
            CallState::Answered(_) => self.posts.has_granted(id),
            _ => false,
        };
        if unheard {
            let &Call { task, request, site, .. } = call;
            self.note(Note::Withdrawn { call: id, task, request, site });
        }
    }

    /// Notes that a call took its reply, if the kernel has not heard that it was granted.
    #[cold]
    #[inline(never)]
    pub(crate) fn note_taken(&self, call: CallId, reply: Reply) {
        if self.is_listened_to() && self.posts.has_granted(call) {
            self.note(Note::Answered { call, task: self.running(), reply });
        }
    }

    /// Detaches the task whose id is the reply that nobody took.
    pub(crate) fn detach_untaken(&self, id: CallId) {
        let state = self.calls.table().get(id).map(|call| call.state);
        if let Some(CallState::Answered(Reply::Task(task))) = state {
            self.post(Post::Detach(task));
        }
    }

    /// What a task with a handle left, if it has not been taken.
    #[inline]
    pub(crate) fn take_outcome(&self, key: u32, task: TaskId) -> Option<Outcome> {
        self.outcomes.borrow_mut().take(key, task)
    }
}

/// A pseudo-random number from the scheduler's seed.
///
/// The same seed and the same answers from outside give the same numbers. Not for secrets.
///
/// ```
/// let draw = || {
///     let mut scheduler = trapline_scheduler::Scheduler::builder().seed(7).build();
///     scheduler.block_on(async { trapline_abi::random() }).unwrap()
/// };
/// // The same seed, the same numbers.
/// assert_eq!(draw(), draw());
/// ```
///
/// # Panics
/// Outside a task.
///
/// # Cost
/// No trap; a few instructions.
#[must_use]
pub fn random() -> u64 {
    match Ring::at_work() {
        Some(ring) if ring.running().is_some() => ring.draw(),
        _ => outside_a_task(None),
    }
}
