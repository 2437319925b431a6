//! The test of tests: after each step the mirror, fed with nothing but the records of a trace, shows what the
//! kernel's own snapshot shows; and so it does where one comes to the step by a jump, forward or back.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(unreachable_pub, reason = "a module of several test programs")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use trapline::trace::agent::{Agent, Attached, Outlet};
use trapline::trace::format::{Decoder, Encoder, FileWriter};
use trapline::trace::{Mirror, Record, Recording, Scribe, canonical};
use trapline::{Event, RunError, RunReport, Scheduler, Step};

/// So many records are shown where the two differ.
const RECORDS_SHOWN: usize = 60;

/// A chunk of the file ends where it is longer: so that most programs have several.
const CHUNK_BYTES: usize = 300;

/// In a longer trace not every step is jumped to: each costs a replay of thousands of records.
const JUMPS: usize = 400;

/// Looks at a scheduler whose steps somebody else takes.
pub struct Mirrored {
    attached: Option<Attached>,
    state: Rc<RefCell<State>>,
}

#[derive(Default)]
struct State {
    scribe: Scribe,
    encoder: Option<Encoder>,
    decoder: Option<Decoder>,
    /// Fed with records as they are, and with records that were bytes meanwhile.
    plain: Mirror,
    decoded: Mirror,
    fresh: Vec<Record>,
    recent: VecDeque<String>,
    all: Vec<u8>,
    /// The trace as a file, but for the last of its records, and how many steps are over before those.
    file: Option<FileWriter<Vec<u8>>>,
    chunk: Vec<u8>,
    chunk_step: u64,
    /// What the kernel had after each step.
    kept: Vec<(u64, String)>,
    /// What was wrong, told where it does not look like a panic of the probe.
    wrong: Option<String>,
}

impl Mirrored {
    /// Begins to look.
    #[must_use]
    pub fn attach(scheduler: &mut Scheduler) -> Mirrored {
        let state = Rc::new(RefCell::new(State {
            encoder: Some(Encoder::new()),
            decoder: Some(Decoder::new()),
            file: Some(FileWriter::new(Vec::new()).unwrap()),
            ..State::default()
        }));
        let attached = Agent::new().outlet(Watcher(Rc::clone(&state))).attach(scheduler);
        let mirrored = Mirrored { attached: Some(attached), state };
        drop(mirrored.compare(scheduler));
        mirrored
    }

    /// To be called after each step: the states must be the same.
    #[track_caller]
    pub fn check(&mut self, scheduler: &mut Scheduler, step: &Step) {
        self.attached.as_mut().unwrap().after(scheduler, step);
        let text = self.compare(scheduler);
        let state = &mut *self.state.borrow_mut();
        state.kept.push((state.plain.step(), text));
        if state.chunk.len() > CHUNK_BYTES {
            state.end_chunk();
        }
    }

    /// Gives what both have.
    #[track_caller]
    fn compare(&self, scheduler: &Scheduler) -> String {
        let state = self.state.borrow();
        let expected = canonical(&scheduler.snapshot());
        let log = || state.recent.iter().map(|line| format!("  {line}\n")).collect::<String>();
        if let Some(wrong) = &state.wrong {
            panic!("{wrong}\nafter\n{}\nthe kernel has\n{expected}", log());
        }
        let plain = state.plain.text();
        if plain != expected {
            panic!("the mirror has\n{plain}\nthe kernel\n{expected}\nafter\n{}", log());
        }
        assert_eq!(state.decoded.text(), expected, "by way of bytes");
        expected
    }

    /// The bytes of the trace so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.state.borrow().all.clone()
    }

    /// Ends the looking. What the trace has of each step, come to from the end and by jumps, is compared with
    /// what the kernel had then.
    #[track_caller]
    pub fn detach(mut self, scheduler: &mut Scheduler) {
        self.attached.take().unwrap().detach(scheduler);
        let state = &mut *self.state.borrow_mut();
        state.end_chunk();
        let recording = Recording::from_bytes(state.file.take().unwrap().into_inner()).unwrap();
        assert_eq!(recording.damage(), None);
        assert_eq!(recording.steps(), state.kept.len() as u64);
        let every = state.kept.len().div_ceil(JUMPS).max(1);
        // Backward from the end. A recording keeps nothing from one jump to the next, so that this order is as
        // good as any other.
        for (step, expected) in state.kept.iter().rev().step_by(every) {
            let text = recording.state_at(*step).map(|mirror| mirror.text());
            assert_eq!(text.as_deref(), Some(expected.as_str()), "step {step}, by a jump");
        }
    }
}

/// Runs to the end, and compares after each step.
#[track_caller]
pub fn run_mirrored(scheduler: &mut Scheduler) -> Result<RunReport, RunError> {
    let mut mirrored = Mirrored::attach(scheduler);
    let last = loop {
        let step = scheduler.step();
        mirrored.check(scheduler, &step);
        if step.is_last() {
            break step;
        }
    };
    mirrored.detach(scheduler);
    scheduler.outcome(last)
}

/// Runs a future to its end, and compares after each step.
#[track_caller]
pub fn block_on_mirrored<F: Future>(scheduler: &mut Scheduler, future: F) -> F::Output {
    let mut mirrored = Mirrored::attach(scheduler);
    let output = scheduler
        .block_on_with(future, |scheduler: &mut Scheduler, step| mirrored.check(scheduler, step));
    mirrored.detach(scheduler);
    output.unwrap()
}

struct Watcher(Rc<RefCell<State>>);

impl State {
    fn end_chunk(&mut self) {
        let chunk = std::mem::take(&mut self.chunk);
        self.file.as_mut().unwrap().chunk(self.chunk_step, &chunk).unwrap();
        self.chunk_step = self.plain.step();
    }

    fn apply(&mut self) {
        for record in std::mem::take(&mut self.fresh) {
            if self.recent.len() == RECORDS_SHOWN {
                self.recent.pop_front();
            }
            self.recent.push_back(format!("{record:?}"));
            if self.wrong.is_some() {
                continue;
            }
            if let Err(error) = self.plain.apply(&record) {
                self.wrong = Some(format!("the mirror refuses {record:?}: {error}"));
                continue;
            }
            let mut bytes = Vec::new();
            self.encoder.as_mut().unwrap().encode(&record, &mut bytes);
            self.all.extend(&bytes);
            self.chunk.extend(&bytes);
            let mut rest = bytes.as_slice();
            let decoded = self.decoder.as_mut().unwrap().decode(&mut rest);
            if decoded.as_ref() != Ok(&Some(record.clone())) || !rest.is_empty() {
                self.wrong = Some(format!("{record:?} comes back as {decoded:?}"));
                continue;
            }
            if let Err(error) = self.decoded.apply(&record) {
                self.wrong = Some(format!("the second mirror refuses {record:?}: {error}"));
            }
        }
    }
}

impl Outlet for Watcher {
    fn begin(&mut self, scheduler: &mut Scheduler) {
        let (snapshot, at) = (scheduler.snapshot(), scheduler.now());
        let state = &mut *self.0.borrow_mut();
        state.scribe.key_frame(&snapshot, at, 0, &mut state.fresh);
        state.apply();
    }

    fn event(&mut self, event: &Event<'_>) {
        let state = &mut *self.0.borrow_mut();
        state.scribe.event(event, &mut state.fresh);
        state.apply();
    }

    fn step_end(&mut self, _: &mut Scheduler, step: &Step) {
        let state = &mut *self.0.borrow_mut();
        state.scribe.step_end(step, &mut state.fresh);
        state.apply();
    }
}
