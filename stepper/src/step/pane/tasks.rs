//! The tasks that live, a line each.

use trapline_trace::{TaskMirror, TaskState};

use super::Sight;
use crate::step::line::{Line, Tone};
use crate::step::names;

pub(super) fn lines(sight: &Sight<'_>, _width: usize, height: usize) -> Vec<Line> {
    let head = format!(
        "  {:<18}{:<10}{:<30}{:<22}{:>5}  woken by",
        "task", "state", "waits for", "line", "runs"
    );
    let mut lines = vec![Line::of(Tone::Dim, head)];
    let rows: Vec<(u64, Line)> = sight
        .scene
        .now
        .tasks()
        .filter(|task| sight.shows(task.id))
        .map(|task| (task.id, row(sight, task)))
        .filter(|(_, line)| sight.passes(&line.text()))
        .collect();
    let room = height.saturating_sub(1).max(1);
    let chosen = rows.iter().position(|(task, _)| Some(*task) == sight.look.selected);
    let first = chosen.map_or(0, |at| (at + 1).saturating_sub(room.saturating_sub(1).max(1)));
    lines.extend(rows.into_iter().skip(first).map(|(_, line)| line));
    lines
}

fn row(sight: &Sight<'_>, task: &TaskMirror) -> Line {
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
    row.append(column(&format!("{name}{daemon}"), 18));
    row.push(tone, format!("{state:<10}"));
    row.append(column(&waits, 30));
    row.append(column(&line, 22));
    row.push(Tone::Plain, format!("{:>5}  {woken}", task.dispatches));
    row
}
