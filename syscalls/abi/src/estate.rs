//! What the library keeps for a task, and what goes when the task ends: its mailboxes.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use crate::id::TaskId;
use crate::kernel_ring::KernelRing;
use crate::ring::Ring;

/// What was kept for a task that has ended, for the kernel to drop: one value of each type.
#[derive(Default)]
pub struct Estate(Vec<(TypeId, Rc<dyn Any>)>);

impl fmt::Debug for Estate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Estate").field("things", &self.0.len()).finish()
    }
}

/// The estates of all tasks that have one.
#[derive(Default)]
pub(crate) struct Estates {
    of: RefCell<BTreeMap<TaskId, Estate>>,
    /// How many there are: few programs have any, and each exit asks.
    count: Cell<usize>,
}

impl Estates {
    pub(crate) fn len(&self) -> usize {
        self.count.get()
    }

    pub(crate) fn take_all(&self) -> impl Iterator<Item = Estate> + use<> {
        self.count.set(0);
        self.of.take().into_values()
    }
}

impl Ring {
    /// What is kept for a task, of this type.
    #[doc(hidden)]
    #[must_use]
    pub fn kept_for<T: 'static>(&self, task: TaskId) -> Option<Rc<T>> {
        if self.estates.len() == 0 {
            return None;
        }
        let estates = self.estates.of.borrow();
        let Estate(things) = estates.get(&task)?;
        let (_, thing) = things.iter().find(|(kind, _)| *kind == TypeId::of::<T>())?;
        Rc::clone(thing).downcast().ok()
    }

    /// Keeps something for a live task until it ends, beside what is kept for it of other types.
    #[doc(hidden)]
    pub fn keep_for<T: 'static>(&self, task: TaskId, thing: Rc<T>) {
        let mut estates = self.estates.of.borrow_mut();
        let Estate(things) = estates.entry(task).or_default();
        things.push((TypeId::of::<T>(), thing));
        self.estates.count.set(estates.len());
    }
}

impl KernelRing {
    /// Takes what the library kept for a task. A kernel calls it when a task ends, before it drops
    /// the task's future, and drops what it gets.
    #[must_use]
    #[inline]
    pub fn take_estate(&self, task: TaskId) -> Option<Estate> {
        if self.ring().estates.len() == 0 { None } else { self.take_estate_slowly(task) }
    }

    #[cold]
    fn take_estate_slowly(&self, task: TaskId) -> Option<Estate> {
        let estates = &self.ring().estates;
        let mut of = estates.of.borrow_mut();
        let estate = of.remove(&task);
        estates.count.set(of.len());
        estate
    }

    /// For how many tasks the library keeps something.
    #[must_use]
    pub fn estates(&self) -> usize {
        self.ring().estates.len()
    }
}
