//! Steps that take too long: the clock is looked at before and after each poll, where the builder asks
//! for it.

use std::panic::Location;
use std::time::Duration;

use trapline_abi::TaskId;

use crate::kernel::{Kernel, Picked, Polled};
use crate::probe::Event;
use crate::report::complain;
use crate::scheduler::Root;

/// What is measured by, and where the tasks stopped last.
pub(crate) struct Stopwatch {
    limit: Duration,
    /// Whether standard error is told, too.
    warns: bool,
    /// Where a task made its latest call, by the task's place. The ring forgets that of a call that was
    /// answered at once.
    stops: Vec<Option<Stop>>,
}

type Stop = (TaskId, &'static Location<'static>);

impl Stopwatch {
    pub(crate) fn new(limit: Duration, warns: bool) -> Stopwatch {
        Stopwatch { limit, warns, stops: Vec::new() }
    }

    /// Where `task` stopped last, if it did.
    fn stop_of(&self, task: TaskId) -> Option<&'static Location<'static>> {
        let (stopped, site) = (*self.stops.get(task.place())?)?;
        (stopped == task).then_some(site)
    }

    fn note_stop(&mut self, task: TaskId, site: &'static Location<'static>) {
        if self.stops.len() <= task.place() {
            self.stops.resize(task.place() + 1, None);
        }
        self.stops[task.place()] = Some((task, site));
    }
}

impl Kernel {
    /// Resumes the task: polls it once.
    #[inline(always)]
    pub(crate) fn resume(&mut self, picked: Picked, root: Option<&mut Root<'_>>) -> Polled {
        // The one branch that it costs where nobody measures: the other way has a copy of the poll.
        if self.stopwatch.is_some() {
            return self.resume_timed(picked, root);
        }
        self.poll_task(picked, root)
    }

    #[cold]
    #[inline(never)]
    fn resume_timed(&mut self, picked: Picked, root: Option<&mut Root<'_>>) -> Polled {
        let id = picked.task;
        let before = self.driver.now();
        let polled = self.poll_task(picked, root);
        let took = self.driver.now() - before;
        let to = self.ring.first_site();
        let born_at = self.tasks.record(id).site;
        let Some(watch) = &mut self.stopwatch else { return polled };
        let from = watch.stop_of(id).unwrap_or(born_at);
        if let Some(to) = to {
            watch.note_stop(id, to);
        }
        if took > watch.limit {
            let warns = watch.warns;
            self.tell_slow_step(&Event::SlowStep { task: id, took, from, to }, warns);
        }
        polled
    }

    fn tell_slow_step(&mut self, event: &Event<'_>, warns: bool) {
        if warns {
            complain(format_args!("task {event}"));
        }
        if self.probe.is_some() {
            self.tell(event);
        }
    }
}
