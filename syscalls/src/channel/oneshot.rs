//! One value, from one task to another.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use trapline_abi::WaitQueue;

use crate::channel::error::{Closed, SendError, TryRecvError};
use crate::channel::queues;
use crate::line::{Line, Pool};
use crate::pace::{Claim, spend};

/// A channel for one value. The sender never waits.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let (sender, receiver) = trapline::channel::oneshot();
/// trapline::spawn_detached(async move { sender.send(6 * 7).unwrap() });
/// assert_eq!(receiver.await, Ok(42));
/// # }).unwrap();
/// ```
///
/// # Cost
/// One allocation. What its receiver waits in is used again by later ones.
///
/// # Kin
/// tokio's `oneshot`; a future in the sense of curio's `UniversalEvent` with a value.
#[track_caller]
pub fn oneshot<T>() -> (Sender<T>, Receiver<T>) {
    let site = Location::caller();
    let shot = Rc::new(Shot {
        value: RefCell::new(None),
        come: Line::draw(&IDLE, "the value of a oneshot", site),
        gone: queues::queue("the receiver of a oneshot to be gone", 0, site),
        sender_is_gone: Cell::new(false),
        closed: Cell::new(false),
    });
    (Sender { shot: Rc::clone(&shot) }, Receiver { wait: None, shot })
}

thread_local! {
    static IDLE: Pool = const { RefCell::new(Vec::new()) };
}

struct Shot<T> {
    value: RefCell<Option<T>>,
    /// A token for the value.
    come: Line,
    gone: WaitQueue,
    sender_is_gone: Cell<bool>,
    /// By the receiver, which may be gone.
    closed: Cell<bool>,
}

impl<T> Shot<T> {
    /// Nothing is here, and nothing will come.
    fn is_over(&self) -> bool {
        (self.sender_is_gone.get() || self.closed.get()) && !self.has_value()
    }

    fn has_value(&self) -> bool {
        self.value.borrow().is_some()
    }

    fn take(&self) -> Option<T> {
        let value = self.value.borrow_mut().take();
        if value.is_some() {
            self.come.queue.tell("count", || 0);
        }
        value
    }

    fn close(&self) {
        if !self.closed.replace(true) {
            self.come.queue.tell("closed", || 1);
            self.gone.wake_all();
        }
    }
}

impl<T> fmt::Debug for Shot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oneshot")
            .field("has_value", &self.has_value())
            .field("closed", &self.closed.get())
            .field("sender_is_gone", &self.sender_is_gone.get())
            .finish()
    }
}

/// Sends the one value. See [`oneshot`].
pub struct Sender<T> {
    shot: Rc<Shot<T>>,
}

impl<T> Sender<T> {
    /// Sends the value. It does not wait.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, mut receiver) = trapline::channel::oneshot();
    /// sender.send(7).unwrap();
    /// assert_eq!(receiver.try_recv(), Ok(7));
    /// ```
    ///
    /// # Errors
    /// [`SendError`] with the value, if the receiver is gone or was closed.
    ///
    /// # Cost
    /// No trap, O(1).
    pub fn send(self, value: T) -> Result<(), SendError<T>> {
        if self.shot.closed.get() {
            return Err(SendError(value));
        }
        *self.shot.value.borrow_mut() = Some(value);
        self.shot.come.queue.tell("count", || 1);
        self.shot.come.queue.wake();
        spend();
        Ok(())
    }

    /// Whether the receiver is gone, or was closed.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::oneshot::<u8>();
    /// assert!(!sender.is_closed());
    /// drop(receiver);
    /// assert!(sender.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shot.closed.get()
    }

    /// Waits until the receiver is gone, or was closed: then nobody needs the value any more.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    ///
    /// let (sender, receiver) = trapline::channel::oneshot::<u8>();
    /// let asker = trapline::spawn(async move {
    ///     // Nobody wants the answer any more after a second.
    ///     trapline::sleep(Duration::from_secs(1)).await;
    ///     drop(receiver);
    /// });
    /// asker.await.detach();
    /// let answer = async {
    ///     trapline::sleep(Duration::from_secs(60)).await;
    ///     Some(7)
    /// };
    /// let gone = async {
    ///     sender.closed().await;
    ///     None
    /// };
    /// assert_eq!(trapline::race(gone, answer).await, None);
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If it has to wait outside a task.
    ///
    /// # Cancel safety
    /// Safe: it changes nothing.
    ///
    /// # Cost
    /// One trap, where the receiver is there.
    #[track_caller]
    pub fn closed(&self) -> ReceiverGone<'_> {
        ReceiverGone { closed: &self.shot.closed, wait: Claim::new(&self.shot.gone) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shot.sender_is_gone.set(true);
        if self.shot.is_over() {
            self.shot.come.queue.wake_all();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.shot).finish()
    }
}

