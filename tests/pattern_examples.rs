//! The examples of patterns, as a user starts them: `word_count`, `philosophers`, `log_pipeline`, and
//! `chat_server` under clients that are plain threads.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(
    clippy::disallowed_methods,
    reason = "the peers are plain threads and processes: there is no scheduler to stop, nor a clock of its"
)]

#[path = "support/children.rs"]
mod children;

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Duration;

use children::example;
use rustix::process::{Pid, Signal, kill_process};

/// What only a broken program makes us wait for.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often to look at what nothing tells us of.
const LOOK: Duration = Duration::from_millis(100);

// Word count

#[test]
fn tree_of_files_then_its_words_most_frequent_first_and_ties_in_order() {
    let tree = Directory::new("tree");
    tree.write("a.txt", b"one two two three_3 three_3 three_3\n");
    tree.write("deep/er/b.txt", "zwölf two; two, zwölf?".as_bytes());
    tree.write(".hidden", b"one one one one one one");
    tree.write("target/x.txt", b"one one one one one one");
    tree.write("image", b"\xff\xfe one one one one one");
    let expected = "       4 two\n       3 three_3\n       2 zwölf\n       1 one\n\
                    10 words, 4 different, in 2 files\n";
    for limit in ["1", "2", "100"] {
        let arguments = [tree.path(), "--limit", limit];
        assert_eq!(output_of("word_count", &arguments), expected, "{limit}");
    }
    let top = output_of("word_count", &[tree.path(), "--top", "1"]);
    assert_eq!(top, "       4 two\n10 words, 4 different, in 2 files\n");
}

#[test]
fn tree_is_empty_then_no_words() {
    let tree = Directory::new("empty");
    assert_eq!(output_of("word_count", &[tree.path()]), "0 words, 0 different, in 0 files\n");
}

#[test]
fn sources_of_this_project_then_twice_the_same() {
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/syscalls");
    let first = output_of("word_count", &[sources]);
    assert_eq!(first.lines().count(), 21);
    assert_eq!(output_of("word_count", &[sources, "--limit", "3"]), first);
}

// Philosophers

#[test]
fn all_take_the_left_fork_then_a_report_of_forks_holders_and_the_cycle_and_status_1() {
    for seats in [2, 5] {
        let output = run("philosophers", &["--deadlock", "--seats", &seats.to_string()]);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(text(&output.stderr), "");
        let report = text(&output.stdout);
        assert!(report.starts_with(&format!("deadlock: {seats} blocked\n")), "{report}");
        for seat in 0..seats {
            let (me, fork) = (seat + 1, (seat + 1) % seats);
            let holder = fork + 1;
            let line = format!("task {me} `philosopher {seat}` waits for mutex `fork {fork}` at ");
            let line = report.lines().find(|found| found.trim_start().starts_with(&line));
            let line = line.unwrap_or_else(|| panic!("{seat}: {report}"));
            assert!(line.contains(&format!("held by task {holder}")), "{line}");
        }
        let cycle = report.lines().last().unwrap();
        assert!(cycle.starts_with("  in a cycle: task 1 waits for mutex `fork 1` of"), "{report}");
        assert!(cycle.ends_with("task 1"), "{report}");
    }
}

#[test]
fn forks_in_order_or_by_a_waiter_then_everybody_eats_every_round() {
    for rule in ["order", "waiter"] {
        for seats in [2, 3, 7] {
            let arguments = ["--rule", rule, "--rounds", "9", "--seats", &seats.to_string()];
            let expected: String =
                (0..seats).map(|seat| format!("philosopher {seat} ate 9 times\n")).collect();
            assert_eq!(output_of("philosophers", &arguments), expected);
        }
    }
}

// Log pipeline

#[test]
fn log_read_once_then_the_lines_with_the_text_and_the_counts() {
    let logs = Directory::new("once");
    logs.write("log", b"error 1\nfine\nerror 2\r\nno end: error 3");
    let output = run("log_pipeline", &[&logs.file("log"), "error", "--once"]);
    assert!(output.status.success());
    assert_eq!(text(&output.stdout), "error 1\nerror 2\r\nno end: error 3\n");
    assert_eq!(text(&output.stderr), "37 bytes, 4 lines, 3 matches, 3 printed\n");
}

