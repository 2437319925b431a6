//! The desk: what the user has before them, and what the keys do to it.

mod edge;
mod moving;
mod prompt;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::atlas::{Atlas, Cursor, Scene};
use super::breakpoint::{Breakpoint, Search};
use super::key::Key;
use super::lesson::{self, Lesson};
use super::line::Line;
use super::load::{Loader, Read};
use super::pane::{Look, Pane, Sight};
use super::predict::{Question, Score, question};
use super::why::why;
use crate::failure::Failure;
use crate::live::{Growth, Live};
pub(super) use edge::Edge;
use prompt::Prompt;

/// What is to be done after a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flow {
    GoOn,
    Quit,
    /// Ctrl-C: also quits, and says so by the exit status.
    Interrupt,
    Suspend,
    /// The program is to be built and started anew.
    Again,
}

pub(crate) struct Desk {
    /// The recording.
    file: PathBuf,
    pub(super) atlas: Atlas,
    loader: Loader,
    pub(super) is_loading: bool,
    /// There is more to be read at once.
    pub(super) is_behind: bool,
    /// The program, if this is a live one.
    pub(super) edge: Option<Edge>,
    /// Whether it is printed, and not shown: then it says nothing that is another time otherwise.
    pub(super) is_printed: bool,
    pub(super) scene: Scene,
    pub(super) look: Look,
    /// In the order in which they were opened.
    pub(super) panes: Vec<Pane>,
    /// The pane that the keys for panes are about: it is zoomed, and shown where there is room for one.
    pub(super) current: Pane,
    pub(super) is_zoomed: bool,
    pub(super) shows_help: bool,
    /// What the last key gave.
    pub(super) message: String,
    /// The run before this one, to which it is compared once it has come so far.
    earlier: Option<Atlas>,
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
    /// So many source files were known when the lesson was looked for.
    sources: usize,
    pub(super) lesson: Option<Lesson>,
    pub(super) stop: Option<usize>,
    pub(super) shows_answer: bool,
}

/// Steps a second.
const SPEEDS: [u64; 8] = [1, 2, 4, 8, 16, 32, 64, 128];

/// So long a program that is pressed for has to come to where the keys lead.
const PATIENCE: Duration = Duration::from_secs(10);

impl Desk {
    /// A recording, read at most as far as is done within a frame or two; as a whole, if it is to be printed.
    pub(crate) fn of_file(
        file: &Path,
        output: Option<PathBuf>,
        is_printed: bool,
    ) -> Result<Desk, Failure> {
        Desk::begin(file, output, Growth::none(), is_printed)
    }

    /// A live program.
    pub(crate) fn of_program(live: Live, is_printed: bool) -> Result<Desk, Failure> {
        let output = live.output().map(Path::to_owned);
        let mut desk = Desk::begin(live.trace(), output, live.growth(), is_printed)?;
        desk.edge = Some(Edge::new(live));
        if desk.lesson.is_none() {
            desk.message =
                "n: the program's next step, G: it goes on, ?: all keys, q: quit".to_owned();
        }
        desk.go(Cursor::after(desk.atlas.last()));
        Ok(desk)
    }

    /// Says why something was not done; what does not go into a line is said beside the sentence.
    pub(crate) fn tell_failure(&mut self, text: &str) {
        const LINES: usize = 12;
        let mut lines = text.lines().map(str::to_owned);
        self.message = lines.next().unwrap_or_default();
        self.aside = lines.take(LINES).collect();
    }

    /// Another run of the program takes the place of this one. What was chosen to be seen stays; and it takes the steps
    /// to where one was.
    pub(crate) fn start_anew(&mut self, live: Live) -> Result<(), Failure> {
        let before = self.scene.cursor.step;
        let mut anew = Desk::of_program(live, self.is_printed)?;
        anew.look = Look { output: anew.look.output.take(), ..self.look.clone() };
        (anew.panes, anew.current, anew.is_zoomed) =
            (self.panes.clone(), self.current, self.is_zoomed);
        (anew.points, anew.speed) = (std::mem::take(&mut self.points), self.speed);
        (anew.score, anew.stop) = (std::mem::take(&mut self.score), self.stop);
        let old = std::mem::replace(self, anew);
        self.come_again(old, before);
        Ok(())
    }

