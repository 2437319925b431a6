//! Notes: what the library tells of that does not trap, where somebody listens.
//!
//! A lock that is free, a send into a channel with room, a read that succeeds at once: none of them asks
//! the kernel for anything, so the kernel cannot tell of them. The library does, by a record that it lays
//! into the ring while [`Ring::is_listened_to`]; the kernel passes it on to its probe, in order with its
//! own events. A note never suspends and never decides anything.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::call::{Reply, Syscall};
use crate::frame::Frames;
use crate::id::{CallId, TaskId};
use crate::ring::Ring;

/// Names a thing that tasks share, for as long as the scheduler lives: 1 for the first that was told of,
/// then 2, 3, ….
///
/// ```
/// use trapline_abi::WaitQueue;
///
/// let (bell, phone) = (WaitQueue::signal("bell"), WaitQueue::signal("phone"));
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// scheduler.spawn(async move { bell.park().await }).detach();
/// scheduler.spawn(async move { phone.park().await }).detach();
/// scheduler.run().unwrap_err(); // nobody rings
/// let objects = scheduler.snapshot().objects;
/// assert_ne!(objects[0].object.id, objects[1].object.id);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObjectId(u32);

impl ObjectId {
    /// The number that is shown.
    ///
    /// ```
    /// use trapline_abi::WaitQueue;
    ///
    /// let bell = WaitQueue::signal("bell");
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// scheduler.spawn(async move { bell.park().await }).detach();
    /// scheduler.run().unwrap_err(); // nobody rings
    /// assert_eq!(scheduler.snapshot().objects[0].object.id.number(), 1);
    /// ```
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What makes a thing of the library known by a number: it lies in the thing.
///
/// The number is given when the thing is first told of, by the ring where that happens: so one that is made
/// in `main` is known where it is used, and where nobody listens it costs a word.
#[derive(Clone, Debug)]
pub struct ObjectTag {
    /// The life of the ring that gave the number, and the number; zeros before.
    given: Cell<(u64, u32)>,
    site: Cell<Option<&'static Location<'static>>>,
}

impl ObjectTag {
    /// The tag of a thing that is made here.
    #[track_caller]
    #[must_use]
    pub const fn new() -> ObjectTag {
        ObjectTag::at(Location::caller())
    }

    /// The tag of a thing that was made at `site`.
    #[must_use]
    pub const fn at(site: &'static Location<'static>) -> ObjectTag {
        ObjectTag { given: Cell::new((0, 0)), site: Cell::new(Some(site)) }
    }

    /// The tag of a thing of which nobody knows where it was made.
    #[must_use]
    pub const fn nowhere() -> ObjectTag {
        ObjectTag { given: Cell::new((0, 0)), site: Cell::new(None) }
    }

    /// Its number in `ring`.
    #[must_use]
    pub fn id(&self, ring: &Ring) -> ObjectId {
        let (life, number) = self.given.get();
        if life == ring.life() && number != 0 {
            return ObjectId(number);
        }
        let number = ring.notes.next_object();
        self.given.set((ring.life(), number));
        ObjectId(number)
    }

    /// Its number in `ring`, if it has been told of there.
    #[must_use]
    pub fn known_in(&self, ring: &Ring) -> Option<ObjectId> {
        let (life, number) = self.given.get();
        (life == ring.life() && number != 0).then_some(ObjectId(number))
    }

    /// Where the thing was made.
    #[must_use]
    pub fn site(&self) -> Option<&'static Location<'static>> {
        self.site.get()
    }

    /// Notes that the thing is gone, if it has been told of in `ring`, where somebody listens.
    pub fn note_gone(&self, ring: &Ring) {
        if ring.is_listened_to()
            && let Some(object) = self.known_in(ring)
        {
            self.given.set((0, 0));
            ring.note(Note::Gone { object });
        }
    }

    /// From now on it is the tag of another thing, which was made at `site`.
    pub(crate) fn begin_anew(&self, site: Option<&'static Location<'static>>) {
        self.given.set((0, 0));
        self.site.set(site);
    }
}

impl Default for ObjectTag {
    fn default() -> ObjectTag {
        ObjectTag::nowhere()
    }
}

/// A thing that tasks share, as it is told of: whoever has not heard of the number learns of it here.
///
/// ```
/// use trapline_abi::WaitQueue;
///
/// let bell = WaitQueue::signal("bell");
/// bell.set_name("front door");
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// scheduler.spawn(async move { bell.park().await }).detach();
/// scheduler.run().unwrap_err(); // nobody rings
/// let object = &scheduler.snapshot().objects[0].object;
/// assert_eq!((object.kind, object.name.as_deref()), ("bell", Some("front door")));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// Its number.
    pub id: ObjectId,
    /// What sort of thing it is: `mutex`, `channel`, `tcp stream`, ….
    pub kind: &'static str,
    /// The name it was given.
    pub name: Option<Rc<str>>,
    /// Where it was made, if that is known.
    pub site: Option<&'static Location<'static>>,
}

