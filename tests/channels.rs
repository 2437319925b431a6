//! Channels: values arrive in order and reach someone who is there, whatever is dropped or killed
//! when.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, SinkExt, StreamExt, join, select_biased};
use support::{
    OnDrop, Trace, assert_empty, builder, panic_of, poll_idly, poll_once, run_clean, scheduler,
};
use trapline::channel::{
    Closed, Receiver, Sender, TryRecvError, TrySendError, channel, oneshot, rendezvous, unbounded,
};
use trapline::{RunError, Scheduler, TaskId, kill, sleep, spawn, spawn_detached, yield_now};

/// A value whose destructor does something.
type Thing = OnDrop<Box<dyn FnMut()>>;

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

/// With a quantum that no test uses up: an operation tries at its first poll.
fn at_once() -> Scheduler {
    builder().quantum(1000).build()
}

/// Lets everybody run until all wait.
async fn settle() {
    sleep(Duration::from_nanos(1)).await;
}

/// Tasks that receive one value each, and say so; they start in order.
fn receivers(
    scheduler: &mut Scheduler,
    receiver: &Receiver<u32>,
    trace: &Trace,
    names: &str,
) -> Vec<TaskId> {
    let start = |name: char| {
        let (receiver, trace) = (receiver.clone(), trace.clone());
        let task = scheduler.spawn(async move {
            let value = receiver.recv().await;
            trace.say(value.map_or(format!("{name}-"), |value| format!("{name}{value}")));
        });
        let id = task.id();
        task.detach();
        id
    };
    names.chars().map(start).collect()
}

// Order and room (41)

#[test]
fn values_sent_then_they_arrive_in_order() {
    for capacity in [0, 1, 2, 7, 100, usize::MAX] {
        under_each_quantum(|| async move {
            let (sender, receiver) = channel(capacity);
            let sending = spawn(async move {
                for number in 0..50 {
                    sender.send(number).await.unwrap();
                    if capacity < 100 {
                        assert!(sender.len() <= capacity.max(1));
                    }
                }
            })
            .await;
            for number in 0..50 {
                assert_eq!(receiver.recv().await, Some(number));
            }
            assert_eq!(receiver.recv().await, None);
            sending.await.unwrap();
        });
    }
}

#[test]
fn full_channel_then_the_sender_waits_until_there_is_room() {
    under_each_quantum(|| async {
        let (sender, receiver) = channel(2);
        let trace = Trace::default();
        let lines = trace.clone();
        spawn_detached(async move {
            for number in 0..4 {
                sender.send(number).await.unwrap();
                lines.say(number);
            }
        });
        settle().await;
        assert_eq!(trace.take(), ["0", "1"]);
        assert_eq!((receiver.len(), receiver.capacity()), (2, 2));
        assert_eq!(receiver.recv().await, Some(0));
        settle().await;
        assert_eq!(trace.take(), ["2"]);
        assert_eq!(receiver.recv().await, Some(1));
        assert_eq!(receiver.recv().await, Some(2));
        assert_eq!(receiver.recv().await, Some(3));
        assert_eq!(receiver.recv().await, None);
    });
}

#[test]
fn blocked_senders_then_they_are_served_in_the_order_in_which_they_came() {
    under_each_quantum(|| async {
        for capacity in [0, 1] {
            let (sender, receiver) = channel(capacity);
            for number in 0..6 {
                let sender = sender.clone();
                spawn_detached(async move { sender.send(number).await.unwrap() });
            }
            settle().await;
            // One who comes now does not pass those who wait.
            assert!(matches!(sender.try_send(99), Err(TrySendError::Full(99))));
            drop(sender);
            let received: Vec<u32> = receiver.collect().await;
            assert_eq!(received, [0, 1, 2, 3, 4, 5]);
        }
    });
}

