//! Other threads: wakers called from anywhere, deadlock told from stall, and what is left when the
//! scheduler is gone.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use futures::channel::{mpsc as channel, oneshot};
use futures::stream::{FuturesUnordered, StreamExt};
use support::{OnDrop, Slot, Trace, assert_empty, builder, run_clean, scheduler};
use trapline::{
    Event, RunError, Scheduler, StepEvent, TaskOptions, WaitQueue, get_tid, kill, random, sleep,
    spawn, wait, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

/// Gives its waker away once, then waits for the flag.
async fn wait_for_flag(flag: Arc<AtomicBool>, give: impl FnOnce(Waker)) {
    let mut give = Some(give);
    poll_fn(move |cx| {
        if flag.load(Ordering::SeqCst) {
            return Poll::Ready(());
        }
        if let Some(give) = give.take() {
            give(cx.waker().clone());
        }
        Poll::Pending
    })
    .await;
}

/// A probe that keeps the events which begin with a word.
fn probe_for(word: &'static str, trace: &Trace) -> impl FnMut(&Event<'_>) + use<> {
    let trace = trace.clone();
    move |event: &Event<'_>| {
        let line = event.to_string();
        if line.starts_with(word) {
            trace.say(line);
        }
    }
}

// Values from threads (51)

#[test]
fn value_sent_from_a_thread_then_its_task_is_woken() {
    let mut scheduler = Scheduler::new();
    let (sender, receiver) = oneshot::channel();
    let thread = thread::spawn(move || sender.send(7).unwrap());
    assert_eq!(scheduler.block_on(receiver).unwrap(), Ok(7));
    thread.join().unwrap();
    assert_empty(&scheduler);
}

#[test]
fn value_sent_while_the_scheduler_sleeps_in_the_driver_then_its_task_is_woken() {
    // Three kinds of sleep: on a waker alone, on a timer an hour away, on a descriptor.
    for kind in 0..3 {
        let mut scheduler = Scheduler::new();
        let (sender, receiver) = oneshot::channel();
        let waited = scheduler.spawn(receiver);
        match kind {
            0 => {}
            1 => scheduler.spawn_with(TaskOptions::new().daemon(), sleep(SECOND * 3600)).detach(),
            _ => {
                let task = async {
                    let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
                    let _ = trapline::read_wait(&ours).await;
                };
                scheduler.spawn_with(TaskOptions::new().daemon(), task).detach();
            }
        }
        while scheduler.step().task().is_some() {
            if scheduler.blocked().blocked.len() == scheduler.task_count() {
                break;
            }
        }
        // The next step sleeps, unless the value is there already; either way it must arrive.
        let barrier = Arc::new(Barrier::new(2));
        let theirs = Arc::clone(&barrier);
        let thread = thread::spawn(move || {
            theirs.wait();
            for _ in 0..1000 {
                thread::yield_now();
            }
            sender.send("from a thread").unwrap();
        });
        barrier.wait();
        assert_eq!(scheduler.block_on(waited).unwrap().unwrap(), Ok("from a thread"));
        thread.join().unwrap();
    }
}

#[test]
fn task_that_a_thread_is_about_to_wake_then_never_reported() {
    // The thread lets go of the waker as it wakes: neither order may look like a deadlock.
    const ROUNDS: usize = 2_000;
    let trace = Trace::default();
    let mut scheduler =
        Scheduler::builder().probe(probe_for("stalled", &trace)).stall_limit(SECOND * 60).build();
    let (requests, work) = mpsc::channel::<oneshot::Sender<usize>>();
    let thread = thread::spawn(move || {
        for (round, reply) in work.iter().enumerate() {
            for _ in 0..round % 50 {
                std::hint::spin_loop();
            }
            reply.send(round).unwrap();
        }
    });
    for round in 0..ROUNDS {
        let (sender, receiver) = oneshot::channel();
        requests.send(sender).unwrap();
        assert_eq!(scheduler.block_on(receiver).unwrap(), Ok(round));
    }
    drop(requests);
    thread.join().unwrap();
    assert_eq!(trace.take(), [""; 0]);
    run_clean(&mut scheduler);
}

