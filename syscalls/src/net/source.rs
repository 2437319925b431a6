//! A source: a nonblocking descriptor that the library owns, and its entry in a scheduler's
//! readiness table.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::panic::Location;

use trapline_abi::{Direction, Note, Object, ObjectTag, Ring, SourceId, Syscall, Target};

/// A nonblocking descriptor, bound to the scheduler under which it first had to wait.
///
/// Until then nothing is known of its readiness, and operations are simply tried. Dropping it
/// closes the descriptor at once; the kernel then frees its entry, and answers who waits there.
#[derive(Debug)]
pub(crate) struct Source<S> {
    // Dropped in this order; either will do, since a post is served after the task's turn.
    binding: Binding,
    inner: S,
}

/// What an owned descriptor is, for whoever looks on.
pub(crate) trait Kind: AsFd {
    /// In words.
    const KIND: &'static str;
}

impl Kind for std::net::TcpStream {
    const KIND: &'static str = "tcp stream";
}

impl Kind for std::net::TcpListener {
    const KIND: &'static str = "tcp listener";
}

/// The entry in a ring. A source used under another scheduler, or under the next one on the same
/// ring, is bound afresh.
#[derive(Debug)]
struct Binding {
    /// Where it was made.
    site: &'static Location<'static>,
    /// What it is known by before it is bound.
    tag: ObjectTag,
    entry: Cell<Option<Entry>>,
    /// Which directions (read, write) are known to block though there is no entry that says so.
    exhausted: Cell<[bool; 2]>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    ring: &'static Ring,
    life: u64,
    id: SourceId,
}

impl Entry {
    #[inline]
    fn is_live(&self) -> bool {
        self.ring.life() == self.life
    }

    /// Lives are told apart across rings, so that comparing the number is enough.
    #[inline]
    fn is_of(&self, ring: &Ring) -> bool {
        self.life == ring.life()
    }
}

impl Binding {
    #[inline]
    fn live(&self) -> Option<Entry> {
        self.entry.get().filter(Entry::is_live)
    }

    fn exhaust(&self, direction: Direction) {
        let mut exhausted = self.exhausted.get();
        exhausted[direction as usize] = true;
        self.exhausted.set(exhausted);
    }

    fn unbind(&self) {
        if let Some(entry) = self.entry.take()
            && entry.is_live()
        {
            entry.ring.close_source(entry.id);
        }
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        // Where it is bound, its entry tells that it is gone.
        if self.live().is_none()
            && let Some(ring) = Ring::listening()
        {
            self.tag.note_gone(ring);
        }
        self.unbind();
    }
}

impl<S: Kind> Source<S> {
    /// Owns `inner`, which must be nonblocking, and was made at `site`.
    pub(crate) fn new(inner: S, site: &'static Location<'static>) -> Source<S> {
        let (entry, exhausted) = (Cell::default(), Cell::default());
        let tag = ObjectTag::at(site);
        Source { binding: Binding { site, tag, entry, exhausted }, inner }
    }

    /// Where it was connected or accepted: the line shown for the traits, which have no caller.
    pub(crate) fn site(&self) -> &'static Location<'static> {
        self.binding.site
    }

    /// What it is known as in `ring`.
    #[inline]
    fn object(&self, ring: &Ring) -> Object {
        if let Some(entry) = self.binding.entry.get()
            && entry.is_of(ring)
            && let Some(object) = ring.object_of_source(entry.id)
        {
            return object;
        }
        self.object_before_bound(ring)
    }

    #[cold]
    #[inline(never)]
    fn object_before_bound(&self, ring: &Ring) -> Object {
        let name = format!("fd {}", self.inner.as_fd().as_raw_fd()).into();
        let Binding { tag, .. } = &self.binding;
        Object { id: tag.id(ring), kind: S::KIND, name: Some(name), site: tag.site() }
    }

    /// Notes that an operation has ended without a trap, where somebody listens.
    #[cold]
    #[inline(never)]
    pub(crate) fn note_done<T: Amount>(
        &self,
        ring: &Ring,
        operation: &'static str,
        result: &io::Result<T>,
        site: &'static Location<'static>,
    ) {
        let result = match result {
            Ok(moved) => Ok(moved.amount()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(rustix::io::Errno::AGAIN.raw_os_error())
            }
            // What the operating system had no part in has no number.
            Err(error) => Err(error.raw_os_error().unwrap_or(0)),
        };
        let (object, stack) = (self.object(ring), ring.stack());
        ring.note(Note::Done { object, operation, result, site, stack });
    }

    /// Notes the first bytes that an operation moved, where somebody asks for them.
    #[inline]
    pub(crate) fn note_bytes(&self, moved: &[u8]) {
        if let Some(ring) = Ring::listening()
            && ring.payload_len() > 0
        {
            let bytes = &moved[..moved.len().min(ring.payload_len())];
            let object = self.object(ring).id;
            ring.note(Note::Bytes { object, bytes: bytes.into() });
        }
    }

