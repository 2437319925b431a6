//! Ending: joins, kills, panics, failures that nobody looks at, detached tasks, the end of ids.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::os::unix::net::UnixStream;
use std::panic::panic_any;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use support::{
    OnDrop, Slot, Trace, assert_empty, builder, poll_once, run_clean, scheduler, text_of, traced,
};
use trapline::{
    Builder, Event, ExitStatus, JoinHandle, KillOutcome, NoSuchTask, RunError, Scheduler, TaskId,
    TaskOptions, Wait, WaitQueue, get_tid, kill, post_kill, read_wait, sleep, spawn,
    spawn_detached, timeout, wait, write_wait, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

/// Says a word when it is dropped.
fn says(trace: &Trace, word: &'static str) -> OnDrop<impl FnMut() + use<>> {
    let trace = trace.clone();
    OnDrop(move || trace.say(word))
}

// Joining

#[test]
fn join_before_the_exit_then_the_value() {
    let mut scheduler = scheduler();
    let value = scheduler.block_on(async {
        let child = spawn(async {
            sleep(SECOND).await;
            String::from("late")
        });
        child.await.await
    });
    assert_eq!(value.unwrap().unwrap(), "late");
    assert_empty(&scheduler);
}

#[test]
fn join_after_the_exit_then_the_value() {
    let mut scheduler = scheduler();
    let value = scheduler.block_on(async {
        let child = spawn(async { vec![1, 2, 3] }).await;
        sleep(SECOND).await;
        child.join().await
    });
    assert_eq!(value.unwrap().unwrap(), [1, 2, 3]);
    assert_empty(&scheduler);
}

#[test]
fn every_waiter_of_an_exit_then_told_in_order() {
    let (mut scheduler, trace) = traced();
    let target = scheduler.spawn(sleep(SECOND));
    let id = target.id();
    let said = Trace::default();
    for name in ["first", "second", "third"] {
        let said = said.clone();
        scheduler
            .spawn(async move {
                let status = wait(id).await.unwrap();
                said.say(format!("{name}: {status}"));
            })
            .detach();
    }
    let theirs = said.clone();
    scheduler
        .spawn(async move {
            target.await.unwrap();
            theirs.say("the handle");
        })
        .detach();
    run_clean(&mut scheduler);
    let expected =
        ["first: returned", "second: returned", "third: returned", "the handle"].map(String::from);
    assert_eq!(said.take(), expected);
    let woken: Vec<String> =
        trace.take().into_iter().filter(|line| line.starts_with("exit of 1 wakes")).collect();
    let expected = [2, 3, 4, 5].map(|waiter| format!("exit of 1 wakes {waiter}"));
    assert_eq!(woken, expected);
}

#[test]
fn wait_dropped_then_the_others_keep_their_order() {
    let mut scheduler = scheduler();
    let said = Trace::default();
    let target = scheduler.spawn(sleep(SECOND * 3));
    let id = target.id();
    for patience in [5, 1, 5, 2, 5] {
        let said = said.clone();
        scheduler
            .spawn(async move {
                let tid = get_tid().await;
                let waited = timeout(SECOND * patience, wait(id)).await;
                said.say(format!("{tid} {}", waited.is_ok()));
            })
            .detach();
    }
    drop(target);
    run_clean(&mut scheduler);
    assert_eq!(said.take(), ["3 false", "5 false", "2 true", "4 true", "6 true"]);
}

/// A parent that is told of its child's exit, and killed before it takes what the child left. With
/// `watched`, another task waits for the child, too.
fn killed_with_an_outcome_untaken<T: 'static>(
    child: impl Future<Output = T> + 'static,
    watched: bool,
) -> (Scheduler, usize) {
    let mut scheduler = scheduler();
    scheduler
        .spawn(async move {
            let child = spawn(async move {
                sleep(SECOND).await;
                child.await
            });
            let child = child.await;
            if watched {
                let id = child.id();
                spawn_detached(async move { drop(wait(id).await) });
                yield_now().await;
            }
            let parent = spawn(async move { drop(child.await) }).await;
            // Its time comes in the same batch, so it runs between the child and the parent.
            sleep(SECOND).await;
            let killed = kill(parent.id()).await;
            assert_eq!(killed, Ok(KillOutcome::Killed));
            assert!(parent.await.unwrap_err().is_killed());
        })
        .detach();
    let report = scheduler.run().unwrap();
    assert_empty(&scheduler);
    (scheduler, report.failures)
}

#[test]
fn handle_told_and_dropped_before_it_takes_then_the_value_is_dropped() {
    let trace = Trace::default();
    let value = says(&trace, "dropped");
    let (_scheduler, failures) = killed_with_an_outcome_untaken(async move { value }, false);
    assert_eq!(trace.take(), ["dropped"]);
    assert_eq!(failures, 0);
}

#[test]
fn panic_told_to_a_handle_that_never_takes_it_then_reported_once() {
    let child = async { panic!("unseen") };
    assert_eq!(killed_with_an_outcome_untaken::<()>(child, false).1, 1);
}

#[test]
fn panic_told_to_a_handle_that_never_takes_it_but_seen_by_a_waiter_then_not_reported() {
    let child = async { panic!("seen") };
    assert_eq!(killed_with_an_outcome_untaken::<()>(child, true).1, 0);
}

#[test]
fn handle_told_while_its_branch_is_lost_then_awaited_again_it_has_the_value() {
    let mut scheduler = scheduler();
    let value = scheduler.block_on(async {
        let mut child = spawn(async {
            yield_now().await;
            7
        })
        .await;
        assert!(poll_once(&mut child).await.is_pending());
        // Told now, and not polled.
        sleep(SECOND).await;
        let gone = wait(child.id()).await;
        (gone, child.await.unwrap())
    });
    assert_eq!(value.unwrap(), (Ok(ExitStatus::Forgotten), 7));
    assert_empty(&scheduler);
}

#[test]
fn join_given_up_through_a_borrow_then_the_handle_is_good_still() {
    let mut scheduler = scheduler();
    let value = scheduler
        .block_on(async {
            let mut child = spawn(sleep(SECOND).map(|_| 9)).await;
            assert!(timeout(SECOND / 2, &mut child).await.is_err());
            child.await.unwrap()
        })
        .unwrap();
    assert_eq!(value, 9);
    assert_empty(&scheduler);
}

