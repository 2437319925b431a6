//! The live edge: where the program has come to. Here it takes orders.
//!
//! What the user wants of the program is a [`Wish`], and one at a time is under way. Orders are answered on another
//! thread; [`Desk::poll`] looks what has become of them, and of the recording.

use std::io;
use std::time::{Duration, Instant};

use super::Desk;
use crate::live::{Answer, Doing, Live, Status, compare};
use crate::step::atlas::Cursor;
use crate::step::breakpoint::meets;
use crate::step::clock::now;
use crate::step::key::Key;
use crate::step::load::Read;

/// Who holds a key down does not mean each of its strokes.
const REPEAT: Duration = Duration::from_millis(300);

/// The program, and what is wanted of it.
pub(in crate::step) struct Edge {
    live: Live,
    pub(super) status: Status,
    /// The cursor goes along with the program.
    pub(super) follows: bool,
    wish: Option<Wish>,
    /// Keys that were pressed while a step was under way.
    typed: Vec<Key>,
    /// When the next step was ordered last.
    asked: Instant,
    was_held: bool,
    /// It was let go after this step, and nothing has been heard of it since.
    released: Option<u64>,
    has_told_end: bool,
}

struct Wish {
    aim: Aim,
    state: State,
    /// So many steps were over when it was wished.
    from: u64,
}

#[derive(Clone)]
enum Aim {
    /// The next step, or so many phases of it.
    Next(Option<usize>),
    /// A question about the next step, which is taken before it is shown.
    Question,
    /// A step that meets a breakpoint.
    Breakpoint,
    /// A step by its number.
    Step(u64),
    /// Where the lesson stops next.
    Stop,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The order of this number is on its way.
    Ordered(u64),
    /// Of the conditions that are to be known before it goes on, this is the last.
    Preparing(u64),
    /// It is under way: the loop waits, or is kept by a task.
    UnderWay,
    /// It goes on until it is held.
    Goes,
    /// It is done; what came of it is in the recording.
    Done,
}

impl Edge {
    pub(super) fn new(live: Live) -> Edge {
        let status = live.status();
        let was_held = status.is_held();
        Edge {
            live,
            status,
            follows: true,
            wish: None,
            typed: Vec::new(),
            asked: now(),
            was_held,
            released: None,
            has_told_end: false,
        }
    }

    pub(in crate::step) fn live(&self) -> &Live {
        &self.live
    }

    pub(super) fn is_wishing(&self) -> bool {
        self.wish.is_some()
    }

    /// Whether the program could still take a step.
    pub(super) fn goes_on(&self) -> bool {
        self.live.goes_on()
    }

    /// Whether it will come to something by itself: a timer goes off, a peer may never call.
    pub(super) fn is_running(&self) -> bool {
        let comes = match &self.status.doing {
            Doing::Works | Doing::Stuck { .. } => true,
            Doing::Waits(outside) => outside.contains("a timer in"),
            _ => false,
        };
        comes && self.goes_on()
    }

    fn is_over(&self) -> bool {
        !self.goes_on() || matches!(self.status.doing, Doing::Over(_) | Doing::Gone)
    }

    /// What the program does, for the line that says where one is.
    pub(in crate::step) fn words(&self, is_printed: bool) -> String {
        match &self.status.doing {
            // What is printed is the same each time.
            Doing::Held(_) if is_printed => "held".to_owned(),
            Doing::Held(held) => format!("held for {} s", held.as_secs()),
            _ if !self.goes_on() => match self.live.ended() {
                Some(how) => format!("ended ({how})"),
                None => "ended".to_owned(),
            },
            Doing::Stuck { task, kept, since, thread } => {
                let since = since.split_whitespace().next_back().unwrap_or_default();
                let since = trapline_trace::strace::shown_file(since);
                let thread = thread.split(" (").next().unwrap_or_default();
                format!("STUCK in T{task} for {:.1} s since {since}: {thread}", kept.as_secs_f64())
            }
            doing => doing.to_string(),
        }
    }
}

impl Desk {
    /// Whether the cursor is where a live program has come to.
    pub(in crate::step) fn is_at_edge(&self) -> bool {
        self.edge.as_ref().is_some_and(Edge::goes_on)
            && self.scene.is_whole()
            && self.scene.cursor.step == self.atlas.last()
    }

    /// Whether something is under way that was ordered.
    pub(in crate::step) fn is_wishing(&self) -> bool {
        self.edge.as_ref().is_some_and(Edge::is_wishing)
    }

