//! The scheduler's other methods: spawn from outside, look at it, drop it.

use std::fmt;
use std::panic::Location;

use trapline_abi::{Handle, JoinHandle, Submitted, TaskId, TaskOptions};

use crate::builder::Builder;
use crate::deadlock::DeadlockReport;
use crate::kernel::{Fate, Kernel};
use crate::scheduler::Scheduler;
use crate::snapshot::Snapshot;
use crate::step::{Shown, Step};

impl Scheduler {
    /// A scheduler on the operating system, with the default quantum.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// assert_eq!(scheduler.block_on(async { 6 * 7 })?, 42);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    ///
    /// # Cost
    /// No system call until it must wait.
    #[must_use]
    pub fn new() -> Scheduler {
        Builder::new().build()
    }

    /// A scheduler made to order.
    ///
    /// ```
    /// use trapline_scheduler::Scheduler;
    ///
    /// let scheduler = Scheduler::builder().quantum(1).seed(7).build();
    /// # drop(scheduler);
    /// ```
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn of(kernel: Kernel) -> Scheduler {
        Scheduler { kernel }
    }

    /// Starts a task. It stands at the back of the ready queue.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let handle = scheduler.spawn(async { 6 * 7 });
    /// assert_eq!(scheduler.block_on(handle)??, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// At 2^24 live tasks.
    #[track_caller]
    pub fn spawn<F>(&mut self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: 'static> + 'static,
    {
        self.spawn_with(TaskOptions::new(), future)
    }

    /// Starts a task with a name, or a daemon.
    ///
    /// ```
    /// use trapline_abi::TaskOptions;
    /// use trapline_scheduler::Scheduler;
    ///
    /// let mut scheduler = Scheduler::new();
    /// let cook = scheduler.spawn_with(TaskOptions::new().name("cook"), async { "soup" });
    /// assert_eq!(scheduler.block_on(cook)?.unwrap(), "soup");
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    ///
    /// # Panics
    /// At 2^24 live tasks.
    #[track_caller]
    pub fn spawn_with<F>(&mut self, mut options: TaskOptions, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: 'static> + 'static,
    {
        let site = Location::caller();
        let daemon = options.is_daemon();
        let spawned = self.kernel.spawn(Some(options.body(future)), (daemon, true), None, site);
        let Ok(task) = spawned else { panic!("there is no place for one more task") };
        JoinHandle::new(task, self.kernel.ring.ring())
    }

    /// This scheduler, as other threads see it: for starting tasks in it from there.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use trapline_scheduler::Scheduler;
    ///
    /// let mut scheduler = Scheduler::new();
    /// let handle = scheduler.handle();
    /// // The closure goes to the scheduler's thread; its future need not be `Send`.
    /// let start = || async { Rc::new(6 * 7).to_string() };
    /// let task = std::thread::spawn(move || handle.spawn(start)).join().unwrap();
    /// let report = scheduler.run()?;
    /// assert_eq!(task.join().unwrap(), "42");
    /// # drop(report);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(self.kernel.ring.ring().door())
    }

    /// The task table, copied out.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// scheduler.spawn(async {}).detach();
    /// assert_eq!(scheduler.snapshot().tasks.len(), 1);
    /// println!("{}", scheduler.snapshot());
    /// ```
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.kernel.snapshot()
    }

    /// Every blocked task and what it waits for, as a deadlock is reported.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// scheduler.spawn(std::future::pending::<()>()).detach();
    /// scheduler.step();
    /// assert_eq!(scheduler.blocked().blocked.len(), 1);
    /// ```
    #[must_use]
    pub fn blocked(&self) -> DeadlockReport {
        self.kernel.deadlock_report()
    }

