//! Records, and the lines that they give.

use super::Printer;
use super::words::{shown_bytes, shown_duration, shown_file, shown_text};
use crate::record::{
    About, Cause, Ended, Move, On, Record, Remark, SiteRef, StackRef, StepEnd, Str, TaskState,
    Value,
};

const STRINGS: [&str; 10] = [
    "examples/echo_server.rs",
    "syscalls/src/net/serve.rs",
    "recv",
    "read",
    "tcp stream",
    "fd 7",
    "mutex",
    "log",
    "holder",
    "feeder\u{1b}[31m",
];

fn str_of(text: &str) -> Str {
    Str(STRINGS.iter().position(|known| *known == text).map_or(0, |at| at as u32))
}

/// A printer that knows the strings, two lines, and a frame; and task 3, which runs.
fn printer() -> (Printer, String) {
    let (mut printer, mut out) = (Printer::new(), String::new());
    let site = |file, line| Record::DefineSite { file: str_of(file), line, column: 5 };
    let mut records = vec![Record::Reset { step: 0, at_nanos: 0, missed_steps: 0 }];
    records.extend(STRINGS.iter().map(|text| Record::DefineString((*text).to_owned())));
    records.push(site("examples/echo_server.rs", 31));
    records.push(site("syscalls/src/net/serve.rs", 12));
    records.push(Record::DefineStack { site: SiteRef(1), around: StackRef(0) });
    let name = Some(str_of("log"));
    records.push(Record::Move(Move::ObjectBorn {
        object: 1,
        kind: str_of("tcp stream"),
        name: Some(str_of("fd 7")),
        site: None,
    }));
    let kind = str_of("mutex");
    records.push(Record::Move(Move::ObjectBorn { object: 2, kind, name, site: None }));
    records.push(Record::Move(Move::ObjectBorn { object: 3, kind, name: None, site: None }));
    records.push(Record::StepEnd(StepEnd::Ran));
    records.push(taken(3, 12_003_400_000));
    for record in &records {
        printer.record(record, &mut out);
    }
    assert_eq!(out, "");
    (printer, out)
}

fn taken(task: u64, at_nanos: u64) -> Record {
    Record::Move(Move::Taken { task, at_nanos })
}

fn begun(argument: Value) -> Record {
    Record::Move(Move::CallBegun {
        call: 5,
        task: 3,
        what: str_of("recv"),
        argument,
        site: SiteRef(0),
        stack: StackRef(1),
    })
}

fn blocked() -> Record {
    let role = str_of("read");
    Record::Move(Move::CallBlocked { call: 5, on: On::Object { object: 1, role } })
}

fn answered(by: Cause, reply: Value) -> Record {
    Record::Move(Move::CallAnswered { call: 5, by, reply })
}

#[track_caller]
fn assert_lines(records: &[Record], lines: &[&str]) {
    let (mut printer, mut out) = printer();
    for record in records {
        printer.record(record, &mut out);
    }
    assert_eq!(out.lines().collect::<Vec<_>>(), lines);
    assert!(out.is_empty() || out.ends_with('\n'));
}

#[test]
fn call_that_waits_then_two_lines_with_the_time_of_the_look_outside() {
    assert_lines(
        &[
            begun(Value::Object(1)),
            blocked(),
            Record::Move(Move::Rested { task: 3, is_ready: false }),
            Record::StepEnd(StepEnd::Ran),
            answered(Cause::Source(7), Value::Count(5)),
            Record::Move(Move::Ready { task: 3, by: Cause::Source(7) }),
            Record::Move(Move::Outside { answered: 1, at_nanos: 12_019_500_000 }),
            Record::StepEnd(StepEnd::Outside),
        ],
        &[
            "12.003 T3 recv(fd 7) …  echo_server.rs:31 < serve.rs:12",
            "12.019 T3 … recv(fd 7) = 5 (16.1 ms, woken by fd 7)",
        ],
    );
}

