//! System calls that a program defines for itself, as a pyos student subclasses `SystemCall`.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::call::Syscall;
use crate::id::{CallId, TaskId};
use crate::ring::Ring;
use crate::task::{Beside, TaskInfo, TaskState};
use crate::time::Instant;
use crate::trap::Trap;

/// A system call of the program's own: what it asks is `self`, and `serve` is its handler, which
/// the kernel runs between two steps of its tasks.
///
/// ```
/// use trapline_abi::{CallId, KernelFace, OwnCall, Served};
///
/// /// How many tasks are there?
/// struct CountTasks;
///
/// impl OwnCall for CountTasks {
///     type Reply = usize;
///
///     fn name(&self) -> &'static str {
///         "count_tasks"
///     }
///
///     fn serve(&mut self, kernel: &mut dyn KernelFace, _call: CallId) -> Served<usize> {
///         Served::Answer(kernel.task_count())
///     }
/// }
/// ```
///
/// A handler that panics ends the task that made the call, as if the task had panicked.
pub trait OwnCall: 'static {
    /// What the task gets.
    type Reply: 'static;

    /// What the call is called in reports.
    fn name(&self) -> &'static str;

    /// Serves the call.
    fn serve(&mut self, kernel: &mut dyn KernelFace, call: CallId) -> Served<Self::Reply>;
}

/// What becomes of a call of the program's own.
///
/// ```
/// use trapline_abi::{CallId, KernelFace, OwnCall, Served, own_call};
///
/// /// Waits for its turn in the ready queue, or for ever.
/// struct Rest {
///     ever: bool,
/// }
///
/// impl OwnCall for Rest {
///     type Reply = ();
/// #
/// #    fn name(&self) -> &'static str { "rest" }
///
///     fn serve(&mut self, _kernel: &mut dyn KernelFace, _call: CallId) -> Served<()> {
///         if self.ever { Served::Block } else { Served::Yield(()) }
///     }
/// }
///
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// scheduler.block_on(own_call(Rest { ever: false }))?;
/// assert!(scheduler.block_on(own_call(Rest { ever: true })).is_err(), "nobody answers it");
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Served<R> {
    /// Here is the reply; the caller goes on.
    Answer(R),
    /// Here is the reply; the caller goes to the back of the ready queue.
    Yield(R),
    /// The caller waits until some other call's handler answers this one by its id, through
    /// [`KernelFace::answer`].
    Block,
}

/// The kernel, as the handler of a program's own call sees it.
///
/// ```
/// use trapline_abi::{CallId, KernelFace, OwnCall, Served, own_call};
///
/// /// Ends all tasks but the one that asks, and says how many.
/// struct EndOthers;
///
/// impl OwnCall for EndOthers {
///     type Reply = usize;
/// #
/// #    fn name(&self) -> &'static str { "end_others" }
///
///     fn serve(&mut self, kernel: &mut dyn KernelFace, _call: CallId) -> Served<usize> {
///         for task in kernel.tasks() {
///             if task.id != kernel.caller() {
///                 kernel.kill(task.id);
///             }
///         }
///         Served::Answer(kernel.task_count() - 1)
///     }
/// }
///
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// scheduler.spawn(std::future::pending::<()>()).detach();
/// assert_eq!(scheduler.block_on(own_call(EndOthers))?, 1);
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
pub trait KernelFace {
    /// The task that made the call.
    ///
    /// ```
    /// # use trapline_abi::{CallId, KernelFace, OwnCall, Served, own_call};
    /// # struct Ask;
    /// # impl OwnCall for Ask {
    /// #     type Reply = usize;
    /// #     fn name(&self) -> &'static str { "ask" }
    /// fn serve(&mut self, kernel: &mut dyn KernelFace, _call: CallId) -> Served<usize> {
    ///     let own = kernel.caller();
    ///     Served::Answer(kernel.tasks().iter().filter(|task| task.parent == Some(own)).count())
    /// }
    /// # }
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// // It has spawned nobody.
    /// assert_eq!(scheduler.block_on(own_call(Ask))?, 0);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    fn caller(&self) -> TaskId;

