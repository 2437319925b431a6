//! A recording that can be looked at at any place.

use std::io;
use std::path::Path;

use trapline_trace::{Mirror, Record, Recording, StepEnd};

use super::history::History;
use super::phase::{Beat, Phase, beats, prelude};
use crate::failure::Failure;

/// Where one looks. Moving it changes nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cursor {
    /// The step; the one before the first stands for the beginning.
    pub(crate) step: u64,
    /// How many phases of it are over; `None`: all.
    pub(crate) phases: Option<usize>,
}

impl Cursor {
    /// After a whole step.
    pub(crate) fn after(step: u64) -> Cursor {
        Cursor { step, phases: None }
    }
}

#[derive(Debug)]
pub(crate) struct Atlas {
    pub(crate) recording: Recording,
    pub(crate) history: History,
}

impl Atlas {
    pub(crate) fn new(recording: Recording) -> Atlas {
        let history = History::of(&recording);
        Atlas { recording, history }
    }

    /// Opens a file, of which nothing has been read yet.
    pub(crate) fn begin(file: &Path) -> Result<Atlas, Failure> {
        let recording = Recording::begin(file);
        recording.map(Atlas::new).map_err(|error| Failure::Open { path: file.to_owned(), error })
    }

    /// Reads so many bytes more of it, at most. Gives how many.
    pub(crate) fn grow(&mut self, most_bytes: usize) -> io::Result<usize> {
        let Atlas { recording, history } = self;
        let read = recording
            .read_on(most_bytes, |step, record, before| history.note(step, record, before))?;
        if read > 0 {
            history.settle(recording);
        }
        Ok(read)
    }

    /// Before the first step.
    pub(crate) fn beginning(&self) -> u64 {
        match self.recording.first_step() {
            Some(first) => first.saturating_sub(1),
            // Of a program that has just been joined, the steps before are not there.
            None => self.recording.end().step(),
        }
    }

    pub(crate) fn last(&self) -> u64 {
        self.recording.last_step().unwrap_or_else(|| self.beginning())
    }

    /// The next step that is in the recording.
    pub(crate) fn next(&self, step: u64) -> Option<u64> {
        let next = step.saturating_add(1);
        if self.recording.has_step(next) {
            return Some(next);
        }
        // Behind a gap: the first step after it.
        let over = |gap: &&trapline_trace::Gap| gap.after_step >= step;
        let gap = self.recording.gaps().iter().find(over)?;
        let behind = gap.after_step.saturating_add(gap.missed_steps).saturating_add(1);
        (behind > step && self.recording.has_step(behind)).then_some(behind)
    }

    /// The step before that is in the recording; the beginning, if it is the first.
    pub(crate) fn previous(&self, step: u64) -> Option<u64> {
        if step <= self.beginning() {
            return None;
        }
        let previous = step - 1;
        if previous == self.beginning() || self.recording.has_step(previous) {
            return Some(previous);
        }
        let gaps = self.recording.gaps().iter().rev();
        gaps.map(|gap| gap.after_step).find(|at| *at < step && self.recording.has_step(*at))
    }

    /// The step at this number, or the nearest that is in the recording.
    pub(crate) fn nearest(&self, step: u64) -> u64 {
        let step = step.clamp(self.beginning(), self.last());
        if step == self.beginning() || self.recording.has_step(step) {
            return step;
        }
        let before = self.recording.gaps().iter().rev().map(|gap| gap.after_step);
        { before }.find(|at| *at <= step).unwrap_or_else(|| self.beginning())
    }

