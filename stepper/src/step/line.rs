//! Lines of text, with what the pieces of them are. How that looks is the terminal's business.

use ratatui::text::Span as Measured;

use crate::plain::Plain;

/// What a piece of a line is. Nothing is told by this alone: without it a line says the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tone {
    Plain,
    /// What the eye is to find first.
    Strong,
    /// What may be overlooked.
    Dim,
    /// The head of a pane.
    Head,
    /// Whoever runs, and where.
    Running,
    /// Whoever is ready.
    Ready,
    /// Whoever waits.
    Blocked,
    /// What has gone wrong.
    Bad,
}

/// A piece of a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) text: String,
    pub(crate) tone: Tone,
}

/// A line of a pane.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Line(pub(crate) Vec<Span>);

impl Line {
    pub(crate) fn new() -> Line {
        Line::default()
    }

    pub(crate) fn of(tone: Tone, text: impl AsRef<str>) -> Line {
        Line::new().add(tone, text)
    }

    pub(crate) fn plain(text: impl AsRef<str>) -> Line {
        Line::of(Tone::Plain, text)
    }

    /// Adds a piece. Whatever text it is, it moves no cursor: what is no plain letter is written out.
    pub(crate) fn add(mut self, tone: Tone, text: impl AsRef<str>) -> Line {
        self.push(tone, text);
        self
    }

    pub(crate) fn push(&mut self, tone: Tone, text: impl AsRef<str>) {
        let text = Plain(text.as_ref()).to_string();
        self.0.push(Span { text, tone });
    }

    pub(crate) fn append(&mut self, other: Line) {
        self.0.extend(other.0);
    }

    pub(crate) fn text(&self) -> String {
        self.0.iter().map(|span| span.text.as_str()).collect()
    }

    pub(crate) fn width(&self) -> usize {
        self.0.iter().map(|span| width(&span.text)).sum()
    }

    /// The same, cut to a width; an ellipsis stands where something is left off.
    pub(crate) fn cut(mut self, most: usize) -> Line {
        if self.width() <= most {
            return self;
        }
        let mut left = most.saturating_sub(1);
        let mut kept = Vec::new();
        for span in std::mem::take(&mut self.0) {
            let wide = width(&span.text);
            if wide > left {
                let mut text = take(&span.text, left).to_owned();
                if most > 0 {
                    text.push('…');
                }
                kept.push(Span { text, ..span });
                break;
            }
            left -= wide;
            kept.push(span);
        }
        Line(kept)
    }

    /// The same, as wide as this: cut, or filled up with blanks.
    pub(crate) fn fit(self, wide: usize) -> Line {
        let mut line = self.cut(wide);
        let missing = wide.saturating_sub(line.width());
        if missing > 0 {
            line.push(Tone::Plain, " ".repeat(missing));
        }
        line
    }
}

/// How many columns a text takes.
pub(crate) fn width(text: &str) -> usize {
    Measured::raw(text).width()
}

/// As much of a text as goes into so many columns.
fn take(text: &str, columns: usize) -> &str {
    let fits = |end: &usize| width(&text[..*end]) <= columns;
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    &text[..ends.take_while(fits).last().unwrap_or(0)]
}

/// A text in lines of a width, broken between its words.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let needed = width(&line) + usize::from(!line.is_empty()) + width(word);
        if needed > columns && !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        while width(&line) > columns {
            // One letter at least, or this would have no end.
            let first = line.chars().next().map_or(1, char::len_utf8);
            let rest = line.split_off(take(&line, columns).len().max(first));
            if rest.is_empty() {
                break;
            }
            lines.push(std::mem::replace(&mut line, rest));
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_too_long_then_it_is_cut_where_letters_are_wide_too() {
        let line = Line::plain("T1 ").add(Tone::Strong, "名前です");
        assert_eq!(line.width(), 11);
        assert_eq!(line.clone().cut(8).text(), "T1 名前…");
        assert_eq!(line.clone().cut(7).text(), "T1 名…");
        assert_eq!(line.clone().fit(13).text(), "T1 名前です  ");
        assert_eq!(line.cut(0).text(), "");
    }

    #[test]
    fn text_with_an_escape_then_it_is_written_out() {
        assert_eq!(Line::plain("a\u{1b}[2Jb\nc").text(), r"a\u{1b}[2Jb\nc");
    }

    #[test]
    fn text_wrapped_then_no_line_is_wider() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrap("", 3), [""]);
        assert_eq!(wrap("名前", 1), ["名", "前"]);
    }
}
