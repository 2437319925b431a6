//! The task table, copied out.

use std::collections::BTreeMap;
use std::fmt;

use trapline_abi::{
    CallId, CallInfo, CallState, ExitStatus, Holder, Object, On, QueueId, TaskId, TaskInfo,
    TaskState,
};

use crate::kernel::Kernel;
use crate::task::{State, Task};

/// The task table at one moment: every task with its state, and what it waits for and where.
///
/// It displays as a table.
///
/// ```
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// let task = scheduler.spawn(trapline_syscalls::yield_now());
/// let snapshot = scheduler.snapshot();
/// assert_eq!(snapshot.tasks[0].id, task.id());
/// println!("{snapshot}");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The tasks, in the order in which they were spawned.
    pub tasks: Vec<TaskInfo>,
    /// How many steps have been taken.
    pub steps: u64,
    /// The task whose dispatch is not over, if there is one.
    pub running: Option<TaskId>,
    /// The ready queue, first to last.
    pub ready: Vec<TaskId>,
    /// The blocked calls, in the order in which they were made: also those of tasks that are ready, for
    /// another reason, and those that no task is known to wait for.
    pub calls: Vec<CallInfo>,
    /// Those of them that no task is known to wait for.
    pub unclaimed: Vec<CallInfo>,
    /// The things whose wait queues somebody waits in, by their numbers.
    pub objects: Vec<ObjectState>,
}

/// A thing that tasks wait for, in a [`Snapshot`].
///
/// ```
/// use trapline_abi::WaitQueue;
///
/// let bell = WaitQueue::signal("bell");
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// scheduler.spawn(async move { bell.park().await }).detach();
/// scheduler.run().unwrap_err(); // nobody rings
/// let state = &scheduler.snapshot().objects[0];
/// assert_eq!((state.object.kind, state.waiting.len()), ("bell", 1));
/// ```
#[derive(Clone, Debug)]
pub struct ObjectState {
    /// What it is.
    pub object: Object,
    /// Who holds it, if it can be held and somebody does.
    pub holder: Option<Holder>,
    /// The calls that wait in its queue, first to last.
    pub waiting: Vec<CallId>,
}

impl Snapshot {
    /// The task with this id, if it is in the table.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.spawn(async {});
    /// assert_eq!(scheduler.snapshot().task(task.id()).unwrap().id, task.id());
    /// ```
    #[must_use]
    pub fn task(&self, id: TaskId) -> Option<&TaskInfo> {
        self.tasks.iter().find(|task| task.id == id)
    }
}

impl Kernel {
    pub(crate) fn snapshot(&self) -> Snapshot {
        let (mut calls, mut objects) = (Vec::new(), BTreeMap::new());
        for call in self.ring.calls() {
            let CallState::Blocked(on) = call.state else { continue };
            if let On::Queue(queue) = on
                && let Some(object) = &call.object
            {
                objects.entry(object.id).or_insert_with(|| self.object_state(queue, object));
            }
            calls.push(self.completed(call));
        }
        calls.sort_by_key(|call| call.id.serial());
        Snapshot {
            tasks: self.task_infos(),
            steps: self.steps,
            running: self.current,
            ready: self.ready.ids(&self.tasks).collect(),
            unclaimed: calls.iter().filter(|call| call.task.is_none()).cloned().collect(),
            calls,
            objects: objects.into_values().collect(),
        }
    }

    fn object_state(&self, queue: QueueId, object: &Object) -> ObjectState {
        let mut holder = self.ring.queue_info(queue).and_then(|queue| queue.holder);
        if let Some(holder) = &mut holder {
            self.note_end_of(holder);
        }
        ObjectState { object: object.clone(), holder, waiting: self.ring.waiting_in(queue) }
    }

    fn note_end_of(&self, holder: &mut Holder) {
        holder.ended = holder.task.is_some_and(|task| !self.is_live(task));
    }

    /// A call with what the kernel alone knows of it.
    fn completed(&self, mut call: CallInfo) -> CallInfo {
        if let CallState::Blocked(On::Timer(key)) = call.state {
            call.deadline = self.timers.deadline_of(key);
        }
        self.with_end_of_holder(call)
    }

    /// The task table; what a blocked task waits for stands in its state.
    pub(crate) fn task_infos(&self) -> Vec<TaskInfo> {
        let mut waits: BTreeMap<TaskId, Vec<CallInfo>> = BTreeMap::new();
        for call in self.ring.calls() {
            if let (Some(task), CallState::Blocked(_)) = (call.task, call.state) {
                waits.entry(task).or_default().push(self.completed(call));
            }
        }
        let mut tasks: Vec<TaskInfo> = self
            .tasks
            .iter()
            .map(|task| self.info_of(task, waits.remove(&task.id).unwrap_or_default()))
            .collect();
        tasks.sort_by_key(|task| task.id);
        tasks
    }

    /// Notes of a call whether whoever holds what it waits for has ended.
    pub(crate) fn with_end_of_holder(&self, mut call: CallInfo) -> CallInfo {
        if let Some(holder) = call.queue.as_mut().and_then(|queue| queue.holder.as_mut()) {
            self.note_end_of(holder);
        }
        call
    }

    pub(crate) fn is_live(&self, task: TaskId) -> bool {
        self.tasks.get(task).is_some_and(Task::is_live)
    }

    fn info_of(&self, task: &Task, mut waits: Vec<CallInfo>) -> TaskInfo {
        waits.sort_by_key(|call| call.id.serial());
        let (cancelled, shield) = self.ring.cancel_state(task.id);
        let record = self.tasks.record(task.id);
        TaskInfo {
            id: task.id,
            name: task.body.as_ref().and_then(|body| body.name()).map(str::to_owned),
            parent: record.parent,
            site: record.site,
            daemon: task.daemon,
            state: match &task.state {
                State::Runnable if self.current == Some(task.id) => TaskState::Running,
                State::Runnable => TaskState::Ready,
                State::Blocked => TaskState::Blocked(waits),
                State::Ending | State::Gone => TaskState::Ended(ExitStatus::Forgotten),
                State::Ended(exit) => TaskState::Ended(self.status_of(task.id, *exit)),
            },
            dispatches: task.dispatches,
            cancelled,
            shield,
        }
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>5} {:<12} {:>6} {:>10}  state", "task", "name", "parent", "dispatches")?;
        for task in &self.tasks {
            let name = task.name.as_deref().unwrap_or("-");
            let parent = task.parent.map_or_else(|| "-".to_owned(), |parent| parent.to_string());
            write!(f, "{:>5} {name:<12} {parent:>6} {:>10}  ", task.id, task.dispatches)?;
            match &task.state {
                TaskState::Running => f.write_str("running")?,
                TaskState::Ready => f.write_str("ready")?,
                TaskState::Ended(status) => write!(f, "{status}")?,
                TaskState::Blocked(calls) if calls.is_empty() => {
                    f.write_str("waits for somebody's waker")?;
                }
                TaskState::Blocked(calls) => {
                    f.write_str("waits for ")?;
                    for (index, call) in calls.iter().enumerate() {
                        write!(f, "{}{call}", if index == 0 { "" } else { "; " })?;
                    }
                }
            }
            if let Some(why) = &task.cancelled {
                write!(f, " ({why}")?;
                if let Some(shield) = task.shield {
                    write!(f, "; shielded at {shield}")?;
                }
                f.write_str(")")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
