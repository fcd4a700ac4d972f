//! Running cargo.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};

use crate::workspace;

/// Runs cargo in the root of the workspace; says the command first.
pub(crate) fn cargo<'a>(command: impl IntoIterator<Item = &'a str>, args: &[String]) -> Result<()> {
    cargo_with(&[], command, args)
}

/// The same with this in its environment.
pub(crate) fn cargo_with<'a>(
    environment: &[(&str, String)],
    command: impl IntoIterator<Item = &'a str>,
    args: &[String],
) -> Result<()> {
    let mut cargo = program();
    cargo.args(command).args(args).envs(environment.iter().map(|(name, value)| (name, value)));
    let words: Vec<_> = cargo.get_args().map(OsStr::to_string_lossy).collect();
    let line = format!("cargo {}", words.join(" "));
    eprintln!("> {line}");
    let status = cargo.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Runs cargo and writes what it prints into `file`.
pub(crate) fn cargo_into<'a>(command: impl IntoIterator<Item = &'a str>, file: &Path) -> Result<()> {
    let output = program().args(command).stderr(Stdio::inherit()).output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("the command for {} failed ({})", file.display(), output.status);
    }
    let path = workspace().join(file);
    std::fs::write(&path, output.stdout).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("wrote {}", file.display());
    Ok(())
}

/// Whether `cargo NAME` is installed.
pub(crate) fn has_subcommand(name: &str) -> bool {
    program()
        .args([name, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// From now on Ctrl-C ends the programs that we run, and not us.
pub(crate) fn outlive_interrupts() -> Result<()> {
    let ignored = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, ignored).context("cannot handle Ctrl-C")?;
    Ok(())
}

fn program() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.current_dir(workspace());
    command
}
