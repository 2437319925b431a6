//! Traces that are not as they were written.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use support::{Run, file};
use trapline_trace::format::{Encoder, FileWriter, FormatError, Header};
use trapline_trace::{
    DamageKind, Ended, MirrorErrorKind, Move, OpenError, Record, Recording, StepEnd,
};

fn start() -> Record {
    Record::Reset { step: 0, at_nanos: 0, missed_steps: 0 }
}

/// A file of one chunk: `records`, and then bytes as they are.
fn file_with(records: &[Record], tail: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new();
    records.iter().for_each(|record| encoder.encode(record, &mut bytes));
    bytes.extend_from_slice(tail);
    let mut writer = FileWriter::new(Vec::new()).unwrap();
    writer.chunk(0, &bytes).unwrap();
    writer.into_inner()
}

fn damage(bytes: Vec<u8>) -> String {
    Recording::from_bytes(bytes).unwrap().damage().unwrap().to_string()
}

#[test]
fn another_major_version_then_it_is_refused_in_one_line() {
    let mut bytes = file(&Run::new(1, 5).records, 100);
    bytes[8] = 2;
    let error = Recording::from_bytes(bytes).unwrap_err();
    assert!(matches!(error, OpenError::Header(_)));
    assert_eq!(
        error.to_string(),
        "this is a trace of version 2.0, and only those of version 1.x can be read"
    );
}

#[test]
fn no_trace_at_all_then_it_is_refused() {
    for bytes in [&b""[..], b"TRAPLIN", b"hello, this is a text"] {
        let error = Recording::from_bytes(bytes.to_vec()).unwrap_err();
        assert_eq!(error.to_string(), "this is not a trace");
    }
}

#[test]
fn a_newer_minor_version_then_remarks_that_are_not_known_are_skipped() {
    let mut run = Run::new(1, 20);
    let end = run.records.split_off(60);
    let mut encoder = Encoder::new();
    let mut bytes = Vec::new();
    run.records.iter().for_each(|record| encoder.encode(record, &mut bytes));
    // A remark of kind 99, seven bytes long.
    bytes.extend_from_slice(&[4, 99, 7, 1, 2, 3, 4, 5, 6, 7]);
    end.iter().for_each(|record| encoder.encode(record, &mut bytes));
    let mut writer = FileWriter::new(Vec::new()).unwrap();
    writer.chunk(0, &bytes).unwrap();
    let mut bytes = writer.into_inner();
    bytes[10] = 9;
    let recording = Recording::from_bytes(bytes).unwrap();
    assert_eq!(recording.damage(), None);
    assert_eq!(recording.version().to_string(), "1.9");
    run.records.extend(end);
    let read: Vec<Record> = recording.records().map(|entry| entry.record).collect();
    assert_eq!(read, run.records);
}

#[test]
fn a_file_cut_anywhere_then_the_steps_before_are_read() {
    let run = Run::new(2, 60);
    let bytes = file(&run.records, 150);
    let whole = Recording::from_bytes(bytes.clone()).unwrap();
    let mut before = 0;
    for length in Header::LENGTH..bytes.len() {
        let cut = Recording::from_bytes(bytes[..length].to_vec()).unwrap();
        let steps = cut.steps();
        assert!(steps >= before);
        before = steps;
        if steps > 0 {
            let (last, same) = (cut.state_at(steps).unwrap(), whole.state_at(steps).unwrap());
            assert_eq!(last.text(), same.text());
        }
        if let Some(damage) = cut.damage() {
            assert_eq!(damage.kind, DamageKind::Truncated);
        }
    }
    assert!(before > 50);
}

#[test]
fn a_byte_is_changed_then_the_word_says_up_to_where_it_is_read() {
    let run = Run::new(2, 60);
    let mut bytes = file(&run.records, 150);
    let place = bytes.len() * 2 / 3;
    bytes[place] ^= 0x10;
    let recording = Recording::from_bytes(bytes).unwrap();
    let damage = recording.damage().unwrap();
    assert_eq!(damage.kind, DamageKind::Checksum);
    let last = recording.last_step().unwrap();
    assert!(last > 10 && last < 60);
    assert!(damage.to_string().starts_with(&format!(
        "the trace is read up to step {last} only: the checksum of a chunk is wrong (at byte "
    )));
}

#[test]
fn records_that_make_no_sense_then_the_damage_says_what_is_wrong() {
    let born = |task| Record::Move(Move::PutFirst { task });
    let text = damage(file_with(&[start(), Record::StepEnd(StepEnd::Ran), born(7)], &[]));
    assert!(text.contains("in step 2: no task 7 lives"), "{text}");
    let text = damage(file_with(&[start()], &[0xF3]));
    assert!(text.contains("no record begins with byte 0xf3"), "{text}");
    let text = damage(file_with(&[start()], &[1, 5, b'a']));
    assert!(text.contains("a chunk ends in the midst of a record"), "{text}");
    let text = damage(file_with(&[Record::StepEnd(StepEnd::Ran)], &[]));
    assert!(text.contains("it does not begin with a reset"), "{text}");
    let text = damage(file_with(&[start()], &[1, 2, 0xFF, 0xFE]));
    assert!(text.contains("not UTF-8"), "{text}");
}

#[test]
fn a_text_longer_than_may_be_then_it_is_refused_before_it_is_read() {
    let recording = Recording::from_bytes(file_with(&[start()], &[1, 0xFF, 0xFF, 0xFF, 0x7F]));
    let kind = recording.unwrap().damage().unwrap().kind;
    assert_eq!(kind, DamageKind::Format(FormatError::TooLong(0x0FFF_FFFF)));
}

#[test]
fn steps_go_back_then_the_trace_is_read_up_to_there() {
    let records = [
        Record::Reset { step: 9, at_nanos: 0, missed_steps: 0 },
        Record::StepEnd(StepEnd::Ran),
        Record::Reset { step: 3, at_nanos: 0, missed_steps: 1 },
        Record::StepEnd(StepEnd::Ran),
    ];
    let recording = Recording::from_bytes(file_with(&records, &[])).unwrap();
    let DamageKind::Mirror(error) = recording.damage().unwrap().kind else { panic!() };
    assert_eq!(error.kind, MirrorErrorKind::Backward(3));
    assert_eq!(recording.last_step(), Some(10));
}

#[test]
fn wrong_record_in_the_midst_of_a_chunk_then_the_steps_before_it_are_there() {
    let mut records = Run::new(4, 40).records;
    let ends: Vec<usize> = (0..records.len()).filter(|at| is_end(&records[*at])).collect();
    records.insert(ends[29] + 1, Record::Move(Move::TaskEnded { task: 77, how: Ended::Killed }));
    let recording = Recording::from_bytes(file(&records, usize::MAX)).unwrap();
    let damage = recording.damage().unwrap();
    assert_eq!(damage.after_step, 30);
    assert!(matches!(damage.kind, DamageKind::Mirror(_)));
    assert_eq!(recording.state_at(30).unwrap().step(), 30);
    assert_eq!(recording.records().filter(|entry| is_end(&entry.record)).count(), 30);
}

fn is_end(record: &Record) -> bool {
    matches!(record, Record::StepEnd(_))
}
