//! What is told where a program does what nobody should: the mirror still shows what the kernel has.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/mirrored.rs"]
mod mirrored;
mod support;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::mem::forget;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use mirrored::{Mirrored, block_on_mirrored, run_mirrored};
use support::{Slot, builder, poll_once};
use trapline::sync::{Mutex, RwLock, Semaphore};
use trapline::trace::agent::{Agent, Attached, Lines};
use trapline::{
    CallId, Event, KernelFace, OwnCall, Probe, Scheduler, Served, WaitQueue, channel, get_tid,
    join_all, kill, own_call, sleep, spawn, spawn_detached, timeout, wait, yield_now,
};

const MILLI: Duration = Duration::from_millis(1);

fn each_quantum(program: impl AsyncFn()) {
    for quantum in [1, 2, 32] {
        let mut scheduler = builder().quantum(quantum).build();
        block_on_mirrored(&mut scheduler, program());
        let _ = run_mirrored(&mut scheduler);
    }
}

#[test]
fn locks_left_by_kill_panic_and_leak_then_the_mirror_shows_what_the_kernel_has() {
    each_quantum(async || {
        let mutex = Rc::new(Mutex::new(()).named("m"));
        let rw = Rc::new(RwLock::new(()));
        for how in 0..4 {
            let (m, r) = (mutex.clone(), rw.clone());
            let holder = spawn(async move {
                let _g = m.lock().await;
                let _r = r.write().await;
                yield_now().await;
                match how {
                    0 => panic!("on purpose"),
                    1 => drop(kill(get_tid().await).await),
                    2 => std::future::pending::<()>().await,
                    _ => {}
                }
            })
            .await;
            let (m, r) = (mutex.clone(), rw.clone());
            let waiter = spawn(async move {
                let _g = m.lock().await;
                drop(r.read().await);
            })
            .await;
            yield_now().await;
            yield_now().await;
            yield_now().await;
            if how == 2 {
                kill(holder.id()).await.unwrap();
            }
            let _ = holder.await;
            waiter.await.unwrap();
        }
        let m = mutex.clone();
        spawn(async move { forget(m.lock().await) }).await.await.unwrap();
        let m = mutex.clone();
        let late = spawn(async move { timeout(MILLI, m.lock()).await.is_err() }).await;
        assert!(late.await.unwrap());
        drop(mutex);
        // A guard that is leaked together with a permit, whose semaphore goes.
        let s = Rc::new(Semaphore::new(1));
        forget(s.acquire().await);
        let _ = timeout(MILLI, s.acquire()).await;
    });
}

#[test]
fn hundred_locks_side_by_side_then_the_mirror_shows_what_the_kernel_has() {
    each_quantum(async || {
        let locks: Vec<_> = (0..100).map(|_| Rc::new(Mutex::new(0))).collect();
        let mut handles = Vec::new();
        for _ in 0..3 {
            let locks = locks.clone();
            handles.push(
                spawn(async move {
                    let hold = |lock: Rc<Mutex<u32>>| async move {
                        *lock.lock().await += 1;
                        yield_now().await;
                        let guard = lock.lock().await;
                        yield_now().await;
                        drop(guard);
                    };
                    join_all(locks.iter().cloned().map(hold)).await;
                    let mut some: FuturesUnordered<_> =
                        locks.iter().rev().cloned().map(hold).collect();
                    while some.next().await.is_some() {}
                })
                .await,
            );
        }
        yield_now().await;
        handles.pop().unwrap().kill();
        for handle in handles {
            handle.await.unwrap();
        }
    });
}

#[test]
fn exits_awaited_under_foreign_wakers_then_the_mirror_shows_what_the_kernel_has() {
    each_quantum(async || {
        let mut all = FuturesUnordered::new();
        for number in 0..6 {
            all.push(
                spawn(async move {
                    if number % 3 == 0 {
                        yield_now().await;
                    }
                    if number == 4 {
                        panic!("on purpose");
                    }
                })
                .await,
            );
        }
        let one = all.iter().next().unwrap().id();
        let mut waits: FuturesUnordered<_> = (0..3).map(|_| wait(one)).collect();
        while all.next().await.is_some() {}
        while waits.next().await.is_some() {}
    });
}

