//! What is answered: a text, or a file's bytes as they come.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use trapline::Sleep;

/// So much of a file is in memory for a client, and so much again in what is on its way.
const PORTION: u64 = 64 * 1024;

/// What has been written is on its way within this.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) enum Content {
    Whole(Option<Bytes>),
    Growing(Growing),
}

impl Content {
    pub(super) fn text(text: impl Into<Bytes>) -> Content {
        Content::Whole(Some(text.into()))
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Content::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Growing(growing) => {
                growing.poll(context).map(|read| read.transpose().map(|read| read.map(Frame::data)))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Content::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Content::Growing(growing) => growing.size_hint(),
        }
    }
}

/// A file from a place on, read as whoever it is for takes it: nothing is kept of what has been sent, and many may be
/// at many places.
pub(super) struct Growing {
    file: Rc<File>,
    at: u64,
    end: End,
    pause: Option<Sleep>,
}

/// Where one stops reading.
pub(super) enum End {
    /// Here, or where the file ends now.
    At(u64),
    /// Where the file ends once this is no longer so.
    While(Box<dyn Fn() -> bool>),
}

impl Growing {
    pub(super) fn new(file: &Rc<File>, from: u64, end: End) -> io::Result<Growing> {
        let end = match end {
            End::At(end) => End::At(end.min(file.metadata()?.len())),
            goes_on => goes_on,
        };
        Ok(Growing { file: Rc::clone(file), at: from, end, pause: None })
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(Pin::new(pause).poll(context));
                self.pause = None;
            }
            // Asked before it is read: what was written until then is sent.
            let (most, may_grow) = match &self.end {
                End::At(end) => (end.saturating_sub(self.at), false),
                End::While(goes_on) => (u64::MAX, goes_on()),
            };
            let bytes = self.read(most)?;
            match (bytes.is_empty(), may_grow) {
                (false, _) => return Poll::Ready(Ok(Some(bytes))),
                (true, false) => return Poll::Ready(Ok(None)),
                (true, true) => self.pause = Some(trapline::sleep(PAUSE)),
            }
        }
    }

    fn read(&mut self, most: u64) -> io::Result<Bytes> {
        let mut portion = vec![0; most.min(PORTION) as usize];
        let count = self.file.read_at(&mut portion, self.at)?;
        portion.truncate(count);
        self.at += count as u64;
        Ok(portion.into())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.end {
            End::At(end) => SizeHint::with_exact(end.saturating_sub(self.at)),
            End::While(_) => SizeHint::default(),
        }
    }
}
