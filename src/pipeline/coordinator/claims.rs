//! With exactly-once into a database that keeps tokens: a unit is written only once the group has its claim, and a claim
//! that the group has is written by whoever owns any of its partitions.
//!
//! Kafka's offsets and these claims stand together: the offset of a partition is where its first claim begins that is
//! not known to be written, and its metadata hold every claim from there on. Both are committed in one transaction for
//! all partitions; `model/` has the whole of it. The rules:
//!
//! - a unit goes to the database when the transaction that has its claim is committed, never before
//! - one transaction at a time; a claim is left out only together with the offset that passes it
//! - partitions are given back when no transaction is under way; units that were not claimed by then are dropped, and
//!   what they held of partitions that stay is read again
//! - a claim that is found is rebuilt and written under its token before anything else of its partitions is read

mod ledger;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rowfall_dialects::contract::{Receipt, Token};
use rowfall_dialects::failpoint;
use tokio::sync::oneshot;

use super::take_over::each_once;
use super::{Coordinator, Holding, State, Topic, TopicPartition};
use crate::claim::Claim;
use crate::commit::Watermarks;
use crate::config::KafkaSettings;
use crate::pipeline::Report;
use crate::pipeline::rebuild::{Rebuild, Rebuilt};
use crate::problem::Problem;
use crate::source::consumer::Due;
use crate::source::instance::Instance;
use crate::source::position::{Offset, Owned, Span};
use crate::source::start::{CommitNote, Committed};
use crate::source::transactions::Transactions;
use crate::write::Outcome;
use ledger::Ledger;

/// How long to wait before a transaction that was refused is tried again.
const AGAIN: Duration = Duration::from_millis(100);

/// What is claimed, and what is to be.
pub(in crate::pipeline) struct Claims {
    pipeline: Arc<str>,
    pub(super) transactions: Transactions,
    ledger: Ledger,
    not_before: Instant,
    found: Vec<Found>,
    /// Keeps the `transactional.id` this process's.
    _instance: Instance,
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
    /// Takes the process's name, and ends what was under way when it had it last; `None` when told to stop meanwhile.
    ///
    /// # Errors
    /// When the brokers have no transactions, or not for this user.
    pub(in crate::pipeline) fn start(
        pipeline: Arc<str>,
        kafka: &KafkaSettings,
        stop: &AtomicBool,
    ) -> Result<Option<Self>, Problem> {
        if kafka.properties.get("isolation.level").is_some_and(|level| level == "read_uncommitted") {
            let what = "exactly-once cannot be kept with `isolation.level: read_uncommitted`: what other processes commit \
                        would be read before it holds";
            return Err(Problem::new(what, "take it out of `kafka.properties`, or set `delivery: at-least-once`"));
        }
        let instance = Instance::take(&pipeline, kafka.instance.as_deref());
        let id = format!("{pipeline}-{}", instance.name);
        let Some(transactions) = Transactions::start(&id, &pipeline, kafka, stop)? else { return Ok(None) };
        Ok(Some(Self {
            pipeline,
            transactions,
            ledger: Ledger::default(),
            not_before: Instant::now(),
            found: Vec::new(),
            _instance: instance,
        }))
    }

    /// A unit with these spans waits for its claim.
    pub(super) fn wait(&mut self, spans: Vec<Span>, claim: oneshot::Sender<Token>) {
        if failpoint::breaks("fence") {
            let _ = claim.send(ledger::claim(&spans).token(&self.pipeline, ""));
            return;
        }
        self.ledger.wait(spans, claim);
    }

    /// Whether a transaction is wanted, now.
    pub(super) fn is_wanted(&self) -> bool {
        self.ledger.has_waiting() && Instant::now() >= self.not_before
    }

    /// Whether something was found that is not known to be written yet.
    pub(super) fn has_found(&self) -> bool {
        !self.found.is_empty()
    }

    /// What the next transaction commits.
    pub(super) fn next(
        &mut self,
        watermarks: &mut Watermarks,
        holdings: &BTreeMap<TopicPartition, Holding>,
    ) -> Vec<Due> {
        // Of a partition that has stopped: what stands before the record that stopped it.
        let ours = |partition: &TopicPartition| {
            let holding = holdings.get(partition).filter(|holding| holding.state != State::Gone)?;
            Some((&holding.owned, &holding.note))
        };
        self.ledger.next(watermarks, &ours)
    }

    /// The transaction is committed: its claims hold.
    pub(super) fn committed(&mut self) {
        self.ledger.committed(&self.pipeline);
    }

