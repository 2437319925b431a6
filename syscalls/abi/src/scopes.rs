//! Cancellation: which tasks are to be cancelled, and the scopes and shields open in each.
//!
//! A scope is known from its first poll to its end, and nests in whatever scope is being polled when
//! it is: so it is found under any combinator. The outermost scopes of a cancelled task are *due*,
//! unless a shield is open within; a task without any ends by the kernel's hand.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use crate::call::Post;
use crate::cancel::Cancelled;
use crate::id::TaskId;
use crate::ring::Ring;

/// What a scope is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScopeKind {
    /// It ends when its task is cancelled.
    Cancellable,
    /// What is within does not hear of a cancellation, nor does what is around until it has ended.
    Shield,
    /// It only hears of a cancellation.
    Listener,
}

/// Names an open scope: its place, and a number that no other scope of the ring has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ScopeId {
    place: usize,
    serial: u64,
}

struct Entry {
    serial: u64,
    kind: ScopeKind,
    task: TaskId,
    parent: Option<ScopeId>,
    /// Shields open within it.
    shields: usize,
    site: &'static Location<'static>,
    /// The waker it was polled under, if that was not the task's own.
    waker: Option<Waker>,
}

/// What is known of a task.
#[derive(Default)]
struct Record {
    cancelled: Option<Cancelled>,
    /// Whether somebody in the task was told, so that it ends no other way.
    delivered: bool,
    /// The open scopes, in the order of their opening.
    open: BTreeMap<u64, usize>,
}

impl Record {
    fn is_pending(&self) -> bool {
        self.cancelled.is_some() && !self.delivered
    }

    fn take_wakers(&self, entries: &mut Slab<Entry>) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for &place in self.open.values() {
            if entries[place].hears() {
                wakers.extend(entries[place].waker.take());
            }
        }
        wakers
    }
}

/// What a request to cancel came upon.
#[derive(Debug)]
#[must_use]
pub enum CancelRequest {
    /// The task was cancelled before; the first reason stands.
    Repeated,
    /// It has open scopes that are due. These are the wakers of those polled under one that is not the
    /// task's own; the task itself is to be resumed as well.
    Due(Vec<Waker>),
    /// Shields hold it off for now.
    Shielded,
    /// Nothing is open: it ends where it is blocked, or as soon as it blocks.
    Unscoped,
}

/// The scopes of a ring.
#[derive(Default)]
pub(crate) struct Scopes {
    table: RefCell<Table>,
    /// The innermost scope that is being polled.
    innermost: Cell<Option<ScopeId>>,
    /// Tasks with a record.
    known: Cell<usize>,
    /// Tasks that are to be cancelled and have not been told.
    pending: Cell<usize>,
}

#[derive(Default)]
struct Table {
    entries: Slab<Entry>,
    records: BTreeMap<TaskId, Record>,
    last_serial: u64,
}

/// For the kernel.
impl Scopes {
    /// Whether there is anything to know of any task.
    #[inline]
    pub(crate) fn knows_any(&self) -> bool {
        self.known.get() > 0
    }

    /// Whether a task is to be cancelled and has not been told.
    #[inline]
    pub(crate) fn has_pending(&self) -> bool {
        self.pending.get() > 0
    }

    pub(crate) fn request(&self, task: TaskId, why: Cancelled) -> CancelRequest {
        let mut table = self.table.borrow_mut();
        let Table { entries, records, .. } = &mut *table;
        let record = records.entry(task).or_default();
        if record.cancelled.is_some() {
            return CancelRequest::Repeated;
        }
        record.cancelled = Some(why);
        self.pending.set(self.pending.get() + 1);
        let due = record.open.values().any(|place| entries[*place].hears());
        let wakers = record.take_wakers(entries);
        let unscoped = record.open.is_empty();
        self.known.set(table.records.len());
        match (due, unscoped) {
            (true, _) => CancelRequest::Due(wakers),
            (false, true) => CancelRequest::Unscoped,
            (false, false) => CancelRequest::Shielded,
        }
    }

