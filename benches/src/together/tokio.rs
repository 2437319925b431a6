//! The work on tokio's current-thread runtime.

use std::future::{Pending, pending};
use std::pin::pin;
use std::sync::Arc;

use futures_lite::future::poll_once;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Mutex, mpsc};
use tokio::task::yield_now;
use tokio::time::{Timeout, sleep, timeout};

use super::LONG;
use crate::cpu;
use crate::harness::{Result, check};
use crate::sleepers;

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

pub(crate) fn pingpong(n: u64) -> Result<f64> {
    let runtime = runtime()?;
    let (ping, mut pinged) = mpsc::channel(1);
    let (pong, mut ponged) = mpsc::channel(1);
    let echo = runtime.spawn(async move {
        while let Some(value) = pinged.recv().await {
            if pong.send(value).await.is_err() {
                break;
            }
        }
    });
    let main = runtime.spawn(async move {
        let mut sum = 0;
        for i in 0..n {
            if ping.send(i).await.is_err() {
                break;
            }
            sum += ponged.recv().await.unwrap_or(0);
        }
        drop(ping);
        echo.await?;
        Ok::<u64, tokio::task::JoinError>(sum)
    });
    let (sum, time) = cpu::time(|| runtime.block_on(main))?;
    check("as the sum of what came back", sum??, n * (n - 1) / 2)?;
    Ok(time)
}

pub(crate) fn mutex(tasks: u64, each: u64) -> Result<f64> {
    let runtime = runtime()?;
    let lock = Arc::new(Mutex::new(0));
    let handles: Vec<_> = (0..tasks)
        .map(|_| {
            let lock = lock.clone();
            runtime.spawn(async move {
                for _ in 0..each {
                    let mut guard = lock.lock().await;
                    yield_now().await;
                    *guard += 1;
                }
            })
        })
        .collect();
    let main = runtime.spawn(async move {
        for handle in handles {
            handle.await?;
        }
        Ok::<(), tokio::task::JoinError>(())
    });
    let (ended, time) = cpu::time(|| runtime.block_on(main))?;
    ended??;
    let done = Arc::try_unwrap(lock).map_err(|_| "a task was left")?.into_inner();
    check("turns", done, tasks * each)?;
    Ok(time)
}

fn armed() -> Timeout<Pending<()>> {
    timeout(LONG, pending())
}

pub(crate) fn timeouts_at_once(n: u64, _: u64) -> Result<f64> {
    let runtime = runtime()?;
    let main = runtime.spawn(async move {
        for _ in 0..n {
            let armed = pin!(armed());
            if poll_once(armed).await.is_some() {
                return 0;
            }
        }
        n
    });
    let (done, time) = cpu::time(|| runtime.block_on(main))?;
    check("timeouts", done?, n)?;
    Ok(time)
}

pub(crate) fn timeouts_later(n: u64, crowd: u64) -> Result<f64> {
    let runtime = runtime()?;
    for i in 0..crowd {
        runtime.spawn(async move { sleep(LONG + sleepers::length(i)).await });
    }
    // They are polled in turn, a few between two looks at the main future.
    runtime.block_on(async {
        for _ in 0..=crowd {
            yield_now().await;
        }
    });
    let main = runtime.spawn(async move {
        for _ in 0..n {
            let mut armed = pin!(armed());
            if poll_once(armed.as_mut()).await.is_some() {
                return 0;
            }
            yield_now().await;
        }
        n
    });
    let (done, time) = cpu::time(|| runtime.block_on(main))?;
    check("timeouts", done?, n)?;
    Ok(time)
}

pub(crate) fn many_timeouts(n: u64, _: u64) -> Result<f64> {
    let runtime = runtime()?;
    let main = runtime.spawn(async move {
        let mut all: Vec<_> = (0..n).map(|_| Box::pin(armed())).collect();
        for armed in &mut all {
            if poll_once(armed).await.is_some() {
                return 0;
            }
        }
        yield_now().await;
        n
    });
    let (done, time) = cpu::time(|| runtime.block_on(main))?;
    check("timeouts", done?, n)?;
    Ok(time)
}

pub(crate) fn group(groups: u64, children: u64) -> Result<f64> {
    let runtime = runtime()?;
    let main = runtime.spawn(async move {
        let mut sum = 0;
        for _ in 0..groups {
            let mut set = tokio::task::JoinSet::new();
            for i in 0..children {
                set.spawn(async move { i });
            }
            sum += set.join_all().await.iter().sum::<u64>();
        }
        sum
    });
    let (sum, time) = cpu::time(|| runtime.block_on(main))?;
    check("as the sum of what the tasks gave", sum?, groups * (children * (children - 1) / 2))?;
    Ok(time)
}
