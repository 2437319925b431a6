//! What the ends of a broadcast share.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use trapline_abi::WaitQueue;

use crate::channel::broadcast::Lag;
use crate::channel::queues;
use crate::told::Thing;

pub(crate) struct Entry<T> {
    value: Rc<T>,
    /// How many receivers have yet to take it. As they take in order, no entry has fewer than the
    /// one before it.
    unread: usize,
}

pub(crate) struct Hub<T> {
    entries: RefCell<VecDeque<Entry<T>>>,
    /// The number of the first entry; they are numbered from 0 on.
    first: Cell<u64>,
    /// Keeps no tokens: all who wait are woken by each value.
    pub(crate) news: WaitQueue,
    /// A token for each place; as good as without end, where senders do not wait.
    pub(crate) room: WaitQueue,
    pub(crate) capacity: usize,
    lag: Lag,
    pub(crate) closed: Cell<bool>,
    pub(crate) senders: Cell<usize>,
    pub(crate) receivers: Cell<usize>,
    thing: Thing,
}

impl<T> Hub<T> {
    /// A hub with one sender and one receiver.
    pub(crate) fn new(capacity: usize, lag: Lag, site: &'static Location<'static>) -> Hub<T> {
        let room = if lag == Lag::Wait { capacity } else { usize::MAX };
        Hub {
            entries: RefCell::new(VecDeque::new()),
            first: Cell::new(0),
            news: queues::queue("a value of a broadcast", 0, site),
            room: queues::queue("room in a broadcast", room, site),
            capacity,
            lag,
            closed: Cell::new(false),
            senders: Cell::new(1),
            receivers: Cell::new(1),
            thing: Thing::new("broadcast", site).of_capacity(capacity),
        }
    }

    /// Where it was made.
    pub(crate) fn site(&self) -> &'static Location<'static> {
        self.thing.site()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    /// The number that the next value gets.
    pub(crate) fn end(&self) -> u64 {
        self.first.get() + self.entries.borrow().len() as u64
    }

    pub(crate) fn is_deaf(&self) -> bool {
        self.closed.get() || self.receivers.get() == 0
    }

    /// Keeps a value for all receivers. The caller has a token of `room`.
    pub(crate) fn put(&self, value: T) -> usize {
        let value = Rc::new(value);
        let unread = self.receivers.get();
        let mut entries = self.entries.borrow_mut();
        let oldest = if entries.len() == self.capacity { entries.pop_front() } else { None };
        entries.push_back(Entry { value, unread });
        drop(entries);
        self.thing.tell("count", || self.len());
        self.news.wake_all();
        if oldest.is_some() {
            self.freed(1);
        }
        drop(oldest);
        unread
    }

    /// The first entries are gone: there is room for as many.
    fn freed(&self, entries: usize) {
        self.first.set(self.first.get() + entries as u64);
        if entries > 0 {
            self.thing.tell("count", || self.len());
        }
        for _ in 0..entries {
            self.room.wake();
        }
    }

    /// Notes that a receiver does not need the entries from `from` on, nor those before. Gives those
    /// out that nobody needs.
    pub(crate) fn forget(&self, from: u64) -> Vec<Entry<T>> {
        let at = self.place_of(from);
        let mut entries = self.entries.borrow_mut();
        entries.iter_mut().skip(at).for_each(|entry| entry.unread -= 1);
        let unneeded = entries.iter().take_while(|entry| entry.unread == 0).count();
        let gone: Vec<Entry<T>> = entries.drain(..unneeded).collect();
        drop(entries);
        self.freed(unneeded);
        gone
    }

    /// The value that a receiver takes next, or how many it has missed, or neither.
    pub(crate) fn take(&self, next: &mut u64) -> Option<Result<Rc<T>, u64>> {
        let mut entries = self.entries.borrow_mut();
        let missed = self.first.get().saturating_sub(*next);
        *next += missed;
        if missed > 0 && self.lag == Lag::Report {
            return Some(Err(missed));
        }
        let at = usize::try_from(*next - self.first.get()).unwrap_or(usize::MAX);
        let entry = entries.get_mut(at)?;
        *next += 1;
        entry.unread -= 1;
        if entry.unread > 0 {
            return Some(Ok(Rc::clone(&entry.value)));
        }
        // All who needed it have it, and so what is before it.
        let entry = entries.pop_front();
        drop(entries);
        self.freed(1);
        entry.map(|entry| Ok(entry.value))
    }

    /// Where the value of this number is; or the first there is, if that is gone.
    fn place_of(&self, number: u64) -> usize {
        usize::try_from(number.saturating_sub(self.first.get())).unwrap_or(usize::MAX)
    }

    /// There is one more receiver, which begins with the value of this number.
    pub(crate) fn add_receiver_at(&self, next: u64) {
        self.receivers.set(self.receivers.get() + 1);
        let at = self.place_of(next);
        self.entries.borrow_mut().iter_mut().skip(at).for_each(|entry| entry.unread += 1);
    }

    /// There is one receiver less. After the last one, senders that wait have their values back at
    /// once: the first of them would be given all the room there is, and might not look.
    pub(crate) fn remove_receiver(&self) {
        self.receivers.set(self.receivers.get() - 1);
        if self.receivers.get() == 0 {
            self.room.wake_all();
        }
    }

    pub(crate) fn close(&self) -> bool {
        if self.closed.replace(true) {
            return false;
        }
        self.thing.tell("closed", || 1);
        self.news.wake_all();
        self.room.wake_all();
        true
    }
}

impl<T> fmt::Debug for Hub<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcast")
            .field("len", &self.len())
            .field("capacity", &self.capacity)
            .field("lag", &self.lag)
            .field("closed", &self.closed.get())
            .field("senders", &self.senders.get())
            .field("receivers", &self.receivers.get())
            .finish()
    }
}
