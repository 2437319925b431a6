//! Coroutines: blocks that values are sent to.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use thiserror::Error;
use trapline_abi::Ring;

use crate::generator::outlet::{Bell, Outlet, Place, used_elsewhere};
use crate::generator::{CoroutineSink, Yielding, awaited_something_else};

/// An `async` block that values are sent to, and that may reply.
///
/// It needs no priming: the first [`send`](Coroutine::send) runs the block up to its first
/// [`receive`](Mailbox::receive) before it hands the value over. In the course a decorator,
/// `@coroutine`, called `next()` once for that.
///
/// ```
/// use trapline_syscalls::generator::{Coroutine, Mailbox};
///
/// let mut found = Vec::new();
/// let grep = Coroutine::new(async |mailbox: Mailbox<&str>| {
///     while let Some(line) = mailbox.receive().await {
///         if line.contains("python") {
///             found.push(line);
///         }
///     }
/// });
/// grep.send("Yeah, but no, but yeah, but no")?;
/// grep.send("python generators rock!")?;
/// grep.close();
/// drop(grep);
/// assert_eq!(found, ["python generators rock!"]);
/// # Ok::<(), trapline_syscalls::generator::Finished>(())
/// ```
///
/// A clone is another handle of the same block: so several coroutines can hold one target, as in a
/// broadcast whose branches end at one printer. A coroutine that ends drops its targets' handles.
///
/// **The end.** [`close`](Coroutine::close) lets the block end: its `receive` gives `None`, after
/// which it may still send to others, and returns. When the last handle is dropped instead, so is
/// the block where it stands, and nothing but its destructors runs. Errors are sent as values: a
/// `Coroutine<Result<Line, Error>>` is what Python does with `throw`, and its `receive().await`
/// wants a `?`.
///
/// A block that panics is dropped, and the panic goes on in whoever resumed it; after that the
/// coroutine has ended.
///
/// # Cost
/// Three allocations for the coroutine; none for a value.
///
/// # Kin
/// Python's coroutines (PEP 342).
pub struct Coroutine<'a, In, Out = ()> {
    inner: Rc<Inner<'a, In, Out>>,
}

type Block<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

struct Inner<'a, In, Out> {
    /// `None` while it runs, and when it has ended.
    block: Cell<Option<Block<'a>>>,
    has_ended: Cell<bool>,
    /// The sink for which it is in the middle of something.
    busy_for: Cell<Option<u64>>,
    sinks: Cell<u64>,
    desk: Rc<Desk<In, Out>>,
    site: &'static Location<'static>,
}

/// What the block and its driver hand each other.
struct Desk<In, Out> {
    inbox: Place<In>,
    /// A `receive` waits.
    waits: Cell<bool>,
    bell: Bell,
    end: Cell<End>,
    received: Cell<u64>,
    outlet: Outlet<Out>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Closed,
    /// Closed, and the block knows.
    Told,
}

/// The coroutine has ended: its block returned, was closed, or panicked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the coroutine has ended")]
pub struct Finished;

/// What comes of resuming a block.
pub(crate) enum Halt<Out> {
    /// It replied.
    Replied(Out),
    /// It waits for a value.
    Wants,
    /// It awaits something else.
    Busy,
    Ended,
}

impl<'a, In: 'a, Out: 'a> Coroutine<'a, In, Out> {
    /// A coroutine that runs `body`. Nothing of it runs before the first value is sent.
    ///
    /// `body` is an `async` closure that takes the [`Mailbox`], or a closure that returns a future.
    #[track_caller]
    pub fn new<B>(body: B) -> Coroutine<'a, In, Out>
    where
        B: AsyncFnOnce(Mailbox<In, Out>) + 'a,
    {
        let desk = Rc::new(Desk {
            inbox: Place::new(),
            waits: Cell::new(false),
            bell: Bell::default(),
            end: Cell::new(End::Open),
            received: Cell::new(0),
            outlet: Outlet::new(),
        });
        let mailbox = Mailbox { desk: Rc::clone(&desk) };
        let block: Block<'a> = Box::pin(async move { body(mailbox).await });
        Coroutine {
            inner: Rc::new(Inner {
                block: Cell::new(Some(block)),
                has_ended: Cell::new(false),
                busy_for: Cell::new(None),
                sinks: Cell::new(0),
                desk,
                site: Location::caller(),
            }),
        }
    }

