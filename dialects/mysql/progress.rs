//! How far a pipeline has come, kept in the database that its rows are in.

use sqlx::{MySqlConnection, Row as _};

use crate::contract::{Advice, Error, Move, Partition, Progress, Resumed};
use crate::generic::{self, answered};
use crate::mysql::codes;

/// Idempotent, as every migration.
const CREATE: &str = include_str!("../../migrations/mysql/0001_offsets.sql");

const MISSING: &str = "SELECT count(*) = 0 FROM information_schema.tables
WHERE table_schema = database() AND table_name = 'rowfall_offsets'";

const TAKE: &str = "INSERT INTO rowfall_offsets (pipeline, topic, `partition`, epoch, updated_at) VALUES (?, ?, ?, 1, CURRENT_TIMESTAMP)
ON DUPLICATE KEY UPDATE epoch = epoch + 1, updated_at = CURRENT_TIMESTAMP";

const READ: &str =
    "SELECT epoch, next_offset FROM rowfall_offsets WHERE pipeline = ? AND topic = ? AND `partition` = ?";

const MOVE: &str = "UPDATE rowfall_offsets SET next_offset = ?, updated_at = CURRENT_TIMESTAMP
WHERE pipeline = ? AND topic = ? AND `partition` = ? AND epoch = ? AND next_offset <=> ?";

fn failed(error: sqlx::Error) -> Error {
    let error = codes::error("keeping progress in table `rowfall_offsets`", error);
    match error.advice {
        // It is no table that a new description could mend.
        Advice::Refresh | Advice::Split => Error { advice: Advice::Pause, ..error },
        _ => error,
    }
}

/// Raises the epochs in one transaction and reads where the partitions go on.
pub(super) async fn resume(
    connection: &mut MySqlConnection,
    pipeline: &str,
    partitions: &[Partition],
) -> Result<Vec<Resumed>, Error> {
    // Looked for first: who may not create tables can use one that is there.
    let missing: bool = answered(sqlx::query_scalar(MISSING).fetch_one(&mut *connection)).await.map_err(failed)?;
    if missing {
        answered(sqlx::raw_sql(CREATE).execute(&mut *connection)).await.map_err(failed)?;
    }
    // All who lock several rows do it in one order.
    let mut order: Vec<_> = (0..partitions.len()).collect();
    order.sort_unstable_by_key(|index| &partitions[*index]);
    let mut resumed = vec![Resumed { epoch: 0, next: None }; partitions.len()];
    answered(sqlx::raw_sql("START TRANSACTION").execute(&mut *connection)).await.map_err(failed)?;
    for index in order {
        let Partition { topic, partition } = &partitions[index];
        let take = sqlx::query(TAKE).bind(pipeline).bind(topic).bind(partition);
        answered(take.execute(&mut *connection)).await.map_err(failed)?;
        let row = read(connection, pipeline, &partitions[index]).await?;
        resumed[index] = row.ok_or_else(|| Error::pause("`rowfall_offsets` does not keep what is written into it"))?;
    }
    answered(sqlx::raw_sql("COMMIT").execute(&mut *connection)).await.map_err(failed)?;
    Ok(resumed)
}

/// Moves the partitions, in the transaction that is open: `false` when one of them is not where it is moved from.
pub(super) async fn advance(connection: &mut MySqlConnection, progress: &Progress) -> Result<bool, Error> {
    let mut moves: Vec<_> = progress.moves.iter().collect();
    moves.sort_unstable_by_key(|step| &step.partition);
    for Move { partition: Partition { topic, partition }, epoch, from, to } in moves {
        let step =
            sqlx::query(MOVE).bind(to).bind(&progress.pipeline).bind(topic).bind(partition).bind(epoch).bind(from);
        let done = answered(step.execute(&mut *connection)).await.map_err(failed)?;
        // Rows that were found, not only those that were changed.
        if done.rows_affected() != 1 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Judges partitions that are not where they are moved from, when no transaction is open any more.
///
/// # Errors
/// Unless an earlier attempt moved them, whose answer was lost.
pub(super) async fn settle(connection: &mut MySqlConnection, progress: &Progress) -> Result<(), Error> {
    let mut found = Vec::new();
    for step in &progress.moves {
        found.push(read(connection, &progress.pipeline, &step.partition).await?);
    }
    generic::settled(progress, &found)
}

async fn read(
    connection: &mut MySqlConnection,
    pipeline: &str,
    Partition { topic, partition }: &Partition,
) -> Result<Option<Resumed>, Error> {
    let read = sqlx::query(READ).bind(pipeline).bind(topic).bind(partition);
    let row = answered(read.fetch_optional(connection)).await.map_err(failed)?;
    row.map(|row| Ok(Resumed { epoch: row.try_get(0)?, next: row.try_get(1)? })).transpose().map_err(failed)
}
