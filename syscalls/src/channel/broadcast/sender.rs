//! The sending end of a broadcast.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::channel::broadcast::Receiver;
use crate::channel::broadcast::hub::Hub;
use crate::channel::error::{SendError, TrySendError};
use crate::pace::{Claim, spend};

/// Sends values to all receivers. See [`broadcast`](crate::channel::broadcast()).
///
/// When the last clone is gone, receivers take what is there, and then see the end.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let (sender, mut early) = trapline::channel::broadcast(8);
/// sender.send(1).await.unwrap();
/// let mut late = sender.subscribe();
/// sender.send(2).await.unwrap();
/// assert_eq!((early.recv().await, late.recv().await), (Ok(1), Ok(2)));
/// # }).unwrap();
/// ```
pub struct Sender<T> {
    hub: Rc<Hub<T>>,
}

impl<T> Sender<T> {
    pub(crate) fn new(hub: Rc<Hub<T>>) -> Sender<T> {
        Sender { hub }
    }

    /// Sends a value to all receivers, and says how many there are. It waits only under
    /// [`Lag::Wait`](crate::channel::Lag::Wait), for the slowest.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let (sender, mut receiver) = trapline::channel::broadcast(8);
    /// let _another = sender.subscribe();
    /// // It went to two.
    /// assert_eq!(sender.send("news").await.unwrap(), 2);
    /// assert_eq!(receiver.recv().await, Ok("news"));
    /// # }).unwrap();
    /// ```
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
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::broadcast(8);
    /// assert_eq!(sender.try_send("news").unwrap(), 1);
    /// drop(receiver);
    /// assert!(sender.try_send("more news").is_err());
    /// ```
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
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, _receiver) = trapline::channel::broadcast(8);
    /// sender.try_send("old").unwrap();
    /// let mut late = sender.subscribe();
    /// sender.try_send("new").unwrap();
    /// assert_eq!(late.try_recv(), Ok("new"));
    /// ```
    pub fn subscribe(&self) -> Receiver<T> {
        let next = self.hub.end();
        self.hub.add_receiver_at(next);
        Receiver::new(Rc::clone(&self.hub), next)
    }

    /// Closes the channel: receivers take what is there, and then see the end. Says whether it was
    /// open.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, mut receiver) = trapline::channel::broadcast(8);
    /// sender.try_send("last").unwrap();
    /// assert!(sender.close());
    /// assert_eq!(receiver.try_recv(), Ok("last"));
    /// assert!(receiver.try_recv().is_err());
    /// ```
    pub fn close(&self) -> bool {
        self.hub.close()
    }

    /// Whether the channel has been closed.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, _receiver) = trapline::channel::broadcast::<u8>(8);
    /// assert!(!sender.is_closed());
    /// sender.close();
    /// assert!(sender.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.hub.closed.get()
    }

    /// How many receivers there are.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::broadcast::<u8>(8);
    /// let _another = receiver.clone();
    /// assert_eq!(sender.receivers(), 2);
    /// ```
    #[must_use]
    pub fn receivers(&self) -> usize {
        self.hub.receivers.get()
    }

    /// How many values are kept for those who have not taken them.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, _receiver) = trapline::channel::broadcast(8);
    /// sender.try_send("news").unwrap();
    /// assert_eq!((sender.len(), sender.is_empty(), sender.capacity()), (1, false, 8));
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.hub.len()
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
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
/// use trapline::channel::{Lag, broadcast_with};
///
/// let (sender, mut slow) = broadcast_with(1, Lag::Wait);
/// sender.send(1).await.unwrap();
/// let send = sender.send(2);
/// assert!(trapline::timeout(Duration::from_secs(1), send).await.is_err());
/// assert_eq!(slow.recv().await, Ok(1));
/// # }).unwrap();
/// ```
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
        Poll::Ready(if heard { Ok(hub.put(value)) } else { Err(SendError(value)) })
    }
}

impl<T> fmt::Debug for Send<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Send").field("channel", self.hub).finish_non_exhaustive()
    }
}
