//! Records to bytes.

use super::context::{Context, Shape, op, remark};
use super::varint::{put, put_i32, put_near};
use super::{MAX_REMARK, MAX_STRING};
use crate::record::{
    About, Cause, Ended, Move, On, Record, Remark, StepEnd, Str, TaskState, Value,
};

/// Writes records as bytes, each with what the ones before it leave unsaid.
///
/// ```
/// use trapline_trace::{Record, format::{Decoder, Encoder}};
///
/// let record = Record::DefineString("mutex".to_owned());
/// let mut bytes = Vec::new();
/// Encoder::new().encode(&record, &mut bytes);
/// assert_eq!(Decoder::new().decode(&mut &bytes[..]), Ok(Some(record)));
/// ```
#[derive(Debug)]
pub struct Encoder {
    context: Context,
    calls: Seen,
    dones: Seen,
    /// A remark, until its length is known.
    scratch: Vec<u8>,
}

impl Encoder {
    /// An encoder at the beginning of a trace.
    #[must_use]
    pub fn new() -> Encoder {
        Encoder {
            context: Context::new(0),
            calls: Seen::new(),
            dones: Seen::new(),
            scratch: Vec::new(),
        }
    }

    /// Appends a record to `out`. After a [`Record::Reset`] nothing is left unsaid of what was before it.
    pub fn encode(&mut self, record: &Record, out: &mut Vec<u8>) {
        self.encode_here(record, out);
    }

    /// The same where the caller knows which record it is: then nothing is left of the `match`, and the record
    /// never lies in memory.
    #[inline(always)]
    pub(crate) fn encode_here(&mut self, record: &Record, out: &mut Vec<u8>) {
        match record {
            Record::Reset { step, at_nanos, missed_steps } => {
                out.push(op::RESET);
                put(out, *step);
                put(out, *at_nanos);
                put(out, *missed_steps);
                self.context = Context::new(*at_nanos);
            }
            Record::DefineString(text) => {
                out.push(op::STRING);
                put_text(out, text, MAX_STRING);
            }
            Record::DefineSite { file, line, column } => {
                out.push(op::SITE);
                put(out, file.0.into());
                put(out, (*line).into());
                put(out, (*column).into());
            }
            Record::DefineStack { site, around } => {
                out.push(op::STACK);
                put(out, site.0.into());
                put(out, around.0.into());
            }
            Record::Move(change) => self.change(change, out),
            Record::Remark(remark) => self.remark(remark, out),
            Record::StepEnd(end) => out.push(op::STEP_END + step_end(*end)),
        }
    }

    #[inline(always)]
    fn change(&mut self, change: &Move, out: &mut Vec<u8>) {
        match *change {
            Move::TaskBorn { task, parent, name, site, daemon, state, dispatches } => {
                let state = match state {
                    TaskState::Ready => 0,
                    TaskState::Running => 1,
                    TaskState::Blocked => 2,
                };
                out.push(op::TASK_BORN);
                out.push(
                    state
                        | u8::from(daemon) << 2
                        | u8::from(parent.is_some()) << 3
                        | u8::from(name.is_some()) << 4,
                );
                self.task(task, out);
                if let Some(parent) = parent {
                    put_near(out, parent, task);
                }
                if let Some(name) = name {
                    put(out, name.0.into());
                }
                put(out, site.0.into());
                put(out, dispatches);
            }
            Move::TaskEnded { task, how } => {
                let how = match how {
                    Ended::Returned => 0,
                    Ended::Panicked => 1,
                    Ended::Killed => 2,
                    Ended::Cancelled => 3,
                };
                out.push(op::TASK_ENDED + how);
                self.task(task, out);
            }
            Move::Ready { task, by } => {
                let same = by == self.context.cause;
                out.push(op::READY | u8::from(same));
                self.task(task, out);
                self.cause(by, same, out);
            }
            Move::PutFirst { task } => {
                out.push(op::PUT_FIRST);
                self.task(task, out);
            }
            Move::Taken { task, at_nanos } => {
                out.push(op::TAKEN);
                self.task(task, out);
                self.time(at_nanos, out);
                self.context.running = task;
            }
            Move::Rested { task, is_ready } => {
                let other = task != self.context.running;
                out.push(op::RESTED | u8::from(other) << 1 | u8::from(is_ready));
                if other {
                    self.task(task, out);
                }
            }
            Move::Outside { answered, at_nanos } => {
                out.push(op::OUTSIDE);
                put(out, answered);
                self.time(at_nanos, out);
            }
            Move::ObjectBorn { object, kind, name, site } => {
                out.push(op::OBJECT_BORN);
                self.object(object, out);
                put(out, kind.0.into());
                put(out, name.map_or(0, |name| u64::from(name.0) + 1));
                put(out, site.map_or(0, |site| u64::from(site.0) + 1));
            }
            Move::ObjectEnded { object } => {
                out.push(op::OBJECT_ENDED);
                self.object(object, out);
            }
            Move::FieldSet { object, field, ref value } => {
                let other = object != self.context.object;
                out.push(op::FIELD_SET | u8::from(other));
                if other {
                    self.object(object, out);
                }
                put(out, field.0.into());
                self.value(value, out);
            }
            Move::CallBegun { .. }
            | Move::CallBlocked { .. }
            | Move::CallAnswered { .. }
            | Move::CallWithdrawn { .. }
            | Move::CallBooked { .. } => self.call_change(change, out),
        }
    }

