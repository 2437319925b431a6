//! Wait queues: the waiters of one thing, in order, and the tokens that nobody waits for.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::num::NonZeroU64;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::call::{Reply, Syscall};
use crate::id::CallId;
use crate::note::{Object, ObjectTag, somebody_listens};
use crate::queue_core::{Core, Rule, Sort};
use crate::queue_entry::Line;
use crate::ring::Ring;
use crate::trap::Trap;

/// Names a wait queue within its ring.
///
/// ```
/// use trapline_abi::{On, Syscall, WaitQueue};
/// use trapline_scheduler::{Fate, Scheduler, StepEvent};
///
/// let mut scheduler = Scheduler::new();
/// scheduler.spawn(async { WaitQueue::new(0).park().await }).detach();
/// let StepEvent::Trapped { request, fate, .. } = scheduler.step().event() else { unreachable!() };
/// let Syscall::Park(want) = request else { unreachable!() };
/// // What was asked for and what is waited for are the same queue.
/// assert_eq!(fate, Fate::Block(On::Queue(want.queue())));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueId(u64);

impl QueueId {
    pub(crate) fn new(place: usize) -> QueueId {
        // Less than that, so that a number of tokens has room beside it.
        let place = u32::try_from(place).expect("fewer than 2^32 queues are waited for");
        QueueId(u64::from(place))
    }

    #[inline]
    pub(crate) fn place(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "queue {}", self.0)
    }
}

/// So many tokens of a wait queue, in one word.
///
/// ```
/// use trapline_abi::{Syscall, WaitQueue};
/// use trapline_scheduler::{Scheduler, StepEvent};
///
/// let mut scheduler = Scheduler::new();
/// scheduler.spawn(async { WaitQueue::new(0).park_many(2).await }).detach();
/// let StepEvent::Trapped { request, .. } = scheduler.step().event() else { unreachable!() };
/// let Syscall::Park(want) = request else { unreachable!() };
/// assert_eq!(want.to_string(), format!("{}, 2 tokens", want.queue()));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Want {
    /// The number of tokens, and below it the place of the queue.
    word: u64,
}

impl Want {
    #[inline]
    fn new(tokens: u32, queue: QueueId) -> Want {
        Want { word: u64::from(tokens) << 32 | queue.0 }
    }

    /// Of which queue.
    ///
    /// ```
    /// # use trapline_abi::{Syscall, WaitQueue};
    /// # use trapline_scheduler::{Scheduler, StepEvent};
    /// # let mut scheduler = Scheduler::new();
    /// scheduler.spawn(async { WaitQueue::new(0).park().await }).detach();
    /// scheduler.spawn(async { WaitQueue::new(0).park().await }).detach();
    /// let queues = [scheduler.step(), scheduler.step()].map(|step| match step.event() {
    ///     StepEvent::Trapped { request: Syscall::Park(want), .. } => want.queue(),
    ///     _ => unreachable!("both park"),
    /// });
    /// assert_ne!(queues[0], queues[1]);
    /// ```
    #[must_use]
    #[inline]
    pub fn queue(self) -> QueueId {
        QueueId(self.word & u64::from(u32::MAX))
    }

    /// How many.
    ///
    /// ```
    /// # use trapline_abi::{Syscall, WaitQueue};
    /// # use trapline_scheduler::{Scheduler, StepEvent};
    /// # let mut scheduler = Scheduler::new();
    /// scheduler.spawn(async { WaitQueue::new(0).park_many(2).await }).detach();
    /// let StepEvent::Trapped { request, .. } = scheduler.step().event() else { unreachable!() };
    /// let Syscall::Park(want) = request else { unreachable!() };
    /// assert_eq!(want.tokens(), 2);
    /// ```
    #[must_use]
    #[inline]
    pub fn tokens(self) -> u32 {
        (self.word >> 32) as u32
    }
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tokens() {
            1 => self.queue().fmt(f),
            WaitQueue::ALL => write!(f, "{}, all tokens", self.queue()),
            tokens => write!(f, "{}, {tokens} tokens", self.queue()),
        }
    }
}

