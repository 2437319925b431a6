//! A scheduler for one run, as in `trapline_scheduler`, that obeys the environment.

use std::process::{ExitCode, Termination};

use trapline_abi::Ring;
use trapline_scheduler::__private::{Program, Trial};
use trapline_scheduler::{Builder, RunError, RunReport, Scheduler};

use crate::agent::Agent;
use crate::words::{self, Word};

/// Runs `future` on a scheduler made for it, until it has ended. Gives what it gave.
///
/// The tasks that it leaves behind end with it, as killed. A program that wants them to go on calls
/// [`run`], or joins them; one that wants a choice of driver, quantum or seed makes a [`Scheduler`].
///
/// ```
/// let answer = trapline_trace::free::block_on(async { 6 * 7 })?;
/// assert_eq!(answer, 42);
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
///
/// The environment variable `TRAPLINE` says who listens: `strace`, `record:FILE`, `monitor`; and with `virtual` the
/// clock is one that jumps.
///
/// # Errors
/// As [`Scheduler::block_on`]: chiefly [`RunError::Deadlock`], and [`RunError::InsideTask`] if it is
/// called by a task.
///
/// # Panics
/// With the panic of `future`.
///
/// # Kin
/// tokio's `Runtime::block_on`, curio's `run`.
#[track_caller]
pub fn block_on<F: Future>(future: F) -> Result<F::Output, RunError> {
    let agent = agent_of_environment(|_| true);
    agent.block_on(&mut on_its_clock(Scheduler::builder()).build(), future)
}

/// Runs `future` as a task of a scheduler made for it, until no task is left but daemons. Tells of
/// the panics that nobody looked at, its own among them.
///
/// ```
/// let report = trapline_trace::free::run(async { println!("a task") })?;
/// assert_eq!(report.failures, 0);
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
///
/// The environment variable `TRAPLINE` says who listens: `strace`, `record:FILE`, `monitor`; and with `virtual` the
/// clock is one that jumps.
///
/// # Errors
/// As [`Scheduler::run`]: chiefly [`RunError::Deadlock`], and [`RunError::InsideTask`] if it is
/// called by a task.
///
/// # Kin
/// pyos2's `Scheduler.mainloop`.
#[track_caller]
pub fn run<F>(future: F) -> Result<RunReport, RunError>
where
    F: Future<Output: 'static> + 'static,
{
    let agent = agent_of_environment(|_| true);
    let mut scheduler = on_its_clock(Scheduler::builder()).build();
    let attached = (!agent.is_idle()).then(|| agent.attach(&mut scheduler));
    scheduler.spawn(future).detach();
    match attached {
        Some(attached) => attached.run(&mut scheduler),
        None => scheduler.run(),
    }
}

/// What `#[trapline::main]` expands to a call of: runs the program, says on standard error what
/// nobody else says, and ends the process with status 1 if the program cannot go on.
#[doc(hidden)]
#[track_caller]
pub fn run_main<F: Future>(builder: Builder, future: F) -> F::Output {
    let agent = agent_of_environment(|_| true);
    let mut program = Program::new(on_its_clock(builder));
    let result = agent.block_on(&mut program.scheduler, future);
    program.end(result)
}

/// What `#[trapline::test]` expands to a call of: runs the test, and panics if it came to a deadlock
/// or a stall, or left a panic that nobody looked at or a task.
///
/// Tests run beside one another, and what they print is kept from sight: they are recorded, and nothing else.
#[doc(hidden)]
#[track_caller]
pub fn run_test<F: Future<Output: Termination>>(builder: Builder, future: F) -> ExitCode {
    let agent = agent_of_environment(|word| matches!(word, Word::Record(_)));
    let mut trial = Trial::new(builder);
    let result = agent.block_on(&mut trial.scheduler, future);
    trial.end(result)
}

/// The same, on the clock that jumps if the environment says so.
fn on_its_clock(builder: Builder) -> Builder {
    let is_virtual = || words::of_environment().0.contains(&Word::Virtual);
    // A run inside a task is refused, and obeys no word.
    if Ring::at_work().is_none() && is_virtual() { builder.virtual_clock() } else { builder }
}

/// Who listens as the environment says, but for those words that are not obeyed here.
pub(crate) fn agent_of_environment(obeyed: impl Fn(&Word) -> bool) -> Agent {
    // A run inside a task is refused, and is none.
    if Ring::at_work().is_some() {
        return Agent::new();
    }
    let (mut words, options) = words::of_environment();
    words.retain(obeyed);
    Agent::of_words(&words, &options)
}
