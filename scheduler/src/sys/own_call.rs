//! Calls that the program defines: the handler is the program's, the face it acts on is ours.

use std::any::{Any, TypeId};
use std::panic::{AssertUnwindSafe, catch_unwind};

use trapline_abi::{
    Beside, CallId, CallState, Instant, KernelFace, On, Reply, TaskId, TaskInfo, Verdict,
};

use crate::kernel::{End, Fate, Found, Kernel};

/// Runs the handler. One that panics ends the task that called it.
#[inline(never)]
pub(crate) fn serve(kernel: &mut Kernel, caller: TaskId, call: CallId) -> Fate {
    let Beside::Own(mut own) = kernel.ring.take_beside(call) else { return Fate::Gone };
    let mut face = Face { kernel: &mut *kernel, caller, kills: Vec::new() };
    let verdict = catch_unwind(AssertUnwindSafe(|| own.serve(&mut face, call)));
    let kills = face.kills;
    let kept = kernel.ring.put_beside(call, Beside::Own(own));
    if let Err(unkept) = kept {
        kernel.guard(Some(caller), move || drop(unkept));
    }
    let fate = match verdict {
        Ok(Verdict::Answer) => Fate::Answer(Reply::Beside),
        Ok(Verdict::Yield) => Fate::Yield(Reply::Beside),
        Ok(Verdict::Block) => Fate::Block(On::Own),
        Err(payload) => {
            // The root's panic is its `block_on`'s, which cannot end it from here.
            let end = End::Panicked(payload);
            if kernel.root == Some(caller) {
                kernel.doom_root(end);
            } else {
                kernel.end(caller, end);
            }
            // Where the call has been moved elsewhere, whoever has it is told by its lack of a reply.
            Fate::Answer(Reply::Beside)
        }
    };
    for task in kills {
        kernel.kill(task);
    }
    if kernel.ring.state(call).is_none() { Fate::Gone } else { fate }
}

struct Face<'a> {
    kernel: &'a mut Kernel,
    caller: TaskId,
    kills: Vec<TaskId>,
}

impl KernelFace for Face<'_> {
    fn caller(&self) -> TaskId {
        self.caller
    }

    fn task_count(&self) -> usize {
        self.kernel.population
    }

    fn tasks(&self) -> Vec<TaskInfo> {
        self.kernel.task_infos()
    }

    fn is_alive(&mut self, task: TaskId) -> bool {
        matches!(self.kernel.find(task), Found::Live)
    }

    fn now(&mut self) -> Instant {
        self.kernel.driver.now()
    }

    fn kill(&mut self, task: TaskId) {
        self.kills.push(task);
    }

    fn answer(&mut self, call: CallId, reply: Box<dyn Any>) -> Result<(), Box<dyn Any>> {
        let ring = &self.kernel.ring;
        if ring.state(call) != Some(CallState::Blocked(On::Own)) {
            return Err(reply);
        }
        let Beside::Own(mut own) = ring.take_beside(call) else { return Err(reply) };
        let accepted = own.accept(reply);
        let kept = ring.put_beside(call, Beside::Own(own));
        if let Err(unkept) = kept {
            self.kernel.guard(None, move || drop(unkept));
        }
        accepted?;
        self.kernel.answer(call, Reply::Beside);
        Ok(())
    }

    fn state_any(&mut self, kind: TypeId, make: &mut dyn FnMut() -> Box<dyn Any>) -> &mut dyn Any {
        let kept = &mut self.kernel.own_state;
        let at = kept.iter().position(|(known, _)| *known == kind).unwrap_or_else(|| {
            kept.push((kind, make()));
            kept.len() - 1
        });
        &mut *kept[at].1
    }
}
