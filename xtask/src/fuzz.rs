//! `./x fuzz`: cargo-fuzz on the stable toolchain.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{cargo, with_servers, workspace};

const TARGETS: [&str; 3] = ["json", "avro", "native"];

/// Runs one target, or all of them, each for so many minutes. What is found lies in `fuzz/artifacts`.
pub(crate) fn run(target: Option<&str>, minutes: u64) -> Result<()> {
    ensure!(cargo::has_subcommand("fuzz"), "cargo fuzz is not installed; type `cargo install --locked cargo-fuzz`");
    ensure!(
        target.is_none_or(|target| TARGETS.contains(&target)),
        "there is no such target; there are {}",
        TARGETS.join(" and ")
    );
    for target in TARGETS.into_iter().filter(|name| target.is_none_or(|target| target == *name)) {
        let one = || fuzz(target, minutes);
        if target == "native" { with_servers(false, one)? } else { one()? }
    }
    Ok(())
}

fn fuzz(target: &str, minutes: u64) -> Result<()> {
    let seconds = format!("-max_total_time={}", minutes * 60);
    let (corpus, seeds) = (format!("fuzz/corpus/{target}"), format!("fuzz/seeds/{target}"));
    std::fs::create_dir_all(workspace().join(&corpus)).with_context(|| corpus.clone())?;
    // Not every target has some.
    let seeds = workspace().join(&seeds).is_dir().then_some(seeds);
    let status = Command::new("cargo")
        .current_dir(workspace())
        // Instrumentation is a flag of the compiler that only nightly takes otherwise.
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["fuzz", "run", "--sanitizer", "none", target, &corpus])
        .args(seeds)
        .args(["--", &seconds])
        .status()
        .context("cargo fuzz")?;
    ensure!(status.success(), "fuzzing {target} found something: see fuzz/artifacts/{target}");
    Ok(())
}
