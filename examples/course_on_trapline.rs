//! The task programs of `pyos1` to `pyos8`, on the crate that the course leads to.
//!
//! ```text
//! cargo run --example course_on_trapline            # all steps that end by themselves
//! cargo run --example course_on_trapline -- pyos6
//! cargo run --example course_on_trapline -- pyos8 127.0.0.1:45000
//! ```
//!
//! At `quantum(1)` every trap is a scheduling point, so each step prints what its `pyosN` prints, line
//! for line. `Task N terminated` comes from a probe, for the scheduler itself prints nothing. Read it
//! beside the `pyosN`: the tasks are the same, and the scheduler that each of them builds is a `use`.

use std::env;
use std::error::Error;
use std::future::pending;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use trapline::{Event, RunError, Scheduler, TaskOptions};

const USAGE: &str = "usage: course_on_trapline [pyos1 | pyos2 | … | pyos7 [ADDR] | pyos8 [ADDR]]";

/// The scheduler of the course.
fn scheduler() -> Scheduler {
    Scheduler::builder().quantum(1).probe(print_exit).build()
}

fn print_exit(event: &Event<'_>) {
    if let Event::Ended { task, .. } = event {
        // Not `println!`: a server goes on when nobody reads what it prints.
        let _ = writeln!(io::stdout(), "Task {task} terminated");
    }
}

/// Step 1: a task, run by hand.
fn pyos1() -> Result<(), RunError> {
    async fn foo() {
        println!("Part 1");
        trapline::yield_now().await;
        println!("Part 2");
        trapline::yield_now().await;
    }

    let mut scheduler = scheduler();
    scheduler.spawn(foo()).detach();
    scheduler.step();
    scheduler.step();
    Ok(())
}

/// Step 2: tasks that take turns, for ever if we went on.
fn pyos2() -> Result<(), RunError> {
    async fn foo() {
        loop {
            println!("I'm foo");
            trapline::yield_now().await;
        }
    }

    async fn bar() {
        loop {
            println!("I'm bar");
            trapline::yield_now().await;
        }
    }

    let mut scheduler = scheduler();
    scheduler.spawn(foo()).detach();
    scheduler.spawn(bar()).detach();
    let rounds = 5;
    for _ in 0..2 * rounds {
        scheduler.step();
    }
    Ok(())
}

/// Step 3: tasks that end.
fn pyos3() -> Result<(), RunError> {
    async fn foo() {
        for _ in 0..10 {
            println!("I'm foo");
            trapline::yield_now().await;
        }
    }

    async fn bar() {
        for _ in 0..5 {
            println!("I'm bar");
            trapline::yield_now().await;
        }
    }

    let mut scheduler = scheduler();
    scheduler.spawn(foo()).detach();
    scheduler.spawn(bar()).detach();
    trapline::trace::run(&mut scheduler).map(drop)
}

/// Step 4: system calls.
fn pyos4() -> Result<(), RunError> {
    async fn foo() {
        let tid = trapline::get_tid().await;
        for _ in 0..5 {
            println!("I'm foo {tid}");
            trapline::yield_now().await;
        }
    }

    async fn bar() {
        let tid = trapline::get_tid().await;
        for _ in 0..10 {
            println!("I'm bar {tid}");
            trapline::yield_now().await;
        }
    }

    let mut scheduler = scheduler();
    scheduler.spawn(foo()).detach();
    scheduler.spawn(bar()).detach();
    trapline::trace::run(&mut scheduler).map(drop)
}

/// Step 5: tasks that start and kill tasks.
fn pyos5() -> Result<(), RunError> {
    async fn foo() {
        let tid = trapline::get_tid().await;
        loop {
            println!("I'm foo {tid}");
            trapline::yield_now().await;
        }
    }

    async fn parent() {
        let child = trapline::spawn(foo()).await;
        for _ in 0..5 {
            trapline::yield_now().await;
        }
        trapline::kill(child.id()).await.expect("there is such a task");
        println!("main done");
    }

    let mut scheduler = scheduler();
    scheduler.spawn(parent()).detach();
    trapline::trace::run(&mut scheduler).map(drop)
}

