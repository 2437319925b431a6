//! Every kind of call reports the line from which the program made it, whatever it is wrapped in.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::RefCell;
use std::os::unix::net::UnixStream;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::pending;
use support::{builder, scheduler};
use trapline::{
    CallId, Event, KernelFace, OwnCall, Served, StepEvent, TaskState, WaitQueue, own_call,
};

const SECOND: Duration = Duration::from_secs(1);

/// The lines of this file on which the calls of `work`'s task, and the spawns, were made; the word
/// is what was asked.
fn sites_of(work: impl Future + 'static) -> Vec<(String, u32)> {
    let sites: Rc<RefCell<Vec<(String, &'static Location<'static>)>>> = Rc::default();
    let seen = Rc::clone(&sites);
    let mut scheduler = builder()
        .probe(move |event: &Event<'_>| {
            let (what, site) = match event {
                Event::Trapped { task, request, site, .. } if task.sequence() == 1 => {
                    (request.to_string(), *site)
                }
                Event::Born { parent: Some(_), site, .. } => ("born".to_owned(), *site),
                _ => return,
            };
            seen.borrow_mut().push((what, site));
        })
        .build();
    scheduler.spawn(work.map(drop)).detach();
    let report = scheduler.run().unwrap();
    assert_eq!(report.failures, 0, "{report}");
    let word = |text: &str| text.split('(').next().unwrap().to_owned();
    let here = |(what, site): (String, &Location<'_>)| {
        assert_eq!(site.file(), file!(), "{what} at {site}");
        (word(&what), site.line())
    };
    sites.take().into_iter().map(here).collect()
}

/// Whether the calls of `work` report `lines`, in order.
#[track_caller]
fn assert_sites(work: impl Future + 'static, expected: &[(&str, u32)]) {
    let found = sites_of(work);
    let found: Vec<_> = found.iter().map(|(what, line)| (what.as_str(), *line)).collect();
    assert_eq!(found, expected);
}

#[test]
fn plain_calls_then_the_line_of_the_call() {
    let line = line!();
    let work = async {
        trapline::get_tid().await;
        trapline::yield_now().await;
        trapline::now().await;
        trapline::sleep(SECOND).await;
        trapline::sleep_until(trapline::Instant::from_nanos(5_000_000_000)).await;
    };
    assert_sites(
        work,
        &[
            ("get_tid", line + 2),
            ("yield_now", line + 3),
            ("now", line + 4),
            ("sleep", line + 5),
            ("sleep_until", line + 6),
        ],
    );
}

#[test]
fn future_made_on_one_line_and_awaited_on_another_then_the_line_where_it_was_made() {
    let line = line!();
    let work = async {
        let sleep = trapline::sleep(SECOND);
        trapline::yield_now().await;
        sleep.await;
    };
    assert_sites(work, &[("yield_now", line + 3), ("sleep", line + 2)]);
}

#[test]
fn tasks_then_the_line_of_each_call() {
    let line = line!();
    let work = async {
        let first = trapline::spawn(async {}).await;
        let second = trapline::spawn(pending::<()>()).name("second").await;
        trapline::spawn_detached(async {});
        trapline::spawn(async {}).detach();
        trapline::wait(first.id()).await.unwrap();
        trapline::kill(second.id()).await.unwrap();
        first.await.unwrap();
        second.join().await.unwrap_err();
    };
    assert_sites(
        work,
        &[
            ("born", line + 2),
            ("spawn", line + 2),
            ("born", line + 3),
            ("spawn", line + 3),
            ("born", line + 4),
            ("born", line + 5),
            ("wait", line + 6),
            ("kill", line + 7),
            ("join", line + 8),
            ("join", line + 9),
        ],
    );
}

#[test]
fn handle_joined_inside_a_combinator_then_the_line_where_join_was_said() {
    let line = line!();
    let work = async {
        let first = trapline::spawn(async {}).await;
        futures::join!(first.join(), async {}).0.unwrap();
        let second = trapline::spawn(async {}).await;
        trapline::timeout(SECOND, second.join()).await.unwrap().unwrap();
        let third = trapline::spawn(async {}).await;
        let mut joined = third.join();
        (&mut joined).await.unwrap();
    };
    let found = sites_of(work);
    let joins: Vec<_> = found.iter().filter(|(what, _)| what == "join").collect();
    let lines: Vec<_> = joins.into_iter().map(|(_, line)| *line).collect();
    assert_eq!(lines, [line + 3, line + 5, line + 7]);
}

