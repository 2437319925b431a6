//! Scopes whose children borrow: each is polled when it is woken, and none outlives its scope.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{join, join_all};
use futures::stream::{FuturesUnordered, StreamExt};
use support::{
    OnDrop, Slot, Trace, builder, give_way, panic_of, poll_once, run_clean, scheduler,
    step_while_ready,
};
use trapline::{
    RunError, Scope, ScopedChild, TaskState, WaitQueue, cancel, cancellable, cancelled, kill, now,
    scope, shield, sleep, spawn, timeout, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

/// Never ready, and not a system call.
fn never<T>() -> std::future::Pending<T> {
    std::future::pending()
}

/// Counts how often `future` is polled.
async fn counted<F: Future>(polls: &Cell<usize>, future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        polls.set(polls.get() + 1);
        future.as_mut().poll(cx)
    })
    .await
}

#[test]
fn children_borrow_what_lives_outside_then_all_is_there_when_the_scope_ends() {
    for quantum in [1, 32] {
        let mut scheduler = builder().quantum(quantum).build();
        let local = RefCell::new(Vec::new());
        let word = String::from("word");
        let length = scheduler.block_on(async {
            let length = scope(async |s: Scope<'_>| {
                for seconds in [3, 1, 2] {
                    let local = &local;
                    s.spawn(async move {
                        sleep(SECOND * seconds).await;
                        local.borrow_mut().push(seconds);
                    });
                }
                let child = s.spawn(async {
                    yield_now().await;
                    word.len()
                });
                assert_eq!(s.len(), 4);
                child.await
            })
            .await;
            assert_eq!(now().await.as_nanos(), 3 * SECOND.as_nanos() as u64);
            length
        });
        assert_eq!(length.unwrap(), 4);
        assert_eq!(*local.borrow(), [1, 2, 3]);
        run_clean(&mut scheduler);
    }
}

#[test]
fn children_spawn_children_then_the_scope_waits_for_these_too() {
    let mut scheduler = scheduler();
    let count = Cell::new(0);
    scheduler
        .block_on(scope(async |s: Scope<'_>| {
            let (count, inner) = (&count, s.clone());
            s.spawn(async move {
                for _ in 0..5 {
                    yield_now().await;
                    let innermost = inner.clone();
                    inner.spawn(async move {
                        sleep(SECOND).await;
                        innermost.spawn(async move { count.set(count.get() + 1) });
                    });
                }
            });
        }))
        .unwrap();
    assert_eq!(count.get(), 5);
    run_clean(&mut scheduler);
}

#[test]
fn ten_thousand_children_woken_one_by_one_then_each_is_polled_for_its_own_wakes_alone() {
    const MANY: usize = 10_000;
    let mut scheduler = builder().quantum(32).build();
    let polls: Vec<Cell<usize>> = (0..MANY).map(|_| Cell::new(0)).collect();
    let queue = WaitQueue::new(0);
    let body_polls = Cell::new(0);
    scheduler
        .block_on(scope(async |s: Scope<'_>| {
            for polls in &polls {
                let queue = &queue;
                s.spawn(counted(polls, queue.park()));
            }
            let waking = async {
                yield_now().await;
                for _ in 0..MANY {
                    queue.wake();
                    yield_now().await;
                }
            };
            counted(&body_polls, waking).await;
        }))
        .unwrap();
    assert!(polls.iter().all(|polls| polls.get() == 2));
    assert_eq!(body_polls.get(), MANY + 2);
    run_clean(&mut scheduler);
}

#[test]
fn many_sleepers_then_each_is_polled_twice_and_they_end_in_order() {
    let mut scheduler = scheduler();
    let polls: Vec<Cell<usize>> = (0..1000).map(|_| Cell::new(0)).collect();
    let order = RefCell::new(Vec::new());
    scheduler
        .block_on(scope(async |s: Scope<'_>| {
            for (number, polls) in polls.iter().enumerate() {
                let order = &order;
                let nap = Duration::from_millis((number as u64 * 7919) % 1000);
                s.spawn(async move {
                    counted(polls, sleep(nap)).await;
                    order.borrow_mut().push(nap);
                });
            }
        }))
        .unwrap();
    assert!(polls.iter().all(|polls| polls.get() == 2));
    assert!(order.borrow().is_sorted());
    run_clean(&mut scheduler);
}

