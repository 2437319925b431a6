//! System calls that a program defines for itself, first of all those of the example.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../examples/own_calls.rs"]
#[allow(dead_code, reason = "its `main` is not called here")]
mod example;
mod support;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use example::{count_tasks, receive, send};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, join, select_biased};
use support::{
    OnDrop, Slot, Trace, assert_empty, poll_idly, poll_once, run_clean, scheduler, text_of, traced,
};
use trapline::{CallId, KernelFace, OwnCall, RunError, Served, StepEvent, TaskId, own_call};

const SECOND: Duration = Duration::from_secs(1);

// The example.

#[test]
fn count_tasks_then_it_counts_those_that_live() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            assert_eq!(count_tasks().await, 1);
            let child = trapline::spawn(trapline::sleep(SECOND)).await;
            let daemon = trapline::spawn(trapline::sleep(SECOND)).daemon().await;
            assert_eq!(count_tasks().await, 3);
            trapline::kill(daemon.id()).await.unwrap();
            assert_eq!(count_tasks().await, 2, "an ended one whose handle is kept does not count");
            child.await.unwrap();
            assert_eq!(count_tasks().await, 1);
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn letters_sent_before_anyone_asks_then_they_are_received_in_order() {
    let mut scheduler = scheduler();
    let reader = scheduler.spawn(async {
        trapline::sleep(SECOND).await;
        let mut texts = Vec::new();
        for _ in 0..3 {
            texts.push(receive().await.text);
        }
        texts
    });
    let to = reader.id();
    scheduler
        .spawn(async move {
            for text in ["one", "two", "three"] {
                send(to, text).await.unwrap();
            }
        })
        .detach();
    assert_eq!(scheduler.block_on(reader).unwrap().unwrap(), ["one", "two", "three"]);
    run_clean(&mut scheduler);
}

#[test]
fn receive_that_blocks_then_another_calls_handler_answers_it() {
    let (mut scheduler, trace) = traced();
    let reader = scheduler.spawn(async { receive().await });
    let to = reader.id();
    let writer = scheduler.spawn(async move { send(to, "hello").await });
    let letter = scheduler.block_on(reader).unwrap().unwrap();
    assert_eq!((letter.from, letter.text.as_str()), (writer.id(), "hello"));
    assert_eq!(scheduler.block_on(writer).unwrap().unwrap(), Ok(()));
    let lines = trace.take();
    assert!(lines.contains(&"2 wakes 1".to_owned()), "{lines:?}");
    run_clean(&mut scheduler);
}

#[test]
fn send_to_a_task_that_has_ended_then_the_text_comes_back() {
    let mut scheduler = scheduler();
    let gone = scheduler.spawn(async {});
    let to = gone.id();
    scheduler.block_on(gone).unwrap().unwrap();
    let result = scheduler.block_on(async move { send(to, "anyone?").await });
    assert_eq!(result.unwrap(), Err("anyone?".to_owned()));
    run_clean(&mut scheduler);
}

#[test]
fn receive_dropped_while_blocked_then_the_letter_is_kept_for_the_next() {
    let mut scheduler = scheduler();
    let reader = scheduler.spawn(async {
        select_biased! {
            _ = receive().fuse() => panic!("nobody has written yet"),
            _ = trapline::sleep(SECOND).fuse() => (),
        }
        trapline::sleep(2 * SECOND).await;
        receive().await.text
    });
    let to = reader.id();
    let writer = scheduler.spawn(async move {
        trapline::sleep(2 * SECOND).await;
        send(to, "kept").await
    });
    assert_eq!(scheduler.block_on(reader).unwrap().unwrap(), "kept");
    assert_eq!(scheduler.block_on(writer).unwrap().unwrap(), Ok(()));
    run_clean(&mut scheduler);
}

