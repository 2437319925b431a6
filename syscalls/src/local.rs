//! Task locals: values that a task has with it, wherever its code is.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::thread::LocalKey;

use pin_project::{pin_project, pinned_drop};
use thiserror::Error;

/// Declares task locals: `static` items of the type [`TaskLocal`].
///
/// ```
/// trapline_syscalls::task_local! {
///     /// On whose behalf the task runs.
///     pub static USER: String;
///     static DEPTH: u32;
/// }
/// ```
#[macro_export]
macro_rules! task_local {
    ($($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty);+ $(;)?) => {
        $(
            $(#[$attribute])*
            $visibility static $name: $crate::TaskLocal<$type> = {
                ::std::thread_local! {
                    static CELL: $crate::TaskLocalCell<$type> = const { $crate::TaskLocalCell::new() };
                }
                $crate::TaskLocal::new(&CELL)
            };
        )+
    };
}

/// A value for each task that has entered a [`scope`](TaskLocal::scope) of it, and for the code that the
/// scope's future runs, however deep.
///
/// It is no global of the task's: it belongs to the future of the scope. So each branch of a `join!`
/// may have its own, a scope within a scope shadows the outer one, a task that is spawned has none
/// unless it enters one itself, and a task that is killed drops what it had.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// trapline::task_local! { static USER: String; }
///
/// async fn greeting() -> String {
///     trapline::yield_now().await;
///     USER.with(|user| format!("hello {user}"))
/// }
///
/// let greeting = USER.scope("Ada".to_owned(), greeting());
/// assert_eq!(greeting.await, "hello Ada");
/// assert!(USER.try_with(|_| ()).is_err());
/// # }).unwrap();
/// ```
///
/// # Kin
/// `pthread_getspecific(3)`; tokio's `task_local!`; Python's `contextvars`.
pub struct TaskLocal<T: 'static> {
    cell: &'static LocalKey<TaskLocalCell<T>>,
}

/// Where the value of the scope that is being polled is. For [`task_local!`](crate::task_local).
pub struct TaskLocalCell<T> {
    value: Cell<Option<Rc<T>>>,
}

impl<T> TaskLocalCell<T> {
    #[doc(hidden)]
    #[must_use]
    pub const fn new() -> TaskLocalCell<T> {
        TaskLocalCell { value: Cell::new(None) }
    }
}

impl<T> Default for TaskLocalCell<T> {
    fn default() -> TaskLocalCell<T> {
        TaskLocalCell::new()
    }
}

impl<T> fmt::Debug for TaskLocalCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskLocalCell").finish_non_exhaustive()
    }
}

/// No scope of the task local has been entered.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::NoScope;
///
/// trapline::task_local! { static USER: String; }
///
/// let name = USER.try_with(String::clone);
/// assert_eq!(name, Err(NoScope));
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("no scope of the task local has been entered")]
pub struct NoScope;