#[test]
fn call_answered_at_once_then_one_line() {
    assert_lines(
        &[begun(Value::Nanos(1_500_000_000)), answered(Cause::Task(3), Value::Task(4))],
        &["12.003 T3 recv(1.50 s) = T4  echo_server.rs:31 < serve.rs:12"],
    );
}

#[test]
fn call_given_up_then_a_line_says_so() {
    let gone = Record::Move(Move::CallWithdrawn { call: 5 });
    assert_lines(
        &[begun(Value::Object(2)), blocked(), taken(4, 12_004_400_000), gone],
        &[
            "12.003 T3 recv(mutex \"log\") …  echo_server.rs:31 < serve.rs:12",
            "12.004 T3 … recv(mutex \"log\") dropped (1.00 ms)",
        ],
    );
}

#[test]
fn call_handed_on_then_its_end_is_the_heirs() {
    assert_lines(
        &[
            begun(Value::Object(3)),
            blocked(),
            Record::Move(Move::CallBooked { call: 5, task: Some(4) }),
            answered(Cause::Task(3), Value::Nothing),
        ],
        &[
            "12.003 T3 recv(mutex #3) …  echo_server.rs:31 < serve.rs:12",
            "12.003 T4 … recv(mutex #3) taken over from T3",
            "12.003 T4 … recv(mutex #3) (0 ns, woken by T3)",
        ],
    );
}

#[test]
fn tasks_then_their_births_and_ends() {
    let born = |task, parent, daemon| {
        let name = Some(str_of("log"));
        let (site, state, dispatches) = (SiteRef(0), TaskState::Ready, 0);
        Record::Move(Move::TaskBorn { task, parent, name, site, daemon, state, dispatches })
    };
    let panic = Remark::Said { about: About::Task(5), topic: Str(10), text: str_of("read") };
    assert_lines(
        &[
            born(4, Some(3), false),
            born(5, None, true),
            Record::Move(Move::TaskEnded { task: 4, how: Ended::Returned }),
            Record::DefineString("panic".to_owned()),
            Record::Remark(panic),
            Record::Move(Move::TaskEnded { task: 5, how: Ended::Panicked }),
            Record::Move(Move::TaskEnded { task: 3, how: Ended::Killed }),
        ],
        &[
            "12.003 T4 \"log\" born of T3  echo_server.rs:31",
            "12.003 T5 \"log\" (daemon) born  echo_server.rs:31",
            "12.003 T4 returned",
            "12.003 T5 panicked: read",
            "12.003 T3 killed",
        ],
    );
}

#[test]
fn what_does_not_trap_then_a_line_each() {
    let done = Remark::Done {
        task: Some(3),
        object: 1,
        operation: str_of("read"),
        result: Value::Bytes(5),
        site: SiteRef(0),
        stack: StackRef(1),
    };
    let held = |task| {
        let (field, value) = (str_of("holder"), Value::Held { task, since: SiteRef(0) });
        Record::Move(Move::FieldSet { object: 2, field, value })
    };
    // The second is one that was given it, as its answer tells.
    assert_lines(
        &[Record::Remark(done), held(Some(3)), held(Some(4)), held(None)],
        &[
            "12.003 T3 read(fd 7) = 5 bytes  echo_server.rs:31 < serve.rs:12",
            "12.003 T3 takes mutex \"log\"  echo_server.rs:31",
        ],
    );
}

#[test]
fn wake_up_without_an_answer_then_a_line() {
    let thread = Cause::Thread(str_of("feeder\u{1b}[31m"));
    let woken = |redundant| Record::Remark(Remark::Woken { task: 4, by: thread, redundant });
    assert_lines(
        &[
            Record::Move(Move::Ready { task: 4, by: thread }),
            woken(true),
            woken(false),
            Record::Move(Move::Outside { answered: 0, at_nanos: 12_004_000_000 }),
        ],
        &[
            "12.004 T4 woken by thread \"feeder\\u{1b}[31m\"",
            "12.004 T4 woken by thread \"feeder\\u{1b}[31m\", ready already",
            "12.004 T4 woken by thread \"feeder\\u{1b}[31m\", while it ran",
        ],
    );
}

