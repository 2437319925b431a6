//! `main`, `test`, `join!` and `try_join!`, and the free functions that they are built on.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::{Cell, RefCell};
use std::env;
use std::future::{pending, ready};
use std::process::{Command, Output};
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use support::{
    OnDrop, Trace, assert_empty, builder, give_way, panic_of, poll_once, run_clean, scheduler,
    step_while_ready,
};
use trapline::{RunError, TaskOptions, TaskState, WaitQueue};

const SECOND: Duration = Duration::from_secs(1);

// The free functions.

#[test]
fn block_on_then_the_value_and_the_tasks_left_behind_are_dropped() {
    let dropped = Rc::new(Cell::new(false));
    let noted = Rc::clone(&dropped);
    let value = trapline::block_on(async move {
        let guard = OnDrop(move || noted.set(true));
        let sleeper = async move {
            let _guard = guard;
            pending::<()>().await;
        };
        trapline::spawn(sleeper).await.detach();
        trapline::yield_now().await;
        7
    });
    assert_eq!(value.unwrap(), 7);
    assert!(dropped.get());
}

#[test]
fn block_on_of_what_nobody_can_wake_then_a_deadlock() {
    let ended = trapline::block_on(pending::<()>());
    assert!(matches!(ended, Err(RunError::Deadlock(_))), "{ended:?}");
}

#[test]
fn block_on_a_future_that_panics_then_its_panic() {
    assert_eq!(panic_of(|| trapline::block_on(async { panic!("out") })), "out");
}

#[test]
fn run_then_until_the_last_task_has_ended_and_its_failures_are_told() {
    let trace = Trace::default();
    let lines = trace.clone();
    let report = trapline::run(async move {
        let late = lines.clone();
        trapline::spawn_detached(async move {
            trapline::yield_now().await;
            late.say("late");
        });
        trapline::spawn_detached(async { panic!("unseen") });
        trapline::spawn(pending::<()>()).daemon().detach();
        lines.say("over");
    });
    let report = report.unwrap();
    assert_eq!(trace.take(), ["over", "late"]);
    assert_eq!((report.failures, &*report.first_failures[0].text), (1, "unseen"));
}

#[test]
fn run_or_block_on_inside_a_task_then_refused_and_the_task_goes_on() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let refused = trapline::block_on(trapline::sleep(SECOND));
            assert!(matches!(refused, Err(RunError::InsideTask)), "{refused:?}");
            let refused = trapline::run(async {});
            assert!(matches!(refused, Err(RunError::InsideTask)), "{refused:?}");
            trapline::sleep(SECOND).await;
        })
        .unwrap();
    run_clean(&mut scheduler);
}

// `main`

#[trapline::main]
async fn gives_a_value() -> Result<u32, std::num::ParseIntError> {
    let text = trapline::spawn(async { "42" }).await.await.unwrap();
    text.parse()
}

#[trapline::main(seed = 7, clock = "virtual", quantum = 1, batch = 2, stall_seconds = 1)]
async fn draws() -> [u64; 3] {
    trapline::sleep(SECOND * 1_000_000).await;
    [trapline::random(), trapline::random(), trapline::random()]
}

#[test]
fn main_with_a_return_type_then_what_the_function_gives() {
    assert_eq!(gives_a_value(), Ok(42));
}

#[test]
fn main_with_options_then_they_are_the_builders() {
    let mut scheduler = builder().seed(7).build();
    let expected = async { [trapline::random(), trapline::random(), trapline::random()] };
    assert_eq!(draws(), scheduler.block_on(expected).unwrap());
}

mod programs {
    use super::{OnDrop, pending};

    #[trapline::main]
    pub async fn deadlock() {
        let _guard = OnDrop(|| println!("dropped main"));
        let guard = OnDrop(|| println!("dropped child"));
        let child = trapline::spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        let child = child.name("sleeper").await;
        let _ = child.await;
        println!("not reached");
    }

    #[trapline::main]
    pub async fn unseen() {
        trapline::spawn_detached(async { panic!("nobody looks") });
        trapline::yield_now().await;
        println!("the end");
    }

    #[trapline::main]
    pub async fn panics() {
        trapline::spawn_detached(async { panic!("nobody looks") });
        trapline::yield_now().await;
        panic!("main itself");
    }

    #[trapline::main]
    pub async fn fails() -> Result<(), String> {
        Err("an error".to_owned())
    }

    #[trapline::test]
    async fn inside_a_task_then_a_panic_of_that_task() {
        let child = trapline::spawn(async { unseen() }).await;
        let error = child.await.unwrap_err();
        assert!(error.to_string().contains("inside a task"), "{error}");
    }
}

