//! Queues, broadcasts and watches against simple models: random operations, drops and closes.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::Config;
use support::{assert_empty, builder, run_clean};
use trapline::channel::broadcast::{Receiver, TryRecvError};
use trapline::channel::{Get, Lag, Put, Queue, TrySendError, broadcast_with, watch};
use trapline::{post_kill, random, sleep, timeout, yield_now};

// Queues

#[derive(Clone, Copy, Debug)]
enum Op {
    Put(u8),
    Get,
    PollPut(u8),
    PollGet(u8),
    DropPut(u8),
    DropGet(u8),
    TryPut(u8),
    TryGet,
    Yield,
}

fn op() -> impl Strategy<Value = Op> {
    let byte = any::<u8>;
    prop_oneof![
        4 => byte().prop_map(Op::Put),
        4 => Just(Op::Get),
        3 => byte().prop_map(Op::PollPut),
        3 => byte().prop_map(Op::PollGet),
        2 => byte().prop_map(Op::DropPut),
        2 => byte().prop_map(Op::DropGet),
        2 => byte().prop_map(Op::TryPut),
        2 => Just(Op::TryGet),
        3 => Just(Op::Yield),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Fifo,
    Lifo,
    Priority,
}

/// A value that is compared by its rank; the number tells equal ones apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Value {
    rank: u8,
    number: u32,
}

struct Model {
    order: Order,
    capacity: usize,
    values: Vec<Value>,
    /// Who waits, and who was given what it waits for and has not come for it.
    putters: VecDeque<u32>,
    getters: VecDeque<u32>,
    putters_given: Vec<u32>,
    getters_given: Vec<u32>,
}

impl Model {
    fn room(&self) -> usize {
        self.capacity - self.values.len() - self.putters_given.len()
    }

    fn loose(&self) -> usize {
        self.values.len() - self.getters_given.len()
    }

    /// Gives what there is to those who wait.
    fn settle(&mut self) {
        while self.room() > 0
            && let Some(first) = self.putters.pop_front()
        {
            self.putters_given.push(first);
        }
        while self.loose() > 0
            && let Some(first) = self.getters.pop_front()
        {
            self.getters_given.push(first);
        }
    }

    fn put(&mut self, value: Value) {
        self.values.push(value);
        self.settle();
    }

    fn take(&mut self) -> Value {
        let at = match self.order {
            Order::Fifo => 0,
            Order::Lifo => self.values.len() - 1,
            Order::Priority => {
                let least =
                    self.values.iter().enumerate().max_by_key(|(_, value)| Reverse(**value));
                least.unwrap().0
            }
        };
        let value = self.values.remove(at);
        self.settle();
        value
    }
}

fn remove(list: &mut Vec<u32>, id: u32) -> bool {
    let at = list.iter().position(|given| *given == id);
    at.map(|at| list.remove(at)).is_some()
}

struct Bench<'a> {
    queue: &'a Queue<Value>,
    model: Model,
    puts: BTreeMap<u32, (Value, Put<'a, Value>)>,
    gets: BTreeMap<u32, Get<'a, Value>>,
    last: u32,
}

fn pick<T>(things: &BTreeMap<u32, T>, which: u8) -> Option<u32> {
    let count = things.len();
    if count == 0 { None } else { things.keys().nth(usize::from(which) % count).copied() }
}

