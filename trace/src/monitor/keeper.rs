//! What the monitor knows: the mirror, fed with what the loop has published.

use std::collections::BTreeMap;
use std::mem;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

use super::answers::{self, Look, Loop, Outside};
use super::key_frame::key_frame;
use super::stuck::LoopThread;
use crate::format::{Decoder, Encoder};
use crate::mirror::Mirror;
use crate::record::{Move, Record, Remark, SiteRef, StepEnd};

/// After so long without a word from the loop, whoever runs is said to keep it.
const QUIET: Duration = Duration::from_millis(100);

/// Keeps the mirror.
#[derive(Debug)]
pub struct Keeper {
    decoder: Decoder,
    mirror: Mirror,
    last_calls: BTreeMap<u64, SiteRef>,
    /// Bytes of a record that is not there as a whole.
    left: Vec<u8>,
    thread: LoopThread,
    /// When the loop was last heard.
    heard: Instant,
    /// The driver's clock, and when it said so.
    clock: (u64, Instant),
    /// Whether the loop is held: then its clock stands still.
    held: Option<Instant>,
    /// Whether the loop is ahead of what is known.
    is_in_gap: bool,
    missed_steps: u64,
    last_end: Option<StepEnd>,
    fault: Option<String>,
    streams: Vec<Stream>,
}

/// Someone who wants the records themselves.
#[derive(Debug)]
struct Stream {
    encoder: Encoder,
    to: SyncSender<Batch>,
}

/// Records as bytes, and how many steps were over before them.
pub(super) type Batch = (u64, Vec<u8>);

impl Keeper {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new(thread: LoopThread, now: Instant) -> Keeper {
        Keeper {
            decoder: Decoder::new(),
            mirror: Mirror::new(),
            last_calls: BTreeMap::new(),
            left: Vec::new(),
            thread,
            heard: now,
            clock: (0, now),
            held: None,
            is_in_gap: false,
            missed_steps: 0,
            last_end: None,
            fault: None,
            streams: Vec::new(),
        }
    }

    /// The state.
    #[must_use]
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// Which thread the loop is on.
    pub fn set_thread(&mut self, thread: LoopThread) {
        self.thread = thread;
    }