/// Step 6: tasks that wait for tasks.
fn pyos6() -> Result<(), RunError> {
    async fn foo() {
        for _ in 0..5 {
            println!("I'm foo");
            trapline::yield_now().await;
        }
    }

    async fn parent() {
        let child = trapline::spawn(foo()).await;
        println!("Waiting for child");
        trapline::wait(child.id()).await.expect("there is such a task");
        println!("Child done");
    }

    let mut scheduler = scheduler();
    scheduler.spawn(parent()).detach();
    trapline::trace::run(&mut scheduler).map(drop)
}

/// Step 7: tasks that wait for I/O.
fn pyos7(address: &str) -> Result<(), Box<dyn Error>> {
    use std::net::{TcpListener, TcpStream};

    async fn handle_client(client: TcpStream) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            trapline::read_wait(&client).await?;
            let count = (&client).read(&mut buffer)?;
            if count == 0 {
                return Ok(()); // The client has closed its connection.
            }
            let mut rest = &buffer[..count];
            while !rest.is_empty() {
                trapline::write_wait(&client).await?;
                let sent = (&client).write(rest)?;
                rest = &rest[sent..];
            }
        }
    }

    async fn server(listener: TcpListener) -> io::Result<()> {
        loop {
            trapline::read_wait(&listener).await?;
            // It fails when the client is gone already; the next one may be luckier.
            if let Ok((client, _)) = listener.accept()
                && client.set_nonblocking(true).is_ok()
            {
                trapline::spawn(handle_client(client)).await.detach();
            }
        }
    }

    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);
    serve(server(listener))
}

/// Step 8: a library of sub-coroutines.
fn pyos8(address: &str) -> Result<(), Box<dyn Error>> {
    use trapline::net::{TcpListener, TcpStream};

    async fn handle_client(client: TcpStream) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            match client.read(&mut buffer).await? {
                0 => return Ok(()), // The client has closed its connection.
                count => client.write_all(&buffer[..count]).await?,
            }
        }
    }

    async fn server(listener: TcpListener) {
        loop {
            // It fails when the client is gone already; the next one may be luckier.
            if let Ok((client, _)) = listener.accept().await {
                trapline::spawn(handle_client(client)).await.detach();
            }
        }
    }

    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    serve(server(listener))
}

/// Runs a server, which is task 1. In the course task 2 is the one that asks for I/O; here the loop
/// looks by itself, and a daemon that does nothing keeps the place: clients begin at 3 in both.
fn serve<T: 'static>(server: impl Future<Output = T> + 'static) -> Result<(), Box<dyn Error>> {
    let mut scheduler = scheduler();
    scheduler.spawn(server).detach();
    scheduler.spawn_with(TaskOptions::new().daemon(), pending::<()>()).detach();
    Ok(trapline::trace::run(&mut scheduler).map(drop)?)
}

type Step = fn() -> Result<(), RunError>;

/// The steps that end by themselves.
const STEPS: [(&str, Step); 6] = [
    ("pyos1", pyos1),
    ("pyos2", pyos2),
    ("pyos3", pyos3),
    ("pyos4", pyos4),
    ("pyos5", pyos5),
    ("pyos6", pyos6),
];

fn run_steps() -> Result<(), RunError> {
    for (name, step) in STEPS {
        println!("== {name} ==");
        step()?;
    }
    Ok(())
}

fn run_step(name: &str) -> Result<(), Box<dyn Error>> {
    match STEPS.iter().find(|(known, _)| *known == name) {
        Some((_, step)) => Ok(step()?),
        None => Err(USAGE.into()),
    }
}

fn run_server(name: &str, address: &str) -> Result<(), Box<dyn Error>> {
    let served = if name == "pyos7" { pyos7(address) } else { pyos8(address) };
    served.map_err(|error| format!("cannot serve on {address}: {error}").into())
}

fn main() -> ExitCode {
    let arguments: Vec<String> =
        env::args_os().skip(1).map(|argument| argument.to_string_lossy().into()).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [] => run_steps().map_err(Into::into),
        [name @ ("pyos7" | "pyos8")] => run_server(name, "127.0.0.1:45000"),
        [name @ ("pyos7" | "pyos8"), address] => run_server(name, address),
        [name] => run_step(name),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
