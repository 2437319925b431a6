//! The receiver as a stream.

use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures::Stream;

use crate::channel::watch::{Receiver, Screen};
use crate::frame::site_or;
use crate::pace::{Claim, may_try, spend};

/// The stream's wait for a change.
pub(super) type Wait = Pin<Box<dyn Future<Output = ()>>>;

/// Values that it has not seen, the latest each time; it ends when every sender is gone.
///
/// # Cancel safety
/// Safe: a value counts as seen when it is given out.
///
/// # Cost
/// As [`Receiver::changed`], and a clone of the value; where it has to wait, an allocation besides, for
/// the stream owns its wait.
impl<T: Clone + 'static> Stream for Receiver<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        let seen = this.seen;
        if this.wait.is_none() && may_try() && this.has_changed() {
            spend();
            return Poll::Ready(Some(T::clone(&this.see())));
        }
        let wait = this.wait.get_or_insert_with(|| {
            let (screen, site) = (Rc::clone(&this.screen), site_or(this.screen.thing.site()));
            Box::pin(async move { Change::at(&screen, seen, site).await })
        });
        ready!(wait.as_mut().poll(cx));
        this.wait = None;
        Poll::Ready(this.has_changed().then(|| T::clone(&this.see())))
    }
}

/// Waits until there is another version than the one seen, or the end.
struct Change<'a, T> {
    screen: &'a Screen<T>,
    seen: u64,
    change: Claim<'a>,
}

impl<'a, T> Change<'a, T> {
    fn at(screen: &'a Screen<T>, seen: u64, site: &'static Location<'static>) -> Change<'a, T> {
        Change { screen, seen, change: Claim::at(&screen.changes, site) }
    }
}

impl<T> Future for Change<'_, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let (screen, seen) = (self.screen, self.seen);
        let is_over = || screen.version.get() != seen || screen.senders.get() == 0;
        self.change.poll_over(cx, is_over)
    }
}
