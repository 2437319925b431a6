//! Locks and channels among hostile programs: futures and guards that are leaked, values whose
//! destructors, clones and comparisons do what they like, and writers that write through what they show.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::fmt::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, select_biased};
use support::{OnDrop, Trace, assert_empty, builder, panic_of, poll_once, run_clean, scheduler};
use trapline::channel::{
    Closed, Lag, Queue, Receiver, Sender, broadcast, broadcast_with, channel, oneshot, remote,
    rendezvous,
};
use trapline::sync::{Barrier, Condvar, Event, Mutex, RLock, RwLock, RwLockWriteGuard, Semaphore};
use trapline::{Scheduler, WaitQueue, kill, sleep, spawn, spawn_detached, timeout, yield_now};

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

/// Starts a task that nobody waits for.
fn start(scheduler: &mut Scheduler, task: impl Future<Output = ()> + 'static) {
    drop(scheduler.spawn(task));
}

/// Polls until it has rested and stands in line.
async fn wait_in<F: Future + Unpin>(future: &mut F) {
    for _ in 0..2 {
        assert!(poll_once(future).await.is_pending());
        yield_now().await;
    }
}

fn leak<T>(thing: T) -> &'static T {
    Box::leak(Box::new(thing))
}

// Wants of nothing, of very much, and of what is forgotten

#[test]
fn nothing_is_wanted_behind_one_who_wants_a_token_then_both_are_served_by_one() {
    let queue = leak(WaitQueue::new(0));
    let trace = Trace::default();
    let mut scheduler = scheduler();
    for (name, wanted) in [("one", 1), ("none", 0), ("none more", 0), ("another", 1)] {
        let trace = trace.clone();
        start(&mut scheduler, async move {
            queue.park_many(wanted).await;
            trace.say(name);
        });
    }
    support::step_while_ready(&mut scheduler);
    queue.wake();
    support::step_while_ready(&mut scheduler);
    assert_eq!(trace.take(), ["one", "none", "none more"]);
    queue.wake();
    run_clean(&mut scheduler);
    assert_eq!((trace.take(), queue.tokens()), (vec!["another".to_owned()], 0));
}

#[test]
fn permits_beyond_all_bounds_then_counts_neither_wrap_nor_block_others() {
    under_each_quantum(|| async {
        let seats = Semaphore::new(usize::MAX);
        seats.add_permits(usize::MAX);
        let many = seats.acquire_many(u32::MAX).await.unwrap();
        assert_eq!(many.count(), u32::MAX);
        many.forget();
        drop(seats.acquire_many(0).await.unwrap());

        let few = Rc::new(Semaphore::new(2));
        let theirs = Rc::clone(&few);
        let greedy = spawn(async move {
            let _ = theirs.acquire_many(u32::MAX).await;
        })
        .await;
        settle().await;
        assert_eq!(few.available(), 0);
        // Nothing is asked of those who ask for nothing, but that they wait their turn.
        let mut idle = few.acquire_many(0);
        assert!(poll_once(&mut idle).await.is_pending());
        kill(greedy.id()).await.unwrap();
        drop(idle.await.unwrap());
        assert_eq!(few.available(), 2);
        few.add_permits(usize::MAX);
        few.try_acquire_many(3).unwrap().forget();
    });
}

#[test]
fn writer_downgrades_while_writers_and_readers_wait_then_they_go_in_order() {
    under_each_quantum(|| async {
        let lock = Rc::new(RwLock::new(0));
        let trace = Trace::default();
        let guard = lock.write().await;
        for name in ["read a", "write b", "read c"] {
            let (lock, trace) = (Rc::clone(&lock), trace.clone());
            spawn_detached(async move {
                if name.starts_with("read") {
                    let guard = lock.read().await;
                    trace.say(format!("{name} {guard:?}"));
                } else {
                    *lock.write().await += 1;
                    trace.say(name);
                }
            });
        }
        settle().await;
        let guard = RwLockWriteGuard::downgrade(guard);
        settle().await;
        assert_eq!(trace.take(), ["read a RwLockReadGuard(0)"]);
        assert!(lock.try_read().is_none(), "a writer waits");
        drop(guard);
        settle().await;
        assert_eq!(trace.take(), ["write b", "read c RwLockReadGuard(1)"]);
    });
}