impl Bench<'_> {
    fn value(&mut self, rank: u8) -> Value {
        self.last += 1;
        Value { rank: rank % 8, number: self.last }
    }

    fn poll_put(&mut self, id: u32, is_new: bool, cx: &mut Context<'_>) {
        let (value, put) = self.puts.get_mut(&id).unwrap();
        let (value, polled) = (*value, Pin::new(put).poll(cx).is_ready());
        let expected =
            if is_new { self.model.room() > 0 } else { remove(&mut self.model.putters_given, id) };
        assert_eq!(polled, expected, "put {id}");
        if expected {
            self.puts.remove(&id);
            self.model.put(value);
        } else if is_new {
            self.model.putters.push_back(id);
        }
    }

    fn poll_get(&mut self, id: u32, is_new: bool, cx: &mut Context<'_>) {
        let polled = Pin::new(self.gets.get_mut(&id).unwrap()).poll(cx);
        let expected =
            if is_new { self.model.loose() > 0 } else { remove(&mut self.model.getters_given, id) };
        match polled {
            Poll::Ready(value) => {
                assert!(expected, "get {id}");
                self.gets.remove(&id);
                assert_eq!(value, self.model.take());
            }
            Poll::Pending => {
                assert!(!expected, "get {id}");
                if is_new {
                    self.model.getters.push_back(id);
                }
            }
        }
    }

    fn act(&mut self, op: Op, cx: &mut Context<'_>) {
        match op {
            Op::Put(rank) => {
                let value = self.value(rank);
                self.puts.insert(value.number, (value, self.queue.put(value)));
                self.poll_put(value.number, true, cx);
            }
            Op::Get => {
                let id = self.value(0).number;
                self.gets.insert(id, self.queue.get());
                self.poll_get(id, true, cx);
            }
            Op::PollPut(which) => {
                if let Some(id) = pick(&self.puts, which) {
                    self.poll_put(id, false, cx);
                }
            }
            Op::PollGet(which) => {
                if let Some(id) = pick(&self.gets, which) {
                    self.poll_get(id, false, cx);
                }
            }
            Op::DropPut(which) => {
                if let Some(id) = pick(&self.puts, which) {
                    self.puts.remove(&id);
                    self.model.putters.retain(|waiting| *waiting != id);
                    remove(&mut self.model.putters_given, id);
                    self.model.settle();
                }
            }
            Op::DropGet(which) => {
                if let Some(id) = pick(&self.gets, which) {
                    self.gets.remove(&id);
                    self.model.getters.retain(|waiting| *waiting != id);
                    remove(&mut self.model.getters_given, id);
                    self.model.settle();
                }
            }
            Op::TryPut(rank) => {
                let value = self.value(rank);
                let expected = self.model.room() > 0;
                assert_eq!(self.queue.try_put(value).is_ok(), expected);
                if expected {
                    self.model.put(value);
                }
            }
            Op::TryGet => {
                let expected = (self.model.loose() > 0).then(|| self.model.take());
                assert_eq!(self.queue.try_get(), expected);
            }
            Op::Yield => {}
        }
        assert_eq!(self.queue.len(), self.model.values.len());
    }
}

fn run_queue(order: Order, capacity: usize, ops: Vec<Op>) {
    let mut scheduler = builder().quantum(1_000_000).build();
    let queue = match order {
        Order::Fifo => Queue::fifo(capacity),
        Order::Lifo => Queue::lifo(capacity),
        Order::Priority => Queue::priority(capacity),
    };
    let run = async {
        let model = Model {
            order,
            capacity,
            values: Vec::new(),
            putters: VecDeque::new(),
            getters: VecDeque::new(),
            putters_given: Vec::new(),
            getters_given: Vec::new(),
        };
        let (puts, gets) = (BTreeMap::new(), BTreeMap::new());
        let mut bench = Bench { queue: &queue, model, puts, gets, last: 0 };
        for op in ops {
            let act = |cx: &mut Context<'_>| {
                bench.act(op, cx);
                Poll::Ready(())
            };
            std::future::poll_fn(act).await;
            if matches!(op, Op::Yield) {
                yield_now().await;
            }
        }
        let mut put_in = bench.model.values.len();
        drop(bench);
        while queue.try_get().is_some() {
            put_in -= 1;
        }
        assert_eq!(put_in, 0);
    };
    scheduler.block_on(run).unwrap();
    run_clean(&mut scheduler);
}

// Broadcasts

#[derive(Clone, Copy, Debug)]
enum Cast {
    TrySend,
    TryRecv(u8),
    Subscribe,
    Clone(u8),
    Drop(u8),
}

fn cast() -> impl Strategy<Value = Cast> {
    let byte = any::<u8>;
    prop_oneof![
        5 => Just(Cast::TrySend),
        5 => byte().prop_map(Cast::TryRecv),
        1 => Just(Cast::Subscribe),
        1 => byte().prop_map(Cast::Clone),
        1 => byte().prop_map(Cast::Drop),
    ]
}

