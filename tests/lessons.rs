//! The lessons: what they say stands where they say it, and they run the same every time.
//!
//! After a change to a lesson: `LESSONS=overwrite cargo test --test lessons`, and read the difference.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Command;
use std::rc::Rc;

use trapline::{Builder, Event, Scheduler, TaskId};

/// More than any lesson has: whoever takes so many would never end.
const LIMIT: usize = 500;

const PANES: [&str; 10] = [
    "source", "ready", "waiting", "sentence", "loop", "tasks", "log", "output", "timeline", "graph",
];

/// Declares the lessons as modules, and lists them.
macro_rules! lessons {
    ($($module:ident = $name:literal in $path:literal,)*) => {
        $(
            #[allow(dead_code, reason = "its `main` is for the program that it is elsewhere")]
            #[path = $path]
            mod $module;
        )*

        fn lessons() -> Vec<Lesson> {
            vec![$(Lesson {
                name: $name,
                source: include_str!($path),
                start: || Box::pin(async { $module::lesson().await.must_be_good() }),
            }),*]
        }
    };
}

lessons! {
    turns = "1_turns" in "../examples/lessons/1_turns.rs",
    trap = "2_trap" in "../examples/lessons/2_trap.rs",
    wait = "3_wait" in "../examples/lessons/3_wait.rs",
    blocking = "4_blocking" in "../examples/lessons/4_blocking.rs",
    wakeup = "5_wakeup" in "../examples/lessons/5_wakeup.rs",
    quantum = "6_quantum" in "../examples/lessons/6_quantum.rs",
    philosophers = "7_philosophers" in "../examples/lessons/7_philosophers.rs",
    echo = "8_echo" in "../examples/lessons/8_echo.rs",
}

/// What a lesson returns.
trait Outcome {
    fn must_be_good(self);
}

impl Outcome for () {
    fn must_be_good(self) {}
}

impl Outcome for io::Result<()> {
    fn must_be_good(self) {
        self.unwrap();
    }
}

/// Its sockets are real: what has come by which step is the operating system's to say.
const ON_THE_NETWORK: &str = "8_echo";

struct Lesson {
    name: &'static str,
    source: &'static str,
    start: fn() -> Pin<Box<dyn Future<Output = ()>>>,
}

impl Lesson {
    /// A scheduler with the settings of its `main`.
    fn builder(&self) -> Builder {
        let (_, rest) = self.source.split_once("\n#[trapline::main(").unwrap();
        let (options, _) = rest.split_once(")]\n").unwrap();
        let mut builder = Scheduler::builder();
        for option in options.split(", ") {
            builder = match option.split_once(" = ").unwrap() {
                ("quantum", steps) => builder.quantum(steps.parse().unwrap()),
                ("clock", "\"virtual\"") => builder.virtual_clock(),
                other => panic!("{}: what is {other:?}?", self.name),
            };
        }
        builder
    }

    /// Runs it to its end, which must be a good one.
    fn run(&self) -> Vec<Taken> {
        let calls = Rc::new(RefCell::new(Vec::new()));
        let names = Rc::new(RefCell::new(BTreeMap::new()));
        let (seen, known) = (Rc::clone(&calls), Rc::clone(&names));
        let probe = move |event: &Event<'_>| match event {
            Event::Born { task, name: Some(name), .. } => {
                known.borrow_mut().insert(*task, (*name).to_owned());
            }
            Event::Trapped { request, .. } => {
                let shown = request.to_string();
                seen.borrow_mut().push(shown.split('(').next().unwrap().to_owned());
            }
            _ => {}
        };
        let mut scheduler = self.builder().probe(probe).build();
        let mut steps = Vec::new();
        scheduler
            .block_on_with((self.start)(), |scheduler, step| {
                let task = step.task().and_then(|task| names.borrow().get(&task).cloned());
                let shown = self.with_code(&scheduler.show(step).to_string());
                let ready: Vec<_> = scheduler.ready().iter().map(TaskId::to_string).collect();
                let ready = if ready.is_empty() { "nobody".to_owned() } else { ready.join(", ") };
                steps.push(Taken { shown, ready, task, calls: calls.take() });
                assert_eq!(scheduler.snapshot().steps, steps.len() as u64, "{}", self.name);
                assert!(steps.len() < LIMIT, "{} does not end", self.name);
            })
            .unwrap();
        steps
    }

    /// Puts the text of a line where its number stands, so that what is told of it can grow; and leaves
    /// out the numbers of descriptors, which are the operating system's affair.
    fn with_code(&self, shown: &str) -> String {
        let file = format!("{}.rs:", self.name);
        let mut words = Vec::new();
        for word in shown.split(' ') {
            let Some(at) = word.find(&file) else {
                words.push(word.to_owned());
                continue;
            };
            let rest = &word[at + file.len()..];
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let line: usize = rest[..digits].parse().unwrap();
            let code = self.source.lines().nth(line - 1).unwrap().trim();
            words.push(format!("`{code}`{}", &rest[digits..]));
        }
        let shown = words.join(" ");
        match shown.split_once("(fd ") {
            Some((before, after)) => {
                let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
                format!("{before}(fd{after}")
            }
            None => shown,
        }
    }
}

