//! Groups: results, failures, bodies, and that nothing outlives its group.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures::StreamExt;
use futures::future::{Either, join, select};
use futures::stream::FuturesUnordered;
use support::{
    OnDrop, Slot, Trace, assert_empty, builder, panic_of, poll_once, run_clean, scheduler,
    step_while_ready, traced,
};
use trapline::{
    CancelCause, CancelReason, ExitStatus, GroupError, GroupHandle, NeverReady, Ready, RunError,
    TaskGroup, TaskId, TaskState, WaitQueue, cancel, cancellable, get_tid, group_scope, kill, now,
    post_kill, shield, sleep, spawn, timeout, wait, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

/// Never ready, and not a system call.
fn never<T>() -> std::future::Pending<T> {
    std::future::pending()
}

type Words = TaskGroup<&'static str, &'static str>;

/// A child that says when it is dropped, and never ends.
async fn lasting(trace: Trace, name: &'static str) -> Result<&'static str, &'static str> {
    let _guard = OnDrop(move || trace.say(format!("{name} dropped")));
    never().await
}

/// A child that returns after so many seconds.
async fn after(
    seconds: u64,
    result: Result<&'static str, &'static str>,
) -> Result<&'static str, &'static str> {
    sleep(SECOND * u32::try_from(seconds).unwrap()).await;
    result
}

// Results.

#[test]
fn children_end_in_another_order_then_join_all_gives_their_values_in_spawn_order() {
    for quantum in [1, 32] {
        let mut scheduler = builder().quantum(quantum).build();
        let values = scheduler.block_on(async {
            let group = TaskGroup::<u64>::new();
            for seconds in [3, 1, 2, 0] {
                group
                    .spawn(async move {
                        sleep(Duration::from_secs(seconds)).await;
                        Ok(seconds)
                    })
                    .await;
            }
            group.post_value(async { 9 });
            assert_eq!(group.len(), 5);
            group.join_all().await.unwrap()
        });
        assert_eq!(values.unwrap(), [3, 1, 2, 0, 9]);
        run_clean(&mut scheduler);
    }
}

#[test]
fn children_end_one_by_one_then_next_gives_them_in_the_order_of_their_ends() {
    let mut scheduler = scheduler();
    let (told, ids) = scheduler
        .block_on(async {
            let group = TaskGroup::<u64>::new();
            let mut ids = Vec::new();
            for seconds in [3, 1, 2] {
                let child = async move {
                    sleep(Duration::from_secs(seconds)).await;
                    seconds
                };
                ids.push(group.spawn_value(child).name("sleeper").await);
            }
            let mut told = Vec::new();
            while let Some((task, result)) = group.next().await {
                told.push((task, result.unwrap()));
            }
            assert!(group.is_empty());
            (told, ids)
        })
        .unwrap();
    assert_eq!(told, [(ids[1], 1), (ids[2], 2), (ids[0], 3)]);
    run_clean(&mut scheduler);
}

#[test]
fn group_as_a_stream_then_the_same() {
    let mut scheduler = scheduler();
    let told = scheduler.block_on(async {
        let group = TaskGroup::<u64>::new();
        for seconds in [3, 1, 2] {
            group.post_value(async move {
                sleep(Duration::from_secs(seconds)).await;
                seconds
            });
        }
        group.map(|(_, result)| result.unwrap()).collect::<Vec<_>>().await
    });
    assert_eq!(told.unwrap(), [1, 2, 3]);
    run_clean(&mut scheduler);
}

#[test]
fn group_without_children_then_every_wait_is_over_at_once() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            assert!(Words::new().next().await.is_none());
            assert_eq!(Words::new().join_all().await.unwrap(), [""; 0]);
            assert!(Words::new().first().await.is_none());
            let error = Words::new().first_ok().await.unwrap_err();
            assert!(error.children().is_empty());
            Words::new().close().await;
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn two_wait_for_the_next_one_then_they_are_served_in_order() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let lines = trace.clone();
    scheduler
        .block_on(async move {
            let group = TaskGroup::<u64>::new();
            for seconds in [1, 2] {
                group.post_value(async move {
                    sleep(Duration::from_secs(seconds)).await;
                    seconds
                });
            }
            let asker = |name: &'static str| {
                let (handle, lines) = (group.handle(), lines.clone());
                async move {
                    let told = handle.next().await.map(|(_, result)| result.unwrap());
                    lines.say(format!("{name} {told:?}"));
                }
            };
            let mut askers = Vec::new();
            for name in ["first", "second", "third"] {
                askers.push(spawn(asker(name)).await);
            }
            for asker in askers {
                asker.await.unwrap();
            }
        })
        .unwrap();
    assert_eq!(trace.take(), ["first Some(1)", "second Some(2)", "third None"]);
    run_clean(&mut scheduler);
}

