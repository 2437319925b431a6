//! A trace as lines, after the manner of strace(1).
//!
//! A call that waits gives two lines, one that is answered at once a single one:
//!
//! ```text
//! 12.003 T3 read_wait(fd 7) …  echo_server.rs:31 < serve.rs:12
//! 12.019 T3 … read_wait(fd 7) (16.1 ms, woken by fd 7)
//! 12.019 T3 read(fd 7) = 5 bytes  echo_server.rs:31 < serve.rs:12
//! ```

#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::mem;

use crate::record::{
    About, Cause, Ended, Move, Record, Remark, SiteRef, StackRef, StepEnd, Str, TaskState, Value,
};

pub(crate) use words::shown_dependency;
use words::{shown_bytes, shown_text, shown_time};
pub use words::{shown_duration, shown_file};

/// So many frames are shown around a call; of the others, that there are more.
const FRAMES_SHOWN: usize = 8;

/// Prints records as lines: those of a run as it goes on, or those of a file, with the same letters.
///
/// ```
/// use trapline_trace::strace::Printer;
/// use trapline_trace::{Record, StepEnd};
///
/// let (mut printer, mut lines) = (Printer::new(), String::new());
/// printer.record(&Record::Reset { step: 0, at_nanos: 12_003_000_000, missed_steps: 0 }, &mut lines);
/// printer.record(&Record::StepEnd(StepEnd::Deadlock), &mut lines);
/// assert_eq!(lines, "12.003 deadlock\n");
/// ```
#[derive(Debug, Default)]
pub struct Printer {
    strings: Vec<String>,
    sites: Vec<String>,
    stacks: Vec<(SiteRef, StackRef)>,
    calls: BTreeMap<u64, Pending>,
    things: BTreeMap<u64, String>,
    now_nanos: u64,
    /// Of what the outside did we hear before we hear when: it waits here.
    held: Vec<Record>,
    /// Whose call was answered last.
    answered: Option<u64>,
    running: Option<u64>,
    /// What a task said when it panicked; its end follows.
    panic: Option<Str>,
    has_begun: bool,
    /// What a reset repeats that the reader has seen.
    is_silent: bool,
    /// The tasks that follow were there before.
    is_rebuilding: bool,
}

/// A call that has not been answered.
#[derive(Debug)]
struct Pending {
    task: Option<u64>,
    /// `sleep(1.00 s)`
    text: String,
    site: SiteRef,
    stack: StackRef,
    since_nanos: u64,
    waits: bool,
}

impl Printer {
    /// One that has read nothing.
    #[must_use]
    pub fn new() -> Printer {
        Printer::default()
    }

    /// Reads a record, and appends the lines that it gives, if it gives any.
    pub fn record(&mut self, record: &Record, out: &mut String) {
        if self.must_wait(record) {
            self.held.push(record.clone());
            return;
        }
        if let Record::Move(Move::Taken { at_nanos, .. } | Move::Outside { at_nanos, .. }) = record
        {
            self.now_nanos = *at_nanos;
        }
        for held in mem::take(&mut self.held) {
            self.print(&held, out);
        }
        self.print(record, out);
    }

    /// The outside answers before it says what time it is.
    fn must_wait(&self, record: &Record) -> bool {
        let of_outside = |by: &Cause| {
            matches!(by, Cause::Timer | Cause::Source(_) | Cause::Thread(_) | Cause::Outside)
        };
        match record {
            Record::Move(Move::Taken { .. } | Move::Outside { .. }) => false,
            Record::Move(Move::CallAnswered { by, .. } | Move::Ready { by, .. })
            | Record::Remark(Remark::Woken { by, .. }) => !self.held.is_empty() || of_outside(by),
            Record::Move(_) | Record::Remark(_) => !self.held.is_empty(),
            _ => false,
        }
    }

    fn print(&mut self, record: &Record, out: &mut String) {
        match record {
            Record::Reset { at_nanos, missed_steps, .. } => {
                self.reset(*at_nanos, *missed_steps, out)
            }
            Record::DefineString(text) => self.strings.push(text.clone()),
            Record::DefineSite { file, line, .. } => {
                let file = self.strings.get(file.0 as usize).map_or("?", String::as_str);
                self.sites.push(format!("{}:{line}", shown_text(&shown_file(file))));
            }
            Record::DefineStack { site, around } => self.stacks.push((*site, *around)),
            Record::Move(change) => self.moved(change, out),
            Record::Remark(remark) => self.remarked(remark, out),
            Record::StepEnd(end) => self.step_end(*end, out),
        }
    }

