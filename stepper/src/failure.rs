//! What can go wrong here, each with the line that says so.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use trapline_trace::OpenError;

use crate::plain::Plain;

#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// A recording cannot be read at all.
    #[error("{}: {}", shown(path), error)]
    Open {
        path: PathBuf,
        #[source]
        error: OpenError,
    },
    /// A file cannot be written, or a socket not reached.
    #[error("{}: {}", shown(path), error)]
    Path {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    /// What is printed cannot be.
    #[error("cannot write: {0}")]
    Output(io::Error),
    /// A sentence.
    #[error("{0}")]
    Said(String),
}

impl Failure {
    pub(crate) fn said(text: impl Into<String>) -> Failure {
        Failure::Said(text.into())
    }

    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Failure {
        move |error| Failure::Path { path: path.to_owned(), error }
    }

    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

fn shown(path: &Path) -> String {
    Plain(&path.to_string_lossy()).to_string()
}