#[test]
fn wait_for_the_next_one_dropped_at_each_moment_then_the_result_is_the_next_ones() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let group = Words::new().tolerant();
            let gate = Rc::new(WaitQueue::new(0));
            let child = |result| {
                let gate = Rc::clone(&gate);
                async move {
                    gate.park().await;
                    result
                }
            };
            group.spawn(child(Ok("value"))).await;
            group.spawn(child(Err("error"))).await;
            let panics = Rc::clone(&gate);
            group
                .spawn(async move {
                    panics.park().await;
                    panic!("on purpose")
                })
                .await;
            // Before its first poll, and while it is blocked.
            drop(group.next());
            let mut blocked = Box::pin(group.next());
            assert!(poll_once(&mut blocked).await.is_pending());
            drop(blocked);
            // After the wake, before the resume.
            let mut woken = Box::pin(group.next());
            assert!(poll_once(&mut woken).await.is_pending());
            gate.wake();
            yield_now().await;
            yield_now().await;
            drop(woken);
            assert_eq!(group.next().await.unwrap().1.unwrap(), "value");
            gate.wake();
            assert_eq!(group.next().await.unwrap().1.unwrap_err().error(), Some(&"error"));
            // While the task is being asked how it ended.
            gate.wake();
            yield_now().await;
            yield_now().await;
            let mut asking = Box::pin(group.next());
            // At this quantum it gives way first.
            assert!(poll_once(&mut asking).await.is_pending());
            yield_now().await;
            assert!(poll_once(&mut asking).await.is_pending());
            drop(asking);
            let told = group.next().await.unwrap().1.unwrap_err();
            assert!(told.is_panic() && told.to_string().contains("on purpose"), "{told}");
            assert!(group.next().await.is_none());
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn task_killed_while_it_waits_for_the_next_one_then_the_result_is_somebody_elses() {
    for quantum in [1, 32] {
        let mut scheduler = builder().quantum(quantum).build();
        scheduler
            .block_on(async {
                let group = Words::new().tolerant();
                let gate = Rc::new(WaitQueue::new(0));
                for result in [Ok("value"), Err("error")] {
                    let gate = Rc::clone(&gate);
                    group
                        .spawn(async move {
                            gate.park().await;
                            result
                        })
                        .await;
                }
                let mut told = 0;
                let asker = || {
                    let handle = group.handle();
                    async move { handle.next().await.unwrap().1 }
                };
                // Not yet started; blocked; woken, and not resumed.
                for moment in 0..3 {
                    let victim = spawn(asker()).await;
                    for _ in 0..moment.min(1) * 3 {
                        yield_now().await;
                    }
                    if moment == 2 {
                        gate.wake();
                        yield_now().await;
                    }
                    kill(victim.id()).await.unwrap();
                    // At the last moment it may have had its result, and returned.
                    let returned = victim.await.is_ok();
                    assert!(moment == 2 || !returned);
                    told += usize::from(returned);
                }
                gate.wake();
                while group.next().await.is_some() {
                    told += 1;
                }
                assert_eq!(told, 2);
            })
            .unwrap();
        run_clean(&mut scheduler);
    }
}

#[test]
fn waits_of_one_task_under_foreign_wakers_then_each_gets_one() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let group = TaskGroup::<u64>::new();
            for number in 0..20 {
                group.post_value(async move {
                    sleep(Duration::from_secs(number % 3)).await;
                    number
                });
            }
            let waits: FuturesUnordered<_> = (0..25).map(|_| group.next()).collect();
            let told: Vec<_> = waits.collect().await;
            let mut told: Vec<_> = told.into_iter().flatten().map(|(_, r)| r.unwrap()).collect();
            told.sort_unstable();
            assert_eq!(told, (0..20).collect::<Vec<_>>());
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn results_are_there_then_asking_for_them_yields_once_the_quantum_is_spent() {
    let (mut scheduler, trace) = {
        let trace = Trace::default();
        let lines = trace.clone();
        let probe = move |event: &trapline::Event<'_>| lines.say(event);
        (builder().quantum(4).probe(probe).build(), trace)
    };
    scheduler
        .block_on(async {
            let group = TaskGroup::<()>::new();
            for _ in 0..20 {
                group.post_value(async {});
            }
            yield_now().await;
            trace.take();
            while group.next().await.is_some() {}
        })
        .unwrap();
    let yields = trace.take().iter().filter(|line| line.contains("yield_now")).count();
    assert!((4..=8).contains(&yields), "{yields}");
    run_clean(&mut scheduler);
}

#[test]
fn first_to_finish_then_the_others_are_dropped_before_its_value_is_returned() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let group = Words::new();
            group.spawn(lasting(trace.clone(), "one")).await;
            group.spawn(after(1, Ok("winner"))).await;
            group.spawn(lasting(trace.clone(), "two")).await;
            let (_, first) = group.first().await.unwrap();
            trace.say(first.unwrap());
        })
        .unwrap();
    assert_eq!(trace.take(), ["one dropped", "two dropped", "winner"]);
    run_clean(&mut scheduler);
}

#[test]
fn first_to_succeed_then_failures_before_it_are_let_be() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let group = Words::new().tolerant();
            group.spawn(lasting(trace.clone(), "one")).await;
            group.spawn(after(1, Err("no"))).await;
            group.spawn(after(2, Ok("yes"))).await;
            group.spawn(after(3, Ok("late"))).await;
            let (_, value) = group.first_ok().await.unwrap();
            trace.say(value);
            let group = Words::new().tolerant();
            group.spawn(after(2, Err("second"))).await;
            group.spawn(after(1, Err("first"))).await;
            let error = group.first_ok().await.unwrap_err();
            let texts: Vec<_> =
                error.children().iter().map(|child| *child.error().unwrap()).collect();
            assert_eq!(texts, ["first", "second"]);
        })
        .unwrap();
    assert_eq!(trace.take(), ["one dropped", "yes"]);
    run_clean(&mut scheduler);
}

#[test]
fn values_are_forgotten_then_ended_children_leave_nothing() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let group = TaskGroup::<Rc<()>>::new().forget_values();
            let value = Rc::new(());
            for _ in 0..10 {
                let value = Rc::clone(&value);
                group.spawn_value(async move { value }).await;
            }
            yield_now().await;
            yield_now().await;
            assert_eq!(Rc::strong_count(&value), 1);
            assert!(group.next().await.is_none());
            assert_eq!(group.join_all().await.unwrap(), []);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

// Failures.

