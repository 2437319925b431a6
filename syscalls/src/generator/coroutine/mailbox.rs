//! What passes between a coroutine's block and those who drive it.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::generator::Yielding;
use crate::generator::outlet::{Bell, Outlet, Place, used_elsewhere};

/// The hand of a coroutine's block: what is sent comes in here, replies go out.
///
/// ```
/// # use trapline_syscalls as trapline;
/// use trapline::generator::{Coroutine, Mailbox};
///
/// async fn double(mailbox: Mailbox<u32, u32>) {
///     while let Some(number) = mailbox.receive().await {
///         mailbox.reply(2 * number).await;
///     }
/// }
///
/// let doubler = Coroutine::new(double);
/// assert_eq!(doubler.send(21), Ok(Some(42)));
/// ```
pub struct Mailbox<In, Out = ()> {
    desk: Rc<Desk<In, Out>>,
}

impl<In, Out> Mailbox<In, Out> {
    pub(super) fn new(desk: &Rc<Desk<In, Out>>) -> Mailbox<In, Out> {
        Mailbox { desk: Rc::clone(desk) }
    }

    /// Waits for the next value. `None` is the end: the coroutine is being closed, and the block
    /// should return. It is given once, so that a block that does not look cannot spin.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use trapline::generator::{Coroutine, Mailbox};
    ///
    /// let pairs = Coroutine::new(async |mailbox: Mailbox<u32, u32>| {
    ///     while let Some(first) = mailbox.receive().await {
    ///         let Some(second) = mailbox.receive().await else { return };
    ///         mailbox.reply(first + second).await;
    ///     }
    /// });
    /// assert_eq!(pairs.send(40), Ok(None));
    /// assert_eq!(pairs.send(2), Ok(Some(42)));
    /// ```
    ///
    /// # Panics
    /// When it is polled outside the coroutine that it was made for, while another `receive` of it
    /// waits, or after one has given `None`.
    ///
    /// # Cancel safety
    /// Safe: a value that was not taken comes to the next `receive`.
    ///
    /// # Cost
    /// No allocation and no trap.
    ///
    /// # Kin
    /// Python's `(yield)`.
    pub fn receive(&self) -> Receive<'_, In, Out> {
        Receive { mailbox: self, waits: false, done: false }
    }

    /// Gives a reply, and goes on when the coroutine is resumed after somebody took it.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use trapline::generator::{Coroutine, Mailbox};
    ///
    /// let echo = Coroutine::new(async |mailbox: Mailbox<u32, u32>| {
    ///     while let Some(value) = mailbox.receive().await {
    ///         mailbox.reply(value).await;
    ///     }
    /// });
    /// assert_eq!(echo.over(1..=3).collect::<Vec<_>>(), [1, 2, 3]);
    /// ```
    ///
    /// # Panics
    /// When it is polled outside the coroutine that it was made for, or while another reply has not
    /// been taken.
    ///
    /// # Cancel safety
    /// Safe: a reply that was not taken is dropped with this.
    ///
    /// # Kin
    /// Python's `yield reply`.
    pub fn reply(&self, reply: Out) -> Yielding<'_, Out> {
        Yielding::new(&self.desk.outlet, "mailbox", reply)
    }
}

impl<In, Out> fmt::Debug for Mailbox<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("received", &self.desk.received.get())
            .field("replied", &self.desk.outlet.count())
            .finish_non_exhaustive()
    }
}

/// The future of [`Mailbox::receive`].
///
/// ```
/// # use trapline_syscalls as trapline;
/// use trapline::generator::{Coroutine, Mailbox};
///
/// let pairs = Coroutine::new(async |mailbox: Mailbox<u32, u32>| {
///     let first = mailbox.receive();
///     let first = first.await.unwrap();
///     let second = mailbox.receive().await.unwrap();
///     mailbox.reply(first + second).await;
/// });
/// assert_eq!(pairs.send(40), Ok(None));
/// assert_eq!(pairs.send(2), Ok(Some(42)));
/// ```
#[derive(Debug)]
#[must_use = "nothing is received until this is awaited"]
pub struct Receive<'a, In, Out> {
    mailbox: &'a Mailbox<In, Out>,
    waits: bool,
    done: bool,
}

impl<In, Out> Receive<'_, In, Out> {
    fn stop_waiting(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.mailbox.desk.waits.set(false);
        }
    }
}

impl<In, Out> Future for Receive<'_, In, Out> {
    type Output = Option<In>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<In>> {
        let desk = &*self.mailbox.desk;
        if !desk.outlet.is_resumed() {
            used_elsewhere("mailbox")
        }
        assert!(!self.done, "a receive was polled again after it was ready");
        if !self.waits {
            assert!(!desk.waits.get(), "a coroutine receives twice at once");
            assert!(desk.end.get() != End::Told, "a coroutine went on receiving after its end");
        }
        let value = desk.inbox.take();
        if value.is_some() || desk.end.get() == End::Closed {
            match value {
                Some(_) => desk.received.set(desk.received.get() + 1),
                None => desk.end.set(End::Told),
            }
            self.done = true;
            self.stop_waiting();
            return Poll::Ready(value);
        }
        if desk.outlet.is_foreign(cx) {
            desk.bell.attend(cx);
        }
        desk.waits.set(true);
        self.waits = true;
        Poll::Pending
    }
}

impl<In, Out> Drop for Receive<'_, In, Out> {
    fn drop(&mut self) {
        self.stop_waiting();
    }
}

/// What the block and its driver hand each other.
pub(super) struct Desk<In, Out> {
    inbox: Place<In>,
    /// A `receive` waits.
    waits: Cell<bool>,
    bell: Bell,
    end: Cell<End>,
    received: Cell<u64>,
    pub(super) outlet: Outlet<Out>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Closed,
    /// Closed, and the block knows.
    Told,
}

impl<In, Out> Desk<In, Out> {
    pub(super) fn new() -> Desk<In, Out> {
        Desk {
            inbox: Place::new(),
            waits: Cell::new(false),
            bell: Bell::default(),
            end: Cell::new(End::Open),
            received: Cell::new(0),
            outlet: Outlet::new(),
        }
    }

    /// Whether the block waits for a value, and there is none, nor the end.
    pub(super) fn wants(&self) -> bool {
        self.waits.get() && self.end.get() == End::Open && !self.has_untaken()
    }

    /// Whether there is a value that the block has not taken.
    pub(super) fn has_untaken(&self) -> bool {
        self.inbox.is_full()
    }

    pub(super) fn put(&self, value: In) {
        self.inbox.put(value);
        self.bell.ring();
    }

    pub(super) fn announce_end(&self) {
        if self.end.get() == End::Open {
            self.end.set(End::Closed);
            self.bell.ring();
        }
    }

    /// How many values the block has taken.
    pub(super) fn received(&self) -> u64 {
        self.received.get()
    }
}
