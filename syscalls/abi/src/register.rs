//! The trap register: the first call of a turn, on its way from the task to the kernel.
//!
//! It stands before the call table as a cache line stands before memory. A call that is answered as
//! soon as it is served never enters the table but with its reply. Whoever looks into the table sees
//! the call there, for it is written back first ([`Calls::table`]).
//!
//! A *yield* that comes through the register does not even enter with its reply: that is known, so it
//! is written nowhere. One that has left the register, and is not in the table, has been answered.
//!
//! A *park* that finds no token stands in the table at once, blocked and in line, and so is written there
//! once and not read when it is served: the register says only that it has yet to be. Whoever looks into
//! the table before that sees it queued and unserved, for so it is written back.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;

use crate::call::{Reply, Syscall};
use crate::call_table::{CallState, CallTable, ListHead, On};
use crate::id::{CallId, TaskId};
use crate::kernel_ring::{Foregone, Submitted};
use crate::queue_entry::Queues;
use crate::task::TaskBody;
use crate::wait_queue::{Home, QueueId, Want};

/// Each ring has 2^40 serials of its own before it comes to those of the next.
const SERIALS_A_RING: u32 = 40;

/// Where the calls of this turn stand that have not been served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// There are none.
    Empty,
    /// In the table, and in the list there. Behind this come those where the register holds one.
    Listed,
    /// One, in the register.
    Fresh,
    /// The one in the register has been handed to the kernel, which has not answered it.
    Taken,
    /// As `Fresh`, of a yield.
    Yield,
    /// As `Fresh`, of a park that stands in line, and so in the table, too.
    Park,
}

/// The calls in flight: the register, and behind it the table.
pub(crate) struct Calls {
    phase: Cell<Phase>,
    /// The serial of the call that was made last: of the one in the register, while one is there.
    last_serial: Cell<NonZeroU64>,
    /// The task that is polled, or was polled last: whoever made the call in the register.
    pub(crate) caller: Cell<TaskId>,
    /// The call that was taken last, if it came from the table.
    listed: Cell<Option<CallId>>,
    /// Where the latest park that came through the register stands in line.
    queue: Cell<QueueId>,
    /// Who alone holds what it waits for, if that is known.
    holder: Cell<Option<TaskId>>,
    request: Cell<Syscall>,
    site: Cell<&'static Location<'static>>,
    /// The body of the task to be spawned, if that is what is asked.
    body: Cell<Option<Pin<Box<dyn TaskBody>>>>,
    /// Yields with serials above this one have never been in the table.
    last_entered: Cell<u64>,
    /// Calls with serials above this one are the present scheduler's.
    last_cleared: Cell<u64>,
    /// The place of a task whose own slot is known to be free: whoever fills a slot sets this to
    /// `NOWHERE`. The register is used under this condition alone, so that its call has a slot to go to;
    /// but for yields, which seldom need one.
    known_free: Cell<u32>,
    table: RefCell<CallTable>,
    pub(crate) queues: RefCell<Queues>,
}

/// No task's place.
const NOWHERE: u32 = u32::MAX;

impl Calls {
    /// No calls. The serials begin so far up that those of no other ring come near.
    pub(crate) fn new(ring: u64) -> Calls {
        let before = NonZeroU64::MIN.saturating_add(ring << SERIALS_A_RING);
        Calls {
            phase: Cell::new(Phase::Empty),
            last_serial: Cell::new(before),
            caller: Cell::new(TaskId::new(1, 0)),
            listed: Cell::new(None),
            queue: Cell::new(QueueId::new(0)),
            holder: Cell::new(None),
            request: Cell::new(Syscall::Yield),
            site: Cell::new(Location::caller()),
            body: Cell::new(None),
            last_entered: Cell::new(before.get()),
            last_cleared: Cell::new(before.get()),
            known_free: Cell::new(NOWHERE),
            table: RefCell::default(),
            queues: RefCell::default(),
        }
    }

    /// A serial that no call of this ring has had. After 2^40 calls it may be one of the next ring's.
    #[inline]
    fn next_serial(&self) -> NonZeroU64 {
        let next = self.last_serial.get().checked_add(1).unwrap_or(NonZeroU64::MIN);
        self.last_serial.set(next);
        next
    }

    /// Writes a call into the register, if it is the first of its turn and its task has no other in
    /// the slot of its own.
    #[inline(always)]
    pub(crate) fn submit_first(
        &self,
        request: Syscall,
        site: &'static Location<'static>,
    ) -> Option<CallId> {
        let place = self.caller.get().place() as u32;
        if self.phase.get() != Phase::Empty || self.known_free.get() != place {
            return None;
        }
        let serial = self.fill(Phase::Fresh, request, site);
        Some(CallId { serial, place })
    }

