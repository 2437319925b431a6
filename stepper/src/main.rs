//! `trapline`: shows what a scheduler did, from a recording, and what one is doing, from its monitor.
//!
//! It shares nothing with the program but bytes. The subcommands, in the order in which one meets them:
//! [`record`], [`strace`], [`dump`], [`stats`], [`chrome`], [`step`] and its `view`, [`html`], [`gallery`], [`web`],
//! [`attach`]. `stats` and `chrome` go over a recording by its [`timeline`].

mod attach;
mod chrome;
mod dump;
mod failure;
mod gallery;
mod html;
mod live;
mod opened;
mod output;
mod plain;
mod record;
mod stats;
mod step;
mod strace;
mod timeline;
mod web;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Shows what a Trapline scheduler did, and what it is doing.
///
/// Where a recording is damaged, what can be read of it is shown, and the exit status is 1.
#[derive(Debug, Parser)]
#[command(name = "trapline", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Builds a program, runs it, and records what its scheduler does
    Record(record::Args),
    /// Prints a recording as lines, as the program itself does under `TRAPLINE=strace`
    Strace(strace::Args),
    /// Prints the whole state after a step
    Dump(dump::Args),
    /// Counts and sums up: who ran, who waited for what, who woke whom
    Stats(stats::Args),
    /// Writes a recording as a Chrome trace, for Perfetto or chrome://tracing
    Chrome(chrome::Args),
    /// Builds a program, runs it, and shows what its scheduler did, step by step
    Step(step::StepArgs),
    /// Shows a recording step by step, forward and back
    View(step::ViewArgs),
    /// Writes a recording as a page: one file that opens from disk
    Html(html::Args),
    /// Runs the lessons, and writes each as a page, with an index of them
    Gallery(gallery::Args),
    /// Shows a recording in the browser, from a server of its own
    Web(web::Args),
    /// Asks a program that runs under `TRAPLINE=monitor`
    Attach(attach::Args),
}

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Record(args) => record::run(&args),
        Command::Strace(args) => strace::run(&args),
        Command::Dump(args) => dump::run(&args),
        Command::Stats(args) => stats::run(&args),
        Command::Chrome(args) => chrome::run(&args),
        Command::Step(args) => step::step(&args),
        Command::View(args) => step::view(&args),
        Command::Html(args) => html::run(&args),
        Command::Gallery(args) => gallery::run(&args),
        Command::Web(args) => web::run(&args),
        Command::Attach(args) => attach::run(&args),
    };
    match done {
        Ok(code) => code,
        // Whoever read it has read enough.
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("trapline: {failure}");
            ExitCode::FAILURE
        }
    }
}
