//! Puts an echo server under load: draws one of many connections at random, sends a message, reads it
//! back and compares every byte; then the next.
//!
//! ```text
//! cargo run --release --example blaster -- 127.0.0.1:45000 --connections 300 --processes 4
//! ```
//!
//! The first process starts `--processes` workers, which are this program again, and speaks with them in
//! lines: a worker prints `connected`, waits for a line in return so that all begin together, and then
//! prints `done N` now and then, and at the end `latency NANOSECONDS COUNT` for each bar of its histogram and
//! `elapsed NANOSECONDS`; or `failed WHY`.
//!
//! The exit status is 1 if a byte was wrong, or a server could not be reached or hung up.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt::Display;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use futures::FutureExt;
use futures::future::{try_join, try_join_all};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use trapline::net::TcpStream;
use trapline::{JoinHandle, Scheduler, WaitQueue};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// From how many bytes in a row messages are cut. Each is another piece, so that a message that came
/// back on the wrong connection, or twice, shows.
const VARIETY: usize = 4096;

/// No latency is counted as longer than an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// Puts an echo server under load, and tells its speed.
#[derive(Parser)]
struct Args {
    /// The server
    #[arg(default_value = "127.0.0.1:45000")]
    addr: SocketAddr,

    /// How many connections each process makes
    #[arg(long, value_name = "N", default_value = "300")]
    connections: NonZeroUsize,

    /// How many messages each process sends
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    messages: u64,

    /// How many bytes a message has
    #[arg(long, value_name = "BYTES", default_value = "1024")]
    size: NonZeroUsize,

    /// How many processes there are
    #[arg(long, value_name = "N", default_value = "1")]
    processes: NonZeroUsize,

    /// How many messages a process has under way at a time, each on its own share of the connections
    #[arg(long, value_name = "N", default_value = "1")]
    in_flight: NonZeroUsize,

    /// Where the random numbers start
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// The number of this worker
    #[arg(long, hide = true)]
    worker: Option<u64>,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) if args.in_flight > args.connections => {
            return complain(2, "error: a message in flight needs a connection of its own");
        }
        Ok(args) => args,
        Err(error) => return explain(&error),
    };
    match args.worker {
        None => be_foreman(&args),
        Some(number) => be_worker(&args, number),
    }
}

// The foreman.

fn be_foreman(args: &Args) -> ExitCode {
    match trapline::block_on(lead(args)) {
        Ok(Ok(score)) => {
            score.print(args);
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => complain(1, &format!("error: {error}")),
        Err(error) => complain(1, &format!("error: {error}")),
    }
}

/// Starts the workers, one task for each, and adds up what they tell.
#[trapline::traced]
async fn lead(args: &Args) -> Outcome<Score> {
    let processes = args.processes.get();
    let hall = Rc::new(Hall {
        absent: Cell::new(processes),
        start: WaitQueue::labelled("all are connected", 0),
        progress: progress_bar(args)?,
    });
    let mut workers = Vec::new();
    for number in 0..processes {
        let worker = Worker::start(number)?;
        workers.push(trapline::spawn(listen(Rc::clone(&hall), worker)).await);
    }
    let scores = try_join_all(workers.into_iter().map(result)).await;
    hall.progress.finish_and_clear();
    let mut total = Score::new()?;
    for score in scores? {
        total.latencies.add(score.latencies)?;
        total.elapsed = total.elapsed.max(score.elapsed);
    }
    Ok(total)
}

/// Where the tasks of the foreman meet.
struct Hall {
    /// How many workers are not connected yet.
    absent: Cell<usize>,
    start: WaitQueue,
    progress: ProgressBar,
}

impl Hall {
    /// Waits until all workers are connected.
    #[trapline::traced]
    async fn wait_for_all(&self) {
        self.absent.set(self.absent.get() - 1);
        if self.absent.get() == 0 {
            self.start.wake_all();
        } else {
            self.start.park().await;
        }
    }
}

/// Follows a worker from its start to its end.
#[trapline::traced]
async fn listen(hall: Rc<Hall>, mut worker: Worker) -> Outcome<Score> {
    let mut score = Score::new()?;
    loop {
        let line = worker.next_line().await?.ok_or("a worker went away")?;
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match word {
            "connected" => {
                hall.wait_for_all().await;
                worker.orders.write_all(b"go\n")?;
            }
            "done" => hall.progress.inc(rest.parse()?),
            "latency" => {
                let (nanos, count) = rest.split_once(' ').ok_or("a latency without a count")?;
                score.latencies.record_n(nanos.parse()?, count.parse()?)?;
            }
            "elapsed" => {
                score.elapsed = Duration::from_nanos(rest.parse()?);
                return Ok(score);
            }
            "failed" => return Err(rest.into()),
            _ => return Err(format!("a worker said {line:?}").into()),
        }
    }
}

/// A worker, as the foreman sees it.
struct Worker {
    child: Child,
    orders: ChildStdin,
    output: ChildStdout,
    /// What it has printed since the last line that was taken.
    unread: Vec<u8>,
}

impl Worker {
    fn start(number: usize) -> Outcome<Worker> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(std::env::args_os().skip(1))
            .args(["--worker", &number.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().ok_or("a worker has no standard input")?;
        let output = child.stdout.take().ok_or("a worker has no standard output")?;
        Ok(Worker { child, orders, output, unread: Vec::new() })
    }

    /// The next line it prints, or `None` at the end.
    #[trapline::traced]
    async fn next_line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.unread.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()));
            }
            trapline::read_wait(&self.output).await?;
            let mut part = [0; 4096];
            match self.output.read(&mut part)? {
                0 => return Ok(None),
                received => self.unread.extend_from_slice(&part[..received]),
            }
        }
    }
}

