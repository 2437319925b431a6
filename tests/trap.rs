//! One call from birth to end: where it may be made, polled, moved and dropped.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt;
use support::{
    Counter, OnDrop, Slot, Trace, assert_empty, builder, give_way, panic_of, poll_idly, poll_once,
    poll_under, run_clean, scheduler, text_of, traced,
};
use trapline::{CallId, KernelFace, OwnCall, RunError, Served, StepEvent, WaitQueue, own_call};

const SECOND: Duration = Duration::from_secs(1);

/// A call of the program's own that is answered at once.
struct Seven;

impl OwnCall for Seven {
    type Reply = i32;

    fn name(&self) -> &'static str {
        "seven"
    }

    fn serve(&mut self, _: &mut dyn KernelFace, _: CallId) -> Served<i32> {
        Served::Answer(7)
    }
}

// Made in the wrong place.

#[track_caller]
fn assert_helpful(text: &str) {
    assert!(text.contains("outside a task"), "{text}");
    assert!(text.contains("Scheduler::spawn") && text.contains("Scheduler::block_on"), "{text}");
}

#[test]
fn call_made_outside_a_task_then_the_panic_names_its_line() {
    let line = line!() + 1;
    let text = panic_of(|| poll_idly(&mut trapline::sleep(SECOND)));
    assert!(text.contains(&format!("made at tests/trap.rs:{line}:")), "{text}");
    assert_helpful(&text);
}

#[test]
fn call_outside_a_task_then_a_panic_that_helps() {
    let queue = WaitQueue::new(1);
    let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
    assert_helpful(&panic_of(|| poll_idly(&mut trapline::yield_now())));
    assert_helpful(&panic_of(|| poll_idly(&mut trapline::get_tid())));
    assert_helpful(&panic_of(|| poll_idly(&mut trapline::sleep(SECOND))));
    assert_helpful(&panic_of(|| poll_idly(&mut Box::pin(trapline::spawn(async {})))));
    assert_helpful(&panic_of(|| poll_idly(&mut trapline::read_wait(&socket))));
    assert_helpful(&panic_of(|| poll_idly(&mut queue.park())));
    assert_helpful(&panic_of(|| poll_idly(&mut own_call(Seven))));
    assert_eq!(queue.tokens(), 1);
    let mut handle = scheduler().spawn(async {});
    assert_helpful(&panic_of(|| poll_idly(&mut handle)));
}

#[test]
fn call_under_another_executor_then_a_panic_that_helps() {
    assert_helpful(&panic_of(|| futures::executor::block_on(trapline::sleep(SECOND))));
}

#[test]
fn call_between_two_steps_then_a_panic_that_helps() {
    let mut scheduler = scheduler();
    scheduler.spawn(trapline::sleep(SECOND)).detach();
    scheduler.step();
    assert_helpful(&panic_of(|| poll_idly(&mut trapline::now())));
    run_clean(&mut scheduler);
}

#[test]
fn call_polled_outside_first_then_it_may_be_made_in_a_task() {
    let mut scheduler = scheduler();
    let mut yielded = trapline::yield_now();
    let mut slept = trapline::sleep(SECOND);
    let mut called = own_call(Seven);
    let mut spawned = Box::pin(trapline::spawn(async { 8 }));
    panic_of(|| poll_idly(&mut yielded));
    panic_of(|| poll_idly(&mut slept));
    panic_of(|| poll_idly(&mut called));
    panic_of(|| poll_idly(&mut spawned));
    let answers = scheduler.block_on(async move {
        yielded.await;
        slept.await;
        (called.await, spawned.await.await.unwrap())
    });
    assert_eq!(answers.unwrap(), (7, 8));
    run_clean(&mut scheduler);
}

#[test]
fn post_outside_a_scheduler_then_a_panic() {
    let id = scheduler().spawn(async {}).id();
    panic_of(|| trapline::post_kill(id));
    panic_of(|| trapline::spawn_detached(async {}));
    panic_of(|| trapline::spawn(async {}).detach());
}

// Destructors.

