//! Sockets that [`hyper`](https://docs.rs/hyper) 1.x reads and writes: for servers and clients of HTTP/1.1.
//!
//! With the feature `hyper`. What hyper needs else of a runtime, HTTP/1.1 does without: connections are
//! served by tasks that one spawns, and [`timeout`](crate::timeout) ends those that take too long.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::hyper::rt::{Read, ReadBufCursor, Write};
use futures::io::{AsyncRead, AsyncWrite};

/// So much is read at a time, at most.
const BUFFER: usize = 8 * 1024;

/// A stream, such as a [`TcpStream`](crate::net::TcpStream), as hyper wants it.
///
/// ```
/// use hyper::body::Incoming;
/// use hyper::service::service_fn;
/// use hyper::{Request, Response};
/// use trapline::hyper::HyperIo;
/// use trapline::net::{TcpListener, TcpStream};
/// # trapline::Scheduler::new().block_on(async {
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let server = trapline::spawn(async move {
///     let (stream, _) = listener.accept().await?;
///     let hello = service_fn(async |_: Request<Incoming>| {
///         Ok::<_, std::convert::Infallible>(Response::new("hello\n".to_owned()))
///     });
///     let mut http = hyper::server::conn::http1::Builder::new();
///     http.keep_alive(false).serve_connection(HyperIo::new(stream), hello).await
///         .map_err(std::io::Error::other)
/// })
/// .await;
///
/// let stream = TcpStream::connect(address).await?;
/// stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await?;
/// let mut answer = [0; 15];
/// stream.read_exact(&mut answer).await?;
/// assert_eq!(&answer, b"HTTP/1.1 200 OK");
/// server.await.unwrap()?;
/// # Ok::<(), std::io::Error>(()) }).unwrap().unwrap();
/// ```
pub struct HyperIo<T> {
    inner: T,
    buffer: Box<[u8]>,
}

impl<T> HyperIo<T> {
    /// Gives a stream to hyper.
    #[must_use]
    pub fn new(inner: T) -> HyperIo<T> {
        HyperIo { inner, buffer: vec![0; BUFFER].into() }
    }

    /// The stream.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// The stream, back from hyper.
    pub fn into_inner(self) -> T {
        self.inner
    }
}

impl<T: fmt::Debug> fmt::Debug for HyperIo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HyperIo").field(&self.inner).finish()
    }
}

impl<T: AsyncRead + Unpin> Read for HyperIo<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let HyperIo { inner, buffer } = self.get_mut();
        // Hyper's own buffer is not initialised, and may be filled with no more than its room.
        let most = into.remaining().min(buffer.len());
        let count = ready!(Pin::new(inner).poll_read(context, &mut buffer[..most]))?;
        into.put_slice(&buffer[..count]);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> Write for HyperIo<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_close(context)
    }
}
