//! Coroutines: sent to by hand, and as sinks and streams in tasks.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::RefCell;
use std::future::{pending, ready};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, SinkExt, StreamExt, select};
use proptest::prelude::*;
use support::{
    OnDrop, Slot, Trace, assert_empty, builder, panic_of, poll_idly, poll_once, run_clean,
    scheduler,
};
use trapline::generator::{Coroutine, Finished, Mailbox};
use trapline::{get_tid, kill, now, post_kill, sleep, spawn, yield_now};

const SECOND: Duration = Duration::from_secs(1);

const DRIVE_AS_SINK: &str = "Coroutine::into_sink";

/// Writes down what it is sent, and the end.
fn printer(trace: &Trace) -> Coroutine<'static, String> {
    let trace = trace.clone();
    Coroutine::new(async move |mailbox| {
        while let Some(line) = mailbox.receive().await {
            trace.say(line);
        }
        trace.say("end");
    })
}

/// Passes on the lines with `pattern` in them.
fn grep(pattern: &'static str, target: Coroutine<'static, String>) -> Coroutine<'static, String> {
    Coroutine::new(async move |mailbox: Mailbox<String>| {
        while let Some(line) = mailbox.receive().await {
            if line.contains(pattern) && target.send(line).is_err() {
                return;
            }
        }
        target.close();
    })
}

/// Replies with the sum so far, and once more at the end.
fn adder() -> Coroutine<'static, u64, u64> {
    Coroutine::new(async |mailbox| {
        let mut sum = 0;
        while let Some(value) = mailbox.receive().await {
            sum += value;
            mailbox.reply(sum).await;
        }
        mailbox.reply(sum).await;
    })
}

/// Sleeps a second over each number, and replies with its double.
fn sleeper(trace: &Trace) -> Coroutine<'static, u64, u64> {
    let trace = trace.clone();
    Coroutine::new(async move |mailbox| {
        while let Some(n) = mailbox.receive().await {
            trace.say(format!("takes {n}"));
            sleep(SECOND).await;
            trace.say(format!("has done {n}"));
            mailbox.reply(n * 2).await;
        }
        sleep(SECOND).await;
        trace.say("end");
    })
}

// By hand

#[test]
fn first_value_sent_without_priming_then_it_is_received() {
    let trace = Trace::default();
    let printer = printer(&trace);
    assert_eq!(printer.send("first".into()), Ok(None));
    assert_eq!(trace.take(), ["first"]);
}

#[test]
fn value_sent_then_the_reply_comes_back() {
    let adder = adder();
    assert_eq!(adder.send(3), Ok(Some(3)));
    assert_eq!(adder.send(4), Ok(Some(7)));
    assert_eq!(adder.reply(), None);
    assert_eq!(adder.send(1), Ok(Some(8)));
}

#[test]
fn several_replies_to_one_value_then_reply_gives_the_others_and_send_drops_them() {
    let counter = Coroutine::new(async |mailbox: Mailbox<u32, u32>| {
        while let Some(n) = mailbox.receive().await {
            for reply in 1..=n {
                mailbox.reply(reply).await;
            }
        }
    });
    assert_eq!(counter.send(3), Ok(Some(1)));
    assert_eq!((counter.reply(), counter.reply(), counter.reply()), (Some(2), Some(3), None));
    assert_eq!(counter.send(3), Ok(Some(1)));
    assert_eq!(counter.send(1), Ok(Some(1)));
    assert_eq!(counter.reply(), None);
}

#[test]
fn coroutine_closed_then_the_block_sees_the_end_and_runs_to_its_own() {
    let trace = Trace::default();
    let printer = printer(&trace);
    printer.send("line".into()).unwrap();
    printer.close();
    assert!(printer.is_finished());
    assert_eq!(trace.take(), ["line", "end"]);
    printer.close();
    assert_eq!(printer.send("more".into()), Err(Finished));
    assert!(trace.take().is_empty());
}