    #[inline]
    pub(crate) fn get(&self) -> &S {
        &self.inner
    }

    /// Leaves the scheduler, and gives the descriptor back.
    pub(crate) fn into_inner(self) -> S {
        self.inner
    }

    /// Whether an operation in `direction`, made by a task of `ring`, may succeed for all that is
    /// known.
    #[inline]
    pub(crate) fn may_try(&self, ring: &Ring, direction: Direction) -> bool {
        match self.binding.entry.get() {
            Some(entry) if entry.is_of(ring) => ring.readiness(entry.id).allows(direction),
            _ => !self.binding.exhausted.get()[direction as usize],
        }
    }

    /// The same for an operation that may be made outside tasks, too.
    pub(crate) fn may_try_now(&self, direction: Direction) -> bool {
        match self.binding.live() {
            Some(entry) => entry.ring.readiness(entry.id).allows(direction),
            // Nothing would tell of a change.
            None => true,
        }
    }

    /// Whether readiness is kept for tasks of `ring`.
    pub(crate) fn is_bound_to(&self, ring: &Ring) -> bool {
        self.binding.entry.get().is_some_and(|entry| entry.is_of(ring))
    }

    /// The request of a wait, made by a task of `ring`. Binds the source there if it is not.
    pub(crate) fn wait(&self, ring: &'static Ring, direction: Direction) -> Syscall {
        let target = Target::owned(self.bind(ring));
        match direction {
            Direction::Read => Syscall::ReadWait(target),
            Direction::Write => Syscall::WriteWait(target),
        }
    }

    fn bind(&self, ring: &'static Ring) -> SourceId {
        if let Some(entry) = self.binding.entry.get()
            && entry.is_of(ring)
        {
            return entry.id;
        }
        self.binding.unbind();
        let (fd, tag) = (self.inner.as_fd().as_raw_fd(), self.binding.tag.clone());
        let id = ring.open_source(fd, S::KIND, tag);
        self.binding.entry.set(Some(Entry { ring, life: ring.life(), id }));
        // From here on the readiness table knows better.
        self.binding.exhausted.set([false; 2]);
        id
    }

    /// An operation took all there was, or filled all the room there was.
    #[inline]
    pub(crate) fn took_all(&self, direction: Direction) {
        match self.binding.live() {
            Some(entry) => entry.ring.took_all(entry.id, direction),
            None => self.binding.exhaust(direction),
        }
    }

    /// An operation was told to wait.
    pub(crate) fn told_to_wait(&self, direction: Direction) {
        match self.binding.live() {
            Some(entry) => entry.ring.told_to_wait(entry.id, direction),
            None => self.binding.exhaust(direction),
        }
    }

    /// Notes what an operation that moves bytes tells of the readiness: less than was asked for
    /// means that nothing is left. (Zero is the end of a stream, which stays readable.)
    #[inline]
    pub(crate) fn note(
        &self,
        direction: Direction,
        asked: usize,
        moved: io::Result<usize>,
    ) -> io::Result<usize> {
        if let Ok(moved) = moved
            && 0 < moved
            && moved < asked
        {
            self.took_all(direction);
        }
        moved
    }

    /// Tries an operation once, now, without waiting: where it is known to block no system call is
    /// made.
    pub(crate) fn try_now<T: Amount>(
        &self,
        direction: Direction,
        operation: &'static str,
        site: &'static Location<'static>,
        attempt: impl Fn() -> io::Result<T>,
    ) -> io::Result<T> {
        let result = self.attempt_now(direction, attempt);
        if let Some(ring) = Ring::listening() {
            self.note_done(ring, operation, &result, site);
        }
        result
    }

    fn attempt_now<T>(
        &self,
        direction: Direction,
        attempt: impl Fn() -> io::Result<T>,
    ) -> io::Result<T> {
        if !self.may_try_now(direction) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        loop {
            match attempt() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Some(entry) = self.binding.live() {
                        entry.ring.told_to_wait(entry.id, direction);
                    }
                    return Err(error);
                }
                result => {
                    spend();
                    return result;
                }
            }
        }
    }
}

/// How much an operation has moved, as it is told.
pub(crate) trait Amount {
    /// Bytes, or 1.
    fn amount(&self) -> u64;
}

impl Amount for usize {
    fn amount(&self) -> u64 {
        *self as u64
    }
}

impl Amount for () {
    fn amount(&self) -> u64 {
        1
    }
}

impl<A> Amount for (std::net::TcpStream, A) {
    fn amount(&self) -> u64 {
        1
    }
}

/// Takes a unit of the running task's quantum, if one runs.
fn spend() {
    if let Some(ring) = Ring::current()
        && ring.running().is_some()
    {
        ring.spend();
    }
}
