//! What happened in each step of a recording, in words that are the same for the same.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Peekable;

use trapline_trace::strace::{shown_duration, shown_file};
use trapline_trace::{
    Cause, Ended, Move, On, Record, Recording, Records, Remark, SiteRef, StepEnd, Str, Value,
};

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Event {
    /// What, by which two are compared.
    pub(super) what: String,
    /// At which line.
    at: Option<String>,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            Some(at) => write!(f, "{} ({at})", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// What happened in a step.
pub(super) struct StepEvents {
    pub(super) number: u64,
    pub(super) events: Vec<Event>,
}

/// The steps of a recording that are there as a whole, but for looks at the outside that found nothing.
pub(super) struct Steps<'a> {
    records: Peekable<Records<'a>>,
    reader: Reader,
}

impl Steps<'_> {
    pub(super) fn of(recording: &Recording) -> Steps<'_> {
        Steps { records: recording.records().peekable(), reader: Reader::default() }
    }
}

impl Iterator for Steps<'_> {
    type Item = StepEvents;

    fn next(&mut self) -> Option<StepEvents> {
        let mut events = Vec::new();
        loop {
            let entry = self.records.next()?;
            events.extend(self.reader.read(&entry.record));
            if let Record::StepEnd(end) = entry.record
                && (end != StepEnd::Outside || !events.is_empty())
            {
                return Some(StepEvents { number: entry.step, events });
            }
        }
    }
}

/// Knows what has been defined, and puts records into words.
#[derive(Default)]
struct Reader {
    strings: Vec<String>,
    sites: Vec<String>,
    /// The calls in flight: whose they are, and what they ask.
    calls: BTreeMap<u64, (u64, String)>,
    things: BTreeMap<u64, String>,
    has_begun: bool,
    /// What follows repeats what was there before.
    is_repeating: bool,
}

impl Reader {
    fn read(&mut self, record: &Record) -> Option<Event> {
        match record {
            Record::Reset { missed_steps, .. } => {
                self.strings.clear();
                self.sites.clear();
                self.is_repeating = self.has_begun;
                self.has_begun = true;
                (*missed_steps > 0).then(|| alone("steps are missing".to_owned()))
            }
            Record::DefineString(text) => {
                self.strings.push(text.clone());
                None
            }
            Record::DefineSite { file, line, .. } => {
                let place = format!("{}:{line}", shown_file(&self.string(*file)));
                self.sites.push(place);
                None
            }
            Record::DefineStack { .. } => None,
            Record::Move(change) => {
                self.is_repeating &= rebuilds(change);
                let event = self.moved(change);
                event.filter(|_| !self.is_repeating)
            }
            Record::Remark(remark) => self.remarked(remark),
            Record::StepEnd(end) => {
                self.is_repeating = false;
                ended(*end).map(|how| alone(how.to_owned()))
            }
        }
    }