#[test]
fn last_handle_dropped_then_only_destructors_run() {
    let trace = Trace::default();
    let coroutine = Coroutine::new(async |mailbox: Mailbox<u32>| {
        let _guard = OnDrop(|| trace.say("dropped"));
        while mailbox.receive().await.is_some() {}
        trace.say("end");
    });
    let other = coroutine.clone();
    coroutine.send(1).unwrap();
    drop(coroutine);
    other.send(2).unwrap();
    assert!(trace.take().is_empty());
    drop(other);
    assert_eq!(trace.take(), ["dropped"]);
}

#[test]
fn block_that_returns_then_sending_is_an_error() {
    let coroutine = Coroutine::new(async |mailbox: Mailbox<u32>| {
        mailbox.receive().await;
    });
    assert_eq!(coroutine.send(1), Ok(None));
    assert!(coroutine.is_finished());
    assert_eq!(coroutine.send(2), Err(Finished));
    let other: Coroutine<'_, u32> = Coroutine::new(async |_mailbox| {});
    assert_eq!(other.send(1), Err(Finished));
}

#[test]
fn block_that_panics_then_the_sender_panics_and_it_has_ended() {
    let coroutine = Coroutine::new(async |mailbox: Mailbox<u32>| {
        mailbox.receive().await;
        panic!("a bad block");
    });
    assert_eq!(panic_of(|| coroutine.send(1)), "a bad block");
    assert!(coroutine.is_finished());
    assert_eq!(coroutine.send(2), Err(Finished));
}

#[test]
fn errors_sent_as_values_then_the_block_may_go_on_or_end() {
    let trace = Trace::default();
    let coroutine = Coroutine::new(async |mailbox: Mailbox<Result<u32, &str>>| {
        while let Some(value) = mailbox.receive().await {
            match value {
                Ok(n) => trace.say(n),
                Err("fatal") => return,
                Err(error) => trace.say(error),
            }
        }
    });
    for value in [Ok(1), Err("odd"), Ok(2), Err("fatal")] {
        coroutine.send(value).unwrap();
    }
    assert_eq!(coroutine.send(Ok(3)), Err(Finished));
    assert_eq!(trace.take(), ["1", "odd", "2"]);
}

#[test]
fn block_that_ignores_its_end_then_close_panics() {
    let coroutine = Coroutine::new(async |mailbox: Mailbox<u32>| {
        loop {
            mailbox.receive().await;
        }
    });
    assert!(panic_of(|| coroutine.close()).contains("after its end"));
    assert!(coroutine.is_finished());
}

#[test]
fn coroutine_that_sends_to_itself_then_a_panic_says_so() {
    let slot: Slot<Coroutine<'static, u32>> = Slot::new();
    let itself = slot.clone();
    let coroutine = Coroutine::new(async move |mailbox| {
        while let Some(n) = mailbox.receive().await {
            itself.take().unwrap().send(n).unwrap();
        }
    });
    slot.put(coroutine.clone());
    let text = panic_of(|| coroutine.send(1));
    assert!(text.contains("sends to itself"), "{text}");
    assert!(coroutine.is_finished());
}

#[test]
fn mailbox_used_elsewhere_or_twice_then_a_panic_says_so() {
    let slot = Slot::new();
    let thief = Coroutine::new(async |mailbox: Mailbox<u32, u32>| slot.put(mailbox));
    assert_eq!(thief.send(1), Err(Finished));
    let mailbox = slot.take().unwrap();
    assert!(panic_of(|| poll_idly(&mut mailbox.receive())).contains("outside the block"));
    assert!(panic_of(|| poll_idly(&mut mailbox.reply(1))).contains("outside the block"));
    let twice = Coroutine::new(async |mailbox: Mailbox<u32>| {
        futures::join!(mailbox.receive(), mailbox.receive());
    });
    assert!(panic_of(|| twice.send(1)).contains("twice at once"));
}

