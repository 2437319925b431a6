//! Reading a recording on a thread of its own: what has been read can be looked at meanwhile.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use trapline_trace::{OpenError, Recording};

use crate::failure::Failure;
use crate::live::Growth;
use crate::opened;
use crate::step::atlas::Atlas;

/// So much of a file is read within a frame or two.
const PREFIX: u64 = 256 * 1024;

/// How often a recording that grows is read again, at most.
const PAUSE: Duration = Duration::from_millis(500);

/// A recording as far as it has been read.
pub(super) struct Loaded {
    pub(super) atlas: Atlas,
    pub(super) is_growing: bool,
}

pub(super) struct Loader {
    news: Receiver<Loaded>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    has_news: AtomicBool,
    is_over: AtomicBool,
}

impl Loader {
    pub(super) fn take(&self) -> Option<Loaded> {
        self.shared.has_news.store(false, Ordering::Release);
        self.news.try_recv().ok()
    }

    pub(super) fn has_news(&self) -> bool {
        self.shared.has_news.load(Ordering::Acquire) || self.is_over()
    }

    pub(super) fn is_over(&self) -> bool {
        self.shared.is_over.load(Ordering::Acquire)
    }
}

/// Reads the beginning of a file, and on a thread the rest, if there is more or it grows.
pub(super) fn begin(file: &Path, growth: Growth) -> Result<(Loaded, Option<Loader>), Failure> {
    let length = std::fs::metadata(file).map_err(Failure::at(file))?.len();
    let goes_on = growth.goes_on();
    if length <= PREFIX && !goes_on {
        let atlas = Atlas::new(opened::open(file)?);
        return Ok((Loaded { atlas, is_growing: false }, None));
    }
    let first =
        Atlas::new(prefix(file).map_err(|error| Failure::Open { path: file.to_owned(), error })?);
    let (sender, news) = channel();
    let shared = Arc::new(Shared::default());
    let (path, told) = (file.to_owned(), Arc::clone(&shared));
    let reader = thread::Builder::new().name("reader".to_owned());
    let handle = reader.spawn(move || {
        read_on(&path, &growth, &sender, &told);
        told.is_over.store(true, Ordering::Release);
    });
    handle.map_err(|error| Failure::said(format!("cannot start a thread: {error}")))?;
    Ok((Loaded { atlas: first, is_growing: true }, Some(Loader { news, shared })))
}

/// What the first bytes of a file hold.
fn prefix(file: &Path) -> Result<Recording, OpenError> {
    let mut bytes = Vec::new();
    File::open(file)?.take(PREFIX).read_to_end(&mut bytes)?;
    Recording::from_bytes(bytes)
}

fn read_on(file: &PathBuf, growth: &Growth, sender: &Sender<Loaded>, shared: &Shared) {
    let mut length = 0;
    loop {
        // Asked first: what the program wrote before it ended is read then.
        let is_growing = growth.goes_on();
        let now = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
        if now != length || !is_growing {
            length = now;
            // It could be opened before; if it no longer can, what there is stays.
            let Ok(recording) = Recording::open(file) else { return };
            if sender.send(Loaded { atlas: Atlas::new(recording), is_growing }).is_err() {
                return;
            }
            shared.has_news.store(true, Ordering::Release);
        }
        if !is_growing {
            return;
        }
        thread::park_timeout(PAUSE);
    }
}
