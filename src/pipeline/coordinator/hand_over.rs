//! How partitions go: what was read is written within a bounded time, what is written is committed, then they are given
//! back. Also the commits meanwhile, and the end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaErrorCode;
use rowfall_dialects::failpoint;

use super::{Claims, Coordinator, POLL, names};
use crate::outage::Outage;
use crate::problem::Problem;
use crate::source::consumer::{Answer, Due, Event};
use crate::source::position::{Offset, TopicPartition};
use crate::source::rights::Right;
use crate::source::worker::Command;

/// How long a revoke waits for what was read to be written. The group waits with it.
const REVOKE_WAIT: Duration = Duration::from_secs(10);
/// How long a stop by signal waits for the same; the whole stop takes less than 5 s.
const STOP_WAIT: Duration = Duration::from_millis(3_500);
/// How long the last commit may take.
const COMMIT_WAIT: Duration = Duration::from_secs(10);
/// How long a hand-over waits for its commit, at least.
const HAND_OVER_WAIT: Duration = Duration::from_secs(1);
/// How long to wait before a commit that was refused is sent again.
const COMMIT_AGAIN: Duration = Duration::from_millis(100);
/// How long the group may take to hear that this process is gone.
const LEAVE: Duration = Duration::from_secs(1);

/// A group that changes refuses commits for as long as that takes.
const REFUSED_LONG: Duration = Duration::from_secs(20);

/// Commits that are refused again and again: whoever waits for their rows is told.
#[derive(Default)]
pub(super) struct Refusals {
    since: Option<Instant>,
    said: Outage,
}

impl Refusals {
    /// One more, with exactly-once or not.
    fn again(&mut self, why: &Problem, is_claimed: bool) {
        let since = self.since.get_or_insert_with(Instant::now).elapsed();
        if since >= REFUSED_LONG && self.said.goes_on().is_some() {
            let what = if is_claimed { ", and nothing is written before it does" } else { "" };
            tracing::warn!(seconds = since.as_secs(), "the group takes no offsets{what}: {why}");
        }
    }

    /// The group takes them.
    fn over(&mut self) {
        self.since = None;
        if self.said.over().is_some() {
            tracing::info!("the group takes offsets again");
        }
    }
}

/// When a revoke that comes now is answered at the latest.
pub(super) fn deadline() -> Instant {
    Instant::now() + REVOKE_WAIT
}

impl Coordinator {
    /// Hands partitions back: closes what was read, waits a bounded time for it to be written, commits what is.
    pub(super) fn revoke(
        &mut self,
        partitions: &[TopicPartition],
        lost: bool,
        deadline: Instant,
    ) -> Result<(), Problem> {
        tracing::info!(partitions = partitions.len(), lost, "revoked: {}", names(partitions));
        self.let_go(partitions, lost, deadline)?;
        self.consumer().give_up(partitions)?;
        self.take_arrivals()
    }

