//! Children that are polled inside their parent's task: which of them is being polled, which calls are
//! theirs, and which of them are to be polled again.
//!
//! A call that a child makes under its own waker is not booked to a clone of that waker, but noted
//! here, by the call's place. Answering it puts the child on its scope's list, and the task is resumed
//! as for any other call. So whoever is woken is found at once, and nobody holds a waker meanwhile.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroU64;
use std::ptr;
use std::rc::Rc;
use std::task::{Context, Waker};

use crate::call::Post;
use crate::call_table::Booking;
use crate::id::{CallId, MAX_TASKS, TaskId};
use crate::ring::Ring;

/// The children of a scope that are to be polled, first to last.
pub struct ReadyList {
    queue: RefCell<VecDeque<usize>>,
    /// Whether a child stands in the queue.
    queued: RefCell<Vec<bool>>,
    outer: RefCell<Outer>,
}

/// Where the scope is polled.
enum Outer {
    /// Nowhere yet.
    Nowhere,
    /// In a task, under its own waker. The ring, and that ring's life.
    Task(&'static Ring, u64, TaskId),
    /// In a child of another scope.
    Child(Rc<ReadyList>, usize),
    /// Under somebody else's waker.
    Waker(Rc<Waker>),
}

impl ReadyList {
    /// An empty list.
    #[must_use]
    pub fn new() -> Rc<ReadyList> {
        Rc::new(ReadyList {
            queue: RefCell::default(),
            queued: RefCell::default(),
            outer: RefCell::new(Outer::Nowhere),
        })
    }

    /// Takes the first child.
    pub fn pop(&self) -> Option<usize> {
        let child = self.queue.borrow_mut().pop_front()?;
        self.queued.borrow_mut()[child] = false;
        Some(child)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    /// Puts a child on the list, unless it stands there.
    pub fn push(&self, child: usize) {
        let mut queued = self.queued.borrow_mut();
        if child >= queued.len() {
            queued.resize(child + 1, false);
        }
        if !std::mem::replace(&mut queued[child], true) {
            self.queue.borrow_mut().push_back(child);
        }
    }

    /// Notes where the scope is polled now. Says whether it was polled elsewhere before: then the calls
    /// of its children are booked there, and they are to be polled again.
    #[must_use]
    pub fn polled_in(&self, cx: &Context<'_>) -> bool {
        let ring = Ring::of_running_task();
        let outer = match (ring.own_waker_of(cx.waker()), ring.scoped.polled_under(cx.waker())) {
            (Some(task), _) => Outer::Task(ring, ring.life(), task),
            (None, Some((list, child))) => Outer::Child(list, child),
            (None, None) => {
                if matches!(&*self.outer.borrow(), Outer::Waker(w) if w.will_wake(cx.waker())) {
                    return false;
                }
                Outer::Waker(Rc::new(cx.waker().clone()))
            }
        };
        let before = self.outer.replace(outer);
        match (&before, &*self.outer.borrow()) {
            (Outer::Nowhere, _) => false,
            (Outer::Task(_, life, task), Outer::Task(_, now, there)) => {
                (life, task) != (now, there)
            }
            (Outer::Child(list, child), Outer::Child(now, there)) => {
                !Rc::ptr_eq(list, now) || child != there
            }
            _ => true,
        }
    }

    /// Puts a child on the list from outside of the scope's own poll, and sees to it that the scope is
    /// polled.
    pub fn wake(&self, child: usize) {
        if let Some(waker) = self.tell(child) {
            waker.wake();
            return;
        }
        if let Some((ring, task)) = self.task() {
            ring.post(Post::Wake(task));
        }
    }

    /// Puts a child on the list, and what it is polled in on theirs. Gives the waker to call, if
    /// resuming the task is not enough.
    pub(crate) fn tell(&self, child: usize) -> Option<Waker> {
        self.push(child);
        // Cloned while nothing is borrowed, here or in a list around: it is foreign code.
        let waker = self.outermost_waker()?;
        Some(Waker::clone(&waker))
    }

    /// Puts what it is polled in on the lists around. Gives the waker of the outermost, if it has one.
    fn outermost_waker(&self) -> Option<Rc<Waker>> {
        match &*self.outer.borrow() {
            Outer::Nowhere | Outer::Task(..) => None,
            Outer::Child(list, child) => {
                list.push(*child);
                list.outermost_waker()
            }
            Outer::Waker(waker) => Some(Rc::clone(waker)),
        }
    }

    fn task(&self) -> Option<(&'static Ring, TaskId)> {
        match &*self.outer.borrow() {
            Outer::Task(ring, life, task) => (ring.life() == *life).then_some((*ring, *task)),
            Outer::Child(list, _) => list.task(),
            Outer::Nowhere | Outer::Waker(_) => None,
        }
    }

    /// While the guard lives, `child` is being polled under `waker`, which is its own.
    pub fn enter(self: &Rc<Self>, child: usize, waker: &Waker) -> Polling {
        let ring = Ring::of_running_task();
        let scoped = &ring.scoped;
        let polled = scoped.polled.replace(Some((Rc::clone(self), child)));
        let data = scoped.data.replace(waker.data());
        Polling { ring, before: (polled, data) }
    }
}

impl fmt::Debug for ReadyList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyList").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// While it lives, a child is being polled.
#[must_use]
pub struct Polling {
    ring: &'static Ring,
    before: (Option<(Rc<ReadyList>, usize)>, *const ()),
}

impl fmt::Debug for Polling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Polling").finish_non_exhaustive()
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        let scoped = &self.ring.scoped;
        scoped.data.set(self.before.1);
        let _polled = scoped.polled.replace(self.before.0.take());
    }
}