/// Says which program the process below is to be.
const PROGRAM: &str = "TRAPLINE_TEST_PROGRAM";

/// Not a test: the process that the tests below start.
#[test]
fn program() {
    match env::var(PROGRAM).as_deref() {
        Ok("deadlock") => programs::deadlock(),
        Ok("unseen") => programs::unseen(),
        Ok("panics") => programs::panics(),
        Ok("fails") => programs::fails().unwrap(),
        _ => {}
    }
}

/// Runs a test of this program as a process of its own, as the program named.
fn process(test: &str, program: &str, seed: Option<&str>) -> (Output, String, String) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--include-ignored"]).env(PROGRAM, program);
    match seed {
        Some(seed) => command.env("TRAPLINE_SEED", seed),
        None => command.env_remove("TRAPLINE_SEED"),
    };
    let output = command.output().unwrap();
    let out = String::from_utf8(output.stdout.clone()).unwrap();
    let err = String::from_utf8(output.stderr.clone()).unwrap();
    (output, out, err)
}

#[test]
fn main_deadlocked_then_told_on_stderr_and_status_1_after_the_destructors() {
    let (output, out, err) = process("program", "deadlock", None);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("trapline: deadlock: 2 blocked"), "{err}");
    assert!(err.contains("`sleeper` waits for somebody's waker"), "{err}");
    assert!(out.contains("dropped main") && out.contains("dropped child"), "{out}");
    assert!(!out.contains("not reached"), "{out}");
}

#[test]
fn main_with_a_panic_that_nobody_looked_at_then_told_on_stderr_at_the_end() {
    let (output, out, err) = process("program", "unseen", None);
    assert!(output.status.success(), "{err}");
    assert!(out.contains("the end"), "{out}");
    assert!(err.contains("trapline: nobody looked at 1 failure\n  task 2: nobody looks"), "{err}");
}

#[test]
fn main_that_panics_then_its_panic_and_what_nobody_looked_at() {
    let (output, _, err) = process("program", "panics", None);
    assert_eq!(output.status.code(), Some(101), "{err}");
    assert!(err.contains("main itself"), "{err}");
    assert!(err.contains("task 2: nobody looks"), "{err}");
}

#[test]
fn main_that_returns_an_error_then_the_error() {
    let (output, _, err) = process("program", "fails", None);
    assert_eq!(output.status.code(), Some(101), "{err}");
    assert!(err.contains("an error"), "{err}");
}

// `test`

#[trapline::test]
async fn test_then_the_clock_is_virtual() {
    let start = trapline::now().await;
    assert_eq!(start.as_nanos(), 0);
    trapline::sleep(SECOND * 1_000_000).await;
    assert_eq!(trapline::now().await - start, SECOND * 1_000_000);
}

#[trapline::test(clock = "real")]
async fn test_with_the_real_clock_then_time_passes_by_itself() {
    let start = trapline::now().await;
    while trapline::now().await == start {}
}

#[trapline::test]
async fn test_that_returns_a_result_then_ok_passes() -> Result<(), std::num::ParseIntError> {
    let number: u8 = "7".parse()?;
    assert_eq!(number, 7);
    Ok(())
}

#[trapline::test]
async fn test_that_returns_an_exit_code_then_success_passes() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}

#[trapline::test]
async fn test_that_returns_nothing_in_words_then_it_passes() -> () {}

#[trapline::test]
#[should_panic(expected = "as it should")]
async fn test_that_should_panic_then_its_panic_is_the_tests() {
    panic!("as it should");
}

#[trapline::test]
#[ignore = "to see that it is ignored"]
async fn test_that_is_ignored_then_not_run() {
    panic!("it was run, as `--include-ignored` says");
}

#[trapline::test]
#[should_panic(
    expected = "deadlock: 2 blocked\n  task 1 waits for join(task 2) at tests/macros.rs"
)]
async fn test_that_deadlocks_then_the_report() {
    let _ = trapline::spawn(pending::<()>()).await.await;
}

#[trapline::test]
#[should_panic(expected = "nobody looked at 1 failure\n  task 2: boom")]
async fn test_that_leaves_a_panic_unseen_then_its_text() {
    trapline::spawn_detached(async { panic!("boom") });
    trapline::yield_now().await;
}

#[trapline::test]
#[should_panic(expected = "nobody looked at 1 failure\n  task 2: boom")]
async fn test_that_drops_the_handle_of_a_panic_at_its_end_then_its_text() {
    let _handle = trapline::spawn(async { panic!("boom") }).await;
    trapline::yield_now().await;
}

