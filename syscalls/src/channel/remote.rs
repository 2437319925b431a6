//! Values from thread to thread: a channel whose ends may live anywhere.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker, ready};
use std::thread::{self, Thread};

use futures::Stream;
use trapline_abi::Ring;

use crate::channel::error::{SendError, TryRecvError, TrySendError};
use crate::channel::remote_core::{Core, Shared, Ticket};
use crate::pace::{Pace, spend};

/// A channel with room for `capacity` values (`usize::MAX`: without bound), whose ends may be sent to
/// other threads: for work that a thread does for a task, or the other way about.
///
/// Tasks await, threads block, and neither stops the scheduler: what would block its thread panics
/// instead. Those who wait are served in the order in which they came, tasks and threads alike.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let (sender, receiver) = trapline::channel::remote(8);
/// let thread = std::thread::spawn(move || sender.send_blocking("from a thread").unwrap());
/// assert_eq!(receiver.recv().await, Some("from a thread"));
/// # thread.join().unwrap();
/// # }).unwrap();
/// ```
///
/// A task that waits here waits for a waker that others hold, and so is shown without a line or a
/// label in the task table; what waits here is never reported as a deadlock, but as stalled.
///
/// # Panics
/// If `capacity` is 0.
///
/// # Cost
/// A lock an operation. Waking a task of another thread ends its scheduler's sleep.
///
/// # Kin
/// `std::sync::mpsc`, one end of which can be awaited; curio's `UniversalQueue`.
#[must_use]
pub fn remote<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a remote channel has room for a value");
    let shared = Arc::new(Shared::new(capacity));
    (Sender { shared: Arc::clone(&shared) }, Receiver { shared, line: Ticket::default() })
}

/// Sends values, from a thread or a task. See [`remote`].
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sends a value from a task, once there is room.
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
    pub fn close(&self) -> bool {
        self.shared.close()
    }

    /// Whether nothing goes in any more: somebody closed it, or no receiver is left.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.lock().is_closed()
    }

    /// How many values are in it.
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

/// Receives values, in a task or a thread. See [`remote`].
///
/// It is a [`Stream`], too. A stream that was polled and had nothing stands in line until it is
/// polled again or dropped.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// The stream's place in the line.
    line: Ticket,
}

impl<T> Receiver<T> {
    /// Waits, in a task, for a value, and takes it. `None` is the end: the channel is closed, and
    /// empty.
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
    /// # Panics
    /// In a task, and in what a task drops: it would stop every task of the thread.
    #[must_use]
    pub fn recv_blocking(&self) -> Option<T> {
        block(self.recv())
    }

    /// Takes a value, if one is there that nobody who waits was given. It never blocks.
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
    pub fn close(&self) -> bool {
        self.shared.close()
    }

    /// Whether nothing goes in any more: somebody closed it, or no sender is left.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.lock().is_closed()
    }

    /// How many values are in it.
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
        Receiver { shared: Arc::clone(&self.shared), line: Ticket::default() }
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
        this.shared.poll_recv(&mut this.line, cx)
    }
}

/// The future of [`Sender::send`].
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

/// The future of [`Receiver::recv`].
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

/// Wakes a thread that is blocked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Blocks the thread until the future is ready.
fn block<F: Future + Unpin>(mut future: F) -> F::Output {
    assert!(
        Ring::current().is_none(),
        "a blocking operation in a task would stop every task of its thread: await the other form"
    );
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(&mut cx) {
            return output;
        }
        thread::park();
    }
}
