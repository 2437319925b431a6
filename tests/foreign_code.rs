//! Foreign code (a waker's clone, wake and drop; destructors; a call's name) that runs in the
//! middle of the kernel and drops, wakes and panics there.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use futures::FutureExt;
use support::{
    OnDrop, Slot, assert_empty, poll_idly, poll_once, poll_under, run_clean, scheduler,
    step_while_ready,
};
use trapline::{CallId, ExitStatus, KernelFace, OwnCall, Scheduler, Served, WaitQueue, own_call};

const SECOND: Duration = Duration::from_secs(1);

thread_local! {
    /// What the waker below drops, and does, when it is woken.
    static AT_WAKE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// A waker that does, when it is woken, what was left for it in the thread.
struct Meddler;

impl Wake for Meddler {
    fn wake(self: Arc<Self>) {
        if let Some(action) = AT_WAKE.take() {
            action();
        }
    }
}

fn meddler(action: impl FnOnce() + 'static) -> Waker {
    AT_WAKE.set(Some(Box::new(action)));
    Waker::from(Arc::new(Meddler))
}

/// A pair of calls that are answered in one go; answering the first drops the second.
fn first_answer_drops_the_second<F>(make: impl Fn() -> F + 'static, then: impl Future + 'static)
where
    F: Future + Unpin + 'static,
{
    let mut scheduler = scheduler();
    let slot = Slot::new();
    let theirs = slot.clone();
    scheduler
        .spawn(async move {
            let waker = meddler({
                let slot = theirs.clone();
                move || drop(slot.take())
            });
            let (mut first, mut second) = (make(), make());
            assert!(poll_under(&mut first, &waker).is_pending());
            assert!(poll_idly(&mut second).is_pending());
            theirs.put(second);
            then.await;
            assert!(!theirs.is_full(), "the waker has dropped it");
            assert!(poll_once(&mut first).await.is_ready(), "the first was answered");
        })
        .detach();
    run_clean(&mut scheduler);
    assert!(!slot.is_full());
}

#[test]
fn waker_that_drops_the_next_timer_then_it_is_disarmed_once() {
    first_answer_drops_the_second(|| trapline::sleep(SECOND), trapline::sleep(2 * SECOND));
}

#[test]
fn waker_that_drops_the_next_timer_then_other_timers_keep_theirs() {
    let mut scheduler = scheduler();
    let others: Vec<_> = (1..10).map(|n| scheduler.spawn(trapline::sleep(n * SECOND))).collect();
    let slot = Slot::new();
    let theirs = slot.clone();
    scheduler
        .spawn(async move {
            let waker = meddler({
                let slot = theirs.clone();
                move || drop(slot.take())
            });
            let (mut first, mut second) = (trapline::sleep(SECOND), trapline::sleep(SECOND));
            assert!(poll_under(&mut first, &waker).is_pending());
            assert!(poll_idly(&mut second).is_pending());
            theirs.put(second);
            trapline::sleep(2 * SECOND).await;
        })
        .detach();
    for (index, other) in others.into_iter().enumerate() {
        let woke = scheduler.block_on(other).unwrap().unwrap();
        assert_eq!(woke.as_nanos(), (index as u64 + 1) * 1_000_000_000);
    }
    run_clean(&mut scheduler);
}

#[test]
fn waker_that_drops_the_next_waiter_of_an_exit_then_the_kernel_goes_on() {
    for handle in [false, true] {
        let mut scheduler = scheduler();
        let child = scheduler.spawn(trapline::sleep(SECOND));
        let id = child.id();
        let kept = handle.then_some(child);
        let slot = Slot::new();
        scheduler
            .spawn(async move {
                let waker = meddler({
                    let slot = slot.clone();
                    move || drop(slot.take())
                });
                let mut waits: Vec<_> = (0..4).map(|_| trapline::wait(id)).collect();
                assert!(poll_under(&mut waits[0], &waker).is_pending());
                for wait in &mut waits[1..] {
                    assert!(poll_idly(wait).is_pending());
                }
                slot.put(waits.remove(1));
                trapline::sleep(2 * SECOND).await;
                assert!(!slot.is_full());
                for mut wait in waits {
                    assert!(poll_once(&mut wait).await.is_ready());
                }
            })
            .detach();
        let report = scheduler.run().unwrap();
        assert_eq!(report.failures, 0, "{report}");
        drop(kept);
        scheduler.step();
        assert_empty(&scheduler);
    }
}

#[test]
fn waker_that_drops_the_next_reader_then_the_kernel_goes_on() {
    let mut scheduler = scheduler();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let ours: &'static _ = Box::leak(Box::new(ours));
    let slot = Slot::new();
    scheduler
        .spawn(async move {
            let waker = meddler({
                let slot = slot.clone();
                move || drop(slot.take())
            });
            let mut waits: Vec<_> = (0..4).map(|_| trapline::read_wait(ours)).collect();
            assert!(poll_under(&mut waits[0], &waker).is_pending());
            for wait in &mut waits[1..] {
                assert!(poll_idly(wait).is_pending());
            }
            slot.put(waits.remove(1));
            trapline::yield_now().await;
            drop(theirs);
            trapline::read_wait(ours).await.unwrap();
            assert!(!slot.is_full());
            for mut wait in waits {
                assert!(poll_once(&mut wait).await.is_ready());
            }
        })
        .detach();
    run_clean(&mut scheduler);
}

#[test]
fn waker_that_drops_the_wait_that_is_being_served_then_no_list_holds_it() {
    use std::os::unix::net::UnixStream;

    let mut scheduler = scheduler();
    scheduler
        .spawn(async move {
            let slot = Slot::new();
            let waker = meddler({
                let slot = slot.clone();
                move || drop(slot.take())
            });
            // A wait that is leaked, of a descriptor that is closed: the next owner of the number
            // answers it.
            let (old, peer) = UnixStream::pair().unwrap();
            let number = std::os::fd::AsRawFd::as_raw_fd(&old);
            let mut leaked = trapline::read_wait(&old);
            assert!(poll_under(&mut leaked, &waker).is_pending());
            trapline::yield_now().await;
            std::mem::forget(leaked);
            drop((old, peer));
            let (new, peer) = UnixStream::pair().unwrap();
            let new: &'static UnixStream = Box::leak(Box::new(new));
            if std::os::fd::AsRawFd::as_raw_fd(new) != number {
                return; // Another test of this process was given the number.
            }
            let mut wait = trapline::read_wait(new);
            assert!(poll_idly(&mut wait).is_pending());
            slot.put(wait);
            trapline::yield_now().await;
            assert!(!slot.is_full(), "the waker has dropped it");
            drop(peer);
            trapline::read_wait(new).await.unwrap();
        })
        .detach();
    let report = scheduler.run().unwrap();
    assert_eq!(report.failures, 0, "{report}");
    scheduler.check_invariants();
}

#[test]
fn task_that_waits_for_itself_killed_then_it_is_gone() {
    for detached in [true, false] {
        for waits in [1, 2, 5] {
            let mut scheduler = scheduler();
            let child = scheduler.spawn(async move {
                let me = trapline::get_tid().await;
                futures::future::join_all((0..waits).map(|_| trapline::wait(me))).await;
            });
            let id = child.id();
            let kept = (!detached).then_some(child);
            step_while_ready_but_not_outside(&mut scheduler);
            scheduler
                .spawn(async move {
                    let mut wait = trapline::wait(id);
                    assert!(poll_once(&mut wait).await.is_pending());
                    trapline::kill(id).await.unwrap();
                    assert_eq!(wait.await, Ok(ExitStatus::Killed));
                })
                .detach();
            let report = scheduler.run().unwrap();
            assert_eq!(report.failures, 0, "{report}");
            drop(kept);
            scheduler.step();
            assert_empty(&scheduler);
        }
    }
}

/// The first ready task runs twice: it asks who it is, and waits.
fn step_while_ready_but_not_outside(scheduler: &mut Scheduler) {
    scheduler.step();
    scheduler.step();
}

#[test]
fn task_that_holds_others_waits_for_it_ends_then_its_other_waiters_are_told() {
    for detached in [true, false] {
        let mut scheduler = scheduler();
        let held = Slot::new();
        let theirs = held.clone();
        let child = scheduler.spawn(async move {
            let _held = OnDrop(move || drop(theirs.take()));
            trapline::sleep(SECOND).await;
        });
        let id = child.id();
        let kept = (!detached).then_some(child);
        let told = scheduler.spawn(async move {
            let mut waits: Vec<_> = (0..5).map(|_| trapline::wait(id)).collect();
            for wait in &mut waits {
                assert!(poll_idly(wait).is_pending());
            }
            trapline::yield_now().await;
            let first = waits.remove(0);
            let third = waits.remove(1);
            held.put((first, third));
            trapline::kill(id).await.unwrap();
            assert!(!held.is_full());
            for wait in waits {
                assert_eq!(wait.await, Ok(ExitStatus::Killed));
            }
        });
        scheduler.block_on(told).unwrap().unwrap();
        drop(kept);
        run_clean(&mut scheduler);
    }
}

/// A call of the program's own with a destructor.
struct Fussy<F: FnMut() + 'static>(
    #[allow(dead_code, reason = "it is there to be dropped")] OnDrop<F>,
);

