//! A generator as a stream, inside a task.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use futures::stream::FusedStream;

use crate::generator::{Generator, Rest, Resumed};

/// A generator as a [`Stream`]: the block may make system calls, which are its task's. See
/// [`Generator::into_stream`].
///
/// A task that only draws values makes no system call. So each value counts to the quantum, and
/// where that is spent the stream yields to the other tasks before the block is resumed. The task
/// table shows the line on which the generator was made.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use futures::StreamExt;
/// use trapline::generator::Generator;
///
/// let ticks = Generator::new(async |y| {
///     for number in 0..3 {
///         trapline::yield_now().await;
///         y.yield_(number).await;
///     }
/// });
/// assert_eq!(ticks.into_stream().collect::<Vec<_>>().await, [0, 1, 2]);
/// # }).unwrap();
/// ```
///
/// # Panics
/// If the block panics, or has two yields under way at once; after that it has ended.
///
/// # Cancel safety
/// Safe: what [`next`](futures::StreamExt::next) waits for, a system call of the block too, goes on
/// at the next `next`.
#[must_use = "a stream does nothing until it is polled"]
pub struct GeneratorStream<'a, Y, R = ()> {
    generator: Generator<'a, Y, R>,
    rest: Rest,
    /// The block awaits something that is no yield.
    waits: bool,
}

impl<'a, Y, R> GeneratorStream<'a, Y, R> {
    pub(crate) fn new(generator: Generator<'a, Y, R>) -> GeneratorStream<'a, Y, R> {
        GeneratorStream { rest: Rest::new(generator.site), generator, waits: false }
    }

    /// What the block returned, if it has ended.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use futures::StreamExt;
    /// use trapline::generator::Generator;
    ///
    /// let mut stream = Generator::new(async |y| {
    ///     y.yield_(1).await;
    ///     "all"
    /// })
    /// .into_stream();
    /// while stream.next().await.is_some() {}
    /// assert_eq!(stream.into_return(), Some("all"));
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn into_return(self) -> Option<R> {
        self.generator.into_return()
    }
}

/// The block lies in a box, and what it returned is never pinned.
impl<Y, R> Unpin for GeneratorStream<'_, Y, R> {}

impl<Y, R> Stream for GeneratorStream<'_, Y, R> {
    type Item = Y;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Y>> {
        let this = &mut *self;
        if this.generator.is_finished() {
            return Poll::Ready(None);
        }
        if !this.waits {
            ready!(this.rest.poll(cx));
        }
        match this.generator.resume(cx) {
            Resumed::Waits => {
                this.waits = true;
                this.rest.trapped();
                Poll::Pending
            }
            Resumed::Yielded(value) => {
                this.waits = false;
                this.rest.count();
                Poll::Ready(Some(value))
            }
            Resumed::Ended => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.generator.size_hint()
    }
}

impl<Y, R> FusedStream for GeneratorStream<'_, Y, R> {
    fn is_terminated(&self) -> bool {
        self.generator.is_finished()
    }
}

impl<Y, R> fmt::Debug for GeneratorStream<'_, Y, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GeneratorStream")
            .field("generator", &self.generator)
            .field("waits", &self.waits)
            .finish_non_exhaustive()
    }
}
