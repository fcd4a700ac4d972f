//! One process of rowfall: `pipeline::coordinator` and what belongs to it, without threads. It has one worker, which
//! closes units of whatever it reads.

use crate::broker::{Committed, Generation, Request, Stage};
use crate::claim::{Claim, Offset, Partition, Partitions, Range};
use crate::mutant::{Mutant, Rules};

/// What was read and closed together, and will be written together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Unit {
    /// Under which it is written. (As built the nonce is drawn anew after a refusal; nobody has seen the one before.)
    pub claim: Claim,
    /// Its partitions that are owned still, in the same period of owning them.
    pub ours: Partitions,
}

impl Unit {
    fn is_ours(&self) -> bool {
        self.ours == self.claim.partitions()
    }
}

/// What a process does with a partition that it owns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// It is to ask the group where the partition goes on.
    Asking,
    /// The group had claims: these are not written yet.
    Rebuilding(Vec<Claim>),
    /// It reads on.
    Reading,
    /// It reads no more, and says so. What it had written is committed still.
    Stopped,
    /// It reads no more, says so, and commits nothing.
    Silent,
}

/// A partition that a process owns: a period of owning it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holding {
    /// What is done with it.
    pub way: Way,
    /// Behind what was closed last, or claimed by others.
    pub position: Offset,
    /// Units that were closed: where each ends, and whether it is written.
    closed: Vec<(Offset, bool)>,
    /// Everything before it is in the table.
    written: Offset,
    /// What the group was told last, where that is known.
    told: Option<Offset>,
    /// Claims that stand in the metadata.
    named: Vec<Claim>,
}

impl Holding {
    fn new() -> Self {
        Self { way: Way::Asking, position: 0, closed: Vec::new(), written: 0, told: None, named: Vec::new() }
    }

    /// Nothing is done with it any more.
    fn silence(&mut self) {
        *self = Self { way: Way::Silent, ..Self::new() };
    }

    /// Whether it is read no more.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        matches!(self.way, Way::Stopped | Way::Silent)
    }

    fn is_due(&self) -> bool {
        matches!(self.way, Way::Reading | Way::Stopped) && self.told != Some(self.written)
    }

    /// The unit that ends there is written: the watermark moves over all that are.
    fn acknowledge(&mut self, end: Offset, rules: Rules) {
        if let Some(unit) = self.closed.iter_mut().find(|(unit, _)| *unit == end) {
            unit.1 = true;
        }
        while let Some((end, true)) = self.closed.first().copied() {
            self.written = self.written.max(end);
            self.closed.remove(0);
        }
        if rules.breaks(Mutant::AdvanceOverGap) {
            self.written = self.written.max(end);
        }
    }
}

/// A process. What it has on the way to the group may outlive it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// Whether it runs.
    pub runs: bool,
    /// The group's generation, as it knows it.
    pub generation: Generation,
    /// What it believes to own, by partition.
    pub holdings: Vec<Option<Holding>>,
    /// Units that are closed and not claimed, in their order.
    pub waiting: Vec<Unit>,
    /// Its commit that is under way: one, unless a rule is broken.
    pub committer: Vec<Request>,
    /// Units that may be written: their claims are committed.
    pub lane: Vec<Unit>,
    /// Partitions of which something was dropped, which the lane has not told of yet.
    pub dropped: Partitions,
}

impl Process {
    /// A process that has begun, and joined the group.
    #[must_use]
    pub fn new(partitions: usize) -> Self {
        Self {
            runs: true,
            generation: Generation::Current,
            holdings: vec![None; partitions],
            waiting: Vec::new(),
            committer: Vec::new(),
            lane: Vec::new(),
            dropped: Partitions::default(),
        }
    }

    /// Units that are not written.
    #[must_use]
    pub fn units(&self) -> usize {
        self.waiting.len() + self.lane.len() + self.committer.iter().map(|request| request.units.len()).sum::<usize>()
    }

    /// Whether an answer is waited for.
    #[must_use]
    pub fn is_committing(&self) -> bool {
        self.committer.iter().any(|request| request.awaited)
    }

    /// A partition is given to it.
    pub fn take(&mut self, partition: Partition) {
        self.holdings[partition] = Some(Holding::new());
    }

    /// What the group has of a partition. A claim found there holds: it is written before anything else is read.
    pub fn hear_committed(&mut self, partition: Partition, committed: &Committed) {
        let Some(holding) = &mut self.holdings[partition] else { return };
        let Committed { offset, claims } = committed.clone();
        let behind = claims.iter().filter_map(|claim| claim.of(partition)).map(|range| range.end).max();
        holding.position = behind.unwrap_or(offset);
        holding.written = holding.position;
        holding.told = Some(offset);
        holding.way = if claims.is_empty() { Way::Reading } else { Way::Rebuilding(claims) };
    }

