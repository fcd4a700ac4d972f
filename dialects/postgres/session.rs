use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::contract::{Block, Error, Receipt, Session, TableName, TableSchema, TableSpec};
use crate::generic::Statement;
use crate::postgres::copy::{HEADER, Source, TRAILER};
use crate::postgres::grammar::SYNTAX;
use crate::postgres::{check, codes, describe};

/// How long the server may take to let us in.
const PATIENCE: Duration = Duration::from_secs(15);

/// Bytes that are encoded before they are sent: while the server reads them, the next are made.
const CHUNK: usize = 256 << 10;

/// What each connection begins with. A commit waits for the disk at least; a server that sees that we are gone gives up
/// what it was doing for us, where its system can tell.
const SETTINGS: &str = "
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
SELECT set_config('TimeZone', 'UTC', false)";
const WATCHFUL: &str = "SET client_connection_check_interval = '2s'";

/// DDL that lost a race against another process's is tried so often.
const RACES: usize = 10;

/// Connections, made when they are needed and kept. Each write has one of its own, so that tables do not wait for each
/// other.
pub(super) struct PostgresSession {
    options: PgConnectOptions,
    idle: Mutex<Vec<PgConnection>>,
}

impl PostgresSession {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self { options, idle: Mutex::default() }
    }

    async fn connect(&self) -> Result<PgConnection, Error> {
        let server = format!("connecting to Postgres at {}:{}", self.options.get_host(), self.options.get_port());
        let failed = |error| codes::error(&server, error);
        let connecting = async {
            let mut connection = self.options.connect().await?;
            sqlx::raw_sql(SETTINGS).execute(&mut connection).await?;
            let _ = sqlx::raw_sql(WATCHFUL).execute(&mut connection).await;
            Ok(connection)
        };
        match tokio::time::timeout(PATIENCE, connecting).await {
            Ok(connected) => connected.map_err(failed),
            Err(_) => Err(failed(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))),
        }
    }

    /// Runs `work` on a connection of its own. A call that fails or is dropped half-way leaves no transaction open: the
    /// connection is kept only when it is known to be clean.
    async fn with<T>(&self, work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Error>) -> Result<T, Error> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle().pop();
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let result = work(&mut connection).await;
        if result.is_ok() {
            idle().push(connection);
        } else {
            // The server rolls back when the connection ends.
            let _ = connection.close_hard().await;
        }
        result
    }
}

#[async_trait]
impl Session for PostgresSession {
    fn parallel_writes(&self) -> usize {
        1
    }

    async fn server(&self) -> Result<String, Error> {
        self.with(async |connection| {
            let version = sqlx::query_scalar::<_, String>("SELECT current_setting('server_version')");
            let version = version.fetch_one(connection).await.map_err(|error| codes::error("asking Postgres", error))?;
            Ok(format!("PostgreSQL {version}"))
        })
        .await
    }

    async fn describe(&self, table: &TableName) -> Result<Option<TableSchema>, Error> {
        self.with(async |connection| describe::describe(connection, table).await).await
    }

    async fn check(&self, table: &TableSchema) -> Result<Vec<Error>, Error> {
        self.with(async |connection| check::write(connection, table).await).await
    }

    async fn check_create(&self, table: &TableSpec) -> Result<Vec<Error>, Error> {
        self.with(async |connection| check::create(connection, table).await).await
    }

    async fn execute(&self, statement: &str) -> Result<(), Error> {
        let statement = Statement::ddl(statement);
        let mut races = 0;
        loop {
            let done = self
                .with(async |connection| {
                    let done = sqlx::raw_sql(&statement).execute(connection).await;
                    done.map(drop).map_err(|error| codes::error("running DDL", error))
                })
                .await;
            match done {
                Err(error) if codes::is_race(&error) && races < RACES => races += 1,
                done => return done,
            }
        }
    }

    async fn write(&self, block: &Block) -> Result<Receipt, Error> {
        if block.rows == 0 {
            return Ok(Receipt::default());
        }
        let source = Source::new(block)?;
        let doing = format!("writing table `{}`", block.layout.table.name);
        let failed = |error| codes::error(&doing, error);
        self.with(async |connection| {
            sqlx::raw_sql("BEGIN").execute(&mut *connection).await.map_err(failed)?;
            let bytes = insert(connection, block, &source).await?;
            sqlx::raw_sql("COMMIT").execute(connection).await.map_err(failed)?;
            Ok(Receipt { rows: block.rows, bytes })
        })
        .await
    }
}

/// Inserts a block, within a transaction. Returns the bytes that were sent.
async fn insert(connection: &mut PgConnection, block: &Block, source: &Source<'_>) -> Result<usize, Error> {
    let table = &block.layout.table.name;
    let doing = format!("writing table `{table}`");
    let failed = |error| codes::error(&doing, error);
    let mut bytes = 0;
    let mut out = Vec::with_capacity(CHUNK + CHUNK / 4);
    for group in source.groups(|field| field.target.default.fills_in()) {
        let fields = source.given(&group);
        if fields.is_empty() {
            // `COPY` needs a column.
            let statement = SYNTAX.insert(table, &[], 1);
            for _ in source.rows(&group) {
                sqlx::query(&statement).execute(&mut *connection).await.map_err(failed)?;
            }
            continue;
        }
        let names: Vec<_> = fields.iter().map(|field| SYNTAX.identifier(&field.target.name)).collect();
        let statement =
            format!("COPY {} ({}) FROM STDIN (FORMAT BINARY)", SYNTAX.table(table), names.join(", "));
        let mut copying = connection.copy_in_raw(&statement).await.map_err(failed)?;
        out.extend_from_slice(HEADER);
        for row in source.rows(&group) {
            if let Err(error) = source.put_row(&mut out, row, &fields) {
                let _ = copying.abort("a value that Postgres does not take").await;
                return Err(error);
            }
            if out.len() >= CHUNK {
                bytes += out.len();
                copying.send(out.as_slice()).await.map_err(failed)?;
                out.clear();
            }
        }
        out.extend_from_slice(&TRAILER);
        bytes += out.len();
        copying.send(out.as_slice()).await.map_err(failed)?;
        out.clear();
        copying.finish().await.map_err(failed)?;
    }
    Ok(bytes)
}
