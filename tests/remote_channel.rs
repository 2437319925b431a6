//! Channels between threads: a value wakes its task, also while the scheduler sleeps; a thread
//! blocks, a task never does.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use futures::{StreamExt, join};
use support::{Counter, OnDrop, assert_empty, builder, panic_of, poll_idly, poll_under, run_clean};
use trapline::channel::remote::{Receiver, Sender};
use trapline::channel::{TryRecvError, TrySendError, remote};
use trapline::{RunError, Scheduler, sleep, spawn, yield_now};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn ends_then_they_may_go_to_any_thread() {
    fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Sender<u32>>();
    is_send_and_sync::<Receiver<u32>>();
}

// From threads to a task (51)

#[test]
fn value_sent_from_a_thread_then_it_wakes_its_task_also_while_the_scheduler_sleeps() {
    // With nothing else, and with a timer an hour away.
    for with_timer in [false, true] {
        let mut scheduler = Scheduler::new();
        if with_timer {
            let options = trapline::TaskOptions::new().daemon();
            scheduler.spawn_with(options, sleep(SECOND * 3600)).detach();
        }
        let (sender, receiver) = remote(1);
        let receiving = scheduler.spawn(async move { receiver.recv().await });
        // It waits before the thread starts: the next look at the outside sleeps.
        scheduler.step();
        let thread = thread::spawn(move || sender.send_blocking(7).unwrap());
        assert_eq!(scheduler.block_on(receiving).unwrap().unwrap(), Some(7));
        thread.join().unwrap();
    }
}

#[test]
fn values_from_one_thread_then_they_arrive_in_order_through_any_capacity() {
    for capacity in [1, 3, usize::MAX] {
        let mut scheduler = Scheduler::new();
        let (sender, receiver) = remote(capacity);
        let thread = thread::spawn(move || {
            for number in 0..2_000 {
                sender.send_blocking(number).unwrap();
            }
        });
        let received: Vec<u32> = scheduler.block_on(receiver.collect()).unwrap();
        assert!(received.into_iter().eq(0..2_000));
        thread.join().unwrap();
        run_clean(&mut scheduler);
    }
}

#[test]
fn values_from_many_threads_to_many_tasks_then_each_arrives_once() {
    const THREADS: usize = 4;
    const EACH: usize = 2_000;
    let mut scheduler = Scheduler::new();
    let (sender, receiver) = remote(2);
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let sender = sender.clone();
            thread::spawn(move || {
                for value in 0..EACH {
                    sender.send_blocking(number * EACH + value).unwrap();
                }
            })
        })
        .collect();
    drop(sender);
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            let receiver = receiver.clone();
            scheduler.spawn(async move {
                let mut received = Vec::new();
                while let Some(value) = receiver.recv().await {
                    received.push(value);
                }
                received
            })
        })
        .collect();
    drop(receiver);
    let mut all = Vec::new();
    for task in tasks {
        let received = scheduler.block_on(task).unwrap().unwrap();
        // Of each thread, in order.
        for number in 0..THREADS {
            let from: Vec<usize> =
                received.iter().copied().filter(|value| value / EACH == number).collect();
            assert!(from.is_sorted());
        }
        all.extend(received);
    }
    all.sort_unstable();
    assert!(all.into_iter().eq(0..THREADS * EACH));
    for thread in threads {
        thread.join().unwrap();
    }
    run_clean(&mut scheduler);
}

// From a task to threads

#[test]
fn task_sends_to_a_thread_that_blocks_then_it_waits_for_room_and_the_others_run_on() {
    let mut scheduler = Scheduler::new();
    let (sender, receiver) = remote(1);
    let (go, started) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        started.recv().unwrap();
        let mut received = Vec::new();
        while let Some(value) = receiver.recv_blocking() {
            received.push(value);
        }
        received
    });
    scheduler
        .block_on(async move {
            let sending = spawn(async move {
                for number in 0..100 {
                    sender.send(number).await.unwrap();
                }
            })
            .await;
            for _ in 0..50 {
                yield_now().await;
            }
            go.send(()).unwrap();
            sending.await.unwrap();
        })
        .unwrap();
    assert!(thread.join().unwrap().into_iter().eq(0..100));
    run_clean(&mut scheduler);
}