/// Posts, and tries to trap, when it is dropped; writes down how that went.
fn meddling_destructor(trace: &Trace) -> impl Sized + 'static {
    let trace = trace.clone();
    OnDrop(move || {
        let child = trace.clone();
        trapline::spawn_detached(async move { child.say("a posted task ran") });
        trace.say("posted");
        let refused = trapline::Scheduler::new().run();
        assert!(matches!(refused, Err(RunError::InsideTask)));
        match catch_unwind(AssertUnwindSafe(|| trapline::yield_now().now_or_never())) {
            Ok(polled) => trace.say(format!("trapped: {polled:?}")),
            Err(payload) => {
                let text = text_of(&*payload);
                assert!(text.contains("a destructor may post, but cannot trap"), "{text}");
                trace.say("refused");
            }
        }
        let _ = trapline::sleep(SECOND).now_or_never();
        trace.say("not reached, where a trap is refused");
    })
}

#[test]
fn destructor_at_kill_posts_then_it_works_and_its_trap_stays_in_the_guard() {
    let trace = Trace::default();
    let mut scheduler = scheduler();
    let meddler = meddling_destructor(&trace);
    let victim = scheduler.spawn(async move {
        let _meddler = meddler;
        pending::<()>().await;
    });
    let id = victim.id();
    let killed = scheduler.block_on(async move {
        trapline::kill(id).await.unwrap();
        victim.await.unwrap_err().is_killed()
    });
    assert!(killed.unwrap());
    let report = scheduler.run().unwrap();
    assert_eq!(trace.take(), ["posted", "refused", "a posted task ran"]);
    assert_eq!(report.failures, 1, "the second trap's panic is reported");
    assert_eq!(report.first_failures[0].task, id);
    assert!(report.first_failures[0].text.contains("outside a task"));
    assert_empty(&scheduler);
}

#[test]
fn destructor_at_scheduler_drop_posts_then_nothing_runs_and_its_trap_stays_in_the_guard() {
    for started in [true, false] {
        let trace = Trace::default();
        let mut scheduler = scheduler();
        for _ in 0..3 {
            let meddler = meddling_destructor(&trace);
            scheduler
                .spawn(async move {
                    let _meddler = meddler;
                    trapline::sleep(SECOND).await;
                })
                .detach();
        }
        for _ in 0..if started { 3 } else { 0 } {
            scheduler.step();
        }
        drop(scheduler);
        assert_eq!(trace.take(), ["posted", "refused"].repeat(3));
    }
}

#[test]
fn destructor_at_an_ordinary_end_then_it_may_trap_as_the_task_may() {
    let trace = Trace::default();
    let mut scheduler = scheduler();
    let lines = trace.clone();
    scheduler
        .spawn(async move {
            let _late = OnDrop(move || {
                lines.say(format!("{:?}", trapline::yield_now().now_or_never()));
            });
        })
        .detach();
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["None"], "polled once, then withdrawn with the destructor's frame");
}

#[test]
fn posted_tasks_destructor_at_scheduler_drop_then_what_it_posts_is_forgotten() {
    let depth = Rc::new(Cell::new(0));
    fn nest(depth: Rc<Cell<u32>>) -> impl Sized {
        OnDrop(move || {
            depth.set(depth.get() + 1);
            if depth.get() < 100 {
                let inner: Box<dyn std::any::Any> = Box::new(nest_boxed(Rc::clone(&depth)));
                trapline::spawn_detached(async move { drop(inner) });
            }
        })
    }
    fn nest_boxed(depth: Rc<Cell<u32>>) -> impl Sized + 'static {
        let nested: Box<dyn FnMut()> = {
            let depth = Rc::clone(&depth);
            Box::new(move || drop(nest(Rc::clone(&depth))))
        };
        OnDrop(nested)
    }
    let mut scheduler = scheduler();
    let nested = nest(Rc::clone(&depth));
    scheduler
        .spawn(async move {
            let _nested = nested;
            pending::<()>().await;
        })
        .detach();
    scheduler.step();
    drop(scheduler);
    assert_eq!(depth.get(), 2, "the task's own, and the posted one's");
}

#[test]
fn scheduler_dropped_inside_another_ones_task_then_both_keep_apart() {
    let trace = Trace::default();
    let mut inner = scheduler();
    let meddler = meddling_destructor(&trace);
    inner
        .spawn(async move {
            let _meddler = meddler;
            trapline::sleep(SECOND).await;
        })
        .detach();
    inner.step();
    let mut outer = scheduler();
    let lines = trace.clone();
    let now = outer.block_on(async move {
        trapline::sleep(SECOND).await;
        let mut before = trapline::sleep(SECOND);
        assert!(poll_once(&mut before).await.is_pending());
        drop(inner);
        lines.say("dropped");
        before.await;
        trapline::now().await.as_nanos()
    });
    assert_eq!(now.unwrap(), 2_000_000_000);
    run_clean(&mut outer);
    assert_eq!(trace.take(), ["posted", "refused", "dropped"]);
}

