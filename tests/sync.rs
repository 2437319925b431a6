//! Locks and their kin: whoever waits is served in order, and nothing is lost with a waiter that is
//! dropped or killed.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures::future::{FutureExt, LocalBoxFuture, join_all};
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{join, select_biased};
use support::{Trace, assert_empty, builder, panic_of, poll_idly, poll_once, run_clean, scheduler};
use trapline::sync::{
    Barrier, Closed, Condvar, Event, Mutex, MutexGuard, OnceCell, RLock, RwLock, RwLockWriteGuard,
    Semaphore, SetError, TryAcquireError,
};
use trapline::{RunError, Scheduler, TaskId};

const SECOND: Duration = Duration::from_secs(1);

fn leak<T>(thing: T) -> &'static T {
    Box::leak(Box::new(thing))
}

/// Starts a task that runs on its own.
fn start(scheduler: &mut Scheduler, task: impl Future<Output = ()> + 'static) -> TaskId {
    let handle = scheduler.spawn(task);
    let id = handle.id();
    handle.detach();
    id
}

/// Kills a task, before anyone who has been woken meanwhile runs.
fn kill(scheduler: &mut Scheduler, victim: TaskId) {
    scheduler.block_on(trapline::kill(victim)).unwrap().unwrap();
    scheduler.check_invariants();
}

/// Starts a task that kills whoever is in the cell: for one that is started next, and never runs.
fn lay_in_wait(scheduler: &mut Scheduler) -> Rc<Cell<Option<TaskId>>> {
    let prey = Rc::new(Cell::new(None));
    let theirs = Rc::clone(&prey);
    start(scheduler, async move { theirs.get().into_iter().for_each(trapline::post_kill) });
    prey
}

/// Takes one step for each of `tasks`, none of which looks at the outside.
fn step_each(scheduler: &mut Scheduler, tasks: usize) {
    for _ in 0..tasks {
        assert!(scheduler.step().task().is_some());
    }
    scheduler.check_invariants();
}

/// Gives everybody so many turns that nobody can run any more; the clock stands still.
fn settle(scheduler: &mut Scheduler) {
    let turns = async {
        for _ in 0..60 {
            trapline::yield_now().await;
        }
    };
    scheduler.block_on(turns).unwrap();
    assert_eq!(scheduler.ready(), []);
    scheduler.check_invariants();
}

// What holds for everything that is held: each way to hold each lock.

type Guard = Box<dyn Any>;

/// A way to hold something that excludes the others.
struct Way {
    name: &'static str,
    /// Holds it at once, if it is free.
    hold: Box<dyn Fn() -> Option<Guard>>,
    /// Waits for it.
    wait: Box<dyn Fn() -> LocalBoxFuture<'static, Guard>>,
}

fn way<G: 'static, W>(
    name: &'static str,
    hold: impl Fn() -> Option<G> + 'static,
    wait: impl Fn() -> W + 'static,
) -> Way
where
    W: Future<Output = G> + 'static,
{
    Way {
        name,
        hold: Box::new(move || hold().map(|guard| Box::new(guard) as Guard)),
        wait: Box::new(move || wait().map(|guard| Box::new(guard) as Guard).boxed_local()),
    }
}

/// Fresh locks of every sort.
fn ways() -> Vec<Way> {
    let mutex: &'static Mutex<u8> = leak(Mutex::new(0));
    let owned: &'static Rc<Mutex<u8>> = leak(Rc::new(Mutex::new(0)));
    let rlock: &'static RLock<u8> = leak(RLock::new(0));
    let rwlock: &'static RwLock<u8> = leak(RwLock::new(0));
    let semaphore: &'static Semaphore = leak(Semaphore::new(3));
    let shared: &'static Rc<Semaphore> = leak(Rc::new(Semaphore::new(1)));
    let mapped: &'static Mutex<(u8, u8)> = leak(Mutex::new((0, 0)));
    vec![
        way("mutex", || mutex.try_lock(), || mutex.lock()),
        way("owned mutex", || owned.try_lock_owned(), || owned.lock_owned()),
        way(
            "mapped mutex",
            || mapped.try_lock().map(|guard| MutexGuard::map(guard, |pair| &mut pair.0)),
            || mapped.lock().map(|guard| MutexGuard::map(guard, |pair| &mut pair.0)),
        ),
        way("rlock", || rlock.try_lock(), || rlock.lock()),
        way("writer", || rwlock.try_write(), || rwlock.write()),
        way(
            "semaphore",
            || semaphore.try_acquire_many(3).ok(),
            || semaphore.acquire_many(3).map(Result::unwrap),
        ),
        way(
            "owned semaphore",
            || shared.try_acquire_owned().ok(),
            || shared.acquire_owned().map(Result::unwrap),
        ),
    ]
}

impl Way {
    #[track_caller]
    fn assert_free(&self) {
        drop((self.hold)().unwrap_or_else(|| panic!("{}: it is not free", self.name)));
    }

    #[track_caller]
    fn assert_held(&self) {
        assert!((self.hold)().is_none(), "{}: it is free", self.name);
    }
}

/// A task that takes it, says so, and lets go.
fn taker(
    scheduler: &mut Scheduler,
    way: &Rc<Way>,
    trace: &Trace,
    name: &'static str,
    after: LocalBoxFuture<'static, ()>,
) -> TaskId {
    let (way, trace) = (Rc::clone(way), trace.clone());
    start(scheduler, async move {
        let _guard = (way.wait)().await;
        trace.say(name);
        after.await;
    })
}

