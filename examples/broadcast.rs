//! Coroutines that fan out and in: one source, a filter for each pattern, one printer.
//!
//! ```text
//! cargo run --example broadcast -- access.log python ply swig
//! ```
//!
//! ```text
//!                       ┌─> grep("python") ─┐
//!   source ─> broadcast ┼─> grep("ply") ────┼─> printer
//!                       └─> grep("swig") ───┘
//! ```
//!
//! Data is pushed here, where a pipeline of generators pulls: whoever has a line sends it on. A line
//! is printed once for each pattern in it, as in the course.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use trapline::generator::{Coroutine, Mailbox};

/// A coroutine that takes lines.
type Lines = Coroutine<'static, String>;

/// Prints the lines of a file in which a pattern occurs, once for each pattern
#[derive(Parser)]
struct Args {
    /// The file, or `-` for the standard input
    file: PathBuf,

    /// What a line may contain
    #[arg(required = true)]
    patterns: Vec<String>,
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let printer = printer();
    let greps = args.patterns.iter().map(|pattern| grep(pattern.clone(), printer.clone()));
    let target = broadcast(greps.collect());
    let name = args.file.display();
    for line in open(&args.file).map_err(|error| format!("cannot open {name}: {error}"))?.lines() {
        let line = line.map_err(|error| format!("cannot read {name}: {error}"))?;
        if target.send(line).is_err() {
            break;
        }
    }
    target.close();
    Ok(())
}

fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    Ok(if path.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path)?))
    })
}

/// Sends each line to all targets, as long as any of them takes it.
fn broadcast(mut targets: Vec<Lines>) -> Lines {
    Coroutine::new(async move |mailbox: Mailbox<String>| {
        while let Some(line) = mailbox.receive().await {
            targets.retain(|target| target.send(line.clone()).is_ok());
            if targets.is_empty() {
                return;
            }
        }
    })
}

/// Passes on the lines that contain `pattern`, as long as the target takes them.
fn grep(pattern: String, target: Lines) -> Lines {
    Coroutine::new(async move |mailbox: Mailbox<String>| {
        while let Some(line) = mailbox.receive().await {
            if line.contains(&pattern) && target.send(line).is_err() {
                return;
            }
        }
    })
}

/// Prints lines, as long as anybody reads them.
fn printer() -> Lines {
    Coroutine::new(async |mailbox: Mailbox<String>| {
        while let Some(line) = mailbox.receive().await {
            if writeln!(io::stdout(), "{line}").is_err() {
                return;
            }
        }
    })
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return explain(&error),
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("error: {error}")),
    }
}

/// Help is printed as it is; a mistake in the arguments is told in one line.
fn explain(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _closed = error.print();
        return ExitCode::SUCCESS;
    }
    // What is wrong stands before the first empty line, the usage after it.
    let text = error.to_string();
    let what: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    complain(&what.join(" "))
}

fn complain(line: &str) -> ExitCode {
    let _closed = writeln!(io::stderr(), "{line}");
    ExitCode::from(2)
}
