//! What can be wrong with a trace.

use std::fmt;

use crate::format::FormatError;
use crate::mirror::MirrorError;

/// Where a trace cannot be read any further, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Damage {
    /// Where, in bytes from the beginning of the file.
    pub offset: u64,
    /// How many steps were over there.
    pub after_step: u64,
    /// What is wrong.
    pub kind: DamageKind,
}

/// What is wrong with a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DamageKind {
    /// It ends in the midst of a chunk: it is still being written, or the writer was stopped.
    #[error("the file ends in the midst of a chunk")]
    Truncated,
    /// A chunk is not what was written.
    #[error("the checksum of a chunk is wrong")]
    Checksum,
    /// What is there is no record.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A chunk ends in the midst of a record.
    #[error("a chunk ends in the midst of a record")]
    Cut,
    /// It does not begin with a [`Record::Reset`](crate::Record::Reset).
    #[error("it does not begin with a reset")]
    NoReset,
    /// A record contradicts the ones before it.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The state that it tells of takes far more than its own bytes.
    #[error("it tells of more than so few bytes can hold")]
    TooMuch,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { offset, after_step, kind } = self;
        write!(f, "the trace is read up to step {after_step} only: {kind} (at byte {offset})")
    }
}
