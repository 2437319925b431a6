//! `trapline view FILE`: a recording in the terminal; with `--dump` the screen as text, after some keys.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::atlas::Atlas;
use super::desk::{Desk, Flow};
use super::key::{self, Key};
use super::screen;
use super::terminal::{Ended, Show, show};
use crate::failure::Failure;
use crate::live::Growth;
use crate::opened;
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The recording
    file: PathBuf,
    #[command(flatten)]
    looks: Looks,
    /// The file to which the program has written
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// How it is looked at.
#[derive(Debug, clap::Args)]
pub(super) struct Looks {
    /// Presses these keys first: letters as they are, others as <up>, <home>, <enter>, …
    #[arg(long, value_name = "KEYS", default_value = "", allow_hyphen_values = true)]
    keys: String,
    /// Prints the screen as text, and ends
    #[arg(long)]
    pub(super) dump: bool,
    /// The size of the screen that is printed
    #[arg(long, value_name = "COLUMNSxROWS", default_value = "80x24", value_parser = parse_size)]
    size: (usize, usize),
    /// For the tests: panics once the terminal is ours
    #[arg(long, hide = true)]
    pub(super) panic: bool,
}

impl Looks {
    pub(super) fn keys(&self) -> Result<Vec<Key>, Failure> {
        key::parse(&self.keys).map_err(Failure::said)
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if args.looks.dump {
        return dump(&args.file, args.output.clone(), &args.looks);
    }
    let ended = show(Show {
        file: &args.file,
        output: args.output.clone(),
        growth: Growth::none(),
        keys: &args.looks.keys()?,
        must_panic: args.looks.panic,
    });
    ended.and_then(Ended::conclude)
}

/// Prints what the terminal would show.
pub(super) fn dump(
    file: &Path,
    output: Option<PathBuf>,
    looks: &Looks,
) -> Result<ExitCode, Failure> {
    let keys = looks.keys()?;
    let mut desk = Desk::new(Atlas::new(opened::open(file)?), output);
    for key in keys {
        if desk.press(key) != Flow::GoOn {
            break;
        }
        desk.settle();
    }
    let mut out = Output::new();
    for line in screen::draw(&desk, looks.size.0, looks.size.1) {
        out.line(line.text().trim_end())?;
    }
    out.flush()?;
    Ok(opened::conclude(&desk.atlas.recording, file))
}

fn parse_size(text: &str) -> Result<(usize, usize), String> {
    let sizes = text.split_once('x').and_then(|(columns, rows)| {
        Some((columns.parse::<u16>().ok()?, rows.parse::<u16>().ok()?))
    });
    match sizes {
        Some((columns @ 1..=1000, rows @ 1..=1000)) => Ok((columns.into(), rows.into())),
        _ => Err("a size is like 80x24, and each number at most 1000".to_owned()),
    }
}
