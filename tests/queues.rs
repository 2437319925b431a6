//! Queues of work, broadcasts and watches.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::rc::Rc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, join};
use support::{OnDrop, Trace, builder, panic_of, poll_idly, poll_once, run_clean, scheduler};
use trapline::channel::broadcast::{RecvError, TryRecvError};
use trapline::channel::{
    Closed, Lag, NothingToDo, Queue, TrySendError, broadcast, broadcast_with, watch,
};
use trapline::{RunError, Scheduler, kill, sleep, spawn, spawn_detached, yield_now};

/// Runs a root under each quantum: at 1 every operation is a scheduling point.
#[track_caller]
fn under_each_quantum<F: Future<Output = ()>>(test: impl Fn() -> F) {
    for quantum in [1, 2, 32] {
        let mut scheduler = builder().quantum(quantum).build();
        scheduler.block_on(test()).unwrap();
        run_clean(&mut scheduler);
    }
}

/// With a quantum that no test uses up: an operation tries at its first poll.
fn at_once() -> Scheduler {
    builder().quantum(1000).build()
}

async fn settle() {
    sleep(Duration::from_nanos(1)).await;
}

// Queues (45)

#[test]
fn fifo_lifo_and_priority_then_each_keeps_its_order() {
    type Make = fn(usize) -> Queue<u32>;
    let orders: [(Make, [u32; 5]); 3] = [
        (Queue::fifo, [3, 1, 4, 1, 5]),
        (Queue::lifo, [5, 1, 4, 1, 3]),
        (Queue::priority, [1, 1, 3, 4, 5]),
    ];
    for (make, expected) in orders {
        under_each_quantum(|| async move {
            let queue = make(8);
            for value in [3, 1, 4, 1, 5] {
                queue.put(value).await;
            }
            assert_eq!((queue.len(), queue.capacity(), queue.unfinished()), (5, 8, 5));
            for value in expected {
                assert_eq!(queue.get().await, value);
            }
            assert!(queue.is_empty() && queue.try_get().is_none());
        });
    }
}

/// Compared by its first part alone.
#[derive(Debug)]
struct Ranked(u8, u32);

impl PartialEq for Ranked {
    fn eq(&self, other: &Ranked) -> bool {
        self.0 == other.0
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Ranked) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Ranked) -> Ordering {
        self.0.cmp(&other.0)
    }
}

#[test]
fn equal_priorities_then_they_come_in_the_order_in_which_they_were_put() {
    let queue = Queue::priority(1000);
    let mut state = 7_u32;
    let mut expected = Vec::new();
    for number in 0..500 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let rank = (state >> 29) as u8;
        queue.try_put(Ranked(rank, number)).unwrap();
        expected.push((rank, number));
    }
    expected.sort_unstable();
    let got: Vec<_> = std::iter::from_fn(|| queue.try_get()).map(|Ranked(a, b)| (a, b)).collect();
    assert_eq!(got, expected);
}

#[test]
fn full_queue_then_those_who_put_wait_and_are_served_in_order() {
    under_each_quantum(|| async {
        let queue = Rc::new(Queue::fifo(1));
        for number in 0..5 {
            let queue = Rc::clone(&queue);
            spawn_detached(async move { queue.put(number).await });
        }
        settle().await;
        assert_eq!(queue.try_put(9), Err(9));
        for number in 0..5 {
            assert_eq!(queue.get().await, number);
        }
    });
}