#[test]
fn log_grows_then_new_lines_are_printed_until_there_are_enough() {
    let logs = Directory::new("grows");
    logs.write("log", b"error 1\n");
    let mut follower = Follower::start(&logs, &["error", "--lines", "3"]);
    assert_eq!(follower.next_line(), "error 1\n");
    let mut log = OpenOptions::new().append(true).open(logs.file("log")).unwrap();
    log.write_all(b"half an err").unwrap();
    log.write_all(b"or\nnothing\n").unwrap();
    assert_eq!(follower.next_line(), "half an error\n");
    // A log that begins anew.
    log.set_len(0).unwrap();
    log.write_all(b"error 3\n").unwrap();
    assert_eq!(follower.next_line(), "error 3\n");
    let (status, counts) = follower.end();
    assert!(status.success(), "{status}");
    assert!(counts.ends_with("3 matches, 3 printed\n"), "{counts}");
}

#[test]
fn interrupted_then_it_ends_with_its_counts() {
    for pause in ["0", "100000"] {
        let logs = Directory::new("interrupted");
        logs.write("log", b"error 1\nerror 2\n");
        let mut follower = Follower::start(&logs, &["error", "--pause", pause]);
        assert_eq!(follower.next_line(), "error 1\n");
        if pause == "0" {
            assert_eq!(follower.next_line(), "error 2\n");
        }
        kill_process(Pid::from_child(&follower.child.0), Signal::INT).unwrap();
        let printed = if pause == "0" { 2 } else { 1 };
        let (status, counts) = follower.end();
        assert!(status.success(), "{status}");
        assert_eq!(counts, format!("16 bytes, 2 lines, 2 matches, {printed} printed\n"));
    }
}

#[test]
fn nobody_reads_what_it_prints_then_it_stops_reading_the_log() {
    let logs = Directory::new("held up");
    // More than a pipe and all buffers hold.
    let line = b"error error error error error error error error error error error error error!\n";
    let size = 20_000_000;
    logs.write("log", &line.repeat(size / line.len()));
    let mut follower = Follower::start(&logs, &["error", "--once", "--buffer", "2"]);
    assert!(follower.next_line().starts_with("error"));
    // Its output is not read; so it comes to a stop, and has read only what the buffers hold.
    let file = format!("/proc/{}/io", follower.child.0.id());
    let bytes_read = || -> usize {
        let io = fs::read_to_string(&file).unwrap();
        io.lines().next().unwrap().trim_start_matches("rchar: ").parse().unwrap()
    };
    let mut read = bytes_read();
    loop {
        thread::sleep(LOOK);
        let before = std::mem::replace(&mut read, bytes_read());
        if read == before {
            break;
        }
    }
    assert!(read < 2_000_000, "it has read {read} bytes");
    let mut rest = Vec::new();
    follower.output.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len() / line.len() + 1, size / line.len());
}

// Chat server

#[test]
fn two_in_a_room_then_each_hears_the_other_and_not_itself() {
    let server = ChatServer::start(&[]);
    let mut ann = server.guest("ann");
    let mut bob = server.guest("bob");
    ann.expect("* guest2 is here");
    ann.expect("* guest2 is now called bob");
    ann.say("hello");
    bob.expect("<ann> hello");
    bob.say("  hello yourself, zwölf\x07!");
    ann.expect("<bob>   hello yourself, zwölf!");
    bob.say("/quit");
    bob.expect("* goodbye");
    bob.expect_end();
    ann.expect("* bob has left");
    drop(ann);
    assert_eq!(server.stop().1, "served 2 clients, 2 lines; put out 0 at the end\n");
}

#[test]
fn rooms_then_nobody_hears_what_is_said_in_another() {
    let server = ChatServer::start(&[]);
    let (mut ann, mut bob) = (server.guest("ann"), server.guest("bob"));
    let mut eve = server.guest("eve");
    ann.say("/join kitchen");
    ann.expect_after("* this is kitchen");
    bob.expect_after("* ann has gone to kitchen");
    bob.say("/join kitchen");
    bob.expect("* this is kitchen");
    ann.expect("* bob is here");
    bob.say("/who");
    bob.expect("* in kitchen: ann, bob");
    bob.say("secret");
    ann.expect("<bob> secret");
    bob.say("/msg eve psst");
    bob.say("/join kitchen");
    bob.expect("? this is kitchen");
    eve.expect("* ann has gone to kitchen");
    eve.expect("* bob has gone to kitchen");
    eve.expect("(bob) psst");
    eve.say("/who");
    eve.expect("* in lobby: eve");
}

