//! `record`, of real programs.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use support::{Scratch, command, printed};
use trapline_trace::Recording;

/// The example of this package: it has been built before the tests.
fn relay() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests.parent().unwrap().parent().unwrap().join("examples/relay")
}

fn record(program: &Path, trace: &Scratch, more: &[&str]) -> Output {
    let program = program.to_str().unwrap();
    command(["record", program, "-o", trace.str()]).args(more).output().unwrap()
}

fn said(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn example_then_it_is_built_runs_as_ever_and_is_recorded_with_its_source() {
    let trace = Scratch::new("trace");
    let output = command(["record", "-p", "trapline-stepper", "--example", "relay"])
        .args(["-o", trace.str()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let expected = "\
runner 1 is back, with lap 1
runner 2 is back, with lap 2
runner 3 is back, with lap 3
";
    assert_eq!(std::str::from_utf8(&output.stdout).unwrap(), expected);
    let recording = Recording::open(trace.path()).unwrap();
    assert_eq!(recording.damage(), None);
    assert!(recording.gaps().is_empty());
    let sources: Vec<&str> = recording.sources().iter().map(|source| &*source.file).collect();
    assert_eq!(sources, ["stepper/examples/relay.rs"]);
    let source = &recording.sources()[0];
    assert!(source.text.starts_with("//! A relay race") && !source.is_newer);
    assert!(said(&output).contains("and the text of 1 source file\n"), "{}", said(&output));

    let lines = printed(["strace", trace.str()]);
    assert!(lines.contains("sleep(2.00 ms) …  relay.rs:20 < relay.rs:37\n"), "{lines}");
    let stats = printed(["stats", trace.str()]);
    assert!(stats.contains("T2 \"runner 1\" relay.rs:41, returned\n"), "{stats}");
    assert!(printed(["dump", trace.str(), "--step", "7"]).contains("mutex \"track\" held"));
    let chrome = printed(["chrome", trace.str(), "-o", "-"]);
    let chrome: serde_json::Value = serde_json::from_str(&chrome).unwrap();
    assert_eq!(chrome["traceEvents"][0]["args"]["name"], "relay");
}

#[test]
fn recorded_and_printed_live_then_strace_of_the_file_gives_the_same_lines() {
    let trace = Scratch::new("trace");
    let output = std::process::Command::new(relay())
        .env("TRAPLINE", format!("strace,record:{}", trace.str()))
        .output()
        .unwrap();
    assert_eq!(printed(["strace", trace.str()]), said(&output));
}

#[test]
fn arguments_after_the_dashes_then_the_program_has_them_and_its_status_is_passed_on() {
    let trace = Scratch::new("trace");
    let shell = Path::new("/bin/sh");
    let output = record(shell, &trace, &["--", "-c", "echo $0 $1; exit 7", "a", "--b"]);
    assert_eq!(std::str::from_utf8(&output.stdout).unwrap(), "a --b\n");
    assert_eq!(output.status.code(), Some(7));
    let output = record(shell, &trace, &["--", "-c", "kill -KILL $$"]);
    assert_eq!(output.status.code(), Some(128 + 9));
}

#[test]
fn program_that_makes_no_trace_then_it_is_told_and_the_status_is_1() {
    let trace = Scratch::new("trace");
    let output = record(Path::new("/bin/true"), &trace, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).starts_with("trapline: the program has recorded nothing: "));
    assert_eq!(said(&output).lines().count(), 1);
    // What lay there before is no trace of this run, and stays.
    std::fs::write(trace.path(), "old").unwrap();
    let output = record(Path::new("/bin/true"), &trace, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(std::fs::read(trace.path()).unwrap(), b"old");
}

#[test]
fn program_that_makes_two_runs_then_both_recordings_are_told_of_and_an_older_one_is_not() {
    let (model, trace) = (Scratch::new("model"), Scratch::new("trace"));
    assert!(record(&relay(), &model, &[]).status.success());
    let [second, third] = [2, 3].map(|run| format!("{}.{run}", trace.str()));
    std::fs::write(&third, "old").unwrap();
    let script = "for run in '' .2; do cp $0 \"${TRAPLINE#record:}$run\"; done";
    let output = record(Path::new("/bin/sh"), &trace, &["--", "-c", script, model.str()]);
    assert_eq!(output.status.code(), Some(0));
    let lines: Vec<&str> = said(&output).lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with(&format!("trapline: {} has ", trace.str())), "{lines:?}");
    assert!(lines[1].starts_with(&format!("trapline: {second} has ")), "{lines:?}");
    std::fs::remove_file(second).unwrap();
    std::fs::remove_file(third).unwrap();
}

#[test]
fn program_that_is_not_there_then_one_line() {
    let trace = Scratch::new("trace");
    let output = record(Path::new("/nowhere/program"), &trace, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        said(&output),
        "trapline: /nowhere/program: No such file or directory (os error 2)\n"
    );
}

#[test]
fn name_with_a_comma_then_it_is_refused_before_anything_runs() {
    let output = command(["record", "/bin/echo", "-o", "a,b.trace", "--", "ran"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(std::str::from_utf8(&output.stdout).unwrap(), "");
    assert_eq!(said(&output), "trapline: a,b.trace: a recording's name may have no comma in it\n");
}

/// Starts a program that says when it is there, sends the signal to it and to `record` as a terminal does, or to
/// `record` alone, and gives how that ended.
fn signalled(signal: Signal, to_both: bool) -> Option<i32> {
    let trace = Scratch::new("trace");
    let script = "trap 'exit 5' INT TERM; echo there; while :; do sleep 0.01; done";
    let mut child = command(["record", "/bin/sh", "-o", trace.str(), "--", "-c", script])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut there = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut there).unwrap();
    let pid = Pid::from_child(&child);
    match to_both {
        true => kill_process_group(pid, signal).unwrap(),
        false => rustix::process::kill_process(pid, signal).unwrap(),
    }
    child.wait().unwrap().code()
}

#[test]
fn ctrl_c_then_the_program_decides_what_becomes_of_it() {
    assert_eq!(signalled(Signal::INT, true), Some(5));
}

#[test]
fn term_then_it_is_passed_on() {
    assert_eq!(signalled(Signal::TERM, false), Some(5));
}
