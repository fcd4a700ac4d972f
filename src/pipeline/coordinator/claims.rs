//! With exactly-once into a database that keeps tokens: a unit is written only once the group has its claim, and a claim
//! that the group has is written by whoever owns any of its partitions.
//!
//! Kafka's offsets and these claims stand together: the offset of a partition is where its first claim begins that is
//! not known to be written, and its metadata hold every claim from there on. Both are committed in one transaction for
//! all partitions. What `EXACTLY_ONCE` asks of it:
//!
//! - a unit goes to the database when the transaction that has its claim is committed, never before
//! - one transaction at a time; a claim is left out only together with the offset that passes it
//! - partitions are given back when no transaction is under way; units that were not claimed by then are dropped, and
//!   what they held of partitions that stay is read again
//! - a claim that is found is rebuilt and written under its token before anything else of its partitions is read

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rowfall_dialects::contract::{Receipt, Token};
use rowfall_dialects::failpoint;
use tokio::sync::oneshot;

use super::assign::Place;
use super::{Coordinator, Holding, State, Topic, TopicPartition};
use crate::claim::{Claim, LONGEST, Range};
use crate::commit::Watermarks;
use crate::config::KafkaSettings;
use crate::pipeline::Report;
use crate::pipeline::rebuild::{Rebuild, Rebuilt};
use crate::problem::Problem;
use crate::source::consumer::Due;
use crate::source::instance::Instance;
use crate::source::position::{Offset, Owned, Span};
use crate::source::start::Committed;
use crate::source::transactions::Transactions;
use crate::write::Outcome;

/// How long to wait before a transaction that was refused is tried again.
const AGAIN: Duration = Duration::from_millis(100);

/// What is claimed, and what is to be.
pub(in crate::pipeline) struct Claims {
    pipeline: Arc<str>,
    pub(super) transactions: Transactions,
    /// Closed and not claimed, in the order in which they were closed.
    waiting: Vec<Unclaimed>,
    /// In the transaction that is under way.
    under_way: Vec<(Unclaimed, Claim)>,
    /// Whose offsets do not pass them yet, in order.
    named: BTreeMap<TopicPartition, Vec<Claim>>,
    not_before: Instant,
    found: Vec<Found>,
    /// Keeps the `transactional.id` this process's.
    _instance: Instance,
}

/// A unit that waits for its claim in its lane.
struct Unclaimed {
    spans: Vec<Span>,
    /// Has it written, under this token.
    claim: oneshot::Sender<Token>,
}

/// A claim that stood in the metadata of an offset.
struct Found {
    claim: Claim,
    topic: Arc<str>,
    /// Our partitions that go on when it is written.
    waits: Vec<Arc<Owned>>,
    is_begun: bool,
}

impl Claims {
    /// Takes the process's name, and ends what was under way when it had it last.
    ///
    /// # Errors
    /// When the brokers have no transactions, or not for this user.
    pub(in crate::pipeline) fn start(pipeline: Arc<str>, kafka: &KafkaSettings) -> Result<Self, Problem> {
        if kafka.properties.get("isolation.level").is_some_and(|level| level == "read_uncommitted") {
            let what = "exactly-once cannot be kept with `isolation.level: read_uncommitted`: what other processes commit \
                        would be read before it holds";
            return Err(Problem::new(what, "take it out of `kafka.properties`, or set `delivery: at-least-once`"));
        }
        let instance = Instance::take(&pipeline, kafka.instance.as_deref());
        let transactions = Transactions::start(&format!("{pipeline}-{}", instance.name), kafka)?;
        Ok(Self {
            pipeline,
            transactions,
            waiting: Vec::new(),
            under_way: Vec::new(),
            named: BTreeMap::new(),
            not_before: Instant::now(),
            found: Vec::new(),
            _instance: instance,
        })
    }

    /// A unit with these spans waits for its claim.
    pub(super) fn wait(&mut self, spans: Vec<Span>, claim: oneshot::Sender<Token>) {
        if failpoint::breaks("fence") {
            let _ = claim.send(self::claim(&spans).token(&self.pipeline, ""));
            return;
        }
        self.waiting.push(Unclaimed { spans, claim });
    }

    /// Whether a transaction is wanted, now.
    pub(super) fn is_wanted(&self) -> bool {
        !self.waiting.is_empty() && Instant::now() >= self.not_before
    }

