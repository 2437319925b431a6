//! What the program had written after a step.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::Sight;
use crate::step::line::{Line, Tone, wrap};

/// So many bytes before the end are read: more lines than a window has.
const TAIL: u64 = 64 * 1024;

pub(super) fn lines(sight: &Sight<'_>, width: usize, height: usize) -> Vec<Line> {
    let Some(path) = &sight.look.output else {
        return vec![Line::of(
            Tone::Dim,
            "What the program wrote is known where the viewer started it: trapline step.",
        )];
    };
    let length = sight.atlas.history.output(sight.scene.cursor.step);
    let text = match tail(path, length) {
        Ok(text) => text,
        Err(error) => {
            return vec![Line::of(Tone::Bad, format!("the output cannot be read: {error}"))];
        }
    };
    let mut lines = Vec::new();
    if length.is_none() {
        lines.push(Line::of(
            Tone::Dim,
            "(of the whole run: the recording does not say what belongs to which step)",
        ));
    }
    let rows: Vec<String> =
        text.lines().flat_map(|line| wrap(&line.replace('\t', "    "), width)).collect();
    let room = height.saturating_sub(lines.len());
    let over = rows.len().saturating_sub(room);
    lines.extend(rows.into_iter().skip(over).map(Line::plain));
    lines
}

/// The end of what was written up to a length.
fn tail(path: &std::path::Path, length: Option<u64>) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = length.unwrap_or(u64::MAX).min(file.metadata()?.len());
    let from = length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(length - from).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
