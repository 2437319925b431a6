//! What a step did, as a value.

use std::fmt;
use std::panic::Location;

use trapline_abi::{Ended, On, Submitted, Syscall, TaskId};

use crate::kernel::Fate;
use crate::scheduler::Scheduler;

/// What one step of the loop did: `Copy`, and it prints with ids alone. `scheduler.show(&step)`
/// adds names and source lines.
///
/// ```
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// let task = scheduler.spawn(async {});
/// let step = scheduler.step();
/// assert_eq!((step.task(), step.calls()), (Some(task.id()), 0));
/// assert!(scheduler.step().is_last());
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub(crate) task: Option<TaskId>,
    // The first call. Flat, and written word by word where the step is to be returned.
    request: Syscall,
    site: Option<&'static Location<'static>>,
    fate: Fate,
    /// The step's number, modulo 2^32.
    pub(crate) number: u32,
    /// System calls served; in a look at the outside, calls answered.
    calls: u16,
    kind: Kind,
}

/// What a step did, but for its call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Waits,
    Trapped,
    Returned,
    Panicked,
    Killed,
    Cancelled,
    Outside,
    DriverFailed,
    Deadlock,
    Stalled,
    Finished,
}

impl From<Ended> for Kind {
    fn from(ended: Ended) -> Kind {
        match ended {
            Ended::Returned => Kind::Returned,
            Ended::Panicked => Kind::Panicked,
            Ended::Killed | Ended::Forgotten => Kind::Killed,
            Ended::Cancelled => Kind::Cancelled,
        }
    }
}

/// The chief thing that a step did.
///
/// ```
/// use trapline_scheduler::{Scheduler, StepEvent};
///
/// let mut scheduler = Scheduler::new();
/// scheduler.spawn(trapline_syscalls::yield_now()).detach();
/// assert!(matches!(scheduler.step().event(), StepEvent::Trapped { .. }));
/// assert!(matches!(scheduler.step().event(), StepEvent::Ended(_)));
/// assert_eq!(scheduler.step().event(), StepEvent::Finished);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StepEvent {
    /// The task made a system call; the first one, where it made several.
    Trapped {
        /// What it asked.
        request: Syscall,
        /// Where.
        site: &'static Location<'static>,
        /// What became of it.
        fate: Fate,
    },
    /// The task waits without a new call: for a call made before, or a future of others.
    Waits,
    /// The task ended.
    Ended(Ended),
    /// The outside was looked at, and so many calls answered (65,535 stand for more).
    Outside {
        /// How many.
        answered: u32,
    },
    /// The driver failed; `run` says how.
    DriverFailed,
    /// Nobody can ever run again; `run` says who waits for what.
    Deadlock,
    /// Nothing can run but by a waker held elsewhere, for longer than the builder allows.
    Stalled,
    /// No task is left but daemons.
    Finished,
}

const _: () = assert!(size_of::<Step>() <= 64);

impl Step {
    #[inline]
    pub(crate) fn new(number: u32) -> Step {
        Step {
            task: None,
            request: Syscall::Yield,
            site: None,
            fate: Fate::Gone,
            number,
            calls: 0,
            kind: Kind::Waits,
        }
    }

    /// Notes what the step did beside calls.
    #[inline]
    pub(crate) fn note_kind(&mut self, kind: Kind, answered: usize) {
        self.kind = kind;
        self.calls = answered.min(usize::from(u16::MAX)) as u16;
    }

    /// The task is gone: where nothing else tells of it, an order of its own ended it.
    #[inline]
    pub(crate) fn note_ended_by_order(&mut self, ended: Ended) {
        if self.kind == Kind::Waits {
            self.kind = ended.into();
        }
    }

    /// Notes a call that was served; says whether it is not the first.
    #[inline(always)]
    pub(crate) fn note(&mut self, trap: Submitted, fate: Fate) -> bool {
        self.calls = self.calls.saturating_add(1);
        if self.kind != Kind::Waits {
            return self.kind == Kind::Trapped;
        }
        self.kind = Kind::Trapped;
        self.request = trap.request;
        self.site = Some(trap.site);
        self.fate = fate;
        false
    }

    /// The task that was resumed, if one was.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.spawn(async {});
    /// assert_eq!(scheduler.step().task(), Some(task.id()));
    /// ```
    #[must_use]
    pub fn task(&self) -> Option<TaskId> {
        self.task
    }

    /// What it did.
    ///
    /// ```
    /// use trapline_scheduler::{Scheduler, StepEvent};
    ///
    /// let mut scheduler = Scheduler::new();
    /// assert_eq!(scheduler.step().event(), StepEvent::Finished);
    /// ```
    #[must_use]
    pub fn event(&self) -> StepEvent {
        match (self.kind, self.site) {
            (Kind::Trapped, Some(site)) => {
                StepEvent::Trapped { request: self.request, site, fate: self.fate }
            }
            (Kind::Waits | Kind::Trapped, _) => StepEvent::Waits,
            (Kind::Returned, _) => StepEvent::Ended(Ended::Returned),
            (Kind::Panicked, _) => StepEvent::Ended(Ended::Panicked),
            (Kind::Killed, _) => StepEvent::Ended(Ended::Killed),
            (Kind::Cancelled, _) => StepEvent::Ended(Ended::Cancelled),
            (Kind::Outside, _) => StepEvent::Outside { answered: u32::from(self.calls) },
            (Kind::DriverFailed, _) => StepEvent::DriverFailed,
            (Kind::Deadlock, _) => StepEvent::Deadlock,
            (Kind::Stalled, _) => StepEvent::Stalled,
            (Kind::Finished, _) => StepEvent::Finished,
        }
    }

