//! The index of a recording: one pass over the file.

use super::reader::{Place, Reader};
use super::{Damage, DamageKind, Gap, SourceText};
use crate::format::Decoder;
use crate::mirror::Mirror;
use crate::record::{Record, Remark, Str};

/// Records between two checkpoints, at least: a replay of so many is not noticed.
const RECORDS: usize = 4096;

/// A checkpoint is worth at most so many times the bytes since the last one.
const CHECKPOINT_RATIO: usize = 2;

/// The state is worth at most so many times the bytes of the file. A task that is born and waits is about 15 bytes
/// there, and 220 in the mirror; but who tells of 70,000 such tasks and nothing else does not make a recording.
const STATE_RATIO: usize = 10;

/// What the state may take in any case.
const STATE_FLOOR: usize = 12 * 1024 * 1024;

/// How often the size of the state is looked at, in records.
const LOOK: usize = 64;

#[derive(Debug)]
pub(super) struct Index {
    checkpoints: Vec<Checkpoint>,
    segments: Vec<Segment>,
    gaps: Vec<Gap>,
    properties: Vec<(String, String)>,
    sources: Vec<SourceText>,
    /// What these two take.
    texts: usize,
    damage: Option<Damage>,
    /// Whether that may be over once there is more of the file.
    may_go_on: bool,
    mirror: Mirror,
    decoder: Decoder,
    place: Place,
    records_since: usize,
}

/// The state after a step, and where to go on from there.
#[derive(Debug)]
pub(super) struct Checkpoint {
    pub(super) mirror: Mirror,
    pub(super) decoder: Decoder,
    pub(super) place: Place,
}

/// Steps without a gap between them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Segment {
    pub(super) fn steps(&self) -> u64 {
        self.last - self.first + 1
    }
}

impl Index {
    pub(super) fn new() -> Index {
        let first =
            Checkpoint { mirror: Mirror::new(), decoder: Decoder::new(), place: Place::START };
        Index {
            checkpoints: vec![first],
            segments: Vec::new(),
            gaps: Vec::new(),
            properties: Vec::new(),
            sources: Vec::new(),
            texts: 0,
            damage: None,
            may_go_on: false,
            mirror: Mirror::new(),
            decoder: Decoder::new(),
            place: Place::START,
            records_since: 0,
        }
    }

    /// Reads on, to the end of `bytes` or to where they are damaged. They are, or are to become, a file of so many
    /// bytes. `seen` is told of each record, with its step and the state before it.
    pub(super) fn advance(
        &mut self,
        bytes: &[u8],
        file_size: usize,
        mut seen: impl FnMut(u64, &Record, &Mirror),
    ) {
        if self.damage.is_some() && !self.may_go_on {
            return;
        }
        self.damage = None;
        let decoder = std::mem::take(&mut self.decoder);
        let mut reader = Reader::unchecked(bytes, self.place, decoder);
        let stopped = loop {
            match reader.read() {
                Ok(None) => break None,
                Ok(Some(record)) => {
                    let over = match record {
                        Record::Reset { step, .. } => step,
                        _ => self.mirror.step(),
                    };
                    seen(over.saturating_add(1), &record, &self.mirror);
                    if let Err(kind) = self.record(record, &reader, file_size) {
                        break Some((kind, false));
                    }
                    self.place = reader.place();
                    if self.is_too_large(file_size) {
                        // Of a longer file it may not be.
                        break Some((DamageKind::TooMuch, true));
                    }
                }
                Err(kind) => break Some((kind, kind == DamageKind::Truncated)),
            }
        };
        if let Some((kind, may_go_on)) = stopped {
            self.may_go_on = may_go_on;
            let (offset, after_step) = (self.place.offset as u64, self.mirror.step());
            self.damage = Some(Damage { offset, after_step, kind });
        }
        self.decoder = reader.into_decoder();
    }

