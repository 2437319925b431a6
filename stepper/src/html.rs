//! `trapline html FILE -o OUT`: viewer, recording and sources in one file, which opens from disk and can be mailed.

pub(crate) mod bundle;
mod cut;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use trapline_trace::Recording;

use crate::failure::Failure;
use crate::opened;
use bundle::Page;
use cut::Steps;

/// Who gets a page by mail does not want more.
const LARGEST: usize = 20_000_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The recording
    file: PathBuf,
    /// Where to write
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Only these steps, and the state before them
    #[arg(long, value_name = "A..B")]
    steps: Option<Steps>,
    /// What the program wrote to its standard output and error, as a file
    #[arg(long, value_name = "FILE")]
    program_output: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let recording = opened::open(&args.file)?;
    let trace = match args.steps {
        Some(steps) => cut::cut(&recording, steps)?,
        // As it is: what cannot be read of it, the page passes over, too.
        None => fs::read(&args.file).map_err(Failure::at(&args.file))?,
    };
    let output = match &args.program_output {
        Some(path) => Some(fs::read(path).map_err(Failure::at(path))?),
        None => None,
    };
    let title = title(&recording, args);
    let page = Page { title: &title, trace: Some(&trace), output: output.as_deref() }.html();
    if page.len() > LARGEST {
        let (first, last) =
            (recording.first_step().unwrap_or(0), recording.last_step().unwrap_or(0));
        return Err(Failure::said(format!(
            "the page would have {} MB, more than {} MB: choose some of its steps, {first}..{last}, by --steps A..B",
            page.len() / 1_000_000,
            LARGEST / 1_000_000
        )));
    }
    fs::write(&args.output, page).map_err(Failure::at(&args.output))?;
    Ok(opened::conclude(&recording, &args.file))
}

/// The name of the program, or of the file.
fn title(recording: &Recording, args: &Args) -> String {
    let file = || args.file.file_name().map(|name| name.to_string_lossy().into_owned());
    let program = recording.property("program").and_then(|name| name.rsplit('/').next());
    program.map(str::to_owned).or_else(file).unwrap_or_default()
}
