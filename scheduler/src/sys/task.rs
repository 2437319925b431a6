//! Tasks: who am I, start one, wait for one, end one.

use std::panic::Location;

use trapline_abi::{Beside, CallId, Ended, On, Reply, TaskId};

use crate::kernel::{Fate, Found, Kernel};

#[inline]
pub(crate) fn get_tid(caller: TaskId) -> Fate {
    Fate::Answer(Reply::Task(caller))
}

#[inline]
pub(crate) fn yield_now() -> Fate {
    Fate::Yield(Reply::Done)
}

/// The child is queued before its parent.
#[inline(never)]
pub(crate) fn spawn(
    kernel: &mut Kernel,
    caller: TaskId,
    call: CallId,
    daemon: bool,
    site: &'static Location<'static>,
) -> Fate {
    let Some(body) = kernel.ring.take_body(call) else { return Fate::Gone };
    match kernel.spawn(Some(body), (daemon, true), Some(caller), site) {
        Ok(child) => Fate::Answer(Reply::Task(child)),
        Err(body) => {
            kernel.guard(Some(caller), move || drop(body));
            Fate::Answer(Reply::TooManyTasks)
        }
    }
}

#[inline(never)]
pub(crate) fn wait(kernel: &mut Kernel, call: CallId, target: TaskId) -> Fate {
    let exit = match kernel.find(target) {
        Found::Live => return block_on_exit(kernel, target),
        Found::Never => return Fate::Answer(Reply::NoSuchTask),
        Found::Forgotten => return Fate::Answer(Reply::Exited(Ended::Forgotten)),
        Found::Ended(exit) => {
            exit.observed = true;
            *exit
        }
    };
    if let Some(status) = kernel.bad_ends.get(&target) {
        // A call whose future is gone needs no status.
        let _ = kernel.ring.put_beside(call, Beside::Status(status.clone()));
    }
    Fate::Answer(Reply::Exited(exit.how.into()))
}

#[inline(never)]
pub(crate) fn join(kernel: &mut Kernel, target: TaskId) -> Fate {
    match kernel.find(target) {
        Found::Live => block_on_exit(kernel, target),
        Found::Ended(exit) => {
            let exit = *exit;
            Fate::Answer(Reply::Outcome(kernel.tell_handle(target, exit)))
        }
        Found::Forgotten => Fate::Answer(Reply::Exited(Ended::Forgotten)),
        Found::Never => Fate::Answer(Reply::NoSuchTask),
    }
}

/// Blocks the call at hand.
fn block_on_exit(kernel: &mut Kernel, target: TaskId) -> Fate {
    let on = On::Exit(target);
    kernel.ring.block_at_hand(&kernel.tasks.record(target).waiters, on);
    Fate::Block(on)
}

#[inline(never)]
pub(crate) fn kill(kernel: &mut Kernel, caller: TaskId, call: CallId, target: TaskId) -> Fate {
    match kernel.find(target) {
        Found::Never => return Fate::Answer(Reply::NoSuchTask),
        Found::Ended(_) | Found::Forgotten => return Fate::Answer(Reply::AlreadyEnded),
        Found::Live => kernel.kill(target),
    }
    // Whoever kills itself does not come back, unless its call has been moved elsewhere.
    let gone = target == caller && kernel.ring.state(call).is_none();
    if gone { Fate::Gone } else { Fate::Answer(Reply::Done) }
}

#[inline(never)]
pub(crate) fn cancel(kernel: &mut Kernel, call: CallId, target: TaskId) -> Fate {
    let Beside::Why(why) = kernel.ring.take_beside(call) else { return Fate::Gone };
    Fate::Answer(kernel.cancel(target, why))
}