#[test]
fn mistakes_of_a_client_then_it_is_told() {
    let server = ChatServer::start(&[]);
    let mut ann = server.guest("ann");
    for (line, answer) in [
        ("/nick", "? a name is 1 to 16 letters, digits, - and _"),
        ("/nick no spaces", "? a name is 1 to 16 letters, digits, - and _"),
        ("/join 12345678901234567", "? a name is 1 to 16 letters, digits, - and _"),
        ("/nick ann", "? somebody is called ann already"),
        ("/msg bob hi", "? nobody is called bob"),
        ("/msg bob", "? /msg NAME TEXT"),
        ("/dance", "? there is no /dance: /nick, /join, /who, /msg, /quit"),
        (&"x".repeat(513), "? a line has at most 512 bytes"),
        (&"x".repeat(100_000), "? a line has at most 512 bytes"),
    ] {
        ann.say(line);
        ann.expect(answer);
    }
    let mut bob = server.guest("bob");
    ann.expect("* guest2 is here");
    ann.expect("* guest2 is now called bob");
    let longest = "x".repeat(512);
    ann.say("");
    ann.say(&longest);
    bob.expect(&format!("<ann> {longest}"));
}

#[test]
fn client_is_gone_without_a_word_then_the_others_are_told() {
    let server = ChatServer::start(&[]);
    let mut ann = server.guest("ann");
    let bob = server.guest("bob");
    drop(bob);
    ann.expect_after("* bob has left");
}

#[test]
fn many_lines_at_once_then_a_good_reader_has_them_all() {
    let server = ChatServer::start(&[]);
    let (mut ann, mut bob) = (server.guest("ann"), server.guest("bob"));
    let burst: String = (0..2000).map(|n| format!("line {n}\n")).collect();
    let mut writer = ann.stream.try_clone().unwrap();
    let writing = thread::spawn(move || writer.write_all(burst.as_bytes()).unwrap());
    for n in 0..2000 {
        bob.expect(&format!("<ann> line {n}"));
    }
    writing.join().unwrap();
    let questions = "/who\n".repeat(500);
    bob.stream.write_all(questions.as_bytes()).unwrap();
    for _question in 0..500 {
        bob.expect("* in lobby: ann, bob");
    }
    ann.say("/who");
    ann.expect_after("* in lobby: ann, bob");
}

#[test]
fn reader_is_too_slow_then_it_is_put_out_and_nobody_waited() {
    let server = ChatServer::start(&[]);
    let (ann, mut bob) = (server.guest("ann"), server.guest("bob"));
    let mut eve = server.guest("eve");
    // Ann does not read. What fills her buffers goes to eve, too, who does.
    let long = "x".repeat(500);
    let mut said = 0;
    let mut heard = BufReader::new(eve.stream.try_clone().unwrap());
    let listening = thread::spawn(move || {
        let mut line = String::new();
        while !line.contains("ann has left") {
            line.clear();
            heard.read_line(&mut line).unwrap();
            assert!(!line.is_empty(), "eve was put out, too");
        }
    });
    bob.drain_in_background();
    while !listening.is_finished() {
        bob.say(&long);
        said += 1;
        assert!(said < 200_000, "she is never put out");
    }
    listening.join().unwrap();
    // The connection is closed, after what was on its way.
    let mut rest = Vec::new();
    let mut stream = &ann.stream;
    let end = stream.read_to_end(&mut rest);
    assert!(end.is_ok() || end.unwrap_err().kind() == ErrorKind::ConnectionReset);
    eve.say("/quit");
}

#[test]
fn client_says_nothing_for_too_long_then_it_is_told_and_put_out() {
    let server = ChatServer::start(&["--idle-timeout", "0.2"]);
    let mut ann = server.connect();
    ann.expect("* welcome, guest1; this is lobby");
    ann.expect("* you have said nothing for too long; goodbye");
    ann.expect_end();
}

#[test]
fn one_client_too_many_then_it_waits_for_a_place() {
    let server = ChatServer::start(&["--max-clients", "1"]);
    let ann = server.guest("ann");
    let mut bob = server.connect();
    bob.stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(bob.lines.read_line(&mut String::new()).is_err(), "bob was not to be served yet");
    bob.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    drop(ann);
    bob.expect("* welcome, guest2; this is lobby");
}

