//! The root of `block_on`: a task whose future lies on the stack of its caller.

use std::panic::{Location, resume_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::kernel::{End, Kernel};
use crate::report::RunError;
use crate::scheduler::{Ask, Root, Scheduler};
use crate::step::Step;

impl Scheduler {
    /// As [`block_on`](Scheduler::block_on), and calls `between` after each step: for whoever wants to look on,
    /// or to give orders, while it runs. To take steps is not its part.
    ///
    /// ```
    /// let mut steps = 0;
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// scheduler.block_on_with(trapline_syscalls::yield_now(), |_, _| steps += 1)?;
    /// // It trapped, and it ended.
    /// assert_eq!(steps, 2);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    ///
    /// # Errors
    /// As `block_on`.
    ///
    /// # Panics
    /// With the panic of `future`; and if `between` takes a step that resumes the future.
    #[track_caller]
    pub fn block_on_with<F: Future>(
        &mut self,
        future: F,
        between: impl FnMut(&mut Scheduler, &Step),
    ) -> Result<F::Output, RunError> {
        Scheduler::admit()?;
        let mut future = pin!(Some(future));
        let mut output = None;
        let mut root = |ask: Ask<'_, '_>| match (ask, future.as_mut().as_pin_mut()) {
            (Ask::Poll(cx), Some(future)) => future.poll(cx).map(|value| output = Some(value)),
            (Ask::Poll(_), None) => Poll::Ready(()),
            (Ask::Drop, _) => {
                future.set(None);
                Poll::Ready(())
            }
        };
        let end = self.run_root(&mut root, Location::caller(), between);
        match (end?, output) {
            (End::Panicked(payload), _) => resume_unwind(payload),
            (End::Returned, Some(value)) => Ok(value),
            (End::Cancelled(why), _) => Err(RunError::Cancelled(why)),
            _ => Err(RunError::Killed),
        }
    }
}

impl Kernel {
    pub(crate) fn spawn_root(&mut self, site: &'static Location<'static>) -> Result<(), RunError> {
        (self.root_end, self.root_doom) = (None, None);
        let root = self.spawn(None, (false, false), None, site);
        self.root = Some(root.map_err(|_| RunError::TooManyTasks)?);
        Ok(())
    }

    /// The root has ended: drops what is left of its future.
    pub(crate) fn drop_root(&mut self, root: &mut Root<'_>) {
        let id = self.root.take();
        let _entered = self.ring.enter();
        self.guard(id, || {
            let _ = root(Ask::Drop);
        });
        self.serve_posts();
        self.root_doom = None;
    }

    /// Gives the root up, where it can no longer end by itself.
    pub(crate) fn abandon_root(&mut self, root: &mut Root<'_>) {
        let _entered = self.ring.enter();
        self.bury_root(Some(root));
        self.root = None;
        (self.root_end, self.root_doom) = (None, None);
    }
}
