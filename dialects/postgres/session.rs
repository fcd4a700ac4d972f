use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::contract::{
    Advice, Block, Ddl, Error, Intent, Layout, Partition, Progress, Receipt, Resumed, Session, TableName, TableSchema,
};
use crate::failpoint;
use crate::generic::{Statement, answered, answered_at_once};
use crate::postgres::copy::Source;
use crate::postgres::{check, codes, describe, offsets, write};

/// What each connection begins with. A commit waits for the disk at least. What nobody has set elsewhere sees to it that a
/// connection that is cut off does not hold its locks for longer than others wait for an answer, and that a lock of
/// somebody else's is told as one.
const SETTINGS: &str = "
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
SELECT set_config('TimeZone', 'UTC', false);
SELECT set_config(name, given.value, false)
FROM pg_catalog.pg_settings JOIN (VALUES
    ('lock_timeout', '30s'), ('idle_in_transaction_session_timeout', '60s'), ('transaction_timeout', '10min'),
    ('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'), ('tcp_keepalives_count', '3')
) AS given (name, value) USING (name) WHERE source = 'default'";

/// A server that sees that we are gone gives up what it was doing for us, where its system can tell.
const WATCHFUL: &str = "SET client_connection_check_interval = '2s'";

/// A change of a large table takes as long as it takes.
const NO_HURRY: &str = "
SELECT set_config(name, '0', true) FROM pg_catalog.pg_settings WHERE name = 'transaction_timeout'";

/// What lost a race against another process's DDL is tried so often.
const RACES: usize = 10;

/// Connections, made when they are needed and kept. Each write has one of its own, so that tables do not wait for each
/// other.
pub(super) struct PostgresSession {
    options: PgConnectOptions,
    /// So many new rows do not need a `COPY`.
    few: usize,
    idle: Mutex<Vec<PgConnection>>,
}

impl PostgresSession {
    pub(super) fn new(options: PgConnectOptions, few: usize) -> Self {
        Self { options, few, idle: Mutex::default() }
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
        answered(connecting).await.map_err(failed)
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
        match &result {
            Ok(_) => idle().push(connection),
            Err(error) => {
                // The server rolls back when the connection ends.
                let _ = answered_at_once(connection.close_hard()).await;
                if error.advice == Advice::Retry {
                    // What ended this one may have ended those, too, and each would be waited for.
                    idle().clear();
                }
            }
        }
        result
    }

    /// Runs `work` in a transaction in which these tables stay as they are. It may end the transaction itself: then it
    /// answers `None`.
    async fn with_transaction<T>(
        &self,
        doing: &str,
        tables: &[&Layout],
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        self.with(async |connection| {
            write::begin(connection, tables, doing).await?;
            let done = work(connection).await?;
            if done.is_some() {
                failpoint::at("sent");
                let committed = answered(sqlx::raw_sql("COMMIT").execute(connection)).await;
                committed.map_err(|error| codes::error(doing, error))?;
            }
            Ok(done)
        })
        .await
    }
}

#[async_trait]
impl Session for PostgresSession {
    async fn server(&self) -> Result<String, Error> {
        self.with(async |connection| {
            let version = sqlx::query_scalar::<_, String>("SELECT current_setting('server_version')");
            let version = answered(version.fetch_one(connection))
                .await
                .map_err(|error| codes::error("asking Postgres", error))?;
            Ok(format!("PostgreSQL {version}"))
        })
        .await
    }

    async fn describe(&self, table: &TableName) -> Result<Option<TableSchema>, Error> {
        self.with(async |connection| describe::describe(connection, table).await).await
    }

    async fn check(&self, intent: Intent<'_>) -> Result<Vec<Error>, Error> {
        self.with(async |connection| match intent {
            Intent::Write { table, keyed, cluster: _ } => check::write(connection, table, keyed).await,
            Intent::Create(table) => check::create(connection, table).await,
            Intent::Deduplicate { .. } => Ok(Vec::new()),
        })
        .await
    }

    async fn execute(&self, ddl: &Ddl) -> Result<(), Error> {
        let doing = format!("running DDL for table `{}`", ddl.table);
        let mut races = 0;
        loop {
            let done = self.with_transaction(&doing, &[], async |connection| {
                let unhurried = answered(sqlx::raw_sql(NO_HURRY).execute(&mut *connection)).await;
                unhurried.map_err(|error| codes::error(&doing, error))?;
                for statement in &ddl.statements {
                    let done = sqlx::raw_sql(&Statement::ddl(statement)).execute(&mut *connection).await;
                    done.map_err(|error| codes::error(&doing, error))?;
                }
                Ok(Some(()))
            });
            match done.await {
                Err(error) if codes::is_race(&error) && races < RACES => races += 1,
                done => return done.map(drop),
            }
        }
    }

    async fn write(&self, blocks: &[&Block], progress: Option<&Progress>) -> Result<Receipt, Error> {
        let blocks = blocks.iter().filter(|block| block.rows > 0);
        let sources = blocks.map(|block| Source::new(block)).collect::<Result<Vec<_>, _>>()?;
        if sources.is_empty() && progress.is_none() {
            return Ok(Receipt::default());
        }
        let tables: Vec<_> = sources.iter().map(|source| &*source.block.layout).collect();
        let names: Vec<_> = tables.iter().map(|layout| format!("`{}`", layout.table.name)).collect();
        let doing = format!("writing {} {}", if names.len() == 1 { "table" } else { "tables" }, names.join(", "));
        let written = self.with_transaction(&doing, &tables, async |connection| {
            if let Some(progress) = progress
                && !offsets::advance(connection, progress).await?
            {
                return Ok(None);
            }
            let mut receipt = Receipt::default();
            for source in &sources {
                receipt += write::write(connection, source, self.few).await?;
            }
            Ok(Some(receipt))
        });
        // What an earlier attempt wrote is acknowledged now.
        let rows = sources.iter().map(|source| source.block.rows).sum();
        Ok(written.await?.unwrap_or(Receipt { rows, bytes: 0 }))
    }

    async fn resume(&self, pipeline: &str, partitions: &[Partition]) -> Result<Vec<Resumed>, Error> {
        let doing = format!("taking over the partitions of pipeline `{pipeline}`");
        let mut races = 0;
        loop {
            let resumed = self.with_transaction(&doing, &[], async |connection| {
                offsets::resume(connection, pipeline, partitions).await.map(Some)
            });
            match resumed.await {
                Err(error) if codes::is_race(&error) && races < RACES => races += 1,
                resumed => return resumed.map(Option::unwrap_or_default),
            }
        }
    }
}
