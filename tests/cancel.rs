//! Cancelling: who is told, when, and what runs on.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{join, join_all};
use futures::stream::{FuturesUnordered, StreamExt};
use support::{
    OnDrop, Slot, Trace, builder, give_way, poll_once, run_clean, scheduler, step_while_ready,
    traced,
};
use trapline::{
    CancelCause, CancelOutcome, CancelReason, ExitStatus, NoSuchTask, RunError, StepEvent, TaskId,
    TaskState, WaitQueue, cancel, cancellable, cancelled, kill, post_cancel, shield, sleep, spawn,
    timeout, wait, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

/// Never ready, and not a system call.
fn never() -> std::future::Pending<()> {
    std::future::pending()
}

#[test]
fn blocked_task_without_a_scope_then_it_ends_as_cancelled_with_the_reason() {
    let mut scheduler = scheduler();
    let (status, line) = scheduler
        .block_on(async {
            let child = spawn(sleep(SECOND)).await;
            yield_now().await;
            let line = line!() + 1;
            assert_eq!(cancel(child.id(), "no use").await, Ok(CancelOutcome::Cancelled));
            let status = wait(child.id()).await.unwrap();
            let error = child.await.unwrap_err();
            assert!(!error.is_killed() && !error.is_panic());
            assert_eq!(error.cancelled().unwrap().text(), "no use");
            (status, line)
        })
        .unwrap();
    let ExitStatus::Cancelled(why) = status else { panic!("{status}") };
    assert_eq!(why.text(), "no use");
    assert_eq!(why.by().map(TaskId::sequence), Some(1));
    assert_eq!((why.site().line(), why.cause()), (line, CancelCause::Request));
    assert!(why.to_string().contains("cancelled by task 1 at tests/cancel.rs:"), "{why}");
    run_clean(&mut scheduler);
}

#[test]
fn wait_that_came_before_the_cancel_then_it_is_told_the_reason() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let child = spawn(never()).await;
            let id = child.id();
            let waiter = spawn(async move { wait(id).await.unwrap() }).await;
            yield_now().await;
            cancel(id, CancelReason::shutdown("night")).await.unwrap();
            let ExitStatus::Cancelled(why) = waiter.await.unwrap() else { panic!() };
            assert_eq!((why.cause(), why.text()), (CancelCause::Shutdown, "night"));
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn ended_or_unknown_task_then_cancel_changes_nothing_and_says_so() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let child = spawn(async { 7 }).await;
            yield_now().await;
            assert_eq!(cancel(child.id(), "late").await, Ok(CancelOutcome::AlreadyEnded));
            assert_eq!(child.await.unwrap(), 7);
            assert_eq!(cancel(TaskId::new(9999, 0), "who").await, Err(NoSuchTask));
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn second_cancel_then_the_first_reason_is_kept() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let child = spawn(async {
                let why = cancellable(never()).await.unwrap_err();
                sleep(SECOND).await;
                why.text().to_owned()
            })
            .await;
            yield_now().await;
            assert_eq!(cancel(child.id(), "first").await, Ok(CancelOutcome::Cancelled));
            assert_eq!(cancel(child.id(), "second").await, Ok(CancelOutcome::AlreadyCancelled));
            yield_now().await;
            assert_eq!(cancel(child.id(), "third").await, Ok(CancelOutcome::AlreadyCancelled));
            assert_eq!(child.await.unwrap(), "first");
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn scope_cancelled_then_the_code_after_it_awaits_undisturbed_and_later_scopes_return_at_once() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let lines = trace.clone();
    scheduler
        .block_on(async {
            let child = spawn(async move {
                let _guard = OnDrop(|| ());
                lines.say(cancellable(sleep(SECOND)).await.is_err());
                sleep(SECOND).await;
                lines.say("slept");
                lines.say(cancellable(sleep(SECOND)).await.is_err());
                lines.say(cancellable(async { 5 }).await.unwrap());
                yield_now().await;
                lines.say("ends");
            })
            .await;
            yield_now().await;
            cancel(child.id(), "go").await.unwrap();
            child.await.unwrap();
        })
        .unwrap();
    assert_eq!(trace.take(), ["true", "slept", "true", "5", "ends"]);
    run_clean(&mut scheduler);
}

