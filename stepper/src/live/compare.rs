//! Two runs of one program: the first step at which they differ.
//!
//! What is compared is what happened: who ran, what was asked and answered, who was woken by whom. Not when: clock
//! times, and how often the outside was looked at for nothing, differ from run to run. Nor numbers that the operating
//! system gives (descriptors, addresses), lines (an edit moves those below it), and what was said of the process or
//! ordered from outside.

mod events;

use std::fmt;

use trapline_trace::Recording;

use events::{Event, Steps};

/// What came of comparing a run with the last one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Comparison {
    /// As far as both go, they are the same: so many steps of the new one.
    Same { steps: u64 },
    /// They differ from here on.
    Differs(Difference),
}

/// Where two runs begin to differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Difference {
    /// The step of the new run.
    pub(crate) step: u64,
    /// The step of the last one: another number where one of them looked at the outside for nothing more often.
    pub(crate) last_step: u64,
    /// What happens in it: `T3 calls sleep(20.0 ms) (relay.rs:23)`.
    pub(crate) now: String,
    /// What happened instead.
    pub(crate) before: String,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Comparison::Same { steps: 0 } => f.write_str("there is nothing to compare yet"),
            Comparison::Same { steps } => write!(f, "the same as the last run up to step {steps}"),
            Comparison::Differs(Difference { step, last_step, now, before }) => {
                write!(f, "differs from the last run from step {step} on: {now}; before, ")?;
                if step != last_step {
                    write!(f, "in step {last_step}, ")?;
                }
                f.write_str(before)
            }
        }
    }
}

/// Compares a new run with the last one.
pub(crate) fn compare(last: &Recording, new: &Recording) -> Comparison {
    let (mut last, mut new) = (Steps::of(last), Steps::of(new));
    let mut same = 0;
    loop {
        let (Some(before), Some(now)) = (last.next(), new.next()) else {
            return Comparison::Same { steps: same };
        };
        if let Some((is, was)) = first_difference(&now.events, &before.events) {
            let words = |event: Option<&Event>| match event {
                Some(event) => event.to_string(),
                None => "nothing more happens in it".to_owned(),
            };
            return Comparison::Differs(Difference {
                step: now.number,
                last_step: before.number,
                now: words(is),
                before: words(was),
            });
        }
        same = now.number;
    }
}

fn first_difference<'a>(
    now: &'a [Event],
    before: &'a [Event],
) -> Option<(Option<&'a Event>, Option<&'a Event>)> {
    let place = now.iter().zip(before).position(|(now, before)| now.what != before.what);
    let place = place.unwrap_or_else(|| now.len().min(before.len()));
    let (is, was) = (now.get(place), before.get(place));
    (is.is_some() || was.is_some()).then_some((is, was))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
