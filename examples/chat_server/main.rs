//! A chat server: rooms, nicknames, and a line at a time.
//!
//! ```text
//! cargo run --release --example chat_server -- 127.0.0.1:45001
//! nc 127.0.0.1 45001
//! ```
//!
//! Whoever connects is a guest in the room `lobby`. What they write is told to all others in the room.
//! A line that begins with a slash is a command:
//!
//! | | |
//! |---|---|
//! | `/nick NAME` | to be called so: up to 16 letters, digits, `-` and `_`, and nobody else's |
//! | `/join ROOM` | to go to another room, which is there as long as anybody is in it |
//! | `/who` | who is in the room |
//! | `/msg NAME TEXT` | to tell one person alone, wherever they are |
//! | `/quit` | to leave |
//!
//! The rules for peers that are not as they should be:
//!
//! * A line longer than 512 bytes is not passed on, and its author is told.
//! * Who reads so slowly that 64 lines wait for them is put out: nobody else waits for a slow reader.
//! * Who says nothing for `--idle-timeout` is told so, and put out.
//! * One more than `--max-clients` waits in the operating system's queue until there is room.
//!
//! On SIGINT or SIGTERM it takes in nobody any more and tells everybody; who has not left when
//! the grace period is over is put out. A second signal ends it at once. At the end it says what it did.

mod client;
mod hall;
mod lines;

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use futures::{FutureExt, select_biased};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use trapline::Scheduler;
use trapline::net::TcpListener;
use trapline::pattern::{ServeReport, serve};

use crate::hall::Hall;

/// A chat server
#[derive(Parser)]
struct Args {
    /// Where to listen; with port 0 the system chooses one
    #[arg(default_value = "127.0.0.1:45001")]
    addr: SocketAddr,

    /// How many clients to serve at a time
    #[arg(long, value_name = "N", default_value = "1000")]
    max_clients: NonZeroUsize,

    /// Put out a client that says nothing for so long
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    idle_timeout: Duration,

    /// How long clients have to leave when the server ends
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    grace: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "not a number".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("not a time".to_owned()),
    }
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return explain(&error),
    };
    let hall = Rc::new(Hall::default());
    let mut scheduler = Scheduler::new();
    let ended = trapline::trace::block_on(&mut scheduler, run(&args, Rc::clone(&hall)));
    let served = match ended {
        Ok(Ok(served)) => served,
        Ok(Err(error)) => return complain(2, &format!("error: {error}")),
        Err(error) => return complain(1, &format!("error: {error}")),
    };
    let clients = served.map_or_else(|| "some".to_owned(), |served| served.connections.to_string());
    let killed = served.map_or(0, |served| served.killed);
    say(&format!("served {clients} clients, {} lines; put out {killed} at the end", hall.lines()));
    // Nobody is left. This tells whether any client's task panicked.
    match scheduler.run() {
        Ok(report) if report.failures == 0 => ExitCode::SUCCESS,
        Ok(report) => complain(1, &report.to_string()),
        Err(error) => complain(1, &format!("error: {error}")),
    }
}

/// Serves until it is told to stop, and all have left or the time is up. `None` if it did not wait.
#[trapline::traced]
async fn run(args: &Args, hall: Rc<Hall>) -> io::Result<Option<ServeReport>> {
    let listener = TcpListener::bind(args.addr).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {}: {error}", args.addr))
    })?;
    let signals = Rc::new(Signals::catch()?);
    say(&format!("listening on {}", listener.local_addr()?));

    let (idle, grace) = (args.idle_timeout, args.grace);
    let (told, twice) = trapline::channel::oneshot();
    let stop = {
        let (hall, signals) = (Rc::clone(&hall), Rc::clone(&signals));
        async move {
            let _either_way = signals.next().await;
            hall.tell_all(&format!("* the server ends in {grace:?}; /quit, and goodbye"));
            let _nobody_waits = told.send(());
        }
    };
    let serving = serve(listener, args.max_clients.get(), move |stream, peer| {
        client::converse(Rc::clone(&hall), stream, peer, idle)
    });
    let second_signal = async {
        let _told = twice.await;
        signals.next().await
    };
    select_biased! {
        served = serving.until(stop).grace(grace).fuse() => served.map(Some),
        signal = second_signal.boxed_local().fuse() => signal.map(|()| None),
    }
}

/// SIGINT and SIGTERM, as bytes to be read from a descriptor.
struct Signals(UnixStream);

impl Signals {
    fn catch() -> io::Result<Signals> {
        let (ours, handlers) = UnixStream::pair()?;
        pipe::register(SIGINT, handlers.try_clone()?)?;
        pipe::register(SIGTERM, handlers)?;
        Ok(Signals(ours))
    }

    #[trapline::traced]
    async fn next(&self) -> io::Result<()> {
        trapline::read_wait(&self.0).await?;
        (&self.0).read_exact(&mut [0])
    }
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

/// Prints a line. That nobody reads it must not stop the server.
fn say(line: &str) {
    let mut stdout = io::stdout();
    let _closed = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// Prints a line to standard error, and gives `status` to exit with.
fn complain(status: u8, line: &str) -> ExitCode {
    let _closed = writeln!(io::stderr(), "{line}");
    ExitCode::from(status)
}