    #[inline(always)]
    fn call_change(&mut self, change: &Move, out: &mut Vec<u8>) {
        match *change {
            Move::CallBegun { call, task, what, ref argument, site, stack } => {
                let shape = Shape { what, site, stack };
                let slot = self.calls.find(shape, |slot| self.context.calls.get(slot).map(|e| e.0));
                let other_task = task != self.context.running;
                let other_call = call != self.context.call.wrapping_add(1);
                out.push(
                    op::BEGUN
                        | u8::from(other_task)
                        | u8::from(other_call) << 1
                        | u8::from(slot.is_none()) << 2,
                );
                if other_task {
                    self.task(task, out);
                }
                if other_call {
                    put_near(out, call, self.context.call);
                }
                self.context.call = call;
                match slot {
                    Some(slot) => out.push(slot),
                    None => {
                        put_shape(shape, out);
                        self.calls.learn(shape, self.context.calls.add(shape, ()));
                    }
                }
                self.value(argument, out);
            }
            Move::CallBlocked { call, on } => self.blocked(call, on, out),
            Move::CallAnswered { call, by, ref reply } => {
                let other_call = call != self.context.call;
                let by_running = by == Cause::Task(self.context.running);
                let same = !by_running && by == self.context.cause;
                out.push(
                    op::ANSWERED
                        | u8::from(other_call)
                        | u8::from(by_running) << 1
                        | u8::from(same) << 2
                        | u8::from(*reply != Value::Nothing) << 3,
                );
                if other_call {
                    self.old_call(call, out);
                }
                self.cause(by, by_running || same, out);
                if *reply != Value::Nothing {
                    self.value(reply, out);
                }
            }
            Move::CallWithdrawn { call } => {
                out.push(op::WITHDRAWN);
                self.old_call(call, out);
            }
            Move::CallBooked { call, task } => {
                out.push(op::BOOKED);
                self.old_call(call, out);
                self.task_or_none(task, out);
            }
            _ => {}
        }
    }

    #[inline(always)]
    fn blocked(&mut self, call: u64, on: On, out: &mut Vec<u8>) {
        let kind = match on {
            On::Deadline { .. } => 0,
            On::Exit { .. } => 1,
            On::Object { object, .. } if object == self.context.object => 2,
            On::Object { .. } => 3,
            On::Descriptor { .. } => 4,
            On::Somebody => 5,
        };
        let other_call = call != self.context.call;
        out.push(op::BLOCKED | kind << 1 | u8::from(other_call));
        if other_call {
            self.old_call(call, out);
        }
        match on {
            On::Deadline { at_nanos } => put(out, at_nanos.wrapping_sub(self.context.at_nanos)),
            On::Exit { task } => self.task(task, out),
            On::Object { object, role } => {
                if object != self.context.object {
                    self.object(object, out);
                }
                put(out, role.0.into());
            }
            On::Descriptor { fd, role } => {
                put_i32(out, fd);
                put(out, role.0.into());
            }
            On::Somebody => {}
        }
    }

