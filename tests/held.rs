//! A program that is held before its first step, and what a viewer of it is told.

#![cfg(feature = "trace")]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/children.rs"]
mod children;
#[path = "support/client.rs"]
mod client;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use children::Scratch;
use client::{Client, pause};
use trapline::net::TcpListener;
use trapline::trace::agent::{Agent, Recorder, RecorderOptions};
use trapline::trace::monitor::Monitor;
use trapline::trace::words::{Manner, RecordOptions};
use trapline::trace::{Mirror, Recording};
use trapline::{RunError, Scheduler, now, sleep, spawn, yield_now};

/// Which of the programs below a child is to run.
const PROGRAM: &str = "TRAPLINE_TEST_PROGRAM";

/// A program that is held before its first step and is recorded, on a thread of its own.
struct Held {
    socket: PathBuf,
    trace: PathBuf,
    loop_thread: JoinHandle<String>,
    _scratch: Scratch,
}

impl Held {
    fn start(
        is_lossless: bool,
        run: impl FnOnce(Agent, &mut Scheduler) -> String + Send + 'static,
    ) -> Held {
        let scratch = Scratch::new();
        let (socket, trace) = (scratch.file("socket"), scratch.file("trace"));
        let (to, from) = mpsc::channel();
        let (at, file) = (socket.clone(), trace.clone());
        let loop_thread = thread::spawn(move || {
            let mut scheduler = Scheduler::builder().quantum(1).build();
            let options = RecordOptions { lossless: is_lossless, ..RecordOptions::default() };
            let recorder = Recorder::open(&file, &RecorderOptions::new(&options)).unwrap();
            let (monitor, orders) = Monitor::open(Some(&at), Manner::Held).unwrap();
            to.send(()).unwrap();
            let agent = Agent::new().outlet(recorder).outlet(monitor).between(orders);
            run(agent, &mut scheduler)
        });
        from.recv().unwrap();
        Held { socket, trace, loop_thread, _scratch: scratch }
    }

    /// A root that spawns a child and yields.
    fn block_on(is_lossless: bool) -> Held {
        Held::start(is_lossless, |agent, scheduler| {
            let body = async {
                let child = spawn(async {}).await;
                yield_now().await;
                child.await.unwrap();
                "ended"
            };
            match agent.block_on(scheduler, body) {
                Ok(word) => word.to_owned(),
                Err(error) => error.to_string(),
            }
        })
    }

    #[track_caller]
    fn client(&self) -> Client {
        let mut client = Client::connect(&self.socket);
        // It listens before the run begins.
        client.ask_until("facts", "loop held");
        client
    }

    /// What the recording says just now.
    #[track_caller]
    fn recorded(&self) -> Recording {
        let recording = Recording::open(&self.trace).unwrap();
        assert_eq!(recording.damage(), None);
        recording
    }
}

fn state(recording: &Recording) -> String {
    recording.end().text()
}

/// What `facts` says of a word.
fn fact(client: &mut Client, word: &str) -> String {
    let facts = client.ask("facts");
    let of_word = |line: &str| line.strip_prefix(word)?.strip_prefix(' ').map(str::to_owned);
    facts.lines().find_map(of_word).unwrap_or_else(|| panic!("no {word} in {facts}"))
}

#[test]
fn program_with_a_root_then_it_is_held_when_that_stands_in_the_queue() {
    for is_lossless in [false, true] {
        let held = Held::block_on(is_lossless);
        let mut client = held.client();
        assert_eq!(fact(&mut client, "step"), "0");
        let answer = client.ask("state");
        assert!(answer.contains("\nready 1\n"), "{answer}");
        // All of it is in the file before anybody can see that the program is held.
        assert_eq!(state(&held.recorded()), answer);
        assert_eq!(client.ask("go"), "done: it goes on\n");
        assert_eq!(held.loop_thread.join().unwrap(), "ended");
    }
}

