//! What happens in a step, in sentences, as one would say it before a class.

mod beside;
mod call;
mod life;
mod outside;

use std::collections::BTreeSet;
use std::ops::Range;

use trapline_trace::strace::shown_duration;
use trapline_trace::{Mirror, Move, Record, StepEnd, Value};

use super::atlas::{Atlas, Scene, apply};
use super::names;

/// Tells of some of a step's records, one after the other.
pub(crate) struct Teller<'a> {
    atlas: &'a Atlas,
    step: u64,
    /// The state before the record that is told of.
    mirror: Mirror,
    /// Whose step it is.
    task: Option<u64>,
    sentences: Vec<String>,
    /// The calls that were begun in this step.
    own: BTreeSet<u64>,
    /// Whose call has been answered last: being ready follows from that.
    answered: Option<u64>,
    /// What a task said when it panicked; its end follows.
    panic: Option<String>,
    /// What was asked last.
    last_call: Option<String>,
    /// Told of as soon as it has been said what was asked.
    births: Vec<String>,
    clock_before: u64,
}

/// What the part of a step that is over comes to; the last phase alone, where the step is not over.
pub(crate) fn told(atlas: &Atlas, scene: &Scene) -> Vec<String> {
    if scene.beats.is_empty() {
        return opening(atlas, scene);
    }
    if scene.is_whole() {
        return tell(atlas, scene, scene.prelude..scene.records.len());
    }
    match scene.over.checked_sub(1) {
        None => vec!["The next step is about to begin.".to_owned()],
        Some(last) => {
            let sentences = tell(atlas, scene, scene.beats[last].records.clone());
            match sentences.is_empty() {
                true => vec![nothing_new(scene)],
                false => sentences,
            }
        }
    }
}

fn opening(atlas: &Atlas, scene: &Scene) -> Vec<String> {
    let ready: Vec<u64> = scene.now.ready().collect();
    let mut sentences = vec!["Nothing has run yet.".to_owned()];
    match ready.first() {
        Some(first) => sentences.push(format!(
            "{} in the ready queue; {} is at its head and will run first.",
            match ready.len() {
                1 => "One task stands".to_owned(),
                many => format!("{many} tasks stand"),
            },
            names::task(*first, &atlas.history)
        )),
        None if scene.now.tasks().next().is_none() => sentences.push("There are no tasks.".into()),
        None => sentences.push("Nobody is ready.".into()),
    }
    sentences
}

/// A phase in which nothing was recorded.
fn nothing_new(scene: &Scene) -> String {
    use super::phase::Phase;
    let who = scene.task.map_or_else(|| "the task".to_owned(), names::short);
    match scene.phase() {
        Some(Phase::Pick) => format!("{who} goes on: its last call was answered at once."),
        Some(Phase::Resume) => format!("{who} runs, from where it stopped."),
        Some(Phase::Settle) => format!("The step is over; {who} runs on in the next one."),
        _ => "Nothing changes.".to_owned(),
    }
}

fn tell(atlas: &Atlas, scene: &Scene, range: Range<usize>) -> Vec<String> {
    let mut mirror = scene.before.clone();
    let start = range.start.max(scene.prelude);
    let earlier = &scene.records[scene.prelude..start];
    apply(&mut mirror, earlier);
    let own = earlier.iter().filter_map(begun).collect();
    let clock_before = scene.before.clock_nanos();
    let mut teller = Teller {
        atlas,
        step: scene.cursor.step,
        mirror,
        task: scene.task,
        sentences: Vec::new(),
        own,
        answered: None,
        panic: None,
        last_call: None,
        births: Vec::new(),
        clock_before,
    };
    let records = &scene.records[start..range.end];
    if range == (scene.prelude..scene.records.len()) {
        teller.introduce(scene);
    }
    for (at, record) in records.iter().enumerate() {
        teller.record(record, &records[at + 1..]);
        apply(&mut teller.mirror, std::slice::from_ref(record));
    }
    teller.sentences
}

