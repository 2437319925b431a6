//! The page's reader and mirror, in Node: after every step they print what ours print.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::random::{Draw, Run, file};
use support::{Scratch, a_short_run};
use trapline_trace::{
    Cause, Mirror, Move, On, Record, Recording, Remark, SiteRef, StackRef, StepEnd, Str, TaskState,
    Value,
};

#[test]
fn generated_runs_then_the_same_text_after_every_step() {
    for seed in 1..9 {
        let mut run = Run::new(seed, 1500);
        if seed % 2 == 0 {
            run.gap(7);
            (0..500).for_each(|_| run.step());
        }
        let bytes = file(&run.records, 300 * seed as usize);
        // As they come from a file, and as they come from a server.
        same_text(&format!("run-{seed}"), &bytes, if seed < 5 { None } else { Some(777) });
    }
}

#[test]
fn long_run_then_checkpoints_lead_to_the_same_text() {
    let run = Run::new(77, 9_000);
    same_text("long", &file(&run.records, 64 * 1024), None);
}

#[test]
fn odd_names_and_large_numbers_then_the_same_text() {
    let records = odd();
    let mut mirror = Mirror::new();
    records.iter().for_each(|record| mirror.apply(record).unwrap());
    assert!(mirror.text().contains("18446744073709551615"), "{}", mirror.text());
    same_text("odd", &file(&records, 100), None);
}

#[test]
fn recorded_program_then_the_same_text_after_every_step() {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples/relay");
    let trace = Scratch::new("relay.trace");
    let recorded =
        support::command(["record", program.to_str().unwrap(), "-o", trace.str()]).output();
    assert!(recorded.unwrap().status.success());
    same_text("relay", &std::fs::read(trace.path()).unwrap(), None);
}

#[test]
fn short_run_then_the_same_text_after_every_step() {
    same_text("short", &file(&a_short_run().records, 64), Some(1));
}

#[test]
fn damaged_trace_then_the_same_sentence_and_what_was_before_stands() {
    let bytes = file(&Run::new(5, 400).records, 900);
    let mut draw = Draw::new(3);
    for round in 0..12 {
        let mut damaged = bytes.clone();
        let at = 12 + draw.below(bytes.len() - 12);
        if round % 3 == 0 {
            damaged.truncate(at);
        } else {
            damaged[at] ^= 1 << draw.below(8);
        }
        same_text(&format!("damaged-{round}"), &damaged, None);
    }
}

/// Records that lie, behind checksums that do not.
#[test]
fn wrong_records_then_the_same_sentence() {
    let run = Run::new(6, 60);
    let mut draw = Draw::new(9);
    for round in 0..25 {
        let mut records = run.records.clone();
        let at = 60 + draw.below(records.len() - 60);
        match round % 3 {
            0 => drop(records.remove(at)),
            1 => records.insert(at, records[60 + draw.below(records.len() - 60)].clone()),
            _ => records.swap(at, 60 + draw.below(run.records.len() - 60)),
        }
        same_text(&format!("wrong-{round}"), &file(&records, 500), None);
    }
}

fn odd() -> Vec<Record> {
    let strings = [
        "src/\"odd\".rs",
        "a\u{301}\u{200b}\t\n\\'\u{7f}\u{a0}\u{10ffff}é",
        "token",
        "holder",
        "holders",
        "</script><img src=x onerror=alert(1)>",
    ];
    let reset = Record::Reset { step: 0, at_nanos: u64::MAX - 5, missed_steps: 0 };
    let mut records = vec![reset];
    records.extend(strings.map(|text| Record::DefineString(text.to_owned())));
    records.push(Record::DefineSite { file: Str(0), line: u32::MAX, column: 1 });
    records.push(Record::DefineStack { site: SiteRef(0), around: StackRef(0) });
    let site = SiteRef(0);
    let born = |task, name| Move::TaskBorn {
        task,
        parent: Some(u64::MAX),
        name: Some(Str(name)),
        site,
        daemon: true,
        state: TaskState::Ready,
        dispatches: u64::MAX - 1,
    };
    let begun = |call, what| Move::CallBegun {
        call,
        task: 1 << 60,
        what: Str(what),
        argument: Value::Count(u64::MAX),
        site,
        stack: StackRef(1),
    };
    let object = u64::MAX;
    let held = Value::Held { task: Some(1 << 55), since: site };
    let moves = [
        born(1 << 60, 1),
        born(3, 5),
        Move::Taken { task: 1 << 60, at_nanos: 3 },
        Move::ObjectBorn { object, kind: Str(5), name: Some(Str(1)), site: None },
        Move::FieldSet { object, field: Str(3), value: held },
        Move::FieldSet { object, field: Str(4), value: Value::Count(u64::MAX) },
        begun(1 << 54, 5),
        Move::CallBlocked { call: 1 << 54, on: On::Object { object, role: Str(2) } },
        begun(7, 1),
        Move::CallBlocked { call: 7, on: On::Deadline { at_nanos: 1 } },
        begun(8, 1),
        Move::CallBlocked { call: 8, on: On::Descriptor { fd: i32::MIN, role: Str(2) } },
        Move::CallBooked { call: 8, task: None },
        Move::Rested { task: 1 << 60, is_ready: false },
        Move::Ready { task: 1 << 60, by: Cause::Source(i32::MAX) },
        Move::PutFirst { task: 1 << 60 },
    ];
    records.extend(moves.map(Record::Move));
    records.push(Record::Remark(Remark::Cycle { tasks: vec![u64::MAX, 0] }));
    records.push(Record::StepEnd(StepEnd::Ran));
    records
}

/// Has Node print a trace, and compares that with what we make of it.
fn same_text(name: &str, bytes: &[u8], chunk: Option<usize>) {
    let trace = Scratch::holding(name, bytes);
    let printed = in_node(trace.path(), chunk);
    let ours = text_of_all_steps(bytes);
    if printed == ours {
        return;
    }
    let differs = printed.lines().zip(ours.lines()).position(|(a, b)| a != b).unwrap_or(0);
    let around = |text: &str| text.lines().skip(differs).take(3).collect::<Vec<_>>().join("\n");
    panic!("{name}: line {differs}: Node printed\n{}\nand we\n{}", around(&printed), around(&ours));
}

fn in_node(path: &Path, chunk: Option<usize>) -> String {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("page-tests/canonical.mjs");
    let mut command = Command::new("node");
    command.arg(script).arg(path).args(chunk.map(|size| size.to_string()));
    let output = command.output().unwrap_or_else(|error| {
        panic!("node: {error}; the page is tested with it: apt-get install --yes nodejs")
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The canonical text after each step, and what is wrong with the trace, if anything.
fn text_of_all_steps(bytes: &[u8]) -> String {
    let recording = Recording::from_bytes(bytes.to_owned()).unwrap();
    let mut texts = Vec::new();
    let mut mirror = Mirror::new();
    for entry in recording.records() {
        mirror.apply(&entry.record).unwrap();
        if let Record::StepEnd(_) = entry.record {
            texts.push(mirror.text());
        }
    }
    if let Some(damage) = recording.damage() {
        let mut text = String::new();
        writeln!(text, "{damage}").unwrap();
        texts.push(text);
    }
    texts.join("\n")
}
