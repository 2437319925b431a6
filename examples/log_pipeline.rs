//! Follows a log file, and prints the lines that have a text in them: `tail -f FILE | grep TEXT`, with
//! tasks for processes and bounded buffers for pipes.
//!
//! ```text
//! cargo run --example log_pipeline -- /var/log/syslog error --lines 10
//! ```
//!
//! The stages are tasks. The first follows the file, the second cuts it into lines, the third greps, and
//! what comes out is printed here. Each waits where the buffer behind it is full, so that a terminal that
//! does not keep up stops the reading, and memory stays as it is. `--pause` makes a slow reader of it.
//!
//! It begins with what is in the file, and ends when `--lines` lines were printed, at the end of the file
//! with `--once`, or on SIGINT; then it prints, to standard error, what each stage has counted. A
//! file that becomes shorter is read again from its beginning.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use futures::{FutureExt, Stream, StreamExt, select_biased, stream};
use signal_hook::consts::SIGINT;
use signal_hook::low_level::pipe;
use trapline::pattern::{PipelineError, pipeline};

/// What is read at once.
const CHUNK: usize = 8 * 1024;

/// How long to leave a file alone that has nothing new.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Follows a file and prints the lines that have a text in them
#[derive(Parser)]
struct Args {
    /// The file
    file: PathBuf,

    /// The text to look for
    text: String,

    /// End after so many lines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    lines: Option<u64>,

    /// End at the end of the file, instead of waiting for more
    #[arg(long)]
    once: bool,

    /// How many items there may be between two stages
    #[arg(long, value_name = "N", default_value = "16")]
    buffer: usize,

    /// Pause so long after each line that is printed
    #[arg(long, value_name = "MILLISECONDS", default_value = "0")]
    pause: u64,
}

/// What has passed each stage.
#[derive(Default)]
struct Counts {
    bytes: Cell<u64>,
    lines: Cell<u64>,
    matches: Cell<u64>,
    printed: Cell<u64>,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return explain(&error),
    };
    let file = match File::open(&args.file) {
        Ok(file) => file,
        Err(error) => return complain(2, &format!("error: {}: {error}", args.file.display())),
    };
    let interrupted = match catch_interrupt() {
        Ok(interrupted) => interrupted,
        Err(error) => return complain(1, &format!("error: {error}")),
    };
    let counts = Rc::new(Counts::default());
    let ended = trapline::block_on(follow_and_grep(&args, file, &interrupted, &counts));
    let Counts { bytes, lines, matches, printed } = &*counts;
    let (bytes, lines, matches) = (bytes.get(), lines.get(), matches.get());
    let printed = printed.get();
    complain(0, &format!("{bytes} bytes, {lines} lines, {matches} matches, {printed} printed"));
    match ended {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => complain(1, &format!("error: {error}")),
        Err(error) => complain(1, &format!("error: {error}")),
    }
}

/// Takes from the end of the pipeline, until there is enough or a signal comes. The stages go with it.
#[trapline::traced]
async fn follow_and_grep(
    args: &Args,
    file: File,
    interrupted: &UnixStream,
    counts: &Rc<Counts>,
) -> Result<(), PipelineError> {
    let (cut, grepped) = (Rc::clone(counts), Rc::clone(counts));
    let text = args.text.clone();
    let mut rest = Vec::new();
    let matches = pipeline(follow(file, args.once, Rc::clone(counts)))
        .try_stage(args.buffer, move |chunk| {
            let lines = chunk.map(|chunk| split_lines(&mut rest, &chunk));
            if let Ok(lines) = &lines {
                add(&cut.lines, lines.len() as u64);
            }
            async { lines }
        })
        .named("lines")
        .stage(args.buffer, move |lines: Vec<String>| {
            let found: Vec<_> = lines.into_iter().filter(|line| line.contains(&text)).collect();
            add(&grepped.matches, found.len() as u64);
            async { found }
        })
        .named("grep");
    let mut matches = matches.fuse();
    let mut signal = trapline::read_wait(interrupted).fuse();
    loop {
        let found = select_biased! {
            _signal = signal => return Ok(()),
            found = matches.next() => found,
        };
        let Some(found) = found else { return Ok(()) };
        for line in found? {
            if !say(&line) {
                return Ok(());
            }
            add(&counts.printed, 1);
            if Some(counts.printed.get()) == args.lines {
                return Ok(());
            }
            if args.pause > 0 {
                select_biased! {
                    _signal = signal => return Ok(()),
                    _now = trapline::sleep(Duration::from_millis(args.pause)).fuse() => {}
                }
            }
        }
    }
}

/// What is in the file, and what is added to it, in chunks. An error is the last one.
fn follow(
    file: File,
    once: bool,
    counts: Rc<Counts>,
) -> impl Stream<Item = io::Result<Vec<u8>>> + 'static {
    stream::unfold(Some((file, false)), move |state| {
        let counts = Rc::clone(&counts);
        async move {
            let (mut file, in_a_line) = state?;
            loop {
                match read_more(&mut file) {
                    // The last line may lack its end.
                    Ok(chunk) if chunk.is_empty() && once => {
                        return in_a_line.then_some((Ok(vec![b'\n']), None));
                    }
                    Ok(chunk) if chunk.is_empty() => drop(trapline::sleep(LOOK_AGAIN).await),
                    Ok(chunk) => {
                        add(&counts.bytes, chunk.len() as u64);
                        let in_a_line = !chunk.ends_with(b"\n");
                        return Some((Ok(chunk), Some((file, in_a_line))));
                    }
                    Err(error) => return Some((Err(error), None)),
                }
            }
        }
    })
}

/// Reads what is there, without waiting. A file that has become shorter begins anew.
fn read_more(file: &mut File) -> io::Result<Vec<u8>> {
    let mut chunk = vec![0; CHUNK];
    let mut length = file.read(&mut chunk)?;
    if length == 0 && file.metadata()?.len() < file.stream_position()? {
        file.seek(SeekFrom::Start(0))?;
        length = file.read(&mut chunk)?;
    }
    chunk.truncate(length);
    Ok(chunk)
}

/// The lines that `chunk` completes. What comes after the last of them stays in `rest`.
fn split_lines(rest: &mut Vec<u8>, chunk: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    for part in chunk.split_inclusive(|byte| *byte == b'\n') {
        rest.extend_from_slice(part);
        if rest.pop_if(|byte| *byte == b'\n').is_some() {
            lines.push(String::from_utf8_lossy(rest).into_owned());
            rest.clear();
        }
    }
    lines
}

fn catch_interrupt() -> io::Result<UnixStream> {
    let (ours, handler) = UnixStream::pair()?;
    pipe::register(SIGINT, handler)?;
    Ok(ours)
}

fn add(count: &Cell<u64>, more: u64) {
    count.set(count.get() + more);
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
    complain(2, &what.join(" "))
}

/// Prints a line. Says whether anybody reads it.
fn say(line: &str) -> bool {
    let mut stdout = io::stdout();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_ok()
}

/// Prints a line to standard error, and gives `status` to exit with.
fn complain(status: u8, line: &str) -> ExitCode {
    let _closed = writeln!(io::stderr(), "{line}");
    ExitCode::from(status)
}
