//! A claim that was found: its records are read again, and written as they were to be.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rowfall_dialects::contract::Token;

use super::intake::TopicIntake;
use crate::claim::Claim;
use crate::config::KafkaSettings;
use crate::problem::Problem;
use crate::source::position::{Owned, Period, TopicPartition};
use crate::source::range;

/// What a claim is rebuilt from.
pub(super) struct Rebuild {
    pub(super) kafka: KafkaSettings,
    pub(super) topic: Arc<str>,
    pub(super) claim: Claim,
    /// Under which it was, or was to be, written.
    pub(super) token: Token,
    /// Of the claim's own: its lane tells what becomes of it.
    pub(super) intake: TopicIntake,
    pub(super) stop: Arc<AtomicBool>,
}

/// What became of it so far.
pub(super) enum Rebuilt {
    /// It goes into the database; the lane tells of it.
    Sent,
    /// None of its records is in the topic any more: compaction has replaced them all.
    Empty,
    /// Somebody said to stop.
    Stopped,
}

impl Rebuild {
    /// Reads the claim's records and has them written: the same rows for the same tables.
    ///
    /// # Errors
    /// When a record is gone, or cannot go into its table.
    pub(super) fn run(mut self) -> Result<Rebuilt, Problem> {
        let ranges: Vec<_> = self.claim.ranges.iter().map(|r| (self.partition(r.partition), r.start, r.end)).collect();
        // It is not written as this process's own: whose the partitions are means nothing here.
        let owned: Vec<_> = ranges
            .iter()
            .map(|(partition, ..)| Arc::new(Owned { partition: partition.clone(), period: Period(0), taken: None }))
            .collect();
        loop {
            let mut is_whole = true;
            let done = range::read(&self.kafka, &ranges, &self.stop, |message, value| {
                if !is_whole {
                    return Ok(());
                }
                let of = |owned: &&Arc<Owned>| owned.partition.partition == message.partition();
                let owned = owned.iter().find(of).expect("only these are read");
                let record = self.intake.record(&message, &self.topic, value);
                let place = |problem: Problem| problem.within(&format!("{} offset {}", owned.partition, record.offset));
                is_whole = self.intake.take_whole(owned, &record, &self.stop).map_err(place)?;
                Ok(())
            });
            match done? {
                false => return Ok(Rebuilt::Stopped),
                true if !is_whole => {}
                true if self.intake.write_claimed(self.token) => return Ok(Rebuilt::Sent),
                true => return Ok(Rebuilt::Empty),
            }
        }
    }

    fn partition(&self, partition: i32) -> TopicPartition {
        TopicPartition { topic: Arc::clone(&self.topic), partition }
    }
}
