//! The loop: the text of `run` and `turn` as they are, with the phase in which one is.

use super::Sight;
use crate::step::line::{Line, Tone};
use crate::step::phase::Phase;

/// The loop's own text.
pub(crate) const TEXT: &str = include_str!("../../../../scheduler/src/scheduler.rs");

pub(super) fn lines(sight: &Sight<'_>, height: usize) -> Vec<Line> {
    let phase = sight.scene.phase();
    let text: Vec<(usize, &str)> = shown().collect();
    let marked = phase.and_then(|phase| text.iter().position(|(_, line)| is_marker(line, phase)));
    let centre = marked.unwrap_or(0);
    let first = centre.saturating_sub(height / 2).min(text.len().saturating_sub(height));
    let window = text.iter().enumerate().skip(first).take(height);
    window.map(|(at, (number, line))| row(*number, line, marked, at)).collect()
}

fn row(number: usize, line: &str, marked: Option<usize>, at: usize) -> Line {
    // The marker itself is a comment; what it marks is the line after it.
    let is_here = marked.is_some_and(|marked| at == marked + 1);
    let is_comment = line.trim_start().starts_with("//");
    let (mark, tone) = match (is_here, is_comment) {
        (true, _) => ("▶", Tone::Running),
        (false, true) => (" ", Tone::Dim),
        (false, false) => (" ", Tone::Plain),
    };
    Line::of(Tone::Dim, format!("{number:>4} ")).add(tone, format!("{mark} {line}"))
}

fn is_marker(line: &str, phase: Phase) -> bool {
    line.trim().strip_prefix("// phase: ") == Some(phase.word())
}

/// The bodies of `run` and `turn`, with their numbers in the file.
fn shown() -> impl Iterator<Item = (usize, &'static str)> {
    body("    pub fn run(&mut self)").chain(body("    fn turn(&mut self"))
}

/// From the line that begins so to the brace that ends the function.
fn body(head: &'static str) -> impl Iterator<Item = (usize, &'static str)> {
    let lines = TEXT.lines().enumerate().skip_while(move |(_, line)| !line.starts_with(head));
    let mut is_over = false;
    lines
        .take_while(move |(_, line)| !std::mem::replace(&mut is_over, *line == "    }"))
        .map(|(at, line)| (at + 1, line.strip_prefix("    ").unwrap_or(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loop_shown_then_it_has_run_and_turn_to_their_ends_and_every_phase() {
        let text: Vec<_> = shown().collect();
        assert!(text.iter().any(|(_, line)| line.starts_with("pub fn run(")));
        assert!(text.iter().any(|(_, line)| line.starts_with("fn turn(")));
        assert_eq!(text.iter().filter(|(_, line)| *line == "}").count(), 2);
        for phase in Phase::ALL {
            let marker = text.iter().position(|(_, line)| is_marker(line, phase));
            let after = marker.and_then(|at| text.get(at + 1)).map(|(_, line)| line.trim());
            assert!(after.is_some_and(|line| !line.is_empty() && !line.starts_with("// phase")));
        }
    }
}
