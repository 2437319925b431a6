//! A recording whose reader is behind: the loop goes on, the trace says how many steps it has missed, and the state
//! after the gap is right. The reader of these tests reads when it is told to, so that it is behind on purpose.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use support::builder;
use trapline::sync::Mutex;
use trapline::trace::agent::{Agent, Attached, Behind, Intake, feed};
use trapline::trace::format::Decoder;
use trapline::trace::{Mirror, Record, canonical};
use trapline::{Scheduler, WaitQueue, join, sleep, spawn, timeout, yield_now};

const MILLI: Duration = Duration::from_millis(1);

/// So much lies between the loop and the reader: a few steps fill it.
const RING_BYTES: usize = 400;

/// Reads what has been published, and compares the state with that of the kernel at the same step.
struct Reader {
    intake: Intake,
    decoder: Decoder,
    mirror: Mirror,
    /// The states of the kernel, by step.
    expected: BTreeMap<u64, String>,
    compared: usize,
    /// The gaps: before which step, and how many steps long.
    gaps: Vec<(u64, u64)>,
    ends: u64,
}

impl Reader {
    fn new(intake: Intake) -> Reader {
        Reader {
            intake,
            decoder: Decoder::new(),
            mirror: Mirror::new(),
            expected: BTreeMap::new(),
            compared: 0,
            gaps: Vec::new(),
            ends: 0,
        }
    }

    fn read(&mut self) {
        let mut bytes = Vec::new();
        while let Some(steps) = self.intake.take(&mut bytes) {
            let mut rest = bytes.as_slice();
            let mut is_whole = false;
            let mut is_first = true;
            while let Some(record) = self.decoder.decode(&mut rest).unwrap() {
                if let Record::Reset { step, missed_steps, .. } = record {
                    assert_eq!(step - missed_steps, self.mirror.step(), "the gap is told right");
                    if missed_steps > 0 {
                        self.gaps.push((step, missed_steps));
                    }
                    is_whole = true;
                } else if is_first {
                    assert_eq!(steps, self.mirror.step(), "where the batch begins");
                }
                is_first = false;
                self.mirror.apply(&record).unwrap();
                if let Record::StepEnd(_) = record {
                    self.ends += 1;
                    self.compare();
                }
            }
            assert!(rest.is_empty());
            if is_whole {
                self.compare();
            }
            bytes.clear();
        }
    }

    fn compare(&mut self) {
        let step = self.mirror.step();
        assert_eq!(self.mirror.text(), self.expected[&step], "after step {step}");
        self.compared += 1;
    }
}

async fn program() {
    let mutex = Rc::new(Mutex::new(()).named("log"));
    let queue = Rc::new(WaitQueue::new(0));
    let mut handles = Vec::new();
    for number in 0..5 {
        let (mutex, queue) = (Rc::clone(&mutex), Rc::clone(&queue));
        let task = async move {
            for _ in 0..10 {
                // Held for long, and asked for by others only later.
                let guard = mutex.lock().await;
                for _ in 0..number * 7 {
                    yield_now().await;
                }
                join!(sleep(MILLI * number), yield_now());
                drop(guard);
                let _ = timeout(MILLI, queue.park()).await;
            }
        };
        handles.push(spawn(task).name(format!("worker {number}")).await);
    }
    for handle in handles {
        handle.await.unwrap();
    }
}

/// Runs the program, with a look at what came every so many steps; tells the clock each time, if asked to.
fn run(capacity: usize, behind: Behind, read_every: u64, tells_time: bool) -> (Reader, u64) {
    let mut scheduler = builder().quantum(2).build();
    let (feed, intake) = feed(capacity, behind);
    let mut attached = Agent::new().outlet(feed).attach(&mut scheduler);
    let mut reader = Reader::new(intake);
    reader.expected.insert(0, canonical(&scheduler.snapshot()));
    scheduler.spawn(program()).detach();
    let mut steps = 0;
    loop {
        let step = scheduler.step();
        // What is expected is known before it is read.
        let text = canonical(&scheduler.snapshot());
        steps += 1;
        reader.expected.insert(steps, text);
        attached.after(&mut scheduler, &step);
        if steps % read_every == 0 {
            reader.read();
            if tells_time {
                reader.intake.set_seconds(u32::try_from(steps).unwrap());
            }
        }
        if step.is_last() {
            break;
        }
    }
    end(attached, &mut scheduler);
    reader.read();
    assert!(reader.intake.is_over());
    (reader, steps)
}

