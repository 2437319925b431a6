//! Events: whoever hears them, and nothing else, knows the state of every task and call at every step, and who
//! woke whom.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/mirror.rs"]
mod mirror;
mod support;

use std::future::poll_fn;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use mirror::Mirror;
use support::{Slot, Trace, builder, poll_once};
use trapline::sync::Mutex as Lock;
use trapline::{
    Event, Scheduler, TaskId, WaitQueue, cancellable, kill, read_wait, shield, sleep, spawn,
    spawn_detached, timeout, unblock, wait, yield_now,
};

const MILLI: Duration = Duration::from_millis(1);

/// Runs `future` and all it starts, and compares after every step; then kills what is left, and goes on.
#[track_caller]
fn mirrored<F: Future<Output: 'static> + 'static>(future: F) {
    let mirror = Mirror::default();
    let mut scheduler = builder().probe(mirror.probe()).build();
    scheduler.spawn(future).detach();
    run_mirrored(&mut scheduler, &mirror);
}

#[track_caller]
fn run_mirrored(scheduler: &mut Scheduler, mirror: &Mirror) {
    loop {
        let step = scheduler.step();
        mirror.compare(scheduler);
        if step.is_last() {
            break;
        }
    }
    for task in scheduler.snapshot().tasks {
        scheduler.kill(task.id);
        mirror.compare(scheduler);
    }
    drop(scheduler.run());
    mirror.compare(scheduler);
}

/// The lines of a run that tell who woke whom.
fn wakes_of(run: impl FnOnce(&mut Scheduler)) -> Vec<String> {
    let trace = Trace::default();
    let lines = trace.clone();
    let probe = move |event: &Event<'_>| {
        let woken = matches!(
            event,
            Event::Ready { .. } | Event::WokenReady { .. } | Event::WokenRunning { .. }
        );
        if woken || matches!(event, Event::Thread { .. }) {
            lines.say(event);
        }
    };
    let mut scheduler = builder().probe(probe).build();
    run(&mut scheduler);
    trace.take()
}

// The moves suffice

#[test]
fn every_kind_of_call_then_the_mirror_agrees_at_every_step() {
    let (reader, writer) = UnixStream::pair().unwrap();
    mirrored(async move {
        yield_now().await;
        let sleeper = spawn(sleep(MILLI * 2)).name("sleeper").await;
        let daemon = spawn(std::future::pending::<()>()).daemon().await;
        let waiter = spawn(wait(sleeper.id())).await;
        let reading = spawn(async move { read_wait(&reader).await }).await;
        trapline::write_wait(&writer).await.unwrap();
        sleep(MILLI).await;
        (&writer).write_all(&[1]).unwrap();
        reading.await.unwrap().unwrap();
        trapline::now().await;
        kill(daemon.id()).await.unwrap();
        waiter.await.unwrap().unwrap();
        sleeper.await.unwrap();
    });
}

#[test]
fn several_calls_in_flight_then_each_is_known_with_what_it_is_on() {
    mirrored(async {
        let queue = Rc::new(WaitQueue::new(0));
        let calls: FuturesUnordered<_> = (1..4).map(|millis| sleep(MILLI * millis)).collect();
        let theirs = Rc::clone(&queue);
        spawn_detached(async move { theirs.wake() });
        futures::join!(calls.for_each(|_| async {}), queue.park(), sleep(MILLI), yield_now());
        let lost = timeout(MILLI, queue.park()).await;
        assert!(lost.is_err());
        futures::future::select(queue.park(), sleep(MILLI)).await;
    });
}

#[test]
fn pending_call_moved_to_another_task_then_it_is_that_ones() {
    mirrored(async {
        let slot = Slot::new();
        let queue = Rc::new(WaitQueue::new(0));
        let theirs = slot.clone();
        spawn_detached(async move {
            let mut nap = sleep(MILLI * 3);
            assert!(poll_once(&mut nap).await.is_pending());
            yield_now().await;
            theirs.put(nap);
        });
        sleep(MILLI).await;
        slot.take().unwrap().await;
        // Left behind by a task that ends, and dropped after that.
        let left = slot.clone();
        let theirs = Rc::clone(&queue);
        spawn_detached(async move {
            let _parked = poll_once(&mut theirs.park()).await;
            let mut nap = sleep(MILLI);
            assert!(poll_once(&mut nap).await.is_pending());
            yield_now().await;
            left.put(nap);
        });
        sleep(MILLI / 2).await;
        drop(slot.take());
        yield_now().await;
    });
}

#[test]
fn lock_with_a_line_then_holder_and_line_are_known() {
    mirrored(async {
        let lock = Rc::new(Lock::new(0));
        let guard = lock.lock().await;
        let mut tasks = Vec::new();
        for _ in 0..4 {
            let lock = Rc::clone(&lock);
            tasks.push(
                spawn(async move {
                    let mut number = lock.lock().await;
                    yield_now().await;
                    *number += 1;
                })
                .await,
            );
        }
        sleep(MILLI).await;
        // One leaves the middle of the line, one by a time-out.
        kill(tasks[1].id()).await.unwrap();
        assert!(timeout(MILLI, lock.lock()).await.is_err());
        yield_now().await;
        drop(guard);
        for task in tasks {
            let _ = task.await;
        }
        assert_eq!(*lock.lock().await, 3);
    });
}

