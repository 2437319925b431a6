//! Moving the cursor.

use super::Desk;
use crate::step::atlas::Cursor;
use crate::step::breakpoint::{FORMS, Progress, Search};
use crate::step::pane::Pane;

impl Desk {
    /// Goes to a place. What was said about another is no longer said.
    pub(in crate::step) fn go(&mut self, cursor: Cursor) {
        self.aside.clear();
        let step = self.atlas.nearest(cursor.step);
        let cursor = Cursor { step, ..cursor };
        if let Some(edge) = &mut self.edge {
            edge.follows &= cursor == Cursor::after(self.atlas.last());
        }
        self.look(cursor);
        self.watch_for_cycle();
    }

    /// What is to be seen at a place.
    pub(super) fn look(&mut self, cursor: Cursor) {
        self.scene = match &self.edge {
            Some(edge) if edge.goes_on() => self.atlas.scene_at_edge(cursor),
            _ => self.atlas.scene(cursor),
        };
    }

    /// The graph opens by itself where a cycle closes.
    fn watch_for_cycle(&mut self) {
        let step = self.scene.cursor.step;
        let closes = self.atlas.history.cycles(step).next().is_some_and(|(at, _)| *at == step);
        if closes && self.scene.is_whole() && !self.panes.contains(&Pane::Graph) {
            let current = self.current;
            self.open(Pane::Graph);
            self.current = current;
            self.message = "a cycle has closed: the graph shows it".to_owned();
        }
    }

    pub(super) fn move_or_say(&mut self, go: fn(&mut Desk) -> bool, otherwise: &str) {
        if !go(self) && self.message.is_empty() {
            self.message = otherwise.to_owned();
            if self.is_loading && self.edge.is_none() {
                self.message.push_str(" that has been loaded");
            }
        }
    }

    /// The next step; at the edge of a program that is held, it is taken.
    pub(super) fn step_or_order(&mut self) -> bool {
        self.next_step() || self.order_step(None)
    }

    pub(super) fn phase_or_order(&mut self) -> bool {
        self.next_phase() || self.order_step(Some(1))
    }

    /// From within a step to its end, else to the end of the next.
    pub(super) fn next_step(&mut self) -> bool {
        let step = match self.scene.is_whole() {
            true => self.atlas.next(self.scene.cursor.step),
            false => Some(self.scene.cursor.step),
        };
        step.map(|step| self.go(Cursor::after(step))).is_some()
    }

    pub(super) fn previous_step(&mut self) -> bool {
        let step = self.atlas.previous(self.scene.cursor.step);
        step.map(|step| self.go(Cursor::after(step))).is_some()
    }

    pub(super) fn next_phase(&mut self) -> bool {
        let cursor = match self.scene.is_whole() {
            true => {
                self.atlas.next(self.scene.cursor.step).map(|step| Cursor { step, phases: Some(1) })
            }
            false => Some(Cursor { phases: Some(self.scene.over + 1), ..self.scene.cursor }),
        };
        cursor.map(|cursor| self.go(cursor)).is_some()
    }

    pub(super) fn previous_phase(&mut self) -> bool {
        let step = self.scene.cursor.step;
        if self.scene.over > 1 {
            self.go(Cursor { step, phases: Some(self.scene.over - 1) });
            return true;
        }
        let previous = self.atlas.previous(step);
        previous.map(|step| self.go(Cursor::after(step))).is_some()
    }

    pub(super) fn step_of_selected(&mut self, is_forward: bool) {
        let Some(task) = self.look.selected.or(self.scene.task) else {
            self.message = "choose a task first, with the keys up and down".to_owned();
            return;
        };
        self.look.selected = Some(task);
        let (step, history) = (self.scene.cursor.step, &self.atlas.history);
        let found =
            if is_forward { history.next_of(task, step) } else { history.previous_of(task, step) };
        match found {
            Some(step) => self.go(Cursor::after(step)),
            None => {
                let word = if is_forward { "after" } else { "before" };
                self.message = format!("T{task} does not run {word} this");
            }
        }
    }