    /// The same as a [`Sink`](futures::Sink) of values and a [`Stream`](futures::Stream) of replies,
    /// to be driven inside a task: the block may make system calls and await any other future.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use futures::{SinkExt, StreamExt};
    /// use trapline::generator::Coroutine;
    ///
    /// let mut clerk = Coroutine::new(async |mailbox| {
    ///     while let Some(seconds) = mailbox.receive().await {
    ///         trapline::sleep(Duration::from_secs(seconds)).await;
    ///         mailbox.reply(seconds * 2).await;
    ///     }
    /// })
    /// .into_sink();
    /// clerk.send(21).await?;
    /// assert_eq!(clerk.next().await, Some(42));
    /// clerk.close().await?;
    /// # Ok::<(), trapline::generator::Finished>(())
    /// # }).unwrap().unwrap();
    /// ```
    #[must_use = "a sink does nothing until it is sent to"]
    pub fn into_sink(self) -> CoroutineSink<'a, In, Out> {
        let number = self.inner.sinks.get() + 1;
        self.inner.sinks.set(number);
        CoroutineSink::new(self, number)
    }
}

impl<'a, In, Out> Coroutine<'a, In, Out> {
    /// Hands `value` to the block, runs it until it waits for the next one or replies, and gives
    /// the reply.
    ///
    /// Replies to earlier values that nobody took are dropped.
    ///
    /// # Errors
    /// [`Finished`] if the block has ended without taking the value.
    ///
    /// # Panics
    /// If the block makes a system call or awaits anything else that is not ready; if it is running
    /// already (it was sent to from within), or busy for a [`CoroutineSink`].
    ///
    /// # Cost
    /// No allocation and no trap.
    ///
    /// # Kin
    /// Python's `generator.send`.
    pub fn send(&self, value: In) -> Result<Option<Out>, Finished> {
        while !self.wants() {
            if let Halt::Ended = self.resume_now() {
                return Err(Finished);
            }
        }
        self.put(value);
        match self.resume_now() {
            Halt::Replied(reply) => Ok(Some(reply)),
            Halt::Ended if self.has_untaken() => Err(Finished),
            Halt::Ended | Halt::Wants | Halt::Busy => Ok(None),
        }
    }

    /// Runs the block until it replies, and gives that: for those that reply more than once to a
    /// value. `None` if it waits for the next value or has ended.
    ///
    /// # Panics
    /// As [`send`](Coroutine::send).
    ///
    /// # Kin
    /// Python's `next(generator)`.
    #[must_use = "the reply is gone otherwise"]
    pub fn reply(&self) -> Option<Out> {
        match self.resume_now() {
            Halt::Replied(reply) => Some(reply),
            Halt::Ended | Halt::Wants | Halt::Busy => None,
        }
    }

    /// Lets the block end: its [`receive`](Mailbox::receive) gives `None`, and it runs until it
    /// returns. Replies are dropped. Nothing happens if it has ended before.
    ///
    /// A block that was never resumed is run, too.
    ///
    /// # Panics
    /// As [`send`](Coroutine::send); and if the block calls `receive` again after its `None`.
    ///
    /// # Kin
    /// Python's `generator.close`, whose block sees a `GeneratorExit`.
    pub fn close(&self) {
        self.announce_end();
        while !matches!(self.resume_now(), Halt::Ended) {}
    }

    /// Sends it each value of `source`, then closes it: an iterator over all its replies.
    ///
    /// ```
    /// use trapline_syscalls::generator::Coroutine;
    ///
    /// let pairs = Coroutine::new(async |mailbox| {
    ///     while let Some(first) = mailbox.receive().await {
    ///         let second = mailbox.receive().await;
    ///         mailbox.reply((first, second)).await;
    ///         if second.is_none() {
    ///             return;
    ///         }
    ///     }
    /// });
    /// let paired = pairs.over(1..=3).collect::<Vec<_>>();
    /// assert_eq!(paired, [(1, Some(2)), (3, None)]);
    /// ```
    pub fn over<I>(self, source: I) -> Over<'a, I::IntoIter, In, Out>
    where
        I: IntoIterator<Item = In>,
    {
        Over { coroutine: self, source: source.into_iter() }
    }

