//! Mailboxes: a message reaches the task it was sent to, or comes back.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, join, select_biased};
use support::{
    OnDrop, Slot, Trace, assert_empty, builder, panic_of, poll_idly, poll_once, run_clean,
    scheduler,
};
use trapline::{
    Event, JoinHandle, RunError, Scheduler, TaskId, get_tid, kill, receive, send, sleep, spawn,
    spawn_detached, try_receive, yield_now,
};

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

/// A task that waits for ever, and its id.
async fn idle() -> JoinHandle<()> {
    spawn(std::future::pending::<()>()).await
}

/// An id that no task of this scheduler has ever had: a later one's, from another scheduler.
fn foreign_id() -> TaskId {
    let mut other = scheduler();
    let ids: Vec<TaskId> = (0..1000)
        .map(|_| {
            let task = other.spawn(async {});
            let id = task.id();
            task.detach();
            id
        })
        .collect();
    *ids.last().unwrap()
}

#[test]
fn messages_then_they_are_received_in_order_and_by_type() {
    under_each_quantum(|| async {
        let task = spawn(async {
            let mut numbers = Vec::new();
            for _ in 0..3 {
                numbers.push(receive::<u32>().await);
            }
            let text = receive::<String>().await;
            (numbers, text)
        })
        .await;
        // Before it runs, or while it waits: both kinds of way.
        send(task.id(), String::from("text")).await.unwrap();
        send(task.id(), 1_u32).await.unwrap();
        settle().await;
        send(task.id(), 2_u32).await.unwrap();
        send(task.id(), 3_u32).await.unwrap();
        assert_eq!(task.await.unwrap(), (vec![1, 2, 3], String::from("text")));
    });
}

#[test]
fn two_tasks_then_they_may_answer_one_another() {
    under_each_quantum(|| async {
        let me = get_tid().await;
        let server = spawn(async {
            loop {
                let (from, number): (TaskId, u32) = receive().await;
                send(from, number * 2).await.unwrap();
            }
        })
        .await;
        for number in 0..10 {
            send(server.id(), (me, number)).await.unwrap();
            assert_eq!(receive::<u32>().await, number * 2);
        }
        kill(server.id()).await.unwrap();
    });
}

#[test]
fn message_to_oneself_then_it_is_there() {
    under_each_quantum(|| async {
        let me = get_tid().await;
        assert_eq!(try_receive::<&str>(), None);
        send(me, "note").await.unwrap();
        assert_eq!(try_receive::<&str>(), Some("note"));
        assert_eq!(try_receive::<&str>(), None);
    });
}

