//! Step 7: tasks that wait for I/O.
//!
//! `ReadWait` and `WriteWait` block a task until a descriptor is ready; then the task reads or writes,
//! and nobody else has stood still. Who asks the operating system? A task like any other, always in the
//! queue: when its turn comes and others are ready, it only looks (`poll` with timeout 0); when it is
//! alone, it sleeps until something happens. The program is a server that echoes what it receives.
//!
//! In the original the second task to wait for a descriptor displaced the first, for ever; a descriptor
//! closed while somebody waited for it ended the main loop, and so did a client that reset its connection;
//! one that did not read could block everybody; and the loop never returned. Here the table is a list,
//! each wait shares in owning its descriptor, an error ends one client only, sockets never block, and
//! the I/O task ends when there is nobody left to wake.

#![allow(dead_code, reason = "the tasks below do not make every call")]

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::env;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::mem;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

type Tid = usize;
type Coroutine = Pin<Box<dyn Future<Output = ()>>>;
type Descriptor = Rc<dyn AsFd>;

thread_local! {
    /// The way into a task: what its yield returns when it goes on.
    static SENT: Cell<usize> = const { Cell::new(0) };
    /// The way out of a task: the call that it yields with, if any.
    static CALL: Cell<Option<Syscall>> = const { Cell::new(None) };
}

/// Suspends the task, and returns what is sent in when it goes on.
async fn yield_now() -> usize {
    let mut suspended = false;
    poll_fn(|_| match mem::replace(&mut suspended, true) {
        false => Poll::Pending,
        true => Poll::Ready(SENT.get()),
    })
    .await
}

/// What a task can ask of the scheduler.
enum Syscall {
    GetTid,
    NewTask(Coroutine),
    KillTask(Tid),
    WaitTask(Tid),
    ReadWait(Descriptor),
    WriteWait(Descriptor),
    PollIo,
}

/// Makes a system call, and returns the reply: one number, as a processor's register would hold.
async fn trap(call: Syscall) -> usize {
    CALL.set(Some(call));
    yield_now().await
}

/// Asks for the caller's own id.
async fn get_tid() -> Tid {
    trap(Syscall::GetTid).await
}

/// Starts a task, and returns its id.
async fn new_task(target: impl Future<Output = ()> + 'static) -> Tid {
    trap(Syscall::NewTask(Box::pin(target))).await
}

/// Kills a task, and returns whether it existed.
async fn kill_task(victim: Tid) -> bool {
    trap(Syscall::KillTask(victim)).await == 1
}

/// Waits until a task has ended, and returns whether there was one to wait for.
async fn wait_task(target: Tid) -> bool {
    trap(Syscall::WaitTask(target)).await == 1
}

/// Waits until there is something to read.
async fn read_wait(fd: Descriptor) {
    trap(Syscall::ReadWait(fd)).await;
}

/// Waits until there is room to write.
async fn write_wait(fd: Descriptor) {
    trap(Syscall::WriteWait(fd)).await;
}

/// The I/O task: asks for a look at the descriptors, as long as there is any use in it.
async fn io_task() {
    while trap(Syscall::PollIo).await == 1 {}
}

/// A coroutine that somebody else runs.
struct Task {
    tid: Tid,
    target: Coroutine,
    sendval: usize,
}

impl Task {
    /// Runs the task to its next yield (`Pending`) or to its end (`Ready`).
    fn run(&mut self) -> Poll<()> {
        // Taken, not copied: what is sent is sent once.
        SENT.set(mem::take(&mut self.sendval));
        let mut context = Context::from_waker(Waker::noop());
        self.target.as_mut().poll(&mut context)
    }
}

/// Takes turns among its tasks, first come, first served.
#[derive(Default)]
struct Scheduler {
    last_tid: Tid,
    tasks: BTreeMap<Tid, Task>,
    ready: VecDeque<Tid>,
    exit_waiting: BTreeMap<Tid, Vec<Tid>>,
    /// For reading and for writing: `select` took a table of each, `poll` takes one list.
    io_waiting: Vec<(Descriptor, PollFlags, Tid)>,
}

impl Scheduler {
    /// Makes a task of a coroutine, ready to run after all the others.
    fn new_task(&mut self, target: Coroutine) -> Tid {
        self.last_tid += 1;
        let task = Task { tid: self.last_tid, target, sendval: 0 };
        self.ready.push_back(task.tid);
        self.tasks.insert(task.tid, task);
        self.last_tid
    }

    /// Ends a task wherever it is, and returns whether it existed.
    fn kill(&mut self, victim: Tid) -> bool {
        let existed = self.tasks.contains_key(&victim);
        if existed {
            self.exit(victim);
        }
        existed
    }

