//! What writer and reader both remember, so that a record need not repeat it.

use crate::record::{Cause, SiteRef, StackRef, Str, Value};

/// The first byte of each record. Where a range is named, the low bits are flags.
pub(super) mod op {
    pub(crate) const RESET: u8 = 0x00;
    pub(crate) const STRING: u8 = 0x01;
    pub(crate) const SITE: u8 = 0x02;
    pub(crate) const STACK: u8 = 0x03;
    pub(crate) const REMARK: u8 = 0x04;
    /// To `0x0D`: the six kinds of [`crate::StepEnd`].
    pub(crate) const STEP_END: u8 = 0x08;
    pub(crate) const TASK_BORN: u8 = 0x10;
    pub(crate) const PUT_FIRST: u8 = 0x11;
    pub(crate) const WITHDRAWN: u8 = 0x12;
    pub(crate) const BOOKED: u8 = 0x13;
    /// To `0x17`: the four kinds of [`crate::Ended`].
    pub(crate) const TASK_ENDED: u8 = 0x14;
    pub(crate) const OBJECT_BORN: u8 = 0x18;
    pub(crate) const OBJECT_ENDED: u8 = 0x19;
    pub(crate) const OUTSIDE: u8 = 0x1A;
    /// To `0x21`: flag `SAME_CAUSE`.
    pub(crate) const READY: u8 = 0x20;
    pub(crate) const TAKEN: u8 = 0x22;
    /// To `0x27`: flags `IS_READY`, `OTHER_TASK`.
    pub(crate) const RESTED: u8 = 0x24;
    /// To `0x2B`: flags `REDUNDANT`, `OTHER_CAUSE`.
    pub(crate) const WOKEN: u8 = 0x28;
    /// To `0x2D`: flag `OTHER_OBJECT`.
    pub(crate) const FIELD_SET: u8 = 0x2C;
    /// To `0x37`: flags `OTHER_TASK`, `OTHER_CALL`, `NEW_SHAPE`.
    pub(crate) const BEGUN: u8 = 0x30;
    /// To `0x4B`: what for, times two, and flag `EXPLICIT_CALL`.
    pub(crate) const BLOCKED: u8 = 0x40;
    /// To `0x5F`: flags.
    pub(crate) const ANSWERED: u8 = 0x50;
    /// To `0x7F`: flags.
    pub(crate) const DONE: u8 = 0x70;
}

/// The kinds of remarks that have their length before them.
pub(super) mod remark {
    pub(crate) const SAID: u8 = 0;
    pub(crate) const CYCLE: u8 = 1;
    pub(crate) const OUTPUT: u8 = 2;
    pub(crate) const SOURCE: u8 = 3;
    pub(crate) const PROPERTY: u8 = 4;
}

/// What repeats in calls of the same place: what is asked, and from where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    pub(super) what: Str,
    pub(super) site: SiteRef,
    pub(super) stack: StackRef,
}

/// The last values of each kind, and the shapes seen lately.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) at_nanos: u64,
    /// The last task that was named.
    pub(super) task: u64,
    /// The task that was taken last.
    pub(super) running: u64,
    /// The call that was begun last.
    pub(super) call: u64,
    pub(super) object: u64,
    pub(super) cause: Cause,
    pub(super) calls: Slots<()>,
    /// With the result that each had the last time.
    pub(super) dones: Slots<Value>,
}

impl Context {
    pub(super) fn new(at_nanos: u64) -> Context {
        Context {
            at_nanos,
            task: 0,
            running: 0,
            call: 0,
            object: 0,
            cause: Cause::Program,
            calls: Slots::new(),
            dones: Slots::new(),
        }
    }

    pub(super) fn heap_size(&self) -> usize {
        self.calls.heap_size() + self.dones.heap_size()
    }
}

/// Shapes by number: 256 at most, then the next new one takes the place of the oldest.
#[derive(Clone, Debug)]
pub(super) struct Slots<T> {
    entries: Vec<(Shape, T)>,
    next: u8,
}

impl<T> Slots<T> {
    fn new() -> Slots<T> {
        Slots { entries: Vec::new(), next: 0 }
    }

    pub(super) fn get(&self, slot: u8) -> Option<&(Shape, T)> {
        self.entries.get(usize::from(slot))
    }

    pub(super) fn get_mut(&mut self, slot: u8) -> Option<&mut (Shape, T)> {
        self.entries.get_mut(usize::from(slot))
    }

    /// Puts a new shape in the next place.
    pub(super) fn add(&mut self, shape: Shape, beside: T) -> u8 {
        let slot = self.next;
        match self.entries.get_mut(usize::from(slot)) {
            Some(entry) => *entry = (shape, beside),
            None => self.entries.push((shape, beside)),
        }
        self.next = slot.wrapping_add(1);
        slot
    }

    fn heap_size(&self) -> usize {
        self.entries.capacity() * size_of::<(Shape, T)>()
    }
}
