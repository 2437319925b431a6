//! Wait queues: a token is never lost and never doubled, whatever is dropped or killed when.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures::{FutureExt, join};
use support::{
    Slot, Trace, assert_empty, builder, panic_of, poll_idly, poll_once, run_clean, scheduler,
    step_while_ready, text_of, traced,
};
use trapline::{Park, RunError, Scheduler, TaskId, WaitQueue};

const SECOND: Duration = Duration::from_secs(1);

fn leaked(tokens: usize) -> &'static WaitQueue {
    Box::leak(Box::new(WaitQueue::new(tokens)))
}

/// Tasks that park and say so when they have been woken; they start in order.
fn parkers(
    scheduler: &mut Scheduler,
    queue: &'static WaitQueue,
    trace: &Trace,
    names: &str,
) -> Vec<TaskId> {
    let start = |name: char| {
        let trace = trace.clone();
        let task = scheduler.spawn(async move {
            queue.park().await;
            trace.say(name);
        });
        let id = task.id();
        task.detach();
        id
    };
    names.chars().map(start).collect()
}

/// Takes one step for each of `tasks`, none of which looks at the outside.
fn step_each(scheduler: &mut Scheduler, tasks: usize) {
    for _ in 0..tasks {
        assert!(scheduler.step().task().is_some());
    }
}

#[track_caller]
fn assert_deadlock(scheduler: &mut Scheduler) {
    match scheduler.run() {
        Err(RunError::Deadlock(_)) => {}
        other => panic!("not a deadlock: {other:?}"),
    }
}

// What a queue is.

#[test]
fn wake_before_park_is_not_lost() {
    let (mut scheduler, trace) = traced();
    let queue = leaked(0);
    scheduler
        .block_on(async move {
            queue.wake();
            queue.wake();
            assert_eq!((queue.tokens(), queue.waiting()), (2, 0));
            queue.park().await;
            queue.park().await;
            assert_eq!((queue.tokens(), queue.waiting()), (0, 0));
        })
        .unwrap();
    assert_eq!(
        trace.take(),
        [
            "program spawns 1",
            "1 is taken",
            "1 park(queue 0) = a token",
            "1 is taken",
            "1 park(queue 0) = a token",
            "1 is taken",
            "1 ends: returned",
        ]
    );
    run_clean(&mut scheduler);
}

#[test]
fn waiters_are_woken_in_the_order_in_which_they_came() {
    let mut scheduler = scheduler();
    let (queue, trace) = (leaked(0), Trace::default());
    parkers(&mut scheduler, queue, &trace, "abcde");
    scheduler
        .spawn(async move {
            for _ in 0..5 {
                queue.wake();
                trapline::yield_now().await;
            }
        })
        .detach();
    run_clean(&mut scheduler);
    assert_eq!(trace.take().concat(), "abcde");
}

#[test]
fn woken_waiter_keeps_its_token_from_those_who_come_later() {
    let mut scheduler = scheduler();
    let (queue, trace) = (leaked(0), Trace::default());
    parkers(&mut scheduler, queue, &trace, "a");
    let lines = trace.clone();
    scheduler
        .spawn(async move {
            queue.wake();
            assert!(!queue.try_take(), "the token is the waiter's");
            assert_eq!(queue.tokens(), 0);
            let mut late = queue.park();
            assert!(poll_once(&mut late).await.is_pending());
            trapline::yield_now().await;
            assert!(poll_once(&mut late).await.is_pending(), "it is behind the first");
            lines.say("late");
            queue.wake();
            late.await;
        })
        .detach();
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["a", "late"]);
}

#[test]
fn one_who_releases_and_asks_again_does_not_pass_those_who_wait() {
    let mut scheduler = scheduler();
    let (lock, trace) = (leaked(1), Trace::default());
    for name in ["a", "b", "c"] {
        let lines = trace.clone();
        scheduler
            .spawn(async move {
                for _ in 0..3 {
                    if !lock.try_take() {
                        lock.park().await;
                    }
                    lines.say(name);
                    trapline::yield_now().await;
                    lock.wake();
                }
            })
            .detach();
    }
    run_clean(&mut scheduler);
    assert_eq!(trace.take().concat(), "abcabcabc");
    assert_eq!(lock.tokens(), 1);
}

