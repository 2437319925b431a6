//! The phases of the loop, and how the records of a step fall into them.

use std::ops::Range;

use trapline_trace::{Move, Record, StepEnd};

/// Where in the loop one is. The markers in the loop's text have these names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Phase {
    Outside,
    Pick,
    Resume,
    Trap,
    Serve,
    Settle,
}

impl Phase {
    #[cfg(test)]
    pub(crate) const ALL: [Phase; 6] =
        [Phase::Outside, Phase::Pick, Phase::Resume, Phase::Trap, Phase::Serve, Phase::Settle];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Phase::Outside => "outside",
            Phase::Pick => "pick",
            Phase::Resume => "resume",
            Phase::Trap => "trap",
            Phase::Serve => "serve",
            Phase::Settle => "settle",
        }
    }
}

/// A part of a step: one phase, and the records that belong to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Beat {
    pub(crate) phase: Phase,
    pub(crate) records: Range<usize>,
}

/// How many of a step's records rebuild the state, before the step itself begins.
pub(crate) fn prelude(records: &[Record]) -> usize {
    if !matches!(records.first(), Some(Record::Reset { .. })) {
        return 0;
    }
    let waits = |from: usize| {
        let mut rest = records[from..].iter().filter(|record| !is_definition(record));
        matches!(rest.next(), Some(Record::Move(Move::CallBlocked { .. })))
    };
    let rebuilds = |(at, record): (usize, &Record)| match record {
        Record::Reset { .. } => true,
        Record::Move(
            Move::TaskBorn { .. }
            | Move::ObjectBorn { .. }
            | Move::FieldSet { .. }
            | Move::CallBlocked { .. },
        ) => true,
        Record::Move(Move::CallBegun { .. }) => waits(at + 1),
        record => is_definition(record),
    };
    let own = records.iter().enumerate().position(|indexed| !rebuilds(indexed));
    own.unwrap_or(records.len())
}

/// What changes nothing, and is no part of what a step does.
fn is_definition(record: &Record) -> bool {
    matches!(
        record,
        Record::DefineString(_)
            | Record::DefineSite { .. }
            | Record::DefineStack { .. }
            | Record::Remark(
                trapline_trace::Remark::Property { .. } | trapline_trace::Remark::Source { .. }
            )
    )
}

/// The phases of a step, in order; what comes before `prelude` is no part of it.
pub(crate) fn beats(records: &[Record], prelude: usize) -> Vec<Beat> {
    let all = prelude..records.len();
    let is_taken = |record: &Record| matches!(record, Record::Move(Move::Taken { .. }));
    let taken = records[all.clone()].iter().position(is_taken).map(|at| prelude + at);
    let ran = matches!(records.last(), Some(Record::StepEnd(StepEnd::Ran)));
    if !ran && taken.is_none() {
        return vec![Beat { phase: Phase::Outside, records: all }];
    }
    // The task that goes on is picked, too, though nothing tells of it.
    let picked = taken.map_or(prelude, |at| at + 1);
    let mut beats = vec![Beat { phase: Phase::Pick, records: prelude..picked }];
    let (mut phase, mut start) = (Phase::Resume, picked);
    for at in picked..records.len() {
        let next = match (&records[at], phase) {
            (Record::Move(Move::TaskBorn { .. }), Phase::Resume | Phase::Serve)
                if is_asked_for(&records[at + 1..]) =>
            {
                Phase::Trap
            }
            (Record::Move(Move::CallBegun { .. }), Phase::Trap) => Phase::Trap,
            (Record::Move(Move::CallBegun { .. }), Phase::Resume | Phase::Serve) => Phase::Trap,
            (Record::Move(Move::Rested { .. }) | Record::StepEnd(_), _) => Phase::Settle,
            (_, Phase::Trap) if !is_definition(&records[at]) => Phase::Serve,
            (_, phase) => phase,
        };
        if next != phase {
            beats.push(Beat { phase, records: start..at });
            (phase, start) = (next, at);
        }
    }
    beats.push(Beat { phase, records: start..records.len() });
    beats
}

/// Whether the call comes next that has asked for a task that is born.
pub(crate) fn is_asked_for(rest: &[Record]) -> bool {
    let mut rest = rest.iter().filter(|record| !is_definition(record));
    matches!(rest.next(), Some(Record::Move(Move::CallBegun { .. })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loop_of_the_scheduler_then_each_phase_has_exactly_one_marker() {
        let text = crate::step::pane::code::TEXT;
        for phase in Phase::ALL {
            let marker = format!("// phase: {}", phase.word());
            let marked = text.lines().filter(|line| line.trim() == marker).count();
            assert_eq!(marked, 1, "{marker}");
        }
        assert_eq!(text.matches("// phase: ").count(), Phase::ALL.len());
    }
}
