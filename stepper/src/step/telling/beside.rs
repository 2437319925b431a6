//! What happens beside calls: what things tell of themselves, and what is remarked.

use std::cmp::Ordering;

use trapline_trace::{About, Remark, Value};

use super::{Teller, capital};
use crate::step::names;

impl Teller<'_> {
    pub(super) fn remarked(&mut self, remark: &Remark) {
        match *remark {
            Remark::Done { object, operation, ref result, .. } => {
                let operation = self.mirror.tables().str(operation).to_owned();
                self.done(object, &operation, result);
            }
            Remark::Woken { task, by, redundant } => {
                let by = names::cause(by, &self.mirror);
                let (by, who) = (capital(&by), names::short(task));
                self.say(if redundant {
                    format!(
                        "{by} wakes {who} once more, which is ready already: this changes nothing."
                    )
                } else {
                    format!("{by} wakes {who} while it runs: it will be ready again when it rests.")
                });
            }
            Remark::Said { about, topic, text } => {
                let tables = self.mirror.tables();
                let (topic, text) = (tables.str(topic).to_owned(), tables.str(text).to_owned());
                self.said(about, &topic, text);
            }
            Remark::Cycle { ref tasks } => {
                let links = tasks.iter().zip(tasks.iter().cycle().skip(1));
                let links: Vec<_> =
                    links.map(|(task, next)| format!("T{task} waits for T{next}")).collect();
                self.say(format!(
                    "A cycle has closed: {}. None of them can ever go on by itself.",
                    links.join(", ")
                ));
            }
            Remark::Output { .. } | Remark::Source { .. } | Remark::Property { .. } => {}
        }
    }

    fn said(&mut self, about: About, topic: &str, text: String) {
        let who = match about {
            About::Task(task) => names::short(task),
            _ => "The kernel".to_owned(),
        };
        match topic {
            // It is told with the end of the task.
            "panic" => self.panic = Some(text),
            "last call" => {
                self.say(format!("{who} asks {text}(), and does not come back from it."))
            }
            "slow" => self.say(format!("{who} {text}: nobody else could run meanwhile.")),
            "cancelled" => self.say(format!("{who} is asked to stop: {text}.")),
            "warning" => self.say(format!("Warning: {text}.")),
            topic => self.say(format!("{}: {text}.", capital(topic))),
        }
    }

    fn done(&mut self, object: u64, operation: &str, result: &Value) {
        let (who, thing) = (self.who(), names::thing(object, &self.mirror));
        let at_once = "; there was no need to wait, so it does not trap";
        let sentence = match (operation, result) {
            // Told by the holder that is set beside it, or with the call.
            ("lock" | "acquire" | "release" | "unlock", _) => return,
            ("bytes", Value::Payload(bytes)) => {
                format!("They begin with \"{}\".", bytes.escape_ascii())
            }
            ("accept", Value::Os(_)) => {
                format!("{who} looks for a connection on {thing}: there is none.")
            }
            ("accept", _) => format!("{who} accepts a connection on {thing}{at_once}."),
            (_, Value::Os(_)) => {
                format!(
                    "{who} tries to {operation}: {thing} says \"{}\".",
                    names::value(result, &self.mirror)
                )
            }
            ("read" | "recv", Value::Bytes(0)) => {
                format!("{who} reads from {thing}: it has ended.")
            }
            ("read" | "recv", _) => {
                format!("{who} reads {} from {thing}{at_once}.", names::value(result, &self.mirror))
            }
            ("write" | "send_to", _) => {
                format!(
                    "{who} writes {} into {thing}{at_once}.",
                    names::value(result, &self.mirror)
                )
            }
            ("connect", _) => format!("{who} has its connection, {thing}."),
            _ => format!("{who} does {operation} on {thing}{at_once}."),
        };
        self.say(sentence);
    }

    /// What a thing tells of itself.
    pub(super) fn field_set(&mut self, object: u64, field: &str, value: &Value) {
        let (who, thing) = (self.who(), names::thing(object, &self.mirror));
        let before = self.mirror.field(object, field).cloned();
        match (field, value, before) {
            ("holder", Value::Held { task, .. }, Some(Value::Held { task: Some(other), .. }))
                if *task == self.task && Some(other) != self.task =>
            {
                let other = names::short(other);
                self.say(format!("{who} takes {thing}, too, beside {other}: no need to wait."));
            }
            ("holder", Value::Held { task, .. }, _) if *task == self.task => {
                self.say(format!("{who} takes {thing}, which is free: no need to wait."));
            }
            ("holder", Value::Held { task: Some(next), .. }, _) => {
                self.say(format!(
                    "{who} gives {thing} up, and it is handed to {}, first in its queue.",
                    self.name(*next)
                ));
            }
            ("holder", Value::Nothing, Some(Value::Held { task, .. })) if task == self.task => {
                self.say(format!("{who} gives {thing} back; nobody holds it now."));
            }
            ("count", Value::Count(now), before) => {
                self.count_changes(object, &thing, *now, before.as_ref())
            }
            ("free", Value::Count(now), Some(Value::Count(before))) if *now != before => {
                let verb = if *now < before { "takes one from" } else { "gives one back to" };
                self.say(format!("{who} {verb} {thing}: {now} left."));
            }
            ("free", Value::Count(1..), None) => {
                let Value::Count(now) = value else { return };
                let tokens = names::plural(*now, "token");
                self.say(format!("{} has {tokens} free now.", capital(&thing)));
            }
            ("closed", Value::Count(1..), _) => self.say(format!("{} is closed.", capital(&thing))),
            _ => {}
        }
    }

    fn count_changes(&mut self, object: u64, thing: &str, now: u64, before: Option<&Value>) {
        let who = self.who();
        let of = match self.mirror.field(object, "capacity") {
            Some(Value::Count(capacity)) => format!(" of {capacity}"),
            _ => String::new(),
        };
        let before = match before {
            Some(Value::Count(before)) => *before,
            _ => 0,
        };
        let kind = self.mirror.object(object).map(|object| self.mirror.tables().str(object.kind));
        let sentence = match (kind, now.cmp(&before)) {
            (_, Ordering::Equal) => return,
            (Some("group"), Ordering::Greater) => format!("A task joins {thing}: {now} in it."),
            (Some("group"), Ordering::Less) => format!("A task leaves {thing}: {now} in it."),
            (_, Ordering::Greater) => {
                format!("{who} puts something into {thing}, which now holds {now}{of}.")
            }
            (_, Ordering::Less) => {
                format!("{who} takes something out of {thing}, which now holds {now}{of}.")
            }
        };
        self.say(sentence);
    }
}
