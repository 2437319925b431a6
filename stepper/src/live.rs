//! A live program: a trace that grows, and a monitor that obeys.
//!
//! One that we [start](Live::start) records itself losslessly, and is held before its first step until it is ordered
//! to go on; it is ended when it is no longer looked at. One that is [attached to](Live::attach) runs by itself, and
//! goes on afterwards; its trace is what came since. Terminal and page stand on the same: they show the trace, give
//! [orders](Live::order), and look at the [answers](Live::answers) and at what the program [does](Live::status).
//!
//! All that waits for the program is on threads of its own; nothing here blocks, but for `start`, `attach` and the end.

mod compare;
mod connection;
mod growth;
mod monitor;
mod place;
mod running;
mod spool;
mod status;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
mod waiting;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::failure::Failure;
use crate::plain::Plain;
use crate::record::{Program, Target};
pub(crate) use compare::compare;
pub(crate) use connection::Connection;
pub(crate) use growth::Growth;
pub(crate) use monitor::Answer;
use monitor::Client;
use place::Place;
use running::Running;
use spool::Spool;
pub(crate) use status::{Doing, Ordering, Status};
pub(crate) use waiting::wait_for;

/// So long a program has to begin a run: one that takes longer is hardly going to.
const CONNECT: Duration = Duration::from_secs(2);

/// A live program. It can be shared between threads.
#[derive(Debug)]
pub(crate) struct Live {
    // In this order: nobody is asked any more, then the program is ended, then its files are gone.
    client: Client,
    source: Source,
    place: Place,
}

#[derive(Debug)]
enum Source {
    Started { running: Running, executable: PathBuf, program: Program, is_virtual: bool },
    Attached { spool: Spool, socket: PathBuf },
}

impl Live {
    /// Builds a program, if it is to be built, and starts it; gives it once it is held before its first step, or else
    /// cargo's own status, where that has failed and has said why.
    ///
    /// A program that has begun no run within two seconds is ended, and the failure tells of it.
    pub(crate) fn start(
        program: &Program,
        is_virtual: bool,
    ) -> Result<Result<Live, ExitCode>, Failure> {
        match program.target()? {
            Ok(target) => Live::start_target(program, &target, is_virtual).map(Ok),
            Err(code) => Ok(Err(code)),
        }
    }

    /// Starts a program that has been built.
    pub(crate) fn start_target(
        program: &Program,
        target: &Target,
        is_virtual: bool,
    ) -> Result<Live, Failure> {
        let place = Place::new()?;
        let command = program.held(target, place.trace(), &place.socket(), is_virtual)?;
        let executable = target.executable.clone();
        let running = Running::start(command, &executable, place.output())?;
        let mut client = None;
        let is_there = || {
            // Until the program listens there is nobody there.
            client = Client::connect(&place.socket()).ok().flatten();
            client.is_some() || running.status().is_some()
        };
        wait_for(CONNECT, is_there);
        let Some(client) = client else { return Err(not_ours(&executable, &running, &place)) };
        // It listens before its run begins. One that dies meanwhile is shown as far as it came.
        wait_for(CONNECT, || {
            client.look();
            client.status().is_held() || client.is_over()
        });
        let source = Source::Started { running, executable, program: program.clone(), is_virtual };
        Ok(Live { client, source, place })
    }

    /// Builds the program anew, and starts it: another one, held before its first step; this one stays as it is. Where
    /// it cannot be built, the failure is what cargo said.
    ///
    /// It may take a while.
    pub(crate) fn again(&self) -> Result<Live, Failure> {
        match &self.source {
            Source::Started { program, is_virtual, .. } => {
                Live::start_target(program, &program.target_again()?, *is_virtual)
            }
            Source::Attached { .. } => {
                Err(Failure::said("a program that was joined cannot be started again"))
            }
        }
    }

