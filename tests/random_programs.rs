//! Random programs: tasks that spawn, yield, sleep, park, wake, wait, join, read, kill, panic, give
//! calls up and hand them to one another, under random quanta and batches.
//!
//! After every step the invariants are checked, and that a mirror which hears of nothing but the events is
//! in the kernel's state; where nothing can run any more, that nobody waits
//! for what has come; at the end, that no token is lost or doubled and that nothing stays in a
//! table. What fails is shrunk, and printed with the seed that replays it:
//! `TRAPLINE_SEED=… cargo test --test random_programs`.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/mirror.rs"]
mod mirror;
#[path = "support/mirrored.rs"]
mod mirrored;
mod support;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{Either, select};
use futures::stream::{FuturesUnordered, StreamExt};
use mirror::Mirror;
use mirrored::Mirrored;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use support::{OnDrop, Trace, poll_once};
use trapline::{
    Event, ExitStatus, JoinHandle, Scheduler, Step, StepEvent, Syscall, TaskId, TaskInfo,
    TaskOptions, TaskState, WaitQueue, cancel, cancellable, get_tid, kill, now, post_cancel,
    post_kill, read_wait, shield, sleep, sleep_until, spawn, spawn_detached, timeout, wait,
    yield_now,
};

const MILLI: Duration = Duration::from_millis(1);

/// How many tasks a program may start, so that it ends.
const MOST_TASKS: usize = 40;

/// Steps after which a program has gone wrong: each of its tasks takes a few for each operation.
const MOST_STEPS: usize = 50_000;

/// Queues that are woken one by one. One more is only woken as a whole.
const QUEUES: usize = 2;

const OP_PANIC: &str = "an operation panicked";
const GUARD_PANIC: &str = "a guard panicked";

// The language

/// A call to the kernel. Numbers pick one of what there is.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Yield,
    GetTid,
    Sleep(u8),
    SleepUntil(u8),
    Park(u8),
    ParkForAll,
    Wait(u8),
    Join(u8),
    Kill(u8),
    Cancel(u8),
    Spawn(u8),
    /// Waits until there is something to read, and takes a byte, if nobody was quicker.
    Read,
    /// A future of others: its waker lies about until somebody calls it.
    Foreign,
}

#[derive(Clone, Debug)]
enum Op {
    Do(Ask),
    Timeout(u8, Ask),
    Both(Ask, Ask),
    Either(Ask, Ask),
    /// All of them, under wakers that are not the task's.
    Unordered(Vec<Ask>),
    /// Makes a call, polls it once, and leaves it for others.
    Leave(Ask),
    /// Makes a call, polls it once, lets the others run, then drops it.
    GiveUp(Ask),
    /// A call that a cancellation may end; a call that it may not, within one that it may.
    Scope(Ask),
    Shield(Ask),
    /// Goes on with a call that somebody left.
    Adopt(u8),
    /// Drops a call that somebody left.
    DropLeft(u8),
    Wake(u8),
    WakeAll,
    TryTake(u8),
    /// Writes a byte for the readers.
    Send,
    /// Calls a waker that lies about.
    WakeForeign(u8),
    WakeOneself,
    SpawnDetached(u8),
    SpawnDaemon(u8),
    DropHandle(u8),
    PostKill(u8),
    PostCancel(u8),
    /// From here on the task has a local whose destructor does something.
    Guard(AtDrop),
    Panic,
}

#[derive(Clone, Copy, Debug)]
enum AtDrop {
    Wake(u8),
    WakeAll,
    Kill(u8),
    Cancel(u8),
    Spawn(u8),
    DropLeft(u8),
    WakeForeign(u8),
    Panic,
}

/// What becomes of the program when nothing can run, or after some steps.
#[derive(Clone, Copy, Debug)]
enum End {
    KillAll,
    DropScheduler { after: u16 },
}

#[derive(Clone, Debug)]
struct Program {
    quantum: u32,
    batch: u32,
    seed: u64,
    /// How many tasks there are to begin with; each runs the script of its number.
    tasks: usize,
    scripts: Vec<Vec<Op>>,
    end: End,
}

