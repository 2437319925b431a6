//! The posts that have not been served, in order.
//!
//! Each is two words, and what is bulky lies beside. A post is served within a few hundred
//! instructions of being made: read back whole where it was written field by field, it was waited for.

use std::collections::VecDeque;
use std::panic::Location;

use crate::call::Post;
use crate::cancel::Cancelled;
use crate::id::{CallId, SourceId, TaskId};
use crate::task::NewTask;

/// Room for so many posts is kept; more is given back when they have been served.
const MANY_POSTS: usize = 1024;

const WAKE: u64 = 0;
const GRANTED: u64 = 1;
const WITHDRAW: u64 = 2;
const CLOSE_SOURCE: u64 = 3;
const KILL: u64 = 4;
const DETACH: u64 = 5;
const DISCARD: u64 = 6;
const BULKY: u64 = 7;

/// Above the kind lies the place of a call or of a source, or the key of an outcome.
const PLACE_SHIFT: u32 = 32;

#[derive(Default)]
pub(crate) struct Posts {
    words: VecDeque<(u64, u64)>,
    /// What did not fit, in the order of its posts.
    bulky: VecDeque<Bulky>,
}

enum Bulky {
    Spawn(NewTask),
    Cancel(TaskId, Cancelled),
    Warn(&'static str, &'static Location<'static>),
}

impl Posts {
    #[inline]
    pub(crate) fn push(&mut self, post: Post) {
        let words = match post {
            Post::Wake(task) => (WAKE, task.to_bits().get()),
            Post::Granted(call) => (GRANTED | place_of(call), call.serial.get()),
            Post::Withdraw(call) => (WITHDRAW | place_of(call), call.serial.get()),
            Post::CloseSource(SourceId { place, generation }) => {
                (CLOSE_SOURCE | u64::from(place) << PLACE_SHIFT, u64::from(generation))
            }
            Post::Kill(task) => (KILL, task.to_bits().get()),
            Post::Detach(task) => (DETACH, task.to_bits().get()),
            Post::Discard(task, key) => {
                (DISCARD | u64::from(key) << PLACE_SHIFT, task.to_bits().get())
            }
            Post::Spawn(task) => self.lay_beside(Bulky::Spawn(task)),
            Post::Cancel(task, why) => self.lay_beside(Bulky::Cancel(task, why)),
            Post::Warn(text, site) => self.lay_beside(Bulky::Warn(text, site)),
        };
        self.words.push_back(words);
    }

    #[inline(never)]
    fn lay_beside(&mut self, bulky: Bulky) -> (u64, u64) {
        self.bulky.push_back(bulky);
        (BULKY, 0)
    }

    /// Takes the next one.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Post> {
        let (first, second) = self.words.pop_front()?;
        let place = (first >> PLACE_SHIFT) as u32;
        match (u64::from(first as u32), std::num::NonZeroU64::new(second)) {
            (WAKE, Some(word)) => Some(Post::Wake(TaskId::from_bits(word))),
            (GRANTED, Some(serial)) => Some(Post::Granted(CallId { serial, place })),
            (WITHDRAW, Some(serial)) => Some(Post::Withdraw(CallId { serial, place })),
            (CLOSE_SOURCE, _) => {
                Some(Post::CloseSource(SourceId { place, generation: second as u32 }))
            }
            (KILL, Some(word)) => Some(Post::Kill(TaskId::from_bits(word))),
            (DETACH, Some(word)) => Some(Post::Detach(TaskId::from_bits(word))),
            (DISCARD, Some(word)) => Some(Post::Discard(TaskId::from_bits(word), place)),
            (BULKY, None) => self.take_bulky(),
            (kind, _) => unreachable!("no post is of kind {kind}"),
        }
    }

    #[inline(never)]
    fn take_bulky(&mut self) -> Option<Post> {
        Some(match self.bulky.pop_front()? {
            Bulky::Spawn(task) => Post::Spawn(task),
            Bulky::Cancel(task, why) => Post::Cancel(task, why),
            Bulky::Warn(text, site) => Post::Warn(text, site),
        })
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// A crowd has passed: gives its memory back.
    #[inline]
    pub(crate) fn shrink(&mut self) {
        if self.words.capacity() > MANY_POSTS || self.bulky.capacity() > MANY_POSTS {
            self.words.shrink_to(MANY_POSTS);
            self.bulky.shrink_to(MANY_POSTS);
        }
    }
}

#[inline]
fn place_of(call: CallId) -> u64 {
    u64::from(call.place) << PLACE_SHIFT
}

impl Iterator for Posts {
    type Item = Post;

    fn next(&mut self) -> Option<Post> {
        self.pop()
    }
}