impl<F: FnMut() + 'static> OwnCall for Fussy<F> {
    type Reply = ();

    fn name(&self) -> &'static str {
        "fussy"
    }

    fn serve(&mut self, _: &mut dyn KernelFace, _: CallId) -> Served<()> {
        Served::Block
    }
}

#[test]
fn blocked_own_call_whose_destructor_panics_dropped_then_the_kernel_goes_on() {
    let mut scheduler = scheduler();
    let child = scheduler.spawn(async {
        let mut call = own_call(Fussy(OnDrop(|| panic!("fussy to the last"))));
        assert!(poll_once(&mut call).await.is_pending());
        trapline::yield_now().await;
        drop(call);
        trapline::yield_now().await;
    });
    // Whether it is the task's panic or a reported one: it is not the scheduler's.
    let _ = scheduler.block_on(child).unwrap();
    let _ = scheduler.run().unwrap();
    assert_empty(&scheduler);
}

#[test]
fn blocked_own_call_whose_destructor_panics_killed_then_the_kernel_goes_on() {
    let mut scheduler = scheduler();
    let child =
        scheduler.spawn(own_call(Fussy(OnDrop(|| panic!("fussy to the last")))).map(|()| ()));
    let id = child.id();
    scheduler
        .block_on(async move {
            trapline::yield_now().await;
            trapline::kill(id).await.unwrap();
            assert!(child.await.unwrap_err().is_killed());
        })
        .unwrap();
    let report = scheduler.run().unwrap();
    assert_eq!(report.failures, 1, "{report}");
    assert_eq!(&*report.first_failures[0].text, "fussy to the last");
    assert_empty(&scheduler);
}