impl<T: 'static> TaskLocal<T> {
    #[doc(hidden)]
    #[must_use]
    pub const fn new(cell: &'static LocalKey<TaskLocalCell<T>>) -> TaskLocal<T> {
        TaskLocal { cell }
    }

    /// Runs `future` with `value`: while it is polled, and while it is dropped.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// trapline::task_local! { static DEPTH: u32; }
    ///
    /// let inner = DEPTH.scope(2, async { DEPTH.get() });
    /// let outer = DEPTH.scope(1, async { (inner.await, DEPTH.get()) });
    /// assert_eq!(outer.await, (2, 1));
    /// # }).unwrap();
    /// ```
    ///
    /// # Cancel safety
    /// As safe as the future's own: dropping the scope drops it, and then the value.
    ///
    /// # Cost
    /// One allocation, and a few instructions each time it is polled.
    pub fn scope<F: Future>(&'static self, value: T, future: F) -> LocalScope<T, F> {
        LocalScope { local: self, value: Some(Rc::new(value)), future: Some(future) }
    }

    /// Runs `run` with `value`, now.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// trapline::task_local! { static DEPTH: u32; }
    ///
    /// assert_eq!(DEPTH.sync_scope(1, || DEPTH.get() + DEPTH.sync_scope(2, || DEPTH.get())), 3);
    /// assert!(DEPTH.try_with(|_| ()).is_err());
    /// ```
    pub fn sync_scope<R>(&'static self, value: T, run: impl FnOnce() -> R) -> R {
        let mut value = Some(Rc::new(value));
        let _entered = Entered::new(self, &mut value);
        run()
    }

    /// Lets `read` have the value of the innermost scope.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// trapline::task_local! { static USER: String; }
    ///
    /// let length = USER.scope("Ada".to_owned(), async { USER.with(String::len) });
    /// assert_eq!(length.await, 3);
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If no scope has been entered.
    pub fn with<R>(&'static self, read: impl FnOnce(&T) -> R) -> R {
        match self.value() {
            Some(value) => read(&value),
            None => panic!("no scope of the task local has been entered"),
        }
    }

    /// The same where there may be no scope.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// trapline::task_local! { static USER: String; }
    ///
    /// assert_eq!(USER.try_with(String::len), Err(trapline::NoScope));
    /// ```
    ///
    /// # Errors
    /// [`NoScope`] if none has been entered.
    pub fn try_with<R>(&'static self, read: impl FnOnce(&T) -> R) -> Result<R, NoScope> {
        self.value().map(|value| read(&value)).ok_or(NoScope)
    }

    /// A copy of the value of the innermost scope.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// trapline::task_local! { static DEPTH: u32; }
    ///
    /// assert_eq!(DEPTH.scope(3, async { DEPTH.get() }).await, 3);
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If no scope has been entered.
    pub fn get(&'static self) -> T
    where
        T: Clone,
    {
        self.with(T::clone)
    }

    /// The value, held by itself while foreign code looks at it.
    fn value(&self) -> Option<Rc<T>> {
        self.cell
            .try_with(|TaskLocalCell { value }| {
                let there = value.take();
                value.set(there.clone());
                there
            })
            .ok()?
    }

    /// Puts a value in place of the one that is there, which it gives.
    fn swap(&self, other: &mut Option<Rc<T>>) {
        // Where the thread is ending there is nothing to be read, either.
        let _ = self.cell.try_with(|cell| *other = cell.value.replace(other.take()));
    }
}

impl<T: 'static> fmt::Debug for TaskLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskLocal").field("is_entered", &self.value().is_some()).finish()
    }
}

/// The future of [`TaskLocal::scope`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// trapline::task_local! { static DEPTH: u32; }
///
/// let scope = DEPTH.scope(1, async { DEPTH.get() });
/// assert!(DEPTH.try_with(|_| ()).is_err(), "only while it is polled");
/// assert_eq!(scope.await, 1);
/// # }).unwrap();
/// ```
#[pin_project(PinnedDrop)]
#[must_use = "a future does nothing until it is awaited"]
pub struct LocalScope<T: 'static, F> {
    local: &'static TaskLocal<T>,
    /// `None` while it is in the cell.
    value: Option<Rc<T>>,
    /// `None` once it is being dropped.
    #[pin]
    future: Option<F>,
}

/// While it lives, the value of a scope is in the cell; then again what was there before.
struct Entered<'a, T: 'static> {
    local: &'static TaskLocal<T>,
    other: &'a mut Option<Rc<T>>,
}

impl<'a, T> Entered<'a, T> {
    fn new(local: &'static TaskLocal<T>, other: &'a mut Option<Rc<T>>) -> Entered<'a, T> {
        local.swap(other);
        Entered { local, other }
    }
}

impl<T> Drop for Entered<'_, T> {
    fn drop(&mut self) {
        self.local.swap(self.other);
    }
}

impl<T: 'static, F: Future> Future for LocalScope<T, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = Entered::new(this.local, this.value);
        this.future.as_pin_mut().expect("a scope that is polled is not being dropped").poll(cx)
    }
}

#[pinned_drop]
impl<T: 'static, F> PinnedDrop for LocalScope<T, F> {
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        let _entered = Entered::new(this.local, this.value);
        this.future.set(None);
    }
}

impl<T: 'static, F> fmt::Debug for LocalScope<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalScope").field("local", self.local).finish_non_exhaustive()
    }
}
