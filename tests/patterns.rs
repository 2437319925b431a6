//! Patterns: what is tried again, let through, served, pooled, mapped and piped; and that nothing of it
//! outlives whoever it was for.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use futures::future::pending;
use futures::stream::{self, FuturesUnordered};
use futures::{FutureExt, StreamExt, join, select_biased};
use support::{
    OnDrop, Slot, Trace, assert_empty, builder, panic_of, poll_once, run_clean, scheduler,
    step_while_ready, text_of,
};
use trapline::pattern::{
    Backoff, Deal, ExceedsBurst, Jitter, JobError, RateLimited, RateLimiter, WorkerPool,
    for_each_concurrent, map_reduce, merge, pipeline, retry,
};
use trapline::{RunError, TaskState, kill, now, sleep, spawn, spawn_detached, timeout, yield_now};

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

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

// Retry

/// Fails so often with a number that counts up, and then gives it; it notes when.
fn failing(
    times: u32,
    trace: &Trace,
) -> impl FnMut() -> futures::future::LocalBoxFuture<'static, Result<u32, u32>> + use<> {
    let attempts = Rc::new(Cell::new(0));
    let trace = trace.clone();
    move || {
        let (attempts, trace) = (Rc::clone(&attempts), trace.clone());
        async move {
            trace.say(now().await);
            attempts.set(attempts.get() + 1);
            if attempts.get() > times { Ok(attempts.get()) } else { Err(attempts.get()) }
        }
        .boxed_local()
    }
}

#[test]
fn operation_fails_twice_then_it_is_tried_after_each_pause_and_gives_its_value() {
    let trace = Trace::default();
    under_each_quantum(|| {
        let operation = failing(2, &trace);
        async move {
            let backoff = Backoff::exponential(ms(10)).factor(3);
            assert_eq!(retry(backoff, operation).await, Ok(3));
        }
    });
    assert_eq!(trace.take(), ["0ns", "10ms", "40ms"].repeat(3));
}

#[test]
fn attempts_are_used_up_then_the_last_error() {
    let trace = Trace::default();
    under_each_quantum(|| {
        let operation = failing(9, &trace);
        async move {
            let backoff = Backoff::constant(SECOND).max_attempts(3);
            assert_eq!(retry(backoff, operation).await, Err(3));
        }
    });
    assert_eq!(trace.take(), ["0ns", "1s", "2s"].repeat(3));
}

#[test]
fn time_is_used_up_then_the_last_error_without_a_pause_in_vain() {
    under_each_quantum(|| async {
        let trace = Trace::default();
        let backoff = Backoff::constant(SECOND).max_elapsed(ms(2500));
        assert_eq!(retry(backoff, failing(9, &trace)).await, Err(3));
        assert_eq!(now().await.as_nanos(), 2_000_000_000);
        // A pause that ends with the time is still in time.
        let backoff = Backoff::constant(SECOND).max_elapsed(SECOND * 2);
        assert_eq!(retry(backoff, failing(9, &trace)).await, Err(3));
    });
}

#[test]
fn error_is_not_worth_it_then_it_comes_out_at_once() {
    under_each_quantum(|| async {
        let trace = Trace::default();
        let backoff = Backoff::constant(SECOND);
        assert_eq!(retry(backoff, failing(9, &trace)).when(|error| *error < 2).await, Err(2));
        assert_eq!(trace.take(), ["0ns", "1s"]);
    });
}

#[test]
fn cap_and_overflow_then_the_pause_is_the_longest() {
    let backoff = Backoff::exponential(SECOND).factor(u32::MAX);
    assert_eq!(backoff.pause_after(0), SECOND);
    assert_eq!(backoff.pause_after(9), SECOND * u32::MAX);
    assert_eq!(backoff.cap(ms(7)).pause_after(1), ms(7));
    assert_eq!(Backoff::exponential(Duration::MAX).pause_after(5), Duration::MAX);
}

#[test]
fn jitter_then_pauses_vary_within_their_bounds_and_with_the_seed_alone() {
    let pauses = |jitter, seed| {
        let trace = Trace::default();
        let operation = failing(40, &trace);
        let mut scheduler = builder().seed(seed).build();
        let backoff = Backoff::constant(ms(100)).jitter(jitter).max_attempts(40);
        scheduler
            .block_on(async move {
                let mut last = 0;
                let mut pauses = Vec::new();
                let mut operation = operation;
                let again = || {
                    let attempt = operation();
                    async move {
                        let _failed = attempt.await;
                        Err::<(), _>(now().await.as_nanos())
                    }
                };
                let seen = Rc::new(RefCell::new(Vec::new()));
                let times = Rc::clone(&seen);
                let noting = |at: &u64| {
                    times.borrow_mut().push(*at);
                    true
                };
                let end = retry(backoff, again).when(noting).await.unwrap_err();
                for at in seen.borrow().iter().chain([&end]).skip(1) {
                    pauses.push(at - last);
                    last = *at;
                }
                pauses
            })
            .unwrap()
    };
    let (full, half) = (pauses(Jitter::Full, 1), pauses(Jitter::Half, 1));
    assert!(full.iter().all(|pause| *pause <= 100_000_000));
    assert!(full.iter().any(|pause| *pause < 50_000_000), "{full:?}");
    assert!(half.iter().all(|pause| (50_000_000..=100_000_000).contains(pause)), "{half:?}");
    assert!(half.iter().collect::<BTreeSet<_>>().len() > 10);
    assert_eq!(full, pauses(Jitter::Full, 1));
    assert_ne!(full, pauses(Jitter::Full, 2));
    assert!(pauses(Jitter::None, 1).iter().all(|pause| *pause == 100_000_000));
}

