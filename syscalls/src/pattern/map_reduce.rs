//! A task for each item of a stream.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures::{FutureExt, Stream};
use pin_project::pin_project;
use trapline_abi::{Parking, WaitQueue};

use crate::pattern::crew::{Crew, Start};
use crate::sync::acquire::Rest;

/// Maps each item of `source` in a task of its own, no more than `limit` at a time, and reduces what
/// they give to one value. `None`, if there was no item.
///
/// Results are reduced in the order in which they come, so the order of two must not matter to
/// `reduce`. An item is taken from the source only when there is a task for it.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
/// use futures::stream;
/// use trapline::pattern::map_reduce;
///
/// let seconds = stream::iter([3, 1, 2]);
/// let slept = async |n| {
///     trapline::sleep(Duration::from_secs(n)).await;
///     n
/// };
/// let start = trapline::now().await;
/// assert_eq!(map_reduce(seconds, 2, slept, |a, b| a + b).await, Some(6));
/// // The second and the third took as long as the first.
/// assert_eq!(trapline::now().await - start, Duration::from_secs(3));
/// # }).unwrap();
/// ```
///
/// # Panics
/// With the panic of a task, once the others that run have been killed; if a task was killed or
/// cancelled by somebody else. If `limit` is zero; if it is polled outside a task, or again after
/// it was ready.
///
/// # Cancel safety
/// Lossy: the tasks are killed, and what they have given is dropped. Nothing outlives it.
///
/// # Cost
/// Three allocations an item, beside those of its future. One trap where a result has to be waited for.
///
/// # Kin
/// `xargs -P`; `StreamExt::buffer_unordered`, which polls all in one task.
#[track_caller]
pub fn map_reduce<S, Map, Fut, Reduce>(
    source: S,
    limit: usize,
    map: Map,
    reduce: Reduce,
) -> MapReduce<S, Map, Reduce, Fut::Output>
where
    S: Stream,
    Map: FnMut(S::Item) -> Fut,
    Fut: Future<Output: 'static> + 'static,
    Reduce: FnMut(Fut::Output, Fut::Output) -> Fut::Output,
{
    assert!(limit > 0, "there is a task for one item at least");
    let site = Location::caller();
    MapReduce {
        source: Some(source),
        limit,
        map,
        reduce,
        total: None,
        pending: 0,
        crew: Crew::new("the tasks of a map_reduce", site),
        results: Rc::new(Results {
            done: RefCell::default(),
            arrived: WaitQueue::of("a result of its tasks", 0).made_at(site),
        }),
        waits: None,
        rest: Rest::new(site),
        site,
        is_over: false,
    }
}

/// Does `work` for each item of `source`, in a task of its own, no more than `limit` at a time.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use futures::stream;
/// use trapline::pattern::for_each_concurrent;
///
/// for_each_concurrent(stream::iter(1..=3), 2, async |n| println!("{n}")).await;
/// # }).unwrap();
/// ```
///
/// # Panics
/// As [`map_reduce`].
///
/// # Cancel safety
/// Lossy: the tasks are killed. Nothing outlives it.
///
/// # Cost
/// As [`map_reduce`].
///
/// # Kin
/// `StreamExt::for_each_concurrent`, which polls all in one task.
#[doc(alias = "buffer_unordered")]
#[track_caller]
pub fn for_each_concurrent<S, Work, Fut>(
    source: S,
    limit: usize,
    work: Work,
) -> ForEachConcurrent<S, Work>
where
    S: Stream,
    Work: FnMut(S::Item) -> Fut,
    Fut: Future<Output = ()> + 'static,
{
    let reduce: fn((), ()) = |(), ()| ();
    ForEachConcurrent { inner: map_reduce(source, limit, work, reduce) }
}

/// The future of [`map_reduce`].
#[pin_project]
#[must_use = "nothing is mapped until it is awaited"]
pub struct MapReduce<S, Map, Reduce, T> {
    /// `None` at its end.
    #[pin]
    source: Option<S>,
    limit: usize,
    map: Map,
    reduce: Reduce,
    total: Option<T>,
    /// Tasks whose result has not been reduced.
    pending: usize,
    crew: Crew,
    results: Rc<Results<T>>,
    waits: Option<Parking>,
    rest: Rest,
    site: &'static Location<'static>,
    is_over: bool,
}

/// What the tasks gave, with a token for each.
struct Results<T> {
    done: RefCell<VecDeque<Ended<T>>>,
    arrived: WaitQueue,
}

enum Ended<T> {
    Returned(T),
    Panicked(Box<dyn Any + Send>),
    Killed,
}

