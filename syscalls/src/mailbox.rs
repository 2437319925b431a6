//! Mailboxes: a message to a task, by its id.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use trapline_abi::{
    Beside, CallId, ErasedOwnCall, KernelFace, Ring, Syscall, TaskId, Trap, Verdict,
};

use crate::channel::SendError;
use crate::line::{Line, Pool};
use crate::pace::{Claim, Pace, spend};

/// Sends a message to a task, by its id. It does not wait for the task to receive it.
///
/// Each task has a mailbox for each type of message, without bound; it goes, with the messages in it,
/// when the task ends.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let echo = trapline::spawn(async { trapline::receive::<String>().await }).await;
/// trapline::send(echo.id(), String::from("hello")).await.unwrap();
/// assert_eq!(echo.await.unwrap(), "hello");
/// # }).unwrap();
/// ```
///
/// # Errors
/// [`SendError`] with the message, if the task has ended, or no task has ever had this id.
///
/// # Panics
/// Outside a task; if it is polled again after it was ready.
///
/// # Cancel safety
/// Lossy: dropped before it is polled, the message goes with the future. Dropped later, but before it
/// is ready, the message may have been sent.
///
/// # Cost
/// One trap and an allocation for the first message of its type to a task; no trap for the others.
///
/// # Kin
/// Erlang's `!`; `mq_send(3)`; in Beazley's course, `send` to a coroutine.
#[track_caller]
pub fn send<M: 'static>(to: TaskId, message: M) -> SendTo<M> {
    let site = Location::caller();
    let trap = Trap::new(Syscall::Own, site);
    SendTo { to, site, message: Some(message), pace: Pace::new(), trap }
}

/// Waits for a message of type `M` to the calling task, and takes it. They come in the order in which
/// they were sent.
///
/// The mailbox is that of the task which calls this, also if the future is awaited elsewhere.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let adder = trapline::spawn(async {
///     let (first, second): (u32, u32) = trapline::receive().await;
///     first + second
/// });
/// let adder = adder.await;
/// trapline::send(adder.id(), (20_u32, 22_u32)).await.unwrap();
/// assert_eq!(adder.await.unwrap(), 42);
/// # }).unwrap();
/// ```
///
/// # Panics
/// Outside a task; if it is polled again after it was ready.
///
/// # Cancel safety
/// Safe: a future that is dropped has taken nothing.
///
/// # Cost
/// No trap where there is a message; else one. Allocates for the first of its type in a task.
///
/// # Kin
/// Erlang's `receive`; `mq_receive(3)`.
#[track_caller]
pub fn receive<M: 'static>() -> Receive<M> {
    let tray = own_tray::<M>();
    Receive { come: Claim::new(tray.line.queue), tray: Some(tray) }
}

/// Takes a message of type `M` to the calling task, if there is one.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let child = trapline::spawn(async { trapline::try_receive::<&str>() }).await;
/// trapline::send(child.id(), "a letter").await.unwrap();
/// assert_eq!(child.await.unwrap(), Some("a letter"));
/// # }).unwrap();
/// ```
///
/// # Panics
/// Outside a task.
///
/// # Cost
/// No trap, O(1).
#[must_use]
#[track_caller]
pub fn try_receive<M: 'static>() -> Option<M> {
    let tray = own_tray::<M>();
    if !tray.line.queue.try_take() {
        return None;
    }
    spend();
    tray.take()
}

/// The messages of one type to one task.
struct Tray<M> {
    messages: RefCell<VecDeque<M>>,
    /// A token for each message that is not promised to a future which waited for it.
    line: Line,
}

