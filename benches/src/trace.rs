//! `trace`: what it costs to be listened to, and to read what came of it.
//!
//! What a yield costs with the feature compiled in and nobody listening is too little for a clock:
//! `benches/yield_instructions` counts it.

use std::cell::RefCell;
use std::env;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::Duration;

use crate::client::Client;
use crate::cpu::{Cores, Place};
use crate::echo::serving;
use crate::harness::{Figure, Harness, Result, Round, Runtime};
use crate::memory;
use crate::on_trapline;
use crate::process::Server;

const CONNECTIONS: usize = 50;

pub(crate) fn run(harness: &Harness) -> Result<()> {
    let cores = Cores::allowed()?;
    let directory = Directory::new()?;
    let trace = directory.0.join("echo.trace");
    let socket = directory.0.join("monitor");
    let (record, monitor) =
        (format!("record:{}", trace.display()), format!("monitor:{}", socket.display()));
    listened_to(harness, &cores, ("recorded", &record), 1.05, Some(&trace))?;
    listened_to(harness, &cores, ("monitor", &monitor), 1.10, None)?;
    cores.pin(Place::Anywhere)?;
    read_again(harness, &directory.0.join("yields.trace"))
}

/// What an echoed message costs the loop's thread of a server that is listened to, beside the same
/// program alone. The thread that writes, or waits for a client, has the other core; with it, what
/// both cost together is the second figure. The third is the file.
fn listened_to(
    harness: &Harness,
    cores: &Cores,
    (how, word): (&str, &str),
    at_most: f64,
    trace: Option<&Path>,
) -> Result<()> {
    let requests = harness.count(40_000, 2 * CONNECTIONS as u64);
    let (listened_to, alone) = (Echo::start(cores, Some(word))?, Echo::start(cores, None)?);
    let target = [(Runtime::Plain, at_most)];
    let of_loop: Clock = Server::main_thread_time;
    for (threads, clock, targets) in
        [("loop", of_loop, target.as_slice()), ("all", Server::cpu_time, &[])]
    {
        let param = format!("echo={how},threads={threads}");
        let figure =
            Figure { bench: "trace", param: &param, unit: "ns", targets, ..Figure::default() };
        let contenders = &mut [
            (Runtime::Trapline, listened_to.round(requests, clock)),
            (Runtime::Plain, alone.round(requests, clock)),
        ];
        harness.compare(&figure, 15, contenders)?;
    }
    let Some(trace) = trace else { return Ok(()) };
    let figure = Figure {
        bench: "trace",
        param: "file_per_message",
        unit: "bytes",
        limit: Some(40.0),
        ..Figure::default()
    };
    let length = || settled_length(trace);
    let round = || {
        let before = length()?;
        listened_to.client.borrow_mut().run(requests)?;
        Ok((length()? - before) / requests as f64)
    };
    harness.compare(&figure, 3, &mut [(Runtime::Trapline, Box::new(round))])
}

/// How long the file is, once all that has happened is in it.
#[allow(clippy::disallowed_methods, reason = "there is no loop in this process")]
fn settled_length(trace: &Path) -> Result<f64> {
    // It is written to every 20 ms.
    thread::sleep(Duration::from_millis(200));
    Ok(fs::metadata(trace)?.len() as f64)
}

/// What reads a server's CPU time.
type Clock = fn(&Server) -> Result<f64>;

/// A server, and a client that is connected to it.
struct Echo {
    server: Server,
    client: RefCell<Client>,
}

impl Echo {
    /// One that is listened to as `word` says.
    fn start(cores: &Cores, word: Option<&str>) -> Result<Echo> {
        let mut command = serving(Runtime::Trapline)?;
        command.arg("127.0.0.1:0").env_remove("TRAPLINE");
        if let Some(word) = word {
            command.env("TRAPLINE", word);
        }
        let server = Server::start(&mut command, cores, Place::First)?;
        let mut client = Client::connect(server.addr, CONNECTIONS)?;
        // Once it has answered, all its threads are there.
        client.run(CONNECTIONS as u64)?;
        server.move_helpers(cores)?;
        Ok(Echo { server, client: RefCell::new(client) })
    }

    fn round(&self, requests: u64, clock: Clock) -> Box<dyn FnMut() -> Result<f64> + '_> {
        Box::new(move || {
            let before = clock(&self.server)?;
            self.client.borrow_mut().run(requests)?;
            Ok((clock(&self.server)? - before) / requests as f64)
        })
    }
}

/// What it takes to read a recording of a million steps: all of it once, and any step of it then.
fn read_again(harness: &Harness, file: &Path) -> Result<()> {
    let steps = harness.count(1_000_000, 10_000);
    on_trapline::record_yields(file, 100, steps / 100)?;
    let length = fs::metadata(file)?.len() as f64;
    let read = memory::of_index(file)?;
    let figures = [
        ("index", "ms", 1_000.0, read.index_ms),
        ("jump_at_worst", "ms", 30.0, read.worst_jump_ms),
        ("memory_per_file", "bytes", 16.0, read.live_bytes / length),
    ];
    for (what, unit, limit, value) in figures {
        // What it takes to begin with is no matter of the file.
        let limit = (steps >= 1_000_000).then_some(limit);
        let param = format!("steps={steps},{what}");
        let figure = Figure { bench: "trace", param: &param, unit, limit, ..Figure::default() };
        let contender: Round<'_> = (Runtime::Trapline, Box::new(move || Ok(value)));
        harness.compare(&figure, 1, &mut [contender])?;
    }
    Ok(())
}

/// A directory that is removed with all that is in it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Result<Directory> {
        let path = env::temp_dir().join(format!("trapline-benches-{}", process::id()));
        // The monitor's socket wants one that nobody else enters.
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Directory(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left in the directory for what is temporary is nobody's loss.
        let _ = fs::remove_dir_all(&self.0);
    }
}
