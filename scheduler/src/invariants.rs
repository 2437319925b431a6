//! The named invariants, checked by one function. `ARCHITECTURE.md` states them.

use std::collections::BTreeSet;

use trapline_abi::{CallInfo, CallState, On, Reply, TaskId};

use crate::kernel::Kernel;
use crate::task::State;

/// While at most so many tasks, calls and scopes live, every step is checked; beyond that, once every as
/// many steps as there are live ones, so that a check costs O(1) a step.
const ALWAYS_CHECKED: usize = 256;

impl Kernel {
    /// Checks the invariants if they are due.
    pub(crate) fn check_now_and_then(&mut self) {
        let live = self.tasks.len() + self.ring.further_calls() + self.ring.scopes_open();
        self.unchecked_steps += 1;
        if live <= ALWAYS_CHECKED || self.unchecked_steps >= live {
            self.unchecked_steps = 0;
            self.check();
        }
    }

    /// Checks all invariants.
    ///
    /// # Panics
    /// If one does not hold.
    pub(crate) fn check(&self) {
        self.check_places();
        self.check_counts();
        self.check_calls();
        self.sources.check(&self.ring);
        self.ring.check();
        assert!(self.dispatched <= self.batch, "bounded-batch");
    }

    /// one-place: a live task runs, or stands in the ready queue once, or is blocked.
    fn check_places(&self) {
        let ready: Vec<usize> = self.ready.ids(&self.tasks).map(TaskId::place).collect();
        let once: BTreeSet<usize> = ready.iter().copied().collect();
        assert_eq!(ready.len(), once.len(), "one-place: twice in the ready queue");
        assert_eq!(ready.len(), self.ready.len(), "one-place: the ready queue counts");
        for task in self.tasks.iter() {
            let place = task.id.place();
            let is_current = self.current == Some(task.id);
            let in_queue = once.contains(&place);
            let runnable = matches!(task.state, State::Runnable);
            assert!(!(is_current && in_queue), "one-place: task {} is in two places", task.id);
            assert_eq!(runnable, is_current || in_queue, "one-place: task {}", task.id);
            let landed = task.is_live() && !runnable && self.ring.cancel_landing(task.id).is_some();
            assert!(!landed, "one-place: task {} is cancelled, and blocked unheard", task.id);
        }
    }

    fn check_counts(&self) {
        let live: Vec<_> = self.tasks.iter().filter(|task| task.is_live()).collect();
        assert_eq!(live.len(), self.population, "one-place: tasks are counted");
        let waited_for = live.iter().filter(|task| !task.daemon).count();
        assert_eq!(waited_for, self.live, "one-place: tasks that run waits for are counted");
        let ended = self.tasks.iter().filter_map(|task| match &task.state {
            State::Ended(exit) => Some((task, exit)),
            _ => None,
        });
        let mut kept = 0;
        for (task, exit) in ended {
            assert!(task.has_handle, "no-orphan: an ended task is kept for its handle");
            kept += usize::from(self.ring.has_outcome(exit.outcome, task.id));
        }
        let calls = self.ring.calls();
        let told = |call: &&CallInfo| matches!(call.state, CallState::Answered(Reply::Outcome(_)));
        kept += calls.iter().filter(told).count();
        assert_eq!(
            kept,
            self.ring.outcomes_kept(),
            "no-orphan: an outcome without a task or handle"
        );
    }

    /// no-orphan: each blocked call is in the one place its state names, and nothing else is.
    fn check_calls(&self) {
        let (mut timers, mut sources, mut exits) = (0, 0, 0);
        for call in self.ring.calls() {
            let CallState::Blocked(on) = call.state else { continue };
            match on {
                On::Timer(key) => {
                    timers += 1;
                    assert_eq!(self.timers.call_of(key), Some(call.id), "no-orphan: a timer");
                }
                On::Readable(_) | On::Writable(_) => sources += 1,
                On::Exit(_) => exits += 1,
                On::Queue(_) | On::Own => {}
            }
        }
        assert_eq!(exits, self.waiters_of_exits(), "no-orphan: an exit without a call");
        assert_eq!(timers, self.timers.len(), "no-orphan: a timer without a call");
        assert_eq!(sources, self.sources.waiting(), "no-orphan: a source without a call");
    }

    /// Counts those who wait for exits, each in the list that its state names.
    fn waiters_of_exits(&self) -> usize {
        let mut count = 0;
        for task in self.tasks.iter() {
            for call in self.ring.waiters(&self.tasks.record(task.id).waiters) {
                let on = Some(CallState::Blocked(On::Exit(task.id)));
                assert_eq!(self.ring.state(call), on, "no-orphan: an exit");
                count += 1;
            }
        }
        count
    }
}
