//! With exactly-once the database keeps how far each partition has come, and says where it goes on: before a partition
//! is read it is taken over there, which keeps whoever had it before from writing. Until the database has answered, the
//! partition is ours and paused, and the group is served.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use rowfall_dialects::contract::{Advice, Error, Partition, Resumed, TableName};

use super::assign::Place;
use super::{Coordinator, Holding, State, Stop, names};
use crate::pace;
use crate::pipeline::Report;
use crate::problem::Problem;
use crate::source::position::{Offset, Owned, Span, Taken, TopicPartition};
use crate::source::start::{CommitNote, Committed};
use crate::source::worker::Command;
use crate::write::Waiting;

/// How long the database may take to answer before it is asked again.
const ANSWER: Duration = Duration::from_secs(30);
/// How long to wait before a partition is taken back that another process has taken: meanwhile the group tells whose it
/// is. It doubles each time up to the longest.
const TAKE_BACK: Duration = Duration::from_secs(1);
const LONGEST_TAKE_BACK: Duration = Duration::from_secs(30);
/// Where a partition stopped that never began: whenever it comes again the database is asked anew.
const NOWHERE: Offset = Offset(-1);

/// The partitions that are being taken over. Whatever is here of a partition that is not ours any more counts nothing.
#[derive(Default)]
pub(super) struct TakeOver {
    /// Those that the database is to be asked for, and not before when.
    waiting: Vec<(Arc<Owned>, Instant)>,
    /// Those of these whose workers have not let go of what they read before.
    held: Vec<(Arc<Owned>, Rc<Receiver<()>>)>,
    /// Whether it is asked. One question at a time: while it cannot answer one, it cannot answer another.
    asked: bool,
    failed: u32,
    outage: Option<Waiting>,
    /// What it said.
    answered: Vec<(Arc<Owned>, Resumed)>,
    /// Those of which it is decided where they begin.
    placed: Vec<(Arc<Owned>, Option<Offset>)>,
}

impl TakeOver {
    /// Asks for this partition after so long.
    pub(super) fn wait(&mut self, owned: Arc<Owned>, pause: Duration) {
        self.waiting.push((owned, Instant::now() + pause));
    }

    /// Those whose time to be asked for has come.
    pub(super) fn take_due(&mut self) -> Vec<Arc<Owned>> {
        let now = Instant::now();
        // Of several partitions the first takes the answer; the others see that nobody is left to give one.
        self.held.retain(|(_, released)| released.try_recv() == Err(TryRecvError::Empty));
        let is_held = |owned: &Arc<Owned>| self.held.iter().any(|(held, _)| held == owned);
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(owned, at)| *at <= now && !is_held(owned));
        self.waiting = later;
        due.into_iter().map(|(owned, _)| owned).collect()
    }

    /// These are not ours any more.
    pub(super) fn forget(&mut self, partitions: &[TopicPartition]) {
        let others = |owned: &Owned| !partitions.contains(&owned.partition);
        self.waiting.retain(|(owned, _)| others(owned));
        self.held.retain(|(owned, _)| others(owned));
        self.answered.retain(|(owned, _)| others(owned));
        self.placed.retain(|(owned, _)| others(owned));
    }
}

impl Holding {
    /// What is committed of the partition when the database says this.
    fn known(&self, next: Option<i64>) -> Option<Committed> {
        let Some(next) = next else { return self.committed.clone() };
        // The pipeline ran without exactly-once since, and the group alone knows how far it came.
        let by_group_alone = |committed: &&Committed| {
            let CommitNote { topic, partitions, epoch, .. } = &committed.note;
            partitions.is_some() && epoch.is_none() && *topic == self.note.topic && committed.offset.0 > next
        };
        let beyond = self.committed.as_ref().filter(by_group_alone).cloned();
        Some(beyond.unwrap_or_else(|| Committed::at(Offset(next), self.note.clone())))
    }
}

