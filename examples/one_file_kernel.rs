//! Another kernel for the same library.
//!
//! `trapline::spawn`, `sleep`, `net` and the rest of the library know the ring, and nothing of who
//! stands behind it. Here it is not `trapline-scheduler` but the kernel below: pyos, on a ring. Read
//! it from `run` downwards; `serve` is the table of system calls, `serve_post` that of requests
//! without an answer. The tasks at the end would run on any kernel.
//!
//! ```text
//! cargo run --example one_file_kernel
//! ```
//!
//! It has neither timers nor lists of waiters: a call that has no answer yet is served again after
//! each step. This makes the kernel short, and slow in a crowd. Besides, a panic in a task ends the
//! program, as in pyos; a waker that another thread calls is not heard; a deadlock sleeps; daemons
//! are waited for; and a program's own calls are not served.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Token};
use trapline::WaitQueue;
use trapline::net::{TcpListener, TcpStream};
use trapline_abi::{
    Beside, Booking, CallState, Direction, Ended, ExitStatus, Instant, KernelRing, Post, Readiness,
    Reply, Ring, Submitted, Syscall, Target, TaskBody, TaskId, TaskOptions,
};

struct Task {
    body: Pin<Box<dyn TaskBody>>,
    waker: Waker,
    has_handle: bool,
}

/// A call that has no answer yet.
struct Call {
    caller: TaskId,
    trap: Submitted,
    since: Instant,
}

struct Kernel {
    ring: KernelRing,
    last_task: u64,
    tasks: BTreeMap<TaskId, Task>,
    ready: VecDeque<TaskId>,
    calls: Vec<Call>,
    /// How tasks ended whose handles may still ask.
    ended: BTreeMap<TaskId, (Ended, u32)>,
    poll: mio::Poll,
    events: BTreeMap<RawFd, Readiness>,
    started: std::time::Instant,
}

impl Kernel {
    /// Runs until no task is left. All who are ready have a turn, then the outside has its own.
    fn run(&mut self) -> io::Result<()> {
        let _entered = self.ring.enter();
        while !self.tasks.is_empty() {
            self.look_outside()?;
            for _ in 0..self.ready.len() {
                let task = self.ready.pop_front().expect("so many are ready");
                self.step(task);
            }
        }
        Ok(())
    }

    /// Resumes a task until it traps, and serves what it asked.
    fn step(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        self.ring.begin(id, &task.waker);
        self.ring.set_budget(16);
        let polled = task.body.as_mut().poll(&mut Context::from_waker(&task.waker));
        self.ring.finish();
        if polled.is_ready() {
            self.end(id, ExitStatus::Returned);
        }
        while let Some(trap) = self.ring.next_trap() {
            self.arm(trap.request);
            self.calls.push(Call { caller: id, trap, since: self.now() });
        }
        self.serve_all();
    }

    /// Serves what has been posted, and every call that has no answer yet.
    fn serve_all(&mut self) {
        while let Some(post) = self.ring.next_post() {
            self.serve_post(post);
        }
        for call in mem::take(&mut self.calls) {
            let id = call.trap.id;
            match self.ring.state(id) {
                // Its future has been dropped.
                None => {}
                // It was given a token of its wait queue.
                Some(CallState::Answered(_)) => {
                    self.resume(self.ring.granted(id).map(|(_, booking)| booking))
                }
                Some(_) => match self.serve(&call) {
                    Some(reply) => self.resume(self.ring.answer(id, reply)),
                    None => self.calls.push(call),
                },
            }
        }
        self.events.clear();
        if self.ring.has_posts() {
            self.serve_all();
        }
    }

