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
use std::panic::Location;
use std::ptr;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use crate::call::{Post, Reply, Syscall};
use crate::call_table::{CallState, On};
use crate::estate::Estates;
use crate::id::{CallId, TaskId};
use crate::outcomes::{Outcome, Outcomes};
use crate::posts::Posts;
use crate::queue_entry::QueueEntry;
use crate::register::Calls;
use crate::scopes::Scopes;
use crate::source::SourceTable;
use crate::task::Beside;

thread_local! {
    /// The ring of the scheduler that is at work on this thread.
    pub(crate) static CURRENT: Cell<Option<&'static Ring>> = const { Cell::new(None) };
}

/// The task's side of the ring.
pub struct Ring {
    /// Which claim of the ring this is; 0 while it is retired.
    pub(crate) life: Cell<u64>,
    /// The task that is being polled.
    pub(crate) running: Cell<Option<TaskId>>,
    /// The data pointer of that task's own waker.
    pub(crate) waker_data: Cell<*const ()>,
    /// What is left of the task's quantum.
    pub(crate) budget: Cell<u32>,
    /// The state of the scheduler's random numbers.
    pub(crate) random: Cell<u64>,
    /// Whether anything has been posted.
    pub(crate) has_posts: Cell<bool>,
    pub(crate) posts: RefCell<Posts>,
    pub(crate) calls: Calls,
    pub(crate) queues: RefCell<Slab<QueueEntry>>,
    pub(crate) sources: RefCell<SourceTable>,
    pub(crate) outcomes: RefCell<Outcomes>,
    pub(crate) scopes: Scopes,
    pub(crate) estates: Estates,
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
    /// A ring without a scheduler, the `number`-th of the process.
    pub(crate) fn new(number: u64) -> Ring {
        Ring {
            life: Cell::new(0),
            running: Cell::new(None),
            waker_data: Cell::new(ptr::null()),
            budget: Cell::new(0),
            random: Cell::new(0),
            has_posts: Cell::new(false),
            posts: RefCell::default(),
            calls: Calls::new(number),
            queues: RefCell::default(),
            sources: RefCell::default(),
            outcomes: RefCell::default(),
            scopes: Scopes::default(),
            estates: Estates::default(),
        }
    }

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
        self.posts.borrow_mut().push(post);
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
    pub(crate) fn own_waker_of(&'static self, waker: &Waker) -> Option<TaskId> {
        let current = current().is_some_and(|ring| ptr::eq(ring, self));
        let task = self.running.get()?;
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
        let ring = current()?;
        let task = ring.running.get()?;
        if !ptr::eq(cx.waker().data(), ring.waker_data.get()) {
            return None;
        }
        Some((ring, ring.calls.submit_first(task, request, site)?))
    }

    /// Writes the call into the trap register, or into the call table.
    pub(crate) fn submit(
        request: Syscall,
        site: &'static Location<'static>,
        cx: &Context<'_>,
    ) -> (&'static Ring, CallId) {
        let ring = Ring::of_running_task();
        let (task, waker) = ring.caller(cx);
        let id = ring.calls.submit(task, request, site);
        if let Some(waker) = waker {
            ring.calls.table().book_elsewhere(id, waker);
        }
        (ring, id)
    }

    /// The running task, and the waker that it polls under if that is not its own.
    // Cloned before there is a call: it is foreign code, and may panic.
    #[inline]
    pub(crate) fn caller(&self, cx: &Context<'_>) -> (TaskId, Option<Waker>) {
        let Some(task) = self.running.get() else { outside_a_task() };
        let own = ptr::eq(cx.waker().data(), self.waker_data.get());
        (task, if own { None } else { Some(cx.waker().clone()) })
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
        let own = self.own_waker_of(cx.waker());
        let elsewhere = current().is_none_or(|ring| !ptr::eq(ring, self));
        let task = if elsewhere { None } else { self.running.get() };
        let mut calls = self.calls.table();
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
            self.tokens_returned(want, site);
        }
        if let Some(queue) = parked_on {
            self.queue_maybe_idle(queue);
        }
        drop(leftover);
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
/// # Panics
/// Outside a task.
///
/// # Cost
/// No trap; a few instructions.
#[must_use]
pub fn random() -> u64 {
    Ring::of_running_task().draw()
}