#[test]
fn receive_given_up_then_the_value_comes_to_the_next() {
    let trace = Trace::default();
    let coroutine = Coroutine::new(async |mailbox: Mailbox<u32>| {
        assert_eq!(poll_once(&mut mailbox.receive()).await, Poll::Pending);
        while let Some(n) = mailbox.receive().await {
            trace.say(n);
        }
    });
    coroutine.send(1).unwrap();
    coroutine.send(2).unwrap();
    assert_eq!(trace.take(), ["1", "2"]);
}

#[test]
fn receive_and_reply_under_foreign_wakers_then_they_go_on() {
    let coroutine = Coroutine::new(async |mailbox: Mailbox<u32, u32>| {
        loop {
            let received = [mailbox.receive()].into_iter().collect::<FuturesUnordered<_>>();
            let Some(Some(n)) = { received }.next().await else { return };
            let mut replied: FuturesUnordered<_> = [mailbox.reply(n + 1)].into_iter().collect();
            replied.next().await;
        }
    });
    assert_eq!(coroutine.send(1), Ok(Some(2)));
    assert_eq!(coroutine.send(2), Ok(Some(3)));
    coroutine.close();
    assert!(coroutine.is_finished());
}

#[test]
fn trap_when_sent_to_by_hand_then_a_panic_names_the_sink() {
    let trace = Trace::default();
    let text = panic_of(|| sleeper(&trace).send(1));
    assert!(text.contains(DRIVE_AS_SINK), "{text}");
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let outer = sleeper(&trace);
            let inner = outer.clone();
            let nested = Coroutine::new(async move |mailbox| {
                inner.send(mailbox.receive().await.unwrap()).unwrap();
            });
            let nested: Coroutine<'_, u64> = nested;
            assert!(panic_of(|| nested.send(1)).contains(DRIVE_AS_SINK));
            assert!(outer.is_finished());
            get_tid().await;
        })
        .unwrap();
    assert_empty(&scheduler);
    let stuck = Coroutine::new(async |mailbox: Mailbox<u32>| {
        mailbox.receive().await;
        pending::<()>().await;
    });
    assert!(panic_of(|| stuck.send(1)).contains("not ready"));
    assert!(stuck.is_finished());
}

#[test]
fn pipeline_then_what_passes_all_filters_arrives_and_the_end_goes_through() {
    let trace = Trace::default();
    let pipeline = grep("a", grep("b", printer(&trace)));
    for line in ["a", "ab", "b", "cab"] {
        pipeline.send(line.into()).unwrap();
    }
    assert_eq!(trace.take(), ["ab", "cab"]);
    pipeline.close();
    assert_eq!(trace.take(), ["end"]);
}

#[test]
fn broadcast_to_branches_that_share_a_printer_then_each_line_comes_once_a_branch() {
    let trace = Trace::default();
    let printer = printer(&trace);
    let branches = ["python", "ply", "swig"].map(|word| grep(word, printer.clone()));
    let broadcast = Coroutine::new(async |mailbox: Mailbox<&str>| {
        while let Some(line) = mailbox.receive().await {
            for branch in &branches {
                branch.send(line.to_owned()).unwrap();
            }
        }
    });
    for line in ["python and ply", "perl", "swig"] {
        broadcast.send(line).unwrap();
    }
    assert_eq!(trace.take(), ["python and ply", "python and ply", "swig"]);
}

#[test]
fn over_a_source_then_all_replies_those_at_the_end_too() {
    assert_eq!(adder().over([1, 2, 3]).collect::<Vec<_>>(), [1, 3, 6, 6]);
    assert_eq!(adder().over([]).collect::<Vec<_>>(), [0]);
    let ends = Coroutine::new(async |mailbox| {
        let first: u32 = mailbox.receive().await.unwrap();
        mailbox.reply(first).await;
    });
    assert_eq!(ends.over(5..).collect::<Vec<_>>(), [5]);
}

#[test]
fn coroutine_shown_then_what_passed_and_its_line() {
    let adder = adder();
    adder.send(1).unwrap();
    let shown = format!("{adder:?}");
    assert!(shown.contains("received: 1, replied: 1"), "{shown}");
    assert!(shown.contains("coroutines.rs:"), "{shown}");
}

// In a task

