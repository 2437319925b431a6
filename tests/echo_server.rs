//! The echo server and the blaster, as a user starts them: programs of their own, under real peers.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(
    clippy::disallowed_methods,
    reason = "the peers are plain threads and processes: there is no scheduler to stop, nor a clock of its"
)]

#[path = "support/children.rs"]
mod children;

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use children::example;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use socket2::SockRef;

/// What only a broken program makes us wait for.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often to look at what nothing tells us of.
const LOOK: Duration = Duration::from_millis(10);

/// How long the server waits for open connections when it is told to stop.
const GRACE: Duration = Duration::from_secs(5);

// Echo.

#[test]
fn message_of_any_length_then_every_byte_comes_back() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for length in [1, 1024, 16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, 100_000] {
        assert_echoes(&mut client, &pattern(length));
    }
    assert_hangs_up(client);
}

#[test]
fn garbage_then_it_is_echoed_like_anything_else() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let every_byte: Vec<u8> = (0..=255).rev().collect();
    let garbage: [&[u8]; 4] =
        [b"GET / HTTP/1.1\r\n\r\n", &[0; 300], &[0xff, 0xfe, 0xc3, 0x28], &every_byte];
    for bytes in garbage {
        assert_echoes(&mut client, bytes);
    }
}

#[test]
fn urgent_byte_then_the_others_are_served() {
    let server = Server::start(&[]);
    let urgent = server.connect();
    SockRef::from(&urgent).send_out_of_band(b"!").unwrap();
    assert_echoes(&mut server.connect(), b"hello");
    assert_hangs_up(urgent);
}

#[test]
fn half_close_then_the_rest_is_echoed_and_the_other_half_closed() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let message = pattern(5_000_000);
    let mut sender = client.try_clone().unwrap();
    let sent = message.clone();
    let sending = thread::spawn(move || {
        sender.write_all(&sent).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    sending.join().unwrap();
    assert!(received == message, "the echo differs from what was sent");
}

#[test]
fn half_close_without_a_byte_then_the_other_half_is_closed() {
    let server = Server::start(&[]);
    assert_hangs_up(server.connect());
}

#[test]
fn reset_then_that_connection_alone_ends() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    assert_echoes(&mut other, b"other");
    for message in [&b""[..], b"hello"] {
        let mut client = server.connect();
        assert_echoes(&mut client, message);
        reset(client);
    }
    // One that has the server write to a peer that is gone.
    let mut deaf = server.connect();
    deaf.write_all(&pattern(100_000)).unwrap();
    reset(deaf);
    assert_echoes(&mut other, b"other again");
    assert_hangs_up(other);
    // It does not wait for those that were reset.
    let end = server.stop(Signal::TERM);
    assert!(end.took < GRACE, "{:?}", end.took);
    assert!(end.summary.starts_with("served 4 connections, "), "{}", end.summary);
    assert_eq!(end.complaints, "");
}

#[test]
fn one_byte_at_a_time_then_each_comes_back_and_others_are_served_meanwhile() {
    let server = Server::start(&[]);
    let (mut slow, mut fast) = (server.connect(), server.connect());
    for byte in b"slow but sure" {
        assert_echoes(&mut slow, &[*byte]);
        assert_echoes(&mut fast, &pattern(50_000));
    }
    assert_hangs_up(slow);
}

#[test]
fn peer_sends_100_mb_without_reading_then_it_is_stopped_and_costs_no_memory() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    assert_echoes(&mut other, &pattern(100_000));
    let before = server.memory("VmRSS");

    let deaf = server.connect();
    deaf.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let block = pattern(1_000_000);
    let mut sent = 0;
    let refusal = loop {
        assert!(sent < 100_000_000, "the server read on from a peer that did not");
        match (&deaf).write(&block[sent % block.len()..]) {
            Ok(written) => sent += written,
            Err(error) => break error,
        }
        assert_echoes(&mut other, b"still served");
    };
    assert_eq!(refusal.kind(), ErrorKind::WouldBlock);
    let grown = server.memory("VmRSS").saturating_sub(before);
    assert!(grown <= 512 * 1024, "{grown} bytes for a peer that does not read");

    // When it reads at last, nothing is missing.
    deaf.shutdown(Shutdown::Write).unwrap();
    let mut received = Vec::new();
    (&deaf).read_to_end(&mut received).unwrap();
    assert_eq!(received.len(), sent);
    assert!(received.chunks(block.len()).all(|chunk| *chunk == block[..chunk.len()]));
}

