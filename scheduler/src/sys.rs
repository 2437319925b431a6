//! The handlers, one file a family. A handler decides what becomes of a call; the loop acts.

pub(crate) mod io;
pub(crate) mod own_call;
pub(crate) mod task;
pub(crate) mod time;
pub(crate) mod wait_queue;
