//! Two tasks, stepped through as one would show them in class.
//!
//! ```text
//! cargo run --example stepping
//! ```
//!
//! `step` resumes one task once, serves what it asked, and returns what happened as a value; `show`
//! makes a sentence of it, with names and source lines. After each step comes the ready queue; where
//! nobody stands in it, the whole task table. The clock is virtual, so nobody has to wait while the
//! cook sleeps, and the output is the same every time.

use std::time::Duration;

use trapline::{Scheduler, TaskId, TaskOptions};

/// Orders a soup, lets the cook begin, and waits.
async fn guest() {
    let ordered = trapline::now().await;
    let soup = trapline::spawn(cook()).name("cook").await;
    trapline::yield_now().await;
    let soup = soup.await.expect("the cook neither panics nor is killed");
    let served = trapline::now().await;
    assert_eq!((soup, served - ordered), ("soup", Duration::from_secs(1)));
}

/// Makes a soup, which takes a second.
async fn cook() -> &'static str {
    trapline::yield_now().await;
    trapline::sleep(Duration::from_secs(1)).await;
    trapline::yield_now().await;
    "soup"
}

fn main() {
    let mut scheduler = Scheduler::builder().quantum(1).virtual_clock().build();
    scheduler.spawn_with(TaskOptions::new().name("guest"), guest()).detach();
    print_ready(&scheduler);
    for number in 1.. {
        let step = scheduler.step();
        println!("\n{number}. {}", scheduler.show(&step));
        if step.is_last() {
            break;
        }
        print_ready(&scheduler);
    }
}

fn print_ready(scheduler: &Scheduler) {
    let ready: Vec<String> = scheduler.ready().iter().map(TaskId::to_string).collect();
    if !ready.is_empty() {
        println!("   ready: {}", ready.join(", "));
        return;
    }
    println!("   ready: nobody");
    if scheduler.task_count() == 0 {
        return;
    }
    for line in scheduler.snapshot().to_string().lines() {
        println!("   {line}");
    }
}
