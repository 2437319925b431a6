//! The page of one file: what `trapline html` makes, and how it behaves in Chromium, which
//! `page-tests/page.test.mjs` drives.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use flate2::read::ZlibDecoder;
use support::random::{Run, file};
use support::{Scratch, Script, a_short_run, printed, trapline};
use trapline_trace::{Move, On, Record, Recording, Remark, StepEnd, Value};

const HOSTILE: &str = "</script><img src=x onerror=window.isBroken=1>";

#[test]
fn pages_in_chromium_then_they_obey_keys_and_clicks_and_tell_what_the_terminal_tells() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("page-tests");
    assert!(
        Path::new("/usr/bin/chromium").exists(),
        "Chromium is missing: apt-get install --yes chromium"
    );
    assert!(
        tests.join("node_modules/playwright-core").exists(),
        "playwright-core is missing: npm ci --prefix stepper/page-tests"
    );
    let pages = Pages::new();
    pages.make("short", &with_output(a_short_run()).records, 64);
    pages.make("run", &Run::new(21, 60).records, 2000);
    pages.make("lesson", &lesson().records, 64);
    pages.make("hostile", &hostile().records, 64);
    pages.make("cycle", &cycle().records, 64);
    pages.make_with("things", &things(), &[]);
    pages.make_damaged("damaged");
    pages.make_cut("cut");
    let output = Command::new("node")
        .arg("--test")
        .arg(tests.join("page.test.mjs"))
        .env("PAGES", &pages.0)
        .output()
        .expect("node is there: apt-get install --yes nodejs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn steps_cut_out_then_the_state_is_that_of_the_whole_recording() {
    let mut run = Run::new(4, 120);
    run.gap(5);
    (0..60).for_each(|_| run.step());
    run.records.push(source("src/main.rs", "fn main() {}\n"));
    run.records.push(Record::StepEnd(StepEnd::Outside));
    let trace = Scratch::holding("whole.trace", &file(&run.records, 500));
    let whole = Recording::open(trace.path()).unwrap();
    for (steps, first, last) in
        [("1..10", 1, 10), ("40..90", 40, 90), ("110..140", 110, 140), ("150..9999", 150, 186)]
    {
        let page = page_of(&trace, &["--steps", steps]);
        let part = Recording::from_bytes(trace_in(&page)).unwrap();
        assert_eq!(part.damage(), None);
        assert_eq!((part.first_step(), part.last_step()), (Some(first), Some(last)));
        for step in first..=last {
            let text = |recording: &Recording| recording.state_at(step).map(|state| state.text());
            assert_eq!(text(&part), text(&whole), "{steps}, step {step}");
            let records = |recording: &Recording| {
                let own = |record: &Record| matches!(record, Record::Move(_));
                recording.records_of(step).filter(own).count()
            };
            if step > first {
                assert_eq!(records(&part), records(&whole), "{steps}, step {step}");
            }
        }
        assert_eq!(part.property("program"), Some("a test"));
        assert_eq!(part.source("src/main.rs").unwrap().text, "fn main() {}\n");
    }
}

#[test]
fn steps_that_are_not_there_then_it_says_which_are() {
    let trace = a_short_run().file();
    let page = Scratch::new("none.html");
    let html = |steps: &str| trapline(["html", trace.str(), "-o", page.str(), "--steps", steps]);
    for (steps, said) in [
        ("90..95", "trapline: the recording has the steps 1 to 6\n"),
        ("5..2", "steps are written A..B, with A at most B"),
        ("5", "steps are written A..B, with A at most B"),
    ] {
        let output = html(steps);
        assert!(!output.status.success());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(said), "{error}");
        assert!(!page.path().exists());
    }
}

#[test]
fn page_too_large_to_be_mailed_then_it_asks_for_steps() {
    let mut draw = support::random::Draw::new(1);
    let mut script = a_short_run();
    script.records.pop();
    // Letters that no deflating makes fewer.
    for _ in 0..420 {
        let text =
            (0..64 * 1024).map(|_| char::from(33 + (draw.next() >> 20) as u8 % 90)).collect();
        script.records.push(Record::DefineString(text));
    }
    script.step(StepEnd::Finished);
    let (trace, page) = (script.file(), Scratch::new("large.html"));
    let output = trapline(["html", trace.str(), "-o", page.str()]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("more than 20 MB: choose some of its steps, 1..6, by --steps A..B"),
        "{error}"
    );
    assert!(!output.status.success() && !page.path().exists());
}

