//! What happens in a step, in sentences, as one would say it before a class.

mod call;
mod outside;

use std::collections::BTreeSet;
use std::ops::Range;

use trapline_trace::strace::shown_duration;
use trapline_trace::{About, Cause, Ended, Mirror, Move, Record, Remark, StepEnd, Value};

use super::atlas::{Atlas, Scene, apply};
use super::names;
use super::phase::is_asked_for;

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
                let field = self.mirror.tables().str(field).to_owned();
                self.field_set(object, &field, value);
            }
            Move::Outside { answered, at_nanos } => self.looked(answered, at_nanos),
            Move::ObjectBorn { .. } | Move::ObjectEnded { .. } => {}
        }
    }

    fn taken(&mut self, task: u64) {
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

    fn born(&mut self, task: u64, parent: Option<u64>, daemon: bool, rest: &[Record]) {
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

    /// Where whoever comes now stands.
    fn place_in_queue(&self) -> String {
        match self.mirror.ready_len() {
            0 => " and is alone there".to_owned(),
            before => format!(" in {} place", names::ordinal(before + 1)),
        }
    }

    fn ended(&mut self, task: u64, how: Ended) {
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

    fn ready(&mut self, task: u64, by: Cause) {
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

    fn rested(&mut self, task: u64, is_ready: bool) {
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

    fn remarked(&mut self, remark: &Remark) {
        match *remark {
            Remark::Done { object, operation, ref result, .. } => {
                let operation = self.mirror.tables().str(operation).to_owned();
                self.done(object, &operation, result);
            }
            Remark::Woken { task, by, redundant } => {
                let by = names::cause(by, &self.mirror);
                let (by, who) = (capital(&by), names::short(task));
                self.say(if redundant {
                    format!(
                        "{by} wakes {who} once more, which is ready already: this changes nothing."
                    )
                } else {
                    format!("{by} wakes {who} while it runs: it will be ready again when it rests.")
                });
            }
            Remark::Said { about, topic, text } => {
                let tables = self.mirror.tables();
                let (topic, text) = (tables.str(topic).to_owned(), tables.str(text).to_owned());
                self.said(about, &topic, text);
            }
            Remark::Cycle { ref tasks } => {
                let links = tasks.iter().zip(tasks.iter().cycle().skip(1));
                let links: Vec<_> =
                    links.map(|(task, next)| format!("T{task} waits for T{next}")).collect();
                self.say(format!(
                    "A cycle has closed: {}. None of them can ever go on by itself.",
                    links.join(", ")
                ));
            }
            Remark::Output { .. } | Remark::Source { .. } | Remark::Property { .. } => {}
        }
    }

    fn said(&mut self, about: About, topic: &str, text: String) {
        let who = match about {
            About::Task(task) => names::short(task),
            _ => "The kernel".to_owned(),
        };
        match topic {
            // It is told with the end of the task.
            "panic" => self.panic = Some(text),
            "last call" => {
                self.say(format!("{who} asks {text}(), and does not come back from it."))
            }
            "slow" => self.say(format!("{who} {text}: nobody else could run meanwhile.")),
            "cancelled" => self.say(format!("{who} is asked to stop: {text}.")),
            "warning" => self.say(format!("Warning: {text}.")),
            topic => self.say(format!("{}: {text}.", capital(topic))),
        }
    }

    fn done(&mut self, object: u64, operation: &str, result: &Value) {
        let (who, thing) = (self.who(), names::thing(object, &self.mirror));
        let at_once = "; there was no need to wait, so it does not trap";
        let sentence = match (operation, result) {
            // Told by the holder that is set beside it, or with the call.
            ("lock" | "acquire" | "release" | "unlock", _) => return,
            ("bytes", Value::Payload(bytes)) => {
                format!("They begin with \"{}\".", bytes.escape_ascii())
            }
            ("accept", Value::Os(_)) => {
                format!("{who} looks for a connection on {thing}: there is none.")
            }
            ("accept", _) => format!("{who} accepts a connection on {thing}{at_once}."),
            (_, Value::Os(_)) => {
                format!(
                    "{who} tries to {operation}: {thing} says \"{}\".",
                    names::value(result, &self.mirror)
                )
            }
            ("read" | "recv", Value::Bytes(0)) => {
                format!("{who} reads from {thing}: it has ended.")
            }
            ("read" | "recv", _) => {
                format!("{who} reads {} from {thing}{at_once}.", names::value(result, &self.mirror))
            }
            ("write" | "send_to", _) => {
                format!(
                    "{who} writes {} into {thing}{at_once}.",
                    names::value(result, &self.mirror)
                )
            }
            _ => format!("{who} does {operation} on {thing}{at_once}."),
        };
        self.say(sentence);
    }

    /// What a thing tells of itself.
    fn field_set(&mut self, object: u64, field: &str, value: &Value) {
        let (who, thing) = (self.who(), names::thing(object, &self.mirror));
        let before = self.mirror.field(object, field).cloned();
        match (field, value, before) {
            ("holder", Value::Held { task, .. }, _) if *task == self.task => {
                self.say(format!("{who} takes {thing}, which is free: no need to wait."));
            }
            ("holder", Value::Held { task: Some(next), .. }, _) => {
                self.say(format!(
                    "{who} gives {thing} up, and it is handed to {}, first in its queue.",
                    self.name(*next)
                ));
            }
            ("holder", Value::Nothing, Some(Value::Held { task, .. })) if task == self.task => {
                self.say(format!("{who} gives {thing} back; nobody holds it now."));
            }
            ("count", Value::Count(now), before) => {
                self.count_changes(object, &thing, *now, before.as_ref())
            }
            ("free", Value::Count(now), Some(Value::Count(before))) if *now != before => {
                let verb = if *now < before { "takes one from" } else { "gives one back to" };
                self.say(format!("{who} {verb} {thing}: {now} left."));
            }
            ("closed", Value::Count(1..), _) => self.say(format!("{} is closed.", capital(&thing))),
            _ => {}
        }
    }

    fn count_changes(&mut self, object: u64, thing: &str, now: u64, before: Option<&Value>) {
        let who = self.who();
        let of = match self.mirror.field(object, "capacity") {
            Some(Value::Count(capacity)) => format!(" of {capacity}"),
            _ => String::new(),
        };
        let before = match before {
            Some(Value::Count(before)) => *before,
            _ => 0,
        };
        let verb = match now.cmp(&before) {
            std::cmp::Ordering::Greater => "puts something into",
            std::cmp::Ordering::Less => "takes something out of",
            std::cmp::Ordering::Equal => return,
        };
        self.say(format!("{who} {verb} {thing}, which now holds {now}{of}."));
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
