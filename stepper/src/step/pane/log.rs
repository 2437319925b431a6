//! The log of calls: the last steps up to where one is.

use trapline_trace::{Mirror, Move, Record, Remark, StepEnd, Value};

use super::Sight;
use crate::step::atlas::apply;
use crate::step::line::{Line, Tone};
use crate::step::names;
use crate::step::phase::prelude;

pub(super) fn lines(sight: &Sight<'_>, height: usize) -> Vec<Line> {
    let scene = sight.scene;
    let mut lines: Vec<Line> = Vec::new();
    // A step gives a line or so; of a filtered log more steps must be looked at.
    let back = (height as u64) * if sight.look.filter.is_empty() { 1 } else { 8 };
    let first = sight.atlas.nearest(scene.cursor.step.saturating_sub(back));
    let mut mirror = sight.atlas.recording.state_at(first).unwrap_or_default();
    for (step, records) in sight.atlas.steps_after(first) {
        if step >= scene.cursor.step {
            break;
        }
        let from = prelude(&records);
        apply(&mut mirror, &records[..from]);
        rows(sight, step, &records[from..], &mut mirror, &mut lines);
    }
    let mut mirror = scene.before.clone();
    rows(
        sight,
        scene.cursor.step,
        &scene.records[scene.prelude..scene.done.max(scene.prelude)],
        &mut mirror,
        &mut lines,
    );
    let over = lines.len().saturating_sub(height);
    lines.split_off(over)
}

fn rows(
    sight: &Sight<'_>,
    step: u64,
    records: &[Record],
    mirror: &mut Mirror,
    lines: &mut Vec<Line>,
) {
    for record in records {
        if let Some((task, text)) = row(record, mirror)
            && task.is_none_or(|task| sight.shows(task))
        {
            let who = task.map_or_else(|| "-".to_owned(), names::short);
            let tone = if step == sight.scene.cursor.step { Tone::Strong } else { Tone::Plain };
            let line =
                Line::of(Tone::Dim, format!("{step:>5} ")).add(tone, format!("{who:<4} {text}"));
            if sight.passes(&line.text()) {
                lines.push(line);
            }
        }
        apply(mirror, std::slice::from_ref(record));
    }
}

fn row(record: &Record, mirror: &Mirror) -> Option<(Option<u64>, String)> {
    let asked = |call: u64| {
        let call = mirror.call(call)?;
        let what = mirror.tables().str(call.what);
        let argument = names::value(&call.argument, mirror);
        Some((call, format!("{what}({argument})")))
    };
    match *record {
        Record::Move(Move::TaskBorn { task, parent, .. }) => {
            let parent = parent.map_or_else(|| "the program".to_owned(), names::short);
            Some((Some(task), format!("born of {parent}")))
        }
        Record::Move(Move::TaskEnded { task, how }) => {
            Some((Some(task), format!("{how:?}").to_lowercase()))
        }
        Record::Move(Move::CallBlocked { call, on }) => {
            let (found, text) = asked(call)?;
            let (on, at) = (names::on(on, mirror), names::site(found.site, mirror));
            Some((found.task, format!("{text} … waits for {on}  {at}")))
        }
        Record::Move(Move::CallAnswered { call, by, ref reply }) => {
            let (found, text) = asked(call)?;
            let reply = names::value(reply, mirror);
            let reply = if reply.is_empty() { String::new() } else { format!(" = {reply}") };
            Some(match found.on {
                Some(_) => {
                    (found.task, format!("… {text}{reply}, woken by {}", names::cause(by, mirror)))
                }
                None => (found.task, format!("{text}{reply}  {}", names::site(found.site, mirror))),
            })
        }
        Record::Move(Move::CallWithdrawn { call }) => {
            let (found, text) = asked(call)?;
            Some((found.task, format!("… {text} dropped")))
        }
        // What did not trap, either.
        Record::Remark(Remark::Done { object, operation, ref result, site, .. }) => {
            let operation = mirror.tables().str(operation);
            if operation == "bytes" {
                return None;
            }
            let thing = names::thing(object, mirror);
            let result = match result {
                // That it was done is said already.
                Value::Nothing | Value::Count(_) => String::new(),
                result => format!(" = {}", names::value(result, mirror)),
            };
            let at = names::site(site, mirror);
            Some((mirror.running(), format!("{operation}({thing}){result}, no trap  {at}")))
        }
        Record::Move(Move::FieldSet { object, ref value, .. }) => {
            let Value::Held { task, since } = *value else { return None };
            let thing = names::thing(object, mirror);
            let text = match task.filter(|task| mirror.running() != Some(*task)) {
                Some(task) => format!("gives {thing} to {}", names::short(task)),
                None => format!("takes {thing}, no trap  {}", names::site(since, mirror)),
            };
            Some((mirror.running(), text))
        }
        Record::StepEnd(StepEnd::Deadlock) => Some((None, "deadlock".to_owned())),
        Record::StepEnd(StepEnd::Finished) => Some((None, "the run is over".to_owned())),
        _ => None,
    }
}
