//! A thread that blocks, and a scheduler that it feeds.
//!
//! ```text
//! printf 'salt\npepper\n' | cargo run --example fed_by_a_thread
//! ```
//!
//! Reading a terminal or a pipe line by line blocks, so a thread does it. For each line it starts a task in
//! the scheduler, through a handle; the tasks take their time, each as long as its word, and run side by
//! side. When the thread has read all it waits for them, in the order in which it started them.

use std::error::Error;
use std::io::{self, BufRead};
use std::time::Duration;

use trapline::{Handle, Scheduler};

/// Runs in the scheduler. What it holds need not be `Send`; what it gives goes back to the thread.
async fn season(word: String) -> String {
    let millis = 10 * word.len() as u64;
    trapline::sleep(Duration::from_millis(millis)).await;
    format!("{word}: {millis} ms, in task {}", trapline::get_tid().await)
}

/// Runs on a thread.
fn feed(scheduler: &Handle) -> io::Result<()> {
    let mut started = Vec::new();
    for word in io::stdin().lock().lines() {
        let word = word?;
        started.push(scheduler.spawn(move || season(word)));
    }
    for task in started {
        println!("{}", task.join().map_err(io::Error::other)?);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut scheduler = Scheduler::new();
    let handle = scheduler.handle();
    // The scheduler runs until the thread is done; it sleeps while there is nothing to do.
    trapline::trace::block_on(&mut scheduler, trapline::unblock(move || feed(&handle)))??;
    Ok(())
}
