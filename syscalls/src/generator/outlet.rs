//! Where a block leaves a value for whoever resumes it.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll, Waker};

/// A place for one value, which can be asked whether it is taken without moving the value.
pub(crate) struct Place<T> {
    value: Cell<Option<T>>,
    full: Cell<bool>,
}

impl<T> Place<T> {
    pub(crate) fn new() -> Place<T> {
        Place { value: Cell::new(None), full: Cell::new(false) }
    }

    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.full.get()
    }

    #[inline]
    pub(crate) fn put(&self, value: T) {
        self.full.set(true);
        self.value.set(Some(value));
    }

    #[inline]
    pub(crate) fn take(&self) -> Option<T> {
        if self.full.replace(false) { self.value.take() } else { None }
    }
}

/// One place for a value, and who is resuming the block that fills it.
pub(crate) struct Outlet<Y> {
    value: Place<Y>,
    /// How many values were ever put here: tells a yield whether the value in the place is its own.
    stored: Cell<u64>,
    resumed: Cell<bool>,
    /// The data pointer of the waker under which the block is resumed.
    driver: Cell<*const ()>,
    pub(crate) bell: Bell,
}

impl<Y> Outlet<Y> {
    pub(crate) fn new() -> Outlet<Y> {
        Outlet {
            value: Place::new(),
            stored: Cell::new(0),
            resumed: Cell::new(false),
            driver: Cell::new(ptr::null()),
            bell: Bell::default(),
        }
    }

    /// Resumes the block, which must not be running.
    #[inline]
    pub(crate) fn resume<F: Future + ?Sized>(
        &self,
        block: Pin<&mut F>,
        cx: &mut Context<'_>,
    ) -> Poll<F::Output> {
        /// Also where the block panics.
        struct Resumed<'a>(&'a Cell<bool>);
        impl Drop for Resumed<'_> {
            fn drop(&mut self) {
                self.0.set(false);
            }
        }

        self.bell.ring();
        self.resumed.set(true);
        self.driver.set(cx.waker().data());
        let _resumed = Resumed(&self.resumed);
        block.poll(cx)
    }

    /// Takes what the block has left.
    #[inline]
    pub(crate) fn take(&self) -> Option<Y> {
        self.value.take()
    }

    /// How many values have been left here.
    pub(crate) fn count(&self) -> u64 {
        self.stored.get()
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.resumed.get()
    }

    /// Whether the block is polled under a waker of its own making, so that whoever polls there
    /// does not learn of the next resume by being polled.
    #[inline]
    pub(crate) fn is_foreign(&self, cx: &Context<'_>) -> bool {
        !ptr::eq(cx.waker().data(), self.driver.get())
    }

    /// Leaves a value. Gives the number of it.
    #[inline]
    fn put(&self, value: Y) -> u64 {
        if self.value.is_full() {
            yielded_twice()
        }
        self.value.put(value);
        let number = self.stored.get() + 1;
        self.stored.set(number);
        number
    }

    #[inline]
    fn holds(&self, number: u64) -> bool {
        self.stored.get() == number && self.value.is_full()
    }
}

#[cold]
#[inline(never)]
fn yielded_twice() -> ! {
    panic!(
        "a second value was yielded before the first was taken, by futures that the block polls \
         side by side: merge two generators by `futures::stream::select` instead"
    )
}

#[cold]
#[inline(never)]
pub(crate) fn used_elsewhere(what: &str) -> ! {
    panic!(
        "a {what} was used outside the block that it was made for, or while that was not resumed"
    )
}

/// The waker of one who waits inside a block, if that is not the waker of whoever resumes it.
#[derive(Default)]
pub(crate) struct Bell(Cell<Option<Waker>>);

impl Bell {
    pub(crate) fn attend(&self, cx: &Context<'_>) {
        self.0.set(Some(cx.waker().clone()));
    }

    #[inline]
    pub(crate) fn ring(&self) {
        if let Some(waker) = self.0.take() {
            waker.wake();
        }
    }
}

/// The future of [`Yielder::yield_`](crate::generator::Yielder::yield_) and of
/// [`Mailbox::reply`](crate::generator::Mailbox::reply): ready when the block is resumed after its
/// value was taken.
///
/// ```
/// # use trapline_syscalls as trapline;
/// use trapline::generator::Generator;
///
/// let numbers = Generator::new(async |y| {
///     drop(y.yield_(1));
///     let second = y.yield_(2);
///     second.await;
/// });
/// assert_eq!(numbers.collect::<Vec<_>>(), [2], "what is not awaited is not yielded");
/// ```
#[must_use = "a value is not yielded until this is awaited"]
pub struct Yielding<'a, Y> {
    outlet: &'a Outlet<Y>,
    what: &'static str,
    state: State<Y>,
}

enum State<Y> {
    /// To be yielded.
    Unborn(Y),
    /// Yielded, as the one with this number.
    Left(u64),
    Done,
}

impl<'a, Y> Yielding<'a, Y> {
    pub(crate) fn new(outlet: &'a Outlet<Y>, what: &'static str, value: Y) -> Yielding<'a, Y> {
        Yielding { outlet, what, state: State::Unborn(value) }
    }
}

/// The value is never pinned, only moved.
impl<Y> Unpin for Yielding<'_, Y> {}

impl<Y> fmt::Debug for Yielding<'_, Y> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Yielding")
            .field("yielded", &!matches!(self.state, State::Unborn(_)))
            .finish_non_exhaustive()
    }
}

impl<Y> Future for Yielding<'_, Y> {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.outlet.is_resumed() {
            used_elsewhere(self.what)
        }
        match std::mem::replace(&mut self.state, State::Done) {
            State::Unborn(value) => self.state = State::Left(self.outlet.put(value)),
            State::Left(number) if self.outlet.holds(number) => self.state = State::Left(number),
            State::Left(_) => return Poll::Ready(()),
            State::Done => panic!("a yield was polled again after it was ready"),
        }
        if self.outlet.is_foreign(cx) {
            self.outlet.bell.attend(cx);
        }
        Poll::Pending
    }
}

/// A value whose yield is given up before anybody took it is taken back.
impl<Y> Drop for Yielding<'_, Y> {
    #[inline]
    fn drop(&mut self) {
        if let State::Left(number) = self.state
            && self.outlet.holds(number)
        {
            drop(self.outlet.take());
        }
    }
}
