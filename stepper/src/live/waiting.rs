//! Waiting for another process, on a thread where no loop of ours runs.

use std::thread;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(5);

/// Waits until something is so, or for so long. Whether it is so.
pub(crate) fn wait_for(most: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let mut waited = Duration::ZERO;
    while !is_so() {
        if waited >= most {
            return false;
        }
        pause();
        waited = waited.saturating_add(PAUSE);
    }
    true
}

#[allow(clippy::disallowed_methods, reason = "no loop of ours runs on this thread")]
pub(super) fn pause() {
    thread::sleep(PAUSE);
}