    /// The steps after this one, each with its records.
    pub(crate) fn steps_after(&self, step: u64) -> impl Iterator<Item = (u64, Vec<Record>)> + '_ {
        let mut records = self.recording.records_from(step.saturating_add(1));
        std::iter::from_fn(move || {
            let mut all = Vec::new();
            for entry in records.by_ref() {
                let is_end = matches!(entry.record, Record::StepEnd(_));
                all.push(entry.record);
                if is_end {
                    return Some((entry.step, all));
                }
            }
            None
        })
    }

    /// What is to be seen at a place.
    pub(crate) fn scene(&self, cursor: Cursor) -> Scene {
        if cursor.step <= self.beginning() || !self.recording.has_step(cursor.step) {
            return self.opening();
        }
        let records: Vec<_> = self.recording.records_of(cursor.step).collect();
        let prelude = prelude(&records);
        let mut before = match prelude {
            0 => self.recording.state_at(cursor.step - 1).unwrap_or_default(),
            _ => Mirror::new(),
        };
        apply(&mut before, &records[..prelude]);
        let beats = beats(&records, prelude);
        let over = cursor.phases.unwrap_or(beats.len()).min(beats.len());
        let done = over.checked_sub(1).map_or(prelude, |last| beats[last].records.end);
        let mut now = before.clone();
        apply(&mut now, &records[prelude..done]);
        let is_whole = over == beats.len();
        let at = Cursor { phases: (!is_whole).then_some(over), ..cursor };
        let task = before.running().or_else(|| self.history.ran(cursor.step));
        let ahead = Vec::new();
        Scene { cursor: at, before, now, records, prelude, beats, over, done, task, ahead }
    }

    /// The same; after the last step with what is there of the next, which has not ended.
    pub(crate) fn scene_at_edge(&self, cursor: Cursor) -> Scene {
        let mut scene = self.scene(cursor);
        if scene.is_whole() && scene.cursor.step == self.last() {
            let begun = self.recording.records_from(scene.cursor.step.saturating_add(1));
            let mut ahead: Vec<Record> = begun.map(|entry| entry.record).collect();
            if self.recording.first_step().is_none() {
                ahead.drain(..prelude(&ahead));
            }
            apply(&mut scene.now, &ahead);
            scene.ahead = ahead;
        }
        scene
    }

    /// Before the first step: what is known is what the recording begins with.
    fn opening(&self) -> Scene {
        let records: Vec<Record> = match self.recording.first_step() {
            Some(first) => self.recording.records_of(first).collect(),
            None => self.recording.records().map(|entry| entry.record).collect(),
        };
        let prelude = prelude(&records);
        let mut before = Mirror::new();
        apply(&mut before, &records[..prelude]);
        Scene {
            cursor: Cursor::after(self.beginning()),
            now: before.clone(),
            before,
            records: Vec::new(),
            prelude: 0,
            beats: Vec::new(),
            over: 0,
            done: 0,
            task: None,
            ahead: Vec::new(),
        }
    }
}

/// The recording was found good when it was indexed: all of it can be applied.
pub(crate) fn apply(mirror: &mut Mirror, records: &[Record]) {
    for record in records {
        if mirror.apply(record).is_err() {
            return;
        }
    }
}

/// What is to be seen at a place.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) cursor: Cursor,
    /// The state before the step.
    pub(crate) before: Mirror,
    /// The state as far as the step has come.
    pub(crate) now: Mirror,
    pub(crate) records: Vec<Record>,
    /// So many records rebuild the state.
    pub(crate) prelude: usize,
    pub(crate) beats: Vec<Beat>,
    /// So many phases are over.
    pub(crate) over: usize,
    /// So many records have been applied.
    pub(crate) done: usize,
    /// Whose step it is.
    pub(crate) task: Option<u64>,
    /// At the edge, what is there of the step that has not ended; the state has it in it.
    pub(crate) ahead: Vec<Record>,
}

impl Scene {
    pub(crate) fn is_whole(&self) -> bool {
        self.over == self.beats.len()
    }

    /// The phase that was played last.
    pub(crate) fn phase(&self) -> Option<Phase> {
        Some(self.beats.get(self.over.checked_sub(1)?)?.phase)
    }

    pub(crate) fn end(&self) -> Option<StepEnd> {
        match self.records.last() {
            Some(Record::StepEnd(end)) => Some(*end),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