    /// Looks what has come of the orders, and reads what is new of the recording. Whether anything has changed.
    pub(in crate::step) fn poll(&mut self) -> io::Result<bool> {
        let mut has_news = false;
        let mut answers = Vec::new();
        if let Some(edge) = &mut self.edge {
            let before = edge.words(false);
            // Asked before the recording is read: what it tells of is there then.
            edge.status = edge.live.status();
            let step = edge.status.step;
            edge.released.take_if(|released| *released != step || !edge.status.is_held());
            answers = edge.live.answers();
            has_news = edge.words(false) != before || !answers.is_empty();
        }
        let read = self.read()?;
        has_news |= read != Read::Nothing;
        for answer in answers {
            self.answered(&answer);
        }
        if self.edge.is_some() {
            has_news |= self.get_on(read);
        }
        Ok(has_news)
    }

    fn answered(&mut self, answer: &Answer) {
        let Some(edge) = &mut self.edge else { return };
        let first = answer.text.lines().next().unwrap_or_default();
        let state = edge.wish.as_ref().map(|wish| wish.state);
        match state {
            Some(State::Ordered(ticket)) if ticket == answer.ticket => {
                let state = match (&answer.text, edge.wish.as_ref().map(|wish| &wish.aim)) {
                    _ if answer.is_queued() => State::UnderWay,
                    _ if !answer.is_done() => return self.give_up(first.to_owned()),
                    (_, Some(Aim::Breakpoint)) => State::Goes,
                    (_, Some(Aim::Stop)) if answer.order == "go" => State::Goes,
                    _ => State::Done,
                };
                if let Some(wish) = &mut edge.wish {
                    wish.state = state;
                }
            }
            Some(State::Preparing(last)) if answer.ticket <= last => {
                if !answer.is_done() && answer.order.starts_with("break ") {
                    self.give_up(first.to_owned());
                } else if answer.ticket == last {
                    let ticket = edge.live.order("go");
                    if let Some(wish) = &mut edge.wish {
                        wish.state = State::Ordered(ticket);
                    }
                }
            }
            // Nobody need hear of it.
            _ if answer.order.starts_with("unbreak") => {}
            _ => self.message = first.to_owned(),
        }
    }

    fn give_up(&mut self, message: String) {
        self.message = message;
        self.is_playing = false;
        if let Some(edge) = &mut self.edge {
            edge.wish = None;
            edge.typed.clear();
            if edge.is_over() && !edge.has_told_end {
                self.tell_end();
            }
        }
    }

    /// What was wished, as far as it has come. Whether anything has changed.
    fn get_on(&mut self, read: Read) -> bool {
        if read == Read::Part {
            return self.follow();
        }
        let Some(edge) = &mut self.edge else { return false };
        let is_read = self.atlas.last() >= edge.status.step;
        let is_held = edge.status.is_held() && is_read;
        let is_over = edge.is_over() && (is_read || read == Read::End || !self.is_loading);
        let Some(wish) = &edge.wish else {
            let holds_now = is_held && !std::mem::replace(&mut edge.was_held, is_held);
            edge.was_held &= edge.status.is_held();
            let is_end = is_over && !edge.goes_on() && !edge.has_told_end;
            let has_moved = self.follow();
            if is_end {
                self.tell_end();
            } else if holds_now {
                self.tell_hold();
            }
            return has_moved || is_end || holds_now;
        };
        // What was heard before it went on says that it is held, too.
        let has_come = edge.status.step > wish.from;
        let is_done = match wish.state {
            State::Done => true,
            State::UnderWay | State::Goes => (is_held && has_come) || is_over,
            State::Ordered(_) | State::Preparing(_) => false,
        };
        edge.was_held = is_held;
        if is_done {
            self.fulfil(is_over);
            return true;
        }
        self.tell_wish()
    }

    /// Whoever follows the program sees where it is.
    fn follow(&mut self) -> bool {
        let Some(edge) = &self.edge else { return false };
        if !edge.follows || self.question.is_some() || edge.wish.is_some() {
            return false;
        }
        let last = self.atlas.last();
        if self.scene.cursor == Cursor::after(last) {
            return false;
        }
        self.go(Cursor::after(last));
        true
    }

    /// The order was carried out.
    fn fulfil(&mut self, is_over: bool) {
        let Some(edge) = &mut self.edge else { return };
        let Some(Wish { aim, from, .. }) = edge.wish.take() else { return };
        let last = self.atlas.last();
        let has_come = last > from;
        match aim {
            Aim::Next(phases) if has_come => {
                let step = self.atlas.next(from).unwrap_or(last);
                self.go(Cursor { step, phases });
            }
            Aim::Question if has_come => self.predict(),
            Aim::Next(_) | Aim::Question => self.go(Cursor::after(last)),
            Aim::Step(step) => {
                self.go(Cursor::after(step.min(last)));
                self.come_back();
            }
            Aim::Breakpoint => {
                edge.live.order("unbreak all");
                self.go(Cursor::after(last));
                match meets(&self.atlas, last, &self.points) {
                    Some(point) => {
                        self.message = format!("stopped at step {last}: {}", self.points[point]);
                    }
                    None if is_over => {
                        self.message = "nothing after this meets a breakpoint".to_owned();
                        // That it has ended says the line above.
                        if let Some(edge) = &mut self.edge {
                            edge.has_told_end = true;
                        }
                    }
                    None => self.message = format!("held after step {last}"),
                }
            }
            Aim::Stop => self.next_stop(true),
        }
        if is_over && !has_come {
            self.tell_end();
        }
        self.press_typed();
    }

