//! What a feed's scribe writes on: bytes.

use std::path::PathBuf;

use super::recorder::source_of;
use crate::format::Encoder;
use crate::record::{Record, Remark, Str};
use crate::scribe::Paper;

/// Records, encoded as they come: one that is known where it is written never lies in memory as such.
#[derive(Debug, Default)]
pub(super) struct Page {
    encoder: Encoder,
    /// What has been encoded and not been published.
    pub(super) bytes: Vec<u8>,
    sources: Option<Box<Sources>>,
}

/// The source files whose text is to be written.
#[derive(Debug)]
struct Sources {
    /// Those below this.
    directory: PathBuf,
    /// So many strings have been defined.
    strings: u32,
}

impl Page {
    pub(super) fn set_sources(&mut self, directory: PathBuf) {
        self.sources = Some(Box::new(Sources { directory, strings: 0 }));
    }

    /// Puts the text of each file behind the record that is the first to name it.
    #[cold]
    #[inline(never)]
    fn push_and_source(&mut self, record: &Record) {
        self.encoder.encode(record, &mut self.bytes);
        let Some(sources) = &mut self.sources else { return };
        match record {
            Record::Reset { .. } => sources.strings = 0,
            Record::DefineString(name) => {
                let file = Str(sources.strings);
                sources.strings += 1;
                if name.ends_with(".rs")
                    && let Some((text, is_newer)) = source_of(&sources.directory, name)
                {
                    let source = Record::Remark(Remark::Source { file, text, is_newer });
                    self.encoder.encode(&source, &mut self.bytes);
                }
            }
            _ => {}
        }
    }
}

impl Paper for Page {
    #[inline(always)]
    fn push(&mut self, record: Record) {
        if let Record::Reset { .. } | Record::DefineString(_) = record {
            self.push_and_source(&record);
        } else {
            self.encoder.encode_here(&record, &mut self.bytes);
        }
        // Said to the compiler, which does not see it: a twentieth of what it costs to record.
        if !record.owns_memory() {
            std::mem::forget(record);
        }
    }
}
