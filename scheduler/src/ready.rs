//! The ready queue: FIFO.
//!
//! Two vectors: the front is read from its beginning, the back is appended to; when the front has
//! been read, they change places. (A ring buffer wraps at each end: 8 instructions more a dispatch.)
//!
//! A task that is killed while it stands in it leaves a gap, which names nobody any more: ids are
//! never reused. Gaps are passed over, and swept when they are more than half of the queue, so that
//! leaving is O(1) on average. (A list doubly linked through the task table has no gaps, but touches
//! two more tasks at each end of a dispatch: 20 instructions more.)

use trapline_abi::TaskId;

use crate::task::State;
use crate::task_table::TaskTable;

#[derive(Debug, Default)]
pub(crate) struct ReadyQueue {
    front: Vec<TaskId>,
    /// How many of the front have been taken.
    taken: usize,
    back: Vec<TaskId>,
    gaps: usize,
}

/// Room for so many entries is kept when nobody is left.
const MANY_ENTRIES: usize = 1024;

/// Fewer gaps than these are not worth a sweep.
const FEW_GAPS: usize = 64;

impl ReadyQueue {
    /// How many entries there are, gaps too.
    #[inline]
    fn entries(&self) -> usize {
        self.front.len() - self.taken + self.back.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries() - self.gaps
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries() == self.gaps
    }

    #[inline(always)]
    pub(crate) fn push_back(&mut self, id: TaskId) {
        self.back.push(id);
    }

    /// Takes the first task out of the queue.
    #[inline(always)]
    pub(crate) fn pop_front(&mut self, tasks: &TaskTable) -> Option<TaskId> {
        loop {
            let id = match self.front.get(self.taken) {
                Some(id) => {
                    self.taken += 1;
                    *id
                }
                // One alone is taken from where it stands.
                None if self.back.len() <= 1 => self.back.pop()?,
                None => self.turn_round()?,
            };
            if self.gaps == 0 || stands(tasks, id) {
                return Some(id);
            }
            self.gaps -= 1;
        }
    }

    /// The front has been read: goes on with the back. Takes its first entry.
    #[inline(never)]
    fn turn_round(&mut self) -> Option<TaskId> {
        self.front.clear();
        std::mem::swap(&mut self.front, &mut self.back);
        self.taken = 1;
        self.front.first().copied()
    }

    /// A task that stood in the queue does so no longer.
    pub(crate) fn leave_gap(&mut self, tasks: &TaskTable) {
        self.gaps += 1;
        if self.gaps > FEW_GAPS && self.gaps * 2 > self.entries() {
            self.front.drain(..self.taken);
            self.taken = 0;
            self.front.retain(|id| stands(tasks, *id));
            self.back.retain(|id| stands(tasks, *id));
            self.gaps = 0;
        }
    }

    /// Puts one that stands in the queue at its head; false if it does not.
    pub(crate) fn put_first(&mut self, tasks: &TaskTable, id: TaskId) -> bool {
        if !self.ids(tasks).any(|other| other == id) {
            return false;
        }
        self.front.drain(..self.taken);
        self.taken = 0;
        self.front.retain(|other| *other != id);
        self.back.retain(|other| *other != id);
        self.front.insert(0, id);
        true
    }

    /// Gives the memory back that a crowd needed.
    pub(crate) fn shrink(&mut self) {
        for part in [&mut self.front, &mut self.back] {
            part.shrink_to(MANY_ENTRIES);
        }
    }

    /// Those who stand in it, first to last.
    pub(crate) fn ids<'a>(&'a self, tasks: &'a TaskTable) -> impl Iterator<Item = TaskId> {
        let entries = self.front.iter().skip(self.taken).chain(&self.back);
        entries.copied().filter(|id| stands(tasks, *id))
    }
}

#[inline]
fn stands(tasks: &TaskTable, id: TaskId) -> bool {
    tasks.get(id).is_some_and(|task| matches!(task.state, State::Runnable))
}
