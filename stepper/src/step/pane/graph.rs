//! Who waits for whom.

use std::collections::{BTreeMap, BTreeSet};

use trapline_trace::{Mirror, On, Value};

use super::Sight;
use crate::step::line::{Line, Tone};
use crate::step::names;

pub(super) fn lines(sight: &Sight<'_>) -> Vec<Line> {
    let now = &sight.scene.now;
    let links = links(now);
    let mut lines = Vec::new();
    let cycles = cycles(&links);
    for cycle in &cycles {
        lines.push(Line::of(Tone::Bad, "a cycle:"));
        for task in cycle {
            for (through, next) in links.get(task).into_iter().flatten() {
                let link = format!(" ─{through}→ T{next}");
                lines.push(Line::of(Tone::Blocked, names::short(*task)).add(Tone::Plain, link));
            }
        }
    }
    let in_cycle: BTreeSet<u64> = cycles.into_iter().flatten().collect();
    for (task, links) in
        links.iter().filter(|(task, _)| sight.shows(**task) && !in_cycle.contains(*task))
    {
        let targets: Vec<_> =
            links.iter().map(|(through, next)| format!("─{through}→ T{next}")).collect();
        lines.push(
            Line::of(Tone::Blocked, names::short(*task))
                .add(Tone::Plain, format!(" {}", targets.join("  or  "))),
        );
    }
    if lines.is_empty() {
        lines.push(Line::of(Tone::Dim, "Nobody waits for another task."));
    }
    lines
}

/// For each task that waits for others: through which thing, and for whom.
pub(crate) fn links(mirror: &Mirror) -> BTreeMap<u64, Vec<(String, u64)>> {
    let mut links = BTreeMap::<u64, Vec<(String, u64)>>::new();
    for call in mirror.calls() {
        let Some(task) = call.task else { continue };
        let link = match call.on {
            Some(On::Exit { task }) => Some(("its end".to_owned(), task)),
            Some(On::Object { object, .. }) => match mirror.field(object, "holder") {
                Some(Value::Held { task: Some(holder), .. }) => {
                    Some((names::thing(object, mirror), *holder))
                }
                _ => None,
            },
            _ => None,
        };
        if let Some((through, next)) = link {
            links.entry(task).or_default().push((format!(" {through} "), next));
        }
    }
    links
}

/// The circles among tasks that wait for one other each, from their lowest number on.
pub(crate) fn cycles(links: &BTreeMap<u64, Vec<(String, u64)>>) -> Vec<Vec<u64>> {
    let next = |task: u64| match links.get(&task).map(Vec::as_slice) {
        Some([(_, next)]) => Some(*next),
        _ => None,
    };
    let mut seen = BTreeSet::new();
    let mut cycles = Vec::new();
    for start in links.keys() {
        let mut path = Vec::new();
        let mut at = Some(*start);
        while let Some(task) = at.filter(|task| seen.insert(*task)) {
            path.push(task);
            at = next(task);
        }
        if let Some(first) = at.and_then(|task| path.iter().position(|on_path| *on_path == task)) {
            cycles.push(path.split_off(first));
        }
    }
    cycles
}
