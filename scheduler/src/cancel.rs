//! Cancelling: the polite way to end a task. What the task has open hears of it first.

use trapline_abi::{CancelRequest, Cancelled, Reply, TaskId};

use crate::kernel::{End, Found, Kernel, Settling};
use crate::probe::Event;
use crate::task::State;

impl Kernel {
    /// Asks a task to end, once. One that is blocked and has nothing open to hear of it ends now.
    pub(crate) fn cancel(&mut self, id: TaskId, why: Cancelled) -> Reply {
        match self.find(id) {
            Found::Live => {}
            Found::Ended(_) | Found::Forgotten => return Reply::AlreadyEnded,
            Found::Never => return Reply::NoSuchTask,
        }
        let request = self.ring.request_cancel(id, why.clone());
        if let CancelRequest::Repeated = request {
            return Reply::AlreadyCancelled;
        }
        if self.probe.is_some() {
            self.tell(&Event::Cancelled { task: id, why: &why });
        }
        match request {
            CancelRequest::Due(wakers) => {
                self.make_ready(id);
                for waker in wakers {
                    self.guard(Some(id), move || waker.wake());
                }
            }
            CancelRequest::Unscoped if matches!(self.tasks.live(id).state, State::Blocked) => {
                self.end_cancelled(id, why);
            }
            // It has a reply to take, or a shield to leave: it ends when it blocks after that.
            CancelRequest::Unscoped | CancelRequest::Shielded | CancelRequest::Repeated => {}
        }
        Reply::Done
    }

    /// Ends a cancelled task that blocks or yields with nothing open to hear of it. Says whether it
    /// did.
    #[cold]
    #[inline(never)]
    pub(crate) fn land_cancel(&mut self, id: TaskId, settling: Settling) -> bool {
        // Who goes on has a reply to take first; who was woken while it ran may have one.
        if settling == Settling::GoesOn || self.woken_running {
            return false;
        }
        let Some(why) = self.ring.cancel_landing(id) else { return false };
        self.end_cancelled(id, why);
        // What its destructors posted belongs to this step.
        self.serve_posts();
        self.root != Some(id)
    }

    /// The root of `block_on` lies on the stack below this step, which ends it before it is over.
    fn end_cancelled(&mut self, id: TaskId, why: Cancelled) {
        if self.root == Some(id) {
            self.doom_root(End::Cancelled(why));
        } else {
            self.end(id, End::Cancelled(why));
        }
    }
}
