//! A connection.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::Location;

use crate::net::poll::Polled;
use crate::net::source::Source;

/// A TCP connection.
///
/// Its operations take `&self`: several tasks may use it at once, and it splits into halves
/// ([`split`](TcpStream::split), [`into_split`](TcpStream::into_split)). An idle connection that
/// waits in [`readable`](TcpStream::readable) needs no buffer.
///
/// It implements `AsyncRead` and `AsyncWrite` of the `futures` crate. Import its `AsyncReadExt` for what is
/// not here, such as `read_to_end` and `read_to_string`, and wrap it in its `BufReader` to read lines.
///
/// It stays on its thread. It may be made and dropped outside a scheduler, and used under one after
/// the other.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::io::{Read, Write};
/// use trapline::net::TcpStream;
///
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let addr = listener.local_addr()?;
/// let peer = std::thread::spawn(move || {
///     let (mut peer, _) = listener.accept().unwrap();
///     let mut line = String::new();
///     peer.read_to_string(&mut line).unwrap();
///     peer.write_all(line.to_uppercase().as_bytes()).unwrap();
/// });
///
/// let stream = TcpStream::connect(addr).await?;
/// stream.write_all(b"trap").await?;
/// stream.shutdown(std::net::Shutdown::Write)?;
/// let mut answer = [0; 4];
/// stream.read_exact(&mut answer).await?;
/// assert_eq!(&answer, b"TRAP");
/// # peer.join().unwrap();
/// # std::io::Result::Ok(()) }).unwrap().unwrap();
/// ```
pub struct TcpStream {
    /// The traps of `AsyncRead` and `AsyncWrite` between two polls. They go before the source.
    pub(crate) polled: RefCell<Option<Box<Polled>>>,
    pub(crate) source: Source<std::net::TcpStream>,
}

impl TcpStream {
    pub(crate) fn of(stream: std::net::TcpStream, site: &'static Location<'static>) -> TcpStream {
        TcpStream::from_source(Source::new(stream, site))
    }

    pub(crate) fn from_source(source: Source<std::net::TcpStream>) -> TcpStream {
        TcpStream { polled: RefCell::default(), source }
    }

    /// Takes over a stream of the standard library, and makes it nonblocking.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// TcpStream::from_std(stream)?.write_all(b"hello").await?;
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// What `fcntl(2)` says.
    #[track_caller]
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<TcpStream> {
        stream.set_nonblocking(true)?;
        Ok(TcpStream::of(stream, Location::caller()))
    }

    /// Gives the stream back to the standard library, blocking again.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// let blocking: std::net::TcpStream = stream.into_std()?;
    /// blocking.peer_addr()?;
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// What `fcntl(2)` says; the stream is closed then.
    pub fn into_std(self) -> io::Result<std::net::TcpStream> {
        drop(self.polled);
        let stream = self.source.into_inner();
        stream.set_nonblocking(false)?;
        Ok(stream)
    }

    /// Reads into `buf` if there is something to read now.
    ///
    /// Where it is known that there is not, no system call is made. Outside a task, and before the
    /// first wait, it is always tried.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// # use trapline::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (stream, _) = listener.accept().await?;
    /// # client.write_all(b"hello").await?;
    /// // No buffer is held while the connection is idle.
    /// let word = loop {
    ///     stream.readable().await?;
    ///     let mut buf = [0; 512];
    ///     match stream.try_read(&mut buf) {
    ///         Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
    ///         read => break buf[..read?].to_vec(),
    ///     }
    /// };
    /// assert_eq!(word, b"hello");
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// `WouldBlock` if there is nothing; those of [`read`](TcpStream::read).
    ///
    /// # Cost
    /// One system call or none, no trap. What it reads counts to the quantum, but it never yields.
    #[track_caller]
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        use crate::net::read::read_now;
        // The loop in `try_now` ends with a buffer used once.
        let buf = RefCell::new(buf);
        let site = Location::caller();
        self.source.try_now(trapline_abi::Direction::Read, "read", site, || {
            read_now(&self.source, &mut buf.borrow_mut())
        })
    }

    /// Writes of `buf` what there is room for now, and says how much.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// assert_eq!(stream.try_write(b"hello")?, 5);
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// `WouldBlock` if there is no room; those of [`write`](TcpStream::write).
    ///
    /// # Cost
    /// As for [`try_read`](TcpStream::try_read).
    #[track_caller]
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        use crate::net::write::write_now;
        let site = Location::caller();
        let attempt = || write_now(&self.source, buf);
        self.source.try_now(trapline_abi::Direction::Write, "write", site, attempt)
    }

    /// Shuts down the reading side, the writing side, or both. The descriptor stays open.
    ///
    /// The peer reads the end of the stream once it has read what was written before. Own tasks
    /// that wait to read are woken and get `Ok(0)` where the reading side is shut down.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::net::Shutdown;
    /// use trapline::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (stream, _) = listener.accept().await?;
    /// client.shutdown(Shutdown::Write)?;
    /// // The other side reads the end, and may still write.
    /// assert_eq!(stream.read(&mut [0; 8]).await?, 0);
    /// stream.write_all(b"goodbye").await?;
    /// client.read_exact(&mut [0; 7]).await?;
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// `NotConnected` if the connection is gone already.
    ///
    /// # Cost
    /// One system call, no trap.
    ///
    /// # Kin
    /// `shutdown(2)`.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.source.get().shutdown(how)
    }

    /// Closes the connection, as dropping it does: at once. What was written is still sent.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (stream, _) = listener.accept().await?;
    /// client.close();
    /// assert_eq!(stream.read(&mut [0; 8]).await?, 0);
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Cost
    /// One system call, no trap.
    pub fn close(self) {}

    /// The address of the peer.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// `NotConnected` if the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.source.get().peer_addr()
    }

    /// The address of this end.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// assert!(stream.local_addr()?.ip().is_loopback());
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// What `getsockname(2)` says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get().local_addr()
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpStream")
            .field("fd", &self.as_raw_fd())
            .field("peer", &self.peer_addr().ok())
            .finish_non_exhaustive()
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.get().as_fd()
    }
}

impl AsRawFd for TcpStream {
    fn as_raw_fd(&self) -> RawFd {
        self.source.get().as_raw_fd()
    }
}
