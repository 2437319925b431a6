//! The waits of a queue: for room, for a value, and until all is done.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::channel::queue::Queue;
use crate::pace::Claim;

/// The future of [`Queue::put`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
/// use trapline::channel::Queue;
///
/// let queue = Queue::fifo(1);
/// queue.put(1).await;
/// let put = queue.put(2);
/// assert!(trapline::timeout(Duration::from_secs(1), put).await.is_err());
/// assert_eq!((queue.try_get(), queue.try_get()), (Some(1), None));
/// # }).unwrap();
/// ```
#[must_use = "nothing is put in until this is awaited"]
pub struct Put<'a, T> {
    pub(super) queue: &'a Queue<T>,
    pub(super) value: Option<T>,
    pub(super) room: Claim<'a>,
}

impl<T> Unpin for Put<'_, T> {}

impl<T> Future for Put<'_, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        assert!(self.value.is_some(), "a put was polled again after it was ready");
        self.queue.store.check_in();
        ready!(self.room.poll(cx, || false));
        let value = self.value.take().expect("it was there above");
        self.queue.keep(value);
        Poll::Ready(())
    }
}

impl<T> fmt::Debug for Put<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Put").field("queue", self.queue).finish_non_exhaustive()
    }
}

/// The future of [`Queue::get`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
/// use trapline::channel::Queue;
///
/// let queue = Queue::fifo(1);
/// let mut get = queue.get();
/// assert!(trapline::timeout(Duration::from_secs(1), &mut get).await.is_err());
/// queue.put(7).await;
/// assert_eq!(get.await, 7);
/// # }).unwrap();
/// ```
#[must_use = "nothing is got until this is awaited"]
pub struct Get<'a, T> {
    /// `None` when it has been ready.
    pub(super) queue: Option<&'a Queue<T>>,
    pub(super) item: Claim<'a>,
}

impl<T> Future for Get<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let queue = self.queue.expect("a get was polled again after it was ready");
        queue.store.check_in();
        ready!(self.item.poll(cx, || false));
        self.queue = None;
        Poll::Ready(queue.fetch())
    }
}

impl<T> fmt::Debug for Get<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Get").field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// The future of [`Queue::join`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::channel::Queue;
///
/// let queue = Queue::fifo(1);
/// queue.put(7).await;
/// let all_done = queue.join();
/// let work = async {
///     queue.get().await;
///     queue.task_done().unwrap();
/// };
/// trapline::join(all_done, work).await;
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "nothing is waited for until this is awaited"]
pub struct Join<'a> {
    pub(super) unfinished: &'a Cell<usize>,
    pub(super) done: Claim<'a>,
}

impl Future for Join<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let unfinished = self.unfinished;
        self.done.poll_over(cx, || unfinished.get() == 0)
    }
}
