//! What the tests of the trap share: a scheduler that cannot hang, and wakers that are nobody's.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(unreachable_pub, reason = "a module of several test programs")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use trapline::{Builder, Event, Scheduler};

/// Virtual clock, every trap a scheduling point; a wake-up that is lost ends the run with an
/// error.
pub fn builder() -> Builder {
    Scheduler::builder().quantum(1).virtual_clock().stall_limit(Duration::from_secs(1))
}

/// Such a scheduler.
pub fn scheduler() -> Scheduler {
    builder().build()
}

/// Lines that a probe, or the tasks, wrote.
#[derive(Clone, Default)]
pub struct Trace(Rc<RefCell<Vec<String>>>);

impl Trace {
    pub fn say(&self, line: impl ToString) {
        self.0.borrow_mut().push(line.to_string());
    }

    /// Takes the lines written since the last time.
    pub fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

/// A scheduler that writes its trace.
pub fn traced() -> (Scheduler, Trace) {
    let trace = Trace::default();
    let lines = trace.clone();
    let probe = move |event: &Event<'_>| {
        if !is_beside(event) {
            lines.say(event);
        }
    };
    (builder().probe(probe).build(), trace)
}

/// What most traces would be longer by, and no clearer.
pub fn is_beside(event: &Event<'_>) -> bool {
    matches!(
        event,
        Event::Rested { .. }
            | Event::LooksOutside { .. }
            | Event::WokenRunning { .. }
            | Event::WokenReady { .. }
            | Event::Frame { .. }
            | Event::Thread { .. }
            | Event::Noted { .. }
    )
}

/// Nothing is in the tables: no task, call, timer, source or outcome.
#[track_caller]
pub fn assert_empty(scheduler: &Scheduler) {
    scheduler.check_invariants();
    assert_eq!(scheduler.table_sizes(), [0; 6], "tasks, calls, timers, sources, ours, outcomes");
}

/// Runs to the end; nobody may have failed unseen, and nothing may be left.
#[track_caller]
pub fn run_clean(scheduler: &mut Scheduler) {
    let report = scheduler.run().unwrap();
    assert_eq!(report.failures, 0, "{report}");
    assert_empty(scheduler);
}

/// Steps until the next step would look at the outside. Says how many steps there were.
pub fn step_while_ready(scheduler: &mut Scheduler) -> usize {
    let mut steps = 0;
    while scheduler.step().task().is_some() {
        steps += 1;
        assert!(steps < 100_000, "it never comes to rest");
    }
    steps
}

/// A waker that is not a task's: it counts.
#[derive(Default)]
pub struct Counter(AtomicUsize);

impl Counter {
    pub fn new() -> (Arc<Counter>, Waker) {
        let counter = Arc::new(Counter::default());
        (Arc::clone(&counter), Waker::from(counter))
    }

    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls once under `waker`.
pub fn poll_under<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// Polls once under a waker that does nothing.
pub fn poll_idly<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_under(future, Waker::noop())
}

/// Polls once under the task's own waker, whatever comes of it.
pub async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// Gives way once, without a call: the task's own waker is called at once.
pub async fn give_way() {
    let mut given = false;
    std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The text with which `action` panics.
#[track_caller]
pub fn panic_of<T>(action: impl FnOnce() -> T) -> String {
    match catch_unwind(AssertUnwindSafe(action)) {
        Ok(_) => panic!("it should have panicked"),
        Err(payload) => text_of(&*payload),
    }
}

/// What a panic said.
pub fn text_of(payload: &(dyn Any + Send)) -> String {
    match payload.downcast_ref::<String>() {
        Some(text) => text.clone(),
        None => (*payload.downcast_ref::<&str>().unwrap()).to_owned(),
    }
}

/// Does something when it is dropped.
pub struct OnDrop<F: FnMut()>(pub F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A place that outlives the tasks, where they can leave a future for others, or take one.
pub struct Slot<T>(Rc<RefCell<Option<T>>>);

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Slot<T> {
        Slot(Rc::clone(&self.0))
    }
}

impl<T> Slot<T> {
    pub fn new() -> Slot<T> {
        Slot(Rc::new(RefCell::new(None)))
    }

    pub fn put(&self, thing: T) {
        self.0.replace(Some(thing));
    }

    pub fn take(&self) -> Option<T> {
        self.0.take()
    }

    pub fn is_full(&self) -> bool {
        self.0.borrow().is_some()
    }
}
