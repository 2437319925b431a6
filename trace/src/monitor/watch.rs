//! When to hold: conditions, looked at as things happen.

use std::panic::Location;

use trapline_abi::{Ended, Note, Object};
use trapline_scheduler::{Event, Fate, Step, StepEvent};

use super::answers::escaped;
use super::command::Condition;
use crate::scribe::word_of;

/// So many conditions at most: each is looked at with each event.
const MAX_CONDITIONS: usize = 32;

/// The conditions, and which of them this step has met.
#[derive(Debug, Default)]
pub struct Watch {
    conditions: Vec<Watched>,
    last_number: u32,
}

#[derive(Debug)]
struct Watched {
    number: u32,
    condition: Condition,
    is_met: bool,
}

impl Watch {
    /// Whether there are no conditions.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Adds a condition; gives its number, unless there are too many.
    pub fn add(&mut self, condition: Condition) -> Option<u32> {
        if self.conditions.len() >= MAX_CONDITIONS {
            return None;
        }
        self.last_number += 1;
        self.conditions.push(Watched { number: self.last_number, condition, is_met: false });
        Some(self.last_number)
    }

    /// Removes one, or all; says how many.
    pub fn remove(&mut self, number: Option<u32>) -> usize {
        let before = self.conditions.len();
        self.conditions.retain(|watched| number.is_some_and(|number| watched.number != number));
        before - self.conditions.len()
    }

    /// The conditions, as text.
    #[must_use]
    pub fn list(&self) -> String {
        let mut out = match self.conditions.len() {
            0 => "no conditions".to_owned(),
            1 => "1 condition".to_owned(),
            many => format!("{many} conditions"),
        };
        for Watched { number, condition, .. } in &self.conditions {
            out += &format!("\n{number}: {}", escaped(&condition.to_string()));
        }
        out
    }

    /// Something happened.
    #[inline]
    pub fn event(&mut self, event: &Event<'_>) {
        if !self.conditions.is_empty() {
            self.look(event);
        }
    }

    #[cold]
    fn look(&mut self, event: &Event<'_>) {
        for watched in &mut self.conditions {
            watched.is_met |= is_met_by(&watched.condition, event);
        }
    }

    /// A step is over, and woke so many tasks: gives the conditions that it met.
    pub fn step_end(&mut self, step: &Step, woken: usize) -> Vec<String> {
        let mut met = Vec::new();
        for watched in &mut self.conditions {
            let by_step = match &watched.condition {
                Condition::Task(id) => step.task().is_some_and(|task| task.sequence() == *id),
                Condition::Outcome(word) => outcome_of(step) == Some(word),
                Condition::Woken(most) => woken > *most,
                _ => false,
            };
            if by_step || watched.is_met {
                met.push(format!(
                    "{}: {}",
                    watched.number,
                    escaped(&watched.condition.to_string())
                ));
            }
            watched.is_met = false;
        }
        met
    }
}

fn is_met_by(condition: &Condition, event: &Event<'_>) -> bool {
    match (condition, event) {
        (Condition::Call(word), Event::Trapped { request, label, .. }) => {
            word_of(*request, *label).0 == word || *label == Some(word)
        }
        (Condition::Outcome(word), Event::Trapped { fate, .. }) => fate_word(*fate) == Some(word),
        (Condition::Outcome(word), Event::Ended { status, .. }) => {
            ended_word(status.ended()) == *word
        }
        (Condition::Line { file, line }, Event::Trapped { site, .. }) => is_at(site, file, *line),
        (Condition::Line { file, line }, Event::Noted { note: Note::Done { site, .. } }) => {
            is_at(site, file, *line)
        }
        (Condition::Object(name), Event::Trapped { object: Some(object), .. }) => {
            is_called(object, name)
        }
        (Condition::Object(name), Event::Noted { note }) => match note {
            Note::Set { object, .. } | Note::Done { object, .. } => is_called(object, name),
            Note::Gone { object } => name.parse() == Ok(object.number()),
            _ => false,
        },
        _ => false,
    }
}

fn is_called(object: &Object, name: &str) -> bool {
    object.kind == name
        || object.name.as_deref() == Some(name)
        || name.parse() == Ok(object.id.number())
}

/// Whether a place is in this line of a file whose path ends so, at the beginning of a name.
fn is_at(site: &Location<'_>, file: &str, line: u32) -> bool {
    let rest = site.file().strip_suffix(file);
    site.line() == line && rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
}

fn fate_word(fate: Fate) -> Option<&'static str> {
    match fate {
        Fate::Block(_) => Some("blocked"),
        Fate::Answer(_) => Some("answered"),
        Fate::Yield(_) => Some("yielded"),
        Fate::Gone => None,
    }
}

fn ended_word(ended: Ended) -> &'static str {
    match ended {
        Ended::Returned => "returned",
        Ended::Panicked => "panicked",
        Ended::Killed | Ended::Forgotten => "killed",
        Ended::Cancelled => "cancelled",
    }
}

fn outcome_of(step: &Step) -> Option<&'static str> {
    match step.event() {
        StepEvent::Ended(ended) => Some(ended_word(ended)),
        StepEvent::Outside { .. } => Some("outside"),
        StepEvent::Deadlock => Some("deadlock"),
        StepEvent::Stalled => Some("stalled"),
        StepEvent::Finished => Some("finished"),
        StepEvent::Trapped { .. } | StepEvent::Waits | StepEvent::DriverFailed => None,
    }
}
