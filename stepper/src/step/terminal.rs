//! The terminal: keys in, lines out, and everything as it was when it ends, however that comes about.

mod guard;
mod paint;

use std::io::IsTerminal;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP};
use signal_hook::flag;
use signal_hook::low_level::emulate_default_handler;

use super::again::{again, press_all};
use super::clock::now;
use super::desk::{Desk, Flow};
use super::key::Key;
use crate::failure::Failure;
use crate::opened;
use guard::Guard;

/// So often signals are looked at, and whether the recording has grown.
const LOOK: Duration = Duration::from_millis(10);

/// The same, where something is under way that takes no longer than that.
const GLANCE: Duration = Duration::from_millis(2);

/// So often at least what has been read is painted, while there is more to be read.
const FRAME: Duration = Duration::from_millis(100);

/// What to show, and how it begins.
pub(super) struct Show<'a> {
    pub(super) desk: Desk,
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
    let Show { mut desk, keys, must_panic } = show;
    press_all(&mut desk, keys)?;
    let signals = Signals::listen().map_err(failed)?;
    let mut guard = Guard::enter().map_err(failed)?;
    assert!(!must_panic, "asked to panic");
    let mut session = Session::new(&mut desk, &mut guard, &signals);
    let flow = session.run();
    drop(guard);
    let code = match flow? {
        Flow::Interrupt => ExitCode::from(130),
        _ if desk.is_loading => ExitCode::SUCCESS,
        _ => opened::conclude(&desk.atlas.recording, desk.file()),
    };
    Ok(Ended { code, signal: signals.deadly() })
}

fn failed(error: std::io::Error) -> Failure {
    Failure::said(format!("the terminal: {error}"))
}

struct Session<'a> {
    desk: &'a mut Desk,
    guard: &'a mut Guard,
    signals: &'a Signals,
    /// When something last went on by itself, or a key was pressed.
    ticked: Instant,
    /// When the screen was painted last.
    painted: Option<Instant>,
}

impl<'a> Session<'a> {
    fn new(desk: &'a mut Desk, guard: &'a mut Guard, signals: &'a Signals) -> Session<'a> {
        Session { desk, guard, signals, ticked: now(), painted: None }
    }

    fn run(&mut self) -> Result<Flow, Failure> {
        // Asked once before anything is shown: from here on a change of the window's size is heard of.
        event::poll(Duration::ZERO).map_err(failed)?;
        loop {
            let is_due = || self.painted.is_none_or(|painted| painted.elapsed() >= FRAME);
            if !self.desk.is_behind || is_due() {
                self.guard.draw(self.desk).map_err(failed)?;
                self.painted = Some(now());
            }
            match self.wait().map_err(failed)? {
                Flow::GoOn => {}
                Flow::Suspend => self.suspend().map_err(failed)?,
                Flow::Again => self.start_again()?,
                end => return Ok(end),
            }
        }
    }

    /// Waits until there is something new to be seen.
    fn wait(&mut self) -> std::io::Result<Flow> {
        loop {
            if self.signals.deadly().is_some() {
                return Ok(Flow::Quit);
            }
            if self.signals.take_stop() {
                return Ok(Flow::Suspend);
            }
            let has_news = self.desk.poll()?;
            let left = self.desk.next_tick().map(|tick| tick.saturating_sub(self.ticked.elapsed()));
            let pause = match has_news || self.desk.is_behind {
                true => Duration::ZERO,
                false if self.desk.is_wishing() => GLANCE,
                false => LOOK,
            };
            if event::poll(left.map_or(pause, |left| left.min(pause)))? {
                // What a key gives is shown at once, whatever is still to be read.
                (self.ticked, self.painted) = (now(), None);
                return self.take_events();
            }
            if left.is_some_and(|left| left.saturating_sub(pause).is_zero()) {
                self.desk.tick();
                (self.ticked, self.painted) = (now(), None);
                return Ok(Flow::GoOn);
            }
            if has_news {
                return Ok(Flow::GoOn);
            }
        }
    }

    /// That takes a while: it is said first.
    fn start_again(&mut self) -> Result<(), Failure> {
        if self.desk.edge.is_some() {
            self.desk.message = "the program is built and started again …".to_owned();
            self.guard.draw(self.desk).map_err(failed)?;
            self.desk.message.clear();
        }
        again(self.desk)?;
        self.painted = None;
        Ok(())
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