#[test]
fn ping_pong_between_a_task_and_a_thread_then_no_wake_is_lost() {
    let mut scheduler = Scheduler::new();
    let (ping, pings) = remote(1);
    let (pong, pongs) = remote(1);
    let thread = thread::spawn(move || {
        while let Some(number) = pings.recv_blocking() {
            pong.send_blocking(number + 1).unwrap();
        }
    });
    scheduler
        .block_on(async move {
            for number in 0..2_000 {
                ping.send(number).await.unwrap();
                assert_eq!(pongs.recv().await, Some(number + 1));
            }
        })
        .unwrap();
    thread.join().unwrap();
    assert_empty(&scheduler);
}

#[test]
fn blocking_form_in_a_task_then_it_panics_and_says_so() {
    let mut scheduler = builder().build();
    let (sender, receiver) = remote(1);
    scheduler
        .block_on(async {
            let text = panic_of(|| sender.send_blocking(1));
            assert!(text.contains("would stop every task"), "{text}");
            assert!(panic_of(|| receiver.recv_blocking()).contains("would stop every task"));
            assert_eq!(receiver.len(), 0);
        })
        .unwrap();
    sender.send_blocking(1).unwrap();
    assert_eq!(receiver.recv_blocking(), Some(1));
}

// The end

#[test]
fn last_sender_gone_in_its_thread_then_the_task_drains_and_sees_the_end() {
    let mut scheduler = Scheduler::new();
    for _ in 0..200 {
        let (sender, receiver) = remote(4);
        let thread = thread::spawn(move || sender.send_blocking(1).unwrap());
        let received = scheduler.block_on(async { [receiver.recv().await, receiver.recv().await] });
        assert_eq!(received.unwrap(), [Some(1), None]);
        thread.join().unwrap();
    }
    run_clean(&mut scheduler);
}

#[test]
fn receiver_gone_then_a_thread_that_blocks_gets_its_value_back() {
    let mut scheduler = Scheduler::new();
    let (sender, receiver) = remote(1);
    sender.try_send(0).unwrap();
    assert!(matches!(sender.try_send(1), Err(TrySendError::Full(1))));
    let theirs = sender.clone();
    let thread = thread::spawn(move || theirs.send_blocking(2).unwrap_err().into_inner());
    scheduler.block_on(async move { drop(receiver) }).unwrap();
    assert_eq!(thread.join().unwrap(), 2);
    assert!(sender.is_closed() && sender.is_empty());
    assert!(matches!(sender.try_send(3), Err(TrySendError::Closed(3))));
    assert_eq!(
        poll_idly(&mut sender.send(4)).map(|sent| sent.unwrap_err().0),
        std::task::Poll::Ready(4)
    );
}

#[test]
fn closed_then_what_is_there_may_be_taken() {
    let (sender, receiver) = remote(2);
    sender.try_send(1).unwrap();
    assert!(receiver.close() && !sender.close());
    assert!(sender.send_blocking(2).is_err());
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(1), Err(TryRecvError::Closed)));
    assert_eq!(receiver.recv_blocking(), None);
}

#[test]
fn sent_after_the_scheduler_is_gone_then_nothing_happens() {
    let (sender, receiver) = remote(8);
    let other = receiver.clone();
    let mut scheduler = Scheduler::new();
    scheduler.spawn(async move { receiver.recv().await }).detach();
    scheduler.step();
    drop(scheduler);
    let thread = thread::spawn(move || sender.send_blocking(1).unwrap());
    thread.join().unwrap();
    assert_eq!(other.try_recv(), Ok(1), "nobody who waits is left to be given it");
}

// Ghosts and order

#[test]
fn waiter_dropped_at_each_moment_then_the_value_reaches_someone_who_is_there() {
    for moment in 0..3 {
        let (sender, receiver) = remote(4);
        let (counter, waker) = Counter::new();
        let (mut first, mut second) = (receiver.recv(), receiver.recv());
        if moment > 0 {
            assert!(poll_under(&mut first, &waker).is_pending());
        }
        assert!(poll_under(&mut second, &waker).is_pending());
        if moment == 2 {
            sender.try_send(1).unwrap();
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty), "it was given to the first");
            assert!(poll_under(&mut second, &waker).is_pending());
            drop(first);
        } else {
            drop(first);
            sender.try_send(1).unwrap();
        }
        assert_eq!(counter.count(), 1 + usize::from(moment == 2));
        assert_eq!(poll_idly(&mut second), std::task::Poll::Ready(Some(1)));
    }
}

