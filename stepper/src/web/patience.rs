//! How long a client may take.
//!
//! It has so long to send its request. After that it may be slow, and it may wait for as long as there is nothing for
//! it; but where something is on its way to it, and it takes none of it for so long, it is dropped.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use trapline::Sleep;

/// A connection that ends where its client takes too long.
pub(super) struct Patient<T> {
    inner: T,
    patience: Duration,
    /// Until its request must be there; nothing once that is over.
    request: Option<Sleep>,
    is_asked: Rc<Cell<bool>>,
    /// Until it must have taken something of what is there for it.
    taking: Option<Sleep>,
}

impl<T> Patient<T> {
    /// `is_asked` is set once its request is there as a whole.
    pub(super) fn new(inner: T, patience: Duration, is_asked: Rc<Cell<bool>>) -> Patient<T> {
        let request = Some(trapline::sleep(patience));
        Patient { inner, patience, request, is_asked, taking: None }
    }

    /// What a write came to, or that it has waited for too long.
    fn judge<R>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.taking = None;
            return written;
        }
        let taking = self.taking.get_or_insert_with(|| trapline::sleep(self.patience));
        ready!(Pin::new(taking).poll(context));
        self.taking = None;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        if let Some(request) = &mut self.request
            && Pin::new(request).poll(context).is_ready()
        {
            self.request = None;
        }
        self.request.is_none()
    }
}

impl<T: Read + Unpin> Read for Patient<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // From the beginning of the connection: a byte now and then is no request.
        if !this.is_asked.get() && this.is_late(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut this.inner).poll_read(context, into)
    }
}

impl<T: Write + Unpin> Write for Patient<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write(context, bytes);
        this.judge(context, written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.inner).poll_flush(context);
        this.judge(context, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.inner).poll_shutdown(context);
        this.judge(context, shut)
    }
}
