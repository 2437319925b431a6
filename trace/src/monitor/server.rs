//! The threads of the monitor: one that accepts clients and keeps the mirror up to date, and one a client.
//!
//! All of it is blocking I/O of the standard library: nothing here may depend on the loop.

mod client;
mod lines;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Shared;
use super::socket::{Socket, SocketError};
use client::Client;

/// So many clients may be connected.
const MAX_CLIENTS: usize = 16;

/// How long a client may keep an answer waiting before it is disconnected.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the end of a run waits for answers that are under way.
const FAREWELL: Duration = Duration::from_millis(250);

/// How long the loop is left alone: at least, and where it is silent. The shorter, the more exactly it is known
/// since when a task has kept it.
const PAUSES_MS: [u32; 2] = [10, 50];

/// The threads, from outside.
#[derive(Debug)]
pub(super) struct Server {
    path: PathBuf,
    clients: Arc<Clients>,
    accepting: Option<JoinHandle<()>>,
}

/// Who is connected.
#[derive(Debug, Default)]
struct Clients {
    streams: Mutex<BTreeMap<u64, UnixStream>>,
    left: Condvar,
    /// Whether there is something to answer: until then clients wait in the socket.
    has_begun: AtomicBool,
    is_over: AtomicBool,
}

impl Server {
    /// Has the threads ready; none of them answers before [`begin`](Server::begin).
    pub(super) fn start(socket: Socket, shared: Arc<Shared>) -> Result<Server, SocketError> {
        let path = socket.path().to_owned();
        let clients = Arc::new(Clients::default());
        let accept = {
            let clients = Arc::clone(&clients);
            move || accept(&socket, &shared, &clients)
        };
        let spawned = thread::Builder::new().name("trapline-monitor".to_owned()).spawn(accept);
        let accepting = spawned.map_err(|error| SocketError::Io { path: path.clone(), error })?;
        Ok(Server { path, clients, accepting: Some(accepting) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Has clients answered from now on.
    pub(super) fn begin(&self) {
        self.clients.has_begun.store(true, Ordering::SeqCst);
        if let Some(accepting) = &self.accepting {
            accepting.thread().unpark();
        }
    }

    /// Disconnects all, and removes the socket.
    pub(super) fn stop(&mut self) {
        let Some(accepting) = self.accepting.take() else { return };
        self.clients.is_over.store(true, Ordering::SeqCst);
        // It waits for the beginning, for a client, or for its pause to end: a client comes sooner.
        accepting.thread().unpark();
        drop(UnixStream::connect(&self.path));
        // If it panicked, it has said so, and the program is none the worse.
        let _ = accepting.join();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The work of the monitor's own thread.
fn accept(socket: &Socket, shared: &Arc<Shared>, clients: &Arc<Clients>) {
    let mut last_client = 0;
    let [shortest, longest] = PAUSES_MS;
    let mut pause = shortest;
    clients.wait_for_begin();
    while !clients.is_over.load(Ordering::SeqCst) {
        pause = if shared.take_in() { shortest } else { (pause * 2).min(longest) };
        if !is_called(socket, pause) || clients.is_over.load(Ordering::SeqCst) {
            continue;
        }
        // An error is of that client: it has gone already, or there is no descriptor left for it.
        let Ok(Some(stream)) = socket.accept() else { continue };
        last_client += 1;
        admit(last_client, stream, shared, clients);
    }
    shared.ask(|keeper, _| keeper.end_streams());
    clients.see_off();
}

/// Waits for a client, for so many milliseconds.
fn is_called(socket: &Socket, pause_ms: u32) -> bool {
    let pause = Timespec { tv_sec: 0, tv_nsec: i64::from(pause_ms) * 1_000_000 };
    let mut polled = [PollFd::new(socket, PollFlags::IN)];
    matches!(poll(&mut polled, Some(&pause)), Ok(1..))
}

/// Gives a client a thread, if there is room for it.
fn admit(id: u64, stream: UnixStream, shared: &Arc<Shared>, clients: &Arc<Clients>) {
    let Ok(other) = stream.try_clone() else { return };
    if stream.set_write_timeout(Some(PATIENCE)).is_err() {
        return;
    }
    {
        let mut all = clients.all();
        if all.len() >= MAX_CLIENTS {
            drop(all);
            let mut stream = stream;
            let word = format!("error: {MAX_CLIENTS} clients are connected already\n.\n");
            // It fits into the socket's buffer; who does not read it does not miss much.
            let _ = stream.write_all(word.as_bytes());
            return;
        }
        all.insert(id, other);
    }
    let seat = Seat { id, shared: Arc::clone(shared), clients: Arc::clone(clients) };
    let serve = move || Client::new(id, stream, &seat.shared).serve();
    let thread = thread::Builder::new().name(format!("trapline-client-{id}"));
    // Without a thread the client is disconnected: its streams were in the closure.
    drop(thread.spawn(serve));
}

/// A client's place among the clients, also if its thread panics.
struct Seat {
    id: u64,
    shared: Arc<Shared>,
    clients: Arc<Clients>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.desk.leave(self.id);
        self.clients.all().remove(&self.id);
        self.clients.left.notify_all();
    }
}

impl Clients {
    fn wait_for_begin(&self) {
        let is_due = |clients: &Clients| {
            clients.has_begun.load(Ordering::SeqCst) || clients.is_over.load(Ordering::SeqCst)
        };
        while !is_due(self) {
            thread::park();
        }
    }

    /// Disconnects all. Each may read to the end what it is being answered, if it does so at once.
    fn see_off(&self) {
        let end = |all: &BTreeMap<u64, UnixStream>, how| {
            for stream in all.values() {
                // It may have gone by itself.
                let _ = stream.shutdown(how);
            }
        };
        let all = self.all();
        end(&all, Shutdown::Read);
        let waited = self.left.wait_timeout_while(all, FAREWELL, |all| !all.is_empty());
        end(&waited.unwrap_or_else(PoisonError::into_inner).0, Shutdown::Both);
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, UnixStream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes an answer: its lines, then one with a dot alone.
fn write_answer(stream: &mut UnixStream, answer: &str) -> io::Result<()> {
    let mut out = String::with_capacity(answer.len() + 8);
    for line in answer.lines() {
        if line.starts_with('.') {
            out.push('.');
        }
        out.push_str(line);
        out.push('\n');
    }
    out.push_str(".\n");
    stream.write_all(out.as_bytes())
}
