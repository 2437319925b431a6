//! What things of the library tell of themselves, where somebody listens.

use std::panic::Location;

use trapline_abi::{Note, NoteValue, Object, ObjectTag, Ring};

/// A thing that tells how much is in it: a channel, a group, a mailbox. It lies in what tasks share, and
/// when that is dropped it is gone.
#[derive(Debug)]
pub(crate) struct Thing {
    kind: &'static str,
    /// How much goes in, if that is limited.
    capacity: Option<usize>,
    tag: ObjectTag,
}

impl Thing {
    /// One that was made at `site`.
    pub(crate) fn new(kind: &'static str, site: &'static Location<'static>) -> Thing {
        Thing { kind, capacity: None, tag: ObjectTag::at(site) }
    }

    /// The same for one in which no more has room than so much.
    pub(crate) fn of_capacity(mut self, capacity: usize) -> Thing {
        self.capacity = Some(capacity).filter(|capacity| *capacity < usize::MAX);
        self
    }

    /// Where it was made.
    pub(crate) fn site(&self) -> &'static Location<'static> {
        self.tag.site().expect("a thing is made somewhere")
    }

    /// Tells what a field holds now.
    // Always inlined: where nobody listens it is one test.
    #[inline(always)]
    pub(crate) fn tell(&self, field: &'static str, value: impl FnOnce() -> usize) {
        if let Some(ring) = Ring::listening() {
            self.tell_to(ring, field, value());
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_to(&self, ring: &Ring, field: &'static str, value: usize) {
        let is_new = self.tag.known_in(ring).is_none();
        let object =
            Object { id: self.tag.id(ring), kind: self.kind, name: None, site: self.tag.site() };
        let count = |value: usize| NoteValue::Count(value as u64);
        if let (true, Some(capacity)) = (is_new, self.capacity) {
            let (object, value) = (object.clone(), count(capacity));
            ring.note(Note::Set { object, field: "capacity", value });
        }
        ring.note(Note::Set { object, field, value: count(value) });
    }
}

impl Drop for Thing {
    fn drop(&mut self) {
        if let Some(ring) = Ring::listening() {
            self.tag.note_gone(ring);
        }
    }
}
