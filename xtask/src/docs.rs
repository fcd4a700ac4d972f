//! The pages that the program itself writes, so that they cannot disagree with it.

use std::path::Path;

use anyhow::Result;

use crate::cargo::{cargo, cargo_into};

/// Arguments of `rowfall`, and the page that its output becomes.
const GENERATED: &[(&[&str], &str)] = &[(&["schema", "--reference"], "docs/configuration.md")];

pub(crate) fn write() -> Result<()> {
    for (args, file) in GENERATED {
        let command = ["run", "--quiet", "--bin", "rowfall", "--"];
        cargo_into(command.iter().chain(*args).copied(), Path::new(file))?;
    }
    cargo(["doc", "--workspace", "--no-deps"], &[])
}
