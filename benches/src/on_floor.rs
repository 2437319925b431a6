//! The floor: the work by hand, with boxed futures and no runtime, or with raw `epoll`.

#![allow(
    clippy::disallowed_methods,
    reason = "no scheduler runs here: reading the clock and sleeping are part of the work by hand"
)]

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::hint::black_box;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fd::OwnedFd;

use crate::cpu;
use crate::echo::{BUFFER, announce};
use crate::harness::{Result, check};
use crate::memory::Parked;
use crate::scheduling::BURST;
use crate::sleepers;

type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;

/// Pending once.
#[derive(Default)]
struct Yield {
    polled: bool,
}

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.polled, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

pub(crate) fn yields(tasks: u64, each: u64) -> Result<f64> {
    let done = Rc::new(Cell::new(0));
    let mut ready: Vec<Boxed<()>> = Vec::new();
    for _ in 0..tasks {
        let done = done.clone();
        ready.push(Box::pin(async move {
            for _ in 0..each {
                Yield::default().await;
            }
            done.set(done.get() + each);
        }));
    }
    let mut context = Context::from_waker(Waker::noop());
    let ((), time) = cpu::time(|| {
        while !ready.is_empty() {
            ready.retain_mut(|task| task.as_mut().poll(&mut context).is_pending());
        }
    })?;
    check("yields", done.get(), tasks * each)?;
    Ok(time)
}

pub(crate) fn spawn_join(n: u64) -> Result<f64> {
    let mut context = Context::from_waker(Waker::noop());
    let (sum, time) = cpu::time(|| {
        let mut sum = 0;
        for i in 0..n {
            let mut task: Boxed<u64> = black_box(Box::pin(async move { i }));
            if let Poll::Ready(value) = task.as_mut().poll(&mut context) {
                sum += value;
            }
        }
        sum
    })?;
    check("as the sum of what the tasks gave", sum, n * (n - 1) / 2)?;
    Ok(time)
}

pub(crate) fn spawn_detached(n: u64) -> Result<f64> {
    let done = Rc::new(Cell::new(0));
    let mut ready: VecDeque<Boxed<()>> = VecDeque::new();
    let mut context = Context::from_waker(Waker::noop());
    let ((), time) = cpu::time(|| {
        for i in 1..=n {
            let done = done.clone();
            ready.push_back(Box::pin(async move { done.set(done.get() + 1) }));
            if i % BURST == 0 || i == n {
                while let Some(mut task) = ready.pop_front() {
                    if task.as_mut().poll(&mut context).is_pending() {
                        ready.push_back(task);
                    }
                }
            }
        }
    })?;
    check("tasks", done.get(), n)?;
    Ok(time)
}

pub(crate) fn sleepers(tasks: u64) -> Result<f64> {
    let done = Rc::new(Cell::new(0));
    let mut context = Context::from_waker(Waker::noop());
    let ((), time) = cpu::time(|| {
        let mut asleep: Vec<Option<Boxed<()>>> = Vec::new();
        let mut deadlines = BinaryHeap::new();
        for i in 0..tasks {
            let done = done.clone();
            let mut task: Boxed<()> = Box::pin(async move {
                Yield::default().await;
                done.set(done.get() + 1);
            });
            if task.as_mut().poll(&mut context).is_pending() {
                deadlines.push(Reverse((Instant::now() + sleepers::length(i), asleep.len())));
                asleep.push(Some(task));
            }
        }
        while let Some(Reverse((first, _))) = deadlines.peek() {
            let now = Instant::now();
            thread::sleep(first.saturating_duration_since(now));
            while let Some(Reverse((deadline, i))) = deadlines.peek()
                && *deadline <= now
            {
                if let Some(mut task) = asleep[*i].take() {
                    let _ = task.as_mut().poll(&mut context);
                }
                deadlines.pop();
            }
        }
    })?;
    check("sleepers", done.get(), tasks)?;
    Ok(time)
}

pub(crate) fn parked(tasks: u64, live: impl Fn() -> u64) -> Result<Parked> {
    let done = Rc::new(Cell::new(0));
    let park = || {
        let done = done.clone();
        async move {
            Yield::default().await;
            done.set(done.get() + 1);
        }
    };
    let future = size_of_val(&park());
    let mut context = Context::from_waker(Waker::noop());
    let mut parked: Vec<Boxed<()>> = Vec::new();
    for _ in 0..tasks {
        let mut task: Boxed<()> = Box::pin(park());
        if task.as_mut().poll(&mut context).is_pending() {
            parked.push(task);
        }
    }
    let live = live();
    parked.retain_mut(|task| task.as_mut().poll(&mut context).is_pending());
    check("parked tasks", done.get(), tasks)?;
    Ok(Parked { live, future })
}

/// An echo server with edge-triggered `epoll`, one buffer for all, and nothing else.
pub(crate) fn serve(addr: &str) -> Result<()> {
    const LISTENER: u64 = u64::MAX;

    let listener = TcpListener::bind(addr)?;
    announce(listener.local_addr()?)?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    // By descriptor number, which is the event's data, too.
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let mut events = Vec::with_capacity(1024);
    let mut buf = vec![0; BUFFER];
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Err(rustix::io::Errno::INTR) => continue,
            waited => waited?,
        };
        for event in &events {
            let data = event.data;
            if data.u64() == LISTENER {
                accept(&listener, &epoll, &mut connections)?;
                continue;
            }
            let connection = &mut connections[data.u64() as usize];
            if let Some(stream) = connection
                && !echo(stream, &mut buf)
            {
                *connection = None;
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    epoll: &OwnedFd,
    connections: &mut Vec<Option<TcpStream>>,
) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        let number = stream.as_raw_fd() as usize;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET | epoll::EventFlags::RDHUP;
        epoll::add(epoll, &stream, epoll::EventData::new_u64(number as u64), flags)?;
        if connections.len() <= number {
            connections.resize_with(number + 1, || None);
        }
        connections[number] = Some(stream);
    }
}

/// Sends back all that is there; false when the connection is over.
///
/// A peer that sends much and reads nothing is cut off: no client here is one, and a floor has no
/// room for the code that others have for it.
fn echo(mut stream: &TcpStream, buf: &mut [u8]) -> bool {
    loop {
        let n = match stream.read(buf) {
            Ok(0) => return false,
            Ok(n) => n,
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        };
        if stream.write_all(&buf[..n]).is_err() {
            return false;
        }
        // A short read emptied the socket; if more came since, that is a new edge.
        if n < buf.len() {
            return true;
        }
    }
}
