//! The monitor: what it answers, how it obeys, and that nobody who talks to it can do harm.

#![cfg(feature = "trace")]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/children.rs"]
mod children;
#[path = "support/client.rs"]
mod client;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, exit};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fs, io};

use children::Scratch;
use client::{Client, pause};
use trapline::driver::{Driver, Interest, IoEvent, Unpark, Until, Waited};
use trapline::sync::Mutex as Lock;
use trapline::trace::Recording;
use trapline::trace::agent::Agent;
use trapline::trace::monitor::answers::{self, Look};
use trapline::trace::monitor::{Monitor, Socket, SocketError};
use trapline::trace::words::Manner;
use trapline::trace::{
    About, Cause, Mirror, Move, On, Record, Remark, SiteRef, StackRef, StepEnd, Str, TaskState,
    Value,
};
use trapline::{Builder, Instant, Scheduler, TaskOptions, cancellable, sleep, spawn, yield_now};

/// What only a broken program makes us wait for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which of the programs below a child is to run.
const PROGRAM: &str = "TRAPLINE_TEST_PROGRAM";

// What the tests share.

/// A scheduler with a monitor, on a thread of its own.
struct Watched {
    path: PathBuf,
    loop_thread: Option<JoinHandle<String>>,
    end: Arc<AtomicBool>,
    _scratch: Scratch,
}

impl Watched {
    /// Runs the tasks that `start` starts.
    fn start(start: impl FnOnce(&mut Scheduler, Arc<AtomicBool>) + Send + 'static) -> Watched {
        Watched::with(|| Scheduler::builder().quantum(1), Manner::Free, start)
    }

    fn with(
        builder: impl FnOnce() -> Builder + Send + 'static,
        manner: Manner,
        start: impl FnOnce(&mut Scheduler, Arc<AtomicBool>) + Send + 'static,
    ) -> Watched {
        Watched::with_ring(builder, manner, 1 << 20, start)
    }

    fn with_ring(
        builder: impl FnOnce() -> Builder + Send + 'static,
        manner: Manner,
        ring_bytes: usize,
        start: impl FnOnce(&mut Scheduler, Arc<AtomicBool>) + Send + 'static,
    ) -> Watched {
        let scratch = Scratch::new();
        let path = scratch.file("monitor.sock");
        let (to, from) = mpsc::channel();
        let end = Arc::new(AtomicBool::new(false));
        let (socket, wants_end) = (path.clone(), Arc::clone(&end));
        let run = move || {
            let mut scheduler = builder().build();
            let (monitor, orders) =
                { Monitor::open_with_ring(Some(&socket), manner, ring_bytes).unwrap() };
            start(&mut scheduler, wants_end);
            to.send(()).unwrap();
            let agent = Agent::new().outlet(monitor).between(orders);
            match agent.run(&mut scheduler) {
                Ok(report) => format!("{report}"),
                Err(error) => format!("{error}"),
            }
        };
        let loop_thread = Some(thread::spawn(run));
        from.recv_timeout(PATIENCE).unwrap();
        Watched { path, loop_thread, end, _scratch: scratch }
    }

    #[track_caller]
    fn client(&self) -> Client {
        Client::connect(&self.path)
    }

    /// How the run ended.
    fn join(&mut self) -> String {
        self.end.store(true, Ordering::SeqCst);
        self.loop_thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
    }
}

/// Sleeps until the test is over, a millisecond at a time.
async fn rest_until(end: Arc<AtomicBool>) {
    while !end.load(Ordering::SeqCst) {
        sleep(Duration::from_millis(1)).await;
    }
}

/// Yields until the test is over.
async fn until(end: Arc<AtomicBool>) {
    while !end.load(Ordering::SeqCst) {
        yield_now().await;
    }
}

fn named(name: &'static str) -> TaskOptions {
    TaskOptions::new().name(name)
}

// Answers, from mirrors that are fed by hand.

/// Feeds a mirror.
#[derive(Default)]
struct Fed {
    mirror: Mirror,
    strings: Vec<String>,
    sites: u32,
    last_calls: BTreeMap<u64, SiteRef>,
}

impl Fed {
    fn give(&mut self, record: Record) {
        self.mirror.apply(&record).unwrap();
    }

    fn string(&mut self, text: &str) -> Str {
        let known = self.strings.iter().position(|known| known == text);
        let place = known.unwrap_or_else(|| {
            self.strings.push(text.to_owned());
            self.give(Record::DefineString(text.to_owned()));
            self.strings.len() - 1
        });
        Str(place as u32)
    }

    fn site(&mut self, file: &str, line: u32) -> SiteRef {
        let file = self.string(file);
        self.give(Record::DefineSite { file, line, column: 5 });
        self.sites += 1;
        SiteRef(self.sites - 1)
    }

    fn task(&mut self, task: u64, name: &str, parent: Option<u64>, state: TaskState) {
        let name = (!name.is_empty()).then(|| self.string(name));
        let (site, daemon) = (self.site("src/main.rs", 10 + task as u32), name.is_none());
        self.give(Record::Move(Move::TaskBorn {
            task,
            parent,
            name,
            site,
            daemon,
            state,
            dispatches: task,
        }));
    }

    fn call(&mut self, call: u64, task: u64, what: &str, argument: Value, on: On) {
        let (what, site) = (self.string(what), self.site("src/call.rs", call as u32));
        let stack = StackRef::default();
        self.give(Record::Move(Move::CallBegun { call, task, what, argument, site, stack }));
        self.give(Record::Move(Move::CallBlocked { call, on }));
    }

