//! The course programs, `pyos1` to `pyos8`, print their transcripts to the letter.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/children.rs"]
mod children;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use std::process::{Child, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use children::example;
use socket2::SockRef;

// The transcripts: what each program prints, from its first byte to its last.

const PYOS1: &str = "\
Part 1
Part 2
";

const PYOS2: &str = "\
I'm foo
I'm bar
I'm foo
I'm bar
I'm foo
I'm bar
I'm foo
I'm bar
I'm foo
I'm bar
";

const PYOS3: &str = "\
I'm foo
I'm bar
I'm foo
I'm bar
I'm foo
I'm bar
I'm foo
I'm bar
I'm foo
I'm bar
I'm foo
Task 2 terminated
I'm foo
I'm foo
I'm foo
I'm foo
Task 1 terminated
";

const PYOS4: &str = "\
I'm foo 1
I'm bar 2
I'm foo 1
I'm bar 2
I'm foo 1
I'm bar 2
I'm foo 1
I'm bar 2
I'm foo 1
I'm bar 2
Task 1 terminated
I'm bar 2
I'm bar 2
I'm bar 2
I'm bar 2
I'm bar 2
Task 2 terminated
";

const PYOS5: &str = "\
I'm foo 2
I'm foo 2
I'm foo 2
I'm foo 2
I'm foo 2
Task 2 terminated
main done
Task 1 terminated
";

const PYOS6: &str = "\
I'm foo
Waiting for child
I'm foo
I'm foo
I'm foo
I'm foo
Task 2 terminated
Child done
Task 1 terminated
";

const PYOS7_AND_8: &str = "\
listening on 127.0.0.1:45000
Task 3 terminated
Task 4 terminated
";

/// What only a broken program makes us wait for.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn pyos1_prints_its_transcript() {
    assert_prints("pyos1", PYOS1);
}

#[test]
fn pyos2_prints_its_transcript() {
    assert_prints("pyos2", PYOS2);
}

#[test]
fn pyos3_prints_its_transcript() {
    assert_prints("pyos3", PYOS3);
}

#[test]
fn pyos4_prints_its_transcript() {
    assert_prints("pyos4", PYOS4);
}

#[test]
fn pyos5_prints_its_transcript() {
    assert_prints("pyos5", PYOS5);
}

#[test]
fn pyos6_prints_its_transcript() {
    assert_prints("pyos6", PYOS6);
}

#[test]
fn pyos7_prints_its_transcript() {
    assert_serves("pyos7");
}

#[test]
fn pyos8_prints_its_transcript() {
    assert_serves("pyos8");
}

#[test]
fn the_readme_shows_every_transcript() {
    let readme = include_str!("../examples/README.md");
    for transcript in [PYOS1, PYOS2, PYOS3, PYOS4, PYOS5, PYOS6, PYOS7_AND_8] {
        let block = format!("```text\n{transcript}```\n");
        assert!(readme.contains(&block), "examples/README.md lacks this transcript:\n{block}");
    }
}

#[test]
fn client_that_resets_then_the_others_are_served() {
    for program in ["pyos7", "pyos8"] {
        let server = Server::start(program);
        let mut first = server.connect();
        assert_echoes(&mut first, b"first");
        let mut second = server.connect();
        reset(first);
        assert_eq!(server.next_line(), "Task 3 terminated");
        assert_echoes(&mut second, b"second");
        // One that is reset as soon as it is made, perhaps before it is accepted.
        reset(server.connect());
        assert_echoes(&mut second, b"second again");
        assert_echoes(&mut server.connect(), b"fourth");
    }
}

#[test]
fn client_that_never_reads_then_the_others_are_served() {
    for program in ["pyos7", "pyos8"] {
        let server = Server::start(program);
        let mut deaf = server.connect();
        deaf.set_nonblocking(true).unwrap();
        let mut other = server.connect();
        for _ in 0..10 {
            let refused = loop {
                if let Err(error) = deaf.write(&[0; 65536]) {
                    break error;
                }
            };
            assert_eq!(refused.kind(), ErrorKind::WouldBlock);
            assert_echoes(&mut other, &pattern(50_000));
        }
        assert_hangs_up(other);
        assert_eq!(server.next_line(), "Task 4 terminated");
        drop(deaf);
        assert_eq!(server.next_line(), "Task 3 terminated");
    }
}