    /// Whether the block has returned, or panicked.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.inner.has_ended.get()
    }

    /// Resumes it where nobody can wait.
    fn resume_now(&self) -> Halt<Out> {
        let _hidden = Ring::hide();
        assert!(
            self.inner.busy_for.get().is_none(),
            "a coroutine is in the middle of a system call for a sink: use it by that sink only"
        );
        let halt = self.resume(&mut Context::from_waker(Waker::noop()));
        if matches!(halt, Halt::Busy) {
            self.inner.has_ended.set(true);
            drop(self.inner.block.take());
            awaited_something_else("coroutine", "`Sink` (`Coroutine::into_sink`)");
        }
        halt
    }

    /// Resumes the block, which is out of its place meanwhile: if it panics, it is gone.
    pub(crate) fn resume(&self, cx: &mut Context<'_>) -> Halt<Out> {
        /// Also where the block panics.
        struct Ending<'a>(&'a Cell<bool>);
        impl Drop for Ending<'_> {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }

        let inner = &*self.inner;
        if inner.has_ended.get() {
            return Halt::Ended;
        }
        let Some(mut block) = inner.block.take() else { resumed_by_itself() };
        let ending = Ending(&inner.has_ended);
        match inner.desk.outlet.resume(block.as_mut(), cx) {
            Poll::Ready(()) => Halt::Ended,
            Poll::Pending => {
                std::mem::forget(ending);
                inner.block.set(Some(block));
                match inner.desk.outlet.take() {
                    Some(reply) => Halt::Replied(reply),
                    None if self.wants() => Halt::Wants,
                    None => Halt::Busy,
                }
            }
        }
    }

    /// Whether it waits for a value, and there is none, nor the end.
    pub(crate) fn wants(&self) -> bool {
        let desk = &*self.inner.desk;
        desk.waits.get() && desk.end.get() == End::Open && !self.has_untaken()
    }

    /// Whether there is a value that the block has not taken.
    pub(crate) fn has_untaken(&self) -> bool {
        self.inner.desk.inbox.is_full()
    }

    pub(crate) fn put(&self, value: In) {
        self.inner.desk.inbox.put(value);
        self.inner.desk.bell.ring();
    }

    pub(crate) fn announce_end(&self) {
        let end = &self.inner.desk.end;
        if end.get() == End::Open {
            end.set(End::Closed);
            self.inner.desk.bell.ring();
        }
    }

    /// The sink for which it is in the middle of something.
    pub(crate) fn busy_for(&self) -> &Cell<Option<u64>> {
        &self.inner.busy_for
    }

    pub(crate) fn site(&self) -> &'static Location<'static> {
        self.inner.site
    }
}

#[cold]
#[inline(never)]
fn resumed_by_itself() -> ! {
    panic!("a coroutine was sent to while it runs: it, or one that it sends to, sends to itself")
}

impl<In, Out> Clone for Coroutine<'_, In, Out> {
    fn clone(&self) -> Self {
        Coroutine { inner: Rc::clone(&self.inner) }
    }
}

impl<In, Out> fmt::Debug for Coroutine<'_, In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.inner;
        f.debug_struct("Coroutine")
            .field("finished", &inner.has_ended.get())
            .field("received", &inner.desk.received.get())
            .field("replied", &inner.desk.outlet.count())
            .field("site", &format_args!("{}", inner.site))
            .finish_non_exhaustive()
    }
}

/// The hand of a coroutine's block: what is sent comes in here, replies go out.
pub struct Mailbox<In, Out = ()> {
    desk: Rc<Desk<In, Out>>,
}

impl<In, Out> Mailbox<In, Out> {
    /// Waits for the next value. `None` is the end: the coroutine is being closed, and the block
    /// should return. It is given once, so that a block that does not look cannot spin.
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

/// The replies of a coroutine to all values of a source. See [`Coroutine::over`].
#[derive(Debug)]
#[must_use = "an iterator does nothing until it is asked for values"]
pub struct Over<'a, I, In, Out> {
    coroutine: Coroutine<'a, In, Out>,
    source: I,
}

impl<I, In, Out> Iterator for Over<'_, I, In, Out>
where
    I: Iterator<Item = In>,
{
    type Item = Out;

    fn next(&mut self) -> Option<Out> {
        loop {
            match self.coroutine.resume_now() {
                Halt::Replied(reply) => return Some(reply),
                Halt::Ended => return None,
                Halt::Wants | Halt::Busy => match self.source.next() {
                    Some(value) => self.coroutine.put(value),
                    None => self.coroutine.announce_end(),
                },
            }
        }
    }
}
