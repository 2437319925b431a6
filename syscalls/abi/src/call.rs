//! What a task can ask, and what a kernel can answer. Both are `Copy` and 16 bytes at most; what
//! is bulky lies beside them, in the call's slot.

use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::panic::Location;
use std::time::Duration;

use crate::cancel::Cancelled;
use crate::id::{CallId, SourceId, TaskId};
use crate::task::NewTask;
use crate::time::Instant;
use crate::wait_queue::Want;

/// A system call: the request that a trap carries.
///
/// The set is closed, so that a kernel's table has no arm for "others"; what a user adds goes
/// through [`Syscall::Own`].
///
/// ```
/// use trapline_abi::Syscall;
/// use trapline_scheduler::{Scheduler, StepEvent};
///
/// let mut scheduler = Scheduler::new();
/// let cook = scheduler.spawn(async { "soup" });
/// let id = cook.id();
/// scheduler.spawn(cook).detach();
/// scheduler.step();
/// // The second task waits for the first.
/// let StepEvent::Trapped { request, .. } = scheduler.step().event() else { unreachable!() };
/// assert_eq!(request, Syscall::Join(id));
/// assert_eq!(request.to_string(), "join(task 1)");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
// One word for the tag, and one for whatever the variant carries: so the compiler moves the two in
// registers. With a byte for a tag, or a payload of another size, every copy reads in one piece
// what was just written in several, and waits for it: by sampling, nearly half of the time in the loop.
#[repr(u64)]
pub enum Syscall {
    /// Which task am I? Answered with [`Reply::Task`].
    GetTid,
    /// Let the others go first.
    Yield,
    /// Start the task that lies beside. Answered with [`Reply::Task`].
    Spawn,
    /// The same for a daemon: `run` may end while it lives.
    SpawnDaemon,
    /// Wait for a task to end. Answered with [`Reply::Exited`]; where there is more to
    /// say, the whole status lies beside.
    Wait(TaskId),
    /// Wait for a task to end, as the holder of its handle. Answered with [`Reply::Outcome`].
    Join(TaskId),
    /// End a task now.
    Kill(TaskId),
    /// Ask a task to end; why lies beside.
    Cancel(TaskId),
    /// What time is it? Answered with [`Reply::Time`].
    Now,
    /// Wait for so many nanoseconds. Answered with [`Reply::Time`].
    Sleep {
        /// How long, in nanoseconds.
        nanos: u64,
    },
    /// Wait for a deadline. Answered with [`Reply::Time`].
    SleepUntil(Instant),
    /// Wait until there is something to read.
    ReadWait(Target),
    /// Wait until there is room to write.
    WriteWait(Target),
    /// Wait for tokens of a wait queue. Answered with [`Reply::Token`]; by a `wake_all` with
    /// [`Reply::Done`].
    Park(Want),
    /// A call that the program defines; it lies beside.
    Own,
}

/// What an I/O wait is for, in one word: see [`Target::source`].
///
/// ```
/// use trapline_abi::{Syscall, Target};
///
/// let request = Syscall::ReadWait(Target::borrowed(3));
/// assert_eq!(request.to_string(), "read_wait(fd 3)");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// The generation of a source, or 0, which none has, for a borrowed descriptor; and below it
    /// the place of the source, or the number of the descriptor.
    word: u64,
}

impl Target {
    /// A source that the library owns: registered once, its readiness cached.
    ///
    /// ```
    /// use trapline_abi::{SourceId, Target};
    ///
    /// let source = SourceId { place: 7, generation: 1 };
    /// assert_eq!(Target::owned(source).to_string(), "source 7");
    /// ```
    #[must_use]
    pub const fn owned(source: SourceId) -> Target {
        Target { word: (source.generation as u64) << 32 | source.place as u64 }
    }

    /// Somebody else's descriptor: registered for as long as anyone waits.
    ///
    /// ```
    /// assert_eq!(trapline_abi::Target::borrowed(3).to_string(), "fd 3");
    /// ```
    #[must_use]
    pub const fn borrowed(fd: RawFd) -> Target {
        Target { word: fd.cast_unsigned() as u64 }
    }

