//! Every value to every receiver.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures::Stream;
use thiserror::Error;
use trapline_abi::WaitQueue;

use crate::channel::error::{SendError, TrySendError};
use crate::channel::queues;
use crate::pace::{Claim, spend};

/// What becomes of a value when a receiver has yet to take one that is `capacity` values older.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Lag {
    /// The oldest is dropped, and a receiver that has not taken it is told how many it missed.
    #[default]
    Report,
    /// The oldest is dropped, and nobody is told.
    Skip,
    /// The sender waits for the slowest receiver.
    Wait,
}

/// A channel each of whose values goes to each receiver. The last `capacity` values are kept for
/// those who are slower; one who is slower still is told how many it missed.
///
/// A receiver gets what is sent after it was made: by this function, by
/// [`subscribe`](Sender::subscribe), or as a clone, which begins where the other one is.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let (sender, mut one) = trapline::channel::broadcast(8);
/// let mut two = sender.subscribe();
/// sender.send("news").await.unwrap();
/// assert_eq!(one.recv().await, Ok("news"));
/// assert_eq!(two.recv().await, Ok("news"));
/// # }).unwrap();
/// ```
///
/// # Panics
/// If `capacity` is 0.
///
/// # Cost
/// Two allocations, and one a value. A value wakes all who wait: O(waiters).
///
/// # Kin
/// tokio's `broadcast`.
#[must_use]
pub fn broadcast<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    broadcast_with(capacity, Lag::Report)
}

/// The same with another policy for receivers that lag behind.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::channel::{Lag, broadcast_with};
///
/// let (sender, mut receiver) = broadcast_with(1, Lag::Skip);
/// sender.send("old news").await.unwrap();
/// sender.send("news").await.unwrap();
/// assert_eq!(receiver.recv().await, Ok("news"));
/// # }).unwrap();
/// ```
///
/// # Panics
/// If `capacity` is 0.
#[must_use]
pub fn broadcast_with<T>(capacity: usize, lag: Lag) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a broadcast channel has room for a value");
    let room = if lag == Lag::Wait { capacity } else { usize::MAX };
    let hub = Rc::new(Hub {
        entries: RefCell::new(VecDeque::new()),
        first: Cell::new(0),
        news: queues::queue("a value of a broadcast", 0),
        room: queues::queue("room in a broadcast", room),
        capacity,
        lag,
        closed: Cell::new(false),
        senders: Cell::new(1),
        receivers: Cell::new(1),
    });
    (Sender { hub: Rc::clone(&hub) }, Receiver { hub, next: 0, wait: None })
}

struct Entry<T> {
    value: Rc<T>,
    /// How many receivers have yet to take it. As they take in order, no entry has fewer than the
    /// one before it.
    unread: usize,
}

struct Hub<T> {
    entries: RefCell<VecDeque<Entry<T>>>,
    /// The number of the first entry; they are numbered from 0 on.
    first: Cell<u64>,
    /// Keeps no tokens: all who wait are woken by each value.
    news: WaitQueue,
    /// A token for each place; as good as without end, where senders do not wait.
    room: WaitQueue,
    capacity: usize,
    lag: Lag,
    closed: Cell<bool>,
    senders: Cell<usize>,
    receivers: Cell<usize>,
}

impl<T> Hub<T> {
    /// The number that the next value gets.
    fn end(&self) -> u64 {
        self.first.get() + self.entries.borrow().len() as u64
    }

    fn is_deaf(&self) -> bool {
        self.closed.get() || self.receivers.get() == 0
    }

    /// Keeps a value for all receivers. The caller has a token of `room`.
    fn put(&self, value: T) -> usize {
        let value = Rc::new(value);
        let unread = self.receivers.get();
        let mut entries = self.entries.borrow_mut();
        let oldest = if entries.len() == self.capacity { entries.pop_front() } else { None };
        entries.push_back(Entry { value, unread });
        drop(entries);
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
        for _ in 0..entries {
            self.room.wake();
        }
    }

    /// Notes that a receiver does not need the entries from `from` on, nor those before. Gives those
    /// out that nobody needs.
    fn forget(&self, from: u64) -> Vec<Entry<T>> {
        let mut entries = self.entries.borrow_mut();
        let at = from.saturating_sub(self.first.get());
        let at = usize::try_from(at).unwrap_or(usize::MAX).min(entries.len());
        entries.iter_mut().skip(at).for_each(|entry| entry.unread -= 1);
        let unneeded = entries.iter().take_while(|entry| entry.unread == 0).count();
        let gone: Vec<Entry<T>> = entries.drain(..unneeded).collect();
        drop(entries);
        self.freed(unneeded);
        gone
    }

