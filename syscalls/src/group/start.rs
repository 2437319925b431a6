//! A child that says when it is ready.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use pin_project::pin_project;
use thiserror::Error;
use trapline_abi::{ParkOn, Post, Ring, TaskId, WaitQueue};

use crate::channel::queues;

use super::GroupHandle;
use super::spawn::GroupSpawn;

/// The right of a child to say, once, that it is ready.
pub struct Ready<V> {
    shared: Rc<Shared<V>>,
}

struct Shared<V> {
    value: RefCell<Option<V>>,
    /// Whether there is nothing to wait for any more.
    over: Cell<bool>,
    queue: WaitQueue,
}

impl<V> Ready<V> {
    /// Says that the child is ready, and gives `value` to whoever started it.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<()>::new();
    /// let port = group.start(|ready: trapline::Ready<u16>| async move {
    ///     ready.report(45000);
    ///     Ok(())
    /// });
    /// assert_eq!(port.await, Ok(45000));
    /// # }).unwrap();
    /// ```
    pub fn report(self, value: V) {
        let before = self.shared.value.replace(Some(value));
        drop(before);
    }
}

impl<V> Drop for Ready<V> {
    fn drop(&mut self) {
        self.shared.over.set(true);
        self.shared.queue.wake_all();
    }
}

impl<V> fmt::Debug for Ready<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").finish_non_exhaustive()
    }
}

/// The child ended, or gave up its [`Ready`], before it was ready. How it ended, its group is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("task {task} was never ready")]
pub struct NeverReady {
    /// The child.
    pub task: TaskId,
}

/// The future of [`GroupHandle::start`].
#[pin_project(PinnedDrop)]
#[must_use = "a child is not started until this is awaited"]
pub struct Start<F, V, T, E> {
    spawn: GroupSpawn<F, T, E>,
    /// The child, its ring, and that ring's life.
    child: Option<(TaskId, &'static Ring, u64)>,
    shared: Rc<Shared<V>>,
    wait: Option<ParkOn<Rc<Shared<V>>>>,
    site: &'static Location<'static>,
}

impl<F, V, T, E> Start<F, V, T, E>
where
    F: Future<Output = Result<T, E>> + 'static,
    T: 'static,
    E: 'static,
{
    pub(super) fn new(
        group: &GroupHandle<T, E>,
        child: impl FnOnce(Ready<V>) -> F,
        site: &'static Location<'static>,
    ) -> Start<F, V, T, E> {
        let queue = queues::queue("a child to be ready", 0, site);
        let value = RefCell::new(None);
        let shared = Rc::new(Shared { value, over: Cell::new(false), queue });
        let future = child(Ready { shared: Rc::clone(&shared) });
        let spawn = GroupSpawn::new(group.core(), future, site);
        Start { spawn, child: None, shared, wait: None, site }
    }
}

impl<F, V, T, E> Future for Start<F, V, T, E>
where
    F: Future<Output = Result<T, E>> + 'static,
    T: 'static,
    E: 'static,
{
    type Output = Result<V, NeverReady>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (task, ..) = match *this.child {
            Some(child) => child,
            None => {
                let asked = this.spawn.ring();
                let task = ready!(Pin::new(&mut *this.spawn).poll(cx));
                let ring = asked.expect("a call that was answered was in flight");
                *this.child.insert((task, ring, ring.life()))
            }
        };
        while !this.shared.over.get() {
            let wait = || ParkOn::new(Rc::clone(this.shared), |shared| &shared.queue, this.site);
            ready!(Pin::new(this.wait.get_or_insert_with(wait)).poll(cx));
            *this.wait = None;
        }
        *this.child = None;
        Poll::Ready(this.shared.value.take().ok_or(NeverReady { task }))
    }
}

/// A child that is not ready, and that nobody waits for, is ended.
#[pin_project::pinned_drop]
impl<F, V, T, E> PinnedDrop for Start<F, V, T, E> {
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        let untaken = || {
            let ring = this.spawn.ring()?;
            Some((this.spawn.untaken()?, ring, ring.life()))
        };
        if let Some((task, ring, life)) = this.child.or_else(untaken)
            && ring.life() == life
        {
            ring.post(Post::Kill(task));
        }
    }
}

impl<F, V, T, E> fmt::Debug for Start<F, V, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").field("spawn", &self.spawn).finish_non_exhaustive()
    }
}
