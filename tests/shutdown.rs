//! Shutdown: parts end in the reverse order of their start, politely or not.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::rc::Rc;
use std::time::Duration;

use futures::future::join;
use futures::stream::{FuturesUnordered, StreamExt};
use support::{OnDrop, Trace, poll_once, run_clean, scheduler};
use trapline::{
    CancelReason, Shutdown, cancellable, kill, now, shield, sleep, spawn, timeout, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

/// Never ready, and not a system call.
fn never() -> std::future::Pending<()> {
    std::future::pending()
}

/// Starts a part that takes so many seconds to end when it is asked.
async fn part(shutdown: &Shutdown, trace: &Trace, name: &'static str, seconds: u32) {
    let lines = trace.clone();
    let task = spawn(async move {
        let _guard = OnDrop(|| lines.say(format!("{name} gone")));
        let why = cancellable(never()).await.unwrap_err();
        lines.say(format!("{name} asked: {}", why.text()));
        sleep(SECOND * seconds).await;
        lines.say(format!("{name} done"));
    });
    let task = task.await;
    shutdown.add(name, task.id(), SECOND * 3);
    task.detach();
}

#[test]
fn triggered_then_the_parts_end_one_after_the_other_in_reverse() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let shutdown = Shutdown::new();
            for (name, seconds) in [("store", 1), ("stubborn", 9), ("door", 2)] {
                part(&shutdown, &trace, name, seconds).await;
            }
            let trigger = shutdown.clone();
            spawn(async move {
                sleep(SECOND).await;
                assert!(!trigger.is_triggered());
                trigger.trigger(CancelReason::shutdown("night"));
                trigger.trigger("too late to say");
                assert!(trigger.is_triggered());
            })
            .detach();
            let report = shutdown.run().await;
            assert_eq!(report.reason, Some(CancelReason::shutdown("night")));
            let killed: Vec<_> = report.killed.iter().map(|part| &*part.name).collect();
            assert_eq!(killed, ["stubborn"]);
            assert_eq!(now().await.as_nanos(), (1 + 2 + 3 + 1) * SECOND.as_nanos() as u64);
        })
        .unwrap();
    assert_eq!(
        trace.take(),
        [
            "door asked: night",
            "door done",
            "door gone",
            "stubborn asked: night",
            "stubborn gone",
            "store asked: night",
            "store done",
            "store gone",
        ]
    );
    run_clean(&mut scheduler);
}

#[test]
fn part_has_ended_before_then_it_is_passed_over() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let shutdown = Shutdown::new();
            let gone = spawn(async {}).await;
            shutdown.add("gone", gone.id(), SECOND);
            gone.await.unwrap();
            let killed = spawn(never()).await;
            shutdown.add("killed", killed.id(), SECOND);
            kill(killed.id()).await.unwrap();
            shutdown.trigger("end");
            let report = shutdown.run().await;
            assert!(report.killed.is_empty() && report.panicked.is_empty());
            assert_eq!(now().await.as_nanos(), 0);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn part_panics_while_it_ends_then_the_report_says_so() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let shutdown = Shutdown::new();
            let part = spawn(async {
                let _ = cancellable(never()).await;
                panic!("cannot save")
            })
            .await;
            shutdown.add("store", part.id(), SECOND);
            part.detach();
            shutdown.trigger("end");
            let report = shutdown.run().await;
            assert_eq!(&*report.panicked[0].1, "cannot save");
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn part_is_registered_while_another_ends_then_it_is_ended_too() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let shutdown = Shutdown::new();
            let (adding, lines) = (shutdown.clone(), trace.clone());
            let first = spawn(async move {
                let _ = cancellable(never()).await;
                part(&adding, &lines, "late", 0).await;
            })
            .await;
            shutdown.add("first", first.id(), SECOND);
            shutdown.trigger("end");
            assert!(shutdown.run().await.killed.is_empty());
            first.await.unwrap();
        })
        .unwrap();
    assert_eq!(trace.take().last().unwrap(), "late gone");
    run_clean(&mut scheduler);
}