    /// A claim that was found is in the table.
    pub fn rebuilt(&mut self, claim: &Claim) {
        for holding in self.holdings.iter_mut().flatten() {
            let Way::Rebuilding(left) = &mut holding.way else { continue };
            left.retain(|found| found != claim);
            if left.is_empty() {
                holding.way = Way::Reading;
            }
        }
    }

    /// A claim that was found cannot be written: its records are gone, or it is older than what the table remembers.
    pub fn cannot_rebuild(&mut self, claim: &Claim) {
        for holding in self.holdings.iter_mut().flatten() {
            if matches!(&holding.way, Way::Rebuilding(left) if left.contains(claim)) {
                holding.silence();
            }
        }
    }

    /// The worker closes a unit.
    pub fn close(&mut self, claim: Claim, rules: Rules) {
        for Range { partition, end, .. } in &claim.ranges {
            let holding = self.holdings[*partition].as_mut().expect("it is read");
            holding.position = *end;
            holding.closed.push((*end, false));
        }
        self.waiting.push(Unit { ours: claim.partitions(), claim });
        self.drop_waiting(rules);
    }

    /// Whether there is something to be committed.
    #[must_use]
    pub fn is_due(&self) -> bool {
        !self.waiting.is_empty() || self.holdings.iter().flatten().any(Holding::is_due)
    }

    /// Sends the next commit: the offsets that are due and all units that wait. For each partition that it names it says
    /// the whole: up to where all is written, and every claim from there on.
    pub fn send(&mut self) {
        let units = std::mem::take(&mut self.waiting);
        let mut named: Partitions = (0..self.holdings.len()).filter(|p| self.is_due_of(*p)).collect();
        let mut offsets = Vec::new();
        for Unit { claim, .. } in &units {
            for Range { partition, start, .. } in &claim.ranges {
                match &mut self.holdings[*partition] {
                    Some(holding) => {
                        holding.named.push(claim.clone());
                        named.add(*partition);
                    }
                    // Only when it was given back: [`Mutant::CommitAfterRevoke`].
                    None => offsets.push((*partition, Committed { offset: *start, claims: vec![claim.clone()] })),
                }
            }
        }
        for partition in named.each() {
            let holding = self.holdings[partition].as_mut().expect("just seen");
            let written = holding.written;
            holding.named.retain(|claim| claim.of(partition).is_some_and(|range| range.end > written));
            holding.told = Some(written);
            offsets.push((partition, Committed { offset: written, claims: holding.named.clone() }));
        }
        if !offsets.is_empty() {
            self.committer.push(Request {
                generation: self.generation,
                offsets,
                stage: Stage::Sent,
                units,
                awaited: true,
            });
        }
    }

    fn is_due_of(&self, partition: Partition) -> bool {
        self.holdings[partition].as_ref().is_some_and(Holding::is_due)
    }

    /// The answer to a commit: its units may be written, or none of it is true and all of it is due again.
    pub fn hear(&mut self, request: Request, rules: Rules) {
        if request.stage == Stage::Taken {
            self.lane.extend(request.units);
            return;
        }
        self.forget_told();
        for unit in &request.units {
            for holding in self.holdings.iter_mut().flatten() {
                holding.named.retain(|claim| *claim != unit.claim);
            }
        }
        self.waiting.splice(0..0, request.units);
        self.drop_waiting(rules);
    }

    /// There is no answer. What was under way has ended, and the group says how: whatever it claimed is read again.
    pub fn hear_nothing(&mut self, request: Request, rules: Rules) {
        self.forget_told();
        for partition in request.units.iter().flat_map(|unit| unit.ours.each()).collect::<Partitions>().each() {
            let Some(holding) = &mut self.holdings[partition] else { continue };
            if rules.breaks(Mutant::DropSentClaim) {
                self.cut_anew(partition);
            } else if !holding.has_stopped() {
                self.read_again(partition);
            } else if !rules.breaks(Mutant::KeepUnknownOfStopped) {
                holding.silence();
            }
        }
        self.drop_waiting(rules);
    }

    fn forget_told(&mut self) {
        for holding in self.holdings.iter_mut().flatten() {
            if matches!(holding.way, Way::Reading | Way::Stopped) {
                holding.told = None;
            }
        }
    }

    /// A unit is in the table.
    pub fn written(&mut self, index: usize, rules: Rules) {
        let Unit { claim, ours } = self.lane.remove(index);
        for Range { partition, end, .. } in claim.ranges {
            if let Some(holding) = self.holdings[partition].as_mut().filter(|_| ours.has(partition)) {
                holding.acknowledge(end, rules);
            }
        }
    }

