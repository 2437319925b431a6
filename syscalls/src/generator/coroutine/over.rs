//! A coroutine over an iterator.

use crate::generator::Coroutine;
use crate::generator::coroutine::Halt;

/// The replies of a coroutine to all values of a source. See [`Coroutine::over`].
///
/// ```
/// # use trapline_syscalls as trapline;
/// use trapline::generator::{Coroutine, Mailbox};
///
/// let squares = Coroutine::new(async |mailbox: Mailbox<u32, u32>| {
///     while let Some(number) = mailbox.receive().await {
///         mailbox.reply(number * number).await;
///     }
/// });
/// // An iterator, like any other.
/// assert_eq!(squares.over(1..).take(3).sum::<u32>(), 14);
/// ```
#[derive(Debug)]
#[must_use = "an iterator does nothing until it is asked for values"]
pub struct Over<'a, I, In, Out> {
    pub(super) coroutine: Coroutine<'a, In, Out>,
    pub(super) source: I,
}

impl<I, In, Out> Iterator for Over<'_, I, In, Out>
where
    I: Iterator<Item = In>,
{
    type Item = Out;

    fn next(&mut self) -> Option<Out> {
        loop {
            match self.coroutine.resume_now() {
                Halt::Replied(reply) => return Some(reply),
                Halt::Ended => return None,
                Halt::Wants | Halt::Busy => match self.source.next() {
                    Some(value) => self.coroutine.put(value),
                    None => self.coroutine.announce_end(),
                },
            }
        }
    }
}