#[test]
fn sender_dropped_at_each_moment_then_the_room_is_the_next_ones() {
    for moment in 0..3 {
        let (sender, receiver) = remote(1);
        sender.try_send(0).unwrap();
        let (_, waker) = Counter::new();
        let (mut first, mut second) = (sender.send(1), sender.send(2));
        if moment > 0 {
            assert!(poll_under(&mut first, &waker).is_pending());
        }
        assert!(poll_under(&mut second, &waker).is_pending());
        if moment == 2 {
            assert_eq!(receiver.try_recv(), Ok(0));
            assert!(sender.try_send(3).unwrap_err().is_full(), "the room is the first one's");
            drop(first);
        } else {
            drop(first);
            assert_eq!(receiver.try_recv(), Ok(0));
        }
        assert!(poll_idly(&mut second).is_ready());
        assert_eq!(receiver.try_recv(), Ok(2));
    }
}

#[test]
fn task_killed_while_it_waits_then_it_leaves_no_ghost_and_no_waker() {
    for sends in [false, true] {
        let mut scheduler = builder().build();
        let (sender, receiver) = remote(1);
        sender.try_send(0).unwrap();
        if !sends {
            receiver.try_recv().unwrap();
        }
        let (theirs, others) = (sender.clone(), receiver.clone());
        let task = scheduler.spawn(async move {
            if sends {
                theirs.send(1).await.unwrap();
            } else {
                others.recv().await;
            }
        });
        let id = task.id();
        task.detach();
        scheduler
            .block_on(async move {
                sleep(Duration::from_nanos(1)).await;
                trapline::kill(id).await.unwrap();
            })
            .unwrap();
        run_clean(&mut scheduler);
        let expected = if sends { Ok(0) } else { Err(TryRecvError::Empty) };
        assert_eq!(receiver.try_recv(), expected);
        sender.try_send(5).unwrap();
        assert_eq!(receiver.try_recv(), Ok(5));
        assert!(format!("{sender:?}").contains("waiting_receivers: 0"), "{sender:?}");
    }
}

#[test]
fn task_that_only_a_thread_can_serve_then_no_deadlock_but_a_stall() {
    let mut scheduler = builder().build();
    let (sender, receiver) = remote::<u32>(1);
    scheduler.spawn(async move { receiver.recv().await }).detach();
    assert!(matches!(scheduler.run(), Err(RunError::Stalled(_))));
    drop(sender);
    run_clean(&mut scheduler);
}

#[test]
fn two_ends_in_one_scheduler_then_it_is_a_channel_like_any_other() {
    for quantum in [1, 32] {
        let mut scheduler = builder().quantum(quantum).build();
        scheduler
            .block_on(async {
                let (sender, receiver) = remote(1);
                let sending = async {
                    for number in 0..10 {
                        sender.send(number).await.unwrap();
                    }
                    sender.close();
                };
                let receiving = async {
                    let mut received = Vec::new();
                    while let Some(value) = receiver.recv().await {
                        received.push(value);
                    }
                    received
                };
                let ((), received) = join!(sending, receiving);
                assert!(received.into_iter().eq(0..10));
                assert_eq!(receiver.recv().await, None);
            })
            .unwrap();
        run_clean(&mut scheduler);
    }
}

#[test]
fn values_whose_destructors_use_the_channel_then_the_lock_is_free() {
    type Thing = OnDrop<Box<dyn FnMut() + Send>>;
    let (sender, receiver): (Sender<Thing>, Receiver<Thing>) = remote(2);
    let inner = sender.clone();
    let seen = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&seen);
    let thing = OnDrop(Box::new(move || {
        theirs.fetch_add(1 + inner.len(), Ordering::Relaxed);
    }) as Box<dyn FnMut() + Send>);
    assert!(sender.try_send(thing).is_ok());
    drop(receiver);
    assert_eq!(seen.load(Ordering::Relaxed), 1);
}
