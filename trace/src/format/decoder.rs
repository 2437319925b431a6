//! Bytes to records.

use super::context::{Context, Shape, op, remark};
use super::encoder::kept;
use super::varint::{Bytes, Stop};
use super::{FormatError, MAX_REMARK, MAX_STRING};
use crate::record::{
    About, Cause, Ended, Move, On, Record, Remark, SiteRef, StackRef, StepEnd, Str, TaskState,
    Value,
};

/// Reads records from bytes.
///
/// It checks that they are records, not that they make sense: that is the mirror's business.
#[derive(Clone, Debug)]
pub struct Decoder {
    context: Context,
}

impl Decoder {
    /// A decoder at the beginning of a trace.
    #[must_use]
    pub fn new() -> Decoder {
        Decoder { context: Context::new(0) }
    }

    /// Takes the next record off the front of `bytes`; `None`, and nothing is taken of it, if it is not there as
    /// a whole. Remarks of kinds that are not known are passed over.
    ///
    /// # Errors
    /// What is there is no record. Nothing after it can be read.
    pub fn decode(&mut self, bytes: &mut &[u8]) -> Result<Option<Record>, FormatError> {
        loop {
            let mut input = Bytes::new(bytes);
            match self.record(&mut input) {
                Ok(record) => {
                    *bytes = input.rest();
                    if record.is_some() {
                        return Ok(record);
                    }
                }
                Err(Stop::Short) => return Ok(None),
                Err(Stop::Bad(error)) => return Err(error),
            }
        }
    }

    pub(crate) fn heap_size(&self) -> usize {
        self.context.heap_size()
    }

    /// The next record; `None` for a remark that is not known. The context changes only once all of it is there.
    #[inline]
    fn record(&mut self, input: &mut Bytes<'_>) -> Result<Option<Record>, Stop> {
        let code = input.byte()?;
        let record = match code {
            op::RESET => {
                let (step, at_nanos, missed_steps) = (input.u64()?, input.u64()?, input.u64()?);
                self.context = Context::new(at_nanos);
                Record::Reset { step, at_nanos, missed_steps }
            }
            op::STRING => Record::DefineString(text(input, MAX_STRING)?),
            op::SITE => Record::DefineSite {
                file: Str(input.u32()?),
                line: input.u32()?,
                column: input.u32()?,
            },
            op::STACK => {
                Record::DefineStack { site: SiteRef(input.u32()?), around: StackRef(input.u32()?) }
            }
            op::REMARK => return Ok(long_remark(input)?.map(Record::Remark)),
            code if code >= op::DONE => Record::Remark(self.done(code, input)?),
            op::WOKEN..op::FIELD_SET => {
                let task = input.near(self.context.task)?;
                let by = self.cause(code & 2 == 0, task, input)?;
                (self.context.task, self.context.cause) = (task, by);
                Record::Remark(Remark::Woken { task, by, redundant: code & 1 != 0 })
            }
            op::STEP_END..op::TASK_BORN => Record::StepEnd(step_end(code)?),
            op::BEGUN..op::DONE => Record::Move(self.call_change(code, input)?),
            op::WITHDRAWN | op::BOOKED => Record::Move(self.call_change(code, input)?),
            _ => Record::Move(self.change(code, input)?),
        };
        Ok(Some(record))
    }

