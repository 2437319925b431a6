//! Waiting for a value that is as one wants it.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::channel::error::Closed;
use crate::channel::watch::{Receiver, Ref, Screen};
use crate::pace::{Claim, Pace};

impl<T> Receiver<T> {
    /// Waits until the value is as `is_wanted` says, looks at it, and counts it as seen. The present
    /// value is asked about first, seen or not. Values that are replaced before this is polled are not.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let (sender, mut receiver) = trapline::channel::watch(0);
    /// trapline::spawn_detached(async move {
    ///     for number in 1..10 {
    ///         sender.send(number).unwrap();
    ///         trapline::yield_now().await;
    ///     }
    /// });
    /// assert_eq!(*receiver.wait_for(|number| *number > 4).await.unwrap(), 5);
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`Closed`], if the value is not so and every sender is gone.
    ///
    /// # Panics
    /// If it has to wait outside a task; with what `is_wanted` panics with.
    ///
    /// # Cancel safety
    /// Safe: values count as seen that were asked about, and that is all.
    ///
    /// # Cost
    /// No trap where the value is as it should be; else one for each time it waits for another.
    ///
    /// # Kin
    /// tokio's `watch::Receiver::wait_for`.
    #[track_caller]
    pub fn wait_for<F: FnMut(&T) -> bool>(&mut self, is_wanted: F) -> WaitFor<'_, T, F> {
        let site = Location::caller();
        self.wait = None;
        WaitFor {
            change: Claim::at(&self.screen.changes, site),
            screen: &self.screen,
            seen: &mut self.seen,
            is_wanted,
            asked: None,
            pace: Pace::at(site),
            site,
        }
    }
}

/// The future of [`Receiver::wait_for`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let (sender, mut receiver) = trapline::channel::watch(0);
/// let wait = receiver.wait_for(|number| *number == 2);
/// let send = async {
///     sender.send(1).unwrap();
///     sender.send(2).unwrap();
/// };
/// let (seen, ()) = trapline::join(wait, send).await;
/// assert_eq!(*seen.unwrap(), 2);
/// # }).unwrap();
/// ```
#[must_use = "nothing is waited for until this is awaited"]
pub struct WaitFor<'a, T, F> {
    screen: &'a Screen<T>,
    seen: &'a mut u64,
    change: Claim<'a>,
    is_wanted: F,
    /// The version that was asked about last.
    asked: Option<u64>,
    pace: Pace,
    site: &'static Location<'static>,
}

// The closure is called, never pinned.
impl<T, F> Unpin for WaitFor<'_, T, F> {}

impl<T, F: FnMut(&T) -> bool> Future for WaitFor<'_, T, F> {
    type Output = Result<Ref<T>, Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let screen = this.screen;
        if this.asked.is_none() {
            ready!(this.pace.poll(cx));
        }
        loop {
            let version = screen.version.get();
            if this.asked != Some(version) {
                let first = this.asked.replace(version).is_none();
                *this.seen = version;
                let look = screen.look();
                if (this.is_wanted)(&look) {
                    if first {
                        this.pace.count();
                    }
                    return Poll::Ready(Ok(look));
                }
            }
            let is_over = || screen.version.get() != version || screen.senders.get() == 0;
            ready!(this.change.poll_over(cx, is_over));
            this.change = Claim::at(&screen.changes, this.site);
            // It may have been woken for a version that was asked about already.
            if screen.version.get() == version && screen.senders.get() == 0 {
                return Poll::Ready(Err(Closed));
            }
        }
    }
}

impl<T, F> fmt::Debug for WaitFor<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitFor").field("channel", self.screen).finish_non_exhaustive()
    }
}
