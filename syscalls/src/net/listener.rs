//! Listening: bind, accept.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, Socket, Type};
use trapline_abi::{Direction, Post, Ring, Syscall};

use crate::net::addr::{ToAddrs, resolve};
use crate::net::op::Op;
use crate::net::source::Source;
use crate::net::stream::TcpStream;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// The first pause of an `accept` for which there was no descriptor, and the longest: short enough
/// that nobody notices where one is freed soon, long enough to cost nothing where none is.
const FIRST_PAUSE_NANOS: u64 = 10_000_000;
const LONGEST_PAUSE_NANOS: u64 = 1_000_000_000;

/// A TCP socket that listens.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let addr = listener.local_addr()?;
/// trapline::spawn_detached(async move {
///     let client = TcpStream::connect(addr).await.unwrap();
///     client.write_all(b"hello").await.unwrap();
/// });
/// let (stream, _peer) = listener.accept().await?;
/// let mut word = [0; 5];
/// stream.read_exact(&mut word).await?;
/// assert_eq!(&word, b"hello");
/// # std::io::Result::Ok(()) }).unwrap().unwrap();
/// ```
#[derive(Debug)]
pub struct TcpListener {
    source: Source<std::net::TcpListener>,
    /// How long the last `accept` that found no descriptor paused; zero once one was found.
    pause_nanos: Cell<u64>,
    /// Whether it has been said that there is no descriptor, since `accept` last found nobody.
    warned: Cell<bool>,
}

impl TcpListener {
    /// Listens on the first of `addrs` that can be bound, with `SO_REUSEADDR` set. Port 0 asks for
    /// any free port.
    ///
    /// It may be called anywhere, also before there is a scheduler.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::TcpListener;
    ///
    /// // The system chooses a port.
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// assert_ne!(listener.local_addr()?.port(), 0);
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// What the operating system says of the last address (`AddrInUse`, `PermissionDenied`, …);
    /// `InvalidInput` for a host name, see [`ToAddrs`].
    ///
    /// # Cost
    /// Four system calls, no trap.
    ///
    /// # Kin
    /// `socket(2)`, `bind(2)`, `listen(2)`.
    #[track_caller]
    pub fn bind(addrs: impl ToAddrs) -> io::Result<TcpListener> {
        let (mut last, site) = (None, Location::caller());
        for addr in resolve(&addrs)? {
            match listen(addr) {
                Ok(listener) => return Ok(TcpListener::of(listener, site)),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::InvalidInput.into()))
    }

