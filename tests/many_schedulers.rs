//! Several schedulers: one after the other, side by side, one inside another's task, one a thread.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use futures::FutureExt;
use futures::future::pending;
use support::{
    OnDrop, Slot, Trace, assert_empty, builder, panic_of, poll_idly, poll_once, run_clean,
    scheduler, traced,
};
use trapline::{
    CallId, KernelFace, OwnCall, RunError, Scheduler, Served, StepEvent, WaitQueue, own_call,
};
use trapline_abi::KernelRing;

const SECOND: Duration = Duration::from_secs(1);

/// A little of everything.
async fn busy() -> u64 {
    let queue = WaitQueue::new(0);
    let child = trapline::spawn(async {
        trapline::sleep(SECOND).await;
        trapline::get_tid().await.sequence()
    })
    .await;
    futures::join!(queue.park(), async {
        trapline::yield_now().await;
        queue.wake();
    });
    child.await.unwrap() + trapline::now().await.as_nanos()
}

// One after the other.

#[test]
fn one_after_the_other_then_each_starts_afresh() {
    for _ in 0..10 {
        let (mut scheduler, trace) = traced();
        assert_eq!(scheduler.block_on(busy()).unwrap(), 1_000_000_002);
        assert_eq!(trace.take()[0], "program spawns 1");
        run_clean(&mut scheduler);
    }
}

#[test]
fn one_after_the_other_then_their_traces_are_the_same() {
    let trace_of_one = || {
        let (mut scheduler, trace) = traced();
        scheduler
            .block_on(async {
                busy().await;
                assert!(poll_once(&mut trapline::sleep(SECOND)).await.is_pending());
                let mut sleep = trapline::sleep(SECOND);
                assert!(poll_once(&mut sleep).await.is_pending());
                trapline::yield_now().await;
                drop(sleep);
                trapline::yield_now().await;
            })
            .unwrap();
        trace.take()
    };
    let first = trace_of_one();
    assert!(first.iter().any(|line| line.contains("withdraw")), "{first:?}");
    assert_eq!(first, trace_of_one());
}

#[test]
fn a_million_one_after_the_other_then_one_ring_is_left() {
    // In a thread of its own, which no other test has left a ring in.
    let rings = thread::spawn(|| {
        let before = KernelRing::retired_in_this_thread();
        for _ in 0..1_000_000 {
            let mut scheduler = Scheduler::builder().virtual_clock().build();
            scheduler.spawn(pending::<()>()).detach();
            let step = scheduler.step();
            assert_eq!(step.event(), StepEvent::Waits);
        }
        (before, KernelRing::retired_in_this_thread())
    });
    assert_eq!(rings.join().unwrap(), (0, 1));
}

#[test]
fn a_hundred_at_once_then_a_hundred_rings_that_are_used_again() {
    let rings = thread::spawn(|| {
        for _ in 0..3 {
            let mut all: Vec<_> = (0..100).map(|_| scheduler()).collect();
            for scheduler in &mut all {
                scheduler.block_on(busy()).unwrap();
            }
            drop(all);
        }
        KernelRing::retired_in_this_thread()
    });
    assert_eq!(rings.join().unwrap(), 100);
}

#[test]
fn rings_of_schedulers_that_panicked_or_were_left_half_way_then_they_are_used_again() {
    let rings = thread::spawn(|| {
        for _ in 0..10 {
            let mut scheduler = scheduler();
            let text = panic_of(|| {
                scheduler.block_on(async {
                    trapline::yield_now().await;
                    panic!("the root panics");
                })
            });
            assert_eq!(text, "the root panics");
            scheduler.spawn(busy()).detach();
            scheduler.step();
        }
        KernelRing::retired_in_this_thread()
    });
    assert_eq!(rings.join().unwrap(), 1);
}

/// Waits for ever; or answers the call that `self` names.
enum Line {
    Wait(Rc<RefCell<Vec<CallId>>>),
    Answer(CallId),
}

impl OwnCall for Line {
    type Reply = bool;

