//! The receiver as a stream.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures::Stream;
use futures::stream::FusedStream;

use crate::channel::receiver::{Receiver, Recv};
use crate::frame::site_or;
use crate::pace::{may_try, spend};

/// # Cancel safety
/// Safe: a value that was not given out is in the channel.
///
/// # Cost
/// As [`Receiver::recv`]; where it has to wait, an allocation besides, for the stream owns its wait.
impl<T: 'static> Stream for Receiver<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let waits = self.line.take();
        if waits.is_none()
            && may_try()
            && let Some(value) = self.core.try_receive()
        {
            spend();
            return Poll::Ready(Some(value));
        }
        let mut line = waits.unwrap_or_else(|| {
            let (core, site) = (Rc::clone(&self.core), site_or(self.core.site()));
            Box::pin(async move { Recv::at(&core, site).await })
        });
        let polled = line.as_mut().poll(cx);
        if polled.is_pending() {
            self.line.set(Some(line));
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, self.core.is_closed().then(|| self.core.len()))
    }
}

impl<T: 'static> FusedStream for Receiver<T> {
    fn is_terminated(&self) -> bool {
        self.core.is_over()
    }
}
