//! All who hear of a run, for who acts between two of its steps.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use trapline_scheduler::Scheduler;

use super::Outlet;
use crate::record::About;

pub(super) type Outlets = Rc<RefCell<Vec<Box<dyn Outlet>>>>;

/// All who hear of a run.
pub struct Heard {
    pub(super) outlets: Outlets,
    /// Whether something was said or done since it was last looked at.
    pub(super) has_acted: Cell<bool>,
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heard").finish_non_exhaustive()
    }
}

impl Heard {
    /// Tells them a sentence.
    pub fn say(&self, about: About, topic: &'static str, text: &str) {
        self.tell(|outlet| outlet.say(about, topic, text));
    }

    /// Does something to the scheduler that is told as done by an order.
    pub fn as_order<T>(&self, act: impl FnOnce() -> T) -> T {
        self.tell(|outlet| outlet.set_ordered(true));
        // They hear of what it does meanwhile: they are not borrowed.
        let done = act();
        self.tell(|outlet| outlet.set_ordered(false));
        done
    }

    /// Has what they have heard be there for others to see.
    pub fn publish(&self) {
        self.tell(|outlet| outlet.publish());
        self.has_acted.set(false);
    }

    /// Has all that has happened be there for others to see, whatever it costs.
    pub fn catch_up(&self, scheduler: &mut Scheduler) {
        self.tell(|outlet| outlet.catch_up(scheduler));
    }

    #[cold]
    fn tell(&self, tell: impl FnMut(&mut Box<dyn Outlet>)) {
        self.has_acted.set(true);
        self.outlets.borrow_mut().iter_mut().for_each(tell);
    }
}
