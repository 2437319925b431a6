//! A recording, opened, and what is said where it could not be read to its end.

use std::path::Path;
use std::process::ExitCode;

use trapline_trace::Recording;

use crate::failure::Failure;
use crate::plain::Plain;

/// Opens a recording. One that is damaged is read up to there.
pub(crate) fn open(path: &Path) -> Result<Recording, Failure> {
    Recording::open(path).map_err(|error| Failure::Open { path: path.to_owned(), error })
}

/// Says, on standard error, where a recording that has been shown is damaged. Gives the exit status.
pub(crate) fn conclude(recording: &Recording, path: &Path) -> ExitCode {
    match recording.damage() {
        None => ExitCode::SUCCESS,
        Some(damage) => {
            eprintln!("trapline: {}: {damage}", Plain(&path.to_string_lossy()));
            ExitCode::FAILURE
        }
    }
}