fn ask() -> impl Strategy<Value = Ask> {
    let byte = any::<u8>;
    prop_oneof![
        2 => Just(Ask::Yield),
        1 => Just(Ask::GetTid),
        2 => (0_u8..6).prop_map(Ask::Sleep),
        1 => (0_u8..20).prop_map(Ask::SleepUntil),
        3 => byte().prop_map(Ask::Park),
        1 => Just(Ask::ParkForAll),
        2 => byte().prop_map(Ask::Wait),
        2 => byte().prop_map(Ask::Join),
        2 => byte().prop_map(Ask::Kill),
        2 => byte().prop_map(Ask::Cancel),
        2 => byte().prop_map(Ask::Spawn),
        1 => Just(Ask::Read),
        1 => Just(Ask::Foreign),
    ]
}

fn at_drop() -> impl Strategy<Value = AtDrop> {
    let byte = any::<u8>;
    prop_oneof![
        byte().prop_map(AtDrop::Wake),
        Just(AtDrop::WakeAll),
        byte().prop_map(AtDrop::Kill),
        byte().prop_map(AtDrop::Cancel),
        byte().prop_map(AtDrop::Spawn),
        byte().prop_map(AtDrop::DropLeft),
        byte().prop_map(AtDrop::WakeForeign),
        Just(AtDrop::Panic),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let byte = any::<u8>;
    prop_oneof![
        8 => ask().prop_map(Op::Do),
        2 => (0_u8..4, ask()).prop_map(|(millis, ask)| Op::Timeout(millis, ask)),
        2 => (ask(), ask()).prop_map(|(left, right)| Op::Both(left, right)),
        2 => (ask(), ask()).prop_map(|(left, right)| Op::Either(left, right)),
        2 => prop::collection::vec(ask(), 1..5).prop_map(Op::Unordered),
        2 => ask().prop_map(Op::Leave),
        1 => ask().prop_map(Op::GiveUp),
        2 => ask().prop_map(Op::Scope),
        2 => ask().prop_map(Op::Shield),
        2 => byte().prop_map(Op::Adopt),
        1 => byte().prop_map(Op::DropLeft),
        4 => byte().prop_map(Op::Wake),
        1 => Just(Op::WakeAll),
        1 => byte().prop_map(Op::TryTake),
        2 => Just(Op::Send),
        2 => byte().prop_map(Op::WakeForeign),
        1 => Just(Op::WakeOneself),
        2 => byte().prop_map(Op::SpawnDetached),
        1 => byte().prop_map(Op::SpawnDaemon),
        1 => byte().prop_map(Op::DropHandle),
        1 => byte().prop_map(Op::PostKill),
        2 => byte().prop_map(Op::PostCancel),
        2 => at_drop().prop_map(Op::Guard),
        1 => Just(Op::Panic),
    ]
}

fn program() -> impl Strategy<Value = Program> {
    let end = prop_oneof![
        3 => Just(End::KillAll),
        1 => (0_u16..200).prop_map(|after| End::DropScheduler { after }),
    ];
    let scripts = prop::collection::vec(prop::collection::vec(op(), 0..10), 1..6);
    let quantum = prop_oneof![1_u32..5, Just(32)];
    let batch = prop_oneof![1_u32..5, Just(256)];
    (quantum, batch, any::<u64>(), 1_usize..5, scripts, end).prop_map(
        |(quantum, batch, seed, tasks, scripts, end)| Program {
            quantum,
            batch,
            seed,
            tasks,
            scripts,
            end,
        },
    )
}

// The interpreter

type Call = Pin<Box<dyn Future<Output = ()>>>;

/// How a task's body came to its end, as the task itself saw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Returned,
    Panicked,
}

/// A future of others.
struct Foreign {
    task: TaskId,
    woken: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// Whether its future is still there to be resumed.
    waited_for: Cell<bool>,
}

/// What the tasks of a program share.
struct World {
    scripts: Vec<Vec<Op>>,
    queues: Vec<WaitQueue>,
    for_all: WaitQueue,
    /// A socket that tasks read from, and one that they write to.
    sockets: (UnixStream, UnixStream),
    /// Bytes on the way from one to the other.
    unread: Cell<usize>,
    /// By the number in which they were started; ids are known when they first run, or at once.
    tasks: RefCell<Vec<TaskId>>,
    fates: RefCell<Vec<(TaskId, Fate)>>,
    handles: RefCell<Vec<JoinHandle<u64>>>,
    left: RefCell<Vec<Call>>,
    foreign: RefCell<Vec<Rc<Foreign>>>,
    started: Cell<usize>,
    /// Bodies and calls that have been made and not yet dropped.
    bodies: Cell<usize>,
    given: Cell<usize>,
    taken: Cell<usize>,
    wrong: RefCell<Vec<String>>,
}

