//! The call table: every call in flight, in a slot of its own; but for the one in the trap register.
//! Waiters for one thing are doubly linked through it, so that joining and leaving a queue of any
//! length is O(1).

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::num::NonZeroU64;
use std::panic::Location;
use std::pin::Pin;
use std::task::Waker;

use smallvec::SmallVec;

use crate::call::{Reply, Syscall};
use crate::holder::QueueInfo;
use crate::id::{CallId, MAX_TASKS, SourceId, TaskId};
use crate::kernel_ring::Submitted;
use crate::note::{Object, StackId};
use crate::task::{Beside, TaskBody};
use crate::time::Instant;
use crate::wait_queue::{QueueId, WaitQueue, Want};

const NONE: u32 = u32::MAX;

/// What a blocked call waits for: the kernel's note of where to look when the call is withdrawn.
///
/// ```
/// use trapline_abi::On;
/// use trapline_scheduler::{Fate, Scheduler, StepEvent};
///
/// let mut scheduler = Scheduler::new();
/// let server = scheduler.spawn(std::future::pending::<()>());
/// let id = server.id();
/// scheduler.spawn(server).detach();
/// scheduler.step();
/// let StepEvent::Trapped { fate, .. } = scheduler.step().event() else { unreachable!() };
/// assert_eq!(fate, Fate::Block(On::Exit(id)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum On {
    /// The timer under this key.
    Timer(u64),
    /// The exit of this task.
    Exit(TaskId),
    /// Something to read from the kernel's source at this place.
    Readable(u64),
    /// Room to write to the kernel's source at this place.
    Writable(u64),
    /// A token of a wait queue.
    Queue(QueueId),
    /// Whoever answers a call that the program defines.
    Own,
}

/// Reading or writing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Something to read.
    Read,
    /// Room to write.
    Write,
}

/// Where a call is in its life.
///
/// ```text
///            submit            block              answer
///   (unborn) ------> Submitted ------> Blocked ------------> Answered ---> (taken)
///                     |   \               |  drop                |
///                     |    \              v                      | drop: a token goes on
///                     |     \          Withdrawn --(kernel)--> (free)
///                     v      `-------------------------------> Answered
///                  Queued --(token)--> Answered
/// ```
///
/// ```
/// use trapline_abi::{CallState, On, TaskState, WaitQueue};
///
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// let task = scheduler.spawn(async { WaitQueue::new(0).park().await });
/// scheduler.run().unwrap_err(); // nobody wakes it
/// let snapshot = scheduler.snapshot();
/// let TaskState::Blocked(calls) = &snapshot.task(task.id()).unwrap().state else { unreachable!() };
/// assert!(matches!(calls[0].state, CallState::Blocked(On::Queue(_))));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum CallState {
    /// Not yet served.
    Submitted,
    /// Not yet served, and already in line for a token.
    Queued(QueueId),
    /// Served; waits for something.
    Blocked(On),
    /// Its future was dropped while it was blocked; the kernel has yet to forget the wait.
    Withdrawn(On),
    /// The reply is there to be taken.
    Answered(Reply),
}

/// Whom an answer resumes: the caller by id, or else a waker of someone else's.
#[derive(Debug)]
#[must_use]
pub struct Booking {
    /// The task that polled the call last.
    pub task: Option<TaskId>,
    /// The waker it was polled under, if that was not the task's own.
    pub waker: Option<Waker>,
}

/// A call in flight, as a snapshot shows it. Of one that has been answered, what it asked and where
/// may be forgotten.
///
/// ```
/// use trapline_abi::{TaskState, WaitQueue};
///
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// let guest = scheduler.spawn(async { WaitQueue::labelled("a free seat", 0).park().await });
/// scheduler.run().unwrap_err(); // nobody wakes it
/// let snapshot = scheduler.snapshot();
/// let TaskState::Blocked(calls) = &snapshot.task(guest.id()).unwrap().state else { unreachable!() };
/// assert_eq!(calls[0].label, Some("a free seat"));
/// println!("the guest waits for {}", calls[0]);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallInfo {
    /// Its id.
    pub id: CallId,
    /// The task that waits for it, if one does.
    pub task: Option<TaskId>,
    /// What was asked.
    pub request: Syscall,
    /// What a wait queue, or a call of the program's own, is called.
    pub label: Option<&'static str>,
    /// Where in the source.
    pub site: &'static Location<'static>,
    /// Where it is in its life.
    pub state: CallState,
    /// What it waits for, if it is parked.
    pub queue: Option<QueueInfo>,
    /// The frames around it, if it was made while somebody listened.
    pub stack: StackId,
    /// The thing that it is about: what it is parked on, or the library's source that it waits for.
    pub object: Option<Object>,
    /// When its time comes, if it sleeps: for the kernel to say.
    pub deadline: Option<Instant>,
}

