//! All of it together: what can happen next, and what comes of it.

use stateright::{Model, Property};

use crate::broker::{Broker, Generation, ProcessId, Request, Stage};
use crate::claim::{Claim, Offset, Partition, Partitions, Range};
use crate::mutant::{Mutant, Rules};
use crate::process::{Holding, Process, Way};
use crate::table::Table;

/// How large the system is, and how often what may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Processes of the pipeline.
    pub processes: usize,
    /// Partitions of the topic.
    pub partitions: usize,
    /// Records of each partition.
    pub records: Offset,
    /// Units that a process has closed and not written, at most: more than one is a chain of claims.
    pub units: usize,
    /// Blocks that the table remembers; none: all.
    pub window: Option<u8>,
    /// What may go wrong.
    pub faults: Faults,
}

/// How often each thing may go wrong, from here on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// A process is killed. It may begin again.
    pub crashes: u8,
    /// The group takes a member for dead, which goes on until it learns of it.
    pub evictions: u8,
    /// A commit is not answered.
    pub lost_answers: u8,
    /// An insert is not answered, and is applied later, or never.
    pub copies: u8,
    /// The group takes partitions back from a member: one, or all.
    pub rebalances: u8,
    /// A partition is read no more: a record is bad, or the database refuses what is written.
    pub stops: u8,
    /// A partition's oldest record is deleted.
    pub deletions: u8,
}

/// The world between two events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Kafka.
    pub broker: Broker,
    /// Rowfall's processes.
    pub processes: Vec<Process>,
    /// The database.
    pub table: Table,
    /// Inserts that may still be applied, though nobody waits for them.
    pub copies: Vec<Claim>,
    /// What may still go wrong.
    pub left: Faults,
}

/// An event. The first number is the process's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It closes a unit of these ranges, which it has read.
    Close(ProcessId, Vec<Range>),
    /// It sends the next commit.
    Send(ProcessId),
    /// It hears what became of its commit.
    Hear(ProcessId, usize),
    /// It writes a unit, and hears that it is written.
    Insert(ProcessId, usize),
    /// With [`Mutant::InsertBeforeCommit`]: a unit of the commit under way goes into the table.
    InsertEarly(ProcessId, usize),
    /// It is told that a unit is too old to be written.
    GiveUp(ProcessId, usize),
    /// It asks the group where a partition goes on.
    Ask(ProcessId, Partition),
    /// It finishes the first claim that was found at a partition, or sees that it cannot.
    Rebuild(ProcessId, Partition),
    /// It finds that retention has deleted what it is to read next.
    LosePlace(ProcessId, Partition),
    /// It gives back what the group asks for.
    GiveBack(ProcessId),
    /// It learns that it is no member any more, and joins anew.
    Notice(ProcessId),
    /// It begins again, ends what an earlier process of its name left open, and joins.
    Restart(ProcessId),
    /// Its lane tells that some of a partition was dropped, and it reads that again.
    HearDropped(ProcessId, Partition),

    /// A commit arrives.
    Arrive(ProcessId, usize),
    /// With [`Mutant::TornCommit`]: one partition's offset of a commit arrives.
    ArriveInPart(ProcessId, usize),
    /// A transaction is committed.
    Commit(ProcessId),
    /// A transaction of a process that has ended is aborted, its time being over.
    TimeOut(ProcessId),
    /// The group gives a partition to a member.
    Assign(ProcessId, Partition),
    /// A copy of an insert is applied.
    ApplyCopy(usize),
    /// A copy of an insert is too old to be applied.
    ExpireCopy(usize),

    /// See [`Faults::crashes`].
    Crash(ProcessId),
    /// See [`Faults::evictions`].
    Evict(ProcessId),
    /// See [`Faults::lost_answers`].
    LoseAnswer(ProcessId),
    /// See [`Faults::copies`]: of a unit's insert.
    Delay(ProcessId, usize),
    /// See [`Faults::copies`]: of the insert of a claim that was found.
    DelayRebuild(ProcessId, Partition),
    /// See [`Faults::rebalances`].
    TakeBack(ProcessId, Partitions),
    /// See [`Faults::stops`].
    Stop(ProcessId, Partition),
    /// See [`Faults::deletions`].
    Delete(Partition),
}

