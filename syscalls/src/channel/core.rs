//! What the two ends of a channel share.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;

use trapline_abi::WaitQueue;

use crate::channel::queues;
use crate::told::Thing;

/// Room is laid out for so many values from the start.
const LAID_OUT: usize = 64;

/// The state of a channel. Room and values are the tokens of two wait queues:
///
/// * `items`: a token for each value that is not promised to a receiver which waited for it. So
///   tokens and promises together are as many as there are values, until the end.
/// * `room`: a token for each place that is neither filled nor promised to a sender.
///
/// A value stays here until its receiver takes it, and they leave in the order in which they came:
/// what is handed over is the right to one.
///
/// A *rendezvous* has one place, which the sender keeps from the others until its value has been
/// taken: it waits for that in `taken`, alone. A value there whose sender is gone frees the place
/// itself when it is taken.
pub(crate) struct Core<T> {
    values: RefCell<VecDeque<T>>,
    pub(crate) items: WaitQueue,
    pub(crate) room: WaitQueue,
    pub(crate) taken: Option<WaitQueue>,
    /// Keeps no tokens: all who wait are woken when the channel is closed.
    pub(crate) end: WaitQueue,
    capacity: usize,
    closed: Cell<bool>,
    senders: Cell<usize>,
    receivers: Cell<usize>,
    thing: Thing,
}

impl<T> Core<T> {
    /// A channel with one sender and one receiver.
    pub(crate) fn new(capacity: usize, site: &'static Location<'static>) -> Core<T> {
        let rendezvous = capacity == 0;
        let laid_out = if capacity == usize::MAX { 0 } else { capacity.clamp(1, LAID_OUT) };
        Core {
            values: RefCell::new(VecDeque::with_capacity(laid_out)),
            items: queues::queue("a value of a channel", 0, site),
            room: queues::queue("room in a channel", capacity.max(1), site),
            taken: rendezvous.then(|| queues::queue("the receiver at a rendezvous", 0, site)),
            end: queues::queue("a channel to be closed", 0, site),
            capacity,
            closed: Cell::new(false),
            senders: Cell::new(1),
            receivers: Cell::new(1),
            thing: Thing::new("channel", site).of_capacity(capacity),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.values.borrow().len()
    }

    /// Where it was made.
    pub(crate) fn site(&self) -> &'static Location<'static> {
        self.thing.site()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn senders(&self) -> usize {
        self.senders.get()
    }

    pub(crate) fn receivers(&self) -> usize {
        self.receivers.get()
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Nothing will ever come any more.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.closed.get() && self.values.borrow().is_empty()
    }

    /// Puts a value in. The caller has a token of `room`.
    #[inline]
    pub(crate) fn put(&self, value: T) {
        self.values.borrow_mut().push_back(value);
        self.thing.tell("count", || self.len());
        self.items.wake();
    }

    /// Takes the first value out. The caller has a token of `items`.
    #[inline(always)]
    pub(crate) fn take(&self) -> T {
        let value = self.values.borrow_mut().pop_front();
        let value = value.expect("a token of a channel stands for a value (one-token)");
        self.thing.tell("count", || self.len());
        if self.taken.is_some() || self.closed.get() {
            self.tell_of_the_place();
        } else {
            self.room.wake();
        }
        value
    }

    /// There is one value less in a rendezvous, or in a channel that is closed.
    #[cold]
    #[inline(never)]
    fn tell_of_the_place(&self) {
        match &self.taken {
            Some(taken) if taken.waiting() > 0 => taken.wake(),
            _ => self.room.wake(),
        }
        if self.closed.get() {
            self.tell_of_the_end();
        }
    }

    /// Takes back the value of a rendezvous that nobody was promised.
    pub(crate) fn take_back(&self) -> Option<T> {
        if !self.items.try_take() {
            return None;
        }
        let value = self.values.borrow_mut().pop_front();
        self.thing.tell("count", || self.len());
        self.tell_of_the_end();
        value
    }

    /// Gives up a place that was not filled.
    pub(crate) fn free_place(&self) {
        self.room.wake();
    }

    pub(crate) fn try_receive(&self) -> Option<T> {
        self.items.try_take().then(|| self.take())
    }

    /// A place for a value, if there is one. A rendezvous has one where a receiver waits.
    pub(crate) fn try_place(&self) -> bool {
        if !self.room.try_take() {
            return false;
        }
        let met = self.taken.is_none() || self.items.waiting() > 0;
        if !met {
            self.free_place();
        }
        met
    }

    /// No value goes in any more. Senders that wait have theirs back; receivers take what is there.
    pub(crate) fn close(&self) -> bool {
        if self.closed.replace(true) {
            return false;
        }
        self.thing.tell("closed", || 1);
        self.room.wake_all();
        self.end.wake_all();
        // What is promised to a receiver at a rendezvous, it shall have.
        if self.items.tokens() > 0 {
            self.wake_offerer();
        }
        self.tell_of_the_end();
        true
    }

    fn wake_offerer(&self) {
        if let Some(taken) = &self.taken
            && taken.waiting() > 0
        {
            taken.wake();
        }
    }

    /// Whether a sender is there that takes its value back, if it is not taken.
    fn has_offerer(&self) -> bool {
        self.taken.as_ref().is_some_and(WaitQueue::is_waited_for)
    }

    fn tell_of_the_end(&self) {
        if self.is_over() {
            self.items.wake_all();
        }
    }

    pub(crate) fn add_sender(&self) {
        self.senders.set(self.senders.get() + 1);
    }

    pub(crate) fn add_receiver(&self) {
        self.receivers.set(self.receivers.get() + 1);
    }

    /// A sender is gone. After the last one nothing comes any more.
    pub(crate) fn remove_sender(&self) {
        self.senders.set(self.senders.get() - 1);
        if self.senders.get() == 0 {
            self.close();
        }
    }

    /// A receiver is gone. After the last one nobody takes what is there: it is dropped, but for a
    /// value at a rendezvous whose sender takes it back.
    pub(crate) fn remove_receiver(&self) {
        self.receivers.set(self.receivers.get() - 1);
        if self.receivers.get() > 0 {
            return;
        }
        self.close();
        self.wake_offerer();
        if !self.has_offerer() {
            let untaken = self.values.take();
            if !untaken.is_empty() {
                self.thing.tell("count", || 0);
            }
            drop(untaken);
        }
    }
}

impl<T> fmt::Debug for Core<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("len", &self.len())
            .field("capacity", &self.capacity)
            .field("closed", &self.closed.get())
            .field("senders", &self.senders.get())
            .field("receivers", &self.receivers.get())
            .field("waiting_senders", &self.room.waiting())
            .field("waiting_receivers", &self.items.waiting())
            .finish()
    }
}
