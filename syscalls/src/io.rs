//! Readiness: wait until a descriptor can be read or written.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use trapline_abi::{Reply, Syscall, Target, Trap};

/// Waits until there is something to read from `fd`: data, the end of the stream, or an error.
///
/// It behaves as `poll(2)` does: it answers again for as long as anything is left to read, and at
/// once for a regular file. The future borrows the descriptor, so it stays open.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
///
/// let (mut ours, mut theirs) = UnixStream::pair()?;
/// theirs.write_all(b"hello")?;
/// trapline::read_wait(&ours).await?;
/// let mut word = [0; 5];
/// ours.read_exact(&mut word)?;
/// # std::io::Result::Ok(()) }).unwrap().unwrap();
/// ```
///
/// # Errors
/// What the operating system says of the descriptor (`EBADF`); an error of kind `NotConnected`, if
/// its number went to a new owner meanwhile.
///
/// # Cancel safety
/// Safe: nothing has been read.
///
/// # Cost
/// One trap and two system calls (`epoll_ctl`), one while others wait for the same number.
///
/// # Kin
/// `poll(2)` with `POLLIN`; pyos7 `ReadWait`.
#[doc(alias("wait_readable", "AsyncFd"))]
#[track_caller]
pub fn read_wait<F: AsFd + ?Sized>(fd: &F) -> ReadWait<'_> {
    let request = Syscall::ReadWait(target_of(fd.as_fd()));
    ReadWait { wait: IoWait::new(request, Location::caller()), fd: PhantomData }
}

/// Waits until there is room to write to `fd`, or an error.
///
/// All that [`read_wait`] says holds here.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::io::Write;
/// use std::os::unix::net::UnixStream;
///
/// let (mut stream, _peer) = UnixStream::pair()?;
/// stream.set_nonblocking(true)?;
/// trapline::write_wait(&stream).await?;
/// stream.write_all(b"there is room")?;
/// # std::io::Result::Ok(()) }).unwrap().unwrap();
/// ```
///
/// # Errors
/// As for [`read_wait`].
///
/// # Cancel safety
/// Safe: nothing has been written.
///
/// # Cost
/// As for [`read_wait`].
///
/// # Kin
/// `poll(2)` with `POLLOUT`; pyos7 `WriteWait`.
#[doc(alias = "wait_writable")]
#[track_caller]
pub fn write_wait<F: AsFd + ?Sized>(fd: &F) -> WriteWait<'_> {
    let request = Syscall::WriteWait(target_of(fd.as_fd()));
    WriteWait { wait: IoWait::new(request, Location::caller()), fd: PhantomData }
}

fn target_of(fd: BorrowedFd<'_>) -> Target {
    Target::borrowed(fd.as_raw_fd())
}

/// A wait for readiness, whatever it is for.
#[derive(Debug)]
pub(crate) struct IoWait {
    trap: Trap,
}

impl IoWait {
    pub(crate) fn new(request: Syscall, site: &'static Location<'static>) -> IoWait {
        IoWait { trap: Trap::new(request, site) }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Poll::Ready(reply) = self.trap.poll_reply(cx) else { return Poll::Pending };
        Poll::Ready(match reply {
            Reply::Os(errno) => Err(errno.to_error()),
            Reply::SourceClosed => {
                let text = "the descriptor was closed while a task waited for it";
                Err(io::Error::new(io::ErrorKind::NotConnected, text))
            }
            _ => Ok(()),
        })
    }
}

/// The future of [`read_wait`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::io::Write;
/// use std::os::unix::net::UnixStream;
///
/// let (mut ours, theirs) = UnixStream::pair().unwrap();
/// let wait = trapline::read_wait(&theirs);
/// ours.write_all(b"x").unwrap();
/// wait.await.unwrap();
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a system call does nothing until it is awaited"]
pub struct ReadWait<'a> {
    wait: IoWait,
    fd: PhantomData<BorrowedFd<'a>>,
}

impl Future for ReadWait<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wait.poll(cx)
    }
}

/// The future of [`write_wait`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::os::unix::net::UnixStream;
///
/// let (ours, _theirs) = UnixStream::pair().unwrap();
/// let wait = trapline::write_wait(&ours);
/// wait.await.unwrap();
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a system call does nothing until it is awaited"]
pub struct WriteWait<'a> {
    wait: IoWait,
    fd: PhantomData<BorrowedFd<'a>>,
}

impl Future for WriteWait<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wait.poll(cx)
    }
}
