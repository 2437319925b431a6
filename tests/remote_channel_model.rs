//! Channels between threads against a model: senders in real threads, each of which does one thing at a
//! time and says so, and receivers in tasks that time out, give up and are killed.
//!
//! The model knows no tokens, no lock and no wakers: it has the values in a `VecDeque`, lists of who waits
//! and of who was given what, and counts. Every poll and every drop of an operation passes by it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::Config;
use support::{Counter, assert_empty, builder, poll_once, run_clean};
use trapline::channel::remote::{Receiver, Recv, Sender};
use trapline::channel::{SendError, TryRecvError, TrySendError, remote};
use trapline::{Scheduler, TaskId, kill, sleep, timeout, yield_now};

const THREADS: usize = 3;
const MILLISECOND: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug)]
enum Op {
    /// What a thread does with its senders.
    Thread(usize, Deed),
    /// A task that receives one value, and how long it waits.
    Recv(Patience),
    TryRecv,
    Kill(u8),
    Step(u8),
    CloseReceiver,
    /// The test's own receiver goes; those of tasks stay.
    DropReceiver,
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    TrySend,
    /// Makes a send and polls it, if none is there; polls the one that is there, else.
    Send,
    DropSend,
    Clone,
    DropSender,
    Close,
}

#[derive(Clone, Copy, Debug)]
enum Patience {
    Forever,
    Milliseconds(u8),
    /// Polls once, and gives up after so many yields.
    Turns(u8),
}

fn op() -> impl Strategy<Value = Op> {
    let deed = prop_oneof![
        4 => Just(Deed::TrySend),
        6 => Just(Deed::Send),
        2 => Just(Deed::DropSend),
        1 => Just(Deed::Clone),
        1 => Just(Deed::DropSender),
    ];
    let patience = prop_oneof![
        3 => Just(Patience::Forever),
        2 => (0..5_u8).prop_map(Patience::Milliseconds),
        2 => (0..4_u8).prop_map(Patience::Turns),
    ];
    prop_oneof![
        30 => (0..THREADS, deed).prop_map(|(thread, deed)| Op::Thread(thread, deed)),
        12 => patience.prop_map(Op::Recv),
        3 => Just(Op::TryRecv),
        4 => any::<u8>().prop_map(Op::Kill),
        20 => (1..12_u8).prop_map(Op::Step),
        1 => (0..THREADS).prop_map(|thread| Op::Thread(thread, Deed::Close)),
        1 => prop_oneof![Just(Op::CloseReceiver), Just(Op::DropReceiver)],
    ]
}

// The model

struct Model {
    capacity: usize,
    values: VecDeque<u32>,
    closed: bool,
    senders: usize,
    receivers: usize,
    /// Receives that wait, in order of arrival; and those that were given a value and have not come for it.
    receives_in_line: VecDeque<u32>,
    receives_given: BTreeSet<u32>,
    /// Likewise the sends; one a thread.
    sends_in_line: VecDeque<usize>,
    sends_given: BTreeSet<usize>,
    /// How often each thread's waker should have been called.
    wakes: [usize; THREADS],
}

impl Model {
    fn new(capacity: usize) -> Model {
        Model {
            capacity,
            values: VecDeque::new(),
            closed: false,
            senders: THREADS,
            receivers: 1,
            receives_in_line: VecDeque::new(),
            receives_given: BTreeSet::new(),
            sends_in_line: VecDeque::new(),
            sends_given: BTreeSet::new(),
            wakes: [0; THREADS],
        }
    }

    fn is_over(&self) -> bool {
        self.closed && self.values.is_empty()
    }

    /// Values that nobody was given.
    fn loose_values(&self) -> usize {
        self.values.len() - self.receives_given.len()
    }

    fn has_room(&self) -> bool {
        self.values.len() + self.sends_given.len() < self.capacity
    }

    fn give_value(&mut self) {
        self.receives_given.extend(self.receives_in_line.pop_front());
    }

    fn give_room(&mut self) {
        if let Some(thread) = self.sends_in_line.pop_front() {
            self.sends_given.insert(thread);
            self.wakes[thread] += 1;
        }
    }

    fn put(&mut self, value: u32) {
        self.values.push_back(value);
        self.give_value();
    }

    fn take(&mut self) -> u32 {
        let value = self.values.pop_front().unwrap();
        self.give_room();
        if self.is_over() {
            self.receives_in_line.clear();
        }
        value
    }

