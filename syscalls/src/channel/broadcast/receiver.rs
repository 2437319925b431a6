//! The receiving end of a broadcast.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures::Stream;
use thiserror::Error;

use crate::channel::broadcast::hub::Hub;
use crate::frame::site_or;
use crate::pace::{Claim, may_try, spend};

/// Why nothing was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum RecvError {
    /// This many values were dropped before this receiver took them. The next one is there.
    #[error("{0} values were missed")]
    Missed(u64),
    /// The channel is closed, and all has been taken.
    #[error("nothing will come any more")]
    Closed,
}

/// Why nothing could be received at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum TryRecvError {
    /// There is nothing now.
    #[error("there is nothing to receive now")]
    Empty,
    /// This many values were dropped before this receiver took them. The next one is there.
    #[error("{0} values were missed")]
    Missed(u64),
    /// The channel is closed, and all has been taken.
    #[error("nothing will come any more")]
    Closed,
}

type Wait = Pin<Box<dyn Future<Output = ()>>>;

/// Receives all values that are sent after it was made. See [`broadcast`](crate::channel::broadcast()).
///
/// It is a [`Stream`], too: of values, and of how many were missed. A clone begins where this one
/// is.
pub struct Receiver<T> {
    hub: Rc<Hub<T>>,
    /// The number of the value it takes next.
    next: u64,
    /// The stream's wait.
    wait: Option<Wait>,
}

impl<T: Clone> Receiver<T> {
    /// Waits for the next value.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::channel::broadcast::RecvError;
    ///
    /// let (sender, mut receiver) = trapline::channel::broadcast(1);
    /// sender.send("first").await.unwrap();
    /// sender.send("second").await.unwrap();
    /// // There was room for one value.
    /// assert_eq!(receiver.recv().await, Err(RecvError::Missed(1)));
    /// assert_eq!(receiver.recv().await, Ok("second"));
    /// drop(sender);
    /// assert_eq!(receiver.recv().await, Err(RecvError::Closed));
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`RecvError::Missed`] under [`Lag::Report`](crate::channel::Lag::Report), if values were dropped; [`RecvError::Closed`] at
    /// the end.
    ///
    /// # Panics
    /// If it has to wait outside a task.
    ///
    /// # Cancel safety
    /// Safe: a value is taken at the poll that gives it.
    ///
    /// # Cost
    /// No trap where there is a value; else one. A clone of the value, but for the last who takes it.
    #[track_caller]
    pub fn recv(&mut self) -> Recv<'_, T> {
        self.wait = None;
        Recv { news: Claim::new(&self.hub.news), hub: &self.hub, next: &mut self.next }
    }

    /// Takes the next value, if it is there.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use trapline::channel::broadcast::TryRecvError;
    ///
    /// let (sender, mut receiver) = trapline::channel::broadcast(1);
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// sender.try_send("news").unwrap();
    /// assert_eq!(receiver.try_recv(), Ok("news"));
    /// ```
    ///
    /// # Errors
    /// [`TryRecvError`], if it is not.
    ///
    /// # Cost
    /// No trap, O(1).
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.wait = None;
        match self.hub.take(&mut self.next) {
            Some(Ok(value)) => {
                spend();
                Ok(Rc::unwrap_or_clone(value))
            }
            Some(Err(missed)) => Err(TryRecvError::Missed(missed)),
            None if self.hub.closed.get() => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }
}

impl<T> Receiver<T> {
    pub(crate) fn new(hub: Rc<Hub<T>>, next: u64) -> Receiver<T> {
        Receiver { hub, next, wait: None }
    }

    /// How many values it has yet to take, or has missed.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::broadcast(8);
    /// sender.try_send("news").unwrap();
    /// assert_eq!(receiver.behind(), 1);
    /// ```
    #[must_use]
    pub fn behind(&self) -> u64 {
        self.hub.end() - self.next
    }

    /// Whether the channel has been closed, or has no sender.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::broadcast::<u8>(8);
    /// sender.close();
    /// assert!(receiver.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.hub.closed.get()
    }
}

/// # Cancel safety
/// Safe: a value that was not given out comes again.
///
/// # Cost
/// As [`Receiver::recv`]; where it has to wait, an allocation besides, for the stream owns its wait.
impl<T: Clone + 'static> Stream for Receiver<T> {
    type Item = Result<T, RecvError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let next = this.next;
        if this.wait.is_none() && may_try() && has_news(&this.hub, next) {
            spend();
            return Poll::Ready(this.take_next());
        }
        let wait = this.wait.get_or_insert_with(|| {
            let (hub, site) = (Rc::clone(&this.hub), site_or(this.hub.site()));
            Box::pin(
                async move { News { news: Claim::at(&hub.news, site), hub: &hub, next }.await },
            )
        });
        ready!(wait.as_mut().poll(cx));
        this.wait = None;
        Poll::Ready(this.take_next())
    }
}

impl<T: Clone> Receiver<T> {
    fn take_next(&mut self) -> Option<Result<T, RecvError>> {
        self.hub.take(&mut self.next).map(|taken| match taken {
            Ok(value) => Ok(Rc::unwrap_or_clone(value)),
            Err(missed) => Err(RecvError::Missed(missed)),
        })
    }
}

/// Whether there is something for the receiver that takes the value `next`, or the end.
fn has_news<T>(hub: &Hub<T>, next: u64) -> bool {
    next < hub.end() || hub.closed.get()
}

/// Waits until there is something for a receiver, or the end.
struct News<'a, T> {
    hub: &'a Hub<T>,
    next: u64,
    news: Claim<'a>,
}

impl<T> Future for News<'_, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let (hub, next) = (self.hub, self.next);
        self.news.poll_over(cx, || has_news(hub, next))
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        self.hub.add_receiver_at(self.next);
        Receiver::new(Rc::clone(&self.hub), self.next)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.wait = None;
        self.hub.remove_receiver();
        let gone = self.hub.forget(self.next);
        drop(gone);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("channel", &self.hub)
            .field("behind", &self.behind())
            .finish()
    }
}

/// The future of [`Receiver::recv`].
#[must_use = "nothing is received until this is awaited"]
pub struct Recv<'a, T> {
    hub: &'a Hub<T>,
    next: &'a mut u64,
    news: Claim<'a>,
}

impl<T: Clone> Future for Recv<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (hub, next) = (self.hub, *self.next);
        ready!(self.news.poll_over(cx, || has_news(hub, next)));
        Poll::Ready(match hub.take(self.next) {
            Some(Ok(value)) => Ok(Rc::unwrap_or_clone(value)),
            Some(Err(missed)) => Err(RecvError::Missed(missed)),
            None => Err(RecvError::Closed),
        })
    }
}

impl<T> fmt::Debug for Recv<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recv").field("channel", self.hub).finish_non_exhaustive()
    }
}
