//! Predict: a question about the next step, before it is shown.

use std::collections::BTreeSet;

use trapline_trace::{Move, Record, StepEnd};

use super::atlas::{Atlas, Cursor, Scene};
use super::names;
use super::phase::Phase;
use super::telling::told;

/// So many tasks are named in a question, at most.
const CANDIDATES: usize = 4;

/// Which sort of question it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind {
    WhoRuns,
    WhatBecomes,
    WhoIsWoken,
}

/// A question, with answers of which one is right.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    kind: Kind,
    pub(crate) step: u64,
    /// From where it is to be looked at.
    pub(crate) from: Cursor,
    pub(crate) text: String,
    pub(crate) answers: Vec<String>,
    right: usize,
}

/// How many first answers were right.
#[derive(Clone, Debug, Default)]
pub(crate) struct Score {
    answered: BTreeSet<(u64, Kind)>,
    right: usize,
}

impl Score {
    /// Takes an answer. Says what is right, and what the score is.
    pub(crate) fn answer(&mut self, question: &Question, answer: usize) -> String {
        let is_right = answer == question.right;
        if self.answered.insert((question.step, question.kind)) {
            self.right += usize::from(is_right);
        }
        let verdict = if is_right { "Right" } else { "No" };
        let right = &question.answers[question.right];
        format!("{verdict}: {right}. {} of {} right so far.", self.right, self.answered.len())
    }
}

/// What can be asked after a step; nothing, if it is the last.
pub(crate) fn question(atlas: &Atlas, scene: &Scene) -> Option<Question> {
    let from = Cursor::after(scene.cursor.step);
    let before = if scene.is_whole() { None } else { Some(atlas.scene(from)) };
    let before = before.as_ref().unwrap_or(scene);
    let step = atlas.next(scene.cursor.step)?;
    let next = atlas.scene(Cursor::after(step));
    let mut questions = vec![who_runs(before, &next, from)];
    questions.extend(what_becomes(atlas, &next));
    questions.extend(who_is_woken(before, &next, from));
    // In turn, so that each is asked where a step allows several.
    let chosen = step as usize % questions.len();
    Some(questions.swap_remove(chosen))
}

fn who_runs(before: &Scene, next: &Scene, from: Cursor) -> Question {
    let ran = next.task.filter(|_| next.end() == Some(StepEnd::Ran));
    let mut tasks: Vec<u64> = before.now.running().into_iter().chain(before.now.ready()).collect();
    let right = chosen(&mut tasks, ran);
    let mut answers: Vec<String> = tasks.iter().map(|task| names::short(*task)).collect();
    answers.push("nobody: the loop looks outside, or ends".to_owned());
    let right = right.unwrap_or(answers.len() - 1);
    let (kind, text) = (Kind::WhoRuns, "Who runs next?".to_owned());
    Question { kind, step: next.cursor.step, from, text, answers, right }
}

/// A few of the tasks by their numbers, this one among them; and where it stands.
fn chosen(tasks: &mut Vec<u64>, right: Option<u64>) -> Option<usize> {
    if let Some(right) = right {
        tasks.retain(|task| *task != right);
        tasks.insert(0, right);
    }
    tasks.truncate(CANDIDATES);
    tasks.sort_unstable();
    tasks.dedup();
    right.and_then(|right| tasks.iter().position(|task| *task == right))
}

/// Asked from where the task has trapped, and the call has not been served.
fn what_becomes(atlas: &Atlas, next: &Scene) -> Option<Question> {
    let begun = next.records[next.prelude..].iter().find_map(|record| match record {
        Record::Move(Move::CallBegun { call, .. }) => Some(*call),
        _ => None,
    })?;
    let fate = next.records.iter().find_map(|record| match record {
        Record::Move(Move::CallAnswered { call, .. }) if *call == begun => Some(0),
        Record::Move(Move::CallBlocked { call, .. }) if *call == begun => Some(1),
        Record::Move(Move::CallWithdrawn { call }) if *call == begun => Some(2),
        _ => None,
    })?;
    let trap = next.beats.iter().position(|beat| beat.phase == Phase::Trap)?;
    let from = Cursor { step: next.cursor.step, phases: Some(trap + 1) };
    let asked = told(atlas, &atlas.scene(from)).join(" ");
    let answers = ["it is answered at once", "it has to wait", "it is dropped"];
    let is_begun = |record: &&Record| matches!(record, Record::Move(Move::CallBegun { .. }));
    let which = match next.records[next.beats[trap].records.clone()].iter().filter(is_begun).count()
    {
        1 => "this call",
        _ => "the first of these calls",
    };
    Some(Question {
        kind: Kind::WhatBecomes,
        step: next.cursor.step,
        from,
        text: format!("{asked} What becomes of {which}?"),
        answers: answers.map(str::to_owned).into(),
        right: fate,
    })
}

fn who_is_woken(before: &Scene, next: &Scene, from: Cursor) -> Option<Question> {
    let woken = next.records[next.prelude..].iter().find_map(|record| match record {
        Record::Move(Move::Ready { task, .. }) => Some(*task),
        _ => None,
    });
    let blocked =
        |task: &&trapline_trace::TaskMirror| task.state == trapline_trace::TaskState::Blocked;
    let mut tasks: Vec<u64> = before.now.tasks().filter(blocked).map(|task| task.id).collect();
    if tasks.is_empty() {
        return None;
    }
    let right = chosen(&mut tasks, woken);
    let mut answers: Vec<String> = tasks.iter().map(|task| names::short(*task)).collect();
    answers.push("nobody".to_owned());
    let right = right.unwrap_or(answers.len() - 1);
    let who = match next.task {
        Some(task) => format!("T{task} runs in the next step."),
        None => "In the next step the loop looks at the outside.".to_owned(),
    };
    let text = format!("{who} Who is woken first?");
    Some(Question { kind: Kind::WhoIsWoken, step: next.cursor.step, from, text, answers, right })
}
