//! The reader that a stranger could write from the description of the format: it sees what ours sees.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fmt::Display;
use std::path::Path;
use std::process::Command;

use support::{Run, file};
use trapline_trace::{
    About, Cause, Ended, Move, On, Record, Recording, Remark, StepEnd, Str, TaskState, Value,
};

#[test]
fn read_by_the_python_example_then_it_sees_the_same_records() {
    let mut run = Run::new(8, 900);
    run.gap(5);
    (0..300).for_each(|_| run.step());
    let text = "fn main() {}\n".to_owned();
    run.records.extend([
        Record::Remark(Remark::Cycle { tasks: vec![3, 1, 400] }),
        Record::Remark(Remark::Output { length: 70_000 }),
        Record::Remark(Remark::Source { file: Str(0), text, is_newer: true }),
        Record::StepEnd(StepEnd::Finished),
    ]);
    let path = std::env::temp_dir().join(format!("trapline-python-{}", std::process::id()));
    std::fs::write(&path, file(&run.records, 1000)).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/read_trace.py");
    let output = Command::new("python3").arg(script).arg(&path).output();
    let recording = Recording::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let output = output.expect("python3 is there");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines();
    let records = run.records.len();
    assert_eq!(lines.next().unwrap(), format!("version 1.0, {records} records, 1201 steps"));
    for entry in recording.records() {
        assert_eq!(lines.next(), Some(line(&entry.record).as_str()));
    }
    assert_eq!(lines.next(), None);
}

/// A record as the example prints it.
fn line(record: &Record) -> String {
    match record {
        Record::Reset { step, at_nanos, missed_steps } => {
            format!("reset {step} {at_nanos} {missed_steps}")
        }
        Record::DefineString(text) => format!("string {}", hex(text.as_bytes())),
        Record::DefineSite { file, line, column } => format!("site {} {line} {column}", file.0),
        Record::DefineStack { site, around } => format!("stack {} {}", site.0, around.0),
        Record::Move(change) => move_line(change),
        Record::Remark(remark) => remark_line(remark),
        Record::StepEnd(end) => {
            let word = match end {
                StepEnd::Ran => "ran",
                StepEnd::Outside => "outside",
                StepEnd::Finished => "finished",
                StepEnd::Deadlock => "deadlock",
                StepEnd::Stalled => "stalled",
                StepEnd::DriverFailed => "driver-failed",
            };
            format!("end {word}")
        }
    }
}

fn move_line(change: &Move) -> String {
    match change {
        Move::TaskBorn { task, parent, name, site, daemon, state, dispatches } => {
            let state = match state {
                TaskState::Ready => "ready",
                TaskState::Running => "running",
                TaskState::Blocked => "blocked",
            };
            let daemon = if *daemon { "daemon" } else { "-" };
            let (parent, name) = (or_dash(*parent), or_dash(name.map(|name| name.0)));
            format!("born {task} {parent} {name} {} {state} {daemon} {dispatches}", site.0)
        }
        Move::TaskEnded { task, how } => {
            let how = match how {
                Ended::Returned => "returned",
                Ended::Panicked => "panicked",
                Ended::Killed => "killed",
                Ended::Cancelled => "cancelled",
            };
            format!("ended {task} {how}")
        }
        Move::Ready { task, by } => format!("ready {task} by {}", cause(*by)),
        Move::PutFirst { task } => format!("first {task}"),
        Move::Taken { task, at_nanos } => format!("taken {task} {at_nanos}"),
        Move::Rested { task, is_ready } => {
            format!("rested {task} {}", if *is_ready { "ready" } else { "blocked" })
        }
        Move::CallBegun { call, task, what, argument, site, stack } => {
            let (what, site, stack) = (what.0, site.0, stack.0);
            let argument = value(argument);
            format!("begun {task} {call} string {what} site {site} stack {stack} {argument}")
        }
        Move::CallBlocked { call, on } => format!("blocked {call} {}", waits_on(*on)),
        Move::CallAnswered { call, by, reply } => {
            format!("answered {call} by {} {}", cause(*by), value(reply))
        }
        Move::CallWithdrawn { call } => format!("withdrawn {call}"),
        Move::CallBooked { call, task } => format!("booked {call} {}", or_dash(*task)),
        Move::ObjectBorn { object, kind, name, site } => {
            let (name, site) = (or_dash(name.map(|name| name.0)), or_dash(site.map(|site| site.0)));
            format!("object {object} {} {name} {site}", kind.0)
        }
        Move::ObjectEnded { object } => format!("gone {object}"),
        Move::FieldSet { object, field, value: held } => {
            format!("set {object} {} {}", field.0, value(held))
        }
        Move::Outside { answered, at_nanos } => format!("outside {answered} {at_nanos}"),
    }
}

