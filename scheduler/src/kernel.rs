//! The state that handlers act on, and its few moves: make ready, answer, end.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use trapline_abi::{
    Booking, CallId, CallInfo, CallState, Cancelled, Direction, Door, Ended, ExitStatus, Foregone,
    KernelRing, Note, On, Reply, Submitted, Syscall, TaskId,
};

use crate::driver::{Driver, IoEvent};
use crate::probe::{Cause, Event, Probe};
use crate::ready::ReadyQueue;
use crate::report::Failure;
use crate::scheduler::{Ask, Root};
use crate::slow::Stopwatch;
use crate::sources::{Answers, Sources};
use crate::step::Step;
use crate::sys::{task, wait_queue};
use crate::syscall_table;
use crate::task::{Exit, How, Sequence, State};
use crate::task_table::TaskTable;
use crate::timers::Timers;
use crate::waker::Inbox;

/// What becomes of a call. Handlers decide; the loop acts.
///
/// ```
/// use trapline_scheduler::{Fate, Scheduler, StepEvent};
///
/// let mut scheduler = Scheduler::new();
/// scheduler.spawn(trapline_syscalls::sleep(std::time::Duration::from_secs(1))).detach();
/// let StepEvent::Trapped { fate, .. } = scheduler.step().event() else { unreachable!("it sleeps") };
/// assert!(matches!(fate, Fate::Block(..)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Fate {
    /// Blocked on something.
    Block(On),
    /// The call is gone: it ended its own caller.
    Gone,
    /// Answered: the caller goes on.
    Answer(Reply),
    /// Answered, but the caller goes to the back of the ready queue.
    Yield(Reply),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Answer(reply) => write!(f, "= {reply}"),
            Fate::Yield(reply) => write!(f, "= {reply}, to the back"),
            Fate::Block(_) => f.write_str("blocks"),
            Fate::Gone => f.write_str("does not return"),
        }
    }
}

pub(crate) struct Kernel {
    pub(crate) ring: KernelRing,
    pub(crate) tasks: TaskTable,
    pub(crate) ready: ReadyQueue,
    /// The task at the head, until its dispatch is over.
    pub(crate) current: Option<TaskId>,
    pub(crate) timers: Timers,
    pub(crate) sources: Sources,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) driver: Box<dyn Driver>,
    pub(crate) probe: Option<Box<dyn Probe>>,
    /// Room for the library's notes, kept from event to event.
    pub(crate) notes: Vec<Note>,
    /// Where the ring's random numbers began.
    pub(crate) seed: u64,
    pub(crate) quantum: u32,
    pub(crate) batch: u32,
    /// Dispatches since the outside was looked at.
    pub(crate) dispatched: u32,
    /// Tasks that `run` waits for.
    pub(crate) live: usize,
    /// Tasks that live, daemons too.
    pub(crate) population: usize,
    /// The root of `block_on`, while it lives.
    pub(crate) root: Option<TaskId>,
    pub(crate) root_end: Option<End>,
    /// Whether the root is to be ended, or a cancelled task has yet to hear of it.
    pub(crate) has_orders: bool,
    /// How it is to be ended in this step: by the loop, since it lies on the stack below.
    pub(crate) root_doom: Option<End>,
    /// Why whoever is made ready now is made ready.
    pub(crate) cause: Cause,
    /// Whom this step woke.
    pub(crate) woken: Vec<TaskId>,
    /// Whether the current task was woken while it ran.
    pub(crate) woken_running: bool,
    pub(crate) failures: usize,
    pub(crate) first_failures: Vec<Failure>,
    /// How those ended tasks with a handle ended that panicked or were cancelled.
    pub(crate) bad_ends: BTreeMap<TaskId, ExitStatus>,
    pub(crate) probe_panic: Option<Rc<str>>,
    /// The names of the threads that have sent something while the probe listened: their numbers, less 1.
    pub(crate) threads: Vec<Arc<str>>,
    pub(crate) own_state: Vec<(TypeId, Box<dyn Any>)>,
    pub(crate) sequence: Sequence,
    pub(crate) stalled_seconds: u32,
    pub(crate) stall_limit: Option<u32>,
    /// The place of a task whose waker was held elsewhere when we last looked.
    pub(crate) held_hint: usize,
    pub(crate) unchecked_steps: usize,
    /// Room for the driver's events, kept from look to look.
    pub(crate) io_events: Vec<IoEvent>,
    pub(crate) driver_error: Option<io::Error>,
    /// Steps taken.
    pub(crate) steps: u64,
    /// What the latest steps served beside their first calls, by number of the step.
    pub(crate) further: Vec<(u32, Submitted, Fate)>,
    /// Who looks at the clock before and after each poll, if anyone does.
    pub(crate) stopwatch: Option<Box<Stopwatch>>,
    /// The payload of the poll that has just panicked.
    pub(crate) unwound: Option<Payload>,
}