    /// Takes over a listener of the standard library, and makes it nonblocking.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::TcpListener;
    ///
    /// let inherited = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let listener = TcpListener::from_std(inherited)?;
    /// listener.local_addr()?;
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// What `fcntl(2)` says.
    #[track_caller]
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        Ok(TcpListener::of(listener, Location::caller()))
    }

    fn of(listener: std::net::TcpListener, site: &'static Location<'static>) -> TcpListener {
        TcpListener {
            source: Source::new(listener, site),
            pause_nanos: Cell::new(0),
            warned: Cell::new(false),
        }
    }

    /// Gives the listener back to the standard library, blocking again.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::TcpListener;
    ///
    /// let listener: std::net::TcpListener = TcpListener::bind("127.0.0.1:0")?.into_std()?;
    /// listener.local_addr()?;
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// What `fcntl(2)` says; the listener is closed then.
    pub fn into_std(self) -> io::Result<std::net::TcpListener> {
        let listener = self.source.into_inner();
        listener.set_nonblocking(false)?;
        Ok(listener)
    }

    /// The address it listens on: tells the port where 0 was asked for.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::TcpListener;
    ///
    /// assert!(TcpListener::bind("127.0.0.1:0")?.local_addr()?.ip().is_loopback());
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// What `getsockname(2)` says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get().local_addr()
    }

    /// Waits for a connection, and gives it with the address of the peer.
    ///
    /// Where there is no descriptor or memory left for it (`EMFILE`, `ENFILE`, `ENOBUFS`,
    /// `ENOMEM`) it says so once, pauses, and tries again: after 10 ms at first, then after twice
    /// as long each time, up to a second. A connection that was aborted, or that the network lost,
    /// before it could be accepted is passed over.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (_stream, peer) = listener.accept().await?;
    /// assert_eq!(peer, client.local_addr()?);
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// What else `accept(2)` says. None of it is to be expected of a socket that listens.
    ///
    /// # Cancel safety
    /// Safe: no connection is lost.
    ///
    /// # Cost
    /// One system call, and a trap where nobody has connected.
    ///
    /// # Kin
    /// `accept4(2)`; pyos8 `Socket.accept`.
    #[track_caller]
    pub fn accept(&self) -> Accept<'_> {
        self.accept_at(Location::caller())
    }

    /// The same for whoever stands at `site`.
    pub(crate) fn accept_at(&self, site: &'static Location<'static>) -> Accept<'_> {
        Accept { listener: self, op: Op::new(site) }
    }

    /// Waits until somebody has connected, for whoever stands at `site`.
    pub(crate) async fn acceptable_at(&self, site: &'static Location<'static>) -> io::Result<()> {
        let mut op = Op::new(site);
        poll_fn(|cx| op.poll_ready(cx, &self.source, ("readable", Direction::Read))).await
    }

    /// The connections, one after the other: [`accept`](TcpListener::accept) as a stream, which
    /// never ends.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use futures::StreamExt;
    /// use trapline::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let _client = TcpStream::connect(listener.local_addr()?).await?;
    /// let mut incoming = listener.incoming();
    /// while let Some(stream) = incoming.next().await {
    ///     println!("{} is here", stream?.peer_addr()?);
    /// #   break;
    /// }
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// Those of [`accept`](TcpListener::accept).
    ///
    /// # Cancel safety
    /// Safe: no connection is lost.
    #[track_caller]
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { accept: self.accept() }
    }

    /// Closes it. Those who connected and were not accepted are told that they were reset.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let addr = listener.local_addr()?;
    /// listener.close();
    /// assert!(TcpStream::connect(addr).await.is_err());
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    pub fn close(self) {}

    fn accept_now(&self) -> io::Result<(std::net::TcpStream, SocketAddr)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let accepted = acceptfrom_with(self.source.get(), flags);
        // To be told to wait means that there was a descriptor. Only then is the shortage over:
        // while it lasts, each that is freed goes to the next in line, and the one behind it waits.
        match accepted {
            Ok(_) => self.pause_nanos.set(0),
            Err(Errno::AGAIN) => {
                self.pause_nanos.set(0);
                self.warned.set(false);
            }
            Err(_) => {}
        }
        let (fd, peer) = accepted?;
        let stream = std::net::TcpStream::from(fd);
        let peer = match peer.and_then(|peer| SocketAddr::try_from(peer).ok()) {
            Some(peer) => peer,
            None => stream.peer_addr()?,
        };
        Ok((stream, peer))
    }

    /// How long to pause for want of a descriptor. Says so at the first time of a spell.
    fn next_pause(&self, errno: Errno, site: &'static Location<'static>) -> u64 {
        let pause = match self.pause_nanos.get() {
            0 => FIRST_PAUSE_NANOS,
            last => LONGEST_PAUSE_NANOS.min(last * 2),
        };
        self.pause_nanos.set(pause);
        if !self.warned.replace(true) {
            Ring::of_running_task().post(Post::Warn(out_of(errno), site));
        }
        pause
    }
}

fn listen(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(addr), kind, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether the connection, not the listener, is at fault. See "Error handling" in `accept(2)`.
fn is_of_connection(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::CONNABORTED
            | Errno::CONNRESET
            | Errno::PROTO
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
    )
}

fn is_exhaustion(errno: Errno) -> bool {
    matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
}

fn out_of(errno: Errno) -> &'static str {
    match errno {
        Errno::MFILE => "accept: this process has no descriptor left (EMFILE); it tries again",
        Errno::NFILE => "accept: the system has no descriptor left (ENFILE); it tries again",
        _ => "accept: there is no memory for a connection; it tries again",
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.get().as_fd()
    }
}

impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.source.get().as_raw_fd()
    }
}

/// The future of [`TcpListener::accept`].
#[derive(Debug)]
#[must_use = "a system call does nothing until it is awaited"]
pub struct Accept<'a> {
    listener: &'a TcpListener,
    op: Op,
}

impl Accept<'_> {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let Accept { listener, op } = self;
        loop {
            let accepted = op
                .poll(cx, &listener.source, ("accept", Direction::Read), || listener.accept_now());
            let error = match ready!(accepted) {
                Ok((stream, peer)) => {
                    return Poll::Ready(Ok((TcpStream::of(stream, op.site()), peer)));
                }
                Err(error) => error,
            };
            let errno = error.raw_os_error().map(Errno::from_raw_os_error);
            match errno {
                Some(errno) if is_of_connection(errno) => {}
                // The listener is left as ready as it was: no event will tell again.
                Some(errno) if is_exhaustion(errno) => {
                    let nanos = listener.next_pause(errno, op.site());
                    return op.wait(cx, Syscall::Sleep { nanos });
                }
                _ => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Future for Accept<'_> {
    type Output = io::Result<(TcpStream, SocketAddr)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_accept(cx)
    }
}

/// The stream of [`TcpListener::incoming`].
#[derive(Debug)]
#[must_use = "a stream does nothing until it is polled"]
pub struct Incoming<'a> {
    accept: Accept<'a>,
}

impl Stream for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted = ready!(self.accept.poll_accept(cx));
        Poll::Ready(Some(accepted.map(|(stream, _)| stream)))
    }
}
