//! Servers that refuse to run as root: root lends them another user, everybody else runs them as oneself.

use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use crate::error::Error;

/// `nobody`, whom every system has.
const USER: u32 = 65_534;

/// The program as that user. It keeps root's right to pass through directories: a private server may lie below one
/// that is closed to others, as temporary directories are.
pub(crate) fn command(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={USER}"), format!("--regid={USER}")]);
    command.args(["--clear-groups", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]).arg(program);
    command
}

/// Gives that user a directory, which is still empty.
pub(crate) fn give(dir: &Path) -> Result<(), Error> {
    if rustix::process::geteuid().is_root() {
        chown(dir, Some(USER), Some(USER)).map_err(Error::io("give away", dir))?;
    }
    Ok(())
}