#[test]
fn wake_all_wakes_those_who_wait_now_in_order_and_keeps_no_token() {
    let mut scheduler = scheduler();
    let (queue, trace) = (leaked(0), Trace::default());
    parkers(&mut scheduler, queue, &trace, "abc");
    step_each(&mut scheduler, 3);
    assert_eq!(queue.wake_all(), 3);
    assert_eq!((queue.tokens(), queue.waiting(), queue.wake_all()), (0, 0, 0));
    parkers(&mut scheduler, queue, &trace, "d");
    assert_deadlock(&mut scheduler);
    assert_eq!(trace.take().concat(), "abc");
    queue.wake();
    run_clean(&mut scheduler);
    assert_eq!(trace.take().concat(), "d");
}

#[test]
fn wake_all_among_the_woken_who_are_dropped_then_no_token_appears() {
    let mut scheduler = scheduler();
    let queue = leaked(0);
    scheduler
        .block_on(async move {
            let mut parks = [queue.park(), queue.park(), queue.park()];
            for park in &mut parks {
                assert!(poll_once(park).await.is_pending());
            }
            assert_eq!(queue.wake_all(), 3);
            drop(parks);
            assert_eq!((queue.tokens(), queue.waiting()), (0, 0));
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn queue_with_tokens_from_the_start_then_so_many_pass() {
    let mut scheduler = scheduler();
    let (queue, trace) = (leaked(2), Trace::default());
    parkers(&mut scheduler, queue, &trace, "abc");
    assert_deadlock(&mut scheduler);
    assert_eq!((trace.take().concat(), queue.waiting()), ("ab".to_owned(), 1));
    queue.wake();
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["c"]);
}

#[test]
fn wake_from_main_between_steps_then_the_next_step_resumes_the_waiter() {
    let (mut scheduler, trace) = traced();
    let (queue, lines) = (leaked(0), Trace::default());
    parkers(&mut scheduler, queue, &lines, "a");
    scheduler.step();
    trace.take();
    queue.wake();
    assert_eq!((queue.tokens(), queue.waiting()), (0, 0), "it acts at once");
    assert_eq!(lines.take(), [""; 0]);
    scheduler.step();
    assert_eq!(
        trace.take(),
        ["1 gets a token", "program wakes 1", "1 is taken", "1 ends: returned"]
    );
    run_clean(&mut scheduler);
}

#[test]
fn wake_from_main_after_a_deadlock_then_the_run_goes_on() {
    let mut scheduler = scheduler();
    let (queue, trace) = (leaked(0), Trace::default());
    parkers(&mut scheduler, queue, &trace, "ab");
    assert_deadlock(&mut scheduler);
    queue.wake();
    assert_deadlock(&mut scheduler);
    assert_eq!(trace.take(), ["a"]);
    queue.wake();
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["b"]);
}

// In one poll.

#[test]
fn guard_dropped_and_then_the_own_wait_then_the_token_is_kept() {
    for behind in [false, true] {
        let mut scheduler = scheduler();
        let (queue, trace) = (leaked(0), Trace::default());
        let expected = if behind { 0 } else { 1 };
        let lines = trace.clone();
        scheduler
            .spawn(async move {
                let mut wait = queue.park();
                assert!(poll_once(&mut wait).await.is_pending());
                trapline::yield_now().await;
                queue.wake();
                drop(wait);
                assert_eq!(queue.tokens(), expected);
                lines.say("done");
            })
            .detach();
        if behind {
            parkers(&mut scheduler, queue, &trace, "b");
        }
        run_clean(&mut scheduler);
        assert_eq!(trace.take().concat(), if behind { "doneb" } else { "done" });
        assert_eq!((queue.tokens(), queue.waiting()), (expected, 0));
    }
}

#[test]
fn own_wait_dropped_and_then_the_guard_then_the_token_is_kept() {
    for behind in [false, true] {
        let mut scheduler = scheduler();
        let (queue, trace) = (leaked(0), Trace::default());
        let expected = if behind { 0 } else { 1 };
        scheduler
            .spawn(async move {
                let mut wait = queue.park();
                assert!(poll_once(&mut wait).await.is_pending());
                trapline::yield_now().await;
                drop(wait);
                queue.wake();
                assert_eq!(queue.tokens(), expected);
            })
            .detach();
        if behind {
            parkers(&mut scheduler, queue, &trace, "b");
        }
        run_clean(&mut scheduler);
        assert_eq!((queue.tokens(), queue.waiting()), (expected, 0));
    }
}

#[test]
fn wake_in_the_poll_that_parks_then_the_park_takes_it() {
    let mut scheduler = scheduler();
    let queue = leaked(0);
    scheduler
        .block_on(async move {
            let mut first = queue.park();
            let mut second = queue.park();
            assert!(poll_once(&mut first).await.is_pending());
            assert!(poll_once(&mut second).await.is_pending());
            assert_eq!(queue.waiting(), 2);
            queue.wake();
            assert!(poll_once(&mut first).await.is_ready(), "answered before it was served");
            assert!(poll_once(&mut second).await.is_pending());
            drop(second);
            assert_eq!((queue.tokens(), queue.waiting()), (0, 0));
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn token_taken_before_its_wake_up_is_served_then_the_task_is_not_confused() {
    let mut scheduler = scheduler();
    let queue = leaked(0);
    scheduler
        .block_on(async move {
            let mut wait = queue.park();
            assert!(poll_once(&mut wait).await.is_pending());
            trapline::yield_now().await;
            queue.wake();
            assert!(poll_once(&mut wait).await.is_ready());
            let mut again = queue.park();
            assert!(poll_once(&mut again).await.is_pending());
            trapline::sleep(SECOND).await;
            assert!(poll_once(&mut again).await.is_pending(), "one wake, one token");
        })
        .unwrap();
    assert_eq!((queue.tokens(), queue.waiting()), (0, 0));
    run_clean(&mut scheduler);
}

#[test]
fn token_passed_along_a_chain_of_drops_then_it_reaches_the_last_or_stays() {
    for last_stays in [true, false] {
        let mut scheduler = scheduler();
        let queue = leaked(0);
        scheduler
            .block_on(async move {
                let mut waits: Vec<_> = (0..100).map(|_| queue.park()).collect();
                for wait in &mut waits {
                    assert!(poll_once(wait).await.is_pending());
                }
                let last = if last_stays { waits.pop() } else { None };
                queue.wake();
                drop(waits);
                match last {
                    Some(last) => last.await,
                    None => assert_eq!(queue.tokens(), 1),
                }
            })
            .unwrap();
        assert_eq!((queue.tokens(), queue.waiting()), (usize::from(!last_stays), 0));
        run_clean(&mut scheduler);
    }
}

/// How often a task is resumed that is granted a token while it runs, and does away with it at once;
/// others before it are granted one each.
fn resumes_after(others: usize, with_probe: bool, is_taken: bool) -> usize {
    let (mut scheduler, trace) =
        if with_probe { traced() } else { (scheduler(), Trace::default()) };
    let (queue, rest) = (leaked(0), leaked(0));
    parkers(&mut scheduler, queue, &trace, &"abc"[..others]);
    step_while_ready(&mut scheduler);
    let task = scheduler.spawn(async move {
        let mut wait = queue.park();
        assert!(poll_once(&mut wait).await.is_pending());
        trapline::yield_now().await;
        queue.wake_many(others);
        queue.wake();
        if is_taken {
            wait.await;
        } else {
            drop(wait);
        }
        rest.park().await;
    });
    let steps = step_while_ready(&mut scheduler) - others;
    drop(task);
    rest.wake();
    run_clean(&mut scheduler);
    assert_eq!(queue.tokens(), usize::from(!is_taken));
    steps
}

#[test]
fn grant_that_is_dropped_or_taken_in_the_turn_it_was_made_in_then_nobody_is_resumed_for_it() {
    for others in [0, 1, 3] {
        for is_taken in [false, true] {
            for with_probe in [false, true] {
                let steps = resumes_after(others, with_probe, is_taken);
                assert_eq!(steps, 2, "{others} others, taken: {is_taken}, probe: {with_probe}");
            }
        }
    }
}

// Killed.

#[test]
fn granted_waiter_killed_with_nobody_behind_then_the_token_stays() {
    let mut scheduler = scheduler();
    let (queue, trace) = (leaked(0), Trace::default());
    let victim = parkers(&mut scheduler, queue, &trace, "a")[0];
    scheduler
        .spawn(async move {
            queue.wake();
            assert_eq!(queue.tokens(), 0);
            trapline::kill(victim).await.unwrap();
            assert_eq!(queue.tokens(), 1);
            queue.park().await;
        })
        .detach();
    run_clean(&mut scheduler);
    assert_eq!((trace.take().len(), queue.tokens()), (0, 0));
}

#[test]
fn granted_waiter_killed_with_one_behind_then_that_one_gets_the_token() {
    let mut scheduler = scheduler();
    let (queue, trace) = (leaked(0), Trace::default());
    let victim = parkers(&mut scheduler, queue, &trace, "abc")[0];
    scheduler
        .spawn(async move {
            queue.wake();
            trapline::kill(victim).await.unwrap();
            assert_eq!((queue.tokens(), queue.waiting()), (0, 1));
            queue.wake();
        })
        .detach();
    run_clean(&mut scheduler);
    assert_eq!(trace.take().concat(), "bc");
}

#[test]
fn waiter_in_the_middle_killed_then_the_order_of_the_others_holds() {
    for index in 0..5 {
        let mut scheduler = scheduler();
        let (queue, trace) = (leaked(0), Trace::default());
        let victim = parkers(&mut scheduler, queue, &trace, "abcde")[index];
        scheduler
            .spawn(async move {
                trapline::kill(victim).await.unwrap();
                assert_eq!(queue.waiting(), 4);
                for _ in 0..4 {
                    queue.wake();
                }
            })
            .detach();
        run_clean(&mut scheduler);
        let mut expected = "abcde".to_owned();
        expected.remove(index);
        assert_eq!(trace.take().concat(), expected);
        assert_eq!(queue.tokens(), 0);
    }
}

#[test]
fn two_queues_in_one_join_then_each_token_goes_to_its_own() {
    let mut scheduler = scheduler();
    let (left, right) = (leaked(0), leaked(0));
    scheduler.spawn(async move { join!(left.park(), right.park()) }).detach();
    step_each(&mut scheduler, 1);
    right.wake();
    assert_eq!((left.waiting(), right.waiting()), (1, 0));
    step_each(&mut scheduler, 1);
    left.wake();
    run_clean(&mut scheduler);
}

// Where it may be made, and how long it lives.

thread_local! {
    static LOCAL: WaitQueue = const { WaitQueue::labelled("local", 1) };
}

#[test]
fn queue_in_a_thread_local_const_then_it_works() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            assert!(LOCAL.with(WaitQueue::try_take));
            assert!(!LOCAL.with(WaitQueue::try_take));
            LOCAL.with(WaitQueue::wake);
            assert_eq!(LOCAL.with(WaitQueue::tokens), 1);
            assert_eq!(LOCAL.with(|queue| queue.park().now_or_never()), None, "it always traps");
            assert_eq!(LOCAL.with(WaitQueue::tokens), 1);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn queue_made_in_main_and_borrowed_by_the_root_then_it_works() {
    let queue = WaitQueue::new(0);
    let mut scheduler = scheduler();
    scheduler.block_on(async { join!(queue.park(), async { queue.wake() }) }).unwrap();
    assert_eq!(queue.tokens(), 0);
    run_clean(&mut scheduler);
    drop(scheduler);
    assert_eq!(queue.wake_all(), 0);
    queue.wake();
    assert_eq!((queue.tokens(), queue.waiting(), queue.try_take()), (1, 0, true));
}

#[test]
fn queue_used_under_a_second_scheduler_after_the_first_then_it_works() {
    for first_lives in [true, false] {
        let queue = leaked(0);
        let mut first = scheduler();
        first.block_on(async { join!(queue.park(), async { queue.wake() }) }).unwrap();
        queue.wake();
        let kept = first_lives.then_some(first);
        let mut second = scheduler();
        second
            .block_on(async move {
                queue.park().await;
                join!(queue.park(), async { queue.wake() });
            })
            .unwrap();
        run_clean(&mut second);
        if let Some(mut first) = kept {
            first.block_on(async { join!(queue.park(), async { queue.wake() }) }).unwrap();
            run_clean(&mut first);
        }
        assert_eq!(queue.tokens(), 0);
    }
}

#[test]
fn queue_used_under_a_second_scheduler_meanwhile_then_a_panic_there_that_says_so() {
    for granted in [false, true] {
        let (mut first, mut second) = (scheduler(), scheduler());
        let (queue, trace) = (leaked(0), Trace::default());
        parkers(&mut first, queue, &trace, "a");
        step_each(&mut first, 1);
        if granted {
            queue.wake();
        }
        let intruder = second.spawn(async move { queue.park().await });
        let other = second.spawn(trapline::sleep(SECOND));
        let error = second.block_on(intruder).unwrap().unwrap_err();
        let text = text_of(&*error.try_into_panic().unwrap());
        assert!(text.contains("under another scheduler while tasks of the first wait"), "{text}");
        second.block_on(other).unwrap().unwrap();
        run_clean(&mut second);
        if !granted {
            queue.wake();
        }
        run_clean(&mut first);
        assert_eq!((trace.take(), queue.tokens()), (vec!["a".to_owned()], 0));
    }
}

#[test]
fn wake_by_a_task_of_another_scheduler_then_the_waiter_goes_on_at_its_own_next_step() {
    let (mut first, mut second) = (scheduler(), scheduler());
    let (queue, trace) = (leaked(0), Trace::default());
    parkers(&mut first, queue, &trace, "a");
    step_each(&mut first, 1);
    second.block_on(async move { queue.wake() }).unwrap();
    run_clean(&mut second);
    assert_eq!(trace.take(), [""; 0]);
    run_clean(&mut first);
    assert_eq!(trace.take(), ["a"]);
}

#[test]
fn scheduler_dropped_while_tasks_wait_then_tokens_are_kept() {
    for (granted, untouched) in [(0, 3), (1, 2), (3, 0), (5, 0)] {
        let queue = leaked(0);
        let mut first = scheduler();
        parkers(&mut first, queue, &Trace::default(), "abc");
        step_each(&mut first, 3);
        for _ in 0..granted {
            queue.wake();
        }
        assert_eq!(queue.waiting(), untouched);
        drop(first);
        assert_eq!((queue.tokens(), queue.waiting()), (granted, 0));
        let mut second = scheduler();
        let trace = Trace::default();
        parkers(&mut second, queue, &trace, &"abcde"[..granted]);
        run_clean(&mut second);
        assert_eq!((trace.take().len(), queue.tokens()), (granted, 0));
    }
}

#[test]
fn scheduler_dropped_while_waits_are_kept_outside_then_tokens_are_kept() {
    for order in [false, true] {
        let queue = leaked(0);
        let slot: Slot<Vec<Park<'static>>> = Slot::new();
        let theirs = slot.clone();
        let mut first = scheduler();
        first
            .block_on(async move {
                let mut waits = vec![queue.park(), queue.park(), queue.park()];
                for wait in &mut waits {
                    assert!(poll_once(wait).await.is_pending());
                }
                trapline::yield_now().await;
                theirs.put(waits);
            })
            .unwrap();
        queue.wake();
        queue.wake();
        assert_eq!((queue.tokens(), queue.waiting()), (0, 1));
        let waits = slot.take();
        if order {
            drop(waits);
            drop(first);
        } else {
            drop(first);
            drop(waits);
        }
        assert_eq!((queue.tokens(), queue.waiting()), (2, 0), "waits dropped first: {order}");
    }
}

#[test]
fn queue_dropped_while_ids_remain_then_nothing_else_is_disturbed() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let queue = Box::new(WaitQueue::new(0));
            let mut leaked_wait = queue.park();
            assert!(poll_once(&mut leaked_wait).await.is_pending());
            trapline::yield_now().await;
            // A wait that is forgotten, not dropped, stands in line for ever.
            std::mem::forget(leaked_wait);
            queue.wake();
            drop(queue);
            // New queues do not take its place while it is referred to.
            for _ in 0..3 {
                let queue = WaitQueue::new(0);
                join!(queue.park(), async { queue.wake() });
                assert_eq!((queue.tokens(), queue.waiting()), (0, 0));
            }
        })
        .unwrap();
    let _ = scheduler.run().unwrap();
    assert_eq!(scheduler.table_sizes()[1], 1, "the call that was forgotten");
}

#[test]
fn very_many_queues_one_after_the_other_then_their_places_are_used_again() {
    let (mut scheduler, trace) = traced();
    scheduler
        .block_on(async {
            for _ in 0..1000 {
                let queue = WaitQueue::new(0);
                join!(queue.park(), async { queue.wake() });
                let queue = WaitQueue::new(0);
                assert!(queue.park().now_or_never().is_none());
            }
        })
        .unwrap();
    let lines = trace.take();
    let stray = lines.iter().find(|line| line.contains("park") && !line.contains("(queue 0)"));
    assert_eq!(stray, None);
    run_clean(&mut scheduler);
}

#[test]
fn park_of_a_shared_queue_dropped_with_the_queues_last_owner_then_nothing_is_left() {
    /// A wait and the queue it waits on, in one place: the wait goes first.
    struct Both {
        wait: Option<Pin<Box<dyn Future<Output = ()>>>>,
        queue: Rc<WaitQueue>,
    }
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let queue = Rc::new(WaitQueue::new(0));
            let theirs = Rc::clone(&queue);
            let wait = async move { theirs.park().await };
            let mut both = Both { wait: Some(Box::pin(wait)), queue };
            assert!(poll_idly(both.wait.as_mut().unwrap()).is_pending());
            trapline::yield_now().await;
            assert_eq!(both.queue.waiting(), 1);
            drop(both);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn label_then_reports_name_it() {
    let queue: &'static WaitQueue = Box::leak(Box::new(WaitQueue::labelled("the lock", 0)));
    let mut scheduler = scheduler();
    scheduler.spawn(async move { queue.park().await }).detach();
    assert_deadlock(&mut scheduler);
    let report = scheduler.blocked().to_string();
    assert!(report.contains("`the lock`"), "{report}");
    assert!(scheduler.snapshot().to_string().contains("`the lock`"));
}

#[test]
fn park_polled_outside_a_task_then_the_queue_is_as_it_was() {
    let queue = WaitQueue::new(2);
    panic_of(|| poll_idly(&mut queue.park()));
    assert_eq!((queue.tokens(), queue.waiting()), (2, 0));
}

// Chance.

/// Tasks that take, give, drop and are killed; tokens are counted all the while.
fn throng(seed: u64) {
    const TOKENS: usize = 3;
    let queue = leaked(TOKENS);
    let held: Rc<RefCell<usize>> = Rc::default();
    let exchange: Rc<RefCell<Vec<Park<'static>>>> = Rc::default();
    let mut scheduler = builder().quantum(1 + (seed % 4) as u32).seed(seed).build();
    /// A token that is held, and given back when the holder goes.
    struct Guard(&'static WaitQueue, Rc<RefCell<usize>>);
    impl Drop for Guard {
        fn drop(&mut self) {
            *self.1.borrow_mut() -= 1;
            self.0.wake();
        }
    }
    for _ in 0..6 {
        let (held, exchange) = (Rc::clone(&held), Rc::clone(&exchange));
        let worker = async move {
            let guard = || {
                *held.borrow_mut() += 1;
                assert!(*held.borrow() <= TOKENS, "seed {seed}: a token was doubled");
                Guard(queue, Rc::clone(&held))
            };
            for _ in 0..20 {
                let drawn = trapline::random();
                match drawn % 6 {
                    0 => {
                        queue.park().await;
                        let _guard = guard();
                        trapline::yield_now().await;
                    }
                    1 => {
                        let mut wait = queue.park();
                        let _ = poll_once(&mut wait).await;
                        trapline::yield_now().await;
                        drop(wait);
                    }
                    2 => {
                        let mut wait = queue.park();
                        let _ = poll_once(&mut wait).await;
                        exchange.borrow_mut().push(wait);
                    }
                    3 => {
                        let wait = exchange.borrow_mut().pop();
                        if let Some(wait) = wait {
                            wait.await;
                            let _guard = guard();
                            trapline::yield_now().await;
                        }
                    }
                    4 => {
                        let wait = trapline::timeout(Duration::from_nanos(1), queue.park());
                        if wait.await.is_ok() {
                            let _guard = guard();
                            trapline::sleep(Duration::from_nanos(drawn >> 60)).await;
                        }
                    }
                    _ => {
                        // Lets those go that were given away and stand in others' way.
                        let given = exchange.take();
                        trapline::yield_now().await;
                        drop(given);
                    }
                }
            }
        };
        let worker = scheduler.spawn(worker);
        if seed.is_multiple_of(3) {
            let victim = worker.id();
            scheduler
                .spawn(async move {
                    for _ in 0..trapline::random() % 40 {
                        trapline::yield_now().await;
                    }
                    trapline::kill(victim).await.unwrap();
                })
                .detach();
        }
        worker.detach();
    }
    // Given-away waits at the head of the line would hold everybody up: let them go when it stops.
    loop {
        match scheduler.run() {
            Ok(report) => {
                assert_eq!(report.failures, 0, "seed {seed}: {report}");
                break;
            }
            Err(RunError::Deadlock(_)) if !exchange.borrow().is_empty() => drop(exchange.take()),
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    drop(exchange.take());
    assert_eq!(
        (*held.borrow(), queue.tokens(), queue.waiting()),
        (0, TOKENS, 0),
        "seed {seed}: a token was lost or doubled"
    );
    step_while_ready(&mut scheduler);
    assert_empty(&scheduler);
}

#[test]
fn throng_of_takers_droppers_and_killers_then_every_token_is_accounted_for() {
    for seed in 0..500 {
        throng(seed);
    }
}