impl<S, Map, Fut, Reduce> Future for MapReduce<S, Map, Reduce, Fut::Output>
where
    S: Stream,
    Map: FnMut(S::Item) -> Fut,
    Fut: Future<Output: 'static> + 'static,
    Reduce: FnMut(Fut::Output, Fut::Output) -> Fut::Output,
{
    type Output = Option<Fut::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        assert!(!*this.is_over, "a map_reduce was polled after its end");
        loop {
            ready!(this.rest.poll(cx));
            if let Some(ended) = this.results.take() {
                *this.pending -= 1;
                let value = ended.value_or_panic(this.crew);
                *this.total = Some(match this.total.take() {
                    None => value,
                    Some(total) => (this.reduce)(total, value),
                });
                next_rest(this.rest, this.site);
                continue;
            }
            if *this.pending < *this.limit
                && let Some(source) = this.source.as_mut().as_pin_mut()
            {
                match source.poll_next(cx) {
                    Poll::Ready(Some(item)) => {
                        let work = (this.map)(item);
                        *this.pending += 1;
                        this.crew.start(this.results.start(work, this.site), false);
                        next_rest(this.rest, this.site);
                        continue;
                    }
                    Poll::Ready(None) => this.source.set(None),
                    Poll::Pending => {}
                }
            }
            if *this.pending == 0 {
                if this.source.is_some() {
                    return Poll::Pending;
                }
                *this.is_over = true;
                return Poll::Ready(this.total.take());
            }
            let site = *this.site;
            let parking = this.waits.get_or_insert_with(|| Parking::new(1, site));
            ready!(parking.poll(&this.results.arrived, cx));
            *this.waits = None;
            // The token goes back for a moment: results are taken in one place.
            this.results.arrived.wake();
        }
    }
}

/// What was done counts to the quantum; the next thing may have to rest first.
fn next_rest(rest: &mut Rest, site: &'static Location<'static>) {
    rest.count();
    *rest = Rest::new(site);
}

impl<T: 'static> Results<T> {
    fn take(&self) -> Option<Ended<T>> {
        if self.arrived.try_take() { self.done.borrow_mut().pop_front() } else { None }
    }

    fn put(&self, ended: Ended<T>) {
        self.done.borrow_mut().push_back(ended);
        self.arrived.wake();
    }

    /// A task that does `work` and leaves its result here.
    fn start(
        self: &Rc<Results<T>>,
        work: impl Future<Output = T> + 'static,
        site: &'static Location<'static>,
    ) -> Start {
        let promise = Promise { results: Some(Rc::clone(self)) };
        let body = Box::pin(async move {
            let ended = AssertUnwindSafe(work).catch_unwind().await;
            promise.keep(ended.map_or_else(Ended::Panicked, Ended::Returned));
        });
        Start { name: "map".into(), site, body }
    }
}

impl<T> Ended<T> {
    fn value_or_panic(self, crew: &Crew) -> T {
        match self {
            Ended::Returned(value) => value,
            Ended::Panicked(payload) => {
                crew.kill();
                resume_unwind(payload)
            }
            Ended::Killed => {
                crew.kill();
                panic!("a task of a map_reduce was killed")
            }
        }
    }
}

/// There will be a result, also where the task is killed.
struct Promise<T: 'static> {
    results: Option<Rc<Results<T>>>,
}

impl<T> Promise<T> {
    fn keep(mut self, ended: Ended<T>) {
        if let Some(results) = self.results.take() {
            results.put(ended);
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if let Some(results) = self.results.take() {
            results.put(Ended::Killed);
        }
    }
}

impl<S, Map, Reduce, T> fmt::Debug for MapReduce<S, Map, Reduce, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapReduce")
            .field("limit", &self.limit)
            .field("pending", &self.pending)
            .field("source_has_ended", &self.source.is_none())
            .finish_non_exhaustive()
    }
}

/// The future of [`for_each_concurrent`].
#[pin_project]
#[must_use = "nothing is done until it is awaited"]
pub struct ForEachConcurrent<S, Work> {
    #[pin]
    inner: MapReduce<S, Work, fn((), ()), ()>,
}

impl<S, Work, Fut> Future for ForEachConcurrent<S, Work>
where
    S: Stream,
    Work: FnMut(S::Item) -> Fut,
    Fut: Future<Output = ()> + 'static,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().inner.poll(cx).map(|_| ())
    }
}

impl<S, Work> fmt::Debug for ForEachConcurrent<S, Work> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ForEachConcurrent").field(&self.inner).finish()
    }
}
