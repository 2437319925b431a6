//! Stages that pass items on, each a task.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;

use futures::Stream;

use crate::pattern::part::Part;
use crate::pattern::stage::{Inlet, PipelineError, SharedStep, Turns, link, pump, pump_source};

/// How far the source may be ahead of the first stage.
const SOURCE_BUFFER: usize = 1;

/// A pipeline that begins with what `source` gives.
///
/// Add stages, each of which runs as a task of its own, with a bounded buffer behind it: a stage that
/// is faster than the next waits until there is room. A buffer of 0 passes items from hand to hand. Then
/// take what comes out, by [`for_each`](Pipeline::for_each), [`collect`](Pipeline::collect), or as a
/// [`Stream`]. Nothing runs before that is polled.
///
/// Whatever ends it ends it as a whole. When the source has ended, the stages end one after the other,
/// each when it has passed on all that it had. When a stage fails, panics or is killed, what it had
/// passed on still comes out, and after that the [`PipelineError`]. When what comes out is no longer
/// taken (the pipeline is dropped, or the future that takes from it), all stages are killed.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use futures::stream;
/// use trapline::pattern::pipeline;
///
/// let words = pipeline(stream::iter(["12", "fish", "30"]))
///     .filter_map(8, async |word: &str| word.parse::<u32>().ok())
///     .stage(8, async |number| number + 1)
///     .collect()
///     .await;
/// assert_eq!(words.unwrap(), [13, 31]);
/// # }).unwrap();
/// ```
///
/// # Cost
/// A stage: some allocations and a task. An item: what its channel costs, no trap where nobody waits.
///
/// # Kin
/// A shell's `a | b | c`; the pipelines of generators of David Beazley's course.
#[track_caller]
pub fn pipeline<S>(source: S) -> Pipeline<S::Item>
where
    S: Stream<Item: 'static> + 'static,
{
    let site = Location::caller();
    let (outlet, inlet) = link(SOURCE_BUFFER, site);
    let body = pump_source(Box::pin(source), outlet.clone(), site);
    let part = Part::new(site);
    part.add("source".into(), site, vec![outlet], body);
    Pipeline { parts: vec![part], inlet, stages: 0, site, state: State::Idle }
}

/// A pipeline, or what comes out of it. See [`pipeline`].
///
/// As a stream it gives `Err` once, at its end, if it did not end well. A stream that is dropped kills
/// the stages.
#[must_use = "a pipeline does nothing until something is taken from its end"]
pub struct Pipeline<T> {
    pub(crate) parts: Vec<Rc<Part>>,
    pub(crate) inlet: Inlet<T>,
    pub(crate) stages: usize,
    pub(crate) site: &'static Location<'static>,
    pub(crate) state: State<T>,
}

/// Where the stream stands.
pub(crate) enum State<T> {
    Idle,
    Waits(Pin<Box<dyn Future<Output = Result<Option<T>, PipelineError>>>>),
    Over,
}