// Its end.

#[test]
fn sigint_then_it_says_what_it_did_and_exits_0() {
    let server = Server::start(&[]);
    let mut first = server.connect();
    assert_echoes(&mut first, b"hello");
    assert_echoes(&mut first, b"again");
    let mut second = server.connect();
    assert_echoes(&mut second, b"h");
    assert_hangs_up(first);
    assert_hangs_up(second);
    let end = server.stop(Signal::INT);
    assert_eq!(end.status.code(), Some(0), "{}", end.status);
    assert_eq!(end.summary, "served 2 connections, 11 bytes, 3 messages\n");
    assert_eq!(end.complaints, "");
}

#[test]
fn sigterm_without_any_connection_then_it_exits_0_at_once() {
    let end = Server::start(&[]).stop(Signal::TERM);
    assert_eq!(end.status.code(), Some(0), "{}", end.status);
    assert_eq!(end.summary, "served 0 connections, 0 bytes, 0 messages\n");
    assert_eq!(end.complaints, "");
    assert!(end.took < GRACE, "{:?}", end.took);
}

#[test]
fn connection_open_at_the_signal_then_it_may_finish() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    assert_echoes(&mut client, b"before");
    server.warn(Signal::TERM);
    assert_echoes(&mut client, b"after");
    assert_hangs_up(client);
    let end = server.wait();
    assert_eq!(end.status.code(), Some(0), "{}", end.status);
    assert_eq!(end.summary, "served 1 connections, 11 bytes, 2 messages\n");
    assert!(end.took < GRACE, "{:?}", end.took);
}

#[test]
fn connection_that_stays_open_then_it_is_cut_after_5_seconds() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    assert_echoes(&mut client, b"hello");
    let end = server.stop(Signal::TERM);
    assert_eq!(end.status.code(), Some(0), "{}", end.status);
    assert_eq!(end.summary, "served 1 connections, 5 bytes, 1 messages\n");
    assert!(end.took >= GRACE - Duration::from_millis(100), "{:?}", end.took);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

#[test]
fn second_signal_then_it_ends_at_once() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    assert_echoes(&mut client, b"hello");
    server.warn(Signal::INT);
    let end = server.stop(Signal::INT);
    assert_eq!(end.status.code(), Some(0), "{}", end.status);
    assert!(end.took < GRACE / 2, "{:?}", end.took);
}

#[test]
fn nobody_reads_the_output_then_it_serves_all_the_same() {
    let mut server = Server::start(&[]);
    drop(server.output.take());
    assert_echoes(&mut server.connect(), b"hello");
    let end = server.stop(Signal::TERM);
    assert_eq!(end.status.code(), Some(0), "{}", end.status);
    assert_eq!(end.complaints, "");
}

// Limits.

