//! The page says of every step and phase what the terminal says: its sentences are made by other code, in Node here.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::random::{Run, file};
use support::{Scratch, a_short_run, printed};

#[test]
fn sentences_of_the_page_then_those_of_the_terminal() {
    let relay = Scratch::new("relay.trace");
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples/relay");
    let recorded =
        support::command(["record", program.to_str().unwrap(), "-o", relay.str()]).output();
    assert!(recorded.unwrap().status.success());
    same_sentences(&relay, 40);
    same_sentences(&a_short_run().file(), 40);
    for seed in [31, 32] {
        let mut run = Run::new(seed, 30);
        run.gap(3);
        (0..10).for_each(|_| run.step());
        same_sentences(&Scratch::holding("run.trace", &file(&run.records, 900)), 90);
    }
}

/// So many places of a recording, in both.
fn same_sentences(trace: &Scratch, most: usize) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("page-tests/sentences.mjs");
    let mut node = Command::new("node");
    node.arg(script).arg(trace.path()).arg(most.to_string());
    let output = node.output().expect("node is there: apt-get install --yes nodejs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut before = 0;
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let place: Value = serde_json::from_str(line).unwrap();
        let step = place["step"].as_u64().unwrap();
        let phase = place["phase"].as_u64().unwrap_or(0) as usize;
        let of_page: Vec<&str> =
            place["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
        // To the step, or to the one before and on from there by phases.
        let keys = match phase {
            0 => format!("12g{step}<enter>"),
            phases => format!("12g{before}<enter>{}", "N".repeat(phases)),
        };
        if phase == 0 {
            before = step.saturating_sub(1);
        }
        let screen = printed(["view", trace.str(), "--dump", "--size", "1000x40", "--keys", &keys]);
        let of_terminal: Vec<&str> =
            screen.lines().skip(2).map(str::trim_end).filter(|line| !line.is_empty()).collect();
        assert_eq!(of_page.len(), of_terminal.len(), "step {step}: {of_page:#?} {of_terminal:#?}");
        for (page, terminal) in of_page.into_iter().zip(of_terminal) {
            // Of the errors at random, the page has the names of the common ones only.
            let is_same = page == terminal || (is_error(page) && is_error(terminal));
            assert!(is_same, "step {step}, phase {phase}: {page:?}, {terminal:?}");
        }
    }
}

fn is_error(sentence: &str) -> bool {
    sentence.contains(" (os error ")
}
