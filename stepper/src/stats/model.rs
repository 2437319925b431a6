//! What `stats` tells, as `--json` writes it. `docs/tracing.md` describes each field for whoever reads it: fields
//! may be added, and none changes its meaning while `format` stays the same.

use std::collections::BTreeMap;

use serde::Serialize;

/// The number of this form of the JSON.
pub(super) const FORMAT: u32 = 1;

#[derive(Debug, Serialize)]
pub(crate) struct Stats {
    pub(super) format: u32,
    pub(super) properties: BTreeMap<String, String>,
    pub(super) steps: u64,
    pub(super) missed_steps: u64,
    /// Where the recording is damaged, if it is.
    pub(super) damage: Option<String>,
    /// From the first reading of the clock to the last.
    pub(super) duration_ns: u64,
    /// Of this, the kernel looked at the outside, or slept there.
    pub(super) outside_ns: u64,
    pub(super) looks: u64,
    pub(super) dispatches: u64,
    pub(super) longest_ready_queue: usize,
    pub(super) tasks: Vec<Task>,
    pub(super) calls: BTreeMap<String, Calls>,
    /// Operations that ended without a trap.
    pub(super) operations: BTreeMap<String, u64>,
    pub(super) wakeups: Wakeups,
    /// The longest first.
    pub(super) longest_dispatches: Vec<Dispatch>,
    pub(super) dispatch_lengths: Histogram,
    /// From being made ready to being taken.
    pub(super) ready_latencies: Histogram,
    pub(super) warnings: Vec<Warning>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Task {
    pub(super) task: u64,
    pub(super) name: Option<String>,
    pub(super) parent: Option<u64>,
    /// Where it was spawned.
    pub(super) site: String,
    pub(super) daemon: bool,
    /// What it does at the end of the trace, or how it ended.
    pub(super) state: String,
    pub(super) dispatches: u64,
    pub(super) running_ns: u64,
    pub(super) ready_ns: u64,
    pub(super) blocked_ns: u64,
    /// The same, by what it waited for.
    pub(super) blocked: BTreeMap<String, Blocked>,
    pub(super) calls: BTreeMap<String, Calls>,
    pub(super) wakeups: Wakeups,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Blocked {
    pub(super) times: u64,
    pub(super) total_ns: u64,
    pub(super) longest_ns: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Calls {
    pub(super) begun: u64,
    /// Answered without having to wait.
    pub(super) at_once: u64,
    pub(super) blocked: u64,
    pub(super) withdrawn: u64,
    /// Of those that had to wait.
    pub(super) waited_ns: u64,
    pub(super) longest_wait_ns: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Wakeups {
    pub(super) total: u64,
    /// Of a task that stood in the ready queue already; not in `total`, nor in `by`.
    pub(super) redundant: u64,
    /// `task`, `exit`, `timer`, `source`, `thread`, `outside`, `program`, `order`.
    pub(super) by: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Dispatch {
    pub(super) task: u64,
    pub(super) name: Option<String>,
    pub(super) length_ns: u64,
    pub(super) at_ns: u64,
    /// The step with which it began.
    pub(super) step: u64,
    /// The call from which it went on, or where the task was spawned.
    pub(super) from: String,
    /// The last call that it made, if it made one.
    pub(super) to: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Histogram {
    pub(super) count: u64,
    pub(super) total_ns: u64,
    pub(super) longest_ns: u64,
    /// Those that hold anything, in order.
    pub(super) buckets: Vec<Bucket>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Bucket {
    pub(super) from_ns: u64,
    /// Less than this.
    pub(super) to_ns: u64,
    pub(super) count: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Warning {
    /// `kept the loop`, `never yields`, `redundant wake-ups`, `never woken`.
    pub(super) kind: &'static str,
    pub(super) task: u64,
    pub(super) text: String,
}
