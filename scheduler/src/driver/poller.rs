//! Readiness by `mio`, made when it is first needed: a scheduler that never waits for a
//! descriptor, and never sleeps, makes no system call.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Poll, Token};
use trapline_abi::Readiness;

use super::{Interest, IoEvent, Unpark, Waited};

/// Events taken in one look. 1,024 of them are 12 KiB; more only lengthen the batch.
const EVENTS: usize = 1024;

/// The token of the wake-ups. Sources have a generation above it.
const WAKE: Token = Token(usize::MAX);

#[derive(Debug, Default)]
pub(super) struct Poller {
    made: Option<(Poll, Events)>,
    unparker: Arc<Unparker>,
}

/// Wakes the poller. Where there is none yet, the flag keeps it from sleeping.
#[derive(Debug, Default)]
pub(super) struct Unparker {
    pending: AtomicBool,
    waker: OnceLock<mio::Waker>,
}

impl Unpark for Unparker {
    fn unpark(&self) {
        // A swap, not a store: it takes over the waker, if the loop has looked before.
        self.pending.swap(true, Ordering::SeqCst);
        if let Some(waker) = self.waker.get() {
            // It fails only where the poller is gone, and then there is nobody to wake.
            let _ = waker.wake();
        }
    }
}

fn interest_of(interest: Interest) -> mio::Interest {
    match interest {
        Interest::Read => mio::Interest::READABLE,
        Interest::Write => mio::Interest::WRITABLE,
        Interest::Both => mio::Interest::READABLE | mio::Interest::WRITABLE,
    }
}

fn readiness_of(event: &mio::event::Event) -> Readiness {
    let mut readiness = Readiness::NONE;
    for (holds, what) in [
        (event.is_readable(), Readiness::READABLE),
        (event.is_writable(), Readiness::WRITABLE),
        (event.is_read_closed() || event.is_error(), Readiness::READ_CLOSED),
        (event.is_write_closed() || event.is_error(), Readiness::WRITE_CLOSED),
    ] {
        if holds {
            readiness |= what;
        }
    }
    readiness
}

impl Poller {
    fn made(&mut self) -> io::Result<&mut (Poll, Events)> {
        if self.made.is_none() {
            let poll = Poll::new()?;
            let waker = mio::Waker::new(poll.registry(), WAKE)?;
            self.unparker.waker.get_or_init(|| waker);
            self.made = Some((poll, Events::with_capacity(EVENTS)));
        }
        self.made.as_mut().ok_or_else(|| io::Error::other("the poller was just made"))
    }

    pub(super) fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::clone(&self.unparker) as Arc<dyn Unpark>
    }

    pub(super) fn register(&mut self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        let (poll, _) = self.made()?;
        poll.registry().register(&mut SourceFd(&fd), Token(token as usize), interest_of(interest))
    }

    pub(super) fn reregister(
        &mut self,
        fd: RawFd,
        token: u64,
        interest: Interest,
    ) -> io::Result<()> {
        let (poll, _) = self.made()?;
        poll.registry().reregister(&mut SourceFd(&fd), Token(token as usize), interest_of(interest))
    }

    pub(super) fn deregister(&mut self, fd: RawFd) -> io::Result<()> {
        let (poll, _) = self.made()?;
        poll.registry().deregister(&mut SourceFd(&fd))
    }

    /// Waits for `timeout`, or without end.
    pub(super) fn wait(
        &mut self,
        timeout: Option<Duration>,
        events: &mut Vec<IoEvent>,
    ) -> io::Result<Waited> {
        if timeout == Some(Duration::ZERO) && self.made.is_none() {
            let unparked = self.unparker.pending.swap(false, Ordering::SeqCst);
            return Ok(if unparked { Waited::Woken } else { Waited::TimedOut });
        }
        let unparker = Arc::clone(&self.unparker);
        let (poll, happened) = self.made()?;
        let unparked = unparker.pending.swap(false, Ordering::SeqCst);
        let timeout = if unparked { Some(Duration::ZERO) } else { timeout };
        match poll.poll(happened, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Waited::Woken),
            polled => polled?,
        }
        unparker.pending.store(false, Ordering::SeqCst);
        let timed_out = happened.is_empty() && !unparked;
        let sources = happened.iter().filter(|event| event.token() != WAKE);
        events.extend(sources.map(|event| IoEvent {
            token: event.token().0 as u64,
            readiness: readiness_of(event),
        }));
        Ok(if timed_out { Waited::TimedOut } else { Waited::Woken })
    }
}
