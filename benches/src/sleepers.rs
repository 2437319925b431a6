//! `sleepers`: a million timers at once.

use std::time::Duration;

use crate::cpu::{Cores, Place};
use crate::harness::{Figure, Harness, Result, Runtime};
use crate::{on_floor, on_tokio, on_trapline};

/// The CPU time of a task that sleeps once, from its start to its end, among all the others.
pub(crate) fn run(harness: &Harness) -> Result<()> {
    Cores::allowed()?.pin(Place::First)?;
    let tasks = harness.count(1_000_000, 10_000);
    let total = tasks as f64;
    let figure = Figure {
        bench: "sleepers",
        param: &format!("tasks={tasks}"),
        unit: "ns",
        ..Figure::default()
    };
    harness.compare(
        &figure,
        5,
        &mut [
            (Runtime::Trapline, Box::new(|| Ok(on_trapline::sleepers(tasks)? / total))),
            (Runtime::Tokio, Box::new(|| Ok(on_tokio::sleepers(tasks)? / total))),
            (Runtime::Floor, Box::new(|| Ok(on_floor::sleepers(tasks)? / total))),
        ],
    )
}

/// How long the `i`th task sleeps: 300 to 600 ms, to the microsecond, in no order.
///
/// Long enough for all to be asleep before the first wakes.
pub(crate) fn length(i: u64) -> Duration {
    const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
    Duration::from_micros(300_000 + (i.wrapping_mul(GOLDEN_RATIO) >> 32) % 300_000)
}
