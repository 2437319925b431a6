//! Scale: what is done once for each of very many tasks must not cost more the more there are.
//!
//! Nothing here looks at a clock. Each test does the same to a number of tasks at which anything
//! quadratic would not come to an end; some do it to a few first, to fail early and small.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt};
use support::{OnDrop, assert_empty, builder, poll_once, run_clean, scheduler};
use trapline::{
    ExitStatus, JoinHandle, KillOutcome, RunError, Scheduler, TaskId, WaitQueue, get_tid, kill,
    post_kill, random, read_wait, sleep, spawn_detached, wait, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);
const FEW: usize = 100;
const MANY: usize = 100_000;

/// The numbers below `n`, in an order drawn from the scheduler's seed.
fn shuffled(n: usize) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..n).collect();
    for at in (1..n).rev() {
        numbers.swap(at, (random() % (at as u64 + 1)) as usize);
    }
    numbers
}

/// Spawns `n` tasks that block on something, lets them block, then kills them one by one, in the
/// order drawn; all of them are gone then.
fn spawn_and_kill<F>(n: usize, make: impl Fn(usize) -> F)
where
    F: Future<Output = ()> + 'static,
{
    let mut scheduler = builder().quantum(32).build();
    let gone = Rc::new(Cell::new(0));
    let tasks: Vec<TaskId> = (0..n)
        .map(|number| {
            let (gone, blocks) = (Rc::clone(&gone), make(number));
            let handle = scheduler.spawn(async move {
                let _guard = OnDrop(|| gone.set(gone.get() + 1));
                blocks.await;
                unreachable!("it was to block");
            });
            handle.id()
        })
        .collect();
    scheduler
        .block_on(async {
            yield_now().await;
            for at in shuffled(n) {
                assert_eq!(kill(tasks[at]).await, Ok(KillOutcome::Killed));
            }
        })
        .unwrap();
    assert_eq!(gone.get(), n);
    run_clean(&mut scheduler);
}

#[test]
fn hundred_thousand_waiters_of_one_queue_killed_one_by_one_then_linear() {
    for n in [FEW, MANY] {
        let queue = Rc::new(WaitQueue::new(0));
        spawn_and_kill(n, |_| {
            let queue = Rc::clone(&queue);
            async move { queue.park().await }
        });
        assert_eq!((queue.waiting(), queue.tokens()), (0, 0));
    }
}

#[test]
fn hundred_thousand_waiters_of_one_exit_killed_one_by_one_then_linear() {
    for n in [FEW, MANY] {
        let target: Rc<Cell<Option<TaskId>>> = Rc::default();
        spawn_and_kill(n, |number| {
            let target = Rc::clone(&target);
            async move {
                if number == 0 {
                    target.set(Some(get_tid().await));
                    pending::<()>().await;
                }
                let _ = wait(target.get().unwrap()).await;
                // The target may be killed first; who waited for it is then to wait on.
                pending::<()>().await;
            }
        });
    }
}

#[test]
fn hundred_thousand_sleepers_killed_in_any_order_then_linear() {
    for n in [FEW, MANY] {
        spawn_and_kill(n, |number| async move {
            sleep(SECOND * (number as u32 % 1000 + 1)).await;
        });
    }
}

#[test]
fn twenty_thousand_readers_of_one_descriptor_killed_one_by_one_then_linear() {
    for n in [FEW, MANY / 5] {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let ours = Rc::new(ours);
        spawn_and_kill(n, |_| {
            let ours = Rc::clone(&ours);
            async move { read_wait(&*ours).await.unwrap() }
        });
    }
}

#[test]
fn hundred_thousand_ready_tasks_killed_one_by_one_then_linear() {
    // They never start: each is taken out of the middle of the ready queue.
    for n in [FEW, MANY] {
        let mut scheduler = scheduler();
        let tasks: Rc<RefCell<Vec<JoinHandle<()>>>> = Rc::default();
        let theirs = Rc::clone(&tasks);
        scheduler
            .spawn(async move {
                for at in shuffled(n) {
                    let id = theirs.borrow()[at].id();
                    post_kill(id);
                }
            })
            .detach();
        for _ in 0..n {
            tasks.borrow_mut().push(scheduler.spawn(async { unreachable!("it was killed") }));
        }
        assert!(scheduler.run().is_ok());
        tasks.take();
        run_clean(&mut scheduler);
    }
}

#[test]
fn hundred_thousand_tasks_wait_for_one_exit_then_all_are_told_in_order() {
    for n in [FEW, MANY] {
        let mut scheduler = builder().quantum(32).build();
        let target = scheduler.spawn(sleep(SECOND));
        let id = target.id();
        let order = Rc::new(Cell::new(0));
        for number in 0..n {
            let order = Rc::clone(&order);
            scheduler
                .spawn(async move {
                    assert_eq!(wait(id).await, Ok(ExitStatus::Returned));
                    assert_eq!(order.replace(number + 1), number);
                })
                .detach();
        }
        drop(target);
        run_clean(&mut scheduler);
        assert_eq!(order.get(), n);
    }
}