    /// How many tasks live.
    ///
    /// ```
    /// # use trapline_abi::{CallId, KernelFace, OwnCall, Served, own_call};
    /// # struct Ask;
    /// # impl OwnCall for Ask {
    /// #     type Reply = usize;
    /// #     fn name(&self) -> &'static str { "ask" }
    /// fn serve(&mut self, kernel: &mut dyn KernelFace, _call: CallId) -> Served<usize> {
    ///     Served::Answer(kernel.task_count())
    /// }
    /// # }
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// scheduler.spawn(std::future::pending::<()>()).detach();
    /// assert_eq!(scheduler.block_on(own_call(Ask))?, 2);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    fn task_count(&self) -> usize;

    /// The task table, in the order of spawning.
    ///
    /// ```
    /// # use trapline_abi::{CallId, KernelFace, OwnCall, Served, own_call};
    /// # struct Ask;
    /// # impl OwnCall for Ask {
    /// #     type Reply = Vec<String>;
    /// #     fn name(&self) -> &'static str { "ask" }
    /// fn serve(&mut self, kernel: &mut dyn KernelFace, _call: CallId) -> Served<Vec<String>> {
    ///     Served::Answer(kernel.tasks().into_iter().filter_map(|task| task.name).collect())
    /// }
    /// # }
    /// # use trapline_abi::TaskOptions;
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let options = TaskOptions::new().name("cook");
    /// scheduler.spawn_with(options, std::future::pending::<()>()).detach();
    /// assert_eq!(scheduler.block_on(own_call(Ask))?, ["cook"]);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    fn tasks(&self) -> Vec<TaskInfo>;

    /// Whether a task lives. This looks through the task table; a kernel may do better.
    ///
    /// ```
    /// # use trapline_abi::{CallId, KernelFace, OwnCall, Served, own_call};
    /// # struct Ask(trapline_abi::TaskId);
    /// # impl OwnCall for Ask {
    /// #     type Reply = bool;
    /// #     fn name(&self) -> &'static str { "ask" }
    /// fn serve(&mut self, kernel: &mut dyn KernelFace, _call: CallId) -> Served<bool> {
    ///     Served::Answer(kernel.is_alive(self.0))
    /// }
    /// # }
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.spawn(async {});
    /// assert!(!scheduler.block_on(own_call(Ask(task.id())))?, "it has run, and ended");
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    fn is_alive(&mut self, task: TaskId) -> bool {
        let lives = |info: &TaskInfo| !matches!(info.state, TaskState::Ended(_));
        self.tasks().iter().any(|info| info.id == task && lives(info))
    }

    /// The time on the scheduler's clock.
    ///
    /// ```
    /// # use trapline_abi::{CallId, Instant, KernelFace, OwnCall, Served, own_call};
    /// # struct Ask;
    /// # impl OwnCall for Ask {
    /// #     type Reply = Instant;
    /// #     fn name(&self) -> &'static str { "ask" }
    /// fn serve(&mut self, kernel: &mut dyn KernelFace, _call: CallId) -> Served<Instant> {
    ///     Served::Answer(kernel.now())
    /// }
    /// # }
    /// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
    /// // The same as `trapline::now()`.
    /// assert_eq!(scheduler.block_on(own_call(Ask))?.as_nanos(), 0);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    fn now(&mut self) -> Instant;

    /// Ends a task, once this call has been served.
    ///
    /// ```
    /// # use trapline_abi::{CallId, KernelFace, OwnCall, Served, own_call};
    /// # struct Ask(trapline_abi::TaskId);
    /// # impl OwnCall for Ask {
    /// #     type Reply = ();
    /// #     fn name(&self) -> &'static str { "ask" }
    /// fn serve(&mut self, kernel: &mut dyn KernelFace, _call: CallId) -> Served<()> {
    ///     kernel.kill(self.0);
    ///     Served::Answer(())
    /// }
    /// # }
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let task = scheduler.spawn(std::future::pending::<()>());
    /// scheduler.block_on(own_call(Ask(task.id())))?;
    /// assert!(scheduler.block_on(task)?.unwrap_err().is_killed());
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    fn kill(&mut self, task: TaskId);