#[test]
fn receive_dropped_in_the_middle_of_three_then_the_other_two_are_answered() {
    let mut scheduler = scheduler();
    let reader = scheduler.spawn(async {
        let (mut first, mut second, mut third) = (receive(), receive(), receive());
        assert!(poll_once(&mut first).await.is_pending());
        assert!(poll_once(&mut second).await.is_pending());
        assert!(poll_once(&mut third).await.is_pending());
        trapline::yield_now().await;
        drop(second);
        let (first, third) = join!(first, third);
        (first.text, third.text)
    });
    let to = reader.id();
    scheduler
        .spawn(async move {
            trapline::sleep(SECOND).await;
            let (one, two) = join!(send(to, "one"), send(to, "two"));
            one.unwrap();
            two.unwrap();
        })
        .detach();
    let texts = scheduler.block_on(reader).unwrap().unwrap();
    assert_eq!(texts, ("one".to_owned(), "two".to_owned()));
    run_clean(&mut scheduler);
}

#[test]
fn receiver_killed_while_blocked_then_nothing_is_left_and_its_writer_is_told() {
    let mut scheduler = scheduler();
    let reader = scheduler.spawn(async { drop(receive().await) });
    let to = reader.id();
    let result = scheduler.block_on(async move {
        trapline::yield_now().await;
        trapline::kill(to).await.unwrap();
        assert!(reader.await.unwrap_err().is_killed());
        send(to, "too late").await
    });
    assert_eq!(result.unwrap(), Err("too late".to_owned()));
    run_clean(&mut scheduler);
}

#[test]
fn receive_and_send_to_oneself_in_one_poll_then_it_is_answered() {
    let mut scheduler = scheduler();
    scheduler
        .block_on(async {
            let me = trapline::get_tid().await;
            let (letter, sent) = join!(receive(), send(me, "note"));
            assert_eq!((letter.text.as_str(), letter.from, sent), ("note", me, Ok(())));
            let (sent, letter) = join!(send(me, "again"), receive());
            assert_eq!((letter.text.as_str(), sent), ("again", Ok(())));
        })
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn many_receives_in_futures_unordered_then_each_gets_a_letter_of_its_own() {
    let mut scheduler = scheduler();
    let reader = scheduler.spawn(async {
        let all: FuturesUnordered<_> = (0..100).map(|_| receive()).collect();
        let mut texts: Vec<String> = all.map(|letter| letter.text).collect().await;
        texts.sort();
        texts
    });
    let to = reader.id();
    for number in 0..100 {
        scheduler.spawn(async move { send(to, format!("{number:02}")).await.unwrap() }).detach();
    }
    let expected: Vec<_> = (0..100).map(|number| format!("{number:02}")).collect();
    assert_eq!(scheduler.block_on(reader).unwrap().unwrap(), expected);
    run_clean(&mut scheduler);
}

#[test]
fn two_tasks_that_wait_for_each_others_letters_then_the_deadlock_names_the_calls() {
    let mut scheduler = scheduler();
    scheduler.spawn(async { drop(receive().await) }).detach();
    scheduler.spawn(async { drop(receive().await) }).detach();
    let Err(RunError::Deadlock(report)) = scheduler.run() else { panic!("not a deadlock") };
    assert_eq!(report.blocked.len(), 2);
    let text = report.to_string();
    assert!(text.contains("`receive`") && text.contains(file!()), "{text}");
}

#[test]
fn mailboxes_of_two_schedulers_then_they_do_not_mix() {
    let (mut first, mut second) = (scheduler(), scheduler());
    let here = first.spawn(async { receive().await.text });
    let there = second.spawn(async { receive().await.text });
    assert_eq!(here.id(), there.id());
    first.step();
    second.step();
    let to = there.id();
    second.block_on(async move { send(to, "second").await.unwrap() }).unwrap();
    assert_eq!(second.block_on(there).unwrap().unwrap(), "second");
    assert_eq!(first.table_sizes()[1], 1, "the first one waits on");
    first.block_on(async move { send(to, "first").await.unwrap() }).unwrap();
    assert_eq!(first.block_on(here).unwrap().unwrap(), "first");
    run_clean(&mut first);
    run_clean(&mut second);
}

// Calls of all kinds.

/// A call that is served by a closure.
struct By<F>(F);

impl<R: 'static, F> OwnCall for By<F>
where
    F: FnMut(&mut dyn KernelFace, CallId) -> Served<R> + 'static,
{
    type Reply = R;

    fn name(&self) -> &'static str {
        "by"
    }

    fn serve(&mut self, kernel: &mut dyn KernelFace, call: CallId) -> Served<R> {
        (self.0)(kernel, call)
    }
}

