//! What `select!` expands to calls of.

use std::array;
use std::pin::Pin;
use std::task::{Context, Poll};

use trapline_abi::{Ring, random};

/// The order in which the branches of a `select!` are polled: drawn from the scheduler's seed.
/// Outside a task, where there is no seed, that in which they are written.
#[must_use]
pub fn order<const BRANCHES: usize>() -> [usize; BRANCHES] {
    let mut order = array::from_fn(|branch| branch);
    if Ring::current().and_then(Ring::running).is_some() {
        // Fisher-Yates: every order is as likely as any other.
        for last in (1..BRANCHES).rev() {
            order.swap(last, (random() % (last as u64 + 1)) as usize);
        }
    }
    order
}

/// Polls a branch of a `select!`, if it lives; notes in `alive` that it goes on living. One that has
/// finished is dropped.
#[track_caller]
pub fn poll_branch<F: Future>(
    mut branch: Pin<&mut Option<F>>,
    cx: &mut Context<'_>,
    alive: &mut bool,
) -> Poll<F::Output> {
    let Some(future) = branch.as_mut().as_pin_mut() else { return Poll::Pending };
    let polled = future.poll(cx);
    match polled {
        Poll::Ready(_) => branch.set(None),
        Poll::Pending => *alive = true,
    }
    polled
}

/// Nothing is left that a `select!` could wait for.
///
/// # Panics
/// Always.
#[cold]
#[track_caller]
pub fn nothing_left() -> ! {
    panic!("no branch of a `select!` is left to wait for, and it has no `else`")
}

/// The value that a branch won with matched its pattern, and now does not.
///
/// # Panics
/// Always.
#[cold]
#[track_caller]
pub fn matched_before() -> ! {
    panic!("a pattern of a `select!` matches a value once and not again")
}
