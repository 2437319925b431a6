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

use trapline_abi::{CancelReason, Cancelled, JoinHandle, Post, Ring, TaskId, WaitQueue};

use crate::channel::queues;
use crate::told::Thing;

use super::children::{Child, Children, Key, Line};

/// What a child that has ended and left the table left there.
pub(super) enum Left<T, E> {
    Result(TaskId, Result<T, E>),
    Nothing(Unasked),
}

/// A child that left no result: its task is yet to be asked how it ended.
pub(super) struct Unasked {
    pub(super) handle: Box<JoinHandle<()>>,
    pub(super) swept: bool,
    serial: u64,
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
    children: Children<T, E>,
    last_serial: u64,
    /// Those that have ended and have not been told of, in the order of their ends.
    ended: Line,
    /// Those of them that are not for whoever asks for the next one.
    reserved: Line,
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
    thing: Thing,
}

/// What is to be done once the state is no longer borrowed.
#[must_use]
struct Settled<T, E> {
    /// Nobody will ask for it.
    unwanted: Option<Left<T, E>>,
    /// Whoever asks for the next one may have it.
    open: bool,
    /// It was the last child, or the last daemon.
    drained: bool,
}

impl<T, E> Core<T, E> {
    pub(super) fn new(site: &'static Location<'static>) -> Rc<Core<T, E>> {
        Rc::new(Core {
            state: RefCell::new(State {
                children: Children::new(),
                last_serial: 0,
                ended: Line::new(),
                reserved: Line::new(),
                home: None,
                live: 0,
                daemons: 0,
                policy: Policy { fails_fast: true, keeps: true, reserves: false },
                cancelled: None,
                retiring: false,
                closed: false,
            }),
            results: queues::queue("a child's result", 0, site),
            changes: queues::queue("the end of a group's children", 0, site),
            site,
            thing: Thing::new("group", site),
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
        let mut state = self.state.borrow_mut();
        assert!(!state.closed, "a task was spawned into a group that has ended");
        state.settle_in(ring);
        state.last_serial += 1;
        let serial = state.last_serial;
        let place = state.children.insert(serial, daemon);
        if daemon {
            state.daemons += 1;
        } else {
            state.live += 1;
        }
        drop(state);
        self.tell_count();
        Key { place, serial }
    }

    /// The child has been born.
    #[inline]
    pub(super) fn born(&self, key: Key, task: TaskId, ring: &'static Ring) {
        let mut state = self.state.borrow_mut();
        let (closed, retiring) = (state.closed, state.retiring);
        let cancelled = state.cancelled.is_some();
        // Nobody need ask one that has left its result.
        let Some(child) = state.children.get(key).filter(|child| child.result.is_none()) else {
            return;
        };
        child.task = Some(task);
        child.ring = Some(ring);
        let is_late = closed || child.daemon && retiring;
        if child.ended {
            child.make_handle();
            let settled = state.settle(key.place);
            drop(state);
            self.tell(settled);
        } else if is_late {
            ring.post(Post::Kill(task));
        } else if cancelled && let Some(why) = &state.cancelled {
            ring.post(Post::Cancel(task, why.clone()));
        }
    }

    /// The child will never be born.
    #[cold]
    pub(super) fn unborn(&self, key: Key) {
        let mut state = self.state.borrow_mut();
        let Some(child) = state.children.get(key).filter(|child| child.task.is_none()) else {
            return;
        };
        let daemon = child.daemon;
        state.children.remove(key.place);
        let drained = state.count_out(daemon);
        drop(state);
        self.tell_count();
        if drained {
            self.tell_drained();
        }
    }

    /// The child has returned, and leaves its result; its destructors are yet to run.
    #[inline]
    pub(super) fn leave(&self, key: Key, result: Result<T, E>) {
        let task = Ring::of_running_task().running();
        let mut state = self.state.borrow_mut();
        let child = state.children.get(key).expect("a child that runs is in the table");
        child.result = Some(result);
        child.task = task;
    }

    /// The child has ended, and its destructors have run. If it left no result, it may have panicked,
    /// with this text.
    #[inline]
    pub(super) fn ended(&self, key: Key, panic: Option<Rc<str>>) {
        let mut state = self.state.borrow_mut();
        let told_to = state.closed || state.cancelled.is_some();
        let (retiring, fails_fast) = (state.retiring, state.policy.fails_fast);
        let Some(child) = state.children.get(key).filter(|child| !child.ended) else { return };
        child.ended = true;
        child.swept = told_to || child.daemon && retiring;
        let failure = match &child.result {
            Some(Ok(_)) => None,
            Some(Err(_)) => Some(Failure::Error),
            None => {
                child.make_handle();
                Some(panic.map_or(Failure::Ended, Failure::Panic))
            }
        };
        let (task, swept) = (child.task, child.swept);
        // One that has not been born is told of when it is.
        let settled = task.is_some().then(|| state.settle(key.place));
        drop(state);
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
        drop(state);
        for (task, ring) in children {
            ring.post(Post::Cancel(task, why.clone()));
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
        let children = self.state.borrow().running(which);
        for (task, ring) in children {
            ring.post(Post::Kill(task));
        }
    }

    /// Nobody may come any more, and those who are here are killed.
    pub(super) fn close(&self) {
        let mut state = self.state.borrow_mut();
        let was_closed = std::mem::replace(&mut state.closed, true);
        let nobody = state.live == 0 && state.daemons == 0;
        drop(state);
        if !was_closed && !nobody {
            self.kill(|_| true);
        }
    }

    /// Takes the first child that has ended and has not been told of. The token for it is the
    /// caller's to have taken.
    #[inline]
    pub(super) fn take_ended(&self) -> Option<Left<T, E>> {
        let mut state = self.state.borrow_mut();
        let State { children, ended, live, .. } = &mut *state;
        let place = children.pop_front(ended)?;
        let left = children.take(place);
        let is_last = *live == 0 && ended.len() == 0;
        drop(state);
        if is_last {
            self.end_vain_waits();
        }
        Some(left)
    }

    /// Takes all of them: the values in the order in which the children were spawned, and what else
    /// was left in the order of their ends, those first that nobody could ask for.
    pub(super) fn take_all_ended(&self) -> (Vec<T>, VecDeque<Left<T, E>>) {
        let State { children, ended, reserved, .. } = &mut *self.state.borrow_mut();
        if reserved.len() > 0 || !children.are_values_in_order(ended) {
            return children.take_sorted([reserved, ended]);
        }
        let mut values = Vec::with_capacity(ended.len());
        while let Some(place) = children.pop_front(ended) {
            values.extend(children.take_value(place));
        }
        (values, VecDeque::new())
    }

    /// Puts a child back that was not told of after all.
    pub(super) fn put_back(&self, unasked: Unasked) {
        let Unasked { handle, swept, serial } = unasked;
        let State { children, ended, .. } = &mut *self.state.borrow_mut();
        let place = children.insert(serial, false);
        let child = children.at(place);
        child.task = Some(handle.id());
        child.handle = Some(handle);
        (child.ended, child.swept) = (true, swept);
        children.push_front(ended, place);
    }

    #[inline]
    fn tell(&self, settled: Settled<T, E>) {
        let Settled { unwanted, open, drained } = settled;
        self.tell_count();
        if open {
            self.results.wake();
        }
        if drained {
            self.tell_drained();
        }
        // Foreign code, which may panic: whoever waits has been told.
        drop(unwanted);
    }

    /// Tells how many children live, daemons among them.
    #[inline(always)]
    fn tell_count(&self) {
        self.thing.tell("count", || self.live() + self.daemons());
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
    /// Children are born in `ring`: an id names another task elsewhere.
    #[inline]
    fn settle_in(&mut self, ring: &'static Ring) {
        let lives = |(home, life): &(&'static Ring, u64)| home.life() == *life;
        let elsewhere = self.home.filter(lives).is_some_and(|(home, _)| !ptr::eq(home, ring));
        assert!(
            !elsewhere || self.live + self.daemons == 0,
            "a task was spawned into a group that has children in another scheduler"
        );
        self.home = Some((ring, ring.life()));
    }

    /// A child has ended, and how can be told.
    #[inline]
    fn settle(&mut self, place: u32) -> Settled<T, E> {
        let child = self.children.at(place);
        let good = matches!(child.result, Some(Ok(_)));
        let daemon = child.daemon;
        let wanted = if daemon { !good && !child.swept } else { !good || self.policy.keeps };
        let reserved = wanted && !good && self.policy.reserves && self.policy.fails_fast;
        let mut unwanted = None;
        match (wanted, reserved) {
            (true, false) => self.children.push_back(&mut self.ended, place),
            (true, true) => self.children.push_back(&mut self.reserved, place),
            (false, _) => unwanted = Some(self.children.take(place)),
        }
        Settled { unwanted, open: wanted && !reserved, drained: self.count_out(daemon) }
    }

    fn count_out(&mut self, daemon: bool) -> bool {
        let count = if daemon { &mut self.daemons } else { &mut self.live };
        *count -= 1;
        *count == 0
    }

    /// The living children that `which` allows, in the order in which they were spawned.
    fn running(&self, which: impl Fn(&Child<T, E>) -> bool) -> Vec<(TaskId, &'static Ring)> {
        let living = self.children.iter().filter(|child| !child.ended && which(child));
        let mut tasks: Vec<_> =
            living.filter_map(|child| Some((child.serial, child.task?, child.ring?))).collect();
        tasks.sort_unstable_by_key(|(serial, ..)| *serial);
        tasks.into_iter().map(|(_, task, ring)| (task, ring)).collect()
    }
}

impl<T, E> Child<T, E> {
    /// It left no result, so its task will be asked; if it has been born.
    #[cold]
    fn make_handle(&mut self) {
        if let (Some(task), Some(ring)) = (self.task, self.ring) {
            self.handle = Some(Box::new(JoinHandle::new(task, ring)));
        }
    }
}

impl<T, E> Children<T, E> {
    /// Takes out what a child left that has ended.
    #[inline]
    fn take(&mut self, place: u32) -> Left<T, E> {
        let child = self.at(place);
        let (serial, swept) = (child.serial, child.swept);
        let left = match (child.result.take(), child.handle.take()) {
            (Some(result), _) => {
                Left::Result(child.task.expect("a child that left a result was born"), result)
            }
            (None, Some(handle)) => Left::Nothing(Unasked { handle, swept, serial }),
            (None, None) => unreachable!("a child that left no result left its handle"),
        };
        self.remove(place);
        left
    }
    /// The same where it is known to be a value.
    #[inline]
    fn take_value(&mut self, place: u32) -> Option<T> {
        let result = self.at(place).result.take();
        self.remove(place);
        result?.ok()
    }

    /// Whether those in a line all left values, and have come in the order in which they were
    /// spawned: as a rule it is so, and then the values need not be sorted.
    fn are_values_in_order(&self, line: &Line) -> bool {
        let mut last = 0;
        self.members(line).all(|child| {
            let follows = std::mem::replace(&mut last, child.serial) < child.serial;
            follows && matches!(child.result, Some(Ok(_)))
        })
    }

    #[cold]
    fn take_sorted(&mut self, lines: [&mut Line; 2]) -> (Vec<T>, VecDeque<Left<T, E>>) {
        let (mut values, mut rest) = (Vec::new(), VecDeque::new());
        for line in lines {
            while let Some(place) = self.pop_front(line) {
                let serial = self.at(place).serial;
                match self.take(place) {
                    Left::Result(_, Ok(value)) => values.push((serial, value)),
                    left => rest.push_back(left),
                }
            }
        }
        values.sort_unstable_by_key(|(serial, _)| *serial);
        (values.into_iter().map(|(_, value)| value).collect(), rest)
    }
}
