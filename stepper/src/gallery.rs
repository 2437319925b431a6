//! `trapline gallery -o DIR`: each lesson as a page of one file, and an index page; they open from disk.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use trapline_trace::Recording;

use crate::failure::Failure;
use crate::html::bundle::{Page, escaped, hash};
use crate::opened;
use crate::plain::Plain;
use crate::record::Program;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory for the pages; it is made if it is not there
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Examples of the package; if none is named, all whose names begin with `lesson_`
    #[arg(long = "example", value_name = "NAME")]
    examples: Vec<String>,
    /// Of this package
    #[arg(short, long, value_name = "NAME")]
    package: Option<String>,
}

const STYLE: &str = "\
:root { color-scheme: light dark; }
body { font: 112%/1.5 system-ui, \"DejaVu Sans\", sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; }
li { margin-bottom: 1.2rem; }
p { margin: 0.3rem 0; }
a { font-size: 1.15rem; font-weight: bold; }
";

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut examples = args.examples.clone();
    if examples.is_empty() {
        examples = crate::record::examples(args.package.as_deref())?;
        examples.retain(|name| name.starts_with("lesson_"));
        examples.sort();
    }
    if examples.is_empty() {
        return Err(Failure::said("the package has no example whose name begins with `lesson_`"));
    }
    fs::create_dir_all(&args.output).map_err(Failure::at(&args.output))?;
    let mut entries = Vec::new();
    for example in examples {
        let program = Program::of_example(args.package.clone(), example.clone());
        match page(&program, &example, &args.output)? {
            Ok(entry) => entries.push(entry),
            Err(code) => return Ok(code),
        }
    }
    let index = args.output.join("index.html");
    fs::write(&index, index_of(&entries)).map_err(Failure::at(&index))?;
    let pages = entries.len();
    println!("{pages} pages, and {}", Plain(&index.display().to_string()));
    Ok(ExitCode::SUCCESS)
}

/// A page of the gallery.
struct Entry {
    file: String,
    title: String,
    text: String,
    stops: usize,
    steps: u64,
}

/// Runs a lesson, and makes its page; if it cannot be built, gives cargo's own status.
fn page(
    program: &Program,
    example: &str,
    directory: &Path,
) -> Result<Result<Entry, ExitCode>, Failure> {
    let target = match program.target()? {
        Ok(target) => target,
        Err(code) => return Ok(Err(code)),
    };
    let made = Made(directory.join(format!(".{example}")));
    let (trace, output) = (made.file("trace"), made.file("output"));
    let file = File::create(&output).map_err(Failure::at(&output))?;
    let other = file.try_clone().map_err(Failure::at(&output))?;
    let status = program
        .recording(&target, &trace, ",output")?
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(other)
        .status()
        .map_err(Failure::at(&target.executable))?;
    if !status.success() {
        let said = fs::read_to_string(&output).unwrap_or_default();
        let last = said.lines().last().unwrap_or_default();
        return Err(Failure::said(format!("{example} ended by {status}: {}", Plain(last))));
    }
    let recording = opened::open(&trace)?;
    let bytes = fs::read(&trace).map_err(Failure::at(&trace))?;
    let printed = fs::read(&output).map_err(Failure::at(&output))?;
    let page = Page { title: example, trace: Some(&bytes), output: Some(&printed) }.html();
    let name = format!("{example}.html");
    let path = directory.join(&name);
    fs::write(&path, page).map_err(Failure::at(&path))?;
    Ok(Ok(entry(&recording, example, name)))
}

/// Files that are gone with this.
struct Made(PathBuf);

impl Made {
    fn file(&self, kind: &str) -> PathBuf {
        self.0.with_extension(kind)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // What was not made is not there to be removed.
        let _ = fs::remove_file(self.file("trace"));
        let _ = fs::remove_file(self.file("output"));
    }
}

fn entry(recording: &Recording, example: &str, file: String) -> Entry {
    let heads = |text: &str| text.lines().filter_map(lesson_head).count();
    let lesson = recording.sources().iter().find(|source| heads(&source.text) > 0);
    let text = lesson.map_or("", |source| source.text.as_str());
    let title = text.lines().find_map(lesson_head).unwrap_or(example).to_owned();
    let stops = heads(text).saturating_sub(1);
    Entry { file, title, text: introduction(text), stops, steps: recording.steps() }
}

fn lesson_head(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("// LESSON ")
}

/// What the documentation of a program says beneath its title: without the command that starts it.
fn introduction(text: &str) -> String {
    let lines = text.lines().filter_map(|line| line.strip_prefix("//!")).map(str::trim);
    let mut is_in_block = false;
    let mut words = Vec::new();
    for line in lines.skip(1) {
        match line.starts_with("```") {
            true => is_in_block = !is_in_block,
            false if !is_in_block && !line.is_empty() => words.push(line),
            false => {}
        }
    }
    words.join(" ")
}

fn index_of(entries: &[Entry]) -> String {
    let rows: String = entries
        .iter()
        .map(|entry| {
            let Entry { file, title, text, stops, steps } = entry;
            format!(
                "<li><a href=\"{}\">{}</a>\n<p>{}</p>\n<p>{stops} stops, {steps} steps</p></li>\n",
                escaped(file),
                escaped(title),
                escaped(text).replace('`', "")
            )
        })
        .collect();
    let policy = format!(
        "default-src 'none'; style-src '{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE)
    );
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Lessons</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>Lessons</h1>\n\
         <p>Each page shows a program's scheduler, step by step. The key <kbd>l</kbd> goes to the next stop of the \
         lesson, <kbd>n</kbd> and <kbd>p</kbd> go a step on and back, and <kbd>?</kbd> lists all keys.</p>\n\
         <ol>\n{rows}</ol>\n</main>\n</body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documentation_of_a_lesson_then_what_it_says_without_its_title_and_its_command() {
        let text = "// LESSON A\n\n//! A.\n//!\n//! ```text\n//! cargo run\n//! ```\n//!\n//! One task\n//! asks.\nfn main() {}\n";
        assert_eq!(introduction(text), "One task asks.");
        assert_eq!(introduction("fn main() {}"), "");
    }

    #[test]
    fn odd_titles_then_the_index_has_them_as_text() {
        let odd = || "<script>\"&".to_owned();
        let entry = Entry { file: odd(), title: odd(), text: odd(), stops: 5, steps: 7 };
        let index = index_of(&[entry]);
        assert!(!index.contains("<script") && index.contains("&lt;script&gt;&quot;&amp;"));
        assert!(index.contains("style-src 'sha256-") && !index.contains("://"));
    }
}