#[test]
fn several_calls_in_flight_in_one_child_then_all_are_answered() {
    let mut scheduler = scheduler();
    let done = Cell::new(0);
    scheduler
        .block_on(scope(async |s: Scope<'_>| {
            let done = &done;
            s.spawn(async move {
                let sleeps = join_all((1..=3).map(|seconds| sleep(SECOND * seconds)));
                let (ends, ()) = join(sleeps, yield_now()).await;
                done.set(ends.len());
            });
            s.spawn(async {
                let mut many: FuturesUnordered<_> = (1..50).map(|n| sleep(SECOND * n)).collect();
                while many.next().await.is_some() {}
            });
            assert!(timeout(SECOND, never::<()>()).await.is_err());
        }))
        .unwrap();
    assert_eq!(done.get(), 3);
    run_clean(&mut scheduler);
}

#[test]
fn child_spawns_joins_and_kills_tasks_then_it_does_as_a_task_does() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(scope(async |s: Scope<'_>| {
            s.spawn(async {
                let child = spawn(async { 7 }).await;
                assert_eq!(child.await.unwrap(), 7);
                let child = spawn(never::<()>()).await;
                kill(child.id()).await.unwrap();
                assert!(child.await.unwrap_err().is_killed());
            });
        }))
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn pending_call_moved_between_children_body_and_tasks_then_it_answers_where_it_is_polled_last() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let slot = Slot::new();
            let moved = RefCell::new(None);
            scope(async |s: Scope<'_>| {
                let (first, second) = (&moved, &moved);
                s.spawn(async move {
                    let mut nap = Box::pin(sleep(SECOND));
                    assert!(poll_once(&mut nap).await.is_pending());
                    first.replace(Some(nap));
                });
                s.spawn(async move {
                    yield_now().await;
                    let nap = second.take().unwrap();
                    nap.await;
                    assert_eq!(now().await.as_nanos(), SECOND.as_nanos() as u64);
                });
                let slot = slot.clone();
                s.spawn(async move {
                    let mut nap = Box::pin(sleep(SECOND * 2));
                    assert!(poll_once(&mut nap).await.is_pending());
                    slot.put(nap);
                });
            })
            .await;
            // Out of the scope, to another task, and into a scope again.
            let nap = slot.take().unwrap();
            let sleeper = spawn(async move {
                let mut nap = nap;
                assert!(poll_once(&mut nap).await.is_pending());
                scope(async |s: Scope<'_>| {
                    s.spawn(nap);
                })
                .await;
            });
            sleeper.await.await.unwrap();
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn pending_scope_moved_to_another_task_and_under_other_wakers_then_it_goes_on_there() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let mut moved = Box::pin(scope(async |s: Scope<'static>| {
                for seconds in [1, 2, 3] {
                    s.spawn(sleep(SECOND * seconds));
                }
                s.spawn(sleep(SECOND * 4)).await
            }));
            for _ in 0..5 {
                assert!(poll_once(&mut moved).await.is_pending());
                yield_now().await;
            }
            let task = spawn(async move {
                assert!(timeout(SECOND, &mut moved).await.is_err());
                let mut many = FuturesUnordered::new();
                many.push(moved);
                many.next().await.unwrap();
            });
            task.await.await.unwrap();
            assert_eq!(now().await.as_nanos(), 4 * SECOND.as_nanos() as u64);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn scope_dropped_or_its_task_killed_then_body_and_children_are_dropped() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let run = |trace: Trace| async move {
                let lines = &trace;
                scope(async |s: Scope<'_>| {
                    let _guard = OnDrop(|| lines.say("body"));
                    let own = s.clone();
                    s.spawn(async move {
                        let _own = own;
                        let _guard = OnDrop(|| lines.say("child"));
                        sleep(SECOND * 9).await;
                    });
                    never::<()>().await;
                })
                .await;
            };
            drop(run(trace.clone()));
            assert!(timeout(SECOND, run(trace.clone())).await.is_err());
            assert_eq!(trace.take(), ["body", "child"]);
            let task = spawn(run(trace.clone())).await;
            yield_now().await;
            yield_now().await;
            kill(task.id()).await.unwrap();
            assert_eq!(trace.take(), ["body", "child"]);
            drop(task);
            let task = spawn(run(trace.clone())).await;
            yield_now().await;
            yield_now().await;
            cancel(task.id(), "x").await.unwrap();
            assert!(task.await.unwrap_err().cancelled().is_some());
            assert_eq!(trace.take(), ["body", "child"]);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn child_panics_then_the_whole_does_and_the_others_are_dropped() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let lines = trace.clone();
    let handle = scheduler.spawn(async move {
        let lines = &lines;
        scope(async |s: Scope<'_>| {
            s.spawn(async {
                let _guard = OnDrop(|| lines.say("sibling"));
                never::<()>().await;
            });
            s.spawn(async {
                yield_now().await;
                panic!("in a child")
            });
        })
        .await;
    });
    let error = scheduler.block_on(handle).unwrap().unwrap_err();
    assert!(error.to_string().contains("in a child"), "{error}");
    assert_eq!(trace.take(), ["sibling"]);
    run_clean(&mut scheduler);
}