#[test]
fn scheduler_made_and_dropped_inside_a_task_then_the_tasks_own_goes_on() {
    let mut outer = scheduler();
    outer
        .block_on(async {
            let mut inner = scheduler();
            let handle = inner.spawn(async { trapline::get_tid().await });
            assert!(matches!(inner.run(), Err(RunError::InsideTask)));
            assert!(matches!(inner.block_on(async {}), Err(RunError::InsideTask)));
            assert!(panic_of(|| inner.step()).contains("a task cannot step a scheduler"));
            assert_eq!(inner.table_sizes()[0], 1, "it is intact");
            drop(inner);
            drop(handle);
            assert_eq!(trapline::get_tid().await.sequence(), 1);
        })
        .unwrap();
    run_clean(&mut outer);
}

#[test]
fn run_of_the_running_scheduler_inside_its_task_then_an_error_and_it_runs_on() {
    let scheduler = Rc::new(RefCell::new(scheduler()));
    let theirs = Rc::clone(&scheduler);
    let refused = Rc::new(Cell::new(false));
    let seen = Rc::clone(&refused);
    let mut outer = support::scheduler();
    // It is the thread that counts: the scheduler that is asked need not be the one at work.
    outer
        .block_on(async move {
            let result = theirs.borrow_mut().run();
            seen.set(matches!(result, Err(RunError::InsideTask)));
            trapline::yield_now().await;
        })
        .unwrap();
    assert!(refused.get());
    run_clean(&mut scheduler.borrow_mut());
    run_clean(&mut outer);
}

// Dropped.

#[test]
fn dropped_before_its_first_poll_then_the_kernel_never_hears_of_it() {
    let (mut scheduler, trace) = traced();
    scheduler
        .block_on(async {
            drop(trapline::sleep(SECOND));
            drop(trapline::spawn(async {}));
            drop(trapline::now());
            drop(own_call(Seven));
        })
        .unwrap();
    assert_eq!(trace.take(), ["program spawns 1", "1 is taken", "1 ends: returned"]);
    run_clean(&mut scheduler);
}

#[test]
fn dropped_in_the_poll_that_made_it_then_it_is_not_served() {
    let (mut scheduler, trace) = traced();
    let started = Rc::new(Cell::new(false));
    let flag = Rc::clone(&started);
    scheduler
        .block_on(async move {
            assert_eq!(trapline::sleep(SECOND).now_or_never(), None);
            assert!(trapline::spawn(async move { flag.set(true) }).now_or_never().is_none());
            assert!(own_call(Seven).now_or_never().is_none());
            trapline::yield_now().await;
        })
        .unwrap();
    let _ = scheduler.run().unwrap();
    assert!(!started.get());
    assert_eq!(
        trace.take(),
        [
            "program spawns 1",
            "1 is taken",
            "1 yield_now() = done, to the back",
            "1 is taken",
            "1 ends: returned"
        ]
    );
    assert_empty(&scheduler);
}

#[test]
fn dropped_after_its_reply_and_before_it_is_taken_then_nothing_is_left() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let mut now = trapline::now();
            let mut seven = own_call(Seven);
            let mut spawn = Box::pin(trapline::spawn(async { String::from("unread") }));
            assert!(poll_once(&mut now).await.is_pending());
            assert!(poll_once(&mut seven).await.is_pending());
            assert!(poll_once(&mut spawn).await.is_pending());
            trapline::yield_now().await;
            drop((now, seven, spawn));
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn dropped_outside_any_scheduler_then_the_wait_is_forgotten_at_its_next_step() {
    let mut scheduler = scheduler();
    let slot = Slot::new();
    let theirs = slot.clone();
    scheduler
        .spawn(async move {
            let mut sleep = trapline::sleep(SECOND);
            assert!(poll_once(&mut sleep).await.is_pending());
            theirs.put(sleep);
            pending::<()>().await;
        })
        .detach();
    scheduler.step();
    assert_eq!(scheduler.table_sizes()[1..3], [1, 1]);
    drop(slot.take());
    assert!(matches!(scheduler.step().event(), StepEvent::Deadlock));
    assert_eq!(scheduler.table_sizes()[1..3], [0, 0]);
}

