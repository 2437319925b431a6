//! `trapline view FILE`: a recording in the terminal; with `--dump` the screen as text, after some keys.

use std::path::PathBuf;
use std::process::ExitCode;

use super::again::press_all;
use super::desk::Desk;
use super::key::{self, Key};
use super::screen;
use super::terminal::{Ended, Show, show};
use crate::failure::Failure;
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
    let desk = Desk::of_file(&args.file, args.output.clone(), args.looks.dump)?;
    look(desk, &args.looks)
}

/// Shows what is on a desk, or prints it.
pub(super) fn look(desk: Desk, looks: &Looks) -> Result<ExitCode, Failure> {
    let keys = looks.keys()?;
    if looks.dump {
        return print(desk, &keys, looks.size);
    }
    show(Show { desk, keys: &keys, must_panic: looks.panic }).and_then(Ended::conclude)
}

/// Prints what the terminal would show.
fn print(
    mut desk: Desk,
    keys: &[Key],
    (columns, rows): (usize, usize),
) -> Result<ExitCode, Failure> {
    press_all(&mut desk, keys)?;
    let mut out = Output::new();
    for line in screen::draw(&desk, columns, rows) {
        out.line(line.text().trim_end())?;
    }
    out.flush()?;
    Ok(match desk.is_loading {
        true => ExitCode::SUCCESS,
        false => opened::conclude(&desk.atlas.recording, desk.file()),
    })
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