    fn begin(
        file: &Path,
        output: Option<PathBuf>,
        growth: Growth,
        is_printed: bool,
    ) -> Result<Desk, Failure> {
        let mut atlas = Atlas::begin(file)?;
        let loader = Loader::new(growth);
        let mut read = loader.read_first(&mut atlas).map_err(Failure::at(file))?;
        while is_printed && read == Read::Part {
            read = loader.read(&mut atlas).map_err(Failure::at(file))?;
        }
        let scene = atlas.scene(Cursor::after(atlas.beginning()));
        let lesson = lesson::of(&atlas);
        let sources = atlas.recording.sources().len();
        let message = match &lesson {
            Some(lesson) => format!("lesson: {} (l: next stop, ?: keys)", lesson.title),
            None => "n: next step, p: previous, ?: all keys, q: quit".to_owned(),
        };
        Ok(Desk {
            file: file.to_owned(),
            atlas,
            loader,
            is_loading: read != Read::End,
            is_behind: read == Read::Part,
            edge: None,
            is_printed,
            scene,
            look: Look { output, ..Look::default() },
            panes: vec![Pane::Source, Pane::Ready, Pane::Sentence],
            current: Pane::Source,
            is_zoomed: false,
            shows_help: false,
            message,
            earlier: None,
            aside: Vec::new(),
            question: None,
            score: Score::default(),
            prompt: None,
            points: Vec::new(),
            search: None,
            is_playing: false,
            speed: 1,
            sources,
            lesson,
            stop: None,
            shows_answer: false,
        })
    }

    /// The file that is looked at.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Reads what is new of the recording; not all at once, if it is much.
    fn read(&mut self) -> io::Result<Read> {
        if !self.is_loading {
            return Ok(Read::Nothing);
        }
        let read = self.loader.read(&mut self.atlas)?;
        self.is_behind = read == Read::Part;
        self.is_loading = read != Read::End;
        if read != Read::Nothing {
            self.grown();
        }
        Ok(read)
    }

    fn grown(&mut self) {
        let sources = self.atlas.recording.sources().len();
        if sources != self.sources {
            self.sources = sources;
            self.lesson = lesson::of(&self.atlas);
        }
        let cursor = self.scene.cursor;
        // What is known of the beginning is what has been read, and at the edge a step may have begun; any other
        // place stays as it is.
        if cursor.step <= self.atlas.beginning() {
            self.look(Cursor::after(self.atlas.beginning()));
        } else if self.edge.is_some() && cursor.step == self.atlas.last() && !self.is_behind {
            self.look(cursor);
        }
    }

    pub(crate) fn sight<'a>(&'a self, aside: &'a [Line]) -> Sight<'a> {
        let now = &self.scene.now;
        let is_open = self.is_at_edge() && !self.is_over();
        let next = now.running().or(now.ready().next()).filter(|_| is_open);
        let has_waiting = self.panes.contains(&Pane::Waiting);
        Sight { atlas: &self.atlas, scene: &self.scene, look: &self.look, aside, has_waiting, next }
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
        } else if self.is_playing
            && self.edge.as_ref().is_none_or(|edge| !edge.is_wishing())
            && !self.step_or_order()
        {
            self.is_playing = false;
        }
    }

    /// Until nothing goes on by itself but the playing, which has no end of its own before the recording's.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        while self.search.is_some() {
            self.poll()?;
            self.tick();
        }
        self.settle_edge(PATIENCE)
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
        if self.press_in_wish(key) {
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
        match key {
            Key::Char('q') => return Flow::Quit,
            Key::Char('R') => return Flow::Again,
            _ => {}
        }
        self.press_plain(key);
        Flow::GoOn
    }

    fn press_plain(&mut self, key: Key) {
        match key {
            Key::Char('n' | 'j') => self.move_or_say(Desk::step_or_order, "this is the last step"),
            Key::Char('p' | 'k') => self.move_or_say(Desk::previous_step, "this is the beginning"),
            Key::Char('N') => self.move_or_say(Desk::phase_or_order, "this is the last step"),
            Key::Char('P') => self.move_or_say(Desk::previous_phase, "this is the beginning"),
            Key::Char('t') => self.step_of_selected(true),
            Key::Char('T') => self.step_of_selected(false),
            Key::Up => self.select(false),
            Key::Down => self.select(true),
            Key::Home => self.go(Cursor::after(self.atlas.beginning())),
            Key::End => self.go_to_end(),
            Key::Char('G') => self.order_go_or_hold(),
            Key::Char('K') => self.order_about_task("kill"),
            Key::Char('F') => self.order_about_task("next"),
            Key::Char('X') => self.ask_for_reason(),
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

    fn go_to_end(&mut self) {
        self.go(Cursor::after(self.atlas.last()));
        if let Some(edge) = &mut self.edge {
            edge.follows = true;
        }
    }

    fn ask_for_reason(&mut self) {
        if self.order("") {
            match self.look.selected {
                Some(_) => self.prompt = Some(Prompt::cancel()),
                None => self.message = "choose a task first, with the keys up and down".to_owned(),
            }
        }
    }

    fn predict(&mut self) {
        // At the edge of a program the step is taken first, and shown after the answer.
        if self.atlas.next(self.scene.cursor.step).is_none() && self.order_question() {
            return;
        }
        self.question = question(&self.atlas, &self.scene);
        match &self.question {
            Some(question) => {
                let from = question.from;
                self.go(from);
                self.message = "a number answers, Esc leaves it".to_owned();
            }
            None if self.message.is_empty() => {
                self.message = "after the last step there is nothing to predict".to_owned();
            }
            None => {}
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
