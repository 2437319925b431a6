//! `stats`, for people and for programs, and its warnings.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::random::{Run, file};
use support::{Scratch, Script, a_short_run, printed};
use trapline_trace::{Cause, Record, Remark, StepEnd};

fn json_of(trace: &Scratch) -> Value {
    serde_json::from_str(&printed(["stats", "--json", trace.str()])).unwrap()
}

fn warnings(trace: &Scratch) -> Vec<(String, u64)> {
    let warnings = json_of(trace)["warnings"].take();
    let pair = |warning: &Value| {
        (warning["kind"].as_str().unwrap().to_owned(), warning["task"].as_u64().unwrap())
    };
    warnings.as_array().unwrap().iter().map(pair).collect()
}

#[test]
fn short_run_then_its_text() {
    let trace = a_short_run().file();
    let expected = "\
6 steps in 23.1 ms: 4 dispatches; 1 look at the outside, 1.50 ms there; at most 1 ready at once

warnings
  T1 kept the loop for over 10.0 ms once, for 20.0 ms from kitchen.rs:21 in step 4

tasks
  T1 \"cook\" kitchen.rs:11, returned
    ran 20.5 ms in 2 dispatches, ready 1.00 ms, blocked 1.60 ms
    waited for sleep: 1.60 ms, 1 time, 1.60 ms at most
    sleep 1: 0 at once, 1 waited for 2.10 ms, 2.10 ms at most
  T2 \"waiter\" kitchen.rs:12, returned
    ran 100 µs in 2 dispatches, ready 20.5 ms, blocked 1.50 ms
    waited for park mutex \"stove\": 1.50 ms, 1 time, 1.50 ms at most
    park 1: 0 at once, 1 waited for 1.60 ms, 1.60 ms at most

calls
  park 1: 0 at once, 1 waited for 1.60 ms, 1.60 ms at most
  sleep 1: 0 at once, 1 waited for 2.10 ms, 2.10 ms at most

wake-ups, by who woke
  task 1
  timer 1
  of a task that was ready already: 0

longest dispatches
  20.0 ms T1 at 0.003 s from kitchen.rs:21, step 4
  500 µs T1 at 0.001 s from kitchen.rs:11 to kitchen.rs:21, step 1
  100 µs T2 at 0.001 s from kitchen.rs:12 to kitchen.rs:30, step 2

dispatches, by their length
      < 1 ns          1 ########################################
    < 131 µs          1 ########################################
    < 524 µs          1 ########################################
   < 33.5 ms          1 ########################################
  5.15 ms on average, 20.0 ms at most

from made ready to taken
      < 1 ns          1 ########################################
    < 524 µs          1 ########################################
   < 1.04 ms          1 ########################################
   < 33.5 ms          1 ########################################
  5.37 ms on average, 20.0 ms at most
";
    assert_eq!(printed(["stats", trace.str()]), expected);
}

#[test]
fn short_run_then_its_json() {
    let json = json_of(&a_short_run().file());
    let whole = json.as_object().unwrap();
    let keys: Vec<&str> = whole.keys().map(String::as_str).collect();
    let expected = [
        "format",
        "properties",
        "steps",
        "missed_steps",
        "damage",
        "duration_ns",
        "outside_ns",
        "looks",
        "dispatches",
        "longest_ready_queue",
        "tasks",
        "calls",
        "operations",
        "wakeups",
        "longest_dispatches",
        "dispatch_lengths",
        "ready_latencies",
        "warnings",
    ];
    assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>(), expected.iter().collect());
    assert_eq!(json["format"], 1);
    assert_eq!(
        json["tasks"][1],
        json!({
            "task": 2, "name": "waiter", "parent": 1, "site": "kitchen.rs:12", "daemon": false,
            "state": "returned", "dispatches": 2, "running_ns": 100_000, "ready_ns": 20_500_000,
            "blocked_ns": 1_500_000,
            "blocked": {"park mutex \"stove\"": {
                "times": 1, "total_ns": 1_500_000, "longest_ns": 1_500_000
            }},
            "calls": {"park": {
                "begun": 1, "at_once": 0, "blocked": 1, "withdrawn": 0, "waited_ns": 1_600_000,
                "longest_wait_ns": 1_600_000
            }},
            "wakeups": {"total": 1, "redundant": 0, "by": {"task": 1}},
        })
    );
    assert_eq!(
        json["longest_dispatches"][0],
        json!({
            "task": 1, "name": "cook", "length_ns": 20_000_000, "at_ns": 3_100_000, "step": 4,
            "from": "kitchen.rs:21", "to": null,
        })
    );
    assert_eq!(
        json["dispatch_lengths"]["buckets"][1],
        json!({"from_ns": 65_536, "to_ns": 131_072, "count": 1})
    );
}

