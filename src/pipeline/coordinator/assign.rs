//! How partitions come: where each one begins, which worker reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Coordinator, Holding, State, Stop, hand_over, names};
use crate::config::StartFrom;
use crate::pipeline::Report;
use crate::problem::Problem;
use crate::source::consumer::{Consumer, Start};
use crate::source::position::{Offset, Owned, Period, Span, Taken, TopicPartition};
use crate::source::start::{self, Begin, CommitNote, Committed};
use crate::source::worker::Command;

/// How long the brokers have to answer at an assignment before the run gives up.
const ASSIGN_PATIENCE: Duration = Duration::from_secs(60);

/// What is done with a partition.
pub(super) enum Place {
    /// It is read from there; none: from its oldest record.
    Read(Option<Offset>),
    /// It is taken and not read.
    Leave(State),
    /// It cannot be read from there.
    Stop(Offset, Problem),
}

/// What the group has committed of the topics of an assignment, and what is committed from now on.
struct Before {
    committed: BTreeMap<TopicPartition, Committed>,
    notes: BTreeMap<Arc<str>, CommitNote>,
}

impl Coordinator {
    pub(super) fn assign(&mut self, partitions: &[TopicPartition]) -> Result<(), Problem> {
        tracing::info!(partitions = partitions.len(), "assigned: {}", names(partitions));
        // A group that changes again before it is told that we took what it gave does not take that back.
        let replaced = |p: &&TopicPartition| !self.consumer().keeps_partitions() || partitions.contains(p);
        let replaced: Vec<_> = self.holdings.keys().filter(replaced).cloned().collect();
        if !replaced.is_empty() {
            tracing::info!(partitions = replaced.len(), "replaced: {}", names(&replaced));
            self.let_go(&replaced, true, hand_over::deadline())?;
        }
        let before = self.before(partitions)?;
        self.go_on_with_the_rest(&[])?;
        let mut starts = Vec::new();
        for partition in partitions {
            let (committed, note) = (before.committed.get(partition), &before.notes[&partition.topic]);
            let place = match (self.unread(partition), committed) {
                (Some(state), _) => Place::Leave(state),
                (None, Some(Committed { offset, claims: Err(why), .. })) => {
                    Place::Stop(*offset, why.problem(self.consumer().group()))
                }
                // Where it begins is known when the database has answered.
                (None, _) if self.supply.keeper.is_some() => Place::Leave(State::TakenOver),
                (None, _) => match self.place(partition, committed, note)? {
                    Place::Read(_) if self.is_claimed(committed, note) => Place::Leave(State::TakenOver),
                    place => place,
                },
            };
            let from = match place {
                Place::Read(from) => from,
                Place::Leave(_) | Place::Stop(..) => committed.map(|c| c.offset),
            };
            let owned = self.own(partition, None);
            let worker = self.least_loaded(partition);
            let state = if let Place::Leave(state) = place { state } else { State::Reading };
            let holding = Holding {
                owned: Arc::clone(&owned),
                worker,
                state,
                note: note.clone(),
                committed: committed.cloned(),
                assigned_at: Some(from),
                fenced: 0,
            };
            self.holdings.insert(partition.clone(), holding);
            self.workers[worker].queue.forward(&partition.topic, partition.partition);
            match place {
                Place::Read(from) => self.read(&owned, worker, from, committed, note)?,
                Place::Leave(State::TakenOver) if self.claims.is_some() => self.wait_for_claims(&owned)?,
                Place::Leave(State::TakenOver) => self.taking.wait(owned, Duration::ZERO),
                Place::Leave(_) => {}
                Place::Stop(at, why) => self.stop(&owned, at, why.within(&format!("{partition} offset {at}"))),
            }
            let read = self.holdings[partition].state == State::Reading;
            starts.push(Start { partition: partition.clone(), from, read });
        }
        self.assigned_at.get_or_insert_with(Instant::now);
        self.consumer().accept(&starts)
    }