#[test]
fn sink_whose_block_sleeps_then_send_lasts_as_long_and_the_reply_follows() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let start = now().await;
            let mut sink = sleeper(&trace).into_sink();
            sink.send(21).await.unwrap();
            assert_eq!(now().await - start, SECOND);
            assert_eq!(sink.next().await, Some(42));
            assert_eq!(sink.next().await, None);
            // A reply that nobody takes.
            sink.send(1).await.unwrap();
            sink.send(2).await.unwrap();
            assert_eq!(sink.next().await, Some(4));
            sink.close().await.unwrap();
            assert_eq!(now().await - start, SECOND * 4);
            assert!(sink.is_finished());
            assert_eq!(sink.send(3).await, Err(Finished));
            assert_eq!(sink.next().await, None);
            sink.close().await.unwrap();
        })
        .unwrap();
    assert_eq!(trace.take().last().unwrap(), "end");
    assert_empty(&scheduler);
}

#[test]
fn values_forwarded_to_a_sink_then_it_takes_all_and_is_closed() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let sink = sleeper(&trace).into_sink();
    scheduler.block_on(futures::stream::iter([1, 2]).map(Ok).forward(sink)).unwrap().unwrap();
    assert_eq!(trace.take(), ["takes 1", "has done 1", "takes 2", "has done 2", "end"]);
    assert_empty(&scheduler);
}

#[test]
fn send_dropped_at_each_moment_then_the_value_is_lost_or_worked_on_but_never_twice() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let mut sink = sleeper(&trace).into_sink();
            drop(sink.send(1)); // Before its first poll: the value goes with it.
            assert!(trace.take().is_empty());
            // While blocked: the block has the value, and goes on when it is driven.
            while trace.take().is_empty() {
                let _ = poll_once(&mut sink.send(2)).await;
                yield_now().await;
            }
            assert_eq!(sink.next().await, Some(4));
            assert_eq!(trace.take(), ["has done 2"]);
            // After the wake-up.
            let mut sending = sink.send(3);
            while poll_once(&mut sending).await.is_pending() && trace.take().is_empty() {
                yield_now().await;
            }
            sleep(SECOND * 2).await;
            drop(sending);
            assert_eq!(sink.next().await, Some(6));
            select! {
                _ = sink.send(4).fuse() => unreachable!("it takes a second"),
                _ = sleep(SECOND / 2).fuse() => {}
            }
            sink.flush().await.unwrap();
            assert_eq!(sink.next().await, Some(8));
        })
        .unwrap();
    assert_empty(&scheduler);
}

#[test]
fn task_killed_while_it_sends_then_the_block_is_dropped_and_nothing_stays() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    let lines = trace.clone();
    scheduler
        .spawn(async move {
            let victim = spawn(async move {
                let mut sink = Coroutine::new(async |mailbox: Mailbox<u32>| {
                    let _guard = OnDrop(|| lines.say("dropped"));
                    mailbox.receive().await;
                    sleep(SECOND).await;
                })
                .into_sink();
                sink.send(1).await.unwrap();
            })
            .await;
            for _ in 0..4 {
                yield_now().await;
            }
            kill(victim.id()).await.unwrap();
            assert!(victim.await.unwrap_err().is_killed());
        })
        .detach();
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["dropped"]);
}

#[test]
fn task_killed_at_any_step_of_a_sink_then_nothing_stays() {
    let mut killed = 0;
    for step in 0.. {
        let mut scheduler = scheduler();
        let mut sink = sleeper(&Trace::default()).into_sink();
        let handle = scheduler.spawn(async move {
            sink.send(1).await.unwrap();
            sink.next().await
        });
        let victim = handle.id();
        for _ in 0..step {
            let _ = scheduler.step();
        }
        let ended = scheduler.block_on(async move {
            post_kill(victim);
            handle.await
        });
        assert_empty(&scheduler);
        if let Ok(reply) = ended.unwrap() {
            assert_eq!(reply, Some(2));
            break;
        }
        killed += 1;
    }
    assert!(killed > 2, "before its first poll, asleep, awake, and so on: {killed}");
}

