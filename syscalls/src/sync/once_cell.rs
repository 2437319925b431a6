//! The cell that is filled once, by whoever needs it first.

use std::cell;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use pin_project::pin_project;
use thiserror::Error;
use trapline_abi::{WaitQueue, Woken};

use crate::sync::acquire::{Held, ParkOnce, TakeTokens};

/// A value that is made once, by the first who asks for it, while the others wait.
///
/// One at a time tries. If it fails, or its task is killed, or its future is dropped, the next of those
/// who wait tries.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::sync::OnceCell;
///
/// let answer = OnceCell::new().named("answer");
/// let failed = answer.get_or_try_init(|| async { Err("no") }).await;
/// assert_eq!(failed, Err("no"));
/// assert_eq!(*answer.get_or_init(|| async { 42 }).await, 42);
/// assert_eq!(*answer.get_or_init(|| async { unreachable!() }).await, 42);
/// # }).unwrap();
/// ```
///
/// # Kin
/// `pthread_once(3)`; tokio's `OnceCell`.
pub struct OnceCell<T> {
    /// Whoever has its one token may make the value.
    queue: WaitQueue,
    /// Those who wait for the value, and cannot make it.
    made: WaitQueue,
    value: cell::OnceCell<T>,
}

/// Why a value was not put into a [`OnceCell`]; it comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum SetError<T> {
    /// There is one already.
    #[error("the cell has a value")]
    HasValue(T),
    /// Somebody is making it, or about to.
    #[error("the cell's value is being made")]
    BeingMade(T),
}

impl<T> OnceCell<T> {
    /// A cell without a value.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let cell = trapline::sync::OnceCell::<u32>::new();
    /// assert_eq!(cell.get(), None);
    /// ```
    #[must_use]
    #[track_caller]
    pub const fn new() -> OnceCell<T> {
        OnceCell {
            queue: WaitQueue::lock("once cell", 1),
            made: WaitQueue::signal("once cell"),
            value: cell::OnceCell::new(),
        }
    }

    /// Names it, for the task table and reports.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let cell = trapline::sync::OnceCell::<u32>::new().named("configuration");
    /// assert_eq!(cell.get(), None);
    /// ```
    #[must_use]
    pub fn named(self, name: impl Into<Rc<str>>) -> OnceCell<T> {
        let name = name.into();
        self.queue.set_name(Rc::clone(&name));
        self.made.set_name(name);
        self
    }