    fn name(&self) -> &'static str {
        "line"
    }

    fn serve(&mut self, kernel: &mut dyn KernelFace, call: CallId) -> Served<bool> {
        match self {
            Line::Wait(waiting) => {
                waiting.borrow_mut().push(call);
                Served::Block
            }
            Line::Answer(other) => Served::Answer(kernel.answer(*other, Box::new(true)).is_ok()),
        }
    }
}

#[test]
fn stale_call_of_a_retired_ring_then_no_new_call_is_reached_by_it() {
    let slot = Slot::new();
    let ids: Rc<RefCell<Vec<CallId>>> = Rc::default();
    let mut first = scheduler();
    let (theirs, line) = (slot.clone(), Rc::clone(&ids));
    first
        .block_on(async move {
            let mut calls: Vec<_> = (0..8).map(|_| trapline::sleep(SECOND)).collect();
            for call in &mut calls {
                assert!(poll_once(call).await.is_pending());
            }
            let mut own = own_call(Line::Wait(line));
            assert!(poll_once(&mut own).await.is_pending());
            trapline::yield_now().await;
            theirs.put((calls, own));
        })
        .unwrap();
    drop(first);
    let mut second = scheduler();
    let (calls, mut own) = slot.take().unwrap();
    let line = Rc::clone(&ids);
    let sleepers: Vec<_> = (0..20).map(|_| second.spawn(trapline::sleep(SECOND))).collect();
    let waiter = second.spawn(async move { own_call(Line::Wait(line)).await });
    for _ in 0..21 {
        second.step();
    }
    let before = second.table_sizes();
    // Polled, answered by id, dropped: all of it reaches nobody.
    assert!(panic_of(|| poll_idly(&mut own)).contains("after its scheduler was dropped"));
    drop((calls, own));
    assert_eq!(second.table_sizes(), before);
    let (stale, live) = (ids.borrow()[0], ids.borrow()[1]);
    assert_ne!(stale, live);
    let answers = second.block_on(async move {
        (own_call(Line::Answer(stale)).await, own_call(Line::Answer(live)).await)
    });
    assert_eq!(answers.unwrap(), (false, true));
    assert!(second.block_on(waiter).unwrap().unwrap());
    for sleeper in sleepers {
        second.block_on(sleeper).unwrap().unwrap();
    }
    run_clean(&mut second);
}

#[test]
fn stale_handle_of_a_scheduler_that_is_gone_then_no_new_task_is_reached_by_it() {
    let mut first = scheduler();
    let finished = first.spawn(async { 1 });
    let unfinished = first.spawn(pending::<i32>());
    let _ = first.step();
    let _ = first.step();
    drop(first);
    let mut second = scheduler();
    let kept = second.spawn(async { 2 });
    let sibling = second.spawn(async { 3 });
    for stale in [finished, unfinished] {
        assert!(stale.id() == kept.id() || stale.id() == sibling.id());
        let joiner = second.spawn(stale.map(drop));
        let error = second.block_on(joiner).unwrap().unwrap_err();
        assert!(error.to_string().contains("task of another scheduler"), "{error}");
    }
    assert_eq!(second.block_on(kept).unwrap().unwrap(), 2);
    assert_eq!(second.block_on(sibling).unwrap().unwrap(), 3);
    run_clean(&mut second);
}

#[test]
fn handle_dropped_after_its_scheduler_then_no_new_task_is_detached() {
    let mut first = scheduler();
    let stale = first.spawn(pending::<i32>());
    drop(first);
    let mut second = scheduler();
    let kept = second.spawn(async { 2 });
    assert_eq!(stale.id(), kept.id());
    drop(stale);
    let _ = second.run().unwrap();
    assert_eq!(second.block_on(kept).unwrap().unwrap(), 2);
    run_clean(&mut second);
}

// Side by side.

