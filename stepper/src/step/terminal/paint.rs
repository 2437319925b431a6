//! Lines as the terminal shows them.

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Shown, Span as Piece};

use crate::step::desk::Desk;
use crate::step::line::{Line, Tone};
use crate::step::screen;

pub(super) fn paint(buffer: &mut Buffer, desk: &Desk, is_colourful: bool) {
    let area = buffer.area;
    let lines = screen::draw(desk, area.width.into(), area.height.into());
    for (row, line) in lines.into_iter().enumerate().take(area.height.into()) {
        let y = area.y + row as u16;
        buffer.set_line(area.x, y, &shown(line, is_colourful), area.width);
    }
}

fn shown(line: Line, is_colourful: bool) -> Shown<'static> {
    let pieces = line.0.into_iter();
    pieces.map(|span| Piece::styled(span.text, style(span.tone, is_colourful))).collect()
}

/// Without colours the same is told by weight; and without either by the text alone.
fn style(tone: Tone, is_colourful: bool) -> Style {
    let plain = Style::new();
    let (colour, weight) = match tone {
        Tone::Plain => return plain,
        Tone::Strong => return plain.add_modifier(Modifier::BOLD),
        Tone::Dim => return plain.add_modifier(Modifier::DIM),
        Tone::Head => (Color::Cyan, Modifier::BOLD),
        Tone::Running => (Color::Green, Modifier::BOLD),
        Tone::Ready => (Color::Blue, Modifier::empty()),
        Tone::Blocked => (Color::Magenta, Modifier::empty()),
        Tone::Bad => (Color::Red, Modifier::BOLD),
    };
    let styled = plain.add_modifier(weight);
    if is_colourful { styled.fg(colour) } else { styled }
}
