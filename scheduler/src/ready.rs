//! The ready queue: FIFO.
//!
//! A task that is killed while it stands in it leaves a gap, which names nobody any more: ids are
//! never reused. Gaps are passed over, and swept when they are more than half of the queue, so that
//! leaving is O(1) on average. (A list doubly linked through the task table has no gaps, but touches
//! two more tasks at each end of a dispatch: 462 instructions a yield instead of 442, by callgrind.)

use std::collections::VecDeque;

use slab::Slab;
use trapline_abi::TaskId;

use crate::task::{State, Task};

#[derive(Debug, Default)]
pub(crate) struct ReadyQueue {
    queue: VecDeque<TaskId>,
    gaps: usize,
}

/// Fewer gaps than these are not worth a sweep.
const FEW_GAPS: usize = 64;

impl ReadyQueue {
    pub(crate) fn len(&self) -> usize {
        self.queue.len() - self.gaps
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.len() == self.gaps
    }

    #[inline]
    pub(crate) fn push_back(&mut self, id: TaskId) {
        self.queue.push_back(id);
    }

    #[inline]
    pub(crate) fn pop_front<'a>(&mut self, tasks: &'a mut Slab<Task>) -> Option<&'a mut Task> {
        let mut id = self.queue.pop_front()?;
        while !stands(tasks, id) {
            self.gaps -= 1;
            id = self.queue.pop_front()?;
        }
        tasks.get_mut(id.place())
    }

    /// A task that stood in the queue does so no longer.
    pub(crate) fn leave_gap(&mut self, tasks: &Slab<Task>) {
        self.gaps += 1;
        if self.gaps > FEW_GAPS && self.gaps * 2 > self.queue.len() {
            self.queue.retain(|id| stands(tasks, *id));
            self.gaps = 0;
        }
    }

    /// Those who stand in it, first to last.
    pub(crate) fn ids<'a>(&'a self, tasks: &'a Slab<Task>) -> impl Iterator<Item = TaskId> {
        self.queue.iter().copied().filter(|id| stands(tasks, *id))
    }
}

#[inline]
fn stands(tasks: &Slab<Task>, id: TaskId) -> bool {
    let task = tasks.get(id.place());
    task.is_some_and(|task| task.id == id && matches!(task.state, State::Ready))
}
