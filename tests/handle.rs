//! Tasks that other threads start: what comes back, in which order they arrive, and what is told where
//! none comes back. Behaviours 51 and 53.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use futures::executor;
use futures::future::join_all;
use proptest::prelude::*;
use support::{
    OnDrop, Trace, assert_empty, builder, panic_of, poll_idly, run_clean, scheduler, text_of,
    traced,
};
use trapline::{
    Event, ExitStatus, Handle, RemoteJoinError, RemoteJoinHandle, RunError, Scheduler,
    SchedulerGone, StepEvent, TaskOptions, TaskState, WaitQueue, cancel, get_tid, handle, kill,
    sleep, unblock, wait, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

/// What a thread does to a scheduler that runs meanwhile, until it is done.
#[track_caller]
fn serve_thread<T: Send + 'static>(
    scheduler: &mut Scheduler,
    work: impl FnOnce(Handle) -> T + Send + 'static,
) -> T {
    let handle = scheduler.handle();
    // The task that waits for the thread keeps the scheduler going, asleep in its driver.
    scheduler.block_on(unblock(move || work(handle))).unwrap()
}

// What it is.

#[test]
fn handle_and_join_handle_then_they_may_go_to_any_thread() {
    fn goes_anywhere<T: Send + Sync + Clone>() {}
    fn is_send_and_sync<T: Send + Sync>() {}
    goes_anywhere::<Handle>();
    is_send_and_sync::<RemoteJoinHandle<String>>();
    is_send_and_sync::<RemoteJoinError>();
}

// What comes back.

#[test]
fn task_started_by_a_thread_then_its_value_comes_back_by_join() {
    let mut scheduler = scheduler();
    let value = serve_thread(&mut scheduler, |handle| {
        // The future is not `Send`.
        handle
            .spawn(|| async {
                let shared = Rc::new(RefCell::new(40));
                sleep(SECOND).await;
                *shared.borrow_mut() += 2;
                shared.take()
            })
            .join()
    });
    assert_eq!(value.unwrap(), 42);
    run_clean(&mut scheduler);
}

#[test]
fn task_started_by_a_thread_then_it_may_be_awaited_under_another_executor() {
    let mut scheduler = scheduler();
    let value = serve_thread(&mut scheduler, |handle| {
        executor::block_on(handle.spawn(|| async {
            sleep(SECOND).await;
            "awaited"
        }))
    });
    assert_eq!(value.unwrap(), "awaited");
    run_clean(&mut scheduler);
}

#[test]
fn task_started_in_another_scheduler_then_a_task_of_ours_may_await_it() {
    let (handles, heard) = mpsc::channel();
    let (stop, stopped) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let mut scheduler = scheduler();
        handles.send(scheduler.handle()).unwrap();
        scheduler.block_on(unblock(move || stopped.recv().unwrap())).unwrap();
        run_clean(&mut scheduler);
    });
    let theirs = heard.recv().unwrap();
    let mut ours = scheduler();
    let total = ours.block_on(async {
        let started = (0..50_u64).map(|number| theirs.spawn(move || async move { number * 2 }));
        join_all(started).await.into_iter().map(Result::unwrap).sum::<u64>()
    });
    assert_eq!(total.unwrap(), 2450);
    stop.send(()).unwrap();
    thread.join().unwrap();
    run_clean(&mut ours);
}

#[test]
fn handle_asked_for_inside_a_task_then_it_is_that_schedulers() {
    let mut scheduler = scheduler();
    let sequence = scheduler.block_on(async {
        let handle = handle();
        let started = unblock(move || handle.spawn(|| async { get_tid().await.sequence() })).await;
        started.await.unwrap()
    });
    assert_eq!(sequence.unwrap(), 2);
    run_clean(&mut scheduler);
    let text = panic_of(handle);
    assert!(text.contains("called by a task"), "{text}");
}

#[test]
fn handle_used_by_a_task_of_its_own_scheduler_then_the_task_starts_too() {
    let mut scheduler = scheduler();
    let value = scheduler.block_on(async { handle().spawn(|| async { 7 }).await });
    assert_eq!(value.unwrap().unwrap(), 7);
    run_clean(&mut scheduler);
}