#[test]
fn coroutine_busy_for_a_sink_then_others_panic_until_that_is_dropped() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let coroutine = sleeper(&trace);
            let mut sink = coroutine.clone().into_sink();
            let mut other = coroutine.clone().into_sink();
            while trace.take().is_empty() {
                let _ = poll_once(&mut sink.send(1)).await;
                yield_now().await;
            }
            assert!(panic_of(|| coroutine.send(2)).contains("for a sink"));
            assert!(panic_of(|| other.next().now_or_never()).contains("another sink"));
            assert!(!coroutine.is_finished());
            drop(sink);
            assert_eq!(other.next().await, Some(2));
        })
        .unwrap();
    assert_empty(&scheduler);
}

#[test]
fn sinks_under_foreign_wakers_and_join_then_each_replies() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let ask = async |n| {
                let mut sink = sleeper(&trace).into_sink();
                sink.send(n).await.unwrap();
                sink.next().await.unwrap()
            };
            let all: FuturesUnordered<_> = (1..4).map(ask).collect();
            assert_eq!(all.collect::<Vec<_>>().await, [2, 4, 6]);
            assert_eq!(futures::join!(ask(1), ask(2)), (2, 4));
        })
        .unwrap();
    assert_empty(&scheduler);
}

#[test]
fn broadcast_in_a_task_then_targets_may_wait() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let mut targets = [sleeper(&trace).into_sink(), sleeper(&trace).into_sink()];
            let mut broadcast = Coroutine::new(async move |mailbox: Mailbox<u64>| {
                while let Some(n) = mailbox.receive().await {
                    let all = targets.iter_mut().map(|target| target.send(n));
                    futures::future::join_all(all).await;
                }
            })
            .into_sink();
            let start = now().await;
            broadcast.send(1).await.unwrap();
            assert_eq!(now().await - start, SECOND, "both at a time");
        })
        .unwrap();
    assert_eq!(trace.take(), ["takes 1", "takes 1", "has done 1", "has done 1"]);
    assert_empty(&scheduler);
}

#[test]
fn endless_sending_that_never_traps_then_others_run() {
    for quantum in [1, 32] {
        let mut scheduler = builder().quantum(quantum).build();
        let sender = scheduler.spawn(async {
            let mut sink = adder().into_sink();
            loop {
                sink.send(1).await.unwrap();
            }
        });
        let victim = sender.id();
        sender.detach();
        scheduler
            .spawn(async move {
                yield_now().await;
                kill(victim).await.unwrap();
            })
            .detach();
        run_clean(&mut scheduler);
    }
}

#[test]
fn block_of_a_sink_that_panics_then_its_task_panics_and_it_has_ended() {
    let mut scheduler = scheduler();
    let coroutine = Coroutine::new(async |mailbox: Mailbox<u32>| {
        mailbox.receive().await;
        yield_now().await;
        panic!("a bad block");
    });
    let mut sink = coroutine.clone().into_sink();
    let handle = scheduler.spawn(async move { sink.send(1).await });
    let text = scheduler.block_on(async { handle.await.unwrap_err().to_string() }).unwrap();
    assert!(text.contains("a bad block"), "{text}");
    assert_eq!(coroutine.send(1), Err(Finished));
    assert_empty(&scheduler);
}

// Against a model: a list of what was sent, and running sums.

#[derive(Clone, Debug)]
enum Op {
    Send(u64),
    SendAndGiveUp(u64),
    Reply,
    Flush,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..1000_u64).prop_map(Op::Send),
        2 => (0..1000_u64).prop_map(Op::SendAndGiveUp),
        3 => Just(Op::Reply),
        1 => Just(Op::Flush),
    ]
}