    fn reset(&mut self, at_nanos: u64, missed_steps: u64, out: &mut String) {
        let before = mem::take(self);
        self.now_nanos = at_nanos;
        self.has_begun = true;
        self.is_silent = before.has_begun && missed_steps == 0;
        self.is_rebuilding = true;
        if missed_steps > 0 {
            let plural = if missed_steps == 1 { " is" } else { "s are" };
            self.line(out, None, format_args!("{missed_steps} step{plural} missing"));
        }
    }

    fn moved(&mut self, change: &Move, out: &mut String) {
        let rebuilds = matches!(
            change,
            Move::TaskBorn { .. }
                | Move::CallBegun { .. }
                | Move::CallBlocked { .. }
                | Move::CallBooked { .. }
                | Move::ObjectBorn { .. }
                | Move::FieldSet { .. }
        );
        if !rebuilds {
            (self.is_silent, self.is_rebuilding) = (false, false);
        }
        match *change {
            Move::TaskBorn { .. } => self.born(change, out),
            Move::TaskEnded { task, how } => self.ended(task, how, out),
            Move::Ready { task, by } => self.ready(task, by, out),
            Move::PutFirst { task } => self.line(out, Some(task), format_args!("is put first")),
            Move::CallBegun { .. } => self.begun(change),
            Move::CallBlocked { call, .. } => self.blocked(call, out),
            Move::CallAnswered { call, by, ref reply } => self.answered(call, by, reply, out),
            Move::CallWithdrawn { call } => self.withdrawn(call, out),
            Move::CallBooked { call, task } => self.booked(call, task, out),
            Move::ObjectBorn { object, kind, name, .. } => self.thing_born(object, kind, name),
            Move::ObjectEnded { object } => drop(self.things.remove(&object)),
            Move::Taken { task, .. } => (self.answered, self.running) = (None, Some(task)),
            Move::Outside { .. } => self.answered = None,
            Move::Rested { .. } => self.running = None,
            Move::FieldSet { object, value: Value::Held { task: Some(task), since }, .. } => {
                self.taken(object, task, since, out);
            }
            Move::FieldSet { .. } => {}
        }
    }

    fn born(&mut self, change: &Move, out: &mut String) {
        let Move::TaskBorn { task, parent, name, site, daemon, state, dispatches } = *change else {
            return;
        };
        let name = name.map_or_else(String::new, |name| format!("\"{}\" ", self.string(name)));
        let daemon = if daemon { "(daemon) " } else { "" };
        let place = self.place(site, StackRef(0));
        let is_new = state == TaskState::Ready && dispatches == 0;
        if self.is_rebuilding && !is_new {
            let state = match state {
                TaskState::Ready => "ready",
                TaskState::Running => "running",
                TaskState::Blocked => "blocked",
            };
            self.line(out, Some(task), format_args!("{name}{daemon}is {state}{place}"));
        } else if let Some(parent) = parent {
            self.line(out, Some(task), format_args!("{name}{daemon}born of T{parent}{place}"));
        } else {
            self.line(out, Some(task), format_args!("{name}{daemon}born{place}"));
        }
    }

    fn ended(&mut self, task: u64, how: Ended, out: &mut String) {
        if self.running == Some(task) {
            self.running = None;
        }
        let text = self.panic.take().map(|text| self.string(text)).unwrap_or_default();
        match how {
            Ended::Returned => self.line(out, Some(task), format_args!("returned")),
            Ended::Panicked => self.line(out, Some(task), format_args!("panicked: {text}")),
            Ended::Killed => self.line(out, Some(task), format_args!("killed")),
            Ended::Cancelled => self.line(out, Some(task), format_args!("ended, cancelled")),
        }
    }

    /// A task that was answered is ready for that: only of others it is news.
    fn ready(&mut self, task: u64, by: Cause, out: &mut String) {
        if self.answered.take() != Some(task) {
            let by = self.cause(by);
            self.line(out, Some(task), format_args!("woken by {by}"));
        }
    }