    /// Joins a program that runs with a monitor. Its trace begins with a key frame of this moment.
    pub(crate) fn attach(socket: &Path) -> Result<Live, Failure> {
        let gone = || {
            Failure::said(format!(
                "{}: the program has gone away",
                Plain(&socket.to_string_lossy())
            ))
        };
        let place = Place::new()?;
        let client = Client::connect(socket).map_err(Failure::at(socket))?.ok_or_else(gone)?;
        let spool = Spool::start(socket, place.trace()).map_err(Failure::at(socket))?;
        let spool = spool.ok_or_else(gone)?;
        let growth = spool.growth();
        // The key frame comes as a whole: with it, the file can be opened.
        let can_be_read = || {
            spool.length() > 0
                && trapline_trace::Recording::open(place.trace())
                    .is_ok_and(|recording| recording.records().next().is_some())
        };
        if !wait_for(CONNECT, || can_be_read() || !growth.goes_on()) || !can_be_read() {
            return Err(gone());
        }
        Ok(Live { client, source: Source::Attached { spool, socket: socket.to_owned() }, place })
    }

    /// The recording, which grows while the program [goes on](Live::goes_on).
    pub(crate) fn trace(&self) -> &Path {
        self.place.trace()
    }

    /// The file to which the program writes, if we have started it.
    pub(crate) fn output(&self) -> Option<&Path> {
        matches!(self.source, Source::Started { .. }).then(|| self.place.output())
    }

    /// What the program is called: the path of the executable, or of the socket.
    pub(crate) fn name(&self) -> &Path {
        match &self.source {
            Source::Started { executable, .. } => executable,
            Source::Attached { socket, .. } => socket,
        }
    }

    /// Whether the program was started by us, and ends with this.
    pub(crate) fn is_started(&self) -> bool {
        matches!(self.source, Source::Started { .. })
    }

    /// Whether more may come. Asked before the recording is read, it tells whether that was all of it.
    pub(crate) fn goes_on(&self) -> bool {
        self.growth().goes_on()
    }

    /// The same, for another thread.
    pub(crate) fn growth(&self) -> Growth {
        match &self.source {
            Source::Started { running, .. } => running.growth(),
            Source::Attached { spool, .. } => spool.growth(),
        }
    }

    /// How a program that was started has ended, as in `exit status: 1`, if it has.
    pub(crate) fn ended(&self) -> Option<String> {
        match &self.source {
            Source::Started { running, .. } => running.status().map(|status| status.to_string()),
            Source::Attached { .. } => (!self.goes_on()).then(|| "it has gone away".to_owned()),
        }
    }

    /// Gives an order, a line as of `docs/monitor.md`: `step`, `go`, `hold`, `kill 3`, `cancel 3 REASON`, `next 3`,
    /// `break CONDITION`, `unbreak all`, `orders`, …. It does not wait; the answer comes under the number that this
    /// gives. When an order has been answered with `done: `, what came of it is in the trace.
    ///
    /// Orders are handed on one after the other: one that was `queued: ` was answered, and others may follow.
    pub(crate) fn order(&self, order: &str) -> u64 {
        self.client.order(order)
    }

    /// The answers that have come since this was last asked, in the order of the orders.
    pub(crate) fn answers(&self) -> Vec<Answer> {
        self.client.answers()
    }

    /// What the program does; looked at every 100 ms, and after each order.
    pub(crate) fn status(&self) -> Status {
        self.client.status()
    }
}

fn not_ours(executable: &Path, running: &Running, place: &Place) -> Failure {
    let name = executable.display().to_string();
    let name = Plain(&name);
    if place.trace().exists() {
        // Its monitor could not be had, and it has said why.
        let said = std::fs::read_to_string(place.output()).unwrap_or_default();
        let said = said.lines().find(|line| line.contains("monitor")).unwrap_or_default();
        return Failure::said(format!("{name} has no monitor: {}", Plain(said)));
    }
    let what = match running.status() {
        Some(status) => {
            format!("has ended ({status}) without a run of Trapline's that could be recorded")
        }
        None => "has begun no run of Trapline's within 2 s".to_owned(),
    };
    Failure::said(format!(
        "{name} {what}. A program that builds its own loop, as the examples pyos1 to pyos8 do, cannot be stepped; \
         the example `course_on_trapline` goes the same way on Trapline's scheduler",
    ))
}
