//! The talk's broken server: one blocking call stops everybody.
//!
//! ```text
//! cargo run --example echo_bad -- 127.0.0.1:45000
//! ```
//!
//! `alive` should print all the time. It prints once; then `server` calls the standard library's
//! `accept`, which keeps the thread, and so the scheduler, until a client connects (`nc 127.0.0.1
//! 45000`). That gives `alive` one more turn. Then the client's own task calls `read`, and until the
//! client says something there is silence, and when it has, there is again: everybody waits for it,
//! and a second client is not even accepted. The loop is not at fault. It serves a task when the task
//! traps, and these do not trap.
//!
//! The remedy is to wait by a trap and read what is there then: `read_wait`, as in `pyos7`, or
//! `trapline::net`, as in `echo_server`.

use std::env;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;

use trapline::Scheduler;

async fn alive() {
    loop {
        println!("I'm alive!");
        trapline::yield_now().await;
    }
}

async fn server(listener: TcpListener) -> io::Result<()> {
    loop {
        let (client, address) = listener.accept()?; // Wrong: it blocks.
        trapline::spawn(handle_client(client, address)).await.detach();
    }
}

async fn handle_client(mut client: TcpStream, address: SocketAddr) -> io::Result<()> {
    println!("connection from {address}");
    let mut buffer = [0; 4096];
    loop {
        let count = client.read(&mut buffer)?; // Wrong: it blocks.
        if count == 0 {
            break;
        }
        client.write_all(&buffer[..count])?; // Wrong: it blocks when the client does not read.
    }
    println!("connection closed");
    Ok(())
}

fn run(address: &str) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    // At a larger quantum the server would go on to its next `accept` before the client had a turn.
    let mut scheduler = Scheduler::builder().quantum(1).build();
    scheduler.spawn(alive()).detach();
    scheduler.spawn(server(listener)).detach();
    Ok(trapline::trace::run(&mut scheduler).map(drop)?)
}

fn main() -> ExitCode {
    let argument = env::args_os().nth(1);
    let address = argument.unwrap_or("127.0.0.1:45000".into());
    let address = address.to_string_lossy();
    match run(&address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot serve on {address}: {error}");
            ExitCode::from(2)
        }
    }
}
