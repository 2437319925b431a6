//! The traits of `futures`: for libraries that are written against them.

use std::io;
use std::net::Shutdown;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::io::{AsyncRead, AsyncWrite};
use trapline_abi::{Direction, Ring};

use crate::frame::site_or;
use crate::net::op::Op;
use crate::net::read::read_now;
use crate::net::source::{Amount, Source};
use crate::net::split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::net::stream::TcpStream;
use crate::net::write::write_now;

/// Buffers written with one system call: what Linux takes. The rest of them does not count as not
/// having found room.
const MOST_BUFFERS: usize = 1024;

/// What is kept between two polls of the traits. It comes with the first of them, so a stream that
/// is used by its own methods alone has none.
#[derive(Debug)]
pub(crate) struct Polled {
    /// The scheduler under which it was polled.
    life: u64,
    read: Op,
    write: Op,
}

impl Polled {
    fn new(life: u64, site: &'static Location<'static>) -> Polled {
        Polled { life, read: Op::new(site), write: Op::new(site) }
    }
}

impl TcpStream {
    /// Polls an operation of the traits. It is taken out meanwhile: a waker's code may run, and may
    /// come back here.
    fn poll_op<T: Amount>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        attempt: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let life = Ring::of_running_task().life();
        let taken = self.polled.borrow_mut().take();
        // A wait under another scheduler, which may be gone, is not ours to take.
        let mut polled = taken
            .filter(|polled| polled.life == life)
            .unwrap_or_else(|| Box::new(Polled::new(life, self.source.site())));
        let (op, name) = match direction {
            Direction::Read => (&mut polled.read, "read"),
            Direction::Write => (&mut polled.write, "write"),
        };
        op.set_site(site_or(self.source.site()));
        let result = op.poll(cx, &self.source, (name, direction), attempt);
        let displaced = self.polled.borrow_mut().replace(polled);
        drop(displaced);
        result
    }
}

/// For one task at a time in each direction: of several that poll the same direction, the last one
/// is woken. (The inherent methods have no such limit.) `poll_close` shuts down the writing side.
///
/// # Cancel safety
/// Safe: a poll that is pending has moved nothing. It stays in the kernel's table until the next
/// poll of the same direction, or until the stream is dropped.
impl AsyncRead for &TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_op(cx, Direction::Read, || read_now(&self.source, buf))
    }
}

/// As for reading.
impl AsyncWrite for &TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_op(cx, Direction::Write, || write_now(&self.source, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bufs = &bufs[..bufs.len().min(MOST_BUFFERS)];
        let asked = bufs.iter().map(|buf| buf.len()).sum();
        if asked == 0 {
            return Poll::Ready(Ok(0));
        }
        self.poll_op(cx, Direction::Write, || write_vectored_now(&self.source, bufs, asked))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match self.shutdown(Shutdown::Write) {
            // There is nobody left to be told.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            closed => closed,
        })
    }
}

fn write_vectored_now(
    source: &Source<std::net::TcpStream>,
    bufs: &[io::IoSlice<'_>],
    asked: usize,
) -> io::Result<usize> {
    let written = io::Write::write_vectored(&mut source.get(), bufs);
    if let Ok(written) = written {
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
        source.note_bytes(&first[..written.min(first.len())]);
    }
    source.note(Direction::Write, asked, written)
}

/// Implements a trait for what holds a stream, by the implementation for `&TcpStream`.
macro_rules! by_reference {
    (AsyncRead for $type:ty, |$this:ident| $stream:expr) => {
        /// See the implementation for `&TcpStream`.
        impl AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                let $this = &*self;
                Pin::new(&mut { $stream }).poll_read(cx, buf)
            }
        }
    };
    (AsyncWrite for $type:ty, |$this:ident| $stream:expr) => {
        /// See the implementation for `&TcpStream`.
        impl AsyncWrite for $type {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                let $this = &*self;
                Pin::new(&mut { $stream }).poll_write(cx, buf)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                let $this = &*self;
                Pin::new(&mut { $stream }).poll_write_vectored(cx, bufs)
            }

            fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let $this = &*self;
                Pin::new(&mut { $stream }).poll_close(cx)
            }
        }
    };
}

by_reference!(AsyncRead for TcpStream, |this| this);
by_reference!(AsyncWrite for TcpStream, |this| this);
by_reference!(AsyncRead for ReadHalf<'_>, |this| this.stream());
by_reference!(AsyncWrite for WriteHalf<'_>, |this| this.stream());
by_reference!(AsyncRead for OwnedReadHalf, |this| this.stream());
by_reference!(AsyncWrite for OwnedWriteHalf, |this| this.stream());
