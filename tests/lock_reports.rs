//! What the task table and the reports of deadlocks say of locks: what they are called, who holds them,
//! and the cycle.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures::join;
use support::{Trace, builder, run_clean, scheduler};
use trapline::sync::{Barrier, Condvar, Event, Mutex, OnceCell, RLock, RwLock, Semaphore};
use trapline::{RunError, Scheduler, TaskId, TaskState, WaitQueue};

const SECOND: Duration = Duration::from_secs(1);

fn leak<T>(thing: T) -> &'static T {
    Box::leak(Box::new(thing))
}

fn start(scheduler: &mut Scheduler, task: impl Future<Output = ()> + 'static) -> TaskId {
    let handle = scheduler.spawn(task);
    let id = handle.id();
    handle.detach();
    id
}

/// The report of the deadlock that the run ends in, with the places left out.
#[track_caller]
fn deadlock(scheduler: &mut Scheduler) -> String {
    match scheduler.run() {
        Err(RunError::Deadlock(report)) => without_places(&report.to_string()),
        other => panic!("not a deadlock: {other:?}"),
    }
}

/// `file:line:column` of this file stands as `here`.
fn without_places(text: &str) -> String {
    let mut parts = text.split(file!());
    let mut shown = parts.next().unwrap().to_owned();
    for part in parts {
        let mut rest = part;
        while let Some(number) = rest.strip_prefix(':').filter(|n| n.starts_with(char::is_numeric))
        {
            rest = number.trim_start_matches(char::is_numeric);
        }
        shown += "here";
        shown += rest;
    }
    shown
}

/// Warnings and lock cycles, as a probe is told of them.
fn listening() -> (Scheduler, Trace) {
    let trace = Trace::default();
    let lines = trace.clone();
    let probe = move |event: &trapline::Event<'_>| {
        if matches!(event, trapline::Event::LockCycle { .. } | trapline::Event::Warning { .. }) {
            lines.say(without_places(&event.to_string()));
        }
    };
    (builder().quantum(8).probe(probe).build(), trace)
}

#[test]
fn each_thing_that_is_waited_for_then_the_report_names_it() {
    let mut scheduler = builder().quantum(8).build();
    let mutex: &'static Mutex<u8> = leak(Mutex::new(0).named("log"));
    let rlock: &'static RLock<u8> = leak(RLock::new(0));
    let rwlock: &'static RwLock<u8> = leak(RwLock::new(0).named("table"));
    let semaphore: &'static Semaphore = leak(Semaphore::new(3).named(String::from("seats")));
    let condition: &'static Condvar = leak(Condvar::new().named("news"));
    let event: &'static Event = leak(Event::new().named("ready"));
    let barrier: &'static Barrier = leak(Barrier::new(9).named("start"));
    let cell: &'static OnceCell<u8> = leak(OnceCell::new().named("config"));
    let held = leak(Mutex::new(0));
    start(&mut scheduler, async move {
        let _log = mutex.lock().await;
        let _again = rlock.lock().await;
        let (_one, _other) = (rwlock.read().await, rwlock.read().await);
        let _seats = semaphore.acquire_many(2).await;
        cell.get_or_init(std::future::pending).await;
    });
    start(&mut scheduler, async move { drop(mutex.lock().await) });
    start(&mut scheduler, async move { drop(rlock.lock().await) });
    start(&mut scheduler, async move { drop(rwlock.write().await) });
    start(&mut scheduler, async move { drop(rwlock.read().await) });
    start(&mut scheduler, async move { drop(semaphore.acquire_many(2).await) });
    start(&mut scheduler, async move { drop(condition.wait(held.lock().await).await) });
    start(&mut scheduler, async move { event.wait().await });
    start(&mut scheduler, async move { _ = barrier.wait().await });
    start(&mut scheduler, async move { _ = cell.get_or_init(|| async { 1 }).await });
    let expected = "10 blocked
  task 1 waits for somebody's waker
  task 2 waits for mutex `log` at here, held by task 1 since here
  task 3 waits for reentrant lock at here, held by task 1 since here
  task 4 waits for all of rwlock `table` at here, held by task 1 since here and by 1 more
  task 5 waits for rwlock `table` at here, held by task 1 since here and by 1 more
  task 6 waits for 2 of semaphore `seats` at here, held by task 1 since here
  task 7 waits for condition `news` at here
  task 8 waits for event `ready` at here
  task 9 waits for barrier `start` at here
  task 10 waits for once cell `config` at here, held by task 1 since here";
    assert_eq!(deadlock(&mut scheduler), expected);
}

