//! What a group, its children and those who wait for them share.
//!
//! A child is in the table from the moment it is spawned until its result has been told. It has
//! *ended* when its destructors have run; it is *settled* when it has also left a result, or a handle
//! to ask how it ended. Foreign code never runs while the state is borrowed.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::Location;
use std::ptr;
use std::rc::Rc;

use slab::Slab;
use trapline_abi::{CancelReason, Cancelled, JoinHandle, Post, Ring, TaskId, WaitQueue};

/// Names a child within its group: its place, and a number that no other child has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Key {
    place: usize,
    pub(super) serial: u64,
}

struct Child<T, E> {
    serial: u64,
    task: Option<TaskId>,
    handle: Option<JoinHandle<()>>,
    result: Option<Result<T, E>>,
    daemon: bool,
    ended: bool,
    /// It ended after the group had been told to: that it was cancelled or killed is no failure.
    swept: bool,
}

/// A child that has ended and left the table.
pub(super) struct Ended<T, E> {
    pub(super) serial: u64,
    pub(super) task: Option<TaskId>,
    pub(super) result: Option<Result<T, E>>,
    /// How to ask for the end of one that left no result.
    pub(super) handle: Option<JoinHandle<()>>,
    pub(super) swept: bool,
}

/// What a group makes of its children's ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Policy {
    /// The first failure cancels the others.
    pub(super) fails_fast: bool,
    /// Values are kept until somebody asks for them.
    pub(super) keeps: bool,
    /// The first failure, and those after it, are for the end of the group.
    pub(super) reserves: bool,
}

struct State<T, E> {
    children: Slab<Child<T, E>>,
    last_serial: u64,
    /// Those that have ended and have not been told of, in the order of their ends.
    ended: VecDeque<usize>,
    /// Those of them that are not for whoever asks for the next one.
    reserved: VecDeque<usize>,
    /// The ring they are born in, and that ring's life.
    home: Option<(&'static Ring, u64)>,
    /// Children that have not settled, and daemons among the children that have not.
    live: usize,
    daemons: usize,
    policy: Policy,
    cancelled: Option<Cancelled>,
    /// The daemons are being ended, since the others have.
    retiring: bool,
    closed: bool,
}

/// How a child failed.
enum Failure {
    Error,
    Panic(Rc<str>),
    Ended,
}

/// The shared part of a group.
pub(crate) struct Core<T, E> {
    state: RefCell<State<T, E>>,
    /// A token for each result that nobody has asked for.
    pub(super) results: WaitQueue,
    /// Woken when the last child, or the last daemon, has ended, and when the group is cancelled.
    pub(super) changes: WaitQueue,
    site: &'static Location<'static>,
}

/// What is to be done once the state is no longer borrowed.
#[must_use]
struct Settled<T, E> {
    /// Nobody will ask for it.
    unwanted: Option<Child<T, E>>,
    /// Whoever asks for the next one may have it.
    open: bool,
    /// It was the last child, or the last daemon.
    drained: bool,
}

impl<T, E> Core<T, E> {
    pub(super) fn new(site: &'static Location<'static>) -> Rc<Core<T, E>> {
        Rc::new(Core {
            state: RefCell::new(State {
                children: Slab::new(),
                last_serial: 0,
                ended: VecDeque::new(),
                reserved: VecDeque::new(),
                home: None,
                live: 0,
                daemons: 0,
                policy: Policy { fails_fast: true, keeps: true, reserves: false },
                cancelled: None,
                retiring: false,
                closed: false,
            }),
            results: WaitQueue::labelled("a child's result", 0),
            changes: WaitQueue::labelled("the end of a group's children", 0),
            site,
        })
    }

    pub(super) fn site(&self) -> &'static Location<'static> {
        self.site
    }

    pub(super) fn set_policy(&self, change: impl FnOnce(&mut Policy)) {
        change(&mut self.state.borrow_mut().policy);
    }

    /// Children that have not ended, daemons left out.
    pub(super) fn live(&self) -> usize {
        self.state.borrow().live
    }

    /// Daemons that have not ended.
    pub(super) fn daemons(&self) -> usize {
        self.state.borrow().daemons
    }

    /// Results that nobody has been told.
    pub(super) fn untold(&self) -> usize {
        self.state.borrow().ended.len()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.borrow().closed
    }

    pub(super) fn cancelled(&self) -> Option<Cancelled> {
        self.state.borrow().cancelled.clone()
    }

