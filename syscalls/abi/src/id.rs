//! Ids: one machine word each, never reused while anyone could mistake the owner.

use std::fmt;
use std::num::NonZeroU64;

const PLACE_BITS: u32 = 24;

/// How many tasks may live at once: 2^24, for so many places a [`TaskId`] can name.
pub const MAX_TASKS: usize = 1 << PLACE_BITS;

/// Names a task, for as long as the scheduler lives.
///
/// What is shown is its sequence: 1 for the first task spawned, then 2, 3, …. Beside it lies the
/// task's place in the kernel's table, so that finding a task is an index and a comparison.
///
/// ```
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// let (first, second) = (scheduler.spawn(async {}), scheduler.spawn(async {}));
/// assert_ne!(first.id(), second.id(), "an id is never given twice");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(NonZeroU64);

impl TaskId {
    /// The largest sequence; after it the sequence begins again.
    pub const MAX_SEQUENCE: u64 = (1 << (64 - PLACE_BITS)) - 1;

    /// The id of the `sequence`-th task, which lives at `place`. For kernels.
    ///
    /// # Panics
    /// If `sequence` is 0 or over [`TaskId::MAX_SEQUENCE`], or `place` is not below [`MAX_TASKS`].
    #[must_use]
    #[inline]
    pub fn new(sequence: u64, place: usize) -> TaskId {
        assert!(sequence <= TaskId::MAX_SEQUENCE && place < MAX_TASKS, "a task id out of range");
        let word = (sequence << PLACE_BITS) | place as u64;
        assert!(sequence != 0, "task sequences begin at 1");
        TaskId(NonZeroU64::new(word).expect("a sequence is not zero"))
    }

    /// The id as a word, for an atomic. For kernels.
    #[must_use]
    #[inline]
    pub const fn to_bits(self) -> NonZeroU64 {
        self.0
    }

    /// The id of a word that [`TaskId::to_bits`] gave. For kernels.
    #[must_use]
    #[inline]
    pub const fn from_bits(word: NonZeroU64) -> TaskId {
        TaskId(word)
    }

    /// The number that is shown: 1, 2, 3, …
    #[must_use]
    #[inline]
    pub fn sequence(self) -> u64 {
        self.0.get() >> PLACE_BITS
    }

    /// Where the kernel keeps the task. For kernels.
    #[must_use]
    #[inline]
    pub fn place(self) -> usize {
        (self.0.get() & (MAX_TASKS as u64 - 1)) as usize
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sequence().fmt(f)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({})", self.sequence())
    }
}

/// Names a call in flight: its place in the call table and a serial that no other call of its ring ever has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId {
    pub(crate) serial: NonZeroU64,
    pub(crate) place: u32,
}

impl CallId {
    /// The call's number; it rises with every call a ring ever carried.
    #[must_use]
    pub fn serial(self) -> u64 {
        self.serial.get()
    }
}

/// Names an I/O source of the library's own: a place and a generation, so that an event of a
/// closed source reaches no one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SourceId {
    /// Its place in the source table.
    pub place: u32,
    /// Distinguishes the owners that a place has had.
    pub generation: u32,
}
