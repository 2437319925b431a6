//! The trap register: the first call of a turn, on its way from the task to the kernel.
//!
//! It stands before the call table as a cache line stands before memory. A call that is answered as
//! soon as it is served never enters the table but with its reply. Whoever looks into the table sees
//! the call there, for it is written back first ([`Calls::table`]).

use std::cell::{Cell, RefCell, RefMut};
use std::num::NonZeroU64;
use std::panic::Location;
use std::pin::Pin;

use crate::call::{Reply, Syscall};
use crate::call_table::CallTable;
use crate::id::{CallId, TaskId};
use crate::kernel_ring::Submitted;
use crate::task::TaskBody;

/// Each ring has 2^40 serials of its own before it comes to those of the next.
const SERIALS_A_RING: u32 = 40;

/// Where the calls of this turn stand that have not been served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// There are none.
    Empty,
    /// One, in the register.
    Fresh,
    /// The one in the register has been handed to the kernel, which has not answered it.
    Taken,
    /// In the table, and in the list there.
    Listed,
}

/// The calls in flight: the register, and behind it the table.
pub(crate) struct Calls {
    phase: Cell<Phase>,
    serial: Cell<NonZeroU64>,
    place: Cell<u32>,
    caller: Cell<TaskId>,
    request: Cell<Syscall>,
    site: Cell<&'static Location<'static>>,
    /// The body of the task to be spawned, if that is what is asked.
    body: Cell<Option<Pin<Box<dyn TaskBody>>>>,
    last_serial: Cell<NonZeroU64>,
    /// The place of a task whose own slot is known to be free: whoever fills a slot sets this to
    /// `NOWHERE`. The register is used under this condition alone, so that its call has a slot to go to.
    known_free: Cell<u32>,
    table: RefCell<CallTable>,
}

/// No task's place.
const NOWHERE: u32 = u32::MAX;

impl Calls {
    /// No calls. The serials begin so far up that those of no other ring come near.
    pub(crate) fn new(ring: u64) -> Calls {
        let before = NonZeroU64::MIN.saturating_add(ring << SERIALS_A_RING);
        Calls {
            phase: Cell::new(Phase::Empty),
            serial: Cell::new(before),
            place: Cell::new(0),
            caller: Cell::new(TaskId::new(1, 0)),
            request: Cell::new(Syscall::Yield),
            site: Cell::new(Location::caller()),
            body: Cell::new(None),
            last_serial: Cell::new(before),
            known_free: Cell::new(NOWHERE),
            table: RefCell::default(),
        }
    }

    /// A serial that no call of this ring has had. After 2^40 calls it may be one of the next ring's.
    #[inline]
    fn next_serial(&self) -> NonZeroU64 {
        let next = self.last_serial.get().get().wrapping_add(1);
        let next = NonZeroU64::new(next).unwrap_or(NonZeroU64::MIN);
        self.last_serial.set(next);
        next
    }

    /// Writes a call into the register, if it is the first of its turn and its task has no other in
    /// the slot of its own.
    #[inline(always)]
    pub(crate) fn submit_first(
        &self,
        caller: TaskId,
        request: Syscall,
        site: &'static Location<'static>,
    ) -> Option<CallId> {
        let place = caller.place() as u32;
        if self.phase.get() != Phase::Empty || self.known_free.get() != place {
            return None;
        }
        let serial = self.next_serial();
        self.phase.set(Phase::Fresh);
        self.serial.set(serial);
        self.place.set(place);
        self.caller.set(caller);
        self.request.set(request);
        self.site.set(site);
        Some(CallId { serial, place })
    }

    /// Writes a call into the register if it can, or else into the table, behind those of this turn.
    pub(crate) fn submit(
        &self,
        caller: TaskId,
        request: Syscall,
        site: &'static Location<'static>,
    ) -> CallId {
        let place = caller.place() as u32;
        if self.phase.get() == Phase::Empty && self.table.borrow().has_free_own_slot(place) {
            self.known_free.set(place);
            if let Some(id) = self.submit_first(caller, request, site) {
                return id;
            }
        }
        self.submit_to_table(&mut self.table(), caller, request, site)
    }

    /// Writes a call into the table, behind those of this turn: one that is looked at there at once.
    #[inline]
    pub(crate) fn submit_to_table(
        &self,
        table: &mut CallTable,
        caller: TaskId,
        request: Syscall,
        site: &'static Location<'static>,
    ) -> CallId {
        let id = self.enter(table, self.next_serial(), caller, request, site);
        table.list(id);
        self.phase.set(Phase::Listed);
        id
    }

