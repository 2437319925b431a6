//! Jobs, done by a fixed number of tasks.

mod job;

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use trapline_abi::Ring;

use crate::channel::{Receiver, Sender, channel_at};
use crate::pattern::crew::{Crew, Start};
use crate::pattern::worker_pool::job::{Job, Running, Withdrawal, Work};

/// A fixed number of tasks that do jobs, each one at a time, first come, first served.
///
/// The workers are started with the first job. Jobs that none is free for wait in a backlog; where
/// that is full, those who submit wait. A panic of a job goes to its submitter, and the worker goes on
/// with the next one. A worker that is killed is replaced; its job is lost, and the submitter told.
///
/// Dropping the pool [`abort`](WorkerPool::abort)s it. The workers are daemons: a pool that nobody
/// waits for does not keep a program running.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
/// use trapline::pattern::{JobError, WorkerPool};
///
/// let pool = WorkerPool::new(4, 16);
/// let job = async {
///     trapline::sleep(Duration::from_secs(1)).await;
///     42
/// };
/// assert_eq!(pool.submit(job).await.unwrap(), 42);
/// assert!(matches!(pool.submit(async { panic!("no") }).await, Err(JobError::Panicked(_))));
/// pool.shutdown().await;
/// # }).unwrap();
/// ```
///
/// # Kin
/// `concurrent.futures.Executor`; a `tokio::task::JoinSet` behind a semaphore.
pub struct WorkerPool {
    core: Rc<Core>,
}

struct Core {
    workers: usize,
    backlog: usize,
    jobs: Sender<Rc<dyn Work>>,
    taken: Receiver<Rc<dyn Work>>,
    crew: Crew,
    aborted: Cell<bool>,
    site: &'static Location<'static>,
}

impl WorkerPool {
    /// A pool of so many workers, and a backlog of so many jobs.
    ///
    /// It may be made outside a task.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::pattern::WorkerPool;
    ///
    /// let pool = WorkerPool::new(4, 16);
    /// assert_eq!(pool.submit(async { 42 }).await.unwrap(), 42);
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If either is zero.
    #[must_use]
    #[track_caller]
    pub fn new(workers: usize, backlog: usize) -> WorkerPool {
        assert!(workers > 0 && backlog > 0, "a pool has a worker, and room for a job");
        let site = Location::caller();
        let (jobs, taken) = channel_at(backlog, site);
        let core = Core {
            workers,
            backlog,
            jobs,
            taken,
            crew: Crew::new("the workers of a pool to end", site),
            aborted: Cell::new(false),
            site,
        };
        WorkerPool { core: Rc::new(core) }
    }

    /// Has a job done, and gives what it gives. Waits for room in the backlog first.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::pattern::WorkerPool;
    ///
    /// let pool = WorkerPool::new(2, 8);
    /// let (one, two) = trapline::join(pool.submit(async { 1 }), pool.submit(async { 2 })).await;
    /// assert_eq!(one.unwrap() + two.unwrap(), 3);
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`JobError::Panicked`] if the job panicked; [`JobError::Killed`] if its worker was killed, or the
    /// pool aborted; [`JobError::Closed`] if the pool was shut down before there was room.
    ///
    /// # Panics
    /// If it is polled outside a task, or again after it was ready.
    ///
    /// # Cancel safety
    /// Lossy: the job is dropped, begun or not. One that was not begun keeps its place in the backlog
    /// until a worker passes over it.
    ///
    /// # Cost
    /// Four allocations, and one trap, for the result; one more where the backlog is full.
    #[track_caller]
    pub fn submit<T: 'static>(&self, job: impl Future<Output = T> + 'static) -> Submit<T> {
        let site = Location::caller();
        let core = Rc::clone(&self.core);
        let job = Rc::new(Job::new(Box::pin(job), site));
        let inner = Box::pin(async move {
            let withdrawal = Withdrawal::of(&job);
            core.start_workers();
            let work: Rc<dyn Work> = Rc::clone(&job) as Rc<dyn Work>;
            if core.jobs.send_at(work, site).await.is_err() {
                return Err(if core.aborted.get() { JobError::Killed } else { JobError::Closed });
            }
            let result = job.result(site).await;
            drop(withdrawal);
            result
        });
        Submit { inner }
    }

    /// Takes no more jobs, and waits until those that it has are done, and the workers have ended.
    /// Those who wait for room are told that it is closed.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::pattern::{JobError, WorkerPool};
    ///
    /// let pool = WorkerPool::new(2, 8);
    /// pool.submit(async {}).await.unwrap();
    /// pool.shutdown().await;
    /// assert!(matches!(pool.submit(async {}).await, Err(JobError::Closed)));
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If it is polled outside a task, or again after it was ready.
    ///
    /// # Cancel safety
    /// Safe: once it was polled, the pool takes no more jobs, and does those that it has. It may be
    /// asked for again.
    ///
    /// # Cost
    /// One trap for each worker that has to end, at most.
    #[track_caller]
    pub fn shutdown(&self) -> WorkerPoolShutdown {
        let site = Location::caller();
        let core = Rc::clone(&self.core);
        let inner = Box::pin(async move {
            core.jobs.close();
            core.crew.at_most(0, site).await;
        });
        WorkerPoolShutdown { inner }
    }

    /// Kills the workers and drops all jobs. Their submitters are told that they were killed.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::pattern::{JobError, WorkerPool};
    ///
    /// let pool = WorkerPool::new(2, 8);
    /// let stuck = pool.submit(std::future::pending::<()>());
    /// let (stuck, ()) = trapline::join(stuck, async { pool.abort() }).await;
    /// assert!(matches!(stuck, Err(JobError::Killed)));
    /// # }).unwrap();
    /// ```
    ///
    /// # Cost
    /// No trap; O(jobs).
    pub fn abort(&self) {
        self.core.aborted.set(true);
        self.core.jobs.close();
        self.core.crew.kill();
        self.core.taken.fail_all();
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        self.abort();
    }
}

