//! `slide`: three blasters of 300 connections each against the echo servers, as in the course.

use std::path::PathBuf;
use std::process::Command;

use crate::cpu::{Cores, Place};
use crate::echo::{allow_many_descriptors, serving};
use crate::harness::{Figure, Harness, Result, Round, Runtime, check};
use crate::process::{self, Server};

const PROCESSES: u64 = 3;
const CONNECTIONS: u64 = 300;

pub(crate) fn run(harness: &Harness) -> Result<()> {
    allow_many_descriptors()?;
    let cores = Cores::allowed()?;
    let echo_server = process::built("examples/echo_server")?;
    let echo_threads = process::built("examples/echo_threads")?;
    let load = Load {
        blaster: process::built("examples/blaster")?,
        connections: harness.count(CONNECTIONS, 10),
        messages: harness.count(100_000, 500),
    };
    for (param, place, blasters, targets) in [
        ("pinned", Place::First, Place::Last, [(Runtime::Threads, 2.0 / 3.0)].as_slice()),
        ("unpinned", Place::Anywhere, Place::Anywhere, [].as_slice()),
    ] {
        let on = |runtime, mut command: Command| -> Result<Round<'_>> {
            let server = Server::start(command.arg("127.0.0.1:0"), &cores, place)?;
            let load = &load;
            let round = move || {
                cores.pin(blasters)?;
                let before = server.cpu_time()?;
                load.put_on(&server)?;
                Ok((server.cpu_time()? - before) / (PROCESSES * load.messages) as f64)
            };
            Ok((runtime, Box::new(round)))
        };
        let contenders = &mut [
            on(Runtime::Trapline, Command::new(&echo_server))?,
            on(Runtime::Threads, Command::new(&echo_threads))?,
            on(Runtime::Tokio, serving(Runtime::Tokio)?)?,
            on(Runtime::Floor, serving(Runtime::Floor)?)?,
        ];
        let figure = Figure { bench: "slide", param, unit: "ns", targets, ..Figure::default() };
        harness.compare(&figure, 3, contenders)?;
    }
    Ok(())
}

struct Load {
    blaster: PathBuf,
    connections: u64,
    /// Of each process.
    messages: u64,
}

impl Load {
    /// Runs the blasters to their end, which checks that every message came back as it was.
    fn put_on(&self, server: &Server) -> Result<()> {
        let output = Command::new(&self.blaster)
            .arg(server.addr.to_string())
            .args(["--connections", &self.connections.to_string()])
            .args(["--messages", &self.messages.to_string()])
            .args(["--size", "1024", "--processes", &PROCESSES.to_string()])
            .output()?;
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            return Err(format!("the blasters failed: {}", complaint.trim()).into());
        }
        let said = String::from_utf8_lossy(&output.stdout);
        let counted = said.split_once(" messages").and_then(|(count, _)| count.trim().parse().ok());
        check("messages", counted.unwrap_or(0), PROCESSES * self.messages)
    }
}
