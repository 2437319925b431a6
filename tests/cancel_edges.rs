//! Cancellation where scopes are moved, orphaned, and polled under the wakers of others.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join;
use futures::stream::FuturesUnordered;
use support::{OnDrop, assert_empty, run_clean, scheduler};
use trapline::{
    RunError, Scope, TaskGroup, cancel, cancellable, cancelled, post_cancel, post_kill, scope,
    shield, sleep, spawn, timeout, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

fn never<T>() -> std::future::Pending<T> {
    std::future::pending()
}

#[test]
fn scope_outlives_the_one_around_it_then_it_hears_of_the_cancellation() {
    for shielded in [false, true] {
        let mut scheduler = scheduler();
        scheduler
            .block_on(async move {
                let child = spawn(async move {
                    let mut scopes = FuturesUnordered::new();
                    scopes.push(cancellable(never::<()>()));
                    scopes.push(cancellable(never::<()>()));
                    if shielded {
                        let _ = shield(timeout(SECOND, scopes.next())).await;
                    } else {
                        let _ = cancellable(timeout(SECOND, scopes.next())).await;
                    }
                    let mut heard = 0;
                    while let Some(ended) = scopes.next().await {
                        ended.unwrap_err();
                        heard += 1;
                    }
                    heard
                })
                .await;
                sleep(SECOND * 2).await;
                cancel(child.id(), "x").await.unwrap();
                assert_eq!(child.await.unwrap(), 2);
            })
            .unwrap();
        run_clean(&mut scheduler);
    }
}

#[test]
fn scopes_in_children_of_a_scope_then_a_deadlock_is_told_at_once() {
    let mut scheduler = scheduler();
    let ended = scheduler.block_on(scope(async |s: Scope<'_>| {
        s.spawn(async { cancellable(never::<()>()).await.unwrap() });
        s.spawn(async { drop(cancelled().await) });
        s.spawn(async {
            drop(TaskGroup::<(), ()>::new().run(|_| never::<Result<(), ()>>()).await)
        });
        s.spawn(async {
            scope(async |s: Scope<'_>| {
                s.spawn(async { drop(cancelled().await) });
            })
            .await
        });
    }));
    assert!(matches!(ended, Err(RunError::Deadlock(_))), "{ended:?}");
    run_clean(&mut scheduler);
}

#[test]
fn body_of_a_group_beside_a_scope_then_both_return() {
    for first in [true, false] {
        let mut scheduler = scheduler();
        scheduler
            .block_on(async move {
                let child = spawn(async move {
                    let group = TaskGroup::<(), ()>::new().run(|_| never::<Result<(), ()>>());
                    let beside = cancellable(never::<()>());
                    if first {
                        let (ran, ended) = join(group, beside).await;
                        (ran.is_err(), ended.is_err())
                    } else {
                        let (ended, ran) = join(beside, group).await;
                        (ran.is_err(), ended.is_err())
                    }
                })
                .await;
                yield_now().await;
                cancel(child.id(), "x").await.unwrap();
                assert_eq!(timeout(SECOND, child).await.unwrap().unwrap(), (true, true));
            })
            .unwrap();
        run_clean(&mut scheduler);
    }
}

