//! The sentence: what is happening, and beneath it what is said aside.

use super::Sight;
use crate::step::line::{Line, Tone, wrap};
use crate::step::telling::told;

pub(super) fn lines(sight: &Sight<'_>, width: usize, height: usize) -> Vec<Line> {
    let sentences = told(sight.atlas, sight.scene);
    let room = height.saturating_sub(sight.aside.len().min(height / 2)).max(1);
    let mut lines: Vec<Line> = match flowing(&sentences, width, room) {
        // In lines of their own they are read more easily, where there is room.
        None => sentences.iter().flat_map(|text| paragraph(text, width)).collect(),
        Some(lines) => lines,
    };
    if lines.len() > room && !sight.aside.is_empty() {
        lines.truncate(room);
    }
    lines.extend(sight.aside.iter().cloned());
    lines
}

fn paragraph(text: &str, width: usize) -> Vec<Line> {
    wrap(text, width).into_iter().map(Line::plain).collect()
}

/// All sentences one behind the other, if that is needed for the room there is.
fn flowing(sentences: &[String], width: usize, room: usize) -> Option<Vec<Line>> {
    let apart: usize = sentences.iter().map(|text| wrap(text, width).len()).sum();
    if apart <= room {
        return None;
    }
    let all = wrap(&sentences.join(" "), width);
    Some(all.into_iter().map(|line| Line::of(Tone::Plain, line)).collect())
}