fn sockets() -> (UnixStream, UnixStream) {
    let (reader, writer) = UnixStream::pair().unwrap();
    reader.set_nonblocking(true).unwrap();
    (reader, writer)
}

fn pick<T>(things: &[T], number: u8) -> Option<usize> {
    (!things.is_empty()).then(|| usize::from(number) % things.len())
}

impl World {
    fn new(program: &Program) -> Rc<World> {
        Rc::new(World {
            scripts: program.scripts.clone(),
            queues: (0..QUEUES).map(WaitQueue::new).collect(),
            for_all: WaitQueue::new(0),
            sockets: sockets(),
            unread: Cell::new(0),
            tasks: RefCell::default(),
            fates: RefCell::default(),
            handles: RefCell::default(),
            left: RefCell::default(),
            foreign: RefCell::default(),
            started: Cell::new(0),
            bodies: Cell::new(0),
            given: Cell::new((0..QUEUES).sum()),
            taken: Cell::new(0),
            wrong: RefCell::default(),
        })
    }

    fn expect(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.wrong.borrow_mut().push(what());
        }
    }

    fn task(&self, number: u8) -> Option<TaskId> {
        let tasks = self.tasks.borrow();
        pick(&tasks, number).map(|at| tasks[at])
    }

    fn queue(&self, number: u8) -> &WaitQueue {
        &self.queues[usize::from(number) % QUEUES]
    }

    fn wake(&self, number: u8) {
        self.given.set(self.given.get() + 1);
        self.queue(number).wake();
    }

    fn wake_foreign(&self, number: u8) {
        let foreign = self.foreign.borrow();
        let Some(at) = pick(&foreign, number) else { return };
        let foreign = Rc::clone(&foreign[at]);
        foreign.woken.set(true);
        let waker = foreign.waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn take_left(&self, number: u8) -> Option<Call> {
        let mut left = self.left.borrow_mut();
        let at = pick(&left, number)?;
        Some(left.remove(at))
    }

    /// The body of a new task, if there may be one more.
    fn body(self: &Rc<World>, number: u8) -> Option<Pin<Box<dyn Future<Output = u64>>>> {
        if self.started.get() >= MOST_TASKS {
            return None;
        }
        self.started.set(self.started.get() + 1);
        self.bodies.set(self.bodies.get() + 1);
        let world = Rc::clone(self);
        let gone = OnDrop({
            let world = Rc::clone(self);
            move || world.bodies.set(world.bodies.get() - 1)
        });
        Some(Box::pin(async move {
            let _gone = gone;
            let me = get_tid().await;
            if !world.tasks.borrow().contains(&me) {
                world.tasks.borrow_mut().push(me);
            }
            let script = pick(&world.scripts, number).unwrap();
            let run = AssertUnwindSafe(interpret(&world, me, script)).catch_unwind().await;
            let Err(payload) = run else {
                world.fates.borrow_mut().push((me, Fate::Returned));
                return me.sequence();
            };
            let text = *payload.downcast_ref::<&str>().unwrap_or(&"something unforeseen");
            let known = [OP_PANIC, GUARD_PANIC].contains(&text);
            world.expect(known, || format!("task {me} panicked: {text}"));
            world.fates.borrow_mut().push((me, Fate::Panicked));
            resume_unwind(payload)
        }))
    }

    fn check_status(&self, task: TaskId, status: &ExitStatus) {
        let fates = self.fates.borrow();
        let fate = fates.iter().find(|(of, _)| *of == task).map(|(_, fate)| *fate);
        let agrees = match status {
            ExitStatus::Returned => fate == Some(Fate::Returned),
            ExitStatus::Panicked(_) => fate == Some(Fate::Panicked),
            // A post may have killed it in the turn in which it came to its end.
            _ => true,
        };
        self.expect(agrees, || format!("task {task} is said to have {status}, but {fate:?}"));
    }
}