#[test]
fn child_fails_then_its_siblings_are_cancelled_at_once_and_its_error_comes_out() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let lines = trace.clone();
    scheduler
        .block_on(async move {
            let group = Words::new();
            let told = lines.clone();
            let polite = group
                .spawn(async move {
                    let why = cancellable(never::<()>()).await.unwrap_err();
                    told.say(format!("{:?} {}", why.cause(), why.text()));
                    sleep(SECOND).await;
                    told.say("cleaned up");
                    Ok("fine")
                })
                .await;
            group.spawn(lasting(lines.clone(), "abrupt")).await;
            let failing = group.spawn(after(1, Err("boom"))).await;
            let error = group.join_all().await.unwrap_err();
            assert_eq!(error.children().len(), 1);
            let child = error.child().unwrap();
            assert_eq!((child.task(), child.error()), (failing, Some(&"boom")));
            assert_eq!(error.to_string(), format!("task {failing} failed: boom"));
            assert_eq!(error.cancelled().unwrap().cause(), CancelCause::Failure(failing));
            assert!(wait(polite).await.is_ok());
            assert_eq!(now().await.as_nanos(), 2 * SECOND.as_nanos() as u64);
        })
        .unwrap();
    let lines = trace.take();
    assert!(lines[0].starts_with("abrupt dropped") || lines[1] == "abrupt dropped", "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("it returned an error")), "{lines:?}");
    assert_eq!(lines.last().unwrap(), "cleaned up");
    run_clean(&mut scheduler);
}

#[test]
fn child_panics_then_its_payload_comes_out_and_its_siblings_know_the_text() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let group = TaskGroup::<String>::new();
            group
                .spawn_value(async {
                    let why = cancellable(never::<()>()).await.unwrap_err();
                    why.text().to_owned()
                })
                .await;
            group.spawn_value(async { std::panic::panic_any(5_u8) }).await;
            let error = group.join_all().await.unwrap_err();
            let (mut children, body) = error.into_errors();
            assert!(body.is_none() && children[0].is_panic());
            let payload = children.remove(0).try_into_panic().unwrap();
            assert_eq!(*payload.downcast::<u8>().unwrap(), 5);

            let group = TaskGroup::<String>::new().tolerant();
            group.spawn_value(async { panic!("first of {}", 2) }).await;
            group.spawn_value(async { "well".to_owned() }).await;
            let error = group.join_all().await.unwrap_err();
            assert!(error.to_string().ends_with("panicked: first of 2"), "{error}");
            assert!(error.cancelled().is_none());
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn child_killed_or_cancelled_from_outside_then_that_is_a_failure() {
    for by_cancel in [false, true] {
        let mut scheduler = scheduler();
        scheduler
            .block_on(async {
                let group = Words::new();
                let victim = group.spawn(after(9, Ok("never"))).await;
                let sibling = group.spawn(after(9, Ok("never"))).await;
                yield_now().await;
                if by_cancel {
                    cancel(victim, "you").await.unwrap();
                } else {
                    kill(victim).await.unwrap();
                }
                let error = group.join_all().await.unwrap_err();
                assert_eq!(error.children().len(), 1);
                let child = error.child().unwrap();
                assert_eq!(child.task(), victim);
                assert_eq!(child.is_killed(), !by_cancel);
                assert_eq!(child.cancelled().map(|why| why.text()), by_cancel.then_some("you"));
                let cause = error.cancelled().unwrap().cause();
                assert_eq!(cause, CancelCause::Failure(victim));
                assert_eq!(wait(sibling).await, Ok(ExitStatus::Forgotten));
                assert_eq!(now().await.as_nanos(), 0);
            })
            .unwrap();
        run_clean(&mut scheduler);
    }
}

#[test]
fn child_spawned_after_the_failure_then_it_is_cancelled_where_it_first_blocks() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let group = Words::new();
            group.spawn(async { Err("boom") }).await;
            yield_now().await;
            let lines = trace.clone();
            let late = async move {
                lines.say("starts");
                let _guard = OnDrop(move || lines.say("dropped"));
                never().await
            };
            group.spawn(late).await;
            group.post(lasting(trace.clone(), "posted"));
            assert_eq!(group.join_all().await.unwrap_err().children().len(), 1);
        })
        .unwrap();
    assert_eq!(trace.take(), ["starts", "dropped", "posted dropped"]);
    run_clean(&mut scheduler);
}

#[test]
fn tolerant_group_then_each_result_is_told_and_nobody_is_cancelled() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let group = Words::new().tolerant();
            group.spawn(after(1, Err("bad"))).await;
            group.spawn(after(2, Ok("good"))).await;
            assert!(group.next().await.unwrap().1.is_err());
            assert_eq!(group.next().await.unwrap().1.unwrap(), "good");
            assert!(group.next().await.is_none() && group.cancelled().is_none());
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn sibling_fails_while_it_cleans_up_then_both_are_told_in_order() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let group = Words::new();
            group
                .spawn(async {
                    let _ = cancellable(never::<()>()).await;
                    Err("second")
                })
                .await;
            group
                .spawn(async {
                    let _ = cancellable(never::<()>()).await;
                    panic!("third")
                })
                .await;
            group.spawn(async { Err("first") }).await;
            let error = group.join_all().await.unwrap_err();
            let texts: Vec<_> = error.children().iter().map(ToString::to_string).collect();
            assert_eq!(texts.len(), 3);
            for (text, word) in texts.iter().zip(["first", "second", "third"]) {
                assert!(text.ends_with(word), "{texts:?}");
            }
        })
        .unwrap();
    run_clean(&mut scheduler);
}

// The group ends.