impl Action {
    /// Whether it is something that goes wrong: nothing good needs it.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        use Action::{Crash, Delay, DelayRebuild, Delete, Evict, LoseAnswer, Stop, TakeBack};
        matches!(
            self,
            Crash(_) | Evict(_) | LoseAnswer(_) | Delay(..) | DelayRebuild(..) | TakeBack(..) | Stop(..) | Delete(_)
        )
    }
}

/// The protocol within these bounds, with all its rules or all but one.
#[derive(Clone, Copy, Debug)]
pub struct System {
    /// How much is looked at.
    pub bounds: Bounds,
    /// Which rules hold.
    pub rules: Rules,
}

/// No record is in the table twice.
pub const NOTHING_DOUBLED: &str = "nothing doubled";
/// No committed offset has passed a record that is not in the table.
pub const NOTHING_LOST: &str = "nothing lost";

impl State {
    /// Whether no record is in the table twice.
    #[must_use]
    pub fn is_undoubled(&self) -> bool {
        self.table.rows.iter().flatten().all(|count| *count <= 1)
    }

    /// Whether everything before the committed offsets is in the table.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let complete = |(partition, committed): (_, &crate::broker::Committed)| {
            (0..usize::from(committed.offset)).all(|offset| self.table.has(partition, offset))
        };
        self.broker.committed.iter().enumerate().all(complete)
    }

    /// Whether each partition is in the table, and the group knows, or has stopped and says so.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.broker.committed.iter().enumerate().all(|(partition, committed)| {
            let owner = self.broker.owners[partition].map(|owner| &self.processes[owner].holdings[partition]);
            let stopped = owner.and_then(Option::as_ref).is_some_and(Holding::has_stopped);
            let records = &self.table.rows[partition];
            let whole = usize::from(committed.offset) == records.len() && committed.claims.is_empty();
            stopped || whole && records.iter().all(|count| *count == 1)
        })
    }

    /// Whether the group answers where a partition goes on: it waits for open transactions that name it.
    fn is_stable(&self, partition: Partition) -> bool {
        let pending = |request: &Request| request.stage == Stage::Pending && request.names(partition);
        !self.processes.iter().flat_map(|process| &process.committer).any(pending)
    }

    /// The lowest nonce that tells a claim of these ranges from all others that there are.
    fn nonce(&self, ranges: &[Range]) -> u8 {
        let committed = self.broker.committed.iter().flat_map(|committed| &committed.claims);
        let processes = self.processes.iter().flat_map(|process| {
            let sent = process.committer.iter().flat_map(|request| {
                let offsets = request.offsets.iter().flat_map(|(_, committed)| &committed.claims);
                offsets.chain(request.units.iter().map(|unit| &unit.claim))
            });
            let found = process.holdings.iter().flatten().flat_map(|holding| match &holding.way {
                Way::Rebuilding(claims) => claims.as_slice(),
                _ => &[],
            });
            sent.chain(found).chain(process.waiting.iter().chain(&process.lane).map(|unit| &unit.claim))
        });
        let all: Vec<_> = committed.chain(processes).chain(&self.copies).collect();
        let is_taken = |nonce: &u8| {
            self.table.knows(ranges, *nonce) || all.iter().any(|claim| claim.nonce == *nonce && claim.ranges == ranges)
        };
        (0..).find(|nonce| !is_taken(nonce)).expect("few claims")
    }

    /// The group has changed, and its members learn of it; what they have sent is of a generation before.
    fn new_generation(&mut self) {
        for (process, is_member) in self.processes.iter_mut().zip(&self.broker.members) {
            process.committer.iter_mut().for_each(|request| request.generation = Generation::Past);
            process.generation = if *is_member { Generation::Current } else { Generation::Past };
        }
    }

    /// Forgets inserts that nobody waits for and that the table will drop, whenever they come: they change nothing.
    fn forget_the_harmless(&mut self) {
        let Self { processes, table, copies, .. } = self;
        for process in processes {
            process.lane.retain(|unit| !unit.ours.is_empty() || !table.drops_for_ever(&unit.claim));
        }
        copies.retain(|claim| !table.drops_for_ever(claim));
    }

    /// Whether all records of a claim are in the topic still.
    fn is_whole(&self, claim: &Claim) -> bool {
        claim.ranges.iter().all(|range| self.broker.oldest[range.partition] <= range.start)
    }

    fn first_found(&self, process: ProcessId, partition: Partition) -> Option<&Claim> {
        match &self.processes[process].holdings[partition].as_ref()?.way {
            Way::Rebuilding(claims) => claims.first(),
            _ => None,
        }
    }
}

