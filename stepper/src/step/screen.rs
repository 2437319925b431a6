//! The screen: where the panes lie, as lines of one width.

use super::desk::Desk;
use super::line::{Line, Tone, wrap};
use super::pane::{Pane, Sight, position};
use super::telling::told;

/// The size from which panes lie side by side; below it they are tabs.
const WIDE: usize = 80;
const HIGH: usize = 24;

/// Rows that a pane needs, with its title, to be worth its place.
const LEAST: usize = 5;

/// All lines of the screen: as many as it is high, each as wide as it is.
pub(crate) fn draw(desk: &Desk, width: usize, height: usize) -> Vec<Line> {
    let aside = aside(desk, width);
    let mut lines = vec![position::line(&desk.sight(&[]), desk.is_loading).fit(width)];
    let body = height.saturating_sub(2);
    if desk.shows_help {
        lines.extend(filled(help(), width, body));
    } else if desk.is_zoomed {
        let head = title(&format!("{} {}", desk.current.digit(), desk.current.word()), width);
        lines.extend(alone(desk, head, width, body, &aside));
    } else if width < WIDE || height < HIGH {
        lines.extend(alone(desk, tabs(desk), width, body, &aside));
    } else {
        lines.extend(laid_out(desk, width, body, &aside));
    }
    lines.truncate(height.saturating_sub(1));
    lines.push(bottom(desk).fit(width));
    lines.truncate(height);
    lines
}

/// What is said beside the sentence.
fn aside(desk: &Desk, width: usize) -> Vec<Line> {
    let texts = desk.aside();
    texts
        .iter()
        .flat_map(|text| wrap(text, width))
        .map(|text| Line::of(Tone::Strong, text))
        .collect()
}

/// One pane, under a head, with what is said beside the step where that has no other place.
fn alone(desk: &Desk, head: Line, width: usize, height: usize, aside: &[Line]) -> Vec<Line> {
    let (pane, room) = (desk.current, height.saturating_sub(1));
    // A pane that fills the window has been asked for; where the window is small, the lesson needs a place.
    let lesson = if desk.is_zoomed { Vec::new() } else { lesson(desk, width) };
    let mut above = cut_lesson(desk, lesson, room * 2 / 3);
    if pane != Pane::Sentence {
        above.extend(aside.iter().cloned());
        above.truncate(room);
    }
    let sight = Sight { has_waiting: false, ..desk.sight(aside) };
    let mut lines = vec![head.fit(width)];
    let rest = room - above.len();
    lines.extend(above.into_iter().map(|line| line.fit(width)));
    lines.extend(filled(pane.lines(&sight, width, rest), width, rest));
    lines
}

/// The last line: what is typed, or what the last key gave.
fn bottom(desk: &Desk) -> Line {
    match &desk.prompt {
        Some(prompt) => Line::of(Tone::Strong, prompt.shown()),
        None => Line::of(Tone::Dim, &desk.message),
    }
}

fn tabs(desk: &Desk) -> Line {
    let mut panes = desk.panes.clone();
    if !panes.contains(&desk.current) {
        panes.push(desk.current);
    }
    panes.sort_unstable();
    let mut line = Line::new();
    for pane in panes {
        match pane == desk.current {
            true => line.push(Tone::Head, format!("[{} {}] ", pane.digit(), pane.word())),
            false => line.push(Tone::Dim, format!(" {} {}  ", pane.digit(), pane.word())),
        }
    }
    line
}

/// The source and the loop on the left, tables and lists on the right, what is wide beneath, and at the bottom the
/// sentence.
fn laid_out(desk: &Desk, width: usize, height: usize, aside: &[Line]) -> Vec<Line> {
    let open = |pane: &Pane| desk.panes.contains(pane);
    let left: Vec<Pane> = [Pane::Source, Pane::Code].into_iter().filter(open).collect();
    let right: Vec<Pane> = [Pane::Ready, Pane::Waiting, Pane::Log, Pane::Output, Pane::Graph]
        .into_iter()
        .filter(open)
        .collect();
    let wide: Vec<Pane> = [Pane::Tasks, Pane::Timeline].into_iter().filter(open).collect();
    let has_lesson = desk.stop.is_some();
    let has_columns = !left.is_empty() || !right.is_empty() || has_lesson;
    let sentence = match (open(&Pane::Sentence), has_columns || !wide.is_empty()) {
        (false, _) if aside.is_empty() => 0,
        // Of one height, so that nothing jumps about; higher only for what would not go in.
        (_, true) => {
            // Beside a lesson there is less room.
            let least = (height / if has_lesson { 4 } else { 3 }).clamp(6, 12);
            let most = if has_lesson { least } else { (height / 2).max(least) };
            sentence_rows(desk, width, aside).clamp(least, most)
        }
        (_, false) => height,
    };
    let above = height - sentence;
    let wide_rows = match (wide.len(), has_columns) {
        (0, _) => 0,
        (_, false) => above,
        (count, true) if has_lesson => (above / 3).min(count * 10),
        (count, true) => (above / 2).min(count * 10),
    };
    let mut lines = match has_columns {
        true => columns(desk, &left, &right, width, above - wide_rows, aside),
        false => Vec::new(),
    };
    lines.extend(stacked(desk, &wide, width, wide_rows, aside));
    if sentence > 0 {
        lines.extend(titled(desk, Pane::Sentence, width, sentence, aside));
    }
    filled(lines, width, height)
}

