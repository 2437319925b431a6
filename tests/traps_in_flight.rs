//! Several calls in flight in one task, and calls polled under wakers that are not the task's.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::future::{LocalBoxFuture, join_all, select_all, try_join_all};
use futures::stream::{self, FuturesOrdered, FuturesUnordered};
use futures::{FutureExt, StreamExt, join, select, select_biased};
use support::{
    Slot, Trace, assert_empty, builder, give_way, poll_once, poll_under, run_clean, scheduler,
    traced,
};
use trapline::{ExitStatus, Scheduler, StepEvent, WaitQueue};

const SECOND: Duration = Duration::from_secs(1);

fn leaked_queue(tokens: usize) -> &'static WaitQueue {
    Box::leak(Box::new(WaitQueue::new(tokens)))
}

#[test]
fn join_of_three_calls_then_one_step_serves_them_in_order() {
    let (mut scheduler, trace) = traced();
    let child = scheduler.spawn(async {
        let (now, me, _) = join!(trapline::now(), trapline::get_tid(), trapline::sleep(SECOND));
        (now.as_nanos(), me.sequence())
    });
    let step = scheduler.step();
    assert_eq!((step.calls(), step.to_string().as_str()), (3, "1 now() = 0ns"));
    let shown = scheduler.show(&step).to_string();
    assert!(shown.contains("get_tid()") && shown.contains("sleep(1s)"), "{shown}");
    assert_eq!(scheduler.block_on(child).unwrap().unwrap(), (0, 1));
    assert_eq!(
        trace.take()[..5],
        [
            "program spawns 1",
            "1 is taken",
            "1 now() = 0ns",
            "1 get_tid() = task 1",
            "1 sleep(1s) blocks",
        ]
    );
    run_clean(&mut scheduler);
}

#[test]
fn join_of_blocking_calls_then_each_wakes_the_task_once() {
    let (mut scheduler, trace) = traced();
    let queue = leaked_queue(0);
    scheduler
        .spawn(async move {
            join!(trapline::sleep(3 * SECOND), queue.park(), trapline::sleep(SECOND));
        })
        .detach();
    scheduler
        .spawn(async move {
            trapline::sleep(2 * SECOND).await;
            queue.wake();
        })
        .detach();
    run_clean(&mut scheduler);
    let wakes: Vec<_> = trace.take().into_iter().filter(|line| line.contains("wakes 1")).collect();
    assert_eq!(wakes, ["timer wakes 1", "2 wakes 1", "timer wakes 1"]);
}

#[test]
fn two_calls_answered_in_one_look_then_the_task_is_queued_once() {
    let (mut scheduler, trace) = traced();
    scheduler
        .spawn(async { join!(trapline::sleep(SECOND), trapline::sleep(SECOND)) }.map(drop))
        .detach();
    run_clean(&mut scheduler);
    assert_eq!(
        trace.take(),
        [
            "program spawns 1",
            "1 is taken",
            "1 sleep(1s) blocks",
            "1 sleep(1s) blocks",
            "1 gets 1s",
            "timer wakes 1",
            "1 gets 1s",
            "outside: 2",
            "1 is taken",
            "1 ends: returned",
        ]
    );
}

#[test]
fn select_then_the_losers_wait_is_gone_in_the_same_step() {
    let mut scheduler = scheduler();
    scheduler
        .spawn(async {
            select_biased! {
                _ = trapline::sleep(9 * SECOND).fuse() => panic!("the slower one won"),
                _ = trapline::sleep(SECOND).fuse() => (),
            }
            pending::<()>().await;
        })
        .detach();
    scheduler.step();
    assert_eq!(scheduler.table_sizes()[1..3], [2, 2]);
    scheduler.step();
    scheduler.step();
    assert_eq!(scheduler.table_sizes()[1..3], [0, 0]);
}

