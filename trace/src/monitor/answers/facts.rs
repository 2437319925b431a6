//! What the loop does, as words and numbers: what `status` says, for tools.

use std::fmt::Write;
use std::time::Duration;

use super::super::stuck::Doing;
use super::words::escaped;
use super::{Look, Outside};
use crate::record::TaskState;

/// What the loop does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Loop {
    /// It is held, for so long now.
    Held(Duration),
    /// It takes steps.
    Works,
    /// Nobody is ready: it sleeps in the driver.
    Waits,
    /// A task has kept it for some time.
    Stuck {
        /// Which.
        task: u64,
        /// For how long.
        kept: Duration,
        /// Since which line; a sentence goes on so, and may be empty.
        since: String,
        /// What its thread does.
        thread: Doing,
    },
    /// The run is over, in this way.
    Over(&'static str),
    /// It is ahead of what is known.
    Ahead,
}

/// What is known of the orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ordering {
    /// The client that asks.
    pub client: u64,
    /// Which client may order.
    pub orderer: Option<u64>,
    /// Whether nobody may.
    pub is_refused: bool,
    /// So many orders have not been looked at.
    pub queued: usize,
    /// So many steps are to be taken yet of those that were ordered.
    pub steps_left: u64,
}

/// The facts: a line each, a word and what it is.
#[must_use]
pub fn facts(look: &Look<'_>, doing: &Loop, ordering: &Ordering) -> String {
    let mut out = String::new();
    let mut line = |key: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(out, "{key} {value}");
    };
    let word = match doing {
        Loop::Held(_) => "held",
        Loop::Works => "works",
        Loop::Waits => "waits",
        Loop::Stuck { .. } => "stuck",
        Loop::Over(_) => "over",
        Loop::Ahead => "ahead",
    };
    line("loop", &word);
    match doing {
        Loop::Held(held) => line("held_ms", &held.as_millis()),
        Loop::Waits => line("waits_for", &Outside::of(look)),
        Loop::Stuck { task, kept, since, thread } => {
            line("task", task);
            line("kept_ms", &kept.as_millis());
            if !since.is_empty() {
                line("since", &escaped(since.trim()));
            }
            line("thread", &thread.words());
        }
        Loop::Over(how) => line("over", how),
        Loop::Works | Loop::Ahead => {}
    }
    line("step", &look.mirror.step());
    line("clock_ns", &look.now_nanos);
    for (word, state) in [
        ("running", TaskState::Running),
        ("ready", TaskState::Ready),
        ("blocked", TaskState::Blocked),
    ] {
        line(word, &look.mirror.tasks().filter(|task| task.state == state).count());
    }
    line("client", &ordering.client);
    if ordering.is_refused {
        line("orders", &"refused");
    } else if let Some(orderer) = ordering.orderer {
        line("orderer", &orderer);
    }
    line("queued", &ordering.queued);
    line("steps_left", &ordering.steps_left);
    out
}