    fn close(&mut self) -> bool {
        for thread in self.sends_in_line.drain(..) {
            self.wakes[thread] += 1;
        }
        let was_open = !std::mem::replace(&mut self.closed, true);
        if self.is_over() {
            self.receives_in_line.clear();
        }
        was_open
    }

    fn try_send(&mut self, value: u32) -> Result<(), TrySendError<u32>> {
        if self.closed {
            return Err(TrySendError::Closed(value));
        }
        if !self.has_room() {
            return Err(TrySendError::Full(value));
        }
        self.put(value);
        Ok(())
    }

    fn poll_send(&mut self, thread: usize, value: u32) -> Poll<Result<(), SendError<u32>>> {
        let waits = self.sends_in_line.contains(&thread);
        if self.closed {
            self.sends_given.remove(&thread);
            return Poll::Ready(Err(SendError(value)));
        }
        if self.sends_given.remove(&thread) || (!waits && self.has_room()) {
            self.put(value);
            return Poll::Ready(Ok(()));
        }
        if !waits {
            self.sends_in_line.push_back(thread);
        }
        Poll::Pending
    }

    fn drop_send(&mut self, thread: usize) {
        if self.sends_given.remove(&thread) {
            self.give_room();
        }
        self.sends_in_line.retain(|waiting| *waiting != thread);
    }

    fn try_recv(&mut self) -> Result<u32, TryRecvError> {
        match self.loose_values() {
            0 if self.is_over() => Err(TryRecvError::Closed),
            0 => Err(TryRecvError::Empty),
            _ => Ok(self.take()),
        }
    }

    fn poll_recv(&mut self, id: u32) -> Poll<Option<u32>> {
        let waits = self.receives_in_line.contains(&id);
        if self.is_over() {
            return Poll::Ready(None);
        }
        if self.receives_given.remove(&id) || (!waits && self.loose_values() > 0) {
            return Poll::Ready(Some(self.take()));
        }
        if !waits {
            self.receives_in_line.push_back(id);
        }
        Poll::Pending
    }

    fn drop_recv(&mut self, id: u32) {
        if self.receives_given.remove(&id) {
            self.give_value();
        }
        self.receives_in_line.retain(|waiting| *waiting != id);
    }

    fn remove_sender(&mut self) {
        self.senders -= 1;
        if self.senders == 0 {
            self.close();
        }
    }

    fn remove_receiver(&mut self) {
        self.receivers -= 1;
        if self.receivers == 0 {
            self.close();
            self.values.clear();
        }
    }

    /// What the receiver says of the channel.
    fn line(&self) -> String {
        format!(
            "Receiver(Remote {{ len: {}, closed: {}, senders: {}, receivers: {}, waiting_senders: {}, \
             waiting_receivers: {} }})",
            self.values.len(),
            self.closed,
            self.senders,
            self.receivers,
            self.sends_in_line.len(),
            self.receives_in_line.len(),
        )
    }
}

// The threads

#[derive(PartialEq, Eq, Debug)]
enum Answer {
    Tried(Result<(), TrySendError<u32>>),
    Polled(Poll<Result<(), SendError<u32>>>),
    Closed(bool),
    Done,
}

/// A thread that does what it is told, one thing at a time, and answers when it is done.
struct Worker {
    orders: mpsc::Sender<(Deed, u32)>,
    answers: mpsc::Receiver<Answer>,
    thread: thread::JoinHandle<()>,
    /// Counts the wakes of the send that waits.
    counter: Arc<Counter>,
    /// How many senders it has, beside that of its send.
    senders: usize,
    /// The value of its send.
    sends: Option<u32>,
}

impl Worker {
    fn new(sender: Sender<u32>) -> Worker {
        let (orders, their_orders) = mpsc::channel();
        let (their_answers, answers) = mpsc::channel();
        let (counter, waker) = Counter::new();
        let thread = thread::spawn(move || work(sender, &their_orders, &their_answers, &waker));
        Worker { orders, answers, thread, counter, senders: 1, sends: None }
    }

    fn order(&self, deed: Deed, value: u32) -> Answer {
        self.orders.send((deed, value)).unwrap();
        self.answers.recv().unwrap()
    }

