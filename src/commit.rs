//! Which offsets may be committed: everything before them is in the database. Nothing skips a failure.

use std::collections::{BTreeMap, VecDeque};

use crate::source::position::{Offset, Owned, Period, Span, TopicPartition};

/// One watermark per owned partition.
#[derive(Debug, Default)]
pub struct Watermarks {
    partitions: BTreeMap<TopicPartition, Watermark>,
}

#[derive(Debug)]
struct Watermark {
    period: Period,
    /// Closed and not yet committable, in the order of the partition: where each ends, and what became of it.
    pending: VecDeque<(Offset, Fate)>,
    /// Everything before it is written.
    written: Option<Offset>,
    /// What the group was told last.
    told: Option<Offset>,
}

/// What became of a span that was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Written,
    Refused,
}

impl Watermarks {
    /// Begins a period of owning a partition whose committed offset is this.
    pub fn own(&mut self, owned: &Owned, committed: Option<Offset>) {
        let watermark =
            Watermark { period: owned.period, pending: VecDeque::new(), written: committed, told: committed };
        self.partitions.insert(owned.partition.clone(), watermark);
    }

    /// Ends it: whatever is reported of it later is thrown away.
    pub fn release(&mut self, partition: &TopicPartition) {
        self.partitions.remove(partition);
    }

    /// These spans were closed, and will be written together. Each partition's spans must be told in its order.
    pub fn closed(&mut self, spans: &[Span]) {
        for span in spans {
            if let Some(watermark) = self.of(&span.owned) {
                watermark.pending.push_back((span.end, Fate::Open));
            }
        }
    }

    /// These spans are in the database, or hold nothing.
    pub fn written(&mut self, spans: &[Span]) {
        for span in spans {
            let Some(watermark) = self.of(&span.owned) else { continue };
            watermark.decide(span, Fate::Written);
            while let Some((end, Fate::Written)) = watermark.pending.front() {
                watermark.written = Some(*end);
                watermark.pending.pop_front();
            }
        }
    }

    /// These spans will not get into the database: nothing behind them is committed, and nobody need wait for them.
    pub fn refused(&mut self, spans: &[Span]) {
        for span in spans {
            if let Some(watermark) = self.of(&span.owned) {
                watermark.decide(span, Fate::Refused);
            }
        }
    }

    /// Up to where all of this partition is written, where that is known.
    #[must_use]
    pub fn written_of(&self, partition: &TopicPartition) -> Option<Offset> {
        self.partitions.get(partition)?.written
    }

    /// Offsets that the group has not been told yet; they count as told from now on.
    pub fn take_due(&mut self) -> Vec<(TopicPartition, Offset)> {
        let mut due = Vec::new();
        for (partition, watermark) in &mut self.partitions {
            if let Some(offset) = watermark.written.filter(|_| watermark.written != watermark.told) {
                watermark.told = Some(offset);
                due.push((partition.clone(), offset));
            }
        }
        due
    }

    /// The group refused what it was told of this partition: it is due again.
    pub fn forget_told_of(&mut self, partition: &TopicPartition) {
        if let Some(watermark) = self.partitions.get_mut(partition) {
            watermark.told = None;
        }
    }

    /// The group refused what it was told: everything is due again.
    pub fn forget_told(&mut self) {
        for watermark in self.partitions.values_mut() {
            watermark.told = None;
        }
    }

    /// Whether everything that was closed of these partitions is written or refused.
    #[must_use]
    pub fn settled(&self, partitions: &[TopicPartition]) -> bool {
        let settled = |w: &Watermark| w.pending.iter().all(|(_, fate)| *fate != Fate::Open);
        partitions.iter().all(|p| self.partitions.get(p).is_none_or(settled))
    }

    /// Every owned partition with the offset up to which all is written, where that is known.
    pub fn positions(&self) -> impl Iterator<Item = (&TopicPartition, Option<Offset>)> {
        self.partitions.iter().map(|(p, w)| (p, w.written))
    }

    fn of(&mut self, owned: &Owned) -> Option<&mut Watermark> {
        self.partitions.get_mut(&owned.partition).filter(|w| w.period == owned.period)
    }
}

impl Watermark {
    fn decide(&mut self, span: &Span, fate: Fate) {
        if let Some(entry) = self.pending.iter_mut().find(|entry| **entry == (span.end, Fate::Open)) {
            entry.1 = fate;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn owned(period: u64) -> Arc<Owned> {
        Arc::new(Owned {
            partition: TopicPartition { topic: "t".into(), partition: 0 },
            period: Period(period),
            taken: None,
        })
    }

    fn span(period: u64, start: i64, end: i64) -> Span {
        Span { owned: owned(period), start: Offset(start), end: Offset(end) }
    }

    #[test]
    fn reports_of_an_older_period_are_thrown_away() {
        let mut marks = Watermarks::default();
        marks.own(&owned(1), None);
        marks.closed(&[span(1, 0, 10)]);
        marks.release(&owned(1).partition);
        marks.own(&owned(2), Some(Offset(0)));
        marks.written(&[span(1, 0, 10)]);
        assert_eq!(marks.take_due(), []);
        marks.closed(&[span(2, 0, 5)]);
        marks.written(&[span(2, 0, 5)]);
        assert_eq!(marks.take_due(), [(owned(2).partition.clone(), Offset(5))]);
        assert_eq!(marks.take_due(), []);
        marks.forget_told();
        assert_eq!(marks.take_due().len(), 1);
    }

    #[test]
    fn what_is_refused_is_settled_and_never_passed() {
        let mut marks = Watermarks::default();
        marks.own(&owned(1), None);
        marks.closed(&[span(1, 0, 10), span(1, 10, 20), span(1, 20, 30)]);
        marks.refused(&[span(1, 10, 20)]);
        marks.written(&[span(1, 20, 30)]);
        assert!(!marks.settled(&[owned(1).partition.clone()]), "the first is neither written nor refused yet");
        marks.written(&[span(1, 0, 10)]);
        assert!(marks.settled(&[owned(1).partition.clone()]));
        assert_eq!(marks.take_due(), [(owned(1).partition.clone(), Offset(10))]);
    }

    proptest! {
        /// In whatever order spans are written, what is due never passes one that is not.
        #[test]
        fn nothing_passes_a_failure(
            lengths in proptest::collection::vec(1i64..100, 1..20),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 0..40),
        ) {
            let mut marks = Watermarks::default();
            marks.own(&owned(1), None);
            let mut start = 0;
            let spans: Vec<_> = lengths.iter().map(|length| {
                let span = span(1, start, start + length);
                start += length;
                span
            }).collect();
            for span in &spans {
                marks.closed(std::slice::from_ref(span));
            }
            let mut written = vec![false; spans.len()];
            let mut committed = Offset(0);
            for index in order {
                let index = index.index(spans.len());
                if !written[index] {
                    marks.written(std::slice::from_ref(&spans[index]));
                    written[index] = true;
                }
                if let Some((_, offset)) = marks.take_due().pop() {
                    prop_assert!(offset > committed);
                    committed = offset;
                }
                let contiguous = written.iter().take_while(|w| **w).count();
                let expected = if contiguous == 0 { Offset(0) } else { spans[contiguous - 1].end };
                prop_assert_eq!(committed, expected);
            }
            prop_assert_eq!(marks.settled(&[owned(1).partition.clone()]), written.iter().all(|w| *w));
        }
    }
}
