//! Lessons: comments in a program's source that say where to stop, what to look at, and what to ask.
//!
//! ```text
//! // LESSON Two tasks, taking turns
//! // LESSON step 3 panes source,ready,sentence
//! // Both tasks stand in the ready queue.
//! // ? Who runs next?
//! // = T2: it stands at the head.
//! ```

use super::atlas::Atlas;
use super::pane::Pane;

const MARK: &str = "LESSON ";

/// A lesson, as the source of the program tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Lesson {
    pub(crate) title: String,
    pub(crate) stops: Vec<Stop>,
}

/// A place to stop at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stop {
    at: Place,
    pub(crate) panes: Vec<Pane>,
    pub(crate) text: Vec<String>,
    pub(crate) question: Option<String>,
    pub(crate) answer: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Place {
    Step(u64),
    FirstCall(String),
    FirstRun(String),
    End,
}

impl Stop {
    /// The step at which it is; `None` if this run has no such step, or not yet: it is over, or not.
    pub(crate) fn step(&self, atlas: &Atlas, is_over: bool) -> Option<u64> {
        let step = match &self.at {
            Place::Step(step) => Some(*step),
            Place::FirstCall(what) => atlas.history.first_call(what),
            Place::FirstRun(task) => atlas.history.first_run(task),
            Place::End => is_over.then(|| atlas.last()),
        };
        // What has begun and not ended is no step yet.
        step.filter(|step| *step <= atlas.last())
    }
}

/// The lesson that a recording's sources tell; the first, if several do.
pub(crate) fn of(atlas: &Atlas) -> Option<Lesson> {
    let mut lesson = atlas.recording.sources().iter().find_map(|source| parse(&source.text))?;
    lesson.sort(atlas, true);
    Some(lesson)
}

impl Lesson {
    /// Brings the stops into the order of their steps, wherever they stand in the text; where the run has not come to
    /// yet is last.
    pub(crate) fn sort(&mut self, atlas: &Atlas, is_over: bool) {
        self.stops.sort_by_cached_key(|stop| stop.step(atlas, is_over).unwrap_or(u64::MAX));
    }

    /// How many steps a run can take at once, and still not go past a stop to which it has not come; `None`: as many as
    /// there are.
    pub(crate) fn steps_missing(&self, atlas: &Atlas) -> Option<u64> {
        let unknown = self.stops.iter().filter(|stop| stop.step(atlas, false).is_none());
        let missing = unknown.filter_map(|stop| match stop.at {
            Place::Step(step) => Some(step.saturating_sub(atlas.last())),
            Place::End => None,
            // It may come any moment.
            Place::FirstCall(_) | Place::FirstRun(_) => Some(1),
        });
        missing.min()
    }
}

fn parse(text: &str) -> Option<Lesson> {
    let mut title = None;
    let mut stops: Vec<Stop> = Vec::new();
    let mut is_open = false;
    for line in text.lines() {
        let Some(comment) = comment(line) else {
            is_open = false;
            continue;
        };
        if let Some(head) = comment.strip_prefix(MARK) {
            let stop = parse_stop(head.trim());
            is_open = stop.is_some();
            match stop {
                Some(stop) => stops.push(stop),
                None if title.is_none() => title = Some(head.trim().to_owned()),
                None => {}
            }
        } else if let Some(stop) = stops.last_mut().filter(|_| is_open) {
            stop.read(comment);
        }
    }
    Some(Lesson { title: title?, stops })
}

/// The text of a line that is a comment and nothing else; not of one for the documentation.
fn comment(line: &str) -> Option<&str> {
    let text = line.trim().strip_prefix("//")?;
    match text.starts_with('/') || text.starts_with('!') {
        true => None,
        false => Some(text.strip_prefix(' ').unwrap_or(text)),
    }
}

/// Which lines of a text are a lesson's own: they are shown beside it, and not in it. The answers stand there.
pub(crate) fn own_lines(text: &str) -> Vec<bool> {
    let mut is_open = false;
    let mut own = |line: &str| {
        let comment = comment(line);
        is_open = comment.is_some_and(|text| is_open || text.starts_with(MARK));
        is_open
    };
    text.lines().map(&mut own).collect()
}

/// `step 3 panes source,ready`, `first call sleep`, `first task ping`, `end`.
fn parse_stop(head: &str) -> Option<Stop> {
    let (place, panes) = match head.split_once(" panes ") {
        Some((place, panes)) => (place.trim(), panes),
        None => (head, ""),
    };
    let at = if place == "end" {
        Place::End
    } else if let Some(step) = place.strip_prefix("step ") {
        Place::Step(step.trim().parse().ok()?)
    } else if let Some(what) = place.strip_prefix("first call ") {
        Place::FirstCall(what.trim().to_owned())
    } else if let Some(task) = place.strip_prefix("first task ") {
        Place::FirstRun(task.trim().trim_matches(['"', '`']).to_owned())
    } else {
        return None;
    };
    let mut named: Vec<Pane> = Vec::new();
    for pane in panes.split(',').filter_map(|word| Pane::of_word(word.trim())) {
        if !named.contains(&pane) {
            named.push(pane);
        }
    }
    Some(Stop { at, panes: named, text: Vec::new(), question: None, answer: None })
}

impl Stop {
    /// A line goes on where the one before it ended; an empty one begins a paragraph.
    fn read(&mut self, line: &str) {
        let into = |slot: &mut Option<String>, text: &str| match slot {
            Some(before) => {
                before.push(' ');
                before.push_str(text.trim());
            }
            None => *slot = Some(text.trim().to_owned()),
        };
        if let Some(question) = line.strip_prefix("? ") {
            into(&mut self.question, question);
        } else if let Some(answer) = line.strip_prefix("= ") {
            into(&mut self.answer, answer);
        } else if self.answer.is_some() {
            into(&mut self.answer, line);
        } else if self.question.is_some() {
            into(&mut self.question, line);
        } else {
            match self.text.last_mut() {
                Some(before) if !before.is_empty() && !line.trim().is_empty() => {
                    before.push(' ');
                    before.push_str(line.trim());
                }
                _ => self.text.push(line.trim().to_owned()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_of_a_lesson_then_its_stops_with_their_panes() {
        let text = "\
//! Not this: LESSON x
// LESSON Two tasks, taking turns
fn main() {
    // LESSON step 3 panes source,ready, loop
    // Both stand in the
    // ready queue.
    // ? Who runs
    // next?
    // = T2.
    let x = 1;
    // An ordinary comment.
    // LESSON first call sleep
    // LESSON first task \"ping\" panes tasks
    // It runs.
}
// LESSON end
";
        let lesson = parse(text).expect("a lesson");
        assert_eq!(lesson.title, "Two tasks, taking turns");
        let places: Vec<_> = lesson.stops.iter().map(|stop| stop.at.clone()).collect();
        let expected = [
            Place::Step(3),
            Place::FirstCall("sleep".into()),
            Place::FirstRun("ping".into()),
            Place::End,
        ];
        assert_eq!(places, expected);
        let first = &lesson.stops[0];
        assert_eq!(first.panes, [Pane::Source, Pane::Ready, Pane::Code]);
        assert_eq!(first.text, ["Both stand in the ready queue."]);
        assert_eq!(first.question.as_deref(), Some("Who runs next?"));
        assert_eq!(first.answer.as_deref(), Some("T2."));
        assert_eq!(lesson.stops[2].text, ["It runs."]);
        assert_eq!(parse("fn main() {}"), None);
        let own = own_lines(text).iter().filter(|own| **own).count();
        assert_eq!(own, 11);
    }
}
