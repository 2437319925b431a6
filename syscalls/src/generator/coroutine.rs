//! Coroutines: blocks that values are sent to.

mod mailbox;
mod over;

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use thiserror::Error;
use trapline_abi::Ring;

use crate::generator::{CoroutineSink, awaited_something_else};

pub use mailbox::{Mailbox, Receive};
pub use over::Over;

use mailbox::Desk;

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

/// The coroutine has ended: its block returned, was closed, or panicked.
///
/// ```
/// # use trapline_syscalls as trapline;
/// use trapline::generator::{Coroutine, Finished, Mailbox};
///
/// let once = Coroutine::new(async |mailbox: Mailbox<u32>| {
///     mailbox.receive().await;
/// });
/// assert_eq!(once.send(1), Ok(None), "it took the value, and returned");
/// assert_eq!(once.send(2), Err(Finished));
/// ```
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
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use trapline::generator::{Coroutine, Mailbox};
    ///
    /// let printer = Coroutine::new(async |mailbox: Mailbox<&str>| {
    ///     while let Some(line) = mailbox.receive().await {
    ///         println!("{line}");
    ///     }
    /// });
    /// printer.send("hello").unwrap();
    /// ```
    #[track_caller]
    pub fn new<B>(body: B) -> Coroutine<'a, In, Out>
    where
        B: AsyncFnOnce(Mailbox<In, Out>) + 'a,
    {
        let desk = Rc::new(Desk::new());
        let mailbox = Mailbox::new(&desk);
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
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use trapline::generator::Coroutine;
    ///
    /// let average = Coroutine::new(async |mailbox| {
    ///     let (mut sum, mut count) = (0.0, 0.0);
    ///     while let Some(value) = mailbox.receive().await {
    ///         (sum, count) = (sum + value, count + 1.0);
    ///         mailbox.reply(sum / count).await;
    ///     }
    /// });
    /// assert_eq!(average.send(1.0), Ok(Some(1.0)));
    /// assert_eq!(average.send(2.0), Ok(Some(1.5)));
    /// ```
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
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use trapline::generator::{Coroutine, Mailbox};
    ///
    /// let letters = Coroutine::new(async |mailbox: Mailbox<&str, char>| {
    ///     while let Some(word) = mailbox.receive().await {
    ///         for letter in word.chars() {
    ///             mailbox.reply(letter).await;
    ///         }
    ///     }
    /// });
    /// assert_eq!(letters.send("ab"), Ok(Some('a')));
    /// assert_eq!(letters.reply(), Some('b'));
    /// assert_eq!(letters.reply(), None);
    /// ```
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
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use std::cell::Cell;
    /// use trapline::generator::{Coroutine, Mailbox};
    ///
    /// let sum = Cell::new(0);
    /// let adder = Coroutine::new(async |mailbox: Mailbox<u32>| {
    ///     let mut total = 0;
    ///     while let Some(value) = mailbox.receive().await {
    ///         total += value;
    ///     }
    ///     sum.set(total);
    /// });
    /// adder.send(40).unwrap();
    /// adder.send(2).unwrap();
    /// adder.close();
    /// assert_eq!(sum.get(), 42);
    /// ```
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
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use trapline::generator::{Coroutine, Mailbox};
    ///
    /// let idle = Coroutine::new(async |mailbox: Mailbox<u32>| while mailbox.receive().await.is_some() {});
    /// assert!(!idle.is_finished());
    /// idle.close();
    /// assert!(idle.is_finished());
    /// ```
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
        self.inner.desk.wants()
    }

    /// Whether there is a value that the block has not taken.
    pub(crate) fn has_untaken(&self) -> bool {
        self.inner.desk.has_untaken()
    }

    pub(crate) fn put(&self, value: In) {
        self.inner.desk.put(value);
    }

    pub(crate) fn announce_end(&self) {
        self.inner.desk.announce_end();
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
            .field("received", &inner.desk.received())
            .field("replied", &inner.desk.outlet.count())
            .field("site", &format_args!("{}", inner.site))
            .finish_non_exhaustive()
    }
}
