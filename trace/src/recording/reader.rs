//! Records out of the bytes of a file that has been found good.

use super::DamageKind;
use crate::format::{Chunks, Decoder, Header, NoChunk};
use crate::record::Record;

/// Where in a file a record begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) offset: usize,
    /// Where its chunk ends.
    pub(super) chunk_end: usize,
}

impl Place {
    pub(super) const START: Place = Place { offset: Header::LENGTH, chunk_end: Header::LENGTH };
}

#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    place: Place,
    decoder: Decoder,
    is_checked: bool,
}

impl<'a> Reader<'a> {
    /// Reads on from `place`, where `decoder` has come, what has been checked before.
    pub(super) fn new(bytes: &'a [u8], place: Place, decoder: Decoder) -> Reader<'a> {
        Reader { bytes, place, decoder, is_checked: true }
    }

    /// The same, of bytes that nobody has looked at.
    pub(super) fn unchecked(bytes: &'a [u8], place: Place, decoder: Decoder) -> Reader<'a> {
        Reader { is_checked: false, ..Reader::new(bytes, place, decoder) }
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    pub(super) fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    pub(super) fn into_decoder(self) -> Decoder {
        self.decoder
    }

    /// The next record of bytes that have been checked.
    pub(super) fn next(&mut self) -> Option<Record> {
        self.read().ok().flatten()
    }

    /// The next record; `None` where the file ends.
    #[inline]
    pub(super) fn read(&mut self) -> Result<Option<Record>, DamageKind> {
        loop {
            let Place { offset, chunk_end } = self.place;
            let chunk_end = chunk_end.min(self.bytes.len());
            if offset < chunk_end {
                let mut rest = &self.bytes[offset..chunk_end];
                let record = self.decoder.decode(&mut rest)?;
                self.place.offset = chunk_end - rest.len();
                match record {
                    None if rest.is_empty() => continue,
                    None => return Err(DamageKind::Cut),
                    record => return Ok(record),
                }
            }
            if !self.next_chunk()? {
                return Ok(None);
            }
        }
    }

    fn next_chunk(&mut self) -> Result<bool, DamageKind> {
        let mut chunks = Chunks::at(self.bytes, self.place.offset);
        let taken = if self.is_checked { chunks.read_checked() } else { chunks.read() };
        match taken {
            Ok(chunk) => {
                self.place = Place { offset: chunk.offset, chunk_end: chunks.offset() };
                Ok(true)
            }
            Err(NoChunk::End) => Ok(false),
            Err(NoChunk::Truncated) => Err(DamageKind::Truncated),
            Err(NoChunk::Checksum) => Err(DamageKind::Checksum),
        }
    }
}
