//! What tasks with a handle left when they ended, until the handles take it.

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;

use crate::cancel::Cancelled;
use crate::id::TaskId;
use crate::task::TaskBody;

/// What a task with a handle left.
pub struct Outcome {
    /// The body, with the output, if the task returned.
    pub body: Option<Pin<Box<dyn TaskBody>>>,
    /// What it said if it panicked.
    pub panic: Option<Box<Panic>>,
    /// Why, if it was cancelled. A task that left none of these was killed.
    pub cancelled: Option<Cancelled>,
}

/// The panic of a task.
pub struct Panic {
    /// What it said.
    pub text: Rc<str>,
    /// Its payload.
    pub payload: Box<dyn Any + Send>,
    /// Whether somebody else was told of it.
    pub observed: bool,
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome")
            .field("body", &self.body.is_some())
            .field("panic", &self.panic)
            .finish()
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panic").field("text", &self.text).finish_non_exhaustive()
    }
}

/// Room for so many is kept when there are none.
const MANY_OUTCOMES: usize = 1024;

/// The outcomes, by key. They are written in place, and taken out field by field: copied whole so
/// soon after it was written, an outcome was waited for.
#[derive(Default)]
pub(crate) struct Outcomes {
    kept: Vec<(Option<TaskId>, Outcome)>,
    free: Vec<u32>,
}

impl Outcomes {
    pub(crate) fn len(&self) -> usize {
        self.kept.len() - self.free.len()
    }

    pub(crate) fn keep(
        &mut self,
        task: TaskId,
        body: Option<Pin<Box<dyn TaskBody>>>,
        panic: Option<Box<Panic>>,
        cancelled: Option<Cancelled>,
    ) -> u32 {
        if let Some(key) = self.free.pop() {
            let (owner, outcome) = &mut self.kept[key as usize];
            *owner = Some(task);
            outcome.body = body;
            outcome.panic = panic;
            outcome.cancelled = cancelled;
            return key;
        }
        let key = u32::try_from(self.kept.len()).expect("fewer outcomes than tasks");
        self.kept.push((Some(task), Outcome { body, panic, cancelled }));
        key
    }

    pub(crate) fn holds(&self, key: u32, task: TaskId) -> bool {
        self.kept.get(key as usize).is_some_and(|(owner, _)| *owner == Some(task))
    }

    #[inline]
    pub(crate) fn take(&mut self, key: u32, task: TaskId) -> Option<Outcome> {
        let (owner, outcome) = self.kept.get_mut(key as usize)?;
        if *owner != Some(task) {
            return None;
        }
        *owner = None;
        self.free.push(key);
        Some(Outcome {
            body: outcome.body.take(),
            panic: outcome.panic.take(),
            cancelled: outcome.cancelled.take(),
        })
    }

    /// Somebody but the handle was told of a panic.
    pub(crate) fn note_observed(&mut self, key: u32, task: TaskId) {
        if let Some((owner, Outcome { panic: Some(panic), .. })) = self.kept.get_mut(key as usize)
            && *owner == Some(task)
        {
            panic.observed = true;
        }
    }

    /// Gives the memory back that a crowd needed, where none is kept.
    pub(crate) fn shrink(&mut self) {
        if self.kept.len() > MANY_OUTCOMES && self.len() == 0 {
            *self = Outcomes::default();
        }
    }

    /// All of them, in the order of their keys.
    pub(crate) fn into_all(self) -> impl Iterator<Item = Outcome> {
        self.kept.into_iter().map(|(_, outcome)| outcome)
    }
}
