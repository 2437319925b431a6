//! The mirror: the state of the scheduler, rebuilt from a trace by one reducer.

mod apply;
mod table;
mod tables;
mod text;

pub use tables::{Site, Tables};

use self::table::{Keyed, Table};
use crate::record::{Cause, On, SiteRef, StackRef, Str, TaskState, Value};

/// The state of a scheduler, as a trace tells it.
///
/// It obeys [moves](crate::Move) and definitions; remarks change nothing. Every reference is checked: what
/// contradicts the state is an error, never a panic. A clone shares what neither changes.
///
/// ```
/// use trapline_trace::{Mirror, Record, StepEnd};
///
/// let mut mirror = Mirror::new();
/// mirror.apply(&Record::Reset { step: 0, at_nanos: 0, missed_steps: 0 })?;
/// mirror.apply(&Record::StepEnd(StepEnd::Finished))?;
/// assert_eq!(mirror.text(), "step 1\nrunning -\nready -\n");
/// # Ok::<(), trapline_trace::MirrorError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Mirror {
    step: u64,
    clock_nanos: u64,
    running: Option<u64>,
    is_in_step: bool,
    /// Whether no step has ended since the last reset: then tasks are born as they are.
    is_born: bool,
    ready: Table<InReady>,
    tasks: Table<TaskMirror>,
    calls: Table<CallMirror>,
    objects: Table<ObjectMirror>,
    tables: Tables,
    /// How many calls have been blocked: the order in which they wait.
    blocks: u64,
    /// What fields and arguments take beside their entries.
    beside: usize,
}

/// A task that lives.
#[derive(Clone, PartialEq, Debug)]
pub struct TaskMirror {
    /// Its sequence.
    pub id: u64,
    /// Who spawned it, if a task did.
    pub parent: Option<u64>,
    /// Its name.
    pub name: Option<Str>,
    /// Where it was spawned.
    pub site: SiteRef,
    /// Whether `run` may end while it lives.
    pub daemon: bool,
    /// What it is doing.
    pub state: TaskState,
    /// How often it has been taken to run.
    pub dispatches: u64,
    /// The step in which it came into its state.
    pub since_step: u64,
    /// The clock then, as it was read last.
    pub since_nanos: u64,
    /// Who made it ready the last time, and in which step.
    pub woken_by: Option<(Cause, u64)>,
    /// Its place in the ready queue.
    ticket: u64,
}

/// A call in flight.
#[derive(Clone, PartialEq, Debug)]
pub struct CallMirror {
    /// Its serial.
    pub id: u64,
    /// Whose it is, if that is known.
    pub task: Option<u64>,
    /// What is asked.
    pub what: Str,
    /// With what argument.
    pub argument: Value,
    /// The line that asks.
    pub site: SiteRef,
    /// The frames around it.
    pub stack: StackRef,
    /// What it waits for, once it has to.
    pub on: Option<On>,
    /// The step in which it was begun.
    pub since_step: u64,
    /// The clock then, as it was read last.
    pub since_nanos: u64,
    /// Its place among all that wait.
    order: u64,
}

/// A thing that tasks share.
#[derive(Clone, PartialEq, Debug)]
pub struct ObjectMirror {
    /// Its number.
    pub id: u64,
    /// What sort of thing it is.
    pub kind: Str,
    /// The name it was given.
    pub name: Option<Str>,
    /// Where it was made.
    pub site: Option<SiteRef>,
    /// Its fields, in the order in which they were first set.
    pub fields: Vec<(Str, Value)>,
}

/// A task in the ready queue.
#[derive(Clone, Debug)]
struct InReady {
    ticket: u64,
    task: u64,
}

impl Mirror {
    /// An empty state.
    #[must_use]
    pub fn new() -> Mirror {
        Mirror {
            step: 0,
            clock_nanos: 0,
            running: None,
            is_in_step: false,
            is_born: true,
            ready: Table::new(),
            tasks: Table::new(),
            calls: Table::new(),
            objects: Table::new(),
            tables: Tables::default(),
            blocks: 0,
            beside: 0,
        }
    }

    /// How many steps are over.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The driver's clock, as it was read last.
    #[must_use]
    pub fn clock_nanos(&self) -> u64 {
        self.clock_nanos
    }

    /// Whether a step has begun and not ended, as far as the trace has been told.
    #[must_use]
    pub fn is_in_step(&self) -> bool {
        self.is_in_step
    }

    /// The task that runs, or goes on at the next step.
    #[must_use]
    pub fn running(&self) -> Option<u64> {
        self.running
    }

    /// The ready queue, head first.
    pub fn ready(&self) -> impl Iterator<Item = u64> {
        self.ready.iter().map(|entry| entry.task)
    }

    /// How long the ready queue is.
    #[must_use]
    pub fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// The tasks that live, by their ids.
    pub fn tasks(&self) -> impl Iterator<Item = &TaskMirror> {
        self.tasks.iter()
    }