#[test]
fn select_that_draws_lots_then_the_first_answered_wins_all_the_same() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            for round in 0..100 {
                let (mut short, mut long) =
                    (trapline::sleep(SECOND).fuse(), trapline::sleep(2 * SECOND).fuse());
                let winner = select! {
                    _ = long => 2,
                    _ = short => 1,
                };
                assert_eq!(winner, 1, "round {round}");
                long.await;
            }
            assert_eq!(trapline::now().await.as_nanos(), 200_000_000_000);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn select_in_a_loop_that_keeps_one_side_pending_then_its_call_is_made_once() {
    let (mut scheduler, trace) = traced();
    scheduler
        .block_on(async {
            let mut whole = trapline::sleep(10 * SECOND).fuse();
            let mut ticks = 0;
            loop {
                select_biased! {
                    _ = whole => break,
                    _ = trapline::sleep(SECOND).fuse() => ticks += 1,
                }
            }
            assert!((9..=10).contains(&ticks), "{ticks}");
        })
        .unwrap();
    let whole = trace.take().iter().filter(|line| line.contains("sleep(10s)")).count();
    assert_eq!(whole, 1);
    run_clean(&mut scheduler);
}

#[test]
fn futures_unordered_then_they_come_as_they_end() {
    let mut scheduler = scheduler();
    let order = scheduler.block_on(async {
        let all: FuturesUnordered<_> = [5, 1, 4, 2, 3]
            .map(|n| trapline::sleep(n * SECOND).map(move |_| n))
            .into_iter()
            .collect();
        all.collect::<Vec<_>>().await
    });
    assert_eq!(order.unwrap(), [1, 2, 3, 4, 5]);
    run_clean(&mut scheduler);
}

#[test]
fn futures_unordered_of_calls_answered_at_once_then_none_is_lost() {
    for quantum in [1, 2, 32] {
        let mut scheduler = builder().quantum(quantum).build();
        let queue = leaked_queue(3);
        let count = scheduler.block_on(async move {
            let all: FuturesUnordered<LocalBoxFuture<'static, ()>> = FuturesUnordered::new();
            for _ in 0..3 {
                all.push(trapline::yield_now().boxed_local());
                all.push(trapline::get_tid().map(drop).boxed_local());
                all.push(trapline::now().map(drop).boxed_local());
                all.push(queue.park().boxed_local());
                all.push(trapline::sleep(Duration::ZERO).map(drop).boxed_local());
                all.push(async { trapline::spawn(async {}).await.await.unwrap() }.boxed_local());
            }
            all.count().await
        });
        assert_eq!(count.unwrap(), 18, "quantum {quantum}");
        assert_eq!(queue.tokens(), 0);
        run_clean(&mut scheduler);
    }
}

#[test]
fn futures_unordered_of_parks_woken_in_the_same_poll_then_none_is_lost() {
    let mut scheduler = scheduler();
    let queue = leaked_queue(0);
    let count = scheduler.block_on(async move {
        let mut all: FuturesUnordered<_> = (0..3).map(|_| queue.park()).collect();
        // They are in line, and not yet served, when the wakes come.
        assert!(futures::poll!(all.next()).is_pending());
        queue.wake();
        queue.wake();
        queue.wake();
        all.count().await
    });
    assert_eq!(count.unwrap(), 3);
    run_clean(&mut scheduler);
}

#[test]
fn futures_ordered_then_they_come_in_their_order() {
    let mut scheduler = scheduler();
    let order = scheduler.block_on(async {
        let all: FuturesOrdered<_> = [3, 1, 2]
            .map(|n| trapline::sleep(n * SECOND).map(move |at| (n, at.as_nanos() / 1_000_000_000)))
            .into_iter()
            .collect();
        all.collect::<Vec<_>>().await
    });
    assert_eq!(order.unwrap(), [(3, 3), (1, 1), (2, 2)]);
    run_clean(&mut scheduler);
}

#[test]
fn futures_unordered_dropped_half_way_then_nothing_is_left() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let mut all: FuturesUnordered<_> =
                (1..=10).map(|n| trapline::sleep(n * SECOND)).collect();
            for _ in 0..5 {
                all.next().await.unwrap();
            }
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn join_all_of_100_then_all_are_answered() {
    for size in [1_u64, 29, 30, 31, 32, 100] {
        let mut scheduler = scheduler();
        let sum = scheduler.block_on(async move {
            join_all((0..size).map(|n| async move {
                trapline::sleep(Duration::from_secs(n % 7)).await;
                trapline::yield_now().await;
                n
            }))
            .await
            .into_iter()
            .sum::<u64>()
        });
        assert_eq!(sum.unwrap(), size * (size - 1) / 2, "{size}");
        run_clean(&mut scheduler);
    }
}