/// Polls what is in a slot under whatever waker it gets, and leaves it there.
fn poll_slot<F: Future + Unpin + 'static>(
    slot: &Slot<F>,
) -> impl Future<Output = F::Output> + use<F> {
    let slot = slot.clone();
    poll_fn(move |cx: &mut Context<'_>| {
        let Some(mut future) = slot.take() else { return Poll::Pending };
        let polled = Pin::new(&mut future).poll(cx);
        if polled.is_pending() {
            slot.put(future);
        }
        polled
    })
}

#[test]
fn calls_handed_round_among_tasks_that_end_then_the_mirror_shows_what_the_kernel_has() {
    each_quantum(async || {
        let mutex = Rc::new(Mutex::new(()));
        let (sender, receiver) = channel::channel::<u32>(1);
        let held = mutex.lock().await;
        let m = mutex.clone();
        let slot = Slot::new();
        slot.put(Box::pin(async move { drop(m.lock().await) }) as Pin<Box<dyn Future<Output = ()>>>);
        for end in 0..3 {
            let polled = poll_slot(&slot);
            let ends = spawn(async move {
                let mut polled = Box::pin(polled);
                let _ = poll_once(&mut polled).await;
                yield_now().await;
                let _ = poll_once(&mut polled).await;
                if end == 1 {
                    panic!("on purpose");
                }
                if end == 2 {
                    kill(get_tid().await).await.unwrap();
                }
            })
            .await;
            let _ = ends.await;
        }
        let got = Slot::new();
        got.put(Box::pin(async move { receiver.recv().await })
            as Pin<Box<dyn Future<Output = Option<u32>>>>);
        let polled = poll_slot(&got);
        let first = spawn(async move {
            let _ = poll_once(&mut Box::pin(polled)).await;
        })
        .await;
        first.await.unwrap();
        sender.send(3).await.unwrap();
        let taker = spawn(poll_slot(&got)).await;
        drop(held);
        let locks = spawn(poll_slot(&slot)).await;
        assert_eq!(taker.await.unwrap(), Some(3));
        locks.await.unwrap();
    });
}

/// A gate of the program's own: a wait queue, and a call that opens it.
#[derive(Default)]
struct Gate {
    queue: Rc<WaitQueue>,
    opened: Rc<Cell<u32>>,
}

struct Open(Rc<WaitQueue>, Rc<Cell<u32>>);

impl OwnCall for Open {
    type Reply = u32;

    fn name(&self) -> &'static str {
        "open_gate"
    }

    fn serve(&mut self, _kernel: &mut dyn KernelFace, _call: CallId) -> Served<u32> {
        self.1.set(self.1.get() + 1);
        self.0.wake_all();
        Served::Answer(self.1.get())
    }
}

#[test]
fn primitive_of_a_wait_queue_and_an_own_call_then_the_mirror_shows_what_the_kernel_has() {
    each_quantum(async || {
        let gate = Gate { queue: Rc::new(WaitQueue::signal("gate")), ..Gate::default() };
        gate.queue.set_name("north");
        for round in 0..3_u32 {
            let mut handles = Vec::new();
            for n in 0..3 {
                let queue = gate.queue.clone();
                let passes = async move {
                    if n == 2 {
                        let _ = timeout(MILLI * 5, queue.park()).await;
                    } else {
                        queue.park().await;
                    }
                };
                handles.push(spawn(passes).await);
            }
            sleep(MILLI).await;
            assert_eq!(own_call(Open(gate.queue.clone(), gate.opened.clone())).await, round + 1);
            for handle in handles {
                handle.await.unwrap();
            }
        }
    });
}

