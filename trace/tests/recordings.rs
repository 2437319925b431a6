//! Recordings: the state at any step, however one comes there; gaps; files that are still written.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::Write;

use support::{Run, file};
use trapline_trace::{Entry, Mirror, Record, Recording, StepEnd};

fn send<T: Send + 'static>() {}

#[test]
fn a_mirror_and_a_recording_may_go_to_another_thread() {
    send::<Mirror>();
    send::<Recording>();
}

/// The text after each step, one step after the other.
fn texts(records: &[Record]) -> Vec<(u64, String)> {
    let mut mirror = Mirror::new();
    let mut texts = Vec::new();
    for record in records {
        mirror.apply(record).unwrap();
        if let Record::StepEnd(_) = record {
            texts.push((mirror.step(), mirror.text()));
        }
    }
    texts
}

#[test]
fn any_run_then_each_step_reached_by_jumping_is_as_it_was_reached_forward() {
    for seed in 0..12 {
        let mut run = Run::new(seed, 300);
        if seed % 3 == 0 {
            run.gap(40);
            (0..200).for_each(|_| run.step());
        }
        let texts = texts(&run.records);
        let recording = Recording::from_bytes(file(&run.records, 500)).unwrap();
        assert_eq!(recording.damage(), None, "seed {seed}");
        assert_eq!(recording.steps(), texts.len() as u64, "seed {seed}");
        for (step, text) in texts.iter().rev() {
            assert_eq!(recording.state_at(*step).unwrap().text(), *text, "seed {seed}");
        }
        let read: Vec<Record> = recording.records().map(|entry| entry.record).collect();
        assert_eq!(read, run.records, "seed {seed}");
    }
}

#[test]
fn a_long_run_then_checkpoints_and_replays_agree_with_going_forward() {
    let run = Run::new(99, 30_000);
    let recording = Recording::from_bytes(file(&run.records, 4000)).unwrap();
    assert_eq!(recording.damage(), None);
    let mut mirror = Mirror::new();
    let mut applied = 0;
    for entry in recording.records() {
        mirror.apply(&entry.record).unwrap();
        applied += 1;
        if matches!(entry.record, Record::StepEnd(_)) && mirror.step().is_multiple_of(997) {
            let jumped = recording.state_at(mirror.step()).unwrap();
            assert_eq!(jumped.text(), mirror.text());
        }
    }
    assert_eq!(applied, run.records.len());
    assert_eq!(recording.end().text(), mirror.text());
}

#[test]
fn records_of_a_step_then_they_end_with_its_end_and_are_only_its_own() {
    let run = Run::new(5, 100);
    let recording = Recording::from_bytes(file(&run.records, 100)).unwrap();
    let mut all = Vec::new();
    for step in 1..=100 {
        let records: Vec<Record> = recording.records_of(step).collect();
        let ends = records.iter().filter(|record| matches!(record, Record::StepEnd(_))).count();
        assert_eq!(ends, 1);
        assert!(matches!(records.last(), Some(Record::StepEnd(_))));
        all.extend(records);
    }
    assert_eq!(all, run.records);
    assert_eq!(recording.records_of(101).count(), 0);
    assert_eq!(recording.records_of(0).count(), 0);
}

#[test]
fn steps_are_missing_then_the_gap_says_how_many_and_they_have_no_state() {
    let mut run = Run::new(1, 50);
    run.gap(30);
    (0..20).for_each(|_| run.step());
    let recording = Recording::from_bytes(file(&run.records, 300)).unwrap();
    let gap = recording.gaps();
    assert_eq!((gap[0].after_step, gap[0].missed_steps, gap.len()), (50, 30, 1));
    assert_eq!((recording.first_step(), recording.last_step()), (Some(1), Some(100)));
    assert_eq!(recording.steps(), 70);
    assert!(recording.state_at(50).is_some());
    assert!(recording.state_at(51).is_none());
    assert!(recording.state_at(80).is_none());
    assert!(recording.state_at(81).is_some());
    assert_eq!(recording.records_of(60).count(), 0);
    assert!(matches!(recording.records_of(81).next(), Some(Record::Reset { step: 80, .. })));
}

#[test]
fn what_is_said_of_the_run_then_it_is_found_by_its_key() {
    let recording = Recording::from_bytes(file(&Run::new(1, 1).records, 9)).unwrap();
    assert_eq!(recording.property("program"), Some("a test"));
    assert_eq!(recording.property("seed"), None);
}

#[test]
fn a_file_that_is_still_written_then_a_refresh_goes_on_where_it_ended() {
    let run = Run::new(3, 200);
    let bytes = file(&run.records, 400);
    let whole = Recording::from_bytes(bytes.clone()).unwrap();
    let path = std::env::temp_dir().join(format!("trapline-refresh-{}", std::process::id()));
    let mut out = std::fs::File::create(&path).unwrap();
    let (begin, rest) = bytes.split_at(1000);
    out.write_all(begin).unwrap();
    let mut recording = Recording::open(&path).unwrap();
    assert!(recording.damage().unwrap().to_string().contains("in the midst of a chunk"));
    assert!(!recording.refresh().unwrap());
    for piece in rest.chunks(777) {
        out.write_all(piece).unwrap();
        assert!(recording.refresh().unwrap());
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(recording.damage(), None);
    assert_eq!(recording.steps(), 200);
    for step in [1, 77, 200] {
        assert_eq!(recording.state_at(step).unwrap().text(), whole.state_at(step).unwrap().text());
    }
}

#[test]
fn file_read_in_portions_then_each_record_is_told_once_with_the_state_before_it() {
    let mut run = Run::new(5, 100);
    run.gap(9);
    (0..40).for_each(|_| run.step());
    let path = std::env::temp_dir().join(format!("trapline-portions-{}", std::process::id()));
    std::fs::write(&path, file(&run.records, 300)).unwrap();
    let mut recording = Recording::begin(&path).unwrap();
    assert_eq!((recording.steps(), recording.damage()), (0, None));
    let mut told = Vec::new();
    let mut mirror = Mirror::new();
    loop {
        let read = recording.read_on(100, |step, record, before| {
            assert_eq!(before.text(), mirror.text());
            mirror.apply(record).unwrap();
            told.push(Entry { step, record: record.clone() });
        });
        if read.unwrap() == 0 {
            break;
        }
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(recording.damage(), None);
    assert_eq!(recording.records().collect::<Vec<_>>(), told);
    assert_eq!(recording.steps(), 140);
}

#[test]
fn a_step_that_has_not_ended_then_the_end_has_it_and_no_step_does() {
    let mut run = Run::new(3, 10);
    let end = run.records.pop();
    assert!(matches!(end, Some(Record::StepEnd(StepEnd::Ran | StepEnd::Outside))));
    let recording = Recording::from_bytes(file(&run.records, 400)).unwrap();
    assert_eq!(recording.last_step(), Some(9));
    assert!(recording.end().is_in_step());
    assert!(recording.records_from(10).count() > 0);
    assert!(recording.state_at(10).is_none());
}
