//! What is shown: a recording, or a program that runs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::json;
use trapline_trace::strace::shown_file;

use crate::failure::Failure;
use crate::live::{Doing, Live, Ordering};

/// So many answers wait for whoever has asked: who has gone away never comes for them.
const MOST_ANSWERS: usize = 64;

/// A recording, or a run of a program.
pub(super) struct Run {
    /// Which one of those that have been shown.
    pub(super) number: u32,
    /// Open: whoever removes it takes nothing from us.
    pub(super) trace: Rc<File>,
    /// What the program has written.
    pub(super) output: Option<Rc<File>>,
    pub(super) live: Option<Arc<Live>>,
    answers: RefCell<BTreeMap<u64, String>>,
}

impl Run {
    pub(super) fn new(
        number: u32,
        trace: &Path,
        output: Option<&Path>,
        live: Option<Arc<Live>>,
    ) -> Result<Run, Failure> {
        let open = |path| File::open(path).map(Rc::new).map_err(Failure::at(path));
        let (trace, output) = (open(trace)?, output.map(open).transpose()?);
        Ok(Run { number, trace, output, live, answers: RefCell::default() })
    }

    pub(super) fn of_live(number: u32, live: Live) -> Result<Run, Failure> {
        let live = Arc::new(live);
        Run::new(number, live.trace(), live.output(), Some(Arc::clone(&live)))
    }

    /// What came of an order, once.
    pub(super) fn take_answer(&self, live: &Live, ticket: u64) -> Option<String> {
        let mut answers = self.answers.borrow_mut();
        answers.extend(live.answers().into_iter().map(|answer| (answer.ticket, answer.text)));
        let answer = answers.remove(&ticket);
        while answers.len() > MOST_ANSWERS {
            answers.pop_first();
        }
        answer
    }

    /// What a page is told, but for what concerns the pages.
    pub(super) fn status(&self) -> serde_json::Value {
        // Asked before the lengths: of a program that has ended they are the last ones.
        let goes_on = self.live.as_ref().is_some_and(|live| live.goes_on());
        let length = |file: &Rc<File>| file.metadata().map_or(0, |metadata| metadata.len());
        let status = self.live.as_ref().map(|live| live.status()).unwrap_or_default();
        let held = match &status.doing {
            Doing::Held(held) => Some(held.as_secs_f64()),
            _ => None,
        };
        let others = match status.ordering {
            Ordering::Another => Some("another viewer gives the orders"),
            Ordering::Refused => Some("orders are refused"),
            Ordering::Nobody | Ordering::Us => None,
        };
        let waits = match &status.doing {
            Doing::Waits(outside) => Some(outside),
            _ => None,
        };
        let (doing, ended) = match &self.live {
            Some(live) if goes_on => (words(live, &status.doing), None),
            Some(live) => (words(live, &Doing::Gone), Some(end(live))),
            None => (String::new(), None),
        };
        let is_over = matches!(status.doing, Doing::Over(_) | Doing::Gone);
        json!({
            "run": self.number, "isLive": goes_on, "length": length(&self.trace),
            "output": self.output.as_ref().map(length), "hasProgram": self.live.is_some(),
            "held": held, "doing": doing, "ended": ended, "isOver": is_over, "waits": waits, "others": others, "undone": status.undone,
        })
    }
}

/// What the program does, for the line that says where one is.
fn words(live: &Live, doing: &Doing) -> String {
    match doing {
        Doing::Held(held) => format!("held for {} s", held.as_secs()),
        Doing::Gone => live.ended().map_or("ended".to_owned(), |how| format!("ended ({how})")),
        Doing::Stuck { task, kept, since, thread } => {
            let since = shown_file(since.split_whitespace().next_back().unwrap_or_default());
            let thread = thread.split(" (").next().unwrap_or_default();
            format!("STUCK in T{task} for {:.1} s since {since}: {thread}", kept.as_secs_f64())
        }
        doing => doing.to_string(),
    }
}

/// How it has ended, in a sentence.
fn end(live: &Live) -> String {
    match live.ended().filter(|_| live.is_started()) {
        Some(how) => format!("the program has ended ({how})"),
        None => "the program has gone away".to_owned(),
    }
}
