//! Every call that blocks, at every moment at which it can be dropped or its task killed: nothing
//! is left of it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::Cell;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures::future::{LocalBoxFuture, join, pending};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, select, select_biased};
use support::{assert_empty, builder, poll_once};
use trapline::{
    CallId, KernelFace, KillOutcome, OwnCall, Scheduler, Served, TaskId, WaitQueue, own_call,
};

/// The call that is tried.
type Call = LocalBoxFuture<'static, ()>;
type Make = Box<dyn Fn() -> Call>;
type Clear = Box<dyn FnOnce()>;

/// A kind of call, with all that is needed to have it answered.
struct Kind {
    name: &'static str,
    /// Who answers it.
    by: By,
    /// Makes the call.
    make: Make,
    /// Has the call answered; awaited in a task of its own.
    answer: Call,
    /// Takes away what `make` and `answer` have set up.
    clear: Clear,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum By {
    Clock,
    Outside,
    Task,
}

/// Waits to be answered, and leaves its id where the one who answers finds it.
struct Ask(Rc<Cell<Option<CallId>>>);

impl OwnCall for Ask {
    type Reply = ();

    fn name(&self) -> &'static str {
        "ask"
    }

    fn serve(&mut self, _: &mut dyn KernelFace, call: CallId) -> Served<()> {
        self.0.set(Some(call));
        Served::Block
    }
}

/// Answers an `Ask`, if it is still there.
struct Tell(Rc<Cell<Option<CallId>>>);

impl OwnCall for Tell {
    type Reply = ();

    fn name(&self) -> &'static str {
        "tell"
    }

    fn serve(&mut self, kernel: &mut dyn KernelFace, _: CallId) -> Served<()> {
        if let Some(call) = self.0.take() {
            let _ = kernel.answer(call, Box::new(()));
        }
        Served::Answer(())
    }
}

const KINDS: usize = 10;

/// The `index`-th kind of blocking call.
fn kind(index: usize, scheduler: &mut Scheduler) -> Kind {
    let nanos = Duration::from_nanos;
    let nothing = || -> Clear { Box::new(|| ()) };
    let (name, make, answer, clear): (_, Make, Call, Clear) = match index {
        0 => (
            "sleep",
            Box::new(move || trapline::sleep(nanos(5)).map(drop).boxed_local()),
            trapline::sleep(nanos(5)).map(drop).boxed_local(),
            nothing(),
        ),
        1 => (
            "sleep_until",
            Box::new(move || {
                let deadline = trapline::Instant::from_nanos(5);
                trapline::sleep_until(deadline).map(drop).boxed_local()
            }),
            trapline::sleep(nanos(5)).map(drop).boxed_local(),
            nothing(),
        ),
        2 => {
            let child = scheduler.spawn(pending::<()>());
            let id = child.id();
            child.detach();
            (
                "wait",
                Box::new(move || trapline::wait(id).map(drop).boxed_local()),
                trapline::kill(id).map(drop).boxed_local(),
                nothing(),
            )
        }
        3 => {
            let child = scheduler.spawn(pending::<()>());
            let id = child.id();
            let handle = Rc::new(Cell::new(Some(child)));
            (
                "join",
                Box::new(move || match handle.take() {
                    Some(handle) => handle.map(drop).boxed_local(),
                    None => trapline::wait(id).map(drop).boxed_local(),
                }),
                trapline::kill(id).map(drop).boxed_local(),
                nothing(),
            )
        }
        4 => {
            let queue: &'static WaitQueue = Box::leak(Box::new(WaitQueue::new(0)));
            (
                "park",
                Box::new(move || queue.park().boxed_local()),
                async move { queue.wake() }.boxed_local(),
                Box::new(move || {
                    assert_eq!(queue.waiting(), 0);
                    assert!(queue.tokens() <= 1);
                }),
            )
        }
        5 => {
            let queue: &'static WaitQueue = Box::leak(Box::new(WaitQueue::new(0)));
            (
                "park, all woken",
                Box::new(move || queue.park().boxed_local()),
                async move { assert!(queue.wake_all() <= 1) }.boxed_local(),
                Box::new(move || assert_eq!((queue.waiting(), queue.tokens()), (0, 0))),
            )
        }
        6 | 7 => {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            if index == 7 {
                while (&ours).write(&[0; 65536]).is_ok() {}
            }
            let ours = Rc::new(ours);
            theirs.set_nonblocking(true).unwrap();
            let answer = async move {
                if index == 6 {
                    theirs.write_all(b"!").unwrap();
                } else {
                    while std::io::Read::read(&mut theirs, &mut [0; 65536]).is_ok() {}
                }
                // The peer stays open until the outside has been looked at.
                trapline::sleep(nanos(1)).await;
            };
            let make = move || {
                let ours = Rc::clone(&ours);
                if index == 6 {
                    async move { trapline::read_wait(&*ours).await.unwrap() }.boxed_local()
                } else {
                    async move { trapline::write_wait(&*ours).await.unwrap() }.boxed_local()
                }
            };
            let name = if index == 6 { "read_wait" } else { "write_wait" };
            (name, Box::new(make), answer.boxed_local(), nothing())
        }
        8 => {
            let asked = Rc::new(Cell::new(None));
            let theirs = Rc::clone(&asked);
            (
                "own call",
                Box::new(move || own_call(Ask(Rc::clone(&theirs))).boxed_local()),
                own_call(Tell(asked)).boxed_local(),
                nothing(),
            )
        }
        _ => (
            "timeout of a sleep",
            Box::new(move || {
                trapline::timeout(nanos(5), trapline::sleep(nanos(9))).map(drop).boxed_local()
            }),
            trapline::sleep(nanos(5)).map(drop).boxed_local(),
            nothing(),
        ),
    };
    let by = match index {
        0 | 1 | 9 => By::Clock,
        6 | 7 => By::Outside,
        _ => By::Task,
    };
    Kind { name, by, make, answer, clear }
}