#[test]
fn join_all_of_100_children_then_all_are_joined() {
    let mut scheduler = scheduler();
    let sum = scheduler.block_on(async {
        let handles = join_all((0..100).map(|n: u64| {
            trapline::spawn(async move {
                trapline::sleep(Duration::from_secs(100 - n)).await;
                n
            })
        }))
        .await;
        try_join_all(handles).await.unwrap().into_iter().sum::<u64>()
    });
    assert_eq!(sum.unwrap(), 4950);
    run_clean(&mut scheduler);
}

#[test]
fn select_all_of_100_then_the_first_wins_and_the_others_can_go_on_or_go() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let calls = (1..=100).rev().map(|n| trapline::sleep(n * SECOND));
            let (at, index, rest) = select_all(calls).await;
            assert_eq!((at.as_nanos(), index, rest.len()), (1_000_000_000, 99, 99));
            let (at, _, rest) = select_all(rest).await;
            assert_eq!(at.as_nanos(), 2_000_000_000);
            drop(rest);
            trapline::yield_now().await;
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn very_many_calls_in_one_poll_then_the_register_is_emptied_in_linear_time() {
    // With quadratic work this takes minutes in a debug build.
    const MANY: u64 = 200_000;
    let mut scheduler = scheduler();
    scheduler.spawn(async { drop(join_all((0..MANY).map(|_| trapline::now())).await) }).detach();
    assert_eq!(scheduler.step().calls(), usize::from(u16::MAX), "it saturates");
    run_clean(&mut scheduler);
}

#[test]
fn buffer_unordered_then_no_more_than_so_many_are_in_flight() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let (live, most) = (Cell::new(0), Cell::new(0));
            let work = |n: u64| {
                let (live, most) = (&live, &most);
                async move {
                    live.set(live.get() + 1);
                    most.set(most.get().max(live.get()));
                    trapline::sleep(Duration::from_millis(n * 37 % 11)).await;
                    trapline::yield_now().await;
                    live.set(live.get() - 1);
                    n
                }
            };
            let mut done: Vec<u64> =
                stream::iter(0..100).map(work).buffer_unordered(8).collect().await;
            done.sort_unstable();
            assert_eq!(done, (0..100).collect::<Vec<_>>());
            assert_eq!((live.get(), most.get()), (0, 8));
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn shared_by_three_tasks_then_all_get_the_one_reply() {
    for killed in [None, Some(0), Some(1), Some(2)] {
        let (mut scheduler, trace) = traced();
        let shared = trapline::sleep(SECOND).shared();
        let tasks: Vec<_> = (0..3).map(|_| scheduler.spawn(shared.clone())).collect();
        drop(shared);
        for _ in 0..3 {
            scheduler.step();
        }
        let victim = killed.map(|index: usize| tasks[index].id());
        if let Some(victim) = victim {
            scheduler.spawn(async move { trapline::kill(victim).await.unwrap() }).detach();
        }
        for (index, task) in tasks.into_iter().enumerate() {
            let result = scheduler.block_on(task).unwrap();
            match killed {
                Some(victim) if victim == index => assert!(result.unwrap_err().is_killed()),
                _ => assert_eq!(result.unwrap().as_nanos(), 1_000_000_000, "{killed:?}"),
            }
        }
        let calls = trace.take().iter().filter(|line| line.contains("sleep(1s)")).count();
        assert_eq!(calls, 1, "one call for all");
        run_clean(&mut scheduler);
    }
}

