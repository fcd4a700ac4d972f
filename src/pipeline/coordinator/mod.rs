//! The consumer's thread: what it owns and what it is told. [`assign`] is how partitions come, [`take_over`] how the
//! database gives them to us, [`hand_over`] how they go and what is committed on the way, [`claims`] what is written only
//! once it is committed, [`topics`] how topics come and go.

mod assign;
mod claims;
mod hand_over;
mod take_over;
mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rowfall_dialects::contract::Receipt;

use super::intake::TopicIntake;
use super::lookout::Lookout;
use super::{Destination, Preparation, Prepared, Report, RunOptions, Summary, Supply};
use crate::commit::Watermarks;
use crate::problem::Problem;
use crate::source::consumer::{Commit, Consumer, Event, Queue};
use crate::source::position::{Offset, Owned, TopicPartition};
use crate::source::start::{CommitNote, Committed, TopicId};
use crate::source::worker::Command;
use crate::write::Outcome;
pub(super) use claims::Claims;
use take_over::TakeOver;

/// How long the group is served before reports are looked at.
const POLL: Duration = Duration::from_millis(20);
/// The same where units wait for their claims.
const CLAIM_POLL: Duration = Duration::from_millis(5);
/// At least this long between two asynchronous commits.
const COMMIT_EVERY: Duration = Duration::from_millis(500);
/// How often a process without partitions asks how far the group is.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct WorkerHandle {
    pub(super) queue: Arc<Queue>,
    pub(super) commands: Sender<Command>,
    /// To its intake: topics of which it may be given partitions.
    pub(super) topics: Sender<TopicIntake>,
    pub(super) thread: Option<JoinHandle<()>>,
}

impl WorkerHandle {
    fn tell(&self, command: Command) {
        // A worker ends only when told to finish.
        let _ = self.commands.send(command);
        self.queue.wake();
    }
}

/// A topic that this process takes partitions of.
struct Topic {
    /// Its id, and how many partitions it had when this process began to read it.
    note: CommitNote,
    paused: bool,
    /// Where its records go, for whoever has to read some of them again.
    destination: Destination,
}

/// A partition that this process owns.
struct Holding {
    owned: Arc<Owned>,
    worker: usize,
    state: State,
    /// What is committed with its offsets.
    note: CommitNote,
    /// What the group had committed, or where it was decided since that it begins.
    committed: Option<Committed>,
    /// Where the client would begin by itself, while it has read nothing of it.
    assigned_at: Option<Option<Offset>>,
    /// How often other processes have taken it over in the database since anything of it was written.
    fenced: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    /// It is taken over in the database, which then says where to begin.
    TakenOver,
    /// Read to the end that was asked for.
    Ended,
    /// Not read any more, for a reason that was told.
    Stopped,
    /// Not read since the configuration says so.
    Paused,
    /// There is no record where it was to be read on: a look at the topics tells whether the topic is another one.
    Lost,
    /// Its topic is not there any more; the group will take it back.
    Gone,
}

/// Why and where a partition was stopped. It stays so over rebalances, for as long as nobody moves the group beyond.
struct Stop {
    at: Offset,
    topic: Option<TopicId>,
    problem: Problem,
}

/// A partition that has lost its place.
struct Lost {
    owned: Arc<Owned>,
    at: Offset,
    why: Problem,
    since: Instant,
}

pub(super) struct Coordinator {
    consumer: Option<Consumer>,
    workers: Vec<WorkerHandle>,
    reports: Receiver<Report>,
    supply: Supply,
    lookout: Option<Lookout>,
    options: RunOptions,
    topics: BTreeMap<Arc<str>, Topic>,
    /// Topics that were created again, to be taken once the partitions of the one before are given back.
    arriving: Vec<Prepared>,
    /// Topics that could not be prepared.
    unready: BTreeMap<String, Problem>,
    holdings: BTreeMap<TopicPartition, Holding>,
    watermarks: Watermarks,
    /// With `until_end`: every partition that must be read to its end.
    wanted: BTreeSet<TopicPartition>,
    /// With `until_end`: where each partition ended when it was first assigned, or asked for.
    ends: BTreeMap<TopicPartition, Offset>,
    periods: u64,
    stopped: BTreeMap<TopicPartition, Stop>,
    lost: Vec<Lost>,
    taking: TakeOver,
    /// With exactly-once into a database that keeps tokens.
    claims: Option<Claims>,
    /// Why nothing works any more: nothing is committed from then on.
    failed: Option<Problem>,
    /// Whether the run ends: nothing is read any more.
    finishing: bool,
    committed_at: Instant,
    /// The commit that is under way.
    committing: Option<Commit>,
    refusals: hand_over::Refusals,
    looked_at: Instant,
    assigned_at: Option<Instant>,
    started_at: Instant,
}

