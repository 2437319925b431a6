//! Random trees of groups, with failures, kills, cancels and drops: nothing outlives its group, and
//! no result is told twice.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;
use support::{OnDrop, assert_empty};
use trapline::{
    Builder, ChildError, GroupError, GroupHandle, Scheduler, StepEvent, TaskGroup, TaskId,
    cancellable, post_cancel, post_kill, sleep, yield_now,
};

#[derive(Clone, Debug)]
enum Act {
    Yield,
    Sleep(u8),
    Spawn(Plan),
    Post(Plan),
    Daemon(Plan),
    Next,
    Kill(u8),
    Cancel(u8),
    CancelGroup,
}

/// How a node waits for its children.
#[derive(Clone, Copy, Debug)]
enum Form {
    JoinAll,
    Drain,
    First,
    FirstOk,
    Close,
    Drop,
    Body,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Value,
    Error,
    Panic,
    /// It cleans up when it is cancelled.
    Polite,
    Lasting,
}

#[derive(Clone, Debug)]
struct Plan {
    acts: Vec<Act>,
    form: Form,
    tolerant: bool,
    end: End,
}

fn plans() -> impl Strategy<Value = Plan> {
    let form = prop_oneof![
        3 => Just(Form::JoinAll),
        2 => Just(Form::Drain),
        1 => Just(Form::First),
        1 => Just(Form::FirstOk),
        1 => Just(Form::Close),
        1 => Just(Form::Drop),
        3 => Just(Form::Body),
    ];
    let end = prop_oneof![
        5 => Just(End::Value),
        1 => Just(End::Error),
        1 => Just(End::Panic),
        2 => Just(End::Polite),
        1 => Just(End::Lasting),
    ];
    let simple = prop_oneof![
        3 => Just(Act::Yield),
        3 => (0..5_u8).prop_map(Act::Sleep),
        2 => Just(Act::Next),
        1 => any::<u8>().prop_map(Act::Kill),
        1 => any::<u8>().prop_map(Act::Cancel),
        1 => Just(Act::CancelGroup),
    ];
    let plan =
        |acts: BoxedStrategy<Vec<Act>>, form: BoxedStrategy<Form>, end: BoxedStrategy<End>| {
            (acts, form, any::<bool>(), end).prop_map(|(acts, form, tolerant, end)| Plan {
                acts,
                form,
                tolerant,
                end,
            })
        };
    let (form, end, simple) = (form.boxed(), end.boxed(), simple.boxed());
    let leaf = plan(prop::collection::vec(simple.clone(), 0..3).boxed(), form.clone(), end.clone());
    leaf.prop_recursive(4, 40, 5, move |inner| {
        let act = prop_oneof![
            3 => inner.clone().prop_map(Act::Spawn),
            2 => inner.clone().prop_map(Act::Post),
            1 => inner.prop_map(Act::Daemon),
            3 => simple.clone(),
        ];
        plan(prop::collection::vec(act, 0..6).boxed(), form.clone(), end.clone())
    })
}

#[derive(Default)]
struct World {
    last_node: u32,
    /// The nodes whose futures exist, and whose child each is.
    live: BTreeMap<u32, u32>,
    /// How often each node's result was told.
    told: BTreeMap<u32, u32>,
    tasks: Vec<TaskId>,
}

type Shared = Rc<RefCell<World>>;
type Group = TaskGroup<u32, u32>;
type Handle = GroupHandle<u32, u32>;

impl World {
    /// No node outlives the one in whose group it is.
    fn check(&self) {
        for (node, parent) in &self.live {
            let alive = *parent == 0 || self.live.contains_key(parent);
            assert!(alive, "node {node} outlives the group of node {parent}");
        }
    }

    fn childless(&self, node: u32) -> bool {
        self.live.values().all(|parent| *parent != node)
    }
}

fn tell(world: &Shared, result: &Result<u32, ChildError<u32>>) {
    let node = match result {
        Ok(node) => *node,
        Err(error) => match error.error() {
            Some(node) => *node,
            None => return,
        },
    };
    let told = &mut *world.borrow_mut();
    let count = told.told.entry(node).or_default();
    *count += 1;
    assert_eq!(*count, 1, "node {node} was told twice");
}

fn tell_error(world: &Shared, error: GroupError<u32>) {
    for child in error.into_errors().0 {
        tell(world, &Err(child));
    }
}

type Node = Pin<Box<dyn Future<Output = Result<u32, u32>>>>;

