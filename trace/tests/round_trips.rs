//! Every record comes back as it was written, whatever is in it and wherever the bytes are cut.

#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use trapline_trace::format::{Decoder, Encoder};
use trapline_trace::{
    About, Cause, Ended, Move, On, Record, Remark, SiteRef, StackRef, StepEnd, Str, TaskState,
    Value,
};

/// Numbers of all sizes, mostly near one another, so that all short forms are met.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..4u64, 2 => 0..300u64, 1 => any::<u64>()]
}

fn short() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0..3u32, 1 => any::<u32>()]
}

fn string() -> impl Strategy<Value = Str> {
    short().prop_map(Str)
}

fn site() -> impl Strategy<Value = SiteRef> {
    short().prop_map(SiteRef)
}

fn stack() -> impl Strategy<Value = StackRef> {
    short().prop_map(StackRef)
}

fn descriptor() -> impl Strategy<Value = i32> {
    prop_oneof![4 => 0..300, 1 => any::<i32>()]
}

fn cause() -> impl Strategy<Value = Cause> {
    prop_oneof![
        number().prop_map(Cause::Task),
        number().prop_map(Cause::Exit),
        Just(Cause::Timer),
        descriptor().prop_map(Cause::Source),
        string().prop_map(Cause::Thread),
        Just(Cause::Outside),
        Just(Cause::Program),
        Just(Cause::Order),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Nothing),
        number().prop_map(Value::Count),
        number().prop_map(Value::Bytes),
        number().prop_map(Value::Nanos),
        number().prop_map(Value::Time),
        number().prop_map(Value::Task),
        number().prop_map(Value::Object),
        descriptor().prop_map(Value::Descriptor),
        (proptest::option::of(number()), site())
            .prop_map(|(task, since)| Value::Held { task, since }),
        string().prop_map(Value::Text),
        any::<i32>().prop_map(Value::Os),
        proptest::collection::vec(any::<u8>(), 0..30).prop_map(Value::Payload),
    ]
}

fn on() -> impl Strategy<Value = On> {
    prop_oneof![
        number().prop_map(|at_nanos| On::Deadline { at_nanos }),
        number().prop_map(|task| On::Exit { task }),
        (number(), string()).prop_map(|(object, role)| On::Object { object, role }),
        (descriptor(), string()).prop_map(|(fd, role)| On::Descriptor { fd, role }),
        Just(On::Somebody),
    ]
}

fn task_born() -> impl Strategy<Value = Move> {
    let state =
        prop_oneof![Just(TaskState::Ready), Just(TaskState::Running), Just(TaskState::Blocked)];
    let (parent, name) = (proptest::option::of(number()), proptest::option::of(string()));
    (number(), parent, name, site(), any::<bool>(), state, number()).prop_map(
        |(task, parent, name, site, daemon, state, dispatches)| Move::TaskBorn {
            task,
            parent,
            name,
            site,
            daemon,
            state,
            dispatches,
        },
    )
}

fn call_begun() -> impl Strategy<Value = Move> {
    (number(), number(), string(), value(), site(), stack()).prop_map(
        |(call, task, what, argument, site, stack)| Move::CallBegun {
            call,
            task,
            what,
            argument,
            site,
            stack,
        },
    )
}

fn moves() -> impl Strategy<Value = Move> {
    let how = prop_oneof![
        Just(Ended::Returned),
        Just(Ended::Panicked),
        Just(Ended::Killed),
        Just(Ended::Cancelled)
    ];
    let (name, place) = (proptest::option::of(string()), proptest::option::of(site()));
    prop_oneof![
        task_born(),
        (number(), how).prop_map(|(task, how)| Move::TaskEnded { task, how }),
        (number(), cause()).prop_map(|(task, by)| Move::Ready { task, by }),
        number().prop_map(|task| Move::PutFirst { task }),
        (number(), number()).prop_map(|(task, at_nanos)| Move::Taken { task, at_nanos }),
        (number(), any::<bool>()).prop_map(|(task, is_ready)| Move::Rested { task, is_ready }),
        call_begun(),
        (number(), on()).prop_map(|(call, on)| Move::CallBlocked { call, on }),
        (number(), cause(), value()).prop_map(|(call, by, reply)| Move::CallAnswered {
            call,
            by,
            reply
        }),
        number().prop_map(|call| Move::CallWithdrawn { call }),
        (number(), proptest::option::of(number()))
            .prop_map(|(call, task)| Move::CallBooked { call, task }),
        (number(), string(), name, place).prop_map(|(object, kind, name, site)| Move::ObjectBorn {
            object,
            kind,
            name,
            site
        }),
        number().prop_map(|object| Move::ObjectEnded { object }),
        (number(), string(), value()).prop_map(|(object, field, value)| Move::FieldSet {
            object,
            field,
            value
        }),
        (number(), number()).prop_map(|(answered, at_nanos)| Move::Outside { answered, at_nanos }),
    ]
}

