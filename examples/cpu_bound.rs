//! Tasks that compute, beside one that keeps time.
//!
//! ```text
//! cargo run --release --example cpu_bound
//! ```
//!
//! A loop that runs one task at a time runs nobody else while a task computes: the clock, which wants to
//! tick every 5 ms, does not tick until all have done. Handed to `unblock`, the same functions run on other
//! threads, and the loop is free. The scheduler was asked to tell of steps that keep it for too long, and so
//! it names the culprits, with the lines between which they did not stop.

use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::time::Duration;

use trapline::{Event, RunError, Scheduler, TaskOptions};

const TICK: Duration = Duration::from_millis(5);
const TASKS: u32 = 4;

/// Takes its time, as it did in class.
fn fib(n: u32) -> u64 {
    if n < 2 { u64::from(n) } else { fib(n - 1) + fib(n - 2) }
}

/// The 35th, which no compiler is to know beforehand.
fn work() -> u64 {
    fib(black_box(35))
}

/// What the clock saw while the others computed.
#[derive(Default)]
struct Seen {
    computing: Cell<u32>,
    on_time: Cell<u32>,
    late: Cell<u32>,
    latest: Cell<Duration>,
}

/// Ticks until the others have done, and notes how late it was.
#[trapline::traced]
async fn clock(seen: Rc<Seen>) {
    let mut due = trapline::now().await + TICK;
    loop {
        let woken = trapline::sleep_until(due).await;
        let lateness = woken - due;
        seen.latest.set(seen.latest.get().max(lateness));
        let count = if lateness < TICK { &seen.on_time } else { &seen.late };
        count.set(count.get() + 1);
        if seen.computing.get() == 0 {
            return;
        }
        due = woken + TICK;
    }
}

#[trapline::traced]
async fn compute(seen: Rc<Seen>, on_a_thread: bool) {
    let result = if on_a_thread { trapline::unblock(work).await } else { work() };
    assert_eq!(result, 9_227_465);
    seen.computing.set(seen.computing.get() - 1);
}

fn run(on_a_thread: bool) -> Result<(), RunError> {
    println!("{}:", if on_a_thread { "with `unblock`" } else { "on the loop" });
    let seen = Rc::new(Seen::default());
    seen.computing.set(TASKS);
    let mut scheduler = Scheduler::builder()
        .slow_step(TICK)
        .probe(|event: &Event<'_>| {
            if let Event::SlowStep { .. } = event {
                println!("  task {event}");
            }
        })
        .build();
    scheduler.spawn_with(TaskOptions::new().name("clock"), clock(Rc::clone(&seen))).detach();
    for _ in 0..TASKS {
        scheduler.spawn(compute(Rc::clone(&seen), on_a_thread)).detach();
    }
    let _no_failures = trapline::trace::run(&mut scheduler)?;
    let Seen { on_time, late, latest, .. } = &*seen;
    println!("  ticks on time: {}", on_time.get());
    println!("  ticks late: {}, the latest by {} ms", late.get(), latest.get().as_millis());
    Ok(())
}

fn main() -> Result<(), RunError> {
    run(false)?;
    run(true)
}
