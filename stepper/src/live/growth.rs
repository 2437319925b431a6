//! Whether a recording grows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tells whether the program that is recorded goes on.
#[derive(Clone, Debug)]
pub(crate) struct Growth(pub(super) Arc<AtomicBool>);

impl Growth {
    /// Of a file that is what it is.
    pub(crate) fn none() -> Growth {
        Growth(Arc::new(AtomicBool::new(false)))
    }

    pub(crate) fn goes_on(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
