//! What is written together, and sets of partitions.

use std::fmt;

/// A partition's number.
pub type Partition = usize;
/// An offset in a partition; each partition begins at 0.
pub type Offset = u8;

/// Some partitions.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partitions(u8);

impl Partitions {
    /// Only this one.
    #[must_use]
    pub fn one(partition: Partition) -> Self {
        Self(1 << partition)
    }

    /// Whether it is one of them.
    #[must_use]
    pub fn has(self, partition: Partition) -> bool {
        self.0 & (1 << partition) != 0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One more.
    pub fn add(&mut self, partition: Partition) {
        self.0 |= 1 << partition;
    }

    /// Without this one.
    pub fn remove(&mut self, partition: Partition) {
        self.0 &= !(1 << partition);
    }

    /// Each of them.
    pub fn each(self) -> impl Iterator<Item = Partition> {
        (0..8).filter(move |partition| self.has(*partition))
    }
}

impl FromIterator<Partition> for Partitions {
    fn from_iter<I: IntoIterator<Item = Partition>>(partitions: I) -> Self {
        let mut all = Self::default();
        partitions.into_iter().for_each(|partition| all.add(partition));
        all
    }
}

impl fmt::Debug for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.each()).finish()
    }
}

/// The records of a partition from `start` up to and without `end`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Range {
    /// Its partition.
    pub partition: Partition,
    /// Its first record.
    pub start: Offset,
    /// Behind its last one.
    pub end: Offset,
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}..{}", self.partition, self.start, self.end)
    }
}

/// Ranges that are written together, as one block.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Claim {
    /// By partition; each once, none empty.
    pub ranges: Vec<Range>,
    /// What tells it from all others of the same ranges.
    pub nonce: u8,
    /// How many blocks had entered the table when it was made: the model's clock. It stands still while the table
    /// forgets nothing.
    pub made: u8,
}

impl Claim {
    /// What it takes of this partition.
    #[must_use]
    pub fn of(&self, partition: Partition) -> Option<Range> {
        self.ranges.iter().copied().find(|range| range.partition == partition)
    }

    /// The partitions that it takes something of.
    #[must_use]
    pub fn partitions(&self) -> Partitions {
        self.ranges.iter().map(|range| range.partition).collect()
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}#{}", self.ranges, self.nonce)
    }
}