#[test]
fn join_under_join_select_and_futures_unordered_then_all_values() {
    let mut scheduler = scheduler();
    let sum = scheduler
        .block_on(async {
            let mut handles = FuturesUnordered::new();
            for value in 0..10_u64 {
                handles.push(
                    spawn(async move {
                        sleep(SECOND * (10 - value as u32)).await;
                        value
                    })
                    .await,
                );
            }
            let mut order = Vec::new();
            while let Some(value) = handles.next().await {
                order.push(value.unwrap());
            }
            assert_eq!(order, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
            let (quick, slow) = (spawn(async { 1 }).await, spawn(sleep(SECOND)).await);
            let slow_id = slow.id();
            let won = futures::select_biased! {
                _ = slow.fuse() => 0,
                value = quick.fuse() => value.unwrap(),
            };
            // The handle went with the branch, so the task is detached, and lives.
            assert_eq!(wait(slow_id).await, Ok(ExitStatus::Returned));
            won
        })
        .unwrap();
    assert_eq!(sum, 1);
    assert_empty(&scheduler);
}

#[test]
fn join_handle_polled_after_it_was_ready_then_that_task_panics() {
    let mut scheduler = scheduler();
    let error = scheduler.spawn(async {
        let mut child = spawn(async {}).await;
        (&mut child).await.unwrap();
        let _ = (&mut child).await;
    });
    let error = scheduler.block_on(error).unwrap().unwrap_err();
    assert!(error.is_panic(), "{error}");
    run_clean(&mut scheduler);
}

#[test]
fn join_in_a_task_of_another_scheduler_then_that_task_panics() {
    let (mut left, mut right) = (scheduler(), scheduler());
    let handle = left.spawn(async { 1 });
    let error = right.spawn(handle);
    let error = right.block_on(error).unwrap().unwrap_err();
    assert!(error.to_string().contains("another scheduler"), "{error}");
    run_clean(&mut left);
    run_clean(&mut right);
}

#[test]
fn task_that_joins_itself_then_a_deadlock_that_names_it() {
    let mut scheduler = scheduler();
    let slot: Slot<JoinHandle<()>> = Slot::new();
    let theirs = slot.clone();
    let own = scheduler.spawn(async move {
        let me = theirs.take().unwrap();
        let _ = me.await;
    });
    slot.put(own);
    let Err(RunError::Deadlock(report)) = scheduler.run() else { panic!("no deadlock") };
    assert_eq!(report.cycle.len(), 1);
    drop(scheduler);
}

// Waiting by id

#[test]
fn wait_then_the_status_of_each_kind_of_end() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let returned = spawn(async {}).await;
            let panicked = spawn(async { panic!("of {}", "old") }).await;
            let killed = spawn(pending::<()>()).await;
            kill(killed.id()).await.unwrap();
            let forgotten = {
                let child = spawn(async {}).await;
                child.id()
            };
            yield_now().await;
            let mut texts = Vec::new();
            for id in [returned.id(), panicked.id(), killed.id(), forgotten] {
                let status = wait(id).await.unwrap();
                texts.push(status.to_string());
                assert_eq!(wait(id).await, Ok(status), "it may be asked for again");
            }
            assert_eq!(texts, ["returned", "panicked: of old", "killed", "ended"]);
            let (tid, place) = (get_tid().await, returned.id().place());
            let never = TaskId::new(tid.sequence() + 100, place);
            assert_eq!(wait(never).await, Err(NoSuchTask));
            assert_eq!(kill(never).await, Err(NoSuchTask));
            assert_eq!(NoSuchTask.to_string(), "no task has ever had this id");
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn wait_for_a_live_detached_task_then_its_status_all_the_same() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let child = spawn(async {
                sleep(SECOND).await;
                panic!("late");
            });
            let child = child.await;
            let id = child.id();
            child.detach();
            assert_eq!(wait(id).await, Ok(ExitStatus::Panicked("late".into())));
            assert_eq!(wait(id).await, Ok(ExitStatus::Forgotten));
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn wait_under_futures_unordered_then_the_text_comes_too() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let ended = spawn(async { panic!("a") }).await;
            yield_now().await;
            let live = spawn(async {
                sleep(SECOND).await;
                panic!("b");
            });
            let live = live.await;
            let mut waits: FuturesUnordered<_> =
                [wait(ended.id()), wait(live.id())].into_iter().collect();
            let mut texts = Vec::new();
            while let Some(status) = waits.next().await {
                texts.push(status.unwrap().to_string());
            }
            assert_eq!(texts, ["panicked: a", "panicked: b"]);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

// Panics

#[test]
fn child_panics_then_its_joiner_gets_the_payload() {
    let mut scheduler = scheduler();
    #[derive(Debug, PartialEq)]
    struct Payload(u8);
    for late in [false, true] {
        let error = scheduler
            .block_on(async {
                let child = spawn(async { panic_any(Payload(7)) }).await;
                if late {
                    sleep(SECOND).await;
                }
                let id = child.id();
                let error: trapline::JoinError = child.await.unwrap_err();
                assert_eq!(error.task(), id);
                error
            })
            .unwrap();
        assert!(error.is_panic() && !error.is_killed());
        let payload = error.try_into_panic().unwrap();
        assert_eq!(payload.downcast_ref(), Some(&Payload(7)));
    }
    run_clean(&mut scheduler);
}

#[test]
fn join_errors_then_they_say_what_happened() {
    let mut scheduler = scheduler();
    let texts = scheduler
        .block_on(async {
            let panicked = spawn(async { panic!("a word") }).await.await.unwrap_err();
            let child = spawn(pending::<()>()).await;
            kill(child.id()).await.unwrap();
            let killed = child.await.unwrap_err();
            let texts = [panicked.to_string(), format!("{panicked:?}"), killed.to_string()];
            assert!(killed.try_into_panic().unwrap_err().is_killed());
            assert_eq!(text_of(&*panicked.try_into_panic().unwrap()), "a word");
            texts
        })
        .unwrap();
    let expected = ["task 2 panicked: a word", "JoinError(task 2 panicked: a word)"];
    assert_eq!(texts[..2], expected);
    assert_eq!(texts[2], "task 3 was killed");
    run_clean(&mut scheduler);
}

#[test]
fn panic_nobody_can_look_at_then_reported_once() {
    // Detached before the exit, detached after it, dropped with its holder, spawned detached.
    let (mut scheduler, trace) = traced();
    scheduler
        .block_on(async {
            spawn(async { panic!("before") }).detach();
            let after = spawn(async { panic!("after") }).await;
            let held = spawn(async { panic!("held") }).await;
            let holder = spawn(async move {
                let _held = held;
                pending::<()>().await;
            });
            let holder = holder.await;
            sleep(SECOND).await;
            drop(after);
            kill(holder.id()).await.unwrap();
            spawn_detached(async { panic!("posted") });
            sleep(SECOND).await;
        })
        .unwrap();
    let report = scheduler.run().unwrap();
    let texts: Vec<&str> = report.first_failures.iter().map(|failure| &*failure.text).collect();
    assert_eq!(texts, ["before", "after", "held", "posted"]);
    assert_eq!(report.failures, 4);
    let told: Vec<String> =
        trace.take().into_iter().filter(|line| line.contains("unseen")).collect();
    assert_eq!(told.len(), 4, "{told:?}");
    assert_eq!(scheduler.run().unwrap().failures, 0, "they are reported once");
    assert_empty(&scheduler);
}

#[test]
fn panic_somebody_looked_at_then_not_reported() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let joined = spawn(async { panic!("joined") }).await;
            let _ = joined.await;
            let waited_before = spawn(async {
                sleep(SECOND).await;
                panic!("waited before")
            });
            wait(waited_before.await.id()).await.unwrap();
            let waited_after = spawn(async { panic!("waited after") }).await;
            sleep(SECOND).await;
            wait(waited_after.id()).await.unwrap();
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn join_dropped_when_the_outcome_was_there_then_the_panic_is_reported() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let child = spawn(async { panic!("missed") }).await;
            let mut child = Box::pin(child);
            assert!(poll_once(&mut child).await.is_pending());
            yield_now().await;
            yield_now().await;
            // The join has been answered and nobody takes the answer.
            drop(child);
        })
        .unwrap();
    let report = scheduler.run().unwrap();
    assert_eq!(report.to_string(), "1 failure\n  task 2: missed");
    assert_empty(&scheduler);
}

