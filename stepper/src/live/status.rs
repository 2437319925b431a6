//! What a live program does just now, as its monitor's `facts` tell.

use std::fmt;
use std::time::Duration;

/// What a live program does just now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Status {
    pub(crate) doing: Doing,
    /// How many steps have been taken.
    pub(crate) step: u64,
    /// The driver's clock.
    pub(crate) clock_nanos: u64,
    /// How many tasks stand in the ready queue or run.
    pub(crate) ready: usize,
    pub(crate) ordering: Ordering,
    /// So many orders have been given and not been carried out; steps that were ordered count as one.
    pub(crate) undone: u64,
    /// So many steps are to be taken yet of those that were ordered.
    pub(crate) steps_left: u64,
}

/// What the loop does.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum Doing {
    /// It is held between two steps, for so long now.
    Held(Duration),
    /// It takes steps.
    #[default]
    Works,
    /// Nobody is ready: it sleeps until something happens outside. For what: `2 sockets, a timer in 3.200 s`.
    Waits(String),
    /// A task has kept it for over 100 ms.
    Stuck {
        task: u64,
        kept: Duration,
        /// As a sentence goes on: `since its call at src/x.rs:31:9`; may be empty.
        since: String,
        /// `the thread sleeps in the OS (hrtimer_nanosleep)`, `the thread is computing`.
        thread: String,
    },
    /// The run is over: in what way, as in `a deadlock`. The program may be held there yet, or go on without a loop.
    Over(String),
    /// There is nobody to ask any more: the run, or the program, has ended.
    Gone,
}

/// Who may order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Ordering {
    /// Nobody has ordered yet: the first who does may.
    #[default]
    Nobody,
    /// We.
    Us,
    /// Another viewer; ours may take the right with the order `orders`.
    Another,
    /// Nobody may: it is a monitor for looking only.
    Refused,
}

impl Status {
    /// Whether the program is held between two steps.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.doing, Doing::Held(_))
    }

    /// What the lines of `facts` say, where `us` is the client by which we order.
    pub(super) fn of_facts(lines: &[String], us: Option<u64>) -> Status {
        let mut facts = Facts { lines };
        let ms = |text: &str| Duration::from_millis(text.parse().unwrap_or(0));
        let doing = match facts.get("loop") {
            "held" => Doing::Held(ms(facts.get("held_ms"))),
            "waits" => Doing::Waits(facts.get("waits_for").to_owned()),
            "stuck" => Doing::Stuck {
                task: facts.number("task"),
                kept: ms(facts.get("kept_ms")),
                since: facts.get("since").to_owned(),
                thread: facts.get("thread").to_owned(),
            },
            "over" => Doing::Over(facts.get("over").to_owned()),
            _ => Doing::Works,
        };
        let ordering = match (facts.get("orders"), facts.get("orderer").parse().ok()) {
            ("refused", _) => Ordering::Refused,
            (_, None) => Ordering::Nobody,
            (_, orderer) if orderer == us => Ordering::Us,
            _ => Ordering::Another,
        };
        let steps_left = facts.number("steps_left");
        Status {
            doing,
            step: facts.number("step"),
            clock_nanos: facts.number("clock_ns"),
            ready: usize::try_from(facts.number("ready") + facts.number("running")).unwrap_or(0),
            ordering,
            undone: facts.number("queued") + u64::from(steps_left > 0),
            steps_left,
        }
    }
}

/// The lines of an answer to `facts`: a word, and what it is.
struct Facts<'a> {
    lines: &'a [String],
}

impl<'a> Facts<'a> {
    fn get(&mut self, key: &str) -> &'a str {
        let of_line = |line: &'a String| line.split_once(' ').filter(|(word, _)| *word == key);
        self.lines.iter().find_map(of_line).map_or("", |(_, value)| value)
    }

    fn number(&mut self, key: &str) -> u64 {
        self.get(key).parse().unwrap_or(0)
    }
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doing::Held(held) => write!(f, "held for {:.1} s", held.as_secs_f64()),
            Doing::Works => f.write_str("runs"),
            Doing::Waits(outside) => write!(f, "waits for {outside}"),
            Doing::Stuck { task, kept, since, thread } => {
                write!(f, "stuck in T{task} for {:.1} s", kept.as_secs_f64())?;
                if !since.is_empty() {
                    write!(f, " {since}")?;
                }
                write!(f, "; {thread}")
            }
            Doing::Over(how) => write!(f, "over: {how}"),
            Doing::Gone => f.write_str("ended"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Status {
        Status::of_facts(&text.lines().map(str::to_owned).collect::<Vec<_>>(), Some(4))
    }

    #[test]
    fn facts_then_what_the_loop_does_and_who_may_order() {
        let held = of(
            "loop held\nheld_ms 1250\nstep 7\nclock_ns 12\nrunning 1\nready 2\nclient 3\norderer 4\n\
                       queued 1\nsteps_left 0\n",
        );
        let expected = Status {
            doing: Doing::Held(Duration::from_millis(1250)),
            step: 7,
            clock_nanos: 12,
            ready: 3,
            ordering: Ordering::Us,
            undone: 1,
            steps_left: 0,
        };
        assert_eq!(held, expected);
        assert_eq!(of("orderer 5").ordering, Ordering::Another);
        assert_eq!(of("orders refused").ordering, Ordering::Refused);
        assert_eq!(of("loop works").ordering, Ordering::Nobody);
        assert_eq!(of("steps_left 3").undone, 1);
    }

    #[test]
    fn what_the_loop_does_then_in_words() {
        let said = |text| of(text).doing.to_string();
        assert_eq!(said("loop held\nheld_ms 1250"), "held for 1.2 s");
        assert_eq!(said("loop works"), "runs");
        assert_eq!(
            said("loop waits\nwaits_for 2 sockets, a timer in 3.200 s"),
            "waits for 2 sockets, a timer in 3.200 s"
        );
        assert_eq!(
            said(
                "loop stuck\ntask 3\nkept_ms 400\nsince since its call at x.rs:31:9\nthread the thread is computing"
            ),
            "stuck in T3 for 0.4 s since its call at x.rs:31:9; the thread is computing"
        );
        assert_eq!(said("loop over\nover a deadlock"), "over: a deadlock");
    }
}
