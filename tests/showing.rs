//! What is shown: steps as sentences, the task table, and the reports.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::future::{pending, poll_fn};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use support::{Slot, builder, run_clean, scheduler};
use trapline::{
    Ended, ExitStatus, RunError, RunReport, Scheduler, StepEvent, TaskOptions, TaskState,
    WaitQueue, get_tid, kill, post_kill, read_wait, sleep, spawn, wait, write_wait, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

/// Runs step by step; gives each as a sentence.
fn sentences(scheduler: &mut Scheduler) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let step = scheduler.step();
        all.push(without_lines(&scheduler.show(&step).to_string()));
        if step.is_last() {
            return all;
        }
    }
}

/// Puts `here` for lines of this file.
fn without_lines(text: &str) -> String {
    let mut parts = text.split("tests/showing.rs:");
    let mut kept = parts.next().unwrap().to_owned();
    for part in parts {
        // LINE in a sentence, LINE:COLUMN in a report.
        let mut rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        if let Some(after) = rest.strip_prefix(':')
            && after.starts_with(|c: char| c.is_ascii_digit())
        {
            rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
        }
        kept = kept + "here" + rest;
    }
    kept
}

#[test]
fn steps_shown_then_sentences_with_names() {
    let mut scheduler = scheduler();
    let task = async {
        let child = spawn(async {
            sleep(SECOND).await;
            7
        });
        let child = child.name("counter").await;
        yield_now().await;
        child.await.unwrap();
    };
    scheduler.spawn_with(TaskOptions::new().name("main"), task).detach();
    assert_eq!(
        sentences(&mut scheduler),
        [
            "task 1 `main` ran and asked spawn() at here: answered, task 2",
            "task 2 `counter` ran and asked sleep(1s) at here: blocked until its time has come",
            "task 1 `main` ran and asked yield_now() at here: answered, done; to the back of the queue",
            "task 1 `main` ran and asked join(task 2) at here: blocked until task 2 has ended",
            "the loop looked at the outside: one call answered; this woke task 2 `counter`",
            "task 2 ran and returned; this woke task 1 `main`",
            "task 1 ran and returned",
            "no task is left",
        ]
    );
}

#[test]
fn line_of_a_call_then_that_of_the_task() {
    let mut scheduler = scheduler();
    let line = line!() + 1;
    scheduler.spawn(async { sleep(SECOND).await }).detach();
    let step = scheduler.step();
    let StepEvent::Trapped { site, .. } = step.event() else { panic!("{step}") };
    assert_eq!((site.file(), site.line()), ("tests/showing.rs", line));
    let text = scheduler.show(&step).to_string();
    assert!(text.contains(&format!("tests/showing.rs:{line}")), "{text}");
    assert_eq!(scheduler.snapshot().tasks[0].site.line(), line);
}

#[test]
fn steps_shown_for_each_kind_of_block_then_what_each_waits_for() {
    let mut scheduler = scheduler();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    while std::io::Write::write(&mut &ours, &[0; 4096]).is_ok() {}
    scheduler
        .spawn_with(TaskOptions::new().daemon(), async move {
            let queue = WaitQueue::new(0);
            let _ = futures::join!(read_wait(&ours), write_wait(&ours), queue.park());
        })
        .detach();
    scheduler.spawn(poll_fn(|_| Poll::<()>::Pending)).detach();
    let step = scheduler.step();
    let text = without_lines(&scheduler.show(&step).to_string());
    let mut parts = text.split("; and ");
    assert!(parts.next().unwrap().ends_with("at here: blocked until there is something to read"));
    assert!(parts.next().unwrap().ends_with("at here: blocked until there is room to write"));
    assert_eq!(parts.next(), Some("park(queue 0) at here: blocked until someone wakes it"));
    assert_eq!(parts.next(), None);
    let next = scheduler.step();
    assert_eq!(scheduler.show(&next).to_string(), "task 2 ran and waits on");
    // Of an earlier step only the first call is known.
    assert!(!scheduler.show(&step).to_string().contains("; and "));
}

