//! What a trace is made of, as values. How each is written in bytes is the format's business.
//!
//! Tasks are named by their sequence (1, 2, 3, …), calls by their serial, objects and threads by their
//! numbers. Instants are nanoseconds on the driver's clock.

/// A string of the trace: the n-th that was defined since the last [`Record::Reset`], from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Str(pub u32);

/// A place in the source: the n-th that was defined since the last [`Record::Reset`], from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SiteRef(pub u32);

/// The frames around a call, innermost first: 0 for none, else the n-th that was defined since the last
/// [`Record::Reset`], from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct StackRef(pub u32);

/// One entry of a trace.
#[derive(Clone, PartialEq, Debug)]
pub enum Record {
    /// All that was defined is forgotten, and so is the state: what follows, up to the next
    /// [`StepEnd`], rebuilds it. A trace begins with it, and each gap ends with it.
    Reset {
        /// How many steps have been taken.
        step: u64,
        /// The driver's clock.
        at_nanos: u64,
        /// How many steps before this are not in the trace; 0 at the beginning.
        missed_steps: u64,
    },
    /// Defines the next [`Str`].
    DefineString(String),
    /// Defines the next [`SiteRef`].
    DefineSite {
        /// The file, as the compiler names it.
        file: Str,
        /// The line, from 1.
        line: u32,
        /// The column, from 1.
        column: u32,
    },
    /// Defines the next [`StackRef`].
    DefineStack {
        /// The line of the frame.
        site: SiteRef,
        /// The frames around it.
        around: StackRef,
    },
    /// A change of the state.
    Move(Move),
    /// A word beside.
    Remark(Remark),
    /// A step is over.
    StepEnd(StepEnd),
}

impl Record {
    /// Whether something is to be freed when it is dropped: not so of what is written all the time.
    #[inline(always)]
    pub(crate) fn owns_memory(&self) -> bool {
        match self {
            Record::DefineString(_) => true,
            Record::Move(
                Move::CallBegun { argument: value, .. }
                | Move::CallAnswered { reply: value, .. }
                | Move::FieldSet { value, .. },
            )
            | Record::Remark(Remark::Done { result: value, .. }) => {
                matches!(value, Value::Payload(_))
            }
            Record::Remark(Remark::Cycle { .. } | Remark::Source { .. }) => true,
            _ => false,
        }
    }
}

/// What a step came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StepEnd {
    /// A task was resumed once, and what it asked was served.
    Ran,
    /// The outside was looked at.
    Outside,
    /// No task is left but daemons.
    Finished,
    /// Nobody can ever run again.
    Deadlock,
    /// Nobody has been able to run for too long.
    Stalled,
    /// The driver failed.
    DriverFailed,
}

/// A change of the state. The mirror obeys these and nothing else.
#[derive(Clone, PartialEq, Debug)]
pub enum Move {
    /// A task was born. What is born ready stands at the back of the ready queue; in what follows a
    /// [`Record::Reset`] tasks are born as they are.
    TaskBorn {
        /// The task.
        task: u64,
        /// Who spawned it, if a task did.
        parent: Option<u64>,
        /// Its name.
        name: Option<Str>,
        /// Where it was spawned.
        site: SiteRef,
        /// Whether `run` may end while it lives.
        daemon: bool,
        /// What it is doing.
        state: TaskState,
        /// How often it has been taken to run.
        dispatches: u64,
    },
    /// A task ended, and is nowhere any more.
    TaskEnded {
        /// The task.
        task: u64,
        /// How.
        how: Ended,
    },
    /// A blocked task was made ready, at the back of the ready queue.
    Ready {
        /// The task.
        task: u64,
        /// By whom.
        by: Cause,
    },
    /// A ready task was put at the head of the ready queue.
    PutFirst {
        /// The task.
        task: u64,
    },
    /// The head of the ready queue was taken to run.
    Taken {
        /// The task.
        task: u64,
        /// When.
        at_nanos: u64,
    },
    /// The running task has come to rest.
    Rested {
        /// The task.
        task: u64,
        /// Whether it stands at the back of the ready queue; else it is blocked.
        is_ready: bool,
    },
    /// A task asked for something.
    CallBegun {
        /// The call.
        call: u64,
        /// Whose it is; 0: nobody's that lives.
        task: u64,
        /// What is asked, in a word: `sleep`, `park`, ….
        what: Str,
        /// With what argument; only shown.
        argument: Value,
        /// The line that asks.
        site: SiteRef,
        /// The frames around it.
        stack: StackRef,
    },
    /// A call has to wait.
    CallBlocked {
        /// The call.
        call: u64,
        /// For what.
        on: On,
    },
    /// A call was answered, whether or not it had to wait, and is no longer waited for.
    CallAnswered {
        /// The call.
        call: u64,
        /// By whom; of a call that was answered at once, its own task.
        by: Cause,
        /// With what; only shown.
        reply: Value,
    },
    /// A call was dropped before it was answered.
    CallWithdrawn {
        /// The call.
        call: u64,
    },
    /// A pending call is another task's now; `None`: nobody's that is known.
    CallBooked {
        /// The call.
        call: u64,
        /// Whose it is.
        task: Option<u64>,
    },
    /// A thing was told of for the first time.
    ObjectBorn {
        /// Its number.
        object: u64,
        /// What sort of thing it is.
        kind: Str,
        /// The name it was given.
        name: Option<Str>,
        /// Where it was made.
        site: Option<SiteRef>,
    },
    /// A thing is gone.
    ObjectEnded {
        /// Its number.
        object: u64,
    },
    /// A field of a thing has a new value.
    FieldSet {
        /// The thing's number.
        object: u64,
        /// The field.
        field: Str,
        /// What it holds now.
        value: Value,
    },
    /// The outside was looked at. Where a step has two of these, the first, with nothing answered, says when the
    /// look began.
    Outside {
        /// How many calls were answered.
        answered: u64,
        /// When the look was over.
        at_nanos: u64,
    },
}

