//! The call table: every call in flight, in a slot of its own. Waiters for one thing are doubly
//! linked through it, so that joining and leaving a queue of any length is O(1).

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroU64;
use std::panic::Location;
use std::pin::Pin;
use std::task::Waker;

use smallvec::SmallVec;

use crate::call::{Reply, Syscall};
use crate::id::{CallId, SourceId, TaskId};
use crate::task::{Beside, TaskBody};
use crate::wait_queue::QueueId;

const NONE: u32 = u32::MAX;

/// Each ring has 2^40 serials of its own before it comes to those of the next.
const SERIALS_A_RING: u32 = 40;

/// What a blocked call waits for: the kernel's note of where to look when the call is withdrawn.
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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum CallState {
    /// In the trap register, not yet served.
    Submitted,
    /// In the trap register, and already in line for a token.
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

/// A call in flight, as a snapshot shows it.
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
}

impl fmt::Display for CallInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.label {
            Some(label) => write!(f, "{} `{label}` at {}", self.request, self.site),
            None => write!(f, "{} at {}", self.request, self.site),
        }
    }
}

/// The ends of a list of waiters.
#[derive(Debug)]
pub struct ListHead {
    head: u32,
    tail: u32,
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
        ListHead { head: NONE, tail: NONE }
    }

    /// Whether nobody waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.head == NONE
    }
}

