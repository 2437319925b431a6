//! A coroutine as a sink and a stream, inside a task.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{Sink, Stream};

use crate::generator::coroutine::Halt;
use crate::generator::rest::Rest;
use crate::generator::{Coroutine, Finished};

/// A coroutine as a [`Sink`] of values and a [`Stream`] of replies: the block may make system
/// calls, which are those of the task that sends. See [`Coroutine::into_sink`].
///
/// [`send`](futures::SinkExt::send) comes back when the block has taken the value and waits for the
/// next one, or replies; so it lasts as long as what the block does about it.
/// [`next`](futures::StreamExt::next) gives the replies to what was sent, and `None` when the block
/// waits for a value or has ended; sending makes it give more. A reply that nobody took is dropped
/// when the next value is sent, or when the sink is closed.
/// [`close`](futures::SinkExt::close) lets the block end: its `receive` gives `None`, and it runs
/// until it returns.
///
/// The block runs only while one of these is awaited. Each value and reply counts to the task's
/// quantum.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use futures::SinkExt;
/// use trapline::generator::{Coroutine, Mailbox};
///
/// let sum = std::cell::Cell::new(0);
/// let mut sink = Coroutine::new(async |mailbox: Mailbox<u32>| {
///     while let Some(number) = mailbox.receive().await {
///         sum.set(sum.get() + number);
///     }
/// })
/// .into_sink();
/// sink.send(1).await.unwrap();
/// sink.send(2).await.unwrap();
/// assert_eq!(sum.get(), 3);
/// # }).unwrap();
/// ```
///
/// # Errors
/// [`Finished`], if the block has ended without taking the value.
///
/// # Panics
/// If the block panics; if another sink of the same coroutine is in the middle of a system call.
/// For several senders, give the coroutine a task of its own, and a channel.
///
/// # Cancel safety
/// `send` is Lossy: dropped before the coroutine was ready for it, the value goes with it; later,
/// the block has it, and goes on when it is driven again. `next`, `flush` and `close` are Safe.
#[must_use = "a sink does nothing until it is sent to"]
pub struct CoroutineSink<'a, In, Out = ()> {
    coroutine: Coroutine<'a, In, Out>,
    number: u64,
    rest: Rest,
    /// A reply that came while the sink was flushed.
    held: Option<Out>,
    /// A value was put there, and the block has not come to a halt since.
    unflushed: bool,
}

impl<'a, In, Out> CoroutineSink<'a, In, Out> {
    pub(crate) fn new(coroutine: Coroutine<'a, In, Out>, number: u64) -> Self {
        let rest = Rest::new(coroutine.site());
        CoroutineSink { coroutine, number, rest, held: None, unflushed: false }
    }

    /// Whether the block has returned, or panicked.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use futures::SinkExt;
    /// use trapline::generator::{Coroutine, Mailbox};
    ///
    /// let once = Coroutine::new(async |mailbox: Mailbox<u32>| {
    ///     mailbox.receive().await;
    /// });
    /// let mut sink = once.into_sink();
    /// sink.send(1).await.unwrap();
    /// assert!(sink.is_finished());
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.coroutine.is_finished()
    }

    /// Drives the block until it comes to a halt.
    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<Halt<Out>> {
        let busy_for = self.coroutine.busy_for().get();
        assert!(
            busy_for.is_none_or(|number| number == self.number),
            "a coroutine is in the middle of a system call for another sink"
        );
        if busy_for.is_none() {
            ready!(self.rest.poll(cx));
        }
        // Not busy while it runs: a panic leaves nothing to be busy with.
        self.coroutine.busy_for().set(None);
        let halt = self.coroutine.resume(cx);
        if matches!(halt, Halt::Busy) {
            self.coroutine.busy_for().set(Some(self.number));
            self.rest.trapped();
            return Poll::Pending;
        }
        if std::mem::take(&mut self.unflushed) || matches!(halt, Halt::Replied(_)) {
            self.rest.count();
        }
        Poll::Ready(halt)
    }

    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Finished>> {
        while self.unflushed {
            match ready!(self.drive(cx)) {
                Halt::Replied(reply) => self.held = Some(reply),
                Halt::Ended if self.coroutine.has_untaken() => return Poll::Ready(Err(Finished)),
                Halt::Wants | Halt::Ended | Halt::Busy => {}
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// The block lies in a box, and values and replies are never pinned.
impl<In, Out> Unpin for CoroutineSink<'_, In, Out> {}

impl<In, Out> Sink<In> for CoroutineSink<'_, In, Out> {
    type Error = Finished;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Finished>> {
        let this = &mut *self;
        drop(this.held.take());
        while !this.coroutine.wants() {
            if let Halt::Ended = ready!(this.drive(cx)) {
                return Poll::Ready(Err(Finished));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, value: In) -> Result<(), Finished> {
        assert!(self.coroutine.wants(), "a value was sent to a coroutine that is not ready for it");
        self.coroutine.put(value);
        self.unflushed = true;
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Finished>> {
        self.poll_flushed(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Finished>> {
        let this = &mut *self;
        ready!(this.poll_flushed(cx))?;
        drop(this.held.take());
        this.coroutine.announce_end();
        while !matches!(ready!(this.drive(cx)), Halt::Ended) {}
        Poll::Ready(Ok(()))
    }
}

impl<In, Out> Stream for CoroutineSink<'_, In, Out> {
    type Item = Out;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Out>> {
        let this = &mut *self;
        if let Some(reply) = this.held.take() {
            return Poll::Ready(Some(reply));
        }
        match ready!(this.drive(cx)) {
            Halt::Replied(reply) => Poll::Ready(Some(reply)),
            Halt::Wants | Halt::Ended | Halt::Busy => Poll::Ready(None),
        }
    }
}

/// What the block is in the middle of, others may take up.
impl<In, Out> Drop for CoroutineSink<'_, In, Out> {
    fn drop(&mut self) {
        if self.coroutine.busy_for().get() == Some(self.number) {
            self.coroutine.busy_for().set(None);
        }
    }
}

impl<In, Out> fmt::Debug for CoroutineSink<'_, In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoroutineSink")
            .field("coroutine", &self.coroutine)
            .field("unflushed", &self.unflushed)
            .finish_non_exhaustive()
    }
}
