//! Reading a recording between two frames, some of it at a time: the keys are heard meanwhile, also while a million
//! steps are read. What has been read before is not read again when the recording grows.

use std::io;
use std::time::Duration;

use super::atlas::Atlas;
use super::clock::now;
use crate::live::Growth;

/// So much of a file is read before the first frame.
const FIRST: usize = 256 * 1024;

/// Between two looks at the clock.
const PORTION: usize = 16 * 1024;

/// So long is read between two looks at the keys: with the painting, a frame.
const SLICE: Duration = Duration::from_millis(10);

/// How far a recording has been read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Read {
    /// There was nothing new, and there may be.
    Nothing,
    /// All that there is for now.
    All,
    /// There is more.
    Part,
    /// To its end.
    End,
}

/// Reads on.
pub(super) struct Loader {
    growth: Growth,
}

impl Loader {
    pub(super) fn new(growth: Growth) -> Loader {
        Loader { growth }
    }

    /// What is to be seen at first.
    pub(super) fn read_first(&self, atlas: &mut Atlas) -> io::Result<Read> {
        let goes_on = self.growth.goes_on();
        // If there is less, that is all.
        let read = atlas.grow(FIRST)?;
        Ok(match (read < FIRST, goes_on) {
            (true, false) => Read::End,
            (true, true) => Read::All,
            (false, _) => Read::Part,
        })
    }

    pub(super) fn read(&self, atlas: &mut Atlas) -> io::Result<Read> {
        // Asked first: what the program wrote before it ended is read then.
        let goes_on = self.growth.goes_on();
        let begin = now();
        let mut read = Read::Nothing;
        loop {
            if atlas.grow(PORTION)? == 0 {
                return Ok(if goes_on { read } else { Read::End });
            }
            if begin.elapsed() >= SLICE {
                return Ok(Read::Part);
            }
            read = Read::All;
        }
    }
}