#[test]
fn retry_dropped_at_each_point_then_nothing_is_left() {
    for wait_millis in [0, 1, 5, 11, 15] {
        let mut scheduler = scheduler();
        scheduler
            .block_on(async {
                let dropped = Rc::new(Cell::new(0));
                let attempts = Rc::new(Cell::new(0));
                let counts = (Rc::clone(&dropped), Rc::clone(&attempts));
                let slow = move || {
                    let (dropped, attempts) = counts.clone();
                    attempts.set(attempts.get() + 1);
                    async move {
                        let _end = OnDrop(|| dropped.set(dropped.get() + 1));
                        sleep(ms(2)).await;
                        Err::<(), ()>(())
                    }
                };
                let tried = retry(Backoff::constant(ms(8)).max_elapsed(SECOND), slow);
                assert!(timeout(ms(wait_millis), tried).await.is_err());
                assert_eq!(dropped.get(), attempts.get());
            })
            .unwrap();
        assert_empty(&scheduler);
    }
}

#[test]
fn task_killed_in_a_pause_then_nothing_is_left() {
    under_each_quantum(|| async {
        let trace = Trace::default();
        let tries = failing(9, &trace);
        let task = spawn(async move { retry(Backoff::constant(SECOND), tries).await }).await;
        sleep(ms(1500)).await;
        kill(task.id()).await.unwrap();
        assert!(task.await.unwrap_err().is_killed());
        assert_eq!(trace.take(), ["0ns", "1s"]);
    });
}

#[test]
fn pause_of_a_retry_then_the_task_table_shows_the_line_of_the_call() {
    let mut scheduler = scheduler();
    let line = line!() + 2;
    let task = scheduler
        .spawn(async { retry(Backoff::constant(SECOND), || async { Err::<(), ()>(()) }).await });
    let _paused = scheduler.step();
    let TaskState::Blocked(calls) = &scheduler.snapshot().tasks[0].state else {
        panic!("it waits")
    };
    assert_eq!((calls[0].site.file(), calls[0].site.line()), (file!(), line));
    task.kill();
    let _killed_on_purpose = scheduler.run().unwrap();
}

#[test]
#[should_panic(expected = "at least one attempt")]
fn no_attempts_then_a_panic() {
    let _backoff = Backoff::constant(SECOND).max_attempts(0);
}

// Rate limiter

#[test]
fn tasks_ask_one_limiter_then_they_go_through_in_order_at_the_exact_times() {
    under_each_quantum(|| async {
        // Three in a second: 333 333 333⅓ ns each, and never a nanosecond early.
        let limiter = Rc::new(RateLimiter::new(3, SECOND).burst(1));
        let trace = Trace::default();
        for name in 'a'..='f' {
            let (limiter, trace) = (Rc::clone(&limiter), trace.clone());
            spawn_detached(async move {
                limiter.acquire().await;
                trace.say(format!("{name} {}", now().await.as_nanos()));
            });
        }
        sleep(SECOND * 2).await;
        let times = [0, 333_333_334, 666_666_667, 1_000_000_000, 1_333_333_334, 1_666_666_667];
        let expected: Vec<_> =
            ('a'..).zip(times).map(|(name, time)| format!("{name} {time}")).collect();
        assert_eq!(trace.take(), expected);
    });
}

#[test]
fn rest_of_any_length_then_no_more_than_the_burst_at_once() {
    under_each_quantum(|| async {
        let limiter = RateLimiter::new(10, SECOND).burst(4);
        sleep(SECOND * 100).await;
        let start = now().await;
        limiter.acquire_many(4).await.unwrap();
        assert_eq!(now().await, start);
        sleep(SECOND * 100).await;
        limiter.acquire_many(4).await.unwrap();
        assert_eq!(limiter.try_acquire(1).await, Err(RateLimited));
        limiter.acquire().await;
        assert_eq!(now().await - start, SECOND * 100 + ms(100));
    });
}

#[test]
fn many_are_wanted_then_they_are_not_passed_by_those_who_want_few() {
    under_each_quantum(|| async {
        let limiter = RateLimiter::new(1, SECOND).burst(5);
        limiter.acquire_many(5).await.unwrap();
        let order = Trace::default();
        let many = async {
            limiter.acquire_many(5).await.unwrap();
            order.say(format!("many {}", now().await));
        };
        let few = async {
            assert_eq!(limiter.try_acquire(1).await, Err(RateLimited));
            limiter.acquire().await;
            order.say(format!("few {}", now().await));
        };
        join!(many, few);
        assert_eq!(order.take(), ["many 5s", "few 6s"]);
        assert_eq!(limiter.acquire_many(6).await, Err(ExceedsBurst));
    });
}

#[test]
fn some_are_there_but_somebody_waits_for_more_then_nobody_takes_them() {
    under_each_quantum(|| async {
        let limiter = Rc::new(RateLimiter::new(1, SECOND).burst(5));
        limiter.acquire_many(5).await.unwrap();
        let first = Rc::clone(&limiter);
        let waits = spawn(async move { first.acquire_many(4).await.map(|()| 4) }).await;
        sleep(ms(2500)).await;
        assert_eq!(limiter.try_acquire(1).await, Err(RateLimited));
        assert_eq!(waits.await.unwrap(), Ok(4));
        assert_eq!(now().await.as_nanos(), 4_000_000_000);
    });
}

#[test]
fn wait_for_a_limiter_given_up_then_it_has_taken_nothing_and_the_next_goes_on() {
    under_each_quantum(|| async {
        let limiter = Rc::new(RateLimiter::new(1, SECOND).burst(3));
        limiter.acquire_many(3).await.unwrap();
        // Before the first poll; at the head; in line.
        drop(limiter.acquire());
        assert!(timeout(ms(1500), limiter.acquire_many(3)).await.is_err());
        let behind = Rc::clone(&limiter);
        let next = spawn(async move {
            behind.acquire_many(2).await.unwrap();
            now().await
        })
        .await;
        yield_now().await;
        assert!(timeout(ms(100), limiter.acquire()).await.is_err());
        assert_eq!(next.await.unwrap().as_nanos(), 2_000_000_000);
    });
}

