//! Edit and again: a program that is built and started anew, and brought to the step at which one was.

use super::desk::{Desk, Flow};
use super::key::Key;
use crate::failure::Failure;
use crate::live::Live;
use crate::record::Program;

/// How a program is started anew.
pub(super) struct Again<'a> {
    /// Nothing, where it was not we who started it.
    program: Option<(&'a Program, bool)>,
}

impl<'a> Again<'a> {
    /// What is looked at was not started here.
    pub(super) fn never() -> Again<'a> {
        Again { program: None }
    }

    pub(super) fn of(program: &'a Program, is_virtual: bool) -> Again<'a> {
        Again { program: Some((program, is_virtual)) }
    }

    pub(super) fn is_possible(&self) -> bool {
        self.program.is_some()
    }

    /// Presses some keys, one after the other, each once what the one before has begun is over.
    pub(super) fn press_all(&self, desk: &mut Desk, keys: &[Key]) -> Result<(), Failure> {
        for key in keys {
            match desk.press(*key) {
                Flow::GoOn => {}
                Flow::Again => drop(self.start(desk)?),
                Flow::Quit | Flow::Interrupt | Flow::Suspend => return Ok(()),
            }
            desk.settle().map_err(|error| Failure::said(error.to_string()))?;
        }
        Ok(())
    }

    /// Builds and starts it. Whether that has failed, so that what there was is still there.
    pub(super) fn start(&self, desk: &mut Desk) -> Result<bool, Failure> {
        let Some((program, is_virtual)) = self.program else {
            desk.message = match desk.edge {
                Some(_) => "refused: the program was not started here".to_owned(),
                None => "refused: this is a recording".to_owned(),
            };
            return Ok(false);
        };
        let Ok(target) = program.target()? else {
            desk.message = "the program could not be built; this is what ran before".to_owned();
            return Ok(true);
        };
        let live = Live::start_target(program, &target, is_virtual)?;
        desk.start_anew(live)?;
        Ok(false)
    }
}
