//! Frames: with each call, the lines from which the functions around it were called.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::future::pending;
use std::panic::{Location, resume_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use support::{
    OnDrop, Slot, builder, poll_idly, poll_once, run_clean, scheduler, step_while_ready,
};
use trapline::{
    Event, Scheduler, TaskState, WaitQueue, frame, frame_at, get_tid, now, sleep, timeout, traced,
    yield_now,
};
use trapline_abi::{KernelRing, Ring};

const SECOND: Duration = Duration::from_secs(1);

/// What a probe heard: the frames, and of each call what it asked and its lines.
#[derive(Clone, Default)]
struct Heard(Rc<RefCell<Inner>>);

#[derive(Default)]
struct Inner {
    /// The line of each frame, and the number of what is around it.
    frames: Vec<(u32, u32)>,
    calls: Vec<(String, Vec<u32>)>,
}

impl Heard {
    fn hear(&self, event: &Event<'_>) {
        let Inner { frames, calls } = &mut *self.0.borrow_mut();
        match event {
            Event::Frame { stack, site, around } => {
                assert_eq!(site.file(), file!());
                frames.push((site.line(), around.number()));
                assert_eq!(frames.len() as u32, stack.number(), "one after the other");
                assert!(around.number() < stack.number(), "those around are known");
            }
            Event::Trapped { task, request, site, stack, .. } => {
                assert_eq!(site.file(), file!());
                let mut lines = vec![site.line()];
                let mut next = stack.number();
                while next > 0 {
                    let (line, around) = frames[next as usize - 1];
                    lines.push(line);
                    next = around;
                }
                let what = request.to_string();
                calls.push((format!("{task} {}", what.split('(').next().unwrap()), lines));
            }
            _ => {}
        }
    }

    fn frames(&self) -> usize {
        self.0.borrow().frames.len()
    }

    #[track_caller]
    fn assert_calls(&self, expected: &[(&str, &[u32])]) {
        let calls = std::mem::take(&mut self.0.borrow_mut().calls);
        let found: Vec<_> = calls.iter().map(|(what, lines)| (what.as_str(), &lines[..])).collect();
        assert_eq!(found, expected);
    }
}

fn listened_to() -> (Scheduler, Heard) {
    let heard = Heard::default();
    let ears = heard.clone();
    (builder().probe(move |event: &Event<'_>| ears.hear(event)).build(), heard)
}

/// What is asked by `work`, and by the tasks that it spawns, and the lines.
fn calls_of(work: impl Future<Output = ()> + 'static) -> Heard {
    let (mut scheduler, heard) = listened_to();
    scheduler.spawn(work).detach();
    let report = scheduler.run().unwrap();
    assert_eq!(report.failures, 0, "{report}");
    heard
}

const INNER: u32 = line!() + 3;
#[traced]
async fn inner() {
    yield_now().await;
}

const OUTER: u32 = line!() + 4;
#[traced]
async fn outer() -> u32 {
    let word = 7;
    inner().await;
    sleep(SECOND).await;
    word
}

#[test]
fn helper_without_a_frame_then_its_own_line_alone() {
    async fn helper(line: &Cell<u32>) {
        line.set(line!() + 1);
        yield_now().await;
    }
    let line = Rc::new(Cell::new(0));
    let heard = calls_of({
        let line = Rc::clone(&line);
        async move { helper(&line).await }
    });
    heard.assert_calls(&[("1 yield_now", &[line.get()])]);
}

#[test]
fn traced_functions_then_the_lines_of_their_callers() {
    let line = line!();
    let heard = calls_of(async {
        inner().await;
        outer().await;
        get_tid().await;
    });
    heard.assert_calls(&[
        ("1 yield_now", &[INNER, line + 2]),
        ("1 yield_now", &[INNER, OUTER, line + 3]),
        ("1 sleep", &[OUTER + 1, line + 3]),
        ("1 get_tid", &[line + 4]),
    ]);
}

#[test]
fn frame_by_hand_then_the_line_where_it_was_said() {
    let line = line!();
    let heard = calls_of(async {
        frame(async { yield_now().await }).await;
        let made = frame(now());
        made.await;
        #[track_caller]
        fn passed_on() -> impl Future<Output = ()> {
            frame_at(inner(), Location::caller())
        }
        passed_on().await;
    });
    heard.assert_calls(&[
        ("1 yield_now", &[line + 2, line + 2]),
        ("1 now", &[line + 3, line + 3]),
        ("1 yield_now", &[INNER, line + 9, line + 9]),
    ]);
}

#[test]
fn same_lines_again_then_no_frame_more() {
    let (mut scheduler, heard) = listened_to();
    let work = async {
        for _ in 0..100 {
            outer().await;
        }
    };
    scheduler.block_on(work).unwrap();
    assert_eq!(heard.frames(), 2);
}

#[test]
fn same_function_from_two_places_then_two_stacks() {
    let line = line!();
    let heard = calls_of(async {
        inner().await;
        inner().await;
    });
    assert_eq!(heard.frames(), 2);
    heard.assert_calls(&[("1 yield_now", &[INNER, line + 2]), ("1 yield_now", &[INNER, line + 3])]);
}

#[test]
fn recursion_then_a_frame_a_level() {
    const AGAIN: u32 = line!() + 4;
    #[traced]
    async fn count_down(n: u32) -> u32 {
        if let Some(less) = n.checked_sub(1) {
            return 1 + Box::pin(count_down(less)).await;
        }
        yield_now().await;
        0
    }
    let line = line!();
    let heard = calls_of(async {
        assert_eq!(count_down(2).await, 2);
    });
    heard.assert_calls(&[("1 yield_now", &[AGAIN + 2, AGAIN, AGAIN, line + 2])]);
}

#[test]
fn more_frames_than_are_found_without_a_search_then_none_is_told_twice() {
    #[traced]
    async fn count_down(n: u32) {
        if let Some(less) = n.checked_sub(1) {
            Box::pin(count_down(less)).await;
        }
        yield_now().await;
    }
    let heard = calls_of(async {
        for _ in 0..3 {
            count_down(200).await;
        }
    });
    // One for the line that calls it, and one a level.
    assert_eq!(heard.frames(), 201);
}

#[test]
fn under_join_and_select_then_each_branch_has_its_own() {
    let line = line!();
    let heard = calls_of(async {
        trapline::join!(inner(), outer(),);
        trapline::select! {
            biased;
            () = inner() => {}
            _ = outer() => {}
        }
        get_tid().await;
    });
    heard.assert_calls(&[
        ("1 yield_now", &[INNER, line + 2]),
        ("1 yield_now", &[INNER, OUTER, line + 2]),
        ("1 sleep", &[OUTER + 1, line + 2]),
        ("1 yield_now", &[INNER, line + 5]),
        ("1 yield_now", &[INNER, OUTER, line + 6]),
        ("1 get_tid", &[line + 8]),
    ]);
}

#[test]
fn under_wakers_of_others_then_each_child_has_its_own() {
    let line = line!();
    let heard = calls_of(async {
        let mut many = FuturesUnordered::new();
        many.push(outer().boxed_local());
        many.push(outer().boxed_local());
        while many.next().await.is_some() {}
        get_tid().await;
    });
    let calls = heard.0.borrow().calls.clone();
    let of_branch = |line: u32| calls.iter().filter(move |(_, lines)| lines.last() == Some(&line));
    let words = |line| of_branch(line).map(|(what, _)| what.as_str()).collect::<Vec<_>>();
    assert_eq!(words(line + 3), ["1 yield_now", "1 sleep"]);
    assert_eq!(words(line + 4), ["1 yield_now", "1 sleep"]);
    assert_eq!(calls.last().unwrap().1, [line + 6]);
}

#[test]
fn two_tasks_in_turns_then_their_frames_do_not_mix() {
    let (mut scheduler, heard) = listened_to();
    let line = line!();
    let twice = async || {
        outer().await;
        outer().await;
    };
    scheduler.spawn(twice()).detach();
    scheduler.spawn(async { inner().await }).detach();
    assert_eq!(scheduler.run().unwrap().failures, 0);
    heard.assert_calls(&[
        ("1 yield_now", &[INNER, OUTER, line + 2]),
        ("2 yield_now", &[INNER, line + 6]),
        ("1 sleep", &[OUTER + 1, line + 2]),
        ("1 yield_now", &[INNER, OUTER, line + 3]),
        ("1 sleep", &[OUTER + 1, line + 3]),
    ]);
}

#[test]
fn dropped_halfway_then_later_calls_have_no_frame_of_it() {
    let line = line!();
    let heard = calls_of(async {
        timeout(SECOND, frame(pending::<()>())).await.unwrap_err();
        let mut begun = pin!(outer());
        assert!(poll_once(&mut begun).await.is_pending());
        get_tid().await;
        assert!(poll_once(&mut begun).await.is_pending());
        begun.set(outer());
        get_tid().await;
    });
    heard.assert_calls(&[
        ("1 sleep", &[line + 2]),
        ("1 yield_now", &[INNER, OUTER, line + 3]),
        ("1 get_tid", &[line + 5]),
        ("1 get_tid", &[line + 8]),
    ]);
}

#[test]
fn destructor_in_a_frame_that_posts_then_nothing_breaks() {
    let heard = calls_of(async {
        let spawns = OnDrop(|| trapline::spawn_detached(async {}));
        frame(async move {
            let _spawns = spawns;
            yield_now().await;
        })
        .await;
        get_tid().await;
    });
    let calls = heard.0.borrow().calls.clone();
    assert_eq!(calls.last().unwrap().1.len(), 1);
}

#[test]
fn panic_in_a_frame_then_others_have_no_frame_of_it() {
    let (mut scheduler, heard) = listened_to();
    let panics = async { frame(async { resume_unwind(Box::new("in a frame")) }).await };
    let child = scheduler.spawn(panics);
    let line = line!() + 1;
    let other = scheduler.spawn(async { yield_now().await });
    let joined = async { (child.await.is_err(), other.await.is_ok()) };
    assert_eq!(scheduler.block_on(joined).unwrap(), (true, true));
    assert!(heard.0.borrow().calls.contains(&("2 yield_now".to_owned(), vec![line])));
}

#[test]
fn panic_that_is_caught_within_then_the_frame_is_left() {
    let line = line!();
    let heard = calls_of(async {
        let failing = frame(async { resume_unwind(Box::new("in a frame")) });
        let caught: Result<(), _> = std::panic::AssertUnwindSafe(failing).catch_unwind().await;
        assert!(caught.is_err());
        get_tid().await;
    });
    heard.assert_calls(&[("1 get_tid", &[line + 5])]);
}

/// The number of the stack of the only call for which `task` is blocked.
fn stack_of(scheduler: &Scheduler, task: u64) -> u32 {
    let snapshot = scheduler.snapshot();
    let task = snapshot.tasks.iter().find(|found| found.id.sequence() == task).unwrap();
    let TaskState::Blocked(calls) = &task.state else { panic!("{snapshot}") };
    let [call] = &calls[..] else { panic!("{snapshot}") };
    call.stack.number()
}

#[test]
fn call_moved_to_another_task_then_it_keeps_its_frames() {
    let (mut scheduler, _heard) = listened_to();
    let (slot, queue) = (Slot::new(), Rc::new(WaitQueue::new(0)));
    let (there, waits) = (slot.clone(), Rc::clone(&queue));
    scheduler
        .spawn(async move {
            let parks = async move { waits.park().await };
            let mut parked = Box::pin(frame(parks));
            assert!(poll_once(&mut parked).await.is_pending());
            there.put(parked);
        })
        .detach();
    step_while_ready(&mut scheduler);
    let parked = slot.take().unwrap();
    scheduler.spawn(frame(parked)).detach();
    step_while_ready(&mut scheduler);
    assert_eq!(stack_of(&scheduler, 2), 1, "the frame around the park, where it was made");
    queue.wake();
    run_clean(&mut scheduler);
}

#[test]
fn blocked_for_long_then_the_stack_is_kept() {
    let (mut scheduler, _heard) = listened_to();
    let queue = Rc::new(WaitQueue::new(0));
    let waits = Rc::clone(&queue);
    scheduler.spawn(frame(async move { waits.park().await })).detach();
    scheduler
        .spawn(async {
            for _ in 0..1000 {
                inner().await;
            }
        })
        .detach();
    step_while_ready(&mut scheduler);
    assert_eq!(stack_of(&scheduler, 1), 1);
    queue.wake();
    run_clean(&mut scheduler);
}

#[test]
fn many_blocked_in_two_frames_in_turn_then_each_stack_is_kept() {
    const TASKS: u64 = 300;
    let (mut scheduler, _heard) = listened_to();
    let queue = Rc::new(WaitQueue::new(0));
    for task in 0..TASKS {
        let waits = Rc::clone(&queue);
        let one = frame(async move { waits.park().await });
        let waits = Rc::clone(&queue);
        let other = frame(async move { waits.park().await });
        if task % 2 == 0 {
            scheduler.spawn(one).detach();
        } else {
            scheduler.spawn(other).detach();
        }
        scheduler.spawn(inner()).detach();
    }
    // More than are taken before the outside is looked at.
    while scheduler.has_ready() {
        assert!(!scheduler.step().is_last());
    }
    // Each other task waits, and in the frame that is not its neighbour's.
    let stacks: Vec<_> = (0..TASKS).map(|task| stack_of(&scheduler, 2 * task + 1)).collect();
    assert!(stacks.iter().all(|stack| *stack != 0), "{stacks:?}");
    assert_ne!(stacks[0], stacks[1]);
    assert!(stacks.windows(3).all(|three| three[0] == three[2]), "{stacks:?}");
    queue.wake_all();
    run_clean(&mut scheduler);
}

#[test]
fn nobody_listens_then_no_stack() {
    let mut scheduler = scheduler();
    let queue = Rc::new(WaitQueue::new(0));
    let waits = Rc::clone(&queue);
    scheduler.spawn(frame(async move { waits.park().await })).detach();
    step_while_ready(&mut scheduler);
    assert_eq!(stack_of(&scheduler, 1), 0);
    queue.wake();
    run_clean(&mut scheduler);
}

#[test]
fn frame_outside_a_task_then_it_is_no_more_than_its_future() {
    let mut framed = Box::pin(frame(async { 7 }));
    assert_eq!(poll_idly(&mut framed), std::task::Poll::Ready(7));
    let shown = format!("{:?}", frame(async {}));
    assert!(shown.starts_with("Frame { site: tests/frames.rs:"), "{shown}");
}

#[test]
fn somebody_listens_anew_then_every_frame_is_told_again() {
    let kernel = KernelRing::claim(0);
    let entered = kernel.enter();
    kernel.listen(true);
    let site = Location::caller();
    let outer = Ring::enter_frame(site);
    drop(Ring::enter_frame(site));
    drop(outer);
    let frames = kernel.take_frames();
    let numbers: Vec<_> =
        frames.iter().map(|(stack, _, around)| (stack.number(), around.number())).collect();
    assert_eq!(numbers, [(1, 0), (2, 1)]);
    assert!(kernel.take_frames().is_empty());
    kernel.listen(false);
    assert!(Ring::enter_frame(site).is_none());
    kernel.listen(true);
    assert_eq!(kernel.take_frames(), frames);
    assert_eq!(kernel.ring().stack().number(), 0);
    drop(entered);
}

// What `#[traced]` makes of a function.

struct Table {
    plates: Cell<u32>,
    name: String,
}

trait Serve {
    async fn serve(&self, plates: u32) -> u32;

    const BY_DEFAULT: u32 = line!() + 5;
    #[traced]
    async fn serve_all(&self, each: &[u32]) -> u32 {
        let mut all = 0;
        for plates in each {
            all += self.serve(*plates).await;
        }
        all
    }
}

impl Serve for Table {
    #[traced]
    async fn serve(&self, plates: u32) -> u32 {
        yield_now().await;
        self.plates.set(self.plates.get() + plates);
        self.plates.get()
    }
}

impl Table {
    /// Its documentation stays.
    #[traced]
    pub(crate) async fn name(&self) -> &str {
        yield_now().await;
        &self.name
    }

    #[traced]
    async fn rename<'a>(&mut self, (first, _): (&'a str, OnDrop<impl FnMut()>)) -> &'a str {
        yield_now().await;
        first.clone_into(&mut self.name);
        first
    }

    #[traced]
    async fn into_name(mut self) -> String {
        self.name.push('!');
        yield_now().await;
        self.name
    }

    #[traced]
    async fn shared(self: Rc<Self>) -> usize {
        yield_now().await;
        Rc::strong_count(&self)
    }
}