    /// The table of system calls: the answer, if there is one yet.
    fn serve(&mut self, call: &Call) -> Option<Reply> {
        let ring = &self.ring;
        match call.trap.request {
            Syscall::GetTid => Some(Reply::Task(call.caller)),
            Syscall::Yield => Some(Reply::Done),
            Syscall::Spawn | Syscall::SpawnDaemon => match ring.take_beside(call.trap.id) {
                Beside::Body(body) => Some(Reply::Task(self.spawn(body, true))),
                _ => None,
            },
            Syscall::Wait(task) | Syscall::Join(task) if self.tasks.contains_key(&task) => None,
            Syscall::Wait(task) => Some(match self.ended.get(&task) {
                Some((ended, _)) => Reply::Exited(*ended),
                None if task.sequence() <= self.last_task => Reply::Exited(Ended::Forgotten),
                None => Reply::NoSuchTask,
            }),
            Syscall::Join(task) => {
                self.ended.remove(&task).map(|(_, key)| Reply::Outcome(u64::from(key)))
            }
            Syscall::Kill(task) => {
                ring.ring().post(Post::Kill(task));
                Some(Reply::Done)
            }
            // This kernel has one way to end a task.
            Syscall::Cancel(task) => {
                ring.ring().post(Post::Kill(task));
                Some(Reply::Done)
            }
            Syscall::Now => Some(Reply::Time(self.now())),
            Syscall::Sleep { .. } | Syscall::SleepUntil(_) => {
                let now = self.now();
                call.deadline().filter(|due| *due <= now).map(|_| Reply::Time(now))
            }
            Syscall::ReadWait(target) => self.wait_for_io(target, Direction::Read),
            Syscall::WriteWait(target) => self.wait_for_io(target, Direction::Write),
            Syscall::Park(_) | Syscall::Own => None,
        }
    }

    /// The table of posts.
    fn serve_post(&mut self, post: Post) {
        match post {
            Post::Wake(task) => self.make_ready(task),
            Post::Spawn(task) => drop(self.spawn(task.body, false)),
            Post::Kill(task) | Post::Cancel(task, _) => self.end(task, ExitStatus::Killed),
            Post::Detach(task) => self.detach(task),
            Post::Discard(task, key) => drop(self.ring.take_outcome(key, task)),
            Post::CloseSource(source) => self.ring.remove_source(source),
            Post::Warn(text, site) => eprintln!("{site}: {text}"),
            // These concern calls that a kernel has noted as blocked; this one notes nothing.
            Post::Granted(_) | Post::Withdraw(_) => {}
        }
    }
}

/// Tasks.
impl Kernel {
    fn spawn(&mut self, body: Pin<Box<dyn TaskBody>>, has_handle: bool) -> TaskId {
        self.last_task += 1;
        let id = TaskId::new(self.last_task, 0);
        let waker = Waker::from(Arc::new(Alarm(id)));
        self.tasks.insert(id, Task { body, waker, has_handle });
        self.make_ready(id);
        id
    }

    fn make_ready(&mut self, id: TaskId) {
        if !self.ready.contains(&id) {
            self.ready.push_back(id);
        }
    }

    /// Resumes who waits for a call that is answered: a combinator, by its own waker, or a task.
    fn resume(&mut self, booking: Option<Booking>) {
        match booking {
            Some(Booking { waker: Some(waker), .. }) => waker.wake(),
            Some(Booking { task: Some(task), .. }) => self.make_ready(task),
            _ => {}
        }
    }

    fn end(&mut self, id: TaskId, status: ExitStatus) {
        let Some(task) = self.tasks.remove(&id) else { return };
        drop(self.ring.take_estate(id));
        let ended = status.ended();
        let is_asked = task.has_handle && task.body.leaves_outcome();
        let body = Some(task.body).filter(|_| ended == Ended::Returned);
        if is_asked {
            let key = self.ring.keep_outcome(id, body, None, None);
            self.ended.insert(id, (ended, key));
        }
    }

    fn detach(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.has_handle = false;
        } else if let Some((_, key)) = self.ended.remove(&id) {
            drop(self.ring.take_outcome(key, id));
        }
    }
}

