//! The consumer's thread: rebalances, stops, commits, the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Report, RunOptions, Summary};
use crate::commit::Watermarks;
use crate::problem::Problem;
use crate::source::consumer::{Consumer, Event, Queue, Start};
use crate::source::position::{Offset, Owned, Period, Span, TopicPartition};
use crate::source::worker::Command;
use crate::write::Outcome;

/// How long the group is served before reports are looked at.
const POLL: Duration = Duration::from_millis(20);
/// At least this long between two asynchronous commits.
const COMMIT_EVERY: Duration = Duration::from_millis(500);
/// How long a revoke waits for what was read to be written. The group waits with it.
const REVOKE_WAIT: Duration = Duration::from_secs(10);
/// How long a stop by signal waits for the same; the whole stop takes less than 5 s.
const STOP_WAIT: Duration = Duration::from_millis(3_500);
/// How long the last commit may take.
const COMMIT_WAIT: Duration = Duration::from_secs(10);
/// How often a process without partitions asks how far the group is.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a hand-over waits for its commit, at least.
const HAND_OVER_WAIT: Duration = Duration::from_secs(1);
/// How long the brokers have to answer at an assignment before the run gives up.
const ASSIGN_PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct WorkerHandle {
    pub(super) queue: Arc<Queue>,
    pub(super) commands: Sender<Command>,
    pub(super) thread: Option<JoinHandle<()>>,
}

impl WorkerHandle {
    fn tell(&self, command: Command) {
        // A worker ends only when told to finish.
        let _ = self.commands.send(command);
        self.queue.wake();
    }
}

/// A partition that this process owns.
struct Holding {
    owned: Arc<Owned>,
    worker: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Ended,
    Stopped,
}

pub(super) struct Coordinator {
    consumer: Option<Consumer>,
    workers: Vec<WorkerHandle>,
    reports: Receiver<Report>,
    options: RunOptions,
    holdings: BTreeMap<TopicPartition, Holding>,
    watermarks: Watermarks,
    /// Every partition of every topic.
    partitions: Vec<TopicPartition>,
    /// With `until_end`: where each partition ended when it was first assigned, or asked for.
    ends: BTreeMap<TopicPartition, Offset>,
    periods: u64,
    stopped: Vec<Problem>,
    committed_at: Instant,
    /// The answer to the commit that is under way.
    committing: Option<Receiver<Result<(), Problem>>>,
    looked_at: Instant,
    assigned_at: Option<Instant>,
    started_at: Instant,
}

impl Coordinator {
    pub(super) fn new(
        consumer: Consumer,
        workers: Vec<WorkerHandle>,
        reports: Receiver<Report>,
        partitions: Vec<TopicPartition>,
        options: RunOptions,
    ) -> Self {
        Self {
            consumer: Some(consumer),
            workers,
            reports,
            options,
            holdings: BTreeMap::new(),
            watermarks: Watermarks::default(),
            partitions,
            ends: BTreeMap::new(),
            periods: 0,
            stopped: Vec::new(),
            committed_at: Instant::now(),
            committing: None,
            looked_at: Instant::now(),
            assigned_at: None,
            started_at: Instant::now(),
        }
    }

    pub(super) fn run(mut self) -> Result<Summary, Problem> {
        let result = self.serve();
        let unwritten = self.finish(result.is_ok());
        let rows = self.options.progress.rows.load(Ordering::Relaxed);
        let started = self.assigned_at.unwrap_or(self.started_at);
        result.map(|()| Summary {
            records: rows,
            rows,
            elapsed: started.elapsed(),
            stopped: std::mem::take(&mut self.stopped),
            unwritten,
        })
    }

    fn consumer(&self) -> &Consumer {
        self.consumer.as_ref().expect("present until the end")
    }

