//! The posts that have not been served, in order.
//!
//! Each is two words, and what is bulky lies beside. A post is served within a few hundred
//! instructions of being made: read back whole where it was written field by field, it was waited for.
//!
//! The first of those that wait stands in two cells of its own, before the queue of the others. Most
//! often it is the only one, and says whom to resume for a grant.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::panic::Location;

use crate::call::Post;
use crate::cancel::Cancelled;
use crate::id::{CallId, SourceId, TaskId};
use crate::task::NewTask;

/// Room for so many posts is kept; more is given back when they have been served.
const MANY_POSTS: usize = 1024;

const NONE: u64 = 0;
const WAKE: u64 = 1;
const GRANTED: u64 = 2;
const WITHDRAW: u64 = 3;
const CLOSE_SOURCE: u64 = 4;
const KILL: u64 = 5;
const DETACH: u64 = 6;
const DISCARD: u64 = 7;
const BULKY: u64 = 8;
/// As `GRANTED`, with the task to resume in place of the serial.
const RESUME: u64 = 9;
/// One that has been forgotten.
const VOID: u64 = 10;

/// Above the kind lies the place of a call or of a source, or the key of an outcome.
const PLACE_SHIFT: u32 = 32;

#[derive(Default)]
pub(crate) struct Posts {
    /// Whether there are any.
    any: Cell<bool>,
    /// The first one, where it is not among the others.
    first: Cell<u64>,
    second: Cell<u64>,
    /// Whether there are others.
    more: Cell<bool>,
    /// How many of the others resume a task for a grant: one that is forgotten is looked for only then.
    resumes: Cell<usize>,
    others: RefCell<Others>,
}

/// The posts behind the first.
#[derive(Default)]
struct Others {
    words: VecDeque<(u64, u64)>,
    /// What did not fit, in the order of its posts: also of the first.
    bulky: VecDeque<Bulky>,
}

enum Bulky {
    Spawn(NewTask),
    Cancel(TaskId, Cancelled),
    Warn(&'static str, &'static Location<'static>),
}

impl Posts {
    #[inline]
    pub(crate) fn push(&self, post: Post) {
        let (first, second) = match post {
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
        self.push_words(first, second);
    }

    /// The call in the slot at `place` was granted what it wanted: `task` is to be resumed, unless that
    /// is [forgotten](Posts::forget_resume) before.
    #[inline(always)]
    pub(crate) fn push_resume(&self, place: u32, task: TaskId) {
        if self.any.get() {
            self.resumes.set(self.resumes.get() + 1);
        }
        self.push_words(RESUME | u64::from(place) << PLACE_SHIFT, task.to_bits().get());
    }

    /// The granted call in the slot at `place` is gone, or its reply taken.
    #[cold]
    #[inline(never)]
    pub(crate) fn forget_resume(&self, place: u32) {
        let word = RESUME | u64::from(place) << PLACE_SHIFT;
        if self.first.get() == word {
            self.first.set(VOID);
        }
        if self.resumes.get() == 0 {
            return;
        }
        for (first, _) in &mut self.others.borrow_mut().words {
            if *first == word {
                *first = VOID;
                self.resumes.set(self.resumes.get() - 1);
            }
        }
    }

    /// Whether the kernel has yet to hear that this call was granted what it wanted.
    pub(crate) fn has_granted(&self, call: CallId) -> bool {
        let words = (GRANTED | place_of(call), call.serial.get());
        (self.first.get(), self.second.get()) == words
            || self.others.borrow().words.contains(&words)
    }

    #[inline(always)]
    fn push_words(&self, first: u64, second: u64) {
        if self.any.replace(true) {
            self.push_behind(first, second);
        } else {
            self.first.set(first);
            self.second.set(second);
        }
    }

    #[inline(never)]
    fn push_behind(&self, first: u64, second: u64) {
        self.more.set(true);
        self.others.borrow_mut().words.push_back((first, second));
    }

    #[inline(never)]
    fn lay_beside(&self, bulky: Bulky) -> (u64, u64) {
        self.others.borrow_mut().bulky.push_back(bulky);
        (BULKY, 0)
    }

    /// Whether there are any.
    #[inline(always)]
    pub(crate) fn any(&self) -> bool {
        self.any.get()
    }

    /// Takes the next one, if it stands before the others and resumes a task for a grant.
    #[inline(always)]
    pub(crate) fn pop_first_resume(&self) -> Option<TaskId> {
        if self.first.get() as u32 != RESUME as u32 {
            return None;
        }
        self.first.set(NONE);
        self.any.set(self.more.get());
        NonZeroU64::new(self.second.get()).map(TaskId::from_bits)
    }

    /// Takes the next one.
    pub(crate) fn pop(&self) -> Option<Post> {
        let mut others = self.others.borrow_mut();
        let mut words = (self.first.replace(NONE), self.second.get());
        while let (NONE | VOID, _) = words {
            let Some(next) = others.words.pop_front() else {
                self.any.set(false);
                self.more.set(false);
                return None;
            };
            words = next;
            if words.0 as u32 == RESUME as u32 {
                self.resumes.set(self.resumes.get() - 1);
            }
        }
        let more = !others.words.is_empty();
        self.any.set(more);
        self.more.set(more);
        let post = others.post_of(words);
        if !more {
            others.shrink();
        }
        Some(post)
    }

    /// Takes all of them.
    pub(crate) fn take(&self) -> Vec<Post> {
        std::iter::from_fn(|| self.pop()).collect()
    }
}

impl Others {
    fn post_of(&mut self, (first, second): (u64, u64)) -> Post {
        let place = (first >> PLACE_SHIFT) as u32;
        match (u64::from(first as u32), NonZeroU64::new(second)) {
            (WAKE | RESUME, Some(word)) => Post::Wake(TaskId::from_bits(word)),
            (GRANTED, Some(serial)) => Post::Granted(CallId { serial, place }),
            (WITHDRAW, Some(serial)) => Post::Withdraw(CallId { serial, place }),
            (CLOSE_SOURCE, _) => Post::CloseSource(SourceId { place, generation: second as u32 }),
            (KILL, Some(word)) => Post::Kill(TaskId::from_bits(word)),
            (DETACH, Some(word)) => Post::Detach(TaskId::from_bits(word)),
            (DISCARD, Some(word)) => Post::Discard(TaskId::from_bits(word), place),
            (BULKY, None) => self.take_bulky(),
            (kind, _) => unreachable!("no post is of kind {kind}"),
        }
    }

    #[inline(never)]
    fn take_bulky(&mut self) -> Post {
        match self.bulky.pop_front() {
            Some(Bulky::Spawn(task)) => Post::Spawn(task),
            Some(Bulky::Cancel(task, why)) => Post::Cancel(task, why),
            Some(Bulky::Warn(text, site)) => Post::Warn(text, site),
            None => unreachable!("what does not fit lies beside"),
        }
    }

    /// A crowd has passed: gives its memory back.
    #[inline]
    fn shrink(&mut self) {
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
