//! The other programs that take part: servers, clients, and this program's sibling.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::cpu::{self, Cores, Place};
use crate::harness::Result;

/// The path of a program of the same build as this one: `parked_memory`, or an example.
///
/// Under `cargo run` it is brought up to date first, for cargo builds only the program that it
/// runs, and an old sibling would give the figures of old code.
pub(crate) fn built(program: &str) -> Result<PathBuf> {
    let this = env::current_exe()?;
    let directory = this.parent().ok_or("this program lies in no directory")?;
    if let Some(cargo) = env::var_os("CARGO") {
        build(Path::new(&cargo), directory, program)?;
    }
    let path = directory.join(program);
    if path.is_file() {
        return Ok(path);
    }
    let (missing, arguments) = (path.display(), arguments(program).join(" "));
    let profile = profile(directory);
    Err(format!("{missing} is not there: `{arguments} --profile {profile}` builds it").into())
}

fn build(cargo: &Path, directory: &Path, program: &str) -> Result<()> {
    let target = directory.parent().ok_or("the target directory is nowhere")?;
    let status = Command::new(cargo)
        .args(&arguments(program)[1..])
        .args(["--quiet", "--profile", profile(directory), "--target-dir"])
        .arg(target)
        .status()?;
    if status.success() { Ok(()) } else { Err(format!("cargo cannot build {program}").into()) }
}

fn profile(directory: &Path) -> &str {
    match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    }
}

fn arguments(program: &str) -> Vec<&str> {
    match program.strip_prefix("examples/") {
        Some(example) => vec!["cargo", "build", "--package", "trapline", "--example", example],
        None => vec!["cargo", "build", "--package", "trapline-benches", "--bin", program],
    }
}

/// A server in a process of its own, killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: SocketAddr,
}

impl Server {
    /// Starts it at `place`, and waits until it listens.
    ///
    /// The caller is moved to that place for the moment and then to the last core: a child begins
    /// where its parent is, so that no thread of it is ever elsewhere.
    pub(crate) fn start(command: &mut Command, cores: &Cores, place: Place) -> Result<Self> {
        cores.pin(place)?;
        let child = command.stdout(Stdio::piped()).spawn();
        cores.pin(Place::Last)?;
        let child = child.map_err(|error| format!("{command:?}: {error}"))?;
        let mut server = Self { child, addr: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let stdout = server.child.stdout.take().ok_or("the server's output is a pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let addr = line.trim().strip_prefix("listening on ").and_then(|addr| addr.parse().ok());
        server.addr =
            addr.ok_or_else(|| format!("{command:?} began with {line:?}, not with its address"))?;
        Ok(server)
    }

    /// The CPU time in ns that it has taken so far.
    pub(crate) fn cpu_time(&self) -> Result<f64> {
        cpu::of_process(self.child.id())
    }

    /// The CPU time in ns that its main thread has taken so far.
    pub(crate) fn main_thread_time(&self) -> Result<f64> {
        let pid = self.child.id();
        let schedstat = fs::read_to_string(format!("/proc/{pid}/task/{pid}/schedstat"))?;
        Ok(schedstat.split_whitespace().next().ok_or("an empty schedstat")?.parse()?)
    }

    /// Moves all threads but the main one to the last core.
    pub(crate) fn move_helpers(&self, cores: &Cores) -> Result<()> {
        let pid = self.child.id();
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let thread: u32 = thread?.file_name().to_string_lossy().parse()?;
            if thread != pid {
                cores.pin_other(thread, Place::Last)?;
            }
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either fails only if it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