#[test]
fn mutex_in_the_task_table_then_it_shows_its_holder_and_the_lines() {
    let mut scheduler = scheduler();
    let mutex: &'static Mutex<u8> = leak(Mutex::new(0).named("log"));
    let line = line!() + 2;
    start(&mut scheduler, async move {
        let _guard = mutex.lock().await;
        trapline::sleep(SECOND).await;
    });
    let waiter = start(&mut scheduler, async move {
        trapline::yield_now().await;
        drop(mutex.lock().await);
    });
    let step = loop {
        let step = scheduler.step();
        if scheduler.show(&step).to_string().contains("for mutex `log`") {
            break step;
        }
    };
    let shown = without_places(&scheduler.show(&step).to_string());
    assert_eq!(
        shown,
        "task 2 ran and asked for mutex `log` at here: blocked until someone wakes it"
    );
    let table = scheduler.snapshot().to_string();
    let place = |line: u32| format!("{}:{line}:", file!());
    assert!(table.contains(&format!("waits for mutex `log` at {}", place(line + 5))), "{table}");
    assert!(table.contains(&format!("held by task 1 since {}", place(line))), "{table}");
    let snapshot = scheduler.snapshot();
    let TaskState::Blocked(calls) = &snapshot.task(waiter).unwrap().state else {
        panic!("{table}")
    };
    let queue = calls[0].queue.as_ref().unwrap();
    assert_eq!((queue.kind, queue.name.as_deref()), (Some("mutex"), Some("log")));
    assert_eq!(queue.holder.as_ref().unwrap().since.unwrap().line(), line);
    run_clean(&mut scheduler);
}

#[test]
fn lock_taken_outside_a_task_or_under_another_scheduler_then_no_task_is_named() {
    let mutex: &'static Mutex<u8> = leak(Mutex::new(0));
    let guard = mutex.try_lock();
    let mut first = scheduler();
    start(&mut first, async move { std::mem::forget(mutex.lock().await) });
    let held = "1 blocked\n  task 1 waits for mutex at here, held since here";
    assert_eq!(deadlock(&mut first), held);
    drop(guard);
    run_clean(&mut first);
    drop(first);
    let mut second = scheduler();
    start(&mut second, async move { drop(mutex.lock().await) });
    assert_eq!(deadlock(&mut second), held);
}

#[test]
fn lock_handed_over_then_its_new_holder_is_named_also_before_it_runs() {
    let mut scheduler = scheduler();
    let mutex: &'static Mutex<u8> = leak(Mutex::new(0));
    let guard = mutex.try_lock();
    let waits: Rc<RefCell<Vec<_>>> = Rc::default();
    for _ in 0..2 {
        let waits = Rc::clone(&waits);
        start(&mut scheduler, async move {
            let mut wait = mutex.lock();
            assert!(support::poll_once(&mut wait).await.is_pending());
            waits.borrow_mut().push(wait);
            std::future::pending::<()>().await;
        });
    }
    for _ in 0..6 {
        scheduler.step();
    }
    drop(guard);
    // Its future lies about and nobody polls it: the reader sees who should.
    let report = without_places(&scheduler.blocked().to_string());
    assert!(
        report.contains("task 2 waits for mutex at here, held by task 1 since here"),
        "{report}"
    );
    waits.take().clear();
    let report = scheduler.blocked().to_string();
    assert!(!report.contains("mutex"), "{report}");
    assert!(mutex.try_lock().is_some());
}

