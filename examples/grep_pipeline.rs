//! The course's pipeline, `tail -f FILE | grep PATTERN`, built out of generators.
//!
//! ```text
//! cargo run --example grep_pipeline -- access.log python
//! ```
//!
//! Each stage is a generator over the one before. `follow` sleeps where there is nothing to read, so
//! all of them are driven as streams, by one task: when the printer asks for a line, `grep` asks
//! `follow`, and the task sleeps in there.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use futures::{Stream, StreamExt};
use trapline::generator::{Generator, GeneratorStream};

/// How much is read at a time.
const CHUNK_BYTES: u64 = 64 * 1024;

/// Prints the lines with a pattern in them that are added to a file
#[derive(Parser)]
struct Args {
    /// The file
    file: PathBuf,

    /// What a line must contain
    pattern: String,

    /// Look at the lines that are there, too
    #[arg(long)]
    from_start: bool,

    /// Stop after so many lines were printed
    #[arg(long, value_name = "N")]
    lines: Option<usize>,

    /// How long to wait where nothing was added
    #[arg(long, value_name = "MS", default_value_t = 100)]
    pause_ms: u64,
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let lines = follow(args)?;
    let found = grep(&args.pattern, lines);
    let few = found.take(args.lines.unwrap_or(usize::MAX));
    trapline::block_on(print(few))?
}

/// Those of `lines` that contain `pattern`.
fn grep<'a>(
    pattern: &'a str,
    mut lines: impl Stream<Item = io::Result<String>> + Unpin + 'a,
) -> GeneratorStream<'a, io::Result<String>> {
    let found = Generator::new(async move |y| {
        while let Some(line) = lines.next().await {
            if line.as_ref().map_or(true, |line| line.contains(pattern)) {
                y.yield_(line).await;
            }
        }
    });
    found.into_stream()
}

#[trapline::traced]
async fn print(
    mut lines: impl Stream<Item = io::Result<String>> + Unpin,
) -> Result<(), Box<dyn Error>> {
    while let Some(line) = lines.next().await {
        if writeln!(io::stdout(), "{}", line?).is_err() {
            break; // Nobody reads it any more.
        }
    }
    Ok(())
}

/// The lines that are added to a file, for ever.
fn follow(args: &Args) -> Result<GeneratorStream<'static, io::Result<String>>, Box<dyn Error>> {
    let cannot = |error| format!("cannot follow {}: {error}", args.file.display());
    let mut file = File::open(&args.file).map_err(cannot)?;
    if !file.metadata().map_err(cannot)?.is_file() {
        return Err(
            format!("cannot follow {}: it is not a regular file", args.file.display()).into()
        );
    }
    let start = if args.from_start { SeekFrom::Start(0) } else { SeekFrom::End(0) };
    let mut position = file.seek(start).map_err(cannot)?;
    let pause = Duration::from_millis(args.pause_ms);
    let lines = Generator::new(async move |y| {
        let mut pending = Vec::new();
        loop {
            match read_more(&mut file, &mut position, &mut pending) {
                Ok(true) => {}
                Ok(false) => drop(trapline::sleep(pause).await),
                Err(error) => return y.yield_(Err(error)).await,
            }
            let mut rest = 0;
            while let Some(length) = pending[rest..].iter().position(|&byte| byte == b'\n') {
                let line = String::from_utf8_lossy(&pending[rest..rest + length]).into_owned();
                rest += length + 1;
                y.yield_(Ok(line)).await;
            }
            pending.drain(..rest);
        }
    });
    Ok(lines.into_stream())
}

/// Reads what has been added, some of it. A file that has become shorter is read from its start.
/// Whether there was anything.
fn read_more(file: &mut File, position: &mut u64, pending: &mut Vec<u8>) -> io::Result<bool> {
    if file.metadata()?.len() < *position {
        *position = file.seek(SeekFrom::Start(0))?;
        pending.clear();
    }
    // A regular file does not block, so this needs no system call of ours.
    let count = Read::by_ref(file).take(CHUNK_BYTES).read_to_end(pending)?;
    *position += count as u64;
    Ok(count > 0)
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return explain(&error),
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("error: {error}")),
    }
}

/// Help is printed as it is; a mistake in the arguments is told in one line.
fn explain(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _closed = error.print();
        return ExitCode::SUCCESS;
    }
    // What is wrong stands before the first empty line, the usage after it.
    let text = error.to_string();
    let what: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    complain(&what.join(" "))
}

fn complain(line: &str) -> ExitCode {
    let _closed = writeln!(io::stderr(), "{line}");
    ExitCode::from(2)
}
