//! A child's future, which tells its group when it has ended.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project::pin_project;
use trapline_abi::{Post, Ring};

use super::core::{Core, Key};

/// A child as its task has it. The future is dropped before the group is told: that a child has
/// ended means that its destructors have run.
#[pin_project]
pub(super) struct Member<F, T, E> {
    #[pin]
    future: Option<F>,
    membership: Membership<T, E>,
}

/// A child's place in its group, given up when it is dropped.
struct Membership<T, E> {
    core: Rc<Core<T, E>>,
    key: Key,
    result: Option<Result<T, E>>,
    panic: Option<Rc<str>>,
    started: bool,
    told: bool,
}

impl<T, E> Drop for Membership<T, E> {
    #[inline]
    fn drop(&mut self) {
        if !self.told {
            self.core.ended(self.key, self.result.take(), self.panic.take());
        }
    }
}

impl<F, T, E> Member<F, T, E> {
    #[inline]
    pub(super) fn new(future: F, core: Rc<Core<T, E>>, key: Key) -> Member<F, T, E> {
        let membership =
            Membership { core, key, result: None, panic: None, started: false, told: false };
        Member { future: Some(future), membership }
    }
}

impl<F, T, E> Future for Member<F, T, E>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if !this.membership.started {
            this.membership.started = true;
            if this.membership.core.is_closed() {
                return never_start();
            }
        }
        let Some(future) = this.future.as_mut().as_pin_mut() else { return Poll::Ready(()) };
        let polled = catch_unwind(AssertUnwindSafe(|| future.poll(cx)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(result)) => {
                this.membership.result = Some(result);
                this.future.set(None);
                let Membership { core, key, result, told, .. } = this.membership;
                *told = true;
                core.ended(*key, result.take(), None);
                Poll::Ready(())
            }
            Err(payload) => {
                this.membership.panic = Some(text_of(&*payload));
                resume_unwind(payload)
            }
        }
    }
}

/// The group ended while the child was being born: it ends as the others did.
#[cold]
fn never_start() -> Poll<()> {
    let ring = Ring::of_running_task();
    if let Some(task) = ring.running() {
        ring.post(Post::Kill(task));
    }
    Poll::Pending
}

fn text_of(payload: &(dyn Any + Send)) -> Rc<str> {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => Rc::from(*text),
        (_, Some(text)) => Rc::from(text.as_str()),
        _ => Rc::from("a payload that is no text"),
    }
}
