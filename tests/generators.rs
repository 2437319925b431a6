//! Generators: as iterators, without a scheduler and within a task, and as streams.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::Cell;
use std::future::{pending, ready};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures::stream::{FusedStream, FuturesUnordered};
use futures::{FutureExt, Stream, StreamExt, select};
use proptest::prelude::*;
use support::{
    OnDrop, Slot, Trace, assert_empty, builder, panic_of, poll_idly, poll_once, run_clean,
    scheduler, text_of,
};
use trapline::generator::{Generator, Yielder};
use trapline::{
    RunError, Scheduler, get_tid, kill, now, post_kill, sleep, spawn, spawn_detached, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

fn countdown(from: u32) -> Generator<'static, u32> {
    Generator::new(async move |y| {
        for n in (1..=from).rev() {
            y.yield_(n).await;
        }
    })
}

/// Yields a number a second.
fn ticks(count: u32) -> Generator<'static, u32> {
    Generator::new(async move |y| {
        for n in 0..count {
            sleep(SECOND).await;
            y.yield_(n).await;
        }
    })
}

// As an iterator

#[test]
fn generator_iterated_then_its_values_in_order() {
    assert_eq!(countdown(4).collect::<Vec<_>>(), [4, 3, 2, 1]);
    assert_eq!(countdown(0).next(), None);
}

#[test]
fn generator_from_a_closure_with_an_async_block_then_the_same() {
    let words = Generator::new(|y: Yielder<&'static str>| async move {
        y.yield_("a").await;
        y.yield_("b").await;
    });
    assert_eq!(words.collect::<String>(), "ab");
}

#[test]
fn generator_made_then_nothing_runs_before_the_first_value_is_asked_for() {
    let trace = Trace::default();
    let mut generator = Generator::new(async |y| {
        trace.say("begins");
        y.yield_(1).await;
        trace.say("goes on");
    });
    assert!(trace.take().is_empty());
    assert_eq!(generator.next(), Some(1));
    assert_eq!(trace.take(), ["begins"]);
    assert_eq!(generator.next(), None);
    assert_eq!(trace.take(), ["goes on"]);
}

#[test]
fn generator_that_borrows_then_its_values_point_to_the_original() {
    let text = String::from("one two three");
    let words = |long: usize| {
        let text = &text;
        Generator::new(async move |y| {
            for word in text.split(' ').filter(|word| word.len() >= long) {
                y.yield_(word).await;
            }
        })
    };
    assert_eq!(words(4).collect::<Vec<_>>(), ["three"]);
    assert!(std::ptr::eq(words(1).next().unwrap().as_ptr(), text.as_ptr()));
}

#[test]
fn generators_chained_then_each_value_passes_all_before_the_next_is_made() {
    let trace = Trace::default();
    let numbers = Generator::new(async |y| {
        for n in 1..=4 {
            trace.say(format!("make {n}"));
            y.yield_(n).await;
        }
    });
    let even = Generator::new(async |y| {
        for n in numbers.filter(|n| n % 2 == 0) {
            trace.say(format!("pass {n}"));
            y.yield_(n).await;
        }
    });
    let sum: i32 = even.map(|n| n * 10).sum();
    assert_eq!(sum, 60);
    assert_eq!(trace.take(), ["make 1", "make 2", "pass 2", "make 3", "make 4", "pass 4"]);
}

#[test]
fn generator_that_returns_then_into_return_gives_it_once_it_has_ended() {
    let mut generator = Generator::new(async |y| {
        y.yield_(1).await;
        "done"
    });
    assert_eq!(generator.by_ref().count(), 1);
    assert!(generator.is_finished());
    assert_eq!(generator.into_return(), Some("done"));

    let mut early = Generator::new(async |y| {
        y.yield_(1).await;
        "done"
    });
    assert_eq!(early.next(), Some(1));
    assert_eq!(early.into_return(), None);
}

#[test]
fn generator_that_ended_then_it_gives_none_for_ever() {
    let mut generator = countdown(1);
    assert_eq!(generator.size_hint(), (0, None));
    assert_eq!(generator.next(), Some(1));
    for _ in 0..3 {
        assert_eq!(generator.next(), None);
        assert_eq!(generator.size_hint(), (0, Some(0)));
    }
}

#[test]
fn generator_dropped_between_two_values_then_its_destructors_run() {
    let trace = Trace::default();
    let mut generator = Generator::new(async |y| {
        let _guard = OnDrop(|| trace.say("dropped"));
        y.yield_(1).await;
        trace.say("never");
    });
    generator.next();
    assert!(trace.take().is_empty());
    drop(generator);
    assert_eq!(trace.take(), ["dropped"]);
}