impl Kernel {
    pub(crate) fn new(driver: Box<dyn Driver>, seed: u64) -> Kernel {
        let ring = KernelRing::claim(seed);
        let inbox = Inbox::new(ring.ring().life(), driver.unparker());
        ring.set_door(Arc::clone(&inbox) as Arc<dyn Door>);
        Kernel {
            ring,
            tasks: TaskTable::default(),
            ready: ReadyQueue::default(),
            current: None,
            timers: Timers::new(),
            sources: Sources::default(),
            inbox,
            driver,
            probe: None,
            notes: Vec::new(),
            seed,
            quantum: 1,
            batch: 1,
            dispatched: 0,
            live: 0,
            population: 0,
            root: None,
            root_end: None,
            has_orders: false,
            root_doom: None,
            cause: Cause::Program,
            woken: Vec::new(),
            woken_running: false,
            failures: 0,
            first_failures: Vec::new(),
            bad_ends: BTreeMap::new(),
            probe_panic: None,
            threads: Vec::new(),
            own_state: Vec::new(),
            sequence: Sequence::after(0),
            stalled_seconds: 0,
            stall_limit: None,
            held_hint: 0,
            unchecked_steps: 0,
            io_events: Vec::new(),
            driver_error: None,
            steps: 0,
            further: Vec::new(),
            stopwatch: None,
            unwound: None,
        }
    }
}

/// Whom to resume.
#[derive(Clone, Copy)]
pub(crate) struct Picked {
    pub(crate) task: TaskId,
    /// Whether it has just been taken from the ready queue.
    pub(crate) is_taken: bool,
}

/// What a poll came to. In the order of [`Poll`]'s variants, so that the compiler need not translate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Polled {
    /// The task has ended: it returned, or its panic lies in `Kernel::unwound`.
    Ended,
    Pending,
}

/// What becomes of a task after a step: the most that a call of it allows. In the order of
/// [`Fate`]'s variants, so that the compiler need not translate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u64)]
pub(crate) enum Settling {
    /// Nothing that it asked has been answered.
    Blocked,
    /// The same, of a call that is gone.
    Gone,
    /// A call has been answered: it goes on, while its quantum lasts.
    GoesOn,
    /// A call sends it to the back.
    ToTheBack,
}

impl Fate {
    #[inline(always)]
    pub(crate) fn settling(self) -> Settling {
        match self {
            Fate::Block(_) => Settling::Blocked,
            Fate::Gone => Settling::Gone,
            Fate::Answer(_) => Settling::GoesOn,
            Fate::Yield(_) => Settling::ToTheBack,
        }
    }
}

/// How a task ends.
#[derive(Debug)]
pub(crate) enum End {
    Returned,
    Panicked(Payload),
    Killed,
    Cancelled(Cancelled),
}

/// What a panic carries.
pub(crate) type Payload = Box<dyn Any + Send>;

impl End {
    pub(crate) fn into_parts(self) -> (How, Option<Payload>) {
        match self {
            End::Returned => (How::Returned, None),
            End::Panicked(payload) => (How::Panicked, Some(payload)),
            End::Killed => (How::Killed, None),
            // Why is known to the ring, for as long as the task is.
            End::Cancelled(_) => (How::Cancelled, None),
        }
    }
}

/// What an id names.
pub(crate) enum Found<'a> {
    Live,
    Ended(&'a mut Exit),
    Forgotten,
    Never,
}

