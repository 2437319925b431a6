//! Where all wait queues of this family are made.

use std::panic::Location;

use trapline_abi::WaitQueue;

/// A queue whose waiters the task table shows as waiting for `what`, of a thing that was made at `site`.
pub(crate) fn queue(
    what: &'static str,
    tokens: usize,
    site: &'static Location<'static>,
) -> WaitQueue {
    WaitQueue::part(what, tokens).made_at(site)
}
