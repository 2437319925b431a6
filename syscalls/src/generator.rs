//! Generators and coroutines: blocks that yield values, and blocks that values are sent to.
//!
//! These are the first half of David Beazley's course, before it has a scheduler: [`Generator`] is
//! the Python function that yields, [`Coroutine`] the one that takes what its `yield` gives. Both
//! work without a scheduler, where they cannot wait for anything but each other; inside a task
//! [`Generator::into_stream`] and [`Coroutine::into_sink`] drive the same blocks so that they may
//! make system calls.

mod coroutine;
mod outlet;
mod rest;
mod sink;
mod stream;

use std::fmt;
use std::iter::FusedIterator;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use trapline_abi::Ring;

pub use coroutine::{Coroutine, Finished, Mailbox, Over, Receive};
pub use outlet::Yielding;
pub use sink::CoroutineSink;
pub use stream::GeneratorStream;

use outlet::Outlet;
use rest::Rest;

/// An `async` block that yields values, as an [`Iterator`].
///
/// The block runs only while [`next`](Iterator::next) is called, from one yield to the following
/// one. What it returns is kept for [`into_return`](Generator::into_return). Dropping the generator
/// drops the block where it stands, so that its destructors run, as `generator.close()` does.
///
/// Nobody can wait inside an iterator: awaiting anything but a yield panics. Inside a task
/// [`into_stream`](Generator::into_stream) lifts that. Other generators may be iterated in the
/// block, under the same rule; they are chained with iterator adaptors, too.
///
/// ```
/// use trapline_syscalls::generator::Generator;
///
/// fn countdown(from: u32) -> Generator<'static, u32> {
///     Generator::new(async move |y| {
///         for n in (1..=from).rev() {
///             y.yield_(n).await;
///         }
///     })
/// }
///
/// assert_eq!(countdown(3).collect::<Vec<_>>(), [3, 2, 1]);
/// assert_eq!(countdown(9).filter(|n| n % 4 == 0).map(|n| n * 10).sum::<u32>(), 120);
/// ```
///
/// A block that panics is dropped, and the panic goes on in whoever called `next`; after that the
/// generator has ended.
///
/// # Panics
/// `next` panics if the block makes a system call, awaits anything else that is not ready, or has
/// two yields under way at once.
///
/// # Cost
/// Two allocations for the generator; none for a value, which is a store and a load.
///
/// # Kin
/// Python's generators; `gen` blocks, where Rust has them.
pub struct Generator<'a, Y, R = ()> {
    block: Option<Pin<Box<dyn Future<Output = R> + 'a>>>,
    outlet: Rc<Outlet<Y>>,
    returned: Option<R>,
    site: &'static Location<'static>,
}

/// What comes of resuming a block.
enum Resumed<Y> {
    Yielded(Y),
    /// It awaits something else.
    Waits,
    Ended,
}

impl<'a, Y: 'a, R: 'a> Generator<'a, Y, R> {
    /// A generator of what `body` yields. Nothing of it runs before the first value is asked for.
    ///
    /// `body` is an `async` closure that takes the [`Yielder`], or a closure that returns a future.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use trapline::generator::Generator;
    ///
    /// let mut words = Generator::new(async |y| {
    ///     y.yield_("one").await;
    ///     y.yield_("two").await;
    /// });
    /// assert_eq!(words.next(), Some("one"));
    /// ```
    #[track_caller]
    pub fn new<B>(body: B) -> Generator<'a, Y, R>
    where
        B: AsyncFnOnce(Yielder<Y>) -> R + 'a,
    {
        let outlet = Rc::new(Outlet::new());
        let yielder = Yielder { outlet: Rc::clone(&outlet) };
        Generator {
            block: Some(Box::pin(async move { body(yielder).await })),
            outlet,
            returned: None,
            site: Location::caller(),
        }
    }

    /// The same as a [`Stream`](futures::Stream), to be driven inside a task: the block may make
    /// system calls and await any other future.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use futures::StreamExt;
    /// use trapline::generator::Generator;
    ///
    /// let slowly = Generator::new(async |y| {
    ///     for n in 0..3 {
    ///         trapline::sleep(Duration::from_secs(1)).await;
    ///         y.yield_(n).await;
    ///     }
    /// });
    /// assert_eq!(slowly.into_stream().collect::<Vec<_>>().await, [0, 1, 2]);
    /// # }).unwrap();
    /// ```
    #[must_use = "a generator does nothing until it is driven"]
    pub fn into_stream(self) -> GeneratorStream<'a, Y, R> {
        GeneratorStream::new(self)
    }
}

impl<Y, R> Generator<'_, Y, R> {
    /// What the block returned, if it has ended.
    ///
    /// ```
    /// use trapline_syscalls::generator::Generator;
    ///
    /// let mut words = Generator::new(async |y| {
    ///     y.yield_("one").await;
    ///     y.yield_("two").await;
    ///     2
    /// });
    /// for word in &mut words {
    ///     println!("{word}");
    /// }
    /// assert_eq!(words.into_return(), Some(2));
    /// ```
    ///
    /// # Kin
    /// The value of Python's `StopIteration`.
    #[must_use]
    pub fn into_return(self) -> Option<R> {
        self.returned
    }

    /// Whether the block has returned, or panicked.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use trapline::generator::Generator;
    ///
    /// let mut one = Generator::new(async |y| y.yield_(1).await);
    /// assert_eq!(one.next(), Some(1));
    /// // It has not run on from its yield.
    /// assert!(!one.is_finished());
    /// assert_eq!(one.next(), None);
    /// assert!(one.is_finished());
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.block.is_none()
    }

    /// Resumes the block, which is out of its place meanwhile: if it panics, it is gone.
    #[inline]
    fn resume(&mut self, cx: &mut Context<'_>) -> Resumed<Y> {
        let Some(mut block) = self.block.take() else { return Resumed::Ended };
        match self.outlet.resume(block.as_mut(), cx) {
            Poll::Ready(returned) => {
                self.returned = Some(returned);
                Resumed::Ended
            }
            Poll::Pending => {
                self.block = Some(block);
                self.outlet.take().map_or(Resumed::Waits, Resumed::Yielded)
            }
        }
    }

    fn state(&self) -> &'static str {
        match (&self.block, self.outlet.count()) {
            (None, _) => "finished",
            (Some(_), 0) => "before its first value",
            (Some(_), _) => "between two values",
        }
    }
}

