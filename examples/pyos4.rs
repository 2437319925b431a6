//! Step 4: system calls.
//!
//! A task cannot see the scheduler, but it can ask for something: it leaves a call at the door, and
//! yields. That is a trap. The main loop finds the call, serves it with the caller and the scheduler at
//! hand, and sends the reply in when the caller's turn comes again. The first call is `GetTid`.
//!
//! In the original the value sent in stayed, so that a bare yield returned the reply of the last call.
//! Here `Task::run` takes it, and a bare yield returns 0.

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
    /// The way out of a task: the call that it yields with, if any.
    static CALL: Cell<Option<Syscall>> = const { Cell::new(None) };
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

/// What a task can ask of the scheduler.
enum Syscall {
    GetTid,
}

/// Makes a system call, and returns the reply: one number, as a processor's register would hold.
async fn trap(call: Syscall) -> usize {
    CALL.set(Some(call));
    yield_now().await
}

/// Asks for the caller's own id.
async fn get_tid() -> Tid {
    trap(Syscall::GetTid).await
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

    /// Removes a task that has ended.
    fn exit(&mut self, tid: Tid) {
        self.tasks.remove(&tid);
        println!("Task {tid} terminated");
    }

    /// Serves a call, and answers it: a line for each kind.
    fn serve(&mut self, caller: Tid, call: Syscall) {
        let reply = match call {
            Syscall::GetTid => caller,
        };
        self.reply(caller, reply);
    }

    /// Answers a call; its caller goes to the back of the queue.
    fn reply(&mut self, tid: Tid, value: usize) {
        let task = self.tasks.get_mut(&tid).expect("a caller exists");
        task.sendval = value;
        self.ready.push_back(tid);
    }

    /// Gives turns until no task is ready.
    fn main_loop(&mut self) {
        while let Some(tid) = self.ready.pop_front() {
            let task = self.tasks.get_mut(&tid).expect("a ready task exists");
            match task.run() {
                Poll::Ready(()) => self.exit(tid),
                Poll::Pending => match CALL.take() {
                    Some(call) => self.serve(tid, call),
                    None => self.ready.push_back(tid),
                },
            }
        }
    }
}

async fn foo() {
    let tid = get_tid().await;
    for _ in 0..5 {
        println!("I'm foo {tid}");
        yield_now().await;
    }
}

async fn bar() {
    let tid = get_tid().await;
    for _ in 0..10 {
        println!("I'm bar {tid}");
        yield_now().await;
    }
}

fn main() {
    let mut scheduler = Scheduler::default();
    scheduler.new_task(Box::pin(foo()));
    scheduler.new_task(Box::pin(bar()));
    scheduler.main_loop();
}
