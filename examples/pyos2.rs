//! Step 2: a scheduler.
//!
//! Many tasks take turns. The scheduler keeps them in a table, and their ids in a queue of those ready
//! to run. Its main loop takes the first id, runs that task to its next yield, and puts the id back at
//! the end. No task knows of the others: each yields, and goes on some time later.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

type Tid = usize;
type Coroutine = Pin<Box<dyn Future<Output = ()>>>;

thread_local! {
    /// The way into a task: what its yield returns when it goes on.
    static SENT: Cell<usize> = const { Cell::new(0) };
}

/// Suspends the task, and returns what is sent in when it goes on.
async fn yield_now() -> usize {
    let mut suspended = false;
    poll_fn(|_| match mem::replace(&mut suspended, true) {
        false => Poll::Pending,
        true => Poll::Ready(SENT.get()),
    })
    .await
}

/// A coroutine that somebody else runs.
struct Task {
    tid: Tid,
    target: Coroutine,
    sendval: usize,
}

impl Task {
    /// Runs the task to its next yield (`Pending`) or to its end (`Ready`).
    fn run(&mut self) -> Poll<()> {
        // Taken, not copied: what is sent is sent once.
        SENT.set(mem::take(&mut self.sendval));
        let mut context = Context::from_waker(Waker::noop());
        self.target.as_mut().poll(&mut context)
    }
}

/// Takes turns among its tasks, first come, first served.
#[derive(Default)]
struct Scheduler {
    last_tid: Tid,
    tasks: BTreeMap<Tid, Task>,
    ready: VecDeque<Tid>,
}

impl Scheduler {
    /// Makes a task of a coroutine, ready to run after all the others.
    fn new_task(&mut self, target: Coroutine) -> Tid {
        self.last_tid += 1;
        let task = Task { tid: self.last_tid, target, sendval: 0 };
        self.ready.push_back(task.tid);
        self.tasks.insert(task.tid, task);
        self.last_tid
    }

    /// Gives so many turns; the original never stopped.
    fn main_loop(&mut self, turns: usize) {
        for _ in 0..turns {
            let tid = self.ready.pop_front().expect("some task is ready");
            let task = self.tasks.get_mut(&tid).expect("a ready task exists");
            assert_eq!(task.run(), Poll::Pending, "no task ends in this step");
            self.ready.push_back(tid);
        }
    }
}

async fn foo() {
    loop {
        println!("I'm foo");
        yield_now().await;
    }
}

async fn bar() {
    loop {
        println!("I'm bar");
        yield_now().await;
    }
}

fn main() {
    let mut scheduler = Scheduler::default();
    scheduler.new_task(Box::pin(foo()));
    scheduler.new_task(Box::pin(bar()));
    let rounds = 5;
    scheduler.main_loop(2 * rounds);
}
