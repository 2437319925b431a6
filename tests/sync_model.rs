//! Locks and their kin under chance: tasks that hold, wait, drop, time out and are killed, while a plain
//! count says what must hold.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures::future::{FutureExt, LocalBoxFuture};
use futures::join;
use futures::stream::{FuturesUnordered, StreamExt};
use proptest::prelude::*;
use support::{assert_empty, builder, poll_once};
use trapline::sync::{Barrier, Condvar, Event, Mutex, OnceCell, RLock, RwLock, Semaphore};
use trapline::{Scheduler, TaskId};

/// What is being shared: made in the main program, and used under one scheduler after another.
struct World {
    mutex: Mutex<u32>,
    owned: Rc<Mutex<u32>>,
    rlock: RLock<Cell<u32>>,
    rwlock: RwLock<u32>,
    semaphore: Semaphore,
    seats: Rc<Semaphore>,
    condition: Condvar,
    event: Event,
    barrier: Barrier,
    cell: OnceCell<u32>,
    census: Census,
    /// Guards of the mutex's tasks, to be dropped by others.
    given_away: RefCell<Vec<LocalBoxFuture<'static, ()>>>,
}

/// Who is in, counted by those who are.
#[derive(Default)]
struct Census {
    in_mutex: Cell<u32>,
    in_owned: Cell<u32>,
    in_rlock: RefCell<Vec<u32>>,
    readers: Cell<u32>,
    writers: Cell<u32>,
    permits: Cell<u32>,
    seated: Cell<u32>,
    makers: Cell<u32>,
    passed: Cell<u32>,
}

const PERMITS: u32 = 4;
const SEATS: u32 = 2;
const PARTY: usize = 3;

impl World {
    fn new() -> &'static World {
        Box::leak(Box::new(World {
            mutex: Mutex::new(0).named("mutex"),
            owned: Rc::new(Mutex::new(0)),
            rlock: RLock::new(Cell::new(0)),
            rwlock: RwLock::new(0),
            semaphore: Semaphore::new(PERMITS as usize),
            seats: Rc::new(Semaphore::new(SEATS as usize)),
            condition: Condvar::new(),
            event: Event::new(),
            barrier: Barrier::new(PARTY),
            cell: OnceCell::new(),
            census: Census::default(),
            given_away: RefCell::default(),
        }))
    }

    /// Nobody is in anything, and each is free.
    fn assert_free(&self) {
        let census = &self.census;
        let inside = [&census.in_mutex, &census.in_owned, &census.readers, &census.writers];
        assert_eq!(inside.map(Cell::get), [0; 4]);
        assert!(census.in_rlock.borrow().is_empty());
        assert_eq!([&census.permits, &census.seated, &census.makers].map(Cell::get), [0; 3]);
        assert!(self.mutex.try_lock().is_some() && self.owned.try_lock_owned().is_some());
        assert!(self.rlock.try_lock().is_some() && !self.rlock.is_held());
        assert!(self.rwlock.try_write().is_some());
        assert_eq!(self.semaphore.available(), PERMITS as usize);
        assert_eq!(self.seats.available(), SEATS as usize);
        assert_eq!(self.barrier.arrived(), 0);
    }
}

/// So many more are in, until this is dropped.
struct Inside<'a>(&'a Cell<u32>, u32);

impl<'a> Inside<'a> {
    fn new(count: &'a Cell<u32>, n: u32, most: u32) -> Inside<'a> {
        count.set(count.get() + n);
        assert!(count.get() <= most, "{} are in, of {most}", count.get());
        Inside(count, n)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - self.1);
    }
}

struct InRLock<'a>(&'a RefCell<Vec<u32>>);

impl<'a> InRLock<'a> {
    fn new(inside: &'a RefCell<Vec<u32>>, who: u32) -> InRLock<'a> {
        inside.borrow_mut().push(who);
        assert!(inside.borrow().iter().all(|other| *other == who), "{inside:?}");
        InRLock(inside)
    }
}

impl Drop for InRLock<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().pop();
    }
}

#[derive(Clone, Copy, Debug)]
enum Use {
    Mutex,
    TryMutex,
    Owned,
    Reentrant,
    Read,
    Write,
    Downgrade,
    Permits(u32),
    Seat,
    Condition,
    Notify(bool),
    Event,
    SetEvent(bool),
    Barrier,
    Make(bool),
    Rest,
}

/// How an operation is carried out.
#[derive(Clone, Copy, Debug)]
enum Manner {
    Plain,
    /// Polled so often, then dropped.
    Dropped(u8),
    TimedOut(u8),
    /// Beside a second one of its kind.
    Joined,
    Crowd,
    /// Polled once, and given to whoever takes it.
    GivenAway,
}

