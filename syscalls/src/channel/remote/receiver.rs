//! The receiving end of a remote channel.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use futures::Stream;

use crate::channel::error::TryRecvError;
use crate::channel::remote::block::block;
use crate::channel::remote::core::{Core, Shared, Ticket};
use crate::pace::{Pace, may_try, spend};

/// Receives values, in a task or a thread. See [`remote`](crate::channel::remote()).
///
/// It is a [`Stream`], too. A stream that was polled and had nothing stands in line until it is
/// polled again or dropped.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use futures::StreamExt;
///
/// let (sender, receiver) = trapline::channel::remote(1);
/// let thread = std::thread::spawn(move || (0..3).try_for_each(|number| sender.send_blocking(number)));
/// // As a stream.
/// assert_eq!(receiver.collect::<Vec<u32>>().await, [0, 1, 2]);
/// thread.join().unwrap().unwrap();
/// # }).unwrap();
/// ```
pub struct Receiver<T> {
    pub(super) shared: Arc<Shared<T>>,
    /// The stream's place in the line.
    pub(super) line: Ticket,
    /// Whether the stream has given way to the others, and may try.
    pub(super) has_rested: bool,
}

impl<T> Receiver<T> {
    /// Waits, in a task, for a value, and takes it. `None` is the end: the channel is closed, and
    /// empty.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::remote(1);
    /// let thread = std::thread::spawn(move || sender.send_blocking(7));
    /// assert_eq!(receiver.recv().await, Some(7));
    /// assert_eq!(receiver.recv().await, None);
    /// thread.join().unwrap().unwrap();
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If it is polled again after it was ready.
    ///
    /// # Cancel safety
    /// Safe: a future that is dropped has taken nothing.
    ///
    /// # Cost
    /// No trap; a lock. Where it waits, a clone of the task's waker.
    #[track_caller]
    pub fn recv(&self) -> Recv<'_, T> {
        Recv { shared: Some(&self.shared), pace: Pace::new(), ticket: Ticket::default() }
    }

    /// Receives in a thread, and blocks the thread until there is a value.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::remote(1);
    /// let thread = std::thread::spawn(move || receiver.recv_blocking());
    /// sender.send("to a thread").await.unwrap();
    /// assert_eq!(thread.join().unwrap(), Some("to a thread"));
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// In a task, and in what a task drops: it would stop every task of the thread.
    #[must_use]
    pub fn recv_blocking(&self) -> Option<T> {
        block(self.recv())
    }

    /// Takes a value, if one is there that nobody who waits was given. It never blocks.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::remote(1);
    /// assert!(receiver.try_recv().is_err());
    /// sender.try_send(7).unwrap();
    /// assert_eq!(receiver.try_recv(), Ok(7));
    /// ```
    ///
    /// # Errors
    /// [`TryRecvError::Empty`]; [`TryRecvError::Closed`] at the end.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut core = self.shared.lock();
        if core.items.try_take() {
            let (value, woken) = core.take();
            drop(core);
            spend();
            woken.into_iter().for_each(Waker::wake);
            return Ok(value);
        }
        Err(if core.is_over() { TryRecvError::Closed } else { TryRecvError::Empty })
    }

    /// Closes the channel: nothing goes in any more. Says whether it was open.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::remote(1);
    /// assert!(receiver.close());
    /// assert!(sender.try_send(7).is_err());
    /// ```
    pub fn close(&self) -> bool {
        self.shared.close()
    }

    /// Whether nothing goes in any more: somebody closed it, or no sender is left.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::remote::<u8>(1);
    /// sender.close();
    /// assert!(receiver.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.lock().is_closed()
    }

    /// How many senders there are.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::remote::<u8>(1);
    /// let _another = sender.clone();
    /// assert_eq!(receiver.senders(), 2);
    /// ```
    #[must_use]
    pub fn senders(&self) -> usize {
        self.shared.lock().senders
    }

    /// Whether both are ends of one channel.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (_sender, receiver) = trapline::channel::remote::<u8>(1);
    /// assert!(receiver.same_channel(&receiver.clone()));
    /// ```
    #[must_use]
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// How many values are in it.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::remote(1);
    /// assert!(receiver.is_empty());
    /// sender.try_send(7).unwrap();
    /// assert_eq!(receiver.len(), 1);
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

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        self.shared.lock().receivers += 1;
        let shared = Arc::clone(&self.shared);
        Receiver { shared, line: Ticket::default(), has_rested: false }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.leave(&mut self.line, |core| &mut core.items);
        self.shared.remove_receiver();
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.shared).finish()
    }
}

impl<T> Stream for Receiver<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        if !this.line.is_drawn() && !may_try() && !this.has_rested {
            // It may go to any thread, so it cannot keep a yield: it asks for another turn.
            this.has_rested = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let received = ready!(this.shared.poll_recv(&mut this.line, cx));
        if !std::mem::take(&mut this.has_rested) {
            spend();
        }
        Poll::Ready(received)
    }
}

/// The future of [`Receiver::recv`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
///
/// let (sender, receiver) = trapline::channel::remote(1);
/// let mut recv = receiver.recv();
/// assert!(trapline::timeout(Duration::from_millis(1), &mut recv).await.is_err());
/// // It kept its place in the line.
/// std::thread::spawn(move || sender.try_send(7)).join().unwrap().unwrap();
/// assert_eq!(recv.await, Some(7));
/// # }).unwrap();
/// ```
#[must_use = "nothing is received until this is awaited"]
pub struct Recv<'a, T> {
    /// `None` when it has been ready.
    shared: Option<&'a Shared<T>>,
    pace: Pace,
    ticket: Ticket,
}

impl<T> Future for Recv<'_, T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        let shared = this.shared.expect("a recv was polled again after it was ready");
        if !this.ticket.is_drawn() {
            ready!(this.pace.poll(cx));
        }
        let received = ready!(shared.poll_recv(&mut this.ticket, cx));
        this.pace.count();
        this.shared = None;
        Poll::Ready(received)
    }
}

impl<T> Drop for Recv<'_, T> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared {
            shared.leave(&mut self.ticket, |core: &mut Core<T>| &mut core.items);
        }
    }
}

impl<T> fmt::Debug for Recv<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recv").field("channel", &self.shared).finish_non_exhaustive()
    }
}
