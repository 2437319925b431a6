//! Traces: what the loop did, as bytes, and the state at any step rebuilt from them.
//!
//! A trace is a sequence of [`Record`]s. *Moves* change the state, and the mirror obeys nothing
//! else; *remarks* are only shown; *definitions* give short numbers to strings, source lines and stacks of
//! frames, so that a record is a few bytes.

pub mod format;
mod mirror;
mod record;
mod recording;

pub use mirror::{
    CallMirror, Mirror, MirrorError, MirrorErrorKind, ObjectMirror, Site, Tables, TaskMirror,
};
pub use record::{
    About, Cause, Ended, Move, On, Record, Remark, SiteRef, StackRef, StepEnd, Str, TaskState,
    Value,
};
pub use recording::{Damage, DamageKind, Entry, Gap, OpenError, Recording, Records, SourceText};