#[test]
fn max_connections_then_the_next_waits_until_one_leaves() {
    let server = Server::start(&["--max-connections", "2"]);
    let (mut first, mut second) = (server.connect(), server.connect());
    assert_echoes(&mut first, b"first");
    assert_echoes(&mut second, b"second");
    let mut third = server.connect();
    third.write_all(b"third").unwrap();
    third.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert_eq!(third.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    third.set_read_timeout(Some(PATIENCE)).unwrap();
    // A reset gives the place back as well.
    reset(first);
    assert_receives(&mut third, b"third");
    assert_echoes(&mut second, b"second again");
    assert_hangs_up(second);
    assert_echoes(&mut server.connect(), b"fourth");
}

#[test]
fn max_connections_reached_at_the_signal_then_it_ends_all_the_same() {
    let server = Server::start(&["--max-connections", "1"]);
    let mut client = server.connect();
    assert_echoes(&mut client, b"hello");
    server.warn(Signal::TERM);
    assert_hangs_up(client);
    let end = server.wait();
    assert_eq!(end.status.code(), Some(0), "{}", end.status);
    assert!(end.took < GRACE, "{:?}", end.took);
}

#[test]
fn idle_timeout_then_the_silent_are_dropped_and_the_slow_are_not() {
    let server = Server::start(&["--idle-timeout", "1"]);
    let start = Instant::now();
    let mut silent = server.connect();
    let mut slow = server.connect();
    for _ in 0..15 {
        assert_echoes(&mut slow, b".");
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    assert!(start.elapsed() >= Duration::from_secs(1));
    // One that had said something is no better.
    assert_eq!(slow.read(&mut [0]).unwrap(), 0);
}

#[test]
fn idle_timeout_then_a_peer_that_does_not_read_is_dropped() {
    let server = Server::start(&["--idle-timeout", "0.5"]);
    let mut deaf = server.connect();
    let block = pattern(1_000_000);
    let refusal = (0..100).find_map(|_| deaf.write_all(&block).err());
    let kind = refusal.map(|error| error.kind());
    assert!(
        matches!(kind, Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)),
        "{kind:?}: it is dropped, rather than left waiting"
    );
    assert_echoes(&mut server.connect(), b"hello");
}

#[test]
fn out_of_descriptors_then_newcomers_wait_and_it_does_not_spin() {
    let server = Server::start_with_descriptors(20);
    let mut clients: Vec<_> = (0..30).map(|_| server.connect()).collect();
    for (number, client) in (0..).zip(&mut clients) {
        client.write_all(&[number]).unwrap();
    }
    // The first are served; the last is not, for it has come to where there are no more.
    assert_receives(&mut clients[0], &[0]);
    let last = clients.last_mut().unwrap();
    last.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert_eq!(last.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    last.set_read_timeout(Some(PATIENCE)).unwrap();

    let before = server.cpu_time();
    thread::sleep(Duration::from_secs(1));
    let used = server.cpu_time() - before;
    assert!(used <= Duration::from_millis(100), "{used:?} of a second without descriptors");
    assert_echoes(&mut clients[0], b"still served");

    clients[0].write_all(&[0]).unwrap();
    for (number, mut client) in (0..).zip(clients) {
        assert_receives(&mut client, &[number]);
        assert_hangs_up(client);
    }
    let end = server.stop(Signal::TERM);
    assert_eq!(end.status.code(), Some(0), "{}", end.status);
    assert!(end.summary.starts_with("served 30 connections, "), "{}", end.summary);
    assert_eq!(end.complaints.lines().count(), 1, "one warning: {}", end.complaints);
}

// Bad input.

#[test]
fn mistake_in_the_arguments_then_one_line_and_status_2() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    assert_refuses("echo_server", &["nonsense"], "nonsense");
    assert_refuses("echo_server", &["127.0.0.1:65536"], "127.0.0.1:65536");
    assert_refuses("echo_server", &[&taken], &taken);
    assert_refuses("echo_server", &["--frobnicate"], "--frobnicate");
    assert_refuses("echo_server", &["--max-connections", "0"], "--max-connections");
    assert_refuses("echo_server", &["--idle-timeout", "-1"], "-1");
    assert_refuses("echo_server", &["--idle-timeout=0"], "--idle-timeout");
    assert_refuses("echo_server", &["--idle-timeout", "NaN"], "--idle-timeout");
    assert_refuses("echo_server", &["127.0.0.1:0", "127.0.0.1:0"], "127.0.0.1:0");
    assert_refuses("blaster", &["nonsense"], "nonsense");
    assert_refuses("blaster", &["--frobnicate"], "--frobnicate");
    assert_refuses("blaster", &["--connections", "0"], "--connections");
    assert_refuses("blaster", &["--messages", "many"], "many");
    assert_refuses("blaster", &["--connections", "3", "--in-flight", "4"], "in flight");
}

#[test]
fn help_then_status_0() {
    for program in ["echo_server", "blaster"] {
        let output = example(program).arg("--help").output().unwrap();
        assert!(output.status.success(), "{program}: {}", output.status);
        assert!(text(&output.stdout).contains("Usage:"), "{program}");
        assert_eq!(text(&output.stderr), "", "{program}");
    }
}

// The blaster.

#[test]
fn blaster_on_the_echo_server_then_all_comes_back() {
    let server = Server::start(&[]);
    let load = ["--connections", "20", "--messages", "500", "--size", "1000", "--processes", "3"];
    let output = blast(&server.address, &load);
    assert!(output.status.success(), "{}: {}", output.status, text(&output.stderr));
    let report = text(&output.stdout);
    assert!(report.starts_with("1500 messages of 1000 bytes, "), "{report}");
    assert!(report.contains(" messages/s "), "{report}");
    assert!(report.contains("p99.9 "), "{report}");
    let end = server.stop(Signal::TERM);
    assert!(end.summary.starts_with("served 60 connections, 1500000 bytes, "), "{}", end.summary);
}

#[test]
fn blaster_with_several_in_flight_then_all_comes_back() {
    let server = Server::start(&["--max-connections", "7"]);
    let load = ["--connections", "7", "--messages", "1001", "--size", "1", "--in-flight", "3"];
    let output = blast(&server.address, &load);
    assert!(output.status.success(), "{}: {}", output.status, text(&output.stderr));
    let end = server.stop(Signal::TERM);
    assert_eq!(end.summary, "served 7 connections, 1001 bytes, 1001 messages\n");
}

#[test]
fn blaster_with_messages_longer_than_every_buffer_then_all_comes_back() {
    let server = Server::start(&[]);
    let load = ["--connections", "2", "--messages", "3", "--size", "20000000"];
    let output = blast(&server.address, &load);
    assert!(output.status.success(), "{}: {}", output.status, text(&output.stderr));
}

#[test]
fn server_that_corrupts_a_byte_then_the_blaster_exits_1() {
    let mut left = 5_000;
    let address = serve_badly(move |bytes| {
        if let Some(byte) = bytes.get_mut(left) {
            *byte ^= 1;
        }
        left = left.saturating_sub(bytes.len());
        true
    });
    let output = blast(&address, &["--connections", "1", "--size", "1024", "--processes", "2"]);
    assert_eq!(output.status.code(), Some(1), "{}", output.status);
    assert_eq!(text(&output.stdout), "");
    let complaint = text(&output.stderr);
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    assert!(complaint.contains("came back as"), "{complaint}");
}

#[test]
fn server_that_hangs_up_then_the_blaster_exits_1() {
    let mut messages = 10;
    let address = serve_badly(move |_| {
        messages -= 1;
        messages > 0
    });
    let output = blast(&address, &["--connections", "1"]);
    assert_eq!(output.status.code(), Some(1), "{}", output.status);
    assert_eq!(text(&output.stderr), "error: the server hung up\n");
}

#[test]
fn server_that_is_not_there_then_the_blaster_exits_1() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let output = blast(&address, &["--processes", "3"]);
    assert_eq!(output.status.code(), Some(1), "{}", output.status);
    let complaint = text(&output.stderr);
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    assert!(complaint.contains(&address), "{complaint}");
}

