use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use url::{Position, Url};

use crate::contract::{Block, Change, Error, LogicalType, Refusal, TableName, TableSchema, TableSpec, ValueType};

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

    /// What creates a table; harmless when the table is there already.
    ///
    /// # Errors
    /// When the database cannot keep such a table.
    fn create_table(&self, table: &TableSpec) -> Result<Ddl, Refusal>;

    /// What changes a table that is there; harmless where it was changed like that already. `cluster`: the one whose
    /// servers all have the table, where the database has such.
    ///
    /// # Errors
    /// When the database cannot change it like that and keep every value; by default it changes nothing.
    fn alter_table(&self, table: &TableSchema, changes: &[Change], cluster: Option<&str>) -> Result<Ddl, Refusal> {
        let _ = (changes, cluster);
        Err(Refusal(format!("rowfall cannot alter tables of {} (here {})", self.name(), table.name)))
    }
}

/// The half of a dialect that talks to the database. One session serves all tables and may hold a pool.
#[async_trait]
pub trait Session: Send + Sync {
    /// The server's product and version, for messages; also the proof that it answers and lets us in.
    async fn server(&self) -> Result<String, Error>;

    /// The table as it is now, or `None` when it does not exist.
    ///
    /// # Errors
    /// Also when something of that name exists but cannot be inserted into (a view), named.
    async fn describe(&self, table: &TableName) -> Result<Option<TableSchema>, Error>;

    /// What would keep this user from doing it, found without doing it: missing rights, read-only servers, servers of a
    /// cluster that lack the table. Each problem is an error with a hint. Empty when nothing stands in the way.
    async fn check(&self, intent: Intent<'_>) -> Result<Vec<Error>, Error>;

    /// Runs the statements in order, and returns when every server that may be written to has the table as they leave
    /// it: DDL for a cluster may be acknowledged before. Without a statement it waits for that alone.
    async fn execute(&self, ddl: &Ddl) -> Result<(), Error>;

    /// Writes blocks, of several tables or one, in this order. When it returns `Ok`, the database has promised to keep
    /// all of it; when it returns an error, it may hold all, none or (where that is not atomic) some of it.
    ///
    /// With `progress`, which only a dialect with [transactions](ExactlyOnce::Transactions) is given, rows and progress are
    /// one transaction: either all of it is there or nothing. It fails with [`Advice::Fenced`] when the partitions are
    /// not where the progress moves them from, or of another epoch; it succeeds without writing anything when they are
    /// already where it moves them to: then the answer of an earlier attempt was lost.
    ///
    /// May be called from several tasks at once, up to [`TableSchema::parallel`] for one table. A session may spread
    /// writes over several hosts: one that failed is written to another when it is tried again.
    ///
    /// [`Advice::Fenced`]: crate::contract::Advice::Fenced
    async fn write(&self, blocks: &[&Block], progress: Option<&Progress>) -> Result<Receipt, Error>;

    /// How the block has to be cut so that [`Session::write`] can take it: each piece as its rows, ascending, and
    /// together all rows once. `None`, which costs nothing, as long as no write into that table has failed with
    /// [`Advice::Cut`](crate::contract::Advice::Cut).
    ///
    /// The same block is cut in the same way while the database's limits stay as they are. Whoever cuts writes each
    /// piece until it is written, and none twice.
    async fn cut(&self, block: &Block) -> Result<Option<Vec<Vec<u32>>>, Error> {
        let _ = block;
        Ok(None)
    }

    /// Takes partitions over for this pipeline: raises the epoch of each, so that whoever owned it before is fenced, and
    /// answers in the same order from where it goes on. Makes the table that keeps this where it is missing.
    ///
    /// # Errors
    /// Also when the dialect has no [transactions](ExactlyOnce::Transactions).
    async fn resume(&self, pipeline: &str, partitions: &[Partition]) -> Result<Vec<Resumed>, Error> {
        let _ = partitions;
        Err(Error::pause(format!("this database keeps no progress of pipeline {pipeline}")))
    }
}

/// What a session is to see whether it may do.
#[derive(Clone, Copy, Debug)]
pub enum Intent<'a> {
    /// To write into a table that is there.
    Write {
        /// The table as it was described.
        table: &'a TableSchema,
        /// Whether stored rows will be changed and deleted too.
        keyed: bool,
        /// The cluster whose servers all should have it, where the route names one.
        cluster: Option<&'a str>,
    },
    /// To create a table, and write into it then.
    Create(&'a TableSpec),
    /// To have a table drop the blocks that come again under their [tokens](crate::contract::Token). Asked only of a dialect with
    /// [tokens](ExactlyOnce::Tokens).
    Deduplicate {
        /// The table as it was described.
        table: &'a TableSchema,
        /// How many other blocks may be written before one comes again.
        blocks: u64,
        /// How long it may take until it comes again.
        within: Duration,
    },
}

/// Statements that make a table what it shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ddl {
    /// The table.
    pub table: TableName,
    /// In order.
    pub statements: Vec<String>,
    /// The cluster whose servers all get it.
    pub cluster: Option<String>,
    /// What people should know of the result: what it cannot be that was asked for, what it does not promise.
    pub notes: Vec<String>,
    /// A table to be created as it will be described, where that is more than [`TableSpec::described`] tells.
    pub described: Option<Box<TableSchema>>,
}

