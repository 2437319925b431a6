//! Who holds what a wait queue guards: told in the task table and in reports, and by nothing else.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;

use crate::id::TaskId;
use crate::ring::Ring;

/// Who came last into what a queue guards, and how many are in it.
///
/// A few stores each time, and read only by whoever looks at the task table.
#[derive(Clone, Debug)]
pub(crate) struct Holders {
    count: Cell<u32>,
    /// Where the last one came; `None` if that one has left again.
    since: Cell<Option<&'static Location<'static>>>,
    /// Who that was, and of which life of which ring: an id says nothing in another scheduler.
    task: Cell<Option<TaskId>>,
    life: Cell<u64>,
    /// Whether somebody was warned of a holder that has ended.
    warned: Cell<bool>,
}

impl Holders {
    pub(crate) const fn none() -> Holders {
        Holders {
            count: Cell::new(0),
            since: Cell::new(None),
            task: Cell::new(None),
            life: Cell::new(0),
            warned: Cell::new(false),
        }
    }

    /// Whoever runs now has come in.
    #[inline]
    pub(crate) fn enter(&self, since: &'static Location<'static>) {
        match Ring::current() {
            Some(ring) => self.enter_as(ring.running(), ring.life(), since),
            None => self.enter_as(None, 0, since),
        }
    }

    #[inline]
    pub(crate) fn enter_as(
        &self,
        task: Option<TaskId>,
        life: u64,
        since: &'static Location<'static>,
    ) {
        self.count.set(self.count.get() + 1);
        self.since.set(Some(since));
        self.task.set(task);
        self.life.set(life);
        self.warned.set(false);
    }

    /// One who came in at `since` has left.
    #[inline]
    pub(crate) fn leave(&self, since: &'static Location<'static>) {
        self.count.set(self.count.get().saturating_sub(1));
        // By address: it is the very reference that came in, and to compare places is to compare texts.
        if self.since.get().is_some_and(|latest| std::ptr::eq(latest, since)) {
            self.since.set(None);
        }
    }

    /// So many have left, nobody knows where they had come in.
    pub(crate) fn leave_unseen(&self, count: usize) {
        if count > 0 {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            self.count.set(self.count.get().saturating_sub(count));
            self.since.set(None);
        }
    }

    /// Whether this is the first time that somebody asks, since the last one came.
    pub(crate) fn first_word(&self) -> bool {
        !self.warned.replace(true)
    }

    /// The task that alone is in it, if it is one of the life `life` of a ring.
    #[inline]
    pub(crate) fn sole_task(&self, life: u64) -> Option<TaskId> {
        let alone = self.count.get() == 1 && self.since.get().is_some() && self.life.get() == life;
        self.task.get().filter(|_| alone)
    }

    /// As it is shown in the life `life` of a ring.
    pub(crate) fn shown_in(&self, life: u64) -> Option<Holder> {
        let others = self.count.get().checked_sub(u32::from(self.since.get().is_some()))?;
        let since = self.since.get();
        if since.is_none() && others == 0 {
            return None;
        }
        let task = self.task.get().filter(|_| since.is_some() && self.life.get() == life);
        Some(Holder { task, since, others, ended: false })
    }
}

/// Who holds a lock, as a snapshot shows it: the last one who took it, where there are several.
///
/// ```
/// use std::rc::Rc;
/// use trapline_abi::{TaskState, WaitQueue};
///
/// let vault = Rc::new(WaitQueue::lock("vault", 1));
/// let key = Rc::clone(&vault);
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// let owner = scheduler.spawn(async move {
///     key.park().await;
///     std::future::pending::<()>().await
/// });
/// let thief = scheduler.spawn(async move { vault.park().await });
/// scheduler.run().unwrap_err(); // the owner keeps it
/// let snapshot = scheduler.snapshot();
/// let TaskState::Blocked(calls) = &snapshot.task(thief.id()).unwrap().state else { unreachable!() };
/// let holder = calls[0].queue.as_ref().unwrap().holder.as_ref().unwrap();
/// assert_eq!((holder.task, holder.others), (Some(owner.id()), 0));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// The task; `None` if it was taken outside a task, or under another scheduler, or if that is
    /// not known any more.
    pub task: Option<TaskId>,
    /// Where it was taken, if that is known.
    pub since: Option<&'static Location<'static>>,
    /// How many more hold it.
    pub others: u32,
    /// Whether the task has ended: the guard was leaked, or moved away.
    pub ended: bool,
}

impl Holder {
    /// The task, if it alone holds the lock.
    ///
    /// ```
    /// use trapline_abi::{Holder, TaskId};
    ///
    /// let task = Some(TaskId::new(1, 0));
    /// let alone = Holder { task, since: None, others: 0, ended: false };
    /// assert_eq!(alone.sole_task(), task);
    /// assert_eq!(Holder { others: 1, ..alone }.sole_task(), None);
    /// ```
    #[must_use]
    pub fn sole_task(&self) -> Option<TaskId> {
        self.task.filter(|_| self.others == 0)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(since) = self.since else { return write!(f, "held by {}", self.others) };
        f.write_str("held")?;
        if let Some(task) = self.task {
            write!(f, " by task {task}")?;
        }
        if self.ended {
            f.write_str(", which has ended,")?;
        }
        write!(f, " since {since}")?;
        if self.others > 0 {
            write!(f, " and by {} more", self.others)?;
        }
        Ok(())
    }
}

/// What a task waits for that is parked, as a snapshot shows it.
///
/// ```
/// use trapline_abi::{TaskState, WaitQueue};
///
/// let bell = WaitQueue::signal("bell");
/// bell.set_name("front door");
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// let guest = scheduler.spawn(async move { bell.park().await });
/// scheduler.run().unwrap_err(); // nobody rings
/// let snapshot = scheduler.snapshot();
/// let TaskState::Blocked(calls) = &snapshot.task(guest.id()).unwrap().state else { unreachable!() };
/// let queue = calls[0].queue.as_ref().unwrap();
/// assert_eq!((queue.kind, queue.name.as_deref()), (Some("bell"), Some("front door")));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueInfo {
    /// What sort of thing the queue belongs to: `mutex`, `event`, …; `None` for a bare queue.
    pub kind: Option<&'static str>,
    /// The name it was given.
    pub name: Option<String>,
    /// Who holds it, if it is held and somebody does.
    pub holder: Option<Holder>,
}
