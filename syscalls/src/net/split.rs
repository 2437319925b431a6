//! The two halves of a stream.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;

use thiserror::Error;

use crate::net::read::{Peek, Read, ReadExact, Readable};
use crate::net::stream::TcpStream;
use crate::net::write::{Writable, Write, WriteAll};

impl TcpStream {
    /// A half to read from and a half to write to, which borrow the stream.
    ///
    /// Where `futures::AsyncReadExt` is in scope its own `split` comes first: then write
    /// `TcpStream::split(&stream)`.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// # use trapline::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (stream, _) = listener.accept().await?;
    /// # client.write_all(b"hello").await?;
    /// # client.shutdown(std::net::Shutdown::Write)?;
    /// let (reader, mut writer) = stream.split();
    /// let echoed = futures::io::copy(reader, &mut writer).await?;
    /// # assert_eq!(echoed, 5);
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Cost
    /// Nothing.
    #[must_use]
    pub fn split(&self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        (ReadHalf { stream: self }, WriteHalf { stream: self })
    }

    /// A half to read from and a half to write to, which own the stream together and may go to
    /// different tasks.
    ///
    /// Dropping the writing half shuts the writing side down; the stream is closed when both are
    /// gone.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// # use trapline::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (stream, _) = listener.accept().await?;
    /// let (reader, writer) = stream.into_split();
    /// trapline::spawn_detached(async move { writer.write_all(b"greetings").await.unwrap() });
    /// client.write_all(b"hello").await?;
    /// reader.read_exact(&mut [0; 5]).await?;
    /// # client.read_exact(&mut [0; 9]).await?;
    /// # assert_eq!(client.read(&mut [0]).await?, 0);
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Cost
    /// One allocation.
    #[must_use]
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        let stream = Rc::new(self);
        let shuts_down = true;
        (OwnedReadHalf { stream: Rc::clone(&stream) }, OwnedWriteHalf { stream, shuts_down })
    }
}

macro_rules! reading_half {
    ($type:ty) => {
        /// Each does what the method of the same name does on a [`TcpStream`].
        impl $type {
            /// See [`TcpStream::read`].
            #[track_caller]
            pub fn read<'a>(&'a self, buf: &'a mut [u8]) -> Read<'a> {
                self.stream().read(buf)
            }

            /// See [`TcpStream::read_exact`].
            #[track_caller]
            pub fn read_exact<'a>(&'a self, buf: &'a mut [u8]) -> ReadExact<'a> {
                self.stream().read_exact(buf)
            }

            /// See [`TcpStream::peek`].
            #[track_caller]
            pub fn peek<'a>(&'a self, buf: &'a mut [u8]) -> Peek<'a> {
                self.stream().peek(buf)
            }

            /// See [`TcpStream::readable`].
            #[track_caller]
            pub fn readable(&self) -> Readable<'_> {
                self.stream().readable()
            }

            /// See [`TcpStream::try_read`].
            ///
            /// # Errors
            /// `WouldBlock` if there is nothing to read; those of [`TcpStream::read`].
            #[track_caller]
            pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.stream().try_read(buf)
            }

            /// See [`TcpStream::peer_addr`].
            ///
            /// # Errors
            /// `NotConnected` if the connection is gone.
            pub fn peer_addr(&self) -> io::Result<SocketAddr> {
                self.stream().peer_addr()
            }
        }
    };
}

macro_rules! writing_half {
    ($type:ty) => {
        /// Each does what the method of the same name does on a [`TcpStream`].
        impl $type {
            /// See [`TcpStream::write`].
            #[track_caller]
            pub fn write<'a>(&'a self, buf: &'a [u8]) -> Write<'a> {
                self.stream().write(buf)
            }

            /// See [`TcpStream::write_all`].
            #[track_caller]
            pub fn write_all<'a>(&'a self, buf: &'a [u8]) -> WriteAll<'a> {
                self.stream().write_all(buf)
            }

            /// See [`TcpStream::writable`].
            #[track_caller]
            pub fn writable(&self) -> Writable<'_> {
                self.stream().writable()
            }

            /// See [`TcpStream::try_write`].
            ///
            /// # Errors
            /// `WouldBlock` if there is no room; those of [`TcpStream::write`].
            #[track_caller]
            pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
                self.stream().try_write(buf)
            }

            /// Shuts down the writing side: the peer reads the end of the stream.
            ///
            /// # Errors
            /// `NotConnected` if the connection is gone already.
            pub fn shutdown(&self) -> io::Result<()> {
                self.stream().shutdown(Shutdown::Write)
            }

            /// See [`TcpStream::peer_addr`].
            ///
            /// # Errors
            /// `NotConnected` if the connection is gone.
            pub fn peer_addr(&self) -> io::Result<SocketAddr> {
                self.stream().peer_addr()
            }
        }
    };
}

/// The half of [`TcpStream::split`] to read from.
#[derive(Clone, Copy, Debug)]
pub struct ReadHalf<'a> {
    stream: &'a TcpStream,
}

/// The half of [`TcpStream::split`] to write to. Dropping it changes nothing.
#[derive(Clone, Copy, Debug)]
pub struct WriteHalf<'a> {
    stream: &'a TcpStream,
}

impl ReadHalf<'_> {
    pub(crate) fn stream(&self) -> &TcpStream {
        self.stream
    }
}

impl WriteHalf<'_> {
    pub(crate) fn stream(&self) -> &TcpStream {
        self.stream
    }
}

reading_half!(ReadHalf<'_>);
writing_half!(WriteHalf<'_>);

/// The half of [`TcpStream::into_split`] to read from.
#[derive(Debug)]
pub struct OwnedReadHalf {
    stream: Rc<TcpStream>,
}

/// The half of [`TcpStream::into_split`] to write to. Dropping it shuts the writing side down.
#[derive(Debug)]
pub struct OwnedWriteHalf {
    stream: Rc<TcpStream>,
    shuts_down: bool,
}

impl OwnedReadHalf {
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Makes one stream of the two halves again.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// let (reader, writer) = stream.into_split();
    /// let stream = reader.reunite(writer).unwrap();
    /// stream.write_all(b"whole again").await?;
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// Both halves, if they are not of the same stream.
    #[expect(clippy::missing_panics_doc, reason = "halves are made in pairs, and not cloned")]
    pub fn reunite(self, mut writer: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        if !Rc::ptr_eq(&self.stream, &writer.stream) {
            return Err(ReuniteError(self, writer));
        }
        writer.shuts_down = false;
        drop(writer);
        Ok(Rc::into_inner(self.stream).expect("a stream has one half of each kind"))
    }
}

impl OwnedWriteHalf {
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Drops it without shutting the writing side down.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (stream, _) = listener.accept().await?;
    /// let (reader, writer) = client.into_split();
    /// // Dropped, it would have told the peer that nothing more comes.
    /// writer.forget();
    /// assert!(stream.try_read(&mut [0]).is_err());
    /// # drop(reader);
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    pub fn forget(mut self) {
        self.shuts_down = false;
    }
}

reading_half!(OwnedReadHalf);
writing_half!(OwnedWriteHalf);

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if self.shuts_down {
            // It fails where the connection is gone, and then there is nobody to tell.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }
}

/// The halves are not of the same stream. Both are in it.
#[derive(Error)]
#[error("the halves are of two streams")]
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

impl fmt::Debug for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReuniteError").finish_non_exhaustive()
    }
}