#[test]
fn unbounded_channel_then_no_sender_ever_waits() {
    let mut scheduler = at_once();
    scheduler
        .block_on(async {
            let (sender, receiver) = unbounded();
            for number in 0..500 {
                assert!(sender.send(number).now_or_never().unwrap().is_ok());
            }
            assert_eq!((sender.len(), sender.capacity()), (500, usize::MAX));
            drop(sender);
            assert!(receiver.collect::<Vec<_>>().await.into_iter().eq(0..500));
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn operations_outside_a_task_then_those_that_need_not_wait_work() {
    let (sender, receiver) = channel(2);
    assert!(poll_idly(&mut sender.send(1)).is_ready());
    sender.try_send(2).unwrap();
    assert_eq!(poll_idly(&mut receiver.recv()), std::task::Poll::Ready(Some(1)));
    assert_eq!(receiver.try_recv(), Ok(2));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    panic_of(|| poll_idly(&mut receiver.recv()));
    sender.try_send(3).unwrap();
    sender.try_send(4).unwrap();
    panic_of(|| poll_idly(&mut sender.send(5)));
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(3), Ok(4)));
    let (sender, receiver) = rendezvous();
    panic_of(|| poll_idly(&mut sender.send(1)));
    assert_eq!(receiver.len(), 0);
    drop(sender);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
}

#[test]
fn send_that_succeeds_without_a_trap_then_it_counts_to_the_quantum() {
    for (quantum, expected) in [(1, "abababab"), (3, "aabbaabb"), (32, "aaaabbbb")] {
        let mut scheduler = builder().quantum(quantum).build();
        let trace = Trace::default();
        for name in ["a", "b"] {
            let lines = trace.clone();
            scheduler
                .spawn(async move {
                    let (sender, _receiver) = unbounded();
                    for number in 0..4 {
                        sender.send(number).await.unwrap();
                        lines.say(name);
                    }
                })
                .detach();
        }
        run_clean(&mut scheduler);
        assert_eq!(trace.take().concat(), expected, "quantum {quantum}");
    }
}

// Hand-over (44)

#[test]
fn waiting_receivers_then_they_are_served_in_order() {
    for quantum in [1, 32] {
        let mut scheduler = builder().quantum(quantum).build();
        let (sender, receiver) = channel(8);
        let trace = Trace::default();
        receivers(&mut scheduler, &receiver, &trace, "abcd");
        drop(receiver);
        scheduler
            .block_on(async {
                settle().await;
                for number in 1..=4 {
                    sender.send(number).await.unwrap();
                }
            })
            .unwrap();
        run_clean(&mut scheduler);
        assert_eq!(trace.take().concat(), "a1b2c3d4");
    }
}

#[test]
fn value_handed_over_then_a_late_comer_does_not_take_it() {
    let mut scheduler = at_once();
    let (sender, receiver) = channel(8);
    let trace = Trace::default();
    receivers(&mut scheduler, &receiver, &trace, "a");
    let lines = trace.clone();
    scheduler
        .block_on(async move {
            settle().await;
            sender.try_send(1).unwrap();
            assert_eq!((receiver.len(), receiver.try_recv()), (1, Err(TryRecvError::Empty)));
            let mut late = receiver.recv();
            assert!(poll_once(&mut late).await.is_pending());
            settle().await;
            assert_eq!(lines.take(), ["a1"]);
            sender.try_send(2).unwrap();
            assert_eq!(late.await, Some(2));
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn room_handed_over_then_a_late_comer_does_not_take_it() {
    let mut scheduler = at_once();
    scheduler
        .block_on(async {
            let (sender, receiver) = channel(1);
            sender.try_send(1).unwrap();
            let mut waits = sender.send(2);
            assert!(poll_once(&mut waits).await.is_pending());
            yield_now().await;
            assert_eq!(receiver.try_recv(), Ok(1));
            assert!(sender.try_send(3).unwrap_err().is_full());
            assert!(sender.try_reserve().is_none());
            waits.await.unwrap();
            assert_eq!(receiver.try_recv(), Ok(2));
        })
        .unwrap();
    run_clean(&mut scheduler);
}

// Rendezvous (41)

#[test]
fn rendezvous_then_the_send_is_complete_when_the_value_has_been_taken() {
    under_each_quantum(|| async {
        let (sender, receiver) = rendezvous();
        let trace = Trace::default();
        let lines = trace.clone();
        spawn_detached(async move {
            for number in 0..3 {
                lines.say(format!("offers {number}"));
                sender.send(number).await.unwrap();
                lines.say(format!("sent {number}"));
            }
        });
        settle().await;
        settle().await;
        assert_eq!(trace.take(), ["offers 0"]);
        assert_eq!(receiver.recv().await, Some(0));
        settle().await;
        assert_eq!(trace.take(), ["sent 0", "offers 1"]);
        assert_eq!(receiver.recv().await, Some(1));
        settle().await;
        assert_eq!(trace.take(), ["sent 1", "offers 2"]);
        assert_eq!(receiver.recv().await, Some(2));
        assert_eq!(receiver.recv().await, None);
        settle().await;
        assert_eq!(trace.take(), ["sent 2"]);
    });
}

#[test]
fn rendezvous_with_try_then_it_meets_only_one_who_waits() {
    let mut scheduler = at_once();
    scheduler
        .block_on(async {
            let (sender, receiver) = rendezvous();
            assert!(sender.try_send(1).unwrap_err().is_full());
            assert!(sender.try_reserve().is_none());
            let mut waits = receiver.recv();
            assert!(poll_once(&mut waits).await.is_pending());
            sender.try_send(2).unwrap();
            assert!(sender.try_send(3).unwrap_err().is_full(), "he has one already");
            assert_eq!(waits.await, Some(2));
            let mut offers = sender.send(4);
            assert!(poll_once(&mut offers).await.is_pending());
            assert_eq!(receiver.try_recv(), Ok(4));
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
            offers.await.unwrap();
            let permit = sender.reserve().await.unwrap();
            permit.send(5).unwrap();
            assert_eq!(receiver.recv().await, Some(5));
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn offer_dropped_then_its_value_is_gone_and_the_next_sender_is_served() {
    let mut scheduler = at_once();
    scheduler
        .block_on(async {
            let (sender, receiver) = rendezvous();
            let mut first = sender.send(1);
            let mut second = sender.send(2);
            assert!(poll_once(&mut first).await.is_pending());
            assert!(poll_once(&mut second).await.is_pending());
            yield_now().await;
            drop(first);
            assert_eq!(receiver.len(), 0);
            assert!(poll_once(&mut second).await.is_pending(), "it has the place now");
            assert_eq!(receiver.try_recv(), Ok(2));
            second.await.unwrap();
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn offer_dropped_when_a_receiver_was_promised_it_then_it_has_been_sent() {
    let mut scheduler = at_once();
    scheduler
        .block_on(async {
            for receiver_stays in [true, false] {
                let (sender, receiver) = rendezvous();
                let mut waits = receiver.recv();
                assert!(poll_once(&mut waits).await.is_pending());
                let mut offers = sender.send(1);
                assert!(poll_once(&mut offers).await.is_pending());
                drop(offers);
                if receiver_stays {
                    assert_eq!(waits.await, Some(1));
                } else {
                    drop(waits);
                    assert_eq!(receiver.recv().await, Some(1));
                }
                // The place is free again.
                let mut again = sender.send(2);
                assert!(poll_once(&mut again).await.is_pending());
                assert_eq!(receiver.try_recv(), Ok(2));
                again.await.unwrap();
            }
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn offer_taken_and_then_dropped_before_it_hears_of_it_then_the_place_is_free() {
    let mut scheduler = at_once();
    scheduler
        .block_on(async {
            let (sender, receiver) = rendezvous();
            let mut first = sender.send(1);
            let mut second = sender.send(2);
            assert!(poll_once(&mut first).await.is_pending());
            assert!(poll_once(&mut second).await.is_pending());
            yield_now().await;
            assert_eq!(receiver.try_recv(), Ok(1));
            drop(first);
            assert!(poll_once(&mut second).await.is_pending());
            assert_eq!(receiver.recv().await, Some(2));
            second.await.unwrap();
        })
        .unwrap();
    run_clean(&mut scheduler);
}

// Ghosts (42)

#[test]
fn receiver_dropped_at_each_moment_then_the_next_value_reaches_someone_who_is_there() {
    // Before its first poll; in the turn in which it parked; while blocked; after it was given a
    // value, but before it goes on.
    for moment in 0..4 {
        for behind in [false, true] {
            let mut scheduler = at_once();
            scheduler
                .block_on(async move {
                    let (sender, receiver) = channel(4);
                    let mut first = receiver.recv();
                    if moment > 0 {
                        assert!(poll_once(&mut first).await.is_pending());
                    }
                    if moment > 1 {
                        yield_now().await;
                    }
                    let mut second = receiver.recv();
                    if behind {
                        assert!(poll_once(&mut second).await.is_pending());
                        yield_now().await;
                    }
                    if moment == 3 {
                        sender.try_send(1).unwrap();
                        drop(first);
                    } else {
                        drop(first);
                        sender.try_send(1).unwrap();
                    }
                    sender.try_send(2).unwrap();
                    assert_eq!(second.await, Some(1));
                    assert_eq!(receiver.recv().await, Some(2));
                })
                .unwrap();
            run_clean(&mut scheduler);
        }
    }
}

#[test]
fn receiver_killed_at_each_moment_then_the_next_value_reaches_someone_who_is_there() {
    for moment in 0..3 {
        let mut scheduler = at_once();
        let (sender, receiver) = channel(4);
        let trace = Trace::default();
        let tasks = receivers(&mut scheduler, &receiver, &trace, "abc");
        drop(receiver);
        scheduler
            .block_on(async move {
                // Killed before it runs, while blocked, and with a value it has not taken.
                if moment > 0 {
                    settle().await;
                }
                if moment == 2 {
                    sender.try_send(1).unwrap();
                }
                kill(tasks[0]).await.unwrap();
                for number in 2..5 {
                    sender.try_send(number).unwrap();
                }
            })
            .unwrap();
        run_clean(&mut scheduler);
        assert_eq!(trace.take().concat(), if moment == 2 { "b1c2" } else { "b2c3" });
    }
}

#[test]
fn sender_dropped_at_each_moment_then_its_value_is_not_sent_and_the_room_is_the_next_ones() {
    for moment in 0..4 {
        let mut scheduler = at_once();
        scheduler
            .block_on(async move {
                let (sender, receiver) = channel(1);
                let dropped = Rc::new(Cell::new(0));
                let thing = |number: u32| {
                    let dropped = Rc::clone(&dropped);
                    (number, OnDrop(move || dropped.set(dropped.get() + 1)))
                };
                sender.try_send(thing(0)).unwrap();
                let mut first = sender.send(thing(1));
                if moment > 0 {
                    assert!(poll_once(&mut first).await.is_pending());
                }
                if moment > 1 {
                    yield_now().await;
                }
                let mut second = sender.send(thing(2));
                assert!(poll_once(&mut second).await.is_pending());
                yield_now().await;
                let zero = if moment == 3 { receiver.try_recv().ok() } else { None };
                drop(first);
                assert_eq!(dropped.get(), 1, "its value goes with the future");
                let zero = zero.or_else(|| receiver.try_recv().ok()).unwrap();
                assert_eq!(zero.0, 0);
                assert!(second.await.is_ok());
                assert_eq!(receiver.recv().await.unwrap().0, 2);
            })
            .unwrap();
        run_clean(&mut scheduler);
    }
}

#[test]
fn sender_killed_while_blocked_or_given_room_then_nothing_of_it_is_sent() {
    for capacity in [0, 1] {
        for given in [false, true] {
            let mut scheduler = at_once();
            scheduler
                .block_on(async move {
                    let (sender, receiver) = channel(capacity);
                    let mut senders = Vec::new();
                    for number in 0..4 {
                        let sender = sender.clone();
                        let task = spawn(async move { sender.send(number).await.unwrap() }).await;
                        senders.push(task);
                    }
                    drop(sender);
                    settle().await;
                    if given {
                        assert_eq!(receiver.try_recv(), Ok(0));
                    }
                    // At a capacity of 1 the first has gone; he who has room now is the second.
                    kill(senders[1].id()).await.unwrap();
                    let rest: Vec<i32> = receiver.collect().await;
                    assert_eq!(rest, if given { &[2, 3][..] } else { &[0, 2, 3] });
                    for sender in senders {
                        let _ = sender.await;
                    }
                })
                .unwrap();
            run_clean(&mut scheduler);
        }
    }
}

#[test]
fn recv_that_loses_a_select_then_it_has_taken_nothing() {
    under_each_quantum(|| async {
        let (sender, receiver) = channel(4);
        for _ in 0..10 {
            select_biased! {
                _ = receiver.recv().fuse() => panic!("there is nothing"),
                _ = sleep(Duration::from_nanos(1)).fuse() => {}
            }
        }
        sender.send(1).await.unwrap();
        // Here the value comes, and the other branch wins in the same poll.
        let mut recv = receiver.recv();
        let _ = poll_once(&mut recv).await;
        drop(recv);
        sender.send(2).await.unwrap();
        let first = receiver.recv().await;
        assert!(first == Some(1) || first == Some(2));
    });
}

#[test]
fn several_receives_in_one_task_then_each_has_its_own() {
    under_each_quantum(|| async {
        let (sender, receiver) = channel(1);
        let sending = async {
            for number in 0..3 {
                sender.send(number).await.unwrap();
            }
        };
        let (a, b, c, ()) = join!(receiver.recv(), receiver.recv(), receiver.recv(), sending);
        assert_eq!([a, b, c], [Some(0), Some(1), Some(2)]);
    });
}

#[test]
fn many_under_foreign_wakers_then_every_value_arrives() {
    under_each_quantum(|| async {
        let (sender, receiver) = channel(2);
        let mut receiving: FuturesUnordered<_> = (0..20).map(|_| receiver.recv()).collect();
        let mut sending: FuturesUnordered<_> = (0..20).map(|number| sender.send(number)).collect();
        let all_sent = async {
            while let Some(sent) = sending.next().await {
                sent.unwrap();
            }
        };
        let received = async {
            let mut received = Vec::new();
            while let Some(value) = receiving.next().await {
                received.push(value.unwrap());
            }
            received
        };
        let ((), mut received) = join!(all_sent, received);
        received.sort_unstable();
        assert!(received.into_iter().eq(0..20));
    });
}

// The end (43)

#[test]
fn last_sender_gone_then_receivers_drain_and_see_the_end() {
    for capacity in [3, usize::MAX] {
        under_each_quantum(|| async move {
            let (sender, receiver) = channel(capacity);
            let other = sender.clone();
            for number in 0..3 {
                sender.send(number).await.unwrap();
            }
            drop(sender);
            assert!(!receiver.is_closed(), "there is one more");
            drop(other);
            assert!(receiver.is_closed());
            for number in 0..3 {
                assert_eq!(receiver.recv().await, Some(number));
            }
            assert_eq!(receiver.recv().await, None);
            assert_eq!(receiver.recv().await, None);
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
        });
    }
}

#[test]
fn last_sender_gone_while_receivers_wait_then_all_see_the_end() {
    let mut scheduler = scheduler();
    let (sender, receiver) = channel(3);
    let trace = Trace::default();
    receivers(&mut scheduler, &receiver, &trace, "abc");
    scheduler
        .block_on(async move {
            settle().await;
            sender.send(1).await.unwrap();
            drop(sender);
        })
        .unwrap();
    run_clean(&mut scheduler);
    assert_eq!(trace.take().concat(), "a1b-c-");
    drop(receiver);
}

#[test]
fn closed_with_a_value_promised_then_who_comes_later_waits_for_what_becomes_of_it() {
    for taken in [true, false] {
        let mut scheduler = at_once();
        scheduler
            .block_on(async move {
                let (sender, receiver) = channel(3);
                let mut first = receiver.recv();
                assert!(poll_once(&mut first).await.is_pending());
                yield_now().await;
                sender.try_send(1).unwrap();
                drop(sender);
                let mut second = receiver.recv();
                assert!(poll_once(&mut second).await.is_pending(), "it may still get it");
                if taken {
                    assert_eq!(first.await, Some(1));
                    assert_eq!(second.await, None);
                } else {
                    drop(first);
                    assert_eq!(second.await, Some(1));
                }
            })
            .unwrap();
        run_clean(&mut scheduler);
    }
}

#[test]
fn receiver_gone_then_a_sender_gets_its_value_back() {
    for capacity in [0, 1] {
        under_each_quantum(|| async move {
            let (sender, receiver) = channel(capacity);
            if capacity == 1 {
                sender.send(0).await.unwrap();
            }
            let mut waiting = Vec::new();
            for number in 1..4 {
                let sender = sender.clone();
                waiting.push(spawn(async move { sender.send(number).await }).await);
            }
            settle().await;
            drop(receiver);
            for (number, task) in (1..).zip(waiting) {
                assert_eq!(task.await.unwrap().unwrap_err().into_inner(), number);
            }
            assert_eq!(sender.send(7).await.unwrap_err().into_inner(), 7);
            assert!(matches!(sender.try_send(8), Err(TrySendError::Closed(8))));
            assert!(matches!(sender.reserve().await, Err(Closed)));
            assert!(sender.try_reserve().is_none());
            assert!(sender.is_closed() && sender.is_empty());
        });
    }
}

#[test]
fn receiver_gone_then_what_is_in_the_channel_is_dropped() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let (sender, receiver): (Sender<Thing>, Receiver<Thing>) = channel(2);
            let dropped = Rc::new(Cell::new(false));
            let flag = Rc::clone(&dropped);
            // Its destructor uses the channel.
            let inner = sender.clone();
            let guard = OnDrop(Box::new(move || {
                assert!(inner.is_closed() && inner.is_empty());
                flag.set(true);
            }) as Box<dyn FnMut()>);
            assert!(sender.try_send(guard).is_ok());
            drop(receiver);
            assert!(dropped.get());
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn closed_from_either_side_then_what_is_there_may_be_taken() {
    for by_sender in [true, false] {
        for capacity in [1, 2] {
            under_each_quantum(|| async move {
                let (sender, receiver) = channel(capacity);
                for number in 0..capacity {
                    sender.send(number).await.unwrap();
                }
                let theirs = sender.clone();
                let blocked = spawn(async move { theirs.send(9).await }).await;
                settle().await;
                assert!(if by_sender { sender.close() } else { receiver.close() });
                assert!(!sender.close() && !receiver.close());
                assert_eq!(blocked.await.unwrap().unwrap_err().into_inner(), 9);
                assert!(sender.send(8).await.is_err());
                assert_eq!(receiver.recv().await, Some(0));
                for number in 1..capacity {
                    assert_eq!(receiver.recv().await, Some(number));
                }
                assert_eq!(receiver.recv().await, None);
            });
        }
    }
}

#[test]
fn rendezvous_closed_while_an_offer_lies_there_then_its_sender_has_it_back() {
    under_each_quantum(|| async {
        let (sender, receiver) = rendezvous();
        let theirs = sender.clone();
        let offer = spawn(async move { theirs.send(1).await }).await;
        settle().await;
        receiver.close();
        assert_eq!(offer.await.unwrap().unwrap_err().into_inner(), 1);
        assert_eq!(receiver.recv().await, None);
    });
}

#[test]
fn rendezvous_closed_while_a_receiver_is_promised_the_offer_then_it_has_it() {
    for stays in [true, false] {
        let mut scheduler = at_once();
        scheduler
            .block_on(async move {
                let (sender, receiver) = rendezvous();
                let mut waits = receiver.recv();
                assert!(poll_once(&mut waits).await.is_pending());
                let mut offer = sender.send(1);
                assert!(poll_once(&mut offer).await.is_pending());
                sender.close();
                assert!(poll_once(&mut offer).await.is_pending());
                if stays {
                    assert_eq!(waits.await, Some(1));
                    offer.await.unwrap();
                    assert_eq!(receiver.recv().await, None);
                } else {
                    drop(waits);
                    drop(receiver);
                    assert_eq!(offer.await.unwrap_err().into_inner(), 1);
                }
            })
            .unwrap();
        run_clean(&mut scheduler);
    }
}

#[test]
fn rendezvous_closed_and_the_offer_taken_before_its_sender_goes_on_then_it_was_sent() {
    let mut scheduler = at_once();
    scheduler
        .block_on(async {
            let (sender, receiver) = rendezvous();
            let mut offer = sender.send(1);
            assert!(poll_once(&mut offer).await.is_pending());
            yield_now().await;
            receiver.close();
            assert_eq!(receiver.try_recv(), Ok(1));
            offer.await.unwrap();
            assert_eq!(receiver.recv().await, None);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn ends_dropped_at_a_kill_then_the_others_are_told() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let (sender, receiver) = channel::<u32>(1);
            let holder = spawn(async move {
                let _sender = sender;
                std::future::pending::<()>().await;
            })
            .await;
            let waiting = spawn(async move { receiver.recv().await }).await;
            settle().await;
            kill(holder.id()).await.unwrap();
            assert_eq!(waiting.await.unwrap(), None);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn receive_that_nobody_can_ever_serve_then_a_deadlock_that_names_it() {
    let mut scheduler = scheduler();
    let (sender, receiver) = channel::<u32>(1);
    let theirs = sender.clone();
    scheduler
        .spawn(async move { receiver.recv().await.or(theirs.try_send(1).ok().map(|()| 1)) })
        .detach();
    let error = scheduler.run().unwrap_err();
    let RunError::Deadlock(report) = error else { panic!("{error}") };
    let text = report.to_string();
    assert!(text.contains("`a value of a channel`"), "{text}");
    assert!(text.contains("tests/channels.rs"), "{text}");
    sender.try_send(1).unwrap();
    run_clean(&mut scheduler);
}

// Reserved room

#[test]
fn permit_then_its_room_is_kept_until_it_is_used_or_dropped() {
    let mut scheduler = at_once();
    scheduler
        .block_on(async {
            let (sender, receiver) = channel(1);
            let permit = sender.reserve().await.unwrap();
            assert!(sender.try_send(1).unwrap_err().is_full());
            let mut waits = sender.reserve();
            assert!(poll_once(&mut waits).await.is_pending());
            drop(permit);
            let permit = waits.await.unwrap();
            permit.send(2).unwrap();
            assert_eq!(receiver.recv().await, Some(2));
            let permit = sender.try_reserve().unwrap();
            receiver.close();
            assert_eq!(permit.send(3).unwrap_err().into_inner(), 3);
            assert_eq!(receiver.recv().await, None);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

// Stream and sink

#[test]
fn stream_and_sink_then_values_pass_in_order() {
    for capacity in [0, 1, 5] {
        under_each_quantum(|| async move {
            let (sender, receiver) = channel(capacity);
            spawn_detached(async move {
                let mut sender = sender;
                for number in 0..10 {
                    sender.send(number).await.unwrap();
                    SinkExt::send(&mut sender, 100 + number).await.unwrap();
                }
                sender.close();
            });
            let received: Vec<i32> = receiver.collect().await;
            assert!(received.into_iter().eq((0..10).flat_map(|number| [number, 100 + number])));
        });
    }
}

#[test]
fn forwarded_stream_then_the_sink_is_closed_at_its_end() {
    under_each_quantum(|| async {
        let (sender, receiver) = channel(2);
        let other = sender.clone();
        let forward =
            spawn(async move { futures::stream::iter(0..5).map(Ok).forward(sender).await }).await;
        for number in 0..5 {
            assert_eq!(receiver.recv().await, Some(number));
        }
        assert_eq!(forward.await.unwrap(), Ok(()));
        assert_eq!((receiver.senders(), receiver.is_closed()), (1, false));
        drop(other);
        assert_eq!(receiver.recv().await, None);
    });
}

#[test]
fn sink_at_a_rendezvous_then_flushing_waits_for_the_receiver() {
    let mut scheduler = at_once();
    scheduler
        .block_on(async {
            let (sender, receiver) = rendezvous();
            let mut sink = sender.clone();
            sink.feed(1).await.unwrap();
            let mut flush = sink.flush();
            assert!(poll_once(&mut flush).await.is_pending());
            yield_now().await;
            assert_eq!(receiver.try_recv(), Ok(1));
            flush.await.unwrap();
            // It keeps nothing from the others.
            let mut offer = sender.send(2);
            assert!(poll_once(&mut offer).await.is_pending());
            assert_eq!(receiver.try_recv(), Ok(2));
            offer.await.unwrap();
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn stream_that_stands_in_line_then_another_use_of_its_receiver_takes_its_place() {
    let mut scheduler = at_once();
    scheduler
        .block_on(async {
            let (sender, mut receiver) = channel(2);
            assert!(receiver.next().now_or_never().is_none());
            yield_now().await;
            sender.try_send(1).unwrap();
            assert_eq!(receiver.recv().await, Some(1));
            assert!(receiver.next().now_or_never().is_none());
            yield_now().await;
            sender.try_send(2).unwrap();
            assert_eq!(receiver.try_recv(), Ok(2));
            // And dropped, it leaves no ghost.
            let other = receiver.clone();
            assert!(receiver.next().now_or_never().is_none());
            yield_now().await;
            sender.try_send(3).unwrap();
            assert_eq!(other.try_recv(), Err(TryRecvError::Empty));
            drop(receiver);
            assert_eq!(other.try_recv(), Ok(3));
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn sink_that_holds_room_then_another_use_of_its_sender_gives_it_back() {
    let mut scheduler = at_once();
    scheduler
        .block_on(async {
            let (sender, receiver) = channel(1);
            let mut sink = sender.clone();
            futures::future::poll_fn(|cx| sink.poll_ready_unpin(cx)).await.unwrap();
            assert!(sender.try_send(1).unwrap_err().is_full());
            sink.try_send(2).unwrap();
            assert_eq!(receiver.try_recv(), Ok(2));
            futures::future::poll_fn(|cx| sink.poll_ready_unpin(cx)).await.unwrap();
            drop(sink);
            sender.try_send(3).unwrap();
            receiver.close();
            let mut sink = sender.clone();
            assert_eq!(sink.feed(4).await, Err(Closed));
            assert_eq!(SinkExt::close(&mut sink).await, Ok(()));
            assert_eq!(SinkExt::close(&mut sink).await, Ok(()));
            drop(sink);
            assert_eq!(receiver.senders(), 1);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

// Where channels may live

#[test]
fn channel_made_in_main_then_it_serves_one_scheduler_after_the_other() {
    let (sender, receiver) = channel(1);
    sender.try_send(0).unwrap();
    for round in 0..3 {
        let mut scheduler = scheduler();
        scheduler
            .block_on(async {
                let sending = async { sender.send(round + 1).await.unwrap() };
                let (value, ()) = join!(receiver.recv(), sending);
                assert_eq!(value, Some(round));
            })
            .unwrap();
        run_clean(&mut scheduler);
    }
}

#[test]
fn scheduler_dropped_while_tasks_wait_then_the_channel_is_as_if_they_had_gone() {
    for capacity in [0, 1] {
        for sends in [true, false] {
            let (sender, receiver) = channel(capacity);
            let mut first = scheduler();
            for number in 0..3 {
                let (sender, receiver) = (sender.clone(), receiver.clone());
                let task = async move {
                    if sends {
                        sender.send(number).await.unwrap();
                    } else {
                        receiver.recv().await;
                    }
                };
                first.spawn(task).detach();
            }
            for _ in 0..20 {
                if first.blocked().blocked.len() == first.task_count() {
                    break;
                }
                first.step();
            }
            drop(first);
            assert_eq!((sender.receivers(), receiver.senders()), (1, 1));
            assert_eq!(receiver.len(), usize::from(sends && capacity == 1));
            while receiver.try_recv().is_ok() {}
            let mut second = scheduler();
            second
                .block_on(async {
                    let (value, sent) = join!(receiver.recv(), sender.send(9));
                    sent.unwrap();
                    assert_eq!(value, Some(9));
                })
                .unwrap();
            run_clean(&mut second);
        }
    }
}

#[test]
fn recv_moved_to_another_task_then_it_answers_there() {
    type Moved = Pin<Box<dyn Future<Output = Option<u32>>>>;
    let mut scheduler = at_once();
    scheduler
        .block_on(async {
            let (sender, receiver) = channel(1);
            let mut moved: Moved = Box::pin(async move { receiver.recv().await });
            assert!(poll_once(&mut moved).await.is_pending());
            let other = spawn(moved).await;
            settle().await;
            sender.send(1).await.unwrap();
            assert_eq!(other.await.unwrap(), Some(1));
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn debug_then_it_says_how_the_channel_stands() {
    let (sender, receiver) = channel(2);
    sender.try_send(()).unwrap();
    let text = format!("{sender:?} {receiver:?} {:?} {:?}", sender.send(()), receiver.recv());
    for part in ["len: 1", "capacity: 2", "closed: false", "senders: 1", "waiting_receivers: 0"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(sender.same_channel(&sender.clone()) && receiver.same_channel(&receiver.clone()));
    assert!(!sender.same_channel(&channel(2).0));
}

// Oneshot

#[test]
fn oneshot_then_the_value_arrives_before_or_after_the_wait() {
    under_each_quantum(|| async {
        let (sender, receiver) = oneshot();
        sender.send(1).unwrap();
        assert_eq!(receiver.await, Ok(1));
        let (sender, mut receiver) = oneshot();
        spawn_detached(async move {
            settle().await;
            sender.send(2).unwrap();
        });
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(receiver.recv().await, Ok(2));
        assert_eq!(receiver.recv().await, Err(Closed));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    });
}

#[test]
fn oneshot_that_nobody_sends_then_a_deadlock_that_names_the_line_of_the_await() {
    let mut scheduler = scheduler();
    let (sender, receiver) = oneshot::<u32>();
    let line = line!() + 1;
    let task = scheduler.spawn(async move { receiver.await.unwrap() });
    let error = scheduler.run().unwrap_err();
    let RunError::Deadlock(report) = error else { panic!("{error}") };
    let text = report.to_string();
    let expected = format!("`the value of a oneshot` at tests/channels.rs:{line}:");
    assert!(text.contains(&expected), "{text}");
    sender.send(1).unwrap();
    assert_eq!(scheduler.block_on(task).unwrap().unwrap(), 1);
    run_clean(&mut scheduler);
}

#[test]
fn oneshot_sender_gone_then_the_receiver_is_told() {
    under_each_quantum(|| async {
        let (sender, receiver) = oneshot::<u32>();
        drop(sender);
        assert_eq!(receiver.await, Err(Closed));
        let (sender, mut receiver) = oneshot::<u32>();
        let holder = spawn(async move {
            let _sender = sender;
            std::future::pending::<()>().await;
        })
        .await;
        let ended = async {
            settle().await;
            kill(holder.id()).await.unwrap();
        };
        let (received, ()) = join!(receiver.recv(), ended);
        assert_eq!(received, Err(Closed));
    });
}

#[test]
fn oneshot_receiver_gone_then_the_sender_has_its_value_back_and_is_told() {
    under_each_quantum(|| async {
        let (sender, receiver) = oneshot();
        drop(receiver);
        assert!(sender.is_closed());
        sender.closed().await;
        assert_eq!(sender.send(1).unwrap_err().into_inner(), 1);
        let (sender, mut receiver) = oneshot();
        let closing = async {
            settle().await;
            receiver.close();
        };
        join!(sender.closed(), closing);
        assert!(sender.send(2).is_err());
        assert_eq!(receiver.recv().await, Err(Closed));
    });
}

#[test]
fn oneshot_receiver_dropped_with_the_value_then_the_value_is_dropped() {
    let (sender, receiver) = oneshot();
    let dropped = Rc::new(Cell::new(false));
    let flag = Rc::clone(&dropped);
    assert!(sender.send(OnDrop(move || flag.set(true))).is_ok());
    assert!(!dropped.get());
    drop(receiver);
    assert!(dropped.get());
}

#[test]
fn oneshot_wait_dropped_at_each_moment_then_the_value_stays() {
    for moment in 0..3 {
        let mut scheduler = at_once();
        scheduler
            .block_on(async move {
                let (sender, mut receiver) = oneshot();
                let mut wait = receiver.recv();
                if moment > 0 {
                    assert!(poll_once(&mut wait).await.is_pending());
                    yield_now().await;
                }
                if moment == 2 {
                    sender.send(1).unwrap();
                    drop(wait);
                } else {
                    drop(wait);
                    sender.send(1).unwrap();
                }
                assert!(poll_once(&mut receiver).await.is_ready());
            })
            .unwrap();
        run_clean(&mut scheduler);
    }
}

#[test]
fn oneshots_under_foreign_wakers_then_each_is_answered_in_the_order_in_which_they_are_sent() {
    under_each_quantum(|| async {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..10).map(|_| oneshot()).unzip();
        spawn_detached(async move {
            for (number, sender) in senders.into_iter().enumerate().rev() {
                yield_now().await;
                if number % 3 == 0 {
                    drop(sender);
                } else {
                    sender.send(number).unwrap();
                }
            }
        });
        let answers: Vec<_> =
            receivers.into_iter().collect::<FuturesUnordered<_>>().collect().await;
        let expected =
            (0..10).rev().map(|number| if number % 3 == 0 { Err(Closed) } else { Ok(number) });
        assert!(answers.iter().copied().eq(expected), "{answers:?}");
    });
}

#[test]
fn oneshot_receiver_killed_at_each_moment_then_the_sender_is_told() {
    for moment in 0..3 {
        let mut scheduler = at_once();
        scheduler
            .block_on(async move {
                let (sender, receiver) = oneshot();
                let task = spawn(receiver).await;
                if moment > 0 {
                    settle().await;
                }
                if moment == 2 {
                    sender.send(1).unwrap();
                    kill(task.id()).await.unwrap();
                } else {
                    kill(task.id()).await.unwrap();
                    assert!(sender.is_closed());
                    assert_eq!(sender.send(1).unwrap_err().into_inner(), 1);
                }
                assert!(task.await.unwrap_err().is_killed());
                // What it waited in serves the next.
                let (sender, mut receiver) = oneshot();
                assert!(poll_once(&mut receiver).await.is_pending());
                yield_now().await;
                assert!(poll_once(&mut receiver).await.is_pending());
                sender.send(2).unwrap();
                assert_eq!(receiver.await, Ok(2));
            })
            .unwrap();
        run_clean(&mut scheduler);
    }
}

#[test]
fn oneshot_by_reference_in_a_select_then_it_may_be_awaited_again() {
    under_each_quantum(|| async {
        let (sender, receiver) = oneshot();
        let mut receiver = receiver.fuse();
        spawn_detached(async move {
            sleep(SECOND).await;
            sender.send(1).unwrap();
        });
        let mut ticks = 0;
        loop {
            select_biased! {
                value = receiver => {
                    assert_eq!(value, Ok(1));
                    break;
                }
                _ = sleep(SECOND / 4).fuse() => ticks += 1,
            }
        }
        assert!((3..=4).contains(&ticks), "{ticks}");
    });
}

// Destructors

#[test]
fn values_whose_destructors_use_the_channel_then_nothing_is_borrowed() {
    let mut scheduler = at_once();
    scheduler
        .block_on(async {
            let (sender, receiver): (Sender<Thing>, Receiver<Thing>) = channel(1);
            let seen = Rc::new(RefCell::new(Vec::new()));
            let thing = |name: &'static str| {
                let (sender, seen) = (sender.clone(), Rc::clone(&seen));
                OnDrop(Box::new(move || {
                    seen.borrow_mut().push((name, sender.len(), sender.is_closed()));
                    let _ = sender.try_send(OnDrop(Box::new(|| {})));
                }) as Box<dyn FnMut()>)
            };
            assert!(sender.try_send(thing("kept")).is_ok());
            let mut blocked = sender.send(thing("blocked"));
            assert!(poll_once(&mut blocked).await.is_pending());
            drop(blocked);
            drop(receiver);
            assert!(sender.try_send(thing("late")).is_err());
            assert_eq!(
                *seen.borrow(),
                [("blocked", 1, false), ("kept", 0, true), ("late", 0, true)]
            );
        })
        .unwrap();
    assert_empty(&scheduler);
}
