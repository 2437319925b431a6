//! Stages that pass items on, each a task.

use std::borrow::Cow;
use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures::Stream;
use futures::stream::FusedStream;

pub use crate::pattern::stage::PipelineError;

use crate::pattern::crew::{Body, Crew, Start};
use crate::pattern::stage::{
    Epitaph, Inlet, Outlet, SharedStep, StageEnd, StageName, Turns, conduct, link, pump,
    pump_source,
};

/// How far the source may be ahead of the first stage.
const SOURCE_BUFFER: usize = 1;

/// A pipeline that begins with what `source` gives.
///
/// Add stages, each of which runs as a task of its own, with a bounded buffer behind it: a stage that
/// is faster than the next waits until there is room. Then take what comes out, by
/// [`for_each`](Pipeline::for_each), [`collect`](Pipeline::collect), or as a
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
    let (outlet, inlet) = link(SOURCE_BUFFER);
    let body = pump_source(Box::pin(source), outlet.clone(), site);
    let part = Part::new();
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
    /// # Panics
    /// If there are no tasks.
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
    /// # Panics
    /// If there are no tasks.
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
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Pipeline<T> {
        if let Some(last) = self.parts.last() {
            last.rename(&name.into());
        }
        self
    }

    /// Does `work` with each item that comes out, in the task that awaits this.
    ///
    /// # Errors
    /// [`PipelineError`], if a stage did not end well, after what had come out before.
    ///
    /// # Panics
    /// If it is polled outside a task, or again after it was ready.
    ///
    /// # Cancel safety
    /// Lossy: dropping it kills the stages, and drops what they had.
    #[track_caller]
    pub fn for_each<Fut>(self, mut work: impl FnMut(T) -> Fut + 'static) -> ForEach
    where
        Fut: Future<Output = ()> + 'static,
    {
        let site = Location::caller();
        let inner = Box::pin(async move {
            self.start();
            while let Some(item) = self.inlet.next(site).await? {
                work(item).await;
            }
            Ok(())
        });
        ForEach { inner: Some(inner) }
    }

    /// Collects what comes out.
    ///
    /// # Errors
    /// [`PipelineError`], if a stage did not end well.
    ///
    /// # Panics
    /// If it is polled outside a task, or again after it was ready.
    ///
    /// # Cancel safety
    /// Lossy: dropping it kills the stages, and drops what they had and what has come out.
    #[track_caller]
    pub fn collect(self) -> Collect<T> {
        let site = Location::caller();
        let inner = Box::pin(async move {
            self.start();
            let mut items = Vec::new();
            while let Some(item) = self.inlet.next(site).await? {
                items.push(item);
            }
            Ok(items)
        });
        Collect { inner: Some(inner) }
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
        let (outlet, inlet) = link(buffer);
        let step = SharedStep::new(step);
        let part = Part::new();
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

    fn start(&self) {
        self.parts.iter().for_each(|part| part.start());
    }
}

impl<T: 'static> Stream for Pipeline<T> {
    type Item = Result<T, PipelineError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let State::Idle = this.state {
            this.start();
            let (inlet, site) = (this.inlet.clone(), this.site);
            this.state = State::Waits(Box::pin(async move { inlet.next(site).await }));
        }
        let State::Waits(next) = &mut this.state else { return Poll::Ready(None) };
        let item = ready!(next.as_mut().poll(cx)).transpose();
        this.state = State::Idle;
        if !matches!(item, Some(Ok(_))) {
            this.state = State::Over;
            this.parts.clear();
        }
        Poll::Ready(item)
    }
}

impl<T: 'static> FusedStream for Pipeline<T> {
    fn is_terminated(&self) -> bool {
        matches!(self.state, State::Over)
    }
}

impl<T> Unpin for Pipeline<T> {}

impl<T> fmt::Debug for Pipeline<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tasks: usize = self.parts.iter().map(|part| part.crew.len()).sum();
        f.debug_struct("Pipeline")
            .field("stages", &self.stages)
            .field("tasks", &tasks)
            .finish_non_exhaustive()
    }
}

/// Futures that drop the pipeline before they give what came of it.
macro_rules! end_of_pipeline {
    ($(#[$attribute:meta])* $name:ident $(<$item:ident>)? -> $output:ty) => {
        $(#[$attribute])*
        #[must_use = "a pipeline does nothing until its end is awaited"]
        pub struct $name $(<$item>)? {
            inner: Option<Pin<Box<dyn Future<Output = Result<$output, PipelineError>>>>>,
        }

        impl $(<$item>)? Future for $name $(<$item>)? {
            type Output = Result<$output, PipelineError>;

            fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                let inner = self.inner.as_mut().expect("a pipeline was polled after its end");
                let output = ready!(inner.as_mut().poll(cx));
                self.inner = None;
                Poll::Ready(output)
            }
        }

        impl $(<$item>)? fmt::Debug for $name $(<$item>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

end_of_pipeline! {
    /// The future of [`Pipeline::for_each`].
    ForEach -> ()
}

end_of_pipeline! {
    /// The future of [`Pipeline::collect`].
    Collect<T> -> Vec<T>
}

/// Tasks of a pipeline that go together: they are started with the first end that is polled, and killed
/// with the last that is dropped.
pub(crate) struct Part {
    crew: Crew,
    unstarted: RefCell<Vec<Unstarted>>,
}

struct Unstarted {
    name: StageName,
    site: &'static Location<'static>,
    body: Body,
}

impl Part {
    pub(crate) fn new() -> Rc<Part> {
        let crew = Crew::new("the stages of a pipeline to end");
        Rc::new(Part { crew, unstarted: RefCell::default() })
    }

    /// A task that does `body`, and tells `outlets` how that ended.
    pub(crate) fn add<T: 'static>(
        &self,
        name: Rc<str>,
        site: &'static Location<'static>,
        outlets: Vec<Outlet<T>>,
        body: impl Future<Output = Result<(), StageEnd>> + 'static,
    ) {
        let name = Rc::new(RefCell::new(name));
        let body = Box::pin(conduct(Epitaph::new(Rc::clone(&name), outlets), body));
        self.unstarted.borrow_mut().push(Unstarted { name, site, body });
    }

    fn rename(&self, name: &str) {
        for task in &*self.unstarted.borrow() {
            task.name.replace(name.into());
        }
    }

    fn start(&self) {
        let unstarted = self.unstarted.take();
        for Unstarted { name, site, body } in unstarted {
            let name = name.borrow().to_string().into();
            self.crew.start(Start { name, site, body }, false);
        }
    }
}
