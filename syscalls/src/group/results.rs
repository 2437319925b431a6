//! What the children came to: one by one, or all at once.

use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use trapline_abi::{ParkOn, Ring, Syscall, TaskId, Trap};

use super::TaskGroup;
use super::core::{Core, Left, Unasked};
use super::error::{ChildError, GroupError};

/// Waits until something holds of a group, which its `changes` tell of.
pub(super) struct Watch<T, E> {
    park: Option<ParkOn<Rc<Core<T, E>>>>,
}

impl<T, E> Watch<T, E> {
    pub(super) const fn new() -> Watch<T, E> {
        Watch { park: None }
    }

    pub(super) fn poll(
        &mut self,
        core: &Rc<Core<T, E>>,
        site: &'static Location<'static>,
        cx: &mut Context<'_>,
        holds: impl Fn(&Core<T, E>) -> bool,
    ) -> Poll<()> {
        // Its reply is taken, for that costs less than to drop it with one.
        if let Some(park) = &mut self.park
            && Pin::new(park).poll(cx).is_ready()
        {
            self.park = None;
        }
        while !holds(core) {
            let wait = || ParkOn::new(Rc::clone(core), |core| &core.changes, site);
            ready!(Pin::new(self.park.get_or_insert_with(wait)).poll(cx));
            self.park = None;
        }
        self.park = None;
        Poll::Ready(())
    }

    /// Waits until all children have ended, the daemons by order.
    pub(super) fn poll_empty(
        &mut self,
        core: &Rc<Core<T, E>>,
        site: &'static Location<'static>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        ready!(self.poll(core, site, cx, |core| core.live() == 0));
        if core.daemons() > 0 {
            core.retire();
        }
        self.poll(core, site, cx, |core| core.daemons() == 0 && core.live() == 0)
    }
}

/// Asks the task of a child that left no result.
#[cold]
fn poll_asked<E>(
    unasked: &mut Unasked,
    site: &'static Location<'static>,
    cx: &mut Context<'_>,
) -> Poll<ChildError<E>> {
    unasked.handle.ask_at(site);
    match ready!(Pin::new(&mut unasked.handle).poll(cx)) {
        Err(error) => Poll::Ready(ChildError::Ended(error)),
        Ok(()) => unreachable!("a child that returns leaves its result first"),
    }
}

/// The future of [`GroupHandle::next`](super::GroupHandle::next).
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
///
/// let group = trapline::TaskGroup::<u32>::new();
/// group.post_value(async { trapline::sleep(Duration::from_secs(2)).await; 7 });
/// let mut next = group.next();
/// assert!(trapline::timeout(Duration::from_secs(1), &mut next).await.is_err());
/// assert_eq!(next.await.unwrap().1.unwrap(), 7);
/// # }).unwrap();
/// ```
#[must_use = "it does nothing until it is awaited"]
pub struct NextEnded<T, E> {
    core: Rc<Core<T, E>>,
    site: &'static Location<'static>,
    wait: Option<ParkOn<Rc<Core<T, E>>>>,
    /// Gives way to the others once the quantum is spent.
    rest: Option<Trap>,
    /// Whether it has trapped: the others have had their turn.
    rested: bool,
    /// The child whose task is being asked.
    held: Option<Unasked>,
}

impl<T, E> NextEnded<T, E> {
    pub(crate) fn new(core: &Rc<Core<T, E>>, site: &'static Location<'static>) -> NextEnded<T, E> {
        let core = Rc::clone(core);
        NextEnded { core, site, wait: None, rest: None, rested: false, held: None }
    }

    /// Waits until a child has ended, and takes it; `None` if there is none that could.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Option<Left<T, E>>> {
        if let Some(rest) = &mut self.rest {
            ready!(rest.poll_reply(cx));
            (self.rest, self.rested) = (None, true);
        }
        if let Some(wait) = &mut self.wait {
            ready!(Pin::new(wait).poll(cx));
            (self.wait, self.rested) = (None, true);
            // It came with a token, or the last child has ended.
            if let Some(ended) = self.core.take_ended() {
                return Poll::Ready(Some(ended));
            }
        }
        let ring = Ring::current();
        if !self.rested && ring.is_some_and(Ring::is_spent) {
            let rest = self.rest.insert(Trap::new(Syscall::Yield, self.site));
            return rest.poll_reply(cx).map(|_| None);
        }
        if self.core.results.try_take() {
            if let Some(ring) = ring.filter(|_| !self.rested) {
                ring.spend();
            }
            return Poll::Ready(self.core.take_ended());
        }
        if self.core.live() == 0 && self.core.untold() == 0 {
            return Poll::Ready(None);
        }
        let wait = ParkOn::new(Rc::clone(&self.core), |core| &core.results, self.site);
        Pin::new(self.wait.insert(wait)).poll(cx).map(|()| None)
    }
}

