//! The line in which a text is typed: a step, a breakpoint, a filter.

use super::Desk;
use crate::step::atlas::Cursor;
use crate::step::breakpoint::{Breakpoint, FORMS, nearest};
use crate::step::key::Key;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Step,
    Breakpoint,
    Filter,
    /// Why the selected task is to end.
    Cancel,
}

#[derive(Clone, Debug)]
pub(in crate::step) struct Prompt {
    what: What,
    text: String,
}

/// Nobody types more into a line.
const LONGEST: usize = 200;

impl Prompt {
    pub(super) fn step() -> Prompt {
        Prompt { what: What::Step, text: String::new() }
    }

    pub(super) fn breakpoint() -> Prompt {
        Prompt { what: What::Breakpoint, text: String::new() }
    }

    pub(super) fn filter(before: &str) -> Prompt {
        Prompt { what: What::Filter, text: before.to_owned() }
    }

    pub(super) fn cancel() -> Prompt {
        Prompt { what: What::Cancel, text: String::new() }
    }

    pub(in crate::step) fn shown(&self) -> String {
        let text = &self.text;
        match self.what {
            What::Step => format!("go to step: {text}_"),
            What::Breakpoint if text.is_empty() => {
                format!("breakpoint: _  ({FORMS}; - removes all)")
            }
            What::Breakpoint => format!("breakpoint: {text}_"),
            What::Filter => format!("only what has this in it: {text}_"),
            What::Cancel => format!("ask the selected task to end, because of: {text}_"),
        }
    }
}

impl Desk {
    pub(super) fn press_in_prompt(&mut self, key: Key) {
        let Some(prompt) = &mut self.prompt else { return };
        match key {
            Key::Char(letter) if prompt.text.len() < LONGEST => prompt.text.push(letter),
            Key::Backspace => drop(prompt.text.pop()),
            Key::Escape => self.prompt = None,
            Key::Enter => {
                let Prompt { what, text } = prompt.clone();
                self.prompt = None;
                self.enter(what, text.trim());
            }
            _ => {}
        }
    }

    fn enter(&mut self, what: What, text: &str) {
        match what {
            What::Step => self.enter_step(text),
            What::Filter => self.look.filter = text.to_owned(),
            What::Cancel => {
                let Some(task) = self.look.selected else { return };
                self.order(&format!("cancel {task} {text}"));
            }
            What::Breakpoint if text == "-" => {
                self.points.clear();
                self.message = "all breakpoints are removed".to_owned();
            }
            What::Breakpoint if text.is_empty() => {
                let points: Vec<_> = self.points.iter().map(Breakpoint::to_string).collect();
                self.message = format!("breakpoints: {}", points.join("; "));
            }
            What::Breakpoint => self.enter_breakpoint(text),
        }
    }

    fn enter_step(&mut self, text: &str) {
        let Ok(step) = text.parse() else {
            self.message = format!("{text:?} is no number of a step");
            return;
        };
        let there = self.atlas.nearest(step);
        self.go(Cursor::after(there));
        if there != step {
            self.message = format!("step {step} is not in the recording; this is the nearest");
        }
    }

    fn enter_breakpoint(&mut self, text: &str) {
        match Breakpoint::parse(text) {
            Err(error) => self.message = error,
            Ok(point) => {
                self.message = match nearest(&self.atlas, &point) {
                    Some(place) => {
                        format!("nobody asks from that line; the nearest one is {place}")
                    }
                    None => format!("breakpoint: {point} (c goes on to it, C back)"),
                };
                self.points.push(point);
            }
        }
    }
}
