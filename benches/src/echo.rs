//! `echo`: what a request costs a server that has one core, beside a client that has the other.

use std::cell::RefCell;
use std::env;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::Command;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::client::Client;
use crate::cpu::{Cores, Place};
use crate::harness::{Figure, Harness, Result, Runtime};
use crate::process::Server;
use crate::{on_floor, on_tokio, on_trapline};

/// As large in every server, so that all make the same reads and writes.
pub(crate) const BUFFER: usize = 16 * 1024;

pub(crate) fn run(harness: &Harness) -> Result<()> {
    allow_many_descriptors()?;
    let cores = Cores::allowed()?;
    for (connections, requests, targets) in [
        (1, 10_000, [].as_slice()),
        (50, 40_000, [(Runtime::Tokio, 1.0), (Runtime::Floor, 1.10)].as_slice()),
        (1_000, 60_000, [(Runtime::Tokio, 1.0), (Runtime::Floor, 1.10)].as_slice()),
    ] {
        let requests = harness.count(requests, 2 * connections as u64);
        let on = |runtime: Runtime| -> Result<_> {
            let server = Server::start(serving(runtime)?.arg("127.0.0.1:0"), &cores, Place::First)?;
            let client = RefCell::new(Client::connect(server.addr, connections)?);
            let round = move || {
                let before = server.cpu_time()?;
                client.borrow_mut().run(requests)?;
                Ok((server.cpu_time()? - before) / requests as f64)
            };
            Ok((runtime, Box::new(round) as Box<dyn FnMut() -> Result<f64>>))
        };
        let figure = Figure {
            bench: "echo",
            param: &format!("connections={connections}"),
            unit: "ns",
            targets,
            ..Figure::default()
        };
        let contenders = &mut [on(Runtime::Trapline)?, on(Runtime::Tokio)?, on(Runtime::Floor)?];
        harness.compare(&figure, 15, contenders)?;
    }
    Ok(())
}

/// This program as a server; the address to listen on comes after.
pub(crate) fn serving(runtime: Runtime) -> Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["__serve", &runtime.to_string()]);
    Ok(command)
}

/// What the server's process does, until it is killed.
pub(crate) fn serve(runtime: Runtime, addr: &str) -> Result<()> {
    match runtime {
        Runtime::Trapline => on_trapline::serve(addr),
        Runtime::Tokio => on_tokio::serve(addr),
        Runtime::Floor => on_floor::serve(addr),
        Runtime::Smol | Runtime::Plain => Err("there is no such server".into()),
        Runtime::Threads => Err("the server with threads is the example echo_threads".into()),
    }
}

/// Tells who started the server that it listens.
pub(crate) fn announce(addr: SocketAddr) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "listening on {addr}")?;
    stdout.flush()
}

/// Lets this process, and the servers it starts, have as many descriptors as it may have.
pub(crate) fn allow_many_descriptors() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}