    /// A child is about to be spawned.
    ///
    /// # Panics
    /// If the group has ended, or has children in another scheduler.
    #[inline]
    pub(super) fn admit(&self, daemon: bool, ring: &'static Ring) -> Key {
        let state = &mut *self.state.borrow_mut();
        assert!(!state.closed, "a task was spawned into a group that has ended");
        state.settle_in(ring);
        state.last_serial += 1;
        let serial = state.last_serial;
        let place = state.children.insert(Child {
            serial,
            task: None,
            handle: None,
            result: None,
            daemon,
            ended: false,
            swept: false,
        });
        if daemon {
            state.daemons += 1;
        } else {
            state.live += 1;
        }
        Key { place, serial }
    }

    /// The child has been born; its handle is made here.
    #[inline]
    pub(super) fn born(&self, key: Key, task: TaskId, ring: &'static Ring) {
        let handle = JoinHandle::new(task, ring);
        let mut state = self.state.borrow_mut();
        let (closed, retiring) = (state.closed, state.retiring);
        let cancelled = state.cancelled.is_some();
        let Some(child) = state.child(key).filter(|child| child.result.is_none()) else {
            // It has left its result already, so its handle is no longer needed.
            drop(state);
            drop(handle);
            return;
        };
        child.task = Some(task);
        child.handle = Some(handle);
        let is_late = child.daemon && retiring;
        if child.ended {
            let settled = state.settle(key.place);
            drop(state);
            return self.tell(settled);
        }
        if closed || is_late {
            ring.post(Post::Kill(task));
        } else if cancelled && let Some(why) = &state.cancelled {
            ring.post(Post::Cancel(task, why.clone()));
        }
    }

    /// The child will never be born.
    pub(super) fn unborn(&self, key: Key) {
        let mut state = self.state.borrow_mut();
        if state.child(key).is_none_or(|child| child.task.is_some()) {
            return;
        }
        let child = state.children.remove(key.place);
        let drained = state.count_out(child.daemon);
        drop(state);
        drop(child);
        if drained {
            self.tell_drained();
        }
    }

    /// The child has ended, and its destructors have run. It left a result; or else it may have
    /// panicked, with this text.
    #[inline]
    pub(super) fn ended(&self, key: Key, result: Option<Result<T, E>>, panic: Option<Rc<str>>) {
        let mut state = self.state.borrow_mut();
        let told_to = state.closed || state.cancelled.is_some();
        let (retiring, fails_fast) = (state.retiring, state.policy.fails_fast);
        let Some(child) = state.child(key).filter(|child| !child.ended) else { return drop(state) };
        let failure = match &result {
            Some(Ok(_)) => None,
            Some(Err(_)) => Some(Failure::Error),
            None => Some(panic.map_or(Failure::Ended, Failure::Panic)),
        };
        child.ended = true;
        child.swept = told_to || child.daemon && retiring;
        let mut handle = None;
        if result.is_some() {
            // Let go in its own turn, so that the kernel keeps nothing when it ends.
            handle = child.handle.take();
            child.task = child.task.or_else(|| Ring::current().and_then(Ring::running));
            child.result = result;
        }
        let told = child.result.is_some() || child.handle.is_some();
        let (task, swept) = (child.task, child.swept);
        let settled = told.then(|| state.settle(key.place));
        drop(state);
        drop(handle);
        if let Some(failure) = failure
            && fails_fast
            && !swept
        {
            self.fail(task, failure);
        }
        if let Some(settled) = settled {
            self.tell(settled);
        }
    }

    #[cold]
    fn fail(&self, task: Option<TaskId>, failure: Failure) {
        let text = match failure {
            Failure::Error => "it returned an error".to_owned(),
            Failure::Panic(text) => format!("it panicked: {text}"),
            Failure::Ended => "it was ended".to_owned(),
        };
        let reason = match task {
            Some(task) => CancelReason::failure(task, text),
            None => CancelReason::new(format!("a child failed: {text}")),
        };
        self.cancel(Cancelled::new(reason, self.site));
    }

    /// Asks all children to end, once.
    pub(super) fn cancel(&self, why: Cancelled) {
        let mut state = self.state.borrow_mut();
        if state.cancelled.is_some() || state.closed {
            return;
        }
        state.cancelled = Some(why.clone());
        let children = state.running(|_| true);
        let home = state.home();
        drop(state);
        if let Some(ring) = home {
            children.iter().for_each(|task| ring.post(Post::Cancel(*task, why.clone())));
        }
        self.changes.wake_all();
    }

    /// Ends the daemons: all others have ended.
    pub(super) fn retire(&self) {
        let was_retiring = std::mem::replace(&mut self.state.borrow_mut().retiring, true);
        if !was_retiring {
            self.kill(|child| child.daemon);
        }
    }

    /// Ends children, in the order in which they were spawned.
    fn kill(&self, which: impl Fn(&Child<T, E>) -> bool) {
        let (children, home) = {
            let state = self.state.borrow();
            (state.running(which), state.home())
        };
        if let Some(ring) = home {
            children.iter().for_each(|task| ring.post(Post::Kill(*task)));
        }
    }