#[test]
fn gap_then_a_line_and_who_is_there_after_it() {
    let reset = |missed_steps| Record::Reset { step: 9, at_nanos: 13_000_000_000, missed_steps };
    let file = || Record::DefineString("src/x.rs".to_owned());
    let site = || Record::DefineSite { file: Str(0), line: 1, column: 1 };
    let born = Record::Move(Move::TaskBorn {
        task: 3,
        parent: None,
        name: None,
        site: SiteRef(0),
        daemon: false,
        state: TaskState::Blocked,
        dispatches: 4,
    });
    assert_lines(
        &[reset(2), file(), site(), born.clone()],
        &["13.000 2 steps are missing", "13.000 T3 is blocked  x.rs:1"],
    );
    // Definitions that begin anew without a gap are no news.
    assert_lines(&[reset(0), file(), site(), born], &[]);
}

#[test]
fn ends_of_a_run_then_a_line_for_those_that_are_bad() {
    let ends = [StepEnd::Finished, StepEnd::Deadlock, StepEnd::Stalled, StepEnd::DriverFailed];
    assert_lines(
        &ends.map(Record::StepEnd),
        &["12.003 deadlock", "12.003 stalled", "12.003 the driver failed"],
    );
    let cycle = Remark::Cycle { tasks: vec![1, 2] };
    let line = "12.003 lock cycle: T1 waits for T2 waits for T1";
    assert_lines(&[Record::Remark(cycle)], &[line]);
}

#[test]
fn records_that_name_what_was_never_defined_then_no_panic() {
    let mut printer = Printer::new();
    let mut out = String::new();
    let (site, stack) = (SiteRef(9), StackRef(9));
    let (what, argument) = (Str(9), Value::Object(9));
    let records = [
        Record::DefineSite { file: Str(9), line: 1, column: 1 },
        Record::DefineStack { site, around: StackRef(1) },
        Record::Move(Move::CallBegun {
            call: 1,
            task: 1,
            what,
            argument,
            site,
            stack: StackRef(1),
        }),
        Record::Move(Move::CallBlocked { call: 1, on: On::Somebody }),
        Record::Move(Move::CallBlocked { call: 2, on: On::Somebody }),
        Record::Move(Move::CallBooked { call: 1, task: None }),
        Record::Move(Move::CallAnswered { call: 1, by: Cause::Order, reply: Value::Text(Str(8)) }),
        Record::Move(Move::TaskEnded { task: 8, how: Ended::Panicked }),
        Record::Remark(Remark::Said { about: About::Call(3), topic: Str(7), text: Str(7) }),
        Record::Remark(Remark::Done {
            task: None,
            object: 3,
            operation: Str(4),
            result: Value::Os(11),
            site,
            stack,
        }),
    ];
    for record in &records {
        printer.record(record, &mut out);
    }
    // A frame that is around itself is shown so often and no more.
    let first = out.lines().next().unwrap_or_default();
    assert_eq!(first, format!("0.000 T1 ?(#9) …  ?{} < …", " < ?".repeat(8)));
}

#[test]
fn words_then_short_and_safe() {
    let durations = [999, 1_000, 16_100, 999_999, 1_000_000, 59_999_999_999, u64::MAX];
    let shown = durations.map(shown_duration);
    let expected = ["999 ns", "1.00 µs", "16.1 µs", "999 µs", "1.00 ms", "59.9 s", "18446744073 s"];
    assert_eq!(shown, expected);
    assert_eq!(shown_file("x.rs"), "x.rs");
    assert_eq!(shown_file(""), "");
    assert_eq!(shown_file("src/lib.rs"), "src/lib.rs");
    assert_eq!(shown_file("/r/registry/src/i/odd/src/lib.rs"), "odd/src/lib.rs");
    assert_eq!(shown_text("a\nb\tc\u{7f}"), "a\n        b\\tc\\u{7f}");
    assert_eq!(shown_bytes(b"hi\n\"\xff"), "\"hi\\n\\\"\\xff\"");
}
