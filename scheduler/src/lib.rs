//! The Trapline kernel: a hand-written loop that serves the system calls of its tasks.
//!
//! Read it from the top floor down.
//!
//! | room | what is in it |
//! |---|---|
//! | `scheduler` | the loop: `run`, `step`, `block_on`. Start here |
//! | `syscall_table` | one line a call |
//! | `sys` | the handlers, one file a family |
//! | `kernel` | the state that handlers act on, and its few moves; `birth`, `cancel`, `exit`, `guard`, `outside`, `root`, `slow`: more of them |
//! | `task`, `ready`, `timers`, `sources`, `waker` | one noun each |
//! | `driver` | what the outside is |
//! | `probe` | events |
//!
//! Beside the tower stand `builder`, `face` (the scheduler's other methods), `step`, `report`,
//! `snapshot`, `deadlock`, `invariants` and `orders`; and `free`, a scheduler for one run.

mod scheduler;

mod syscall_table;

mod sys;

mod kernel;

mod birth;
mod cancel;
mod exit;
mod guard;
mod outside;
mod root;
mod slow;

mod ready;
mod sources;
mod task;
mod task_table;
mod timers;
mod waker;

pub mod driver;

mod probe;

mod builder;
mod deadlock;
mod face;
mod free;
mod invariants;
mod orders;
mod report;
mod snapshot;
mod step;

pub use builder::Builder;
pub use deadlock::{BlockedTask, DeadlockReport};
pub use free::{block_on, run};
pub use kernel::Fate;
pub use probe::{Cause, Event, Probe};
pub use report::{Failure, RunError, RunReport};
pub use scheduler::Scheduler;
pub use snapshot::{ObjectState, Snapshot};
pub use step::{Shown, Step, StepEvent};

/// What the macros expand to. Not for programs.
#[doc(hidden)]
pub mod __private {
    pub use crate::free::{Program, Trial, run_main, run_test};
}