fn at_once() -> LocalBoxFuture<'static, ()> {
    async {}.boxed_local()
}

/// Runs `test` for each lock, with a scheduler of quantum 1 and one of many.
fn for_each_way(test: impl Fn(&mut Scheduler, Rc<Way>, Trace)) {
    for quantum in [1, 32] {
        for way in ways() {
            let way = Rc::new(way);
            let mut scheduler = builder().quantum(quantum).build();
            test(&mut scheduler, Rc::clone(&way), Trace::default());
            run_clean(&mut scheduler);
            way.assert_free();
        }
    }
}

#[test]
fn free_lock_outside_a_task_then_it_just_works() {
    for way in ways() {
        let guard = (way.wait)().now_or_never().unwrap();
        // Outside a task the reentrant lock is the program's, which may have it again.
        assert_eq!((way.hold)().is_some(), way.name == "rlock", "{}", way.name);
        drop(guard);
        way.assert_free();
    }
}

#[test]
fn held_lock_outside_a_task_then_to_wait_for_it_panics_and_changes_nothing() {
    for way in ways().into_iter().filter(|way| way.name != "rlock") {
        let guard = (way.hold)().unwrap();
        panic_of(|| poll_idly(&mut (way.wait)()));
        way.assert_held();
        drop(guard);
        way.assert_free();
    }
}

#[test]
fn waiters_then_they_have_it_in_the_order_in_which_they_came() {
    for_each_way(|scheduler, way, trace| {
        let guard = (way.hold)().unwrap();
        for name in ["a", "b", "c", "d"] {
            taker(scheduler, &way, &trace, name, trapline::yield_now().boxed_local());
        }
        settle(scheduler);
        assert_eq!(trace.take(), [""; 0]);
        drop(guard);
        way.assert_held();
        settle(scheduler);
        assert_eq!(trace.take().concat(), "abcd", "{}", way.name);
    });
}

#[test]
fn one_who_releases_and_asks_again_then_it_does_not_pass_those_who_wait() {
    for_each_way(|scheduler, way, trace| {
        for name in ["a", "b", "c"] {
            let (way, trace) = (Rc::clone(&way), trace.clone());
            start(scheduler, async move {
                for _ in 0..3 {
                    let guard = (way.wait)().await;
                    trace.say(name);
                    trapline::yield_now().await;
                    trapline::yield_now().await;
                    drop(guard);
                }
            });
        }
        settle(scheduler);
        assert_eq!(trace.take().concat(), "abcabcabc", "{}", way.name);
    });
}

#[test]
fn lock_handed_over_then_nobody_takes_it_before_its_new_holder_runs() {
    for_each_way(|scheduler, way, trace| {
        let guard = (way.hold)().unwrap();
        taker(scheduler, &way, &trace, "a", at_once());
        settle(scheduler);
        drop(guard);
        way.assert_held();
        taker(scheduler, &way, &trace, "late", at_once());
        settle(scheduler);
        assert_eq!(trace.take(), ["a", "late"]);
    });
}

#[test]
fn wait_dropped_at_any_moment_then_it_never_holds_the_lock_and_the_next_has_it() {
    for moment in ["unpolled", "unserved", "blocked", "granted unserved", "granted"] {
        for behind in [false, true] {
            for_each_way(|scheduler, way, trace| {
                let held = (way.hold)().unwrap();
                let (theirs, lines) = (Rc::clone(&way), trace.clone());
                start(scheduler, async move {
                    let mut held = Some(held);
                    let mut wait = (theirs.wait)();
                    if moment != "unpolled" {
                        assert!(poll_once(&mut wait).await.is_pending());
                    }
                    if ["unpolled", "blocked", "granted"].contains(&moment) {
                        // Those behind come, and this call is served.
                        trapline::yield_now().await;
                        trapline::yield_now().await;
                    }
                    if moment.starts_with("granted") {
                        held.take();
                    }
                    drop(wait);
                    lines.say("dropped");
                    drop(held);
                });
                if behind {
                    taker(scheduler, &way, &trace, "behind", at_once());
                }
                settle(scheduler);
                let said = if behind { "droppedbehind" } else { "dropped" };
                assert_eq!(trace.take().concat(), said, "{} {moment}", way.name);
            });
        }
    }
}

#[test]
fn task_killed_at_any_moment_then_it_never_holds_the_lock_and_the_next_has_it() {
    for moment in ["unstarted", "blocked", "granted", "holding"] {
        for behind in [false, true] {
            for_each_way(|scheduler, way, trace| {
                let mut held = (way.hold)();
                let prey = lay_in_wait(scheduler);
                let sleep = trapline::sleep(SECOND).map(|_| ()).boxed_local();
                let victim = taker(scheduler, &way, &trace, "victim", sleep);
                prey.set((moment == "unstarted").then_some(victim));
                if behind {
                    taker(scheduler, &way, &trace, "behind", at_once());
                }
                step_each(scheduler, 1 + usize::from(moment != "unstarted") + usize::from(behind));
                if moment == "granted" || moment == "holding" {
                    held.take();
                }
                if moment == "holding" {
                    step_each(scheduler, 1);
                    assert_eq!(trace.take(), ["victim"]);
                }
                if moment != "unstarted" {
                    kill(scheduler, victim);
                }
                drop(held);
                settle(scheduler);
                let said = if behind { "behind" } else { "" };
                assert_eq!(trace.take().concat(), said, "{} {moment}", way.name);
            });
        }
    }
}

