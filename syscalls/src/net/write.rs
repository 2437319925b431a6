//! Writing.

use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use trapline_abi::Direction;

use crate::net::op::Op;
use crate::net::source::Source;
use crate::net::stream::TcpStream;

/// Writes once, without waiting.
#[inline]
pub(crate) fn write_now(source: &Source<std::net::TcpStream>, buf: &[u8]) -> io::Result<usize> {
    let written = io::Write::write(&mut source.get(), buf);
    if let Ok(written) = written {
        source.note_bytes(&buf[..written]);
    }
    source.note(Direction::Write, buf.len(), written)
}

impl TcpStream {
    /// Writes of `buf` what there is room for, at least a byte, and says how much. Waits until
    /// there is room.
    ///
    /// What is written is in the hands of the system; that the peer gets it is not said. To write
    /// all of `buf` use [`write_all`](TcpStream::write_all).
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// assert_eq!(stream.write(b"hello").await?, 5);
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// `BrokenPipe` or `ConnectionReset` if the peer is gone; what else the operating system says.
    ///
    /// # Cancel safety
    /// Safe: nothing has been written if it is dropped before it is ready.
    ///
    /// # Cost
    /// One system call, and a trap where there is no room.
    ///
    /// # Kin
    /// `send(2)`; pyos8 `Socket.send`.
    #[track_caller]
    pub fn write<'a>(&'a self, buf: &'a [u8]) -> Write<'a> {
        Write { source: &self.source, buf, op: Op::new(Location::caller()) }
    }

    /// Writes all of `buf`.
    ///
    /// Two tasks that write to one stream at once may find their bytes mixed: each piece that
    /// there is room for is written whole, and others may come between two pieces.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// # use trapline::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// Those of [`write`](TcpStream::write); how much was written before is not told.
    ///
    /// # Cancel safety
    /// Lossy: how much was written before it is dropped is not told.
    ///
    /// # Cost
    /// One system call where there is room; else one, and a trap, for each piece.
    ///
    /// # Kin
    /// `send(2)`, in a loop.
    #[track_caller]
    pub fn write_all<'a>(&'a self, buf: &'a [u8]) -> WriteAll<'a> {
        WriteAll { source: &self.source, rest: buf, op: Op::new(Location::caller()) }
    }

    /// Waits until there is room to write, or an error to be told.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.writable().await?;
    /// assert_eq!(stream.try_write(b"hello")?, 5);
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// What the operating system says of the wait.
    ///
    /// # Cancel safety
    /// Safe: it changes nothing.
    ///
    /// # Cost
    /// One trap; none where it is known that there is room.
    ///
    /// # Kin
    /// `poll(2)` with `POLLOUT`; [`write_wait`](crate::write_wait), for any descriptor.
    #[track_caller]
    pub fn writable(&self) -> Writable<'_> {
        Writable { source: &self.source, op: Op::new(Location::caller()) }
    }
}

/// The future of [`TcpStream::write`].
#[derive(Debug)]
#[must_use = "a system call does nothing until it is awaited"]
pub struct Write<'a> {
    source: &'a Source<std::net::TcpStream>,
    buf: &'a [u8],
    op: Op,
}

impl Future for Write<'_> {
    type Output = io::Result<usize>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Write { source, buf, op } = &mut *self;
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        op.poll(cx, source, ("write", Direction::Write), || write_now(source, buf))
    }
}

/// The future of [`TcpStream::write_all`].
#[derive(Debug)]
#[must_use = "a system call does nothing until it is awaited"]
pub struct WriteAll<'a> {
    source: &'a Source<std::net::TcpStream>,
    rest: &'a [u8],
    op: Op,
}

impl Future for WriteAll<'_> {
    type Output = io::Result<()>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let WriteAll { source, rest, op } = &mut *self;
        while !rest.is_empty() {
            let written = ready!(
                op.poll(cx, source, ("write", Direction::Write), || write_now(source, rest))
            )?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *rest = &rest[written..];
        }
        Poll::Ready(Ok(()))
    }
}

/// The future of [`TcpStream::writable`].
#[derive(Debug)]
#[must_use = "a system call does nothing until it is awaited"]
pub struct Writable<'a> {
    source: &'a Source<std::net::TcpStream>,
    op: Op,
}

impl Future for Writable<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Writable { source, op } = &mut *self;
        op.poll_ready(cx, source, ("writable", Direction::Write))
    }
}
