//! Who waits for whom, when nobody can run.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::panic::Location;

use trapline_abi::{CallId, CallInfo, Syscall, TaskId, TaskInfo, TaskState};

use crate::kernel::Kernel;
use crate::probe::Event;
use crate::task::{State, Task};

/// Every blocked task, what it waits for, and the cycle if there is one.
///
/// ```
/// use trapline_scheduler::{RunError, Scheduler};
///
/// let mut scheduler = Scheduler::new();
/// let stuck = scheduler.spawn(std::future::pending::<()>());
/// let Err(RunError::Deadlock(report)) = scheduler.run() else { unreachable!("nobody wakes it") };
/// assert_eq!(report.blocked[0].task, stuck.id());
/// assert!(report.cycle.is_empty());
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadlockReport {
    /// The blocked tasks, in the order in which they were spawned.
    pub blocked: Vec<BlockedTask>,
    /// Tasks of which each waits for the next, and the last for the first: for its exit, or for
    /// something that it alone holds.
    pub cycle: Vec<TaskId>,
}

/// A blocked task in a report.
///
/// ```
/// use trapline_scheduler::{BlockedTask, RunError, Scheduler};
///
/// let mut scheduler = Scheduler::new();
/// scheduler.spawn(std::future::pending::<()>()).detach();
/// let Err(RunError::Deadlock(report)) = scheduler.run() else { unreachable!("nobody wakes it") };
/// let BlockedTask { name, waits_for, .. } = &report.blocked[0];
/// assert!(name.is_none() && waits_for.is_empty(), "it waits for no call");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockedTask {
    /// The task.
    pub task: TaskId,
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// Where it was spawned.
    pub site: &'static Location<'static>,
    /// The calls it waits for; none, where it waits for somebody's waker.
    pub waits_for: Vec<CallInfo>,
}

impl BlockedTask {
    fn of(info: TaskInfo) -> Option<BlockedTask> {
        let TaskInfo { id: task, name, site, state, .. } = info;
        match state {
            TaskState::Blocked(waits_for) => Some(BlockedTask { task, name, site, waits_for }),
            _ => None,
        }
    }

    /// The task that it waits for: to end, or to let go of a lock. If that is all it waits for.
    fn waits_for_task(&self) -> Option<TaskId> {
        match self.waits_for.as_slice() {
            [call] => call.waits_for(),
            _ => None,
        }
    }

    /// The kind and the name of the thing that it waits for, if that is held by someone.
    fn lock(&self) -> Option<(&str, Option<&str>)> {
        let [CallInfo { queue: Some(queue), .. }] = self.waits_for.as_slice() else { return None };
        Some((queue.kind?, queue.name.as_deref()))
    }
}

impl Kernel {
    pub(crate) fn deadlock_report(&self) -> DeadlockReport {
        let blocked: Vec<BlockedTask> =
            self.task_infos().into_iter().filter_map(BlockedTask::of).collect();
        let cycle = cycle_in(&blocked);
        DeadlockReport { blocked, cycle }
    }

    /// Tells the probe if the call that has just been blocked closes a cycle with a lock in it.
    #[cold]
    #[inline(never)]
    pub(crate) fn tell_lock_cycle(&mut self, task: TaskId, call: CallId) {
        if let Some(report) = self.lock_cycle(task, call) {
            self.tell(&Event::LockCycle { report: &report });
        }
    }

    /// Follows whoever waits for whom, from `call` on, until it comes back to `task`.
    fn lock_cycle(&self, task: TaskId, call: CallId) -> Option<DeadlockReport> {
        let call = self.ring.info(call).filter(|call| call.task == Some(task))?;
        let target = call.waits_for()?;
        let mut reached_by = BTreeMap::from([(target, (task, call))]);
        let mut to_visit = vec![target];
        while let Some(at) = to_visit.pop().filter(|_| !reached_by.contains_key(&task)) {
            for call in self.ring.blocked_calls_of(at) {
                if let Some(next) = call.waits_for()
                    && let Entry::Vacant(vacant) = reached_by.entry(next)
                {
                    vacant.insert((at, call));
                    to_visit.push(next);
                }
            }
        }
        let (mut links, mut at) = (Vec::new(), task);
        while let Some((before, call)) = reached_by.remove(&at) {
            links.push((before, self.with_end_of_holder(call)));
            at = before;
        }
        links.reverse();
        // Those who wait for exits alone are no news until nobody can run.
        let locked = links.iter().any(|(_, call)| matches!(call.request, Syscall::Park(_)));
        locked.then(|| self.report_of(links))
    }

