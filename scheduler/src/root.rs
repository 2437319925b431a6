//! The root of `block_on`: a task whose future lies on the stack of its caller.

use std::panic::Location;

use crate::kernel::Kernel;
use crate::report::RunError;
use crate::scheduler::{Ask, Root};

impl Kernel {
    pub(crate) fn spawn_root(&mut self, site: &'static Location<'static>) -> Result<(), RunError> {
        (self.root_end, self.root_doom) = (None, None);
        let root = self.spawn(None, (false, false), None, site);
        self.root = Some(root.map_err(|_| RunError::TooManyTasks)?);
        Ok(())
    }

    /// The root has ended: drops what is left of its future.
    pub(crate) fn drop_root(&mut self, root: &mut Root<'_>) {
        let id = self.root.take();
        let _entered = self.ring.enter();
        self.guard(id, || {
            let _ = root(Ask::Drop);
        });
        self.serve_posts();
        self.root_doom = None;
    }

    /// Gives the root up, where it can no longer end by itself.
    pub(crate) fn abandon_root(&mut self, root: &mut Root<'_>) {
        let _entered = self.ring.enter();
        self.bury_root(Some(root));
        self.root = None;
        (self.root_end, self.root_doom) = (None, None);
    }
}