impl<T, E> Future for NextEnded<T, E> {
    type Output = Option<(TaskId, Result<T, ChildError<E>>)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let held = match &mut this.held {
            Some(held) => held,
            None => match ready!(this.poll_ended(cx)) {
                None => return Poll::Ready(None),
                Some(Left::Result(task, result)) => {
                    let told = result.map_err(|error| ChildError::Failed { task, error });
                    return Poll::Ready(Some((task, told)));
                }
                Some(Left::Nothing(unasked)) => this.held.insert(unasked),
            },
        };
        let task = held.handle.id();
        let error = ready!(poll_asked(held, this.site, cx));
        this.held = None;
        Poll::Ready(Some((task, Err(error))))
    }
}

impl<T, E> Unpin for NextEnded<T, E> {}

/// A child that was not told of is the next one's.
impl<T, E> Drop for NextEnded<T, E> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.core.put_back(held);
            self.core.results.wake();
        }
    }
}

impl<T, E> fmt::Debug for NextEnded<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NextEnded").field("site", &self.site).finish_non_exhaustive()
    }
}

/// What all the children of a group came to, as far as it is known.
pub(super) struct Sum<T, E> {
    /// The values, in the order in which the children were spawned.
    values: Vec<T>,
    /// What else was left, once it has been taken.
    todo: Option<VecDeque<Left<T, E>>>,
    failures: Vec<ChildError<E>>,
    /// Whether a child left nothing, since it was told to end.
    swept: bool,
}

impl<T, E> Sum<T, E> {
    pub(super) const fn new() -> Sum<T, E> {
        Sum { values: Vec::new(), todo: None, failures: Vec::new(), swept: false }
    }

    /// Takes what was left by all that have ended and have not been told of, and asks those that left
    /// nothing.
    pub(super) fn poll(
        &mut self,
        core: &Core<T, E>,
        site: &'static Location<'static>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let todo = match &mut self.todo {
            Some(todo) => todo,
            None => {
                let rest;
                (self.values, rest) = core.take_all_ended();
                self.todo.insert(rest)
            }
        };
        while let Some(left) = todo.pop_front() {
            match left {
                Left::Result(task, result) => {
                    let failed = |error| ChildError::Failed { task, error };
                    self.failures.extend(result.err().map(failed));
                }
                Left::Nothing(mut unasked) => {
                    let Poll::Ready(error) = poll_asked(&mut unasked, site, cx) else {
                        todo.push_front(Left::Nothing(unasked));
                        return Poll::Pending;
                    };
                    match error {
                        ChildError::Ended(error) if unasked.swept && !error.is_panic() => {
                            self.swept = true;
                        }
                        error => self.failures.push(error),
                    }
                }
            }
        }
        Poll::Ready(())
    }

    pub(super) fn take_failures(&mut self) -> Vec<ChildError<E>> {
        std::mem::take(&mut self.failures)
    }

    /// The values in the order in which the children were spawned, if all gave one.
    fn take(&mut self, core: &Core<T, E>) -> Result<Vec<T>, GroupError<E>> {
        if self.swept || !self.failures.is_empty() {
            return Err(self.take_error(core));
        }
        Ok(std::mem::take(&mut self.values))
    }

    fn take_error(&mut self, core: &Core<T, E>) -> GroupError<E> {
        GroupError { children: self.take_failures(), body: None, cancelled: core.cancelled() }
    }
}

macro_rules! whole_group {
    ($(#[$attribute:meta])* $name:ident { $($field:ident: $type:ty = $value:expr),* }) => {
        $(#[$attribute])*
        #[must_use = "it does nothing until it is awaited; dropped, it ends the children"]
        pub struct $name<T, E> {
            group: TaskGroup<T, E>,
            site: &'static Location<'static>,
            watch: Watch<T, E>,
            $($field: $type,)*
        }

        impl<T, E> $name<T, E> {
            pub(super) fn new(
                group: TaskGroup<T, E>,
                site: &'static Location<'static>,
            ) -> $name<T, E> {
                $name { group, site, watch: Watch::new(), $($field: $value,)* }
            }
        }

        impl<T, E> Unpin for $name<T, E> {}

        impl<T, E> fmt::Debug for $name<T, E> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut shown = f.debug_struct(stringify!($name));
                shown.field("group", &self.group).finish_non_exhaustive()
            }
        }
    };
}

