//! Programs that are listened to: as children of the tests, under the environment variable, and unchanged.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio, abort, exit};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use system::{fork, wait_for};
use trapline::net::{TcpListener, TcpStream};
use trapline::trace::agent::{Agent, Recorder, RecorderOptions};
use trapline::trace::strace::Printer;
use trapline::trace::words::parse_record_options;
use trapline::trace::{Mirror, Move, Record, Recording, Remark};
use trapline::{Scheduler, sleep, spawn, spawn_detached, unblock, yield_now};

/// Which of the programs below a child is to run.
const PROGRAM: &str = "TRAPLINE_TEST_PROGRAM";

/// Where that program looks for its recording.
const TRACE: &str = "TRAPLINE_TEST_TRACE";

/// What only a broken program makes us wait for.
const PATIENCE: Duration = Duration::from_secs(60);

// The programs.

/// Not a test of its own: what the children run.
#[test]
fn program_of_a_child() {
    let Ok(program) = std::env::var(PROGRAM) else { return };
    match program.as_str() {
        "greets" => drop(trapline::run(greet("run")).unwrap()),
        "twice" => {
            trapline::block_on(greet("first")).unwrap();
            trapline::block_on(greet("second")).unwrap();
        }
        "parallel" => thread::scope(|scope| {
            for name in ["left", "right"] {
                scope.spawn(move || trapline::block_on(greet(name)).unwrap());
            }
        }),
        "main" => as_main(),
        "nested" => trapline::block_on(async {
            assert!(trapline::block_on(greet("inside")).is_err());
            println!("outside");
        })
        .unwrap(),
        "exits" => trapline::block_on(leave(|| exit(3))).unwrap(),
        "aborts" => trapline::block_on(leave(|| abort())).unwrap(),
        "panics" => trapline::block_on(async {
            yield_now().await;
            panic!("it was to be")
        })
        .unwrap(),
        "forks" => {
            let forked = trapline::block_on(async {
                yield_now().await;
                let forked = fork();
                spawn(async { yield_now().await }).await.await.unwrap();
                forked
            });
            match forked.unwrap() {
                0 => exit(0),
                child => wait_for(child),
            }
        }
        "stuck" => trapline::block_on(async {
            spawn_detached(async { wait_for_file(|mirror| mirror.running() == Some(2), 0) });
            sleep(Duration::from_millis(1)).await;
        })
        .unwrap(),
        "echoes" => trapline::block_on(echo()).unwrap(),
        "limited" => {
            let file = std::env::var(TRACE).unwrap();
            let options = RecorderOptions { limit_bytes: LIMIT, ..lossless() };
            let recorder = Recorder::open(file.as_ref(), &options).unwrap();
            let mut scheduler = Scheduler::new();
            Agent::new().outlet(recorder).block_on(&mut scheduler, long()).unwrap();
            println!("it: goes on to its end");
        }
        other => panic!("there is no program {other}"),
    }
}

#[allow(unsafe_code, reason = "the standard library has no fork without exec")]
mod system {
    unsafe extern "C" {
        pub(crate) safe fn fork() -> i32;
        fn waitpid(process: i32, status: *mut i32, options: i32) -> i32;
    }

    /// Waits for a child, which must end well.
    pub(crate) fn wait_for(child: i32) {
        let mut status = -1;
        // SAFETY: the status is written to a place of ours, which outlives the call.
        let ended = unsafe { waitpid(child, &raw mut status, 0) };
        assert_eq!((ended, status), (child, 0));
    }
}

async fn greet(name: &'static str) {
    println!("{name}: one");
    let child = spawn(async move {
        println!("{name}: two");
        yield_now().await;
        println!("{name}: four");
        7
    })
    .name("child");
    let child = child.await;
    yield_now().await;
    println!("{name}: three");
    assert_eq!(child.await.unwrap(), 7);
    println!("{name}: {}", unblock(|| "five").await);
}

#[trapline::main(clock = "virtual")]
async fn as_main() {
    greet("main").await;
    sleep(Duration::from_secs(3600)).await;
    println!("an hour later");
}

/// A recording ends with this.
const LIMIT: u64 = 20_000;

fn lossless() -> RecorderOptions {
    let text = "lossless".as_ref();
    RecorderOptions::new(&parse_record_options(text).unwrap())
}

/// Takes more steps than have room.
async fn long() {
    for _ in 0..100_000 {
        yield_now().await;
    }
}

async fn echo() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 100];
        let length = stream.read(&mut buffer).await.unwrap();
        stream.write_all(&buffer[..length]).await.unwrap();
    })
    .await;
    let stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"hello, secret").await.unwrap();
    stream.read_exact(&mut [0; 13]).await.unwrap();
    server.await.unwrap();
}

