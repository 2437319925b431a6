//! Key frames: the state as it is, as records that rebuild it.

use std::collections::{BTreeMap, BTreeSet};

use trapline_abi::{
    CallId, CallInfo, CallState, Holder, Instant, TaskId, TaskInfo, TaskState as State,
};
use trapline_scheduler::{ObjectState, Snapshot};

use super::{Asked, Paper, Scribe, moved};
use crate::record::{Move, Record, TaskState, Value};

impl Scribe {
    /// Forgets all definitions, and writes the state as it is: at the beginning of a trace, after a gap of so
    /// many steps, and where the definitions have grown too many.
    pub fn key_frame(
        &mut self,
        snapshot: &Snapshot,
        at: Instant,
        missed_steps: u64,
        out: &mut impl Paper,
    ) {
        self.names.reset();
        self.objects.clear();
        self.last_object = 0;
        self.holders.clear();
        self.blocked.clear();
        self.moved_bytes = None;
        self.running = snapshot.running.map(TaskId::sequence);
        let (step, at_nanos) = (snapshot.steps, at.as_nanos());
        out.push(Record::Reset { step, at_nanos, missed_steps });
        self.write_tasks(snapshot, out);
        for ObjectState { object, holder, .. } in &snapshot.objects {
            self.object(object, out);
            if let Some(holder) = holder {
                self.held(object, holder, out);
            }
        }
        self.write_calls(snapshot, out);
    }

    /// The tasks that are ready are born in the order in which they stand.
    fn write_tasks(&mut self, snapshot: &Snapshot, out: &mut impl Paper) {
        let by_id: BTreeMap<TaskId, &TaskInfo> =
            snapshot.tasks.iter().map(|task| (task.id, task)).collect();
        for id in &snapshot.ready {
            if let Some(task) = by_id.get(id) {
                self.write_task(task, TaskState::Ready, out);
            }
        }
        for task in &snapshot.tasks {
            match &task.state {
                State::Running => self.write_task(task, TaskState::Running, out),
                State::Blocked(_) => self.write_task(task, TaskState::Blocked, out),
                State::Ready | State::Ended(_) => {}
            }
        }
    }

    fn write_task(&mut self, task: &TaskInfo, state: TaskState, out: &mut impl Paper) {
        let name = task.name.as_deref().map(|name| self.names.text(name, out));
        let site = self.names.site(task.site, out);
        out.push(moved(Move::TaskBorn {
            task: task.id.sequence(),
            parent: task.parent.map(TaskId::sequence),
            name,
            site,
            daemon: task.daemon,
            state,
            dispatches: task.dispatches,
        }));
    }

    pub(super) fn write_holder(&mut self, object: u64, holder: &Holder, out: &mut impl Paper) {
        if let Some(since) = holder.since {
            let since = self.names.site(since, out);
            let value = Value::Held { task: holder.task.map(TaskId::sequence), since };
            let field = self.names.word("holder", out);
            out.push(moved(Move::FieldSet { object, field, value }));
        }
        let value = Value::Count(holders(holder));
        let field = self.names.word("holders", out);
        out.push(moved(Move::FieldSet { object, field, value }));
    }

    /// The calls: first those that stand in a line, in the order of that.
    fn write_calls(&mut self, snapshot: &Snapshot, out: &mut impl Paper) {
        let calls: BTreeMap<u64, &CallInfo> =
            snapshot.calls.iter().map(|call| (call.id.serial(), call)).collect();
        let mut written = BTreeSet::new();
        let in_line = snapshot.objects.iter().flat_map(|state| &state.waiting);
        for serial in in_line.map(|call: &CallId| call.serial()).chain(calls.keys().copied()) {
            if let Some(call) = calls.get(&serial)
                && written.insert(serial)
            {
                self.write_call(call, out);
            }
        }
    }

    fn write_call(&mut self, call: &CallInfo, out: &mut impl Paper) {
        let CallState::Blocked(on) = call.state else { return };
        let asked = Asked {
            request: call.request,
            label: call.label,
            object: call.object.as_ref(),
            deadline: call.deadline,
        };
        // A number that no task has: nobody's.
        let task = call.task.map_or(0, TaskId::sequence);
        self.begun(call.id, task, &asked, (call.site, call.stack), out);
        self.blocked(call.id, on, &asked, out);
    }
}

/// How many hold a thing.
pub(crate) fn holders(holder: &Holder) -> u64 {
    u64::from(holder.others) + u64::from(holder.since.is_some())
}