#[test]
fn task_whose_thread_gives_up_then_it_is_told_and_nothing_is_reported() {
    // The sender is dropped, which wakes too.
    let mut scheduler = Scheduler::new();
    for _ in 0..500 {
        let (sender, receiver) = oneshot::channel::<()>();
        let thread = thread::spawn(move || drop(sender));
        assert_eq!(scheduler.block_on(receiver).unwrap(), Err(oneshot::Canceled));
        thread.join().unwrap();
    }
    assert_empty(&scheduler);
}

#[test]
fn hundred_thousand_wakes_from_four_threads_then_none_is_lost() {
    const THREADS: usize = 4;
    const WAKES: usize = 25_000;
    let mut scheduler = Scheduler::builder().quantum(8).batch(16).build();
    let mut receivers = Vec::new();
    let mut threads = Vec::new();
    for _ in 0..THREADS {
        let (sender, receiver) = channel::unbounded();
        receivers.push(receiver);
        threads.push(thread::spawn(move || {
            for number in 0..WAKES {
                sender.unbounded_send(number).unwrap();
            }
        }));
    }
    let tasks: Vec<_> = receivers
        .into_iter()
        .map(|receiver| {
            scheduler.spawn(async move {
                let numbers: Vec<usize> = receiver.collect().await;
                assert!(numbers.iter().copied().eq(0..WAKES), "in order, each once");
            })
        })
        .collect();
    // Somebody who never sleeps, so that wake-ups meet a loop at work as well as one asleep.
    scheduler
        .spawn(async {
            for _ in 0..20_000 {
                yield_now().await;
            }
        })
        .detach();
    for task in tasks {
        scheduler.block_on(task).unwrap().unwrap();
    }
    for thread in threads {
        thread.join().unwrap();
    }
    run_clean(&mut scheduler);
}

#[test]
fn ping_pong_with_a_thread_then_every_wake_arrives() {
    // One wake a round, each after the loop has gone to sleep or is about to.
    let mut scheduler = Scheduler::new();
    let turn = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&turn);
    let (wakers, inbox) = mpsc::channel::<Waker>();
    let thread = thread::spawn(move || {
        for waker in inbox {
            theirs.fetch_add(1, Ordering::Relaxed);
            waker.wake();
        }
    });
    scheduler
        .block_on(async {
            for round in 1..=5_000 {
                let mut asked = false;
                poll_fn(|cx| {
                    if turn.load(Ordering::Relaxed) == round {
                        return Poll::Ready(());
                    }
                    if !std::mem::replace(&mut asked, true) {
                        wakers.send(cx.waker().clone()).unwrap();
                    }
                    Poll::Pending
                })
                .await;
            }
        })
        .unwrap();
    drop(wakers);
    thread.join().unwrap();
}

#[test]
fn waker_called_many_times_then_one_poll_is_owed() {
    let mut scheduler = scheduler();
    let polls = Rc::new(Cell::new(0_u64));
    let counter = Rc::clone(&polls);
    let slot = Slot::new();
    let theirs = slot.clone();
    scheduler
        .spawn(poll_fn(move |cx| {
            counter.set(counter.get() + 1);
            theirs.put(cx.waker().clone());
            Poll::<()>::Pending
        }))
        .detach();
    scheduler.step();
    for round in 1..=3 {
        assert_eq!(polls.get(), round);
        let waker = slot.take().unwrap();
        // From a thread, and from the program between two steps.
        let clone = waker.clone();
        thread::spawn(move || (0..100).for_each(|_| clone.wake_by_ref())).join().unwrap();
        (0..100).for_each(|_| waker.wake_by_ref());
        drop(waker);
        assert_eq!(scheduler.step().task(), None);
        assert_eq!(scheduler.step().event(), StepEvent::Waits);
        assert_eq!(scheduler.snapshot().tasks[0].dispatches, round + 1);
    }
    assert_eq!(polls.get(), 4);
}

#[test]
fn waker_called_by_another_task_then_ready_at_once_and_in_order() {
    let mut scheduler = scheduler();
    let wakers: Rc<RefCell<Vec<Waker>>> = Rc::default();
    let trace = Trace::default();
    for name in ["a", "b", "c"] {
        let (wakers, trace) = (Rc::clone(&wakers), trace.clone());
        let mut asked = false;
        scheduler
            .spawn(poll_fn(move |cx| {
                if std::mem::replace(&mut asked, true) {
                    trace.say(name);
                    return Poll::Ready(());
                }
                wakers.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            }))
            .detach();
    }
    let theirs = Rc::clone(&wakers);
    scheduler
        .spawn(async move {
            let wakers = theirs.take();
            for index in [2, 0, 1, 2] {
                wakers[index].wake_by_ref();
            }
        })
        .detach();
    run_clean(&mut scheduler);
    assert_eq!(trace.take(), ["c", "a", "b"]);
}

