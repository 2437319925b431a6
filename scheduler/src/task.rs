//! One task, as the kernel keeps it.

use std::panic::Location;
use std::pin::Pin;
use std::task::Waker;

use trapline_abi::{Ended, ListHead, TaskBody, TaskId};

use crate::waker::TaskWaker;

/// What a task is doing.
///
/// ```text
///               spawn                  pick
///   (unborn) ----------> in the queue ---------> current
///                            ^   ^                |   |
///                            |   |  settle (1)    |   |
///                            |   +----------------+   |
///                            |  wake (2)              | settle (3)
///                            +-------- Blocked <------+
///
///   any of them -- end --> Ended -- detach --> (forgotten)
/// ```
///
/// 1. `Kernel::settle`, where the call was answered and the quantum is spent, or the task yielded,
///    or it was woken while it ran.
/// 2. `Kernel::make_ready`, by an answer or by the task's own waker.
/// 3. `Kernel::settle`, where nothing it asked has been answered.
#[derive(Debug)]
pub(crate) enum State {
    /// It is the current task, or stands in the ready queue. `Kernel::current` tells which: so a
    /// task that yields and is taken again is not written to.
    Runnable,
    Blocked,
    /// It has ended, and its destructors run.
    Ending,
    /// Its place is free.
    Gone,
    /// It ended; the handle it was spawned with may still ask how.
    Ended(Exit),
}

/// What is kept of a task that ended: a word, so that a task is not larger for it. What
/// a panic said, or why it was cancelled, is in `Kernel::bad_ends`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exit {
    /// The outcome in the ring, which the handle takes.
    pub(crate) outcome: u32,
    pub(crate) how: How,
    /// Whether someone was told of a panic.
    pub(crate) observed: bool,
}

/// How a task ended, in a byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum How {
    Returned,
    Panicked,
    Killed,
    Cancelled,
}

impl How {
    /// Whether there is more to say of it than this.
    pub(crate) fn is_bad(self) -> bool {
        matches!(self, How::Panicked | How::Cancelled)
    }
}

impl From<How> for Ended {
    fn from(how: How) -> Ended {
        match how {
            How::Returned => Ended::Returned,
            How::Panicked => Ended::Panicked,
            How::Killed => Ended::Killed,
            How::Cancelled => Ended::Cancelled,
        }
    }
}

/// What the loop needs of a task at every switch: a cache line. The rest is its [`Record`].
pub(crate) struct Task {
    pub(crate) id: TaskId,
    /// `None` for the root of `block_on`, which lives on its caller's stack, and once it ended.
    pub(crate) body: Option<Pin<Box<dyn TaskBody>>>,
    /// Its own.
    pub(crate) waker: Waker,
    pub(crate) state: State,
    pub(crate) daemon: bool,
    /// Whether a handle exists that may ask for the result.
    pub(crate) has_handle: bool,
    pub(crate) dispatches: u64,
}

const _: () = assert!(size_of::<Task>() <= 64);

/// What is seldom asked of a task.
pub(crate) struct Record {
    pub(crate) waker: TaskWaker,
    pub(crate) parent: Option<TaskId>,
    pub(crate) site: &'static Location<'static>,
    /// Who waits for its exit.
    pub(crate) waiters: ListHead,
}

impl Task {
    #[inline(always)]
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone)
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self.state, State::Runnable | State::Blocked)
    }
}

/// The numbers of tasks: 1, 2, 3, …; after the last one from 1 again, passing over those in use.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) last: u64,
    pub(crate) wrapped: bool,
    /// Numbers in use when it began again, descending.
    taken: Vec<u64>,
}

impl Sequence {
    pub(crate) fn after(last: u64) -> Sequence {
        Sequence { last, wrapped: false, taken: Vec::new() }
    }

    /// The next number. `in_use` is asked once every 2^40 numbers.
    #[inline]
    pub(crate) fn next(&mut self, in_use: impl Fn() -> Vec<u64>) -> u64 {
        loop {
            if self.last == TaskId::MAX_SEQUENCE {
                self.last = 0;
                self.wrapped = true;
                self.taken = in_use();
                self.taken.sort_unstable_by(|a, b| b.cmp(a));
            }
            self.last += 1;
            if self.taken.last() != Some(&self.last) {
                return self.last;
            }
            self.taken.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_that_begins_again_then_numbers_in_use_are_passed_over() {
        let mut sequence = Sequence::after(TaskId::MAX_SEQUENCE);
        let in_use = || vec![4, 1, 2, TaskId::MAX_SEQUENCE];
        let next: Vec<u64> = (0..4).map(|_| sequence.next(in_use)).collect();
        assert_eq!(next, [3, 5, 6, 7]);
    }

    #[test]
    fn last_number_in_use_then_the_sequence_begins_again() {
        let mut sequence = Sequence::after(TaskId::MAX_SEQUENCE);
        assert_eq!(sequence.next(|| vec![TaskId::MAX_SEQUENCE]), 1);
        sequence.last = TaskId::MAX_SEQUENCE - 1;
        assert_eq!(sequence.next(|| vec![1]), 2);
    }
}