/// A call whose name is foreign code at its worst.
struct Nameless(&'static WaitQueue);

impl OwnCall for Nameless {
    type Reply = ();

    fn name(&self) -> &'static str {
        self.0.wake();
        let mut queue = self.0.park();
        let _ = futures::FutureExt::now_or_never(&mut queue);
        panic!("it has no name")
    }

    fn serve(&mut self, _: &mut dyn KernelFace, _: CallId) -> Served<()> {
        Served::Block
    }
}

#[test]
fn own_call_whose_name_panics_then_at_most_its_caller_ends() {
    let mut scheduler = scheduler();
    let queue: &'static WaitQueue = Box::leak(Box::new(WaitQueue::new(0)));
    let caller = scheduler.spawn(async move { own_call(Nameless(queue)).await });
    let other = scheduler.spawn(async { trapline::sleep(SECOND).await });
    for _ in 0..4 {
        scheduler.step();
        let _ = scheduler.snapshot();
        let _ = scheduler.blocked().to_string();
    }
    caller.detach();
    scheduler.block_on(other).unwrap().unwrap();
}

#[test]
fn outputs_whose_destructors_panic_left_to_the_scheduler_then_all_are_dropped() {
    let dropped = Rc::new(Cell::new(0));
    let mut scheduler = scheduler();
    let handles: Vec<_> = (0..3)
        .map(|_| {
            let dropped = Rc::clone(&dropped);
            scheduler.spawn(async move {
                OnDrop(move || {
                    dropped.set(dropped.get() + 1);
                    panic!("an output that will not go");
                })
            })
        })
        .collect();
    let _ = scheduler.run().unwrap();
    drop(scheduler);
    assert_eq!(dropped.get(), 3);
    drop(handles);
}