#[test]
fn methods_and_methods_of_traits_then_the_lines_of_their_callers() {
    let line = line!();
    let heard = calls_of(async {
        let mut table = Table { plates: Cell::new(0), name: "one".to_owned() };
        assert_eq!(table.serve(2).await, 2);
        assert_eq!(table.serve_all(&[1]).await, 3);
        assert_eq!(table.name().await, "one");
        let dropped = Cell::new(false);
        let renamed = table.rename(("two", OnDrop(|| dropped.set(true)))).await;
        assert_eq!((renamed, dropped.get()), ("two", true));
        assert_eq!(Rc::new(Table { plates: Cell::new(0), name: String::new() }).shared().await, 1);
        assert_eq!(table.into_name().await, "two!");
    });
    let calls = heard.0.borrow().calls.clone();
    let callers: Vec<_> = calls.iter().map(|(_, lines)| lines[1..].to_vec()).collect();
    let by_default = Table::BY_DEFAULT;
    assert_eq!(
        callers,
        [
            vec![line + 3],
            vec![by_default, line + 4],
            vec![line + 5],
            vec![line + 7],
            vec![line + 9],
            vec![line + 10],
        ]
    );
}

#[traced]
async fn parsed<T>(text: &str, more: impl Display) -> Result<T, Box<dyn std::error::Error>>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + 'static,
{
    yield_now().await;
    if text.is_empty() {
        return Err(more.to_string().into());
    }
    Ok(text.parse()?)
}