#[test]
fn head_of_the_line_killed_or_dropped_after_its_reply_then_the_next_moves_up() {
    for moment in ["asleep", "killed with its reply", "dropped with its reply"] {
        let mut scheduler = scheduler();
        let limiter = Rc::new(RateLimiter::new(1, SECOND).named("gate"));
        let (first, second) = (Rc::clone(&limiter), Rc::clone(&limiter));
        scheduler
            .block_on(async move {
                first.acquire().await;
                let held = Slot::new();
                let place = held.clone();
                let head = spawn(async move {
                    let mut wait = Box::pin(async move { first.acquire().await });
                    assert!(poll_once(&mut wait).await.is_pending());
                    place.put(wait);
                    pending::<()>().await;
                })
                .await;
                let next = spawn(async move {
                    second.acquire().await;
                    now().await
                })
                .await;
                settle().await;
                let wait = held.take().unwrap();
                match moment {
                    "asleep" => drop(wait),
                    "killed with its reply" => {
                        let mut wait = wait;
                        assert!(poll_once(&mut wait).await.is_pending());
                        sleep(SECOND).await;
                        held.put(wait);
                        drop(held.take());
                    }
                    _ => {
                        let mut both: FuturesUnordered<_> = [wait].into_iter().collect();
                        assert!(poll_once(&mut both.next()).await.is_pending());
                        sleep(SECOND).await;
                        drop(both);
                    }
                }
                kill(head.id()).await.unwrap();
                assert!(next.await.unwrap().as_nanos() <= 1_000_000_002);
            })
            .unwrap();
        drop(limiter);
        run_clean(&mut scheduler);
    }
}

#[test]
fn several_waits_for_a_limiter_in_one_task_under_foreign_wakers_then_all_come_in_order() {
    under_each_quantum(|| async {
        let limiter = RateLimiter::new(10, SECOND).burst(1);
        let wait = |n: u32| {
            let limiter = &limiter;
            async move {
                limiter.acquire().await;
                n
            }
        };
        let unordered: FuturesUnordered<_> = (0..5).map(wait).collect();
        assert_eq!(unordered.collect::<Vec<_>>().await, [0, 1, 2, 3, 4]);
        assert_eq!(now().await.as_nanos(), 400_000_000);
        select_biased! {
            _ = wait(5).boxed_local().fuse() => panic!("it is not its time"),
            _ = sleep(ms(50)).fuse() => {}
        }
        limiter.acquire().await;
        assert_eq!(now().await.as_nanos(), 500_000_000);
    });
}

#[test]
fn tasks_wait_for_a_limiter_then_the_task_table_says_for_what_and_from_where() {
    let mut scheduler = scheduler();
    let limiter = Rc::new(RateLimiter::new(1, SECOND * 1000).named("gate"));
    let mut waiting = Vec::new();
    let line = line!() + 4;
    for _task in 0..3 {
        let limiter = Rc::clone(&limiter);
        waiting.push(scheduler.spawn(async move {
            limiter.acquire().await;
        }));
    }
    for _step in 0..7 {
        let _step = scheduler.step();
    }
    let tasks = scheduler.snapshot().tasks;
    let TaskState::Blocked(calls) = &tasks.last().unwrap().state else { panic!("it waits") };
    assert_eq!((calls[0].site.file(), calls[0].site.line()), (file!(), line));
    let told = calls[0].to_string();
    assert!(told.contains("rate limiter `gate`"), "{told}");
    waiting.iter().for_each(|task| task.kill());
    drop(waiting);
    run_clean(&mut scheduler);
}

#[test]
fn limiter_under_another_scheduler_then_it_goes_by_that_clock() {
    let limiter = RateLimiter::new(1, SECOND);
    for _scheduler in 0..3 {
        let mut scheduler = scheduler();
        scheduler
            .block_on(async {
                while limiter.try_acquire(1).await.is_ok() {}
                let start = now().await;
                limiter.acquire().await;
                assert_eq!(now().await - start, SECOND);
            })
            .unwrap();
        run_clean(&mut scheduler);
    }
}

// Worker pool

#[test]
fn jobs_more_than_workers_then_they_begin_in_order_and_no_more_at_a_time() {
    under_each_quantum(|| async {
        let pool = Rc::new(WorkerPool::new(2, 3));
        let trace = Trace::default();
        let submit = |n: u64| {
            let (pool, trace) = (Rc::clone(&pool), trace.clone());
            async move {
                let job = async move {
                    trace.say(format!("{n} begins {}", now().await));
                    sleep(SECOND).await;
                    n * 10
                };
                pool.submit(job).await.unwrap()
            }
        };
        let submitting: Vec<_> = (0..6).map(submit).map(spawn).collect();
        let mut results = Vec::new();
        for handle in submitting {
            results.push(handle.await);
        }
        let mut values = Vec::new();
        for handle in results {
            values.push(handle.await.unwrap());
        }
        assert_eq!(values, [0, 10, 20, 30, 40, 50]);
        let begun = (0..6).map(|n| format!("{n} begins {}", ["0ns", "1s", "2s"][n / 2]));
        assert_eq!(trace.take(), begun.collect::<Vec<_>>());
        pool.shutdown().await;
    });
}