#[test]
fn reply_is_there_when_the_cancel_comes_then_it_is_delivered_and_the_next_block_ends_the_task() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let lines = trace.clone();
    scheduler
        .block_on(async {
            let queue = Rc::new(WaitQueue::new(0));
            let parked = Rc::clone(&queue);
            let child = spawn(async move {
                parked.park().await;
                lines.say("has its token");
                sleep(SECOND).await;
                lines.say("never");
            })
            .await;
            yield_now().await;
            queue.wake();
            cancel(child.id(), "too late for the token").await.unwrap();
            assert!(child.await.unwrap_err().cancelled().is_some());
        })
        .unwrap();
    assert_eq!(trace.take(), ["has its token"]);
    run_clean(&mut scheduler);
}

#[test]
fn reply_is_there_when_a_scope_is_cancelled_then_the_scope_gives_it_and_the_next_one_returns() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let queue = Rc::new(WaitQueue::new(0));
            let parked = Rc::clone(&queue);
            let child = spawn(async move {
                let first = cancellable(parked.park()).await.is_ok();
                let second = cancellable(never()).await.is_err();
                (first, second)
            })
            .await;
            yield_now().await;
            queue.wake();
            cancel(child.id(), "late").await.unwrap();
            assert_eq!(child.await.unwrap(), (true, true));
            assert_eq!(queue.tokens(), 0);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn task_not_yet_started_then_it_runs_to_its_first_block() {
    // At this quantum the parent goes on before its child.
    let mut scheduler = builder().quantum(32).build();
    let trace = Trace::default();
    let lines = trace.clone();
    scheduler
        .block_on(async {
            let child = spawn(async move {
                lines.say("starts");
                yield_now().await;
                lines.say("never");
            })
            .await;
            cancel(child.id(), "early").await.unwrap();
            assert!(child.await.unwrap_err().cancelled().is_some());
        })
        .unwrap();
    assert_eq!(trace.take(), ["starts"]);
    run_clean(&mut scheduler);
}

#[test]
fn task_that_returns_before_it_blocks_then_it_has_returned() {
    // At this quantum the parent goes on before its child.
    let mut scheduler = builder().quantum(32).build();
    scheduler
        .block_on(async {
            let child = spawn(async { 3 }).await;
            cancel(child.id(), "early").await.unwrap();
            assert_eq!(child.await.unwrap(), 3);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn task_cancels_itself_then_it_ends_at_its_next_block() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let lines = trace.clone();
    let handle = scheduler.spawn(async move {
        cancel(trapline::get_tid().await, "enough").await.unwrap();
        lines.say("goes on");
        sleep(SECOND).await;
        lines.say("never");
    });
    let error = scheduler.block_on(handle).unwrap().unwrap_err();
    assert_eq!(error.cancelled().unwrap().by(), Some(error.task()));
    assert_eq!(trace.take(), ["goes on"]);
    run_clean(&mut scheduler);
}

#[test]
fn nested_scopes_then_the_outermost_returns_and_the_inner_ones_are_dropped() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let lines = trace.clone();
    scheduler
        .block_on(async {
            let child = spawn(async move {
                let inner_lines = lines.clone();
                let outer = cancellable(async {
                    let _guard = OnDrop(|| inner_lines.say("inner dropped"));
                    let _ = cancellable(never()).await;
                    inner_lines.say("never");
                });
                lines.say(outer.await.is_err());
            })
            .await;
            yield_now().await;
            cancel(child.id(), "x").await.unwrap();
            child.await.unwrap();
        })
        .unwrap();
    assert_eq!(trace.take(), ["inner dropped", "true"]);
    run_clean(&mut scheduler);
}

#[test]
fn scopes_side_by_side_then_all_return() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let child = spawn(async {
                let joined = join(cancellable(never()), cancellable(sleep(SECOND)));
                let (a, b) = joined.await;
                let all = join_all((0..40).map(|_| cancellable(never()))).await;
                (a.is_err(), b.is_err(), all.iter().filter(|end| end.is_err()).count())
            })
            .await;
            let many = spawn(async {
                let mut many: FuturesUnordered<_> =
                    (0..100).map(|_| cancellable(sleep(SECOND))).collect();
                let mut ended = 0;
                while let Some(end) = many.next().await {
                    ended += usize::from(end.is_err());
                }
                ended
            })
            .await;
            yield_now().await;
            cancel(child.id(), "x").await.unwrap();
            cancel(many.id(), "x").await.unwrap();
            assert_eq!(child.await.unwrap(), (true, true, 40));
            assert_eq!(many.await.unwrap(), 100);
            assert!(trapline::now().await.as_nanos() < SECOND.as_nanos() as u64);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn shield_then_blocks_within_succeed_and_the_cancellation_lands_when_it_ends() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let lines = trace.clone();
    scheduler
        .block_on(async {
            let child = spawn(async move {
                shield(async {
                    sleep(SECOND).await;
                    lines.say("slept");
                    shield(sleep(SECOND)).await;
                    lines.say(cancellable(sleep(SECOND)).await.is_ok());
                })
                .await;
                lines.say("shield ends");
                sleep(SECOND).await;
                lines.say("never");
            })
            .await;
            yield_now().await;
            cancel(child.id(), "x").await.unwrap();
            assert!(child.await.unwrap_err().cancelled().is_some());
            assert_eq!(trapline::now().await.as_nanos(), 3 * SECOND.as_nanos() as u64);
        })
        .unwrap();
    assert_eq!(trace.take(), ["slept", "true", "shield ends"]);
    run_clean(&mut scheduler);
}

