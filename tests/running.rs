//! Running: what `block_on`, `run` and `step` give, who runs when, and what a probe is told.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use support::{
    OnDrop, Slot, Trace, assert_empty, builder, panic_of, run_clean, scheduler, text_of, traced,
};
use trapline::{
    Event, ExitStatus, KillOutcome, RunError, Scheduler, StepEvent, TaskOptions, get_tid, kill,
    post_kill, read_wait, sleep, spawn, spawn_detached, wait, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

// block_on

#[test]
fn block_on_then_gives_what_the_future_gives() {
    let mut scheduler = builder().build();
    assert_eq!(scheduler.block_on(async { 7 }).unwrap(), 7);
    assert_eq!(scheduler.block_on(std::future::ready("now")).unwrap(), "now");
    let late = async {
        sleep(SECOND).await;
        spawn(async { 35 }).await.await.unwrap() + 7
    };
    assert_eq!(scheduler.block_on(late).unwrap(), 42);
    assert_empty(&scheduler);
}

#[test]
fn block_on_of_a_future_that_borrows_then_it_may_write_there() {
    let mut scheduler = builder().build();
    let mut words = vec![String::from("trap")];
    scheduler
        .block_on(async {
            yield_now().await;
            words.push(words[0].clone() + "line");
        })
        .unwrap();
    assert_eq!(words, ["trap", "trapline"]);
    assert_empty(&scheduler);
}

#[test]
fn block_on_of_a_future_that_panics_then_the_payload_resumes_in_the_caller() {
    let mut scheduler = builder().build();
    for trapped in [false, true] {
        let payload = catch_unwind(AssertUnwindSafe(|| {
            scheduler.block_on(async {
                if trapped {
                    yield_now().await;
                }
                panic_any(7_u64)
            })
        }))
        .unwrap_err();
        assert_eq!(payload.downcast_ref::<u64>(), Some(&7));
        assert_empty(&scheduler);
    }
    assert_eq!(scheduler.block_on(async { get_tid().await.sequence() }).unwrap(), 3);
    run_clean(&mut scheduler);
}

#[test]
fn block_on_of_a_future_that_panics_then_the_other_tasks_go_on() {
    let mut scheduler = builder().build();
    let handle = scheduler.spawn(async {
        sleep(SECOND).await;
        "still here"
    });
    let panicked = async { panic!("alone") };
    assert_eq!(panic_of(|| scheduler.block_on(panicked)), "alone");
    assert_eq!(scheduler.block_on(handle).unwrap().unwrap(), "still here");
    run_clean(&mut scheduler);
}

#[test]
fn block_on_returns_then_the_other_tasks_stay_for_the_next_run() {
    let (mut scheduler, trace) = traced();
    let seen = Rc::new(Cell::new(0));
    let counter = Rc::clone(&seen);
    scheduler
        .spawn(async move {
            for _ in 0..5 {
                counter.set(counter.get() + 1);
                yield_now().await;
            }
        })
        .detach();
    scheduler.block_on(yield_now()).unwrap();
    assert_eq!(seen.get(), 2, "{:?}", trace.take());
    scheduler.block_on(yield_now()).unwrap();
    assert_eq!(seen.get(), 4, "{:?}", trace.take());
    run_clean(&mut scheduler);
    assert_eq!(seen.get(), 5);
}

#[test]
fn block_on_of_a_handle_then_its_value() {
    let mut scheduler = builder().build();
    let handle = scheduler.spawn(async { 6 * 7 });
    assert_eq!(scheduler.block_on(handle).unwrap().unwrap(), 42);
    // The handle is a future like others: it may be awaited where other things are, too.
    let (left, right) = (scheduler.spawn(async { 1 }), scheduler.spawn(async { 2 }));
    let both = scheduler.block_on(async { futures::join!(left, right) }).unwrap();
    assert_eq!((both.0.unwrap(), both.1.unwrap()), (1, 2));
    assert_empty(&scheduler);
}

#[test]
fn block_on_that_can_never_end_then_deadlock_and_the_future_is_dropped() {
    let mut scheduler = builder().build();
    let dropped = Cell::new(false);
    let error = scheduler.block_on(async {
        let _guard = OnDrop(|| dropped.set(true));
        pending::<()>().await;
    });
    assert!(matches!(error, Err(RunError::Deadlock(_))), "{error:?}");
    assert!(dropped.get());
    assert_empty(&scheduler);
    assert_eq!(scheduler.block_on(async { 1 }).unwrap(), 1);
}

#[test]
fn run_twice_then_each_runs_what_there_is() {
    let mut scheduler = builder().build();
    run_clean(&mut scheduler);
    let runs = Rc::new(Cell::new(0));
    for _ in 0..3 {
        let runs = Rc::clone(&runs);
        scheduler.spawn(async move { runs.set(runs.get() + 1) }).detach();
        run_clean(&mut scheduler);
        run_clean(&mut scheduler);
        assert_eq!(scheduler.block_on(async { 5 }).unwrap(), 5);
        assert_eq!(scheduler.task_count(), 0);
    }
    assert_eq!(runs.get(), 3);
}

// Inside a task

#[test]
fn run_inside_a_task_then_an_error_and_the_scheduler_is_intact() {
    let mut scheduler = builder().build();
    let inner = Rc::new(RefCell::new(builder().build()));
    let theirs = Rc::clone(&inner);
    let handle = scheduler.spawn(async move {
        yield_now().await;
        theirs.borrow_mut().spawn(async {}).detach();
        assert!(matches!(theirs.borrow_mut().run(), Err(RunError::InsideTask)));
        let result = theirs.borrow_mut().block_on(async { 1 });
        assert!(matches!(result, Err(RunError::InsideTask)));
        assert!(matches!(Scheduler::new().run(), Err(RunError::InsideTask)));
        // The task itself goes on, and its calls reach its own scheduler.
        get_tid().await.sequence()
    });
    assert_eq!(scheduler.block_on(handle).unwrap().unwrap(), 1);
    run_clean(&mut scheduler);
    assert_eq!(inner.borrow().task_count(), 1);
    run_clean(&mut inner.borrow_mut());
}

#[test]
fn step_inside_a_task_then_that_task_alone_panics() {
    let mut scheduler = builder().build();
    let inner = Rc::new(RefCell::new(builder().build()));
    let theirs = Rc::clone(&inner);
    let panics = scheduler.spawn(async move {
        theirs.borrow_mut().spawn(async {}).detach();
        theirs.borrow_mut().step();
    });
    let lives = scheduler.spawn(async {
        yield_now().await;
        "here"
    });
    let panicked = scheduler.block_on(panics).unwrap().unwrap_err();
    assert!(panicked.is_panic());
    assert!(panicked.to_string().contains("step"), "{panicked}");
    assert_eq!(scheduler.block_on(lives).unwrap().unwrap(), "here");
    run_clean(&mut scheduler);
    run_clean(&mut inner.borrow_mut());
}

#[test]
fn run_in_a_destructor_then_an_error() {
    let mut scheduler = builder().build();
    let refused = Rc::new(Cell::new(false));
    let seen = Rc::clone(&refused);
    let victim = scheduler.spawn(async move {
        let _guard =
            OnDrop(move || seen.set(matches!(Scheduler::new().run(), Err(RunError::InsideTask))));
        pending::<()>().await;
    });
    let id = victim.id();
    victim.detach();
    assert_eq!(scheduler.block_on(kill(id)).unwrap(), Ok(KillOutcome::Killed));
    // The victim had been taken before the root, so it had its guard.
    assert!(refused.get());
    run_clean(&mut scheduler);
}

#[test]
fn scheduler_dropped_inside_a_task_of_another_then_its_tasks_go() {
    let mut scheduler = builder().build();
    let gone = Rc::new(Cell::new(0));
    let counter = Rc::clone(&gone);
    let task = scheduler.spawn(async move {
        let mut inner = builder().build();
        for _ in 0..3 {
            let counter = Rc::clone(&counter);
            let guard = OnDrop(move || {
                counter.set(counter.get() + 1);
                // It may post, to its own scheduler, which forgets it.
                spawn_detached(async { panic!("nobody runs this") });
            });
            inner
                .spawn(async move {
                    let _guard = guard;
                    pending::<()>().await;
                })
                .detach();
        }
        yield_now().await;
        drop(inner);
        get_tid().await.sequence()
    });
    assert_eq!(scheduler.block_on(task).unwrap().unwrap(), 1);
    assert_eq!(gone.get(), 3);
    run_clean(&mut scheduler);
}

#[test]
fn two_schedulers_stepped_in_turn_then_each_serves_its_own() {
    let (mut left, mut right) = (builder().build(), builder().build());
    let trace = Trace::default();
    for (name, scheduler) in [("left", &mut left), ("right", &mut right)] {
        let trace = trace.clone();
        scheduler
            .spawn(async move {
                for round in 0..3 {
                    trace.say(format!("{name} {round} as {}", get_tid().await));
                    sleep(SECOND).await;
                }
            })
            .detach();
    }
    loop {
        let ends = [left.step(), right.step()];
        if ends.iter().all(|step| step.event() == StepEvent::Finished) {
            break;
        }
    }
    let expected = ["left 0 as 1", "right 0 as 1", "left 1 as 1", "right 1 as 1", "left 2 as 1"];
    assert_eq!(trace.take()[..5], expected);
    assert_empty(&left);
    assert_empty(&right);
}

// Order

#[test]
fn two_tasks_that_yield_in_a_loop_then_they_interleave_one_for_one() {
    for quantum in [1, 2, 32, u32::MAX] {
        let mut scheduler = builder().quantum(quantum).build();
        let trace = Trace::default();
        for name in ["foo", "bar"] {
            let trace = trace.clone();
            scheduler
                .spawn(async move {
                    for _ in 0..3 {
                        trace.say(name);
                        yield_now().await;
                    }
                })
                .detach();
        }
        run_clean(&mut scheduler);
        assert_eq!(trace.take(), ["foo", "bar", "foo", "bar", "foo", "bar"], "quantum {quantum}");
    }
}

#[test]
fn quantum_of_one_then_every_trap_is_a_scheduling_point() {
    let turns = |quantum| {
        let mut scheduler = builder().quantum(quantum).build();
        let trace = Trace::default();
        for name in ["a", "b"] {
            let trace = trace.clone();
            scheduler
                .spawn(async move {
                    for _ in 0..4 {
                        get_tid().await;
                        trace.say(name);
                    }
                })
                .detach();
        }
        run_clean(&mut scheduler);
        trace.take().concat()
    };
    assert_eq!(turns(1), "abababab");
    assert_eq!(turns(0), "abababab");
    // Of a quantum of 2, the first step goes to the first poll, so one answer comes back in it.
    assert_eq!(turns(2), "abaabbab");
    assert_eq!(turns(32), "aaaabbbb");
}

#[test]
fn child_spawned_then_it_is_queued_before_its_parent() {
    let mut scheduler = builder().build();
    let trace = Trace::default();
    let theirs = trace.clone();
    scheduler
        .spawn(async move {
            let trace = theirs.clone();
            spawn(async move { trace.say("child") }).await.detach();
            theirs.say("parent");
        })
        .detach();
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["child", "parent"]);
}

