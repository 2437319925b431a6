//! The syscall table: one line a call, one line a post, and no arm for others.
//!
//! The handlers stay out of line, but for the two shortest: each has one caller, and inlined they
//! would make the loop's frame as large as the largest of them needs.

use trapline_abi::{Direction, Post, Submitted, Syscall, TaskId};

use crate::kernel::{Fate, Kernel};
use crate::sys::{io, own_call, task, time, wait_queue};

/// Serves a call that `caller` made.
#[inline(always)]
pub(crate) fn serve(kernel: &mut Kernel, caller: TaskId, trap: Submitted) -> Fate {
    let Submitted { id: call, request, site } = trap;
    match request {
        Syscall::GetTid => task::get_tid(caller),
        Syscall::Yield => task::yield_now(),
        Syscall::Spawn => task::spawn(kernel, caller, call, false, site),
        Syscall::SpawnDaemon => task::spawn(kernel, caller, call, true, site),
        Syscall::Wait(target) => task::wait(kernel, call, target),
        Syscall::Join(target) => task::join(kernel, target),
        Syscall::Kill(target) => task::kill(kernel, caller, call, target),
        Syscall::Cancel(target) => task::cancel(kernel, call, target),
        Syscall::Now => time::now(kernel),
        Syscall::Sleep { nanos } => time::sleep(kernel, call, nanos),
        Syscall::SleepUntil(deadline) => time::sleep_until(kernel, call, deadline),
        Syscall::ReadWait(target) => io::wait(kernel, target, Direction::Read),
        Syscall::WriteWait(target) => io::wait(kernel, target, Direction::Write),
        Syscall::Park(want) => wait_queue::park(kernel, call, want),
        Syscall::Own => own_call::serve(kernel, caller, call),
    }
}

/// Serves a post.
pub(crate) fn serve_post(kernel: &mut Kernel, post: Post) {
    match post {
        Post::Wake(task) => kernel.make_ready(task),
        Post::Granted(call) => wait_queue::granted(kernel, call),
        Post::Withdraw(call) => kernel.withdraw(call),
        Post::CloseSource(source) => io::close(kernel, source),
        Post::Spawn(task) => kernel.spawn_posted(task),
        Post::Kill(task) => kernel.kill(task),
        Post::Cancel(task, why) => drop(kernel.cancel(task, why)),
        Post::Detach(task) => kernel.detach(task),
        Post::Discard(task, outcome) => kernel.discard(task, outcome),
        Post::Warn(text, site) => kernel.warn(text, site),
    }
}
