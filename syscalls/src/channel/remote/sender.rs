//! The sending end of a remote channel.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use crate::channel::error::{SendError, TrySendError};
use crate::channel::remote::block::block;
use crate::channel::remote::core::{Shared, Ticket};
use crate::pace::{Pace, spend};

/// Sends values, from a thread or a task. See [`remote`](crate::channel::remote()).
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let (sender, receiver) = trapline::channel::remote(4);
/// let threads = [1, 2].map(|number| {
///     let sender = sender.clone();
///     std::thread::spawn(move || sender.send_blocking(number))
/// });
/// threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
/// drop(sender);
/// let (first, second) = (receiver.recv().await.unwrap(), receiver.recv().await.unwrap());
/// assert_eq!((first + second, receiver.recv().await), (3, None));
/// # }).unwrap();
/// ```
pub struct Sender<T> {
    pub(super) shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sends a value from a task, once there is room.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::remote(1);
    /// let thread = std::thread::spawn(move || std::iter::from_fn(|| receiver.recv_blocking()).sum::<u32>());
    /// for number in 1..=4 {
    ///     // Waits where the thread does not keep up.
    ///     sender.send(number).await.unwrap();
    /// }
    /// drop(sender);
    /// assert_eq!(thread.join().unwrap(), 10);
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`SendError`] with the value, if the channel is closed, or is closed while this waits.
    ///
    /// # Panics
    /// If it is polled again after it was ready.
    ///
    /// # Cancel safety
    /// Lossy: the value goes with the future, and is not in the channel.
    ///
    /// # Cost
    /// No trap; a lock. Where it waits, a clone of the task's waker.
    #[track_caller]
    pub fn send(&self, value: T) -> Send<'_, T> {
        let ticket = Ticket::default();
        Send { shared: &self.shared, value: Some(value), pace: Pace::new(), ticket }
    }

    /// Sends a value from a thread, and blocks the thread until there is room.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::remote(1);
    /// let thread = std::thread::spawn(move || {
    ///     for number in 1..=4 {
    ///         sender.send_blocking(number).unwrap();
    ///     }
    /// });
    /// let mut sum = 0;
    /// while let Some(number) = receiver.recv().await {
    ///     sum += number;
    /// }
    /// assert_eq!(sum, 10);
    /// thread.join().unwrap();
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`SendError`] with the value, if the channel is closed, or is closed while this waits.
    ///
    /// # Panics
    /// In a task, and in what a task drops: it would stop every task of the thread.
    pub fn send_blocking(&self, value: T) -> Result<(), SendError<T>> {
        block(self.send(value))
    }

    /// Sends a value, if that can be done at once. It never blocks.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, _receiver) = trapline::channel::remote(1);
    /// sender.try_send(1).unwrap();
    /// assert!(sender.try_send(2).unwrap_err().is_full());
    /// ```
    ///
    /// # Errors
    /// [`TrySendError`] with the value.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let mut core = self.shared.lock();
        if core.is_closed() {
            return Err(TrySendError::Closed(value));
        }
        if !core.room.try_take() {
            return Err(TrySendError::Full(value));
        }
        let woken = core.put(value);
        drop(core);
        spend();
        woken.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Closes the channel: nothing goes in any more. Says whether it was open.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::remote(1);
    /// sender.try_send(7).unwrap();
    /// assert!(sender.close());
    /// assert_eq!(receiver.recv_blocking(), Some(7));
    /// assert_eq!(receiver.recv_blocking(), None);
    /// ```
    pub fn close(&self) -> bool {
        self.shared.close()
    }

    /// Whether nothing goes in any more: somebody closed it, or no receiver is left.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::remote::<u8>(1);
    /// drop(receiver);
    /// assert!(sender.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.lock().is_closed()
    }

    /// How many receivers there are.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::remote::<u8>(1);
    /// let _another = receiver.clone();
    /// assert_eq!(sender.receivers(), 2);
    /// ```
    #[must_use]
    pub fn receivers(&self) -> usize {
        self.shared.lock().receivers
    }

    /// Whether both are ends of one channel.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, _receiver) = trapline::channel::remote::<u8>(1);
    /// let (other, _other_receiver) = trapline::channel::remote::<u8>(1);
    /// assert!(sender.same_channel(&sender.clone()));
    /// assert!(!sender.same_channel(&other));
    /// ```
    #[must_use]
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// How many values are in it.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, _receiver) = trapline::channel::remote(1);
    /// assert!(sender.is_empty());
    /// sender.try_send(7).unwrap();
    /// assert_eq!(sender.len(), 1);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.lock().len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.shared.lock().senders += 1;
        Sender { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.remove_sender();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.shared).finish()
    }
}

/// The future of [`Sender::send`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
///
/// let (sender, receiver) = trapline::channel::remote(1);
/// sender.send(1).await.unwrap();
/// let send = sender.send(2);
/// assert!(trapline::timeout(Duration::from_millis(1), send).await.is_err());
/// assert_eq!((receiver.try_recv(), receiver.try_recv().is_err()), (Ok(1), true), "2 went with it");
/// # }).unwrap();
/// ```
#[must_use = "nothing is sent until this is awaited"]
pub struct Send<'a, T> {
    shared: &'a Shared<T>,
    value: Option<T>,
    pace: Pace,
    ticket: Ticket,
}

impl<T> Unpin for Send<'_, T> {}

impl<T> Future for Send<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        assert!(this.value.is_some(), "a send was polled again after it was ready");
        if !this.ticket.is_drawn() {
            ready!(this.pace.poll(cx));
        }
        let sent = ready!(this.shared.poll_send(&mut this.ticket, cx, &mut this.value));
        this.pace.count();
        let back = this.value.take().map(SendError);
        Poll::Ready(if sent { Ok(()) } else { back.map_or(Ok(()), Err) })
    }
}

impl<T> Drop for Send<'_, T> {
    fn drop(&mut self) {
        self.shared.leave(&mut self.ticket, |core| &mut core.room);
    }
}

impl<T> fmt::Debug for Send<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Send").field("channel", self.shared).finish_non_exhaustive()
    }
}