    /// The value, if it is there.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let cell = trapline::sync::OnceCell::new();
    /// assert_eq!(cell.get(), None);
    /// cell.set(7).unwrap();
    /// assert_eq!(cell.get(), Some(&7));
    /// ```
    #[must_use]
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// The value, if it is there, to be changed.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let mut cell = trapline::sync::OnceCell::new();
    /// cell.set(7).unwrap();
    /// *cell.get_mut().unwrap() += 1;
    /// assert_eq!(cell.into_inner(), Some(8));
    /// ```
    #[must_use]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut()
    }

    /// The value, if it is there.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let cell = trapline::sync::OnceCell::new();
    /// cell.set("once").unwrap();
    /// assert_eq!(cell.into_inner(), Some("once"));
    /// ```
    #[must_use]
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// Puts a value in.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let cell = trapline::sync::OnceCell::new();
    /// cell.set(1).unwrap();
    /// assert!(cell.set(2).is_err());
    /// assert_eq!(cell.get(), Some(&1));
    /// ```
    ///
    /// # Errors
    /// [`SetError`], with `value`, if there is one already, or somebody is making it.
    pub fn set(&self, value: T) -> Result<(), SetError<T>> {
        if self.value.get().is_some() {
            return Err(SetError::HasValue(value));
        }
        if !self.queue.try_take() {
            return Err(SetError::BeingMade(value));
        }
        let refused = self.value.set(value);
        debug_assert!(refused.is_ok(), "only who has the token makes the value");
        self.made.wake_all();
        self.queue.wake();
        Ok(())
    }

    /// Waits until there is a value. It makes none, so it may be asked for before anybody does.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::rc::Rc;
    /// use trapline::sync::OnceCell;
    ///
    /// let port = Rc::new(OnceCell::new());
    /// let theirs = Rc::clone(&port);
    /// let client = trapline::spawn(async move { *theirs.wait().await }).await;
    /// port.set(8080).unwrap();
    /// assert_eq!(client.await.unwrap(), 8080);
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If it has to wait outside a task, or while tasks of another scheduler wait for this.
    ///
    /// # Cancel safety
    /// Safe: it changes nothing.
    ///
    /// # Cost
    /// A few instructions if the value is there; else one trap. The first wait allocates.
    ///
    /// # Kin
    /// async-lock's `OnceCell::wait`.
    #[track_caller]
    pub fn wait(&self) -> WaitForValue<'_, T> {
        WaitForValue { cell: self, park: ParkOnce::new(Location::caller()) }
    }

    /// The value; if there is none, makes it by `init`, one caller at a time.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::sync::OnceCell;
    ///
    /// let cell = OnceCell::new();
    /// let slow = cell.get_or_init(|| async {
    ///     trapline::sleep(Duration::from_secs(1)).await;
    ///     "made once"
    /// });
    /// // The second waits for what the first makes.
    /// let (first, second) = trapline::join(slow, cell.get_or_init(async || "never made")).await;
    /// assert_eq!((*first, *second), ("made once", "made once"));
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If it has to wait outside a task, or while tasks of another scheduler wait; with what `init`
    /// panics with.
    ///
    /// # Cancel safety
    /// Safe for the others: dropped while it makes the value, it lets the next one try. The work it
    /// had done is lost.
    ///
    /// # Cost
    /// A few instructions if the value is there; one trap if somebody makes it. The first wait
    /// allocates.
    #[track_caller]
    pub fn get_or_init<F, Fut>(&self, init: F) -> GetOrInit<'_, T, F, Fut>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = T>,
    {
        GetOrInit { making: Making::new(self, init, Location::caller()) }
    }

    /// The value; if there is none, makes it by `init`, one caller at a time. If that fails, the next
    /// one tries.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::sync::OnceCell;
    ///
    /// let cell = OnceCell::new();
    /// assert_eq!(cell.get_or_try_init(async || Err("not yet")).await, Err("not yet"));
    /// assert_eq!(cell.get_or_try_init(async || Ok::<_, &str>(7)).await, Ok(&7));
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// What the caller's own `init` failed with.
    ///
    /// # Panics
    /// As [`get_or_init`](OnceCell::get_or_init).
    ///
    /// # Cancel safety
    /// As [`get_or_init`](OnceCell::get_or_init).
    ///
    /// # Cost
    /// As [`get_or_init`](OnceCell::get_or_init).
    #[track_caller]
    pub fn get_or_try_init<E, F, Fut>(&self, init: F) -> GetOrTryInit<'_, T, F, Fut>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        GetOrTryInit { making: Making::new(self, init, Location::caller()) }
    }
}

impl<T> Default for OnceCell<T> {
    #[track_caller]
    fn default() -> OnceCell<T> {
        OnceCell::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceCell")
            .field("value", &self.value.get())
            .field("queue", &self.queue)
            .finish()
    }
}

/// The future of [`OnceCell::wait`].
#[must_use = "it does not wait until it is awaited"]
pub struct WaitForValue<'a, T> {
    cell: &'a OnceCell<T>,
    park: ParkOnce,
}

impl<'a, T> Future for WaitForValue<'a, T> {
    type Output = &'a T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<&'a T> {
        let OnceCell { made, value, .. } = self.cell;
        ready!(self.park.poll(made, cx, || value.get().is_some()));
        Poll::Ready(value.get().expect("those who wait for the value are woken when it is there"))
    }
}

