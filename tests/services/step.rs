//! One line per step on standard error, with the seconds that it took.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{Write, stderr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::error::Error;
use crate::process::tail;

/// Says what begins, does it, and says how long it took.
pub(crate) fn step<T>(what: impl Display, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let began = Instant::now();
    eprint!("{what} … ");
    // A line that cannot be printed must not stop the work.
    let _ = stderr().flush();
    let result = work();
    let seconds = began.elapsed().as_secs_f64();
    match &result {
        Ok(_) => eprintln!("{seconds:.1} s"),
        Err(_) => eprintln!("failed after {seconds:.1} s"),
    }
    result
}

/// Runs a program to its end. Its output is appended to `log`, and quoted in the error if it fails.
pub(crate) fn run(command: &mut Command, log: &Path) -> Result<(), Error> {
    let output = OpenOptions::new().create(true).append(true).open(log).map_err(Error::io("open", log))?;
    let copy = output.try_clone().map_err(Error::io("open", log))?;
    let program = Path::new(command.get_program()).to_path_buf();
    let status =
        command.stdin(Stdio::null()).stdout(output).stderr(copy).status().map_err(Error::io("run", &program))?;
    if status.success() {
        return Ok(());
    }
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    Err(Error::Command { command: words.join(" "), status, log: log.to_path_buf(), tail: tail(log, 20) })
}
