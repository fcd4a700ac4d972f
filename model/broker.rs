//! Kafka: the topic, the consumer group, and the commits that are on their way to it.

use crate::claim::{Claim, Offset, Partition, Partitions};
use crate::process::Unit;

/// A process's number.
pub type ProcessId = usize;

/// A generation of the group, which changes whenever its members or what they own do. Those that are past are all alike:
/// nothing is taken of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Generation {
    /// The group's.
    Current,
    /// One before.
    Past,
}

/// What the group has of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Committed {
    /// Everything before it is in the table.
    pub offset: Offset,
    /// The metadata: what may be on its way into the table from there on.
    pub claims: Vec<Claim>,
}

/// The topic and its group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Broker {
    /// By partition.
    pub committed: Vec<Committed>,
    /// Each partition's oldest record: retention has deleted those before.
    pub oldest: Vec<Offset>,
    /// Members as the group knows them. One that was evicted may not know yet.
    pub members: Vec<bool>,
    /// Who has each partition. Nobody gets one before it is given back, unless its owner is no member any more.
    pub owners: Vec<Option<ProcessId>>,
    /// Partitions that their owners are asked to give back.
    pub asked_back: Partitions,
}

impl Broker {
    /// A group whose first member has everything.
    #[must_use]
    pub fn new(processes: usize, partitions: usize) -> Self {
        Self {
            committed: vec![Committed::default(); partitions],
            oldest: vec![0; partitions],
            members: vec![true; processes],
            owners: vec![Some(0); partitions],
            asked_back: Partitions::default(),
        }
    }

    /// What this process has, as the group sees it.
    #[must_use]
    pub fn owned_by(&self, process: ProcessId) -> Partitions {
        (0..self.owners.len()).filter(|p| self.owners[*p] == Some(process)).collect()
    }

    /// Takes back what a process gave back, or has lost.
    pub fn free(&mut self, partitions: Partitions) {
        for partition in partitions.each() {
            self.owners[partition] = None;
            self.asked_back.remove(partition);
        }
    }

    /// A member is one no more.
    pub fn evict(&mut self, process: ProcessId) {
        self.free(self.owned_by(process));
        self.members[process] = false;
    }

    /// Whether the group takes this. It asks for the member and the generation; who owns a partition it does not look at.
    #[must_use]
    pub fn takes(&self, process: ProcessId, request: &Request) -> bool {
        self.members[process] && request.generation == Generation::Current
    }

    /// Offsets become true.
    pub fn commit(&mut self, offsets: &[(Partition, Committed)]) {
        for (partition, committed) in offsets {
            self.committed[*partition] = committed.clone();
        }
    }
}

/// Offsets that are to be committed: a transaction, or a plain commit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// In which generation it was sent.
    pub generation: Generation,
    /// For each partition that it names.
    pub offsets: Vec<(Partition, Committed)>,
    /// How far it has come.
    pub stage: Stage,
    /// The units that it claims.
    pub units: Vec<Unit>,
    /// Whether a process waits for its answer.
    pub awaited: bool,
}

impl Request {
    /// Whether it says something of this partition.
    #[must_use]
    pub fn names(&self, partition: Partition) -> bool {
        self.offsets.iter().any(|(named, _)| *named == partition)
    }
}

impl Request {
    /// It is over, in one way or the other.
    pub fn end(&mut self, stage: Stage) {
        self.stage = stage;
        self.offsets.clear();
    }
}

/// How far a commit has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// On its way.
    Sent,
    /// The group has its offsets, which count when the transaction is committed. Readers of these partitions wait.
    Pending,
    /// Committed, and its answer on the way.
    Taken,
    /// Aborted, and its answer on the way.
    Refused,
}