    /// The source, or else the number of the borrowed descriptor.
    ///
    /// ```
    /// use trapline_abi::{SourceId, Target};
    ///
    /// let source = SourceId { place: 7, generation: 1 };
    /// assert_eq!(Target::owned(source).source(), Ok(source));
    /// assert_eq!(Target::borrowed(3).source(), Err(3));
    /// ```
    ///
    /// # Errors
    /// The number, if the descriptor is borrowed.
    pub const fn source(self) -> Result<SourceId, RawFd> {
        let place = self.word as u32;
        match (self.word >> 32) as u32 {
            0 => Err(place.cast_signed()),
            generation => Ok(SourceId { place, generation }),
        }
    }
}

/// The answer to a system call.
///
/// ```
/// use trapline_abi::{Reply, WaitQueue};
/// use trapline_scheduler::{Fate, Scheduler, StepEvent};
///
/// let mut scheduler = Scheduler::new();
/// scheduler.spawn(async { WaitQueue::new(1).park().await }).detach();
/// let StepEvent::Trapped { fate, .. } = scheduler.step().event() else { unreachable!() };
/// // A token was free.
/// assert_eq!(fate, Fate::Answer(Reply::Token));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Reply {
    /// It is done; there is nothing more to say.
    Done,
    /// Here are the tokens of the wait queue.
    Token,
    /// This task.
    Task(TaskId),
    /// This time.
    Time(Instant),
    /// The task ended so. Of one that panicked or was cancelled the whole status lies beside.
    Exited(Ended),
    /// The task ended; what it left lies in the ring under this key. It is now the handle's alone:
    /// the kernel keeps nothing of the task.
    Outcome(u64),
    /// The reply lies beside.
    Beside,
    /// The task had ended before.
    AlreadyEnded,
    /// The task had been cancelled before.
    AlreadyCancelled,
    /// No task ever had that id.
    NoSuchTask,
    /// There is no place for one more task.
    TooManyTasks,
    /// The operating system refused.
    Os(Errno),
    /// The source was closed, or its number went to a new owner.
    SourceClosed,
}

/// An error number of the operating system.
///
/// ```
/// use std::io;
/// use trapline_abi::{Errno, Reply};
///
/// let refused = io::Error::from_raw_os_error(13);
/// assert_eq!(Reply::Os(Errno::of(&refused)).to_string(), refused.to_string());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(u64);

impl Errno {
    /// `EBADF`: no such descriptor is open.
    pub const BADF: Errno = Errno(9);

    /// The number that `error` carries; `EBADF` where it carries none.
    ///
    /// ```
    /// use std::io;
    /// use trapline_abi::Errno;
    ///
    /// assert_eq!(Errno::of(&io::Error::from_raw_os_error(9)), Errno::BADF);
    /// assert_eq!(Errno::of(&io::Error::other("made up")), Errno::BADF);
    /// ```
    #[must_use]
    pub fn of(error: &io::Error) -> Errno {
        let raw = error.raw_os_error().and_then(|raw| u64::try_from(raw).ok());
        raw.map_or(Errno::BADF, Errno)
    }

    /// The error with this number.
    ///
    /// ```
    /// assert_eq!(trapline_abi::Errno::BADF.to_error().raw_os_error(), Some(9));
    /// ```
    #[must_use]
    pub fn to_error(self) -> io::Error {
        io::Error::from_raw_os_error(i32::try_from(self.0).unwrap_or(i32::MAX))
    }
}

/// How a task ended.
///
/// ```
/// use trapline_abi::Ended;
/// use trapline_scheduler::{Scheduler, StepEvent};
///
/// let mut scheduler = Scheduler::new();
/// scheduler.spawn(async {}).detach();
/// assert_eq!(scheduler.step().event(), StepEvent::Ended(Ended::Returned));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Ended {
    /// It returned.
    Returned,
    /// It panicked.
    Panicked,
    /// It was killed.
    Killed,
    /// It was cancelled.
    Cancelled,
    /// It ended; nobody kept its status.
    Forgotten,
}