/// Rows that all the sentences take, with the title.
fn sentence_rows(desk: &Desk, width: usize, aside: &[Line]) -> usize {
    let sentences = told(&desk.atlas, &desk.scene);
    1 + wrap(&sentences.join(" "), width).len() + aside.len()
}

fn columns(
    desk: &Desk,
    left: &[Pane],
    right: &[Pane],
    width: usize,
    height: usize,
    aside: &[Line],
) -> Vec<Line> {
    let has_right = !right.is_empty() || desk.stop.is_some();
    // Two columns are filled, whatever is in them.
    let (left, right) = match (left, right) {
        ([], [first, .., _]) => (std::slice::from_ref(first), &right[1..]),
        ([first, second], []) if desk.stop.is_some() => {
            (std::slice::from_ref(first), std::slice::from_ref(second))
        }
        columns => columns,
    };
    if left.is_empty() {
        return right_column(desk, right, width, height, aside);
    }
    if !has_right {
        return stacked(desk, left, width, height, aside);
    }
    let left_width = width * 11 / 20;
    let lefts = stacked(desk, left, left_width, height, aside);
    let rights = right_column(desk, right, width - 1 - left_width, height, aside);
    lefts
        .into_iter()
        .zip(rights)
        .map(|(mut line, right)| {
            line.push(Tone::Dim, "│");
            line.append(right);
            line
        })
        .collect()
}

/// The text of a lesson stands beside the source.
fn right_column(
    desk: &Desk,
    panes: &[Pane],
    width: usize,
    height: usize,
    aside: &[Line],
) -> Vec<Line> {
    // It is what the others are looked at for; they have what is left.
    let lesson = cut_lesson(desk, lesson(desk, width), height);
    let rows = lesson.len();
    let mut lines = filled(lesson, width, rows);
    lines.extend(stacked(desk, panes, width, height - rows, aside));
    filled(lines, width, height)
}

fn lesson(desk: &Desk, width: usize) -> Vec<Line> {
    let (Some(lesson), Some(at)) = (&desk.lesson, desk.stop) else { return Vec::new() };
    let Some(stop) = lesson.stops.get(at) else { return Vec::new() };
    let head = format!("{} of {}: {}", at + 1, lesson.stops.len(), lesson.title);
    let mut lines = vec![title(&head, width)];
    // The lesson goes on being shown where one looks about from its stop.
    let step = stop.step(&desk.atlas).filter(|step| *step != desk.scene.cursor.step);
    lines.extend(step.map(|step| Line::of(Tone::Dim, format!("(of step {step})"))));
    let mut paragraph = |tone: Tone, text: &str| {
        lines.extend(wrap(text, width).into_iter().map(|line| Line::of(tone, line)));
    };
    stop.text.iter().for_each(|text| paragraph(Tone::Plain, text));
    if let Some(question) = &stop.question {
        paragraph(Tone::Strong, &format!("? {question}"));
        match &stop.answer {
            Some(answer) if desk.shows_answer => paragraph(Tone::Plain, &format!("= {answer}")),
            Some(_) => paragraph(Tone::Dim, "(Enter shows the answer)"),
            None => {}
        }
    }
    lines
}

/// What of a lesson's text goes into so many lines: its head, and of the rest the end once the answer is shown.
fn cut_lesson(desk: &Desk, mut lines: Vec<Line>, most: usize) -> Vec<Line> {
    if lines.len() > most && most > 1 {
        let more = Line::of(Tone::Dim, "… (a larger window shows all of it)");
        if desk.shows_answer {
            let from = lines.len() - most + 2;
            lines.splice(1..from, [more]);
        } else {
            lines.truncate(most - 1);
            lines.push(more);
        }
    }
    lines.truncate(most);
    lines
}