#[test]
fn holder_panics_then_the_lock_is_released_and_not_poisoned() {
    for way in ways() {
        let way = Rc::new(way);
        let (mut scheduler, trace) = (scheduler(), Trace::default());
        let failing = async {
            trapline::yield_now().await;
            panic!("in the middle")
        };
        taker(&mut scheduler, &way, &trace, "first", failing.boxed_local());
        taker(&mut scheduler, &way, &trace, "second", at_once());
        let report = scheduler.run().unwrap();
        assert_eq!(report.failures, 1);
        assert_eq!(trace.take(), ["first", "second"]);
        way.assert_free();
        assert_empty(&scheduler);
    }
}

#[test]
fn several_waits_in_one_task_then_each_is_served_in_order() {
    for_each_way(|scheduler, way, trace| {
        let held = (way.hold)().unwrap();
        let theirs = Rc::clone(&way);
        let lines = trace.clone();
        start(scheduler, async move {
            let branch = |name: &'static str| {
                let (way, trace) = (&theirs, &lines);
                async move {
                    let _guard = (way.wait)().await;
                    trace.say(name);
                }
            };
            join!(branch("a"), branch("b"), branch("c"));
            let mut crowd: FuturesUnordered<_> = ["d", "e", "f"].map(branch).into_iter().collect();
            while crowd.next().await.is_some() {}
            join_all(["g", "h"].map(branch)).await;
        });
        taker(scheduler, &way, &trace, "other", at_once());
        settle(scheduler);
        drop(held);
        settle(scheduler);
        let said = trace.take();
        let of_task: Vec<_> = said.iter().filter(|name| *name != "other").cloned().collect();
        assert_eq!((of_task.concat(), said.len()), ("abcdefgh".to_owned(), 9), "{}", way.name);
    });
}

#[test]
fn several_waits_under_foreign_wakers_then_each_is_served() {
    for_each_way(|scheduler, way, trace| {
        let held = (way.hold)().unwrap();
        let (theirs, lines) = (Rc::clone(&way), trace.clone());
        start(scheduler, async move {
            let branch = |name: &'static str| {
                let (way, trace) = (&theirs, &lines);
                async move {
                    let _guard = (way.wait)().await;
                    trace.say(name);
                    trapline::yield_now().await;
                }
            };
            let mut crowd: FuturesUnordered<_> = ["a", "b", "c"].map(branch).into_iter().collect();
            while crowd.next().await.is_some() {}
        });
        settle(scheduler);
        drop(held);
        settle(scheduler);
        let mut said = trace.take();
        said.sort();
        assert_eq!(said.concat(), "abc", "{}", way.name);
    });
}

#[test]
fn wait_that_loses_a_select_or_is_timed_out_then_it_leaves_no_trace() {
    for_each_way(|scheduler, way, trace| {
        let held = (way.hold)().unwrap();
        let (theirs, lines) = (Rc::clone(&way), trace.clone());
        start(scheduler, async move {
            let mut wait = (theirs.wait)().fuse();
            let mut other = trapline::sleep(SECOND).map(|_| ()).boxed_local().fuse();
            select_biased! {
                _ = wait => lines.say("wait"),
                () = other => lines.say("sleep"),
            }
            drop(wait);
            let timed = trapline::timeout(SECOND, (theirs.wait)()).await;
            lines.say(if timed.is_err() { "elapsed" } else { "taken" });
        });
        scheduler.block_on(trapline::sleep(SECOND * 3)).unwrap();
        assert_eq!(trace.take(), ["sleep", "elapsed"]);
        drop(held);
        way.assert_free();
    });
}

#[test]
fn timeout_and_the_lock_in_one_batch_then_the_lock_wins_and_is_held_once() {
    for_each_way(|scheduler, way, trace| {
        let held = (way.hold)().unwrap();
        let (theirs, lines) = (Rc::clone(&way), trace.clone());
        start(scheduler, async move {
            let timed = trapline::timeout(SECOND, (theirs.wait)()).await;
            lines.say(if timed.is_err() { "elapsed" } else { "taken" });
            drop(timed);
            trapline::sleep(SECOND * 2).await;
        });
        start(scheduler, async move {
            trapline::sleep(SECOND).await;
            drop(held);
        });
        scheduler.block_on(trapline::sleep(SECOND * 5)).unwrap();
        assert_eq!(trace.take().len(), 1);
        way.assert_free();
    });
}

#[test]
fn lock_under_one_scheduler_after_another_then_it_is_the_same_lock() {
    for way in ways() {
        let way = Rc::new(way);
        for round in 0..3 {
            let (mut scheduler, trace) = (scheduler(), Trace::default());
            let held = (way.hold)().unwrap();
            taker(&mut scheduler, &way, &trace, "a", at_once());
            taker(&mut scheduler, &way, &trace, "b", at_once());
            settle(&mut scheduler);
            if round == 1 {
                // With two who wait.
                drop(scheduler);
                drop(held);
            } else {
                drop(held);
                run_clean(&mut scheduler);
                assert_eq!(trace.take(), ["a", "b"]);
            }
            way.assert_free();
        }
    }
}

#[test]
fn lock_that_is_free_then_it_needs_no_trap_and_counts_to_the_quantum() {
    for way in ways() {
        let way = Rc::new(way);
        let (mut scheduler, trace) = (builder().quantum(4).build(), Trace::default());
        let lines = trace.clone();
        start(&mut scheduler, async move {
            for _ in 0..6 {
                drop((way.wait)().await);
                lines.say("lock");
            }
        });
        let lines = trace.clone();
        start(&mut scheduler, async move { lines.say("other") });
        let step = scheduler.step();
        assert_eq!(step.calls(), 1, "the quantum is spent, so it gives way: {step}");
        assert_eq!(trace.take(), ["lock", "lock", "lock"]);
        run_clean(&mut scheduler);
        assert_eq!(trace.take(), ["other", "lock", "lock", "lock"]);
    }
}