#[test]
fn value_not_taken_then_it_is_dropped_once() {
    let drops = Cell::new(0);
    let thing = || OnDrop(|| drops.set(drops.get() + 1));
    let generator = Generator::new(async |y| {
        select! {
            () = y.yield_(thing()).fuse() => unreachable!("nobody takes it"),
            () = ready(()).fuse() => {}
        }
        assert_eq!(drops.get(), 1, "`select!` drops the futures that lost");
        y.yield_(thing()).await;
    });
    let taken = generator.count();
    assert_eq!((taken, drops.get()), (1, 2));
}

#[test]
fn yield_given_up_before_its_value_was_taken_then_the_value_is_taken_back() {
    let generator = Generator::new(async |y| {
        let mut given_up = Box::pin(y.yield_(1));
        assert!(poll_once(&mut given_up).await.is_pending());
        drop(given_up);
        y.yield_(2).await;
    });
    assert_eq!(generator.collect::<Vec<_>>(), [2]);
}

#[test]
fn yield_of_a_value_that_was_taken_dropped_later_then_it_takes_nothing_back() {
    let generator = Generator::new(async |y| {
        let mut first = Box::pin(y.yield_(1));
        assert!(poll_once(&mut first).await.is_pending());
        support::give_way().await;
        let mut second = Box::pin(y.yield_(2));
        assert!(poll_once(&mut second).await.is_pending());
        drop(first);
        second.await;
    });
    assert_eq!(generator.collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn two_yields_at_once_then_a_panic_says_so() {
    let mut generator = Generator::new(async |y| {
        futures::join!(y.yield_(1), y.yield_(2));
    });
    let text = panic_of(|| generator.next());
    assert!(text.contains("before the first was taken"), "{text}");
    assert_eq!(generator.next(), None);
}

#[test]
fn yields_under_foreign_wakers_then_they_go_on() {
    let generator = Generator::new(async |y| {
        for n in 0..3 {
            let mut children: FuturesUnordered<_> = [y.yield_(n)].into_iter().collect();
            children.next().await;
        }
    });
    assert_eq!(generator.collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn block_that_panics_then_the_caller_panics_and_the_generator_has_ended() {
    let trace = Trace::default();
    let mut generator = Generator::new(async |y| {
        let _guard = OnDrop(|| trace.say("dropped"));
        y.yield_(1).await;
        panic!("a bad block");
    });
    assert_eq!(generator.next(), Some(1));
    assert_eq!(panic_of(|| generator.next()), "a bad block");
    assert_eq!(trace.take(), ["dropped"]);
    assert!(generator.is_finished());
    assert_eq!(generator.next(), None);
}

#[test]
fn yielder_used_outside_its_generator_then_a_panic_says_so() {
    let slot = Slot::new();
    let mut generator = Generator::new(async |y: Yielder<u32>| slot.put(y));
    assert_eq!(generator.next(), None);
    let stray = slot.take().unwrap();
    let text = panic_of(|| poll_idly(&mut stray.yield_(1)));
    assert!(text.contains("outside the block"), "{text}");
}

#[test]
fn yield_from_then_each_in_turn() {
    let generator = Generator::new(async |y| {
        y.yield_from(countdown(2)).await;
        y.yield_from([]).await;
        y.yield_from([7, 8]).await;
    });
    assert_eq!(generator.collect::<Vec<_>>(), [2, 1, 7, 8]);
}

#[test]
fn generator_shown_then_its_state_and_line() {
    let mut generator = countdown(1);
    assert!(format!("{generator:?}").contains("before its first value"));
    assert!(format!("{generator:?}").contains("generators.rs:"));
    generator.next();
    assert!(format!("{generator:?}").contains("between two values"));
    generator.next();
    assert!(format!("{generator:?}").contains("finished"));
}

// A system call in an iterator

const DRIVE_AS_STREAM: &str = "Generator::into_stream";

#[test]
fn trap_in_an_iterator_outside_a_task_then_a_panic_names_the_stream() {
    let text = panic_of(|| ticks(1).next());
    assert!(text.contains(DRIVE_AS_STREAM), "{text}");
    let text = panic_of(|| poll_idly(&mut get_tid()));
    assert!(text.contains("outside a task") && !text.contains(DRIVE_AS_STREAM), "{text}");
}

#[test]
fn trap_in_an_iterator_inside_a_task_then_a_panic_names_the_stream_and_the_task_goes_on() {
    let mut scheduler = scheduler();
    let tid = scheduler.block_on(async {
        let mut generator = ticks(2);
        let text = panic_of(|| generator.next());
        assert!(text.contains(DRIVE_AS_STREAM), "{text}");
        assert_eq!(generator.next(), None);
        get_tid().await
    });
    assert_eq!(tid.unwrap().sequence(), 1);
    assert_empty(&scheduler);
}

#[test]
fn trap_in_a_nested_iterator_then_a_panic_names_the_stream() {
    let mut scheduler = scheduler();
    let nested = || {
        Generator::new(async |y| {
            for n in ticks(1) {
                y.yield_(n).await;
            }
        })
    };
    scheduler
        .block_on(async {
            assert!(panic_of(|| nested().next()).contains(DRIVE_AS_STREAM));
            // The inner one is an iterator also where the outer one is a stream.
            let mut stream = nested().into_stream();
            let panicked = AssertUnwindSafe(stream.next()).catch_unwind().await.unwrap_err();
            let text = text_of(&*panicked);
            assert!(text.contains(DRIVE_AS_STREAM), "{text}");
            assert!(stream.is_terminated());
            sleep(SECOND).await;
        })
        .unwrap();
    assert_empty(&scheduler);
}

#[test]
fn call_in_flight_awaited_in_an_iterator_then_a_panic_and_nothing_stays() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let mut asleep = sleep(SECOND);
            assert!(poll_once(&mut asleep).await.is_pending());
            let mut generator = Generator::new(async |y| {
                asleep.await;
                y.yield_(1).await;
            });
            let text = panic_of(|| generator.next());
            assert!(text.contains(DRIVE_AS_STREAM), "{text}");
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn anything_else_awaited_in_an_iterator_then_a_panic_says_so() {
    let mut generator = Generator::new(async |y| {
        y.yield_(1).await;
        pending::<()>().await;
    });
    assert_eq!(generator.next(), Some(1));
    let text = panic_of(|| generator.next());
    assert!(text.contains("not ready") && text.contains(DRIVE_AS_STREAM), "{text}");
    assert_eq!(generator.next(), None);
}

#[test]
fn posts_and_random_numbers_in_an_iterator_inside_a_task_then_they_work() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let lines = trace.clone();
    scheduler
        .block_on(async move {
            let mut generator = Generator::new(async |y| {
                let lines = lines.clone();
                spawn_detached(async move { lines.say("spawned") });
                y.yield_(trapline::random()).await;
            });
            assert_ne!(generator.next(), Some(trapline::random()));
            yield_now().await;
        })
        .unwrap();
    assert_eq!(trace.take(), ["spawned"]);
}

#[test]
fn scheduler_run_in_an_iterator_inside_a_task_then_an_error() {
    scheduler()
        .block_on(async {
            let mut generator = Generator::new(async |y| {
                y.yield_(Scheduler::new().run().is_err_and(|e| matches!(e, RunError::InsideTask)))
                    .await;
                Scheduler::new().step();
            });
            assert_eq!(generator.next(), Some(true));
            assert!(panic_of(|| generator.next()).contains("cannot step"));
        })
        .unwrap();
}

#[test]
fn scheduler_run_in_an_iterator_outside_a_task_then_its_tasks_may_trap() {
    let generator = Generator::new(async |y| {
        for _ in 0..2 {
            y.yield_(scheduler().block_on(async { get_tid().await.sequence() }).unwrap()).await;
        }
    });
    assert_eq!(generator.collect::<Vec<_>>(), [1, 1]);
}

// As a stream

#[test]
fn stream_whose_block_sleeps_then_its_values_come_in_time() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let start = now().await;
            let mut stream = ticks(3).into_stream();
            for n in 0..3 {
                assert_eq!(stream.next().await, Some(n));
                assert_eq!(now().await - start, SECOND * (n + 1));
            }
            assert!(!stream.is_terminated());
            assert_eq!(stream.next().await, None);
            assert!(stream.is_terminated());
            assert_eq!(stream.size_hint(), (0, Some(0)));
            assert_eq!(stream.next().await, None);
        })
        .unwrap();
    assert_empty(&scheduler);
}