    /// What the next transaction commits: the offsets that are due, and the claims of all units that can be claimed.
    pub(super) fn next(
        &mut self,
        watermarks: &mut Watermarks,
        holdings: &BTreeMap<TopicPartition, Holding>,
    ) -> Vec<Due> {
        let mut due: BTreeSet<_> = watermarks.take_due().into_iter().map(|(partition, _)| partition).collect();
        for (partition, claims) in &mut self.named {
            let written = watermarks.written_of(partition);
            claims.retain(|claim| claim.of(partition.partition).map(|range| range.end) > written);
        }
        self.named.retain(|_, claims| !claims.is_empty());
        let mut held_up = BTreeSet::new();
        for unclaimed in std::mem::take(&mut self.waiting) {
            let partitions = || unclaimed.spans.iter().map(|span| &span.owned.partition);
            let is_ours = |span: &Span| {
                let holding = holdings.get(&span.owned.partition).filter(|h| h.owned == span.owned);
                // Of one that has stopped: what stands before the record that stopped it.
                holding.is_some_and(|h| h.state != State::Gone)
            };
            if !unclaimed.spans.iter().all(is_ours) {
                // Dropped: what it holds of others is read again.
                continue;
            }
            let claim = claim(&unclaimed.spans);
            let length = claim.to_string().len();
            let fits = |partition: &TopicPartition| {
                self.metadata(partition, &holdings[partition]).len() + length + 7 <= LONGEST
            };
            if partitions().any(|partition| held_up.contains(partition)) || !partitions().all(fits) {
                held_up.extend(partitions().cloned());
                self.waiting.push(unclaimed);
                continue;
            }
            for partition in partitions() {
                self.named.entry(partition.clone()).or_default().push(claim.clone());
                due.insert(partition.clone());
            }
            self.under_way.push((unclaimed, claim));
        }
        let due = due.into_iter().filter_map(|partition| {
            let holding = holdings.get(&partition)?;
            let first = || self.named.get(&partition)?.first()?.of(partition.partition).map(|range| range.start);
            let offset = watermarks.written_of(&partition).or_else(first)?;
            if failpoint::breaks("order") {
                let last = self.named.get(&partition).and_then(|claims| claims.last()?.of(partition.partition));
                let offset = last.map_or(offset, |range| range.end);
                return Some(Due { metadata: holding.note.to_string(), partition, offset });
            }
            Some(Due { metadata: self.metadata(&partition, holding), partition, offset })
        });
        due.collect()
    }

    /// What is committed with a partition's offset.
    fn metadata(&self, partition: &TopicPartition, holding: &Holding) -> String {
        holding.note.with(self.named.get(partition).map_or(&[], Vec::as_slice))
    }

    /// The transaction is committed: its claims hold.
    pub(super) fn committed(&mut self) {
        if !self.under_way.is_empty() {
            failpoint::at("claimed");
        }
        for (Unclaimed { spans, claim }, claimed) in self.under_way.drain(..) {
            let token = claimed.token(&self.pipeline, &spans[0].owned.partition.topic);
            // A lane that is gone has given the unit up: whoever finds the claim writes it.
            let _ = claim.send(token);
        }
    }

    /// Nothing of the transaction is committed.
    pub(super) fn refused(&mut self) {
        self.not_before = Instant::now() + AGAIN;
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
        self.under_way.drain(..).flat_map(|(unclaimed, _)| unclaimed.spans).collect()
    }

    /// These partitions are not ours any more, or have to be asked for anew: units that hold some of them and are not
    /// claimed are dropped.
    pub(super) fn forget(&mut self, partitions: &[TopicPartition]) {
        let holds = |span: &Span| partitions.contains(&span.owned.partition);
        self.waiting.retain(|unclaimed| !unclaimed.spans.iter().any(holds));
        self.named.retain(|partition, _| !partitions.contains(partition));
        for found in &mut self.found {
            found.waits.retain(|owned| !partitions.contains(&owned.partition));
        }
        self.found.retain(|found| found.is_begun || !found.waits.is_empty());
    }
}

/// The claim of a unit.
fn claim(spans: &[Span]) -> Claim {
    let range = |span: &Span| Range { partition: span.owned.partition.partition, start: span.start, end: span.end };
    let mut ranges: Vec<_> = spans.iter().map(range).collect();
    ranges.sort_unstable_by_key(|range| range.partition);
    Claim::new(ranges)
}