#[test]
fn task_that_wakes_itself_for_ever_then_it_stands_behind_the_others() {
    let mut scheduler = builder().batch(7).build();
    scheduler
        .spawn_with(
            TaskOptions::new().daemon(),
            poll_fn(|cx| {
                for _ in 0..3 {
                    cx.waker().wake_by_ref();
                }
                Poll::<()>::Pending
            }),
        )
        .detach();
    let trace = Trace::default();
    let theirs = trace.clone();
    scheduler
        .spawn(async move {
            for round in 0..100 {
                sleep(SECOND / 1000).await;
                theirs.say(round);
                if round == 99 {
                    return;
                }
                theirs.take();
            }
        })
        .detach();
    // The virtual clock stands still while anything can run: a spinning task holds it up.
    for _ in 0..10_000 {
        scheduler.step();
    }
    assert!(trace.take().is_empty());
    scheduler.check_invariants();
    assert_eq!(scheduler.task_count(), 2);
}

// Two tasks that yield for ever keep nobody waiting (3)

fn with_two_spinners(test: impl AsyncFnOnce()) {
    let mut scheduler = Scheduler::builder().quantum(4).batch(16).build();
    for _ in 0..2 {
        scheduler
            .spawn_with(TaskOptions::new().daemon(), async {
                loop {
                    yield_now().await;
                }
            })
            .detach();
    }
    scheduler.block_on(test()).unwrap();
    assert_eq!(scheduler.task_count(), 2);
}

