//! Files: a header, then chunks that can each be checked.

use std::io::{self, Write};

use super::{VERSION, Version};

/// What a trace begins with.
const MAGIC: [u8; 8] = *b"TRAPLINE";

const HEADER_LENGTH: usize = 12;

const CHUNK_HEADER_LENGTH: usize = 16;

/// Writes a trace.
#[derive(Debug)]
pub struct FileWriter<W> {
    inner: W,
}

impl<W: Write> FileWriter<W> {
    /// Begins a trace with its header.
    ///
    /// # Errors
    /// The header could not be written.
    pub fn new(mut inner: W) -> io::Result<FileWriter<W>> {
        let mut header = [0; HEADER_LENGTH];
        header[..8].copy_from_slice(&MAGIC);
        header[8..10].copy_from_slice(&VERSION.major.to_le_bytes());
        header[10..].copy_from_slice(&VERSION.minor.to_le_bytes());
        inner.write_all(&header)?;
        Ok(FileWriter { inner })
    }

    /// Writes some records, as [`Encoder`](super::Encoder) has put them into bytes, all of each. `first_step` steps
    /// are over before them. It makes one call of [`Write::write_vectored`] where the writer takes all at once.
    ///
    /// # Errors
    /// They could not be written, or are more than 4 GiB.
    pub fn chunk(&mut self, first_step: u64, records: &[u8]) -> io::Result<()> {
        let length = u32::try_from(records.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut header = [0; CHUNK_HEADER_LENGTH];
        header[..4].copy_from_slice(&length.to_le_bytes());
        header[4..12].copy_from_slice(&first_step.to_le_bytes());
        let sum = checksum(&header[..12], records);
        header[12..].copy_from_slice(&sum.to_le_bytes());
        let slices = &mut [io::IoSlice::new(&header), io::IoSlice::new(records)];
        let written = match self.inner.write_vectored(slices) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            written => written?,
        };
        if written < header.len() {
            self.inner.write_all(&header[written..])?;
        }
        self.inner.write_all(&records[written.saturating_sub(header.len())..])
    }

    /// How many bytes a chunk of `records` bytes takes in the file.
    #[must_use]
    pub fn chunk_length(records: usize) -> u64 {
        records as u64 + CHUNK_HEADER_LENGTH as u64
    }

    /// What is written to.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.inner
    }

    /// What has been written to.
    pub fn into_inner(self) -> W {
        self.inner
    }
}

/// The header of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The version of whoever wrote it.
    pub version: Version,
}

impl Header {
    /// How many bytes it takes.
    pub const LENGTH: usize = HEADER_LENGTH;

    /// Reads the header that `bytes` begin with.
    ///
    /// # Errors
    /// They begin with none, or with one of another major version.
    pub fn read(bytes: &[u8]) -> Result<Header, HeaderError> {
        let header = bytes.first_chunk::<HEADER_LENGTH>().ok_or(HeaderError::NoTrace)?;
        if header[..8] != MAGIC {
            return Err(HeaderError::NoTrace);
        }
        let version = Version {
            major: u16::from_le_bytes([header[8], header[9]]),
            minor: u16::from_le_bytes([header[10], header[11]]),
        };
        if version.major != VERSION.major {
            return Err(HeaderError::OtherVersion { found: version });
        }
        Ok(Header { version })
    }
}

/// Why a file is not read at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// It does not begin as a trace does.
    #[error("this is not a trace")]
    NoTrace,
    /// Its format is another one.
    #[error("this is a trace of version {found}, and only those of version {}.x can be read", VERSION.major)]
    OtherVersion {
        /// The version.
        found: Version,
    },
}

/// A chunk of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk<'a> {
    /// How many steps are over before it.
    pub first_step: u64,
    /// Where its records begin, counted from the beginning of the file.
    pub offset: usize,
    /// Its records.
    pub records: &'a [u8],
}

/// Goes over the chunks of a trace, up to the first that is not whole.
#[derive(Clone, Debug)]
pub struct Chunks<'a> {
    bytes: &'a [u8],
    offset: usize,
}

/// Why no chunk is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoChunk {
    /// The file ends here, as it should.
    End,
    /// The file ends within a chunk.
    Truncated,
    /// The bytes are not those that were written.
    Checksum,
}

impl<'a> Chunks<'a> {
    /// The chunks of a trace whose bytes are `bytes`, header included.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Chunks<'a> {
        Chunks::at(bytes, HEADER_LENGTH)
    }

    pub(crate) fn at(bytes: &'a [u8], offset: usize) -> Chunks<'a> {
        Chunks { bytes, offset }
    }

    /// Where the next chunk begins.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// The next chunk, if its checksum is right.
    pub(crate) fn read(&mut self) -> Result<Chunk<'a>, NoChunk> {
        let before = self.offset;
        let (chunk, length) = self.next_header()?;
        if chunk.records.len() < length {
            self.offset = before;
            return Err(NoChunk::Truncated);
        }
        let (header, sum) = self.bytes[before..chunk.offset].split_at(CHUNK_HEADER_LENGTH - 4);
        if checksum(header, chunk.records).to_le_bytes() != *sum {
            self.offset = before;
            return Err(NoChunk::Checksum);
        }
        Ok(chunk)
    }

    /// The next chunk, whose checksum is known to be right. Of one whose end is not worth reading a part may be
    /// there.
    pub(crate) fn read_checked(&mut self) -> Result<Chunk<'a>, NoChunk> {
        self.next_header().map(|(chunk, _)| chunk)
    }

    /// The next chunk, as far as it is there, and how long it should be.
    fn next_header(&mut self) -> Result<(Chunk<'a>, usize), NoChunk> {
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        if rest.is_empty() {
            return Err(NoChunk::End);
        }
        let (header, rest) =
            rest.split_first_chunk::<CHUNK_HEADER_LENGTH>().ok_or(NoChunk::Truncated)?;
        let [l0, l1, l2, l3, s0, s1, s2, s3, s4, s5, s6, s7, ..] = *header;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let records = &rest[..length.min(rest.len())];
        let offset = self.offset + CHUNK_HEADER_LENGTH;
        self.offset = offset.saturating_add(length);
        let first_step = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
        Ok((Chunk { first_step, offset, records }, length))
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        self.read().ok()
    }
}

fn checksum(header: &[u8], records: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(header);
    sum.update(records);
    sum.finalize()
}