whole_group! {
    /// The future of [`TaskGroup::join_all`].
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    ///
    /// let group = trapline::TaskGroup::<()>::new();
    /// group.post_value(std::future::pending());
    /// // Given up, it takes the group along, and so the children.
    /// assert!(trapline::timeout(Duration::from_secs(1), group.join_all()).await.is_err());
    /// # }).unwrap();
    /// ```
    JoinGroup { sum: Sum<T, E> = Sum::new() }
}

impl<T, E> Future for JoinGroup<T, E> {
    type Output = Result<Vec<T>, GroupError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let JoinGroup { group, site, watch, sum } = &mut *self;
        ready!(watch.poll_empty(&group.core, site, cx));
        group.core.close();
        ready!(sum.poll(&group.core, site, cx));
        Poll::Ready(sum.take(&group.core))
    }
}

whole_group! {
    /// The future of [`TaskGroup::first`].
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let nobody = trapline::TaskGroup::<()>::new();
    /// assert!(nobody.first().await.is_none());
    /// # }).unwrap();
    /// ```
    FirstEnded {
        next: Option<NextEnded<T, E>> = None,
        first: Option<(TaskId, Result<T, ChildError<E>>)> = None
    }
}

impl<T, E> Future for FirstEnded<T, E> {
    type Output = Option<(TaskId, Result<T, ChildError<E>>)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let FirstEnded { group, site, watch, next, first } = &mut *self;
        if first.is_none() && !group.core.is_closed() {
            let next = next.get_or_insert_with(|| NextEnded::new(&group.core, site));
            *first = ready!(Pin::new(next).poll(cx));
        }
        *next = None;
        group.core.close();
        ready!(watch.poll_empty(&group.core, site, cx));
        Poll::Ready(first.take())
    }
}

whole_group! {
    /// The future of [`TaskGroup::first_ok`].
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let mirrors = trapline::TaskGroup::<(), &str>::new().tolerant();
    /// mirrors.post(async { Err("down") });
    /// mirrors.post(async { Err("busy") });
    /// let error = mirrors.first_ok().await.unwrap_err();
    /// assert_eq!(error.children().len(), 2);
    /// # }).unwrap();
    /// ```
    FirstOk {
        next: Option<NextEnded<T, E>> = None,
        first: Option<(TaskId, T)> = None,
        failures: Vec<ChildError<E>> = Vec::new()
    }
}

impl<T, E> Future for FirstOk<T, E> {
    type Output = Result<(TaskId, T), GroupError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let FirstOk { group, site, watch, next, first, failures } = &mut *self;
        while first.is_none() && !group.core.is_closed() {
            let asked = next.get_or_insert_with(|| NextEnded::new(&group.core, site));
            let told = ready!(Pin::new(asked).poll(cx));
            *next = None;
            match told {
                Some((task, Ok(value))) => *first = Some((task, value)),
                Some((_, Err(error))) => failures.push(error),
                None => break,
            }
        }
        *next = None;
        group.core.close();
        ready!(watch.poll_empty(&group.core, site, cx));
        Poll::Ready(first.take().ok_or_else(|| GroupError {
            children: std::mem::take(failures),
            body: None,
            cancelled: group.core.cancelled(),
        }))
    }
}

whole_group! {
    /// The future of [`TaskGroup::close`].
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::rc::Rc;
    ///
    /// let token = Rc::new(());
    /// let held = Rc::clone(&token);
    /// let group = trapline::TaskGroup::<()>::new();
    /// group.post_value(async move {
    ///     std::future::pending::<()>().await;
    ///     drop(held);
    /// });
    /// group.close().await;
    /// assert_eq!(Rc::strong_count(&token), 1, "the child is gone, and what it held");
    /// # }).unwrap();
    /// ```
    CloseGroup {}
}

impl<T, E> Future for CloseGroup<T, E> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let CloseGroup { group, site, watch } = &mut *self;
        group.core.close();
        watch.poll_empty(&group.core, site, cx)
    }
}
