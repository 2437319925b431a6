//! A child's future, which tells its group when it has ended.

use std::any::Any;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project::pin_project;
use trapline_abi::{Post, Ring, TaskBody};

use super::children::Key;
use super::core::Core;

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
    panic: Option<Rc<str>>,
    started: bool,
    /// Whether it has left its result.
    left: bool,
    told: bool,
}

impl<T, E> Drop for Membership<T, E> {
    #[inline]
    fn drop(&mut self) {
        if !self.told {
            self.core.ended(self.key, self.panic.take());
        }
    }
}

impl<F, T, E> Member<F, T, E> {
    #[inline]
    pub(super) fn new(future: F, core: Rc<Core<T, E>>, key: Key) -> Member<F, T, E> {
        let membership =
            Membership { core, key, panic: None, started: false, left: false, told: false };
        Member { future: Some(future), membership }
    }
}

impl<F, T, E> TaskBody for Member<F, T, E>
where
    F: Future<Output = Result<T, E>>,
{
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let membership = this.membership;
        if !membership.started {
            membership.started = true;
            if membership.core.is_closed() {
                return never_start();
            }
        }
        let Some(future) = this.future.as_mut().as_pin_mut() else { return Poll::Ready(()) };
        let Poll::Ready(result) = future.poll(cx) else { return Poll::Pending };
        membership.left = true;
        membership.core.leave(membership.key, result);
        this.future.set(None);
        membership.told = true;
        membership.core.ended(membership.key, None);
        Poll::Ready(())
    }

    fn panicked(self: Pin<&mut Self>, payload: Box<dyn Any + Send>) -> Option<Box<dyn Any + Send>> {
        self.project().membership.panic = Some(text_of(&*payload));
        Some(payload)
    }

    fn leaves_outcome(&self) -> bool {
        !self.membership.left
    }

    /// Its output is the group's.
    fn take_output(self: Pin<&mut Self>, _: &mut dyn Any) {}
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
