//! Comparing, with runs of this process.

use std::future::Future;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use trapline::sync::Mutex;
use trapline::trace::agent::{Agent, Recorder, RecorderOptions};
use trapline::trace::words::RecordOptions;
use trapline::{Scheduler, sleep, spawn, yield_now};

use super::super::place::Place;
use super::*;

/// What is recorded of a run.
fn run<F: Future<Output = ()>>(mut scheduler: Scheduler, future: F) -> Recording {
    let place = Place::new().unwrap();
    let options = RecordOptions { lossless: true, ..RecordOptions::default() };
    let recorder = Recorder::open(place.trace(), &RecorderOptions::new(&options)).unwrap();
    // A deadlock is an end as any other.
    drop(Agent::new().outlet(recorder).block_on(&mut scheduler, future));
    Recording::open(place.trace()).unwrap()
}

fn on_virtual_clock<F: Future<Output = ()>>(future: F) -> Recording {
    run(Scheduler::builder().virtual_clock().build(), future)
}

/// Two tasks; the second one sleeps so long.
async fn naps(second: Duration) {
    let mut children = Vec::new();
    for nap in [Duration::from_millis(1), second] {
        children.push(
            spawn(async move {
                sleep(nap).await;
            })
            .await,
        );
    }
    for child in children {
        child.await.unwrap();
    }
}

#[track_caller]
fn difference(last: &Recording, new: &Recording) -> Difference {
    match compare(last, new) {
        Comparison::Differs(difference) => difference,
        same => panic!("{same}"),
    }
}

#[test]
fn the_same_twice_then_no_difference_on_either_clock() {
    // One timer: of two, it is the machine's affair whether one look finds both due.
    let nap = || async {
        sleep(Duration::from_millis(2)).await;
    };
    for scheduler in [Scheduler::new, || Scheduler::builder().virtual_clock().build()] {
        let [last, new] = [(); 2].map(|()| run(scheduler(), nap()));
        assert!(matches!(compare(&last, &new), Comparison::Same { steps: 2.. }));
    }
    let [last, new] = [(); 2].map(|()| on_virtual_clock(naps(Duration::from_millis(2))));
    assert_eq!(compare(&last, &new), Comparison::Same { steps: new.steps() });
}

#[test]
fn longer_sleep_then_the_step_in_which_it_is_asked_for_and_both_lines() {
    let last = on_virtual_clock(naps(Duration::from_millis(2)));
    let new = on_virtual_clock(naps(Duration::from_millis(3)));
    let Difference { step, last_step, now, before } = difference(&last, &new);
    assert_eq!(step, last_step);
    // Before that nothing was asked but children, and a shorter sleep.
    assert!(now.starts_with("T3 calls sleep(3.00 ms) (tests.rs:"), "{now}");
    assert!(before.starts_with("T3 calls sleep(2.00 ms) (tests.rs:"), "{before}");
    let said = compare(&last, &new).to_string();
    let begin = format!("differs from the last run from step {step} on: T3 calls sleep(3.00 ms)");
    assert!(said.starts_with(&begin), "{said}");
    assert!(said.contains("; before, T3 calls sleep(2.00 ms) ("), "{said}");
}

#[test]
fn one_that_has_not_come_so_far_then_the_same_up_to_there() {
    let whole = on_virtual_clock(naps(Duration::from_millis(2)));
    let mut held = Scheduler::builder().virtual_clock().build();
    let place = Place::new().unwrap();
    let options = RecordOptions { lossless: true, ..RecordOptions::default() };
    let recorder = Recorder::open(place.trace(), &RecorderOptions::new(&options)).unwrap();
    let mut attached = Agent::new().outlet(recorder).attach(&mut held);
    held.spawn(naps(Duration::from_millis(2))).detach();
    for _ in 0..3 {
        let step = held.step();
        attached.after(&mut held, &step);
    }
    attached.detach(&mut held);
    let part = Recording::open(place.trace()).unwrap();
    // It was spawned at another line, which makes no difference.
    assert_eq!(compare(&whole, &part).to_string(), "the same as the last run up to step 3");
    assert_eq!(compare(&part, &whole), Comparison::Same { steps: 3 });
}

#[test]
fn nothing_yet_then_there_is_nothing_to_compare() {
    let place = Place::new().unwrap();
    let options = RecordOptions { lossless: true, ..RecordOptions::default() };
    // A run that has not begun.
    drop(Recorder::open(place.trace(), &RecorderOptions::new(&options)).unwrap());
    let nothing = Recording::open(place.trace()).unwrap();
    let whole = on_virtual_clock(async {});
    assert_eq!(compare(&whole, &nothing).to_string(), "there is nothing to compare yet");
}

#[test]
fn another_turn_of_a_lock_then_who_gets_it_is_told() {
    let both = |first: &'static str| async move {
        let lock = std::rc::Rc::new(Mutex::new(()).named("log"));
        let mut children = Vec::new();
        for turn in 0..2 {
            let lock = std::rc::Rc::clone(&lock);
            let name = if turn == 0 { first } else { "other" };
            let body = async move {
                let _guard = lock.lock().await;
                yield_now().await;
            };
            children.push(spawn(body).name(name).await);
        }
        for child in children {
            child.await.unwrap();
        }
    };
    let (last, new) = (on_virtual_clock(both("left")), on_virtual_clock(both("right")));
    let Difference { now, before, .. } = difference(&last, &new);
    assert!(now.starts_with("T2 `right` is born of T1 (tests.rs:"), "{now}");
    assert!(before.starts_with("T2 `left` is born of T1 (tests.rs:"), "{before}");
}

#[test]
fn run_that_ends_otherwise_then_the_step_of_the_end() {
    let ends = |forever: bool| async move {
        yield_now().await;
        if forever {
            std::future::pending::<()>().await;
        }
    };
    let (last, new) = (on_virtual_clock(ends(false)), on_virtual_clock(ends(true)));
    let Difference { step, now, before, .. } = difference(&last, &new);
    assert_eq!((step, now.as_str(), before.as_str()), (2, "T1 rests", "T1 returns"));
}

#[test]
fn other_descriptors_and_looks_for_nothing_then_no_difference() {
    let reads = || async {
        let (near, mut far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let writer = spawn(async move {
            // The time it takes is another one each time.
            sleep(Duration::from_micros(300)).await;
            far.write_all(b"x").unwrap();
            far
        });
        let writer = writer.await;
        trapline::read_wait(&near).await.unwrap();
        drop(writer.await);
    };
    let last = run(Scheduler::new(), reads());
    let _others: Vec<_> = (0..5).map(|_| UnixStream::pair().unwrap()).collect();
    // Somebody looks at the outside while there is nothing: a step more, in which nothing happens.
    let scheduler = Scheduler::new();
    let interrupter = scheduler.interrupter();
    interrupter.unpark();
    let new = run(scheduler, reads());
    let same = compare(&last, &new);
    assert!(matches!(same, Comparison::Same { .. }), "{same}");
}

#[test]
fn lines_that_an_edit_has_moved_then_no_difference() {
    async fn above() {
        yield_now().await;
        sleep(Duration::from_millis(1)).await;
    }
    async fn below() {
        yield_now().await;

        sleep(Duration::from_millis(1)).await;
    }
    let same = compare(&on_virtual_clock(above()), &on_virtual_clock(below()));
    assert!(matches!(same, Comparison::Same { .. }), "{same}");
}
