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
//! A task is a future. What it cannot do alone it asks the kernel for, by awaiting a function of this
//! crate; the task stops there (a *trap*), the kernel serves the call, and the task goes on when its turn
//! has come again. All tasks of a [`Scheduler`] live on one thread, so that what they share needs to be
//! neither `Send` nor locked, and nothing happens to it between two `.await`s.
//!
//! # What is where
//!
//! | for | there is |
//! |---|---|
//! | running | [`Scheduler`], made to order by its [`Builder`]; [`block_on`] and [`run`] for one run; [`macro@main`] and [`macro@test`], which make an `async fn` a program, or a test with a virtual clock |
//! | tasks | [`spawn`] and its [`JoinHandle`], [`spawn_detached`], [`wait`], [`kill`], [`get_tid`], [`yield_now`] |
//! | ending in order | [`cancel`], [`cancellable`], [`shield`], [`cancelled`]; [`Shutdown`] |
//! | tasks that belong together | [`TaskGroup`], [`group_scope`]; [`scope`] for children that borrow; [`supervise`], [`Supervisor`] |
//! | several things at once | [`join!`], [`try_join!`], [`select!`]; [`join`](fn@join), [`join_all`], [`race`], [`race_all`] |
//! | time | [`now`], [`sleep`], [`sleep_until`], [`timeout`], [`interval`] |
//! | sockets and descriptors | [`net`]; [`read_wait`], [`write_wait`] |
//! | locks and the like | [`sync`]; [`task_local!`] |
//! | values from task to task | [`channel`]; [`send`] and [`receive`], by task id |
//! | what programs do again and again | [`pattern`]: pipelines, worker pools, retries, rate limits, servers |
//! | what blocks, and other threads | [`unblock`], [`handle`], [`channel::remote()`] |
//! | values one by one | [`generator`] |
//! | the line from which a helper was called | [`macro@traced`], [`frame`](fn@frame) |
//! | building blocks of your own | [`WaitQueue`], [`OwnCall`] |
//! | looking at it | [`Scheduler::step`], [`Scheduler::snapshot`], [`Probe`], [`DeadlockReport`]; the environment variable `TRAPLINE`, with the feature `trace`: `strace` prints each call, `record:FILE` records the run, `monitor` answers and takes orders over a socket, `virtual` makes the clock jump |
//!
//! # Coming from elsewhere
//!
//! | tokio | trio, curio | here |
//! |---|---|---|
//! | `#[tokio::main]`, `Runtime` | `trio.run` | [`macro@main`], [`Scheduler`] |
//! | `spawn(…)`, `spawn_local(…)` | `curio.spawn` | [`spawn`]`(…).await`: the handle comes from the kernel |
//! | `handle.abort()` | `task.cancel()` | [`JoinHandle::kill`], or [`JoinHandle::cancel`] where the task may clean up |
//! | `JoinSet` | `open_nursery` | [`group_scope`], [`TaskGroup`] |
//! | `CancellationToken` | `CancelScope` | [`cancel`] and [`cancellable`]; [`Shutdown`] for a program |
//! | `time::timeout` | `move_on_after`, `timeout_after` | [`timeout`] |
//! | `spawn_blocking` | `to_thread.run_sync`, `run_in_thread` | [`unblock`] |
//! | `mpsc::channel(8)` | `open_memory_channel(8)` | [`channel::channel(8)`](fn@channel::channel) |
//! | `Notify` | `Event` | [`sync::Event`], [`WaitQueue`] |
//! | `io::AsyncReadExt`, `AsyncWriteExt` | | the methods of [`net::TcpStream`], and the traits of the `futures` crate for the rest (`read_to_end`, `BufReader`) |
//! | `time::pause` | `MockClock` | [`Builder::virtual_clock`] |
//!
//! # How the documentation reads
//!
//! What waits is a plain function that returns a future of its own type, often named after it ([`sleep`] and
//! [`Sleep`]). Its page says under *Cancel safety* what becomes of the call when that future is dropped
//! before it is ready, by a [`timeout`] or a lost branch of [`select!`]: *Safe* (nothing is lost), or
//! *Lossy*, and what. *Cost* counts traps and allocations. *Kin* names relatives in other libraries.

#[cfg(feature = "hyper")]
pub mod hyper;

pub use trapline_abi::{
    CallId, CallInfo, CallState, CancelCause, CancelReason, Cancelled, Ended, Errno, ExitStatus,
    Handle, Holder, Instant, JoinError, JoinHandle, KernelFace, Note, NoteValue, Object, ObjectId,
    On, OwnCall, OwnTrap, Park, QueueId, QueueInfo, RemoteJoinError, RemoteJoinHandle, Reply,
    SchedulerGone, Served, StackId, Syscall, Target, TaskId, TaskInfo, TaskOptions, TaskState,
    WaitQueue, Want, own_call, random,
};
pub use trapline_macros::{join, main, select, test, traced, try_join};
pub use trapline_scheduler::{
    BlockedTask, Builder, Cause, DeadlockReport, Event, Failure, Fate, ObjectState, Probe,
    RunError, RunReport, Scheduler, Shown, Snapshot, Step, StepEvent, driver,
};
#[cfg(not(feature = "trace"))]
pub use trapline_scheduler::{block_on, run};
pub use trapline_syscalls::*;
#[cfg(feature = "trace")]
pub use trapline_trace as trace;
#[cfg(feature = "trace")]
pub use trapline_trace::free::{block_on, run};

/// Programs that call these are the same without the feature `trace`, and nobody listens to them.
#[cfg(not(feature = "trace"))]
pub mod trace {
    use trapline_scheduler::{RunError, RunReport, Scheduler};

    /// [`Scheduler::run`].
    ///
    /// # Errors
    /// As there.
    pub fn run(scheduler: &mut Scheduler) -> Result<RunReport, RunError> {
        scheduler.run()
    }

    /// [`Scheduler::block_on`].
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn block_on<F: Future>(
        scheduler: &mut Scheduler,
        future: F,
    ) -> Result<F::Output, RunError> {
        scheduler.block_on(future)
    }
}

/// What the macros expand to. Not for programs.
#[doc(hidden)]
pub mod __private {
    #[cfg(not(feature = "trace"))]
    pub use trapline_scheduler::__private::{run_main, run_test};
    pub use trapline_syscalls::__private::*;
    #[cfg(feature = "trace")]
    pub use trapline_trace::free::{run_main, run_test};
}

/// The README's example runs as it stands there.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
