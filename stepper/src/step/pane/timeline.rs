//! The timeline: a lane for each task, a column for each step, and arrows from whoever wakes to whom.

use std::collections::BTreeMap;

use trapline_trace::{Cause, Mirror, Move, Record, TaskState};

use super::Sight;
use crate::step::atlas::apply;
use crate::step::line::{Line, Tone};
use crate::step::names;
use crate::step::phase::prelude;

/// Columns for the name of a lane.
const NAME: usize = 5;

/// A column: what each task did in a step, and who woke whom.
struct Column {
    step: u64,
    states: BTreeMap<u64, char>,
    wakes: Vec<(Option<u64>, u64)>,
}

pub(super) fn lines(sight: &Sight<'_>, width: usize, height: usize) -> Vec<Line> {
    let room = width.saturating_sub(NAME + 1).max(1) as u64;
    let here = sight.scene.cursor.step;
    let first = here.saturating_sub(room * 2 / 3).min(sight.atlas.last().saturating_sub(room));
    let first = sight.atlas.nearest(first);
    let columns = columns(sight, first, room as usize);
    let lanes: Vec<u64> = {
        let mut lanes: Vec<u64> =
            columns.iter().flat_map(|column| column.states.keys().copied()).collect();
        lanes.sort_unstable();
        lanes.dedup();
        lanes.retain(|task| sight.shows(*task));
        lanes
    };
    let mut lines = vec![ruler(&columns, here)];
    let rows = height.saturating_sub(2).max(1);
    let selected = lanes.iter().position(|lane| Some(*lane) == sight.look.selected);
    let skipped = selected.map_or(0, |at| (at + 1).saturating_sub(rows));
    for (at, lane) in lanes.iter().enumerate().skip(skipped).take(rows) {
        lines.push(row(sight, &columns, &lanes, at, *lane));
    }
    lines.push(Line::of(Tone::Dim, "█ runs  · ready  ─ waits  │ wakes ▼ ▲  ◆ by the outside"));
    lines
}

fn columns(sight: &Sight<'_>, first: u64, room: usize) -> Vec<Column> {
    let mut mirror = sight.atlas.recording.state_at(first).unwrap_or_default();
    let steps = sight.atlas.steps_after(first).take(room);
    steps
        .map(|(step, records)| {
            let wakes = wakes(&records, prelude(&records));
            apply(&mut mirror, &records);
            column(sight, step, &mirror, wakes)
        })
        .collect()
}

fn column(sight: &Sight<'_>, step: u64, mirror: &Mirror, wakes: Vec<(Option<u64>, u64)>) -> Column {
    let letter = |state: TaskState| match state {
        TaskState::Running => '█',
        TaskState::Ready => '·',
        TaskState::Blocked => '─',
    };
    let mut states: BTreeMap<u64, char> =
        mirror.tasks().map(|task| (task.id, letter(task.state))).collect();
    if let Some(ran) = sight.atlas.history.ran(step) {
        states.insert(ran, '█');
    }
    Column { step, states, wakes }
}

fn wakes(records: &[Record], prelude: usize) -> Vec<(Option<u64>, u64)> {
    let woken = |record: &Record| match record {
        Record::Move(Move::Ready { task, by: Cause::Task(by) | Cause::Exit(by) }) => {
            Some((Some(*by), *task))
        }
        Record::Move(Move::Ready { task, .. }) => Some((None, *task)),
        _ => None,
    };
    records[prelude..].iter().filter_map(woken).collect()
}

/// The numbers of the steps, each tenth, and a mark above the one where one is.
fn ruler(columns: &[Column], here: u64) -> Line {
    let mut letters: Vec<char> = vec![' '; columns.len() + NAME + 1];
    let mut free_from = 0;
    for (at, column) in columns.iter().enumerate() {
        if column.step % 10 == 0 && at >= free_from {
            let text = column.step.to_string();
            for (offset, digit) in text.chars().enumerate() {
                if let Some(letter) = letters.get_mut(NAME + 1 + at + offset) {
                    *letter = digit;
                }
            }
            free_from = at + text.len() + 1;
        }
    }
    if let Some(at) = columns.iter().position(|column| column.step == here) {
        letters[NAME + 1 + at] = '▾';
    }
    Line::of(Tone::Dim, letters.into_iter().collect::<String>())
}

fn row(sight: &Sight<'_>, columns: &[Column], lanes: &[u64], at: usize, lane: u64) -> Line {
    let (mark, tone) = match sight.look.selected == Some(lane) {
        true => (">", Tone::Strong),
        false => ("", Tone::Plain),
    };
    let name = format!("{mark}{}", names::short(lane));
    let mut line = Line::of(tone, format!("{name:<NAME$} "));
    for column in columns {
        let tone = if column.step == sight.scene.cursor.step { Tone::Strong } else { Tone::Plain };
        line.push(tone, letter(column, lanes, at, lane).to_string());
    }
    line
}

fn letter(column: &Column, lanes: &[u64], at: usize, lane: u64) -> char {
    let state = column.states.get(&lane).copied().unwrap_or(' ');
    let place = |task: u64| lanes.binary_search(&task).ok();
    for (by, woken) in &column.wakes {
        let from = by.and_then(place);
        if *woken == lane {
            return match from {
                Some(from) if from < at => '▼',
                Some(from) if from > at => '▲',
                _ => '◆',
            };
        }
        if let (Some(from), Some(to)) = (from, place(*woken))
            && (from.min(to)..=from.max(to)).contains(&at)
            && from != at
        {
            return '│';
        }
    }
    state
}
