//! The wait tables: what tasks may wait for, and who does.

use std::collections::BTreeMap;

use trapline_trace::{CallMirror, Mirror, ObjectMirror, On, Value};

use super::Sight;
use crate::step::history::Reason;
use crate::step::line::{Line, Tone, width as columns, wrap};
use crate::step::names;

/// Columns from which on a row has its details.
const ROOMY: usize = 60;

/// A row for each reason to wait, in the order in which they came up first, so that none jumps about.
pub(super) fn lines(sight: &Sight<'_>, width: usize, room: usize) -> Vec<Line> {
    let rows = rows(sight);
    let mut is_dropped = false;
    let mut left = rows.len();
    let mut shown = Vec::new();
    for row in rows {
        // Where there is no room for all, those in which nobody waits are left out.
        if row.who.is_empty() && left > room.saturating_sub(usize::from(is_dropped)) {
            (is_dropped, left) = (true, left - 1);
            continue;
        }
        shown.push(row);
    }
    // A row that is too long goes on beneath, where there is room for all of them.
    let wrapped: Vec<Vec<Line>> = shown.iter().map(|row| row.wrapped(sight, width)).collect();
    let mut lines: Vec<Line> = match wrapped.iter().map(Vec::len).sum::<usize>() <= room {
        true => wrapped.into_iter().flatten().collect(),
        false => shown.iter().map(|row| row.line(sight, width)).collect(),
    };
    if is_dropped && lines.len() < room {
        lines.push(Line::of(Tone::Dim, "… and others, for which nobody waits"));
    }
    lines
}

/// What one may wait for, and who does.
struct Row<'a> {
    reason: Reason,
    /// Who waits, in the order in which they will be served; and for what of it, if that has a word.
    who: Vec<(&'a CallMirror, Option<String>)>,
}

fn rows<'a>(sight: &'a Sight<'_>) -> Vec<Row<'a>> {
    let now = &sight.scene.now;
    let mut waiting = BTreeMap::<Reason, Vec<&CallMirror>>::new();
    for call in now.calls() {
        if let Some(on) = call.on {
            waiting.entry(Reason::of(on)).or_default().push(call);
        }
    }
    for (reason, calls) in &mut waiting {
        match reason {
            Reason::Clock => calls.sort_by_key(|call| deadline(call)),
            _ => calls.sort_by_key(|call| call.order()),
        }
    }
    let wholes = wholes(now);
    let mut rows: Vec<Row<'_>> = Vec::new();
    let mut places = BTreeMap::<Reason, usize>::new();
    for reason in sight.atlas.history.reasons(sight.scene.cursor.step) {
        let who = waiting.remove(&reason).unwrap_or_default();
        let (of, word) = match reason {
            Reason::Object(object) => match (now.object(object), who.is_empty()) {
                (None, true) => continue,
                (None, false) => (reason, None),
                (Some(part), _) => match whole_of(part, now, &wholes) {
                    Some(whole) => (Reason::Object(whole.id), part_word(part, whole, now)),
                    None => (reason, None),
                },
            },
            reason => (reason, None),
        };
        let place = *places.entry(of).or_insert_with(|| {
            rows.push(Row { reason: of, who: Vec::new() });
            rows.len() - 1
        });
        rows[place].who.extend(who.into_iter().map(|call| (call, word.clone())));
    }
    rows
}

fn deadline(call: &CallMirror) -> (u64, u64) {
    match call.on {
        Some(On::Deadline { at_nanos }) => (at_nanos, call.id),
        _ => (u64::MAX, call.id),
    }
}

/// The things that say how much is in them, by where they were made; none for a line that made several.
///
/// Who waits for something of a channel waits in a queue of its own, which is a thing, too: it was made at the same
/// line.
fn wholes(now: &Mirror) -> BTreeMap<(String, u32, u32), Option<&ObjectMirror>> {
    let mut wholes = BTreeMap::new();
    for object in now.objects().filter(|object| object.name.is_none()) {
        let counts = ["count", "version"].iter().any(|f| object.field(f, now.tables()).is_some());
        if let Some(site) = site(object, now).filter(|_| counts) {
            wholes.entry(site).and_modify(|whole| *whole = None).or_insert(Some(object));
        }
    }
    wholes
}

fn site(object: &ObjectMirror, now: &Mirror) -> Option<(String, u32, u32)> {
    let site = now.tables().site(object.site?);
    Some((site.file.to_owned(), site.line, site.column))
}

/// The thing of which this is the queue.
fn whole_of<'a>(
    part: &ObjectMirror,
    now: &Mirror,
    wholes: &BTreeMap<(String, u32, u32), Option<&'a ObjectMirror>>,
) -> Option<&'a ObjectMirror> {
    let whole = (*wholes.get(&site(part, now)?)?)?;
    (part.name.is_none() && part.fields.is_empty() && part.id != whole.id).then_some(whole)
}

/// "room", of "room in a channel".
fn part_word(part: &ObjectMirror, whole: &ObjectMirror, now: &Mirror) -> Option<String> {
    let (word, whole) = (now.tables().str(part.kind), now.tables().str(whole.kind));
    let ends = [" of a ", " in a "].map(|between| format!("{between}{whole}"));
    let head = ends.iter().find_map(|end| Some(word.split_once(end.as_str())?.0));
    Some(head.unwrap_or(word).to_owned())
}