impl CallInfo {
    /// The task that it waits for: to end, or to let go of what that task alone holds.
    ///
    /// ```
    /// use trapline_abi::TaskState;
    ///
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let server = scheduler.spawn(std::future::pending::<()>());
    /// let id = server.id();
    /// let waiter = scheduler.spawn(server);
    /// scheduler.run().unwrap_err(); // the server never ends
    /// let snapshot = scheduler.snapshot();
    /// let TaskState::Blocked(calls) = &snapshot.task(waiter.id()).unwrap().state else { unreachable!() };
    /// assert_eq!(calls[0].waits_for(), Some(id));
    /// ```
    #[must_use]
    pub fn waits_for(&self) -> Option<TaskId> {
        match self.request {
            Syscall::Wait(task) | Syscall::Join(task) => Some(task),
            _ => self.queue.as_ref()?.holder.as_ref()?.sole_task(),
        }
    }
}

impl fmt::Display for CallInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Syscall::Park(want), Some(queue)) = (self.request, &self.queue)
            && let Some(kind) = queue.kind
        {
            return show_parked(f, (want.tokens(), kind), queue, self.site);
        }
        let name = self.queue.as_ref().and_then(|queue| queue.name.as_deref());
        match name.or(self.label) {
            Some(label) => write!(f, "{} `{label}` at {}", self.request, self.site),
            None => write!(f, "{} at {}", self.request, self.site),
        }
    }
}

/// What is waited for, and how many tokens of it; where; and who holds it.
fn show_parked(
    f: &mut fmt::Formatter<'_>,
    (tokens, kind): (u32, &str),
    queue: &QueueInfo,
    site: &Location<'_>,
) -> fmt::Result {
    match tokens {
        1 => {}
        WaitQueue::ALL => f.write_str("all of ")?,
        _ => write!(f, "{tokens} of ")?,
    }
    f.write_str(kind)?;
    if let Some(name) = &queue.name {
        write!(f, " `{name}`")?;
    }
    write!(f, " at {site}")?;
    match &queue.holder {
        Some(holder) => write!(f, ", {holder}"),
        None => Ok(()),
    }
}

/// The ends of a list of waiters.
#[derive(Debug)]
pub struct ListHead {
    head: Cell<u32>,
    tail: Cell<u32>,
}

impl Default for ListHead {
    fn default() -> ListHead {
        ListHead::new()
    }
}

impl ListHead {
    /// An empty list.
    #[must_use]
    pub const fn new() -> ListHead {
        ListHead { head: Cell::new(NONE), tail: Cell::new(NONE) }
    }

    /// Forgets all who wait.
    pub(crate) fn clear(&self) {
        self.head.set(NONE);
        self.tail.set(NONE);
    }

    /// Makes `place` the last; gives the one before.
    #[inline(always)]
    pub(crate) fn replace_last(&self, place: u32) -> u32 {
        self.tail.replace(place)
    }

    /// The only one, if there is no other.
    #[inline]
    pub(crate) fn sole(&self) -> Option<u32> {
        let head = self.head.get();
        (head != NONE && head == self.tail.get()).then_some(head)
    }

    /// The first has left; behind it comes `next`.
    #[inline(always)]
    fn leave_first(&self, next: u32) {
        self.head.set(next);
        if next == NONE {
            self.tail.set(NONE);
        }
    }

    /// Whether nobody waits.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.head.get() == NONE
    }
}

/// A slot of the table.
#[derive(Debug)]
pub(crate) struct Call {
    /// `None` while the slot is free.
    serial: Option<NonZeroU64>,
    pub(crate) state: CallState,
    extra: Option<Box<Extra>>,
    pub(crate) task: Option<TaskId>,
    pub(crate) request: Syscall,
    pub(crate) site: &'static Location<'static>,
    prev: u32,
    /// The next waiter; the next free slot where the slot is free.
    next: u32,
}

