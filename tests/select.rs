//! `select!`: the first to finish wins, and a branch that loses has used nothing up.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, ready};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use proptest::prelude::*;
use support::{
    OnDrop, Trace, assert_empty, builder, give_way, poll_once, run_clean, scheduler,
    step_while_ready,
};
use trapline::{RunError, Scheduler, TaskState, WaitQueue, select};

const SECOND: Duration = Duration::from_secs(1);

fn leaked(tokens: usize) -> &'static WaitQueue {
    Box::leak(Box::new(WaitQueue::new(tokens)))
}

/// Is ready at its `polls`-th poll, and says each time that it was polled.
fn ready_at(polls: u32, name: char, trace: &Trace) -> impl Future<Output = char> {
    let (mut left, trace) = (polls, trace.clone());
    std::future::poll_fn(move |cx| {
        trace.say(name);
        left = left.checked_sub(1).expect("it is not polled after it was ready");
        if left == 0 {
            return Poll::Ready(name);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

// Who wins.

#[trapline::test]
async fn biased_and_several_ready_then_the_first_as_written_and_no_other_is_polled() {
    let trace = Trace::default();
    let won = select! {
        biased;
        x = ready_at(2, 'a', &trace) => x,
        x = ready_at(1, 'b', &trace) => x,
        x = ready_at(1, 'c', &trace) => x,
    };
    assert_eq!((won, trace.take().concat()), ('b', "ab".to_owned()));
}

#[trapline::test]
async fn biased_then_each_branch_is_polled_once_a_wake_in_order() {
    let trace = Trace::default();
    let won = select! {
        biased;
        x = ready_at(9, 'a', &trace) => x,
        x = ready_at(3, 'b', &trace) => x,
        x = ready_at(4, 'c', &trace) => x,
    };
    assert_eq!((won, trace.take().concat()), ('b', "abcabcab".to_owned()));
}

#[trapline::test]
async fn unbiased_then_one_order_is_kept_and_each_branch_polled_once_a_wake() {
    for _ in 0..20 {
        let trace = Trace::default();
        select! {
            _ = ready_at(3, 'a', &trace) => {}
            _ = ready_at(3, 'b', &trace) => {}
            _ = ready_at(3, 'c', &trace) => {}
        }
        let polled = trace.take().concat();
        let order = &polled[..3];
        assert_eq!(polled, format!("{order}{order}{}", &order[..1]));
    }
}

/// In which order the branches of so many `select!`s are polled, from one seed.
fn orders(seed: u64, count: usize) -> Vec<String> {
    let mut scheduler = builder().seed(seed).build();
    let draw = async {
        let (trace, mut orders) = (Trace::default(), Vec::new());
        for _ in 0..count {
            select! {
                _ = ready_at(2, 'a', &trace) => {}
                _ = ready_at(2, 'b', &trace) => {}
                _ = ready_at(2, 'c', &trace) => {}
            }
            orders.push(trace.take().concat()[..3].to_owned());
        }
        orders
    };
    scheduler.block_on(draw).unwrap()
}

#[test]
fn same_seed_then_the_same_orders_and_another_seed_then_others() {
    assert_eq!(orders(1, 50), orders(1, 50));
    assert_ne!(orders(1, 50), orders(2, 50));
}

#[test]
fn many_orders_drawn_then_each_comes_about_as_often() {
    let drawn = orders(3, 600);
    for order in ["abc", "acb", "bac", "bca", "cab", "cba"] {
        let count = drawn.iter().filter(|drawn| *drawn == order).count();
        assert!((60..=140).contains(&count), "{order}: {count} of 600");
    }
}

#[test]
fn biased_or_a_single_branch_then_no_random_number_is_drawn() {
    let mut scheduler = builder().seed(7).build();
    let after = scheduler.block_on(async {
        select! { biased; _ = pending::<()>() => {} _ = give_way() => {} }
        select! { _ = give_way() => {} }
        trapline::random()
    });
    let first = builder().seed(7).build().block_on(async { trapline::random() });
    assert_eq!(after.unwrap(), first.unwrap());
}

#[test]
fn branch_that_is_ready_at_once_then_it_does_not_suspend_even_outside_a_task() {
    let biased = async {
        select! { biased; _ = pending::<()>() => 1, x = ready(2) => x }
    };
    assert_eq!(biased.now_or_never(), Some(2));
    let drawn = async {
        select! { _ = pending::<()>() => 1, x = ready(2) => x }
    };
    assert_eq!(drawn.now_or_never(), Some(2));
}

#[trapline::test]
async fn arm_then_it_runs_after_every_branch_has_been_dropped() {
    let trace = Trace::default();
    let guarded = |name: char, polls| {
        let (dropped, running) = (trace.clone(), trace.clone());
        async move {
            let _guard = OnDrop(move || dropped.say(name));
            ready_at(polls, '.', &running).await
        }
    };
    select! {
        biased;
        _ = guarded('a', 9) => trace.say("arm a"),
        _ = guarded('b', 2) => trace.say("arm b"),
        _ = guarded('c', 9) => trace.say("arm c"),
    }
    let lines = trace.take();
    let (last, dropped) = lines.split_last().unwrap();
    assert_eq!(last, "arm b");
    for name in ["a", "b", "c"] {
        assert!(dropped.iter().any(|line| line == name), "{name}: {lines:?}");
    }
}

#[trapline::test]
async fn arm_then_it_may_use_what_the_branches_had_borrowed() {
    let mut text = String::from("a");
    let longer = async {
        text.push('b');
        pending::<()>().await;
    };
    select! {
        biased;
        () = longer => unreachable!(),
        () = give_way() => text.push('c'),
    }
    assert_eq!(text, "abc");
}

// What a branch may be.

#[trapline::test]
async fn future_by_mutable_reference_then_it_lives_on_in_a_loop() {
    let mut long = std::pin::pin!(async {
        trapline::sleep(SECOND * 5).await;
        "long"
    });
    let mut ticks = trapline::interval(SECOND * 2);
    let mut ticked = Vec::new();
    let word = loop {
        select! {
            biased;
            word = &mut long => break word,
            tick = ticks.tick() => ticked.push(tick.as_nanos() / 1_000_000_000),
        }
    };
    assert_eq!((word, ticked), ("long", vec![0, 2, 4]));
}

#[trapline::test]
async fn branches_of_different_types_then_each_arm_has_its_own() {
    let child = trapline::spawn(async { 7_u8 }).await;
    let text = select! {
        biased;
        number = child => number.unwrap().to_string(),
        text = async { pending::<&str>().await } => text.to_owned(),
        time = trapline::sleep(SECOND) => format!("{time:?}"),
    };
    assert_eq!(text, "7");
}

#[trapline::test]
async fn future_that_borrows_a_temporary_then_it_lives_long_enough() {
    async fn length(text: &str) -> usize {
        trapline::yield_now().await;
        text.len()
    }
    let won = select! {
        biased;
        x = length(&"a".repeat(3)) => x,
        x = length(&"b".repeat(5)) => x,
    };
    assert_eq!(won, 3);
}

#[trapline::test]
async fn names_of_the_program_then_they_are_not_touched() {
    struct Won;
    let (cx, alive, won, order, branch_0, guard_1, matches, value) = (1, 2, 3, 4, 5, 6, 7, 8);
    let sum = select! {
        biased;
        _ = async { pending::<Won>().await } => 0,
        x = async { cx + alive + won + order }, if cx == 1 => {
            let _: Won = Won;
            x + branch_0 + guard_1 + matches + value
        }
    };
    assert_eq!(sum, 36);
}

#[trapline::test]
async fn many_branches_then_any_of_them_can_win() {
    let sleep = |seconds: u32| trapline::sleep(SECOND * seconds);
    let won = select! {
        _ = sleep(20) => 0, _ = sleep(19) => 1, _ = sleep(18) => 2, _ = sleep(17) => 3,
        _ = sleep(16) => 4, _ = sleep(15) => 5, _ = sleep(14) => 6, _ = sleep(13) => 7,
        _ = sleep(12) => 8, _ = sleep(11) => 9, _ = sleep(10) => 10, _ = sleep(9) => 11,
        _ = sleep(8) => 12, _ = sleep(7) => 13, _ = sleep(1) => 14, _ = sleep(6) => 15,
    };
    assert_eq!(won, 14);
}

/// As in programs: a method of a generic type, with a future of its own in each branch.
struct Pair<'a, A> {
    left: &'a WaitQueue,
    right: A,
}

impl<A: Fn() -> &'static WaitQueue> Pair<'_, A> {
    async fn either(&self) -> Result<&'static str, &'static str> {
        select! {
            biased;
            () = self.left.park() => Ok("left"),
            () = (self.right)().park() => Err("right")?,
        }
    }
}

#[trapline::test]
async fn select_in_a_generic_method_then_it_works() {
    let left = WaitQueue::new(1);
    let right = leaked(1);
    let pair = Pair { left: &left, right: || right };
    assert_eq!(pair.either().await, Ok("left"));
    assert_eq!(pair.either().await, Err("right"));
    assert_eq!((left.tokens(), right.tokens()), (0, 0));
}

// What an arm may do.

#[trapline::test]
async fn arms_that_break_continue_return_fail_and_await_then_as_outside() {
    async fn counted(limit: u32) -> Result<u32, String> {
        let mut count = 0;
        'outer: loop {
            loop {
                count += 1;
                select! {
                    biased;
                    _ = give_way(), if count < 3 => continue,
                    _ = give_way(), if count == 3 => continue 'outer,
                    _ = give_way(), if count == 4 => {
                        trapline::sleep(SECOND).await;
                        break;
                    }
                    _ = give_way(), if count > limit => Err(format!("{count} is too many"))?,
                    _ = give_way(), if count == 7 => return Ok(count),
                    else => break 'outer,
                }
                assert_eq!(count, 7 + 1, "only the arm that fails comes here, and it does not");
            }
        }
        Ok(count + 100)
    }
    assert_eq!(counted(9).await, Ok(105));
    assert_eq!(counted(4).await, Err("5 is too many".to_owned()));
    assert_eq!(trapline::now().await.as_nanos(), 2_000_000_000);
}

#[trapline::test]
async fn arms_that_are_blocks_then_the_comma_may_be_left_out() {
    let mut seen = Vec::new();
    for turn in 0..3 {
        select! {
            () = ready(()), if turn == 0 => { seen.push("block") }
            () = ready(()), if turn == 1 => if seen.len() == 1 { seen.push("if") }
            () = ready(()), if turn == 2 => for _ in 0..1 { seen.push("for") }
        }
    }
    assert_eq!(seen, ["block", "if", "for"]);
}

// Guards.

#[trapline::test]
async fn guards_then_evaluated_once_in_order_before_any_future_is_made() {
    let trace = Trace::default();
    let say = |word: &str, value: bool| {
        trace.say(word);
        value
    };
    let make = |word: &str, polls| {
        trace.say(word);
        ready_at(polls, '.', &trace)
    };
    select! {
        biased;
        _ = make("a", 3), if say("guard a", true) => {}
        _ = make("b", 3), if say("guard b", false) => {}
        _ = make("c", 9) => {}
        _ = make("d", 9), if say("guard d", true) => {}
    }
    let lines = trace.take();
    assert_eq!(lines[..6], ["guard a", "guard b", "guard d", "a", "c", "d"]);
    assert_eq!(lines[6..].concat(), ".......");
}

#[trapline::test]
async fn guard_is_false_then_the_future_is_not_made() {
    let nothing: Option<&WaitQueue> = Option::default();
    let won = select! {
        () = nothing.unwrap().park(), if nothing.is_some() => 1,
        () = give_way() => 2,
    };
    assert_eq!(won, 2);
}

#[trapline::test]
async fn all_guards_false_then_else() {
    let off = false;
    let won = select! {
        () = pending(), if off => 1,
        () = pending(), if off => 2,
        else => 3,
    };
    assert_eq!(won, 3);
}

#[trapline::test]
#[should_panic(expected = "no branch of a `select!` is left to wait for, and it has no `else`")]
async fn all_guards_false_and_no_else_then_a_plain_panic() {
    let off = false;
    select! { () = pending(), if off => {} }
}

// Patterns.

#[trapline::test]
async fn value_that_does_not_match_then_the_others_go_on_and_it_is_not_polled_again() {
    let trace = Trace::default();
    let won = select! {
        biased;
        Some(x) = ready_at(2, 'a', &trace).map(|_| None::<char>) => x,
        'z' = ready_at(1, 'b', &trace) => 'z',
        x @ 'c' = ready_at(3, 'c', &trace) => x,
    };
    assert_eq!((won, trace.take().concat()), ('c', "abcacc".to_owned()));
}

#[trapline::test]
async fn no_value_matches_then_else_after_the_last_of_them() {
    let won = select! {
        Some(x) = ready(None) => x,
        Ok(x) = async { trapline::sleep(SECOND).await; Err::<u8, _>("no") } => x,
        else => 7,
    };
    assert_eq!(won, 7);
    assert_eq!(trapline::now().await.as_nanos(), 1_000_000_000);
}

#[trapline::test]
#[should_panic(expected = "no branch of a `select!` is left to wait for")]
async fn no_value_matches_and_no_else_then_a_plain_panic() {
    select! { Some(()) = ready(None) => {} }
}

const SEVEN: u8 = 7;

#[derive(Clone, Debug)]
struct Point {
    x: String,
    y: Option<u8>,
}

#[trapline::test]
async fn patterns_of_every_form_then_they_bind_as_in_a_match() {
    let point = || Point { x: "x".to_owned(), y: Some(7) };
    // Each branch stands alone: `else` would tell that it did not match.
    macro_rules! taken {
        ($value:expr, $pattern:pat => $arm:expr) => {
            select! { $pattern = ready($value) => Some($arm), else => None }
        };
    }
    assert_eq!(taken!(1, 1 => ()), Some(()));
    assert_eq!(taken!(2, 1 => ()), None);
    assert_eq!(taken!(7, SEVEN => ()), Some(()));
    assert_eq!(taken!(8, SEVEN => ()), None);
    assert_eq!(taken!(5, 1..=4 | 6.. => ()), None);
    assert_eq!(taken!("quit", "quit" => ()), Some(()));
    assert_eq!(taken!(Some("quit"), Some("go") => ()), None);
    assert_eq!(taken!(&3, &x => x), Some(3));
    assert_eq!(taken!(Some(&3), Some(&3) => ()), Some(()));
    assert_eq!(taken!((1, 2), (a, mut b) => { b += a; b }), Some(3));
    assert_eq!(taken!(Some(4), Some(x @ 1..=4) => x), Some(4));
    assert_eq!(taken!(Some(5), Some(x @ 1..=4) => x), None);
    assert_eq!(taken!([1, 2, 3], [first, .., last] => first + last), Some(4));
    assert_eq!(taken!([1, 2, 3], [1, rest @ ..] => rest.len()), Some(2));
    assert_eq!(taken!(Ok::<u8, u8>(1), Ok(x) | Err(x) => x), Some(1));
    assert_eq!(taken!(point(), Point { mut x, .. } => { x.push('!'); x }), Some("x!".to_owned()));
    assert_eq!(taken!(point(), Point { y: Some(SEVEN), x } => x), Some("x".to_owned()));
    assert_eq!(taken!(point(), Point { y: None, .. } => ()), None);
    assert_eq!(
        taken!(point(), Point { ref x, ref y } => (x.clone(), *y)),
        Some(("x".to_owned(), Some(7)))
    );
    let mut number = 1;
    assert_eq!(taken!(&mut number, &mut x => x), Some(1));
    assert_eq!(taken!(Box::new(9), boxed => *boxed), Some(9));
}

// Nothing is used up by a branch that loses.

#[trapline::test]
async fn both_have_a_token_then_the_loser_gives_its_own_back() {
    let (left, right) = (&WaitQueue::new(1), &WaitQueue::new(1));
    select! {
        biased;
        () = left.park() => {}
        () = right.park() => unreachable!(),
    }
    assert_eq!((left.tokens(), right.tokens()), (0, 1));
    assert_eq!((left.waiting(), right.waiting()), (0, 0));
}

#[test]
fn both_granted_and_somebody_behind_the_loser_then_that_one_goes_on() {
    let mut scheduler = scheduler();
    let (left, right) = (leaked(0), leaked(0));
    let trace = Trace::default();
    let (first, second) = (trace.clone(), trace.clone());
    scheduler
        .spawn(async move {
            select! {
                biased;
                () = left.park() => first.say("left"),
                () = right.park() => first.say("right"),
            }
        })
        .detach();
    scheduler
        .spawn(async move {
            right.park().await;
            second.say("behind");
        })
        .detach();
    step_while_ready(&mut scheduler);
    right.wake();
    left.wake();
    assert_eq!(right.tokens(), 0, "the loser-to-be has it");
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["left", "behind"]);
    assert_eq!((left.tokens(), right.tokens()), (0, 0));
}

#[test]
fn select_given_up_at_every_moment_then_no_token_is_lost_or_doubled() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Way {
        Dropped,
        Killed,
        TimedOut,
    }
    for way in [Way::Dropped, Way::Killed, Way::TimedOut] {
        // Unpolled; submitted; blocked; granted one, the other, both; each with someone behind or not.
        for (moment, wake_left, wake_right, behind) in (0..3)
            .flat_map(|moment| (0..8).map(move |bits| (moment, bits & 1, bits >> 1 & 1, bits >> 2)))
        {
            let case = format!("{way:?} {moment} {wake_left} {wake_right} {behind}");
            let mut scheduler = scheduler();
            let (left, right) = (leaked(0), leaked(0));
            let behind_took = Rc::new(Cell::new(0));
            let go_on = Rc::new(Cell::new(false));
            let (seen, taken) = (Rc::clone(&go_on), Rc::new(Cell::new(0)));
            let took = Rc::clone(&taken);
            let work = async move {
                let mut selecting = Box::pin(async {
                    select! {
                        () = left.park() => {}
                        () = right.park() => {}
                    }
                });
                for _ in 0..moment {
                    assert!(poll_once(&mut selecting).await.is_pending());
                    trapline::yield_now().await;
                }
                while !seen.get() {
                    trapline::yield_now().await;
                }
                match way {
                    Way::Dropped => drop(selecting),
                    Way::Killed => pending().await,
                    // It is polled before the time is up, and takes what it was given.
                    Way::TimedOut => {
                        let ended = trapline::timeout(Duration::ZERO, selecting).await;
                        took.set(usize::from(ended.is_ok()));
                    }
                }
            };
            let task = scheduler.spawn(work);
            for _ in 0..8 {
                scheduler.step();
            }
            for queue in [left, right] {
                if behind == 1 {
                    let took = Rc::clone(&behind_took);
                    scheduler
                        .spawn_with(trapline::TaskOptions::new().daemon(), async move {
                            queue.park().await;
                            took.set(took.get() + 1);
                        })
                        .detach();
                }
            }
            for _ in 0..8 {
                scheduler.step();
            }
            if wake_left == 1 {
                left.wake();
            }
            if wake_right == 1 {
                right.wake();
            }
            scheduler.check_invariants();
            go_on.set(true);
            if way == Way::Killed {
                let id = task.id();
                scheduler.spawn(async move { trapline::kill(id).await }).detach();
            }
            drop(task);
            // Long enough for the daemons to take what they were given.
            scheduler.block_on(trapline::sleep(SECOND)).unwrap();
            scheduler.check_invariants();
            let kept = left.tokens() + right.tokens();
            let all = kept + behind_took.get() + taken.get();
            assert_eq!(all, wake_left + wake_right, "{case}");
            assert!(behind == 0 || kept == 0, "{case}");
            drop(scheduler);
            assert_eq!((left.waiting(), right.waiting()), (0, 0), "{case}");
        }
    }
}