    /// Ends the periods of owning these partitions: see [`Self::revoke`]. When they are lost nothing is waited for.
    pub(super) fn let_go(
        &mut self,
        partitions: &[TopicPartition],
        lost: bool,
        deadline: Instant,
    ) -> Result<(), Problem> {
        let mut answers = Vec::new();
        for (index, worker) in self.workers.iter().enumerate() {
            let own = |p: &&TopicPartition| self.holdings.get(p).is_some_and(|h| h.worker == index);
            let theirs: Vec<_> = partitions.iter().filter(own).cloned().collect();
            if !theirs.is_empty() {
                let (done, answer) = channel();
                worker.tell(Command::Release(theirs, done));
                answers.push(answer);
            }
        }
        for answer in answers {
            let _ = answer.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        if !lost {
            if !self.settle(partitions, deadline) {
                tracing::warn!("handing over partitions with unwritten rows: their next owner reads them again");
            }
            self.commit_before_handing_over(deadline);
        }
        self.end_transaction();
        self.go_on_with_the_rest(partitions)?;
        for partition in partitions {
            self.watermarks.release(partition);
            self.holdings.remove(partition);
        }
        self.lost.retain(|lost| !partitions.contains(&lost.owned.partition));
        self.taking.forget(partitions);
        if let Some(claims) = &mut self.claims {
            claims.forget(partitions);
        }
        Ok(())
    }

    /// Has the partitions that stay read on from where their workers are; see [`Consumer::go_on_at`].
    pub(super) fn go_on_with_the_rest(&self, except: &[TopicPartition]) -> Result<(), Problem> {
        if !self.consumer().keeps_partitions() {
            return Ok(());
        }
        let mut places = Vec::new();
        for worker in &self.workers {
            let (answer, positions) = channel();
            worker.tell(Command::Positions(answer));
            // A worker that has finished reads nothing any more.
            places.extend(positions.recv().unwrap_or_default());
        }
        places.retain(|(partition, _)| !except.contains(partition));
        self.consumer().go_on_at(&places)
    }

    /// Commits what is written while these partitions are still ours.
    fn commit_before_handing_over(&mut self, deadline: Instant) {
        let deadline = deadline.max(Instant::now() + HAND_OVER_WAIT).min(Instant::now() + 3 * HAND_OVER_WAIT);
        match self.commit_and_wait(deadline, false) {
            Err(why) if self.supply.keeper.is_some() => tracing::debug!("handing over without having committed: {why}"),
            Err(why) => tracing::warn!("handing over without having committed, rows may be written again: {why}"),
            Ok(()) => {}
        }
    }

    /// Waits for the transaction that is under way: what it says of partitions must not become true when they are not
    /// ours any more. It always ends.
    pub(super) fn end_transaction(&mut self) {
        while self.claims.is_some() && self.committing.is_some() {
            let _ = self.wait_for_answer(Instant::now() + COMMIT_WAIT, false);
        }
    }

    /// Waits until everything closed of these partitions is written or refused; of a partition that stopped too, since
    /// what stands before a bad record counts. False when the deadline came first.
    fn settle(&mut self, partitions: &[TopicPartition], deadline: Instant) -> bool {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut wait = if self.watermarks.settled(partitions) { Duration::ZERO } else { left };
            if self.claims.is_some() {
                // What is closed is not written before it is claimed.
                self.commit();
                wait = wait.min(POLL);
            }
            match self.reports.recv_timeout(wait) {
                Ok(report) => self.heed(report),
                Err(RecvTimeoutError::Timeout) if wait < left && !self.watermarks.settled(partitions) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return self.watermarks.settled(partitions);
                }
            }
        }
    }

    /// Commits what is due, without waiting. One commit at a time is under way: of two the older may land last.
    pub(super) fn commit(&mut self) {
        self.hear_of_commit();
        if self.committing.is_none() {
            self.send_due();
        }
    }

    /// Takes the answer to the commit that is under way, if it is there.
    pub(super) fn hear_of_commit(&mut self) {
        let Some(answer) = self.committing.as_ref().and_then(|commit| commit.answer(Duration::ZERO)) else { return };
        self.committing = None;
        if let Err(why) = self.hear(answer) {
            tracing::debug!("committing again: {why}");
        }
    }

    /// Commits what is due and waits until the group has taken it. Tries again while there is time: a group that changes
    /// refuses for a moment. It may not answer unless it is served meanwhile, which at a hand-over would be too early.
    fn commit_and_wait(&mut self, deadline: Instant, serving: bool) -> Result<(), String> {
        loop {
            if self.committing.is_none() && !self.send_due() {
                return Ok(());
            }
            let Err(why) = self.wait_for_answer(deadline, serving) else { continue };
            if Instant::now() + COMMIT_AGAIN >= deadline {
                // What a transaction says is known when it has ended, and not before.
                if self.claims.is_none() {
                    self.committing = None;
                    self.watermarks.forget_told();
                }
                return Err(why);
            }
            if serving {
                self.serve_while_finishing(COMMIT_AGAIN, Some(deadline));
            } else {
                std::thread::sleep(COMMIT_AGAIN);
            }
        }
    }

    /// Sends what is due; false when nothing is.
    fn send_due(&mut self) -> bool {
        if self.failed.is_some() {
            return false;
        }
        let due = match &mut self.claims {
            Some(claims) => claims.next(&mut self.watermarks, &self.holdings),
            None => {
                let due = self.watermarks.take_due().into_iter().filter_map(|(partition, offset)| {
                    let metadata = self.holdings.get(&partition)?.note.to_string();
                    Some(Due { partition, offset, metadata })
                });
                due.collect()
            }
        };
        if !due.is_empty() {
            failpoint::at("before the commit");
            let transactions = self.claims.as_ref().map(|claims| &claims.transactions);
            self.committing = Some(self.consumer().commit(&due, transactions));
        }
        !due.is_empty()
    }

    fn wait_for_answer(&mut self, deadline: Instant, serving: bool) -> Result<(), String> {
        loop {
            // A hand-over meanwhile may have heard it.
            let Some(commit) = &self.committing else { return Ok(()) };
            if let Some(answer) = commit.answer(if serving { Duration::ZERO } else { POLL }) {
                self.committing = None;
                return self.hear(answer);
            }
            if Instant::now() >= deadline {
                return Err("the group does not answer".to_owned());
            }
            if serving {
                self.serve_while_finishing(POLL, Some(deadline));
            }
        }
    }

    /// Whatever was refused is due again; then why.
    fn hear(&mut self, answer: Answer) -> Result<(), String> {
        match answer {
            Answer::Taken(refused) => {
                self.claims.as_mut().into_iter().for_each(Claims::committed);
                self.refusals.over();
                let mut result = Ok(());
                for (partition, code) in refused {
                    // The topic is being deleted: there is nothing to commit any more.
                    if code != RDKafkaErrorCode::UnknownTopicOrPartition {
                        self.watermarks.forget_told_of(&partition);
                        result = Err(format!("{partition}: {code}"));
                    }
                }
                result
            }
            Answer::Refused(problem) => {
                self.watermarks.forget_told();
                self.claims.as_mut().into_iter().for_each(Claims::refused);
                self.refusals.again(&problem, self.claims.is_some());
                Err(problem.what)
            }
            Answer::Unreadable => {
                self.watermarks.forget_told();
                self.claims.as_mut().into_iter().for_each(Claims::refused);
                Err(self.stop_unreadable())
            }
            Answer::Unknown(problem) => {
                self.watermarks.forget_told();
                let spans = self.claims.as_mut().map(Claims::unknown).unwrap_or_default();
                self.ask_again(&spans, &problem);
                Err(problem.what)
            }
            Answer::Fatal(problem) => {
                let what = problem.what.clone();
                // Its units may not be claimed: nobody waits for them, and nothing may have them written.
                let spans = self.claims.as_mut().map(Claims::unknown).unwrap_or_default();
                self.watermarks.refused(&spans);
                self.failed.get_or_insert(problem);
                Err(what)
            }
        }
    }

    /// Stops the partitions of topics that may not be read any more. Nothing of them is committed: it would be refused,
    /// and with it what is committed together. What was claimed of them waits for the next run. Answers why.
    fn stop_unreadable(&mut self) -> String {
        let topics: BTreeSet<_> = self.holdings.keys().map(|partition| Arc::clone(&partition.topic)).collect();
        let names: Vec<_> = topics.iter().map(|topic| &**topic).collect();
        let unreadable = self.consumer().unreadable(&names);
        for (partition, owned) in
            self.holdings.values().map(|h| (h.owned.partition.clone(), Arc::clone(&h.owned))).collect::<Vec<_>>()
        {
            if unreadable.iter().any(|name| **name == *partition.topic) {
                let at = self.watermarks.written_of(&partition);
                let at = at.or_else(|| Some(self.holdings[&partition].committed.as_ref()?.offset));
                self.stop(
                    &owned,
                    at.unwrap_or(Offset(-1)),
                    Right::Topic(&partition.topic).missing().within(&partition.to_string()),
                );
                self.watermarks.release(&partition);
                self.claims.as_mut().into_iter().for_each(|claims| claims.forget(std::slice::from_ref(&partition)));
            }
        }
        let problem =
            Problem::new("not allowed to commit the offsets of a topic", "grant READ on its topics to this user");
        if unreadable.is_empty() {
            // Brokers that do not tell of which.
            self.refusals.again(&problem, self.claims.is_some());
        }
        problem.what
    }

    /// Closes and writes what was read, commits what is written, leaves the group. True when rows had to be given up.
    pub(super) fn finish(&mut self, orderly: bool) -> bool {
        self.lookout = None;
        self.finishing = true;
        let by_signal = self.options.stop.load(Ordering::Relaxed);
        let (done, answers) = channel();
        for worker in &self.workers {
            worker.tell(Command::Finish(done.clone()));
        }
        drop(done);
        let patience = if by_signal { STOP_WAIT } else { Duration::MAX };
        let mut deadline = Instant::now().checked_add(patience);
        while answers.recv().is_ok() {}
        let all: Vec<_> = self.holdings.keys().cloned().collect();
        let settled = loop {
            // A signal while the end is waited for shortens the wait.
            if deadline.is_none() && self.options.stop.load(Ordering::Relaxed) {
                deadline = Instant::now().checked_add(STOP_WAIT);
            }
            let step = Instant::now() + Duration::from_millis(200);
            if self.settle(&all, deadline.map_or(step, |d| d.min(step))) {
                break true;
            }
            if !orderly || self.failed.is_some() || deadline.is_some_and(|d| Instant::now() >= d) {
                break false;
            }
            // The group is served while a slow database is waited for.
            self.serve_while_finishing(Duration::ZERO, deadline);
            self.commit();
        };
        if orderly && self.failed.is_none() {
            let latest = Instant::now() + COMMIT_WAIT;
            // What was written before a signal's patience ended is committed still.
            let deadline = deadline.map_or(latest, |d| d.max(Instant::now() + Duration::from_millis(250)).min(latest));
            match self.commit_and_wait(deadline, true) {
                Err(why) if self.supply.keeper.is_some() => {
                    tracing::info!("the group is not told of the last offsets, which the database keeps: {why}");
                }
                Err(why) => {
                    tracing::warn!("the last offsets are not committed, their rows will be written again: {why}");
                }
                Ok(()) => {}
            }
        }
        // What an earlier process had begun waits for the next one, too.
        let is_left = self.claims.as_ref().is_some_and(Claims::has_found);
        self.measure();
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take() {
                let _ = thread.join();
            }
        }
        self.workers.clear();
        if let Some(consumer) = self.consumer.take() {
            consumer.leave(LEAVE);
            // librdkafka tidies up in its own time.
            std::thread::spawn(move || drop(consumer));
        }
        !settled || is_left
    }

    fn serve_while_finishing(&mut self, wait: Duration, deadline: Option<Instant>) {
        let latest = Instant::now() + REVOKE_WAIT;
        let deadline = deadline.map_or(latest, |d| d.min(latest));
        let result = match self.consumer().poll(wait) {
            Some(Event::Revoked(partitions)) => self.revoke(&partitions, false, deadline),
            Some(Event::Lost(partitions)) => self.revoke(&partitions, true, deadline),
            // It leaves right away: nothing is taken any more.
            Some(Event::Assigned(_) | Event::Fatal(_)) | None => Ok(()),
        };
        if let Err(problem) = result {
            tracing::debug!("while finishing: {problem}");
        }
    }
}