/// Which child a call is for.
type Entry = Option<(NonZeroU64, Rc<ReadyList>, usize)>;

/// What a ring knows of children.
pub(crate) struct Scoped {
    polled: RefCell<Option<(Rc<ReadyList>, usize)>>,
    /// The data pointer of the waker under which that child is polled.
    data: Cell<*const ()>,
    /// Whether a call was ever booked to a child.
    any: Cell<bool>,
    /// The calls that are for a child, by place: of those in their task's own slot, and of the others.
    /// An entry whose serial is not that of the call is of one that is gone.
    booked: RefCell<(Vec<Entry>, Vec<Entry>)>,
}

impl Default for Scoped {
    fn default() -> Scoped {
        Scoped {
            polled: RefCell::default(),
            data: Cell::new(ptr::null()),
            any: Cell::new(false),
            booked: RefCell::default(),
        }
    }
}

impl Scoped {
    /// Whether any call was ever a child's.
    #[inline(always)]
    pub(crate) fn has_any(&self) -> bool {
        self.any.get()
    }

    /// Whether `waker` is that of the child that is being polled.
    pub(crate) fn is_polled_under(&self, waker: &Waker) -> bool {
        let data = self.data.get();
        !data.is_null() && ptr::eq(data, waker.data())
    }

    pub(crate) fn polled_under(&self, waker: &Waker) -> Option<(Rc<ReadyList>, usize)> {
        if self.is_polled_under(waker) { self.polled.borrow().clone() } else { None }
    }

    /// The call is the polled child's.
    pub(crate) fn book(&self, id: CallId) {
        let Some((list, child)) = self.polled.borrow().clone() else { return };
        self.any.set(true);
        self.put(id, Some((id.serial, list, child)));
    }

    /// The call is no child's.
    pub(crate) fn unbook(&self, id: CallId) {
        if self.any.get() {
            self.put(id, None);
        }
    }

    fn put(&self, id: CallId, entry: Entry) {
        let mut booked = self.booked.borrow_mut();
        let (own, pool) = &mut *booked;
        let (entries, at) = match id.place.checked_sub(MAX_TASKS as u32) {
            Some(place) => (pool, place as usize),
            None => (own, id.place as usize),
        };
        if at >= entries.len() {
            entries.resize_with(at + 1, || None);
        }
        let before = std::mem::replace(&mut entries[at], entry);
        drop(booked);
        drop(before);
    }

    /// The call has been answered: if it is a child's, that child is to be polled.
    pub(crate) fn redirect(&self, id: CallId, booking: Booking) -> Booking {
        if !self.any.get() || booking.waker.is_some() {
            return booking;
        }
        Booking { task: booking.task, waker: self.tell(id) }
    }

    fn tell(&self, id: CallId) -> Option<Waker> {
        let mut booked = self.booked.borrow_mut();
        let (own, pool) = &mut *booked;
        let entry = match id.place.checked_sub(MAX_TASKS as u32) {
            Some(place) => pool.get_mut(place as usize)?,
            None => own.get_mut(id.place as usize)?,
        };
        let (serial, list, child) = entry.take()?;
        drop(booked);
        if serial == id.serial { list.tell(child) } else { None }
    }

    /// Takes everything out: the ring is being retired. What is given is to be dropped when nothing is
    /// borrowed.
    pub(crate) fn clear(&self) -> impl Sized + use<> {
        self.any.set(false);
        self.data.set(ptr::null());
        (self.polled.take(), self.booked.take())
    }
}