#[test]
fn stream_that_returns_then_into_return_gives_it() {
    let returned = scheduler().block_on(async {
        let mut stream = Generator::new(async |y| {
            y.yield_(1).await;
            get_tid().await.sequence()
        })
        .into_stream();
        while stream.next().await.is_some() {}
        stream.into_return()
    });
    assert_eq!(returned.unwrap(), Some(1));
}

#[test]
fn streams_chained_then_calls_of_all_are_the_tasks() {
    let values = scheduler().block_on(async {
        let doubled = Generator::new(async |y| {
            let mut source = ticks(3).into_stream();
            while let Some(n) = source.next().await {
                yield_now().await;
                y.yield_(n * 2).await;
            }
        });
        doubled.into_stream().filter(|n| ready(*n > 0)).collect::<Vec<_>>().await
    });
    assert_eq!(values.unwrap(), [2, 4]);
}

#[test]
fn endless_stream_that_never_traps_then_others_run_and_it_can_be_killed() {
    for quantum in [1, 7, 32] {
        let mut scheduler = builder().quantum(quantum).build();
        let drawn = Rc::new(Cell::new(0));
        let count = Rc::clone(&drawn);
        let endless = scheduler.spawn(async move {
            let mut numbers = Generator::new(async |y| {
                for n in 0.. {
                    y.yield_(n).await;
                }
            })
            .into_stream();
            while let Some(n) = numbers.next().await {
                count.set(n);
            }
        });
        let victim = endless.id();
        scheduler
            .spawn(async move {
                for _ in 0..10 {
                    yield_now().await;
                }
                kill(victim).await.unwrap();
            })
            .detach();
        endless.detach();
        run_clean(&mut scheduler);
        let (low, high) = (8 * quantum as i32 - 10, 12 * quantum as i32 + 10);
        assert!((low..high).contains(&drawn.get()), "{} at a quantum of {quantum}", drawn.get());
    }
}