#[test]
fn schedulers_side_by_side_stepped_in_turn_that_share_locks_then_each_mirror_is_right() {
    let mutex = Rc::new(Mutex::new(0).named("shared"));
    let semaphore = Rc::new(Semaphore::new(2));
    let work = || {
        let (mutex, semaphore) = (mutex.clone(), semaphore.clone());
        async move {
            for _ in 0..10 {
                if let Some(mut guard) = mutex.try_lock() {
                    *guard += 1;
                    yield_now().await;
                    yield_now().await;
                }
                if let Ok(permit) = semaphore.try_acquire() {
                    yield_now().await;
                    drop(permit);
                }
                yield_now().await;
            }
        }
    };
    let mut both: Vec<_> = (0..2)
        .map(|_| {
            let mut scheduler = builder().quantum(1).build();
            scheduler.spawn(work()).detach();
            scheduler.spawn(work()).detach();
            let mirrored = Mirrored::attach(&mut scheduler);
            (scheduler, Some(mirrored))
        })
        .collect();
    while both.iter().any(|(_, mirrored)| mirrored.is_some()) {
        for (scheduler, mirrored) in &mut both {
            let Some(looks) = mirrored else { continue };
            let step = scheduler.step();
            looks.check(scheduler, &step);
            if step.is_last() {
                mirrored.take().unwrap().detach(scheduler);
            }
        }
    }
}

#[test]
fn own_probe_that_panics_beside_the_agent_then_both_go_on_and_the_report_tells() {
    let heard = Rc::new(Cell::new(0));
    let counts = heard.clone();
    let probe = move |_: &Event<'_>| {
        counts.set(counts.get() + 1);
        assert!(counts.get() < 5, "the probe had enough");
    };
    let mut scheduler = Scheduler::builder().virtual_clock().probe(probe).build();
    scheduler.spawn(async { sleep(MILLI).await }).detach();
    spawn_two(&mut scheduler);
    let report = Agent::new().outlet(Lines::new()).run(&mut scheduler).unwrap();
    assert_eq!(heard.get(), 5);
    assert!(report.probe_panic.as_deref().unwrap().contains("had enough"));
}

fn spawn_two(scheduler: &mut Scheduler) {
    for _ in 0..2 {
        scheduler.spawn(async { yield_now().await }).detach();
    }
}

/// A probe that has had enough, and cannot go in peace either.
struct Grumbler;

impl Probe for Grumbler {
    fn event(&mut self, _event: &Event<'_>) {
        panic!("the probe had enough");
    }
}

impl Drop for Grumbler {
    fn drop(&mut self) {
        panic!("and a last word");
    }
}

#[test]
fn own_probe_that_panics_beside_the_agent_of_a_block_on_then_the_next_report_tells() {
    let mut scheduler = builder().probe(Grumbler).build();
    let agent = Agent::new().outlet(Lines::new());
    agent.block_on(&mut scheduler, async { yield_now().await }).unwrap();
    let report = scheduler.run().unwrap();
    assert_eq!(report.probe_panic.as_deref(), Some("the probe had enough"));
}

#[test]
fn tasks_that_only_their_own_waker_wakes_twice_then_the_mirror_shows_what_the_kernel_has() {
    each_quantum(async || {
        let wakers = Rc::new(RefCell::new(Vec::new()));
        let kept = wakers.clone();
        let ends = spawn(poll_fn(move |cx| {
            kept.borrow_mut().push(cx.waker().clone());
            cx.waker().wake_by_ref();
            cx.waker().wake_by_ref();
            if kept.borrow().len() > 3 { Poll::Ready(()) } else { Poll::Pending }
        }))
        .await;
        spawn_detached({
            let wakers = wakers.clone();
            async move {
                for _ in 0..4 {
                    for waker in wakers.borrow().iter() {
                        waker.wake_by_ref();
                    }
                    yield_now().await;
                }
            }
        });
        ends.await.unwrap();
        for waker in wakers.take() {
            waker.wake();
        }
        yield_now().await;
    });
}

#[test]
fn other_scheduler_listened_to_from_within_a_task_then_the_mirror_shows_what_the_kernel_has() {
    let mut scheduler = builder().build();
    let held: Rc<RefCell<Option<Attached>>> = Rc::default();
    block_on_mirrored(&mut scheduler, async move {
        let mut other = builder().build();
        *held.borrow_mut() = Some(Agent::new().outlet(Lines::new()).attach(&mut other));
        let mutex = Mutex::new(());
        drop(mutex.lock().await);
        held.take().unwrap().detach(&mut other);
        drop(mutex.lock().await);
    });
}