#[test]
fn backlog_is_full_then_one_who_submits_waits_for_room() {
    under_each_quantum(|| async {
        let pool = WorkerPool::new(1, 1);
        let begun = Rc::new(Cell::new(0));
        let job = |n| {
            let begun = Rc::clone(&begun);
            async move {
                begun.set(n);
                sleep(SECOND).await;
            }
        };
        let submitted: FuturesUnordered<_> = (1..=3).map(|n| pool.submit(job(n))).collect();
        let mut all = submitted.collect::<Vec<_>>();
        for _turn in 0..4 {
            assert!(poll_once(&mut all).await.is_pending());
            settle().await;
        }
        assert_eq!(begun.get(), 1);
        let text = format!("{pool:?}");
        assert!(text.contains("waiting_jobs: 1"), "{text}");
        assert_eq!(all.await.len(), 3);
        assert_eq!(now().await.as_nanos() / 1_000_000_000, 3);
    });
}

#[test]
fn job_panics_then_its_submitter_has_the_payload_and_the_worker_goes_on() {
    under_each_quantum(|| async {
        let pool = WorkerPool::new(1, 4);
        for round in 0..3 {
            let error = pool.submit(async move { panic!("round {round}") }).await;
            let error: JobError = error.unwrap_err();
            assert_eq!(error.to_string(), format!("the job panicked: round {round}"));
            let JobError::Panicked(payload) = error else { panic!("it is a panic") };
            assert_eq!(text_of(&*payload), format!("round {round}"));
            let bad_end = OnDrop(|| panic!("at its end"));
            let error = pool.submit(async move { drop(bad_end) }).await.unwrap_err();
            assert_eq!(error.to_string(), "the job panicked: at its end");
        }
        assert_eq!(pool.submit(async { 7 }).await.unwrap(), 7);
    });
}

#[test]
fn pool_shut_down_then_what_it_has_is_done_and_nothing_more_is_taken() {
    under_each_quantum(|| async {
        let pool = Rc::new(WorkerPool::new(1, 1));
        let done = Rc::new(Cell::new(0));
        let submit = || {
            let (pool, done) = (Rc::clone(&pool), Rc::clone(&done));
            spawn(async move {
                pool.submit(async move {
                    sleep(SECOND).await;
                    done.set(done.get() + 1);
                })
                .await
            })
        };
        // One runs, one is in the backlog, one waits for room.
        let (runs, waits, has_no_room) = (submit().await, submit().await, submit().await);
        settle().await;
        // Given up, it goes on all the same.
        assert!(timeout(ms(10), pool.shutdown()).await.is_err());
        assert!(matches!(has_no_room.await.unwrap(), Err(JobError::Closed)));
        pool.shutdown().await;
        assert_eq!(done.get(), 2);
        runs.await.unwrap().unwrap();
        waits.await.unwrap().unwrap();
        assert!(matches!(pool.submit(async {}).await, Err(JobError::Closed)));
        pool.shutdown().await;
    });
}

#[test]
fn pool_aborted_or_dropped_then_jobs_end_and_all_submitters_are_told() {
    for way in ["abort", "drop"] {
        under_each_quantum(|| async move {
            let pool = WorkerPool::new(2, 2);
            let dropped = Rc::new(Cell::new(0));
            let job = || {
                let dropped = Rc::clone(&dropped);
                let end = OnDrop(move || dropped.set(dropped.get() + 1));
                async move {
                    let _end = end;
                    pending::<()>().await;
                }
            };
            let mut waiting = Vec::new();
            for _job in 0..6 {
                waiting.push(spawn(pool.submit(job())).await);
            }
            settle().await;
            match way {
                "abort" => pool.abort(),
                _ => drop(pool),
            }
            yield_now().await;
            assert_eq!(dropped.get(), 6);
            for submitted in waiting {
                assert!(matches!(submitted.await.unwrap(), Err(JobError::Killed)));
            }
        });
    }
}

#[test]
fn pool_aborted_while_a_worker_has_a_job_it_has_not_taken_then_its_submitter_is_told() {
    for yields in 0..8 {
        under_each_quantum(|| async move {
            let pool = Rc::new(WorkerPool::new(1, 1));
            pool.submit(async {}).await.unwrap();
            let submitting = Rc::clone(&pool);
            let submitted = spawn(async move { submitting.submit(pending::<()>()).await }).await;
            for _turn in 0..yields {
                yield_now().await;
            }
            pool.abort();
            assert!(matches!(submitted.await.unwrap(), Err(JobError::Killed)), "{yields}");
        });
    }
}

#[test]
fn submitter_gives_up_then_its_job_is_dropped_begun_or_not() {
    under_each_quantum(|| async {
        let pool = WorkerPool::new(1, 4);
        let trace = Trace::default();
        let job = |name: &'static str, seconds: u64| {
            let (begin, end) = (trace.clone(), trace.clone());
            let end = OnDrop(move || end.say(format!("{name} dropped")));
            async move {
                let _end = end;
                begin.say(format!("{name} begins"));
                sleep(SECOND * u32::try_from(seconds).unwrap()).await;
            }
        };
        // Before its first poll.
        drop(pool.submit(job("never", 1)));
        assert_eq!(trace.take(), ["never dropped"]);
        // Begun; in the backlog; and the one behind is done all the same.
        let mut begun = pool.submit(job("begun", 9));
        let mut queued = pool.submit(job("queued", 9));
        for _turn in 0..4 {
            assert!(poll_once(&mut begun).await.is_pending());
            assert!(poll_once(&mut queued).await.is_pending());
            settle().await;
        }
        drop(queued);
        drop(begun);
        assert_eq!(trace.take(), ["begun begins", "queued dropped", "begun dropped"]);
        pool.submit(job("last", 1)).await.unwrap();
        assert_eq!(now().await.as_nanos() / 1_000_000_000, 1);
        // Done, but not told.
        let mut told_too_late = pool.submit(async {});
        for _turn in 0..2 {
            let _sent = poll_once(&mut told_too_late).await;
            settle().await;
        }
        drop(told_too_late);
        pool.shutdown().await;
    });
}