/// What the database calls a partition. A topic that was deleted and created again is another one there, and begins
/// anew, also when the group's offsets went with the topic: the id is part of the name.
fn known_as(partition: &TopicPartition, note: &CommitNote) -> Partition {
    let topic = match &note.topic {
        Some(id) => format!("{}@{id}", partition.topic),
        // Brokers that know no ids.
        None => partition.topic.to_string(),
    };
    Partition { topic, partition: partition.partition }
}

impl Coordinator {
    /// Goes on with whatever is being taken over.
    pub(super) fn take_over(&mut self) -> Result<(), Problem> {
        if self.claims.is_some() {
            self.ask_group()?;
            self.rebuild_next();
        } else {
            self.ask();
        }
        for (owned, resumed) in std::mem::take(&mut self.taking.answered) {
            self.begin_at(&owned, resumed)?;
        }
        self.begin_to_read()
    }

    /// The holding of a partition that is being taken over in this period.
    pub(super) fn taken(&self, owned: &Arc<Owned>) -> Option<&Holding> {
        let holding = self.holdings.get(&owned.partition);
        holding.filter(|h| h.owned == *owned && h.state == State::TakenOver)
    }

    /// Asks the database for the partitions whose time has come.
    fn ask(&mut self) {
        if self.taking.asked {
            return;
        }
        let due = self.taking.take_due().into_iter().filter_map(|owned| {
            let known_as = known_as(&owned.partition, &self.taken(&owned)?.note);
            Some((known_as, owned))
        });
        let mut due: Vec<_> = due.collect();
        if due.is_empty() {
            return;
        }
        // In one order for all processes, so that no two wait for each other in the database.
        due.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let (partitions, owned): (Vec<_>, Vec<_>) = due.into_iter().unzip();
        self.taking.asked = true;
        let pipeline = self.supply.keeper.clone().expect("with exactly-once");
        let (session, reports) = (Arc::clone(&self.supply.session), self.supply.reports.clone());
        self.supply.runtime.spawn(async move {
            let asking = AssertUnwindSafe(session.resume(&pipeline, &partitions)).catch_unwind();
            let answer = match tokio::time::timeout(ANSWER, asking).await {
                Ok(Ok(Ok(resumed))) if resumed.len() != partitions.len() => {
                    Err(bug(&format!("{} partitions were asked for and {} came", partitions.len(), resumed.len())))
                }
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(bug("taking partitions over panicked")),
                Err(_) => Err(Error::new(Advice::Retry, format!("no answer within {ANSWER:?}"))),
            };
            // The coordinator may have ended.
            let _ = reports.send(Report::Resumed(owned, answer));
        });
    }

    /// What the database said to that.
    pub(super) fn hear_of(&mut self, owned: Vec<Arc<Owned>>, answer: Result<Vec<Resumed>, Error>) {
        self.taking.asked = false;
        match answer {
            Ok(resumed) => {
                self.taking.failed = 0;
                self.taking.outage.take().into_iter().for_each(Waiting::written);
                self.taking.answered.extend(owned.into_iter().zip(resumed));
            }
            Err(error) if matches!(error.advice, Advice::Retry | Advice::Slow) => {
                let outages = &self.supply.outages;
                let table = || TableName { schema: None, name: "rowfall_offsets".to_owned() };
                let outage = self.taking.outage.get_or_insert_with(|| outages.wait(&table()));
                outage.failed(&error, self.supply.age);
                let pause = pace::pause(self.taking.failed);
                self.taking.failed += 1;
                owned.into_iter().for_each(|owned| self.taking.wait(owned, pause));
            }
            Err(error) => {
                self.taking.outage = None;
                let problem = Problem::from(error);
                for owned in owned {
                    let doing = format!("{}: taking it over in rowfall_offsets", owned.partition);
                    self.stop(&owned, NOWHERE, problem.clone().within(&doing));
                }
            }
        }
    }

