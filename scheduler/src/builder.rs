//! How a scheduler is made.

use std::fmt;
use std::time::Duration;

use crate::driver::{Driver, OsDriver, SimulatedDriver};
use crate::kernel::Kernel;
use crate::probe::Probe;
use crate::scheduler::Scheduler;
use crate::slow::Stopwatch;
use crate::task::Sequence;

/// The quantum unless the builder says otherwise.
///
/// Counted with callgrind, in instructions a step, for 1,000 tasks that call `get_tid` without end:
/// 469 at 1, 407 at 4, 391 at 16, 389 at 32, 387 at 128. From 16 on there is nothing to gain, and 32
/// steps keep the others waiting for about a microsecond.
const QUANTUM: u32 = 32;

/// The batch bound unless the builder says otherwise.
///
/// Counted likewise, for a task that yields without end beside one that waits for a descriptor and a
/// timer: 480 at 16, 456 at 64, 450 at 256, 449 at 1,024. Each look also asks the operating system,
/// which callgrind does not count.
const BATCH: u32 = 256;

/// How many closures of a scheduler run on threads at the same time, unless the builder says otherwise.
///
/// Not measured: they mostly wait, for a disk or a name server, and each costs a stack. curio allows 64.
const THREADS: usize = 64;

/// Makes a [`Scheduler`].
///
/// ```
/// use trapline_scheduler::Scheduler;
/// use trapline_scheduler::driver::SimulatedDriver;
///
/// let scheduler = Scheduler::builder().quantum(1).driver(SimulatedDriver::new()).seed(7).build();
/// # drop(scheduler);
/// ```
#[must_use]
pub struct Builder {
    quantum: u32,
    batch: u32,
    driver: Option<Box<dyn Driver>>,
    seed: u64,
    probe: Option<Box<dyn Probe>>,
    stall_limit: Option<Duration>,
    threads: usize,
    slow_step: Option<Duration>,
    warns_of_slow_steps: bool,
    last_sequence: u64,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("quantum", &self.quantum)
            .field("batch", &self.batch)
            .field("driver", &self.driver)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new() -> Builder {
        Builder {
            quantum: QUANTUM,
            batch: BATCH,
            driver: None,
            seed: 0,
            probe: None,
            stall_limit: None,
            threads: THREADS,
            slow_step: None,
            warns_of_slow_steps: false,
            last_sequence: 0,
        }
    }

    /// How many steps a task whose calls are answered at once may take before it goes to the back
    /// of the ready queue. 1 is the course's scheduler: every trap is a scheduling point. Zero
    /// counts as 1. Default 32.
    ///
    /// ```
    /// use trapline_scheduler::Scheduler;
    ///
    /// // The course's scheduler.
    /// let scheduler = Scheduler::builder().quantum(1).build();
    /// # drop(scheduler);
    /// ```
    pub fn quantum(mut self, steps: u32) -> Builder {
        self.quantum = steps.max(1);
        self
    }

    /// How many dispatches there may be between two looks at the outside. Zero counts as 1.
    /// Default 256.
    ///
    /// ```
    /// use trapline_scheduler::{Scheduler, StepEvent};
    ///
    /// // The outside is looked at after every dispatch.
    /// let mut scheduler = Scheduler::builder().quantum(1).batch(1).build();
    /// scheduler.spawn(async { for _turn in 0..9 { trapline_syscalls::yield_now().await } }).detach();
    /// let steps: Vec<_> = std::iter::repeat_with(|| scheduler.step()).take(8).collect();
    /// let looks = steps.iter().filter(|step| matches!(step.event(), StepEvent::Outside { .. }));
    /// assert_eq!(looks.count(), 4);
    /// ```
    pub fn batch(mut self, dispatches: u32) -> Builder {
        self.batch = dispatches.max(1);
        self
    }

    /// What the outside is. Default [`OsDriver`].
    ///
    /// ```
    /// use trapline_scheduler::Scheduler;
    /// use trapline_scheduler::driver::SimulatedDriver;
    ///
    /// let mut scheduler = Scheduler::builder().driver(SimulatedDriver::new()).build();
    /// let start = scheduler.block_on(trapline_syscalls::now())?;
    /// assert_eq!(start.as_nanos(), 0, "the virtual clock has not moved");
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    pub fn driver(mut self, driver: impl Driver + 'static) -> Builder {
        self.driver = Some(Box::new(driver));
        self
    }

    /// A virtual clock that jumps to the next deadline when nothing can run: the same as
    /// `driver(SimulatedDriver::new())`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use trapline_scheduler::Scheduler;
    ///
    /// let mut scheduler = Scheduler::builder().virtual_clock().build();
    /// // An hour passes at once.
    /// scheduler.block_on(trapline_syscalls::sleep(Duration::from_secs(3600)))?;
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    pub fn virtual_clock(self) -> Builder {
        self.driver(SimulatedDriver::new())
    }