#[test]
fn group_dropped_then_its_children_are_killed_before_the_step_is_over() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let slot: Slot<Words> = Slot::new();
    let (lines, place) = (trace.clone(), slot.clone());
    scheduler
        .spawn(async move {
            let group = Words::new();
            group.spawn(lasting(lines.clone(), "spawned")).await;
            group.post(lasting(lines.clone(), "posted"));
            group.spawn(lasting(lines, "daemon")).daemon().await;
            place.put(group);
        })
        .detach();
    step_while_ready(&mut scheduler);
    let dropper = slot.clone();
    scheduler.spawn(async move { drop(dropper.take()) }).detach();
    scheduler.step();
    assert_eq!(trace.take(), ["spawned dropped", "posted dropped", "daemon dropped"]);
    run_clean(&mut scheduler);
}

#[test]
fn group_dropped_in_the_turn_of_its_spawns_then_nothing_of_them_runs() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let lines = trace.clone();
    scheduler
        .spawn(async move {
            let group = Words::new();
            let child = |name: &'static str| {
                let guard_lines = lines.clone();
                let guard = OnDrop(move || guard_lines.say(format!("{name} dropped")));
                let lines = lines.clone();
                async move {
                    lines.say("runs");
                    let _guard = guard;
                    never().await
                }
            };
            group.post(child("posted"));
            let mut spawning = Box::pin(group.spawn(child("spawned")));
            assert!(poll_once(&mut spawning).await.is_pending());
            drop(spawning);
            drop(group);
        })
        .detach();
    scheduler.step();
    assert_eq!(trace.take(), ["spawned dropped", "posted dropped"]);
    run_clean(&mut scheduler);
}

#[test]
fn spawn_is_dropped_after_it_was_served_then_the_child_is_the_groups_all_the_same() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let group = Words::new();
            let mut spawning = Box::pin(group.spawn(lasting(trace.clone(), "child")));
            assert!(poll_once(&mut spawning).await.is_pending());
            yield_now().await;
            drop(spawning);
            assert_eq!(group.len(), 1);
            group.close().await;
            trace.say("closed");
        })
        .unwrap();
    assert_eq!(trace.take(), ["child dropped", "closed"]);
    run_clean(&mut scheduler);
}

#[test]
fn child_ends_before_its_spawn_is_resumed_then_its_end_is_told() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let group = Words::new().tolerant();
            let ids = [
                group.spawn(async { Ok("at once") }).await,
                group.spawn(async { Err("at once") }).await,
                group.spawn(async { panic!("at once") }).await,
            ];
            let mut told = Vec::new();
            while let Some((task, result)) = group.next().await {
                told.push((task, result.is_ok()));
            }
            assert_eq!(told, [(ids[0], true), (ids[1], false), (ids[2], false)]);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn child_kills_itself_in_the_turn_in_which_it_returns_then_its_value_is_told_and_nothing_is_left() {
    for spawns_first in [true, false] {
        let mut scheduler = builder().quantum(if spawns_first { 8 } else { 1 }).build();
        scheduler
            .block_on(async {
                let group = Words::new();
                for _ in 0..2 {
                    group
                        .spawn(async {
                            post_kill(get_tid().await);
                            Ok("all the same")
                        })
                        .await;
                }
                assert_eq!(group.join_all().await.unwrap(), ["all the same"; 2]);
            })
            .unwrap();
        run_clean(&mut scheduler);
    }
}

#[test]
fn destructor_panics_after_the_child_has_returned_then_its_value_is_told_and_the_panic_reported() {
    for spawns_first in [true, false] {
        let mut scheduler = builder().quantum(if spawns_first { 8 } else { 1 }).build();
        scheduler
            .block_on(async {
                let group = Words::new();
                let guard = OnDrop(|| panic!("on the way out"));
                // It is ready while it holds the guard still.
                group
                    .spawn(std::future::poll_fn(move |_| {
                        let _held = &guard;
                        Poll::Ready(Ok("a value"))
                    }))
                    .await;
                assert_eq!(group.join_all().await.unwrap(), ["a value"]);
            })
            .unwrap();
        let report = scheduler.run().unwrap();
        assert_eq!((report.failures, &*report.first_failures[0].text), (1, "on the way out"));
        assert_empty(&scheduler);
    }
}

#[test]
fn some_ended_out_of_turn_and_their_places_are_taken_again_then_values_are_in_spawn_order() {
    let mut scheduler = builder().virtual_clock().build();
    scheduler
        .block_on(async {
            let group = Words::new().tolerant();
            for (seconds, word) in [(1, "told"), (5, "late"), (1, "told, too"), (4, "early")] {
                group.spawn(after(seconds, Ok(word))).await;
            }
            group.spawn(after(3, Err("bad"))).await;
            sleep(SECOND * 2).await;
            assert_eq!(group.next().await.unwrap().1.unwrap(), "told");
            assert_eq!(group.next().await.unwrap().1.unwrap(), "told, too");
            group.spawn(after(1, Ok("new"))).await;
            group.spawn(after(9, Ok("newest"))).await;
            sleep(SECOND * 2).await;
            assert!(group.next().await.unwrap().1.is_err());
            assert_eq!(group.join_all().await.unwrap(), ["late", "early", "new", "newest"]);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn parent_killed_then_its_children_and_theirs_end_in_the_same_step() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let lines = trace.clone();
    let parent = scheduler.spawn(async move {
        let group = Words::new();
        for _ in 0..3 {
            let lines = lines.clone();
            group
                .spawn(async move {
                    let inner = Words::new();
                    inner.spawn(lasting(lines.clone(), "leaf")).await;
                    inner.post(lasting(lines, "leaf"));
                    inner.join_all().await.map(|_| "").map_err(|_| "")
                })
                .await;
        }
        group.join_all().await.unwrap();
    });
    step_while_ready(&mut scheduler);
    let id = parent.id();
    scheduler.spawn(async move { kill(id).await.map(drop).unwrap() }).detach();
    scheduler.step();
    assert_eq!(trace.take(), ["leaf dropped"; 6]);
    drop(parent);
    run_clean(&mut scheduler);
}

#[test]
fn group_closed_then_it_waits_for_the_last_destructor() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let group = Words::new();
            for name in ["one", "two", "three"] {
                group.spawn(lasting(trace.clone(), name)).await;
            }
            group.spawn(async { Ok("untold") }).await;
            group.close().await;
            trace.say("closed");
        })
        .unwrap();
    assert_eq!(trace.take(), ["one dropped", "two dropped", "three dropped", "closed"]);
    run_clean(&mut scheduler);
}

