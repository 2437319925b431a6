//! Goes over a recording, and counts.

use std::collections::BTreeMap;

use trapline_trace::{
    Cause, Ended, Mirror, Move, Record, Recording, Remark, SiteRef, StepEnd, Str,
};

use super::histogram::Lengths;
use super::model::{Calls, Dispatch, FORMAT, Stats, Task, Wakeups};
use super::warnings::{KEPT_NANOS, Kept, warnings};
use crate::failure::Failure;
use crate::plain::Plain;
use crate::timeline::{self, Doing, Watcher, shown_site};

/// So many of the longest dispatches are told.
const LONGEST: usize = 10;

pub(super) fn collect(recording: &Recording) -> Result<Stats, Failure> {
    let mut counter = Counter::new();
    let mirror = timeline::watch(recording, &mut counter)?;
    let warnings = warnings(&counter.tasks, &counter.kept, &mirror, counter.last);
    let properties = recording.properties().iter();
    Ok(Stats {
        format: FORMAT,
        properties: properties.map(|(key, value)| (key.clone(), value.clone())).collect(),
        steps: recording.steps(),
        missed_steps: recording
            .gaps()
            .iter()
            .fold(0, |sum, gap| gap.missed_steps.saturating_add(sum)),
        damage: recording.damage().map(ToString::to_string),
        duration_ns: counter.now.saturating_sub(counter.began.unwrap_or(counter.now)),
        outside_ns: counter.outside_ns,
        looks: counter.looks,
        dispatches: counter.dispatches,
        longest_ready_queue: counter.longest_ready_queue,
        tasks: counter.tasks.into_values().collect(),
        calls: counter.kinds,
        operations: counter.operations,
        wakeups: counter.wakeups,
        longest_dispatches: counter.longest,
        dispatch_lengths: counter.lengths.histogram(),
        ready_latencies: counter.latencies.histogram(),
        warnings,
    })
}

struct Counter {
    began: Option<u64>,
    now: u64,
    outside_ns: u64,
    looks: u64,
    look_began: u64,
    dispatches: u64,
    longest_ready_queue: usize,
    tasks: BTreeMap<u64, Task>,
    doing: BTreeMap<u64, (Doing, u64)>,
    pending: BTreeMap<u64, Pending>,
    kinds: BTreeMap<String, Calls>,
    operations: BTreeMap<String, u64>,
    wakeups: Wakeups,
    /// Where each task stopped last.
    stopped: BTreeMap<u64, SiteRef>,
    /// The dispatch of the task that runs.
    dispatch: Option<Dispatch>,
    longest: Vec<Dispatch>,
    kept: BTreeMap<u64, Kept>,
    lengths: Lengths,
    latencies: Lengths,
    last: Option<StepEnd>,
}

/// A call that has not been answered.
struct Pending {
    task: u64,
    what: Str,
    /// Since when it waits, if it does.
    waits_since: Option<u64>,
}

impl Counter {
    fn new() -> Counter {
        Counter {
            began: None,
            now: 0,
            outside_ns: 0,
            looks: 0,
            look_began: 0,
            dispatches: 0,
            longest_ready_queue: 0,
            tasks: BTreeMap::new(),
            doing: BTreeMap::new(),
            pending: BTreeMap::new(),
            kinds: BTreeMap::new(),
            operations: BTreeMap::new(),
            wakeups: Wakeups::default(),
            stopped: BTreeMap::new(),
            dispatch: None,
            longest: Vec::new(),
            kept: BTreeMap::new(),
            lengths: Lengths::new(),
            latencies: Lengths::new(),
            last: None,
        }
    }

    fn passed(&mut self, at: u64) {
        self.now = at;
        self.began.get_or_insert(at);
    }