fn end(attached: Attached, scheduler: &mut Scheduler) {
    attached.detach(scheduler);
}

#[test]
fn reader_that_keeps_up_then_every_step_is_there() {
    let (reader, steps) = run(1 << 16, Behind::Skip, 1, true);
    assert_eq!(reader.gaps, []);
    assert_eq!(reader.ends, steps);
    assert_eq!(reader.mirror.step(), steps);
    assert!(steps > 200, "{steps}");
}

#[test]
fn reader_that_is_behind_then_gaps_and_the_right_state_after_each() {
    for read_every in [20, 37, 90] {
        let (reader, steps) = run(RING_BYTES, Behind::Skip, read_every, true);
        assert!(reader.gaps.len() > 1, "{:?}", reader.gaps);
        let missed: u64 = reader.gaps.iter().map(|(_, missed)| missed).sum();
        assert_eq!(reader.ends + missed, reader.mirror.step());
        assert!(reader.mirror.step() <= steps);
        assert!(reader.compared as u64 > reader.ends, "also at the key frames");
    }
}

#[test]
fn same_second_then_no_second_key_frame() {
    let (reader, steps) = run(RING_BYTES, Behind::Skip, 20, false);
    assert_eq!(reader.gaps.len(), 1, "{:?}", reader.gaps);
    assert!(reader.mirror.step() < steps);
}

#[test]
fn key_frame_larger_than_the_ring_then_it_comes_whole() {
    // The key frame of the beginning, with its tasks, is larger than this ring.
    let mut scheduler = builder().build();
    for number in 0..100 {
        let options =
            trapline::TaskOptions::new().name(format!("a task with a long name, {number}"));
        scheduler.spawn_with(options, yield_now()).detach();
    }
    let (feed, intake) = feed(RING_BYTES, Behind::Skip);
    let attached = Agent::new().outlet(feed).attach(&mut scheduler);
    let mut reader = Reader::new(intake);
    reader.expected.insert(0, canonical(&scheduler.snapshot()));
    reader.read();
    assert_eq!(reader.compared, 1);
    assert_eq!(reader.mirror.tasks().count(), 100);
    end(attached, &mut scheduler);
}

#[test]
fn loop_that_waits_then_nothing_is_missing() {
    let mut scheduler = builder().quantum(2).build();
    let (feed, mut intake) = feed(RING_BYTES, Behind::Wait);
    let mut attached = Agent::new().outlet(feed).attach(&mut scheduler);
    let reader = thread::spawn(move || {
        let (mut bytes, mut ends) = (Vec::new(), 0);
        let mut decoder = Decoder::new();
        loop {
            let is_over = intake.is_over();
            while intake.take(&mut bytes).is_some() {
                let mut rest = bytes.as_slice();
                while let Some(record) = decoder.decode(&mut rest).unwrap() {
                    ends += u64::from(matches!(record, Record::StepEnd(_)));
                }
                bytes.clear();
            }
            if is_over {
                return ends;
            }
            thread::yield_now();
        }
    });
    scheduler.spawn(program()).detach();
    let mut steps = 0;
    loop {
        let step = scheduler.step();
        attached.after(&mut scheduler, &step);
        steps += 1;
        if step.is_last() {
            break;
        }
    }
    end(attached, &mut scheduler);
    assert_eq!(reader.join().unwrap(), steps);
}

#[test]
fn reader_that_is_gone_then_the_loop_goes_on_even_where_it_would_wait() {
    let mut scheduler = builder().build();
    let (feed, intake) = feed(RING_BYTES, Behind::Wait);
    drop(intake);
    let attached = Agent::new().outlet(feed).attach(&mut scheduler);
    scheduler.spawn(program()).detach();
    assert_eq!(attached.run(&mut scheduler).unwrap().failures, 0);
}
