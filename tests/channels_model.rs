//! Channels against a model: random operations, drops, closes and kills; and random tasks, whose
//! values are counted.
//!
//! The model knows no tokens and no ring: it has lists of who waits, of who was given what, and the
//! values in a `VecDeque`. After every operation both must agree.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::{FutureExt, select_biased};
use proptest::prelude::*;
use proptest::test_runner::Config;
use support::{assert_empty, builder, run_clean};
use trapline::channel::{Receiver, Recv, Send, Sender, TryRecvError, TrySendError, channel};
use trapline::{RunError, TaskId, post_kill, random, sleep, timeout, yield_now};

// One task that holds many operations

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Makes a send and polls it.
    Send,
    Recv,
    TrySend,
    TryRecv,
    /// Makes one, and leaves it unpolled.
    SendUnpolled,
    RecvUnpolled,
    /// Polls one that waits; under a waker of nobody's, if so it says.
    PollSend(u8, bool),
    PollRecv(u8, bool),
    DropSend(u8),
    DropRecv(u8),
    Reserve,
    UsePermit,
    DropPermit,
    /// Lets the kernel serve what was asked.
    Yield,
    Close,
}

fn op() -> impl Strategy<Value = Op> {
    let byte = any::<u8>;
    prop_oneof![
        4 => Just(Op::Send),
        4 => Just(Op::Recv),
        2 => Just(Op::TrySend),
        2 => Just(Op::TryRecv),
        1 => Just(Op::SendUnpolled),
        1 => Just(Op::RecvUnpolled),
        4 => (byte(), any::<bool>()).prop_map(|(which, foreign)| Op::PollSend(which, foreign)),
        4 => (byte(), any::<bool>()).prop_map(|(which, foreign)| Op::PollRecv(which, foreign)),
        2 => byte().prop_map(Op::DropSend),
        2 => byte().prop_map(Op::DropRecv),
        1 => Just(Op::Reserve),
        1 => Just(Op::UsePermit),
        1 => Just(Op::DropPermit),
        4 => Just(Op::Yield),
        1 => Just(Op::Close),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Unpolled,
    Waits,
    /// It was given room, or a value.
    Given,
    /// A rendezvous: its value lies there.
    Offers,
    /// Its value was taken, and it has not heard of it.
    Taken,
    /// A rendezvous that was closed: it may have its value back.
    Recalled,
}

/// What a channel should do.
struct Model {
    rendezvous: bool,
    free: usize,
    values: VecDeque<u32>,
    /// Values that nobody was given.
    loose: usize,
    closed: bool,
    sends: BTreeMap<u32, State>,
    recvs: BTreeMap<u32, State>,
    /// In order of arrival.
    senders_in_line: VecDeque<u32>,
    receivers_in_line: VecDeque<u32>,
    offerer: Option<u32>,
}

impl Model {
    fn new(capacity: usize) -> Model {
        Model {
            rendezvous: capacity == 0,
            free: capacity.max(1),
            values: VecDeque::new(),
            loose: 0,
            closed: false,
            sends: BTreeMap::new(),
            recvs: BTreeMap::new(),
            senders_in_line: VecDeque::new(),
            receivers_in_line: VecDeque::new(),
            offerer: None,
        }
    }

    fn give_room(&mut self) {
        match self.senders_in_line.pop_front() {
            Some(first) => drop(self.sends.insert(first, State::Given)),
            None => self.free += 1,
        }
    }

    fn give_value(&mut self) {
        match self.receivers_in_line.pop_front() {
            Some(first) => drop(self.recvs.insert(first, State::Given)),
            None => self.loose += 1,
        }
    }

    fn put(&mut self, value: u32) {
        self.values.push_back(value);
        self.give_value();
    }

    fn take(&mut self) -> u32 {
        let value = self.values.pop_front().unwrap();
        match self.offerer.take() {
            Some(offerer) if self.sends.get(&offerer) == Some(&State::Offers) => {
                self.sends.insert(offerer, State::Taken);
            }
            // It went, or was told of the end.
            _ => self.give_room(),
        }
        value
    }

    fn is_over(&self) -> bool {
        self.closed && self.values.is_empty()
    }

    fn close(&mut self) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        if self.loose > 0 {
            self.recall();
        }
    }

    fn recall(&mut self) {
        if let Some(offerer) = self.offerer
            && self.sends.get(&offerer) == Some(&State::Offers)
        {
            self.sends.insert(offerer, State::Recalled);
        }
    }

    /// What a poll of a send gives: `Some(true)` if it is sent.
    fn poll_send(&mut self, id: u32) -> Option<bool> {
        let state = self.sends[&id];
        let done = match state {
            State::Unpolled | State::Waits | State::Given if self.closed => Some(false),
            State::Unpolled if self.free > 0 => {
                self.free -= 1;
                self.fill(id)
            }
            State::Unpolled => {
                self.sends.insert(id, State::Waits);
                self.senders_in_line.push_back(id);
                None
            }
            State::Given => self.fill(id),
            State::Waits | State::Offers => None,
            State::Taken => {
                self.give_room();
                Some(true)
            }
            State::Recalled if self.loose > 0 => {
                self.loose -= 1;
                self.values.pop_front();
                self.give_room();
                Some(false)
            }
            State::Recalled => Some(true),
        };
        if done.is_some() {
            self.sends.remove(&id);
            self.senders_in_line.retain(|waiting| *waiting != id);
        }
        done
    }

    fn fill(&mut self, id: u32) -> Option<bool> {
        let met = !self.rendezvous;
        if !met {
            self.sends.insert(id, State::Offers);
            self.offerer = Some(id);
        }
        self.put(id);
        met.then_some(true)
    }

    fn poll_recv(&mut self, id: u32) -> Option<Option<u32>> {
        let done = match self.recvs[&id] {
            _ if self.is_over() => Some(None),
            State::Unpolled if self.loose > 0 => {
                self.loose -= 1;
                Some(Some(self.take()))
            }
            State::Unpolled => {
                self.recvs.insert(id, State::Waits);
                self.receivers_in_line.push_back(id);
                None
            }
            State::Given => Some(Some(self.take())),
            _ => None,
        };
        if done.is_some() {
            self.recvs.remove(&id);
            self.receivers_in_line.retain(|waiting| *waiting != id);
        }
        done
    }

    fn drop_send(&mut self, id: u32) {
        self.senders_in_line.retain(|waiting| *waiting != id);
        match self.sends.remove(&id).unwrap() {
            State::Given | State::Taken => self.give_room(),
            State::Offers | State::Recalled if self.loose > 0 => {
                self.loose -= 1;
                self.values.pop_front();
                self.give_room();
            }
            _ => {}
        }
    }

    fn drop_recv(&mut self, id: u32) {
        self.receivers_in_line.retain(|waiting| *waiting != id);
        if self.recvs.remove(&id) == Some(State::Given) {
            self.give_value();
        }
    }

    fn try_send(&mut self, value: u32) -> Result<(), TrySendError<u32>> {
        if self.closed {
            return Err(TrySendError::Closed(value));
        }
        if self.free == 0 || (self.rendezvous && self.receivers_in_line.is_empty()) {
            return Err(TrySendError::Full(value));
        }
        self.free -= 1;
        self.put(value);
        Ok(())
    }

    fn try_recv(&mut self) -> Result<u32, TryRecvError> {
        if self.loose > 0 {
            self.loose -= 1;
            return Ok(self.take());
        }
        Err(if self.is_over() { TryRecvError::Closed } else { TryRecvError::Empty })
    }
}

