//! Traces: what the loop did, as bytes, and the state at any step rebuilt from them.
//!
//! A trace is a sequence of [`Record`]s. *Moves* change the state, and the mirror obeys nothing
//! else; *remarks* are only shown; *definitions* give short numbers to strings, source lines and stacks of
//! frames, so that a record is a few bytes.
//!
//! Programs use the `trapline` crate, whose `run`, `block_on` and `#[main]` obey the environment variable
//! `TRAPLINE`: see [`words`]. One that makes its own [`Scheduler`] and wants to obey it calls [`run`] or
//! [`block_on`].

pub mod free;
pub mod words;

pub mod agent;
pub mod monitor;

mod scribe;

mod canonical;
mod mirror;
mod record;
mod recording;

pub mod format;
pub mod strace;

use trapline_scheduler::{RunError, RunReport, Scheduler};

pub use canonical::canonical;
pub use mirror::{
    CallMirror, Mirror, MirrorError, MirrorErrorKind, ObjectMirror, Site, Tables, TaskMirror,
};
pub use monitor::key_frame;
pub use record::{
    About, Cause, Ended, Move, On, Record, Remark, SiteRef, StackRef, StepEnd, Str, TaskState,
    Value,
};
pub use recording::{Damage, DamageKind, Entry, Gap, OpenError, Recording, Records, SourceText};
pub use scribe::{Paper, Scribe};

/// As [`Scheduler::run`], listened to as the environment says.
///
/// ```
/// use trapline_scheduler::Scheduler;
///
/// let mut scheduler = Scheduler::builder().quantum(1).build();
/// scheduler.spawn(async { println!("a task") }).detach();
/// // With `TRAPLINE=strace`, lines that tell of each call.
/// assert_eq!(trapline_trace::run(&mut scheduler)?.failures, 0);
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
///
/// # Errors
/// As [`Scheduler::run`].
pub fn run(scheduler: &mut Scheduler) -> Result<RunReport, RunError> {
    free::agent_of_environment(|_| true).run(scheduler)
}

/// As [`Scheduler::block_on`], listened to as the environment says.
///
/// ```
/// use trapline_scheduler::Scheduler;
///
/// let mut scheduler = Scheduler::builder().quantum(1).build();
/// assert_eq!(trapline_trace::block_on(&mut scheduler, async { 6 * 7 })?, 42);
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
///
/// # Errors
/// As [`Scheduler::block_on`].
///
/// # Panics
/// With the panic of `future`.
#[track_caller]
pub fn block_on<F: Future>(scheduler: &mut Scheduler, future: F) -> Result<F::Output, RunError> {
    free::agent_of_environment(|_| true).block_on(scheduler, future)
}
