//! The desk: what the user has before them, and what the keys do to it.

mod moving;
mod prompt;

use std::path::PathBuf;
use std::time::Duration;

use super::atlas::{Atlas, Cursor, Scene};
use super::breakpoint::{Breakpoint, Search};
use super::key::Key;
use super::lesson::{self, Lesson};
use super::line::Line;
use super::pane::{Look, Pane, Sight};
use super::predict::{Question, Score, question};
use super::why::why;
use prompt::Prompt;

/// What is to be done after a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flow {
    GoOn,
    Quit,
    /// Ctrl-C: also quits, and says so by the exit status.
    Interrupt,
    Suspend,
}

pub(crate) struct Desk {
    pub(super) atlas: Atlas,
    pub(super) scene: Scene,
    pub(super) look: Look,
    /// In the order in which they were opened.
    pub(super) panes: Vec<Pane>,
    /// The pane that the keys for panes are about: it is zoomed, and shown where there is room for one.
    pub(super) current: Pane,
    pub(super) is_zoomed: bool,
    pub(super) shows_help: bool,
    pub(super) is_loading: bool,
    /// What the last key gave.
    pub(super) message: String,
    /// Said beside the sentence.
    aside: Vec<String>,
    pub(super) question: Option<Question>,
    score: Score,
    pub(super) prompt: Option<Prompt>,
    points: Vec<Breakpoint>,
    search: Option<Search>,
    /// Steps a second, while it plays.
    is_playing: bool,
    speed: usize,
    pub(super) lesson: Option<Lesson>,
    pub(super) stop: Option<usize>,
    pub(super) shows_answer: bool,
}

/// Steps a second.
const SPEEDS: [u64; 8] = [1, 2, 4, 8, 16, 32, 64, 128];

impl Desk {
    pub(crate) fn new(atlas: Atlas, output: Option<PathBuf>) -> Desk {
        let scene = atlas.scene(Cursor::after(atlas.beginning()));
        let lesson = lesson::of(&atlas);
        let message = match &lesson {
            Some(lesson) => format!("lesson: {} (l: next stop, ?: keys)", lesson.title),
            None => "n: next step, p: previous, ?: all keys, q: quit".to_owned(),
        };
        Desk {
            atlas,
            scene,
            look: Look { output, ..Look::default() },
            panes: vec![Pane::Source, Pane::Ready, Pane::Sentence],
            current: Pane::Source,
            is_zoomed: false,
            shows_help: false,
            is_loading: false,
            message,
            aside: Vec::new(),
            question: None,
            score: Score::default(),
            prompt: None,
            points: Vec::new(),
            search: None,
            is_playing: false,
            speed: 1,
            lesson,
            stop: None,
            shows_answer: false,
        }
    }

    /// The atlas, as far as it has been read.
    pub(crate) fn replace_atlas(&mut self, atlas: Atlas, is_loading: bool) {
        self.atlas = atlas;
        self.is_loading = is_loading;
        self.lesson = lesson::of(&self.atlas);
        self.scene = self.atlas.scene(self.scene.cursor);
    }

    pub(crate) fn sight<'a>(&'a self, aside: &'a [Line]) -> Sight<'a> {
        let has_waiting = self.panes.contains(&Pane::Waiting);
        Sight { atlas: &self.atlas, scene: &self.scene, look: &self.look, aside, has_waiting }
    }

    /// What is said beside the sentence.
    pub(super) fn aside(&self) -> Vec<String> {
        let mut aside = self.aside.clone();
        if let Some(question) = &self.question {
            aside.push(question.text.clone());
            let numbered = question.answers.iter().enumerate();
            let answers: Vec<_> =
                numbered.map(|(at, text)| format!("[{}] {text}", at + 1)).collect();
            aside.push(answers.join("   "));
        }
        aside
    }

    /// How long until the next tick; `None`: nothing goes on by itself.
    pub(crate) fn next_tick(&self) -> Option<Duration> {
        if self.search.is_some() {
            return Some(Duration::ZERO);
        }
        self.is_playing.then(|| Duration::from_millis(1000 / SPEEDS[self.speed]))
    }

    /// Something goes on: a search, or the playing.
    pub(crate) fn tick(&mut self) {
        if self.search.is_some() {
            self.search_on();
        } else if self.is_playing && !self.next_step() {
            self.is_playing = false;
        }
    }

    /// Until nothing goes on by itself but the playing, which has no end of its own before the recording's.
    pub(crate) fn settle(&mut self) {
        while self.search.is_some() {
            self.tick();
        }
    }

    pub(crate) fn press(&mut self, key: Key) -> Flow {
        match key {
            Key::Interrupt => return Flow::Interrupt,
            Key::Suspend => return Flow::Suspend,
            _ => {}
        }
        self.message.clear();
        if self.search.take().is_some() {
            self.message = "the search is broken off".to_owned();
            return Flow::GoOn;
        }
        if self.prompt.is_some() {
            self.press_in_prompt(key);
            return Flow::GoOn;
        }
        if self.question.is_some() {
            self.press_in_question(key);
            return Flow::GoOn;
        }
        if std::mem::take(&mut self.shows_help) {
            return if key == Key::Char('q') { Flow::Quit } else { Flow::GoOn };
        }
        self.is_playing &= matches!(key, Key::Char(' ' | '+' | '-' | '0'..='9'));
        if key == Key::Char('q') {
            return Flow::Quit;
        }
        self.press_plain(key);
        Flow::GoOn
    }

