//! One client: its commands, and its answers.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::process;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use super::super::Shared;
use super::super::answers;
use super::super::command::{Command, Order};
use super::lines::{Line, Lines, MAX_LINE};
use super::write_answer;
use crate::format::FileWriter;

/// How often it is looked whether the loop is stuck, while an order waits for it; and how many times an order
/// that is not carried out is waited for.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS: usize = 20;

/// After so long in one task, an order no longer waits for the loop. A loop that merely shares its processor with
/// others comes back sooner.
const STUCK: Duration = Duration::from_millis(500);

/// A reader of the trace may be so many batches behind.
const STREAM_BATCHES: usize = 1024;

/// A client that is connected.
#[derive(Debug)]
pub(super) struct Client<'a> {
    id: u64,
    stream: UnixStream,
    shared: &'a Shared,
    /// Whether it has ever had the right to order.
    has_ordered: bool,
}

/// What becomes of a connection.
enum Next {
    Answer(String),
    Stream,
    Leave,
}

impl<'a> Client<'a> {
    pub(super) fn new(id: u64, stream: UnixStream, shared: &'a Shared) -> Client<'a> {
        Client { id, stream, shared, has_ordered: false }
    }

    /// Answers until the client leaves, or does not read what it is sent.
    pub(super) fn serve(mut self) {
        // Either way it is over: there is nobody to tell.
        let _ = self.answer_all();
    }

    fn answer_all(&mut self) -> io::Result<()> {
        let mut lines = Lines::new(self.stream.try_clone()?);
        self.answer(&self.greeting())?;
        while let Some(line) = lines.next()? {
            let next = match line {
                Line::TooLong => {
                    Next::Answer(format!("error: a command is at most {MAX_LINE} bytes long"))
                }
                Line::Whole(line) => match String::from_utf8(line) {
                    Ok(line) => self.obey(&line),
                    Err(_) => Next::Answer("error: a command is UTF-8".to_owned()),
                },
            };
            match next {
                Next::Answer(text) => self.answer(&text)?,
                Next::Stream => return self.stream(),
                Next::Leave => return Ok(()),
            }
        }
        Ok(())
    }

    fn greeting(&self) -> String {
        let (program, pid) = (&self.shared.program, process::id());
        format!("trapline monitor of {program}, pid {pid}; `help` lists the commands")
    }

    fn answer(&mut self, text: &str) -> io::Result<()> {
        write_answer(&mut self.stream, text)
    }

    fn obey(&mut self, line: &str) -> Next {
        let command = match Command::parse(line) {
            Ok(command) => command,
            Err(error) => return Next::Answer(format!("error: {error}")),
        };
        Next::Answer(match command {
            Command::Ps => self.looked(true, answers::ps),
            Command::Tree => self.looked(false, answers::tree),
            Command::Waits => self.looked(false, answers::waits),
            Command::State => self.shared.ask(|keeper, _| keeper.mirror().text()),
            Command::Where(id) => self.looked(true, |look| {
                let none = || format!("error: no task {id} lives");
                answers::where_is(look, id).unwrap_or_else(none)
            }),
            Command::Status => self.status(),
            Command::Facts => self.facts(),
            Command::Help => answers::HELP.to_owned(),
            Command::Wait(seconds) => {
                let held = self.shared.desk.wait_until_held(Duration::from_secs(seconds));
                if held { self.status() } else { format!("not held after {seconds} s") }
            }
            Command::Trace => return Next::Stream,
            Command::Quit => return Next::Leave,
            Command::Orders => self.claim(),
            Command::Order(Order::Breaks) => self.order(Order::Breaks),
            Command::Order(_) if self.shared.read_only => READ_ONLY.to_owned(),
            Command::Order(order) => self.ordered(order),
        })
    }

    /// An answer from what is known, after a sentence about the loop, where that is stuck.
    fn looked(
        &self,
        says_stuck: bool,
        answer: impl FnOnce(&answers::Look<'_>) -> String,
    ) -> String {
        self.shared.ask(|keeper, now| {
            let stuck = keeper.stuck(now).filter(|_| says_stuck);
            let stuck = stuck.map_or(String::new(), |stuck| stuck + "\n");
            keeper.caveats() + &stuck + &answer(&keeper.look(now))
        })
    }

    fn status(&self) -> String {
        let orderer = match self.shared.desk.orderer() {
            _ if self.shared.read_only => "orders are refused",
            Some(id) if id == self.id => "this client may order",
            Some(_) => "another client may order",
            None => "nobody has ordered yet",
        };
        self.shared.ask(|keeper, now| {
            let (doing, look) = (keeper.doing(now), keeper.look(now));
            let (summary, caveats) = (answers::summary(&look), keeper.caveats());
            format!("{summary}{doing}\n{caveats}{orderer}")
        })
    }

    fn facts(&self) -> String {
        let desk = &self.shared.desk;
        let ordering = answers::Ordering {
            client: self.id,
            orderer: desk.orderer(),
            is_refused: self.shared.read_only,
            queued: desk.queued(),
            steps_left: desk.steps_left(),
        };
        self.shared
            .ask(|keeper, now| answers::facts(&keeper.look(now), &keeper.the_loop(now), &ordering))
    }

    fn claim(&mut self) -> String {
        if self.shared.read_only {
            return READ_ONLY.to_owned();
        }
        self.has_ordered = true;
        self.shared.desk.claim(self.id);
        "done: this client may order".to_owned()
    }

    fn ordered(&mut self, order: Order) -> String {
        if !self.has_ordered {
            self.claim();
        }
        if !self.shared.desk.may_order(self.id) {
            return "refused: another client may order; `orders` takes the right back".to_owned();
        }
        self.order(order)
    }

    /// Lays an order, and waits for its answer; not for long, if the loop is stuck, or is to take steps and waits.
    fn order(&self, order: Order) -> String {
        let is_step = matches!(order, Order::Step(_));
        let receiver = match self.shared.desk.lay(self.id, order) {
            Ok(receiver) => receiver,
            Err(why) => return format!("refused: {why}"),
        };
        for _ in 0..LOOKS {
            match receiver.recv_timeout(LOOK) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Disconnected) => {
                    return "refused: the run is over".to_owned();
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let stuck = |keeper: &mut super::super::Keeper, now| {
                let (task, _) = keeper.stuck_in(now).filter(|(_, kept)| *kept >= STUCK)?;
                Some(format!("queued: the loop is in T{task}\n{}", keeper.stuck(now)?))
            };
            if let Some(stuck) = self.shared.ask(stuck) {
                return stuck;
            }
            // Whoever has waited enough can order something else then.
            let outside = self.shared.ask(|keeper, now| keeper.waits_for(now));
            if let Some(outside) = outside.filter(|_| is_step) {
                return format!("queued: the loop waits for {outside}");
            }
        }
        format!("queued: {}", self.shared.ask(|keeper, now| keeper.doing(now)))
    }

    /// Writes the trace until the client or the run ends, or the client is too far behind.
    fn stream(&mut self) -> io::Result<()> {
        let (to, from) = sync_channel(STREAM_BATCHES);
        self.shared.ask(|keeper, _| keeper.stream(to));
        let mut file = FileWriter::new(self.stream.try_clone()?)?;
        for (first_step, bytes) in from {
            file.chunk(first_step, &bytes)?;
        }
        self.stream.flush()
    }
}

/// What an order is told where orders are refused.
const READ_ONLY: &str = "refused: this monitor is for looking only";
