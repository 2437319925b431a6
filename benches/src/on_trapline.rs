//! The work on Trapline.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::rc::Rc;

use trapline::net::{TcpListener, TcpStream};
use trapline::trace::agent::{Agent, Recorder, RecorderOptions};
use trapline::{JoinError, RunError, RunReport, Scheduler, WaitQueue, sleep, spawn, yield_now};

use crate::cpu;
use crate::echo::{BUFFER, announce};
use crate::harness::{Result, check};
use crate::memory::Parked;
use crate::scheduling::BURST;
use crate::sleepers;

pub(crate) fn yields(tasks: u64, each: u64) -> Result<f64> {
    let mut scheduler = Scheduler::new();
    let done = Rc::new(Cell::new(0));
    for _ in 0..tasks {
        let done = done.clone();
        scheduler
            .spawn(async move {
                for _ in 0..each {
                    yield_now().await;
                }
                done.set(done.get() + each);
            })
            .detach();
    }
    let (ran, time) = cpu::time(|| scheduler.run())?;
    whole(ran)?;
    check("yields", done.get(), tasks * each)?;
    Ok(time)
}

/// Records as many yields into a file, and loses none.
pub(crate) fn record_yields(file: &Path, tasks: u64, each: u64) -> Result<()> {
    let options = RecorderOptions {
        lossless: true,
        payload_bytes: 0,
        sources: None,
        tells_output: false,
        limit_bytes: u64::MAX,
    };
    let recorder = Recorder::open(file, &options)?;
    let mut scheduler = Scheduler::new();
    for _ in 0..tasks {
        let yields = async move {
            for _ in 0..each {
                yield_now().await;
            }
        };
        scheduler.spawn(yields).detach();
    }
    whole(Agent::new().outlet(recorder).run(&mut scheduler))
}

pub(crate) fn spawn_join(n: u64) -> Result<f64> {
    let mut scheduler = Scheduler::new();
    let main = scheduler.spawn(async move {
        let mut sum = 0;
        for i in 0..n {
            sum += spawn(async move { i }).await.await?;
        }
        Ok::<u64, JoinError>(sum)
    });
    let (sum, time) = cpu::time(|| scheduler.block_on(main))?;
    check("as the sum of what the tasks gave", sum???, n * (n - 1) / 2)?;
    Ok(time)
}

pub(crate) fn spawn_detached(n: u64) -> Result<f64> {
    let mut scheduler = Scheduler::new();
    let done = Rc::new(Cell::new(0));
    scheduler
        .spawn({
            let done = done.clone();
            async move {
                for i in 1..=n {
                    let done = done.clone();
                    trapline::spawn_detached(async move { done.set(done.get() + 1) });
                    if i % BURST == 0 {
                        yield_now().await;
                    }
                }
            }
        })
        .detach();
    let (ran, time) = cpu::time(|| scheduler.run())?;
    whole(ran)?;
    check("tasks", done.get(), n)?;
    Ok(time)
}

/// As many short detached tasks, one in eight of which yields, and a sample after each hundredth of
/// them.
pub(crate) fn detached(n: u64, sample: impl Fn() -> Result<()>) -> Result<()> {
    let mut scheduler = Scheduler::new();
    let done = Rc::new(Cell::new(0));
    let every = (n / 100).max(1);
    scheduler.block_on(async {
        for i in 1..=n {
            let done = done.clone();
            trapline::spawn_detached(async move {
                if i % 8 == 0 {
                    yield_now().await;
                }
                done.set(done.get() + 1);
            });
            if i % BURST == 0 {
                yield_now().await;
            }
            if i % every == 0 {
                sample()?;
            }
        }
        while done.get() < n {
            yield_now().await;
        }
        sample()
    })?
}

pub(crate) fn sleepers(tasks: u64) -> Result<f64> {
    let mut scheduler = Scheduler::new();
    let done = Rc::new(Cell::new(0));
    let (ran, time) = cpu::time(|| {
        for i in 0..tasks {
            let done = done.clone();
            scheduler
                .spawn(async move {
                    sleep(sleepers::length(i)).await;
                    done.set(done.get() + 1);
                })
                .detach();
        }
        scheduler.run()
    })?;
    whole(ran)?;
    check("sleepers", done.get(), tasks)?;
    Ok(time)
}

pub(crate) fn parked(tasks: u64, live: impl Fn() -> u64) -> Result<Parked> {
    let mut scheduler = Scheduler::new();
    let queue = Rc::new(WaitQueue::new(0));
    let parked = Rc::new(Cell::new(0));
    let park = || {
        let (queue, parked) = (queue.clone(), parked.clone());
        async move {
            parked.set(parked.get() + 1);
            queue.park().await;
            parked.set(parked.get() - 1);
        }
    };
    let future = size_of_val(&park());
    for _ in 0..tasks {
        scheduler.spawn(park()).detach();
    }
    let live = scheduler.block_on(async {
        while parked.get() < tasks {
            yield_now().await;
        }
        let live = live();
        for _ in 0..tasks {
            queue.wake();
        }
        live
    })?;
    whole(scheduler.run())?;
    check("tasks still parked", parked.get(), 0)?;
    Ok(Parked { live, future })
}

/// The error of a run in which a task failed.
fn whole(ran: std::result::Result<RunReport, RunError>) -> Result<()> {
    match ran? {
        RunReport { failures: 0, .. } => Ok(()),
        report => Err(report.to_string().into()),
    }
}

pub(crate) fn serve(addr: &str) -> Result<()> {
    let listener = TcpListener::bind(addr)?;
    announce(listener.local_addr()?)?;
    // As the environment says: `trace` measures what it costs to be listened to.
    trapline::trace::block_on(&mut Scheduler::new(), async {
        loop {
            let (stream, _) = listener.accept().await?;
            trapline::spawn_detached(echo(stream));
        }
    })?
}

async fn echo(stream: TcpStream) -> io::Result<()> {
    let mut buf = vec![0; BUFFER];
    loop {
        match stream.read(&mut buf).await? {
            0 => return Ok(()),
            n => stream.write_all(&buf[..n]).await?,
        }
    }
}