#[test]
fn waker_called_inside_a_task_of_another_scheduler_then_its_own_hears_it() {
    let (mut left, mut right) = (Scheduler::new(), Scheduler::new());
    let (sender, receiver) = oneshot::channel();
    let waits = left.spawn(receiver);
    while left.step().event() != StepEvent::Waits {}
    right.block_on(async { sender.send(3).unwrap() }).unwrap();
    assert_eq!(left.block_on(waits).unwrap().unwrap(), Ok(3));
    run_clean(&mut left);
    run_clean(&mut right);
}

#[test]
fn call_polled_in_another_thread_then_refused_there() {
    // Calls cannot leave their thread (they are not `Send`), but a call can be made in one that
    // has no scheduler.
    let text = thread::spawn(|| {
        support::panic_of(|| support::poll_idly(&mut Box::pin(yield_now())).is_ready())
    });
    assert!(text.join().unwrap().contains("outside a task"));
}

#[test]
fn schedulers_in_several_threads_then_they_do_not_meet() {
    let threads: Vec<_> = (0..4)
        .map(|seed| {
            thread::spawn(move || {
                let mut scheduler = builder().seed(seed).build();
                let sum = Rc::new(Cell::new(0));
                for _ in 0..50 {
                    let sum = Rc::clone(&sum);
                    scheduler
                        .spawn(async move {
                            sleep(SECOND * (random() % 10) as u32).await;
                            let number = get_tid().await.sequence();
                            sum.set(sum.get() + number);
                        })
                        .detach();
                }
                run_clean(&mut scheduler);
                sum.get()
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), 50 * 51 / 2);
    }
}

// Deadlock (4)

#[test]
fn tasks_that_wait_only_for_one_another_then_a_deadlock_at_once() {
    // On the operating system's driver, which would sleep if it were asked.
    let mut scheduler = Scheduler::new();
    let ids = Rc::new(RefCell::new(Vec::new()));
    for _ in 0..3 {
        let theirs = Rc::clone(&ids);
        let task = scheduler.spawn(async move {
            let me = get_tid().await;
            let next = {
                let ids = theirs.borrow();
                let at = ids.iter().position(|&id| id == me).unwrap();
                ids[(at + 1) % ids.len()]
            };
            let _ = wait(next).await;
        });
        ids.borrow_mut().push(task.id());
        task.detach();
    }
    let error = scheduler.run().unwrap_err();
    let text = error.to_string();
    let RunError::Deadlock(report) = error else { panic!("{text}") };
    assert_eq!(report.cycle, *ids.borrow());
    assert!(text.contains("a cycle: task 1 waits for task 2 waits for task 3 waits for task 1"));
    assert_eq!(text.matches("tests/threads.rs").count(), 3, "{text}");
}

#[test]
fn task_on_a_wait_queue_that_nobody_wakes_then_a_deadlock_that_names_it() {
    let mut scheduler = Scheduler::new();
    let queue = Rc::new(WaitQueue::labelled("the door", 0));
    let theirs = Rc::clone(&queue);
    let task =
        scheduler.spawn_with(TaskOptions::new().name("guest"), async move { theirs.park().await });
    for _ in 0..2 {
        let Err(RunError::Deadlock(report)) = scheduler.run() else { panic!("no deadlock") };
        let text = report.to_string();
        let start = "1 blocked\n  task 1 `guest` waits for park(queue 0) `the door` at ";
        assert!(text.starts_with(start), "{text}");
        assert_eq!(report.cycle, []);
    }
    // The program may still wake it: then it runs on.
    queue.wake();
    assert!(scheduler.run().is_ok());
    assert!(scheduler.block_on(task).unwrap().is_ok());
    assert_eq!(scheduler.run().unwrap().failures, 0);
    assert_empty(&scheduler);
}

#[test]
fn deadlock_while_daemons_are_ready_then_they_run_on() {
    // A daemon that spins can yet wake the blocked one: no deadlock, and `step` goes on.
    let mut scheduler = scheduler();
    let queue = Rc::new(WaitQueue::new(0));
    let (theirs, ours) = (Rc::clone(&queue), queue);
    scheduler
        .spawn_with(TaskOptions::new().daemon(), async move {
            for _ in 0..1000 {
                yield_now().await;
            }
            theirs.wake();
            pending::<()>().await;
        })
        .detach();
    scheduler.block_on(ours.park()).unwrap();
}

#[test]
fn blocked_daemons_alone_then_finished_and_no_deadlock() {
    let mut scheduler = scheduler();
    scheduler.spawn_with(TaskOptions::new().daemon(), pending::<()>()).detach();
    scheduler.spawn(async {}).detach();
    assert_eq!(scheduler.run().unwrap().failures, 0);
}

#[test]
fn reply_that_nobody_takes_then_no_thread_is_waited_for() {
    // A waker of an ended task, kept for ever, keeps nobody waiting.
    let mut scheduler = Scheduler::new();
    let kept = Slot::new();
    let theirs = kept.clone();
    scheduler
        .block_on(poll_fn(move |cx| {
            theirs.put(cx.waker().clone());
            Poll::Ready(())
        }))
        .unwrap();
    let error = scheduler.block_on(pending::<()>());
    assert!(matches!(error, Err(RunError::Deadlock(_))), "{error:?}");
    assert!(kept.is_full());
}

// Stalls (4)

#[test]
fn waker_held_elsewhere_then_stalled_is_said_once_and_no_error_comes() {
    // Stalls for two counts of a second, for the sake of "once"; then the waker is called.
    let trace = Trace::default();
    let lines = trace.clone();
    let looks = Arc::new(AtomicUsize::new(0));
    let (told, tell) = mpsc::channel::<()>();
    let counter = Arc::clone(&looks);
    let mut scheduler = Scheduler::builder()
        .probe(move |event: &Event<'_>| match event {
            Event::Stalled { .. } => lines.say(event),
            Event::Outside { .. } if counter.fetch_add(1, Ordering::SeqCst) == 2 => {
                told.send(()).unwrap();
            }
            _ => {}
        })
        .build();
    let (sender, receiver) = oneshot::channel();
    let thread = thread::spawn(move || {
        tell.recv().unwrap();
        sender.send(5).unwrap();
    });
    let task = async move { receiver.await.unwrap() };
    assert_eq!(scheduler.block_on(task).unwrap(), 5);
    thread.join().unwrap();
    let said = trace.take();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0], "stalled: 1 blocked\n  task 1 waits for somebody's waker");
    assert!(looks.load(Ordering::SeqCst) < 10, "it slept, and did not spin");
}