#[test]
fn condition_that_is_waited_for_panics_then_the_next_is_notified() {
    under_each_quantum(|| async {
        let shared = Rc::new((Mutex::new(0), Condvar::new()));
        let mut waiting = Vec::new();
        for fails in [true, false] {
            let shared = Rc::clone(&shared);
            waiting.push(
                spawn(async move {
                    let (mutex, news) = &*shared;
                    let empty = move |count: &mut u32| {
                        assert!(*count == 0 || !fails, "on purpose");
                        *count == 0
                    };
                    drop(news.wait_while(mutex.lock().await, empty).await);
                })
                .await,
            );
        }
        settle().await;
        assert!(!shared.0.is_held());
        *shared.0.lock().await = 1;
        shared.1.notify_one();
        for (task, fails) in waiting.into_iter().zip([true, false]) {
            assert_eq!(task.await.is_err(), fails);
        }
    });
}

// What is leaked

#[test]
fn wait_for_a_oneshot_is_leaked_then_later_oneshots_are_not_robbed_by_it() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let (sender, mut receiver) = oneshot::<u32>();
            let mut wait = receiver.recv();
            assert!(poll_once(&mut wait).await.is_pending());
            std::mem::forget(wait);
            drop((sender, receiver));
            for number in 0..3 {
                let (sender, receiver) = oneshot();
                sender.send(number).unwrap();
                assert_eq!(timeout(SECOND, receiver).await, Ok(Ok(number)));
            }
        })
        .unwrap();
}

#[test]
fn guards_are_leaked_then_the_locks_stay_taken_and_no_more() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let mutex = Rc::new(Mutex::new(1));
            std::mem::forget(mutex.lock().await);
            assert!(mutex.try_lock().is_none());
            assert!(timeout(SECOND, mutex.lock()).await.is_err());
            assert_eq!(Rc::try_unwrap(mutex).unwrap().into_inner(), 1);

            let owned = Rc::new(Mutex::new(1));
            std::mem::forget(owned.lock_owned().await);
            assert!(owned.try_lock_owned().is_none());
            assert!(format!("{owned:?}").contains("<held>"));

            let rlock = RLock::new(1);
            std::mem::forget(rlock.lock().await);
            drop(rlock.lock().await);
            assert!(rlock.is_held());
        })
        .unwrap();
    assert_empty(&scheduler);
}

// Values whose code does something

/// A value that may panic when it is compared.
#[derive(Debug)]
struct Touchy(u32, Rc<Cell<bool>>);

