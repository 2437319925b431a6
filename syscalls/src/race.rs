//! Races: the first of several futures to finish wins, and the others are dropped.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project::pin_project;

/// Waits for the first of two futures to finish, and gives what it gave.
///
/// `first` is polled before `second`, and wins if both can finish. The loser is dropped before the
/// value is returned; what it waited for was not used up: a token, a message or bytes that it was
/// given and had not taken go to whoever is next.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
///
/// let hare = async {
///     trapline::sleep(Duration::from_secs(9)).await;
///     "hare"
/// };
/// let tortoise = async {
///     trapline::sleep(Duration::from_secs(5)).await;
///     "tortoise"
/// };
/// assert_eq!(trapline::race(hare, tortoise).await, "tortoise");
/// # }).unwrap();
/// ```
///
/// # Panics
/// If it is polled again after it was ready.
///
/// # Cancel safety
/// As safe as the futures' own: dropping the race drops both. The loser is dropped like that, too.
///
/// # Cost
/// No trap of its own, no allocation. Each wake-up polls both.
///
/// # Kin
/// `futures-lite`'s `or`; `select!`, where the outputs differ; trio's `move_on_after` around a
/// nursery.
#[must_use = "a race does nothing until it is awaited"]
pub fn race<A, B>(first: A, second: B) -> Race<A, B>
where
    A: Future,
    B: Future<Output = A::Output>,
{
    Race { runners: Some(Runners { first, second }) }
}

/// The future of [`race`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
///
/// let first = async { trapline::sleep(Duration::from_secs(1)).await; "first" };
/// let second = async { trapline::sleep(Duration::from_secs(2)).await; "second" };
/// let race = trapline::race(first, second);
/// assert_eq!(race.await, "first");
/// # }).unwrap();
/// ```
#[pin_project]
#[must_use = "a race does nothing until it is awaited"]
pub struct Race<A, B> {
    /// None when one has won.
    #[pin]
    runners: Option<Runners<A, B>>,
}

#[pin_project]
struct Runners<A, B> {
    #[pin]
    first: A,
    #[pin]
    second: B,
}

impl<A, B> fmt::Debug for Race<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Race").field("over", &self.runners.is_none()).finish_non_exhaustive()
    }
}

impl<A, B> Future for Race<A, B>
where
    A: Future,
    B: Future<Output = A::Output>,
{
    type Output = A::Output;

    // So that a handle in the race shows the line of the `.await`.
    #[track_caller]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<A::Output> {
        let mut this = self.project();
        let Some(runners) = this.runners.as_mut().as_pin_mut() else { polled_after_its_end() };
        let runners = runners.project();
        let mut polled = runners.first.poll(cx);
        if polled.is_pending() {
            polled = runners.second.poll(cx);
        }
        if polled.is_ready() {
            this.runners.set(None);
        }
        polled
    }
}

/// Waits for the first of any number of futures to finish, and gives what it gave.
///
/// They are polled in order, and the first that can finish wins. The others are dropped, in order,
/// before the value is returned, and have used nothing up, as in [`race`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
///
/// let runners = [9, 5, 7].map(|seconds| async move {
///     trapline::sleep(Duration::from_secs(seconds)).await;
///     seconds
/// });
/// assert_eq!(trapline::race_all(runners).await, 5);
/// # }).unwrap();
/// ```
///
/// # Panics
/// If there is nothing to race; if it is polled again after it was ready.
///
/// # Cancel safety
/// As safe as the futures' own: dropping the race drops them all.
///
/// # Cost
/// No trap of its own; an allocation for each future. Each wake-up polls them all, so for thousands
/// spawn tasks instead.
///
/// # Kin
/// `futures::future::select_all`, JavaScript's `Promise.race`.
#[doc(alias = "select_all")]
#[track_caller]
pub fn race_all<I>(runners: I) -> RaceAll<I::Item>
where
    I: IntoIterator<Item: Future>,
{
    let runners: Vec<_> = runners.into_iter().map(Box::pin).collect();
    assert!(!runners.is_empty(), "a race needs somebody who runs: nobody would ever win it");
    RaceAll { runners }
}

/// The future of [`race_all`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
///
/// let runners = [3, 1, 2].map(|seconds| async move {
///     trapline::sleep(Duration::from_secs(seconds)).await;
///     seconds
/// });
/// let race = trapline::race_all(runners);
/// assert_eq!(race.await, 1);
/// # }).unwrap();
/// ```
#[must_use = "a race does nothing until it is awaited"]
pub struct RaceAll<F> {
    /// Empty when one has won.
    runners: Vec<Pin<Box<F>>>,
}

impl<F> fmt::Debug for RaceAll<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaceAll").field("runners", &self.runners.len()).finish()
    }
}

impl<F: Future> Future for RaceAll<F> {
    type Output = F::Output;

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if self.runners.is_empty() {
            polled_after_its_end();
        }
        for runner in &mut self.runners {
            let polled = runner.as_mut().poll(cx);
            if polled.is_ready() {
                self.runners = Vec::new();
                return polled;
            }
        }
        Poll::Pending
    }
}

#[cold]
fn polled_after_its_end() -> ! {
    panic!("a race was polled again after it was ready")
}