/// Makes the call that a closure serves.
#[track_caller]
fn by<R: 'static, F>(serve: F) -> trapline::OwnTrap<By<F>>
where
    F: FnMut(&mut dyn KernelFace, CallId) -> Served<R> + 'static,
{
    own_call(By(serve))
}

#[test]
fn handler_that_panics_then_only_its_caller_ends() {
    let mut scheduler = scheduler();
    let dropped = Rc::new(Cell::new(false));
    let flag = Rc::clone(&dropped);
    let caller = scheduler.spawn(async move {
        let _guard = OnDrop(move || flag.set(true));
        let mut sleep = trapline::sleep(SECOND);
        assert!(poll_once(&mut sleep).await.is_pending());
        by::<(), _>(|_, _| panic!("the handler panics")).await;
    });
    let waiter = scheduler.spawn(trapline::wait(caller.id()));
    let other = scheduler.spawn(async {
        trapline::sleep(2 * SECOND).await;
        count_tasks().await
    });
    let error = scheduler.block_on(caller).unwrap().unwrap_err();
    assert_eq!(text_of(&*error.try_into_panic().unwrap()), "the handler panics");
    assert!(dropped.get(), "its locals are dropped");
    let status = scheduler.block_on(waiter).unwrap().unwrap().unwrap();
    assert_eq!(status.to_string(), "panicked: the handler panics");
    assert_eq!(scheduler.block_on(other).unwrap().unwrap(), 2);
    run_clean(&mut scheduler);
}

#[test]
fn handler_that_panics_for_the_root_then_block_on_panics_and_the_scheduler_goes_on() {
    let mut scheduler = scheduler();
    let text = support::panic_of(|| {
        scheduler.block_on(async { by::<(), _>(|_, _| panic!("for the root")).await })
    });
    assert_eq!(text, "for the root");
    assert_eq!(scheduler.block_on(count_tasks()).unwrap(), 1);
    run_clean(&mut scheduler);
}

#[test]
fn handler_that_panics_where_the_call_lives_elsewhere_then_only_its_caller_ends() {
    let mut scheduler = scheduler();
    let slot = Slot::new();
    let theirs = slot.clone();
    let caller = scheduler.spawn(std::future::poll_fn(move |cx| {
        let mut call = by::<(), _>(|_, _| panic!("for nobody at home"));
        assert!(support::poll_under(&mut call, cx.waker()).is_pending());
        theirs.put(call);
        std::task::Poll::<()>::Pending
    }));
    assert!(scheduler.block_on(caller).unwrap().unwrap_err().is_panic());
    scheduler.check_invariants();
    let text = support::panic_of(|| poll_idly(&mut slot.take().unwrap()));
    assert!(text.contains("its handler panicked"), "{text}");
    run_clean(&mut scheduler);
}