#[test]
fn nested_scopes_then_a_wake_reaches_the_innermost_child_and_polls_no_other() {
    let mut scheduler = scheduler();
    let polls: Vec<Cell<usize>> = (0..30).map(|_| Cell::new(0)).collect();
    let bystander = Cell::new(0);
    scheduler
        .block_on(scope(async |outer: Scope<'_>| {
            for group in polls.chunks(10) {
                outer.spawn(async move {
                    scope(async |inner: Scope<'_>| {
                        for (number, polls) in group.iter().enumerate() {
                            let nap = SECOND * u32::try_from(number).unwrap();
                            inner.spawn(counted(polls, sleep(nap)));
                        }
                    })
                    .await;
                });
            }
            outer.spawn(counted(&bystander, sleep(SECOND * 99)));
        }))
        .unwrap();
    assert!(polls.iter().all(|polls| polls.get() == 2), "{polls:?}");
    assert_eq!(bystander.get(), 2);
    run_clean(&mut scheduler);
}

#[test]
fn scopes_under_combinators_with_and_without_wakers_of_their_own_then_all_end() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let count = Cell::new(0);
            let one = |seconds: u32| {
                let count = &count;
                scope(async move |s: Scope<'_>| {
                    for _ in 0..3 {
                        s.spawn(async move {
                            sleep(SECOND * seconds).await;
                            yield_now().await;
                            count.set(count.get() + 1);
                        });
                    }
                })
            };
            join(one(1), one(2)).await;
            assert_eq!(count.get(), 6);
            let mut many: FuturesUnordered<_> = (1..20).map(one).collect();
            while many.next().await.is_some() {}
            assert_eq!(count.get(), 6 + 19 * 3);
            // Within a child, under a combinator with wakers of its own.
            let outer = &one;
            scope(async |s: Scope<'_>| {
                s.spawn(async move {
                    let mut many: FuturesUnordered<_> = (1..20).map(outer).collect();
                    while many.next().await.is_some() {}
                });
            })
            .await;
            assert_eq!(count.get(), 6 + 2 * 19 * 3);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn foreign_futures_in_children_then_their_wakers_reach_the_child() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let polls = Cell::new(0);
            let (sender, receiver) = oneshot::channel();
            let (thread_sender, thread_receiver) = oneshot::channel();
            let received = scope(async |s: Scope<'_>| {
                let first = s.spawn(counted(&polls, receiver));
                let second = s.spawn(thread_receiver);
                s.spawn(async move {
                    give_way().await;
                    sleep(SECOND).await;
                    sender.send(5).unwrap();
                    std::thread::spawn(move || thread_sender.send(6).unwrap());
                });
                (first.await.unwrap(), second.await.unwrap())
            });
            assert_eq!(received.await, (5, 6));
            assert_eq!(polls.get(), 2);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn child_that_wakes_itself_then_the_other_tasks_have_their_turns() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let lines = trace.clone();
    scheduler
        .block_on(async move {
            let other = lines.clone();
            let task = spawn(async move {
                for _ in 0..3 {
                    other.say("other");
                    yield_now().await;
                }
            });
            let task = task.await;
            let lines = &lines;
            scope(async |s: Scope<'_>| {
                s.spawn(async move {
                    for _ in 0..3 {
                        lines.say("child");
                        give_way().await;
                    }
                });
            })
            .await;
            task.await.unwrap();
        })
        .unwrap();
    let lines = trace.take();
    assert_ne!(lines[..3], ["other"; 3]);
    assert_ne!(lines[1..4], ["child"; 3]);
    run_clean(&mut scheduler);
}

