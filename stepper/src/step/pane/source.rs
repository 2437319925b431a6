//! The source: lines are lines of calls, and tasks stand on them.

use std::collections::BTreeMap;

use super::Sight;
use crate::step::lesson::own_lines;
use crate::step::line::{Line, Tone, width as columns, wrap};

/// Columns for the numbers of tasks, at most, with a blank behind them.
const GUTTER: usize = 9;

pub(super) fn lines(sight: &Sight<'_>, width: usize, height: usize) -> Vec<Line> {
    let (from, stop) = marks(sight);
    let Some((file, line)) = focus(sight, from.as_ref(), stop.as_ref()) else {
        let text = "No line of the program's has been asked from yet, or the recording has no source text in it.";
        return wrap(text, width).iter().map(|line| Line::of(Tone::Dim, line)).collect();
    };
    let Some(source) = sight.atlas.recording.source(&file) else {
        return vec![
            Line::plain(crate::step::names::place(&file, line)),
            Line::of(Tone::Dim, "The recording does not have the text of this file."),
        ];
    };
    let newer = if source.is_newer { "  (newer than the program!)" } else { "" };
    let mut rows = vec![Line::of(Tone::Dim, format!("{}{newer}", source.file))];
    let height = height.saturating_sub(1);
    let standing = standing(sight, &file);
    let here = |mark: &Option<(String, u32)>, number: u32| {
        mark.as_ref().is_some_and(|(marked, at)| *marked == file && *at == number)
    };
    let is_open = !sight.scene.is_whole() && stop.is_none();
    let window = window(&source.text, line, height);
    let gutters: Vec<String> = window
        .iter()
        .map(|(number, _)| standing.get(number).map_or_else(String::new, |tasks| gutter(tasks)))
        .collect();
    let wide = gutters.iter().map(|who| columns(who)).max().unwrap_or(0).max(2) + 1;
    let digits = window.last().map_or(1, |(number, _)| number.to_string().len());
    let indent = indent(&window);
    for ((number, text), who) in window.iter().zip(gutters) {
        let missing = wide.saturating_sub(columns(&who));
        let (mark, tone) = match (here(&from, *number), here(&stop, *number)) {
            (true, true) => ("▶■", Tone::Running),
            // Within a step: it goes on from here, and where it will stop is not known yet.
            (true, false) if is_open => ("▶?", Tone::Running),
            (true, false) => ("▶ ", Tone::Running),
            (false, true) => (" ■", Tone::Running),
            (false, false) => ("  ", Tone::Plain),
        };
        let mut row = Line::of(Tone::Blocked, format!("{who}{}", " ".repeat(missing)));
        row.push(Tone::Dim, format!("{number:>digits$}"));
        row.push(tone, format!("{mark}{}", text.get(indent..).unwrap_or("")));
        rows.push(row);
    }
    rows
}

/// Lines of a text with their numbers, this one about in the middle; without what is a lesson's.
fn window(text: &str, middle: u32, height: usize) -> Vec<(u32, String)> {
    let lines = text.lines().zip(own_lines(text)).enumerate();
    let shown: Vec<(u32, &str)> = lines
        .filter(|(_, (_, is_lesson))| !is_lesson)
        .map(|(index, (line, _))| (index as u32 + 1, line))
        .collect();
    let at = shown.partition_point(|(number, _)| *number < middle);
    let first = at.saturating_sub(height / 2).min(shown.len().saturating_sub(height));
    let window = shown.into_iter().skip(first).take(height);
    window.map(|(number, line)| (number, line.replace('\t', "    "))).collect()
}

/// By how much all lines of a window are indented: that much is left off.
fn indent(window: &[(u32, String)]) -> usize {
    let written = window.iter().map(|(_, text)| text).filter(|text| !text.trim().is_empty());
    written.map(|text| text.len() - text.trim_start_matches(' ').len()).min().unwrap_or(0)
}

type Place = (String, u32);

/// The call from which the running task goes on, and the one at which it stops.
fn marks(sight: &Sight<'_>) -> (Option<Place>, Option<Place>) {
    let step = sight.scene.cursor.step;
    let Some(task) = sight.scene.task else { return (None, None) };
    let stop_at = |step| {
        let (file, line) = sight.atlas.history.stop(task, step)?;
        Some((file.to_owned(), line))
    };
    let from = stop_at(step.saturating_sub(1)).or_else(|| born_at(sight, task));
    let has_asked = sight.scene.records[..sight.scene.done].iter().any(|record| {
        matches!(record, trapline_trace::Record::Move(trapline_trace::Move::CallBegun { task: t, .. }) if *t == task)
    });
    let stop = if has_asked { stop_at(step) } else { None };
    (from, stop)
}

fn born_at(sight: &Sight<'_>, task: u64) -> Option<Place> {
    let mirror = &sight.scene.before;
    let found = mirror.task(task).or_else(|| sight.scene.now.task(task))?;
    let site = mirror.tables().site(found.site);
    Some((site.file.to_owned(), site.line))
}

/// The line in the middle: where the running task is, else where the selected one waits.
fn focus(sight: &Sight<'_>, from: Option<&Place>, stop: Option<&Place>) -> Option<Place> {
    let step = sight.scene.cursor.step;
    let known = |place: &&Place| sight.atlas.recording.source(&place.0).is_some();
    if let Some(place) = stop.filter(known).or(from.filter(known)) {
        return Some(place.clone());
    }
    let selected = sight.look.selected.filter(|task| sight.scene.now.task(*task).is_some());
    let last =
        (sight.atlas.beginning()..step).rev().take(64).find_map(|at| sight.atlas.history.ran(at));
    let mut tasks =
        selected.into_iter().chain(last).chain(sight.scene.now.tasks().map(|task| task.id));
    let found = tasks.find_map(|task| {
        let stop = sight.atlas.history.stop(task, step).map(|(file, line)| (file.to_owned(), line));
        let place = stop.or_else(|| born_at(sight, task))?;
        known(&&place).then_some(place)
    });
    found.or(stop.or(from).cloned())
}

/// Who is suspended on which line of a file.
fn standing(sight: &Sight<'_>, file: &str) -> BTreeMap<u32, Vec<u64>> {
    let step = match sight.scene.is_whole() {
        true => sight.scene.cursor.step,
        false => sight.scene.cursor.step.saturating_sub(1),
    };
    let mut standing = BTreeMap::<u32, Vec<u64>>::new();
    for task in sight.scene.now.tasks().filter(|task| sight.shows(task.id)) {
        if let Some((at, line)) = sight.atlas.history.stop(task.id, step)
            && at == file
        {
            standing.entry(line).or_default().push(task.id);
        }
    }
    standing
}

/// The tasks of a line, in few columns: their numbers, or how many they are.
fn gutter(tasks: &[u64]) -> String {
    let names: Vec<_> = tasks.iter().map(|task| format!("T{task}")).collect();
    let names = names.join(" ");
    if columns(&names) < GUTTER { names } else { format!("{}×", tasks.len()) }
}
