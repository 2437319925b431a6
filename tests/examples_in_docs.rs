//! Every public function of the library shows how it is used.

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
fn function_without_example_then_it_is_found() {
    let text = "/// Sleeps.\npub fn sleep() {}\n/// ```\n/// wake();\n/// ```\n#[must_use]\npub fn wake() {}";
    assert_eq!(functions_without_example(text), [(2, "sleep")]);
    assert_eq!(functions_without_example("pub const fn new() {}"), [(1, "new")]);
    assert_eq!(functions_without_example("#[doc(hidden)]\npub fn of() {}\nfn own() {}"), []);
}

/// Public functions, with their lines, whose documentation has no example and that are not hidden.
fn functions_without_example(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut is_excused = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.starts_with("///") || line.starts_with("#[") || line.starts_with("//") {
            is_excused |= line.starts_with("/// ```") || line.contains("doc(hidden)");
            continue;
        }
        let function = line.strip_prefix("pub fn ").or(line.strip_prefix("pub const fn "));
        if let Some(function) = function.filter(|_| !is_excused) {
            let end = function.find(|c: char| c != '_' && !c.is_alphanumeric());
            found.push((index + 1, &function[..end.unwrap_or(function.len())]));
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
