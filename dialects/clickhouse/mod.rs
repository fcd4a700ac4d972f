//! ClickHouse, over HTTP.
//!
//! - `types`: column types, in ClickHouse's words, in rowfall's and on the wire
//! - `grammar`: quoting and CREATE TABLE
//! - `address`: what a `clickhouse://` URL says
//! - `native`: a block of columns as `FORMAT Native`, in chunks
//! - `codes`: what to do about each of the server's exceptions
//! - `session`: the talk with a server; `describe` and `check` are its questions
//!
//! An insert is one HTTP request that carries one Native block. ClickHouse keeps such a block whole or not at all as
//! long as it touches one partition.

mod address;
mod check;
mod codes;
mod describe;
mod grammar;
mod native;
mod session;
mod types;

use std::sync::Arc;

use crate::contract::{Connection, Error, Target};

/// A session for `clickhouse://user:password@host:port/database` (TLS: `clickhouses://`). Sends nothing yet.
///
/// The port is 8123 (TLS: 8443) and the database `default` where the URL does not say. Its query parameters are
/// settings for every statement, as in `?max_partitions_per_insert_block=500`.
///
/// # Errors
/// For a URL that lacks a host, and for settings that rowfall sets itself, named.
pub fn connect(target: &Target) -> Result<Connection, Error> {
    let session = session::ClickHouse::new(target)?;
    Ok(Connection { grammar: Arc::new(grammar::ClickHouse), session: Arc::new(session) })
}
