//! `trapline view FILE`: a recording in the terminal; with `--dump` the screen as text, after some keys.

use std::path::PathBuf;
use std::process::ExitCode;

use super::atlas::Atlas;
use super::desk::{Desk, Flow};
use super::terminal::{Growth, Show};
use super::{key, screen, terminal};
use crate::failure::Failure;
use crate::opened;
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The recording
    file: PathBuf,
    /// Presses these keys first: letters as they are, others as <up>, <home>, <enter>, …
    #[arg(long, value_name = "KEYS", default_value = "", allow_hyphen_values = true)]
    keys: String,
    /// Prints the screen as text, and ends
    #[arg(long)]
    dump: bool,
    /// The size of the screen that is printed
    #[arg(long, value_name = "COLUMNSxROWS", default_value = "80x24", value_parser = parse_size, requires = "dump")]
    size: (usize, usize),
    /// For the tests: panics once the terminal is ours
    #[arg(long, hide = true)]
    panic: bool,
    /// The file to which the program has written
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let keys = key::parse(&args.keys).map_err(Failure::said)?;
    if !args.dump {
        return terminal::show(Show {
            file: &args.file,
            output: args.output.clone(),
            growth: Growth::none(),
            keys: &keys,
            must_panic: args.panic,
        });
    }
    let recording = opened::open(&args.file)?;
    let mut desk = Desk::new(Atlas::new(recording), args.output.clone());
    for key in keys {
        if desk.press(key) != Flow::GoOn {
            break;
        }
        desk.settle();
    }
    let mut output = Output::new();
    for line in screen::draw(&desk, args.size.0, args.size.1) {
        output.line(line.text().trim_end())?;
    }
    output.flush()?;
    Ok(opened::conclude(&desk.atlas.recording, &args.file))
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
