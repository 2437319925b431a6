//! The echo server: sends back whatever it is sent, with one task a connection.
//!
//! ```text
//! cargo run --release --example echo_server -- 127.0.0.1:45000
//! ```
//!
//! It serves until SIGINT or SIGTERM. Then it stops accepting, gives the open connections five seconds
//! to finish, and says what it did. A second signal ends it at once.
//!
//! What a peer may do, and what becomes of it:
//!
//! * It closes its half: what came before is echoed, then the other half is closed.
//! * It resets the connection: the task of that connection ends, and nothing else.
//! * It says nothing: it is kept, at a few hundred bytes, or dropped after `--idle-timeout`.
//! * It does not read: nothing more is read from it until it does, so that it costs one buffer at
//!   most; `--idle-timeout` holds for this, too.
//! * It is one too many: it waits in the operating system's queue until a connection is closed, be it
//!   `--max-connections` or the limit of descriptors that stands in the way.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use futures::FutureExt;
use futures::future::{Either, select};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use trapline::net::{TcpListener, TcpStream};
use trapline::{CancelReason, Scheduler, Shutdown, WaitQueue};

/// How long open connections are given to finish.
const GRACE: Duration = Duration::from_secs(5);

/// How long to leave a listener alone that has failed.
const PAUSE: Duration = Duration::from_millis(100);

/// What is read at once.
const BUFFER: usize = 16 * 1024;

/// Sends back whatever it is sent.
#[derive(Parser)]
struct Args {
    /// Where to listen; with port 0 the system chooses one
    #[arg(default_value = "127.0.0.1:45000")]
    addr: SocketAddr,

    /// How many connections to serve at a time; by default as many as come
    #[arg(long, value_name = "N")]
    max_connections: Option<NonZeroUsize>,

    /// Drop a connection that does nothing for so long; by default never
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    idle_timeout: Option<Duration>,
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
    raise_descriptor_limit();
    let mut scheduler = Scheduler::new();
    let server = match trapline::trace::block_on(&mut scheduler, serve(&args)) {
        Ok(Ok(server)) => server,
        Ok(Err(error)) => return complain(2, &format!("error: {error}")),
        Err(error) => return complain(1, &format!("error: {error}")),
    };
    server.say_goodbye();
    // Only daemons are left, so this returns at once, and tells whether any connection's task panicked.
    match scheduler.run() {
        Ok(report) if report.failures == 0 => ExitCode::SUCCESS,
        Ok(report) => complain(0, &report.to_string()),
        Err(error) => complain(1, &format!("error: {error}")),
    }
}

/// Listens, and serves until it is told to stop and nobody is left, or the time is up.
#[trapline::traced]
async fn serve(args: &Args) -> io::Result<Rc<Server>> {
    let listener = TcpListener::bind(args.addr).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {}: {error}", args.addr))
    })?;
    let signals = Signals::catch()?;
    say(&format!("listening on {}", listener.local_addr()?));

    let server = Rc::new(Server::new(args));
    let shutdown = Shutdown::new();
    start(&shutdown, "connections", see_out(Rc::clone(&server))).await;
    start(&shutdown, "acceptor", accept(Rc::clone(&server), listener)).await;
    signals.next().await?;

    // In reverse: the acceptor goes first, which closes the listener, so that newcomers are refused
    // rather than left waiting; then those who are here may finish.
    shutdown.trigger(CancelReason::shutdown("a signal"));
    select(shutdown.run(), pin!(signals.next())).await;
    Ok(server)
}

/// Starts a part of the server. A daemon: at the end of the program, nobody waits for it.
async fn start(shutdown: &Shutdown, name: &'static str, part: impl Future<Output = ()> + 'static) {
    let task = trapline::spawn(part).name(name).daemon().await;
    shutdown.add(name, task.id(), GRACE);
    task.detach();
}

/// Once it is asked to end, waits until the last connection has.
#[trapline::traced]
async fn see_out(server: Rc<Server>) {
    trapline::cancelled().await;
    server.emptied().await;
}

/// Starts a task for every connection that comes.
#[trapline::traced]
async fn accept(server: Rc<Server>, listener: TcpListener) {
    loop {
        let seat = server.seat().await;
        match listener.accept().await {
            // Daemons: at the end of the program, nobody waits for them.
            Ok((stream, _peer)) => trapline::spawn(converse(seat, stream)).daemon().detach(),
            Err(error) => {
                complain(0, &format!("echo_server: a connection was not accepted: {error}"));
                trapline::sleep(PAUSE).await;
            }
        }
    }
}