#[test]
fn two_tasks_that_yield_for_ever_then_a_ping_pong_goes_ahead() {
    with_two_spinners(async || {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let server = spawn(async move {
            for _ in 0..100 {
                read_wait(&theirs).await.unwrap();
                let mut byte = [0];
                theirs.read_exact(&mut byte).unwrap();
                theirs.write_all(&byte).unwrap();
            }
        })
        .await;
        for round in 0..100 {
            ours.write_all(&[round]).unwrap();
            read_wait(&ours).await.unwrap();
            let mut byte = [0];
            ours.read_exact(&mut byte).unwrap();
            assert_eq!(byte, [round]);
        }
        server.await.unwrap();
    });
}

#[test]
fn two_tasks_that_yield_for_ever_then_a_timer_goes_ahead() {
    with_two_spinners(async || {
        for _ in 0..3 {
            sleep(SECOND / 1000).await;
        }
    });
}

#[test]
fn two_tasks_that_yield_for_ever_then_a_kill_goes_ahead() {
    with_two_spinners(async || {
        let spinner = spawn(async {
            loop {
                get_tid().await;
            }
        })
        .await;
        yield_now().await;
        assert_eq!(kill(spinner.id()).await, Ok(KillOutcome::Killed));
        assert!(spinner.await.unwrap_err().is_killed());
    });
}