#[test]
fn scope_opened_later_beside_an_ended_body_then_both_return() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async move {
            let child = spawn(async move {
                let group = TaskGroup::<(), ()>::new().run(|_| never::<Result<(), ()>>());
                let beside = async {
                    shield(sleep(SECOND)).await;
                    cancellable(never::<()>()).await
                };
                let (ran, ended) = join(group, beside).await;
                (ran.is_err(), ended.is_err())
            })
            .await;
            yield_now().await;
            cancel(child.id(), "x").await.unwrap();
            assert_eq!(timeout(SECOND * 3, child).await.unwrap().unwrap(), (true, true));
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn task_has_been_told_when_a_shield_ends_then_the_scopes_that_outlive_it_return() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async move {
            let child = spawn(async move {
                let mut all = FuturesUnordered::new();
                all.push(async {
                    // Heard within the shield; the scope after it is not due before the shield ends.
                    cancelled().await;
                    cancellable(never::<()>()).await.is_err()
                });
                let _ = shield(timeout(SECOND, all.next())).await;
                all.next().await.unwrap()
            })
            .await;
            yield_now().await;
            cancel(child.id(), "x").await.unwrap();
            assert!(timeout(SECOND * 2, child).await.unwrap().unwrap());
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn many_scopes_in_one_task_then_all_return_and_no_step_looks_at_all_pairs() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async move {
            let child = spawn(async move {
                let mut all: FuturesUnordered<_> =
                    (0..20_000).map(|_| shield(cancellable(never::<()>()))).collect();
                assert!(timeout(SECOND, all.next()).await.is_err());
                drop(all);
                let all: FuturesUnordered<_> =
                    (0..20_000).map(|_| cancellable(never::<()>())).collect();
                all.filter(|ended| std::future::ready(ended.is_err())).count().await
            })
            .await;
            sleep(SECOND * 2).await;
            cancel(child.id(), "x").await.unwrap();
            assert_eq!(child.await.unwrap(), 20_000);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn scheduler_dropped_while_cancellations_are_pending_then_all_destructors_run() {
    let dropped = Rc::new(Cell::new(0));
    for steps in 0..40 {
        dropped.set(0);
        let mut scheduler = scheduler();
        for kind in 0..4 {
            let count = Rc::clone(&dropped);
            let guard = OnDrop(move || count.set(count.get() + 1));
            let child = scheduler.spawn(async move {
                let _guard = guard;
                match kind {
                    0 => drop(shield(sleep(SECOND)).await),
                    1 => drop(cancellable(never::<()>()).await),
                    2 => {
                        let group = TaskGroup::<(), ()>::new();
                        group.post(never());
                        let run = group.run(|_| never::<Result<(), ()>>());
                        drop(join(run, shield(sleep(SECOND))).await);
                    }
                    _ => {
                        scope(async |s: Scope<'_>| drop(s.spawn(cancellable(never::<()>())))).await
                    }
                }
                never::<()>().await;
            });
            scheduler
                .spawn(async move {
                    yield_now().await;
                    child.cancel("x");
                    drop(child.await);
                })
                .detach();
        }
        for _ in 0..steps {
            scheduler.step();
        }
        drop(scheduler);
        assert_eq!(dropped.get(), 4, "after {steps} steps");
    }
}

#[test]
fn destructors_of_a_cancelled_task_cancel_and_kill_then_each_task_ends_once() {
    for quantum in [1, 2, 32] {
        let mut scheduler = support::builder().quantum(quantum).build();
        let ended = scheduler.block_on(async move {
            let first = spawn(never::<()>()).await;
            let second = spawn(never::<()>()).await;
            let (one, two) = (first.id(), second.id());
            let last = spawn(async move {
                let own = trapline::get_tid().await;
                let _guard = OnDrop(move || {
                    for task in [one, two, own] {
                        post_cancel(task, "along with me");
                        post_kill(task);
                        post_cancel(task, "again");
                    }
                });
                never::<()>().await;
            })
            .await;
            yield_now().await;
            cancel(last.id(), "go").await.unwrap();
            let last = last.await.unwrap_err();
            assert_eq!(last.cancelled().unwrap().text(), "go");
            [first.await.unwrap_err(), second.await.unwrap_err()]
        });
        for error in ended.unwrap() {
            assert_eq!(error.cancelled().unwrap().text(), "along with me");
        }
        run_clean(&mut scheduler);
    }
}

#[test]
fn destructor_panics_as_the_cancellation_lands_then_the_reason_stands_and_the_panic_is_told() {
    let mut scheduler = scheduler();
    let error = scheduler.block_on(async move {
        let child = spawn(async move {
            let _guard = OnDrop(|| panic!("in a destructor"));
            never::<()>().await;
        })
        .await;
        yield_now().await;
        cancel(child.id(), "x").await.unwrap();
        child.await.unwrap_err()
    });
    assert_eq!(error.unwrap().cancelled().unwrap().text(), "x");
    let report = scheduler.run().unwrap();
    assert_eq!(report.failures, 1, "{report}");
    assert_empty(&scheduler);
}

#[test]
fn task_that_wakes_itself_is_cancelled_then_a_scope_hears_and_without_one_it_ends_when_it_blocks() {
    let spin = async |rounds: &Cell<u32>| {
        for _ in 0..1000 {
            support::give_way().await;
            rounds.set(rounds.get() + 1);
        }
    };
    let mut scheduler = scheduler();
    scheduler
        .block_on(async move {
            let rounds = Rc::new(Cell::new(0));
            let count = Rc::clone(&rounds);
            let scoped = spawn(async move { cancellable(spin(&count)).await.is_err() }).await;
            yield_now().await;
            cancel(scoped.id(), "x").await.unwrap();
            assert!(scoped.await.unwrap());
            assert!(rounds.take() < 10);
            let count = Rc::clone(&rounds);
            let bare = spawn(async move {
                spin(&count).await;
                never::<()>().await;
            });
            let bare = bare.await;
            yield_now().await;
            cancel(bare.id(), "x").await.unwrap();
            assert!(bare.await.unwrap_err().cancelled().is_some());
            assert_eq!(rounds.take(), 1000);
        })
        .unwrap();
    run_clean(&mut scheduler);
}