#[test]
fn worker_killed_then_its_submitter_is_told_and_another_takes_its_place() {
    under_each_quantum(|| async {
        let pool = WorkerPool::new(1, 4);
        for _round in 0..3 {
            let suicide = async {
                let me = trapline::get_tid().await;
                kill(me).await.unwrap();
            };
            assert!(matches!(pool.submit(suicide).await, Err(JobError::Killed)));
            assert_eq!(pool.submit(async { 1 }).await.unwrap(), 1);
        }
        // One that is idle.
        let worker = pool.submit(trapline::get_tid()).await.unwrap();
        settle().await;
        kill(worker).await.unwrap();
        assert_ne!(pool.submit(trapline::get_tid()).await.unwrap(), worker);
    });
}

#[test]
fn worker_killed_while_jobs_wait_then_they_are_done_by_another() {
    under_each_quantum(|| async {
        let pool = WorkerPool::new(1, 2);
        let suicide = async {
            let me = trapline::get_tid().await;
            sleep(SECOND).await;
            kill(me).await.unwrap();
        };
        let (killed, done) = join!(pool.submit(suicide), pool.submit(async { 2 }));
        assert!(matches!(killed, Err(JobError::Killed)));
        assert_eq!(done.unwrap(), 2);
    });
}

#[test]
fn pool_of_the_main_program_then_it_works_under_one_scheduler_after_another() {
    let pool = WorkerPool::new(2, 2);
    for _scheduler in 0..2 {
        let mut scheduler = scheduler();
        assert_eq!(scheduler.block_on(pool.submit(async { 5 })).unwrap().unwrap(), 5);
        // Its workers are daemons.
        let _killed_on_purpose = scheduler.run().unwrap();
    }
    pool.abort();
}

/// The one task that is stuck in a pattern: the report names all, at once, and where each waits.
#[track_caller]
fn assert_deadlock<T>(root: impl Future<Output = T>, tasks: usize) {
    let mut scheduler = scheduler();
    let error = scheduler.block_on(root).map(|_| ()).unwrap_err();
    let RunError::Deadlock(report) = &error else { panic!("{error}") };
    assert_eq!(report.blocked.len(), tasks, "{error}");
    for blocked in &report.blocked {
        assert!(!blocked.waits_for.is_empty(), "{error}");
        for call in &blocked.waits_for {
            assert_eq!(call.site.file(), file!(), "a line of the program's own: {error}");
        }
    }
}

#[test]
fn pattern_is_stuck_then_a_deadlock_is_reported_at_once_with_the_lines_of_the_program() {
    thread_local! {
        static NEVER: &'static trapline::WaitQueue =
            Box::leak(Box::new(trapline::WaitQueue::new(0)));
    }
    let never = || NEVER.with(|never| *never).park();
    assert_deadlock(map_reduce(stream::iter(0..9), 2, move |_| never(), |(), ()| ()), 3);
    // A source that goes on, held up; a stage that is stuck; a stage behind it; and who takes.
    let line = pipeline(stream::iter(0..)).stage(1, move |_: i32| never()).stage(1, async |()| ());
    assert_deadlock(line.collect(), 4);
    let pool = WorkerPool::new(1, 1);
    assert_deadlock(pool.submit(async move { never().await }), 2);
    let attempt = move || async move {
        never().await;
        Ok::<(), ()>(())
    };
    assert_deadlock(retry(Backoff::constant(SECOND), attempt), 1);
}