#[test]
fn steps_of_a_held_program_then_each_is_in_the_file_when_it_is_answered() {
    for is_lossless in [false, true] {
        let held = Held::block_on(is_lossless);
        let mut client = held.client();
        for step in 1..=3 {
            let told = client.ask("step");
            assert!(told.starts_with("done: held\n"), "{told}");
            assert_eq!(told.lines().count(), 2, "{told}");
            let recording = held.recorded();
            assert_eq!(recording.steps(), step);
            assert_eq!(state(&recording), client.ask("state"));
            assert_eq!(fact(&mut client, "step"), step.to_string());
        }
        drop(client);
        assert_eq!(held.loop_thread.join().unwrap(), "ended");
    }
}

#[test]
fn orders_before_the_first_step_then_they_are_obeyed_as_between_two() {
    let held = Held::start(true, |agent, scheduler| {
        for name in ["a", "b", "c"] {
            let options = trapline::TaskOptions::new().name(name);
            scheduler.spawn_with(options, sleep(Duration::from_secs(3600))).detach();
        }
        agent.run(scheduler).map_or_else(|error| error.to_string(), |report| report.to_string())
    });
    let mut client = held.client();
    assert!(client.ask("state").contains("\nready 1 2 3\n"));
    assert_eq!(client.ask("next 3"), "done: next T3\n");
    assert_eq!(client.ask("kill 1"), "done: kill T1\n");
    assert_eq!(client.ask("cancel 2 enough"), "done: cancel, enough T2\n");
    assert!(client.ask("state").contains("\nready 3 2\n"));
    assert_eq!(state(&held.recorded()), client.ask("state"));
    assert_eq!(client.ask("hold"), "done: held\n");
    assert!(client.ask("break task 2").starts_with("done: 1: "));
    assert_eq!(client.ask("go"), "done: it goes on\n");
    client.ask_until("facts", "loop held");
    let recording = held.recorded();
    assert_eq!(recording.steps(), 2);
    assert_eq!(state(&recording), client.ask("state"));
    assert_eq!(client.ask("kill 3"), "done: kill T3\n");
    drop(client);
    assert_eq!(held.loop_thread.join().unwrap(), "0 failures");
}

#[test]
fn root_that_is_killed_before_its_first_step_then_it_is_never_polled() {
    let held = Held::start(true, |agent, scheduler| {
        let never = async { unreachable!("it was killed before") };
        let result: Result<(), RunError> = agent.block_on(scheduler, never);
        scheduler.check_invariants();
        result.unwrap_err().to_string()
    });
    let mut client = held.client();
    assert_eq!(client.ask("kill 1"), "done: kill T1\n");
    client.ask("go");
    assert_eq!(held.loop_thread.join().unwrap(), RunError::Killed.to_string());
}

#[test]
fn client_that_only_looks_then_the_program_stays_held_when_it_leaves() {
    let held = Held::block_on(true);
    drop(held.client());
    let mut second = held.client();
    // The one before is known to have left once it is asked again.
    assert!(second.ask("status").contains("nobody has ordered yet"));
    assert_eq!(fact(&mut second, "step"), "0");
    assert_eq!(second.ask("hold"), "done: held\n");
    drop(second);
    // Whoever orders and leaves has it go on.
    assert_eq!(held.loop_thread.join().unwrap(), "ended");
}

#[test]
fn loop_asleep_in_its_driver_then_the_file_has_all_and_one_is_told_for_what_it_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    drop(listener);
    let held = Held::start(true, move |agent, scheduler| {
        let serves = async move {
            let listener = TcpListener::bind(to).unwrap();
            let sleeper = spawn(sleep(Duration::from_secs(3600))).await;
            let accepted = listener.accept().await;
            sleeper.kill();
            accepted.map(|_| ()).map_err(|error| error.to_string())
        };
        format!("{:?}", agent.block_on(scheduler, serves).unwrap())
    });
    let mut client = held.client();
    assert_eq!(client.ask("go"), "done: it goes on\n");
    client.ask_until("facts", "loop waits");
    let waits = fact(&mut client, "waits_for");
    assert!(waits.starts_with("1 socket, a timer in 59 min"), "{waits}");
    // Nobody asks for it to be written: it is within a frame or two.
    let answer = client.ask("state");
    for _ in 0..1000 {
        if state(&held.recorded()) == answer {
            break;
        }
        pause();
    }
    assert_eq!(state(&held.recorded()), answer);

    // A step that has to wait is answered, so that whoever asked may order something else.
    assert_eq!(client.ask("hold"), "done: held\n");
    let queued = client.ask("step");
    assert!(queued.starts_with("queued: the loop waits for 1 socket, a timer in "), "{queued}");
    assert_eq!(fact(&mut client, "steps_left"), "1");
    assert_eq!(fact(&mut client, "loop"), "waits");
    assert_eq!(client.ask("hold"), "done: held\n");
    assert_eq!(
        (fact(&mut client, "steps_left"), fact(&mut client, "loop")),
        ("0".into(), "held".into())
    );
    assert_eq!(client.ask("step 1").split(':').next(), Some("queued"));
    drop(std::net::TcpStream::connect(to).unwrap());
    client.ask_until("facts", "loop held");
    client.ask("go");
    assert_eq!(held.loop_thread.join().unwrap(), "Ok(())");
}

