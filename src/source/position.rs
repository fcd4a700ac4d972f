//! Names for places in a topic.

use std::fmt;
use std::sync::Arc;

use rowfall_dialects::contract::Partition;

/// A place in a partition: the next record to read has this offset or a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

impl Offset {
    /// The place behind the record that stands here.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// One time of owning a partition, from its assignment to its revoke. Whatever is reported about a partition carries
/// the period in which it was read; what belongs to an older one is thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(pub u64);

/// A partition as this process owns it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owned {
    /// Which one.
    pub partition: TopicPartition,
    /// Which time.
    pub period: Period,
    /// With exactly-once: as the database gave it to this process.
    pub taken: Option<Taken>,
}

/// A partition that was taken over in the database, which keeps its progress.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Taken {
    /// What the database calls it.
    pub partition: Partition,
    /// In which epoch it may be moved.
    pub epoch: i64,
    /// The next offset then; `None` where nothing of it was written yet.
    pub next: Option<i64>,
}

/// A range of a partition that is done with together: all records from `start` up to and without `end`, and the gaps
/// that compaction and transaction markers leave between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Whose.
    pub owned: Arc<Owned>,
    /// The first record's offset.
    pub start: Offset,
    /// Behind the last record, or behind the gap that follows it.
    pub end: Offset,
}