#[test]
fn handler_that_panics_after_it_answered_another_then_that_answer_holds() {
    let mut scheduler = scheduler();
    let waiting: Rc<Cell<Option<CallId>>> = Rc::default();
    let asked = Rc::clone(&waiting);
    let waiter = scheduler.spawn(by(move |_, call| {
        asked.set(Some(call));
        Served::<i32>::Block
    }));
    let caller = scheduler.spawn(by::<(), _>(move |kernel, _| {
        kernel.answer(waiting.take().unwrap(), Box::new(7)).unwrap();
        panic!("after the answer")
    }));
    assert_eq!(scheduler.block_on(waiter).unwrap().unwrap(), 7);
    assert!(scheduler.block_on(caller).unwrap().unwrap_err().is_panic());
    run_clean(&mut scheduler);
}

#[test]
fn answer_of_the_wrong_type_then_it_comes_back_and_the_call_waits_on() {
    let mut scheduler = scheduler();
    let waiting: Rc<Cell<Option<CallId>>> = Rc::default();
    let asked = Rc::clone(&waiting);
    let waiter = scheduler.spawn(by(move |_, call| {
        asked.set(Some(call));
        Served::<String>::Block
    }));
    let answered = scheduler.spawn(by(move |kernel, own| {
        let call = waiting.take().unwrap();
        let back = kernel.answer(call, Box::new("a &str")).unwrap_err();
        assert_eq!(*back.downcast::<&str>().unwrap(), "a &str");
        let back = kernel.answer(own, Box::new(())).unwrap_err();
        assert!(back.is::<()>(), "one's own call is not blocked");
        kernel.answer(call, Box::new("a String".to_owned())).unwrap();
        let back = kernel.answer(call, Box::new("another".to_owned())).unwrap_err();
        Served::Answer(*back.downcast::<String>().unwrap())
    }));
    assert_eq!(scheduler.block_on(waiter).unwrap().unwrap(), "a String");
    assert_eq!(scheduler.block_on(answered).unwrap().unwrap(), "another", "answered once");
    run_clean(&mut scheduler);
}

#[test]
fn answer_to_a_call_that_is_gone_then_the_reply_comes_back_whole() {
    for killed in [false, true] {
        let mut scheduler = scheduler();
        let waiting: Rc<Cell<Option<CallId>>> = Rc::default();
        let asked = Rc::clone(&waiting);
        let waiter = scheduler.spawn(async move {
            let mut call = by(move |_, call| {
                asked.set(Some(call));
                Served::<Vec<i32>>::Block
            });
            assert!(poll_once(&mut call).await.is_pending());
            trapline::yield_now().await;
            if killed {
                (&mut call).await;
            }
            drop(call);
            trapline::sleep(SECOND).await;
        });
        let id = waiter.id();
        let back = scheduler.block_on(async move {
            trapline::yield_now().await;
            trapline::yield_now().await;
            if killed {
                trapline::kill(id).await.unwrap();
            }
            by(move |kernel, _| {
                let reply: Box<dyn Any> = Box::new(vec![1, 2, 3]);
                Served::Answer(kernel.answer(waiting.take().unwrap(), reply))
            })
            .await
        });
        let back = back.unwrap().unwrap_err();
        assert_eq!(*back.downcast::<Vec<i32>>().unwrap(), [1, 2, 3]);
        drop(waiter);
        run_clean(&mut scheduler);
    }
}

#[test]
fn answered_and_dropped_before_the_reply_is_taken_then_the_reply_is_dropped() {
    let mut scheduler = scheduler();
    let waiting: Rc<Cell<Option<CallId>>> = Rc::default();
    let asked = Rc::clone(&waiting);
    let dropped = Rc::new(Cell::new(0));
    let flag = Rc::clone(&dropped);
    let waiter = scheduler.spawn(by(move |_, call| {
        asked.set(Some(call));
        Served::<Box<dyn Any>>::Block
    }));
    let id = waiter.id();
    scheduler
        .block_on(async move {
            trapline::yield_now().await;
            let answer = by(move |kernel, _| {
                let flag = Rc::clone(&flag);
                let reply: Box<dyn Any> = Box::new(OnDrop(move || flag.set(flag.get() + 1)));
                assert!(kernel.answer(waiting.take().unwrap(), Box::new(reply)).is_ok());
                Served::Answer(())
            });
            join!(answer, trapline::kill(id).map(Result::unwrap));
        })
        .unwrap();
    assert_eq!(dropped.get(), 1);
    drop(waiter);
    run_clean(&mut scheduler);
}