    #[inline(always)]
    fn remark(&mut self, remark: &Remark, out: &mut Vec<u8>) {
        match *remark {
            Remark::Done { task, object, operation, ref result, site, stack } => {
                let shape = Shape { what: operation, site, stack };
                self.done(task, object, shape, result, out);
            }
            Remark::Woken { task, by, redundant } => {
                let other = by != self.context.cause;
                out.push(op::WOKEN | u8::from(other) << 1 | u8::from(redundant));
                self.task(task, out);
                self.cause(by, !other, out);
            }
            _ => self.long_remark(remark, out),
        }
    }

    #[inline(always)]
    fn done(
        &mut self,
        task: Option<u64>,
        object: u64,
        shape: Shape,
        result: &Value,
        out: &mut Vec<u8>,
    ) {
        let slot = self.dones.find(shape, |slot| self.context.dones.get(slot).map(|e| e.0));
        let other_task = task != Some(self.context.running);
        let other_object = object != self.context.object;
        let before = slot.and_then(|slot| self.context.dones.get(slot)).map(|entry| &entry.1);
        let other_result = before != Some(result);
        out.push(
            op::DONE
                | u8::from(other_task)
                | u8::from(other_object) << 1
                | u8::from(slot.is_none()) << 2
                | u8::from(other_result) << 3,
        );
        if other_task {
            self.task_or_none(task, out);
        }
        if other_object {
            self.object(object, out);
        }
        let slot = match slot {
            Some(slot) => {
                out.push(slot);
                slot
            }
            None => {
                put_shape(shape, out);
                let slot = self.context.dones.add(shape, Value::Nothing);
                self.dones.learn(shape, slot);
                slot
            }
        };
        if other_result {
            self.value(result, out);
            if let Some(entry) = self.context.dones.get_mut(slot) {
                entry.1 = kept(result);
            }
        }
    }

    /// Remarks with their length before them, so that whoever does not know them can skip them. They have
    /// nothing to do with what was before.
    #[inline(never)]
    fn long_remark(&mut self, remark: &Remark, out: &mut Vec<u8>) {
        let mut body = std::mem::take(&mut self.scratch);
        body.clear();
        let kind = match remark {
            Remark::Said { about, topic, text } => {
                let (tag, number) = match *about {
                    About::Run => (0, 0),
                    About::Task(task) => (1, task),
                    About::Call(call) => (2, call),
                    About::Object(object) => (3, object),
                };
                body.push(tag);
                put(&mut body, number);
                put(&mut body, topic.0.into());
                put(&mut body, text.0.into());
                remark::SAID
            }
            Remark::Cycle { tasks } => {
                let tasks = &tasks[..tasks.len().min(MAX_REMARK / 10 - 1)];
                put(&mut body, tasks.len() as u64);
                tasks.iter().for_each(|task| put(&mut body, *task));
                remark::CYCLE
            }
            Remark::Output { length } => {
                put(&mut body, *length);
                remark::OUTPUT
            }
            Remark::Source { file, text, is_newer } => {
                put(&mut body, file.0.into());
                body.push(u8::from(*is_newer));
                put_text(&mut body, text, MAX_REMARK - 16);
                remark::SOURCE
            }
            Remark::Property { key, value } => {
                put(&mut body, key.0.into());
                put(&mut body, value.0.into());
                remark::PROPERTY
            }
            Remark::Done { .. } | Remark::Woken { .. } => return,
        };
        out.push(op::REMARK);
        out.push(kind);
        put(out, body.len() as u64);
        out.extend_from_slice(&body);
        body.shrink_to(MAX_STRING);
        self.scratch = body;
    }

    #[inline]
    fn task(&mut self, task: u64, out: &mut Vec<u8>) {
        put_near(out, task, self.context.task);
        self.context.task = task;
    }

    fn task_or_none(&mut self, task: Option<u64>, out: &mut Vec<u8>) {
        out.push(u8::from(task.is_some()));
        if let Some(task) = task {
            self.task(task, out);
        }
    }

    #[inline]
    fn object(&mut self, object: u64, out: &mut Vec<u8>) {
        put_near(out, object, self.context.object);
        self.context.object = object;
    }

    /// A call that was begun before: so many before the last one.
    #[inline]
    fn old_call(&self, call: u64, out: &mut Vec<u8>) {
        put(out, self.context.call.wrapping_sub(call));
    }

    #[inline]
    fn time(&mut self, at_nanos: u64, out: &mut Vec<u8>) {
        put(out, at_nanos.wrapping_sub(self.context.at_nanos));
        self.context.at_nanos = at_nanos;
    }