    fn report_of(&self, links: Vec<(TaskId, CallInfo)>) -> DeadlockReport {
        let cycle = links.iter().map(|(task, _)| *task).collect();
        let blocked = links.into_iter().filter_map(|(id, call)| {
            let task = self.tasks.get(id)?;
            let name = task.body.as_ref().and_then(|body| body.name()).map(str::to_owned);
            Some(BlockedTask {
                task: id,
                name,
                site: self.tasks.record(id).site,
                waits_for: vec![call],
            })
        });
        DeadlockReport { blocked: blocked.collect(), cycle }
    }

    /// Whether the waker of a blocked task is held by anyone but the kernel.
    ///
    /// The answer is a count, then (in `is_held_elsewhere`) a fence; the caller looks at the inbox
    /// once more after it, for a thread that woke and let go in between.
    pub(crate) fn wakers_are_held_elsewhere(&mut self) -> bool {
        let held = |place: usize, kernel: &mut Kernel| {
            let blocked = |task: &&mut Task| matches!(task.state, State::Blocked);
            let blocked = kernel.tasks.at(place).filter(blocked).map(|task| task.id);
            blocked.is_some_and(|id| kernel.tasks.record(id).waker.is_held_elsewhere())
        };
        if held(self.held_hint, self) {
            return true;
        }
        // From the hint on, then from the start: tasks answered in turn are found in turn.
        let places = (self.held_hint..self.tasks.places()).chain(0..self.held_hint);
        let found = { places }.find(|&place| held(place, self));
        self.held_hint = found.unwrap_or(0);
        found.is_some()
    }
}

/// The first cycle among tasks that wait for one other task each.
fn cycle_in(blocked: &[BlockedTask]) -> Vec<TaskId> {
    let next: BTreeMap<TaskId, TaskId> =
        blocked.iter().filter_map(|task| Some((task.task, task.waits_for_task()?))).collect();
    let mut seen: BTreeMap<TaskId, TaskId> = BTreeMap::new();
    for &start in next.keys() {
        let mut path = Vec::new();
        let mut at = start;
        while !seen.contains_key(&at) {
            seen.insert(at, start);
            path.push(at);
            let Some(&after) = next.get(&at) else { break };
            at = after;
        }
        if seen.get(&at) == Some(&start)
            && next.contains_key(&at)
            && let Some(first) = path.iter().position(|&task| task == at)
        {
            return path.split_off(first);
        }
    }
    Vec::new()
}

impl fmt::Display for DeadlockReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} blocked", self.blocked.len())?;
        for task in &self.blocked {
            write!(f, "\n  task {}", task.task)?;
            if let Some(name) = &task.name {
                write!(f, " `{name}`")?;
            }
            if task.waits_for.is_empty() {
                f.write_str(" waits for somebody's waker")?;
            }
            for (index, call) in task.waits_for.iter().enumerate() {
                write!(f, "{}{call}", if index == 0 { " waits for " } else { ", and for " })?;
            }
        }
        if let Some(first) = self.cycle.first() {
            f.write_str("\n  in a cycle: ")?;
            let blocked: BTreeMap<TaskId, &BlockedTask> =
                self.blocked.iter().map(|blocked| (blocked.task, blocked)).collect();
            for task in &self.cycle {
                write!(f, "task {task} waits for ")?;
                match blocked.get(task).and_then(|blocked| blocked.lock()) {
                    Some((kind, Some(name))) => write!(f, "{kind} `{name}` of ")?,
                    Some((kind, None)) => write!(f, "{kind} of ")?,
                    None => {}
                }
            }
            write!(f, "task {first}")?;
        }
        Ok(())
    }
}
