//! Texts that may be anybody's, shown so that they move no cursor, change no colour and forge no line.

use std::fmt::{self, Write};

/// A text of a trace: what is no plain letter in it is written out.
pub(crate) struct Plain<'a>(pub(crate) &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_plain(self.0, f)
    }
}

/// A text of several lines.
pub(crate) struct PlainLines<'a>(pub(crate) &'a str);

impl fmt::Display for PlainLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.0.split_inclusive('\n') {
            let text = line.strip_suffix('\n');
            write_plain(text.unwrap_or(line), f)?;
            if text.is_some() {
                f.write_char('\n')?;
            }
        }
        Ok(())
    }
}

fn write_plain(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for c in text.chars() {
        if c.is_control() || turns_text_around(c) {
            write!(f, "{}", c.escape_default())?;
        } else {
            f.write_char(c)?;
        }
    }
    Ok(())
}

/// Marks that make a terminal show letters in another order than they stand in, or end a line.
fn turns_text_around(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequence_then_it_is_written_out() {
        assert_eq!(Plain("a\u{1b}[31mb\n\u{9b}c").to_string(), r"a\u{1b}[31mb\n\u{9b}c");
        assert_eq!(Plain("\u{202e}drow").to_string(), r"\u{202e}drow");
        assert_eq!(Plain("Müller → \"x\"").to_string(), "Müller → \"x\"");
        assert_eq!(PlainLines("a\r\nb\u{7}\n").to_string(), "a\\r\nb\\u{7}\n");
    }
}
