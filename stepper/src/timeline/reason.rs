//! For what a task waits, and other things of a trace in words.

use trapline_trace::strace::shown_file;
use trapline_trace::{CallMirror, Cause, Mirror, On, SiteRef, StackRef};

use crate::plain::Plain;

/// So many of its calls are named where a task waits for any of several.
const CALLS_NAMED: usize = 3;

/// For what a blocked task with these calls waits.
pub(super) fn reason(mirror: &Mirror, calls: impl Iterator<Item = u64>) -> String {
    let mut words = Vec::new();
    let mut more = 0;
    let calls = calls.filter_map(|call| mirror.call(call));
    for call in calls.filter(|call| call.on.is_some()) {
        let word = call_reason(mirror, call);
        if words.contains(&word) {
            continue;
        }
        if words.len() < CALLS_NAMED { words.push(word) } else { more += 1 }
    }
    match (words.is_empty(), more) {
        (true, _) => "somebody's waker".to_owned(),
        (false, 0) => words.join(" or "),
        (false, more) => format!("{} or {more} more", words.join(" or ")),
    }
}

fn call_reason(mirror: &Mirror, call: &CallMirror) -> String {
    let what = mirror.tables().str(call.what);
    let on = match call.on {
        Some(On::Exit { task }) => format!(" T{task}"),
        Some(On::Object { object, .. }) => format!(" {}", thing(mirror, object)),
        Some(On::Descriptor { fd, .. }) => format!(" fd {fd}"),
        Some(On::Deadline { .. } | On::Somebody) | None => String::new(),
    };
    Plain(&format!("{what}{on}")).to_string()
}

/// A thing as one speaks of it: by its name, if it has one.
fn thing(mirror: &Mirror, object: u64) -> String {
    let Some(thing) = mirror.object(object) else { return format!("#{object}") };
    let kind = mirror.tables().str(thing.kind);
    match thing.name.map(|name| mirror.tables().str(name)) {
        Some(name) if name.starts_with("fd ") => name.to_owned(),
        Some(name) => format!("{kind} \"{name}\""),
        None => format!("{kind} #{object}"),
    }
}

pub(crate) fn shown_cause(mirror: &Mirror, by: Cause) -> String {
    match by {
        Cause::Task(task) => format!("T{task}"),
        Cause::Exit(task) => format!("the end of T{task}"),
        Cause::Timer => "the clock".to_owned(),
        Cause::Source(fd) => format!("fd {fd}"),
        Cause::Thread(name) => format!("thread \"{}\"", Plain(mirror.tables().str(name))),
        Cause::Outside => "the outside".to_owned(),
        Cause::Program => "the program".to_owned(),
        Cause::Order => "an order".to_owned(),
    }
}

/// A line of the source, as short as one still knows which is meant.
pub(crate) fn shown_site(mirror: &Mirror, site: SiteRef) -> String {
    let site = mirror.tables().site(site);
    format!("{}:{}", Plain(&shown_file(site.file)), site.line)
}

/// A line and the frames around it.
pub(crate) fn shown_stack(mirror: &Mirror, site: SiteRef, stack: StackRef) -> String {
    let mut shown = shown_site(mirror, site);
    for frame in mirror.tables().stack(stack) {
        shown.push_str(&format!(" < {}:{}", Plain(&shown_file(frame.file)), frame.line));
    }
    shown
}

/// The name of a task, or else the line that spawned it.
pub(crate) fn task_name(mirror: &Mirror, task: u64) -> String {
    match mirror.task(task) {
        Some(task) => match task.name {
            Some(name) => format!("\"{}\"", Plain(mirror.tables().str(name))),
            None => shown_site(mirror, task.site),
        },
        None => "?".to_owned(),
    }
}
