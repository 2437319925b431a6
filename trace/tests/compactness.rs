//! What a message echoed by a server takes in a trace.

#![allow(clippy::unwrap_used, reason = "tests")]

use trapline_trace::format::{Encoder, FileWriter};
use trapline_trace::{
    Cause, Move, On, Record, Recording, Remark, SiteRef, StackRef, StepEnd, Str, TaskState, Value,
};

const CONNECTIONS: u64 = 50;
const MESSAGES: u64 = 10_000;

/// What a server tells of: connections that are read, written to, and waited for, twenty at a time.
fn echo() -> (Vec<Record>, Vec<Record>) {
    let reset = Record::Reset { step: 0, at_nanos: 1_000_000_000, missed_steps: 0 };
    let mut begin = vec![reset];
    for word in ["src/serve.rs", "tcp stream", "read", "write", "read_wait"] {
        begin.push(Record::DefineString(word.to_owned()));
    }
    for line in [12, 31, 33] {
        begin.push(Record::DefineSite { file: Str(0), line, column: 22 });
    }
    begin.push(Record::DefineStack { site: SiteRef(0), around: StackRef(0) });
    for n in 1..=CONNECTIONS {
        let (task, object) = (n + 1, n + 3);
        begin.push(Record::Move(Move::TaskBorn {
            task,
            parent: None,
            name: None,
            site: SiteRef(0),
            daemon: false,
            state: TaskState::Blocked,
            dispatches: 1,
        }));
        begin.push(Record::Move(Move::ObjectBorn { object, kind: Str(1), name: None, site: None }));
        begin.extend(waits(n, n));
    }
    let mut messages = Vec::new();
    let (mut at_nanos, mut last_call) = (1_000_000_000, CONNECTIONS);
    let mut calls: Vec<u64> = (1..=CONNECTIONS).collect();
    for look in 0..MESSAGES / 20 {
        let which = (0..20).map(|n| (look * 7 + n * 3) % CONNECTIONS + 1);
        for n in which.clone() {
            let by = Cause::Source(n as i32 + 8);
            let call = std::mem::take(&mut calls[n as usize - 1]);
            let reply = Value::Nothing;
            messages.push(Record::Move(Move::CallAnswered { call, by, reply }));
            messages.push(Record::Move(Move::Ready { task: n + 1, by }));
        }
        at_nanos += 20_000;
        messages.push(Record::Move(Move::Outside { answered: 20, at_nanos }));
        messages.push(Record::StepEnd(StepEnd::Outside));
        for n in which {
            at_nanos += 9_000 + n;
            last_call += 1;
            calls[n as usize - 1] = last_call;
            messages.push(Record::Move(Move::Taken { task: n + 1, at_nanos }));
            messages.push(done(n, Str(2), SiteRef(1)));
            messages.push(done(n, Str(3), SiteRef(2)));
            messages.extend(waits(n, last_call));
            messages.push(Record::Move(Move::Rested { task: n + 1, is_ready: false }));
            messages.push(Record::StepEnd(StepEnd::Ran));
        }
    }
    (begin, messages)
}

fn done(n: u64, operation: Str, site: SiteRef) -> Record {
    Record::Remark(Remark::Done {
        task: Some(n + 1),
        object: n + 3,
        operation,
        result: Value::Bytes(1024),
        site,
        stack: StackRef(1),
    })
}

fn waits(n: u64, call: u64) -> [Record; 2] {
    [
        Record::Move(Move::CallBegun {
            call,
            task: n + 1,
            what: Str(4),
            argument: Value::Descriptor(n as i32 + 8),
            site: SiteRef(1),
            stack: StackRef(1),
        }),
        Record::Move(Move::CallBlocked { call, on: On::Object { object: n + 3, role: Str(2) } }),
    ]
}

#[test]
fn a_message_is_echoed_then_it_takes_no_more_bytes_than_were_allowed() {
    let (begin, messages) = echo();
    let mut writer = FileWriter::new(Vec::new()).unwrap();
    let (mut encoder, mut bytes) = (Encoder::new(), Vec::new());
    begin.iter().for_each(|record| encoder.encode(record, &mut bytes));
    writer.chunk(0, &bytes).unwrap();
    let before = writer.get_mut().len();
    bytes.clear();
    for record in &messages {
        encoder.encode(record, &mut bytes);
        if bytes.len() > 4000 {
            writer.chunk(0, &bytes).unwrap();
            bytes.clear();
        }
    }
    writer.chunk(0, &bytes).unwrap();
    let file = writer.into_inner();
    let per_message = (file.len() - before) as f64 / MESSAGES as f64;
    assert_eq!(format!("{per_message:.1}"), "21.2");
    assert!(per_message <= 35.0);
    let recording = Recording::from_bytes(file).unwrap();
    assert_eq!(recording.damage(), None);
    assert_eq!(recording.steps(), MESSAGES + MESSAGES / 20);
}