    /// Takes the next call that has not been served. Calls dropped meanwhile are passed over.
    #[inline(always)]
    pub(crate) fn next(&self) -> Option<Submitted> {
        match self.phase.get() {
            Phase::Empty => return None,
            Phase::Fresh => self.phase.set(Phase::Taken),
            Phase::Taken | Phase::Listed => {
                if !self.take_listed() {
                    return None;
                }
            }
        }
        Some(self.at_hand())
    }

    /// The call that was taken last, until another one is submitted.
    #[inline(always)]
    pub(crate) fn at_hand(&self) -> Submitted {
        let id = CallId { serial: self.serial.get(), place: self.place.get() };
        Submitted { id, request: self.request.get(), site: self.site.get() }
    }

    /// Takes the next call out of the table's list; says whether there was one.
    #[cold]
    #[inline(never)]
    fn take_listed(&self) -> bool {
        let mut table = self.table();
        let next = table.next_listed();
        self.phase.set(if table.list_is_empty() { Phase::Empty } else { Phase::Listed });
        let Some(Submitted { id, request, site }) = next else { return false };
        self.serial.set(id.serial);
        self.place.set(id.place);
        self.request.set(request);
        self.site.set(site);
        true
    }

    /// Answers the call that was taken last, if it is in the register still; false if it has left
    /// for the table, or has always been there.
    #[inline(always)]
    pub(crate) fn answer_taken(&self, reply: Reply) -> bool {
        if self.phase.get() != Phase::Taken {
            return false;
        }
        self.phase.set(Phase::Empty);
        self.known_free.set(NOWHERE);
        let mut table = self.table.borrow_mut();
        let slot = table.own_slot(self.place.get());
        let slot = slot.expect("a call in the register has a slot of its own");
        slot.answer_at_once(self.serial.get(), reply);
        true
    }

    /// Takes the reply of a call that holds nothing with a destructor, and frees its slot. `None`
    /// says no more than that this is not such a call.
    #[inline(always)]
    pub(crate) fn take_plain_reply(&self, id: CallId) -> Option<Reply> {
        let reply = self.table.borrow_mut().own_slot(id.place)?.take_plain_reply(id.serial)?;
        self.known_free.set(id.place);
        Some(reply)
    }

    /// The table, with what the register holds.
    #[inline]
    pub(crate) fn table(&self) -> RefMut<'_, CallTable> {
        let mut table = self.table.borrow_mut();
        if matches!(self.phase.get(), Phase::Fresh | Phase::Taken) {
            self.write_back(&mut table);
        }
        table
    }

    /// Keeps the body of a task to be spawned, until its call is served.
    #[inline]
    pub(crate) fn lay_body(&self, id: CallId, body: Pin<Box<dyn TaskBody>>) {
        if self.holds(id) {
            self.body.set(Some(body));
        } else {
            self.table().lay_body(id, body);
        }
    }

    /// Takes it.
    #[inline]
    pub(crate) fn take_body(&self, id: CallId) -> Option<Pin<Box<dyn TaskBody>>> {
        if self.holds(id) { self.body.take() } else { self.table().take_body(id) }
    }

    /// Whether a call is in the register.
    #[inline]
    fn holds(&self, id: CallId) -> bool {
        matches!(self.phase.get(), Phase::Fresh | Phase::Taken) && self.serial.get() == id.serial
    }

    #[inline]
    fn enter(
        &self,
        table: &mut CallTable,
        serial: NonZeroU64,
        caller: TaskId,
        request: Syscall,
        site: &'static Location<'static>,
    ) -> CallId {
        self.known_free.set(NOWHERE);
        table.enter(serial, caller, request, site)
    }

    #[inline(never)]
    fn write_back(&self, table: &mut CallTable) {
        let caller = self.caller.get();
        let (serial, request, site) = (self.serial.get(), self.request.get(), self.site.get());
        let id = self.enter(table, serial, caller, request, site);
        if let Some(body) = self.body.take() {
            table.lay_body(id, body);
        }
        let listed = self.phase.get() == Phase::Fresh;
        if listed {
            table.list(id);
        }
        self.phase.set(if listed { Phase::Listed } else { Phase::Empty });
    }

    /// Whether every call has been served.
    pub(crate) fn all_served(&self) -> bool {
        self.phase.get() == Phase::Empty
    }

    /// Gives the memory back that a crowd of tasks needed, where no call is in flight.
    pub(crate) fn shrink(&self) {
        let mut table = self.table();
        if table.is_larger_than_kept() && table.len() == 0 {
            *table = CallTable::default();
            self.known_free.set(NOWHERE);
        }
    }

    /// Takes everything out; serials go on where they were.
    pub(crate) fn clear(&self) -> CallTable {
        drop(self.table());
        self.phase.set(Phase::Empty);
        self.known_free.set(NOWHERE);
        self.table.take()
    }
}