#[test]
fn those_who_wait_for_it_then_all_are_told_in_order_also_late_comers() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let shutdown = Shutdown::new();
            let mut waiters = Vec::new();
            for number in 0..3 {
                let (shutdown, lines) = (shutdown.clone(), trace.clone());
                let waiter = async move {
                    let reason = shutdown.wait().await;
                    lines.say(format!("{number}: {reason:?}").contains("dusk"));
                    lines.say(number);
                };
                waiters.push(spawn(waiter).await);
            }
            // Dropped before its first poll, while blocked, and after the wake.
            drop(shutdown.wait());
            let mut blocked = Box::pin(shutdown.wait());
            assert!(poll_once(&mut blocked).await.is_pending());
            let mut woken = Box::pin(shutdown.wait());
            assert!(poll_once(&mut woken).await.is_pending());
            drop(blocked);
            shutdown.trigger("dusk");
            drop(woken);
            for waiter in waiters {
                waiter.await.unwrap();
            }
            assert_eq!(shutdown.wait().await, "dusk".into());
            let (a, b) = join(shutdown.wait(), shutdown.wait()).await;
            assert_eq!(a, b);
        })
        .unwrap();
    assert_eq!(trace.take(), ["true", "0", "true", "1", "true", "2"]);
    run_clean(&mut scheduler);
}

#[test]
fn waits_under_foreign_wakers_then_all_are_told() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let shutdown = Shutdown::new();
            let trigger = shutdown.clone();
            spawn(async move {
                sleep(SECOND).await;
                trigger.trigger("dusk");
            })
            .detach();
            let waits: FuturesUnordered<_> = (0..20).map(|_| shutdown.wait()).collect();
            assert_eq!(waits.count().await, 20);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn run_dropped_or_its_task_killed_then_the_rest_is_left_as_it_is() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let shutdown = Shutdown::new();
            part(&shutdown, &trace, "first", 0).await;
            let stubborn = spawn(shield(sleep(SECOND * 9))).await;
            shutdown.add("stubborn", stubborn.id(), SECOND * 5);
            shutdown.trigger("end");
            assert!(timeout(SECOND, shutdown.run()).await.is_err());
            assert_eq!(trace.take(), [""; 0]);
            let again = shutdown.clone();
            let runner = spawn(async move { again.run().await }).await;
            yield_now().await;
            runner.kill();
            assert!(runner.await.is_err());
            stubborn.await.unwrap();
            assert_eq!(trace.take(), [""; 0]);
            shutdown.run().await;
        })
        .unwrap();
    assert_eq!(trace.take(), ["first asked: end", "first done", "first gone"]);
    run_clean(&mut scheduler);
}

#[test]
fn nobody_triggers_it_then_that_is_a_deadlock_with_its_name() {
    let mut scheduler = scheduler();
    let shutdown = Rc::new(Shutdown::new());
    let waiting = Rc::clone(&shutdown);
    let error = scheduler.block_on(async move { waiting.wait().await }).unwrap_err();
    assert!(error.to_string().contains("`shutdown`"), "{error}");
    let reason = CancelReason::shutdown("x");
    shutdown.trigger(reason.clone());
    assert_eq!(scheduler.block_on(shutdown.wait()).unwrap(), reason);
    run_clean(&mut scheduler);
}

#[test]
fn shutdown_is_dropped_while_a_part_has_its_grace_then_another_run_goes_on_with_it() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let shutdown = Shutdown::new();
            for (name, seconds) in [("store", 1), ("stubborn", 9)] {
                part(&shutdown, &trace, name, seconds).await;
            }
            shutdown.trigger("night");
            assert!(timeout(SECOND, shutdown.run()).await.is_err());
            let report = shutdown.run().await;
            let killed: Vec<_> = report.killed.iter().map(|part| &*part.name).collect();
            assert_eq!(killed, ["stubborn"]);
        })
        .unwrap();
    let lines = ["stubborn asked: night", "stubborn gone"];
    let then = ["store asked: night", "store done", "store gone"];
    assert_eq!(trace.take(), [&lines[..], &then].concat());
    run_clean(&mut scheduler);
}