/// How the call is polled.
const POLLED: [&str; 5] = ["plain", "join!", "select_biased!", "select!", "FuturesUnordered"];

/// `call` inside a combinator, beside a wait that never ends.
fn within(how: &str, call: Call) -> Call {
    let never = || pending::<()>();
    match how {
        "plain" => call,
        "join!" => join(call, async {}).map(drop).boxed_local(),
        "select_biased!" => async move {
            select_biased! { () = never().fuse() => (), () = call.fuse() => () }
        }
        .boxed_local(),
        "select!" => async move {
            select! { () = never().fuse() => (), () = call.fuse() => () }
        }
        .boxed_local(),
        _ => async move {
            let mut all: FuturesUnordered<Call> = FuturesUnordered::new();
            all.push(call);
            all.push(never().boxed_local());
            all.next().await.unwrap();
        }
        .boxed_local(),
    }
}

/// When the call is dropped, or its task killed.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Moment {
    BeforeItsFirstPoll,
    InThePollThatMadeIt,
    WhileBlocked,
    AfterTheWake,
    Never,
}

const MOMENTS: [Moment; 5] = [
    Moment::BeforeItsFirstPoll,
    Moment::InThePollThatMadeIt,
    Moment::WhileBlocked,
    Moment::AfterTheWake,
    Moment::Never,
];

/// Tries one cell of the matrix.
fn attempt(index: usize, how: &'static str, moment: Moment, quantum: u32) {
    drop_at(index, how, moment, quantum);
    if moment != Moment::InThePollThatMadeIt {
        kill_at(index, how, moment, quantum);
    }
}

/// The task drops its call.
fn drop_at(index: usize, how: &'static str, moment: Moment, quantum: u32) {
    let mut scheduler = builder().quantum(quantum).build();
    let Kind { name, make, answer, clear, .. } = kind(index, &mut scheduler);
    let case = format!("{name}, {how}, dropped {moment:?}, quantum {quantum}");
    let mut call = within(how, make());
    let answered = scheduler.spawn(async move {
        if moment == Moment::BeforeItsFirstPoll {
            drop(call);
        } else {
            assert!(poll_once(&mut call).await.is_pending());
            if moment == Moment::InThePollThatMadeIt {
                drop(call);
            } else {
                trapline::yield_now().await;
                match moment {
                    Moment::WhileBlocked => {
                        assert!(poll_once(&mut call).await.is_pending(), "it is blocked");
                        drop(call);
                    }
                    Moment::AfterTheWake => {
                        trapline::spawn(answer).await.await.unwrap();
                        // The timers and the descriptors are looked at by now, too.
                        trapline::sleep(Duration::from_nanos(1)).await;
                        drop(call);
                    }
                    _ => {
                        trapline::spawn(answer).await.detach();
                        call.await;
                    }
                }
            }
        }
        drop(make);
        trapline::yield_now().await;
    });
    scheduler.block_on(answered).expect(&case).expect(&case);
    finish(scheduler, clear, &case);
}

