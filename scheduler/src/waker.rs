//! Wakers, for futures that the kernel knows nothing of, and the inbox that their calls from
//! other threads go to, and errands.
//!
//! The kernel's own calls need none of this: it resumes their callers by id.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use trapline_abi::{Door, Errand, Post, Ring, TaskId};

use crate::driver::Unpark;

/// What other threads send.
pub(crate) enum Letter {
    Wake(TaskId),
    Errand(Errand),
}

/// A letter, and the name of the thread that sent it, where somebody wants to know.
pub(crate) type Sent = (Letter, Option<Arc<str>>);

/// Where wake-ups and errands from outside the loop arrive. Every look at the outside empties it.
pub(crate) struct Inbox {
    /// The life of the ring whose scheduler this is.
    life: u64,
    letters: Mutex<Vec<Sent>>,
    /// Whether somebody wants to know which thread sent what.
    is_signed: AtomicBool,
    filled: AtomicBool,
    /// Whether the loop is, or is about to be, asleep in the driver.
    asleep: AtomicBool,
    closed: AtomicBool,
    unpark: Arc<dyn Unpark>,
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("filled", &self.filled).finish_non_exhaustive()
    }
}

impl Inbox {
    pub(crate) fn new(life: u64, unpark: Arc<dyn Unpark>) -> Arc<Inbox> {
        Arc::new(Inbox {
            life,
            letters: Mutex::default(),
            is_signed: AtomicBool::new(false),
            filled: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            unpark,
        })
    }

    #[inline]
    pub(crate) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::SeqCst)
    }

    /// Empties the inbox, in order of arrival.
    pub(crate) fn take(&self) -> Vec<Sent> {
        if !self.is_filled() {
            return Vec::new();
        }
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        self.filled.store(false, Ordering::SeqCst);
        std::mem::take(&mut letters)
    }

    /// The loop is about to sleep: from here on a wake-up ends the driver's wait.
    pub(crate) fn fall_asleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
    }

    pub(crate) fn awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// The scheduler is gone: wake-ups do nothing, and errands are refused. Gives those that have
    /// not been run, to be dropped: they are foreign.
    pub(crate) fn close(&self) -> Vec<Sent> {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        self.closed.store(true, Ordering::SeqCst);
        std::mem::take(&mut letters)
    }

    /// Whether letters are to carry the name of the thread that sent them.
    pub(crate) fn sign(&self, is_signed: bool) {
        self.is_signed.store(is_signed, Ordering::Relaxed);
    }

    fn push(&self, letter: Letter) -> Result<(), Letter> {
        let sender = self.is_signed.load(Ordering::Relaxed).then(name_of_thread);
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: what is accepted is either run, or given out by `close`.
        if self.closed.load(Ordering::SeqCst) {
            return Err(letter);
        }
        letters.push((letter, sender));
        self.filled.store(true, Ordering::SeqCst);
        drop(letters);
        // Filled first, asleep second; the loop sets and looks the other way about, so at least
        // one of the two sees the other.
        if self.asleep.load(Ordering::SeqCst) {
            self.unpark.unpark();
        }
        Ok(())
    }
}

/// What the calling thread is called: by its number, if it has no name.
#[cold]
fn name_of_thread() -> Arc<str> {
    let thread = std::thread::current();
    match thread.name() {
        Some(name) => Arc::from(name),
        None => Arc::from(format!("{:?}", thread.id())),
    }
}

impl Door for Inbox {
    fn send(&self, errand: Errand) -> Result<(), Errand> {
        match self.push(Letter::Errand(errand)) {
            Err(Letter::Errand(errand)) => Err(errand),
            _ => Ok(()),
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}

struct Shared {
    /// The task; another one's once the waker has been recycled.
    task: AtomicU64,
    /// Whether it stands in the inbox already.
    queued: AtomicBool,
    inbox: Arc<Inbox>,
}

impl Shared {
    fn task(&self) -> TaskId {
        let word = NonZeroU64::new(self.task.load(Ordering::Relaxed));
        TaskId::from_bits(word.expect("a waker holds a task's id"))
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        match Ring::current() {
            Some(ring) if ring.life() == self.inbox.life => ring.post(Post::Wake(self.task())),
            _ if self.queued.swap(true, Ordering::SeqCst) => {}
            // To a scheduler that is gone it is nothing.
            _ => drop(self.inbox.push(Letter::Wake(self.task()))),
        }
    }
}

/// What a task's own waker leads to. The waker is made when the task is born, and compared by its
/// data pointer ever after.
pub(crate) struct TaskWaker {
    shared: Arc<Shared>,
}

/// How many references are the kernel's own: one here, and one in the task's waker.
const OWN_REFERENCES: usize = 2;

impl TaskWaker {
    pub(crate) fn new(task: TaskId, inbox: &Arc<Inbox>) -> TaskWaker {
        let shared = Arc::new(Shared {
            task: AtomicU64::new(task.to_bits().get()),
            queued: AtomicBool::new(false),
            inbox: Arc::clone(inbox),
        });
        TaskWaker { shared }
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.shared))
    }

    /// Whether somebody else holds a clone, and so may wake the task.
    #[inline]
    pub(crate) fn is_held_elsewhere(&self) -> bool {
        let held = Arc::strong_count(&self.shared) > OWN_REFERENCES;
        // Whoever dropped the last clone has finished what it did with it.
        fence(Ordering::Acquire);
        held
    }

    /// Makes it the waker of another task. Only where nobody else holds it (stale-id).
    #[inline]
    pub(crate) fn retarget(&self, task: TaskId) {
        self.shared.task.store(task.to_bits().get(), Ordering::Relaxed);
        self.shared.queued.store(false, Ordering::Relaxed);
    }

    /// It has been taken out of the inbox.
    pub(crate) fn taken_from_inbox(&self) {
        // A swap, not a store: it takes over what a thread published that found the flag set.
        self.shared.queued.swap(false, Ordering::SeqCst);
    }
}