/// What a freed slot held that has a destructor: to be dropped when no table is borrowed.
pub(crate) type Leftover = (Option<Box<Extra>>, Option<Pin<Box<dyn TaskBody>>>);

/// What few calls have, so that the slots of the others are small: of those who are parked, a
/// slot and a task are all there is.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    /// A waker that is not the task's own.
    waker: Option<Waker>,
    /// What lies beside the request or the reply.
    beside: Beside,
}

type Bodies = VecDeque<(CallId, Pin<Box<dyn TaskBody>>)>;

/// So many slots are kept when no call is in flight.
const MANY_SLOTS: usize = 1024;

/// Slots from here on are of the pool; below it each belongs to the task at that place.
const POOL: u32 = MAX_TASKS as u32;

/// Each task has a slot of its own, found by its place; a task's further calls are in the pool.
#[derive(Default)]
pub(crate) struct CallTable {
    own: Vec<Call>,
    pool: Vec<Call>,
    /// The first free slot of the pool, as a place; 0 if there is none.
    free: u32,
    pool_live: usize,
    /// The calls of this turn that have not been served, from `next` on; but one alone stands in
    /// the trap register.
    listed: SmallVec<[CallId; 4]>,
    next: usize,
    /// The bodies of tasks whose spawns have not been served.
    bodies: Bodies,
    /// Where in the pool those yields are that left the register, and found their task's slot taken.
    lodgers: BTreeMap<NonZeroU64, u32>,
}

impl CallTable {
    /// How many calls are in flight. Counts.
    pub(crate) fn len(&self) -> usize {
        self.own.iter().filter(|call| call.serial.is_some()).count() + self.pool_live
    }

    /// Whether it is larger than what is kept when no call is in flight.
    pub(crate) fn is_larger_than_kept(&self) -> bool {
        self.own.len() > MANY_SLOTS || self.pool.len() > MANY_SLOTS
    }

    /// How many calls are in flight beside one a task.
    pub(crate) fn further(&self) -> usize {
        self.pool_live
    }

    /// All that it holds, to be dropped one by one.
    pub(crate) fn into_parts(self) -> (Vec<Call>, Vec<Call>, Bodies) {
        (self.own, self.pool, self.bodies)
    }

    #[inline(always)]
    pub(crate) fn has_free_own_slot(&self, place: u32) -> bool {
        self.own.get(place as usize).is_some_and(|slot| slot.serial.is_none())
    }

    /// The slot at `place`, if it is a task's own.
    #[inline(always)]
    pub(crate) fn own_slot(&mut self, place: u32) -> Option<&mut Call> {
        self.own.get_mut(place as usize)
    }

    /// Puts a call into a slot: its caller's own if that is free, or else one of the pool.
    #[inline]
    pub(crate) fn enter(
        &mut self,
        serial: NonZeroU64,
        caller: TaskId,
        request: Syscall,
        site: &'static Location<'static>,
    ) -> CallId {
        let own = caller.place();
        if own >= self.own.len() {
            self.own.resize_with(own + 1, Call::vacant);
        }
        let slot = &mut self.own[own];
        if slot.serial.is_none() {
            slot.fill(serial, caller, request, site);
            return CallId { serial, place: own as u32 };
        }
        let place = self.place_in_pool();
        let slot = self.slot_mut(place).expect("a place in the pool has just been made");
        slot.fill(serial, caller, request, site);
        CallId { serial, place }
    }

    /// A free place in the pool.
    #[cold]
    #[inline(never)]
    fn place_in_pool(&mut self) -> u32 {
        self.pool_live += 1;
        let free = self.free;
        if free >= POOL
            && let Some(slot) = self.slot(free)
        {
            self.free = slot.next;
            return free;
        }
        let place = u32::try_from(self.pool.len()).ok().and_then(|place| place.checked_add(POOL));
        let place = place.filter(|place| *place != NONE).expect("fewer than 2^32 calls in flight");
        self.pool.push(Call::vacant());
        place
    }

