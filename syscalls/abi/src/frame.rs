//! Frames: the lines at which the program awaits, from a call outwards.
//!
//! A frame is a future that notes, while it is polled, where it was made. What is current when a call is
//! made is the call's stack. None of it happens where nobody listens; and the way of a call does not know of
//! it at all: each frame looks, as it is entered and left, which serials were given away meanwhile.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::Location;

use crate::id::CallId;
use crate::note::StackId;
use crate::ring::Ring;

/// So many runs of calls with a stack are kept before one looks which of them are gone.
const FEW_RUNS: usize = 64;

/// So many frames are found without a search.
const LATELY: usize = 64;

/// The frames of a ring.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// The innermost one, of what is being polled.
    current: Cell<StackId>,
    /// Calls with serials up to this one have their stacks.
    seen: Cell<u64>,
    /// Each frame that was ever entered, at the index of its number, less one; and what was around it.
    known: RefCell<Vec<(&'static Location<'static>, StackId)>>,
    numbers: RefCell<BTreeMap<(Location<'static>, StackId), StackId>>,
    /// Frames entered lately: the address of the line, what was around, and the number.
    lately: RefCell<Vec<(usize, StackId, StackId)>>,
    /// How many of them the kernel has taken.
    told: Cell<usize>,
    /// The stacks of calls, by runs of their serials, which rise. Runs of which all calls are gone are removed
    /// now and then.
    of_calls: RefCell<Vec<Run>>,
    /// When it is time to look for those.
    full: Cell<usize>,
}

/// Calls that were made one after the other within the same frames.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: u64,
    last: u64,
    stack: StackId,
}

