//! `attach`, with a monitor of the test's own at the other end.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::process::{Output, Stdio};
use std::thread;

use support::{Scratch, command};

/// Attaches to a monitor that greets, answers each line with what `answer` makes of it, and hangs up where that is
/// nothing. Gives what was asked, and how it ended.
fn talk(
    arguments: &[&str],
    input: &str,
    answer: impl Fn(&str) -> Option<String> + Send + 'static,
) -> (Vec<String>, Output) {
    let socket = Scratch::new("sock");
    let listener = UnixListener::bind(socket.path()).unwrap();
    let monitor = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        (&stream).write_all(b"monitor of a test\n.\n").unwrap();
        for line in BufReader::new(&stream).lines() {
            let line = line.unwrap();
            let answer = answer(&line);
            asked.push(line);
            let Some(answer) = answer else { break };
            (&stream).write_all(answer.as_bytes()).unwrap();
        }
        asked
    });
    let mut child = command(["attach", socket.str()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have been told on its command line what to ask, and be gone.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    (monitor.join().unwrap(), output)
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn lines_without_a_terminal_then_the_answers_and_nothing_else() {
    let (asked, output) =
        talk(&[], "ps\n\n  where 3  \n", |line| Some(format!("{line}: one\n..two\n...\n.\n")));
    assert_eq!(asked, ["ps", "where 3"]);
    assert_eq!(text(&output.stdout), "ps: one\n.two\n..\nwhere 3: one\n.two\n..\n");
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn commands_on_the_command_line_then_these_are_asked() {
    let (asked, output) =
        talk(&["-c", "kill 3", "-c", "ps"], "tree\n", |line| Some(format!("done: {line}\n.\n")));
    assert_eq!(asked, ["kill 3", "ps"]);
    assert_eq!(text(&output.stdout), "done: kill 3\ndone: ps\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn error_or_refusal_then_status_1_and_the_next_is_asked_all_the_same() {
    for word in ["error", "refused"] {
        let (asked, output) = talk(&[], "kill 9\nps\n", move |line| {
            let word = if line == "ps" { "done" } else { word };
            Some(format!("{word}: {line}\n.\n"))
        });
        assert_eq!(asked.len(), 2);
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn quit_then_nothing_more_is_asked() {
    for answers in [true, false] {
        let (asked, output) = talk(&[], "quit\nps\n", move |_| answers.then(|| ".\n".to_owned()));
        assert_eq!(asked, ["quit"]);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(text(&output.stderr), "");
    }
}

#[test]
fn program_that_goes_away_then_status_3() {
    let (_, output) = talk(&[], "ps\nps\n", |_| None);
    assert_eq!(text(&output.stderr), "trapline: the program has gone away\n");
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn answer_with_escape_sequences_then_they_are_written_out() {
    let (_, output) = talk(&["-c", "ps"], "", |_| Some("T1 \u{1b}[31mred\n.\n".to_owned()));
    assert_eq!(text(&output.stdout), "T1 \\u{1b}[31mred\n");
}

#[test]
fn trace_then_it_is_not_sent_since_bytes_would_come_back() {
    let (asked, output) = talk(&[], "trace\n", |_| Some(".\n".to_owned()));
    assert!(asked.is_empty());
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn nobody_listens_then_one_line_and_status_1() {
    let socket = Scratch::new("sock");
    let output = command(["attach", socket.str()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = format!("trapline: {}: No such file or directory (os error 2)\n", socket.str());
    assert_eq!(text(&output.stderr), said);
}

#[test]
fn program_with_a_monitor_then_questions_and_an_order_are_answered() {
    let socket = Scratch::new("sock");
    let tests = std::env::current_exe().unwrap();
    let relay = tests.parent().unwrap().parent().unwrap().join("examples/relay");
    // A lap takes longer than anybody waits for this test.
    let mut program = std::process::Command::new(relay)
        .arg("3600000")
        .env("TRAPLINE", format!("monitor:{}", socket.str()))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It says where the monitor is as soon as one may attach.
    let mut told = String::new();
    BufReader::new(program.stderr.take().unwrap()).read_line(&mut told).unwrap();
    let ask = |commands: &[&str]| {
        let commands = commands.iter().flat_map(|command| ["-c", *command]);
        command(["attach", socket.str()]).args(commands).output().unwrap()
    };
    // Until then the loop may not have told of all tasks.
    let mut tree = ask(&["tree"]);
    while !text(&tree.stdout).contains("T4 runner 3: blocked") {
        tree = ask(&["tree"]);
        assert_eq!(tree.status.code(), Some(0));
    }
    let killed = ask(&["kill 2", "where 2", "quit"]);
    let lines: Vec<&str> = text(&killed.stdout).lines().collect();
    assert!(lines[0].starts_with("done: "), "{lines:?}");
    assert!(lines[1].starts_with("error: "), "{lines:?}");
    assert_eq!(killed.status.code(), Some(1));
    program.kill().unwrap();
    program.wait().unwrap();
    let gone = ask(&["ps"]);
    assert_eq!(gone.status.code(), Some(1));
    assert_eq!(text(&gone.stderr).lines().count(), 1);
}
