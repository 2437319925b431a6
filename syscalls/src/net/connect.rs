//! Connecting, to the first address that answers.

use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use trapline_abi::Direction;

use crate::net::addr::{ToAddrs, resolve};
use crate::net::op::Op;
use crate::net::source::Source;
use crate::net::stream::TcpStream;
use crate::time::{Timeout, timeout};

impl TcpStream {
    /// Connects to the first of `addrs` that accepts; they are tried one after the other.
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
    /// What the last address answered (`ConnectionRefused`, `HostUnreachable`, …); `InvalidInput`
    /// for a host name, see [`ToAddrs`].
    ///
    /// # Cancel safety
    /// Safe: the connection under way is closed.
    ///
    /// # Cost
    /// One trap and some system calls an address.
    ///
    /// # Kin
    /// `connect(2)`; [`std::net::TcpStream::connect`], which blocks.
    #[track_caller]
    pub fn connect(addrs: impl ToAddrs) -> Connect {
        Connect {
            addrs: resolve(&addrs).map(Vec::into_iter),
            under_way: None,
            last: None,
            op: Op::new(Location::caller()),
        }
    }

    /// As [`connect`](TcpStream::connect), with so much time for all the addresses together.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let patience = Duration::from_secs(5);
    /// let stream = TcpStream::connect_timeout(listener.local_addr()?, patience).await?;
    /// # drop(stream); std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// `TimedOut` when the time is up; those of [`connect`](TcpStream::connect).
    ///
    /// # Cancel safety
    /// Safe: the connection under way is closed.
    ///
    /// # Cost
    /// As `connect`, and a timer.
    ///
    /// # Kin
    /// [`std::net::TcpStream::connect_timeout`], which takes one address.
    #[track_caller]
    pub fn connect_timeout(addrs: impl ToAddrs, patience: Duration) -> ConnectTimeout {
        ConnectTimeout { connect: timeout(patience, TcpStream::connect(addrs)) }
    }
}

/// The future of [`TcpStream::connect`].
#[derive(Debug)]
#[must_use = "a system call does nothing until it is awaited"]
pub struct Connect {
    /// Those that are yet to be tried.
    addrs: io::Result<std::vec::IntoIter<SocketAddr>>,
    // The trap goes before the source it waits for.
    op: Op,
    under_way: Option<Source<std::net::TcpStream>>,
    last: Option<io::Error>,
}

impl Connect {
    /// Begins with the next address. `None` where there is no other.
    fn begin_next(&mut self) -> Option<io::Result<Source<std::net::TcpStream>>> {
        match &mut self.addrs {
            Ok(addrs) => addrs.next().map(|addr| begin(addr, self.op.site())),
            Err(_) => None,
        }
    }

    fn give_up(&mut self) -> io::Error {
        let addrs = std::mem::replace(&mut self.addrs, Ok(Vec::new().into_iter()));
        let unspoken = || io::Error::from(io::ErrorKind::InvalidInput);
        addrs.err().or(self.last.take()).unwrap_or_else(unspoken)
    }
}

impl Future for Connect {
    type Output = io::Result<TcpStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        let this = &mut *self;
        loop {
            if this.under_way.is_none() {
                ready!(this.op.poll_rest(cx))?;
                match this.begin_next() {
                    None => return Poll::Ready(Err(this.give_up())),
                    Some(Ok(source)) => this.under_way = Some(source),
                    Some(Err(error)) => this.last = Some(error),
                }
            }
            let Some(source) = &this.under_way else { continue };
            let attempt = || outcome(source.get());
            let connected =
                ready!(this.op.poll(cx, source, ("connect", Direction::Write), attempt));
            let source = this.under_way.take();
            match (connected, source) {
                (Ok(()), Some(source)) => {
                    return Poll::Ready(Ok(TcpStream::from_source(source)));
                }
                (Ok(()), None) => {}
                (Err(error), _) => this.last = Some(error),
            }
        }
    }
}

fn begin(
    addr: SocketAddr,
    site: &'static Location<'static>,
) -> io::Result<Source<std::net::TcpStream>> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(addr), kind, Some(Protocol::TCP))?;
    let begun = socket.connect(&addr.into());
    let source = Source::new(std::net::TcpStream::from(socket), site);
    match begun.map_err(|error| error.raw_os_error().map(Errno::from_raw_os_error)) {
        Ok(()) => {}
        // An interrupted connect goes on as well.
        Err(Some(Errno::INPROGRESS | Errno::INTR)) => source.told_to_wait(Direction::Write),
        Err(errno) => return Err(errno.map_or_else(|| io::ErrorKind::Other.into(), Into::into)),
    }
    Ok(source)
}

/// What became of a connect under way.
fn outcome(stream: &std::net::TcpStream) -> io::Result<()> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            Err(io::ErrorKind::WouldBlock.into())
        }
        other => other.map(drop),
    }
}

/// The future of [`TcpStream::connect_timeout`].
#[derive(Debug)]
#[must_use = "a system call does nothing until it is awaited"]
pub struct ConnectTimeout {
    connect: Timeout<Connect>,
}

impl Future for ConnectTimeout {
    type Output = io::Result<TcpStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        match ready!(Pin::new(&mut self.connect).poll(cx)) {
            Ok(connected) => Poll::Ready(connected),
            Err(elapsed) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, elapsed))),
        }
    }
}
