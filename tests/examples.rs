//! The examples that show the crate at work do and print what they say.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/children.rs"]
mod children;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use children::example;

/// What `stepping` prints, its paths cut down to the file's name.
const STEPPING: &str = "   ready: 1

1. task 1 `guest` ran and asked now() at stepping.rs:18: answered, 0ns
   ready: 1

2. task 1 `guest` ran and asked spawn() at stepping.rs:19: answered, task 2
   ready: 2, 1

3. task 2 `cook` ran and asked yield_now() at stepping.rs:28: answered, done; to the back of the queue
   ready: 1, 2

4. task 1 `guest` ran and asked yield_now() at stepping.rs:20: answered, done; to the back of the queue
   ready: 2, 1

5. task 2 `cook` ran and asked sleep(1s) at stepping.rs:29: blocked until its time has come
   ready: 1

6. task 1 `guest` ran and asked join(task 2) at stepping.rs:21: blocked until task 2 has ended
   ready: nobody
    task name         parent dispatches  state
       1 guest             -          4  waits for join(task 2) at stepping.rs:21:21
       2 cook              1          2  waits for sleep(1s) at stepping.rs:29:5

7. the loop looked at the outside: one call answered; this woke task 2 `cook`
   ready: 2

8. task 2 `cook` ran and asked yield_now() at stepping.rs:30: answered, done; to the back of the queue
   ready: 2

9. task 2 ran and returned; this woke task 1 `guest`
   ready: 1

10. task 1 `guest` ran and asked now() at stepping.rs:22: answered, 1s
   ready: 1

11. task 1 ran and returned
   ready: nobody

12. no task is left
";

const ONE_FILE_KERNEL: &str = "\
Ann 1
Ann 2
Bob 1
Ann 3
Bob 2
Bob has returned
Ann counted to 3
the porter has opened the gate
and not again
echo: hello, kernel
done
";

/// What only a broken program makes us wait for.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long silence must last. Who is not silent here prints in a loop without a pause.
const SILENCE: Duration = Duration::from_millis(500);

const ENDING: [&str; 6] = ["pyos1", "pyos2", "pyos3", "pyos4", "pyos5", "pyos6"];

#[test]
fn course_on_trapline_then_the_transcripts_of_the_course() {
    for step in ENDING {
        let expected = output_of(step, &[]);
        assert!(!expected.is_empty());
        assert_eq!(output_of("course_on_trapline", &[step]), expected, "{step}");
    }
}

#[test]
fn course_on_trapline_without_argument_then_each_step_under_a_heading() {
    let all: String =
        ENDING.iter().map(|step| format!("== {step} ==\n{}", output_of(step, &[]))).collect();
    assert_eq!(output_of("course_on_trapline", &[]), all);
}

#[test]
fn course_on_trapline_as_a_server_then_the_transcript_of_the_course() {
    for step in ["pyos7", "pyos8"] {
        let expected = transcript_of_serving(step, &["127.0.0.1:0"]);
        assert_eq!(expected, ["Task 3 terminated", "Task 4 terminated"]);
        let printed = transcript_of_serving("course_on_trapline", &[step, "127.0.0.1:0"]);
        assert_eq!(printed, expected, "{step}");
    }
}

#[test]
fn argument_that_is_none_then_status_2() {
    for arguments in
        [&["pyos9"][..], &["pyos1", "pyos2"], &["pyos7", "nonsense"], &["pyos8", "nonsense"]]
    {
        assert_refuses("course_on_trapline", arguments);
    }
    assert_refuses("echo_bad", &["nonsense"]);
}

#[test]
fn one_file_kernel_then_the_library_runs_on_it() {
    assert_eq!(output_of("one_file_kernel", &[]), ONE_FILE_KERNEL);
}

#[test]
fn stepping_then_every_step_to_the_letter() {
    let printed = output_of("stepping", &[]);
    let words =
        printed.split(' ').map(|word| word.find("stepping.rs:").map_or(word, |at| &word[at..]));
    assert_eq!(words.collect::<Vec<_>>().join(" "), STEPPING);
}

#[test]
fn cpu_bound_then_the_clock_stands_still_on_the_loop_and_ticks_with_unblock() {
    let printed = output_of("cpu_bound", &[]);
    let (starved, free) = printed.split_once("with `unblock`:\n").unwrap();
    // On the loop nobody ticks while the four compute, and each of them is told of.
    let told = starved.lines().filter(|line| line.contains(" kept the loop for "));
    assert_eq!(told.count(), 4, "{printed}");
    assert!(starved.contains("ticks on time: 0\n"), "{printed}");
    assert!(starved.contains("ticks late: 1,"), "{printed}");
    // The last tick comes when they have done; those before it came meanwhile.
    let count = |before: &str| -> u32 {
        let rest = &free[free.find(before).unwrap() + before.len()..];
        rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap()].parse().unwrap()
    };
    assert!(count("ticks on time: ") + count("ticks late: ") > 1, "{printed}");
}