/// A request without an answer, made without suspending.
pub enum Post {
    /// A waker of this task was called on the scheduler's own thread.
    Wake(TaskId),
    /// This call was answered by a wait queue; make its caller ready.
    Granted(CallId),
    /// The future of this call is gone; forget the wait.
    Withdraw(CallId),
    /// The descriptor of this source has been closed.
    CloseSource(SourceId),
    /// Start a task without a handle.
    Spawn(NewTask),
    /// End a task.
    Kill(TaskId),
    /// Ask a task to end.
    Cancel(TaskId, Cancelled),
    /// The handle of this task is gone, and has not been told of its exit.
    Detach(TaskId),
    /// The handle of this task is gone; it was told of the exit, and has not taken the outcome under
    /// this key.
    Discard(TaskId, u32),
    /// Something that whoever runs the program should know.
    Warn(&'static str, &'static Location<'static>),
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Post::Wake(task) => write!(f, "wake({task})"),
            Post::Granted(call) => write!(f, "granted(call {})", call.serial()),
            Post::Withdraw(call) => write!(f, "withdraw(call {})", call.serial()),
            Post::CloseSource(source) => write!(f, "close_source({})", source.place),
            Post::Spawn(_) => f.write_str("spawn"),
            Post::Kill(task) => write!(f, "kill({task})"),
            Post::Cancel(task, _) => write!(f, "cancel({task})"),
            Post::Detach(task) => write!(f, "detach({task})"),
            Post::Discard(task, _) => write!(f, "discard({task})"),
            Post::Warn(text, _) => write!(f, "warn({text})"),
        }
    }
}

impl fmt::Display for Syscall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Syscall::GetTid => f.write_str("get_tid()"),
            Syscall::Yield => f.write_str("yield_now()"),
            Syscall::Spawn => f.write_str("spawn()"),
            Syscall::SpawnDaemon => f.write_str("spawn(daemon)"),
            Syscall::Wait(task) => write!(f, "wait(task {task})"),
            Syscall::Join(task) => write!(f, "join(task {task})"),
            Syscall::Kill(task) => write!(f, "kill(task {task})"),
            Syscall::Cancel(task) => write!(f, "cancel(task {task})"),
            Syscall::Now => f.write_str("now()"),
            Syscall::Sleep { nanos } => write!(f, "sleep({:?})", Duration::from_nanos(*nanos)),
            Syscall::SleepUntil(deadline) => write!(f, "sleep_until({deadline})"),
            Syscall::ReadWait(target) => write!(f, "read_wait({target})"),
            Syscall::WriteWait(target) => write!(f, "write_wait({target})"),
            Syscall::Park(want) => write!(f, "park({want})"),
            Syscall::Own => f.write_str("own_call()"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source() {
            Ok(source) => write!(f, "source {}", source.place),
            Err(fd) => write!(f, "fd {fd}"),
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Done => f.write_str("done"),
            Reply::Token => f.write_str("a token"),
            Reply::Task(task) => write!(f, "task {task}"),
            Reply::Time(time) => write!(f, "{time}"),
            Reply::Exited(ended) => ended.fmt(f),
            Reply::Outcome(_) => f.write_str("its outcome"),
            Reply::Beside => f.write_str("a reply of its own"),
            Reply::AlreadyEnded => f.write_str("already ended"),
            Reply::AlreadyCancelled => f.write_str("already cancelled"),
            Reply::NoSuchTask => f.write_str("no such task"),
            Reply::TooManyTasks => f.write_str("too many tasks"),
            Reply::Os(errno) => errno.to_error().fmt(f),
            Reply::SourceClosed => f.write_str("closed"),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ended::Returned => "returned",
            Ended::Panicked => "panicked",
            Ended::Killed => "killed",
            Ended::Cancelled => "cancelled",
            Ended::Forgotten => "ended",
        })
    }
}

const _: () = assert!(size_of::<Syscall>() <= 16 && size_of::<Reply>() <= 16);
