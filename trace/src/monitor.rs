//! The monitor: answers about a program from within it, and orders to it, over a Unix socket.
//!
//! `docs/monitor.md` says how one talks to it. The loop hands what happens to a ring; a thread keeps the mirror
//! from that, and threads of the clients look at the mirror. So nobody but the loop's thread ever reads the
//! state of the kernel, and whoever asks is answered also while the loop is stuck. Orders go the other way, by
//! the [`Desk`]; the loop looks there between two steps.

pub mod answers;
pub mod command;
mod desk;
mod keeper;
mod key_frame;
mod orders;
mod server;
mod socket;
mod stuck;
mod watch;

use std::cell::RefCell;
use std::env;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use trapline_scheduler::{Event, Scheduler, Step};

use crate::agent::{Behind, Feed, Intake, Outlet, feed};
use crate::record::About;
use server::Server;

pub use desk::Desk;
pub use keeper::Keeper;
pub use key_frame::key_frame;
pub use orders::Orders;
pub use socket::{Socket, SocketError};
pub use stuck::{Doing, LoopThread};
pub use watch::Watch;

/// What lies between the loop and the mirror: what a busy loop says in some fifty milliseconds.
const RING_BYTES: usize = 1 << 20;

/// So much is taken out of the ring at a time, at most twice in a row.
const TAKEN_BYTES: usize = RING_BYTES / 2;

/// The loop's end of the monitor: hands on what happens.
#[derive(Debug)]
pub struct Monitor {
    feed: Feed,
    watch: Rc<RefCell<Watch>>,
    shared: Arc<Shared>,
    server: Server,
}

impl Monitor {
    /// Opens the socket, at `path` or at the default place, and answers there; orders are refused where
    /// `read_only`. Both parts are for one [`Agent`](crate::agent::Agent).
    ///
    /// # Errors
    /// If a living program has the socket, others may enter its directory, or the operating system refuses.
    pub fn open(path: Option<&Path>, read_only: bool) -> Result<(Monitor, Orders), SocketError> {
        let socket = Socket::open(path)?;
        let (feed, intake) = feed(RING_BYTES, Behind::Skip);
        let shared = Arc::new(Shared {
            known: Mutex::new(Known {
                intake,
                keeper: Keeper::new(LoopThread::current(), now()),
                bytes: Vec::new(),
            }),
            desk: Desk::default(),
            read_only,
            program: program_name(),
        });
        let watch = Rc::new(RefCell::new(Watch::default()));
        let orders = Orders::new(Arc::clone(&shared), Rc::clone(&watch));
        let server = Server::start(socket, Arc::clone(&shared))?;
        Ok((Monitor { feed, watch, shared, server }, orders))
    }

    /// Where the socket is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.server.path()
    }
}

impl Outlet for Monitor {
    fn begin(&mut self, scheduler: &mut Scheduler) {
        self.shared.desk.set_interrupter(scheduler.interrupter());
        self.shared.known().keeper.set_thread(LoopThread::current());
        self.feed.begin(scheduler);
    }

    #[inline]
    fn event(&mut self, event: &Event<'_>) {
        self.watch.borrow_mut().event(event);
        self.feed.event(event);
    }

    fn step_end(&mut self, scheduler: &mut Scheduler, step: &Step) {
        self.feed.step_end(scheduler, step);
    }

    fn publish(&mut self) {
        self.feed.publish();
    }

    fn say(&mut self, about: About, topic: &'static str, text: &str) {
        self.feed.say(about, topic, text);
    }

    fn set_ordered(&mut self, is_ordered: bool) {
        self.feed.set_ordered(is_ordered);
    }

    fn end(&mut self) {
        self.feed.end();
        self.shared.desk.close();
        self.server.stop();
    }
}

/// What the threads of the monitor and the loop share.
#[derive(Debug)]
struct Shared {
    known: Mutex<Known>,
    desk: Desk,
    read_only: bool,
    program: String,
}

#[derive(Debug)]
struct Known {
    intake: Intake,
    keeper: Keeper,
    bytes: Vec<u8>,
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives what is known, and the time, after what the loop has published until now was taken in.
    fn ask<T>(&self, question: impl FnOnce(&mut Keeper, Instant) -> T) -> T {
        let mut known = self.known();
        let now = now();
        known.take_in(now);
        question(&mut known.keeper, now)
    }

    /// The loop is held, or goes on. What it has published before is known then.
    fn set_held(&self, is_held: bool) {
        self.ask(|keeper, now| keeper.set_held(is_held, now));
        self.desk.set_held(is_held);
    }
}

impl Known {
    /// Takes in what the loop has published. Not without end: it may publish faster than this takes.
    fn take_in(&mut self, now: Instant) {
        for _ in 0..2 {
            self.bytes.clear();
            while self.bytes.len() < TAKEN_BYTES && self.intake.take(&mut self.bytes).is_some() {}
            self.keeper.take(&self.bytes, now);
            if self.bytes.len() < TAKEN_BYTES {
                return;
            }
        }
    }
}

/// The time, on the clock of the monitor.
#[expect(
    clippy::disallowed_methods,
    reason = "the monitor says how long the loop has been silent; nothing in the loop depends on it"
)]
fn now() -> Instant {
    Instant::now()
}

fn program_name() -> String {
    let program = env::args_os().next().unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or_default();
    answers::escaped(&name.to_string_lossy())
}