#[test]
fn group_closed_with_an_untold_panic_then_it_is_reported() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let group = Words::new();
            group.spawn(async { panic!("nobody asks") }).await;
            yield_now().await;
            group.close().await;
        })
        .unwrap();
    let report = scheduler.run().unwrap();
    assert_eq!((report.failures, &*report.first_failures[0].text), (1, "nobody asks"));
    assert_empty(&scheduler);
}

#[test]
fn close_and_join_dropped_while_blocked_then_the_children_end_all_the_same() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let group = Words::new();
            group.spawn(lasting(trace.clone(), "closed")).await;
            drop(group.close());
            let group = Words::new();
            group.spawn(lasting(trace.clone(), "joined")).await;
            assert!(timeout(SECOND, group.join_all()).await.is_err());
            let group = Words::new();
            group.spawn(lasting(trace.clone(), "raced")).await;
            assert!(timeout(SECOND, group.first()).await.is_err());
            let group = Words::new();
            group.spawn(lasting(trace.clone(), "raced for a value")).await;
            assert!(timeout(SECOND, group.first_ok()).await.is_err());
            yield_now().await;
        })
        .unwrap();
    let words = ["closed", "joined", "raced", "raced for a value"];
    assert_eq!(trace.take(), words.map(|word| format!("{word} dropped")));
    run_clean(&mut scheduler);
}

#[test]
fn daemon_then_the_group_does_not_wait_for_it_and_ends_it() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let group = Words::new();
            group.spawn(lasting(trace.clone(), "daemon")).daemon().await;
            group.spawn(async { Ok("dropped") }).daemon().await;
            group.spawn(after(1, Ok("value"))).await;
            assert_eq!(group.len(), 1);
            assert_eq!(group.join_all().await.unwrap(), ["value"]);
            trace.say("joined");
            let group = Words::new();
            group.spawn(after(1, Err("daemon fails"))).daemon().await;
            group.spawn(after(2, Ok("cancelled"))).await;
            let error = group.join_all().await.unwrap_err();
            assert_eq!(error.child().unwrap().error(), Some(&"daemon fails"));
        })
        .unwrap();
    assert_eq!(trace.take(), ["daemon dropped", "joined"]);
    run_clean(&mut scheduler);
}

#[test]
fn daemon_posted_when_the_others_have_ended_then_it_is_ended_as_it_is_born() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let group = Words::new();
            group.spawn(lasting(trace.clone(), "late")).daemon().post();
            assert_eq!(group.join_all().await.unwrap(), [""; 0]);
            let group = Words::new();
            let (handle, lines) = (group.handle(), trace.clone());
            let recurring = async move {
                let _guard =
                    OnDrop(move || handle.spawn(lasting(lines.clone(), "heir")).daemon().post());
                never().await
            };
            group.spawn(recurring).daemon().await;
            yield_now().await;
            assert_eq!(group.join_all().await.unwrap(), [""; 0]);
        })
        .unwrap();
    // They were never started.
    assert_eq!(trace.take(), [""; 0]);
    run_clean(&mut scheduler);
}

#[test]
fn group_has_ended_then_spawning_into_it_panics_and_the_child_is_dropped() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let group = Words::new();
            let handle = group.handle();
            drop(group);
            let child = lasting(trace.clone(), "late");
            assert!(panic_of(|| handle.post(child)).contains("has ended"));
            let late = spawn(async move { handle.spawn(async { Ok("late") }).await }).await;
            assert!(late.await.unwrap_err().is_panic());
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn scheduler_dropped_with_groups_in_it_then_all_destructors_run() {
    let trace = Trace::default();
    let mut scheduler = scheduler();
    let lines = trace.clone();
    scheduler
        .spawn(async move {
            let group = Words::new();
            group.spawn(lasting(lines.clone(), "child")).await;
            let _ = group_scope::<(), (), (), _>(async |inner| {
                inner.post(
                    async move { lasting(lines, "grandchild").await.map(drop).map_err(drop) },
                );
                never().await
            })
            .await;
        })
        .detach();
    step_while_ready(&mut scheduler);
    drop(scheduler);
    let mut lines = trace.take();
    lines.sort();
    assert_eq!(lines, ["child dropped", "grandchild dropped"]);
}

#[test]
fn group_kept_outside_then_dropping_it_there_kills_at_the_next_step() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let slot: Slot<Words> = Slot::new();
    let (lines, place) = (trace.clone(), slot.clone());
    scheduler
        .block_on(async move {
            let group = Words::new();
            group.spawn(lasting(lines, "child")).await;
            place.put(group);
        })
        .unwrap();
    drop(slot.take());
    scheduler.step();
    assert_eq!(trace.take(), ["child dropped"]);
    run_clean(&mut scheduler);
}

// Cancelling a group.

