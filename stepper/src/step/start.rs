//! `trapline step`: builds a program, starts it so that it records itself, and shows the recording, also while it
//! grows.

mod running;

use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use super::terminal::{Ended, Show, show};
use super::view::{self, Looks};
use crate::failure::Failure;
use crate::plain::Plain;
use crate::record::Program;
use running::{Place, Running};

/// So long a program has to begin a run: one that takes longer is hardly going to.
const CONNECT: Duration = Duration::from_secs(2);

/// What ends within this is shown as a whole from the first moment on.
const SHORT: Duration = Duration::from_millis(300);

/// A trace begins with this.
const HEADER: u64 = trapline_trace::format::Header::LENGTH as u64;

const PAUSE: Duration = Duration::from_millis(5);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    program: Program,
    #[command(flatten)]
    looks: Looks,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let target = match args.program.target()? {
        Ok(target) => target,
        Err(code) => return Ok(code),
    };
    // Both are gone with it, whatever comes.
    let place = Place::new()?;
    let command = args.program.recording(&target, &place.trace(), ",output")?;
    let running = Running::start(command, &target.executable, &place.output())?;
    let is_there = || std::fs::metadata(place.trace()).is_ok_and(|file| file.len() >= HEADER);
    if !wait_for(CONNECT, || is_there() || !running.goes_on()) || !is_there() {
        return Err(not_ours(&target.executable, &running));
    }
    if args.looks.dump {
        wait_for(Duration::MAX, || !running.goes_on());
        return view::dump(&place.trace(), Some(place.output()), &args.looks);
    }
    wait_for(SHORT, || !running.goes_on());
    let ended = show(Show {
        file: &place.trace(),
        output: Some(place.output()),
        growth: running.growth(),
        keys: &args.looks.keys()?,
        must_panic: args.looks.panic,
    });
    drop(running);
    drop(place);
    ended.and_then(Ended::conclude)
}

/// Waits until something is so, or for so long. Whether it is so.
fn wait_for(most: Duration, is_so: impl Fn() -> bool) -> bool {
    let mut waited = Duration::ZERO;
    while !is_so() {
        if waited >= most {
            return false;
        }
        pause();
        waited = waited.saturating_add(PAUSE);
    }
    true
}

#[allow(clippy::disallowed_methods, reason = "no loop of ours runs on this thread")]
fn pause() {
    thread::sleep(PAUSE);
}

fn not_ours(executable: &Path, running: &Running) -> Failure {
    let name = executable.display().to_string();
    let what = match running.status() {
        Some(status) => {
            format!("has ended ({status}) without a run of Trapline's that could be recorded")
        }
        None => "has begun no run of Trapline's within 2 s".to_owned(),
    };
    Failure::said(format!(
        "{} {what}. A program that builds its own loop, as the examples pyos1 to pyos8 do, cannot be stepped; \
         the example `course_on_trapline` goes the same way on Trapline's scheduler",
        Plain(&name)
    ))
}
