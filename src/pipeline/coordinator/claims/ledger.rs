//! Which units are claimed, in which transaction, and which are dropped: no I/O.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use rowfall_dialects::contract::Token;
use rowfall_dialects::failpoint;
use tokio::sync::oneshot;

use crate::claim::{Claim, LONGEST, Range};
use crate::commit::Watermarks;
use crate::source::consumer::Due;
use crate::source::position::{Owned, Span, TopicPartition};
use crate::source::start::CommitNote;

/// Bytes that one transaction commits at most. Brokers write it as one batch, which they refuse beyond 1 MiB
/// (`message.max.bytes`), whenever it comes.
const TRANSACTION: usize = 900_000;

/// Bytes that an offset takes beside its metadata, with long names of topic and group.
const OFFSET: usize = 512;

/// The period in which a partition is ours, and what is noted with its offsets; nothing for others.
pub(super) type Ours<'a> = dyn Fn(&TopicPartition) -> Option<(&'a Arc<Owned>, &'a CommitNote)> + 'a;

/// What is claimed, and what is to be.
#[derive(Default)]
pub(super) struct Ledger {
    /// Closed and not claimed, in the order in which they were closed.
    waiting: Vec<Unclaimed>,
    /// In the transaction that is under way.
    under_way: Vec<(Unclaimed, Claim)>,
    /// Whose offsets do not pass them yet, in order.
    named: BTreeMap<TopicPartition, Vec<Claim>>,
    /// Periods of which something was dropped. What stands behind it must not be claimed: whoever finds such a claim goes
    /// on behind it, and what was dropped would be jumped.
    broken: HashSet<Arc<Owned>>,
}

/// A unit that waits for its claim in its lane.
struct Unclaimed {
    spans: Vec<Span>,
    /// Has it written, under this token.
    claim: oneshot::Sender<Token>,
}

impl Ledger {
    /// A unit with these spans waits for its claim.
    pub(super) fn wait(&mut self, spans: Vec<Span>, claim: oneshot::Sender<Token>) {
        self.waiting.push(Unclaimed { spans, claim });
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What the next transaction commits: the claims of all units that can be claimed, and the offsets that are due. What
    /// it has no room for is left for the one behind it.
    pub(super) fn next<'a>(&mut self, watermarks: &mut Watermarks, ours: &Ours<'a>) -> Vec<Due> {
        let passed = watermarks.take_due();
        let (mut due, mut room) = (BTreeSet::new(), TRANSACTION);
        for (partition, claims) in &mut self.named {
            let written = watermarks.written_of(partition);
            claims.retain(|claim| claim.of(partition.partition).map(|range| range.end) > written);
        }
        self.named.retain(|_, claims| !claims.is_empty());
        self.broken.retain(|owned| ours(&owned.partition).is_some_and(|(now, _)| now == owned));
        let mut held_up = BTreeSet::new();
        for unclaimed in std::mem::take(&mut self.waiting) {
            let partitions = || unclaimed.spans.iter().map(|span| &span.owned.partition);
            let is_whole = |span: &Span| {
                let is_ours = ours(&span.owned.partition).is_some_and(|(owned, _)| *owned == span.owned);
                is_ours && !self.broken.contains(&span.owned)
            };
            if !unclaimed.spans.iter().all(is_whole) {
                self.drop_unclaimed(unclaimed);
                continue;
            }
            let claim = claim(&unclaimed.spans);
            let length = " claim=".len() + claim.to_string().len();
            let before: Vec<_> = partitions().map(|partition| self.length(partition, ours)).collect();
            let fits = before.iter().all(|before| before + length <= LONGEST);
            let named = partitions().zip(before).filter(|(partition, _)| !due.contains(*partition));
            let size = named.map(|(_, before)| OFFSET + before).sum::<usize>() + length * unclaimed.spans.len();
            if !fits || size > room || partitions().any(|partition| held_up.contains(partition)) {
                held_up.extend(partitions().cloned());
                self.waiting.push(unclaimed);
                continue;
            }
            room -= size;
            for partition in partitions() {
                self.named.entry(partition.clone()).or_default().push(claim.clone());
                due.insert(partition.clone());
            }
            self.under_way.push((unclaimed, claim));
        }
        for (partition, _) in passed {
            if due.contains(&partition) {
                continue;
            }
            match room.checked_sub(OFFSET + self.length(&partition, ours)) {
                Some(left) => {
                    room = left;
                    due.insert(partition);
                }
                None => watermarks.forget_told_of(&partition),
            }
        }
        let due = due.into_iter().filter_map(|partition| {
            let (_, note) = ours(&partition)?;
            let claims = self.named.get(&partition).map_or(&[][..], Vec::as_slice);
            let first = || claims.first()?.of(partition.partition).map(|range| range.start);
            let offset = watermarks.written_of(&partition).or_else(first)?;
            if failpoint::breaks("order") {
                let last = claims.last().and_then(|claim| claim.of(partition.partition));
                let offset = last.map_or(offset, |range| range.end);
                return Some(Due { metadata: note.to_string(), partition, offset });
            }
            Some(Due { metadata: self.metadata(&partition, note), partition, offset })
        });
        due.collect()
    }

