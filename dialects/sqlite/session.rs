use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::Mutex;

use crate::contract::{
    Advice, Block, Ddl, Error, Intent, Partition, Progress, Receipt, Resumed, Session, TableName, TableSchema,
};
use crate::failpoint;
use crate::generic::Statement;
use crate::sqlite::values::Source;
use crate::sqlite::{codes, describe, offsets, write};

/// How long a statement waits for another process's lock before it is told to the pipeline.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Each cached statement holds up to 32,766 parameters, some megabytes: enough for the tables of one pipeline and
/// the statements of `rowfall_offsets`.
const CACHED_STATEMENTS: usize = 12;

/// The file that a target names.
pub(super) struct File {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Whether it is created when it is missing and something is to be written.
    pub(super) create: bool,
}

/// One writing connection, which all writes and DDL take in turn; reads open their own, so that they neither wait for a
/// long write nor see half of it.
pub(super) struct SqliteSession {
    file: File,
    writer: Mutex<Option<SqliteConnection>>,
}

impl SqliteSession {
    pub(super) fn new(file: File) -> Self {
        Self { file, writer: Mutex::new(None) }
    }

    fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(&self.file.path)
            .busy_timeout(BUSY_TIMEOUT)
            .synchronous(SqliteSynchronous::Extra)
            .statement_cache_capacity(CACHED_STATEMENTS)
            .disable_statement_logging()
    }

    /// A connection of its own to read with, or `None` while there is no file.
    async fn reader(&self) -> Result<Option<SqliteConnection>, Error> {
        if !self.file.path.exists() {
            return Ok(None);
        }
        self.options().connect().await.map(Some).map_err(|error| self.error("opening", error))
    }

    async fn open_writer(&self) -> Result<SqliteConnection, Error> {
        let opening = |error| self.error("opening", error);
        let options = self.options().create_if_missing(self.file.create);
        let mut connection = options.connect().await.map_err(opening)?;
        let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut connection).await.map_err(opening)?;
        if pages == 0 {
            // Where the file system cannot, the mode stays what it is, and every promise holds all the same.
            sqlx::raw_sql("PRAGMA journal_mode = WAL").execute(&mut connection).await.map_err(opening)?;
        }
        Ok(connection)
    }

    /// Runs `work` in a transaction on the writing connection, and commits it unless `work` answers that it has ended
    /// it. A call that fails or is dropped half-way leaves no transaction open: the connection goes back only when it is
    /// known to be clean.
    async fn with_transaction<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let mut slot = self.writer.lock().await;
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => self.open_writer().await?,
        };
        let result = async {
            // IMMEDIATE: the lock is waited for here, not lost half-way to another writer.
            let begun = sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await;
            begun.map_err(|error| self.error("writing", error))?;
            let done = work(&mut connection).await?;
            if done.is_some() {
                failpoint::at("sent");
                let committed = sqlx::raw_sql("COMMIT").execute(&mut connection).await;
                committed.map_err(|error| self.error("writing", error))?;
            }
            Ok(done)
        };
        let result = result.await;
        if result.is_ok() || sqlx::raw_sql("ROLLBACK").execute(&mut connection).await.is_ok() {
            *slot = Some(connection);
        } else {
            // SQLite rolls back by itself after some errors, and when a connection is closed.
            let _ = connection.close().await;
        }
        result
    }

    fn error(&self, doing: &str, error: sqlx::Error) -> Error {
        codes::error(&format!("{doing} SQLite file `{}`", self.file.path.display()), error)
    }
}

#[async_trait]
impl Session for SqliteSession {
    async fn server(&self) -> Result<String, Error> {
        let reading = |error| self.error("reading", error);
        let version: String = match self.reader().await? {
            // Reads the file's header, so that another kind of file is found out.
            Some(mut connection) => {
                sqlx::query_scalar("SELECT sqlite_version() FROM (SELECT count(*) FROM sqlite_schema)")
                    .fetch_one(&mut connection)
                    .await
                    .map_err(reading)?
            }
            None => {
                let mut connection = SqliteConnectOptions::new().in_memory(true).connect().await.map_err(reading)?;
                sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut connection).await.map_err(reading)?
            }
        };
        Ok(format!("SQLite {version}"))
    }

    async fn describe(&self, table: &TableName) -> Result<Option<TableSchema>, Error> {
        describe::refuse_name(table)?;
        let Some(mut connection) = self.reader().await? else { return Ok(None) };
        let described = describe::describe(&mut connection, table).await;
        let _ = connection.close().await;
        described
    }

    async fn check(&self, intent: Intent<'_>) -> Result<Vec<Error>, Error> {
        // A change that is rolled back: SQLite itself says whether it may write the file and keep its journal beside it.
        // (Opening the file in another way to find out would lose the locks that this process holds on it.)
        const TRY: &str = "PRAGMA busy_timeout = 0; BEGIN; PRAGMA user_version = 1; ROLLBACK";
        let doing = match intent {
            Intent::Write { table, .. } => format!("writing table `{}`", table.name),
            Intent::Create(spec) => format!("creating table `{}`", spec.name),
            Intent::Deduplicate { .. } => return Ok(Vec::new()),
        };
        let tried = match self.reader().await {
            Ok(None) => Ok(None),
            Ok(Some(mut connection)) => {
                let tried = sqlx::raw_sql(TRY).execute(&mut connection).await;
                let offsets = offsets::check(&mut connection).await;
                let _ = connection.close().await;
                tried.and(offsets).map_err(|error| codes::error(&doing, error))
            }
            Err(error) => Err(error),
        };
        match tried {
            Ok(problem) => Ok(problem.into_iter().collect()),
            // Somebody else's lock is no problem.
            Err(error) if error.advice == Advice::Retry => Ok(Vec::new()),
            Err(error) => Ok(vec![error]),
        }
    }

    async fn execute(&self, ddl: &Ddl) -> Result<(), Error> {
        self.with_transaction(async |connection| {
            for statement in &ddl.statements {
                let done = sqlx::query(&Statement::ddl(statement)).persistent(false).execute(&mut *connection).await;
                if let Err(error) = done {
                    // ADD COLUMN knows no IF NOT EXISTS.
                    if !(statement.starts_with("ALTER TABLE ") && codes::is_there_already(&error)) {
                        return Err(self.error("running DDL in", error));
                    }
                }
            }
            Ok(Some(()))
        })
        .await
        .map(drop)
    }

    async fn write(&self, blocks: &[&Block], progress: Option<&Progress>) -> Result<Receipt, Error> {
        let blocks = blocks.iter().filter(|block| block.rows > 0);
        let sources = blocks.map(|block| Source::new(block)).collect::<Result<Vec<_>, _>>()?;
        if sources.is_empty() && progress.is_none() {
            return Ok(Receipt::default());
        }
        let written = self.with_transaction(async |connection| {
            if let Some(progress) = progress
                && !offsets::advance(connection, progress).await?
            {
                return Ok(None);
            }
            let mut receipt = Receipt::default();
            for source in &sources {
                receipt += write::write(connection, source).await?;
            }
            Ok(Some(receipt))
        });
        // What an earlier attempt wrote is acknowledged now.
        let rows = sources.iter().map(|source| source.block.rows).sum();
        Ok(written.await?.unwrap_or(Receipt { rows, bytes: 0 }))
    }

    async fn resume(&self, pipeline: &str, partitions: &[Partition]) -> Result<Vec<Resumed>, Error> {
        let resumed =
            self.with_transaction(async |connection| offsets::resume(connection, pipeline, partitions).await.map(Some));
        resumed.await.map(Option::unwrap_or_default)
    }
}