fn use_of() -> impl Strategy<Value = Use> {
    prop_oneof![
        4 => Just(Use::Mutex),
        1 => Just(Use::TryMutex),
        2 => Just(Use::Owned),
        2 => Just(Use::Reentrant),
        3 => Just(Use::Read),
        2 => Just(Use::Write),
        1 => Just(Use::Downgrade),
        4 => (0..=PERMITS).prop_map(Use::Permits),
        2 => Just(Use::Seat),
        2 => Just(Use::Condition),
        2 => any::<bool>().prop_map(Use::Notify),
        2 => Just(Use::Event),
        2 => any::<bool>().prop_map(Use::SetEvent),
        2 => Just(Use::Barrier),
        2 => any::<bool>().prop_map(Use::Make),
        1 => Just(Use::Rest),
    ]
}

fn manner() -> impl Strategy<Value = Manner> {
    prop_oneof![
        6 => Just(Manner::Plain),
        2 => (0..4_u8).prop_map(Manner::Dropped),
        2 => (1..9_u8).prop_map(Manner::TimedOut),
        1 => Just(Manner::Joined),
        1 => Just(Manner::Crowd),
        1 => Just(Manner::GivenAway),
    ]
}

/// Uses one thing once. `who` is the task.
async fn use_once(world: &'static World, what: Use, who: u32) {
    let census = &world.census;
    match what {
        Use::Mutex => {
            let mut guard = world.mutex.lock().await;
            let _inside = Inside::new(&census.in_mutex, 1, 1);
            *guard += 1;
            trapline::yield_now().await;
        }
        Use::TryMutex => {
            if let Some(_guard) = world.mutex.try_lock() {
                let _inside = Inside::new(&census.in_mutex, 1, 1);
                trapline::yield_now().await;
            }
        }
        Use::Owned => {
            let mut guard = world.owned.lock_owned().await;
            let _inside = Inside::new(&census.in_owned, 1, 1);
            *guard += 1;
            trapline::yield_now().await;
        }
        Use::Reentrant => {
            let _outer = world.rlock.lock().await;
            let _inside = InRLock::new(&census.in_rlock, who);
            trapline::yield_now().await;
            let _inner = world.rlock.lock().await;
            let _again = InRLock::new(&census.in_rlock, who);
            trapline::yield_now().await;
        }
        Use::Read => {
            let guard = world.rwlock.read().await;
            let _inside = Inside::new(&census.readers, 1, u32::MAX);
            assert_eq!(census.writers.get(), 0);
            let before = *guard;
            trapline::yield_now().await;
            assert_eq!(before, *guard, "nobody writes meanwhile");
        }
        Use::Write => {
            let mut guard = world.rwlock.write().await;
            let _inside = Inside::new(&census.writers, 1, 1);
            assert_eq!(census.readers.get(), 0);
            *guard += 1;
            trapline::yield_now().await;
        }
        Use::Downgrade => {
            let mut guard = world.rwlock.write().await;
            let written = Inside::new(&census.writers, 1, 1);
            *guard += 1;
            let before = *guard;
            trapline::yield_now().await;
            drop(written);
            let guard = trapline::sync::RwLockWriteGuard::downgrade(guard);
            let _inside = Inside::new(&census.readers, 1, u32::MAX);
            trapline::yield_now().await;
            assert_eq!(before, *guard);
        }
        Use::Permits(n) => {
            let permit = world.semaphore.acquire_many(n).await.unwrap();
            let _inside = Inside::new(&census.permits, permit.count(), PERMITS);
            trapline::yield_now().await;
        }
        Use::Seat => {
            let _permit = world.seats.acquire_owned().await.unwrap();
            let _inside = Inside::new(&census.seated, 1, SEATS);
            trapline::yield_now().await;
        }
        Use::Condition => {
            let guard = world.mutex.lock().await;
            let _guard = world.condition.wait(guard).await;
            let _inside = Inside::new(&census.in_mutex, 1, 1);
            trapline::yield_now().await;
        }
        Use::Notify(true) => world.condition.notify_all(),
        Use::Notify(false) => world.condition.notify_one(),
        Use::Event => world.event.wait().await,
        Use::SetEvent(true) => world.event.set(),
        Use::SetEvent(false) => world.event.clear(),
        Use::Barrier => {
            let pass = world.barrier.wait().await;
            // Who leads comes first, since it wakes the others; all of a generation are through.
            census.passed.set(census.passed.get() + u32::from(pass.is_leader()));
        }
        Use::Make(succeeds) => {
            let make = || async {
                let _inside = Inside::new(&census.makers, 1, 1);
                trapline::yield_now().await;
                if succeeds { Ok(who) } else { Err(()) }
            };
            let made = world.cell.get_or_try_init(make).await;
            assert_eq!(made.is_ok(), made.is_ok() && world.cell.get().is_some());
        }
        Use::Rest => trapline::yield_now().await,
    }
}

