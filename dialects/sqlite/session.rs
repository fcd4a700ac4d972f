use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use tokio::sync::Mutex;

use crate::contract::{
    Advice, Block, ColumnDefault, Ddl, Error, Intent, Progress, Receipt, Session, TableColumn, TableName, TableSchema,
};
use crate::generic::Statement;
use crate::sqlite::codes;
use crate::sqlite::grammar::{SYNTAX, is_main, no_schema};
use crate::sqlite::types;
use crate::sqlite::values::Source;

/// How long a statement waits for another process's lock before it is told to the pipeline.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Each cached statement holds up to 32,766 parameters, some megabytes: enough for the tables of one pipeline.
const CACHED_STATEMENTS: usize = 8;

const TABLE: &str = "SELECT name, type, wr, strict FROM pragma_table_list(?1) WHERE schema = 'main'";

/// A default of NULL says what no default says.
const COLUMNS: &str = r#"
SELECT name, type, "notnull", coalesce(upper(dflt_value) <> 'NULL', FALSE) AS has_default, pk, hidden,
       count(*) FILTER (WHERE pk > 0) OVER () AS key_columns,
       EXISTS (SELECT 1 FROM pragma_index_list(?1, 'main') WHERE origin = 'pk') AS key_index
FROM pragma_table_xinfo(?1, 'main') ORDER BY cid"#;

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

    /// Runs `work` on the writing connection. A call that fails or is dropped half-way leaves no transaction open: the
    /// connection goes back only when it is known to be clean.
    async fn with_writer<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut slot = self.writer.lock().await;
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => self.open_writer().await?,
        };
        let result = work(&mut connection).await;
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
        if let Some(schema) = table.schema.as_deref().filter(|schema| !is_main(schema)) {
            return Err(
                Error::pause(format!("table `{table}`: {}", no_schema(schema))).with_hint("leave the schema out")
            );
        }
        let refuse = |what: &str| {
            Err(Error::pause(format!("`{table}` is {what}, which takes no rows")).with_hint("name a table"))
        };
        if table.name.get(..7).is_some_and(|prefix| prefix.eq_ignore_ascii_case("sqlite_")) {
            return refuse("SQLite's own");
        }
        let Some(mut connection) = self.reader().await? else { return Ok(None) };
        let failed = |error| codes::error(&format!("describing table `{table}`"), error);
        let found = sqlx::query(TABLE).bind(&table.name).fetch_optional(&mut connection).await.map_err(failed)?;
        let Some(found) = found else { return Ok(None) };
        let name: String = found.try_get("name").map_err(failed)?;
        let kind = match found.try_get("type").map_err(failed)? {
            "table" => match (found.try_get("strict").map_err(failed)?, found.try_get("wr").map_err(failed)?) {
                (true, false) => "strict table",
                (true, true) => "strict table without rowid",
                (false, true) => "table without rowid",
                (false, false) => "table",
            },
            other => return refuse(&format!("a {other}{}", if other == "view" { "" } else { " table" })),
        };
        let rows = sqlx::query(COLUMNS).bind(&name).fetch_all(&mut connection).await.map_err(failed)?;
        let _ = connection.close().await;
        let columns = rows.iter().map(column).collect::<Result<_, _>>().map_err(failed)?;
        let name = TableName { schema: Some("main".into()), name };
        Ok(Some(TableSchema::new(name, kind, columns)))
    }

    async fn check(&self, intent: Intent<'_>) -> Result<Vec<Error>, Error> {
        // A change that is rolled back: SQLite itself says whether it may write the file and keep its journal beside it.
        // (Opening the file in another way to find out would lose the locks that this process holds on it.)
        const TRY: &str = "PRAGMA busy_timeout = 0; BEGIN; PRAGMA user_version = 1; ROLLBACK";
        let doing = match intent {
            Intent::Write { table, .. } => format!("writing table `{}`", table.name),
            Intent::Create(spec) => format!("creating table `{}`", spec.name),
        };
        let tried = match self.reader().await {
            Ok(None) => Ok(()),
            Ok(Some(mut connection)) => {
                let tried = sqlx::raw_sql(TRY).execute(&mut connection).await;
                let _ = connection.close().await;
                tried.map(drop).map_err(|error| codes::error(&doing, error))
            }
            Err(error) => Err(error),
        };
        match tried {
            // Somebody else's lock is no problem.
            Err(error) if error.advice != Advice::Retry => Ok(vec![error]),
            Ok(()) | Err(_) => Ok(Vec::new()),
        }
    }

    async fn execute(&self, ddl: &Ddl) -> Result<(), Error> {
        self.with_writer(async |connection| {
            for statement in &ddl.statements {
                let statement = Statement::ddl(statement);
                let done = sqlx::query(&statement).persistent(false).execute(&mut *connection).await;
                done.map_err(|error| self.error("running DDL in", error))?;
            }
            Ok(())
        })
        .await
    }

    async fn write(&self, blocks: &[&Block], progress: Option<&Progress>) -> Result<Receipt, Error> {
        debug_assert!(progress.is_none(), "it is not transactional yet");
        let mut written = Receipt::default();
        for block in blocks.iter().filter(|block| block.rows > 0) {
            let source = Source::new(block)?;
            written += self.with_writer(async |connection| insert(connection, block, &source).await).await?;
        }
        Ok(written)
    }
}