    fn moved(&mut self, change: &Move) -> Option<Event> {
        let text = match *change {
            Move::TaskBorn { task, parent, name, site, .. } => {
                let name = name.map_or_else(String::new, |name| format!(" `{}`", self.plain(name)));
                let parent = parent.map_or_else(String::new, |parent| format!(" of T{parent}"));
                return Some(self.at(site, format!("T{task}{name} is born{parent}")));
            }
            Move::TaskEnded { task, how } => match how {
                Ended::Returned => format!("T{task} returns"),
                Ended::Panicked => format!("T{task} panics"),
                Ended::Killed => format!("T{task} is killed"),
                Ended::Cancelled => format!("T{task} ends, cancelled"),
            },
            Move::Ready { task, by } => format!("T{task} is woken by {}", self.cause(by)),
            Move::PutFirst { task } => format!("T{task} is put first"),
            Move::Taken { task, .. } => format!("T{task} runs"),
            Move::Rested { task, is_ready: true } => format!("T{task} goes to the back"),
            Move::Rested { task, is_ready: false } => format!("T{task} rests"),
            Move::CallBegun { call, task, what, ref argument, site, .. } => {
                let what = self.plain(what);
                let text = format!("T{task} calls {what}({})", self.value(argument, true));
                self.calls.insert(call, (task, what));
                return Some(self.at(site, text));
            }
            Move::CallBlocked { call, on } => {
                format!("{} waits for {}", self.call(call), self.on(on))
            }
            Move::CallAnswered { call, by, ref reply } => {
                let (asked, by) = (self.call(call), self.cause(by));
                self.calls.remove(&call);
                match self.value(reply, false) {
                    reply if reply.is_empty() => format!("{asked} is answered by {by}"),
                    reply => format!("{asked} is answered by {by}: {reply}"),
                }
            }
            Move::CallWithdrawn { call } => {
                let text = format!("{} is dropped", self.call(call));
                self.calls.remove(&call);
                text
            }
            Move::CallBooked { call, task } => {
                let text = self.call(call);
                if let Some((whose, _)) = self.calls.get_mut(&call) {
                    *whose = task.unwrap_or(0);
                }
                match task {
                    Some(task) => format!("{text} is T{task}'s now"),
                    None => format!("{text} is nobody's now"),
                }
            }
            Move::ObjectBorn { object, kind, name, site } => {
                let thing = self.named(kind, name, object);
                self.things.insert(object, thing.clone());
                let text = format!("{thing} is made");
                return Some(match site {
                    Some(site) => self.at(site, text),
                    None => alone(text),
                });
            }
            Move::ObjectEnded { object } => {
                let text = format!("{} is gone", self.thing(object));
                self.things.remove(&object);
                text
            }
            Move::FieldSet { object, field, ref value } => {
                let (field, thing) = (self.plain(field), self.thing(object));
                format!("{field} of {thing} is {}", self.value(value, false))
            }
            // What it found, its answers tell; where it found nothing, it does not count.
            Move::Outside { .. } => return None,
        };
        Some(alone(text))
    }

    fn remarked(&mut self, remark: &Remark) -> Option<Event> {
        match *remark {
            Remark::Done { task, object, operation, ref result, site, .. } => {
                let who = task.map_or_else(|| "the program".to_owned(), |task| format!("T{task}"));
                let (operation, thing) = (self.plain(operation), self.thing(object));
                let result = self.value(result, false);
                Some(self.at(site, format!("{who} does {operation} on {thing}: {result}")))
            }
            Remark::Woken { task, by, redundant } => {
                let state = if redundant { "ready" } else { "running" };
                Some(alone(format!("T{task} is woken by {}, {state} already", self.cause(by))))
            }
            Remark::Said { topic, text, .. } => {
                let topic = self.plain(topic);
                // What the viewer ordered, and how long something took.
                let is_ours = !matches!(topic.as_str(), "order" | "slow");
                is_ours.then(|| alone(format!("{topic}: {}", self.plain(text))))
            }
            Remark::Cycle { ref tasks } => {
                let tasks: Vec<String> = tasks.iter().map(|task| format!("T{task}")).collect();
                Some(alone(format!("{} wait for one another", tasks.join(", "))))
            }
            Remark::Output { .. } | Remark::Source { .. } | Remark::Property { .. } => None,
        }
    }

    fn at(&self, site: SiteRef, what: String) -> Event {
        Event { what, at: self.sites.get(site.0 as usize).cloned() }
    }

    fn string(&self, name: Str) -> String {
        self.strings.get(name.0 as usize).cloned().unwrap_or_else(|| "?".to_owned())
    }

    /// A text, without what differs from run to run.
    fn plain(&self, name: Str) -> String {
        without_numbers_of_the_system(&self.string(name))
    }

    /// A call by its task and its word.
    fn call(&self, call: u64) -> String {
        match self.calls.get(&call) {
            Some((0, what)) => format!("nobody's {what}"),
            Some((task, what)) => format!("T{task}'s {what}"),
            None => "a call".to_owned(),
        }
    }

    fn named(&self, kind: Str, name: Option<Str>, object: u64) -> String {
        let kind = self.plain(kind);
        match name.map(|name| self.string(name)) {
            // A descriptor of the library's.
            Some(name) if name.starts_with("fd ") => format!("{kind} {object}"),
            Some(name) => format!("{kind} `{}`", without_numbers_of_the_system(&name)),
            None => format!("{kind} {object}"),
        }
    }

    fn thing(&self, object: u64) -> String {
        self.things.get(&object).cloned().unwrap_or_else(|| format!("thing {object}"))
    }