#[test]
fn many_failures_then_all_counted_and_the_first_few_kept() {
    let mut scheduler = scheduler();
    for number in 0..100 {
        scheduler.spawn(async move { panic!("failure {number}") }).detach();
    }
    let report = scheduler.run().unwrap();
    assert_eq!(report.failures, 100);
    assert!((1..100).contains(&report.first_failures.len()));
    for (number, failure) in report.first_failures.iter().enumerate() {
        assert_eq!(*failure.text, *format!("failure {number}"));
        assert_eq!(failure.task.sequence(), number as u64 + 1);
    }
    assert_empty(&scheduler);
}

#[test]
fn failures_before_a_deadlock_then_the_next_run_tells_them() {
    let mut scheduler = scheduler();
    let stuck = scheduler.spawn(pending::<()>());
    scheduler.spawn(async { panic!("once") }).detach();
    assert!(matches!(scheduler.run(), Err(RunError::Deadlock(_))));
    scheduler.block_on(kill(stuck.id())).unwrap().unwrap();
    drop(stuck);
    assert_eq!(scheduler.run().unwrap().failures, 1);
    assert_empty(&scheduler);
}

#[test]
fn payload_whose_own_drop_panics_then_the_kernel_goes_on() {
    struct Grenade;
    impl Drop for Grenade {
        fn drop(&mut self) {
            panic!("the payload's destructor");
        }
    }
    let mut scheduler = scheduler();
    scheduler.spawn(async { panic_any(Grenade) }).detach();
    let guard = OnDrop(|| panic_any(Grenade));
    let victim = scheduler.spawn(async move {
        let _guard = guard;
        pending::<()>().await;
    });
    // Its outcome is dropped by the kernel, when the handle goes after the exit.
    let kept = scheduler.spawn(async { panic_any(Grenade) });
    scheduler
        .block_on(async move {
            kill(victim.id()).await.unwrap();
            drop(kept);
        })
        .unwrap();
    let report = scheduler.run().unwrap();
    assert!(report.failures >= 3, "{report}");
    assert_empty(&scheduler);
    assert_eq!(scheduler.block_on(async { 1 }).unwrap(), 1);
}

#[test]
fn task_whose_output_panics_when_dropped_then_reported() {
    let mut scheduler = scheduler();
    let output = || OnDrop(|| panic!("the output's destructor"));
    scheduler.spawn(async move { output() }).detach();
    let kept = scheduler.spawn(async move { output() });
    scheduler.block_on(sleep(SECOND)).unwrap();
    drop(kept);
    let report = scheduler.run().unwrap();
    let texts: Vec<&str> = report.first_failures.iter().map(|failure| &*failure.text).collect();
    assert_eq!(texts, ["the output's destructor"; 2]);
    assert_empty(&scheduler);
}

#[test]
fn future_whose_destructor_panics_after_it_returned_then_the_task_panicked() {
    struct Returns;
    impl Future for Returns {
        type Output = u8;
        fn poll(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u8> {
            Poll::Ready(1)
        }
    }
    impl Drop for Returns {
        fn drop(&mut self) {
            panic!("after its value");
        }
    }
    let mut scheduler = scheduler();
    let handle = scheduler.spawn(Returns);
    let error = scheduler.block_on(handle).unwrap().unwrap_err();
    assert_eq!(error.to_string(), "task 1 panicked: after its value");
    run_clean(&mut scheduler);
}

// Killing, in whatever state the task is

/// Kills a task in some state: its locals' destructors run, its waiters know, and nothing stays.
#[track_caller]
fn killed_in_any_state(prepare: impl AsyncFnOnce(Trace) + 'static) {
    killed_in_any_state_on(builder(), prepare);
}

#[track_caller]
fn killed_in_any_state_on(builder: Builder, prepare: impl AsyncFnOnce(Trace) + 'static) {
    let mut scheduler = builder.build();
    let trace = Trace::default();
    let theirs = trace.clone();
    scheduler
        .block_on(async {
            let victim = spawn(async move {
                let _first = says(&theirs, "first local");
                let _second = says(&theirs, "second local");
                prepare(theirs.clone()).await;
                theirs.say("it came back");
            });
            let victim = victim.name("victim").await;
            let id = victim.id();
            let waiters = [spawn(wait(id)).await, spawn(wait(id)).await];
            yield_now().await;
            yield_now().await;
            assert_eq!(kill(id).await, Ok(KillOutcome::Killed));
            assert_eq!(kill(id).await, Ok(KillOutcome::AlreadyEnded));
            for waiter in waiters {
                assert_eq!(waiter.await.unwrap(), Ok(ExitStatus::Killed));
            }
            assert!(victim.await.unwrap_err().is_killed());
            assert_eq!(wait(id).await, Ok(ExitStatus::Forgotten));
        })
        .unwrap();
    let said = trace.take();
    assert_eq!(said[said.len() - 2..], ["second local", "first local"], "{said:?}");
    assert!(!said.contains(&"it came back".to_owned()));
    run_clean(&mut scheduler);
}

#[test]
fn kill_of_a_task_asleep_then_nothing_of_it_stays() {
    killed_in_any_state(async |_| {
        sleep(SECOND).await;
    });
}

#[test]
fn kill_of_a_ready_task_then_nothing_of_it_stays() {
    killed_in_any_state(async |_| {
        loop {
            yield_now().await;
        }
    });
}

#[test]
fn kill_of_a_task_in_the_middle_of_its_answers_then_nothing_of_it_stays() {
    killed_in_any_state(async |_| {
        loop {
            get_tid().await;
        }
    });
}

#[test]
fn kill_of_a_reader_then_nothing_of_it_stays() {
    killed_in_any_state(async |_| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let _ = read_wait(&ours).await;
    });
}