    /// Why `task` is to be ended now that it blocks, if it is.
    pub(crate) fn landing(&self, task: TaskId) -> Option<Cancelled> {
        let table = self.table.borrow();
        let record = table.records.get(&task)?;
        let lands = record.is_pending() && record.open.is_empty();
        record.cancelled.clone().filter(|_| lands)
    }

    pub(crate) fn reason(&self, task: TaskId) -> Option<Cancelled> {
        self.table.borrow().records.get(&task)?.cancelled.clone()
    }

    /// The first shield open in `task`.
    pub(crate) fn shield(&self, task: TaskId) -> Option<&'static Location<'static>> {
        let table = self.table.borrow();
        let mut open = table.records.get(&task)?.open.values().map(|place| &table.entries[*place]);
        open.find(|entry| entry.kind == ScopeKind::Shield).map(|entry| entry.site)
    }

    /// The task has ended.
    pub(crate) fn forget(&self, task: TaskId) {
        let mut table = self.table.borrow_mut();
        let record = table.records.remove(&task);
        self.known.set(table.records.len());
        if record.as_ref().is_some_and(Record::is_pending) {
            self.pending.set(self.pending.get() - 1);
        }
        drop(table);
        drop(record);
    }

    /// How many scopes are open.
    pub(crate) fn len(&self) -> usize {
        self.table.borrow().entries.len()
    }

    /// Takes everything out: the ring is being retired.
    pub(crate) fn clear(&self) -> Vec<Waker> {
        let table = self.table.take();
        self.innermost.set(None);
        self.known.set(0);
        self.pending.set(0);
        table.entries.into_iter().filter_map(|(_, entry)| entry.waker).collect()
    }

    /// no-orphan: scopes and records know of each other, and shields are counted.
    pub(crate) fn check(&self) {
        let table = self.table.borrow();
        assert!(self.innermost.get().is_none(), "no-orphan: a scope is being polled after a step");
        let pending = table.records.values().filter(|record| record.is_pending()).count();
        assert_eq!(pending, self.pending.get(), "no-orphan: pending cancellations are counted");
        for (task, record) in &table.records {
            for (serial, place) in &record.open {
                let entry = table.entries.get(*place);
                let known = entry.is_some_and(|e| e.serial == *serial && e.task == *task);
                assert!(known, "no-orphan: a scope of task {task} is gone");
            }
        }
        for (place, entry) in &table.entries {
            let inside = |at: &Entry| {
                at.kind == ScopeKind::Shield
                    && table.ancestors(at.parent).any(|above| above.place == place)
            };
            let shields = table.entries.iter().filter(|(_, at)| inside(at)).count();
            assert_eq!(shields, entry.shields, "no-orphan: shields within a scope are counted");
        }
    }
}

impl Entry {
    /// Whether a cancellation of its task is its to hear.
    fn hears(&self) -> bool {
        match self.kind {
            ScopeKind::Cancellable => self.parent.is_none() && self.shields == 0,
            ScopeKind::Shield => false,
            ScopeKind::Listener => true,
        }
    }

    /// What it counts for in those around it.
    fn weight(&self) -> usize {
        self.shields + usize::from(self.kind == ScopeKind::Shield)
    }
}

impl Table {
    fn get(&self, id: ScopeId) -> Option<&Entry> {
        self.entries.get(id.place).filter(|entry| entry.serial == id.serial)
    }