    /// A new period of owning a partition.
    pub(super) fn own(&mut self, partition: &TopicPartition, taken: Option<Taken>) -> Arc<Owned> {
        self.periods += 1;
        Arc::new(Owned { partition: partition.clone(), period: Period(self.periods), taken })
    }

    /// Tells the worker of a partition, before its first message can come.
    pub(super) fn read(
        &mut self,
        owned: &Arc<Owned>,
        worker: usize,
        from: Option<Offset>,
        committed: Option<&Committed>,
        note: &CommitNote,
    ) -> Result<(), Problem> {
        let partition = &owned.partition;
        let end = if self.options.until_end {
            let end = match self.ends.get(partition) {
                Some(end) => *end,
                None => self.patiently(|consumer| consumer.range(partition))?.1,
            };
            self.ends.insert(partition.clone(), end);
            Some(end)
        } else {
            None
        };
        let told = committed.filter(|c| Some(c.offset) == from && c.note == *note).map(|c| c.offset);
        self.watermarks.own(owned, told);
        // A start that was decided is committed at once, whatever it was: whoever starts next need not decide again, and
        // what comes from now on is not jumped.
        if let Some(start) = from.filter(|_| told.is_none()) {
            self.heed(Report::Passed(Span { owned: Arc::clone(owned), start, end: start }));
        }
        self.workers[worker].tell(Command::Own { owned: Arc::clone(owned), from, end });
        Ok(())
    }

    /// What the group has committed, of all partitions of these topics, and which topics they are now.
    fn before(&mut self, partitions: &[TopicPartition]) -> Result<Before, Problem> {
        let topics: BTreeSet<_> = partitions.iter().map(|p| Arc::clone(&p.topic)).collect();
        let names: Vec<_> = topics.iter().map(|topic| &**topic).collect();
        let described = self.patiently(|consumer| consumer.describe(&names))?;
        let all: BTreeSet<_> =
            described.values().flat_map(|t| t.each_partition()).chain(partitions.iter().cloned()).collect();
        let all: Vec<_> = all.into_iter().collect();
        let committed = self.patiently(|consumer| consumer.committed(&all))?;
        let committed: BTreeMap<_, _> = all.into_iter().zip(committed).filter_map(|(p, c)| Some((p, c?))).collect();
        let mut notes = BTreeMap::new();
        for topic in topics {
            let known = self.topics.get(&topic).map(|t| t.note.clone()).unwrap_or_default();
            let now = described.get(&*topic).and_then(|t| t.id.clone());
            let note = match (&known.topic, now) {
                // Created again since this process looked at it: all of it has appeared.
                (Some(then), Some(now)) if *then != now => {
                    CommitNote { topic: Some(now), partitions: Some(0), epoch: None, ..known }
                }
                (None, now @ Some(_)) => CommitNote { topic: now, ..known },
                _ => known,
            };
            let count = described.get(&*topic).and_then(|t| i32::try_from(t.partitions.len()).ok());
            let note = CommitNote { count: count.or(note.count), ..note };
            let of_topic = committed.iter().filter(|(p, _)| p.topic == topic).map(|(_, committed)| committed);
            let note = start::note(note, of_topic);
            self.supply.era(&topic).fetch_max(note.era, Ordering::Relaxed);
            notes.insert(topic, note);
        }
        Ok(Before { committed, notes })
    }

    /// Why a partition is not read, wherever it would begin.
    fn unread(&self, partition: &TopicPartition) -> Option<State> {
        match self.topics.get(&partition.topic) {
            None => Some(State::Gone),
            Some(topic) => topic.paused.then_some(State::Paused),
        }
    }

