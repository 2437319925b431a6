//! The agent: what lives in a program that is listened to.
//!
//! It uses the scheduler's public face only: its run is a loop around the same `step`. A probe hands each
//! event to the *outlets*; between two steps they may look at the scheduler, which a probe may not. The
//! program's own probe goes on hearing what it heard before.

mod feed;
mod heard;
mod lines;
mod page;
mod recorder;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::rc::Rc;

use trapline_abi::Ring;
use trapline_scheduler::__private::complain;
use trapline_scheduler::{Event, Probe, RunError, RunReport, Scheduler, Step};

use crate::monitor::Monitor;
use crate::record::About;
use crate::words::{RecordOptions, Word};

pub use feed::{Behind, Feed, Intake, feed};
pub use heard::Heard;
use heard::Outlets;
pub use lines::Lines;
pub use recorder::{Recorder, RecorderOptions};

/// Who hears of a run: each with a scribe of its own.
pub trait Outlet {
    /// The run begins, from the state that the scheduler is in.
    fn begin(&mut self, scheduler: &mut Scheduler);

    /// Something happened.
    fn event(&mut self, event: &Event<'_>);

    /// A step is over.
    fn step_end(&mut self, scheduler: &mut Scheduler, step: &Step);

    /// The loop may be about to sleep: what has been heard is to be there for others to see.
    fn publish(&mut self) {}

    /// All that has happened is to be there for others to see, between two steps, whatever it costs.
    fn catch_up(&mut self, _scheduler: &mut Scheduler) {}

    /// A sentence of whoever acts between two steps.
    fn say(&mut self, _about: About, _topic: &'static str, _text: &str) {}

    /// What the program around the scheduler does to it is done by an order, from here on or no longer.
    fn set_ordered(&mut self, _is_ordered: bool) {}

    /// The run is over. It is called once, by a panic too.
    fn end(&mut self) {}
}

/// Who does something between two steps: orders, say.
pub trait Between {
    /// The first step is about to be taken.
    fn before(&mut self, _scheduler: &mut Scheduler, _heard: &Heard) {}

    /// A step is over, and the outlets have heard of it.
    fn between(&mut self, scheduler: &mut Scheduler, step: &Step, heard: &Heard);
}

/// Outlets, and who else is to have a turn between the steps of a run.
///
/// A program seldom makes one: [`run`](crate::run) and its kin do, as the environment says. One that does
/// chooses its outlets itself, or takes the steps itself and [attaches](Agent::attach) it:
///
/// ```
/// use trapline_scheduler::Scheduler;
/// use trapline_trace::agent::{Agent, Lines};
///
/// let mut scheduler = Scheduler::new();
/// scheduler.spawn(async {}).detach();
/// // `0.000 T1 born  src/main.rs:6` and so on, on standard error.
/// let mut attached = Agent::new().outlet(Lines::new()).attach(&mut scheduler);
/// attached.before(&mut scheduler);
/// loop {
///     let step = scheduler.step();
///     attached.after(&mut scheduler, &step);
///     if step.is_last() {
///         break;
///     }
/// }
/// attached.detach(&mut scheduler);
/// ```
#[derive(Default)]
pub struct Agent {
    outlets: Vec<Box<dyn Outlet>>,
    between: Vec<Box<dyn Between>>,
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (outlets, between) = (self.outlets.len(), self.between.len());
        f.debug_struct("Agent").field("outlets", &outlets).field("between", &between).finish()
    }
}

impl Agent {
    /// One with nobody who listens.
    #[must_use]
    pub fn new() -> Agent {
        Agent::default()
    }

    /// Who listens as the words say. What cannot be had is told of in a line on standard error, and the
    /// program runs without it.
    #[must_use]
    pub fn of_words(words: &[Word], options: &RecordOptions) -> Agent {
        let mut agent = Agent::new();
        for word in words {
            match word {
                Word::Strace => agent.outlets.push(Box::new(Lines::new())),
                Word::Record(file) => {
                    let recorder = Recorder::open(file, &RecorderOptions::new(options));
                    match recorder {
                        Ok(recorder) => agent.outlets.push(Box::new(recorder)),
                        Err(error) => complain(format_args!("{error}; this run is not recorded")),
                    }
                }
                Word::Monitor { socket, manner } => {
                    match Monitor::open(socket.as_deref(), *manner) {
                        Ok((monitor, orders)) => {
                            complain(format_args!(
                                "the monitor is at {}",
                                monitor.path().display()
                            ));
                            agent = agent.outlet(monitor).between(orders);
                        }
                        Err(error) => complain(format_args!("{error}; this run has no monitor")),
                    }
                }
                // It is for whoever makes the scheduler.
                Word::Virtual => {}
            }
        }
        agent
    }

    /// Adds an outlet.
    #[must_use]
    pub fn outlet(mut self, outlet: impl Outlet + 'static) -> Agent {
        self.outlets.push(Box::new(outlet));
        self
    }

    /// Adds somebody who has a turn between two steps.
    #[must_use]
    pub fn between(mut self, between: impl Between + 'static) -> Agent {
        self.between.push(Box::new(between));
        self
    }

    /// Whether nobody listens.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.outlets.is_empty() && self.between.is_empty()
    }

    /// As [`Scheduler::run`], listened to.
    ///
    /// # Errors
    /// As [`Scheduler::run`].
    pub fn run(self, scheduler: &mut Scheduler) -> Result<RunReport, RunError> {
        if Ring::at_work().is_some() || self.is_idle() {
            return scheduler.run();
        }
        self.attach(scheduler).run(scheduler)
    }

