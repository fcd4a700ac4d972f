//! What can go wrong, each with what to do about it.

use std::{io, path::Path, path::PathBuf, process::ExitStatus};

/// The command that every message about a server that is not there refers to.
pub const UP: &str = "./x services up";

/// A server could not be installed, started, reached or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The shared server was never started, was stopped, or hangs.
    #[error("{service} is not running; start it with `{UP}`")]
    NotRunning {
        /// The server's name.
        service: &'static str,
    },
    /// No service of this name is known.
    #[error("there is no service `{name}`; there are {known}")]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// The machine lacks programs or libraries, and they could not be installed by this process.
    #[error("this machine lacks {what}; {advice}")]
    Missing {
        /// What is missing, in words.
        what: String,
        /// What to type.
        advice: String,
    },
    /// A file or directory operation failed.
    #[error("cannot {what}")]
    Io {
        /// The operation and the path.
        what: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A program that installs or prepares a server failed.
    #[error("`{command}` failed ({status}); the end of {}:\n{tail}", log.display())]
    Command {
        /// The program and its arguments.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// Where its output is.
        log: PathBuf,
        /// The last lines of that output.
        tail: String,
    },
    /// The server ended, or did not answer in time, after it was started.
    #[error("{service} {how}; the end of {}:\n{tail}", log.display())]
    Start {
        /// The server's name.
        service: &'static str,
        /// Ended, or silent for so long.
        how: String,
        /// Where its output is.
        log: PathBuf,
        /// The last lines of that output.
        tail: String,
    },
    /// The server refused a query.
    #[error("the server answered {status}: {body}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's message.
        body: String,
    },
}

impl Error {
    /// For `map_err`: names the operation and the path that an I/O error lacks.
    pub(crate) fn io(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let what = format!("{what} {}", path.display());
        move |source| Error::Io { what, source }
    }
}