#[test]
fn step_that_wakes_then_whom() {
    let mut scheduler = scheduler();
    let queue = Rc::new(WaitQueue::new(0));
    for _ in 0..3 {
        let queue = Rc::clone(&queue);
        scheduler.spawn(async move { queue.park().await }).detach();
    }
    let theirs = Rc::clone(&queue);
    scheduler
        .spawn(async move {
            theirs.wake();
            theirs.wake_all();
            yield_now().await;
        })
        .detach();
    for _ in 0..3 {
        scheduler.step();
        assert_eq!(scheduler.woken(), []);
    }
    let step = scheduler.step();
    let woken: Vec<u64> = scheduler.woken().iter().map(|task| task.sequence()).collect();
    assert_eq!(woken, [1, 2, 3]);
    let text = scheduler.show(&step).to_string();
    assert!(text.ends_with("; this woke task 1, task 2, task 3"), "{text}");
    run_clean(&mut scheduler);
}

#[test]
fn program_that_wakes_between_steps_then_the_next_step_tells() {
    let mut scheduler = scheduler();
    let queue = Rc::new(WaitQueue::new(0));
    let theirs = Rc::clone(&queue);
    scheduler.spawn(async move { theirs.park().await }).detach();
    scheduler.step();
    queue.wake();
    let step = scheduler.step();
    assert_eq!((step.to_string(), scheduler.woken().len()), ("1 returned".to_owned(), 1));
    scheduler.step();
    assert_eq!(scheduler.woken(), []);
}

#[test]
fn steps_of_each_kind_of_end_then_they_say_so() {
    let mut scheduler = scheduler();
    scheduler.spawn(async {}).detach();
    scheduler.spawn(async { panic!("told") }).detach();
    scheduler
        .spawn(async {
            let _ = kill(get_tid().await).await;
        })
        .detach();
    let texts: Vec<String> = std::iter::from_fn(|| {
        let step = scheduler.step();
        (!step.is_last()).then(|| step.to_string())
    })
    .collect();
    let expected =
        ["1 returned", "2 panicked", "3 get_tid() = task 3", "3 kill(task 3) does not return"];
    assert_eq!(texts, expected);
    assert_eq!(scheduler.step().to_string(), "finished");
}

#[test]
fn step_in_which_a_task_killed_itself_by_post_then_it_says_so() {
    let mut scheduler = scheduler();
    scheduler
        .spawn(async {
            post_kill(get_tid().await);
            pending::<()>().await;
        })
        .detach();
    scheduler.step();
    let step = scheduler.step();
    assert_eq!(step.event(), StepEvent::Ended(Ended::Killed));
    assert_eq!(scheduler.show(&step).to_string(), "task 1 ran and killed");
}

#[test]
fn steps_are_small_and_copy() {
    fn copy<T: Copy>(_: &T) -> usize {
        size_of::<T>()
    }
    let step = scheduler().step();
    assert!(copy(&step) <= 64);
    assert_eq!((step.task(), step.calls(), step.is_last()), (None, 0, true));
}

#[test]
fn snapshot_then_every_task_with_its_state() {
    let mut scheduler = scheduler();
    let queue = Rc::new(WaitQueue::labelled("gate", 0));
    let theirs = Rc::clone(&queue);
    let options = TaskOptions::new().name("waiter");
    scheduler.spawn_with(options, async move { theirs.park().await }).detach();
    let ended = scheduler.spawn(async {});
    let panicked = scheduler.spawn(async { panic!("over") });
    scheduler.spawn(poll_fn(|_| Poll::<()>::Pending)).detach();
    scheduler
        .spawn(async {
            let parent = spawn(pending::<()>()).daemon().await;
            parent.await.unwrap();
        })
        .detach();
    for _ in 0..7 {
        scheduler.step();
    }
    scheduler.spawn(async {}).detach();
    let snapshot = scheduler.snapshot();
    let text = without_lines(&snapshot.to_string());
    let expected = "\
\x20task name         parent dispatches  state
    1 waiter            -          1  waits for park(queue 0) `gate` at here
    2 -                 -          1  returned
    3 -                 -          1  panicked: over
    4 -                 -          1  waits for somebody's waker
    5 -                 -          2  waits for join(task 6) at here
    6 -                 5          1  waits for somebody's waker
    7 -                 -          0  ready
";
    assert_eq!(text, expected);
    let info = snapshot.task(ended.id()).unwrap();
    assert_eq!(info.state, TaskState::Ended(ExitStatus::Returned));
    assert!(snapshot.tasks[5].daemon && !snapshot.tasks[4].daemon);
    assert_eq!(snapshot.tasks[5].parent, Some(snapshot.tasks[4].id));
    drop((ended, panicked));
}