impl PartialEq for Touchy {
    fn eq(&self, other: &Touchy) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Touchy {}

impl PartialOrd for Touchy {
    fn partial_cmp(&self, other: &Touchy) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Touchy {
    fn cmp(&self, other: &Touchy) -> Ordering {
        assert!(!self.1.get(), "no order");
        self.0.cmp(&other.0)
    }
}

#[test]
fn comparison_panics_in_a_get_then_the_value_is_still_there() {
    let touch = Rc::new(Cell::new(false));
    let queue = Queue::priority(3);
    for number in [3, 1, 2] {
        queue.try_put(Touchy(number, Rc::clone(&touch))).unwrap();
    }
    touch.set(true);
    assert_eq!(panic_of(|| queue.try_get()), "no order");
    touch.set(false);
    assert_eq!((queue.len(), queue.unfinished()), (3, 3));
    assert!(queue.try_put(Touchy(4, Rc::clone(&touch))).is_err(), "there is no room");
    let mut got: Vec<u32> = std::iter::from_fn(|| queue.try_get()).map(|value| value.0).collect();
    got.sort_unstable();
    assert_eq!(got, [1, 2, 3]);
}

#[test]
fn comparison_panics_in_a_task_that_gets_then_the_next_has_the_value() {
    under_each_quantum(|| async {
        let touch = Rc::new(Cell::new(false));
        let queue = Rc::new(Queue::priority(3));
        for number in [3, 1, 2] {
            queue.put(Touchy(number, Rc::clone(&touch))).await;
        }
        touch.set(true);
        let theirs = Rc::clone(&queue);
        assert!(spawn(async move { theirs.get().await }).await.await.is_err());
        touch.set(false);
        assert_eq!((queue.len(), queue.unfinished()), (3, 3));
        let mut got = Vec::new();
        for _ in 0..3 {
            got.push(queue.get().await.0);
        }
        got.sort_unstable();
        assert_eq!(got, [1, 2, 3]);
    });
}

#[test]
fn last_receiver_of_a_rendezvous_gone_then_a_value_that_nobody_offers_any_more_is_dropped() {
    under_each_quantum(|| async {
        let dropped = Rc::new(Cell::new(0));
        let thing = |dropped: &Rc<Cell<u32>>| {
            let dropped = Rc::clone(dropped);
            OnDrop(move || dropped.set(dropped.get() + 1))
        };
        // Sent by a permit, which does not wait.
        let (sender, receiver) = rendezvous();
        assert!(sender.reserve().await.unwrap().send(thing(&dropped)).is_ok());
        drop(receiver);
        assert_eq!((dropped.get(), sender.len()), (1, 0));

        // Handed to a receiver that waited, then both let go.
        let (sender, receiver) = rendezvous();
        let mut recv = receiver.recv();
        let mut offer = sender.send(thing(&dropped));
        wait_in(&mut recv).await;
        wait_in(&mut offer).await;
        drop(offer);
        drop(recv);
        assert_eq!((dropped.get(), sender.len()), (1, 1));
        drop(receiver);
        assert_eq!((dropped.get(), sender.len()), (2, 0));

        // Closed first, and not yet taken back: that is the sender's.
        let (sender, receiver) = rendezvous();
        let mut offer = sender.send(thing(&dropped));
        wait_in(&mut offer).await;
        receiver.close();
        drop(receiver);
        let back = offer.await.unwrap_err();
        assert_eq!(dropped.get(), 2);
        drop(back);
        assert_eq!((dropped.get(), sender.len()), (3, 0));
    });
}

/// A writer that does something at every piece.
struct Meddler<F: FnMut()>(F, String);

impl<F: FnMut()> Write for Meddler<F> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        (self.0)();
        self.1.write_str(piece)
    }
}

#[test]
fn shown_through_themselves_then_nothing_is_borrowed() {
    let (sender, mut receiver) = broadcast::<u32>(2);
    let theirs = sender.clone();
    let mut meddler = Meddler(move || assert!(theirs.try_send(1).is_ok()), String::new());
    write!(meddler, "{sender:?} {receiver:?}").unwrap();
    assert!(receiver.try_recv().is_err(), "it was left behind");

    let (sender, receiver) = oneshot::<u32>();
    let sender = Rc::new(Cell::new(Some(sender)));
    let theirs = Rc::clone(&sender);
    let send = move || theirs.take().into_iter().for_each(|sender| sender.send(1).unwrap());
    write!(Meddler(send, String::new()), "{receiver:?}").unwrap();

    let (sender, receiver) = channel::<u32>(100);
    let theirs = sender.clone();
    let send = move || assert!(theirs.try_send(1).is_ok());
    write!(Meddler(send, String::new()), "{sender:?} {receiver:?}").unwrap();
    assert!(!receiver.is_empty());

    let (sender, receiver) = remote::<u32>(100);
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let theirs = sender.clone();
        let send = move || assert!(theirs.try_send(1).is_ok());
        write!(Meddler(send, String::new()), "{sender:?}").unwrap();
        done.send(()).unwrap();
    });
    is_done.recv_timeout(Duration::from_secs(20)).expect("it does not wait for its own lock");
    assert!(!receiver.is_empty());
}