    /// As [`Scheduler::block_on`], listened to.
    ///
    /// # Errors
    /// As [`Scheduler::block_on`].
    ///
    /// # Panics
    /// With the panic of `future`.
    #[track_caller]
    pub fn block_on<F: Future>(
        self,
        scheduler: &mut Scheduler,
        future: F,
    ) -> Result<F::Output, RunError> {
        if Ring::at_work().is_some() || self.is_idle() {
            return scheduler.block_on(future);
        }
        let mut attached = self.attach(scheduler);
        // A panic of the future passes through: then the outlets end where `attached` is dropped.
        let result = scheduler.block_on_around(future, |scheduler, step| match step {
            Some(step) => attached.after(scheduler, step),
            None => attached.before(scheduler),
        });
        attached.detach(scheduler);
        result
    }

    /// Begins to listen to a scheduler whose steps the caller takes.
    #[must_use]
    pub fn attach(self, scheduler: &mut Scheduler) -> Attached {
        let Agent { mut outlets, between } = self;
        for outlet in &mut outlets {
            outlet.begin(scheduler);
        }
        let outlets: Outlets = Rc::new(RefCell::new(outlets));
        let heard = Heard { outlets: Rc::clone(&outlets), has_acted: Cell::new(false) };
        let own = Rc::new(RefCell::new(Own { probe: None, panic: None }));
        let before = scheduler.set_probe(Some(Box::new(Teller {
            outlets: Rc::clone(&outlets),
            own: Rc::clone(&own),
        })));
        own.borrow_mut().probe = before;
        Attached { outlets, heard, between, own, process: process::id() }
    }
}

/// An agent at work.
pub struct Attached {
    outlets: Outlets,
    heard: Heard,
    between: Vec<Box<dyn Between>>,
    own: Rc<RefCell<Own>>,
    /// The process that is listened to.
    process: u32,
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached").finish_non_exhaustive()
    }
}

impl Attached {
    /// To be called before the first step, once the tasks are there with which the run begins.
    pub fn before(&mut self, scheduler: &mut Scheduler) {
        for between in &mut self.between {
            between.before(scheduler, &self.heard);
        }
        self.publish_acts(scheduler);
    }

    /// To be called after each step.
    pub fn after(&mut self, scheduler: &mut Scheduler, step: &Step) {
        for outlet in self.outlets.borrow_mut().iter_mut() {
            outlet.step_end(scheduler, step);
        }
        if self.between.is_empty() {
            return;
        }
        for between in &mut self.between {
            between.between(scheduler, step, &self.heard);
        }
        self.publish_acts(scheduler);
    }

    #[inline]
    fn publish_acts(&self, scheduler: &Scheduler) {
        // Else what happened is published with the next dispatch, or was with this step.
        if self.heard.has_acted.take() || !scheduler.has_ready() {
            self.heard.publish();
        }
    }

    /// Takes the steps of a run.
    ///
    /// # Errors
    /// As [`Scheduler::run`].
    pub fn run(mut self, scheduler: &mut Scheduler) -> Result<RunReport, RunError> {
        self.before(scheduler);
        let last = loop {
            let step = scheduler.step();
            self.after(scheduler, &step);
            if step.is_last() {
                break step;
            }
        };
        self.detach(scheduler);
        scheduler.outcome(last)
    }

    /// Ends the listening, and gives the program's own probe its place back. If that one has panicked, the
    /// scheduler's next report tells of it, as it does where nobody listens.
    pub fn detach(self, scheduler: &mut Scheduler) {
        let Own { probe, panic } = self.own.replace(Own { probe: None, panic: None });
        drop(scheduler.set_probe(probe));
        if let Some(text) = panic {
            scheduler.note_probe_panic(text);
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // Taken away: where a panic passes, the probe stays, and hands on to the program's own alone.
        let outlets = self.outlets.take();
        if process::id() != self.process {
            // A fork of the process has copies of all this, but none of the threads that they wait for; and
            // what they tidy up is not its own.
            mem::forget((outlets, mem::take(&mut self.between)));
            return;
        }
        for mut outlet in outlets {
            outlet.end();
        }
    }
}

/// The program's own probe. If it panics it is removed, as the kernel would do.
struct Own {
    probe: Option<Box<dyn Probe>>,
    panic: Option<Rc<str>>,
}

/// The probe of a scheduler that is listened to.
struct Teller {
    outlets: Outlets,
    own: Rc<RefCell<Own>>,
}

impl Probe for Teller {
    fn event(&mut self, event: &Event<'_>) {
        if self.own.borrow().probe.is_some() {
            self.tell_own(event);
        }
        for outlet in self.outlets.borrow_mut().iter_mut() {
            outlet.event(event);
        }
    }
}

impl Teller {
    #[cold]
    fn tell_own(&self, event: &Event<'_>) {
        // Taken out, since it is foreign code.
        let Some(mut probe) = self.own.borrow_mut().probe.take() else { return };
        match catch_unwind(AssertUnwindSafe(|| probe.event(event))) {
            Ok(()) => self.own.borrow_mut().probe = Some(probe),
            Err(payload) => {
                self.own.borrow_mut().panic = Some(text_of(&*payload));
                // Not while the first panic passes: their destructors may panic, too. What such a one says
                // has a destructor again.
                let dropped = catch_unwind(AssertUnwindSafe(move || drop((probe, payload))));
                dropped.unwrap_or_else(mem::forget);
            }
        }
    }
}

fn text_of(payload: &(dyn Any + Send)) -> Rc<str> {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).into(),
        (_, Some(text)) => text.as_str().into(),
        _ => "a panic with a payload that is no text".into(),
    }
}
