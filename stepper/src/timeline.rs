//! What each task did from when to when, made of the records of a trace.
//!
//! The clock is read when a task is taken and when the outside has been looked at. So how long a dispatch took
//! is known when the next one begins, and what happened within it happened, as far as anybody knows, when it
//! began.

mod calls;
mod reason;

use std::collections::{BTreeMap, BTreeSet};

use trapline_trace::{Cause, Ended, Mirror, Move, Record, Recording, StepEnd, TaskState};

use crate::failure::Failure;
use calls::CallsOf;
use reason::reason;
pub(crate) use reason::{shown_cause, shown_site, shown_stack, task_name};

/// The property that says what the clock showed when the run was over: no record tells how long the last dispatch took.
const ENDED: &str = "ended_at_nanos";

/// What a task does for a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Doing {
    Running,
    Ready,
    /// For this it waits.
    Blocked(String),
}

/// Told of what happens, in order. `at` never falls.
pub(crate) trait Watcher {
    /// A record has been read, and the state is as it says.
    fn record(&mut self, record: &Record, at: u64, mirror: &Mirror) -> Result<(), Failure> {
        let _ = (record, at, mirror);
        Ok(())
    }

    /// A task begins to do something. What it did before is over.
    fn begins(&mut self, task: u64, doing: &Doing, at: u64, mirror: &Mirror)
    -> Result<(), Failure>;

    /// A task is gone, or nothing is known of it any more.
    fn ends(&mut self, task: u64, how: Option<Ended>, at: u64) -> Result<(), Failure>;

    /// A blocked task is made ready; that it begins to be so is told next.
    fn woken(&mut self, task: u64, by: Cause, at: u64) -> Result<(), Failure> {
        let _ = (task, by, at);
        Ok(())
    }

    /// The kernel begins to look at the outside.
    fn look_begins(&mut self, at: u64) -> Result<(), Failure>;

    /// The kernel has looked at the outside.
    fn look_ends(&mut self, answered: u64, at: u64) -> Result<(), Failure>;

    /// A step is over.
    fn step_ends(&mut self, end: StepEnd, at: u64, mirror: &Mirror) -> Result<(), Failure>;
}

/// Goes over a recording. All that is open is ended where the recording is.
pub(crate) fn watch(recording: &Recording, watcher: &mut impl Watcher) -> Result<Mirror, Failure> {
    let mut timeline = Timeline::new(watcher);
    let mut step = Vec::new();
    for entry in recording.records() {
        let is_end = matches!(entry.record, Record::StepEnd(_));
        step.push(entry.record);
        if is_end {
            timeline.step(&step)?;
            step.clear();
        }
    }
    timeline.step(&step)?;
    let ended = recording.property(ENDED).and_then(|nanos| nanos.parse().ok());
    timeline.end(ended.unwrap_or(0))
}

struct Timeline<'w, W> {
    watcher: &'w mut W,
    mirror: Mirror,
    now: u64,
    doing: BTreeMap<u64, Doing>,
    calls: CallsOf,
    /// Whose dispatch is over, and what becomes of it as soon as it is known when that was.
    resting: Option<(u64, Rest)>,
    /// What was known before a reset, and has not been told of again.
    unconfirmed: BTreeSet<u64>,
    /// Tasks that a reset has found blocked: for what is told after them.
    found_blocked: BTreeSet<u64>,
    /// So often is the clock told of until the look at the outside is over; 0 outside of one.
    readings_left: usize,
}

/// What becomes of a task after its dispatch.
enum Rest {
    Does(Doing),
    Gone(Ended),
}