    /// Notes that a call has not been served.
    pub(crate) fn list(&mut self, id: CallId) {
        self.listed.push(id);
    }

    /// Takes the next call out of the list. Those dropped meanwhile are passed over.
    pub(crate) fn next_listed(&mut self) -> Option<Submitted> {
        while let Some(id) = self.listed.get(self.next).copied() {
            self.next += 1;
            if self.next == self.listed.len() {
                self.listed.clear();
                self.next = 0;
            }
            if let Some(call) = self.get(id) {
                return Some(Submitted { id, request: call.request, site: call.site });
            }
        }
        None
    }

    pub(crate) fn first_listed_site(&self) -> Option<&'static Location<'static>> {
        self.listed[self.next..].iter().find_map(|id| Some(self.get(*id)?.site))
    }

    /// A call that was just submitted was polled under a waker that is not its task's own.
    pub(crate) fn book_elsewhere(&mut self, id: CallId, waker: Waker) {
        let call = self.get_mut(id).expect("a call that is submitted is in flight");
        // The slot is new, so no other waker is displaced.
        call.extra = Some(Box::new(Extra { waker: Some(waker), beside: Beside::Nothing }));
    }

    /// One more stands at the back of `list`, at `place`, behind `tail`.
    #[inline(always)]
    pub(crate) fn follow(&mut self, tail: u32, place: u32, list: &ListHead) {
        if tail == NONE {
            list.head.set(place);
        } else if let Some(last) = self.slot_mut(tail) {
            last.next = place;
        }
    }

    /// Takes the first call out of `list` and gives it one token, if that is what it wants, and it is
    /// in its task's own slot, and nothing stands apart. Gives its id, and whether it had been served.
    #[inline(always)]
    pub(crate) fn grant_one(
        &mut self,
        list: &ListHead,
        apart: usize,
    ) -> Option<(CallId, bool, &Call)> {
        let place = list.head.get();
        let call = self.own_slot(place)?;
        if apart > 0 || !matches!(call.request, Syscall::Park(want) if want.tokens() == 1) {
            return None;
        }
        list.leave_first(call.next);
        let served = matches!(call.state, CallState::Blocked(_));
        call.state = CallState::Answered(Reply::Token);
        Some((CallId { place, serial: call.serial_in_list() }, served, call))
    }

    #[inline]
    fn slot(&self, place: u32) -> Option<&Call> {
        match place.checked_sub(POOL) {
            Some(place) => self.pool.get(place as usize),
            None => self.own.get(place as usize),
        }
    }

