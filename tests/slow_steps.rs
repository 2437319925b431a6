//! Tasks that keep the loop for too long: told of, with how long and between which lines.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::io;
use std::os::fd::RawFd;
use std::panic::Location;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::join;
use support::{Slot, poll_once, run_clean};
use trapline::driver::{Driver, Interest, IoEvent, SimulatedDriver, Unpark, Until, Waited};
use trapline::{Builder, Event, Instant, Scheduler, TaskId, kill, now, sleep, spawn, yield_now};

const MILLI: Duration = Duration::from_millis(1);

/// A clock that goes on as the tasks say: what they would spend on computing.
#[derive(Clone, Debug, Default)]
struct Clock {
    spent_nanos: Rc<Cell<u64>>,
    /// How often the driver was asked.
    looks: Rc<Cell<usize>>,
}

impl Clock {
    fn spend(&self, time: Duration) {
        self.spent_nanos.set(self.spent_nanos.get() + u64::try_from(time.as_nanos()).unwrap());
    }

    fn looks(&self) -> usize {
        self.looks.take()
    }
}

/// The virtual clock, and what was spent on top.
#[derive(Debug, Default)]
struct Spent {
    clock: Clock,
    inner: SimulatedDriver,
}

impl Driver for Spent {
    fn now(&mut self) -> Instant {
        self.clock.looks.set(self.clock.looks.get() + 1);
        Instant::from_nanos(self.inner.now().as_nanos() + self.clock.spent_nanos.get())
    }

    fn register(&mut self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.inner.register(fd, token, interest)
    }

    fn reregister(&mut self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.inner.reregister(fd, token, interest)
    }

    fn deregister(&mut self, fd: RawFd) -> io::Result<()> {
        self.inner.deregister(fd)
    }

    fn wait(&mut self, until: Until, events: &mut Vec<IoEvent>) -> io::Result<Waited> {
        self.inner.wait(until, events)
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        self.inner.unparker()
    }
}

/// What was told of a slow step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Told {
    task: TaskId,
    took: Duration,
    from: u32,
    to: Option<u32>,
}

#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<Told>>>);

impl Log {
    fn take(&self) -> Vec<Told> {
        self.0.take()
    }

    /// The one that was told of.
    #[track_caller]
    fn take_one(&self) -> Told {
        let told = self.take();
        assert_eq!(told.len(), 1, "{told:?}");
        told[0]
    }
}

fn line_of(site: &Location<'_>) -> u32 {
    assert_eq!(site.file(), file!());
    site.line()
}

/// A scheduler, its clock, and what its probe was told of.
fn watched(with: impl FnOnce(Builder) -> Builder) -> (Scheduler, Clock, Log) {
    let (clock, log) = (Clock::default(), Log::default());
    let driver = Spent { clock: clock.clone(), inner: SimulatedDriver::new() };
    let lines = log.clone();
    let probe = move |event: &Event<'_>| {
        if let Event::SlowStep { task, took, from, to } = *event {
            let (from, to) = (line_of(from), to.map(|to| line_of(to)));
            lines.0.borrow_mut().push(Told { task, took, from, to });
        }
    };
    let scheduler = with(Scheduler::builder().quantum(1).driver(driver).probe(probe)).build();
    (scheduler, clock, log)
}

fn slow(limit: Duration) -> impl FnOnce(Builder) -> Builder {
    move |builder| builder.slow_step(limit)
}

#[test]
fn step_longer_than_the_limit_then_told_with_its_time_and_both_lines() {
    let (mut scheduler, clock, log) = watched(slow(10 * MILLI));
    let task = scheduler.spawn(async move {
        yield_now().await;
        clock.spend(25 * MILLI);
        sleep(MILLI).await;
    });
    let id = task.id();
    scheduler.block_on(task).unwrap().unwrap();
    let told = log.take_one();
    assert_eq!((told.task, told.took), (id, 25 * MILLI));
    // From the `yield_now` to the `sleep`, two lines below it.
    assert_eq!(told.to, Some(told.from + 2));
    run_clean(&mut scheduler);
}

#[test]
fn steps_of_the_limit_and_below_then_nothing_is_told() {
    let (mut scheduler, clock, log) = watched(slow(10 * MILLI));
    scheduler
        .spawn(async move {
            for _ in 0..10 {
                clock.spend(10 * MILLI);
                yield_now().await;
            }
        })
        .detach();
    run_clean(&mut scheduler);
    assert_eq!(log.take(), []);
}

