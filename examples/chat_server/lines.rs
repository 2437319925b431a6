//! Lines, as they come from a peer.

use std::io;

use trapline::net::TcpStream;

/// What a line may have, without its end.
pub(crate) const LONGEST: usize = 512;

/// Cuts what a stream gives into lines, and holds no more of one than it may have.
pub(crate) struct Lines<'a> {
    stream: &'a TcpStream,
    buffer: Vec<u8>,
    /// The rest of a line that is too long is passed over.
    skips: bool,
}

/// What was read.
pub(crate) enum Line {
    /// A line, without its end and without control characters.
    Text(String),
    /// One that was too long.
    TooLong,
    /// There are no more.
    End,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(stream: &'a TcpStream) -> Lines<'a> {
        Lines { stream, buffer: Vec::new(), skips: false }
    }

    /// The next line. What follows the last end of a line is none.
    #[trapline::traced]
    pub(crate) async fn next(&mut self) -> io::Result<Line> {
        loop {
            if let Some(line) = self.take_line() {
                return Ok(line);
            }
            let mut chunk = [0; LONGEST];
            // A future that waits holds no more than this.
            match self.stream.read(&mut chunk).await? {
                0 => return Ok(Line::End),
                length => self.buffer.extend_from_slice(&chunk[..length]),
            }
        }
    }

    fn take_line(&mut self) -> Option<Line> {
        let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') else {
            if self.buffer.len() > LONGEST + 1 || self.skips {
                self.buffer.clear();
                self.skips = true;
            }
            return None;
        };
        let line: Vec<u8> = self.buffer.drain(..=end).collect();
        let skipped = std::mem::take(&mut self.skips);
        let text = String::from_utf8_lossy(&line);
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        let is_too_long = skipped || line.strip_suffix(b"\n").map_or(0, <[u8]>::len) > LONGEST + 1;
        Some(if is_too_long || text.len() > LONGEST { Line::TooLong } else { Line::Text(text) })
    }
}