#[test]
fn cycle_of_locks_then_the_report_spells_it_out_and_the_probe_was_told_as_it_closed() {
    let (mut scheduler, trace) = listening();
    let fork: &'static Mutex<u8> = leak(Mutex::new(0).named("fork"));
    let knife: &'static Mutex<u8> = leak(Mutex::new(0).named("knife"));
    for (mine, other) in [(fork, knife), (knife, fork)] {
        start(&mut scheduler, async move {
            let _mine = mine.lock().await;
            trapline::yield_now().await;
            drop(other.lock().await);
        });
    }
    start(&mut scheduler, async move { drop(fork.lock().await) });
    let report = deadlock(&mut scheduler);
    let cycle =
        "  in a cycle: task 1 waits for mutex `knife` of task 2 waits for mutex `fork` of task 1";
    assert_eq!(
        report,
        format!(
            "3 blocked
  task 1 waits for mutex `knife` at here, held by task 2 since here
  task 2 waits for mutex `fork` at here, held by task 1 since here
  task 3 waits for mutex `fork` at here, held by task 1 since here
{cycle}"
        )
    );
    let closed = "lock cycle: 2 blocked
  task 2 waits for mutex `fork` at here, held by task 1 since here
  task 1 waits for mutex `knife` at here, held by task 2 since here
  in a cycle: task 2 waits for mutex `fork` of task 1 waits for mutex `knife` of task 2";
    assert_eq!(trace.take(), [closed], "told once");
}

#[test]
fn cycle_through_a_lock_and_an_exit_then_it_is_one_whichever_closes_it() {
    for child_first in [false, true] {
        let (mut scheduler, trace) = listening();
        let mutex: &'static Mutex<u8> = leak(Mutex::new(0).named("log"));
        start(&mut scheduler, async move {
            let _guard = mutex.lock().await;
            let child = trapline::spawn(async move { drop(mutex.lock().await) }).await;
            if child_first {
                trapline::yield_now().await;
            }
            child.await.unwrap();
        });
        let report = deadlock(&mut scheduler);
        let cycle = "\n  in a cycle: task 1 waits for task 2 waits for mutex `log` of task 1";
        assert!(report.ends_with(cycle), "{report}");
        let told = trace.take();
        assert_eq!(told.len(), 1, "{told:?}");
        let closer =
            if child_first { "task 1 waits for task 2" } else { "task 2 waits for mutex `log`" };
        assert!(told[0].contains(&format!("in a cycle: {closer}")), "{told:?}");
    }
}

#[test]
fn task_waits_for_the_lock_it_holds_then_that_is_a_cycle_of_one() {
    let (mut scheduler, trace) = listening();
    let mutex: &'static Mutex<u8> = leak(Mutex::new(0).named("log"));
    start(&mut scheduler, async move {
        let _guard = mutex.lock().await;
        drop(mutex.lock().await);
    });
    let report = deadlock(&mut scheduler);
    assert!(report.ends_with("task 1 waits for mutex `log` of task 1"), "{report}");
    assert_eq!(trace.take().len(), 1);
}

#[test]
fn cycle_of_very_many_then_the_report_spells_it_out() {
    const MANY: usize = 5000;
    let locks: &'static Vec<Mutex<usize>> = leak((0..MANY).map(Mutex::new).collect());
    let mut scheduler = Scheduler::builder().virtual_clock().build();
    for (at, lock) in locks.iter().enumerate() {
        start(&mut scheduler, async move {
            let _guard = lock.lock().await;
            trapline::yield_now().await;
            drop(locks[(at + 1) % MANY].lock().await);
        });
    }
    let report = deadlock(&mut scheduler);
    assert_eq!(report.matches("waits for mutex of task").count(), MANY);
    assert!(report.ends_with("task 5000 waits for mutex of task 1"));
}

#[test]
fn guard_moved_away_breaks_a_cycle_then_it_was_told_and_the_run_ends() {
    let (mut scheduler, trace) = listening();
    let mutex = Rc::new(Mutex::new(0));
    start(&mut scheduler, async move {
        let guard = mutex.lock_owned().await;
        trapline::spawn_detached(async move { drop(guard) });
        drop(mutex.lock().await);
    });
    run_clean(&mut scheduler);
    assert_eq!(trace.take().len(), 1);
}