#[test]
fn next_dropped_at_any_moment_then_no_value_is_lost() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let mut stream = ticks(3).into_stream();
            drop(stream.next());
            // While blocked.
            assert!(poll_once(&mut stream.next()).await.is_pending());
            sleep(SECOND * 2).await;
            // After the wake-up.
            assert_eq!(stream.next().await, Some(0));
            select! {
                _ = stream.next().fuse() => unreachable!("it takes a second"),
                () = ready(()).fuse() => {}
            }
            assert_eq!(stream.collect::<Vec<_>>().await, [1, 2]);
        })
        .unwrap();
    assert_empty(&scheduler);
}

#[test]
fn several_streams_under_foreign_wakers_then_each_gives_its_values() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let all = FuturesUnordered::new();
            for _ in 0..3 {
                all.push(ticks(2).into_stream().collect::<Vec<_>>());
            }
            assert_eq!(all.collect::<Vec<_>>().await, [[0, 1]; 3]);
            let (a, b) = (ticks(2).into_stream(), ticks(3).into_stream());
            let (a, b) = futures::join!(a.collect::<Vec<_>>(), b.collect::<Vec<_>>());
            assert_eq!((a.len(), b.len()), (2, 3));
        })
        .unwrap();
    assert_empty(&scheduler);
}

#[test]
fn task_killed_while_its_stream_waits_then_its_destructors_run_and_nothing_stays() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let lines = trace.clone();
    scheduler
        .spawn(async move {
            let victim = spawn(async move {
                let mut stream = Generator::new(async |y: Yielder<()>| {
                    let _guard = OnDrop(|| lines.say("dropped"));
                    sleep(SECOND).await;
                    y.yield_(()).await;
                })
                .into_stream();
                stream.next().await;
            })
            .await;
            yield_now().await;
            kill(victim.id()).await.unwrap();
            assert!(victim.await.unwrap_err().is_killed());
        })
        .detach();
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["dropped"]);
}

#[test]
fn task_killed_at_any_step_of_a_stream_then_nothing_stays() {
    let mut killed = 0;
    for step in 0.. {
        let mut scheduler = scheduler();
        let handle = scheduler.spawn(ticks(2).into_stream().collect::<Vec<_>>());
        let victim = handle.id();
        for _ in 0..step {
            let _ = scheduler.step();
        }
        let ended = scheduler.block_on(async move {
            post_kill(victim);
            handle.await
        });
        assert_empty(&scheduler);
        if let Ok(values) = ended.unwrap() {
            assert_eq!(values, [0, 1]);
            break;
        }
        killed += 1;
    }
    assert!(killed > 4, "before its first poll, asleep, awake, and so on: {killed}");
}

#[test]
fn block_of_a_stream_that_panics_then_its_task_panics() {
    let mut scheduler = scheduler();
    let handle = scheduler.spawn(async {
        let mut stream = Generator::new(async |y| {
            y.yield_(1).await;
            yield_now().await;
            panic!("a bad block");
        })
        .into_stream();
        while stream.next().await.is_some() {}
    });
    let text = scheduler.block_on(async { handle.await.unwrap_err().to_string() }).unwrap();
    assert!(text.contains("a bad block"), "{text}");
    assert_empty(&scheduler);
}

