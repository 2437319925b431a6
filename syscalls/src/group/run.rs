//! A group with a body: a future that is polled within the parent, beside the children.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project::pin_project;
use trapline_abi::{CancelReason, Cancelled, Ring, Scope, ScopeKind, cancel_is_pending};

use super::TaskGroup;
use super::core::Core;
use super::error::GroupError;
use super::results::{Sum, Watch};

/// The future of [`TaskGroup::run`] and [`group_scope`](super::group_scope).
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// let run = trapline::group_scope(async |group: trapline::GroupHandle<u32>| {
///     group.spawn_value(async { 7 }).await;
///     Ok("body")
/// });
/// assert_eq!(run.await.unwrap(), "body");
/// # }).unwrap();
/// ```
#[pin_project]
#[must_use = "it does nothing until it is awaited"]
pub struct GroupRun<F, B, T, E> {
    // Dropped first: what the body has open closes before its scope, and before the children end.
    #[pin]
    body: Option<F>,
    end: Option<BodyEnd<B, E>>,
    scope: Scope,
    /// Whether the parent was cancelled: then it goes no further than this.
    doomed: bool,
    watch: Watch<T, E>,
    sum: Sum<T, E>,
    group: TaskGroup<T, E>,
    site: &'static Location<'static>,
}

/// How the body ended.
enum BodyEnd<B, E> {
    Returned(B),
    Failed(E),
    Panicked(Box<dyn Any + Send>),
    /// It was dropped, since the group was cancelled.
    Interrupted,
}

impl<F, B, T, E> GroupRun<F, B, T, E> {
    pub(super) fn new(
        group: TaskGroup<T, E>,
        body: F,
        site: &'static Location<'static>,
    ) -> GroupRun<F, B, T, E> {
        let scope = Scope::new(ScopeKind::Cancellable, site);
        let (watch, sum) = (Watch::new(), Sum::new());
        GroupRun { body: Some(body), end: None, scope, doomed: false, watch, sum, group, site }
    }
}

impl<F, B, T, E> Future for GroupRun<F, B, T, E>
where
    F: Future<Output = Result<B, E>>,
{
    type Output = Result<B, GroupError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.end.is_none() {
            let end = ready!(self.as_mut().poll_body(cx));
            let mut this = self.as_mut().project();
            this.body.set(None);
            this.group.end_of_body(&end, this.site);
            *this.end = Some(end);
        }
        self.as_mut().hear(cx);
        let this = self.as_mut().project();
        ready!(this.watch.poll_empty(&this.group.core, this.site, cx));
        ready!(this.sum.poll(&this.group.core, this.site, cx));
        this.group.core.close();
        if *this.doomed && cancel_is_pending() {
            // The parent ends here, by the kernel's hand; or else somebody beside it in the parent
            // was told.
            this.scope.rest(cx);
            return Poll::Pending;
        }
        self.finish()
    }
}

impl<F, B, T, E> GroupRun<F, B, T, E>
where
    F: Future<Output = Result<B, E>>,
{
    /// Polls the body; says how it ended, also if that is by our doing.
    fn poll_body(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<BodyEnd<B, E>> {
        let this = self.as_mut().project();
        let body = this.body.as_pin_mut().expect("a group was polled after its end");
        let within = this.scope.enter();
        let polled = catch_unwind(AssertUnwindSafe(|| body.poll(cx)));
        drop(within);
        match polled {
            Ok(Poll::Ready(Ok(value))) => return Poll::Ready(BodyEnd::Returned(value)),
            Ok(Poll::Ready(Err(error))) => return Poll::Ready(BodyEnd::Failed(error)),
            Err(payload) => return Poll::Ready(BodyEnd::Panicked(payload)),
            Ok(Poll::Pending) => {}
        }
        self.as_mut().hear(cx);
        let this = self.project();
        let cancelled = |core: &Core<T, E>| core.cancelled().is_some();
        this.watch.poll(&this.group.core, this.site, cx, cancelled).map(|()| BodyEnd::Interrupted)
    }

    /// If the parent has been cancelled, the group is.
    fn hear(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let this = self.project();
        if *this.doomed {
            return;
        }
        drop(this.scope.enter());
        if let Poll::Ready(why) = this.scope.poll_due(cx) {
            *this.doomed = true;
            this.group.core.cancel(why);
        }
    }

    fn finish(self: Pin<&mut Self>) -> Poll<Result<B, GroupError<E>>> {
        let this = self.project();
        this.scope.close();
        let children = this.sum.take_failures();
        let cancelled = this.group.core.cancelled();
        let body = match this.end.take().expect("the body has ended") {
            BodyEnd::Returned(value) if children.is_empty() => return Poll::Ready(Ok(value)),
            BodyEnd::Panicked(payload) => resume_unwind(payload),
            BodyEnd::Failed(error) => Some(error),
            BodyEnd::Returned(_) | BodyEnd::Interrupted => None,
        };
        Poll::Ready(Err(GroupError { children, body, cancelled }))
    }
}

impl<T, E> TaskGroup<T, E> {
    /// A body that failed takes the children along.
    fn end_of_body<B>(&self, end: &BodyEnd<B, E>, site: &'static Location<'static>) {
        let text = match end {
            BodyEnd::Returned(_) | BodyEnd::Interrupted => return,
            BodyEnd::Failed(_) => "the body of its group returned an error",
            BodyEnd::Panicked(_) => "the body of its group panicked",
        };
        let parent = Ring::current().and_then(Ring::running);
        let reason = match parent {
            Some(parent) => CancelReason::failure(parent, text),
            None => CancelReason::new(text),
        };
        self.core.cancel(Cancelled::new(reason, site));
    }
}

impl<F, B, T, E> fmt::Debug for GroupRun<F, B, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("GroupRun");
        shown.field("group", &self.group).field("doomed", &self.doomed);
        shown.finish_non_exhaustive()
    }
}