/// Makes a call; it is not polled yet.
fn make(world: &Rc<World>, ask: Ask) -> Call {
    let world = Rc::clone(world);
    match ask {
        Ask::Yield => Box::pin(yield_now()),
        Ask::GetTid => Box::pin(get_tid().map(drop)),
        Ask::Sleep(millis) => Box::pin(async move {
            let start = now().await;
            let end = sleep(MILLI * u32::from(millis)).await;
            world.expect(end - start >= MILLI * u32::from(millis), || "a short sleep".into());
        }),
        Ask::SleepUntil(millis) => Box::pin(async move {
            let deadline = trapline::Instant::from_nanos(u64::from(millis) * 1_000_000);
            let end = sleep_until(deadline).await;
            world.expect(end >= deadline, || "woken before the deadline".into());
        }),
        Ask::Park(number) => Box::pin(async move {
            world.queue(number).park().await;
            world.taken.set(world.taken.get() + 1);
        }),
        Ask::ParkForAll => Box::pin(async move { world.for_all.park().await }),
        Ask::Wait(number) => Box::pin(async move {
            let Some(task) = world.task(number) else { return };
            match wait(task).await {
                Ok(status) => world.check_status(task, &status),
                Err(error) => world.expect(false, || format!("wait for {task}: {error}")),
            }
        }),
        Ask::Join(number) => Box::pin(async move {
            let handle = {
                let mut handles = world.handles.borrow_mut();
                let Some(at) = pick(&handles, number) else { return };
                handles.remove(at)
            };
            let task = handle.id();
            match handle.await {
                Ok(value) => {
                    world.check_status(task, &ExitStatus::Returned);
                    world.expect(value == task.sequence(), || format!("{task} gave {value}"));
                }
                Err(error) if error.is_panic() => {
                    world.check_status(task, &ExitStatus::Panicked("".into()));
                }
                Err(error) => {
                    let ended = error.is_killed() || error.cancelled().is_some();
                    world.expect(ended, || error.to_string());
                }
            }
        }),
        Ask::Kill(number) => Box::pin(async move {
            let Some(task) = world.task(number) else { return };
            let killed = kill(task).await;
            world.expect(killed.is_ok(), || format!("kill {task}: {killed:?}"));
        }),
        Ask::Cancel(number) => Box::pin(async move {
            let Some(task) = world.task(number) else { return };
            let told = cancel(task, "at random").await;
            world.expect(told.is_ok(), || format!("cancel {task}: {told:?}"));
        }),
        Ask::Spawn(number) => Box::pin(async move {
            let Some(body) = world.body(number) else { return };
            let handle = spawn(body).await;
            world.expect(handle.id().sequence() > 0, || "an id of zero".into());
            world.handles.borrow_mut().push(handle);
        }),
        Ask::Read => Box::pin(async move {
            let reader = &world.sockets.0;
            let waited = read_wait(reader).await;
            world.expect(waited.is_ok(), || format!("read_wait: {waited:?}"));
            if (&mut &*reader).read(&mut [0]).is_ok() {
                world.unread.set(world.unread.get() - 1);
            }
        }),
        Ask::Foreign => Box::pin(async move {
            let task = get_tid().await;
            let (woken, waker) = (Cell::new(false), RefCell::default());
            let waited_for = Cell::new(true);
            let foreign = Rc::new(Foreign { task, woken, waker, waited_for });
            world.foreign.borrow_mut().push(Rc::clone(&foreign));
            let theirs = Rc::clone(&foreign);
            let _gone = OnDrop(move || theirs.waited_for.set(false));
            poll_fn(|cx| {
                if foreign.woken.get() {
                    return Poll::Ready(());
                }
                foreign.waker.replace(Some(cx.waker().clone()));
                Poll::Pending
            })
            .await;
        }),
    }
}