    /// What is committed with a partition's offset.
    fn metadata(&self, partition: &TopicPartition, note: &CommitNote) -> String {
        note.with(self.named.get(partition).map_or(&[], Vec::as_slice))
    }

    /// Bytes of its metadata as they are now.
    fn length(&self, partition: &TopicPartition, ours: &Ours<'_>) -> usize {
        ours(partition).map_or(0, |(_, note)| self.metadata(partition, note).len())
    }

    /// The unit is not written, nor what stands behind it; what it holds of partitions that stay is read again.
    fn drop_unclaimed(&mut self, unclaimed: Unclaimed) {
        self.broken.extend(unclaimed.spans.into_iter().map(|span| span.owned));
    }

    /// The transaction is committed: its claims hold, and their units are written.
    pub(super) fn committed(&mut self, pipeline: &str) {
        if !self.under_way.is_empty() {
            failpoint::at("claimed");
        }
        for (Unclaimed { spans, claim }, claimed) in self.under_way.drain(..) {
            let token = claimed.token(pipeline, &spans[0].owned.partition.topic);
            // A lane that is gone has given the unit up: whoever finds the claim writes it.
            let _ = claim.send(token);
        }
    }

    /// Nothing of the transaction is committed: its units wait again.
    pub(super) fn refused(&mut self) {
        let mut again = Vec::new();
        for (unclaimed, claim) in self.under_way.drain(..) {
            for span in &unclaimed.spans {
                if let Some(claims) = self.named.get_mut(&span.owned.partition) {
                    claims.retain(|named| named.nonce != claim.nonce);
                }
            }
            again.push(unclaimed);
        }
        again.append(&mut self.waiting);
        self.waiting = again;
    }

    /// Whether the transaction is committed is not known: its units are dropped, and what the group has says the rest.
    /// Answers their spans.
    pub(super) fn unknown(&mut self) -> Vec<Span> {
        let spans: Vec<_> = self.under_way.drain(..).flat_map(|(unclaimed, _)| unclaimed.spans).collect();
        self.broken.extend(spans.iter().map(|span| Arc::clone(&span.owned)));
        spans
    }

    /// These partitions are not ours any more, or have to be asked for anew: units that hold some of them and are not
    /// claimed are dropped.
    pub(super) fn forget(&mut self, partitions: &[TopicPartition]) {
        let holds = |unclaimed: &mut Unclaimed| unclaimed.spans.iter().any(|s| partitions.contains(&s.owned.partition));
        for unclaimed in self.waiting.extract_if(.., holds).collect::<Vec<_>>() {
            self.drop_unclaimed(unclaimed);
        }
        self.named.retain(|partition, _| !partitions.contains(partition));
    }
}

