//! The threads that run closures: one pool for the process. Each scheduler bounds what it sends here.
//!
//! The `blocking` crate would do, but that its idle threads wake up twice a second and stay for ever.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// No more threads than this, however many schedulers there are; tokio has the same bound.
const MOST_THREADS: usize = 512;

/// A thread that has had nothing to do for so long ends. A guess: long to a thread, short to a person.
const IDLE: Duration = Duration::from_secs(10);

pub(super) type Job = Box<dyn FnOnce() + Send>;

struct Pool {
    jobs: VecDeque<Job>,
    threads: usize,
    /// Threads that wait for a job, those told of one and not yet awake too.
    idle: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { jobs: VecDeque::new(), threads: 0, idle: 0 });
static WORK: Condvar = Condvar::new();

fn lock() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has a thread run `job`: an idle one, or else a new one while there may be more, or else the first
/// that is done.
///
/// Fails if there is no thread and none can be started; then the job is dropped.
pub(super) fn run(job: Job) -> io::Result<()> {
    let mut pool = lock();
    pool.jobs.push_back(job);
    if pool.jobs.len() <= pool.idle {
        WORK.notify_one();
        return Ok(());
    }
    if pool.threads >= MOST_THREADS {
        return Ok(());
    }
    let started = thread::Builder::new().name("trapline-unblock".into()).spawn(work);
    match started {
        Ok(_) => pool.threads += 1,
        // Those that there are will come to it.
        Err(_) if pool.threads > 0 => {}
        Err(error) => {
            let refused = pool.jobs.pop_back();
            drop(pool);
            drop(refused);
            return Err(error);
        }
    }
    Ok(())
}

/// What a thread does: jobs in order of arrival, until there has been none for a while.
fn work() {
    let mut pool = lock();
    loop {
        while let Some(job) = pool.jobs.pop_front() {
            drop(pool);
            // It guards what it runs; what is left to panic is a destructor.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(job)) {
                std::mem::forget(payload);
            }
            pool = lock();
        }
        pool.idle += 1;
        let waited = WORK.wait_timeout(pool, IDLE).unwrap_or_else(PoisonError::into_inner);
        pool = waited.0;
        pool.idle -= 1;
        if waited.1.timed_out() && pool.jobs.is_empty() {
            pool.threads -= 1;
            return;
        }
    }
}
