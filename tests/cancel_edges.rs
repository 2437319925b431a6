//! Cancellation where scopes are moved, orphaned, and polled under the wakers of others.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use futures::StreamExt;
use futures::future::join;
use futures::stream::FuturesUnordered;
use support::{run_clean, scheduler};
use trapline::{
    RunError, Scope, TaskGroup, cancel, cancellable, cancelled, scope, shield, sleep, spawn,
    timeout, yield_now,
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