#[test]
fn debug_of_a_lock_then_it_shows_the_value_or_that_it_is_held() {
    let mutex = Mutex::new(7).named("seven");
    assert!(format!("{mutex:?}").contains("value: 7"));
    let guard = mutex.try_lock().unwrap();
    assert!(format!("{mutex:?}").contains("<held>"));
    assert_eq!(format!("{guard:?}"), "MutexGuard(7)");
    let lock = RwLock::new(8);
    assert!(format!("{lock:?}").contains("value: 8"));
    let _guard = lock.try_write().unwrap();
    assert!(format!("{lock:?}").contains("<held>"));
    assert!(format!("{:?}", Semaphore::new(2).named("two")).contains("two"));
}

#[test]
fn mutex_in_a_const_or_owned_then_its_value_is_where_it_should_be() {
    thread_local! {
        static COUNT: Mutex<u32> = const { Mutex::new(0) };
    }
    COUNT.with(|count| *count.try_lock().unwrap() += 1);
    assert_eq!(COUNT.with(|count| *count.try_lock().unwrap()), 1);
    let mut mutex = Rc::new(Mutex::new(vec![1]));
    let mut guard = mutex.try_lock_owned().unwrap();
    guard.push(2);
    assert!(Rc::get_mut(&mut mutex).is_none(), "the guard keeps it alive");
    drop(guard);
    Rc::get_mut(&mut mutex).unwrap().get_mut().push(3);
    assert_eq!(Rc::try_unwrap(mutex).unwrap().into_inner(), [1, 2, 3]);
    let mut leaked = Mutex::new(4);
    std::mem::forget(leaked.try_lock());
    assert!(leaked.try_lock().is_none());
    assert_eq!((*leaked.get_mut(), leaked.into_inner()), (4, 4));
}

// The reentrant lock.

#[test]
fn holder_takes_it_again_then_others_have_it_when_it_was_released_as_often() {
    let (mut scheduler, trace) = (builder().quantum(8).build(), Trace::default());
    let lock: &'static RLock<Cell<u32>> = leak(RLock::new(Cell::new(0)));
    let lines = trace.clone();
    start(&mut scheduler, async move {
        let outer = lock.lock().await;
        trapline::yield_now().await;
        let inner = lock.lock().await;
        let innermost = lock.try_lock().unwrap();
        drop(outer);
        trapline::yield_now().await;
        drop(innermost);
        trapline::yield_now().await;
        lines.say("inner");
        drop(inner);
        assert!(lock.is_held(), "it was handed over");
        let _again = lock.lock().await;
        lines.say("again");
    });
    let lines = trace.clone();
    start(&mut scheduler, async move {
        assert!(lock.try_lock().is_none());
        let _guard = lock.lock().await;
        lines.say("other");
    });
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["inner", "other", "again"]);
    assert!(!lock.is_held());
}

#[test]
fn branches_of_one_task_then_they_share_the_reentrant_lock() {
    let mut scheduler = scheduler();
    let lock: &'static RLock<()> = leak(RLock::new(()));
    let held = lock.try_lock().unwrap();
    start(&mut scheduler, async move {
        let branch = || async move {
            let _guard = lock.lock().await;
            trapline::yield_now().await;
            trapline::yield_now().await;
        };
        join!(branch(), branch(), branch());
    });
    settle(&mut scheduler);
    drop(held);
    run_clean(&mut scheduler);
    assert!(!lock.is_held());
}

#[test]
fn holder_is_killed_with_the_reentrant_lock_taken_twice_then_the_next_has_it() {
    let (mut scheduler, trace) = (scheduler(), Trace::default());
    let lock: &'static RLock<()> = leak(RLock::new(()));
    let victim = start(&mut scheduler, async move {
        let _outer = lock.lock().await;
        let _inner = lock.lock().await;
        std::future::pending::<()>().await;
    });
    let lines = trace.clone();
    start(&mut scheduler, async move {
        let _guard = lock.lock().await;
        lines.say("heir");
    });
    settle(&mut scheduler);
    kill(&mut scheduler, victim);
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["heir"]);
}

// The reader-writer lock.

#[test]
fn readers_share_and_writers_exclude() {
    let (mut scheduler, trace) = (scheduler(), Trace::default());
    let lock: &'static RwLock<u32> = leak(RwLock::new(0));
    for name in ["r1", "r2", "W", "r3", "r4"] {
        let lines = trace.clone();
        start(&mut scheduler, async move {
            if name == "W" {
                let mut guard = lock.write().await;
                lines.say("W+");
                *guard += 1;
                trapline::sleep(SECOND).await;
                lines.say("W-");
            } else {
                let guard = lock.read().await;
                lines.say(format!("{name}+{}", *guard));
                trapline::sleep(SECOND).await;
                lines.say(format!("{name}-"));
            }
        });
    }
    run_clean(&mut scheduler);
    let expected = ["r1+0", "r2+0", "r1-", "r2-", "W+", "W-", "r3+1", "r4+1", "r3-", "r4-"];
    assert_eq!(trace.take(), expected);
}