    /// Nothing of the transaction is committed.
    pub(super) fn refused(&mut self) {
        self.not_before = Instant::now() + AGAIN;
        self.ledger.refused();
    }

    /// Whether the transaction is committed is not known: its units are dropped. Answers their spans.
    pub(super) fn unknown(&mut self) -> Vec<Span> {
        self.ledger.unknown()
    }

    /// These partitions are not ours any more, or have to be asked for anew.
    pub(super) fn forget(&mut self, partitions: &[TopicPartition]) {
        self.ledger.forget(partitions);
        for found in &mut self.found {
            found.waits.retain(|owned| !partitions.contains(&owned.partition));
        }
        self.found.retain(|found| found.is_begun || !found.waits.is_empty());
    }
}

/// The claims that stand by a committed offset of this topic.
fn claims_of<'c>(committed: Option<&'c Committed>, now: &CommitNote) -> &'c [Claim] {
    match committed {
        Some(Committed { claims: Ok(claims), note, .. }) if note.topic == now.topic => claims,
        _ => &[],
    }
}

impl Coordinator {
    /// Whether what the group has of a partition has to be written first.
    pub(super) fn is_claimed(&self, committed: Option<&Committed>, note: &CommitNote) -> bool {
        self.claims.is_some() && !claims_of(committed, note).is_empty()
    }

    /// A partition goes on when the claims are written that stand by its offset.
    pub(super) fn wait_for_claims(&mut self, owned: &Arc<Owned>) -> Result<(), Problem> {
        let Some(holding) = self.taken(owned) else { return Ok(()) };
        let found = claims_of(holding.committed.as_ref(), &holding.note).to_vec();
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
        let due = self.taking.take_due();
        let due: Vec<_> = due.into_iter().filter(|owned| self.taken(owned).is_some()).collect();
        if due.is_empty() {
            return Ok(());
        }
        // What is under way may say something else. It is not waited for in passing: there may always be something.
        self.end_transaction();
        let partitions: Vec<_> = due.iter().map(|owned| owned.partition.clone()).collect();
        let committed = self.patiently(|consumer| consumer.committed(&partitions))?;
        for (owned, committed) in due.iter().zip(committed) {
            if let Some(Committed { offset, claims: Err(why), .. }) = &committed {
                let place = format!("{} offset {offset}", owned.partition);
                self.stop(owned, *offset, why.problem(self.consumer().group()).within(&place));
                continue;
            }
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
        // Its claim stands already.
        let intake = self.supply.intake(&topic, &destination, false, written);
        let rebuild = Rebuild {
            kafka: self.supply.kafka.clone(),
            topic,
            claim,
            token,
            intake,
            stop: Arc::clone(&self.options.stop),
        };
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
                let problem = problem.or_hint(&format!(
                    "see whether the table has these rows, stop rowfall, and say so: `rowfall offsets --written {nonce:016x}`, \
                     or, if it has none of them, `rowfall offsets --write-again {nonce:016x}`"
                ));
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
        let claims = claims_of(holding.committed.as_ref(), &holding.note);
        let ends = claims.iter().filter_map(|claim| claim.of(partition.partition));
        let end = ends.map(|range| range.end).max();
        let note = holding.note.clone();
        let known = end.map_or_else(|| holding.committed.clone(), |end| Some(Committed::at(end, note.clone())));
        let place = self.place(partition, known.as_ref(), &note)?;
        self.go_to(owned, place);
        Ok(())
    }

    /// Whether a transaction with these units is committed is not known.
    pub(super) fn ask_again(&mut self, spans: &[Span], why: &Problem) {
        // One that has stopped is not asked for: what may be claimed of it must not be left out of what is committed next,
        // nor stand in it, so that nothing of it is committed any more.
        for span in spans {
            let partition = &span.owned.partition;
            if self.holdings.get(partition).is_some_and(|h| h.owned == span.owned && h.state == State::Stopped) {
                self.watermarks.release(partition);
                self.claims.as_mut().into_iter().for_each(|claims| claims.forget(std::slice::from_ref(partition)));
            }
        }
        self.read_again(spans, why);
    }

    /// What these units held of partitions that are ours is read again, from where it was claimed last.
    pub(super) fn read_again(&mut self, spans: &[Span], why: &Problem) {
        // Nobody need wait for them in partitions that are not read any more.
        self.watermarks.refused(spans);
        if self.failed.is_some() {
            return;
        }
        let ours = |span: &&Span| {
            let holding = self.holdings.get(&span.owned.partition).filter(|h| h.owned == span.owned);
            holding.is_some_and(|h| !matches!(h.state, State::Gone | State::Stopped))
        };
        let again = each_once(spans.iter().filter(ours));
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