impl Model for System {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let Bounds { processes, partitions, records, window, faults, .. } = self.bounds;
        let broker = Broker::new(processes, partitions);
        let mut processes: Vec<_> = (0..processes).map(|_| Process::new(partitions)).collect();
        for partition in 0..partitions {
            processes[0].take(partition);
            processes[0].hear_committed(partition, &broker.committed[partition]);
        }
        let table = Table::new(partitions, records, window);
        vec![State { broker, processes, table, copies: Vec::new(), left: faults }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for id in 0..state.processes.len() {
            self.of_process(state, id, actions);
            self.of_commits(state, id, actions);
            self.of_group(state, id, actions);
        }
        for (index, claim) in state.copies.iter().enumerate() {
            if self.rules.breaks(Mutant::LateCopy) || state.table.remembers(claim) {
                actions.push(Action::ApplyCopy(index));
            } else {
                actions.push(Action::ExpireCopy(index));
            }
        }
        if state.left.deletions > 0 {
            let any = |partition: &Partition| state.broker.oldest[*partition] < self.bounds.records;
            actions.extend((0..self.bounds.partitions).filter(any).map(Action::Delete));
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        let rules = self.rules;
        let State { broker, processes, table, copies, left } = &mut state;
        match action {
            Action::Close(id, ranges) => {
                let claim = Claim { nonce: before.nonce(&ranges), made: table.entered, ranges };
                processes[id].close(claim, rules);
            }
            Action::Send(id) => processes[id].send(),
            Action::Hear(id, index) => {
                let request = processes[id].committer.remove(index);
                processes[id].hear(request, rules);
            }
            Action::Insert(id, index) => {
                table.insert(&processes[id].lane[index].claim, rules);
                processes[id].written(index, rules);
            }
            Action::InsertEarly(id, index) => table.insert(&processes[id].committer[0].units[index].claim, rules),
            Action::GiveUp(id, index) => processes[id].give_up(index, rules),
            Action::Ask(id, partition) => processes[id].hear_committed(partition, &broker.committed[partition]),
            Action::Rebuild(id, partition) => {
                let claim = before.first_found(id, partition)?;
                if before.is_whole(claim) && self.is_young(before, claim) {
                    table.insert(claim, rules);
                    processes[id].rebuilt(claim);
                } else {
                    processes[id].cannot_rebuild(claim);
                }
            }
            Action::LosePlace(id, partition) => processes[id].stop(partition, rules),
            Action::GiveBack(id) => {
                let partitions: Partitions = broker.owned_by(id).each().filter(|p| broker.asked_back.has(*p)).collect();
                processes[id].let_go(partitions, rules);
                broker.free(partitions);
            }
            Action::Notice(id) => {
                processes[id].let_go((0..self.bounds.partitions).collect(), rules);
                broker.members[id] = true;
                state.new_generation();
            }
            Action::Restart(id) => {
                processes[id] = Process::new(self.bounds.partitions);
                broker.members[id] = true;
                state.new_generation();
            }
            Action::HearDropped(id, partition) => {
                processes[id].read_again(partition);
                processes[id].drop_waiting(rules);
            }
            Action::Arrive(id, index) => {
                let request = &mut processes[id].committer[index];
                match (broker.takes(id, request), rules.are_plain()) {
                    (false, _) => request.end(Stage::Refused),
                    (true, false) => request.stage = Stage::Pending,
                    (true, true) => {
                        broker.commit(&request.offsets);
                        request.end(Stage::Taken);
                    }
                }
                forget_unawaited(&mut processes[id], index);
            }
            Action::ArriveInPart(id, index) => {
                let takes = broker.takes(id, &processes[id].committer[index]);
                let request = &mut processes[id].committer[index];
                if takes {
                    broker.commit(&[request.offsets.remove(0)]);
                }
                if !takes {
                    request.end(Stage::Refused);
                } else if request.offsets.is_empty() {
                    request.end(Stage::Taken);
                }
                forget_unawaited(&mut processes[id], index);
            }
            Action::Commit(id) => {
                let request = &mut processes[id].committer[0];
                broker.commit(&request.offsets);
                request.end(Stage::Taken);
                forget_unawaited(&mut processes[id], 0);
            }
            Action::TimeOut(id) => processes[id].committer.clear(),
            Action::Assign(id, partition) => {
                broker.owners[partition] = Some(id);
                processes[id].take(partition);
                state.new_generation();
            }
            Action::ApplyCopy(index) => table.insert(&copies.remove(index), rules),
            Action::ExpireCopy(index) => drop(copies.remove(index)),

            Action::Crash(id) => {
                left.crashes -= 1;
                processes[id].crash();
                if broker.members[id] {
                    broker.evict(id);
                }
                state.new_generation();
            }
            Action::Evict(id) => {
                left.evictions -= 1;
                broker.evict(id);
                state.new_generation();
            }
            Action::LoseAnswer(id) => {
                left.lost_answers -= 1;
                let mut request = processes[id].committer.remove(0);
                if rules.are_plain() && request.stage == Stage::Sent {
                    // It may land yet.
                    let unawaited = Request { units: Vec::new(), awaited: false, ..request.clone() };
                    processes[id].committer.push(unawaited);
                }
                request.awaited = false;
                processes[id].hear_nothing(request, rules);
            }
            Action::Delay(id, index) => {
                left.copies -= 1;
                copies.push(processes[id].lane[index].claim.clone());
                copies.sort_unstable();
            }
            Action::DelayRebuild(id, partition) => {
                left.copies -= 1;
                copies.push(before.first_found(id, partition)?.clone());
                copies.sort_unstable();
            }
            Action::TakeBack(_, partitions) => {
                left.rebalances -= 1;
                partitions.each().for_each(|partition| broker.asked_back.add(partition));
            }
            Action::Stop(id, partition) => {
                left.stops -= 1;
                processes[id].stop(partition, rules);
            }
            Action::Delete(partition) => {
                left.deletions -= 1;
                broker.oldest[partition] += 1;
            }
        }
        state.forget_the_harmless();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NOTHING_DOUBLED, |_, state: &State| state.is_undoubled()),
            Property::always(NOTHING_LOST, |_, state: &State| state.is_complete()),
            Property::sometimes("all is written", |_, state: &State| state.is_done()),
        ]
    }
}