    /// A scope, and those around it. Ends at one that was closed before what was within.
    fn ancestors(&self, first: Option<ScopeId>) -> impl Iterator<Item = ScopeId> + use<'_> {
        let live = move |id: &ScopeId| self.get(*id).is_some();
        std::iter::successors(first.filter(live), move |id| self.get(*id)?.parent.filter(live))
    }

    fn count_shields(&mut self, first: Option<ScopeId>, count: impl Fn(usize) -> usize) {
        let mut at = first;
        while let Some(id) = at {
            let entry = self.entries.get_mut(id.place).filter(|entry| entry.serial == id.serial);
            let Some(entry) = entry else { return };
            entry.shields = count(entry.shields);
            at = entry.parent;
        }
    }

    fn open(&mut self, entry: Entry) -> ScopeId {
        let (task, serial, parent, weight) =
            (entry.task, entry.serial, entry.parent, entry.weight());
        let place = self.entries.insert(entry);
        self.records.entry(task).or_default().open.insert(serial, place);
        self.count_shields(parent, |shields| shields + weight);
        ScopeId { place, serial }
    }

    fn close(&mut self, id: ScopeId) -> Option<Entry> {
        self.get(id)?;
        let entry = self.entries.remove(id.place);
        let weight = entry.weight();
        self.count_shields(entry.parent, |shields| shields.saturating_sub(weight));
        if let Some(record) = self.records.get_mut(&entry.task) {
            record.open.remove(&id.serial);
            if record.open.is_empty() && record.cancelled.is_none() {
                self.records.remove(&entry.task);
            }
        }
        Some(entry)
    }
}

/// A future that a cancellation may end, or that it must not, as the ring knows it. What
/// `cancellable`, `shield` and `cancelled` are made of.
pub struct Scope {
    kind: ScopeKind,
    site: &'static Location<'static>,
    /// The ring it is open in, and that ring's life.
    open: Option<(&'static Ring, u64, ScopeId)>,
}

/// While it lives, what is polled is within the scope.
#[derive(Debug)]
#[must_use]
pub struct Within {
    ring: &'static Ring,
    before: Option<ScopeId>,
}

impl Drop for Within {
    fn drop(&mut self) {
        self.ring.scopes.innermost.set(self.before);
    }
}

impl Scope {
    /// A scope that is not open yet.
    #[must_use]
    pub const fn new(kind: ScopeKind, site: &'static Location<'static>) -> Scope {
        Scope { kind, site, open: None }
    }

    /// The future it is made for is about to be polled: opens it, or finds it where it is now.
    ///
    /// # Panics
    /// Outside a task.
    pub fn enter(&mut self) -> Within {
        let ring = Ring::of_running_task();
        let task = ring.running().expect("a task runs");
        let scopes = &ring.scopes;
        let before = scopes.innermost.get();
        let id = match self.open {
            Some((home, life, id)) if home.life() == life && std::ptr::eq(home, ring) => {
                let (moved, left) = scopes.move_to(id, task, before);
                if let Some(left) = left {
                    ring.tell_of_closing(left);
                }
                moved
            }
            _ => {
                self.close();
                scopes.open(self.kind, task, before, self.site)
            }
        };
        self.open = Some((ring, ring.life(), id));
        scopes.innermost.set(Some(id));
        Within { ring, before }
    }

    /// Whether the task has been cancelled and this scope is to end; else keeps the waker to tell.
    pub fn poll_due(&mut self, cx: &Context<'_>) -> Poll<Cancelled> {
        let Some((ring, _, id)) = self.here() else { return Poll::Pending };
        if let Some(why) = ring.scopes.due(id) {
            return Poll::Ready(why);
        }
        // Cloned and dropped while nothing is borrowed: both are foreign code.
        let own = ring.own_waker_of(cx.waker()).is_some();
        let waker = if own { None } else { Some(cx.waker().clone()) };
        let displaced = ring.scopes.put_waker(id, waker);
        drop(displaced);
        Poll::Pending
    }

    /// Notes that the task has been told, by this scope.
    pub fn deliver(&self) {
        if let Some((ring, _, id)) = self.here() {
            ring.scopes.deliver(id);
        }
    }

    /// It has ended.
    pub fn close(&mut self) {
        let open = self.here();
        self.open = None;
        let Some((ring, _, id)) = open else { return };
        let entry = ring.scopes.close(id);
        if let Some(entry) = &entry
            && ring.running() != Some(entry.task)
        {
            ring.tell_of_closing(entry.task);
        }
        drop(entry);
    }

