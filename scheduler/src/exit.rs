//! Ending: destructors run, waiters are told, and what a handle may still ask for is kept.

use std::any::Any;
use std::pin::Pin;
use std::rc::Rc;

use trapline_abi::{Beside, ExitStatus, Outcome, Reply, Syscall, TaskBody, TaskId};

use crate::guard::text_of;
use crate::kernel::{End, Found, Kernel};
use crate::probe::Event;
use crate::scheduler::{Ask, Root};
use crate::task::{Exit, State, Task};

/// How many wakers of ended tasks are kept for tasks to come: enough that spawning in a loop
/// allocates none, few enough not to matter (64 KiB).
const SPARE_WAKERS: usize = 1024;

impl Kernel {
    pub(crate) fn find(&mut self, id: TaskId) -> Found<'_> {
        let spawned = self.sequence.wrapped || id.sequence() <= self.sequence.last;
        match self.tasks.get_mut(id.place()).filter(|task| task.id == id) {
            Some(task) if task.is_live() => Found::Live(task),
            Some(Task { state: State::Ended(exit), .. }) => Found::Ended(exit),
            _ if spawned => Found::Forgotten,
            _ => Found::Never,
        }
    }

    /// Ends a live task: its destructors run, then its waiters are told, in order.
    pub(crate) fn end(&mut self, id: TaskId, end: End) {
        let Found::Live(task) = self.find(id) else { return self.lose(id, end) };
        let was_ready = matches!(task.state, State::Ready);
        let (daemon, has_handle) = (task.daemon, task.has_handle);
        // Ended from here on: what the destructors post about it changes nothing.
        let status = ExitStatus::Killed;
        let exit = Exit { status, outcome: u64::MAX, observed: false };
        task.state = State::Ended(Box::new(exit));
        let mut body = task.body.take();
        if was_ready {
            self.ready.leave_gap(&self.tasks);
        }
        if self.current == Some(id) {
            self.current = None;
        }
        self.population -= 1;
        self.live -= usize::from(!daemon);

        let (status, payload) = match end {
            End::Returned => (ExitStatus::Returned, None),
            End::Killed => (ExitStatus::Killed, None),
            End::Panicked(payload) => (ExitStatus::Panicked(text_of(&*payload)), Some(payload)),
        };
        let keeps_output = has_handle && matches!(status, ExitStatus::Returned);
        if !keeps_output && let Some(body) = body.take() {
            self.guard(Some(id), move || drop(body));
        }
        if self.probe.is_some() {
            self.tell(&Event::Ended { task: id, status: &status });
        }
        let payload =
            if self.root == Some(id) { self.keep_root_end(&status, payload) } else { payload };
        self.leave(id, status, body, payload);
    }

    /// `block_on` takes the panic of its future itself.
    fn keep_root_end(
        &mut self,
        status: &ExitStatus,
        payload: Option<Box<dyn Any + Send>>,
    ) -> Option<Box<dyn Any + Send>> {
        self.root_end = Some(match (status, payload) {
            (ExitStatus::Panicked(_), Some(payload)) => End::Panicked(payload),
            (ExitStatus::Returned, _) => End::Returned,
            _ => End::Killed,
        });
        None
    }

    /// Ends a task by order. The root of `block_on` lies on the stack below this step, which ends
    /// it before it is over.
    pub(crate) fn kill(&mut self, id: TaskId) {
        if self.root != Some(id) {
            self.end(id, End::Killed);
        } else if let Found::Live(_) = self.find(id) {
            self.doom_root(End::Killed);
        }
    }

    /// The task has ended already: a panic that comes too late for it is a failure nobody sees.
    fn lose(&mut self, id: TaskId, end: End) {
        if let End::Panicked(payload) = &end {
            let text = text_of(&**payload);
            self.failed(id, &text);
        }
        self.guard(Some(id), move || drop(end));
    }

    pub(crate) fn doom_root(&mut self, end: End) {
        match self.root {
            Some(root) if self.root_doom.is_some() => self.lose(root, end),
            _ => self.root_doom = Some(end),
        }
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

    /// Tells the waiters, and leaves the outcome for the handle, if there is one.
    fn leave(
        &mut self,
        id: TaskId,
        status: ExitStatus,
        body: Option<Pin<Box<dyn TaskBody>>>,
        payload: Option<Box<dyn Any + Send>>,
    ) {
        let task = &mut self.tasks[id.place()];
        let has_handle = task.has_handle;
        let mut waiters = std::mem::take(&mut task.waiters);
        let ended = status.ended();
        let text = match &status {
            ExitStatus::Panicked(text) => Some(Rc::clone(text)),
            _ => None,
        };
        let mut observed = self.root == Some(id);
        let mut key = u64::MAX;
        let mut unclaimed = payload;
        if has_handle {
            let payload = unclaimed.take();
            key =
                self.ring.keep_outcome(Outcome { task: id, status: status.clone(), body, payload });
        }
        while let Some(call) = self.ring.pop_waiter(&mut waiters) {
            if matches!(self.ring.request(call), Some(Syscall::Join(_))) {
                self.answer(call, Reply::Outcome(key));
                continue;
            }
            observed = true;
            if let Some(text) = &text {
                // A call whose future is gone needs no text.
                let _ = self.ring.put_beside(call, Beside::Text(Rc::clone(text)));
            }
            self.answer(call, Reply::Exited(ended));
        }
        if has_handle {
            let exit = Exit { status, outcome: key, observed };
            self.tasks[id.place()].state = State::Ended(Box::new(exit));
        } else {
            self.forget(id);
            if let (Some(text), false) = (text, observed) {
                self.failed(id, &text);
            }
        }
        if let Some(payload) = unclaimed {
            self.guard(None, move || drop(payload));
        }
    }

    /// Takes an ended task out of the table; its waker is kept for another one if nobody else
    /// holds it.
    fn forget(&mut self, id: TaskId) {
        let task = self.tasks.remove(id.place());
        if self.spare_wakers.len() < SPARE_WAKERS && !task.waker.is_held_elsewhere() {
            self.spare_wakers.push(task.waker);
        }
    }

    /// The handle of a task is gone.
    pub(crate) fn detach(&mut self, id: TaskId) {
        let exit = match self.find(id) {
            Found::Live(task) => {
                task.has_handle = false;
                return;
            }
            Found::Ended(exit) => (exit.outcome, exit.observed, exit.status.clone()),
            Found::Forgotten | Found::Never => return,
        };
        let (key, observed, status) = exit;
        self.forget(id);
        let untaken = self.ring.take_outcome(key, id);
        if let (ExitStatus::Panicked(text), true, false) = (status, untaken.is_some(), observed) {
            self.failed(id, &text);
        }
        self.guard(Some(id), move || drop(untaken));
    }
}

/// The end of everything.
impl Kernel {
    /// Drops the bodies of all tasks, in the order of their places.
    pub(crate) fn drop_tasks(&mut self) {
        for place in 0..self.tasks.capacity() {
            let Some(task) = self.tasks.get_mut(place) else { continue };
            let (id, body) = (task.id, task.body.take());
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