    /// A unit is not written any more: it is older than what the table remembers.
    pub fn give_up(&mut self, index: usize, rules: Rules) {
        let Unit { ours, .. } = self.lane.remove(index);
        for partition in ours.each() {
            self.holdings[partition].as_mut().expect("it is ours").silence();
        }
        self.drop_waiting(rules);
    }

    /// A partition is read no more. Units that hold some of it and are not claimed are dropped.
    pub fn stop(&mut self, partition: Partition, rules: Rules) {
        self.holdings[partition].as_mut().expect("it is read").way = Way::Stopped;
        self.drop_waiting(rules);
    }

    /// Gives partitions back, or learns that they are lost. Units of theirs that are claimed are finished, here and by
    /// whoever finds the claim; units that are not are dropped, and what they held of others is read again.
    pub fn let_go(&mut self, partitions: Partitions, rules: Rules) {
        if rules.breaks(Mutant::RevokeDuringCommit) {
            self.forget_commit(partitions, rules);
        }
        let kept = rules.breaks(Mutant::CommitAfterRevoke).then(|| self.waiting.clone());
        for partition in partitions.each() {
            self.end_period(partition);
            self.holdings[partition] = None;
        }
        if let Some(kept) = kept {
            self.waiting = kept;
            return;
        }
        if rules.breaks(Mutant::RecutAfterRevoke) {
            let (lane, cut) = std::mem::take(&mut self.lane).into_iter().partition(Unit::is_ours);
            self.lane = lane;
            let cut: Vec<Unit> = cut;
            cut.iter().flat_map(|unit| unit.ours.each()).collect::<Partitions>().each().for_each(|p| self.cut_anew(p));
        }
        self.drop_waiting(rules);
    }

    fn forget_commit(&mut self, partitions: Partitions, rules: Rules) {
        for request in &mut self.committer {
            request.awaited = false;
        }
        let units = self.committer.iter_mut().flat_map(|request| std::mem::take(&mut request.units));
        let units: Vec<_> = units.collect();
        for partition in units.iter().flat_map(|unit| unit.ours.each()).filter(|p| !partitions.has(*p)) {
            self.read_again(partition);
        }
        self.drop_waiting(rules);
    }

    /// Whatever is still told of it later is thrown away.
    fn end_period(&mut self, partition: Partition) {
        self.dropped.remove(partition);
        let units = self.waiting.iter_mut().chain(&mut self.lane);
        for unit in units.chain(self.committer.iter_mut().flat_map(|request| &mut request.units)) {
            unit.ours.remove(partition);
        }
    }

    /// Begins a new period of owning a partition.
    pub fn read_again(&mut self, partition: Partition) {
        self.end_period(partition);
        self.take(partition);
    }

    /// A mistake: goes on behind what is written, as memory says.
    fn cut_anew(&mut self, partition: Partition) {
        self.end_period(partition);
        let holding = self.holdings[partition].as_mut().expect("it is ours");
        holding.position = holding.written;
        holding.closed.clear();
        holding.named.clear();
    }

    /// Drops units of which some is not ours any more, or is read no more. What they held of other partitions is read
    /// again, when the lane has told of it; until then units that hold some of these are dropped, too: a claim of theirs
    /// would have a gap before it.
    pub fn drop_waiting(&mut self, rules: Rules) {
        while let Some(index) = self.waiting.iter().position(|unit| self.is_dropped(unit, rules)) {
            let Unit { ours, .. } = self.waiting.remove(index);
            for partition in ours.each() {
                if self.is_read(partition) {
                    self.dropped.add(partition);
                }
            }
        }
    }

    fn is_dropped(&self, unit: &Unit, rules: Rules) -> bool {
        let has_gap = |p| self.dropped.has(p) && !rules.breaks(Mutant::ClaimBehindDropped);
        unit.claim.partitions().each().any(|p| !unit.ours.has(p) || !self.is_read(p) || has_gap(p))
    }

    fn is_read(&self, partition: Partition) -> bool {
        self.holdings[partition].as_ref().is_some_and(|holding| !holding.has_stopped())
    }

    /// Ends at once. What the group has of a transaction stays pending there.
    pub fn crash(&mut self) {
        let committer =
            std::mem::take(&mut self.committer).into_iter().filter(|request| request.stage == Stage::Pending);
        let orphaned = committer.map(|request| Request { units: Vec::new(), awaited: false, ..request }).collect();
        *self = Self { runs: false, committer: orphaned, ..Self::new(self.holdings.len()) };
    }
}