// Very many connections.

/// What a connection that does nothing may cost, in bytes of the server's own memory.
const COST_OF_AN_IDLE_CONNECTION: f64 = 1024.0;

#[test]
fn ten_thousand_idle_connections_then_each_costs_at_most_1_kib() {
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let wanted = 10_000;
    let count = usize::try_from(limit.saturating_sub(100)).unwrap_or(usize::MAX).min(wanted);
    if count < wanted {
        println!("{count} connections instead of {wanted}: the limit of descriptors is {limit}");
    }
    let server = Server::start_frugally();
    assert_hangs_up_after_echo(server.connect());
    let (memory, descriptors) = (server.memory_of_its_own(), server.descriptors());

    let mut crowd = Crowd::start(&server.address, count);
    crowd.wait_for("all are connected");
    eventually("all are accepted", || server.descriptors() >= descriptors + count);
    let cost = |when: &str| {
        // Not in the midst of what it still has to do about the last of them.
        eventually("it rests", || server.is_at_rest());
        let grown = server.memory_of_its_own().saturating_sub(memory);
        let each = grown as f64 / count as f64;
        println!("{count} idle connections, {when}: {each:.0} bytes each");
        assert!(each <= COST_OF_AN_IDLE_CONNECTION, "{when}: {each:.0} bytes each");
    };
    cost("before a message");
    crowd.order();
    crowd.wait_for("all have been answered");
    cost("after a message");

    assert_hangs_up_after_echo(server.connect());
    crowd.order();
    let end = server.stop(Signal::TERM);
    assert_eq!(end.status.code(), Some(0), "{}", end.status);
    let expected = format!("served {} connections, ", count + 2);
    assert!(end.summary.starts_with(&expected), "{}", end.summary);
    assert_eq!(end.complaints, "");
}

