//! How things are put.

use std::fmt::{self, Write};

use super::Look;
use crate::mirror::{CallMirror, Mirror, ObjectMirror, TaskMirror};
use crate::record::{On, TaskState, Value};

/// The longest name that is shown whole in a table, in characters.
const NAME_CHARS: usize = 24;

/// `text` without what could move the cursor or turn the direction of writing.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// A name, cut where it would be too long for a table.
pub(super) struct Shortened<'a>(pub(super) &'a str);

impl fmt::Display for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = escaped(self.0);
        match text.char_indices().nth(NAME_CHARS) {
            Some((end, _)) => write!(f, "{}…", &text[..end]),
            None => f.write_str(&text),
        }
    }
}

/// A length of time, in nanoseconds. It displays as `3.200 s`, or in days, hours and minutes.
#[derive(Clone, Copy)]
pub(crate) struct Seconds(pub(crate) u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0 / 1_000_000_000, self.0 / 1_000_000 % 1000);
        let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
        // As wide as `f` asks, as a whole.
        f.pad(&match (days, hours, minutes) {
            (0, 0, 0) => format!("{seconds}.{millis:03} s"),
            (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
            (0, ..) => format!("{hours} h {minutes} min"),
            _ => format!("{days} d {hours} h"),
        })
    }
}

pub(super) fn state_of(task: &TaskMirror) -> String {
    let state = match task.state {
        TaskState::Ready => "ready",
        TaskState::Running => "running",
        TaskState::Blocked => "blocked",
    };
    if task.daemon { format!("{state} daemon") } else { state.to_owned() }
}

/// What a call asks, with its argument.
pub(super) fn what_of(mirror: &Mirror, call: &CallMirror) -> String {
    let what = escaped(mirror.tables().str(call.what));
    match call.argument {
        Value::Nothing | Value::Object(_) => what,
        ref argument => format!("{what}({})", value(mirror, argument)),
    }
}

fn value(mirror: &Mirror, value: &Value) -> String {
    match value {
        Value::Nothing => "nothing".to_owned(),
        Value::Count(count) => count.to_string(),
        Value::Bytes(bytes) => format!("{bytes} bytes"),
        Value::Nanos(nanos) => Seconds(*nanos).to_string(),
        Value::Time(nanos) => format!("time {}", Seconds(*nanos)),
        Value::Task(task) => format!("T{task}"),
        Value::Object(object) => format!("object {object}"),
        Value::Descriptor(fd) => format!("fd {fd}"),
        Value::Held { task: Some(task), .. } => format!("held by T{task}"),
        Value::Held { task: None, .. } => "held".to_owned(),
        Value::Text(text) => escaped(mirror.tables().str(*text)),
        Value::Os(error) => format!("error {error}"),
        Value::Payload(bytes) => format!("{} bytes", bytes.len()),
    }
}

/// What a call waits for, as in "read of fd 7".
pub(super) fn wait_of(look: &Look<'_>, call: &CallMirror) -> String {
    let tables = look.mirror.tables();
    match call.on {
        Some(On::Deadline { at_nanos }) => {
            let left = Seconds(at_nanos.saturating_sub(look.now_nanos));
            format!("until {}, in {left}", Seconds(at_nanos))
        }
        Some(On::Exit { task }) => format!("the end of T{task}"),
        Some(On::Object { object, role }) => {
            let thing = match look.mirror.object(object) {
                Some(object) => thing(look.mirror, object),
                None => format!("object {object}"),
            };
            match tables.str(role) {
                "token" => thing,
                role => format!("{} of {thing}", escaped(role)),
            }
        }
        Some(On::Descriptor { fd, role }) => format!("{} of fd {fd}", escaped(tables.str(role))),
        Some(On::Somebody) => "whoever answers it".to_owned(),
        None => "being served".to_owned(),
    }
}

/// The same, and who has it.
pub(super) fn whole_wait_of(look: &Look<'_>, call: &CallMirror) -> String {
    let wait = wait_of(look, call);
    match holder_of(look.mirror, call) {
        Some((Some(task), since)) => format!("{wait}, held by T{task} since {since}"),
        Some((None, since)) => format!("{wait}, held since {since}"),
        None => wait,
    }
}

/// Who holds what a call waits for, if that is known, and since which line.
pub(super) fn holder_of(mirror: &Mirror, call: &CallMirror) -> Option<(Option<u64>, String)> {
    let Some(On::Object { object, .. }) = call.on else { return None };
    match mirror.field(object, "holder")? {
        Value::Held { task, since } => {
            Some((*task, escaped(&mirror.tables().site(*since).to_string())))
        }
        _ => None,
    }
}

/// A thing, as in `mutex "log" (object 2)`.
fn thing(mirror: &Mirror, object: &ObjectMirror) -> String {
    let kind = escaped(mirror.tables().str(object.kind));
    match object.name {
        Some(name) => {
            let name = escaped(mirror.tables().str(name));
            format!("{kind} \"{name}\" (object {})", object.id)
        }
        None => format!("{kind} (object {})", object.id),
    }
}
