//! Being born: how a task comes into the table.

use std::panic::Location;
use std::pin::Pin;

use trapline_abi::{ListHead, MAX_TASKS, NewTask, TaskBody, TaskId};

use crate::kernel::Kernel;
use crate::probe::Event;
use crate::task::{State, Task};
use crate::waker::TaskWaker;

impl Kernel {
    /// Puts a task into the table and the ready queue.
    pub(crate) fn spawn(
        &mut self,
        body: Option<Pin<Box<dyn TaskBody>>>,
        (daemon, has_handle): (bool, bool),
        parent: Option<TaskId>,
        site: &'static Location<'static>,
    ) -> Result<TaskId, Option<Pin<Box<dyn TaskBody>>>> {
        if self.tasks.len() >= MAX_TASKS {
            return Err(body);
        }
        let Kernel { sequence, tasks, .. } = self;
        let in_use = || tasks.iter().map(|(_, task)| task.id.sequence()).collect();
        let sequence = sequence.next(in_use);
        let entry = self.tasks.vacant_entry();
        let place = entry.key();
        let id = TaskId::new(sequence, place);
        let waker = match self.spare_wakers.pop() {
            Some(waker) => {
                waker.retarget(id);
                waker
            }
            None => TaskWaker::new(id, &self.inbox),
        };
        entry.insert(Task {
            id,
            body,
            waker,
            state: State::Ready,
            daemon,
            has_handle,
            woken: false,
            dispatches: 0,
            parent,
            site,
            waiters: ListHead::new(),
        });
        self.ready.push_back(id);
        self.population += 1;
        self.live += usize::from(!daemon);
        if self.probe.is_some() {
            self.tell_born(id);
        }
        Ok(id)
    }

    pub(crate) fn spawn_posted(&mut self, task: NewTask) {
        let NewTask { body, daemon, parent, site } = task;
        if let Err(body) = self.spawn(Some(body), (daemon, false), parent, site) {
            self.guard(None, move || drop(body));
            self.warn("there is no place for one more task; a posted one was dropped", site);
        }
    }

    #[cold]
    fn tell_born(&mut self, id: TaskId) {
        let task = &self.tasks[id.place()];
        let (parent, site) = (task.parent, task.site);
        let name = task.body.as_ref().and_then(|body| body.name()).map(str::to_owned);
        self.tell(&Event::Born { task: id, parent, name: name.as_deref(), site });
    }
}
