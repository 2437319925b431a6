//! The sending end.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::channel::core::Core;
use crate::channel::error::TrySendError;
use crate::channel::reserve::{Permit, Reserve};
use crate::channel::send::Send;
use crate::channel::sink::Hold;
use crate::pace::spend;

/// Sends values into a channel. See [`channel`](crate::channel::channel).
///
/// Clones send into the same channel. When the last one is gone, receivers take what is there, and
/// then see the end.
///
/// It is a [`Sink`](futures::Sink), too. What the sink has reserved it keeps until the value comes, or
/// another method of the same sender is called; closing the sink gives up this sender alone.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let (sender, receiver) = trapline::channel::channel(1);
/// let child = trapline::spawn({
///     let sender = sender.clone();
///     async move { sender.send("from a child").await }
/// });
/// let child = child.await;
/// assert_eq!(receiver.recv().await, Some("from a child"));
/// child.await.unwrap().unwrap();
/// # }).unwrap();
/// ```
pub struct Sender<T> {
    pub(crate) core: Rc<Core<T>>,
    /// What the sink has in hand.
    pub(crate) hold: Cell<Option<Box<Hold<T>>>>,
}

impl<T> Sender<T> {
    pub(crate) fn new(core: Rc<Core<T>>) -> Sender<T> {
        Sender { core, hold: Cell::new(None) }
    }

    /// Sends a value, once there is room for it; through a channel without room, once a receiver has
    /// taken it.
    ///
    /// Senders that wait are served in the order in which they came.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::channel(8);
    /// sender.send("a value").await.unwrap();
    /// drop(receiver);
    /// assert_eq!(sender.send("too late").await.unwrap_err().into_inner(), "too late");
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`SendError`](crate::channel::SendError) with the value, if the channel is closed, or is
    /// closed while this waits.
    ///
    /// # Panics
    /// If it has to wait outside a task, or while tasks of another scheduler wait on the channel; if
    /// it is polled again after it was ready.
    ///
    /// # Cancel safety
    /// Lossy: the value goes with the future, and is not in the channel. It has been sent if at a
    /// rendezvous it had been handed to a receiver that waited for it. To keep it,
    /// [`reserve`](Sender::reserve) first.
    ///
    /// # Cost
    /// No trap where there is room. Else one, O(1).
    ///
    /// # Kin
    /// `write(2)` to a pipe; tokio's `mpsc::Sender::send`.
    #[track_caller]
    #[inline]
    pub fn send(&self, value: T) -> Send<'_, T> {
        self.let_go();
        Send::new(&self.core, value)
    }

    /// The same as [`send`](Sender::send) for whoever stands at `site`.
    pub(crate) fn send_at(&self, value: T, site: &'static Location<'static>) -> Send<'_, T> {
        self.let_go();
        Send::at(&self.core, value, site)
    }

    /// Sends a value, if that can be done at once: if there is room, or a receiver that waits.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::channel(1);
    /// sender.try_send(1).unwrap();
    /// assert!(sender.try_send(2).unwrap_err().is_full());
    /// assert_eq!(receiver.try_recv(), Ok(1));
    /// ```
    ///
    /// # Errors
    /// [`TrySendError::Full`], or [`TrySendError::Closed`] if the channel is closed, with the value.
    ///
    /// # Cost
    /// No trap, O(1).
    #[inline]
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.let_go();
        if self.core.is_closed() {
            return Err(TrySendError::Closed(value));
        }
        if !self.core.try_place() {
            return Err(TrySendError::Full(value));
        }
        spend();
        self.core.put(value);
        Ok(())
    }

    /// Waits for room, and keeps it for a value to come.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::channel(1);
    /// let permit = sender.reserve().await.unwrap();
    /// permit.send("made only now").unwrap();
    /// assert_eq!(receiver.recv().await, Some("made only now"));
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`Closed`](crate::channel::Closed), if the channel is, or is closed while this waits.
    ///
    /// # Panics
    /// As [`send`](Sender::send).
    ///
    /// # Cancel safety
    /// Safe: it gives up the place in the queue, and room that it was given.
    ///
    /// # Cost
    /// No trap where there is room. Else one, O(1).
    ///
    /// # Kin
    /// tokio's `mpsc::Sender::reserve`.
    #[track_caller]
    pub fn reserve(&self) -> Reserve<'_, T> {
        self.let_go();
        Reserve::new(&self.core)
    }

    /// Room for a value, if there is some now. `None` also if the channel is closed.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, _receiver) = trapline::channel::channel::<u8>(1);
    /// let permit = sender.try_reserve();
    /// assert!(permit.is_some() && sender.try_reserve().is_none());
    /// ```
    pub fn try_reserve(&self) -> Option<Permit<'_, T>> {
        self.let_go();
        let reserved = !self.core.is_closed() && self.core.try_place();
        if reserved {
            spend();
        }
        reserved.then(|| Permit::new(&self.core))
    }

    /// Closes the channel: nothing goes in any more. Receivers take what is there, and then see the
    /// end; senders that wait have their values back. Says whether it was open.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::channel(2);
    /// sender.try_send(7).unwrap();
    /// assert!(sender.close());
    /// assert!(!sender.close());
    /// assert_eq!(receiver.try_recv(), Ok(7));
    /// assert!(receiver.try_recv().is_err());
    /// ```
    ///
    /// # Cost
    /// No trap; O(waiters).
    pub fn close(&self) -> bool {
        self.core.close()
    }

    /// Whether nothing goes in any more: somebody closed it, or no receiver is left.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::channel::<u8>(2);
    /// assert!(!sender.is_closed());
    /// drop(receiver);
    /// assert!(sender.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    /// How many values are in it.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, _receiver) = trapline::channel::channel(2);
    /// sender.try_send(7).unwrap();
    /// assert_eq!((sender.len(), sender.is_empty(), sender.capacity()), (1, false, 2));
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.core.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values have room in it; 0 for a rendezvous, `usize::MAX` if there is no bound.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.core.capacity()
    }

    /// How many receivers there are.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::channel::<u8>(2);
    /// let _another = receiver.clone();
    /// assert_eq!(sender.receivers(), 2);
    /// ```
    #[must_use]
    pub fn receivers(&self) -> usize {
        self.core.receivers()
    }

    /// Whether both are ends of one channel.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, _receiver) = trapline::channel::channel::<u8>(2);
    /// let (other, _other_receiver) = trapline::channel::channel::<u8>(2);
    /// assert!(sender.same_channel(&sender.clone()));
    /// assert!(!sender.same_channel(&other));
    /// ```
    #[must_use]
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Rc::ptr_eq(&self.core, &other.core)
    }

    /// Another use of this sender: what its sink had in hand goes back.
    #[inline]
    fn let_go(&self) {
        if let Some(hold) = self.hold.take() {
            self.let_go_of(hold);
        }
    }

    #[cold]
    fn let_go_of(&self, hold: Box<Hold<T>>) {
        if let Hold::Closed = *hold {
            // It counts as gone, and must not be counted as gone once more.
            self.hold.set(Some(hold));
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.core.add_sender();
        Sender::new(Rc::clone(&self.core))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        match self.hold.take() {
            Some(hold) if matches!(*hold, Hold::Closed) => {}
            hold => {
                drop(hold);
                self.core.remove_sender();
            }
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.core).finish()
    }
}