#[test]
fn facts_then_who_asks_and_who_may_order() {
    let held = Held::block_on(true);
    let (mut first, mut second) = (held.client(), held.client());
    let [one, other] = [&mut first, &mut second].map(|client| fact(client, "client"));
    assert_ne!(one, other);
    assert!(!first.ask("facts").contains("orderer"));
    assert!(second.ask("orders").starts_with("done: "));
    assert_eq!(fact(&mut first, "orderer"), other);
    assert!(fact(&mut first, "held_ms").parse::<u64>().is_ok());
    assert_eq!((fact(&mut first, "ready"), fact(&mut first, "blocked")), ("1".into(), "0".into()));
    second.ask("go");
    assert_eq!(held.loop_thread.join().unwrap(), "ended");
}

// Programs of their own process.

/// Not a test of its own: what the children run.
#[test]
fn program_of_a_child() {
    let Ok(program) = std::env::var(PROGRAM) else { return };
    let hours = async {
        sleep(Duration::from_secs(7200)).await;
        println!("it is: {}", now().await.as_nanos() / 3_600_000_000_000);
    };
    match program.as_str() {
        "twice" => {
            for _ in 0..2 {
                trapline::block_on(async { yield_now().await }).unwrap();
            }
        }
        "block_on" => trapline::block_on(hours).unwrap(),
        "run" => drop(trapline::run(hours).unwrap()),
        "main" => as_main(),
        other => panic!("there is no program {other}"),
    }
}

#[trapline::main(quantum = 1)]
async fn as_main() {
    sleep(Duration::from_secs(7200)).await;
    println!("it is: {}", now().await.as_nanos() / 3_600_000_000_000);
}

fn command(program: &str, words: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "program_of_a_child", "--nocapture", "--test-threads=1"]);
    command.env(PROGRAM, program).env("TRAPLINE", words);
    command
}

#[test]
fn second_run_of_a_process_then_only_the_first_is_held() {
    let scratch = Scratch::new();
    let (socket, trace) = (scratch.file("socket"), scratch.file("trace"));
    let words = format!("record:{},monitor:hold:{}", trace.display(), socket.display());
    let mut child = command("twice", &words).stderr(Stdio::null()).spawn().unwrap();
    wait_until(|| socket.exists());
    let mut client = Client::connect(&socket);
    client.ask_until("facts", "loop held");
    assert!(!scratch.file("trace.2").exists());
    client.ask("go");
    assert!(child.wait().unwrap().success());
    assert!(Recording::open(scratch.file("trace.2")).unwrap().steps() > 0);
}

#[test]
fn virtual_then_hours_pass_at_once() {
    let scratch = Scratch::new();
    for program in ["block_on", "run", "main"] {
        let trace = scratch.file(program);
        let words = format!("virtual,record:{}", trace.display());
        let output = command(program, &words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(printed.contains("it is: 2\n"), "{printed}");
        let end: Mirror = Recording::open(&trace).unwrap().end().clone();
        assert_eq!(end.clock_nanos(), 7_200_000_000_000);
    }
}

#[track_caller]
fn wait_until(is_so: impl Fn() -> bool) {
    for _ in 0..6000 {
        if is_so() {
            return;
        }
        pause();
    }
    panic!("it never was so");
}