/// The future of [`Sender::closed`].
#[derive(Debug)]
#[must_use = "nothing is waited for until this is awaited"]
pub struct ReceiverGone<'a> {
    closed: &'a Cell<bool>,
    wait: Claim<'a>,
}

impl Future for ReceiverGone<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let closed = self.closed;
        self.wait.poll_over(cx, || closed.get())
    }
}

/// Receives the one value: await it. See [`oneshot`].
///
/// [`recv`](Receiver::recv) does the same by reference, at the line it is called at. Here the line that
/// is shown for the wait is that of the `.await`; of whoever polls it, inside a combinator.
///
/// # Errors
/// [`Closed`], if the sender went without sending.
///
/// # Cancel safety
/// Safe, through `&mut receiver`: the value stays where it is.
///
/// # Cost
/// No trap where the value is there; else one.
#[must_use = "dropping the receiver tells the sender that nobody needs the value"]
pub struct Receiver<T> {
    /// Dropped before the rest, whose queue it waits in.
    wait: Option<Claim<'static>>,
    shot: Rc<Shot<T>>,
}

impl<T> Receiver<T> {
    /// Waits for the value, and takes it.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let (sender, mut receiver) = trapline::channel::oneshot::<u32>();
    /// drop(sender);
    /// assert_eq!(receiver.recv().await, Err(trapline::channel::Closed));
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`Closed`], if the sender went without sending, or the value has been taken.
    ///
    /// # Panics
    /// If it has to wait outside a task; if it is polled again after it was ready.
    ///
    /// # Cancel safety
    /// Safe: the value stays where it is.
    ///
    /// # Cost
    /// No trap where the value is there; else one.
    ///
    /// # Kin
    /// tokio's `oneshot::Receiver`.
    #[track_caller]
    pub fn recv(&mut self) -> Recv<'_, T> {
        self.wait = None;
        Recv::new(&self.shot)
    }

    /// Takes the value, if it is there.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use trapline::channel::TryRecvError;
    ///
    /// let (sender, mut receiver) = trapline::channel::oneshot();
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// sender.send(7).unwrap();
    /// assert_eq!(receiver.try_recv(), Ok(7));
    /// ```
    ///
    /// # Errors
    /// [`TryRecvError::Empty`]; [`TryRecvError::Closed`] if none will come.
    ///
    /// # Cost
    /// No trap, O(1).
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.wait = None;
        if self.shot.come.queue.try_take()
            && let Some(value) = self.shot.take()
        {
            spend();
            return Ok(value);
        }
        Err(if self.shot.is_over() { TryRecvError::Closed } else { TryRecvError::Empty })
    }

    /// Tells the sender that no value is needed. One that was sent before may still be taken.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, mut receiver) = trapline::channel::oneshot();
    /// receiver.close();
    /// assert!(sender.send(7).is_err());
    /// ```
    ///
    /// # Cost
    /// No trap; O(waiters).
    pub fn close(&mut self) {
        self.wait = None;
        self.shot.close();
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, Closed>;

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.wait.is_none() {
            // Not `get_or_insert_with`: its closure would hide the caller's line.
            this.wait = Some(Claim::new(this.shot.come.queue));
        }
        let wait = this.wait.as_mut().expect("it was put there above");
        let comes = ready!(wait.poll(cx, || this.shot.is_over()));
        this.wait = None;
        Poll::Ready(if comes { this.shot.take().ok_or(Closed) } else { Err(Closed) })
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
        let untaken = self.shot.take();
        drop(untaken);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.shot).finish()
    }
}

/// The future of [`Receiver::recv`].
#[must_use = "nothing is received until this is awaited"]
pub struct Recv<'a, T> {
    /// `None` when it has been ready.
    shot: Option<&'a Shot<T>>,
    come: Claim<'a>,
}

impl<'a, T> Recv<'a, T> {
    #[track_caller]
    fn new(shot: &'a Shot<T>) -> Recv<'a, T> {
        Recv { shot: Some(shot), come: Claim::new(shot.come.queue) }
    }
}

impl<T> Future for Recv<'_, T> {
    type Output = Result<T, Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let shot = self.shot.expect("a recv was polled again after it was ready");
        let comes = ready!(self.come.poll(cx, || shot.is_over()));
        self.shot = None;
        Poll::Ready(if comes { shot.take().ok_or(Closed) } else { Err(Closed) })
    }
}

impl<T> fmt::Debug for Recv<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recv").field("oneshot", &self.shot).finish_non_exhaustive()
    }
}
