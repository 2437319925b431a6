//! The system call library: what Trapline tasks are written against.
//!
//! Every function here that can trap is a plain function that takes its caller's source line and
//! returns a named future, so that the kernel can show where a task waits. Programs use the
//! `trapline` crate, which re-exports all of this.

mod task;

mod cancel;

mod time;

mod io;

mod local;

pub mod net;

pub mod sync;

pub mod channel;
mod mailbox;

mod line;
mod pace;

pub mod pattern;

pub use cancel::{
    Cancel, CancelOutcome, Cancellable, CancelledWait, Shield, cancel, cancellable, cancelled,
    post_cancel, shield,
};
pub use io::{ReadWait, WriteWait, read_wait, write_wait};
pub use local::{NoScope, Scope, TaskLocal, TaskLocalCell};
pub use mailbox::{Receive, SendTo, receive, send, try_receive};
pub use task::{
    GetTid, Kill, KillOutcome, NoSuchTask, Spawn, Wait, Yield, get_tid, kill, post_kill, spawn,
    spawn_detached, wait, yield_now,
};
pub use time::{
    Elapsed, Interval, MissedTick, Now, Sleep, Tick, Timeout, interval, now, sleep, sleep_until,
    timeout,
};