#[test]
fn batch_of_tasks_that_stay_ready_then_the_outside_is_looked_at_after_it() {
    for batch in [0, 1, 5, 256] {
        let trace = Trace::default();
        let lines = trace.clone();
        let mut scheduler = builder()
            .batch(batch)
            .probe(move |event: &Event<'_>| match event {
                Event::Taken { .. } => lines.say("t"),
                Event::Outside { .. } => lines.say("\n"),
                _ => {}
            })
            .build();
        for _ in 0..3 {
            scheduler
                .spawn(async {
                    for _ in 0..400 {
                        yield_now().await;
                    }
                })
                .detach();
        }
        run_clean(&mut scheduler);
        let text = trace.take().concat();
        let longest = text.split('\n').map(str::len).max();
        assert_eq!(longest, Some(batch.max(1) as usize));
    }
}

// Daemons

#[test]
fn daemons_left_then_run_ends_and_they_stay_for_the_next() {
    let mut scheduler = builder().build();
    let trace = Trace::default();
    let theirs = trace.clone();
    let guard = OnDrop({
        let trace = trace.clone();
        move || trace.say("gone")
    });
    scheduler
        .spawn_with(TaskOptions::new().name("ticker").daemon(), async move {
            let _guard = guard;
            loop {
                theirs.say("tick");
                sleep(SECOND).await;
            }
        })
        .detach();
    let report = scheduler.run().unwrap();
    assert_eq!(report.failures, 0);
    assert_eq!(trace.take(), [""; 0], "nobody waits for a daemon, so it need not even start");
    scheduler.spawn(sleep(SECOND * 5 / 2)).detach();
    let _ = scheduler.run().unwrap();
    assert_eq!(trace.take(), ["tick", "tick", "tick"]);
    assert_eq!(scheduler.task_count(), 1);
    scheduler.block_on(sleep(SECOND)).unwrap();
    assert_eq!(trace.take(), ["tick"]);
    drop(scheduler);
    assert_eq!(trace.take(), ["gone"]);
}

