//! Counts the words of a source tree: a task for each file, and one total.
//!
//! ```text
//! cargo run --release --example word_count -- src --top 10
//! ```
//!
//! It prints the words that occur most, with ties in alphabetical order, so that the same tree gives the
//! same lines. A word is a run of letters, digits and underscores. What is hidden or named `target`,
//! what is no text, and symbolic links are passed over. A file that cannot be read is complained of, the
//! others are counted, and the exit status is 1.
//!
//! Reading a file blocks, whatever it is asked with; so other threads do that (`unblock`), and as many
//! files as `--limit` allows are read at a time. The counting is the tasks'.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use futures::stream;
use trapline::pattern::map_reduce;

/// Counts the words of a source tree
#[derive(Parser)]
struct Args {
    /// The directory
    dir: PathBuf,

    /// How many words to print
    #[arg(long, value_name = "N", default_value = "20")]
    top: NonZeroUsize,

    /// How many files to have open at a time
    #[arg(long, value_name = "N", default_value = "16")]
    limit: NonZeroUsize,
}

/// What was counted, in one file or in all.
#[derive(Default)]
struct Count {
    files: u64,
    words: BTreeMap<String, u64>,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return explain(&error),
    };
    let mut files = Vec::new();
    if let Err(error) = collect_files(&args.dir, &mut files) {
        return complain(2, &format!("error: {}: {error}", args.dir.display()));
    }
    let unreadable = Rc::new(Cell::new(false));
    let unread = Rc::clone(&unreadable);
    let count_one = move |path: PathBuf| {
        let unread = Rc::clone(&unread);
        async move {
            read_text(&path).await.map_or_else(
                |error| {
                    unread.set(true);
                    complain(1, &format!("error: {}: {error}", path.display()));
                    Count::default()
                },
                |text| count_words(text.as_deref().unwrap_or_default(), text.is_some()),
            )
        }
    };
    let total = map_reduce(stream::iter(files), args.limit.get(), count_one, add);
    match trapline::block_on(total) {
        Ok(total) => print_top(&total.unwrap_or_default(), args.top.get()),
        Err(error) => return complain(1, &format!("error: {error}")),
    }
    if unreadable.get() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// All files below a directory, in order.
fn collect_files(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") || name == "target" {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect_files(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// The text of a file; `None` if it is no text.
#[trapline::traced]
async fn read_text(path: &Path) -> io::Result<Option<String>> {
    let path = path.to_owned();
    let bytes = trapline::unblock(move || fs::read(path)).await?;
    Ok(String::from_utf8(bytes).ok())
}

fn count_words(text: &str, is_text: bool) -> Count {
    let mut words = BTreeMap::new();
    let of_word = |c: char| c.is_alphanumeric() || c == '_';
    for word in text.split(|c| !of_word(c)).filter(|word| !word.is_empty()) {
        match words.get_mut(word) {
            Some(count) => *count += 1,
            None => drop(words.insert(word.to_owned(), 1)),
        }
    }
    Count { files: u64::from(is_text), words }
}

/// The smaller count goes into the larger: which it is does not matter to the sum.
fn add(left: Count, right: Count) -> Count {
    let left_is_larger = left.words.len() >= right.words.len();
    let (mut large, small) = if left_is_larger { (left, right) } else { (right, left) };
    large.files += small.files;
    for (word, count) in small.words {
        *large.words.entry(word).or_default() += count;
    }
    large
}

fn print_top(total: &Count, top: usize) {
    let mut words: Vec<_> = total.words.iter().collect();
    words.sort_by_key(|(word, count)| (Reverse(**count), *word));
    for (word, count) in words.iter().take(top) {
        say(&format!("{count:8} {word}"));
    }
    let all: u64 = total.words.values().sum();
    say(&format!("{all} words, {} different, in {} files", words.len(), total.files));
}

/// Help is printed as it is; a mistake in the arguments is told in one line.
fn explain(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _closed = error.print();
        return ExitCode::SUCCESS;
    }
    // What is wrong stands before the first empty line, the usage after it.
    let text = error.to_string();
    let what: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    complain(2, &what.join(" "))
}

/// Prints a line. Where nobody reads it, that is no mistake of ours.
fn say(line: &str) {
    let _closed = writeln!(io::stdout(), "{line}");
}

/// Prints a line to standard error, and gives `status` to exit with.
fn complain(status: u8, line: &str) -> ExitCode {
    let _closed = writeln!(io::stderr(), "{line}");
    ExitCode::from(status)
}