#[test]
fn shared_whose_first_poller_is_killed_after_the_reply_then_the_others_still_get_it() {
    let mut scheduler = scheduler();
    let queue = leaked_queue(0);
    let shared = queue.park().shared();
    let first = scheduler.spawn(shared.clone());
    let second = scheduler.spawn(shared.clone());
    drop(shared);
    let victim = first.id();
    scheduler
        .spawn(async move {
            trapline::yield_now().await;
            queue.wake();
            trapline::kill(victim).await.unwrap();
        })
        .detach();
    scheduler.block_on(second).unwrap().unwrap();
    drop(first);
    run_clean(&mut scheduler);
    assert_eq!(queue.tokens(), 0, "the second task took it");
}

#[test]
fn shared_across_two_schedulers_then_both_tasks_get_it() {
    let (mut first, mut second) = (scheduler(), scheduler());
    let shared = trapline::sleep(SECOND).shared();
    let here = first.spawn(shared.clone());
    first.step();
    let there = second.spawn(shared);
    second.step();
    first.block_on(here).unwrap().unwrap();
    assert_eq!(second.block_on(there).unwrap().unwrap().as_nanos(), 1_000_000_000);
    run_clean(&mut first);
    run_clean(&mut second);
}

// Wakers that are not the task's.

#[test]
fn waker_of_another_task_then_that_task_is_woken() {
    let (mut scheduler, trace) = traced();
    let waker = Slot::new();
    let call = Slot::new();
    let (their_waker, their_call) = (waker.clone(), call.clone());
    scheduler
        .spawn(std::future::poll_fn(move |cx| {
            // It never polls the call under its own waker before the reply is there.
            their_waker.put(cx.waker().clone());
            let Some(mut sleep) = their_call.take() else { return Poll::Pending };
            poll_under::<trapline::Sleep>(&mut sleep, Waker::noop()).map(drop)
        }))
        .detach();
    scheduler
        .spawn(async move {
            let waker: Waker = waker.take().unwrap();
            let mut sleep = trapline::sleep(SECOND);
            assert!(poll_under(&mut sleep, &waker).is_pending());
            call.put(sleep);
        })
        .detach();
    run_clean(&mut scheduler);
    let lines = trace.take();
    let wakes: Vec<_> = lines.iter().filter(|line| line.contains("wakes")).collect();
    assert_eq!(wakes, ["timer wakes 1"]);
}

#[test]
fn clone_of_the_tasks_own_waker_then_it_counts_as_its_own() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(std::future::poll_fn({
            let mut sleep = trapline::sleep(SECOND);
            move |cx| {
                let clone = cx.waker().clone();
                poll_under(&mut sleep, &clone)
            }
        }))
        .unwrap();
    run_clean(&mut scheduler);
}

/// Polls what it holds under a waker of its own that passes a wake on; counts the polls.
struct Relay<F> {
    inner: F,
    polls: Rc<Cell<usize>>,
}

struct Passer(Waker);

impl std::task::Wake for Passer {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.wake_by_ref();
    }
}

impl<F: Future + Unpin> Future for Relay<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.polls.set(self.polls.get() + 1);
        let waker = Waker::from(std::sync::Arc::new(Passer(cx.waker().clone())));
        poll_under(&mut self.inner, &waker)
    }
}

#[test]
fn waker_that_is_another_at_every_poll_then_the_last_one_is_woken() {
    let mut scheduler = scheduler();
    let polls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&polls);
    scheduler
        .block_on(async move {
            let relay = Relay { inner: trapline::sleep(SECOND), polls: counted };
            let mut relay = Relay { inner: relay, polls: Rc::default() };
            for _ in 0..10 {
                assert!(poll_once(&mut relay).await.is_pending());
                give_way().await;
            }
            relay.await;
        })
        .unwrap();
    assert_eq!(polls.get(), 12, "ten, the one that waits, and the one that is answered");
    run_clean(&mut scheduler);
}

