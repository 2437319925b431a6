//! What tasks use to wait for one another: locks, semaphores, conditions, events, barriers.
//!
//! All are built on [`WaitQueue`](trapline_abi::WaitQueue): first come, first served, by hand-over.
//! One who releases a lock and asks again does not pass those who wait, and nothing is lost with a
//! waiter that is dropped or killed.
//!
//! They may be made anywhere, most also in `const` context, and used under one scheduler after
//! another. What need not wait works outside a task, too. They are not `Send`: a scheduler has
//! one thread, so an uncontended operation costs a few instructions, and no atomic one.
//!
//! A guard that is dropped releases, also where its task panics or is killed. Nothing is poisoned: a
//! task that may die half-way through a change must itself see to it that the next one finds
//! the value in order.
//!
//! In the task table and in the report of a deadlock, each says what it is, by the name it was given
//! with `named`, and who holds it since when.
//!
//! An operation that need not wait counts to the quantum; when that is spent, it lets the
//! others go first, before it tries anything.

pub(crate) mod acquire;

mod mutex;
mod rlock;
mod rwlock;
mod semaphore;

mod barrier;
mod condvar;
mod event;
mod once_cell;

pub use barrier::{Barrier, BarrierPass, BarrierWait};
pub use condvar::{Condvar, CondvarWait, WaitWhile};
pub use event::{Event, EventWait};
pub use mutex::{Lock, LockOwned, MappedMutexGuard, Mutex, MutexGuard, OwnedMutexGuard};
pub use once_cell::{GetOrInit, GetOrTryInit, OnceCell, SetError, WaitForValue};
pub use rlock::{RLock, RLockGuard, RLockLock};
pub use rwlock::{Read, RwLock, RwLockReadGuard, RwLockWriteGuard, Write};
pub use semaphore::{
    Acquire, AcquireOwned, Closed, OwnedPermit, Permit, Semaphore, TryAcquireError,
};