impl fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Core { workers, backlog, jobs, .. } = &*self.core;
        f.debug_struct("WorkerPool")
            .field("workers", workers)
            .field("backlog", backlog)
            .field("waiting_jobs", &jobs.len())
            .field("closed", &jobs.is_closed())
            .finish()
    }
}

/// The future of [`WorkerPool::submit`].
#[must_use = "a job is not submitted until this is awaited"]
pub struct Submit<T> {
    inner: Pin<Box<dyn Future<Output = Result<T, JobError>>>>,
}

impl<T> Future for Submit<T> {
    type Output = Result<T, JobError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.inner.as_mut().poll(cx)
    }
}

impl<T> fmt::Debug for Submit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submit").finish_non_exhaustive()
    }
}

/// The future of [`WorkerPool::shutdown`].
#[must_use = "a pool is not shut down until this is awaited"]
pub struct WorkerPoolShutdown {
    inner: Pin<Box<dyn Future<Output = ()>>>,
}

impl Future for WorkerPoolShutdown {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.inner.as_mut().poll(cx)
    }
}

impl fmt::Debug for WorkerPoolShutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerPoolShutdown").finish_non_exhaustive()
    }
}

/// Why a job gave nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum JobError {
    /// It panicked; this is the payload, for `std::panic::resume_unwind`.
    Panicked(Box<dyn Any + Send>),
    /// Its worker was killed, or the pool aborted.
    Killed,
    /// The pool was shut down before it had taken the job.
    Closed,
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobError::Panicked(payload) => {
                write!(f, "the job panicked: {}", text_of(payload.as_ref()))
            }
            JobError::Killed => f.write_str("the job was killed"),
            JobError::Closed => f.write_str("the pool takes no more jobs"),
        }
    }
}

impl std::error::Error for JobError {}

/// What a panic said.
pub(crate) fn text_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&'static str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a payload that is no text")
}

impl Core {
    /// Brings the pool up to strength.
    fn start_workers(self: &Rc<Core>) {
        if self.jobs.is_closed() {
            return;
        }
        for _worker in self.crew.len()..self.workers {
            self.start_worker();
        }
    }

    fn start_worker(self: &Rc<Core>) {
        let place = Place { core: Rc::downgrade(self), jobs: self.taken.clone(), works: false };
        let body = Box::pin(place.work(self.site));
        self.crew.start(Start { name: "worker".into(), site: self.site, body }, true);
    }
}

impl Receiver<Rc<dyn Work>> {
    /// What was submitted to a pool that is no more. The panic of a job's destructor comes after all
    /// submitters were told.
    fn fail_all(&self) {
        let mut panic = None;
        while let Ok(job) = self.try_recv() {
            panic = catch_unwind(AssertUnwindSafe(|| job.fail())).err().or(panic);
        }
        if let Some(payload) = panic.filter(|_| !std::thread::panicking()) {
            resume_unwind(payload);
        }
    }
}

/// A worker's place in the pool: there is another worker if it is killed.
struct Place {
    core: Weak<Core>,
    jobs: Receiver<Rc<dyn Work>>,
    /// It has begun, and has not come to the end.
    works: bool,
}

impl Place {
    /// Does one job after the other.
    async fn work(mut self, site: &'static Location<'static>) {
        self.works = true;
        while let Some(job) = self.jobs.recv_at(site).await {
            Running::new(job, site).await;
        }
        self.works = false;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        match self.core.upgrade().filter(|core| !core.aborted.get()) {
            None => self.jobs.fail_all(),
            Some(core) if self.works && Ring::current().is_some() => core.start_worker(),
            Some(_) => {}
        }
    }
}