/// The moves of a step.
impl Kernel {
    /// Serves what was posted since the last step.
    #[inline(always)]
    pub(crate) fn begin_step(&mut self) -> Step {
        self.steps += 1;
        self.woken.clear();
        if self.ring.has_posts() {
            self.cause = Cause::Program;
            self.serve_posts();
        }
        Step::new(self.latest_step())
    }

    /// The number of the latest step, as steps know theirs.
    #[inline(always)]
    pub(crate) fn latest_step(&self) -> u32 {
        self.steps as u32
    }

    /// The next task to resume: the current one, or else the head of the ready queue. `None` where
    /// the outside is due, or nothing is ready, or nobody is left.
    #[inline(always)]
    pub(crate) fn pick(&mut self) -> Option<Picked> {
        if let Some(task) = self.current {
            return Some(Picked { task, is_taken: false });
        }
        if self.dispatched >= self.batch || self.live == 0 {
            return None;
        }
        let id = self.ready.pop_front(&self.tasks)?;
        self.dispatched += 1;
        self.current = Some(id);
        // It is resumed only while something is left: what the first resume takes is taken off at once.
        self.ring.set_budget(self.quantum - 1);
        if self.probe.is_some() {
            self.tell_taken(id);
        }
        Some(Picked { task: id, is_taken: true })
    }

    #[cold]
    #[inline(never)]
    fn tell_taken(&mut self, task: TaskId) {
        let at = self.driver.now();
        self.tell(&Event::Taken { task, at });
    }

    /// Polls the task once. `resume` calls it.
    #[inline(always)]
    pub(crate) fn poll_task(&mut self, picked: Picked, root: Option<&mut Root<'_>>) -> Polled {
        let id = picked.task;
        let Kernel { tasks, ring, .. } = self;
        let task = tasks.live(id);
        self.cause = Cause::Task(id);
        // Whatever woke it meanwhile, it is resumed for.
        self.woken_running = false;
        task.dispatches += u64::from(picked.is_taken);
        ring.begin(id, &task.waker);
        let mut cx = Context::from_waker(&task.waker);
        let polled = catch_unwind(AssertUnwindSafe(|| match (&mut task.body, root) {
            (Some(body), _) => body.as_mut().poll(&mut cx),
            (None, Some(root)) => root(Ask::Poll(&mut cx)),
            (None, None) => {
                panic!("the scheduler was stepped between two steps of `block_on_with`")
            }
        }));
        ring.finish();
        match polled {
            Ok(Poll::Pending) => Polled::Pending,
            Ok(Poll::Ready(())) => Polled::Ended,
            Err(payload) => {
                self.unwound = Some(payload);
                Polled::Ended
            }
        }
    }

    /// The poll has ended the task, unless a post of the same turn did so before.
    #[inline(never)]
    pub(crate) fn end_resumed(&mut self, id: TaskId) -> Ended {
        let payload = self.unwound.take();
        let how = if payload.is_some() { How::Panicked } else { How::Returned };
        // Posts are served before the exit of the same turn: what killed the root comes first.
        if self.root == Some(id)
            && let Some(doom) = self.root_doom.take()
        {
            self.guard(Some(id), move || drop(payload));
            self.end(id, doom);
            return Ended::Killed;
        }
        // A task that was ended by a post is not the current one any more.
        if self.current != Some(id) {
            self.guard(None, move || drop(payload));
            return Ended::Killed;
        }
        self.end_as(id, how, payload);
        how.into()
    }

    /// Serves one call, the ring's call at hand: the handler decides, and this acts.
    // The call is asked for again where it is seldom needed: kept over the handler, it would be
    // spilled at every step.
    #[inline(always)]
    pub(crate) fn serve(&mut self, task: TaskId, trap: Submitted) -> Fate {
        let fate = syscall_table::serve(self, task, trap);
        match fate {
            Fate::Answer(reply) | Fate::Yield(reply) => self.answer_at_hand(reply, task),
            Fate::Block(on @ (On::Timer(_) | On::Own)) => {
                self.ring.block(self.ring.trap_at_hand().id, on);
            }
            // The others were blocked as they were put in line.
            Fate::Block(_) | Fate::Gone => {}
        }
        if self.probe.is_some() {
            self.tell_trapped(task, fate);
        }
        fate
    }