#[test]
fn first_step_that_is_slow_then_it_comes_from_where_the_task_was_spawned() {
    let (mut scheduler, clock, log) = watched(slow(MILLI));
    let spent = clock.clone();
    let line = line!() + 1;
    let task = scheduler.spawn(async move {
        spent.spend(2 * MILLI);
        now().await;
    });
    scheduler.block_on(task).unwrap().unwrap();
    let told = log.take_one();
    assert_eq!((told.from, told.to), (line, Some(line + 2)));
    // The root of `block_on` is a task as any other, and so is one that a task spawns.
    scheduler
        .block_on(async {
            clock.spend(2 * MILLI);
            let clock = clock.clone();
            let child = spawn(async move { clock.spend(3 * MILLI) }).await;
            child.await.unwrap();
        })
        .unwrap();
    let told = log.take();
    assert_eq!(told.iter().map(|told| told.took).collect::<Vec<_>>(), [2 * MILLI, 3 * MILLI]);
    run_clean(&mut scheduler);
}

#[test]
fn step_that_ends_the_task_or_makes_no_call_then_there_is_no_line_to_name() {
    let (mut scheduler, clock, log) = watched(slow(MILLI));
    let spent = clock.clone();
    scheduler
        .spawn(async move {
            yield_now().await;
            spent.spend(2 * MILLI);
        })
        .detach();
    run_clean(&mut scheduler);
    assert_eq!(log.take_one().to, None);
    let spent = clock.clone();
    let waits = scheduler.spawn(poll_fn(move |_| {
        spent.spend(3 * MILLI);
        Poll::<()>::Pending
    }));
    scheduler.step();
    assert_eq!(log.take_one().to, None);
    scheduler.block_on(async move { kill(waits.id()).await.unwrap() }).unwrap();
    let panics = scheduler.spawn(async move {
        clock.spend(4 * MILLI);
        panic!("slowly");
    });
    assert!(scheduler.block_on(panics).unwrap().unwrap_err().is_panic());
    let told = log.take_one();
    assert_eq!((told.took, told.to), (4 * MILLI, None));
    run_clean(&mut scheduler);
}

#[test]
fn several_calls_in_one_step_then_the_first_is_named() {
    let (mut scheduler, clock, log) = watched(slow(MILLI));
    scheduler
        .spawn(async move {
            clock.spend(2 * MILLI);
            let first = yield_now();
            join!(first, now());
        })
        .detach();
    run_clean(&mut scheduler);
    let told = log.take_one();
    assert_eq!(told.to, Some(told.from + 2));
}

#[test]
fn call_made_and_dropped_in_a_slow_step_then_the_next_one_is_named() {
    let (mut scheduler, clock, log) = watched(slow(MILLI));
    scheduler
        .spawn(async move {
            clock.spend(2 * MILLI);
            let mut dropped = now();
            let mut kept = yield_now();
            assert!(poll_once(&mut dropped).await.is_pending());
            assert!(poll_once(&mut kept).await.is_pending());
            drop(dropped);
            kept.await;
        })
        .detach();
    run_clean(&mut scheduler);
    let told = log.take_one();
    assert_eq!(told.to, Some(told.from + 3));
}

#[test]
fn quantum_of_many_steps_then_each_is_measured_by_itself() {
    let (mut scheduler, clock, log) = watched(|builder| builder.quantum(32).slow_step(10 * MILLI));
    scheduler
        .spawn(async move {
            // Together far longer than the limit, and none of them by itself.
            for _ in 0..8 {
                clock.spend(9 * MILLI);
                now().await;
            }
            clock.spend(11 * MILLI);
            now().await;
        })
        .detach();
    run_clean(&mut scheduler);
    assert_eq!(log.take_one().took, 11 * MILLI);
}

#[test]
fn task_in_the_place_of_one_that_ended_then_it_is_not_taken_for_it() {
    let (mut scheduler, clock, log) = watched(slow(MILLI));
    scheduler.spawn(async { yield_now().await }).detach();
    run_clean(&mut scheduler);
    let line = line!() + 1;
    scheduler.spawn(async move { clock.spend(2 * MILLI) }).detach();
    run_clean(&mut scheduler);
    assert_eq!(log.take_one().from, line);
}

#[test]
fn time_spent_between_steps_by_the_program_then_it_is_no_tasks() {
    let (mut scheduler, clock, log) = watched(slow(MILLI));
    scheduler
        .spawn(async {
            for _ in 0..3 {
                yield_now().await;
            }
        })
        .detach();
    while !scheduler.step().is_last() {
        clock.spend(100 * MILLI);
    }
    assert_eq!(log.take(), []);
}

