//! Breakpoints: where going on, forward or back, is to stop.

use std::fmt;

use trapline_trace::{Ended, Mirror, Move, On, Record, Remark, SiteRef, StackRef, StepEnd};

use super::atlas::{Atlas, apply};
use super::names;
use super::phase::prelude;

/// What is told where one is not understood.
pub(crate) const FORMS: &str =
    "task ID, call WORD, object NAME, line FILE:LINE, outcome WORD, woken > N";

/// What a call, or a step, can come to.
const OUTCOMES: [&str; 10] = [
    "answered",
    "blocked",
    "withdrawn",
    "returned",
    "panicked",
    "killed",
    "cancelled",
    "outside",
    "deadlock",
    "finished",
];

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Breakpoint {
    Task(u64),
    Call(String),
    /// By its name or its number.
    Object(String),
    Line(String, u32),
    Outcome(String),
    /// More than so many are woken in one step.
    Woken(u64),
}

impl fmt::Display for Breakpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Breakpoint::Task(task) => write!(f, "task {task}"),
            Breakpoint::Call(word) => write!(f, "call {word}"),
            Breakpoint::Object(name) => write!(f, "object {name}"),
            Breakpoint::Line(file, line) => write!(f, "line {file}:{line}"),
            Breakpoint::Outcome(word) => write!(f, "outcome {word}"),
            Breakpoint::Woken(more) => write!(f, "woken > {more}"),
        }
    }
}

impl Breakpoint {
    /// Reads one.
    pub(crate) fn parse(text: &str) -> Result<Breakpoint, String> {
        let text = text.trim();
        let unknown = || format!("\"{text}\" is none of: {FORMS}");
        let (word, rest) = text.split_once(' ').ok_or_else(unknown)?;
        let rest = rest.trim();
        let number = |text: &str| text.trim().trim_start_matches('T').parse().ok();
        match word {
            "task" => number(rest).map(Breakpoint::Task).ok_or_else(unknown),
            "call" => Ok(Breakpoint::Call(rest.to_owned())),
            "object" => Ok(Breakpoint::Object(rest.trim_matches('`').to_owned())),
            "line" => {
                let (file, line) = rest.rsplit_once(':').ok_or_else(unknown)?;
                let line = line.parse().map_err(|_| unknown())?;
                Ok(Breakpoint::Line(file.to_owned(), line))
            }
            "outcome" if OUTCOMES.contains(&rest) => Ok(Breakpoint::Outcome(rest.to_owned())),
            "outcome" => Err(format!("an outcome is one of: {}", OUTCOMES.join(", "))),
            "woken" => {
                let more = rest.strip_prefix('>').and_then(number);
                more.map(Breakpoint::Woken).ok_or_else(unknown)
            }
            _ => Err(unknown()),
        }
    }

    /// Whether a step as a whole meets it.
    fn is_met(&self, records: &[Record]) -> bool {
        let Breakpoint::Woken(more) = self else { return false };
        let woken = |record: &&Record| matches!(record, Record::Move(Move::Ready { .. }));
        records.iter().filter(woken).count() as u64 > *more
    }

    /// Whether a record meets it. `mirror` is the state before it.
    fn is_met_by(&self, record: &Record, mirror: &Mirror) -> bool {
        let word = |text| mirror.tables().str(text);
        match (self, record) {
            (Breakpoint::Task(task), _) => mirror.running() == Some(*task),
            (Breakpoint::Call(name), Record::Move(Move::CallBegun { what, .. })) => {
                word(*what) == name
            }
            (Breakpoint::Object(name), record) => {
                object_of(record).is_some_and(|object| is_called(object, name, mirror))
            }
            (Breakpoint::Line(file, line), Record::Move(Move::CallBegun { site, stack, .. })) => {
                is_at(*site, *stack, file, *line, mirror)
            }
            (Breakpoint::Outcome(outcome), record) => outcome_of(record) == Some(outcome.as_str()),
            _ => false,
        }
    }
}

/// The thing that a record is about.
fn object_of(record: &Record) -> Option<u64> {
    match record {
        Record::Move(Move::CallBlocked { on: On::Object { object, .. }, .. })
        | Record::Move(Move::FieldSet { object, .. })
        | Record::Remark(Remark::Done { object, .. }) => Some(*object),
        _ => None,
    }
}

fn is_called(object: u64, name: &str, mirror: &Mirror) -> bool {
    let own = mirror.object(object).and_then(|object| object.name);
    own.is_some_and(|own| mirror.tables().str(own) == name) || object.to_string() == name
}

fn is_at(site: SiteRef, stack: StackRef, file: &str, line: u32, mirror: &Mirror) -> bool {
    let tables = mirror.tables();
    let mut places = std::iter::once(tables.site(site)).chain(tables.stack(stack));
    places.any(|place| place.line == line && is_file(place.file, file))
}

/// A file may be named by the end of its path.
pub(crate) fn is_file(path: &str, named: &str) -> bool {
    path.strip_suffix(named).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
}