#[test]
fn stream_that_gives_way_then_the_table_shows_the_line_of_the_generator() {
    let mut scheduler = scheduler();
    scheduler
        .spawn(async {
            Generator::new(async |y| {
                for n in 0..3 {
                    y.yield_(n).await;
                }
            })
            .into_stream()
            .for_each(|_| ready(()))
            .await;
        })
        .detach();
    let step = scheduler.step();
    let shown = scheduler.show(&step).to_string();
    assert!(shown.contains("yield_now() at ") && shown.contains("generators.rs"), "{shown}");
    run_clean(&mut scheduler);
}

// Against a model: what a generator does is what a list of its values does.

#[derive(Clone, Debug)]
enum Op {
    Yield(u8),
    YieldFrom(Vec<u8>),
    GiveUp(u8),
    Nested(Vec<Op>),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        any::<u8>().prop_map(Op::Yield),
        prop::collection::vec(any::<u8>(), 0..4).prop_map(Op::YieldFrom),
        any::<u8>().prop_map(Op::GiveUp),
    ];
    let op = op.prop_recursive(3, 32, 5, |op| prop::collection::vec(op, 0..5).prop_map(Op::Nested));
    prop::collection::vec(op, 0..8)
}

fn values_of(ops: &[Op]) -> Vec<u8> {
    let mut values = Vec::new();
    for op in ops {
        match op {
            Op::Yield(value) => values.push(*value),
            Op::YieldFrom(several) => values.extend(several),
            Op::GiveUp(_) => {}
            Op::Nested(ops) => values.extend(values_of(ops)),
        }
    }
    values
}

/// A generator that does so, with a trap before each where it may.
fn generator_of(ops: Vec<Op>, traps: bool) -> Generator<'static, u8, usize> {
    Generator::new(async move |y| {
        let count = ops.len();
        for op in ops {
            if traps {
                sleep(SECOND).await;
            }
            match op {
                Op::Yield(value) => y.yield_(value).await,
                Op::YieldFrom(several) => y.yield_from(several).await,
                Op::GiveUp(value) => {
                    let mut given_up = y.yield_(value);
                    assert!(poll_once(&mut given_up).await.is_pending());
                }
                Op::Nested(ops) if traps => {
                    let mut inner: Pin<Box<dyn Stream<Item = u8>>> =
                        Box::pin(generator_of(ops, true).into_stream());
                    while let Some(value) = inner.next().await {
                        y.yield_(value).await;
                    }
                }
                Op::Nested(ops) => y.yield_from(generator_of(ops, false)).await,
            }
        }
        count
    })
}

proptest! {
    #[test]
    fn any_block_then_the_values_of_a_plain_list(
        ops in ops(),
        skip in 0..4_usize,
        take in 0..12_usize,
        quantum in 1..40_u32,
        moments in prop::collection::vec(any::<bool>(), 0..20),
    ) {
        let model = values_of(&ops);
        let plain: Vec<u8> = model.iter().copied().skip(skip).take(take).collect();
        let drawn: Vec<u8> = generator_of(ops.clone(), false).skip(skip).take(take).collect();
        prop_assert_eq!(&drawn, &plain);
        let mut whole = generator_of(ops.clone(), false);
        prop_assert_eq!(whole.by_ref().count(), model.len());
        prop_assert_eq!(whole.into_return(), Some(ops.len()));

        let mut scheduler = builder().quantum(quantum).build();
        let steps = ops.clone();
        let handle = scheduler.spawn(async move {
            let mut stream = generator_of(steps, true).into_stream();
            let mut drawn = Vec::new();
            // At some moments the future of `next` is polled once and dropped.
            for give_up in moments {
                let polled = if give_up {
                    poll_once(&mut stream.next()).await
                } else {
                    std::task::Poll::Ready(stream.next().await)
                };
                if let std::task::Poll::Ready(Some(value)) = polled {
                    drawn.push(value);
                }
            }
            drawn.extend(stream.collect::<Vec<_>>().await);
            drawn
        });
        let mut steps = 0;
        while !scheduler.step().is_last() {
            scheduler.check_invariants();
            steps += 1;
            prop_assert!(steps < 100_000, "it never ends");
        }
        let drawn = scheduler.block_on(async { handle.await.unwrap() }).unwrap();
        prop_assert_eq!(drawn, model);
        assert_empty(&scheduler);
    }
}