#[test]
fn hundred_thousand_waiters_of_one_queue_woken_at_once_then_in_order() {
    for n in [FEW, MANY] {
        let mut scheduler = builder().quantum(32).build();
        let queue = Rc::new(WaitQueue::new(0));
        let order = Rc::new(Cell::new(0));
        for number in 0..n {
            let (queue, order) = (Rc::clone(&queue), Rc::clone(&order));
            scheduler
                .spawn(async move {
                    queue.park().await;
                    assert_eq!(order.replace(number + 1), number);
                    queue.park().await;
                })
                .detach();
        }
        scheduler
            .block_on(async {
                yield_now().await;
                assert_eq!(queue.wake_all(), n);
                yield_now().await;
                assert_eq!(order.get(), n);
                (0..n).for_each(|_| queue.wake());
            })
            .unwrap();
        run_clean(&mut scheduler);
        assert_eq!(queue.tokens(), 0);
    }
}

#[test]
fn token_passed_on_by_a_hundred_thousand_kills_then_linear() {
    // Each is killed with the token in hand, which goes to the next.
    let mut scheduler = builder().quantum(32).build();
    let queue = Rc::new(WaitQueue::new(0));
    let tasks: Vec<TaskId> = (0..MANY)
        .map(|_| {
            let queue = Rc::clone(&queue);
            scheduler.spawn(async move { queue.park().await }).id()
        })
        .collect();
    scheduler
        .block_on(async {
            yield_now().await;
            queue.wake();
            for task in tasks {
                post_kill(task);
            }
        })
        .unwrap();
    run_clean(&mut scheduler);
    assert_eq!((queue.tokens(), queue.waiting()), (1, 0));
}

#[test]
fn million_blocked_tasks_dropped_with_their_scheduler_then_linear() {
    for n in [FEW, 1_000_000] {
        let mut scheduler = builder().quantum(32).build();
        let queue = Rc::new(WaitQueue::new(0));
        let gone = Rc::new(Cell::new(0));
        for number in 0..n {
            let (queue, gone) = (Rc::clone(&queue), Rc::clone(&gone));
            scheduler
                .spawn(async move {
                    let _guard = OnDrop(|| gone.set(gone.get() + 1));
                    match number % 4 {
                        0 => queue.park().await,
                        1 => drop(sleep(SECOND * 3600).await),
                        2 => drop(wait(get_tid().await).await),
                        _ => pending().await,
                    }
                })
                .detach();
        }
        scheduler.block_on(yield_now()).unwrap();
        assert_eq!(queue.waiting(), n.div_ceil(4));
        drop(scheduler);
        assert_eq!(gone.get(), n);
        assert_eq!(queue.waiting(), 0);
    }
}

#[test]
fn chain_of_a_hundred_thousand_joins_then_each_end_ends_the_next() {
    let mut scheduler = builder().quantum(32).build();
    let mut last = scheduler.spawn(async { 0_usize });
    for _ in 0..MANY {
        let before = last;
        last = scheduler.spawn(async move { before.await.unwrap() + 1 });
    }
    assert_eq!(scheduler.block_on(last).unwrap().unwrap(), MANY);
    run_clean(&mut scheduler);
}