#[test]
fn stream_of_readers_then_it_does_not_starve_a_writer() {
    let (mut scheduler, trace) = (scheduler(), Trace::default());
    let lock: &'static RwLock<u32> = leak(RwLock::new(0));
    for _ in 0..3 {
        start(&mut scheduler, async move {
            while *lock.read().await == 0 {
                let _guard = lock.read().await;
                trapline::yield_now().await;
            }
        });
    }
    let lines = trace.clone();
    start(&mut scheduler, async move {
        trapline::yield_now().await;
        *lock.write().await = 1;
        lines.say("written");
    });
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["written"]);
}

#[test]
fn writer_that_waits_is_dropped_then_the_readers_behind_it_go_on() {
    let (mut scheduler, trace) = (scheduler(), Trace::default());
    let lock: &'static RwLock<()> = leak(RwLock::new(()));
    let reader = lock.try_read().unwrap();
    let writer = start(&mut scheduler, async move {
        let _guard = lock.write().await;
    });
    let lines = trace.clone();
    start(&mut scheduler, async move {
        let _guard = lock.read().await;
        lines.say("read");
    });
    settle(&mut scheduler);
    assert!(lock.try_read().is_none(), "it would pass the writer");
    assert_eq!(trace.take(), [""; 0]);
    kill(&mut scheduler, writer);
    settle(&mut scheduler);
    assert_eq!(trace.take(), ["read"]);
    drop(reader);
    run_clean(&mut scheduler);
    assert!(lock.try_write().is_some());
}

#[test]
fn writer_downgrades_then_the_readers_that_stand_first_are_let_in_and_no_writer() {
    let (mut scheduler, trace) = (scheduler(), Trace::default());
    let lock: &'static RwLock<u32> = leak(RwLock::new(0));
    let mut writer = lock.try_write().unwrap();
    let lines = trace.clone();
    start(&mut scheduler, async move {
        lines.say(format!("reads {}", *lock.read().await));
    });
    let lines = trace.clone();
    start(&mut scheduler, async move {
        *lock.write().await += 1;
        lines.say("writes");
    });
    settle(&mut scheduler);
    *writer = 7;
    let reader = RwLockWriteGuard::downgrade(writer);
    settle(&mut scheduler);
    assert_eq!((trace.take(), *reader), (vec!["reads 7".to_owned()], 7));
    drop(reader);
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["writes"]);
    assert_eq!(*lock.try_read().unwrap(), 8);
}

// The semaphore.

#[test]
fn large_request_then_small_ones_do_not_starve_it() {
    let (mut scheduler, trace) = (scheduler(), Trace::default());
    let semaphore: &'static Semaphore = leak(Semaphore::new(4));
    for _ in 0..4 {
        start(&mut scheduler, async move {
            for _ in 0..20 {
                let _permit = semaphore.acquire().await.unwrap();
                trapline::yield_now().await;
            }
        });
    }
    let lines = trace.clone();
    start(&mut scheduler, async move {
        trapline::yield_now().await;
        let permits = semaphore.acquire_many(4).await.unwrap();
        lines.say(format!("{} of 4", permits.count()));
        assert_eq!(semaphore.available(), 0);
    });
    let lines = trace.clone();
    start(&mut scheduler, async move {
        trapline::sleep(Duration::from_nanos(1)).await;
        lines.say("later");
    });
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["4 of 4", "later"]);
    assert_eq!(semaphore.available(), 4);
}

#[test]
fn permits_forgotten_or_added_then_there_are_so_many() {
    let mut scheduler = scheduler();
    let semaphore = Rc::new(Semaphore::new(3));
    semaphore.try_acquire_many(2).unwrap().forget();
    semaphore.try_acquire_owned().unwrap().forget();
    assert_eq!(semaphore.try_acquire().unwrap_err(), TryAcquireError::NoPermits);
    assert_eq!(semaphore.available(), 0);
    let theirs = Rc::clone(&semaphore);
    start(&mut scheduler, async move {
        let permit = theirs.acquire_many_owned(2).await.unwrap();
        assert!(Rc::ptr_eq(permit.semaphore(), &theirs));
    });
    settle(&mut scheduler);
    semaphore.add_permits(5);
    assert_eq!(semaphore.available(), 3);
    run_clean(&mut scheduler);
    assert_eq!(semaphore.available(), 5);
}

#[test]
fn semaphore_closed_then_those_who_wait_and_those_who_come_are_told() {
    let (mut scheduler, trace) = (scheduler(), Trace::default());
    let semaphore: &'static Semaphore = leak(Semaphore::new(1));
    let held = semaphore.try_acquire().unwrap();
    for name in ["a", "b"] {
        let lines = trace.clone();
        start(&mut scheduler, async move {
            let closed = semaphore.acquire().await.unwrap_err();
            assert_eq!(closed, Closed);
            lines.say(name);
        });
    }
    settle(&mut scheduler);
    semaphore.close();
    assert!(semaphore.is_closed());
    settle(&mut scheduler);
    assert_eq!(trace.take(), ["a", "b"]);
    drop(held);
    assert_eq!(semaphore.try_acquire().unwrap_err(), TryAcquireError::Closed);
    assert_eq!(scheduler.block_on(semaphore.acquire()).unwrap().unwrap_err(), Closed);
    run_clean(&mut scheduler);
    assert_eq!(semaphore.available(), 1);
}

#[test]
fn semaphore_closed_after_a_permit_was_given_then_the_permit_is_good() {
    let (mut scheduler, trace) = (scheduler(), Trace::default());
    let semaphore: &'static Semaphore = leak(Semaphore::new(0));
    let lines = trace.clone();
    start(&mut scheduler, async move {
        let _permit = semaphore.acquire().await.unwrap();
        lines.say("has it");
    });
    settle(&mut scheduler);
    semaphore.add_permits(1);
    semaphore.close();
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["has it"]);
    assert_eq!(semaphore.available(), 1);
}