/// What a queue is when it has been named or waited for: shared by the object and the ring it is
/// bound to, so that the tokens outlive either.
pub(crate) struct Home {
    pub(crate) core: Core,
    pub(crate) line: Line,
    name: RefCell<Option<Rc<str>>>,
    /// The ring it is bound to, that ring's life, and its place there.
    bound: Cell<Option<(&'static Ring, u64, QueueId)>>,
}

impl Home {
    /// The ring and the place, if that ring still lives.
    #[inline]
    pub(crate) fn binding(&self) -> Option<(&'static Ring, QueueId)> {
        self.bound
            .get()
            .filter(|(ring, life, _)| ring.life() == *life)
            .map(|(ring, _, id)| (ring, id))
    }

    /// Submits a park through the trap register, if it can.
    #[inline(always)]
    fn park_through(
        &self,
        ring: &'static Ring,
        n: u32,
        site: &'static Location<'static>,
        cx: &Context<'_>,
    ) -> Option<CallId> {
        let (bound, queue) = self.binding()?;
        if !std::ptr::eq(bound, ring) || !ring.polls_under(cx) {
            return None;
        }
        let want = Want::new(n, queue);
        let id = ring.calls.submit_park(self, want, site, ring.life())?;
        self.line.count_in();
        Some(id)
    }

    /// Keeps tokens that nobody waits for, or forgets them.
    #[inline]
    pub(crate) fn keep(&self, tokens: usize) {
        self.core.keep(Some(self), tokens);
    }

    /// Gives `n` tokens to those who wait, or keeps them.
    #[inline]
    pub(crate) fn take_in(&self, n: usize) {
        if self.line.waiting() == 0 {
            self.keep(n);
        } else if n == 1 {
            self.hand_on_one();
        } else {
            self.hand_on(n);
        }
    }

    #[inline(never)]
    fn hand_on_one(&self) {
        match self.binding() {
            Some((ring, _)) if ring.give_one(self) => {}
            _ => self.hand_on(1),
        }
    }

    #[inline(never)]
    fn hand_on(&self, n: usize) {
        match self.binding() {
            Some((ring, _)) => ring.give(self, n),
            None => self.keep(n),
        }
    }

    /// What those who wait here wait for.
    pub(crate) fn object(&self, ring: &Ring) -> Object {
        self.core.object(ring, Some(self))
    }

    pub(crate) fn unbind(&self) {
        self.bound.set(None);
    }

    pub(crate) fn name(&self) -> Option<Rc<str>> {
        self.name.borrow().clone()
    }
}

/// The pair that locks and channels are built on: tasks *park* until there is a token; a *wake*
/// hands one to the first of them, or keeps it where nobody waits.
///
/// A wake before the park is not lost. Waiters are served in the order in which they came, by
/// hand-over: a token that was given to a waiter cannot be taken by a late-comer. A waiter that is
/// dropped, timed out or killed with a token it has not taken passes it on. So the number of
/// tokens is the whole state of a semaphore, and 0 or 1 that of a lock.
///
/// A waiter may want several tokens. They gather for the first until it has what it wants; nobody
/// passes it meanwhile, neither one who wants fewer nor a `try_take`.
///
/// It may be made anywhere, also in `const` context, and binds to a scheduler when it is first
/// waited for. While tasks of one scheduler wait, a `park` in another one panics.
///
/// ```
/// # use trapline_abi as trapline;
/// use trapline::WaitQueue;
///
/// let queue = WaitQueue::new(1);
/// assert!(queue.try_take());
/// assert!(!queue.try_take());
/// queue.wake();
/// assert_eq!(queue.tokens(), 1);
/// ```
///
/// # Kin
/// `futex(2)`, with the count kept in the queue.
pub struct WaitQueue {
    /// What it is, until it has been named or waited for.
    unbound: Core,
    home: OnceCell<Rc<Home>>,
}

impl WaitQueue {
    /// So many tokens a lock has that many may share, or one have alone: who wants that many is said
    /// to want all.
    pub const ALL: u32 = 1 << 29;

    /// A queue with so many tokens, and nobody waiting.
    ///
    /// ```
    /// let queue = trapline_abi::WaitQueue::new(2);
    /// assert_eq!((queue.tokens(), queue.waiting()), (2, 0));
    /// ```
    #[must_use]
    #[track_caller]
    pub const fn new(tokens: usize) -> WaitQueue {
        WaitQueue::sorted(Sort::new(None, None, Rule::Keeps), tokens)
    }