#[test]
fn group_cancelled_then_all_are_asked_once_with_the_reason() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let group = TaskGroup::<String>::new();
            for _ in 0..3 {
                group
                    .spawn_value(async {
                        cancellable(never::<()>()).await.unwrap_err().text().to_owned()
                    })
                    .await;
            }
            yield_now().await;
            group.cancel(CancelReason::shutdown("good night"));
            group.cancel("too late to say");
            assert_eq!(group.cancelled().unwrap().cause(), CancelCause::Shutdown);
            assert_eq!(group.join_all().await.unwrap(), ["good night"; 3]);
            let group = Words::new();
            group.spawn(after(9, Ok("never"))).await;
            group.cancel("enough");
            let error = group.join_all().await.unwrap_err();
            assert!(
                error.children().is_empty() && error.to_string().ends_with("enough"),
                "{error}"
            );
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn deadline_passes_then_the_children_and_the_body_are_ended() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let group = Words::new();
            group.cancel_at(now().await + SECOND);
            group.spawn(after(5, Ok("late"))).await;
            let error = group.join_all().await.unwrap_err();
            let CancelCause::Deadline(at) = error.cancelled().unwrap().cause() else { panic!() };
            assert_eq!((at, now().await), (at, at));
            let start = now().await;
            let outcome = group_scope::<(), (), (), _>(async |group| {
                group.cancel_at(start + SECOND);
                never().await
            });
            assert!(outcome.await.unwrap_err().cancelled().is_some());
            assert_eq!(now().await - start, SECOND);
            // In time.
            let group = Words::new();
            group.cancel_at(now().await + SECOND * 9);
            group.spawn(after(1, Ok("in time"))).await;
            assert_eq!(group.join_all().await.unwrap(), ["in time"]);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

// Groups with a body.

#[test]
fn body_returns_then_the_group_waits_for_its_children() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let value = group_scope(async |group: GroupHandle<(), &str>| {
                let lines = trace.clone();
                group
                    .spawn(async move {
                        sleep(SECOND).await;
                        lines.say("child ends");
                        Ok(())
                    })
                    .await;
                group.spawn(never()).daemon().await;
                trace.say("body ends");
                Ok(7)
            })
            .await;
            assert_eq!(value.unwrap(), 7);
            trace.say("group ends");
        })
        .unwrap();
    assert_eq!(trace.take(), ["body ends", "child ends", "group ends"]);
    run_clean(&mut scheduler);
}

#[test]
fn child_fails_then_the_body_is_dropped_where_it_is_blocked() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let error = group_scope(async |group| {
                group.spawn(after(1, Err("boom"))).await;
                group.spawn(lasting(trace.clone(), "sibling")).await;
                let _guard = OnDrop(|| trace.say("body dropped"));
                never::<Result<(), _>>().await
            })
            .await
            .unwrap_err();
            assert_eq!(error.child().unwrap().error(), Some(&"boom"));
            assert!(error.body().is_none());
            trace.say("told");
        })
        .unwrap();
    assert_eq!(trace.take(), ["sibling dropped", "body dropped", "told"]);
    run_clean(&mut scheduler);
}

#[test]
fn body_fails_then_the_children_are_cancelled_first_and_then_it_comes_out() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let parent = get_tid().await;
            let error = group_scope(async |group: GroupHandle<(), &str>| {
                let lines = trace.clone();
                group
                    .spawn(async move {
                        let why = cancellable(never::<()>()).await.unwrap_err();
                        assert_eq!(why.cause(), CancelCause::Failure(parent));
                        sleep(SECOND).await;
                        lines.say("child ends");
                        Ok(())
                    })
                    .await;
                yield_now().await;
                Err::<(), _>("body")
            })
            .await
            .unwrap_err();
            assert!(error.children().is_empty());
            assert_eq!(error.body(), Some(&"body"));
            trace.say("told");
        })
        .unwrap();
    assert_eq!(trace.take(), ["child ends", "told"]);
    run_clean(&mut scheduler);
}

#[test]
fn body_and_child_both_fail_then_both_are_told() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let error: GroupError<&str> = group_scope(async |group: GroupHandle<(), _>| {
                group
                    .spawn(async {
                        let _ = cancellable(never::<()>()).await;
                        Err("child")
                    })
                    .await;
                yield_now().await;
                Err::<(), _>("body")
            })
            .await
            .unwrap_err();
            assert_eq!(error.child().unwrap().error(), Some(&"child"));
            assert_eq!(error.body(), Some(&"body"));
            assert!(error.to_string().ends_with("failed: child; the body failed: body"), "{error}");
            // The child first; the body has a reply to take, and fails with it.
            let gate = Rc::new(WaitQueue::new(0));
            let opened = Rc::clone(&gate);
            let error = group_scope(async |group: GroupHandle<(), _>| {
                group
                    .spawn(async move {
                        yield_now().await;
                        yield_now().await;
                        opened.wake();
                        Err("child")
                    })
                    .await;
                gate.park().await;
                Err::<(), _>("body")
            })
            .await
            .unwrap_err();
            assert_eq!((error.children().len(), error.body()), (1, Some(&"body")));
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn body_panics_then_the_children_end_first_and_the_panic_comes_out() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let lines = trace.clone();
    scheduler
        .block_on(async {
            let parent = spawn(async move {
                let _: Result<(), _> = group_scope(async |group: GroupHandle<(), ()>| {
                    let lines = lines.clone();
                    group
                        .spawn(async move {
                            let _ = cancellable(never::<()>()).await;
                            sleep(SECOND).await;
                            lines.say("child ends");
                            Ok(())
                        })
                        .await;
                    yield_now().await;
                    panic!("body")
                })
                .await;
            })
            .await;
            assert!(parent.await.unwrap_err().is_panic());
            trace.say("told");
        })
        .unwrap();
    assert_eq!(trace.take(), ["child ends", "told"]);
    run_clean(&mut scheduler);
}

