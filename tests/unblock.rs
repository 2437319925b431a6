//! Closures on other threads: what comes back, where a task that waits for one is shown, how many run, and
//! what becomes of those whose task is gone. Behaviours 51 to 53.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::RefCell;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, join, select_biased};
use proptest::prelude::*;
use support::{
    OnDrop, Slot, assert_empty, builder, panic_of, poll_idly, poll_once, run_clean, scheduler,
};
use trapline::driver::{Driver, Interest, IoEvent, SimulatedDriver, Unpark, Until, Waited};
use trapline::{
    Event, Instant, Scheduler, StepEvent, TaskState, WaitQueue, kill, sleep, spawn, timeout,
    unblock, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

/// A closure that says when it has begun, and waits to be let go on.
struct Gate {
    begun: Receiver<()>,
    open: Sender<()>,
}

impl Gate {
    fn new<T>(value: T) -> (Gate, impl FnOnce() -> T + use<T>) {
        let ((said, begun), (open, opened)) = (mpsc::channel(), mpsc::channel::<()>());
        let work = move || {
            let _ = said.send(());
            let _ = opened.recv();
            value
        };
        (Gate { begun, open }, work)
    }

    fn wait_until_begun(&self) {
        self.begun.recv().unwrap();
    }

    /// Whether it never began, and never will; of one that has not been waited for.
    fn was_dropped(&self) -> bool {
        self.begun.try_recv() == Err(mpsc::TryRecvError::Disconnected)
    }

    fn open(&self) {
        self.open.send(()).unwrap();
    }
}

/// Polls `future` and returns once its closure has begun: from then on a time-out comes too late to keep it
/// from running.
async fn begin(future: &mut (impl Future + Unpin), begun: &Receiver<()>) {
    assert!(poll_once(future).await.is_pending());
    yield_now().await;
    begun.recv().unwrap();
}

/// Steps while somebody is ready: never into the driver.
fn rest(scheduler: &mut Scheduler) {
    while !scheduler.ready().is_empty() {
        scheduler.step();
    }
}

/// So many closures run at the same time, and not one more: the limit is what it was.
fn assert_limit(scheduler: &mut Scheduler, limit: usize) {
    let barrier = Arc::new(Barrier::new(limit));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for _ in 0..3 * limit {
        let (barrier, now, most) = (Arc::clone(&barrier), Arc::clone(&now), Arc::clone(&most));
        let work = move || {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            barrier.wait();
            now.fetch_sub(1, Ordering::SeqCst);
        };
        scheduler.spawn(unblock(work)).detach();
    }
    run_clean(scheduler);
    assert_eq!(most.load(Ordering::SeqCst), limit);
}

// What comes back.

#[test]
fn closure_that_returns_then_its_value_comes_back_from_another_thread() {
    let mut scheduler = scheduler();
    let here = thread::current().id();
    let there = scheduler.block_on(unblock(|| thread::current().id())).unwrap();
    assert_ne!(here, there);
    assert_empty(&scheduler);
}

#[test]
fn closure_that_borrows_nothing_and_gives_nothing_then_its_task_goes_on() {
    let mut scheduler = Scheduler::new();
    scheduler.block_on(async { unblock(|| ()).await }).unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn closure_that_waits_for_a_task_then_the_loop_runs_meanwhile() {
    let mut scheduler = scheduler();
    let (gate, work) = Gate::new("let go");
    let waits = scheduler.spawn(unblock(work));
    scheduler
        .spawn(async move {
            for _ in 0..10 {
                yield_now().await;
            }
            sleep(SECOND).await;
            gate.open();
        })
        .detach();
    assert_eq!(scheduler.block_on(waits).unwrap().unwrap(), "let go");
    run_clean(&mut scheduler);
}

#[test]
fn closure_that_panics_then_its_payload_comes_out_of_the_awaiting_task() {
    let mut scheduler = scheduler();
    let handle = scheduler.spawn(async { unblock(|| std::panic::panic_any(17_u8)).await });
    let error = scheduler.block_on(handle).unwrap().unwrap_err();
    assert_eq!(*error.try_into_panic().unwrap().downcast::<u8>().unwrap(), 17);
    run_clean(&mut scheduler);
    assert_limit(&mut scheduler, 64);
}

#[test]
fn unblock_by_the_root_of_block_on_then_value_and_panic_reach_the_program() {
    let mut scheduler = scheduler();
    assert_eq!(scheduler.block_on(unblock(|| 5)).unwrap(), 5);
    let text = panic_of(|| scheduler.block_on(unblock(|| panic!("on a thread"))));
    assert_eq!(text, "on a thread");
    run_clean(&mut scheduler);
}

#[test]
fn unblock_outside_a_task_then_it_panics_and_the_closure_is_not_run() {
    let (gate, work) = Gate::new(());
    let mut future = unblock(work);
    let text = panic_of(|| poll_idly(&mut future));
    assert!(text.contains("outside a task"), "{text}");
    drop(future);
    assert!(gate.was_dropped());
}

#[test]
fn unblock_polled_after_it_was_ready_then_it_panics() {
    let mut scheduler = scheduler();
    let handle = scheduler.spawn(async {
        let mut future = unblock(|| 1);
        (&mut future).await;
        let _ = poll_once(&mut future).await;
    });
    let error = scheduler.block_on(handle).unwrap().unwrap_err();
    assert!(error.to_string().contains("polled again after it was ready"), "{error}");
    run_clean(&mut scheduler);
}

// How it is shown, and that it is no deadlock.

#[test]
fn wait_for_a_thread_or_for_ones_turn_then_the_callers_line_is_in_the_task_table() {
    let mut scheduler = builder().thread_limit(1).build();
    let (first, work) = Gate::new(());
    let line = line!() + 1;
    let running = scheduler.spawn(async { unblock(work).await });
    let queued = scheduler.spawn(async { unblock(|| ()).await });
    rest(&mut scheduler);
    let snapshot = scheduler.snapshot();
    for (task, line) in [(running.id(), line), (queued.id(), line + 1)] {
        let TaskState::Blocked(calls) = &snapshot.task(task).unwrap().state else { panic!() };
        assert_eq!((calls.len(), calls[0].label), (1, Some("unblock")));
        assert_eq!((calls[0].site.file(), calls[0].site.line()), (file!(), line));
    }
    first.open();
    drop((running, queued));
    run_clean(&mut scheduler);
}

/// A driver that opens a gate as soon as the scheduler goes to sleep, and writes down its sleeps.
#[derive(Debug)]
struct Watched {
    inner: SimulatedDriver,
    waits: Rc<RefCell<Vec<Until>>>,
    open: Option<Sender<()>>,
}

impl Driver for Watched {
    fn now(&mut self) -> Instant {
        self.inner.now()
    }

    fn register(&mut self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.inner.register(fd, token, interest)
    }

    fn reregister(&mut self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.inner.reregister(fd, token, interest)
    }

    fn deregister(&mut self, fd: RawFd) -> io::Result<()> {
        self.inner.deregister(fd)
    }

    fn wait(&mut self, until: Until, events: &mut Vec<IoEvent>) -> io::Result<Waited> {
        if until != Until::Now {
            self.waits.borrow_mut().push(until);
            if let Some(open) = self.open.take() {
                open.send(()).unwrap();
            }
        }
        self.inner.wait(until, events)
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        self.inner.unparker()
    }
}

#[test]
fn closure_that_takes_long_then_the_scheduler_sleeps_once_without_counting() {
    // `Until::Forever` is a sleep that nothing but the thread ends. One that counts towards a stall would
    // be `Until::Real`.
    let (gate, work) = Gate::new(3);
    let waits = Rc::new(RefCell::new(Vec::new()));
    let driver = Watched {
        inner: SimulatedDriver::new(),
        waits: Rc::clone(&waits),
        open: Some(gate.open.clone()),
    };
    let stalls = Rc::new(RefCell::new(0));
    let counted = Rc::clone(&stalls);
    let mut scheduler = Scheduler::builder()
        .driver(driver)
        .stall_limit(SECOND)
        .probe(move |event: &Event<'_>| {
            *counted.borrow_mut() += i32::from(matches!(event, Event::Stalled { .. }));
        })
        .build();
    assert_eq!(scheduler.block_on(unblock(work)).unwrap(), 3);
    assert_eq!(*waits.borrow(), [Until::Forever]);
    assert_eq!(*stalls.borrow(), 0);
}

#[test]
fn task_that_waits_for_the_turn_of_a_detached_closure_then_it_is_no_deadlock() {
    // Nobody awaits the closure that runs, and yet the one that waits will have its turn.
    let mut scheduler = builder().thread_limit(1).build();
    let (gate, work) = Gate::new(());
    let abandoned = scheduler.spawn(unblock(work));
    rest(&mut scheduler);
    gate.wait_until_begun();
    scheduler.block_on(async move { kill(abandoned.id()).await.unwrap() }).unwrap();
    let next = scheduler.spawn(unblock(|| "my turn"));
    rest(&mut scheduler);
    gate.open();
    assert_eq!(scheduler.block_on(next).unwrap().unwrap(), "my turn");
    run_clean(&mut scheduler);
}

#[test]
fn tasks_in_a_deadlock_after_a_closure_has_ended_then_it_is_reported() {
    let mut scheduler = scheduler();
    let queue = Rc::new(WaitQueue::new(0));
    let parked = Rc::clone(&queue);
    scheduler
        .spawn(async move {
            unblock(|| ()).await;
            parked.park().await;
        })
        .detach();
    let error = scheduler.run().unwrap_err();
    assert!(matches!(error, trapline::RunError::Deadlock(_)), "{error}");
    queue.wake();
    run_clean(&mut scheduler);
}

// Dropped and killed, at every moment.

#[test]
fn dropped_before_its_first_poll_then_the_closure_is_dropped_unrun() {
    let (gate, work) = Gate::new(());
    drop(unblock(work));
    assert!(gate.was_dropped());
}

#[test]
fn dropped_in_the_turn_it_was_polled_in_then_unrun_and_the_next_has_its_place() {
    let mut scheduler = builder().thread_limit(1).build();
    let (gate, work) = Gate::new(());
    scheduler
        .block_on(async move {
            let mut future = unblock(work);
            assert!(poll_once(&mut future).await.is_pending());
            drop(future);
            assert!(gate.was_dropped());
            assert_eq!(unblock(|| 1).await, 1);
        })
        .unwrap();
    run_clean(&mut scheduler);
    assert_limit(&mut scheduler, 1);
}

#[test]
fn dropped_while_it_waits_its_turn_then_unrun_and_those_behind_keep_their_order() {
    let mut scheduler = builder().thread_limit(1).build();
    let (first, work) = Gate::new(());
    let (second, never) = Gate::new(());
    scheduler.spawn(unblock(work)).detach();
    let dropped = scheduler.spawn(async move {
        select_biased! {
            () = unblock(never).fuse() => panic!("it was not its turn"),
            _ = sleep(SECOND).fuse() => (),
        }
    });
    let order = Arc::new(Mutex::new(Vec::new()));
    for number in 0..3 {
        let order = Arc::clone(&order);
        scheduler.spawn(unblock(move || order.lock().unwrap().push(number))).detach();
    }
    scheduler.block_on(dropped).unwrap().unwrap();
    assert!(second.was_dropped());
    first.open();
    run_clean(&mut scheduler);
    assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
    assert_limit(&mut scheduler, 1);
}

#[test]
fn dropped_when_it_was_given_its_turn_then_the_next_has_it() {
    // The token of the first goes to the second, which is dropped before it takes it.
    let mut scheduler = builder().thread_limit(1).build();
    let (second, never) = Gate::new(());
    let queue = Rc::new(WaitQueue::new(0));
    let waits = Rc::clone(&queue);
    scheduler
        .spawn(async move {
            // The same errand that gives the token on answers this call; so both are ready, this one last.
            unblock(|| ()).await;
            waits.wake();
        })
        .detach();
    scheduler
        .spawn(async move {
            let mut future = unblock(never);
            assert!(poll_once(&mut future).await.is_pending());
            queue.park().await;
            drop(future);
        })
        .detach();
    let third = scheduler.spawn(unblock(|| 3));
    assert_eq!(scheduler.block_on(third).unwrap().unwrap(), 3);
    assert!(second.was_dropped());
    run_clean(&mut scheduler);
    assert_limit(&mut scheduler, 1);
}

#[test]
fn dropped_while_the_closure_runs_then_it_runs_on_and_its_thread_serves_the_next() {
    let mut scheduler = builder().thread_limit(1).build();
    let dropped = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&dropped);
    let value = OnDrop(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    let (gate, work) = Gate::new(value);
    let timed = scheduler.spawn(async move {
        let mut future = unblock(work);
        begin(&mut future, &gate.begun).await;
        assert!(timeout(SECOND, future).await.is_err());
        assert_eq!(dropped.load(Ordering::SeqCst), 0);
        gate.open();
        // There is one place only, so the closure has come back before this one begins.
        assert_eq!(unblock(|| 2).await, 2);
        assert_eq!(dropped.load(Ordering::SeqCst), 1, "nobody waited for it");
    });
    scheduler.block_on(timed).unwrap().unwrap();
    run_clean(&mut scheduler);
    assert_limit(&mut scheduler, 1);
}

#[test]
fn dropped_after_the_closure_came_back_then_its_value_goes_with_it() {
    let mut scheduler = builder().thread_limit(1).build();
    let dropped = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&dropped);
    let value = OnDrop(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    scheduler
        .block_on(async move {
            let mut future = unblock(move || value);
            assert!(poll_once(&mut future).await.is_pending());
            // With one place, this one comes back after the first.
            unblock(|| ()).await;
            assert_eq!(dropped.load(Ordering::SeqCst), 0);
            drop(future);
            assert_eq!(dropped.load(Ordering::SeqCst), 1);
        })
        .unwrap();
    run_clean(&mut scheduler);
    assert_limit(&mut scheduler, 1);
}

#[test]
fn task_killed_at_each_moment_then_nothing_is_left_and_the_limit_stands() {
    // Not polled; waiting its turn; its closure running; its closure come back.
    for moment in 0..4 {
        let mut scheduler = builder().thread_limit(1).build();
        let (blocker, block) = Gate::new(());
        let (gate, work) = Gate::new(());
        if moment == 1 {
            scheduler.spawn(unblock(block)).detach();
        }
        let victim = scheduler.spawn(async move {
            let mut future = unblock(work);
            if moment == 0 {
                std::future::pending::<()>().await;
            }
            if moment == 3 {
                assert!(poll_once(&mut future).await.is_pending());
                unblock(|| ()).await;
                // Come back, and not taken.
                std::future::pending::<()>().await;
            }
            future.await;
        });
        if moment > 0 {
            rest(&mut scheduler);
        }
        if moment == 2 {
            gate.wait_until_begun();
        }
        if moment == 3 {
            gate.wait_until_begun();
            gate.open();
            let watcher = scheduler.spawn(async { unblock(|| ()).await });
            scheduler.block_on(watcher).unwrap().unwrap();
            rest(&mut scheduler);
        }
        scheduler
            .block_on(async move {
                kill(victim.id()).await.unwrap();
                assert!(victim.await.unwrap_err().is_killed());
            })
            .unwrap();
        assert!(moment >= 2 || gate.was_dropped(), "{moment}");
        if moment == 2 {
            gate.open();
        }
        if moment == 1 {
            blocker.open();
        }
        run_clean(&mut scheduler);
        assert_limit(&mut scheduler, 1);
    }
}

#[test]
fn scheduler_dropped_while_closures_run_then_their_values_are_dropped_on_their_threads() {
    let dropped = Arc::new(Mutex::new(Vec::new()));
    let mut gates = Vec::new();
    let (queued, never) = Gate::new(());
    {
        let mut scheduler = builder().thread_limit(2).build();
        for _ in 0..2 {
            let dropped = Arc::clone(&dropped);
            let (ended, heard) = mpsc::channel();
            let value = OnDrop(move || {
                dropped.lock().unwrap().push(thread::current().id());
                ended.send(()).unwrap();
            });
            let (gate, work) = Gate::new(value);
            gates.push((gate, heard));
            scheduler.spawn(async move { drop(unblock(work).await) }).detach();
        }
        scheduler.spawn(unblock(never)).detach();
        rest(&mut scheduler);
        gates.iter().for_each(|(gate, _)| gate.wait_until_begun());
    }
    assert!(queued.was_dropped());
    // The ring has a next scheduler, whose limit is its own.
    let mut next = builder().thread_limit(1).build();
    assert_eq!(next.block_on(unblock(|| 1)).unwrap(), 1);
    for (gate, heard) in gates {
        gate.open();
        heard.recv().unwrap();
    }
    assert_limit(&mut next, 1);
    let here = thread::current().id();
    assert!(dropped.lock().unwrap().iter().all(|&id| id != here));
}

#[test]
fn value_whose_destructor_panics_and_that_nobody_waits_for_then_reported_and_the_run_goes_on() {
    let mut scheduler = builder().thread_limit(1).build();
    let (gate, work) = Gate::new(OnDrop(|| panic!("dropped by nobody")));
    scheduler
        .spawn(async move {
            let mut future = unblock(work);
            begin(&mut future, &gate.begun).await;
            assert!(timeout(SECOND, future).await.is_err());
            gate.open();
            unblock(|| ()).await;
        })
        .detach();
    let report = scheduler.run().unwrap();
    assert_eq!(report.failures, 1, "{report}");
    assert_limit(&mut scheduler, 1);
}

#[test]
fn panic_that_nobody_waits_for_then_it_is_dropped_with_its_closure() {
    let mut scheduler = builder().thread_limit(1).build();
    let ((said, begun), (open, opened)) = (mpsc::channel(), mpsc::channel::<()>());
    scheduler
        .block_on(async move {
            let work = move || {
                said.send(()).unwrap();
                opened.recv().unwrap();
                panic!("too late");
            };
            let mut future = unblock(work);
            begin(&mut future, &begun).await;
            assert!(timeout(SECOND, future).await.is_err());
            open.send(()).unwrap();
            assert_eq!(unblock(|| 4).await, 4);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

// Several at once.

#[test]
fn several_under_join_in_one_task_then_each_gives_its_value() {
    let mut scheduler = scheduler();
    // All three must run at the same time.
    let barrier = Arc::new(Barrier::new(3));
    let work = |number: u32| {
        let barrier = Arc::clone(&barrier);
        move || {
            barrier.wait();
            number
        }
    };
    let (first, second, third) = (work(1), work(2), work(3));
    let sum = async { join!(unblock(first), unblock(second), unblock(third)) };
    assert_eq!(scheduler.block_on(sum).unwrap(), (1, 2, 3));
    run_clean(&mut scheduler);
}

#[test]
fn several_under_futures_unordered_then_each_is_woken_by_its_own_thread() {
    let mut scheduler = builder().thread_limit(3).build();
    let sum = scheduler.block_on(async {
        let all: FuturesUnordered<_> = (0..20).map(|number| unblock(move || number)).collect();
        all.fold(0, |sum, number| std::future::ready(sum + number)).await
    });
    assert_eq!(sum.unwrap(), 190);
    run_clean(&mut scheduler);
    assert_limit(&mut scheduler, 3);
}

#[test]
fn lost_branch_of_a_select_then_the_other_wins_and_nothing_is_left() {
    let mut scheduler = scheduler();
    let (gate, work) = Gate::new(1);
    let won = scheduler.block_on(async {
        select_biased! {
            number = unblock(work).fuse() => number,
            number = unblock(|| 2).fuse() => number,
        }
    });
    assert_eq!(won.unwrap(), 2);
    // It may have begun, or not: this lets it go on in either case.
    drop(gate);
    run_clean(&mut scheduler);
}

#[test]
fn unblock_moved_to_another_task_while_its_closure_runs_then_it_answers_there() {
    let mut scheduler = scheduler();
    let (gate, work) = Gate::new("moved");
    let slot = Slot::new();
    let theirs = slot.clone();
    scheduler
        .spawn(async move {
            let mut future = unblock(work);
            assert!(poll_once(&mut future).await.is_pending());
            theirs.put(future);
        })
        .detach();
    rest(&mut scheduler);
    gate.wait_until_begun();
    let future = slot.take().unwrap();
    let moved = scheduler.spawn(future);
    rest(&mut scheduler);
    gate.open();
    assert_eq!(scheduler.block_on(moved).unwrap().unwrap(), "moved");
    run_clean(&mut scheduler);
}

#[test]
fn more_closures_than_may_run_then_they_begin_in_the_order_in_which_they_were_asked_for() {
    let mut scheduler = builder().thread_limit(1).build();
    let order = Arc::new(Mutex::new(Vec::new()));
    for number in 0..30 {
        let order = Arc::clone(&order);
        scheduler.spawn(unblock(move || order.lock().unwrap().push(number))).detach();
    }
    run_clean(&mut scheduler);
    assert!(order.lock().unwrap().iter().copied().eq(0..30));
}

#[test]
fn as_many_closures_as_may_run_then_all_are_on_threads_at_the_same_time() {
    let mut scheduler = scheduler();
    assert_limit(&mut scheduler, 64);
    let mut few = builder().thread_limit(5).build();
    assert_limit(&mut few, 5);
    let mut none = builder().thread_limit(0).build();
    assert_limit(&mut none, 1);
}

#[test]
fn thousands_of_closures_by_a_hundred_tasks_then_each_comes_back_once() {
    let mut scheduler = Scheduler::builder().thread_limit(8).build();
    let tasks: Vec<_> = (0..100_u64)
        .map(|task| {
            scheduler.spawn(async move {
                for round in 0..30 {
                    assert_eq!(unblock(move || task * round).await, task * round);
                }
            })
        })
        .collect();
    for task in tasks {
        scheduler.block_on(task).unwrap().unwrap();
    }
    run_clean(&mut scheduler);
    assert_limit(&mut scheduler, 8);
}

#[test]
fn schedulers_on_several_threads_then_they_share_the_pool_and_not_the_limit() {
    let threads: Vec<_> = (1..=4)
        .map(|limit| {
            thread::spawn(move || {
                let mut scheduler = builder().thread_limit(limit).build();
                assert_limit(&mut scheduler, limit);
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn step_that_looks_at_the_outside_then_it_says_whom_the_thread_woke() {
    let mut scheduler = scheduler();
    let task = scheduler.spawn(unblock(|| ()));
    rest(&mut scheduler);
    let step = scheduler.step();
    assert_eq!(step.event(), StepEvent::Outside { answered: 1 });
    assert_eq!(scheduler.woken(), [task.id()]);
    drop(task);
    run_clean(&mut scheduler);
}

// At random.

#[derive(Clone, Copy, Debug)]
enum Fate {
    Awaited,
    /// Polled so often, with a yield after each, then dropped.
    Dropped(u8),
    /// Its task is killed after so many yields of another.
    Killed(u8),
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        3 => Just(Fate::Awaited),
        2 => (0..4_u8).prop_map(Fate::Dropped),
        2 => (0..6_u8).prop_map(Fate::Killed),
    ];
    proptest::collection::vec(fate, 1..20)
}

/// Counts the closures that are neither run nor dropped, and those that were run.
#[derive(Clone, Default)]
struct Tally(Arc<(AtomicUsize, AtomicUsize)>);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn closures_awaited_dropped_and_killed_at_random_then_each_is_run_or_dropped_and_the_limit_stands(
        fates in fates(),
        limit in 1..4_usize,
        quantum in 1..4_u32,
    ) {
        let mut scheduler = builder().quantum(quantum).thread_limit(limit).build();
        let tally = Tally::default();
        let mut awaited = 0;
        for fate in fates {
            let (run, held) = (tally.clone(), tally.clone());
            held.0.0.fetch_add(1, Ordering::SeqCst);
            let guard = OnDrop(move || {
                held.0.0.fetch_sub(1, Ordering::SeqCst);
            });
            let work = move || {
                let _guard = guard;
                run.0.1.fetch_add(1, Ordering::SeqCst);
            };
            match fate {
                Fate::Awaited => {
                    awaited += 1;
                    scheduler.spawn(unblock(work)).detach();
                }
                Fate::Dropped(polls) => scheduler
                    .spawn(async move {
                        let mut future = unblock(work);
                        for _ in 0..polls {
                            if poll_once(&mut future).await.is_ready() {
                                return;
                            }
                            yield_now().await;
                        }
                    })
                    .detach(),
                Fate::Killed(after) => scheduler
                    .spawn(async move {
                        let victim = spawn(unblock(work)).await;
                        for _ in 0..after {
                            yield_now().await;
                        }
                        kill(victim.id()).await.unwrap();
                    })
                    .detach(),
            }
        }
        while !scheduler.step().is_last() {
            scheduler.check_invariants();
        }
        run_clean(&mut scheduler);
        assert_limit(&mut scheduler, limit);
        // All places have been free, so no closure runs any more.
        prop_assert_eq!(tally.0.0.load(Ordering::SeqCst), 0);
        prop_assert!(tally.0.1.load(Ordering::SeqCst) >= awaited);
    }
}