    /// The value that a receiver takes next, or how many it has missed, or neither.
    fn take(&self, next: &mut u64) -> Option<Result<Rc<T>, u64>> {
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

    fn close(&self) -> bool {
        if self.closed.replace(true) {
            return false;
        }
        self.news.wake_all();
        self.room.wake_all();
        true
    }

    fn add_receiver(&self) {
        self.receivers.set(self.receivers.get() + 1);
    }
}

impl<T> fmt::Debug for Hub<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcast")
            .field("len", &self.entries.borrow().len())
            .field("capacity", &self.capacity)
            .field("lag", &self.lag)
            .field("closed", &self.closed.get())
            .field("senders", &self.senders.get())
            .field("receivers", &self.receivers.get())
            .finish()
    }
}

/// Sends values to all receivers. See [`broadcast`].
///
/// When the last clone is gone, receivers take what is there, and then see the end.
pub struct Sender<T> {
    hub: Rc<Hub<T>>,
}

impl<T> Sender<T> {
    /// Sends a value to all receivers, and says how many there are. It waits only under
    /// [`Lag::Wait`], for the slowest.
    ///
    /// # Errors
    /// [`SendError`] with the value, if there is no receiver or the channel is closed.
    ///
    /// # Panics
    /// If it has to wait outside a task; if it is polled again after it was ready.
    ///
    /// # Cancel safety
    /// Lossy: the value goes with the future, and has not been sent.
    ///
    /// # Cost
    /// No trap where it need not wait; O(receivers that wait), one allocation.
    #[track_caller]
    pub fn send(&self, value: T) -> Send<'_, T> {
        Send { hub: &self.hub, value: Some(value), room: Claim::new(&self.hub.room) }
    }

    /// Sends a value to all receivers, if that can be done at once.
    ///
    /// # Errors
    /// [`TrySendError`] with the value.
    ///
    /// # Cost
    /// No trap; O(receivers that wait), one allocation.
    pub fn try_send(&self, value: T) -> Result<usize, TrySendError<T>> {
        if self.hub.is_deaf() {
            return Err(TrySendError::Closed(value));
        }
        if !self.hub.room.try_take() {
            return Err(TrySendError::Full(value));
        }
        spend();
        Ok(self.hub.put(value))
    }

    /// A receiver of all that is sent from now on.
    pub fn subscribe(&self) -> Receiver<T> {
        self.hub.add_receiver();
        Receiver { hub: Rc::clone(&self.hub), next: self.hub.end(), wait: None }
    }

    /// Closes the channel: receivers take what is there, and then see the end. Says whether it was
    /// open.
    pub fn close(&self) -> bool {
        self.hub.close()
    }

    /// Whether the channel has been closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.hub.closed.get()
    }

    /// How many receivers there are.
    #[must_use]
    pub fn receivers(&self) -> usize {
        self.hub.receivers.get()
    }

    /// How many values are kept for those who have not taken them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hub.entries.borrow().len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values are kept at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.hub.capacity
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.hub.senders.set(self.hub.senders.get() + 1);
        Sender { hub: Rc::clone(&self.hub) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.hub.senders.set(self.hub.senders.get() - 1);
        if self.hub.senders.get() == 0 {
            self.hub.close();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.hub).finish()
    }
}

/// The future of [`Sender::send`].
#[must_use = "nothing is sent until this is awaited"]
pub struct Send<'a, T> {
    hub: &'a Hub<T>,
    value: Option<T>,
    room: Claim<'a>,
}

impl<T> Unpin for Send<'_, T> {}

impl<T> Future for Send<'_, T> {
    type Output = Result<usize, SendError<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let hub = self.hub;
        assert!(self.value.is_some(), "a send was polled again after it was ready");
        let heard = ready!(self.room.poll(cx, || hub.is_deaf()));
        let value = self.value.take().expect("it was there above");
        if heard {
            return Poll::Ready(Ok(hub.put(value)));
        }
        // Receivers may come again, so the room it was given goes on.
        if self.room.has_waited() && !hub.closed.get() {
            hub.room.wake();
        }
        Poll::Ready(Err(SendError(value)))
    }
}

impl<T> fmt::Debug for Send<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Send").field("channel", self.hub).finish_non_exhaustive()
    }
}

/// Why nothing was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum RecvError {
    /// This many values were dropped before this receiver took them. The next one is there.
    #[error("{0} values were missed")]
    Missed(u64),
    /// The channel is closed, and all has been taken.
    #[error("nothing will come any more")]
    Closed,
}

