//! `trapline view` in a real pseudo-terminal: what is painted, and what is left behind however it ends.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;
#[path = "support/terminal.rs"]
mod terminal;

use rustix::process::{Pid, Signal, kill_process};
use support::{Scratch, a_short_run};
use terminal::Terminal;

const TRAPLINE: &str = env!("CARGO_BIN_EXE_trapline");

fn view(trace: &Scratch, more: &[&str]) -> Terminal {
    let mut arguments = vec!["view", trace.str()];
    arguments.extend(more);
    Terminal::start(TRAPLINE, &arguments, 80, 24)
}

/// What `--dump` prints for these keys, without blanks at the ends of lines.
fn dumped(trace: &Scratch, keys: &str, size: &str) -> String {
    let arguments = ["view", trace.str(), "--keys", keys, "--dump", "--size", size];
    support::printed(arguments).trim_end().to_owned()
}

fn trimmed(screen: &str) -> String {
    let lines: Vec<_> = screen.lines().map(str::trim_end).collect();
    lines.join("\n").trim_end().to_owned()
}

#[test]
fn keys_pressed_then_the_screen_is_what_is_dumped() {
    let trace = a_short_run().file();
    let mut terminal = view(&trace, &[]);
    terminal.wait_for("step 0 of 6");
    assert_eq!(trimmed(&terminal.settled()), dumped(&trace, "", "80x24"));
    terminal.press("nn");
    terminal.wait_for("step 2 of 6");
    assert_eq!(trimmed(&terminal.settled()), dumped(&trace, "nn", "80x24"));
    terminal.press("p5");
    terminal.wait_for("5 tasks");
    assert_eq!(trimmed(&terminal.settled()), dumped(&trace, "nnp5", "80x24"));
    terminal.press("q");
    assert!(terminal.end().success());
    terminal.assert_given_back();
}

#[test]
fn long_recording_then_its_beginning_is_shown_while_the_rest_is_read() {
    let steps = 40_000;
    let mut script = support::Script::new();
    script.born(1, "one", None);
    for step in 1..=steps {
        script.taken(1, step * 1000);
        script.begun(step, 1, "yield_now", 20);
        script.answered(step, trapline_trace::Cause::Task(1));
        script.rested(1, true);
        script.ran();
    }
    let trace = script.file();
    let mut terminal = view(&trace, &["--keys", "n"]);
    terminal.wait_for(&format!("step 1 of {steps} ·"));
    assert!(terminal.has_written("+ (loading)"));
    terminal.press("\x1b[F");
    terminal.wait_for(&format!("step {steps} of {steps} ·"));
    terminal.press("q");
    assert!(terminal.end().success());
}

#[test]
fn window_resized_then_the_screen_fits_it() {
    let trace = a_short_run().file();
    let mut terminal = view(&trace, &["--keys", "n"]);
    terminal.wait_for("step 1 of 6");
    for (columns, rows) in [(120, 40), (60, 15), (20, 4), (1, 1), (80, 24)] {
        terminal.resize(columns, rows);
        let size = format!("{columns}x{rows}");
        let expected = dumped(&trace, "n", &size);
        terminal.wait_until(&size, |screen| trimmed(screen) == expected);
    }
    terminal.press("q");
    assert!(terminal.end().success());
}

#[test]
fn control_c_then_the_terminal_is_given_back_and_the_status_says_so() {
    let trace = a_short_run().file();
    let mut terminal = view(&trace, &[]);
    terminal.wait_for("step 0 of 6");
    assert!(!terminal.is_cooked());
    terminal.press("\x03");
    assert_eq!(terminal.end().code(), Some(130));
    terminal.assert_given_back();
}

#[test]
fn signal_that_ends_it_then_the_terminal_is_given_back() {
    use std::os::unix::process::ExitStatusExt;
    for (signal, number) in [(Signal::TERM, 15), (Signal::INT, 2), (Signal::HUP, 1)] {
        let trace = a_short_run().file();
        let mut terminal = view(&trace, &[]);
        terminal.wait_for("step 0 of 6");
        let pid = Pid::from_raw(terminal.child.id() as i32).unwrap();
        kill_process(pid, signal).unwrap();
        assert_eq!(terminal.end().signal(), Some(number));
        terminal.assert_given_back();
    }
}

#[test]
fn panic_then_the_terminal_is_given_back_before_it_is_told_of() {
    let trace = a_short_run().file();
    let mut terminal = view(&trace, &["--panic"]);
    assert_eq!(terminal.end().code(), Some(101));
    terminal.assert_given_back();
    let screen = terminal.contents();
    // In a line of its own, from the left: not as in the raw mode.
    assert!(screen.lines().any(|line| line == "asked to panic"), "{screen}");
}

/// A shell with job control: it is told when its job stops, and has it go on.
fn in_a_shell(trace: &Scratch) -> Terminal {
    let script = format!(
        "set -m; '{TRAPLINE}' view '{}' --keys n; echo stopped; read line; fg >/dev/null; echo over",
        trace.str()
    );
    Terminal::start("sh", &["-c", &script], 80, 24)
}

#[test]
fn control_z_then_the_shell_has_the_terminal_until_it_goes_on() {
    let trace = a_short_run().file();
    let mut terminal = in_a_shell(&trace);
    terminal.wait_for("step 1 of 6");
    let before = terminal.settled();
    terminal.press("\x1a");
    terminal.wait_for("stopped");
    terminal.assert_given_back();
    terminal.press("\n");
    terminal.wait_until("the same screen", |screen| screen == before);
    terminal.press("n");
    terminal.wait_for("step 2 of 6");
    terminal.press("q");
    terminal.wait_for("over");
    assert!(terminal.end().success());
    terminal.assert_given_back();
}

#[test]
fn colours_unwanted_then_none_are_painted_and_the_text_is_the_same() {
    let trace = a_short_run().file();
    let colours = |terminal: &Terminal| {
        let cell = |at: u16| terminal.screen().cell(at / 80, at % 80).map(|cell| cell.fgcolor());
        (0..80 * 24).filter(|at| cell(*at) != Some(vt100::Color::Default)).count()
    };
    let mut terminal = view(&trace, &["--keys", "nnN"]);
    terminal.wait_for("step 3 of 6");
    let colourful = terminal.settled();
    assert!(colours(&terminal) > 0);
    let script = format!("NO_COLOR=1 '{TRAPLINE}' view '{}' --keys nnN", trace.str());
    let mut terminal = Terminal::start("sh", &["-c", &script], 80, 24);
    terminal.wait_for("step 3 of 6");
    assert_eq!(terminal.settled(), colourful);
    assert_eq!(colours(&terminal), 0);
}

#[test]
fn no_terminal_then_it_says_what_does_without_one() {
    let trace = a_short_run().file();
    let output = support::trapline(["view", trace.str()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--dump"));
}