    #[inline(always)]
    fn cause(&mut self, cause: Cause, is_known: bool, out: &mut Vec<u8>) {
        self.context.cause = cause;
        if is_known {
            return;
        }
        match cause {
            Cause::Source(fd @ 0..=0x7F) => out.push(0x80 | fd as u8),
            Cause::Task(task) => {
                out.push(0);
                put_near(out, task, self.context.task);
            }
            Cause::Exit(task) => {
                out.push(1);
                put_near(out, task, self.context.task);
            }
            Cause::Timer => out.push(2),
            Cause::Source(fd) => {
                out.push(3);
                put_i32(out, fd);
            }
            Cause::Thread(Str(name)) => {
                out.push(4);
                put(out, name.into());
            }
            Cause::Outside => out.push(5),
            Cause::Program => out.push(6),
            Cause::Order => out.push(7),
        }
    }

    #[inline]
    fn value(&self, value: &Value, out: &mut Vec<u8>) {
        let (tag, number) = match *value {
            Value::Count(count @ 0..=0x3F) => return out.push(0x40 | count as u8),
            Value::Descriptor(fd @ 0..=0x7F) => return out.push(0x80 | fd as u8),
            Value::Nothing => return out.push(0),
            Value::Count(count) => (1, count),
            Value::Bytes(count) => (2, count),
            Value::Nanos(nanos) => (3, nanos),
            Value::Time(at_nanos) => (4, at_nanos.wrapping_sub(self.context.at_nanos)),
            Value::Task(task) => (5, task),
            Value::Object(object) => (6, object),
            Value::Text(text) => (7, text.0.into()),
            Value::Held { task: None, since } => (8, since.0.into()),
            Value::Held { task: Some(task), since } => {
                out.push(9);
                put(out, task);
                return put(out, since.0.into());
            }
            Value::Descriptor(fd) => {
                out.push(10);
                return put_i32(out, fd);
            }
            Value::Os(code) => {
                out.push(11);
                return put_i32(out, code);
            }
            Value::Payload(ref bytes) => {
                let bytes = &bytes[..bytes.len().min(MAX_STRING)];
                out.push(12);
                put(out, bytes.len() as u64);
                return out.extend_from_slice(bytes);
            }
        };
        out.push(tag);
        put(out, number);
    }
}

impl Default for Encoder {
    fn default() -> Encoder {
        Encoder::new()
    }
}

/// What is remembered of a result: not the bytes of a payload.
pub(super) fn kept(result: &Value) -> Value {
    match result {
        Value::Payload(_) => Value::Nothing,
        other => other.clone(),
    }
}

fn step_end(end: StepEnd) -> u8 {
    match end {
        StepEnd::Ran => 0,
        StepEnd::Outside => 1,
        StepEnd::Finished => 2,
        StepEnd::Deadlock => 3,
        StepEnd::Stalled => 4,
        StepEnd::DriverFailed => 5,
    }
}

fn put_shape(shape: Shape, out: &mut Vec<u8>) {
    put(out, shape.what.0.into());
    put(out, shape.site.0.into());
    put(out, shape.stack.0.into());
}

/// A text with its length before it, cut between two characters where it is too long.
fn put_text(out: &mut Vec<u8>, text: &str, max: usize) {
    let text = &text[..text.floor_char_boundary(max)];
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Where the encoder looks first for a shape. What it fails to find is written once more, which is never
/// wrong: so a table without chains does.
#[derive(Debug)]
struct Seen {
    slots: Box<[u8; 1024]>,
}

impl Seen {
    fn new() -> Seen {
        Seen { slots: Box::new([0; 1024]) }
    }

    #[inline]
    fn find(&self, shape: Shape, stored: impl Fn(u8) -> Option<Shape>) -> Option<u8> {
        let slot = self.slots[place(shape)];
        (stored(slot) == Some(shape)).then_some(slot)
    }

    fn learn(&mut self, shape: Shape, slot: u8) {
        self.slots[place(shape)] = slot;
    }
}

#[inline]
fn place(shape: Shape) -> usize {
    let mixed = shape
        .site
        .0
        .wrapping_mul(0x9E37_79B1)
        .wrapping_add(shape.stack.0.wrapping_mul(0x85EB_CA77))
        .wrapping_add(shape.what.0.wrapping_mul(0xC2B2_AE3D));
    (mixed >> 22) as usize
}