#[test]
fn stall_longer_than_the_limit_then_an_error() {
    let mut scheduler = Scheduler::builder().stall_limit(SECOND).build();
    let slot = Slot::new();
    let theirs = slot.clone();
    let task = scheduler.spawn_with(TaskOptions::new().name("stuck"), async move {
        poll_fn(|cx| {
            theirs.put(cx.waker().clone());
            Poll::<()>::Pending
        })
        .await;
    });
    let error = scheduler.run().unwrap_err();
    assert!(matches!(error, RunError::Stalled(_)), "{error}");
    let text = "stalled: 1 blocked\n  task 1 `stuck` waits for somebody's waker";
    assert_eq!(error.to_string(), text);
    // It stays as it is: the scheduler may be used on.
    scheduler.block_on(kill(task.id())).unwrap().unwrap();
    drop(task);
    run_clean(&mut scheduler);
}

#[test]
fn waker_within_a_blocked_task_then_stalled_and_no_deadlock() {
    // `FuturesUnordered` holds its task's waker: the kernel cannot know that it is nobody's.
    let mut scheduler = Scheduler::builder().stall_limit(SECOND).build();
    let queue = WaitQueue::new(0);
    let error = scheduler.block_on(async {
        let mut parks: FuturesUnordered<_> = [queue.park()].into_iter().collect();
        parks.next().await;
    });
    assert!(matches!(error, Err(RunError::Stalled(_))), "{error:?}");
    assert_empty(&scheduler);
}

