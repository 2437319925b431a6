//! Wait queues of which a waiter wants many tokens, and such as keep none: nobody passes the first.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::VecDeque;

use proptest::prelude::*;
use support::{Trace, assert_empty, panic_of, poll_idly, poll_once, run_clean, scheduler, traced};
use trapline::{Park, Scheduler, TaskId, WaitQueue};

fn leak(queue: WaitQueue) -> &'static WaitQueue {
    Box::leak(Box::new(queue))
}

/// A task that wants `n` tokens, and says its name when it has them.
fn taker(
    scheduler: &mut Scheduler,
    queue: &'static WaitQueue,
    n: u32,
    trace: &Trace,
    name: &'static str,
) -> TaskId {
    let trace = trace.clone();
    let task = scheduler.spawn(async move {
        queue.park_many(n).await;
        trace.say(name);
    });
    let id = task.id();
    task.detach();
    id
}

fn steps(scheduler: &mut Scheduler, count: usize) {
    for _ in 0..count {
        assert!(scheduler.step().task().is_some());
    }
    scheduler.check_invariants();
}

#[test]
fn many_wanted_then_tokens_gather_for_the_first_and_nobody_passes() {
    let mut scheduler = scheduler();
    let (queue, trace) = (leak(WaitQueue::new(0)), Trace::default());
    taker(&mut scheduler, queue, 3, &trace, "three");
    taker(&mut scheduler, queue, 1, &trace, "one");
    steps(&mut scheduler, 2);
    for _ in 0..2 {
        queue.wake();
        assert_eq!((queue.tokens(), queue.try_take(), queue.try_take_many(0)), (0, false, false));
        scheduler.check_invariants();
    }
    assert_eq!(queue.waiting(), 2);
    queue.wake();
    assert_eq!(queue.waiting(), 1, "the first has its three, and the second waits on");
    queue.wake();
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["three", "one"]);
    assert_eq!(queue.tokens(), 0);
}

#[test]
fn many_woken_at_once_then_each_has_what_it_wants_and_the_rest_is_kept() {
    let (mut scheduler, events) = traced();
    let (queue, trace) = (leak(WaitQueue::new(0)), Trace::default());
    taker(&mut scheduler, queue, 2, &trace, "two");
    taker(&mut scheduler, queue, 3, &trace, "three");
    steps(&mut scheduler, 2);
    let lines = events.take();
    assert!(lines.contains(&"1 park(queue 0, 2 tokens) blocks".to_owned()), "{lines:?}");
    queue.wake_many(7);
    assert_eq!((queue.tokens(), queue.waiting()), (2, 0));
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["two", "three"]);
}