    /// Has it done by the thread, then by the model.
    fn act(&mut self, number: usize, deed: Deed, value: u32, model: &mut Model) {
        let needs_sender = !matches!(deed, Deed::Send | Deed::DropSend) || self.sends.is_none();
        if needs_sender && (self.senders == 0 || matches!(deed, Deed::DropSend)) {
            return;
        }
        let answer = self.order(deed, value);
        let expected = match deed {
            Deed::TrySend => Answer::Tried(model.try_send(value)),
            Deed::Close => Answer::Closed(model.close()),
            Deed::Send => {
                if self.sends.is_none() {
                    model.senders += 1;
                }
                let polled = model.poll_send(number, *self.sends.get_or_insert(value));
                if polled.is_ready() {
                    self.sends = None;
                    model.remove_sender();
                }
                Answer::Polled(polled)
            }
            Deed::DropSend => {
                self.sends = None;
                model.drop_send(number);
                model.remove_sender();
                Answer::Done
            }
            Deed::Clone => {
                self.senders += 1;
                model.senders += 1;
                Answer::Done
            }
            Deed::DropSender => {
                self.senders -= 1;
                model.remove_sender();
                Answer::Done
            }
        };
        assert_eq!(answer, expected, "{deed:?} of thread {number}");
    }

    /// Has it give up all it has.
    fn end(mut self, number: usize, model: &mut Model) {
        self.act(number, Deed::DropSend, 0, model);
        while self.senders > 0 {
            self.act(number, Deed::DropSender, 0, model);
        }
        drop(self.orders);
        self.thread.join().unwrap();
    }
}

/// A send under way.
type Sending = dyn Future<Output = Result<(), SendError<u32>>>;

fn work(
    sender: Sender<u32>,
    orders: &mpsc::Receiver<(Deed, u32)>,
    answers: &mpsc::Sender<Answer>,
    waker: &Waker,
) {
    let mut senders = vec![sender];
    let mut sending: Option<Pin<Box<Sending>>> = None;
    for (deed, value) in orders {
        let answer = match deed {
            Deed::TrySend => Answer::Tried(senders[0].try_send(value)),
            Deed::Close => Answer::Closed(senders[0].close()),
            Deed::Send => {
                let mut send = sending.take().unwrap_or_else(|| {
                    let sender = senders[0].clone();
                    Box::pin(async move { sender.send(value).await })
                });
                let polled = send.as_mut().poll(&mut Context::from_waker(waker));
                sending = polled.is_pending().then_some(send);
                Answer::Polled(polled)
            }
            Deed::DropSend => {
                sending = None;
                Answer::Done
            }
            Deed::Clone => {
                senders.push(senders[0].clone());
                Answer::Done
            }
            Deed::DropSender => {
                senders.pop();
                Answer::Done
            }
        };
        answers.send(answer).unwrap();
    }
}

// The tasks

type SharedModel = Rc<RefCell<Model>>;

/// A receiver of a task; the model hears when it goes.
struct End {
    receiver: Receiver<u32>,
    model: SharedModel,
}

impl End {
    fn new(receiver: &Receiver<u32>, model: &SharedModel) -> End {
        model.borrow_mut().receivers += 1;
        End { receiver: receiver.clone(), model: Rc::clone(model) }
    }

    fn recv(&self, id: u32) -> Watched<'_> {
        Watched { recv: self.receiver.recv(), end: self, id }
    }

    fn waiting(&self) -> String {
        let text = format!("{:?}", self.receiver);
        text.rsplit(' ').nth(1).unwrap().to_owned()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.model.borrow_mut().remove_receiver();
    }
}

/// A receive whose every poll is the model's, too.
struct Watched<'a> {
    recv: Recv<'a, u32>,
    end: &'a End,
    id: u32,
}

impl Future for Watched<'_> {
    type Output = Option<u32>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u32>> {
        let this = &mut *self;
        let waiting = this.end.waiting();
        let polled = Pin::new(&mut this.recv).poll(cx);
        let mut model = this.end.model.borrow_mut();
        let had_place =
            model.receives_in_line.contains(&this.id) || model.receives_given.contains(&this.id);
        if polled.is_pending() && !had_place && this.end.waiting() == waiting {
            // Its quantum is spent: it gave way before it tried.
            return polled;
        }
        assert_eq!(polled, model.poll_recv(this.id), "receive {}", this.id);
        polled
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.end.model.borrow_mut().drop_recv(self.id);
    }
}