    /// Serves a yield or a park, if that is all that the task asked: what most turns come to, and nothing
    /// is left to be done but to tell of it.
    #[inline(always)]
    pub(crate) fn serve_foregone(&mut self, caller: TaskId) -> Option<Fate> {
        let fate = match self.ring.serve_foregone()? {
            Foregone::Yield => task::yield_now(),
            Foregone::Park { queue, holder } => wait_queue::parked(self, queue, holder),
        };
        if self.probe.is_some() {
            self.tell_trapped(caller, fate);
            // A probe that panics is dropped, and what it drops may post.
            self.serve_posts();
        }
        Some(fate)
    }

    #[cold]
    #[inline(never)]
    fn tell_trapped(&mut self, task: TaskId, fate: Fate) {
        let Submitted { id: call, request, site } = self.ring.trap_at_hand();
        let stack = self.ring.stack_of_call(call);
        let object = match request {
            Syscall::Park(want) => self.ring.object_of_queue(want.queue()),
            Syscall::ReadWait(target) | Syscall::WriteWait(target) => {
                target.source().ok().and_then(|source| self.ring.object_of_source(source))
            }
            _ => None,
        };
        let label = match request {
            Syscall::Own => self.ring.info(call).and_then(|call| call.label),
            _ => None,
        };
        let deadline = match fate {
            Fate::Block(On::Timer(key)) => self.timers.deadline_of(key),
            _ => None,
        };
        let holder = match fate {
            Fate::Block(On::Queue(queue)) => self.ring.holder_in(queue),
            _ => None,
        };
        let object = object.as_ref();
        self.tell(&Event::Trapped {
            task,
            call,
            request,
            site,
            stack,
            label,
            object,
            holder,
            deadline,
            fate,
        });
        if let Fate::Block(On::Queue(_) | On::Exit(_)) = fate {
            self.tell_lock_cycle(task, call);
        }
    }

    #[inline(always)]
    fn answer_at_hand(&mut self, reply: Reply, caller: TaskId) {
        if let Some(booking) = self.ring.answer_at_hand(reply, caller) {
            self.resume_booked(booking);
        }
    }

    /// The step is over: the task goes on, goes to the back, or is blocked. False if it has ended.
    #[inline(always)]
    pub(crate) fn settle(&mut self, id: TaskId, settling: Settling) -> bool {
        if self.current != Some(id) {
            return false;
        }
        if settling == Settling::GoesOn && self.ring.budget() > 0 {
            self.ring.set_budget(self.ring.budget() - 1);
            return true;
        }
        self.current = None;
        let is_ready = settling >= Settling::GoesOn || self.woken_running;
        if is_ready {
            self.ready.push_back(id);
        } else {
            self.tasks.live(id).state = State::Blocked;
        }
        if self.probe.is_some() {
            self.tell_rested(id, is_ready);
        }
        true
    }

    #[cold]
    #[inline(never)]
    fn tell_rested(&mut self, task: TaskId, is_ready: bool) {
        self.tell(&Event::Rested { task, is_ready });
    }

    /// The step is complete: ends who is to be ended by order, and checks the invariants. Says whether
    /// its task was ended, as cancelled.
    #[inline(always)]
    pub(crate) fn end_step(&mut self, settling: Settling, root: Option<&mut Root<'_>>) -> bool {
        let landed = self.has_orders && self.obey_orders(settling, root);
        if self.probe.is_some() {
            self.tell_notes();
        }
        if cfg!(debug_assertions) {
            self.check_now_and_then();
        }
        landed
    }

    /// Keeps what a step served beside its first call, for `show`.
    #[cold]
    #[inline(never)]
    pub(crate) fn note_further(&mut self, fate: Fate) {
        let trap = self.ring.trap_at_hand();
        let latest = self.latest_step();
        // All that is kept is of one step, so the first tells.
        if self.further.first().is_some_and(|(step, ..)| *step != latest) {
            self.further.clear();
        }
        self.further.push((latest, trap, fate));
    }

    /// Serves what was posted, in order, until nothing is left.
    #[inline(always)]
    pub(crate) fn serve_posts(&mut self) {
        if self.ring.has_posts() {
            self.serve_all_posts();
        }
    }