#[test]
fn fed_by_a_thread_then_its_tasks_answer_in_the_order_of_the_lines() {
    let mut command = example("fed_by_a_thread");
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    child.stdin.take().unwrap().write_all(b"saffron\nsalt\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let expected = "saffron: 70 ms, in task 2\nsalt: 40 ms, in task 3\n";
    assert_eq!(text(&output.stdout), expected);
}

#[test]
fn echo_bad_while_one_task_blocks_then_nobody_else_runs() {
    let server = Server::start("echo_bad", &["127.0.0.1:0"]);
    assert_eq!(server.next_line(), "I'm alive!");
    server.assert_is_silent("while `accept` blocks");

    let mut client = server.connect();
    assert_eq!(server.next_line(), "I'm alive!");
    let connected = format!("connection from {}", client.local_addr().unwrap());
    assert_eq!(server.next_line(), connected);
    server.assert_is_silent("while `read` blocks");

    // The client who has the scheduler to itself is served, the next one is not even accepted.
    let mut other = server.connect();
    other.write_all(b"and me?").unwrap();
    assert_echoes(&mut client, b"just me");
    server.assert_is_silent("while `read` blocks again");
    other.set_nonblocking(true).unwrap();
    assert!(other.read(&mut [0; 8]).is_err(), "the second client has an answer");
    other.set_nonblocking(false).unwrap();

    drop(client);
    assert_eq!(server.next_line(), "connection closed");
    assert_eq!(server.next_line(), "I'm alive!");
    let mut echo = [0; 7];
    other.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"and me?");
}

/// Serves two clients, and gives what was printed after the address.
fn transcript_of_serving(program: &str, arguments: &[&str]) -> Vec<String> {
    let mut server = Server::start(program, arguments);
    let mut first = server.connect();
    assert_echoes(&mut first, b"hello, first");
    let mut second = server.connect();
    assert_echoes(&mut second, b"hello, second");
    assert_echoes(&mut first, &[7; 100_000]);
    assert_hangs_up(first);
    let mut printed = vec![server.next_line()];
    assert_echoes(&mut second, b"still here");
    assert_hangs_up(second);
    printed.push(server.next_line());
    server.child.0.kill().unwrap();
    printed.extend(server.lines.iter());
    printed
}

fn assert_echoes(client: &mut TcpStream, bytes: &[u8]) {
    client.write_all(bytes).unwrap();
    let mut received = vec![0; bytes.len()];
    client.read_exact(&mut received).unwrap();
    assert!(received == bytes, "the echo differs from what was sent");
}

/// Ends what the client sends; the server must end too, and have nothing more to say.
fn assert_hangs_up(mut client: TcpStream) {
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read_to_end(&mut Vec::new()).unwrap(), 0);
}

/// The example must end with status 2, one line on standard error, and nothing on standard output.
fn assert_refuses(program: &str, arguments: &[&str]) {
    let output = run(program, arguments);
    assert_eq!(output.status.code(), Some(2), "{program} {arguments:?}: {}", output.status);
    assert_eq!(text(&output.stdout), "");
    assert_eq!(text(&output.stderr).lines().count(), 1, "{}", text(&output.stderr));
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
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server on a port that the system chose, and the lines that it prints.
struct Server {
    child: Running,
    lines: Receiver<String>,
    address: String,
}

impl Server {
    fn start(program: &str, arguments: &[&str]) -> Server {
        let mut command = example(program);
        let child = command.args(arguments).stdout(Stdio::piped()).spawn();
        let mut child = Running(child.unwrap());
        let stdout = BufReader::new(child.0.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // A thread, since only so can a line be waited for with patience that ends.
        thread::spawn(move || stdout.lines().try_for_each(|line| sender.send(line.unwrap())));
        let mut server = Server { child, lines, address: String::new() };
        let first = server.next_line();
        server.address = first.strip_prefix("listening on ").expect(&first).to_owned();
        server
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(&self.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.set_write_timeout(Some(PATIENCE)).unwrap();
        client
    }

    fn next_line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("the server prints a line")
    }

    fn assert_is_silent(&self, when: &str) {
        let heard = self.lines.recv_timeout(SILENCE);
        assert_eq!(heard, Err(RecvTimeoutError::Timeout), "{when}");
    }
}
