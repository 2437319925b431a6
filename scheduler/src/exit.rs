//! Ending: destructors run, waiters are told, and what a handle may still ask for is kept.

use std::pin::Pin;
use std::rc::Rc;

use trapline_abi::{Beside, ExitStatus, Panic, Reply, Syscall, TaskBody, TaskId};

use crate::guard::text_of;
use crate::kernel::{End, Found, Kernel, Payload};
use crate::probe::{Cause, Event};
use crate::scheduler::{Ask, Root};
use crate::task::{Exit, How, State};

/// Who was told of an exit.
#[derive(Clone, Copy)]
struct Told {
    handle: bool,
    /// Anyone else.
    others: bool,
}

impl Kernel {
    #[inline]
    pub(crate) fn find(&mut self, id: TaskId) -> Found<'_> {
        if let Some(task) = self.tasks.get_mut(id) {
            return match &mut task.state {
                State::Runnable | State::Blocked => Found::Live,
                State::Ended(exit) => Found::Ended(exit),
                State::Ending | State::Gone => Found::Forgotten,
            };
        }
        let spawned = self.sequence.wrapped || id.sequence() <= self.sequence.last;
        if spawned { Found::Forgotten } else { Found::Never }
    }

    /// Ends a live task: its destructors run, then its waiters are told, in order.
    pub(crate) fn end(&mut self, id: TaskId, end: End) {
        let (how, payload) = end.into_parts();
        self.end_as(id, how, payload);
    }

    /// The same with what `End` is made of, which comes in registers.
    pub(crate) fn end_as(&mut self, id: TaskId, how: How, payload: Option<Payload>) {
        let Found::Live = self.find(id) else { return self.lose(id, payload) };
        let task = self.tasks.live(id);
        let was_runnable = matches!(task.state, State::Runnable);
        let (daemon, has_handle) = (task.daemon, task.has_handle);
        // Ended from here on: what the destructors post about it changes nothing.
        task.state = State::Ending;
        let mut body = task.body.take();
        let has_handle = has_handle && body.as_ref().is_none_or(|body| body.leaves_outcome());
        if self.current == Some(id) {
            self.current = None;
        } else if was_runnable {
            self.ready.leave_gap(&self.tasks);
        }
        self.population -= 1;
        self.live -= usize::from(!daemon);
        let (bad, mut payload) = match how {
            How::Panicked | How::Cancelled => self.bad_end_of(id, body.as_mut(), payload),
            How::Returned | How::Killed => (None, None),
        };
        self.ring.forget_cancel(id);
        if let Some(estate) = self.ring.take_estate(id) {
            self.guard(Some(id), move || drop(estate));
        }
        let keeps_output = has_handle && how == How::Returned;
        if !keeps_output && let Some(body) = body.take() {
            self.guard(Some(id), move || drop(body));
        }
        if self.probe.is_some() {
            let status = bad.clone().unwrap_or_else(|| status_of(how));
            self.tell(&Event::Ended { task: id, status: &status });
        }
        if self.root == Some(id) {
            self.keep_root_end(bad.as_ref(), how, payload.take());
        }
        if has_handle {
            self.leave_outcome(id, how, body, bad, payload);
        } else {
            self.leave_nothing(id, how, bad, payload);
        }
    }

    /// How a task ended that panicked or was cancelled: that is more than a byte. Whoever spawned it from
    /// another thread is told, and takes the panic; what is left of that is the kernel's.
    #[cold]
    #[inline(never)]
    fn bad_end_of(
        &mut self,
        id: TaskId,
        body: Option<&mut Pin<Box<dyn TaskBody>>>,
        payload: Option<Payload>,
    ) -> (Option<ExitStatus>, Option<Payload>) {
        let Some(payload) = payload else {
            let why = self.ring.cancel_state(id).0;
            if let (Some(body), Some(why)) = (body, &why) {
                body.as_mut().cancelled(why);
            }
            return (why.map(ExitStatus::Cancelled), None);
        };
        let status = Some(ExitStatus::Panicked(text_of(&*payload)));
        let Some(body) = body else { return (status, Some(payload)) };
        let mut left = None;
        self.guard(Some(id), || left = body.as_mut().panicked(payload));
        (status, left)
    }

    /// `block_on` takes the panic of its future itself.
    fn keep_root_end(&mut self, bad: Option<&ExitStatus>, how: How, payload: Option<Payload>) {
        self.root_end = Some(match (how, payload, bad) {
            (How::Panicked, Some(payload), _) => End::Panicked(payload),
            (How::Returned, ..) => End::Returned,
            (How::Cancelled, _, Some(ExitStatus::Cancelled(why))) => End::Cancelled(why.clone()),
            _ => End::Killed,
        });
    }

    /// Ends a task by order. The root of `block_on` lies on the stack below this step, which ends
    /// it before it is over.
    pub(crate) fn kill(&mut self, id: TaskId) {
        if self.root != Some(id) {
            self.end(id, End::Killed);
        } else if let Found::Live = self.find(id) {
            self.doom_root(End::Killed);
        }
    }

    /// The task has ended already: a panic that comes too late for it is a failure nobody sees.
    fn lose(&mut self, id: TaskId, payload: Option<Payload>) {
        let Some(payload) = payload else { return };
        let text = text_of(&*payload);
        self.failed(id, &text);
        self.guard(Some(id), move || drop(payload));
    }

    pub(crate) fn doom_root(&mut self, end: End) {
        match self.root {
            Some(root) if self.root_doom.is_some() => self.lose(root, end.into_parts().1),
            _ => self.root_doom = Some(end),
        }
        self.has_orders = true;
    }

    /// Ends the root, which was killed in this step.
    #[cold]
    pub(crate) fn bury_root(&mut self, root: Option<&mut Root<'_>>) {
        let end = self.root_doom.take().unwrap_or(End::Killed);
        if let (Some(id), Some(root)) = (self.root, root) {
            self.guard(Some(id), || {
                let _ = root(Ask::Drop);
            });
            self.end(id, end);
            self.serve_posts();
        }
    }

    /// Leaves the outcome for the handle, and tells the waiters.
    fn leave_outcome(
        &mut self,
        id: TaskId,
        how: How,
        body: Option<Pin<Box<dyn TaskBody>>>,
        bad: Option<ExitStatus>,
        payload: Option<Payload>,
    ) {
        let panic = payload.map(|payload| {
            let text = text_in(bad.as_ref());
            Box::new(Panic { text, payload, observed: false })
        });
        let cancelled = match &bad {
            Some(ExitStatus::Cancelled(why)) => Some(why.clone()),
            _ => None,
        };
        let outcome = self.ring.keep_outcome(id, body, panic, cancelled);
        // Most often the handle waits, and nobody else.
        let (waiters, reply) = (&self.tasks.record(id).waiters, Reply::Outcome(outcome.into()));
        if self.probe.is_none()
            && let Some(task) = self.ring.answer_sole_join(waiters, reply)
        {
            self.make_ready(task);
            self.let_go(id, outcome, false);
            return;
        }
        let told = self.tell_waiters(id, how, bad.as_ref(), u64::from(outcome));
        if told.handle {
            self.let_go(id, outcome, told.others);
            return;
        }
        let exit = Exit { outcome, how, observed: told.others };
        self.tasks.live(id).state = State::Ended(exit);
        if let Some(bad) = bad {
            self.bad_ends.insert(id, bad);
        }
    }

    /// The handle is told of the exit: the outcome is its own now, and the kernel keeps nothing.
    fn let_go(&mut self, id: TaskId, outcome: u32, observed: bool) {
        self.tasks.remove(id);
        if observed {
            self.ring.note_observed(outcome, id);
        }
    }

    /// Tells the handle of a task that ended before it asked. Gives the key of the outcome.
    pub(crate) fn tell_handle(&mut self, id: TaskId, exit: Exit) -> u64 {
        self.let_go(id, exit.outcome, exit.observed);
        if exit.how.is_bad() {
            self.bad_ends.remove(&id);
        }
        u64::from(exit.outcome)
    }

    /// Tells the waiters, and leaves nothing behind: nobody has a handle.
    fn leave_nothing(
        &mut self,
        id: TaskId,
        how: How,
        bad: Option<ExitStatus>,
        payload: Option<Payload>,
    ) {
        let told = self.tell_waiters(id, how, bad.as_ref(), u64::MAX);
        // A payload that is not here was taken by whoever is told of the panic: `block_on`, a thread.
        let observed = told.others || payload.is_none();
        self.tasks.remove(id);
        if let (Some(ExitStatus::Panicked(text)), false) = (bad, observed) {
            self.failed(id, &text);
        }
        if let Some(payload) = payload {
            self.guard(None, move || drop(payload));
        }
    }

    /// Answers those who wait for the exit, in order.
    #[inline]
    fn tell_waiters(&mut self, id: TaskId, how: How, bad: Option<&ExitStatus>, key: u64) -> Told {
        let waiters = std::mem::take(&mut self.tasks.record_mut(id).waiters);
        let mut told = Told { handle: false, others: false };
        let before = std::mem::replace(&mut self.cause, Cause::Exit(id));
        let reply_to = |request| match request {
            Syscall::Join(_) => Reply::Outcome(key),
            _ => Reply::Exited(how.into()),
        };
        while let Some((call, reply, booking)) = self.ring.answer_waiter(&waiters, reply_to) {
            let Some(booking) = booking else { continue };
            if let Reply::Outcome(_) = reply {
                told.handle = true;
            } else {
                told.others = true;
                if let Some(bad) = bad {
                    // A call whose future is gone needs no status.
                    let _ = self.ring.put_beside(call, Beside::Status(bad.clone()));
                }
            }
            self.resume_answered(call, reply, booking);
        }
        self.cause = before;
        told
    }

    /// The handle of a task is gone.
    pub(crate) fn detach(&mut self, id: TaskId) {
        let exit = match self.find(id) {
            Found::Live => {
                self.tasks.live(id).has_handle = false;
                return;
            }
            Found::Ended(exit) => *exit,
            Found::Forgotten | Found::Never => return,
        };
        self.tasks.remove(id);
        let untaken = self.ring.take_outcome(exit.outcome, id);
        if exit.how.is_bad()
            && let Some(ExitStatus::Panicked(text)) = self.bad_ends.remove(&id)
            && untaken.is_some()
            && !exit.observed
        {
            self.failed(id, &text);
        }
        if let Some(untaken) = untaken {
            self.guard(Some(id), move || drop(untaken));
        }
    }

    /// The handle of a task is gone that was told, and has not taken the outcome.
    pub(crate) fn discard(&mut self, id: TaskId, outcome: u32) {
        let Some(untaken) = self.ring.take_outcome(outcome, id) else { return };
        if let Some(panic) = &untaken.panic
            && !panic.observed
        {
            let text = Rc::clone(&panic.text);
            self.failed(id, &text);
        }
        self.guard(Some(id), move || drop(untaken));
    }

    /// How a task ended whose handle has not been told.
    pub(crate) fn status_of(&self, id: TaskId, exit: Exit) -> ExitStatus {
        self.bad_ends.get(&id).cloned().unwrap_or_else(|| status_of(exit.how))
    }
}