    #[inline]
    fn slot_mut(&mut self, place: u32) -> Option<&mut Call> {
        match place.checked_sub(POOL) {
            Some(place) => self.pool.get_mut(place as usize),
            None => self.own.get_mut(place as usize),
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: CallId) -> Option<&mut Call> {
        self.slot_mut(self.place_of(id)).filter(|call| call.serial == Some(id.serial))
    }

    #[inline]
    pub(crate) fn get(&self, id: CallId) -> Option<&Call> {
        self.slot(self.place_of(id)).filter(|call| call.serial == Some(id.serial))
    }

    /// Where a call is, if it is in the table.
    #[inline]
    fn place_of(&self, id: CallId) -> u32 {
        if self.lodgers.is_empty() { id.place } else { self.place_of_lodger(id) }
    }

    #[cold]
    #[inline(never)]
    fn place_of_lodger(&self, id: CallId) -> u32 {
        self.lodgers.get(&id.serial).copied().unwrap_or(id.place)
    }

    /// A yield that left the register may be elsewhere than its id says.
    pub(crate) fn note_lodger(&mut self, id: CallId, entered: CallId) {
        if id != entered {
            self.lodgers.insert(id.serial, entered.place);
        }
    }

    /// Frees the slot of a live call, which is in no list.
    pub(crate) fn free(&mut self, id: CallId) -> Leftover {
        let free = self.free;
        let place = self.place_of(id);
        let call = self.get_mut(id).expect("only a live call is freed (no-orphan)");
        call.serial = None;
        let unserved = matches!(call.state, CallState::Submitted);
        let extra = call.extra.take();
        if place >= POOL {
            call.next = free;
            self.free = place;
            self.pool_live -= 1;
            self.lodgers.remove(&id.serial);
        }
        // Bodies are taken when their call is served, so only an unserved one may have one.
        let body = if unserved { self.take_body(id) } else { None };
        (extra, body)
    }

    /// Keeps the body of a task to be spawned, until its call is served: in the same turn.
    pub(crate) fn lay_body(&mut self, id: CallId, body: Pin<Box<dyn TaskBody>>) {
        self.bodies.push_back((id, body));
    }

    /// Takes the body laid beside a spawn. They lie in the order of their serials.
    pub(crate) fn take_body(&mut self, id: CallId) -> Option<Pin<Box<dyn TaskBody>>> {
        let at = self.bodies.binary_search_by_key(&id.serial, |(call, _)| call.serial).ok()?;
        self.bodies.remove(at).map(|(_, body)| body)
    }

    #[inline]
    pub(crate) fn push_back(&mut self, list: &ListHead, id: CallId) {
        let tail = list.tail.get();
        let place = self.place_of(id);
        let call = self.get_mut(id).expect("only a live call waits (no-orphan)");
        call.prev = tail;
        call.next = NONE;
        match self.slot_mut(tail) {
            Some(last) => last.next = place,
            None => list.head.set(place),
        }
        list.tail.set(place);
    }

    pub(crate) fn unlink(&mut self, list: &ListHead, id: CallId) {
        let place = self.place_of(id);
        let call = self.get_mut(id).expect("only a live call waits (no-orphan)");
        // The first may still name one that stood before it, see `pop_front`.
        let prev = if list.head.get() == place { NONE } else { call.prev };
        let next = call.next;
        match self.slot_mut(prev) {
            Some(before) => before.next = next,
            None => list.head.set(next),
        }
        match self.slot_mut(next) {
            Some(after) => after.prev = prev,
            None => list.tail.set(prev),
        }
    }

    /// The first call of `list`.
    #[inline]
    pub(crate) fn front(&self, list: &ListHead) -> Option<&Call> {
        self.slot(list.head.get())
    }

    /// Takes the first call out of `list`. Its successor is not looked at: of a long line, it may
    /// have been long out of the cache.
    #[inline]
    pub(crate) fn pop_front(&mut self, list: &ListHead) -> Option<(CallId, &mut Call)> {
        let place = list.head.get();
        let call = self.slot_mut(place)?;
        list.leave_first(call.next);
        Some((CallId { place, serial: call.serial_in_list() }, call))
    }

    /// The calls of `list`, first to last.
    pub(crate) fn members(&self, list: &ListHead) -> impl Iterator<Item = CallId> + use<'_> {
        let mut at = list.head.get();
        std::iter::from_fn(move || {
            let call = self.slot(at)?;
            let id = CallId { place: at, serial: call.serial_in_list() };
            at = call.next;
            Some(id)
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (CallId, &Call)> {
        live((0..).zip(&self.own).chain((POOL..).zip(&self.pool)))
    }

    /// The calls in the slot of `task` and in the pool.
    pub(crate) fn slots_of(&self, task: TaskId) -> impl Iterator<Item = (CallId, &Call)> {
        let place = task.place() as u32;
        let own = self.own.get(task.place()).map(|call| (place, call));
        live(own.into_iter().chain((POOL..).zip(&self.pool)))
    }
}

/// Of these slots, those that are not free.
fn live<'a>(
    slots: impl Iterator<Item = (u32, &'a Call)>,
) -> impl Iterator<Item = (CallId, &'a Call)> {
    slots.filter_map(|(place, call)| Some((CallId { place, serial: call.serial? }, call)))
}

impl Call {
    /// Fills a free slot with a call that has not been served.
    #[inline]
    fn fill(
        &mut self,
        serial: NonZeroU64,
        caller: TaskId,
        request: Syscall,
        site: &'static Location<'static>,
    ) {
        self.serial = Some(serial);
        self.state = CallState::Submitted;
        self.task = Some(caller);
        self.request = request;
        self.site = site;
    }

    #[inline(always)]
    pub(crate) fn is_free(&self) -> bool {
        self.serial.is_none()
    }

    /// Fills a free slot with a park that is in line.
    #[inline(always)]
    pub(crate) fn fill_parked(
        &mut self,
        (serial, caller): (NonZeroU64, TaskId),
        want: Want,
        site: &'static Location<'static>,
        tail: u32,
    ) {
        let on = On::Queue(want.queue());
        self.fill_blocked((serial, caller), Syscall::Park(want), site, on, tail);
    }

    /// Fills a free slot with a call that is blocked, behind `tail` in a list.
    #[inline(always)]
    pub(crate) fn fill_blocked(
        &mut self,
        (serial, caller): (NonZeroU64, TaskId),
        request: Syscall,
        site: &'static Location<'static>,
        on: On,
        tail: u32,
    ) {
        self.fill(serial, caller, request, site);
        self.state = CallState::Blocked(on);
        self.prev = tail;
        self.next = NONE;
    }

    fn vacant() -> Call {
        Call {
            serial: None,
            state: CallState::Submitted,
            extra: None,
            task: None,
            request: Syscall::Yield,
            site: Location::caller(),
            prev: NONE,
            next: NONE,
        }
    }

    /// Fills a free slot with a call that is answered as it comes from the trap register. What it
    /// asked is not kept, but that it did not park, nor by whom: nobody looks at that of an answered
    /// call, and to read it back so soon after it was written costs more than all the rest.
    #[inline(always)]
    pub(crate) fn answer_at_once(&mut self, serial: NonZeroU64, reply: Reply) {
        self.serial = Some(serial);
        self.state = CallState::Answered(reply);
        self.request = Syscall::Yield;
    }

    /// Writes the reply of a call in flight, and says whom to resume. `None` if it is withdrawn, or
    /// answered (answered-once).
    #[inline]
    pub(crate) fn answer(&mut self, reply: Reply) -> Option<Booking> {
        match self.state {
            CallState::Submitted | CallState::Blocked(_) => self.state = CallState::Answered(reply),
            // Its future was dropped in this very turn, and it has just been taken out of where it
            // waited: there is nothing left to forget but the slot.
            CallState::Withdrawn(_) => {
                self.state = CallState::Withdrawn(On::Own);
                return None;
            }
            CallState::Queued(_) | CallState::Answered(_) => return None,
        }
        Some(Booking { task: self.task, waker: self.take_waker() })
    }

    /// Takes the reply, if the call has one and holds nothing with a destructor; frees the slot.
    #[inline(always)]
    pub(crate) fn take_plain_reply(&mut self, serial: NonZeroU64) -> Option<Reply> {
        let CallState::Answered(reply) = self.state else { return None };
        if self.serial != Some(serial) || self.extra.is_some() {
            return None;
        }
        self.serial = None;
        Some(reply)
    }

    /// The task to resume for a call in its own slot, if no waker of others was left with it.
    #[inline(always)]
    pub(crate) fn resumes_plainly(&self) -> Option<TaskId> {
        if self.extra.is_none() { self.task } else { None }
    }

    fn serial_in_list(&self) -> NonZeroU64 {
        self.serial.expect("only live calls stand in a list (no-orphan)")
    }

    pub(crate) fn waker(&self) -> Option<&Waker> {
        self.extra.as_ref()?.waker.as_ref()
    }

    #[inline]
    pub(crate) fn take_waker(&mut self) -> Option<Waker> {
        self.extra.as_mut()?.waker.take()
    }

    pub(crate) fn put_waker(&mut self, waker: Waker) -> Option<Waker> {
        self.extra.get_or_insert_default().waker.replace(waker)
    }

    pub(crate) fn beside(&self) -> Option<&Beside> {
        Some(&self.extra.as_ref()?.beside)
    }

    pub(crate) fn take_beside(&mut self) -> Beside {
        self.extra.as_mut().map(|extra| std::mem::take(&mut extra.beside)).unwrap_or_default()
    }

    pub(crate) fn put_beside(&mut self, beside: Beside) -> Beside {
        std::mem::replace(&mut self.extra.get_or_insert_default().beside, beside)
    }

    pub(crate) fn take_extra(&mut self) -> Option<Box<Extra>> {
        self.extra.take()
    }

    /// The source that an I/O call is about, if it is one of the library's.
    pub(crate) fn source(&self) -> Option<SourceId> {
        match self.request {
            Syscall::ReadWait(target) | Syscall::WriteWait(target) => target.source().ok(),
            _ => None,
        }
    }
}