#[test]
fn timeout_breaks_a_cycle_then_it_was_told_and_the_run_ends() {
    let (mut scheduler, trace) = listening();
    let (left, right): (&'static Mutex<u8>, &'static Mutex<u8>) =
        (leak(Mutex::new(0)), leak(Mutex::new(0)));
    for (mine, other) in [(left, right), (right, left)] {
        start(&mut scheduler, async move {
            let _mine = mine.lock().await;
            trapline::yield_now().await;
            let _ = trapline::timeout(SECOND, other.lock()).await;
        });
    }
    run_clean(&mut scheduler);
    let told = trace.take();
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("lock cycle: 2 blocked"), "{told:?}");
}

#[test]
fn locks_without_a_cycle_then_the_probe_is_told_of_none() {
    let (mut scheduler, trace) = listening();
    let locks: [&'static Mutex<u8>; 3] = [0, 1, 2].map(|_| leak(Mutex::new(0)));
    for first in 0..3 {
        start(&mut scheduler, async move {
            for lock in &locks[first..] {
                let _guard = lock.lock().await;
                trapline::yield_now().await;
                let (_inner, ()) = join!(locks[2].lock(), trapline::yield_now());
            }
        });
    }
    // The last lock is taken twice by its holder.
    assert!(scheduler.run().is_err());
    let told = trace.take();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("lock cycle: 1 blocked"), "{told:?}");
}

#[test]
fn shared_lock_with_several_holders_then_no_cycle_is_claimed() {
    let (mut scheduler, trace) = listening();
    let seats: &'static Semaphore = leak(Semaphore::new(2));
    start(&mut scheduler, async move {
        let _seat = seats.acquire().await;
        let _other = seats.acquire().await;
        drop(seats.acquire().await);
    });
    let report = deadlock(&mut scheduler);
    assert!(report.ends_with("held by task 1 since here and by 1 more"), "{report}");
    assert_eq!(trace.take(), [""; 0]);
}

#[test]
fn last_of_several_holders_has_gone_then_only_the_number_is_told() {
    let mut scheduler = builder().quantum(8).build();
    let table: &'static RwLock<u8> = leak(RwLock::new(0));
    let first = table.try_read();
    let second = table.try_read();
    drop(second);
    start(&mut scheduler, async move { drop(table.write().await) });
    let report = deadlock(&mut scheduler);
    assert!(report.ends_with("rwlock at here, held by 1"), "{report}");
    drop(first);
    run_clean(&mut scheduler);
}

#[test]
fn holder_has_ended_with_its_guard_leaked_then_the_report_says_so_and_a_warning_once() {
    let (mut scheduler, trace) = listening();
    let mutex: &'static Mutex<u8> = leak(Mutex::new(0).named("log"));
    start(&mut scheduler, async move { std::mem::forget(mutex.lock().await) });
    for _ in 0..2 {
        start(&mut scheduler, async move { drop(mutex.lock().await) });
    }
    let expected = "2 blocked
  task 2 waits for mutex `log` at here, held by task 1, which has ended, since here
  task 3 waits for mutex `log` at here, held by task 1, which has ended, since here";
    assert_eq!(deadlock(&mut scheduler), expected);
    assert_eq!(trace.take(), ["warning: a task waits for a lock whose holder has ended at here"]);
}

#[test]
fn bare_queue_with_a_name_then_the_table_shows_the_name() {
    let mut scheduler = scheduler();
    let queue: &'static WaitQueue = leak(WaitQueue::of("pipe", 0));
    start(&mut scheduler, async move { queue.park().await });
    assert_eq!(deadlock(&mut scheduler), "1 blocked\n  task 1 waits for pipe at here");
    queue.set_name("east");
    assert_eq!(deadlock(&mut scheduler), "1 blocked\n  task 1 waits for pipe `east` at here");
    assert_eq!(queue.name().as_deref(), Some("east"));
    queue.wake();
    run_clean(&mut scheduler);
}
