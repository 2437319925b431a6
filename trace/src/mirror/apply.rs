//! The reducer: what each record does to the state.

use super::{
    CallMirror, InReady, Mirror, MirrorError, MirrorErrorKind as Kind, ObjectMirror, Tables,
    TaskMirror,
};
use crate::record::{Cause, Move, On, Record, Remark, TaskState, Value};

/// Fields a thing has at most. The library sets about six.
const MAX_FIELDS: usize = 64;

/// The first place in the ready queue: as many are before it as behind.
const MIDDLE: u64 = 1 << 63;

impl Mirror {
    /// Obeys a record.
    ///
    /// # Errors
    /// It contradicts the state, which it has then not changed.
    pub fn apply(&mut self, record: &Record) -> Result<(), MirrorError> {
        let step = self.step;
        self.obey(record).map_err(|kind| MirrorError { step: step.saturating_add(1), kind })?;
        match record {
            Record::Remark(_) => {}
            Record::StepEnd(_) => self.is_in_step = false,
            _ => self.is_in_step = true,
        }
        Ok(())
    }

    fn obey(&mut self, record: &Record) -> Result<(), Kind> {
        match record {
            Record::Reset { step, at_nanos, .. } => self.reset(*step, *at_nanos),
            Record::DefineString(text) => self.tables.define_string(text),
            Record::DefineSite { file, line, column } => {
                self.tables.define_site(*file, *line, *column)
            }
            Record::DefineStack { site, around } => self.tables.define_stack(*site, *around),
            Record::Move(change) => self.change(change),
            Record::Remark(remark) => self.check_remark(remark),
            Record::StepEnd(_) => {
                self.step = self.step.saturating_add(1);
                self.is_born = false;
                Ok(())
            }
        }
    }

    fn reset(&mut self, step: u64, at_nanos: u64) -> Result<(), Kind> {
        if step < self.step {
            return Err(Kind::Backward(step));
        }
        *self = Mirror { step, clock_nanos: at_nanos, ..Mirror::new() };
        Ok(())
    }

    fn change(&mut self, change: &Move) -> Result<(), Kind> {
        match *change {
            Move::TaskBorn { .. } => self.task_born(change),
            Move::TaskEnded { task, .. } => self.task_ended(task),
            Move::Ready { task, by } => self.make_ready(task, by),
            Move::PutFirst { task } => self.put_first(task),
            Move::Taken { task, at_nanos } => self.taken(task, at_nanos),
            Move::Rested { task, is_ready } => self.rested(task, is_ready),
            Move::CallBegun { .. } => self.call_begun(change),
            Move::CallBlocked { call, on } => self.call_blocked(call, on),
            Move::CallAnswered { call, by, ref reply } => {
                self.check_cause(by)?;
                self.check_value(reply)?;
                self.forget_call(call)
            }
            Move::CallWithdrawn { call } => self.forget_call(call),
            Move::CallBooked { call, task } => {
                if let Some(task) = task {
                    self.check_task(task)?;
                }
                self.calls.get_mut(call).ok_or(Kind::NoCall(call))?.task = task;
                Ok(())
            }
            Move::ObjectBorn { object, kind, name, site } => {
                self.tables.check_str(kind)?;
                name.map_or(Ok(()), |name| self.tables.check_str(name))?;
                site.map_or(Ok(()), |site| self.tables.check_site(site))?;
                if self.objects.contains(object) {
                    return Err(Kind::ObjectTwice(object));
                }
                let fields = Vec::new();
                self.objects.insert(ObjectMirror { id: object, kind, name, site, fields });
                Ok(())
            }
            Move::ObjectEnded { object } => {
                let gone = self.objects.remove(object).ok_or(Kind::NoObject(object))?;
                let beside: usize = gone.fields.iter().map(|(_, value)| field_size(value)).sum();
                self.beside -= beside;
                Ok(())
            }
            Move::FieldSet { object, field, ref value } => {
                self.tables.check_str(field)?;
                self.check_value(value)?;
                self.set_field(object, field, value)
            }
            Move::Outside { at_nanos, .. } => {
                self.clock_nanos = at_nanos;
                Ok(())
            }
        }
    }