    /// Takes in what the loop has published, the last of it then.
    pub fn take(&mut self, bytes: &[u8], now: Instant) {
        if bytes.is_empty() || self.fault.is_some() {
            return;
        }
        let first_step = self.mirror.step();
        let clock_before = self.mirror.clock_nanos();
        self.heard = now;
        let mut all = mem::take(&mut self.left);
        all.extend_from_slice(bytes);
        let mut rest = &*all;
        let mut records = Vec::new();
        loop {
            match self.decoder.decode(&mut rest) {
                Ok(Some(record)) => {
                    self.obey(&record);
                    if !self.streams.is_empty() {
                        records.push(record);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.fault = Some(error.to_string());
                    break;
                }
            }
        }
        self.left = rest.to_vec();
        if self.mirror.clock_nanos() != clock_before {
            self.clock = (self.mirror.clock_nanos(), now);
        }
        self.pass_on(first_step, &records);
    }

    fn obey(&mut self, record: &Record) {
        match record {
            Record::Reset { missed_steps, .. } => {
                self.last_calls.clear();
                self.missed_steps += missed_steps;
            }
            Record::Move(Move::CallBegun { task, site, .. }) => {
                self.last_calls.insert(*task, *site);
            }
            Record::Remark(Remark::Done { task: Some(task), site, .. }) => {
                self.last_calls.insert(*task, *site);
            }
            Record::Move(Move::TaskEnded { task, .. }) => {
                self.last_calls.remove(task);
            }
            Record::StepEnd(end) => self.last_end = Some(*end),
            _ => {}
        }
        if let Err(error) = self.mirror.apply(record) {
            self.fault = Some(error.to_string());
        }
    }

    /// The loop is held between two steps from now on, or goes on; its clock says this.
    pub fn set_held(&mut self, held: bool, clock_nanos: u64, now: Instant) {
        self.clock = (clock_nanos, now);
        self.held = held.then_some(now);
        self.heard = now;
    }

    /// Whether the loop goes on without telling, since nobody took what it told.
    pub fn set_in_gap(&mut self, is_in_gap: bool) {
        self.is_in_gap = is_in_gap;
    }

    /// The time on the driver's clock, as far as can be told from here.
    fn now_nanos(&self, now: Instant) -> u64 {
        let (nanos, then) = self.clock;
        let since = if self.held.is_some() { Duration::ZERO } else { now.duration_since(then) };
        nanos.saturating_add(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// What is known.
    #[must_use]
    pub fn look(&self, now: Instant) -> Look<'_> {
        Look::new(&self.mirror, &self.last_calls, self.now_nanos(now))
    }

    /// The task that has kept the loop for some time, and for how long.
    #[must_use]
    pub fn stuck_in(&self, now: Instant) -> Option<(u64, Duration)> {
        let task = self.mirror.running()?;
        let quiet = now.duration_since(self.heard);
        let is_silent = self.held.is_none() && !self.is_in_gap && quiet >= QUIET;
        is_silent.then_some((task, quiet))
    }

    /// The sentence about a loop that is stuck.
    #[must_use]
    pub fn stuck(&self, now: Instant) -> Option<String> {
        let (task, kept) = self.stuck_in(now)?;
        let (since, doing) = (self.kept_since(task), self.thread.doing().words());
        Some(format!("T{task} has kept the loop for {:.1} s{since}; {doing}", kept.as_secs_f64()))
    }

    /// Since which line a task has kept the loop, as a part of a sentence; nothing where that is not known.
    fn kept_since(&self, task: u64) -> String {
        let tables = self.mirror.tables();
        let since = match (self.last_calls.get(&task), self.mirror.task(task)) {
            (Some(site), _) => format!(" since its call at {}", tables.site(*site)),
            (None, Some(task)) => {
                format!(" since it began; it was spawned at {}", tables.site(task.site))
            }
            (None, None) => String::new(),
        };
        match self.mirror.task(task) {
            // What it did before the last key frame is not known.
            Some(task) if task.dispatches > 1 && !self.last_calls.contains_key(&task.id) => {
                String::new()
            }
            _ => answers::escaped(&since),
        }
    }

    /// What the loop is doing.
    #[must_use]
    pub fn the_loop(&self, now: Instant) -> Loop {
        if let Some(held) = self.held {
            return Loop::Held(now.duration_since(held));
        }
        if let Some((task, kept)) = self.stuck_in(now) {
            let (since, thread) = (self.kept_since(task), self.thread.doing());
            return Loop::Stuck { task, kept, since, thread };
        }
        match self.last_end {
            Some(StepEnd::Finished) => Loop::Over("no task is left but daemons"),
            Some(StepEnd::Deadlock) => Loop::Over("a deadlock"),
            Some(StepEnd::Stalled) => Loop::Over("it stalled"),
            Some(StepEnd::DriverFailed) => Loop::Over("the driver failed"),
            _ if self.is_in_gap => Loop::Ahead,
            Some(_) if self.mirror.running().is_none() && self.mirror.ready_len() == 0 => {
                Loop::Waits
            }
            _ => Loop::Works,
        }
    }

    /// What the loop has been waiting for for some time, if it waits.
    #[must_use]
    pub fn waits_for(&self, now: Instant) -> Option<Outside> {
        let waits = self.the_loop(now) == Loop::Waits && now.duration_since(self.heard) >= QUIET;
        waits.then(|| Outside::of(&self.look(now)))
    }

    /// What the loop is doing, in a sentence.
    #[must_use]
    pub fn doing(&self, now: Instant) -> String {
        match self.the_loop(now) {
            Loop::Held(held) => {
                let (step, held) = (self.mirror.step(), held.as_secs_f64());
                format!("held for {held:.1} s, after step {step}; the clock stands still")
            }
            Loop::Stuck { .. } => self.stuck(now).unwrap_or_default(),
            Loop::Over(how) => format!("the run is over: {how}"),
            Loop::Ahead => "the loop is ahead of what is shown here".to_owned(),
            Loop::Waits | Loop::Works => match self.waits_for(now) {
                Some(outside) => format!("the loop waits for {outside}"),
                None => "the loop is at work".to_owned(),
            },
        }
    }

    /// What is to be said about the knowledge itself: gaps, faults.
    #[must_use]
    pub fn caveats(&self) -> String {
        let mut out = String::new();
        if self.missed_steps > 0 {
            out += &format!("{} steps were not heard of\n", self.missed_steps);
        }
        if let Some(fault) = &self.fault {
            out += &format!("what the loop tells is not understood any more: {fault}\n");
        }
        out
    }

    /// Gives `to` a key frame of this moment, and all records from then on.
    pub(super) fn stream(&mut self, to: SyncSender<Batch>) {
        let mut encoder = Encoder::new();
        let mut bytes = Vec::new();
        key_frame(&self.mirror, &mut |record| encoder.encode(record, &mut bytes));
        if to.try_send((self.mirror.step(), bytes)).is_ok() {
            self.streams.push(Stream { encoder, to });
        }
    }

    /// Hands records to those who want them. One who is behind is left out from then on.
    fn pass_on(&mut self, first_step: u64, records: &[Record]) {
        if records.is_empty() {
            return;
        }
        self.streams.retain_mut(|stream| {
            let mut bytes = Vec::new();
            records.iter().for_each(|record| stream.encoder.encode(record, &mut bytes));
            match stream.to.try_send((first_step, bytes)) {
                Ok(()) => true,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
            }
        });
    }

    /// Whether somebody wants the records themselves.
    pub(super) fn has_streams(&self) -> bool {
        !self.streams.is_empty()
    }

    /// The run is over: nobody is given anything more.
    pub(super) fn end_streams(&mut self) {
        self.streams.clear();
    }
}
