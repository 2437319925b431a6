//! What in a recording looks like a mistake.

use std::collections::{BTreeMap, BTreeSet};

use trapline_trace::strace::shown_duration;
use trapline_trace::{CallMirror, Mirror, On, StepEnd, TaskState, Value};

use super::model::{Dispatch, Task, Warning};
use crate::timeline::shown_site;

/// Who keeps the loop for longer keeps everybody waiting for longer than one notices.
pub(super) const KEPT_NANOS: u64 = 10_000_000;

/// A task that makes no call but ends sooner than this has done nothing wrong.
const NEVER_YIELDS_NANOS: u64 = 1_000_000;

/// Fewer wake-ups than this say nothing.
const WAKEUPS: u64 = 4;

/// What is known of how often a task kept the loop.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) times: u64,
    pub(super) longest: Dispatch,
}

pub(super) fn warnings(
    tasks: &BTreeMap<u64, Task>,
    kept: &BTreeMap<u64, Kept>,
    mirror: &Mirror,
    last: Option<StepEnd>,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for (&task, Kept { times, longest }) in kept {
        let (length, limit) = (shown_duration(longest.length_ns), shown_duration(KEPT_NANOS));
        let times = if *times == 1 { "once".to_owned() } else { format!("{times} times") };
        let to = longest.to.as_ref().map_or_else(String::new, |to| format!(" to {to}"));
        let text = format!(
            "T{task} kept the loop for over {limit} {times}, for {length} from {}{to} in step {}",
            longest.from, longest.step
        );
        warnings.push(Warning { kind: "kept the loop", task, text });
    }
    for task in tasks.values() {
        let id = task.task;
        if task.calls.is_empty()
            && task.blocked.is_empty()
            && task.running_ns >= NEVER_YIELDS_NANOS
            && task.dispatches == 1
        {
            let took = shown_duration(task.running_ns);
            let text =
                format!("T{id}, spawned at {}, never yields: it made no call in {took}", task.site);
            warnings.push(Warning { kind: "never yields", task: id, text });
        }
        let (redundant, all) =
            (task.wakeups.redundant, task.wakeups.redundant + task.wakeups.total);
        if all >= WAKEUPS && redundant * 2 > all {
            let text = format!("{redundant} of {all} wake-ups of T{id} found it ready already");
            warnings.push(Warning { kind: "redundant wake-ups", task: id, text });
        }
    }
    never_woken(mirror, last, &mut warnings);
    warnings
}

/// Blocked tasks whom nobody can wake: all of them in a deadlock; else those that wait for locks, and for exits,
/// of one another only.
fn never_woken(mirror: &Mirror, last: Option<StepEnd>, warnings: &mut Vec<Warning>) {
    let mut calls = BTreeMap::<u64, Vec<&CallMirror>>::new();
    for call in mirror.calls().filter(|call| call.on.is_some()) {
        if let Some(task) = call.task {
            calls.entry(task).or_default().push(call);
        }
    }
    let blocked = mirror.tasks().filter(|task| task.state == TaskState::Blocked);
    let mut doomed: BTreeSet<u64> = blocked.map(|task| task.id).collect();
    if last != Some(StepEnd::Deadlock) {
        spare_hopeful(mirror, &calls, &mut doomed);
    }
    for task in doomed {
        let waits: Vec<_> = calls
            .get(&task)
            .into_iter()
            .flatten()
            .map(|call| {
                let what = crate::plain::Plain(mirror.tables().str(call.what)).to_string();
                format!("{what} at {}", shown_site(mirror, call.site))
            })
            .collect();
        let waits = if waits.is_empty() { "somebody's waker".to_owned() } else { waits.join(", ") };
        let text = format!("T{task} can never be woken: it waits for {waits}");
        warnings.push(Warning { kind: "never woken", task, text });
    }
}

/// Whoever may be woken leaves, and so does who waits for it.
fn spare_hopeful(
    mirror: &Mirror,
    calls: &BTreeMap<u64, Vec<&CallMirror>>,
    doomed: &mut BTreeSet<u64>,
) {
    let mut hopeful = Vec::new();
    let mut waits_for = BTreeMap::<u64, Vec<u64>>::new();
    for &task in doomed.iter() {
        let calls = calls.get(&task).map_or(&[][..], Vec::as_slice);
        if calls.is_empty() {
            hopeful.push(task);
        }
        for call in calls {
            match answerer(mirror, call).filter(|other| doomed.contains(other)) {
                Some(other) => waits_for.entry(other).or_default().push(task),
                None => hopeful.push(task),
            }
        }
    }
    while let Some(task) = hopeful.pop() {
        if doomed.remove(&task) {
            hopeful.extend(waits_for.remove(&task).unwrap_or_default());
        }
    }
}

/// The one task that can answer a call, if there is one alone.
fn answerer(mirror: &Mirror, call: &CallMirror) -> Option<u64> {
    match call.on? {
        On::Exit { task } => Some(task),
        // Only of a lock with one holder is it known who gives the token.
        On::Object { object, role } if mirror.tables().str(role) == "token" => {
            match (mirror.field(object, "holders"), mirror.field(object, "holder")) {
                (None | Some(Value::Count(1)), Some(Value::Held { task, .. })) => *task,
                _ => None,
            }
        }
        _ => None,
    }
}