#[test]
fn daemon_spawned_by_a_task_then_nobody_waits_for_it() {
    let mut scheduler = builder().build();
    let daemon = scheduler.block_on(spawn(pending::<()>()).name("d").daemon()).unwrap();
    scheduler
        .block_on(async {
            spawn(pending::<()>()).daemon().detach();
        })
        .unwrap();
    let _ = scheduler.run().unwrap();
    assert_eq!(scheduler.task_count(), 2);
    let snapshot = scheduler.snapshot();
    assert!(snapshot.task(daemon.id()).unwrap().daemon);
    // A handle may be joined all the same; the kill ends it.
    let joined = scheduler
        .block_on(async move {
            post_kill(daemon.id());
            daemon.await
        })
        .unwrap();
    assert!(joined.unwrap_err().is_killed());
    assert_eq!(scheduler.task_count(), 1);
}

// step

#[test]
fn step_then_one_task_is_resumed_once() {
    for quantum in [1, 3, 32] {
        let mut scheduler = builder().quantum(quantum).build();
        let polls = Rc::new(Cell::new(0));
        for _ in 0..3 {
            let polls = Rc::clone(&polls);
            scheduler
                .spawn(async move {
                    for _ in 0..5 {
                        polls.set(polls.get() + 1);
                        get_tid().await;
                    }
                    polls.set(polls.get() + 1);
                })
                .detach();
        }
        loop {
            let before = polls.get();
            let step = scheduler.step();
            if step.is_last() {
                break;
            }
            assert_eq!(polls.get(), before + usize::from(step.task().is_some()), "{step}");
        }
        assert_eq!(polls.get(), 18);
        assert_empty(&scheduler);
    }
}

#[test]
fn step_with_nothing_ready_then_a_look_at_the_outside_is_a_step_of_its_own() {
    let mut scheduler = builder().build();
    scheduler.spawn(sleep(SECOND)).detach();
    let events: Vec<String> = std::iter::from_fn(|| {
        let step = scheduler.step();
        (!step.is_last()).then(|| step.to_string())
    })
    .collect();
    assert_eq!(events, ["1 sleep(1s) blocks", "outside: 1 answered", "1 returned"]);
    assert_eq!(scheduler.step().event(), StepEvent::Finished);
    assert_eq!(scheduler.step().event(), StepEvent::Finished);
}

#[test]
fn step_while_something_is_ready_then_it_never_blocks() {
    // On the real clock; the sleeper would hold the loop up for an hour.
    let mut scheduler = Scheduler::builder().batch(1).build();
    scheduler.spawn(sleep(SECOND * 3600)).detach();
    let rounds = Rc::new(Cell::new(0));
    let counter = Rc::clone(&rounds);
    scheduler
        .spawn(async move {
            for _ in 0..1000 {
                yield_now().await;
                counter.set(counter.get() + 1);
            }
        })
        .detach();
    while rounds.get() < 1000 {
        scheduler.step();
    }
    assert_eq!(scheduler.task_count(), 1, "the sleeper sleeps on");
}

#[test]
fn task_that_makes_several_calls_then_one_step_serves_them_all() {
    let mut scheduler = builder().build();
    scheduler
        .spawn(async {
            futures::join!(get_tid(), yield_now(), sleep(SECOND), get_tid());
        })
        .detach();
    let step = scheduler.step();
    assert_eq!(step.calls(), 4);
    assert!(matches!(step.event(), StepEvent::Trapped { .. }));
    while !scheduler.step().is_last() {}
    assert_empty(&scheduler);
}

