//! Why is it not running?

use std::collections::BTreeSet;

use trapline_trace::{CallMirror, Mirror, On, SiteRef, TaskState, Value};

use super::atlas::{Atlas, Scene};
use super::names;

/// The answer for a task, in a sentence or two.
pub(crate) fn why(atlas: &Atlas, scene: &Scene, task: u64) -> String {
    let name = names::task(task, &atlas.history);
    if scene.now.task(task).is_none() {
        return format!("{name} {}.", absent(atlas, scene.cursor.step, task));
    }
    let mut seen = BTreeSet::from([task]);
    let because = because(atlas, scene, task, &mut seen);
    format!("{name} {because}.")
}

/// Where a task is that is not there, as the end of a sentence.
fn absent(atlas: &Atlas, step: u64, task: u64) -> String {
    let history = &atlas.history;
    if history.ran(step) == Some(task) {
        return "has just ended".to_owned();
    }
    match (history.previous_of(task, step.saturating_add(1)), history.next_of(task, step)) {
        (Some(last), _) => format!("has ended; it ran for the last time in step {last}"),
        (None, Some(first)) => {
            format!("is not born yet; it runs for the first time in step {first}")
        }
        (None, None) => "is not there".to_owned(),
    }
}

/// What a task does, as the end of a sentence.
fn because(atlas: &Atlas, scene: &Scene, task: u64, seen: &mut BTreeSet<u64>) -> String {
    let now = &scene.now;
    let Some(found) = now.task(task) else { return "has ended".to_owned() };
    match found.state {
        TaskState::Running => return "runs".to_owned(),
        TaskState::Ready => return ready(scene, task),
        TaskState::Blocked => {}
    }
    let calls: Vec<&CallMirror> = now.calls_of(task).filter(|call| call.on.is_some()).collect();
    match calls.as_slice() {
        [] => {
            "waits until somebody calls its waker: it has no call of its own in flight".to_owned()
        }
        [call] => waits(atlas, scene, call, seen),
        calls => {
            let reasons: Vec<String> = calls
                .iter()
                .take(4)
                .filter_map(|call| Some(reason(atlas, scene, call.on?, "")))
                .collect();
            let more = calls.len().saturating_sub(4);
            let more = if more > 0 { format!(" or one of {more} more") } else { String::new() };
            format!("waits for whichever comes first: {}{more}", reasons.join("; or "))
        }
    }
}

fn ready(scene: &Scene, task: u64) -> String {
    let queue: Vec<u64> = scene.now.ready().collect();
    let place = queue.iter().position(|ready| *ready == task).unwrap_or(0);
    let turn = match (place, scene.now.running()) {
        (0, Some(running)) => {
            format!("is first in the ready queue, and waits only for T{running} to come to rest")
        }
        (0, None) => "is first in the ready queue: it runs next".to_owned(),
        (_, _) => {
            let ahead = names::several(&queue[..place]);
            format!(
                "is ready, and stands {} in the queue, behind {ahead}",
                names::ordinal(place + 1)
            )
        }
    };
    let woken = scene.now.task(task).and_then(|task| task.woken_by);
    match woken {
        Some((by, step)) => {
            format!("{turn}; {} woke it in step {step}", names::cause(by, &scene.now))
        }
        None => turn,
    }
}

/// "waits for mutex `fork2` (phil.rs:41), held by T3 since step 96 (phil.rs:40), which …"
fn waits(atlas: &Atlas, scene: &Scene, call: &CallMirror, seen: &mut BTreeSet<u64>) -> String {
    let now = &scene.now;
    let at = names::site(call.site, now);
    match call.on {
        Some(On::Deadline { at_nanos }) => {
            format!("sleeps until {} ({at})", names::clock(at_nanos))
        }
        Some(On::Exit { task }) => {
            let next = next(atlas, scene, task, seen);
            format!("waits for the end of T{task} ({at}), which {next}")
        }
        Some(on) => {
            let waits = format!("waits for {}", reason(atlas, scene, on, &at));
            match holder(now, on) {
                Some((holder, _)) => {
                    format!("{waits}, which {}", next(atlas, scene, holder, seen))
                }
                None => waits,
            }
        }
        None => "has just asked".to_owned(),
    }
}

/// What is waited for, from which line if that is to be said, and who holds it.
fn reason(atlas: &Atlas, scene: &Scene, on: On, at: &str) -> String {
    let now = &scene.now;
    let thing = names::on(on, now);
    let from = match (at, thing.ends_with(')')) {
        ("", _) => String::new(),
        (at, true) => format!(" at {at}"),
        (at, false) => format!(" ({at})"),
    };
    let Some((holder, since)) = holder(now, on) else { return format!("{thing}{from}") };
    let taken = names::site(since, now);
    let held_since =
        object_of(on).and_then(|it| atlas.history.held_since(it, holder, scene.cursor.step));
    let since = match held_since {
        Some(step) => format!("since step {step} ({taken})"),
        None => format!("since {taken}"),
    };
    format!("{thing}{from}, held by T{holder} {since}")
}

/// Who holds what is waited for, and since which line.
fn holder(now: &Mirror, on: On) -> Option<(u64, SiteRef)> {
    match now.field(object_of(on)?, "holder") {
        Some(Value::Held { task: Some(holder), since }) => Some((*holder, *since)),
        _ => None,
    }
}

fn object_of(on: On) -> Option<u64> {
    match on {
        On::Object { object, .. } => Some(object),
        _ => None,
    }
}

/// What becomes of whoever is waited for; a circle is named as one.
fn next(atlas: &Atlas, scene: &Scene, task: u64, seen: &mut BTreeSet<u64>) -> String {
    if seen.insert(task) {
        return because(atlas, scene, task, seen);
    }
    let closed = atlas.history.cycles(scene.cursor.step).find(|(_, tasks)| tasks.contains(&task));
    match closed {
        Some((step, _)) => format!("is where we began: a cycle, which closed in step {step}"),
        None => "is where we began: a cycle".to_owned(),
    }
}
