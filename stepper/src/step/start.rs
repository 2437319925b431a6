//! `trapline step`: builds a program, starts it so that it records itself, and shows the recording, also while it
//! grows.

use std::process::ExitCode;
use std::time::Duration;

use super::terminal::{Ended, Show, show};
use super::view::{self, Looks};
use crate::failure::Failure;
use crate::live::{Live, wait_for};
use crate::record::Program;

/// What ends within this is shown as a whole from the first moment on.
const SHORT: Duration = Duration::from_millis(300);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    program: Program,
    #[command(flatten)]
    looks: Looks,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let live = match Live::start(&args.program, false)? {
        Ok(live) => live,
        Err(code) => return Ok(code),
    };
    live.order("go");
    let output = live.output().map(ToOwned::to_owned);
    if args.looks.dump {
        wait_for(Duration::MAX, || !live.goes_on());
        return view::dump(live.trace(), output, &args.looks);
    }
    wait_for(SHORT, || !live.goes_on());
    let ended = show(Show {
        file: live.trace(),
        output,
        growth: live.growth(),
        keys: &args.looks.keys()?,
        must_panic: args.looks.panic,
    });
    drop(live);
    ended.and_then(Ended::conclude)
}