/// The claims that stand by a committed offset of this topic.
fn claims_of<'c>(committed: Option<&'c Committed>, holding: &Holding) -> &'c [Claim] {
    match committed {
        Some(Committed { claims: Ok(claims), note, .. }) if note.topic == holding.note.topic => claims,
        _ => &[],
    }
}

impl Coordinator {
    /// Whether what the group has of a partition has to be written first.
    pub(super) fn is_claimed(&self, committed: Option<&Committed>) -> bool {
        self.claims.is_some() && committed.is_some_and(|c| c.claims.as_ref().is_ok_and(|claims| !claims.is_empty()))
    }

    /// A partition goes on when the claims are written that stand by its offset.
    pub(super) fn wait_for_claims(&mut self, owned: &Arc<Owned>) -> Result<(), Problem> {
        let Some(holding) = self.taken(owned) else { return Ok(()) };
        let found = claims_of(holding.committed.as_ref(), holding).to_vec();
        let claims = self.claims.as_mut().expect("only with claims");
        for claim in found {
            let topic = &owned.partition.topic;
            let known =
                |found: &&mut Found| found.topic == *topic && found.claim.nonce == claim.nonce && !found.is_begun;
            match claims.found.iter_mut().find(known) {
                Some(found) => found.waits.push(Arc::clone(owned)),
                None => claims.found.push(Found {
                    claim,
                    topic: Arc::clone(topic),
                    waits: vec![Arc::clone(owned)],
                    is_begun: false,
                }),
            }
        }
        self.begin_behind_claims(owned)
    }

    /// Asks the group what it has of partitions that are to be read anew.
    pub(super) fn ask_group(&mut self) -> Result<(), Problem> {
        // What is under way may say something else.
        if self.committing.is_some() {
            return Ok(());
        }
        let due = self.taking.take_due();
        let due: Vec<_> = due.into_iter().filter(|owned| self.taken(owned).is_some()).collect();
        if due.is_empty() {
            return Ok(());
        }
        let partitions: Vec<_> = due.iter().map(|owned| owned.partition.clone()).collect();
        let committed = self.patiently(|consumer| consumer.committed(&partitions))?;
        for (owned, committed) in due.iter().zip(committed) {
            let holding = self.holdings.get_mut(&owned.partition).expect("just seen");
            // Where it was decided to begin, if nothing was committed since.
            holding.committed = committed.or_else(|| holding.committed.take());
            self.wait_for_claims(owned)?;
        }
        Ok(())
    }

    /// Begins with the next claim that was found. One at a time: each holds a whole unit.
    pub(super) fn rebuild_next(&mut self) {
        let Some(claims) = &mut self.claims else { return };
        if claims.found.iter().any(|found| found.is_begun) {
            return;
        }
        let Some(found) = claims.found.first_mut() else { return };
        found.is_begun = true;
        let (claim, topic, nonce) = (found.claim.clone(), Arc::clone(&found.topic), found.claim.nonce);
        let token = claim.token(&claims.pipeline, &topic);
        let Some(Topic { destination, .. }) = self.topics.get(&topic) else {
            claims.found.remove(0);
            return;
        };
        tracing::info!("topic {topic}: finishing what was begun before: {}", ranges(&claim));
        let written = move |outcome| {
            let result = match outcome {
                Outcome::Written { rows, bytes, .. } => Ok(Receipt { rows, bytes }),
                Outcome::Refused { why, .. } | Outcome::Fenced { why, .. } => Err(why),
            };
            Report::Rebuilt(nonce, result)
        };
        let destination = destination.clone();
        let intake = self.supply.intake(&topic, &destination, written);
        let rebuild =
            Rebuild { kafka: self.kafka.clone(), topic, claim, token, intake, stop: Arc::clone(&self.options.stop) };
        let reports = self.supply.reports.clone();
        let begun = std::thread::Builder::new().name("rowfall-rebuild".to_owned()).spawn(move || {
            let done = catch_unwind(AssertUnwindSafe(|| rebuild.run()));
            let result = match done {
                Ok(Ok(Rebuilt::Sent | Rebuilt::Stopped)) => return,
                Ok(Ok(Rebuilt::Empty)) => Ok(Receipt::default()),
                Ok(Err(problem)) => Err(problem),
                Err(_) => Err(Problem::new("reading it panicked", "this is a bug of rowfall's: please report it")),
            };
            // The coordinator may have ended.
            let _ = reports.send(Report::Rebuilt(nonce, result));
        });
        if let Err(error) = begun {
            let problem = Problem::new(format!("cannot start a thread: {error}"), "");
            self.hear_of_claim(nonce, Err(problem));
        }
    }

