//! What one pass over a recording keeps of its whole length: what the state at a step does not hold.

use std::collections::BTreeMap;

use trapline_trace::{Mirror, Move, On, Record, Recording, Remark, SiteRef, StackRef, Value};

/// A line of the source, and a task's being there: an index into [`History::place`].
type PlaceId = u32;

/// For what tasks wait, as a table of the ready pane has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Reason {
    Exits,
    Clock,
    Object(u64),
    Descriptor(i32),
    Somebody,
}

impl Reason {
    pub(crate) fn of(on: On) -> Reason {
        match on {
            On::Deadline { .. } => Reason::Clock,
            On::Exit { .. } => Reason::Exits,
            On::Object { object, .. } => Reason::Object(object),
            On::Descriptor { fd, .. } => Reason::Descriptor(fd),
            On::Somebody => Reason::Somebody,
        }
    }
}

/// A step in which a task ran.
#[derive(Debug)]
struct Run {
    step: u64,
    task: u64,
    /// So many calls it has made since it was taken.
    spent: u32,
}

#[derive(Debug, Default)]
pub(crate) struct History {
    places: Vec<(String, u32)>,
    place_ids: BTreeMap<(String, u32), PlaceId>,
    /// The sites of the definitions that hold now, as places.
    site_places: BTreeMap<(SiteRef, StackRef), PlaceId>,
    /// Who ran in a step.
    ran: Vec<Run>,
    /// How many calls the running task has made since it was taken.
    spent: u32,
    /// Where each task asked for something, and in which step.
    stops: BTreeMap<u64, Vec<(u64, PlaceId)>>,
    /// Who holds a thing, from which step on.
    holders: BTreeMap<u64, Vec<(u64, Option<u64>)>>,
    names: BTreeMap<u64, String>,
    first_calls: BTreeMap<String, u64>,
    /// In the order in which they came.
    reasons: Vec<(Reason, u64)>,
    cycles: Vec<(u64, Vec<u64>)>,
    outputs: Vec<(u64, u64)>,
}

impl History {
    /// Goes over a recording.
    pub(crate) fn of(recording: &Recording) -> History {
        let mut history = History::default();
        let mut mirror = Mirror::new();
        let mut seen = std::collections::BTreeSet::new();
        for entry in recording.records() {
            history.note(entry.step, &entry.record, &mirror, recording, &mut seen);
            if mirror.apply(&entry.record).is_err() {
                break;
            }
        }
        history
    }

    fn note(
        &mut self,
        step: u64,
        record: &Record,
        mirror: &Mirror,
        recording: &Recording,
        seen: &mut std::collections::BTreeSet<Reason>,
    ) {
        let running = mirror.running();
        match *record {
            Record::Reset { .. } => self.site_places.clear(),
            Record::Move(Move::Taken { task, .. }) => {
                self.spent = 0;
                self.ran.push(Run { step, task, spent: 0 });
            }
            Record::Move(Move::TaskBorn { task, name: Some(name), .. }) => {
                self.names.insert(task, mirror.tables().str(name).to_owned());
            }
            Record::Move(Move::CallBegun { task, what, site, stack, .. }) => {
                let what = mirror.tables().str(what);
                if !self.first_calls.contains_key(what) {
                    self.first_calls.insert(what.to_owned(), step);
                }
                let place = self.place_id(site, stack, mirror, recording);
                self.spent += u32::from(running == Some(task));
                self.stops.entry(task).or_default().push((step, place));
            }
            // What is there may be waited for, and how it stands is told also where nobody does.
            Record::Move(Move::ObjectBorn { object, .. })
                if seen.insert(Reason::Object(object)) =>
            {
                self.reasons.push((Reason::Object(object), step));
            }
            Record::Move(Move::CallBlocked { on, .. }) if seen.insert(Reason::of(on)) => {
                self.reasons.push((Reason::of(on), step));
            }
            Record::Move(Move::FieldSet { object, field, ref value })
                if mirror.tables().str(field) == "holder" =>
            {
                let task = match *value {
                    Value::Held { task, .. } => task,
                    _ => None,
                };
                self.holders.entry(object).or_default().push((step, task));
            }
            Record::Remark(Remark::Cycle { ref tasks }) => {
                self.cycles.push((step, tasks.clone()));
            }
            Record::Remark(Remark::Output { length }) => self.outputs.push((step, length)),
            Record::StepEnd(trapline_trace::StepEnd::Ran) => self.step_ran(step, running),
            _ => {}
        }
    }

    /// A task that goes on without having been taken anew runs, too.
    fn step_ran(&mut self, step: u64, running: Option<u64>) {
        let spent = self.spent;
        match self.ran.last_mut() {
            Some(run) if run.step == step => run.spent = spent,
            last => {
                let task = running.or(last.map(|run| run.task));
                self.ran.extend(task.map(|task| Run { step, task, spent }));
            }
        }
    }