#[test]
fn forgetful_combinator_that_polls_under_a_noop_waker_then_only_a_later_poll_finds_the_reply() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let mut sleep = trapline::sleep(SECOND);
            assert!(poll_once(&mut sleep).await.is_pending());
            // The booking goes with the latest poll: nobody is woken for it now.
            assert!(poll_under(&mut sleep, Waker::noop()).is_pending());
            assert_eq!(trapline::sleep(2 * SECOND).await.as_nanos(), 2_000_000_000);
            assert_eq!(sleep.now_or_never().unwrap().as_nanos(), 1_000_000_000);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn waiters_of_one_exit_under_wakers_of_all_kinds_then_each_is_told() {
    let mut scheduler = scheduler();
    let child = scheduler.spawn(trapline::sleep(SECOND));
    let id = child.id();
    let told = Rc::new(Cell::new(0));
    for kind in 0..4 {
        let told = Rc::clone(&told);
        scheduler
            .spawn(async move {
                let count = match kind {
                    0 => usize::from(trapline::wait(id).await == Ok(ExitStatus::Returned)),
                    1 => join_all((0..100).map(|_| trapline::wait(id))).await.len(),
                    2 => {
                        let all: FuturesUnordered<_> =
                            (0..10).map(|_| trapline::wait(id)).collect();
                        all.count().await
                    }
                    _ => {
                        let (first, second) = join!(trapline::wait(id), trapline::wait(id));
                        usize::from(first.is_ok()) + usize::from(second.is_ok())
                    }
                };
                told.set(told.get() + count);
            })
            .detach();
    }
    scheduler.block_on(child).unwrap().unwrap();
    run_clean(&mut scheduler);
    assert_eq!(told.get(), 1 + 100 + 10 + 2);
}

// Chance: a crowd of calls, made, moved, polled under any waker, dropped, killed.

