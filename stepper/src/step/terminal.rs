//! The terminal: keys in, lines out, and everything as it was when it ends, however that comes about.

mod guard;
mod load;
mod paint;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP};
use signal_hook::flag;
use signal_hook::low_level::emulate_default_handler;

use super::desk::{Desk, Flow};
use super::key::Key;
use crate::failure::Failure;
use crate::live::Growth;
use crate::opened;
use guard::Guard;
use load::{Loaded, Loader};

/// So often signals, and what has been read meanwhile, are looked at.
const LOOK: Duration = Duration::from_millis(30);

/// What to show, and how it begins.
pub(super) struct Show<'a> {
    pub(super) file: &'a Path,
    /// The file to which the program writes.
    pub(super) output: Option<PathBuf>,
    /// Whether the recording still grows.
    pub(super) growth: Growth,
    /// These keys are pressed first.
    pub(super) keys: &'a [Key],
    /// For the tests of what is left behind: panics once the keys have been pressed.
    pub(super) must_panic: bool,
}

/// How it ended.
pub(super) struct Ended {
    code: ExitCode,
    signal: Option<i32>,
}

impl Ended {
    /// The exit status; a signal that was to end us does so now that all is tidied up.
    pub(super) fn conclude(self) -> Result<ExitCode, Failure> {
        if let Some(signal) = self.signal {
            emulate_default_handler(signal).map_err(failed)?;
        }
        Ok(self.code)
    }
}

/// Shows a recording until the user has seen enough.
pub(super) fn show(show: Show<'_>) -> Result<Ended, Failure> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::said(
            "this needs a terminal; with `--dump` it prints what it would show",
        ));
    }
    let Show { file, output, growth, keys, must_panic } = show;
    let (first, loader) = load::begin(file, growth)?;
    let mut desk = Desk::new(first.atlas, output);
    desk.is_loading = first.is_growing;
    for key in keys {
        if desk.press(*key) != Flow::GoOn {
            break;
        }
        desk.settle();
    }
    let signals = Signals::listen().map_err(failed)?;
    let mut guard = Guard::enter().map_err(failed)?;
    assert!(!must_panic, "asked to panic");
    let flow = Session { desk: &mut desk, guard: &mut guard, loader, signals: &signals }.run();
    drop(guard);
    let code = match flow.map_err(failed)? {
        Flow::Interrupt => ExitCode::from(130),
        _ if desk.is_loading => ExitCode::SUCCESS,
        _ => opened::conclude(&desk.atlas.recording, file),
    };
    Ok(Ended { code, signal: signals.deadly() })
}

fn failed(error: std::io::Error) -> Failure {
    Failure::said(format!("the terminal: {error}"))
}

struct Session<'a> {
    desk: &'a mut Desk,
    guard: &'a mut Guard,
    loader: Option<Loader>,
    signals: &'a Signals,
}

impl Session<'_> {
    fn run(mut self) -> std::io::Result<Flow> {
        // Asked once before anything is shown: from here on a change of the window's size is heard of.
        event::poll(Duration::ZERO)?;
        loop {
            self.take_loaded();
            self.guard.draw(self.desk)?;
            match self.wait()? {
                Flow::GoOn => {}
                Flow::Suspend => self.suspend()?,
                end => return Ok(end),
            }
        }
    }

    fn take_loaded(&mut self) {
        let Some(loader) = &self.loader else { return };
        while let Some(loaded) = loader.take() {
            let Loaded { atlas, is_growing } = loaded;
            self.desk.replace_atlas(atlas, is_growing);
        }
        if loader.is_over() {
            self.desk.is_loading = false;
            self.loader = None;
        }
    }

    /// Waits until there is something new to be seen.
    fn wait(&mut self) -> std::io::Result<Flow> {
        let tick = self.desk.next_tick();
        let mut left = tick.unwrap_or(Duration::MAX);
        loop {
            if self.signals.deadly().is_some() {
                return Ok(Flow::Quit);
            }
            if self.signals.take_stop() {
                return Ok(Flow::Suspend);
            }
            let pause = left.min(LOOK);
            if event::poll(pause)? {
                return self.take_events();
            }
            left = left.saturating_sub(pause);
            if left.is_zero() {
                self.desk.tick();
                return Ok(Flow::GoOn);
            }
            if self.loader.as_ref().is_some_and(Loader::has_news) {
                return Ok(Flow::GoOn);
            }
        }
    }

    /// All keys that have been pressed: a held key is not to lag behind.
    fn take_events(&mut self) -> std::io::Result<Flow> {
        loop {
            if let Event::Key(event) = event::read()?
                && let Some(key) = key_of(event)
            {
                let flow = self.desk.press(key);
                if flow != Flow::GoOn {
                    return Ok(flow);
                }
            }
            if !event::poll(Duration::ZERO)? {
                return Ok(Flow::GoOn);
            }
        }
    }

    /// Gives the terminal back, and stops, with whoever started us; goes on when it is told to.
    fn suspend(&mut self) -> std::io::Result<()> {
        self.guard.leave()?;
        // In the terminal's raw mode nobody else has heard of the key.
        rustix::process::kill_current_process_group(rustix::process::Signal::TSTP)?;
        emulate_default_handler(SIGTSTP)?;
        self.signals.take_stop();
        self.guard.enter_again()
    }
}

fn key_of(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    let is_control = event.modifiers.contains(KeyModifiers::CONTROL);
    Some(match event.code {
        KeyCode::Char('c') if is_control => Key::Interrupt,
        KeyCode::Char('z') if is_control => Key::Suspend,
        KeyCode::Char(_) if is_control => return None,
        KeyCode::Char(letter) => Key::Char(letter),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Right => Key::Char('n'),
        KeyCode::Left => Key::Char('p'),
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Tab => Key::Tab,
        _ => return None,
    })
}

/// Signals that would end or stop us: the terminal is given back first.
struct Signals {
    deadly: Vec<(i32, Arc<AtomicBool>)>,
    stop: Arc<AtomicBool>,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        let mut deadly = Vec::new();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let flag = Arc::new(AtomicBool::new(false));
            flag::register(signal, Arc::clone(&flag))?;
            deadly.push((signal, flag));
        }
        let stop = Arc::new(AtomicBool::new(false));
        flag::register(SIGTSTP, Arc::clone(&stop))?;
        Ok(Signals { deadly, stop })
    }

    fn deadly(&self) -> Option<i32> {
        self.deadly.iter().find(|(_, flag)| flag.load(Ordering::Relaxed)).map(|(signal, _)| *signal)
    }

    fn take_stop(&self) -> bool {
        self.stop.swap(false, Ordering::Relaxed)
    }
}
