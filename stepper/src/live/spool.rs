//! The trace of a program that is attached to: what comes over the connection goes into a file of ours.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use super::connection::Connection;
use super::growth::Growth;

#[derive(Debug)]
pub(super) struct Spool {
    stream: UnixStream,
    goes_on: Arc<AtomicBool>,
    length: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Spool {
    /// Begins to fill the file; `None` if the program goes away meanwhile.
    pub(super) fn start(socket: &Path, file: &Path) -> io::Result<Option<Spool>> {
        let mut connection = Connection::open(socket)?;
        if connection.answer()?.is_none() {
            return Ok(None);
        }
        connection.send("trace")?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        let stream = connection.stream()?;
        let (goes_on, length) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let (told, grown) = (Arc::clone(&goes_on), Arc::clone(&length));
        let fill = move || {
            // Whichever side ended it: what came is there.
            let _ = fill(connection.bytes(), file, &grown);
            told.store(false, Ordering::Release);
        };
        let thread = thread::Builder::new().name("spool".to_owned()).spawn(fill)?;
        Ok(Some(Spool { stream, goes_on, length, thread: Some(thread) }))
    }

    pub(super) fn growth(&self) -> Growth {
        Growth(Arc::clone(&self.goes_on))
    }

    /// How long the file is.
    pub(super) fn length(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            // It does nothing that can panic.
            let _ = thread.join();
        }
    }
}

fn fill(from: &mut impl Read, mut to: File, length: &AtomicU64) -> io::Result<()> {
    let mut piece = vec![0; 64 << 10];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                to.write_all(&piece[..read])?;
                length.fetch_add(read as u64, Ordering::Release);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