// Probes

#[test]
fn probe_then_it_sees_exactly_what_happened() {
    let (mut scheduler, trace) = traced();
    scheduler
        .spawn(async {
            let child = spawn(async { sleep(SECOND).await }).name("child").await;
            child.await.unwrap();
        })
        .detach();
    run_clean(&mut scheduler);
    assert_eq!(
        trace.take(),
        [
            "program spawns 1",
            "1 is taken",
            "1 spawns 2",
            "1 spawn() = task 2",
            "2 is taken",
            "2 sleep(1s) blocks",
            "1 is taken",
            "1 join(task 2) blocks",
            "1 gets 1s",
            "timer wakes 2",
            "outside: 1",
            "2 is taken",
            "2 ends: returned",
            "1 gets its outcome",
            "exit of 2 wakes 1",
            "1 is taken",
            "1 ends: returned",
        ]
        .map(|line| line.replace("1 gets 1s", "2 gets 1s")),
    );
}

#[test]
fn probe_and_a_task_that_panics_then_it_sees_its_exit() {
    let (mut scheduler, trace) = traced();
    scheduler
        .spawn(async {
            yield_now().await;
            panic!("oh {}", "dear");
        })
        .detach();
    let report = scheduler.run().unwrap();
    assert_eq!(report.failures, 1);
    assert_eq!(report.to_string(), "1 failure\n  task 1: oh dear");
    assert_eq!(
        trace.take(),
        [
            "program spawns 1",
            "1 is taken",
            "1 yield_now() = done, to the back",
            "1 is taken",
            "1 ends: panicked: oh dear",
            "1 failed, unseen: oh dear",
        ]
    );
    assert_empty(&scheduler);
}

#[test]
fn quantum_then_one_taken_covers_the_whole_dispatch() {
    let trace = Trace::default();
    let lines = trace.clone();
    let mut scheduler =
        builder().quantum(3).probe(move |event: &Event<'_>| lines.say(event)).build();
    scheduler
        .spawn(async {
            for _ in 0..3 {
                get_tid().await;
            }
        })
        .detach();
    run_clean(&mut scheduler);
    let call = "1 get_tid() = task 1";
    let expected = [
        "program spawns 1",
        "1 is taken",
        call,
        call,
        call,
        "1 goes to the back",
        "1 is taken",
        "1 ends: returned",
        "a look at the outside",
    ];
    assert_eq!(trace.take(), expected);
}

#[test]
fn probe_that_panics_then_it_is_removed_and_reported_and_the_run_completes() {
    // At each event in turn, so that every place that tells the probe is hit.
    let mut at = 0;
    loop {
        let told = Rc::new(Cell::new(0));
        let counter = Rc::clone(&told);
        let mut scheduler = builder()
            .probe(move |event: &Event<'_>| {
                counter.set(counter.get() + 1);
                assert!(counter.get() <= at, "at {event}");
            })
            .build();
        let done = Rc::new(Cell::new(false));
        let seen = Rc::clone(&done);
        scheduler
            .spawn(async move {
                let victim = spawn(sleep(SECOND * 2)).name("victim").await;
                let panics = spawn(async { panic!("seen") }).await;
                sleep(SECOND).await;
                kill(victim.id()).await.unwrap();
                let status = wait(panics.id()).await.unwrap();
                assert_eq!(status, ExitStatus::Panicked("seen".into()));
                seen.set(true);
            })
            .detach();
        let report = scheduler.run().unwrap();
        assert!(done.get());
        assert_eq!(report.failures, 0, "{report}");
        assert_empty(&scheduler);
        if told.get() <= at {
            assert_eq!(report.probe_panic, None);
            break;
        }
        let text = report.probe_panic.as_deref().unwrap();
        assert!(text.starts_with("at "), "{text}");
        assert!(report.to_string().contains("the probe: at "), "{report}");
        assert_eq!(told.get(), at + 1, "it was told of something after it had panicked");
        assert!(scheduler.run().unwrap().probe_panic.is_none(), "it is reported once");
        at += 1;
    }
    assert!(at > 20, "the program was to tell the probe of many things, and told of {at}");
}

