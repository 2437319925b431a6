//! The position line: where one is.

use trapline_trace::{Move, Record};

use super::Sight;
use crate::step::line::{Line, Tone};
use crate::step::names;

/// `live` says what a live program does, and whether one is where it has come to.
pub(crate) fn line(sight: &Sight<'_>, is_loading: bool, live: Option<(String, bool)>) -> Line {
    let (scene, recording) = (sight.scene, &sight.atlas.recording);
    let (step, last) = (scene.cursor.step, sight.atlas.last());
    let mut line = match &live {
        Some((_, true)) => {
            Line::of(Tone::Running, "LIVE").add(Tone::Strong, format!(" step {step}"))
        }
        Some(_) => Line::of(Tone::Strong, format!("step {step} of {last}")),
        None => {
            let more = if is_loading { "+ (loading)" } else { "" };
            Line::of(Tone::Strong, format!("step {step} of {last}{more}"))
        }
    };
    if let Some((doing, _)) = live {
        let tone = if doing.starts_with("STUCK") { Tone::Bad } else { Tone::Plain };
        line.push(tone, format!(" · {doing}"));
    }
    match (scene.phase(), scene.is_whole()) {
        (Some(phase), false) => line.push(Tone::Running, format!(" · in {}", phase.word())),
        (None, false) => line.push(Tone::Running, " · before pick"),
        _ => {}
    }
    line.push(Tone::Plain, format!(" · clock {}", names::clock(scene.now.clock_nanos())));
    if let Some(quantum) = quantum(sight) {
        line.push(Tone::Plain, format!(" · quantum {quantum}"));
    }
    if let Some(seed) = recording.property("seed").filter(|seed| *seed != "0") {
        line.push(Tone::Plain, format!(" · seed {seed}"));
    }
    if !sight.look.filter.is_empty() {
        line.push(Tone::Plain, format!(" · filter {}", sight.look.filter));
    }
    if let Some(damage) = recording.damage().filter(|_| !is_loading) {
        line.push(Tone::Bad, format!(" · {damage}"));
    }
    line
}

/// How much of its quantum the running task has left: each call that is answered at once takes one.
fn quantum(sight: &Sight<'_>) -> Option<String> {
    let whole: u64 = sight.atlas.recording.property("quantum")?.parse().ok()?;
    let task = sight.scene.now.running()?;
    let scene = sight.scene;
    let done = &scene.records[..scene.done];
    let asked = |record: &&Record| matches!(record, Record::Move(Move::CallBegun { task: t, .. }) if *t == task);
    let mut spent = done.iter().filter(asked).count() as u64;
    if !done.iter().any(|record| matches!(record, Record::Move(Move::Taken { .. }))) {
        // It was taken in a step before.
        spent += sight.atlas.history.spent(scene.cursor.step.saturating_sub(1)).unwrap_or(0);
    }
    Some(format!("{} of {whole} left", whole.saturating_sub(spent)))
}
