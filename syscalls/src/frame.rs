//! Frames: the lines at which a program awaits its own functions.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project::pin_project;
use trapline_abi::{FrameSite, Ring};

/// Does what `future` does, and lets whoever looks on know that it was called here.
///
/// A call in flight shows one line, that of the innermost function that makes it: all who read through the
/// same helper seem to stand in the helper. A frame around the helper's future adds the line from which that
/// was called. Frames nest; together they are what a stack trace is elsewhere. The attribute
/// `#[trapline::traced]` puts one around the body of an `async fn`.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
///
/// async fn dine() {
///     trapline::sleep(Duration::from_millis(20)).await;
/// }
///
/// // Whoever looks sees the line of the `sleep`, and around it this one.
/// trapline::frame(dine()).await;
/// # }).unwrap();
/// ```
///
/// # Cancel safety
/// As safe as `future`.
///
/// # Cost
/// No trap, no allocation. Where nobody looks on, a few instructions a poll.
///
/// # Kin
/// `#[async_backtrace::framed]`.
#[track_caller]
pub fn frame<F: Future>(future: F) -> Frame<F> {
    frame_at(future, Location::caller())
}

/// The same for one who was called at `site`: for functions that are `#[track_caller]` themselves, or that
/// keep the line of something made earlier.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::panic::Location;
///
/// #[track_caller]
/// fn twice() -> impl Future<Output = ()> {
///     let both = async {
///         trapline::yield_now().await;
///         trapline::yield_now().await;
///     };
///     trapline::frame_at(both, Location::caller())
/// }
/// twice().await;
/// # }).unwrap();
/// ```
///
/// # Cancel safety
/// As safe as `future`.
///
/// # Cost
/// As [`frame`].
pub fn frame_at<F: Future>(future: F, site: &'static Location<'static>) -> Frame<F> {
    Frame { site: FrameSite::new(site), future }
}

/// The future of [`frame`] and [`frame_at`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// /// One that many call: the line of each shows.
/// #[track_caller]
/// fn turns(count: u32) -> trapline::Frame<impl Future<Output = u32>> {
///     trapline::frame(async move {
///         for _turn in 0..count {
///             trapline::yield_now().await;
///         }
///         count
///     })
/// }
/// assert_eq!(turns(3).await, 3);
/// # }).unwrap();
/// ```
#[must_use = "futures do nothing until they are awaited"]
#[pin_project]
pub struct Frame<F> {
    site: FrameSite,
    #[pin]
    future: F,
}

impl<F: Future> Future for Frame<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _frame = this.site.enter();
        this.future.poll(cx)
    }
}

impl<F> fmt::Debug for Frame<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("site", &format_args!("{}", self.site.site()))
            .finish_non_exhaustive()
    }
}

/// The line that an operation reports which was not made by a call of the program's, but polled through a
/// trait: that of the innermost frame around it, or else the one of which it knows.
#[inline]
pub(crate) fn site_or(known: &'static Location<'static>) -> &'static Location<'static> {
    match Ring::current() {
        Some(ring) if ring.is_listened_to() => ring.innermost_frame().unwrap_or(known),
        _ => known,
    }
}