fn remark_line(remark: &Remark) -> String {
    match remark {
        Remark::Done { task, object, operation, result, site, stack } => {
            let (task, result) = (or_dash(*task), value(result));
            let (what, site, stack) = (operation.0, site.0, stack.0);
            format!("done {task} {object} string {what} site {site} stack {stack} {result}")
        }
        Remark::Woken { task, by, redundant } => {
            format!("woken {task} by {} {}", cause(*by), u8::from(*redundant))
        }
        Remark::Said { about, topic, text } => {
            let (word, number) = match *about {
                About::Run => ("run", 0),
                About::Task(task) => ("task", task),
                About::Call(call) => ("call", call),
                About::Object(object) => ("object", object),
            };
            format!("said {word} {number} {} {}", topic.0, text.0)
        }
        Remark::Cycle { tasks } => {
            tasks.iter().fold("cycle".to_owned(), |line, task| format!("{line} {task}"))
        }
        Remark::Output { length } => format!("output {length}"),
        Remark::Source { file, text, is_newer } => {
            format!("source {} {} {}", file.0, u8::from(*is_newer), hex(text.as_bytes()))
        }
        Remark::Property { key, value } => format!("property {} {}", key.0, value.0),
    }
}

fn waits_on(on: On) -> String {
    match on {
        On::Deadline { at_nanos } => format!("deadline {at_nanos}"),
        On::Exit { task } => format!("exit {task}"),
        On::Object { object, role } => format!("object {object} {}", role.0),
        On::Descriptor { fd, role } => format!("fd {fd} {}", role.0),
        On::Somebody => "somebody".to_owned(),
    }
}

fn cause(cause: Cause) -> String {
    match cause {
        Cause::Task(task) => format!("task {task}"),
        Cause::Exit(task) => format!("exit {task}"),
        Cause::Timer => "timer".to_owned(),
        Cause::Source(fd) => format!("fd {fd}"),
        Cause::Thread(name) => format!("thread {}", name.0),
        Cause::Outside => "outside".to_owned(),
        Cause::Program => "program".to_owned(),
        Cause::Order => "order".to_owned(),
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::Nothing => "nothing".to_owned(),
        Value::Count(count) => format!("count {count}"),
        Value::Bytes(count) => format!("bytes {count}"),
        Value::Nanos(nanos) => format!("nanos {nanos}"),
        Value::Time(at_nanos) => format!("time {at_nanos}"),
        Value::Task(task) => format!("task {task}"),
        Value::Object(object) => format!("object {object}"),
        Value::Descriptor(fd) => format!("fd {fd}"),
        Value::Held { task, since } => format!("held {} {}", or_dash(*task), since.0),
        Value::Text(text) => format!("text {}", text.0),
        Value::Os(code) => format!("os {code}"),
        Value::Payload(bytes) => format!("payload {}", hex(bytes)),
    }
}

fn or_dash(number: Option<impl Display>) -> String {
    number.map_or("-".to_owned(), |number| number.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
