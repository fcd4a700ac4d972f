//! Progress, in the table `rowfall_offsets`.

use std::sync::LazyLock;

use sqlx::sqlite::SqliteConnection;
use sqlx::{Executor as _, Row as _, SqlSafeStr as _};

use crate::contract::{Advice, Error, Partition, Progress, Resumed};
use crate::generic::{self, Offsets};
use crate::sqlite::codes;
use crate::sqlite::grammar::SYNTAX;

const CREATE: &str = include_str!("../../migrations/sqlite/0001_offsets.sql");

static OFFSETS: LazyLock<Offsets> = LazyLock::new(|| SYNTAX.offsets());

/// Moves the partitions on, in the transaction that is open. When it answers false they are there already, nothing is
/// left to write, and the transaction is over.
pub(super) async fn advance(connection: &mut SqliteConnection, progress: &Progress) -> Result<bool, Error> {
    let failed = |error| failed(&progress.pipeline, error);
    for step in &progress.moves {
        let moved = sqlx::query(&OFFSETS.swap)
            .bind(step.to)
            .bind(&progress.pipeline)
            .bind(&step.partition.topic)
            .bind(step.partition.partition)
            .bind(step.epoch)
            .bind(step.from)
            .execute(&mut *connection);
        if moved.await.map_err(failed)?.rows_affected() != 1 {
            // What was moved before this one must not be taken for an earlier attempt's.
            sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await.map_err(failed)?;
            let mut found = Vec::new();
            for step in &progress.moves {
                found.push(read(connection, &progress.pipeline, &step.partition).await?);
            }
            return generic::settled(progress, &found).map(|()| false);
        }
    }
    Ok(true)
}

/// Takes the partitions over, in the transaction that is open.
pub(super) async fn resume(
    connection: &mut SqliteConnection,
    pipeline: &str,
    partitions: &[Partition],
) -> Result<Vec<Resumed>, Error> {
    let failed = |error| failed(pipeline, error);
    sqlx::raw_sql(CREATE).execute(&mut *connection).await.map_err(failed)?;
    let mut resumed = Vec::new();
    for partition in partitions {
        let raising = sqlx::query(&OFFSETS.raise).bind(pipeline).bind(&partition.topic).bind(partition.partition);
        raising.execute(&mut *connection).await.map_err(failed)?;
        let row = read(connection, pipeline, partition).await?;
        resumed.push(row.ok_or_else(|| Error::pause("`rowfall_offsets` does not keep what is written into it"))?);
    }
    Ok(resumed)
}

async fn read(
    connection: &mut SqliteConnection,
    pipeline: &str,
    partition: &Partition,
) -> Result<Option<Resumed>, Error> {
    let reading = sqlx::query(&OFFSETS.read).bind(pipeline).bind(&partition.topic).bind(partition.partition);
    let row = reading.fetch_optional(&mut *connection).await.map_err(|error| failed(pipeline, error))?;
    let resumed = row.map(|row| Ok(Resumed { epoch: row.try_get(0)?, next: row.try_get(1)? })).transpose();
    resumed.map_err(|error| failed(pipeline, error))
}

/// Whether the table, where it is there, is the one that is meant.
pub(super) async fn check(connection: &mut SqliteConnection) -> Result<Option<Error>, sqlx::Error> {
    const IS_THERE: &str = "SELECT EXISTS (SELECT 1 FROM pragma_table_list('rowfall_offsets') WHERE schema = 'main')";
    if !sqlx::query_scalar::<_, bool>(IS_THERE).fetch_one(&mut *connection).await? {
        return Ok(None);
    }
    for statement in [&OFFSETS.raise, &OFFSETS.read, &OFFSETS.swap] {
        if let Err(error) = connection.prepare(statement.into_sql_str()).await {
            let error = codes::error("`rowfall_offsets` is not the table in which rowfall keeps its progress", error);
            return Ok(Some(
                Error { advice: Advice::Pause, ..error }.with_hint("give that table or view another name"),
            ));
        }
    }
    Ok(None)
}

fn failed(pipeline: &str, error: sqlx::Error) -> Error {
    let error = codes::error(&format!("keeping the progress of pipeline `{pipeline}` in `rowfall_offsets`"), error);
    match error.advice {
        // It is no table that a new description could mend.
        Advice::Refresh | Advice::Split => Error { advice: Advice::Pause, ..error },
        _ => error,
    }
}