    /// Where a partition begins of which this is committed, to the group or in the database.
    pub(super) fn place(
        &mut self,
        partition: &TopicPartition,
        committed: Option<&Committed>,
        note: &CommitNote,
    ) -> Result<Place, Problem> {
        if let Some(Stop { at, topic, problem }) = self.stopped.get(partition) {
            if committed.is_some_and(|c| c.offset == *at) && *topic == note.topic {
                tracing::info!("{partition} stays stopped: {}", problem.what);
                return Ok(Place::Leave(State::Stopped));
            }
            self.stopped.remove(partition);
        }
        match start::begin(partition.partition, committed, note) {
            // Whose offset it is cannot be told: one that cannot be this topic's is not waited for.
            Begin::At(offset) if note.topic.is_some() && committed.is_some_and(|c| c.note.topic.is_none()) => {
                let (_, end) = self.patiently(|consumer| consumer.range(partition))?;
                Ok(if offset > end { Place::Stop(offset, beyond_the_end(end)) } else { Place::Read(Some(offset)) })
            }
            Begin::At(offset) => Ok(Place::Read(Some(offset))),
            Begin::Recreated(offset) => {
                tracing::warn!(
                    "topic {} was deleted and created again: {partition} is read from its beginning, offset {offset} was committed of the topic before",
                    partition.topic
                );
                Ok(Place::Read(None))
            }
            Begin::Appeared => Ok(Place::Read(None)),
            Begin::Configured => self.configured(partition),
        }
    }

    /// Where `kafka.start_from` says.
    fn configured(&self, partition: &TopicPartition) -> Result<Place, Problem> {
        let range = || self.patiently(|consumer| consumer.range(partition));
        Ok(match self.supply.kafka.start_from {
            StartFrom::Earliest => Place::Read(None),
            StartFrom::Latest => Place::Read(Some(range()?.1)),
            StartFrom::Time(time) => {
                let first = self.patiently(|consumer| consumer.first_since(partition, time))?;
                Place::Read(Some(first.map_or_else(|| range().map(|(_, end)| end), Ok)?))
            }
            StartFrom::Offset(offset) => {
                let (oldest, end) = range()?;
                if Offset(offset) < oldest {
                    tracing::warn!(
                        "{partition} has no record before {oldest} any more: it is read from there, not from {offset}"
                    );
                    Place::Read(Some(oldest))
                } else if Offset(offset) > end {
                    let what = format!("`kafka.start_from: {offset}` lies beyond the partition's end {end}");
                    Place::Stop(Offset(offset), Problem::new(what, "say an offset that every partition has, or a time"))
                } else {
                    Place::Read(Some(Offset(offset)))
                }
            }
        })
    }

    /// The worker with the fewest partitions of this topic, then the fewest of all.
    fn least_loaded(&self, partition: &TopicPartition) -> usize {
        let load = |worker: usize| {
            let held = || self.holdings.values().filter(move |h| h.worker == worker);
            (held().filter(|h| h.owned.partition.topic == partition.topic).count(), held().count())
        };
        (0..self.workers.len()).min_by_key(|worker| load(*worker)).expect("at least one worker")
    }

    /// Asks the brokers until they answer; they may be away for a while.
    pub(super) fn patiently<T>(&self, ask: impl Fn(&Consumer) -> Result<T, Problem>) -> Result<T, Problem> {
        let started = Instant::now();
        loop {
            match ask(self.consumer()) {
                Ok(answer) => return Ok(answer),
                Err(problem) if started.elapsed() > ASSIGN_PATIENCE => return Err(problem),
                Err(problem) if self.options.stop.load(Ordering::Relaxed) => return Err(problem),
                Err(problem) => {
                    tracing::warn!("asking again: {problem}");
                    std::thread::sleep(Duration::from_millis(500));
                }
            }
        }
    }
}

/// Why a partition whose next offset lies behind its end is not read.
pub(super) fn beyond_the_end(end: Offset) -> Problem {
    Problem::new(
        format!(
            "the next offset lies beyond the partition's end {end}: the topic was deleted and created again, or its last records were lost"
        ),
        "say where to go on: kafka-consumer-groups --reset-offsets, with --to-earliest for all that is there",
    )
}
