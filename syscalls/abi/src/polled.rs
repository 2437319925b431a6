//! Under which waker something is polled, as the ring keeps it.

use std::rc::Rc;
use std::task::{Context, Waker};

use crate::ring::Ring;
use crate::scoped::ReadyList;

/// Whom to tell so that something is polled again, its task being resumed as well. No clone of a
/// waker of ours, so that a deadlock is told from a pause.
pub(crate) enum Polled {
    /// Nobody else: it is polled under the task's own waker.
    ByTask,
    /// This child of a scope.
    ByChild(Rc<ReadyList>, usize),
    /// Whose waker this is.
    Elsewhere(Waker),
}

impl Polled {
    /// Under which waker the running task polls. Runs foreign code: nothing may be borrowed.
    pub(crate) fn under(ring: &'static Ring, cx: &Context<'_>) -> Polled {
        if ring.own_waker_of(cx.waker()).is_some() {
            return Polled::ByTask;
        }
        match ring.scoped.polled_under(cx.waker()) {
            Some((list, child)) => Polled::ByChild(list, child),
            None => Polled::Elsewhere(cx.waker().clone()),
        }
    }

    /// Whether telling the one tells the other.
    pub(crate) fn is_same(&self, other: &Polled) -> bool {
        match (self, other) {
            (Polled::ByTask, Polled::ByTask) => true,
            (Polled::ByChild(list, child), Polled::ByChild(other, sibling)) => {
                Rc::ptr_eq(list, other) && child == sibling
            }
            (Polled::Elsewhere(waker), Polled::Elsewhere(other)) => waker.will_wake(other),
            _ => false,
        }
    }

    /// Tells the child, if it is one. Gives the waker to call, if resuming the task is not enough.
    /// Runs foreign code: nothing may be borrowed.
    pub(crate) fn tell(self) -> Option<Waker> {
        match self {
            Polled::ByTask => None,
            Polled::ByChild(list, child) => list.tell(child),
            Polled::Elsewhere(waker) => Some(waker),
        }
    }
}
