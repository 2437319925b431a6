//! The barrier: so many go on together.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use trapline_abi::WaitQueue;

use crate::sync::acquire::{ParkOnce, Went};

/// Where tasks wait until there are `n` of them, and go on together, as often as `n` more come.
///
/// Who has arrived is who waits in its queue, so one that is dropped is not counted; once the last
/// one has come, all `n` are through, whatever is dropped then.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// use std::rc::Rc;
/// use trapline_syscalls::sync::Barrier;
///
/// let start = Rc::new(Barrier::new(3).named("start"));
/// let runners: Vec<_> = (0..3)
///     .map(|_| {
///         let start = Rc::clone(&start);
///         scheduler.spawn(async move { start.wait().await.is_leader() })
///     })
///     .collect();
/// # scheduler.block_on(async move {
/// let mut leaders = 0;
/// for runner in runners {
///     leaders += usize::from(runner.await.unwrap());
/// }
/// assert_eq!(leaders, 1);
/// # }).unwrap();
/// ```
///
/// # Kin
/// `pthread_barrier_t`; tokio's `Barrier`.
pub struct Barrier {
    queue: WaitQueue,
    n: usize,
}

/// How one came through a [`Barrier`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BarrierPass {
    leader: bool,
}

impl BarrierPass {
    /// Whether it is the one of its generation that is called the leader: the last to come.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::sync::Barrier;
    ///
    /// let barrier = Barrier::new(1);
    /// assert!(barrier.wait().await.is_leader());
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn is_leader(self) -> bool {
        self.leader
    }
}

impl Barrier {
    /// A barrier for `n` at a time; 0 is taken for 1.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::sync::Barrier;
    ///
    /// let barrier = Barrier::new(2);
    /// trapline::join(barrier.wait(), barrier.wait()).await;
    /// # }).unwrap();
    /// ```
    #[must_use]
    #[track_caller]
    pub const fn new(n: usize) -> Barrier {
        Barrier { queue: WaitQueue::signal("barrier"), n: if n == 0 { 1 } else { n } }
    }

    /// Names it, for the task table and reports.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let barrier = trapline::sync::Barrier::new(2).named("start");
    /// assert_eq!(barrier.arrived(), 0);
    /// ```
    #[must_use]
    pub fn named(self, name: impl Into<Rc<str>>) -> Barrier {
        self.queue.set_name(name);
        self
    }

    /// How many have arrived and wait.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::rc::Rc;
    /// use trapline::sync::Barrier;
    ///
    /// let barrier = Rc::new(Barrier::new(2));
    /// let there = Rc::clone(&barrier);
    /// let first = trapline::spawn(async move { there.wait().await.is_leader() }).await;
    /// trapline::yield_now().await;
    /// assert_eq!(barrier.arrived(), 1);
    /// barrier.wait().await;
    /// first.await.unwrap();
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn arrived(&self) -> usize {
        self.queue.waiting()
    }

    /// Arrives, at the first poll, and waits until `n` have.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::rc::Rc;
    /// use trapline::sync::Barrier;
    ///
    /// let barrier = Rc::new(Barrier::new(2));
    /// let there = Rc::clone(&barrier);
    /// let other = trapline::spawn(async move { there.wait().await.is_leader() }).await;
    /// let leads = barrier.wait().await.is_leader();
    /// // One of the two leads.
    /// assert_ne!(leads, other.await.unwrap());
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If it has to wait outside a task, or while tasks of another scheduler wait.
    ///
    /// # Cancel safety
    /// Safe: dropped before the last one has come it is not counted, and after that nobody misses it.
    /// The leader lets the others go in the poll in which it is ready: it is never one that was dropped.
    ///
    /// # Cost
    /// One trap; for the last to come none, and O(n). The first wait allocates.
    ///
    /// # Kin
    /// `pthread_barrier_wait(3)`.
    #[track_caller]
    pub fn wait(&self) -> BarrierWait<'_> {
        BarrierWait { barrier: self, park: ParkOnce::new(Location::caller()) }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").field("n", &self.n).field("queue", &self.queue).finish()
    }
}

/// The future of [`Barrier::wait`].
#[derive(Debug)]
#[must_use = "it does not arrive until it is awaited"]
pub struct BarrierWait<'a> {
    barrier: &'a Barrier,
    park: ParkOnce,
}

impl Future for BarrierWait<'_> {
    type Output = BarrierPass;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<BarrierPass> {
        let Barrier { queue, n } = self.barrier;
        let went = ready!(self.park.poll(queue, cx, || queue.waiting() + 1 >= *n));
        let leader = went == Went::AtOnce;
        if leader {
            queue.wake_all();
        }
        Poll::Ready(BarrierPass { leader })
    }
}