    /// Until there is nothing left to do.
    fn serve(&mut self) -> Result<(), Problem> {
        while !self.options.stop.load(Ordering::Relaxed) {
            match self.consumer().poll(POLL) {
                Some(Event::Assigned(partitions)) => match self.assign(&partitions) {
                    // Brokers that are away at a stop are no failure of it.
                    Err(_) if self.options.stop.load(Ordering::Relaxed) => break,
                    result => result?,
                },
                Some(Event::Revoked(partitions)) => self.revoke(&partitions, false, Instant::now() + REVOKE_WAIT)?,
                Some(Event::Lost(partitions)) => self.revoke(&partitions, true, Instant::now() + REVOKE_WAIT)?,
                Some(Event::Fatal(problem)) => return Err(problem),
                None => {}
            }
            while let Ok(report) = self.reports.try_recv() {
                self.heed(report);
            }
            if self.committed_at.elapsed() >= COMMIT_EVERY {
                self.committed_at = Instant::now();
                self.commit();
                self.measure();
                if self.workers.iter().any(|w| w.thread.as_ref().is_some_and(JoinHandle::is_finished)) {
                    return Err(Problem::new("a worker has ended", "this is a bug of rowfall's: please report it"));
                }
            }
            if self.is_done() {
                break;
            }
        }
        Ok(())
    }

    fn is_done(&mut self) -> bool {
        if self.holdings.is_empty() {
            return self.options.until_end && self.group_is_done();
        }
        let any = |state| self.holdings.values().any(|h| h.state == state);
        if any(State::Reading) {
            return false;
        }
        if !self.options.until_end {
            return !any(State::Ended);
        }
        // The partitions of others may become ours before they are read to their ends.
        self.holdings.len() == self.partitions.len() || any(State::Stopped) || self.group_is_done()
    }

    /// Whether the group has committed all partitions' ends. A process that has no partition may be given some yet:
    /// when it has just come, and when another ends or leaves.
    fn group_is_done(&mut self) -> bool {
        if self.looked_at.elapsed() < LOOK_EVERY {
            return false;
        }
        self.looked_at = Instant::now();
        for partition in &self.partitions {
            if !self.ends.contains_key(partition) {
                let Ok(end) = self.consumer().end(partition) else { return false };
                self.ends.insert(partition.clone(), end);
            }
        }
        let Ok(starts) = self.consumer().committed(&self.partitions) else { return false };
        starts.iter().all(|start| start.committed >= self.ends.get(&start.partition).copied())
    }

