//! ClickHouse, over HTTP.
//!
//! - `types`: column types, in ClickHouse's words, in rowfall's and on the wire; `type_text` reads their syntax,
//!   `type_names` has those of new columns
//! - `grammar`: quoting; `create` has CREATE TABLE, `engines` what each engine promises
//! - `address`: what a `clickhouse://` URL says
//! - `native`: a block of columns as `FORMAT Native`, in chunks; `streams` takes nested columns apart, `chunk` holds
//!   the bytes
//! - `codes`: what to do about each of the server's exceptions
//! - `settings`: what every insert sets
//! - `server`: how a server is asked, and what its failures mean; `describe`, `check` and `cluster` are questions to it
//! - `session`: what the pipeline asks of a dialect
//!
//! An insert is one HTTP request that carries one Native block. ClickHouse keeps such a block whole or not at all as
//! long as it touches one partition.

mod address;
mod check;
mod chunk;
mod cluster;
mod codes;
mod create;
mod describe;
mod engines;
mod grammar;
mod native;
mod server;
mod session;
mod settings;
mod streams;
mod type_names;
mod type_text;
mod types;

use std::sync::Arc;

use crate::contract::{Block, Connection, Error, Target};

/// A session for `clickhouse://user:password@host:port/database` (TLS: `clickhouses://`). Sends nothing yet.
///
/// The port is 8123 (TLS: 8443) and the database `default` where the URL does not say. Its query parameters are
/// settings for every statement, as in `?max_partitions_per_insert_block=500`.
///
/// # Errors
/// For a URL that lacks a host, and for settings that rowfall sets itself, named.
pub fn connect(target: &Target) -> Result<Connection, Error> {
    let session = server::ClickHouse::new(target)?;
    Ok(Connection { grammar: Arc::new(grammar::ClickHouse), session: Arc::new(session) })
}

/// The bytes of a block as an insert sends it, uncompressed: chunks of about `chunk_size` bytes, handed to `send` one
/// after the other in a buffer that is used again. It needs no server, so that the encoding can be measured alone.
///
/// # Errors
/// When the block breaks the contract, as an insert of it would be refused.
pub fn encode(block: &Block, chunk_size: usize, mut send: impl FnMut(&[u8])) -> Result<(), Error> {
    let mut encoder = native::Encoder::new(block, chunk_size)?;
    let mut chunk = Vec::with_capacity(chunk_size);
    while encoder.next_chunk(&mut chunk) {
        send(&chunk);
    }
    Ok(())
}
