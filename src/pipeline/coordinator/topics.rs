//! How topics come and go.

use std::time::Instant;

use super::assign::beyond_the_end;
use super::{Coordinator, Lost, State, Topic};
use crate::pipeline::lookout::{Sight, Why, say_empty};
use crate::pipeline::{Preparation, Prepared, Report, Unready};
use crate::problem::Problem;
use crate::source::start::CommitNote;

impl Coordinator {
    /// Takes what was prepared, and joins the group.
    pub(super) fn begin(&mut self, preparation: Preparation) -> Result<(), Problem> {
        for prepared in preparation.topics {
            if self.options.until_end && !prepared.paused {
                self.wanted.extend(prepared.topic.each_partition());
            }
            let partitions = i32::try_from(prepared.topic.partitions.len()).unwrap_or(i32::MAX);
            self.take(&prepared, partitions);
        }
        for (name, unready) in preparation.unready {
            match unready {
                Unready::Empty => say_empty(&name),
                Unready::Problem(problem) => self.cannot_take(name, problem),
            }
        }
        if self.options.until_end && self.wanted.is_empty() {
            tracing::info!("there is nothing to read");
            return Ok(());
        }
        self.subscribe()
    }

    /// What the lookout has seen.
    pub(super) fn heed_lookout(&mut self) -> Result<(), Problem> {
        while let Some(sight) = self.lookout.as_ref().and_then(|lookout| lookout.next()) {
            match sight {
                Sight::Seen(began, topics) => {
                    let (seen, later) = std::mem::take(&mut self.lost).into_iter().partition(|lost| lost.since < began);
                    self.lost = later;
                    for lost in seen {
                        self.decide(lost, &topics);
                    }
                }
                Sight::Gone(name, why) => self.lose(&name, why)?,
                Sight::Appeared(prepared) => {
                    self.arriving.extend(prepared);
                    self.take_arrivals()?;
                }
                Sight::Unready(name, problem) => self.cannot_take(name, problem),
            }
        }
        Ok(())
    }

    /// What a look that began later says about a partition that has lost its place.
    fn decide(
        &mut self,
        lost: Lost,
        topics: &std::collections::BTreeMap<String, Option<crate::source::start::TopicId>>,
    ) {
        let partition = &lost.owned.partition;
        let Some(holding) = self.holdings.get(partition).filter(|h| h.owned == lost.owned) else { return };
        match topics.get(&*partition.topic) {
            Some(id) if id.is_none() || holding.note.topic.is_none() || *id == holding.note.topic => {
                let end = self.consumer().range(partition).map(|(_, end)| end);
                let why = match end {
                    Ok(end) if lost.at > end => beyond_the_end(end),
                    _ => lost.why,
                };
                let why = self.with_place_to_go_on(&lost.owned, why);
                let place = format!("{partition} offset {}", lost.at);
                self.stop(&lost.owned, lost.at, why.within(&place));
            }
            // Another topic by now, or none: its partitions are given back, and taken as they come.
            Some(_) => {}
            None => self.lost.push(Lost { since: Instant::now(), ..lost }),
        }
    }

    /// A topic is not there any more, or another one of its name is.
    fn lose(&mut self, name: &str, why: Why) -> Result<(), Problem> {
        if self.topics.remove(name).is_none() {
            return Ok(());
        }
        let held: Vec<_> =
            self.holdings.values().filter(|h| *h.owned.partition.topic == *name).map(|h| h.owned.clone()).collect();
        for owned in held {
            self.halt(&owned, State::Gone);
            // Nothing of it is committed any more: it would be taken for the next topic's.
            self.watermarks.release(&owned.partition);
        }
        let other = |topic: &str| topic != name;
        self.lost.retain(|lost| other(&lost.owned.partition.topic));
        self.stopped.retain(|partition, _| other(&partition.topic));
        self.wanted.retain(|partition| other(&partition.topic));
        self.ends.retain(|partition, _| other(&partition.topic));
        match why {
            _ if self.options.until_end => {
                let what = format!("topic {name} was deleted while it was read");
                self.cannot_take(name.to_owned(), Problem::new(what, "start again to read what is there now"));
            }
            Why::Deleted => tracing::warn!(
                "topic {name} was deleted, or this user may not see it any more: nothing of it is read; if it is created again, it is read from its beginning"
            ),
            Why::CreatedAgain => {
                tracing::warn!("topic {name} was deleted and created again: it is read from its beginning");
            }
        }
        self.subscribe()
    }

    /// Takes topics that have appeared, once nothing is held of others of their names.
    pub(super) fn take_arrivals(&mut self) -> Result<(), Problem> {
        let held = |p: &Prepared| self.holdings.keys().any(|partition| *partition.topic == *p.topic.name);
        let (waiting, ready): (Vec<_>, Vec<_>) = std::mem::take(&mut self.arriving).into_iter().partition(held);
        self.arriving = waiting;
        if ready.is_empty() {
            return Ok(());
        }
        for prepared in ready {
            // All its partitions have appeared.
            self.take(&prepared, 0);
        }
        self.subscribe()
    }

    /// Makes a topic known to the workers; of its partitions so many were there when it was first seen.
    fn take(&mut self, prepared: &Prepared, partitions: i32) {
        let Prepared { topic, paused, destination } = prepared;
        let (count, table) = (topic.partitions.len(), destination.table());
        tracing::info!("topic {} ({count} partitions) → table {table}", topic.name);
        if *paused {
            tracing::info!("topic {} is paused: its partitions are taken and not read", topic.name);
        }
        for worker in &self.workers {
            let intake = self.supply.intake(&topic.name, destination, self.claims.is_some(), Report::Outcome);
            // Before any command that says that the worker has a partition of it.
            let _ = worker.topics.send(intake);
        }
        let note = CommitNote { topic: topic.id.clone(), partitions: Some(partitions), ..CommitNote::default() };
        self.topics
            .insert(topic.name.as_str().into(), Topic { note, paused: *paused, destination: destination.clone() });
        self.unready.remove(&topic.name);
    }

    fn cannot_take(&mut self, name: String, problem: Problem) {
        tracing::error!("topic stopped: {problem}");
        self.unready.insert(name, problem);
    }

    fn subscribe(&self) -> Result<(), Problem> {
        let names: Vec<_> = self.topics.keys().map(|name| &**name).collect();
        self.consumer().subscribe(&names)
    }
}