    /// Decides where a partition begins that the database has given to us.
    fn begin_at(&mut self, owned: &Arc<Owned>, resumed: Resumed) -> Result<(), Problem> {
        let Some(holding) = self.taken(owned) else { return Ok(()) };
        let partition = &owned.partition;
        // It was read before, and what the database knew is gone: the group may know more by now.
        if resumed.next.is_none() && holding.assigned_at.is_none() {
            let committed = self.patiently(|consumer| consumer.committed(std::slice::from_ref(partition)))?.pop();
            let holding = self.holdings.get_mut(partition).expect("just seen");
            holding.committed = committed.flatten().or_else(|| holding.committed.take());
        }
        let holding = &self.holdings[partition];
        let (known, note) = (holding.known(resumed.next), holding.note.clone());
        let place = self.place(partition, known.as_ref(), &note)?;
        let taken = Taken { partition: known_as(partition, &note), epoch: resumed.epoch, next: resumed.next };
        let owned = self.own(partition, Some(taken));
        let holding = self.holdings.get_mut(partition).expect("just seen");
        holding.owned = Arc::clone(&owned);
        holding.note.epoch = Some(resumed.epoch);
        self.go_to(&owned, place);
        Ok(())
    }

    /// Does with a partition that is being taken over what was decided.
    pub(super) fn go_to(&mut self, owned: &Arc<Owned>, place: Place) {
        let partition = &owned.partition;
        match place {
            Place::Read(from) => self.taking.placed.push((Arc::clone(owned), from)),
            Place::Leave(state) => self.holdings.get_mut(partition).expect("it is ours").state = state,
            Place::Stop(at, why) => self.stop(owned, at, why.within(&format!("{partition} offset {at}"))),
        }
    }

    /// Has partitions read from where they begin.
    fn begin_to_read(&mut self) -> Result<(), Problem> {
        let mut placed = std::mem::take(&mut self.taking.placed);
        placed.retain(|(owned, _)| self.taken(owned).is_some());
        if placed.is_empty() {
            return Ok(());
        }
        let elsewhere = |(owned, from): &&(Arc<Owned>, Option<Offset>)| {
            self.holdings[&owned.partition].assigned_at.is_none_or(|assigned_at| assigned_at != *from)
        };
        let moved: Vec<_> =
            placed.iter().filter(elsewhere).map(|(owned, from)| (owned.partition.clone(), *from)).collect();
        let not_begun = self.consumer().move_to(&moved)?;
        let mut ready = Vec::new();
        for (owned, from) in placed {
            if not_begun.contains(&owned.partition) {
                self.taking.placed.push((owned, from));
                continue;
            }
            let holding = self.holdings.get_mut(&owned.partition).expect("just seen");
            (holding.state, holding.assigned_at) = (State::Reading, None);
            let (worker, note) = (holding.worker, holding.note.clone());
            // Should the database know no place when it is taken over again, it begins here again.
            let begins = from.map(|offset| Committed::at(offset, note.clone()));
            let committed = std::mem::replace(&mut holding.committed, begins);
            self.read(&owned, worker, from, committed.as_ref(), &note)?;
            ready.push((owned.partition.clone(), from));
        }
        self.consumer().unpause(&ready)
    }