impl Coordinator {
    pub(super) fn new(
        consumer: Consumer,
        workers: Vec<WorkerHandle>,
        reports: Receiver<Report>,
        supply: Supply,
        lookout: Lookout,
        claims: Option<Claims>,
        options: RunOptions,
    ) -> Self {
        Self {
            consumer: Some(consumer),
            workers,
            reports,
            supply,
            lookout: Some(lookout),
            options,
            topics: BTreeMap::new(),
            arriving: Vec::new(),
            unready: BTreeMap::new(),
            holdings: BTreeMap::new(),
            watermarks: Watermarks::default(),
            wanted: BTreeSet::new(),
            ends: BTreeMap::new(),
            periods: 0,
            stopped: BTreeMap::new(),
            lost: Vec::new(),
            taking: TakeOver::default(),
            claims,
            failed: None,
            finishing: false,
            committed_at: Instant::now(),
            committing: None,
            refusals: hand_over::Refusals::default(),
            looked_at: Instant::now(),
            assigned_at: None,
            started_at: Instant::now(),
        }
    }

    pub(super) fn run(mut self, preparation: Preparation) -> Result<Summary, Problem> {
        let result = self.begin(preparation).and_then(|()| self.serve());
        let unwritten = self.finish(result.is_ok());
        let rows = self.options.progress.rows.load(Ordering::Relaxed);
        let started = self.assigned_at.unwrap_or(self.started_at);
        let stopped = std::mem::take(&mut self.stopped).into_values().map(|stop| stop.problem);
        let stopped = stopped.chain(std::mem::take(&mut self.unready).into_values()).collect();
        let result = self.failed.map_or(result, Err);
        result.map(|()| Summary { records: rows, rows, elapsed: started.elapsed(), stopped, unwritten })
    }

    fn consumer(&self) -> &Consumer {
        self.consumer.as_ref().expect("present until the end")
    }

    /// Until there is nothing left to do.
    fn serve(&mut self) -> Result<(), Problem> {
        let poll = if self.claims.is_some() { CLAIM_POLL } else { POLL };
        while !self.options.stop.load(Ordering::Relaxed) && !self.is_done() {
            match self.consumer().poll(poll) {
                Some(Event::Assigned(partitions)) => match self.assign(&partitions) {
                    // Brokers that are away at a stop are no failure of it.
                    Err(_) if self.options.stop.load(Ordering::Relaxed) => break,
                    result => result?,
                },
                Some(Event::Revoked(partitions)) => self.revoke(&partitions, false, hand_over::deadline())?,
                Some(Event::Lost(partitions)) => self.revoke(&partitions, true, hand_over::deadline())?,
                Some(Event::Fatal(problem)) => return Err(problem),
                None => {}
            }
            while let Ok(report) = self.reports.try_recv() {
                self.heed(report);
            }
            match self.take_over() {
                Err(_) if self.options.stop.load(Ordering::Relaxed) => break,
                result => result?,
            }
            self.heed_lookout()?;
            // Units may wait for it.
            self.hear_of_commit();
            let is_due = self.committed_at.elapsed() >= COMMIT_EVERY;
            if is_due || self.claims.as_ref().is_some_and(Claims::is_wanted) {
                self.commit();
            }
            if let Some(problem) = &self.failed {
                return Err(problem.clone());
            }
            if is_due {
                self.committed_at = Instant::now();
                self.measure();
                if self.workers.iter().any(|w| w.thread.as_ref().is_some_and(JoinHandle::is_finished)) {
                    return Err(Problem::new("a worker has ended", "this is a bug of rowfall's: please report it"));
                }
            }
        }
        Ok(())
    }

    fn is_done(&mut self) -> bool {
        let any = |state| self.holdings.values().any(|h| h.state == state);
        if !self.options.until_end {
            return !self.holdings.is_empty() && self.holdings.values().all(|h| h.state == State::Stopped);
        }
        if any(State::Reading) || any(State::TakenOver) || any(State::Lost) {
            return false;
        }
        // The partitions of others may become ours before they are read to their ends.
        self.wanted.iter().all(|p| self.holdings.contains_key(p)) || any(State::Stopped) || self.group_is_done()
    }

