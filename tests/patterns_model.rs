//! Patterns under chance: random programs against what simple models say of them.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures::{StreamExt, stream};
use proptest::prelude::*;
use support::{OnDrop, assert_empty, builder};
use trapline::pattern::{JobError, RateLimiter, WorkerPool, map_reduce, merge, pipeline};
use trapline::{kill, now, sleep, spawn, timeout, yield_now};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Runs a root to its end, with a look at the invariants after each step, and nothing left behind.
#[track_caller]
fn run_checked(quantum: u32, seed: u64, root: impl Future<Output = ()> + 'static) {
    let mut scheduler = builder().quantum(quantum).seed(seed).build();
    let ended = Rc::new(Cell::new(false));
    let end = OnDrop({
        let ended = Rc::clone(&ended);
        move || ended.set(true)
    });
    let root = scheduler.spawn(async move {
        let _end = end;
        root.await;
    });
    let mut steps = 0;
    while !ended.get() {
        let step = scheduler.step();
        scheduler.check_invariants();
        steps += 1;
        assert!(steps < 100_000 && !step.is_last(), "it does not end");
    }
    scheduler.block_on(root).unwrap().unwrap();
    assert_eq!(scheduler.run().unwrap().failures, 0);
    assert_empty(&scheduler);
}

// Rate limiter

/// How long a token takes, and how many the bucket holds.
const TOKEN_MILLIS: u64 = 7;
const BURST: u64 = 4;

/// One who comes so long after the last, wants so many, and has so much patience. No two are at the end
/// of theirs at the same time: see `patience_micros`.
type Guest = (u64, u64, Option<u64>);

fn guest() -> impl Strategy<Value = Guest> {
    (0..20u64, 0..=BURST, prop::option::of(0..60u64))
}

fn patience_micros(number: usize, millis: u64) -> u64 {
    millis * 1000 + number as u64 + 1
}

/// When each goes through, in microseconds; `None` for one who gave up.
fn model_of_limiter(guests: &[Guest]) -> Vec<Option<u64>> {
    let token = TOKEN_MILLIS * 1000;
    let (mut level, mut as_of, mut head_free, mut arrival) = (BURST * token, 0, 0, 0);
    let mut served = Vec::new();
    for (number, &(after, wanted, patience)) in guests.iter().enumerate() {
        arrival += after * 1000;
        let deadline =
            patience.map_or(u64::MAX, |patience| arrival + patience_micros(number, patience));
        let at_head = head_free.max(arrival);
        if deadline < at_head {
            served.push(None);
            continue;
        }
        level = (level + at_head - as_of).min(BURST * token);
        as_of = at_head;
        let enough = at_head + (wanted * token).saturating_sub(level);
        if enough > deadline {
            head_free = deadline;
            served.push(None);
            continue;
        }
        level = level + (enough - as_of) - wanted * token;
        (as_of, head_free) = (enough, enough);
        served.push(Some(enough));
    }
    served
}

proptest! {
    #[test]
    fn guests_of_a_limiter_at_random_then_each_goes_through_when_the_model_says(
        guests in prop::collection::vec(guest(), 1..30),
        quantum in 1..5u32,
    ) {
        let expected = model_of_limiter(&guests);
        run_checked(quantum, 0, async move {
            let per = ms(TOKEN_MILLIS);
            let limiter = Rc::new(RateLimiter::new(1, per).burst(u32::try_from(BURST).unwrap()));
            let mut waiting = Vec::new();
            for (number, (after, wanted, patience)) in guests.into_iter().enumerate() {
                if after > 0 {
                    sleep(ms(after)).await;
                }
                let limiter = Rc::clone(&limiter);
                let guest = async move {
                    let wait = limiter.acquire_many(u32::try_from(wanted).unwrap());
                    let micros = patience.map_or(u64::MAX, |patience| patience_micros(number, patience));
                    let patience = Duration::from_micros(micros);
                    timeout(patience, wait).await.ok()?.unwrap();
                    Some(now().await.as_nanos() / 1000)
                };
                waiting.push(spawn(guest).await);
                // It stands in line before the next one comes.
                yield_now().await;
                yield_now().await;
            }
            let mut served = Vec::new();
            for guest in waiting {
                served.push(guest.await.unwrap());
            }
            assert_eq!(served, expected);
        });
    }
}

