//! `strace` and `dump`, and what they say of files that are no trace, or a damaged one.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use support::random::{Run, file};
use support::{Scratch, Script, a_short_run, command, printed, trapline};
use trapline_trace::strace::Printer;
use trapline_trace::{Cause, Recording};

#[test]
fn short_run_then_strace_prints_its_lines() {
    let trace = a_short_run().file();
    let expected = "\
0.000 T1 \"cook\" born  kitchen.rs:11
0.001 T1 takes mutex \"stove\"  kitchen.rs:20
0.001 T2 \"waiter\" born of T1  kitchen.rs:12
0.001 T1 sleep() …  kitchen.rs:21
0.001 T2 park() …  kitchen.rs:30
0.003 T1 … sleep() (2.10 ms, woken by the clock)
0.003 T2 … park() (1.60 ms, woken by T1)
0.003 T1 returned
0.023 T2 returned
";
    assert_eq!(printed(["strace", trace.str()]), expected);
}

#[test]
fn any_run_then_strace_prints_what_a_live_printer_does() {
    for seed in 0..4 {
        let mut run = Run::new(seed, 2000);
        run.gap(10);
        (0..100).for_each(|_| run.step());
        let (mut printer, mut live) = (Printer::new(), String::new());
        run.records.iter().for_each(|record| printer.record(record, &mut live));
        let trace = Scratch::holding("run.trace", &file(&run.records, 500));
        assert_eq!(printed(["strace", trace.str()]), live, "seed {seed}");
    }
}

#[test]
fn step_then_dump_prints_the_canonical_text_and_the_rest_beneath() {
    let trace = a_short_run().file();
    let expected = "\
step 2
running -
ready -
task 1 \"cook\" parent - at src/kitchen.rs:11:5: blocked, dispatches 1
  call 1 sleep at src/kitchen.rs:21:5: deadline 3000000
task 2 \"waiter\" parent 1 at src/kitchen.rs:12:5: blocked, dispatches 1
  call 2 park at src/kitchen.rs:30:5: object 5 token
object 5 mutex \"stove\" held by 1 since src/kitchen.rs:20:5: waiting 2

position: step 2 of 1 to 6
clock: 0.001500000 s
tasks:
  T1 \"cook\": so since step 1, 500 µs
  T2 \"waiter\": so since step 2, 0 ns
things:
  5 mutex \"stove\", holder T1 since src/kitchen.rs:20:5
the step:
  0.001 T2 park() …  kitchen.rs:30
";
    assert_eq!(printed(["dump", trace.str(), "--step", "2"]), expected);
}

#[test]
fn every_step_of_a_run_then_dump_begins_with_the_state_as_the_mirror_has_it() {
    let run = Run::new(3, 60);
    let bytes = file(&run.records, 500);
    let recording = Recording::from_bytes(bytes.clone()).unwrap();
    let trace = Scratch::holding("run.trace", &bytes);
    for step in (1..=60).step_by(7) {
        let text = recording.state_at(step).unwrap().text();
        let printed = printed(["dump", trace.str(), "--step", &step.to_string()]);
        assert!(printed.starts_with(&format!("{text}\nposition: step {step} of 1 to 60\n")));
    }
    // The last one, where none is named.
    assert!(printed(["dump", trace.str()]).starts_with("step 60\n"));
}

/// Fails with this one line, and prints nothing.
#[track_caller]
fn fails(arguments: &[&str], line: &str) {
    let output = trapline(arguments);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), format!("trapline: {line}\n"));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
}

#[test]
fn step_that_is_not_there_then_the_steps_that_are() {
    let trace = a_short_run().file();
    for step in ["0", "7"] {
        let line = format!("step {step} is not in the recording: it has steps 1 to 6");
        fails(&["dump", trace.str(), "--step", step], &line);
    }
    let mut run = Run::new(1, 50);
    run.gap(20);
    (0..20).for_each(|_| run.step());
    let trace = Scratch::holding("gap.trace", &file(&run.records, 500));
    fails(
        &["dump", trace.str(), "--step", "60"],
        "step 60 is missing in the recording: the writer was behind",
    );
}

