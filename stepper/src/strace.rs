//! `trapline strace FILE`.

use std::path::PathBuf;
use std::process::ExitCode;

use trapline_trace::strace::Printer;

use crate::failure::Failure;
use crate::opened;
use crate::output::Output;

/// Lines are written once so many bytes of them have gathered.
const PIECE: usize = 32 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The recording
    file: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let recording = opened::open(&args.file)?;
    let (mut printer, mut lines, mut output) = (Printer::new(), String::new(), Output::new());
    for entry in recording.records() {
        printer.record(&entry.record, &mut lines);
        if lines.len() >= PIECE {
            output.write(&lines)?;
            lines.clear();
        }
    }
    output.write(&lines)?;
    output.flush()?;
    Ok(opened::conclude(&recording, &args.file))
}
