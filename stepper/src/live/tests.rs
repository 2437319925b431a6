//! Live programs, from their start to their end.

use super::compare::Comparison;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Parser;
use trapline_trace::Recording;

use super::*;

/// What only a broken program makes us wait for.
const PATIENCE: Duration = Duration::from_secs(60);

/// An example, which is built where nobody has done so.
fn example(package: &str, name: &str) -> PathBuf {
    let arguments = ["build", "--quiet", "-p", package, "--example", name];
    assert!(Command::new(env!("CARGO")).args(arguments).status().unwrap().success());
    let tests = std::env::current_exe().unwrap();
    tests.parent().unwrap().parent().unwrap().join("examples").join(name)
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    program: Program,
}

/// A program that is there, with its arguments.
fn program(executable: &Path, arguments: &[&str]) -> Program {
    let mut words = vec!["test", executable.to_str().unwrap(), "--"];
    words.extend(arguments);
    Cli::parse_from(words).program
}

/// The relay race, held before its first step.
fn race(lap_ms: &str, is_virtual: bool) -> Live {
    let relay = program(&example("trapline-stepper", "relay"), &[lap_ms]);
    Live::start(&relay, is_virtual).unwrap().unwrap()
}

impl Live {
    /// Waits until the status is such a one.
    #[track_caller]
    fn until(&self, is_so: impl Fn(&Status) -> bool) -> Status {
        assert!(wait_for(PATIENCE, || is_so(&self.status())), "{:?}", self.status());
        self.status()
    }

    /// Orders, and waits for the answer.
    #[track_caller]
    fn obeyed(&self, order: &str) -> String {
        let ticket = self.order(order);
        let mut answers = Vec::new();
        wait_for(PATIENCE, || {
            answers.extend(self.answers());
            !answers.is_empty()
        });
        assert_eq!(answers.len(), 1);
        let Answer { ticket: of, order: asked, text } = answers.remove(0);
        assert_eq!((of, asked.as_str()), (ticket, order));
        text
    }

    #[track_caller]
    fn recording(&self) -> Recording {
        Recording::open(self.trace()).unwrap()
    }
}

fn lives(pid: &str) -> bool {
    // One that has ended and was not waited for is no longer alive.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn started_then_it_is_held_before_its_first_step_and_each_step_is_ordered() {
    let live = race("2", false);
    let status = live.until(Status::is_held);
    assert_eq!((status.step, status.ready, status.undone), (0, 1, 0));
    assert_eq!(status.ordering, Ordering::Nobody);
    let recording = live.recording();
    assert_eq!((recording.steps(), recording.damage()), (0, None));
    assert_eq!(recording.end().ready().collect::<Vec<_>>(), [1]);
    for step in 1..=3 {
        let told = live.obeyed("step");
        assert!(told.starts_with("done: held\n"), "{told}");
        // What was done is in the trace.
        assert_eq!(live.recording().steps(), step);
        live.until(|status| status.step == step && status.is_held());
    }
    assert_eq!(live.status().ordering, Ordering::Us);
    assert!(live.goes_on());
    assert_eq!(live.ended(), None);
}

#[test]
fn ordered_to_go_on_then_it_runs_to_its_end_and_has_written_into_its_file() {
    let live = race("2", false);
    assert_eq!(live.obeyed("go"), "done: it goes on");
    assert!(wait_for(PATIENCE, || !live.goes_on()));
    assert_eq!(live.ended().as_deref(), Some("exit status: 0"));
    let recording = live.recording();
    assert_eq!((recording.damage(), recording.end().tasks().count()), (None, 0));
    let output = std::fs::read_to_string(live.output().unwrap()).unwrap();
    assert!(output.contains("runner 3 is back, with lap 3"), "{output}");
    assert_eq!(live.until(|status| status.doing == Doing::Gone).doing.to_string(), "ended");
    assert_eq!(live.obeyed("step"), "refused: the run is over");
}

