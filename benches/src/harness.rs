//! Rounds, medians, ratios, and how they are printed.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};

use clap::ValueEnum;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Runtime {
    Trapline,
    Tokio,
    Smol,
    /// Trapline again, in another way.
    Plain,
    Floor,
    Threads,
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Trapline => "trapline",
            Self::Tokio => "tokio",
            Self::Smol => "smol",
            Self::Plain => "plain",
            Self::Floor => "floor",
            Self::Threads => "threads",
        })
    }
}

/// What is measured, and what is to be reached.
#[derive(Default)]
pub(crate) struct Figure<'a> {
    pub(crate) bench: &'a str,
    pub(crate) param: &'a str,
    pub(crate) unit: &'a str,
    /// What Trapline's value should be at most.
    pub(crate) limit: Option<f64>,
    /// What Trapline's value divided by this one's should be at most.
    pub(crate) targets: &'a [(Runtime, f64)],
}

/// One round of one contender; gives its value.
pub(crate) type Round<'a> = (Runtime, Box<dyn FnMut() -> Result<f64> + 'a>);

pub(crate) struct Harness {
    json: bool,
    smoke: bool,
}

impl Harness {
    pub(crate) fn new(json: bool, smoke: bool) -> Self {
        Self { json, smoke }
    }

    /// How many: `full`, or `smoke` in a run that only shows that everything works.
    pub(crate) fn count(&self, full: u64, smoke: u64) -> u64 {
        if self.smoke { smoke } else { full }
    }

    /// Runs each contender once a round, in turn, and prints the medians.
    ///
    /// A different one begins each round, so that none always follows the same other.
    pub(crate) fn compare(
        &self,
        figure: &Figure<'_>,
        rounds: u64,
        contenders: &mut [Round<'_>],
    ) -> Result<()> {
        let mut values = vec![Vec::new(); contenders.len()];
        for round in 0..self.count(rounds, 1) {
            for turn in 0..contenders.len() {
                let i = (turn + round as usize) % contenders.len();
                let (runtime, run) = &mut contenders[i];
                let value = run().map_err(|error| {
                    format!("{} {} on {runtime}: {error}", figure.bench, figure.param)
                })?;
                values[i].push(value);
            }
        }
        let samples: Vec<_> = contenders
            .iter()
            .zip(values)
            .map(|((runtime, _), v)| Sample::new(*runtime, v))
            .collect();
        Ok(self.print(figure, &samples)?)
    }

    fn print(&self, figure: &Figure<'_>, samples: &[Sample]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            for sample in samples {
                writeln!(
                    out,
                    r#"{{"bench":"{}","param":"{}","runtime":"{}","value":{:.2},"unit":"{}"}}"#,
                    figure.bench, figure.param, sample.runtime, sample.median, figure.unit
                )?;
            }
            return out.flush();
        }
        writeln!(out, "{} {}", figure.bench, figure.param)?;
        for Sample { runtime, median, least, most } in samples {
            let unit = figure.unit;
            writeln!(out, "  {runtime:<9}{median:>12.2} {unit}   ({least:.2} to {most:.2})")?;
        }
        let Some(mine) = samples.iter().find(|sample| sample.runtime == Runtime::Trapline) else {
            return out.flush();
        };
        for other in samples.iter().filter(|sample| sample.runtime != Runtime::Trapline) {
            let ratio = mine.median / other.median;
            let target = figure.targets.iter().find(|(runtime, _)| *runtime == other.runtime);
            let verdict = self.verdict(ratio, target.map(|(_, at_most)| *at_most));
            writeln!(out, "  trapline / {:<8} {ratio:>7.3}{verdict}", other.runtime)?;
        }
        if figure.limit.is_some() {
            writeln!(out, "  trapline{}", self.verdict(mine.median, figure.limit))?;
        }
        writeln!(out)?;
        out.flush()
    }

    fn verdict(&self, value: f64, at_most: Option<f64>) -> String {
        match at_most {
            Some(_) if self.smoke => "   (a smoke run measures nothing)".into(),
            Some(at_most) if value <= at_most => format!("   at most {at_most:.3}: reached"),
            Some(at_most) => format!("   at most {at_most:.3}: MISSED"),
            None => String::new(),
        }
    }
}

struct Sample {
    runtime: Runtime,
    median: f64,
    least: f64,
    most: f64,
}

impl Sample {
    /// Of the values of at least one round.
    fn new(runtime: Runtime, mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let (least, most) = (values[0], values[values.len() - 1]);
        let median = f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2]);
        Self { runtime, median, least, most }
    }
}

/// The error of a contender that did not do its work.
pub(crate) fn check(what: &str, done: u64, expected: u64) -> Result<()> {
    if done == expected {
        Ok(())
    } else {
        Err(format!("{done} {what} instead of {expected}").into())
    }
}
