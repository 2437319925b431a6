//! `trapline step`: starts a program, held before its first step, or joins one that runs, and shows what it does, step
//! by step.

use std::path::PathBuf;
use std::process::ExitCode;

use super::desk::Desk;
use super::view::{self, Looks};
use crate::failure::Failure;
use crate::live::Live;
use crate::record::Program;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    program: Program,
    /// Joins a program that runs under `TRAPLINE=monitor`; it goes on when it is looked at no more
    #[arg(
        long,
        value_name = "SOCKET",
        conflicts_with_all = ["example", "bin", "program", "package", "release", "arguments", "virtual"],
    )]
    attach: Option<PathBuf>,
    /// Runs it on the clock that jumps to the next deadline instead of waiting
    #[arg(long)]
    r#virtual: bool,
    #[command(flatten)]
    looks: Looks,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    // What is wrong with it is said before anything is built.
    args.looks.keys()?;
    if let Some(socket) = &args.attach {
        let desk = Desk::of_program(Live::attach(socket)?, args.looks.dump)?;
        return view::look(desk, &args.looks);
    }
    let live = match Live::start(&args.program, args.r#virtual)? {
        Ok(live) => live,
        Err(code) => return Ok(code),
    };
    let desk = Desk::of_program(live, args.looks.dump)?;
    view::look(desk, &args.looks)
}
