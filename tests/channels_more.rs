//! What channels, queues and cells offer besides: batches, the end seen from the sender, a value that is
//! as one wants it, jobs that are called done by themselves.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, select_biased};
use support::{OnDrop, Trace, builder, panic_of, poll_idly, poll_once, run_clean};
use trapline::channel::{Closed, Queue, TryRecvError, channel, rendezvous, unbounded, watch};
use trapline::sync::{OnceCell, Semaphore};
use trapline::{RunError, kill, sleep, spawn, spawn_detached, timeout, yield_now};

const SECOND: Duration = Duration::from_secs(1);

/// Runs a root under each quantum: at 1 every operation is a scheduling point.
#[track_caller]
fn under_each_quantum<F: Future<Output = ()>>(test: impl Fn() -> F) {
    for quantum in [1, 2, 32] {
        let mut scheduler = builder().quantum(quantum).build();
        scheduler.block_on(test()).unwrap();
        run_clean(&mut scheduler);
    }
}

/// Lets everybody run until all wait.
async fn settle() {
    sleep(Duration::from_nanos(1)).await;
}

/// Polls until it has rested and stands in line.
async fn wait_in<F: Future + Unpin>(future: &mut F) {
    for _ in 0..2 {
        assert!(poll_once(future).await.is_pending());
        yield_now().await;
    }
}

// Batches

#[test]
fn batches_then_values_arrive_in_order_and_no_more_than_asked_for() {
    under_each_quantum(|| async {
        for capacity in [0, 1, 5] {
            let (sender, receiver) = channel(capacity);
            spawn_detached(async move {
                for number in 0..20 {
                    sender.send(number).await.unwrap();
                }
            });
            let mut all = Vec::new();
            loop {
                let before = all.len();
                let count = receiver.recv_many(&mut all, 3).await;
                assert_eq!(all.len() - before, count);
                assert!(count <= 3);
                if count == 0 {
                    break;
                }
            }
            assert!(all.iter().copied().eq(0..20), "{all:?}");
            assert_eq!(receiver.recv_many(&mut all, 3).await, 0);
        }
    });
}

#[test]
fn batch_of_none_then_nothing_is_waited_for() {
    let (_sender, receiver) = unbounded::<u32>();
    let mut none = Vec::new();
    assert_eq!(receiver.recv_many(&mut none, 0).now_or_never(), Some(0));
    assert!(none.is_empty());
}