/// The channel and the model, side by side.
struct Bench<'a> {
    sender: &'a Sender<u32>,
    receiver: &'a Receiver<u32>,
    model: Model,
    sends: BTreeMap<u32, Send<'a, u32>>,
    recvs: BTreeMap<u32, Recv<'a, u32>>,
    permits: Vec<trapline::channel::Permit<'a, u32>>,
    last: u32,
}

fn pick(ids: impl ExactSizeIterator<Item = u32>, which: u8) -> Option<u32> {
    let mut ids = ids;
    let count = ids.len();
    if count == 0 { None } else { ids.nth(usize::from(which) % count) }
}

impl Bench<'_> {
    fn next(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    fn make_send(&mut self) -> u32 {
        let id = self.next();
        self.sends.insert(id, self.sender.send(id));
        self.model.sends.insert(id, State::Unpolled);
        id
    }

    fn make_recv(&mut self) -> u32 {
        let id = self.next();
        self.recvs.insert(id, self.receiver.recv());
        self.model.recvs.insert(id, State::Unpolled);
        id
    }

    fn poll_send(&mut self, id: u32, cx: &mut Context<'_>) {
        let polled = Pin::new(self.sends.get_mut(&id).unwrap()).poll(cx);
        match (polled, self.model.poll_send(id)) {
            (Poll::Pending, None) => return,
            (Poll::Ready(Ok(())), Some(true)) => {}
            (Poll::Ready(Err(error)), Some(false)) => assert_eq!(error.into_inner(), id),
            (polled, expected) => panic!("send {id}: {polled:?}, but {expected:?}"),
        }
        self.sends.remove(&id);
    }

    fn poll_recv(&mut self, id: u32, cx: &mut Context<'_>) {
        let polled = Pin::new(self.recvs.get_mut(&id).unwrap()).poll(cx);
        match (polled, self.model.poll_recv(id)) {
            (Poll::Pending, None) => return,
            (Poll::Ready(received), Some(expected)) => assert_eq!(received, expected),
            (polled, expected) => panic!("recv {id}: {polled:?}, but {expected:?}"),
        }
        self.recvs.remove(&id);
    }

    fn act(&mut self, op: Op, cx: &mut Context<'_>) {
        let mut idle = Context::from_waker(Waker::noop());
        match op {
            Op::Send => {
                let id = self.make_send();
                self.poll_send(id, cx);
            }
            Op::Recv => {
                let id = self.make_recv();
                self.poll_recv(id, cx);
            }
            Op::SendUnpolled => drop(self.make_send()),
            Op::RecvUnpolled => drop(self.make_recv()),
            Op::TrySend => {
                let value = self.next();
                assert_eq!(self.sender.try_send(value), self.model.try_send(value));
            }
            Op::TryRecv => assert_eq!(self.receiver.try_recv(), self.model.try_recv()),
            Op::PollSend(which, foreign) => {
                if let Some(id) = pick(self.sends.keys().copied(), which) {
                    self.poll_send(id, if foreign { &mut idle } else { cx });
                }
            }
            Op::PollRecv(which, foreign) => {
                if let Some(id) = pick(self.recvs.keys().copied(), which) {
                    self.poll_recv(id, if foreign { &mut idle } else { cx });
                }
            }
            Op::DropSend(which) => {
                if let Some(id) = pick(self.sends.keys().copied(), which) {
                    self.sends.remove(&id);
                    self.model.drop_send(id);
                }
            }
            Op::DropRecv(which) => {
                if let Some(id) = pick(self.recvs.keys().copied(), which) {
                    self.recvs.remove(&id);
                    self.model.drop_recv(id);
                }
            }
            Op::Reserve => self.reserve(),
            Op::UsePermit => self.use_permit(),
            Op::DropPermit => {
                if self.permits.pop().is_some() {
                    self.model.give_room();
                }
            }
            Op::Close => {
                assert_eq!(self.receiver.close(), !self.model.closed);
                self.model.close();
            }
            Op::Yield => {}
        }
    }

    fn reserve(&mut self) {
        let permit = self.sender.try_reserve();
        let met = !self.model.rendezvous || !self.model.receivers_in_line.is_empty();
        let expected = !self.model.closed && self.model.free > 0 && met;
        assert_eq!(permit.is_some(), expected);
        self.model.free -= usize::from(expected);
        self.permits.extend(permit);
    }

    fn use_permit(&mut self) {
        let Some(permit) = self.permits.pop() else { return };
        let value = self.next();
        assert_eq!(permit.send(value).is_err(), self.model.closed);
        if self.model.closed {
            self.model.give_room();
        } else {
            self.model.put(value);
        }
    }

    fn check(&self) {
        let model = &self.model;
        assert_eq!(self.receiver.len(), model.values.len());
        assert_eq!(self.receiver.is_closed(), model.closed);
        if !model.closed {
            let given = model.recvs.values().filter(|state| **state == State::Given).count();
            assert_eq!(model.values.len(), model.loose + given, "each value is loose or given");
        }
    }
}