#[test]
fn two_stepped_in_turn_then_they_do_not_mix() {
    for quantum in [1, 2, 32] {
        let trace = Trace::default();
        let mut pair: Vec<Scheduler> = ["left", "right"]
            .into_iter()
            .map(|name| {
                let mut scheduler = builder().quantum(quantum).build();
                for index in 0..3 {
                    let lines = trace.clone();
                    scheduler
                        .spawn(async move {
                            let me = trapline::get_tid().await;
                            assert_eq!(me.sequence(), index + 1);
                            for turn in 0..3 {
                                lines.say(format!("{name} {me} {turn}"));
                                trapline::yield_now().await;
                            }
                            assert_eq!(trapline::sleep(SECOND).await.as_nanos(), 1_000_000_000);
                        })
                        .detach();
                }
                scheduler
            })
            .collect();
        let mut ended = [false; 2];
        while ended.contains(&false) {
            for (scheduler, ended) in pair.iter_mut().zip(&mut ended) {
                *ended = *ended || scheduler.step().is_last();
            }
        }
        let lines = trace.take();
        for name in ["left", "right"] {
            let of_one: Vec<_> = lines.iter().filter(|line| line.starts_with(name)).collect();
            let mut expected = Vec::new();
            for turn in 0..3 {
                expected.extend((1..=3).map(|task| format!("{name} {task} {turn}")));
            }
            assert_eq!(of_one, expected.iter().collect::<Vec<_>>());
        }
        assert!(lines[..4].iter().any(|line| line.starts_with("right")), "in turn: {lines:?}");
        pair.iter().for_each(assert_empty);
    }
}

#[test]
fn call_first_polled_in_one_and_then_in_the_other_then_it_is_answered_there() {
    let (mut first, mut second) = (scheduler(), scheduler());
    let slot = Slot::new();
    let theirs = slot.clone();
    first
        .spawn(async move {
            let mut sleep = trapline::sleep(SECOND);
            assert!(poll_once(&mut sleep).await.is_pending());
            theirs.put(sleep);
            trapline::sleep(5 * SECOND).await;
        })
        .detach();
    first.step();
    let taker = second.spawn(async move {
        let at = slot.take().unwrap().await;
        (at.as_nanos(), trapline::now().await.as_nanos())
    });
    second.step();
    assert_eq!(second.table_sizes()[1..3], [0, 0], "the call stays in its own ring");
    let _ = first.run().unwrap();
    assert_eq!(first.table_sizes(), [0, 1, 0, 0, 0, 0], "the reply waits to be taken");
    assert_eq!(second.block_on(taker).unwrap().unwrap(), (1_000_000_000, 0));
    assert_empty(&first);
    run_clean(&mut second);
}

#[test]
fn every_kind_of_call_finished_under_another_scheduler_then_its_reply_is_the_first_ones() {
    let (mut first, mut second) = (scheduler(), scheduler());
    let slot = Slot::new();
    let theirs = slot.clone();
    let queue: &'static WaitQueue = Box::leak(Box::new(WaitQueue::new(0)));
    let ended = first.spawn(async { "joined there" });
    first
        .spawn(async move {
            let mut spawn = Box::pin(trapline::spawn(async { "spawned here" }));
            let mut handle = ended;
            let mut park = queue.park();
            let mut me = trapline::get_tid();
            let mut own = own_call(Line::Answer(own_id().await));
            assert!(poll_once(&mut spawn).await.is_pending());
            assert!(poll_once(&mut handle).await.is_pending());
            assert!(poll_once(&mut park).await.is_pending());
            assert!(poll_once(&mut me).await.is_pending());
            assert!(poll_once(&mut own).await.is_pending());
            theirs.put((spawn, handle, park, me, own));
            trapline::sleep(5 * SECOND).await;
        })
        .detach();
    for _ in 0..3 {
        first.step();
    }
    let handle = Slot::new();
    let handles = handle.clone();
    let spawned = second.block_on(async move {
        let (spawn, handle, park, me, own) = slot.take().unwrap();
        assert_eq!(trapline::get_tid().await.sequence(), 1);
        assert_eq!(me.await.sequence(), 2);
        assert_eq!(handle.await.unwrap(), "joined there");
        assert!(!own.await);
        queue.wake();
        park.await;
        handles.put(spawn.await);
    });
    spawned.unwrap();
    // The handle is of the scheduler in which the spawn was made.
    let handle = handle.take().unwrap();
    assert_eq!(first.block_on(handle).unwrap().unwrap(), "spawned here");
    run_clean(&mut first);
    run_clean(&mut second);
}