    fn cause(&self, by: Cause) -> String {
        match by {
            Cause::Task(task) => format!("T{task}"),
            Cause::Exit(task) => format!("the end of T{task}"),
            Cause::Timer => "the clock".to_owned(),
            Cause::Source(_) => "a descriptor".to_owned(),
            Cause::Thread(name) => format!("the thread `{}`", self.plain(name)),
            Cause::Outside => "the outside".to_owned(),
            Cause::Program => "the program".to_owned(),
            Cause::Order => "an order".to_owned(),
        }
    }

    fn on(&self, on: On) -> String {
        match on {
            On::Deadline { .. } => "the clock".to_owned(),
            On::Exit { task } => format!("the end of T{task}"),
            On::Object { object, role } => match self.string(role).as_str() {
                "token" => self.thing(object),
                role => format!("{role} of {}", self.thing(object)),
            },
            On::Descriptor { role, .. } => format!("{} of a descriptor", self.plain(role)),
            On::Somebody => "whoever answers it".to_owned(),
        }
    }

    /// A value. How long something took differs from run to run; how long it was asked for does not.
    fn value(&self, value: &Value, is_asked: bool) -> String {
        match *value {
            Value::Nothing => String::new(),
            Value::Count(count) => count.to_string(),
            Value::Bytes(bytes) => format!("{bytes} bytes"),
            Value::Nanos(nanos) if is_asked => shown_duration(nanos),
            Value::Nanos(_) => "so long".to_owned(),
            Value::Time(_) => "a time".to_owned(),
            Value::Task(task) | Value::Held { task: Some(task), .. } => format!("T{task}"),
            Value::Held { task: None, .. } => "somebody".to_owned(),
            Value::Object(object) => self.thing(object),
            Value::Descriptor(_) => "a descriptor".to_owned(),
            Value::Text(text) => self.plain(text),
            Value::Os(errno) => format!("error {errno}"),
            Value::Payload(ref bytes) => format!("{} bytes", bytes.len()),
        }
    }
}

fn alone(what: String) -> Event {
    Event { what, at: None }
}

/// Whether a change may be one of those by which a state is told anew.
fn rebuilds(change: &Move) -> bool {
    matches!(
        change,
        Move::TaskBorn { .. }
            | Move::ObjectBorn { .. }
            | Move::FieldSet { .. }
            | Move::CallBegun { .. }
            | Move::CallBlocked { .. }
    )
}

fn ended(end: StepEnd) -> Option<&'static str> {
    match end {
        StepEnd::Ran | StepEnd::Outside => None,
        StepEnd::Finished => Some("the run is over"),
        StepEnd::Deadlock => Some("the run ends in a deadlock"),
        StepEnd::Stalled => Some("the run stalls"),
        StepEnd::DriverFailed => Some("the driver fails"),
    }
}

/// `text` with a mark for each number that the operating system gives: those of descriptors, and all that are four
/// digits or longer, or stand in an address (`127.0.0.1:45123`, `0x7f12`).
fn without_numbers_of_the_system(text: &str) -> String {
    if !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return text.to_owned();
    }
    let words =
        text.split_inclusive(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '(' | ')'));
    let mut out = String::with_capacity(text.len());
    let mut before = "";
    for piece in words {
        let word = piece
            .trim_end_matches(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '(' | ')'));
        let rest = &piece[word.len()..];
        let has_digits = |word: &str| word.bytes().any(|byte| byte.is_ascii_digit());
        let digits = word.bytes().rev().take_while(u8::is_ascii_digit).count();
        let is_address = has_digits(word)
            && (word.starts_with("0x") || word.matches('.').count() == 3 || word.starts_with('['));
        if is_address || digits >= 4 || (before == "fd" && digits > 0) {
            out.push('#');
        } else {
            out.push_str(word);
        }
        out.push_str(rest);
        before = word;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_system_then_a_mark_and_the_others_stay() {
        let without = without_numbers_of_the_system;
        assert_eq!(without("accept on 127.0.0.1:45123, fd 12"), "accept on #, fd #");
        assert_eq!(without("[::1]:80 (pid 4711)"), "# (pid #)");
        assert_eq!(without("at 0x7f12ab"), "at #");
        assert_eq!(without("fork 3 of 5"), "fork 3 of 5");
        assert_eq!(without("no number"), "no number");
        assert_eq!(without(""), "");
    }
}