fn run_against_the_model(capacity: usize, ops: Vec<Op>) {
    let mut scheduler = builder().quantum(1_000_000).build();
    let run = async {
        let (sender, receiver) = channel(capacity);
        let mut bench = Bench {
            sender: &sender,
            receiver: &receiver,
            model: Model::new(capacity),
            sends: BTreeMap::new(),
            recvs: BTreeMap::new(),
            permits: Vec::new(),
            last: 0,
        };
        for op in ops {
            let act = |cx: &mut Context<'_>| {
                bench.act(op, cx);
                Poll::Ready(())
            };
            std::future::poll_fn(act).await;
            bench.check();
            if matches!(op, Op::Yield) {
                yield_now().await;
            }
        }
        // All that is left goes, in the order in which it was made.
        let Bench { sends, recvs, permits, .. } = bench;
        drop((permits, sends, recvs));
        while receiver.try_recv().is_ok() {}
        // And the channel is as good as new.
        if !sender.is_closed() {
            let (received, sent) = futures::join!(receiver.recv(), sender.send(0));
            assert_eq!((received, sent), (Some(0), Ok(())));
        }
    };
    scheduler.block_on(run).unwrap();
    run_clean(&mut scheduler);
}

proptest! {
    #![proptest_config(Config { cases: 700, failure_persistence: None, ..Config::default() })]

    #[test]
    fn random_operations_then_the_channel_does_what_the_model_says(
        capacity in prop_oneof![Just(0_usize), 1_usize..4, Just(usize::MAX)],
        ops in prop::collection::vec(op(), 0..120),
    ) {
        run_against_the_model(capacity, ops);
    }
}