/// Goes away once all that was published is in the file.
async fn leave(go: fn() -> !) {
    for _ in 0..1000 {
        yield_now().await;
    }
    unblock(|| wait_for_file(|mirror| mirror.step() >= 1000, 1000)).await;
    go()
}

/// Looks at its own recording, which nobody has ended, until it holds what it must.
fn wait_for_file(holds: impl Fn(&Mirror) -> bool, least_step: u64) {
    let trace = std::env::var(TRACE).unwrap();
    // A process of its own, so that one which waits in vain ends.
    thread::spawn(|| {
        thread::park_timeout(PATIENCE);
        abort()
    });
    loop {
        let recording = Recording::open(&trace);
        if recording.is_ok_and(|trace| holds(trace.end()) && trace.steps() >= least_step) {
            return;
        }
        thread::yield_now();
    }
}

// Running them.

/// A directory of its own for each test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("trapline-tracing-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn command(program: &str, words: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "program_of_a_child", "--nocapture", "--test-threads=1"]);
    command.env(PROGRAM, program).env("TRAPLINE_RECORD", "lossless");
    command.env_remove("TRAPLINE");
    if !words.is_empty() {
        command.env("TRAPLINE", words);
    }
    command
}

/// Runs a program that ends well.
#[track_caller]
fn run(program: &str, words: &str) -> Output {
    let output = command(program, words).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

fn record(file: &Path) -> String {
    format!("record:{}", file.display())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// What the programs print, without what the test harness says around it.
fn printed(output: &[u8]) -> Vec<&str> {
    let lines = text(output).lines();
    // The first line stands behind the name of the test.
    let lines = lines.map(|line| line.rsplit(" ... ").next().unwrap_or(line));
    lines.filter(|line| line.contains(": ") && !line.starts_with("test ")).collect()
}

#[track_caller]
fn open(file: &Path) -> Recording {
    let recording = Recording::open(file).unwrap();
    assert_eq!(recording.damage(), None);
    assert!(recording.gaps().is_empty());
    recording
}

fn lines_of(recording: &Recording) -> String {
    let (mut printer, mut lines) = (Printer::new(), String::new());
    for entry in recording.records() {
        printer.record(&entry.record, &mut lines);
    }
    lines
}

/// The names of the tasks that were born.
fn born(recording: &Recording) -> usize {
    let is_birth = |record: &Record| matches!(record, Record::Move(Move::TaskBorn { .. }));
    recording.records().filter(|entry| is_birth(&entry.record)).count()
}

// The words.

#[test]
fn program_under_any_words_then_it_prints_the_same_in_the_same_order() {
    let scratch = Scratch::new();
    for program in ["greets", "twice", "main"] {
        let plain = run(program, "");
        assert!(printed(&plain.stdout).len() >= 5, "{plain:?}");
        assert!(plain.stderr.is_empty());
        for words in ["strace", &record(&scratch.file(program))] {
            let listened = run(program, words);
            assert_eq!(printed(&listened.stdout), printed(&plain.stdout), "{words}");
        }
    }
}

#[test]
fn strace_then_its_lines_stand_in_order_with_what_the_program_prints() {
    let scratch = Scratch::new();
    let path = scratch.file("both");
    let both = File::create(&path).unwrap();
    let mut command = command("greets", "strace");
    command.stdout(both.try_clone().unwrap()).stderr(both);
    assert!(command.status().unwrap().success());
    let mut all = String::new();
    File::open(path).unwrap().read_to_string(&mut all).unwrap();
    let lines: Vec<&str> = all.lines().collect();
    let at = |what: &str| {
        let found = lines.iter().position(|line| line.contains(what));
        found.unwrap_or_else(|| panic!("no {what} in\n{all}"))
    };
    assert!(at("run: one") < at("T1 spawn() = T2"), "{all}");
    assert!(at("T1 spawn() = T2") < at("run: two"), "{all}");
    assert!(at("run: two") < at("T2 yield_now()"), "{all}");
    assert!(at("T1 join(T2) …") < at("run: four"), "{all}");
    assert!(at("run: four") < at("T2 returned"), "{all}");
    assert!(at("T2 returned") < at("T1 … join(T2)"), "{all}");
    assert!(at("T1 … join(T2)") < at("run: five"), "{all}");
}

#[test]
fn strace_of_a_file_then_the_same_lines_as_live() {
    let scratch = Scratch::new();
    for program in ["greets", "main"] {
        let file = scratch.file(program);
        let output = run(program, &format!("strace,{}", record(&file)));
        let live = text(&output.stderr);
        assert!(live.lines().count() > 10, "{live}");
        assert_eq!(lines_of(&open(&file)), live);
    }
}

#[test]
fn word_that_is_none_then_status_2_before_anything_runs() {
    for words in ["nonsense", "strace,record", "record:", "strace,recod:x"] {
        let output = command("greets", words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(!text(&output.stdout).contains("one"), "{output:?}");
        let line = text(&output.stderr);
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(line.contains("`strace`") && line.contains("`record:FILE`"), "{line}");
    }
    let mut command = command("greets", "strace");
    let output = command.env("TRAPLINE_RECORD", "sometimes").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("`lossless`"), "{output:?}");
}

#[test]
fn run_inside_a_task_then_it_is_refused_and_none_of_the_runs() {
    let scratch = Scratch::new();
    let file = scratch.file("trace");
    run("nested", &record(&file));
    assert_eq!(born(&open(&file)), 1);
    assert!(!scratch.file("trace.2").exists());
}

#[trapline::test]
async fn under_the_macro_for_tests_then_only_record_is_obeyed() {
    // What `strace` would print here is seen by the test below, which runs this one as a child.
    yield_now().await;
}

#[test]
fn test_under_the_words_then_it_is_recorded_and_prints_nothing() {
    let scratch = Scratch::new();
    let file = scratch.file("trace");
    let mut command = Command::new(std::env::current_exe().unwrap());
    let name = "under_the_macro_for_tests_then_only_record_is_obeyed";
    command.args(["--exact", name, "--nocapture"]);
    let output = command.env("TRAPLINE", format!("strace,{}", record(&file))).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stderr), "");
    assert_eq!(born(&open(&file)), 1);
}

