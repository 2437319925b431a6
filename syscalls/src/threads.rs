//! Other threads: closures that would block the loop, run elsewhere; and the way back in.

mod pool;

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::thread;

use trapline_abi::{
    CallId, Door, Handle, KernelFace, OwnCall, OwnTrap, Park, Ring, Served, own_call_at,
};

/// The scheduler of the running task, as other threads see it: for starting tasks in it from there.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let handle = trapline::handle();
/// let child = trapline::unblock(move || {
///     // On another thread.
///     handle.spawn(|| async { trapline::get_tid().await.sequence() })
/// });
/// assert_eq!(child.await.await.unwrap(), 2);
/// # }).unwrap();
/// ```
///
/// # Panics
/// Outside a scheduler.
///
/// # Cost
/// No trap, no allocation.
///
/// # Kin
/// tokio's `Handle::current`; trio's `current_trio_token`.
#[must_use]
pub fn handle() -> Handle {
    let ring = Ring::current().expect("`handle` is called by a task, or it is `Scheduler::handle`");
    Handle::new(ring.door())
}

/// Runs `work` on another thread, and gives what it gives: for what would block the loop, or
/// compute for long.
///
/// The threads are shared by all schedulers of the process, and started when they are needed. So many
/// closures of a scheduler run at the same time as its builder allows
/// (`Builder::thread_limit`); further ones wait their turn, first come, first served. While a closure
/// runs its scheduler sleeps if it has nothing else to do, however long that takes: it is neither in a
/// deadlock nor stalled. A virtual clock jumps meanwhile if a timer is armed.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let sum: u64 = trapline::unblock(|| (1..=1_000_000).sum()).await;
/// assert_eq!(sum, 500_000_500_000);
/// # }).unwrap();
/// ```
///
/// # Panics
/// With the panic of `work`. Polled outside a task; under a kernel that takes nothing in from other
/// threads; where no thread can be started and there is none.
///
/// # Cancel safety
/// Lossy: a closure that has not begun is dropped, unrun. One that has begun runs on, on its thread,
/// which then serves others; what it gives is dropped by the scheduler.
///
/// # Cost
/// One trap, some allocations, and two switches of threads. One trap more where it waits its turn.
///
/// # Kin
/// tokio's `spawn_blocking`; trio's `to_thread.run_sync`, curio's `run_in_thread`; the `blocking` crate.
#[doc(alias("spawn_blocking", "run_in_thread", "to_thread"))]
#[track_caller]
pub fn unblock<T, W>(work: W) -> Unblock<T, W>
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
{
    Unblock { site: Location::caller(), state: State::Idle(Some(work)) }
}

/// The future of [`unblock`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let sum = trapline::unblock(|| (1..=100).sum::<u32>());
/// // The task waits; the others run on.
/// assert_eq!(sum.await, 5050);
/// # }).unwrap();
/// ```
#[must_use = "nothing is run until it is awaited"]
pub struct Unblock<T: Send + 'static, W: FnOnce() -> T + Send + 'static> {
    site: &'static Location<'static>,
    state: State<T, W>,
}

enum State<T: Send + 'static, W: FnOnce() -> T + Send + 'static> {
    /// Not polled; or taken, and then without a closure.
    Idle(Option<W>),
    /// Waits its turn.
    Queued(Option<W>, Park<'static>),
    /// Waits for a thread.
    Begun(OwnTrap<OnThread<T, W>>),
}

/// Nothing in it is pinned: the closure is called on another thread, from there.
impl<T: Send + 'static, W: FnOnce() -> T + Send + 'static> Unpin for Unblock<T, W> {}

impl<T: Send + 'static, W: FnOnce() -> T + Send + 'static> Future for Unblock<T, W> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let site = self.site;
        loop {
            let work = match &mut self.state {
                State::Idle(work) => {
                    let ring = Ring::of_running_task();
                    assert!(work.is_some(), "`unblock` was polled again after it was ready");
                    if !ring.threads().try_take() {
                        let park = ring.threads().park_at(site);
                        self.state = State::Queued(work.take(), park);
                        continue;
                    }
                    work.take()
                }
                State::Queued(work, park) => {
                    ready!(Pin::new(park).poll(cx));
                    work.take()
                }
                State::Begun(trap) => {
                    let ended = ready!(Pin::new(trap).poll(cx));
                    self.state = State::Idle(None);
                    return Poll::Ready(ended.unwrap_or_else(|panic| resume_unwind(panic)));
                }
            };
            let ring = Ring::of_running_task();
            let permit = Permit { ring: Some((ring, ring.life())) };
            let call = OnThread { work: Arc::new(Mutex::new(work)), permit, output: PhantomData };
            self.state = State::Begun(own_call_at(call, site));
        }
    }
}

