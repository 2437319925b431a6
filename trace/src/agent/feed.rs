//! The way from the loop to another thread: encoded records through a bounded ring.
//!
//! The loop never waits (unless it is asked to lose nothing). Where the ring is full, what happens is not
//! written at all; once there is room again, and not more often than once a second, the loop writes how many
//! steps are missing, and a key frame: its state as it is then.

use std::fmt;
use std::io;
use std::mem;
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, Thread};
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};
use rustix::fs::fstat;
use trapline_scheduler::{Event, Scheduler, Step};

use super::Outlet;
use super::page::Page;
use crate::record::{About, Record, Remark};
use crate::scribe::{Paper, Scribe};

/// The bytes that lie in the ring before each batch: its length, and the steps taken before it.
const HEAD_BYTES: usize = 12;

/// Instead of a length: the batch is too large for the ring, and comes beside it.
const BESIDE: u32 = u32::MAX;

/// In the number of steps: the batch begins with a key frame, so that nothing before it is needed.
const KEY: u64 = 1 << 63;

/// How long the loop waits at a time for room, where it waits.
const NAP: Duration = Duration::from_millis(1);

/// What the loop does where the other thread is behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behind {
    /// Goes on, and leaves a gap.
    Skip,
    /// Waits until there is room.
    Wait,
}

/// A feed, and the intake at its other end. The ring between them holds `capacity_bytes`.
#[must_use]
pub fn feed(capacity_bytes: usize, behind: Behind) -> (Feed, Intake) {
    let (to, from) = RingBuffer::new(capacity_bytes.max(4 * HEAD_BYTES));
    let (beside_to, beside_from) = mpsc::channel();
    let shared = Arc::new(Shared::default());
    let feed = Feed {
        scribe: Scribe::new(),
        page: Page::default(),
        to,
        beside: beside_to,
        shared: Arc::clone(&shared),
        reader: None,
        process: process::id(),
        behind,
        is_behind: false,
        steps: 0,
        steps_written: 0,
        is_key: false,
        key_second: None,
        properties: Vec::new(),
        payload_bytes: 0,
        output: None,
    };
    (feed, Intake { from, beside: beside_from, shared })
}

/// What both ends see.
#[derive(Debug, Default)]
struct Shared {
    /// Whole seconds on the reader's clock, so that the loop need not ask for the time.
    seconds: AtomicU32,
    /// The loop writes no more.
    is_over: AtomicBool,
    /// The reader reads no more.
    is_closed: AtomicBool,
    /// The loop is in a gap: nothing is written until there is room, and a second has passed.
    is_in_gap: AtomicBool,
    /// The reader would rather have a key frame than what it has not read.
    wants_key: AtomicBool,
}

