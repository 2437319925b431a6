//! Some steps of a recording, as a recording of its own.

use std::str::FromStr;

use trapline_trace::format::{Encoder, FileWriter};
use trapline_trace::{Mirror, Record, Recording, Remark, Str, key_frame};

use crate::failure::Failure;

/// Bytes of a chunk.
const CHUNK: usize = 256 * 1024;

/// From a step to a step, both of them with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    first: u64,
    last: u64,
}

impl FromStr for Steps {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Steps, &'static str> {
        let parsed = text.split_once("..").and_then(|(first, last)| {
            Some(Steps { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? })
        });
        match parsed {
            Some(steps) if steps.first <= steps.last => Ok(steps),
            _ => Err("steps are written A..B, with A at most B"),
        }
    }
}

/// These steps, with the state before them.
pub(super) fn cut(recording: &Recording, steps: Steps) -> Result<Vec<u8>, Failure> {
    let (Some(first), Some(last)) = (recording.first_step(), recording.last_step()) else {
        return Err(Failure::said("the recording has no steps"));
    };
    if steps.first > last || steps.last < first {
        return Err(Failure::said(format!("the recording has the steps {first} to {last}")));
    }
    let mut writer = Writer::new()?;
    let from = steps.first.max(first);
    let before = recording.state_at(from.saturating_sub(1));
    // What is known of the whole run, before all that its own definitions would count.
    let start = Record::Reset { step: from.saturating_sub(1), at_nanos: 0, missed_steps: 0 };
    writer.add(&start)?;
    writer.texts(recording)?;
    let mut has_state = false;
    if let Some(before) = before {
        writer.state(&before)?;
        has_state = true;
    }
    for entry in recording.records_from(from) {
        if entry.step > steps.last {
            break;
        }
        // Without a state before it, the recording tells one where it begins.
        has_state |= matches!(entry.record, Record::Reset { .. });
        if has_state && !is_text(&entry.record) {
            writer.add(&entry.record)?;
        }
    }
    writer.end()
}

fn is_text(record: &Record) -> bool {
    matches!(record, Record::Remark(Remark::Property { .. } | Remark::Source { .. }))
}

struct Writer {
    file: FileWriter<Vec<u8>>,
    encoder: Encoder,
    chunk: Vec<u8>,
    /// How many steps were over where the chunk begins, and are now.
    first: u64,
    over: u64,
}

impl Writer {
    fn new() -> Result<Writer, Failure> {
        let file = FileWriter::new(Vec::new()).map_err(Failure::Output)?;
        Ok(Writer { file, encoder: Encoder::new(), chunk: Vec::new(), first: 0, over: 0 })
    }

    fn add(&mut self, record: &Record) -> Result<(), Failure> {
        if self.chunk.len() >= CHUNK {
            self.write_chunk()?;
        }
        self.encoder.encode(record, &mut self.chunk);
        match record {
            Record::Reset { step, .. } => self.over = *step,
            Record::StepEnd(_) => self.over += 1,
            _ => {}
        }
        Ok(())
    }

    fn texts(&mut self, recording: &Recording) -> Result<(), Failure> {
        let mut strings = 0;
        let mut next = || {
            strings += 1;
            Str(strings - 1)
        };
        for (key, value) in recording.properties() {
            self.add(&Record::DefineString(key.clone()))?;
            self.add(&Record::DefineString(value.clone()))?;
            let (key, value) = (next(), next());
            self.add(&Record::Remark(Remark::Property { key, value }))?;
        }
        for source in recording.sources() {
            self.add(&Record::DefineString(source.file.clone()))?;
            let (text, is_newer) = (source.text.clone(), source.is_newer);
            self.add(&Record::Remark(Remark::Source { file: next(), text, is_newer }))?;
        }
        Ok(())
    }

    fn state(&mut self, mirror: &Mirror) -> Result<(), Failure> {
        let mut done = Ok(());
        key_frame(mirror, &mut |record| {
            if done.is_ok() {
                done = self.add(record);
            }
        });
        done
    }

    fn write_chunk(&mut self) -> Result<(), Failure> {
        self.file.chunk(self.first, &self.chunk).map_err(Failure::Output)?;
        self.chunk.clear();
        self.first = self.over;
        Ok(())
    }

    fn end(mut self) -> Result<Vec<u8>, Failure> {
        self.write_chunk()?;
        Ok(self.file.into_inner())
    }
}
