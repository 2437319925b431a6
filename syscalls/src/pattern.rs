//! Patterns: what programs do again and again with tasks, ready made.
//!
//! | | what it does |
//! |---|---|
//! | [`retry`] | tries again what failed, after pauses that a [`Backoff`] gives |
//! | [`RateLimiter`] | lets so much through in so much time |
//! | [`serve`] | accepts connections, with a task for each, no more than so many |
//! | [`WorkerPool`] | runs jobs on a fixed number of tasks |
//! | [`map_reduce`], [`for_each_concurrent`] | a task for each item of a stream, no more than so many |
//! | [`pipeline`] | stages that pass items on, each a task, with bounded buffers between them |
//!
//! What starts tasks here owns them: none outlives the thing it was started for. Dropping that kills
//! those that run, and drops those that have not begun.

mod retry;

mod rate_limiter;

mod serve;

mod worker_pool;

mod map_reduce;

mod pipeline;

mod end;
mod fan;

mod part;
mod stage;

mod crew;

pub use crate::backoff::{Backoff, Jitter};
pub use end::{Collect, ForEach};
pub use fan::{Deal, merge};
pub use map_reduce::{ForEachConcurrent, MapReduce, for_each_concurrent, map_reduce};
pub use pipeline::{Pipeline, pipeline};
pub use rate_limiter::{Acquire, AcquireMany, ExceedsBurst, RateLimited, RateLimiter, TryAcquire};
pub use retry::{Retry, retry};
pub use serve::{Serve, ServeReport, serve};
pub use stage::PipelineError;
pub use worker_pool::{JobError, Submit, WorkerPool, WorkerPoolShutdown};