    fn assign(&mut self, partitions: &[TopicPartition]) -> Result<(), Problem> {
        tracing::info!(partitions = partitions.len(), "assigned: {}", names(partitions));
        let mut starts = self.patiently(|consumer| consumer.committed(partitions))?;
        let mut first = Vec::new();
        if self.consumer().starts_at_end() {
            // The end of now, committed at once: what comes from now on is not jumped by whoever starts next.
            for start in starts.iter_mut().filter(|start| start.committed.is_none()) {
                start.committed = Some(self.patiently(|consumer| consumer.end(&start.partition))?);
                first.push(start.partition.clone());
            }
        }
        self.go_on_with_the_rest(&[])?;
        for Start { partition, committed } in &starts {
            let end = if self.options.until_end {
                let end = match self.ends.get(partition) {
                    Some(end) => *end,
                    None => self.patiently(|consumer| consumer.end(partition))?,
                };
                self.ends.insert(partition.clone(), end);
                Some(end)
            } else {
                None
            };
            self.periods += 1;
            let owned = Arc::new(Owned { partition: partition.clone(), period: Period(self.periods) });
            let worker = self.least_loaded(partition);
            self.watermarks.own(&owned, committed.filter(|_| !first.contains(partition)));
            if let Some(start) = committed.filter(|_| first.contains(partition)) {
                self.heed(Report::Passed(Span { owned: Arc::clone(&owned), start, end: start }));
            }
            // The worker knows of the partition before its first message can come.
            self.workers[worker].tell(Command::Own { owned: Arc::clone(&owned), from: *committed, end });
            self.workers[worker].queue.forward(&partition.topic, partition.partition);
            self.holdings.insert(partition.clone(), Holding { owned, worker, state: State::Reading });
        }
        self.assigned_at.get_or_insert_with(Instant::now);
        self.consumer().accept(&starts)
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
    fn patiently<T>(&self, ask: impl Fn(&Consumer) -> Result<T, Problem>) -> Result<T, Problem> {
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

    /// Hands partitions back: closes what was read, waits a bounded time for it to be written, commits what is.
    fn revoke(&mut self, partitions: &[TopicPartition], lost: bool, deadline: Instant) -> Result<(), Problem> {
        tracing::info!(partitions = partitions.len(), lost, "revoked: {}", names(partitions));
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
        self.go_on_with_the_rest(partitions)?;
        for partition in partitions {
            self.watermarks.release(partition);
            self.holdings.remove(partition);
        }
        self.consumer().give_up(partitions)
    }

    /// Has the partitions that stay read on from where their workers are; see [`Consumer::go_on_at`].
    fn go_on_with_the_rest(&self, except: &[TopicPartition]) -> Result<(), Problem> {
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

    /// Commits what is written while these partitions are still ours. Tries again while there is time: a group that
    /// changes refuses for a moment.
    fn commit_before_handing_over(&mut self, deadline: Instant) {
        let deadline = deadline.max(Instant::now() + HAND_OVER_WAIT).min(Instant::now() + 3 * HAND_OVER_WAIT);
        if let Some(answer) = self.committing.take() {
            let _ = answer.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        loop {
            // What was sent before may have been refused.
            self.watermarks.forget_told();
            let due = self.watermarks.take_due();
            if due.is_empty() {
                return;
            }
            let answer = self.consumer().commit_while_served(&due);
            let why = match answer.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Ok(())) => return,
                Ok(Err(problem)) => problem.what,
                Err(_) => "the group does not answer".to_owned(),
            };
            if Instant::now() + HAND_OVER_WAIT / 10 >= deadline {
                tracing::warn!("handing over without having committed, rows may be written again: {why}");
                self.watermarks.forget_told();
                return;
            }
            std::thread::sleep(HAND_OVER_WAIT / 10);
        }
    }

    /// Waits until everything closed of these partitions is written or refused; of a partition that stopped too, since
    /// what stands before a bad record counts. False when the deadline came first.
    fn settle(&mut self, partitions: &[TopicPartition], deadline: Instant) -> bool {
        loop {
            let wait = deadline.saturating_duration_since(Instant::now());
            match self.reports.recv_timeout(if self.watermarks.settled(partitions) { Duration::ZERO } else { wait }) {
                Ok(report) => self.heed(report),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return self.watermarks.settled(partitions);
                }
            }
        }
    }

    fn heed(&mut self, report: Report) {
        match report {
            Report::Closed(spans) => self.watermarks.closed(&spans),
            Report::Passed(span) => {
                let spans = [span];
                self.watermarks.closed(&spans);
                self.watermarks.written(&spans);
            }
            Report::Outcome(Outcome::Written { spans, rows, bytes }) => {
                self.watermarks.written(&spans);
                let progress = &self.options.progress;
                progress.rows.fetch_add(rows as u64, Ordering::Relaxed);
                progress.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            }
            Report::Outcome(Outcome::Refused { spans, why }) => {
                self.watermarks.refused(&spans);
                for span in spans {
                    let place = format!("{} offsets {} to {}", span.owned.partition, span.start, span.end);
                    self.stop(&span.owned, &place, why.clone());
                }
            }
            Report::Stopped(owned, offset, why) => {
                let place = format!("{} offset {offset}", owned.partition);
                self.stop(&owned, &place, why);
            }
            Report::Ended(owned) => self.halt(&owned, State::Ended),
        }
    }

    /// Stops a partition for good, and says so once.
    fn stop(&mut self, owned: &Arc<Owned>, place: &str, why: Problem) {
        let current = self.holdings.get(&owned.partition).filter(|h| h.owned == *owned);
        if current.is_none_or(|h| h.state == State::Stopped) {
            return;
        }
        let problem = why.within(place);
        tracing::error!("partition stopped: {problem}");
        self.stopped.push(problem);
        self.halt(owned, State::Stopped);
    }

    fn halt(&mut self, owned: &Arc<Owned>, state: State) {
        let Some(holding) = self.holdings.get_mut(&owned.partition).filter(|h| h.owned == *owned) else { return };
        holding.state = state;
        let partitions = vec![owned.partition.clone()];
        self.consumer.as_ref().expect("present until the end").pause(&partitions);
        self.workers[holding.worker].tell(Command::Halt(partitions));
    }

    /// Commits what is due, without waiting. One commit at a time is under way: of two the older may land last.
    fn commit(&mut self) {
        if let Some(answer) = &self.committing {
            match answer.try_recv() {
                Err(TryRecvError::Empty) => return,
                Ok(Ok(())) => {}
                refused => {
                    tracing::debug!("committing again: {refused:?}");
                    self.watermarks.forget_told();
                }
            }
        }
        let due = self.watermarks.take_due();
        self.committing = (!due.is_empty()).then(|| self.consumer().commit_while_served(&due));
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

    /// Closes and writes what was read, commits what is written, leaves the group. True when rows had to be given up.
    fn finish(&mut self, orderly: bool) -> bool {
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
            if !orderly || deadline.is_some_and(|d| Instant::now() >= d) {
                break false;
            }
            // The group is served while a slow database is waited for.
            self.serve_while_finishing(Duration::ZERO, deadline);
            self.commit();
        };
        if orderly {
            self.commit_last(deadline);
        }
        self.measure();
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take() {
                let _ = thread.join();
            }
        }
        self.workers.clear();
        if let Some(consumer) = self.consumer.take() {
            // Leaving waits for the coordinator's answer, which may not come: not longer than this.
            let (done, left) = channel();
            std::thread::spawn(move || {
                consumer.leave();
                let _ = done.send(());
            });
            let _ = left.recv_timeout(Duration::from_secs(1));
        }
        !settled
    }

