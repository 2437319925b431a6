//! TCP: listeners, streams, and their halves.
//!
//! An operation is tried first, and traps only where it would block; what a socket is ready for is
//! remembered between operations, so that no read is made that is known to fail. A message echoed
//! costs one read, one write and one trap. What succeeds without a trap counts to the task's
//! quantum, and once that is spent an operation yields before it tries anything.
//!
//! The inherent operations take `&self`: a reader and a writer, or two readers, may use one stream,
//! and those who wait are woken in the order in which they came. The traits of `futures` are there
//! too, for libraries that want them.
//!
//! ```
//! # let mut scheduler = trapline_scheduler::Scheduler::new();
//! # scheduler.block_on(async { use trapline_syscalls as trapline;
//! use std::io;
//! use trapline::net::{TcpListener, TcpStream};
//!
//! async fn echo(stream: TcpStream) -> io::Result<()> {
//!     let mut buf = [0; 4096];
//!     loop {
//!         match stream.read(&mut buf).await? {
//!             0 => return Ok(()),
//!             read => stream.write_all(&buf[..read]).await?,
//!         }
//!     }
//! }
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! # let client = TcpStream::connect(listener.local_addr()?).await?;
//! loop {
//!     let (stream, _peer) = listener.accept().await?;
//!     trapline::spawn_detached(async { echo(stream).await.unwrap_or_default() });
//! #   break;
//! }
//! # client.write_all(b"hello").await?;
//! # client.read_exact(&mut [0; 5]).await?;
//! # std::io::Result::Ok(()) }).unwrap().unwrap();
//! ```
//!
//! Names are not resolved: asking a name server would stop every task. See [`ToAddrs`].
//!
//! # How a stream can end
//!
//! | what the peer did | `read` gives | `read_exact` gives |
//! |---|---|---|
//! | shut down its writing side, or closed | `Ok(0)`; writing still works after a half-close | an error of kind `UnexpectedEof` |
//! | reset the connection | an error of kind `ConnectionReset` | the same |
//!
//! Writing after the peer has gone gives `BrokenPipe` or `ConnectionReset`; no signal is raised.

mod addr;

mod listener;
mod stream;

mod connect;
mod read;
mod write;

mod options;
mod poll;
mod split;

mod op;
mod source;

pub use addr::ToAddrs;
pub use connect::{Connect, ConnectTimeout};
pub use listener::{Accept, Incoming, TcpListener};
pub use read::{Peek, Read, ReadExact, Readable};
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
pub use stream::TcpStream;
pub use write::{Writable, Write, WriteAll};
