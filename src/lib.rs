//! Trapline: a cooperative task scheduler whose tasks yield *system calls* to a hand-written kernel
//! loop.
//!
//! ```
//! use trapline::Scheduler;
//!
//! let mut scheduler = Scheduler::new();
//! let sum = scheduler.block_on(async {
//!     let child = trapline::spawn(async { 40 }).await;
//!     trapline::yield_now().await;
//!     child.await.unwrap() + 2
//! })?;
//! assert_eq!(sum, 42);
//! # Ok::<(), trapline::RunError>(())
//! ```
//!
//! * A [`Scheduler`] runs tasks: [`run`](Scheduler::run), [`step`](Scheduler::step),
//!   [`block_on`](Scheduler::block_on).
//! * Inside a task, the functions of this crate make system calls: [`spawn`], [`sleep`],
//!   [`wait`], [`read_wait`], … and [`net`] is built on them.

pub use trapline_abi::{
    CallId, CallInfo, CallState, CancelCause, CancelReason, Cancelled, Ended, Errno, ExitStatus,
    Holder, Instant, JoinError, JoinHandle, KernelFace, On, OwnCall, OwnTrap, Park, QueueId,
    QueueInfo, Reply, Served, Syscall, Target, TaskId, TaskInfo, TaskOptions, TaskState, WaitQueue,
    Want, own_call, random,
};
pub use trapline_scheduler::{
    BlockedTask, Builder, Cause, DeadlockReport, Event, Failure, Fate, Probe, RunError, RunReport,
    Scheduler, Shown, Snapshot, Step, StepEvent, driver,
};
pub use trapline_syscalls::*;