#[test]
fn any_run_then_the_times_of_each_task_are_as_long_as_the_whole_allows() {
    for seed in 0..8 {
        let trace = Scratch::holding("run.trace", &file(&Run::new(seed, 500).records, 400));
        let json = json_of(&trace);
        let number = |value: &Value| value.as_u64().unwrap();
        let tasks = json["tasks"].as_array().unwrap();
        let running: u64 = tasks.iter().map(|task| number(&task["running_ns"])).sum();
        // One at a time, and never while the kernel looks outside.
        assert!(running + number(&json["outside_ns"]) <= number(&json["duration_ns"]));
        let dispatches: u64 = tasks.iter().map(|task| number(&task["dispatches"])).sum();
        assert_eq!(dispatches, number(&json["dispatches"]));
        assert_eq!(dispatches, number(&json["dispatch_lengths"]["count"]));
        for task in tasks {
            let blocked = task["blocked"].as_object().unwrap();
            let sum: u64 = blocked.values().map(|blocked| number(&blocked["total_ns"])).sum();
            assert_eq!(sum, number(&task["blocked_ns"]));
        }
    }
}

#[test]
fn each_mistake_then_its_warning_and_no_other() {
    assert_eq!(warnings(&a_short_run().file()), [("kept the loop".to_owned(), 1)]);

    let mut script = Script::new();
    script.born(1, "sum", None);
    script.taken(1, 0);
    script.born(2, "next", Some(1));
    script.returned(1);
    script.ran();
    script.taken(2, 2_000_000);
    assert_eq!(warnings(&script.file()), [("never yields".to_owned(), 1)]);

    let mut script = Script::new();
    script.born(1, "woken", None);
    for redundant in [true, true, true, false] {
        let by = Cause::Program;
        if redundant {
            script.records.push(Record::Remark(Remark::Woken { task: 1, by, redundant }));
        }
    }
    script.taken(1, 0);
    script.sleeps(1, 1, 20, 5);
    script.ran();
    script.outside(5);
    script.wakes(1, 1, Cause::Timer);
    script.step(StepEnd::Outside);
    assert_eq!(warnings(&script.file()), [("redundant wake-ups".to_owned(), 1)]);
}

/// Two tasks that each hold a lock and wait for the other's, and a third that waits for one of them; the fourth
/// sleeps beside.
fn embrace(end: StepEnd) -> Script {
    let mut script = Script::new();
    (1..=4).for_each(|task| script.born(task, "party", None));
    script.mutex(5, "left");
    script.mutex(6, "right");
    script.held(5, 1, 20);
    script.held(6, 2, 21);
    for (task, object) in [(1, 6), (2, 5), (3, 5)] {
        script.taken(task, 0);
        script.parks(task, task, 30, object);
        script.ran();
    }
    script.taken(4, 0);
    script.sleeps(4, 4, 31, 100);
    script.step(end);
    script
}

#[test]
fn tasks_in_a_circle_then_they_can_never_be_woken_and_others_can() {
    let never = |tasks: &[u64]| -> Vec<(String, u64)> {
        tasks.iter().map(|task| ("never woken".to_owned(), *task)).collect()
    };
    assert_eq!(warnings(&embrace(StepEnd::Ran).file()), never(&[1, 2, 3]));
    assert_eq!(warnings(&embrace(StepEnd::Deadlock).file()), never(&[1, 2, 3, 4]));
    let text = printed(["stats", embrace(StepEnd::Ran).file().str()]);
    assert!(text.contains("T3 can never be woken: it waits for park at kitchen.rs:30\n"), "{text}");
}

#[test]
fn time_of_the_end_of_the_run_then_the_last_dispatch_has_a_length() {
    let mut script = Script::new();
    script.born(1, "alone", None);
    script.taken(1, 1_000);
    script.begun(1, 1, "get_tid", 20);
    script.answered(1, Cause::Task(1));
    script.returned(1);
    script.ran();
    let (key, value) = (script.string("ended_at_nanos"), script.string("50001000"));
    script.records.push(Record::Remark(Remark::Property { key, value }));
    let trace = script.file();
    assert_eq!(json_of(&trace)["tasks"][0]["running_ns"], 50_000_000);
    assert_eq!(warnings(&trace), [("kept the loop".to_owned(), 1)]);
}

#[test]
fn look_that_comes_to_nothing_then_its_begin_ends_the_last_dispatch() {
    for end in [StepEnd::Deadlock, StepEnd::Finished] {
        let mut script = Script::new();
        script.born(1, "alone", None);
        script.taken(1, 1_000);
        script.mutex(5, "held by nobody");
        script.parks(1, 1, 20, 5);
        script.ran();
        script.outside(30_001_000);
        script.step(end);
        let json = json_of(&script.file());
        assert_eq!(json["tasks"][0]["running_ns"], 30_000_000);
        assert_eq!(json["outside_ns"], 0);
    }
}