#[test]
fn served_by_yield_then_the_caller_goes_to_the_back() {
    for (served_by_yield, expected) in [(true, "ababab"), (false, "aaabbb")] {
        let trace = Trace::default();
        let mut scheduler = support::builder().quantum(32).build();
        for name in ["a", "b"] {
            let lines = trace.clone();
            scheduler
                .spawn(async move {
                    for _ in 0..3 {
                        lines.say(name);
                        by(
                            move |_, _| {
                                if served_by_yield { Served::Yield(()) } else { Served::Answer(()) }
                            },
                        )
                        .await;
                    }
                })
                .detach();
        }
        run_clean(&mut scheduler);
        assert_eq!(trace.take().concat(), expected);
    }
}

#[test]
fn handler_that_kills_then_the_tasks_end_once_it_has_been_served() {
    let mut scheduler = scheduler();
    let bystanders: Vec<_> = (0..3).map(|_| scheduler.spawn(trapline::sleep(SECOND))).collect();
    let killer = scheduler.spawn(async {
        by(|kernel, _| {
            let (before, me) = (kernel.task_count(), kernel.caller());
            let ids: Vec<TaskId> = kernel.tasks().iter().map(|task| task.id).collect();
            for id in ids.iter().filter(|id| **id != me).chain(&ids[..1]) {
                kernel.kill(*id);
            }
            assert_eq!(kernel.task_count(), before, "not before it has been served");
            Served::Answer(before)
        })
        .await
    });
    assert_eq!(scheduler.run().unwrap().failures, 0);
    assert_eq!(scheduler.block_on(killer).unwrap().unwrap(), 4);
    for bystander in bystanders {
        assert!(scheduler.block_on(bystander).unwrap().unwrap_err().is_killed());
    }
    run_clean(&mut scheduler);
}

#[test]
fn handler_that_kills_its_caller_then_the_call_does_not_return() {
    for blocks in [false, true] {
        let mut scheduler = scheduler();
        let caller = scheduler.spawn(by(move |kernel, _| {
            kernel.kill(kernel.caller());
            if blocks { Served::Block } else { Served::Answer(()) }
        }));
        assert!(scheduler.block_on(caller).unwrap().unwrap_err().is_killed());
        run_clean(&mut scheduler);
        let root = scheduler.block_on(by(move |kernel, _| {
            kernel.kill(kernel.caller());
            if blocks { Served::Block } else { Served::Answer(()) }
        }));
        assert!(matches!(root, Err(RunError::Killed)));
        run_clean(&mut scheduler);
    }
}

