//! Mistakes: what the rules are there for. Each breaks one, and a test asserts that the checker finds what comes of it.

/// A mistake, and what comes of it: a record is in the table twice, or is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// A unit is written before its claim's commit is acknowledged. Doubled: whoever writes is evicted, the commit is
    /// refused, and the next owner sees no claim and cuts other ranges.
    InsertBeforeCommit,
    /// Units that hold a partition are claimed after it was given back. Doubled, also with transactions: the member and
    /// its generation are the group's still, and the broker does not check who owns a partition.
    CommitAfterRevoke,
    /// Partitions are given back while a commit that names them is under way, and the process forgets that one. Doubled,
    /// also with transactions: what it kept of the claim's other partitions it cuts anew, and the claim becomes true. (With
    /// transactions it is harmless to give them back and still hear the answer: what arrives before the next owner is
    /// there is what that one reads, and what arrives later is of a generation that is past.)
    RevokeDuringCommit,
    /// A claim whose commit was not answered is dropped, and what it held is cut anew from memory. Doubled: it may be
    /// committed, and other partitions carry it.
    DropSentClaim,
    /// When some partitions of a claim that is committed are given back, the others are cut anew instead of finishing the
    /// same claim. Doubled: the next owner finishes it.
    RecutAfterRevoke,
    /// The token does not depend on the ranges. Lost: where nonces come again, the table takes another block for the one
    /// that it has. (A nonce of the model tells apart claims of equal ranges only.)
    TokenWithoutRanges,
    /// Offsets advance to the last claim that is acknowledged, over one that is not. Lost.
    AdvanceOverGap,
    /// Two commits are under way at once and land in any order. Doubled: the older one takes a claim back that is being
    /// written. Harmless with transactions, since a producer has one at a time: modelled with plain commits.
    TwoCommitsAtOnce,
    /// Commits that are not atomic over partitions: some land, some do not. Doubled. Harmless with transactions, which
    /// are: modelled with plain commits.
    TornCommit,
    /// A commit that was not answered counts as not taken, and the group is asked again, while the request may still
    /// land. Doubled. Harmless with transactions, since a new producer of the same id ends the one before: modelled with
    /// plain commits.
    AskAfterUnknownCommit,
    /// A copy of an insert is applied however many blocks have entered since. Doubled, with no crash at all.
    LateCopy,
    /// A claim is written however many blocks have entered since it was made. Doubled: another owner of some of its
    /// partitions wrote it long ago.
    OldClaim,
    /// A unit that is dropped because one of its partitions went, or stopped, takes records of others with it; units behind
    /// it, of partitions that stay, are claimed before these are read again. Lost: the claim has a gap before it, and
    /// whoever finds the claim reads on behind it.
    ClaimBehindDropped,
    /// A commit is not answered, and one of its partitions, which has stopped meanwhile and is not read again, keeps what
    /// it had named. Doubled: its next commit names a claim that may never have been, and of which the owners of others
    /// have cut anew what is theirs.
    KeepUnknownOfStopped,
    /// Offsets are read without waiting for open transactions (`isolation.level=read_uncommitted` of the group's member).
    /// Doubled: a claim is not seen that becomes true after.
    ReadPastOpenTransaction,
}

/// The protocol's rules, all of them or all but one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules(pub Option<Mutant>);

impl Rules {
    /// Whether this mistake is made.
    #[must_use]
    pub fn breaks(self, mutant: Mutant) -> bool {
        self.0 == Some(mutant)
    }

    /// Whether offsets are committed without transactions: there is nothing a reader could wait for, and nothing that
    /// ends a request that is on its way.
    #[must_use]
    pub fn are_plain(self) -> bool {
        use Mutant::{AskAfterUnknownCommit, TornCommit, TwoCommitsAtOnce};
        matches!(self.0, Some(TwoCommitsAtOnce | TornCommit | AskAfterUnknownCommit))
    }
}