impl<'w, W: Watcher> Timeline<'w, W> {
    fn new(watcher: &'w mut W) -> Timeline<'w, W> {
        Timeline {
            watcher,
            mirror: Mirror::new(),
            now: 0,
            doing: BTreeMap::new(),
            calls: CallsOf::default(),
            resting: None,
            unconfirmed: BTreeSet::new(),
            found_blocked: BTreeSet::new(),
            readings_left: 0,
        }
    }

    fn step(&mut self, records: &[Record]) -> Result<(), Failure> {
        if !matches!(records.first(), Some(Record::Reset { .. })) {
            self.read_clock(records)?;
        }
        for record in records {
            self.calls.note(record, &self.mirror);
            self.mirror.apply(record).map_err(|error| Failure::said(error.to_string()))?;
            self.record(record, records)?;
            self.watcher.record(record, self.now, &self.mirror)?;
        }
        Ok(())
    }

    /// Where the clock was read in a step, what comes before in it happened at that time, too.
    fn read_clock(&mut self, records: &[Record]) -> Result<(), Failure> {
        let mut looks = records.iter().filter_map(|record| match record {
            Record::Move(Move::Outside { at_nanos, .. }) => Some(*at_nanos),
            _ => None,
        });
        let is_whole = matches!(records.last(), Some(Record::StepEnd(StepEnd::Outside)));
        match (looks.next(), looks.next()) {
            // A look that may take long tells when it begins, too,
            (Some(begin), Some(end)) => self.look(begin, end, 2),
            // and that one is all there is of a look that came to nothing, or was never over.
            (Some(begin), None) if !is_whole => self.look(begin, begin, 1),
            // The kernel sleeps only where nobody is ready; then most of the time was sleep.
            (Some(end), None) if self.mirror.ready_len() == 0 => self.look(self.now, end, 1),
            (Some(end), None) => self.look(end, end, 1),
            (None, _) => {
                let taken = records.iter().find_map(|record| match record {
                    Record::Move(Move::Taken { at_nanos, .. }) => Some(*at_nanos),
                    _ => None,
                });
                taken.map_or(Ok(()), |at| self.pass(at))
            }
        }
    }

    fn look(&mut self, begin: u64, end: u64, readings: usize) -> Result<(), Failure> {
        self.pass(begin)?;
        self.readings_left = readings;
        self.watcher.look_begins(self.now)?;
        self.now = self.now.max(end);
        Ok(())
    }

    /// The clock has come to `at`.
    fn pass(&mut self, at: u64) -> Result<(), Failure> {
        self.now = self.now.max(at);
        match self.resting.take() {
            None => Ok(()),
            Some((task, Rest::Does(doing))) => self.begin(task, doing),
            Some((task, Rest::Gone(how))) => self.gone(task, Some(how)),
        }
    }

    fn record(&mut self, record: &Record, step: &[Record]) -> Result<(), Failure> {
        match record {
            Record::Reset { at_nanos, missed_steps, .. } => {
                self.reset(*at_nanos, *missed_steps)?;
                self.read_clock_after_reset(step)
            }
            Record::Move(change) => self.moved(change),
            Record::StepEnd(end) => {
                self.complete()?;
                self.watcher.step_ends(*end, self.now, &self.mirror)
            }
            _ => Ok(()),
        }
    }

    fn moved(&mut self, change: &Move) -> Result<(), Failure> {
        match *change {
            Move::TaskBorn { task, state, .. } => self.born(task, state),
            Move::TaskEnded { task, how } => {
                self.found_blocked.remove(&task);
                if self.doing.get(&task) == Some(&Doing::Running) {
                    self.resting = Some((task, Rest::Gone(how)));
                    return Ok(());
                }
                self.gone(task, Some(how))
            }
            Move::Ready { task, by } => self.ready(task, by),
            Move::Taken { task, at_nanos } => {
                // In a step that begins with a reset, what comes before is older.
                self.pass(at_nanos)?;
                self.begin(task, Doing::Running)
            }
            Move::Rested { task, is_ready: true } => {
                self.resting = Some((task, Rest::Does(Doing::Ready)));
                Ok(())
            }
            Move::Rested { task, is_ready: false } => {
                let reason = reason(&self.mirror, self.calls.of(task));
                self.resting = Some((task, Rest::Does(Doing::Blocked(reason))));
                Ok(())
            }
            Move::Outside { answered, .. } => self.looked(answered),
            _ => Ok(()),
        }
    }

    fn born(&mut self, task: u64, state: TaskState) -> Result<(), Failure> {
        self.unconfirmed.remove(&task);
        match state {
            TaskState::Ready => self.begin(task, Doing::Ready),
            TaskState::Running => self.begin(task, Doing::Running),
            TaskState::Blocked => {
                self.found_blocked.insert(task);
                Ok(())
            }
        }
    }

    fn ready(&mut self, task: u64, by: Cause) -> Result<(), Failure> {
        self.complete_one(task)?;
        self.watcher.woken(task, by, self.now)?;
        match &mut self.resting {
            Some((resting, rest)) if *resting == task => {
                *rest = Rest::Does(Doing::Ready);
                Ok(())
            }
            _ => self.begin(task, Doing::Ready),
        }
    }

    fn looked(&mut self, answered: u64) -> Result<(), Failure> {
        let is_over = self.readings_left == 1;
        self.readings_left = self.readings_left.saturating_sub(1);
        if is_over { self.watcher.look_ends(answered, self.now) } else { Ok(()) }
    }

    fn begin(&mut self, task: u64, doing: Doing) -> Result<(), Failure> {
        if self.doing.get(&task) == Some(&doing) && doing != Doing::Running {
            return Ok(());
        }
        self.watcher.begins(task, &doing, self.now, &self.mirror)?;
        self.doing.insert(task, doing);
        Ok(())
    }

    fn gone(&mut self, task: u64, how: Option<Ended>) -> Result<(), Failure> {
        match self.doing.remove(&task) {
            Some(_) => self.watcher.ends(task, how, self.now),
            None => Ok(()),
        }
    }

    /// All is told anew. Where nothing is missing, tasks go on doing what they did.
    fn reset(&mut self, at_nanos: u64, missed_steps: u64) -> Result<(), Failure> {
        self.end_look()?;
        if missed_steps > 0 {
            self.pass(self.now)?;
            for task in self.doing.keys().copied().collect::<Vec<_>>() {
                self.gone(task, None)?;
            }
        }
        self.unconfirmed = self.doing.keys().copied().collect();
        self.pass(at_nanos)
    }

    /// Of a step that begins with a reset, only the end of a look is known.
    fn read_clock_after_reset(&mut self, step: &[Record]) -> Result<(), Failure> {
        match step.iter().any(|record| matches!(record, Record::Move(Move::Outside { .. }))) {
            true => self.read_clock(step),
            false => Ok(()),
        }
    }

    /// The step has told for what those wait whom a reset has found blocked.
    fn complete(&mut self) -> Result<(), Failure> {
        self.end_look()?;
        while let Some(task) = self.found_blocked.first().copied() {
            self.complete_one(task)?;
        }
        for task in std::mem::take(&mut self.unconfirmed) {
            self.gone(task, None)?;
        }
        Ok(())
    }

    fn complete_one(&mut self, task: u64) -> Result<(), Failure> {
        if !self.found_blocked.remove(&task) {
            return Ok(());
        }
        let reason = reason(&self.mirror, self.calls.of(task));
        self.begin(task, Doing::Blocked(reason))
    }

    fn end_look(&mut self) -> Result<(), Failure> {
        match std::mem::take(&mut self.readings_left) {
            0 => Ok(()),
            _ => self.watcher.look_ends(0, self.now),
        }
    }

    fn end(mut self, at_nanos: u64) -> Result<Mirror, Failure> {
        self.complete()?;
        self.pass(at_nanos)?;
        for task in self.doing.keys().copied().collect::<Vec<_>>() {
            self.gone(task, None)?;
        }
        Ok(self.mirror)
    }
}
