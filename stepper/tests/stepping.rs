//! `trapline step`: programs that are built, started and looked at.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/program.rs"]
mod program;
mod support;
#[path = "support/terminal.rs"]
mod terminal;

use std::time::{Duration, Instant};

use program::{Temporary, processes_with, relay};
use support::{Scratch, command, printed};
use terminal::Terminal;

const TRAPLINE: &str = env!("CARGO_BIN_EXE_trapline");

#[test]
fn example_then_it_is_built_and_its_output_belongs_to_steps() {
    let screen = |keys: &str| {
        let arguments =
            ["step", "-p", "trapline-stepper", "--example", "relay", "--dump", "--size", "120x40"];
        let output = command(arguments).args(["--keys", keys]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let first = screen("n7");
    assert!(first.contains("stepper/examples/relay.rs"), "{first}");
    assert!(first.contains("T1 traps: it asks for a new task (spawn)."), "{first}");
    assert!(!first.contains("runner 1 is back"), "{first}");
    let last = screen("G<end>7");
    assert!(last.contains("runner 3 is back, with lap 3"), "{last}");
    // A step that lies between.
    let middle = screen("7b outcome returned<enter>c");
    assert!(!middle.contains("runner 3 is back"), "{middle}");
}

#[allow(
    clippy::disallowed_methods,
    reason = "how long it takes by anybody's clock is what is promised"
)]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    (work(), begin.elapsed())
}

#[test]
fn program_that_never_connects_then_it_is_told_within_two_seconds_what_does() {
    let temporary = Temporary::new("never");
    let step = |program: &str, arguments: &[&str]| {
        let mut command = command(["step", program, "--dump", "--"]);
        command.args(arguments).env("TMPDIR", &temporary.0);
        let (output, took) = timed(|| command.output().unwrap());
        assert_eq!(output.status.code(), Some(1));
        (String::from_utf8(output.stderr).unwrap(), took)
    };
    let (said, _) = step("/bin/true", &[]);
    assert!(said.contains("/bin/true has ended (exit status: 0) without a run"), "{said}");
    assert!(said.contains("`course_on_trapline`"), "{said}");
    let (said, took) = step("/bin/sleep", &["98.7125"]);
    assert!(said.contains("/bin/sleep has begun no run of Trapline's within 2 s"), "{said}");
    assert!(said.contains("`course_on_trapline`"), "{said}");
    // Two seconds, and what a busy machine adds.
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(processes_with("sleep", "98.7125"), []);
    assert_eq!(temporary.left(), 0);
}

#[test]
fn program_that_goes_on_then_its_recording_grows_and_it_ends_with_the_viewer() {
    let temporary = Temporary::new("grows");
    // Each lap takes a second or so: long enough to see some, and no end of it.
    let script = format!(
        "export TMPDIR='{}'; exec '{TRAPLINE}' step '{}' -- 1234",
        temporary.0.display(),
        relay()
    );
    let mut terminal = Terminal::start("sh", &["-c", &script], 100, 30);
    terminal.wait_for("LIVE step 0 · held");
    terminal.press("<"); // No key: said, and nothing else.
    terminal.wait_for("is no key here");
    terminal.press("G");
    terminal.wait_for("LIVE step 7 · waits for a timer in");
    // Where one looks is nothing to the program.
    terminal.press("\x1b[H");
    terminal.wait_for("step 0 of 7");
    terminal.wait_for("step 0 of 1");
    terminal.press("\x1b[F");
    terminal.wait_for("LIVE step 1");
    assert_eq!(processes_with("relay", "1234").len(), 1);
    terminal.press("q");
    assert!(terminal.end().success());
    terminal.assert_given_back();
    assert_eq!(processes_with("relay", "1234"), []);
    assert_eq!(temporary.left(), 0);
}

#[test]
fn viewer_killed_by_a_signal_then_the_program_and_its_files_are_gone() {
    use rustix::process::{Pid, Signal, kill_process};
    use std::os::unix::process::ExitStatusExt;
    let temporary = Temporary::new("killed");
    let script = format!(
        "export TMPDIR='{}'; exec '{TRAPLINE}' step '{}' -- 4321",
        temporary.0.display(),
        relay()
    );
    let mut terminal = Terminal::start("sh", &["-c", &script], 80, 24);
    terminal.wait_for("LIVE");
    kill_process(Pid::from_raw(terminal.child.id() as i32).unwrap(), Signal::TERM).unwrap();
    assert_eq!(terminal.end().signal(), Some(15));
    terminal.assert_given_back();
    assert_eq!(processes_with("relay", "4321"), []);
    assert_eq!(temporary.left(), 0);
}

#[test]
fn file_recorded_elsewhere_then_its_output_is_shown_where_it_is_named() {
    let trace = support::a_short_run().file();
    let output = Scratch::holding("output", b"one\ntwo \x1b[31m\n");
    let arguments = ["view", trace.str(), "--output", output.str(), "--dump", "--keys", "7"];
    let screen = printed(arguments);
    assert!(screen.contains("two \\u{1b}[31m"), "{screen}");
    assert!(screen.contains("(of the whole run"), "{screen}");
}
