//! The floor: the work by hand, with boxed futures and no runtime.

#![allow(
    clippy::disallowed_methods,
    reason = "no scheduler runs here: reading the clock is part of the work by hand"
)]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::hint::black_box;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::LONG;
use crate::cpu;
use crate::harness::{Result, check};
use crate::sleepers;

type Boxed = Pin<Box<dyn Future<Output = ()>>>;

/// A place for one value.
type Place = Rc<Cell<Option<u64>>>;

async fn put(place: &Place, value: u64) {
    poll_fn(|_| match place.get() {
        None => {
            place.set(Some(value));
            Poll::Ready(())
        }
        Some(_) => Poll::Pending,
    })
    .await;
}

async fn take(place: &Place) -> u64 {
    poll_fn(|_| place.take().map_or(Poll::Pending, Poll::Ready)).await
}

pub(crate) fn pingpong(n: u64) -> Result<f64> {
    let (ping, pong) = (Place::default(), Place::default());
    let sum = Rc::new(Cell::new(0));
    let echo: Boxed = {
        let (ping, pong) = (ping.clone(), pong.clone());
        Box::pin(async move {
            for _ in 0..n {
                let value = take(&ping).await;
                put(&pong, value).await;
            }
        })
    };
    let main: Boxed = {
        let sum = sum.clone();
        Box::pin(async move {
            for i in 0..n {
                put(&ping, i).await;
                sum.set(sum.get() + take(&pong).await);
            }
        })
    };
    let mut ready = vec![main, echo];
    let mut context = Context::from_waker(Waker::noop());
    let ((), time) = cpu::time(|| {
        while !ready.is_empty() {
            ready.retain_mut(|task| task.as_mut().poll(&mut context).is_pending());
        }
    })?;
    check("as the sum of what came back", sum.get(), n * (n - 1) / 2)?;
    Ok(time)
}

/// A lock that is handed over, and those who are ready, by number.
#[derive(Default)]
struct Turns {
    held: Cell<bool>,
    waiting: RefCell<VecDeque<usize>>,
    ready: RefCell<VecDeque<usize>>,
}

impl Turns {
    async fn lock(&self, me: usize) {
        if self.held.replace(true) {
            self.waiting.borrow_mut().push_back(me);
            pend_once().await;
        }
    }

    fn unlock(&self) {
        let next = self.waiting.borrow_mut().pop_front();
        match next {
            Some(next) => self.ready.borrow_mut().push_back(next),
            None => self.held.set(false),
        }
    }

    async fn give_way(&self, me: usize) {
        self.ready.borrow_mut().push_back(me);
        pend_once().await;
    }
}

async fn pend_once() {
    let mut polled = false;
    poll_fn(|_| if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending })
        .await;
}

pub(crate) fn mutex(tasks: u64, each: u64) -> Result<f64> {
    let turns = Rc::new(Turns::default());
    let done = Rc::new(Cell::new(0));
    let mut all: Vec<Boxed> = Vec::new();
    for me in 0..tasks as usize {
        let (turns, done) = (turns.clone(), done.clone());
        all.push(Box::pin(async move {
            for _ in 0..each {
                turns.lock(me).await;
                turns.give_way(me).await;
                done.set(done.get() + 1);
                turns.unlock();
            }
        }));
    }
    turns.ready.borrow_mut().extend(0..tasks as usize);
    let mut context = Context::from_waker(Waker::noop());
    let ((), time) = cpu::time(|| {
        loop {
            let next = turns.ready.borrow_mut().pop_front();
            let Some(next) = next else { break };
            let _ = all[next].as_mut().poll(&mut context);
        }
    })?;
    check("turns", done.get(), tasks * each)?;
    Ok(time)
}

/// Into an ordered map and out again.
pub(crate) fn timeouts(n: u64, crowd: u64) -> Result<f64> {
    let start = Instant::now();
    let mut armed: BTreeMap<(Instant, u64), u64> =
        (0..crowd).map(|i| ((start + LONG + sleepers::length(i), i), i)).collect();
    let (done, time) = cpu::time(|| {
        let mut done = 0;
        for i in 0..n {
            let key = black_box((Instant::now() + LONG, crowd + i));
            armed.insert(key, i);
            done += u64::from(armed.remove(&key).is_some());
        }
        done
    })?;
    check("timeouts", done, n)?;
    Ok(time)
}

pub(crate) fn many_timeouts(n: u64, _: u64) -> Result<f64> {
    let (done, time) = cpu::time(|| {
        let mut armed = BTreeMap::new();
        let mut keys = Vec::new();
        for i in 0..n {
            let key = (Instant::now() + LONG, i);
            armed.insert(key, i);
            keys.push(key);
        }
        keys.iter().filter(|key| armed.remove(key).is_some()).count() as u64
    })?;
    check("timeouts", done, n)?;
    Ok(time)
}
