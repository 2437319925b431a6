//! Events: what a probe is told.

use std::fmt;
use std::os::fd::RawFd;
use std::panic::Location;
use std::time::Duration;

use trapline_abi::{
    CallId, Cancelled, ExitStatus, Holder, Instant, Note, Object, Reply, StackId, Syscall, TaskId,
};

use crate::deadlock::DeadlockReport;
use crate::kernel::Fate;

/// Something the kernel did. It displays as a line of a trace.
///
/// ```
/// use trapline_scheduler::{Event, Scheduler};
///
/// let probe = |event: &Event<'_>| println!("{event}");
/// let mut scheduler = Scheduler::builder().probe(probe).build();
/// scheduler.block_on(trapline_syscalls::yield_now())?;
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A task was born, and stands in the ready queue.
    Born {
        /// The new task.
        task: TaskId,
        /// Who spawned it, if a task did.
        parent: Option<TaskId>,
        /// Its name.
        name: Option<&'a str>,
        /// Whether `run` may end while it lives.
        daemon: bool,
        /// Where.
        site: &'static Location<'static>,
    },
    /// A blocked task was made ready, and stands at the back of the ready queue.
    Ready {
        /// The task.
        task: TaskId,
        /// By whom.
        by: Cause,
    },
    /// A task that runs was woken: once its dispatch is over, it is ready again.
    WokenRunning {
        /// The task.
        task: TaskId,
        /// By whom.
        by: Cause,
    },
    /// A task that stood in the ready queue was woken, which changes nothing.
    WokenReady {
        /// The task.
        task: TaskId,
        /// By whom.
        by: Cause,
    },
    /// A ready task was put at the head of the ready queue, by the program around the scheduler.
    PutFirst {
        /// The task.
        task: TaskId,
    },
    /// A task was taken from the head of the ready queue: its dispatch begins.
    Taken {
        /// The task.
        task: TaskId,
        /// When, on the driver's clock.
        at: Instant,
    },
    /// The dispatch of a task is over, and it lives on.
    Rested {
        /// The task.
        task: TaskId,
        /// Whether it stands at the back of the ready queue; else it is blocked.
        is_ready: bool,
    },
    /// A frame was entered that has not been before, with just these frames around it.
    Frame {
        /// Its number: one more than the last one's.
        stack: StackId,
        /// The line of the frame.
        site: &'static Location<'static>,
        /// The frames around it.
        around: StackId,
    },
    /// Another thread has woken a task for the first time.
    Thread {
        /// Its number: 1 for the first, and one more than the last one's.
        thread: u32,
        /// Its name.
        name: &'a str,
    },
    /// The library tells of what did not trap.
    Noted {
        /// What it tells.
        note: &'a Note,
    },
    /// A system call was served.
    Trapped {
        /// The task that made it.
        task: TaskId,
        /// The call.
        call: CallId,
        /// What was asked.
        request: Syscall,
        /// Where.
        site: &'static Location<'static>,
        /// The frames around it.
        stack: StackId,
        /// What a call of the program's own is called.
        label: Option<&'static str>,
        /// The thing that it is about: what it is parked on, or the library's source that it waits for.
        object: Option<&'a Object>,
        /// Who holds that, if it can be held, and somebody does. Only where the call blocks.
        holder: Option<Holder>,
        /// When its time comes, if it sleeps.
        deadline: Option<Instant>,
        /// What became of it.
        fate: Fate,
    },
    /// A blocked call was answered.
    Answered {
        /// The task that waits for it, if one does.
        task: Option<TaskId>,
        /// The call.
        call: CallId,
        /// The answer.
        reply: Reply,
        /// By whom.
        by: Cause,
    },
    /// A blocked call was dropped.
    Withdrawn {
        /// The task that waited for it, if one did.
        task: Option<TaskId>,
        /// The call.
        call: CallId,
        /// What it had asked.
        request: Syscall,
        /// Where.
        site: &'static Location<'static>,
    },
    /// A task was cancelled; it has yet to hear of it.
    Cancelled {
        /// The task.
        task: TaskId,
        /// By whom, from where, and why.
        why: &'a Cancelled,
    },
    /// A task ended.
    Ended {
        /// The task.
        task: TaskId,
        /// How.
        status: &'a ExitStatus,
    },
    /// The loop is about to look at the outside, and perhaps to sleep there: whoever ran before has run until
    /// now.
    LooksOutside {
        /// When, on the driver's clock.
        at: Instant,
    },
    /// The outside was looked at.
    Outside {
        /// How many calls were answered.
        answered: usize,
        /// When the look was over, on the driver's clock.
        at: Instant,
    },
    /// A failure that nobody can look at any more: a panic of a task without handle or waiters,
    /// or one in a destructor.
    Failed {
        /// The task.
        task: TaskId,
        /// The text of the panic.
        text: &'a str,
    },
    /// Nothing can run but by a waker that someone else holds, for a second now.
    Stalled {
        /// Who waits for what.
        report: &'a DeadlockReport,
    },
    /// Tasks wait for one another, at least one of them for a lock, and this call has closed the
    /// circle. A timeout, or a call that one of them waits for beside, may still break it; so may
    /// whoever was given a guard by the task that took it.
    LockCycle {
        /// The tasks of the cycle, each with the one call by which it waits for the next.
        report: &'a DeadlockReport,
    },
    /// A task kept the loop for longer than the builder's limit, in one resume.
    SlowStep {
        /// The task.
        task: TaskId,
        /// How long, on the driver's clock.
        took: Duration,
        /// Where it had stopped before: at this call, or else it was spawned here and had made none.
        from: &'static Location<'static>,
        /// Where it stopped then; `None` where it made no call: it ended, or waits for somebody's waker, or
        /// for a call made before.
        to: Option<&'static Location<'static>>,
    },
    /// A library's word to whoever runs the program.
    Warning {
        /// What it says.
        text: &'static str,
        /// Where.
        site: &'static Location<'static>,
    },
}