/// The loop's end: an outlet that encodes what it hears.
pub struct Feed {
    scribe: Scribe,
    page: Page,
    to: Producer<u8>,
    beside: Sender<Vec<u8>>,
    shared: Arc<Shared>,
    reader: Option<Thread>,
    /// A fork of this process has a copy of the feed, and nobody who reads.
    process: u32,
    behind: Behind,
    /// Whether events are being missed.
    is_behind: bool,
    /// How many steps have been taken, and how many of them were published whole or said to be missing.
    steps: u64,
    steps_written: u64,
    /// Whether what is to be published begins with a key frame.
    is_key: bool,
    /// In which second of the reader's the last key frame was written after a gap.
    key_second: Option<u32>,
    properties: Vec<(&'static str, String)>,
    payload_bytes: usize,
    /// How long the file was to which standard output goes, if that is to be told.
    output: Option<u64>,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("behind", &self.behind)
            .field("is_behind", &self.is_behind)
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

impl Feed {
    /// Tells which thread reads at the other end, to be woken where the loop waits for it.
    pub fn set_reader(&mut self, reader: Thread) {
        self.reader = Some(reader);
    }

    /// What is to be said of the run at its beginning.
    pub fn set_properties(&mut self, properties: Vec<(&'static str, String)>) {
        self.properties = properties;
    }

    /// Has so many of the first bytes of what is read and written written down.
    pub fn set_payload(&mut self, bytes: usize) {
        self.payload_bytes = bytes;
    }

    /// Has the text of the source files below this directory written.
    pub fn set_sources(&mut self, directory: &Path) {
        self.page.set_sources(directory.to_owned());
    }

    /// Has the length of the file to which standard output goes written, whenever a step has changed it.
    pub fn tell_output(&mut self) {
        self.output = Some(0);
    }

    /// How much the step that ends has written belongs to it.
    #[cold]
    fn add_output(&mut self) {
        // What is no file has no length that grows; then there is nothing to tell.
        let length = fstat(io::stdout()).ok().and_then(|stat| u64::try_from(stat.st_size).ok());
        if let Some(length) = length.filter(|length| self.output != Some(*length)) {
            self.output = Some(length);
            self.page.push(Record::Remark(Remark::Output { length }));
        }
    }

    /// Whether the other end reads no more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed.load(Ordering::Relaxed)
    }

    /// Whether events are being missed.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Whether this is a copy, in a fork of the process.
    pub(super) fn is_forked(&self) -> bool {
        process::id() != self.process
    }

    /// The state as it is now; after a gap of so many steps.
    fn key_frame(&mut self, scheduler: &mut Scheduler, missed_steps: u64) {
        let (snapshot, at) = (scheduler.snapshot(), scheduler.now());
        self.steps = snapshot.steps;
        self.is_key = self.page.bytes.is_empty();
        self.scribe.key_frame(&snapshot, at, missed_steps, &mut self.page);
    }

    #[cold]
    fn publish_key_frame(&mut self, scheduler: &mut Scheduler) {
        self.publish();
        if !self.is_behind {
            self.key_frame(scheduler, 0);
            self.publish();
        }
    }

    /// Ends a gap, if there is one, without regard to when the last one ended: between two steps, and where there
    /// is room.
    pub fn catch_up(&mut self, scheduler: &mut Scheduler) {
        if self.is_behind {
            self.end_gap(scheduler);
        }
    }

    #[cold]
    fn set_behind(&mut self, is_behind: bool) {
        self.is_behind = is_behind;
        self.shared.is_in_gap.store(is_behind, Ordering::Relaxed);
    }

    fn end_gap(&mut self, scheduler: &mut Scheduler) {
        self.set_behind(false);
        self.key_second = Some(self.shared.seconds.load(Ordering::Relaxed));
        self.key_frame(scheduler, self.steps - self.steps_written);
        self.steps_written = self.steps;
        self.publish();
    }

    #[inline]
    fn is_wanted_key(&self) -> bool {
        // The swap only where it is needed: it costs more than to look.
        self.shared.wants_key.load(Ordering::Relaxed)
            && self.shared.wants_key.swap(false, Ordering::Relaxed)
    }

    /// Whether there is so much room that a key frame would not be for nothing, and none was written in this
    /// second.
    fn may_go_on(&self) -> bool {
        let second = self.shared.seconds.load(Ordering::Relaxed);
        self.key_second != Some(second) && self.to.slots() >= self.to.buffer().capacity() / 2
    }

    /// Hands what has been encoded to the other end; false, and nothing of it, where that is behind.
    fn send(&mut self) -> bool {
        let capacity = self.to.buffer().capacity();
        let is_large = self.page.bytes.len() > capacity / 2;
        let in_ring = if is_large { 0 } else { self.page.bytes.len() };
        let needed = HEAD_BYTES + in_ring;
        if self.to.slots() < needed && !self.wait_for_room(needed) {
            return false;
        }
        let length = if is_large { BESIDE } else { self.page.bytes.len() as u32 };
        let mut head = [0; HEAD_BYTES];
        head[..4].copy_from_slice(&length.to_le_bytes());
        let key = if self.is_key { KEY } else { 0 };
        head[4..].copy_from_slice(&(self.steps_written | key).to_le_bytes());
        if is_large {
            // It must be there when its head is.
            let _ = self.beside.send(mem::take(&mut self.page.bytes));
            return self.to.push_entire_slice(&head).is_ok();
        }
        let Ok(mut chunk) = self.to.write_chunk(needed) else { return false };
        let (first, second) = chunk.as_mut_slices();
        scatter(&head, &self.page.bytes, first, second);
        chunk.commit_all();
        true
    }

    #[cold]
    fn wait_for_room(&mut self, needed: usize) -> bool {
        loop {
            if let Some(reader) = &self.reader {
                reader.unpark();
            }
            if self.is_closed() || self.to.is_abandoned() || self.behind == Behind::Skip {
                return false;
            }
            if self.is_forked() {
                return false;
            }
            if self.to.slots() >= needed {
                return true;
            }
            thread::park_timeout(NAP);
        }
    }
}

/// Lays two slices one after the other into two others.
fn scatter(head: &[u8], body: &[u8], first: &mut [u8], second: &mut [u8]) {
    let (mut first, mut second) = (first, second);
    for part in [head, body] {
        let split = part.len().min(first.len());
        let (before, after) = mem::take(&mut first).split_at_mut(split);
        before.copy_from_slice(&part[..split]);
        first = after;
        let rest = &part[split..];
        let (before, after) = mem::take(&mut second).split_at_mut(rest.len());
        before.copy_from_slice(rest);
        second = after;
    }
}

impl Outlet for Feed {
    fn begin(&mut self, scheduler: &mut Scheduler) {
        if self.payload_bytes > 0 {
            scheduler.set_payload(self.payload_bytes);
        }
        self.key_frame(scheduler, 0);
        for (key, value) in mem::take(&mut self.properties) {
            self.scribe.property(key, &value, &mut self.page);
        }
        self.steps_written = self.steps;
        self.publish();
    }

    #[inline]
    fn event(&mut self, event: &Event<'_>) {
        if self.is_behind {
            self.scribe.miss(event);
            return;
        }
        self.scribe.event(event, &mut self.page);
        // Before the task is polled: so one sees also whom the loop is stuck in.
        if matches!(event, Event::Taken { .. }) {
            self.publish();
        }
    }

    fn step_end(&mut self, scheduler: &mut Scheduler, step: &Step) {
        self.steps += 1;
        if !self.is_behind {
            if self.output.is_some() {
                self.add_output();
            }
            self.scribe.step_end(step, &mut self.page);
            // Where the next step takes a task, that is published before it is polled, and this with it.
            if self.scribe.running().is_some() || !scheduler.has_ready() {
                self.publish();
            }
            if self.scribe.is_full() || self.is_wanted_key() {
                self.publish_key_frame(scheduler);
            }
        } else if self.may_go_on() {
            self.end_gap(scheduler);
        }
    }

    fn publish(&mut self) {
        if !self.page.bytes.is_empty() && !self.is_behind {
            if self.send() {
                self.steps_written = self.steps;
            } else {
                self.set_behind(true);
            }
            self.is_key = false;
            self.page.bytes.clear();
        }
    }

    fn say(&mut self, about: About, topic: &'static str, text: &str) {
        if !self.is_behind {
            self.scribe.say(about, topic, text, &mut self.page);
        }
    }

    fn set_ordered(&mut self, is_ordered: bool) {
        self.scribe.set_ordered(is_ordered);
    }

    fn end(&mut self) {
        self.publish();
        self.shared.is_over.store(true, Ordering::Release);
        if let Some(reader) = &self.reader {
            reader.unpark();
        }
    }
}

/// The other end.
#[derive(Debug)]
pub struct Intake {
    from: Consumer<u8>,
    beside: Receiver<Vec<u8>>,
    shared: Arc<Shared>,
}

impl Intake {
    /// Takes a batch that was published, and appends its bytes, which are whole records; gives how many steps
    /// were over before it. `None` where there is none.
    pub fn take(&mut self, bytes: &mut Vec<u8>) -> Option<u64> {
        self.take_batch(bytes).map(|(steps, _)| steps)
    }

    /// The same; says also whether the batch begins with a key frame, so that nothing before it is needed.
    pub fn take_batch(&mut self, bytes: &mut Vec<u8>) -> Option<(u64, bool)> {
        let mut head = [0; HEAD_BYTES];
        self.from.pop_entire_slice(&mut head).ok()?;
        let (length, steps) = head.split_at(4);
        let length = u32::from_le_bytes(length.try_into().unwrap_or_default());
        let steps = u64::from_le_bytes(steps.try_into().unwrap_or_default());
        if length == BESIDE {
            bytes.extend(self.beside.recv().unwrap_or_default());
            return Some((steps & !KEY, steps & KEY != 0));
        }
        // A batch is published as a whole.
        if let Ok(chunk) = self.from.read_chunk(length as usize) {
            let (first, second) = chunk.as_slices();
            bytes.extend_from_slice(first);
            bytes.extend_from_slice(second);
            chunk.commit_all();
        }
        Some((steps & !KEY, steps & KEY != 0))
    }

    /// Whether nothing more will come, once what is there has been taken.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.shared.is_over.load(Ordering::Acquire) || self.from.is_abandoned()
    }

    /// Says how many whole seconds have passed on the reader's clock.
    pub fn set_seconds(&self, seconds: u32) {
        self.shared.seconds.store(seconds, Ordering::Relaxed);
    }

    /// Whether events are being missed: what has been taken is then not of this moment.
    #[must_use]
    pub fn is_in_gap(&self) -> bool {
        self.shared.is_in_gap.load(Ordering::Relaxed)
    }

    /// Asks for a key frame, after the step under way.
    pub fn want_key_frame(&self) {
        self.shared.wants_key.store(true, Ordering::Relaxed);
    }

    /// Reads no more: the loop writes no more.
    pub fn close(&self) {
        self.shared.is_closed.store(true, Ordering::Relaxed);
    }
}