    #[inline(never)]
    fn serve_all_posts(&mut self) {
        while self.ring.has_posts() {
            self.serve_next_post();
        }
    }

    /// The same after a poll. One grant is what most of them post, if any: it costs no more than itself.
    #[inline(always)]
    pub(crate) fn serve_posts_of_poll(&mut self) {
        if self.ring.has_posts() {
            if let Some(task) = self.ring.next_resume() {
                self.make_ready(task);
            }
            self.serve_posts();
        }
    }

    #[inline(never)]
    fn serve_next_post(&mut self) {
        if let Some(post) = self.ring.next_post() {
            syscall_table::serve_post(self, post);
        }
    }
}

/// Waking.
impl Kernel {
    /// Makes a blocked task ready; notes it of one that runs (one-place).
    #[inline]
    pub(crate) fn make_ready(&mut self, id: TaskId) {
        let Some(task) = self.tasks.blocked(id) else {
            self.woken_running |= self.current == Some(id);
            if self.probe.is_some() {
                self.tell_woken(id);
            }
            return;
        };
        task.state = State::Runnable;
        self.ready.push_back(id);
        self.woken.push(id);
        if self.probe.is_some() {
            self.tell_ready(id);
        }
    }

    /// Tells of a wake-up of a task that is not blocked.
    #[cold]
    #[inline(never)]
    fn tell_woken(&mut self, task: TaskId) {
        let by = self.cause;
        if self.current == Some(task) {
            self.tell(&Event::WokenRunning { task, by });
        } else if self.is_live(task) {
            self.tell(&Event::WokenReady { task, by });
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_ready(&mut self, id: TaskId) {
        self.tell(&Event::Ready { task: id, by: self.cause });
    }

    /// Answers a blocked call and resumes its caller (answered-once).
    pub(crate) fn answer(&mut self, call: CallId, reply: Reply) {
        if let Some(booking) = self.ring.answer(call, reply) {
            self.resume_answered(call, reply, booking);
        }
    }

    /// Resumes whoever waits for a call that has just been answered.
    pub(crate) fn resume_answered(&mut self, call: CallId, reply: Reply, booking: Booking) {
        if self.probe.is_some() {
            let (task, by) = (booking.task, self.cause);
            self.tell(&Event::Answered { task, call, reply, by });
        }
        self.resume_booked(booking);
    }

    #[inline(never)]
    pub(crate) fn resume_booked(&mut self, booking: Booking) {
        match booking.waker {
            Some(waker) => self.guard(booking.task, move || waker.wake()),
            None => {
                if let Some(task) = booking.task {
                    self.make_ready(task);
                }
            }
        }
    }

    /// Forgets the wait of a call whose future is gone.
    pub(crate) fn withdraw(&mut self, call: CallId) {
        let Some(CallState::Withdrawn(on)) = self.ring.state(call) else { return };
        match on {
            On::Timer(key) => self.timers.disarm(key),
            On::Exit(task) => {
                let waiters = &mut self.tasks.record_mut(task).waiters;
                self.ring.unlink(waiters, call);
            }
            On::Readable(place) => self.forget_source(call, place, Direction::Read),
            On::Writable(place) => self.forget_source(call, place, Direction::Write),
            On::Queue(_) | On::Own => {}
        }
        if self.probe.is_some()
            && let Some(CallInfo { task, request, site, .. }) = self.ring.info(call)
        {
            self.tell(&Event::Withdrawn { task, call, request, site });
        }
        self.ring.release(call);
    }

    fn forget_source(&mut self, call: CallId, place: u64, direction: Direction) {
        let Kernel { sources, ring, driver, .. } = self;
        sources.forget(ring, &mut **driver, call, (place, direction));
    }

    /// Answers calls, as the cause that is given.
    pub(crate) fn answer_all_by(&mut self, cause: Cause, answers: Answers) {
        let before = std::mem::replace(&mut self.cause, cause);
        self.answer_all(answers);
        // The wakers of others that were called have posted: that is the same cause.
        self.serve_posts();
        self.cause = before;
    }

    pub(crate) fn answer_all(&mut self, answers: Answers) {
        for (call, reply) in answers {
            self.answer(call, reply);
        }
    }
}
