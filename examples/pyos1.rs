//! Step 1: a task.
//!
//! A task is a coroutine that somebody else runs. In Rust the coroutine is a future: polling it runs
//! it to its next yield, and it yields by returning `Pending`. We put an id beside it, and the value
//! that its yield returns when it goes on. There is no scheduler yet: `main` runs the task by hand.

use std::cell::Cell;
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

async fn foo() {
    println!("Part 1");
    yield_now().await;
    println!("Part 2");
    yield_now().await;
}

fn main() {
    let mut task = Task { tid: 1, target: Box::pin(foo()), sendval: 0 };
    assert_eq!(task.run(), Poll::Pending, "task {} yields", task.tid);
    assert_eq!(task.run(), Poll::Pending, "task {} yields again", task.tid);
}