#[test]
fn shield_within_a_scope_then_the_scope_returns_when_the_shield_has_ended() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let lines = trace.clone();
    scheduler
        .block_on(async {
            let child = spawn(async move {
                let work = async {
                    shield(sleep(SECOND)).await;
                    lines.say("shield ends");
                    sleep(SECOND).await;
                    lines.say("never");
                };
                lines.say(cancellable(work).await.is_err());
                sleep(SECOND).await;
                lines.say("cleaned up");
            })
            .await;
            yield_now().await;
            cancel(child.id(), "x").await.unwrap();
            child.await.unwrap();
            assert_eq!(trapline::now().await.as_nanos(), 2 * SECOND.as_nanos() as u64);
        })
        .unwrap();
    assert_eq!(trace.take(), ["shield ends", "true", "cleaned up"]);
    run_clean(&mut scheduler);
}

#[test]
fn shield_under_a_combinator_with_wakers_of_its_own_then_it_holds_and_the_scope_around_returns() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let child = spawn(async move {
                let done = Cell::new(false);
                let work = async {
                    let shielded = shield(async {
                        sleep(SECOND).await;
                        done.set(true);
                    });
                    let both: FuturesUnordered<futures::future::LocalBoxFuture<'_, ()>> =
                        FuturesUnordered::new();
                    both.push(Box::pin(shielded));
                    both.push(Box::pin(never()));
                    both.collect::<Vec<()>>().await;
                };
                (cancellable(work).await.is_err(), done.get())
            })
            .await;
            yield_now().await;
            cancel(child.id(), "x").await.unwrap();
            assert_eq!(child.await.unwrap(), (true, true));
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn timeout_lost_branch_and_kill_then_they_go_through_a_shield() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let dropped = Rc::new(Cell::new(0));
            let count = |dropped: &Rc<Cell<u32>>| {
                let dropped = Rc::clone(dropped);
                OnDrop(move || dropped.set(dropped.get() + 1))
            };
            let guard = count(&dropped);
            let shielded = shield(async move {
                let _guard = guard;
                never().await;
            });
            assert!(timeout(SECOND, shielded).await.is_err());
            assert_eq!(dropped.get(), 1);
            let guard = count(&dropped);
            let child = spawn(shield(async move {
                let _guard = guard;
                never().await;
            }))
            .await;
            yield_now().await;
            kill(child.id()).await.unwrap();
            assert_eq!(dropped.get(), 2);
            assert!(child.await.unwrap_err().is_killed());
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn shield_moved_to_another_task_and_dropped_there_then_its_task_is_told() {
    let mut scheduler = scheduler();
    let slot = Slot::new();
    let moved = slot.clone();
    scheduler
        .block_on(async {
            let child = spawn(async move {
                let mut shielded = Box::pin(shield(sleep(SECOND)));
                assert!(poll_once(&mut shielded).await.is_pending());
                moved.put(shielded);
                never().await;
            })
            .await;
            yield_now().await;
            cancel(child.id(), "x").await.unwrap();
            yield_now().await;
            assert!(timeout(Duration::ZERO, wait(child.id())).await.is_err(), "it lives");
            drop(slot.take());
            yield_now().await;
            assert!(child.await.unwrap_err().cancelled().is_some());
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn scope_moved_to_another_task_then_it_hears_of_that_tasks_cancellation() {
    let mut scheduler = scheduler();
    let slot = Slot::new();
    let moved = slot.clone();
    scheduler
        .block_on(async {
            let first = spawn(async move {
                let mut scope = Box::pin(cancellable(sleep(SECOND)));
                assert!(poll_once(&mut scope).await.is_pending());
                moved.put(scope);
                never().await;
            })
            .await;
            yield_now().await;
            let scope = slot.take().unwrap();
            let second = spawn(async move { scope.await.is_err() }).await;
            yield_now().await;
            cancel(first.id(), "x").await.unwrap();
            assert!(first.await.unwrap_err().cancelled().is_some());
            cancel(second.id(), "x").await.unwrap();
            assert!(second.await.unwrap());
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn cancelled_is_awaited_then_the_task_hears_and_runs_on() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let child = spawn(async {
                assert!(cancelled().ask().is_none());
                let why = shield(cancelled()).await;
                assert_eq!(cancelled().ask().unwrap(), why);
                sleep(SECOND).await;
                why.text().to_owned()
            })
            .await;
            yield_now().await;
            child.cancel("stop".to_owned());
            assert_eq!(child.await.unwrap(), "stop");
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn cancelled_is_asked_then_the_task_still_ends_at_its_next_block() {
    // At this quantum the parent goes on before its child.
    let mut scheduler = builder().quantum(32).build();
    let trace = Trace::default();
    let lines = trace.clone();
    scheduler
        .block_on(async {
            let child = spawn(async move {
                lines.say(cancelled().ask().is_some());
                yield_now().await;
                lines.say("never");
            })
            .await;
            cancel(child.id(), "x").await.unwrap();
            assert!(child.await.is_err());
        })
        .unwrap();
    assert_eq!(trace.take(), ["true"]);
    run_clean(&mut scheduler);
}

#[test]
fn root_of_block_on_is_cancelled_then_block_on_says_why() {
    let mut scheduler = scheduler();
    let dropped = Rc::new(Cell::new(false));
    let flag = Rc::clone(&dropped);
    let error = scheduler.block_on(async {
        let _guard = OnDrop(move || flag.set(true));
        let me = trapline::get_tid().await;
        spawn(async move { cancel(me, "from below").await.unwrap() }).await.detach();
        sleep(SECOND).await;
    });
    let Err(RunError::Cancelled(why)) = error else { panic!("{error:?}") };
    assert_eq!(why.text(), "from below");
    assert!(dropped.get());
    run_clean(&mut scheduler);
    // Its own, at its next block.
    let error = scheduler.block_on(async {
        cancel(trapline::get_tid().await, "by itself").await.unwrap();
        sleep(SECOND).await;
    });
    assert!(matches!(error, Err(RunError::Cancelled(_))));
    run_clean(&mut scheduler);
    // One with a scope returns.
    let told = scheduler.block_on(async {
        post_cancel(trapline::get_tid().await, "and again");
        cancellable(sleep(SECOND)).await.is_err()
    });
    assert!(told.unwrap());
    run_clean(&mut scheduler);
}

#[test]
fn destructors_of_a_cancelled_task_then_they_run_in_the_same_step_and_may_post() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let (lines, said) = (trace.clone(), trace.clone());
    let child = scheduler.spawn(async move {
        let _guard = OnDrop(move || {
            said.say("dropped");
            let said = said.clone();
            trapline::spawn_detached(async move { said.say("posted") });
        });
        never().await;
    });
    let id = child.id();
    scheduler
        .spawn(async move {
            yield_now().await;
            cancel(id, "x").await.unwrap();
            lines.say("cancel answered");
        })
        .detach();
    drop(child);
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["dropped", "posted", "cancel answered"]);
}

#[test]
fn detached_task_is_cancelled_then_nothing_is_left_and_it_is_no_failure() {
    let mut scheduler = scheduler();
    let child = scheduler.spawn(never());
    let id = child.id();
    child.detach();
    scheduler.block_on(async move { cancel(id, "x").await.unwrap() }).unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn cancel_is_dropped_at_every_moment_then_it_is_either_whole_or_nothing() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let child = spawn(never()).await;
            yield_now().await;
            drop(cancel(child.id(), "unpolled"));
            give_way().await;
            let mut call = cancel(child.id(), "in this turn");
            assert!(poll_once(&mut call).await.is_pending());
            drop(call);
            give_way().await;
            assert!(trapline::timeout(Duration::ZERO, wait(child.id())).await.is_err());
            let mut call = cancel(child.id(), "served");
            assert!(poll_once(&mut call).await.is_pending());
            give_way().await;
            drop(call);
            assert_eq!(child.await.unwrap_err().cancelled().unwrap().text(), "served");
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn cancelled_task_is_shown_with_its_reason_and_its_shield() {
    let (mut scheduler, trace) = traced();
    let child = scheduler.spawn(shield(never()));
    let id = child.id();
    step_while_ready(&mut scheduler);
    scheduler
        .spawn(async move {
            cancel(id, "go home").await.unwrap();
        })
        .detach();
    trace.take();
    step_while_ready(&mut scheduler);
    let snapshot = scheduler.snapshot();
    let info = snapshot.task(id).unwrap();
    assert!(matches!(info.state, TaskState::Blocked(_)));
    assert_eq!(info.cancelled.as_ref().unwrap().text(), "go home");
    assert!(info.shield.is_some());
    let table = snapshot.to_string();
    assert!(table.contains("go home; shielded at tests/cancel.rs:"), "{table}");
    let lines = trace.take();
    let told = "1 is cancelled by task 2 at tests/cancel.rs:";
    assert!(lines.iter().any(|line| line.starts_with(told)), "{lines:?}");
    child.kill();
    drop(child);
    run_clean(&mut scheduler);
}

#[test]
fn landing_then_the_step_says_that_the_task_was_cancelled() {
    let mut scheduler = scheduler();
    let target = Slot::new();
    let taken = target.clone();
    scheduler
        .spawn(async move {
            give_way().await;
            post_cancel(taken.take().unwrap(), "while it is ready");
        })
        .detach();
    let child = scheduler.spawn(async {
        give_way().await;
        never().await;
    });
    let id = child.id();
    target.put(id);
    let mut ended = Vec::new();
    loop {
        let step = scheduler.step();
        if step.is_last() {
            break;
        }
        if step.task() == Some(id) {
            ended.push(step.event());
        }
    }
    assert_eq!(ended.last(), Some(&StepEvent::Ended(trapline::Ended::Cancelled)));
    drop(child);
    run_clean(&mut scheduler);
}

#[test]
fn scope_killed_dropped_or_timed_out_then_no_scope_is_left() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            drop(cancellable(never()));
            assert!(timeout(SECOND, cancellable(shield(never()))).await.is_err());
            let child = spawn(cancellable(shield(cancellable(never())))).await;
            yield_now().await;
            kill(child.id()).await.unwrap();
            let mut pending = pin!(cancellable(never()));
            assert!(poll_once(&mut pending).await.is_pending());
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn scheduler_dropped_before_a_scope_then_the_scope_does_nothing() {
    let slot = Slot::new();
    let moved = slot.clone();
    let mut first = scheduler();
    first
        .block_on(async move {
            let mut scope = Box::pin(cancellable(shield(never())));
            assert!(poll_once(&mut scope).await.is_pending());
            moved.put(scope);
        })
        .unwrap();
    drop(first);
    let mut second = scheduler();
    let kept = slot.take().unwrap();
    second
        .block_on(async move {
            // Polled under the next scheduler it opens there.
            let child = spawn(async move { kept.await.is_err() }).await;
            yield_now().await;
            let mut own = Box::pin(cancellable(never()));
            assert!(poll_once(&mut own).await.is_pending());
            child.kill();
        })
        .unwrap();
    run_clean(&mut second);
}

#[test]
fn panic_within_a_scope_then_the_next_scope_is_not_within_it() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let child = spawn(cancellable(shield(async { panic!("within") }))).await;
            assert!(child.await.unwrap_err().is_panic());
            let child = spawn(async { cancellable(never()).await.is_err() }).await;
            yield_now().await;
            cancel(child.id(), "x").await.unwrap();
            assert!(child.await.unwrap());
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn many_tasks_cancelled_by_one_then_all_end_in_the_same_batch() {
    let mut scheduler = builder().batch(100_000).build();
    let ended = Rc::new(RefCell::new(Vec::new()));
    let children: Vec<_> = (0..100)
        .map(|number| {
            let ended = Rc::clone(&ended);
            scheduler.spawn(async move {
                let _guard = OnDrop(move || ended.borrow_mut().push(number));
                never().await;
            })
        })
        .collect();
    step_while_ready(&mut scheduler);
    let ids: Vec<_> = children.iter().map(trapline::JoinHandle::id).collect();
    scheduler
        .spawn(async move {
            for id in ids {
                post_cancel(id, "all of you");
            }
        })
        .detach();
    scheduler.step();
    assert_eq!(*ended.borrow(), (0..100).collect::<Vec<_>>());
    drop(children);
    run_clean(&mut scheduler);
}