#[test]
fn waiting_workers_then_they_are_served_in_order_and_no_late_comer_passes() {
    let mut scheduler = at_once();
    scheduler
        .block_on(async {
            let queue = Rc::new(Queue::lifo(8));
            let trace = Trace::default();
            for name in ["a", "b"] {
                let (queue, trace) = (Rc::clone(&queue), trace.clone());
                spawn_detached(async move {
                    let value: u32 = queue.get().await;
                    trace.say(format!("{name}{value}"));
                });
            }
            settle().await;
            queue.try_put(1).unwrap();
            assert_eq!(queue.try_get(), None);
            settle().await;
            queue.try_put(2).unwrap();
            settle().await;
            assert_eq!(trace.take(), ["a1", "b2"]);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn join_then_it_returns_after_the_last_task_done() {
    under_each_quantum(|| async {
        let queue = Rc::new(Queue::fifo(2));
        queue.join().await;
        let finished = Rc::new(Cell::new(0));
        let mut workers = Vec::new();
        for _ in 0..3 {
            let (queue, finished) = (Rc::clone(&queue), Rc::clone(&finished));
            workers.push(
                spawn(async move {
                    loop {
                        let _job: u32 = queue.get().await;
                        sleep(Duration::from_millis(5)).await;
                        finished.set(finished.get() + 1);
                        queue.task_done().unwrap();
                    }
                })
                .await,
            );
        }
        let joined = Rc::clone(&queue);
        let theirs = Rc::clone(&finished);
        let joiner = spawn(async move {
            joined.put(0).await;
            joined.join().await;
            theirs.get()
        })
        .await;
        for job in 1..10 {
            queue.put(job).await;
        }
        queue.join().await;
        assert_eq!((finished.get(), queue.unfinished()), (10, 0));
        assert_eq!(joiner.await.unwrap(), 10);
        assert_eq!(queue.task_done(), Err(NothingToDo));
        for worker in workers {
            kill(worker.id()).await.unwrap();
        }
    });
}

#[test]
fn getter_and_putter_dropped_at_each_moment_then_nothing_is_lost() {
    for moment in 0..3 {
        let mut scheduler = at_once();
        scheduler
            .block_on(async move {
                let queue = Queue::fifo(1);
                let mut get = queue.get();
                if moment > 0 {
                    assert!(poll_once(&mut get).await.is_pending());
                    yield_now().await;
                }
                if moment == 2 {
                    queue.try_put(1).unwrap();
                    drop(get);
                } else {
                    drop(get);
                    queue.try_put(1).unwrap();
                }
                let mut put = queue.put(2);
                if moment > 0 {
                    assert!(poll_once(&mut put).await.is_pending());
                    yield_now().await;
                }
                if moment == 2 {
                    assert_eq!(queue.try_get(), Some(1));
                    assert_eq!(queue.try_put(3), Err(3), "the room is promised");
                    drop(put);
                } else {
                    drop(put);
                    assert_eq!(queue.try_get(), Some(1));
                }
                assert_eq!((queue.len(), queue.unfinished()), (0, 1));
                queue.try_put(4).unwrap();
                assert_eq!(queue.get().await, 4);
                queue.task_done().unwrap();
                let mut join = queue.join();
                assert!(poll_once(&mut join).await.is_pending());
                drop(join);
                queue.task_done().unwrap();
                queue.join().await;
            })
            .unwrap();
        run_clean(&mut scheduler);
    }
}

#[test]
fn many_gets_under_foreign_wakers_then_each_has_one() {
    under_each_quantum(|| async {
        let queue = Queue::priority(3);
        let putting = async {
            for number in 0..12 {
                queue.put(number).await;
            }
        };
        let mut gets: FuturesUnordered<_> = (0..12).map(|_| queue.get()).collect();
        let getting = async {
            let mut got = Vec::new();
            while let Some(value) = gets.next().await {
                got.push(value);
            }
            got
        };
        let ((), mut got) = join!(putting, getting);
        got.sort_unstable();
        assert!(got.into_iter().eq(0..12));
    });
}

thread_local! {
    static MEDDLER: RefCell<Option<Box<dyn FnMut()>>> = const { RefCell::new(None) };
}

#[derive(PartialEq, Eq, Debug)]
struct Meddling(u32);

impl PartialOrd for Meddling {
    fn partial_cmp(&self, other: &Meddling) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Meddling {
    fn cmp(&self, other: &Meddling) -> Ordering {
        let meddler = MEDDLER.with(|meddler| meddler.borrow_mut().take());
        if let Some(mut meddler) = meddler {
            meddler();
        }
        self.0.cmp(&other.0)
    }
}

#[test]
fn comparison_that_panics_or_uses_the_queue_then_no_value_is_lost() {
    let queue = Rc::new(Queue::priority(8));
    queue.try_put(Meddling(2)).unwrap();
    let theirs = Rc::clone(&queue);
    MEDDLER.set(Some(Box::new(move || drop(theirs.try_put(Meddling(9))))));
    let text = panic_of(|| queue.try_put(Meddling(1)));
    assert!(text.contains("used the queue they are in"), "{text}");
    MEDDLER.set(Some(Box::new(|| panic!("no order"))));
    assert_eq!(panic_of(|| queue.try_put(Meddling(3))), "no order");
    let mut got: Vec<u32> =
        std::iter::from_fn(|| queue.try_get()).map(|Meddling(number)| number).collect();
    got.sort_unstable();
    assert_eq!((got, queue.len()), (vec![1, 2, 3], 0));
    for number in 0..8 {
        queue.try_put(Meddling(number)).unwrap();
    }
    assert!(queue.try_put(Meddling(8)).is_err(), "no room was lost or made");
}

#[test]
fn queue_that_nobody_fills_then_a_deadlock_that_names_it() {
    let mut scheduler = scheduler();
    let queue = Rc::new(Queue::<u32>::fifo(1));
    let theirs = Rc::clone(&queue);
    scheduler.spawn(async move { theirs.get().await }).detach();
    let error = scheduler.run().unwrap_err();
    let RunError::Deadlock(report) = error else { panic!("{error}") };
    assert!(report.to_string().contains("`a value of a queue`"), "{report}");
    queue.try_put(1).unwrap();
    run_clean(&mut scheduler);
    assert!(format!("{queue:?}").contains("order: \"fifo\""));
    panic_of(|| Queue::<u32>::lifo(0));
}

// Broadcast

#[test]
fn broadcast_then_every_receiver_has_every_value_in_order() {
    for lag in [Lag::Report, Lag::Skip, Lag::Wait] {
        under_each_quantum(|| async move {
            let (sender, first) = broadcast_with(2, lag);
            let second = sender.subscribe();
            let mut tasks = Vec::new();
            for mut receiver in [first, second] {
                tasks.push(
                    spawn(async move {
                        let mut got = Vec::new();
                        while let Ok(value) = receiver.recv().await {
                            got.push(value);
                        }
                        got
                    })
                    .await,
                );
            }
            for number in 0..20 {
                assert_eq!(sender.send(number).await.unwrap(), 2);
                // Without it, who does not wait for them loses them.
                if lag != Lag::Wait {
                    settle().await;
                }
            }
            drop(sender);
            for task in tasks {
                assert!(task.await.unwrap().into_iter().eq(0..20));
            }
        });
    }
}

#[test]
fn receiver_that_lags_then_it_is_told_how_many_it_missed() {
    let (sender, mut slow) = broadcast(3);
    let mut quick = sender.subscribe();
    for number in 0..10 {
        assert_eq!(sender.try_send(number).unwrap(), 2);
        assert_eq!(quick.try_recv(), Ok(number));
    }
    assert_eq!((sender.len(), slow.behind(), quick.behind()), (3, 10, 0));
    assert_eq!(poll_idly(&mut slow.recv()), std::task::Poll::Ready(Err(RecvError::Missed(7))));
    assert_eq!((slow.try_recv(), slow.try_recv()), (Ok(7), Ok(8)));
    sender.close();
    assert_eq!((slow.try_recv(), slow.try_recv()), (Ok(9), Err(TryRecvError::Closed)));
    assert!(sender.is_empty(), "what all have taken is not kept");
}

#[test]
fn receiver_that_lags_under_skip_then_it_goes_on_with_the_oldest_there_is() {
    let (sender, mut slow) = broadcast_with(2, Lag::Skip);
    for number in 0..5 {
        sender.try_send(number).unwrap();
    }
    assert_eq!((slow.try_recv(), slow.try_recv()), (Ok(3), Ok(4)));
    assert_eq!(slow.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn slow_receiver_under_wait_then_the_sender_waits_for_it_in_order() {
    under_each_quantum(|| async {
        let (sender, mut slow) = broadcast_with(1, Lag::Wait);
        let mut quick = sender.subscribe();
        for number in 0..3 {
            let sender = sender.clone();
            spawn_detached(async move {
                let _ = sender.send(number).await;
            });
        }
        settle().await;
        assert_eq!(quick.recv().await, Ok(0));
        settle().await;
        assert!(matches!(sender.try_send(9), Err(TrySendError::Full(9))));
        assert_eq!(slow.recv().await, Ok(0));
        settle().await;
        assert_eq!(slow.recv().await, Ok(1));
        assert_eq!(quick.recv().await, Ok(1));
        settle().await;
        // Whoever goes holds nobody up.
        assert_eq!(quick.recv().await, Ok(2));
        drop(slow);
        assert_eq!(sender.len(), 0);
        sender.send(3).await.unwrap();
        assert_eq!(quick.recv().await, Ok(3));
    });
}

#[test]
fn all_receivers_gone_then_senders_have_their_values_back_until_one_subscribes() {
    under_each_quantum(|| async {
        let (sender, receiver) = broadcast_with(1, Lag::Wait);
        sender.send(0).await.unwrap();
        let mut waiting = Vec::new();
        for number in 1..5 {
            let sender = sender.clone();
            waiting.push(spawn(async move { sender.send(number).await }).await);
        }
        settle().await;
        drop(receiver);
        for (number, task) in (1..).zip(waiting) {
            assert_eq!(task.await.unwrap().unwrap_err().into_inner(), number);
        }
        assert!(matches!(sender.try_send(5), Err(TrySendError::Closed(5))));
        let mut receiver = sender.subscribe();
        assert_eq!(sender.send(6).await.unwrap(), 1);
        assert!(sender.try_send(7).unwrap_err().is_full(), "no room was made");
        assert_eq!(receiver.recv().await, Ok(6));
    });
}

#[test]
fn clone_of_a_receiver_then_it_begins_where_the_other_is() {
    let (sender, mut one) = broadcast_with(4, Lag::Wait);
    for number in 0..4 {
        sender.try_send(number).unwrap();
    }
    assert_eq!(one.try_recv(), Ok(0));
    let mut two = one.clone();
    assert_eq!((sender.receivers(), sender.len()), (2, 3));
    assert_eq!((one.try_recv(), one.try_recv(), one.try_recv()), (Ok(1), Ok(2), Ok(3)));
    assert_eq!(sender.len(), 3);
    assert_eq!(two.try_recv(), Ok(1));
    assert_eq!(sender.len(), 2);
    drop(two);
    assert_eq!(sender.len(), 0);
    for number in 4..8 {
        sender.try_send(number).unwrap();
    }
    assert!(sender.try_send(8).unwrap_err().is_full());
}

#[test]
fn broadcast_recv_dropped_at_each_moment_then_the_value_comes_again() {
    for moment in 0..3 {
        let mut scheduler = at_once();
        scheduler
            .block_on(async move {
                let (sender, mut receiver) = broadcast(2);
                let mut recv = receiver.recv();
                if moment > 0 {
                    assert!(poll_once(&mut recv).await.is_pending());
                    yield_now().await;
                }
                if moment == 2 {
                    sender.try_send(1).unwrap();
                    drop(recv);
                } else {
                    drop(recv);
                    sender.try_send(1).unwrap();
                }
                assert_eq!(receiver.recv().await, Ok(1));
                let mut stream = receiver.clone();
                assert!(stream.next().now_or_never().is_none());
                drop(sender);
                assert_eq!(stream.next().await, None);
                assert_eq!(receiver.recv().await, Err(RecvError::Closed));
            })
            .unwrap();
        run_clean(&mut scheduler);
    }
}

#[test]
fn broadcast_values_with_destructors_then_each_is_dropped_once_all_have_it() {
    let count = Rc::new(Cell::new(0));
    let (sender, mut one) = broadcast(2);
    let two = sender.subscribe();
    let drops = Rc::clone(&count);
    let inner = sender.clone();
    let thing = Rc::new(OnDrop(Box::new(move || {
        drops.set(drops.get() + 1);
        assert_eq!(inner.len(), 0);
    }) as Box<dyn FnMut()>));
    assert_eq!(sender.try_send(thing).ok(), Some(2));
    drop(one.try_recv().unwrap());
    assert_eq!(count.get(), 0);
    drop(two);
    assert_eq!(count.get(), 1);
}

// What the task table shows

#[test]
fn operations_that_wait_then_the_task_table_shows_the_line_and_what_each_waits_for() {
    let mut scheduler = at_once();
    let (all, mut news) = broadcast_with(1, Lag::Wait);
    all.try_send(0).unwrap();
    let mut late = all.subscribe();
    let (state, mut watched) = watch(0);
    let queue = Rc::new(Queue::fifo(1));
    let empty = Rc::new(Queue::<u32>::lifo(1));
    queue.try_put(0).unwrap();
    let (full, same, done) = (Rc::clone(&queue), all.clone(), Rc::clone(&queue));
    let nothing = Rc::clone(&empty);
    let kept = state.clone();
    let start = line!();
    let tasks = [
        scheduler.spawn(async move { full.put(1).await }),
        scheduler.spawn(async move { assert_eq!(nothing.get().await, 1) }),
        scheduler.spawn(async move { done.join().await }),
        scheduler.spawn(async move { assert!(same.send(1).await.is_ok()) }),
        scheduler.spawn(async move { assert_eq!(late.recv().await, Ok(1)) }),
        scheduler.spawn(async move { watched.changed().await.unwrap_or_default() }),
        scheduler.spawn(async move { kept.closed().await }),
    ];
    let RunError::Deadlock(report) = scheduler.run().unwrap_err() else { panic!("no deadlock") };
    let expected = [
        (2, "room in a queue"),
        (3, "a value of a queue"),
        (4, "a queue to be done with"),
        (5, "room in a broadcast"),
        (6, "a value of a broadcast"),
        (7, "a change of a watched value"),
        (8, "the receivers of a watch to be gone"),
    ];
    for (task, (line, label)) in report.blocked.iter().zip(expected) {
        let [call] = &task.waits_for[..] else { panic!("{report}") };
        assert_eq!(call.label, Some(label));
        assert_eq!((call.site.file(), call.site.line()), ("tests/queues.rs", start + line));
    }
    // And each goes on when what it waits for comes.
    assert_eq!((queue.try_get(), empty.try_put(1)), (Some(0), Ok(())));
    assert_eq!((queue.task_done(), news.try_recv()), (Ok(()), Ok(0)));
    state.send(1).unwrap();
    scheduler
        .block_on(async move {
            settle().await;
            queue.task_done().unwrap();
        })
        .unwrap();
    for task in tasks {
        scheduler.block_on(task).unwrap().unwrap();
    }
    run_clean(&mut scheduler);
}

// Watch

#[test]
fn watch_then_a_receiver_sees_the_latest_value_once() {
    under_each_quantum(|| async {
        let (sender, mut receiver) = watch(0);
        assert!(!receiver.has_changed());
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        receiver.changed().await.unwrap();
        assert_eq!(*receiver.borrow(), 2);
        assert!(!receiver.has_changed());
        let mut other = sender.subscribe();
        assert!(!other.has_changed());
        sender.update(|value| value + 1);
        assert_eq!(
            (*receiver.see(), receiver.has_changed(), other.has_changed()),
            (3, false, true)
        );
        other.changed().await.unwrap();
        drop(sender);
        assert!(receiver.is_closed());
        assert_eq!(receiver.changed().await, Err(Closed));
        assert_eq!(*receiver.borrow(), 3);
    });
}

#[test]
fn change_while_receivers_wait_then_all_are_woken_in_order() {
    under_each_quantum(|| async {
        let (sender, receiver) = watch("old");
        let trace = Trace::default();
        let mut tasks = Vec::new();
        for name in ["a", "b", "c"] {
            let (mut receiver, lines) = (receiver.clone(), trace.clone());
            tasks.push(
                spawn(async move {
                    while receiver.changed().await.is_ok() {
                        lines.say(format!("{name} {}", *receiver.borrow()));
                    }
                })
                .await,
            );
        }
        settle().await;
        sender.send("new").unwrap();
        settle().await;
        assert_eq!(trace.take(), ["a new", "b new", "c new"]);
        kill(tasks[1].id()).await.unwrap();
        sender.send("newer").unwrap();
        drop(sender);
        settle().await;
        assert_eq!(trace.take(), ["a newer", "c newer"]);
    });
}

#[test]
fn watchers_and_listeners_under_foreign_wakers_then_all_are_told() {
    under_each_quantum(|| async {
        let (state, watched) = watch(0);
        let (all, news) = broadcast(4);
        let mut receivers: Vec<_> = (0..5).map(|_| (watched.clone(), news.clone())).collect();
        spawn_detached(async move {
            settle().await;
            state.send(1).unwrap();
            settle().await;
            all.send(2).await.unwrap();
        });
        let mut told: FuturesUnordered<_> = receivers
            .iter_mut()
            .map(|(watched, news)| async {
                let (changed, value) = join!(watched.changed(), news.recv());
                (changed, *watched.borrow(), value)
            })
            .collect();
        let mut count = 0;
        while let Some(told) = told.next().await {
            assert_eq!(told, (Ok(()), 1, Ok(2)));
            count += 1;
        }
        assert_eq!(count, 5);
    });
}

#[test]
fn look_that_is_kept_then_it_keeps_what_it_saw_and_stops_nobody() {
    let (sender, receiver) = watch(String::from("old"));
    let look = receiver.borrow();
    sender.send(String::from("new")).unwrap();
    assert_eq!((look.as_str(), receiver.borrow().as_str()), ("old", "new"));
    let dropped = Rc::new(Cell::new(0));
    let drops = Rc::clone(&dropped);
    let (sender, receiver) = watch(OnDrop(Box::new(|| {}) as Box<dyn FnMut()>));
    let theirs = receiver.clone();
    let thing = OnDrop(Box::new(move || {
        let _look = theirs.borrow();
        drops.set(drops.get() + 1);
    }) as Box<dyn FnMut()>);
    assert!(sender.send(thing).is_ok());
    assert!(sender.send(OnDrop(Box::new(|| {}))).is_ok());
    assert_eq!(dropped.get(), 1, "its destructor looks at the new one");
    drop(receiver);
}

#[test]
fn watch_receivers_gone_then_the_sender_is_told() {
    under_each_quantum(|| async {
        let (sender, receiver) = watch(0);
        let other = receiver.clone();
        let going = async {
            settle().await;
            drop(receiver);
            settle().await;
            assert_eq!(sender.receivers(), 1);
            drop(other);
        };
        join!(sender.closed(), going);
        assert!(sender.is_closed());
        assert_eq!(sender.send(1).unwrap_err().into_inner(), 1);
        assert_eq!(*sender.borrow(), 0);
        sender.update(|value| value + 5);
        assert_eq!(*sender.subscribe().borrow(), 5);
    });
}

#[test]
fn changed_dropped_at_each_moment_then_the_change_is_told_again() {
    for moment in 0..3 {
        let mut scheduler = at_once();
        scheduler
            .block_on(async move {
                let (sender, mut receiver) = watch(0);
                let mut changed = receiver.changed();
                if moment > 0 {
                    assert!(poll_once(&mut changed).await.is_pending());
                    yield_now().await;
                }
                if moment == 2 {
                    sender.send(1).unwrap();
                    drop(changed);
                } else {
                    drop(changed);
                    sender.send(1).unwrap();
                }
                assert!(receiver.has_changed());
                receiver.changed().await.unwrap();
            })
            .unwrap();
        run_clean(&mut scheduler);
    }
}
