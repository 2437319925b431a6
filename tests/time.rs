//! Time: sleeps, deadlines, timeouts and intervals, on the virtual clock and a little on the real.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::{pending, ready};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use proptest::prelude::*;
use support::{OnDrop, Slot, Trace, assert_empty, poll_once, run_clean, scheduler, traced};
use trapline::driver::{Driver, OsDriver, Until};
use trapline::{
    Elapsed, Instant, MissedTick, Scheduler, get_tid, interval, kill, now, sleep, sleep_until,
    spawn, timeout, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

fn at(seconds: u64) -> Instant {
    Instant::from_nanos(seconds * 1_000_000_000)
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut scheduler = scheduler();
    let output = scheduler.block_on(future).unwrap();
    run_clean(&mut scheduler);
    output
}

// Sleeping

#[test]
fn sleep_then_at_least_that_long_on_the_real_clock() {
    let mut scheduler = Scheduler::new();
    scheduler
        .block_on(async {
            for duration in [Duration::from_nanos(1), MILLI / 10, MILLI, 3 * MILLI] {
                let start = now().await;
                let end = sleep(duration).await;
                assert!(end - start >= duration);
                assert!(now().await >= end);
            }
        })
        .unwrap();
    assert_empty(&scheduler);
}

#[test]
fn sleep_of_zero_then_yields_once() {
    let (mut scheduler, trace) = traced();
    let theirs = trace.clone();
    for _ in 0..2 {
        let trace = theirs.clone();
        scheduler
            .spawn(async move {
                let time = sleep(Duration::ZERO).await;
                trace.say(format!("{} at {time}", get_tid().await));
            })
            .detach();
    }
    run_clean(&mut scheduler);
    let lines = trace.take();
    let expected = [
        "program spawns 1",
        "program spawns 2",
        "1 is taken",
        "1 sleep(0ns) = 0ns, to the back",
        "2 is taken",
        "2 sleep(0ns) = 0ns, to the back",
        "1 is taken",
        "1 get_tid() = task 1",
        "2 is taken",
        "2 get_tid() = task 2",
        "1 is taken",
        "1 at 0ns",
        "1 ends: returned",
    ];
    assert_eq!(lines[..expected.len()], expected);
}

#[test]
fn deadline_in_the_past_then_answered_at_once() {
    block_on(async {
        sleep(SECOND * 5).await;
        assert_eq!(sleep_until(at(1)).await, at(5));
        assert_eq!(sleep_until(at(5)).await, at(5));
        assert_eq!(sleep_until(Instant::from_nanos(0)).await, at(5));
        assert_eq!(sleep_until(at(6)).await, at(6));
    });
}

#[test]
fn sleep_longer_than_the_clock_can_count_then_it_ends_with_the_clock() {
    block_on(async {
        let end = Instant::from_nanos(u64::MAX);
        let mut long = Box::pin(sleep(Duration::MAX));
        assert!(poll_once(&mut long).await.is_pending());
        assert_eq!(sleep(SECOND).await, at(1));
        assert_eq!(sleep_until(end).await, end);
        assert_eq!(long.await, end);
        assert_eq!(sleep(SECOND).await, end);
        assert_eq!(timeout(SECOND, pending::<()>()).await, Err(Elapsed));
        let mut ticks = interval(SECOND);
        assert_eq!((ticks.tick().await, ticks.tick().await), (end, end));
    });
}

#[test]
fn timeout_in_what_gives_an_io_error_then_it_says_timed_out() {
    let error = block_on(async {
        std::io::Error::from(timeout(SECOND, pending::<()>()).await.unwrap_err())
    });
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(error.to_string(), "the time was up");
}

#[test]
fn sleep_counts_from_when_it_is_first_polled() {
    block_on(async {
        let early = sleep(SECOND);
        sleep(SECOND * 10).await;
        assert_eq!(early.await, at(11));
    });
}

#[test]
fn virtual_clock_and_450_s_of_sleeps_then_they_read_back_exactly() {
    let mut scheduler = scheduler();
    let total = Rc::new(Cell::new(Duration::ZERO));
    for _ in 0..10 {
        let total = Rc::clone(&total);
        scheduler
            .spawn(async move {
                for seconds in 0..10 {
                    let start = now().await;
                    let end = sleep(SECOND * seconds).await;
                    assert_eq!(end - start, SECOND * seconds);
                    assert_eq!(now().await, end);
                    total.set(total.get() + (end - start));
                }
            })
            .detach();
    }
    run_clean(&mut scheduler);
    assert_eq!(total.get(), SECOND * 450);
    assert_eq!(scheduler.block_on(now()).unwrap(), at(45));
}

#[test]
fn virtual_clock_then_it_stands_still_while_anything_can_run() {
    block_on(async {
        let sleeper = spawn(sleep(Duration::from_nanos(1))).await;
        for _ in 0..1000 {
            yield_now().await;
            assert_eq!(now().await.as_nanos(), 0);
        }
        assert_eq!(sleeper.await.unwrap().as_nanos(), 1);
    });
}

#[test]
fn deadlines_then_due_in_order_and_equal_ones_in_the_order_armed() {
    let order = Trace::default();
    let theirs = order.clone();
    block_on(async move {
        for (name, seconds) in
            [("a", 3), ("b", 1), ("c", 2), ("d", 1), ("e", 3), ("f", 2), ("g", 1), ("h", 3)]
        {
            let order = theirs.clone();
            spawn(async move {
                sleep(SECOND * seconds).await;
                order.say(name);
            })
            .await
            .detach();
        }
        sleep(SECOND * 9).await;
    });
    assert_eq!(order.take().concat(), "bdgcfaeh");
}

#[test]
fn equal_deadlines_after_others_were_disarmed_then_still_in_the_order_armed() {
    // What is taken out of the middle must not let a later one pass an earlier one.
    block_on(async {
        let order = Trace::default();
        let mut sleepers = Vec::new();
        for number in 0..200_u64 {
            let order = order.clone();
            sleepers.push(
                spawn(async move {
                    sleep_until(at(1 + number % 3)).await;
                    order.say(number);
                })
                .await,
            );
        }
        yield_now().await;
        for number in (0..200).filter(|number| number % 7 == 2 || number % 11 == 5) {
            kill(sleepers[number].id()).await.unwrap();
        }
        sleep(SECOND * 5).await;
        let mut expected: Vec<u64> =
            (0..200).filter(|number| !(number % 7 == 2 || number % 11 == 5)).collect();
        expected.sort_by_key(|number| number % 3);
        let expected: Vec<String> = expected.iter().map(u64::to_string).collect();
        assert_eq!(order.take(), expected);
    });
}

#[test]
fn sleeps_under_futures_unordered_then_each_in_its_time() {
    block_on(async {
        let mut sleeps: FuturesUnordered<_> =
            [3, 1, 2, 0, 1].into_iter().map(|seconds| sleep(SECOND * seconds)).collect();
        let mut times = Vec::new();
        while let Some(time) = sleeps.next().await {
            times.push(time);
        }
        assert_eq!(times, [at(0), at(1), at(1), at(2), at(3)]);
    });
}

#[test]
fn sleep_dropped_in_each_of_its_states_then_no_timer_stays() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            drop(sleep(SECOND));
            // In the trap register, blocked, and answered.
            let mut calls: Vec<_> = (0..3).map(|_| Box::pin(sleep(SECOND))).collect();
            assert!(poll_once(&mut calls[0]).await.is_pending());
            drop(calls.remove(0));
            assert!(poll_once(&mut calls[0]).await.is_pending());
            yield_now().await;
            drop(calls.remove(0));
            assert!(poll_once(&mut calls[0]).await.is_pending());
            sleep(SECOND * 2).await;
            drop(calls);
        })
        .unwrap();
    run_clean(&mut scheduler);
    assert_eq!(scheduler.block_on(now()).unwrap(), at(2));
}

