//! The answers, as text: pure functions of what is known.

mod facts;
mod graph;
mod outside;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::mirror::{CallMirror, Mirror, TaskMirror};
use crate::record::{Cause, SiteRef, TaskState};

pub use facts::{Loop, Ordering, facts};
pub use graph::waits;
pub use outside::Outside;
pub use words::escaped;
use words::{Seconds, Shortened, state_of, what_of, whole_wait_of};

/// What is known of a program.
#[derive(Clone, Debug)]
pub struct Look<'a> {
    mirror: &'a Mirror,
    last_calls: &'a BTreeMap<u64, SiteRef>,
    now_nanos: u64,
    /// The calls in flight, by their tasks.
    calls: BTreeMap<u64, Vec<&'a CallMirror>>,
}

impl<'a> Look<'a> {
    /// The state; the line of the latest call of each task that has made one; the time on the driver's clock.
    #[must_use]
    pub fn new(
        mirror: &'a Mirror,
        last_calls: &'a BTreeMap<u64, SiteRef>,
        now_nanos: u64,
    ) -> Look<'a> {
        let mut calls = BTreeMap::<u64, Vec<&CallMirror>>::new();
        for call in mirror.calls() {
            if let Some(task) = call.task {
                calls.entry(task).or_default().push(call);
            }
        }
        Look { mirror, last_calls, now_nanos, calls }
    }

    /// The calls of a task, as they were begun.
    fn calls_of(&self, task: u64) -> &[&'a CallMirror] {
        self.calls.get(&task).map_or(&[], Vec::as_slice)
    }

    fn name_of(&self, task: u64) -> Option<&'a str> {
        let name = self.mirror.task(task)?.name?;
        Some(self.mirror.tables().str(name))
    }

    fn age_of(&self, task: &TaskMirror) -> Seconds {
        Seconds(self.now_nanos.saturating_sub(task.since_nanos))
    }

    /// Where a task is: where it waits, or else made its latest call, or was spawned.
    fn place_of(&self, task: &TaskMirror) -> String {
        let tables = self.mirror.tables();
        if let Some(call) = self.calls_of(task.id).first() {
            return escaped(&tables.site(call.site).to_string());
        }
        match self.last_calls.get(&task.id) {
            Some(site) => escaped(&tables.site(*site).to_string()),
            None => format!("spawned at {}", escaped(&tables.site(task.site).to_string())),
        }
    }

    /// What a task waits for, in a few words.
    fn wait_of(&self, task: &TaskMirror) -> String {
        let calls = self.calls_of(task.id);
        let more = |first: String, further: usize| match further {
            0 => first,
            _ => format!("{first} (and {further} more)"),
        };
        match (task.state, calls.first()) {
            (TaskState::Blocked, None) => "somebody's waker".to_owned(),
            (TaskState::Blocked, Some(call)) => more(self.call_in_short(call), calls.len() - 1),
            (TaskState::Ready, _) => match task.woken_by {
                Some((by, _)) => format!("its turn, woken by {}", self.cause(by)),
                None => "its turn".to_owned(),
            },
            (TaskState::Running, _) => "-".to_owned(),
        }
    }

    fn call_in_short(&self, call: &CallMirror) -> String {
        format!("{}: {}", what_of(self.mirror, call), whole_wait_of(self, call))
    }

    fn cause(&self, cause: Cause) -> String {
        match cause {
            Cause::Task(task) => format!("T{task}"),
            Cause::Exit(task) => format!("the end of T{task}"),
            Cause::Timer => "the time".to_owned(),
            Cause::Source(fd) => format!("fd {fd}"),
            Cause::Thread(name) => {
                format!("thread {}", escaped(self.mirror.tables().str(name)))
            }
            Cause::Outside => "the outside".to_owned(),
            Cause::Program => "the program".to_owned(),
            Cause::Order => "an order".to_owned(),
        }
    }
}

/// A line for each task.
#[must_use]
pub fn ps(look: &Look<'_>) -> String {
    let head = ["ID", "NAME", "STATE", "TAKEN", "SINCE", "WAITS FOR", "WHERE"].map(str::to_owned);
    let mut rows = vec![head];
    for task in look.mirror.tasks() {
        rows.push([
            task.id.to_string(),
            look.name_of(task.id).map_or("-".to_owned(), |name| Shortened(name).to_string()),
            state_of(task),
            task.dispatches.to_string(),
            look.age_of(task).to_string(),
            look.wait_of(task),
            look.place_of(task),
        ]);
    }
    table(&rows, &[0, 3, 4])
}

/// Lays rows out in columns; those of the numbers given end at the same place, the others begin there.
fn table<const N: usize>(rows: &[[String; N]], to_the_right: &[usize]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            let _ = match column {
                _ if column + 1 == N => write!(out, "{gap}{cell}"),
                _ if to_the_right.contains(&column) => write!(out, "{gap}{cell:>width$}"),
                _ => write!(out, "{gap}{cell:<width$}"),
            };
        }
        out.push('\n');
    }
    out
}

