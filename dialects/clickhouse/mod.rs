//! ClickHouse, over HTTP.
//!
//! - `types`: column types, in ClickHouse's words, in rowfall's and on the wire; `type_text` reads their syntax,
//!   `type_names` has those of new columns
//! - `grammar`: quoting; `create` has CREATE TABLE, `alter` ALTER TABLE with `widening` for what a type may become;
//!   `engines` has what each engine promises, `engine_text` takes one apart
//! - `upserts`: how rows of a key become one, by engine; `hazards` what could undo it; `ops` what a block's operations
//!   are to be written as
//! - `address`: what a `clickhouse://` URL says
//! - `native`: a block of columns as `FORMAT Native`, in chunks; `streams` takes nested columns apart, `chunk` holds
//!   the bytes
//! - `codes`: what to do about each of the server's exceptions
//! - `settings`: what every insert sets
//! - `server`: how a server is asked, and what its failures mean; `describe`, `check` and `cluster` are questions to it,
//!   and so is `external`, with rows to the question
//! - `hosts`: the servers of a target, and whose turn it is
//! - `cut`: which rows of a block go into one insert, where it touches too many partitions for that
//! - `again`: whether a table drops blocks that come again; `coordinates`: whether it has them, where its key tells
//! - `session`: what the pipeline asks of a dialect
//!
//! An insert is one HTTP request. ClickHouse stores its rows as one block, whole or not at all as long as they belong to
//! one partition, however many they are.

mod address;
mod again;
mod alter;
mod check;
mod chunk;
mod cluster;
mod codes;
mod coordinates;
mod create;
mod cut;
mod describe;
mod engine_text;
mod engines;
mod external;
mod grammar;
mod hazards;
mod hosts;
mod native;
mod ops;
mod server;
mod session;
mod settings;
mod streams;
mod type_names;
mod type_text;
mod types;
mod upserts;
mod widening;

use std::sync::Arc;

use crate::contract::{Block, Connection, Error, ExactlyOnce, Target};

/// A session for `clickhouse://user:password@host:port/database` (TLS: `clickhouses://`). Sends nothing yet.
///
/// Several hosts (`host:port,host:port`) share the rest of the URL. Any of them must reach the same table: replicas of
/// it, or servers with a Distributed table over it. Inserts go around those that answer.
///
/// The port is 8123 (TLS: 8443) and the database `default` where the URL does not say. Its query parameters are
/// settings for every statement, as in `?max_partitions_per_insert_block=500`.
///
/// # Errors
/// For a URL that lacks a host, and for settings that rowfall sets itself, named.
pub fn connect(target: &Target) -> Result<Connection, Error> {
    let session = hosts::Hosts::new(target)?;
    Ok(Connection {
        grammar: Arc::new(grammar::ClickHouse),
        session: Arc::new(session),
        exactly_once: Some(ExactlyOnce::Tokens),
    })
}

/// The bytes of a block as an insert sends it, uncompressed: chunks of about `chunk_size` bytes, handed to `send` one
/// after the other in a buffer that is used again. It needs no server, so that the encoding can be measured alone.
///
/// # Errors
/// When the block breaks the contract, as an insert of it would be refused.
pub fn encode(block: &Block, chunk_size: usize, mut send: impl FnMut(&[u8])) -> Result<(), Error> {
    let further = ops::Further::of(block)?;
    let mut encoder = native::Encoder::new(block, &further, chunk_size)?;
    let mut chunk = Vec::with_capacity(chunk_size);
    while encoder.next_chunk(&mut chunk) {
        send(&chunk);
    }
    Ok(())
}