#[test]
fn branches_of_own_calls_then_several_in_flight_at_their_lines_and_a_deadlock_at_once() {
    let mut scheduler = scheduler();
    let queue = leaked(0);
    let line = line!();
    let task = scheduler.spawn(async move {
        let child = trapline::spawn(pending::<()>()).await;
        select! {
            biased;
            () = queue.park() => {}
            _ = child => {}
            () = async { queue.park().await } => {}
        }
    });
    let error = scheduler.run().unwrap_err();
    assert!(matches!(error, RunError::Deadlock(_)), "{error}");
    let snapshot = scheduler.snapshot();
    let TaskState::Blocked(calls) = &snapshot.task(task.id()).unwrap().state else {
        panic!("{snapshot}");
    };
    let lines: Vec<_> = calls.iter().map(|call| call.site.line()).collect();
    assert_eq!(lines, [line + 5, line + 6, line + 7], "{snapshot}");
    queue.wake();
    scheduler.block_on(task).unwrap().unwrap();
    assert_eq!((queue.tokens(), queue.waiting()), (0, 0));
}

// Under other combinators.

#[trapline::test]
async fn selects_under_futures_unordered_then_all_end() {
    let queue = &WaitQueue::new(0);
    let ended = RefCell::new(Vec::new());
    let select = |name: u32| {
        let ended = &ended;
        async move {
            let by = select! {
                biased;
                () = queue.park() => "token",
                _ = trapline::sleep(SECOND * name) => "clock",
            };
            ended.borrow_mut().push((name, by));
        }
    };
    let mut selects: FuturesUnordered<_> = [3, 1, 2, 4].into_iter().map(select).collect();
    let waking = async {
        trapline::sleep(SECOND * 3 / 2).await;
        queue.wake();
    };
    trapline::join!(waking, async { while selects.next().await.is_some() {} });
    assert_eq!((queue.tokens(), queue.waiting()), (0, 0));
    drop(selects);
    // The first of those who were left has the token, and it is the first that came.
    assert_eq!(ended.take(), [(1, "clock"), (3, "token"), (2, "clock"), (4, "clock")]);
}