#[test]
fn page_made_then_it_has_the_recording_and_names_no_other_place() {
    let trace = a_short_run().file();
    let page = page_of(&trace, &[]);
    assert_eq!(trace_in(&page), std::fs::read(trace.path()).unwrap());
    assert!(page.contains("content=\"default-src 'none'; script-src 'sha256-"));
    // The name of a format of pictures, which nobody asks for.
    let outside = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!outside.contains("http:") && !outside.contains("https:"));
}

#[test]
fn lock_file_of_the_tests_then_it_names_no_host() {
    let lock = include_str!("../page-tests/package-lock.json");
    assert!(lock.contains("playwright-core") && !lock.contains("://"));
}

/// A directory with pages, which is gone with this.
struct Pages(PathBuf);

impl Pages {
    fn new() -> Pages {
        let directory =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pages-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        Pages(directory)
    }

    fn path(&self, name: &str, ending: &str) -> PathBuf {
        self.0.join(format!("{name}.{ending}"))
    }

    fn make(&self, name: &str, records: &[Record], chunk: usize) {
        self.make_with(name, &file(records, chunk), &[]);
    }

    fn make_with(&self, name: &str, bytes: &[u8], more: &[&str]) {
        let trace = Scratch::holding(name, bytes);
        let output = Scratch::holding("output", b"one\ntwo <b>\n");
        let page = self.path(name, "html");
        let mut arguments = vec!["html", trace.str(), "-o", page.to_str().unwrap()];
        arguments.extend(["--program-output", output.str()]);
        arguments.extend(more);
        trapline(arguments);
        let page = std::fs::read_to_string(page).unwrap();
        // A sample of the states, as the mirror in Rust prints them.
        let recording = Recording::from_bytes(trace_in(&page)).unwrap();
        let steps = recording.first_step().unwrap()..=recording.last_step().unwrap();
        let texts: serde_json::Map<String, serde_json::Value> = steps
            .step_by(3)
            .map(|step| (step.to_string(), recording.state_at(step).unwrap().text().into()))
            .collect();
        std::fs::write(self.path(name, "json"), serde_json::to_string(&texts).unwrap()).unwrap();
    }

    fn make_damaged(&self, name: &str) {
        let mut bytes = file(&Run::new(3, 80).records, 500);
        let at = bytes.len() * 3 / 4;
        bytes[at] ^= 1;
        self.make_with(name, &bytes, &[]);
    }

