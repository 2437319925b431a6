//! Recordings: a whole trace, with the state at any of its steps.

mod damage;
mod index;
mod reader;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

pub use damage::{Damage, DamageKind};

use self::index::Index;
use self::reader::Reader;
use crate::format::{Header, HeaderError, Version};
use crate::mirror::Mirror;
use crate::record::Record;

/// A trace that is read as a whole.
///
/// One pass makes an index: a copy of the mirror now and then, from which any step is a short replay away.
/// Whatever the file holds, that takes at most 16 times its size, or 16 MiB if that is more.
///
/// ```
/// use trapline_scheduler::Scheduler;
/// use trapline_trace::Recording;
/// use trapline_trace::agent::{Agent, Recorder, RecorderOptions};
/// use trapline_trace::words::RecordOptions;
///
/// # let file = std::env::temp_dir().join(format!("trapline-doc-{}.trace", std::process::id()));
/// let recorder = Recorder::open(&file, &RecorderOptions::new(&RecordOptions::default()))?;
/// let mut scheduler = Scheduler::new();
/// scheduler.spawn(async {}).detach();
/// scheduler.spawn(async {}).detach();
/// Agent::new().outlet(recorder).run(&mut scheduler)?;
///
/// let recording = Recording::open(&file)?;
/// assert_eq!(recording.damage(), None);
/// let after_one_step = recording.state_at(1).unwrap();
/// assert_eq!(after_one_step.ready().collect::<Vec<_>>(), [2]);
/// assert_eq!(recording.end().tasks().count(), 0);
/// # std::fs::remove_file(&file)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Recording {
    bytes: Vec<u8>,
    file: Option<File>,
    version: Version,
    index: Index,
}

/// A record, and the step to which it belongs.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// The step that ends with the next [`Record::StepEnd`], or with this one.
    pub step: u64,
    /// The record.
    pub record: Record,
}

/// Steps that were dropped, since the writer could not keep up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gap {
    /// The last step before it that is in the trace.
    pub after_step: u64,
    /// How many are missing.
    pub missed_steps: u64,
}

/// The text of a source file that is in the trace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceText {
    /// The file, as sites name it.
    pub file: String,
    /// Its text.
    pub text: String,
    /// Whether it is newer than the program.
    pub is_newer: bool,
}

/// Why a trace is not read at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no trace, or one of another version.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

impl Recording {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is no trace, or is one of another major version. A trace that is damaged is
    /// read up to there: see [`damage`](Recording::damage).
    pub fn open(path: impl AsRef<Path>) -> Result<Recording, OpenError> {
        let mut recording = Recording::begin(path)?;
        recording.refresh()?;
        Ok(recording)
    }

    /// Opens a file, and reads nothing of it but whether it is a trace: [`read_on`](Recording::read_on) reads the
    /// rest, as much at a time as one has time for.
    ///
    /// # Errors
    /// It cannot be read, is no trace, or is one of another major version.
    pub fn begin(path: impl AsRef<Path>) -> Result<Recording, OpenError> {
        let mut file = File::open(path)?;
        let mut bytes = Vec::new();
        bytes.reserve_exact(usize::try_from(file.metadata()?.len()).unwrap_or(0));
        Read::by_ref(&mut file).take(Header::LENGTH as u64).read_to_end(&mut bytes)?;
        let mut recording = Recording::from_bytes(bytes)?;
        recording.file = Some(file);
        Ok(recording)
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// They are no trace, or one of another major version.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Recording, OpenError> {
        let header = Header::read(&bytes)?;
        let mut index = Index::new();
        index.advance(&bytes, bytes.len(), |_, _, _| {});
        Ok(Recording { bytes, file: None, version: header.version, index })
    }