    /// The same with a name, for the task table and reports.
    ///
    /// ```
    /// use trapline_abi::WaitQueue;
    ///
    /// let queue = WaitQueue::labelled("a free seat", 0);
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let deadlock = scheduler.block_on(queue.park()).unwrap_err();
    /// assert!(deadlock.to_string().contains("a free seat"));
    /// ```
    #[must_use]
    #[track_caller]
    pub const fn labelled(label: &'static str, tokens: usize) -> WaitQueue {
        WaitQueue::sorted(Sort::new(Some(label), None, Rule::Keeps), tokens)
    }

    /// The queue of a thing of some `kind`, with so many tokens: the task table says that a task
    /// "waits for" the kind, and the name, if the thing is given one.
    ///
    /// ```
    /// use trapline_abi::WaitQueue;
    ///
    /// let seats = WaitQueue::of("seat", 0);
    /// seats.set_name("by the window");
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let deadlock = scheduler.block_on(seats.park()).unwrap_err();
    /// assert!(deadlock.to_string().contains("waits for seat `by the window`"));
    /// ```
    #[must_use]
    #[track_caller]
    pub const fn of(kind: &'static str, tokens: usize) -> WaitQueue {
        WaitQueue::sorted(Sort::new(None, Some(kind), Rule::Keeps), tokens)
    }