fn done() -> impl Strategy<Value = Remark> {
    (proptest::option::of(number()), number(), string(), value(), site(), stack()).prop_map(
        |(task, object, operation, result, site, stack)| Remark::Done {
            task,
            object,
            operation,
            result,
            site,
            stack,
        },
    )
}

fn remark() -> impl Strategy<Value = Remark> {
    let about = prop_oneof![
        Just(About::Run),
        number().prop_map(About::Task),
        number().prop_map(About::Call),
        number().prop_map(About::Object),
    ];
    prop_oneof![
        4 => done(),
        1 => (number(), cause(), any::<bool>())
            .prop_map(|(task, by, redundant)| Remark::Woken { task, by, redundant }),
        1 => (about, string(), string())
            .prop_map(|(about, topic, text)| Remark::Said { about, topic, text }),
        1 => proptest::collection::vec(number(), 0..9).prop_map(|tasks| Remark::Cycle { tasks }),
        1 => number().prop_map(|length| Remark::Output { length }),
        1 => (string(), ".{0,40}", any::<bool>())
            .prop_map(|(file, text, is_newer)| Remark::Source { file, text, is_newer }),
        1 => (string(), string()).prop_map(|(key, value)| Remark::Property { key, value }),
    ]
}

fn step_end() -> impl Strategy<Value = StepEnd> {
    prop_oneof![
        Just(StepEnd::Ran),
        Just(StepEnd::Outside),
        Just(StepEnd::Finished),
        Just(StepEnd::Deadlock),
        Just(StepEnd::Stalled),
        Just(StepEnd::DriverFailed),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        1 => (number(), number(), number()).prop_map(|(step, at_nanos, missed_steps)| {
            Record::Reset { step, at_nanos, missed_steps }
        }),
        2 => ".{0,40}".prop_map(Record::DefineString),
        1 => (string(), any::<u32>(), any::<u32>())
            .prop_map(|(file, line, column)| Record::DefineSite { file, line, column }),
        1 => (site(), stack()).prop_map(|(site, around)| Record::DefineStack { site, around }),
        20 => moves().prop_map(Record::Move),
        8 => remark().prop_map(Record::Remark),
        3 => step_end().prop_map(Record::StepEnd),
    ]
}

proptest! {
    #[test]
    fn any_records_written_then_they_are_read_as_they_were(
        records in proptest::collection::vec(record(), 1..120)
    ) {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new();
        records.iter().for_each(|record| encoder.encode(record, &mut bytes));
        let (mut rest, mut decoder) = (&bytes[..], Decoder::new());
        for record in &records {
            let read = decoder.decode(&mut rest);
            prop_assert_eq!(read.as_ref(), Ok(&Some(record.clone())));
        }
        prop_assert_eq!(decoder.decode(&mut rest), Ok(None));
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn bytes_come_one_by_one_then_the_same_records_are_read(
        records in proptest::collection::vec(record(), 1..20)
    ) {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new();
        records.iter().for_each(|record| encoder.encode(record, &mut bytes));
        let (mut begin, mut read, mut decoder) = (0, Vec::new(), Decoder::new());
        for end in 0..=bytes.len() {
            let mut there = &bytes[begin..end];
            while let Some(record) = decoder.decode(&mut there).unwrap() {
                read.push(record);
            }
            begin = end - there.len();
        }
        prop_assert_eq!(read, records);
    }

    #[test]
    fn any_bytes_then_the_decoder_reads_or_refuses_them(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (mut rest, mut decoder) = (&bytes[..], Decoder::new());
        let mut before = rest.len() + 1;
        while let Ok(Some(_)) = decoder.decode(&mut rest) {
            prop_assert!(rest.len() < before);
            before = rest.len();
        }
    }
}

#[test]
fn texts_too_long_then_they_are_cut_between_two_characters() {
    let mut bytes = Vec::new();
    let long = "ä".repeat(50_000);
    Encoder::new().encode(&Record::DefineString(format!("x{long}")), &mut bytes);
    let Ok(Some(Record::DefineString(read))) = Decoder::new().decode(&mut &bytes[..]) else {
        panic!("no string");
    };
    assert_eq!(read.len(), 64 * 1024 - 1);
}