    fn begun(&mut self, change: &Move) {
        let Move::CallBegun { call, task, what, ref argument, site, stack } = *change else {
            return;
        };
        let text = format!("{}({})", self.string(what), self.value(argument));
        let (task, since_nanos) = (Some(task), self.now_nanos);
        self.calls.insert(call, Pending { task, text, site, stack, since_nanos, waits: false });
    }

    fn blocked(&mut self, call: u64, out: &mut String) {
        let Some(mut pending) = self.calls.remove(&call) else { return };
        let place = self.place(pending.site, pending.stack);
        self.line(out, pending.task, format_args!("{} …{place}", pending.text));
        pending.waits = true;
        self.calls.insert(call, pending);
    }

    fn answered(&mut self, call: u64, by: Cause, reply: &Value, out: &mut String) {
        let Some(pending) = self.calls.remove(&call) else { return };
        let Pending { task, text, site, stack, since_nanos, waits } = pending;
        let reply = match reply {
            Value::Nothing => String::new(),
            reply => format!(" = {}", self.value(reply)),
        };
        if waits {
            self.answered = task;
            let (took, by) = (self.since(since_nanos), self.cause(by));
            self.line(out, task, format_args!("… {text}{reply} ({took}, woken by {by})"));
        } else {
            let place = self.place(site, stack);
            self.line(out, task, format_args!("{text}{reply}{place}"));
        }
    }

    fn withdrawn(&mut self, call: u64, out: &mut String) {
        let Some(Pending { task, text, since_nanos, .. }) = self.calls.remove(&call) else {
            return;
        };
        let took = self.since(since_nanos);
        self.line(out, task, format_args!("… {text} dropped ({took})"));
    }

    fn booked(&mut self, call: u64, task: Option<u64>, out: &mut String) {
        let Some(pending) = self.calls.get_mut(&call) else { return };
        let before = mem::replace(&mut pending.task, task);
        if let (Some(new), true) = (task, before != task) {
            let text = pending.text.clone();
            let whose = before.map_or_else(|| "nobody".to_owned(), |task| format!("T{task}"));
            self.line(out, Some(new), format_args!("… {text} taken over from {whose}"));
        }
    }

    /// A task has taken something itself; of what it was given, the answer to its call tells.
    fn taken(&self, object: u64, task: u64, since: SiteRef, out: &mut String) {
        if self.running == Some(task) {
            let place = self.place(since, StackRef(0));
            self.line(out, Some(task), format_args!("takes {}{place}", self.thing(object)));
        }
    }

    fn thing_born(&mut self, object: u64, kind: Str, name: Option<Str>) {
        let kind = self.string(kind);
        let text = match name.map(|name| self.string(name)) {
            // A descriptor of the library's.
            Some(name) if name.starts_with("fd ") => name,
            Some(name) => format!("{kind} \"{name}\""),
            None => format!("{kind} #{object}"),
        };
        self.things.insert(object, text);
    }

    fn remarked(&mut self, remark: &Remark, out: &mut String) {
        match *remark {
            Remark::Done { task, object, operation, ref result, site, stack } => {
                let result = match result {
                    // Of what moves no bytes, that it was done: 1.
                    Value::Nothing | Value::Count(1) => String::new(),
                    result => format!(" = {}", self.value(result)),
                };
                let (operation, thing) = (self.string(operation), self.thing(object));
                let place = self.place(site, stack);
                self.line(out, task, format_args!("{operation}({thing}){result}{place}"));
            }
            Remark::Woken { task, by, redundant } => {
                let by = self.cause(by);
                let word = if redundant { "ready already" } else { "while it ran" };
                self.line(out, Some(task), format_args!("woken by {by}, {word}"));
            }
            Remark::Said { about, topic, text } => self.said(about, topic, text, out),
            Remark::Cycle { ref tasks } => {
                let mut text = String::from("lock cycle: ");
                for task in tasks {
                    let _ = write!(text, "T{task} waits for ");
                }
                let first = tasks.first().map_or(0, |task| *task);
                self.line(out, None, format_args!("{text}T{first}"));
            }
            Remark::Output { .. } | Remark::Source { .. } | Remark::Property { .. } => {}
        }
    }

