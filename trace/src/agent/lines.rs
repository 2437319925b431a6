//! The outlet that prints: lines on standard error, on the loop's own thread, so that they stand in order with
//! what the program prints.

use std::io::{self, Write};

use trapline_scheduler::{Event, Scheduler, Step};

use super::Outlet;
use crate::record::{About, Record};
use crate::scribe::Scribe;
use crate::strace::Printer;

/// Prints what happens as it happens.
#[derive(Debug, Default)]
pub struct Lines {
    scribe: Scribe,
    printer: Printer,
    records: Vec<Record>,
    text: String,
}

impl Lines {
    /// One that has printed nothing.
    #[must_use]
    pub fn new() -> Lines {
        Lines::default()
    }

    fn print(&mut self) {
        for record in self.records.drain(..) {
            self.printer.record(&record, &mut self.text);
        }
        if !self.text.is_empty() {
            // Where nobody reads standard error, the program goes on.
            let _ = io::stderr().lock().write_all(self.text.as_bytes());
            self.text.clear();
        }
    }

    fn key_frame(&mut self, scheduler: &mut Scheduler) {
        let (snapshot, at) = (scheduler.snapshot(), scheduler.now());
        self.scribe.key_frame(&snapshot, at, 0, &mut self.records);
        self.print();
    }
}

impl Outlet for Lines {
    fn begin(&mut self, scheduler: &mut Scheduler) {
        self.key_frame(scheduler);
    }

    fn event(&mut self, event: &Event<'_>) {
        self.scribe.event(event, &mut self.records);
        self.print();
    }

    fn step_end(&mut self, scheduler: &mut Scheduler, step: &Step) {
        self.scribe.step_end(step, &mut self.records);
        self.print();
        if self.scribe.is_full() {
            self.key_frame(scheduler);
        }
    }

    fn say(&mut self, about: About, topic: &'static str, text: &str) {
        self.scribe.say(about, topic, text, &mut self.records);
        self.print();
    }

    fn set_ordered(&mut self, is_ordered: bool) {
        self.scribe.set_ordered(is_ordered);
    }
}