    /// The same where whoever has a token holds the thing: the task table says who does.
    ///
    /// Those who park are noted when they are given their tokens; one who takes them without says so
    /// by [`note_held`](WaitQueue::note_held), and either by
    /// [`note_released`](WaitQueue::note_released) before giving them back.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use trapline_abi::WaitQueue;
    ///
    /// let vault = Rc::new(WaitQueue::lock("vault", 1));
    /// let key = Rc::clone(&vault);
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let owner = async move {
    ///     key.park().await;
    ///     std::future::pending::<()>().await
    /// };
    /// scheduler.spawn(owner).detach();
    /// scheduler.spawn(async move { vault.park().await }).detach();
    /// let deadlock = scheduler.run().unwrap_err();
    /// assert!(deadlock.to_string().contains("held by task 1"));
    /// ```
    #[must_use]
    #[track_caller]
    pub const fn lock(kind: &'static str, tokens: usize) -> WaitQueue {
        // Of what one holds alone, the holder says all; and nobody counts in so many as `ALL`.
        let is_shared = tokens != 1 && tokens < WaitQueue::ALL as usize;
        WaitQueue::sorted(Sort::new(None, Some(kind), Rule::Held).telling_free(is_shared), tokens)
    }

    /// A queue that keeps no tokens: a `wake` with nobody waiting is nothing, and a waiter that is
    /// dropped with its token passes it to the next, or to nobody.
    ///
    /// ```
    /// let queue = trapline_abi::WaitQueue::signal("bell");
    /// queue.wake();
    /// // Nobody waited, and nothing is kept.
    /// assert!(!queue.try_take());
    /// ```
    #[must_use]
    #[track_caller]
    pub const fn signal(kind: &'static str) -> WaitQueue {
        WaitQueue::sorted(Sort::new(None, Some(kind), Rule::Forgets).telling_free(false), 0)
    }

    /// The queue of a part of some thing, which tells of its tokens itself, in better words: of this it is
    /// only told who waits. `label` says what for.
    #[doc(hidden)]
    #[must_use]
    #[track_caller]
    pub const fn part(label: &'static str, tokens: usize) -> WaitQueue {
        WaitQueue::sorted(Sort::new(Some(label), None, Rule::Keeps).telling_free(false), tokens)
    }

    #[track_caller]
    const fn sorted(sort: Sort, tokens: usize) -> WaitQueue {
        WaitQueue { unbound: Core::new(tokens, sort, ObjectTag::new()), home: OnceCell::new() }
    }

    #[inline]
    fn core(&self) -> &Core {
        self.home.get().map_or(&self.unbound, |home| &home.core)
    }

    /// Where what is shared has been made, that too.
    #[inline]
    fn core_and_home(&self) -> (&Core, Option<&Home>) {
        match self.home.get() {
            Some(home) => (&home.core, Some(home)),
            None => (&self.unbound, None),
        }
    }

    /// What object and ring share: from now on there is no other truth.
    fn home(&self) -> &Rc<Home> {
        self.home.get_or_init(|| {
            let core = self.unbound.handed_on();
            let (line, name, bound) = (Line::default(), RefCell::new(None), Cell::new(None));
            Rc::new(Home { core, line, name, bound })
        })
    }

    /// Names the thing, for the task table and reports.
    ///
    /// ```
    /// let queue = trapline_abi::WaitQueue::of("bell", 0);
    /// queue.set_name("front door");
    /// assert_eq!(queue.name().as_deref(), Some("front door"));
    /// ```
    ///
    /// # Cost
    /// One allocation, beside the name's.
    pub fn set_name(&self, name: impl Into<Rc<str>>) {
        self.home().name.replace(Some(name.into()));
    }

    /// The same, but that it was made at `site`.
    #[doc(hidden)]
    #[must_use]
    pub fn made_at(self, site: &'static Location<'static>) -> WaitQueue {
        self.core().begin_anew(Some(site));
        self
    }

    /// Tells what a field of the thing holds now, where somebody listens.
    #[doc(hidden)]
    #[inline(always)]
    pub fn tell(&self, field: &'static str, value: impl FnOnce() -> u64) {
        if somebody_listens() {
            let (core, home) = self.core_and_home();
            core.tell_field(home, field, value());
        }
    }

    /// From now on it is another thing, made at `site`: for queues that are used again.
    #[doc(hidden)]
    pub fn begin_anew(&self, site: &'static Location<'static>) {
        let (core, home) = self.core_and_home();
        if somebody_listens() {
            core.tell_gone(home);
        }
        core.begin_anew(Some(site));
    }

    /// The name it was given.
    ///
    /// ```
    /// let queue = trapline_abi::WaitQueue::of("bell", 0);
    /// assert_eq!(queue.name(), None);
    /// queue.set_name("front door");
    /// assert_eq!(queue.name().as_deref(), Some("front door"));
    /// ```
    #[must_use]
    pub fn name(&self) -> Option<Rc<str>> {
        self.home.get()?.name()
    }

    /// Sets how many tokens are kept. Only while nobody waits.
    pub(crate) fn set_tokens(&self, tokens: usize) {
        self.core().reset_free(tokens);
    }

    /// The same, but that it is nobody's: no line of a program made it.
    pub(crate) fn made_nowhere(self) -> WaitQueue {
        self.core().begin_anew(None);
        self
    }

    /// How many tokens are free. Not zero means that nobody waits.
    ///
    /// ```
    /// let queue = trapline_abi::WaitQueue::new(1);
    /// queue.wake();
    /// assert_eq!(queue.tokens(), 2);
    /// ```
    #[must_use]
    #[inline]
    pub fn tokens(&self) -> usize {
        self.core().free()
    }

    /// How many calls wait.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use trapline_abi::WaitQueue;
    ///
    /// let queue = Rc::new(WaitQueue::new(0));
    /// let there = Rc::clone(&queue);
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let waiter = scheduler.spawn(async move { there.park().await });
    /// scheduler.run().unwrap_err(); // nobody wakes it
    /// assert_eq!(queue.waiting(), 1);
    /// queue.wake();
    /// assert_eq!(queue.waiting(), 0);
    /// ```
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.home
            .get()
            .filter(|home| home.binding().is_some())
            .map_or(0, |home| home.line.waiting())
    }

    /// Whether a call waits, or has been given what it wanted and has not taken it.
    #[doc(hidden)]
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        self.home.get().is_some_and(|home| home.binding().is_some() && !home.line.is_idle())
    }

    /// Takes a token, if one is free.
    ///
    /// ```
    /// let queue = trapline_abi::WaitQueue::new(1);
    /// assert!(queue.try_take());
    /// assert!(!queue.try_take());
    /// ```
    ///
    /// # Cost
    /// No trap, no allocation.
    #[must_use]
    #[inline]
    pub fn try_take(&self) -> bool {
        let core = self.core();
        let Some(left) = core.free().checked_sub(1) else { return false };
        core.reset_free(left);
        if core.tells_free_now() {
            self.tell_free();
        }
        true
    }