#[trapline::test]
async fn select_in_a_select_in_a_join_then_each_has_its_own() {
    let (a, b, c) = (&WaitQueue::new(0), &WaitQueue::new(0), &WaitQueue::new(0));
    let outer = async {
        select! {
            inner = async { select! { () = a.park() => 'a', () = b.park() => 'b' } } => inner,
            () = c.park() => 'c',
        }
    };
    let (won, ()) = trapline::join!(outer, async {
        give_way().await;
        b.wake();
    });
    assert_eq!(won, 'b');
    assert_eq!(a.waiting() + b.waiting() + c.waiting() + b.tokens(), 0);
}

#[test]
fn select_moved_to_another_task_then_it_goes_on_there() {
    let mut scheduler = scheduler();
    let queue = leaked(0);
    let mut moved = Box::pin(async move {
        select! {
            biased;
            _ = trapline::sleep(SECOND) => "clock",
            () = queue.park() => "token",
        }
    });
    let begin = async {
        assert!(poll_once(&mut moved).await.is_pending());
        trapline::yield_now().await;
    };
    scheduler.block_on(begin).unwrap();
    let moved = scheduler.spawn(moved);
    queue.wake();
    assert_eq!(scheduler.block_on(moved).unwrap().unwrap(), "token");
    assert_empty(&scheduler);
}