#[test]
fn batch_then_what_others_were_promised_is_theirs() {
    let mut scheduler = builder().quantum(1000).build();
    scheduler
        .block_on(async {
            let (sender, receiver) = unbounded();
            let mut first = receiver.recv();
            assert!(poll_once(&mut first).await.is_pending());
            (0..4).for_each(|number| sender.try_send(number).unwrap());
            let mut batch = Vec::new();
            assert_eq!(receiver.recv_many(&mut batch, 9).await, 3);
            assert_eq!((batch, first.await), (vec![0, 1, 2], Some(3)));
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn batch_dropped_at_each_moment_then_it_has_taken_nothing() {
    under_each_quantum(|| async {
        for polls in 0..3 {
            let (sender, receiver) = unbounded();
            let mut batch = Vec::new();
            let mut wait = receiver.recv_many(&mut batch, 9);
            if polls > 0 {
                wait_in(&mut wait).await;
            }
            if polls > 1 {
                // It is given the first, and does not come for it.
                sender.try_send(0).unwrap();
            }
            drop(wait);
            assert!(batch.is_empty());
            (1..3).for_each(|number| sender.try_send(number).unwrap());
            let left: Vec<u32> = receiver.try_iter().collect();
            assert!(left.iter().copied().eq(if polls > 1 { 0 } else { 1 }..3), "{left:?}");
        }
    });
}

#[test]
fn batch_in_a_loop_of_select_or_in_a_task_that_is_killed_then_each_value_arrives_once() {
    under_each_quantum(|| async {
        let (sender, receiver) = channel(2);
        let theirs = receiver.clone();
        let victim = spawn(async move { theirs.recv_many(&mut Vec::new(), 9).await }).await;
        settle().await;
        // It is given this one.
        sender.try_send(0).unwrap();
        kill(victim.id()).await.unwrap();
        spawn_detached(async move {
            for number in 1..30 {
                sender.send(number).await.unwrap();
                if number % 4 == 0 {
                    sleep(Duration::from_nanos(3)).await;
                }
            }
        });
        let (mut all, mut ticks) = (Vec::new(), 0);
        loop {
            select_biased! {
                _ = sleep(Duration::from_nanos(1)).fuse() => ticks += 1,
                count = receiver.recv_many(&mut all, 5).fuse() => if count == 0 { break },
            }
        }
        assert!(all.iter().copied().eq(0..30), "{all:?}");
        assert!(ticks > 0);
    });
}

#[test]
fn try_iter_then_it_stops_where_nothing_is_left_and_goes_on_later() {
    let (sender, receiver) = unbounded();
    sender.try_send(1).unwrap();
    let mut there = receiver.try_iter();
    assert_eq!((there.next(), there.next()), (Some(1), None));
    sender.try_send(2).unwrap();
    assert_eq!(there.next(), Some(2));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
}

// The end, seen from the sender

#[test]
fn channel_closed_from_anywhere_then_senders_that_wait_for_that_are_told_in_order() {
    under_each_quantum(|| async {
        for how in 0..3 {
            let (sender, receiver) = rendezvous::<u32>();
            let trace = Trace::default();
            for name in ["one", "two", "three"] {
                let (sender, trace) = (sender.clone(), trace.clone());
                spawn_detached(async move {
                    sender.closed().await;
                    trace.say(name);
                });
            }
            settle().await;
            assert!(trace.take().is_empty());
            match how {
                0 => drop(receiver),
                1 => assert!(receiver.close()),
                _ => assert!(sender.close()),
            }
            settle().await;
            assert_eq!(trace.take(), ["one", "two", "three"]);
            sender.closed().await;
            assert!(poll_idly(&mut sender.closed()).is_pending() || sender.is_closed());
        }
    });
}

#[test]
fn wait_for_the_end_dropped_or_killed_at_each_moment_then_the_others_are_told() {
    under_each_quantum(|| async {
        let (sender, receiver) = channel::<u32>(1);
        drop(sender.closed());
        let mut dropped = sender.closed();
        wait_in(&mut dropped).await;
        let mut told = sender.closed();
        wait_in(&mut told).await;
        let mut stays = sender.closed();
        wait_in(&mut stays).await;
        let theirs = sender.clone();
        let victim = spawn(async move { theirs.closed().await }).await;
        settle().await;
        drop(dropped);
        kill(victim.id()).await.unwrap();
        drop(receiver);
        drop(told);
        stays.await;
    });
}

#[test]
fn end_that_never_comes_then_a_deadlock_that_names_it() {
    let (sender, _receiver) = channel::<u32>(1);
    let mut scheduler = builder().build();
    let error = scheduler.block_on(async { sender.closed().await }).unwrap_err();
    let RunError::Deadlock(report) = error else { panic!("{error}") };
    assert!(report.to_string().contains("a channel to be closed"), "{report}");
    assert!(report.to_string().contains("channels_more.rs"), "{report}");
}

// A value that is as one wants it

#[test]
fn wanted_value_then_it_is_waited_for_past_others_and_counted_as_seen() {
    under_each_quantum(|| async {
        let (sender, mut receiver) = watch(0);
        assert_eq!(*receiver.wait_for(|number| *number == 0).await.unwrap(), 0);
        let waiting = spawn(async move {
            let seen = *receiver.wait_for(|number| number % 3 == 2).await.unwrap();
            (seen, receiver.has_changed())
        })
        .await;
        for number in [1, 3, 5] {
            settle().await;
            sender.send(number).unwrap();
        }
        assert_eq!(waiting.await.unwrap(), (5, false));
    });
}

#[test]
fn senders_gone_before_the_wanted_value_then_closed_but_the_last_value_is_asked_about() {
    under_each_quantum(|| async {
        for last in [1, 2] {
            let (sender, mut receiver) = watch(0);
            let waiting = spawn(async move {
                receiver.wait_for(|number| *number == 2).await.map(|number| *number)
            })
            .await;
            settle().await;
            sender.send(last).unwrap();
            drop(sender);
            assert_eq!(waiting.await.unwrap(), if last == 2 { Ok(2) } else { Err(Closed) });
        }
    });
}

#[test]
fn question_that_panics_or_sends_then_nothing_is_borrowed() {
    under_each_quantum(|| async {
        let (sender, mut receiver) = watch(0);
        let panicking = {
            let mut receiver = receiver.clone();
            spawn(async move {
                let _ = receiver.wait_for(|_| panic!("no answer")).await;
            })
            .await
        };
        assert!(panicking.await.is_err());
        let counts = |number: &u32| {
            if *number < 3 {
                sender.send(number + 1).unwrap();
            }
            *number == 3
        };
        assert_eq!(*receiver.wait_for(counts).await.unwrap(), 3);
    });
}

#[test]
fn wait_for_a_value_dropped_at_each_moment_then_another_is_told() {
    under_each_quantum(|| async {
        let (sender, mut receiver) = watch(0);
        drop(receiver.wait_for(|_| true));
        let mut wait = receiver.wait_for(|number| *number == 1);
        wait_in(&mut wait).await;
        drop(wait);
        let mut wait = receiver.wait_for(|number| *number == 1);
        wait_in(&mut wait).await;
        sender.send(1).unwrap();
        drop(wait);
        assert!(receiver.has_changed(), "nobody has asked about it");
        assert_eq!(*receiver.wait_for(|number| *number == 1).await.unwrap(), 1);
        assert!(timeout(SECOND, receiver.wait_for(|number| *number == 9)).await.is_err());
    });
}

#[test]
fn wanted_at_once_again_and_again_then_the_others_have_their_turn() {
    let mut scheduler = builder().quantum(4).build();
    let turns = Rc::new(Cell::new(0));
    let seen = Rc::clone(&turns);
    drop(scheduler.spawn(async move {
        loop {
            seen.set(seen.get() + 1);
            yield_now().await;
        }
    }));
    scheduler
        .block_on(async {
            let (_sender, mut receiver) = watch(0);
            for _ in 0..100 {
                let _ = receiver.wait_for(|_| true).await.unwrap();
            }
        })
        .unwrap();
    assert!(turns.get() >= 20, "{turns:?}");
}

#[test]
fn watch_as_a_stream_then_each_value_seen_is_the_latest_and_it_ends_with_the_senders() {
    under_each_quantum(|| async {
        let (sender, receiver) = watch(0);
        let collecting = spawn(receiver.collect::<Vec<u32>>()).await;
        settle().await;
        for number in 1..4 {
            sender.send(number).unwrap();
            sender.send(10 * number).unwrap();
            settle().await;
        }
        sender.send(40).unwrap();
        drop(sender);
        assert_eq!(collecting.await.unwrap(), [10, 20, 30, 40]);
    });
}

#[test]
fn watch_stream_dropped_while_it_waits_then_another_use_of_its_receiver_goes_on() {
    under_each_quantum(|| async {
        let (sender, mut receiver) = watch(0);
        let mut next = receiver.next();
        wait_in(&mut next).await;
        sender.send(1).unwrap();
        drop(next);
        receiver.changed().await.unwrap();
        assert!(timeout(SECOND, receiver.next()).await.is_err(), "it has been seen");
        sender.send(2).unwrap();
        assert_eq!(receiver.next().await, Some(2));
        drop(sender);
        assert_eq!((receiver.next().await, receiver.next().await), (None, None));
    });
}

// A value that somebody else makes

#[test]
fn wait_for_a_cell_then_it_is_told_however_the_value_comes() {
    under_each_quantum(|| async {
        for how in 0..2 {
            let cell = Rc::new(OnceCell::new());
            let mut waiting = Vec::new();
            for _ in 0..3 {
                let cell = Rc::clone(&cell);
                waiting.push(spawn(async move { *cell.wait().await }).await);
            }
            settle().await;
            // One who fails to make it wakes nobody.
            assert!(cell.get_or_try_init(|| async { Err("no") }).await.is_err());
            let mut gives_up = cell.wait();
            wait_in(&mut gives_up).await;
            drop(gives_up);
            settle().await;
            if how == 0 {
                cell.set(1).unwrap();
            } else {
                cell.get_or_init(|| async { 1 }).await;
            }
            for task in waiting {
                assert_eq!(task.await.unwrap(), 1);
            }
            assert_eq!(*cell.wait().await, 1);
        }
    });
}

#[test]
fn waits_for_a_cell_under_foreign_wakers_or_killed_then_the_others_are_told() {
    under_each_quantum(|| async {
        let cell = Rc::new(OnceCell::new());
        let theirs = Rc::clone(&cell);
        let victim = spawn(async move { *theirs.wait().await }).await;
        let theirs = Rc::clone(&cell);
        let many = spawn(async move {
            let waits: FuturesUnordered<_> = (0..5).map(|_| theirs.wait()).collect();
            waits.map(|value| *value).collect::<Vec<u32>>().await
        })
        .await;
        settle().await;
        cell.set(7).unwrap();
        kill(victim.id()).await.unwrap();
        assert_eq!(many.await.unwrap(), [7; 5]);
    });
}

#[test]
fn cell_that_nobody_fills_then_a_deadlock_that_names_it() {
    let cell = OnceCell::<u32>::new().named("port");
    let mut scheduler = builder().build();
    let error = scheduler.block_on(async { *cell.wait().await }).unwrap_err();
    let RunError::Deadlock(report) = error else { panic!("{error}") };
    assert!(report.to_string().contains("once cell `port`"), "{report}");
}

// Jobs

#[test]
fn worker_killed_or_failed_on_a_job_then_join_does_not_wait_for_it() {
    under_each_quantum(|| async {
        let queue = Rc::new(Queue::fifo(8));
        let mut workers = Vec::new();
        for how in 0..3 {
            let queue = Rc::clone(&queue);
            let worker = spawn(async move {
                let mut job = queue.get_job().await;
                *job += 1;
                match how {
                    0 => drop(job),
                    1 => panic!("{job:?} cannot be done"),
                    _ => std::future::pending().await,
                }
            });
            workers.push(worker.await);
        }
        (0..3).for_each(|number| queue.try_put(number).unwrap());
        let mut joining = queue.join();
        wait_in(&mut joining).await;
        settle().await;
        assert_eq!(queue.unfinished(), 1);
        kill(workers[2].id()).await.unwrap();
        joining.await;
        for (how, worker) in workers.into_iter().enumerate() {
            assert_eq!(worker.await.is_ok(), how == 0);
        }
    });
}

#[test]
fn job_dropped_at_each_moment_then_it_was_not_taken_or_is_done() {
    under_each_quantum(|| async {
        let queue = Queue::lifo(8);
        drop(queue.get_job());
        let mut wait = queue.get_job();
        wait_in(&mut wait).await;
        queue.put(1).await;
        drop(wait);
        assert_eq!((queue.len(), queue.unfinished()), (1, 1));
        let job = queue.get_job().await;
        queue.task_done().unwrap();
        drop(job);
        assert_eq!((queue.len(), queue.unfinished()), (0, 0), "it is called done once");
    });
}

#[test]
fn job_whose_destructor_panics_then_it_is_done_all_the_same() {
    let queue = Queue::fifo(1);
    assert!(queue.try_put(OnDrop(|| panic!("no end"))).is_ok());
    assert_eq!(panic_of(|| drop(queue.get_job().now_or_never())), "no end");
    assert_eq!(queue.unfinished(), 0);
}

// Permits

#[test]
fn permits_split_then_each_part_is_given_back_by_itself() {
    let seats = Semaphore::new(5);
    let mut four = seats.try_acquire_many(4).unwrap();
    assert!(four.split(5).is_none());
    let one = four.split(1).unwrap();
    let rest = four.split(3).unwrap();
    assert_eq!((four.count(), one.count(), rest.count()), (0, 1, 3));
    drop(four);
    assert_eq!(seats.available(), 1);
    drop(rest);
    assert_eq!(seats.available(), 4);
    one.forget();
    assert_eq!(seats.available(), 4);
}
