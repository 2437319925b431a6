//! Tasks that belong to somebody, and do not outlive it.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use trapline_abi::{NewTask, Post, Ring, TaskId, TaskOptions, WaitQueue};

pub(crate) type Body = Pin<Box<dyn Future<Output = ()>>>;

/// The tasks that something has started. They are killed when it is dropped.
///
/// A member is started by a post, which does not tell its id; so it says so itself at its first poll,
/// and until then its future lies here. That way a crew that is dropped drops it at once.
pub(crate) struct Crew {
    core: Rc<Core>,
}

struct Core {
    /// In the order in which they were started.
    places: RefCell<BTreeMap<u64, Place>>,
    next: Cell<u64>,
    /// Where to wait for one to leave.
    left: WaitQueue,
}

/// A task to be started.
pub(crate) struct Start {
    pub(crate) name: Cow<'static, str>,
    pub(crate) site: &'static Location<'static>,
    pub(crate) body: Body,
}

enum Place {
    Unstarted(Body),
    Started { task: TaskId, ring: &'static Ring, life: u64 },
}

impl Crew {
    /// Nobody; who waits for one to leave waits for `left`, the task table says.
    pub(crate) fn new(left: &'static str, site: &'static Location<'static>) -> Crew {
        let (places, next) = (RefCell::default(), Cell::new(0));
        Crew { core: Rc::new(Core { places, next, left: WaitQueue::signal(left).made_at(site) }) }
    }

    /// Starts a task, by a post. A daemon is one that `run` does not wait for.
    ///
    /// # Panics
    /// Outside a scheduler.
    pub(crate) fn start(&self, start: Start, daemon: bool) {
        let Start { name, site, body } = start;
        let ring = Ring::current().expect("a task is spawned by a task");
        let number = self.core.next.get();
        self.core.next.set(number + 1);
        self.core.places.borrow_mut().insert(number, Place::Unstarted(body));
        let member = Member { core: Rc::clone(&self.core), number, body: None };
        let body = TaskOptions::new().name(name).body(member);
        ring.post(Post::Spawn(NewTask {
            body,
            daemon,
            parent: ring.running(),
            site,
            herald: None,
        }));
    }

    /// How many live, or are about to.
    pub(crate) fn len(&self) -> usize {
        self.core.places.borrow().len()
    }

    /// Waits until no more than `rest` are left.
    pub(crate) async fn at_most(&self, rest: usize, site: &'static Location<'static>) {
        while self.len() > rest {
            self.core.left.park_at(site).await;
        }
    }

    /// Kills those who run, and drops the others.
    pub(crate) fn kill(&self) {
        let mut places = self.core.places.borrow_mut();
        for place in places.values() {
            if let Place::Started { task, ring, life } = place
                && ring.life() == *life
            {
                ring.post(Post::Kill(*task));
            }
        }
        let unstarted: Vec<(u64, Place)> =
            places.extract_if(.., |_, place| matches!(place, Place::Unstarted(_))).collect();
        drop(places);
        // Foreign code, so the table is free.
        drop(unstarted);
        self.core.left.wake_all();
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.kill();
    }
}

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew").field("members", &self.len()).finish_non_exhaustive()
    }
}

/// One of a crew, as its task sees it.
struct Member {
    core: Rc<Core>,
    number: u64,
    /// What it does; `None` until its first poll.
    body: Option<Body>,
}

impl Member {
    /// Takes up the work. `None` if the crew was killed first.
    fn begin(&self) -> Option<Body> {
        let ring = Ring::of_running_task();
        let task = ring.running()?;
        let started = Place::Started { task, ring, life: ring.life() };
        let mut places = self.core.places.borrow_mut();
        match std::mem::replace(places.get_mut(&self.number)?, started) {
            Place::Unstarted(body) => Some(body),
            Place::Started { .. } => None,
        }
    }
}

impl Future for Member {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.body.is_none() {
            self.body = self.begin();
        }
        match &mut self.body {
            Some(body) => body.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It has left when its destructors have run, also if one of them panics.
        let _leave = Leave { core: Rc::clone(&self.core), number: self.number };
        drop(self.body.take());
    }
}

struct Leave {
    core: Rc<Core>,
    number: u64,
}

impl Drop for Leave {
    fn drop(&mut self) {
        let place = self.core.places.borrow_mut().remove(&self.number);
        drop(place);
        self.core.left.wake_all();
    }
}
