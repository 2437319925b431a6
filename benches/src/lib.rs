//! Side-by-side measurements of Trapline, tokio's current-thread runtime, and a *floor*: the same
//! work by hand with no runtime.
//!
//! Every contender of a figure is run in turn, round by round, in one run of this program pinned to
//! one core, and checked to have done its work. A figure is the median of the rounds. Nearly all
//! figures are CPU time rather than time on the wall: it is what a runtime costs, and it stands
//! neighbours on a shared machine better.
//!
//! The reading order: `harness`, then a file a family (`scheduling`, `sleepers`, `together`, `memory`,
//! `echo`, `slide`, `trace`), which says what is compared and what is to be reached; the work itself stands in
//! `on_trapline.rs`, `on_tokio.rs` and `on_floor.rs`, and in files so named under `together/`, function
//! by function the same.

mod harness;

mod scheduling;
mod sleepers;

mod together;

mod memory;

mod echo;
mod slide;
mod trace;

mod client;
mod cpu;
mod process;

mod on_floor;
mod on_tokio;
mod on_trapline;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use harness::{Harness, Result, Runtime};

/// Measures Trapline beside tokio and beside the same work with no runtime
#[derive(Parser)]
#[command(name = "trapline-benches")]
struct Args {
    #[command(subcommand)]
    bench: Bench,
    /// Print a JSON object per figure, one a line
    #[arg(long, global = true)]
    json: bool,
    /// Run with tiny counts, once: shows that everything works, measures nothing
    #[arg(long, global = true)]
    smoke: bool,
}

#[derive(Subcommand)]
#[command(rename_all = "snake_case", disable_help_subcommand = true)]
enum Bench {
    /// A task that yields, among 1, 1,000 and 100,000
    Yield,
    /// Starting a task and waiting for its value
    SpawnJoin,
    /// Starting tasks that nobody waits for
    SpawnDetached {
        /// Run 100,000,000 of them instead, and check that memory stays flat
        #[arg(long)]
        long: bool,
    },
    /// 1,000,000 tasks that each sleep once
    Sleepers,
    /// A round trip between two tasks over two channels of capacity 1
    Pingpong,
    /// 100 tasks that lock, yield while they hold the lock, and unlock
    Mutex,
    /// A timeout armed, polled once, and dropped
    Timeouts,
    /// Tasks started in a group, beside plain ones
    Group,
    /// Live heap per parked task, at 1,000,000 tasks
    ParkedMemory,
    /// A server's CPU time per request, at 1, 50 and 1,000 connections
    Echo,
    /// Three blasters against the echo servers: the server's CPU time per message
    Slide,
    /// What it costs to be recorded or looked at, and to read a recording
    Trace,
    /// All of these
    All,
    #[command(name = "__serve", hide = true)]
    Serve { runtime: Runtime, addr: String },
}

/// The program `trapline-benches`.
#[must_use]
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trapline-benches: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The program `parked_memory`, whose allocator tells the number of live bytes.
#[must_use]
pub fn memory_main(live_bytes: fn() -> usize) -> ExitCode {
    match memory::run_counted(live_bytes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("parked_memory: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let harness = Harness::new(args.json, args.smoke);
    match &args.bench {
        Bench::Yield => scheduling::yields(&harness),
        Bench::SpawnJoin => scheduling::spawn_join(&harness),
        Bench::SpawnDetached { long: false } => scheduling::spawn_detached(&harness),
        Bench::SpawnDetached { long: true } => memory::detached(&harness),
        Bench::Sleepers => sleepers::run(&harness),
        Bench::Pingpong => together::pingpong(&harness),
        Bench::Mutex => together::mutex(&harness),
        Bench::Timeouts => together::timeouts(&harness),
        Bench::Group => together::group(&harness),
        Bench::ParkedMemory => memory::parked(&harness),
        Bench::Echo => echo::run(&harness),
        Bench::Slide => slide::run(&harness),
        Bench::Trace => trace::run(&harness),
        Bench::All => [
            scheduling::yields,
            scheduling::spawn_join,
            scheduling::spawn_detached,
            sleepers::run,
            together::pingpong,
            together::mutex,
            together::timeouts,
            together::group,
            memory::parked,
            memory::detached,
            echo::run,
            slide::run,
            trace::run,
        ]
        .iter()
        .try_for_each(|bench| bench(&harness)),
        Bench::Serve { runtime, addr } => echo::serve(*runtime, addr),
    }
}

/// One line for a mistake in the arguments, and status 2; the help that was asked for is no
/// mistake.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() && error.print().is_ok() {
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let what = first.strip_prefix("error: ").unwrap_or("which measurement?");
    eprintln!("trapline-benches: {what} (--help names all)");
    ExitCode::from(2)
}