#[test]
fn cancellable_and_shield_in_children_then_they_do_as_in_a_task() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let task = spawn(async {
                let ended = Cell::new(0);
                scope(async |s: Scope<'_>| {
                    let ended = &ended;
                    for _ in 0..3 {
                        s.spawn(async move {
                            assert!(cancellable(sleep(SECOND * 9)).await.is_err());
                            sleep(SECOND).await;
                            ended.set(ended.get() + 1);
                        });
                    }
                    s.spawn(async move {
                        assert_eq!(cancelled().await.text(), "x");
                        ended.set(ended.get() + 1);
                    });
                })
                .await;
                ended.get()
            })
            .await;
            yield_now().await;
            yield_now().await;
            task.cancel("x");
            assert_eq!(task.await.unwrap(), 4);
            let shielded = spawn(async {
                scope(async |s: Scope<'_>| {
                    s.spawn(shield(sleep(SECOND)));
                    s.spawn(sleep(SECOND * 9));
                })
                .await;
            })
            .await;
            yield_now().await;
            yield_now().await;
            let start = now().await;
            shielded.cancel("y");
            assert!(shielded.await.unwrap_err().cancelled().is_some());
            assert_eq!(now().await - start, SECOND);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn children_wait_for_what_nobody_does_then_it_is_a_deadlock_at_once() {
    let mut scheduler = scheduler();
    let queue = WaitQueue::labelled("gate", 0);
    let ended = scheduler.block_on(scope(async |s: Scope<'_>| {
        for _ in 0..3 {
            s.spawn(queue.park());
        }
        s.spawn(sleep(SECOND));
    }));
    let Err(RunError::Deadlock(report)) = ended else { panic!("{ended:?}") };
    assert!(report.to_string().contains("gate"), "{report}");
    run_clean(&mut scheduler);
}

#[test]
fn scope_has_ended_then_spawning_into_it_panics() {
    let mut scheduler = scheduler();
    let kept = scheduler.block_on(scope(async |s: Scope<'static>| s)).unwrap();
    assert!(kept.is_empty());
    let text = panic_of(|| drop(kept.spawn(async {})));
    assert!(text.contains("a scope that has ended"), "{text}");
    run_clean(&mut scheduler);
}

#[test]
fn spawn_from_another_task_then_the_scope_is_woken() {
    let mut scheduler = scheduler();
    let done = Rc::new(Cell::new(false));
    let slot: Slot<Scope<'static>> = Slot::new();
    let (place, flag) = (slot.clone(), Rc::clone(&done));
    let gate = Rc::new(WaitQueue::new(0));
    let opened = Rc::clone(&gate);
    let running = scheduler.spawn(scope(async move |s: Scope<'static>| {
        place.put(s);
        gate.park().await;
    }));
    step_while_ready(&mut scheduler);
    scheduler
        .spawn(async move {
            slot.take().unwrap().spawn(async move {
                flag.set(true);
                opened.wake();
            });
        })
        .detach();
    scheduler.block_on(running).unwrap().unwrap();
    assert!(done.get());
    run_clean(&mut scheduler);
}

#[test]
fn value_is_awaited_by_the_body_and_by_siblings_then_it_comes_when_the_child_has_ended() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            scope(async |s: Scope<'_>| {
                let mut late = s.spawn(async {
                    sleep(SECOND).await;
                    1
                });
                assert!(poll_once(&mut late).await.is_pending());
                let sibling = s.spawn(async move { late.await + 1 });
                let blocked = s.spawn(never::<()>());
                assert!(timeout(SECOND * 2, blocked).await.is_err());
                assert_eq!(sibling.await, 2);
                let mut ready = s.spawn(async { 3 });
                yield_now().await;
                yield_now().await;
                assert_eq!(poll_once(&mut ready).await, Poll::Ready(3));
                // The child that never ends goes with the timeout around the scope.
                never::<()>().await;
            })
            .await;
        })
        .unwrap_err();
    run_clean(&mut scheduler);
}

