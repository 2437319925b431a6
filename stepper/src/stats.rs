//! `trapline stats FILE`: counts and sums of a recording, for people or, with `--json`, for programs.

mod collect;
mod histogram;
mod model;
mod print;
mod warnings;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::failure::Failure;
use crate::opened;
use crate::output::{self, Output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The recording
    file: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let recording = opened::open(&args.file)?;
    let stats = collect::collect(&recording)?;
    let mut output = Output::new();
    if args.json {
        serde_json::to_writer_pretty(output.writer(), &stats)
            .map_err(|error| Failure::Output(error.into()))?;
        output.line("")?;
    } else {
        output.write(&print::text(&stats, output::is_colourful()))?;
    }
    output.flush()?;
    Ok(opened::conclude(&recording, &args.file))
}