// Timeouts

#[test]
fn timeout_and_the_future_first_then_its_value_and_nothing_fires_later() {
    let (mut scheduler, trace) = traced();
    let value = scheduler.block_on(timeout(SECOND * 60, async {
        sleep(SECOND).await;
        7
    }));
    assert_eq!(value.unwrap(), Ok(7));
    assert_empty(&scheduler);
    trace.take();
    // The clock would jump to the timeout's deadline if it were armed still.
    assert_eq!(scheduler.block_on(sleep(SECOND)).unwrap(), at(2));
    let lines = trace.take();
    assert_eq!(lines.iter().filter(|line| line.contains("gets")).count(), 1, "{lines:?}");
}

#[test]
fn timeout_first_then_elapsed_after_the_future_has_been_dropped() {
    block_on(async {
        let dropped = Cell::new(false);
        // Kept, so that nothing is dropped but by itself.
        let mut limited = Box::pin(timeout(SECOND, async {
            let _guard = OnDrop(|| dropped.set(true));
            sleep(SECOND * 60).await;
        }));
        let result = limited.as_mut().await;
        assert!(dropped.get(), "Elapsed before the drop");
        assert_eq!(result, Err(Elapsed));
        assert_eq!(Elapsed.to_string(), "the time was up");
        assert_eq!(now().await, at(1));
    });
}

