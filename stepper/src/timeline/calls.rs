//! Which calls a task has in flight.

use std::collections::{BTreeMap, BTreeSet};

use trapline_trace::{Mirror, Move, Record};

/// The calls in flight of each task: the mirror would have to look at all calls for them.
#[derive(Default)]
pub(super) struct CallsOf(BTreeMap<u64, BTreeSet<u64>>);

impl CallsOf {
    pub(super) fn of(&self, task: u64) -> impl Iterator<Item = u64> {
        self.0.get(&task).into_iter().flatten().copied()
    }

    /// A record is about to change `mirror`.
    pub(super) fn note(&mut self, record: &Record, mirror: &Mirror) {
        match *record {
            Record::Reset { .. } => self.0.clear(),
            Record::Move(Move::CallBegun { call, task, .. }) => self.add(task, call),
            Record::Move(Move::CallBooked { call, task }) => {
                self.remove(call, mirror);
                if let Some(task) = task {
                    self.add(task, call);
                }
            }
            Record::Move(Move::CallAnswered { call, .. } | Move::CallWithdrawn { call }) => {
                self.remove(call, mirror);
            }
            _ => {}
        }
    }

    fn add(&mut self, task: u64, call: u64) {
        self.0.entry(task).or_default().insert(call);
    }

    fn remove(&mut self, call: u64, mirror: &Mirror) {
        let Some(task) = mirror.call(call).and_then(|call| call.task) else { return };
        let Some(calls) = self.0.get_mut(&task) else { return };
        calls.remove(&call);
        if calls.is_empty() {
            self.0.remove(&task);
        }
    }
}
