//! Yields, whose answers are written nowhere: what holds of every call holds of them all the same.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use futures::future::join_all;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, join, pin_mut, select_biased};
use support::{
    Counter, OnDrop, Slot, Trace, assert_empty, panic_of, poll_idly, poll_once, poll_under,
    run_clean, scheduler, traced,
};
use trapline::{StepEvent, yield_now};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn yield_polled_again_in_its_turn_then_it_is_pending_and_submitted_once() {
    let mut scheduler = scheduler();
    let task = scheduler.spawn(async {
        let mut first = yield_now();
        assert!(poll_once(&mut first).await.is_pending());
        assert!(poll_once(&mut first).await.is_pending());
        first.await;
    });
    let step = scheduler.step();
    assert_eq!(step.calls(), 1);
    assert!(matches!(step.event(), StepEvent::Trapped { .. }));
    assert_eq!(step.to_string(), "1 yield_now() = done, to the back");
    scheduler.block_on(task).unwrap().unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn yield_dropped_in_its_turn_then_it_is_not_served() {
    let (mut scheduler, trace) = traced();
    scheduler
        .block_on(async {
            let mut lost = yield_now();
            assert!(poll_once(&mut lost).await.is_pending());
            drop(lost);
            trapline::get_tid().await;
        })
        .unwrap();
    let lines = trace.take();
    assert!(lines.iter().all(|line| !line.contains("yield_now")), "{lines:?}");
    run_clean(&mut scheduler);
}

#[test]
fn yield_dropped_after_its_answer_then_nothing_is_left() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let mut lost = yield_now();
            assert!(poll_once(&mut lost).await.is_pending());
            yield_now().await;
            drop(lost);
        })
        .unwrap();
    assert_empty(&scheduler);
}

#[test]
fn yield_that_was_taken_then_a_further_poll_panics() {
    for through_the_table in [false, true] {
        let text = panic_of(move || {
            scheduler().block_on(async move {
                let mut taken = yield_now();
                if through_the_table {
                    join!(yield_now(), &mut taken);
                } else {
                    (&mut taken).await;
                }
                let _ = poll_once(&mut taken).await;
            })
        });
        assert_eq!(text, "a system call was polled again after it was ready");
    }
}

#[test]
fn yields_joined_then_each_is_served_in_order_and_the_task_goes_back_once() {
    let (mut scheduler, trace) = traced();
    scheduler
        .spawn(async {
            // The slot of the task's own is taken, then free.
            let slot = [Some(trapline::sleep(SECOND)), None];
            for sleep in slot {
                let both = async {
                    join!(yield_now(), yield_now());
                    join!(yield_now(), trapline::get_tid(), yield_now());
                };
                match sleep {
                    Some(sleep) => drop(join!(sleep, both)),
                    None => both.await,
                }
            }
        })
        .detach();
    run_clean(&mut scheduler);
    let yielded = "1 yield_now() = done, to the back";
    let both = ["1 is taken", yielded, yielded, "1 is taken"];
    let three = [yielded, "1 get_tid() = task 1", yielded, "1 is taken"];
    let mut expected = vec!["program spawns 1", "1 is taken", "1 sleep(1s) blocks"];
    expected.extend(both[1..].iter().chain(&three[..3]));
    expected.extend(["1 is taken", "1 gets 1s", "timer wakes 1", "outside: 1"]);
    expected.extend(both.iter().chain(&three));
    expected.push("1 ends: returned");
    assert_eq!(trace.take(), expected);
}

#[test]
fn yield_that_leaves_the_register_for_a_taken_slot_then_it_is_found_and_freed() {
    for dropped in [false, true] {
        let mut scheduler = scheduler();
        scheduler
            .block_on(async move {
                let mut sleep = trapline::sleep(SECOND);
                assert!(poll_once(&mut sleep).await.is_pending());
                yield_now().await;
                for _ in 0..3 {
                    // The second call of the turn sends the first into the table, beside the sleep.
                    let (mut first, mut second) = (yield_now(), trapline::get_tid());
                    assert!(poll_once(&mut first).await.is_pending());
                    assert!(poll_once(&mut second).await.is_pending());
                    assert!(poll_once(&mut first).await.is_pending());
                    if dropped {
                        drop(first);
                        second.await;
                    } else {
                        second.await;
                        assert!(poll_once(&mut first).await.is_ready());
                    }
                }
                sleep.await;
            })
            .unwrap();
        run_clean(&mut scheduler);
    }
}

#[test]
fn yield_moved_to_another_task_then_it_is_answered_there() {
    for answered in [false, true] {
        let mut scheduler = scheduler();
        let slot = Slot::new();
        let theirs = slot.clone();
        scheduler
            .spawn(async move {
                let mut moved = yield_now();
                assert!(poll_once(&mut moved).await.is_pending());
                if answered {
                    yield_now().await;
                }
                theirs.put(moved);
            })
            .detach();
        scheduler
            .block_on(async {
                while !slot.is_full() {
                    yield_now().await;
                }
                slot.take().unwrap().await;
            })
            .unwrap();
        run_clean(&mut scheduler);
    }
}