    fn lock(&mut self, object: u64, name: &str, holder: Option<u64>) -> On {
        let (kind, name, site) =
            (self.string("mutex"), self.string(name), Some(self.site("src/lock.rs", 3)));
        self.give(Record::Move(Move::ObjectBorn { object, kind, name: Some(name), site }));
        let (field, since) = (self.string("holder"), self.site("src/held.rs", 9));
        let value = Value::Held { task: holder, since };
        self.give(Record::Move(Move::FieldSet { object, field, value }));
        On::Object { object, role: self.string("token") }
    }

    fn ask(&self, question: impl Fn(&Look<'_>) -> String) -> String {
        question(&Look::new(&self.mirror, &self.last_calls, 5_200_000_000))
    }
}

/// Six tasks, two of which wait for each other.
fn fed() -> Fed {
    let mut fed = Fed::default();
    fed.give(Record::Reset { step: 117, at_nanos: 2_000_000_000, missed_steps: 0 });
    fed.task(1, "main", None, TaskState::Running);
    fed.task(2, "left", Some(1), TaskState::Blocked);
    fed.task(3, "right", Some(1), TaskState::Blocked);
    fed.task(4, "", Some(2), TaskState::Blocked);
    fed.task(6, "late", Some(5), TaskState::Ready);
    fed.task(7, "idle", Some(4), TaskState::Blocked);
    let lock = fed.lock(2, "log", Some(3));
    fed.call(17, 2, "park", Value::Object(2), lock);
    fed.call(18, 3, "wait", Value::Task(2), On::Exit { task: 2 });
    let deadline = On::Deadline { at_nanos: 15_000_000_000 };
    fed.call(19, 4, "sleep", Value::Nanos(13_000_000_000), deadline);
    let role = fed.string("read");
    fed.call(20, 4, "read_wait", Value::Descriptor(7), On::Descriptor { fd: 7, role });
    fed.give(Record::StepEnd(StepEnd::Ran));
    let site = fed.site("src/earlier.rs", 8);
    fed.last_calls.insert(1, site);
    fed
}

#[test]
fn ps_then_a_line_for_each_task() {
    assert_eq!(
        fed().ask(answers::ps),
        "\
ID  NAME   STATE           TAKEN    SINCE  WAITS FOR                                                       WHERE
 1  main   running             1  3.200 s  -                                                               src/earlier.rs:8:5
 2  left   blocked             2  3.200 s  park: mutex \"log\" (object 2), held by T3 since src/held.rs:9:5  src/call.rs:17:5
 3  right  blocked             3  3.200 s  wait(T2): the end of T2                                         src/call.rs:18:5
 4  -      blocked daemon      4  3.200 s  sleep(13.000 s): until 15.000 s, in 9.800 s (and 1 more)        src/call.rs:19:5
 6  late   ready               6  3.200 s  its turn                                                        spawned at src/main.rs:16:5
 7  idle   blocked             7  3.200 s  somebody's waker                                                spawned at src/main.rs:17:5
"
    );
}

#[test]
fn tree_then_each_task_is_below_its_parent() {
    assert_eq!(
        fed().ask(answers::tree),
        "\
T1 main: running  src/earlier.rs:8:5
├─ T2 left: blocked, park: mutex \"log\" (object 2), held by T3 since src/held.rs:9:5  src/call.rs:17:5
│  └─ T4: blocked daemon, sleep(13.000 s): until 15.000 s, in 9.800 s (and 1 more)  src/call.rs:19:5
│     └─ T7 idle: blocked, somebody's waker  spawned at src/main.rs:17:5
└─ T3 right: blocked, wait(T2): the end of T2  src/call.rs:18:5
T6 late (of T5, which has ended): ready  spawned at src/main.rs:16:5
"
    );
}

#[test]
fn where_then_each_call_in_flight_has_its_frames_innermost_first() {
    let mut fed = fed();
    let (what, site) = (fed.string("sleep"), fed.site("src/call.rs", 21));
    let mut stack = StackRef::default();
    for line in [30, 20] {
        let site = fed.site("src/serve.rs", line);
        fed.give(Record::DefineStack { site, around: stack });
        stack = StackRef(stack.0 + 1);
    }
    let (call, argument) = (21, Value::Nanos(1_000_000));
    fed.give(Record::Move(Move::CallBegun { call, task: 4, what, argument, site, stack }));
    let on = On::Deadline { at_nanos: 5_201_000_000 };
    fed.give(Record::Move(Move::CallBlocked { call, on }));
    assert_eq!(
        fed.ask(|look| answers::where_is(look, 4).unwrap()),
        "\
task 4, blocked daemon for 3.200 s, taken 4 times
spawned by T2 left at src/main.rs:14:5
├─ sleep(13.000 s): until 15.000 s, in 9.800 s
│    at src/call.rs:19:5
├─ read_wait(fd 7): read of fd 7
│    at src/call.rs:20:5
└─ sleep(0.001 s): until 5.201 s, in 0.001 s
     at src/call.rs:21:5
     in src/serve.rs:20:5
     in src/serve.rs:30:5
"
    );
    assert_eq!(
        fed.ask(|look| answers::where_is(look, 7).unwrap()),
        "\
task 7 \"idle\", blocked for 3.200 s, taken 7 times
spawned by T4 at src/main.rs:17:5
no call of its own is in flight: it waits for somebody's waker
"
    );
    assert_eq!(answers::where_is(&Look::new(&fed.mirror, &fed.last_calls, 0), 5), None);
}

#[test]
fn waits_then_who_waits_for_whom_and_the_circles() {
    let mut fed = fed();
    fed.give(Record::Move(Move::CallBooked { call: 20, task: None }));
    assert_eq!(
        fed.ask(answers::waits),
        "\
T2 left → T3 right: park, mutex \"log\" (object 2), taken at src/held.rs:9:5  src/call.rs:17:5
T3 right → T2 left: wait(T2), its end  src/call.rs:18:5
T4 waits: sleep(13.000 s), until 15.000 s, in 9.800 s  src/call.rs:19:5
T7 idle waits for somebody's waker
call 20 of nobody waits: read_wait(fd 7), read of fd 7  src/call.rs:20:5
circle: T2 → T3 → T2
"
    );
    // One of them waits for something else, too.
    fed.call(30, 3, "own", Value::Nothing, On::Somebody);
    let waits = fed.ask(answers::waits);
    assert!(waits.contains("T2 → T3 → T2 (another call that one of them waits for may break it)"));
    assert_eq!(Fed::default().ask(answers::waits), "nobody waits\n");
}

#[test]
fn names_with_control_characters_then_they_are_escaped_everywhere() {
    let mut fed = Fed::default();
    fed.give(Record::Reset { step: 0, at_nanos: 0, missed_steps: 0 });
    fed.task(1, "\u{1b}[1m\n\u{202e}", None, TaskState::Blocked);
    let lock = fed.lock(1, "\u{7}bell\u{9b}", Some(1));
    fed.call(1, 1, "a\tb", Value::Nothing, lock);
    for question in [answers::ps, answers::tree, answers::waits] {
        let answer = fed.ask(question);
        assert!(
            answer.chars().all(|c| c == '\n' || !(c.is_control() || c == '\u{202e}')),
            "{answer:?}"
        );
        assert!(answer.contains("\\u{1b}[1m\\n\\u{202e}"), "{answer}");
    }
    let answer = fed.ask(|look| answers::where_is(look, 1).unwrap());
    assert!(answer.contains("a\\tb: mutex \"\\u{7}bell\\u{9b}\""), "{answer}");
}

#[test]
fn long_line_of_spawners_and_of_waiters_then_it_is_answered() {
    let mut fed = Fed::default();
    fed.give(Record::Reset { step: 0, at_nanos: 0, missed_steps: 0 });
    for task in 1..=5000 {
        fed.task(task, "", Some(task - 1), TaskState::Blocked);
    }
    for task in 1..=50 {
        let on = On::Exit { task: task % 50 + 1 };
        fed.call(task, task, "wait", Value::Nothing, on);
    }
    assert_eq!(fed.ask(answers::tree).lines().count(), 5000);
    let waits = fed.ask(answers::waits);
    let circles: Vec<_> = waits.lines().filter(|line| line.starts_with("circle: ")).collect();
    assert_eq!(circles.len(), 1);
    assert_eq!(circles[0].matches('→').count(), 50);
}

// Orders.

#[test]
fn orders_about_tasks_then_they_are_carried_out_and_told_of() {
    let mut watched = Watched::start(|scheduler, end| {
        scheduler.spawn_with(named("busy"), rest_until(end)).detach();
        for name in ["sleeper", "other"] {
            scheduler.spawn_with(named(name), sleep(Duration::from_secs(3600))).detach();
        }
    });
    let mut client = watched.client();
    client.ask_until("ps", "other    blocked");
    assert_eq!(client.ask("kill 2"), "done: kill T2\n");
    assert!(!client.ask("ps").contains("sleeper"));
    assert_eq!(client.ask("cancel 3 closing time"), "done: cancel, closing time T3\n");
    client.ask_until("status", "1 tasks");
    assert_eq!(client.ask("kill 2"), "refused: no task 2 lives\n");
    assert_eq!(client.ask("kill 99"), "refused: no task 99 lives\n");
    assert!(client.ask("breaks").starts_with("done: no conditions"));
    assert_eq!(watched.join(), "0 failures");
    assert_eq!(client.answer(), "");
}

#[test]
fn loop_asleep_in_its_driver_then_an_order_is_carried_out_at_once() {
    let mut watched = Watched::start(|scheduler, _| {
        scheduler.spawn_with(named("sleeper"), sleep(Duration::from_secs(3600))).detach();
    });
    let mut client = watched.client();
    client.ask_until("status", "the loop waits for a timer in ");
    assert_eq!(client.ask("kill 1"), "done: kill T1\n");
    assert_eq!(watched.join(), "0 failures");
}

#[test]
fn held_program_then_steps_and_the_next_one_are_as_ordered() {
    let watched = Watched::start(|scheduler, end| {
        for name in ["a", "b", "c"] {
            scheduler.spawn_with(named(name), until(Arc::clone(&end))).detach();
        }
    });
    let mut client = watched.client();
    assert!(client.ask("step").starts_with("refused: it is not held"));
    assert_eq!(client.ask("hold"), "done: held\n");
    assert!(client.ask("status").contains("the clock stands still"));
    let ready = |client: &mut Client| {
        let state = client.ask("state");
        let line = state.lines().find_map(|line| line.strip_prefix("ready ")).unwrap().to_owned();
        line.split(' ').map(|id| id.parse::<u64>().unwrap()).collect::<Vec<_>>()
    };
    let before = ready(&mut client);
    assert_eq!(before.len(), 3);
    assert_eq!(client.ask(&format!("next {}", before[2])), format!("done: next T{}\n", before[2]));
    assert_eq!(ready(&mut client), [before[2], before[0], before[1]]);
    let told = client.ask("step 2");
    assert_eq!(told.lines().count(), 3, "{told}");
    assert!(told.starts_with("done: held\n") && told.contains("yield"), "{told}");
    assert_eq!(ready(&mut client), [before[1], before[2], before[0]]);
    assert_eq!(client.ask("kill T1"), "done: kill T1\n");
    assert!(!ready(&mut client).contains(&1));
    assert_eq!(client.ask("go"), "done: it goes on\n");
    assert!(client.ask("wait 0").starts_with("not held"));
}

#[test]
fn conditions_then_each_holds_after_the_step_that_meets_it() {
    let mut watched = Watched::start(|scheduler, end| {
        scheduler.spawn_with(named("busy"), rest_until(Arc::clone(&end))).detach();
        let worker = async move {
            let lock = Lock::new(0).named("log");
            while !end.load(Ordering::SeqCst) {
                let child = spawn(async {}).await;
                child.await.unwrap();
                *lock.lock().await += 1;
                sleep(Duration::from_millis(1)).await;
            }
        };
        scheduler.spawn_with(named("worker"), worker).detach();
    });
    let mut client = watched.client();
    let line = client.ask_until("where 2", "sleep");
    let line = line.lines().find_map(|line| line.trim().strip_prefix("at ")).unwrap();
    let line = line.rsplit_once(':').unwrap().0.to_owned();
    let conditions = [
        "task 2",
        "call sleep",
        "call spawn",
        "object log",
        "object mutex",
        &format!("line {line}"),
        "outcome returned",
        "outcome blocked",
        "outcome outside",
        "woken > 0",
    ];
    for condition in conditions {
        let answer = client.ask(&format!("break {condition}"));
        let number = answer.strip_prefix("done: ").unwrap_or_else(|| panic!("{answer}"));
        let number: u32 = number.split(':').next().unwrap().parse().unwrap();
        assert!(client.ask("wait 60").contains("held for"), "{condition}");
        assert!(client.ask("breaks").contains(&format!("{number}: {condition}")));
        assert_eq!(client.ask(&format!("unbreak {number}")), "done: 1 removed\n");
        assert_eq!(client.ask("go"), "done: it goes on\n");
    }
    assert!(client.ask("unbreak 1").starts_with("refused: "));
    assert_eq!(watched.join(), "0 failures");
}

#[test]
fn deadlock_that_is_waited_for_then_one_can_look_at_it() {
    let mut watched = Watched::start(|scheduler, end| {
        let body = async move {
            rest_until(end).await;
            let lock = Lock::new(()).named("log");
            let _guard = lock.lock().await;
            drop(lock.lock().await);
        };
        scheduler.spawn_with(named("fool"), body).detach();
    });
    let mut client = watched.client();
    assert!(client.ask("break outcome deadlock").starts_with("done: "));
    watched.end.store(true, Ordering::SeqCst);
    assert!(client.ask("wait 60").contains("held for"));
    let waits = client.ask("waits");
    assert!(waits.contains("T1 fool → T1 fool: park, mutex \"log\" (object "), "{waits}");
    assert!(waits.contains("circle: T1 → T1\n"), "{waits}");
    client.ask("go");
    assert!(watched.join().starts_with("deadlock"));
}

/// A clock that the test moves.
#[derive(Debug, Clone, Default)]
struct HandClock(Arc<(Mutex<Hand>, Condvar)>);

#[derive(Debug, Default)]
struct Hand {
    nanos: u64,
    set_back: u64,
    is_unparked: bool,
}

impl HandClock {
    fn advance(&self, by: Duration) {
        self.0.0.lock().unwrap().nanos += u64::try_from(by.as_nanos()).unwrap();
        self.0.1.notify_all();
    }
}

impl Unpark for HandClock {
    fn unpark(&self) {
        self.0.0.lock().unwrap().is_unparked = true;
        self.0.1.notify_all();
    }
}

impl Driver for HandClock {
    fn now(&mut self) -> Instant {
        let hand = self.0.0.lock().unwrap();
        Instant::from_nanos(hand.nanos - hand.set_back)
    }

