//! The socket: where it is, who may reach it, and what becomes of one that is there already.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, PoisonError};

use rustix::net::sockopt::socket_peercred;
use rustix::process::getuid;
use thiserror::Error;

/// Why there is no monitor.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SocketError {
    /// A program listens there.
    #[error("a living program has the socket {}", .0.display())]
    Living(PathBuf),
    /// Something is there, and it is no socket.
    #[error("{} is there, and is no socket", .0.display())]
    NoSocket(PathBuf),
    /// The directory is another user's, is open to others, or is no directory.
    #[error("{} is no directory that this user alone may enter", .0.display())]
    Open(PathBuf),
    /// The operating system refused.
    #[error("cannot make the socket {}: {error}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What it said.
        #[source]
        error: io::Error,
    },
}

/// A socket that is listened to. It is removed when this is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Which file it is: another one of the same name is not removed.
    inode: Option<(u64, u64)>,
    /// Whether it is the first of this name in this process.
    is_of_first_run: bool,
}

impl Socket {
    /// Makes the socket, with mode 0600; `None` for the default one.
    ///
    /// # Errors
    /// If a living program has it, its directory is open to others, or the operating system refuses.
    pub fn open(path: Option<&Path>) -> Result<Socket, SocketError> {
        let (path, run) = match path {
            Some(path) => next_name(path.to_owned(), |path, run| {
                let mut name = path.as_os_str().to_owned();
                name.push(format!(".{run}"));
                name.into()
            }),
            None => {
                let name = format!("{}.sock", process::id());
                let again = |path: &Path, run| path.with_extension(format!("{run}.sock"));
                next_name(private_directory()?.join(name), again)
            }
        };
        let io = |error| SocketError::Io { path: path.clone(), error };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty())
            && !parent.exists()
        {
            DirBuilder::new().mode(0o700).recursive(true).create(parent).map_err(io)?;
        }
        clear(&path)?;
        let listener = UnixListener::bind(&path).map_err(io)?;
        // Whoever connects before the mode is set is looked at when it is accepted.
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(io)?;
        let inode = fs::symlink_metadata(&path).ok().map(|found| (found.dev(), found.ino()));
        Ok(Socket { listener, path, inode, is_of_first_run: run == 1 })
    }

    /// Whether it is the first of its name in this process.
    pub(super) fn is_of_first_run(&self) -> bool {
        self.is_of_first_run
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the next client; `None` for one that is another user's, which is disconnected.
    pub(super) fn accept(&self) -> io::Result<Option<UnixStream>> {
        let (stream, _) = self.listener.accept()?;
        let peer = socket_peercred(&stream).map(|peer| peer.uid);
        Ok((peer == Ok(getuid())).then_some(stream))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let now = fs::symlink_metadata(&self.path).ok().map(|found| (found.dev(), found.ino()));
        if now == self.inode {
            // Somebody else may have removed it meanwhile.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The name for this run of the process, and the how-manieth of that name it is: later ones are numbered.
fn next_name(path: PathBuf, again: impl Fn(&Path, u32) -> PathBuf) -> (PathBuf, u32) {
    static RUNS: Mutex<BTreeMap<PathBuf, u32>> = Mutex::new(BTreeMap::new());
    let mut runs = RUNS.lock().unwrap_or_else(PoisonError::into_inner);
    let run = runs.entry(path.clone()).and_modify(|run| *run += 1).or_insert(1);
    (if *run == 1 { path } else { again(&path, *run) }, *run)
}

/// The directory for sockets that were given no name, which this user alone may enter.
fn private_directory() -> Result<PathBuf, SocketError> {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let directory = match runtime.filter(|runtime| runtime.is_absolute() && runtime.is_dir()) {
        Some(runtime) => runtime.join("trapline"),
        None => env::temp_dir().join(format!("trapline-{}", getuid().as_raw())),
    };
    match DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(SocketError::Io { path: directory, error });
        }
        _ => {}
    }
    // Not followed: a link to a directory of ours is still somebody else's link.
    let found = fs::symlink_metadata(&directory);
    let found = found.map_err(|error| SocketError::Io { path: directory.clone(), error })?;
    let is_private = found.is_dir()
        && found.uid() == getuid().as_raw()
        && found.permissions().mode() & 0o077 == 0;
    if is_private { Ok(directory) } else { Err(SocketError::Open(directory)) }
}

/// Removes a socket to which nobody listens any more.
fn clear(path: &Path) -> Result<(), SocketError> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(SocketError::NoSocket(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::Living(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| SocketError::Io { path: path.to_owned(), error })
        }
        Err(error) => Err(SocketError::Io { path: path.to_owned(), error }),
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}
