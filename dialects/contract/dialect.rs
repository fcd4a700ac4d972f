use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use url::Url;

use crate::contract::{Block, Error, LogicalType, Refusal, Storage, TableName, TableSchema, TableSpec, ValueType};

/// The pure half of a dialect: texts in, texts out, no I/O.
pub trait Grammar: Send + Sync {
    /// The database's name as its users write it, for messages.
    fn name(&self) -> &'static str;

    /// An identifier in the database's quotes, whatever characters it holds.
    fn quote(&self, identifier: &str) -> String;

    /// The column type that a new table gets for values of this type, without nullability.
    ///
    /// # Errors
    /// When the database has no type that holds every such value exactly.
    fn column_type(&self, logical: &LogicalType) -> Result<String, Refusal>;

    /// Reads a column type in the database's own words.
    ///
    /// # Errors
    /// When rowfall cannot write it, with the reason.
    fn parse_type(&self, text: &str) -> Result<ValueType, Refusal>;

    /// Whether a column of this type can be created so that it takes null.
    fn takes_null(&self, type_text: &str) -> bool {
        let _ = type_text;
        true
    }

    /// What a table promises of the rows that it acknowledged, where that is less than to keep each of them as it was
    /// written; for people. `kind` is what [`TableSchema::kind`](crate::contract::TableSchema::kind) says, or the
    /// engine of a table to be created, with or without its arguments.
    fn promise(&self, kind: &str) -> Option<&'static str> {
        let _ = kind;
        None
    }

    /// The statements that create a table, in order. Each is harmless when the table is there already.
    ///
    /// # Errors
    /// When the database cannot keep such a table.
    fn create_table(&self, table: &TableSpec) -> Result<Vec<String>, Refusal>;
}

/// The half of a dialect that talks to the database. One session serves all tables and may hold a pool.
#[async_trait]
pub trait Session: Send + Sync {
    /// How many writes to one table may be under way at once. 1 keeps the rows of a table in the order in which they
    /// were read.
    fn parallel_writes(&self) -> usize;

    /// The server's product and version, for messages; also the proof that it answers and lets us in.
    async fn server(&self) -> Result<String, Error>;

    /// The table as it is now, or `None` when it does not exist.
    ///
    /// # Errors
    /// Also when something of that name exists but cannot be inserted into (a view), named.
    async fn describe(&self, table: &TableName) -> Result<Option<TableSchema>, Error>;

    /// What would keep this user from writing the table, found without writing: missing rights, read-only servers.
    /// Each problem is an error with a hint. Empty when nothing stands in the way.
    async fn check(&self, table: &TableSchema) -> Result<Vec<Error>, Error>;

    /// What would keep this user from creating the table, found without creating it; as [`Session::check`].
    async fn check_create(&self, table: &TableSpec) -> Result<Vec<Error>, Error> {
        let _ = table;
        Ok(Vec::new())
    }

    /// Waits until every server of the cluster has the table as it was described here: DDL for a cluster may be
    /// acknowledged before. Returns at once where the storage names no cluster.
    ///
    /// # Errors
    /// After `patience`, naming a server that lacks the table or a column; when no server can be asked about others.
    async fn everywhere(&self, table: &TableSchema, storage: &Storage, patience: Duration) -> Result<(), Error> {
        let _ = (table, storage, patience);
        Ok(())
    }

    /// Runs one DDL statement.
    async fn execute(&self, statement: &str) -> Result<(), Error>;

    /// Writes a block. When it returns `Ok`, the database has promised to keep all its rows; when it returns an error,
    /// it may hold all, none or (where an insert is not atomic) some of them.
    ///
    /// May be called from several tasks at once, up to [`Session::parallel_writes`] for one table.
    async fn write(&self, block: &Block) -> Result<Receipt, Error>;
}

/// What a write did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Rows that the database acknowledged.
    pub rows: usize,
    /// Bytes that were encoded for it, before compression.
    pub bytes: usize,
}

/// Where rows go.
#[derive(Clone)]
pub struct Target {
    /// `clickhouse://user:password@host:port/database`, `sqlite://path`, …
    pub url: Url,
    /// How a dialect that can compress what it sends should do so.
    pub compression: Compression,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The URL without its password.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.url.clone();
        if url.password().is_some() {
            // Fails only for URLs that cannot have a password.
            let _ = url.set_password(Some("***"));
        }
        f.write_str(url.as_str())
    }
}

/// Compression of what is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Off on loopback, LZ4 elsewhere.
    #[default]
    Auto,
    /// Off.
    None,
    /// LZ4.
    Lz4,
}

/// A connected dialect.
#[derive(Clone)]
pub struct Connection {
    /// Its pure half.
    pub grammar: Arc<dyn Grammar>,
    /// Its I/O half.
    pub session: Arc<dyn Session>,
}