// Many tasks

/// What the tasks of a throng saw.
#[derive(Default)]
struct Ledger {
    /// Sends that said they had sent; by sender, in order.
    sent: Vec<(u32, u32)>,
    /// Sends that were dropped or killed: at a rendezvous they may have been sent.
    doubtful: Vec<(u32, u32)>,
    received: Vec<(u32, u32)>,
}

/// A send that is counted, whatever becomes of it.
struct Counted<'a> {
    ledger: &'a RefCell<Ledger>,
    value: (u32, u32),
    done: bool,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.ledger.borrow_mut().doubtful.push(self.value);
        }
    }
}

async fn counted_send(ledger: &RefCell<Ledger>, sender: &Sender<(u32, u32)>, value: (u32, u32)) {
    let mut counted = Counted { ledger, value, done: false };
    let sent = sender.send(value).await;
    counted.done = true;
    if sent.is_ok() {
        ledger.borrow_mut().sent.push(value);
    }
}

async fn producer(number: u32, sender: Sender<(u32, u32)>, ledger: Rc<RefCell<Ledger>>) {
    for count in 0..15 {
        let value = (number, count);
        match random() % 5 {
            0 => {
                let _ =
                    timeout(Duration::from_nanos(2), counted_send(&ledger, &sender, value)).await;
            }
            1 => {
                if sender.try_send(value).is_ok() {
                    ledger.borrow_mut().sent.push(value);
                }
            }
            2 => {
                select_biased! {
                    () = counted_send(&ledger, &sender, value).fuse() => {}
                    () = yield_now().fuse() => {}
                }
            }
            _ => counted_send(&ledger, &sender, value).await,
        }
        if random().is_multiple_of(3) {
            sleep(Duration::from_nanos(random() % 4)).await;
        }
    }
}

