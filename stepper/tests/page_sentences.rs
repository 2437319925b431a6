//! The page says of every step and phase what the terminal says: its sentences are made by other code, in Node here.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::random::{Run, file};
use support::{Scratch, a_short_run, printed};
use trapline_trace::{Record, Remark};

#[test]
fn sentences_of_the_page_then_those_of_the_terminal() {
    same_sentences(&recorded("relay"), 40);
    same_sentences(&recorded("things"), 40);
    same_sentences(&a_short_run().file(), 40);
    for seed in [31, 32] {
        same_sentences(&random(seed), 40);
    }
}

#[test]
fn whys_questions_wait_tables_and_log_of_the_page_then_those_of_the_terminal() {
    same_answers(&recorded("things"), 40);
    same_answers(&recorded("relay"), 12);
    same_answers(&a_cycle(), 10);
    for seed in [33, 34] {
        same_answers(&random(seed), 15);
    }
}

/// What an example of this package did.
fn recorded(example: &str) -> Scratch {
    let trace = Scratch::new("recorded.trace");
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples").join(example);
    let recorded =
        support::command(["record", program.to_str().unwrap(), "-o", trace.str()]).output();
    assert!(recorded.unwrap().status.success());
    trace
}

fn random(seed: u64) -> Scratch {
    let mut run = Run::new(seed, 30);
    run.gap(3);
    (0..10).for_each(|_| run.step());
    Scratch::holding("run.trace", &file(&run.records, 900))
}

/// Two tasks that wait for each other, and one that waits for one of them.
fn a_cycle() -> Scratch {
    let mut script = support::Script::new();
    for (task, name) in [(1, "left"), (2, "right"), (3, "third")] {
        script.born(task, name, None);
    }
    script.mutex(1, "a");
    script.mutex(2, "b");
    for task in [1, 2] {
        script.taken(task, task * 1000);
        script.held(task, task, 20);
        script.begun(task, task, "yield_now", 21);
        script.answered(task, trapline_trace::Cause::Task(task));
        script.rested(task, true);
        script.ran();
    }
    script.taken(3, 3000);
    script.parks(3, 3, 24, 1);
    script.ran();
    script.taken(1, 4000);
    script.parks(4, 1, 22, 2);
    script.ran();
    script.taken(2, 5000);
    script.parks(5, 2, 22, 1);
    script.records.push(Record::Remark(Remark::Cycle { tasks: vec![1, 2] }));
    script.ran();
    script.step(trapline_trace::StepEnd::Deadlock);
    script.file()
}

/// What the script says of so many places of a recording.
fn of_page(trace: &Scratch, most: usize, what: &str) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("page-tests/sentences.mjs");
    let mut node = Command::new("node");
    node.arg(script).arg(trace.path()).arg(most.to_string()).arg(what);
    let output = node.output().expect("node is there: apt-get install --yes nodejs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// So many places of a recording, in both.
fn same_sentences(trace: &Scratch, most: usize) {
    let mut before = 0;
    for place in of_page(trace, most, "sentences") {
        let step = place["step"].as_u64().unwrap();
        let phase = place["phase"].as_u64().unwrap_or(0) as usize;
        // To the step, or to the one before and on from there by phases.
        let keys = match phase {
            0 => format!("12g{step}<enter>"),
            phases => format!("12g{before}<enter>{}", "N".repeat(phases)),
        };
        if phase == 0 {
            before = step.saturating_sub(1);
        }
        assert_same(trace, &place, &keys);
    }
}

fn same_answers(trace: &Scratch, most: usize) {
    let places = of_page(trace, most, "asked");
    assert!(places.len() > 2 * most.min(6));
    for place in places {
        let step = place["step"].as_u64().unwrap();
        let downs = place["downs"].as_u64().unwrap_or(0) as usize;
        let keys = match place["keys"].as_str() {
            Some("x") => format!("12g{step}<enter>x"),
            // The graph may open by itself, and is closed again.
            Some(pane) => format!("9123g{step}<enter>9{pane}"),
            None => format!("12g{step}<enter>{}w", "<down>".repeat(downs)),
        };
        assert_same(trace, &place, &keys);
    }
}

/// That the page's lines of a place are those which the terminal shows after these keys.
fn assert_same(trace: &Scratch, place: &Value, keys: &str) {
    let of_page: Vec<&str> =
        place["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    let screen = printed(["view", trace.str(), "--dump", "--size", "1000x60", "--keys", keys]);
    // From the title of the pane to the line for what the last key gave. The graph may have opened above it.
    let rows = screen.lines().map(str::trim_end);
    let is_title =
        |row: &&str| ["─ 3 sentence", "─ 0 waiting", "─ 6 log"].iter().any(|t| row.starts_with(t));
    let rows: Vec<&str> = rows.skip_while(|row| !is_title(row)).skip(1).collect();
    let of_terminal: Vec<&str> =
        rows[..rows.len() - 1].iter().copied().filter(|line| !line.is_empty()).collect();
    assert_eq!(of_page.len(), of_terminal.len(), "{place}: {of_page:#?} {of_terminal:#?}");
    for (page, terminal) in of_page.into_iter().zip(of_terminal) {
        // Of the errors at random, the page has the names of the common ones only.
        let is_same = page == terminal || (is_error(page) && is_error(terminal));
        assert!(is_same, "{place}: {page:?}, {terminal:?}");
    }
}

fn is_error(sentence: &str) -> bool {
    sentence.contains(" (os error ")
}
