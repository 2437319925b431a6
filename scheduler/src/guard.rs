//! Foreign code, and who hears of what it did.

use std::any::Any;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;

use trapline_abi::{Note, TaskId};

use crate::kernel::Kernel;
use crate::probe::Event;
use crate::report::Failure;

/// How many failures are kept with their text; all are counted.
const FAILURES_KEPT: usize = 8;

impl Kernel {
    /// Runs foreign code (a destructor, a waker): a panic in it is reported, and stays here.
    pub(crate) fn guard(&mut self, task: Option<TaskId>, foreign: impl FnOnce()) {
        let Err(payload) = catch_unwind(AssertUnwindSafe(foreign)) else { return };
        let text = text_of(&*payload);
        // The payload's own destructor may panic, too; then it is let go.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(again);
        }
        let task = task.or(self.current).or(self.root);
        self.failures += 1;
        if let Some(task) = task {
            self.note_failure(task, &text);
        }
    }

    pub(crate) fn failed(&mut self, task: TaskId, text: &str) {
        self.failures += 1;
        self.note_failure(task, text);
    }

    fn note_failure(&mut self, task: TaskId, text: &str) {
        if self.first_failures.len() < FAILURES_KEPT {
            self.first_failures.push(Failure { task, text: text.into() });
        }
        if self.probe.is_some() {
            self.tell(&Event::Failed { task, text });
        }
    }

    pub(crate) fn warn(&mut self, text: &'static str, site: &'static Location<'static>) {
        if self.probe.is_some() {
            self.tell(&Event::Warning { text, site });
        } else {
            eprintln!("trapline: {text} ({site})");
        }
    }

    /// Somebody listens, or nobody any more.
    pub(crate) fn listen(&self, listens: bool) {
        self.ring.listen(listens);
        self.inbox.sign(listens);
    }

    /// Tells the probe, and before that what has been noted since it was last told of anything.
    #[cold]
    #[inline(never)]
    pub(crate) fn tell(&mut self, event: &Event<'_>) {
        if self.ring.has_news() {
            self.tell_notes();
        }
        self.tell_one(event);
    }

    /// Tells the probe what the library has noted, in order.
    #[cold]
    #[inline(never)]
    pub(crate) fn tell_notes(&mut self) {
        if self.ring.has_frames() {
            for (stack, site, around) in self.ring.take_frames() {
                self.tell_one(&Event::Frame { stack, site, around });
            }
        }
        let mut notes = std::mem::take(&mut self.notes);
        self.ring.swap_notes(&mut notes);
        for note in &notes {
            // What becomes of a call is told in one way, wherever it is known from.
            match *note {
                Note::Withdrawn { call, task, request, site } => {
                    self.tell_one(&Event::Withdrawn { task, call, request, site });
                }
                Note::Answered { call, task, reply } => {
                    let by = self.cause;
                    self.tell_one(&Event::Answered { task, call, reply, by });
                }
                ref note => self.tell_one(&Event::Noted { note }),
            }
        }
        notes.clear();
        self.notes = notes;
    }

    /// Tells the probe. One that panics is removed.
    #[inline(always)]
    fn tell_one(&mut self, event: &Event<'_>) {
        let Some(probe) = &mut self.probe else { return };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| probe.event(event))) {
            self.remove_probe(payload);
        }
    }

    #[cold]
    #[inline(never)]
    fn remove_probe(&mut self, payload: Box<dyn Any + Send>) {
        self.probe_panic = Some(text_of(&*payload));
        let probe = self.probe.take();
        self.listen(false);
        self.guard(None, move || drop((probe, payload)));
    }
}

/// What a panic said.
pub(crate) fn text_of(payload: &(dyn Any + Send)) -> Rc<str> {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        return Rc::from(*text);
    }
    match payload.downcast_ref::<String>() {
        Some(text) => Rc::from(text.as_str()),
        None => Rc::from("a panic with a payload that is no text"),
    }
}
