//! Every public function and every public type of the library shows how it is used.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

/// What needs no example of its own: it stands in that of its neighbour, or says all by its name.
const PLAIN: [&str; 8] = [
    "is_empty",
    "capacity",
    "ask",
    "recv_buffer_size",
    "send_buffer_size",
    "linger",
    "ttl",
    // Documented by its namesake of the handle.
    "next",
];

/// What the macros expand to, which programs never name; and the halves of a stream, whose operations are
/// those of the stream.
const HIDDEN: [&str; 3] = ["expansion.rs", "together.rs", "net/split.rs"];

/// Types that programs do not name: what seals a trait, and what macros expand to.
const SEALED: [(&str, &str); 3] =
    [("net/addr.rs", "Sealed"), ("together.rs", "MaybeDone"), ("local.rs", "TaskLocalCell")];

/// Types of the kernel and its interface that programs and tests meet.
const MET: [&str; 22] = [
    "BlockedTask",
    "CancelCause",
    "CancelReason",
    "Cancelled",
    "DeadlockReport",
    "Event",
    "ExitStatus",
    "Failure",
    "Fate",
    "JoinError",
    "JoinHandle",
    "Probe",
    "RunError",
    "RunReport",
    "Shown",
    "Snapshot",
    "Step",
    "StepEvent",
    "TaskId",
    "TaskInfo",
    "TaskOptions",
    "TaskState",
];

#[test]
fn public_function_then_its_documentation_has_an_example() {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("syscalls/src"), &mut files);
    assert!(files.len() > 80, "the sources have moved: {files:?}");
    let mut without = Vec::new();
    for file in files.iter().filter(|file| !HIDDEN.iter().any(|name| file.ends_with(name))) {
        let text = fs::read_to_string(file).unwrap();
        for (line, name) in functions_without_example(&text) {
            if !PLAIN.contains(&name) {
                without.push(format!("{}:{line}: {name}", file.display()));
            }
        }
    }
    assert!(without.is_empty(), "no example:\n{}", without.join("\n"));
}

#[test]
fn public_type_then_its_documentation_has_an_example() {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("syscalls/src"), &mut files);
    let mut without = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        for (line, name) in types_without_example(&text) {
            if !SEALED.iter().any(|(end, sealed)| file.ends_with(end) && *sealed == name) {
                without.push(format!("{}:{line}: {name}", file.display()));
            }
        }
    }
    assert!(without.is_empty(), "no example:\n{}", without.join("\n"));
}

#[test]
fn type_of_the_kernel_that_programs_meet_then_its_documentation_has_an_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("syscalls/abi/src"), &mut files);
    collect(&root.join("scheduler/src"), &mut files);
    let mut without = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let names = types_without_example(&text).into_iter().filter(|(_, name)| MET.contains(name));
        without.extend(names.map(|(line, name)| format!("{}:{line}: {name}", file.display())));
    }
    assert!(without.is_empty(), "no example:\n{}", without.join("\n"));
}

#[test]
fn type_without_example_then_it_is_found() {
    let text = "/// A nap.\n#[must_use = \"it \\\n    naps\"]\npub struct Nap<F> {\n/// ```\n/// Nap;\n/// ```\n\
                #[derive(\n    Debug,\n)]\npub enum Wake {}\npub trait Bed {}";
    assert_eq!(types_without_example(text), [(4, "Nap"), (12, "Bed")]);
    assert_eq!(types_without_example("#[doc(hidden)]\npub struct Own;\nstruct Private;"), []);
}

#[test]
fn function_without_example_then_it_is_found() {
    let text = "/// Sleeps.\npub fn sleep() {}\n/// ```\n/// wake();\n/// ```\n#[must_use]\npub fn wake() {}";
    assert_eq!(functions_without_example(text), [(2, "sleep")]);
    assert_eq!(functions_without_example("pub const fn new() {}"), [(1, "new")]);
    assert_eq!(functions_without_example("#[doc(hidden)]\npub fn of() {}\nfn own() {}"), []);
}

/// Public functions, with their lines, whose documentation has no example and that are not hidden.
fn functions_without_example(text: &str) -> Vec<(usize, &str)> {
    without_example(text, &["pub fn ", "pub const fn "])
}

/// Likewise the types and traits.
fn types_without_example(text: &str) -> Vec<(usize, &str)> {
    without_example(text, &["pub struct ", "pub enum ", "pub trait ", "pub type "])
}

fn without_example<'a>(text: &'a str, keywords: &[&str]) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    let mut is_excused = false;
    let mut in_attribute = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if in_attribute || line.starts_with("#[") {
            is_excused |= line.contains("doc(hidden)");
            in_attribute = !line.ends_with(']');
            continue;
        }
        if line.starts_with("//") {
            is_excused |= line.starts_with("/// ```");
            continue;
        }
        let item = keywords.iter().find_map(|keyword| line.strip_prefix(keyword));
        // A macro's `$name` is documented where the macro is used.
        let item = item.filter(|item| !item.starts_with('$'));
        if let Some(item) = item.filter(|_| !is_excused) {
            let end = item.find(|c: char| c != '_' && !c.is_alphanumeric());
            found.push((index + 1, &item[..end.unwrap_or(item.len())]));
        }
        is_excused = false;
    }
    found
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
    files.sort();
}
