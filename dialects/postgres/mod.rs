//! Postgres, 15 and newer: one transaction per write, rows by `COPY … (FORMAT BINARY)`.
//!
//! - `address`: the target's URL
//! - `grammar`: its texts; `types`: its column types and ours; `codes`: its error codes and the pipeline's advice
//! - `session`, `describe`, `check`: connections, transactions, the catalog
//! - `write`: a block as statements; `offsets`: progress
//! - `copy`, `numeric`: a block's values in the binary form, straight from its columns
//!
//! **Durability.** What was acknowledged is on the server's disk: a session with `synchronous_commit = off` sets it on.
//! An unlogged table is emptied when the server crashes; its description says so.
//!
//! **Order.** The rows of a table are written one transaction after the other. All blocks of a write and the progress
//! that comes with them are one transaction.
//!
//! **Keys.** Rows are changed by the primary key or a unique index of whole columns that take no null. Keys of floats,
//! addresses and JSON are none: the server finds values equal there that are written differently; nor are keys of a
//! collation that is not deterministic.

mod address;
mod check;
mod codes;
mod copy;
mod describe;
mod grammar;
mod numeric;
mod offsets;
mod session;
mod types;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::contract::{Connection, Error, ExactlyOnce, Target};
use grammar::PostgresGrammar;
use session::PostgresSession;

/// Connects to the server and database that the URL names: `postgres://user:password@host:port/database`. What it
/// leaves out comes from `PGHOST` and its like, as in other programs.
///
/// # Errors
/// For a URL that says what cannot be, or what is not known.
pub fn connect(target: &Target) -> Result<Connection, Error> {
    let options = address::options(&target.url)?;
    Ok(Connection {
        grammar: Arc::new(PostgresGrammar),
        session: Arc::new(PostgresSession::new(options, write::ROWS)),
        exactly_once: Some(ExactlyOnce::Transactions),
    })
}