/// A step that was taken.
struct Taken {
    shown: String,
    ready: String,
    /// The name of the task that ran.
    task: Option<String>,
    /// The names of the calls that were served.
    calls: Vec<String>,
}

/// What stands in the `LESSON` comments of a file, in the order of the file.
struct Told {
    title: String,
    stops: Vec<Stop>,
}

struct Stop {
    place: String,
    panes: Vec<String>,
    text: Vec<String>,
}

impl Told {
    fn read(source: &str) -> Told {
        let mut lines = source.lines();
        let title = lines.next().unwrap().strip_prefix("// LESSON ").unwrap().to_owned();
        let (mut stops, mut open) = (Vec::<Stop>::new(), false);
        for line in lines {
            let comment = line.trim_start().strip_prefix("//");
            // Documentation is no comment.
            let Some(text) = comment.filter(|text| !text.starts_with(['/', '!'])) else {
                open = false;
                continue;
            };
            if let Some(stop) = text.strip_prefix(" LESSON ") {
                let (place, panes) = stop.split_once(" panes ").unwrap();
                let panes = panes.split(',').map(str::to_owned).collect();
                stops.push(Stop { place: place.to_owned(), panes, text: Vec::new() });
                open = true;
            } else if open {
                let text = text.strip_prefix(' ').unwrap_or(text);
                stops.last_mut().unwrap().text.push(text.to_owned());
            }
        }
        for stop in &mut stops {
            while stop.text.last().is_some_and(String::is_empty) {
                stop.text.pop();
            }
        }
        Told { title, stops }
    }
}

impl Stop {
    /// The number of the step that it is about.
    fn step(&self, steps: &[Taken]) -> Option<usize> {
        let first =
            |is_meant: &dyn Fn(&Taken) -> bool| steps.iter().position(is_meant).map(|n| n + 1);
        if self.place == "end" {
            return Some(steps.len());
        }
        match self.place.rsplit_once(' ')? {
            ("step", number) => number.parse().ok().filter(|n| (1..=steps.len()).contains(n)),
            ("first call", call) => first(&|step| step.calls.iter().any(|served| served == call)),
            _ => {
                let name = self.place.strip_prefix("first task ")?;
                first(&|step| step.task.as_deref() == Some(name))
            }
        }
    }
}

#[test]
fn stop_then_the_step_the_call_or_the_task_that_it_names_is_there() {
    for lesson in lessons() {
        let steps = lesson.run();
        let mut places = BTreeMap::new();
        for stop in Told::read(lesson.source).stops {
            let (name, place) = (lesson.name, &stop.place);
            let step = stop.step(&steps);
            let Some(step) = step else { panic!("{name}: there is no `{place}`") };
            let other = places.insert(step, place.clone());
            assert_eq!(other, None, "{name}: two stops at step {step}");
        }
    }
}

#[test]
fn lesson_then_a_title_and_five_to_nine_stops_that_say_where_to_look() {
    for lesson in lessons() {
        let (name, told) = (lesson.name, Told::read(lesson.source));
        assert!(!told.title.is_empty() && !told.title.starts_with("step "), "{name}");
        assert!((5..=9).contains(&told.stops.len()), "{name} has {} stops", told.stops.len());
        for stop in &told.stops {
            let place = format!("{name}, {}", stop.place);
            assert!((1..=5).contains(&stop.panes.len()), "{place}: {:?}", stop.panes);
            for pane in &stop.panes {
                assert!(PANES.contains(&pane.as_str()), "{place}: there is no pane `{pane}`");
            }
            assert!(
                stop.text[0].starts_with(|c: char| c.is_alphabetic() || "\"`".contains(c)),
                "{place}"
            );
            assert_is_asked_and_answered(&place, &stop.text);
        }
    }
}

