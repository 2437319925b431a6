//! What whoever looks on from outside may do between two steps: look at the clock, end a task, put one first,
//! exchange the probe.

use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use trapline_abi::{CancelReason, Cancelled, Instant, Reply, TaskId};

use crate::driver::Unpark;
use crate::kernel::{Found, Kernel};
use crate::probe::{Cause, Event, Probe};
use crate::report::{RunError, RunReport};
use crate::scheduler::Scheduler;
use crate::step::{Kind, Step};

impl Scheduler {
    /// Puts a ready task at the head of the ready queue, so that it is the next to be taken. Says whether it
    /// stood in it.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let [first, second] = [scheduler.spawn(async {}), scheduler.spawn(async {})];
    /// assert!(scheduler.put_first(second.id()));
    /// assert_eq!(scheduler.ready(), [second.id(), first.id()]);
    /// ```
    ///
    /// # Cost
    /// O(ready tasks).
    pub fn put_first(&mut self, task: TaskId) -> bool {
        let kernel = &mut self.kernel;
        let Kernel { ready, tasks, .. } = kernel;
        let stood = ready.put_first(tasks, task);
        if stood && kernel.probe.is_some() {
            kernel.tell(&Event::PutFirst { task });
        }
        stood
    }

    /// Ends a task now, from outside: its destructors run, and its waiters are told. False if it had ended.
    /// (The future of `block_on` ends in the next step.)
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.spawn(std::future::pending::<()>());
    /// assert!(scheduler.kill(task.id()));
    /// assert!(!scheduler.kill(task.id()));
    /// drop(scheduler.run()?);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    ///
    /// # Kin
    /// `kill`, for tasks.
    pub fn kill(&mut self, task: TaskId) -> bool {
        self.order(|kernel| {
            let lives = matches!(kernel.find(task), Found::Live);
            if lives {
                kernel.kill(task);
            }
            lives
        })
    }

    /// Asks a task to end, from outside: as `cancel` does, for tasks. False if it had ended, or been cancelled
    /// before.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.spawn(std::future::pending::<()>());
    /// scheduler.step();
    /// assert!(scheduler.cancel(task.id(), "enough"));
    /// drop(scheduler.run()?);
    /// assert!(scheduler.block_on(task)?.unwrap_err().cancelled().is_some());
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    #[track_caller]
    pub fn cancel(&mut self, task: TaskId, reason: impl Into<CancelReason>) -> bool {
        let why = Cancelled::new(reason.into(), Location::caller());
        self.order(|kernel| kernel.cancel(task, why) == Reply::Done)
    }

    /// Carries out an order of the program around the scheduler.
    fn order<T>(&mut self, order: impl FnOnce(&mut Kernel) -> T) -> T {
        let kernel = &mut self.kernel;
        let _entered = kernel.ring.enter();
        kernel.cause = Cause::Program;
        kernel.serve_posts();
        let done = order(kernel);
        kernel.serve_posts();
        if kernel.probe.is_some() {
            kernel.tell_notes();
        }
        done
    }

    /// The time on the driver's clock.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// assert_eq!(scheduler.now().as_nanos(), 0);
    /// ```
    #[must_use]
    pub fn now(&mut self) -> Instant {
        self.kernel.driver.now()
    }

    /// The program was held for so long between two steps: sets the driver's clock back, so that sleeps and
    /// time-outs go on where they were.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let before = scheduler.now();
    /// scheduler.stood_still(Duration::from_secs(3600));
    /// assert!(scheduler.now() <= before);
    /// ```
    pub fn stood_still(&mut self, held: Duration) {
        self.kernel.driver.stood_still(held);
    }

    /// What ends a wait of the driver, from any thread: the scheduler then takes a step, if only to see that
    /// there is nothing to do.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let interrupter = scheduler.interrupter();
    /// std::thread::spawn(move || interrupter.unpark()).join().unwrap();
    /// ```
    #[must_use]
    pub fn interrupter(&self) -> Arc<dyn Unpark> {
        self.kernel.driver.unparker()
    }

    /// Gives the scheduler another probe, or none; gives back the one it had.
    ///
    /// ```
    /// use trapline_scheduler::{Event, Scheduler};
    ///
    /// let mut scheduler = Scheduler::new();
    /// let probe = |event: &Event<'_>| println!("{event}");
    /// assert!(scheduler.set_probe(Some(Box::new(probe))).is_none());
    /// assert!(scheduler.set_probe(None).is_some());
    /// ```
    pub fn set_probe(&mut self, probe: Option<Box<dyn Probe>>) -> Option<Box<dyn Probe>> {
        // A new one hears of every frame and thread anew.
        self.kernel.listen(false);
        self.kernel.threads.clear();
        self.kernel.listen(probe.is_some());
        std::mem::replace(&mut self.kernel.probe, probe)
    }

    /// A probe panicked that another one hands on to: the next report tells of it.
    #[doc(hidden)]
    pub fn note_probe_panic(&mut self, text: Rc<str>) {
        self.kernel.probe_panic.get_or_insert(text);
    }

    /// Has the probe told of the first so many bytes of what is read and written.
    #[doc(hidden)]
    pub fn set_payload(&mut self, bytes: usize) {
        self.kernel.ring.listen_payload(bytes);
    }

    /// The seed, the quantum and the batch bound that the builder was given.
    #[doc(hidden)]
    #[must_use]
    pub fn settings(&self) -> (u64, u32, u32) {
        (self.kernel.seed, self.kernel.quantum, self.kernel.batch)
    }

    /// What [`run`](Scheduler::run) gives where `last` is the step that ended it: for loops that step by
    /// themselves.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// scheduler.spawn(async {}).detach();
    /// let last = loop {
    ///     let step = scheduler.step();
    ///     if step.is_last() {
    ///         break step;
    ///     }
    /// };
    /// assert_eq!(scheduler.outcome(last)?.failures, 0);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    ///
    /// # Errors
    /// As `run`'s.
    pub fn outcome(&mut self, last: Step) -> Result<RunReport, RunError> {
        self.outcome_of(last.kind())
    }

    // By its kind alone: the rest of its steps a run does not look at, and need not keep.
    #[inline(never)]
    pub(crate) fn outcome_of(&mut self, last: Kind) -> Result<RunReport, RunError> {
        let kernel = &mut self.kernel;
        match last {
            Kind::Deadlock => Err(RunError::Deadlock(kernel.deadlock_report())),
            Kind::Stalled => Err(RunError::Stalled(kernel.deadlock_report())),
            Kind::DriverFailed => Err(RunError::Driver(kernel.take_driver_error())),
            _ => Ok(kernel.take_report()),
        }
    }
}
