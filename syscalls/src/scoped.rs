//! Children that may borrow: futures that are polled inside the parent's task, each when it is woken.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use pin_project::{pin_project, pinned_drop};
use slab::Slab;
use trapline_abi::{ParkOn, ReadyList, WaitQueue};

mod waker;

use self::waker::{ChildWaker, Foreign};

/// The body's place among the children.
const BODY: usize = 0;

/// Runs `body` with a scope to spawn into, until it and all that was spawned there has ended. What is
/// spawned may borrow whatever lives outside the scope.
///
/// The children are no tasks: they are polled inside this one, each when what it waits for has come. So
/// they need no `'static`, cost no id, and cannot be killed one by one. They and the body take turns
/// when they await. A panic in one is a panic of the whole.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::cell::Cell;
/// use std::time::Duration;
///
/// let words = ["trap", "kernel", "queue"];
/// let letters = Cell::new(0);
/// trapline::scope(async |scope| {
///     for word in &words {
///         let letters = &letters;
///         scope.spawn(async move {
///             trapline::sleep(Duration::from_secs(1)).await;
///             letters.set(letters.get() + word.len());
///         });
///     }
/// })
/// .await;
/// assert_eq!(letters.get(), 15);
/// # }).unwrap();
/// ```
///
/// # Panics
/// With the panic of the body or of a child; the others are dropped. If it is polled outside a task, or
/// again after it was ready.
///
/// # Cancel safety
/// Dropping it drops the body, then the children: as safe as these are.
///
/// # Cost
/// No trap of its own. Three allocations a child; O(1) for each time that one is woken, however many
/// there are.
///
/// # Kin
/// `std::thread::scope`; moro's `async_scope!`.
pub fn scope<'env, F: Future>(body: impl FnOnce(Scope<'env>) -> F) -> ScopeRun<'env, F> {
    let inner = Rc::new(Inner {
        children: RefCell::new(Slab::new()),
        ready: ReadyList::new(),
        foreign: Arc::default(),
        live: Cell::new(0),
        held: Cell::new(0),
        polling: Cell::new(false),
        closed: Cell::new(false),
    });
    // Keeps the first place free of children.
    inner.children.borrow_mut().insert(None);
    inner.ready.push(BODY);
    let body = body(Scope { inner: Rc::clone(&inner) });
    let waker = ChildWaker::new(BODY, &inner.foreign);
    ScopeRun { body: Some(body), output: None, waker, body_held: false, inner }
}

/// Where children are spawned that may borrow: see [`scope`]. Clones are the same scope.
#[derive(Clone)]
pub struct Scope<'env> {
    inner: Rc<Inner<'env>>,
}

impl<'env> Scope<'env> {
    /// Starts a child. It is first polled after whoever runs now has given way. Await what this gives for
    /// the child's value; dropped, the child goes on all the same.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let words = ["one".to_owned(), "two".to_owned()];
    /// let lengths = trapline::scope(async |scope| {
    ///     let first = scope.spawn(async { words[0].len() });
    ///     let second = scope.spawn(async { words[1].len() });
    ///     first.await + second.await
    /// });
    /// assert_eq!(lengths.await, 6);
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If the scope has ended.
    ///
    /// # Cost
    /// No trap; three allocations.
    #[track_caller]
    pub fn spawn<F>(&self, child: F) -> ScopedChild<F::Output>
    where
        F: Future + 'env,
        F::Output: 'env,
    {
        let inner = &*self.inner;
        assert!(!inner.closed.get(), "a child was spawned into a scope that has ended");
        let queue = WaitQueue::part("a child in a scope", 0);
        let left = Rc::new(Left { value: Cell::new(None), ended: Cell::new(false), queue });
        let leave = Leave(Rc::clone(&left));
        let future: Pin<Box<dyn Future<Output = ()> + 'env>> = Box::pin(async move {
            // Held from here on: it is dropped after the child, with or without a value.
            let leave = leave;
            leave.0.value.set(Some(child.await));
        });
        inner.live.set(inner.live.get() + 1);
        let place = {
            let mut children = inner.children.borrow_mut();
            let entry = children.vacant_entry();
            let (place, waker) = (entry.key(), ChildWaker::new(entry.key(), &inner.foreign));
            entry.insert(Some(Child { future, waker, held: false }));
            place
        };
        if inner.polling.get() {
            inner.ready.push(place);
        } else {
            inner.ready.wake(place);
        }
        ScopedChild { left, site: Location::caller(), park: None }
    }

    /// How many children have not ended.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// trapline::scope(async |scope| {
    ///     scope.spawn(async {});
    ///     assert_eq!(scope.len(), 1);
    ///     trapline::yield_now().await;
    ///     assert!(scope.is_empty());
    /// })
    /// .await;
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.live.get()
    }

    /// Whether all children have ended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("live", &self.len()).finish_non_exhaustive()
    }
}

/// What the scope, its handles and its future share.
struct Inner<'env> {
    /// `None` while a child is being polled, and for the body.
    children: RefCell<Slab<Option<Child<'env>>>>,
    ready: Rc<ReadyList>,
    foreign: Arc<Foreign>,
    live: Cell<usize>,
    /// How many had their wakers held by others when they were last polled.
    held: Cell<usize>,
    polling: Cell<bool>,
    closed: Cell<bool>,
}

struct Child<'env> {
    future: Pin<Box<dyn Future<Output = ()> + 'env>>,
    waker: Arc<ChildWaker>,
    held: bool,
}

/// The future of [`scope`].
#[pin_project(PinnedDrop)]
#[must_use = "it does nothing until it is awaited"]
pub struct ScopeRun<'env, F: Future> {
    #[pin]
    body: Option<F>,
    output: Option<F::Output>,
    waker: Arc<ChildWaker>,
    body_held: bool,
    inner: Rc<Inner<'env>>,
}