#[test]
fn dropped_in_another_schedulers_task_then_the_wait_is_forgotten_in_its_own() {
    let (mut first, mut second) = (scheduler(), scheduler());
    let slot = Slot::new();
    let theirs = slot.clone();
    first
        .spawn(async move {
            let mut sleep = trapline::sleep(SECOND);
            assert!(poll_once(&mut sleep).await.is_pending());
            theirs.put(sleep);
            trapline::sleep(3 * SECOND).await;
        })
        .detach();
    first.step();
    second.block_on(async move { drop(slot.take()) }).unwrap();
    run_clean(&mut second);
    assert_eq!(first.table_sizes()[2], 2, "a post waits for the next step");
    first.spawn(async {}).detach();
    first.step();
    assert_eq!(first.table_sizes()[2], 1);
    run_clean(&mut first);
}

#[test]
fn dropped_after_its_scheduler_then_nothing_happens() {
    for answered in [false, true] {
        let mut scheduler = scheduler();
        let slot = Slot::new();
        let theirs = slot.clone();
        scheduler
            .block_on(async move {
                let queue: &'static WaitQueue = Box::leak(Box::new(WaitQueue::new(0)));
                let mut calls: Vec<futures::future::LocalBoxFuture<'static, ()>> = vec![
                    trapline::sleep(SECOND).map(drop).boxed_local(),
                    queue.park().boxed_local(),
                    own_call(Seven).map(drop).boxed_local(),
                    trapline::spawn(async {}).map(drop).boxed_local(),
                    trapline::wait(trapline::get_tid().await).map(drop).boxed_local(),
                ];
                for call in &mut calls {
                    assert!(poll_idly(call).is_pending());
                }
                if answered {
                    queue.wake();
                    trapline::sleep(2 * SECOND).await;
                }
                theirs.put(calls);
            })
            .unwrap();
        drop(scheduler);
        // A next scheduler, which has the same ring, is not disturbed.
        let mut next = support::scheduler();
        let untouched = next.spawn(trapline::sleep(SECOND));
        next.step();
        drop(slot.take());
        next.block_on(untouched).unwrap().unwrap();
        run_clean(&mut next);
    }
}

#[test]
fn polled_after_its_scheduler_then_a_panic_that_says_so() {
    for again in [false, true] {
        let mut scheduler = scheduler();
        let slot = Slot::new();
        let theirs = slot.clone();
        scheduler
            .block_on(async move {
                let mut sleep = trapline::sleep(SECOND);
                assert!(poll_once(&mut sleep).await.is_pending());
                theirs.put(sleep);
            })
            .unwrap();
        drop(scheduler);
        let mut sleep = slot.take().unwrap();
        let text = if again {
            let mut next = support::scheduler();
            panic_of(move || next.block_on(sleep))
        } else {
            panic_of(|| poll_idly(&mut sleep))
        };
        assert_eq!(text, "a system call was polled after its scheduler was dropped");
    }
}

#[test]
fn spawn_dropped_after_its_reply_then_the_task_runs_detached() {
    let (mut scheduler, trace) = traced();
    scheduler
        .block_on(async {
            let mut spawn = Box::pin(trapline::spawn(trapline::yield_now()));
            assert!(poll_once(&mut spawn).await.is_pending());
            trapline::yield_now().await;
            drop(spawn);
        })
        .unwrap();
    run_clean(&mut scheduler);
    assert!(trace.take().contains(&"2 ends: returned".to_owned()));
}

// Moved.

#[test]
fn task_moved_before_its_first_poll_then_its_calls_work() {
    async fn work() -> u64 {
        trapline::sleep(SECOND).await;
        trapline::now().await.as_nanos()
    }
    let mut scheduler = scheduler();
    let mut moved = vec![work()];
    moved.reserve(100);
    let boxed = Box::new(moved.pop().unwrap());
    let child = scheduler.spawn(*boxed);
    assert_eq!(scheduler.block_on(child).unwrap().unwrap(), 1_000_000_000);
    run_clean(&mut scheduler);
}

