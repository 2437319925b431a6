//! The time, as the viewer goes by it.

use std::time::Instant;

#[expect(
    clippy::disallowed_methods,
    reason = "no loop of ours runs here, and what is painted when decides nothing"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}
