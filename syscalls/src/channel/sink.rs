//! The sender as a sink.

use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures::Sink;

use crate::channel::core::Core;
use crate::channel::error::Closed;
use crate::channel::reserve::Reserve;
use crate::channel::sender::Sender;
use crate::frame::site_or;
use crate::pace::{may_try, spend};

/// A place in a channel that is kept for a value; whoever drops it frees the place.
pub(crate) struct Place<T>(Option<Rc<Core<T>>>);

impl<T> Place<T> {
    fn fill(mut self, value: T) {
        if let Some(core) = self.0.take() {
            core.put(value);
        }
    }
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        if let Some(core) = &self.0 {
            core.free_place();
        }
    }
}

type Waiting<T> = Pin<Box<dyn Future<Output = Result<Place<T>, Closed>>>>;

/// What a sink has in hand.
pub(crate) enum Hold<T> {
    /// It waits for room.
    Waiting(Waiting<T>),
    /// It has room.
    Place(Place<T>),
    /// It has been closed, and its sender counts as gone.
    Closed,
}

impl<T: 'static> Sender<T> {
    fn poll_place(&self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let mut waiting = match self.hold.take().map(|hold| *hold) {
            Some(Hold::Waiting(waiting)) => waiting,
            Some(Hold::Place(place)) => {
                self.keep(Hold::Place(place));
                return Poll::Ready(Ok(()));
            }
            Some(Hold::Closed) => {
                self.keep(Hold::Closed);
                return Poll::Ready(Err(Closed));
            }
            None if may_try() && !self.core.is_closed() && self.core.room.try_take() => {
                spend();
                self.keep(Hold::Place(Place(Some(Rc::clone(&self.core)))));
                return Poll::Ready(Ok(()));
            }
            None => wait_for_place(Rc::clone(&self.core), site_or(self.core.site())),
        };
        match waiting.as_mut().poll(cx) {
            Poll::Ready(Ok(place)) => self.keep(Hold::Place(place)),
            Poll::Ready(Err(closed)) => return Poll::Ready(Err(closed)),
            Poll::Pending => {
                self.keep(Hold::Waiting(waiting));
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn keep(&self, hold: Hold<T>) {
        self.hold.set(Some(Box::new(hold)));
    }
}

fn wait_for_place<T: 'static>(core: Rc<Core<T>>, site: &'static Location<'static>) -> Waiting<T> {
    Box::pin(async move {
        Reserve::at(&core, site).await?.keep();
        Ok(Place(Some(core)))
    })
}

/// At a rendezvous, flushing waits until a receiver has taken the value.
///
/// # Cancel safety
/// Safe: a value that was not given to the sink is still its owner's.
///
/// # Cost
/// As [`Sender::reserve`], and an allocation, for the sink owns what it has in hand.
impl<T: 'static> Sink<T> for Sender<T> {
    type Error = Closed;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.poll_place(cx)
    }

    fn start_send(self: Pin<&mut Self>, value: T) -> Result<(), Closed> {
        match self.hold.take().map(|hold| *hold) {
            Some(Hold::Place(place)) if !self.core.is_closed() => {
                place.fill(value);
                Ok(())
            }
            Some(Hold::Closed) => {
                self.keep(Hold::Closed);
                Err(Closed)
            }
            // Without a `poll_ready` before it, it takes what room there is.
            None if !self.core.is_closed() && self.core.room.try_take() => {
                self.core.put(value);
                Ok(())
            }
            _ => Err(Closed),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        if self.core.taken.is_none() || self.core.is_closed() {
            return Poll::Ready(Ok(()));
        }
        // The place there is free again when what lay there has been taken.
        let free = ready!(self.poll_place(cx));
        if free.is_ok() {
            drop(self.hold.take());
        }
        Poll::Ready(free)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        if let Some(hold) = self.hold.take() {
            let closed = matches!(*hold, Hold::Closed);
            self.hold.set(Some(hold));
            if closed {
                return Poll::Ready(Ok(()));
            }
        }
        ready!(self.as_mut().poll_flush(cx))?;
        self.keep(Hold::Closed);
        self.core.remove_sender();
        Poll::Ready(Ok(()))
    }
}