/// A value that uses its channel when it is cloned.
struct Cloning(Rc<dyn Fn()>);

impl Clone for Cloning {
    fn clone(&self) -> Cloning {
        (self.0)();
        Cloning(Rc::clone(&self.0))
    }
}

#[test]
fn clone_of_a_broadcast_value_uses_the_channel_or_panics_then_nothing_is_lost_but_its_own() {
    under_each_quantum(|| async {
        let (sender, mut one) = broadcast::<Cloning>(4);
        let mut two = sender.subscribe();
        let theirs = sender.clone();
        let again = Cloning(Rc::new(move || {
            let extra = theirs.subscribe();
            drop(theirs.try_send(Cloning(Rc::new(|| {}))));
            drop(extra);
        }));
        sender.send(again).await.unwrap_or_else(|_| panic!("somebody listens"));
        drop(one.recv().await.unwrap());
        drop(one.recv().await.unwrap());
        drop(two.recv().await.unwrap());
        drop(two.recv().await.unwrap());
        assert_eq!(sender.len(), 0);

        drop(sender.send(Cloning(Rc::new(|| panic!("no clones")))).await);
        drop(sender.send(Cloning(Rc::new(|| {}))).await);
        let failing = spawn(async move {
            let _ = one.recv().await;
        })
        .await;
        assert!(failing.await.is_err());
        two.recv().await.unwrap_or_else(|error| panic!("{error}"));
        two.recv().await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(sender.len(), 0);
    });
}

// Those who never wait

/// A scheduler with a task that counts its turns.
fn with_a_clock(quantum: u32) -> (Scheduler, Rc<Cell<u32>>) {
    let ticks = Rc::new(Cell::new(0));
    let mut scheduler = builder().quantum(quantum).build();
    let seen = Rc::clone(&ticks);
    start(&mut scheduler, async move {
        loop {
            seen.set(seen.get() + 1);
            yield_now().await;
        }
    });
    (scheduler, ticks)
}

#[test]
fn stream_of_a_remote_channel_that_is_never_empty_then_the_others_have_their_turn() {
    for quantum in [1, 2, 4] {
        let (sender, mut receiver) = remote::<u32>(200);
        (0..100).for_each(|number| sender.try_send(number).unwrap());
        let (mut scheduler, ticks) = with_a_clock(quantum);
        scheduler
            .block_on(async { (&mut receiver).take(100).for_each(|_| async {}).await })
            .unwrap();
        assert!(ticks.get() >= 20, "{ticks:?}");
    }
}

#[test]
fn closed_semaphore_asked_again_and_again_then_the_others_have_their_turn() {
    let (mut scheduler, ticks) = with_a_clock(4);
    scheduler
        .block_on(async {
            let seats = Semaphore::new(1);
            seats.close();
            for _ in 0..100 {
                assert!(seats.acquire().await.is_err());
            }
        })
        .unwrap();
    assert!(ticks.get() >= 20, "{ticks:?}");
}

// Very many

