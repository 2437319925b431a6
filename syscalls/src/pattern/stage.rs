//! What runs between two ends of a pipeline, and how it ends.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location};
use std::pin::Pin;
use std::rc::Rc;

use futures::{FutureExt, Stream, StreamExt};
use trapline_abi::WaitQueue;

use crate::channel::{Receiver, Sender, channel_at};
use crate::pattern::worker_pool::text_of;

/// Why a pipeline ended before its source did.
#[derive(Clone)]
pub struct PipelineError {
    stage: Rc<str>,
    cause: Rc<Cause>,
}

enum Cause {
    Panicked { text: String, payload: RefCell<Option<Box<dyn Any + Send>>> },
    Failed(Box<dyn Error>),
    Killed,
}

impl PipelineError {
    fn of(stage: &Rc<str>, cause: Cause) -> PipelineError {
        PipelineError { stage: Rc::clone(stage), cause: Rc::new(cause) }
    }

    /// Which stage it was: the name of its task, `stage 2` say, or what it was
    /// [`named`](crate::pattern::Pipeline::named).
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use futures::stream;
    /// use trapline::pattern::pipeline;
    ///
    /// let parsed = pipeline(stream::iter(["fish"])).try_stage(4, async |word: &str| word.parse::<u32>());
    /// assert_eq!(parsed.collect().await.unwrap_err().stage(), "stage 1");
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn stage(&self) -> &str {
        &self.stage
    }

    /// Whether the stage panicked.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use futures::stream;
    /// use trapline::pattern::pipeline;
    ///
    /// let divided = pipeline(stream::iter([0_u32])).stage(4, async |number| 1 / number);
    /// assert!(divided.collect().await.unwrap_err().is_panic());
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(*self.cause, Cause::Panicked { .. })
    }

    /// Whether the stage was killed or cancelled by somebody else.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use futures::stream;
    /// use trapline::pattern::pipeline;
    ///
    /// let suicidal = pipeline(stream::iter([1])).stage(4, async |_: i32| {
    ///     let me = trapline::get_tid().await;
    ///     let _ended = trapline::kill(me).await;
    /// });
    /// assert!(suicidal.collect().await.unwrap_err().is_killed());
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn is_killed(&self) -> bool {
        matches!(*self.cause, Cause::Killed)
    }

    /// The error that the stage gave, if that is how it ended.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use futures::stream;
    /// use trapline::pattern::pipeline;
    ///
    /// let failed = pipeline(stream::iter([1])).try_stage(4, async |_| Err::<(), _>("out of cheese"));
    /// let error = failed.collect().await.unwrap_err();
    /// assert_eq!(error.failure().unwrap().to_string(), "out of cheese");
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn failure(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.cause {
            Cause::Failed(error) => Some(error.as_ref()),
            _ => None,
        }
    }

    /// The payload of the panic, for `std::panic::resume_unwind`. It can be taken once.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use futures::stream;
    /// use trapline::pattern::pipeline;
    ///
    /// let panics = pipeline(stream::iter([1])).stage(4, async |_| panic!("out of cheese"));
    /// let error = panics.collect().await.unwrap_err();
    /// assert_eq!(error.take_panic().unwrap().downcast_ref(), Some(&"out of cheese"));
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn take_panic(&self) -> Option<Box<dyn Any + Send>> {
        match &*self.cause {
            Cause::Panicked { payload, .. } => payload.take(),
            _ => None,
        }
    }
}

impl fmt::Display for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.stage)?;
        match &*self.cause {
            Cause::Panicked { text, .. } => write!(f, "panicked: {text}"),
            Cause::Failed(error) => write!(f, "failed: {error}"),
            Cause::Killed => f.write_str("was killed"),
        }
    }
}

impl fmt::Debug for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PipelineError({self})")
    }
}

impl Error for PipelineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.failure()
    }
}

/// How what comes before ended, if not well. Kept beside the channel, so that a full one does not hold
/// it up; told to all who receive from it, once they have taken what had come before.
type Fault = Rc<Cell<Option<PipelineError>>>;

/// A bounded buffer between two stages.
pub(crate) fn link<T>(buffer: usize, site: &'static Location<'static>) -> (Outlet<T>, Inlet<T>) {
    let (sender, receiver) = channel_at(buffer, site);
    let fault = Fault::default();
    (Outlet { sender, fault: Rc::clone(&fault) }, Inlet { receiver, fault })
}

/// Where a stage takes its items from.
pub(crate) struct Inlet<T> {
    receiver: Receiver<T>,
    fault: Fault,
}

impl<T> Clone for Inlet<T> {
    fn clone(&self) -> Inlet<T> {
        Inlet { receiver: self.receiver.clone(), fault: Rc::clone(&self.fault) }
    }
}

impl<T> Inlet<T> {
    /// The next item; `None` at the end.
    pub(crate) async fn next(
        &self,
        site: &'static Location<'static>,
    ) -> Result<Option<T>, PipelineError> {
        let item = self.receiver.recv_at(site).await;
        if item.is_none()
            && let Some(fault) = self.fault.take()
        {
            self.fault.set(Some(fault.clone()));
            return Err(fault);
        }
        Ok(item)
    }
}

/// Where a stage puts what it gives.
pub(crate) struct Outlet<T> {
    sender: Sender<T>,
    fault: Fault,
}

impl<T> Clone for Outlet<T> {
    fn clone(&self) -> Outlet<T> {
        Outlet { sender: self.sender.clone(), fault: Rc::clone(&self.fault) }
    }
}

/// Nobody takes it; here it is back.
pub(crate) struct Unwanted<T>(pub(crate) T);