#[test]
#[ignore = "the crowd, which the test of idle connections starts in a process of its own"]
fn crowd_of_clients() {
    let Ok(orders) = std::env::var(CROWD) else { return };
    let (address, count) = orders.split_once(' ').unwrap();
    raise_descriptor_limit();
    let mut clients: Vec<_> = (0..count.parse().unwrap()).map(|_| connect(address)).collect();
    println!("\nall are connected");
    let mut line = String::new();
    io::stdin().read_line(&mut line).unwrap();
    for client in &mut clients {
        client.write_all(&pattern(1024)).unwrap();
    }
    for client in &mut clients {
        assert_receives(client, &pattern(1024));
    }
    println!("\nall have been answered");
    io::stdin().read_line(&mut line).unwrap();
}

/// The variable that tells the crowd where to go, and how many they are.
const CROWD: &str = "TRAPLINE_TEST_CROWD";

/// Clients in a process of their own.
struct Crowd {
    child: Running,
    output: BufReader<ChildStdout>,
}

impl Crowd {
    fn start(address: &str, count: usize) -> Crowd {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--ignored", "--exact", "--nocapture", "crowd_of_clients"])
            .env(CROWD, format!("{address} {count}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = Running(command.spawn().unwrap());
        let output = BufReader::new(child.0.stdout.take().unwrap());
        Crowd { child, output }
    }

    fn wait_for(&mut self, news: &str) {
        let mut line = String::new();
        while line.trim_end() != news {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the crowd broke up");
        }
    }

    fn order(&mut self) {
        self.child.0.stdin.as_mut().unwrap().write_all(b"go on\n").unwrap();
    }
}

fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

// The programs.

/// A child that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if it has ended.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

/// An echo server that is running.
struct Server {
    child: Running,
    output: Option<BufReader<ChildStdout>>,
    address: String,
    signalled: Option<Instant>,
}

/// How a server ended.
struct End {
    status: ExitStatus,
    /// What it printed after the address.
    summary: String,
    /// What it printed to standard error.
    complaints: String,
    /// The time since the last signal.
    took: Duration,
}

impl Server {
    fn start(arguments: &[&str]) -> Server {
        let mut command = example("echo_server");
        command.arg("127.0.0.1:0").args(arguments);
        Server::of(command)
    }

    /// With so few descriptors, and no way to have more.
    fn start_with_descriptors(limit: u32) -> Server {
        let program = example("echo_server");
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {limit}; exec \"$0\" 127.0.0.1:0")]);
        command.arg(program.get_program());
        Server::of(command)
    }

    /// With an allocator that gives back what is freed. The debug build checks the scheduler's
    /// invariants, and what it needs for that only while it does is not to be counted.
    fn start_frugally() -> Server {
        let mut command = example("echo_server");
        command.arg("127.0.0.1:0");
        if cfg!(debug_assertions) {
            command.env("MALLOC_MMAP_THRESHOLD_", "65536").env("MALLOC_TRIM_THRESHOLD_", "65536");
        }
        Server::of(command)
    }

    fn of(mut command: Command) -> Server {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Running(command.spawn().unwrap());
        let mut output = BufReader::new(child.0.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on ").unwrap().to_owned();
        Server { child, output: Some(output), address, signalled: None }
    }

    fn connect(&self) -> TcpStream {
        connect(&self.address)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child.0), signal).unwrap();
    }

    /// A signal to a server with nothing but open connections, which it hears: it closes its
    /// listener.
    fn warn(&self, signal: Signal) {
        let before = self.descriptors();
        self.signal(signal);
        eventually("it stops accepting", || self.descriptors() < before);
        assert_eq!(
            TcpStream::connect(&self.address).unwrap_err().kind(),
            ErrorKind::ConnectionRefused
        );
    }

    /// A signal, and what comes of it.
    fn stop(mut self, signal: Signal) -> End {
        self.signalled = Some(Instant::now());
        self.signal(signal);
        self.wait()
    }

    /// Its end. The time counts from `stop`, or else from here.
    fn wait(mut self) -> End {
        let start = self.signalled.unwrap_or_else(Instant::now);
        let child = &mut self.child.0;
        let mut status = None;
        eventually("the server ends", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        let took = start.elapsed();
        let (mut summary, mut complaints) = (String::new(), String::new());
        if let Some(output) = &mut self.output {
            output.read_to_string(&mut summary).unwrap();
        }
        child.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
        End { status: status.unwrap(), summary, complaints, took }
    }

    fn proc(&self) -> PathBuf {
        Path::new("/proc").join(self.child.0.id().to_string())
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(self.proc().join("fd")).unwrap().count()
    }

    /// A line of `status` that is an amount of memory, in bytes.
    fn memory(&self, name: &str) -> usize {
        kilobytes(&self.proc().join("status"), name)
    }

    /// The memory that it has written to and shares with nobody, in bytes.
    fn memory_of_its_own(&self) -> usize {
        // Not `Private_Dirty`: of a binary that was linked just now, and is not on the disk yet, the pages of its
        // code are dirty, too; and they become private when the servers of the other tests end.
        kilobytes(&self.proc().join("smaps_rollup"), "Anonymous")
    }

    /// Whether its loop sleeps, so that there is nothing to do.
    fn is_at_rest(&self) -> bool {
        self.stat()[0] == "S"
    }

    fn cpu_time(&self) -> Duration {
        // `utime` and `stime`, in hundredths of a second.
        let stat = self.stat();
        let ticks = stat[11..13].iter().map(|field| field.parse::<u32>().unwrap());
        ticks.map(|ticks| ticks * Duration::from_millis(10)).sum()
    }

    /// What the system says of it after its name, which is in parentheses and may hold anything.
    fn stat(&self) -> Vec<String> {
        let stat = fs::read_to_string(self.proc().join("stat")).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        fields.split_whitespace().map(str::to_owned).collect()
    }
}

