//! Where clients lay their orders, and the loop finds them.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use trapline_scheduler::driver::Unpark;

use super::command::Order;

/// So many orders wait for the loop at most.
const MAX_QUEUED: usize = 64;

/// Where clients lay their orders.
#[derive(Debug, Default)]
pub struct Desk {
    state: Mutex<State>,
    /// Something has changed, for the loop while it is held, and for who waits until it is.
    changed: Condvar,
    /// Whether there is anything for the loop to look at.
    is_busy: AtomicBool,
    /// How many of the steps that were ordered are still to be taken.
    steps_left: AtomicU64,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Laid>,
    is_held: bool,
    is_over: bool,
    /// Which client may order.
    orderer: Option<u64>,
    interrupter: Option<Arc<dyn Unpark>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("queued", &self.queue.len())
            .field("is_held", &self.is_held)
            .field("is_over", &self.is_over)
            .field("orderer", &self.orderer)
            .finish_non_exhaustive()
    }
}

/// An order, and where its answer goes.
#[derive(Debug)]
pub(super) struct Laid {
    client: u64,
    pub(super) order: Order,
    pub(super) answer: SyncSender<String>,
}

/// The side of the clients.
impl Desk {
    /// Lays an order; its answer comes from what this gives.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn lay(&self, client: u64, order: Order) -> Result<Receiver<String>, &'static str> {
        let mut state = self.state();
        if state.is_over {
            return Err("the run is over");
        }
        if state.queue.len() >= MAX_QUEUED {
            return Err("too many orders wait for the loop");
        }
        let (answer, receiver) = sync_channel(1);
        state.queue.push_back(Laid { client, order, answer });
        self.is_busy.store(true, Ordering::SeqCst);
        self.changed.notify_all();
        // The loop may be asleep in its driver. One that is held is not, and would not sleep in its next step.
        let interrupter = state.interrupter.clone().filter(|_| !state.is_held);
        drop(state);
        if let Some(interrupter) = interrupter {
            interrupter.unpark();
        }
        Ok(receiver)
    }

    /// Gives a client the right to order.
    pub fn claim(&self, client: u64) {
        self.state().orderer = Some(client);
    }

    /// Whether a client may order.
    #[must_use]
    pub fn may_order(&self, client: u64) -> bool {
        self.state().orderer == Some(client)
    }

    /// Which client may order.
    #[must_use]
    pub fn orderer(&self) -> Option<u64> {
        self.state().orderer
    }

    /// How many orders the loop has not looked at.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.state().queue.len()
    }

    /// How many of the steps that were ordered are still to be taken.
    #[must_use]
    pub fn steps_left(&self) -> u64 {
        self.steps_left.load(Ordering::Relaxed)
    }

    /// A client has left. If it had the right to order, the program goes on; what it has ordered of the tasks
    /// is done all the same.
    pub fn leave(&self, client: u64) {
        let mut state = self.state();
        if state.orderer != Some(client) {
            return;
        }
        state.orderer = None;
        let stays =
            |order: &Order| matches!(order, Order::Kill(_) | Order::Cancel(..) | Order::Next(_));
        state.queue.retain(|laid| laid.client != client || stays(&laid.order));
        drop(state);
        let _ = self.lay(client, Order::Release);
    }

    /// Waits until the program is held, but not longer than `limit`. Says whether it is.
    #[must_use]
    pub fn wait_until_held(&self, limit: Duration) -> bool {
        let waits = |state: &mut State| !state.is_held && !state.is_over;
        let waited = self.changed.wait_timeout_while(self.state(), limit, waits);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_held
    }
}

/// The side of the loop.
impl Desk {
    pub(super) fn set_interrupter(&self, interrupter: Arc<dyn Unpark>) {
        self.state().interrupter = Some(interrupter);
    }

    /// Whether orders may have been laid.
    #[inline]
    pub(super) fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::Relaxed)
    }

    pub(super) fn set_steps_left(&self, steps: u64) {
        self.steps_left.store(steps, Ordering::Relaxed);
    }

    pub(super) fn set_held(&self, is_held: bool) {
        let mut state = self.state();
        state.is_held = is_held;
        self.changed.notify_all();
        // What was laid while it was thought to be held is not to wait for a sleep to end.
        let interrupter = state.interrupter.clone().filter(|_| !is_held && !state.queue.is_empty());
        drop(state);
        if let Some(interrupter) = interrupter {
            interrupter.unpark();
        }
    }

    /// The next order.
    pub(super) fn take(&self) -> Option<Laid> {
        let mut state = self.state();
        let next = state.queue.pop_front();
        if next.is_none() {
            self.is_busy.store(false, Ordering::SeqCst);
        }
        next
    }

    /// Waits for the next order.
    pub(super) fn wait(&self) {
        let waits = |state: &mut State| state.queue.is_empty();
        drop(self.changed.wait_while(self.state(), waits));
    }

    /// The run is over: orders that were not carried out never will be.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_over = true;
        state.is_held = false;
        state.queue.clear();
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