    fn make_cut(&self, name: &str) {
        self.make_with(name, &file(&Run::new(9, 90).records, 2000), &["--steps", "30..60"]);
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What the example of that name did.
fn things() -> Vec<u8> {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples/things");
    let trace = Scratch::new("things.trace");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let run = Command::new(program)
        .env("TRAPLINE", format!("record:{}", trace.str()))
        .env("TRAPLINE_RECORD", format!("lossless,sources={}", sources.display()))
        .output();
    assert!(run.unwrap().status.success());
    std::fs::read(trace.path()).unwrap()
}

fn page_of(trace: &Scratch, more: &[&str]) -> String {
    let page = Scratch::new("page.html");
    printed(["html", trace.str(), "-o", page.str()].into_iter().chain(more.iter().copied()));
    std::fs::read_to_string(page.path()).unwrap()
}

/// The recording that a page has in it.
fn trace_in(page: &str) -> Vec<u8> {
    let (_, rest) = page.split_once("id=\"trace\">").unwrap();
    let (text, _) = rest.split_once('<').unwrap();
    let deflated = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    let mut bytes = Vec::new();
    ZlibDecoder::new(&deflated[..]).read_to_end(&mut bytes).unwrap();
    bytes
}

fn source(file: &str, text: &str) -> Record {
    assert_eq!(file, "src/main.rs", "the first string of a random run");
    Record::Remark(Remark::Source {
        file: trapline_trace::Str(0),
        text: text.to_owned(),
        is_newer: false,
    })
}

/// Says how much had been written after the first step and after the last.
fn with_output(mut script: Script) -> Script {
    let first =
        script.records.iter().position(|record| matches!(record, Record::StepEnd(_))).unwrap();
    script.records.insert(first, Record::Remark(Remark::Output { length: 4 }));
    let last = script.records.len() - 1;
    script.records.insert(last, Record::Remark(Remark::Output { length: 12 }));
    script
}

/// The short run, with a source that tells a lesson.
fn lesson() -> Script {
    let text = "\
// LESSON Two cooks
fn main() {
    // LESSON step 2 panes tasks,waiting
    // The waiter stands
    // in a *queue*, of a `lock`.
    // ? Whose?
    // = The stove's.
    // LESSON end panes source
    // It is over.
}
";
    let mut script = a_short_run();
    let end = script.records.pop().unwrap();
    let name = script.string("src/kitchen.rs");
    let source = Remark::Source { file: name, text: text.to_owned(), is_newer: true };
    script.records.extend([Record::Remark(source), end]);
    script
}

/// Everything that can have a name has one that would be HTML.
fn hostile() -> Script {
    let mut script = Script::new();
    let name = script.string(HOSTILE);
    let (key, value) = (script.string("program"), script.string("<b>hostile"));
    script.records.push(Record::Remark(Remark::Property { key, value }));
    let site = script.site(HOSTILE, 2);
    let turned = script.string("\u{202e}turned");
    let text = format!(
        "{HOSTILE}\n// LESSON {HOSTILE}\n// LESSON step 1\n// {HOSTILE}\n// ? {HOSTILE}\n// = x\n"
    );
    script.records.push(Record::Remark(Remark::Source { file: name, text, is_newer: false }));
    for (task, name) in [(1, name), (2, turned)] {
        script.moved(Move::TaskBorn {
            task,
            parent: None,
            name: Some(name),
            site,
            daemon: false,
            state: trapline_trace::TaskState::Ready,
            dispatches: 0,
        });
    }
    script.moved(Move::ObjectBorn { object: 1, kind: name, name: Some(name), site: Some(site) });
    for (step, task) in [1, 2, 1, 2].into_iter().enumerate() {
        let call = step as u64 + 1;
        script.taken(task, call * 1000);
        let (argument, stack) = (Value::Text(name), trapline_trace::StackRef(0));
        script.moved(Move::CallBegun { call, task, what: name, argument, site, stack });
        if step < 2 {
            script.moved(Move::CallBlocked { call, on: On::Object { object: 1, role: name } });
            script.rested(task, false);
            script.ran();
            script.wakes(call, task, trapline_trace::Cause::Thread(name));
        } else {
            script.moved(Move::CallAnswered {
                call,
                by: trapline_trace::Cause::Task(task),
                reply: Value::Text(name),
            });
            script.rested(task, true);
        }
        let said =
            Remark::Said { about: trapline_trace::About::Task(task), topic: name, text: name };
        script.records.push(Record::Remark(said));
        script.step(if step < 2 { StepEnd::Outside } else { StepEnd::Ran });
    }
    script
}

/// Two tasks, each with one of two locks, who ask for the other.
fn cycle() -> Script {
    let mut script = Script::new();
    script.born(1, "left hand", None);
    script.born(2, "right hand", None);
    script.mutex(1, "left");
    script.mutex(2, "right");
    for task in [1, 2] {
        script.taken(task, task * 1000);
        script.held(task, task, 20);
        script.begun(task, task, "yield_now", 21);
        script.answered(task, trapline_trace::Cause::Task(task));
        script.rested(task, true);
        script.ran();
    }
    script.taken(1, 3000);
    script.parks(3, 1, 22, 2);
    script.ran();
    script.taken(2, 4000);
    script.parks(4, 2, 22, 1);
    script.records.push(Record::Remark(Remark::Cycle { tasks: vec![1, 2] }));
    script.ran();
    script.step(StepEnd::Deadlock);
    script
}
