//! What `stats` tells, for people.

use std::fmt::{self, Write};

use trapline_trace::strace::shown_duration;

use super::model::{Calls, Histogram, Stats, Task, Wakeups};
use crate::plain::Plain;

/// The longest bar of a histogram, in columns.
const BAR: u64 = 40;

/// So many tasks are told of; of a crowd, those that ran longest.
const TASKS: usize = 50;

/// The text; with colours and drawn bars, if a terminal shows it.
pub(super) fn text(stats: &Stats, is_colourful: bool) -> String {
    let mut printer = Printer { out: String::new(), is_colourful };
    // Writing to a `String` never fails.
    let _ = printer.stats(stats);
    printer.out
}

struct Printer {
    out: String,
    is_colourful: bool,
}

impl Printer {
    fn stats(&mut self, stats: &Stats) -> fmt::Result {
        self.head(stats)?;
        self.warnings(stats)?;
        self.tasks(stats)?;
        self.calls(stats)?;
        self.wakeups(&stats.wakeups)?;
        self.longest(stats)?;
        self.histogram("dispatches, by their length", &stats.dispatch_lengths)?;
        self.histogram("from made ready to taken", &stats.ready_latencies)
    }

    fn head(&mut self, stats: &Stats) -> fmt::Result {
        if let Some(program) = stats.properties.get("program") {
            let arguments = stats.properties.get("arguments").map_or("", String::as_str);
            let whole = format!("{program} {arguments}");
            writeln!(self.out, "{}", Plain(whole.trim_end()))?;
        }
        let steps = counted(stats.steps, "step");
        let dispatches = counted_es(stats.dispatches, "dispatch");
        let looks = counted(stats.looks, "look");
        let longest_ready_queue = stats.longest_ready_queue;
        let (took, outside) = (shown_duration(stats.duration_ns), shown_duration(stats.outside_ns));
        writeln!(
            self.out,
            "{steps} in {took}: {dispatches}; {looks} at the outside, {outside} there; at most {longest_ready_queue} ready at once"
        )?;
        if stats.missed_steps > 0 {
            writeln!(self.out, "{} steps are missing: the writer was behind", stats.missed_steps)?;
        }
        Ok(())
    }

    fn warnings(&mut self, stats: &Stats) -> fmt::Result {
        if stats.warnings.is_empty() {
            return Ok(());
        }
        self.title("warnings")?;
        for warning in &stats.warnings {
            let text = self.coloured("33", &warning.text);
            writeln!(self.out, "  {text}")?;
        }
        Ok(())
    }

    fn tasks(&mut self, stats: &Stats) -> fmt::Result {
        self.title("tasks")?;
        let mut tasks: Vec<&Task> = stats.tasks.iter().collect();
        if tasks.len() > TASKS {
            tasks.sort_by_key(|task| std::cmp::Reverse(task.running_ns));
            tasks.truncate(TASKS);
        }
        for task in &tasks {
            self.task(task)?;
        }
        let more = stats.tasks.len() - tasks.len();
        if more > 0 {
            writeln!(self.out, "  {more} more, which ran for less; `--json` has all")?;
        }
        Ok(())
    }

    fn task(&mut self, task: &Task) -> fmt::Result {
        let name = match &task.name {
            Some(name) => format!(" \"{name}\""),
            None => String::new(),
        };
        let daemon = if task.daemon { " daemon" } else { "" };
        let head = format!("T{}{name}{daemon}", task.task);
        let head = self.coloured("1", &head);
        writeln!(self.out, "  {head} {}, {}", task.site, task.state)?;
        let (running, ready) = (shown_duration(task.running_ns), shown_duration(task.ready_ns));
        let blocked = shown_duration(task.blocked_ns);
        let dispatches = counted_es(task.dispatches, "dispatch");
        writeln!(self.out, "    ran {running} in {dispatches}, ready {ready}, blocked {blocked}")?;
        let mut reasons: Vec<_> = task.blocked.iter().collect();
        reasons.sort_by_key(|(_, blocked)| std::cmp::Reverse(blocked.total_ns));
        for (reason, blocked) in reasons {
            let (total, longest) =
                (shown_duration(blocked.total_ns), shown_duration(blocked.longest_ns));
            let times = counted(blocked.times, "time");
            writeln!(self.out, "    waited for {reason}: {total}, {times}, {longest} at most")?;
        }
        for (what, calls) in &task.calls {
            self.call("    ", what, calls)?;
        }
        let Wakeups { redundant, .. } = task.wakeups;
        if redundant > 0 {
            writeln!(self.out, "    {redundant} wake-ups found it ready already")?;
        }
        Ok(())
    }