impl Frames {
    /// The number of the frame at `site` in `around`.
    fn number(&self, site: &'static Location<'static>, around: StackId) -> StackId {
        // A future of its own for each call has a frame of its own, and has not been numbered before: but
        // others of the same line have.
        let address = std::ptr::from_ref(site).addr();
        let mut lately = self.lately.borrow_mut();
        if lately.is_empty() {
            lately.resize(LATELY, (0, StackId::EMPTY, StackId::EMPTY));
        }
        let slot = &mut lately[(address / align_of::<Location<'_>>() + around.0 as usize) % LATELY];
        if (slot.0, slot.1) != (address, around) {
            *slot = (address, around, self.searched(site, around));
        }
        slot.2
    }

    fn searched(&self, site: &'static Location<'static>, around: StackId) -> StackId {
        let mut known = self.known.borrow_mut();
        *self.numbers.borrow_mut().entry((*site, around)).or_insert_with(|| {
            known.push((site, around));
            StackId(u32::try_from(known.len()).unwrap_or(u32::MAX))
        })
    }

    pub(crate) fn of_call(&self, call: CallId) -> StackId {
        let (of_calls, serial) = (self.of_calls.borrow(), call.serial.get());
        // Mostly it is asked of a call that has just been made.
        match of_calls.last() {
            None => return StackId::EMPTY,
            Some(run) if run.first <= serial => {
                return if serial <= run.last { run.stack } else { StackId::EMPTY };
            }
            Some(_) => {}
        }
        let place = of_calls.partition_point(|run| run.last < serial);
        let run = of_calls.get(place).filter(|run| run.first <= serial);
        run.map_or(StackId::EMPTY, |run| run.stack)
    }

    pub(crate) fn has_untold(&self) -> bool {
        self.told.get() != self.known.borrow().len()
    }

    pub(crate) fn take_untold(&self) -> Vec<(StackId, &'static Location<'static>, StackId)> {
        let known = self.known.borrow();
        let told = self.told.replace(known.len());
        let untold = known.iter().zip(1..).skip(told);
        untold.map(|(&(site, around), number)| (StackId(number), site, around)).collect()
    }

    pub(crate) fn tell_again(&self) {
        self.told.set(0);
    }

    pub(crate) fn clear(&self) {
        self.current.take();
        self.seen.take();
        self.known.take();
        self.numbers.take();
        self.lately.take();
        self.told.take();
        self.of_calls.take();
        self.full.take();
    }
}

/// A line of the program, as a frame: it lies in the future that it is the frame of, and remembers its
/// number.
#[derive(Clone, Debug)]
pub struct FrameSite {
    site: &'static Location<'static>,
    /// The life of the ring in which it was entered last, what was around it there, and its number.
    last: Cell<(u64, StackId, StackId)>,
}

impl FrameSite {
    /// The frame of what was made at `site`.
    #[must_use]
    #[inline]
    pub const fn new(site: &'static Location<'static>) -> FrameSite {
        FrameSite { site, last: Cell::new((0, StackId::EMPTY, StackId::EMPTY)) }
    }

    /// Its line.
    #[must_use]
    #[inline]
    pub const fn site(&self) -> &'static Location<'static> {
        self.site
    }

    /// Enters the frame until the guard is dropped, where somebody listens.
    ///
    /// # Cost
    /// A few instructions where nobody does.
    #[inline]
    pub fn enter(&self) -> Option<FrameGuard> {
        match Ring::current() {
            Some(ring) if ring.is_listened_to() => Some(self.enter_in(ring)),
            _ => None,
        }
    }

    #[cold]
    #[inline(never)]
    fn enter_in(&self, ring: &'static Ring) -> FrameGuard {
        let frames = &ring.notes.frames;
        ring.settle_stacks();
        let around = frames.current.get();
        let (life, last_around, mut number) = self.last.get();
        if life != ring.life() || last_around != around {
            number = frames.number(self.site, around);
            if frames.has_untold() {
                ring.notes.has_news.set(true);
            }
            self.last.set((ring.life(), around, number));
        }
        frames.current.set(number);
        FrameGuard { ring, life: ring.life(), around }
    }
}

/// While it lives, a frame is the innermost one: see [`FrameSite::enter`].
#[derive(Debug)]
#[must_use]
pub struct FrameGuard {
    ring: &'static Ring,
    life: u64,
    around: StackId,
}

impl Drop for FrameGuard {
    fn drop(&mut self) {
        if self.ring.life() == self.life {
            self.ring.settle_stacks();
            self.ring.notes.frames.current.set(self.around);
        }
    }
}

/// Frames, as the library sees them.
impl Ring {
    /// Enters the frame of `site` until the guard is dropped, where somebody listens.
    #[inline]
    pub fn enter_frame(site: &'static Location<'static>) -> Option<FrameGuard> {
        FrameSite::new(site).enter()
    }

    /// The frames around what is being polled.
    #[must_use]
    #[inline]
    pub fn stack(&self) -> StackId {
        self.notes.frames.current.get()
    }

    /// The line of the innermost frame around what is being polled, if there is one.
    #[must_use]
    pub fn innermost_frame(&self) -> Option<&'static Location<'static>> {
        let place = (self.stack().0 as usize).checked_sub(1)?;
        self.notes.frames.known.borrow().get(place).map(|&(site, _)| site)
    }

    /// Notes the stack of the calls that were made since a frame was last entered or left.
    fn settle_stacks(&self) {
        let frames = &self.notes.frames;
        let last = self.calls.last_serial();
        let seen = frames.seen.replace(last);
        let stack = frames.current.get();
        if stack == StackId::EMPTY || seen == last {
            return;
        }
        let mut of_calls = frames.of_calls.borrow_mut();
        match of_calls.last_mut() {
            Some(run) if run.last == seen && run.stack == stack => run.last = last,
            _ => of_calls.push(Run { first: seen + 1, last, stack }),
        }
        if of_calls.len() >= frames.full.get().max(FEW_RUNS) {
            let calls = self.calls.serials_in_flight();
            of_calls.retain(|run| calls.range(run.first..=run.last).next().is_some());
            frames.full.set(2 * of_calls.len());
        }
    }
}