async fn receive(end: End, id: u32, patience: Patience) {
    match patience {
        Patience::Forever => _ = end.recv(id).await,
        Patience::Milliseconds(number) => {
            _ = timeout(MILLISECOND * u32::from(number), end.recv(id)).await;
        }
        Patience::Turns(turns) => {
            let mut recv = end.recv(id);
            if poll_once(&mut recv).await.is_pending() {
                for _ in 0..turns {
                    yield_now().await;
                }
            }
        }
    }
}

// The two together

struct World {
    scheduler: Scheduler,
    model: SharedModel,
    receiver: Option<Receiver<u32>>,
    workers: Vec<Worker>,
    tasks: Vec<TaskId>,
    /// Ticks for ever, so that a look at the outside never sleeps.
    ticker: TaskId,
    last_number: u32,
}

impl World {
    fn new(capacity: usize, quantum: u32) -> World {
        let mut scheduler = builder().quantum(quantum).build();
        let (sender, receiver) = remote(capacity);
        let workers = (1..THREADS).map(|_| Worker::new(sender.clone())).collect::<Vec<_>>();
        let workers = workers.into_iter().chain([Worker::new(sender)]).collect();
        let ticker = scheduler.spawn(async {
            loop {
                sleep(MILLISECOND).await;
            }
        });
        let id = ticker.id();
        ticker.detach();
        World {
            scheduler,
            model: Rc::new(RefCell::new(Model::new(capacity))),
            receiver: Some(receiver),
            workers,
            tasks: Vec::new(),
            ticker: id,
            last_number: 0,
        }
    }

    fn act(&mut self, op: Op) {
        self.last_number += 1;
        let number = self.last_number;
        match op {
            Op::Thread(thread, deed) => {
                self.workers[thread].act(thread, deed, number, &mut self.model.borrow_mut());
            }
            Op::Recv(patience) => {
                if let Some(receiver) = &self.receiver {
                    let end = End::new(receiver, &self.model);
                    let task = self.scheduler.spawn(receive(end, number, patience));
                    self.tasks.push(task.id());
                    task.detach();
                }
            }
            Op::TryRecv => {
                if let Some(receiver) = &self.receiver {
                    assert_eq!(receiver.try_recv(), self.model.borrow_mut().try_recv());
                }
            }
            Op::Kill(which) if !self.tasks.is_empty() => {
                let which = usize::from(which) % self.tasks.len();
                self.kill(self.tasks[which]);
            }
            Op::Kill(_) => {}
            Op::Step(steps) => {
                for _ in 0..steps {
                    self.scheduler.step();
                    self.check();
                }
            }
            Op::CloseReceiver => {
                if let Some(receiver) = &self.receiver {
                    assert_eq!(receiver.close(), self.model.borrow_mut().close());
                }
            }
            Op::DropReceiver => {
                if self.receiver.take().is_some() {
                    self.model.borrow_mut().remove_receiver();
                }
            }
        }
        self.check();
    }

    fn kill(&mut self, task: TaskId) {
        // It may have ended.
        self.scheduler.spawn(async move { _ = kill(task).await }).detach();
    }

    fn check(&self) {
        self.scheduler.check_invariants();
        let model = self.model.borrow();
        if let Some(receiver) = &self.receiver {
            assert_eq!(format!("{receiver:?}"), model.line());
        }
        for (worker, wakes) in self.workers.iter().zip(model.wakes) {
            assert_eq!(worker.counter.count(), wakes, "wakes of a thread");
        }
    }

    /// The senders go, so that whoever waits still is told of the end; a wake that is lost stalls here.
    fn end(mut self) {
        for (number, worker) in self.workers.drain(..).enumerate() {
            worker.end(number, &mut self.model.borrow_mut());
        }
        self.check();
        self.kill(self.ticker);
        run_clean(&mut self.scheduler);
        self.act(Op::DropReceiver);
        let model = self.model.borrow();
        assert_eq!((model.senders, model.receivers, model.values.len()), (0, 0, 0));
        assert_empty(&self.scheduler);
    }
}

proptest! {
    #![proptest_config(Config { cases: 400, failure_persistence: None, ..Config::default() })]

    #[test]
    fn senders_in_threads_and_receivers_that_go_then_the_channel_does_as_its_model(
        capacity in 1_usize..4,
        quantum in prop_oneof![1_u32..5, Just(32)],
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let mut world = World::new(capacity, quantum);
        for op in ops {
            world.act(op);
        }
        world.end();
    }
}
