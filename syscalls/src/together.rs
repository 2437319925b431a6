//! Joins: several futures go on side by side in one task, until all have finished.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project::pin_project;

/// Waits for both futures, and gives what they gave.
///
/// They go on side by side in the calling task: each wake-up polls those that have not finished, in
/// order. For any number of futures there is the macro of the same name, and [`join_all`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
///
/// let second = Duration::from_secs(1);
/// let start = trapline::now().await;
/// let (_, word) = trapline::join(trapline::sleep(second), async { "done" }).await;
/// assert_eq!(word, "done");
/// assert_eq!(trapline::now().await - start, second);
/// # }).unwrap();
/// ```
///
/// # Panics
/// If it is polled again after it was ready.
///
/// # Cancel safety
/// As safe as the futures' own: dropping the join drops both. Lossy where one has finished: what it
/// gave is dropped, too.
///
/// # Cost
/// No trap of its own, no allocation.
///
/// # Kin
/// `futures::future::join`.
pub fn join<A: Future, B: Future>(first: A, second: B) -> Join<A, B> {
    Join { first: MaybeDone::new(first), second: MaybeDone::new(second) }
}

/// The future of [`join`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let both = trapline::join(async { 1 }, async { "one" });
/// assert_eq!(both.await, (1, "one"));
/// # }).unwrap();
/// ```
#[pin_project]
#[must_use = "a join does nothing until it is awaited"]
pub struct Join<A: Future, B: Future> {
    #[pin]
    first: MaybeDone<A>,
    #[pin]
    second: MaybeDone<B>,
}

impl<A: Future, B: Future> fmt::Debug for Join<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Join").field("first", &self.first).field("second", &self.second).finish()
    }
}

impl<A: Future, B: Future> Future for Join<A, B> {
    type Output = (A::Output, B::Output);

    // So that a handle that is joined shows the line of the `.await`.
    #[track_caller]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let first_is_done = this.first.as_mut().poll_done(cx);
        let second_is_done = this.second.as_mut().poll_done(cx);
        if first_is_done && second_is_done {
            return Poll::Ready((this.first.take(), this.second.take()));
        }
        Poll::Pending
    }
}

/// Waits for all of the futures, and gives what they gave, in their order.
///
/// They go on side by side in the calling task: each wake-up polls those that have not finished, in
/// order. Nothing to wait for gives nothing, at once.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
///
/// let squares = [3, 1, 2].map(|n| async move {
///     trapline::sleep(Duration::from_secs(n)).await;
///     n * n
/// });
/// assert_eq!(trapline::join_all(squares).await, [9, 1, 4]);
/// # }).unwrap();
/// ```
///
/// # Panics
/// If it is polled again after it was ready.
///
/// # Cancel safety
/// As safe as the futures' own: dropping the join drops them all. Lossy where some have finished:
/// what they gave is dropped, too.
///
/// # Cost
/// No trap of its own; an allocation for each future. Each wake-up polls all that have not finished,
/// so for thousands spawn tasks instead. The futures are polled under the task's own waker, so the
/// kernel knows their calls as its own.
///
/// # Kin
/// `futures::future::join_all`, asyncio's `gather`.
#[doc(alias = "gather")]
pub fn join_all<I>(futures: I) -> JoinAll<I::Item>
where
    I: IntoIterator<Item: Future>,
{
    JoinAll { futures: futures.into_iter().map(|one| Box::pin(MaybeDone::new(one))).collect() }
}

/// The future of [`join_all`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let squares = trapline::join_all((1..4).map(|number| async move { number * number }));
/// assert_eq!(squares.await, [1, 4, 9]);
/// # }).unwrap();
/// ```
#[must_use = "a join does nothing until it is awaited"]
pub struct JoinAll<F: Future> {
    futures: Vec<Pin<Box<MaybeDone<F>>>>,
}

impl<F: Future> fmt::Debug for JoinAll<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinAll").field("futures", &self.futures).finish()
    }
}

impl<F: Future> Future for JoinAll<F> {
    type Output = Vec<F::Output>;

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Vec<F::Output>> {
        let mut all = true;
        for future in &mut self.futures {
            all &= future.as_mut().poll_done(cx);
        }
        if !all {
            return Poll::Pending;
        }
        Poll::Ready(self.futures.iter_mut().map(|future| future.as_mut().take()).collect())
    }
}

/// A future that keeps what it gave, and is dropped as soon as it has given it.
#[doc(hidden)]
#[pin_project(project = MaybeDoneProjection)]
pub enum MaybeDone<F: Future> {
    /// Not finished.
    Pending(#[pin] F),
    /// Finished, with this, until it is taken.
    Done(Option<F::Output>),
}

impl<F: Future> fmt::Debug for MaybeDone<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MaybeDone::Pending(_) => "Pending",
            MaybeDone::Done(_) => "Done",
        })
    }
}

impl<F: Future> MaybeDone<F> {
    /// A future that has not finished.
    pub fn new<I: IntoFuture<IntoFuture = F>>(future: I) -> MaybeDone<F> {
        MaybeDone::Pending(future.into_future())
    }

    /// Polls it unless it is done. Says whether it is done now.
    ///
    /// # Panics
    /// If its output has been taken.
    #[track_caller]
    pub fn poll_done(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        match self.as_mut().project() {
            MaybeDoneProjection::Pending(future) => {
                let Poll::Ready(output) = future.poll(cx) else { return false };
                self.set(MaybeDone::Done(Some(output)));
                true
            }
            MaybeDoneProjection::Done(Some(_)) => true,
            MaybeDoneProjection::Done(None) => panic!("a join was polled again after it was ready"),
        }
    }

    /// What it gave.
    ///
    /// # Panics
    /// If it is not done.
    #[must_use]
    pub fn take(self: Pin<&mut Self>) -> F::Output {
        let MaybeDoneProjection::Done(output) = self.project() else { not_done() };
        output.take().unwrap_or_else(|| not_done())
    }
}

/// The same of futures that may fail.
impl<T, E, F: Future<Output = Result<T, E>>> MaybeDone<F> {
    /// Polls it unless it is done, and gives its error if it has failed.
    ///
    /// # Panics
    /// If its output has been taken.
    #[track_caller]
    pub fn poll_try(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        if !self.as_mut().poll_done(cx) {
            return Poll::Pending;
        }
        Poll::Ready(match self.as_mut().project() {
            MaybeDoneProjection::Done(output @ Some(Err(_))) => {
                output.take().map_or(Ok(()), |output| output.map(drop))
            }
            _ => Ok(()),
        })
    }

    /// What it gave, which was no error.
    ///
    /// # Panics
    /// If it is not done, or has failed.
    #[must_use]
    pub fn take_ok(self: Pin<&mut Self>) -> T {
        self.take().unwrap_or_else(|_| not_done())
    }
}

#[cold]
fn not_done() -> ! {
    panic!("what a join takes is done")
}