    /// How many system calls were served.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// scheduler.spawn(trapline_syscalls::yield_now()).detach();
    /// assert_eq!(scheduler.step().calls(), 1);
    /// assert_eq!(scheduler.step().calls(), 0, "it returned");
    /// ```
    #[must_use]
    pub fn calls(&self) -> usize {
        if self.kind == Kind::Outside { 0 } else { usize::from(self.calls) }
    }

    /// Whether there is no more to do: finished, deadlocked, or failed.
    ///
    /// ```
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// scheduler.spawn(trapline_syscalls::yield_now()).detach();
    /// while !scheduler.step().is_last() {}
    /// assert_eq!(scheduler.task_count(), 0);
    /// ```
    #[must_use]
    #[inline]
    pub fn is_last(&self) -> bool {
        // A step that resumed somebody is never the last: said first, it spares `run` the rest.
        self.task.is_none()
            && matches!(
                self.kind,
                Kind::Finished | Kind::Deadlock | Kind::Stalled | Kind::DriverFailed
            )
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Step({self})")
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(task) = self.task {
            write!(f, "{task} ")?;
        }
        match self.event() {
            StepEvent::Trapped { request, fate, .. } => write!(f, "{request} {fate}"),
            StepEvent::Waits => f.write_str("waits"),
            StepEvent::Ended(ended) => ended.fmt(f),
            StepEvent::Outside { answered } => write!(f, "outside: {answered} answered"),
            StepEvent::DriverFailed => f.write_str("the driver failed"),
            StepEvent::Deadlock => f.write_str("deadlock"),
            StepEvent::Stalled => f.write_str("stalled"),
            StepEvent::Finished => f.write_str("finished"),
        }
    }
}

/// A step as a sentence. See [`Scheduler::show`].
///
/// ```
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// scheduler.spawn(trapline_syscalls::yield_now()).detach();
/// let step = scheduler.step();
/// // With names and source lines.
/// println!("{}", scheduler.show(&step));
/// ```
#[derive(Debug)]
pub struct Shown<'a> {
    pub(crate) scheduler: &'a Scheduler,
    pub(crate) step: Step,
}

impl Shown<'_> {
    fn name(&self, f: &mut fmt::Formatter<'_>, task: TaskId) -> fmt::Result {
        match self.scheduler.name_of(task) {
            Some(name) => write!(f, "task {task} `{name}`"),
            None => write!(f, "task {task}"),
        }
    }

    fn call(
        &self,
        f: &mut fmt::Formatter<'_>,
        request: Syscall,
        site: &Location<'_>,
        fate: Fate,
    ) -> fmt::Result {
        self.request(f, request)?;
        write!(f, " at {}:{}: ", site.file(), site.line())?;
        match fate {
            Fate::Answer(reply) => write!(f, "answered, {reply}"),
            Fate::Yield(reply) => write!(f, "answered, {reply}; to the back of the queue"),
            Fate::Block(on) => write!(f, "blocked until {}", Until(on)),
            Fate::Gone => f.write_str("it does not come back"),
        }
    }
}

impl Shown<'_> {
    /// What was asked; of one that parks on a thing of some kind, the thing.
    fn request(&self, f: &mut fmt::Formatter<'_>, request: Syscall) -> fmt::Result {
        if let Syscall::Park(want) = request
            && let Some(queue) = self.scheduler.kernel.ring.queue_info(want.queue())
            && let Some(kind) = queue.kind
        {
            write!(f, "for {kind}")?;
            return queue.name.map_or(Ok(()), |name| write!(f, " `{name}`"));
        }
        write!(f, "{request}")
    }
}

struct Until(On);

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            On::Timer(_) => f.write_str("its time has come"),
            On::Exit(task) => write!(f, "task {task} has ended"),
            On::Readable(_) => f.write_str("there is something to read"),
            On::Writable(_) => f.write_str("there is room to write"),
            On::Queue(_) => f.write_str("someone wakes it"),
            On::Own => f.write_str("someone answers it"),
        }
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = &self.step;
        if let Some(task) = step.task {
            self.name(f, task)?;
            f.write_str(" ")?;
        }
        match step.event() {
            StepEvent::Trapped { request, site, fate } => {
                f.write_str("ran and asked ")?;
                self.call(f, request, site, fate)?;
                for (_, trap, fate) in self.scheduler.further_calls(step) {
                    f.write_str("; and ")?;
                    self.call(f, trap.request, trap.site, *fate)?;
                }
            }
            StepEvent::Waits => f.write_str("ran and waits on")?,
            StepEvent::Ended(ended) => write!(f, "ran and {ended}")?,
            StepEvent::Outside { answered: 0 } => {
                f.write_str("the loop looked at the outside: nothing new")?;
            }
            StepEvent::Outside { answered: 1 } => {
                f.write_str("the loop looked at the outside: one call answered")?;
            }
            StepEvent::Outside { answered } => {
                write!(f, "the loop looked at the outside: {answered} calls answered")?;
            }
            StepEvent::DriverFailed => f.write_str("the driver failed")?,
            StepEvent::Deadlock => f.write_str("nobody can ever run again")?,
            StepEvent::Stalled => f.write_str("nobody has been able to run for too long")?,
            StepEvent::Finished => f.write_str("no task is left")?,
        }
        let woken = self.scheduler.woken_in(step);
        for (index, task) in woken.iter().enumerate() {
            f.write_str(if index == 0 { "; this woke " } else { ", " })?;
            self.name(f, *task)?;
        }
        Ok(())
    }
}