#[traced]
async fn shown() -> impl Display {
    yield_now().await;
    7
}

#[traced]
async fn fails() -> Result<(), std::num::ParseIntError> {
    let _: u8 = "no number".parse()?;
    Ok(())
}

#[traced]
async fn conditional(
    #[cfg(any())] absent: NoSuchType,
    #[cfg(any())] (left, right): NoSuchType,
    #[cfg(unix)] here: u32,
    #[allow(unused_mut, reason = "said of the name, wherever that stands")] mut last: u32,
) -> u32 {
    yield_now().await;
    here + last
}

#[test]
fn generics_and_question_marks_then_as_without_the_attribute() {
    calls_of(async {
        assert_eq!(parsed::<u8>("7", "").await.unwrap(), 7);
        assert_eq!(parsed::<u8>("", "nothing").await.unwrap_err().to_string(), "nothing");
        assert!(parsed::<u8>("x", "").await.unwrap_err().to_string().contains("invalid digit"));
        assert_eq!(shown().await.to_string(), "7");
        assert!(fails().await.is_err());
        assert_eq!(conditional(3, 4).await, 7);
    });
}

#[traced]
async fn keeps(
    first: OnDrop<impl FnMut()>,
    _second: OnDrop<impl FnMut()>,
    _: OnDrop<impl FnMut()>,
) {
    drop(first);
    yield_now().await;
}