impl<M: 'static> Tray<M> {
    /// The tray of a task that lives; made, if it has none.
    fn of(ring: &Ring, task: TaskId, site: &'static Location<'static>) -> Rc<Tray<M>> {
        ring.kept_for(task).unwrap_or_else(|| {
            let tray = Rc::new(Tray {
                messages: RefCell::default(),
                line: Line::draw(&IDLE, "a message to this task", site),
            });
            ring.keep_for(task, Rc::clone(&tray));
            tray
        })
    }

    fn put(&self, message: M) {
        self.messages.borrow_mut().push_back(message);
        self.tell_count();
        self.line.queue.wake();
    }

    fn take(&self) -> Option<M> {
        let message = self.messages.borrow_mut().pop_front();
        self.tell_count();
        message
    }

    fn tell_count(&self) {
        self.line.queue.tell("count", || self.messages.borrow().len() as u64);
    }
}

/// The calling task's own tray.
#[track_caller]
fn own_tray<M: 'static>() -> Rc<Tray<M>> {
    let ring = Ring::of_running_task();
    let task = ring.running().expect("the ring of a running task has one");
    Tray::of(ring, task, Location::caller())
}

thread_local! {
    static IDLE: Pool = const { RefCell::new(Vec::new()) };
}

/// A message on its way to a task that has no tray for it yet.
struct Letter<M> {
    to: TaskId,
    site: &'static Location<'static>,
    /// `None` when it has been delivered.
    message: Option<M>,
}

impl<M: 'static> ErasedOwnCall for Letter<M> {
    fn name(&self) -> &'static str {
        "send"
    }

    fn serve(&mut self, kernel: &mut dyn KernelFace, _call: CallId) -> Verdict {
        if kernel.is_alive(self.to)
            && let Some(ring) = Ring::current()
            && let Some(message) = self.message.take()
        {
            Tray::of(ring, self.to, self.site).put(message);
        }
        Verdict::Answer
    }

    fn accept(&mut self, reply: Box<dyn Any>) -> Result<(), Box<dyn Any>> {
        Err(reply)
    }
}

/// The future of [`send`].
#[must_use = "nothing is sent until this is awaited"]
pub struct SendTo<M> {
    to: TaskId,
    site: &'static Location<'static>,
    message: Option<M>,
    pace: Pace,
    trap: Trap,
}

impl<M> Unpin for SendTo<M> {}

impl<M: 'static> Future for SendTo<M> {
    type Output = Result<(), SendError<M>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.trap.is_unborn() {
            let ring = Ring::of_running_task();
            ready!(self.pace.poll(cx));
            let message = self.message.take();
            let message = message.expect("a send was polled again after it was ready");
            if let Some(tray) = ring.kept_for::<Tray<M>>(self.to) {
                self.pace.count();
                tray.put(message);
                return Poll::Ready(Ok(()));
            }
            let letter = Letter { to: self.to, site: self.site, message: Some(message) };
            self.trap.submit(Beside::Own(Box::new(letter)), cx);
            return Poll::Pending;
        }
        let (_, beside) = ready!(self.trap.poll_reply_and_beside(cx));
        let Beside::Own(letter) = beside else { return Poll::Ready(Ok(())) };
        let letter: Box<dyn Any> = letter;
        let undelivered = letter.downcast::<Letter<M>>().ok().and_then(|letter| letter.message);
        Poll::Ready(undelivered.map_or(Ok(()), |message| Err(SendError(message))))
    }
}

impl<M> fmt::Debug for SendTo<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendTo").field("to", &self.to).finish_non_exhaustive()
    }
}

/// The future of [`receive`].
#[must_use = "nothing is received until this is awaited"]
pub struct Receive<M> {
    /// Dropped before the tray, whose queue it waits in.
    come: Claim<'static>,
    /// `None` when it has been ready.
    tray: Option<Rc<Tray<M>>>,
}

impl<M: 'static> Future for Receive<M> {
    type Output = M;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<M> {
        assert!(self.tray.is_some(), "a receive was polled again after it was ready");
        ready!(self.come.poll(cx, || false));
        let message = self.tray.take().and_then(|tray| tray.take());
        Poll::Ready(message.expect("a token of a mailbox stands for a message (one-token)"))
    }
}

impl<M> fmt::Debug for Receive<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.tray.as_ref().map(|tray| tray.messages.borrow().len());
        f.debug_struct("Receive").field("messages", &waiting).finish_non_exhaustive()
    }
}
