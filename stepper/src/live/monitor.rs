//! The monitor's client: two connections, one that orders and one that looks, each on a thread of its own.
//!
//! An order may have to wait for the loop; whoever looks need not.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering as Memory};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use super::connection::Connection;
use super::status::{Doing, Status};

/// How often it is looked what the program does, unless an order was answered.
const LOOK: Duration = Duration::from_millis(100);

/// What came of an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    /// What [`Live::order`](super::Live::order) gave for it.
    pub(crate) ticket: u64,
    /// The order.
    pub(crate) order: String,
    /// What the monitor said: begins with `done: `, `queued: `, `refused: ` or `error: `, and may have more lines.
    pub(crate) text: String,
}

impl Answer {
    /// Whether it is done.
    pub(crate) fn is_done(&self) -> bool {
        self.text.starts_with("done: ")
    }

    /// Whether it will be done once the loop comes to it.
    pub(crate) fn is_queued(&self) -> bool {
        self.text.starts_with("queued: ")
    }
}

#[derive(Debug)]
pub(super) struct Client {
    shared: Arc<Shared>,
    orders: Option<Sender<(u64, String)>>,
    last_ticket: AtomicU64,
    /// Ends what the threads wait for.
    streams: [UnixStream; 2],
    /// Who looks, then who orders.
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    status: Mutex<Status>,
    answers: Mutex<VecDeque<Answer>>,
    /// So many orders have been given and not been answered.
    unanswered: AtomicU64,
    is_over: AtomicBool,
}

impl Client {
    /// Connects twice, and begins to look; `None` if the program goes away meanwhile.
    pub(super) fn connect(socket: &Path) -> io::Result<Option<Client>> {
        let (mut ordering, mut looking) = (Connection::open(socket)?, Connection::open(socket)?);
        let greeted = ordering.answer()?.and(looking.answer()?);
        // Who we are among its clients: so we can tell whether it is we who may order.
        let Some(facts) = greeted.and(ordering.ask("facts")?) else { return Ok(None) };
        let us = facts.iter().find_map(|line| line.strip_prefix("client ")?.parse().ok());
        let shared = Arc::new(Shared::default());
        *lock(&shared.status) = Status::of_facts(&facts, us);
        let streams = [ordering.stream()?, looking.stream()?];
        let looked = Arc::clone(&shared);
        let looker = spawn("looker", move || {
            look(&mut looking, us, &looked);
            looked.is_over.store(true, Memory::Release);
            lock(&looked.status).doing = Doing::Gone;
        })?;
        let (orders, laid) = channel();
        let (answered, eyes) = (Arc::clone(&shared), looker.thread().clone());
        let orderer = spawn("orderer", move || obey(&mut ordering, &laid, &answered, &eyes))?;
        Ok(Some(Client {
            shared,
            orders: Some(orders),
            last_ticket: AtomicU64::new(0),
            streams,
            threads: vec![looker, orderer],
        }))
    }

    pub(super) fn order(&self, order: &str) -> u64 {
        let ticket = self.last_ticket.fetch_add(1, Memory::Relaxed) + 1;
        self.shared.unanswered.fetch_add(1, Memory::AcqRel);
        let sent = self.orders.as_ref().map(|orders| orders.send((ticket, order.to_owned())));
        if !matches!(sent, Some(Ok(()))) {
            self.shared.answer(ticket, order.to_owned(), GONE.to_owned());
        }
        ticket
    }

    pub(super) fn answers(&self) -> Vec<Answer> {
        lock(&self.shared.answers).drain(..).collect()
    }

    pub(super) fn status(&self) -> Status {
        let mut status = lock(&self.shared.status).clone();
        let unanswered = self.shared.unanswered.load(Memory::Acquire);
        status.undone = status.undone.max(unanswered);
        status
    }

    /// Has it looked at once what the program does.
    pub(super) fn look(&self) {
        if let Some(looker) = self.threads.first() {
            looker.thread().unpark();
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.shared.is_over.load(Memory::Acquire)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Memory::Release);
        self.orders = None;
        for stream in &self.streams {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            // It does nothing that can panic.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn answer(&self, ticket: u64, order: String, text: String) {
        lock(&self.answers).push_back(Answer { ticket, order, text });
        self.unanswered.fetch_sub(1, Memory::AcqRel);
    }
}

/// What an order is told once there is nobody to obey it.
const GONE: &str = "refused: the run is over";

/// Asks what the program does, again and again.
fn look(connection: &mut Connection, us: Option<u64>, shared: &Shared) {
    while !shared.is_over.load(Memory::Acquire) {
        let Ok(Some(facts)) = connection.ask("facts") else { return };
        *lock(&shared.status) = Status::of_facts(&facts, us);
        thread::park_timeout(LOOK);
    }
}

/// Hands on each order, and keeps its answer.
fn obey(
    connection: &mut Connection,
    laid: &Receiver<(u64, String)>,
    shared: &Shared,
    eyes: &Thread,
) {
    for (ticket, order) in laid {
        let text = match connection.ask(&order) {
            Ok(Some(lines)) => lines.join("\n"),
            Ok(None) | Err(_) => GONE.to_owned(),
        };
        shared.answer(ticket, order, text);
        eyes.unpark();
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
