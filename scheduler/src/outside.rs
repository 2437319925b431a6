//! The look at the outside: inbox, timers, then I/O. A step of its own.

use std::sync::Arc;

use trapline_abi::{Post, Reply};

use crate::driver::{IoEvent, Until, Waited};
use crate::kernel::Kernel;
use crate::probe::{Cause, Event};
use crate::sources::Answers;
use crate::step::Kind;
use crate::syscall_table;
use crate::waker::Letter;

/// Room for so many woken tasks is kept when the outside is looked at.
const MANY_WOKEN: usize = 1024;

/// A stalled scheduler counts again once a second.
const STALL_CHECK_NANOS: u64 = 1_000_000_000;

impl Kernel {
    /// Looks at the outside; sleeps in the driver where nothing is ready. Says how many calls were
    /// answered.
    #[cold]
    #[inline(never)]
    pub(crate) fn look_outside(&mut self) -> (Kind, usize) {
        if self.probe.is_some() {
            let at = self.driver.now();
            self.tell(&Event::LooksOutside { at });
        }
        let looked = self.look();
        // What the probe drops may post, too.
        self.serve_posts();
        match looked {
            Ok(answered) => (Kind::Outside, answered),
            Err(end) => (end, 0),
        }
    }

    /// A crowd may have passed: where no task is left, the tables need not stay as large as it was.
    fn give_memory_back(&mut self) {
        if self.tasks.len() == 0 {
            self.tasks.shrink();
            self.ready.shrink();
            self.ring.shrink();
        }
    }

    /// Says how many calls were answered, or else why there is no more to do.
    fn look(&mut self) -> Result<usize, Kind> {
        self.cause = Cause::Outside;
        // Nobody is left to wait for; but another thread may have sent a task.
        let mut answered = if self.live == 0 { self.empty_inbox() } else { 0 };
        if self.live == 0 {
            self.give_memory_back();
            return Err(Kind::Finished);
        }
        self.dispatched = 0;
        self.woken.shrink_to(MANY_WOKEN);
        answered += self.collect();
        // Also where nobody waits: a task may ask a source again and again what it is ready for.
        if self.ready.is_empty() || self.sources.len() > 0 {
            answered += self.wait_for_events()?;
        }
        self.serve_posts();
        if self.probe.is_some() {
            let at = self.driver.now();
            self.tell(&Event::Outside { answered, at });
        }
        Ok(answered)
    }

    /// Does what other threads have sent, in order of arrival.
    fn empty_inbox(&mut self) -> usize {
        let mut answered = 0;
        for (letter, sender) in self.inbox.take() {
            if let Some(name) = sender {
                self.cause = self.thread_named(name);
            }
            match letter {
                Letter::Wake(id) => {
                    if self.tasks.get(id).is_some() {
                        self.tasks.record(id).waker.taken_from_inbox();
                    }
                    self.make_ready(id);
                }
                Letter::Errand(errand) => {
                    self.guard(None, errand);
                    answered += self.serve_posts_of_errand();
                }
            }
            self.cause = Cause::Outside;
        }
        answered
    }

    /// The thread of this name as a cause. The probe is told of one that it does not know.
    #[cold]
    fn thread_named(&mut self, name: Arc<str>) -> Cause {
        let known = self.threads.iter().position(|known| *known == name);
        let place = known.unwrap_or_else(|| {
            self.threads.push(Arc::clone(&name));
            let thread = self.threads.len() as u32;
            self.tell(&Event::Thread { thread, name: &name });
            self.threads.len() - 1
        });
        Cause::Thread(place as u32 + 1)
    }

    /// An errand answers calls by posting that it has.
    fn serve_posts_of_errand(&mut self) -> usize {
        let mut answered = 0;
        while let Some(post) = self.ring.next_post() {
            answered += usize::from(matches!(post, Post::Granted(_)));
            syscall_table::serve_post(self, post);
        }
        answered
    }

    /// Empties the inbox, and answers the timers that are due.
    fn collect(&mut self) -> usize {
        let mut answered = self.empty_inbox();
        if self.timers.is_empty() {
            return answered;
        }
        let now = self.driver.now();
        self.cause = Cause::Timer;
        while let Some(call) = self.timers.pop_due(now) {
            self.answer(call, Reply::Time(now));
            answered += 1;
        }
        self.serve_posts();
        self.cause = Cause::Outside;
        answered
    }

    /// Asks the driver, and waits in it where nothing is ready.
    fn wait_for_events(&mut self) -> Result<usize, Kind> {
        self.serve_posts();
        let mut events = std::mem::take(&mut self.io_events);
        // An errand may have ended the last task, or the root, which goes when this step is over.
        let is_over = self.live == 0 || self.root_doom.is_some();
        let must_wait = self.ready.is_empty() && !is_over;
        let until = if must_wait { self.how_long()? } else { Until::Now };
        if until != Until::Now {
            self.inbox.fall_asleep();
        }
        let until = if self.inbox.is_filled() { Until::Now } else { until };
        let waited = self.driver.wait(until, &mut events);
        self.inbox.awake();
        let waited = waited.map_err(|error| {
            self.driver_error = Some(error);
            Kind::DriverFailed
        })?;
        let mut answered = 0;
        if must_wait {
            answered += self.collect();
        }
        answered += self.deliver(&events);
        events.clear();
        self.io_events = events;
        match (until, waited) {
            (Until::Real(_), Waited::TimedOut) if answered == 0 && self.ready.is_empty() => {
                self.count_stall()?;
            }
            _ => self.stalled_seconds = 0,
        }
        Ok(answered)
    }

    fn deliver(&mut self, events: &[IoEvent]) -> usize {
        let mut answered = 0;
        for event in events {
            let mut answers = Answers::new();
            let Kernel { sources, ring, driver, .. } = self;
            if let Some(fd) = sources.deliver(ring, &mut **driver, *event, &mut answers) {
                answered += answers.len();
                self.answer_all_by(Cause::Source(fd), answers);
            }
        }
        answered
    }

    /// How long nothing is going to happen, as far as the kernel knows.
    fn how_long(&mut self) -> Result<Until, Kind> {
        if let Some(deadline) = self.timers.next_deadline() {
            return Ok(Until::Deadline(deadline));
        }
        if self.sources.waiting() > 0 || self.ring.errands_owed() > 0 {
            return Ok(Until::Forever);
        }
        // Counts first, then (within) a fence, then the inbox once more.
        let held = self.wakers_are_held_elsewhere();
        if self.inbox.is_filled() {
            return Ok(Until::Now);
        }
        if held { Ok(Until::Real(STALL_CHECK_NANOS)) } else { Err(Kind::Deadlock) }
    }

    /// A second has passed in which only a waker held elsewhere could have done anything. Says so
    /// the first time, and gives up at the limit.
    fn count_stall(&mut self) -> Result<(), Kind> {
        self.stalled_seconds = self.stalled_seconds.saturating_add(1);
        if self.stalled_seconds == 1 && self.probe.is_some() {
            let report = self.deadlock_report();
            self.tell(&Event::Stalled { report: &report });
        }
        match self.stall_limit {
            Some(limit) if self.stalled_seconds >= limit => Err(Kind::Stalled),
            _ => Ok(()),
        }
    }
}