#[test]
fn kill_of_a_reader_and_writer_then_nothing_of_it_stays() {
    killed_in_any_state(async |_| {
        use std::io::Write;
        let (mut ours, _theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        while ours.write(&[0; 4096]).is_ok() {}
        let _ = futures::join!(read_wait(&ours), write_wait(&ours), read_wait(&ours));
    });
}

#[test]
fn kill_on_a_wait_queue_then_nothing_of_it_stays() {
    killed_in_any_state(async |_| WaitQueue::new(0).park().await);
}

#[test]
fn kill_on_a_join_then_nothing_of_it_stays() {
    killed_in_any_state(async |trace| {
        let child = spawn(async move {
            yield_now().await;
            trace.say("the child runs on");
        });
        let _ = child.await.await;
        pending::<()>().await;
    });
}

#[test]
fn kill_on_a_wait_then_nothing_of_it_stays() {
    killed_in_any_state(async |_| {
        let child = spawn(sleep(SECOND)).await;
        let _ = wait(child.id()).await;
    });
}

#[test]
fn kill_on_a_foreign_future_then_nothing_of_it_stays() {
    killed_in_any_state(async |_| pending::<()>().await);
    killed_in_any_state(async |_| {
        let (_sender, receiver) = futures::channel::oneshot::channel::<()>();
        let _ = receiver.await;
    });
}

#[test]
fn kill_in_a_nested_async_fn_then_nothing_of_it_stays() {
    async fn nested(depth: usize, trace: Trace) {
        let _guard = says(&trace, "a level");
        if depth > 0 {
            Box::pin(nested(depth - 1, trace)).await;
        } else {
            timeout(SECOND * 9, timeout(SECOND, pending::<()>())).await.unwrap().unwrap();
        }
    }
    killed_in_any_state(async |trace| nested(20, trace).await);
}

#[test]
fn kill_under_join_select_and_futures_unordered_then_nothing_of_it_stays() {
    killed_in_any_state(async |_| {
        let queue = WaitQueue::new(0);
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let child = spawn(pending::<()>()).daemon().await;
        let id = child.id();
        let guard = OnDrop(move || post_kill(id));
        let mut calls: FuturesUnordered<_> = (1..50_u32).map(|i| sleep(SECOND * i)).collect();
        futures::join!(
            queue.park(),
            read_wait(&ours).map(drop),
            async {
                let mut asleep = pin!(sleep(SECOND).fuse());
                futures::select_biased! {
                    _ = asleep => {}
                    _ = wait(id).fuse() => {}
                }
            },
            calls.next()
        );
        drop(guard);
    });
}

#[test]
fn kill_on_real_readiness_then_nothing_of_it_stays() {
    killed_in_any_state_on(Scheduler::builder(), async |_| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let _ = read_wait(&ours).await;
    });
}

#[test]
fn kill_of_a_task_not_yet_started_then_it_never_runs() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    // It was spawned after its killer, so it stands behind it.
    let theirs = trace.clone();
    let slot: Slot<TaskId> = Slot::new();
    let id = slot.clone();
    let killer = scheduler.spawn(async move {
        let id = id.take().unwrap();
        assert_eq!(kill(id).await, Ok(KillOutcome::Killed));
    });
    let captured = says(&trace, "captured");
    let victim = scheduler.spawn(async move {
        let _captured = captured;
        theirs.say("it ran");
    });
    slot.put(victim.id());
    scheduler.block_on(killer).unwrap().unwrap();
    assert!(scheduler.block_on(victim).unwrap().unwrap_err().is_killed());
    assert_eq!(trace.take(), ["captured"]);
    run_clean(&mut scheduler);
}

#[test]
fn kill_of_oneself_by_trap_then_it_does_not_come_back() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let theirs = trace.clone();
    let own = scheduler.spawn(async move {
        let _guard = says(&theirs, "gone");
        let me = get_tid().await;
        let _ = kill(me).await;
        theirs.say("it came back");
    });
    assert!(scheduler.block_on(own).unwrap().unwrap_err().is_killed());
    assert_eq!(trace.take(), ["gone"]);
    run_clean(&mut scheduler);
}

#[test]
fn kill_of_oneself_beside_other_calls_then_none_of_them_stays() {
    let mut scheduler = scheduler();
    let queue = Rc::new(WaitQueue::new(0));
    let theirs = Rc::clone(&queue);
    let own = scheduler.spawn(async move {
        let me = get_tid().await;
        let _ = futures::join!(
            sleep(SECOND),
            theirs.park(),
            spawn(pending::<()>()),
            kill(me),
            spawn(pending::<()>()),
            wait(me),
            kill(me),
        );
    });
    assert!(scheduler.block_on(own).unwrap().unwrap_err().is_killed());
    assert_eq!(queue.waiting(), 0);
    // Of the two children one was served before the kill: it runs detached.
    assert!(
        matches!(scheduler.run(), Err(RunError::Deadlock(report)) if report.blocked.len() == 1)
    );
    assert_eq!(scheduler.table_sizes()[1..], [0; 5]);
    scheduler.check_invariants();
}

#[test]
fn kill_of_oneself_by_post_then_it_ends_when_its_turn_is_over() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let theirs = trace.clone();
    let own = scheduler.spawn(async move {
        let _guard = says(&theirs, "gone");
        post_kill(get_tid().await);
        theirs.say("the turn goes on");
        yield_now().await;
        theirs.say("it came back");
    });
    assert!(scheduler.block_on(own).unwrap().unwrap_err().is_killed());
    assert_eq!(trace.take(), ["the turn goes on", "gone"]);
    run_clean(&mut scheduler);
}

