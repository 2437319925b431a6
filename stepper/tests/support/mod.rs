//! The program `trapline`, called; and traces, made record by record.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(unreachable_pub, reason = "a module of several test programs")]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../../trace/tests/support/mod.rs"]
pub mod random;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use trapline_trace::{
    Cause, Ended, Move, On, Record, SiteRef, StackRef, StepEnd, Str, TaskState, Value,
};

/// `trapline`, with these arguments; plain, whatever the environment of the tests.
pub fn command<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trapline"));
    command.args(arguments).env_remove("TRAPLINE").env_remove("NO_COLOR");
    command
}

/// Called, to its end.
pub fn trapline<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    command(arguments).output().unwrap()
}

/// What it printed; it must have ended well.
#[track_caller]
pub fn printed<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> String {
    let output = trapline(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap()
}

/// A file that is gone with this.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        static FILES: AtomicU32 = AtomicU32::new(0);
        let file = FILES.fetch_add(1, Ordering::Relaxed);
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        Scratch(directory.join(format!("{}-{file}-{name}", std::process::id())))
    }

    pub fn holding(name: &str, bytes: &[u8]) -> Scratch {
        let scratch = Scratch::new(name);
        std::fs::write(&scratch.0, bytes).unwrap();
        scratch
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn str(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Makes records, and defines what they name.
pub struct Script {
    pub records: Vec<Record>,
    strings: Vec<String>,
    sites: Vec<(String, u32)>,
}

impl Script {
    pub fn new() -> Script {
        let reset = Record::Reset { step: 0, at_nanos: 0, missed_steps: 0 };
        Script { records: vec![reset], strings: Vec::new(), sites: Vec::new() }
    }

    /// As a file.
    pub fn file(&self) -> Scratch {
        Scratch::holding("script.trace", &random::file(&self.records, 64))
    }

    pub fn string(&mut self, text: &str) -> Str {
        let place = self.strings.iter().position(|string| string == text);
        let place = place.unwrap_or_else(|| {
            self.records.push(Record::DefineString(text.to_owned()));
            self.strings.push(text.to_owned());
            self.strings.len() - 1
        });
        Str(place as u32)
    }

    pub fn site(&mut self, file: &str, line: u32) -> SiteRef {
        let place = self.sites.iter().position(|site| *site == (file.to_owned(), line));
        let place = place.unwrap_or_else(|| {
            let name = self.string(file);
            self.records.push(Record::DefineSite { file: name, line, column: 5 });
            self.sites.push((file.to_owned(), line));
            self.sites.len() - 1
        });
        SiteRef(place as u32)
    }

    pub fn moved(&mut self, change: Move) {
        self.records.push(Record::Move(change));
    }

    pub fn born(&mut self, task: u64, name: &str, parent: Option<u64>) {
        let name = self.string(name);
        let site = self.site("src/kitchen.rs", 10 + task as u32);
        self.moved(Move::TaskBorn {
            task,
            parent,
            name: Some(name),
            site,
            daemon: false,
            state: TaskState::Ready,
            dispatches: 0,
        });
    }

    pub fn taken(&mut self, task: u64, at_nanos: u64) {
        self.moved(Move::Taken { task, at_nanos });
    }

    pub fn outside(&mut self, at_nanos: u64) {
        self.moved(Move::Outside { answered: 1, at_nanos });
    }

    pub fn rested(&mut self, task: u64, is_ready: bool) {
        self.moved(Move::Rested { task, is_ready });
    }

    pub fn begun(&mut self, call: u64, task: u64, what: &str, line: u32) {
        let (what, site) = (self.string(what), self.site("src/kitchen.rs", line));
        let (argument, stack) = (Value::Nothing, StackRef(0));
        self.moved(Move::CallBegun { call, task, what, argument, site, stack });
    }

    pub fn sleeps(&mut self, call: u64, task: u64, line: u32, at_nanos: u64) {
        self.begun(call, task, "sleep", line);
        self.moved(Move::CallBlocked { call, on: On::Deadline { at_nanos } });
        self.rested(task, false);
    }

    pub fn parks(&mut self, call: u64, task: u64, line: u32, object: u64) {
        self.begun(call, task, "park", line);
        let role = self.string("token");
        self.moved(Move::CallBlocked { call, on: On::Object { object, role } });
        self.rested(task, false);
    }

    pub fn answered(&mut self, call: u64, by: Cause) {
        self.moved(Move::CallAnswered { call, by, reply: Value::Nothing });
    }

    pub fn wakes(&mut self, call: u64, task: u64, by: Cause) {
        self.answered(call, by);
        self.moved(Move::Ready { task, by });
    }

    pub fn returned(&mut self, task: u64) {
        self.moved(Move::TaskEnded { task, how: Ended::Returned });
    }

    pub fn mutex(&mut self, object: u64, name: &str) {
        let (kind, name) = (self.string("mutex"), self.string(name));
        self.moved(Move::ObjectBorn { object, kind, name: Some(name), site: None });
    }

    pub fn held(&mut self, object: u64, task: u64, line: u32) {
        let (field, since) = (self.string("holder"), self.site("src/kitchen.rs", line));
        let value = Value::Held { task: Some(task), since };
        self.moved(Move::FieldSet { object, field, value });
    }

    pub fn step(&mut self, end: StepEnd) {
        self.records.push(Record::StepEnd(end));
    }

    pub fn ran(&mut self) {
        self.step(StepEnd::Ran);
    }
}

/// Two tasks: the first sleeps, is woken by the clock, keeps the loop for 20 ms, and wakes the second, which waits for
/// a lock.
pub fn a_short_run() -> Script {
    let mut script = Script::new();
    script.born(1, "cook", None);
    script.taken(1, 1_000_000);
    script.mutex(5, "stove");
    script.held(5, 1, 20);
    script.born(2, "waiter", Some(1));
    script.sleeps(1, 1, 21, 3_000_000);
    script.ran();
    script.taken(2, 1_500_000);
    script.parks(2, 2, 30, 5);
    script.ran();
    // The look that sleeps tells when it began.
    script.outside(1_600_000);
    script.wakes(1, 1, Cause::Timer);
    script.outside(3_100_000);
    script.step(StepEnd::Outside);
    script.taken(1, 3_100_000);
    script.wakes(2, 2, Cause::Task(1));
    script.held(5, 2, 30);
    script.returned(1);
    script.ran();
    script.taken(2, 23_100_000);
    script.returned(2);
    script.ran();
    script.step(StepEnd::Finished);
    script
}