    fn moved(&mut self, change: &Move, mirror: &Mirror) {
        match *change {
            Move::TaskBorn { task, parent, name, site, daemon, .. } => {
                let entry = self.tasks.entry(task).or_default();
                entry.task = task;
                entry.parent = parent;
                entry.name = name.map(|name| plain(mirror.tables().str(name)));
                entry.site = shown_site(mirror, site);
                entry.daemon = daemon;
                self.stopped.insert(task, site);
            }
            Move::CallBegun { call, task, what, site, .. } => {
                self.stopped.insert(task, site);
                if let Some(dispatch) = self.dispatch.as_mut().filter(|d| d.task == task) {
                    dispatch.to = Some(shown_site(mirror, site));
                }
                // After a gap a call is told of that was counted before.
                if self.pending.insert(call, Pending { task, what, waits_since: None }).is_none() {
                    self.count(task, what, mirror, |calls| calls.begun += 1);
                }
            }
            Move::CallBlocked { call, .. } => {
                if let Some(pending) = self.pending.get_mut(&call) {
                    pending.waits_since = Some(self.now);
                    let (task, what) = (pending.task, pending.what);
                    self.count(task, what, mirror, |calls| calls.blocked += 1);
                }
            }
            Move::CallAnswered { call, .. } => self.ended_call(call, false, mirror),
            Move::CallWithdrawn { call } => self.ended_call(call, true, mirror),
            Move::CallBooked { call, task: Some(task) } => {
                if let Some(pending) = self.pending.get_mut(&call) {
                    pending.task = task;
                }
            }
            _ => {}
        }
    }

    fn ended_call(&mut self, call: u64, is_withdrawn: bool, mirror: &Mirror) {
        let Some(Pending { task, what, waits_since }) = self.pending.remove(&call) else { return };
        let waited = waits_since.map(|since| self.now.saturating_sub(since));
        self.count(task, what, mirror, |calls| {
            calls.withdrawn += u64::from(is_withdrawn);
            calls.at_once += u64::from(!is_withdrawn && waited.is_none());
            let waited = waited.unwrap_or(0);
            calls.waited_ns = calls.waited_ns.saturating_add(waited);
            calls.longest_wait_ns = calls.longest_wait_ns.max(waited);
        });
    }

    fn count(&mut self, task: u64, what: Str, mirror: &Mirror, add: impl Fn(&mut Calls)) {
        let what = mirror.tables().str(what);
        let of_task = self.tasks.get_mut(&task).map(|task| &mut task.calls);
        for calls in [Some(&mut self.kinds), of_task].into_iter().flatten() {
            match calls.get_mut(what) {
                Some(calls) => add(calls),
                None => add(calls.entry(plain(what)).or_default()),
            }
        }
    }

    /// What a task did until now is over.
    fn close(&mut self, task: u64, at: u64) {
        let Some((doing, since)) = self.doing.remove(&task) else { return };
        let took = at.saturating_sub(since);
        let entry = self.tasks.entry(task).or_default();
        match doing {
            Doing::Running => {
                entry.running_ns = entry.running_ns.saturating_add(took);
                self.dispatched(task, took);
            }
            Doing::Ready => {
                entry.ready_ns = entry.ready_ns.saturating_add(took);
                self.latencies.add(took);
            }
            Doing::Blocked(reason) => {
                entry.blocked_ns = entry.blocked_ns.saturating_add(took);
                let blocked = entry.blocked.entry(reason).or_default();
                blocked.times += 1;
                blocked.total_ns = blocked.total_ns.saturating_add(took);
                blocked.longest_ns = blocked.longest_ns.max(took);
            }
        }
    }

    fn dispatched(&mut self, task: u64, length_ns: u64) {
        self.lengths.add(length_ns);
        let Some(mut dispatch) = self.dispatch.take_if(|dispatch| dispatch.task == task) else {
            return;
        };
        dispatch.length_ns = length_ns;
        if length_ns > KEPT_NANOS {
            let first = || Kept { times: 0, longest: dispatch.clone() };
            let kept = self.kept.entry(task).or_insert_with(first);
            kept.times += 1;
            if kept.longest.length_ns < length_ns {
                kept.longest = dispatch.clone();
            }
        }
        let place = self.longest.partition_point(|longer| longer.length_ns >= length_ns);
        if place < LONGEST {
            self.longest.truncate(LONGEST - 1);
            self.longest.insert(place, dispatch);
        }
    }
}

