//! `trapline step` on programs that live: orders, waiting, and what becomes of the terminal.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/program.rs"]
mod program;
mod support;
#[path = "support/terminal.rs"]
mod terminal;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use program::{Temporary, processes_with, relay};
use rustix::process::{Pid, Signal, kill_process};
use support::{Scratch, a_short_run, command, printed};
use terminal::Terminal;

const TRAPLINE: &str = env!("CARGO_BIN_EXE_trapline");

/// The relay in a terminal, each lap so many milliseconds long.
fn step(temporary: &Temporary, lap: &str, more: &str) -> Terminal {
    let script = format!(
        "export TMPDIR='{}'; exec '{TRAPLINE}' step {more} '{}' -- {lap}",
        temporary.0.display(),
        relay()
    );
    Terminal::start("sh", &["-c", &script], 100, 30)
}

/// What is printed after these keys, on the clock that jumps.
fn dumped(keys: &str) -> String {
    let relay = relay();
    let arguments = ["step", &relay, "--virtual", "--dump", "--size", "120x40", "--keys", keys];
    let output = command(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    panic!("no {what}");
}

#[track_caller]
fn has(screen: &str, text: &str) {
    assert!(screen.contains(text), "no {text:?} in:\n{screen}");
}

fn quit(mut terminal: Terminal, temporary: &Temporary) {
    terminal.press("q");
    assert!(terminal.end().success());
    terminal.assert_given_back();
    assert_eq!(temporary.left(), 0);
}

#[test]
fn program_started_then_it_is_held_before_its_first_step_and_steps_by_a_key() {
    let temporary = Temporary::new("held");
    let mut terminal = step(&temporary, "11", "");
    terminal.wait_for("LIVE step 0 · held");
    let screen = terminal.wait_for("T1 is at its head and will run first.");
    has(&screen, "Nothing has run yet.");
    assert!(screen.contains("?async fn main"), "{screen}");
    terminal.press("n");
    terminal.wait_for("LIVE step 1 · held");
    terminal.press("p");
    terminal.wait_for("step 0 of 1 · held");
    let screen = terminal.wait_for("Nothing has run yet.");
    // Of the past all is known.
    assert!(!screen.contains("?async fn main"), "{screen}");
    terminal.press("nn");
    terminal.wait_for("LIVE step 2 · held");
    quit(terminal, &temporary);
}

#[test]
fn phases_at_the_edge_then_the_step_is_taken_and_played() {
    let screen = dumped("N");
    has(&screen, "step 1 of 1 · held · in pick");
    let screen = dumped("NNN");
    has(&screen, "step 1 of 1 · held · in trap");
}

#[test]
fn program_let_go_then_it_runs_until_it_is_held_and_the_cursor_follows() {
    let temporary = Temporary::new("go");
    let mut terminal = step(&temporary, "60000", "");
    terminal.wait_for("LIVE step 0 · held");
    terminal.press("G");
    terminal.wait_for("LIVE step 7 · waits for a timer in");
    terminal.press("n");
    terminal.wait_for("it runs: G holds it");
    terminal.press("G");
    // The loop was woken for that.
    terminal.wait_for("LIVE step 8 · held");
    terminal.press("G");
    terminal.wait_for("LIVE step 8 · waits for a timer in");
    quit(terminal, &temporary);
}

#[test]
fn nobody_ready_then_next_says_what_for_and_any_key_ends_the_wait() {
    let temporary = Temporary::new("waits");
    let mut terminal = step(&temporary, "60001", "");
    terminal.wait_for("LIVE step 0 · held");
    for step in 1..=7 {
        terminal.press("n");
        terminal.wait_for(&format!("LIVE step {step} · held"));
    }
    terminal.press("n");
    terminal.wait_for("nothing is ready: it waits for a timer in");
    terminal.wait_for("any key ends the wait");
    terminal.press("k");
    terminal.wait_for("LIVE step 8 · held");
    terminal.wait_for("held after step 8");
    // It only ended the wait.
    terminal.press("k");
    terminal.wait_for("step 7 of 8 · held");
    quit(terminal, &temporary);
}

#[test]
fn task_that_keeps_the_loop_then_the_position_line_says_who_and_since_where() {
    let temporary = Temporary::new("stuck");
    let mut terminal = step(&temporary, "1 61717", "");
    terminal.wait_for("LIVE step 0 · held");
    terminal.press("G");
    let screen = terminal.wait_for("· STUCK in T1 for");
    has(screen.lines().next().unwrap(), "since relay.rs:");
    has(screen.lines().next().unwrap(), "the thread is computing");
    // The keys are heard all the same.
    terminal.press("p");
    terminal.wait_for("step 9 of 10");
    quit(terminal, &temporary);
    assert_eq!(processes_with("relay", "61717"), []);
}

#[test]
fn task_run_next_then_it_is_an_order_from_outside_and_the_run_is_another() {
    // The three runners stand in the queue; the second is selected.
    let before = dumped("nnnn");
    has(&before, "running  ready: 3");
    let ordered = dumped("nnnn<down><down><down>F");
    has(&ordered, "An order from outside puts T3 (runner 2) at the head of the ready queue.");
    has(&ordered, "done: next T3");
    has(&dumped("nnnn<down><down><down>Fn"), "T3 (runner 2) is taken from the head");
    let first = |screen: &str| {
        let line = screen.lines().find_map(|line| line.split_once("with lap 1"));
        line.map(|(before, _)| before.contains("runner 1"))
    };
    assert_eq!(first(&dumped("G7")), Some(true));
    assert_eq!(first(&dumped("nnnn<down><down><down>FG7")), Some(false));
    // Of one that waits it is refused by the program.
    has(&dumped("nnnnn<down><down>F"), "refused: T2 is not ready");
}

#[test]
fn task_killed_or_asked_to_end_then_it_is_seen_before_the_next_step() {
    let killed = dumped("nnnn<down><down>K5");
    has(&killed, "LIVE step 4");
    has(&killed, "T2 (runner 1) is killed: it is dropped where it stood.");
    assert!(!killed.lines().any(|line| line.starts_with("  T2")), "{killed}");
    let asked = dumped("nnnn<down><down>Xtoo slow<enter>");
    has(&asked, "T2 is asked to stop");
    has(&asked, "too slow");
    has(&dumped("nnnn<down><down>X"), "ask the selected task to end, because of: _");
    has(&dumped("nnnn<down><down>Xno<esc>"), "LIVE step 4");
    has(&dumped("nnnnK"), "choose a task first");
}

#[test]
fn orders_in_the_past_or_in_a_recording_then_they_are_refused_with_the_word() {
    for key in ["K", "F", "X", "G"] {
        has(&dumped(&format!("nnnnp<down>{key}")), "refused: this is the past");
    }
    has(&dumped("nnnnp<end><down><down>K"), "done: kill T2");
    has(&dumped("GG"), "refused: the program has ended");
    let trace = a_short_run().file();
    for key in ["K", "F", "X", "G", "R"] {
        let screen = printed(["view", trace.str(), "--dump", "--keys", &format!("n{key}")]);
        has(&screen, "refused: this is a recording");
    }
}

#[test]
fn breakpoint_beyond_what_is_recorded_then_the_program_goes_on_to_it() {
    let screen = dumped("bcall sleep<enter>c");
    has(&screen, "LIVE step 5 · held");
    has(&screen, "stopped at step 5: call sleep");
    // What is recorded is gone over first, and the program stays where it is.
    let screen = dumped("nnnnn<home>bcall spawn<enter>c");
    has(&screen, "step 1 of 5 · held");
    has(&dumped("bcall sleep<enter>cC"), "nothing before this meets a breakpoint");
    has(&dumped("boutcome killed<enter>c"), "nothing after this meets a breakpoint");
    // Letting it go is something else.
    has(&dumped("bcall sleep<enter>G"), "ended (exit status: 0)");
    let nearest = dumped("nnnnnbline relay.rs:25<enter>");
    has(&nearest, "nobody asks from that line; the nearest one is relay.rs:");
}

#[test]
fn predict_at_the_edge_then_the_step_is_taken_and_shown_after_the_answer() {
    let asked = dumped("nnnnx");
    has(&asked, "[1]");
    has(&asked, "step 4 of 5");
    let answered = dumped("nnnnx1");
    has(&answered, "LIVE step 5");
    has(&answered, "of 1 right so far.");
}

#[test]
fn keys_on_the_clock_that_jumps_then_the_same_screen_each_time() {
    for keys in ["nnnnnnn", "bcall recv<enter>c", "G5"] {
        assert_eq!(dumped(keys), dumped(keys));
    }
}

/// A program that runs by itself, with a monitor.
struct Running(Child);

impl Running {
    fn start(socket: &Path, lap: &str) -> Running {
        let child = Command::new(relay())
            .arg(lap)
            .env("TRAPLINE", format!("monitor:{}", socket.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("a socket", || socket.exists());
        Running(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn program_joined_then_it_is_held_and_goes_on_when_it_is_left() {
    let directory = Temporary::new("joined");
    fs::set_permissions(&directory.0, fs::Permissions::from_mode(0o700)).unwrap();
    let socket = directory.0.join("socket");
    let mut running = Running::start(&socket, "60003");
    let attach = || {
        let arguments = ["step", "--attach", socket.to_str().unwrap()];
        Terminal::start(TRAPLINE, &arguments, 100, 30)
    };
    let mut terminal = attach();
    terminal.wait_for("LIVE step 7 · waits for a timer in");
    terminal.press("G");
    terminal.wait_for("LIVE step 8 · held");
    terminal.press("\x1b[B\x1b[B");
    terminal.wait_for("is selected");
    terminal.press("K");
    terminal.wait_for("done: kill T2");
    terminal.press("R");
    terminal.wait_for("a program that was joined cannot be started again");
    terminal.press("q");
    assert!(terminal.end().success());
    terminal.assert_given_back();
    assert_eq!(running.0.try_wait().unwrap(), None);
    let mut terminal = attach();
    terminal.wait_for("· waits for a timer in");
    terminal.press("\x03");
    assert_eq!(terminal.end().code(), Some(130));
    assert_eq!(running.0.try_wait().unwrap(), None);
    // Where nobody listens, that is said.
    drop(running);
    let output = support::trapline(["step", "--attach", socket.to_str().unwrap(), "--dump"]);
    assert_eq!(output.status.code(), Some(1));
    has(&String::from_utf8_lossy(&output.stderr), socket.to_str().unwrap());
}

#[test]
fn program_that_dies_then_it_is_told_and_the_terminal_is_given_back() {
    let temporary = Temporary::new("dies");
    let mut terminal = step(&temporary, "60004", "--keys nnnn");
    terminal.wait_for("LIVE step 4 · held");
    let processes = processes_with("relay", "60004");
    assert_eq!(processes.len(), 1);
    kill_process(Pid::from_raw(processes[0]).unwrap(), Signal::KILL).unwrap();
    terminal.wait_for("step 4 of 4 · ended (signal: 9 (SIGKILL))");
    terminal.press("p");
    terminal.wait_for("step 3 of 4");
    terminal.press("K");
    terminal.wait_for("refused: the program has ended");
    terminal.press("q");
    assert_eq!(terminal.end().code(), Some(0));
    terminal.assert_given_back();
    assert_eq!(temporary.left(), 0);
}

#[test]
fn control_c_then_the_program_ends_with_the_viewer() {
    let temporary = Temporary::new("interrupted");
    let mut terminal = step(&temporary, "60005", "");
    terminal.wait_for("LIVE step 0 · held");
    terminal.press("G");
    terminal.wait_for("waits for a timer in");
    terminal.press("\x03");
    assert_eq!(terminal.end().code(), Some(130));
    terminal.assert_given_back();
    assert_eq!(processes_with("relay", "60005"), []);
    assert_eq!(temporary.left(), 0);
}

#[test]
fn control_z_then_the_program_goes_on_and_the_viewer_catches_up() {
    let temporary = Temporary::new("stopped");
    let script = format!(
        "set -m; export TMPDIR='{}'; '{TRAPLINE}' step '{}' --keys nnn -- 300; echo stopped; read line; fg >/dev/null; \
         echo over",
        temporary.0.display(),
        relay()
    );
    let mut terminal = Terminal::start("sh", &["-c", &script], 80, 24);
    terminal.wait_for("LIVE step 3 · held");
    terminal.press("G");
    terminal.wait_for("waits for a timer in");
    terminal.press("\x1a");
    terminal.wait_for("stopped");
    terminal.assert_given_back();
    // Meanwhile it comes to its end.
    wait_until("the end", || processes_with("relay", "300").is_empty());
    terminal.press("\n");
    terminal.wait_for("ended (exit status: 0)");
    terminal.press("q");
    terminal.wait_for("over");
    assert!(terminal.end().success());
    terminal.assert_given_back();
    assert_eq!(temporary.left(), 0);
}

/// A program that is what is written there.
fn write_program(file: &Scratch, laps: &str) {
    let text = format!("#!/bin/sh\nexec '{}' {laps}\n", relay());
    fs::write(file.path(), text).unwrap();
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn edited_and_started_anew_then_it_comes_to_the_same_step_and_says_where_it_differs() {
    let temporary = Temporary::new("again");
    let file = Scratch::new("program");
    write_program(&file, "2117");
    let script = format!(
        "export TMPDIR='{}'; exec '{TRAPLINE}' step --virtual '{}' --keys nnnnnn5",
        temporary.0.display(),
        file.str()
    );
    let mut terminal = Terminal::start("sh", &["-c", &script], 100, 30);
    terminal.wait_for("LIVE step 6 · held");
    terminal.press("R");
    terminal.wait_for("Again: the same as the last run up to step 6.");
    terminal.wait_for("LIVE step 6 · held");
    write_program(&file, "3117");
    terminal.press("R");
    terminal.wait_for("Again: differs from the last run from step 5 on");
    // What was chosen to be seen is still there.
    has(&terminal.wait_for("LIVE step 6 · held"), "5 tasks");
    assert_eq!(processes_with("relay", "2117"), []);
    assert_eq!(processes_with("relay", "3117").len(), 1);
    quit(terminal, &temporary);
    assert_eq!(processes_with("relay", "3117"), []);
}