async fn consumer(receiver: Receiver<(u32, u32)>, ledger: Rc<RefCell<Ledger>>) {
    loop {
        let received = match random() % 3 {
            0 => match timeout(Duration::from_nanos(1), receiver.recv()).await {
                Ok(received) => received,
                Err(_) => continue,
            },
            1 => {
                select_biased! {
                    received = receiver.recv().fuse() => received,
                    () = yield_now().fuse() => continue,
                }
            }
            _ => receiver.recv().await,
        };
        let Some(value) = received else { return };
        ledger.borrow_mut().received.push(value);
    }
}

fn throng(seed: u64) {
    let capacity = [0, 1, 3, usize::MAX][(seed % 4) as usize];
    let quantum = [1, 2, 7, 32][(seed / 4 % 4) as usize];
    let mut scheduler = builder().quantum(quantum).seed(seed).build();
    let ledger = Rc::new(RefCell::new(Ledger::default()));
    let (sender, receiver) = channel(capacity);
    let mut tasks: Vec<TaskId> = Vec::new();
    for number in 0..4 {
        let task = scheduler.spawn(producer(number, sender.clone(), Rc::clone(&ledger)));
        tasks.push(task.id());
        task.detach();
    }
    for _ in 0..3 {
        let task = scheduler.spawn(consumer(receiver.clone(), Rc::clone(&ledger)));
        tasks.push(task.id());
        task.detach();
    }
    drop(sender);
    let kills = seed % 3;
    scheduler
        .spawn(async move {
            for _ in 0..kills {
                for _ in 0..random() % 60 {
                    yield_now().await;
                }
                post_kill(tasks[(random() % tasks.len() as u64) as usize]);
            }
        })
        .detach();
    loop {
        let step = scheduler.step();
        scheduler.check_invariants();
        if step.is_last() {
            break;
        }
    }
    match scheduler.run() {
        Ok(report) => assert_eq!(report.failures, 0, "seed {seed}: {report}"),
        Err(error @ RunError::Deadlock(_)) => panic!("seed {seed}: {error}"),
        Err(error) => panic!("seed {seed}: {error}"),
    }
    while let Ok(value) = receiver.try_recv() {
        ledger.borrow_mut().received.push(value);
    }
    check_ledger(&ledger.borrow(), capacity, seed);
    assert_empty(&scheduler);
}

fn check_ledger(ledger: &Ledger, capacity: usize, seed: u64) {
    for number in 0..4 {
        let of = |values: &[(u32, u32)]| -> Vec<u32> {
            values.iter().filter(|(from, _)| *from == number).map(|(_, count)| *count).collect()
        };
        let (sent, received) = (of(&ledger.sent), of(&ledger.received));
        assert!(received.is_sorted(), "seed {seed}: out of order: {received:?}");
        let mut unique = received.clone();
        unique.dedup();
        assert_eq!(unique, received, "seed {seed}: a value came twice");
        for count in &sent {
            assert!(received.contains(count), "seed {seed}: {number} {count} was lost");
        }
        let doubtful = of(&ledger.doubtful);
        for count in received.iter().filter(|count| !sent.contains(count)) {
            let may_be = capacity == 0 && doubtful.contains(count);
            assert!(may_be, "seed {seed}: {number} {count} was not sent");
        }
    }
}

#[test]
fn throng_of_tasks_that_select_time_out_and_are_killed_then_every_value_is_accounted_for() {
    for seed in 0..300 {
        throng(seed);
    }
}
