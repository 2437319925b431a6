//! Who waits for whom.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::words::{escaped, holder_of, wait_of, what_of};
use super::{Look, title_of};
use crate::mirror::CallMirror;
use crate::record::{On, TaskState};

/// A line for each call that waits: whose it is, and for whom or what; then the circles.
#[must_use]
pub fn waits(look: &Look<'_>) -> String {
    let mut out = String::new();
    let mut edges = BTreeMap::<u64, Vec<u64>>::new();
    for task in look.mirror.tasks().filter(|task| task.state == TaskState::Blocked) {
        let mut any = false;
        for call in look.calls_of(task.id).iter().filter(|call| call.on.is_some()) {
            any = true;
            write_wait(look, &title_of(look, task.id), call, &mut out);
            if let Some(other) = awaited_task(look, call) {
                edges.entry(task.id).or_default().push(other);
            }
        }
        if !any {
            let _ = writeln!(out, "{} waits for somebody's waker", title_of(look, task.id));
        }
    }
    let is_nobodys = |call: &&CallMirror| {
        call.on.is_some() && call.task.is_none_or(|task| look.mirror.task(task).is_none())
    };
    for call in look.mirror.calls().filter(is_nobodys) {
        write_wait(look, &format!("call {} of nobody", call.id), call, &mut out);
    }
    for circle in circles(&edges) {
        out.push_str("circle: ");
        circle.iter().for_each(|task| {
            let _ = write!(out, "T{task} → ");
        });
        let _ = write!(out, "T{}", circle[0]);
        let has_others = |task: &u64| look.calls_of(*task).len() > 1;
        if circle.iter().any(has_others) {
            out.push_str(" (another call that one of them waits for may break it)");
        }
        out.push('\n');
    }
    if out.is_empty() { "nobody waits\n".to_owned() } else { out }
}

fn write_wait(look: &Look<'_>, who: &str, call: &CallMirror, out: &mut String) {
    let (what, wait) = (what_of(look.mirror, call), wait_of(look, call));
    let site = escaped(&look.mirror.tables().site(call.site).to_string());
    let _ = match (call.on, holder_of(look.mirror, call)) {
        (Some(On::Exit { task }), _) => {
            write!(out, "{who} → {}: {what}, its end", title_of(look, task))
        }
        (_, Some((Some(task), since))) => {
            write!(out, "{who} → {}: {what}, {wait}, taken at {since}", title_of(look, task))
        }
        (_, Some((None, since))) => {
            write!(out, "{who} → whoever took it at {since}: {what}, {wait}")
        }
        _ => write!(out, "{who} waits: {what}, {wait}"),
    };
    let _ = writeln!(out, "  {site}");
}

/// The task for which a call waits, if it is one.
fn awaited_task(look: &Look<'_>, call: &CallMirror) -> Option<u64> {
    match call.on {
        Some(On::Exit { task }) => Some(task),
        _ => holder_of(look.mirror, call)?.0,
    }
}

/// The circles in which tasks wait for one another; of those that share a task, one at least.
fn circles(edges: &BTreeMap<u64, Vec<u64>>) -> Vec<Vec<u64>> {
    let mut found = Vec::new();
    let mut done = BTreeMap::<u64, bool>::new();
    for start in edges.keys() {
        // Depth first, on a stack of our own: a chain of waiters may be long.
        let mut path: Vec<(u64, usize)> = vec![(*start, 0)];
        while let Some((task, next)) = path.last_mut() {
            if done.get(task) == Some(&true) {
                path.pop();
                continue;
            }
            done.insert(*task, false);
            let task = *task;
            let Some(other) = edges.get(&task).and_then(|others| others.get(*next)) else {
                done.insert(task, true);
                path.pop();
                continue;
            };
            *next += 1;
            match done.get(other) {
                Some(true) => {}
                Some(false) => {
                    let from = path.iter().position(|(on_path, _)| on_path == other).unwrap_or(0);
                    found.push(path[from..].iter().map(|(task, _)| *task).collect());
                }
                None => path.push((*other, 0)),
            }
        }
    }
    found
}