    fn register(&mut self, _: i32, _: u64, _: Interest) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn reregister(&mut self, _: i32, _: u64, _: Interest) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn deregister(&mut self, _: i32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn wait(&mut self, until: Until, _: &mut Vec<IoEvent>) -> io::Result<Waited> {
        let mut hand = self.0.0.lock().unwrap();
        loop {
            if std::mem::take(&mut hand.is_unparked) {
                return Ok(Waited::Woken);
            }
            let is_due = match until {
                Until::Now | Until::Real(_) => true,
                Until::Deadline(deadline) => hand.nanos - hand.set_back >= deadline.as_nanos(),
                Until::Forever => false,
            };
            if is_due {
                return Ok(Waited::TimedOut);
            }
            hand = self.0.1.wait(hand).unwrap();
        }
    }

    fn stood_still(&mut self, held: Duration) {
        self.0.0.lock().unwrap().set_back += u64::try_from(held.as_nanos()).unwrap();
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::new(self.clone())
    }
}

#[test]
fn clock_while_held_then_it_stands_still_and_a_sleep_has_its_rest_left() {
    let clock = HandClock::default();
    let driver = clock.clone();
    let builder = || Scheduler::builder().driver(driver);
    let mut watched = Watched::with(builder, Manner::Free, |scheduler, _| {
        scheduler.spawn_with(named("sleeper"), sleep(Duration::from_millis(100))).detach();
    });
    let mut client = watched.client();
    client.ask_until("ps", "blocked");
    clock.advance(Duration::from_millis(40));
    assert_eq!(client.ask("hold"), "done: held\n");
    clock.advance(Duration::from_secs(10));
    // An order that is carried out meanwhile does not let the time pass either.
    assert!(client.ask("kill 9").starts_with("refused: "));
    clock.advance(Duration::from_secs(10));
    assert!(client.ask("where 1").contains("until 0.100 s"));
    assert_eq!(client.ask("go"), "done: it goes on\n");
    clock.advance(Duration::from_millis(59));
    // A look at the outside is taken, and finds nobody due.
    assert_eq!(client.ask("breaks"), "done: no conditions\n");
    assert!(client.ask("state").contains("blocked"));
    clock.advance(Duration::from_millis(1));
    assert_eq!(watched.join(), "0 failures");
}

#[test]
fn two_clients_then_the_newest_that_asks_may_order() {
    let watched = Watched::start(|scheduler, end| scheduler.spawn(until(end)).detach());
    let (mut first, mut second) = (watched.client(), watched.client());
    assert!(first.ask("status").contains("nobody has ordered yet"));
    assert_eq!(first.ask("hold"), "done: held\n");
    assert!(second.ask("status").contains("another client may order"));
    assert!(second.ask("step").starts_with("done: held\n"));
    assert!(first.ask("go").starts_with("refused: another client may order"));
    assert!(first.ask("orders").starts_with("done: "));
    assert!(second.ask("step").starts_with("refused: another client may order"));
    assert!(first.ask("break task 1").starts_with("done: "));
    // Whoever orders leaves: nothing holds the program any more.
    assert_eq!(first.ask("quit"), "");
    second.ask_until("status", "the loop is at work");
    assert_eq!(second.ask("breaks"), "done: no conditions\n");
}

#[test]
fn read_only_monitor_then_questions_are_answered_and_orders_refused() {
    let builder = || Scheduler::builder().quantum(1);
    let mut watched = Watched::with(builder, Manner::ReadOnly, |scheduler, end| {
        scheduler.spawn(until(end)).detach()
    });
    let mut client = watched.client();
    client.ask_until("status", "the loop is at work");
    for order in ["kill 1", "cancel 1 x", "hold", "step", "go", "next 1", "break task 1", "orders"]
    {
        assert_eq!(client.ask(order), "refused: this monitor is for looking only\n");
    }
    assert!(client.ask("status").contains("orders are refused"));
    assert_eq!(watched.join(), "0 failures");
}

// A loop that is stuck.

#[test]
fn task_that_sleeps_in_the_system_then_it_is_named_and_orders_are_queued() {
    let (to, from) = mpsc::channel::<()>();
    let mut watched = Watched::start(move |scheduler, _| {
        let blocks = async move {
            yield_now().await;
            from.recv().unwrap();
        };
        scheduler.spawn_with(named("blocker"), blocks).detach();
        scheduler.spawn_with(named("victim"), sleep(Duration::from_secs(3600))).detach();
    });
    let mut client = watched.client();
    let status = client.ask_until("status", "T1 has kept the loop for ");
    assert!(status.contains(" since its call at tests/monitor.rs:"), "{status}");
    assert!(status.contains("the thread sleeps in the OS"), "{status}");
    for question in ["ps", "where 1"] {
        assert!(client.ask(question).contains("T1 has kept the loop"), "{question}");
    }
    let tree = client.ask("tree");
    assert!(tree.contains("T1 blocker: running") && tree.contains("T2 victim"), "{tree}");
    let answer = client.ask("kill 2");
    assert!(answer.starts_with("queued: the loop is in T1\nT1 has kept the loop"), "{answer}");
    to.send(()).unwrap();
    // Else it would sleep for an hour.
    assert_eq!(watched.join(), "0 failures");
}

#[test]
fn task_that_computes_then_it_is_said_so() {
    let watched = Watched::start(|scheduler, end| {
        let computes = async move {
            while !end.load(Ordering::SeqCst) {
                std::hint::spin_loop();
            }
        };
        scheduler.spawn(computes).detach();
    });
    let mut client = watched.client();
    let status = client.ask_until("status", "the thread is computing");
    assert!(status.contains("T1 has kept the loop for "), "{status}");
    assert!(status.contains(" since it began; it was spawned at tests/monitor.rs:"), "{status}");
}

#[test]
fn loop_that_outruns_the_monitor_then_a_gap_is_told_and_a_held_program_is_as_it_is() {
    let builder = || Scheduler::builder().quantum(1);
    let mut watched = Watched::with_ring(builder, Manner::Free, 2048, |scheduler, end| {
        for name in ["a", "b", "c"] {
            scheduler.spawn_with(named(name), until(Arc::clone(&end))).detach();
        }
    });
    let mut client = watched.client();
    client.ask_until("status", "steps were not heard of");
    for _ in 0..3 {
        assert_eq!(client.ask("hold"), "done: held\n");
        let step = |client: &mut Client| -> u64 {
            let state = client.ask("state");
            state.lines().next().unwrap().strip_prefix("step ").unwrap().parse().unwrap()
        };
        let before = step(&mut client);
        assert_eq!(client.ask("step 50").lines().count(), 51);
        assert_eq!(step(&mut client), before + 50);
        client.ask("go");
    }
    assert!(!client.ask("status").contains("not understood"));
    assert_eq!(watched.join(), "0 failures");
}

#[test]
fn nobody_asks_for_long_then_the_first_answer_is_right() {
    let turns = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&turns);
    let mut watched = Watched::start(move |scheduler, end| {
        scheduler.spawn_with(named("sleeper"), sleep(Duration::from_secs(3600))).detach();
        let busy = async move {
            while !end.load(Ordering::SeqCst) {
                counted.fetch_add(1, Ordering::SeqCst);
                yield_now().await;
            }
        };
        scheduler.spawn_with(named("busy"), busy).detach();
    });
    // What is said of so many turns is more than is kept unread.
    while turns.load(Ordering::SeqCst) < 200_000 {
        pause();
    }
    let mut client = watched.client();
    assert_eq!(client.ask("hold"), "done: held\n");
    let state = client.ask("state");
    assert!(state.contains("task 1 \"sleeper\"") && state.contains("sleep at "), "{state}");
    let step: u32 = state.lines().next().unwrap().strip_prefix("step ").unwrap().parse().unwrap();
    assert!(step >= 200_000, "{state}");
    assert!(!client.ask("status").contains("not understood"));
    assert!(client.ask("where 1").contains("at tests/monitor.rs:"));
    assert_eq!(client.ask("kill 1"), "done: kill T1\n");
    client.ask("go");
    assert_eq!(watched.join(), "0 failures");
}

// Clients that do not behave.

#[test]
fn garbage_then_an_error_a_line_and_the_next_command_is_answered() {
    let watched = Watched::start(|scheduler, end| scheduler.spawn(rest_until(end)).detach());
    let mut client = watched.client();
    client.stream.write_all(b"\xff\xfe\x00\n").unwrap();
    assert_eq!(client.answer(), "error: a command is UTF-8\n");
    client.stream.write_all(&vec![b'x'; 100_000]).unwrap();
    assert_eq!(client.answer(), "error: a command is at most 4096 bytes long\n");
    // The end of the long line, which has been answered; then an empty one.
    client.say("");
    assert!(client.ask("").starts_with("error: there is no command"));
    for line in ["bogus", "where", "where x", "kill", "\u{1b}[2J", "step -1", "break", "\0"] {
        let answer = client.ask(line);
        assert!(answer.starts_with("error: ") && answer.lines().count() == 1, "{line}: {answer}");
        assert!(!answer.contains('\u{1b}'), "{answer:?}");
    }
    assert!(client.ask("help").contains("where ID"));
    assert!(client.ask("where 77").starts_with("error: no task 77 lives"));
}

#[test]
fn client_that_stops_reading_then_it_is_dropped_and_nobody_waits_for_it() {
    let mut watched = Watched::start(|scheduler, end| {
        for _ in 0..500 {
            scheduler.spawn(sleep(Duration::from_secs(3600))).detach();
        }
        scheduler.spawn(rest_until(end)).detach();
    });
    let mut deaf = Client::unread(&watched.path);
    deaf.stream.set_write_timeout(Some(PATIENCE)).unwrap();
    // Written until it is dropped: an answer is some 50 KB, which no buffer holds a thousand of.
    let talker = thread::spawn(move || {
        for _ in 0..1_000_000 {
            if deaf.stream.write_all(b"ps\n").is_err() {
                return true;
            }
        }
        false
    });
    let mut other = watched.client();
    other.ask_until("status", "500 blocked");
    assert!(talker.join().unwrap(), "it was not dropped");
    assert!(other.ask("status").contains("501 tasks"));
    other.ask("hold");
    for task in 1..=500 {
        other.say(&format!("kill {task}"));
    }
    for _ in 1..=500 {
        assert!(other.answer().starts_with("done: "));
    }
    other.ask("go");
    assert_eq!(watched.join(), "0 failures");
}

#[test]
fn ten_clients_at_once_then_each_gets_its_answers_and_a_crowd_is_refused() {
    let mut watched = Watched::start(|scheduler, end| {
        scheduler.spawn_with(named("busy"), rest_until(end)).detach();
    });
    let path = watched.path.clone();
    let talkers: Vec<_> = (0..10)
        .map(|_| {
            let path = path.clone();
            thread::spawn(move || {
                let mut client = Client::connect(&path);
                for _ in 0..50 {
                    assert!(client.ask("ps").contains("busy"));
                    assert!(client.ask("tree").starts_with("T1 busy: "));
                }
                client
            })
        })
        .collect();
    let mut clients: Vec<_> = talkers.into_iter().map(|talker| talker.join().unwrap()).collect();
    clients.extend((10..16).map(|_| Client::connect(&path)));
    let mut one_more = Client::unread(&path);
    assert_eq!(one_more.answer(), "error: 16 clients are connected already\n");
    assert_eq!(one_more.answer(), "");
    clients.truncate(1);
    // The places are free again as soon as the others are seen to have left.
    let is_greeted = |_: &u32| {
        pause();
        Client::unread(&path).answer().starts_with("trapline monitor")
    };
    assert!((0..6000).any(|turn| is_greeted(&turn)));
    assert_eq!(watched.join(), "0 failures");
}

#[test]
fn client_before_the_first_step_then_it_is_answered_once_there_is_something_to_answer() {
    for is_attached in [false, true] {
        let scratch = Scratch::new();
        let path = scratch.file("monitor.sock");
        let mut scheduler = Scheduler::new();
        let (monitor, orders) = Monitor::open(Some(&path), Manner::default()).unwrap();
        let agent = Agent::new().outlet(monitor).between(orders);
        let mut client = Client::unread(&path);
        client.say("ps");
        let mut attached = None;
        let mut agent = Some(agent);
        if is_attached {
            attached = agent.take().map(|agent| agent.attach(&mut scheduler));
        }
        // Whoever would answer too early has time to.
        (0..10).for_each(|_| pause());
        let end = Arc::new(AtomicBool::new(false));
        scheduler.spawn_with(named("busy"), rest_until(Arc::clone(&end))).detach();
        let asking = thread::spawn(move || {
            let greeting = client.answer();
            let ps = client.answer();
            end.store(true, Ordering::SeqCst);
            (greeting, ps)
        });
        let attached = attached.unwrap_or_else(|| agent.take().unwrap().attach(&mut scheduler));
        assert_eq!(attached.run(&mut scheduler).unwrap().failures, 0);
        let (greeting, ps) = asking.join().unwrap();
        assert!(greeting.starts_with("trapline monitor of "), "{greeting}");
        assert!(ps.contains("busy"), "{ps}");
    }
}

#[test]
fn client_of_a_loop_whose_first_step_is_to_sleep_then_it_is_answered() {
    let scratch = Scratch::new();
    let path = scratch.file("monitor.sock");
    let mut scheduler = Scheduler::new();
    scheduler.spawn(async { sleep(Duration::from_secs(3600)).await }).detach();
    while scheduler.has_ready() {
        scheduler.step();
    }
    let (monitor, orders) = Monitor::open(Some(&path), Manner::default()).unwrap();
    let asking = thread::spawn(move || {
        let mut client = Client::connect(&path);
        (client.ask("ps"), client.ask("kill 1"))
    });
    let report = Agent::new().outlet(monitor).between(orders).run(&mut scheduler).unwrap();
    assert_eq!(report.failures, 0);
    let (ps, kill) = asking.join().unwrap();
    assert!(ps.contains("sleep(1 h 0 min)"), "{ps}");
    assert!(kill.starts_with("done: "), "{kill}");
}

// The trace.

#[test]
fn trace_then_it_is_a_recording_from_this_moment_on() {
    let mut watched = Watched::start(|scheduler, end| {
        let lock = std::rc::Rc::new(Lock::new(0).named("log"));
        for name in ["a", "b"] {
            let (lock, end) = (std::rc::Rc::clone(&lock), Arc::clone(&end));
            let body = async move {
                while !end.load(Ordering::SeqCst) {
                    let mut guard = lock.lock().await;
                    yield_now().await;
                    *guard += 1;
                    drop(guard);
                    spawn(sleep(Duration::from_millis(1))).name("child").await.await.unwrap();
                }
            };
            scheduler.spawn_with(named(name), body).detach();
        }
    });
    let (mut looker, mut reader) = (watched.client(), watched.client());
    looker.ask_until("ps", "child");
    assert_eq!(looker.ask("hold"), "done: held\n");
    let state = looker.ask("state");
    reader.say("trace");
    let mut bytes = vec![0; 12];
    reader.lines.read_exact(&mut bytes).unwrap();
    let told = looker.ask("step 40");
    assert_eq!(told.lines().count(), 41, "{told}");
    let later = looker.ask("state");
    looker.ask("go");
    assert_eq!(watched.join(), "0 failures");
    reader.lines.read_to_end(&mut bytes).unwrap();
    // Behind the header of 12 bytes, a chunk begins with its length and has 16 bytes of its own.
    let length = u32::from_le_bytes(bytes[12..16].try_into().unwrap());
    let first_chunk = bytes[..12 + 16 + length as usize].to_vec();
    let recording = Recording::from_bytes(bytes).unwrap();
    assert_eq!(recording.damage(), None);
    let step_of = |state: &str| -> u64 {
        state.lines().next().unwrap().strip_prefix("step ").unwrap().parse().unwrap()
    };
    assert_eq!(step_of(&later), step_of(&state) + 40);
    assert_eq!(recording.first_step(), Some(step_of(&state) + 1));
    assert_eq!(recording.state_at(step_of(&later)).unwrap().text(), later);
    assert!(recording.end().tasks().next().is_none());
    assert_eq!(Recording::from_bytes(first_chunk).unwrap().end().text(), state);
}

#[test]
fn orders_then_the_trace_has_them_as_remarks_and_as_causes() {
    let mut watched = Watched::start(|scheduler, end| {
        scheduler.spawn(rest_until(end)).detach();
        let polite = async { _ = cancellable(sleep(Duration::from_secs(3600))).await };
        scheduler.spawn_with(named("polite"), polite).detach();
    });
    let (mut client, mut reader) = (watched.client(), watched.client());
    client.ask_until("ps", "sleep");
    assert_eq!(client.ask("hold"), "done: held\n");
    reader.say("trace");
    let mut bytes = vec![0; 12];
    reader.lines.read_exact(&mut bytes).unwrap();
    assert_eq!(client.ask("cancel 2 closing time"), "done: cancel, closing time T2\n");
    client.ask("go");
    assert_eq!(watched.join(), "0 failures");
    reader.lines.read_to_end(&mut bytes).unwrap();
    let recording = Recording::from_bytes(bytes).unwrap();
    let records: Vec<_> = recording.records().map(|entry| entry.record).collect();
    let ready = Record::Move(Move::Ready { task: 2, by: Cause::Order });
    assert!(records.contains(&ready), "{records:?}");
    let tables = recording.end().tables();
    let said = records.iter().filter_map(|record| match record {
        Record::Remark(Remark::Said { about, topic, text }) => {
            Some((*about, tables.str(*topic), tables.str(*text)))
        }
        _ => None,
    });
    let said: Vec<_> = said.filter(|(_, topic, _)| *topic == "order").collect();
    let cancel = (About::Task(2), "order", "cancel, closing time");
    assert_eq!(said, [cancel, (About::Run, "order", "go")]);
}

#[test]
fn trace_of_a_loop_that_is_stuck_then_it_begins_in_the_midst_of_a_step() {
    let (to, from) = mpsc::channel::<()>();
    let mut watched = Watched::start(move |scheduler, _| {
        scheduler.spawn_with(named("sleeper"), sleep(Duration::from_millis(1))).detach();
        let blocks = async move {
            from.recv().unwrap();
        };
        scheduler.spawn_with(named("blocker"), blocks).detach();
    });
    let (mut client, mut reader) = (watched.client(), watched.client());
    client.ask_until("status", "T2 has kept the loop");
    let state = client.ask("state");
    assert!(state.contains("running 2"), "{state}");
    reader.say("trace");
    let mut bytes = vec![0; 12];
    reader.lines.read_exact(&mut bytes).unwrap();
    to.send(()).unwrap();
    assert_eq!(watched.join(), "0 failures");
    reader.lines.read_to_end(&mut bytes).unwrap();
    let recording = Recording::from_bytes(bytes).unwrap();
    assert_eq!(recording.damage(), None);
    assert_eq!(recording.first_step(), Some(2));
    assert!(recording.end().tasks().next().is_none());
}

// The socket.

#[test]
fn socket_that_is_there_then_a_dead_one_is_replaced_and_a_living_one_is_an_error() {
    let scratch = Scratch::new();
    let path = scratch.file("new/x.sock");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let socket = Socket::open(Some(&path)).unwrap();
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    drop(socket);
    assert!(!path.exists());

    let dead = scratch.file("dead.sock");
    drop(UnixListener::bind(&dead).unwrap());
    assert!(dead.exists());
    let socket = Socket::open(Some(&dead)).unwrap();
    assert!(UnixStream::connect(&dead).is_ok());
    assert_eq!(socket.path(), dead);

    let living = scratch.file("living.sock");
    let _listener = UnixListener::bind(&living).unwrap();
    assert!(
        matches!(Socket::open(Some(&living)), Err(SocketError::Living(path)) if path == living)
    );
    assert!(UnixStream::connect(&living).is_ok());

    let file = scratch.file("file");
    fs::write(&file, "kept").unwrap();
    assert!(matches!(Socket::open(Some(&file)), Err(SocketError::NoSocket(_))));
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");

    // The second of this name in one process.
    let second = Socket::open(Some(&dead)).unwrap();
    assert_eq!(second.path(), scratch.file("dead.sock.2"));
    // One that took the place of ours is not removed.
    fs::remove_file(&dead).unwrap();
    let _other = UnixListener::bind(&dead).unwrap();
    drop(socket);
    assert!(dead.exists());
}

/// Not a test of its own: what the children run.
#[test]
fn program_of_a_child() {
    let Ok(program) = std::env::var(PROGRAM) else { return };
    let program: &'static str = program.leak();
    let body = async move {
        // Until the other end is closed.
        let waits = trapline::unblock(|| io::stdin().read_to_end(&mut Vec::new()));
        waits.await.unwrap();
        if program == "exits" {
            exit(3);
        }
    };
    trapline::block_on(body).unwrap();
}

/// A program of its own process, with the words given; gives its socket once it says where that is.
fn child(
    program: &str,
    words: &str,
    change: impl FnOnce(&mut Command),
) -> (Child, Result<PathBuf, String>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "program_of_a_child", "--nocapture", "--test-threads=1"]);
    command.env(PROGRAM, program).env("TRAPLINE", words);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    change(&mut command);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    // The rest is read, so that it never stands in the way.
    thread::spawn(move || io::copy(&mut lines, &mut io::sink()));
    let socket = line.strip_prefix("trapline: the monitor is at ").map(|path| path.trim().into());
    (child, socket.ok_or(line))
}

