//! Cancellation: which tasks are to be cancelled, and the scopes and shields open in each.
//!
//! A scope is known from its first poll to its end, and nests in whatever scope is being polled when
//! it is: so it is found under any combinator. The outermost scopes of a cancelled task are *due*,
//! unless a shield is open within; a task without any ends by the kernel's hand.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::task::{Context, Poll, Waker};

use crate::call::Post;
use crate::cancel::Cancelled;
use crate::id::TaskId;
use crate::polled::Polled;
use crate::ring::Ring;

mod table;

use self::table::{Entry, Left, Record, ScopeId, Table};

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
        let record = table.records.entry(task).or_default();
        if record.cancelled.is_some() {
            return CancelRequest::Repeated;
        }
        record.cancelled = Some(why);
        let unscoped = record.open.is_empty();
        self.pending.set(self.pending.get() + 1);
        let polled = table.take_polled(task);
        self.known.set(table.records.len());
        drop(table);
        match (polled.is_empty(), unscoped) {
            (false, _) => CancelRequest::Due(tell_all(polled)),
            (true, true) => CancelRequest::Unscoped,
            (true, false) => CancelRequest::Shielded,
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

    /// Takes everything out: the ring is being retired. Gives what is foreign.
    pub(crate) fn clear(&self) -> Vec<Polled> {
        self.innermost.set(None);
        self.known.set(0);
        self.pending.set(0);
        let Table { entries, records, .. } = self.table.take();
        let resting = records.into_values().flat_map(|record| record.resting);
        entries.into_iter().map(|(_, entry)| entry.polled).chain(resting).collect()
    }

    /// no-orphan.
    pub(crate) fn check(&self) {
        let table = self.table.borrow();
        assert!(self.innermost.get().is_none(), "no-orphan: a scope is being polled after a step");
        let pending = table.records.values().filter(|record| record.is_pending()).count();
        assert_eq!(pending, self.pending.get(), "no-orphan: pending cancellations are counted");
        table.check();
    }
}

/// Tells those who are to be polled again. Gives the wakers to call, their tasks being resumed as well.
fn tell_all(polled: Vec<Polled>) -> Vec<Waker> {
    polled.into_iter().filter_map(Polled::tell).collect()
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
                if let Left::Others(left) = scopes.move_to(id, task, before) {
                    ring.tell_others(left);
                }
                id
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
        // What it was polled under before is dropped while nothing is borrowed: it is foreign code.
        let displaced = ring.scopes.note_polled(id, Polled::under(ring, cx));
        drop(displaced);
        Poll::Pending
    }

    /// Notes that the task has been told, by this scope.
    pub fn deliver(&self) {
        if let Some((ring, _, id)) = self.here()
            && let Some((task, resting)) = ring.scopes.deliver(id)
        {
            ring.resume(task, resting);
        }
    }

    /// It has ended, and whoever polls it waits for the end of its task, which has been cancelled:
    /// polled again if somebody else in the task is told first.
    pub fn rest(&mut self, cx: &Context<'_>) {
        let open = self.here();
        self.close();
        let Some((ring, ..)) = open else { return };
        if let Some(task) = ring.running() {
            let spare = ring.scopes.rest(task, Polled::under(ring, cx));
            drop(spare);
        }
    }

    /// It has ended.
    pub fn close(&mut self) {
        let open = self.here();
        self.open = None;
        let Some((ring, _, id)) = open else { return };
        let Some((entry, left)) = ring.scopes.close(id) else { return };
        // The running task looks for itself, unless it is about others.
        if left != Left::Nothing || ring.running() != Some(entry.task) {
            ring.tell_others(entry.task);
        }
        drop(entry);
    }

    /// Where it is open, if that ring still has its life.
    fn here(&self) -> Option<(&'static Ring, u64, ScopeId)> {
        self.open.filter(|(ring, life, _)| ring.life() == *life)
    }
}

impl Ring {
    /// A scope of `task` was closed or moved where others in the task could not see it: if it has been
    /// cancelled, they may be due now.
    fn tell_others(&self, task: TaskId) {
        if let Some(polled) = self.scopes.polled_of_cancelled(task) {
            self.resume(task, polled);
        }
    }

    fn resume(&self, task: TaskId, polled: Vec<Polled>) {
        self.post(Post::Wake(task));
        tell_all(polled).into_iter().for_each(Waker::wake);
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
        let id = table.open(kind, task, parent, site);
        self.known.set(table.records.len());
        id
    }

    fn move_to(&self, id: ScopeId, task: TaskId, parent: Option<ScopeId>) -> Left {
        let mut table = self.table.borrow_mut();
        let left = table.move_to(id, task, parent);
        self.known.set(table.records.len());
        left
    }

    fn close(&self, id: ScopeId) -> Option<(Entry, Left)> {
        let mut table = self.table.borrow_mut();
        let closed = table.close(id);
        self.known.set(table.records.len());
        closed
    }

    fn due(&self, id: ScopeId) -> Option<Cancelled> {
        if !self.knows_any() {
            return None;
        }
        let table = self.table.borrow();
        let entry = table.get(id).filter(|entry| entry.hears())?;
        table.records.get(&entry.task)?.cancelled.clone()
    }

    /// Gives the task, and those who are to be polled again since it goes on, if there are such.
    fn deliver(&self, id: ScopeId) -> Option<(TaskId, Vec<Polled>)> {
        let mut table = self.table.borrow_mut();
        let task = table.get(id)?.task;
        let record = table.records.get_mut(&task).filter(|record| record.is_pending())?;
        record.delivered = true;
        self.pending.set(self.pending.get() - 1);
        let resting = std::mem::take(&mut record.resting);
        Some((task, resting)).filter(|(_, resting)| !resting.is_empty())
    }

    /// Gives back what is not needed.
    fn rest(&self, task: TaskId, polled: Polled) -> Option<Polled> {
        let mut table = self.table.borrow_mut();
        match table.records.get_mut(&task) {
            Some(record) if !record.resting.iter().any(|other| other.is_same(&polled)) => {
                record.resting.push(polled);
                None
            }
            _ => Some(polled),
        }
    }

    fn is_pending(&self, task: TaskId) -> bool {
        self.table.borrow().records.get(&task).is_some_and(Record::is_pending)
    }

    /// Those who are to be polled again, if `task` has been cancelled and some are due, or may end.
    fn polled_of_cancelled(&self, task: TaskId) -> Option<Vec<Polled>> {
        let mut table = self.table.borrow_mut();
        let record = table.records.get(&task).filter(|record| record.cancelled.is_some())?;
        let is_pending = record.is_pending();
        let polled = table.take_polled(task);
        (is_pending || !polled.is_empty()).then_some(polled)
    }

    /// Gives what it was polled under before.
    fn note_polled(&self, id: ScopeId, polled: Polled) -> Polled {
        let mut table = self.table.borrow_mut();
        match table.get_mut(id) {
            Some(entry) => std::mem::replace(&mut entry.polled, polled),
            None => polled,
        }
    }
}