    // Where nobody listens, whether it has a home need not be known.
    #[cold]
    #[inline(never)]
    fn tell_free(&self) {
        let (core, home) = self.core_and_home();
        core.tell_free_of(home);
    }

    /// Takes `n` tokens, if so many are free and nobody waits.
    ///
    /// ```
    /// let queue = trapline_abi::WaitQueue::new(3);
    /// assert!(!queue.try_take_many(4));
    /// assert!(queue.try_take_many(3));
    /// ```
    ///
    /// # Cost
    /// No trap, no allocation.
    #[must_use]
    #[inline]
    pub fn try_take_many(&self, n: u32) -> bool {
        let (core, home) = self.core_and_home();
        // While somebody waits none is free; of nothing that says nothing.
        let Some(left) = core.free().checked_sub(n as usize) else { return false };
        if n == 0 && self.waiting() > 0 {
            return false;
        }
        core.set_free(home, left);
        true
    }

    /// Waits for a token, and takes it.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use trapline_abi::WaitQueue;
    ///
    /// let queue = Rc::new(WaitQueue::new(0));
    /// let there = Rc::clone(&queue);
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let waiter = scheduler.spawn(async move { there.park().await });
    /// queue.wake();
    /// scheduler.block_on(waiter)?.unwrap();
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    ///
    /// # Panics
    /// If it is polled outside a task, or while tasks of another scheduler wait on the queue.
    ///
    /// # Cancel safety
    /// Safe: dropping it gives up the place in the queue; a token it was given and has not taken
    /// goes to the next waiter, or back to the queue.
    ///
    /// # Cost
    /// One trap, O(1). The first wait on a queue allocates.
    ///
    /// # Kin
    /// `FUTEX_WAIT`; `sem_wait(3)`.
    #[track_caller]
    pub fn park(&self) -> Park<'_> {
        self.park_many(1)
    }

    /// Waits for `n` tokens, and takes them together.
    ///
    /// ```
    /// let queue = trapline_abi::WaitQueue::new(3);
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// scheduler.block_on(queue.park_many(2))?;
    /// assert_eq!(queue.tokens(), 1);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    ///
    /// # Panics
    /// As [`park`](WaitQueue::park).
    ///
    /// # Cancel safety
    /// Safe: dropping it gives up the place in the queue, and what has gathered is the next waiter's;
    /// tokens it was given and has not taken go on as a [`wake_many`](WaitQueue::wake_many) does.
    ///
    /// # Cost
    /// As [`park`](WaitQueue::park).
    ///
    /// # Kin
    /// `semop(2)` with a number below -1.
    #[track_caller]
    pub fn park_many(&self, n: u32) -> Park<'_> {
        Park { queue: self, parking: Parking::new(n, Location::caller()) }
    }

    /// The same for a caller at `site`: for what is built on the queue, and parks within a poll.
    #[doc(hidden)]
    pub fn park_at(&self, site: &'static Location<'static>) -> Park<'_> {
        Park { queue: self, parking: Parking::new(1, site) }
    }

    /// Gives a token to the first waiter, or keeps it.
    ///
    /// Acts at once, from anywhere on the scheduler's thread; the waiter runs when its turn comes.
    ///
    /// ```
    /// let queue = trapline_abi::WaitQueue::new(0);
    /// queue.wake();
    /// // It came before anybody waited, and is not lost.
    /// assert!(queue.try_take());
    /// ```
    ///
    /// # Cost
    /// No trap, O(1).
    ///
    /// # Kin
    /// `FUTEX_WAKE`; `sem_post(3)`.
    #[inline]
    pub fn wake(&self) {
        self.wake_many(1);
    }

    /// Gives `n` tokens to those who wait, each as many as it wants, and keeps what is left.
    ///
    /// ```
    /// let queue = trapline_abi::WaitQueue::new(0);
    /// queue.wake_many(3);
    /// assert_eq!(queue.tokens(), 3);
    /// ```
    ///
    /// # Cost
    /// No trap; O(waiters that have what they want).
    ///
    /// # Kin
    /// `semop(2)`.
    #[inline]
    pub fn wake_many(&self, n: usize) {
        match self.home.get() {
            Some(home) => home.take_in(n),
            None => self.unbound.keep(None, n),
        }
    }

    /// Wakes all who wait now, in order, without a token: one that is dropped before it goes on passes
    /// nothing on. Says how many there were.
    ///
    /// ```
    /// let queue = trapline_abi::WaitQueue::new(0);
    /// assert_eq!((queue.wake_all(), queue.tokens()), (0, 0));
    /// ```
    ///
    /// # Cost
    /// No trap; O(waiters).
    ///
    /// # Kin
    /// `FUTEX_WAKE` with `INT_MAX`.
    pub fn wake_all(&self) -> usize {
        let Some(home) = self.home.get() else { return 0 };
        home.binding().map_or(0, |(ring, _)| ring.answer_all(home))
    }

    /// Notes that whoever runs now holds the thing, since `since`: for the task table.
    ///
    /// ```
    /// use std::panic::Location;
    /// use std::rc::Rc;
    /// use trapline_abi::WaitQueue;
    ///
    /// let vault = Rc::new(WaitQueue::lock("vault", 1));
    /// let key = Rc::clone(&vault);
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let owner = async move {
    ///     // Taken without a wait, so the queue is told.
    ///     assert!(key.try_take());
    ///     key.note_held(Location::caller());
    ///     std::future::pending::<()>().await
    /// };
    /// scheduler.spawn(owner).detach();
    /// scheduler.spawn(async move { vault.park().await }).detach();
    /// let deadlock = scheduler.run().unwrap_err();
    /// assert!(deadlock.to_string().contains("held by task 1"));
    /// ```
    ///
    /// # Cost
    /// A few stores.
    #[inline]
    pub fn note_held(&self, since: &'static Location<'static>) {
        let (core, home) = self.core_and_home();
        core.enter(home, since);
    }

    /// Notes that one who held the thing since `since` does not any more. The tokens are given
    /// back apart from this, and after it.
    ///
    /// ```
    /// use std::panic::Location;
    /// use trapline_abi::WaitQueue;
    ///
    /// let vault = WaitQueue::lock("vault", 1);
    /// let since = Location::caller();
    /// assert!(vault.try_take());
    /// vault.note_held(since);
    /// // … what is done with it …
    /// vault.note_released(since);
    /// vault.wake();
    /// assert_eq!(vault.tokens(), 1);
    /// ```
    ///
    /// # Cost
    /// A few instructions.
    #[inline]
    pub fn note_released(&self, since: &'static Location<'static>) {
        let (core, home) = self.core_and_home();
        core.leave(home, since);
    }

    /// [`try_take_many`](WaitQueue::try_take_many), and [`note_held`](WaitQueue::note_held) where it took: with one look
    /// whether somebody listens.
    #[doc(hidden)]
    #[must_use]
    #[inline]
    pub fn try_hold(&self, n: u32, since: &'static Location<'static>) -> bool {
        // To have nothing, one stands in line like the others.
        if somebody_listens() || n == 0 {
            return self.try_hold_slowly(n, since);
        }
        self.core().hold_unheard(n, since)
    }

    #[cold]
    #[inline(never)]
    fn try_hold_slowly(&self, n: u32, since: &'static Location<'static>) -> bool {
        let holds = self.try_take_many(n);
        if holds {
            self.note_held(since);
        }
        holds
    }

    /// [`note_released`](WaitQueue::note_released), and [`wake_many`](WaitQueue::wake_many): with one look
    /// whether somebody listens.
    #[doc(hidden)]
    #[inline]
    pub fn release(&self, since: &'static Location<'static>, n: usize) {
        if somebody_listens() {
            return self.release_heard(since, n);
        }
        let (core, home) = self.core_and_home();
        core.leave_unheard(since);
        match home {
            Some(home) if home.line.waiting() > 0 => home.take_in(n),
            _ => core.keep_unheard(n),
        }
    }

    #[cold]
    #[inline(never)]
    fn release_heard(&self, since: &'static Location<'static>, n: usize) {
        self.note_released(since);
        self.wake_many(n);
    }

    /// Binds the queue to `ring`, if it is not.
    fn bind(&self, ring: &'static Ring) -> (&Home, QueueId) {
        let home = self.home();
        if let Some((bound, id)) = home.binding() {
            if std::ptr::eq(bound, ring) {
                return (home, id);
            }
            assert!(
                home.line.is_idle(),
                "a wait queue was used under another scheduler while tasks of the first wait on it"
            );
            bound.remove_queue(id);
        }
        let place = ring.calls.queues.borrow_mut().insert(Rc::clone(home));
        let id = QueueId::new(place);
        home.bound.set(Some((ring, ring.life(), id)));
        home.core.tell_anew(home);
        (home, id)
    }
}