/// A node: its future is known from the moment it is made.
fn node(plan: Plan, world: &Shared, parent: u32) -> Node {
    let world = Rc::clone(world);
    let name = {
        let world = &mut *world.borrow_mut();
        world.last_node += 1;
        let name = world.last_node;
        world.live.insert(name, parent);
        name
    };
    let leaving = Rc::clone(&world);
    let guard = OnDrop(move || {
        leaving.borrow_mut().live.remove(&name);
    });
    Box::pin(async move {
        // Dropped last: whoever is in the group has been told to end by then.
        let _guard = guard;
        let group = if plan.tolerant { Group::new().tolerant() } else { Group::new() };
        wait(&plan, group, &world, name).await;
        assert!(
            world.borrow().childless(name),
            "the group of node {name} has ended before its children"
        );
        match plan.end {
            End::Value => Ok(name),
            End::Error => Err(name),
            End::Panic => panic!("on purpose"),
            End::Polite => {
                let heard = cancellable(sleep(Duration::from_secs(5))).await;
                sleep(Duration::from_millis(1)).await;
                heard.map(|_| name).map_err(|_| name)
            }
            End::Lasting => {
                sleep(Duration::from_secs(60)).await;
                Ok(name)
            }
        }
    })
}

async fn wait(plan: &Plan, group: Group, world: &Shared, name: u32) {
    if let Form::Body = plan.form {
        let body = async |handle: Handle| {
            act(plan, &handle, world, name).await;
            if plan.tolerant { Ok(()) } else { Err(name) }
        };
        if let Err(error) = group.run(body).await {
            tell_error(world, error);
        }
        return;
    }
    act(plan, &group, world, name).await;
    match plan.form {
        Form::JoinAll => match group.join_all().await {
            Ok(values) => {
                assert!(values.is_sorted(), "in the order in which they were spawned");
                values.into_iter().for_each(|value| tell(world, &Ok(value)));
            }
            Err(error) => tell_error(world, error),
        },
        Form::Drain => {
            while let Some((_, result)) = group.next().await {
                tell(world, &result);
            }
            group.close().await;
        }
        Form::First => {
            if let Some((_, result)) = group.first().await {
                tell(world, &result);
            }
        }
        Form::FirstOk => match group.first_ok().await {
            Ok((_, value)) => tell(world, &Ok(value)),
            Err(error) => tell_error(world, error),
        },
        Form::Close => group.close().await,
        Form::Drop => {
            drop(group);
            // The kills are served when this step is over.
            yield_now().await;
        }
        Form::Body => unreachable!(),
    }
}

async fn act(plan: &Plan, group: &Handle, world: &Shared, name: u32) {
    for act in plan.acts.clone() {
        match act {
            Act::Yield => yield_now().await,
            Act::Sleep(millis) => drop(sleep(Duration::from_millis(u64::from(millis))).await),
            Act::Spawn(plan) => {
                let task = group.spawn(node(plan, world, name)).await;
                world.borrow_mut().tasks.push(task);
            }
            Act::Post(plan) => group.post(node(plan, world, name)),
            Act::Daemon(plan) => {
                group.spawn(node(plan, world, name)).daemon().await;
            }
            Act::Next => {
                if let Some((_, result)) = group.next().await {
                    tell(world, &result);
                }
            }
            Act::Kill(which) => pick(world, which).map_or((), post_kill),
            Act::Cancel(which) => pick(world, which).map_or((), |task| post_cancel(task, "you")),
            Act::CancelGroup => group.cancel("all of you"),
        }
    }
}

fn pick(world: &Shared, which: u8) -> Option<TaskId> {
    let tasks = &world.borrow().tasks;
    tasks.get(usize::from(which) % tasks.len().max(1)).copied()
}

fn builder(quantum: u32) -> Builder {
    Scheduler::builder().quantum(quantum).virtual_clock().stall_limit(Duration::from_secs(1))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn random_tree_of_groups_then_nothing_outlives_its_group_and_results_are_told_once(
        plan in plans(),
        quantum in prop::sample::select(vec![1_u32, 2, 32]),
        kill_after in 0..200_usize,
    ) {
        let world = Shared::default();
        let mut scheduler = builder(quantum).build();
        let root = scheduler.spawn(node(plan, &world, 0));
        let mut steps = 0;
        loop {
            let step = scheduler.step();
            scheduler.check_invariants();
            world.borrow().check();
            match step.event() {
                StepEvent::Finished => break,
                StepEvent::Deadlock | StepEvent::Stalled => panic!("nobody can go on: {step}"),
                _ => {}
            }
            steps += 1;
            if steps == kill_after {
                root.kill();
            }
            assert!(steps < 100_000, "it never ends");
        }
        drop(root);
        scheduler.step();
        // Panics that nobody was told of are as they should be, but for those of this test itself.
        let report = scheduler.run().unwrap();
        for failure in &report.first_failures {
            assert_eq!(&*failure.text, "on purpose");
        }
        assert!(world.borrow().live.is_empty());
        assert_empty(&scheduler);
    }
}