proptest! {
    #[test]
    fn any_order_of_sends_then_the_sums_of_a_plain_list(
        ops in prop::collection::vec(op(), 0..25),
        quantum in 1..10_u32,
        killed_after in 0..200_usize,
    ) {
        // No number twice, so that one can tell which were seen.
        let ops: Vec<Op> = ops
            .into_iter()
            .zip(0..)
            .map(|(op, at)| match op {
                Op::Send(n) => Op::Send(n * 64 + at),
                Op::SendAndGiveUp(n) => Op::SendAndGiveUp(n * 64 + at),
                other => other,
            })
            .collect();

        // By hand: each reply is the sum of all that was sent.
        let by_hand = adder();
        let mut sum = 0;
        for op in &ops {
            match op {
                Op::Send(n) | Op::SendAndGiveUp(n) => {
                    sum += n;
                    prop_assert_eq!(by_hand.send(*n), Ok(Some(sum)));
                }
                Op::Reply | Op::Flush => prop_assert_eq!(by_hand.reply(), None),
            }
        }

        // In a task: the block saw, in order, all that was sent to its end, and some of what was
        // given up; a reply is the sum of all it saw.
        let mut scheduler = builder().quantum(quantum).build();
        let seen = Rc::new(RefCell::new(Vec::new()));
        let sent = Rc::new(RefCell::new(Vec::new()));
        let (log, sends) = (Rc::clone(&seen), Rc::clone(&sent));
        let handle = scheduler.spawn(async move {
            let inner = Rc::clone(&log);
            let mut sink = Coroutine::new(async move |mailbox: Mailbox<u64, u64>| {
                let mut sum = 0;
                while let Some(n) = mailbox.receive().await {
                    inner.borrow_mut().push(n);
                    sum += n;
                    sleep(SECOND).await;
                    mailbox.reply(sum).await;
                }
            })
            .into_sink();
            for op in ops {
                match op {
                    Op::Send(n) => {
                        sends.borrow_mut().push((n, true));
                        sink.send(n).await.unwrap();
                    }
                    Op::SendAndGiveUp(n) => {
                        sends.borrow_mut().push((n, false));
                        let _ = poll_once(&mut sink.send(n)).await;
                    }
                    Op::Reply => {
                        let sum: u64 = log.borrow().iter().sum();
                        let reply = sink.next().await;
                        let later: u64 = log.borrow().iter().sum();
                        assert!(reply.is_none_or(|it| it == sum || it == later));
                    }
                    Op::Flush => sink.flush().await.unwrap(),
                }
            }
            sink.close().await.unwrap();
        });
        let victim = handle.id();
        let mut steps = 0;
        while !scheduler.step().is_last() {
            scheduler.check_invariants();
            steps += 1;
            prop_assert!(steps < 100_000, "it never ends");
            if steps == killed_after {
                scheduler.spawn(async move { kill(victim).await.map(drop).unwrap() }).detach();
            }
        }
        let ended = scheduler.block_on(handle).unwrap();
        assert_empty(&scheduler);
        let mut seen = { seen }.borrow().clone().into_iter().peekable();
        let mut unseen = 0;
        for &(n, whole) in sent.borrow().iter() {
            if seen.peek() == Some(&n) {
                seen.next();
            } else if whole {
                unseen += 1;
            }
        }
        prop_assert_eq!(seen.next(), None, "what the block saw was sent, in this order");
        // One may be under way when the task is killed.
        prop_assert!(unseen == 0 || (ended.is_err() && unseen == 1), "{} are lost", unseen);
    }

    #[test]
    fn over_any_source_then_the_running_sums(values in prop::collection::vec(0..1000_u64, 0..20)) {
        let mut sums: Vec<u64> = values
            .iter()
            .scan(0, |sum, n| {
                *sum += n;
                Some(*sum)
            })
            .collect();
        sums.push(values.iter().sum());
        prop_assert_eq!(adder().over(values).collect::<Vec<_>>(), sums);
    }
}

#[test]
fn sink_ready_then_nothing_is_waited_for() {
    let mut scheduler = scheduler();
    let ready_at_once = scheduler
        .block_on(async {
            let mut sink = adder().into_sink();
            sink.send(1).await.unwrap();
            ready(sink.next().now_or_never()).await
        })
        .unwrap();
    assert_eq!(ready_at_once, Some(Some(1)));
}
