//! The latest value of something.

mod stream;
mod wait_for;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Deref;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use trapline_abi::WaitQueue;

use crate::channel::error::{Closed, SendError};
use crate::channel::queues;
use crate::channel::watch::stream::Wait;
use crate::pace::{Claim, spend};
use crate::told::Thing;

pub use wait_for::WaitFor;

/// A channel that keeps one value, the latest. Receivers look at it, and wait for another.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let (sender, mut receiver) = trapline::channel::watch("starting");
/// assert_eq!(*receiver.borrow(), "starting");
/// sender.send("running").unwrap();
/// receiver.changed().await.unwrap();
/// assert_eq!(*receiver.borrow(), "running");
/// # }).unwrap();
/// ```
///
/// # Cost
/// Two allocations. A value costs none but where somebody is looking at the one before.
///
/// # Kin
/// tokio's `watch`.
#[must_use]
#[track_caller]
pub fn watch<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let site = Location::caller();
    let screen = Rc::new(Screen {
        value: RefCell::new(Rc::new(value)),
        version: Cell::new(0),
        changes: queues::queue("a change of a watched value", 0, site),
        gone: queues::queue("the receivers of a watch to be gone", 0, site),
        senders: Cell::new(1),
        receivers: Cell::new(1),
        thing: Thing::new("watch", site),
    });
    (Sender { screen: Rc::clone(&screen) }, Receiver { screen, seen: 0, wait: None })
}

struct Screen<T> {
    value: RefCell<Rc<T>>,
    /// How often the value has been replaced.
    version: Cell<u64>,
    /// Keeps no tokens: all who wait are woken by each change.
    changes: WaitQueue,
    /// The same, for senders.
    gone: WaitQueue,
    senders: Cell<usize>,
    receivers: Cell<usize>,
    thing: Thing,
}

impl<T> Screen<T> {
    fn look(&self) -> Ref<T> {
        Ref(Rc::clone(&self.value.borrow()))
    }

    fn show(&self, value: T) {
        let mut shown = self.value.borrow_mut();
        // Where nobody looks at the old one, the new one takes its place.
        let old = match Rc::get_mut(&mut shown) {
            Some(place) => Ok(std::mem::replace(place, value)),
            None => Err(std::mem::replace(&mut *shown, Rc::new(value))),
        };
        drop(shown);
        self.version.set(self.version.get() + 1);
        self.thing.tell("version", || self.version.get() as usize);
        self.changes.wake_all();
        drop(old);
    }

    fn add_receiver(&self) {
        self.receivers.set(self.receivers.get() + 1);
    }
}

impl<T> fmt::Debug for Screen<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("version", &self.version.get())
            .field("senders", &self.senders.get())
            .field("receivers", &self.receivers.get())
            .finish()
    }
}

/// A look at the value. It keeps what it saw, also when another value comes.
pub struct Ref<T>(Rc<T>);

impl<T> Deref for Ref<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Ref<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Replaces the value. See [`watch`].
pub struct Sender<T> {
    screen: Rc<Screen<T>>,
}

impl<T> Sender<T> {
    /// Replaces the value, and wakes all receivers that wait. It does not wait.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::watch("morning");
    /// sender.send("evening").unwrap();
    /// assert_eq!(*receiver.borrow(), "evening");
    /// drop(receiver);
    /// assert!(sender.send("night").is_err());
    /// ```
    ///
    /// # Errors
    /// [`SendError`] with the new value, which then does not replace the old one, if there is no
    /// receiver.
    ///
    /// # Cost
    /// No trap; O(receivers that wait).
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.is_closed() {
            return Err(SendError(value));
        }
        spend();
        self.screen.show(value);
        Ok(())
    }

    /// Replaces the value by what `change` makes of it, whether or not there is a receiver.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::watch(1);
    /// sender.update(|value| value + 1);
    /// assert_eq!(*receiver.borrow(), 2);
    /// ```
    ///
    /// # Cost
    /// No trap; O(receivers that wait).
    pub fn update(&self, change: impl FnOnce(&T) -> T) {
        let value = change(&self.borrow());
        spend();
        self.screen.show(value);
    }

    /// Looks at the value.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, _receiver) = trapline::channel::watch("morning");
    /// assert_eq!(*sender.borrow(), "morning");
    /// ```
    #[must_use]
    pub fn borrow(&self) -> Ref<T> {
        self.screen.look()
    }

    /// A receiver that has seen the present value.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, _receiver) = trapline::channel::watch("morning");
    /// let another = sender.subscribe();
    /// assert!(!another.has_changed());
    /// ```
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        self.screen.add_receiver();
        Receiver { screen: Rc::clone(&self.screen), seen: self.screen.version.get(), wait: None }
    }

    /// Whether there is no receiver.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::watch(0);
    /// drop(receiver);
    /// assert!(sender.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.receivers() == 0
    }

    /// How many receivers there are.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::watch(0);
    /// let _another = receiver.clone();
    /// assert_eq!(sender.receivers(), 2);
    /// ```
    #[must_use]
    pub fn receivers(&self) -> usize {
        self.screen.receivers.get()
    }

    /// Waits until there is no receiver.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::watch(0);
    /// trapline::join(sender.closed(), async { drop(receiver) }).await;
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If it has to wait outside a task.
    ///
    /// # Cancel safety
    /// Safe: it changes nothing.
    ///
    /// # Cost
    /// One trap, where there is a receiver.
    #[track_caller]
    pub fn closed(&self) -> ReceiversGone<'_> {
        ReceiversGone { receivers: &self.screen.receivers, wait: Claim::new(&self.screen.gone) }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.screen.senders.set(self.screen.senders.get() + 1);
        Sender { screen: Rc::clone(&self.screen) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.screen.senders.set(self.screen.senders.get() - 1);
        if self.screen.senders.get() == 0 {
            self.screen.thing.tell("closed", || 1);
            self.screen.changes.wake_all();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.screen).finish()
    }
}