/// Who made a task ready.
///
/// ```
/// use std::cell::RefCell;
/// use std::rc::Rc;
/// use trapline_abi::WaitQueue;
/// use trapline_scheduler::{Cause, Event, Scheduler};
///
/// let causes = Rc::new(RefCell::new(Vec::new()));
/// let seen = Rc::clone(&causes);
/// let probe = move |event: &Event<'_>| {
///     if let Event::Ready { by, .. } = event {
///         seen.borrow_mut().push(*by);
///     }
/// };
/// let mut scheduler = Scheduler::builder().probe(probe).build();
/// let bell = Rc::new(WaitQueue::signal("bell"));
/// let heard = Rc::clone(&bell);
/// scheduler.spawn(async move { heard.park().await }).detach();
/// let guest = scheduler.spawn(async move { bell.wake() });
/// scheduler.run()?;
/// assert_eq!(*causes.borrow(), [Cause::Task(guest.id())]);
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// A task: by a wake, a kill, or a waker that it called.
    Task(TaskId),
    /// A task, by its exit.
    Exit(TaskId),
    /// The kernel: a deadline has come.
    Timer,
    /// A descriptor with this number became ready.
    Source(RawFd),
    /// Another thread, of this number: see [`Event::Thread`].
    Thread(u32),
    /// The outside, in a way that is none of these.
    Outside,
    /// The program around the scheduler.
    Program,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Task(task) => write!(f, "{task}"),
            Cause::Exit(task) => write!(f, "exit of {task}"),
            Cause::Timer => f.write_str("timer"),
            Cause::Source(fd) => write!(f, "fd {fd}"),
            Cause::Thread(thread) => write!(f, "thread {thread}"),
            Cause::Outside => f.write_str("outside"),
            Cause::Program => f.write_str("program"),
        }
    }
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Born { task, parent: Some(parent), .. } => write!(f, "{parent} spawns {task}"),
            Event::Born { task, parent: None, .. } => write!(f, "program spawns {task}"),
            Event::Ready { task, by } => write!(f, "{by} wakes {task}"),
            Event::WokenRunning { task, by } => write!(f, "{by} wakes {task}, which runs"),
            Event::WokenReady { task, by } => write!(f, "{by} wakes {task}, which is ready"),
            Event::PutFirst { task } => write!(f, "{task} is put first"),
            Event::Taken { task, .. } => write!(f, "{task} is taken"),
            Event::Rested { task, is_ready: true } => write!(f, "{task} goes to the back"),
            Event::Rested { task, is_ready: false } => write!(f, "{task} rests"),
            Event::Frame { stack, site, around } => {
                write!(f, "frame {} at {site} in {}", stack.number(), around.number())
            }
            Event::Thread { thread, name } => write!(f, "thread {thread} is {name}"),
            Event::Noted { note } => show_note(f, note),
            Event::Trapped { task, request, fate, .. } => write!(f, "{task} {request} {fate}"),
            Event::Answered { task: Some(task), reply, .. } => write!(f, "{task} gets {reply}"),
            Event::Answered { task: None, reply, .. } => write!(f, "someone gets {reply}"),
            Event::Withdrawn { task: Some(task), request, .. } => {
                write!(f, "{task} withdraws {request}")
            }
            Event::Withdrawn { task: None, request, .. } => {
                write!(f, "someone withdraws {request}")
            }
            Event::Cancelled { task, why } => write!(f, "{task} is {why}"),
            Event::Ended { task, status } => write!(f, "{task} ends: {status}"),
            Event::LooksOutside { .. } => f.write_str("a look at the outside"),
            Event::Outside { answered, .. } => write!(f, "outside: {answered}"),
            Event::Failed { task, text } => write!(f, "{task} failed, unseen: {text}"),
            Event::Stalled { report } => write!(f, "stalled: {report}"),
            Event::LockCycle { report } => write!(f, "lock cycle: {report}"),
            Event::SlowStep { task, took, from, to } => {
                write!(f, "{task} kept the loop for {took:.1?}, from {from}")?;
                to.map_or(Ok(()), |to| write!(f, " to {to}"))
            }
            Event::Warning { text, site } => write!(f, "warning: {text} at {site}"),
        }
    }
}