async fn interpret(world: &Rc<World>, me: TaskId, script: usize) {
    let mut guards = Vec::new();
    for op in world.scripts[script].clone() {
        match op {
            Op::Do(ask) => make(world, ask).await,
            Op::Timeout(millis, ask) => {
                let _ = timeout(MILLI * u32::from(millis), make(world, ask)).await;
            }
            Op::Both(left, right) => {
                futures::join!(make(world, left), make(world, right));
            }
            Op::Either(left, right) => match select(make(world, left), make(world, right)).await {
                Either::Left(((), lost)) | Either::Right(((), lost)) => drop(lost),
            },
            Op::Unordered(asks) => {
                let mut calls: FuturesUnordered<Call> =
                    asks.into_iter().map(|ask| make(world, ask)).collect();
                while calls.next().await.is_some() {}
            }
            Op::Leave(ask) => {
                // Left within a scope and a shield, it takes both along.
                let mut call: Call = Box::pin(cancellable(shield(make(world, ask))).map(drop));
                if poll_once(&mut call).await.is_pending() {
                    world.left.borrow_mut().push(call);
                }
            }
            Op::GiveUp(ask) => {
                let mut call = make(world, ask);
                if poll_once(&mut call).await.is_pending() {
                    yield_now().await;
                }
            }
            Op::Scope(ask) => drop(cancellable(make(world, ask)).await),
            Op::Shield(ask) => {
                let shielded = shield(cancellable(make(world, ask)));
                drop(cancellable(shielded).await);
            }
            Op::Adopt(number) => {
                let call = world.take_left(number);
                if let Some(call) = call {
                    call.await;
                }
            }
            Op::DropLeft(number) => drop(world.take_left(number)),
            Op::Wake(number) => world.wake(number),
            Op::WakeAll => drop(world.for_all.wake_all()),
            Op::TryTake(number) => {
                let took = world.queue(number).try_take();
                world.taken.set(world.taken.get() + usize::from(took));
            }
            Op::Send => {
                (&mut &world.sockets.1).write_all(&[0]).unwrap();
                world.unread.set(world.unread.get() + 1);
            }
            Op::WakeForeign(number) => world.wake_foreign(number),
            Op::WakeOneself => support::give_way().await,
            Op::SpawnDetached(number) => {
                if let Some(body) = world.body(number) {
                    spawn_detached(body.map(drop));
                }
            }
            Op::SpawnDaemon(number) => {
                if let Some(body) = world.body(number) {
                    spawn(body).name("daemon").daemon().await.detach();
                }
            }
            Op::DropHandle(number) => {
                let handle = {
                    let mut handles = world.handles.borrow_mut();
                    pick(&handles, number).map(|at| handles.remove(at))
                };
                drop(handle);
            }
            Op::PostKill(number) => post_kill(world.task(number).unwrap_or(me)),
            Op::PostCancel(number) => {
                post_cancel(world.task(number).unwrap_or(me), "by a post");
            }
            Op::Guard(action) => guards.push(guard(world, me, action)),
            Op::Panic => resume_unwind(Box::new(OP_PANIC)),
        }
    }
}

fn guard(world: &Rc<World>, me: TaskId, action: AtDrop) -> OnDrop<impl FnMut() + use<>> {
    let world = Rc::clone(world);
    OnDrop(move || match action {
        AtDrop::Wake(number) => world.wake(number),
        AtDrop::WakeAll => drop(world.for_all.wake_all()),
        AtDrop::Kill(number) => post_kill(world.task(number).unwrap_or(me)),
        AtDrop::Cancel(number) => post_cancel(world.task(number).unwrap_or(me), "in a guard"),
        AtDrop::Spawn(number) => {
            if let Some(body) = world.body(number) {
                spawn_detached(body.map(drop));
            }
        }
        AtDrop::DropLeft(number) => drop(world.take_left(number)),
        AtDrop::WakeForeign(number) => world.wake_foreign(number),
        // During an unwind it would abort the process, whatever the kernel does.
        AtDrop::Panic if std::thread::panicking() => {}
        AtDrop::Panic => resume_unwind(Box::new(GUARD_PANIC)),
    })
}

// What must hold

/// Nothing can run: nobody may be waiting for what has come.
fn check_at_rest(scheduler: &Scheduler, world: &World) {
    let snapshot = scheduler.snapshot();
    for TaskInfo { id, state, .. } in &snapshot.tasks {
        let TaskState::Blocked(calls) = state else { continue };
        for call in calls {
            match call.request {
                Syscall::Wait(target) | Syscall::Join(target) => {
                    let target = snapshot.task(target).map(|task| &task.state);
                    let lives = matches!(target, Some(TaskState::Blocked(_)));
                    assert!(lives, "task {id} waits for {call}, which is {target:?}");
                }
                Syscall::Park(_) => {}
                Syscall::ReadWait(_) if world.unread.get() == 0 => {}
                other => panic!("task {id} waits for {other}, with nothing to come"),
            }
        }
        let waits = |foreign: &&Rc<Foreign>| foreign.task == *id && foreign.waited_for.get();
        let foreign = world.foreign.borrow().iter().filter(waits).count();
        // A call that was left may have been answered to a task that it is no longer with.
        assert!(
            !calls.is_empty() || foreign > 0 || !world.foreign.borrow().is_empty(),
            "task {id} waits for nothing"
        );
    }
    for queue in &world.queues {
        assert!(queue.tokens() == 0 || queue.waiting() == 0, "a token lies where somebody waits");
    }
    assert_eq!(world.for_all.tokens(), 0, "to wake all keeps no token");
}

