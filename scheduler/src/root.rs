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
        mut between: impl FnMut(&mut Scheduler, &Step),
    ) -> Result<F::Output, RunError> {
        let after = |scheduler: &mut Scheduler, step: Option<&Step>| {
            if let Some(step) = step {
                between(scheduler, step);
            }
        };
        self.block_on_root(future, Location::caller(), Some(after))
    }

    /// As [`block_on_with`](Scheduler::block_on_with), and calls `around` also before the first step, without one:
    /// `future` is a task by then, and stands in the ready queue.
    ///
    /// ```
    /// let mut ready_before = None;
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// scheduler.block_on_around(trapline_syscalls::yield_now(), |scheduler, step| {
    ///     if step.is_none() {
    ///         ready_before = Some(scheduler.ready().len());
    ///     }
    /// })?;
    /// assert_eq!(ready_before, Some(1));
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    ///
    /// # Errors
    /// As `block_on`.
    ///
    /// # Panics
    /// With the panic of `future`; and if `around` takes a step that resumes the future.
    #[track_caller]
    pub fn block_on_around<F: Future>(
        &mut self,
        future: F,
        around: impl FnMut(&mut Scheduler, Option<&Step>),
    ) -> Result<F::Output, RunError> {
        self.block_on_root(future, Location::caller(), Some(around))
    }

    /// The same, made at `site`; or with nobody between two steps.
    #[inline(always)]
    pub(crate) fn block_on_root<F: Future>(
        &mut self,
        future: F,
        site: &'static Location<'static>,
        mut around: Option<impl FnMut(&mut Scheduler, Option<&Step>)>,
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
        self.kernel.spawn_root(site)?;
        if let Some(around) = &mut around {
            around(self, None);
        }
        let between = around.map(|mut around| {
            move |scheduler: &mut Scheduler, step: &Step| around(scheduler, Some(step))
        });
        let end = self.run_root(&mut root, between);
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
