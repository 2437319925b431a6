//! Sugar for Trapline: each of these macros saves a few lines that a program could write itself, and
//! its documentation shows them.
//!
//! Programs use the `trapline` crate, which re-exports all of this. What the macros expand to names
//! `::trapline`, so a program must know that crate by its own name.

#[cfg(test)]
mod documented;
mod entry;
mod join;
mod options;
mod select;
mod traced;

use proc_macro::TokenStream;

/// Makes an `async fn main` the program: it runs as a task of a scheduler made for it.
///
/// ```
/// #[trapline::main(seed = 7)]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let child = trapline::spawn(async { 6 * 7 }).await;
///     assert_eq!(child.await?, 42);
///     Ok(())
/// }
/// ```
///
/// That program becomes
///
/// ```
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     async fn main() -> Result<(), Box<dyn std::error::Error>> {
///         let child = trapline::spawn(async { 6 * 7 }).await;
///         assert_eq!(child.await?, 42);
///         Ok(())
///     }
///     ::trapline::__private::run_main(::trapline::Scheduler::builder().seed(7), main())
/// }
/// ```
///
/// where `run_main` does what `Scheduler::block_on` does. When `main` returns, the tasks that it has
/// left end with it: it joins those that matter. Panics that nobody looked at are told on standard
/// error at the end. A deadlock is told there, too, and the process ends with status 1, once the
/// destructors of all tasks have run.
///
/// # Options
/// | option | what it sets | without it |
/// |---|---|---|
/// | `quantum = 1` | `Builder::quantum`, in steps | 32 |
/// | `batch = 64` | `Builder::batch`, in dispatches | 256 |
/// | `seed = 7` | `Builder::seed` | 0 |
/// | `clock = "virtual"` | `Builder::virtual_clock` | `"real"` |
/// | `stall_seconds = 5` | `Builder::stall_limit` | no limit |
///
/// # Panics
/// With the panic of the function. Called inside a task, it panics, as `block_on` refuses there.
#[proc_macro_attribute]
pub fn main(options: TokenStream, function: TokenStream) -> TokenStream {
    entry::expand(entry::Kind::Main, options.into(), function.into()).into()
}

/// Makes an `async fn` a test: it runs as a task of a scheduler with a virtual clock.
///
/// ```
/// use std::time::Duration;
///
/// #[trapline::test(quantum = 1)]
/// async fn an_hour_passes_at_once() {
///     let start = trapline::now().await;
///     trapline::sleep(Duration::from_secs(3600)).await;
///     assert_eq!(trapline::now().await - start, Duration::from_secs(3600));
/// }
/// ```
///
/// That test becomes
///
/// ```
/// # use std::time::Duration;
/// #[::core::prelude::v1::test]
/// fn an_hour_passes_at_once() {
///     async fn an_hour_passes_at_once() {
///         let start = trapline::now().await;
///         trapline::sleep(Duration::from_secs(3600)).await;
///         assert_eq!(trapline::now().await - start, Duration::from_secs(3600));
///     }
///     let _ = ::trapline::__private::run_test(
///         ::trapline::Scheduler::builder()
///             .stall_limit(::core::time::Duration::from_secs(1))
///             .virtual_clock()
///             .quantum(1),
///         an_hour_passes_at_once(),
///     );
/// }
/// ```
///
/// where `run_test` does what `Scheduler::block_on` does, and looks at what is left. A test that
/// returns something, such as a `Result`, becomes a function that returns an `ExitCode`. Other
/// attributes (`#[should_panic]`, `#[ignore]`, …) stay on the function.
///
/// A test fails if it panics or returns an error, and also
///
/// * on a deadlock, with the report;
/// * where nothing could run for a second of real time but by a waker held elsewhere, by a thread
///   say, with the same report;
/// * if a task panicked and nobody looked at it, with the text;
/// * if a task outlives it that is no daemon, with its id, its name and the line it was spawned at.
///
/// Write it as `#[trapline::test]`, and import what else is needed by name: after `use trapline::*`
/// Rust cannot tell which `#[test]` is meant.
///
/// # Options
/// | option | what it sets | without it |
/// |---|---|---|
/// | `quantum = 1` | `Builder::quantum`, in steps | 32 |
/// | `batch = 64` | `Builder::batch`, in dispatches | 256 |
/// | `seed = 7` | `Builder::seed` | 0 |
/// | `clock = "real"` | the operating system's clock | `"virtual"` |
/// | `stall_seconds = 5` | `Builder::stall_limit` | 1 |
///
/// # The seed
/// The environment variable `TRAPLINE_SEED`, a whole number, goes before the option: so a test is
/// tried with many seeds, and a failure repeated, without a change to it. A test that fails prints its
/// seed.
#[proc_macro_attribute]
pub fn test(options: TokenStream, function: TokenStream) -> TokenStream {
    entry::expand(entry::Kind::Test, options.into(), function.into()).into()
}

/// Puts the body of an `async fn` into a frame: whoever looks on sees, around the calls in it, the line
/// from which the function was called.
///
/// ```
/// use std::time::Duration;
/// use trapline::sync::Mutex;
///
/// #[trapline::traced]
/// async fn dine(name: &str, fork: &Mutex<()>) -> Result<usize, std::fmt::Error> {
///     let _fork = fork.lock().await;
///     trapline::sleep(Duration::from_millis(20)).await;
///     Ok(name.len())
/// }
/// # let mut scheduler = trapline::Scheduler::builder().virtual_clock().build();
/// # assert_eq!(scheduler.block_on(async { dine("Plato", &Mutex::new(())).await }).unwrap(), Ok(5));
/// ```
///
/// That function becomes
///
/// ```
/// # use std::time::Duration;
/// # use trapline::sync::Mutex;
/// #[track_caller]
/// fn dine(
///     name: &str,
///     fork: &Mutex<()>,
/// ) -> impl ::core::future::Future<Output = Result<usize, std::fmt::Error>> {
///     ::trapline::frame_at(
///         async move {
///             // So that `?` knows where it leads to.
///             #[allow(clippy::all, clippy::pedantic, clippy::restriction, unreachable_code, unused)]
///             if false {
///                 let never: Result<usize, std::fmt::Error> = loop {};
///                 return never;
///             }
///             // As in any `async fn`, the arguments live as long as the body.
///             #[allow(clippy::redundant_locals)]
///             let name = name;
///             #[allow(clippy::redundant_locals)]
///             let fork = fork;
///             let _fork = fork.lock().await;
///             trapline::sleep(Duration::from_millis(20)).await;
///             Ok(name.len())
///         },
///         ::core::panic::Location::caller(),
///     )
/// }
/// # let mut scheduler = trapline::Scheduler::builder().virtual_clock().build();
/// # assert_eq!(scheduler.block_on(async { dine("Plato", &Mutex::new(())).await }).unwrap(), Ok(5));
/// ```
///
/// It goes on functions and on methods, also on those of a trait's `impl`; what they borrow is captured as
/// by any `async fn` of edition 2024, which it needs. A function that calls itself does so in a box, as
/// without it. It does not go beside `#[trapline::main]` or `#[trapline::test]`: nobody calls those.
///
/// # Cost
/// As `trapline::frame`: where nobody looks on, a few instructions a poll.
///
/// # Kin
/// `#[async_backtrace::framed]`.
#[proc_macro_attribute]
pub fn traced(options: TokenStream, function: TokenStream) -> TokenStream {
    traced::expand(options.into(), function.into()).into()
}

/// Waits for all of several futures, side by side in the calling task, and gives a tuple of what they
/// gave.
///
/// Each wake-up polls those that have not finished, in order.
///
/// ```
/// # let mut scheduler = trapline::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async {
/// use std::time::Duration;
///
/// let start = trapline::now().await;
/// let (_, _, word) = trapline::join!(
///     trapline::sleep(Duration::from_secs(1)),
///     trapline::sleep(Duration::from_secs(2)),
///     async { "done" },
/// );
/// assert_eq!(word, "done");
/// assert_eq!(trapline::now().await - start, Duration::from_secs(2));
/// # }).unwrap();
/// ```
///
/// `join!(a, b)` becomes
///
/// ```
/// # let mut scheduler = trapline::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async {
/// # let (a, b) = (async { 1 }, async { 2 });
/// # let joined =
/// match (::trapline::__private::MaybeDone::new(a), ::trapline::__private::MaybeDone::new(b)) {
///     (future_0, future_1) => {
///         let mut future_0 = ::core::pin::pin!(future_0);
///         let mut future_1 = ::core::pin::pin!(future_1);
///         let outputs = ::core::future::poll_fn(|cx| {
///             let mut all = true;
///             all &= future_0.as_mut().poll_done(cx);
///             all &= future_1.as_mut().poll_done(cx);
///             if !all {
///                 return ::core::task::Poll::Pending;
///             }
///             ::core::task::Poll::Ready((future_0.as_mut().take(), future_1.as_mut().take()))
///         })
///         .await;
///         outputs
///     }
/// }
/// # ;
/// # assert_eq!(joined, (1, 2));
/// # }).unwrap();
/// ```
///
/// # Cancel safety
/// As safe as the futures' own. Lossy where some have finished: what they gave is dropped, too.
///
/// # Cost
/// No trap of its own, no allocation.
///
/// # Kin
/// `futures::join!`, `tokio::join!`.
#[proc_macro]
pub fn join(futures: TokenStream) -> TokenStream {
    join::expand(join::Kind::Join, futures.into()).into()
}

/// Waits for all of several futures that give a `Result`, or for the first error.
///
/// Gives `Ok` of a tuple, if none fails. Else it gives the first error, in the order in which they are
/// polled, once all the futures have been dropped. They have one type of error.
///
/// ```
/// # let mut scheduler = trapline::Scheduler::new();
/// # scheduler.block_on(async {
/// let both = trapline::try_join!(async { "1".parse::<u8>() }, async { "two".parse::<u8>() });
/// assert!(both.is_err());
/// # }).unwrap();
/// ```
///
/// An error returns from the polling closure at once. `try_join!(a)` becomes
///
/// ```
/// # let mut scheduler = trapline::Scheduler::new();
/// # scheduler.block_on(async {
/// # let a = async { "1".parse::<u8>() };
/// # let joined =
/// match (::trapline::__private::MaybeDone::new(a),) {
///     (future_0,) => {
///         let mut future_0 = ::core::pin::pin!(future_0);
///         let outputs = ::core::future::poll_fn(|cx| {
///             let mut all = true;
///             match future_0.as_mut().poll_try(cx) {
///                 ::core::task::Poll::Ready(::core::result::Result::Ok(())) => {}
///                 ::core::task::Poll::Ready(::core::result::Result::Err(error)) => {
///                     return ::core::task::Poll::Ready(::core::result::Result::Err(error));
///                 }
///                 ::core::task::Poll::Pending => all = false,
///             }
///             if !all {
///                 return ::core::task::Poll::Pending;
///             }
///             ::core::task::Poll::Ready(::core::result::Result::Ok((
///                 future_0.as_mut().take_ok(),
///             )))
///         })
///         .await;
///         outputs
///     }
/// }
/// # ;
/// # assert_eq!(joined.unwrap(), (1,));
/// # }).unwrap();
/// ```
///
/// # Errors
/// The first error of a future.
///
/// # Cancel safety
/// As safe as the futures' own. Lossy where some have finished: what they gave is dropped, too; so it
/// is when another fails.
///
/// # Cost
/// No trap of its own, no allocation.
///
/// # Kin
/// `futures::try_join!`, `tokio::try_join!`.
#[proc_macro]
pub fn try_join(futures: TokenStream) -> TokenStream {
    join::expand(join::Kind::TryJoin, futures.into()).into()
}

/// Waits for the first of several futures to finish, and goes on in its arm.
///
/// ```
/// # let mut scheduler = trapline::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async {
/// use std::time::Duration;
///
/// let queue = trapline::WaitQueue::new(1);
/// let mut patience = std::pin::pin!(trapline::sleep(Duration::from_secs(5)));
/// let mut served = 0;
/// loop {
///     trapline::select! {
///         biased;
///         () = queue.park() => served += 1,
///         _ = &mut patience => break,
///     }
/// }
/// assert_eq!(served, 1);
/// # }).unwrap();
/// ```
///
/// In general:
///
/// ```text
/// select! {
///     biased;
///     PATTERN = FUTURE, if GUARD => ARM,
///     …
///     else => ARM,
/// }
/// ```
///
/// * With `biased;` the branches are polled in the order in which they are written. Without it they
///   are polled in an order that is drawn anew each time the `select!` is reached, from the
///   scheduler's seed: the same seed, the same order.
/// * A future is given by value, or by `&mut` if it is to live on when another branch wins.
/// * The guards are evaluated first, once. The future of a branch whose guard is false is not even
///   made. (Hence a guarded future cannot borrow a temporary: give it a `let`.)
/// * Each wake-up polls each branch that is left once. The first that finishes wins; the others are
///   dropped, and then the arm runs. Arms may `break`, `continue`, `return`, use `?` and `.await`.
/// * A branch whose value does not match its pattern is out, and the others go on. Where none is left,
///   `else` runs.
/// * A comma may be left out after an arm that is a block.
///
/// `select! { Some(x) = a => x, y = b, if g => y, else => 0 }` becomes
///
/// ```
/// # let mut scheduler = trapline::Scheduler::new();
/// # scheduler.block_on(async {
/// # let (a, b, g) = (async { Some(1) }, async { 2 }, false);
/// # let selected =
/// {
///     enum __Won<T0, T1> {
///         Branch0(T0),
///         Branch1(T1),
///         Nobody,
///     }
///     let guard_1: bool = g;
///     let won = match (
///         ::core::option::Option::Some(::core::future::IntoFuture::into_future(a)),
///         if guard_1 {
///             ::core::option::Option::Some(::core::future::IntoFuture::into_future(b))
///         } else {
///             ::core::option::Option::None
///         },
///     ) {
///         (branch_0, branch_1) => {
///             let mut branch_0 = ::core::pin::pin!(branch_0);
///             let mut branch_1 = ::core::pin::pin!(branch_1);
///             // With `biased;` there is no loop: the branches stand one after the other.
///             let order = ::trapline::__private::order::<2>();
///             let won = ::core::future::poll_fn(|cx| {
///                 let mut alive = false;
///                 for branch in order {
///                     match branch {
///                         0 => {
///                             let polled = ::trapline::__private::poll_branch(
///                                 branch_0.as_mut(),
///                                 cx,
///                                 &mut alive,
///                             );
///                             if let ::core::task::Poll::Ready(value) = polled {
///                                 let won = __Won::Branch0(value);
///                                 #[allow(unused_variables, unreachable_patterns)]
///                                 let matches = match &won {
///                                     __Won::Branch0(Some(x)) => true,
///                                     _ => false,
///                                 };
///                                 if matches {
///                                     return ::core::task::Poll::Ready(won);
///                                 }
///                             }
///                         }
///                         1 => {
///                             // The same.
/// #                           let polled = ::trapline::__private::poll_branch(
/// #                               branch_1.as_mut(),
/// #                               cx,
/// #                               &mut alive,
/// #                           );
/// #                           if let ::core::task::Poll::Ready(value) = polled {
/// #                               let won = __Won::Branch1(value);
/// #                               #[allow(unused_variables, unreachable_patterns)]
/// #                               let matches = match &won {
/// #                                   __Won::Branch1(y) => true,
/// #                                   _ => false,
/// #                               };
/// #                               if matches {
/// #                                   return ::core::task::Poll::Ready(won);
/// #                               }
/// #                           }
///                         }
///                         _ => {}
///                     }
///                 }
///                 if alive {
///                     ::core::task::Poll::Pending
///                 } else {
///                     ::core::task::Poll::Ready(__Won::Nobody)
///                 }
///             })
///             .await;
///             won
///         }
///     };
///     match won {
///         __Won::Branch0(Some(x)) => x,
///         __Won::Branch1(y) => y,
///         __Won::Nobody => 0,
///         #[allow(unreachable_patterns)]
///         _ => ::trapline::__private::matched_before(),
///     }
/// }
/// # ;
/// # assert_eq!(selected, 1);
/// # }).unwrap();
/// ```
///
/// # Panics
/// If no branch is left to wait for, and there is no `else`.
///
/// # Cancel safety
/// As safe as the futures' own. A branch that loses is dropped, which for the calls of this library
/// uses nothing up: what a waiter was given and has not taken goes to the next.
///
/// # Cost
/// No trap of its own, no allocation. Without `biased;`, a few instructions a branch for the order.
///
/// # Kin
/// `tokio::select!`, whose form it has; `futures::select!`, whose order comes from elsewhere;
/// `select(2)`.
#[proc_macro]
pub fn select(branches: TokenStream) -> TokenStream {
    select::expand(branches.into()).into()
}