/// Runs the program; gives its trace. The mirror is told of what happens, and compared at every step;
/// so is one that hears of nothing but the records of a trace, where it is recorded.
/// Who looks on.
#[derive(Clone, Copy)]
enum Audience<'a> {
    /// A probe that writes down what it hears.
    Probe,
    /// It tells a mirror, too.
    Mirror(&'a Mirror),
    /// The same, and a trace is recorded.
    Recording,
    /// Nobody: then the kernel, the ring and the library go by shorter ways.
    Nobody,
}

/// What a run came to.
struct Seen {
    /// What the probe heard.
    trace: Vec<String>,
    /// Each step, as it shows itself, and whom it woke.
    steps: Vec<String>,
}

fn run(program: &Program, audience: Audience<'_>) -> Seen {
    let world = World::new(program);
    let trace = Trace::default();
    let mirror = match audience {
        Audience::Mirror(mirror) => Some(mirror),
        _ => None,
    };
    let (lines, told) = (trace.clone(), mirror.cloned());
    // What number it got depends on the other threads of this process.
    let number = format!("fd {}", world.sockets.0.as_raw_fd());
    let mut builder = Scheduler::builder()
        .quantum(program.quantum)
        .batch(program.batch)
        .seed(program.seed)
        .virtual_clock();
    if !matches!(audience, Audience::Nobody) {
        let number = number.clone();
        builder = builder.probe(move |event: &Event<'_>| {
            if let Some(told) = &told {
                told.hear(event);
            }
            lines.say(event.to_string().replace(&number, "fd"));
        });
    }
    let mut scheduler = builder.build();
    for number in 0..program.tasks {
        let body = world.body(number as u8).unwrap();
        let handle = scheduler.spawn_with(TaskOptions::new().name("first"), body);
        world.tasks.borrow_mut().push(handle.id());
        world.handles.borrow_mut().push(handle);
    }
    let limit = match program.end {
        End::KillAll => MOST_STEPS,
        End::DropScheduler { after } => usize::from(after),
    };
    let is_recorded = matches!(audience, Audience::Recording);
    let mut recorded = is_recorded.then(|| Mirrored::attach(&mut scheduler));
    let mut steps = Vec::new();
    let mut after = |scheduler: &mut Scheduler, step: &Step| {
        let shown = format!("{} {:?}", scheduler.show(step), scheduler.woken());
        steps.push(shown.replace(&number, "fd"));
        compare(mirror, scheduler);
        if let Some(recorded) = &mut recorded {
            recorded.check(scheduler, step);
        }
    };
    run_until_at_rest(&mut scheduler, &world, limit, &mut after);
    if let End::KillAll = program.end {
        kill_all(&mut scheduler, &world, &mut after);
        let sizes = scheduler.table_sizes();
        assert_eq!(sizes, [0; 6], "tasks, calls, timers, sources, ours, outcomes");
    }
    drop(scheduler);
    // What was left outlives the scheduler, and so do the handles.
    while let Some(call) = world.take_left(0) {
        drop(call);
    }
    world.handles.take();
    world.foreign.take();
    assert_eq!(world.bodies.get(), 0, "a task's locals were not dropped");
    let kept: usize = world.queues.iter().map(WaitQueue::tokens).sum();
    let (given, taken) = (world.given.get(), world.taken.get());
    assert_eq!(given, taken + kept, "one-token: given, taken and kept");
    assert!(world.queues.iter().all(|queue| queue.waiting() == 0));
    assert_eq!(*world.wrong.borrow(), [""; 0]);
    Seen { trace: trace.take(), steps }
}

