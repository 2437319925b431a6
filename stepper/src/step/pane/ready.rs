//! Who runs, who is ready, and who waits for what.

use trapline_trace::{CallMirror, On, Value};

use super::Sight;
use crate::step::history::Reason;
use crate::step::line::{Line, Tone, width as columns};
use crate::step::names;

/// Columns from which on a row has its details.
const ROOMY: usize = 60;

pub(super) fn lines(sight: &Sight<'_>, width: usize, height: usize) -> Vec<Line> {
    let mut lines = boxes(sight, width);
    let room = height.saturating_sub(lines.len());
    lines.extend(tables(sight, width, room));
    lines
}

/// The running task, and the ready queue from its head on, as boxes.
fn boxes(sight: &Sight<'_>, width: usize) -> Vec<Line> {
    let now = &sight.scene.now;
    let ready: Vec<u64> = now.ready().collect();
    let running = now.running();
    let mut rows = [Line::new(), Line::new(), Line::new(), Line::new()];
    let word = running.map_or_else(|| "-".to_owned(), names::short);
    let wide = columns(&word) + 2;
    let left = wide.max("running".len() + 2);
    let rest = left.saturating_sub(wide + 2);
    rows[0].push(Tone::Dim, format!("{:<wide$}", "running", wide = left));
    rows[0].push(Tone::Dim, format!("ready: {}", ready.len()));
    match running {
        Some(_) => frame(&mut rows, &word, Tone::Running, "╔═╗║╚╝"),
        None => frame(&mut rows, &word, Tone::Dim, "┌╌┐┆└┘"),
    }
    rows[1..].iter_mut().for_each(|row| row.push(Tone::Plain, " ".repeat(rest)));
    for (at, task) in ready.iter().enumerate() {
        let word = names::short(*task);
        let more = ready.len() - at;
        let needed = columns(&word) + 4 + if more > 1 { 6 } else { 0 };
        if rows[2].width() + needed > width {
            rows[2].push(Tone::Dim, format!(" +{more}"));
            break;
        }
        let tone = if sight.look.selected == Some(*task) { Tone::Strong } else { Tone::Ready };
        frame(&mut rows, &word, tone, "┌─┐│└┘");
    }
    if ready.is_empty() {
        rows[2].push(Tone::Dim, "nobody");
    }
    rows.into()
}

/// Draws a box about a word; of what is given the corners and sides: left and right above, side, below.
fn frame(rows: &mut [Line; 4], word: &str, tone: Tone, with: &str) {
    let with: Vec<char> = with.chars().collect();
    let bar = with[1].to_string().repeat(columns(word) + 2);
    rows[1].push(tone, format!("{}{bar}{}", with[0], with[2]));
    rows[2].push(tone, format!("{} {word} {}", with[3], with[3]));
    rows[3].push(tone, format!("{}{bar}{}", with[4], with[5]));
}

/// A row for each reason to wait, in the order in which they came up first, so that none jumps about.
fn tables(sight: &Sight<'_>, width: usize, room: usize) -> Vec<Line> {
    let reasons: Vec<Reason> = sight.atlas.history.reasons(sight.scene.cursor.step).collect();
    let rows: Vec<(bool, Line)> =
        reasons.iter().filter_map(|reason| row(sight, *reason, width)).collect();
    let mut is_dropped = false;
    let mut left = rows.len();
    let mut lines = Vec::new();
    for (is_empty, line) in rows {
        // Where there is no room for all, those in which nobody waits are left out.
        if is_empty && left > room.saturating_sub(usize::from(is_dropped)) {
            (is_dropped, left) = (true, left - 1);
            continue;
        }
        lines.push(line.cut(width));
    }
    lines
}

/// A reason, and who waits for it. Whether nobody does.
fn row(sight: &Sight<'_>, reason: Reason, width: usize) -> Option<(bool, Line)> {
    let now = &sight.scene.now;
    let mut waiting: Vec<&CallMirror> = match reason {
        Reason::Object(object) => now.waiting(object),
        _ => {
            now.calls().filter(|call| call.on.is_some_and(|on| Reason::of(on) == reason)).collect()
        }
    };
    if reason == Reason::Clock {
        waiting.sort_by_key(|call| match call.on {
            Some(On::Deadline { at_nanos }) => (at_nanos, call.id),
            _ => (u64::MAX, call.id),
        });
    }
    let (head, is_known) = head(sight, reason, width);
    if !is_known && waiting.is_empty() {
        return None;
    }
    let words: Vec<String> = waiting.iter().map(|call| waiter(sight, reason, call)).collect();
    let (tone, who) = match words.is_empty() {
        true => (Tone::Dim, "nobody waits".to_owned()),
        false => (Tone::Blocked, words.join(", ")),
    };
    // Who waits is to be seen, whatever that is called for which they do.
    let room = width.saturating_sub(columns(&who) + 2).max(width / 2);
    let line = Line::of(Tone::Strong, head).cut(room).add(Tone::Plain, ": ").add(tone, who);
    Some((words.is_empty(), line))
}

/// What is waited for, with who holds it and how much is in it. Whether it is still there.
fn head(sight: &Sight<'_>, reason: Reason, width: usize) -> (String, bool) {
    let now = &sight.scene.now;
    let object = match reason {
        Reason::Exits => return ("ends of tasks".to_owned(), true),
        Reason::Clock => return ("clock".to_owned(), true),
        Reason::Descriptor(fd) => return (format!("fd {fd}"), true),
        Reason::Somebody => return ("somebody's answer".to_owned(), true),
        Reason::Object(object) => object,
    };
    let Some(found) = now.object(object) else { return (format!("thing {object}"), false) };
    let mut head = names::thing_of(found, now);
    let field = |name: &str| found.field(name, now.tables());
    match field("holder") {
        Some(Value::Held { task, since }) => {
            let holder = task.map_or_else(|| "somebody".to_owned(), names::short);
            head.push_str(&format!(" held by {holder}"));
            // The queue is more to the point, where there is no room for both.
            if width >= ROOMY {
                head.push_str(&format!(" since {}", names::site(*since, now)));
            }
        }
        Some(_) => head.push_str(" free"),
        None => {}
    }
    match (field("count"), field("capacity")) {
        (Some(Value::Count(count)), Some(Value::Count(most))) => {
            head.push_str(&format!(" {count} of {most}"));
        }
        (Some(Value::Count(count)), _) => head.push_str(&format!(" holds {count}")),
        _ => {}
    }
    if let (Some(Value::Count(free)), None) = (field("free"), field("holder")) {
        head.push_str(&format!(" {free} free"));
    }
    (head, true)
}

fn waiter(sight: &Sight<'_>, reason: Reason, call: &CallMirror) -> String {
    let now = &sight.scene.now;
    let who = call.task.map_or_else(|| "nobody".to_owned(), names::short);
    match (reason, call.on) {
        (Reason::Clock, Some(On::Deadline { at_nanos })) => {
            format!("{who} until {}", names::clock(at_nanos))
        }
        (Reason::Exits, Some(On::Exit { task })) => format!("{who} for T{task}"),
        (_, Some(On::Object { role, .. } | On::Descriptor { role, .. })) => {
            match now.tables().str(role) {
                "token" => who,
                role => format!("{who} to {role}"),
            }
        }
        _ => who,
    }
}