impl Watcher for Counter {
    fn record(&mut self, record: &Record, at: u64, mirror: &Mirror) -> Result<(), Failure> {
        match record {
            Record::Reset { .. } => self.passed(at),
            Record::Move(change) => {
                self.passed(at);
                self.moved(change, mirror);
            }
            Record::Remark(Remark::Done { operation, .. }) => {
                let operation = plain(mirror.tables().str(*operation));
                *self.operations.entry(operation).or_default() += 1;
            }
            Record::Remark(Remark::Woken { task, redundant: true, .. }) => {
                self.wakeups.redundant += 1;
                self.tasks.entry(*task).or_default().wakeups.redundant += 1;
            }
            _ => {}
        }
        Ok(())
    }

    fn begins(
        &mut self,
        task: u64,
        doing: &Doing,
        at: u64,
        mirror: &Mirror,
    ) -> Result<(), Failure> {
        self.passed(at);
        self.close(task, at);
        let entry = self.tasks.entry(task).or_default();
        entry.state = match doing {
            Doing::Running => "running".to_owned(),
            Doing::Ready => "ready".to_owned(),
            Doing::Blocked(_) => "blocked".to_owned(),
        };
        if *doing == Doing::Running {
            entry.dispatches += 1;
            self.dispatches += 1;
            let from = self.stopped.get(&task).map(|site| shown_site(mirror, *site));
            self.dispatch = Some(Dispatch {
                task,
                name: entry.name.clone(),
                length_ns: 0,
                at_ns: at,
                step: mirror.step().saturating_add(1),
                from: from.unwrap_or_else(|| "?".to_owned()),
                to: None,
            });
        }
        self.doing.insert(task, (doing.clone(), at));
        Ok(())
    }

    fn ends(&mut self, task: u64, how: Option<Ended>, at: u64) -> Result<(), Failure> {
        self.passed(at);
        self.close(task, at);
        if let Some(how) = how {
            self.stopped.remove(&task);
            self.tasks.entry(task).or_default().state = match how {
                Ended::Returned => "returned",
                Ended::Panicked => "panicked",
                Ended::Killed => "killed",
                Ended::Cancelled => "cancelled",
            }
            .to_owned();
        }
        Ok(())
    }

    fn woken(&mut self, task: u64, by: Cause, _: u64) -> Result<(), Failure> {
        let word = match by {
            Cause::Task(_) => "task",
            Cause::Exit(_) => "exit",
            Cause::Timer => "timer",
            Cause::Source(_) => "source",
            Cause::Thread(_) => "thread",
            Cause::Outside => "outside",
            Cause::Program => "program",
            Cause::Order => "order",
        };
        let of_task = &mut self.tasks.entry(task).or_default().wakeups;
        for wakeups in [of_task, &mut self.wakeups] {
            wakeups.total += 1;
            *wakeups.by.entry(word).or_default() += 1;
        }
        Ok(())
    }

    fn look_begins(&mut self, at: u64) -> Result<(), Failure> {
        self.passed(at);
        self.look_began = at;
        self.looks += 1;
        Ok(())
    }

    fn look_ends(&mut self, _: u64, at: u64) -> Result<(), Failure> {
        self.passed(at);
        let took = at.saturating_sub(self.look_began);
        self.outside_ns = self.outside_ns.saturating_add(took);
        Ok(())
    }

    fn step_ends(&mut self, end: StepEnd, at: u64, mirror: &Mirror) -> Result<(), Failure> {
        self.passed(at);
        self.last = Some(end);
        self.longest_ready_queue = self.longest_ready_queue.max(mirror.ready_len());
        Ok(())
    }
}

fn plain(text: &str) -> String {
    Plain(text).to_string()
}