impl Row<'_> {
    /// In one line, cut where it must be.
    fn line(&self, sight: &Sight<'_>, width: usize) -> Line {
        let (name, state) = self.head(sight, width);
        let (tone, who) = self.who(sight, width.saturating_sub(columns(&name) + columns(&state)));
        // Who waits is to be seen, whatever that is called for which they do; then, how the thing stands.
        let room = width.saturating_sub(columns(&who) + 2).max(width / 2);
        let head = Line::of(Tone::Strong, name);
        let head = head.cut(room.saturating_sub(columns(&state)).max(room / 3));
        head.add(Tone::Strong, state).cut(room).add(Tone::Plain, ": ").add(tone, who).cut(width)
    }

    /// In as many lines as it takes.
    fn wrapped(&self, sight: &Sight<'_>, width: usize) -> Vec<Line> {
        let (name, state) = self.head(sight, width);
        let (tone, who) = self.who(sight, width.saturating_sub(columns(&name) + columns(&state)));
        let head = Line::of(Tone::Strong, format!("{name}{state}")).add(Tone::Plain, ": ");
        if head.width() + columns(&who) <= width {
            return vec![head.add(tone, who)];
        }
        let beneath = wrap(&who, width.saturating_sub(2));
        let beneath = beneath.into_iter().map(|text| Line::plain("  ").add(tone, text));
        std::iter::once(head.cut(width)).chain(beneath).collect()
    }

    /// Who waits; those who wait for the same in one go: "T1, T2 to read, T3 to write".
    fn who(&self, sight: &Sight<'_>, room: usize) -> (Tone, String) {
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        for (call, word) in &self.who {
            let who = call.task.map_or_else(|| "nobody".to_owned(), names::short);
            let what = self.what(sight, call, word.as_deref());
            match groups.iter_mut().find(|(known, _)| *known == what) {
                Some((_, tasks)) => tasks.push(who),
                None => groups.push((what, vec![who])),
            }
        }
        if groups.is_empty() {
            let words = [": nobody waits", ": nobody"];
            let word = if columns(words[0]) <= room { words[0] } else { words[1] };
            return (Tone::Dim, word[2..].to_owned());
        }
        let groups = groups.iter().map(|(what, tasks)| format!("{}{what}", tasks.join(", ")));
        (Tone::Blocked, groups.collect::<Vec<_>>().join(", "))
    }

    /// What is waited for; and who holds it, and how much is in it.
    fn head(&self, sight: &Sight<'_>, width: usize) -> (String, String) {
        let now = &sight.scene.now;
        let name = match self.reason {
            Reason::Exits => "ends of tasks".to_owned(),
            Reason::Clock => "clock".to_owned(),
            Reason::Descriptor(fd) => format!("fd {fd}"),
            Reason::Somebody => "somebody's answer".to_owned(),
            Reason::Object(object) => match now.object(object) {
                Some(found) => {
                    let name = names::thing_of(found, now);
                    // Where each row is a thing, no article is needed.
                    let name = name.strip_prefix("the ").map(str::to_owned).unwrap_or(name);
                    return (name, state(found, now, width));
                }
                None => names::thing(object, now),
            },
        };
        (name, String::new())
    }

    /// For what of it a call waits, as the end of a name: " until 2.000 s".
    fn what(&self, sight: &Sight<'_>, call: &CallMirror, word: Option<&str>) -> String {
        let now = &sight.scene.now;
        match (self.reason, call.on, word) {
            (_, _, Some(word)) => format!(" for {word}"),
            (Reason::Clock, Some(On::Deadline { at_nanos }), _) => {
                format!(" until {}", names::clock(at_nanos))
            }
            (Reason::Exits, Some(On::Exit { task }), _) => format!(" for T{task}"),
            (_, Some(On::Object { role, .. } | On::Descriptor { role, .. }), _) => {
                match now.tables().str(role) {
                    "token" => String::new(),
                    role => format!(" to {role}"),
                }
            }
            _ => String::new(),
        }
    }
}

/// How a thing stands, as its fields tell.
fn state(object: &ObjectMirror, now: &Mirror, width: usize) -> String {
    let field = |name: &str| object.field(name, now.tables());
    let count = |name: &str| match field(name) {
        Some(Value::Count(count)) => Some(*count),
        _ => None,
    };
    let mut words = Vec::new();
    match (count("count"), count("capacity")) {
        (Some(count), Some(most)) => words.push(format!("holds {count} of {most}")),
        (Some(count), None) => words.push(format!("holds {count}")),
        _ => {}
    }
    words.extend(count("free").map(|free| format!("with {free} free")));
    match field("holder") {
        Some(Value::Held { task, since }) => {
            let mut held =
                format!("held by {}", task.map_or_else(|| "somebody".to_owned(), names::short));
            if let Some(others) = count("holders").filter(|holders| *holders > 1) {
                held.push_str(&format!(" and {}", names::plural(others - 1, "other")));
            }
            // The queue is more to the point, where there is no room for both.
            if width >= ROOMY {
                held.push_str(&format!(" since {}", names::site(*since, now)));
            }
            words.push(held);
        }
        Some(_) if count("free").is_none() => words.push("free".to_owned()),
        _ => {}
    }
    words.extend(count("version").map(|version| format!("version {version}")));
    words.extend(count("set").map(|set| if set > 0 { "set" } else { "not set" }.to_owned()));
    words.extend(count("closed").filter(|closed| *closed > 0).map(|_| "closed".to_owned()));
    if words.is_empty() { String::new() } else { format!(" {}", words.join(", ")) }
}
