//! Values by priority: the least first, and equal ones in the order in which they came.

use std::cell::Cell;

/// A binary heap that is not borrowed while it compares: that is foreign code.
pub(crate) struct Heap<T> {
    entries: Cell<Vec<(T, u64)>>,
    /// Whether they have been taken out, to be compared.
    is_out: Cell<bool>,
    arrivals: Cell<u64>,
    is_less: fn(&T, &T) -> bool,
}

/// The entries, outside. Dropped, also by a comparison that panics, it puts them back.
struct Out<'a, T> {
    heap: &'a Heap<T>,
    entries: Vec<(T, u64)>,
}

impl<T> Drop for Out<'_, T> {
    fn drop(&mut self) {
        self.heap.entries.set(std::mem::take(&mut self.entries));
        self.heap.is_out.set(false);
    }
}

impl<T> Heap<T> {
    pub(crate) fn new(is_less: fn(&T, &T) -> bool) -> Heap<T> {
        Heap {
            entries: Cell::new(Vec::new()),
            is_out: Cell::new(false),
            arrivals: Cell::new(0),
            is_less,
        }
    }

    pub(crate) fn push(&self, value: T) {
        let mut out = self.take_out();
        let arrival = self.arrivals.replace(self.arrivals.get() + 1);
        out.entries.push((value, arrival));
        let mut at = out.entries.len() - 1;
        while at > 0 && out.goes_before(at, (at - 1) / 2) {
            out.entries.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }

    pub(crate) fn pop(&self) -> Option<T> {
        let mut out = self.take_out();
        let last = out.entries.len().checked_sub(1)?;
        // It stays among the others until they are in order: a comparison may panic.
        out.entries.swap(0, last);
        let mut at = 0;
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let mut least = at;
            for child in [left, right] {
                if child < last && out.goes_before(child, least) {
                    least = child;
                }
            }
            if least == at {
                return out.entries.pop().map(|(first, _)| first);
            }
            out.entries.swap(at, least);
            at = least;
        }
    }

    /// Refuses to be used by a comparison.
    pub(crate) fn check_in(&self) {
        assert!(!self.is_out.get(), "a comparison of values used the queue they are in");
    }

    fn take_out(&self) -> Out<'_, T> {
        self.check_in();
        self.is_out.set(true);
        Out { heap: self, entries: self.entries.take() }
    }
}

impl<T> Out<'_, T> {
    fn goes_before(&self, one: usize, other: usize) -> bool {
        let ((one, came), (other, other_came)) = (&self.entries[one], &self.entries[other]);
        let is_less = self.heap.is_less;
        is_less(one, other) || (came < other_came && !is_less(other, one))
    }
}
