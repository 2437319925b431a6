//! Supervision: restarts, their limits and their delays.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use support::{OnDrop, Trace, builder, run_clean, scheduler, traced};
use trapline::{
    Backoff, Jitter, Policy, Restart, Shutdown, Supervisor, cancellable, kill, now, sleep, spawn,
    supervise, timeout, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

/// A child that fails so often, noting when it is started, and then returns.
fn failing(
    times: u32,
    starts: &Rc<RefCell<Vec<u64>>>,
) -> impl FnMut() -> std::pin::Pin<Box<dyn Future<Output = Result<u32, String>>>> + use<> {
    let (mut started, starts) = (0, Rc::clone(starts));
    move || {
        started += 1;
        let (number, starts) = (started, Rc::clone(&starts));
        Box::pin(async move {
            let millis = now().await.as_nanos() / 1_000_000;
            starts.borrow_mut().push(millis as u64);
            if number <= times { Err(format!("failure {number}")) } else { Ok(number) }
        })
    }
}

#[test]
fn child_fails_for_a_while_then_it_is_started_again_until_it_returns() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let starts = Rc::default();
            let policy = Policy::new(Restart::OnFailure);
            assert_eq!(supervise(policy, failing(3, &starts)).await.unwrap(), 4);
            assert_eq!(*starts.borrow(), [0; 4]);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn too_many_restarts_within_the_window_then_it_gives_up_with_the_last_error() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let starts = Rc::default();
            let policy = Policy::default().at_most(2, SECOND);
            let gave_up = supervise(policy, failing(9, &starts)).await.unwrap_err();
            assert_eq!(gave_up.restarts, 2);
            let text = gave_up.to_string();
            assert!(text.starts_with("a child was given up after 2 restarts: task "), "{text}");
            assert_eq!(gave_up.last.unwrap().error().unwrap(), "failure 3");
            assert_eq!(starts.borrow().len(), 3);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn waits_are_longer_than_the_window_then_they_grow_all_the_same() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let starts = Rc::default();
            let waits = Backoff::exponential(SECOND).cap(SECOND * 60);
            let policy = Policy::new(Restart::OnFailure).backoff(waits);
            assert_eq!(supervise(policy, failing(8, &starts)).await.unwrap(), 9);
            let seconds: Vec<_> = starts.borrow().iter().map(|millis| millis / 1000).collect();
            assert_eq!(seconds, [0, 1, 3, 7, 15, 31, 63, 123, 183]);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn child_cannot_even_be_made_then_the_supervisor_tells_the_panic() {
    let mut scheduler = scheduler();
    let gave_up = scheduler.block_on(async {
        let make = || -> std::future::Ready<Result<(), String>> { panic!("no child today") };
        let supervisor = Supervisor::new().child("heir", Policy::default(), SECOND, make);
        supervisor.run(&Shutdown::new()).await.unwrap_err()
    });
    let gave_up = gave_up.unwrap();
    assert!(gave_up.last.as_ref().unwrap().is_panic());
    let text = gave_up.to_string();
    assert!(text.starts_with("heir was given up") && text.contains("no child today"), "{text}");
    run_clean(&mut scheduler);
}

#[test]
fn restarts_are_far_apart_then_they_go_on_for_ever() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let policy =
                Policy::default().at_most(2, SECOND).backoff(Backoff::constant(SECOND * 2));
            let starts = Rc::default();
            assert_eq!(supervise(policy, failing(20, &starts)).await.unwrap(), 21);
            let expected: Vec<_> = (0..21).map(|number| number * 2000).collect();
            assert_eq!(*starts.borrow(), expected);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn exponential_backoff_then_the_waits_double_up_to_the_cap() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let backoff = Backoff::exponential(SECOND).cap(SECOND * 5);
            let policy = Policy::default().at_most(9, SECOND * 3600).backoff(backoff);
            let starts = Rc::default();
            supervise(policy, failing(5, &starts)).await.unwrap();
            assert_eq!(*starts.borrow(), [0, 1000, 3000, 7000, 12_000, 17_000]);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn jitter_then_the_waits_are_shorter_and_the_seed_decides() {
    let starts_of = |seed: u64| {
        let mut scheduler = builder().seed(seed).build();
        let starts: Rc<RefCell<Vec<u64>>> = Rc::default();
        let policy = Policy::default()
            .at_most(50, SECOND * 3600)
            .backoff(Backoff::constant(SECOND).jitter(Jitter::Half));
        scheduler.block_on(supervise(policy, failing(40, &starts))).unwrap().unwrap();
        run_clean(&mut scheduler);
        let starts = starts.borrow().clone();
        let waits: Vec<_> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(waits.iter().all(|wait| (499..=1001).contains(wait)), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait < 700) && waits.iter().any(|wait| *wait > 800));
        waits
    };
    assert_eq!(starts_of(1), starts_of(1));
    assert_ne!(starts_of(1), starts_of(2));
}

#[test]
fn policy_never_or_always_then_it_is_kept() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let starts = Rc::default();
            let never = Policy::new(Restart::Never);
            assert!(supervise(never, failing(1, &starts)).await.is_err());
            assert_eq!(starts.borrow().len(), 1);
            let starts = Rc::default();
            let always = Policy::new(Restart::Always).at_most(4, SECOND);
            assert_eq!(supervise(always, failing(1, &starts)).await.unwrap(), 5);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn child_panics_or_is_killed_then_that_is_a_failure_like_others() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let mut started = 0;
            let outcome = supervise::<_, (), _>(Policy::default(), move || {
                started += 1;
                async move {
                    match started {
                        1 => panic!("first"),
                        2 => {
                            kill(trapline::get_tid().await).await.unwrap();
                            Ok(0)
                        }
                        number => Ok(number),
                    }
                }
            });
            assert_eq!(outcome.await.unwrap(), 3);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn restart_then_the_probe_is_told() {
    let (mut scheduler, trace) = traced();
    scheduler.block_on(supervise(Policy::default(), failing(2, &Rc::default()))).unwrap().unwrap();
    let told = trace.take().iter().filter(|line| line.contains("started again")).count();
    assert_eq!(told, 2);
    run_clean(&mut scheduler);
}