#[test]
fn timeout_and_the_reply_in_one_batch_then_the_reply_wins() {
    block_on(async {
        // The future's sleep is armed first, then the timeout's; and the other way about.
        assert_eq!(timeout(SECOND, sleep(SECOND)).await, Ok(at(1)));
        let late = async {
            yield_now().await;
            sleep_until(at(2)).await
        };
        assert_eq!(timeout(SECOND, late).await, Ok(at(2)));
    });
}

#[test]
fn timeout_of_zero_then_the_future_is_polled_once() {
    block_on(async {
        assert_eq!(timeout(Duration::ZERO, ready(3)).await, Ok(3));
        let polls = Cell::new(0);
        let counts = std::future::poll_fn(|_| {
            polls.set(polls.get() + 1);
            Poll::<()>::Pending
        });
        assert_eq!(timeout(Duration::ZERO, counts).await, Err(Elapsed));
        assert!(polls.get() >= 1);
        assert_eq!(now().await, at(0));
        // What the first poll asks for is served, then forgotten.
        assert_eq!(timeout(Duration::ZERO, sleep(SECOND)).await, Err(Elapsed));
        assert_eq!(sleep(SECOND / 2).await.as_nanos(), 500_000_000);
    });
}

#[test]
fn timeout_without_end_then_the_future_has_all_the_time() {
    block_on(async {
        assert_eq!(timeout(Duration::MAX, sleep(SECOND)).await, Ok(at(1)));
    });
}

#[test]
fn outer_timeout_first_then_the_inner_never_reports() {
    block_on(async {
        let inner_reported = Cell::new(false);
        let inner = async {
            let result = timeout(SECOND * 5, pending::<()>()).await;
            inner_reported.set(true);
            result
        };
        assert_eq!(timeout(SECOND, inner).await, Err(Elapsed));
        sleep(SECOND * 10).await;
        assert!(!inner_reported.get());
    });
}

#[test]
fn inner_timeout_first_then_the_inner_alone_reports() {
    block_on(async {
        let nested = timeout(SECOND * 5, async {
            let result = timeout(SECOND, pending::<()>()).await;
            (result, now().await)
        });
        assert_eq!(nested.await, Ok((Err(Elapsed), at(1))));
        assert_eq!(sleep(SECOND * 10).await, at(11));
    });
}

#[test]
fn twenty_nested_timeouts_then_the_shortest_reports() {
    async fn nest(depth: u32, shortest: u32, trace: &Trace) -> Result<(), Elapsed> {
        if depth == 0 {
            pending::<()>().await;
        }
        let duration = if depth == shortest { SECOND } else { SECOND * (100 + depth) };
        let result = timeout(duration, Box::pin(nest(depth - 1, shortest, trace))).await;
        match result {
            Ok(inner) => inner,
            Err(Elapsed) => {
                trace.say(depth);
                Err(Elapsed)
            }
        }
    }
    for shortest in 1..=20 {
        let trace = Trace::default();
        let theirs = trace.clone();
        block_on(async move {
            assert_eq!(nest(20, shortest, &theirs).await, Err(Elapsed));
            assert_eq!(now().await, at(1));
        });
        assert_eq!(trace.take(), [shortest.to_string()]);
    }
}

