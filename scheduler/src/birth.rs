//! Being born: how a task comes into the table.

use std::panic::Location;
use std::pin::Pin;

use trapline_abi::{NewTask, TaskBody, TaskId};

use crate::kernel::Kernel;
use crate::probe::Event;
use crate::task::Record;
use crate::task_table::Birth;

impl Kernel {
    /// Puts a task into the table and the ready queue.
    pub(crate) fn spawn(
        &mut self,
        body: Option<Pin<Box<dyn TaskBody>>>,
        (daemon, has_handle): (bool, bool),
        parent: Option<TaskId>,
        site: &'static Location<'static>,
    ) -> Result<TaskId, Option<Pin<Box<dyn TaskBody>>>> {
        if self.tasks.is_full() {
            return Err(body);
        }
        let Kernel { sequence, tasks, .. } = self;
        let in_use = || tasks.iter().map(|task| task.id.sequence()).collect();
        let sequence = sequence.next(in_use);
        let birth = Birth { daemon, has_handle, parent, site };
        let id = self.tasks.insert(sequence, body, &birth, &self.inbox);
        self.ready.push_back(id);
        self.population += 1;
        self.live += usize::from(!daemon);
        if self.probe.is_some() {
            self.tell_born(id);
        }
        Ok(id)
    }

    pub(crate) fn spawn_posted(&mut self, task: NewTask) {
        let NewTask { body, daemon, parent, site, herald } = task;
        match (self.spawn(Some(body), (daemon, herald.is_some()), parent, site), herald) {
            (Ok(id), Some(herald)) => self.guard(None, move || herald.born(id)),
            (Ok(_), None) => {}
            (Err(body), herald) => {
                self.guard(None, move || drop((body, herald)));
                self.warn("there is no place for one more task; a posted one was dropped", site);
            }
        }
    }

    #[cold]
    fn tell_born(&mut self, id: TaskId) {
        let &Record { parent, site, .. } = self.tasks.record(id);
        let task = self.tasks.live(id);
        let name = task.body.as_ref().and_then(|body| body.name()).map(str::to_owned);
        let daemon = task.daemon;
        self.tell(&Event::Born { task: id, parent, name: name.as_deref(), daemon, site });
    }
}