#[test]
fn job_waits_for_ever_then_a_deadlock_is_reported_at_once() {
    let mut scheduler = scheduler();
    let pool = WorkerPool::new(1, 1);
    let never = Rc::new(trapline::WaitQueue::new(0));
    let job = async move { never.park().await };
    let error = scheduler.block_on(pool.submit(job)).unwrap_err();
    assert!(matches!(error, RunError::Deadlock(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("a job"), "{text}");
}

#[test]
fn submits_side_by_side_in_one_task_then_each_has_its_own_result() {
    under_each_quantum(|| async {
        let pool = WorkerPool::new(2, 1);
        let after = |millis| async move {
            sleep(ms(millis)).await;
            millis
        };
        let (a, b, c) = join!(pool.submit(after(3)), pool.submit(after(2)), pool.submit(after(1)));
        assert_eq!((a.unwrap(), b.unwrap(), c.unwrap()), (3, 2, 1));
        let first = select_biased! {
            slow = pool.submit(after(9)).fuse() => slow,
            fast = pool.submit(after(4)).fuse() => fast,
        };
        assert_eq!(first.unwrap(), 4);
        let all: FuturesUnordered<_> = (0..6).map(|n| pool.submit(after(n))).collect();
        assert_eq!(all.map(Result::unwrap).fold(0, async |sum, n| sum + n).await, 15);
        pool.shutdown().await;
    });
}

#[test]
fn job_cancelled_with_its_worker_then_its_submitter_is_told() {
    under_each_quantum(|| async {
        let pool = WorkerPool::new(1, 1);
        let job = async {
            let me = trapline::get_tid().await;
            trapline::cancel(me, "enough").await.unwrap();
            pending::<()>().await;
        };
        assert!(matches!(pool.submit(job).await, Err(JobError::Killed)));
        assert_eq!(pool.submit(async { 1 }).await.unwrap(), 1);
    });
}

#[test]
#[should_panic(expected = "a pool has a worker")]
fn pool_without_workers_then_a_panic() {
    let _pool = WorkerPool::new(0, 1);
}

// Map and reduce

#[test]
fn items_then_each_is_mapped_in_a_task_and_no_more_than_the_limit_at_a_time() {
    for limit in [1, 3, 100] {
        under_each_quantum(|| async move {
            let (running, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            let counts = (Rc::clone(&running), Rc::clone(&most));
            let map = move |n: u64| {
                let (running, most) = counts.clone();
                async move {
                    running.set(running.get() + 1);
                    most.set(most.get().max(running.get()));
                    sleep(ms(n)).await;
                    running.set(running.get() - 1);
                    n
                }
            };
            let sum = map_reduce(stream::iter(1..=20), limit, map, |a, b| a + b).await;
            assert_eq!(sum, Some(210));
            assert_eq!((running.get(), most.get()), (0, limit.min(20)));
        });
    }
}

#[test]
fn results_then_they_are_reduced_in_the_order_of_arrival() {
    under_each_quantum(|| async {
        let map = |n: u64| async move {
            sleep(ms(n)).await;
            n.to_string()
        };
        let joined = map_reduce(stream::iter([5, 3, 9, 1]), 4, map, |a, b| a + &b).await;
        assert_eq!(joined.as_deref(), Some("1359"));
        let none = map_reduce(stream::iter([]), 4, map, |a, b| a + &b).await;
        assert_eq!(none, None);
    });
}

#[test]
fn source_pauses_then_results_are_reduced_meanwhile() {
    under_each_quantum(|| async {
        let source = stream::iter(1..=3).then(|n| async move {
            sleep(SECOND).await;
            n
        });
        let trace = Trace::default();
        let noted = trace.clone();
        let work = |n| {
            noted.say(n);
            async move { n }
        };
        let sum = map_reduce(Box::pin(source), 2, work, |a, b| {
            noted.say(format!("{a}+{b}"));
            a + b
        });
        assert_eq!(sum.await, Some(6));
        assert_eq!(trace.take(), ["1", "2", "1+2", "3", "3+3"]);
    });
}

#[test]
fn map_reduce_dropped_at_each_point_then_nothing_outlives_it() {
    for turns in 0..12 {
        for quantum in [1, 32] {
            let mut scheduler = builder().quantum(quantum).build();
            scheduler
                .block_on(async {
                    let live = Rc::new(Cell::new(0));
                    let counts = Rc::clone(&live);
                    let map = move |n: u64| {
                        let live = Rc::clone(&counts);
                        live.set(live.get() + 1);
                        let end = OnDrop(move || live.set(live.get() - 1));
                        async move {
                            let _end = end;
                            sleep(ms(n % 3)).await;
                        }
                    };
                    let mut work = Box::pin(for_each_concurrent(stream::iter(0..9), 4, map));
                    for _turn in 0..turns {
                        if poll_once(&mut work).await.is_ready() {
                            break;
                        }
                        yield_now().await;
                    }
                    drop(work);
                    yield_now().await;
                    assert_eq!(live.get(), 0, "after {turns} turns");
                })
                .unwrap();
            run_clean(&mut scheduler);
        }
    }
}

#[test]
fn map_reduce_dropped_before_its_tasks_have_begun_then_their_work_is_dropped_at_once() {
    let mut scheduler = builder().quantum(32).build();
    let root = async {
        let live = Rc::new(Cell::new(0));
        let counts = Rc::clone(&live);
        let map = move |_| {
            let live = Rc::clone(&counts);
            live.set(live.get() + 1);
            let end = OnDrop(move || live.set(live.get() - 1));
            async move { drop(end) }
        };
        let mut work = Box::pin(for_each_concurrent(stream::iter(0..9), 4, map));
        assert!(poll_once(&mut work).await.is_pending());
        assert_eq!(live.get(), 4);
        drop(work);
        assert_eq!(live.get(), 0);
    };
    scheduler.block_on(root).unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn task_of_a_map_reduce_killed_with_it_then_nothing_is_left() {
    under_each_quantum(|| async {
        let live = Rc::new(Cell::new(0));
        let counts = Rc::clone(&live);
        let outer = spawn(async move {
            let map = move |_| {
                let live = Rc::clone(&counts);
                live.set(live.get() + 1);
                let end = OnDrop(move || live.set(live.get() - 1));
                async move {
                    let _end = end;
                    pending::<()>().await;
                }
            };
            for_each_concurrent(stream::iter(0..9), 4, map).await;
        })
        .await;
        settle().await;
        assert_eq!(live.get(), 4);
        kill(outer.id()).await.unwrap();
        yield_now().await;
        assert_eq!(live.get(), 0);
    });
}

#[test]
fn task_panics_then_it_comes_out_and_the_others_are_killed() {
    let mut scheduler = scheduler();
    let ended = Rc::new(Cell::new(0));
    let counts = Rc::clone(&ended);
    let map = move |n: u64| {
        let ended = Rc::clone(&counts);
        async move {
            let _end = OnDrop(|| ended.set(ended.get() + 1));
            sleep(ms(n)).await;
            assert!(n != 2, "two");
        }
    };
    let text = panic_of(|| scheduler.block_on(for_each_concurrent(stream::iter(1..9), 4, map)));
    assert_eq!(text, "two");
    let _killed_on_purpose = scheduler.run().unwrap();
    assert_eq!(ended.get(), 5);
    assert_empty(&scheduler);
}

#[test]
fn task_killed_by_somebody_else_then_a_panic_that_says_so() {
    let mut scheduler = scheduler();
    let map = |_| async {
        let me = trapline::get_tid().await;
        kill(me).await.unwrap();
    };
    let text = panic_of(|| scheduler.block_on(for_each_concurrent(stream::iter([1]), 4, map)));
    assert_eq!(text, "a task of a map_reduce was killed");
    assert_empty(&scheduler);
}

#[test]
fn two_in_one_task_under_foreign_wakers_then_both_end() {
    under_each_quantum(|| async {
        let map = |n: u64| async move {
            sleep(ms(n)).await;
            n
        };
        let sums: FuturesUnordered<_> = [3, 2, 1]
            .into_iter()
            .map(|n| map_reduce(stream::iter([n, n]), 1, map, |a, b| a + b))
            .collect();
        let sums: Vec<_> = sums.collect().await;
        assert_eq!(sums, [Some(2), Some(4), Some(6)]);
    });
}

// Pipelines

#[test]
fn stages_then_every_item_passes_all_of_them_in_order() {
    for buffer in [0, 1, 2, 50] {
        under_each_quantum(|| async move {
            let items = pipeline(stream::iter(0..20))
                .stage(buffer, async |n| n + 1)
                .filter_map(buffer, async |n: i32| (n % 2 == 0).then_some(n))
                .stage(buffer, async |n| {
                    sleep(ms(1)).await;
                    n * 10
                })
                .collect();
            let expected: Vec<_> = (1..=10).map(|n| n * 20).collect();
            assert_eq!(items.await.unwrap(), expected);
        });
    }
}

#[test]
fn end_takes_slowly_then_the_source_is_held_up() {
    for buffer in [0, 1, 3] {
        let mut scheduler = scheduler();
        scheduler
            .block_on(async {
                let made = Rc::new(Cell::new(0));
                let count = Rc::clone(&made);
                let source = stream::iter(1..).inspect(move |_| count.set(count.get() + 1));
                let mut items = pipeline(source).stage(buffer, async |n: i32| n);
                for taken in 1..=5 {
                    assert_eq!(items.next().await.unwrap().unwrap(), taken);
                    settle().await;
                    let ahead = made.get() - taken;
                    // The buffers, and what source and stage have in hand.
                    let most = i32::try_from(buffer).unwrap().max(1) + 4;
                    assert!((1..=most).contains(&ahead), "{ahead} with {buffer}");
                }
            })
            .unwrap();
        run_clean(&mut scheduler);
    }
}

#[test]
fn end_is_dropped_then_all_stages_end_before_anybody_else_runs() {
    for turns in 0..10 {
        under_each_quantum(|| async move {
            let live = Rc::new(Cell::new(0));
            let guard = |live: &Rc<Cell<i32>>| {
                live.set(live.get() + 1);
                let live = Rc::clone(live);
                OnDrop(move || live.set(live.get() - 1))
            };
            let (first, second) = (guard(&live), guard(&live));
            let mut items = pipeline(stream::iter(1..))
                .stage(1, move |n: u64| {
                    let _held = &first;
                    async move { n }
                })
                .parallel(1, 3, move |n| {
                    let _held = &second;
                    async move {
                        sleep(ms(n)).await;
                        n
                    }
                });
            for _turn in 0..turns {
                let _item = poll_once(&mut items.next()).await;
                yield_now().await;
            }
            drop(items);
            yield_now().await;
            assert_eq!(live.get(), 0, "after {turns} turns");
        });
    }
}

#[test]
fn stage_panics_fails_or_is_killed_then_what_it_passed_on_comes_first() {
    for way in ["panics", "fails", "is killed"] {
        under_each_quantum(|| async move {
            let mut items = pipeline(stream::iter(1..))
                .stage(4, async |n: i32| n)
                .try_stage(4, move |n| async move {
                    match way {
                        _ if n < 4 => Ok(n),
                        "panics" => panic!("at four"),
                        "fails" => Err("no four"),
                        _ => {
                            let me = trapline::get_tid().await;
                            kill(me).await.unwrap();
                            Ok(n)
                        }
                    }
                })
                .named("sieve")
                .stage(4, async |n| n * 2);
            for expected in [2, 4, 6] {
                assert_eq!(items.next().await.unwrap().unwrap(), expected);
            }
            let error = items.next().await.unwrap().unwrap_err();
            assert!(items.next().await.is_none());
            assert_eq!(error.stage(), "sieve");
            match way {
                "panics" => {
                    assert!(error.is_panic());
                    assert_eq!(text_of(&*error.take_panic().unwrap()), "at four");
                    assert!(error.take_panic().is_none());
                    assert_eq!(error.to_string(), "sieve panicked: at four");
                }
                "fails" => {
                    assert_eq!(error.failure().unwrap().to_string(), "no four");
                    assert_eq!(error.to_string(), "sieve failed: no four");
                }
                _ => {
                    assert!(error.is_killed());
                    assert_eq!(error.to_string(), "sieve was killed");
                }
            }
            yield_now().await;
        });
    }
}

#[test]
fn closure_or_source_panics_then_it_reaches_the_end() {
    under_each_quantum(|| async {
        let error = pipeline(stream::iter(1..))
            .parallel(1, 3, |n: i32| {
                assert!(n < 3, "three");
                async move { n }
            })
            .for_each(async |_| {})
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "stage 1 panicked: three");
        let source = stream::iter(0..).map(|n: i32| 6 / (2 - n));
        let mut items = pipeline(source);
        assert_eq!(items.next().await.unwrap().unwrap(), 3);
        assert_eq!(items.next().await.unwrap().unwrap(), 6);
        let error = items.next().await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "source panicked: attempt to divide by zero");
    });
}

#[test]
fn parallel_tasks_then_order_of_completion_or_if_asked_for_of_the_items() {
    under_each_quantum(|| async {
        let slow = |n: u64| async move {
            sleep(ms(10 - n)).await;
            n
        };
        let source = || pipeline(stream::iter(1..=9));
        let any = source().parallel(9, 3, slow).collect().await.unwrap();
        assert_eq!(any, [3, 2, 1, 4, 5, 6, 9, 8, 7]);
        let start = now().await;
        let kept = source().parallel_ordered(9, 3, slow).collect().await.unwrap();
        assert_eq!(kept, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert!(now().await - start < ms(9 + 8 + 7 + 6 + 5), "they ran side by side");
    });
}

#[test]
fn fan_out_then_items_go_in_turn_or_to_whoever_is_free() {
    under_each_quantum(|| async {
        for (deal, slow_has) in [(Deal::RoundRobin, 5), (Deal::WhoeverIsFree, 1)] {
            let lanes = pipeline(stream::iter(0..10)).fan_out(2, 1, deal);
            let mut speed = [ms(100), ms(1)].into_iter();
            let counted = lanes.into_iter().map(|lane| {
                let pause = speed.next().unwrap();
                lane.stage(1, move |_| async move {
                    sleep(pause).await;
                    pause
                })
            });
            let done = merge(counted.collect::<Vec<_>>(), 1).collect().await.unwrap();
            let slow = done.iter().filter(|pause| **pause == ms(100)).count();
            assert_eq!((done.len(), slow), (10, slow_has), "{deal:?}");
        }
    });
}

#[test]
fn one_lane_is_dropped_then_the_others_have_its_share() {
    under_each_quantum(|| async {
        for deal in [Deal::RoundRobin, Deal::WhoeverIsFree] {
            let mut lanes = pipeline(stream::iter(0..10)).fan_out(3, 2, deal);
            drop(lanes.remove(0));
            let items = merge(lanes, 1).collect().await.unwrap();
            assert_eq!(items.iter().sum::<i32>(), 45, "{deal:?}");
            let lanes = pipeline(stream::iter(0..)).fan_out(3, 2, deal);
            drop(lanes);
        }
    });
}

#[test]
fn stage_before_a_fan_out_fails_then_every_lane_is_told() {
    under_each_quantum(|| async {
        for deal in [Deal::RoundRobin, Deal::WhoeverIsFree] {
            let source = pipeline(stream::iter(0..))
                .try_stage(1, async |n: i32| if n < 4 { Ok(n) } else { Err("four") });
            let mut errors = 0;
            let lanes = source.fan_out(2, 4, deal).into_iter().map(|lane| lane.collect());
            let mut ends: FuturesUnordered<_> = lanes.collect();
            while let Some(end) = ends.next().await {
                errors += 1;
                assert_eq!(end.unwrap_err().to_string(), "stage 1 failed: four");
            }
            assert_eq!(errors, 2);
        }
    });
}

#[test]
fn merged_then_items_in_the_order_of_arrival_and_one_failure_ends_all() {
    under_each_quantum(|| async {
        let lane = |first: u64, step: u64| {
            pipeline(
                stream::iter(0..3)
                    .then(move |n| async move {
                        sleep(ms(if n == 0 { first } else { step })).await;
                        first
                    })
                    .boxed_local(),
            )
        };
        let items = merge([lane(3, 10), lane(1, 10), lane(2, 10)], 2).collect().await.unwrap();
        assert_eq!(items, [1, 2, 3, 1, 2, 3, 1, 2, 3]);
        let bad = lane(5, 5).try_stage(1, async |_| Err::<u64, _>("bad"));
        let error = merge([lane(1, 1000), bad], 2).collect().await.unwrap_err();
        assert_eq!(error.to_string(), "stage 1 failed: bad");
        assert!(now().await.as_nanos() < 1_000_000_000);
    });
}

#[test]
fn ends_of_pipelines_side_by_side_in_one_task_then_each_has_its_items() {
    under_each_quantum(|| async {
        let line = |from: u64| {
            pipeline(stream::iter(from..from + 3)).stage(0, async |n| {
                sleep(ms(n)).await;
                n
            })
        };
        let (mut kept, lost) = (Vec::new(), Rc::new(Cell::new(0)));
        let (one, two) = join!(line(1).collect(), line(10).collect());
        assert_eq!((one.unwrap(), two.unwrap()), (vec![1, 2, 3], vec![10, 11, 12]));
        let ends: FuturesUnordered<_> = (0..3).map(|n| line(n * 10).collect()).collect();
        kept.extend(ends.map(|end| end.unwrap()[0]).collect::<Vec<_>>().await);
        assert_eq!(kept, [0, 10, 20]);
        let count = Rc::clone(&lost);
        let slow = line(1000).for_each(move |_| {
            count.set(count.get() + 1);
            async {}
        });
        select_biased! {
            _ = slow.fuse() => panic!("it is the slower one"),
            fast = line(1).collect().fuse() => assert_eq!(fast.unwrap().len(), 3),
        }
        assert_eq!(lost.get(), 0);
    });
}

#[test]
fn work_at_the_end_panics_then_the_stages_end_with_their_pipeline() {
    let mut scheduler = scheduler();
    let text = panic_of(|| {
        scheduler.block_on(async {
            let items = pipeline(stream::iter(0..)).stage(1, async |n: i32| n);
            items.for_each(async |n| assert!(n < 3, "it is {n}")).await
        })
    });
    assert_eq!(text, "it is 3");
    run_clean(&mut scheduler);
}

#[test]
fn pipeline_is_never_polled_then_nothing_runs() {
    under_each_quantum(|| async {
        let source = stream::iter(0..).inspect(|_: &i32| panic!("nobody asked for it"));
        let items = pipeline(source).stage(1, async |n| n).parallel(1, 3, async |n| n);
        yield_now().await;
        drop(items.collect());
        yield_now().await;
    });
}

#[test]
fn stages_wait_then_the_task_table_shows_the_lines_where_they_were_added() {
    let mut scheduler = scheduler();
    let first = line!() + 2;
    let task = scheduler.spawn(async {
        let items = pipeline(stream::pending::<u8>()).stage(1, async |n| n).named("idle");
        items.for_each(async |_| {}).await
    });
    step_while_ready(&mut scheduler);
    let tasks = scheduler.snapshot().tasks;
    let stage = tasks.iter().find(|task| task.name.as_deref() == Some("idle")).unwrap();
    let TaskState::Blocked(calls) = &stage.state else { panic!("it waits") };
    assert_eq!((calls[0].site.file(), calls[0].site.line()), (file!(), first));
    assert_eq!((stage.site.file(), stage.site.line()), (file!(), first));
    task.kill();
    drop(task);
    let _killed_on_purpose = scheduler.run().unwrap();
    assert_empty(&scheduler);
}
