//! A value that is called done when it is dropped.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::channel::queue::Queue;
use crate::channel::queue::waits::Get;

impl<T> Queue<T> {
    /// The same as [`get`](Queue::get), with a value that is called done when it is dropped: also where
    /// the task that works on it fails, or is killed, so that nobody who [joins](Queue::join) the queue
    /// waits for ever.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::rc::Rc;
    /// use trapline::channel::Queue;
    ///
    /// let queue = Rc::new(Queue::fifo(8));
    /// let work = Rc::clone(&queue);
    /// let worker = trapline::spawn(async move {
    ///     let job = work.get_job().await;
    ///     assert_eq!(*job, "what cannot be done", "it fails here");
    /// })
    /// .await;
    /// queue.put("a job").await;
    /// queue.join().await;
    /// assert!(worker.await.is_err());
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// As [`get`](Queue::get).
    ///
    /// # Cancel safety
    /// Safe: a future that is dropped has taken nothing.
    ///
    /// # Cost
    /// As [`get`](Queue::get).
    #[track_caller]
    pub fn get_job(&self) -> GetJob<'_, T> {
        GetJob { get: self.get(), queue: self }
    }
}

/// The future of [`Queue::get_job`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::channel::Queue;
///
/// let queue = Queue::fifo(1);
/// let get = queue.get_job();
/// let (job, ()) = trapline::join(get, queue.put(7)).await;
/// assert_eq!(*job, 7);
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "nothing is got until this is awaited"]
pub struct GetJob<'a, T> {
    get: Get<'a, T>,
    queue: &'a Queue<T>,
}

impl<'a, T> Future for GetJob<'a, T> {
    type Output = Job<'a, T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Job<'a, T>> {
        let done = self.queue;
        Pin::new(&mut self.get).poll(cx).map(|value| Job { value, _done: Done(done) })
    }
}

/// A value of a [`Queue`], called done when this is dropped.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::channel::Queue;
///
/// let queue = Queue::fifo(1);
/// queue.put(7).await;
/// let job = queue.get_job().await;
/// // Done when it is dropped.
/// trapline::join(queue.join(), async { drop(job) }).await;
/// # }).unwrap();
/// ```
#[must_use = "the job is called done as soon as it is dropped"]
pub struct Job<'a, T> {
    value: T,
    /// Behind the value, which is dropped first.
    _done: Done<'a, T>,
}

impl<T> Deref for Job<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Job<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Job<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Job").field(&self.value).finish()
    }
}

struct Done<'a, T>(&'a Queue<T>);

impl<T> Drop for Done<'_, T> {
    fn drop(&mut self) {
        // Somebody may have called it done besides.
        let _ = self.0.task_done();
    }
}