#[test]
fn post_kill_of_oneself_before_returning_then_killed() {
    let mut scheduler = scheduler();
    let own = scheduler.spawn(async {
        post_kill(get_tid().await);
        5
    });
    assert!(scheduler.block_on(own).unwrap().unwrap_err().is_killed());
    // The root of `block_on` is a task like others.
    let root = scheduler.block_on(async {
        post_kill(get_tid().await);
        5
    });
    assert!(matches!(root, Err(RunError::Killed)), "{root:?}");
    run_clean(&mut scheduler);
}

#[test]
fn post_kill_of_oneself_before_a_panic_then_killed_and_the_panic_is_not_lost() {
    let mut scheduler = scheduler();
    let own = scheduler.spawn(async {
        post_kill(get_tid().await);
        panic!("too late");
    });
    assert!(scheduler.block_on(own).unwrap().unwrap_err().is_killed());
    scheduler.check_invariants();
    let _ = scheduler.run().unwrap();
    assert_empty(&scheduler);
}

#[test]
fn kill_of_oneself_moved_to_another_task_then_it_answers_there() {
    let mut scheduler = scheduler();
    let slot = Slot::new();
    let theirs = slot.clone();
    let own = scheduler.spawn(async move {
        let mut call = Box::pin(kill(get_tid().await));
        assert!(poll_once(&mut call).await.is_pending());
        theirs.put(call);
        pending::<()>().await;
    });
    let id = own.id();
    scheduler
        .block_on(async {
            assert_eq!(wait(id).await, Ok(ExitStatus::Killed));
            let call = slot.take().unwrap();
            assert_eq!(timeout(SECOND, call).await, Ok(Ok(KillOutcome::Killed)));
        })
        .unwrap();
    drop(own);
    run_clean(&mut scheduler);
}

#[test]
fn kill_of_an_ended_task_then_it_says_so_and_the_result_stays() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let ended = spawn(async { 8 }).await;
            sleep(SECOND).await;
            assert_eq!(kill(ended.id()).await, Ok(KillOutcome::AlreadyEnded));
            post_kill(ended.id());
            yield_now().await;
            assert_eq!(ended.await.unwrap(), 8);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn kill_twice_in_one_turn_then_the_second_finds_it_ended() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let victim = spawn(pending::<()>()).await;
            let id = victim.id();
            let both = futures::join!(kill(id), kill(id));
            assert_eq!(both, (Ok(KillOutcome::Killed), Ok(KillOutcome::AlreadyEnded)));
            post_kill(id);
            post_kill(id);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn kill_whose_answer_nobody_takes_then_the_task_ends_all_the_same() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let victim = spawn(pending::<()>()).await;
            let mut call = Box::pin(kill(victim.id()));
            assert!(poll_once(&mut call).await.is_pending());
            yield_now().await;
            drop(call);
            assert!(victim.await.unwrap_err().is_killed());
        })
        .unwrap();
    run_clean(&mut scheduler);
}

// Killing the root of block_on

#[test]
fn kill_of_the_root_by_another_task_then_an_error_and_its_destructors_have_run() {
    for quantum in [1, 32] {
        let mut scheduler = builder().quantum(quantum).build();
        let dropped = Cell::new(false);
        let result = scheduler.block_on(async {
            let _guard = OnDrop(|| dropped.set(true));
            let me = get_tid().await;
            spawn(async move {
                assert_eq!(kill(me).await, Ok(KillOutcome::Killed));
                assert_eq!(kill(me).await, Ok(KillOutcome::AlreadyEnded));
                assert_eq!(wait(me).await, Ok(ExitStatus::Forgotten));
            })
            .detach();
            sleep(SECOND).await;
        });
        assert!(matches!(result, Err(RunError::Killed)), "{result:?}");
        assert!(dropped.get());
        run_clean(&mut scheduler);
    }
}

#[test]
fn kill_of_the_root_then_who_waits_for_it_is_told() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let result = scheduler.block_on(async {
        let me = get_tid().await;
        let trace = trace.clone();
        spawn(async move {
            trace.say(wait(me).await.unwrap());
        })
        .detach();
        yield_now().await;
        let _ = kill(me).await;
        unreachable!("it came back");
    });
    assert!(matches!(result, Err(RunError::Killed)));
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["killed"]);
}

#[test]
fn block_on_future_that_kills_itself_in_its_destructor_then_the_next_one_runs() {
    let mut scheduler = scheduler();
    for by_trap in [true, false] {
        let result = scheduler.block_on(async {
            let me = get_tid().await;
            let _guard = OnDrop(move || post_kill(me));
            if by_trap {
                let _ = kill(me).await;
            } else {
                pending::<()>().await;
            }
        });
        assert!(result.is_err());
        assert_eq!(scheduler.block_on(async { yield_now().map(|()| 3).await }).unwrap(), 3);
        assert_empty(&scheduler);
    }
    let returns = scheduler.block_on(async {
        let me = get_tid().await;
        let guard = OnDrop(move || post_kill(me));
        Box::leak(Box::new(guard));
    });
    assert!(returns.is_ok());
    assert_eq!(scheduler.block_on(async { 4 }).unwrap(), 4);
}

#[test]
fn root_whose_destructor_panics_at_kill_then_killed_and_reported() {
    let mut scheduler = scheduler();
    let result = scheduler.block_on(async {
        let _guard = OnDrop(|| panic!("on the way out"));
        let _ = kill(get_tid().await).await;
    });
    assert!(matches!(result, Err(RunError::Killed)), "{result:?}");
    let report = scheduler.run().unwrap();
    assert_eq!(report.to_string(), "1 failure\n  task 1: on the way out");
    assert_empty(&scheduler);
}

// Destructors at kill