/// Inserts a block in one transaction.
async fn insert(connection: &mut SqliteConnection, block: &Block, source: &Source<'_>) -> Result<Receipt, Error> {
    let table = &block.layout.table.name;
    let doing = format!("writing table `{table}`");
    let failed = |error| codes::error(&doing, error);
    let mut receipt = Receipt { rows: block.rows, bytes: 0 };
    // IMMEDIATE: the lock is waited for here, not lost half-way to another writer.
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *connection).await.map_err(failed)?;
    for (rows, given) in source.runs() {
        let names = source.names(&given);
        let full_size = SYNTAX.rows_per_insert(names.len());
        let full = (rows.len() >= full_size).then(|| SYNTAX.insert(table, &names, full_size));
        let next = |start: usize| source.chunk(start..rows.end.min(start + full_size), &given);
        let mut start = rows.start;
        let mut chunk = next(start)?;
        loop {
            start += chunk.rows;
            receipt.bytes += chunk.bytes;
            let odd;
            let (statement, is_full) = match &full {
                Some(full) if chunk.rows == full_size => (full, true),
                _ => {
                    odd = SYNTAX.insert(table, &names, chunk.rows);
                    (&odd, false)
                }
            };
            let inserting = sqlx::query_with(statement, chunk.arguments).persistent(is_full).execute(&mut *connection);
            if start == rows.end {
                inserting.await.map_err(failed)?;
                break;
            }
            // SQLite works on its own thread: meanwhile the next parameters are made here.
            let (inserted, following) = tokio::join!(biased; inserting, async { next(start) });
            inserted.map_err(failed)?;
            chunk = following?;
        }
    }
    sqlx::raw_sql("COMMIT").execute(&mut *connection).await.map_err(failed)?;
    Ok(receipt)
}

fn column(row: &sqlx::sqlite::SqliteRow) -> Result<TableColumn, sqlx::Error> {
    let type_text: String = row.try_get("type")?;
    let hidden: i64 = row.try_get("hidden")?;
    let key: i64 = row.try_get("pk")?;
    let key_columns: i64 = row.try_get("key_columns")?;
    let key_index: bool = row.try_get("key_index")?;
    // A key of one column without an index is the row's number itself: SQLite makes one up where none is given, for
    // null too, which would not be what the record says.
    let is_row_number = key == 1 && key_columns == 1 && !key_index;
    let default = match (hidden, row.try_get("has_default")?) {
        (2 | 3, _) => ColumnDefault::Generated,
        (_, true) => ColumnDefault::Expression,
        (_, false) if is_row_number => ColumnDefault::Expression,
        (_, false) => ColumnDefault::None,
    };
    let nullable = !row.try_get::<bool, _>("notnull")? && !is_row_number;
    let value = types::parse(&type_text).map(|declared| types::value(declared.logical, nullable)).map_err(|why| why.0);
    Ok(TableColumn { name: row.try_get("name")?, type_text, value, default })
}