#[trapline::test]
async fn test_that_joins_a_panic_then_it_was_looked_at() {
    assert!(trapline::spawn(async { panic!("boom") }).await.await.unwrap_err().is_panic());
}

#[trapline::test]
#[should_panic(
    expected = "the test is over, and left behind\n  task 2 `late`, spawned at tests/macros.rs"
)]
async fn test_that_leaves_a_task_then_its_name_and_line() {
    trapline::spawn(trapline::sleep(SECOND)).name("late").await.detach();
}

#[trapline::test]
#[should_panic(expected = "which waits for sleep(1s) at tests/macros.rs")]
async fn test_that_leaves_a_blocked_task_then_what_it_waits_for() {
    trapline::spawn_detached(trapline::sleep(SECOND));
    trapline::yield_now().await;
}

#[trapline::test]
#[should_panic(expected = "task 2: boom\nthe test is over, and left behind\n  task 3,")]
async fn test_that_leaves_a_panic_and_a_task_then_both_are_told() {
    trapline::spawn_detached(async { panic!("boom") });
    trapline::spawn_detached(pending::<()>());
    trapline::yield_now().await;
}

#[trapline::test]
async fn test_that_leaves_a_daemon_or_the_handle_of_an_ended_task_then_it_passes() {
    trapline::spawn(pending::<()>()).daemon().await.detach();
    let _handle = trapline::spawn(async {}).await;
    trapline::yield_now().await;
}

#[trapline::test]
async fn test_that_kills_its_task_by_a_post_at_the_end_then_it_passes() {
    let child = trapline::spawn(pending::<()>()).await;
    trapline::post_kill(child.id());
}

#[trapline::test(stall_seconds = 1)]
#[should_panic(expected = "stalled: 1 blocked")]
async fn test_whose_waker_is_held_and_never_called_then_stalled() {
    let (sender, receiver) = futures::channel::oneshot::channel::<()>();
    let _ = receiver.await;
    drop(sender);
}

#[test]
fn test_that_fails_then_its_seed_is_printed() {
    for (test, seed) in [("leaves_a_task_with_seed_7", 7), ("returns_an_error_with_seed_8", 8)] {
        let (output, _, err) = process(test, "failing tests", None);
        assert!(!output.status.success(), "{err}");
        let hint = format!("the seed was {seed}; repeat it with TRAPLINE_SEED={seed}");
        assert!(err.contains(&hint), "{err}");
    }
    let (_, _, err) = process("returns_an_error_with_seed_8", "failing tests", Some("99"));
    assert!(err.contains("the seed was 99"), "{err}");
    assert!(err.contains("an error"), "{err}");
}

#[test]
fn test_with_a_seed_in_the_environment_then_that_one() {
    let drawn = |seed| {
        let (output, out, err) = process("prints_a_number", "draws", seed);
        assert!(output.status.success(), "{err}");
        out.lines().find(|line| line.contains("drawn")).unwrap().to_owned()
    };
    assert_eq!(drawn(None), drawn(Some("5")), "its own seed is 5");
    assert_ne!(drawn(None), drawn(Some("6")));
    let (output, _, err) = process("prints_a_number", "draws", Some("six"));
    assert!(!output.status.success());
    assert!(err.contains("TRAPLINE_SEED is \"six\"; it should be a whole number"), "{err}");
}

/// Whether the test is run by the one above.
fn called_by_its_test() -> bool {
    env::var_os(PROGRAM).is_some()
}

#[trapline::test(seed = 7)]
async fn leaves_a_task_with_seed_7() {
    if called_by_its_test() {
        trapline::spawn_detached(pending::<()>());
    }
}

#[trapline::test(seed = 8)]
async fn returns_an_error_with_seed_8() -> Result<(), &'static str> {
    if called_by_its_test() { Err("an error") } else { Ok(()) }
}

#[trapline::test(seed = 5)]
async fn prints_a_number() {
    println!("\ndrawn {}", trapline::random());
}

// `join!` and `try_join!`

