//! Frames: with each call, the lines from which the functions around it were called.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::future::pending;
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use support::{Slot, builder, panic_of, poll_once, scheduler};
use trapline::{Event, Scheduler, TaskState, frame, frame_at, sleep, spawn, traced, yield_now};

const SECOND: Duration = Duration::from_secs(1);

/// A scheduler that is listened to.
fn listened_to() -> Scheduler {
    builder().probe(|_: &Event<'_>| {}).build()
}

/// The lines of every call that is in flight, innermost first, as a snapshot shows them: the call's own, then
/// those of the frames around it.
#[track_caller]
fn stacks(scheduler: &Scheduler) -> Vec<Vec<u32>> {
    let snapshot = scheduler.snapshot();
    let mut stacks = Vec::new();
    for task in &snapshot.tasks {
        let TaskState::Blocked(calls) = &task.state else { continue };
        for call in calls {
            let frames = scheduler.frames(call.stack);
            let sites = std::iter::once(call.site).chain(frames);
            stacks.push(
                sites
                    .inspect(|site| assert_eq!(site.file(), file!()))
                    .map(Location::line)
                    .collect(),
            );
        }
    }
    stacks
}