#[test]
fn timeouts_and_intervals_then_the_line_of_the_program() {
    let line = line!();
    let work = async {
        trapline::timeout(SECOND, pending::<()>()).await.unwrap_err();
        let inner = trapline::sleep(SECOND);
        trapline::timeout(9 * SECOND, inner).await.unwrap();
        let mut ticks = trapline::interval(SECOND);
        ticks.tick().await;
        ticks.tick().await;
    };
    assert_sites(
        work,
        &[
            ("sleep", line + 2),
            ("sleep", line + 3),
            ("sleep", line + 4),
            ("now", line + 6),
            ("sleep_until", line + 7),
        ],
    );
}

#[test]
fn descriptors_then_the_line_of_the_wait() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let line = line!();
    let work = async move {
        trapline::write_wait(&ours).await.unwrap();
        drop(theirs);
        trapline::read_wait(&ours).await.unwrap();
    };
    assert_sites(work, &[("write_wait", line + 2), ("read_wait", line + 4)]);
}

#[test]
fn wait_queues_then_the_line_of_the_park() {
    let line = line!();
    let work = async {
        let queue = WaitQueue::new(1);
        queue.park().await;
    };
    assert_sites(work, &[("park", line + 3)]);
}

struct Nothing;

impl OwnCall for Nothing {
    type Reply = ();

    fn name(&self) -> &'static str {
        "nothing"
    }

    fn serve(&mut self, _: &mut dyn KernelFace, _: CallId) -> Served<()> {
        Served::Answer(())
    }
}

#[test]
fn own_calls_then_the_line_of_the_program_also_through_a_function_that_passes_it_on() {
    #[track_caller]
    fn nothing() -> trapline::OwnTrap<Nothing> {
        own_call(Nothing)
    }
    let line = line!();
    let work = async {
        own_call(Nothing).await;
        nothing().await;
    };
    let found = sites_of(work);
    let lines: Vec<_> = found.iter().map(|(_, line)| *line).collect();
    assert_eq!(lines, [line + 2, line + 3]);
}

#[test]
fn under_combinators_then_the_lines_of_the_calls_themselves() {
    let line = line!();
    let work = async {
        futures::join!(
            trapline::sleep(SECOND), // one
            trapline::now(),         // two
        );
        let both = [
            trapline::sleep(SECOND), // three
            trapline::sleep(SECOND), // four
        ];
        futures::future::join_all(both).await;
    };
    assert_sites(
        work,
        &[("sleep", line + 3), ("now", line + 4), ("sleep", line + 7), ("sleep", line + 8)],
    );
}

#[test]
fn steps_snapshots_and_reports_then_the_same_line() {
    let mut scheduler = scheduler();
    let line = line!() + 1;
    scheduler.spawn(async { trapline::sleep(SECOND).await }).detach();
    let step = scheduler.step();
    let StepEvent::Trapped { site, .. } = step.event() else { panic!("{step}") };
    assert_eq!((site.file(), site.line()), (file!(), line));
    let place = format!("{}:{line}", file!());
    assert!(scheduler.show(&step).to_string().contains(&place));
    assert!(scheduler.blocked().to_string().contains(&place));
    let snapshot = scheduler.snapshot();
    assert_eq!(snapshot.tasks[0].site.line(), line, "where it was spawned");
    let TaskState::Blocked(calls) = &snapshot.tasks[0].state else { panic!("{snapshot}") };
    assert_eq!((calls[0].site.file(), calls[0].site.line()), (file!(), line));
}

#[test]
fn block_on_and_spawn_from_main_then_the_line_in_main() {
    let lines: Rc<RefCell<Vec<u32>>> = Rc::default();
    let seen = Rc::clone(&lines);
    let mut scheduler = builder()
        .probe(move |event: &Event<'_>| {
            if let Event::Born { site, .. } = event {
                assert_eq!(site.file(), file!());
                seen.borrow_mut().push(site.line());
            }
        })
        .build();
    let line = line!();
    scheduler.spawn(async {}).detach();
    scheduler.spawn_with(trapline::TaskOptions::new().name("named"), async {}).detach();
    scheduler.block_on(async {}).unwrap();
    assert_eq!(lines.take(), [line + 1, line + 2, line + 3]);
}

#[test]
fn values_awaited_later_then_the_line_of_the_await() {
    let line = line!();
    let work = async {
        let handle = trapline::spawn(async {}).await;
        let mut ticks = trapline::interval(SECOND);
        let (sender, receiver) = trapline::channel::oneshot();
        let sent = trapline::spawn(async move { sender.send(7) }).await;
        trapline::yield_now().await;
        handle.await.unwrap();
        ticks.tick().await;
        receiver.await.unwrap();
        sent.await.unwrap().unwrap();
    };
    let found = sites_of(work);
    let last = found.iter().rev().take(4).rev().map(|(what, at)| (what.as_str(), at - line));
    let expected = [("join", 7), ("now", 8), ("yield_now", 9), ("join", 10)];
    assert_eq!(last.collect::<Vec<_>>(), expected);
}