#[test]
fn first_message_then_one_trap_and_no_more_for_the_others() {
    let trace = Trace::default();
    let lines = trace.clone();
    let probe = move |event: &Event<'_>| lines.say(event);
    let mut scheduler = builder().quantum(1000).probe(probe).build();
    scheduler
        .block_on(async {
            let task = idle().await;
            trace.take();
            send(task.id(), 1_u32).await.unwrap();
            send(task.id(), 2_u32).await.unwrap();
            send(task.id(), 3_u32).await.unwrap();
            let calls = trace.take();
            let traps = calls.iter().filter(|line| line.contains("own_call")).count();
            assert_eq!(traps, 1, "{calls:?}");
            kill(task.id()).await.unwrap();
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn task_ended_or_never_born_then_the_message_comes_back() {
    let never = foreign_id();
    under_each_quantum(|| async move {
        let returned = spawn(async {}).await;
        let id = returned.id();
        returned.await.unwrap();
        assert_eq!(send(id, 1).await.unwrap_err().into_inner(), 1);
        let killed = idle().await;
        send(killed.id(), 2).await.unwrap();
        kill(killed.id()).await.unwrap();
        assert_eq!(send(killed.id(), 3).await.unwrap_err().into_inner(), 3);
        assert_eq!(send(never, 4).await.unwrap_err().into_inner(), 4);
    });
}

#[test]
fn task_ends_then_its_mail_goes_with_it() {
    for how in 0..4 {
        let mut scheduler = at_once();
        let dropped = Rc::new(Cell::new(0));
        let drops = Rc::clone(&dropped);
        scheduler
            .block_on(async move {
                let task = spawn(async move {
                    settle().await;
                    match how {
                        0 => {}
                        1 => panic!("on purpose"),
                        2 => {
                            let me = get_tid().await;
                            kill(me).await.unwrap();
                        }
                        _ => std::future::pending::<()>().await,
                    }
                })
                .await;
                for _ in 0..3 {
                    let drops = Rc::clone(&drops);
                    let thing =
                        OnDrop(Box::new(move || drops.set(drops.get() + 1)) as Box<dyn FnMut()>);
                    assert!(send(task.id(), thing).await.is_ok());
                }
                settle().await;
                settle().await;
                if how == 3 {
                    assert_eq!(drops.get(), 0);
                    kill(task.id()).await.unwrap();
                }
                assert_eq!(drops.get(), 3);
                assert_eq!(task.await.is_ok(), how == 0);
            })
            .unwrap();
        run_clean(&mut scheduler);
        assert_eq!(dropped.get(), 3);
    }
}

#[test]
fn scheduler_dropped_then_the_mail_goes_with_it() {
    let dropped = Rc::new(Cell::new(0));
    let mut scheduler = at_once();
    let task = scheduler.spawn(std::future::pending::<()>());
    let (id, drops) = (task.id(), Rc::clone(&dropped));
    scheduler
        .block_on(async move {
            let thing = OnDrop(Box::new(move || drops.set(drops.get() + 1)) as Box<dyn FnMut()>);
            assert!(send(id, thing).await.is_ok());
        })
        .unwrap();
    assert_eq!(dropped.get(), 0);
    drop(scheduler);
    assert_eq!(dropped.get(), 1);
    task.detach();
}

#[test]
fn message_whose_destructor_panics_then_it_is_counted_and_the_others_go_too() {
    let mut scheduler = at_once();
    let dropped = Rc::new(Cell::new(false));
    let drops = Rc::clone(&dropped);
    scheduler
        .block_on(async move {
            let task = idle().await;
            let bomb: Box<dyn FnMut()> = Box::new(|| std::panic::panic_any("a message"));
            let bomb = OnDrop(bomb);
            assert!(send(task.id(), bomb).await.is_ok());
            let other = OnDrop(Box::new(move || drops.set(true)) as Box<dyn FnMut()>);
            assert!(send(task.id(), other).await.is_ok());
            kill(task.id()).await.unwrap();
        })
        .unwrap();
    assert!(dropped.get());
    assert_eq!(scheduler.run().unwrap().failures, 1);
    assert_empty(&scheduler);
}

#[test]
fn receive_dropped_at_each_moment_then_it_has_taken_nothing() {
    for moment in 0..3 {
        let mut scheduler = at_once();
        scheduler
            .block_on(async move {
                let me = get_tid().await;
                let mut wait = receive::<u32>();
                if moment > 0 {
                    assert!(poll_once(&mut wait).await.is_pending());
                    yield_now().await;
                }
                if moment == 2 {
                    send(me, 1_u32).await.unwrap();
                    assert_eq!(try_receive::<u32>(), None, "it was given to the one who waits");
                    drop(wait);
                } else {
                    drop(wait);
                    send(me, 1_u32).await.unwrap();
                }
                assert_eq!(receive::<u32>().await, 1);
            })
            .unwrap();
        run_clean(&mut scheduler);
    }
}

#[test]
fn send_dropped_at_each_moment_then_the_message_was_sent_or_dropped() {
    for moment in 0..3 {
        let mut scheduler = at_once();
        scheduler
            .block_on(async move {
                let task = spawn(async { receive::<u32>().now_or_never() }).await;
                let mut sending = send(task.id(), 1_u32);
                if moment > 0 {
                    assert!(poll_once(&mut sending).await.is_pending());
                }
                if moment == 2 {
                    // It is served when this turn is over; the other task runs later.
                    get_tid().await;
                }
                drop(sending);
                assert_eq!(task.await.unwrap(), (moment == 2).then_some(1));
            })
            .unwrap();
        run_clean(&mut scheduler);
    }
}

#[test]
fn several_receives_in_one_task_then_they_are_served_in_order() {
    under_each_quantum(|| async {
        let me = get_tid().await;
        let sending = async {
            for number in 0..4_u32 {
                send(me, number).await.unwrap();
            }
        };
        let (a, b, ()) = join!(receive::<u32>(), receive::<u32>(), sending);
        let mut rest: FuturesUnordered<_> = (0..2).map(|_| receive::<u32>()).collect();
        let mut all = vec![a, b];
        while let Some(number) = rest.next().await {
            all.push(number);
        }
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3]);
    });
}

#[test]
fn receive_that_loses_a_select_then_the_message_stays() {
    under_each_quantum(|| async {
        let me = get_tid().await;
        spawn_detached(async move {
            sleep(Duration::from_secs(1)).await;
            send(me, "late").await.unwrap();
        });
        let mut tries = 0;
        let message = loop {
            select_biased! {
                message = receive::<&str>().fuse() => break message,
                _ = sleep(Duration::from_millis(300)).fuse() => tries += 1,
            }
        };
        assert_eq!((message, tries), ("late", 3));
    });
}

#[test]
fn receiver_killed_while_it_waits_or_has_been_given_a_message_then_nothing_stays() {
    for given in [false, true] {
        let mut scheduler = at_once();
        scheduler
            .block_on(async move {
                let task = spawn(async { receive::<u32>().await }).await;
                settle().await;
                if given {
                    send(task.id(), 1_u32).await.unwrap();
                }
                kill(task.id()).await.unwrap();
                assert!(task.await.unwrap_err().is_killed());
                // The queue it waited in serves another.
                let other = spawn(async { receive::<u32>().await }).await;
                settle().await;
                assert!(!other.id().eq(&get_tid().await));
                send(other.id(), 2_u32).await.unwrap();
                assert_eq!(other.await.unwrap(), 2);
            })
            .unwrap();
        run_clean(&mut scheduler);
    }
}

#[test]
fn receive_awaited_in_another_task_then_the_mailbox_is_that_of_who_called_it() {
    let mut scheduler = at_once();
    scheduler
        .block_on(async {
            let me = get_tid().await;
            let other = spawn(receive::<u32>()).await;
            settle().await;
            send(me, 1_u32).await.unwrap();
            assert_eq!(other.await.unwrap(), 1);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn receive_kept_after_its_task_and_scheduler_then_it_may_be_dropped() {
    let slot = Slot::new();
    let mut scheduler = at_once();
    let theirs = slot.clone();
    scheduler
        .block_on(async move {
            let mut wait = receive::<u32>();
            assert!(poll_once(&mut wait).await.is_pending());
            yield_now().await;
            theirs.put(wait);
        })
        .unwrap();
    drop(scheduler);
    drop(slot.take());
    // Its queue is used again.
    let mut second = at_once();
    second
        .block_on(async {
            let me = get_tid().await;
            assert!(receive::<u32>().now_or_never().is_none());
            send(me, 1_u32).await.unwrap();
            assert_eq!(receive::<u32>().await, 1);
        })
        .unwrap();
    run_clean(&mut second);
}

#[test]
fn outside_a_task_then_it_panics_and_says_so() {
    let id = foreign_id();
    assert!(panic_of(|| drop(receive::<u32>())).contains("outside a task"));
    assert!(panic_of(|| poll_idly(&mut send(id, 1))).contains("outside a task"));
    assert!(panic_of(|| try_receive::<u32>().is_some()).contains("outside a task"));
}

#[test]
fn receive_that_nobody_serves_then_a_deadlock_that_names_it_and_the_line() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let lines = trace.clone();
    let task = scheduler.spawn(async move { lines.say(receive::<u32>().await) });
    let id = task.id();
    task.detach();
    let error = scheduler.run().unwrap_err();
    let RunError::Deadlock(report) = error else { panic!("{error}") };
    let text = report.to_string();
    assert!(text.contains("`a message to this task` at tests/mailboxes.rs"), "{text}");
    scheduler.block_on(async move { send(id, 5_u32).await.unwrap() }).unwrap();
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["5"]);
}

#[test]
fn very_many_tasks_with_mail_then_nothing_is_kept() {
    let mut scheduler = builder().quantum(32).build();
    scheduler
        .block_on(async {
            for round in 0..50_u32 {
                let tasks: Vec<_> = (0..20)
                    .map(|_| spawn(async { receive::<u32>().await + receive::<u32>().await }))
                    .collect::<FuturesUnordered<_>>()
                    .collect()
                    .await;
                for task in &tasks {
                    send(task.id(), round).await.unwrap();
                }
                for task in &tasks {
                    send(task.id(), 1_u32).await.unwrap();
                }
                for task in tasks {
                    assert_eq!(task.await.unwrap(), round + 1);
                }
            }
        })
        .unwrap();
    run_clean(&mut scheduler);
}
