//! `trapline dump FILE --step N`: the canonical text of the state, and beneath it what that leaves out.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use trapline_trace::strace::{Printer, shown_duration};
use trapline_trace::{Mirror, ObjectMirror, Recording, TaskMirror, Value};

use crate::failure::Failure;
use crate::opened;
use crate::output::Output;
use crate::plain::{Plain, PlainLines};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The recording
    file: PathBuf,
    /// After which step; the last one, if it is left off
    #[arg(long, value_name = "N")]
    step: Option<u64>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let recording = opened::open(&args.file)?;
    let mirror = state(&recording, args.step)?;
    let mut output = Output::new();
    output.line(PlainLines(mirror.text().trim_end_matches('\n')))?;
    output.line("")?;
    let mut rest = String::new();
    // Writing to a `String` never fails.
    let _ = write_rest(&recording, &mirror, &mut rest);
    output.write(&rest)?;
    output.flush()?;
    Ok(opened::conclude(&recording, &args.file))
}

fn state(recording: &Recording, step: Option<u64>) -> Result<Mirror, Failure> {
    let (Some(first), Some(last)) = (recording.first_step(), recording.last_step()) else {
        let why = recording.damage().map(|damage| format!(": {damage}")).unwrap_or_default();
        return Err(Failure::said(format!("no step is in the recording as a whole{why}")));
    };
    let step = step.unwrap_or(last);
    recording.state_at(step).ok_or_else(|| {
        if step < first || step > last {
            Failure::said(format!(
                "step {step} is not in the recording: it has steps {first} to {last}"
            ))
        } else {
            Failure::said(format!("step {step} is missing in the recording: the writer was behind"))
        }
    })
}

fn write_rest(recording: &Recording, mirror: &Mirror, out: &mut String) -> std::fmt::Result {
    let (first, last) = (recording.first_step(), recording.last_step());
    let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
    writeln!(out, "position: step {} of {first} to {last}", mirror.step())?;
    for gap in recording.gaps() {
        writeln!(out, "gap: {} steps are missing after step {}", gap.missed_steps, gap.after_step)?;
    }
    writeln!(out, "clock: {} s", seconds(mirror.clock_nanos()))?;
    for (key, value) in recording.properties() {
        writeln!(out, "{}: {}", Plain(key), Plain(value))?;
    }
    writeln!(out, "tasks:")?;
    for task in mirror.tasks() {
        write_task(mirror, task, out)?;
    }
    writeln!(out, "things:")?;
    for object in mirror.objects() {
        write_object(mirror, object, out)?;
    }
    writeln!(out, "the step:")?;
    write_step(recording, mirror.step(), out)
}

/// Since when a task does what it does, and who woke it last.
fn write_task(mirror: &Mirror, task: &TaskMirror, out: &mut String) -> std::fmt::Result {
    write!(out, "  T{}", task.id)?;
    if let Some(name) = task.name {
        write!(out, " \"{}\"", Plain(mirror.tables().str(name)))?;
    }
    let for_nanos = mirror.clock_nanos().saturating_sub(task.since_nanos);
    write!(out, ": so since step {}, {}", task.since_step, shown_duration(for_nanos))?;
    if let Some((by, step)) = task.woken_by {
        let by = crate::timeline::shown_cause(mirror, by);
        write!(out, "; woken by {by} in step {step}")?;
    }
    out.push('\n');
    Ok(())
}

fn write_object(mirror: &Mirror, object: &ObjectMirror, out: &mut String) -> std::fmt::Result {
    let tables = mirror.tables();
    write!(out, "  {} {}", object.id, Plain(tables.str(object.kind)))?;
    if let Some(name) = object.name {
        write!(out, " \"{}\"", Plain(tables.str(name)))?;
    }
    if let Some(site) = object.site {
        let site = tables.site(site).to_string();
        write!(out, " made at {}", Plain(&site))?;
    }
    for (field, value) in &object.fields {
        write!(out, ", {} {}", Plain(tables.str(*field)), shown_value(mirror, value))?;
    }
    out.push('\n');
    Ok(())
}

fn shown_value(mirror: &Mirror, value: &Value) -> String {
    let tables = mirror.tables();
    match *value {
        Value::Nothing => "-".to_owned(),
        Value::Count(count) => count.to_string(),
        Value::Bytes(bytes) => format!("{bytes} bytes"),
        Value::Nanos(nanos) => shown_duration(nanos),
        Value::Time(nanos) => format!("{} s", seconds(nanos)),
        Value::Task(task) => format!("T{task}"),
        Value::Object(object) => format!("object {object}"),
        Value::Descriptor(fd) => format!("fd {fd}"),
        Value::Held { task, since } => {
            let holder = task.map_or_else(|| "somebody".to_owned(), |task| format!("T{task}"));
            let since = tables.site(since).to_string();
            format!("{holder} since {}", Plain(&since))
        }
        Value::Text(text) => format!("\"{}\"", Plain(tables.str(text))),
        Value::Os(errno) => std::io::Error::from_raw_os_error(errno).to_string(),
        Value::Payload(ref bytes) => format!("\"{}\"", bytes.escape_ascii()),
    }
}

/// The lines that the step itself gives.
fn write_step(recording: &Recording, step: u64, out: &mut String) -> std::fmt::Result {
    let (mut printer, mut before, mut lines) = (Printer::new(), String::new(), String::new());
    for entry in recording.records() {
        if entry.step > step {
            break;
        }
        before.clear();
        let into = if entry.step == step { &mut lines } else { &mut before };
        printer.record(&entry.record, into);
    }
    lines.lines().try_for_each(|line| writeln!(out, "  {line}"))
}

/// An instant, to the nanosecond.
fn seconds(nanos: u64) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}