impl<T> fmt::Debug for WaitForValue<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitForValue").field("park", &self.park).finish_non_exhaustive()
    }
}

/// A value on its way.
#[pin_project]
struct Making<'a, T, F, Fut> {
    cell: &'a OnceCell<T>,
    init: Option<F>,
    take: TakeTokens,
    #[pin]
    running: Option<Fut>,
    /// The token of one who makes the value; behind `running`, which goes first.
    held: Option<Held<'a>>,
}

impl<'a, T, F, Fut> Making<'a, T, F, Fut>
where
    F: FnOnce() -> Fut,
    Fut: Future,
{
    fn new(cell: &'a OnceCell<T>, init: F, site: &'static Location<'static>) -> Self {
        let take = TakeTokens::new(1, site);
        Making { cell, init: Some(init), take, running: None, held: None }
    }

    fn poll<E>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        result_of: impl FnOnce(Fut::Output) -> Result<T, E>,
    ) -> Poll<Result<&'a T, E>> {
        if self.running.is_none()
            && let Some(value) = ready!(self.as_mut().poll_turn(cx))
        {
            return Poll::Ready(Ok(value));
        }
        let mut this = self.project();
        let cell = *this.cell;
        let running = this.running.as_mut().as_pin_mut();
        let output = ready!(running.expect("it is its turn to make the value").poll(cx));
        this.running.set(None);
        let made = result_of(output).map(|value| {
            let value = cell.value.get_or_init(|| value);
            cell.queue.wake_all();
            cell.made.wake_all();
            value
        });
        *this.held = None;
        Poll::Ready(made)
    }

    /// Ready with the value if it is there, or with nothing when it is this one's turn to make it,
    /// which has begun then.
    fn poll_turn(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<&'a T>> {
        let mut this = self.project();
        let cell = *this.cell;
        if cell.value.get().is_some() && this.take.is_trying() {
            ready!(this.take.rest().poll(cx));
            this.take.rest().count();
        } else if cell.value.get().is_none() {
            // Woken with all, it finds the value.
            if ready!(this.take.poll(&cell.queue, cx)) == Woken::Granted {
                *this.held = Some(Held::new(&cell.queue, 1, this.take.site()));
            }
        }
        if let Some(value) = cell.value.get() {
            *this.held = None;
            return Poll::Ready(Some(value));
        }
        let init =
            this.init.take().expect("a value is made once, and polled no more when it is ready");
        this.running.set(Some(init()));
        Poll::Ready(None)
    }
}

macro_rules! debug_without_fields {
    ($name:ident) => {
        impl<T, F, Fut> fmt::Debug for $name<'_, T, F, Fut> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

/// The future of [`OnceCell::get_or_init`].
#[pin_project]
#[must_use = "a value is not made until it is awaited"]
pub struct GetOrInit<'a, T, F, Fut> {
    #[pin]
    making: Making<'a, T, F, Fut>,
}

debug_without_fields!(GetOrInit);

impl<'a, T, F, Fut> Future for GetOrInit<'a, T, F, Fut>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = T>,
{
    type Output = &'a T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<&'a T> {
        self.project().making.poll(cx, Ok::<T, std::convert::Infallible>).map(|made| match made {
            Ok(value) => value,
            Err(never) => match never {},
        })
    }
}

/// The future of [`OnceCell::get_or_try_init`].
#[pin_project]
#[must_use = "a value is not made until it is awaited"]
pub struct GetOrTryInit<'a, T, F, Fut> {
    #[pin]
    making: Making<'a, T, F, Fut>,
}

debug_without_fields!(GetOrTryInit);

impl<'a, T, E, F, Fut> Future for GetOrTryInit<'a, T, F, Fut>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    type Output = Result<&'a T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<&'a T, E>> {
        self.project().making.poll(cx, |result| result)
    }
}
