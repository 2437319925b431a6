//! The readiness table: what is known of the sources that the library owns.
//!
//! A source is registered once, edge-triggered, and its readiness is kept here, so that the
//! library makes no read that is known to fail and no trap where data is waiting.

use std::cell::OnceCell;
use std::ops::{BitOr, BitOrAssign};
use std::os::fd::RawFd;

use slab::Slab;

use crate::call::Post;
use crate::call_table::Direction;
use crate::id::SourceId;
use crate::kernel_ring::KernelRing;
use crate::note::{Object, ObjectTag};
use crate::ring::Ring;

/// What a descriptor is known to be ready for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Readiness(u8);

impl Readiness {
    /// For nothing.
    pub const NONE: Readiness = Readiness(0);
    /// There is something to read.
    pub const READABLE: Readiness = Readiness(1);
    /// There is room to write.
    pub const WRITABLE: Readiness = Readiness(2);
    /// The peer writes no more, or an error is pending: reading no longer blocks, ever.
    pub const READ_CLOSED: Readiness = Readiness(4);
    /// The peer reads no more, or an error is pending: writing no longer blocks, ever.
    pub const WRITE_CLOSED: Readiness = Readiness(8);

    /// Whether it has anything of `other`.
    #[must_use]
    #[inline]
    pub const fn intersects(self, other: Readiness) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether an operation in `direction` can go ahead.
    #[must_use]
    #[inline]
    pub const fn allows(self, direction: Direction) -> bool {
        self.intersects(match direction {
            Direction::Read => Readiness(1 | 4),
            Direction::Write => Readiness(2 | 8),
        })
    }
}

impl BitOr for Readiness {
    type Output = Readiness;

    fn bitor(self, other: Readiness) -> Readiness {
        Readiness(self.0 | other.0)
    }
}

impl BitOrAssign for Readiness {
    fn bitor_assign(&mut self, other: Readiness) {
        self.0 |= other.0;
    }
}

#[derive(Debug)]
struct SourceEntry {
    generation: u32,
    fd: RawFd,
    readiness: Readiness,
    /// What it is, and where it was made.
    kind: &'static str,
    tag: ObjectTag,
    /// How it is told of, once it has been.
    object: OnceCell<Object>,
}

#[derive(Debug, Default)]
pub(crate) struct SourceTable {
    entries: Slab<SourceEntry>,
    last_generation: u32,
}

impl SourceTable {
    pub(crate) fn clear(&mut self) {
        self.entries = Slab::new();
    }

    fn entry(&self, id: SourceId) -> Option<&SourceEntry> {
        self.entries.get(id.place as usize).filter(|entry| entry.generation == id.generation)
    }

    fn entry_mut(&mut self, id: SourceId) -> Option<&mut SourceEntry> {
        self.entries.get_mut(id.place as usize).filter(|entry| entry.generation == id.generation)
    }

    pub(crate) fn fd(&self, id: SourceId) -> Option<RawFd> {
        self.entry(id).map(|entry| entry.fd)
    }

    pub(crate) fn contains(&self, id: SourceId) -> bool {
        self.entry(id).is_some()
    }
}

/// Sources, as the library sees them.
impl Ring {
    /// Enters a descriptor of the library's own, for a thing of this kind. The kernel registers it at its
    /// first wait.
    ///
    /// # Panics
    /// At 2^32 sources, which is more than there can be descriptors.
    #[must_use]
    pub fn open_source(&self, fd: RawFd, kind: &'static str, tag: ObjectTag) -> SourceId {
        let mut table = self.sources.borrow_mut();
        // Zero is no generation: it says that a descriptor is borrowed.
        table.last_generation = table.last_generation.wrapping_add(1).max(1);
        let generation = table.last_generation;
        let entry = SourceEntry {
            generation,
            fd,
            readiness: Readiness::NONE,
            kind,
            tag,
            object: OnceCell::new(),
        };
        let place = u32::try_from(table.entries.insert(entry)).expect("descriptors fit in 31 bits");
        SourceId { place, generation }
    }

    /// The descriptor is closed, or leaves this scheduler: the kernel frees its entry, and never
    /// touches the number.
    pub fn close_source(&self, id: SourceId) {
        let table = self.sources.borrow();
        if let Some(entry) = table.entry(id) {
            entry.tag.note_gone(self);
            drop(table);
            self.post(Post::CloseSource(id));
        }
    }

    /// What a source is, if its entry is there.
    #[must_use]
    #[inline]
    pub fn object_of_source(&self, id: SourceId) -> Option<Object> {
        let table = self.sources.borrow();
        let SourceEntry { fd, kind, tag, object, .. } = table.entry(id)?;
        let object = object.get_or_init(|| {
            let name = Some(format!("fd {fd}").into());
            Object { id: tag.id(self), kind, name, site: tag.site() }
        });
        Some(object.clone())
    }

    /// What a source is known to be ready for.
    #[must_use]
    #[inline]
    pub fn readiness(&self, id: SourceId) -> Readiness {
        self.sources.borrow().entry(id).map_or(Readiness::NONE, |entry| entry.readiness)
    }

    /// An operation in `direction` took all there was. What is closed stays so: the end of a
    /// stream, or an error, has yet to be read.
    #[inline]
    pub fn took_all(&self, id: SourceId, direction: Direction) {
        self.clear(
            id,
            match direction {
                Direction::Read => Readiness::READABLE,
                Direction::Write => Readiness::WRITABLE,
            },
        );
    }

    /// An operation in `direction` was told to wait: whatever was known, the next event decides.
    #[inline]
    pub fn told_to_wait(&self, id: SourceId, direction: Direction) {
        self.clear(
            id,
            match direction {
                Direction::Read => Readiness::READABLE | Readiness::READ_CLOSED,
                Direction::Write => Readiness::WRITABLE | Readiness::WRITE_CLOSED,
            },
        );
    }

    #[inline]
    fn clear(&self, id: SourceId, bits: Readiness) {
        if let Some(entry) = self.sources.borrow_mut().entry_mut(id) {
            entry.readiness.0 &= !bits.0;
        }
    }
}

/// Sources, as the kernel sees them.
impl KernelRing {
    /// Notes an event of a source.
    pub fn add_readiness(&self, id: SourceId, readiness: Readiness) {
        if let Some(entry) = self.sources().borrow_mut().entry_mut(id) {
            entry.readiness |= readiness;
        }
    }

    /// Frees the entry of a closed source.
    pub fn remove_source(&self, id: SourceId) {
        let mut table = self.sources().borrow_mut();
        if table.contains(id) {
            table.entries.remove(id.place as usize);
        }
    }

    /// How many sources there are.
    #[must_use]
    pub fn source_count(&self) -> usize {
        self.sources().borrow().entries.len()
    }
}
