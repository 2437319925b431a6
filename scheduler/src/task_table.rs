//! The task table: a place for each task, found by the id without hashing.
//!
//! A task that is born is written into its place field by field, and one that ends is not moved out:
//! a task copied whole so soon after it was written is waited for. A place keeps its waker for the
//! next task there.
//!
//! What the loop seldom needs lies in a table of its own, so that a crowd that takes turns has a third
//! less to go through.

use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;

use trapline_abi::{ListHead, MAX_TASKS, TaskBody, TaskId};

use crate::task::{Record, State, Task};
use crate::waker::{Inbox, TaskWaker};

/// So many places are kept when no task is left, and no more are made at once.
const MANY_PLACES: usize = 1024;

#[derive(Default)]
pub(crate) struct TaskTable {
    places: Vec<Task>,
    /// The rest of what is known of the tasks, at the same places.
    records: Vec<Record>,
    /// The places whose tasks are gone; the last one freed is used first.
    free: Vec<u32>,
}

/// What a task is born with.
pub(crate) struct Birth {
    pub(crate) daemon: bool,
    pub(crate) has_handle: bool,
    pub(crate) parent: Option<TaskId>,
    pub(crate) site: &'static Location<'static>,
}

impl TaskTable {
    /// How many tasks are in it, those that ended and whose handle is held too.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.free.is_empty() && self.places.len() >= MAX_TASKS
    }

    /// How many places there are; each task is at one below it.
    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }

    /// The task with this id, if it is in the table.
    #[inline(always)]
    pub(crate) fn get(&self, id: TaskId) -> Option<&Task> {
        self.places.get(id.place()).filter(|task| task.id == id && !task.is_gone())
    }

    /// The same, to be changed.
    #[inline(always)]
    pub(crate) fn get_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        self.places.get_mut(id.place()).filter(|task| task.id == id && !task.is_gone())
    }

    /// The task with this id, if it is blocked.
    #[inline(always)]
    pub(crate) fn blocked(&mut self, id: TaskId) -> Option<&mut Task> {
        let task = self.places.get_mut(id.place())?;
        if task.id == id && matches!(task.state, State::Blocked) { Some(task) } else { None }
    }

    /// The task at a place, if one is there.
    pub(crate) fn at(&mut self, place: usize) -> Option<&mut Task> {
        self.places.get_mut(place).filter(|task| !task.is_gone())
    }

    /// A task that is known to be in the table.
    #[inline(always)]
    pub(crate) fn live(&mut self, id: TaskId) -> &mut Task {
        let task = &mut self.places[id.place()];
        debug_assert!(task.id == id && !task.is_gone(), "stale-id: task {id} is not in the table");
        task
    }

    /// The rest of what is known of a task that is known to be in the table.
    #[inline]
    pub(crate) fn record(&self, id: TaskId) -> &Record {
        &self.records[id.place()]
    }

    /// The same, to be changed.
    #[inline]
    pub(crate) fn record_mut(&mut self, id: TaskId) -> &mut Record {
        &mut self.records[id.place()]
    }

    /// The tasks, in the order of their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Task> {
        self.places.iter().filter(|task| !task.is_gone())
    }

    /// Puts a task into a free place, and gives its id.
    #[inline]
    pub(crate) fn insert(
        &mut self,
        sequence: u64,
        body: Option<Pin<Box<dyn TaskBody>>>,
        birth: &Birth,
        inbox: &Arc<Inbox>,
    ) -> TaskId {
        let place = match self.free.pop() {
            Some(place) => place as usize,
            None => self.make_places(sequence, birth.site, inbox),
        };
        let id = TaskId::new(sequence, place);
        let (task, record) = (&mut self.places[place], &mut self.records[place]);
        // One that somebody else still holds would wake the new task (stale-id).
        if record.waker.is_held_elsewhere() {
            record.waker = TaskWaker::new(id, inbox);
            task.waker = record.waker.waker();
        } else {
            record.waker.retarget(id);
        }
        task.id = id;
        task.body = body;
        task.state = State::Runnable;
        task.daemon = birth.daemon;
        task.has_handle = birth.has_handle;
        task.dispatches = 0;
        record.parent = birth.parent;
        record.site = birth.site;
        id
    }

    /// As many places again, which are free, with wakers for whoever comes there. Gives the first.
    ///
    /// Made one by one, the wakers would lie between the bodies of a crowd that is spawned in a row, and
    /// a loop that goes from body to body would skip every other cache line, which is slower than
    /// to read them all.
    #[cold]
    #[inline(never)]
    fn make_places(
        &mut self,
        sequence: u64,
        site: &'static Location<'static>,
        inbox: &Arc<Inbox>,
    ) -> usize {
        let first = self.places.len();
        let end = MAX_TASKS.min(first + first.clamp(1, MANY_PLACES));
        for place in first..end {
            let id = TaskId::new(sequence, place);
            let waker = TaskWaker::new(id, inbox);
            self.places.push(Task {
                id,
                body: None,
                waker: waker.waker(),
                state: State::Gone,
                daemon: false,
                has_handle: false,
                dispatches: 0,
            });
            self.records.push(Record { waker, parent: None, site, waiters: ListHead::new() });
        }
        self.free.extend((first + 1..end).rev().map(|place| place as u32));
        first
    }

    /// Gives the memory back that a crowd needed. Only while no task is in it.
    pub(crate) fn shrink(&mut self) {
        if self.places.len() > MANY_PLACES && self.len() == 0 {
            *self = TaskTable::default();
        }
    }

    /// Frees the place of a task that has ended, whose body has been taken.
    #[inline]
    pub(crate) fn remove(&mut self, id: TaskId) {
        self.live(id).state = State::Gone;
        self.free.push(id.place() as u32);
    }
}