    fn change(&mut self, code: u8, input: &mut Bytes<'_>) -> Result<Move, Stop> {
        let context = &mut self.context;
        let change = match code {
            op::TASK_BORN => return self.task_born(input),
            op::TASK_ENDED..op::OBJECT_BORN => {
                context.task = input.near(context.task)?;
                let how = match code - op::TASK_ENDED {
                    0 => Ended::Returned,
                    1 => Ended::Panicked,
                    2 => Ended::Killed,
                    _ => Ended::Cancelled,
                };
                Move::TaskEnded { task: context.task, how }
            }
            op::READY..op::TAKEN => {
                let task = input.near(context.task)?;
                let by = self.cause(code & 1 != 0, task, input)?;
                (self.context.task, self.context.cause) = (task, by);
                Move::Ready { task, by }
            }
            op::PUT_FIRST => {
                context.task = input.near(context.task)?;
                Move::PutFirst { task: context.task }
            }
            op::TAKEN => {
                let (task, later) = (input.near(context.task)?, input.u64()?);
                context.at_nanos = context.at_nanos.wrapping_add(later);
                (context.task, context.running) = (task, task);
                Move::Taken { task, at_nanos: context.at_nanos }
            }
            op::RESTED..op::WOKEN => {
                let mut task = context.running;
                if code & 2 != 0 {
                    task = input.near(context.task)?;
                    context.task = task;
                }
                Move::Rested { task, is_ready: code & 1 != 0 }
            }
            op::OUTSIDE => {
                let (answered, later) = (input.u64()?, input.u64()?);
                context.at_nanos = context.at_nanos.wrapping_add(later);
                Move::Outside { answered, at_nanos: context.at_nanos }
            }
            op::OBJECT_BORN => {
                let object = input.near(context.object)?;
                let kind = Str(input.u32()?);
                let name = number_or_none(input)?.map(Str);
                let site = number_or_none(input)?.map(SiteRef);
                context.object = object;
                Move::ObjectBorn { object, kind, name, site }
            }
            op::OBJECT_ENDED => {
                context.object = input.near(context.object)?;
                Move::ObjectEnded { object: context.object }
            }
            op::FIELD_SET | 0x2D => {
                let object = self.object(code & 1 != 0, input)?;
                let field = Str(input.u32()?);
                let value = self.value(input)?;
                self.context.object = object;
                Move::FieldSet { object, field, value }
            }
            _ => return Err(FormatError::UnknownOpcode(code).into()),
        };
        Ok(change)
    }

    fn task_born(&mut self, input: &mut Bytes<'_>) -> Result<Move, Stop> {
        let flags = input.byte()?;
        let state = match flags & 3 {
            0 => TaskState::Ready,
            1 => TaskState::Running,
            2 => TaskState::Blocked,
            _ => return Err(FormatError::UnknownTag { what: "state", byte: flags }.into()),
        };
        let task = input.near(self.context.task)?;
        let parent = if flags & 8 != 0 { Some(input.near(task)?) } else { None };
        let name = if flags & 16 != 0 { Some(Str(input.u32()?)) } else { None };
        let (site, dispatches) = (SiteRef(input.u32()?), input.u64()?);
        self.context.task = task;
        Ok(Move::TaskBorn { task, parent, name, site, daemon: flags & 4 != 0, state, dispatches })
    }

    fn call_change(&mut self, code: u8, input: &mut Bytes<'_>) -> Result<Move, Stop> {
        match code {
            op::WITHDRAWN => Ok(Move::CallWithdrawn { call: self.old_call(true, input)? }),
            op::BOOKED => {
                let call = self.old_call(true, input)?;
                let task = self.task_or_none(input)?;
                self.context.task = task.unwrap_or(self.context.task);
                Ok(Move::CallBooked { call, task })
            }
            0x30..0x38 => self.begun(code, input),
            0x40..0x4C => self.blocked(code, input),
            0x50..0x60 => {
                let call = self.old_call(code & 1 != 0, input)?;
                let by = if code & 2 != 0 {
                    Cause::Task(self.context.running)
                } else {
                    self.cause(code & 4 != 0, self.context.task, input)?
                };
                let reply = if code & 8 != 0 { self.value(input)? } else { Value::Nothing };
                self.context.cause = by;
                Ok(Move::CallAnswered { call, by, reply })
            }
            _ => Err(FormatError::UnknownOpcode(code).into()),
        }
    }

    fn begun(&mut self, code: u8, input: &mut Bytes<'_>) -> Result<Move, Stop> {
        let context = &self.context;
        let other_task = code & 1 != 0;
        let task = if other_task { input.near(context.task)? } else { context.running };
        let call = match code & 2 {
            0 => context.call.wrapping_add(1),
            _ => input.near(context.call)?,
        };
        let shape = if code & 4 != 0 {
            shape(input)?
        } else {
            let slot = input.byte()?;
            context.calls.get(slot).ok_or(FormatError::EmptySlot(slot))?.0
        };
        let argument = self.value(input)?;
        if other_task {
            self.context.task = task;
        }
        if code & 4 != 0 {
            self.context.calls.add(shape, ());
        }
        self.context.call = call;
        let Shape { what, site, stack } = shape;
        Ok(Move::CallBegun { call, task, what, argument, site, stack })
    }

