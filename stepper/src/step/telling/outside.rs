//! The looks at the outside, and how a run ends.

use trapline_trace::strace::shown_duration;
use trapline_trace::{Move, On, Record, StepEnd};

use super::Teller;
use crate::step::atlas::Scene;
use crate::step::names;

impl Teller<'_> {
    pub(super) fn outside_begins(&mut self, scene: &Scene) {
        if scene.end() != Some(StepEnd::Outside) {
            return;
        }
        if self.mirror.ready_len() > 0 {
            return self.say("The loop looks at the outside between two turns.");
        }
        let waits = self.waits_for_outside();
        let clock = scene.records.iter().rev().find_map(|record| match record {
            Record::Move(Move::Outside { at_nanos, .. }) => Some(*at_nanos),
            _ => None,
        });
        let passed = clock.unwrap_or(0).saturating_sub(self.clock_before);
        let slept = match passed {
            0 => String::new(),
            passed => format!(" {} pass.", shown_duration(passed)),
        };
        self.say(format!(
            "Nobody is ready, so the loop waits for the outside: for {waits}.{slept}"
        ));
    }

    /// "2 sockets and the clock"
    fn waits_for_outside(&self) -> String {
        let ons: Vec<On> = self.mirror.calls().filter_map(|call| call.on).collect();
        let next = ons.iter().filter_map(|on| match on {
            On::Deadline { at_nanos } => Some(*at_nanos),
            _ => None,
        });
        let is_source = |on: &&On| match on {
            On::Descriptor { .. } => true,
            On::Object { role, .. } => matches!(self.mirror.tables().str(*role), "read" | "write"),
            _ => false,
        };
        let sources = ons.iter().filter(is_source).count() as u64;
        let mut words = Vec::new();
        if sources > 0 {
            words.push(names::plural(sources, "descriptor"));
        }
        if let Some(next) = next.min() {
            words.push(format!("the clock, which must come to {}", names::clock(next)));
        }
        match words.is_empty() {
            true => "other threads".to_owned(),
            false => words.join(" and "),
        }
    }

    pub(super) fn looked(&mut self, answered: u64, at_nanos: u64, rest: &[Record]) {
        if self.sentences.is_empty() && self.task.is_none() {
            self.say("The loop looks at the outside.");
        }
        // A look that comes before the wait finds nothing new, or there would be no wait.
        let waits_on =
            rest.iter().any(|record| matches!(record, Record::Move(Move::Outside { .. })));
        if answered == 0 && !waits_on {
            self.say(format!("It is {}, and nothing is new.", names::clock(at_nanos)));
        }
    }

    pub(super) fn step_ends(&mut self, end: StepEnd) {
        match end {
            StepEnd::Ran | StepEnd::Outside => {}
            StepEnd::Finished => self.say("No task is left but daemons: the run is over."),
            StepEnd::Deadlock => {
                let blocked = self.mirror.tasks().count() as u64;
                self.say(format!(
                    "Nobody is ready, nobody sleeps, and no descriptor is waited for: {} can never run again. A deadlock.",
                    names::plural(blocked, "task")
                ));
            }
            StepEnd::Stalled => {
                self.say("For too long nobody has been able to run, but for a waker that is held elsewhere.");
            }
            StepEnd::DriverFailed => {
                self.say("The driver has failed: the outside cannot be looked at.")
            }
        }
    }
}