/// The status of a task that ended so, where a byte says it all.
fn status_of(how: How) -> ExitStatus {
    match how {
        How::Returned => ExitStatus::Returned,
        How::Killed => ExitStatus::Killed,
        How::Panicked | How::Cancelled => ExitStatus::Forgotten,
    }
}

fn text_in(status: Option<&ExitStatus>) -> Rc<str> {
    match status {
        Some(ExitStatus::Panicked(text)) => Rc::clone(text),
        _ => Rc::default(),
    }
}

/// The end of everything.
impl Kernel {
    /// Drops the bodies of all tasks, in the order of their places.
    pub(crate) fn drop_tasks(&mut self) {
        for place in 0..self.tasks.places() {
            let Some(task) = self.tasks.at(place) else { continue };
            let (id, body) = (task.id, task.body.take());
            let estate = self.ring.take_estate(id);
            self.guard(Some(id), move || drop(estate));
            self.guard(Some(id), move || drop(body));
        }
    }

    /// Drops what was posted to be spawned, once; all else that was posted no longer matters.
    pub(crate) fn drop_posts(&mut self) {
        let mut posts = Vec::new();
        while let Some(post) = self.ring.next_post() {
            posts.push(post);
        }
        for post in posts {
            self.guard(None, move || drop(post));
        }
    }
}
