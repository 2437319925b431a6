//! `parked_memory` and `spawn_detached --long`: what tasks cost in memory, and what they leave
//! behind; and what it takes to read a recording, for `trace`.
//!
//! Both run in the program `parked_memory`, whose allocator counts.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Parser, Subcommand};

use trapline::trace::Recording;

use crate::harness::{Figure, Harness, Result, Round, Runtime, check};
use crate::{cpu, on_floor, on_tokio, on_trapline, process};

/// Live heap per parked task beside the size of its own future.
pub(crate) fn parked(harness: &Harness) -> Result<()> {
    let program = process::built("parked_memory")?;
    let tasks = harness.count(1_000_000, 10_000);
    let on = |runtime: Runtime| -> Round<'_> {
        let program = &program;
        let run = move || {
            let (runtime, tasks) = (runtime.to_string(), tasks.to_string());
            let printed = output(Command::new(program).args(["parked", &runtime, &tasks]))?;
            Ok(printed.trim().parse::<f64>()? / tasks.parse::<f64>()?)
        };
        (runtime, Box::new(run))
    };
    let figure = Figure {
        bench: "parked_memory",
        param: &format!("tasks={tasks}"),
        unit: "bytes",
        limit: Some(256.0),
        ..Figure::default()
    };
    // Nothing here varies from round to round.
    harness.compare(
        &figure,
        1,
        &mut [on(Runtime::Trapline), on(Runtime::Tokio), on(Runtime::Floor)],
    )
}

/// How far memory grows while 100,000,000 detached tasks come and go.
pub(crate) fn detached(harness: &Harness) -> Result<()> {
    const HEAP_SLACK: f64 = 64.0 * 1024.0;
    // The kernel's own count of resident pages lags by some dozens of pages per core.
    const RESIDENT_SLACK: f64 = 1024.0 * 1024.0;

    let tasks = harness.count(100_000_000, 100_000).to_string();
    let printed =
        output(Command::new(process::built("parked_memory")?).args(["detached", &tasks]))?;
    let mut growths = printed.split_whitespace().map(str::parse::<f64>);
    for (what, slack) in [("heap", HEAP_SLACK), ("resident", RESIDENT_SLACK)] {
        let growth = growths.next().ok_or("parked_memory printed too little")??;
        let figure = Figure {
            bench: "spawn_detached",
            param: &format!("long={tasks},{what}_growth"),
            unit: "bytes",
            limit: Some(slack),
            ..Figure::default()
        };
        harness.compare(&figure, 1, &mut [(Runtime::Trapline, Box::new(|| Ok(growth)))])?;
        if growth > slack {
            return Err(
                format!("{tasks} detached tasks left {growth} bytes of {what} behind").into()
            );
        }
    }
    Ok(())
}

/// What it takes to read a recording.
pub(crate) struct IndexCost {
    pub(crate) index_ms: f64,
    pub(crate) worst_jump_ms: f64,
    /// Of the index and the file together.
    pub(crate) live_bytes: f64,
}

pub(crate) fn of_index(file: &Path) -> Result<IndexCost> {
    let program = process::built("parked_memory")?;
    let printed = output(Command::new(program).arg("index").arg(file))?;
    let numbers: Vec<f64> =
        printed.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?;
    match numbers[..] {
        [index_ms, worst_jump_ms, live_bytes] => {
            Ok(IndexCost { index_ms, worst_jump_ms, live_bytes })
        }
        _ => Err("parked_memory printed something else".into()),
    }
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[derive(Parser)]
struct CountedArgs {
    #[command(subcommand)]
    measure: Measure,
}

#[derive(Subcommand)]
enum Measure {
    /// Prints the live bytes of so many parked tasks, less the sizes of their futures
    Parked { runtime: Runtime, tasks: u64 },
    /// Prints how far the live heap and the resident memory grew over so many detached tasks
    Detached { tasks: u64 },
    /// Prints how many ms it takes to index a recording, and to jump to one of its steps at worst; and
    /// the live bytes then
    Index { file: PathBuf },
}

/// What the program `parked_memory` does.
pub(crate) fn run_counted(live_bytes: fn() -> usize) -> Result<()> {
    match CountedArgs::parse().measure {
        Measure::Parked { runtime, tasks } => {
            let before = live_bytes();
            let live = || (live_bytes() - before) as u64;
            let Parked { live, future } = match runtime {
                Runtime::Trapline => on_trapline::parked(tasks, live),
                Runtime::Tokio => on_tokio::parked(tasks, live),
                Runtime::Floor => on_floor::parked(tasks, live),
                Runtime::Smol | Runtime::Plain | Runtime::Threads => {
                    return Err("no tasks on threads".into());
                }
            }?;
            println!("{}", live as i64 - (future as u64 * tasks) as i64);
        }
        Measure::Index { file } => index(&file, live_bytes)?,
        Measure::Detached { tasks } => {
            // The first sample comes after a hundredth of the tasks, when all tables have their
            // size.
            let (first, heap, resident) = (Cell::new(None), Cell::new(0), Cell::new(0));
            on_trapline::detached(tasks, || {
                let (live, pages) = (live_bytes(), resident_bytes()?);
                let (live_first, pages_first) = first.get().unwrap_or((live, pages));
                first.set(Some((live_first, pages_first)));
                heap.set(heap.get().max(live.saturating_sub(live_first)));
                resident.set(resident.get().max(pages.saturating_sub(pages_first)));
                Ok(())
            })?;
            println!("{} {}", heap.get(), resident.get());
        }
    }
    Ok(())
}

fn index(file: &Path, live_bytes: fn() -> usize) -> Result<()> {
    const JUMPS: u64 = 1_000;
    const STRIDE: u64 = 7_919_333;

    let before = live_bytes();
    let (recording, index_ns) = cpu::time(|| Recording::open(file))?;
    let recording = recording?;
    if let Some(damage) = recording.damage() {
        return Err(damage.to_string().into());
    }
    let bounds = recording.first_step().zip(recording.last_step());
    let (first, last) = bounds.ok_or("a recording without steps")?;
    let mut worst_jump_ns: f64 = 0.0;
    for jump in 0..JUMPS {
        let step = first + jump * STRIDE % (last - first + 1);
        let (state, took_ns) = cpu::time(|| recording.state_at(step))?;
        check("as the step", state.map_or(0, |state| state.step()), step)?;
        worst_jump_ns = worst_jump_ns.max(took_ns);
    }
    println!("{} {} {}", index_ns / 1e6, worst_jump_ns / 1e6, live_bytes() - before);
    Ok(())
}

/// `tasks` parked at once: the live heap then, and the size of the future of each.
pub(crate) struct Parked {
    pub(crate) live: u64,
    pub(crate) future: usize,
}

fn resident_bytes() -> Result<usize> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS in /proc")?;
    Ok(kib.parse::<usize>()? * 1024)
}
