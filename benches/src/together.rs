//! `pingpong`, `mutex`, `timeouts`, `group`: what tasks do with each other, and with time.

mod floor;
mod smol;
mod tokio;
mod trapline;

use std::time::Duration;

use crate::cpu::{Cores, Place};
use crate::harness::{Figure, Harness, Result, Round, Runtime};

const ROUNDS: u64 = 9;

/// Tasks that take turns at one lock.
const LOCKERS: u64 = 100;

/// Children of one group at a time.
const CHILDREN: u64 = 1_000;

/// What is given a timeout is never as long as this.
const LONG: Duration = Duration::from_secs(3600);

/// The CPU time of a round trip between two tasks, over two channels of capacity 1.
pub(crate) fn pingpong(harness: &Harness) -> Result<()> {
    Cores::allowed()?.pin(Place::First)?;
    let n = harness.count(500_000, 1_000);
    let total = n as f64;
    let figure = Figure {
        bench: "pingpong",
        param: "capacity=1",
        unit: "ns",
        targets: &[(Runtime::Tokio, 0.45)],
        ..Figure::default()
    };
    harness.compare(
        &figure,
        ROUNDS,
        &mut [
            (Runtime::Trapline, Box::new(|| Ok(trapline::pingpong(n)? / total))),
            (Runtime::Tokio, Box::new(|| Ok(tokio::pingpong(n)? / total))),
            (Runtime::Smol, Box::new(|| Ok(smol::pingpong(n)? / total))),
            (Runtime::Floor, Box::new(|| Ok(floor::pingpong(n)? / total))),
        ],
    )
}

/// The CPU time of a turn at a lock: 100 tasks that lock, yield while they hold it, and unlock.
pub(crate) fn mutex(harness: &Harness) -> Result<()> {
    Cores::allowed()?.pin(Place::First)?;
    let each = harness.count(5_000, 10);
    let total = (LOCKERS * each) as f64;
    let figure = Figure {
        bench: "mutex",
        param: &format!("tasks={LOCKERS}"),
        unit: "ns",
        targets: &[(Runtime::Tokio, 0.3)],
        ..Figure::default()
    };
    harness.compare(
        &figure,
        ROUNDS,
        &mut [
            (Runtime::Trapline, Box::new(|| Ok(trapline::mutex(LOCKERS, each)? / total))),
            (Runtime::Tokio, Box::new(|| Ok(tokio::mutex(LOCKERS, each)? / total))),
            (Runtime::Smol, Box::new(|| Ok(smol::mutex(LOCKERS, each)? / total))),
            (Runtime::Floor, Box::new(|| Ok(floor::mutex(LOCKERS, each)? / total))),
        ],
    )
}

/// The CPU time of a timeout that is armed, polled once, and dropped before its time.
///
/// `dropped=at_once`: within the same poll of its task. `dropped=later`: after the task has yielded.
/// `beside=100000`: the latter, while so many other timers are armed. `armed=100000`: so many are armed
/// in one poll, and dropped after the task has yielded.
pub(crate) fn timeouts(harness: &Harness) -> Result<()> {
    Cores::allowed()?.pin(Place::First)?;
    let n = harness.count(300_000, 1_000);
    let crowd = harness.count(100_000, 1_000);
    type Run = fn(u64, u64) -> Result<f64>;
    let compare = |param: &str, at_most: f64, runs: [Run; 3], n: u64, crowd: u64| {
        let [on_trapline, on_tokio, on_floor] = runs;
        let round = |runtime: Runtime, run: Run| -> Round<'_> {
            (runtime, Box::new(move || Ok(run(n, crowd)? / n as f64)))
        };
        let figure = Figure {
            bench: "timeouts",
            param,
            unit: "ns",
            targets: &[(Runtime::Tokio, at_most)],
            ..Figure::default()
        };
        harness.compare(
            &figure,
            ROUNDS,
            &mut [
                round(Runtime::Trapline, on_trapline),
                round(Runtime::Tokio, on_tokio),
                round(Runtime::Floor, on_floor),
            ],
        )
    };
    let at_once: [Run; 3] = [trapline::timeouts_at_once, tokio::timeouts_at_once, floor::timeouts];
    let later: [Run; 3] = [trapline::timeouts_later, tokio::timeouts_later, floor::timeouts];
    let many: [Run; 3] = [trapline::many_timeouts, tokio::many_timeouts, floor::many_timeouts];
    compare("dropped=at_once", 0.45, at_once, n, 0)?;
    compare("dropped=later", 0.45, later, n, 0)?;
    compare(&format!("beside={crowd}"), 1.0, later, n, crowd)?;
    compare(&format!("armed={crowd}"), 1.0, many, crowd, 0)
}

/// The CPU time of a task started in a group, with its share of collecting the results; beside plain
/// tasks of which the handles are awaited in turn, and tokio's `JoinSet`.
pub(crate) fn group(harness: &Harness) -> Result<()> {
    Cores::allowed()?.pin(Place::First)?;
    let groups = harness.count(500, 2);
    let total = (groups * CHILDREN) as f64;
    let figure = Figure {
        bench: "group",
        param: &format!("children={CHILDREN}"),
        unit: "ns",
        targets: &[(Runtime::Plain, 1.3)],
        ..Figure::default()
    };
    harness.compare(
        &figure,
        ROUNDS,
        &mut [
            (Runtime::Trapline, Box::new(|| Ok(trapline::group(groups, CHILDREN)? / total))),
            (Runtime::Plain, Box::new(|| Ok(trapline::no_group(groups, CHILDREN)? / total))),
            (Runtime::Tokio, Box::new(|| Ok(tokio::group(groups, CHILDREN)? / total))),
        ],
    )
}