    /// Where it is open, if that ring still has its life.
    fn here(&self) -> Option<(&'static Ring, u64, ScopeId)> {
        self.open.filter(|(ring, life, _)| ring.life() == *life)
    }
}

impl Ring {
    /// A scope of `task` was closed elsewhere, which the task cannot see: if it is to be cancelled, it
    /// may be now.
    fn tell_of_closing(&self, task: TaskId) {
        if !self.scopes.has_pending() {
            return;
        }
        let Some(wakers) = self.scopes.wakers_due(task) else { return };
        self.post(Post::Wake(task));
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("kind", &self.kind)
            .field("site", &self.site)
            .field("open", &self.open.is_some())
            .finish()
    }
}

/// Why the running task has been cancelled, if it has.
///
/// # Panics
/// Outside a task.
#[must_use]
pub fn cancel_reason() -> Option<Cancelled> {
    let ring = Ring::of_running_task();
    if !ring.scopes.knows_any() {
        return None;
    }
    ring.scopes.reason(ring.running()?)
}

/// Whether the running task has been cancelled and nobody in it has been told: it ends where it next
/// blocks with nothing open to hear of it.
///
/// # Panics
/// Outside a task.
#[must_use]
pub fn cancel_is_pending() -> bool {
    let ring = Ring::of_running_task();
    ring.scopes.has_pending() && ring.running().is_some_and(|task| ring.scopes.is_pending(task))
}

/// For scopes.
impl Scopes {
    fn open(
        &self,
        kind: ScopeKind,
        task: TaskId,
        parent: Option<ScopeId>,
        site: &'static Location<'static>,
    ) -> ScopeId {
        let mut table = self.table.borrow_mut();
        table.last_serial += 1;
        let serial = table.last_serial;
        let entry = Entry { serial, kind, task, parent, shields: 0, site, waker: None };
        let id = table.open(entry);
        self.known.set(table.records.len());
        id
    }

    /// The scope is polled by `task` within `parent`, where it may not have been before. Gives the task
    /// that it left, if it did.
    fn move_to(
        &self,
        id: ScopeId,
        task: TaskId,
        parent: Option<ScopeId>,
    ) -> (ScopeId, Option<TaskId>) {
        let mut table = self.table.borrow_mut();
        let Some(entry) = table.get(id) else { return (id, None) };
        let from = entry.task;
        if from == task && entry.parent == parent {
            return (id, None);
        }
        let Some(mut entry) = table.close(id) else { return (id, None) };
        (entry.task, entry.parent) = (task, parent);
        let moved = table.open(entry);
        self.known.set(table.records.len());
        (moved, Some(from).filter(|from| *from != task))
    }

    fn due(&self, id: ScopeId) -> Option<Cancelled> {
        if !self.knows_any() {
            return None;
        }
        let table = self.table.borrow();
        let entry = table.get(id).filter(|entry| entry.hears())?;
        table.records.get(&entry.task)?.cancelled.clone()
    }

    fn deliver(&self, id: ScopeId) {
        let mut table = self.table.borrow_mut();
        let Some(task) = table.get(id).map(|entry| entry.task) else { return };
        if let Some(record) = table.records.get_mut(&task)
            && record.is_pending()
        {
            record.delivered = true;
            self.pending.set(self.pending.get() - 1);
        }
    }

    fn is_pending(&self, task: TaskId) -> bool {
        self.table.borrow().records.get(&task).is_some_and(Record::is_pending)
    }

    /// The wakers of what is open in `task` and due, if it is to be cancelled and has not been told.
    fn wakers_due(&self, task: TaskId) -> Option<Vec<Waker>> {
        let mut table = self.table.borrow_mut();
        let Table { entries, records, .. } = &mut *table;
        let record = records.get(&task).filter(|record| record.is_pending())?;
        Some(record.take_wakers(entries))
    }

    fn put_waker(&self, id: ScopeId, waker: Option<Waker>) -> Option<Waker> {
        let mut table = self.table.borrow_mut();
        match table.entries.get_mut(id.place).filter(|entry| entry.serial == id.serial) {
            Some(entry) => std::mem::replace(&mut entry.waker, waker),
            None => waker,
        }
    }

    fn close(&self, id: ScopeId) -> Option<Entry> {
        let mut table = self.table.borrow_mut();
        let entry = table.close(id);
        self.known.set(table.records.len());
        entry
    }
}