#[derive(Debug)]
pub(crate) struct Call {
    /// `None` while the slot is free.
    serial: Option<NonZeroU64>,
    pub(crate) task: Option<TaskId>,
    pub(crate) request: Syscall,
    pub(crate) state: CallState,
    pub(crate) site: &'static Location<'static>,
    extra: Option<Box<Extra>>,
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

/// A serial that no call of this ring has had. After 2^40 calls it may be one of the next ring's.
#[inline]
fn next_serial(last: NonZeroU64) -> NonZeroU64 {
    NonZeroU64::new(last.get().wrapping_add(1)).unwrap_or(NonZeroU64::MIN)
}

pub(crate) struct CallTable {
    slots: Vec<Call>,
    free: u32,
    live: usize,
    last_serial: NonZeroU64,
    /// The trap register: calls submitted and not yet served. Usually there is one; what is behind
    /// it stands in `register`, from `next` on, and is counted.
    first: Option<CallId>,
    behind: u32,
    next: usize,
    /// The bodies of tasks whose spawns stand in the register.
    bodies: Bodies,
    register: SmallVec<[CallId; 4]>,
}

impl CallTable {
    /// A table whose serials begin so far up that those of no other ring come near.
    pub(crate) fn new(ring: u64) -> CallTable {
        let register = SmallVec::new();
        let first = None;
        CallTable {
            slots: Vec::new(),
            free: NONE,
            live: 0,
            last_serial: NonZeroU64::MIN.saturating_add(ring << SERIALS_A_RING),
            first,
            behind: 0,
            next: 0,
            bodies: VecDeque::new(),
            register,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// Takes everything out; serials go on where they were.
    pub(crate) fn clear(&mut self) -> (Vec<Call>, Bodies) {
        self.free = NONE;
        self.live = 0;
        (self.first, self.behind, self.next) = (None, 0, 0);
        self.register = SmallVec::new();
        (std::mem::take(&mut self.slots), std::mem::take(&mut self.bodies))
    }

    /// Takes a slot, and writes the call into the trap register.
    #[inline]
    pub(crate) fn submit(
        &mut self,
        task: TaskId,
        request: Syscall,
        site: &'static Location<'static>,
    ) -> CallId {
        self.last_serial = next_serial(self.last_serial);
        self.live += 1;
        let serial = self.last_serial;
        let place = self.free;
        let id = CallId { place, serial };
        let Some(slot) = self.slots.get_mut(place as usize) else {
            return self.submit_in_new_slot(task, request, site);
        };
        self.free = slot.next;
        slot.serial = Some(serial);
        slot.task = Some(task);
        slot.request = request;
        slot.state = CallState::Submitted;
        slot.site = site;
        match self.first {
            None => self.first = Some(id),
            Some(_) => self.register_another(id),
        }
        id
    }

    #[cold]
    #[inline(never)]
    fn submit_in_new_slot(
        &mut self,
        task: TaskId,
        request: Syscall,
        site: &'static Location<'static>,
    ) -> CallId {
        let place = u32::try_from(self.slots.len()).expect("fewer than 2^32 calls in flight");
        let id = CallId { place, serial: self.last_serial };
        self.slots.push(Call {
            serial: Some(id.serial),
            task: Some(task),
            request,
            state: CallState::Submitted,
            site,
            extra: None,
            prev: NONE,
            next: NONE,
        });
        match self.first {
            None => self.first = Some(id),
            Some(_) => self.register_another(id),
        }
        id
    }

    #[inline(never)]
    fn register_another(&mut self, id: CallId) {
        self.register.push(id);
        self.behind += 1;
    }

    /// Takes the next call out of the trap register. Those dropped meanwhile are passed over.
    #[inline]
    pub(crate) fn next_submitted(&mut self) -> Option<(CallId, &Call)> {
        let mut id = self.first?;
        while self.get(id).is_none() {
            self.shift_register();
            id = self.first?;
        }
        if self.behind == 0 {
            self.first = None;
        } else {
            self.shift_register();
        }
        Some((id, &self.slots[id.place as usize]))
    }

    #[inline(never)]
    fn shift_register(&mut self) {
        if self.behind == 0 {
            self.first = None;
            return;
        }
        self.first = self.register.get(self.next).copied();
        self.next += 1;
        self.behind -= 1;
        if self.behind == 0 {
            self.register.clear();
            self.next = 0;
        }
    }

    /// A call that was just submitted was polled under a waker that is not its task's own.
    #[inline(never)]
    pub(crate) fn book_elsewhere(&mut self, id: CallId, waker: Waker) {
        let call = self.get_mut(id).expect("a call that is submitted is in flight");
        // The slot is new, so no other waker is displaced.
        call.extra = Some(Box::new(Extra { waker: Some(waker), beside: Beside::Nothing }));
    }

    pub(crate) fn register_is_empty(&self) -> bool {
        self.first.is_none()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: CallId) -> Option<&mut Call> {
        self.slots.get_mut(id.place as usize).filter(|call| call.serial == Some(id.serial))
    }

    #[inline]
    pub(crate) fn get(&self, id: CallId) -> Option<&Call> {
        self.slots.get(id.place as usize).filter(|call| call.serial == Some(id.serial))
    }

    /// Takes the reply of a call that holds nothing with a destructor, and frees its slot.
    #[inline]
    pub(crate) fn take_plain_reply(&mut self, id: CallId) -> Option<Reply> {
        let free = self.free;
        let call = self.get_mut(id)?;
        let CallState::Answered(reply) = call.state else { return None };
        if call.extra.is_some() {
            return None;
        }
        call.serial = None;
        call.next = free;
        self.free = id.place;
        self.live -= 1;
        Some(reply)
    }

    /// Frees the slot of a live call, which is in no list.
    pub(crate) fn free(&mut self, id: CallId) -> Leftover {
        let free = self.free;
        let call = self.get_mut(id).expect("only a live call is freed (no-orphan)");
        call.serial = None;
        call.next = free;
        let unserved = matches!(call.state, CallState::Submitted);
        let extra = call.extra.take();
        self.free = id.place;
        self.live -= 1;
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

    pub(crate) fn push_back(&mut self, list: &mut ListHead, id: CallId) {
        let tail = list.tail;
        let call = self.get_mut(id).expect("only a live call waits (no-orphan)");
        call.prev = tail;
        call.next = NONE;
        match self.slots.get_mut(tail as usize) {
            Some(last) => last.next = id.place,
            None => list.head = id.place,
        }
        list.tail = id.place;
    }

    pub(crate) fn unlink(&mut self, list: &mut ListHead, id: CallId) {
        let call = self.get_mut(id).expect("only a live call waits (no-orphan)");
        let (prev, next) = (call.prev, call.next);
        match self.slots.get_mut(prev as usize) {
            Some(before) => before.next = next,
            None => list.head = next,
        }
        match self.slots.get_mut(next as usize) {
            Some(after) => after.prev = prev,
            None => list.tail = prev,
        }
    }

    pub(crate) fn front(&self, list: &ListHead) -> Option<CallId> {
        let call = self.slots.get(list.head as usize)?;
        Some(CallId { place: list.head, serial: call.serial_in_list() })
    }

    pub(crate) fn pop_front(&mut self, list: &mut ListHead) -> Option<CallId> {
        let id = self.front(list)?;
        self.unlink(list, id);
        Some(id)
    }

    /// The calls of `list`, first to last.
    pub(crate) fn members(&self, list: &ListHead) -> impl Iterator<Item = CallId> + use<'_> {
        let mut at = list.head;
        std::iter::from_fn(move || {
            let call = self.slots.get(at as usize)?;
            let id = CallId { place: at, serial: call.serial_in_list() };
            at = call.next;
            Some(id)
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (CallId, &Call)> {
        self.slots.iter().enumerate().filter_map(|(place, call)| {
            let serial = call.serial?;
            Some((CallId { place: place as u32, serial }, call))
        })
    }
}

impl Call {
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
