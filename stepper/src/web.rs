//! `trapline web FILE`: the page, served by a scheduler of Trapline's to browsers of this machine.

mod body;
mod guard;
mod patience;
mod server;
mod site;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use trapline_trace::format::Header;

use crate::failure::Failure;
use crate::plain::Plain;
use server::Server;
use site::Shown;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The recording
    file: PathBuf,
    /// The file to which the program has written
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
    let trace = File::open(&args.file).map_err(Failure::at(&args.file))?;
    check(&args.file, &trace)?;
    let output = match &args.output {
        Some(path) => Some(File::open(path).map_err(Failure::at(path))?.into()),
        None => None,
    };
    let title =
        args.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    serve(Shown { title, trace: trace.into(), output }, &args.serving)
}

fn serve(shown: Shown, serving: &Serving) -> Result<ExitCode, Failure> {
    let server = Server { port: serving.port, patience: serving.patience };
    let served = trapline::block_on(async { server.serve(shown).await });
    let error = match served {
        Ok(Err(error)) => error.to_string(),
        Ok(Ok(never)) => match never {},
        Err(error) => error.to_string(),
    };
    Err(Failure::said(format!("cannot serve: {error}")))
}

/// Whether it is a recording.
fn check(path: &Path, file: &File) -> Result<(), Failure> {
    let mut head = [0; 64];
    let length = file.read_at(&mut head, 0).map_err(Failure::at(path))?;
    let shown = path.display().to_string();
    Header::read(&head[..length])
        .map_err(|error| Failure::said(format!("{}: {error}", Plain(&shown))))?;
    Ok(())
}