    /// Writes a yield into the register, if it is the first call of its turn.
    #[inline(always)]
    pub(crate) fn submit_yield(&self, site: &'static Location<'static>) -> Option<CallId> {
        if self.phase.get() != Phase::Empty {
            return None;
        }
        let serial = self.fill(Phase::Yield, Syscall::Yield, site);
        Some(CallId { serial, place: self.caller.get().place() as u32 })
    }

    /// Puts a park in line, to be served through the register, if it is the first call of its turn and
    /// its task has no other in the slot of its own.
    #[inline(always)]
    pub(crate) fn submit_park(
        &self,
        home: &Home,
        want: Want,
        site: &'static Location<'static>,
        life: u64,
    ) -> Option<CallId> {
        let caller = self.caller.get();
        let place = caller.place() as u32;
        if self.phase.get() != Phase::Empty {
            return None;
        }
        let mut table = self.table.borrow_mut();
        let slot = table.own_slot(place).filter(|slot| slot.is_free())?;
        let serial = self.fill(Phase::Park, Syscall::Park(want), site);
        let tail = home.line.list.replace_last(place);
        slot.fill_parked((serial, caller), want, site, tail);
        table.follow(tail, place, &home.line.list);
        self.known_free.set(NOWHERE);
        self.queue.set(want.queue());
        self.holder.set(home.core.holder(life));
        Some(CallId { serial, place })
    }

    /// Whether a task's own slot is free.
    #[inline(always)]
    fn finds_free(&self, place: u32) -> bool {
        self.known_free.get() == place || self.looks_for_free(place)
    }

    #[inline(never)]
    fn looks_for_free(&self, place: u32) -> bool {
        let free = self.table.borrow().has_free_own_slot(place);
        if free {
            self.known_free.set(place);
        }
        free
    }

    #[inline(always)]
    fn fill(&self, phase: Phase, request: Syscall, site: &'static Location<'static>) -> NonZeroU64 {
        let serial = self.next_serial();
        self.phase.set(phase);
        self.request.set(request);
        self.site.set(site);
        serial
    }

    /// Whether a yield is known to have been answered. False says no more than that one has to look.
    #[inline(always)]
    pub(crate) fn has_passed(&self, serial: NonZeroU64) -> bool {
        self.phase.get() == Phase::Empty && serial.get() > self.last_entered.get()
    }

    /// Whether a yield has been answered, and nothing of it is in the table.
    pub(crate) fn is_nowhere(&self, id: CallId) -> bool {
        id.serial.get() > self.last_cleared.get()
            && !self.holds(id)
            && self.table.borrow().get(id).is_none()
    }

    /// Writes a call into the register if it can, or else into the table, behind those of this turn.
    pub(crate) fn submit(&self, request: Syscall, site: &'static Location<'static>) -> CallId {
        let caller = self.caller.get();
        if self.phase.get() == Phase::Empty
            && self.finds_free(caller.place() as u32)
            && let Some(id) = self.submit_first(request, site)
        {
            return id;
        }
        self.submit_to_table(&mut self.table(), request, site)
    }

    /// Writes a call into the table, behind those of this turn: one that is looked at there at once.
    #[inline]
    pub(crate) fn submit_to_table(
        &self,
        table: &mut CallTable,
        request: Syscall,
        site: &'static Location<'static>,
    ) -> CallId {
        let id = self.enter(table, self.next_serial(), self.caller.get(), request, site);
        table.list(id);
        self.phase.set(Phase::Listed);
        id
    }

    /// The serial of the call that was made last.
    pub(crate) fn last_serial(&self) -> u64 {
        self.last_serial.get().get()
    }

    /// The serials of all that is in flight; and of the call that was made last, which may be gone.
    pub(crate) fn serials_in_flight(&self) -> BTreeSet<u64> {
        let table = self.table.borrow();
        let last = std::iter::once(self.last_serial());
        table.iter().map(|(id, _)| id.serial.get()).chain(last).collect()
    }

    /// Takes the next call that has not been served. Calls dropped meanwhile are passed over.
    #[inline(always)]
    pub(crate) fn next(&self) -> Option<Submitted> {
        match self.phase.get() {
            Phase::Empty => None,
            Phase::Fresh => {
                self.phase.set(Phase::Taken);
                Some(self.in_register())
            }
            _ => self.take_listed().then(|| self.at_hand()),
        }
    }

    /// Where the first call that has not been served was made.
    pub(crate) fn first_site(&self) -> Option<&'static Location<'static>> {
        match self.phase.get() {
            Phase::Empty | Phase::Taken => None,
            Phase::Fresh | Phase::Yield | Phase::Park => Some(self.site.get()),
            Phase::Listed => self.table.borrow().first_listed_site(),
        }
    }

