//! How far a pipeline has come, kept in the database that its rows are in.

use sqlx::{MySqlConnection, Row as _};

use crate::contract::{Advice, Error, Move, Partition, Progress, Resumed};
use crate::mysql::codes;
use crate::mysql::pool::answered;

/// Idempotent, as every migration.
const CREATE: &str = include_str!("../../migrations/mysql/0001_offsets.sql");

const MISSING: &str = "SELECT count(*) = 0 FROM information_schema.tables
WHERE table_schema = database() AND table_name = 'rowfall_offsets'";

const TAKE: &str = "INSERT INTO rowfall_offsets (pipeline, topic, `partition`, epoch) VALUES (?, ?, ?, 1)
ON DUPLICATE KEY UPDATE epoch = epoch + 1";

const READ: &str = "SELECT epoch, next_offset FROM rowfall_offsets WHERE pipeline = ? AND topic = ? AND `partition` = ?";

const MOVE: &str = "UPDATE rowfall_offsets SET next_offset = ?
WHERE pipeline = ? AND topic = ? AND `partition` = ? AND epoch = ? AND next_offset <=> ?";

const DOING: &str = "keeping progress in table `rowfall_offsets`";

fn failed(error: sqlx::Error) -> Error {
    codes::error(DOING, error)
}

/// Raises the epochs in one transaction and reads where the partitions go on.
pub(super) async fn resume(
    connection: &mut MySqlConnection,
    pipeline: &str,
    partitions: &[Partition],
) -> Result<Vec<Resumed>, Error> {
    // Looked for first: who may not create tables can use one that is there.
    let missing: bool = sqlx::query_scalar(MISSING).fetch_one(&mut *connection).await.map_err(failed)?;
    if missing {
        sqlx::raw_sql(CREATE).execute(&mut *connection).await.map_err(failed)?;
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
        let (epoch, next) = read(connection, pipeline, &partitions[index]).await?.unwrap_or_default();
        resumed[index] = Resumed { epoch, next };
    }
    answered(sqlx::raw_sql("COMMIT").execute(&mut *connection)).await.map_err(failed)?;
    Ok(resumed)
}

/// Moves the partitions, in the transaction that is open: `false` when one of them is not where it is moved from.
pub(super) async fn advance(connection: &mut MySqlConnection, progress: &Progress) -> Result<bool, Error> {
    let mut moves: Vec<_> = progress.moves.iter().collect();
    moves.sort_unstable_by_key(|step| &step.partition);
    for Move { partition: Partition { topic, partition }, epoch, from, to } in moves {
        let step = sqlx::query(MOVE).bind(to).bind(&progress.pipeline).bind(topic).bind(partition).bind(epoch).bind(from);
        let done = answered(step.execute(&mut *connection)).await.map_err(failed)?;
        // Rows that were found, not only those that were changed.
        if done.rows_affected() != 1 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the partitions are where they should have been moved to: then the answer of an earlier attempt was lost. No
/// transaction is open.
///
/// # Errors
/// [`Advice::Fenced`] when they are not.
pub(super) async fn was_made(connection: &mut MySqlConnection, progress: &Progress) -> Result<(), Error> {
    for Move { partition, epoch, to, .. } in &progress.moves {
        let now = read(connection, &progress.pipeline, partition).await?;
        if now != Some((*epoch, Some(*to))) {
            let Partition { topic, partition } = partition;
            let (epoch_now, next) = now.unwrap_or_default();
            return Err(Error::new(
                Advice::Fenced,
                format!(
                    "topic {topic}, partition {partition} of pipeline {} is not this process's any more: \
                     epoch {epoch_now} at offset {next:?}, not epoch {epoch}",
                    progress.pipeline
                ),
            ));
        }
    }
    Ok(())
}

async fn read(
    connection: &mut MySqlConnection,
    pipeline: &str,
    Partition { topic, partition }: &Partition,
) -> Result<Option<(i64, Option<i64>)>, Error> {
    let read = sqlx::query(READ).bind(pipeline).bind(topic).bind(partition);
    let Some(row) = answered(read.fetch_optional(connection)).await.map_err(failed)? else { return Ok(None) };
    Ok(Some((row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?)))
}