    fn place_id(
        &mut self,
        site: SiteRef,
        stack: StackRef,
        mirror: &Mirror,
        recording: &Recording,
    ) -> PlaceId {
        if let Some(known) = self.site_places.get(&(site, stack)) {
            return *known;
        }
        let place = program_place(site, stack, mirror, recording);
        let next = self.places.len() as PlaceId;
        let id = *self.place_ids.entry(place.clone()).or_insert(next);
        if id == next {
            self.places.push(place);
        }
        self.site_places.insert((site, stack), id);
        id
    }

    /// Who ran in a step; nobody, if the outside was looked at.
    pub(crate) fn ran(&self, step: u64) -> Option<u64> {
        Some(self.run(step)?.task)
    }

    /// How many calls whoever ran in a step had made by its end, since it was taken.
    pub(crate) fn spent(&self, step: u64) -> Option<u64> {
        Some(u64::from(self.run(step)?.spent))
    }

    fn run(&self, step: u64) -> Option<&Run> {
        let at = self.ran.binary_search_by_key(&step, |run| run.step).ok()?;
        Some(&self.ran[at])
    }

    /// The next step after `step` in which a task ran.
    pub(crate) fn next_of(&self, task: u64, step: u64) -> Option<u64> {
        let from = self.ran.partition_point(|run| run.step <= step);
        self.ran[from..].iter().find(|run| run.task == task).map(|run| run.step)
    }

    /// The last step before `step` in which a task ran.
    pub(crate) fn previous_of(&self, task: u64, step: u64) -> Option<u64> {
        let until = self.ran.partition_point(|run| run.step < step);
        self.ran[..until].iter().rev().find(|run| run.task == task).map(|run| run.step)
    }

    /// Where a task asked for something last, after a step.
    pub(crate) fn stop(&self, task: u64, step: u64) -> Option<(&str, u32)> {
        let stops = self.stops.get(&task)?;
        let at = stops.partition_point(|(at, _)| *at <= step).checked_sub(1)?;
        let (file, line) = &self.places[stops[at].1 as usize];
        Some((file, *line))
    }

    /// The lines from which anybody has asked for anything.
    pub(crate) fn places(&self) -> impl Iterator<Item = &(String, u32)> {
        self.places.iter()
    }

    /// The first step in which a call of this name was made.
    pub(crate) fn first_call(&self, what: &str) -> Option<u64> {
        self.first_calls.get(what).copied()
    }

    /// The first step in which a task of this name, or number, ran.
    pub(crate) fn first_run(&self, task: &str) -> Option<u64> {
        let number = task.trim_start_matches('T').parse().ok();
        let is_it = |run: &&Run| number == Some(run.task) || self.name(run.task) == Some(task);
        self.ran.iter().find(is_it).map(|run| run.step)
    }

    /// Since which step a task holds a thing, in `step`.
    pub(crate) fn held_since(&self, object: u64, holder: u64, step: u64) -> Option<u64> {
        let holders = self.holders.get(&object)?;
        let until = holders.partition_point(|(at, _)| *at <= step);
        // Of several in one step the last that names this task; another may have given it back in the same.
        let (since, _) = holders[..until].iter().rev().find(|(_, task)| *task == Some(holder))?;
        Some(*since)
    }

    /// The name of a task, also of one that has ended.
    pub(crate) fn name(&self, task: u64) -> Option<&str> {
        self.names.get(&task).map(String::as_str)
    }

    /// What there has been to wait for up to a step, in the order in which they came.
    pub(crate) fn reasons(&self, step: u64) -> impl Iterator<Item = Reason> + '_ {
        self.reasons.iter().take_while(move |(_, at)| *at <= step).map(|(reason, _)| *reason)
    }

    /// The cycles that have closed up to a step, the last first.
    pub(crate) fn cycles(&self, step: u64) -> impl Iterator<Item = &(u64, Vec<u64>)> {
        let until = self.cycles.partition_point(|(at, _)| *at <= step);
        self.cycles[..until].iter().rev()
    }

    /// How much the program had written to its output after a step; `None` where nobody has told.
    pub(crate) fn output(&self, step: u64) -> Option<u64> {
        if self.outputs.is_empty() {
            return None;
        }
        let at = self.outputs.partition_point(|(at, _)| *at <= step);
        Some(at.checked_sub(1).map_or(0, |at| self.outputs[at].1))
    }
}

/// The innermost line of a call that is the program's own; else the line of the call itself.
pub(crate) fn program_place(
    site: SiteRef,
    stack: StackRef,
    mirror: &Mirror,
    recording: &Recording,
) -> (String, u32) {
    let tables = mirror.tables();
    let own = |site: &trapline_trace::Site<'_>| recording.source(site.file).is_some();
    let call = tables.site(site);
    let place = std::iter::once(call).chain(tables.stack(stack)).find(own).unwrap_or(call);
    (place.file.to_owned(), place.line)
}
