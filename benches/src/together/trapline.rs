//! The work on Trapline.

use std::cell::Cell;
use std::future::{Pending, pending};
use std::pin::pin;
use std::rc::Rc;

use futures_lite::future::poll_once;
use trapline::channel::channel;
use trapline::sync::Mutex;
use trapline::{JoinError, Scheduler, TaskGroup, Timeout, sleep, spawn, timeout, yield_now};

use super::LONG;
use crate::cpu;
use crate::harness::{Result, check};
use crate::sleepers;

pub(crate) fn pingpong(n: u64) -> Result<f64> {
    let mut scheduler = Scheduler::new();
    let (ping, pinged) = channel(1);
    let (pong, ponged) = channel(1);
    let echo = scheduler.spawn(async move {
        while let Some(value) = pinged.recv().await {
            if pong.send(value).await.is_err() {
                break;
            }
        }
    });
    let main = scheduler.spawn(async move {
        let mut sum = 0;
        for i in 0..n {
            if ping.send(i).await.is_err() {
                break;
            }
            sum += ponged.recv().await.unwrap_or(0);
        }
        drop(ping);
        echo.await?;
        Ok::<u64, JoinError>(sum)
    });
    let (sum, time) = cpu::time(|| scheduler.block_on(main))?;
    check("as the sum of what came back", sum???, n * (n - 1) / 2)?;
    Ok(time)
}

pub(crate) fn mutex(tasks: u64, each: u64) -> Result<f64> {
    let mut scheduler = Scheduler::new();
    let lock = Rc::new(Mutex::new(0));
    for _ in 0..tasks {
        let lock = lock.clone();
        scheduler
            .spawn(async move {
                for _ in 0..each {
                    let mut guard = lock.lock().await;
                    yield_now().await;
                    *guard += 1;
                }
            })
            .detach();
    }
    let (ran, time) = cpu::time(|| scheduler.run())?;
    check("failures", ran?.failures as u64, 0)?;
    let done = Rc::try_unwrap(lock).map_err(|_| "a task was left")?.into_inner();
    check("turns", done, tasks * each)?;
    Ok(time)
}

fn armed() -> Timeout<Pending<()>> {
    timeout(LONG, pending())
}

pub(crate) fn timeouts_at_once(n: u64, _: u64) -> Result<f64> {
    let mut scheduler = Scheduler::new();
    let main = scheduler.spawn(async move {
        for _ in 0..n {
            let armed = pin!(armed());
            if poll_once(armed).await.is_some() {
                return 0;
            }
        }
        n
    });
    let (done, time) = cpu::time(|| scheduler.block_on(main))?;
    check("timeouts", done??, n)?;
    Ok(time)
}

pub(crate) fn timeouts_later(n: u64, crowd: u64) -> Result<f64> {
    let mut scheduler = Scheduler::new();
    let asleep = Rc::new(Cell::new(0));
    scheduler.block_on(async {
        for i in 0..crowd {
            let asleep = asleep.clone();
            spawn(async move {
                asleep.set(asleep.get() + 1);
                sleep(LONG + sleepers::length(i)).await;
            })
            .daemon()
            .await
            .detach();
        }
        while asleep.get() < crowd {
            yield_now().await;
        }
        yield_now().await;
    })?;
    let main = scheduler.spawn(async move {
        for _ in 0..n {
            let mut armed = pin!(armed());
            if poll_once(armed.as_mut()).await.is_some() {
                return 0;
            }
            yield_now().await;
        }
        n
    });
    let (done, time) = cpu::time(|| scheduler.block_on(main))?;
    check("timeouts", done??, n)?;
    Ok(time)
}

pub(crate) fn many_timeouts(n: u64, _: u64) -> Result<f64> {
    let mut scheduler = Scheduler::new();
    let main = scheduler.spawn(async move {
        let mut all: Vec<_> = (0..n).map(|_| Box::pin(armed())).collect();
        for armed in &mut all {
            if poll_once(armed).await.is_some() {
                return 0;
            }
        }
        yield_now().await;
        n
    });
    let (done, time) = cpu::time(|| scheduler.block_on(main))?;
    check("timeouts", done??, n)?;
    Ok(time)
}

pub(crate) fn group(groups: u64, children: u64) -> Result<f64> {
    let mut scheduler = Scheduler::new();
    let main = scheduler.spawn(async move {
        let mut sum = 0;
        for _ in 0..groups {
            let group = TaskGroup::<u64>::new();
            for i in 0..children {
                group.spawn_value(async move { i }).await;
            }
            sum += group.join_all().await.map_or(0, |values| values.iter().sum());
        }
        sum
    });
    let (sum, time) = cpu::time(|| scheduler.block_on(main))?;
    check("as the sum of what the tasks gave", sum??, groups * (children * (children - 1) / 2))?;
    Ok(time)
}

pub(crate) fn no_group(groups: u64, children: u64) -> Result<f64> {
    let mut scheduler = Scheduler::new();
    let main = scheduler.spawn(async move {
        let mut sum = 0;
        for _ in 0..groups {
            let mut handles = Vec::new();
            for i in 0..children {
                handles.push(spawn(async move { i }).await);
            }
            for handle in handles {
                sum += handle.await?;
            }
        }
        Ok::<u64, JoinError>(sum)
    });
    let (sum, time) = cpu::time(|| scheduler.block_on(main))?;
    check("as the sum of what the tasks gave", sum???, groups * (children * (children - 1) / 2))?;
    Ok(time)
}