#[test]
fn yields_under_wakers_of_a_combinators_own_then_none_is_lost() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let mut all: FuturesUnordered<_> = (0..100).map(|_| yield_now()).collect();
            let mut count = 0;
            while all.next().await.is_some() {
                count += 1;
                yield_now().await;
            }
            assert_eq!(count, 100);
            join_all((0..100).map(|_| yield_now())).await;
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn yield_polled_again_under_another_waker_then_that_one_is_woken() {
    let mut scheduler = scheduler();
    let (counter, waker) = Counter::new();
    scheduler
        .block_on(async {
            let mut booked = yield_now();
            assert!(poll_once(&mut booked).await.is_pending());
            assert!(poll_under(&mut booked, &waker).is_pending());
            yield_now().await;
            assert_eq!(counter.count(), 1);
            assert!(poll_under(&mut booked, &waker).is_ready());
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn task_killed_in_the_turn_of_its_yield_then_nothing_is_left() {
    let (mut scheduler, trace) = traced();
    let victim = scheduler.spawn(async {
        let me = trapline::get_tid().await;
        trapline::post_kill(me);
        yield_now().await;
        unreachable!("it was killed");
    });
    victim.detach();
    run_clean(&mut scheduler);
    let lines = trace.take();
    assert!(lines.contains(&"1 ends: killed".to_owned()), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains("yield_now")), "{lines:?}");
}

#[test]
fn select_of_yield_and_sleep_then_the_loser_is_withdrawn() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            for _ in 0..3 {
                let (first, sleep) = (yield_now().fuse(), trapline::sleep(SECOND).fuse());
                pin_mut!(first, sleep);
                select_biased! {
                    () = first => {}
                    _ = sleep => unreachable!("a second has not passed"),
                }
            }
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn yield_kept_by_a_destructor_of_a_task_that_ends_then_it_is_withdrawn() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let said = trace.clone();
    scheduler
        .spawn(async move {
            let mut kept = yield_now();
            assert!(poll_once(&mut kept).await.is_pending());
            let _kept = OnDrop(move || said.say(poll_idly(&mut kept).is_pending()));
        })
        .detach();
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["true"]);
}

#[test]
fn yield_whose_scheduler_is_gone_then_a_poll_panics_and_a_drop_does_nothing() {
    for (polled, answered) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut scheduler = scheduler();
        let slot = Slot::new();
        let theirs = slot.clone();
        scheduler
            .block_on(async move {
                let mut kept = yield_now();
                assert!(poll_once(&mut kept).await.is_pending());
                if answered {
                    yield_now().await;
                }
                theirs.put(kept);
            })
            .unwrap();
        drop(scheduler);
        let mut kept = slot.take().unwrap();
        // A next scheduler, which has the same ring, is not disturbed.
        let mut next = support::scheduler();
        next.block_on(yield_now()).unwrap();
        if polled {
            let text = panic_of(|| poll_idly(&mut kept));
            assert_eq!(text, "a system call was polled after its scheduler was dropped");
            let text = panic_of(|| next.block_on(kept));
            assert_eq!(text, "a system call was polled after its scheduler was dropped");
        } else {
            drop(kept);
        }
        run_clean(&mut next);
    }
}

#[test]
fn yield_outside_a_task_then_a_panic_that_says_so() {
    let text = panic_of(|| poll_idly(&mut yield_now()));
    assert!(text.starts_with("a system call was made at tests/yields.rs:"), "{text}");
    assert!(text.contains("outside a task"), "{text}");
}

#[test]
fn probe_that_panics_at_a_lone_yield_or_park_then_it_is_removed_and_the_run_completes() {
    for parks in [false, true] {
        let probe = move |event: &trapline::Event<'_>| {
            if let trapline::Event::Trapped { request, .. } = event {
                assert!(matches!(request, trapline::Syscall::Park(_)) != parks, "no more of this");
            }
        };
        let mut scheduler = support::builder().probe(probe).build();
        let queue = std::rc::Rc::new(trapline::WaitQueue::new(0));
        let waiting = std::rc::Rc::clone(&queue);
        scheduler.spawn(async move { waiting.park().await }).detach();
        scheduler
            .spawn(async move {
                yield_now().await;
                queue.wake();
            })
            .detach();
        let report = scheduler.run().unwrap();
        assert!(report.probe_panic.is_some_and(|text| text.contains("no more of this")));
        assert_eq!(report.failures, 0);
        support::assert_empty(&scheduler);
    }
}