impl<Y, R> Iterator for Generator<'_, Y, R> {
    type Item = Y;

    #[inline]
    fn next(&mut self) -> Option<Y> {
        let _hidden = Ring::hide();
        match self.resume(&mut Context::from_waker(Waker::noop())) {
            Resumed::Yielded(value) => Some(value),
            Resumed::Ended => None,
            Resumed::Waits => {
                self.block = None;
                awaited_something_else("generator", "`Stream` (`Generator::into_stream`)")
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, self.is_finished().then_some(0))
    }
}

impl<Y, R> FusedIterator for Generator<'_, Y, R> {}

impl<Y, R> fmt::Debug for Generator<'_, Y, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator")
            .field("state", &self.state())
            .field("yielded", &self.outlet.count())
            .field("site", &format_args!("{}", self.site))
            .finish_non_exhaustive()
    }
}

#[cold]
#[inline(never)]
fn awaited_something_else(what: &str, remedy: &str) -> ! {
    panic!(
        "a {what} that nobody can wait for awaited something that was not ready: inside a task, \
         drive it as a {remedy}"
    )
}

/// The hand of a generator's block: what it is given here, the generator yields.
///
/// ```
/// # use trapline_syscalls as trapline;
/// use trapline::generator::{Generator, Yielder};
///
/// async fn countdown(y: Yielder<u32>) {
///     for number in (1..=3).rev() {
///         y.yield_(number).await;
///     }
/// }
///
/// assert_eq!(Generator::new(countdown).collect::<Vec<_>>(), [3, 2, 1]);
/// ```
pub struct Yielder<Y> {
    outlet: Rc<Outlet<Y>>,
}

impl<Y> Yielder<Y> {
    /// Yields `value`, and goes on when the next one is asked for.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use trapline::generator::{Generator, Yielder};
    ///
    /// async fn twice(y: &Yielder<u32>, value: u32) {
    ///     y.yield_(value).await;
    ///     y.yield_(value).await;
    /// }
    ///
    /// let pairs = Generator::new(async |y| {
    ///     twice(&y, 1).await;
    ///     twice(&y, 2).await;
    /// });
    /// assert_eq!(pairs.collect::<Vec<_>>(), [1, 1, 2, 2]);
    /// ```
    ///
    /// # Panics
    /// When it is polled outside the generator that it was made for, or while the value of another
    /// yield of the same generator has not been taken.
    ///
    /// # Cancel safety
    /// Safe: a value that was not taken is dropped with this.
    ///
    /// # Cost
    /// No allocation and no trap.
    ///
    /// # Kin
    /// Python's `yield`.
    #[inline]
    pub fn yield_(&self, value: Y) -> Yielding<'_, Y> {
        Yielding::new(&self.outlet, "yielder", value)
    }

    /// Yields each of `values` in turn.
    ///
    /// ```
    /// use trapline_syscalls::generator::Generator;
    ///
    /// let twice = Generator::new(async |y| {
    ///     y.yield_from([1, 2]).await;
    ///     y.yield_from(1..3).await;
    /// });
    /// assert_eq!(twice.collect::<Vec<_>>(), [1, 2, 1, 2]);
    /// ```
    ///
    /// # Panics
    /// As [`yield_`](Yielder::yield_).
    ///
    /// # Cancel safety
    /// Safe: values that were not taken are dropped with this.
    ///
    /// # Kin
    /// Python's `yield from`.
    pub fn yield_from<I>(&self, values: I) -> YieldingFrom<'_, Y, I::IntoIter>
    where
        I: IntoIterator<Item = Y>,
    {
        YieldingFrom { yielder: self, values: values.into_iter(), current: None }
    }
}

impl<Y> fmt::Debug for Yielder<Y> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Yielder").field("yielded", &self.outlet.count()).finish_non_exhaustive()
    }
}

/// The future of [`Yielder::yield_from`].
///
/// ```
/// # use trapline_syscalls as trapline;
/// use trapline::generator::Generator;
///
/// let numbers = Generator::new(async |y| {
///     let rest = y.yield_from([2, 3]);
///     y.yield_(1).await;
///     rest.await;
/// });
/// assert_eq!(numbers.collect::<Vec<_>>(), [1, 2, 3]);
/// ```
#[derive(Debug)]
#[must_use = "values are not yielded until this is awaited"]
pub struct YieldingFrom<'a, Y, I> {
    yielder: &'a Yielder<Y>,
    values: I,
    current: Option<Yielding<'a, Y>>,
}

/// The iterator is never pinned, only called.
impl<Y, I> Unpin for YieldingFrom<'_, Y, I> {}

impl<Y, I: Iterator<Item = Y>> Future for YieldingFrom<'_, Y, I> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(current) = &mut self.current {
            std::task::ready!(Pin::new(current).poll(cx));
            self.current = None;
        }
        let Some(value) = self.values.next() else { return Poll::Ready(()) };
        let yielder = self.yielder;
        Pin::new(self.current.insert(yielder.yield_(value))).poll(cx)
    }
}
