//! Step 6: tasks that wait for tasks.
//!
//! `WaitTask` is the first call that blocks. To block a task is to do nothing: it is not put back in
//! the queue, and its id is noted where whoever is to wake it will look. Here that is `exit`. The call
//! replies 1 when the target has ended, and 0 at once if there is nobody to wait for.
//!
//! In the original a task that waited for itself was never heard of again. Here that replies 0.

#![allow(dead_code, reason = "the tasks below do not make every call")]

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
    NewTask(Coroutine),
    KillTask(Tid),
    WaitTask(Tid),
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

/// Starts a task, and returns its id.
async fn new_task(target: impl Future<Output = ()> + 'static) -> Tid {
    trap(Syscall::NewTask(Box::pin(target))).await
}

/// Kills a task, and returns whether it existed.
async fn kill_task(victim: Tid) -> bool {
    trap(Syscall::KillTask(victim)).await == 1
}

/// Waits until a task has ended, and returns whether there was one to wait for.
async fn wait_task(target: Tid) -> bool {
    trap(Syscall::WaitTask(target)).await == 1
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
    exit_waiting: BTreeMap<Tid, Vec<Tid>>,
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

    /// Ends a task wherever it is, and returns whether it existed.
    fn kill(&mut self, victim: Tid) -> bool {
        let existed = self.tasks.contains_key(&victim);
        if existed {
            self.exit(victim);
        }
        existed
    }

    /// Makes a task wait until another has ended.
    fn wait_for_exit(&mut self, tid: Tid, target: Tid) -> Option<usize> {
        if target == tid || !self.tasks.contains_key(&target) {
            return Some(0);
        }
        self.exit_waiting.entry(target).or_default().push(tid);
        None
    }

    /// Removes a task that has ended, and wakes those who wait for that.
    fn exit(&mut self, tid: Tid) {
        self.tasks.remove(&tid);
        println!("Task {tid} terminated");
        for waiter in self.exit_waiting.remove(&tid).unwrap_or_default() {
            self.reply(waiter, 1);
        }
    }

    /// Serves a call, and answers it unless it blocks: a line for each kind.
    fn serve(&mut self, caller: Tid, call: Syscall) {
        let reply = match call {
            Syscall::GetTid => Some(caller),
            Syscall::NewTask(target) => Some(self.new_task(target)),
            Syscall::KillTask(victim) => Some(self.kill(victim).into()),
            Syscall::WaitTask(target) => self.wait_for_exit(caller, target),
        };
        if let Some(value) = reply {
            self.reply(caller, value);
        }
    }

    /// Answers a call; its caller goes to the back of the queue.
    fn reply(&mut self, tid: Tid, value: usize) {
        let Some(task) = self.tasks.get_mut(&tid) else {
            return; // It was killed while it waited for the reply.
        };
        task.sendval = value;
        self.ready.push_back(tid);
    }

    /// Gives turns until no task is ready.
    fn main_loop(&mut self) {
        while let Some(tid) = self.ready.pop_front() {
            let Some(task) = self.tasks.get_mut(&tid) else {
                continue; // It was killed while it waited for its turn.
            };
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
    for _ in 0..5 {
        println!("I'm foo");
        yield_now().await;
    }
}

async fn parent() {
    let child = new_task(foo()).await;
    println!("Waiting for child");
    wait_task(child).await;
    println!("Child done");
}

fn main() {
    let mut scheduler = Scheduler::default();
    scheduler.new_task(Box::pin(parent()));
    scheduler.main_loop();
}
