//! The course's first slides: a generator that counts down, and a coroutine that looks for a word.
//!
//! ```text
//! cargo run --example countdown -- 5
//! ```
//!
//! A generator yields values and a coroutine receives them. Neither needs a scheduler, and the
//! coroutine needs no priming: in the course a decorator called `next()` once, to bring it to its
//! first `yield`.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use trapline::generator::{Coroutine, Finished, Generator, Mailbox};

/// Counts down, then looks for a word in a few lines
#[derive(Parser)]
struct Args {
    /// Where to begin
    #[arg(default_value_t = 5)]
    from: u32,

    /// The word to look for
    #[arg(default_value = "python")]
    pattern: String,
}

fn countdown(from: u32) -> Generator<'static, u32> {
    Generator::new(async move |y| {
        println!("Counting down from {from}");
        for n in (1..=from).rev() {
            y.yield_(n).await;
        }
    })
}

fn grep(pattern: &str) -> Coroutine<'_, &str> {
    Coroutine::new(async move |mailbox: Mailbox<&str>| {
        println!("Looking for {pattern}");
        while let Some(line) = mailbox.receive().await {
            if line.contains(pattern) {
                println!("{line}");
            }
        }
        println!("Going away. Goodbye");
    })
}

fn run(args: &Args) -> Result<(), Finished> {
    for n in countdown(args.from) {
        println!("{n}");
    }
    let grep = grep(&args.pattern);
    grep.send("Yeah, but no, but yeah, but no")?;
    grep.send("A series of tubes")?;
    grep.send("python generators rock!")?;
    grep.close();
    Ok(())
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return explain(&error),
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("error: {error}")),
    }
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
    complain(&what.join(" "))
}

fn complain(line: &str) -> ExitCode {
    let _closed = writeln!(io::stderr(), "{line}");
    ExitCode::from(2)
}
