//! How children and groups fail.

use std::any::Any;
use std::error::Error;
use std::fmt;

use trapline_abi::{Cancelled, JoinError, TaskId};

/// How a child of a group failed.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::ChildError;
///
/// let group = trapline::TaskGroup::<(), &str>::new().tolerant();
/// group.post(async { Err("out of cheese") });
/// match group.next().await.unwrap().1 {
///     Err(ChildError::Failed { error, .. }) => assert_eq!(error, "out of cheese"),
///     Err(ChildError::Ended(how)) => unreachable!("it returned: {how}"),
///     Ok(()) => unreachable!("it failed"),
/// }
/// # }).unwrap();
/// ```
pub enum ChildError<E> {
    /// It returned this error.
    Failed {
        /// The child.
        task: TaskId,
        /// What it returned.
        error: E,
    },
    /// It panicked, was killed, or was cancelled.
    Ended(JoinError),
}

impl<E> ChildError<E> {
    /// The child.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<(), &str>::new();
    /// let child = group.spawn(async { Err("out of cheese") }).await;
    /// let error = group.join_all().await.unwrap_err();
    /// assert_eq!(error.child().unwrap().task(), child);
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn task(&self) -> TaskId {
        match self {
            ChildError::Failed { task, .. } => *task,
            ChildError::Ended(error) => error.task(),
        }
    }

    /// What it returned, if it did.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<(), &str>::new();
    /// group.post(async { Err("out of cheese") });
    /// let error = group.join_all().await.unwrap_err();
    /// assert_eq!(error.child().unwrap().error(), Some(&"out of cheese"));
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn error(&self) -> Option<&E> {
        match self {
            ChildError::Failed { error, .. } => Some(error),
            ChildError::Ended(_) => None,
        }
    }

    /// Whether it panicked.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<()>::new();
    /// group.post_value(async { panic!("out of cheese") });
    /// let error = group.join_all().await.unwrap_err();
    /// assert!(error.child().unwrap().is_panic());
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self, ChildError::Ended(error) if error.is_panic())
    }

    /// Whether it was killed.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<()>::new();
    /// let child = group.spawn_value(std::future::pending()).await;
    /// trapline::kill(child).await.unwrap();
    /// let error = group.join_all().await.unwrap_err();
    /// assert!(error.child().unwrap().is_killed());
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn is_killed(&self) -> bool {
        matches!(self, ChildError::Ended(error) if error.is_killed())
    }

    /// Who cancelled it and why, if that is how it ended.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<()>::new();
    /// let child = group.spawn_value(std::future::pending()).await;
    /// trapline::yield_now().await;
    /// trapline::cancel(child, "no longer needed").await.unwrap();
    /// let error = group.next().await.unwrap().1.unwrap_err();
    /// assert_eq!(error.cancelled().unwrap().text(), "no longer needed");
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn cancelled(&self) -> Option<&Cancelled> {
        match self {
            ChildError::Failed { .. } => None,
            ChildError::Ended(error) => error.cancelled(),
        }
    }

    /// The payload of its panic, for `std::panic::resume_unwind`.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<()>::new();
    /// group.post_value(async { panic!("out of cheese") });
    /// let (_, ended) = group.next().await.unwrap();
    /// let payload = ended.unwrap_err().try_into_panic().unwrap();
    /// assert_eq!(payload.downcast_ref(), Some(&"out of cheese"));
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// The error itself, if it did not panic.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, ChildError<E>> {
        match self {
            ChildError::Ended(error) => error.try_into_panic().map_err(ChildError::Ended),
            other => Err(other),
        }
    }
}

impl<E: fmt::Display> fmt::Display for ChildError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChildError::Failed { task, error } => write!(f, "task {task} failed: {error}"),
            ChildError::Ended(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug> fmt::Debug for ChildError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChildError::Failed { task, error } => {
                write!(f, "ChildError(task {task} failed: {error:?})")
            }
            ChildError::Ended(error) => write!(f, "ChildError({error})"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> Error for ChildError<E> {}

/// Why a group came to nothing: its children's failures in the order in which they came, that of its
/// body, and who cancelled it, as far as there are such.
///
/// A child that was cancelled or killed because of another one's failure is not counted among those
/// that failed.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::GroupError;
///
/// let group = trapline::TaskGroup::<(), &str>::new();
/// group.post(async { Err("out of cheese") });
/// let error: GroupError<&str> = group.join_all().await.unwrap_err();
/// let (children, body) = error.into_errors();
/// assert_eq!((children.len(), body), (1, None));
/// # }).unwrap();
/// ```
pub struct GroupError<E> {
    pub(super) children: Vec<ChildError<E>>,
    pub(super) body: Option<E>,
    pub(super) cancelled: Option<Cancelled>,
}

impl<E> GroupError<E> {
    /// The child that failed first, if one did.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<(), &str>::new();
    /// group.post(async { Err("out of cheese") });
    /// let error = group.join_all().await.unwrap_err();
    /// assert_eq!(error.child().unwrap().error(), Some(&"out of cheese"));
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn child(&self) -> Option<&ChildError<E>> {
        self.children.first()
    }

    /// All that failed, first to last.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<(), &str>::new().tolerant();
    /// group.post(async { Err("out of cheese") });
    /// group.post(async { Err("out of wine") });
    /// let error = group.join_all().await.unwrap_err();
    /// let texts: Vec<_> = error.children().iter().filter_map(|child| child.error()).collect();
    /// assert_eq!(texts, [&"out of cheese", &"out of wine"]);
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn children(&self) -> &[ChildError<E>] {
        &self.children
    }

    /// The error of the body, if it returned one.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let scope = trapline::group_scope(async |group| {
    ///     group.spawn(async { Ok(()) }).await;
    ///     Err::<(), _>("the body failed")
    /// });
    /// assert_eq!(scope.await.unwrap_err().body(), Some(&"the body failed"));
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn body(&self) -> Option<&E> {
        self.body.as_ref()
    }

    /// Who cancelled the group and why: its first failure, where nobody else did so before.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<()>::new();
    /// group.post_value(std::future::pending());
    /// group.cancel("closing time");
    /// let error = group.join_all().await.unwrap_err();
    /// assert_eq!(error.cancelled().unwrap().text(), "closing time");
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn cancelled(&self) -> Option<&Cancelled> {
        self.cancelled.as_ref()
    }

    /// The children's errors, and the body's.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// let group = trapline::TaskGroup::<(), &str>::new();
    /// group.post(async { Err("out of cheese") });
    /// let (children, body) = group.join_all().await.unwrap_err().into_errors();
    /// assert_eq!((children.len(), body), (1, None));
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn into_errors(self) -> (Vec<ChildError<E>>, Option<E>) {
        (self.children, self.body)
    }
}

impl<E: fmt::Display> fmt::Display for GroupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for child in &self.children {
            write!(f, "{between}{child}")?;
            between = "; ";
        }
        if let Some(body) = &self.body {
            write!(f, "{between}the body failed: {body}")?;
            between = "; ";
        }
        match &self.cancelled {
            Some(why) if between.is_empty() => why.fmt(f),
            _ => Ok(()),
        }
    }
}

impl<E: fmt::Debug> fmt::Debug for GroupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupError")
            .field("children", &self.children)
            .field("body", &self.body)
            .field("cancelled", &self.cancelled)
            .finish()
    }
}

impl<E: fmt::Debug + fmt::Display> Error for GroupError<E> {}

const _: () = {
    const fn goes_anywhere<T: Send + Sync>() {}
    goes_anywhere::<ChildError<std::io::Error>>();
    goes_anywhere::<GroupError<std::io::Error>>();
};
