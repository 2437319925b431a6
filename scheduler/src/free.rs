//! A scheduler for one run: what a short program calls, and what `#[trapline::main]` and
//! `#[trapline::test]` expand to.

use std::env;
use std::fmt::Write;
use std::process::{ExitCode, Termination, exit};
use std::thread;

use trapline_abi::{TaskInfo, TaskState};

use crate::builder::Builder;
use crate::report::{RunError, RunReport};
use crate::scheduler::Scheduler;

/// Runs `future` on a scheduler made for it, until it has ended. Gives what it gave.
///
/// The tasks that it leaves behind end with it, as killed. A program that wants them to go on calls
/// [`run`], or joins them; one that wants a choice of driver, quantum or seed makes a [`Scheduler`].
///
/// ```
/// let answer = trapline_scheduler::block_on(async { 6 * 7 })?;
/// assert_eq!(answer, 42);
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
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
    Scheduler::new().block_on(future)
}

/// Runs `future` as a task of a scheduler made for it, until no task is left but daemons. Tells of
/// the panics that nobody looked at, its own among them.
///
/// ```
/// let report = trapline_scheduler::run(async { println!("a task") })?;
/// assert_eq!(report.failures, 0);
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
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
    let mut scheduler = Scheduler::new();
    scheduler.spawn(future).detach();
    scheduler.run()
}

/// What `#[trapline::main]` expands to a call of: runs the program, says on standard error what
/// nobody else says, and ends the process with status 1 if the program cannot go on.
#[doc(hidden)]
#[track_caller]
pub fn run_main<F: Future>(builder: Builder, future: F) -> F::Output {
    let mut program = Program::new(builder);
    let result = program.scheduler.block_on(future);
    program.end(result)
}

/// The scheduler of a program, which tells of unseen failures when the program is over, by a panic
/// too.
#[doc(hidden)]
#[derive(Debug)]
pub struct Program {
    /// What runs it.
    pub scheduler: Scheduler,
}

impl Program {
    /// One that has not begun.
    #[must_use]
    pub fn new(builder: Builder) -> Program {
        Program { scheduler: builder.build() }
    }

    /// The program has come to this.
    ///
    /// # Panics
    /// Inside a task.
    pub fn end<T>(self, result: Result<T, RunError>) -> T {
        match result {
            Ok(output) => output,
            Err(error @ RunError::InsideTask) => panic!("{error}"),
            Err(error) => {
                // The destructors of the tasks, which `exit` would pass over.
                drop(self);
                eprintln!("trapline: {error}");
                exit(1)
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let report = self.scheduler.kernel.take_report();
        if report != RunReport::default() {
            eprintln!("trapline: nobody looked at {report}");
        }
    }
}

/// The variable that says which seed the tests are to be run with.
const SEED: &str = "TRAPLINE_SEED";

/// What `#[trapline::test]` expands to a call of: runs the test, and panics if it came to a deadlock
/// or a stall, or left a panic that nobody looked at or a task.
///
/// The seed is that of the environment, if it names one: a test can then be tried with many, and a
/// failure repeated, without a change to it. Nothing else of the library reads the environment.
#[doc(hidden)]
#[track_caller]
pub fn run_test<F: Future<Output: Termination>>(builder: Builder, future: F) -> ExitCode {
    let mut trial = Trial::new(builder);
    let result = trial.scheduler.block_on(future);
    trial.end(result)
}

/// The scheduler of a test.
#[doc(hidden)]
#[derive(Debug)]
pub struct Trial {
    /// What runs it.
    pub scheduler: Scheduler,
    hint: Hint,
}

impl Trial {
    /// One that has not begun.
    ///
    /// # Panics
    /// If the environment names a seed that is none.
    #[must_use]
    pub fn new(builder: Builder) -> Trial {
        let seed = seed_of_environment().unwrap_or(builder.the_seed());
        Trial { scheduler: builder.seed(seed).build(), hint: Hint { seed } }
    }

    /// The test has come to this.
    ///
    /// # Panics
    /// If there is anything to be said against it.
    pub fn end<T: Termination>(mut self, result: Result<T, RunError>) -> ExitCode {
        let output = match result {
            Ok(output) => output,
            Err(error) => panic!("{error}"),
        };
        let code = output.report();
        if code != ExitCode::SUCCESS {
            self.hint.say();
            return code;
        }
        let mut faults = String::new();
        let report = self.scheduler.kernel.take_report();
        if report != RunReport::default() {
            let _ = write!(faults, "nobody looked at {report}");
        }
        tell_leaked(&mut faults, &self.scheduler.snapshot().tasks);
        assert!(faults.is_empty(), "{faults}");
        code
    }
}

fn seed_of_environment() -> Option<u64> {
    let text = env::var_os(SEED)?;
    match text.to_str().map(str::parse) {
        Some(Ok(seed)) => Some(seed),
        _ => panic!("{SEED} is {text:?}; it should be a whole number"),
    }
}

/// Says how a failed test is repeated.
#[derive(Debug)]
struct Hint {
    seed: u64,
}

impl Hint {
    fn say(&self) {
        eprintln!("trapline: the seed was {0}; repeat it with {SEED}={0}", self.seed);
    }
}

impl Drop for Hint {
    fn drop(&mut self) {
        if thread::panicking() {
            self.say();
        }
    }
}

/// Tells of the tasks that live on, but for daemons.
fn tell_leaked(faults: &mut String, tasks: &[TaskInfo]) {
    let lives = |task: &&TaskInfo| !task.daemon && !matches!(task.state, TaskState::Ended(_));
    for (index, task) in tasks.iter().filter(lives).enumerate() {
        if index == 0 {
            let gap = if faults.is_empty() { "" } else { "\n" };
            let _ = write!(faults, "{gap}the test is over, and left behind");
        }
        let _ = write!(faults, "\n  task {}", task.id);
        if let Some(name) = &task.name {
            let _ = write!(faults, " `{name}`");
        }
        let _ = write!(faults, ", spawned at {}", task.site);
        if let TaskState::Blocked(calls) = &task.state {
            for (index, call) in calls.iter().enumerate() {
                let words = if index == 0 { ", which waits for" } else { ", and for" };
                let _ = write!(faults, "{words} {call}");
            }
        }
    }
}
