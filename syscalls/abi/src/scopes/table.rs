//! The table of open scopes, and of the tasks that have some or are to be cancelled.

use std::collections::BTreeMap;
use std::panic::Location;

use slab::Slab;

use super::ScopeKind;
use crate::cancel::Cancelled;
use crate::id::TaskId;
use crate::polled::Polled;

/// Names an open scope: its place, and a number that no other scope of the ring has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ScopeId {
    place: usize,
    serial: u64,
}

pub(super) struct Entry {
    serial: u64,
    pub(super) kind: ScopeKind,
    pub(super) task: TaskId,
    /// The scope around it, which is one of the same task.
    pub(super) parent: Option<ScopeId>,
    /// How many scopes have it as their parent.
    inner: usize,
    /// Shields open within it, at any depth.
    shields: usize,
    pub(super) site: &'static Location<'static>,
    pub(super) polled: Polled,
}

impl Entry {
    /// Whether a cancellation of its task is its to hear.
    pub(super) fn hears(&self) -> bool {
        match self.kind {
            ScopeKind::Cancellable => self.parent.is_none() && self.shields == 0,
            ScopeKind::Shield => false,
            ScopeKind::Listener => true,
        }
    }

    fn own_weight(&self) -> usize {
        usize::from(self.kind == ScopeKind::Shield)
    }

    /// The shields that it brings to those around it.
    fn weight(&self) -> usize {
        self.shields + self.own_weight()
    }
}

/// What is known of a task.
#[derive(Default)]
pub(super) struct Record {
    pub(super) cancelled: Option<Cancelled>,
    /// Whether somebody in the task was told, so that it ends no other way.
    pub(super) delivered: bool,
    /// The open scopes, in the order of their opening.
    pub(super) open: BTreeMap<u64, usize>,
    /// Those who wait to be ended with the task, and are to be polled again if somebody else is told.
    pub(super) resting: Vec<Polled>,
}

impl Record {
    pub(super) fn is_pending(&self) -> bool {
        self.cancelled.is_some() && !self.delivered
    }
}

#[derive(Default)]
pub(super) struct Table {
    pub(super) entries: Slab<Entry>,
    pub(super) records: BTreeMap<TaskId, Record>,
    last_serial: u64,
}

/// What is left behind where a scope went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(super) enum Left {
    /// Nothing has changed for others.
    Nothing,
    /// Others of this task may be due now, and have to be told.
    Others(TaskId),
}

impl Table {
    pub(super) fn get(&self, id: ScopeId) -> Option<&Entry> {
        self.entries.get(id.place).filter(|entry| entry.serial == id.serial)
    }

    pub(super) fn get_mut(&mut self, id: ScopeId) -> Option<&mut Entry> {
        self.entries.get_mut(id.place).filter(|entry| entry.serial == id.serial)
    }

    pub(super) fn open(
        &mut self,
        kind: ScopeKind,
        task: TaskId,
        parent: Option<ScopeId>,
        site: &'static Location<'static>,
    ) -> ScopeId {
        self.last_serial += 1;
        let serial = self.last_serial;
        let polled = Polled::ByTask;
        let entry = Entry { serial, kind, task, parent, inner: 0, shields: 0, site, polled };
        let weight = entry.weight();
        let place = self.entries.insert(entry);
        self.records.entry(task).or_default().open.insert(serial, place);
        self.enter_parent(parent, weight);
        ScopeId { place, serial }
    }

    /// Takes a scope out. Those within it that outlive it are within its parent then.
    pub(super) fn close(&mut self, id: ScopeId) -> Option<(Entry, Left)> {
        self.get(id)?;
        let entry = self.entries.remove(id.place);
        self.strike(entry.task, id.serial);
        // What its shields count for goes on counting where they have not ended.
        self.leave_parent(entry.parent, entry.own_weight());
        let mut left = Left::Nothing;
        if entry.inner > 0 {
            for place in self.places_of(entry.task) {
                let inner = &mut self.entries[place];
                if inner.parent == Some(id) {
                    inner.parent = entry.parent;
                    self.enter_parent(entry.parent, 0);
                }
            }
            left = Left::Others(entry.task);
        }
        Some((entry, left))
    }

    /// A scope is polled by `task` within `parent`, where it may not have been before; what is within
    /// it goes along.
    pub(super) fn move_to(&mut self, id: ScopeId, task: TaskId, parent: Option<ScopeId>) -> Left {
        let Some(entry) = self.get(id) else { return Left::Nothing };
        let (from, before, weight) = (entry.task, entry.parent, entry.weight());
        if from == task && before == parent {
            return Left::Nothing;
        }
        self.leave_parent(before, weight);
        if from != task {
            self.hand_over(id, from, task);
        }
        if let Some(entry) = self.get_mut(id) {
            entry.parent = parent;
        }
        self.enter_parent(parent, weight);
        if from != task || weight > 0 { Left::Others(from) } else { Left::Nothing }
    }

