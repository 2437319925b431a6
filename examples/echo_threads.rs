//! The echo server of `echo_server` with one OS thread per connection and nothing but `std`: the
//! peer to measure a scheduler against.
//!
//! ```text
//! cargo run --release --example echo_threads -- 127.0.0.1:45000
//! ```
//!
//! Each connection has a stack and a place in the operating system's scheduler, and each message
//! costs a switch between threads. The code is hard to beat for plainness, which is the other thing
//! to compare.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

const USAGE: &str =
    "usage: echo_threads [ADDR], by default 127.0.0.1:45000; port 0 takes a free one";

/// As large as the other echo servers' buffer, so that all make the same reads.
const BUFFER: usize = 16 * 1024;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:45000".into());
    if addr == "-h" || addr == "--help" {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    if addr.starts_with('-') || args.next().is_some() {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    match serve(&addr) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("echo_threads: cannot listen on {addr}: {error}");
            ExitCode::from(2)
        }
    }
}

fn serve(addr: &str) -> io::Result<std::convert::Infallible> {
    let listener = TcpListener::bind(addr)?;
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on {}", listener.local_addr()?)?;
    stdout.flush()?;
    loop {
        // Out of descriptors or of threads: those connected go on, and newcomers have to wait.
        let accepted = listener.accept();
        let started =
            accepted.and_then(|(stream, _)| thread::Builder::new().spawn(|| echo(stream)));
        if let Err(error) = started {
            eprintln!("echo_threads: a connection was not served: {error}");
            pause();
        }
    }
}

/// Sends back what comes until the peer has closed its half, then closes the other.
fn echo(mut stream: TcpStream) {
    let mut buf = [0; BUFFER];
    loop {
        match stream.read(&mut buf) {
            Ok(0) => break,
            Ok(n) if stream.write_all(&buf[..n]).is_ok() => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The peer is gone: there is nobody to echo to.
            Ok(_) | Err(_) => return,
        }
    }
    // Fails only if the peer is gone, too.
    let _ = stream.shutdown(Shutdown::Write);
}

#[allow(clippy::disallowed_methods, reason = "no scheduler runs here whose tasks it could stop")]
fn pause() {
    thread::sleep(Duration::from_millis(10));
}