#[test]
fn nested_timeouts_of_one_length_then_one_of_them_reports() {
    block_on(async {
        let nested = timeout(SECOND, timeout(SECOND, timeout(SECOND, pending::<()>())));
        assert_eq!(nested.await, Ok(Ok(Err(Elapsed))), "the innermost: it was armed first");
    });
}

#[test]
fn timeout_whose_future_panics_then_the_task_panics_and_no_timer_stays() {
    let mut scheduler = scheduler();
    let task = scheduler.spawn(timeout(SECOND, async {
        yield_now().await;
        panic!("inside")
    }));
    let result: Result<Result<(), Elapsed>, _> = scheduler.block_on(task).unwrap();
    assert_eq!(result.unwrap_err().to_string(), "task 1 panicked: inside");
    run_clean(&mut scheduler);
    assert_eq!(scheduler.block_on(now()).unwrap(), at(0));
}

#[test]
fn timeout_moved_to_another_task_then_it_elapses_there() {
    block_on(async {
        let slot = Slot::new();
        let theirs = slot.clone();
        spawn(async move {
            let mut call = Box::pin(timeout(SECOND * 3, pending::<()>()));
            assert!(poll_once(&mut call).await.is_pending());
            theirs.put(call);
        })
        .await
        .await
        .unwrap();
        sleep(SECOND).await;
        assert_eq!(slot.take().unwrap().await, Err(Elapsed));
        assert_eq!(now().await, at(3));
    });
}

// Intervals

#[test]
fn interval_then_it_ticks_at_once_and_keeps_its_phase() {
    block_on(async {
        sleep(SECOND * 7).await;
        let mut ticks = interval(SECOND * 2);
        assert_eq!(ticks.period(), SECOND * 2);
        for expected in [7, 9, 11, 13] {
            assert_eq!(ticks.tick().await, at(expected));
            // Work that is shorter than the period does not shift the phase.
            sleep(SECOND).await;
        }
    });
}

#[test]
fn late_tick_then_the_policy_named() {
    // Each tick as (due, seen), with 5 s of work after the second.
    let ticks = |policy| {
        block_on(async move {
            let mut ticks = interval(SECOND * 2).missed(policy);
            let mut seen = Vec::new();
            for number in 0..6 {
                let due = ticks.tick().await.as_nanos() / 1_000_000_000;
                seen.push((due, now().await.as_nanos() / 1_000_000_000));
                if number == 1 {
                    sleep(SECOND * 5).await;
                }
            }
            seen
        })
    };
    let burst = [(0, 0), (2, 2), (4, 7), (6, 7), (8, 8), (10, 10)];
    assert_eq!(ticks(MissedTick::Burst), burst);
    assert_eq!(ticks(MissedTick::default()), burst);
    assert_eq!(ticks(MissedTick::Delay), [(0, 0), (2, 2), (4, 7), (9, 9), (11, 11), (13, 13)]);
    assert_eq!(ticks(MissedTick::Skip), [(0, 0), (2, 2), (4, 7), (8, 8), (10, 10), (12, 12)]);
}

#[test]
fn tick_exactly_one_period_late_then_the_phase_is_kept() {
    for policy in [MissedTick::Burst, MissedTick::Skip] {
        block_on(async move {
            let mut ticks = interval(SECOND).missed(policy);
            ticks.tick().await;
            sleep(SECOND * 2).await;
            assert_eq!(ticks.tick().await, at(1));
            let next = ticks.tick().await;
            assert_eq!(next.as_nanos() % 1_000_000_000, 0);
            assert!(next == at(2) || next == at(3), "{policy:?}: {next}");
        });
    }
}