// The condition.

type Shared = (Mutex<u32>, Condvar);

fn waiter(
    scheduler: &mut Scheduler,
    shared: &'static Shared,
    trace: &Trace,
    name: &'static str,
) -> TaskId {
    let trace = trace.clone();
    start(scheduler, async move {
        let (mutex, condition) = shared;
        let guard = mutex.lock().await;
        let guard = condition.wait(guard).await;
        trace.say(format!("{name}{}", *guard));
        trapline::yield_now().await;
    })
}

#[test]
fn condition_notified_then_its_waiters_go_on_in_order_one_or_all() {
    let (mut scheduler, trace) = (scheduler(), Trace::default());
    let shared: &'static Shared = leak((Mutex::new(0), Condvar::new()));
    shared.1.notify_one();
    shared.1.notify_all();
    for name in ["a", "b", "c", "d"] {
        waiter(&mut scheduler, shared, &trace, name);
    }
    settle(&mut scheduler);
    assert_eq!(trace.take(), [""; 0], "what was notified with nobody waiting is nothing");
    *shared.0.try_lock().unwrap() = 1;
    shared.1.notify_one();
    settle(&mut scheduler);
    assert_eq!(trace.take(), ["a1"]);
    shared.1.notify_all();
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["b1", "c1", "d1"]);
}

#[test]
fn condition_tested_under_the_mutex_then_it_is_waited_for_until_it_holds() {
    let (mut scheduler, trace) = (scheduler(), Trace::default());
    let shared: &'static Shared = leak((Mutex::new(0), Condvar::new()));
    let lines = trace.clone();
    start(&mut scheduler, async move {
        let guard = shared.0.lock().await;
        let guard = shared.1.wait_while(guard, |count| *count < 3).await;
        lines.say(*guard);
        drop(shared.1.wait_while(guard, |count| *count < 3).await);
    });
    start(&mut scheduler, async move {
        for _ in 0..3 {
            *shared.0.lock().await += 1;
            shared.1.notify_one();
            trapline::yield_now().await;
        }
    });
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["3"]);
}

#[test]
fn condition_wait_dropped_or_killed_at_any_moment_then_the_next_is_woken() {
    for moment in ["unpolled", "blocked", "woken", "waits for the mutex"] {
        let (mut scheduler, trace) = (scheduler(), Trace::default());
        let shared: &'static Shared = leak((Mutex::new(0), Condvar::new()));
        let victim = start(&mut scheduler, async move {
            let guard = shared.0.lock().await;
            let wait = shared.1.wait(guard);
            if moment == "unpolled" {
                trapline::sleep(SECOND).await;
            }
            drop(wait.await);
        });
        settle(&mut scheduler);
        assert_eq!(shared.0.try_lock().is_none(), moment == "unpolled");
        waiter(&mut scheduler, shared, &trace, "next");
        settle(&mut scheduler);
        let held = if moment == "waits for the mutex" { shared.0.try_lock() } else { None };
        if moment == "woken" || held.is_some() {
            shared.1.notify_one();
        }
        if held.is_some() {
            settle(&mut scheduler);
        }
        kill(&mut scheduler, victim);
        scheduler.check_invariants();
        drop(held);
        settle(&mut scheduler);
        if moment == "unpolled" || moment == "blocked" {
            assert_eq!(trace.take(), [""; 0], "{moment}");
            shared.1.notify_one();
        }
        run_clean(&mut scheduler);
        assert_eq!(trace.take(), ["next0"], "{moment}");
        assert!(shared.0.try_lock().is_some());
    }
}

#[test]
fn condition_waits_in_one_task_then_each_is_woken() {
    let (mut scheduler, trace) = (scheduler(), Trace::default());
    let shared: &'static Shared = leak((Mutex::new(0), Condvar::new()));
    let lines = trace.clone();
    start(&mut scheduler, async move {
        let branch = |name: &'static str| {
            let lines = &lines;
            async move {
                let guard = shared.0.lock().await;
                let _guard = shared.1.wait(guard).await;
                lines.say(name);
            }
        };
        join!(branch("a"), branch("b"));
        let mut crowd: FuturesUnordered<_> = ["c", "d"].map(branch).into_iter().collect();
        while crowd.next().await.is_some() {}
    });
    settle(&mut scheduler);
    shared.1.notify_all();
    settle(&mut scheduler);
    shared.1.notify_one();
    shared.1.notify_one();
    run_clean(&mut scheduler);
    assert_eq!(trace.take().concat(), "abcd");
}

// The event.

#[test]
fn event_set_before_the_wait_then_it_does_not_block() {
    let event = Event::new();
    event.set();
    assert!(event.wait().now_or_never().is_some());
    let mut scheduler = builder().quantum(8).build();
    let step = scheduler.spawn(async move {
        event.wait().await;
        event.wait().await;
    });
    step.detach();
    assert_eq!(scheduler.step().calls(), 0);
    run_clean(&mut scheduler);
}

#[test]
fn event_set_then_all_are_woken_in_order_also_if_it_is_cleared_at_once() {
    let (mut scheduler, trace) = (scheduler(), Trace::default());
    let event: &'static Event = leak(Event::new());
    for name in ["a", "b", "c"] {
        let lines = trace.clone();
        start(&mut scheduler, async move {
            event.wait().await;
            lines.say(name);
        });
    }
    settle(&mut scheduler);
    event.set();
    assert!(event.is_set());
    event.clear();
    let lines = trace.clone();
    start(&mut scheduler, async move {
        event.wait().await;
        lines.say("late");
    });
    settle(&mut scheduler);
    assert_eq!(trace.take(), ["a", "b", "c"]);
    event.set();
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["late"]);
}

