//! Wait queues that outlive whoever waits in them, so that a future can own its wait.

use std::cell::RefCell;
use std::fmt;
use std::panic::Location;
use std::thread::LocalKey;

use trapline_abi::WaitQueue;

use crate::channel::queues;

/// The queues of one kind that wait for a next owner.
pub(crate) type Pool = RefCell<Vec<&'static WaitQueue>>;

/// A wait queue without tokens from a pool. As with rings, what is leaked is used again: as many stay
/// as a thread had at the same time.
///
/// Whoever waits must hold what holds this.
pub(crate) struct Line {
    pub(crate) queue: &'static WaitQueue,
    pool: &'static LocalKey<Pool>,
}

impl Line {
    /// A queue whose waiters the task table shows as waiting for `what`, which goes with the pool.
    pub(crate) fn draw(
        pool: &'static LocalKey<Pool>,
        what: &'static str,
        site: &'static Location<'static>,
    ) -> Line {
        let idle = pool.try_with(|pool| pool.borrow_mut().pop()).ok().flatten();
        let queue = idle.unwrap_or_else(|| Box::leak(Box::new(queues::queue(what, 0, site))));
        queue.begin_anew(site);
        Line { queue, pool }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        while self.queue.try_take() {}
        // What it was is gone.
        self.queue.begin_anew(Location::caller());
        // Where a future was leaked that waits here still, it would rob the next owner.
        if self.queue.is_waited_for() {
            return;
        }
        let _ = self.pool.try_with(|pool| pool.borrow_mut().push(self.queue));
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.queue.fmt(f)
    }
}