// Worker pool

#[derive(Clone, Copy, Debug)]
enum JobKind {
    Returns,
    Panics,
    KillsItsWorker,
}

#[derive(Clone, Copy, Debug)]
struct JobPlan {
    comes_after: u64,
    takes: u64,
    kind: JobKind,
    patience: Option<u64>,
    /// Kill the submitter after so long, instead.
    killed_after: Option<u64>,
}

fn job_plan() -> impl Strategy<Value = JobPlan> {
    let kind = prop_oneof![
        4 => Just(JobKind::Returns),
        1 => Just(JobKind::Panics),
        1 => Just(JobKind::KillsItsWorker)
    ];
    (0..6u64, 0..6u64, kind, prop::option::of(0..9u64), prop::option::weighted(0.2, 0..9u64))
        .prop_map(|(comes_after, takes, kind, patience, killed_after)| JobPlan {
            comes_after,
            takes,
            kind,
            patience,
            killed_after,
        })
}

proptest! {
    #[test]
    fn jobs_at_random_then_each_submitter_has_what_its_job_came_to(
        plans in prop::collection::vec(job_plan(), 1..25),
        (workers, backlog) in (1..4usize, 1..4usize),
        end in prop::option::of(0..40u64),
        quantum in 1..5u32,
    ) {
        run_checked(quantum, 0, async move {
            let pool = Rc::new(WorkerPool::new(workers, backlog));
            let aborted = Rc::new(Cell::new(false));
            let (running, live) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            let mut submitters = Vec::new();
            for (number, plan) in plans.into_iter().enumerate() {
                let (pool, aborted) = (Rc::clone(&pool), Rc::clone(&aborted));
                let running = Rc::clone(&running);
                live.set(live.get() + 1);
                let dead = Rc::clone(&live);
                let end = OnDrop(move || dead.set(dead.get() - 1));
                let submitter = spawn(async move {
                    sleep(ms(plan.comes_after)).await;
                    let job = async move {
                        let _end = end;
                        running.set(running.get() + 1);
                        assert!(running.get() <= workers, "a job for each worker");
                        let _stop = OnDrop(|| running.set(running.get() - 1));
                        sleep(ms(plan.takes)).await;
                        match plan.kind {
                            JobKind::Returns => number,
                            JobKind::Panics => panic!("job {number}"),
                            JobKind::KillsItsWorker => {
                                let me = trapline::get_tid().await;
                                kill(me).await.unwrap();
                                number
                            }
                        }
                    };
                    let patience = plan.patience.map_or(Duration::MAX, ms);
                    match (timeout(patience, pool.submit(job)).await, plan.kind) {
                        (Err(_), _) => {}
                        (Ok(Ok(value)), JobKind::Returns) => assert_eq!(value, number),
                        (Ok(Err(JobError::Panicked(_))), JobKind::Panics) => {}
                        (Ok(Err(JobError::Killed)), JobKind::KillsItsWorker) => {}
                        (Ok(end), _) => assert!(end.is_err() && aborted.get(), "{end:?}"),
                    }
                })
                .await;
                if let Some(after) = plan.killed_after {
                    let victim = submitter.id();
                    spawn(async move {
                        sleep(ms(after)).await;
                        kill(victim).await.unwrap();
                    })
                    .detach();
                }
                submitters.push(submitter);
            }
            if let Some(end) = end {
                sleep(ms(end)).await;
                aborted.set(true);
                pool.abort();
            }
            for submitter in submitters {
                let ended = submitter.await;
                assert!(ended.as_ref().map_or_else(|error| error.is_killed(), |()| true), "{ended:?}");
            }
            pool.shutdown().await;
            assert_eq!((running.get(), live.get()), (0, 0));
        });
    }
}

// Pipelines, map and reduce

#[derive(Clone, Copy, Debug)]
enum StageKind {
    Plain,
    Filter,
    Ordered(usize),
}