    /// Nobody may come any more, and those who are here are killed.
    pub(super) fn close(&self) {
        let was_closed = std::mem::replace(&mut self.state.borrow_mut().closed, true);
        if !was_closed {
            self.kill(|_| true);
        }
    }

    /// Takes the first child that has ended and has not been told of. The token for it is the
    /// caller's to have taken.
    pub(super) fn take_ended(&self) -> Option<Ended<T, E>> {
        let mut state = self.state.borrow_mut();
        let place = state.ended.pop_front()?;
        let ended = state.remove(place);
        let is_last = state.live == 0 && state.ended.is_empty();
        drop(state);
        if is_last {
            self.end_vain_waits();
        }
        Some(ended)
    }

    /// Takes all of them.
    pub(super) fn take_all_ended(&self) -> VecDeque<Ended<T, E>> {
        let mut state = self.state.borrow_mut();
        let mut places = std::mem::take(&mut state.reserved);
        places.append(&mut state.ended);
        places.into_iter().map(|place| state.remove(place)).collect()
    }

    /// Puts a child back that was not told of after all.
    pub(super) fn put_back(&self, ended: Ended<T, E>) {
        let Ended { serial, task, result, handle, swept } = ended;
        let state = &mut *self.state.borrow_mut();
        let child = Child { serial, task, handle, result, daemon: false, ended: true, swept };
        let place = state.children.insert(child);
        state.ended.push_front(place);
    }

    #[inline]
    fn tell(&self, settled: Settled<T, E>) {
        let Settled { unwanted, open, drained } = settled;
        if open {
            self.results.wake();
        }
        if drained {
            self.tell_drained();
        }
        // Foreign code, which may panic: whoever waits has been told.
        drop(unwanted);
    }

    fn tell_drained(&self) {
        self.changes.wake_all();
        self.end_vain_waits();
    }

    /// Those who wait for one more result wait in vain.
    fn end_vain_waits(&self) {
        if self.results.waiting() > 0 {
            self.results.wake_all();
        }
    }
}

impl<T, E> State<T, E> {
    #[inline]
    fn child(&mut self, key: Key) -> Option<&mut Child<T, E>> {
        self.children.get_mut(key.place).filter(|child| child.serial == key.serial)
    }

    /// Children are born in `ring`: an id names another task elsewhere.
    #[inline]
    fn settle_in(&mut self, ring: &'static Ring) {
        let here = (ring, ring.life());
        let elsewhere = self.home().is_some_and(|home| !ptr::eq(home, ring));
        assert!(
            !elsewhere || self.live + self.daemons == 0,
            "a task was spawned into a group that has children in another scheduler"
        );
        self.home = Some(here);
    }

    /// A child has ended, and how can be told.
    #[inline]
    fn settle(&mut self, place: usize) -> Settled<T, E> {
        let child = &self.children[place];
        let good = matches!(child.result, Some(Ok(_)));
        let wanted = if child.daemon { !good && !child.swept } else { !good || self.policy.keeps };
        let drained = self.count_out(child.daemon);
        let reserved = wanted && !good && self.policy.reserves && self.policy.fails_fast;
        match (wanted, reserved) {
            (true, false) => self.ended.push_back(place),
            (true, true) => self.reserved.push_back(place),
            (false, _) => {}
        }
        let unwanted = if wanted { None } else { Some(self.children.remove(place)) };
        Settled { unwanted, open: wanted && !reserved, drained }
    }

    /// The ring to post to, if it lives.
    fn home(&self) -> Option<&'static Ring> {
        self.home.filter(|(ring, life)| ring.life() == *life).map(|(ring, _)| ring)
    }

    fn count_out(&mut self, daemon: bool) -> bool {
        let count = if daemon { &mut self.daemons } else { &mut self.live };
        *count -= 1;
        *count == 0
    }

    fn remove(&mut self, place: usize) -> Ended<T, E> {
        let Child { serial, task, handle, result, swept, .. } = self.children.remove(place);
        Ended { serial, task, result, handle, swept }
    }

    /// The living children that `which` allows, in the order in which they were spawned.
    fn running(&self, which: impl Fn(&Child<T, E>) -> bool) -> Vec<TaskId> {
        let living = self.children.iter().filter(|(_, child)| !child.ended && which(child));
        let mut tasks: Vec<_> =
            living.filter_map(|(_, child)| Some((child.serial, child.task?))).collect();
        tasks.sort_unstable_by_key(|(serial, _)| *serial);
        tasks.into_iter().map(|(_, task)| task).collect()
    }
}