#[test]
fn destructor_at_kill_then_it_may_post_and_may_not_trap() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let queue = Rc::new(WaitQueue::new(0));
    let (other_queue, theirs) = (Rc::clone(&queue), trace.clone());
    let guard = OnDrop(move || {
        other_queue.wake();
        theirs.say("it posted");
        let words = theirs.clone();
        spawn_detached(async move { words.say("spawned by a destructor") });
        let mut call = pin!(yield_now());
        let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        theirs.say("it trapped");
    });
    let theirs = trace.clone();
    scheduler
        .block_on(async move {
            let victim = spawn(async move {
                let _guard = guard;
                pending::<()>().await;
            });
            let victim = victim.await;
            let waiter = spawn(async move {
                queue.park().await;
                theirs.say("the waiter has its token");
            });
            let waiter = waiter.await;
            yield_now().await;
            kill(victim.id()).await.unwrap();
            assert!(victim.await.unwrap_err().is_killed());
            waiter.await.unwrap();
        })
        .unwrap();
    let report = scheduler.run().unwrap();
    assert_eq!(report.failures, 1);
    let text = &report.first_failures[0].text;
    assert!(text.contains("outside a task"), "{text}");
    let said = trace.take();
    assert_eq!(said, ["it posted", "the waiter has its token", "spawned by a destructor"]);
    assert_empty(&scheduler);
}

#[test]
fn destructor_that_panics_at_kill_then_killed_and_reported() {
    let (mut scheduler, trace) = traced();
    scheduler
        .block_on(async {
            let victim = spawn(async {
                let _guard = OnDrop(|| panic!("in the destructor"));
                pending::<()>().await;
            });
            let victim = victim.await;
            let waiter = spawn(wait(victim.id())).await;
            yield_now().await;
            assert_eq!(kill(victim.id()).await, Ok(KillOutcome::Killed));
            assert_eq!(waiter.await.unwrap(), Ok(ExitStatus::Killed));
            assert!(victim.await.unwrap_err().is_killed());
        })
        .unwrap();
    let report = scheduler.run().unwrap();
    assert_eq!(report.to_string(), "1 failure\n  task 2: in the destructor");
    assert!(trace.take().contains(&"2 failed, unseen: in the destructor".to_owned()));
    assert_empty(&scheduler);
}

#[test]
fn destructor_that_kills_another_then_a_chain_of_any_length_ends() {
    // Each kills the next when it goes; by a loop, for a recursion would overflow the stack.
    const LENGTH: usize = 20_000;
    let mut scheduler = scheduler();
    let mut next: Option<TaskId> = None;
    let gone = Rc::new(Cell::new(0));
    for _ in 0..LENGTH {
        let (counter, target) = (Rc::clone(&gone), next);
        let guard = OnDrop(move || {
            counter.set(counter.get() + 1);
            if let Some(target) = target {
                post_kill(target);
            }
        });
        let task = scheduler.spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        next = Some(task.id());
        task.detach();
    }
    scheduler.block_on(kill(next.unwrap())).unwrap().unwrap();
    assert_eq!(gone.get(), LENGTH);
    run_clean(&mut scheduler);
}

#[test]
fn destructor_that_kills_its_own_task_then_nothing_more_happens() {
    let mut scheduler = scheduler();
    let victim = scheduler.spawn(async {
        let me = get_tid().await;
        let _guard = OnDrop(move || post_kill(me));
        pending::<()>().await;
    });
    scheduler
        .block_on(async move {
            yield_now().await;
            assert_eq!(kill(victim.id()).await, Ok(KillOutcome::Killed));
            assert!(victim.await.unwrap_err().is_killed());
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn destructor_that_kills_whom_its_own_task_waited_for_then_both_go() {
    // The guard posts the kill before the wait beside it is withdrawn.
    for keep_handle in [false, true] {
        let mut scheduler = scheduler();
        let target = scheduler.spawn(pending::<()>());
        let id = target.id();
        let others = [scheduler.spawn(wait(id)), scheduler.spawn(wait(id))];
        let victim = scheduler.spawn(async move {
            struct Both<F>(OnDrop<F>, trapline::Wait)
            where
                F: FnMut();
            let mut both = Both(OnDrop(move || post_kill(id)), wait(id));
            let _ = &both.0;
            let _ = (&mut both.1).await;
        });
        let victim_id = victim.id();
        victim.detach();
        let mut target = Some(target);
        target.take_if(|_| !keep_handle);
        scheduler
            .block_on(async {
                yield_now().await;
                kill(victim_id).await.unwrap();
                for other in others {
                    assert_eq!(other.await.unwrap(), Ok(ExitStatus::Killed));
                }
            })
            .unwrap();
        drop(target);
        run_clean(&mut scheduler);
    }
}

#[test]
fn kill_of_a_waiter_and_of_its_target_in_one_turn_then_both_go() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let target = spawn(pending::<()>()).await;
            let id = target.id();
            target.detach();
            let waiters = [spawn(wait(id)).await, spawn(wait(id)).await, spawn(wait(id)).await];
            yield_now().await;
            let ids = waiters.each_ref().map(JoinHandle::id);
            let (_, _, child) = futures::join!(kill(ids[1]), kill(id), spawn(pending::<()>()));
            let [first, second, third] = waiters;
            assert_eq!(first.await.unwrap(), Ok(ExitStatus::Killed));
            assert!(second.await.unwrap_err().is_killed());
            assert_eq!(third.await.unwrap(), Ok(ExitStatus::Killed));
            // The child may have the target's place; those who wait for it are its own.
            let late = spawn(wait(child.id())).await;
            yield_now().await;
            kill(child.id()).await.unwrap();
            assert_eq!(late.await.unwrap(), Ok(ExitStatus::Killed));
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn destructor_that_wakes_then_the_token_goes_to_who_is_left() {
    let mut scheduler = scheduler();
    let queue = Rc::new(WaitQueue::new(0));
    let trace = Trace::default();
    let mut tasks = Vec::new();
    for name in ["a", "b", "c"] {
        let (queue, trace) = (Rc::clone(&queue), trace.clone());
        tasks.push(scheduler.spawn(async move {
            queue.park().await;
            trace.say(name);
            queue.wake();
        }));
    }
    let ids: Vec<TaskId> = tasks.iter().map(JoinHandle::id).collect();
    scheduler
        .block_on(async {
            yield_now().await;
            assert_eq!(queue.waiting(), 3);
            // Woken and killed in one turn, with the token in hand.
            queue.wake();
            post_kill(ids[0]);
            yield_now().await;
            yield_now().await;
            yield_now().await;
        })
        .unwrap();
    assert_eq!(trace.take(), ["b", "c"]);
    assert_eq!((queue.tokens(), queue.waiting()), (1, 0));
    drop(tasks);
    run_clean(&mut scheduler);
}

#[test]
fn calls_moved_out_of_a_killed_task_then_they_live_on() {
    let mut scheduler = scheduler();
    let calls = Rc::new(RefCell::new(Vec::new()));
    let theirs = Rc::clone(&calls);
    let target = scheduler.spawn(sleep(SECOND * 2));
    let id = target.id();
    let holder = scheduler.spawn(async move {
        let mut first = Box::pin(sleep(SECOND).map(|_| "the sleep"))
            as std::pin::Pin<Box<dyn Future<Output = &'static str>>>;
        let mut second = Box::pin(wait(id).map(|_| "the wait")) as std::pin::Pin<Box<_>>;
        assert!(poll_once(&mut first).await.is_pending());
        assert!(poll_once(&mut second).await.is_pending());
        theirs.borrow_mut().extend([first, second]);
        pending::<()>().await;
    });
    scheduler
        .block_on(async {
            yield_now().await;
            kill(holder.id()).await.unwrap();
            for word in ["the sleep", "the wait"] {
                let call = calls.borrow_mut().remove(0);
                assert_eq!(call.await, word);
            }
        })
        .unwrap();
    drop((target, holder));
    run_clean(&mut scheduler);
}

#[test]
fn waker_that_panics_on_wake_then_reported_and_the_kernel_goes_on() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("in the waker");
        }
    }
    let mut scheduler = scheduler();
    let waker = Waker::from(Arc::new(Panics));
    let task = scheduler.spawn(async move {
        let mut asleep = Box::pin(sleep(SECOND));
        let mut gone = Box::pin(wait(get_tid().await));
        let mut cx = Context::from_waker(&waker);
        assert!(asleep.as_mut().poll(&mut cx).is_pending());
        assert!(gone.as_mut().poll(&mut cx).is_pending());
        sleep(SECOND * 2).await;
        // The reply is there, though its waker panicked.
        assert_eq!(asleep.await.as_nanos(), 1_000_000_000);
        drop(gone);
        "here"
    });
    assert_eq!(scheduler.block_on(task).unwrap().unwrap(), "here");
    let report = scheduler.run().unwrap();
    assert_eq!(report.failures, 1);
    assert_eq!(&*report.first_failures[0].text, "in the waker");
    assert_empty(&scheduler);
}