impl Default for WaitQueue {
    #[track_caller]
    fn default() -> WaitQueue {
        WaitQueue::new(0)
    }
}

impl fmt::Debug for WaitQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = self.core();
        f.debug_struct("WaitQueue")
            .field("label", &core.label().or(core.kind()))
            .field("name", &self.name())
            .field("tokens", &core.free())
            .field("waiting", &self.waiting())
            .finish()
    }
}

impl Drop for WaitQueue {
    fn drop(&mut self) {
        if somebody_listens() {
            let (core, home) = self.core_and_home();
            core.tell_gone(home);
        }
        let Some(home) = self.home.take() else { return };
        let Some((ring, id)) = home.binding() else { return };
        drop(home);
        ring.queue_maybe_idle(id);
    }
}

/// The future of [`WaitQueue::park`] and [`WaitQueue::park_many`].
///
/// ```
/// use trapline_abi::WaitQueue;
///
/// let queue = WaitQueue::new(1);
/// let place = queue.park();
/// assert_eq!(queue.tokens(), 1, "nothing is asked for until it is awaited");
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// scheduler.block_on(place)?;
/// assert_eq!(queue.tokens(), 0);
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
#[derive(Debug)]
#[must_use = "a system call does nothing until it is awaited"]
pub struct Park<'a> {
    queue: &'a WaitQueue,
    parking: Parking,
}