    fn press_plain(&mut self, key: Key) {
        match key {
            Key::Char('n' | 'j') => self.move_or_say(Desk::next_step, "this is the last step"),
            Key::Char('p' | 'k') => self.move_or_say(Desk::previous_step, "this is the beginning"),
            Key::Char('N') => self.move_or_say(Desk::next_phase, "this is the last step"),
            Key::Char('P') => self.move_or_say(Desk::previous_phase, "this is the beginning"),
            Key::Char('t') => self.step_of_selected(true),
            Key::Char('T') => self.step_of_selected(false),
            Key::Up => self.select(false),
            Key::Down => self.select(true),
            Key::Home => self.go(Cursor::after(self.atlas.beginning())),
            Key::End => self.go(Cursor::after(self.atlas.last())),
            Key::Char(' ') => self.play(),
            Key::Char('+') => self.set_speed((self.speed + 1).min(SPEEDS.len() - 1)),
            Key::Char('-') => self.set_speed(self.speed.saturating_sub(1)),
            Key::Char('b') => self.prompt = Some(Prompt::breakpoint()),
            Key::Char('f') => self.prompt = Some(Prompt::filter(&self.look.filter)),
            Key::Char('g') => self.prompt = Some(Prompt::step()),
            Key::Char('c') => self.search(true),
            Key::Char('C') => self.search(false),
            Key::Char('w') => self.ask_why(),
            Key::Char('x') => self.predict(),
            Key::Char('l') => self.next_stop(true),
            Key::Char('L') => self.next_stop(false),
            Key::Enter | Key::Char('=') => self.shows_answer = true,
            Key::Char('h') => self.hide(),
            Key::Char('z') => self.is_zoomed = !self.is_zoomed,
            Key::Tab => self.next_pane(),
            Key::Char('?') => self.shows_help = true,
            Key::Escape => self.aside.clear(),
            Key::Char(digit) => self.toggle(digit),
            _ => {}
        }
    }

    /// A digit opens and closes a pane.
    fn toggle(&mut self, digit: char) {
        let Some(pane) = Pane::of_digit(digit) else {
            self.message = format!("{digit:?} is no key here; ? shows them all");
            return;
        };
        if let Some(at) = self.panes.iter().position(|open| *open == pane) {
            self.panes.remove(at);
            self.is_zoomed &= self.current != pane;
            if self.current == pane {
                self.current = self.panes.last().copied().unwrap_or(Pane::Sentence);
            }
        } else {
            self.open(pane);
        }
    }

    pub(super) fn open(&mut self, pane: Pane) {
        if !self.panes.contains(&pane) {
            self.panes.push(pane);
        }
        self.current = pane;
    }

    fn next_pane(&mut self) {
        let mut panes = self.panes.clone();
        panes.sort_unstable();
        let next = panes.iter().find(|pane| **pane > self.current).or(panes.first());
        self.current = next.copied().unwrap_or(self.current);
    }

    fn hide(&mut self) {
        self.look.hides = !self.look.hides;
        self.message = match self.look.hides {
            true => "tasks that are not the program's are hidden".to_owned(),
            false => "all tasks are shown".to_owned(),
        };
    }

    fn play(&mut self) {
        self.is_playing = !self.is_playing;
        self.set_speed(self.speed);
    }

    fn set_speed(&mut self, speed: usize) {
        self.speed = speed;
        let word = if self.is_playing { "runs" } else { "paused" };
        let steps = SPEEDS[speed];
        let plural = if steps == 1 { "" } else { "s" };
        self.message = format!("{word}, {steps} step{plural} a second (space, +, -)");
    }

    fn ask_why(&mut self) {
        let task = self.look.selected.or(self.scene.task);
        self.aside = vec![match task {
            Some(task) => why(&self.atlas, &self.scene, task),
            None => "Choose a task first, with the keys up and down.".to_owned(),
        }];
    }

    fn predict(&mut self) {
        self.question = question(&self.atlas, &self.scene);
        match &self.question {
            Some(question) => {
                let from = question.from;
                self.go(from);
                self.message = "a number answers, Esc leaves it".to_owned();
            }
            None => self.message = "after the last step there is nothing to predict".to_owned(),
        }
    }

    fn press_in_question(&mut self, key: Key) {
        let Some(question) = self.question.take() else { return };
        let answer = match key {
            Key::Char(digit) => digit.to_digit(10).map(|digit| digit as usize),
            Key::Escape => return,
            _ => None,
        };
        match answer
            .and_then(|answer| answer.checked_sub(1))
            .filter(|at| *at < question.answers.len())
        {
            Some(answer) => {
                let verdict = self.score.answer(&question, answer);
                self.go(Cursor::after(question.step));
                self.aside = vec![verdict];
            }
            None => {
                self.message = format!("1 to {} answers, Esc leaves it", question.answers.len());
                self.question = Some(question);
            }
        }
    }
}