#[test]
fn event_waits_dropped_or_killed_at_any_moment_then_the_others_are_woken() {
    for moment in ["unstarted", "blocked", "woken"] {
        let (mut scheduler, trace) = (scheduler(), Trace::default());
        let event: &'static Event = leak(Event::new());
        let mut tasks = Vec::new();
        let prey = lay_in_wait(&mut scheduler);
        for name in ["victim", "other"] {
            let lines = trace.clone();
            tasks.push(start(&mut scheduler, async move {
                let mut crowd: FuturesUnordered<_> = (0..2).map(|_| event.wait()).collect();
                join!(event.wait(), event.wait());
                while crowd.next().await.is_some() {}
                lines.say(name);
            }));
        }
        if moment != "unstarted" {
            settle(&mut scheduler);
        }
        if moment == "woken" {
            event.set();
        }
        if moment == "unstarted" {
            prey.set(Some(tasks[0]));
            settle(&mut scheduler);
        } else {
            kill(&mut scheduler, tasks[0]);
        }
        event.set();
        run_clean(&mut scheduler);
        assert_eq!(trace.take(), ["other"]);
    }
}

// The barrier.

#[test]
fn barrier_then_so_many_go_on_together_and_the_last_of_each_is_the_leader() {
    let (mut scheduler, trace) = (scheduler(), Trace::default());
    let barrier: &'static Barrier = leak(Barrier::new(3));
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        let lines = trace.clone();
        start(&mut scheduler, async move {
            let pass = barrier.wait().await;
            lines.say(if pass.is_leader() { name.to_uppercase() } else { name.to_owned() });
        });
    }
    settle(&mut scheduler);
    let said = trace.take().concat();
    let leaders = said.chars().filter(|c| c.is_uppercase()).count();
    assert_eq!((said.len(), leaders, barrier.arrived()), (6, 2, 1), "{said}");
    assert!(matches!(scheduler.run(), Err(RunError::Deadlock(_))));
    scheduler.spawn(async { join!(barrier.wait(), barrier.wait()) }).detach();
    run_clean(&mut scheduler);
}

#[test]
fn barrier_for_one_or_none_then_nobody_waits() {
    for n in [0, 1] {
        let barrier = Barrier::new(n);
        assert!(barrier.wait().now_or_never().unwrap().is_leader());
    }
}

#[test]
fn arrival_is_dropped_then_it_is_not_counted() {
    let (mut scheduler, trace) = (scheduler(), Trace::default());
    let barrier: &'static Barrier = leak(Barrier::new(2));
    let victim = start(&mut scheduler, async move {
        let mut unpolled = barrier.wait();
        let mut wait = barrier.wait();
        assert!(poll_once(&mut wait).await.is_pending());
        drop(wait);
        assert_eq!(barrier.arrived(), 0);
        let _ = poll_once(&mut unpolled).await;
        trapline::sleep(SECOND).await;
    });
    settle(&mut scheduler);
    assert_eq!(barrier.arrived(), 1);
    kill(&mut scheduler, victim);
    assert_eq!(barrier.arrived(), 0);
    for name in ["a", "b"] {
        let lines = trace.clone();
        start(&mut scheduler, async move {
            barrier.wait().await;
            lines.say(name);
        });
        settle(&mut scheduler);
        assert_eq!(trace.take().len(), if name == "a" { 0 } else { 2 });
    }
    run_clean(&mut scheduler);
}

#[test]
fn one_that_is_through_is_dropped_then_the_others_are_through_all_the_same() {
    let (mut scheduler, trace) = (scheduler(), Trace::default());
    let barrier: &'static Barrier = leak(Barrier::new(3));
    let first: Rc<Cell<Option<TaskId>>> = Rc::default();
    for name in ["victim", "b", "c"] {
        let (lines, victim) = (trace.clone(), Rc::clone(&first));
        let task = start(&mut scheduler, async move {
            if barrier.wait().await.is_leader() {
                victim.get().into_iter().for_each(trapline::post_kill);
            }
            lines.say(name);
        });
        if name == "victim" {
            first.set(Some(task));
        }
    }
    run_clean(&mut scheduler);
    assert_eq!((trace.take().concat(), barrier.arrived()), ("cb".to_owned(), 0));
}

// The cell that is filled once.

#[test]
fn many_ask_for_a_value_then_one_makes_it_and_all_have_it() {
    let (mut scheduler, trace) = (scheduler(), Trace::default());
    let cell: &'static OnceCell<u32> = leak(OnceCell::new());
    for number in 1..=4 {
        let lines = trace.clone();
        start(&mut scheduler, async move {
            let make = || async {
                assert_eq!(cell.set(9), Err(SetError::BeingMade(9)));
                trapline::yield_now().await;
                number
            };
            lines.say(cell.get_or_init(make).await);
        });
    }
    run_clean(&mut scheduler);
    assert_eq!(trace.take().concat(), "1111");
    assert_eq!((cell.get(), cell.set(9)), (Some(&1), Err(SetError::HasValue(9))));
}

