//! `trapline attach SOCKET`: asks the monitor of a running program.
//!
//! The program greets, and then gives an answer to each line. An answer ends with a line that has a dot and
//! nothing else; a line in it that begins with a dot has one more before it.

mod prompt;

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::failure::Failure;
use crate::live::Connection;
use crate::plain::Plain;

/// The status where the program goes away before `quit`.
const GONE: u8 = 3;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 if all was answered, 1 if an answer was an error or a refusal, or the \
                        socket cannot be reached, 3 if the program went away."
)]
pub(crate) struct Args {
    /// The socket that the program names
    socket: PathBuf,
    /// Asks this, and leaves; may be given several times
    #[arg(short, long, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut monitor = Connection::open(&args.socket).map_err(Failure::at(&args.socket))?;
    let Some(greeting) = monitor.answer().map_err(Failure::at(&args.socket))? else {
        eprintln!("trapline: the program has gone away");
        return Ok(ExitCode::from(GONE));
    };
    if !args.command.is_empty() {
        let mut session = Session::new(monitor);
        for command in &args.command {
            if !session.ask(command)? {
                break;
            }
        }
        return Ok(session.code());
    }
    let mut session = Session::new(monitor);
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        session.show(&greeting)?;
        prompt::talk(&mut session)?;
    } else {
        plain_lines(&mut session)?;
    }
    Ok(session.code())
}

/// Without a terminal: a line in, its answer out.
fn plain_lines(session: &mut Session) -> Result<(), Failure> {
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|error| Failure::said(format!("standard input: {error}")))?;
        if !line.trim().is_empty() && !session.ask(line.trim())? {
            break;
        }
    }
    Ok(())
}

/// A conversation, and what has come of it.
struct Session {
    monitor: Connection,
    had_error: bool,
    is_gone: bool,
}

impl Session {
    fn new(monitor: Connection) -> Session {
        Session { monitor, had_error: false, is_gone: false }
    }

    /// Asks, and prints the answer. Whether there may be more.
    fn ask(&mut self, command: &str) -> Result<bool, Failure> {
        let word = command.split_whitespace().next().unwrap_or_default();
        if word == "trace" {
            eprintln!("trapline: `trace` gives bytes, and ends the conversation; it is not sent");
            self.had_error = true;
            return Ok(true);
        }
        let leaves = matches!(word, "quit" | "exit");
        let answered = self.monitor.ask(command);
        match answered {
            Ok(Some(lines)) => {
                self.had_error |= lines.first().is_some_and(|line| {
                    line.starts_with("error: ") || line.starts_with("refused: ")
                });
                self.show(&lines)?;
                Ok(!leaves)
            }
            // What answers `quit` by hanging up has answered.
            Ok(None) if leaves => Ok(false),
            Ok(None) => self.gone(),
            Err(error) => Err(Failure::said(format!("the monitor: {error}"))),
        }
    }

    fn gone(&mut self) -> Result<bool, Failure> {
        eprintln!("trapline: the program has gone away");
        self.is_gone = true;
        Ok(false)
    }

    fn show(&self, lines: &[String]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        for line in lines {
            writeln!(out, "{}", Plain(line)).map_err(Failure::Output)?;
        }
        out.flush().map_err(Failure::Output)
    }

    fn code(&self) -> ExitCode {
        match (self.is_gone, self.had_error) {
            (true, _) => ExitCode::from(GONE),
            (false, true) => ExitCode::FAILURE,
            (false, false) => ExitCode::SUCCESS,
        }
    }
}
