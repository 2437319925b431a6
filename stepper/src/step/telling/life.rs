//! The life of tasks: born, taken, made ready, at rest, ended.

use trapline_trace::{Cause, Ended, Record};

use super::{Teller, capital};
use crate::step::names;
use crate::step::phase::is_asked_for;

impl Teller<'_> {
    pub(super) fn taken(&mut self, task: u64) {
        let name = self.name(task);
        let behind = self.mirror.ready_len().saturating_sub(1);
        let left = match behind {
            0 => "nobody is left behind it".to_owned(),
            1 => format!("{} is left behind it", names::several(&self.ready_but(task))),
            _ => format!("{} are left behind it", names::several(&self.ready_but(task))),
        };
        let woken = self.mirror.task(task).and_then(|task| task.woken_by);
        let why = match woken {
            // Of one that has run since, it is no news.
            Some((by, step)) if step < self.step && self.has_not_run_since(task, step) => {
                format!(" ({} woke it in step {step})", names::cause(by, &self.mirror))
            }
            _ => String::new(),
        };
        self.say(format!("{name} is taken from the head of the ready queue{why}; {left}."));
    }

    fn has_not_run_since(&self, task: u64, step: u64) -> bool {
        self.atlas.history.previous_of(task, self.step).is_none_or(|ran| ran <= step)
    }

    fn ready_but(&self, task: u64) -> Vec<u64> {
        self.mirror.ready().filter(|other| *other != task).collect()
    }

    pub(super) fn born(&mut self, task: u64, parent: Option<u64>, daemon: bool, rest: &[Record]) {
        let name = self.name(task);
        let what = if daemon { ", a daemon, for which no run waits," } else { "" };
        let place = self.place_in_queue();
        let asked = is_asked_for(rest);
        match parent {
            // It is there before it is told that it was asked for.
            Some(parent) if Some(parent) == self.task && asked => self
                .births
                .push(format!("The kernel makes it: {name}{what} joins the ready queue{place}.")),
            Some(parent) => self.say(format!(
                "{} makes a new task: {name}{what} joins the ready queue{place}.",
                names::short(parent)
            )),
            None => self.say(format!(
                "The program makes a new task: {name}{what} joins the ready queue{place}."
            )),
        }
    }

    pub(super) fn ended(&mut self, task: u64, how: Ended) {
        let name = if self.task == Some(task) { self.who() } else { self.name(task) };
        let text = self.panic.take();
        self.say(match how {
            Ended::Returned => {
                format!("{name} returns: it has ended, and its place in the task table is free.")
            }
            Ended::Panicked => match text {
                Some(text) => {
                    format!("{name} panics: \"{text}\". It alone ends; the others go on.")
                }
                None => format!("{name} panics. It alone ends; the others go on."),
            },
            Ended::Killed => format!("{name} is killed: it is dropped where it stood."),
            Ended::Cancelled => format!("{name} was asked to stop, and has."),
        });
    }

    pub(super) fn ready(&mut self, task: u64, by: Cause) {
        let (name, place) = (self.name(task), self.place_in_queue());
        if self.answered.take() == Some(task) {
            // Said with the answer.
            return;
        }
        let by = names::cause(by, &self.mirror);
        let by = if Some(&by) == self.task.map(names::short).as_ref() {
            "This".to_owned()
        } else {
            capital(&by)
        };
        self.say(format!("{by} wakes {name}, which joins the ready queue{place}."));
    }

    pub(super) fn rested(&mut self, task: u64, is_ready: bool) {
        let calls: Vec<_> = self
            .mirror
            .calls_of(task)
            .filter(|call| call.on.is_some())
            .map(|call| call.id)
            .collect();
        if is_ready {
            let ahead: Vec<u64> = self.mirror.ready().collect();
            let who = names::short(task);
            let is_spent = self.last_call.as_deref().is_some_and(|call| call != "yield_now");
            let who = match is_spent {
                true => format!("Its quantum is used up, so {who}"),
                false => who,
            };
            self.say(match ahead.is_empty() {
                true => format!("{who} goes to the back of the ready queue; as nobody else is there, it is next again."),
                false => format!("{who} goes to the back of the ready queue, behind {}.", names::several(&ahead)),
            });
        } else if calls.is_empty() {
            self.say(format!(
                "{} waits, for a waker that somebody has: no call of its own is pending.",
                names::short(task)
            ));
        } else if calls.iter().all(|call| !self.own.contains(call)) {
            let reasons = self.waits_of(task);
            self.say(format!(
                "{} asks for nothing new, and waits on for {reasons}.",
                names::short(task)
            ));
        } else if calls.len() > 1 {
            self.say(format!(
                "{} waits until one of its {} calls is answered.",
                names::short(task),
                calls.len()
            ));
        }
    }

    /// For what the calls of a task wait.
    fn waits_of(&self, task: u64) -> String {
        let calls = self.mirror.calls_of(task).filter_map(|call| call.on);
        let mut reasons: Vec<String> = calls.map(|on| names::on(on, &self.mirror)).collect();
        reasons.dedup();
        reasons.truncate(3);
        reasons.join(" or ")
    }
}