#[test]
fn output_left_to_the_scheduler_posts_then_it_may_and_nothing_is_spawned() {
    let reached = Rc::new(Cell::new(0));
    let spawned = Rc::new(Cell::new(false));
    let make = |reached: &Rc<Cell<i32>>, spawned: &Rc<Cell<bool>>| {
        let (reached, spawned) = (Rc::clone(reached), Rc::clone(spawned));
        async move {
            OnDrop(move || {
                let spawned = Rc::clone(&spawned);
                trapline::spawn_detached(async move { spawned.set(true) });
                reached.set(reached.get() + 1);
            })
        }
    };
    // In main.
    let mut alone = scheduler();
    let handle = alone.spawn(make(&reached, &spawned));
    let _ = alone.run().unwrap();
    drop(alone);
    drop(handle);
    assert_eq!(reached.get(), 1, "a destructor that runs at scheduler drop may post");
    // In a task of another scheduler, which must not inherit what the first one's tasks post.
    let mut inner = scheduler();
    let handle = inner.spawn(make(&reached, &spawned));
    let _ = inner.run().unwrap();
    let mut outer = scheduler();
    outer.block_on(async move { drop(inner) }).unwrap();
    drop(handle);
    run_clean(&mut outer);
    assert_eq!((reached.get(), spawned.get()), (2, false));
}

#[test]
fn states_of_own_calls_whose_destructors_panic_then_the_scheduler_can_be_dropped() {
    struct First(#[allow(dead_code, reason = "dropped")] OnDrop<fn()>);
    struct Second(#[allow(dead_code, reason = "dropped")] OnDrop<fn()>);
    impl Default for First {
        fn default() -> First {
            First(OnDrop(|| panic!("first state")))
        }
    }
    impl Default for Second {
        fn default() -> Second {
            Second(OnDrop(|| panic!("second state")))
        }
    }
    struct Touch;
    impl OwnCall for Touch {
        type Reply = ();

        fn name(&self) -> &'static str {
            "touch"
        }

        fn serve(&mut self, kernel: &mut dyn KernelFace, _: CallId) -> Served<()> {
            kernel.state::<First>();
            kernel.state::<Second>();
            Served::Answer(())
        }
    }
    let mut scheduler = scheduler();
    scheduler.block_on(own_call(Touch)).unwrap();
    drop(scheduler);
}

#[test]
fn calls_kept_outside_whose_wakers_panic_when_dropped_then_the_scheduler_can_be_dropped() {
    struct Clingy;
    impl Wake for Clingy {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Clingy {
        fn drop(&mut self) {
            panic!("a waker that will not go");
        }
    }
    let mut scheduler = scheduler();
    let kept = Slot::new();
    let theirs = kept.clone();
    scheduler
        .block_on(async move {
            let mut calls: Vec<_> = (0..3).map(|_| trapline::sleep(SECOND)).collect();
            for call in &mut calls {
                let waker = Waker::from(Arc::new(Clingy));
                assert!(poll_under(call, &waker).is_pending());
                std::mem::forget(waker.clone());
                drop(waker);
            }
            theirs.put(calls);
        })
        .unwrap();
    drop(scheduler);
    drop(kept.take());
}

#[test]
fn payload_whose_destructor_panics_then_the_kernel_goes_on() {
    struct Payload;
    impl Drop for Payload {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("a payload that will not go");
            }
        }
    }
    let mut scheduler = scheduler();
    scheduler.spawn(async { std::panic::panic_any(Payload) }).detach();
    let kept = scheduler.spawn(async { std::panic::panic_any(Payload) });
    let other = scheduler.spawn(async { trapline::sleep(SECOND).await });
    let report = scheduler.run().unwrap();
    assert!(report.failures >= 1, "{report}");
    drop(kept);
    drop(other);
    let _ = scheduler.run().unwrap();
    assert_empty(&scheduler);
}

#[test]
fn scheduler_dropped_while_its_thread_panics_then_panics_of_destructors_stay_inside() {
    let reached = Rc::new(Cell::new(0));
    let count = Rc::clone(&reached);
    let text = support::panic_of(move || {
        let mut scheduler = scheduler();
        for _ in 0..2 {
            let count = Rc::clone(&count);
            scheduler
                .spawn(async move {
                    let _fussy = OnDrop(move || {
                        count.set(count.get() + 1);
                        panic!("while panicking");
                    });
                    pending::<()>().await;
                })
                .detach();
        }
        scheduler.step();
        scheduler.step();
        panic!("the first panic");
    });
    assert_eq!(text, "the first panic");
    assert_eq!(reached.get(), 2);
}

#[test]
fn step_while_ready_comes_to_rest() {
    let mut scheduler = scheduler();
    scheduler.spawn(trapline::sleep(SECOND)).detach();
    assert_eq!(step_while_ready(&mut scheduler), 1);
    run_clean(&mut scheduler);
}