#[test]
fn no_descriptor_is_left_then_newcomers_wait_and_the_server_says_so_once() {
    let mut command = Command::new("sh");
    let program = example("chat_server");
    command.args(["-c", "ulimit -n 16; exec \"$0\" 127.0.0.1:0"]).arg(program.get_program());
    let server = ChatServer::of(command);
    let clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
    // Those who were served leave, and the others come in their places.
    for mut client in clients {
        client.expect_after("this is lobby");
        client.say("/quit");
        client.expect_after("* goodbye");
    }
    let (status, summary) = server.end_after(Signal::TERM);
    assert!(status.success(), "{status}");
    assert_eq!(summary, "served 20 clients, 0 lines; put out 0 at the end\n");
}

#[test]
fn told_to_stop_then_everybody_is_told_and_it_ends_when_all_have_left() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = ChatServer::start(&["--grace", "25"]);
        let (mut ann, mut bob) = (server.guest("ann"), server.guest("bob"));
        server.signal(signal);
        ann.expect_after("* the server ends in 25s; /quit, and goodbye");
        bob.expect_after("* the server ends in 25s; /quit, and goodbye");
        let refused = TcpStream::connect(&server.address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        ann.say("see you");
        bob.expect("<ann> see you");
        ann.say("/quit");
        bob.say("/quit");
        let (status, summary) = server.end();
        assert!(status.success(), "{status}");
        assert_eq!(summary, "served 2 clients, 1 lines; put out 0 at the end\n");
    }
}

#[test]
fn grace_is_over_or_a_second_signal_comes_then_those_left_are_put_out() {
    for twice in [false, true] {
        let grace = if twice { "1000" } else { "0.2" };
        let server = ChatServer::start(&["--grace", grace]);
        let mut ann = server.guest("ann");
        server.signal(Signal::TERM);
        ann.expect_after(&format!(
            "* the server ends in {:?}; /quit, and goodbye",
            Duration::from_secs_f64(grace.parse().unwrap())
        ));
        if twice {
            server.signal(Signal::TERM);
        }
        ann.expect_end();
        let (status, summary) = server.end();
        assert!(status.success(), "{status}");
        let expected =
            if twice { "served some clients" } else { "served 1 clients, 0 lines; put out 1" };
        assert!(summary.starts_with(expected), "{summary}");
    }
}

// The README

#[test]
fn the_readme_shows_the_deadlock_as_it_is_reported() {
    let output = run("philosophers", &["--deadlock", "--seats", "2"]);
    let block = format!("```text\n{}```\n", text(&output.stdout));
    assert!(include_str!("../examples/README.md").contains(&block), "it lacks:\n{block}");
}

// Arguments

#[test]
fn argument_that_is_none_then_one_line_and_status_2() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (program, arguments) in [
        ("word_count", &[][..]),
        ("word_count", &["/no/such/directory"]),
        ("word_count", &["src", "--top", "0"]),
        ("philosophers", &["--seats", "1"]),
        ("philosophers", &["--seats", "many"]),
        ("philosophers", &["--rule", "luck"]),
        ("log_pipeline", &["/no/such/file", "text"]),
        ("log_pipeline", &["Cargo.toml"]),
        ("log_pipeline", &["Cargo.toml", "text", "--lines", "0"]),
        ("chat_server", &["nonsense"]),
        ("chat_server", &["127.0.0.1:0", "--grace", "0"]),
        ("chat_server", &["127.0.0.1:0", "--max-clients", "0"]),
        ("chat_server", &[&address]),
    ] {
        let output = run(program, arguments);
        assert_eq!(output.status.code(), Some(2), "{program} {arguments:?}: {}", output.status);
        assert_eq!(text(&output.stdout), "");
        assert_eq!(text(&output.stderr).lines().count(), 1, "{}", text(&output.stderr));
        assert!(text(&output.stderr).starts_with("error: "), "{}", text(&output.stderr));
    }
}

#[test]
fn arguments_that_are_missing_then_the_line_names_them() {
    for (program, arguments, missing) in [
        ("word_count", &[][..], "<DIR>"),
        ("log_pipeline", &["Cargo.toml"], "<TEXT>"),
        ("log_pipeline", &[], "<FILE> <TEXT>"),
    ] {
        let told = text(&run(program, arguments).stderr).trim_end().to_owned();
        assert!(told.ends_with(missing), "{program} {arguments:?}: {told}");
    }
}