/// The task is killed while it waits in its call.
fn kill_at(index: usize, how: &'static str, moment: Moment, quantum: u32) {
    // The outside is looked at after every dispatch.
    let mut scheduler = builder().quantum(quantum).batch(1).build();
    let Kind { name, by, make, answer, clear } = kind(index, &mut scheduler);
    let case = format!("{name}, {how}, killed {moment:?}, quantum {quantum}");
    let call = within(how, make());
    let wakes = Rc::new(Cell::new(false));
    let woken = Rc::clone(&wakes);
    let victim = async move {
        call.await;
        woken.set(true);
    };
    drop(make);
    let killer = scheduler.spawn(async move {
        let mut answer = answer;
        if by == By::Clock {
            // Armed before the victim's, so the killer is woken first, in the same look.
            assert!(poll_once(&mut answer).await.is_pending());
        }
        let victim = trapline::spawn(victim).await;
        let id = victim.id();
        if moment != Moment::BeforeItsFirstPoll {
            trapline::yield_now().await;
            trapline::yield_now().await;
        }
        match moment {
            Moment::Never => {
                answer.await;
                return victim.await;
            }
            Moment::AfterTheWake => {
                match by {
                    By::Clock => (&mut answer).await,
                    By::Outside => {
                        let _ = poll_once(&mut answer).await;
                        trapline::yield_now().await;
                    }
                    // Served in the step that serves the kill, and before it.
                    By::Task => {}
                }
                let rest = async {
                    if by == By::Task {
                        answer.await
                    }
                };
                let see = own_call(IsReady(id));
                let ((), ready, _) = futures::join!(rest, see, trapline::kill(id));
                // Foreign wakers are called in that step, too, but their posts come after it.
                let posted = by == By::Task && how == "FuturesUnordered";
                assert!(ready || posted, "it has been woken");
            }
            _ => assert_eq!(trapline::kill(id).await, Ok(KillOutcome::Killed)),
        }
        victim.await
    });
    let ended = scheduler.block_on(killer).expect(&case).expect(&case);
    let killed = moment != Moment::Never;
    assert_eq!(ended.is_err_and(|error| error.is_killed()), killed, "{case}");
    assert_eq!(wakes.get(), !killed, "{case}");
    finish(scheduler, clear, &case);
}

/// Whether a task has been woken and not yet resumed.
struct IsReady(TaskId);

impl OwnCall for IsReady {
    type Reply = bool;

    fn name(&self) -> &'static str {
        "is_ready"
    }

    fn serve(&mut self, kernel: &mut dyn KernelFace, _: CallId) -> Served<bool> {
        let tasks = kernel.tasks();
        let found = tasks.iter().find(|task| task.id == self.0).unwrap();
        Served::Answer(found.state == trapline::TaskState::Ready)
    }
}

/// Ends whoever else there is, and sees that nothing is left.
#[track_caller]
fn finish(mut scheduler: Scheduler, clear: Clear, case: &str) {
    scheduler.spawn(own_call(KillTheOthers)).detach();
    let report = scheduler.run().expect(case);
    assert_eq!(report.failures, 0, "{case}: {report}");
    let left = scheduler.table_sizes();
    assert_eq!(left, [0; 6], "{case}");
    clear();
    assert_empty(&scheduler);
}

struct KillTheOthers;

impl OwnCall for KillTheOthers {
    type Reply = ();

    fn name(&self) -> &'static str {
        "kill_the_others"
    }

    fn serve(&mut self, kernel: &mut dyn KernelFace, _: CallId) -> Served<()> {
        let me = kernel.caller();
        for task in kernel.tasks().into_iter().filter(|task| task.id != me) {
            kernel.kill(task.id);
        }
        Served::Answer(())
    }
}