#[test]
fn program_that_dies_then_its_clients_see_the_end_and_the_next_takes_its_place() {
    let scratch = Scratch::new();
    let path = scratch.file("x.sock");
    let words = format!("monitor:{}", path.display());
    for program in ["exits", "exits", "ends"] {
        let (mut child, socket) = child(program, &words, |_| {});
        assert_eq!(socket.as_ref(), Ok(&path));
        let mut client = Client::connect(&path);
        assert!(client.ask("ps").starts_with("ID"));
        drop(child.stdin.take());
        assert_eq!(client.answer(), "");
        child.wait().unwrap();
        assert_eq!(path.exists(), program == "exits");
    }
    // Killed, while somebody holds it.
    let (mut child, _) = child("ends", &words, |_| {});
    let mut client = Client::connect(&path);
    assert_eq!(client.ask("hold"), "done: held\n");
    child.kill().unwrap();
    assert_eq!(client.answer(), "");
    child.wait().unwrap();
}

#[test]
fn no_socket_named_then_it_is_in_a_directory_of_this_user_alone() {
    let scratch = Scratch::new();
    let runtime = scratch.path().to_owned();
    let in_runtime = |command: &mut Command| _ = command.env("XDG_RUNTIME_DIR", &runtime);
    let (mut first, socket) = child("ends", "monitor", in_runtime);
    assert_eq!(socket, Ok(runtime.join(format!("trapline/{}.sock", first.id()))));
    let in_temporary =
        |command: &mut Command| _ = command.env_remove("XDG_RUNTIME_DIR").env("TMPDIR", &runtime);
    let (mut second, socket) = child("ends", "monitor:ro", in_temporary);
    let directory = format!("trapline-{}", rustix::process::getuid().as_raw());
    assert_eq!(socket, Ok(runtime.join(&directory).join(format!("{}.sock", second.id()))));
    let mode = |name: &str| fs::metadata(runtime.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("trapline"), mode(&directory)), (0o700, 0o700));
    drop((first.stdin.take(), second.stdin.take()));
    assert!(first.wait().unwrap().success() && second.wait().unwrap().success());

    // One that others may enter is refused, and the program runs without a monitor.
    fs::set_permissions(runtime.join("trapline"), fs::Permissions::from_mode(0o755)).unwrap();
    let (mut third, socket) = child("ends", "monitor", in_runtime);
    let line = socket.unwrap_err();
    assert!(line.contains("is no directory that this user alone may enter"), "{line}");
    drop(third.stdin.take());
    assert!(third.wait().unwrap().success());
}

#[test]
fn client_of_another_user_then_it_is_disconnected() {
    if !rustix::process::getuid().is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let mut watched = Watched::start(|scheduler, end| scheduler.spawn(rest_until(end)).detach());
    // As open as it can be: it is the peer that is looked at.
    let directory = watched.path.parent().unwrap();
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(&watched.path, fs::Permissions::from_mode(0o666)).unwrap();
    let visit = |uid| {
        let script = "import socket, sys\n\
                      s = socket.socket(socket.AF_UNIX)\n\
                      s.connect(sys.argv[1])\n\
                      print(len(s.recv(10)))";
        let mut command = Command::new("python3");
        command.args(["-c", script]).arg(&watched.path).uid(uid);
        command.output()
    };
    let Ok(own) = visit(0) else {
        eprintln!("skipped: there is nobody to send");
        return;
    };
    assert_eq!(own.stdout, b"10\n", "{own:?}");
    let foreign = visit(65534).unwrap();
    assert_eq!(foreign.stdout, b"0\n", "{foreign:?}");
    assert!(watched.client().ask("ps").starts_with("ID"));
    assert_eq!(watched.join(), "0 failures");
}
