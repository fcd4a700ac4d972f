use crate::contract::{Advice, Error, Progress, Resumed};
use crate::generic::{Statement, Syntax};

/// The statements that keep progress in the table `rowfall_offsets`. Its parameters are in the order in which they
/// are named.
#[derive(Clone, Debug)]
pub struct Offsets {
    /// pipeline, topic, partition: takes the partition over, adding its row where there is none.
    pub raise: Statement,
    /// pipeline, topic, partition → epoch, `next_offset`.
    pub read: Statement,
    /// to, pipeline, topic, partition, epoch, from: moves the partition on. Where it does not concern exactly one row,
    /// the partition is not where it is moved from: end the transaction without a trace, read all partitions and have
    /// [`settled`] judge.
    pub swap: Statement,
}

impl Syntax {
    /// The statements for progress, where an upsert is written with `ON CONFLICT`.
    #[must_use]
    pub fn offsets(&self) -> Offsets {
        let [table, pipeline, topic, partition, epoch, next_offset, updated_at] =
            ["rowfall_offsets", "pipeline", "topic", "partition", "epoch", "next_offset", "updated_at"]
                .map(|name| self.identifier(name));
        let row = format!("{pipeline} = ? AND {topic} = ? AND {partition} = ?");
        let raise = format!(
            "INSERT INTO {table} ({pipeline}, {topic}, {partition}, {epoch}, {updated_at}) \
             VALUES (?, ?, ?, 1, CURRENT_TIMESTAMP) ON CONFLICT ({pipeline}, {topic}, {partition}) \
             DO UPDATE SET {epoch} = {table}.{epoch} + 1, {updated_at} = excluded.{updated_at}"
        );
        let read = format!("SELECT {epoch}, {next_offset} FROM {table} WHERE {row}");
        let swap = format!(
            "UPDATE {table} SET {next_offset} = ?, {updated_at} = CURRENT_TIMESTAMP \
             WHERE {row} AND {epoch} = ? AND {next_offset} {} ?",
            self.same
        );
        Offsets { raise: self.parameters(&raise), read: self.parameters(&read), swap: self.parameters(&swap) }
    }
}

/// Judges partitions that are not where a progress moves them from; `found`: where each is, in the order of its moves,
/// read outside the transaction that failed to move them.
///
/// # Errors
/// With [`Advice::Fenced`], unless all are already where it moves them to, in the epochs in which it does: then an
/// earlier attempt was committed, rows and all, and nothing is left to do.
pub fn settled(progress: &Progress, found: &[Option<Resumed>]) -> Result<(), Error> {
    for (index, step) in progress.moves.iter().enumerate() {
        let found = found.get(index).copied().flatten();
        if found == Some(Resumed { epoch: step.epoch, next: Some(step.to) }) {
            continue;
        }
        let at = |next: Option<i64>| next.map_or_else(|| "its beginning".to_owned(), |next| format!("offset {next}"));
        let why = match found {
            None => "its row in `rowfall_offsets` is gone".to_owned(),
            Some(found) if found.epoch != step.epoch => {
                format!("it was taken over (epoch {} here, {} there)", step.epoch, found.epoch)
            }
            Some(found) => format!("it is at {}, not at {}", at(found.next), at(step.from)),
        };
        let (topic, partition) = (&step.partition.topic, step.partition.partition);
        let message = format!("partition {partition} of topic `{topic}` cannot be moved on: {why}");
        return Err(Error::new(Advice::Fenced, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::contract::{Move, Partition};
    use crate::generic::tests::SQL;

    #[test]
    fn progress_is_kept_by_compare_and_swap() {
        let Offsets { raise, read, swap } = SQL.offsets();
        assert_snapshot!(raise.as_str(), @r#"INSERT INTO "rowfall_offsets" ("pipeline", "topic", "partition", "epoch", "updated_at") VALUES (?, ?, ?, 1, CURRENT_TIMESTAMP) ON CONFLICT ("pipeline", "topic", "partition") DO UPDATE SET "epoch" = "rowfall_offsets"."epoch" + 1, "updated_at" = excluded."updated_at""#);
        assert_snapshot!(read.as_str(), @r#"SELECT "epoch", "next_offset" FROM "rowfall_offsets" WHERE "pipeline" = ? AND "topic" = ? AND "partition" = ?"#);
        assert_snapshot!(swap.as_str(), @r#"UPDATE "rowfall_offsets" SET "next_offset" = ?, "updated_at" = CURRENT_TIMESTAMP WHERE "pipeline" = ? AND "topic" = ? AND "partition" = ? AND "epoch" = ? AND "next_offset" IS NOT DISTINCT FROM ?"#);
        let other = Syntax { quote: '`', numbered: true, same: "<=>", ..SQL };
        assert_snapshot!(other.offsets().swap.as_str(), @"UPDATE `rowfall_offsets` SET `next_offset` = $1, `updated_at` = CURRENT_TIMESTAMP WHERE `pipeline` = $2 AND `topic` = $3 AND `partition` = $4 AND `epoch` = $5 AND `next_offset` <=> $6");
    }

    #[test]
    fn only_a_lost_answer_is_no_failure() {
        let step = |partition, epoch, from, to| Move {
            partition: Partition { topic: "orders".into(), partition },
            epoch,
            from,
            to,
        };
        let progress = Progress { pipeline: "shop".into(), moves: vec![step(0, 3, None, 10), step(1, 3, Some(5), 7)] };
        let at = |epoch, next| Some(Resumed { epoch, next });
        let judge = |one| settled(&progress, &[at(3, Some(10)), one]);
        assert!(judge(at(3, Some(7))).is_ok());
        let refusal = |one| {
            let error = judge(one).unwrap_err();
            assert_eq!(error.advice, Advice::Fenced);
            error.to_string()
        };
        assert_snapshot!(refusal(at(3, Some(6))), @"partition 1 of topic `orders` cannot be moved on: it is at offset 6, not at offset 5");
        assert_snapshot!(refusal(at(3, None)), @"partition 1 of topic `orders` cannot be moved on: it is at its beginning, not at offset 5");
        assert_snapshot!(refusal(at(4, Some(7))), @"partition 1 of topic `orders` cannot be moved on: it was taken over (epoch 3 here, 4 there)");
        assert_snapshot!(refusal(None), @"partition 1 of topic `orders` cannot be moved on: its row in `rowfall_offsets` is gone");
    }
}