    /// Makes a task wait until another has ended.
    fn wait_for_exit(&mut self, tid: Tid, target: Tid) -> Option<usize> {
        if target == tid || !self.tasks.contains_key(&target) {
            return Some(0);
        }
        self.exit_waiting.entry(target).or_default().push(tid);
        None
    }

    /// Makes a task wait until its descriptor is ready.
    fn wait_for_io(&mut self, tid: Tid, fd: Descriptor, events: PollFlags) -> Option<usize> {
        self.io_waiting.push((fd, events, tid));
        None
    }

    /// Wakes the tasks whose descriptors are ready, and returns whether any is left to run.
    fn poll_io(&mut self) -> bool {
        let alone = self.ready.is_empty();
        if alone && self.io_waiting.is_empty() {
            return false;
        }
        let timeout = if alone { None } else { Some(&Timespec::default()) };
        let waits = self.io_waiting.iter();
        let mut fds: Vec<_> = waits.map(|(fd, events, _)| PollFd::new(fd, *events)).collect();
        // It fails when a signal interrupts it; then no descriptor is ready.
        let _ = poll(&mut fds, timeout);
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        for (wait, ready) in mem::take(&mut self.io_waiting).into_iter().zip(ready) {
            if ready {
                self.ready.push_back(wait.2);
            } else {
                self.io_waiting.push(wait);
            }
        }
        true
    }

    /// Removes a task that has ended, and wakes those who wait for that.
    fn exit(&mut self, tid: Tid) {
        self.tasks.remove(&tid);
        self.io_waiting.retain(|wait| wait.2 != tid);
        // Not `println!`: a server goes on when nobody reads what it prints.
        let _ = writeln!(io::stdout(), "Task {tid} terminated");
        for waiter in self.exit_waiting.remove(&tid).unwrap_or_default() {
            self.reply(waiter, 1);
        }
    }

    /// Serves a call, and answers it unless it blocks: a line for each kind.
    fn serve(&mut self, caller: Tid, call: Syscall) {
        let reply = match call {
            Syscall::GetTid => Some(caller),
            Syscall::NewTask(target) => Some(self.new_task(target)),
            Syscall::KillTask(victim) => Some(self.kill(victim).into()),
            Syscall::WaitTask(target) => self.wait_for_exit(caller, target),
            Syscall::ReadWait(fd) => self.wait_for_io(caller, fd, PollFlags::IN),
            Syscall::WriteWait(fd) => self.wait_for_io(caller, fd, PollFlags::OUT),
            Syscall::PollIo => Some(self.poll_io().into()),
        };
        if let Some(value) = reply {
            self.reply(caller, value);
        }
    }

    /// Answers a call; its caller goes to the back of the queue.
    fn reply(&mut self, tid: Tid, value: usize) {
        let Some(task) = self.tasks.get_mut(&tid) else {
            return; // It was killed while it waited for the reply.
        };
        task.sendval = value;
        self.ready.push_back(tid);
    }

    /// Gives turns until no task is ready.
    fn main_loop(&mut self) {
        self.new_task(Box::pin(io_task()));
        while let Some(tid) = self.ready.pop_front() {
            let Some(task) = self.tasks.get_mut(&tid) else {
                continue; // It was killed while it waited for its turn.
            };
            match task.run() {
                Poll::Ready(()) => self.exit(tid),
                Poll::Pending => match CALL.take() {
                    Some(call) => self.serve(tid, call),
                    None => self.ready.push_back(tid),
                },
            }
        }
    }
}

async fn handle_client(client: TcpStream) {
    let client = Rc::new(client);
    let mut buffer = [0; 4096];
    loop {
        read_wait(client.clone()).await;
        let Ok(count @ 1..) = client.as_ref().read(&mut buffer) else {
            return; // The client has closed its connection, or reset it.
        };
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            write_wait(client.clone()).await;
            let Ok(sent) = client.as_ref().write(rest) else {
                return;
            };
            rest = &rest[sent..];
        }
    }
}

async fn server(listener: TcpListener) {
    let listener = Rc::new(listener);
    loop {
        read_wait(listener.clone()).await;
        // It fails when the client is gone already; the next one may be luckier.
        if let Ok((client, _)) = listener.accept()
            && client.set_nonblocking(true).is_ok()
        {
            new_task(handle_client(client)).await;
        }
    }
}

fn listen(address: &str) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);
    Ok(listener)
}

fn main() -> ExitCode {
    let argument = env::args_os().nth(1);
    let address = argument.unwrap_or("127.0.0.1:45000".into());
    let listener = match listen(&address.to_string_lossy()) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("cannot listen on {address:?}: {error}");
            return ExitCode::from(2);
        }
    };
    let mut scheduler = Scheduler::default();
    scheduler.new_task(Box::pin(server(listener)));
    scheduler.main_loop();
    ExitCode::SUCCESS
}