// At random.

#[derive(Clone, Copy, Debug)]
enum Op {
    /// A task that takes tokens by `select!` until it is killed.
    Start,
    Wake(usize),
    Kill(usize),
    Steps(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => Just(Op::Start),
        4 => (0..3_usize).prop_map(Op::Wake),
        2 => (0..6_usize).prop_map(Op::Kill),
        4 => (1..6_usize).prop_map(Op::Steps),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn random_programs_of_selects_then_every_token_is_taken_once_or_kept(
        seed in 0..1000_u64,
        quantum in 1..4_u32,
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let mut scheduler = builder().seed(seed).quantum(quantum).build();
        let queues = [leaked(0), leaked(0), leaked(0)];
        let taken = Rc::new([const { Cell::new(0) }; 3]);
        let (mut tasks, mut woken) = (Vec::new(), [0; 3]);
        for op in ops {
            match op {
                Op::Start => tasks.push(start(&mut scheduler, queues, &taken)),
                Op::Wake(queue) => {
                    queues[queue].wake();
                    woken[queue] += 1;
                }
                Op::Kill(task) if task < tasks.len() => {
                    let id = tasks.remove(task);
                    scheduler.spawn(async move { trapline::kill(id).await }).detach();
                }
                Op::Kill(_) => {}
                Op::Steps(count) => for _ in 0..count {
                    scheduler.step();
                },
            }
            scheduler.check_invariants();
        }
        for id in tasks {
            scheduler.spawn(async move { trapline::kill(id).await }).detach();
        }
        run_clean(&mut scheduler);
        for queue in 0..3 {
            prop_assert_eq!(queues[queue].waiting(), 0);
            prop_assert_eq!(queues[queue].tokens() + taken[queue].get(), woken[queue]);
        }
    }
}

fn start(
    scheduler: &mut Scheduler,
    queues: [&'static WaitQueue; 3],
    taken: &Rc<[Cell<usize>; 3]>,
) -> trapline::TaskId {
    let taken = Rc::clone(taken);
    let took = move |queue: usize| taken[queue].set(taken[queue].get() + 1);
    let task = scheduler.spawn(async move {
        loop {
            select! {
                () = queues[0].park() => took(0),
                () = async { queues[1].park().await } => took(1),
                () = queues[2].park(), if queues[0].tokens() == 0 => took(2),
                _ = trapline::sleep(SECOND) => {}
            }
        }
    });
    let id = task.id();
    task.detach();
    id
}