    /// Selects the task above or below.
    pub(super) fn select(&mut self, is_down: bool) {
        let sight = self.sight(&[]);
        let tasks: Vec<u64> =
            self.scene.now.tasks().map(|task| task.id).filter(|task| sight.shows(*task)).collect();
        let at = self.look.selected.and_then(|selected| tasks.binary_search(&selected).ok());
        let next = match (at, is_down) {
            (None, true) => tasks.first(),
            (None, false) => tasks.last(),
            (Some(at), true) => tasks.get(at + 1).or(tasks.last()),
            (Some(at), false) => tasks.get(at.saturating_sub(1)),
        };
        self.look.selected = next.copied().or(self.look.selected);
        if let Some(task) = self.look.selected {
            let name = crate::step::names::task(task, &self.atlas.history);
            self.message =
                format!("{name} is selected (w: why is it not running?, t, T: its steps)");
        }
        self.aside.clear();
    }

    /// Goes on to the next step that meets a breakpoint, or back to the last.
    pub(super) fn search(&mut self, is_forward: bool) {
        if self.points.is_empty() {
            self.message = format!("there is no breakpoint; b sets one: {FORMS}");
            return;
        }
        let at = self.scene.cursor.step;
        self.search = Some(Search { is_forward, at });
        self.search_on();
    }

    pub(super) fn search_on(&mut self) {
        let Some(mut search) = self.search.take() else { return };
        match search.advance(&self.atlas, &self.points) {
            Progress::Found(step, point) => {
                self.go(Cursor::after(step));
                self.message = format!("stopped at step {step}: {}", self.points[point]);
            }
            // More is being read.
            Progress::Nothing if search.is_forward && self.is_behind => self.search = Some(search),
            Progress::Nothing if search.is_forward && self.order_continue() => {
                self.message.clear();
            }
            Progress::Nothing => {
                let place = if search.is_forward { "after" } else { "before" };
                self.message = format!("nothing {place} this meets a breakpoint");
            }
            Progress::Searching => {
                self.message = format!("searching, step {}; any key breaks it off", search.at);
                self.search = Some(search);
            }
        }
    }

    /// Goes to the next stop of the lesson, or back to the one before, and opens its panes.
    pub(super) fn next_stop(&mut self, is_forward: bool) {
        let is_over = self.is_over();
        let Some(lesson) = &mut self.lesson else {
            self.message = "this program's source has no lesson in it".to_owned();
            return;
        };
        // More may be known of the run than when it was looked at last.
        let before = self.stop.and_then(|at| lesson.stops.get(at).cloned());
        lesson.sort(&self.atlas, is_over);
        self.stop = before.and_then(|stop| lesson.stops.iter().position(|at| *at == stop));
        let next = match (self.stop, is_forward) {
            (None, true) => Some(0),
            (None, false) => None,
            (Some(at), true) => Some(at + 1),
            (Some(at), false) => at.checked_sub(1),
        };
        let Some((at, stop)) = next.and_then(|at| Some((at, lesson.stops.get(at)?.clone()))) else {
            self.message = "the lesson has no further stop".to_owned();
            return;
        };
        let step = stop.step(&self.atlas, is_over);
        if step.is_none() && !is_over {
            let missing = lesson.steps_missing(&self.atlas);
            if !self.order_stop(missing) {
                self.message = "the run has not come there yet".to_owned();
            }
            return;
        }
        self.stop = Some(at);
        self.shows_answer = false;
        self.is_zoomed = false;
        if !stop.panes.is_empty() {
            // Those that are opened last stay where there is no room for all: the lesson names the chief one first.
            self.panes = stop.panes.iter().rev().copied().collect();
            self.current = stop.panes[0];
        }
        match step {
            Some(step) => self.go(Cursor::after(step)),
            None => {
                self.message = "this run has no step like the one that the lesson means".to_owned()
            }
        }
    }
}
