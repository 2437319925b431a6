//! A client of the monitor, for tests.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(unreachable_pub, reason = "a module of several test programs")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// What only a broken program makes us wait for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client that talks lines.
pub struct Client {
    pub stream: UnixStream,
    pub lines: BufReader<UnixStream>,
}

impl Client {
    #[track_caller]
    pub fn connect(path: &Path) -> Client {
        let mut client = Client::unread(path);
        assert!(client.answer().starts_with("trapline monitor of "));
        client
    }

    /// One that has not read the greeting.
    #[track_caller]
    pub fn unread(path: &Path) -> Client {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap());
        Client { stream, lines }
    }

    pub fn say(&mut self, command: &str) {
        self.stream.write_all(format!("{command}\n").as_bytes()).unwrap();
    }

    /// The next answer. What is left of a connection that has ended is one, too.
    pub fn answer(&mut self) -> String {
        let mut answer = String::new();
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).unwrap_or(0);
            if read == 0 || line == ".\n" {
                return answer;
            }
            answer += line.strip_prefix('.').unwrap_or(&line);
        }
    }

    pub fn ask(&mut self, command: &str) -> String {
        self.say(command);
        self.answer()
    }

    /// Asks until the answer has `part` in it.
    #[track_caller]
    pub fn ask_until(&mut self, command: &str, part: &str) -> String {
        for _ in 0..6000 {
            let answer = self.ask(command);
            if answer.contains(part) {
                return answer;
            }
            pause();
        }
        panic!("{command} never answered {part}: {}", self.ask(command));
    }
}

#[expect(clippy::disallowed_methods, reason = "between two looks at another thread")]
pub fn pause() {
    thread::sleep(Duration::from_millis(10));
}
