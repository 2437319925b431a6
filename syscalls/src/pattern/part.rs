//! What of a pipeline is started and killed together.

use std::cell::RefCell;
use std::panic::Location;
use std::rc::Rc;

use crate::pattern::crew::{Body, Crew, Start};
use crate::pattern::stage::{Epitaph, Outlet, StageEnd, StageName, conduct};

/// Tasks of a pipeline that go together: they are started with the first end that is polled, and killed
/// with the last that is dropped.
pub(crate) struct Part {
    crew: Crew,
    unstarted: RefCell<Vec<Unstarted>>,
}

struct Unstarted {
    name: StageName,
    site: &'static Location<'static>,
    body: Body,
}

impl Part {
    pub(crate) fn new(site: &'static Location<'static>) -> Rc<Part> {
        let crew = Crew::new("the stages of a pipeline to end", site);
        Rc::new(Part { crew, unstarted: RefCell::default() })
    }

    /// A task that does `body`, and tells `outlets` how that ended.
    pub(crate) fn add<T: 'static>(
        &self,
        name: Rc<str>,
        site: &'static Location<'static>,
        outlets: Vec<Outlet<T>>,
        body: impl Future<Output = Result<(), StageEnd>> + 'static,
    ) {
        let name = Rc::new(RefCell::new(name));
        let body = Box::pin(conduct(Epitaph::new(Rc::clone(&name), outlets), body));
        self.unstarted.borrow_mut().push(Unstarted { name, site, body });
    }

    /// How many of its tasks live.
    pub(crate) fn tasks(&self) -> usize {
        self.crew.len()
    }

    pub(crate) fn rename(&self, name: &str) {
        for task in &*self.unstarted.borrow() {
            task.name.replace(name.into());
        }
    }

    pub(crate) fn start(&self) {
        let unstarted = self.unstarted.take();
        for Unstarted { name, site, body } in unstarted {
            let name = name.borrow().to_string().into();
            self.crew.start(Start { name, site, body }, false);
        }
    }
}
