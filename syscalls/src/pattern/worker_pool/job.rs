//! A job, between who submitted it and who does it.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use trapline_abi::{Parking, WaitQueue};

use crate::pattern::worker_pool::JobError;

/// What a worker sees of a job.
pub(crate) trait Work {
    /// Goes on with it. Its panic is its submitter's.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// It will not be done: its submitter is told.
    fn fail(&self);

    /// Where a worker waits for its submitter to lose interest.
    fn withdrawn(&self) -> &WaitQueue;
}

type Body<T> = Pin<Box<dyn Future<Output = T>>>;

/// A job that gives a `T`.
pub(crate) struct Job<T> {
    /// Not here while it is polled, nor when it is over.
    body: RefCell<Option<Body<T>>>,
    result: RefCell<Option<Result<T, JobError>>>,
    is_over: Cell<bool>,
    done: WaitQueue,
    withdrawn: WaitQueue,
}

impl<T> Job<T> {
    pub(crate) fn new(body: Body<T>, site: &'static Location<'static>) -> Job<T> {
        Job {
            body: RefCell::new(Some(body)),
            result: RefCell::new(None),
            is_over: Cell::new(false),
            done: WaitQueue::of("a job", 0).made_at(site),
            withdrawn: WaitQueue::of("its job, or that to be withdrawn", 0).made_at(site),
        }
    }

    /// Waits for what comes of it.
    pub(crate) async fn result(&self, site: &'static Location<'static>) -> Result<T, JobError> {
        self.done.park_at(site).await;
        let result = self.result.borrow_mut().take();
        result.expect("a job that is done has a result")
    }

    fn end(&self, result: Result<T, JobError>) {
        if !self.is_over.replace(true) {
            self.result.replace(Some(result));
            self.done.wake();
        }
    }
}

impl<T> Work for Job<T> {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        // Out of its cell, for it may withdraw itself.
        let Some(mut body) = self.body.borrow_mut().take() else { return Poll::Ready(()) };
        let polled = catch_unwind(AssertUnwindSafe(|| body.as_mut().poll(cx)));
        let result = match polled {
            Ok(Poll::Pending) if !self.is_over.get() => {
                self.body.replace(Some(body));
                return Poll::Pending;
            }
            Ok(Poll::Pending) => Err(JobError::Killed),
            Ok(Poll::Ready(value)) => Ok(value),
            Err(payload) => Err(JobError::Panicked(payload)),
        };
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(body)));
        self.end(dropped.map_or_else(|payload| Err(JobError::Panicked(payload)), |()| result));
        Poll::Ready(())
    }

    fn fail(&self) {
        let body = self.body.borrow_mut().take();
        // Its destructor may panic. The submitter is told first.
        self.end(Err(JobError::Killed));
        drop(body);
    }

    fn withdrawn(&self) -> &WaitQueue {
        &self.withdrawn
    }
}

/// The submitter's interest in a job. When it is dropped, so is the job.
pub(crate) struct Withdrawal<T> {
    job: Rc<Job<T>>,
}

impl<T> Withdrawal<T> {
    pub(crate) fn of(job: &Rc<Job<T>>) -> Withdrawal<T> {
        Withdrawal { job: Rc::clone(job) }
    }
}

impl<T> Drop for Withdrawal<T> {
    fn drop(&mut self) {
        if !self.job.is_over.replace(true) {
            self.job.withdrawn.wake();
            let body = self.job.body.borrow_mut().take();
            drop(body);
        }
    }
}

/// A worker at a job, until that is over.
pub(crate) struct Running {
    job: Rc<dyn Work>,
    site: &'static Location<'static>,
    withdrawal: Option<Parking>,
}

impl Running {
    pub(crate) fn new(job: Rc<dyn Work>, site: &'static Location<'static>) -> Running {
        Running { job, site, withdrawal: None }
    }
}

impl Future for Running {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.job.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let site = this.site;
        let withdrawal = this.withdrawal.get_or_insert_with(|| Parking::new(1, site));
        withdrawal.poll(this.job.withdrawn(), cx).map(|_| ())
    }
}

/// A worker that is killed leaves its job undone.
impl Drop for Running {
    fn drop(&mut self) {
        self.job.fail();
    }
}