/// The value of a line `name: number kB`, in bytes.
fn kilobytes(file: &Path, name: &str) -> usize {
    let lines = fs::read_to_string(file).unwrap();
    let line = lines.lines().find(|line| line.starts_with(name)).unwrap();
    let number: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    number * 1024
}

/// Looks until it is so.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not in {PATIENCE:?}: {what}");
        thread::sleep(LOOK);
    }
}

/// An echo server with a fault, on one thread a connection: `spoil` may change what is sent back,
/// and says whether to go on.
fn serve_badly(spoil: impl FnMut(&mut [u8]) -> bool + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut spoil) = (client.unwrap(), spoil.clone());
            thread::spawn(move || {
                let mut buffer = [0; 1000];
                while let Ok(received @ 1..) = client.read(&mut buffer) {
                    let bytes = &mut buffer[..received];
                    if !spoil(bytes) || client.write_all(bytes).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

fn blast(address: &str, arguments: &[&str]) -> Output {
    example("blaster").arg(address).args(arguments).output().unwrap()
}

/// The example must end with status 2, one line on standard error that names the fault, and
/// nothing on standard output.
fn assert_refuses(program: &str, arguments: &[&str], fault: &str) {
    let output = example(program).args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{program} {arguments:?}: {}", output.status);
    assert_eq!(text(&output.stdout), "", "{program} {arguments:?}");
    let complaint = text(&output.stderr);
    assert_eq!(complaint.lines().count(), 1, "{program} {arguments:?}: {complaint}");
    assert!(complaint.starts_with("error: "), "{complaint}");
    assert!(complaint.contains(fault), "{complaint}");
}

// The peers.

fn connect(address: &str) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    client
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

fn assert_hangs_up_after_echo(mut client: TcpStream) {
    assert_echoes(&mut client, &pattern(50_000));
    assert_hangs_up(client);
}

/// Ends a connection the impolite way: the server's next read or write on it fails.
fn reset(client: TcpStream) {
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
}

/// Bytes in which a missing, doubled or misplaced piece shows.
fn pattern(length: u32) -> Vec<u8> {
    (0..length).flat_map(u32::to_le_bytes).take(length as usize).collect()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}
