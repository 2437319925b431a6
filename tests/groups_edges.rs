//! Groups where values, handles and waits outlive or leave what they were made for.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::rc::Rc;
use std::time::Duration;

use support::{Slot, assert_empty, poll_once, run_clean, scheduler, step_while_ready};
use trapline::{Ready, TaskGroup, sleep, spawn, yield_now};

const SECOND: Duration = Duration::from_secs(1);

fn never<T>() -> std::future::Pending<T> {
    std::future::pending()
}

/// A value whose destructor panics.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the value's destructor");
    }
}

#[test]
fn forgotten_value_panics_in_its_destructor_then_the_group_ends_all_the_same() {
    let mut scheduler = scheduler();
    let count = scheduler.block_on(async {
        let group = TaskGroup::<Bomb, ()>::new().forget_values();
        group.post(async {
            sleep(SECOND).await;
            Ok(Bomb)
        });
        group.join_all().await.map(|values| values.len())
    });
    assert_eq!(count.unwrap().unwrap(), 0);
    let report = scheduler.run().unwrap();
    assert_eq!(report.failures, 1, "{report}");
    assert_empty(&scheduler);
}

#[test]
fn last_result_is_promised_to_another_then_whoever_asks_next_does_not_wait_for_ever() {
    for quantum in [1, 2, 32] {
        let mut scheduler = support::builder().quantum(quantum).build();
        scheduler
            .block_on(async {
                let group = Rc::new(TaskGroup::<u32>::new());
                group.post_value(async {
                    sleep(SECOND).await;
                    7
                });
                let mut first = group.next();
                assert!(poll_once(&mut first).await.is_pending());
                // It may have had to give way first.
                yield_now().await;
                assert!(poll_once(&mut first).await.is_pending());
                sleep(SECOND * 2).await;
                // The first has its token, and has not taken what it is for.
                let other = Rc::clone(&group);
                let second = spawn(async move { other.next().await.is_none() }).await;
                yield_now().await;
                assert_eq!(first.await.unwrap().1.unwrap(), 7);
                assert!(second.await.unwrap());
            })
            .unwrap();
        run_clean(&mut scheduler);
    }
}

#[test]
fn group_is_used_in_two_schedulers_then_that_is_refused_and_no_stranger_is_killed() {
    for posted in [false, true] {
        let (mut one, mut two) = (scheduler(), scheduler());
        let group = TaskGroup::<(), ()>::new();
        let handle = group.handle();
        one.block_on(async move { handle.spawn(never()).await }).unwrap();
        let stranger = two.spawn(sleep(SECOND));
        let handle = group.handle();
        let spawning = two.spawn(async move {
            if posted {
                handle.post(never());
            } else {
                handle.spawn(never()).await;
            }
        });
        step_while_ready(&mut two);
        drop(group);
        step_while_ready(&mut one);
        let error = two.block_on(spawning).unwrap().unwrap_err();
        assert!(error.to_string().contains("children in another scheduler"), "{error}");
        two.block_on(stranger).unwrap().unwrap();
        run_clean(&mut one);
        run_clean(&mut two);
    }
}

#[test]
fn group_whose_children_have_ended_then_another_scheduler_may_use_it() {
    let (mut one, mut two) = (scheduler(), scheduler());
    let group = TaskGroup::<u32>::new();
    let handle = group.handle();
    one.block_on(async move { handle.spawn_value(async { 1 }).await }).unwrap();
    run_clean(&mut one);
    let handle = group.handle();
    two.block_on(async move { handle.spawn_value(async { 2 }).await }).unwrap();
    assert_eq!(two.block_on(group.join_all()).unwrap().unwrap(), [1, 2]);
    run_clean(&mut two);
}

#[test]
fn start_is_dropped_in_another_scheduler_then_its_own_child_is_killed() {
    for is_born in [false, true] {
        let (mut one, mut two) = (scheduler(), scheduler());
        let slot = Slot::new();
        let place = slot.clone();
        let group = TaskGroup::<(), ()>::new();
        let handle = group.handle();
        one.block_on(async move {
            let mut start = handle.start(|ready: Ready<()>| async move {
                let _ready = ready;
                never().await
            });
            assert!(poll_once(&mut start).await.is_pending());
            yield_now().await;
            if is_born {
                assert!(poll_once(&mut start).await.is_pending());
            }
            place.put(start);
        })
        .unwrap();
        assert_eq!(group.len(), 1);
        let strangers = [two.spawn(sleep(SECOND)), two.spawn(sleep(SECOND))];
        two.spawn(async move { drop(slot.take()) }).detach();
        step_while_ready(&mut two);
        step_while_ready(&mut one);
        assert_eq!(group.len(), 0);
        for stranger in strangers {
            two.block_on(stranger).unwrap().unwrap();
        }
        drop(group);
        run_clean(&mut one);
        run_clean(&mut two);
    }
}