/// Each receiver with all that was sent since it was made and that it has not taken.
fn run_broadcast(lag: Lag, capacity: usize, ops: Vec<Cast>) {
    let (sender, first) = broadcast_with(capacity, lag);
    let mut receivers: Vec<(Receiver<u32>, VecDeque<u32>)> = vec![(first, VecDeque::new())];
    let mut last = 0;
    for op in ops {
        let at = |which: u8| usize::from(which).checked_rem(receivers.len());
        match op {
            Cast::TrySend => {
                last += 1;
                let full = receivers.iter().any(|(_, unread)| unread.len() == capacity);
                let expected = match receivers.len() {
                    0 => Err(TrySendError::Closed(last)),
                    _ if full && lag == Lag::Wait => Err(TrySendError::Full(last)),
                    count => Ok(count),
                };
                assert_eq!(sender.try_send(last), expected);
                if expected.is_ok() {
                    receivers.iter_mut().for_each(|(_, unread)| unread.push_back(last));
                }
            }
            Cast::TryRecv(which) => {
                let Some(at) = at(which) else { continue };
                let (receiver, unread) = &mut receivers[at];
                let missed = unread.len().saturating_sub(capacity);
                unread.drain(..missed);
                let expected = match unread.front() {
                    Some(_) if missed > 0 && lag == Lag::Report => {
                        Err(TryRecvError::Missed(missed as u64))
                    }
                    Some(_) => Ok(unread.pop_front().unwrap()),
                    None => Err(TryRecvError::Empty),
                };
                assert_eq!(receiver.try_recv(), expected);
            }
            Cast::Subscribe => receivers.push((sender.subscribe(), VecDeque::new())),
            Cast::Clone(which) => {
                let Some(at) = at(which) else { continue };
                let (receiver, unread) = &receivers[at];
                let copy = (receiver.clone(), unread.clone());
                receivers.push(copy);
            }
            Cast::Drop(which) => {
                let Some(at) = at(which) else { continue };
                receivers.remove(at);
            }
        }
        let kept = receivers.iter().map(|(_, unread)| unread.len()).max().unwrap_or(0);
        assert_eq!((sender.len(), sender.receivers()), (kept.min(capacity), receivers.len()));
        for (receiver, unread) in &receivers {
            assert_eq!(receiver.behind(), unread.len() as u64);
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 300, failure_persistence: None, ..Config::default() })]

    #[test]
    fn random_operations_then_the_queue_does_what_the_model_says(
        order in prop_oneof![Just(Order::Fifo), Just(Order::Lifo), Just(Order::Priority)],
        capacity in 1_usize..5,
        ops in prop::collection::vec(op(), 0..100),
    ) {
        run_queue(order, capacity, ops);
    }

    #[test]
    fn random_operations_then_the_broadcast_does_what_the_model_says(
        lag in prop_oneof![Just(Lag::Report), Just(Lag::Skip), Just(Lag::Wait)],
        capacity in 1_usize..5,
        ops in prop::collection::vec(cast(), 0..150),
    ) {
        run_broadcast(lag, capacity, ops);
    }
}

// Many tasks

