//! The wakers of a scope's children, for the futures of others.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// Who was woken by others than the ring, from any thread.
#[derive(Default)]
pub(super) struct Foreign {
    state: Mutex<Woken>,
}

#[derive(Default)]
pub(super) struct Woken {
    pub(super) children: Vec<usize>,
    /// The waker that the scope is polled under; there only while others hold one of a child, so that
    /// a deadlock is told from a pause.
    pub(super) waker: Option<Waker>,
}

impl Foreign {
    pub(super) fn state(&self) -> MutexGuard<'_, Woken> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let waker = {
            let mut state = self.foreign.state();
            state.children.push(self.place);
            state.waker.clone()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
