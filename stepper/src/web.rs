//! `trapline web`: the page, served by a scheduler of Trapline's to browsers of this machine. What it shows is a
//! recording, or a program that runs and takes orders.

mod again;
mod body;
mod guard;
mod orders;
mod patience;
mod run;
mod server;
mod site;

use std::fs::File;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use trapline_trace::format::Header;

use crate::failure::Failure;
use crate::live::{Live, wait_for};
use crate::plain::Plain;
use crate::record::Program;
use run::Run;
use server::Server;

/// So long a program has to come to where it is held.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
#[command(
    override_usage = "trapline web [OPTIONS] FILE\n       trapline web [OPTIONS] [--example NAME | --bin NAME | PROGRAM] [-- ARGUMENTS]\n       trapline web [OPTIONS] --attach SOCKET"
)]
pub(crate) struct Args {
    #[command(flatten)]
    program: Program,
    /// Joins a program that runs under `TRAPLINE=monitor`
    #[arg(long, value_name = "SOCKET", conflicts_with_all = ["example", "bin", "program", "package", "release", "arguments"])]
    attach: Option<PathBuf>,
    /// Runs the program on a clock that jumps to the next deadline where nobody is ready
    #[arg(long = "virtual", conflicts_with = "attach")]
    is_virtual: bool,
    /// The file to which the program of a recording has written
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    serving: Serving,
}

#[derive(Debug, clap::Args)]
struct Serving {
    /// The port; a free one, if it is 0
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// How long a client may take nothing of what is there for it, and may take to ask
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = parse_seconds, hide = true)]
    patience: Duration,
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is no number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if let Some(socket) = &args.attach {
        return serve(Run::of_live(1, Live::attach(socket)?)?, socket, &args.serving);
    }
    if let Some(file) = args.program.file().filter(|file| is_to_be_read(file)) {
        check(file)?;
        return serve(Run::new(1, file, args.output.as_deref(), None)?, file, &args.serving);
    }
    let live = match Live::start(&args.program, args.is_virtual)? {
        Ok(live) => live,
        Err(code) => return Ok(code),
    };
    // It has been told to hold before its first step, and is about to.
    wait_for(PATIENCE, || live.status().is_held() || !live.goes_on());
    let name = live.name().to_owned();
    serve(Run::of_live(1, live)?, &name, &args.serving)
}

fn serve(run: Run, shown: &Path, serving: &Serving) -> Result<ExitCode, Failure> {
    let title =
        shown.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let server = Server::new(serving.port, serving.patience)?;
    let served = trapline::block_on(async { server.serve(run, &title).await });
    let error = match served {
        Ok(Ok(())) => return Ok(ExitCode::SUCCESS),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    Err(Failure::said(format!("cannot serve: {error}")))
}

/// A file that begins as a recording does is one; and what cannot be run is to be one.
fn is_to_be_read(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let mut head = [0; 8];
    let is_recording = file.read_at(&mut head, 0).is_ok() && head == *b"TRAPLINE";
    let can_run = file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0);
    is_recording || !can_run
}

/// Whether it is a recording that can be read.
fn check(path: &Path) -> Result<(), Failure> {
    let mut head = [0; 64];
    let file = File::open(path).map_err(Failure::at(path))?;
    let length = file.read_at(&mut head, 0).map_err(Failure::at(path))?;
    let shown = path.display().to_string();
    Header::read(&head[..length])
        .map_err(|error| Failure::said(format!("{}: {error}", Plain(&shown))))?;
    Ok(())
}