impl Future for Park<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let queue = self.queue;
        self.parking.poll(queue, cx).map(|_| ())
    }
}

/// What woke one who was parked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Woken {
    /// It was given the tokens it wanted.
    Granted,
    /// A [`wake_all`](WaitQueue::wake_all): it has no token.
    WithAll,
}

/// A [`Park`] that does not borrow its queue, for futures that own what they wait for.
#[derive(Debug)]
pub struct Parking {
    phase: Phase,
}

// The parts of the call's id lie singly, so that the tag has room beside the place.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// So many tokens are wanted.
    Unborn(u32, &'static Location<'static>),
    InFlight(&'static Ring, NonZeroU64, u32),
    Taken,
}

const _: () = assert!(size_of::<Parking>() == 24);

impl Parking {
    /// A wait for `n` tokens, made at `site`.
    #[inline]
    pub const fn new(n: u32, site: &'static Location<'static>) -> Parking {
        Parking { phase: Phase::Unborn(n, site) }
    }

    /// One that waits for nothing, until it [parks](Parking::park) or [rests](Parking::rest): for operations
    /// that do neither where they need not.
    ///
    /// ```
    /// use std::panic::Location;
    /// use std::future::poll_fn;
    /// use trapline_abi::{Parking, Ring, WaitQueue, Woken};
    ///
    /// let queue = WaitQueue::new(0);
    /// let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let mut wait = Parking::idle();
    /// let mut is_parked = false;
    /// let woken = scheduler.block_on(poll_fn(|cx| {
    ///     if !std::mem::replace(&mut is_parked, true) {
    ///         wait.park(Ring::current(), &queue, 1, Location::caller(), cx);
    ///         queue.wake();
    ///     }
    ///     wait.poll(&queue, cx)
    /// }))?;
    /// assert_eq!(woken, Woken::Granted);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    #[inline]
    pub const fn idle() -> Parking {
        Parking { phase: Phase::Taken }
    }

    /// Where it was made, while it has not been polled.
    #[must_use]
    pub const fn unborn_site(&self) -> Option<&'static Location<'static>> {
        match self.phase {
            Phase::Unborn(_, site) => Some(site),
            Phase::InFlight(..) | Phase::Taken => None,
        }
    }

