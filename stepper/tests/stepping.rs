//! `trapline step`: programs that are built, started and looked at.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;
#[path = "support/terminal.rs"]
mod terminal;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use support::{Scratch, command, printed};
use terminal::Terminal;

const TRAPLINE: &str = env!("CARGO_BIN_EXE_trapline");

/// The example of this package. Where this file's tests are run alone, nobody has built it.
fn relay() -> String {
    let arguments = ["build", "--quiet", "-p", "trapline-stepper", "--example", "relay"];
    assert!(Command::new(env!("CARGO")).args(arguments).status().unwrap().success());
    let tests = std::env::current_exe().unwrap();
    let relay = tests.parent().unwrap().parent().unwrap().join("examples/relay");
    relay.to_str().unwrap().to_owned()
}

/// A directory for temporary files, in which nothing is to be left.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Temporary {
        let path = PathBuf::from(Scratch::new(name).str());
        fs::create_dir_all(&path).unwrap();
        Temporary(path)
    }

    fn left(&self) -> usize {
        fs::read_dir(&self.0).unwrap().count()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How many processes have this among their arguments.
fn processes_with(argument: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines
        .filter(|line| line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes()))
        .count()
}

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
    let last = screen("<end>7");
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
    assert_eq!(processes_with("98.7125"), 0);
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
    terminal.wait_for("(loading)");
    terminal.press("<"); // No key: said, and nothing else.
    terminal.wait_for("is no key here");
    terminal.press("7");
    terminal.press("\x1b[F");
    terminal.wait_until("growth", |screen| screen.contains("of 1") && screen.contains("(loading)"));
    assert_eq!(processes_with("1234"), 2);
    terminal.press("q");
    assert!(terminal.end().success());
    terminal.assert_given_back();
    assert_eq!(processes_with("1234"), 0);
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
    terminal.wait_for("(loading)");
    kill_process(Pid::from_raw(terminal.child.id() as i32).unwrap(), Signal::TERM).unwrap();
    assert_eq!(terminal.end().signal(), Some(15));
    terminal.assert_given_back();
    assert_eq!(processes_with("4321"), 0);
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
