//! Random programs of scopes, shields, groups and combinators, cancelled and killed at random moments:
//! whoever has been told to end does, and nothing is left.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{LocalBoxFuture, join, select};
use futures::stream::{FuturesUnordered, StreamExt};
use proptest::prelude::*;
use support::{OnDrop, assert_empty, builder};
use trapline::channel::{Receiver, Sender, channel};
use trapline::sync::Mutex;
use trapline::{
    Scope, TaskGroup, cancel, cancellable, cancelled, kill, post_cancel, scope, shield, sleep,
    spawn, timeout, wait, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

/// What a task does.
#[derive(Clone, Debug)]
enum Plan {
    Sleep(u32),
    Yield,
    /// Waits for ever; within a scope of its own, if the program has such at all.
    Never,
    Listen,
    Scoped(Box<Plan>),
    Shielded(Box<Plan>),
    Timeout(u32, Box<Plan>),
    Then(Vec<Plan>),
    Join(Box<Plan>, Box<Plan>),
    Select(Box<Plan>, Box<Plan>),
    Unordered(Vec<Plan>),
    /// Polled first within a shield, and then outside of it.
    Carried(Vec<Plan>),
    Children(Vec<Plan>),
    Group(Vec<Plan>, Box<Plan>),
    /// Holds the lock that all share.
    Locked(Box<Plan>),
    /// Meets whoever gets.
    Give,
    Get,
    /// Cancels its own task.
    Suicide,
}

/// Reads plans from bytes, so that a failing one shrinks.
struct Reader<'a> {
    bytes: std::slice::Iter<'a, u8>,
    /// Whether scopes are opened. A task that was told by one goes on, and must not wait for ever
    /// outside of any after that.
    scopes: bool,
}

impl Reader<'_> {
    fn next(&mut self) -> u8 {
        self.bytes.next().copied().unwrap_or(0)
    }

    fn plan(&mut self, depth: u32, finite: bool) -> Plan {
        let inner = |this: &mut Self, finite| Box::new(this.plan(depth - 1, finite));
        let choice = self.next();
        if depth == 0 {
            return match choice % 5 {
                0 => Plan::Yield,
                1 if self.scopes && !finite => Plan::Listen,
                2 | 3 if !finite => match choice / 5 % 4 {
                    0 => Plan::Give,
                    1 => Plan::Get,
                    _ => Plan::Never,
                },
                4 if choice > 200 => Plan::Suicide,
                _ => Plan::Sleep(u32::from(choice) % 4),
            };
        }
        match choice % 12 {
            0 if self.scopes => Plan::Scoped(inner(self, finite)),
            1 => Plan::Shielded(inner(self, true)),
            2 => Plan::Timeout(u32::from(choice) % 4, inner(self, finite)),
            3 => Plan::Then(self.plans(depth, finite)),
            4 => Plan::Join(inner(self, finite), inner(self, finite)),
            5 => Plan::Select(inner(self, finite), inner(self, finite)),
            6 => Plan::Unordered(self.plans(depth, finite)),
            7 => Plan::Carried(self.plans(depth, finite)),
            8 => Plan::Children(self.plans(depth, finite)),
            10 if !finite => Plan::Locked(inner(self, finite)),
            9 => Plan::Group(self.plans(depth, finite), inner(self, finite)),
            _ => self.plan(0, finite),
        }
    }

    fn plans(&mut self, depth: u32, finite: bool) -> Vec<Plan> {
        (0..=self.next() % 3).map(|_| self.plan(depth - 1, finite)).collect()
    }
}

/// What all tasks share.
struct Shared {
    /// How many futures live.
    live: Cell<usize>,
    lock: Mutex<()>,
    channel: (Sender<u32>, Receiver<u32>),
}

/// Waits for others: where scopes are opened, in one, as for `Never`.
async fn within<T>(scopes: bool, wait: impl Future<Output = T>) -> Option<T> {
    if scopes { cancellable(wait).await.ok() } else { Some(wait.await) }
}

type Running = LocalBoxFuture<'static, ()>;

fn unordered(plans: Vec<Plan>, scopes: bool, shared: &Rc<Shared>) -> FuturesUnordered<Running> {
    plans.into_iter().map(|plan| run(plan, scopes, shared)).collect()
}