    fn said(&mut self, about: About, topic: Str, text: Str, out: &mut String) {
        let (topic, sentence) = (self.string(topic), self.string(text));
        let task = match about {
            About::Task(task) => Some(task),
            About::Call(call) => self.calls.get(&call).and_then(|call| call.task),
            About::Run | About::Object(_) => None,
        };
        match topic.as_str() {
            // It is told with the end of the task.
            "panic" => self.panic = Some(text),
            "last call" => self.line(out, task, format_args!("{sentence}() does not return")),
            "cancelled" | "slow" => self.line(out, task, format_args!("{sentence}")),
            topic => self.line(out, task, format_args!("{topic}: {sentence}")),
        }
    }

    fn step_end(&mut self, end: StepEnd, out: &mut String) {
        (self.is_silent, self.is_rebuilding) = (false, false);
        match end {
            StepEnd::Ran | StepEnd::Outside | StepEnd::Finished => {}
            StepEnd::Deadlock => self.line(out, None, format_args!("deadlock")),
            StepEnd::Stalled => self.line(out, None, format_args!("stalled")),
            StepEnd::DriverFailed => self.line(out, None, format_args!("the driver failed")),
        }
    }

    fn line(&self, out: &mut String, task: Option<u64>, text: std::fmt::Arguments<'_>) {
        if self.is_silent {
            return;
        }
        out.push_str(&shown_time(self.now_nanos));
        if let Some(task) = task {
            let _ = write!(out, " T{task}");
        }
        let _ = writeln!(out, " {text}");
    }

    fn since(&self, nanos: u64) -> String {
        shown_duration(self.now_nanos.saturating_sub(nanos))
    }

    /// A string of the trace, with nothing in it that moves a terminal's cursor.
    fn string(&self, string: Str) -> String {
        self.strings.get(string.0 as usize).map_or_else(|| "?".to_owned(), |text| shown_text(text))
    }

    fn thing(&self, object: u64) -> String {
        self.things.get(&object).cloned().unwrap_or_else(|| format!("#{object}"))
    }

    /// The line of a call and the frames around it, after a gap.
    fn place(&self, site: SiteRef, stack: StackRef) -> String {
        let shown = |site: SiteRef| self.sites.get(site.0 as usize).map_or("?", String::as_str);
        let mut text = format!("  {}", shown(site));
        let mut around = stack;
        for depth in 0.. {
            let index = (around.0 as usize).checked_sub(1);
            let Some(&(frame, next)) = index.and_then(|index| self.stacks.get(index)) else {
                break;
            };
            if depth == FRAMES_SHOWN {
                text.push_str(" < …");
                break;
            }
            let _ = write!(text, " < {}", shown(frame));
            around = next;
        }
        text
    }

    fn cause(&self, by: Cause) -> String {
        match by {
            Cause::Task(task) => format!("T{task}"),
            Cause::Exit(task) => format!("the end of T{task}"),
            Cause::Timer => "the clock".to_owned(),
            Cause::Source(fd) => format!("fd {fd}"),
            Cause::Thread(name) => format!("thread \"{}\"", self.string(name)),
            Cause::Outside => "the outside".to_owned(),
            Cause::Program => "the program".to_owned(),
            Cause::Order => "an order".to_owned(),
        }
    }

    fn value(&self, value: &Value) -> String {
        match *value {
            Value::Nothing => String::new(),
            Value::Count(count) => count.to_string(),
            Value::Bytes(1) => "1 byte".to_owned(),
            Value::Bytes(bytes) => format!("{bytes} bytes"),
            Value::Nanos(nanos) => shown_duration(nanos),
            Value::Time(nanos) => shown_time(nanos),
            Value::Task(task) | Value::Held { task: Some(task), .. } => format!("T{task}"),
            Value::Held { task: None, .. } => "somebody".to_owned(),
            Value::Object(object) => self.thing(object),
            Value::Descriptor(fd) => format!("fd {fd}"),
            Value::Text(text) => self.string(text),
            Value::Os(errno) => std::io::Error::from_raw_os_error(errno).to_string(),
            Value::Payload(ref bytes) => shown_bytes(bytes),
        }
    }
}