    fn calls(&mut self, stats: &Stats) -> fmt::Result {
        self.title("calls")?;
        for (what, calls) in &stats.calls {
            self.call("  ", what, calls)?;
        }
        if !stats.operations.is_empty() {
            self.title("operations without a call")?;
        }
        for (operation, count) in &stats.operations {
            writeln!(self.out, "  {operation} {count}")?;
        }
        Ok(())
    }

    fn call(&mut self, indent: &str, what: &str, calls: &Calls) -> fmt::Result {
        let Calls { begun, at_once, blocked, withdrawn, .. } = calls;
        write!(self.out, "{indent}{what} {begun}: {at_once} at once, {blocked} waited")?;
        if *blocked > 0 {
            let (total, longest) =
                (shown_duration(calls.waited_ns), shown_duration(calls.longest_wait_ns));
            write!(self.out, " for {total}, {longest} at most")?;
        }
        if *withdrawn > 0 {
            write!(self.out, ", {withdrawn} dropped")?;
        }
        writeln!(self.out)
    }

    fn wakeups(&mut self, wakeups: &Wakeups) -> fmt::Result {
        self.title("wake-ups, by who woke")?;
        for (by, count) in &wakeups.by {
            writeln!(self.out, "  {by} {count}")?;
        }
        writeln!(self.out, "  of a task that was ready already: {}", wakeups.redundant)
    }

    fn longest(&mut self, stats: &Stats) -> fmt::Result {
        self.title("longest dispatches")?;
        for dispatch in stats.longest_dispatches.iter().filter(|d| d.length_ns > 0) {
            let (length, at) = (shown_duration(dispatch.length_ns), millis(dispatch.at_ns));
            let to = dispatch.to.as_deref().map_or_else(String::new, |to| format!(" to {to}"));
            writeln!(
                self.out,
                "  {length} T{} at {at} from {}{to}, step {}",
                dispatch.task, dispatch.from, dispatch.step
            )?;
        }
        Ok(())
    }

    fn histogram(&mut self, title: &str, histogram: &Histogram) -> fmt::Result {
        self.title(title)?;
        let most = histogram.buckets.iter().map(|bucket| bucket.count).max().unwrap_or(0);
        for bucket in &histogram.buckets {
            // Whoever is there at all is seen.
            let length = (u128::from(bucket.count) * u128::from(BAR)).div_ceil(u128::from(most));
            let bar = if self.is_colourful { "█" } else { "#" }.repeat(length as usize);
            let bar = self.coloured("36", &bar);
            let to = format!("< {}", shown_duration(bucket.to_ns));
            writeln!(self.out, "  {to:>10} {:>10} {bar}", bucket.count)?;
        }
        if let Some(mean) = histogram.total_ns.checked_div(histogram.count) {
            let (mean, longest) = (shown_duration(mean), shown_duration(histogram.longest_ns));
            writeln!(self.out, "  {mean} on average, {longest} at most")?;
        }
        Ok(())
    }

    fn title(&mut self, title: &str) -> fmt::Result {
        let title = self.coloured("1", title);
        writeln!(self.out, "\n{title}")
    }

    fn coloured(&self, code: &str, text: &str) -> String {
        match self.is_colourful && !text.is_empty() {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }
}

/// `1 step`, `2 steps`.
fn counted(count: u64, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

/// `1 dispatch`, `2 dispatches`.
fn counted_es(count: u64, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "es" })
}

fn millis(nanos: u64) -> String {
    format!("{}.{:03} s", nanos / 1_000_000_000, nanos / 1_000_000 % 1000)
}