impl Ddl {
    /// These statements for this table, of which there is nothing else to say.
    #[must_use]
    pub fn new(table: TableName, statements: Vec<String>) -> Self {
        Self { table, statements, cluster: None, notes: Vec::new(), described: None }
    }
}

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// The topic as the pipeline calls it: ASCII, at most 272 characters.
    pub topic: String,
    /// Its number.
    pub partition: i32,
}

/// How far rows that are written together take the partitions that they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Whose progress: `name` in the configuration.
    pub pipeline: String,
    /// Each partition once.
    pub moves: Vec<Move>,
}

/// One partition's part of a [`Progress`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The partition.
    pub partition: Partition,
    /// The epoch in which this process owns it, from [`Resumed`].
    pub epoch: i64,
    /// The next offset before; `None` where nothing of it was written yet.
    pub from: Option<i64>,
    /// The next offset behind.
    pub to: i64,
}

/// Where a partition goes on that was taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// The epoch, higher than any before.
    pub epoch: i64,
    /// The next offset; `None` where nothing of it was written yet.
    pub next: Option<i64>,
}

/// What a write did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Rows that the database acknowledged.
    pub rows: usize,
    /// Bytes that were encoded for it, before compression.
    pub bytes: usize,
}

impl std::ops::AddAssign for Receipt {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.bytes += other.bytes;
    }
}

/// Where rows go.
#[derive(Clone)]
pub struct Target {
    /// `clickhouse://user:password@host:port/database`, `sqlite://path`, …
    pub url: Url,
    /// The same for each further host of `clickhouse://user:password@host:port,host:port/database`.
    pub others: Vec<Url>,
    /// How a dialect that can compress what it sends should do so.
    pub compression: Compression,
}

impl Target {
    /// A target with one host, or none.
    #[must_use]
    pub fn new(url: Url, compression: Compression) -> Self {
        Self { url, others: Vec::new(), compression }
    }

    /// Reads a URL, of ClickHouse with one host or several, with commas between.
    ///
    /// # Errors
    /// When it is no URL, for one of its hosts.
    pub fn parse(text: &str, compression: Compression) -> Result<Self, url::ParseError> {
        let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| scheme.starts_with("clickhouse")) else {
            return Ok(Self::new(Url::parse(text)?, compression));
        };
        let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        let entry = authority.rfind('@').map_or(0, |at| at + 1);
        let of_host = |host: &str| {
            if host.is_empty() && authority.contains(',') {
                return Err(url::ParseError::EmptyHost);
            }
            Url::parse(&format!("{scheme}://{}{host}{}", &rest[..entry], &rest[authority.len()..]))
        };
        let mut urls = authority[entry..].split(',').map(of_host).collect::<Result<Vec<_>, _>>()?.into_iter();
        let url = urls.next().ok_or(url::ParseError::EmptyHost)?;
        Ok(Self { url, others: urls.collect(), compression })
    }
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
        f.write_str(&url[..Position::AfterPort])?;
        for other in &self.others {
            write!(f, ",{}", &other[Position::BeforeHost..Position::AfterPort])?;
        }
        f.write_str(&url[Position::AfterPort..])
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
    /// ZSTD: fewer bytes than LZ4 for more CPU on both sides.
    Zstd,
}

/// A connected dialect.
#[derive(Clone)]
pub struct Connection {
    /// Its pure half.
    pub grammar: Arc<dyn Grammar>,
    /// Its I/O half.
    pub session: Arc<dyn Session>,
    /// How it keeps rows from being there twice, where it can.
    pub exactly_once: Option<ExactlyOnce>,
}

impl Connection {
    /// Whether it writes rows and progress in one transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.exactly_once == Some(ExactlyOnce::Transactions)
    }
}

/// How a database keeps rows from being there twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExactlyOnce {
    /// It writes blocks of several tables, and progress with them, in one transaction.
    Transactions,
    /// It drops what it has already under the [token](crate::contract::Token) of a block, for as long as it remembers that.
    Tokens,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Target, url::ParseError> {
        Target::parse(text, Compression::Auto)
    }

    #[test]
    fn several_hosts_share_everything_else() {
        let target = parse("clickhouse://app:a,b@one:8123,two,[::1]:9/shop?x=1").unwrap();
        assert_eq!(target.url.as_str(), "clickhouse://app:a,b@one:8123/shop?x=1");
        let others: Vec<_> = target.others.iter().map(Url::as_str).collect();
        assert_eq!(others, ["clickhouse://app:a,b@two/shop?x=1", "clickhouse://app:a,b@[::1]:9/shop?x=1"]);
        assert_eq!(target.to_string(), "clickhouse://app:***@one:8123,two,[::1]:9/shop?x=1");
    }

    #[test]
    fn one_host_is_as_it_was() {
        for text in ["clickhouse://h:8123/shop", "clickhouses://u@h", "sqlite://a,b.db", "clickhouse:///shop"] {
            let target = parse(text).unwrap();
            assert_eq!((target.url.as_str(), target.others.len(), target.to_string().as_str()), (text, 0, text));
        }
    }

    #[test]
    fn a_host_that_is_none_is_refused() {
        for text in ["clickhouse://one,/shop", "clickhouse://,two", "clickhouse://one:x,two", "clickhouse://one,t wo"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
