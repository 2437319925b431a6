//! The Chrome trace, read by a strict parser: slices nest and close, arrows start and end inside slices, times
//! rise on each track, and the counter says what the mirror does.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use support::random::{Run, file};
use support::{Scratch, a_short_run, printed};
use trapline_trace::{Mirror, Record, Recording};

/// What a strict reader has found.
#[derive(Default)]
struct Read {
    /// By track: name, begin and end in nanoseconds.
    slices: BTreeMap<u64, Vec<(String, u64, u64)>>,
    /// From this track to that, when.
    arrows: Vec<(u64, u64, u64)>,
    counters: Vec<(u64, u64)>,
    names: BTreeMap<u64, String>,
}

fn nanos(event: &Value) -> u64 {
    (event["ts"].as_f64().unwrap() * 1000.0).round() as u64
}

/// Reads, and panics at whatever a viewer would have to guess at.
fn read(text: &str) -> Read {
    let whole: Value = serde_json::from_str(text).unwrap();
    assert_eq!(whole["displayTimeUnit"], "ns");
    let mut read = Read::default();
    let mut open = BTreeMap::<u64, Vec<(String, u64)>>::new();
    let mut last = BTreeMap::<u64, u64>::new();
    let mut flows = BTreeMap::<u64, (u64, u64)>::new();
    let mut flows_seen = BTreeSet::new();
    for event in whole["traceEvents"].as_array().unwrap() {
        assert_eq!(event["pid"], 1);
        let track = event["tid"].as_u64().unwrap();
        let name = || event["name"].as_str().unwrap().to_owned();
        if event["ph"] == "M" {
            if event["name"] == "thread_name" {
                read.names.insert(track, event["args"]["name"].as_str().unwrap().to_owned());
            }
            continue;
        }
        let at = nanos(event);
        let before = last.insert(track, at).unwrap_or(0);
        assert!(before <= at, "time falls on track {track}: {event}");
        let is_open = open.get(&track).is_some_and(|slices| !slices.is_empty());
        match event["ph"].as_str().unwrap() {
            "B" => open.entry(track).or_default().push((name(), at)),
            "E" => {
                let (name, begin) = open.get_mut(&track).and_then(Vec::pop).unwrap();
                read.slices.entry(track).or_default().push((name, begin, at));
            }
            "s" => {
                assert!(is_open, "an arrow begins outside of a slice: {event}");
                let id = event["id"].as_u64().unwrap();
                assert!(flows_seen.insert(id), "two arrows have one number: {event}");
                flows.insert(id, (track, at));
            }
            "f" => {
                assert!(is_open, "an arrow ends outside of a slice: {event}");
                assert_eq!(event["bp"], "e");
                let (from, begin) = flows.remove(&event["id"].as_u64().unwrap()).unwrap();
                assert!(begin <= at);
                read.arrows.push((from, track, at));
            }
            "C" => read.counters.push((at, event["args"]["tasks"].as_u64().unwrap())),
            "i" => {}
            other => panic!("an event of an unknown kind, {other}"),
        }
    }
    assert!(open.values().all(Vec::is_empty), "slices are left open: {open:?}");
    assert!(flows.is_empty(), "arrows do not end: {flows:?}");
    // Beside one another on each track, without an overlap.
    for slices in read.slices.values() {
        assert!(slices.windows(2).all(|pair| pair[0].2 <= pair[1].1));
    }
    read
}

/// How long the ready queue is after each step that changed that.
fn counters(recording: &Recording) -> Vec<u64> {
    let (mut mirror, mut lengths) = (Mirror::new(), Vec::new());
    for entry in recording.records() {
        mirror.apply(&entry.record).unwrap();
        if let Record::StepEnd(_) = entry.record {
            lengths.push(mirror.ready_len() as u64);
        }
    }
    lengths.dedup();
    lengths
}

fn slices(read: &Read, track: u64) -> Vec<(&str, u64, u64)> {
    read.slices[&track].iter().map(|(name, begin, end)| (&**name, *begin, *end)).collect()
}

#[test]
fn short_run_then_its_slices_arrows_and_counters() {
    let trace = a_short_run().file();
    let read = read(&printed(["chrome", trace.str(), "-o", "-"]));
    assert_eq!(slices(&read, 0), [("outside", 1_600_000, 3_100_000)]);
    assert_eq!(
        slices(&read, 1),
        [
            ("ready", 0, 1_000_000),
            ("run", 1_000_000, 1_500_000),
            ("sleep", 1_500_000, 3_100_000),
            ("ready", 3_100_000, 3_100_000),
            ("run", 3_100_000, 23_100_000),
        ]
    );
    assert_eq!(
        slices(&read, 2),
        [
            ("ready", 1_000_000, 1_500_000),
            ("run", 1_500_000, 1_600_000),
            ("park mutex \"stove\"", 1_600_000, 3_100_000),
            ("ready", 3_100_000, 23_100_000),
            ("run", 23_100_000, 23_100_000),
        ]
    );
    assert_eq!(read.arrows, [(0, 1, 3_100_000), (1, 2, 3_100_000)]);
    assert_eq!(read.counters, [(1_000_000, 1), (1_500_000, 0), (3_100_000, 1), (23_100_000, 0)]);
    let names = [(0, "kernel"), (1, "T1 \"cook\""), (2, "T2 \"waiter\"")];
    assert_eq!(read.names, names.map(|(track, name)| (track, name.to_owned())).into());
}

#[test]
fn any_run_then_a_strict_reader_is_content() {
    for seed in 0..24 {
        let mut run = Run::new(seed, 400);
        if seed % 2 == 0 {
            run.gap(30);
            (0..200).for_each(|_| run.step());
        }
        let bytes = file(&run.records, 400);
        let recording = Recording::from_bytes(bytes.clone()).unwrap();
        let trace = Scratch::holding("run.trace", &bytes);
        let read = read(&printed(["chrome", trace.str(), "-o", "-"]));
        let lengths: Vec<u64> = read.counters.iter().map(|(_, length)| *length).collect();
        assert_eq!(lengths, counters(&recording), "seed {seed}");
        let runs = read.slices.values().flatten().filter(|(name, ..)| name == "run").count();
        assert!(runs > 20 && !read.arrows.is_empty(), "seed {seed}");
    }
}

#[test]
fn trace_cut_off_anywhere_then_all_is_closed() {
    let mut run = a_short_run();
    while run.records.len() > 1 {
        run.records.pop();
        let trace = run.file();
        read(&printed(["chrome", trace.str(), "-o", "-"]));
    }
}

#[test]
fn output_that_cannot_be_written_then_its_name_and_why() {
    let (trace, out) = (a_short_run().file(), "/nowhere/out.json");
    let output = support::trapline(["chrome", trace.str(), "-o", out]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, format!("trapline: {out}: No such file or directory (os error 2)\n"));
}