#[test]
fn no_limit_set_and_nobody_listens_then_the_clock_is_not_looked_at() {
    let (mut scheduler, clock, log) = watched(Builder::warn_of_slow_steps);
    drop(scheduler.set_probe(None));
    let spent = clock.clone();
    scheduler
        .spawn(async move {
            for _ in 0..100 {
                spent.spend(1000 * MILLI);
                yield_now().await;
            }
        })
        .detach();
    run_clean(&mut scheduler);
    assert_eq!((log.take(), clock.looks()), (Vec::new(), 0));
    // And with one, twice a step.
    let (mut scheduler, clock, _log) = watched(slow(MILLI));
    drop(scheduler.set_probe(None));
    scheduler.spawn(pending::<()>()).detach();
    scheduler.step();
    assert_eq!(clock.looks(), 2);
}

#[test]
fn virtual_clock_then_no_step_is_slow() {
    let slot = Slot::new();
    let theirs = slot.clone();
    let mut scheduler = Scheduler::builder()
        .virtual_clock()
        .slow_step(Duration::ZERO)
        .probe(move |event: &Event<'_>| {
            if let Event::SlowStep { .. } = event {
                theirs.put(event.to_string());
            }
        })
        .build();
    scheduler.spawn(sleep(3600 * 1000 * MILLI)).detach();
    run_clean(&mut scheduler);
    assert_eq!(slot.take(), None);
}

#[test]
fn probe_that_panics_at_a_slow_step_then_it_is_removed_and_the_run_goes_on() {
    let clock = Clock::default();
    let driver = Spent { clock: clock.clone(), inner: SimulatedDriver::new() };
    let probe = |event: &Event<'_>| assert!(!matches!(event, Event::SlowStep { .. }), "too slow");
    let mut scheduler = Scheduler::builder().driver(driver).probe(probe).slow_step(MILLI).build();
    let task = scheduler.spawn(async move {
        clock.spend(2 * MILLI);
        yield_now().await;
        5
    });
    assert_eq!(scheduler.block_on(task).unwrap().unwrap(), 5);
    assert_eq!(scheduler.run().unwrap().probe_panic.as_deref(), Some("too slow"));
}

#[test]
fn event_of_a_slow_step_then_it_reads_as_a_sentence() {
    let told = Slot::new();
    let theirs = told.clone();
    let clock = Clock::default();
    let driver = Spent { clock: clock.clone(), inner: SimulatedDriver::new() };
    let probe = move |event: &Event<'_>| {
        if let Event::SlowStep { .. } = event {
            theirs.put(event.to_string());
        }
    };
    let mut scheduler = Scheduler::builder().driver(driver).probe(probe).slow_step(MILLI).build();
    let line = line!() + 1;
    let task = scheduler.spawn(async move {
        clock.spend(2 * MILLI);
        yield_now().await;
    });
    task.detach();
    run_clean(&mut scheduler);
    let text = told.take().unwrap();
    let expected =
        format!("1 kept the loop for 2.0ms, from {0}:{line}:26 to {0}:{1}:9", file!(), line + 2);
    assert_eq!(text, expected);
}

// The line on standard error, which only another process can look at: this test program, again.

#[test]
fn warnings_asked_for_then_a_line_stands_on_standard_error() {
    const CHILD: &str = "TRAPLINE_TEST_OF_SLOW_STEPS";
    if let Ok(mode) = std::env::var(CHILD) {
        let (clock, warns) = (Clock::default(), mode == "warns");
        let driver = Spent { clock: clock.clone(), inner: SimulatedDriver::new() };
        let builder = Scheduler::builder().driver(driver).slow_step(MILLI);
        let builder = if warns { builder.warn_of_slow_steps() } else { builder };
        builder.build().block_on(async { clock.spend(7 * MILLI) }).unwrap();
        return;
    }
    for (mode, lines) in [("warns", 1), ("is silent", 0)] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("warnings_asked_for_then_a_line_stands_on_standard_error")
            .env(CHILD, mode)
            .output()
            .unwrap();
        assert!(output.status.success());
        let errors = String::from_utf8(output.stderr).unwrap();
        let told = errors.lines().filter(|line| line.starts_with("trapline: task 1 kept the loop"));
        assert_eq!(told.count(), lines, "{errors}");
    }
}
