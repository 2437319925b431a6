//! The loop: take the next task, resume it until it traps, serve the trap.
//!
//! This file is the whole story; what it calls are the few moves of the kernel.

use std::panic::Location;
use std::task::{Context, Poll};

use trapline_abi::{Ended, Ring};

use crate::kernel::{End, Kernel, Polled, Settling};
use crate::report::{RunError, RunReport};
use crate::step::Step;

/// A scheduler: tasks, and the loop that serves their system calls.
///
/// ```
/// use trapline_scheduler::Scheduler;
///
/// let mut scheduler = Scheduler::new();
/// scheduler.spawn(async { println!("a task") }).detach();
/// scheduler.run()?;
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
#[doc(alias("Runtime", "Kernel"))]
pub struct Scheduler {
    pub(crate) kernel: Kernel,
}

/// The loop.
impl Scheduler {
    /// Runs until no task is left but daemons.
    ///
    /// ```
    /// use trapline_scheduler::{RunError, Scheduler};
    ///
    /// let mut scheduler = Scheduler::new();
    /// scheduler.spawn(async { println!("a task") }).detach();
    /// assert_eq!(scheduler.run()?.failures, 0);
    ///
    /// scheduler.spawn(std::future::pending::<()>()).detach();
    /// assert!(matches!(scheduler.run(), Err(RunError::Deadlock(_))));
    /// # Ok::<(), RunError>(())
    /// ```
    ///
    /// # Errors
    /// [`RunError::Deadlock`] if nobody can ever run again; [`RunError::InsideTask`] if it is
    /// called by a task; see [`RunError`] for the others. The scheduler stays as it is, and may be
    /// run on.
    pub fn run(&mut self) -> Result<RunReport, RunError> {
        Scheduler::admit()?;
        let entered = self.kernel.ring.enter();
        loop {
            let step = self.turn(None);
            if step.is_last() {
                drop(entered);
                return self.outcome(step);
            }
        }
    }

    /// Takes one step: resumes one task once and serves what it asked, or looks at the outside.
    /// Blocks only where nothing is ready.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// scheduler.spawn(trapline_syscalls::yield_now()).detach();
    /// let mut steps = 0;
    /// while !scheduler.step().is_last() {
    ///     steps += 1;
    /// }
    /// // It trapped, and it ended.
    /// assert_eq!(steps, 2);
    /// ```
    ///
    /// # Panics
    /// If it is called by a task.
    #[inline]
    pub fn step(&mut self) -> Step {
        // `run` looks once and enters once, and need not at each step.
        assert!(Ring::at_work().is_none(), "a task cannot step a scheduler");
        let _entered = self.kernel.ring.enter();
        self.turn(None)
    }

    /// The same in a ring that has been entered.
    #[inline(always)]
    fn turn(&mut self, mut root: Option<&mut Root<'_>>) -> Step {
        let kernel = &mut self.kernel;
        let mut step = kernel.begin_step();
        let mut settling = Settling::Blocked;
        // phase: pick
        if let Some(picked) = kernel.pick() {
            let task = picked.task;
            step.task = Some(task);
            // phase: resume
            let polled = kernel.resume(picked, root.as_deref_mut());
            kernel.serve_posts();
            if polled == Polled::Ended {
                step.note_kind(kernel.end_resumed(task).into(), 0);
            }
            // phase: trap
            if polled == Polled::Pending
                && let Some(fate) = kernel.serve_foregone(task)
            {
                // A yield or a park alone, as most turns end: no need to look it up in the table,
                // and no handler that could post.
                settling = fate.settling();
                step.note(kernel.ring.trap_at_hand(), fate);
            } else {
                while let Some(trap) = kernel.ring.next_trap() {
                    // phase: serve
                    let fate = kernel.serve(task, trap);
                    settling = settling.max(fate.settling());
                    if step.note(kernel.ring.trap_at_hand(), fate) {
                        kernel.note_further(fate);
                    }
                }
                kernel.serve_posts();
            }
            // phase: settle
            if !kernel.settle(task, settling) {
                step.note_ended_by_order(Ended::Killed);
            }
        } else {
            // phase: outside
            let (kind, answered) = kernel.look_outside();
            step.note_kind(kind, answered);
        }
        if kernel.end_step(settling, root) {
            step.note_ended_by_order(Ended::Cancelled);
        }
        step
    }
}

/// What `block_on` is asked to do with its future.
pub(crate) enum Ask<'a, 'b> {
    /// Poll it, and keep its output.
    Poll(&'a mut Context<'b>),
    /// Drop it.
    Drop,
}

/// The future of `block_on`, which lies on its caller's stack and may borrow from there.
pub(crate) type Root<'r> = dyn FnMut(Ask<'_, '_>) -> Poll<()> + 'r;

impl Scheduler {
    /// Runs `future` as a task until it has ended, and the others meanwhile. Gives what it gave.
    ///
    /// The future may borrow: it stays where its caller put it. The other tasks stay for the next
    /// `run` or `block_on`.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let word = String::from("trap");
    /// assert_eq!(scheduler.block_on(async { word.len() })?, 4);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    ///
    /// # Errors
    /// [`RunError::Deadlock`] if nobody can ever run again; [`RunError::Killed`] and
    /// [`RunError::Cancelled`] if a task ended this one so; [`RunError::InsideTask`] if it is called by a task.
    ///
    /// # Panics
    /// With the panic of `future`.
    #[track_caller]
    pub fn block_on<F: Future>(&mut self, future: F) -> Result<F::Output, RunError> {
        self.block_on_root(future, Location::caller(), None::<fn(&mut Scheduler, Option<&Step>)>)
    }

    // Inlined, so that nobody between two steps costs nothing.
    #[inline(always)]
    pub(crate) fn run_root(
        &mut self,
        root: &mut Root<'_>,
        mut between: Option<impl FnMut(&mut Scheduler, &Step)>,
    ) -> Result<End, RunError> {
        let mut entered = self.kernel.ring.enter();
        loop {
            let step = self.turn(Some(root));
            if let Some(between) = &mut between {
                drop(entered);
                between(self, &step);
                entered = self.kernel.ring.enter();
            }
            // Looked at first: to take it writes, at each step.
            if self.kernel.root_end.is_some()
                && let Some(end) = self.kernel.root_end.take()
            {
                drop(entered);
                self.kernel.drop_root(root);
                return Ok(end);
            }
            if step.is_last() {
                drop(entered);
                let error = self.outcome(step).err().unwrap_or(RunError::Killed);
                self.kernel.abandon_root(root);
                return Err(error);
            }
        }
    }

    /// Refuses to run inside a task of any scheduler on this thread.
    pub(crate) fn admit() -> Result<(), RunError> {
        if Ring::at_work().is_some() { Err(RunError::InsideTask) } else { Ok(()) }
    }
}