    /// Commits what is written and waits for the group's answer while serving it, since it may not answer otherwise.
    fn commit_last(&mut self, deadline: Option<Instant>) {
        let latest = Instant::now() + COMMIT_WAIT;
        // What was written before a signal's patience ended is committed still.
        let deadline = deadline.map_or(latest, |d| d.max(Instant::now() + Duration::from_millis(250)).min(latest));
        if let Some(answer) = self.committing.take() {
            while answer.try_recv() == Err(TryRecvError::Empty) && Instant::now() < deadline {
                self.serve_while_finishing(POLL, Some(deadline));
            }
        }
        self.watermarks.forget_told();
        loop {
            let due = self.watermarks.take_due();
            if due.is_empty() {
                return;
            }
            let answer = self.consumer().commit_while_served(&due);
            let why = loop {
                match answer.try_recv() {
                    Ok(Ok(())) => return,
                    Ok(Err(problem)) => break problem.what,
                    Err(_) if Instant::now() >= deadline => break "the group does not answer".to_owned(),
                    Err(_) => self.serve_while_finishing(POLL, Some(deadline)),
                }
            };
            if Instant::now() >= deadline {
                tracing::warn!("the last offsets are not committed, their rows will be written again: {why}");
                return;
            }
            self.watermarks.forget_told();
            std::thread::sleep(POLL);
        }
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

fn names(partitions: &[TopicPartition]) -> String {
    let shown: Vec<_> = partitions.iter().take(16).map(ToString::to_string).collect();
    let more = if partitions.len() > shown.len() { ", …" } else { "" };
    shown.join(", ") + more
}