#[test]
fn child_is_blocked_then_the_task_table_shows_its_line() {
    let mut scheduler = scheduler();
    let line = Rc::new(Cell::new(0));
    let noted = Rc::clone(&line);
    let task = scheduler.spawn(scope(async move |s: Scope<'static>| {
        let gate = WaitQueue::new(0);
        noted.set(line!() + 1);
        s.spawn(async move { gate.park().await });
    }));
    step_while_ready(&mut scheduler);
    let snapshot = scheduler.snapshot();
    let info = snapshot.tasks.iter().find(|info| info.id == task.id()).unwrap();
    let TaskState::Blocked(calls) = &info.state else { panic!("{:?}", info.state) };
    assert_eq!((calls.len(), calls[0].site.line()), (1, line.get()));
    task.kill();
    drop(task);
    run_clean(&mut scheduler);
}

// At random.

mod model {
    use super::*;
    use proptest::prelude::*;
    use std::pin::Pin;

    #[derive(Clone, Debug)]
    enum Act {
        Yield,
        GiveWay,
        Sleep(u8),
        /// Several sleeps at a time, under wakers of the task's own or of others.
        Sleeps(Vec<u8>, bool),
        /// A sleep that is given up.
        Timeout(u8),
        Scope(Vec<Vec<Act>>),
        /// Children of this scope, which are awaited.
        Spawn(Vec<Vec<Act>>),
        SpawnTask(u8),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let nap = 0..20_u8;
        let naps = || prop::collection::vec(0..20_u8, 1..4);
        let leaf = prop_oneof![
            Just(Act::Yield),
            Just(Act::GiveWay),
            nap.clone().prop_map(Act::Sleep),
            (naps(), any::<bool>()).prop_map(|(naps, foreign)| Act::Sleeps(naps, foreign)),
            nap.clone().prop_map(Act::Timeout),
            nap.prop_map(Act::SpawnTask),
        ];
        let act = leaf.prop_recursive(3, 40, 4, |inner| {
            let children = prop::collection::vec(prop::collection::vec(inner.clone(), 0..4), 0..4);
            prop_oneof![
                3 => inner,
                1 => children.clone().prop_map(Act::Scope),
                1 => children.prop_map(Act::Spawn),
            ]
        });
        prop::collection::vec(act, 0..5)
    }

    fn longest(children: &[Vec<Act>]) -> u64 {
        children.iter().map(|acts| length(acts)).max().unwrap_or(0)
    }

    /// How many milliseconds it takes.
    fn length(acts: &[Act]) -> u64 {
        let one = |act: &Act| match act {
            Act::Yield | Act::GiveWay => 0,
            Act::Sleep(nap) | Act::Timeout(nap) | Act::SpawnTask(nap) => u64::from(*nap),
            Act::Sleeps(naps, _) => u64::from(*naps.iter().max().unwrap()),
            Act::Scope(children) | Act::Spawn(children) => longest(children),
        };
        acts.iter().map(one).sum()
    }

    fn millis(count: u8) -> Duration {
        Duration::from_millis(u64::from(count))
    }