#[test]
fn name_daemon_and_line_of_a_task_from_a_thread_then_the_task_table_shows_them() {
    let mut scheduler = scheduler();
    let options = TaskOptions::new().name("fed").daemon();
    let line = line!() + 1;
    scheduler.handle().spawn_with(options, || sleep(SECOND)).detach();
    // Nobody but a daemon is left, and still it has been taken in.
    assert_eq!(scheduler.run().unwrap().failures, 0);
    let task = scheduler.snapshot().tasks.remove(0);
    assert_eq!((task.name.as_deref(), task.daemon, task.parent), (Some("fed"), true, None));
    assert_eq!((task.site.file(), task.site.line()), (file!(), line));
    assert_eq!(task.state, TaskState::Ready);
}

// When.

#[test]
fn tasks_sent_before_run_then_they_are_run_in_the_order_of_their_arrival() {
    let mut scheduler = scheduler();
    let handle = scheduler.handle();
    let order = Arc::new(Mutex::new(Vec::new()));
    for number in 0..20 {
        let (handle, order) = (handle.clone(), Arc::clone(&order));
        // Each by a thread of its own, one after the other.
        let start = move || async move { order.lock().unwrap().push(number) };
        thread::spawn(move || handle.spawn(start).detach()).join().unwrap();
    }
    run_clean(&mut scheduler);
    assert!(order.lock().unwrap().iter().copied().eq(0..20));
}

#[test]
fn task_sent_to_a_scheduler_that_sleeps_in_its_driver_then_it_wakes_up() {
    // Asleep without end, for a thread; and until an hour has passed, on a real clock.
    for hour in [false, true] {
        let mut scheduler = Scheduler::new();
        if hour {
            scheduler.spawn_with(TaskOptions::new().daemon(), sleep(3600 * SECOND)).detach();
        }
        for _ in 0..200 {
            let value = serve_thread(&mut scheduler, |handle| handle.spawn(|| async { 5 }).join());
            assert_eq!(value.unwrap(), 5);
        }
    }
}

