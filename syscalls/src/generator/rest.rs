//! Giving way to other tasks, for what is driven inside one and need not trap by itself.

use std::panic::Location;
use std::task::{Context, Poll, ready};

use trapline_abi::{Ring, Syscall, Trap};

use crate::frame::site_or;

/// Yields before something is done with a quantum that is spent, and counts what was done without
/// a trap.
#[derive(Debug)]
pub(crate) struct Rest {
    site: &'static Location<'static>,
    trap: Option<Trap>,
    /// It has trapped since something was last done.
    rested: bool,
}

impl Rest {
    pub(crate) fn new(site: &'static Location<'static>) -> Rest {
        Rest { site, trap: None, rested: false }
    }

    /// Gives way if the quantum is spent.
    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(trap) = &mut self.trap {
            let _done = ready!(trap.poll_reply(cx));
            self.trap = None;
            self.rested = true;
        }
        let spent = Ring::current().is_some_and(|ring| ring.running().is_some() && ring.is_spent());
        if !spent || self.rested {
            return Poll::Ready(());
        }
        let trap = Trap::new(Syscall::Yield, site_or(self.site));
        let _pending = self.trap.insert(trap).poll_reply(cx);
        Poll::Pending
    }

    /// The block has trapped, and so given way.
    #[inline]
    pub(crate) fn trapped(&mut self) {
        self.rested = true;
    }

    /// Something was done.
    #[inline]
    pub(crate) fn count(&mut self) {
        if !std::mem::take(&mut self.rested)
            && let Some(ring) = Ring::current()
            && ring.running().is_some()
        {
            ring.spend();
        }
    }
}