/// A connection, from beginning to end.
///
/// A block, not an `async fn`, which would keep its arguments twice: as they came, and as it uses
/// them.
fn converse(seat: Seat, stream: TcpStream) -> impl Future<Output = ()> {
    Server::add(&seat.server.connections, 1);
    // Without this, the end of a long message may wait for the peer to acknowledge its beginning.
    let _a_matter_of_speed = stream.set_nodelay(true);
    async move {
        // An error is the end of this connection, and there is nobody to tell of it. Dropping the
        // stream closes it, after all that was echoed.
        let _reset_or_timed_out = echo(&seat.server, &stream).await;
    }
}

/// Sends back what comes, until the peer has closed its half.
#[trapline::traced]
async fn echo(server: &Server, stream: &TcpStream) -> io::Result<()> {
    loop {
        server.unless_idle(stream.readable()).await?;
        let Some(rest) = server.bounce(stream)? else { return Ok(()) };
        let mut sent = 0;
        while sent < rest.len() {
            server.unless_idle(stream.writable()).await?;
            sent += or_nothing(stream.try_write(&rest[sent..]))?;
        }
    }
}

/// What all the tasks share.
struct Server {
    idle_timeout: Option<Duration>,
    /// A token for each connection that may still come.
    free_seats: WaitQueue,
    /// How many seats are taken: by the connections, and by the acceptor for the next one.
    taken: Cell<usize>,
    /// Where to wait until nobody is left.
    empty: WaitQueue,
    /// The one buffer. Nobody holds it while waiting, so one is enough, and an idle connection has
    /// none.
    buffer: RefCell<Vec<u8>>,
    connections: Cell<u64>,
    bytes: Cell<u64>,
    messages: Cell<u64>,
}

impl Server {
    fn new(args: &Args) -> Server {
        let seats = args.max_connections.map_or(usize::MAX, NonZeroUsize::get);
        Server {
            idle_timeout: args.idle_timeout,
            free_seats: WaitQueue::labelled("free seats", seats),
            taken: Cell::new(0),
            empty: WaitQueue::labelled("everyone has left", 0),
            buffer: RefCell::new(vec![0; BUFFER]),
            connections: Cell::new(0),
            bytes: Cell::new(0),
            messages: Cell::new(0),
        }
    }

    /// Reads what is there and writes it back: for most messages all there is to do, with one
    /// system call each. Gives what there was no room for, or `None` at the end of the stream.
    fn bounce(&self, stream: &TcpStream) -> io::Result<Option<Vec<u8>>> {
        let buffer = &mut *self.buffer.borrow_mut();
        let received = match stream.try_read(buffer) {
            Ok(0) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Some(Vec::new())),
            received => received?,
        };
        Server::add(&self.messages, 1);
        Server::add(&self.bytes, received as u64);
        let sent = or_nothing(stream.try_write(&buffer[..received]))?;
        Ok(Some(buffer[sent..received].to_vec()))
    }

    /// Waits, but no longer than a connection may be idle.
    fn unless_idle<W>(&self, wait: W) -> impl Future<Output = io::Result<()>> + use<W>
    where
        W: Future<Output = io::Result<()>>,
    {
        let Some(limit) = self.idle_timeout else { return Either::Left(wait) };
        let in_time = trapline::timeout(limit, wait);
        Either::Right(in_time.map(|ready| ready.unwrap_or(Err(ErrorKind::TimedOut.into()))))
    }

    /// Waits until one more connection may come.
    #[trapline::traced]
    async fn seat(self: &Rc<Server>) -> Seat {
        self.free_seats.park().await;
        self.taken.set(self.taken.get() + 1);
        Seat { server: Rc::clone(self) }
    }

    /// Waits until nobody is left.
    #[trapline::traced]
    async fn emptied(&self) {
        while self.taken.get() > 0 {
            self.empty.park().await;
        }
    }

    fn add(count: &Cell<u64>, more: u64) {
        count.set(count.get() + more);
    }

    fn say_goodbye(&self) {
        let Server { connections, bytes, messages, .. } = self;
        let (connections, bytes, messages) = (connections.get(), bytes.get(), messages.get());
        say(&format!("served {connections} connections, {bytes} bytes, {messages} messages"));
    }
}

/// The right to be a connection. Whoever is killed, or panics, gives it back as well.
struct Seat {
    server: Rc<Server>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let server = &*self.server;
        server.taken.set(server.taken.get() - 1);
        server.free_seats.wake();
        if server.taken.get() == 0 {
            server.empty.wake_all();
        }
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

/// Bytes sent: none, where there is no room.
fn or_nothing(sent: io::Result<usize>) -> io::Result<usize> {
    match sent {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        sent => sent,
    }
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