fn begun(record: &Record) -> Option<u64> {
    match record {
        Record::Move(Move::CallBegun { call, .. }) => Some(*call),
        _ => None,
    }
}

impl Teller<'_> {
    fn say(&mut self, sentence: impl Into<String>) {
        self.sentences.push(sentence.into());
    }

    fn name(&self, task: u64) -> String {
        names::task(task, &self.atlas.history)
    }

    /// The running task; with its name where it is spoken of first.
    fn who(&self) -> String {
        match self.task {
            None => "The program".to_owned(),
            Some(task) if self.sentences.is_empty() => self.name(task),
            Some(task) => names::short(task),
        }
    }

    /// A task that goes on is nowhere told of: so it is said first.
    fn introduce(&mut self, scene: &Scene) {
        let is_taken = |record: &Record| matches!(record, Record::Move(Move::Taken { .. }));
        if scene.end() == Some(StepEnd::Ran)
            && !scene.records.iter().any(is_taken)
            && let Some(task) = self.task
        {
            let name = self.name(task);
            self.say(format!(
                "{name} goes on: its last call was answered at once, and its quantum lasts."
            ));
        }
        if self.task.is_none() {
            self.outside_begins(scene);
        }
    }

    fn record(&mut self, record: &Record, rest: &[Record]) {
        match record {
            Record::Move(change) => self.moved(change, rest),
            Record::Remark(remark) => self.remarked(remark),
            Record::StepEnd(end) => self.step_ends(*end),
            _ => {}
        }
    }

    fn moved(&mut self, change: &Move, rest: &[Record]) {
        match *change {
            Move::Taken { task, .. } => self.taken(task),
            Move::TaskBorn { task, parent, daemon, .. } => self.born(task, parent, daemon, rest),
            Move::TaskEnded { task, how } => self.ended(task, how),
            Move::Ready { task, by } => self.ready(task, by),
            Move::PutFirst { task } => {
                let name = self.name(task);
                self.say(format!(
                    "An order from outside puts {name} at the head of the ready queue."
                ));
            }
            Move::Rested { task, is_ready } => self.rested(task, is_ready),
            Move::CallBegun { call, .. } => {
                self.own.insert(call);
                self.asks(change, rest);
            }
            Move::CallBlocked { call, on } => self.has_to_wait(call, on),
            Move::CallAnswered { call, by, ref reply } => self.answered(call, by, reply),
            Move::CallWithdrawn { call } => self.withdrawn(call),
            Move::CallBooked { call, task } => self.booked(call, task),
            Move::FieldSet { object, field, ref value } => {
                let is_handed_on = rest.iter().any(|record| {
                    matches!(record, Record::Move(Move::FieldSet { object: o, field: f, value: Value::Held { task, .. } })
                        if *o == object && *f == field && *task != self.task)
                });
                let field = self.mirror.tables().str(field).to_owned();
                // Who gives it up is told with whom it is handed to.
                if !(is_handed_on && *value == Value::Nothing) {
                    self.field_set(object, &field, value);
                }
            }
            Move::Outside { answered, at_nanos } => self.looked(answered, at_nanos, rest),
            Move::ObjectBorn { .. } | Move::ObjectEnded { .. } => {}
        }
    }

    /// Where whoever comes now stands.
    fn place_in_queue(&self) -> String {
        match self.mirror.ready_len() {
            0 => " and is alone there".to_owned(),
            before => format!(" in {} place", names::ordinal(before + 1)),
        }
    }

    /// " 16.1 ms", if any time has passed on the program's clock.
    fn waited(&self, since_nanos: u64) -> String {
        match self.mirror.clock_nanos().saturating_sub(since_nanos) {
            0 => String::new(),
            nanos => format!(" {}", shown_duration(nanos)),
        }
    }
}

/// With a large letter first, except where a name stands first.
pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if !text.starts_with("fd ") => first.to_uppercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}