    /// Reads what has been written to the file since. Gives whether there was anything.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn refresh(&mut self) -> io::Result<bool> {
        Ok(self.read_on(usize::MAX, |_, _, _| {})? > 0)
    }

    /// Reads at most so many bytes more of the file, and tells `seen` of each record in them: its step, the record,
    /// and the state before it. Gives how many bytes it has read; none where the file ends for now.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_on(
        &mut self,
        most_bytes: usize,
        seen: impl FnMut(u64, &Record, &Mirror),
    ) -> io::Result<usize> {
        let Some(file) = &mut self.file else { return Ok(0) };
        let before = self.bytes.len();
        file.seek(SeekFrom::Start(before as u64))?;
        file.take(most_bytes as u64).read_to_end(&mut self.bytes)?;
        let read = self.bytes.len() - before;
        if read > 0 {
            // What the state may take depends on the whole file, not on how much of it has been read.
            let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
            self.index.advance(&self.bytes, length.max(self.bytes.len()), seen);
        }
        Ok(read)
    }

    /// The version of whoever wrote it.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Why what follows could not be read, if the trace does not end as it should.
    #[must_use]
    pub fn damage(&self) -> Option<&Damage> {
        self.index.damage()
    }

    /// How many steps are in the trace, as a whole.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.index.segments().iter().map(|segment| segment.steps()).sum()
    }

    /// The first step that is in the trace.
    #[must_use]
    pub fn first_step(&self) -> Option<u64> {
        Some(self.index.segments().first()?.first)
    }

    /// The last step that is in the trace as a whole.
    #[must_use]
    pub fn last_step(&self) -> Option<u64> {
        Some(self.index.segments().last()?.last)
    }

    /// Whether a step is in the trace as a whole.
    #[must_use]
    pub fn has_step(&self, step: u64) -> bool {
        self.index.has_step(step)
    }

    /// The steps that are missing in between.
    #[must_use]
    pub fn gaps(&self) -> &[Gap] {
        self.index.gaps()
    }

    /// What is said about the run: its name, arguments, seed, …, each with what it was said to be last.
    #[must_use]
    pub fn properties(&self) -> &[(String, String)] {
        self.index.properties()
    }

    /// What is said about the run, by its key.
    #[must_use]
    pub fn property(&self, key: &str) -> Option<&str> {
        let found = self.properties().iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    /// The source files whose text is in the trace.
    #[must_use]
    pub fn sources(&self) -> &[SourceText] {
        self.index.sources()
    }

    /// The text of a source file, as sites name it.
    #[must_use]
    pub fn source(&self, file: &str) -> Option<&SourceText> {
        self.sources().iter().find(|source| source.file == file)
    }

    /// The state after a step; `None` if the step is not in the trace.
    #[must_use]
    pub fn state_at(&self, step: u64) -> Option<Mirror> {
        if !self.has_step(step) {
            return None;
        }
        let checkpoint = self.index.checkpoint(step);
        let mut mirror = checkpoint.mirror.clone();
        let mut reader = self.reader(checkpoint);
        while mirror.step() != step || mirror.is_in_step() {
            mirror.apply(&reader.next()?).ok()?;
        }
        Some(mirror)
    }

    /// The state where the trace ends, with what is there of a step that has not ended.
    #[must_use]
    pub fn end(&self) -> &Mirror {
        self.index.mirror()
    }

    /// The records of a step, its [`Record::StepEnd`] last; none if the step is not in the trace.
    pub fn records_of(&self, step: u64) -> impl Iterator<Item = Record> + '_ {
        let from = self.has_step(step).then(|| self.records_from(step));
        from.into_iter().flatten().take_while(move |e| e.step == step).map(|entry| entry.record)
    }

    /// All records.
    pub fn records(&self) -> Records<'_> {
        self.records_from(0)
    }

    /// The records from a step on, with what is there of a step that has not ended.
    pub fn records_from(&self, step: u64) -> Records<'_> {
        let checkpoint = self.index.checkpoint(step.saturating_sub(1));
        let mut records =
            Records { reader: self.reader(checkpoint), over: checkpoint.mirror.step(), next: None };
        while let Some(entry) = records.next() {
            if entry.step >= step {
                records.next = Some(entry);
                break;
            }
        }
        records
    }

    fn reader(&self, checkpoint: &index::Checkpoint) -> Reader<'_> {
        Reader::new(&self.bytes[..self.index.end()], checkpoint.place, checkpoint.decoder.clone())
    }
}

/// Records of a recording, in order.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    reader: Reader<'a>,
    /// How many steps are over.
    over: u64,
    next: Option<Entry>,
}

impl Iterator for Records<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        if self.next.is_some() {
            return self.next.take();
        }
        let record = self.reader.next()?;
        if let Record::Reset { step, .. } = record {
            self.over = step;
        }
        let step = self.over.saturating_add(1);
        if let Record::StepEnd(_) = record {
            self.over = step;
        }
        Some(Entry { step, record })
    }
}
