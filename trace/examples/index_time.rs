//! How long it takes to index a recording, and to jump to a step of it.
//!
//! `cargo run --release -p trapline-trace --example index_time FILE`; without a file, one of a million steps is
//! made up, of fifty tasks that read, write and wait in turn.

#![allow(clippy::disallowed_methods, reason = "it measures real time")]

use std::time::{Duration, Instant};

use trapline_trace::format::{Encoder, FileWriter};
use trapline_trace::{
    Cause, Move, On, Record, Recording, Remark, SiteRef, StackRef, StepEnd, Str, TaskState, Value,
};

const TASKS: u64 = 50;
const STEPS: u64 = 1_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bytes = match std::env::args_os().nth(1) {
        Some(path) => std::fs::read(path)?,
        None => made_up()?,
    };
    let size = bytes.len();
    let begin = Instant::now();
    let recording = Recording::from_bytes(bytes)?;
    println!("{} steps, {size} bytes: indexed in {:?}", recording.steps(), begin.elapsed());
    if let Some(damage) = recording.damage() {
        println!("{damage}");
    }
    let (first, last) =
        recording.first_step().zip(recording.last_step()).ok_or("there is no step in it")?;
    let (mut worst, mut sum) = (Duration::ZERO, Duration::ZERO);
    let jumps = 1000;
    for jump in 0..jumps {
        let step = first + (jump * 7_919_333) % (last - first + 1);
        let begin = Instant::now();
        let state = recording.state_at(step);
        let took = begin.elapsed();
        drop(state);
        worst = worst.max(took);
        sum += took;
    }
    println!("{jumps} jumps: {:?} on average, {worst:?} at worst", sum / jumps as u32);
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let most = status.lines().find(|line| line.starts_with("VmHWM"));
        println!("memory at most: {}", most.unwrap_or("unknown"));
    }
    Ok(())
}

fn made_up() -> std::io::Result<Vec<u8>> {
    let mut writer = FileWriter::new(Vec::new())?;
    let (mut encoder, mut bytes) = (Encoder::new(), Vec::new());
    let mut first = 0;
    let mut tell = |record: Record| encoder.encode(&record, &mut bytes);
    tell(Record::Reset { step: 0, at_nanos: 0, missed_steps: 0 });
    for word in ["src/serve.rs", "tcp stream", "read", "write", "read_wait"] {
        tell(Record::DefineString(word.to_owned()));
    }
    tell(Record::DefineSite { file: Str(0), line: 12, column: 5 });
    for task in 1..=TASKS {
        tell(Record::Move(born(task)));
        tell(Record::Move(Move::ObjectBorn { object: task, kind: Str(1), name: None, site: None }));
    }
    for step in 1..=STEPS {
        let task = step % TASKS + 1;
        let mut tell = |record: Record| encoder.encode(&record, &mut bytes);
        let by = Cause::Source(task as i32);
        if step > TASKS {
            let (call, reply) = (step - TASKS, Value::Nothing);
            tell(Record::Move(Move::CallAnswered { call, by, reply }));
        }
        tell(Record::Move(Move::Ready { task, by }));
        tell(Record::Move(Move::Taken { task, at_nanos: step * 12_345 }));
        for operation in [Str(2), Str(3)] {
            tell(Record::Remark(Remark::Done {
                task: Some(task),
                object: task,
                operation,
                result: Value::Bytes(1024),
                site: SiteRef(0),
                stack: StackRef(0),
            }));
        }
        tell(Record::Move(Move::CallBegun {
            call: step,
            task,
            what: Str(4),
            argument: Value::Descriptor(task as i32),
            site: SiteRef(0),
            stack: StackRef(0),
        }));
        let on = On::Object { object: task, role: Str(2) };
        tell(Record::Move(Move::CallBlocked { call: step, on }));
        tell(Record::Move(Move::Rested { task, is_ready: false }));
        tell(Record::StepEnd(StepEnd::Ran));
        if bytes.len() > 16_000 || step == STEPS {
            writer.chunk(first, &bytes)?;
            bytes.clear();
            first = step;
        }
    }
    Ok(writer.into_inner())
}

fn born(task: u64) -> Move {
    Move::TaskBorn {
        task,
        parent: None,
        name: None,
        site: SiteRef(0),
        daemon: false,
        state: TaskState::Blocked,
        dispatches: 0,
    }
}
