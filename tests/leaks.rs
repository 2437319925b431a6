//! What is left when a scheduler is gone: not a byte, but for the thread's one ring.
//!
//! An allocator counts. All is one test, since the tests of a program run side by side.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::alloc::System;
use std::future::pending;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use trapline::channel::{broadcast, channel, oneshot, rendezvous, unbounded, watch};
use trapline::net::{TcpListener, TcpStream};
use trapline::sync::{Barrier, Condvar, Event, Mutex, OnceCell, RLock, RwLock, Semaphore};
use trapline::{
    Scheduler, WaitQueue, cancel, cancellable, cancelled, join_all, kill, race, shield, sleep,
    spawn, spawn_detached, timeout, traced, wait, yield_now,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn live_bytes() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// How often a scenario is run before what it leaves is counted: by then the thread's ring, and what
/// the standard library keeps for a thread, have been made.
const WARM_UP: usize = 3;

/// Runs a scenario over and over, each time in a scheduler of its own.
fn leaves_nothing(name: &str, scenario: fn(&mut Scheduler)) {
    let run = || {
        let mut scheduler = Scheduler::builder().virtual_clock().build();
        scenario(&mut scheduler);
    };
    (0..WARM_UP).for_each(|_| run());
    let before = live_bytes();
    (0..WARM_UP).for_each(|_| run());
    let after = live_bytes();
    assert_eq!(after.wrapping_sub(before) as isize, 0, "{name}: bytes left");
}

/// The same where threads come and go meanwhile, each with what the standard library keeps for it: over
/// many runs next to nothing is left.
fn leaves_little(name: &str, scenario: fn(&mut Scheduler)) {
    const RUNS: usize = 200;
    const A_FEW_THREADS: usize = 16 * 1024;

    let before = live_bytes();
    (0..RUNS).for_each(|_| scenario(&mut Scheduler::builder().virtual_clock().build()));
    let left = live_bytes().saturating_sub(before);
    assert!(left < A_FEW_THREADS, "{name}: {left} bytes left after {RUNS} runs");
}

/// Drives tasks that are to be cut off where they are: to the first look at the outside.
fn until_at_rest(scheduler: &mut Scheduler) {
    while scheduler.step().task().is_some() {}
}

const SECOND: Duration = Duration::from_secs(1);

fn tasks(scheduler: &mut Scheduler) {
    scheduler
        .block_on(async {
            let children: Vec<_> = join_all((0..50).map(|n| spawn(async move { n }))).await;
            for child in children {
                child.await.unwrap();
            }
            let named = spawn(pending::<()>()).name(String::from("named")).await;
            kill(named.id()).await.unwrap();
            wait(named.id()).await.unwrap();
            let panicked =
                spawn(async { resume_unwind(Box::new("no hook, which would print")) }).await;
            let _: trapline::JoinError = panicked.await.map(|(): ()| ()).unwrap_err();
            spawn_detached(yield_now());
            yield_now().await;
        })
        .unwrap();
}

fn cut_off(scheduler: &mut Scheduler) {
    let queue = Rc::new(WaitQueue::new(0));
    for n in 0..50_u32 {
        let queue = Rc::clone(&queue);
        let child = scheduler.spawn(async move {
            let mut many: FuturesUnordered<_> = (0..3).map(|_| queue.park()).collect();
            race(async { many.next().await.unwrap_or_default() }, sleep_for(n)).await;
        });
        if n % 2 == 0 {
            child.detach();
        }
    }
    scheduler.spawn(cancellable(shield(timeout(SECOND, pending::<()>())))).detach();
    for _ in 0..60 {
        scheduler.step();
    }
}

async fn sleep_for(seconds: u32) {
    sleep(SECOND * seconds).await;
}

fn cancellations(scheduler: &mut Scheduler) {
    scheduler
        .block_on(async {
            let children = [
                spawn(pending::<()>()).await,
                spawn(async { drop(cancellable(sleep(SECOND)).await) }).await,
                spawn(shield(sleep_for(1))).await,
                spawn(async { drop(cancelled().await) }).await,
            ];
            yield_now().await;
            for child in &children {
                cancel(child.id(), String::from("a reason of its own")).await.unwrap();
            }
            for child in children {
                drop(child.await);
            }
        })
        .unwrap();
}

fn locks(scheduler: &mut Scheduler) {
    let (mutex, rlock) = (Rc::new(Mutex::new(0)), Rc::new(RLock::new(0)));
    let (rwlock, semaphore) = (Rc::new(RwLock::new(0)), Rc::new(Semaphore::new(3)));
    let (condvar, event) = (Rc::new(Condvar::new()), Rc::new(Event::new()));
    let (barrier, cell) = (Rc::new(Barrier::new(8)), Rc::new(OnceCell::new()));
    for n in 0..8_u32 {
        let (mutex, rlock, rwlock) = (mutex.clone(), rlock.clone(), rwlock.clone());
        let (semaphore, condvar, event) = (semaphore.clone(), condvar.clone(), event.clone());
        let (barrier, cell) = (barrier.clone(), cell.clone());
        scheduler
            .spawn(async move {
                let mut guard = mutex.lock().await;
                yield_now().await;
                *guard += 1;
                drop(guard);
                let outer = rlock.lock().await;
                drop((rlock.lock().await, outer));
                drop(rwlock.read().await);
                *rwlock.write().await += 1;
                drop(semaphore.acquire_many(2).await);
                cell.get_or_init(|| async { yield_now().await }).await;
                barrier.wait().await;
                if n == 7 {
                    event.set();
                    condvar.notify_all();
                } else {
                    event.wait().await;
                }
                // Cut off here: each waits for a lock that another one holds.
                let _guard = mutex.lock().await;
                pending::<()>().await;
            })
            .detach();
    }
    until_at_rest(scheduler);
}

fn channels(scheduler: &mut Scheduler) {
    scheduler
        .block_on(async {
            for (sender, receiver) in [channel(2), unbounded(), rendezvous()] {
                spawn_detached(async move {
                    for n in 0..10 {
                        if sender.send(n).await.is_err() {
                            return;
                        }
                    }
                });
                for _ in 0..5 {
                    receiver.recv().await.unwrap();
                }
            }
            let (sender, mut receiver) = oneshot();
            spawn_detached(async move { drop(sender.send(String::from("once"))) });
            receiver.recv().await.unwrap();
            let (sender, mut receiver) = broadcast(4);
            spawn_detached(async move {
                for n in 0..3 {
                    drop(sender.send(Rc::new(n)).await);
                }
            });
            receiver.recv().await.unwrap();
            let (sender, mut receiver) = watch(0);
            spawn_detached(async move { sender.send(1).unwrap_or_default() });
            receiver.changed().await.unwrap();
            trapline::send(trapline::get_tid().await, String::from("to myself")).await.unwrap();
        })
        .unwrap();
}

fn threads(scheduler: &mut Scheduler) {
    scheduler
        .block_on(async {
            assert_eq!(trapline::unblock(|| 6 * 7).await, 42);
            drop(trapline::unblock(|| Box::new([0_u8; 64])));
        })
        .unwrap();
    drop(scheduler.handle());
}

/// How often `operation` allocates, done over and over by a task, once it has been done a few times.
async fn allocations_of<F: Future>(mut operation: impl FnMut() -> F) -> usize {
    for _ in 0..WARM_UP {
        operation().await;
    }
    let before = ALLOCATOR.stats().allocations;
    for _ in 0..100 {
        operation().await;
    }
    ALLOCATOR.stats().allocations - before
}

#[traced]
async fn traced_lock(mutex: &Mutex<i32>) {
    *mutex.lock().await += 1;
}

/// Somebody has listened before: what was kept for that is given back with the scheduler.
fn listened_to(_: &mut Scheduler) {
    let probe = |_: &trapline::Event<'_>| {};
    let mut scheduler = Scheduler::builder().virtual_clock().probe(probe).build();
    scheduler
        .block_on(async {
            let mutex = Mutex::new(0).named("log");
            let (sender, receiver) = channel(4);
            for n in 0..100 {
                traced_lock(&mutex).await;
                trapline::frame(sender.send(n)).await.unwrap();
                trapline::frame(receiver.recv()).await.unwrap();
                trapline::frame(yield_now()).await;
            }
            spawn_detached(trapline::frame(pending::<()>()));
        })
        .unwrap();
}

/// All in one step, since a check of the invariants allocates.
fn what_need_not_wait_allocates_nothing(_: &mut Scheduler) {
    Scheduler::builder()
        .quantum(1_000_000)
        .build()
        .block_on(async {
            let (mutex, rlock, rwlock) = (Mutex::new(0), RLock::new(0), RwLock::new(0));
            let (semaphore, event, cell) = (Semaphore::new(3), Event::new(), OnceCell::new());
            event.set();
            cell.set(7).unwrap();
            let (sender, receiver) = channel(4);
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let _server = listener.accept().await.unwrap();
            let counts = [
                allocations_of(async || *mutex.lock().await += 1).await,
                allocations_of(async || drop((rlock.lock().await, rlock.lock().await))).await,
                allocations_of(async || drop(rwlock.read().await)).await,
                allocations_of(async || *rwlock.write().await += 1).await,
                allocations_of(async || drop(semaphore.acquire_many(2).await)).await,
                allocations_of(async || event.wait().await).await,
                allocations_of(async || *cell.get_or_init(async || 8).await).await,
                allocations_of(async || {
                    sender.send(1).await.unwrap();
                    receiver.recv().await.unwrap()
                })
                .await,
                allocations_of(async || traced_lock(&mutex).await).await,
                allocations_of(async || client.write_all(b"hello").await.unwrap()).await,
            ];
            assert_eq!(
                counts, [0; 10],
                "of six locks and their kin, a cell, a channel, a frame, a socket"
            );
        })
        .unwrap();
}

#[test]
fn scheduler_gone_then_not_a_byte_is_left() {
    leaves_nothing("an idle scheduler", |_| {});
    leaves_nothing("tasks", tasks);
    leaves_nothing("tasks cut off", cut_off);
    leaves_nothing("cancellations", cancellations);
    leaves_nothing("locks", locks);
    leaves_nothing("channels", channels);
    leaves_nothing("what need not wait", what_need_not_wait_allocates_nothing);
    leaves_nothing("somebody who listened", listened_to);
    leaves_little("threads", threads);
}