#[test]
fn body_asks_for_results_then_it_gets_values_and_the_group_tells_the_failures() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let sum = TaskGroup::new()
                .run(async |group: GroupHandle<u32, &str>| {
                    for number in 1..=3 {
                        group.post(async move { Ok(number) });
                    }
                    let mut sum = 0;
                    while let Some((_, result)) = group.next().await {
                        sum += result.map_err(|_| "told here")?;
                    }
                    Ok(sum)
                })
                .await;
            assert_eq!(sum.unwrap(), 6);
            let error = TaskGroup::new()
                .run(async |group: GroupHandle<(), &str>| {
                    group.post(async { Err("boom") });
                    let told = group.next().await;
                    assert!(told.is_none());
                    never::<Result<(), _>>().await
                })
                .await
                .unwrap_err();
            assert_eq!(error.child().unwrap().error(), Some(&"boom"));
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn parent_of_a_body_is_cancelled_then_the_children_hear_in_the_same_batch_and_it_ends_after_them() {
    let mut scheduler = builder().batch(100_000).build();
    let trace = Trace::default();
    let lines = trace.clone();
    let parent = scheduler.spawn(async move {
        let _guard = OnDrop(|| lines.say("parent dropped"));
        let _: Result<(), _> = group_scope(async |group: GroupHandle<(), ()>| {
            for name in ["one", "two"] {
                let lines = lines.clone();
                group
                    .spawn(async move {
                        let why = cancellable(never::<()>()).await.unwrap_err();
                        lines.say(format!("{name} hears {}", why.text()));
                        sleep(SECOND).await;
                        lines.say(format!("{name} ends"));
                        Ok(())
                    })
                    .await;
            }
            let _guard = OnDrop(|| lines.say("body dropped"));
            never().await
        })
        .await;
        lines.say("never");
    });
    step_while_ready(&mut scheduler);
    parent.cancel("bed time");
    step_while_ready(&mut scheduler);
    assert_eq!(trace.take(), ["body dropped", "one hears bed time", "two hears bed time"]);
    let error = scheduler.block_on(parent).unwrap().unwrap_err();
    assert_eq!(error.cancelled().unwrap().text(), "bed time");
    assert_eq!(trace.take(), ["one ends", "two ends", "parent dropped"]);
    run_clean(&mut scheduler);
}

/// A tree of bodies: three children each, down to the leaves.
fn tree(depth: u32, trace: Trace) -> std::pin::Pin<Box<dyn Future<Output = Result<(), ()>>>> {
    Box::pin(async move {
        let _guard = OnDrop(|| trace.say(format!("{depth} ends")));
        if depth == 0 {
            let heard = cancellable(never::<()>()).await.is_err();
            trace.say(format!("leaf hears: {heard}"));
            yield_now().await;
            return Ok(());
        }
        let outcome = group_scope(async |group| {
            for _ in 0..3 {
                group.spawn(tree(depth - 1, trace.clone())).await;
            }
            never::<Result<(), ()>>().await
        });
        outcome.await.map_err(drop)
    })
}

#[test]
fn tree_of_groups_is_cancelled_then_all_leaves_hear_in_the_same_batch_and_the_root_ends_last() {
    for quantum in [1, 32] {
        let mut scheduler = builder().quantum(quantum).batch(1_000_000).build();
        let trace = Trace::default();
        let root = scheduler.spawn(tree(4, trace.clone()));
        step_while_ready(&mut scheduler);
        root.cancel("down with it");
        // Nothing here looks at the outside: it is one batch.
        step_while_ready(&mut scheduler);
        let lines = trace.take();
        let leaves = lines.iter().filter(|line| *line == "leaf hears: true").count();
        assert_eq!(leaves, 81);
        assert_eq!(lines.iter().filter(|line| line.ends_with("ends")).count(), 121);
        assert_eq!(lines.last().unwrap(), "4 ends");
        let error = scheduler.block_on(root).unwrap().unwrap_err();
        assert!(error.cancelled().is_some());
        run_clean(&mut scheduler);
    }
}

#[test]
fn group_within_a_scope_of_the_tasks_own_then_that_scope_returns_and_the_children_are_killed() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let lines = trace.clone();
    scheduler
        .block_on(async {
            let parent = spawn(async move {
                let work = group_scope(async |group| {
                    group.spawn(lasting(lines.clone(), "child")).await;
                    never::<Result<(), _>>().await
                });
                lines.say(cancellable(work).await.is_err());
                sleep(SECOND).await;
                lines.say("undisturbed");
            })
            .await;
            yield_now().await;
            yield_now().await;
            parent.cancel("x");
            parent.await.unwrap();
        })
        .unwrap();
    let lines = trace.take();
    assert_eq!(lines.len(), 3);
    assert!(lines.contains(&"child dropped".to_owned()), "{lines:?}");
    assert_eq!(lines[2], "undisturbed");
    run_clean(&mut scheduler);
}

#[test]
fn body_has_a_shield_open_then_the_cancellation_waits_for_it() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let lines = trace.clone();
    scheduler
        .block_on(async {
            let parent = spawn(async move {
                let _: Result<(), _> = group_scope(async |group| {
                    group.spawn(lasting(lines.clone(), "child")).await;
                    shield(sleep(SECOND)).await;
                    lines.say("shield ends");
                    never::<Result<(), _>>().await
                })
                .await;
            })
            .await;
            yield_now().await;
            yield_now().await;
            parent.cancel("x");
            assert!(parent.await.unwrap_err().cancelled().is_some());
        })
        .unwrap();
    assert_eq!(trace.take(), ["shield ends", "child dropped"]);
    run_clean(&mut scheduler);
}