/// The outside: the clock, and descriptors.
impl Kernel {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.started.elapsed().as_nanos() as u64)
    }

    /// Sees what has happened. Sleeps until something has, if nobody is ready.
    fn look_outside(&mut self) -> io::Result<()> {
        let first = self.calls.iter().filter_map(Call::deadline).min();
        let timeout = match self.ready.is_empty() {
            true => first.map(|deadline| deadline - self.now()),
            false => Some(Duration::ZERO),
        };
        let mut events = Events::with_capacity(64);
        if let Err(error) = self.poll.poll(&mut events, timeout)
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(error);
        }
        for event in &events {
            let readiness = self.events.entry(event.token().0 as RawFd).or_default();
            if event.is_readable() || event.is_read_closed() {
                *readiness |= Readiness::READABLE;
            }
            if event.is_writable() || event.is_write_closed() {
                *readiness |= Readiness::WRITABLE;
            }
        }
        self.serve_all();
        Ok(())
    }

    fn fd_of(&self, target: Target) -> Option<RawFd> {
        target.source().map_or_else(Some, |source| self.ring.source_fd(source))
    }

    /// Asks for an event of a descriptor. What is there already makes one, too.
    fn arm(&mut self, request: Syscall) {
        if let Syscall::ReadWait(target) | Syscall::WriteWait(target) = request
            && let Some(fd) = self.fd_of(target)
        {
            let (token, both) = (Token(fd as usize), Interest::READABLE | Interest::WRITABLE);
            let registry = self.poll.registry();
            let armed = registry.reregister(&mut SourceFd(&fd), token, both);
            if armed.or_else(|_| registry.register(&mut SourceFd(&fd), token, both)).is_err() {
                // A regular file, which is always ready, or no file: then the next read says so.
                self.events.insert(fd, Readiness::READABLE | Readiness::WRITABLE);
            }
        }
    }

    fn wait_for_io(&mut self, target: Target, direction: Direction) -> Option<Reply> {
        let Some(fd) = self.fd_of(target) else { return Some(Reply::SourceClosed) };
        let readiness = *self.events.get(&fd)?;
        if let Ok(source) = target.source() {
            self.ring.add_readiness(source, readiness);
        }
        readiness.allows(direction).then_some(Reply::Done)
    }
}

impl Call {
    fn deadline(&self) -> Option<Instant> {
        match self.trap.request {
            Syscall::Sleep { nanos } => Some(self.since + Duration::from_nanos(nanos)),
            Syscall::SleepUntil(deadline) => Some(deadline),
            _ => None,
        }
    }
}

/// A task's waker, for combinators and other futures that are no system calls.
struct Alarm(TaskId);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        if let Some(ring) = Ring::current() {
            ring.post(Post::Wake(self.0));
        }
    }
}

// The kernel ends here. What follows are tasks.

async fn count(name: &'static str, to: u32) -> u32 {
    for number in 1..=to {
        println!("{name} {number}");
        trapline::yield_now().await;
    }
    to
}

async fn echo(listener: TcpListener) -> io::Result<()> {
    let (client, _) = listener.accept().await?;
    let mut buffer = [0; 1024];
    loop {
        match client.read(&mut buffer).await? {
            0 => return Ok(()),
            count => client.write_all(&buffer[..count]).await?,
        }
    }
}

async fn program() -> Result<(), Box<dyn Error>> {
    let ann = trapline::spawn(count("Ann", 3)).await;
    let bob = trapline::spawn(count("Bob", 2)).await;
    println!("Bob has {}", trapline::wait(bob.id()).await?);
    println!("Ann counted to {}", ann.await?);

    let gate = Rc::new(WaitQueue::new(0));
    let porter = Rc::clone(&gate);
    trapline::spawn_detached(async move {
        trapline::sleep(Duration::from_millis(20)).await;
        porter.wake();
    });
    gate.park().await;
    println!("the porter has opened the gate");
    if trapline::timeout(Duration::from_millis(20), gate.park()).await.is_err() {
        println!("and not again");
    }

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = trapline::spawn(echo(listener)).await;
    let stream = TcpStream::connect(address).await?;
    stream.write_all(b"hello, kernel").await?;
    let mut reply = [0; 13];
    stream.read_exact(&mut reply).await?;
    println!("echo: {}", String::from_utf8_lossy(&reply));
    drop(stream);
    server.await??;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a kernel is where the clock is read")]
fn main() -> io::Result<()> {
    let mut kernel = Kernel {
        ring: KernelRing::claim(0),
        last_task: 0,
        tasks: BTreeMap::new(),
        ready: VecDeque::new(),
        calls: Vec::new(),
        ended: BTreeMap::new(),
        poll: mio::Poll::new()?,
        events: BTreeMap::new(),
        started: std::time::Instant::now(),
    };
    let program = async {
        match program().await {
            Ok(()) => println!("done"),
            Err(error) => println!("failed: {error}"),
        }
    };
    kernel.spawn(TaskOptions::new().body(program), false);
    kernel.run()?;
    assert!(kernel.ended.is_empty(), "every handle has been told, or is gone");
    Ok(())
}
