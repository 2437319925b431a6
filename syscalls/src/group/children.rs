//! The children of a group, in a table of their own.
//!
//! A child is written into its place field by field, and what it leaves is taken from there: copied
//! whole so soon after it was written, it was waited for.

use trapline_abi::{JoinHandle, Ring, TaskId};

/// Names a child within its group: its place, and a number that no other child has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Key {
    pub(super) place: u32,
    pub(super) serial: u64,
}

pub(super) struct Child<T, E> {
    /// Zero, if nobody is in this place.
    pub(super) serial: u64,
    /// Its id, once it has been born or has left a result.
    pub(super) task: Option<TaskId>,
    /// Where it was born.
    pub(super) ring: Option<&'static Ring>,
    pub(super) result: Option<Result<T, E>>,
    /// How to ask for the end of one that left no result. One that returns needs none.
    pub(super) handle: Option<Box<JoinHandle<()>>>,
    /// The one behind it in its line.
    next: u32,
    pub(super) daemon: bool,
    pub(super) ended: bool,
    /// It ended after the group had been told to: that it was cancelled or killed is no failure.
    pub(super) swept: bool,
}

/// No place.
const NONE: u32 = u32::MAX;

/// Places in a row; the links lie in the places.
pub(super) struct Line {
    first: u32,
    last: u32,
    len: usize,
}

pub(super) struct Children<T, E> {
    places: Vec<Child<T, E>>,
    /// The first of the free places; the last one freed is used first.
    free: u32,
}

impl Line {
    pub(super) const fn new() -> Line {
        Line { first: NONE, last: NONE, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl<T, E> Children<T, E> {
    pub(super) const fn new() -> Children<T, E> {
        Children { places: Vec::new(), free: NONE }
    }

    /// Finds a place for a child that is about to be spawned.
    #[inline]
    pub(super) fn insert(&mut self, serial: u64, daemon: bool) -> u32 {
        let Some(place) = self.pop_free() else { return self.push(serial, daemon) };
        let child = &mut self.places[place as usize];
        child.serial = serial;
        child.task = None;
        child.ring = None;
        child.daemon = daemon;
        child.ended = false;
        child.swept = false;
        place
    }

    fn push(&mut self, serial: u64, daemon: bool) -> u32 {
        let place = u32::try_from(self.places.len()).expect("fewer children than 2^32");
        self.places.push(Child {
            serial,
            task: None,
            ring: None,
            result: None,
            handle: None,
            next: NONE,
            daemon,
            ended: false,
            swept: false,
        });
        place
    }

    #[inline]
    pub(super) fn get(&mut self, key: Key) -> Option<&mut Child<T, E>> {
        self.places.get_mut(key.place as usize).filter(|child| child.serial == key.serial)
    }

    #[inline]
    pub(super) fn at(&mut self, place: u32) -> &mut Child<T, E> {
        &mut self.places[place as usize]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Child<T, E>> {
        self.places.iter().filter(|child| child.serial != 0)
    }

    /// Frees the place of a child whose result and handle have been taken.
    #[inline]
    pub(super) fn remove(&mut self, place: u32) {
        let next = std::mem::replace(&mut self.free, place);
        let child = self.at(place);
        child.serial = 0;
        child.next = next;
    }

    #[inline]
    fn pop_free(&mut self) -> Option<u32> {
        let place = self.free;
        self.free = self.places.get(place as usize)?.next;
        Some(place)
    }

    /// Puts a child at the end of a line.
    #[inline]
    pub(super) fn push_back(&mut self, line: &mut Line, place: u32) {
        self.at(place).next = NONE;
        match line.len {
            0 => line.first = place,
            _ => self.at(line.last).next = place,
        }
        line.last = place;
        line.len += 1;
    }

    /// Puts a child at the head of a line.
    pub(super) fn push_front(&mut self, line: &mut Line, place: u32) {
        self.at(place).next = line.first;
        line.first = place;
        if line.len == 0 {
            line.last = place;
        }
        line.len += 1;
    }

    /// Takes the child at the head of a line out of it.
    #[inline]
    pub(super) fn pop_front(&mut self, line: &mut Line) -> Option<u32> {
        let place = line.first;
        line.len = line.len.checked_sub(1)?;
        line.first = self.at(place).next;
        Some(place)
    }

    /// The children in a line.
    pub(super) fn members(&self, line: &Line) -> impl Iterator<Item = &Child<T, E>> {
        let mut next = line.first;
        (0..line.len).map(move |_| {
            let child = &self.places[next as usize];
            next = child.next;
            child
        })
    }
}
