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
use crate::words::Manner;
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

/// With so much that nobody has asked about, a key frame is rather had than that: to read it takes the mirror some
/// milliseconds, and to write it the loop some microseconds for each task.
const UNREAD: usize = 512 << 10;

/// Between key frames there is so much more than they are long.
const KEYS_APART: usize = 16;

/// More than this is read in any case.
const MOST_UNREAD: usize = 64 << 20;

/// The loop's end of the monitor: hands on what happens.
#[derive(Debug)]
pub struct Monitor {
    feed: Feed,
    watch: Rc<RefCell<Watch>>,
    shared: Arc<Shared>,
    server: Server,
    /// Whether clients are answered: not before there is something to answer.
    is_open: bool,
}

impl Monitor {
    /// Opens the socket, at `path` or at the default place, and answers there; orders are treated in this
    /// `manner`. Both parts are for one [`Agent`](crate::agent::Agent).
    ///
    /// # Errors
    /// If a living program has the socket, others may enter its directory, or the operating system refuses.
    pub fn open(path: Option<&Path>, manner: Manner) -> Result<(Monitor, Orders), SocketError> {
        Monitor::open_with_ring(path, manner, RING_BYTES)
    }

    /// The same, with so large a ring between the loop and the mirror: tests want a small one.
    #[doc(hidden)]
    pub fn open_with_ring(
        path: Option<&Path>,
        manner: Manner,
        ring_bytes: usize,
    ) -> Result<(Monitor, Orders), SocketError> {
        let socket = Socket::open(path)?;
        let (feed, intake) = feed(ring_bytes, Behind::Skip);
        let shared = Arc::new(Shared {
            known: Mutex::new(Known {
                intake,
                keeper: Keeper::new(LoopThread::current(), now()),
                bytes: Vec::new(),
                key_bytes: 0,
                has_asked: false,
                heard: now(),
                started: now(),
            }),
            desk: Desk::default(),
            read_only: manner == Manner::ReadOnly,
            program: program_name(),
        });
        let watch = Rc::new(RefCell::new(Watch::default()));
        let is_held = manner == Manner::Held && socket.is_of_first_run();
        let orders = Orders::new(Arc::clone(&shared), Rc::clone(&watch), is_held);
        let server = Server::start(socket, Arc::clone(&shared))?;
        Ok((Monitor { feed, watch, shared, server, is_open: false }, orders))
    }

    /// Where the socket is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.server.path()
    }

    /// Has clients answered from now on. Those that have called wait until then: the tasks with which a run begins
    /// may be spawned after it was listened to, and who asks in between would be told that there are none.
    #[cold]
    fn open_doors(&mut self) {
        self.is_open = true;
        self.server.begin();
    }
}

impl Outlet for Monitor {
    fn begin(&mut self, scheduler: &mut Scheduler) {
        self.shared.desk.set_interrupter(scheduler.interrupter());
        self.shared.known().keeper.set_thread(LoopThread::current());
        self.feed.begin(scheduler);
        // The first step may be to sleep.
        if !scheduler.has_ready() && scheduler.task_count() > 0 {
            self.open_doors();
        }
    }

    #[inline]
    fn event(&mut self, event: &Event<'_>) {
        self.watch.borrow_mut().event(event);
        self.feed.event(event);
        // That is published, and the task may keep the loop.
        if !self.is_open && matches!(event, Event::Taken { .. }) {
            self.open_doors();
        }
    }

    fn step_end(&mut self, scheduler: &mut Scheduler, step: &Step) {
        self.feed.step_end(scheduler, step);
    }

    fn publish(&mut self) {
        self.feed.publish();
    }

    fn catch_up(&mut self, scheduler: &mut Scheduler) {
        self.feed.publish();
        // Makes room, whether or not the other thread has a turn.
        let _ = self.shared.known().take_in(now());
        self.feed.catch_up(scheduler);
        if !self.is_open {
            self.open_doors();
        }
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
    /// What has been published since the mirror was brought up to date, or since a key frame.
    bytes: Vec<u8>,
    /// How long the last key frame was.
    key_bytes: usize,
    /// Whether the loop has been asked for one.
    has_asked: bool,
    /// When the loop was last heard.
    heard: Instant,
    started: Instant,
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
        known.read();
        question(&mut known.keeper, now)
    }

    /// Takes what the loop has published; says whether there was anything.
    fn take_in(&self) -> bool {
        self.known().take_in(now())
    }

    /// The loop is held, or goes on, when its clock says this. What it has published before is known then.
    fn set_held(&self, is_held: bool, clock_nanos: u64) {
        self.ask(|keeper, now| keeper.set_held(is_held, clock_nanos, now));
        self.desk.set_held(is_held);
    }
}

impl Known {
    /// Takes what the loop has published. It is not looked at before somebody asks: by then it may have been
    /// replaced by a key frame. Says whether there was anything. Not without end: the loop may publish faster than
    /// this takes.
    fn take_in(&mut self, now: Instant) -> bool {
        // So that the loop knows, without asking, when it may write a key frame after a gap.
        let seconds = now.duration_since(self.started).as_secs();
        self.intake.set_seconds(u32::try_from(seconds).unwrap_or(u32::MAX));
        let mut taken = 0;
        while taken < RING_BYTES {
            let before = self.bytes.len();
            let Some((_, is_key)) = self.intake.take_batch(&mut self.bytes) else { break };
            taken += self.bytes.len() - before;
            // Who reads along wants all of it.
            if is_key && !self.keeper.has_streams() {
                self.bytes.drain(..before);
                self.key_bytes = self.bytes.len();
                self.has_asked = false;
            }
        }
        if taken > 0 {
            self.heard = now;
        }
        if self.keeper.has_streams() || self.bytes.len() > MOST_UNREAD {
            self.read();
        } else if !self.has_asked && self.bytes.len() > UNREAD.max(KEYS_APART * self.key_bytes) {
            self.has_asked = true;
            self.intake.want_key_frame();
        }
        taken > 0
    }

    /// Brings the mirror up to date.
    fn read(&mut self) {
        self.keeper.take(&self.bytes, self.heard);
        self.keeper.set_in_gap(self.intake.is_in_gap());
        self.bytes.clear();
        self.has_asked = false;
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