impl<T: Send + 'static, W: FnOnce() -> T + Send + 'static> fmt::Debug for Unblock<T, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Idle(Some(_)) => "not polled",
            State::Idle(None) => "ready",
            State::Queued(..) => "queued",
            State::Begun(_) => "begun",
        };
        f.debug_struct("Unblock").field("state", &state).finish_non_exhaustive()
    }
}

/// The right to have one closure on a thread: a token of the ring's, given back in the end.
struct Permit {
    /// The ring and its life; `None` once the errand gives it back.
    ring: Option<(&'static Ring, u64)>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((ring, life)) = self.ring
            && ring.life() == life
        {
            ring.threads().wake();
        }
    }
}

/// The call that waits for a thread. Its handler sends the closure there.
struct OnThread<T, W> {
    /// Shared with the thread: whoever takes it first has it, the thread to run it, or the end of this
    /// call to drop it.
    work: Arc<Mutex<Option<W>>>,
    permit: Permit,
    output: PhantomData<fn() -> T>,
}

impl<T, W> OwnCall for OnThread<T, W>
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
{
    type Reply = thread::Result<T>;

    fn name(&self) -> &'static str {
        "unblock"
    }

    fn serve(&mut self, _kernel: &mut dyn KernelFace, call: CallId) -> Served<Self::Reply> {
        let ring = Ring::current().expect("a call is served by a scheduler at work");
        let errand = Return { door: ring.door(), call, ended: None::<thread::Result<T>> };
        let work = Arc::clone(&self.work);
        let sent = pool::run(Box::new(move || {
            let work = work.lock().unwrap_or_else(PoisonError::into_inner).take();
            errand.hand_in(work.map(|work| catch_unwind(AssertUnwindSafe(work))));
        }));
        // The token comes back with the errand.
        self.permit.ring = None;
        ring.owe_errand();
        if let Err(error) = sent {
            panic!("no thread can be started: {error}");
        }
        Served::Block
    }
}

impl<T, W> Drop for OnThread<T, W> {
    fn drop(&mut self) {
        let unrun = self.work.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Foreign code, so the lock is free.
        drop(unrun);
    }
}

/// The way back: hands in, when it is dropped, what the closure came to. If the closure was not run,
/// there is still the token to give back.
struct Return<T: Send + 'static> {
    door: Arc<dyn Door>,
    call: CallId,
    ended: Option<thread::Result<T>>,
}

impl<T: Send + 'static> Return<T> {
    fn hand_in(mut self, ended: Option<thread::Result<T>>) {
        self.ended = ended;
    }
}

impl<T: Send + 'static> Drop for Return<T> {
    fn drop(&mut self) {
        let (call, ended) = (self.call, self.ended.take());
        // A scheduler that is gone needs nothing: the value is dropped here.
        drop(self.door.send(Box::new(move || come_back(call, ended))));
    }
}

/// Runs on the scheduler's thread.
fn come_back<T: Send + 'static>(call: CallId, ended: Option<thread::Result<T>>) {
    let Some(ring) = Ring::current() else { return };
    ring.errand_paid();
    ring.threads().wake();
    if let Some(ended) = ended {
        let reply: Box<dyn Any> = Box::new(ended);
        // Where nobody waits any more, the value is dropped here.
        drop(ring.answer_own(call, reply));
    }
}
