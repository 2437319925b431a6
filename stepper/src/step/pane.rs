//! The panes. Each is a function of what is looked at, and gives lines of a width, at most as many as it is
//! high.

pub(super) mod code;
mod graph;
mod log;
mod output;
pub(super) mod position;
mod ready;
mod sentence;
mod source;
mod tasks;
mod timeline;
mod waiting;

use std::path::PathBuf;

use super::atlas::{Atlas, Scene};
use super::line::{Line, Tone};

/// A pane, by its number on the keyboard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Pane {
    Source,
    Ready,
    Sentence,
    Code,
    Tasks,
    Log,
    Output,
    Timeline,
    Graph,
    Waiting,
}

impl Pane {
    pub(crate) const ALL: [Pane; 10] = [
        Pane::Source,
        Pane::Ready,
        Pane::Sentence,
        Pane::Code,
        Pane::Tasks,
        Pane::Log,
        Pane::Output,
        Pane::Timeline,
        Pane::Graph,
        Pane::Waiting,
    ];

    /// The key that opens and closes it.
    pub(crate) fn digit(self) -> char {
        // The one after the ninth has the key after it.
        char::from(b'0' + (self as u8 + 1) % 10)
    }

    /// The word by which lessons name it, and its title.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Pane::Source => "source",
            Pane::Ready => "ready",
            Pane::Sentence => "sentence",
            Pane::Code => "loop",
            Pane::Tasks => "tasks",
            Pane::Log => "log",
            Pane::Output => "output",
            Pane::Timeline => "timeline",
            Pane::Graph => "graph",
            Pane::Waiting => "waiting",
        }
    }

    pub(crate) fn of_word(word: &str) -> Option<Pane> {
        Pane::ALL.into_iter().find(|pane| pane.word() == word)
    }

    pub(crate) fn of_digit(digit: char) -> Option<Pane> {
        Pane::ALL.into_iter().find(|pane| pane.digit() == digit)
    }

    pub(crate) fn lines(self, sight: &Sight<'_>, width: usize, height: usize) -> Vec<Line> {
        let mut lines = match self {
            Pane::Source => source::lines(sight, width, height),
            Pane::Ready => ready::lines(sight, width, height),
            Pane::Sentence => sentence::lines(sight, width, height),
            Pane::Code => code::lines(sight, height),
            Pane::Tasks => tasks::lines(sight, width, height),
            Pane::Log => log::lines(sight, height),
            Pane::Output => output::lines(sight, width, height),
            Pane::Timeline => timeline::lines(sight, width, height),
            Pane::Graph => graph::lines(sight),
            Pane::Waiting => waiting::lines(sight, width, height),
        };
        shorten(&mut lines, height);
        lines
    }
}

/// What the panes are functions of.
#[derive(Clone, Copy)]
pub(crate) struct Sight<'a> {
    pub(crate) atlas: &'a Atlas,
    pub(crate) scene: &'a Scene,
    pub(crate) look: &'a Look,
    /// What is said beside the step: the text of a lesson, an answer, a question.
    pub(crate) aside: &'a [Line],
    /// Whether who waits for what is shown in a pane of its own, and so not beneath who is ready.
    pub(crate) has_waiting: bool,
}

/// What the user has chosen to see.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    pub(crate) selected: Option<u64>,
    /// Tasks and lines that have this in them; all, if it is empty.
    pub(crate) filter: String,
    /// Whether tasks that are not the program's are left out.
    pub(crate) hides: bool,
    /// The file to which the program has written.
    pub(crate) output: Option<PathBuf>,
}

impl Sight<'_> {
    /// Whether the task is to be shown.
    pub(crate) fn shows(&self, task: u64) -> bool {
        !self.look.hides || self.is_own(task)
    }

    /// Whether a line of the program's own made the task.
    fn is_own(&self, task: u64) -> bool {
        let Some(found) = self.scene.now.task(task).or_else(|| self.scene.before.task(task)) else {
            return true;
        };
        let file = self.scene.now.tables().site(found.site).file;
        match self.atlas.recording.sources().is_empty() {
            true => !file.contains("/registry/") && !file.contains("/rustc/"),
            false => self.atlas.recording.source(file).is_some(),
        }
    }

    pub(crate) fn passes(&self, line: &str) -> bool {
        self.look.filter.is_empty() || line.contains(&self.look.filter)
    }
}

/// Leaves off what is too much, and says how much that is.
fn shorten(lines: &mut Vec<Line>, height: usize) {
    if lines.len() > height {
        let more = lines.len() + 1 - height.max(1);
        lines.truncate(height.saturating_sub(1));
        if height > 0 {
            lines.push(Line::of(Tone::Dim, format!("… {more} more")));
        }
    }
}
