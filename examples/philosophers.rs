//! Dining philosophers: each needs the fork on either side, and there is one between two seats.
//!
//! ```text
//! cargo run --example philosophers -- --seats 5
//! cargo run --example philosophers -- --seats 5 --deadlock
//! ```
//!
//! With `--deadlock` each takes the fork on the left first. All have one, wait for the other, and for one
//! another: the run ends at once, with a report that names the forks, who holds them, and the
//! cycle, and with status 1. Without it they sit down by one of two rules, and each eats as often as
//! there are rounds:
//!
//! * `order`: each takes the fork with the lower number first, so that the waits cannot close a circle;
//! * `waiter`: one less than there are seats may reach for forks at a time.
//!
//! Nobody waits for real: the clock is virtual, and jumps.

use std::cell::Cell;
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use trapline::sync::{Mutex, Semaphore};
use trapline::{RunError, Scheduler, TaskOptions};

/// Dining philosophers
#[derive(Parser)]
struct Args {
    /// How many sit at the table
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(2..=10_000))]
    seats: u32,

    /// How often each eats
    #[arg(long, value_name = "N", default_value = "3")]
    rounds: u32,

    /// By which rule they take forks
    #[arg(long, value_enum, default_value = "order")]
    rule: Rule,

    /// Have all take the left fork first, and run into the deadlock
    #[arg(long, conflicts_with = "rule")]
    deadlock: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rule {
    /// The fork with the lower number first
    Order,
    /// No more at a time than seats less one
    Waiter,
}

/// The table, and who has eaten how often.
struct Table {
    forks: Vec<Mutex<()>>,
    waiter: Semaphore,
    eaten: Vec<Cell<u32>>,
}

const THINKING: Duration = Duration::from_millis(30);
const REACHING: Duration = Duration::from_millis(1);
const EATING: Duration = Duration::from_millis(20);

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return explain(&error),
    };
    let rule = if args.deadlock { None } else { Some(args.rule) };
    let seats = args.seats as usize;
    let table = Rc::new(Table {
        forks: (0..seats).map(|n| Mutex::new(()).named(format!("fork {n}"))).collect(),
        waiter: Semaphore::new(seats - 1).named("waiter"),
        eaten: vec![Cell::new(0); seats],
    });
    let mut scheduler = Scheduler::builder().virtual_clock().build();
    for seat in 0..seats {
        let dinner = dine(Rc::clone(&table), seat, args.rounds, rule);
        let options = TaskOptions::new().name(format!("philosopher {seat}"));
        scheduler.spawn_with(options, dinner).detach();
    }
    match trapline::trace::run(&mut scheduler) {
        Ok(report) if report.failures == 0 => {}
        Ok(report) => return complain(1, &report.to_string()),
        Err(error @ RunError::Deadlock(_)) => {
            say(&error.to_string());
            return ExitCode::FAILURE;
        }
        Err(error) => return complain(1, &format!("error: {error}")),
    }
    for (seat, eaten) in table.eaten.iter().enumerate() {
        say(&format!("philosopher {seat} ate {} times", eaten.get()));
    }
    ExitCode::SUCCESS
}

/// Thinks and eats, in turn.
#[trapline::traced]
async fn dine(table: Rc<Table>, seat: usize, rounds: u32, rule: Option<Rule>) {
    let (left, right) = (seat, (seat + 1) % table.forks.len());
    let (first, second) = match rule {
        Some(Rule::Order) => (left.min(right), left.max(right)),
        Some(Rule::Waiter) | None => (left, right),
    };
    for _round in 0..rounds {
        trapline::sleep(THINKING).await;
        // Given back at the end of the round, with the forks.
        let _leave = match rule {
            Some(Rule::Waiter) => match table.waiter.acquire().await {
                Ok(leave) => Some(leave),
                Err(_closed) => return,
            },
            Some(Rule::Order) | None => None,
        };
        let _first = table.forks[first].lock().await;
        trapline::sleep(REACHING).await;
        let _second = table.forks[second].lock().await;
        trapline::sleep(EATING).await;
        table.eaten[seat].set(table.eaten[seat].get() + 1);
    }
}

/// Help is printed as it is; a mistake in the arguments is told in one line.
fn explain(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _closed = error.print();
        return ExitCode::SUCCESS;
    }
    // What is wrong stands before the first empty line, the usage after it.
    let text = error.to_string();
    let what: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    complain(2, &what.join(" "))
}

/// Prints a line. Where nobody reads it, that is no mistake of ours.
fn say(line: &str) {
    let _closed = writeln!(io::stdout(), "{line}");
}

/// Prints a line to standard error, and gives `status` to exit with.
fn complain(status: u8, line: &str) -> ExitCode {
    let _closed = writeln!(io::stderr(), "{line}");
    ExitCode::from(status)
}
