//! Which ranges of a topic are written together, told to the group before they are: whoever owns one of the partitions
//! after a crash writes exactly these again, under the same token, and the database drops what it has.
//!
//! A claim stands whole in the metadata of the offset of each of its partitions, as a word of the
//! [note](crate::source::start::CommitNote) there: `claim=NONCE/SECONDS/PARTITION:OFFSET+COUNT,…`. Kafka takes 4,096
//! bytes of metadata.

use std::fmt;
use std::time::{Duration, SystemTime};

use rowfall_dialects::contract::Token;
use sha2::{Digest, Sha256};

use crate::source::position::Offset;

/// Partitions that one claim holds at most: its text is shorter than [`LONGEST`], and leaves room for a second one.
pub const PARTITIONS: usize = 64;

/// Bytes of metadata that Kafka takes with an offset, unless its brokers are told otherwise.
pub const LONGEST: usize = 4_096;

/// Ranges of one topic's partitions that are written together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What no other claim has.
    pub nonce: u64,
    /// When it was made, in seconds since 1970.
    pub made: u64,
    /// By partition; each once.
    pub ranges: Vec<Range>,
}

/// A range of a partition: the records from `start` up to and without `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The partition's number.
    pub partition: i32,
    /// Its first record, or the first offset of a gap before it.
    pub start: Offset,
    /// Behind its last record.
    pub end: Offset,
}

impl Claim {
    /// A claim of these ranges, made now.
    #[must_use]
    pub fn new(ranges: Vec<Range>) -> Self {
        let made = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
        Self { nonce: rand::random(), made, ranges }
    }

    /// How long ago it was made, as far as the clocks agree.
    #[must_use]
    pub fn age(&self) -> Duration {
        let made = SystemTime::UNIX_EPOCH + Duration::from_secs(self.made);
        made.elapsed().unwrap_or_default()
    }

    /// What the claim takes of this partition.
    #[must_use]
    pub fn of(&self, partition: i32) -> Option<&Range> {
        self.ranges.iter().find(|range| range.partition == partition)
    }

    /// The token under which a database keeps what the claim holds. It depends on the ranges, since other rows under a
    /// token that is known are dropped, and on `pipeline` and `topic`, since a table may be filled by several.
    #[must_use]
    pub fn token(&self, pipeline: &str, topic: &str) -> Token {
        let mut hash = Sha256::new();
        // None of them holds the separator.
        hash.update(format!("{pipeline}\0{topic}\0{self}"));
        let text = hash.finalize()[..16].iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        Token { text: text.into(), since: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(self.made)) }
    }

    /// Reads what [`fmt::Display`] writes; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let (nonce, made, ranges) = (parts.next()?, parts.next()?, parts.next()?);
        let range = |text: &str| {
            let (partition, range) = text.split_once(':')?;
            let (start, count) = range.split_once('+')?;
            let start: i64 = start.parse().ok()?;
            let end = start.checked_add(count.parse().ok().filter(|count| *count > 0)?)?;
            Some(Range { partition: partition.parse().ok()?, start: Offset(start), end: Offset(end) })
        };
        let claim = Self {
            nonce: u64::from_str_radix(nonce, 16).ok()?,
            made: made.parse().ok()?,
            ranges: ranges.split(',').map(range).collect::<Option<_>>()?,
        };
        parts.next().is_none().then_some(claim)
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}/{}/", self.nonce, self.made)?;
        for (index, Range { partition, start, end }) in self.ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{partition}:{start}+{}", end.0 - start.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(nonce: u64, ranges: &[(i32, i64, i64)]) -> Claim {
        let range = |(partition, start, end): &(i32, i64, i64)| Range {
            partition: *partition,
            start: Offset(*start),
            end: Offset(*end),
        };
        Claim { nonce, made: 1_800_000_000, ranges: ranges.iter().map(range).collect() }
    }

    #[test]
    fn a_claim_is_read_by_people_too() {
        let text = "00000000000000ff/1800000000/0:100+20,7:5+1";
        assert_eq!(claim(255, &[(0, 100, 120), (7, 5, 6)]).to_string(), text);
        assert_eq!(Claim::parse(text), Some(claim(255, &[(0, 100, 120), (7, 5, 6)])));
        for other in ["", "ff", "ff/1", "ff/1/", "ff/1/0:1", "ff/1/0:1+0", "ff/1/0:1+-1", "ff/1/0:1+1/x", "g/1/0:1+1"] {
            assert_eq!(Claim::parse(other), None, "{other}");
        }
        assert_eq!(Claim::parse(&format!("ff/1/0:{}+1", i64::MAX)), None);
    }

    #[test]
    fn a_token_tells_claims_apart() {
        let token = |nonce, end, pipeline, topic| claim(nonce, &[(0, 1, end)]).token(pipeline, topic).text;
        let one = token(1, 9, "p", "t");
        assert_eq!(one, token(1, 9, "p", "t"));
        let others = [token(2, 9, "p", "t"), token(1, 8, "p", "t"), token(1, 9, "q", "t"), token(1, 9, "p", "u")];
        assert!(others.iter().all(|other| *other != one));
        // What it was in the version before: a claim may be found by the next one.
        assert_eq!(&*one, "5e7ce1eb145f96f4add7a84e6571aae5");
    }

    #[test]
    fn the_largest_leaves_room() {
        let range = |_| (i32::MAX, i64::MAX / 1000 - 10_000_000, i64::MAX / 1000);
        let text = claim(u64::MAX, &(0..PARTITIONS).map(range).collect::<Vec<_>>()).to_string();
        assert!(text.len() + 500 < LONGEST, "{}", text.len());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            nonce: u64, ranges in proptest::collection::vec((0..i32::MAX, 0..i64::MAX / 2, 1..i64::MAX / 4), 1..PARTITIONS),
        ) {
            let ranges: Vec<_> = ranges.into_iter().map(|(partition, start, count)| (partition, start, start + count)).collect();
            let claim = claim(nonce, &ranges);
            prop_assert_eq!(Claim::parse(&claim.to_string()), Some(claim));
        }

        #[test]
        fn no_text_panics(text in "[0-9a-f/:+,-]{0,40}") {
            let _ = Claim::parse(&text);
        }
    }
}
