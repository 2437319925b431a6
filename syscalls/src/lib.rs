//! The system call library: what Trapline tasks are written against.
//!
//! Every function here that can trap is a plain function that takes its caller's source line and
//! returns a named future, so that the kernel can show where a task waits. Programs use the
//! `trapline` crate, which re-exports all of this.

mod task;

mod cancel;

mod time;

mod race;
mod together;

mod expansion;

mod frame;

mod io;

mod threads;

pub mod net;

mod line;
mod pace;
mod told;

pub mod sync;

mod local;

pub mod channel;
mod mailbox;

mod backoff;
mod group;
mod scoped;
mod shutdown;
mod supervise;

pub mod pattern;

pub mod generator;

pub use backoff::{Backoff, Jitter};
pub use cancel::{
    Cancel, CancelOutcome, Cancellable, CancelledWait, Shield, cancel, cancellable, cancelled,
    post_cancel, shield,
};
pub use frame::{Frame, frame, frame_at};
pub use group::{
    ChildError, CloseGroup, FirstEnded, FirstOk, Giving, GroupError, GroupHandle, GroupRun,
    GroupSpawn, JoinGroup, NeverReady, NextEnded, Ready, Start, TaskGroup, group_scope,
};
pub use io::{ReadWait, WriteWait, read_wait, write_wait};
pub use local::{LocalScope, NoScope, TaskLocal, TaskLocalCell};
pub use mailbox::{Receive, SendTo, receive, send, try_receive};
pub use race::{Race, RaceAll, race, race_all};
pub use scoped::{Scope, ScopeRun, ScopedChild, scope};
pub use shutdown::{Part, RunShutdown, Shutdown, ShutdownReport, ShutdownWait};
pub use supervise::{GaveUp, Policy, Restart, RunSupervisor, Supervise, Supervisor, supervise};
pub use task::{
    GetTid, Kill, KillOutcome, NoSuchTask, Spawn, Wait, Yield, get_tid, kill, post_kill, spawn,
    spawn_detached, wait, yield_now,
};
pub use threads::{Unblock, handle, unblock};
pub use time::{
    Elapsed, Interval, MissedTick, Now, Sleep, Tick, Timeout, interval, now, sleep, sleep_until,
    timeout,
};
pub use together::{Join, JoinAll, join, join_all};

/// What the macros expand to. Not for programs.
#[doc(hidden)]
pub mod __private {
    pub use crate::expansion::{matched_before, nothing_left, order, poll_branch};
    pub use crate::together::MaybeDone;
}