impl Drop for Worker {
    /// A worker that has told all is at its end; one that has not has nobody left to tell.
    fn drop(&mut self) {
        let _ended_before = self.child.kill();
        let _status = self.child.wait();
    }
}

fn progress_bar(args: &Args) -> Outcome<ProgressBar> {
    let messages = args.messages.saturating_mul(args.processes.get() as u64);
    // It hides itself where there is no terminal.
    let bar = ProgressBar::new(messages);
    let template = "{wide_bar} {human_pos} of {human_len} messages, {eta} left";
    bar.set_style(ProgressStyle::with_template(template)?);
    Ok(bar)
}

/// What came of the load, or of one worker's part in it.
struct Score {
    latencies: Histogram<u64>,
    /// From the common start until the slowest worker's end.
    elapsed: Duration,
}

impl Score {
    fn new() -> Outcome<Score> {
        let latencies = Histogram::new_with_bounds(1, LONGEST_NS, 3)?;
        Ok(Score { latencies, elapsed: Duration::ZERO })
    }

    fn print(&self, args: &Args) {
        let Args { size, connections, processes, .. } = args;
        let (messages, elapsed) = (self.latencies.len(), self.elapsed);
        let per_second = messages as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        let at = |quantile| Duration::from_nanos(self.latencies.value_at_quantile(quantile));
        say(format_args!(
            "{messages} messages of {size} bytes, {processes} processes with {connections} connections each"
        ));
        say(format_args!("{per_second:.0} messages/s ({elapsed:.3?} in all)"));
        say(format_args!(
            "latency: p50 {:.1?}, p90 {:.1?}, p99 {:.1?}, p99.9 {:.1?}, max {:.1?}",
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            at(1.0)
        ));
    }
}

// A worker.

fn be_worker(args: &Args, number: u64) -> ExitCode {
    raise_descriptor_limit();
    let mut scheduler = Scheduler::builder().seed(args.seed.wrapping_add(number)).build();
    let why: Box<dyn Error> = match trapline::trace::block_on(&mut scheduler, work(args)) {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(error)) => error,
        Err(error) => error.into(),
    };
    say(format_args!("failed {why}"));
    ExitCode::FAILURE
}

/// Connects, waits for the word, sends all messages, and tells how it went.
#[trapline::traced]
async fn work(args: &Args) -> Outcome<()> {
    let shares = connect(args).await?;
    tell("connected")?;
    wait_for_word().await?;

    let load = Rc::new(Load::new(args)?);
    let start = trapline::now().await;
    let mut lanes = Vec::new();
    for (number, share) in shares.into_iter().enumerate() {
        let messages = load.messages_of(number, args.in_flight.get());
        lanes.push(trapline::spawn(blast(Rc::clone(&load), share, messages)).await);
    }
    try_join_all(lanes.into_iter().map(result)).await?;
    let elapsed = trapline::now().await - start;

    for bar in load.latencies.borrow().iter_recorded() {
        tell(format_args!("latency {} {}", bar.value_iterated_to(), bar.count_at_value()))?;
    }
    tell(format_args!("elapsed {}", elapsed.as_nanos()))
}