    fn task_born(&mut self, change: &Move) -> Result<(), Kind> {
        let Move::TaskBorn { task, parent, name, site, daemon, state, dispatches } = *change else {
            return Ok(());
        };
        name.map_or(Ok(()), |name| self.tables.check_str(name))?;
        self.tables.check_site(site)?;
        if self.tasks.contains(task) {
            return Err(Kind::TaskTwice(task));
        }
        if state != TaskState::Ready && !self.is_born {
            return Err(Kind::BornLate(task));
        }
        if state == TaskState::Running {
            self.check_none_runs(task)?;
            self.running = Some(task);
        }
        let ticket = if state == TaskState::Ready { self.queue(task) } else { 0 };
        self.tasks.insert(TaskMirror {
            id: task,
            parent,
            name,
            site,
            daemon,
            state,
            dispatches,
            since_step: self.step.saturating_add(1),
            since_nanos: self.clock_nanos,
            woken_by: None,
            ticket,
        });
        Ok(())
    }

    fn task_ended(&mut self, task: u64) -> Result<(), Kind> {
        let ended = self.tasks.remove(task).ok_or(Kind::NoTask(task))?;
        match ended.state {
            TaskState::Ready => {
                self.ready.remove(ended.ticket);
            }
            TaskState::Running => self.running = None,
            TaskState::Blocked => {}
        }
        Ok(())
    }

    fn make_ready(&mut self, task: u64, by: Cause) -> Result<(), Kind> {
        self.check_cause(by)?;
        self.check_state(task, TaskState::Blocked)?;
        let ticket = self.queue(task);
        let woken_by = Some((by, self.step.saturating_add(1)));
        if let Some(entry) = self.enter(task, TaskState::Ready) {
            entry.ticket = ticket;
            entry.woken_by = woken_by;
        }
        Ok(())
    }

    fn put_first(&mut self, task: u64) -> Result<(), Kind> {
        let before = self.check_state(task, TaskState::Ready)?.ticket;
        self.ready.remove(before);
        let ticket = self.ready.first().map_or(MIDDLE, |head| head.ticket - 1);
        self.ready.insert(InReady { ticket, task });
        if let Some(entry) = self.tasks.get_mut(task) {
            entry.ticket = ticket;
        }
        Ok(())
    }

    fn taken(&mut self, task: u64, at_nanos: u64) -> Result<(), Kind> {
        let ticket = self.check_state(task, TaskState::Ready)?.ticket;
        self.check_none_runs(task)?;
        if self.ready.first().map(|head| head.ticket) != Some(ticket) {
            return Err(Kind::NotHead(task));
        }
        self.ready.remove(ticket);
        self.clock_nanos = at_nanos;
        self.running = Some(task);
        if let Some(entry) = self.enter(task, TaskState::Running) {
            entry.dispatches = entry.dispatches.saturating_add(1);
        }
        Ok(())
    }

    fn rested(&mut self, task: u64, is_ready: bool) -> Result<(), Kind> {
        self.check_state(task, TaskState::Running)?;
        self.running = None;
        if is_ready {
            let ticket = self.queue(task);
            if let Some(entry) = self.enter(task, TaskState::Ready) {
                entry.ticket = ticket;
            }
        } else {
            self.enter(task, TaskState::Blocked);
        }
        Ok(())
    }

    fn call_begun(&mut self, change: &Move) -> Result<(), Kind> {
        let Move::CallBegun { call, task, what, ref argument, site, stack } = *change else {
            return Ok(());
        };
        let task = (task != 0).then_some(task);
        task.map_or(Ok(()), |task| self.check_task(task))?;
        self.tables.check_str(what)?;
        self.check_value(argument)?;
        self.tables.check_site(site)?;
        self.tables.check_stack(stack)?;
        if self.calls.contains(call) {
            return Err(Kind::CallTwice(call));
        }
        self.beside += payload_size(argument);
        self.calls.insert(CallMirror {
            id: call,
            task,
            what,
            argument: argument.clone(),
            site,
            stack,
            on: None,
            since_step: self.step.saturating_add(1),
            since_nanos: self.clock_nanos,
            order: 0,
        });
        Ok(())
    }

    fn call_blocked(&mut self, call: u64, on: On) -> Result<(), Kind> {
        match on {
            On::Exit { task } => self.check_task(task)?,
            On::Object { object, role } => {
                self.tables.check_str(role)?;
                if !self.objects.contains(object) {
                    return Err(Kind::NoObject(object));
                }
            }
            On::Descriptor { role, .. } => self.tables.check_str(role)?,
            On::Deadline { .. } | On::Somebody => {}
        }
        let entry = self.calls.get_mut(call).ok_or(Kind::NoCall(call))?;
        entry.on = Some(on);
        entry.order = self.blocks;
        self.blocks += 1;
        Ok(())
    }