#[test]
fn nobody_reads_the_output_then_the_clients_are_served() {
    for program in ["pyos7", "pyos8"] {
        let mut child = Running::start(program, Stdio::piped());
        let mut output = BufReader::new(child.0.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        drop(output);
        let address = line.trim_end().strip_prefix("listening on ").unwrap();
        for _ in 0..3 {
            let mut client = connect(address);
            assert_echoes(&mut client, b"hello");
            assert_hangs_up(client);
        }
    }
}

#[test]
fn address_that_is_none_then_status_2() {
    for program in ["pyos7", "pyos8"] {
        assert_refuses(program, "nonsense");
        assert_refuses(program, "127.0.0.1:65536");
    }
}

#[test]
fn port_in_use_then_status_2() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for program in ["pyos7", "pyos8"] {
        assert_refuses(program, &listener.local_addr().unwrap().to_string());
    }
}

/// Runs an example to its end; its whole output must be the transcript.
fn assert_prints(program: &str, transcript: &str) {
    let output = run(program, &[]);
    assert_eq!(text(&output.stdout), transcript, "{program}, on standard output");
    assert_eq!(text(&output.stderr), "", "{program}, on standard error");
    assert!(output.status.success(), "{program}: {}", output.status);
}

/// Runs an echo server; two clients take turns, and go; its whole output must be the transcript.
fn assert_serves(program: &str) {
    let mut server = Server::start(program);
    let mut first = server.connect();
    let mut second = server.connect();

    assert_echoes(&mut first, b"hello, first");
    assert_echoes(&mut second, b"hello, second");
    first.write_all(b"now both ").unwrap();
    second.write_all(b"before either ").unwrap();
    first.write_all(b"is read: first").unwrap();
    second.write_all(b"is read: second").unwrap();
    assert_receives(&mut second, b"before either is read: second");
    assert_receives(&mut first, b"now both is read: first");
    assert_echoes(&mut second, &pattern(50_000));
    assert_echoes(&mut first, &pattern(30_000));

    assert_hangs_up(first);
    let mut printed = vec![format!("listening on {}", server.address), server.next_line()];
    assert_echoes(&mut second, b"still here");
    assert_hangs_up(second);
    printed.push(server.next_line());
    printed.extend(server.kill_and_drain());

    let transcript = PYOS7_AND_8.replace("127.0.0.1:45000", &server.address);
    assert_eq!(printed.join("\n") + "\n", transcript, "{program}, on standard output");
}

/// The example must end with status 2, one line on standard error, and nothing on standard output.
fn assert_refuses(program: &str, address: &str) {
    let output = run(program, &[address]);
    assert_eq!(output.status.code(), Some(2), "{program} {address}: {}", output.status);
    assert_eq!(text(&output.stdout), "");
    let complaint = text(&output.stderr);
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    assert!(complaint.contains(address), "{complaint}");
}

fn assert_echoes(client: &mut TcpStream, bytes: &[u8]) {
    client.write_all(bytes).unwrap();
    assert_receives(client, bytes);
}

fn assert_receives(client: &mut TcpStream, bytes: &[u8]) {
    let mut received = vec![0; bytes.len()];
    client.read_exact(&mut received).unwrap();
    assert!(received == bytes, "the echo differs from what was sent");
}

/// Ends what the client sends; the server must end too, and have nothing more to say.
fn assert_hangs_up(mut client: TcpStream) {
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read_to_end(&mut Vec::new()).unwrap(), 0);
}

/// Ends a connection the impolite way: the server's next read or write on it fails.
fn reset(client: TcpStream) {
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
}

fn connect(address: &str) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Bytes in which a missing, doubled or misplaced piece shows.
fn pattern(length: u32) -> Vec<u8> {
    (0..length).flat_map(u32::to_le_bytes).take(length as usize).collect()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn run(program: &str, arguments: &[&str]) -> Output {
    example(program).args(arguments).output().unwrap()
}

/// A child that does not outlive its test.
struct Running(Child);

impl Running {
    fn start(program: &str, stdout: Stdio) -> Self {
        Self(example(program).arg("127.0.0.1:0").stdout(stdout).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An echo server, on a port that the system chose, and what it prints.
struct Server {
    child: Running,
    lines: Receiver<String>,
    address: String,
}

impl Server {
    fn start(program: &str) -> Self {
        let mut child = Running::start(program, Stdio::piped());
        let stdout = BufReader::new(child.0.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // A thread, since only so can a line be waited for with patience that ends.
        thread::spawn(move || stdout.lines().try_for_each(|line| sender.send(line.unwrap())));
        let mut server = Self { child, lines, address: String::new() };
        let first = server.next_line();
        server.address = first.strip_prefix("listening on ").expect(&first).to_owned();
        server
    }

    fn connect(&self) -> TcpStream {
        connect(&self.address)
    }

    fn next_line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("the server prints a line")
    }

    fn kill_and_drain(&mut self) -> Vec<String> {
        self.child.0.kill().unwrap();
        self.lines.iter().collect()
    }
}