impl<F: Future> Future for ScopeRun<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let inner = Rc::clone(&self.inner);
        assert!(!inner.closed.get(), "a scope was polled after its end");
        if inner.ready.polled_in(cx) {
            inner.push_all();
        }
        inner.take_foreign();
        // Whoever comes while these are polled has its turn when the others of the task had theirs.
        let polling = InPoll::new(&inner.polling);
        for _ in 0..inner.ready.len() {
            match inner.ready.pop() {
                Some(BODY) => self.as_mut().poll_body(),
                Some(place) => inner.poll_child(place),
                None => break,
            }
        }
        drop(polling);
        let this = self.project();
        if this.body.is_none() && inner.live.get() == 0 {
            inner.close();
            let output = this.output.take().expect("the body has left its output");
            return Poll::Ready(output);
        }
        inner.lend_waker(cx);
        inner.take_foreign();
        if !inner.ready.is_empty() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<F: Future> ScopeRun<'_, F> {
    fn poll_body(self: Pin<&mut Self>) {
        let mut this = self.project();
        let Some(body) = this.body.as_mut().as_pin_mut() else { return };
        let waker = Waker::from(Arc::clone(this.waker));
        let polling = this.inner.ready.enter(BODY, &waker);
        let polled = body.poll(&mut Context::from_waker(&waker));
        drop(polling);
        if let Poll::Ready(output) = polled {
            this.body.set(None);
            *this.output = Some(output);
        }
        drop(waker);
        this.inner.note_held(this.waker, this.body_held);
    }
}

#[pinned_drop]
impl<F: Future> PinnedDrop for ScopeRun<'_, F> {
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.body.set(None);
        this.inner.close();
    }
}

impl<F: Future> fmt::Debug for ScopeRun<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopeRun").field("live", &self.inner.live.get()).finish_non_exhaustive()
    }
}

/// Notes that the scope is being polled, and by a panic no longer.
struct InPoll<'a>(&'a Cell<bool>);

impl<'a> InPoll<'a> {
    fn new(polling: &'a Cell<bool>) -> InPoll<'a> {
        polling.set(true);
        InPoll(polling)
    }
}

impl Drop for InPoll<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl Inner<'_> {
    /// All are to be polled, wherever their calls are booked now.
    fn push_all(&self) {
        let children = self.children.borrow();
        children.iter().for_each(|(place, _)| self.ready.push(place));
    }

    /// Polls a child, which is out of the table meanwhile: it may spawn others.
    fn poll_child(&self, place: usize) {
        let taken = self.children.borrow_mut().get_mut(place).and_then(Option::take);
        let Some(mut child) = taken else { return };
        let waker = Waker::from(Arc::clone(&child.waker));
        let polling = self.ready.enter(place, &waker);
        let polled = child.future.as_mut().poll(&mut Context::from_waker(&waker));
        drop(polling);
        drop(waker);
        if polled.is_pending() {
            self.note_held(&child.waker, &mut child.held);
            self.children.borrow_mut()[place] = Some(child);
            return;
        }
        self.live.set(self.live.get() - 1);
        if child.held {
            self.held.set(self.held.get() - 1);
        }
        let _place = self.children.borrow_mut().remove(place);
        drop(child);
    }

    /// Counts those whose wakers others hold.
    fn note_held(&self, waker: &Arc<ChildWaker>, held: &mut bool) {
        let now = Arc::strong_count(waker) > 1;
        match (std::mem::replace(held, now), now) {
            (false, true) => self.held.set(self.held.get() + 1),
            (true, false) => self.held.set(self.held.get() - 1),
            _ => {}
        }
    }

    /// Whoever holds a child's waker must reach this task, also from another thread.
    fn lend_waker(&self, cx: &Context<'_>) {
        if self.held.get() == 0 {
            self.foreign.take_back();
        } else {
            self.foreign.lend(cx.waker());
        }
    }

    fn take_foreign(&self) {
        self.foreign.take_woken().into_iter().for_each(|place| self.ready.push(place));
    }

    /// Drops what is left.
    fn close(&self) {
        self.closed.set(true);
        self.live.set(0);
        let children = self.children.take();
        self.foreign.close();
        drop(children);
    }
}

/// A child of a scope. Await it for the child's value, within the scope or elsewhere.
///
/// # Panics
/// If the child will never give one, since it panicked, or its scope was dropped. If it is polled again
/// after it was ready.
///
/// # Cancel safety
/// Safe, through `&mut child`: the value stays where it is.
pub struct ScopedChild<T> {
    left: Rc<Left<T>>,
    site: &'static Location<'static>,
    park: Option<ParkOn<Rc<Left<T>>>>,
}

/// What a child leaves.
struct Left<T> {
    value: Cell<Option<T>>,
    ended: Cell<bool>,
    queue: WaitQueue,
}

/// Tells those who wait that the child has ended, or been dropped.
struct Leave<T>(Rc<Left<T>>);

impl<T> Drop for Leave<T> {
    fn drop(&mut self) {
        self.0.ended.set(true);
        self.0.queue.wake_all();
    }
}

impl<T> Future for ScopedChild<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let ScopedChild { left, site, park } = &mut *self;
        while !left.ended.get() {
            let wait = || ParkOn::new(Rc::clone(left), |left| &left.queue, site);
            ready!(Pin::new(park.get_or_insert_with(wait)).poll(cx));
            *park = None;
        }
        *park = None;
        let value = left.value.take();
        Poll::Ready(value.expect("a child in a scope has ended without a value, or it was taken"))
    }
}

impl<T> fmt::Debug for ScopedChild<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedChild").field("ended", &self.left.ended.get()).finish_non_exhaustive()
    }
}