/// Why nothing could be received at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum TryRecvError {
    /// There is nothing now.
    #[error("there is nothing to receive now")]
    Empty,
    /// This many values were dropped before this receiver took them. The next one is there.
    #[error("{0} values were missed")]
    Missed(u64),
    /// The channel is closed, and all has been taken.
    #[error("nothing will come any more")]
    Closed,
}

type Wait = Pin<Box<dyn Future<Output = ()>>>;

/// Receives all values that are sent after it was made. See [`broadcast`].
///
/// It is a [`Stream`], too: of values, and of how many were missed. A clone begins where this one
/// is.
pub struct Receiver<T> {
    hub: Rc<Hub<T>>,
    /// The number of the value it takes next.
    next: u64,
    /// The stream's wait.
    wait: Option<Wait>,
}

impl<T: Clone> Receiver<T> {
    /// Waits for the next value.
    ///
    /// # Errors
    /// [`RecvError::Missed`] under [`Lag::Report`], if values were dropped; [`RecvError::Closed`] at
    /// the end.
    ///
    /// # Panics
    /// If it has to wait outside a task.
    ///
    /// # Cancel safety
    /// Safe: a value is taken at the poll that gives it.
    ///
    /// # Cost
    /// No trap where there is a value; else one. A clone of the value, but for the last who takes it.
    #[track_caller]
    pub fn recv(&mut self) -> Recv<'_, T> {
        self.wait = None;
        Recv { news: Claim::new(&self.hub.news), hub: &self.hub, next: &mut self.next }
    }

    /// Takes the next value, if it is there.
    ///
    /// # Errors
    /// [`TryRecvError`], if it is not.
    ///
    /// # Cost
    /// No trap, O(1).
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.wait = None;
        match self.hub.take(&mut self.next) {
            Some(Ok(value)) => {
                spend();
                Ok(Rc::unwrap_or_clone(value))
            }
            Some(Err(missed)) => Err(TryRecvError::Missed(missed)),
            None if self.hub.closed.get() => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }
}

impl<T> Receiver<T> {
    /// How many values it has yet to take, or has missed.
    #[must_use]
    pub fn behind(&self) -> u64 {
        self.hub.end() - self.next
    }

    /// Whether the channel has been closed, or has no sender.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.hub.closed.get()
    }
}

impl<T: Clone + 'static> Stream for Receiver<T> {
    type Item = Result<T, RecvError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let next = this.next;
        let wait = this.wait.get_or_insert_with(|| {
            let hub = Rc::clone(&this.hub);
            Box::pin(async move { News { news: Claim::new(&hub.news), hub: &hub, next }.await })
        });
        ready!(wait.as_mut().poll(cx));
        this.wait = None;
        Poll::Ready(match this.hub.take(&mut this.next) {
            Some(Ok(value)) => Some(Ok(Rc::unwrap_or_clone(value))),
            Some(Err(missed)) => Some(Err(RecvError::Missed(missed))),
            None => None,
        })
    }
}

/// Waits until there is something for a receiver, or the end.
struct News<'a, T> {
    hub: &'a Hub<T>,
    next: u64,
    news: Claim<'a>,
}

impl<T> Future for News<'_, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let (hub, next) = (self.hub, self.next);
        self.news.poll_over(cx, || next < hub.end() || hub.closed.get())
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        self.hub.add_receiver();
        let first = self.hub.first.get();
        let at = usize::try_from(self.next.saturating_sub(first)).unwrap_or(usize::MAX);
        let mut entries = self.hub.entries.borrow_mut();
        entries.iter_mut().skip(at).for_each(|entry| entry.unread += 1);
        drop(entries);
        Receiver { hub: Rc::clone(&self.hub), next: self.next, wait: None }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.wait = None;
        self.hub.receivers.set(self.hub.receivers.get() - 1);
        let gone = self.hub.forget(self.next);
        drop(gone);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("channel", &self.hub)
            .field("behind", &self.behind())
            .finish()
    }
}

/// The future of [`Receiver::recv`].
#[must_use = "nothing is received until this is awaited"]
pub struct Recv<'a, T> {
    hub: &'a Hub<T>,
    next: &'a mut u64,
    news: Claim<'a>,
}

impl<T: Clone> Future for Recv<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (hub, next) = (self.hub, *self.next);
        ready!(self.news.poll_over(cx, || next < hub.end() || hub.closed.get()));
        Poll::Ready(match hub.take(self.next) {
            Some(Ok(value)) => Ok(Rc::unwrap_or_clone(value)),
            Some(Err(missed)) => Err(RecvError::Missed(missed)),
            None => Err(RecvError::Closed),
        })
    }
}

impl<T> fmt::Debug for Recv<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recv").field("channel", self.hub).finish_non_exhaustive()
    }
}
