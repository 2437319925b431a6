//! The work on smol's executor for one thread, with its locks and channels.

use std::rc::Rc;

use async_executor::LocalExecutor;
use async_lock::Mutex;
use futures_lite::future::{block_on, yield_now};

use crate::cpu;
use crate::harness::{Result, check};

pub(crate) fn pingpong(n: u64) -> Result<f64> {
    let executor = LocalExecutor::new();
    let (ping, pinged) = async_channel::bounded(1);
    let (pong, ponged) = async_channel::bounded(1);
    let echo = executor.spawn(async move {
        while let Ok(value) = pinged.recv().await {
            if pong.send(value).await.is_err() {
                break;
            }
        }
    });
    let main = executor.spawn(async move {
        let mut sum = 0;
        for i in 0..n {
            if ping.send(i).await.is_err() {
                break;
            }
            sum += ponged.recv().await.unwrap_or(0);
        }
        drop(ping);
        echo.await;
        sum
    });
    let (sum, time) = cpu::time(|| block_on(executor.run(main)))?;
    check("as the sum of what came back", sum, n * (n - 1) / 2)?;
    Ok(time)
}

pub(crate) fn mutex(tasks: u64, each: u64) -> Result<f64> {
    let executor = LocalExecutor::new();
    let lock = Rc::new(Mutex::new(0));
    let handles: Vec<_> = (0..tasks)
        .map(|_| {
            let lock = lock.clone();
            executor.spawn(async move {
                for _ in 0..each {
                    let mut guard = lock.lock().await;
                    yield_now().await;
                    *guard += 1;
                }
            })
        })
        .collect();
    let main = executor.spawn(async move {
        for handle in handles {
            handle.await;
        }
    });
    let ((), time) = cpu::time(|| block_on(executor.run(main)))?;
    let done = Rc::try_unwrap(lock).map_err(|_| "a task was left")?.into_inner();
    check("turns", done, tasks * each)?;
    Ok(time)
}