    async fn play<'a>(acts: &'a [Act], scope_of: Scope<'a>) {
        let start = now().await;
        for act in acts {
            match act {
                Act::Yield => yield_now().await,
                Act::GiveWay => give_way().await,
                Act::Sleep(nap) => drop(sleep(millis(*nap)).await),
                Act::Sleeps(naps, false) => {
                    drop(join_all(naps.iter().map(|nap| sleep(millis(*nap)))).await);
                }
                Act::Sleeps(naps, true) => {
                    let mut naps: FuturesUnordered<_> =
                        naps.iter().map(|nap| sleep(millis(*nap))).collect();
                    while naps.next().await.is_some() {}
                }
                Act::Timeout(nap) => {
                    assert!(timeout(millis(*nap), sleep(SECOND * 9)).await.is_err());
                }
                Act::Scope(children) => {
                    let body = async |s: Scope<'a>| {
                        for acts in children {
                            s.spawn(boxed(acts, s.clone()));
                        }
                    };
                    scope(body).await;
                }
                Act::Spawn(children) => {
                    let spawn = |acts: &'a Vec<Act>| scope_of.spawn(boxed(acts, scope_of.clone()));
                    let children: Vec<_> = children.iter().map(spawn).collect();
                    for child in children {
                        child.await;
                    }
                }
                Act::SpawnTask(nap) => {
                    let nap = *nap;
                    spawn(sleep(millis(nap))).await.await.unwrap();
                }
            }
        }
        let took = now().await - start;
        assert_eq!(took, Duration::from_millis(length(acts)), "{acts:?}");
    }

    fn boxed<'a>(acts: &'a [Act], scope: Scope<'a>) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(play(acts, scope))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn random_trees_of_scopes_then_each_child_takes_the_time_it_should(
            acts in acts(),
            quantum in prop::sample::select(vec![1_u32, 3, 32]),
            cut in 0..60_u64,
        ) {
            let mut scheduler = builder().quantum(quantum).build();
            scheduler
                .block_on(async {
                    scope(async |s: Scope<'_>| play(&acts, s).await).await;
                    let again = scope(async |s: Scope<'_>| play(&acts, s).await);
                    let _cut_or_not = timeout(Duration::from_millis(cut), again).await;
                })
                .unwrap();
            let report = scheduler.run().unwrap();
            assert_eq!(report.failures, 0, "{report}");
            support::assert_empty(&scheduler);
        }
    }
}

#[test]
fn scope_is_dropped_then_whoever_waits_for_a_child_elsewhere_is_told() {
    let mut scheduler = scheduler();
    let slot: Slot<ScopedChild<()>> = Slot::new();
    let place = slot.clone();
    let scoped = scheduler.spawn(scope(async move |s: Scope<'static>| {
        place.put(s.spawn(never()));
    }));
    step_while_ready(&mut scheduler);
    let child = slot.take().unwrap();
    let waiter = scheduler.spawn(child);
    step_while_ready(&mut scheduler);
    drop(scheduler.block_on(async move { kill(scoped.id()).await }));
    let error = scheduler.block_on(waiter).unwrap().unwrap_err();
    assert!(error.to_string().contains("ended without a value"), "{error}");
    run_clean(&mut scheduler);
}

/// Leaves its waker, and is ready once it has been woken.
fn leaving(slot: &Slot<std::task::Waker>) -> impl Future<Output = ()> + use<> {
    let slot = slot.clone();
    let mut left = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut left, true) {
            return Poll::Ready(());
        }
        slot.put(cx.waker().clone());
        Poll::Pending
    })
}

#[test]
fn childs_waker_is_called_often_and_after_all_has_ended_then_it_is_polled_once_for_it() {
    let mut scheduler = scheduler();
    let (slot, polls) = (Slot::new(), Cell::new(0));
    scheduler
        .block_on(scope(async |s: Scope<'_>| {
            s.spawn(counted(&polls, leaving(&slot)));
            yield_now().await;
            let waker = slot.take().unwrap();
            for _ in 0..1000 {
                waker.wake_by_ref();
            }
            slot.put(waker);
        }))
        .unwrap();
    assert_eq!(polls.get(), 2);
    let waker = slot.take().unwrap();
    waker.wake_by_ref();
    waker.wake();
    run_clean(&mut scheduler);
}

#[test]
fn hundred_thousand_children_then_each_is_polled_for_its_own_wakes_alone() {
    let mut scheduler = builder().quantum(32).build();
    let (polls, queue) = (Cell::new(0), WaitQueue::new(0));
    scheduler
        .block_on(scope(async |s: Scope<'_>| {
            for _ in 0..100_000 {
                s.spawn(counted(&polls, cancellable(queue.park())));
            }
            yield_now().await;
            queue.wake_many(50_000);
            sleep(SECOND).await;
            assert_eq!((polls.get(), s.len()), (150_000, 50_000));
            queue.wake_all();
        }))
        .unwrap();
    assert_eq!(polls.get(), 200_000);
    run_clean(&mut scheduler);
}