    /// A task that lives.
    #[must_use]
    pub fn task(&self, id: u64) -> Option<&TaskMirror> {
        self.tasks.get(id)
    }

    /// The calls in flight, by their serials.
    pub fn calls(&self) -> impl Iterator<Item = &CallMirror> {
        self.calls.iter()
    }

    /// A call in flight.
    #[must_use]
    pub fn call(&self, id: u64) -> Option<&CallMirror> {
        self.calls.get(id)
    }

    /// The calls of a task, by their serials. It looks at all calls in flight.
    pub fn calls_of(&self, task: u64) -> impl Iterator<Item = &CallMirror> {
        self.calls.iter().filter(move |call| call.task == Some(task))
    }

    /// The things that have been told of and are not gone, by their numbers.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectMirror> {
        self.objects.iter()
    }

    /// A thing.
    #[must_use]
    pub fn object(&self, id: u64) -> Option<&ObjectMirror> {
        self.objects.get(id)
    }

    /// The calls that wait for something of a thing, in the order in which they came. It looks at all calls in
    /// flight.
    #[must_use]
    pub fn waiting(&self, object: u64) -> Vec<&CallMirror> {
        let waits =
            |on: Option<On>| matches!(on, Some(On::Object { object: o, .. }) if o == object);
        let mut waiting: Vec<_> = self.calls.iter().filter(|call| waits(call.on)).collect();
        waiting.sort_by_key(|call| call.order);
        waiting
    }

    /// What a field of a thing holds.
    #[must_use]
    pub fn field(&self, object: u64, field: &str) -> Option<&Value> {
        self.objects.get(object)?.field(field, &self.tables)
    }

    /// The strings, sites and stacks.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// About how many bytes it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of::<Mirror>()
            + self.ready.heap_size()
            + self.tasks.heap_size()
            + self.calls.heap_size()
            + self.objects.heap_size()
            + self.tables.heap_size()
            + self.beside
    }
}

impl Default for Mirror {
    fn default() -> Mirror {
        Mirror::new()
    }
}

impl CallMirror {
    /// Its place among all that wait: who has waited longer has the lower one.
    #[must_use]
    pub fn order(&self) -> u64 {
        self.order
    }
}

impl ObjectMirror {
    /// What one of its fields holds.
    #[must_use]
    pub fn field(&self, field: &str, tables: &Tables) -> Option<&Value> {
        self.fields.iter().find(|(name, _)| tables.str(*name) == field).map(|(_, value)| value)
    }
}

/// A record that contradicts the ones before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("in step {step}: {kind}")]
pub struct MirrorError {
    /// The step to which the record belongs.
    pub step: u64,
    /// What is wrong.
    pub kind: MirrorErrorKind,
}

/// How a record can contradict the ones before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MirrorErrorKind {
    /// A string was not defined.
    #[error("string {0} was not defined")]
    NoString(u32),
    /// A place in the source was not defined.
    #[error("site {0} was not defined")]
    NoSite(u32),
    /// A stack of frames was not defined.
    #[error("stack {0} was not defined")]
    NoStack(u32),
    /// Strings are more than can be counted.
    #[error("the strings take more than 4 GiB")]
    TooMuchText,
    /// A task is not there.
    #[error("no task {0} lives")]
    NoTask(u64),
    /// A call is not there.
    #[error("no call {0} is in flight")]
    NoCall(u64),
    /// A thing is not there.
    #[error("there is no object {0}")]
    NoObject(u64),
    /// A task is born twice.
    #[error("task {0} is born twice")]
    TaskTwice(u64),
    /// A call is begun twice.
    #[error("call {0} is begun twice")]
    CallTwice(u64),
    /// A thing is born twice.
    #[error("object {0} is born twice")]
    ObjectTwice(u64),
    /// A task is born in the midst of its life.
    #[error("task {0} is not ready at its birth")]
    BornLate(u64),
    /// What a task does is not what the move needs.
    #[error("task {0} is not {1}")]
    TaskIsNot(u64, &'static str),
    /// Two tasks run.
    #[error("task {0} is taken while task {1} runs")]
    TwoRun(u64, u64),
    /// A task is taken out of its turn.
    #[error("task {0} is taken, but is not the head of the ready queue")]
    NotHead(u64),
    /// A thing has more fields than anybody sets.
    #[error("object {0} has too many fields")]
    TooManyFields(u64),
    /// Steps go backward.
    #[error("steps go back to {0}")]
    Backward(u64),
}

impl Keyed for TaskMirror {
    fn key(&self) -> u64 {
        self.id
    }
}

impl Keyed for CallMirror {
    fn key(&self) -> u64 {
        self.id
    }
}

impl Keyed for ObjectMirror {
    fn key(&self) -> u64 {
        self.id
    }
}

impl Keyed for InReady {
    fn key(&self) -> u64 {
        self.ticket
    }
}