// Spawning, dropped half way

#[test]
fn spawn_dropped_before_it_is_polled_then_nothing_starts() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let theirs = trace.clone();
    scheduler
        .block_on(async {
            let captured = says(&theirs, "dropped");
            drop(spawn(async move {
                let _captured = captured;
            }));
            theirs.say("then");
            sleep(SECOND).await;
        })
        .unwrap();
    assert_eq!(trace.take(), ["dropped", "then"]);
    run_clean(&mut scheduler);
}

#[test]
fn spawner_killed_before_it_takes_the_handle_then_the_child_runs_detached() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let theirs = trace.clone();
    let parent = scheduler.spawn(async move {
        let said = theirs.clone();
        let child = spawn(async move {
            yield_now().await;
            yield_now().await;
            said.say("the child");
            panic!("nobody looks");
        });
        let _child = child.await;
        theirs.say("the parent");
    });
    let id = parent.id();
    parent.detach();
    // The parent has spawned, and stands in the queue with the reply in its slot.
    scheduler.step();
    scheduler
        .block_on(async {
            // A kill by post, in the root's first turn, reaches it too late: it stands before us.
            post_kill(id);
        })
        .unwrap();
    let report = scheduler.run().unwrap();
    assert_eq!(report.failures, 1);
    assert_eq!(trace.take().last().unwrap(), "the child");
    assert_empty(&scheduler);
}

#[test]
fn spawn_answered_and_not_taken_then_the_child_runs_detached() {
    let mut scheduler = scheduler();
    let ran = Rc::new(Cell::new(false));
    let theirs = Rc::clone(&ran);
    scheduler
        .block_on(async {
            let mut call = Box::pin(spawn(async move {
                sleep(SECOND).await;
                theirs.set(true);
            }));
            assert!(poll_once(&mut call).await.is_pending());
            yield_now().await;
            drop(call);
        })
        .unwrap();
    run_clean(&mut scheduler);
    assert!(ran.get());
}

#[test]
fn handle_that_a_task_holds_of_itself_then_nothing_stays() {
    let mut scheduler = scheduler();
    let slot: Slot<JoinHandle<()>> = Slot::new();
    let theirs = slot.clone();
    let own = scheduler.spawn(async move {
        let _me = theirs.take();
        sleep(SECOND).await;
    });
    slot.put(own);
    run_clean(&mut scheduler);
}

#[test]
fn handle_dropped_after_the_scheduler_then_nothing_happens() {
    let trace = Trace::default();
    let mut first = scheduler();
    let value = says(&trace, "the value");
    let ended = first.spawn(async move { value });
    let live = first.spawn(pending::<()>());
    assert!(matches!(first.run(), Err(RunError::Deadlock(_))));
    drop(first);
    assert_eq!(trace.take(), ["the value"]);
    // The ring may be another scheduler's now: the handles must not reach its tasks.
    let mut second = scheduler();
    let theirs = [second.spawn(async { 1 }), second.spawn(async { 2 })];
    drop((ended, live));
    assert!(second.run().is_ok());
    for (handle, value) in theirs.into_iter().zip([1, 2]) {
        assert_eq!(second.block_on(handle).unwrap().unwrap(), value);
    }
    run_clean(&mut second);
}

#[test]
fn handle_of_a_scheduler_that_is_gone_awaited_then_that_task_panics() {
    let handle = scheduler().spawn(async {});
    let mut next = scheduler();
    let task = next.spawn(handle);
    assert!(next.block_on(task).unwrap().unwrap_err().is_panic());
    run_clean(&mut next);
}

#[test]
fn scheduler_dropped_then_destructors_run_and_what_they_post_is_forgotten() {
    let trace = Trace::default();
    let mut scheduler = scheduler();
    let queue = Rc::new(WaitQueue::new(0));
    for _ in 0..3 {
        let (trace, queue) = (trace.clone(), Rc::clone(&queue));
        let guard = OnDrop({
            let (trace, queue) = (trace.clone(), Rc::clone(&queue));
            move || {
                queue.wake();
                let guard = says(&trace, "dropped unrun");
                spawn_detached(async move {
                    let _guard = guard;
                    unreachable!("it ran");
                });
                trace.say("destructor");
            }
        });
        scheduler
            .spawn(async move {
                let _guard = guard;
                queue.park().await;
                trace.say("it came back");
            })
            .detach();
    }
    assert!(matches!(scheduler.run(), Err(RunError::Deadlock(_))));
    drop(scheduler);
    let said = trace.take();
    assert_eq!(said.iter().filter(|word| *word == "destructor").count(), 3);
    assert_eq!(said.iter().filter(|word| *word == "dropped unrun").count(), 3);
    assert_eq!(said.len(), 6, "{said:?}");
    assert_eq!((queue.tokens(), queue.waiting()), (3, 0), "no token is lost");
}