    fn blocked(&mut self, code: u8, input: &mut Bytes<'_>) -> Result<Move, Stop> {
        let call = self.old_call(code & 1 != 0, input)?;
        let on = match (code - op::BLOCKED) >> 1 {
            0 => On::Deadline { at_nanos: self.context.at_nanos.wrapping_add(input.u64()?) },
            1 => {
                let task = input.near(self.context.task)?;
                self.context.task = task;
                On::Exit { task }
            }
            kind @ (2 | 3) => {
                let object = self.object(kind == 3, input)?;
                let role = Str(input.u32()?);
                self.context.object = object;
                On::Object { object, role }
            }
            4 => On::Descriptor { fd: input.i32()?, role: Str(input.u32()?) },
            _ => On::Somebody,
        };
        Ok(Move::CallBlocked { call, on })
    }

    fn done(&mut self, code: u8, input: &mut Bytes<'_>) -> Result<Remark, Stop> {
        if code > 0x7F {
            return Err(FormatError::UnknownOpcode(code).into());
        }
        let other_task = code & 1 != 0;
        let task = match other_task {
            true => self.task_or_none(input)?,
            false => Some(self.context.running),
        };
        let object = self.object(code & 2 != 0, input)?;
        let is_new = code & 4 != 0;
        let (slot, shape, before) = if is_new {
            (0, shape(input)?, Value::Nothing)
        } else {
            let slot = input.byte()?;
            let (shape, before) =
                self.context.dones.get(slot).ok_or(FormatError::EmptySlot(slot))?;
            (slot, *shape, before.clone())
        };
        let result = if code & 8 != 0 { self.value(input)? } else { before };
        if other_task && let Some(task) = task {
            self.context.task = task;
        }
        self.context.object = object;
        if is_new {
            self.context.dones.add(shape, kept(&result));
        } else if let Some(entry) = self.context.dones.get_mut(slot) {
            entry.1 = kept(&result);
        }
        let Shape { what: operation, site, stack } = shape;
        Ok(Remark::Done { task, object, operation, result, site, stack })
    }

    fn task_or_none(&self, input: &mut Bytes<'_>) -> Result<Option<u64>, Stop> {
        match input.byte()? {
            0 => Ok(None),
            _ => Ok(Some(input.near(self.context.task)?)),
        }
    }

    fn object(&self, is_other: bool, input: &mut Bytes<'_>) -> Result<u64, Stop> {
        if is_other { input.near(self.context.object) } else { Ok(self.context.object) }
    }

    fn old_call(&self, is_other: bool, input: &mut Bytes<'_>) -> Result<u64, Stop> {
        let before = if is_other { input.u64()? } else { 0 };
        Ok(self.context.call.wrapping_sub(before))
    }

    fn cause(&self, is_same: bool, task: u64, input: &mut Bytes<'_>) -> Result<Cause, Stop> {
        if is_same {
            return Ok(self.context.cause);
        }
        let cause = match input.byte()? {
            fd @ 0x80.. => Cause::Source((fd & 0x7F).into()),
            0 => Cause::Task(input.near(task)?),
            1 => Cause::Exit(input.near(task)?),
            2 => Cause::Timer,
            3 => Cause::Source(input.i32()?),
            4 => Cause::Thread(Str(input.u32()?)),
            5 => Cause::Outside,
            6 => Cause::Program,
            7 => Cause::Order,
            byte => return Err(FormatError::UnknownTag { what: "cause", byte }.into()),
        };
        Ok(cause)
    }

