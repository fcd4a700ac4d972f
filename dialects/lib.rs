//! The database side of rowfall. It knows tables and column batches and nothing of Kafka.
//!
//! - [`contract`]: what flows (types, columns, blocks, table schemas) and the two halves of a dialect
//! - [`clickhouse`], [`mysql`], [`postgres`], [`sqlite`]: the dialects, each with the same file names: `grammar`,
//!   `session`, and what is its own
//! - [`generic`]: what the SQL dialects share
//! - [`connect`]: from a URL to a connected dialect

pub mod clickhouse;
pub mod conformance;
mod connect;
pub mod contract;
#[doc(hidden)]
pub mod failpoint;
pub mod generic;
pub mod mysql;
pub mod postgres;
pub mod sqlite;

pub use connect::connect;