/// Makes the connections, shared out among the messages in flight.
#[trapline::traced]
async fn connect(args: &Args) -> Outcome<Vec<Vec<TcpStream>>> {
    let mut shares: Vec<_> = (0..args.in_flight.get()).map(|_| Vec::new()).collect();
    for number in 0..args.connections.get() {
        let stream = TcpStream::connect(args.addr)
            .await
            .map_err(|error| format!("cannot connect to {}: {error}", args.addr))?;
        stream.set_nodelay(true)?;
        shares[number % args.in_flight].push(stream);
    }
    Ok(shares)
}

/// Waits for the foreman's word. If he is gone, there is nobody to work for.
#[trapline::traced]
async fn wait_for_word() -> Outcome<()> {
    let mut stdin = io::stdin();
    trapline::read_wait(&stdin).await?;
    match stdin.read(&mut [0; 16])? {
        0 => Err("the foreman went away".into()),
        _ => Ok(()),
    }
}

/// What is to be sent.
struct Load {
    messages: u64,
    size: usize,
    /// What messages are cut from.
    stuff: Vec<u8>,
    /// In nanoseconds, of each message that has come back.
    latencies: RefCell<Histogram<u64>>,
    /// After how many the foreman is told.
    report_every: u64,
}

impl Load {
    fn new(args: &Args) -> Outcome<Load> {
        let size = args.size.get();
        let stuff = (0..size + VARIETY).map(|_| trapline::random() as u8).collect();
        let messages = args.messages;
        let latencies = RefCell::new(Score::new()?.latencies);
        let report_every = (messages / 100).max(1);
        Ok(Load { messages, size, stuff, latencies, report_every })
    }

    /// How many of the messages one lane of so many sends.
    fn messages_of(&self, lane: usize, lanes: usize) -> u64 {
        let (lane, lanes) = (lane as u64, lanes as u64);
        self.messages / lanes + u64::from(lane < self.messages % lanes)
    }

    fn message(&self) -> &[u8] {
        let start = random_below(VARIETY);
        &self.stuff[start..start + self.size]
    }

    fn note(&self, latency: Duration) -> Outcome<()> {
        let mut latencies = self.latencies.borrow_mut();
        latencies.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(LONGEST_NS));
        if latencies.len().is_multiple_of(self.report_every) {
            tell(format_args!("done {}", self.report_every))?;
        }
        Ok(())
    }
}

/// Sends so many messages, one after the other, each on a connection drawn at random.
#[trapline::traced]
async fn blast(load: Rc<Load>, connections: Vec<TcpStream>, messages: u64) -> Outcome<()> {
    let mut echo = vec![0; load.size];
    for _ in 0..messages {
        let connection = &connections[random_below(connections.len())];
        let message = load.message();
        let sent = trapline::now().await;
        // At once, since a message may be longer than what the server holds before it sends.
        try_join(connection.write_all(message), connection.read_exact(&mut echo))
            .await
            .map_err(|error| explain_loss(&error))?;
        let latency = trapline::now().await - sent;
        compare(message, &echo)?;
        load.note(latency)?;
    }
    Ok(())
}

fn compare(message: &[u8], echo: &[u8]) -> Outcome<()> {
    if message == echo {
        return Ok(());
    }
    let at = message.iter().zip(echo).position(|(sent, received)| sent != received);
    let at = at.unwrap_or_default();
    Err(format!("byte {at} came back as {:#04x}, not {:#04x}", echo[at], message[at]).into())
}

fn explain_loss(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::UnexpectedEof => "the server hung up".to_owned(),
        _ => format!("a connection was lost: {error}"),
    }
}

// What both need.

/// What a task gives, be it a value, an error or a panic.
fn result<T: 'static>(task: JoinHandle<Outcome<T>>) -> impl Future<Output = Outcome<T>> {
    task.map(|joined| joined.unwrap_or_else(|error| Err(error.into())))
}

fn random_below(bound: usize) -> usize {
    (trapline::random() % bound as u64) as usize
}

/// Takes as many descriptors as we may have. Where that is refused, we have fewer.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _refused = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
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

/// Prints a line that the foreman needs.
fn tell(line: impl Display) -> Outcome<()> {
    writeln!(io::stdout(), "{line}")?;
    Ok(())
}

/// Prints a line; it does no harm if nobody reads it.
fn say(line: impl Display) {
    let _closed = writeln!(io::stdout(), "{line}");
}

/// Prints a line to standard error, and gives `status` to exit with.
fn complain(status: u8, line: &str) -> ExitCode {
    let _closed = writeln!(io::stderr(), "{line}");
    ExitCode::from(status)
}
