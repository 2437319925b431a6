//! Where all wait queues of this family are made.

use trapline_abi::WaitQueue;

/// A wait queue whose waiters the task table shows as waiting for `what`.
pub(crate) const fn queue(what: &'static str, tokens: usize) -> WaitQueue {
    WaitQueue::labelled(what, tokens)
}
