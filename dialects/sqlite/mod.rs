//! SQLite: a file, one writer.
//!
//! - `grammar`: its texts; `types`: its column types and ours; `codes`: its result codes and the pipeline's advice
//! - `session`: one writing connection, a transaction per write; `describe`: tables and their keys
//! - `write`, `values`: a block as multi-row statements; `offsets`: progress
//!
//! **Durability.** A block that was acknowledged survives a crash of the process and of the machine: `synchronous` is
//! EXTRA (FULL, and where there is a rollback journal its deletion is synced too). A file that rowfall creates is in WAL
//! mode, so that readers and the writer do not wait for each other; one that exists keeps the mode that it has.
//!
//! **Order.** One write at a time, so that each sees what the one before left. All blocks of a write and the progress
//! that comes with them are one transaction.
//!
//! **Keys.** Rows are changed by the primary key or a unique index of whole columns that take no null. (The columns of a
//! primary key may take it, as SQLite has it by default: rows whose key is null are refused.) An index that takes
//! different texts for one, with NOCASE for example, is no key: rows that Kafka tells apart would become one.
//!
//! **Types** are affinities in SQLite, and what a column was declared as cannot be changed: columns can be added, and
//! what already holds the wider values is as wide as it will ever be.
//!
//! **Nothing is created** by describing and checking: the file appears with the first DDL statement.

mod codes;
mod describe;
mod grammar;
mod offsets;
mod session;
mod types;
mod values;
mod write;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use sqlx::sqlite::SqliteConnectOptions;
use url::Url;

use crate::contract::{Connection, Error, ExactlyOnce, Target};
use grammar::SqliteGrammar;
use session::{File, SqliteSession};

/// Connects to the file that the URL names, relative to the working directory (`sqlite://orders.db`,
/// `sqlite://data/orders.db`) or absolute (`sqlite:///var/lib/orders.db`). It is created when something is to be
/// written into it, unless `?mode=rw` says that it must exist.
///
/// # Errors
/// For a URL without a file (`:memory:` would lose what it acknowledged), with parameters that are not ours, or whose
/// directory does not exist.
pub async fn connect(target: &Target) -> Result<Connection, Error> {
    let file = file(&target.url)?;
    let directory = file.directory();
    if !directory.is_dir() {
        return Err(Error::pause(format!("directory `{}` of the SQLite file does not exist", directory.display()))
            .with_hint("create it, or name another file"));
    }
    if !file.create && !file.path.exists() {
        return Err(Error::pause(format!("SQLite file `{}` does not exist", file.path.display()))
            .with_hint("leave `mode=rw` out of the URL to have it created"));
    }
    Ok(Connection {
        grammar: Arc::new(SqliteGrammar),
        session: Arc::new(SqliteSession::new(file)),
        exactly_once: Some(ExactlyOnce::Transactions),
    })
}

/// Reads a URL as sqlx and most tools do: what stands between `sqlite://` and `?`, percent-decoded, is the path. For
/// the `Url` type the first part of a relative path is a host.
fn file(url: &Url) -> Result<File, Error> {
    let refuse = |why: &str| Error::pause(format!("SQLite URL `{url}`: {why}"));
    let text = url.as_str();
    let text = text.strip_prefix("sqlite:").unwrap_or(text);
    let text = text.strip_prefix("//").unwrap_or(text);
    let path = text.split('?').next().unwrap_or_default();
    let in_memory = || refuse("a database in memory would lose what it acknowledged").with_hint("name a file");
    if path == ":memory:" {
        return Err(in_memory());
    }
    let mut create = true;
    for (key, value) in url.query_pairs() {
        match (key.as_ref(), value.as_ref()) {
            ("mode", "rwc") => create = true,
            ("mode", "rw") => create = false,
            ("mode", "memory") => return Err(in_memory()),
            _ => return Err(refuse(&format!("`{key}={value}` is not possible")).with_hint("use mode=rw or nothing")),
        }
    }
    let options = SqliteConnectOptions::from_str(&format!("sqlite://{path}"))
        .map_err(|error| refuse("the path cannot be read").with_source(error))?;
    let path = options.get_filename();
    match path.to_str() {
        None | Some("") => {
            Err(refuse("it names no file").with_hint("use sqlite://orders.db or sqlite:///srv/orders.db"))
        }
        Some(":memory:") => Err(in_memory()),
        // SQLite would read the rest as a URI of its own, with parameters.
        Some(text) if text.starts_with("file:") || text.contains('\0') => {
            Err(refuse("SQLite opens no file of that name"))
        }
        Some(_) => Ok(File { path: path.to_owned(), create }),
    }
}

impl File {
    fn directory(&self) -> &Path {
        match self.path.parent() {
            None => &self.path,
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
        }
    }
}