/// The id of a call that has been taken.
async fn own_id() -> CallId {
    struct Mine;
    impl OwnCall for Mine {
        type Reply = CallId;

        fn name(&self) -> &'static str {
            "mine"
        }

        fn serve(&mut self, _: &mut dyn KernelFace, call: CallId) -> Served<CallId> {
            Served::Answer(call)
        }
    }
    own_call(Mine).await
}

#[test]
fn answer_to_a_call_of_another_scheduler_then_the_reply_comes_back() {
    let (mut first, mut second) = (scheduler(), scheduler());
    let ids: Rc<RefCell<Vec<CallId>>> = Rc::default();
    for scheduler in [&mut first, &mut second] {
        let line = Rc::clone(&ids);
        scheduler.spawn(async move { own_call(Line::Wait(line)).await }).detach();
        scheduler.step();
    }
    let theirs = ids.borrow()[0];
    let reached = second.block_on(own_call(Line::Answer(theirs))).unwrap();
    assert!(!reached, "an id of the first scheduler reached a call of the second");
}

#[test]
fn handle_of_one_awaited_in_the_other_then_a_panic_there_that_says_so() {
    let (mut first, mut second) = (scheduler(), scheduler());
    let handle = first.spawn(async { 1 });
    let stranger = second.spawn(async move { handle.await.unwrap() });
    let error = second.block_on(stranger).unwrap().unwrap_err();
    assert!(error.to_string().contains("joined by a task of another scheduler"), "{error}");
    run_clean(&mut second);
    run_clean(&mut first);
}

#[test]
fn waker_of_one_called_by_a_task_of_the_other_then_it_is_woken() {
    let (mut first, mut second) = (scheduler(), scheduler());
    let (sender, receiver) = futures::channel::oneshot::channel();
    let receiver = first.spawn(receiver);
    first.step();
    second.block_on(async move { sender.send("across").unwrap() }).unwrap();
    assert_eq!(first.block_on(receiver).unwrap().unwrap(), Ok("across"));
    run_clean(&mut first);
    run_clean(&mut second);
}

#[test]
fn waker_called_between_the_steps_and_after_the_end_then_it_does_what_it_can() {
    let mut scheduler = scheduler();
    let wakers = Slot::new();
    let theirs = wakers.clone();
    let task = scheduler.spawn(std::future::poll_fn(move |cx| {
        let first = !theirs.is_full();
        theirs.put(cx.waker().clone());
        if first { std::task::Poll::Pending } else { std::task::Poll::Ready(7) }
    }));
    scheduler.step();
    let waker: std::task::Waker = wakers.take().unwrap();
    wakers.put(waker.clone());
    waker.wake_by_ref();
    waker.wake_by_ref();
    assert_eq!(scheduler.block_on(task).unwrap().unwrap(), 7);
    waker.wake_by_ref();
    let next = scheduler.spawn(trapline::sleep(SECOND));
    waker.wake_by_ref();
    scheduler.block_on(next).unwrap().unwrap();
    run_clean(&mut scheduler);
    drop(scheduler);
    waker.wake();
}

// Inside.

#[test]
fn run_step_and_block_on_inside_any_task_then_refused_and_all_is_well() {
    let mut other = scheduler();
    other.spawn(busy()).detach();
    let mut outer = scheduler();
    let mut other = outer
        .block_on(async move {
            assert!(matches!(other.run(), Err(RunError::InsideTask)));
            assert!(matches!(other.block_on(busy()), Err(RunError::InsideTask)));
            panic_of(|| other.step());
            trapline::yield_now().await;
            other
        })
        .unwrap();
    run_clean(&mut outer);
    run_clean(&mut other);
}

#[test]
fn run_inside_a_destructor_or_a_handler_then_refused() {
    struct Run;
    impl OwnCall for Run {
        type Reply = bool;

        fn name(&self) -> &'static str {
            "run"
        }

        fn serve(&mut self, _: &mut dyn KernelFace, _: CallId) -> Served<bool> {
            Served::Answer(matches!(Scheduler::new().run(), Err(RunError::InsideTask)))
        }
    }
    let mut scheduler = scheduler();
    assert!(scheduler.block_on(own_call(Run)).unwrap());
    let refused = Slot::new();
    let theirs = refused.clone();
    let guard = OnDrop(move || theirs.put(Scheduler::new().run().is_err()));
    scheduler.spawn(async move { pending::<()>().map(|()| drop(guard)).await }).detach();
    scheduler.step();
    drop(scheduler);
    assert_eq!(refused.take(), Some(true));
}