    /// Answers a call that a handler left blocked. `reply` must be a box of that call's
    /// [`OwnCall::Reply`].
    ///
    /// ```
    /// use trapline_abi::{CallId, KernelFace, OwnCall, Served, own_call};
    ///
    /// /// A call waits here until another answers it.
    /// #[derive(Default)]
    /// struct Waiting(Option<CallId>);
    ///
    /// struct AwaitText;
    /// struct Tell(&'static str);
    ///
    /// impl OwnCall for AwaitText {
    ///     type Reply = &'static str;
    /// #
    /// #    fn name(&self) -> &'static str { "await_text" }
    ///
    ///     fn serve(&mut self, kernel: &mut dyn KernelFace, call: CallId) -> Served<&'static str> {
    ///         kernel.state::<Waiting>().0 = Some(call);
    ///         Served::Block
    ///     }
    /// }
    ///
    /// impl OwnCall for Tell {
    ///     type Reply = bool;
    /// #
    /// #    fn name(&self) -> &'static str { "tell" }
    ///
    ///     fn serve(&mut self, kernel: &mut dyn KernelFace, _call: CallId) -> Served<bool> {
    ///         let Some(waiting) = kernel.state::<Waiting>().0.take() else { return Served::Answer(false) };
    ///         Served::Answer(kernel.answer(waiting, Box::new(self.0)).is_ok())
    ///     }
    /// }
    ///
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// let listener = scheduler.spawn(own_call(AwaitText));
    /// scheduler.spawn(async { assert!(own_call(Tell("lunch")).await) }).detach();
    /// assert_eq!(scheduler.block_on(listener)?.unwrap(), "lunch");
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    ///
    /// # Errors
    /// The reply itself, if the call is gone (its future was dropped), has been answered, or has
    /// another type of reply.
    fn answer(&mut self, call: CallId, reply: Box<dyn Any>) -> Result<(), Box<dyn Any>>;

    /// Something that the program's own calls keep in the scheduler: one value of each type,
    /// made by `make` when it is first asked for.
    fn state_any(
        &mut self,
        kind: std::any::TypeId,
        make: &mut dyn FnMut() -> Box<dyn Any>,
    ) -> &mut dyn Any;
}

impl dyn KernelFace + '_ {
    /// The scheduler's one value of type `T`, made by default when it is first asked for.
    ///
    /// ```
    /// use trapline_abi::{CallId, KernelFace, OwnCall, Served, own_call};
    ///
    /// /// The next number of all that are drawn in a scheduler.
    /// struct Draw;
    ///
    /// impl OwnCall for Draw {
    ///     type Reply = u32;
    /// #
    /// #    fn name(&self) -> &'static str { "draw" }
    ///
    ///     fn serve(&mut self, kernel: &mut dyn KernelFace, _call: CallId) -> Served<u32> {
    ///         let drawn: &mut u32 = kernel.state();
    ///         *drawn += 1;
    ///         Served::Answer(*drawn)
    ///     }
    /// }
    ///
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// assert_eq!(scheduler.block_on(own_call(Draw))?, 1);
    /// assert_eq!(scheduler.block_on(own_call(Draw))?, 2);
    /// # Ok::<(), trapline_scheduler::RunError>(())
    /// ```
    ///
    /// # Panics
    /// Never, on a kernel that keeps what `state_any` says.
    pub fn state<T: Default + 'static>(&mut self) -> &mut T {
        self.state_any(std::any::TypeId::of::<T>(), &mut || Box::new(T::default()))
            .downcast_mut()
            .expect("a value is kept under its own type")
    }
}

/// What becomes of a call, as the kernel sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Answered.
    Answer,
    /// Answered, and the caller goes to the back of the queue.
    Yield,
    /// Blocked.
    Block,
}

/// A call of the program's own, as the kernel sees it.
pub trait ErasedOwnCall: Any {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// Runs the handler and keeps the reply.
    fn serve(&mut self, kernel: &mut dyn KernelFace, call: CallId) -> Verdict;

    /// Takes a reply that somebody else's handler gives.
    ///
    /// # Errors
    /// The reply itself, if it is of another type.
    fn accept(&mut self, reply: Box<dyn Any>) -> Result<(), Box<dyn Any>>;
}

struct Carrier<C: OwnCall> {
    /// Asked for once, in the task: it is foreign code.
    name: &'static str,
    call: C,
    reply: Option<C::Reply>,
}