    /// Another process has taken over some of these partitions, of which nothing was written therefore: what was read
    /// of them is dropped, and they are taken over again, if the group does not say meanwhile that they are not ours.
    pub(super) fn take_over_again(&mut self, spans: &[Span], why: &Problem) {
        let ours = |span: &&Span| {
            let holding = self.holdings.get(&span.owned.partition).filter(|h| h.owned == span.owned);
            holding.is_some_and(|h| h.state != State::Gone)
        };
        let fenced = each_once(spans.iter().filter(ours));
        if fenced.is_empty() {
            return;
        }
        let partitions: Vec<_> = fenced.iter().map(|owned| owned.partition.clone()).collect();
        tracing::warn!(
            partitions = partitions.len(),
            "taken over by another process in the database: {}; what was read of them and not written is dropped, and read again by whoever owns them: {}",
            names(&partitions),
            why.what
        );
        for again in self.drop_what_is_read(fenced) {
            let holding = self.holdings.get_mut(&again.partition).expect("it is ours");
            let pause = TAKE_BACK.saturating_mul(1 << holding.fenced.min(8)).min(LONGEST_TAKE_BACK);
            holding.fenced += 1;
            // Nobody comes back to it in this run, which was to read it to its end.
            if self.finishing && self.options.until_end && !self.options.stop.load(Ordering::Relaxed) {
                let what = format!("{}: another process has taken it over", again.partition);
                let problem = Problem::new(what, "see that it is read to its end there, or start again");
                self.stopped.insert(again.partition.clone(), Stop { at: NOWHERE, topic: None, problem });
            }
            self.taking.wait(again, pause);
        }
    }

    /// Begins new periods of owning these partitions, of which nothing is read until it is known where they begin, and
    /// until their workers have let go of them: one that is late would take the first messages of the new period for the
    /// last of the one before, drop them, and take what is missing for a gap in the topic.
    pub(super) fn drop_what_is_read(&mut self, before: Vec<Arc<Owned>>) -> Vec<Arc<Owned>> {
        let partitions: Vec<_> = before.iter().map(|owned| owned.partition.clone()).collect();
        self.consumer().pause(&partitions);
        let mut released = BTreeMap::new();
        for (index, worker) in self.workers.iter().enumerate() {
            let theirs = partitions.iter().filter(|p| self.holdings[p].worker == index);
            let theirs: Vec<_> = theirs.cloned().collect();
            if !theirs.is_empty() {
                // What is open is closed, so that nothing read later stands together with what is dropped.
                let (done, answer) = channel();
                worker.tell(Command::Release(theirs, done));
                released.insert(index, Rc::new(answer));
            }
        }
        let again = before.into_iter().map(|owned| {
            self.watermarks.release(&owned.partition);
            self.lost.retain(|lost| lost.owned != owned);
            // Whatever is still told of the period before is thrown away.
            let again = self.own(&owned.partition, None);
            let holding = self.holdings.get_mut(&owned.partition).expect("it is ours");
            (holding.owned, holding.state) = (Arc::clone(&again), State::TakenOver);
            self.taking.held.push((Arc::clone(&again), Rc::clone(&released[&holding.worker])));
            again
        });
        again.collect()
    }

    /// Where the database decides where a partition goes on, that is where an operator has to say it.
    pub(super) fn with_place_to_go_on(&self, owned: &Owned, why: Problem) -> Problem {
        let (Some(pipeline), Some(Taken { partition, .. })) = (&self.supply.keeper, &owned.taken) else { return why };
        let Partition { topic, partition } = partition;
        let hint = format!(
            "say where to go on, while rowfall is stopped: UPDATE rowfall_offsets SET next_offset = … \
             WHERE pipeline = '{pipeline}' AND topic = '{topic}' AND partition = {partition}"
        );
        Problem { hint, ..why }
    }

    /// Something of these partitions was written: nobody else has them.
    pub(super) fn keeps_its_own(&mut self, spans: &[Span]) {
        for span in spans {
            if let Some(holding) = self.holdings.get_mut(&span.owned.partition).filter(|h| h.owned == span.owned) {
                holding.fenced = 0;
            }
        }
    }
}

/// The periods that these spans are of.
pub(super) fn each_once<'s>(spans: impl Iterator<Item = &'s Span>) -> Vec<Arc<Owned>> {
    let owned: BTreeMap<_, _> = spans.map(|span| (&span.owned.partition, &span.owned)).collect();
    owned.into_values().cloned().collect()
}

fn bug(what: &str) -> Error {
    Error::pause(what).with_hint("this is a bug of rowfall's: please report it")
}
