//! The tasks that live, a line each.

use trapline_trace::{TaskMirror, TaskState};

use super::Sight;
use crate::step::line::{Line, Tone};
use crate::step::names;

/// Columns of a wide row: names and reasons are shown in full there.
const ROOMY: usize = 130;

pub(super) fn lines(sight: &Sight<'_>, width: usize, height: usize) -> Vec<Line> {
    let is_roomy = width >= ROOMY;
    let wide = if is_roomy { 30 } else { 18 };
    let (task, state, waits, line) = ("task", "state", "waits for", "line");
    let head = format!("  {task:<wide$}{state:<10}{waits:<30}{line:<22}{:>5}  woken by", "runs");
    let mut lines = vec![Line::of(Tone::Dim, head)];
    let shown = sight.scene.now.tasks().filter(|task| sight.shows(task.id));
    let room = height.saturating_sub(1).max(1);
    if sight.look.filter.is_empty() {
        // Rows are made only of those that are seen: there may be many.
        let tasks: Vec<&TaskMirror> = shown.collect();
        let first = first(tasks.iter().map(|task| task.id), sight.look.selected, room);
        let rows = tasks.iter().skip(first).take(room).map(|task| row(sight, task, wide));
        lines.extend(rows);
        let below = tasks.len().saturating_sub(first + room);
        if below > 0 {
            lines.pop();
            lines.push(Line::of(Tone::Dim, format!("… {} more", below + 1)));
        }
    } else {
        let rows = shown.map(|task| (task.id, row(sight, task, wide)));
        let rows: Vec<(u64, Line)> = rows.filter(|(_, line)| sight.passes(&line.text())).collect();
        let first = first(rows.iter().map(|(task, _)| *task), sight.look.selected, room);
        lines.extend(rows.into_iter().skip(first).map(|(_, line)| line));
    }
    lines
}

/// From which row on so many are shown, that the selected one is among them.
fn first(tasks: impl Iterator<Item = u64>, selected: Option<u64>, room: usize) -> usize {
    let at = { tasks }.enumerate().find(|(_, task)| Some(*task) == selected);
    at.map_or(0, |(at, _)| (at + 2).saturating_sub(room))
}

fn row(sight: &Sight<'_>, task: &TaskMirror, wide: usize) -> Line {
    let now = &sight.scene.now;
    let (state, tone) = match task.state {
        TaskState::Running => ("R running", Tone::Running),
        TaskState::Ready => ("r ready", Tone::Ready),
        TaskState::Blocked => ("b blocked", Tone::Blocked),
    };
    let waits: Vec<String> =
        now.calls_of(task.id).filter_map(|call| Some(names::on(call.on?, now))).collect();
    let waits = match (waits.is_empty(), task.state) {
        (true, TaskState::Blocked) => "somebody's waker".to_owned(),
        (true, _) => "-".to_owned(),
        (false, _) => waits.join(" or "),
    };
    let line = match sight.atlas.history.stop(task.id, sight.scene.cursor.step) {
        Some((file, line)) => names::place(file, line),
        None => names::site(task.site, now),
    };
    let woken = task.woken_by.map_or_else(
        || "-".to_owned(),
        |(by, step)| format!("{}, step {step}", names::cause(by, now)),
    );
    let name = names::task(task.id, &sight.atlas.history);
    let daemon = if task.daemon { " daemon" } else { "" };
    let mark = if sight.look.selected == Some(task.id) { "> " } else { "  " };
    let column = |text: &str, wide: usize| Line::plain(text).fit(wide - 1).add(Tone::Plain, " ");
    let mut row = Line::of(Tone::Strong, mark);
    row.append(column(&format!("{name}{daemon}"), wide));
    row.push(tone, format!("{state:<10}"));
    row.append(column(&waits, 30));
    row.append(column(&line, 22));
    row.push(Tone::Plain, format!("{:>5}  {woken}", task.dispatches));
    row
}