impl<C: OwnCall> ErasedOwnCall for Carrier<C> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn serve(&mut self, kernel: &mut dyn KernelFace, call: CallId) -> Verdict {
        match self.call.serve(kernel, call) {
            Served::Answer(reply) => {
                self.reply = Some(reply);
                Verdict::Answer
            }
            Served::Yield(reply) => {
                self.reply = Some(reply);
                Verdict::Yield
            }
            Served::Block => Verdict::Block,
        }
    }

    fn accept(&mut self, reply: Box<dyn Any>) -> Result<(), Box<dyn Any>> {
        self.reply = Some(*reply.downcast::<C::Reply>()?);
        Ok(())
    }
}

/// Makes a system call of the program's own.
///
/// ```
/// use trapline_abi::{CallId, KernelFace, OwnCall, Served, own_call};
///
/// struct Double(u32);
///
/// impl OwnCall for Double {
///     type Reply = u32;
///
///     fn name(&self) -> &'static str {
///         "double"
///     }
///
///     fn serve(&mut self, _kernel: &mut dyn KernelFace, _call: CallId) -> Served<u32> {
///         Served::Answer(self.0 * 2)
///     }
/// }
///
/// let mut scheduler = trapline_scheduler::Scheduler::new();
/// assert_eq!(scheduler.block_on(own_call(Double(21)))?, 42);
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
///
/// # Cancel safety
/// Safe as far as the kernel goes: dropping the future drops `call` and forgets the wait; a
/// handler that answers it later is told that it is gone.
///
/// # Cost
/// One trap and one allocation.
///
/// # Kin
/// A subclass of pyos's `SystemCall`.
#[track_caller]
pub fn own_call<C: OwnCall>(call: C) -> OwnTrap<C> {
    own_call_at(call, Location::caller())
}

/// The same for a caller at `site`: for what is built on such calls, and makes them within a poll.
#[doc(hidden)]
pub fn own_call_at<C: OwnCall>(call: C, site: &'static Location<'static>) -> OwnTrap<C> {
    OwnTrap {
        call: Some(Box::new(Carrier { name: call.name(), call, reply: None })),
        trap: Trap::new(Syscall::Own, site),
        kind: PhantomData,
    }
}

/// The future of [`own_call`].
///
/// ```
/// # use trapline_abi::{CallId, KernelFace, OwnCall, OwnTrap, Served, own_call};
/// # struct CountTasks;
/// # impl OwnCall for CountTasks {
/// #     type Reply = usize;
/// #     fn name(&self) -> &'static str { "count_tasks" }
/// #     fn serve(&mut self, kernel: &mut dyn KernelFace, _call: CallId) -> Served<usize> {
/// #         Served::Answer(kernel.task_count())
/// #     }
/// # }
/// /// Hides that there is such a call.
/// #[track_caller]
/// fn count_tasks() -> OwnTrap<CountTasks> {
///     own_call(CountTasks)
/// }
///
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// scheduler.spawn(std::future::pending::<()>()).detach();
/// assert_eq!(scheduler.block_on(async { count_tasks().await })?, 2);
/// # Ok::<(), trapline_scheduler::RunError>(())
/// ```
#[must_use = "a system call does nothing until it is awaited"]
pub struct OwnTrap<C: OwnCall> {
    call: Option<Box<dyn ErasedOwnCall>>,
    trap: Trap,
    kind: PhantomData<fn(C)>,
}

impl<C: OwnCall> fmt::Debug for OwnTrap<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnTrap").field("trap", &self.trap).finish_non_exhaustive()
    }
}

impl<C: OwnCall> Future for OwnTrap<C> {
    type Output = C::Reply;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Reply> {
        if self.call.is_some() {
            // Outside a task this panics, and nothing is lost.
            let _ = Ring::of_running_task();
        }
        if let Some(call) = self.call.take() {
            self.trap.submit(Beside::Own(call), cx);
            return Poll::Pending;
        }
        let polled = self.trap.poll_reply_and_beside(cx);
        let Poll::Ready((_, beside)) = polled else { return Poll::Pending };
        let Beside::Own(call) = beside else {
            panic!("the kernel lost a call of the program's own")
        };
        let call: Box<dyn Any> = call;
        let carrier = call.downcast::<Carrier<C>>();
        let reply = carrier.ok().and_then(|carrier| carrier.reply);
        Poll::Ready(reply.expect("a call of the program's own has no reply: its handler panicked"))
    }
}
