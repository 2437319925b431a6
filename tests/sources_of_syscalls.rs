//! No public function of the library is an `async fn`: `#[track_caller]` does nothing on one, and
//! the kernel could not show the line from which a call was made.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

/// The library that tasks are written against, and what it shares with the kernel.
const ROOTS: [&str; 2] = ["syscalls/src", "syscalls/abi/src"];

#[test]
fn every_source_of_the_library_has_no_public_async_fn() {
    let mut files = Vec::new();
    for root in ROOTS {
        let before = files.len();
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(root), &mut files);
        assert!(files.len() >= before + 4, "{root}: the sources have moved");
    }
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for line in public_async_fns(&text) {
            found.push(format!("{}:{line}", file.display()));
        }
    }
    assert!(found.is_empty(), "a public `async fn` hides its caller's line: {found:#?}");
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The lines, counted from 1, on which a public function that is `async` is declared: `pub`, of
/// whatever visibility that leaves the crate, or a function of a public trait.
fn public_async_fns(text: &str) -> Vec<usize> {
    let code = without_comments_and_texts(text);
    // A mark of its own for all that is not a word, so that `async` and `fn` are found wherever
    // the line is broken.
    let mut words: Vec<(usize, &str)> = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut rest = line;
        while let Some(start) = rest.find(|c: char| !c.is_whitespace()) {
            rest = &rest[start..];
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let end = match rest.find(|c: char| !is_word(c)) {
                Some(0) => rest.chars().next().unwrap().len_utf8(),
                Some(end) => end,
                None => rest.len(),
            };
            words.push((index + 1, &rest[..end]));
            rest = &rest[end..];
        }
    }
    let mut found = Vec::new();
    let mut depth = 0_i64;
    let mut public_traits: Vec<i64> = Vec::new();
    for (at, &(line, word)) in words.iter().enumerate() {
        match word {
            "{" => {
                depth += 1;
            }
            "}" => {
                depth -= 1;
                public_traits.retain(|&opened| opened < depth);
            }
            "trait" if at > 0 && words[at - 1].1 == "pub" => public_traits.push(depth),
            "fn" => {
                let head = head_of(&words[..at]);
                let is_public = head.contains(&"pub") || public_traits.last() == Some(&(depth - 1));
                if head.contains(&"async") && is_public {
                    found.push(line);
                }
            }
            _ => {}
        }
    }
    found
}

/// The words before `fn`, back to the end of what stands before the declaration. A visibility that
/// does not leave the crate is no `pub`.
fn head_of<'a>(words: &[(usize, &'a str)]) -> Vec<&'a str> {
    let mut head: Vec<&str> = Vec::new();
    for &(_, word) in words.iter().rev() {
        let belongs =
            ["pub", "async", "const", "unsafe", "extern", "(", ")", "crate", "super", "in"];
        if !belongs.contains(&word) {
            break;
        }
        head.push(word);
    }
    head.reverse();
    if head.contains(&"(") {
        head.retain(|&word| word != "pub");
    }
    head
}

/// Blanks comments, strings and character literals; keeps the lines.
fn without_comments_and_texts(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            text_length(rest)
        } else if rest.starts_with("r#\"") {
            rest.find("\"#").map_or(rest.len(), |end| end + 2)
        } else if first == '\'' && rest.chars().nth(2) == Some('\'') {
            rest.char_indices().nth(2).map_or(rest.len(), |(at, _)| at + 1)
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.extend(rest[..length].chars().filter(|&c| c == '\n'));
        rest = &rest[length..];
    }
    code
}

/// How long the string literal is that begins here.
fn text_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

// The search itself.

#[test]
fn public_async_fn_in_any_shape_then_it_is_found() {
    for source in [
        "pub async fn read() {}",
        "    pub async fn read(&self) -> u8 { 1 }",
        "pub\n    async\n    fn read() {}",
        "pub async unsafe fn read() {}",
        "#[inline] pub async fn read() {}",
        "impl Stream { pub(crate) fn a() {} pub async fn read() {} }",
        "pub trait Read { async fn read(&mut self); }",
        "pub trait Read { fn a() { if true { } }\n async fn read(&mut self); }",
        "// one\n/* two */ pub /* three */ async fn read() {}",
        "let quoted = \"\\\"//\"; pub async fn read() {}",
        "let brace = '{'; let quote = '\"'; pub async fn read() {}",
        "let raw = r#\"{\"quoted\"}\"#; pub async fn read() {}",
    ] {
        assert_eq!(public_async_fns(source).len(), 1, "{source}");
    }
    assert_eq!(public_async_fns("\n\npub async fn third_line() {}"), [3]);
}

#[test]
fn what_is_not_public_or_not_async_then_it_is_let_be() {
    for source in [
        "async fn helper() {}",
        "pub(crate) async fn helper() {}",
        "pub(super) async fn helper() {}",
        "pub(in crate::net) async fn helper() {}",
        "pub fn read() -> Read { helper(async { 1 }) }",
        "trait Private { async fn read(&mut self); }",
        "pub trait Read { fn read(&mut self); }\nasync fn helper() {}",
        "/// pub async fn in_a_comment() {}",
        "let text = \"pub async fn in_a_text() {}\";",
        "pub struct A; async fn helper() {}",
    ] {
        assert_eq!(public_async_fns(source), [0; 0], "{source}");
    }
}
