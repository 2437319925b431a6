//! What comes out of a pipeline.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use futures::stream::FusedStream;

use crate::frame::site_or;
use crate::pattern::pipeline::{Pipeline, State};
use crate::pattern::stage::PipelineError;

impl<T: 'static> Pipeline<T> {
    /// Does `work` with each item that comes out, in the task that awaits this.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    /// use futures::stream;
    /// use trapline::pattern::pipeline;
    ///
    /// let sum = Rc::new(Cell::new(0));
    /// let total = Rc::clone(&sum);
    /// let summed = pipeline(stream::iter(1..=4)).for_each(move |number| {
    ///     total.set(total.get() + number);
    ///     async {}
    /// });
    /// summed.await.unwrap();
    /// assert_eq!(sum.get(), 10);
    /// # }).unwrap();
    /// ```
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
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use futures::stream;
    /// use trapline::pattern::pipeline;
    ///
    /// let doubled = pipeline(stream::iter(1..=3)).stage(4, async |number| number * 2);
    /// assert_eq!(doubled.collect().await.unwrap(), [2, 4, 6]);
    /// # }).unwrap();
    /// ```
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
}

impl<T: 'static> Stream for Pipeline<T> {
    type Item = Result<T, PipelineError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let State::Idle = this.state {
            this.start();
            let (inlet, site) = (this.inlet.clone(), site_or(this.site));
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
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use futures::stream;
    /// use trapline::pattern::{ForEach, pipeline};
    ///
    /// let printed: ForEach = pipeline(stream::iter(1..=3)).for_each(|number| async move {
    ///     println!("{number}");
    /// });
    /// // Nothing runs until it is awaited.
    /// printed.await.unwrap();
    /// # }).unwrap();
    /// ```
    ForEach -> ()
}

end_of_pipeline! {
    /// The future of [`Pipeline::collect`].
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use futures::stream;
    /// use trapline::pattern::{Collect, pipeline};
    ///
    /// let doubled: Collect<u32> =
    ///     pipeline(stream::iter(1..=3)).stage(4, async |number| number * 2).collect();
    /// assert_eq!(doubled.await.unwrap(), [2, 4, 6]);
    /// # }).unwrap();
    /// ```
    Collect<T> -> Vec<T>
}