#[test]
fn maker_fails_or_panics_or_is_killed_then_the_next_one_makes_it() {
    for how in ["fails", "panics", "killed"] {
        let (mut scheduler, trace) = (scheduler(), Trace::default());
        let cell: &'static OnceCell<u32> = leak(OnceCell::new());
        let lines = trace.clone();
        let first = start(&mut scheduler, async move {
            let make = || async {
                trapline::sleep(SECOND).await;
                assert!(how != "panics", "on purpose");
                Err("failed")
            };
            lines.say(cell.get_or_try_init(make).await.unwrap_err());
        });
        for number in [2, 3] {
            let lines = trace.clone();
            start(&mut scheduler, async move {
                lines.say(cell.get_or_init(|| async { number }).await);
            });
        }
        settle(&mut scheduler);
        assert_eq!(trace.take(), [""; 0]);
        if how == "killed" {
            kill(&mut scheduler, first);
        }
        let report = scheduler.run().unwrap();
        assert_eq!(report.failures, usize::from(how == "panics"));
        let said = trace.take();
        assert_eq!(said.last().unwrap(), "2", "{how}");
        assert_eq!(said.len(), if how == "fails" { 3 } else { 2 });
        assert_empty(&scheduler);
    }
}

#[test]
fn waiter_for_a_value_is_dropped_when_it_was_its_turn_then_the_next_makes_it() {
    let (mut scheduler, trace) = (scheduler(), Trace::default());
    let cell: &'static OnceCell<u32> = leak(OnceCell::new());
    let mut tasks = Vec::new();
    for number in [1, 2, 3] {
        let lines = trace.clone();
        tasks.push(start(&mut scheduler, async move {
            let make = || async {
                if number == 1 {
                    std::future::pending::<()>().await;
                }
                number
            };
            lines.say(cell.get_or_init(make).await);
        }));
    }
    settle(&mut scheduler);
    scheduler
        .spawn(async move {
            trapline::post_kill(tasks[0]);
            trapline::post_kill(tasks[1]);
        })
        .detach();
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["3"]);
}

#[test]
fn value_is_made_in_branches_of_one_task_then_one_makes_it() {
    let mut scheduler = scheduler();
    let cell = OnceCell::new();
    let made = Cell::new(0);
    scheduler
        .block_on(async {
            let branch = || {
                cell.get_or_init(|| async {
                    made.set(made.get() + 1);
                    trapline::yield_now().await;
                    5
                })
            };
            assert_eq!(join!(branch(), branch(), branch()), (&5, &5, &5));
            let crowd: FuturesUnordered<_> = (0..3).map(|_| branch()).collect();
            assert_eq!(crowd.collect::<Vec<&i32>>().await, [&5, &5, &5]);
        })
        .unwrap();
    assert_eq!((made.get(), cell.into_inner()), (1, Some(5)));
    run_clean(&mut scheduler);
}

// Task locals.

trapline::task_local! {
    static NAME: &'static str;
    static NOTES: RefCell<Vec<u32>>;
}

#[test]
fn task_local_then_each_task_and_each_branch_has_its_own() {
    let (mut scheduler, trace) = (scheduler(), Trace::default());
    for name in ["a", "b"] {
        let lines = trace.clone();
        start(
            &mut scheduler,
            NAME.scope(name, async move {
                let say = async || {
                    for _ in 0..2 {
                        lines.say(NAME.get());
                        trapline::yield_now().await;
                    }
                };
                say().await;
                join!(NAME.scope("left", say()), NAME.scope("right", say()), say());
                assert_eq!(NAME.get(), name);
                assert_eq!(NAME.scope("inner", async { NAME.get() }).await, "inner");
                trapline::spawn(async { assert!(NAME.try_with(|_| ()).is_err()) })
                    .await
                    .await
                    .unwrap();
            }),
        );
    }
    run_clean(&mut scheduler);
    let said = trace.take();
    let branches = ["left", "right", "a", "left", "right", "a"];
    let of_a: Vec<_> = said.iter().filter(|line| *line != "b").cloned().collect();
    assert_eq!(of_a.iter().filter(|line| *line == "a").count(), 4);
    assert_eq!(said[..4], ["a", "b", "a", "b"]);
    assert_eq!(said.iter().filter(|line| *line == "left").count(), 4);
    assert_eq!(said[4..7], branches[..3]);
    assert!(NAME.try_with(|_| ()).is_err());
}

#[test]
fn task_killed_then_its_local_is_there_for_destructors_and_is_dropped() {
    let (mut scheduler, trace) = (scheduler(), Trace::default());
    let lines = trace.clone();
    let notes = RefCell::new(vec![1]);
    let victim = start(
        &mut scheduler,
        NOTES.scope(notes, async move {
            NOTES.with(|notes| notes.borrow_mut().push(2));
            let _at_end = support::OnDrop(move || {
                lines.say(NOTES.with(|notes| notes.borrow().len()));
            });
            std::future::pending::<()>().await;
        }),
    );
    settle(&mut scheduler);
    kill(&mut scheduler, victim);
    assert_eq!(trace.take(), ["2"]);
    run_clean(&mut scheduler);
}

#[test]
fn poll_in_a_scope_panics_then_the_outer_value_is_back() {
    let mut scheduler = scheduler();
    let outcome = scheduler
        .block_on(NAME.scope("outer", async {
            let inner = NAME.scope("inner", async { panic!("on purpose") });
            let caught = std::panic::AssertUnwindSafe(inner).catch_unwind().await;
            (caught.is_err(), NAME.get())
        }))
        .unwrap();
    assert_eq!(outcome, (true, "outer"));
    let text = panic_of(|| NAME.get());
    assert!(text.contains("no scope"), "{text}");
    run_clean(&mut scheduler);
}
