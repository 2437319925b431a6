//! The options of a connection.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use crate::net::stream::TcpStream;

/// Options. Each costs one system call and no trap, and fails with what `setsockopt(2)` or
/// `getsockopt(2)` says.
impl TcpStream {
    /// Sends small writes at once, instead of gathering them (Nagle's algorithm).
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_nodelay(true)?;
    /// assert!(stream.nodelay()?);
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// What the operating system says.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.source.get().set_nodelay(nodelay)
    }

    /// Whether small writes are sent at once.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_nodelay(false)?;
    /// assert!(!stream.nodelay()?);
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// What the operating system says.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.source.get().nodelay()
    }

    /// What becomes of what has not been sent when the connection is closed: `None`, the default,
    /// lets the system go on sending; zero drops it and resets the connection. Any other time makes
    /// the *close* wait, and with it every task: do not.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// // Closing resets the connection.
    /// stream.set_linger(Some(Duration::ZERO))?;
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// What the operating system says.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        SockRef::from(self.source.get()).set_linger(linger)
    }

    /// See [`set_linger`](TcpStream::set_linger).
    ///
    /// # Errors
    /// What the operating system says.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        SockRef::from(self.source.get()).linger()
    }

    /// The time to live of the packets sent: how many routers they may pass.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_ttl(7)?;
    /// assert_eq!(stream.ttl()?, 7);
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// What the operating system says.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.source.get().set_ttl(ttl)
    }

    /// See [`set_ttl`](TcpStream::set_ttl).
    ///
    /// # Errors
    /// What the operating system says.
    pub fn ttl(&self) -> io::Result<u32> {
        self.source.get().ttl()
    }

    /// Probes the peer after so long without traffic, so that one that vanished is noticed; `None`
    /// never does.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_keepalive(Some(Duration::from_secs(60)))?;
    /// stream.set_keepalive(None)?;
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// What the operating system says.
    pub fn set_keepalive(&self, idle: Option<Duration>) -> io::Result<()> {
        let socket = SockRef::from(self.source.get());
        match idle {
            Some(idle) => socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle)),
            None => socket.set_keepalive(false),
        }
    }

    /// How many bytes the system keeps for us to read.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        SockRef::from(self.source.get()).recv_buffer_size()
    }

    /// Sets it; Linux doubles the number.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_recv_buffer_size(64 * 1024)?;
    /// assert!(stream.recv_buffer_size()? > 0);
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// What the operating system says.
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        SockRef::from(self.source.get()).set_recv_buffer_size(bytes)
    }

    /// How many bytes the system keeps for the peer.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn send_buffer_size(&self) -> io::Result<usize> {
        SockRef::from(self.source.get()).send_buffer_size()
    }

    /// Sets it; Linux doubles the number.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_send_buffer_size(64 * 1024)?;
    /// assert!(stream.send_buffer_size()? > 0);
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// What the operating system says.
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        SockRef::from(self.source.get()).set_send_buffer_size(bytes)
    }

    /// Takes the error that is pending on the socket, if there is one. An operation would have
    /// returned it.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// assert!(stream.take_error()?.is_none());
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// What the operating system says of the asking.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.source.get().take_error()
    }
}