    /// Where random numbers start: the same seed, the same numbers. Default 0.
    ///
    /// ```
    /// use trapline_scheduler::Scheduler;
    ///
    /// let roll = |seed| {
    ///     let mut scheduler = Scheduler::builder().seed(seed).build();
    ///     scheduler.block_on(async { trapline_abi::random() })
    /// };
    /// assert_eq!(roll(7)?, roll(7)?);
    /// assert_ne!(roll(7)?, roll(8)?);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    pub fn seed(mut self, seed: u64) -> Builder {
        self.seed = seed;
        self
    }

    /// Who is told of everything the kernel does. A closure over `&Event` will do.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    /// use trapline_scheduler::{Event, Scheduler};
    ///
    /// let events = Rc::new(Cell::new(0));
    /// let count = Rc::clone(&events);
    /// let probe = move |_event: &Event<'_>| count.set(count.get() + 1);
    /// let mut scheduler = Scheduler::builder().probe(probe).build();
    /// scheduler.block_on(trapline_syscalls::yield_now())?;
    /// assert!(events.get() > 0);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    pub fn probe(mut self, probe: impl Probe + 'static) -> Builder {
        self.probe = Some(Box::new(probe));
        self
    }

    /// Makes `run` return [`RunError::Stalled`](crate::RunError::Stalled) where nothing could run
    /// but by a waker held elsewhere for so long, in whole seconds of real time, at least one.
    /// Without it the scheduler sleeps on.
    ///
    /// ```
    /// use std::time::Duration;
    /// use trapline_scheduler::Scheduler;
    ///
    /// // A wake-up that never comes ends the run after five seconds.
    /// let mut scheduler = Scheduler::builder().stall_limit(Duration::from_secs(5)).build();
    /// assert_eq!(scheduler.block_on(async { "nothing to wait for" })?, "nothing to wait for");
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    pub fn stall_limit(mut self, limit: Duration) -> Builder {
        self.stall_limit = Some(limit);
        self
    }

    pub(crate) fn the_seed(&self) -> u64 {
        self.seed
    }

    /// How many closures handed to `unblock` may run on threads at the same time. Further ones wait their
    /// turn, first come, first served. Zero counts as 1. Default 64.
    ///
    /// ```
    /// use trapline_scheduler::Scheduler;
    /// use trapline_syscalls::unblock;
    ///
    /// // The second closure begins when the first has ended.
    /// let mut scheduler = Scheduler::builder().thread_limit(1).build();
    /// let other = scheduler.spawn(unblock(|| 40));
    /// let sum = scheduler.block_on(async { unblock(|| 2).await + other.await.unwrap() })?;
    /// assert_eq!(sum, 42);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    pub fn thread_limit(mut self, closures: usize) -> Builder {
        self.threads = closures.max(1);
        self
    }

    /// Has the probe told of each step in which a task kept the loop for longer than `limit`, as
    /// [`Event::SlowStep`](crate::Event::SlowStep): how long, and between which lines. Without it nothing is
    /// measured.
    ///
    /// What is measured is the poll of the task, on the driver's clock: a virtual one, which stands still
    /// while anything runs, shows none.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    /// use std::time::Duration;
    /// use trapline_scheduler::{Event, Scheduler};
    ///
    /// let slowest = Rc::new(Cell::new(Duration::ZERO));
    /// let seen = Rc::clone(&slowest);
    /// let probe = move |event: &Event<'_>| {
    ///     if let Event::SlowStep { took, .. } = event {
    ///         seen.set(seen.get().max(*took));
    ///     }
    /// };
    /// let limit = Duration::from_millis(1);
    /// let mut scheduler = Scheduler::builder().slow_step(limit).probe(probe).build();
    /// // It stops the whole loop.
    /// scheduler.block_on(async { std::thread::sleep(Duration::from_millis(2)) })?;
    /// assert!(slowest.get() >= limit);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    ///
    /// # Cost
    /// Two looks at the clock a step.
    pub fn slow_step(mut self, limit: Duration) -> Builder {
        self.slow_step = Some(limit);
        self
    }

    /// Writes a line to standard error for each such step, whether or not there is a probe. Nothing without
    /// [`slow_step`](Builder::slow_step).
    ///
    /// ```
    /// use std::time::Duration;
    /// use trapline_scheduler::Scheduler;
    ///
    /// let limit = Duration::from_millis(100);
    /// let mut scheduler = Scheduler::builder().slow_step(limit).warn_of_slow_steps().build();
    /// // In time, so there is nothing to read.
    /// scheduler.block_on(trapline_syscalls::yield_now())?;
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    pub fn warn_of_slow_steps(mut self) -> Builder {
        self.warns_of_slow_steps = true;
        self
    }

    /// Lets the sequence of task ids go on after `sequence`. For tests of its end.
    #[doc(hidden)]
    pub fn last_sequence(mut self, sequence: u64) -> Builder {
        self.last_sequence = sequence;
        self
    }

    /// Makes the scheduler. It asks the operating system for nothing until it must.
    ///
    /// ```
    /// use trapline_scheduler::Builder;
    ///
    /// let mut scheduler = Builder::default().quantum(1).build();
    /// assert_eq!(scheduler.block_on(async { 6 * 7 })?, 42);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    #[must_use]
    pub fn build(self) -> Scheduler {
        let driver = self.driver.unwrap_or_else(|| Box::new(OsDriver::new()));
        let mut kernel = Kernel::new(driver, self.seed);
        kernel.quantum = self.quantum;
        kernel.batch = self.batch;
        kernel.ring.set_thread_limit(self.threads);
        let warns = self.warns_of_slow_steps;
        kernel.stopwatch = self.slow_step.map(|limit| Box::new(Stopwatch::new(limit, warns)));
        kernel.listen(self.probe.is_some());
        kernel.probe = self.probe;
        kernel.sequence = Sequence::after(self.last_sequence);
        kernel.stall_limit =
            self.stall_limit.map(|limit| u32::try_from(limit.as_secs()).unwrap_or(u32::MAX).max(1));
        Scheduler::of(kernel)
    }
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}