    fn record(
        &mut self,
        record: Record,
        reader: &Reader<'_>,
        file_size: usize,
    ) -> Result<(), DamageKind> {
        if self.place.offset == Place::START.offset && !matches!(record, Record::Reset { .. }) {
            return Err(DamageKind::NoReset);
        }
        let over = self.mirror.step();
        self.mirror.apply(&record)?;
        self.records_since += 1;
        match record {
            Record::Reset { step, missed_steps, .. } => self.reset(over, step, missed_steps),
            Record::StepEnd(_) => self.step_end(reader),
            Record::Remark(Remark::Property { key, value }) => {
                self.property(key, value, file_size)?;
            }
            Record::Remark(Remark::Source { file, text, is_newer }) => {
                self.source(file, text, is_newer, file_size)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn is_too_large(&self, file_size: usize) -> bool {
        let limit = STATE_RATIO.saturating_mul(file_size).max(STATE_FLOOR);
        self.records_since.is_multiple_of(LOOK) && self.mirror.size() > limit
    }

    fn reset(&mut self, over: u64, step: u64, missed_steps: u64) {
        if let Some(before) = self.segments.last()
            && (missed_steps != 0 || step != before.last)
        {
            self.gaps.push(Gap { after_step: over, missed_steps });
        }
    }

    fn step_end(&mut self, reader: &Reader<'_>) {
        let step = self.mirror.step();
        match self.segments.last_mut() {
            Some(segment) if segment.last.checked_add(1) == Some(step) => segment.last = step,
            Some(segment) if segment.last >= step => {}
            _ => self.segments.push(Segment { first: step, last: step }),
        }
        if self.records_since < RECORDS {
            return;
        }
        let since = self.checkpoints.last().map_or(0, |last| last.place.offset);
        let size = self.mirror.size() + reader.decoder().heap_size() + size_of::<Checkpoint>();
        if size > CHECKPOINT_RATIO * (reader.place().offset - since) {
            return;
        }
        self.records_since = 0;
        self.checkpoints.push(Checkpoint {
            mirror: self.mirror.clone(),
            decoder: reader.decoder().clone(),
            place: reader.place(),
        });
    }

    fn property(&mut self, key: Str, value: Str, file_size: usize) -> Result<(), DamageKind> {
        let tables = self.mirror.tables();
        let (key, value) = (tables.str(key), tables.str(value));
        match self.properties.iter_mut().find(|(name, _)| name == key) {
            Some((_, before)) if before == value => return Ok(()),
            Some((_, before)) => *before = value.to_owned(),
            None => self.properties.push((key.to_owned(), value.to_owned())),
        }
        self.texts += key.len() + value.len() + size_of::<(String, String)>();
        self.check_texts(self.properties.len(), file_size)
    }

    fn source(
        &mut self,
        file: Str,
        text: String,
        is_newer: bool,
        file_size: usize,
    ) -> Result<(), DamageKind> {
        let file = self.mirror.tables().str(file);
        if self.sources.iter().any(|source| source.file == file) {
            return Ok(());
        }
        self.texts += file.len() + text.len() + size_of::<SourceText>();
        self.sources.push(SourceText { file: file.to_owned(), text, is_newer });
        self.check_texts(self.sources.len(), file_size)
    }

    /// Texts are in the file once, so they are not more than it; except that a few bytes may name a long one.
    fn check_texts(&self, count: usize, file_size: usize) -> Result<(), DamageKind> {
        match count > MAX_TEXTS || self.texts > 2 * file_size + STATE_FLOOR {
            true => Err(DamageKind::TooMuch),
            false => Ok(()),
        }
    }

    pub(super) fn has_step(&self, step: u64) -> bool {
        let after = self.segments.partition_point(|segment| segment.last < step);
        self.segments.get(after).is_some_and(|segment| segment.first <= step)
    }

    /// The last checkpoint at or before a step; the beginning of the file, if there is none.
    pub(super) fn checkpoint(&self, step: u64) -> &Checkpoint {
        let after = self.checkpoints.partition_point(|point| point.mirror.step() <= step);
        &self.checkpoints[after.saturating_sub(1)]
    }

    /// Where the part of the file that could be read ends.
    pub(super) fn end(&self) -> usize {
        self.place.offset
    }

    pub(super) fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    pub(super) fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    pub(super) fn properties(&self) -> &[(String, String)] {
        &self.properties
    }

    pub(super) fn sources(&self) -> &[SourceText] {
        &self.sources
    }

    pub(super) fn mirror(&self) -> &Mirror {
        &self.mirror
    }
}

/// Properties, and source files, that a trace has at most.
const MAX_TEXTS: usize = 4096;
