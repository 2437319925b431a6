//! Lines from a client, none longer than may be.

use std::io::{self, Read};

/// The longest line, in bytes, without its end.
pub(super) const MAX_LINE: usize = 4096;

/// What came from a client.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Line {
    /// A line.
    Whole(Vec<u8>),
    /// One that was too long. It is passed over.
    TooLong,
}

/// Reads lines.
#[derive(Debug)]
pub(super) struct Lines<R> {
    from: R,
    buffer: Vec<u8>,
    is_too_long: bool,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(from: R) -> Lines<R> {
        Lines { from, buffer: Vec::new(), is_too_long: false }
    }

    /// The next line; `None` at the end. What stands at the end without a line feed is no line.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.truncate(end);
                if std::mem::take(&mut self.is_too_long) {
                    // It was answered when it grew too long.
                    continue;
                }
                return Ok(Some(if end > MAX_LINE { Line::TooLong } else { Line::Whole(line) }));
            }
            if self.buffer.len() > MAX_LINE {
                self.buffer.clear();
                if !std::mem::replace(&mut self.is_too_long, true) {
                    return Ok(Some(Line::TooLong));
                }
            }
            let mut piece = [0; 1024];
            match self.from.read(&mut piece) {
                Ok(0) => return Ok(None),
                Ok(read) => self.buffer.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(bytes: &[u8]) -> Vec<Line> {
        let mut lines = Lines::new(bytes);
        std::iter::from_fn(|| lines.next().unwrap()).collect()
    }

    #[test]
    fn long_lines_then_each_is_told_of_once_and_the_next_is_read() {
        let longest = vec![b'x'; MAX_LINE];
        let whole = |text: &[u8]| Line::Whole(text.to_vec());
        for more in [0, 1, 10_000] {
            let mut bytes = vec![b'x'; MAX_LINE + more];
            bytes.extend_from_slice(b"\nps\n");
            let first = if more == 0 { whole(&longest) } else { Line::TooLong };
            assert_eq!(lines_of(&bytes), [first, whole(b"ps")], "{more}");
        }
        assert_eq!(lines_of(b"\n\nhalf"), [whole(b""), whole(b"")]);
    }
}
