//! The documentation of each macro shows what it expands to: this holds it to that.

use proc_macro2::{TokenStream, TokenTree};

use crate::{entry, join, select, traced};

const SOURCE: &str = include_str!("lib.rs");

/// The example that follows `line` in the documentation, hidden lines and all.
fn example_after(line: &str) -> Vec<String> {
    let (_, after) = SOURCE.split_once(line).expect("the documentation has that line");
    let lines = after.lines().skip_while(|line| *line != "/// ```").skip(1);
    let strip = |line: &str| line.strip_prefix("/// ").unwrap_or_default().to_owned();
    lines.take_while(|line| *line != "/// ```").map(strip).collect()
}

/// What the reader of an example sees.
fn seen(example: &[String]) -> String {
    let visible = example.iter().filter(|line| !line.starts_with("# "));
    visible.cloned().collect::<Vec<_>>().join("\n")
}

/// What stands between the hidden lines `let … =` and `;`, itself hidden or not.
fn assigned(example: &[String]) -> String {
    let is_start = |line: &&String| line.starts_with("# let ") && line.ends_with(" =");
    let lines = example.iter().skip_while(|line| !is_start(line)).skip(1);
    let lines = lines.take_while(|line| *line != "# ;");
    let plain = lines.map(|line| line.strip_prefix("# ").unwrap_or(line));
    plain.collect::<Vec<_>>().join("\n")
}

/// The words, but for commas, of which a formatter puts more or fewer.
fn words(code: TokenStream, words: &mut Vec<String>) {
    for tree in code {
        match tree {
            TokenTree::Group(group) => {
                words.push(format!("open {:?}", group.delimiter()));
                self::words(group.stream(), words);
                words.push("close".to_owned());
            }
            TokenTree::Punct(punct) if punct.as_char() == ',' => {}
            other => words.push(other.to_string()),
        }
    }
}

fn tokens(code: &str) -> TokenStream {
    code.parse().expect("it is Rust")
}

#[track_caller]
fn assert_same(documented: &str, expanded: TokenStream) {
    assert!(documented.len() > 100, "the example has moved: {documented}");
    let mut both = [Vec::new(), Vec::new()];
    words(tokens(documented), &mut both[0]);
    words(expanded, &mut both[1]);
    assert_eq!(both[0], both[1]);
}

#[test]
fn main_then_as_documented() {
    let written = seen(&example_after("Makes an `async fn main` the program"));
    let (_, function) = written.split_once('\n').expect("it begins with the attribute");
    let expanded = entry::expand(entry::Kind::Main, tokens("seed = 7"), tokens(function));
    assert_same(&seen(&example_after("That program becomes")), expanded);
}

#[test]
fn test_then_as_documented() {
    let written = seen(&example_after("Makes an `async fn` a test"));
    let (_, function) = written.split_once("#[trapline::test(quantum = 1)]").expect("it is there");
    let expanded = entry::expand(entry::Kind::Test, tokens("quantum = 1"), tokens(function));
    assert_same(&seen(&example_after("That test becomes")), expanded);
}

#[test]
fn join_then_as_documented() {
    let expanded = join::expand(join::Kind::Join, tokens("a, b"));
    assert_same(&assigned(&example_after("`join!(a, b)` becomes")), expanded);
}

#[test]
fn try_join_then_as_documented() {
    let expanded = join::expand(join::Kind::TryJoin, tokens("a"));
    assert_same(&assigned(&example_after("`try_join!(a)` becomes")), expanded);
}

#[test]
fn select_then_as_documented() {
    let (_, after) = SOURCE.split_once("/// `select! { Some(x)").expect("it is there");
    let (form, _) = after.split_once(" }` becomes").expect("it is one line");
    let expanded = select::expand(tokens(&format!("Some(x){form}")));
    assert_same(&assigned(&example_after(" }` becomes")), expanded);
}

#[test]
fn traced_then_as_documented() {
    let written = seen(&example_after("Puts the body of an `async fn` into a frame"));
    let (_, function) = written.split_once("#[trapline::traced]").expect("it is there");
    let expanded = traced::expand(TokenStream::new(), tokens(function));
    assert_same(&seen(&example_after("That function becomes")), expanded);
}
