//! The receiving end.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::channel::core::Core;
use crate::channel::error::TryRecvError;
use crate::pace::{Claim, spend};

/// A place in the line of receivers, for the stream.
pub(crate) type Line<T> = Pin<Box<dyn Future<Output = Option<T>>>>;

/// Receives values from a channel. See [`channel`](crate::channel::channel).
///
/// Clones receive from the same channel, each value one of them. When the last one is gone, the
/// channel is closed and what is in it dropped.
///
/// It is a [`Stream`](futures::Stream), too. A stream that was polled and had nothing stands in line
/// until it is polled again, another method of the same receiver is called, or it is dropped: where
/// several receive, [`recv`](Receiver::recv) is the better choice, whose future leaves the line when
/// it is dropped.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let (sender, receiver) = trapline::channel::channel(2);
/// sender.send(1).await.unwrap();
/// sender.send(2).await.unwrap();
/// drop(sender);
/// let mut sum = 0;
/// while let Some(number) = receiver.recv().await {
///     sum += number;
/// }
/// assert_eq!(sum, 3);
/// # }).unwrap();
/// ```
pub struct Receiver<T> {
    pub(crate) core: Rc<Core<T>>,
    /// The stream's place in the line.
    pub(crate) line: Cell<Option<Line<T>>>,
}

impl<T> Receiver<T> {
    pub(crate) fn new(core: Rc<Core<T>>) -> Receiver<T> {
        Receiver { core, line: Cell::new(None) }
    }

    /// Waits for a value, and takes it. `None` is the end: the channel is closed, and empty.
    ///
    /// Values leave in the order in which they were sent. Receivers that wait are served in the order
    /// in which they came; one who comes later does not take what they were given.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::channel(8);
    /// trapline::spawn_detached(async move {
    ///     for number in 0..3 {
    ///         sender.send(number).await.unwrap();
    ///     }
    /// });
    /// let mut sum = 0;
    /// while let Some(number) = receiver.recv().await {
    ///     sum += number;
    /// }
    /// assert_eq!(sum, 3);
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If it has to wait outside a task, or while tasks of another scheduler wait on the channel; if
    /// it is polled again after it was ready.
    ///
    /// # Cancel safety
    /// Safe: a future that is dropped has taken nothing. A value it was given goes to the next who
    /// waits, or stays in the channel, in its place.
    ///
    /// # Cost
    /// No trap where there is a value. Else one, O(1).
    ///
    /// # Kin
    /// `read(2)` from a pipe; tokio's `mpsc::Receiver::recv`.
    #[track_caller]
    #[inline]
    pub fn recv(&self) -> Recv<'_, T> {
        self.leave_line();
        Recv::new(&self.core)
    }

    /// The same as [`recv`](Receiver::recv) for whoever stands at `site`.
    pub(crate) fn recv_at(&self, site: &'static Location<'static>) -> Recv<'_, T> {
        self.leave_line();
        Recv::at(&self.core, site)
    }

    /// Takes a value, if one is there that nobody who waits was given.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// use trapline::channel::TryRecvError;
    ///
    /// let (sender, receiver) = trapline::channel::channel(1);
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// sender.try_send(7).unwrap();
    /// drop(sender);
    /// assert_eq!(receiver.try_recv(), Ok(7));
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    /// ```
    ///
    /// # Errors
    /// [`TryRecvError::Empty`]; [`TryRecvError::Closed`] at the end.
    ///
    /// # Cost
    /// No trap, O(1).
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.leave_line();
        if let Some(value) = self.core.try_receive() {
            spend();
            return Ok(value);
        }
        Err(if self.core.is_over() { TryRecvError::Closed } else { TryRecvError::Empty })
    }

    /// Closes the channel: nothing goes in any more, and what is there may be taken. Senders that
    /// wait have their values back. Says whether it was open.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::channel(2);
    /// sender.try_send(7).unwrap();
    /// receiver.close();
    /// assert!(sender.try_send(8).is_err());
    /// // What is there can still be taken.
    /// assert_eq!(receiver.try_recv(), Ok(7));
    /// ```
    ///
    /// # Cost
    /// No trap; O(waiters).
    pub fn close(&self) -> bool {
        self.core.close()
    }

    /// Whether nothing goes in any more: somebody closed it, or no sender is left.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::channel::<u8>(2);
    /// assert!(!receiver.is_closed());
    /// drop(sender);
    /// assert!(receiver.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    /// How many values are in it.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::channel(2);
    /// sender.try_send(7).unwrap();
    /// assert_eq!((receiver.len(), receiver.is_empty(), receiver.capacity()), (1, false, 2));
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.core.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values have room in it; 0 for a rendezvous, `usize::MAX` if there is no bound.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.core.capacity()
    }

    /// How many senders there are.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (sender, receiver) = trapline::channel::channel::<u8>(2);
    /// let _another = sender.clone();
    /// assert_eq!(receiver.senders(), 2);
    /// ```
    #[must_use]
    pub fn senders(&self) -> usize {
        self.core.senders()
    }

    /// Whether both are ends of one channel.
    ///
    /// ```
    /// # use trapline_syscalls as trapline;
    /// let (_sender, receiver) = trapline::channel::channel::<u8>(2);
    /// assert!(receiver.same_channel(&receiver.clone()));
    /// ```
    #[must_use]
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        Rc::ptr_eq(&self.core, &other.core)
    }

    /// Another use of this receiver: its stream gives up its place.
    #[inline]
    pub(crate) fn leave_line(&self) {
        drop(self.line.take());
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        self.core.add_receiver();
        Receiver::new(Rc::clone(&self.core))
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.leave_line();
        self.core.remove_receiver();
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.core).finish()
    }
}

/// The future of [`Receiver::recv`].
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use std::time::Duration;
///
/// let (sender, receiver) = trapline::channel::channel(1);
/// let mut recv = receiver.recv();
/// assert!(trapline::timeout(Duration::from_secs(1), &mut recv).await.is_err());
/// sender.send(7).await.unwrap();
/// assert_eq!(recv.await, Some(7));
/// # }).unwrap();
/// ```
#[must_use = "nothing is received until this is awaited"]
pub struct Recv<'a, T> {
    /// `None` when it has been ready.
    core: Option<&'a Core<T>>,
    item: Claim<'a>,
}

impl<'a, T> Recv<'a, T> {
    #[track_caller]
    #[inline]
    pub(crate) fn new(core: &'a Core<T>) -> Recv<'a, T> {
        Recv::at(core, Location::caller())
    }

    /// The same for whoever stands at `site`.
    #[inline]
    pub(crate) fn at(core: &'a Core<T>, site: &'static Location<'static>) -> Recv<'a, T> {
        Recv { core: Some(core), item: Claim::at(&core.items, site) }
    }
}

impl<T> Future for Recv<'_, T> {
    type Output = Option<T>;

    // Always inlined: in the task that awaits it, the phases are known, and nothing is left to be dropped.
    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let core = self.core.expect("a recv was polled again after it was ready");
        let comes = ready!(self.item.poll(cx, || core.is_over()));
        self.core = None;
        Poll::Ready(comes.then(|| core.take()))
    }
}

impl<T> fmt::Debug for Recv<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recv").field("channel", &self.core).finish_non_exhaustive()
    }
}
