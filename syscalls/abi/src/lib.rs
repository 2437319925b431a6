//! What both sides of a Trapline trap share.
//!
//! A task asks for what it cannot do alone by yielding a *system call*; a kernel serves it. This
//! crate holds all that the two must agree on and nothing else: the [`Syscall`]s and their
//! [`Reply`]s, the ids, and the [`Ring`] through which they pass. The library that tasks are
//! written against and the scheduler both depend on it and know nothing of each other, so the
//! library runs on any kernel that serves this interface through a [`KernelRing`].
//!
//! Programs use the `trapline` crate; only kernels name this one.

mod id;
mod time;

mod call;
mod cancel;
mod task;

mod ring;
mod trap;
mod yield_trap;

mod kernel_ring;

mod call_table;
mod polled;
mod posts;
mod register;
mod scoped;
mod scopes;
mod source;
mod wait_queue;

mod frame;
mod holder;
mod listen;
mod note;
mod queue_core;
mod queue_entry;

mod estate;
mod join;
mod outcomes;
mod own_call;
mod park_on;
mod remote;
mod remote_error;
mod remote_join;

pub use call::{Ended, Errno, Post, Reply, Syscall, Target};
pub use call_table::{Booking, CallInfo, CallState, Direction, ListHead, On};
pub use cancel::{CancelCause, CancelReason, Cancelled};
pub use estate::Estate;
pub use frame::{FrameGuard, FrameSite};
pub use holder::{Holder, QueueInfo};
pub use id::{CallId, MAX_TASKS, SourceId, TaskId};
pub use join::{JoinError, JoinHandle};
pub use kernel_ring::{Entered, Foregone, KernelRing, Parked, Submitted};
pub use note::{Note, NoteValue, Object, ObjectId, ObjectTag, StackId};
pub use outcomes::{Outcome, Panic};
pub use own_call::{
    ErasedOwnCall, KernelFace, OwnCall, OwnTrap, Served, Verdict, own_call, own_call_at,
};
pub use park_on::ParkOn;
pub use remote::{Door, Errand, Handle, SchedulerGone};
pub use remote_error::RemoteJoinError;
pub use remote_join::RemoteJoinHandle;
pub use ring::{Hidden, Ring, random};
pub use scoped::{Polling, ReadyList};
pub use scopes::{CancelRequest, Scope, ScopeKind, Within, cancel_is_pending, cancel_reason};
pub use source::Readiness;
pub use task::{Beside, ExitStatus, Herald, NewTask, TaskBody, TaskInfo, TaskOptions, TaskState};
pub use time::Instant;
pub use trap::Trap;
pub use wait_queue::{Park, Parking, QueueId, WaitQueue, Want, Woken};
pub use yield_trap::YieldTrap;