#[test]
fn orders_then_tasks_end_and_the_next_is_as_ordered() {
    let live = race("3600000", false);
    assert!(live.obeyed("break task 4").starts_with("done: 1: break task 4"));
    live.obeyed("go");
    live.until(|status| status.is_held() && status.step > 0);
    assert_eq!(live.obeyed("kill 4"), "done: kill T4");
    assert!(!live.recording().end().tasks().any(|task| task.id == 4));
    assert!(live.obeyed("kill 99").starts_with("refused: "));
    assert!(live.obeyed("dance").starts_with("error: "));
    assert_eq!(live.obeyed("cancel 1 closing time"), "done: cancel, closing time T1");
    assert!(live.obeyed("unbreak all").starts_with("done: "));
    live.obeyed("go");
    assert!(wait_for(PATIENCE, || !live.goes_on()));
}

#[test]
fn nobody_ready_then_a_step_waits_for_the_outside_and_is_told_for_what_until_it_is_held() {
    let live = race("3600000", false);
    live.obeyed("go");
    let status = live.until(|status| matches!(status.doing, Doing::Waits(_)));
    assert!(status.doing.to_string().starts_with("waits for a timer in 59 min"), "{status:?}");
    assert_eq!(live.obeyed("hold"), "done: held");
    let at = live.until(Status::is_held).step;
    let queued = live.obeyed("step");
    assert!(queued.starts_with("queued: the loop waits for a timer in "), "{queued}");
    let waits = live.until(|status| matches!(status.doing, Doing::Waits(_)));
    assert_eq!((waits.undone, waits.steps_left), (1, 1));
    assert_eq!(live.obeyed("hold"), "done: held");
    let held = live.until(|status| status.is_held() && status.undone == 0);
    // A look at the outside that found nothing.
    assert_eq!(held.step, at + 1);
}

#[test]
fn virtual_clock_then_an_hour_is_over_at_once() {
    let live = race("3600000", true);
    live.obeyed("go");
    assert!(wait_for(PATIENCE, || !live.goes_on()));
    assert_eq!(live.recording().end().clock_nanos(), 3 * 3_600_000_000_000);
}

#[test]
fn nobody_looks_any_more_then_the_program_and_its_files_are_gone() {
    let live = race("3600000", false);
    let pid = live.recording().property("pid").unwrap().to_owned();
    let place = live.trace().parent().unwrap().to_owned();
    assert!(lives(&pid) && place.exists());
    drop(live);
    assert!(!lives(&pid) && !place.exists());
}

#[test]
fn program_that_dies_then_its_end_is_told() {
    let live = race("3600000", false);
    let pid = live.recording().property("pid").unwrap().to_owned();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    assert!(wait_for(PATIENCE, || !live.goes_on()));
    assert_eq!(live.ended().as_deref(), Some("signal: 9 (SIGKILL)"));
    live.until(|status| status.doing == Doing::Gone);
    assert_eq!(live.obeyed("go"), "refused: the run is over");
    assert_eq!(live.recording().end().ready().collect::<Vec<_>>(), [1]);
}

#[test]
fn program_that_never_connects_then_it_is_told_so_and_ended() {
    for (name, arguments, says) in [
        ("/bin/true", &[][..], "has ended (exit status: 0) without a run of Trapline's"),
        ("/bin/sleep", &["1000"][..], "has begun no run of Trapline's within 2 s"),
    ] {
        let error = Live::start(&program(Path::new(name), arguments), false).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with(name) && error.contains(says), "{error}");
        assert!(
            error.contains("pyos1 to pyos8") && error.contains("`course_on_trapline`"),
            "{error}"
        );
    }
    // A server of the course's, which would run for ever.
    let pyos8 = program(&example("trapline", "pyos8"), &[]);
    let error = Live::start(&pyos8, false).unwrap_err().to_string();
    assert!(error.contains("`course_on_trapline`"), "{error}");
}