/// Panes one above the other. Those for which there is no room are left out.
fn stacked(desk: &Desk, panes: &[Pane], width: usize, height: usize, aside: &[Line]) -> Vec<Line> {
    let mut shown: Vec<(Pane, usize)> =
        panes.iter().map(|pane| (*pane, need(desk, *pane, width, height, aside))).collect();
    let least = |shown: &[(Pane, usize)]| -> usize {
        shown.iter().map(|(_, need)| (*need).min(LEAST)).sum()
    };
    // Those that were opened first make room.
    while shown.len() > 1 && least(&shown) > height {
        let age = |pane: Pane| desk.panes.iter().position(|open| *open == pane);
        let oldest = (0..shown.len()).min_by_key(|at| age(shown[*at].0)).unwrap_or(0);
        shown.remove(oldest);
    }
    let parts = parts(shown.iter().map(|(_, need)| *need), height);
    let panes = shown.into_iter().zip(parts);
    let lines = panes.flat_map(|((pane, _), rows)| titled(desk, pane, width, rows, aside));
    filled(lines.collect(), width, height)
}

/// Rows that a pane can fill, with its title. Most have as much as one gives them room for.
fn need(desk: &Desk, pane: Pane, width: usize, height: usize, aside: &[Line]) -> usize {
    match pane {
        Pane::Ready | Pane::Waiting | Pane::Graph => {
            content(desk, pane, width, height, aside).len() + 1
        }
        _ => height,
    }
}

/// What each of several has of a height: equal parts, but what one does not need goes to the others.
fn parts(needs: impl Iterator<Item = usize>, height: usize) -> Vec<usize> {
    let needs: Vec<usize> = needs.collect();
    let mut by_need: Vec<usize> = (0..needs.len()).collect();
    by_need.sort_by_key(|at| needs[*at]);
    let mut parts = vec![0; needs.len()];
    let mut left = height;
    for (done, at) in by_need.into_iter().enumerate() {
        let equal = left / (needs.len() - done);
        // The last one, who needs the most, has all that is left.
        parts[at] = if done + 1 == needs.len() { left } else { needs[at].min(equal) };
        left -= parts[at];
    }
    parts
}

fn titled(desk: &Desk, pane: Pane, width: usize, height: usize, aside: &[Line]) -> Vec<Line> {
    let head = format!("{} {}", pane.digit(), pane.word());
    let mut lines = vec![title(&head, width)];
    lines.extend(content(desk, pane, width, height.saturating_sub(1), aside));
    filled(lines, width, height)
}

fn content(desk: &Desk, pane: Pane, width: usize, height: usize, aside: &[Line]) -> Vec<Line> {
    pane.lines(&desk.sight(aside), width, height)
}

fn title(text: &str, width: usize) -> Line {
    let head = Line::of(Tone::Dim, "─ ").add(Tone::Head, text).add(Tone::Dim, " ");
    let rest = width.saturating_sub(head.width());
    head.add(Tone::Dim, "─".repeat(rest)).cut(width)
}

/// As many lines as this, each as wide as this.
fn filled(lines: Vec<Line>, width: usize, height: usize) -> Vec<Line> {
    let blank = std::iter::repeat_with(Line::new);
    lines.into_iter().chain(blank).take(height).map(|line| line.fit(width)).collect()
}

fn help() -> Vec<Line> {
    const TEXT: &str = "\
n p        the next step, the one before       N P   the next phase of the loop, the one before
t T        the next step of the selected task, the one before          up down   select a task
g          go to a step                        Home End   the first, the last
space + -  run and pause, faster, slower
b          a breakpoint: task ID, call WORD, object NAME, line FILE:LINE, outcome WORD, woken > N
c C        go on to a breakpoint, go back to one
w          why is the selected task not running?
x          predict: a question about the next step; a number answers
l L        the lesson's next stop, the one before; Enter shows the answer
f h        show only what has a text in it; hide tasks that are not the program's
0 … 9      open and close a pane: 1 source, 2 ready, 3 sentence, 4 loop, 5 tasks, 6 log, 7 output,
           8 timeline, 9 graph (who waits for whom), 0 waiting (what is waited for, and by whom)
z Tab      let the current pane fill the window; go to the next pane
? q        this help; quit

In the source  ▶ is the call from which the running task goes on,  ■ the one at which it stops
(? as long as that is not known);  on the left stand the tasks that are suspended on a line.
Any key closes this.";
    TEXT.lines().map(Line::plain).collect()
}
