//! A directory for what a live program leaves: its trace, its output, its socket.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::failure::Failure;

/// The name of a socket can hardly be longer.
const LONGEST_SOCKET: usize = 100;

/// A directory for us alone, which is gone with this.
#[derive(Debug)]
pub(super) struct Place {
    directory: PathBuf,
    trace: PathBuf,
    output: PathBuf,
}

impl Place {
    pub(super) fn new() -> Result<Place, Failure> {
        let own = std::env::temp_dir();
        // A directory for temporary files may be a long way down; that of the system never is.
        let is_short = own.as_os_str().len() + 40 < LONGEST_SOCKET;
        let has_comma = own.as_os_str().as_bytes().contains(&b',');
        let parent = if is_short && !has_comma { own } else { "/tmp".into() };
        static LAST: AtomicU32 = AtomicU32::new(0);
        for _ in 0..1000 {
            let number = LAST.fetch_add(1, Ordering::Relaxed);
            let directory = parent.join(format!("trapline-{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&directory) {
                Ok(()) => {
                    let (trace, output) = (directory.join("run.trace"), directory.join("output"));
                    return Ok(Place { directory, trace, output });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Failure::at(&directory)(error)),
            }
        }
        Err(Failure::said(format!("{} is full of directories of ours", parent.display())))
    }

    pub(super) fn trace(&self) -> &Path {
        &self.trace
    }

    pub(super) fn output(&self) -> &Path {
        &self.output
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // If somebody has removed it already, so much the better.
        let _ = fs::remove_dir_all(&self.directory);
    }
}
