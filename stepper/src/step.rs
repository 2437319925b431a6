//! The stepper: a recording, looked at step by step, forward and back.
//!
//! Nothing here knows of a terminal but [`terminal`], which hands [keys](key) to the [`desk`] and paints the lines
//! that the [`screen`] gives. An [`atlas`] is a recording with what one pass over it keeps (its [`history`]); a
//! *scene* is what is to be seen at a cursor; and each [`pane`] is a function of that.

mod again;
mod atlas;
mod breakpoint;
mod clock;
mod desk;
mod history;
mod key;
mod lesson;
mod line;
mod load;
mod names;
mod pane;
mod phase;
mod predict;
mod screen;
mod start;
mod telling;
mod terminal;
mod view;
mod why;

pub(crate) use start::{Args as StepArgs, run as step};
pub(crate) use view::{Args as ViewArgs, run as view};