/// Under back-pressure every receiver has every value, whoever is killed; the others some, in order.
fn broadcast_throng(seed: u64) {
    let lag = [Lag::Report, Lag::Skip, Lag::Wait][(seed % 3) as usize];
    let quantum = [1, 2, 32][(seed / 3 % 3) as usize];
    let mut scheduler = builder().quantum(quantum).seed(seed).build();
    let (sender, receiver) = broadcast_with(2, lag);
    let (latest, watched) = watch(0);
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let (mut receiver, mut watched) = (receiver.clone(), watched.clone());
        let task = scheduler.spawn(async move {
            let (mut got, mut missed) = (Vec::new(), 0);
            loop {
                match timeout(Duration::from_nanos(random() % 3), receiver.recv()).await {
                    Err(_) => {
                        let _ = timeout(Duration::from_nanos(1), watched.changed()).await;
                    }
                    Ok(Ok(value)) => {
                        assert!(*watched.borrow() >= value, "it was shown before it was sent");
                        got.push(value);
                    }
                    Ok(Err(trapline::channel::broadcast::RecvError::Missed(count))) => {
                        missed += count;
                    }
                    Ok(Err(_)) => return (got, missed),
                }
            }
        });
        tasks.push(task);
    }
    drop((receiver, watched));
    let sending = scheduler.spawn(async move {
        for value in 1..=30 {
            let _ = latest.send(value);
            if sender.send(value).await.is_err() {
                return;
            }
            if random().is_multiple_of(4) {
                sleep(Duration::from_nanos(random() % 5)).await;
            }
        }
    });
    let victim = tasks[3].id();
    let kills = seed.is_multiple_of(2);
    scheduler
        .spawn(async move {
            for _ in 0..random() % 80 {
                yield_now().await;
            }
            if kills {
                post_kill(victim);
            }
        })
        .detach();
    scheduler.block_on(sending).unwrap().unwrap();
    for (number, task) in tasks.into_iter().enumerate() {
        let ended = scheduler.block_on(task).unwrap();
        let Ok((got, missed)) = ended else {
            assert!(kills && number == 3, "seed {seed}");
            continue;
        };
        assert!(got.is_sorted_by(|one, next| one < next), "seed {seed}: {got:?}");
        match lag {
            Lag::Wait => assert_eq!((got.len(), missed), (30, 0), "seed {seed}"),
            Lag::Report => assert_eq!(got.len() as u64 + missed, 30, "seed {seed}"),
            Lag::Skip => assert_eq!(missed, 0, "seed {seed}"),
        }
    }
    run_clean(&mut scheduler);
}

#[test]
fn throng_of_receivers_then_each_has_all_or_is_told_what_it_missed() {
    for seed in 0..100 {
        broadcast_throng(seed);
    }
}

#[test]
fn throng_of_workers_that_are_killed_then_every_job_is_done_once() {
    for seed in 0..100 {
        let quantum = [1, 3, 32][(seed % 3) as usize];
        let mut scheduler = builder().quantum(quantum).seed(seed).build();
        let queue = Rc::new(Queue::priority(2));
        let (done, lost) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
        /// A job that is at hand; killed there, it is called done all the same.
        struct AtHand<'a>(&'a Queue<u32>, &'a Cell<usize>, bool);
        impl Drop for AtHand<'_> {
            fn drop(&mut self) {
                if !self.2 {
                    self.1.set(self.1.get() + 1);
                }
                self.0.task_done().unwrap();
            }
        }
        let mut workers = Vec::new();
        for _ in 0..4 {
            let (queue, done, lost) = (Rc::clone(&queue), Rc::clone(&done), Rc::clone(&lost));
            let worker = scheduler.spawn(async move {
                loop {
                    let got = timeout(Duration::from_nanos(random() % 4), queue.get()).await;
                    let Ok(job) = got else { continue };
                    let mut at_hand = AtHand(&queue, &lost, false);
                    sleep(Duration::from_nanos(random() % 3)).await;
                    at_hand.2 = true;
                    done.borrow_mut().push(job);
                }
            });
            workers.push(worker.id());
            worker.detach();
        }
        let jobs = Rc::clone(&queue);
        let run = async move {
            for job in 0..30 {
                jobs.put(job).await;
                if job == 10 || job == 20 {
                    post_kill(workers[job as usize / 10]);
                }
            }
            jobs.join().await;
            for worker in workers {
                post_kill(worker);
            }
        };
        scheduler.block_on(run).unwrap();
        assert_eq!(done.borrow().len() + lost.get(), 30, "seed {seed}");
        done.borrow_mut().sort_unstable();
        done.borrow_mut().dedup();
        assert_eq!(done.borrow().len() + lost.get(), 30, "seed {seed}: a job came twice");
        assert_eq!((queue.len(), queue.unfinished()), (0, 0));
        let _ = scheduler.run().unwrap();
        assert_empty(&scheduler);
    }
}