#[test]
fn kills_and_cancels_then_the_calls_of_the_dead_are_gone() {
    mirrored(async {
        let queue = Rc::new(WaitQueue::new(0));
        let theirs = Rc::clone(&queue);
        let parked = spawn(async move {
            futures::join!(theirs.park(), theirs.park(), sleep(MILLI * 9));
        })
        .await;
        let scoped = spawn(async {
            drop(cancellable(shield(sleep(MILLI))).await);
            sleep(MILLI).await;
        })
        .await;
        yield_now().await;
        trapline::cancel(scoped.id(), "enough").await.unwrap();
        trapline::cancel(parked.id(), "enough").await.unwrap();
        let _ = parked.await;
        let _ = scoped.await;
        queue.wake();
        kill(trapline::get_tid().await).await.unwrap();
    });
}

#[test]
fn orders_between_two_steps_then_the_mirror_agrees() {
    let mirror = Mirror::default();
    let mut scheduler = builder().probe(mirror.probe()).build();
    let tasks: Vec<TaskId> =
        (0..5).map(|_| scheduler.spawn(async { sleep(MILLI).await }).id()).collect();
    mirror.compare(&scheduler);
    assert!(scheduler.put_first(tasks[3]));
    mirror.compare(&scheduler);
    scheduler.step();
    assert!(!scheduler.put_first(tasks[3]), "it is blocked");
    mirror.compare(&scheduler);
    assert!(scheduler.kill(tasks[2]));
    assert!(scheduler.cancel(tasks[3], "by order"));
    assert!(!scheduler.cancel(tasks[3], "again"));
    mirror.compare(&scheduler);
    run_mirrored(&mut scheduler, &mirror);
}

#[test]
fn wakes_and_errands_of_threads_then_the_mirror_agrees() {
    mirrored(async {
        let (left, right) = futures::join!(unblock(|| 1), unblock(|| 2));
        assert_eq!(left + right, 3);
        let waker: Arc<Mutex<Option<Waker>>> = Arc::default();
        let mut thread = None;
        poll_fn(|cx| {
            if thread.is_some() {
                return Poll::Ready(());
            }
            let waker = cx.waker().clone();
            thread = Some(thread::spawn(move || waker.wake()));
            Poll::Pending
        })
        .await;
        drop(waker);
        thread.unwrap().join().unwrap();
    });
}

// The causes

#[test]
fn woken_by_task_timer_and_exit_then_each_is_named() {
    let wakes = wakes_of(|scheduler| {
        scheduler
            .block_on(async {
                let queue = Rc::new(WaitQueue::new(0));
                let theirs = Rc::clone(&queue);
                let parked = spawn(async move { theirs.park().await }).await;
                sleep(MILLI).await;
                queue.wake();
                parked.await.unwrap();
            })
            .unwrap();
    });
    assert_eq!(wakes, ["timer wakes 1", "1 wakes 2", "exit of 2 wakes 1"]);
}

#[test]
fn woken_by_a_descriptor_then_its_number_is_named() {
    let (reader, writer) = UnixStream::pair().unwrap();
    let number = reader.as_raw_fd();
    let wakes = wakes_of(|scheduler| {
        let task = scheduler.spawn(async move { read_wait(&reader).await.unwrap() });
        while scheduler.step().task().is_none() {}
        (&writer).write_all(&[1]).unwrap();
        scheduler.block_on(task).unwrap().unwrap();
    });
    assert_eq!(wakes, [format!("fd {number} wakes 1"), "exit of 1 wakes 2".into()]);
}

#[test]
fn foreign_waker_called_by_a_task_then_that_task_is_the_cause() {
    let wakes = wakes_of(|scheduler| {
        let slot: Slot<Waker> = Slot::new();
        let theirs = slot.clone();
        let sleeper = scheduler.spawn(async move {
            let mut calls: FuturesUnordered<_> = [poll_fn(move |cx| {
                if theirs.is_full() {
                    return Poll::Ready(());
                }
                theirs.put(cx.waker().clone());
                Poll::Pending
            })]
            .into_iter()
            .collect();
            calls.next().await;
        });
        let waker = slot.clone();
        scheduler
            .spawn(async move {
                // A set of futures gives way once when each has been polled.
                yield_now().await;
                yield_now().await;
                let taken = waker.take().unwrap();
                waker.put(taken.clone());
                taken.wake();
            })
            .detach();
        scheduler.block_on(sleeper).unwrap().unwrap();
    });
    assert_eq!(wakes, ["1 wakes 1, which runs", "2 wakes 1", "exit of 1 wakes 3"]);
}

#[test]
fn woken_by_a_thread_then_its_name_is_told_once() {
    let wakes = wakes_of(|scheduler| {
        scheduler
            .block_on(async {
                for _ in 0..2 {
                    let mut started = false;
                    poll_fn(|cx| {
                        if std::mem::replace(&mut started, true) {
                            return Poll::Ready(());
                        }
                        let waker = cx.waker().clone();
                        let thread = thread::Builder::new().name("bell".into());
                        thread.spawn(move || waker.wake()).unwrap().join().unwrap();
                        Poll::Pending
                    })
                    .await;
                }
            })
            .unwrap();
    });
    assert_eq!(wakes, ["thread 1 is bell", "thread 1 wakes 1", "thread 1 wakes 1"]);
}

#[test]
fn woken_while_it_runs_or_is_ready_then_it_is_told_as_such() {
    let wakes = wakes_of(|scheduler| {
        let slot: Slot<Waker> = Slot::new();
        let theirs = slot.clone();
        let first = scheduler.spawn(async move {
            support::give_way().await;
            poll_fn(|cx| {
                theirs.put(cx.waker().clone());
                Poll::Ready(())
            })
            .await;
            yield_now().await;
        });
        let waker = slot.clone();
        scheduler
            .spawn(async move {
                yield_now().await;
                waker.take().unwrap().wake();
            })
            .detach();
        drop(scheduler.run().unwrap());
        drop(first);
    });
    assert_eq!(wakes, ["1 wakes 1, which runs", "2 wakes 1, which is ready"]);
}