async fn carry_out(world: &'static World, (what, manner): (Use, Manner), who: u32) {
    let mut future = use_once(world, what, who).boxed_local();
    match manner {
        Manner::Plain => future.await,
        Manner::Dropped(polls) => {
            for _ in 0..polls {
                if poll_once(&mut future).await.is_ready() {
                    return;
                }
                trapline::yield_now().await;
            }
        }
        Manner::TimedOut(nanos) => {
            let _ = trapline::timeout(Duration::from_nanos(nanos.into()), future).await;
        }
        Manner::Joined => {
            // The reentrant lock is the task's, so its branches are in it together.
            join!(future, use_once(world, what, who));
        }
        Manner::Crowd => {
            let mut crowd: FuturesUnordered<_> = [future].into_iter().collect();
            crowd.push(use_once(world, what, who).boxed_local());
            while crowd.next().await.is_some() {}
        }
        Manner::GivenAway => {
            if poll_once(&mut future).await.is_pending() {
                world.given_away.borrow_mut().push(future);
            }
            trapline::yield_now().await;
        }
    }
}

/// A task: what it does, and after how many turns of another it is killed.
type Plan = (Vec<(Use, Manner)>, Option<u8>);

fn start(scheduler: &mut Scheduler, world: &'static World, who: u32, (plan, doom): Plan) {
    let task = scheduler.spawn(async move {
        for step in plan {
            carry_out(world, step, who).await;
            let given = world.given_away.borrow_mut().pop();
            drop(given);
        }
    });
    if let Some(turns) = doom {
        let victim: TaskId = task.id();
        let killer = scheduler.spawn(async move {
            for _ in 0..turns {
                trapline::yield_now().await;
            }
            let _ = trapline::kill(victim).await;
        });
        killer.detach();
    }
    task.detach();
}

/// Runs to the end, with a check after each step. Whoever waits for an event, a condition or a party that
/// does not come is helped, as soon as nobody can run: a foreign waker that nobody will call would be
/// waited for in earnest.
fn run_out(scheduler: &mut Scheduler, world: &'static World) {
    let mut idle = 0;
    while scheduler.task_count() > 0 {
        let [_, _, timers, ..] = scheduler.table_sizes();
        if scheduler.ready().is_empty() && timers == 0 {
            idle += 1;
            assert!(idle < 500, "somebody waits for ever: {}", scheduler.blocked());
            drop(world.given_away.take());
            world.event.set();
            world.condition.notify_all();
            scheduler.spawn(use_once(world, Use::Barrier, 0)).detach();
        }
        scheduler.step();
        scheduler.check_invariants();
    }
    drop(world.given_away.take());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_programs_then_nobody_is_in_with_others_and_nothing_is_lost(
        plans in prop::collection::vec(
            (prop::collection::vec((use_of(), manner()), 0..8), prop::option::weighted(0.3, 0..20_u8)),
            1..8,
        ),
        quantum in 1..5_u32,
        seed in any::<u64>(),
    ) {
        let world = World::new();
        for round in 0..2_u32 {
            let mut scheduler = builder().quantum(quantum).seed(seed).build();
            for (who, plan) in (0..).zip(plans.clone()) {
                start(&mut scheduler, world, round * 100 + who, plan);
            }
            run_out(&mut scheduler, world);
            let report = scheduler.run().unwrap();
            prop_assert_eq!(report.failures, 0, "{}", report);
            assert_empty(&scheduler);
            drop(scheduler);
            world.assert_free();
        }
    }

    #[test]
    fn any_programs_whose_scheduler_is_dropped_then_every_lock_is_free_for_the_next(
        plans in prop::collection::vec(
            (prop::collection::vec((use_of(), manner()), 1..6), Just(None)),
            1..6,
        ),
        quantum in 1..5_u32,
        steps in 0..60_usize,
    ) {
        let world = World::new();
        let mut scheduler = builder().quantum(quantum).build();
        for (who, plan) in (0..).zip(plans) {
            start(&mut scheduler, world, who, plan);
        }
        for _ in 0..steps {
            let running = |task: &trapline::TaskInfo| task.state == trapline::TaskState::Running;
            let nobody = !scheduler.snapshot().tasks.iter().any(running);
            if nobody && scheduler.ready().is_empty() && scheduler.table_sizes()[2] == 0 {
                break;
            }
            scheduler.step();
            scheduler.check_invariants();
        }
        drop(scheduler);
        drop(world.given_away.take());
        world.assert_free();
        let mut next = builder().build();
        next.spawn(use_once(world, Use::Permits(PERMITS), 1)).detach();
        next.spawn(use_once(world, Use::Write, 2)).detach();
        next.spawn(use_once(world, Use::Mutex, 3)).detach();
        prop_assert_eq!(next.run().unwrap().failures, 0);
        assert_empty(&next);
    }
}
