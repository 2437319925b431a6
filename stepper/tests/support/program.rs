//! A program to be stepped, and what it leaves.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(unreachable_pub, reason = "a module of several test programs")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Once;

use crate::support::Scratch;

/// The example of this package. Where this file's tests are run alone, nobody has built it.
pub fn relay() -> String {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let arguments = ["build", "--quiet", "-p", "trapline-stepper", "--example", "relay"];
        assert!(Command::new(env!("CARGO")).args(arguments).status().unwrap().success());
    });
    let tests = std::env::current_exe().unwrap();
    let relay = tests.parent().unwrap().parent().unwrap().join("examples/relay");
    relay.to_str().unwrap().to_owned()
}

/// A directory for temporary files, in which nothing is to be left.
pub struct Temporary(pub PathBuf);

impl Temporary {
    pub fn new(name: &str) -> Temporary {
        let path = PathBuf::from(Scratch::new(name).str());
        fs::create_dir_all(&path).unwrap();
        Temporary(path)
    }

    pub fn left(&self) -> usize {
        fs::read_dir(&self.0).unwrap().count()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The processes of a program that have this among their arguments.
pub fn processes_with(program: &str, argument: &str) -> Vec<i32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let is_it = |line: &[u8]| {
        let mut words = line.split(|byte| *byte == 0);
        words.next().is_some_and(|first| first.ends_with(program.as_bytes()))
            && words.any(|word| word == argument.as_bytes())
    };
    processes
        .filter(|process| fs::read(process.path().join("cmdline")).is_ok_and(|line| is_it(&line)))
        .filter_map(|process| process.file_name().to_str()?.parse().ok())
        .collect()
}