/// Is ready at its `polls`-th poll, and says each time that it was polled. It is never to be polled
/// again then.
fn ready_at(polls: u32, name: char, trace: &Trace) -> impl Future<Output = char> {
    let (mut left, trace) = (polls, trace.clone());
    std::future::poll_fn(move |cx| {
        trace.say(name);
        left = left.checked_sub(1).expect("it is not polled after it was ready");
        if left == 0 {
            return std::task::Poll::Ready(name);
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
}

#[trapline::test]
async fn join_then_each_is_polled_in_order_until_it_is_done() {
    let trace = Trace::default();
    let joined = trapline::join!(
        ready_at(2, 'a', &trace),
        ready_at(1, 'b', &trace),
        ready_at(3, 'c', &trace),
    );
    assert_eq!(joined, ('a', 'b', 'c'));
    assert_eq!(trace.take().concat(), "abcacc");
}

#[trapline::test]
async fn try_join_then_each_is_polled_in_order_until_it_is_done() {
    let trace = Trace::default();
    let joined: Result<_, ()> = trapline::try_join!(
        ready_at(2, 'a', &trace).map(Ok),
        ready_at(1, 'b', &trace).map(Ok),
        ready_at(3, 'c', &trace).map(Ok),
    );
    assert_eq!(joined, Ok(('a', 'b', 'c')));
    assert_eq!(trace.take().concat(), "abcacc");
}

#[test]
fn join_of_what_is_ready_then_it_does_not_suspend_even_outside_a_task() {
    let one = async { trapline::join!(ready(1)) };
    assert_eq!(one.now_or_never(), Some((1,)));
    let two = async { trapline::join!(ready(1), async { "two" }) };
    assert_eq!(two.now_or_never(), Some((1, "two")));
    let two = async { trapline::try_join!(ready(Ok::<_, ()>(1)), async { Ok("two") }) };
    assert_eq!(two.now_or_never(), Some(Ok((1, "two"))));
}

#[trapline::test]
async fn join_of_more_than_twelve_then_a_tuple_of_them_all() {
    let all = trapline::join!(
        ready(0),
        ready(1),
        ready(2),
        ready(3),
        ready(4),
        ready(5),
        ready(6),
        ready(7),
        ready(8),
        ready(9),
        ready(10),
        ready(11),
        ready(12),
        ready(13),
    );
    assert_eq!((all.0, all.12, all.13), (0, 12, 13));
}

#[trapline::test]
async fn join_of_futures_that_borrow_temporaries_then_these_live_long_enough() {
    async fn length(text: &str) -> usize {
        trapline::yield_now().await;
        text.len()
    }
    let lengths = trapline::join!(length(&"a".repeat(3)), length(&"b".repeat(5)));
    assert_eq!(lengths, (3, 5));
    let lengths = trapline::try_join!(length(&"a".repeat(3)).map(Ok::<_, ()>));
    assert_eq!(lengths, Ok((3,)));
}

#[trapline::test]
async fn join_whose_arguments_await_and_fail_then_it_is_the_tasks_affair() {
    async fn parse(text: &str) -> Result<u8, std::num::ParseIntError> {
        let number = text.parse::<u8>()?;
        let (sum, _) = trapline::join!(ready(number + text.parse::<u8>()?), ready(()));
        Ok(sum)
    }
    assert_eq!(parse("7").await, Ok(14));
    assert!(parse("seven").await.is_err());
    let (outer, _) = trapline::join!(ready(trapline::join!(ready(1)).0), ready(()));
    assert_eq!(outer, 1);
}

#[trapline::test]
async fn join_then_the_names_of_the_program_are_not_touched() {
    let (all, future_0, outputs, cx) = (1, 2, 3, 4);
    let joined = trapline::join!(async { all + cx }, async { future_0 + outputs });
    assert_eq!(joined, (5, 5));
}

#[trapline::test]
async fn future_that_is_done_in_a_join_then_dropped_at_once() {
    let dropped = Cell::new(false);
    let short = async {
        let _guard = OnDrop(|| dropped.set(true));
    };
    let watching = async {
        trapline::yield_now().await;
        assert!(dropped.get());
    };
    trapline::join!(watching, short);
}

#[trapline::test]
async fn try_join_and_two_errors_then_the_first_in_order_and_the_others_are_dropped_before() {
    let dropped = Cell::new(0);
    let guarded = || async {
        let _guard = OnDrop(|| dropped.set(dropped.get() + 1));
        trapline::sleep(SECOND).await;
        Ok::<(), &str>(())
    };
    let failing = |text| async move {
        give_way().await;
        Err::<(), _>(text)
    };
    let joined = trapline::try_join!(guarded(), failing("first"), failing("second"), guarded());
    assert_eq!(dropped.get(), 2);
    assert_eq!(joined, Err("first"));
    assert_eq!(trapline::now().await.as_nanos(), 0);
}

#[trapline::test]
async fn try_join_with_an_early_error_then_later_futures_are_not_polled() {
    let polled = Cell::new(false);
    let later = async {
        polled.set(true);
        Ok::<(), &str>(())
    };
    let joined = trapline::try_join!(async { Err::<(), _>("early") }, later);
    assert_eq!((joined, polled.get()), (Err("early"), false));
}

#[test]
fn join_of_calls_then_several_are_in_flight_and_the_kernel_knows_them_as_its_own() {
    let mut scheduler = scheduler();
    let queue: &'static WaitQueue = Box::leak(Box::new(WaitQueue::new(0)));
    let line = line!();
    let task = scheduler.spawn(async move {
        let child = trapline::spawn(pending::<()>()).await;
        trapline::join!(
            // Each at its own line, the handle too, which has none but that at which it is polled.
            queue.park(),
            child,
            queue.park(),
        )
    });
    let error = scheduler.run().unwrap_err();
    assert!(matches!(error, RunError::Deadlock(_)), "{error}");
    let snapshot = scheduler.snapshot();
    let TaskState::Blocked(calls) = &snapshot.task(task.id()).unwrap().state else {
        panic!("{snapshot}");
    };
    let lines: Vec<_> = calls.iter().map(|call| call.site.line()).collect();
    assert_eq!(lines, [line + 5, line + 6, line + 7], "{snapshot}");
    let id = task.id();
    scheduler.spawn(async move { trapline::kill(id).await }).detach();
    let _ = scheduler.run().unwrap_err();
    assert_eq!(queue.waiting(), 0);
}

/// The moments at which a future of three waits is given up.
#[test]
fn join_given_up_at_every_moment_then_no_token_is_lost() {
    for way in ["join", "try_join", "function", "all"] {
        for moment in 0..6 {
            for killed in [false, true] {
                let mut scheduler = scheduler();
                let queue: &'static WaitQueue = Box::leak(Box::new(WaitQueue::new(0)));
                let work = async move {
                    let park = || queue.park().map(Ok::<(), ()>);
                    match way {
                        "join" => drop(trapline::join!(park(), park(), park())),
                        "try_join" => drop(trapline::try_join!(park(), park(), park())),
                        "function" => {
                            let _ = trapline::join(trapline::join(park(), park()), park()).await;
                        }
                        _ => drop(trapline::join_all([park(), park(), park()]).await),
                    }
                };
                let mut taken = 0;
                let mut task =
                    Some(scheduler.spawn_with(TaskOptions::new().name(way), async move {
                        let mut work = Box::pin(work);
                        // Dropped by itself, or with the task.
                        loop {
                            if poll_once(&mut work).await.is_ready() {
                                return;
                            }
                            trapline::yield_now().await;
                            if !killed && moment == taken {
                                return;
                            }
                            taken += 1;
                        }
                    }));
                for wake in 0..3 {
                    if killed && wake == moment / 2 {
                        for _ in 0..moment % 2 {
                            scheduler.step();
                        }
                        let id = task.take().unwrap().id();
                        scheduler.spawn(async move { trapline::kill(id).await }).detach();
                    }
                    for _ in 0..2 {
                        scheduler.step();
                        scheduler.check_invariants();
                    }
                    queue.wake();
                }
                drop(task);
                step_while_ready(&mut scheduler);
                run_clean(&mut scheduler);
                assert_eq!(queue.waiting(), 0, "{way} {moment} {killed}");
                assert!(queue.tokens() <= 3, "{way} {moment} {killed}");
            }
        }
    }
}

#[trapline::test]
async fn joins_under_futures_unordered_then_all_end() {
    let queue = &WaitQueue::new(0);
    let ended = &RefCell::new(Vec::new());
    let join = |name: u32| async move {
        trapline::join!(queue.park(), trapline::sleep(SECOND * name), queue.park());
        ended.borrow_mut().push(name);
    };
    let mut joins: FuturesUnordered<_> = [3, 1, 2].into_iter().map(join).collect();
    let waking = async {
        for _ in 0..6 {
            trapline::sleep(SECOND / 4).await;
            queue.wake();
        }
    };
    let all = async { while joins.next().await.is_some() {} };
    trapline::join!(all, waking);
    assert_eq!((queue.tokens(), queue.waiting()), (0, 0));
    assert_eq!(*ended.borrow(), [1, 2, 3]);
}

#[test]
fn join_dropped_half_done_then_nothing_is_left() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let both =
                async { trapline::join!(trapline::sleep(SECOND), trapline::sleep(SECOND * 9)) };
            assert!(trapline::timeout(SECOND * 5, both).await.is_err());
        })
        .unwrap();
    assert_empty(&scheduler);
}