    /// What became of a claim that was found.
    pub(super) fn hear_of_claim(&mut self, nonce: u64, result: Result<Receipt, Problem>) {
        let Some(claims) = &mut self.claims else { return };
        let Some(index) = claims.found.iter().position(|f| f.is_begun && f.claim.nonce == nonce) else { return };
        let Found { claim, topic, waits, .. } = claims.found.remove(index);
        match result {
            Ok(receipt) => {
                self.options.progress.count(receipt);
                for owned in waits {
                    if let Err(problem) = self.begin_behind_claims(&owned) {
                        self.failed.get_or_insert(problem);
                    }
                }
            }
            Err(problem) => {
                // Whatever waits for it waits for nothing else any more.
                let partitions: Vec<_> = waits.iter().map(|owned| owned.partition.clone()).collect();
                claims.forget(&partitions);
                let doing = format!("topic {topic}, writing again what was claimed ({})", ranges(&claim));
                for owned in waits {
                    let at = self.holdings.get(&owned.partition).and_then(|h| h.committed.as_ref());
                    let at = at.map_or(Offset(-1), |committed| committed.offset);
                    self.stop(&owned, at, problem.clone().within(&doing));
                }
            }
        }
    }

    /// Has a partition read on behind its claims, once all of them are written.
    fn begin_behind_claims(&mut self, owned: &Arc<Owned>) -> Result<(), Problem> {
        let waits = |found: &Found| found.waits.contains(owned);
        if self.claims.as_ref().is_some_and(|claims| claims.found.iter().any(waits)) {
            return Ok(());
        }
        let Some(holding) = self.taken(owned) else { return Ok(()) };
        let partition = &owned.partition;
        let ends =
            claims_of(holding.committed.as_ref(), holding).iter().filter_map(|claim| claim.of(partition.partition));
        let end = ends.map(|range| range.end).max();
        let note = holding.note.clone();
        let known = end.map_or_else(|| holding.committed.clone(), |end| Some(Committed::at(end, note.clone())));
        match self.place(partition, known.as_ref(), &note)? {
            Place::Read(from) => self.taking.place(Arc::clone(owned), from),
            Place::Leave(state) => self.holdings.get_mut(partition).expect("just seen").state = state,
            Place::Stop(at, why) => self.stop(owned, at, why.within(&format!("{partition} offset {at}"))),
        }
        Ok(())
    }

    /// What these units held of partitions that are ours is read again, from where it was claimed last.
    pub(super) fn read_again(&mut self, spans: &[Span], why: &Problem) {
        // Nobody need wait for them in partitions that are not read any more.
        self.watermarks.refused(spans);
        let ours = |span: &&Span| {
            let holding = self.holdings.get(&span.owned.partition).filter(|h| h.owned == span.owned);
            holding.is_some_and(|h| !matches!(h.state, State::Gone | State::Stopped))
        };
        let again: Vec<_> = spans.iter().filter(ours).map(|span| Arc::clone(&span.owned)).collect();
        if again.is_empty() {
            return;
        }
        let partitions: Vec<_> = again.iter().map(|owned| owned.partition.clone()).collect();
        tracing::info!(partitions = partitions.len(), "read again: {}: {}", super::names(&partitions), why.what);
        if let Some(claims) = &mut self.claims {
            claims.forget(&partitions);
        }
        for owned in self.drop_what_is_read(again) {
            self.taking.wait(owned, Duration::ZERO);
        }
    }
}

/// A claim for people.
fn ranges(claim: &Claim) -> String {
    let shown: Vec<_> = claim
        .ranges
        .iter()
        .take(8)
        .map(|r| format!("partition {} from {} to {}", r.partition, r.start, r.end))
        .collect();
    let more = if claim.ranges.len() > shown.len() { ", …" } else { "" };
    shown.join(", ") + more
}
