//! How one speaks of tasks, things, lines and values.

use trapline_trace::strace::{shown_duration, shown_file};
use trapline_trace::{Cause, Mirror, ObjectMirror, On, SiteRef, Value};

use super::history::History;

/// A task in a word.
pub(crate) fn short(task: u64) -> String {
    format!("T{task}")
}

/// A task and its name, if it has one.
pub(crate) fn task(task: u64, history: &History) -> String {
    match history.name(task) {
        Some(name) => format!("T{task} ({name})"),
        None => short(task),
    }
}

/// Several tasks: "T1, T2 and T3"; of many, the first few and how many more there are.
pub(crate) fn several(tasks: &[u64]) -> String {
    const NAMED: usize = 6;
    let mut names: Vec<String> = tasks.iter().take(NAMED).map(|task| short(*task)).collect();
    if tasks.len() > NAMED {
        names.push(format!("{} more", tasks.len() - NAMED));
    }
    match names.split_last() {
        None => "nobody".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
    }
}

/// A thing: by its name, else by where it was made, else by its number.
pub(crate) fn thing(object: u64, mirror: &Mirror) -> String {
    match mirror.object(object) {
        Some(found) => thing_of(found, mirror),
        None => format!("thing {object}"),
    }
}

pub(crate) fn thing_of(object: &ObjectMirror, mirror: &Mirror) -> String {
    let kind = mirror.tables().str(object.kind);
    match (object.name.map(|name| mirror.tables().str(name)), object.site) {
        // A descriptor of the library's.
        (Some(name), _) if name.starts_with("fd ") => name.to_owned(),
        (Some(name), _) => format!("{kind} `{name}`"),
        (None, Some(at)) if is_description(kind) => format!("{kind} ({})", site(at, mirror)),
        (None, Some(at)) => format!("the {kind} of {}", site(at, mirror)),
        (None, None) => format!("{kind} {}", object.id),
    }
}

/// Some things are not called by a word but by what is waited for: "a value of a channel".
fn is_description(kind: &str) -> bool {
    let articles = ["the ", "a ", "an "];
    articles.iter().any(|article| kind.starts_with(article)) || kind.matches(' ').count() > 1
}

/// A line of the source, as short as one still knows which is meant.
pub(crate) fn site(site: SiteRef, mirror: &Mirror) -> String {
    let site = mirror.tables().site(site);
    place(site.file, site.line)
}

pub(crate) fn place(file: &str, line: u32) -> String {
    format!("{}:{line}", shown_file(file))
}

pub(crate) fn cause(by: Cause, mirror: &Mirror) -> String {
    match by {
        Cause::Task(task) => short(task),
        Cause::Exit(task) => format!("the end of T{task}"),
        Cause::Timer => "the clock".to_owned(),
        Cause::Source(fd) => format!("fd {fd}"),
        Cause::Thread(name) => format!("the thread `{}`", mirror.tables().str(name)),
        Cause::Outside => "the outside".to_owned(),
        Cause::Program => "the program".to_owned(),
        Cause::Order => "an order".to_owned(),
    }
}

/// For what a call waits.
pub(crate) fn on(on: On, mirror: &Mirror) -> String {
    let role_of = |role: &str| match role {
        "read" => "something to read from ",
        "write" => "room to write into ",
        _ => "",
    };
    match on {
        On::Deadline { at_nanos } => format!("the clock, until {}", clock(at_nanos)),
        On::Exit { task } => format!("the end of T{task}"),
        On::Object { object, role } => {
            format!("{}{}", role_of(mirror.tables().str(role)), thing(object, mirror))
        }
        On::Descriptor { fd, role } => format!("{}fd {fd}", role_of(mirror.tables().str(role))),
        On::Somebody => "somebody's answer".to_owned(),
    }
}

pub(crate) fn value(value: &Value, mirror: &Mirror) -> String {
    match *value {
        Value::Nothing => String::new(),
        Value::Count(count) => count.to_string(),
        Value::Bytes(1) => "1 byte".to_owned(),
        Value::Bytes(bytes) => format!("{bytes} bytes"),
        Value::Nanos(nanos) => shown_duration(nanos),
        Value::Time(nanos) => clock(nanos),
        Value::Task(task) => short(task),
        Value::Object(object) => thing(object, mirror),
        Value::Descriptor(fd) => format!("fd {fd}"),
        Value::Held { task: Some(task), .. } => short(task),
        Value::Held { task: None, .. } => "somebody".to_owned(),
        Value::Text(text) => mirror.tables().str(text).to_owned(),
        Value::Os(errno) => std::io::Error::from_raw_os_error(errno).to_string(),
        Value::Payload(ref bytes) => format!("\"{}\"", bytes.escape_ascii()),
    }
}

/// An instant on the clock of the program: to the millisecond, and finer where that says something.
pub(crate) fn clock(nanos: u64) -> String {
    let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    match (rest % 1_000_000, rest / 1_000_000) {
        (0, millis) => format!("{seconds}.{millis:03} s"),
        _ => format!("{seconds}.{:06} s", rest / 1_000),
    }
}

/// A place in a line, in words.
pub(crate) fn ordinal(place: usize) -> String {
    let suffix = match (place % 10, place % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{place}{suffix}")
}

pub(crate) fn plural(count: u64, one: &str) -> String {
    if count == 1 { format!("{count} {one}") } else { format!("{count} {one}s") }
}
