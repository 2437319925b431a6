//! The work on tokio's current-thread runtime, each in the shape that is fastest there.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime, Runtime};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, yield_now};

use crate::cpu;
use crate::echo::{BUFFER, announce};
use crate::harness::{Result, check};
use crate::memory::Parked;
use crate::scheduling::BURST;
use crate::sleepers;

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

fn local_runtime() -> Result<LocalRuntime> {
    Ok(Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?)
}

/// Counts tasks down; the last one wakes the main one. Cheaper than a million join handles.
struct Countdown {
    left: AtomicU64,
    over: Notify,
}

impl Countdown {
    fn new(from: u64) -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(from), over: Notify::new() })
    }

    fn one_done(&self) {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.over.notify_one();
        }
    }
}

pub(crate) fn yields(tasks: u64, each: u64) -> Result<f64> {
    let runtime = runtime()?;
    let countdown = Countdown::new(tasks);
    let done = Arc::new(AtomicU64::new(0));
    for _ in 0..tasks {
        let (countdown, done) = (countdown.clone(), done.clone());
        runtime.spawn(async move {
            for _ in 0..each {
                yield_now().await;
            }
            done.fetch_add(each, Ordering::Relaxed);
            countdown.one_done();
        });
    }
    let ((), time) = cpu::time(|| runtime.block_on(countdown.over.notified()))?;
    check("yields", done.load(Ordering::Relaxed), tasks * each)?;
    Ok(time)
}

/// The whole runs as a task: the future given to `block_on` is woken in a slower way.
pub(crate) fn spawn_join(n: u64) -> Result<f64> {
    let runtime = runtime()?;
    let main = async move {
        let mut sum = 0;
        for i in 0..n {
            sum += tokio::spawn(async move { i }).await?;
        }
        Ok(sum)
    };
    joined(n, cpu::time(|| runtime.block_on(runtime.spawn(main)))?)
}

/// On a `LocalRuntime`, which is faster than a `LocalSet`.
pub(crate) fn spawn_local_join(n: u64) -> Result<f64> {
    let runtime = local_runtime()?;
    let main = async move {
        let mut sum = 0;
        for i in 0..n {
            sum += tokio::task::spawn_local(async move { i }).await?;
        }
        Ok(sum)
    };
    joined(n, cpu::time(|| runtime.block_on(runtime.spawn_local(main)))?)
}

type Joined = std::result::Result<u64, tokio::task::JoinError>;

fn joined(
    n: u64,
    (sum, time): (std::result::Result<Joined, tokio::task::JoinError>, f64),
) -> Result<f64> {
    check("as the sum of what the tasks gave", sum??, n * (n - 1) / 2)?;
    Ok(time)
}

pub(crate) fn spawn_detached(n: u64) -> Result<f64> {
    let runtime = local_runtime()?;
    let done = Rc::new(Cell::new(0));
    let main: JoinHandle<()> = runtime.spawn_local({
        let done = done.clone();
        async move {
            for i in 1..=n {
                let done = done.clone();
                tokio::task::spawn_local(async move { done.set(done.get() + 1) });
                if i % BURST == 0 {
                    yield_now().await;
                }
            }
            while done.get() < n {
                yield_now().await;
            }
        }
    });
    let (ended, time) = cpu::time(|| runtime.block_on(main))?;
    ended?;
    check("tasks", done.get(), n)?;
    Ok(time)
}

pub(crate) fn sleepers(tasks: u64) -> Result<f64> {
    let runtime = runtime()?;
    let countdown = Countdown::new(tasks);
    let ((), time) = cpu::time(|| {
        runtime.block_on(async {
            for i in 0..tasks {
                let countdown = countdown.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(sleepers::length(i)).await;
                    countdown.one_done();
                });
            }
            countdown.over.notified().await;
        });
    })?;
    check("tasks still asleep", countdown.left.load(Ordering::Relaxed), 0)?;
    Ok(time)
}

pub(crate) fn parked(tasks: u64, live: impl Fn() -> u64) -> Result<Parked> {
    let runtime = local_runtime()?;
    let queue = Rc::new(Notify::new());
    let parked = Rc::new(Cell::new(0));
    let park = || {
        let (queue, parked) = (queue.clone(), parked.clone());
        async move {
            parked.set(parked.get() + 1);
            queue.notified().await;
            parked.set(parked.get() - 1);
        }
    };
    let future = size_of_val(&park());
    runtime.block_on(async {
        for _ in 0..tasks {
            tokio::task::spawn_local(park());
        }
        while parked.get() < tasks {
            yield_now().await;
        }
        let live = live();
        queue.notify_waiters();
        while parked.get() > 0 {
            yield_now().await;
        }
        Ok(Parked { live, future })
    })
}

pub(crate) fn serve(addr: &str) -> Result<()> {
    runtime()?.block_on(async {
        let listener = TcpListener::bind(addr).await?;
        announce(listener.local_addr()?)?;
        // `readable` and `try_read` in place of `read` cost the same, measured.
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(echo(stream));
        }
    })
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buf = vec![0; BUFFER];
    loop {
        match stream.read(&mut buf).await? {
            0 => return Ok(()),
            n => stream.write_all(&buf[..n]).await?,
        }
    }
}