// The file.

#[test]
fn recording_then_it_is_ours_alone_and_tells_of_the_run() {
    let scratch = Scratch::new();
    let file = scratch.file("trace");
    // One that was there before is no more readable to others than a new one.
    fs::write(&file, "old").unwrap();
    run("main", &record(&file));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let recording = open(&file);
    for key in ["program", "arguments", "pid", "version", "seed", "quantum", "batch"] {
        assert!(recording.property(key).is_some(), "{key}");
    }
    assert!(recording.property("arguments").unwrap().contains("program_of_a_child"));
    assert_eq!(recording.property("quantum"), Some("32"));
    assert_eq!(recording.end().tasks().count(), 0);
    assert_eq!(born(&recording), 2);
}

#[test]
fn second_run_of_a_process_then_a_file_of_its_own() {
    let scratch = Scratch::new();
    let file = scratch.file("trace");
    for program in ["twice", "parallel"] {
        run(program, &record(&file));
        for name in ["trace", "trace.2"] {
            assert_eq!(born(&open(&scratch.file(name))), 2, "{program}, {name}");
        }
        assert!(!scratch.file("trace.3").exists());
    }
}

#[test]
fn file_that_a_living_program_writes_then_it_stays_and_the_run_goes_unrecorded() {
    let scratch = Scratch::new();
    let path = scratch.file("trace");
    fs::write(&path, "another's").unwrap();
    let file = File::open(&path).unwrap();
    flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
    let output = run("greets", &record(&path));
    assert_eq!(printed(&output.stdout).len(), 5, "{output:?}");
    let line = text(&output.stderr);
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.contains("being written by another program"), "{line}");
    assert_eq!(fs::read(&path).unwrap(), b"another's");
    drop(file);
    run("greets", &record(&path));
    assert_eq!(born(&open(&path)), 2);
}

#[test]
fn file_that_cannot_be_then_one_line_and_the_run_goes_unrecorded() {
    let scratch = Scratch::new();
    for path in [scratch.0.clone(), scratch.file("no/such/directory"), "/dev/null".into()] {
        let output = run("greets", &record(&path));
        assert_eq!(printed(&output.stdout).len(), 5, "{output:?}");
        assert_eq!(text(&output.stderr).lines().count(), 1, "{output:?}");
    }
}

#[test]
fn standard_error_that_nobody_reads_then_no_panic_of_ours() {
    let scratch = Scratch::new();
    let no_file = record(&scratch.file("no/such/directory"));
    for (words, status) in [(no_file.as_str(), 0), ("strace", 0), ("nonsense", 2)] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command("greets", words).stderr(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{words}: {output:?}");
    }
}