/// Nobody waits for its answer: it is as good as over.
fn forget_unawaited(process: &mut Process, index: usize) {
    let request = &process.committer[index];
    if !request.awaited && matches!(request.stage, Stage::Taken | Stage::Refused) {
        process.committer.remove(index);
    }
}

impl System {
    /// Whether a claim is still written.
    fn is_young(&self, state: &State, claim: &Claim) -> bool {
        self.rules.breaks(Mutant::OldClaim) || state.table.remembers(claim)
    }

    /// What a process may do by itself.
    fn of_process(&self, state: &State, id: ProcessId, actions: &mut Vec<Action>) {
        let process = &state.processes[id];
        let Faults { copies, stops, crashes, .. } = state.left;
        if !process.runs {
            actions.push(Action::Restart(id));
            return;
        }
        if crashes > 0 {
            actions.push(Action::Crash(id));
        }
        if process.units() < self.bounds.units {
            actions.extend(self.closable(state, id).into_iter().map(|ranges| Action::Close(id, ranges)));
        }
        let at_once = if self.rules.breaks(Mutant::TwoCommitsAtOnce) { 2 } else { 1 };
        if process.is_due() && process.committer.iter().filter(|request| request.awaited).count() < at_once {
            actions.push(Action::Send(id));
        }
        for (index, unit) in process.lane.iter().enumerate() {
            if !self.is_young(state, &unit.claim) {
                actions.push(Action::GiveUp(id, index));
                continue;
            }
            actions.push(Action::Insert(id, index));
            if copies > 0 {
                actions.push(Action::Delay(id, index));
            }
        }
        if self.rules.breaks(Mutant::InsertBeforeCommit) {
            let under_way = process.committer.first().map_or(0, |request| request.units.len());
            actions.extend((0..under_way).map(|index| Action::InsertEarly(id, index)));
        }
        for (partition, holding) in process.holdings.iter().enumerate() {
            let Some(holding) = holding else { continue };
            let own = |request: &Request| request.awaited && request.names(partition);
            match &holding.way {
                Way::Asking => {
                    let waits = !self.rules.breaks(Mutant::ReadPastOpenTransaction) && !state.is_stable(partition);
                    if !waits && !process.committer.iter().any(own) {
                        actions.push(Action::Ask(id, partition));
                    }
                }
                Way::Rebuilding(_) => {
                    actions.push(Action::Rebuild(id, partition));
                    if copies > 0 {
                        actions.push(Action::DelayRebuild(id, partition));
                    }
                }
                Way::Reading => {
                    if holding.position < state.broker.oldest[partition] {
                        actions.push(Action::LosePlace(id, partition));
                    } else if stops > 0 {
                        actions.push(Action::Stop(id, partition));
                    }
                }
                Way::Stopped | Way::Silent => {}
            }
            if process.dropped.has(partition) {
                actions.push(Action::HearDropped(id, partition));
            }
        }
    }

