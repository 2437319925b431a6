//! Mailboxes and oneshots under chance: tasks that send, receive, give up and are killed, against lists of
//! what was sent and what came.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;
use support::{assert_empty, builder};
use trapline::channel::oneshot::{self, oneshot};
use trapline::{TaskId, kill, receive, send, timeout, try_receive, yield_now};

const TASKS: usize = 4;
const NANO: Duration = Duration::from_nanos(1);

#[derive(Clone, Debug)]
enum Op {
    /// To this task.
    Send(usize),
    Receive,
    ReceiveAtOnce,
    Yield,
    /// Hands the receiver of a oneshot to this task, by mail, and keeps the sender.
    Promise(usize),
    /// Sends into the first oneshot that it keeps, or drops it.
    Keep(bool),
    /// Waits for the first oneshot that it was handed, so long.
    Await(u8),
    Kill(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..TASKS).prop_map(Op::Send),
        4 => Just(Op::Receive),
        1 => Just(Op::ReceiveAtOnce),
        2 => Just(Op::Yield),
        3 => (0..TASKS).prop_map(Op::Promise),
        3 => any::<bool>().prop_map(Op::Keep),
        3 => (0..4_u8).prop_map(Op::Await),
        1 => (0..TASKS).prop_map(Op::Kill),
    ]
}

/// A letter: who sent it, and which of that one's letters it is.
type Letter = (usize, u32);

#[derive(Default)]
struct World {
    ids: RefCell<Vec<TaskId>>,
    /// What each task was sent, for which the sender was told that it is there; and what came.
    sent: RefCell<[Vec<Letter>; TASKS]>,
    came: RefCell<[Vec<Letter>; TASKS]>,
    /// Values that were taken by oneshots, and those that came out.
    given: RefCell<Vec<u32>>,
    got: RefCell<Vec<u32>>,
}

async fn live(me: usize, script: Vec<Op>, world: Rc<World>) {
    let (mut letters, mut kept) = (0, Vec::<(u32, oneshot::Sender<u32>)>::new());
    for op in script {
        let task = |number: usize| world.ids.borrow()[number];
        match op {
            Op::Send(to) => {
                letters += 1;
                if send(task(to), (me, letters)).await.is_ok() {
                    world.sent.borrow_mut()[to].push((me, letters));
                }
            }
            Op::Receive => {
                if let Ok(letter) = timeout(NANO, receive::<Letter>()).await {
                    world.came.borrow_mut()[me].push(letter);
                }
            }
            Op::ReceiveAtOnce => world.came.borrow_mut()[me].extend(try_receive::<Letter>()),
            Op::Yield => yield_now().await,
            Op::Promise(to) => {
                let (sender, receiver) = oneshot();
                letters += 1;
                kept.push((me as u32 * 1000 + letters, sender));
                drop(send(task(to), receiver).await);
            }
            Op::Keep(keeps) => {
                if let Some((value, sender)) = kept.pop()
                    && keeps
                    && sender.send(value).is_ok()
                {
                    world.given.borrow_mut().push(value);
                }
            }
            Op::Await(nanos) => {
                if let Some(receiver) = try_receive::<oneshot::Receiver<u32>>()
                    && let Ok(Ok(value)) = timeout(NANO * u32::from(nanos), receiver).await
                {
                    world.got.borrow_mut().push(value);
                }
            }
            Op::Kill(number) => drop(kill(task(number)).await),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_letters_then_each_comes_once_in_order_and_oneshots_give_what_they_were_given(
        scripts in prop::collection::vec(prop::collection::vec(op(), 0..30), TASKS),
        quantum in prop_oneof![Just(1_u32), Just(2), Just(32)],
    ) {
        let mut scheduler = builder().quantum(quantum).build();
        let world = Rc::new(World::default());
        for (me, script) in scripts.into_iter().enumerate() {
            let task = scheduler.spawn(live(me, script, Rc::clone(&world)));
            world.ids.borrow_mut().push(task.id());
            task.detach();
        }
        while !scheduler.step().is_last() {
            scheduler.check_invariants();
        }
        assert_empty(&scheduler);
        for to in 0..TASKS {
            let (sent, came) = (&world.sent.borrow()[to], &world.came.borrow()[to]);
            for from in 0..TASKS {
                let of = |letters: &[Letter]| -> Vec<u32> {
                    letters.iter().filter(|(by, _)| *by == from).map(|(_, number)| *number).collect()
                };
                let (sent, came) = (of(sent), of(came));
                // One whose sender was killed before it was told may have come as well.
                let told: Vec<u32> =
                    came.iter().copied().filter(|number| sent.contains(number)).collect();
                prop_assert!(came.len() <= told.len() + 1, "{:?} came, {:?} were sent", came, sent);
                prop_assert!(came.is_sorted_by(|a, b| a < b), "out of order: {:?}", came);
                prop_assert_eq!(&told[..], &sent[..told.len()], "one was passed over");
            }
        }
        let (given, got) = (world.given.borrow(), world.got.borrow());
        prop_assert!(got.iter().all(|value| given.contains(value)), "nobody gave it");
        let mut once = got.clone();
        once.sort_unstable();
        once.dedup();
        prop_assert_eq!(once.len(), got.len(), "it came twice");
    }
}
