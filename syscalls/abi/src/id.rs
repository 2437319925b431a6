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
    /// ```
    /// let id = trapline_abi::TaskId::new(3, 0);
    /// assert_eq!((id.sequence(), id.place()), (3, 0));
    /// ```
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
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use trapline_abi::TaskId;
    ///
    /// let latest = AtomicU64::new(0);
    /// latest.store(TaskId::new(3, 0).to_bits().get(), Ordering::Relaxed);
    /// assert_ne!(latest.into_inner(), 0, "no id is zero");
    /// ```
    #[must_use]
    #[inline]
    pub const fn to_bits(self) -> NonZeroU64 {
        self.0
    }

    /// The id of a word that [`TaskId::to_bits`] gave. For kernels.
    ///
    /// ```
    /// use trapline_abi::TaskId;
    ///
    /// let id = TaskId::new(3, 0);
    /// assert_eq!(TaskId::from_bits(id.to_bits()), id);
    /// ```
    #[must_use]
    #[inline]
    pub const fn from_bits(word: NonZeroU64) -> TaskId {
        TaskId(word)
    }

    /// The number that is shown: 1, 2, 3, …
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let (first, second) = (scheduler.spawn(async {}), scheduler.spawn(async {}));
    /// assert_eq!((first.id().sequence(), second.id().sequence()), (1, 2));
    /// ```
    #[must_use]
    #[inline]
    pub fn sequence(self) -> u64 {
        self.0.get() >> PLACE_BITS
    }

    /// Where the kernel keeps the task. For kernels.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let (first, second) = (scheduler.spawn(async {}), scheduler.spawn(async {}));
    /// // Two tasks that live at the same time stand in two places.
    /// assert_ne!(first.id().place(), second.id().place());
    /// ```
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
///
/// ```
/// use trapline_abi::{CallId, KernelFace, OwnCall, Served, own_call};
///
/// /// Under which id is this call known?
/// struct WhichCall;
///
/// impl OwnCall for WhichCall {
///     type Reply = CallId;
/// #
/// #    fn name(&self) -> &'static str { "which_call" }
///
///     fn serve(&mut self, _kernel: &mut dyn KernelFace, call: CallId) -> Served<CallId> {
///         Served::Answer(call)
///     }
/// }
///
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// let ask_twice = async { (own_call(WhichCall).await, own_call(WhichCall).await) };
/// let (first, second) = scheduler.block_on(ask_twice)?;
/// assert_ne!(first, second);
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId {
    pub(crate) serial: NonZeroU64,
    pub(crate) place: u32,
}

impl CallId {
    /// The call's number; it rises with every call a ring ever carried.
    ///
    /// ```
    /// use trapline_abi::{TaskState, WaitQueue};
    ///
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.spawn(async { WaitQueue::new(0).park().await });
    /// scheduler.run().unwrap_err(); // nobody wakes it
    /// let snapshot = scheduler.snapshot();
    /// let TaskState::Blocked(calls) = &snapshot.task(task.id()).unwrap().state else { unreachable!() };
    /// println!("call {} waits", calls[0].id.serial());
    /// ```
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