/// A call of each kind that blocks: how to make one, and how to have it answered.
type Blocking = (futures::future::LocalBoxFuture<'static, ()>, Box<dyn FnOnce()>);

fn each_blocking_call(child: trapline::TaskId) -> Vec<Blocking> {
    use std::io::Write;

    let queue: &'static WaitQueue = Box::leak(Box::new(WaitQueue::new(0)));
    let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let read = async move { trapline::read_wait(&ours).await.unwrap() };
    vec![
        (trapline::sleep(SECOND).map(drop).boxed_local(), Box::new(|| ())),
        (
            trapline::wait(child).map(drop).boxed_local(),
            Box::new(move || trapline::post_kill(child)),
        ),
        (queue.park().boxed_local(), Box::new(|| queue.wake())),
        (read.boxed_local(), Box::new(move || theirs.write_all(b"!").unwrap())),
    ]
}

#[test]
fn pending_call_moved_to_another_task_then_it_is_answered_there_alone() {
    for kind in 0..4 {
        for killed in [false, true] {
            let (mut scheduler, trace) = traced();
            let child = scheduler.spawn(pending::<()>());
            let (call, answer) = each_blocking_call(child.id()).swap_remove(kind);
            let slot = Slot::new();
            let theirs = slot.clone();
            let giver = scheduler.spawn(async move {
                let mut call = call;
                assert!(poll_once(&mut call).await.is_pending());
                give_way().await;
                theirs.put(call);
                if !killed {
                    trapline::sleep(9 * SECOND).await;
                }
            });
            let taker = scheduler.spawn(async move {
                trapline::sleep(Duration::from_nanos(1)).await;
                slot.take().unwrap().await;
            });
            let (first, second) = (giver.id(), taker.id());
            giver.detach();
            scheduler
                .spawn(async move {
                    trapline::sleep(Duration::from_nanos(2)).await;
                    answer();
                })
                .detach();
            scheduler.block_on(taker).unwrap().unwrap();
            let wakes = trace.take();
            assert!(
                !wakes.iter().any(|line| line.ends_with(&format!(" wakes {first}"))),
                "kind {kind}: the first task is left alone: {wakes:?}"
            );
            assert!(wakes.iter().any(|line| line.starts_with(&format!("{second} gets "))));
            child.detach();
        }
    }
}

#[test]
fn kill_of_oneself_that_lives_elsewhere_then_it_is_answered_there() {
    let mut scheduler = scheduler();
    let slot = Slot::new();
    let theirs = slot.clone();
    let victim = scheduler.spawn(async move {
        let me = trapline::get_tid().await;
        theirs.put(trapline::kill(me));
        std::future::poll_fn(|cx| {
            let mut kill = theirs.take().unwrap();
            assert!(poll_under(&mut kill, cx.waker()).is_pending());
            theirs.put(kill);
            std::task::Poll::<()>::Pending
        })
        .await;
    });
    let outcome = scheduler.block_on(async move {
        assert!(victim.await.unwrap_err().is_killed());
        slot.take().unwrap().await
    });
    assert_eq!(outcome.unwrap(), Ok(trapline::KillOutcome::Killed));
    run_clean(&mut scheduler);
}

// Polled again.

#[test]
fn polled_again_after_it_was_ready_then_a_panic_in_that_task_alone() {
    let mut scheduler = scheduler();
    let child = scheduler.spawn(async {
        let mut now = trapline::now();
        (&mut now).await;
        (&mut now).await;
    });
    let other = scheduler.spawn(trapline::sleep(SECOND));
    let error = scheduler.block_on(child).unwrap().unwrap_err();
    let text = text_of(&*error.try_into_panic().unwrap());
    assert_eq!(text, "a system call was polled again after it was ready");
    scheduler.block_on(other).unwrap().unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn every_kind_polled_again_after_it_was_ready_then_the_same_words() {
    let queue: &'static WaitQueue = Box::leak(Box::new(WaitQueue::new(1)));
    let mut scheduler = scheduler();
    macro_rules! twice {
        ($call:expr) => {{
            let child = scheduler.spawn(async move {
                let mut call = Box::pin($call);
                call.as_mut().map(drop).await;
                call.as_mut().map(drop).await;
            });
            let error = scheduler.block_on(child).unwrap().unwrap_err();
            text_of(&*error.try_into_panic().unwrap())
        }};
    }
    let words = "a system call was polled again after it was ready";
    assert_eq!(twice!(queue.park()), words);
    assert_eq!(twice!(own_call(Seven)), words);
    assert_eq!(twice!(trapline::spawn(async {})), words);
    assert_eq!(twice!(trapline::sleep(SECOND)), words);
    let handle = scheduler.spawn(async {});
    assert_eq!(twice!(handle), words);
    assert_eq!(queue.tokens(), 0);
    run_clean(&mut scheduler);
}

#[test]
fn polled_spuriously_then_one_reply_neither_lost_nor_doubled() {
    let (mut scheduler, trace) = traced();
    let woken = scheduler.block_on(async {
        let mut sleep = trapline::sleep(SECOND);
        for _ in 0..5 {
            assert!(poll_once(&mut sleep).await.is_pending());
            give_way().await;
        }
        sleep.await.as_nanos()
    });
    assert_eq!(woken.unwrap(), 1_000_000_000);
    let lines = trace.take();
    let calls = lines.iter().filter(|line| line.contains("sleep")).count();
    let answers = lines.iter().filter(|line| line.starts_with("1 gets")).count();
    assert_eq!((calls, answers), (1, 1), "{lines:?}");
    run_clean(&mut scheduler);
}

#[test]
fn woken_by_a_foreign_waker_while_a_call_is_answered_then_it_runs_once_for_both() {
    let (mut scheduler, trace) = traced();
    let waker = Slot::new();
    let theirs = waker.clone();
    let queue: &'static WaitQueue = Box::leak(Box::new(WaitQueue::new(0)));
    scheduler
        .spawn(async move {
            std::future::poll_fn(|cx| {
                theirs.put(cx.waker().clone());
                std::task::Poll::Ready(())
            })
            .await;
            queue.park().await;
        })
        .detach();
    scheduler
        .spawn(async move {
            let waker: std::task::Waker = waker.take().unwrap();
            waker.wake_by_ref();
            queue.wake();
            waker.wake_by_ref();
            trapline::yield_now().await;
            // The task has ended: this reaches no one.
            waker.wake();
        })
        .detach();
    run_clean(&mut scheduler);
    assert_eq!(
        trace.take(),
        [
            "program spawns 1",
            "program spawns 2",
            "1 is taken",
            "1 park(queue 0) blocks",
            "2 is taken",
            "2 wakes 1",
            "1 gets a token",
            "2 yield_now() = done, to the back",
            "1 is taken",
            "1 ends: returned",
            "2 is taken",
            "2 ends: returned",
        ]
    );
}

#[test]
fn polled_under_a_foreign_waker_then_that_is_woken_once() {
    let mut scheduler = scheduler();
    let (counter, waker) = Counter::new();
    let seen = std::sync::Arc::clone(&counter);
    scheduler
        .block_on(async move {
            let mut sleep = trapline::sleep(SECOND);
            for _ in 0..3 {
                assert!(poll_under(&mut sleep, &waker).is_pending());
            }
            trapline::sleep(2 * SECOND).await;
            assert_eq!(counter.count(), 1);
            assert!(poll_under(&mut sleep, &waker).is_ready());
        })
        .unwrap();
    assert_eq!(seen.count(), 1);
    run_clean(&mut scheduler);
}

#[test]
fn answered_at_once_under_a_foreign_waker_then_that_is_woken_once() {
    let queue: &'static WaitQueue = Box::leak(Box::new(WaitQueue::new(1)));
    let mut scheduler = scheduler();
    let child = scheduler.spawn(async {});
    scheduler.step();
    let mut calls: Vec<futures::future::LocalBoxFuture<'static, ()>> = vec![
        trapline::yield_now().boxed_local(),
        trapline::now().map(drop).boxed_local(),
        trapline::get_tid().map(drop).boxed_local(),
        trapline::sleep(Duration::ZERO).map(drop).boxed_local(),
        trapline::wait(child.id()).map(drop).boxed_local(),
        child.map(drop).boxed_local(),
        trapline::spawn(async {}).map(drop).boxed_local(),
        own_call(Seven).map(drop).boxed_local(),
        queue.park().boxed_local(),
    ];
    scheduler
        .block_on(async move {
            for (kind, call) in calls.iter_mut().enumerate() {
                let (counter, waker) = Counter::new();
                assert!(poll_under(call, &waker).is_pending());
                trapline::yield_now().await;
                assert_eq!(counter.count(), 1, "kind {kind}");
                assert!(poll_under(call, &waker).is_ready());
            }
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn rebooked_from_a_foreign_waker_to_the_tasks_own_then_the_foreign_one_is_let_go() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let (counter, waker) = Counter::new();
            let mut sleep = trapline::sleep(SECOND);
            assert!(poll_under(&mut sleep, &waker).is_pending());
            drop(waker);
            assert_eq!(std::sync::Arc::strong_count(&counter), 2, "the call holds it");
            assert!(poll_once(&mut sleep).await.is_pending());
            assert_eq!(std::sync::Arc::strong_count(&counter), 1, "and lets it go");
            sleep.await;
            assert_eq!(counter.count(), 0);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn polled_outside_any_task_while_pending_then_its_waker_is_woken() {
    let mut scheduler = scheduler();
    let slot = Slot::new();
    let theirs = slot.clone();
    scheduler
        .spawn(async move {
            let mut sleep = trapline::sleep(SECOND);
            assert!(poll_once(&mut sleep).await.is_pending());
            theirs.put(sleep);
            trapline::sleep(2 * SECOND).await;
        })
        .detach();
    scheduler.step();
    let (counter, waker) = Counter::new();
    let mut sleep = slot.take().unwrap();
    assert!(poll_under(&mut sleep, &waker).is_pending());
    let _ = scheduler.run().unwrap();
    assert_eq!(counter.count(), 1);
    assert!(poll_under(&mut sleep, &waker).is_ready());
    assert_empty(&scheduler);
}

// The root of `block_on`.

#[test]
fn root_killed_whose_destructor_kills_it_again_then_the_next_root_is_not_touched() {
    let mut scheduler = scheduler();
    let killed = scheduler.block_on(async {
        let me = trapline::get_tid().await;
        let _again = OnDrop(move || trapline::post_kill(me));
        trapline::kill(me).await.unwrap();
    });
    assert!(matches!(killed, Err(RunError::Killed)));
    let next = scheduler.block_on(async {
        trapline::yield_now().await;
        5
    });
    assert_eq!(next.unwrap(), 5);
    run_clean(&mut scheduler);
}

#[test]
fn task_posts_its_own_kill_and_returns_then_it_was_killed() {
    let mut scheduler = scheduler();
    let child = scheduler.spawn(async {
        let me = trapline::get_tid().await;
        trapline::post_kill(me);
    });
    let error = scheduler.block_on(child).unwrap().unwrap_err();
    assert!(error.is_killed(), "posts come before the exit of the same turn");
    let root = scheduler.block_on(async {
        let me = trapline::get_tid().await;
        trapline::post_kill(me);
    });
    assert!(matches!(root, Err(RunError::Killed)), "{root:?}");
    run_clean(&mut scheduler);
}

#[test]
fn root_that_borrows_is_killed_while_blocked_then_its_calls_are_gone() {
    let queue = WaitQueue::new(0);
    let mut scheduler = scheduler();
    let killer = scheduler.spawn(async {
        let target = 2;
        let tasks = own_call(Ids).await;
        let root = tasks.into_iter().find(|id| id.sequence() == target).unwrap();
        trapline::kill(root).await.unwrap();
    });
    let result = scheduler.block_on(async {
        futures::join!(queue.park(), trapline::sleep(SECOND));
    });
    assert!(matches!(result, Err(RunError::Killed)));
    assert_eq!(queue.waiting(), 0);
    scheduler.block_on(killer).unwrap().unwrap();
    run_clean(&mut scheduler);
}

/// The ids of all tasks.
struct Ids;

impl OwnCall for Ids {
    type Reply = Vec<trapline::TaskId>;

    fn name(&self) -> &'static str {
        "ids"
    }

    fn serve(&mut self, kernel: &mut dyn KernelFace, _: CallId) -> Served<Self::Reply> {
        Served::Answer(kernel.tasks().into_iter().map(|task| task.id).collect())
    }
}

#[test]
fn quantum_of_any_size_then_the_same_calls_are_served() {
    for quantum in [0, 1, 2, 3, 32, u32::MAX] {
        let mut scheduler = builder().quantum(quantum).build();
        let sum = scheduler.block_on(async {
            let handles: Vec<_> = futures::future::join_all((0..10).map(|n| {
                trapline::spawn(async move {
                    for _ in 0..n {
                        trapline::now().await;
                        trapline::yield_now().await;
                    }
                    n
                })
            }))
            .await;
            futures::future::join_all(handles).await.into_iter().map(Result::unwrap).sum::<i32>()
        });
        assert_eq!(sum.unwrap(), 45, "quantum {quantum}");
        run_clean(&mut scheduler);
    }
}