#[test]
fn tick_given_up_then_it_comes_again() {
    block_on(async {
        let mut ticks = interval(SECOND * 3);
        drop(ticks.tick());
        assert_eq!(ticks.tick().await, at(0));
        assert_eq!(timeout(SECOND, ticks.tick()).await, Err(Elapsed));
        assert_eq!(ticks.tick().await, at(3));
        ticks.reset();
        sleep(SECOND / 2).await;
        let first = ticks.tick().await;
        assert_eq!(first.as_nanos(), 3_500_000_000, "it begins anew");
        assert_eq!(ticks.tick().await - first, SECOND * 3);
    });
}

#[test]
fn interval_without_a_period_then_refused() {
    assert_eq!(support::panic_of(|| interval(Duration::ZERO)), "an interval has a period");
}

// Against a model: a map of deadlines

#[derive(Clone, Debug)]
enum Op {
    /// Starts a sleeper with so many milliseconds before it.
    Start(u64),
    /// Kills the sleeper with this number, modulo how many there are.
    Kill(usize),
    /// Lets so many milliseconds go by.
    Pass(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0_u64..20).prop_map(Op::Start),
        2 => any::<usize>().prop_map(Op::Kill),
        1 => (0_u64..10).prop_map(Op::Pass),
    ]
}

proptest! {
    /// Sleepers started and killed at random come due as a sorted map says.
    #[test]
    fn timers_at_random_then_due_as_in_the_model(ops in prop::collection::vec(op(), 1..200)) {
        let order = Trace::default();
        let theirs = order.clone();
        let expected = block_on(async move {
            let mut model: BTreeMap<(u64, usize), usize> = BTreeMap::new();
            let mut sleepers = Vec::new();
            let (mut time, mut due) = (0, Vec::new());
            let mut pass = |model: &mut BTreeMap<(u64, usize), usize>, time: u64| {
                let later = model.split_off(&(time + 1, 0));
                due.extend(std::mem::replace(model, later).into_values());
            };
            for op in ops {
                match op {
                    Op::Start(millis) => {
                        let (number, order) = (sleepers.len(), theirs.clone());
                        let deadline = now().await + MILLI * (millis as u32 + 1);
                        let sleeper = spawn(async move {
                            sleep_until(deadline).await;
                            order.say(number);
                        });
                        sleepers.push(sleeper.await);
                        model.insert((time + millis + 1, number), number);
                        yield_now().await;
                    }
                    Op::Kill(pick) if !sleepers.is_empty() => {
                        let number = pick % sleepers.len();
                        kill(sleepers[number].id()).await.unwrap();
                        model.retain(|_, sleeper| *sleeper != number);
                    }
                    Op::Kill(_) => {}
                    Op::Pass(millis) => {
                        sleep(MILLI * millis as u32).await;
                        // Those that are due with us stand in the queue behind or before us.
                        yield_now().await;
                        time += millis;
                        pass(&mut model, time);
                    }
                }
            }
            sleep(SECOND).await;
            pass(&mut model, u64::MAX - 1);
            due
        });
        let expected: Vec<String> = expected.iter().map(usize::to_string).collect();
        prop_assert_eq!(order.take(), expected);
    }
}

// The driver's own promises

#[test]
fn os_driver_and_a_deadline_beyond_what_epoll_can_count_then_it_waits_on() {
    // 2^32 ms, which a careless conversion makes zero: it must wait until it is told.
    let mut driver = OsDriver::new();
    let unparker = driver.unparker();
    let (wait_over, told) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let early = told.recv_timeout(Duration::from_millis(30)).is_ok();
        unparker.unpark();
        early
    });
    let deadline = driver.now() + MILLI * u32::MAX + MILLI;
    let mut events = Vec::new();
    driver.wait(Until::Deadline(deadline), &mut events).unwrap();
    let _ = wait_over.send(());
    assert!(!thread.join().unwrap(), "the wait ended before anybody ended it");
    assert!(events.is_empty());
}
