//! Where a queue keeps its values, in the order in which it gives them.

use std::cell::RefCell;
use std::collections::VecDeque;

use crate::channel::queue::heap::Heap;

pub(crate) enum Store<T> {
    Fifo(RefCell<VecDeque<T>>),
    Lifo(RefCell<Vec<T>>),
    Priority(Heap<T>),
}

impl<T> Store<T> {
    /// Refuses to be used by a comparison, before anything is taken.
    #[inline]
    pub(crate) fn check_in(&self) {
        if let Store::Priority(heap) = self {
            heap.check_in();
        }
    }

    pub(crate) fn push(&self, value: T) {
        match self {
            Store::Fifo(values) => values.borrow_mut().push_back(value),
            Store::Lifo(values) => values.borrow_mut().push(value),
            Store::Priority(heap) => heap.push(value),
        }
    }

    pub(crate) fn pop(&self) -> Option<T> {
        match self {
            Store::Fifo(values) => values.borrow_mut().pop_front(),
            Store::Lifo(values) => values.borrow_mut().pop(),
            Store::Priority(heap) => heap.pop(),
        }
    }

    pub(crate) fn order(&self) -> &'static str {
        match self {
            Store::Fifo(_) => "fifo",
            Store::Lifo(_) => "lifo",
            Store::Priority(_) => "priority",
        }
    }
}
