//! The wakers of a scope's children, for the futures of others.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// Who was woken by others than the ring, from any thread.
#[derive(Default)]
pub(super) struct Foreign {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    woken: Vec<usize>,
    /// Whether a child stands among the woken, by its place: one may be woken very often.
    queued: Vec<bool>,
    /// The waker that the scope is polled under; there only while others hold one of a child, so that
    /// a deadlock is told from a pause. Shared, so that no foreign code runs under the lock.
    lent: Option<Arc<Waker>>,
    closed: bool,
}

impl Foreign {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes those who were woken, first to last.
    pub(super) fn take_woken(&self) -> Vec<usize> {
        let mut state = self.state();
        let woken = std::mem::take(&mut state.woken);
        woken.iter().for_each(|place| state.queued[*place] = false);
        woken
    }

    /// Whoever is woken from here on wakes `waker`, too.
    pub(super) fn lend(&self, waker: &Waker) {
        let is_lent = self.state().lent.as_ref().is_some_and(|lent| lent.will_wake(waker));
        if !is_lent {
            let waker = Arc::new(waker.clone());
            let before = self.state().lent.replace(waker);
            drop(before);
        }
    }

    pub(super) fn take_back(&self) {
        let lent = self.state().lent.take();
        drop(lent);
    }

    /// The scope is gone: whoever is woken is no more.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.take_back();
    }

    fn wake(&self, place: usize) {
        let lent = {
            let mut state = self.state();
            if place >= state.queued.len() {
                state.queued.resize(place + 1, false);
            }
            if state.closed || std::mem::replace(&mut state.queued[place], true) {
                return;
            }
            state.woken.push(place);
            state.lent.clone()
        };
        if let Some(waker) = lent {
            waker.wake_by_ref();
        }
    }
}

pub(super) struct ChildWaker {
    place: usize,
    foreign: Arc<Foreign>,
}

impl ChildWaker {
    pub(super) fn new(place: usize, foreign: &Arc<Foreign>) -> Arc<ChildWaker> {
        Arc::new(ChildWaker { place, foreign: Arc::clone(foreign) })
    }
}

impl Wake for ChildWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.foreign.wake(self.place);
    }
}