macro_rules! matrix {
    ($($test:ident: $how:expr;)*) => {$(
        #[test]
        fn $test() {
            for index in 0..KINDS {
                for moment in MOMENTS {
                    for quantum in [1, 2, 32] {
                        attempt(index, $how, moment, quantum);
                    }
                }
            }
        }
    )*};
}

matrix! {
    blocking_call_dropped_or_killed_at_any_moment_then_nothing_is_left: POLLED[0];
    blocking_call_in_join_dropped_or_killed_at_any_moment_then_nothing_is_left: POLLED[1];
    blocking_call_in_select_biased_dropped_or_killed_at_any_moment_then_nothing_is_left: POLLED[2];
    blocking_call_in_select_dropped_or_killed_at_any_moment_then_nothing_is_left: POLLED[3];
    blocking_call_in_futures_unordered_dropped_or_killed_at_any_moment_then_nothing_is_left: POLLED[4];
}

#[test]
fn two_kinds_raced_then_the_loser_is_gone_whatever_it_was() {
    for first in 0..KINDS {
        for second in 0..KINDS {
            for winner in [0, 1] {
                let mut scheduler = builder().build();
                let mut kinds = vec![kind(first, &mut scheduler), kind(second, &mut scheduler)];
                let case = format!("{} against {}, {winner}", kinds[0].name, kinds[1].name);
                let (left, right) = ((kinds[0].make)(), (kinds[1].make)());
                let Kind { make: _, answer, clear: check, .. } = kinds.swap_remove(winner);
                let Kind { make: _, answer: unused, clear: other, .. } = kinds.remove(0);
                let race = scheduler.spawn(async move {
                    let answer = trapline::spawn(async {
                        trapline::yield_now().await;
                        answer.await;
                    });
                    answer.await.detach();
                    select_biased! { () = left.fuse() => (), () = right.fuse() => () }
                });
                scheduler.block_on(race).expect(&case).expect(&case);
                drop(unused);
                let both = || {
                    check();
                    other();
                };
                finish(scheduler, Box::new(both), &case);
            }
        }
    }
}

#[test]
fn all_kinds_in_one_task_killed_then_nothing_is_left() {
    for polls in 0..3 {
        let mut scheduler = builder().build();
        let mut clears = Vec::new();
        let mut calls = Vec::new();
        for index in 0..KINDS {
            let Kind { make, clear, .. } = kind(index, &mut scheduler);
            calls.push(within(POLLED[index % POLLED.len()], make()));
            clears.push(clear);
        }
        let victim = scheduler.spawn(futures::future::join_all(calls).map(drop));
        let id = victim.id();
        let killer = scheduler.spawn(async move {
            for _ in 0..polls {
                trapline::yield_now().await;
            }
            trapline::kill(id).await.unwrap();
        });
        scheduler.block_on(killer).unwrap().unwrap();
        drop(victim);
        let clear_all = || clears.into_iter().for_each(|clear| clear());
        finish(scheduler, Box::new(clear_all), "all kinds");
    }
}

#[test]
fn scheduler_dropped_while_all_kinds_are_blocked_then_nothing_remembers_them() {
    for outside in [false, true] {
        let mut scheduler = builder().build();
        let mut calls: Vec<Call> = Vec::new();
        let mut clears = Vec::new();
        for index in 0..KINDS {
            let Kind { make, clear, .. } = kind(index, &mut scheduler);
            calls.push(make());
            clears.push(clear);
        }
        let kept: Rc<Cell<Vec<Call>>> = Rc::default();
        let theirs = Rc::clone(&kept);
        let task = scheduler.spawn(async move {
            std::future::poll_fn(|cx| {
                for call in &mut calls {
                    assert!(call.poll_unpin(cx).is_pending());
                }
                Poll::Ready(())
            })
            .await;
            trapline::yield_now().await;
            if outside {
                theirs.set(std::mem::take(&mut calls));
            }
            pending::<()>().await;
        });
        for _ in 0..6 {
            scheduler.step();
        }
        drop(scheduler);
        drop(task);
        drop(kept.take());
        clears.into_iter().for_each(|clear| clear());
    }
}