#[test]
fn some_are_free_and_more_are_wanted_then_none_is_free_until_it_leaves() {
    let mut scheduler = scheduler();
    let queue = leak(WaitQueue::new(2));
    scheduler
        .block_on(async move {
            let mut wait = queue.park_many(3);
            assert!(poll_once(&mut wait).await.is_pending());
            assert_eq!((queue.tokens(), queue.try_take()), (0, false));
            drop(wait);
            assert_eq!((queue.tokens(), queue.waiting()), (2, 0));
            assert!(queue.try_take_many(2) && !queue.try_take_many(1) && queue.try_take_many(0));
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn first_that_wants_many_leaves_then_what_had_gathered_is_the_next_ones() {
    for served in [false, true] {
        let mut scheduler = scheduler();
        let queue = leak(WaitQueue::new(2));
        scheduler
            .block_on(async move {
                let mut first = queue.park_many(5);
                let mut second = queue.park();
                let mut third = queue.park_many(2);
                for wait in [&mut first, &mut second, &mut third] {
                    assert!(poll_once(wait).await.is_pending());
                }
                if served {
                    trapline::yield_now().await;
                }
                drop(first);
                assert!(poll_once(&mut second).await.is_ready());
                assert!(poll_once(&mut third).await.is_pending());
                queue.wake();
                assert!(poll_once(&mut third).await.is_ready());
                assert_eq!((queue.tokens(), queue.waiting()), (0, 0));
            })
            .unwrap();
        run_clean(&mut scheduler);
    }
}

#[test]
fn granted_waiter_is_dropped_then_all_its_tokens_go_on() {
    let mut scheduler = scheduler();
    let queue = leak(WaitQueue::new(0));
    scheduler
        .block_on(async move {
            let mut first = queue.park_many(3);
            let mut second = queue.park_many(2);
            assert!(poll_once(&mut first).await.is_pending());
            assert!(poll_once(&mut second).await.is_pending());
            trapline::yield_now().await;
            queue.wake_many(3);
            drop(first);
            assert_eq!((queue.tokens(), queue.waiting()), (1, 0));
            assert!(poll_once(&mut second).await.is_ready());
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn granted_waiter_is_killed_then_all_its_tokens_go_on() {
    let mut scheduler = scheduler();
    let (queue, trace) = (leak(WaitQueue::new(0)), Trace::default());
    let victim = taker(&mut scheduler, queue, 2, &trace, "victim");
    taker(&mut scheduler, queue, 2, &trace, "heir");
    steps(&mut scheduler, 2);
    scheduler
        .spawn(async move {
            queue.wake_many(2);
            trapline::kill(victim).await.unwrap();
        })
        .detach();
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["heir"]);
    assert_eq!(queue.tokens(), 0);
}

#[test]
fn nothing_is_wanted_then_it_waits_its_turn_and_no_longer() {
    let mut scheduler = scheduler();
    let queue = leak(WaitQueue::new(0));
    scheduler
        .block_on(async move {
            queue.park_many(0).await;
            let mut first = queue.park();
            let mut second = queue.park_many(0);
            assert!(poll_once(&mut first).await.is_pending());
            assert!(poll_once(&mut second).await.is_pending());
            trapline::yield_now().await;
            assert!(poll_once(&mut second).await.is_pending(), "it does not pass");
            drop(first);
            assert!(poll_once(&mut second).await.is_ready());
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn wake_all_while_tokens_have_gathered_then_they_are_kept() {
    let mut scheduler = scheduler();
    let queue = leak(WaitQueue::new(2));
    scheduler
        .block_on(async move {
            let mut wait = queue.park_many(3);
            assert!(poll_once(&mut wait).await.is_pending());
            assert_eq!(queue.wake_all(), 1);
            assert_eq!(queue.tokens(), 2);
            wait.await;
            assert_eq!(queue.tokens(), 2);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn scheduler_is_gone_then_gathered_and_untaken_tokens_are_back() {
    let queue = leak(WaitQueue::new(0));
    let mut first = scheduler();
    taker(&mut first, queue, 2, &Trace::default(), "given");
    taker(&mut first, queue, 5, &Trace::default(), "waits");
    steps(&mut first, 2);
    queue.wake_many(4);
    assert_eq!(queue.tokens(), 0);
    drop(first);
    assert_eq!((queue.tokens(), queue.waiting()), (4, 0));
    let (mut second, trace) = (scheduler(), Trace::default());
    taker(&mut second, queue, 4, &trace, "four");
    run_clean(&mut second);
    assert_eq!(trace.take(), ["four"]);
}

#[test]
fn many_wanted_outside_a_task_then_it_says_so_and_nothing_is_taken() {
    let queue = WaitQueue::new(2);
    panic_of(|| poll_idly(&mut queue.park_many(2)));
    assert_eq!(queue.tokens(), 2);
}

// Queues that keep no tokens.

#[test]
fn signal_with_nobody_waiting_then_it_is_nothing() {
    let mut scheduler = scheduler();
    let queue = leak(WaitQueue::signal("bell"));
    queue.wake();
    scheduler
        .block_on(async move {
            queue.wake_many(3);
            let mut wait = queue.park();
            assert!(poll_once(&mut wait).await.is_pending());
            trapline::yield_now().await;
            queue.wake_many(2);
            assert_eq!(queue.tokens(), 0);
            wait.await;
            let mut again = queue.park();
            assert!(poll_once(&mut again).await.is_pending());
            trapline::yield_now().await;
            assert!(poll_once(&mut again).await.is_pending(), "the second was nobody's");
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn signalled_waiter_is_dropped_then_the_next_is_woken_or_nobody() {
    let mut scheduler = scheduler();
    let queue = leak(WaitQueue::signal("bell"));
    scheduler
        .block_on(async move {
            let mut waits = [queue.park(), queue.park()];
            for wait in &mut waits {
                assert!(poll_once(wait).await.is_pending());
            }
            let [first, mut second] = waits;
            queue.wake();
            drop(first);
            assert!(poll_once(&mut second).await.is_ready());
            let mut last = queue.park();
            assert!(poll_once(&mut last).await.is_pending());
            queue.wake();
            drop(last);
            assert_eq!((queue.tokens(), queue.waiting()), (0, 0));
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn scheduler_is_gone_then_a_signal_has_kept_nothing() {
    let queue = leak(WaitQueue::signal("bell"));
    let mut scheduler = scheduler();
    taker(&mut scheduler, queue, 1, &Trace::default(), "a");
    steps(&mut scheduler, 1);
    queue.wake();
    drop(scheduler);
    assert_eq!(queue.tokens(), 0);
}

// Chance.

#[derive(Clone, Copy, Debug)]
enum Op {
    Park(u32),
    Wake(usize),
    TryTake(u32),
    Drop(usize),
    Poll(usize),
    Serve,
    WakeAll,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..5_u32).prop_map(Op::Park),
        4 => (0..4_usize).prop_map(Op::Wake),
        2 => (0..3_u32).prop_map(Op::TryTake),
        3 => (0..8_usize).prop_map(Op::Drop),
        3 => (0..8_usize).prop_map(Op::Poll),
        2 => Just(Op::Serve),
        1 => Just(Op::WakeAll),
    ]
}

/// What a queue is, without the ring.
#[derive(Default, Debug)]
struct Model {
    keeps: bool,
    tokens: usize,
    /// Who waits, and for how much.
    waiting: VecDeque<(usize, u32)>,
    /// Who was given so much and has not taken it; nothing, by a `wake_all`.
    given: Vec<(usize, Option<u32>)>,
}

impl Model {
    fn give(&mut self, n: usize) {
        self.tokens += n;
        while let Some(&(who, wanted)) = self.waiting.front() {
            if (wanted as usize) > self.tokens {
                return;
            }
            self.tokens -= wanted as usize;
            self.waiting.pop_front();
            self.given.push((who, Some(wanted)));
        }
        if !self.keeps {
            self.tokens = 0;
        }
    }

    fn free(&self) -> usize {
        if self.waiting.is_empty() { self.tokens } else { 0 }
    }

    fn park(&mut self, who: usize, wanted: u32) {
        self.waiting.push_back((who, wanted));
        self.give(0);
    }

    fn drop(&mut self, who: usize) {
        self.waiting.retain(|&(waiter, _)| waiter != who);
        let at = self.given.iter().position(|&(waiter, _)| waiter == who);
        let back = at.and_then(|at| self.given.remove(at).1).unwrap_or(0);
        self.give(back as usize);
    }

    fn take(&mut self, who: usize) -> bool {
        let before = self.given.len();
        self.given.retain(|&(waiter, _)| waiter != who);
        self.given.len() < before
    }
}

async fn play(queue: &'static WaitQueue, ops: Vec<Op>, keeps: bool) {
    let mut model = Model { keeps, ..Model::default() };
    let mut waits: Vec<(usize, Park<'static>)> = Vec::new();
    for (number, op) in ops.into_iter().enumerate() {
        match op {
            Op::Park(n) => {
                let mut wait = queue.park_many(n);
                assert!(poll_once(&mut wait).await.is_pending());
                waits.push((number, wait));
                model.park(number, n);
            }
            Op::Wake(n) => {
                queue.wake_many(n);
                model.give(n);
            }
            Op::TryTake(n) => {
                let may = model.waiting.is_empty() && model.tokens >= n as usize;
                assert_eq!(queue.try_take_many(n), may);
                model.tokens -= if may { n as usize } else { 0 };
            }
            Op::Drop(at) if !waits.is_empty() => {
                let (who, _) = waits.remove(at % waits.len());
                model.drop(who);
            }
            Op::Poll(at) if !waits.is_empty() => {
                let at = at % waits.len();
                let (who, wait) = &mut waits[at];
                assert_eq!(poll_once(wait).await.is_ready(), model.take(*who));
                if !model.waiting.iter().any(|(waiter, _)| waiter == who)
                    && !model.given.iter().any(|(waiter, _)| waiter == who)
                {
                    drop(waits.remove(at));
                }
            }
            Op::Drop(_) | Op::Poll(_) => {}
            Op::Serve => trapline::yield_now().await,
            Op::WakeAll => {
                assert_eq!(queue.wake_all(), model.waiting.len());
                let woken: Vec<_> = model.waiting.drain(..).map(|(who, _)| (who, None)).collect();
                model.given.extend(woken);
                model.give(0);
            }
        }
        assert_eq!((queue.tokens(), queue.waiting()), (model.free(), model.waiting.len()));
    }
}

#[test]
fn one_who_wants_nothing_behind_one_who_wants_a_token_then_one_wake_lets_both_go() {
    let mut scheduler = support::scheduler();
    let queue = leak(WaitQueue::new(0));
    for wanted in [1, 0] {
        scheduler.spawn(async move { queue.park_many(wanted).await }).detach();
    }
    support::step_while_ready(&mut scheduler);
    assert_eq!(queue.waiting(), 2);
    queue.wake();
    assert_eq!((queue.waiting(), queue.tokens()), (0, 0));
    support::run_clean(&mut scheduler);
}

proptest! {
    #[test]
    fn any_takers_givers_and_droppers_then_the_queue_is_as_the_model_says(
        ops in prop::collection::vec(op(), 0..60),
        keeps in any::<bool>(),
        quantum in 1..4_u32,
    ) {
        let queue = leak(if keeps { WaitQueue::new(0) } else { WaitQueue::signal("bell") });
        let mut scheduler = support::builder().quantum(quantum).build();
        let task = scheduler.spawn(play(queue, ops, keeps));
        while !scheduler.step().is_last() {
            scheduler.check_invariants();
        }
        let task = scheduler.block_on(task).unwrap();
        prop_assert!(task.is_ok(), "{task:?}");
        assert_empty(&scheduler);
    }
}