impl<T: 'static> Pipeline<T> {
    /// Does `work` with each item, one after the other, and passes on what it gives. Behind it is room
    /// for `buffer` items.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use futures::stream;
    /// use trapline::pattern::pipeline;
    ///
    /// let lengths = pipeline(stream::iter(["one", "three"])).stage(4, async |word: &str| word.len());
    /// assert_eq!(lengths.collect().await.unwrap(), [3, 5]);
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn stage<U, Fut>(
        self,
        buffer: usize,
        mut work: impl FnMut(T) -> Fut + 'static,
    ) -> Pipeline<U>
    where
        U: 'static,
        Fut: Future<Output = U> + 'static,
    {
        let step = move |item| {
            let work = work(item);
            async move { Ok(Some(work.await)) }
        };
        self.grow(buffer, 1, None, step, Location::caller())
    }

    /// The same where `work` may give nothing: then nothing is passed on.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use futures::stream;
    /// use trapline::pattern::pipeline;
    ///
    /// let numbers = pipeline(stream::iter(["1", "fish"]))
    ///     .filter_map(4, async |word: &str| word.parse::<u32>().ok());
    /// assert_eq!(numbers.collect().await.unwrap(), [1]);
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn filter_map<U, Fut>(
        self,
        buffer: usize,
        mut work: impl FnMut(T) -> Fut + 'static,
    ) -> Pipeline<U>
    where
        U: 'static,
        Fut: Future<Output = Option<U>> + 'static,
    {
        let step = move |item| {
            let work = work(item);
            async move { Ok(work.await) }
        };
        self.grow(buffer, 1, None, step, Location::caller())
    }

    /// The same where `work` may fail: then the pipeline ends with that error.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use futures::stream;
    /// use trapline::pattern::pipeline;
    ///
    /// let numbers = pipeline(stream::iter(["1", "fish"]))
    ///     .try_stage(4, async |word: &str| word.parse::<u32>());
    /// let error = numbers.collect().await.unwrap_err();
    /// assert_eq!(error.failure().unwrap().to_string(), "invalid digit found in string");
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn try_stage<U, E, Fut>(
        self,
        buffer: usize,
        mut work: impl FnMut(T) -> Fut + 'static,
    ) -> Pipeline<U>
    where
        U: 'static,
        E: Into<Box<dyn Error>>,
        Fut: Future<Output = Result<U, E>> + 'static,
    {
        let step = move |item| {
            let work = work(item);
            async move { work.await.map(Some).map_err(Into::into) }
        };
        self.grow(buffer, 1, None, step, Location::caller())
    }

    /// A stage of so many tasks: each item goes to one that is free. What they give is passed on in the
    /// order in which they are done.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use futures::stream;
    /// use trapline::pattern::pipeline;
    ///
    /// let slept = pipeline(stream::iter([3, 1, 2])).parallel(4, 3, async |seconds| {
    ///     trapline::sleep(Duration::from_secs(seconds)).await;
    ///     seconds
    /// });
    /// // In the order in which they are done.
    /// assert_eq!(slept.collect().await.unwrap(), [1, 2, 3]);
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If there are no tasks.
    #[doc(alias = "buffer_unordered")]
    #[track_caller]
    pub fn parallel<U, Fut>(
        self,
        buffer: usize,
        tasks: usize,
        mut work: impl FnMut(T) -> Fut + 'static,
    ) -> Pipeline<U>
    where
        U: 'static,
        Fut: Future<Output = U> + 'static,
    {
        let step = move |item| {
            let work = work(item);
            async move { Ok(Some(work.await)) }
        };
        self.grow(buffer, tasks, None, step, Location::caller())
    }

    /// The same in the order of the items: one who is done waits until those before it have passed on
    /// theirs.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use futures::stream;
    /// use trapline::pattern::pipeline;
    ///
    /// let slept = pipeline(stream::iter([3, 1, 2])).parallel_ordered(4, 3, async |seconds| {
    ///     trapline::sleep(Duration::from_secs(seconds)).await;
    ///     seconds
    /// });
    /// let start = trapline::now().await;
    /// assert_eq!(slept.collect().await.unwrap(), [3, 1, 2]);
    /// assert_eq!(trapline::now().await - start, Duration::from_secs(3));
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If there are no tasks.
    #[doc(alias = "buffered")]
    #[track_caller]
    pub fn parallel_ordered<U, Fut>(
        self,
        buffer: usize,
        tasks: usize,
        mut work: impl FnMut(T) -> Fut + 'static,
    ) -> Pipeline<U>
    where
        U: 'static,
        Fut: Future<Output = U> + 'static,
    {
        let step = move |item| {
            let work = work(item);
            async move { Ok(Some(work.await)) }
        };
        self.grow(buffer, tasks, Some(Rc::new(Turns::new())), step, Location::caller())
    }

    /// Names the stage that was added last, for the task table and its errors.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use futures::stream;
    /// use trapline::pattern::pipeline;
    ///
    /// let parsed = pipeline(stream::iter(["fish"]))
    ///     .try_stage(4, async |word: &str| word.parse::<u32>())
    ///     .named("parse");
    /// assert_eq!(parsed.collect().await.unwrap_err().stage(), "parse");
    /// # }).unwrap();
    /// ```
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Pipeline<T> {
        if let Some(last) = self.parts.last() {
            last.rename(&name.into());
        }
        self
    }

    fn grow<U, Fut>(
        self,
        buffer: usize,
        tasks: usize,
        turns: Option<Rc<Turns>>,
        step: impl FnMut(T) -> Fut + 'static,
        site: &'static Location<'static>,
    ) -> Pipeline<U>
    where
        U: 'static,
        Fut: Future<Output = Result<Option<U>, Box<dyn Error>>> + 'static,
    {
        assert!(tasks > 0, "a stage has a task");
        let stages = self.stages + 1;
        let (outlet, inlet) = link(buffer, site);
        let step = SharedStep::new(step);
        let part = Part::new(site);
        for _task in 0..tasks {
            let (from, to) = (self.inlet.clone(), outlet.clone());
            let body = pump(from, to.clone(), turns.clone(), step.clone(), site);
            part.add(format!("stage {stages}").into(), site, vec![to], body);
        }
        self.continue_with(part, inlet, stages, site)
    }

    /// The same pipeline with one more part behind it.
    pub(crate) fn continue_with<U>(
        self,
        part: Rc<Part>,
        inlet: Inlet<U>,
        stages: usize,
        site: &'static Location<'static>,
    ) -> Pipeline<U> {
        let mut parts = self.parts;
        parts.push(part);
        Pipeline { parts, inlet, stages, site, state: State::Idle }
    }

    pub(crate) fn start(&self) {
        self.parts.iter().for_each(|part| part.start());
    }
}

impl<T> Unpin for Pipeline<T> {}

impl<T> fmt::Debug for Pipeline<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tasks: usize = self.parts.iter().map(|part| part.tasks()).sum();
        f.debug_struct("Pipeline")
            .field("stages", &self.stages)
            .field("tasks", &tasks)
            .finish_non_exhaustive()
    }
}