/// Counts itself as long as it lives.
fn run(plan: Plan, scopes: bool, shared: &Rc<Shared>) -> Running {
    let shared = Rc::clone(shared);
    shared.live.set(shared.live.get() + 1);
    let left = Rc::clone(&shared);
    let guard = OnDrop(move || left.live.set(left.live.get() - 1));
    Box::pin(async move {
        let _guard = guard;
        let of = |plan: Box<Plan>| run(*plan, scopes, &shared);
        match plan {
            Plan::Sleep(seconds) => drop(sleep(SECOND * seconds).await),
            Plan::Yield => yield_now().await,
            Plan::Never => drop(within(scopes, std::future::pending::<()>()).await),
            Plan::Listen => drop(cancelled().await),
            Plan::Scoped(plan) => drop(cancellable(of(plan)).await),
            Plan::Shielded(plan) => shield(of(plan)).await,
            Plan::Timeout(seconds, plan) => drop(timeout(SECOND * seconds, of(plan)).await),
            Plan::Then(plans) => {
                for plan in plans {
                    of(Box::new(plan)).await;
                }
            }
            Plan::Join(one, two) => drop(join(of(one), of(two)).await),
            Plan::Select(one, two) => drop(select(of(one), of(two)).await),
            Plan::Unordered(plans) => unordered(plans, scopes, &shared).collect().await,
            Plan::Carried(plans) => {
                let mut all = unordered(plans, scopes, &shared);
                let _ = shield(timeout(SECOND, all.next())).await;
                all.collect().await
            }
            Plan::Children(plans) => {
                let shared = &shared;
                scope(async move |s: Scope<'_>| {
                    for plan in plans {
                        s.spawn(run(plan, scopes, shared));
                    }
                })
                .await;
            }
            Plan::Group(plans, body) => {
                let group = TaskGroup::<(), ()>::new();
                for plan in plans {
                    group.post_value(run(plan, scopes, &shared));
                }
                let body = of(body);
                let body = async {
                    body.await;
                    Ok::<(), ()>(())
                };
                let ran = group.run(|_| body).await;
                drop(ran);
            }
            Plan::Locked(plan) => {
                let _held = within(scopes, shared.lock.lock()).await;
                of(plan).await;
            }
            Plan::Give => drop(within(scopes, shared.channel.0.send(1)).await),
            Plan::Get => drop(within(scopes, shared.channel.1.recv()).await),
            Plan::Suicide => post_cancel(trapline::get_tid().await, "by its own hand"),
        }
    })
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Cancel(usize),
    Kill(usize),
    Sleep,
    Yield,
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![
        4 => (0..4_usize).prop_map(Order::Cancel),
        1 => (0..4_usize).prop_map(Order::Kill),
        2 => Just(Order::Sleep),
        3 => Just(Order::Yield),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn random_programs_are_cancelled_and_killed_then_all_end_and_nothing_is_left(
        programs in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..90)), 1..4),
        orders in prop::collection::vec(order(), 0..12),
        quantum in prop_oneof![Just(1), Just(2), Just(32)],
        probed in any::<bool>(),
    ) {
        let mut builder = builder().quantum(quantum);
        if probed {
            builder = builder.probe(|event: &trapline::Event<'_>| drop(event.to_string()));
        }
        let mut scheduler = builder.build();
        let shared = Rc::new(Shared {
            live: Cell::new(0),
            lock: Mutex::new(()),
            channel: channel(0),
        });
        let all = Rc::clone(&shared);
        let driver = scheduler.spawn(async move {
            let (mut tasks, mut plans) = (Vec::new(), Vec::new());
            for (scopes, bytes) in programs {
                let mut reader = Reader { bytes: bytes.iter(), scopes };
                let plan = reader.plan(4, false);
                plans.push(format!("{plan:?}"));
                let child = spawn(run(plan, scopes, &all)).await;
                tasks.push(child.id());
                child.detach();
            }
            for order in orders {
                match order {
                    Order::Cancel(which) => {
                        if let Some(task) = tasks.get(which) {
                            let _ = cancel(*task, "by order").await;
                        }
                    }
                    Order::Kill(which) => {
                        if let Some(task) = tasks.get(which) {
                            let _ = kill(*task).await;
                        }
                    }
                    Order::Sleep => drop(sleep(SECOND).await),
                    Order::Yield => yield_now().await,
                }
            }
            for task in &tasks {
                let _ = cancel(*task, "in the end").await;
            }
            for task in tasks {
                let ended = timeout(SECOND * 10_000, wait(task)).await;
                assert!(ended.is_ok(), "{task} was told to end: {plans:?}");
            }
        });
        loop {
            let step = scheduler.step();
            scheduler.check_invariants();
            if step.is_last() {
                break;
            }
        }
        scheduler.block_on(driver).unwrap().unwrap();
        prop_assert_eq!(shared.live.get(), 0);
        prop_assert!(shared.lock.try_lock().is_some());
        prop_assert!(shared.channel.0.try_send(1).is_err());
        assert_empty(&scheduler);
    }
}