    /// A scope, and what is within it, are another task's from here on.
    fn hand_over(&mut self, id: ScopeId, from: TaskId, to: TaskId) {
        let has_inner = self.get(id).is_some_and(|entry| entry.inner > 0);
        let mut places = if has_inner { self.places_of(from) } else { vec![id.place] };
        places.retain(|place| {
            let this = ScopeId { place: *place, serial: self.entries[*place].serial };
            this == id || self.ancestors(self.entries[*place].parent).any(|above| above == id)
        });
        for place in places {
            let entry = &mut self.entries[place];
            entry.task = to;
            let serial = entry.serial;
            self.strike(from, serial);
            self.records.entry(to).or_default().open.insert(serial, place);
        }
    }

    /// The task has that scope open no more.
    fn strike(&mut self, task: TaskId, serial: u64) {
        if let Some(record) = self.records.get_mut(&task) {
            record.open.remove(&serial);
            if record.open.is_empty() && record.cancelled.is_none() {
                self.records.remove(&task);
            }
        }
    }

    /// Where a task's open scopes lie, in the order of their opening.
    fn places_of(&self, task: TaskId) -> Vec<usize> {
        match self.records.get(&task) {
            Some(record) => record.open.values().copied().collect(),
            // It has ended; what it has open lies with others.
            None => {
                let its = self.entries.iter().filter(|(_, entry)| entry.task == task);
                its.map(|(place, _)| place).collect()
            }
        }
    }

    fn enter_parent(&mut self, parent: Option<ScopeId>, weight: usize) {
        if let Some(parent) = parent.and_then(|id| self.get_mut(id)) {
            parent.inner += 1;
        }
        self.count_shields(parent, weight, usize::saturating_add);
    }

    fn leave_parent(&mut self, parent: Option<ScopeId>, weight: usize) {
        if let Some(parent) = parent.and_then(|id| self.get_mut(id)) {
            parent.inner -= 1;
        }
        self.count_shields(parent, weight, usize::saturating_sub);
    }

    fn count_shields(
        &mut self,
        first: Option<ScopeId>,
        weight: usize,
        count: impl Fn(usize, usize) -> usize,
    ) {
        if weight == 0 {
            return;
        }
        let mut at = first;
        while let Some(entry) = at.and_then(|id| self.get_mut(id)) {
            entry.shields = count(entry.shields, weight);
            at = entry.parent;
        }
    }

    /// A scope, and those around it.
    fn ancestors(&self, first: Option<ScopeId>) -> impl Iterator<Item = ScopeId> + use<'_> {
        std::iter::successors(first, move |id| self.get(*id)?.parent)
    }

    /// Those who are to be polled again, since what `task` has open may be due.
    pub(super) fn take_polled(&mut self, task: TaskId) -> Vec<Polled> {
        let Table { entries, records, .. } = self;
        let Some(record) = records.get(&task) else { return Vec::new() };
        let mut polled = Vec::new();
        for place in record.open.values() {
            let entry = &mut entries[*place];
            if entry.hears() {
                polled.push(std::mem::replace(&mut entry.polled, Polled::ByTask));
            }
        }
        polled
    }

    /// no-orphan: scopes and records know of each other, and what is within a scope is counted.
    pub(super) fn check(&self) {
        for (task, record) in &self.records {
            for (serial, place) in &record.open {
                let entry = self.entries.get(*place);
                let known = entry.is_some_and(|e| e.serial == *serial && e.task == *task);
                assert!(known, "no-orphan: a scope of task {task} is gone");
            }
        }
        for (place, entry) in &self.entries {
            if let Some(parent) = entry.parent {
                let around = self.get(parent).expect("no-orphan: a scope lies within an open one");
                assert_eq!(around.task, entry.task, "no-orphan: a scope is its parent's task's");
            }
            let within = |at: &&Entry| self.ancestors(at.parent).any(|above| above.place == place);
            let all = || self.entries.iter().map(|(_, at)| at);
            let inner = all().filter(|at| at.parent.is_some_and(|above| above.place == place));
            assert_eq!(inner.count(), entry.inner, "no-orphan: scopes within a scope are counted");
            let shields = all().filter(|at| at.kind == ScopeKind::Shield).filter(within).count();
            assert_eq!(shields, entry.shields, "no-orphan: shields within a scope are counted");
        }
    }
}
