//! What the loop waits for where nobody is ready.

use std::collections::BTreeSet;
use std::fmt;

use super::Look;
use super::words::Seconds;
use crate::record::{On, TaskState};

/// How much there is to wait for outside. It displays as in `2 sockets, a timer in 3.200 s`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outside {
    sockets: usize,
    descriptors: usize,
    threads: usize,
    /// Tasks that wait for a waker that somebody else holds, and calls that somebody is to answer.
    somebody: usize,
    timers: usize,
    /// How long until the first of the timers.
    first_timer_nanos: Option<u64>,
}

impl Outside {
    /// What there is to wait for.
    #[must_use]
    pub fn of(look: &Look<'_>) -> Outside {
        let mut outside = Outside::default();
        let (mut sockets, mut descriptors) = (BTreeSet::new(), BTreeSet::new());
        let mut first = None::<u64>;
        for call in look.mirror.calls() {
            match call.on {
                Some(On::Deadline { at_nanos }) => {
                    outside.timers += 1;
                    first = Some(first.map_or(at_nanos, |first| first.min(at_nanos)));
                }
                Some(On::Descriptor { fd, .. }) => drop(descriptors.insert(fd)),
                Some(On::Object { object, role }) => match look.mirror.tables().str(role) {
                    "token" => outside.threads += usize::from(is_of_a_thread(look, object)),
                    // Sources of the library's are sockets.
                    _ => drop(sockets.insert(object)),
                },
                Some(On::Somebody) => outside.somebody += 1,
                Some(On::Exit { .. }) | None => {}
            }
        }
        let waits = |call: &&super::CallMirror| call.on.is_some();
        let blocked = look.mirror.tasks().filter(|task| task.state == TaskState::Blocked);
        outside.somebody +=
            blocked.filter(|task| !look.calls_of(task.id).iter().any(waits)).count();
        outside.sockets = sockets.len();
        outside.descriptors = descriptors.len();
        outside.first_timer_nanos = first.map(|first| first.saturating_sub(look.now_nanos));
        outside
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Outside::default()
    }
}

/// Whether a thing is that for which those wait who have handed a closure to a thread.
fn is_of_a_thread(look: &Look<'_>, object: u64) -> bool {
    let thing = look.mirror.object(object);
    thing.is_some_and(|thing| look.mirror.tables().str(thing.kind) == "unblock")
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let mut count = |how_many: usize, one: &str| match how_many {
            0 => {}
            1 => parts.push(format!("1 {one}")),
            many => parts.push(format!("{many} {one}s")),
        };
        count(self.sockets, "socket");
        count(self.descriptors, "descriptor");
        count(self.threads, "thread");
        if self.somebody > 0 {
            parts.push("somebody's waker".to_owned());
        }
        match (self.timers, self.first_timer_nanos.map(Seconds)) {
            (1, Some(first)) => parts.push(format!("a timer in {first}")),
            (timers, Some(first)) => parts.push(format!("{timers} timers, the first in {first}")),
            _ => {}
        }
        if parts.is_empty() {
            return f.write_str("nothing");
        }
        f.write_str(&parts.join(", "))
    }
}