/// The tasks, each below the one that spawned it.
#[must_use]
pub fn tree(look: &Look<'_>) -> String {
    let mut children = BTreeMap::<Option<u64>, Vec<&TaskMirror>>::new();
    for task in look.mirror.tasks() {
        let parent = task.parent.filter(|parent| look.mirror.task(*parent).is_some());
        children.entry(parent).or_default().push(task);
    }
    let mut out = String::new();
    let mut seen = BTreeSet::new();
    // On a stack of our own: a task may be the ten-thousandth of a line of spawners.
    let mut to_do: Vec<(&TaskMirror, Twig)> = Vec::new();
    let roots = children.get(&None).into_iter().flatten();
    to_do.extend(roots.rev().map(|task| (*task, Twig::default())));
    while let Some((task, twig)) = to_do.pop() {
        if !seen.insert(task.id) {
            continue;
        }
        write_twig(look, task, &twig, &mut out);
        let below = children.get(&Some(task.id)).map_or(&[][..], Vec::as_slice);
        for (place, child) in below.iter().enumerate().rev() {
            to_do.push((child, twig.child(place + 1 == below.len())));
        }
    }
    if out.is_empty() { "there are no tasks\n".to_owned() } else { out }
}

/// How a line of a tree begins.
#[derive(Clone, Default)]
struct Twig {
    /// Of the task's own line.
    own: String,
    /// Of the lines below it.
    below: String,
}

/// From so deep on, the lines of a tree begin no further to the right.
const DEEPEST: usize = 40;

impl Twig {
    fn child(&self, is_last: bool) -> Twig {
        let (own, below) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let stem = if self.below.chars().count() < 3 * DEEPEST { &*self.below } else { "… " };
        Twig { own: format!("{stem}{own}"), below: format!("{stem}{below}") }
    }
}

fn write_twig(look: &Look<'_>, task: &TaskMirror, twig: &Twig, out: &mut String) {
    let Twig { own, .. } = twig;
    let _ = write!(out, "{own}{}", title_of(look, task.id));
    let _ = match task.parent {
        Some(parent) if own.is_empty() => write!(out, " (of T{parent}, which has ended)"),
        _ => Ok(()),
    };
    let _ = write!(out, ": {}", state_of(task));
    if task.state == TaskState::Blocked {
        let _ = write!(out, ", {}", look.wait_of(task));
    }
    let _ = writeln!(out, "  {}", look.place_of(task));
}

/// A task by its number and its name.
pub(super) fn title_of(look: &Look<'_>, task: u64) -> String {
    match look.name_of(task) {
        Some(name) => format!("T{task} {}", Shortened(name)),
        None => format!("T{task}"),
    }
}

/// One task: each call it has in flight, with the frames around it, innermost first.
#[must_use]
pub fn where_is(look: &Look<'_>, id: u64) -> Option<String> {
    let task = look.mirror.task(id)?;
    let tables = look.mirror.tables();
    let mut out = String::new();
    let since = look.age_of(task);
    let _ = write!(out, "task {id}");
    if let Some(name) = look.name_of(id) {
        let _ = write!(out, " \"{}\"", escaped(name));
    }
    let state = state_of(task);
    let times = if task.dispatches == 1 { "time" } else { "times" };
    let _ = writeln!(out, ", {state} for {since}, taken {} {times}", task.dispatches);
    let _ = match task.parent {
        Some(parent) => write!(out, "spawned by {}", title_of(look, parent)),
        None => write!(out, "spawned by the program"),
    };
    let _ = writeln!(out, " at {}", escaped(&tables.site(task.site).to_string()));
    if let Some((by, step)) = task.woken_by {
        let _ = writeln!(out, "woken last by {} in step {step}", look.cause(by));
    }
    let calls = look.calls_of(id);
    for (place, call) in calls.iter().enumerate() {
        let (own, below) =
            if place + 1 == calls.len() { ("└─", "  ") } else { ("├─", "│ ") };
        let _ = writeln!(out, "{own} {}", look.call_in_short(call));
        let site = escaped(&tables.site(call.site).to_string());
        let _ = writeln!(out, "{below}   at {site}");
        for frame in tables.stack(call.stack) {
            let _ = writeln!(out, "{below}   in {}", escaped(&frame.to_string()));
        }
    }
    if calls.is_empty() {
        if let Some(site) = look.last_calls.get(&id) {
            let site = escaped(&tables.site(*site).to_string());
            let _ = writeln!(out, "its latest call was at {site}");
        }
        if task.state == TaskState::Blocked {
            let _ = writeln!(out, "no call of its own is in flight: it waits for somebody's waker");
        }
    }
    Some(out)
}

/// How many tasks there are, and what the clock says.
#[must_use]
pub fn summary(look: &Look<'_>) -> String {
    let mut counts = [0usize; 3];
    for task in look.mirror.tasks() {
        counts[match task.state {
            TaskState::Running => 0,
            TaskState::Ready => 1,
            TaskState::Blocked => 2,
        }] += 1;
    }
    let [running, ready, blocked] = counts;
    let (step, clock) = (look.mirror.step(), Seconds(look.now_nanos));
    let all = running + ready + blocked;
    format!(
        "step {step}, clock {clock}\n{all} tasks: {running} running, {ready} ready, {blocked} blocked\n"
    )
}

/// The commands.
pub const HELP: &str = "\
ps                 the tasks: what each does, what it waits for, and where
tree               the tasks, each below the one that spawned it
where ID           one task, with each call in flight and the frames around it
waits              who waits for whom
status             what the loop is doing
facts              the same as words and numbers, for tools
state              the whole state, for tools
kill ID            end a task at once
cancel ID REASON   ask a task to end
next ID            put a ready task first
hold               stop between two steps; the clock stands still
step [N]           take one step, or N, and hold again
go                 go on
break CONDITION    hold after each step that meets it: task ID, call WORD,
                   object NAME or NUMBER, line FILE:LINE, outcome WORD, woken > N
breaks             the conditions; `unbreak N` and `unbreak all` remove them
wait [SECONDS]     answer once the program is held
orders             take the right to order from the client that has it
trace              turn this connection into a recording
quit               leave
";
