//! The conversation at a terminal: with completion, and what was asked before.

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use super::Session;
use crate::failure::Failure;

/// What a monitor understands.
const COMMANDS: [&str; 19] = [
    "break", "breaks", "cancel", "go", "help", "hold", "kill", "next", "orders", "ps", "quit",
    "state", "status", "step", "tree", "unbreak", "wait", "waits", "where",
];

/// What `break` is followed by.
const CONDITIONS: [&str; 6] = ["call", "line", "object", "outcome", "task", "woken"];

/// How a step can end.
const OUTCOMES: [&str; 11] = [
    "answered",
    "blocked",
    "cancelled",
    "deadlock",
    "finished",
    "killed",
    "outside",
    "panicked",
    "returned",
    "stalled",
    "yielded",
];

pub(super) fn talk(session: &mut Session) -> Result<(), Failure> {
    let failed = |error: ReadlineError| Failure::said(format!("the terminal: {error}"));
    let config =
        Config::builder().completion_type(CompletionType::List).auto_add_history(true).build();
    let mut editor = Editor::<Words, DefaultHistory>::with_config(config).map_err(failed)?;
    editor.set_helper(Some(Words));
    loop {
        match editor.readline("trapline> ") {
            Ok(line) if line.trim().is_empty() => {}
            Ok(line) if session.ask(line.trim())? => {}
            // Leaving is asked for with Ctrl-D, too; Ctrl-C throws away what has been typed.
            Ok(_) | Err(ReadlineError::Eof) => return Ok(()),
            Err(ReadlineError::Interrupted) => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

struct Words;

impl Completer for Words {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let (begin, mut choices) = complete(line.get(..at).unwrap_or_default());
        // The next word may follow at once.
        choices.iter_mut().for_each(|choice| choice.push(' '));
        Ok((begin, choices))
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Highlighter for Words {}

impl Validator for Words {}

impl Helper for Words {}

/// Where the word begins that is being typed, and what it may become.
fn complete(typed: &str) -> (usize, Vec<String>) {
    let begin = typed.rfind(char::is_whitespace).map_or(0, |space| space + 1);
    let before: Vec<&str> = typed[..begin].split_whitespace().collect();
    let choices: &[&str] = match before[..] {
        [] => &COMMANDS,
        ["break"] => &CONDITIONS,
        ["break", "outcome"] => &OUTCOMES,
        ["unbreak"] => &["all"],
        _ => &[],
    };
    let fits = choices.iter().filter(|choice| choice.starts_with(&typed[begin..]));
    (begin, fits.map(|choice| (*choice).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginning_of_a_command_then_all_that_begin_so() {
        assert_eq!(complete("w"), (0, vec!["wait".into(), "waits".into(), "where".into()]));
        assert_eq!(complete("  br"), (2, vec!["break".into(), "breaks".into()]));
        assert_eq!(complete("ps "), (3, vec![]));
    }

    #[test]
    fn beginning_of_a_condition_then_what_breaks_there() {
        assert_eq!(complete("break o"), (6, vec!["object".into(), "outcome".into()]));
        assert_eq!(complete("break outcome d"), (14, vec!["deadlock".into()]));
        assert_eq!(complete("break call sl"), (11, vec![]));
    }
}