#[test]
fn very_many_waiters_then_all_are_served_and_all_may_be_killed() {
    const MANY: usize = 10_000;
    let mut scheduler = Scheduler::builder().virtual_clock().build();
    scheduler
        .block_on(async {
            let (mutex, event) = (Rc::new(Mutex::new(0)), Rc::new(Event::new()));
            let barrier = Rc::new(Barrier::new(MANY + 1));
            for _ in 0..MANY {
                let (mutex, event) = (Rc::clone(&mutex), Rc::clone(&event));
                let barrier = Rc::clone(&barrier);
                spawn_detached(async move {
                    event.wait().await;
                    *mutex.lock().await += 1;
                    barrier.wait().await;
                });
            }
            settle().await;
            let guard = mutex.lock().await;
            event.set();
            settle().await;
            drop(guard);
            barrier.wait().await;
            assert_eq!(*mutex.lock().await, MANY);

            let seats = Semaphore::new(0);
            let mut waits: Vec<_> = (0..MANY).map(|_| seats.acquire()).collect();
            for wait in &mut waits {
                assert!(poll_once(wait).await.is_pending());
            }
            yield_now().await;
            seats.add_permits(MANY);
            drop(waits);
            assert_eq!(seats.available(), MANY);

            let (sender, receiver) = remote::<u32>(1);
            let mut waits: Vec<_> = (0..MANY).map(|_| receiver.recv()).collect();
            for wait in &mut waits {
                assert!(poll_once(wait).await.is_pending());
            }
            // The middle first, where a search from either end would take longest.
            while !waits.is_empty() {
                drop(waits.swap_remove(waits.len() / 2));
            }
            drop(sender);
            assert_eq!(receiver.recv().await, None);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn loops_of_select_over_a_channel_and_a_timer_then_each_value_arrives_once() {
    under_each_quantum(|| async {
        for capacity in [0, 1, 3] {
            let (sender, receiver) = channel(capacity);
            let got = Rc::new(RefCell::new(Vec::new()));
            for worker in 1..=3 {
                let (receiver, got) = (receiver.clone(), Rc::clone(&got));
                spawn_detached(async move {
                    loop {
                        select_biased! {
                            _ = sleep(Duration::from_nanos(worker)).fuse() => {}
                            value = receiver.recv().fuse() => match value {
                                Some(value) => got.borrow_mut().push(value),
                                None => break,
                            },
                        }
                    }
                });
            }
            drop(receiver);
            for number in 0..50 {
                sender.send(number).await.unwrap();
                if number % 7 == 0 {
                    sleep(Duration::from_nanos(2)).await;
                }
            }
            drop(sender);
            sleep(SECOND).await;
            let mut got = got.take();
            got.sort_unstable();
            assert!(got.iter().copied().eq(0..50), "{got:?}");
        }
    });
}

#[test]
fn slow_broadcast_receivers_gone_while_several_senders_wait_then_all_have_their_values_back() {
    under_each_quantum(|| async {
        let (sender, receiver) = broadcast_with(1, Lag::Wait);
        sender.send(0).await.unwrap();
        let mut sends: FuturesUnordered<_> = (1..5).map(|number| sender.send(number)).collect();
        assert!(sends.next().now_or_never().is_none());
        let late = sender.clone();
        let waiting = spawn(async move { late.send(9).await }).await;
        settle().await;
        drop(receiver);
        assert_eq!(waiting.await.unwrap().unwrap_err().into_inner(), 9);
        drop(sends);
        let mut receiver = sender.subscribe();
        sender.send(10).await.unwrap();
        assert!(sender.try_send(11).unwrap_err().is_full());
        assert_eq!(receiver.recv().await, Ok(10));
    });
}

#[test]
fn ends_cloned_by_destructors_then_they_count_and_the_channel_ends() {
    under_each_quantum(|| async {
        let (sender, receiver): (Sender<OnDrop<_>>, Receiver<_>) = channel(4);
        let kept: Rc<RefCell<Vec<Box<dyn std::any::Any>>>> = Rc::default();
        for _ in 0..2 {
            let (theirs, kept) = (sender.clone(), Rc::clone(&kept));
            let thing: OnDrop<Box<dyn FnMut()>> =
                OnDrop(Box::new(move || kept.borrow_mut().push(Box::new(theirs.clone()))));
            sender.send(thing).await.unwrap_or_else(|_| panic!("there is room"));
        }
        drop(receiver);
        assert_eq!(kept.borrow().len(), 2);
        assert!(sender.is_closed());
        assert!(matches!(sender.reserve().await, Err(Closed)));
    });
}