#[test]
fn schedulers_nested_by_ownership_then_dropped_from_the_outside_in() {
    let trace = Trace::default();
    let nest = |depth: usize, inner: Option<Scheduler>| {
        let lines = trace.clone();
        let mut scheduler = scheduler();
        let child = trace.clone();
        scheduler
            .spawn(async move {
                let _inner = inner;
                let _guard = OnDrop(move || {
                    let child = child.clone();
                    trapline::spawn_detached(async move { child.say("outermost") });
                    lines.say(depth);
                });
                trapline::sleep(SECOND).await;
            })
            .detach();
        scheduler.step();
        scheduler
    };
    let mut outermost = (1..5).fold(nest(0, None), |inner, depth| nest(depth, Some(inner)));
    outermost.step();
    run_clean(&mut outermost);
    // The outermost one ran on; the others were dropped, and what they posted with them.
    assert_eq!(trace.take().concat(), "43210outermost");
}

#[test]
fn scheduler_in_a_thread_local_then_it_goes_with_the_thread() {
    thread_local! {
        static KEPT: RefCell<Option<Scheduler>> = const { RefCell::new(None) };
    }
    let dropped = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = std::sync::Arc::clone(&dropped);
    thread::spawn(move || {
        KEPT.with_borrow_mut(|kept| {
            let mut scheduler = scheduler();
            let guard = OnDrop(move || flag.store(true, std::sync::atomic::Ordering::SeqCst));
            scheduler
                .spawn(async move {
                    let _guard = guard;
                    let queue = WaitQueue::new(0);
                    futures::join!(queue.park(), trapline::sleep(SECOND));
                })
                .detach();
            scheduler.step();
            *kept = Some(scheduler);
        });
    })
    .join()
    .unwrap();
    assert!(dropped.load(std::sync::atomic::Ordering::SeqCst));
}

// In threads.

#[test]
fn one_in_each_of_8_threads_at_once_then_each_is_as_if_alone() {
    let trace_of_one = || {
        let (mut scheduler, trace) = traced();
        for _ in 0..20 {
            scheduler.spawn(busy()).detach();
        }
        run_clean(&mut scheduler);
        trace.take()
    };
    let barrier = std::sync::Arc::new(std::sync::Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let barrier = std::sync::Arc::clone(&barrier);
            thread::spawn(move || {
                barrier.wait();
                (trace_of_one(), KernelRing::retired_in_this_thread())
            })
        })
        .collect();
    let alone = thread::spawn(trace_of_one).join().unwrap();
    for thread in threads {
        let (trace, rings) = thread.join().unwrap();
        assert_eq!(trace, alone);
        assert_eq!(rings, 1);
    }
}

#[test]
fn schedulers_in_8_threads_that_wake_each_other_in_a_ring_then_the_word_goes_round() {
    const ROUNDS: usize = 50;
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..8).map(|_| futures::channel::mpsc::unbounded::<usize>()).unzip();
    let mut to_next = senders.clone();
    to_next.rotate_left(1);
    senders[0].unbounded_send(0).unwrap();
    drop(senders);
    let threads: Vec<_> = receivers
        .into_iter()
        .zip(to_next)
        .map(|(mut receiver, next)| {
            thread::spawn(move || {
                use futures::StreamExt;
                let mut scheduler = Scheduler::new();
                scheduler
                    .block_on(async move {
                        let mut last = 0;
                        for _ in 0..ROUNDS {
                            last = receiver.next().await.unwrap();
                            // The last one's neighbour may have gone home.
                            let _ = next.unbounded_send(last + 1);
                        }
                        last
                    })
                    .unwrap()
            })
        })
        .collect();
    let last: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(last, (8 * (ROUNDS - 1)..8 * ROUNDS).collect::<Vec<_>>());
}
