//! The configuration: a file and flags, read once into [`Settings`].
//!
//! ```text
//! rowfall.yaml ── tree ── overrides ── interpolate ── typed ── check ──▶ Settings
//!                 keys    the flags,   ${env:…}       raw      what must be there
//!                 and     --set                       types    and what fits together
//!                 places
//! ```
//!
//! A value keeps its place in the file, or in the flag that it came from, up to the last check, so that every error
//! underlines what it is about. What is wrong is reported all at once. The raw types are the reference:
//! `docs/configuration.md` and the JSON Schema are made of them.

mod check;
mod error;
mod interpolate;
mod mask;
mod not_yet;
mod overrides;
mod raw;
mod reference;
mod routes;
mod scalars;
mod settings;
mod template;
#[cfg(test)]
mod tests;
mod tree;
mod typed;

use std::path::Path;

pub use error::ConfigError;
pub use reference::{json_schema, reference_markdown};
pub use routes::{Routes, Rule};
pub use settings::{
    Absent, BatchLimits, ColumnSettings, Delivery, Envelope, Evolve, Flatten, Format, HeaderColumn, KafkaSettings,
    KeySource, Mode, Nested, NullPolicy, Overrides, RegistryAccess, RegistrySettings, Route, Settings, StartFrom, Unit,
    UnknownFields,
};
pub use template::{Piece, TableTemplate};

use error::{Place, Problem};
use interpolate::Environment;
use tree::Node;

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "rowfall.yaml";

/// Reads the file and the flags and checks them. Nothing else is touched: neither Kafka nor the database is asked.
///
/// Without `file`, `rowfall.yaml` in the working directory is read, unless one of `brokers`, `topics` and `to` makes a
/// file needless.
///
/// # Errors
/// For everything that is wrong, each with its place in the file or in the flag.
pub fn load(overrides: &Overrides) -> Result<Settings, ConfigError> {
    let tree = match &overrides.file {
        Some(file) => read(file)?,
        None if overrides.replace_file() => Node::null(Place::whole("command line", "")),
        None => read(Path::new(DEFAULT_FILE))?,
    };
    let passed_over = overrides.file.is_none() && overrides.replace_file() && Path::new(DEFAULT_FILE).exists();
    settings(tree, overrides, &|name| std::env::var_os(name)).map_err(|error| match passed_over {
        true => {
            error.with_note("with --brokers, --topic or --to a file is read only when it is named: -c rowfall.yaml")
        }
        false => error,
    })
}

fn settings(mut tree: Node, overrides: &Overrides, environment: Environment<'_>) -> Result<Settings, ConfigError> {
    let mut problems = Vec::new();
    tree.expand_columns();
    overrides::apply(overrides, &mut tree, &mut problems);
    tree.expand_columns();
    interpolate::interpolate(&mut tree, environment, &mut problems);
    let raw = typed::read(tree.clone(), &mut problems);
    // What was refused is missing from the raw configuration: checking it would find errors that are none.
    if problems.is_empty() {
        match check::check(raw, &tree, overrides) {
            Ok(settings) => return Ok(settings),
            Err(found) => problems = found,
        }
    }
    Err(ConfigError::new(problems).unwrap_or_else(|| Problem::new("the configuration cannot be used").into()))
}

fn read(file: &Path) -> Result<Node, ConfigError> {
    let name = file.display().to_string();
    let yaml = std::fs::read_to_string(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Problem::new(format!("there is no file `{name}`")).help(
            "name a file with -c, or do without: rowfall run --brokers localhost:9092 --topic orders --to sqlite://orders.db",
        ),
        std::io::ErrorKind::InvalidData => Problem::new(format!("the file `{name}` is not valid UTF-8")),
        _ => Problem::new(format!("the file `{name}` cannot be read: {error}")),
    })?;
    Ok(Node::parse(&yaml, &Place::whole(&name, &yaml))?)
}
