//! `trapline attach SOCKET`: asks the monitor of a running program.
//!
//! The program greets, and then gives an answer to each line. An answer ends with a line that has a dot and
//! nothing else; a line in it that begins with a dot has one more before it.

mod prompt;

use std::io::{self, BufRead, BufReader, ErrorKind, IsTerminal, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::failure::Failure;
use crate::plain::Plain;

/// The status where the program goes away before `quit`.
const GONE: u8 = 3;

/// A line of an answer is at most so long: a monitor's are far shorter.
const LONGEST_LINE: u64 = 1 << 20;

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
    let mut monitor = Monitor::connect(args)?;
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

/// A connection.
struct Monitor {
    reader: BufReader<UnixStream>,
}

impl Monitor {
    fn connect(args: &Args) -> Result<Monitor, Failure> {
        let stream = UnixStream::connect(&args.socket).map_err(Failure::at(&args.socket))?;
        Ok(Monitor { reader: BufReader::new(stream) })
    }

    fn send(&mut self, command: &str) -> io::Result<()> {
        // In one piece: a line that came in two would still be one, but for two wake-ups.
        self.reader.get_mut().write_all(format!("{command}\n").as_bytes())
    }

    /// The lines of an answer; nothing if the program is gone.
    fn answer(&mut self) -> io::Result<Option<Vec<String>>> {
        let mut lines = Vec::new();
        loop {
            let mut bytes = Vec::new();
            let mut limited = io::Read::take(&mut self.reader, LONGEST_LINE);
            match limited.read_until(b'\n', &mut bytes) {
                Ok(_) if bytes.pop() == Some(b'\n') => {}
                Ok(_) => return Ok(None),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
            let line = String::from_utf8_lossy(&bytes);
            match line.strip_prefix('.') {
                Some("") => return Ok(Some(lines)),
                Some(rest) => lines.push(rest.to_owned()),
                None => lines.push(line.into_owned()),
            }
        }
    }
}

/// A conversation, and what has come of it.
struct Session {
    monitor: Monitor,
    had_error: bool,
    is_gone: bool,
}

impl Session {
    fn new(monitor: Monitor) -> Session {
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
        let answered = self.monitor.send(command).and_then(|()| self.monitor.answer());
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
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.gone(),
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