#[test]
fn supervision_dropped_then_the_child_is_killed_also_while_it_waits_to_start() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let lines = trace.clone();
            let lasting = supervise::<(), (), _>(Policy::default(), move || {
                let lines = lines.clone();
                async move {
                    let _guard = OnDrop(move || lines.say("dropped"));
                    std::future::pending().await
                }
            });
            drop(supervise(Policy::default(), failing(1, &Rc::default())));
            assert!(timeout(SECOND, lasting).await.is_err());
            yield_now().await;
            let waiting = Policy::default().backoff(Backoff::constant(SECOND * 5));
            let starting = supervise(waiting, failing(1, &Rc::default()));
            assert!(timeout(SECOND, starting).await.is_err());
        })
        .unwrap();
    assert_eq!(trace.take(), ["dropped"]);
    run_clean(&mut scheduler);
}

#[test]
fn supervising_task_is_cancelled_then_the_child_is_asked_and_waited_for() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let lines = trace.clone();
            let child = move || {
                let lines = lines.clone();
                async move {
                    let why = cancellable(std::future::pending::<()>()).await.unwrap_err();
                    sleep(SECOND).await;
                    lines.say(why.text());
                    Ok::<(), ()>(())
                }
            };
            let supervising = spawn(supervise(Policy::new(Restart::Always), child)).await;
            for _ in 0..4 {
                yield_now().await;
            }
            supervising.cancel("enough");
            assert!(supervising.await.unwrap_err().cancelled().is_some());
        })
        .unwrap();
    assert_eq!(trace.take(), ["enough"]);
    run_clean(&mut scheduler);
}

/// A child that says when it starts and when it is asked to end.
fn polite(
    trace: &Trace,
    name: &'static str,
) -> impl FnMut() -> std::pin::Pin<Box<dyn Future<Output = Result<(), String>>>> + use<> {
    let trace = trace.clone();
    move || {
        let trace = trace.clone();
        Box::pin(async move {
            trace.say(format!("{name} starts"));
            cancellable(std::future::pending::<()>()).await.unwrap_err();
            sleep(SECOND).await;
            trace.say(format!("{name} ends"));
            Ok(())
        })
    }
}

#[test]
fn supervisor_is_shut_down_then_its_children_end_in_the_reverse_order_of_their_start() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let shutdown = Shutdown::new();
            let trigger = shutdown.clone();
            spawn(async move {
                sleep(SECOND).await;
                trigger.trigger("dusk");
            })
            .detach();
            let stubborn = || trapline::shield(std::future::pending());
            let supervisor = Supervisor::<String>::new()
                .child("one", Policy::default(), SECOND * 5, polite(&trace, "one"))
                .child("two", Policy::default(), SECOND * 5, stubborn)
                .child("three", Policy::default(), SECOND * 5, polite(&trace, "three"));
            let report = supervisor.run(&shutdown).await.unwrap();
            assert_eq!(report.reason, Some("dusk".into()));
            let killed: Vec<_> = report.killed.iter().map(|part| &*part.name).collect();
            assert_eq!(killed, ["two"]);
        })
        .unwrap();
    assert_eq!(trace.take(), ["one starts", "three starts", "three ends", "one ends"]);
    run_clean(&mut scheduler);
}

#[test]
fn one_child_fails_then_it_alone_is_started_again_and_in_the_end_given_up() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let count = Rc::new(Cell::new(0));
            let starts = Rc::clone(&count);
            let failing = move || {
                starts.set(starts.get() + 1);
                async { Err("no database".to_owned()) }
            };
            let supervisor = Supervisor::new()
                .child("one", Policy::default(), SECOND * 5, polite(&trace, "one"))
                .child("two", Policy::default().at_most(4, SECOND), SECOND, failing);
            let gave_up = supervisor.run(&Shutdown::new()).await.unwrap_err();
            assert_eq!((gave_up.name.as_deref(), gave_up.restarts), (Some("two"), 4));
            assert!(gave_up.to_string().starts_with("two was given up after 4 restarts: task"));
            assert_eq!(count.get(), 5);
        })
        .unwrap();
    assert_eq!(trace.take(), ["one starts", "one ends"]);
    run_clean(&mut scheduler);
}

#[test]
fn all_children_return_then_the_supervisor_does() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let supervisor = Supervisor::<()>::new()
                .child("one", Policy::default(), SECOND, || async { Ok(()) })
                .child("two", Policy::default(), SECOND, || async {
                    sleep(SECOND).await;
                    Ok(())
                });
            let report = supervisor.run(&Shutdown::new()).await.unwrap();
            assert!(report.reason.is_none() && report.killed.is_empty());
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn supervisor_dropped_then_everything_under_it_is_killed() {
    let mut scheduler = scheduler();
    let trace = Trace::default();
    scheduler
        .block_on(async {
            let supervisor = Supervisor::<String>::new()
                .child("one", Policy::default(), SECOND, polite(&trace, "one"))
                .child("two", Policy::default(), SECOND, polite(&trace, "two"));
            assert!(timeout(SECOND, supervisor.run(&Shutdown::new())).await.is_err());
        })
        .unwrap();
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["one starts", "two starts"]);
}