    /// Whether it has yet to take its place.
    #[must_use]
    #[inline(always)]
    pub const fn is_unborn(&self) -> bool {
        matches!(self.phase, Phase::Unborn(..))
    }

    /// Polls for the tokens; the first time it takes its place in `queue`, which is the same each time.
    ///
    /// # Panics
    /// As [`WaitQueue::park`].
    #[inline(always)]
    pub fn poll(&mut self, queue: &WaitQueue, cx: &mut Context<'_>) -> Poll<Woken> {
        self.poll_in(Ring::current(), queue, cx)
    }

    /// The same for one who knows what the current ring is.
    #[inline(always)]
    pub fn poll_in(
        &mut self,
        current: Option<&'static Ring>,
        queue: &WaitQueue,
        cx: &mut Context<'_>,
    ) -> Poll<Woken> {
        match self.phase {
            Phase::Unborn(n, site) => {
                self.park(current, queue, n, site, cx);
                Poll::Pending
            }
            Phase::InFlight(ring, serial, place) => {
                let polled = ring.poll_call(CallId { serial, place }, cx);
                let Poll::Ready(reply) = polled else { return Poll::Pending };
                self.phase = Phase::Taken;
                if ring.posts.any() {
                    ring.note_taken(CallId { serial, place }, reply);
                    ring.posts.forget_resume(place);
                }
                Poll::Ready(Parking::woken(reply, queue))
            }
            Phase::Taken => Trap::polled_after_ready(),
        }
    }

    #[inline(always)]
    fn woken(reply: Reply, queue: &WaitQueue) -> Woken {
        if reply != Reply::Token {
            return Woken::WithAll;
        }
        // The queue is not to be removed: whoever polls has it.
        if let Some(home) = queue.home.get() {
            home.line.note_taken();
        }
        Woken::Granted
    }

    /// Takes a place in `queue`, as the first poll of a new one does. What it waited for before must have come.
    ///
    /// # Panics
    /// As [`WaitQueue::park`].
    // Through the trap register, where that will do. Written where it stands: moved there in one piece so soon
    // after it was written in three, it would be waited for.
    #[inline(always)]
    pub fn park(
        &mut self,
        current: Option<&'static Ring>,
        queue: &WaitQueue,
        n: u32,
        site: &'static Location<'static>,
        cx: &Context<'_>,
    ) {
        // With free tokens it may not have to wait.
        if let (Some(ring), Some(home)) = (current, queue.home.get())
            && home.core.free() == 0
            && n > 0
            && let Some(CallId { serial, place }) = home.park_through(ring, n, site, cx)
        {
            self.phase = Phase::InFlight(ring, serial, place);
            return;
        }
        self.submit_slowly(queue, n, site, cx);
    }

    /// Gives way to the others once, in the place of a wait: [polled](Parking::poll), it is woken when they have had
    /// their turn. What it waited for before must have come.
    ///
    /// # Panics
    /// As [`WaitQueue::park`].
    #[cold]
    #[inline(never)]
    pub fn rest(&mut self, site: &'static Location<'static>, cx: &Context<'_>) {
        let (ring, call) = Ring::submit(Syscall::Yield, site, cx);
        self.phase = Phase::InFlight(ring, call.serial, call.place);
    }

    #[cold]
    #[inline(never)]
    fn submit_slowly(
        &mut self,
        queue: &WaitQueue,
        n: u32,
        site: &'static Location<'static>,
        cx: &Context<'_>,
    ) {
        let (home, id) = queue.bind(Ring::of_running_task());
        let want = Want::new(n, id);
        let (ring, call) = Ring::submit(Syscall::Park(want), site, cx);
        self.phase = Phase::InFlight(ring, call.serial, call.place);
        ring.enqueue(home, want, call);
    }
}

impl Parking {
    #[cold]
    #[inline(never)]
    fn give_up(&self) {
        if let Phase::InFlight(ring, serial, place) = self.phase {
            ring.withdraw(CallId { serial, place });
        }
    }
}

impl Drop for Parking {
    #[inline(always)]
    fn drop(&mut self) {
        if let Phase::InFlight(..) = self.phase {
            self.give_up();
        }
    }
}