/// A program that runs by itself.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        // If it has ended, so much the better.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn attached_then_the_trace_grows_with_what_comes_and_the_program_goes_on_afterwards() {
    let server = example("trapline", "echo_server");
    let place = Place::new().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut other = Command::new(server);
    other.arg(port.to_string()).env("TRAPLINE", format!("monitor:{}", place.socket().display()));
    let other = Other(other.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let mut peer = None;
    wait_for(PATIENCE, || {
        peer = TcpStream::connect(port).ok();
        peer.is_some()
    });
    let mut peer = peer.unwrap();
    let mut echo = |text: &str| {
        peer.write_all(text.as_bytes()).unwrap();
        let mut back = vec![0; text.len()];
        peer.read_exact(&mut back).unwrap();
        assert_eq!(back, text.as_bytes());
    };
    echo("before");
    let live = Live::attach(&place.socket()).unwrap();
    assert!(!live.is_started() && live.output().is_none());
    assert_eq!(live.name(), place.socket());
    // It begins with a key frame of this moment.
    let first = live.recording();
    assert!(first.first_step().is_some() || first.end().tasks().count() > 0);
    echo("one");
    echo("two");
    live.until(|status| matches!(&status.doing, Doing::Waits(what) if what.contains("socket")));
    assert_eq!(live.obeyed("hold"), "done: held");
    let mut monitor = Connection::open(&place.socket()).unwrap();
    monitor.answer().unwrap();
    let state = monitor.ask("state").unwrap().unwrap().join("\n") + "\n";
    assert!(wait_for(PATIENCE, || live.recording().end().text() == state), "{state}");
    assert!(live.recording().end().step() > first.end().step());
    assert!(live.goes_on());
    // It was held by us, who leave.
    drop(live);
    echo("three");
    drop(other);
}

#[test]
fn attached_to_a_program_that_goes_away_then_what_came_stays() {
    let place = Place::new().unwrap();
    let mut other = Command::new(example("trapline-stepper", "relay"));
    let words = format!("monitor:hold:{}", place.socket().display());
    other.arg("1").env("TRAPLINE", words).stdout(Stdio::null()).stderr(Stdio::null());
    let other = Other(other.spawn().unwrap());
    let mut live = None;
    wait_for(PATIENCE, || {
        live = Live::attach(&place.socket()).ok();
        live.is_some()
    });
    let live = live.unwrap();
    live.until(Status::is_held);
    assert!(live.obeyed("step 2").starts_with("done: held"));
    assert!(wait_for(PATIENCE, || live.recording().end().step() == 2));
    drop(other);
    assert!(wait_for(PATIENCE, || !live.goes_on()));
    assert!(live.ended().is_some());
    assert_eq!(live.recording().end().step(), 2);
    assert!(Live::attach(&place.socket()).is_err());
}

/// A script that becomes the relay race with laps of so many milliseconds.
fn write_script(script: &Path, lap_ms: u32) {
    use std::os::unix::fs::PermissionsExt;
    let relay = example("trapline-stepper", "relay");
    let text = format!("#!/bin/sh\nexec {} {lap_ms}\n", relay.display());
    std::fs::write(script, text).unwrap();
    std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn edited_and_started_again_then_another_one_is_held_and_the_difference_is_found() {
    let place = Place::new().unwrap();
    let script = place.output();
    write_script(script, 2);
    let last = Live::start(&program(script, &[]), true).unwrap().unwrap();
    last.obeyed("go");
    assert!(wait_for(PATIENCE, || !last.goes_on()));

    let same = last.again().unwrap();
    assert_eq!(same.until(Status::is_held).step, 0);
    assert!(same.obeyed("step 5").starts_with("done: held"));
    let compared = compare(&last.recording(), &same.recording());
    assert_eq!(compared, Comparison::Same { steps: 5 });

    write_script(script, 3);
    let edited = same.again().unwrap();
    edited.obeyed("go");
    assert!(wait_for(PATIENCE, || !edited.goes_on()));
    let Comparison::Differs(difference) = compare(&last.recording(), &edited.recording()) else {
        panic!("it sleeps for longer");
    };
    assert!(difference.now.contains(" calls sleep(3.00 ms) (relay.rs:"), "{difference:?}");
    assert!(difference.before.contains(" calls sleep(2.00 ms) (relay.rs:"), "{difference:?}");

    // One that cannot be started leaves the others as they are.
    std::fs::remove_file(script).unwrap();
    assert!(same.again().is_err());
    assert!(same.obeyed("step").starts_with("done: held"));
}

#[test]
fn program_that_cannot_be_built_then_cargo_says_why_without_its_progress() {
    let of = |name| Cli::parse_from(["test", "-p", "trapline-stepper", "--example", name]).program;
    let error = of("no_such_race").target_again().unwrap_err().to_string();
    assert!(error.starts_with("error: no example target named `no_such_race`"), "{error}");
    assert!(of("relay").target_again().unwrap().executable.ends_with("examples/relay"));
}