type StagePlan = (StageKind, usize, u64);

fn stage_plan() -> impl Strategy<Value = StagePlan> {
    let kind = prop_oneof![
        Just(StageKind::Plain),
        Just(StageKind::Filter),
        (1..4usize).prop_map(StageKind::Ordered)
    ];
    (kind, 0..4usize, 0..4u64)
}

/// What the stages make of an item.
fn model_of_stages(stages: &[StagePlan], item: u64) -> Option<u64> {
    stages.iter().try_fold(item, |item, (kind, _, salt)| match kind {
        StageKind::Filter => (item % 3 != salt % 3).then_some(item),
        StageKind::Plain | StageKind::Ordered(_) => Some(item * 2 + salt),
    })
}

proptest! {
    #[test]
    fn stages_at_random_then_what_comes_out_is_what_plain_calls_give(
        stages in prop::collection::vec(stage_plan(), 0..5),
        items in 0..25u64,
        (taken, then_merge) in (prop::option::of(0..10usize), any::<bool>()),
        quantum in 1..5u32,
        seed in any::<u64>(),
    ) {
        let expected: Vec<_> =
            (0..items).filter_map(|item| model_of_stages(&stages, item)).collect();
        run_checked(quantum, seed, async move {
            let mut line = pipeline(stream::iter(0..items));
            for (kind, buffer, salt) in stages {
                let pause = move || ms(trapline::random() % (salt + 1));
                line = match kind {
                    StageKind::Plain => line.stage(buffer, move |item| async move {
                        sleep(pause()).await;
                        item * 2 + salt
                    }),
                    StageKind::Ordered(tasks) => {
                        line.parallel_ordered(buffer, tasks, move |item| async move {
                            sleep(pause()).await;
                            item * 2 + salt
                        })
                    }
                    StageKind::Filter => line.filter_map(buffer, move |item| async move {
                        (item % 3 != salt % 3).then_some(item)
                    }),
                };
            }
            if then_merge {
                line = merge([line], 1);
            }
            let Some(taken) = taken else {
                assert_eq!(line.collect().await.unwrap(), expected);
                return;
            };
            // Not taken to the end.
            let mut seen = Vec::new();
            while seen.len() < taken
                && let Some(item) = line.next().await
            {
                seen.push(item.unwrap());
            }
            assert_eq!(seen, expected[..taken.min(expected.len())]);
            drop(line);
            yield_now().await;
        });
    }

    #[test]
    fn map_reduce_at_random_then_all_is_reduced_once_or_all_is_gone(
        pauses in prop::collection::vec(0..8u64, 0..25),
        limit in 1..6usize,
        patience in prop::option::of(0..30u64),
        quantum in 1..5u32,
    ) {
        run_checked(quantum, 0, async move {
            let live = Rc::new(Cell::new(0));
            let seen = Rc::new(RefCell::new(Vec::<usize>::new()));
            let counts = Rc::clone(&live);
            let map = move |(number, pause): (usize, u64)| {
                let live = Rc::clone(&counts);
                live.set(live.get() + 1);
                assert!(live.get() <= limit);
                let end = OnDrop(move || live.set(live.get() - 1));
                async move {
                    let _end = end;
                    sleep(ms(pause)).await;
                    vec![number]
                }
            };
            let all: Vec<_> = pauses.iter().copied().enumerate().collect();
            let count = all.len();
            let reduced = Rc::clone(&seen);
            let reduce = move |mut left: Vec<usize>, right: Vec<usize>| {
                reduced.borrow_mut().extend(&right);
                left.extend(right);
                left
            };
            let work = map_reduce(stream::iter(all), limit, map, reduce);
            let done = timeout(patience.map_or(Duration::MAX, ms), work).await;
            yield_now().await;
            assert_eq!(live.get(), 0);
            if let Ok(total) = done {
                let mut total = total.unwrap_or_default();
                total.sort_unstable();
                assert_eq!(total, (0..count).collect::<Vec<_>>());
                assert_eq!(seen.borrow().len(), count.saturating_sub(1));
            }
        });
    }
}
