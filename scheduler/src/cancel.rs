//! Cancelling: the polite way to end a task. What the task has open hears of it first.

use trapline_abi::{CancelRequest, Cancelled, Reply, TaskId};

use crate::kernel::{End, Found, Kernel, Settling};
use crate::probe::{Cause, Event};
use crate::scheduler::Root;
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
        self.has_orders = true;
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

    /// Ends who is to be ended in this step: the root, by order; a task that has been cancelled and
    /// blocks or yields, with nothing open to hear of it. Says whether there was such a one.
    #[cold]
    #[inline(never)]
    pub(crate) fn obey_orders(&mut self, settling: Settling, root: Option<&mut Root<'_>>) -> bool {
        let mut landed = false;
        if let Cause::Task(task) = self.cause
            && self.has_come_to_rest(task, settling)
            && let Some(why) = self.ring.cancel_landing(task)
        {
            self.end_cancelled(task, why);
            landed = true;
            // What its destructors posted belongs to this step.
            self.serve_posts();
        }
        if self.root_doom.is_some() {
            self.bury_root(root);
        }
        self.has_orders = self.ring.has_pending_cancels();
        landed
    }

    /// Whether the task of this step blocks or has yielded. Who goes on, or has but used up its
    /// quantum, has a reply to take first; who was woken while it ran may have one.
    fn has_come_to_rest(&mut self, id: TaskId, settling: Settling) -> bool {
        let yielded = settling == Settling::ToTheBack && !self.woken_running;
        let Some(task) = self.tasks.get_mut(id) else { return false };
        match task.state {
            State::Blocked => true,
            State::Runnable => yielded && self.current != Some(id),
            State::Ending | State::Gone | State::Ended(_) => false,
        }
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
