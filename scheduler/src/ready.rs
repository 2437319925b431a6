//! The ready queue: FIFO, doubly linked through the task table, so that a task killed while it
//! stands in it leaves in O(1), and standing in it costs no allocation.

use slab::Slab;

use crate::task::Task;

const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) struct ReadyQueue {
    head: u32,
    tail: u32,
    len: usize,
}

impl ReadyQueue {
    pub(crate) const fn new() -> ReadyQueue {
        ReadyQueue { head: NONE, tail: NONE, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.head == NONE
    }

    #[inline]
    pub(crate) fn push_back(&mut self, tasks: &mut Slab<Task>, place: usize) {
        let at = place as u32;
        let task = &mut tasks[place];
        task.prev = self.tail;
        task.next = NONE;
        match self.tail {
            NONE => self.head = at,
            tail => tasks[tail as usize].next = at,
        }
        self.tail = at;
        self.len += 1;
    }

    #[inline]
    pub(crate) fn pop_front<'a>(&mut self, tasks: &'a mut Slab<Task>) -> Option<&'a mut Task> {
        if self.head == NONE {
            return None;
        }
        let place = self.head as usize;
        let next = tasks[place].next;
        self.head = next;
        self.len -= 1;
        match next {
            NONE => self.tail = NONE,
            next => tasks[next as usize].prev = NONE,
        }
        Some(&mut tasks[place])
    }

    pub(crate) fn remove(&mut self, tasks: &mut Slab<Task>, place: usize) {
        let (prev, next) = (tasks[place].prev, tasks[place].next);
        match prev {
            NONE => self.head = next,
            prev => tasks[prev as usize].next = next,
        }
        match next {
            NONE => self.tail = prev,
            next => tasks[next as usize].prev = prev,
        }
        self.len -= 1;
    }

    /// The places of those who stand in it, first to last.
    pub(crate) fn places<'a>(
        &self,
        tasks: &'a Slab<Task>,
    ) -> impl Iterator<Item = usize> + use<'a> {
        let mut at = self.head;
        std::iter::from_fn(move || {
            let place = at as usize;
            at = tasks.get(place)?.next;
            Some(place)
        })
    }
}