#[test]
fn file_that_is_no_trace_then_one_line_and_status_1() {
    let foreign = Scratch::holding("foreign", b"#!/bin/sh\necho a script of another kind\n");
    let empty = Scratch::holding("empty", b"");
    let missing = Scratch::new("missing");
    let mut other = b"TRAPLINE".to_vec();
    other.extend([9, 0, 3, 0]);
    let other = Scratch::holding("other", &other);
    let out = Scratch::new("out");
    for subcommand in ["strace", "dump", "stats", "chrome"] {
        let fails = |trace: &Scratch, why: &str| {
            let mut arguments = vec![subcommand, trace.str()];
            if subcommand == "chrome" {
                arguments.extend(["-o", out.str()]);
            }
            fails(&arguments, &format!("{}: {why}", trace.str()));
        };
        fails(&missing, "No such file or directory (os error 2)");
        fails(&foreign, "this is not a trace");
        fails(&empty, "this is not a trace");
        fails(&other, "this is a trace of version 9.3, and only those of version 1.x can be read");
    }
}

#[test]
fn damaged_trace_then_it_is_shown_up_to_there_and_the_status_is_1() {
    let run = Run::new(7, 400);
    let whole = file(&run.records, 300);
    let out = Scratch::new("out");
    let lines = printed(["strace", Scratch::holding("whole", &whole).str()]);
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    for (bytes, why) in [
        (&whole[..whole.len() / 2], "the file ends in the midst of a chunk"),
        (&flipped[..], "the checksum of a chunk is wrong"),
    ] {
        let trace = Scratch::holding("damaged", bytes);
        for subcommand in ["strace", "dump", "stats", "chrome"] {
            let mut arguments = vec![subcommand, trace.str()];
            if subcommand == "chrome" {
                arguments.extend(["-o", out.str()]);
            }
            let output = trapline(arguments);
            assert_eq!(output.status.code(), Some(1), "{subcommand}");
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(said.contains(why) && said.lines().count() == 1, "{said}");
            let shown = String::from_utf8(output.stdout).unwrap();
            match subcommand {
                "strace" => assert!(lines.starts_with(&shown) && shown.len() > lines.len() / 4),
                "chrome" => drop(
                    serde_json::from_slice::<serde_json::Value>(
                        &std::fs::read(out.path()).unwrap(),
                    )
                    .unwrap(),
                ),
                _ => assert!(shown.len() > 100),
            }
        }
    }
}

#[test]
fn mutated_traces_then_no_subcommand_panics() {
    let whole = file(&Run::new(11, 60).records, 200);
    for turn in 0..24 {
        let mut bytes = whole.clone();
        let place = 12 + turn * (bytes.len() - 12) / 24;
        bytes[place] = bytes[place].wrapping_add(turn as u8 + 1);
        let trace = Scratch::holding("mutated", &bytes);
        for arguments in [&["strace", trace.str()][..], &["stats", trace.str()]] {
            let output = trapline(arguments);
            assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
        }
    }
}

#[test]
fn reader_that_has_read_enough_then_the_end_is_quiet() {
    let trace = Scratch::holding("long", &file(&Run::new(2, 20_000).records, 4000));
    let mut child = command(["strace", trace.str()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.ends_with('\n'));
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn names_with_escape_sequences_then_they_are_written_out() {
    let mut script = Script::new();
    script.born(1, "\u{1b}[31mred\r\u{7}", None);
    script.taken(1, 1_000);
    script.mutex(5, "\u{1b}]0;title\u{7}");
    script.begun(1, 1, "own\u{1b}[2Jcall", 20);
    script.answered(1, Cause::Task(1));
    script.parks(2, 1, 21, 5);
    script.ran();
    let trace = script.file();
    let out = Scratch::new("out");
    for arguments in [
        &["strace", trace.str()][..],
        &["dump", trace.str()],
        &["stats", trace.str()],
        &["stats", "--json", trace.str()],
        &["chrome", trace.str(), "-o", "-"],
    ] {
        let text = printed(arguments);
        let is_hostile = |c: char| c.is_control() && c != '\n';
        assert!(!text.contains(is_hostile), "{arguments:?}: {text:?}");
        assert!(text.contains("[31mred"), "{arguments:?}: {text}");
    }
    drop(out);
}