// What is needed for that.

/// A directory that goes with its test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("pattern examples {name} {}", std::process::id()));
        let _left_by_another = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        File::create(path).unwrap().write_all(bytes).unwrap();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

/// Runs an example to its end, which must be a good one, and gives what it printed.
fn output_of(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    assert_eq!(text(&output.stderr), "", "{program} {arguments:?}, on standard error");
    assert!(output.status.success(), "{program} {arguments:?}: {}", output.status);
    text(&output.stdout).to_owned()
}

fn run(program: &str, arguments: &[&str]) -> Output {
    example(program).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A child that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// A child with what it prints.
struct Follower {
    child: Running,
    output: BufReader<ChildStdout>,
    complaints: ChildStderr,
}

impl Follower {
    fn start(logs: &Directory, arguments: &[&str]) -> Follower {
        let mut command = example("log_pipeline");
        command.arg(logs.file("log")).args(arguments);
        Follower::of(command)
    }

    fn of(mut command: Command) -> Follower {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Running(command.spawn().unwrap());
        let output = BufReader::new(child.0.stdout.take().unwrap());
        let complaints = child.0.stderr.take().unwrap();
        Follower { child, output, complaints }
    }

    fn next_line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }

    /// Waits for its end. Gives what it says on standard error.
    fn end(mut self) -> (ExitStatus, String) {
        let mut said = String::new();
        self.complaints.read_to_string(&mut said).unwrap();
        (self.child.0.wait().unwrap(), said)
    }
}

struct ChatServer {
    program: Follower,
    address: String,
}

impl ChatServer {
    fn start(arguments: &[&str]) -> ChatServer {
        let mut command = example("chat_server");
        command.arg("127.0.0.1:0").args(arguments);
        ChatServer::of(command)
    }

    fn of(command: Command) -> ChatServer {
        let mut program = Follower::of(command);
        let first = program.next_line();
        let address = first.trim_end().strip_prefix("listening on ").expect(&first).to_owned();
        ChatServer { program, address }
    }

    fn connect(&self) -> Client {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client { lines: BufReader::new(stream.try_clone().unwrap()), stream }
    }

    /// A client that has a name, and has read that it has.
    fn guest(&self, nick: &str) -> Client {
        let mut client = self.connect();
        client.say(&format!("/nick {nick}"));
        client.expect_after(&format!("is now called {nick}"));
        client
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.program.child.0), signal).unwrap();
    }

    fn stop(self) -> (ExitStatus, String) {
        self.signal(Signal::TERM);
        self.end()
    }

    /// The same for one that had something to complain of, once.
    fn end_after(mut self, signal: Signal) -> (ExitStatus, String) {
        self.signal(signal);
        let mut summary = String::new();
        self.program.output.read_to_string(&mut summary).unwrap();
        let (status, complaints) = self.program.end();
        assert_eq!(complaints.lines().count(), 1, "{complaints}");
        assert!(complaints.contains("EMFILE"), "{complaints}");
        (status, summary)
    }

    /// Waits for its end. Gives what it printed last.
    fn end(mut self) -> (ExitStatus, String) {
        let mut summary = String::new();
        self.program.output.read_to_string(&mut summary).unwrap();
        let (status, complaints) = self.program.end();
        assert_eq!(complaints, "");
        (status, summary)
    }
}

struct Client {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Client {
    fn say(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn next_line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    #[track_caller]
    fn expect(&mut self, line: &str) {
        assert_eq!(self.next_line().trim_end_matches('\n'), line);
    }

    /// The same after whatever comes before.
    #[track_caller]
    fn expect_after(&mut self, end: &str) {
        loop {
            let line = self.next_line();
            assert!(!line.is_empty(), "the connection has ended before `{end}`");
            if line.trim_end().ends_with(end) {
                return;
            }
        }
    }

    #[track_caller]
    fn expect_end(&mut self) {
        assert_eq!(self.next_line(), "");
    }

    /// From here on somebody else reads.
    fn drain_in_background(&mut self) {
        let mut stream = self.stream.try_clone().unwrap();
        thread::spawn(move || while matches!(stream.read(&mut [0; 4096]), Ok(1..)) {});
    }
}
