//! Progress, in the table `rowfall_offsets`: in the first schema of the search path. All partitions go in one statement.

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use crate::contract::{Advice, Error, Partition, Progress, Resumed};
use crate::generic::{self, answered};
use crate::postgres::codes;

const CREATE: &str = include_str!("../../migrations/postgres/0001_offsets.sql");

/// `CREATE TABLE` asks for the right to create also where the table is there.
const IS_THERE: &str = "SELECT pg_catalog.to_regclass('rowfall_offsets') IS NOT NULL";

const SWAP: &str = "
UPDATE rowfall_offsets AS stored SET next_offset = given.next, updated_at = now()
FROM unnest($2::text[], $3::integer[], $4::bigint[], $5::bigint[], $6::bigint[])
    AS given (topic, partition, epoch, before, next)
WHERE stored.pipeline = $1 AND stored.topic = given.topic AND stored.partition = given.partition
    AND stored.epoch = given.epoch AND stored.next_offset IS NOT DISTINCT FROM given.before";

const RAISE: &str = "
INSERT INTO rowfall_offsets AS stored (pipeline, topic, partition, epoch, updated_at)
SELECT $1, given.topic, given.partition, 1, now() FROM unnest($2::text[], $3::integer[]) AS given (topic, partition)
ON CONFLICT (pipeline, topic, partition) DO UPDATE SET epoch = stored.epoch + 1, updated_at = now()";

const READ: &str = "
SELECT stored.epoch, stored.next_offset
FROM unnest($2::text[], $3::integer[]) WITH ORDINALITY AS given (topic, partition, place)
LEFT JOIN rowfall_offsets AS stored
    ON stored.pipeline = $1 AND stored.topic = given.topic AND stored.partition = given.partition
ORDER BY given.place";

/// Moves the partitions on, in the transaction that is open. When it answers false they are there already, nothing is
/// left to write, and the transaction is over.
pub(super) async fn advance(connection: &mut PgConnection, progress: &Progress) -> Result<bool, Error> {
    let failed = |error| failed(&progress.pipeline, error);
    let moves = &progress.moves;
    let moved = sqlx::query(SWAP)
        .bind(&progress.pipeline)
        .bind(moves.iter().map(|step| step.partition.topic.as_str()).collect::<Vec<_>>())
        .bind(moves.iter().map(|step| step.partition.partition).collect::<Vec<_>>())
        .bind(moves.iter().map(|step| step.epoch).collect::<Vec<_>>())
        .bind(moves.iter().map(|step| step.from).collect::<Vec<_>>())
        .bind(moves.iter().map(|step| step.to).collect::<Vec<_>>())
        .execute(&mut *connection);
    if answered(moved).await.map_err(failed)?.rows_affected() == moves.len() as u64 {
        return Ok(true);
    }
    // What was moved must not be taken for an earlier attempt's.
    answered(sqlx::raw_sql("ROLLBACK").execute(&mut *connection)).await.map_err(failed)?;
    let found = read(connection, &progress.pipeline, moves.iter().map(|step| &step.partition)).await?;
    generic::settled(progress, &found).map(|()| false)
}

/// Takes the partitions over, in the transaction that is open.
pub(super) async fn resume(
    connection: &mut PgConnection,
    pipeline: &str,
    partitions: &[Partition],
) -> Result<Vec<Resumed>, Error> {
    let failed = |error| failed(pipeline, error);
    if !answered(sqlx::query_scalar::<_, bool>(IS_THERE).fetch_one(&mut *connection)).await.map_err(failed)? {
        answered(sqlx::raw_sql(CREATE).execute(&mut *connection)).await.map_err(failed)?;
    }
    let (topics, numbers) = columns(partitions.iter());
    let raising = sqlx::query(RAISE).bind(pipeline).bind(topics).bind(numbers);
    answered(raising.execute(&mut *connection)).await.map_err(failed)?;
    let found = read(connection, pipeline, partitions.iter()).await?;
    let gone = || Error::pause("`rowfall_offsets` does not keep what is written into it");
    found.into_iter().map(|found| found.ok_or_else(gone)).collect()
}

/// Where each partition is.
async fn read(
    connection: &mut PgConnection,
    pipeline: &str,
    partitions: impl Iterator<Item = &Partition>,
) -> Result<Vec<Option<Resumed>>, Error> {
    let failed = |error| failed(pipeline, error);
    let (topics, numbers) = columns(partitions);
    let reading = sqlx::query(READ).bind(pipeline).bind(topics).bind(numbers);
    let rows = answered(reading.fetch_all(connection)).await.map_err(failed)?;
    let resumed = |row: &sqlx::postgres::PgRow| {
        let epoch: Option<i64> = row.try_get(0)?;
        let next = row.try_get(1)?;
        Ok(epoch.map(|epoch| Resumed { epoch, next }))
    };
    rows.iter().map(resumed).collect::<Result<_, _>>().map_err(failed)
}

fn columns<'a>(partitions: impl Iterator<Item = &'a Partition>) -> (Vec<&'a str>, Vec<i32>) {
    partitions.map(|partition| (partition.topic.as_str(), partition.partition)).unzip()
}

fn failed(pipeline: &str, error: sqlx::Error) -> Error {
    let error = codes::error(&format!("keeping the progress of pipeline `{pipeline}` in `rowfall_offsets`"), error);
    match error.advice {
        // It is no table that a new description could mend.
        Advice::Refresh | Advice::Split => Error { advice: Advice::Pause, ..error },
        _ => error,
    }
}
