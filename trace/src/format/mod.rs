//! The format: records as bytes. `docs/trace-format.md` describes it for whoever writes another reader.

mod context;
mod decoder;
mod encoder;
mod file;
mod varint;

pub use decoder::Decoder;
pub use encoder::Encoder;
pub(crate) use file::NoChunk;
pub use file::{Chunk, Chunks, FileWriter, Header, HeaderError};

/// The version of the format that is written here. Another major one is refused; a newer minor one may
/// have remarks that are skipped.
pub const VERSION: Version = Version { major: 1, minor: 0 };

/// The longest text of a string, in bytes; what is longer is cut where it is written.
pub const MAX_STRING: usize = 64 * 1024;

/// The longest remark, in bytes: the text of a source file is one.
pub const MAX_REMARK: usize = 2 * 1024 * 1024;

/// A version of the format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    /// Who reads one of these reads no other.
    pub major: u16,
    /// What has been added since.
    pub minor: u16,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Bytes that are no record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// No record begins with this byte.
    #[error("no record begins with byte {0:#04x}")]
    UnknownOpcode(u8),
    /// No value, or cause, or the like, begins with this byte.
    #[error("no {what} begins with byte {byte:#04x}")]
    UnknownTag {
        /// What was to be read.
        what: &'static str,
        /// The byte.
        byte: u8,
    },
    /// A number is larger than what it counts.
    #[error("a number is too large")]
    NumberTooLarge,
    /// A text is longer than it may be.
    #[error("a text of {0} bytes is too long")]
    TooLong(u64),
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// A place in a table that nothing was written to.
    #[error("place {0} of a table is empty")]
    EmptySlot(u8),
    /// A remark ends before it is complete.
    #[error("a remark ends early")]
    ShortRemark,
}