    /// What a unit may hold that is closed now: any number of records of each partition that is read.
    fn closable(&self, state: &State, id: ProcessId) -> Vec<Vec<Range>> {
        let mut closable = vec![Vec::new()];
        for (partition, holding) in state.processes[id].holdings.iter().enumerate() {
            let Some(holding) = holding.as_ref().filter(|holding| holding.way == Way::Reading) else { continue };
            let start = holding.position;
            if start < state.broker.oldest[partition] {
                continue;
            }
            for ranges in closable.clone() {
                for end in start + 1..=self.bounds.records {
                    let mut more = ranges.clone();
                    more.push(Range { partition, start, end });
                    closable.push(more);
                }
            }
        }
        closable.retain(|ranges| !ranges.is_empty());
        closable
    }

    /// What may become of its commits.
    fn of_commits(&self, state: &State, id: ProcessId, actions: &mut Vec<Action>) {
        let process = &state.processes[id];
        let plain = self.rules.are_plain();
        for (index, request) in process.committer.iter().enumerate() {
            // A producer has one transaction at a time.
            if index > 0 && !plain {
                break;
            }
            match request.stage {
                Stage::Sent if self.rules.breaks(Mutant::TornCommit) => {
                    actions.push(Action::ArriveInPart(id, index));
                }
                Stage::Sent => actions.push(Action::Arrive(id, index)),
                Stage::Pending => actions.push(Action::Commit(id)),
                Stage::Taken | Stage::Refused => actions.push(Action::Hear(id, index)),
            }
        }
        if !process.runs && !process.committer.is_empty() {
            actions.push(Action::TimeOut(id));
        }
        if state.left.lost_answers > 0 && process.committer.first().is_some_and(|request| request.awaited) {
            actions.push(Action::LoseAnswer(id));
        }
    }

    /// What the group may do with it, and it with the group.
    fn of_group(&self, state: &State, id: ProcessId, actions: &mut Vec<Action>) {
        let (broker, process) = (&state.broker, &state.processes[id]);
        if !process.runs {
            return;
        }
        let ends = !process.is_committing();
        if !broker.members[id] {
            if ends {
                actions.push(Action::Notice(id));
            }
            return;
        }
        if state.left.evictions > 0 {
            actions.push(Action::Evict(id));
        }
        let owned = broker.owned_by(id);
        let asked_back = owned.each().any(|partition| broker.asked_back.has(partition));
        if asked_back && (ends || self.rules.breaks(Mutant::RevokeDuringCommit)) {
            actions.push(Action::GiveBack(id));
        }
        if state.left.rebalances > 0 && !asked_back {
            actions.extend(owned.each().map(|partition| Action::TakeBack(id, Partitions::one(partition))));
            if owned.each().count() > 1 {
                actions.push(Action::TakeBack(id, owned));
            }
        }
        let free = (0..self.bounds.partitions).filter(|partition| broker.owners[*partition].is_none());
        actions.extend(free.map(|partition| Action::Assign(id, partition)));
    }
}