fn outcome_of(record: &Record) -> Option<&'static str> {
    Some(match record {
        Record::Move(Move::CallAnswered { .. }) => "answered",
        Record::Move(Move::CallBlocked { .. }) => "blocked",
        Record::Move(Move::CallWithdrawn { .. }) => "withdrawn",
        Record::Move(Move::TaskEnded { how, .. }) => match how {
            Ended::Returned => "returned",
            Ended::Panicked => "panicked",
            Ended::Killed => "killed",
            Ended::Cancelled => "cancelled",
        },
        Record::StepEnd(StepEnd::Outside) => "outside",
        Record::StepEnd(StepEnd::Deadlock) => "deadlock",
        Record::StepEnd(StepEnd::Finished) => "finished",
        _ => return None,
    })
}

/// The place nearest to a line that was not asked from, in words; `None` if it was.
pub(crate) fn nearest(atlas: &Atlas, point: &Breakpoint) -> Option<String> {
    let Breakpoint::Line(file, line) = point else { return None };
    let lines = atlas.history.places().filter(|(path, _)| is_file(path, file));
    let (path, nearest) = lines.min_by_key(|(_, at)| at.abs_diff(*line))?;
    (*nearest != *line).then(|| names::place(path, *nearest))
}

/// Which of the breakpoints a step meets.
pub(crate) fn meets(atlas: &Atlas, step: u64, points: &[Breakpoint]) -> Option<usize> {
    let before = atlas.previous(step)?;
    let mut met = None;
    walk(atlas, before, step, points, |_, point| {
        met = Some(point);
        false
    });
    met
}

/// So many steps are looked at, at a time: the keys are to be heard in between.
const WINDOW: u64 = 2048;

/// A search for a step that meets a breakpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search {
    pub(crate) is_forward: bool,
    pub(crate) at: u64,
}

/// How far a search has come.
pub(crate) enum Progress {
    /// This step meets the breakpoint of this number.
    Found(u64, usize),
    Searching,
    Nothing,
}

impl Search {
    /// Looks at some steps more.
    pub(crate) fn advance(&mut self, atlas: &Atlas, points: &[Breakpoint]) -> Progress {
        if self.is_forward { self.forward(atlas, points) } else { self.back(atlas, points) }
    }

    fn forward(&mut self, atlas: &Atlas, points: &[Breakpoint]) -> Progress {
        let until = self.at.saturating_add(WINDOW);
        let mut found = None;
        self.at = walk(atlas, self.at, until, points, |step, point| {
            found = Some((step, point));
            false
        });
        match found {
            Some((step, point)) => Progress::Found(step, point),
            None if self.at >= atlas.last() => Progress::Nothing,
            None => Progress::Searching,
        }
    }

    fn back(&mut self, atlas: &Atlas, points: &[Breakpoint]) -> Progress {
        let from = atlas.nearest(self.at.saturating_sub(WINDOW));
        let mut found = None;
        walk(atlas, from, self.at.saturating_sub(1), points, |step, point| {
            found = Some((step, point));
            true
        });
        // The first step of the next window is the one at which this began.
        self.at = from.saturating_add(1);
        match found {
            Some((step, point)) => Progress::Found(step, point),
            None if from <= atlas.beginning() => Progress::Nothing,
            None => Progress::Searching,
        }
    }
}

/// Goes over the steps after `from` up to `until`, and tells of those that meet a breakpoint, as long as the answer
/// is to go on. Gives the last step.
fn walk(
    atlas: &Atlas,
    from: u64,
    until: u64,
    points: &[Breakpoint],
    mut met: impl FnMut(u64, usize) -> bool,
) -> u64 {
    let mut mirror = atlas.recording.state_at(from).unwrap_or_default();
    let mut last = from;
    for (step, records) in atlas.steps_after(from) {
        if step > until {
            break;
        }
        last = step;
        let point = step_meets(&records, &mut mirror, points);
        if point.is_some_and(|point| !met(step, point)) {
            return last;
        }
    }
    last
}

/// The breakpoint that a step meets. `mirror` is the state before it, and is brought to after it.
fn step_meets(records: &[Record], mirror: &mut Mirror, points: &[Breakpoint]) -> Option<usize> {
    let own = prelude(records);
    apply(mirror, &records[..own]);
    let mut met = points.iter().position(|point| point.is_met(&records[own..]));
    for record in &records[own..] {
        met = met.or_else(|| points.iter().position(|point| point.is_met_by(record, mirror)));
        apply(mirror, std::slice::from_ref(record));
    }
    met
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breakpoint_printed_then_it_reads_as_itself() {
        for text in [
            "task 3",
            "call sleep",
            "object fork 1",
            "line phil.rs:41",
            "outcome blocked",
            "woken > 2",
        ] {
            assert_eq!(Breakpoint::parse(text).map(|point| point.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(Breakpoint::parse("task T12"), Ok(Breakpoint::Task(12)));
        for wrong in ["", "task", "task x", "line x", "line x:y", "outcome no", "woken 3", "sleep"]
        {
            assert!(Breakpoint::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn file_named_by_its_end_then_only_whole_names_match() {
        assert!(is_file("examples/phil.rs", "phil.rs"));
        assert!(is_file("phil.rs", "phil.rs"));
        assert!(!is_file("examples/my_phil.rs", "phil.rs"));
    }
}