/// After the text there is a question, and its answer.
fn assert_is_asked_and_answered(place: &str, text: &[String]) {
    let kind = |line: &str| match line.get(..2) {
        Some("? ") => '?',
        Some("= ") => '=',
        _ => '.',
    };
    let kinds: String = text.iter().map(|line| kind(line)).collect();
    let asked = kinds.trim_start_matches('.');
    let answered = asked.strip_prefix('?').unwrap_or_default();
    assert!(!answered.is_empty() && answered.chars().all(|kind| kind == '='), "{place}: {kinds}");
}

#[test]
fn steps_of_each_lesson_then_as_they_are_written_down() {
    for lesson in lessons() {
        if lesson.name == ON_THE_NETWORK {
            continue;
        }
        let steps = lesson.run();
        let told = Told::read(lesson.source);
        let stops: Vec<_> = told.stops.iter().filter_map(|stop| stop.step(&steps)).collect();
        let mut written = format!("{}\n", told.title);
        for (number, step) in (1..).zip(&steps) {
            let mark = if stops.contains(&number) { '*' } else { ' ' };
            written += &format!("{mark}{number:3}. {}\n      ready: {}\n", step.shown, step.ready);
        }
        assert_is_written(&golden(lesson.name, "steps"), &written);
    }
}

#[test]
fn output_of_each_lesson_then_as_it_is_written_down() {
    for lesson in lessons() {
        let output = example(&format!("lesson_{}", lesson.name)).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{}", lesson.name);
        assert!(output.status.success(), "{}: {}", lesson.name, output.status);
        let mut printed = String::from_utf8(output.stdout).unwrap();
        if lesson.name == ON_THE_NETWORK {
            let mut lines: Vec<_> = printed.lines().collect();
            lines.sort_unstable();
            printed = lines.join("\n") + "\n";
        }
        assert_is_written(&golden(lesson.name, "out"), &printed);
    }
}

#[test]
fn list_of_the_lessons_then_it_has_each_with_its_title() {
    let list = fs::read_to_string(root().join("examples/lessons/README.md")).unwrap();
    for lesson in lessons() {
        let Lesson { name, .. } = lesson;
        let row = format!("[`lesson_{name}`]({name}.rs) | {} |", Told::read(lesson.source).title);
        assert!(list.contains(&row), "{row}");
    }
    let files = fs::read_dir(root().join("examples/lessons")).unwrap();
    let is_lesson = |path: &PathBuf| path.extension().is_some_and(|end| end == "rs");
    assert_eq!(files.map(|file| file.unwrap().path()).filter(is_lesson).count(), lessons().len());
}

#[test]
fn plan_of_the_class_then_it_goes_to_every_stop() {
    let plan = fs::read_to_string(root().join("docs/teaching.md")).unwrap();
    for lesson in lessons() {
        let start = format!("`cargo step --example lesson_{}`\n", lesson.name);
        let (_, section) = plan.split_once(&start).unwrap();
        let section = section.split("\n### ").next().unwrap();
        let rows = section.lines().filter(|line| line.starts_with('|'));
        let goes: usize =
            rows.map(|row| row.matches("`l`").count() + row.matches("`g`").count()).sum();
        assert_eq!(goes, Told::read(lesson.source).stops.len(), "{}", lesson.name);
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn golden(name: &str, kind: &str) -> PathBuf {
    root().join("tests/lessons").join(format!("{name}.{kind}"))
}

#[track_caller]
fn assert_is_written(file: &Path, text: &str) {
    if std::env::var_os("LESSONS").is_some_and(|word| word == "overwrite") {
        fs::write(file, text).unwrap();
    }
    let written = fs::read_to_string(file).unwrap();
    assert!(
        written == text,
        "{} is not what came out; with LESSONS=overwrite it will be:\n{text}",
        file.display()
    );
}

/// The binary of an example, which `cargo test` puts beside the directory of the tests'.
fn example(program: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().with_file_name("examples").join(program);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --examples`, or all of `cargo test`",
        path.display()
    );
    Command::new(path)
}