/// A note as a line. Calls go without their serials, which differ from run to run of one program.
fn show_note(f: &mut fmt::Formatter<'_>, note: &Note) -> fmt::Result {
    match note {
        Note::Set { object, field, value } => {
            write!(f, "{} {}: {field} is {value:?}", object.kind, object.id)
        }
        Note::Done { object, operation, result, .. } => {
            write!(f, "{} {}: {operation} gives {result:?}", object.kind, object.id)
        }
        Note::Bytes { object, bytes } => write!(f, "thing {object}: {} bytes", bytes.len()),
        Note::Gone { object } => write!(f, "thing {object} is gone"),
        Note::Booked { task: Some(task), .. } => write!(f, "{task} takes a call over"),
        Note::Booked { task: None, .. } => f.write_str("nobody has a call any more"),
        other => write!(f, "{other:?}"),
    }
}

/// Told of everything the kernel does, as it does it.
///
/// It cannot reach the scheduler. If it panics it is removed, and the run goes on and says so in
/// its report.
///
/// ```
/// use trapline_scheduler::{Event, Probe, Scheduler};
///
/// struct Print;
///
/// impl Probe for Print {
///     fn event(&mut self, event: &Event<'_>) {
///         println!("{event}");
///     }
/// }
///
/// let mut scheduler = Scheduler::builder().probe(Print).build();
/// scheduler.block_on(trapline_syscalls::yield_now())?;
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
pub trait Probe {
    /// Something happened.
    fn event(&mut self, event: &Event<'_>);
}

impl<F: FnMut(&Event<'_>)> Probe for F {
    fn event(&mut self, event: &Event<'_>) {
        self(event);
    }
}