#[test]
fn wakes_of_ended_tasks_then_no_stall_is_counted() {
    // They end the driver's wait, and nobody is made ready: that is no second gone by.
    const DEAD: usize = 200;
    let trace = Trace::default();
    let mut scheduler =
        Scheduler::builder().stall_limit(SECOND * 5).probe(probe_for("stalled", &trace)).build();
    let dead: Arc<Mutex<Vec<Waker>>> = Arc::default();
    for _ in 0..DEAD {
        let dead = Arc::clone(&dead);
        scheduler
            .block_on(poll_fn(move |cx| {
                dead.lock().unwrap().push(cx.waker().clone());
                Poll::Ready(())
            }))
            .unwrap();
    }
    let (sender, receiver) = oneshot::channel();
    let (ready, go) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        go.recv().unwrap();
        for waker in dead.lock().unwrap().drain(..) {
            waker.wake();
            for _ in 0..100 {
                thread::yield_now();
            }
        }
        sender.send(()).unwrap();
    });
    let result = scheduler.block_on(async move {
        ready.send(()).unwrap();
        receiver.await.unwrap();
    });
    assert!(result.is_ok(), "{result:?}");
    thread.join().unwrap();
    assert_eq!(trace.take(), [""; 0]);
    run_clean(&mut scheduler);
}

// After the end (53)

#[test]
fn wake_after_the_scheduler_is_gone_then_nothing_happens() {
    let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
    let dropped = Arc::new(AtomicUsize::new(0));
    {
        let mut scheduler = Scheduler::new();
        for _ in 0..10 {
            let theirs = Arc::clone(&wakers);
            let dropped = Arc::clone(&dropped);
            let guard = OnDrop(move || {
                dropped.fetch_add(1, Ordering::SeqCst);
            });
            scheduler
                .spawn(async move {
                    let _guard = guard;
                    wait_for_flag(Arc::default(), |waker| theirs.lock().unwrap().push(waker)).await;
                })
                .detach();
        }
        while wakers.lock().unwrap().len() < 10 {
            scheduler.step();
        }
    }
    assert_eq!(dropped.load(Ordering::SeqCst), 10);
    let wakers = Arc::into_inner(wakers).unwrap().into_inner().unwrap();
    // From this thread, from another, inside a task of the ring's next scheduler.
    wakers.iter().for_each(Waker::wake_by_ref);
    let clones = wakers.clone();
    thread::spawn(move || clones.into_iter().for_each(Waker::wake)).join().unwrap();
    let trace = Trace::default();
    let mut next = builder().probe(probe_for("1 wakes", &trace)).build();
    next.spawn(async move { wakers.into_iter().for_each(Waker::wake) }).detach();
    let bystander = next.spawn(sleep(SECOND));
    run_clean_with(&mut next, bystander);
    assert_eq!(trace.take(), [""; 0]);
}

fn run_clean_with<T: 'static>(scheduler: &mut Scheduler, handle: trapline::JoinHandle<T>) {
    assert!(scheduler.block_on(handle).unwrap().is_ok());
    run_clean(scheduler);
}

#[test]
fn threads_that_wake_while_the_scheduler_is_dropped_then_nothing_happens() {
    for _ in 0..100 {
        let mut scheduler = Scheduler::new();
        let (wakers, inbox) = mpsc::channel::<Waker>();
        for _ in 0..4 {
            let wakers = wakers.clone();
            scheduler
                .spawn(wait_for_flag(Arc::default(), move |waker| wakers.send(waker).unwrap()))
                .detach();
        }
        drop(wakers);
        for _ in 0..4 {
            scheduler.step();
        }
        let barrier = Arc::new(Barrier::new(2));
        let theirs = Arc::clone(&barrier);
        let thread = thread::spawn(move || {
            let wakers: Vec<Waker> = inbox.iter().collect();
            theirs.wait();
            for _ in 0..50 {
                wakers.iter().for_each(Waker::wake_by_ref);
            }
        });
        barrier.wait();
        drop(scheduler);
        thread.join().unwrap();
    }
}

#[test]
fn value_sent_to_a_task_that_was_killed_then_the_sender_is_told() {
    let mut scheduler = Scheduler::new();
    let (sender, receiver) = oneshot::channel::<u8>();
    scheduler
        .block_on(async {
            let task = spawn(receiver).await;
            yield_now().await;
            kill(task.id()).await.unwrap();
            assert!(task.await.unwrap_err().is_killed());
        })
        .unwrap();
    assert_eq!(thread::spawn(move || sender.send(1)).join().unwrap(), Err(1));
    run_clean(&mut scheduler);
}
