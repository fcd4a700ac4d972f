//! With exactly-once: how far a lane's units take their partitions, from where the units before have taken them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rowfall_dialects::contract::{Move, Progress};

use crate::source::position::{Period, Span, TopicPartition};

/// Of each partition of a lane, where its last unit ended. A lane writes one unit at a time, and a partition belongs to
/// one lane: nobody else moves it while it is ours.
#[derive(Debug)]
pub(super) struct Moves {
    pipeline: Arc<str>,
    moved: Mutex<HashMap<TopicPartition, (Period, i64)>>,
}

impl Moves {
    pub(super) fn new(pipeline: Arc<str>) -> Self {
        Self { pipeline, moved: Mutex::default() }
    }

    /// What a unit with these spans moves. It moves from where the unit before ended, whatever the offset of its first
    /// record: there may be a gap between them.
    pub(super) fn of(&self, spans: &[Span]) -> Progress {
        let moved = self.moved.lock().expect("no panic while held");
        let mut moves: Vec<_> = spans
            .iter()
            .map(|Span { owned, end, .. }| {
                let taken = owned.taken.as_ref().expect("with exactly-once what is read was taken over");
                let before = moved.get(&owned.partition).filter(|(period, _)| *period == owned.period);
                let from = before.map_or(taken.next, |(_, offset)| Some(*offset));
                Move { partition: taken.partition.clone(), epoch: taken.epoch, from, to: end.0 }
            })
            .collect();
        // In one order for all, so that two transactions never wait for each other.
        moves.sort_unstable_by(|a, b| a.partition.cmp(&b.partition));
        Progress { pipeline: self.pipeline.to_string(), moves }
    }

    /// These are in the database.
    pub(super) fn done(&self, spans: &[Span]) {
        let mut moved = self.moved.lock().expect("no panic while held");
        moved.extend(spans.iter().map(|span| (span.owned.partition.clone(), (span.owned.period, span.end.0))));
    }
}

#[cfg(test)]
mod tests {
    use rowfall_dialects::contract::Partition;

    use super::*;
    use crate::source::position::{Offset, Owned, Taken};

    fn span(partition: i32, period: u64, next: Option<i64>, start: i64, end: i64) -> Span {
        let name = Partition { topic: "t@id".into(), partition };
        let taken = Taken { partition: name, epoch: i64::try_from(period).unwrap() + 10, next };
        let partition = TopicPartition { topic: "t".into(), partition };
        let owned = Arc::new(Owned { partition, period: Period(period), taken: Some(taken) });
        Span { owned, start: Offset(start), end: Offset(end) }
    }

    fn moved(moves: &Moves, spans: &[Span]) -> Vec<(i32, i64, Option<i64>, i64)> {
        let progress = moves.of(spans);
        assert_eq!(progress.pipeline, "shop");
        progress.moves.iter().map(|m| (m.partition.partition, m.epoch, m.from, m.to)).collect()
    }

    #[test]
    fn a_unit_moves_from_where_the_one_before_ended() {
        let moves = Moves::new("shop".into());
        let first = [span(1, 2, Some(90), 95, 100), span(0, 1, None, 7, 20)];
        assert_eq!(moved(&moves, &first), [(0, 11, None, 20), (1, 12, Some(90), 100)]);
        assert_eq!(moved(&moves, &first), [(0, 11, None, 20), (1, 12, Some(90), 100)], "it is tried again");
        moves.done(&first);
        // Behind a gap.
        assert_eq!(moved(&moves, &[span(1, 2, Some(90), 120, 130)]), [(1, 12, Some(100), 130)]);
        assert_eq!(moved(&moves, &[span(0, 1, None, 20, 30)]), [(0, 11, Some(20), 30)]);
        // Taken over again: what was moved before says nothing.
        assert_eq!(moved(&moves, &[span(1, 3, Some(115), 115, 130)]), [(1, 13, Some(115), 130)]);
    }
}