#[test]
fn probe_whose_destructor_panics_then_the_run_completes() {
    let guard = OnDrop(|| panic!("the probe's destructor"));
    let mut scheduler = builder()
        .probe(move |_: &Event<'_>| {
            let _ = &guard;
            panic!("the probe");
        })
        .build();
    assert_eq!(scheduler.block_on(async { 3 }).unwrap(), 3);
    let report = scheduler.run().unwrap();
    assert_eq!(report.probe_panic.as_deref(), Some("the probe"));
    assert_eq!(report.failures, 1);
    assert_empty(&scheduler);
}

// Determinism

#[test]
fn same_program_and_seed_twice_then_the_same_trace() {
    let trace_of = |seed| {
        let trace = Trace::default();
        let lines = trace.clone();
        let mut scheduler =
            builder().seed(seed).probe(move |event: &Event<'_>| lines.say(event)).build();
        for _ in 0..20 {
            scheduler
                .spawn(async {
                    for _ in 0..5 {
                        match trapline::random() % 4 {
                            0 => yield_now().await,
                            1 => drop(sleep(SECOND * (trapline::random() % 9) as u32).await),
                            2 => spawn_detached(yield_now()),
                            _ => drop(get_tid().await),
                        }
                    }
                })
                .detach();
        }
        run_clean(&mut scheduler);
        trace.take()
    };
    assert_eq!(trace_of(1), trace_of(1));
    assert_ne!(trace_of(1), trace_of(2));
}

#[test]
fn scheduler_made_after_another_is_gone_then_the_same_trace() {
    // The ring is recycled; nothing of the first program may show in the second.
    let trace_of = || {
        let (mut scheduler, trace) = traced();
        let slot = Slot::new();
        let theirs = slot.clone();
        scheduler
            .spawn(async move {
                let mut call = Box::pin(sleep(SECOND));
                futures::poll!(&mut call).is_ready();
                theirs.put(call);
                let calls: Vec<_> = (0..100).map(|_| spawn(sleep(SECOND))).collect();
                futures::future::join_all(calls).await;
                pending::<()>().await;
            })
            .detach();
        let error = scheduler.run().unwrap_err().to_string();
        drop(scheduler);
        // A call in flight outlives its scheduler, and may be dropped then.
        drop(slot.take());
        trace.say(error);
        trace.take()
    };
    assert_eq!(trace_of(), trace_of());
}

#[test]
fn panic_text_of_a_payload_that_is_no_text_then_it_says_so() {
    let mut scheduler = builder().build();
    scheduler.spawn(async { panic_any(7) }).detach();
    let report = scheduler.run().unwrap();
    assert_eq!(&*report.first_failures[0].text, "a panic with a payload that is no text");
    let payload = catch_unwind(|| panic!("as {}", "ever")).unwrap_err();
    assert_eq!(text_of(&*payload), "as ever");
}

#[test]
fn crowd_that_has_gone_then_the_next_one_is_unharmed_by_what_is_left_of_it() {
    let mut scheduler = scheduler();
    let kept: Rc<RefCell<Vec<Waker>>> = Rc::default();
    for _round in 0..3 {
        let done = Rc::new(Cell::new(0));
        for _ in 0..2000 {
            let (kept, done) = (kept.clone(), done.clone());
            scheduler
                .spawn(async move {
                    let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
                    kept.borrow_mut().push(waker);
                    yield_now().await;
                    done.set(done.get() + 1);
                })
                .detach();
        }
        // Those of the round before, whose places are others' now.
        kept.take().into_iter().for_each(Waker::wake);
        run_clean(&mut scheduler);
        assert_eq!(done.get(), 2000);
    }
}