    fn forget_call(&mut self, call: u64) -> Result<(), Kind> {
        let gone = self.calls.remove(call).ok_or(Kind::NoCall(call))?;
        self.beside -= payload_size(&gone.argument);
        Ok(())
    }

    fn set_field(
        &mut self,
        object: u64,
        field: crate::record::Str,
        value: &Value,
    ) -> Result<(), Kind> {
        let entry = self.objects.get_mut(object).ok_or(Kind::NoObject(object))?;
        match entry.fields.iter().position(|(name, _)| *name == field) {
            Some(place) => {
                let before = &mut entry.fields[place].1;
                self.beside -= field_size(before);
                *before = value.clone();
            }
            None if entry.fields.len() >= MAX_FIELDS => return Err(Kind::TooManyFields(object)),
            None => {
                entry.fields.reserve_exact(1);
                entry.fields.push((field, value.clone()));
            }
        }
        self.beside += field_size(value);
        Ok(())
    }

    /// Puts a task at the back of the ready queue.
    fn queue(&mut self, task: u64) -> u64 {
        let ticket = self.ready.last().map_or(MIDDLE, |last| last.ticket + 1);
        self.ready.insert(InReady { ticket, task });
        ticket
    }

    fn enter(&mut self, task: u64, state: TaskState) -> Option<&mut TaskMirror> {
        let (step, nanos) = (self.step.saturating_add(1), self.clock_nanos);
        let entry = self.tasks.get_mut(task)?;
        entry.state = state;
        entry.since_step = step;
        entry.since_nanos = nanos;
        Some(entry)
    }

    fn check_none_runs(&self, task: u64) -> Result<(), Kind> {
        self.running.map_or(Ok(()), |running| Err(Kind::TwoRun(task, running)))
    }

    fn check_task(&self, task: u64) -> Result<(), Kind> {
        if self.tasks.contains(task) { Ok(()) } else { Err(Kind::NoTask(task)) }
    }

    fn check_state(&self, task: u64, state: TaskState) -> Result<&TaskMirror, Kind> {
        let entry = self.tasks.get(task).ok_or(Kind::NoTask(task))?;
        let word = match state {
            _ if entry.state == state => return Ok(entry),
            TaskState::Ready => "ready",
            TaskState::Running => "running",
            TaskState::Blocked => "blocked",
        };
        Err(Kind::TaskIsNot(task, word))
    }

    fn check_cause(&self, cause: Cause) -> Result<(), Kind> {
        match cause {
            Cause::Thread(name) => self.tables.check_str(name),
            _ => Ok(()),
        }
    }

    fn check_value(&self, value: &Value) -> Result<(), Kind> {
        match *value {
            Value::Text(text) => self.tables.check_str(text),
            Value::Held { since, .. } => self.tables.check_site(since),
            _ => Ok(()),
        }
    }

    /// A remark changes nothing, but what it names of the tables must be there; whatever else it names may be
    /// gone.
    fn check_remark(&self, remark: &Remark) -> Result<(), Kind> {
        let tables: &Tables = &self.tables;
        match *remark {
            Remark::Done { operation, ref result, site, stack, .. } => {
                tables.check_str(operation)?;
                self.check_value(result)?;
                tables.check_site(site)?;
                tables.check_stack(stack)
            }
            Remark::Woken { by, .. } => self.check_cause(by),
            Remark::Said { topic, text, .. } => {
                tables.check_str(topic)?;
                tables.check_str(text)
            }
            Remark::Source { file, .. } => tables.check_str(file),
            Remark::Property { key, value } => {
                tables.check_str(key)?;
                tables.check_str(value)
            }
            Remark::Cycle { .. } | Remark::Output { .. } => Ok(()),
        }
    }
}

/// What a value takes beside itself.
fn payload_size(value: &Value) -> usize {
    match value {
        Value::Payload(bytes) => bytes.len(),
        _ => 0,
    }
}

/// What a field takes beside its thing.
fn field_size(value: &Value) -> usize {
    size_of::<(crate::record::Str, Value)>() + payload_size(value)
}