/// Says where they differ, for they are long.
#[track_caller]
fn assert_same(first: &[String], second: &[String]) {
    let differs = first.iter().zip(second).position(|(left, right)| left != right);
    assert_eq!(differs.map(|at| (&first[at], &second[at])), None);
    assert_eq!(first.len(), second.len());
}

fn compare(mirror: Option<&Mirror>, scheduler: &Scheduler) {
    if let Some(mirror) = mirror {
        mirror.compare(scheduler);
    }
}

/// Steps until nothing can run but by the program outside.
fn run_until_at_rest(
    scheduler: &mut Scheduler,
    world: &World,
    limit: usize,
    after: &mut dyn FnMut(&mut Scheduler, &Step),
) {
    for steps in 0..limit {
        let blocked = scheduler.blocked().blocked.len();
        let [_, _, timers, sources, ..] = scheduler.table_sizes();
        let comes = timers > 0 || (sources > 0 && world.unread.get() > 0);
        if blocked == scheduler.task_count() && !comes {
            check_at_rest(scheduler, world);
            let outside = sources > 0 || !world.foreign.borrow().is_empty();
            if !outside && !uses_wakers(world) {
                // Nobody else has a waker: the kernel must see it at once.
                let step = scheduler.step();
                after(scheduler, &step);
                let ends = [StepEvent::Deadlock, StepEvent::Finished];
                assert!(ends.contains(&step.event()), "{step}");
            }
            return;
        }
        let step = scheduler.step();
        after(scheduler, &step);
        if step.event() == StepEvent::Finished {
            return;
        }
        scheduler.check_invariants();
        assert!(steps + 1 < MOST_STEPS, "it does not come to rest");
    }
}

/// Whether a task may hold wakers that the kernel cannot tell from those of a thread.
fn uses_wakers(world: &World) -> bool {
    let unordered = |op: &Op| matches!(op, Op::Unordered(_));
    world.scripts.iter().flatten().any(unordered)
}

/// Ends all there is, over and over, for destructors may start more.
fn kill_all(
    scheduler: &mut Scheduler,
    world: &Rc<World>,
    after: &mut dyn FnMut(&mut Scheduler, &Step),
) {
    loop {
        let tasks: Vec<TaskId> = scheduler.snapshot().tasks.iter().map(|task| task.id).collect();
        let empty = tasks.is_empty();
        let killer = async {
            for task in tasks {
                world.expect(kill(task).await.is_ok(), || format!("{task} was never there"));
            }
            // Calls and handles are dropped inside a task as well as outside.
            drop(world.take_left(0));
            let handle = world.handles.borrow_mut().pop();
            drop(handle);
        };
        scheduler.block_on_with(killer, &mut *after).unwrap();
        let handles = world.handles.take();
        drop(handles);
        while let Some(call) = world.take_left(1) {
            drop(call);
        }
        scheduler.block_on_with(yield_now(), &mut *after).unwrap();
        scheduler.check_invariants();
        if empty {
            return;
        }
    }
}

/// Runs random cases, from a seed that is printed where one of them fails.
fn check_programs(check: impl Fn(Program)) {
    let seed = match std::env::var("TRAPLINE_SEED") {
        Ok(seed) => seed.parse().expect("TRAPLINE_SEED is a number"),
        Err(_) => RandomState::new().hash_one(0),
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config { failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let result = runner.run(&program(), |program| {
        check(program);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}\nreplay it with TRAPLINE_SEED={seed}");
    }
}

#[test]
fn random_program_then_every_invariant_holds_and_nothing_stays() {
    check_programs(|program| drop(run(&program, Audience::Mirror(&Mirror::default()))));
}

#[test]
fn random_program_then_a_mirror_of_its_trace_shows_what_the_kernel_has_after_each_step() {
    check_programs(|program| drop(run(&program, Audience::Recording)));
}

#[test]
fn random_program_run_twice_then_the_same_trace() {
    check_programs(|program| {
        let (first, second) = (run(&program, Audience::Probe), run(&program, Audience::Probe));
        assert_same(&first.trace, &second.trace);
    });
}

#[test]
fn random_program_that_nobody_listens_to_then_the_same_steps() {
    check_programs(|program| {
        let (heard, unheard) = (run(&program, Audience::Probe), run(&program, Audience::Nobody));
        assert_same(&heard.steps, &unheard.steps);
        assert_eq!(unheard.trace, [""; 0]);
    });
}
