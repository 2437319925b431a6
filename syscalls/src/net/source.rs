//! A source: a nonblocking descriptor that the library owns, and its entry in a scheduler's
//! readiness table.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use trapline_abi::{Direction, ObjectTag, Ring, SourceId, Syscall, Target};

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

/// The entry in a ring. A source used under another scheduler, or under the next one on the same
/// ring, is bound afresh.
#[derive(Debug, Default)]
struct Binding {
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
        self.unbind();
    }
}

impl<S: AsFd> Source<S> {
    /// Owns `inner`, which must be nonblocking.
    pub(crate) fn new(inner: S) -> Source<S> {
        Source { binding: Binding::default(), inner }
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
        let id = ring.open_source(self.inner.as_fd().as_raw_fd(), "source", ObjectTag::nowhere());
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
    pub(crate) fn try_now<T>(
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

/// Takes a unit of the running task's quantum, if one runs.
fn spend() {
    if let Some(ring) = Ring::current()
        && ring.running().is_some()
    {
        ring.spend();
    }
}
