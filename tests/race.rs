//! `race`, `race_all`, `join`, `join_all`, and `timeout`, which is a race against the clock: a future
//! that loses has used nothing up.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, ready};
use std::io::Write;
use std::net::{TcpListener as StdListener, TcpStream as StdStream};
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use proptest::prelude::*;
use support::{
    OnDrop, Trace, assert_empty, builder, give_way, panic_of, poll_idly, poll_once, run_clean,
    scheduler,
};
use trapline::net::TcpStream;
use trapline::{
    Elapsed, RunError, Scheduler, TaskId, TaskState, WaitQueue, join, join_all, race, race_all,
    timeout,
};

const SECOND: Duration = Duration::from_secs(1);

fn leaked(tokens: usize) -> &'static WaitQueue {
    Box::leak(Box::new(WaitQueue::new(tokens)))
}

/// Is ready at its `polls`-th poll, and says each time that it was polled, and that it was dropped.
fn ready_at(polls: u32, name: char, trace: &Trace) -> impl Future<Output = char> + use<> {
    let (mut left, trace, end) = (polls, trace.clone(), trace.clone());
    let guard = OnDrop(move || end.say(name.to_ascii_uppercase()));
    std::future::poll_fn(move |cx| {
        let _guard = &guard;
        trace.say(name);
        left = left.checked_sub(1).expect("it is not polled after it was ready");
        if left == 0 {
            return Poll::Ready(name);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

// Who wins, and in which order all are polled. A capital letter is a drop.

#[trapline::test]
async fn race_then_the_first_to_finish_and_both_are_dropped_before() {
    let trace = Trace::default();
    // Kept, so that nothing is dropped but by itself.
    let mut racing = Box::pin(race(ready_at(3, 'a', &trace), ready_at(2, 'b', &trace)));
    let won = racing.as_mut().await;
    assert_eq!((won, trace.take().concat()), ('b', "ababAB".to_owned()));
    drop(racing);
    assert_eq!(trace.take().len(), 0);
}

#[trapline::test]
async fn race_of_equals_then_the_first_and_the_second_is_not_even_polled() {
    let trace = Trace::default();
    let won = race(ready_at(1, 'a', &trace), ready_at(1, 'b', &trace)).await;
    assert_eq!((won, trace.take().concat()), ('a', "aAB".to_owned()));
}

#[trapline::test]
async fn race_all_then_the_first_to_finish_and_all_are_dropped_in_order_before() {
    let trace = Trace::default();
    let runners = "abcd".chars().zip([9, 3, 2, 2]);
    let mut racing = race_all(runners.map(|(name, polls)| ready_at(polls, name, &trace)));
    let won = (&mut racing).await;
    assert_eq!((won, trace.take().concat()), ('c', "abcdabcABCD".to_owned()));
    drop(racing);
    assert_eq!(trace.take().len(), 0);
}

#[trapline::test]
async fn join_then_each_is_polled_in_order_until_it_is_done() {
    let trace = Trace::default();
    let joined = join(ready_at(2, 'a', &trace), ready_at(3, 'b', &trace)).await;
    assert_eq!((joined, trace.take().concat()), (('a', 'b'), "abaAbbB".to_owned()));
}

#[trapline::test]
async fn join_all_then_results_in_order_and_each_is_polled_until_it_is_done() {
    let trace = Trace::default();
    let futures = [ready_at(2, 'a', &trace), ready_at(1, 'b', &trace), ready_at(3, 'c', &trace)];
    assert_eq!(join_all(futures).await, ['a', 'b', 'c']);
    assert_eq!(trace.take().concat(), "abBcaAccC");
}

#[test]
fn what_is_ready_then_no_suspension_even_outside_a_task() {
    assert_eq!(race(pending(), ready(2)).now_or_never(), Some(2));
    assert_eq!(race_all([ready(1), ready(2)]).now_or_never(), Some(1));
    assert_eq!(join(ready(1), ready("two")).now_or_never(), Some((1, "two")));
    assert_eq!(join_all([ready(1), ready(2)]).now_or_never(), Some(vec![1, 2]));
    let nothing: [std::future::Ready<u8>; 0] = [];
    assert_eq!(join_all(nothing).now_or_never(), Some(vec![]));
}

#[test]
fn race_of_nobody_then_refused_at_the_line_of_the_call() {
    let nobody: [std::future::Ready<u8>; 0] = [];
    let text = panic_of(|| race_all(nobody));
    assert!(text.starts_with("a race needs somebody who runs"), "{text}");
}

#[test]
fn polled_after_its_end_then_a_plain_panic() {
    let mut ended = race(ready(1), ready(2));
    assert!(poll_idly(&mut ended).is_ready());
    assert_eq!(panic_of(|| poll_idly(&mut ended)), "a race was polled again after it was ready");
    let mut ended = race_all([ready(1), ready(2)]);
    assert!(poll_idly(&mut ended).is_ready());
    assert_eq!(panic_of(|| poll_idly(&mut ended)), "a race was polled again after it was ready");
    let mut ended = join(ready(1), ready(2));
    assert!(poll_idly(&mut ended).is_ready());
    assert_eq!(panic_of(|| poll_idly(&mut ended)), "a join was polled again after it was ready");
    let mut ended = join_all([ready(1), ready(2)]);
    assert!(poll_idly(&mut ended).is_ready());
    assert_eq!(panic_of(|| poll_idly(&mut ended)), "a join was polled again after it was ready");
}

#[test]
fn shown_for_debugging_then_how_far_they_are() {
    let mut racing = race(pending(), ready(1));
    assert_eq!(format!("{racing:?}"), "Race { over: false, .. }");
    assert!(poll_idly(&mut racing).is_ready());
    assert_eq!(format!("{racing:?}"), "Race { over: true, .. }");
    assert_eq!(format!("{:?}", race_all([async {}])), "RaceAll { runners: 1 }");
    let mut joining = join(pending::<()>(), ready(1));
    assert!(poll_idly(&mut joining).is_pending());
    assert_eq!(format!("{joining:?}"), "Join { first: Pending, second: Done }");
    assert_eq!(format!("{:?}", join_all([async {}])), "JoinAll { futures: [Pending] }");
}

#[trapline::test]
async fn runner_that_panics_then_the_task_panics_and_the_others_are_dropped() {
    let dropped = Rc::new(Cell::new(0));
    for way in 0..4 {
        dropped.set(0);
        let noted = Rc::clone(&dropped);
        let guarded = async move {
            let _guard = OnDrop(move || noted.set(noted.get() + 1));
            trapline::sleep(SECOND).await;
        };
        let failing = async {
            give_way().await;
            panic!("fell");
        };
        let child = trapline::spawn(async move {
            let pair: [LocalBoxFuture<'_, ()>; 2] = [guarded.boxed_local(), failing.boxed_local()];
            match way {
                0 => {
                    let [guarded, failing] = pair;
                    race(guarded, failing).await;
                }
                1 => race_all(pair).await,
                2 => {
                    let [guarded, failing] = pair;
                    join(guarded, failing).await;
                }
                _ => drop(join_all(pair).await),
            }
        });
        assert!(child.await.await.unwrap_err().to_string().contains("fell"));
        assert_eq!(dropped.get(), 1);
    }
}

// The kernel knows the calls as its own.

/// Runs `combine` as a task, which comes to a deadlock with calls in flight at these lines.
#[track_caller]
fn assert_shown(combine: impl Future + 'static, lines: &[u32]) {
    let here = Location::caller();
    let mut scheduler = scheduler();
    let task = scheduler.spawn(combine.map(drop));
    let error = scheduler.run().unwrap_err();
    assert!(matches!(error, RunError::Deadlock(_)), "at {here}: {error}");
    let snapshot = scheduler.snapshot();
    let TaskState::Blocked(calls) = &snapshot.task(task.id()).unwrap().state else {
        panic!("at {here}: {snapshot}");
    };
    let found: Vec<_> = calls.iter().map(|call| (call.site.file(), call.site.line())).collect();
    let expected: Vec<_> = lines.iter().map(|line| (file!(), *line)).collect();
    assert_eq!(found, expected, "at {here}: {snapshot}");
}

#[test]
fn nobody_can_ever_win_then_a_deadlock_at_once_that_shows_the_lines_of_the_program() {
    let queue = leaked(0);
    let line = line!();
    assert_shown(race(queue.park(), queue.park()), &[line + 1, line + 1]);
    assert_shown(race_all([queue.park(), queue.park()]), &[line + 2, line + 2]);
    assert_shown(join(queue.park(), queue.park()), &[line + 3, line + 3]);
    assert_shown(join_all([queue.park(), queue.park()]), &[line + 4, line + 4]);
}

#[test]
fn handles_under_a_combinator_then_the_line_of_the_await() {
    let start = || trapline::spawn(pending::<()>());
    let line = line!();
    let racing = async move { race(start().await, start().await).await };
    assert_shown(racing, &[line + 1, line + 1]);
    let racing = async move { race_all([start().await, start().await]).await };
    assert_shown(racing, &[line + 3, line + 3]);
    let joining = async move { join(start().await, start().await).await };
    assert_shown(joining, &[line + 5, line + 5]);
    let joining = async move { join_all([start().await, start().await]).await };
    assert_shown(joining, &[line + 7, line + 7]);
}

#[test]
fn handle_under_a_timeout_then_the_line_of_the_await() {
    let mut scheduler = scheduler();
    let line = line!();
    let task = scheduler.spawn(async {
        let child = trapline::spawn(pending::<()>()).daemon().await;
        assert!(timeout(SECOND, child).await.is_err());
    });
    // It spawns; the child begins; it waits.
    for _ in 0..3 {
        assert!(scheduler.step().task().is_some());
    }
    let snapshot = scheduler.snapshot();
    let TaskState::Blocked(calls) = &snapshot.task(task.id()).unwrap().state else {
        panic!("{snapshot}");
    };
    let lines: Vec<_> = calls.iter().map(|call| call.site.line()).collect();
    assert_eq!(lines, [line + 3, line + 3], "{snapshot}");
    drop(task);
    let _ = scheduler.run().unwrap();
}

// Nothing is used up by the one that loses.

#[trapline::test]
async fn race_and_both_have_a_token_then_the_loser_gives_its_own_back() {
    let queues = [&WaitQueue::new(1), &WaitQueue::new(1), &WaitQueue::new(1)];
    let tokens = || queues.map(|queue| queue.tokens());
    race(queues[0].park(), queues[1].park()).await;
    assert_eq!(tokens(), [0, 1, 1]);
    race_all(queues.map(WaitQueue::park)).await;
    assert_eq!(tokens(), [0, 0, 1]);
    race(queues[0].park(), queues[2].park()).await;
    assert_eq!(tokens(), [0, 0, 0]);
    assert!(queues.iter().all(|queue| queue.waiting() == 0));
}

#[test]
fn both_granted_and_somebody_behind_the_loser_then_that_one_goes_on() {
    for all in [false, true] {
        let mut scheduler = scheduler();
        let (left, right) = (leaked(0), leaked(0));
        let trace = Trace::default();
        let (first, second) = (trace.clone(), trace.clone());
        scheduler
            .spawn(async move {
                let left = left.park().map(|()| "left");
                let right = right.park().map(|()| "right");
                let won = if all {
                    race_all([left.left_future(), right.right_future()]).await
                } else {
                    race(left, right).await
                };
                first.say(won);
            })
            .detach();
        scheduler
            .spawn(async move {
                right.park().await;
                second.say("behind");
            })
            .detach();
        while scheduler.step().task().is_some() && right.waiting() < 2 {}
        right.wake();
        left.wake();
        run_clean(&mut scheduler);
        assert_eq!(trace.take(), ["left", "behind"]);
        assert_eq!((left.tokens(), right.tokens()), (0, 0));
    }
}

#[trapline::test]
async fn wake_up_and_the_deadline_in_one_batch_then_the_value_if_it_was_there_first() {
    let queue = &WaitQueue::new(0);
    // The one who wakes runs before the one whose time is up: the token is there.
    let waking = async {
        trapline::sleep(SECOND).await;
        queue.wake();
    };
    assert_eq!(trapline::join!(waking, timeout(SECOND, queue.park())).1, Ok(()));
    // And after: it has lost its place, and the token stays.
    let waking = async {
        trapline::sleep(SECOND).await;
        queue.wake();
    };
    assert_eq!(trapline::join!(timeout(SECOND, queue.park()), waking).0, Err(Elapsed));
    assert_eq!((queue.tokens(), queue.waiting()), (1, 0));
}

#[test]
fn task_woken_after_its_deadline_was_answered_and_before_it_runs_then_the_value() {
    let mut scheduler = scheduler();
    let queue = leaked(0);
    // Both timers come due in one look at the outside. The waiter's was armed second, so it runs
    // second: its time is up, and it has been given a token.
    let waking = async move {
        trapline::sleep(SECOND).await;
        queue.wake();
    };
    scheduler.spawn(waking).detach();
    let waiter = scheduler.spawn(async move { timeout(SECOND, queue.park()).await });
    assert_eq!(scheduler.block_on(waiter).unwrap().unwrap(), Ok(()));
    assert_eq!((queue.tokens(), queue.waiting()), (0, 0));
    assert_empty(&scheduler);
}

#[trapline::test]
async fn timeout_of_a_race_and_a_race_of_timeouts_then_no_token_is_lost() {
    let (left, right) = (&WaitQueue::new(0), &WaitQueue::new(0));
    assert_eq!(timeout(SECOND, race(left.park(), right.park())).await, Err(Elapsed));
    assert_eq!((left.waiting(), right.waiting()), (0, 0));
    let racing = race(timeout(SECOND * 2, left.park()), timeout(SECOND, right.park()));
    assert_eq!(racing.await, Err(Elapsed));
    right.wake();
    let racing = race(timeout(SECOND * 2, left.park()), timeout(SECOND, right.park()));
    assert_eq!(racing.await, Ok(()));
    assert_eq!((left.tokens(), right.tokens()), (0, 0));
    assert_eq!((left.waiting(), right.waiting()), (0, 0));
}

/// A stream of ours, and its peer's end.
fn stream_pair() -> (TcpStream, StdStream) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let theirs = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    (TcpStream::from_std(listener.accept().unwrap().0).unwrap(), theirs)
}

async fn read(stream: &TcpStream) -> String {
    let mut buf = [0; 8];
    let count = stream.read(&mut buf).await.unwrap();
    String::from_utf8(buf[..count].to_vec()).unwrap()
}

#[trapline::test(clock = "real")]
async fn reads_raced_then_the_loser_has_taken_no_bytes() {
    let ((left, mut to_left), (right, mut to_right)) = (stream_pair(), stream_pair());
    for turn in 0..8 {
        let sending = async {
            // Blocked first, on some of the turns.
            for _ in 0..turn % 4 {
                trapline::yield_now().await;
            }
            to_right.write_all(b"right").unwrap();
            to_left.write_all(b"left").unwrap();
        };
        let receiving = async {
            match turn / 4 {
                0 => race(read(&left), read(&right)).await,
                _ => trapline::select! {
                    word = read(&left) => word,
                    word = read(&right) => word,
                },
            }
        };
        let ((), won) = join(sending, receiving).await;
        let other = if won == "left" { &right } else { &left };
        let other = timeout(SECOND * 60, read(other)).await.unwrap();
        assert!([won.as_str(), &other].contains(&"left"), "{won} {other}");
        assert!([won.as_str(), &other].contains(&"right"), "{won} {other}");
    }
}

// Given up at every moment.

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Race,
    RaceAll,
    Join,
    JoinAll,
    Timeout,
}

const WAYS: [Way; 5] = [Way::Race, Way::RaceAll, Way::Join, Way::JoinAll, Way::Timeout];

/// Waits for tokens of the two queues; counts what it takes.
fn waiting(
    way: Way,
    queues: [&'static WaitQueue; 2],
    taken: &Rc<Cell<usize>>,
) -> Pin<Box<dyn Future<Output = ()>>> {
    let take = |queue: &'static WaitQueue| {
        let taken = Rc::clone(taken);
        async move {
            queue.park().await;
            taken.set(taken.get() + 1);
        }
    };
    let [left, right] = queues.map(take);
    match way {
        Way::Race => Box::pin(race(left, right)),
        Way::RaceAll => Box::pin(race_all([left, right])),
        Way::Join => Box::pin(join(left, right).map(drop)),
        Way::JoinAll => Box::pin(join_all([left, right]).map(drop)),
        Way::Timeout => Box::pin(timeout(SECOND, race(left, right)).map(drop)),
    }
}

/// Begins to wait, with so many polls; has somebody wait behind, or nobody; wakes these queues; resumes
/// the waiting once more, or does not; then drops it, or kills its task. Counts the tokens.
fn try_out(way: Way, polls: usize, wake: [bool; 2], resumed: bool, killed: bool, behind: bool) {
    let case = format!(
        "{way:?} polls {polls} wake {wake:?} resumed {resumed} killed {killed} behind {behind}"
    );
    let mut scheduler = scheduler();
    let queues = [leaked(0), leaked(0)];
    let taken = Rc::new(Cell::new(0));
    let future = RefCell::new(Some(waiting(way, queues, &taken)));
    let task = if killed {
        let future = future.take().unwrap();
        let task = scheduler.spawn(async move {
            if polls > 0 {
                future.await;
            } else {
                pending::<()>().await;
            }
        });
        Some(task.id())
    } else {
        let mut inside = future.take().unwrap();
        let begin = async {
            for _ in 0..polls {
                assert!(poll_once(&mut inside).await.is_pending());
                trapline::yield_now().await;
            }
        };
        scheduler.block_on(begin).unwrap();
        future.replace(Some(inside));
        None
    };
    if killed {
        for _ in 0..polls {
            scheduler.step();
        }
    }
    let daemon = || trapline::TaskOptions::new().daemon();
    for queue in queues {
        if behind {
            let count = Rc::clone(&taken);
            let work = async move {
                queue.park().await;
                count.set(count.get() + 1);
            };
            scheduler.spawn_with(daemon(), work).detach();
        }
    }
    scheduler
        .block_on(async {
            for _ in 0..4 {
                trapline::yield_now().await
            }
        })
        .unwrap();
    for (queue, wake) in queues.into_iter().zip(wake) {
        if wake {
            queue.wake();
        }
    }
    scheduler.check_invariants();
    if resumed {
        scheduler
            .block_on(async {
                let mut inside = future.take();
                if let Some(inside) = &mut inside {
                    let _ = poll_once(inside).await;
                }
                trapline::yield_now().await;
            })
            .unwrap();
    }
    drop(future);
    scheduler
        .block_on(async {
            if let Some(task) = task {
                let _ = trapline::kill(task).await;
            }
            trapline::sleep(SECOND).await;
        })
        .unwrap();
    scheduler.check_invariants();
    let kept: usize = queues.iter().map(|queue| queue.tokens()).sum();
    let woken = wake.into_iter().filter(|wake| *wake).count();
    assert_eq!(kept + taken.get(), woken, "{case}");
    if behind && !resumed {
        assert_eq!(kept, 0, "{case}");
    }
    drop(scheduler);
    assert!(queues.iter().all(|queue| queue.waiting() == 0), "{case}");
}

#[test]
fn given_up_at_every_moment_then_no_token_is_lost_or_doubled() {
    for way in WAYS {
        for polls in 0..3 {
            for bits in 0..32_u32 {
                let bit = |place: u32| bits >> place & 1 == 1;
                try_out(way, polls, [bit(0), bit(1)], bit(2), bit(3), bit(4));
            }
        }
    }
}

// Under other combinators, and several in one task.

#[trapline::test]
async fn under_futures_unordered_then_all_end_and_all_tokens_are_taken() {
    let queues = [leaked(0), leaked(0)];
    let taken = Rc::new(Cell::new(0));
    let mut all: FuturesUnordered<_> =
        WAYS.into_iter().map(|way| waiting(way, queues, &taken)).collect();
    let waking = async {
        for _ in 0..7 {
            trapline::yield_now().await;
            queues.iter().for_each(|queue| queue.wake());
        }
    };
    let ended = async { while all.next().await.is_some() {} };
    join(ended, waking).await;
    let kept = queues[0].tokens() + queues[1].tokens();
    assert_eq!(kept + taken.get(), 14);
    assert_eq!(taken.get(), 7, "one for each race, two for each join");
    assert_eq!(queues[0].waiting() + queues[1].waiting(), 0);
}

#[trapline::test]
async fn a_hundred_sleeps_joined_then_the_time_of_the_longest() {
    let sleeps = (0..100_u32).map(|n| trapline::sleep(SECOND * (n % 7)));
    let ends: Vec<_> = join_all(sleeps).await;
    assert_eq!(ends.len(), 100);
    assert_eq!(ends.iter().max().unwrap().as_nanos(), 6_000_000_000);
    let first = race_all((1..100_u32).rev().map(|n| trapline::sleep(SECOND * n))).await;
    assert_eq!(first.as_nanos(), 7_000_000_000);
}

// At random.

#[derive(Clone, Copy, Debug)]
enum Op {
    Start(Way),
    Wake(usize),
    Kill(usize),
    Steps(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => prop::sample::select(WAYS.to_vec()).prop_map(Op::Start),
        4 => (0..2_usize).prop_map(Op::Wake),
        2 => (0..6_usize).prop_map(Op::Kill),
        4 => (1..6_usize).prop_map(Op::Steps),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn random_programs_then_every_token_is_taken_once_or_kept(
        quantum in 1..4_u32,
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let mut scheduler = builder().quantum(quantum).build();
        let queues = [leaked(0), leaked(0)];
        let taken = Rc::new(Cell::new(0));
        let (mut tasks, mut woken) = (Vec::new(), 0);
        for op in ops {
            match op {
                Op::Start(way) => tasks.push(start(&mut scheduler, way, queues, &taken)),
                Op::Wake(queue) => {
                    queues[queue].wake();
                    woken += 1;
                }
                Op::Kill(task) if task < tasks.len() => kill(&mut scheduler, tasks.remove(task)),
                Op::Kill(_) => {}
                Op::Steps(count) => for _ in 0..count {
                    scheduler.step();
                },
            }
            scheduler.check_invariants();
        }
        for id in tasks {
            kill(&mut scheduler, id);
        }
        run_clean(&mut scheduler);
        prop_assert_eq!(queues[0].waiting() + queues[1].waiting(), 0);
        prop_assert_eq!(queues[0].tokens() + queues[1].tokens() + taken.get(), woken);
    }
}

fn start(
    scheduler: &mut Scheduler,
    way: Way,
    queues: [&'static WaitQueue; 2],
    taken: &Rc<Cell<usize>>,
) -> TaskId {
    let taken = Rc::clone(taken);
    let task = scheduler.spawn(async move {
        loop {
            waiting(way, queues, &taken).await;
        }
    });
    let id = task.id();
    task.detach();
    id
}

fn kill(scheduler: &mut Scheduler, id: TaskId) {
    scheduler.spawn(async move { trapline::kill(id).await }).detach();
}
