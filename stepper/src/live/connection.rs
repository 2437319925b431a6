//! A connection to a monitor: a line each way, as `docs/monitor.md` says.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// A line of an answer is at most so long: a monitor's are far shorter.
const LONGEST_LINE: u64 = 1 << 20;

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    reader: BufReader<UnixStream>,
}

impl Connection {
    /// Connects. The greeting is the first answer, which has yet to be read.
    pub(crate) fn open(socket: &Path) -> io::Result<Connection> {
        UnixStream::connect(socket).map(|stream| Connection { reader: BufReader::new(stream) })
    }

    /// Asks; gives the lines of the answer, or nothing if the program is gone.
    pub(crate) fn ask(&mut self, command: &str) -> io::Result<Option<Vec<String>>> {
        match self.send(command) {
            Ok(()) => self.answer(),
            // It may have hung up while we spoke.
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn send(&mut self, command: &str) -> io::Result<()> {
        // In one piece: a line that came in two would still be one, but for two wake-ups.
        self.reader.get_mut().write_all(format!("{command}\n").as_bytes())
    }

    /// The lines of an answer; nothing if the program is gone.
    pub(crate) fn answer(&mut self) -> io::Result<Option<Vec<String>>> {
        let mut lines = Vec::new();
        loop {
            let mut bytes = Vec::new();
            let mut limited = Read::take(&mut self.reader, LONGEST_LINE);
            match limited.read_until(b'\n', &mut bytes) {
                Ok(_) if bytes.pop() == Some(b'\n') => {}
                Ok(_) => return Ok(None),
                Err(error) if is_gone(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
            let line = String::from_utf8_lossy(&bytes);
            match line.strip_prefix('.') {
                Some("") => return Ok(Some(lines)),
                Some(rest) => lines.push(rest.to_owned()),
                None => lines.push(line.into_owned()),
            }
        }
    }

    /// The bytes that come from here on.
    pub(super) fn bytes(&mut self) -> &mut impl Read {
        &mut self.reader
    }

    /// The stream itself, to end it from another thread.
    pub(super) fn stream(&self) -> io::Result<UnixStream> {
        self.reader.get_ref().try_clone()
    }
}

/// Whether it is the other side that ended the connection.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}
