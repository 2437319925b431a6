//! The gallery of the lessons, made by its one command: each page in Chromium, stop by stop; and the pictures of
//! `docs/teaching.md`, whose steps must still be there.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::trapline;

const LESSONS: [&str; 8] = [
    "lesson_1_turns",
    "lesson_2_trap",
    "lesson_3_wait",
    "lesson_4_blocking",
    "lesson_5_wakeup",
    "lesson_6_quantum",
    "lesson_7_philosophers",
    "lesson_8_echo",
];

#[test]
fn gallery_made_then_every_lesson_works_from_disk_and_the_pictures_of_the_class_hold() {
    let gallery = Gallery::new("all");
    let made = trapline(["gallery", "-p", "trapline", "-o", gallery.str()]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let said = String::from_utf8_lossy(&made.stdout);
    assert_eq!(said, format!("8 pages, and {}/index.html\n", gallery.str()));
    let mut files: Vec<String> = LESSONS.iter().map(|name| format!("{name}.html")).collect();
    files.insert(0, "index.html".to_owned());
    assert_eq!(gallery.files(), files);
    for file in &files {
        let text = std::fs::read_to_string(gallery.0.join(file)).unwrap();
        let text = text.replace("http://www.w3.org/2000/svg", "");
        assert!(text.contains("content=\"default-src 'none'; ") && !text.contains("://"), "{file}");
    }
    assert_good(&node(&gallery, "gallery.test.mjs", &["--test"]));
    assert_good(&node(&gallery, "screenshots.mjs", &[]));
}

#[test]
fn one_example_named_then_a_gallery_of_it_alone() {
    let gallery = Gallery::new("one");
    let example = ["gallery", "-p", "trapline", "--example", "lesson_3_wait", "-o", gallery.str()];
    assert_good(&trapline(example));
    assert_eq!(gallery.files(), ["index.html", "lesson_3_wait.html"]);
    let index = std::fs::read_to_string(gallery.0.join("index.html")).unwrap();
    assert!(
        index.contains(">Spawn and wait</a>") && index.contains("7 stops, 14 steps"),
        "{index}"
    );
}

#[test]
fn package_without_lessons_or_example_that_is_none_then_it_is_said() {
    let gallery = Gallery::new("none");
    let failed = |more: &[&str]| {
        let output = trapline(["gallery", "-o", gallery.str()].iter().chain(more));
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let no_lessons = failed(&["-p", "trapline-stepper"]);
    assert!(no_lessons.contains("no example whose name begins with `lesson_`"), "{no_lessons}");
    let none = failed(&["-p", "trapline", "--example", "no_such_thing"]);
    assert!(none.contains("no example target named `no_such_thing`"), "{none}");
}

#[track_caller]
fn assert_good(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs a script of the page's tests on the gallery.
fn node(gallery: &Gallery, script: &str, before: &[&str]) -> Output {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("page-tests");
    assert!(
        Path::new("/usr/bin/chromium").exists(),
        "Chromium is missing: apt-get install --yes chromium"
    );
    assert!(
        tests.join("node_modules/playwright-core").exists(),
        "playwright-core is missing: npm ci --prefix stepper/page-tests"
    );
    Command::new("node")
        .args(before)
        .arg(tests.join(script))
        // The pictures are looked at only; for the tests it says nothing.
        .args((script == "screenshots.mjs").then_some("--check"))
        .env("PAGES", &gallery.0)
        .env("TRAPLINE_BIN", env!("CARGO_BIN_EXE_trapline"))
        .output()
        .expect("node is there: apt-get install --yes nodejs")
}

/// A directory that is gone with this.
struct Gallery(PathBuf);

impl Gallery {
    fn new(name: &str) -> Gallery {
        let name = format!("gallery-{name}-{}", std::process::id());
        Gallery(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    fn str(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn files(&self) -> Vec<String> {
        let files = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> =
            files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Gallery {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
