//! The database's table: it drops a block whose token is among those of the last blocks that entered.

use crate::claim::{Claim, Partition, Range};
use crate::mutant::{Mutant, Rules};

/// A table of ClickHouse, with one block per insert and one part per block.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    /// How often each record is in it, by partition and offset.
    pub rows: Vec<Vec<u8>>,
    /// Tokens of the blocks that entered last; the oldest is forgotten. Without a window all are kept, in their order
    /// of value, so that states that differ in nothing else are one.
    tokens: Vec<Token>,
    /// How many blocks are remembered.
    window: Option<u8>,
    /// Blocks that entered: the model's clock, with a window.
    pub entered: u8,
}

/// What a block is known by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Token {
    ranges: Vec<Range>,
    nonce: u8,
}

impl Token {
    fn of(claim: &Claim, rules: Rules) -> Self {
        let ranges = if rules.breaks(Mutant::TokenWithoutRanges) { Vec::new() } else { claim.ranges.clone() };
        Self { ranges, nonce: claim.nonce }
    }
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(partitions: usize, records: u8, window: Option<u8>) -> Self {
        Self { rows: vec![vec![0; records.into()]; partitions], tokens: Vec::new(), window, entered: 0 }
    }

    /// Takes a claim's rows, unless it knows them by their token.
    pub fn insert(&mut self, claim: &Claim, rules: Rules) {
        let token = Token::of(claim, rules);
        if self.tokens.contains(&token) {
            return;
        }
        for Range { partition, start, end } in &claim.ranges {
            for count in &mut self.rows[*partition][usize::from(*start)..usize::from(*end)] {
                *count += 1;
            }
        }
        self.tokens.push(token);
        match self.window {
            None => self.tokens.sort_unstable(),
            Some(window) => {
                self.entered += 1;
                if self.tokens.len() > window.into() {
                    self.tokens.remove(0);
                }
            }
        }
    }

    /// Whether the token of a claim that is in the table is known for sure: not so many blocks have entered since it was
    /// made that it may be forgotten. Nobody sends what is older, and the server refuses it (an absolute deadline, far
    /// below the window's time).
    #[must_use]
    pub fn remembers(&self, claim: &Claim) -> bool {
        self.window.is_none_or(|window| self.entered - claim.made < window)
    }

    /// Whether it has the claim, and will never forget that.
    #[must_use]
    pub fn drops_for_ever(&self, claim: &Claim) -> bool {
        self.window.is_none() && self.knows(&claim.ranges, claim.nonce)
    }

    /// Whether a claim of these ranges and this nonce entered.
    #[must_use]
    pub fn knows(&self, ranges: &[Range], nonce: u8) -> bool {
        self.tokens.iter().any(|token| token.nonce == nonce && token.ranges == ranges)
    }

    /// Whether this record is in the table.
    #[must_use]
    pub fn has(&self, partition: Partition, offset: usize) -> bool {
        self.rows[partition][offset] > 0
    }
}