#[test]
fn snapshot_of_a_task_in_the_middle_of_its_quantum_then_running() {
    let mut scheduler = builder().quantum(4).build();
    scheduler
        .spawn(async {
            loop {
                get_tid().await;
            }
        })
        .detach();
    scheduler.step();
    assert_eq!(scheduler.snapshot().tasks[0].state, TaskState::Running);
    for _ in 0..3 {
        scheduler.step();
    }
    assert_eq!(scheduler.snapshot().tasks[0].state, TaskState::Ready);
}

#[test]
fn snapshot_of_a_task_with_several_calls_then_all_of_them_in_order() {
    let mut scheduler = scheduler();
    let queue = WaitQueue::labelled("three", 0);
    let error = scheduler.block_on(async {
        let me = get_tid().await;
        let daemon = spawn(async move {
            let _ = wait(me).await;
        });
        let _daemon = daemon.daemon().await;
        futures::join!(queue.park(), async {
            let _ = wait(me).await;
        });
    });
    let Err(RunError::Deadlock(report)) = error else { panic!("no deadlock") };
    let text = without_lines(&report.to_string());
    let expected = "\
2 blocked
  task 1 waits for park(queue 0) `three` at here, and for wait(task 1) at here
  task 2 waits for wait(task 1) at here";
    assert_eq!(text, expected);
    assert_eq!(report.cycle, []);
}

#[test]
fn deadlock_report_then_names_lines_and_the_cycle() {
    let mut scheduler = scheduler();
    let ids: Slot<trapline::TaskId> = Slot::new();
    let theirs = ids.clone();
    let first = scheduler.spawn_with(TaskOptions::new().name("hen"), async move {
        let _ = wait(theirs.take().unwrap()).await;
    });
    let id = first.id();
    let second = scheduler.spawn_with(TaskOptions::new().name("egg"), async move {
        let _ = first.await;
    });
    let lonely = scheduler.spawn(async move {
        let _ = wait(id).await;
    });
    ids.put(second.id());
    let error = scheduler.run().unwrap_err();
    let text = without_lines(&error.to_string());
    let expected = "\
deadlock: 3 blocked
  task 1 `hen` waits for wait(task 2) at here
  task 2 `egg` waits for join(task 1) at here
  task 3 waits for wait(task 1) at here
  in a cycle: task 1 waits for task 2 waits for task 1";
    assert_eq!(text, expected);
    // The same may be asked for at any time.
    assert_eq!(without_lines(&scheduler.blocked().to_string()), expected["deadlock: ".len()..]);
    drop((second, lonely));
}

#[test]
fn reports_and_errors_then_they_print() {
    assert_eq!(RunReport::default().to_string(), "0 failures");
    assert_eq!(RunError::InsideTask.to_string(), "a scheduler cannot be run inside a task");
    assert_eq!(RunError::Killed.to_string(), "the task of `block_on` was killed");
    let mut scheduler = scheduler();
    scheduler.spawn_with(TaskOptions::new().name("named"), async { panic!("one") }).detach();
    scheduler.spawn(async { panic!("two") }).detach();
    let report = scheduler.run().unwrap();
    assert_eq!(report.to_string(), "2 failures\n  task 1: one\n  task 2: two");
    let debug = format!("{scheduler:?}");
    assert!(debug.starts_with("Scheduler { tasks: 0, ready: 0, timers: 0"), "{debug}");
}

#[test]
fn outside_with_nothing_new_then_it_says_so() {
    let mut scheduler = builder().batch(1).build();
    scheduler.spawn(yield_now()).detach();
    scheduler.step();
    let step = scheduler.step();
    let text = "the loop looked at the outside: nothing new";
    assert_eq!(scheduler.show(&step).to_string(), text);
    scheduler.spawn(sleep(SECOND)).detach();
    scheduler.spawn(sleep(SECOND)).detach();
    let all = sentences(&mut scheduler);
    let text = "the loop looked at the outside: 2 calls answered; this woke task 2, task 3";
    assert!(all.contains(&text.to_owned()), "{all:?}");
}