    fn value(&self, input: &mut Bytes<'_>) -> Result<Value, Stop> {
        let value = match input.byte()? {
            fd @ 0x80.. => Value::Descriptor((fd & 0x7F).into()),
            count @ 0x40.. => Value::Count((count & 0x3F).into()),
            0 => Value::Nothing,
            1 => Value::Count(input.u64()?),
            2 => Value::Bytes(input.u64()?),
            3 => Value::Nanos(input.u64()?),
            4 => Value::Time(self.context.at_nanos.wrapping_add(input.u64()?)),
            5 => Value::Task(input.u64()?),
            6 => Value::Object(input.u64()?),
            7 => Value::Text(Str(input.u32()?)),
            8 => Value::Held { task: None, since: SiteRef(input.u32()?) },
            9 => Value::Held { task: Some(input.u64()?), since: SiteRef(input.u32()?) },
            10 => Value::Descriptor(input.i32()?),
            11 => Value::Os(input.i32()?),
            12 => {
                let length = length(input, MAX_STRING)?;
                Value::Payload(input.take(length)?.to_vec())
            }
            byte => return Err(FormatError::UnknownTag { what: "value", byte }.into()),
        };
        Ok(value)
    }
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder::new()
    }
}

fn long_remark(input: &mut Bytes<'_>) -> Result<Option<Remark>, Stop> {
    let kind = input.byte()?;
    let length = length(input, MAX_REMARK)?;
    let mut body = Bytes::new(input.take(length)?);
    match remark_of(kind, &mut body) {
        Err(Stop::Short) => Err(FormatError::ShortRemark.into()),
        read => read,
    }
}

fn remark_of(kind: u8, body: &mut Bytes<'_>) -> Result<Option<Remark>, Stop> {
    let remark = match kind {
        remark::SAID => {
            let tag = body.byte()?;
            let number = body.u64()?;
            let about = match tag {
                0 => About::Run,
                1 => About::Task(number),
                2 => About::Call(number),
                3 => About::Object(number),
                byte => return Err(FormatError::UnknownTag { what: "subject", byte }.into()),
            };
            Remark::Said { about, topic: Str(body.u32()?), text: Str(body.u32()?) }
        }
        remark::CYCLE => {
            let count = body.u64()?;
            // Each takes a byte at least.
            if count > body.rest().len() as u64 {
                return Err(Stop::Short);
            }
            let tasks = (0..count).map(|_| body.u64()).collect::<Result<_, Stop>>()?;
            Remark::Cycle { tasks }
        }
        remark::OUTPUT => Remark::Output { length: body.u64()? },
        remark::SOURCE => {
            let (file, is_newer) = (Str(body.u32()?), body.byte()? != 0);
            Remark::Source { file, is_newer, text: text(body, MAX_REMARK)? }
        }
        remark::PROPERTY => Remark::Property { key: Str(body.u32()?), value: Str(body.u32()?) },
        _ => return Ok(None),
    };
    Ok(Some(remark))
}

fn step_end(code: u8) -> Result<StepEnd, FormatError> {
    Ok(match code - op::STEP_END {
        0 => StepEnd::Ran,
        1 => StepEnd::Outside,
        2 => StepEnd::Finished,
        3 => StepEnd::Deadlock,
        4 => StepEnd::Stalled,
        5 => StepEnd::DriverFailed,
        _ => return Err(FormatError::UnknownOpcode(code)),
    })
}

fn shape(input: &mut Bytes<'_>) -> Result<Shape, Stop> {
    Ok(Shape {
        what: Str(input.u32()?),
        site: SiteRef(input.u32()?),
        stack: StackRef(input.u32()?),
    })
}

fn number_or_none(input: &mut Bytes<'_>) -> Result<Option<u32>, Stop> {
    match input.u64()?.checked_sub(1) {
        None => Ok(None),
        Some(number) => Ok(Some(u32::try_from(number).map_err(|_| FormatError::NumberTooLarge)?)),
    }
}

fn length(input: &mut Bytes<'_>, max: usize) -> Result<usize, Stop> {
    let length = input.u64()?;
    match usize::try_from(length) {
        Ok(length) if length <= max => Ok(length),
        _ => Err(FormatError::TooLong(length).into()),
    }
}

fn text(input: &mut Bytes<'_>, max: usize) -> Result<String, Stop> {
    let length = length(input, max)?;
    let bytes = input.take(length)?;
    Ok(std::str::from_utf8(bytes).map_err(|_| FormatError::NotUtf8)?.to_owned())
}