#[test]
fn tasks_from_many_threads_at_once_then_each_runs_once_and_each_threads_in_order() {
    const THREADS: usize = 8;
    const TASKS: usize = 500;
    let mut scheduler = Scheduler::builder().batch(16).build();
    let arrived = Arc::new(Mutex::new(vec![Vec::new(); THREADS]));
    let seen = Arc::clone(&arrived);
    serve_thread(&mut scheduler, move |handle| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (handle, seen) = (handle.clone(), Arc::clone(&seen));
                thread::spawn(move || {
                    let started: Vec<_> = (0..TASKS)
                        .map(|number| {
                            let seen = Arc::clone(&seen);
                            handle.spawn(move || async move {
                                seen.lock().unwrap()[thread].push(number);
                                yield_now().await;
                                number
                            })
                        })
                        .collect();
                    for (number, task) in started.into_iter().enumerate() {
                        assert_eq!(task.join().unwrap(), number);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    run_clean(&mut scheduler);
    for numbers in arrived.lock().unwrap().iter() {
        assert!(numbers.iter().copied().eq(0..TASKS));
    }
}

#[test]
fn handle_alone_then_run_ends_and_a_deadlock_is_one() {
    let mut scheduler = scheduler();
    let handle = scheduler.handle();
    run_clean(&mut scheduler);
    let queue = Rc::new(WaitQueue::new(0));
    let parked = Rc::clone(&queue);
    scheduler.spawn(async move { parked.park().await }).detach();
    assert!(matches!(scheduler.run(), Err(RunError::Deadlock(_))));
    // A task from elsewhere may end it, when the scheduler is run again.
    assert!(!handle.is_closed());
    let task = scheduler.blocked().blocked[0].task;
    handle.kill(task).unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn trace_of_a_task_from_a_thread_then_the_program_spawns_it_as_any_other() {
    let (mut scheduler, trace) = traced();
    scheduler.handle().spawn(|| async {}).detach();
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["program spawns 1", "outside: 0", "1 is taken", "1 ends: returned"]);
}

#[test]
fn step_by_step_then_the_errand_is_part_of_a_look_at_the_outside() {
    let mut scheduler = scheduler();
    assert_eq!(scheduler.step().event(), StepEvent::Finished);
    let task = scheduler.handle().spawn(|| async { 1 });
    assert_eq!((task.is_finished(), task.id()), (false, None));
    assert_eq!(scheduler.step().event(), StepEvent::Outside { answered: 0 });
    assert_eq!(scheduler.ready().len(), 1);
    let step = scheduler.step();
    assert_eq!((task.is_finished(), task.id()), (true, step.task()));
    assert_eq!(task.join().unwrap(), 1);
    run_clean(&mut scheduler);
}

// Where no value comes back.

#[test]
fn task_that_panics_then_the_payload_goes_to_the_thread_and_nobody_else_is_told() {
    let mut scheduler = scheduler();
    let error = serve_thread(&mut scheduler, |handle| {
        handle.spawn(|| async { std::panic::panic_any(17_u8) }).join().unwrap_err()
    });
    assert!(error.is_panic() && !error.is_killed() && !error.is_gone());
    assert_eq!(error.to_string(), "the task panicked");
    assert_eq!(*error.try_into_panic().unwrap().downcast::<u8>().unwrap(), 17);
    run_clean(&mut scheduler);
}

#[test]
fn closure_that_panics_before_there_is_a_future_then_it_is_the_tasks_panic() {
    let mut scheduler = scheduler();
    let error = serve_thread(&mut scheduler, |handle| {
        let start = || -> std::future::Ready<u8> { panic!("no future") };
        handle.spawn(start).join().unwrap_err()
    });
    assert_eq!(error.to_string(), "the task panicked: no future");
    assert_eq!(text_of(&*error.try_into_panic().unwrap()), "no future");
    run_clean(&mut scheduler);
}

#[test]
fn panic_that_is_waited_for_in_its_scheduler_too_then_both_are_told() {
    let mut scheduler = scheduler();
    let remote = scheduler.handle().spawn(|| async {
        yield_now().await;
        panic!("seen twice");
    });
    scheduler.step();
    let id = scheduler.ready()[0];
    let status = scheduler.block_on(async move { wait(id).await.unwrap() }).unwrap();
    assert_eq!(status, ExitStatus::Panicked("seen twice".into()));
    assert_eq!(remote.join().unwrap_err().to_string(), "the task panicked: seen twice");
    run_clean(&mut scheduler);
}

#[test]
fn panic_of_a_task_whose_handle_is_gone_then_it_is_counted_as_any_other() {
    let mut scheduler = scheduler();
    drop(scheduler.handle().spawn(|| async { panic!("unseen") }));
    let report = scheduler.run().unwrap();
    assert_eq!((report.failures, &*report.first_failures[0].text), (1, "unseen"));
    assert_empty(&scheduler);
}

#[test]
fn handle_dropped_with_a_panic_that_nobody_read_then_there_is_a_warning() {
    let trace = Trace::default();
    let lines = trace.clone();
    let mut scheduler = builder()
        .probe(move |event: &Event<'_>| {
            if matches!(event, Event::Warning { .. }) {
                lines.say(event);
            }
        })
        .build();
    let remote = scheduler.handle().spawn(|| async { panic!("unread") });
    run_clean(&mut scheduler);
    drop(remote);
    run_clean(&mut scheduler);
    let lines = trace.take();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("dropped unread"), "{}", lines[0]);
}

#[test]
fn task_killed_by_another_then_the_thread_is_told_when_its_locals_are_gone() {
    let mut scheduler = scheduler();
    let dropped = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&dropped);
    let remote = scheduler.handle().spawn(move || async move {
        let _guard = OnDrop(move || {
            theirs.fetch_add(1, Ordering::SeqCst);
        });
        sleep(SECOND).await;
    });
    scheduler.step();
    scheduler.step();
    let id = remote.id().unwrap();
    let joined = thread::spawn(move || (remote.join(), dropped.load(Ordering::SeqCst)));
    scheduler.block_on(async move { kill(id).await.unwrap() }).unwrap();
    let (result, dropped) = joined.join().unwrap();
    assert!(result.unwrap_err().is_killed());
    assert_eq!(dropped, 1);
    run_clean(&mut scheduler);
}

#[test]
fn task_killed_through_the_handle_at_each_moment_then_the_thread_is_told() {
    // Not polled; blocked; ready after a wake; ended.
    for steps in 0..4 {
        let mut scheduler = scheduler();
        let handle = scheduler.handle();
        let remote = handle.spawn(|| async { sleep(SECOND).await });
        // Taken in.
        scheduler.step();
        let id = scheduler.ready()[0];
        for _ in 0..steps {
            scheduler.step();
        }
        handle.kill(id).unwrap();
        handle.kill(id).unwrap();
        run_clean(&mut scheduler);
        match remote.join() {
            Ok(_) => assert!(steps >= 2, "{steps}"),
            Err(error) => assert!(error.is_killed() && steps < 3, "{steps}: {error}"),
        }
    }
}

#[test]
fn root_of_block_on_killed_by_a_thread_then_block_on_says_so_and_the_others_stay() {
    for asleep in [false, true] {
        let mut scheduler = Scheduler::new();
        let handle = scheduler.handle();
        let (ids, heard) = mpsc::channel();
        let killer = thread::spawn(move || handle.kill(heard.recv().unwrap()));
        let other = scheduler.spawn(async { 3 });
        let ended = scheduler.block_on(async {
            ids.send(get_tid().await).unwrap();
            if asleep {
                sleep(3600 * SECOND).await;
            } else {
                loop {
                    yield_now().await;
                }
            }
        });
        assert!(matches!(ended, Err(RunError::Killed)));
        killer.join().unwrap().unwrap();
        assert_eq!(scheduler.block_on(other).unwrap().unwrap(), 3);
        run_clean(&mut scheduler);
    }
}

#[test]
fn root_of_block_on_killed_before_a_look_at_the_outside_then_it_does_not_sleep() {
    let mut scheduler = scheduler();
    let handle = scheduler.handle();
    let ended = scheduler.block_on(async {
        handle.kill(get_tid().await).unwrap();
        // Nobody will ever wake it: were the scheduler to look for someone, it would report a deadlock.
        WaitQueue::new(0).park().await;
    });
    assert!(matches!(ended, Err(RunError::Killed)));
    run_clean(&mut scheduler);
}

#[test]
fn scheduler_gone_before_it_was_asked_then_told_at_once() {
    let handle = scheduler().handle();
    assert!(handle.is_closed());
    let start = OnDrop(|| ());
    let remote = handle.spawn(move || async move { drop(start) });
    assert!(remote.is_finished());
    assert!(remote.join().unwrap_err().is_gone());
    let id = scheduler().block_on(get_tid()).unwrap();
    assert_eq!(handle.kill(id), Err(SchedulerGone));
}

#[test]
fn scheduler_gone_before_the_task_began_or_while_it_lived_then_told() {
    for steps in 0..3 {
        let mut scheduler = scheduler();
        let remote = scheduler.handle().spawn(|| sleep(SECOND));
        for _ in 0..steps {
            scheduler.step();
        }
        let joined = thread::spawn(move || remote.join());
        drop(scheduler);
        let error = joined.join().unwrap().unwrap_err();
        assert!(error.is_gone(), "{steps}: {error}");
        assert_eq!(error.to_string(), "the scheduler is gone");
    }
}

#[test]
fn closures_whose_destructors_panic_when_the_scheduler_goes_then_the_others_are_told() {
    let scheduler = scheduler();
    let handle = scheduler.handle();
    let guard = OnDrop(|| panic!("in a destructor"));
    let first = handle.spawn(move || async move { drop(guard) });
    let second = handle.spawn(|| async {});
    drop(scheduler);
    assert!(first.join().unwrap_err().is_gone());
    assert!(second.join().unwrap_err().is_gone());
}

#[test]
fn threads_that_send_while_the_scheduler_is_dropped_then_every_handle_is_told() {
    for _ in 0..50 {
        let mut scheduler = Scheduler::new();
        let barrier = Arc::new(Barrier::new(3));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (handle, barrier) = (scheduler.handle(), Arc::clone(&barrier));
                thread::spawn(move || {
                    barrier.wait();
                    let started: Vec<_> =
                        (0..50).map(|number| handle.spawn(move || async move { number })).collect();
                    for (number, task) in started.into_iter().enumerate() {
                        match task.join() {
                            Ok(value) => assert_eq!(value, number),
                            Err(error) => assert!(error.is_gone(), "{error}"),
                        }
                    }
                })
            })
            .collect();
        barrier.wait();
        assert_eq!(scheduler.run().unwrap().failures, 0);
        drop(scheduler);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

// The handle of the task.

#[test]
fn handle_of_a_task_dropped_then_the_task_runs_on_and_its_value_is_dropped() {
    let mut scheduler = scheduler();
    let dropped = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&dropped);
    let value = OnDrop(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    drop(scheduler.handle().spawn(move || async move {
        sleep(SECOND).await;
        value
    }));
    run_clean(&mut scheduler);
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

#[test]
fn join_inside_a_task_then_it_is_refused() {
    let mut scheduler = scheduler();
    let task = scheduler.spawn(async { handle().spawn(|| async {}).join().is_ok() });
    let error = scheduler.block_on(task).unwrap().unwrap_err();
    assert!(error.to_string().contains("would block the scheduler"), "{error}");
    run_clean(&mut scheduler);
}

#[test]
fn handle_of_a_task_polled_under_one_waker_and_then_another_then_the_last_is_woken() {
    let mut scheduler = scheduler();
    let mut remote = scheduler.handle().spawn(|| async { 3 });
    let (first, first_waker) = support::Counter::new();
    let (second, second_waker) = support::Counter::new();
    assert!(support::poll_under(&mut remote, &first_waker).is_pending());
    assert!(support::poll_under(&mut remote, &second_waker).is_pending());
    run_clean(&mut scheduler);
    assert_eq!((first.count(), second.count()), (0, 1));
    assert_eq!(poll_idly(&mut remote).map(Result::unwrap), std::task::Poll::Ready(3));
    let text = panic_of(|| poll_idly(&mut remote).is_ready());
    assert!(text.contains("polled again after it was ready"), "{text}");
}

// At random.

#[derive(Clone, Copy, Debug)]
enum Op {
    /// A task that yields so often.
    Spawn(u8),
    /// Steps of the scheduler.
    Step(u8),
    /// Kills the task that was started so long ago, if it has begun.
    Kill(u8),
    /// Drops the handle of that task.
    Forget(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..5_u8).prop_map(Op::Spawn),
        4 => (1..6_u8).prop_map(Op::Step),
        1 => (0..8_u8).prop_map(Op::Kill),
        1 => (0..8_u8).prop_map(Op::Forget),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn tasks_started_killed_and_forgotten_at_random_then_each_handle_is_told_once(
        ops in proptest::collection::vec(op(), 1..60),
        goes in any::<bool>(),
    ) {
        let mut scheduler = scheduler();
        let handle = scheduler.handle();
        let mut started: Vec<(u8, bool, Option<RemoteJoinHandle<u8>>)> = Vec::new();
        for op in ops {
            let last = started.len();
            match op {
                Op::Spawn(yields) => {
                    let task = handle.spawn(move || async move {
                        for _ in 0..yields {
                            yield_now().await;
                        }
                        yields
                    });
                    started.push((yields, false, Some(task)));
                }
                Op::Step(steps) => (0..steps).for_each(|_| {
                    scheduler.step();
                    scheduler.check_invariants();
                }),
                Op::Kill(ago) | Op::Forget(ago) if usize::from(ago) < last => {
                    let (_, killed, task) = &mut started[last - 1 - usize::from(ago)];
                    if matches!(op, Op::Forget(_)) {
                        drop(task.take());
                    } else if let Some(id) = task.as_ref().and_then(RemoteJoinHandle::id) {
                        handle.kill(id).unwrap();
                        *killed = true;
                    }
                }
                Op::Kill(_) | Op::Forget(_) => {}
            }
        }
        if goes {
            drop(scheduler);
        } else {
            run_clean(&mut scheduler);
        }
        for (yields, killed, task) in started {
            match task.map(RemoteJoinHandle::join) {
                Some(Ok(value)) => prop_assert_eq!(value, yields),
                Some(Err(error)) if error.is_killed() => prop_assert!(killed),
                Some(Err(error)) => prop_assert!(goes && error.is_gone(), "{}", error),
                None => {}
            }
        }
    }
}

#[test]
fn task_cancelled_by_a_thread_then_it_hears_who_said_so_and_where() {
    let mut scheduler = scheduler();
    let handle = scheduler.handle();
    let task = scheduler.spawn(async { trapline::cancelled().await });
    let id = task.id();
    let line = line!() + 1;
    let thread = thread::spawn(move || handle.cancel(id, "from a thread").unwrap());
    // A handle is not waited for: what it sent is there when the scheduler begins.
    thread.join().unwrap();
    let why = scheduler.block_on(task).unwrap().unwrap();
    assert_eq!((why.text(), why.by(), why.site().line()), ("from a thread", None, line));
    let handle = scheduler.handle();
    drop(scheduler);
    assert_eq!(handle.cancel(id, "too late"), Err(SchedulerGone));
}

#[test]
fn task_is_cancelled_then_its_handle_says_who_and_why() {
    for named in [false, true] {
        let mut scheduler = scheduler();
        let options = if named { TaskOptions::new().name("far") } else { TaskOptions::new() };
        let remote = scheduler.handle().spawn_with(options, || async {
            std::future::pending::<()>().await;
        });
        scheduler.step();
        scheduler.step();
        let id = remote.id().unwrap();
        scheduler.block_on(async move { cancel(id, "no longer needed").await.unwrap() }).unwrap();
        let error = remote.join().unwrap_err();
        assert!(!error.is_killed() && !error.is_gone());
        assert_eq!(error.cancelled().unwrap().text(), "no longer needed");
        let text = error.to_string();
        assert!(text.starts_with("the task was cancelled by task 2 at tests/"), "{text}");
        run_clean(&mut scheduler);
    }
}