#[test]
fn program_that_leaves_without_a_word_then_what_was_published_is_in_the_file() {
    let scratch = Scratch::new();
    for program in ["exits", "aborts"] {
        let file = scratch.file(program);
        let mut child = command(program, &record(&file))
            .env(TRACE, &file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let status = child.wait().unwrap();
        assert!(!status.success());
        let recording = open(&file);
        assert!(recording.steps() >= 1000, "{}", recording.steps());
        assert_eq!(recording.end().tasks().count(), 1);
    }
}

#[test]
fn task_that_is_stuck_then_the_file_says_whom_the_loop_is_in() {
    let scratch = Scratch::new();
    let file = scratch.file("trace");
    // The task itself waits until the file says so.
    let mut command = command("stuck", &record(&file));
    assert!(command.env(TRACE, &file).status().unwrap().success());
    let recording = open(&file);
    assert_eq!(recording.end().tasks().count(), 0);
    assert_eq!(born(&recording), 2);
}

#[test]
fn run_that_panics_then_the_file_is_whole() {
    let scratch = Scratch::new();
    let file = scratch.file("trace");
    let output = command("panics", &record(&file)).output().unwrap();
    assert!(!output.status.success());
    let recording = open(&file);
    assert!(lines_of(&recording).contains("T1 panicked: it was to be"), "{}", lines_of(&recording));
}

#[test]
fn program_that_forks_then_its_own_run_is_recorded_and_the_child_ends_as_well() {
    let scratch = Scratch::new();
    let path = scratch.file("forks.trace");
    run("forks", &record(&path));
    let lines = lines_of(&open(&path));
    assert!(lines.ends_with("returned\n"), "{lines}");
}

#[test]
fn sources_then_the_text_of_the_programs_own_files() {
    let scratch = Scratch::new();
    let file = scratch.file("trace");
    let options = format!("lossless,sources={}", env!("CARGO_MANIFEST_DIR"));
    let mut command = command("greets", &record(&file));
    assert!(command.env("TRAPLINE_RECORD", options).status().unwrap().success());
    let recording = open(&file);
    let source = recording.source(file!()).unwrap();
    assert!(source.text.contains("sources_then_the_text_of_the_programs_own_files"));
    assert!(!source.is_newer);
    let is_source = |record: &Record| matches!(record, Record::Remark(Remark::Source { .. }));
    let sources = recording.records().filter(|entry| is_source(&entry.record));
    assert_eq!(sources.count(), recording.sources().len(), "each once");
}

#[test]
fn what_is_read_and_written_then_its_length_and_bytes_only_where_they_are_asked_for() {
    let scratch = Scratch::new();
    let file = scratch.file("trace");
    run("echoes", &record(&file));
    let lines = lines_of(&open(&file));
    assert!(lines.contains(" = 13 bytes  tracing.rs:"), "{lines}");
    let holds = |text: &[u8]| fs::read(&file).unwrap().windows(text.len()).any(|at| at == text);
    assert!(!holds(b"hell"));
    let mut command = command("echoes", &record(&file));
    command.env("TRAPLINE_RECORD", "lossless,payload=5");
    assert!(command.status().unwrap().success());
    let lines = lines_of(&open(&file));
    // Each on the line of the operation that moved them.
    let places = |end: &str| -> Vec<&str> {
        let lines = lines.lines().filter(|line| line.contains(end));
        lines.map(|line| &line[line.find("tracing.rs:").unwrap()..]).collect()
    };
    assert_eq!(places("= \"hello\"").len(), 4, "{lines}");
    assert_eq!(places("= \"hello\""), places("= 13 bytes"), "{lines}");
    assert!(holds(b"hello") && !holds(b"hello,"));
}

#[test]
fn recording_that_grows_too_long_then_it_ends_with_a_word_and_the_program_goes_on() {
    let scratch = Scratch::new();
    let file = scratch.file("trace");
    let output = command("limited", "").env(TRACE, &file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(printed(&output.stdout), ["it: goes on to its end"]);
    let line = text(&output.stderr);
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.contains("the recording ends here"), "{line}");
    assert!(fs::metadata(&file).unwrap().len() <= LIMIT);
    open(&file);
}

// The feature.

#[test]
fn without_the_feature_then_the_same_signatures() {
    let signatures = |file: &str| {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        let functions = ["run", "block_on", "run_main", "run_test"];
        functions.map(|name| {
            let generic = text.find(&format!("pub fn {name}<")).unwrap();
            let before = text[..generic].lines().last().unwrap_or_default().to_owned();
            let end = text[generic..].find('{').unwrap();
            assert!(text[..generic].ends_with("#[track_caller]\n"), "{file}: {name}");
            (before, text[generic..][..end].to_owned())
        })
    };
    assert_eq!(signatures("trace/src/free.rs"), signatures("scheduler/src/free.rs"));
}