#[test]
fn handler_that_drops_the_call_it_serves_then_nothing_is_left() {
    let mut scheduler = scheduler();
    let slot: Slot<Box<dyn Any>> = Slot::new();
    let mut first = true;
    scheduler
        .block_on(std::future::poll_fn(move |cx| {
            if !std::mem::take(&mut first) {
                assert!(!slot.is_full(), "the handler has dropped it");
                return std::task::Poll::Ready(());
            }
            let inner = slot.clone();
            let mut call = by(move |_, _| {
                drop(inner.take());
                Served::Answer(())
            });
            assert!(support::poll_under(&mut call, cx.waker()).is_pending());
            slot.put(Box::new(call));
            cx.waker().wake_by_ref();
            std::task::Poll::Pending
        }))
        .unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn handler_that_traps_then_a_panic_that_ends_its_caller_alone() {
    let mut scheduler = scheduler();
    let caller = scheduler.spawn(by(|_, _| {
        let _ = trapline::now().now_or_never();
        Served::Answer(())
    }));
    let error = scheduler.block_on(caller).unwrap().unwrap_err();
    assert!(error.to_string().contains("outside a task"), "{error}");
    run_clean(&mut scheduler);
}

#[test]
fn handler_that_posts_then_it_is_served_in_that_step() {
    let (mut scheduler, trace) = traced();
    let queue: &'static trapline::WaitQueue = Box::leak(Box::new(trapline::WaitQueue::new(0)));
    let parked = scheduler.spawn(async move { queue.park().await });
    scheduler.step();
    scheduler
        .spawn(by(move |_, _| {
            queue.wake();
            trapline::spawn_detached(async {});
            Served::Answer(())
        }))
        .detach();
    trace.take();
    let step = scheduler.step();
    assert!(matches!(step.event(), StepEvent::Trapped { .. }));
    assert_eq!(scheduler.woken(), [parked.id()]);
    assert_eq!(scheduler.task_count(), 3);
    scheduler.block_on(parked).unwrap().unwrap();
    run_clean(&mut scheduler);
}

#[test]
fn state_then_one_value_of_each_type_that_goes_with_the_scheduler() {
    #[derive(Default)]
    struct Counted(u32);
    struct Dropped(Rc<RefCell<Vec<u32>>>, u32);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.borrow_mut().push(self.1);
        }
    }
    #[derive(Default)]
    struct Kept(Vec<Dropped>);
    let drops: Rc<RefCell<Vec<u32>>> = Rc::default();
    for round in 0..2 {
        let mut scheduler = scheduler();
        for turn in 1..=3 {
            let theirs = Rc::clone(&drops);
            let count = scheduler.block_on(by(move |kernel, _| {
                kernel.state::<Counted>().0 += 1;
                if turn == 1 {
                    kernel.state::<Kept>().0.push(Dropped(Rc::clone(&theirs), round));
                }
                Served::Answer(kernel.state::<Counted>().0)
            }));
            assert_eq!(count.unwrap(), turn, "each scheduler counts from the start");
        }
        assert_eq!(drops.borrow().len(), round as usize);
        drop(scheduler);
        assert_eq!(drops.borrow().len(), round as usize + 1);
    }
}

#[test]
fn call_dropped_at_every_moment_then_what_it_carries_is_dropped_once() {
    for polls in 0..3 {
        for answers in [false, true] {
            let drops = Rc::new(Cell::new(0));
            let flag = Rc::clone(&drops);
            let guard = OnDrop(move || flag.set(flag.get() + 1));
            let mut scheduler = scheduler();
            scheduler
                .block_on(async move {
                    let mut call = by(move |_, _| {
                        let _carried = &guard;
                        if answers { Served::Answer(()) } else { Served::Block }
                    });
                    if polls > 0 {
                        assert!(poll_once(&mut call).await.is_pending());
                    }
                    if polls > 1 {
                        trapline::yield_now().await;
                    }
                    drop(call);
                })
                .unwrap();
            assert_eq!(drops.get(), 1, "{polls} {answers}");
            run_clean(&mut scheduler);
            assert_empty(&scheduler);
        }
    }
}

#[test]
fn face_then_it_shows_the_time_the_caller_and_the_task_table() {
    let mut scheduler = scheduler();
    let caller = scheduler.spawn(async {
        trapline::sleep(SECOND).await;
        by(|kernel, _| {
            let now = kernel.now().as_nanos();
            let tasks: Vec<_> = kernel.tasks().iter().map(|task| task.id.sequence()).collect();
            Served::Answer((now, kernel.caller().sequence(), tasks))
        })
        .await
    });
    let other = scheduler.spawn(trapline::sleep(9 * SECOND));
    let seen = scheduler.block_on(caller).unwrap().unwrap();
    assert_eq!(seen, (1_000_000_000, 1, vec![1, 2, 3]));
    drop(other);
    run_clean(&mut scheduler);
}