    /// Whether the group has committed all partitions' ends. A process that has no partition may be given some yet:
    /// when it has just come, and when another ends or leaves.
    fn group_is_done(&mut self) -> bool {
        if self.looked_at.elapsed() < LOOK_EVERY {
            return false;
        }
        self.looked_at = Instant::now();
        let wanted: Vec<_> = self.wanted.iter().cloned().collect();
        for partition in &wanted {
            if !self.ends.contains_key(partition) {
                let Ok((_, end)) = self.consumer().range(partition) else { return false };
                self.ends.insert(partition.clone(), end);
            }
        }
        let Ok(committed) = self.consumer().committed(&wanted) else { return false };
        wanted.iter().zip(committed).all(|(partition, committed)| {
            let topic = self.topics.get(&partition.topic).and_then(|topic| topic.note.topic.as_ref());
            // What was committed of a topic before this one says nothing.
            let committed =
                committed.filter(|c| c.note.topic.is_none() || topic.is_none() || c.note.topic.as_ref() == topic);
            committed.map(|c| c.offset) >= self.ends.get(partition).copied()
        })
    }

    fn heed(&mut self, report: Report) {
        match report {
            Report::Closed(spans, claim) => {
                self.watermarks.closed(&spans);
                if let (Some(claims), Some(claim)) = (&mut self.claims, claim) {
                    claims.wait(spans, claim);
                }
            }
            Report::Passed(span) => {
                let spans = [span];
                self.watermarks.closed(&spans);
                self.watermarks.written(&spans);
            }
            Report::Outcome(Outcome::Written { spans, rows, bytes }) => {
                self.watermarks.written(&spans);
                self.keeps_its_own(&spans);
                self.options.progress.count(Receipt { rows, bytes });
            }
            Report::Outcome(Outcome::Refused { spans, why }) => {
                self.watermarks.refused(&spans);
                for span in spans {
                    let place = format!("{} offsets {} to {}", span.owned.partition, span.start, span.end);
                    self.stop(&span.owned, span.start, why.clone().within(&place));
                }
            }
            Report::Outcome(Outcome::Fenced { spans, why }) if self.claims.is_some() => self.read_again(&spans, &why),
            Report::Outcome(Outcome::Fenced { spans, why }) => self.take_over_again(&spans, &why),
            Report::Resumed(partitions, answer) => self.hear_of(partitions, answer),
            Report::Rebuilt(claim, result) => self.hear_of_claim(claim, result),
            Report::Stopped(owned, offset, why) => {
                let place = format!("{} offset {offset}", owned.partition);
                self.stop(&owned, offset, why.within(&place));
            }
            Report::LostPlace(owned, at, why) => {
                self.halt(&owned, State::Lost);
                self.lost.push(Lost { owned, at, why, since: Instant::now() });
                if let Some(lookout) = &self.lookout {
                    lookout.ask();
                }
            }
            Report::Ended(owned) => self.halt(&owned, State::Ended),
        }
    }

    /// Stops a partition for good, and says so once.
    fn stop(&mut self, owned: &Arc<Owned>, at: Offset, problem: Problem) {
        let current = self.holdings.get(&owned.partition).filter(|h| h.owned == *owned);
        let Some(holding) = current.filter(|h| !matches!(h.state, State::Stopped | State::Gone)) else { return };
        tracing::error!("partition stopped: {problem}");
        let topic = holding.note.topic.clone();
        self.stopped.insert(owned.partition.clone(), Stop { at, topic, problem });
        self.halt(owned, State::Stopped);
    }

    fn halt(&mut self, owned: &Arc<Owned>, state: State) {
        let Some(holding) = self.holdings.get_mut(&owned.partition).filter(|h| h.owned == *owned) else { return };
        holding.state = state;
        let partitions = vec![owned.partition.clone()];
        self.consumer.as_ref().expect("present until the end").pause(&partitions);
        self.workers[holding.worker].tell(Command::Halt(partitions));
    }

    fn measure(&self) {
        let lag = |(p, at): (&TopicPartition, Option<Offset>)| {
            let end = self.consumer().high_watermark(p)?;
            u64::try_from(end.0 - at.map_or(0, |at| at.0)).ok()
        };
        let progress = &self.options.progress;
        progress.lag.store(self.watermarks.positions().filter_map(lag).sum(), Ordering::Relaxed);
        progress.partitions.store(self.holdings.len() as u64, Ordering::Relaxed);
    }
}

fn names(partitions: &[TopicPartition]) -> String {
    let shown: Vec<_> = partitions.iter().take(16).map(ToString::to_string).collect();
    let more = if partitions.len() > shown.len() { ", …" } else { "" };
    shown.join(", ") + more
}
