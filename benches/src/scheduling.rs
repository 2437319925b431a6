//! `yield`, `spawn_join`, `spawn_detached`: what the loop itself costs.

use crate::cpu::{Cores, Place};
use crate::harness::{Figure, Harness, Result, Runtime};
use crate::{on_floor, on_tokio, on_trapline};

const ROUNDS: u64 = 9;

/// How many detached tasks are started before the one that starts them lets them run.
pub(crate) const BURST: u64 = 256;

/// The CPU time of one `yield_now`, among as many tasks as the parameter says.
pub(crate) fn yields(harness: &Harness) -> Result<()> {
    Cores::allowed()?.pin(Place::First)?;
    for (tasks, each, floor) in [(1, 1_000_000, 6.0), (1_000, 2_000, 6.0), (100_000, 50, 4.0)] {
        let each = harness.count(each, 10);
        let total = (tasks * each) as f64;
        let figure = Figure {
            bench: "yield",
            param: &format!("tasks={tasks}"),
            unit: "ns",
            targets: &[(Runtime::Floor, floor), (Runtime::Tokio, 1.0 / 2.5)],
            ..Figure::default()
        };
        harness.compare(
            &figure,
            ROUNDS,
            &mut [
                (Runtime::Trapline, Box::new(|| Ok(on_trapline::yields(tasks, each)? / total))),
                (Runtime::Tokio, Box::new(|| Ok(on_tokio::yields(tasks, each)? / total))),
                (Runtime::Floor, Box::new(|| Ok(on_floor::yields(tasks, each)? / total))),
            ],
        )?;
    }
    Ok(())
}

/// The CPU time of starting a task and waiting for its value, one after the other.
pub(crate) fn spawn_join(harness: &Harness) -> Result<()> {
    Cores::allowed()?.pin(Place::First)?;
    let n = harness.count(500_000, 1_000);
    let total = n as f64;
    type OnTokio = fn(u64) -> Result<f64>;
    let peers: [(&str, OnTokio, f64); 2] = [
        ("tokio::spawn", on_tokio::spawn_join, 1.0 / 1.5),
        ("tokio::spawn_local", on_tokio::spawn_local_join, 1.0),
    ];
    for (peer, on_tokio, at_most) in peers {
        let figure = Figure {
            bench: "spawn_join",
            param: &format!("beside={peer}"),
            unit: "ns",
            targets: &[(Runtime::Tokio, at_most)],
            ..Figure::default()
        };
        harness.compare(
            &figure,
            ROUNDS,
            &mut [
                (Runtime::Trapline, Box::new(|| Ok(on_trapline::spawn_join(n)? / total))),
                (Runtime::Tokio, Box::new(|| Ok(on_tokio(n)? / total))),
                (Runtime::Floor, Box::new(|| Ok(on_floor::spawn_join(n)? / total))),
            ],
        )?;
    }
    Ok(())
}

/// The CPU time of starting a task that nobody waits for, and of running it.
pub(crate) fn spawn_detached(harness: &Harness) -> Result<()> {
    Cores::allowed()?.pin(Place::First)?;
    let n = harness.count(1_000_000, 1_000);
    let total = n as f64;
    let figure = Figure {
        bench: "spawn_detached",
        param: &format!("tasks={n}"),
        unit: "ns",
        ..Figure::default()
    };
    harness.compare(
        &figure,
        ROUNDS,
        &mut [
            (Runtime::Trapline, Box::new(|| Ok(on_trapline::spawn_detached(n)? / total))),
            (Runtime::Tokio, Box::new(|| Ok(on_tokio::spawn_detached(n)? / total))),
            (Runtime::Floor, Box::new(|| Ok(on_floor::spawn_detached(n)? / total))),
        ],
    )
}