#[test]
fn chain_of_a_hundred_thousand_handles_dropped_then_no_stack_overflows() {
    // Each task holds the handle of the one before, whose outcome is not taken.
    let mut scheduler = builder().quantum(32).build();
    let mut last: Option<JoinHandle<Holder>> = None;
    struct Holder(#[expect(dead_code, reason = "held to be dropped")] Option<JoinHandle<Holder>>);
    for _ in 0..MANY {
        let before = last.take();
        last = Some(scheduler.spawn(async move { Holder(before) }));
    }
    assert!(scheduler.run().is_ok());
    assert_eq!(scheduler.table_sizes()[5], MANY, "each outcome is kept for its handle");
    drop(last);
    run_clean(&mut scheduler);
}

#[test]
fn hundred_thousand_calls_in_one_turn_then_linear() {
    for n in [FEW, MANY] {
        let mut scheduler = builder().quantum(32).build();
        scheduler
            .block_on(async move {
                let times = join_all((0..n).map(|_| sleep(SECOND))).await;
                assert!(times.iter().all(|time| *time == times[0]));
                let mut waits: FuturesUnordered<_> = (0..n).map(|_| get_tid()).collect();
                let mut answers = 0;
                while waits.next().await.is_some() {
                    answers += 1;
                }
                assert_eq!(answers, n);
            })
            .unwrap();
        assert_empty(&scheduler);
    }
}

#[test]
fn hundred_thousand_calls_made_and_dropped_in_one_turn_then_linear() {
    for n in [FEW, MANY] {
        let mut scheduler = scheduler();
        scheduler
            .block_on(async move {
                let mut calls: Vec<_> = (0..n).map(|_| Box::pin(sleep(SECOND))).collect();
                for call in &mut calls {
                    assert!(poll_once(call).await.is_pending());
                }
                drop(calls);
                for _ in 0..n {
                    assert!(poll_once(&mut Box::pin(yield_now())).await.is_pending());
                }
            })
            .unwrap();
        assert_empty(&scheduler);
    }
}

#[test]
fn hundred_thousand_posts_in_one_turn_then_linear_and_in_order() {
    let mut scheduler = scheduler();
    let order = Rc::new(Cell::new(0));
    let theirs = Rc::clone(&order);
    scheduler
        .spawn(async move {
            for number in 0..MANY {
                let order = Rc::clone(&theirs);
                spawn_detached(async move { assert_eq!(order.replace(number + 1), number) });
            }
        })
        .detach();
    run_clean(&mut scheduler);
    assert_eq!(order.get(), MANY);
}

#[test]
fn twenty_thousand_tasks_answered_by_a_thread_one_by_one_then_linear() {
    // Every answer finds the loop asleep, which must find out each time that it may sleep.
    for n in [FEW, MANY / 5] {
        let mut scheduler = Scheduler::new();
        let (requests, work) = mpsc::channel::<oneshot::Sender<()>>();
        let (answered, next) = mpsc::channel::<()>();
        for _ in 0..n {
            let (sender, receiver) = oneshot::channel();
            let answered = answered.clone();
            requests.send(sender).unwrap();
            scheduler
                .spawn(async move {
                    receiver.await.unwrap();
                    answered.send(()).unwrap();
                })
                .detach();
        }
        drop(requests);
        let thread = thread::spawn(move || {
            for sender in work {
                sender.send(()).unwrap();
                next.recv().unwrap();
            }
        });
        run_clean(&mut scheduler);
        thread.join().unwrap();
    }
}

#[test]
fn twenty_thousand_readers_of_one_descriptor_then_one_event_wakes_all_in_order() {
    for n in [FEW, MANY / 5] {
        let mut scheduler = builder().quantum(32).build();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let ours = Rc::new(ours);
        let order = Rc::new(Cell::new(0));
        for number in 0..n {
            let (ours, order) = (Rc::clone(&ours), Rc::clone(&order));
            scheduler
                .spawn(async move {
                    read_wait(&*ours).await.unwrap();
                    assert_eq!(order.replace(number + 1), number);
                })
                .detach();
        }
        scheduler
            .block_on(async {
                yield_now().await;
                theirs.write_all(b"x").unwrap();
            })
            .unwrap();
        run_clean(&mut scheduler);
        assert_eq!(order.get(), n);
    }
}

#[test]
fn hundred_thousand_queues_then_nothing_of_them_stays() {
    let mut scheduler = builder().quantum(32).build();
    scheduler
        .block_on(async {
            let queues: Vec<_> = (0..MANY).map(|_| Rc::new(WaitQueue::new(0))).collect();
            for queue in &queues {
                let queue = Rc::clone(queue);
                spawn_detached(async move { queue.park().await });
            }
            yield_now().await;
            for at in shuffled(MANY) {
                queues[at].wake();
            }
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn deadlock_of_a_hundred_thousand_then_a_report_of_all_and_the_cycle() {
    let mut scheduler = builder().quantum(32).build();
    let ids: Rc<RefCell<Vec<TaskId>>> = Rc::default();
    for number in 0..MANY {
        let theirs = Rc::clone(&ids);
        let task = scheduler.spawn(async move {
            let next = theirs.borrow()[(number + 1) % MANY];
            let _ = wait(next).await;
        });
        ids.borrow_mut().push(task.id());
        task.detach();
    }
    let Err(RunError::Deadlock(report)) = scheduler.run() else { panic!("no deadlock") };
    assert_eq!(report.blocked.len(), MANY);
    assert_eq!(report.cycle, *ids.borrow());
}

#[test]
fn task_that_wakes_itself_a_hundred_thousand_times_a_turn_then_one_poll_is_owed() {
    let mut scheduler = scheduler();
    let mut polls = 0;
    scheduler
        .spawn(poll_fn(move |cx| {
            polls += 1;
            (0..MANY).for_each(|_| cx.waker().wake_by_ref());
            if polls == 5 { Poll::Ready(()) } else { Poll::Pending }
        }))
        .detach();
    let steps = support::step_while_ready(&mut scheduler);
    assert_eq!(steps, 5);
    run_clean(&mut scheduler);
}