    /// `step` as a sentence, with names and source lines. Of the latest step it tells every call
    /// and everyone woken; of earlier ones the first call.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// scheduler.spawn(trapline_syscalls::yield_now()).detach();
    /// let step = scheduler.step();
    /// assert!(scheduler.show(&step).to_string().contains("yield"));
    /// ```
    #[must_use]
    pub fn show(&self, step: &Step) -> Shown<'_> {
        Shown { scheduler: self, step: *step }
    }

    /// Whom the latest step woke, in order.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let target = scheduler.spawn(trapline_syscalls::yield_now());
    /// let waiter = scheduler.spawn(trapline_syscalls::wait(target.id()));
    /// while scheduler.woken().is_empty() {
    ///     assert!(!scheduler.step().is_last());
    /// }
    /// // The target has ended.
    /// assert_eq!(scheduler.woken(), [waiter.id()]);
    /// ```
    #[must_use]
    pub fn woken(&self) -> &[TaskId] {
        &self.kernel.woken
    }

    /// The ready queue, first to last. A task whose dispatch is not over goes on before them.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let tasks = [scheduler.spawn(async {}), scheduler.spawn(async {})];
    /// assert_eq!(scheduler.ready(), tasks.map(|task| task.id()));
    /// ```
    #[must_use]
    pub fn ready(&self) -> Vec<TaskId> {
        let Kernel { ready, tasks, .. } = &self.kernel;
        ready.ids(tasks).collect()
    }

    /// Whether the next step does not wait: a task goes on or is ready.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// assert!(!scheduler.has_ready());
    /// scheduler.spawn(async {}).detach();
    /// assert!(scheduler.has_ready());
    /// ```
    #[must_use]
    #[inline]
    pub fn has_ready(&self) -> bool {
        self.kernel.current.is_some() || !self.kernel.ready.is_empty()
    }

    /// How many tasks live, daemons too.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// scheduler.spawn(async {}).detach();
    /// assert_eq!(scheduler.task_count(), 1);
    /// drop(scheduler.run()?);
    /// assert_eq!(scheduler.task_count(), 0);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    #[must_use]
    pub fn task_count(&self) -> usize {
        self.kernel.population
    }

    /// Checks the named invariants of `ARCHITECTURE.md`, as debug builds do after every step.
    ///
    /// # Panics
    /// If one does not hold.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        self.kernel.check();
    }

    /// What the tables hold: tasks, calls in flight and open scopes, timers, sources of the driver, sources of the
    /// library, outcomes. For tests of what is left behind.
    #[doc(hidden)]
    #[must_use]
    pub fn table_sizes(&self) -> [usize; 6] {
        let kernel = &self.kernel;
        let ring = &kernel.ring;
        [
            kernel.tasks.len(),
            ring.calls_in_flight() + ring.scopes_open(),
            kernel.timers.len(),
            kernel.sources.len(),
            ring.source_count(),
            ring.outcomes_kept(),
        ]
    }

    pub(crate) fn name_of(&self, task: TaskId) -> Option<&str> {
        let task = self.kernel.tasks.get(task)?;
        task.body.as_ref()?.name()
    }

    pub(crate) fn further_calls(&self, step: &Step) -> &[(u32, Submitted, Fate)] {
        let first = self.kernel.further.iter().position(|(number, ..)| *number == step.number);
        if step.number == self.kernel.latest_step() {
            first.map_or(&[], |at| &self.kernel.further[at..])
        } else {
            &[]
        }
    }

    pub(crate) fn woken_in(&self, step: &Step) -> &[TaskId] {
        if step.number == self.kernel.latest_step() { &self.kernel.woken } else { &[] }
    }
}

impl Default for Scheduler {
    fn default() -> Scheduler {
        Scheduler::new()
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler")
            .field("tasks", &self.kernel.population)
            .field("ready", &self.kernel.ready.len())
            .field("timers", &self.kernel.timers.len())
            .field("driver", &self.kernel.driver)
            .finish_non_exhaustive()
    }
}

/// Drops every task: destructors run, and may post. Spawns they post are dropped unrun, and what
/// those post in their turn is forgotten.
impl Drop for Scheduler {
    fn drop(&mut self) {
        let kernel = &mut self.kernel;
        let _entered = kernel.ring.enter();
        for letter in kernel.inbox.close() {
            kernel.guard(None, move || drop(letter));
        }
        let probe = kernel.probe.take();
        kernel.guard(None, move || drop(probe));
        kernel.drop_tasks();
        for outcome in kernel.ring.take_outcomes() {
            kernel.guard(None, move || drop(outcome));
        }
        for (_, state) in std::mem::take(&mut kernel.own_state) {
            kernel.guard(None, move || drop(state));
        }
        kernel.drop_posts();
        while let Some(post) = kernel.ring.next_post() {
            std::mem::forget(post);
        }
    }
}
