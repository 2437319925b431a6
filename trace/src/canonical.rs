//! The kernel's snapshot as the text that the mirror gives of its state: so the two can be compared.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic::Location;

use trapline_abi::{CallInfo, CallState, Object, On, Syscall, TaskId, TaskInfo, TaskState};
use trapline_scheduler::{ObjectState, Snapshot};

use crate::mirror::Site;
use crate::scribe::{holders, word_of};

/// The calls of each task, by their serials.
type Calls<'a> = BTreeMap<Option<TaskId>, BTreeMap<u64, &'a CallInfo>>;

/// The state of a scheduler, in the words of [`Mirror::text`](crate::mirror::Mirror::text).
#[must_use]
pub fn canonical(snapshot: &Snapshot) -> String {
    let mut text = format!("step {}\nrunning {}\nready", snapshot.steps, or_dash(snapshot.running));
    if snapshot.ready.is_empty() {
        text.push_str(" -");
    }
    for task in &snapshot.ready {
        let _ = write!(text, " {task}");
    }
    text.push('\n');
    let live = |task: &&TaskInfo| !matches!(task.state, TaskState::Ended(_));
    let mut calls = Calls::new();
    for call in &snapshot.calls {
        let task = call.task.and_then(|task| snapshot.task(task).filter(live));
        calls.entry(task.map(|task| task.id)).or_default().insert(call.id.serial(), call);
    }
    for task in snapshot.tasks.iter().filter(live) {
        write_task(&mut text, task);
        for (serial, call) in calls.remove(&Some(task.id)).unwrap_or_default() {
            let _ = write!(text, "  call {serial} ");
            write_call(&mut text, call);
        }
    }
    for (serial, call) in calls.remove(&None).unwrap_or_default() {
        let _ = write!(text, "call {serial} of nobody ");
        write_call(&mut text, call);
    }
    let objects: BTreeMap<u32, &ObjectState> =
        snapshot.objects.iter().map(|state| (state.object.id.number(), state)).collect();
    for state in objects.values().filter(|state| !state.waiting.is_empty()) {
        write_object(&mut text, state);
    }
    text
}

fn write_task(text: &mut String, task: &TaskInfo) {
    let _ = write!(text, "task {} ", task.id);
    write_name(text, task.name.as_deref());
    let daemon = if task.daemon { "daemon " } else { "" };
    let state = match &task.state {
        TaskState::Running => "running",
        TaskState::Ready => "ready",
        TaskState::Blocked(_) => "blocked",
        TaskState::Ended(_) => "ended",
    };
    let (parent, site, dispatches) = (or_dash(task.parent), shown(task.site), task.dispatches);
    let _ = writeln!(text, " parent {parent} {daemon}at {site}: {state}, dispatches {dispatches}");
}

fn write_name(text: &mut String, name: Option<&str>) {
    let _ = match name {
        Some(name) => write!(text, "{name:?}"),
        None => write!(text, "-"),
    };
}

fn write_call(text: &mut String, call: &CallInfo) {
    let (word, _) = word_of(call.request, call.label);
    let _ = writeln!(text, "{word} at {}: {}", shown(call.site), waited_for(call));
}

fn waited_for(call: &CallInfo) -> String {
    let CallState::Blocked(on) = call.state else { return "nothing".to_owned() };
    let role = match on {
        On::Timer(_) => {
            let deadline = call.deadline.map_or(0, |deadline| deadline.as_nanos());
            return format!("deadline {deadline}");
        }
        On::Exit(task) => return format!("exit of {task}"),
        On::Own => return "somebody".to_owned(),
        On::Readable(_) => "read",
        On::Writable(_) => "write",
        On::Queue(_) => "token",
    };
    match (&call.object, call.request) {
        (Some(object), _) => format!("object {} {role}", object.id),
        (None, Syscall::ReadWait(target) | Syscall::WriteWait(target)) => match target.source() {
            Err(fd) => format!("fd {fd} {role}"),
            Ok(_) => "somebody".to_owned(),
        },
        _ => "somebody".to_owned(),
    }
}

fn write_object(text: &mut String, state: &ObjectState) {
    let Object { id, kind, name, .. } = &state.object;
    let _ = write!(text, "object {id} {kind} ");
    write_name(text, name.as_deref());
    if let Some(holder) = &state.holder {
        let mut before = " ";
        if let Some(since) = holder.since {
            let _ = write!(text, " held by {} since {}", or_dash(holder.task), shown(since));
            before = ", ";
        }
        let _ = write!(text, "{before}holders {}", holders(holder));
    }
    text.push_str(": waiting");
    for call in &state.waiting {
        let _ = write!(text, " {}", call.serial());
    }
    text.push('\n');
}

fn shown(site: &'static Location<'static>) -> Site<'static> {
    Site { file: site.file(), line: site.line(), column: site.column() }
}

fn or_dash(task: Option<TaskId>) -> String {
    task.map_or_else(|| "-".to_owned(), |task| task.to_string())
}
