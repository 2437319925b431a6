//! The terminal while it is ours. It is given back when this is dropped, and by a panic before it is told of.

use std::io::{self, Stdout};
use std::panic;
use std::sync::Once;

use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::paint::paint;
use crate::output::is_colourful;
use crate::step::desk::Desk;

pub(super) struct Guard {
    backend: CrosstermBackend<Stdout>,
    is_colourful: bool,
    /// What the terminal shows.
    shown: Buffer,
}

impl Guard {
    pub(super) fn enter() -> io::Result<Guard> {
        give_back_before_a_panic_is_told();
        let backend = CrosstermBackend::new(io::stdout());
        let shown = Buffer::empty(Rect::ZERO);
        let mut guard = Guard { backend, is_colourful: is_colourful(), shown };
        guard.enter_again()?;
        Ok(guard)
    }

    pub(super) fn enter_again(&mut self) -> io::Result<()> {
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        // What was shown is no longer there.
        self.shown = Buffer::empty(Rect::ZERO);
        Ok(())
    }

    pub(super) fn leave(&mut self) -> io::Result<()> {
        give_back()
    }

    /// Paints what has changed. The terminal is not asked where its cursor is, as `ratatui::Terminal` does where it
    /// clears: not every one answers.
    pub(super) fn draw(&mut self, desk: &Desk) -> io::Result<()> {
        let size = self.backend.size()?;
        let area = Rect::new(0, 0, size.width, size.height);
        if self.shown.area != area {
            execute!(io::stdout(), Clear(ClearType::All))?;
            self.shown = Buffer::empty(area);
        }
        let mut next = Buffer::empty(area);
        paint(&mut next, desk, self.is_colourful);
        self.backend.draw(self.shown.diff(&next).into_iter())?;
        Backend::flush(&mut self.backend)?;
        self.shown = next;
        Ok(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // If the terminal is gone, there is nothing to give back.
        let _ = give_back();
    }
}

fn give_back() -> io::Result<()> {
    let left = execute!(io::stdout(), LeaveAlternateScreen, Show);
    disable_raw_mode()?;
    left
}

/// What a panic says would be lost on the screen that is ours, and its lines would be crooked.
fn give_back_before_a_panic_is_told() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let _ = give_back();
            before(info);
        }));
    });
}