/// What a field of a thing holds.
///
/// ```
/// # use std::cell::RefCell;
/// # use std::rc::Rc;
/// use trapline_abi::{Note, NoteValue, WaitQueue};
/// use trapline_scheduler::{Event, Scheduler};
///
/// # let values = Rc::new(RefCell::new(Vec::new()));
/// # let seen = Rc::clone(&values);
/// let probe = move |event: &Event<'_>| {
///     if let Event::Noted { note: Note::Set { field: "free", value, .. } } = event {
///         seen.borrow_mut().push(value.clone());
///     }
/// };
/// let mut scheduler = Scheduler::builder().probe(probe).build();
/// scheduler.block_on(async { WaitQueue::of("seat", 0).wake_many(4) })?;
/// assert_eq!(*values.borrow(), [NoteValue::Count(4)]);
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NoteValue {
    /// Nothing: nobody holds it, say.
    Nothing,
    /// A number.
    Count(u64),
    /// Who holds it (none: the program around the scheduler, or somebody unknown), and since which line.
    Held {
        /// The task.
        task: Option<TaskId>,
        /// Where it was taken.
        since: &'static Location<'static>,
    },
    /// A word.
    Text(&'static str),
}

/// Something that did not trap, or that the kernel does not hear of otherwise.
///
/// ```
/// # use std::cell::RefCell;
/// # use std::rc::Rc;
/// use trapline_abi::{Note, WaitQueue};
/// use trapline_scheduler::{Event, Scheduler};
///
/// # let fields = Rc::new(RefCell::new(Vec::new()));
/// # let seen = Rc::clone(&fields);
/// let probe = move |event: &Event<'_>| {
///     if let Event::Noted { note: Note::Set { object, field, .. } } = event {
///         seen.borrow_mut().push(format!("{field} {}", object.kind));
///     }
/// };
/// let mut scheduler = Scheduler::builder().probe(probe).build();
/// // No call of the kernel's, but the probe is told.
/// scheduler.block_on(async { WaitQueue::of("seat", 0).wake() })?;
/// assert_eq!(*fields.borrow(), ["free seat"]);
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Note {
    /// A field of a thing has a new value. The fields that the library sets are `holder` (who came last, if
    /// that one has not left), `holders` (how many), `free` (tokens, permits), `count` (what is in it),
    /// `capacity`, `closed`, `set` (of an event) and `version` (of what is watched).
    Set {
        /// The thing.
        object: Object,
        /// The field.
        field: &'static str,
        /// What it holds now.
        value: NoteValue,
    },
    /// An operation on a thing ended: without a trap, or after it had waited.
    Done {
        /// The thing.
        object: Object,
        /// What was done: `read`, `write`, `accept`, `send`, `lock`, ….
        operation: &'static str,
        /// How much: bytes of a read or a write, else 1. An error's number, where it failed.
        result: Result<u64, i32>,
        /// Where in the source.
        site: &'static Location<'static>,
        /// The frames around it.
        stack: StackId,
    },
    /// The first bytes of what a read or a write moved, where somebody asks for them: before its
    /// [`Note::Done`].
    Bytes {
        /// The thing.
        object: ObjectId,
        /// Up to as many bytes as were asked for.
        bytes: Rc<[u8]>,
    },
    /// A thing is gone.
    Gone {
        /// The thing.
        object: ObjectId,
    },
    /// A call was dropped that stood in a wait queue, or had been given what it waited for there without the
    /// kernel's having been told: so the kernel does not hear of it otherwise. One that has not been served is
    /// dropped without a word, as nobody has heard of it.
    Withdrawn {
        /// The call.
        call: CallId,
        /// The task that waited for it.
        task: Option<TaskId>,
        /// What it had asked.
        request: Syscall,
        /// Where.
        site: &'static Location<'static>,
    },
    /// A call that waited in a queue was given what it wanted, and took it before the kernel was told: both
    /// sides stand in one task, and the kernel does not hear of it otherwise.
    Answered {
        /// The call.
        call: CallId,
        /// The task that waited for it.
        task: Option<TaskId>,
        /// The answer.
        reply: Reply,
    },
    /// A pending call is another task's now, which polls it.
    Booked {
        /// The call.
        call: CallId,
        /// Whose it is.
        task: Option<TaskId>,
    },
}

/// Names the frames around a call, innermost first: a frame, and the [`StackId`] of those around it. The
/// probe is told of each as it first appears.
///
/// ```
/// # use std::cell::Cell;
/// # use std::rc::Rc;
/// use trapline_abi::{StackId, WaitQueue};
/// use trapline_scheduler::{Event, Scheduler};
///
/// # let last = Rc::new(Cell::new(None));
/// # let seen = Rc::clone(&last);
/// let probe = move |event: &Event<'_>| {
///     if let Event::Trapped { stack, .. } = event {
///         seen.set(Some(*stack));
///     }
/// };
/// let mut scheduler = Scheduler::builder().probe(probe).build();
/// scheduler.block_on(async { WaitQueue::new(1).park().await })?;
/// assert_eq!(last.get(), Some(StackId::EMPTY), "there is no frame around it");
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct StackId(pub(crate) u32);

impl StackId {
    /// No frame at all.
    pub const EMPTY: StackId = StackId(0);

    /// The number: frames are numbered from 1 as they appear.
    ///
    /// ```
    /// assert_eq!(trapline_abi::StackId::EMPTY.number(), 0);
    /// ```
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// The notes of a ring, and the numbers that things and frames have in it.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) frames: Frames,
    queue: RefCell<Vec<Note>>,
    /// Whether there may be a note or a frame that the kernel has not taken: asked at each event.
    pub(crate) has_news: Cell<bool>,
    /// So many bytes of what is read and written are noted.
    pub(crate) payload_len: Cell<usize>,
    last_object: Cell<u32>,
}

impl Notes {
    fn next_object(&self) -> u32 {
        let number = self.last_object.get() + 1;
        self.last_object.set(number);
        number
    }

    /// What has been noted, in order.
    pub(crate) fn take(&self) -> Vec<Note> {
        self.queue.take()
    }

    /// The same, for a vector without notes whose memory is laid into next.
    pub(crate) fn swap(&self, empty: &mut Vec<Note>) {
        self.has_news.set(false);
        std::mem::swap(&mut *self.queue.borrow_mut(), empty);
    }

    pub(crate) fn any(&self) -> bool {
        !self.queue.borrow().is_empty()
    }

    pub(crate) fn clear(&self) -> Vec<Note> {
        self.frames.clear();
        self.has_news.set(false);
        self.payload_len.set(0);
        self.last_object.set(0);
        self.take()
    }
}

thread_local! {
    /// How many rings of this thread are listened to.
    static LISTENED: Cell<usize> = const { Cell::new(0) };
}

/// A ring is listened to from now on, or not any more.
pub(crate) fn count_listened(listens: bool) {
    let count = LISTENED.get();
    LISTENED.set(if listens { count + 1 } else { count - 1 });
}

/// Whether anybody listens to any ring of this thread: what is asked first, of things that are bound to none.
#[inline(always)]
pub(crate) fn somebody_listens() -> bool {
    LISTENED.get() > 0
}

/// Notes, as the library lays them.
impl Ring {
    /// Whether somebody listens: then what does not trap is to be noted.
    #[must_use]
    #[inline(always)]
    pub fn is_listened_to(&self) -> bool {
        self.tells_grants.get()
    }

    /// Of how many bytes of what is read and written whoever listens wants to be told.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        self.notes.payload_len.get()
    }

    /// The ring at work on this thread, if somebody listens to it.
    #[must_use]
    #[inline(always)]
    pub fn listening() -> Option<&'static Ring> {
        if somebody_listens() { Ring::at_work_and_listened_to() } else { None }
    }

    #[cold]
    #[inline(never)]
    fn at_work_and_listened_to() -> Option<&'static Ring> {
        Ring::at_work().filter(|ring| ring.is_listened_to())
    }

    /// Notes what the kernel does not hear of otherwise. Only where somebody listens.
    #[cold]
    #[inline(never)]
    pub fn note(&self, note: Note) {
        if self.is_listened_to() {
            self.notes.has_news.set(true);
            self.notes.queue.borrow_mut().push(note);
        }
    }
}