/// The claim of a unit.
pub(super) fn claim(spans: &[Span]) -> Claim {
    let range = |span: &Span| Range { partition: span.owned.partition.partition, start: span.start, end: span.end };
    let mut ranges: Vec<_> = spans.iter().map(range).collect();
    ranges.sort_unstable_by_key(|range| range.partition);
    Claim::new(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::position::{Offset, Period};

    /// Partitions 0 and 1 of a topic, each in its period or not ours.
    struct World {
        ledger: Ledger,
        watermarks: Watermarks,
        owned: [Option<Arc<Owned>>; 2],
        note: CommitNote,
    }

    fn partition(number: i32) -> TopicPartition {
        TopicPartition { topic: "t".into(), partition: number }
    }

    impl World {
        fn new() -> Self {
            let mut watermarks = Watermarks::default();
            let owned = [0, 1].map(|number| {
                let owned = Owned { partition: partition(number), period: Period(1), taken: None };
                watermarks.own(&owned, Some(Offset(0)));
                Some(Arc::new(owned))
            });
            Self { ledger: Ledger::default(), watermarks, owned, note: CommitNote::default() }
        }

        /// A unit of these ranges is closed.
        fn close(&mut self, ranges: &[(usize, i64, i64)]) -> oneshot::Receiver<Token> {
            let span = |(number, start, end): &(usize, i64, i64)| Span {
                owned: Arc::clone(self.owned[*number].as_ref().expect("ours")),
                start: Offset(*start),
                end: Offset(*end),
            };
            let spans: Vec<_> = ranges.iter().map(span).collect();
            self.watermarks.closed(&spans);
            let (claim, claimed) = oneshot::channel();
            self.ledger.wait(spans, claim);
            claimed
        }

        /// What the next transaction commits, nonces and times left out: `0 at 0: 0:0+1`.
        fn next(&mut self) -> Vec<String> {
            let Self { ledger, watermarks, owned, note } = self;
            let ours = |p: &TopicPartition| Some((owned[usize::try_from(p.partition).unwrap()].as_ref()?, &*note));
            let due = ledger.next(watermarks, &ours);
            let text = |due: Due| {
                let claims = due.metadata.split(" claim=").skip(1).map(|claim| claim.rsplit('/').next().unwrap());
                let claims = claims.collect::<Vec<_>>().join(" | ");
                format!("{} at {}: {claims}", due.partition.partition, due.offset)
            };
            due.into_iter().map(text).collect()
        }

        fn is_dropped(claimed: &mut oneshot::Receiver<Token>) -> bool {
            claimed.try_recv() == Err(oneshot::error::TryRecvError::Closed)
        }
    }

    #[test]
    fn claims_stand_by_all_their_partitions_until_the_offset_passes_them() {
        let mut world = World::new();
        let mut first = world.close(&[(0, 0, 5), (1, 0, 3)]);
        assert_eq!(world.next(), ["0 at 0: 0:0+5,1:0+3", "1 at 0: 0:0+5,1:0+3"]);
        assert!(first.try_recv().is_err(), "not before it is committed");
        world.ledger.committed("p");
        let token = first.try_recv().expect("claimed");
        // Named together with the next, under way or not.
        let _second = world.close(&[(1, 3, 9)]);
        assert_eq!(world.next(), ["1 at 0: 0:0+5,1:0+3 | 1:3+6"]);
        world.ledger.committed("p");
        let span = |number: usize, start, end| Span {
            owned: Arc::clone(world.owned[number].as_ref().unwrap()),
            start: Offset(start),
            end: Offset(end),
        };
        let (one, two) = ([span(0, 0, 5), span(1, 0, 3)], [span(1, 3, 9)]);
        world.watermarks.written(&two);
        assert_eq!(world.next(), [""; 0], "nothing passes what is not written");
        world.watermarks.written(&one);
        assert_eq!(world.next(), ["0 at 5: ", "1 at 9: "]);
        assert_eq!(token.text.len(), 32);
    }

    #[test]
    fn what_is_refused_is_claimed_again_in_its_order() {
        let mut world = World::new();
        let _first = world.close(&[(0, 0, 5)]);
        world.next();
        let _second = world.close(&[(0, 5, 6)]);
        world.ledger.refused();
        assert_eq!(world.next(), ["0 at 0: 0:0+5 | 0:5+1"]);
    }

    /// The model's `ClaimBehindDropped`, by a revoke: 1 would be read on at 2, and its record at 0 would be lost.
    #[test]
    fn nothing_is_claimed_behind_what_was_dropped_at_a_revoke() {
        let mut world = World::new();
        let (mut first, mut second) = (world.close(&[(0, 0, 1), (1, 0, 1)]), world.close(&[(1, 1, 2)]));
        world.owned[0] = None;
        world.ledger.forget(&[partition(0)]);
        assert_eq!(world.next(), [""; 0]);
        assert!(World::is_dropped(&mut first) && World::is_dropped(&mut second));
        // And what is closed before anyone has heard of that.
        let mut third = world.close(&[(1, 2, 3)]);
        assert_eq!(world.next(), [""; 0]);
        assert!(World::is_dropped(&mut third));
        // Read again, in a period of its own.
        let again = Owned { partition: partition(1), period: Period(2), taken: None };
        world.watermarks.own(&again, Some(Offset(0)));
        world.owned[1] = Some(Arc::new(again));
        let _again = world.close(&[(1, 0, 3)]);
        assert_eq!(world.next(), ["1 at 0: 1:0+3"]);
    }

    #[test]
    fn nothing_is_claimed_behind_what_may_be_claimed() {
        let mut world = World::new();
        let mut first = world.close(&[(0, 0, 1), (1, 0, 1)]);
        world.next();
        assert_eq!(world.ledger.unknown().len(), 2);
        assert!(World::is_dropped(&mut first));
        let mut second = world.close(&[(1, 1, 2)]);
        assert_eq!(world.next(), [""; 0]);
        assert!(World::is_dropped(&mut second));
    }

    #[test]
    fn more_than_the_metadata_hold_waits() {
        let mut world = World::new();
        let claimed: Vec<_> = (0..400).map(|n| world.close(&[(0, n, n + 1)])).collect();
        let due = world.next();
        let named = due[0].matches('|').count() + 1;
        assert!((50..400).contains(&named), "{named}");
        assert!(world.ledger.has_waiting());
        drop(claimed);
    }

    /// 1,600 partitions, in units of 64, as a batch of one worker: more than brokers take in one transaction.
    #[test]
    fn what_a_transaction_has_no_room_for_is_in_those_behind_it() {
        const COUNT: i32 = 1_600;
        let (mut ledger, mut watermarks, note) = (Ledger::default(), Watermarks::default(), CommitNote::default());
        let own = |number| Arc::new(Owned { partition: partition(number), period: Period(1), taken: None });
        let owned: Vec<_> = (0..COUNT).map(own).collect();
        let ours = |p: &TopicPartition| Some((&owned[usize::try_from(p.partition).unwrap()], &note));
        owned.iter().for_each(|owned| watermarks.own(owned, Some(Offset(1_000_000_000))));
        let span = |owned: &Arc<Owned>, from: i64| Span {
            owned: Arc::clone(owned),
            start: Offset(1_000_000_000 + from),
            end: Offset(1_000_000_100 + from),
        };
        // Those that are written already want to be passed meanwhile.
        let before: Vec<_> = owned.iter().map(|owned| span(owned, 0)).collect();
        watermarks.closed(&before);
        watermarks.written(&before);
        let mut claimed = Vec::new();
        for owned in owned.chunks(64) {
            let spans: Vec<_> = owned.iter().map(|owned| span(owned, 100)).collect();
            watermarks.closed(&spans);
            let (claim, told) = oneshot::channel();
            ledger.wait(spans, claim);
            claimed.push(told);
        }
        let (mut passed, mut transactions) = (BTreeSet::new(), 0);
        loop {
            let due = ledger.next(&mut watermarks, &ours);
            if due.is_empty() {
                break;
            }
            transactions += 1;
            let size: usize = due.iter().map(|due| due.metadata.len() + 100).sum();
            assert!(size <= 1_000_000, "{size}");
            assert!(due.iter().all(|due| due.offset == Offset(1_000_000_100)));
            passed.extend(due.into_iter().map(|due| due.partition));
            ledger.committed("p");
        }
        assert_eq!((passed.len(), ledger.has_waiting()), (1_600, false));
        assert!(claimed.iter_mut().all(|told| told.try_recv().is_ok()));
        assert!((2..10).contains(&transactions), "{transactions}");
    }
}
