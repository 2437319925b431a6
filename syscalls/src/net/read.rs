//! Reading.

use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use trapline_abi::Direction;

use crate::net::op::Op;
use crate::net::source::Source;
use crate::net::stream::TcpStream;

/// Reads once, without waiting.
#[inline]
pub(crate) fn read_now(source: &Source<std::net::TcpStream>, buf: &mut [u8]) -> io::Result<usize> {
    let read = io::Read::read(&mut source.get(), buf);
    if let Ok(read) = read {
        source.note_bytes(&buf[..read]);
    }
    source.note(Direction::Read, buf.len(), read)
}

impl TcpStream {
    /// Reads what there is, up to the length of `buf`, and says how much. Waits until there is
    /// something.
    ///
    /// `Ok(0)` means that the peer will write no more (or that `buf` is empty); writing to it may
    /// still work.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// # use trapline::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (stream, _) = listener.accept().await?;
    /// client.write_all(b"one two").await?;
    /// let mut buf = [0; 512];
    /// let read = stream.read(&mut buf).await?;
    /// assert_eq!(&buf[..read], b"one two");
    /// client.close();
    /// assert_eq!(stream.read(&mut buf).await?, 0);
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// `ConnectionReset` if the peer reset the connection; what else the operating system says.
    ///
    /// # Cancel safety
    /// Safe: nothing has been read if it is dropped before it is ready.
    ///
    /// # Cost
    /// One system call, and a trap where nothing is there. A read that took all there was makes
    /// the next one wait without trying.
    ///
    /// # Kin
    /// `recv(2)`; pyos8 `Socket.recv`.
    #[track_caller]
    pub fn read<'a>(&'a self, buf: &'a mut [u8]) -> Read<'a> {
        Read { source: &self.source, buf, op: Op::new(Location::caller()) }
    }

    /// Fills `buf`.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// # use trapline::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (stream, _) = listener.accept().await?;
    /// client.write_all(&7_u32.to_be_bytes()).await?;
    /// let mut number = [0; 4];
    /// stream.read_exact(&mut number).await?;
    /// assert_eq!(u32::from_be_bytes(number), 7);
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// `UnexpectedEof` if the stream ends before `buf` is full: what was read before is in `buf`,
    /// but how much is not told. Those of [`read`](TcpStream::read), and then too what was read is
    /// lost.
    ///
    /// # Cancel safety
    /// Lossy: what was read before it is dropped is gone from the stream, and how much of `buf` it
    /// fills is not told.
    ///
    /// # Cost
    /// As for [`read`](TcpStream::read), once for each piece in which the bytes come.
    ///
    /// # Kin
    /// `recv(2)` with `MSG_WAITALL`.
    #[track_caller]
    pub fn read_exact<'a>(&'a self, buf: &'a mut [u8]) -> ReadExact<'a> {
        ReadExact { source: &self.source, buf, filled: 0, op: Op::new(Location::caller()) }
    }

    /// As [`read`](TcpStream::read), but leaves what it read in the stream. Waits until there is
    /// something.
    ///
    /// It gives what is there; to peek again does not wait for more.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// # use trapline::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (stream, _) = listener.accept().await?;
    /// client.write_all(&[22, 3, 1]).await?;
    /// let mut first = [0];
    /// stream.peek(&mut first).await?;
    /// let is_tls = first[0] == 22;
    /// # assert!(is_tls);
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// Those of [`read`](TcpStream::read).
    ///
    /// # Cancel safety
    /// Safe: it takes nothing.
    ///
    /// # Cost
    /// One system call, and a trap where nothing is there.
    ///
    /// # Kin
    /// `recv(2)` with `MSG_PEEK`.
    #[track_caller]
    pub fn peek<'a>(&'a self, buf: &'a mut [u8]) -> Peek<'a> {
        Peek { source: &self.source, buf, op: Op::new(Location::caller()) }
    }

    /// Waits until there is something to read: data, the end of the stream, or an error.
    ///
    /// So an idle connection needs no buffer: see [`try_read`](TcpStream::try_read), which may still
    /// say `WouldBlock`: where other tasks read from the same stream one of them may have been
    /// faster, and after a read that filled its buffer to the last byte nobody knows whether
    /// anything is left. Then wait again.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (stream, _) = listener.accept().await?;
    /// client.write_all(b"hello").await?;
    /// stream.readable().await?;
    /// assert_eq!(stream.try_read(&mut [0; 8])?, 5);
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// What the operating system says of the wait. An error of the connection counts as something
    /// to read.
    ///
    /// # Cancel safety
    /// Safe: it takes nothing.
    ///
    /// # Cost
    /// One trap; none where it is known that there is something to read.
    ///
    /// # Kin
    /// `poll(2)` with `POLLIN`; [`read_wait`](crate::read_wait), for any descriptor.
    #[track_caller]
    pub fn readable(&self) -> Readable<'_> {
        Readable { source: &self.source, op: Op::new(Location::caller()) }
    }
}

/// The future of [`TcpStream::read`].
#[derive(Debug)]
#[must_use = "a system call does nothing until it is awaited"]
pub struct Read<'a> {
    source: &'a Source<std::net::TcpStream>,
    buf: &'a mut [u8],
    op: Op,
}

impl Future for Read<'_> {
    type Output = io::Result<usize>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Read { source, buf, op } = &mut *self;
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        op.poll(cx, source, ("read", Direction::Read), || read_now(source, buf))
    }
}

/// The future of [`TcpStream::read_exact`].
#[derive(Debug)]
#[must_use = "a system call does nothing until it is awaited"]
pub struct ReadExact<'a> {
    source: &'a Source<std::net::TcpStream>,
    buf: &'a mut [u8],
    filled: usize,
    op: Op,
}

impl Future for ReadExact<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ReadExact { source, buf, filled, op } = &mut *self;
        while *filled < buf.len() {
            let rest = &mut buf[*filled..];
            let read =
                ready!(op.poll(cx, source, ("read", Direction::Read), || read_now(source, rest)))?;
            if read == 0 {
                let text = "the stream ended before the buffer was full";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, text)));
            }
            *filled += read;
        }
        Poll::Ready(Ok(()))
    }
}

/// The future of [`TcpStream::peek`].
#[derive(Debug)]
#[must_use = "a system call does nothing until it is awaited"]
pub struct Peek<'a> {
    source: &'a Source<std::net::TcpStream>,
    buf: &'a mut [u8],
    op: Op,
}

impl Future for Peek<'_> {
    type Output = io::Result<usize>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Peek { source, buf, op } = &mut *self;
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        op.poll(cx, source, ("peek", Direction::Read), || source.get().peek(buf))
    }
}

/// The future of [`TcpStream::readable`].
#[derive(Debug)]
#[must_use = "a system call does nothing until it is awaited"]
pub struct Readable<'a> {
    source: &'a Source<std::net::TcpStream>,
    op: Op,
}

impl Future for Readable<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Readable { source, op } = &mut *self;
        op.poll_ready(cx, source, ("readable", Direction::Read))
    }
}