// Ids

#[test]
fn ids_after_the_last_one_then_they_begin_again_and_old_ones_stay_good() {
    let mut scheduler = builder().last_sequence(TaskId::MAX_SEQUENCE - 2).build();
    let live = scheduler.spawn(pending::<()>());
    let ended = scheduler.spawn(async { "kept" });
    assert_eq!(live.id().sequence(), TaskId::MAX_SEQUENCE - 1);
    assert_eq!(ended.id().sequence(), TaskId::MAX_SEQUENCE);
    assert_eq!(scheduler.block_on(async { get_tid().await.sequence() }).unwrap(), 1);
    // From the start once more, beside the two at the end.
    let second = scheduler.spawn(pending::<()>());
    assert_eq!(second.id().sequence(), 2);
    scheduler
        .block_on(async {
            assert_eq!(kill(live.id()).await, Ok(KillOutcome::Killed));
            assert_eq!(wait(live.id()).await, Ok(ExitStatus::Killed));
            assert_eq!(ended.await.unwrap(), "kept");
            kill(second.id()).await.unwrap();
        })
        .unwrap();
    drop((live, second));
    run_clean(&mut scheduler);
}

#[test]
fn old_id_then_it_never_names_the_new_task_at_its_place() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let old = {
                let task = spawn(async {}).await;
                let id = task.id();
                task.await.unwrap();
                id
            };
            yield_now().await;
            let new = spawn(pending::<()>()).await;
            assert_eq!(new.id().place(), old.place(), "else this test tests nothing");
            assert_eq!(kill(old).await, Ok(KillOutcome::AlreadyEnded));
            post_kill(old);
            yield_now().await;
            assert_eq!(wait(old).await, Ok(ExitStatus::Forgotten));
            assert_eq!(kill(new.id()).await, Ok(KillOutcome::Killed));
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn server_of_detached_tasks_then_nothing_piles_up() {
    let mut scheduler = scheduler();
    scheduler
        .spawn(async {
            for _ in 0..10_000 {
                spawn(async { yield_now().await }).await.detach();
                yield_now().await;
            }
        })
        .detach();
    let mut most = [0; 6];
    while !scheduler.step().is_last() {
        let sizes = scheduler.table_sizes();
        for (most, size) in most.iter_mut().zip(sizes) {
            *most = size.max(*most);
        }
    }
    assert!(most.iter().all(|&size| size < 8), "{most:?}");
    assert_empty(&scheduler);
}

#[test]
fn task_that_holds_its_own_waker_killed_then_waking_it_does_nothing() {
    let mut scheduler = scheduler();
    let slot = Slot::new();
    let theirs = slot.clone();
    let task = scheduler.spawn_with(TaskOptions::new().name("kept"), async move {
        poll_fn(|cx| {
            theirs.put(cx.waker().clone());
            Poll::<()>::Pending
        })
        .await;
    });
    scheduler
        .block_on(async {
            yield_now().await;
            kill(task.id()).await.unwrap();
            let waker = slot.take().unwrap();
            waker.wake_by_ref();
            yield_now().await;
            // Its place is another's now, and so it may not have the waker either.
            drop(task);
            yield_now().await;
            let next = spawn(pending::<()>()).await;
            waker.wake_by_ref();
            yield_now().await;
            waker.wake();
            kill(next.id()).await.unwrap();
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn root_whose_destructor_panics_in_a_deadlock_then_the_error_and_reported() {
    let mut scheduler = scheduler();
    let error = scheduler.block_on(async {
        let _guard = OnDrop(|| panic!("given up"));
        pending::<()>().await;
    });
    assert!(matches!(error, Err(RunError::Deadlock(_))), "{error:?}");
    let report = scheduler.run().unwrap();
    assert_eq!(report.to_string(), "1 failure\n  task 1: given up");
    assert_empty(&scheduler);
}

#[test]
fn wait_withdrawn_as_its_target_panics_then_the_panic_is_unseen() {
    /// Panics, with another task's wait for it among its fields.
    struct Panics {
        slot: Slot<Wait>,
        held: Option<Wait>,
        polled: bool,
    }

    impl Future for Panics {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            if !std::mem::replace(&mut self.polled, true) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.held = self.slot.take();
            panic!("unseen");
        }
    }

    let mut scheduler = scheduler();
    let slot = Slot::new();
    let panics = scheduler.spawn(Panics { slot: slot.clone(), held: None, polled: false });
    let id = panics.id();
    panics.detach();
    scheduler
        .spawn(async move {
            let mut waiting = wait(id);
            assert!(poll_once(&mut waiting).await.is_pending());
            slot.put(waiting);
        })
        .detach();
    assert_eq!(scheduler.run().unwrap().failures, 1);
    assert_empty(&scheduler);
}

/// A probe that drops what it was given as soon as the outside has been looked at.
fn probe_drops(thing: impl Future<Output = Box<dyn Any>> + 'static) {
    let held: Slot<Box<dyn Any>> = Slot::new();
    let (given, armed) = (held.clone(), Rc::new(Cell::new(false)));
    let probe_armed = armed.clone();
    let mut scheduler = builder()
        .probe(move |event: &Event<'_>| {
            if probe_armed.get() && matches!(event, Event::Outside { .. }) {
                drop(held.take());
            }
        })
        .build();
    scheduler
        .spawn(async move {
            given.put(thing.await);
            armed.set(true);
            sleep(SECOND).await;
        })
        .detach();
    run_clean(&mut scheduler);
}

#[test]
fn handle_told_and_dropped_by_the_probe_then_nothing_stays() {
    probe_drops(async {
        let mut handle = spawn(async {
            yield_now().await;
            5
        })
        .await;
        assert!(poll_once(&mut handle).await.is_pending());
        sleep(SECOND).await;
        Box::new(handle) as Box<dyn Any>
    });
}

#[test]
fn blocked_call_dropped_by_the_probe_then_nothing_stays() {
    probe_drops(async {
        let mut nap = sleep(9 * SECOND);
        assert!(poll_once(&mut nap).await.is_pending());
        Box::new(nap) as Box<dyn Any>
    });
}