/// The same without the attribute.
async fn keeps_plainly(
    first: OnDrop<impl FnMut()>,
    _second: OnDrop<impl FnMut()>,
    _: OnDrop<impl FnMut()>,
) {
    drop(first);
    yield_now().await;
}

#[test]
fn arguments_then_they_are_dropped_when_those_of_an_async_fn_are() {
    let orders = Rc::new(RefCell::new([Vec::new(), Vec::new()]));
    let seen = Rc::clone(&orders);
    calls_of(async move {
        let note = |order: usize, what: &'static str| {
            let seen = Rc::clone(&seen);
            OnDrop(move || seen.borrow_mut()[order].push(what))
        };
        let plain = keeps_plainly(note(0, "first"), note(0, "second"), note(0, "third"));
        seen.borrow_mut()[0].push("made");
        plain.await;
        let traced = keeps(note(1, "first"), note(1, "second"), note(1, "third"));
        seen.borrow_mut()[1].push("made");
        traced.await;
        drop(keeps_plainly(note(0, "first"), note(0, "second"), note(0, "third")));
        drop(keeps(note(1, "first"), note(1, "second"), note(1, "third")));
    });
    let [plain, traced] = orders.take();
    assert_eq!(plain.len(), 7);
    assert_eq!(traced, plain);
}