/// What a task is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaskState {
    /// It stands in the ready queue.
    Ready,
    /// It runs, or goes on at the next step.
    Running,
    /// It waits.
    Blocked,
}

/// What a call waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum On {
    /// A deadline.
    Deadline {
        /// When.
        at_nanos: u64,
    },
    /// The exit of a task.
    Exit {
        /// The task.
        task: u64,
    },
    /// Something of a thing.
    Object {
        /// Its number.
        object: u64,
        /// What of it: `token`, `read`, `write`, ….
        role: Str,
    },
    /// A descriptor that is not the library's.
    Descriptor {
        /// Its number.
        fd: i32,
        /// `read` or `write`.
        role: Str,
    },
    /// Whoever answers a call that the program defines.
    Somebody,
}

/// Who made something happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// A task, in the step in which this stands.
    Task(u64),
    /// The exit of a task.
    Exit(u64),
    /// The kernel: a deadline has come.
    Timer,
    /// A descriptor became ready.
    Source(i32),
    /// Another thread, of this name.
    Thread(Str),
    /// The outside, in a way that is none of these.
    Outside,
    /// The program around the scheduler.
    Program,
    /// An order of whoever looks at the program.
    Order,
}

/// How a task ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// It returned.
    Returned,
    /// It panicked.
    Panicked,
    /// It was killed.
    Killed,
    /// It was cancelled.
    Cancelled,
}

/// An argument, a reply, or what a field holds.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Nothing to be said.
    Nothing,
    /// A number.
    Count(u64),
    /// So many bytes.
    Bytes(u64),
    /// A length of time.
    Nanos(u64),
    /// An instant on the driver's clock.
    Time(u64),
    /// A task.
    Task(u64),
    /// A thing.
    Object(u64),
    /// A descriptor.
    Descriptor(i32),
    /// Who holds a thing, and since which line.
    Held {
        /// The task, if it is known.
        task: Option<u64>,
        /// Where it was taken.
        since: SiteRef,
    },
    /// A word or a sentence.
    Text(Str),
    /// An error of the operating system.
    Os(i32),
    /// The first bytes of what was moved.
    Payload(Vec<u8>),
}

/// Which thing a remark is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum About {
    /// The run as a whole.
    Run,
    /// A task.
    Task(u64),
    /// A call.
    Call(u64),
    /// A thing.
    Object(u64),
}

/// A word beside the moves. A reader that does not know a kind skips it by its length.
#[derive(Clone, PartialEq, Debug)]
pub enum Remark {
    /// An operation ended: without a trap, or after it had waited.
    Done {
        /// The task that did it; `None`: the program around the scheduler.
        task: Option<u64>,
        /// On which thing.
        object: u64,
        /// What was done: `read`, `lock`, ….
        operation: Str,
        /// How much, or the error.
        result: Value,
        /// The line that asked.
        site: SiteRef,
        /// The frames around it.
        stack: StackRef,
    },
    /// A task was woken that ran, or (redundant) stood in the ready queue already.
    Woken {
        /// The task.
        task: u64,
        /// By whom.
        by: Cause,
        /// Whether it changed nothing.
        redundant: bool,
    },
    /// A sentence: a warning, the text of a panic, why a task was cancelled, an order.
    Said {
        /// What it is about.
        about: About,
        /// Which sort of sentence: `warning`, `panic`, `cancelled`, `slow`, `stalled`, `order`, ….
        topic: Str,
        /// The sentence.
        text: Str,
    },
    /// Tasks wait for one another in a circle, which this step has closed.
    Cycle {
        /// Each waits for the next, and the last for the first.
        tasks: Vec<u64>,
    },
    /// The program has written so much to its standard output and error.
    Output {
        /// The length of the file they go to, in bytes.
        length: u64,
    },
    /// The text of a source file of the program's.
    Source {
        /// The file, as sites name it.
        file: Str,
        /// Its text.
        text: String,
        /// Whether it is newer than the program.
        is_newer: bool,
    },
    /// Something about the run: the program's name, its arguments, the seed, ….
    Property {
        /// Which.
        key: Str,
        /// What it is.
        value: Str,
    },
}