impl<T> Outlet<T> {
    pub(crate) async fn put(
        &self,
        item: T,
        site: &'static Location<'static>,
    ) -> Result<(), Unwanted<T>> {
        self.sender.send_at(item, site).await.map_err(|back| Unwanted(back.into_inner()))
    }

    /// Nothing comes any more, for this reason. The first one counts.
    pub(crate) fn fail(&self, error: PipelineError) {
        let first = self.fault.take().unwrap_or(error);
        self.fault.set(Some(first));
        self.sender.close();
    }
}

/// What a stage does with an item, for all tasks of the stage. It is out of its cell while it runs; where
/// it panics it does not come back.
pub(crate) struct SharedStep<T, Fut>(Rc<Cell<Option<Step<T, Fut>>>>);

type Step<T, Fut> = Box<dyn FnMut(T) -> Fut>;

impl<T, Fut> Clone for SharedStep<T, Fut> {
    fn clone(&self) -> SharedStep<T, Fut> {
        SharedStep(Rc::clone(&self.0))
    }
}

impl<T, Fut> SharedStep<T, Fut> {
    pub(crate) fn new(step: impl FnMut(T) -> Fut + 'static) -> SharedStep<T, Fut> {
        SharedStep(Rc::new(Cell::new(Some(Box::new(step)))))
    }

    fn call(&self, item: T) -> Option<Fut> {
        let mut step = self.0.take()?;
        let work = step(item);
        self.0.set(Some(step));
        Some(work)
    }
}

/// The name of a stage, which it may be given after it was made.
pub(crate) type StageName = Rc<RefCell<Rc<str>>>;

/// Runs the body of a stage, and tells those behind it how it ended, whatever way that was.
pub(crate) async fn conduct<T>(
    mut epitaph: Epitaph<T>,
    body: impl Future<Output = Result<(), StageEnd>>,
) {
    let ended = AssertUnwindSafe(body).catch_unwind().await;
    let error = match ended {
        Ok(Ok(())) => None,
        Ok(Err(StageEnd::Upstream(error))) => Some(error),
        Ok(Err(StageEnd::Failed(error))) => {
            Some(PipelineError::of(&epitaph.stage.borrow(), Cause::Failed(error)))
        }
        Err(payload) => {
            let text = text_of(payload.as_ref()).to_owned();
            let cause = Cause::Panicked { text, payload: RefCell::new(Some(payload)) };
            Some(PipelineError::of(&epitaph.stage.borrow(), cause))
        }
    };
    let outlets = std::mem::take(&mut epitaph.outlets);
    if let Some(error) = error {
        outlets.iter().for_each(|outlet| outlet.fail(error.clone()));
    }
}

/// How a stage ended that did not come to the end of its input.
pub(crate) enum StageEnd {
    Upstream(PipelineError),
    Failed(Box<dyn Error>),
}

/// What is told of a stage that ends in the middle, or before it has begun.
pub(crate) struct Epitaph<T> {
    stage: StageName,
    outlets: Vec<Outlet<T>>,
}

impl<T> Epitaph<T> {
    pub(crate) fn new(stage: StageName, outlets: Vec<Outlet<T>>) -> Epitaph<T> {
        Epitaph { stage, outlets }
    }
}

impl<T> Drop for Epitaph<T> {
    fn drop(&mut self) {
        for outlet in &self.outlets {
            outlet.fail(PipelineError::of(&self.stage.borrow(), Cause::Killed));
        }
    }
}

/// The body of the first stage: passes on what a stream gives.
pub(crate) async fn pump_source<T>(
    mut source: Pin<Box<dyn Stream<Item = T>>>,
    outlet: Outlet<T>,
    site: &'static Location<'static>,
) -> Result<(), StageEnd> {
    while let Some(item) = source.next().await {
        if outlet.put(item, site).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// The body of a stage that does one thing with each item, which may give one.
pub(crate) async fn pump<T, U, Fut>(
    inlet: Inlet<T>,
    outlet: Outlet<U>,
    turns: Option<Rc<Turns>>,
    step: SharedStep<T, Fut>,
    site: &'static Location<'static>,
) -> Result<(), StageEnd>
where
    Fut: Future<Output = Result<Option<U>, Box<dyn Error>>>,
{
    while let Some(item) = inlet.next(site).await.map_err(StageEnd::Upstream)? {
        // Whoever takes an item takes its number: they come in the same order.
        let turn = turns.as_ref().map(|turns| turns.draw());
        let Some(work) = step.call(item) else { break };
        let given = work.await.map_err(StageEnd::Failed)?;
        if let (Some(turns), Some(number)) = (&turns, turn) {
            turns.come(number, site).await;
        }
        if let Some(given) = given
            && outlet.put(given, site).await.is_err()
        {
            break;
        }
        if let Some(turns) = &turns {
            turns.pass();
        }
    }
    Ok(())
}

/// Lets those who drew numbers go on in their order.
pub(crate) struct Turns {
    drawn: Cell<u64>,
    due: Cell<u64>,
    passed: WaitQueue,
}

impl Turns {
    #[track_caller]
    pub(crate) fn new() -> Turns {
        let passed = WaitQueue::signal("those before it in the order");
        Turns { drawn: Cell::new(0), due: Cell::new(0), passed }
    }

    fn draw(&self) -> u64 {
        self.drawn.replace(self.drawn.get() + 1)
    }

    async fn come(&self, number: u64, site: &'static Location<'static>) {
        while self.due.get() != number {
            self.passed.park_at(site).await;
        }
    }

    fn pass(&self) {
        self.due.set(self.due.get() + 1);
        self.passed.wake_all();
    }
}