    /// What was typed while a step was under way is heard now.
    fn press_typed(&mut self) {
        while let Some(edge) = self.edge.as_mut().filter(|edge| edge.wish.is_none()) {
            if edge.typed.is_empty() {
                return;
            }
            let key = edge.typed.remove(0);
            // Those that lead elsewhere were not kept.
            let _ = self.press(key);
        }
    }

    /// Says what a wish waits for. Whether that is news.
    fn tell_wish(&mut self) -> bool {
        let Some(edge) = &self.edge else { return false };
        let Some(wish) = &edge.wish else { return false };
        let doing = &edge.status.doing;
        let message = match (doing, wish.state) {
            (Doing::Waits(outside), State::UnderWay | State::Goes) => {
                format!("nothing is ready: it waits for {outside}; any key ends the wait")
            }
            (Doing::Stuck { .. }, State::UnderWay | State::Goes) => {
                format!("{doing}; any key ends the wait")
            }
            (_, State::Goes) => format!("it goes on, step {}; any key holds it", edge.status.step),
            _ => return false,
        };
        let is_news = self.message != message;
        self.message = message;
        is_news
    }

    fn tell_end(&mut self) {
        let Some(edge) = &mut self.edge else { return };
        edge.has_told_end = true;
        self.message = match (edge.live.ended(), &edge.status.doing) {
            (Some(how), _) if edge.live.is_started() => format!("the program has ended ({how})"),
            (Some(_), _) => "the program has gone away".to_owned(),
            (None, doing) => format!("the run is {doing}"),
        };
    }

    /// It was held, though it had not been asked for here.
    fn tell_hold(&mut self) {
        let last = self.atlas.last();
        self.message = match meets(&self.atlas, last, &self.points) {
            Some(point) => format!("held after step {last}: {}", self.points[point]),
            None => format!("held after step {last} (n: next step, G: go on)"),
        };
    }

    /// A key while something is under way. Whether that is what it was for.
    pub(super) fn press_in_wish(&mut self, key: Key) -> bool {
        let Some(edge) = &mut self.edge else { return false };
        let Some(wish) = &edge.wish else { return false };
        if key == Key::Char('q') {
            return false;
        }
        let is_step = matches!(wish.aim, Aim::Next(_) | Aim::Question);
        match wish.state {
            // In a moment it will be over.
            State::Ordered(_) | State::Done if is_step => {
                // Nobody types so far ahead; whoever holds a key down wants to stop when it is let go.
                if edge.typed.len() < 3 && key != Key::Char('R') {
                    edge.typed.push(key);
                }
            }
            _ if key == Key::Char('n') && edge.asked.elapsed() < REPEAT => edge.asked = now(),
            _ => self.break_off(),
        }
        true
    }

    /// What is under way is wished no more: the program is held where it is.
    pub(in crate::step) fn break_off(&mut self) {
        self.is_playing = false;
        let Some(edge) = &mut self.edge else { return };
        let Some(wish) = edge.wish.take() else { return };
        edge.typed.clear();
        edge.live.order("hold");
        if matches!(wish.aim, Aim::Breakpoint) {
            edge.live.order("unbreak all");
        }
        edge.follows = true;
        self.message = "broken off: the program is held".to_owned();
    }

    /// Has the program take the next step. Whether it can.
    pub(super) fn order_step(&mut self, phases: Option<usize>) -> bool {
        self.order_next(Aim::Next(phases))
    }

    pub(super) fn order_question(&mut self) -> bool {
        self.order_next(Aim::Question)
    }

    fn order_next(&mut self, aim: Aim) -> bool {
        if !self.is_at_edge() {
            return false;
        }
        let is_last = self.atlas.history.is_finished();
        let Some(edge) = &mut self.edge else { return false };
        edge.asked = now();
        if is_last {
            // What is left is not the loop's.
            edge.live.order("go");
            self.message = "the run is over; the program goes on to its end".to_owned();
            return false;
        }
        if !edge.status.is_held() {
            self.message = "it runs: G holds it".to_owned();
            return false;
        }
        let (ticket, from) = (edge.live.order("step"), self.atlas.last());
        edge.wish = Some(Wish { aim, state: State::Ordered(ticket), from });
        true
    }