/// The future of [`Sender::closed`].
#[derive(Debug)]
#[must_use = "nothing is waited for until this is awaited"]
pub struct ReceiversGone<'a> {
    receivers: &'a Cell<usize>,
    wait: Claim<'a>,
}

impl Future for ReceiversGone<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let receivers = self.receivers;
        self.wait.poll_over(cx, || receivers.get() == 0)
    }
}

/// Looks at the value, and waits for another. See [`watch`].
///
/// A clone has seen what this one has. It is a [`Stream`](futures::Stream), too.
pub struct Receiver<T> {
    screen: Rc<Screen<T>>,
    /// The version it has seen.
    seen: u64,
    /// The stream's wait.
    wait: Option<Wait>,
}

impl<T> Receiver<T> {
    /// Waits for a value that it has not seen, and counts it as seen. Of several that came
    /// meanwhile, the latest is there.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let (sender, mut receiver) = trapline::channel::watch(0);
    /// let reader = trapline::spawn(async move {
    ///     let mut seen = Vec::new();
    ///     while receiver.changed().await.is_ok() {
    ///         seen.push(*receiver.borrow());
    ///     }
    ///     seen
    /// });
    /// let reader = reader.await;
    /// sender.send(1).unwrap();
    /// sender.send(2).unwrap();
    /// trapline::yield_now().await;
    /// sender.send(3).unwrap();
    /// drop(sender);
    /// // Of several that came meanwhile, it saw the latest.
    /// assert_eq!(reader.await.unwrap(), [2, 3]);
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`Closed`], if there is none and every sender is gone.
    ///
    /// # Panics
    /// If it has to wait outside a task.
    ///
    /// # Cancel safety
    /// Safe: a change counts as seen at the poll that tells of it.
    ///
    /// # Cost
    /// No trap where there is a change; else one.
    ///
    /// # Kin
    /// tokio's `watch::Receiver::changed`.
    #[track_caller]
    pub fn changed(&mut self) -> Changed<'_, T> {
        self.wait = None;
        Changed {
            change: Claim::new(&self.screen.changes),
            screen: &self.screen,
            seen: &mut self.seen,
        }
    }

    /// Looks at the value, without counting it as seen.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::watch(1);
    /// sender.send(2).unwrap();
    /// assert_eq!(*receiver.borrow(), 2);
    /// assert!(receiver.has_changed());
    /// ```
    #[must_use]
    pub fn borrow(&self) -> Ref<T> {
        self.screen.look()
    }

    /// Looks at the value, and counts it as seen.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, mut receiver) = trapline::channel::watch(1);
    /// sender.send(2).unwrap();
    /// assert_eq!(*receiver.see(), 2);
    /// assert!(!receiver.has_changed());
    /// ```
    pub fn see(&mut self) -> Ref<T> {
        self.wait = None;
        self.seen = self.screen.version.get();
        self.screen.look()
    }

    /// Whether there is a value that it has not seen.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::watch(1);
    /// assert!(!receiver.has_changed());
    /// sender.send(2).unwrap();
    /// assert!(receiver.has_changed());
    /// ```
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.seen != self.screen.version.get()
    }

    /// Whether every sender is gone.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::watch(1);
    /// drop(sender);
    /// assert!(receiver.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.screen.senders.get() == 0
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        self.screen.add_receiver();
        Receiver { screen: Rc::clone(&self.screen), seen: self.seen, wait: None }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.screen.receivers.set(self.screen.receivers.get() - 1);
        if self.screen.receivers.get() == 0 {
            self.screen.gone.wake_all();
        }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("channel", &self.screen)
            .field("has_changed", &self.has_changed())
            .finish()
    }
}

/// The future of [`Receiver::changed`].
#[must_use = "nothing is waited for until this is awaited"]
pub struct Changed<'a, T> {
    screen: &'a Screen<T>,
    seen: &'a mut u64,
    change: Claim<'a>,
}

impl<T> Future for Changed<'_, T> {
    type Output = Result<(), Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (screen, seen) = (self.screen, *self.seen);
        let is_over = || screen.version.get() != seen || screen.senders.get() == 0;
        ready!(self.change.poll_over(cx, is_over));
        *self.seen = screen.version.get();
        Poll::Ready(if *self.seen == seen { Err(Closed) } else { Ok(()) })
    }
}

impl<T> fmt::Debug for Changed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changed").field("channel", self.screen).finish_non_exhaustive()
    }
}
