//! Who runs, who is ready, and who waits for what.

use super::{Sight, waiting};
use crate::step::line::{Line, Tone, width as columns};
use crate::step::names;

pub(super) fn lines(sight: &Sight<'_>, width: usize, height: usize) -> Vec<Line> {
    let tables = |room: usize| match sight.has_waiting {
        true => Vec::new(),
        false => waiting::lines(sight, width, room),
    };
    let mut lines = boxes(sight, width);
    let mut rest = tables(height.saturating_sub(lines.len()));
    if lines.len() + rest.len() > height {
        // Who waits is more to the point than the boxes' frames.
        lines = vec![flat(sight, width)];
        rest = tables(height.saturating_sub(1));
    }
    lines.extend(rest);
    lines
}

/// A task; the selected one with a mark.
fn marked(sight: &Sight<'_>, task: u64) -> String {
    let mark = if sight.look.selected == Some(task) { ">" } else { "" };
    format!("{mark}{}", names::short(task))
}

/// The same in one line, where there is no room for more.
fn flat(sight: &Sight<'_>, width: usize) -> Line {
    let now = &sight.scene.now;
    let mut line = Line::of(Tone::Dim, "running ");
    match now.running() {
        Some(task) => line.push(Tone::Running, format!("[{}]", marked(sight, task))),
        None => line.push(Tone::Dim, "-"),
    }
    line.push(Tone::Dim, format!("  ready: {} ", now.ready_len()));
    for (at, task) in now.ready().enumerate() {
        let word = format!("[{}]", marked(sight, task));
        let more = now.ready_len() - at;
        if line.width() + columns(&word) + if more > 1 { 6 } else { 0 } > width {
            line.push(Tone::Dim, format!("+{more}"));
            break;
        }
        let tone = if sight.look.selected == Some(task) { Tone::Strong } else { Tone::Ready };
        line.push(tone, word);
    }
    line
}

/// The running task, and the ready queue from its head on, as boxes.
fn boxes(sight: &Sight<'_>, width: usize) -> Vec<Line> {
    let now = &sight.scene.now;
    let ready: Vec<u64> = now.ready().collect();
    let running = now.running();
    let mut rows = [Line::new(), Line::new(), Line::new(), Line::new()];
    let word = running.map_or_else(|| "-".to_owned(), |task| marked(sight, task));
    let wide = columns(&word) + 2;
    let left = wide.max("running".len() + 2);
    let rest = left.saturating_sub(wide + 2);
    rows[0].push(Tone::Dim, format!("{:<wide$}", "running", wide = left));
    rows[0].push(Tone::Dim, format!("ready: {}", ready.len()));
    match running {
        Some(_) => frame(&mut rows, &word, Tone::Running, "╔═╗║╚╝"),
        None => frame(&mut rows, &word, Tone::Dim, "┌╌┐┆└┘"),
    }
    rows[1..].iter_mut().for_each(|row| row.push(Tone::Plain, " ".repeat(rest)));
    for (at, task) in ready.iter().enumerate() {
        let word = marked(sight, *task);
        let more = ready.len() - at;
        let needed = columns(&word) + 4 + if more > 1 { 6 } else { 0 };
        if rows[2].width() + needed > width {
            rows[2].push(Tone::Dim, format!(" +{more}"));
            break;
        }
        let tone = if sight.look.selected == Some(*task) { Tone::Strong } else { Tone::Ready };
        frame(&mut rows, &word, tone, "┌─┐│└┘");
    }
    if ready.is_empty() {
        rows[2].push(Tone::Dim, "nobody");
    }
    rows.into()
}

/// Draws a box about a word; of what is given the corners and sides: left and right above, side, below.
fn frame(rows: &mut [Line; 4], word: &str, tone: Tone, with: &str) {
    let with: Vec<char> = with.chars().collect();
    let bar = with[1].to_string().repeat(columns(word) + 2);
    rows[1].push(tone, format!("{}{bar}{}", with[0], with[2]));
    rows[2].push(tone, format!("{} {word} {}", with[3], with[3]));
    rows[3].push(tone, format!("{}{bar}{}", with[4], with[5]));
}