    /// Lets the program go on to a breakpoint. Whether it can.
    pub(super) fn order_continue(&mut self) -> bool {
        let last = self.atlas.last();
        let Some(edge) = self.edge.as_mut().filter(|edge| !edge.is_over()) else { return false };
        edge.live.order("unbreak all");
        let mut ticket = 0;
        for point in &self.points {
            ticket = edge.live.order(&format!("break {point}"));
        }
        edge.wish =
            Some(Wish { aim: Aim::Breakpoint, state: State::Preparing(ticket), from: last });
        true
    }

    /// This run is to come to the step at which the one before was looked at.
    pub(super) fn come_again(&mut self, old: Desk, step: u64) {
        self.earlier = Some(old.atlas);
        if !self.order_until(step) {
            self.come_back();
        }
    }

    /// Says how this run differs from the one before, as far as it has come.
    fn come_back(&mut self) {
        let Some(earlier) = self.earlier.take() else { return };
        let comparison = compare(&earlier.recording, &self.atlas.recording);
        self.aside = vec![format!("Again: {comparison}.")];
    }

    /// Has a program that is held come to a step. Whether it can.
    fn order_until(&mut self, step: u64) -> bool {
        let last = self.atlas.last();
        let Some(edge) = self.edge.as_mut().filter(|edge| edge.status.is_held()) else {
            return false;
        };
        let Some(missing) = step.checked_sub(last).filter(|missing| *missing > 0) else {
            return false;
        };
        let ticket = edge.live.order(&format!("step {missing}"));
        edge.wish = Some(Wish { aim: Aim::Step(step), state: State::Ordered(ticket), from: last });
        true
    }

    /// Has a program that is held take the steps to where the lesson stops next. Whether it can.
    pub(super) fn order_stop(&mut self, missing: Option<u64>) -> bool {
        let last = self.atlas.last();
        let Some(edge) = self.edge.as_mut().filter(|edge| edge.status.is_held()) else {
            return false;
        };
        let order = missing.map_or_else(|| "go".to_owned(), |missing| format!("step {missing}"));
        let state = State::Ordered(edge.live.order(&order));
        edge.wish = Some(Wish { aim: Aim::Stop, state, from: last });
        true
    }

    /// Whether nothing more will come.
    pub(in crate::step) fn is_over(&self) -> bool {
        self.atlas.history.is_finished() || self.edge.as_ref().is_none_or(Edge::is_over)
    }

    /// Gives an order, where orders are given.
    pub(super) fn order(&mut self, order: &str) -> bool {
        if self.edge.is_none() {
            self.message = "refused: this is a recording".to_owned();
            return false;
        }
        let is_at_edge = self.is_at_edge();
        let Some(edge) = self.edge.as_mut().filter(|edge| edge.goes_on()) else {
            self.message = "refused: the program has ended".to_owned();
            return false;
        };
        if !is_at_edge && !edge.follows {
            self.message = "refused: this is the past".to_owned();
            return false;
        }
        if !order.is_empty() {
            edge.live.order(order);
        }
        true
    }

    /// Lets the program go on, or holds it.
    pub(super) fn order_go_or_hold(&mut self) {
        let is_held = self.edge.as_ref().is_some_and(|edge| edge.status.is_held());
        if self.order(if is_held { "go" } else { "hold" })
            && let Some(edge) = &mut self.edge
        {
            edge.follows = true;
            edge.was_held = true;
            edge.released = is_held.then_some(edge.status.step);
        }
    }

    /// An order about the selected task: a word of the monitor's.
    pub(super) fn order_about_task(&mut self, word: &str) {
        if !self.order("") {
            return;
        }
        match self.look.selected {
            Some(task) => drop(self.order(&format!("{word} {task}"))),
            None => self.message = "choose a task first, with the keys up and down".to_owned(),
        }
    }

    /// Goes on until nothing is under way any more; of a program that runs, until it waits for somebody else, is held or
    /// ends; but not for longer than somebody would wait who looks on.
    pub(in crate::step) fn settle_edge(&mut self, limit: Duration) -> io::Result<()> {
        let begin = now();
        while self.edge.is_some() {
            self.poll()?;
            let Some(edge) = &self.edge else { return Ok(()) };
            let runs = edge.released.is_some() || edge.is_running();
            let is_busy =
                edge.wish.is_some() || (self.is_printed && (runs || edge.status.undone > 0));
            let is_catching_up =
                self.atlas.last() < edge.status.step || (edge.is_over() && self.is_loading);
            if !is_busy && !is_catching_up {
                break;
            }
            if begin.elapsed() >= limit {
                self.break_off();
                break;
            }
            crate::live::wait_for(Duration::from_millis(1), || false);
        }
        Ok(())
    }
}
