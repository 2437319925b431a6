//! Timers: a 4-ary heap of deadlines that knows where each timer stands, so that one that is
//! withdrawn leaves in O(log n). Equal deadlines come due in the order in which they were armed.
//!
//! Four children a node: half the levels of a binary heap, and siblings share a cache line.

use trapline_abi::{CallId, Instant};

const CHILDREN: usize = 4;
const NONE: u32 = u32::MAX;

/// Room for so many timers is kept when there are none.
const MANY_TIMERS: usize = 1024;

#[derive(Debug, Clone, Copy)]
struct Entry {
    deadline: Instant,
    /// Rises with each timer; the order among equals.
    armed: u64,
    key: u32,
}

impl Entry {
    fn comes_before(&self, other: &Entry) -> bool {
        (self.deadline, self.armed) < (other.deadline, other.armed)
    }
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// Where in the heap it stands; the next free slot where it is free.
    position: u32,
    /// `None` where it is free.
    call: Option<CallId>,
}

#[derive(Debug)]
pub(crate) struct Timers {
    heap: Vec<Entry>,
    slots: Vec<Slot>,
    free: u32,
    last_armed: u64,
}

impl Timers {
    pub(crate) const fn new() -> Timers {
        Timers { heap: Vec::new(), slots: Vec::new(), free: NONE, last_armed: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.heap.first().map(|entry| entry.deadline)
    }

    /// Arms a timer for `call`, and gives the key to disarm it with.
    pub(crate) fn arm(&mut self, deadline: Instant, call: CallId) -> u64 {
        self.last_armed += 1;
        let position = self.heap.len();
        let slot = Slot { position: position as u32, call: Some(call) };
        let key = if let Some(free) = self.slots.get_mut(self.free as usize) {
            let key = self.free;
            self.free = free.position;
            *free = slot;
            key
        } else {
            self.slots.push(slot);
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 timers")
        };
        self.heap.push(Entry { deadline, armed: self.last_armed, key });
        self.sift_up(position);
        u64::from(key)
    }

    pub(crate) fn disarm(&mut self, key: u64) {
        let position = self.slots[key as usize].position as usize;
        self.remove(position);
    }

    /// Takes the first timer whose deadline is not after `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<CallId> {
        let first = self.heap.first().filter(|entry| entry.deadline <= now)?;
        let call = self.slots[first.key as usize].call;
        self.remove(0);
        call
    }

    /// When the timer under `key` comes due.
    pub(crate) fn deadline_of(&self, key: u64) -> Option<Instant> {
        let slot = self.slots.get(key as usize).filter(|slot| slot.call.is_some())?;
        self.heap.get(slot.position as usize).map(|entry| entry.deadline)
    }

    /// The call that the timer under `key` is for.
    pub(crate) fn call_of(&self, key: u64) -> Option<CallId> {
        self.slots.get(key as usize).and_then(|slot| slot.call)
    }

    fn remove(&mut self, position: usize) {
        let entry = self.heap.swap_remove(position);
        self.slots[entry.key as usize] = Slot { position: self.free, call: None };
        self.free = entry.key;
        if position < self.heap.len() {
            let position = self.sift_up(position);
            self.sift_down(position);
        }
        if self.heap.is_empty() {
            // A crowd has passed: give its memory back.
            self.slots.clear();
            self.slots.shrink_to(MANY_TIMERS);
            self.heap.shrink_to(MANY_TIMERS);
            self.free = NONE;
        }
    }

    fn sift_up(&mut self, mut position: usize) -> usize {
        let entry = self.heap[position];
        while position > 0 {
            let parent = (position - 1) / CHILDREN;
            if !entry.comes_before(&self.heap[parent]) {
                break;
            }
            self.put(position, self.heap[parent]);
            position = parent;
        }
        self.put(position, entry);
        position
    }

    fn sift_down(&mut self, mut position: usize) {
        let entry = self.heap[position];
        loop {
            let first = position * CHILDREN + 1;
            let last = (first + CHILDREN).min(self.heap.len());
            let Some(child) =
                (first..last).min_by_key(|&at| (self.heap[at].deadline, self.heap[at].armed))
            else {
                break;
            };
            if !self.heap[child].comes_before(&entry) {
                break;
            }
            self.put(position, self.heap[child]);
            position = child;
        }
        self.put(position, entry);
    }

    fn put(&mut self, position: usize, entry: Entry) {
        self.heap[position] = entry;
        self.slots[entry.key as usize].position = position as u32;
    }
}