    /// The call that was taken last, until another one is submitted.
    #[inline(always)]
    pub(crate) fn at_hand(&self) -> Submitted {
        match self.listed.get() {
            Some(id) => Submitted { id, ..self.in_register() },
            None => self.in_register(),
        }
    }

    #[inline(always)]
    fn in_register(&self) -> Submitted {
        let id = self.id_in_register();
        Submitted { id, request: self.request.get(), site: self.site.get() }
    }

    /// Takes the next call out of the table's list; says whether there was one.
    #[cold]
    #[inline(never)]
    fn take_listed(&self) -> bool {
        let mut table = self.table();
        let Some(Submitted { id, request, site }) = table.next_listed() else {
            self.listed.set(None);
            self.phase.set(Phase::Empty);
            return false;
        };
        self.listed.set(Some(id));
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
        let CallId { serial, place } = self.id_in_register();
        let mut table = self.table.borrow_mut();
        let slot = table.own_slot(place);
        slot.expect("a call in the register has a slot of its own").answer_at_once(serial, reply);
        true
    }

    /// Writes the call that was taken last into the table, blocked, at the end of `list`; false if it has left for
    /// the table, or has always been there.
    #[inline]
    pub(crate) fn block_taken(&self, list: &ListHead, on: On) -> bool {
        if self.phase.get() != Phase::Taken {
            return false;
        }
        self.phase.set(Phase::Empty);
        self.known_free.set(NOWHERE);
        let CallId { serial, place } = self.id_in_register();
        let (caller, request, site) = (self.caller.get(), self.request.get(), self.site.get());
        let tail = list.replace_last(place);
        let mut table = self.table.borrow_mut();
        let slot = table.own_slot(place);
        let slot = slot.expect("a call in the register has a slot of its own");
        slot.fill_blocked((serial, caller), request, site, on, tail);
        table.follow(tail, place, list);
        true
    }

    /// Answers the only call of `list`, if it is blocked, a join in the slot of its task, and no waker of others
    /// was left with it. Gives the task to resume.
    #[inline]
    pub(crate) fn answer_sole_join(&self, list: &ListHead, reply: Reply) -> Option<TaskId> {
        // What is in the register is not blocked.
        let mut table = self.table.borrow_mut();
        let call = table.own_slot(list.sole()?)?;
        if !matches!((call.request, call.state), (Syscall::Join(_), CallState::Blocked(_))) {
            return None;
        }
        let task = call.resumes_plainly()?;
        call.state = CallState::Answered(reply);
        list.clear();
        Some(task)
    }

    /// Serves the call in the register, if it is a yield or a park. It is the only one of its turn.
    #[inline(always)]
    pub(crate) fn serve_foregone(&self) -> Option<Foregone> {
        let foregone = match self.phase.get() {
            Phase::Yield => Foregone::Yield,
            Phase::Park => Foregone::Park { queue: self.queue.get(), holder: self.holder.get() },
            _ => return None,
        };
        self.phase.set(Phase::Empty);
        Some(foregone)
    }

    /// The queue with this id, if it is in use.
    pub(crate) fn home(&self, queue: QueueId) -> Option<Rc<Home>> {
        self.queues.borrow().get(queue.place()).map(Rc::clone)
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
        if !matches!(self.phase.get(), Phase::Empty | Phase::Listed) {
            self.write_back(&mut table);
        }
        table
    }

    /// The table without what the register holds, for one who looks for a call that was answered.
    #[inline]
    pub(crate) fn behind_register(&self) -> RefMut<'_, CallTable> {
        self.table.borrow_mut()
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
        !matches!(self.phase.get(), Phase::Empty | Phase::Listed)
            && self.last_serial.get() == id.serial
    }

    #[inline(always)]
    fn id_in_register(&self) -> CallId {
        CallId { serial: self.last_serial.get(), place: self.caller.get().place() as u32 }
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
        let (serial, request, site) = (self.last_serial.get(), self.request.get(), self.site.get());
        let id = match self.phase.get() {
            Phase::Park => self.id_in_register(),
            _ => self.enter(table, serial, caller, request, site),
        };
        match self.phase.get() {
            Phase::Park => {
                if let Some(call) = table.get_mut(id) {
                    call.state = CallState::Queued(self.queue.get());
                }
            }
            Phase::Yield => {
                self.last_entered.set(serial.get());
                table.note_lodger(self.id_in_register(), id);
            }
            _ => {}
        }
        if let Some(body) = self.body.take() {
            table.lay_body(id, body);
        }
        let listed = self.phase.get() != Phase::Taken;
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
        self.listed.set(None);
        self.last_cleared.set(self.last_serial.get().get());
        self.last_entered.set(self.last_serial.get().get());
        self.table.take()
    }
}