#[test]
fn two_bodies_side_by_side_then_each_interrupts_its_own() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let failing = group_scope(async |group| {
                group.spawn(after(1, Err("boom"))).await;
                never::<Result<(), _>>().await
            });
            let lasting = group_scope(async |group| {
                group.spawn(after(3, Ok(""))).await;
                sleep(SECOND * 2).await;
                Ok::<_, &str>("lasts")
            });
            let (failed, lasted) = join(failing, lasting).await;
            assert!(failed.is_err());
            assert_eq!(lasted.unwrap(), "lasts");
            let mut many = FuturesUnordered::new();
            for seconds in 1..5 {
                many.push(group_scope(async move |group| {
                    let result = if seconds % 2 == 0 { Err("even") } else { Ok("") };
                    group.spawn(after(seconds, result)).await;
                    sleep(SECOND * 9).await;
                    Ok::<_, &str>(seconds)
                }));
            }
            let mut ended = Vec::new();
            while let Some(outcome) = many.next().await {
                ended.push(outcome.map_err(|error| *error.child().unwrap().error().unwrap()));
            }
            assert_eq!(ended, [Err("even"), Err("even"), Ok(1), Ok(3)]);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn body_dropped_by_a_lost_branch_then_its_children_are_killed_in_the_step() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let group = pin!(group_scope(async |group| {
                group.spawn(lasting(trace.clone(), "child")).await;
                never::<Result<(), _>>().await
            }));
            match select(group, sleep(SECOND)).await {
                Either::Left(_) => panic!("it never ends"),
                Either::Right(_) => {}
            }
        })
        .unwrap();
    scheduler.block_on(timeout(SECOND, never::<()>())).unwrap().unwrap_err();
    run_clean(&mut scheduler);
}

#[test]
fn root_of_block_on_is_cancelled_within_a_body_then_it_ends_after_the_children() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let lines = trace.clone();
    let outcome = scheduler.block_on(async move {
        let root = get_tid().await;
        let _: Result<(), _> = group_scope(async |group| {
            group.spawn(lasting(lines.clone(), "child")).await;
            group
                .spawn(async move {
                    cancel(root, "yourself").await.unwrap();
                    Ok("")
                })
                .await;
            never::<Result<(), _>>().await
        })
        .await;
        lines.say("never");
    });
    assert!(matches!(outcome, Err(RunError::Cancelled(why)) if why.text() == "yourself"));
    assert_eq!(trace.take(), ["child dropped"]);
    run_clean(&mut scheduler);
}

// Children that say when they are ready.

#[test]
fn child_reports_then_start_gives_the_value_and_the_child_goes_on() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let group = Words::new();
            let lines = trace.clone();
            let value = group
                .start(|ready: Ready<u8>| async move {
                    sleep(SECOND).await;
                    ready.report(5);
                    sleep(SECOND).await;
                    lines.say("child ends");
                    Ok("done")
                })
                .await;
            assert_eq!(value, Ok(5));
            trace.say("started");
            assert_eq!(group.join_all().await.unwrap(), ["done"]);
        })
        .unwrap();
    assert_eq!(trace.take(), ["started", "child ends"]);
    run_clean(&mut scheduler);
}

#[test]
fn child_ends_before_it_is_ready_then_start_says_so_and_the_group_tells_how() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let group = Words::new();
            let failed = group
                .start(|ready: Ready<()>| async move {
                    yield_now().await;
                    drop(ready);
                    Err("no port")
                })
                .await;
            let NeverReady { task } = failed.unwrap_err();
            let error = group.join_all().await.unwrap_err();
            let child = error.child().unwrap();
            assert_eq!((child.task(), child.error()), (task, Some(&"no port")));
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn start_dropped_at_each_moment_then_the_child_is_ended() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let group = Words::new().tolerant();
            let child = |name: &'static str| {
                let lines = trace.clone();
                move |ready: Ready<()>| async move {
                    let _ready = ready;
                    lasting(lines, name).await
                }
            };
            drop(group.start(child("unpolled")));
            let mut starting = Box::pin(group.start(child("served")));
            assert!(poll_once(&mut starting).await.is_pending());
            yield_now().await;
            drop(starting);
            assert!(timeout(SECOND, group.start(child("blocked"))).await.is_err());
            yield_now().await;
            assert!(group.is_empty());
            assert!(group.next().await.unwrap().1.unwrap_err().is_killed());
        })
        .unwrap();
    assert_eq!(trace.take(), ["served dropped", "blocked dropped"]);
    run_clean(&mut scheduler);
}

// What is shown.

#[test]
fn children_are_tasks_with_names_and_lines_and_waits_say_what_for() {
    let (mut scheduler, _trace) = traced();
    let lines = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&lines);
    let id = Rc::new(Cell::new(None::<TaskId>));
    let child_id = Rc::clone(&id);
    let parent = scheduler.spawn(async move {
        let group = Words::new();
        noted.borrow_mut().push(line!() + 1);
        child_id.set(Some(group.spawn(after(1, Ok(""))).name("worker").await));
        noted.borrow_mut().push(line!() + 1);
        let _ = group.next().await;
        noted.borrow_mut().push(line!() + 1);
        let _ = group.join_all().await;
    });
    step_while_ready(&mut scheduler);
    let snapshot = scheduler.snapshot();
    let child = snapshot.tasks.iter().find(|task| Some(task.id) == id.get()).unwrap();
    assert_eq!(child.name.as_deref(), Some("worker"));
    assert_eq!((child.site.line(), child.parent), (lines.borrow()[0], Some(parent.id())));
    let waits = snapshot.tasks.iter().find(|task| task.id == parent.id()).unwrap();
    let TaskState::Blocked(calls) = &waits.state else { panic!("{:?}", waits.state) };
    assert_eq!(calls[0].label, Some("a child's result"));
    assert_eq!((calls[0].site.file(), calls[0].site.line()), (file!(), lines.borrow()[1]));
    drop(parent);
    run_clean(&mut scheduler);
}
