//! Edit and again: a program that is built and started anew, and brought to the step at which one was.

use super::desk::{Desk, Flow};
use super::key::Key;
use crate::failure::Failure;

/// Presses some keys, one after the other, each once what the one before has begun is over.
pub(super) fn press_all(desk: &mut Desk, keys: &[Key]) -> Result<(), Failure> {
    for key in keys {
        match desk.press(*key) {
            Flow::GoOn => {}
            Flow::Again => again(desk)?,
            Flow::Quit | Flow::Interrupt | Flow::Suspend => return Ok(()),
        }
        desk.settle().map_err(|error| Failure::said(error.to_string()))?;
    }
    Ok(())
}

/// Builds the program and starts it anew. If that fails, what there was is still there, and why is said.
pub(super) fn again(desk: &mut Desk) -> Result<(), Failure> {
    let started = match &desk.edge {
        None => {
            desk.message = "refused: this is a recording".to_owned();
            return Ok(());
        }
        Some(edge) => edge.live().again(),
    };
    match started {
        Ok(live) => desk.start_anew(live),
        Err(failure) => {
            desk.tell_failure(&failure.to_string());
            Ok(())
        }
    }
}
