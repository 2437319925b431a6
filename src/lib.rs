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
//! * [`race`](fn@race), [`join`](fn@join) and the macros [`join!`], [`try_join!`] and [`select!`] let
//!   one task wait for several things.
//! * [`macro@main`] and [`macro@test`] make an `async fn` a program, or a test with a virtual clock.

pub use trapline_abi::{
    CallId, CallInfo, CallState, CancelCause, CancelReason, Cancelled, Ended, Errno, ExitStatus,
    Handle, Holder, Instant, JoinError, JoinHandle, KernelFace, On, OwnCall, OwnTrap, Park,
    QueueId, QueueInfo, RemoteJoinError, RemoteJoinHandle, Reply, SchedulerGone, Served, Syscall,
    Target, TaskId, TaskInfo, TaskOptions, TaskState, WaitQueue, Want, own_call, random,
};
pub use trapline_macros::{join, main, select, test, try_join};
pub use trapline_scheduler::{
    BlockedTask, Builder, Cause, DeadlockReport, Event, Failure, Fate, Probe, RunError, RunReport,
    Scheduler, Shown, Snapshot, Step, StepEvent, block_on, driver, run,
};
pub use trapline_syscalls::*;

/// What the macros expand to. Not for programs.
#[doc(hidden)]
pub mod __private {
    pub use trapline_scheduler::__private::*;
    pub use trapline_syscalls::__private::*;
}