/// What a crowd does, decided by a seed.
fn crowd(seed: u64) -> (Vec<String>, [usize; 6]) {
    let trace = Trace::default();
    let lines = trace.clone();
    let mut scheduler = builder()
        .quantum(1 + (seed % 3) as u32)
        .batch(1 + (seed % 5) as u32)
        .seed(seed)
        .probe(move |event: &trapline::Event<'_>| lines.say(event))
        .build();
    let exchange: Rc<RefCell<Vec<LocalBoxFuture<'static, ()>>>> = Rc::default();
    let queue = leaked_queue(1);
    let handles: Rc<RefCell<Vec<trapline::TaskId>>> = Rc::default();
    for _ in 0..8 {
        let (exchange, ids) = (Rc::clone(&exchange), Rc::clone(&handles));
        let task = scheduler.spawn(async move {
            let mut mine: Vec<LocalBoxFuture<'static, ()>> = Vec::new();
            let mut flock: FuturesUnordered<LocalBoxFuture<'static, ()>> = FuturesUnordered::new();
            for _ in 0..30 {
                let drawn = trapline::random();
                let (act, which) = (drawn % 12, (drawn >> 8) as usize);
                let target = ids.borrow()[which % 8];
                let nanos = Duration::from_nanos(drawn >> 32 & 7);
                match act {
                    0 => mine.push(trapline::sleep(nanos).map(drop).boxed_local()),
                    1 => mine.push(queue.park().boxed_local()),
                    2 => flock.push(trapline::wait(target).map(drop).boxed_local()),
                    3 => flock.push(trapline::sleep(nanos).map(drop).boxed_local()),
                    4 => flock.push(queue.park().boxed_local()),
                    5 => queue.wake(),
                    6 if !mine.is_empty() => {
                        let at = which % mine.len();
                        exchange.borrow_mut().push(mine.swap_remove(at));
                    }
                    7 if !exchange.borrow().is_empty() => {
                        let at = which % exchange.borrow().len();
                        let call = exchange.borrow_mut().swap_remove(at);
                        mine.push(call);
                    }
                    8 if !mine.is_empty() => drop(mine.swap_remove(which % mine.len())),
                    9 => drop(trapline::sleep(nanos).await),
                    10 if drawn >> 40 & 15 == 0 => {
                        trapline::kill(target).await.unwrap();
                    }
                    11 => drop(queue.wake_all()),
                    _ => trapline::yield_now().await,
                }
                if drawn >> 50 & 1 == 0 {
                    std::future::poll_fn(|cx| {
                        mine.retain_mut(|call| call.poll_unpin(cx).is_pending());
                        Poll::Ready(())
                    })
                    .await;
                }
                if drawn >> 51 & 1 == 0 {
                    let _ = futures::poll!(flock.next());
                }
            }
        });
        handles.borrow_mut().push(task.id());
        task.detach();
    }
    let report = scheduler.run().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert_eq!(report.failures, 0, "seed {seed}: {report}");
    exchange.take();
    scheduler.spawn(async {}).detach();
    let _ = scheduler.run().unwrap();
    scheduler.check_invariants();
    assert_eq!(queue.waiting(), 0, "seed {seed}");
    (trace.take(), scheduler.table_sizes())
}

#[test]
fn crowd_of_calls_of_all_kinds_then_nothing_is_left_and_a_seed_gives_one_trace() {
    for seed in 0..300 {
        let (trace, left) = crowd(seed);
        assert_eq!(left, [0; 6], "seed {seed}");
        if seed.is_multiple_of(10) {
            let again = crowd(seed).0;
            let differs = trace.iter().zip(&again).find(|(first, second)| first != second);
            assert_eq!((differs, trace.len()), (None, again.len()), "seed {seed}");
        }
    }
}

#[test]
fn same_call_polled_twice_in_one_poll_then_it_is_submitted_once() {
    let mut scheduler = scheduler();
    scheduler
        .spawn(async {
            let mut sleep = trapline::sleep(SECOND);
            assert!(poll_once(&mut sleep).await.is_pending());
            assert!(poll_once(&mut sleep).await.is_pending());
            sleep.await;
        })
        .detach();
    let step = scheduler.step();
    assert_eq!(step.calls(), 1);
    assert!(matches!(step.event(), StepEvent::Trapped { .. }));
    run_clean(&mut scheduler);
    assert_empty(&scheduler);
}

/// Five calls that wait for one thing; one is dropped, its slot is used again, and the four others
/// are told all the same, once.
fn one_of_five_dropped<F: Future<Output = ()> + Unpin + 'static>(
    scheduler: &mut Scheduler,
    make: impl Fn() -> F + 'static,
    answer: impl Future + 'static,
    index: usize,
) {
    let task = scheduler.spawn(async move {
        let mut calls: Vec<F> = (0..5).map(|_| make()).collect();
        for call in &mut calls {
            assert!(poll_once(call).await.is_pending());
        }
        trapline::yield_now().await;
        drop(calls.remove(index));
        trapline::yield_now().await;
        // These stand in the freed slot, and wait for something else.
        let mut strangers = [trapline::sleep(9 * SECOND), trapline::sleep(9 * SECOND)];
        for stranger in &mut strangers {
            assert!(poll_once(stranger).await.is_pending());
        }
        answer.await;
        trapline::sleep(SECOND).await;
        for call in &mut calls {
            assert!(poll_once(call).await.is_ready(), "{index}");
        }
        for stranger in &mut strangers {
            assert!(poll_once(stranger).await.is_pending(), "{index}");
        }
    });
    scheduler.block_on(task).unwrap().unwrap();
    run_clean(scheduler);
}

#[test]
fn one_of_five_waiters_dropped_then_the_others_are_told_and_a_stranger_is_not() {
    for index in 0..5 {
        let mut on_exit = scheduler();
        let child = on_exit.spawn(pending::<()>());
        let id = child.id();
        child.detach();
        let make = move || trapline::wait(id).map(drop);
        one_of_five_dropped(&mut on_exit, make, trapline::kill(id), index);

        let queue = leaked_queue(0);
        let wake_four = async move {
            for _ in 0..4 {
                queue.wake();
            }
        };
        one_of_five_dropped(&mut scheduler(), || queue.park(), wake_four, index);
        assert_eq!(queue.tokens(), 0);

        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let ours: &'static _ = Box::leak(Box::new(ours));
        let make = move || trapline::read_wait(ours).map(Result::unwrap);
        let close = async move { drop(theirs) };
        one_of_five_dropped(&mut scheduler(), make, close, index);

        let make = || trapline::sleep_until(trapline::Instant::from_nanos(1)).map(drop);
        one_of_five_dropped(&mut scheduler(), make, trapline::sleep(SECOND), index);
    }
}
