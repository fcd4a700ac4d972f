//! What a worker does with each record: decode it into its topic's open unit, close the unit when it is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use rowfall_dialects::contract::{TableName, Token};
use tokio::sync::oneshot;

use super::Report;
use super::destination::{Destination, Destinations, Fill};
use crate::batch::{OpenUnits, Units};
use crate::budget::Budget;
use crate::claim::PARTITIONS;
use crate::config::BatchLimits;
use crate::decode::{BadRecord, Record, RowDecoder, RowProgram};
use crate::evolve::Evolver;
use crate::pace::Pace;
use crate::problem::Problem;
use crate::routing::{Router, Way};
use crate::source::position::{Offset, Owned, Span};
use crate::source::queue::Message;
use crate::source::worker::{self, Taken};
use crate::write::Lane;

/// One worker's topics and their open units.
pub(super) struct Intake {
    topics: Vec<TopicIntake>,
    /// Topics that this worker may be given partitions of, told before it is.
    arrivals: Receiver<TopicIntake>,
    /// The partition seen last and its topic's index: records come in runs.
    last: Option<(Arc<Owned>, usize)>,
    limits: BatchLimits,
    /// What is open of a topic and occupies more is closed, so that some can be filled while some is written.
    largest: usize,
    budget: Arc<Budget>,
    reports: Sender<Report>,
}

/// One topic of one worker.
pub(super) struct TopicIntake {
    topic: Arc<str>,
    /// Where its records go.
    tables: Tables,
    /// What fills each table, by its number.
    fills: Vec<TableIntake>,
    units: Units,
    open: Option<OpenUnits>,
    pace: Arc<Pace>,
    lane: Lane,
    /// How often the topic's offsets began anew, or its keys may have moved to other partitions.
    era: Arc<AtomicU16>,
    /// Whether a unit is written only once it is claimed.
    claims: bool,
}

/// One table of one worker.
struct TableIntake {
    decoder: RowDecoder,
    /// What alters the table, where the route allows it.
    evolver: Option<Arc<Evolver>>,
}

/// What became of a record.
enum Pushed {
    /// It was added.
    Done,
    /// What it is written with is asked for.
    Later,
    /// Its table was altered for it, and is filled by this program now: it is to be added again.
    Altered(usize, Arc<RowProgram>),
}

/// After so long a record is tried again that could not be added yet.
const WAIT: Duration = Duration::from_millis(10);

/// Where the records of a topic go.
enum Tables {
    /// All to one table.
    One,
    /// Each to the one that it says.
    Many(Router, Arc<Destinations>),
}

impl TopicIntake {
    pub(super) fn new(
        topic: &str,
        destination: &Destination,
        budget: &Arc<Budget>,
        pace: Arc<Pace>,
        lane: Lane,
        era: Arc<AtomicU16>,
        claims: bool,
    ) -> Self {
        let (tables, fills) = match destination {
            Destination::One(fill) => (Tables::One, vec![TableIntake::new(fill)]),
            Destination::Many(tables) => (Tables::Many(tables.router(), Arc::clone(tables)), Vec::new()),
        };
        let units = Units::new(Arc::clone(budget), if claims { PARTITIONS } else { usize::MAX });
        Self { topic: topic.into(), tables, fills, units, open: None, pace, lane, era, claims }
    }

    /// Takes a record into its table's rows.
    #[inline]
    fn take(&mut self, owned: &Arc<Owned>, record: &Record<'_>, reports: &Sender<Report>) -> Result<Taken, Problem> {
        loop {
            match self.push(owned, record)? {
                Pushed::Done => return Ok(Taken::Now),
                Pushed::Later => return Ok(Taken::Later),
                Pushed::Altered(table, program) => {
                    // What was read before is written as the table was then: the columns that it fills are still there.
                    self.close(reports, false);
                    self.fills[table].decoder = RowDecoder::new(program);
                }
            }
        }
    }

    /// As [`Self::take`], where the unit must not be cut: false when the table is another now, for which everything has to
    /// be taken again.
    pub(super) fn take_whole(
        &mut self,
        owned: &Arc<Owned>,
        record: &Record<'_>,
        stop: &AtomicBool,
    ) -> Result<bool, Problem> {
        loop {
            match self.push(owned, record)? {
                Pushed::Done => return Ok(true),
                Pushed::Later if stop.load(Ordering::Relaxed) => return Ok(true),
                Pushed::Later => std::thread::sleep(WAIT),
                Pushed::Altered(table, program) => {
                    self.open = None;
                    self.fills[table].decoder = RowDecoder::new(program);
                    return Ok(false);
                }
            }
        }
    }

    /// Adds a record to what is open; what fills the table from now on, where it had to be altered for it.
    #[inline]
    fn push(&mut self, owned: &Arc<Owned>, record: &Record<'_>) -> Result<Pushed, Problem> {
        let table = match &mut self.tables {
            Tables::One => 0,
            Tables::Many(router, destinations) => match router.way(record) {
                Ok(Way::Known(table)) => table,
                Ok(Way::New(name)) => {
                    self.fills.push(TableIntake::new(&destinations.get(&name, record)?));
                    router.learn(self.fills.len() - 1);
                    if let Some(open) = &mut self.open {
                        open.fit(self.fills.iter().map(|fill| fill.decoder.program()));
                    }
                    self.fills.len() - 1
                }
                Err(bad) => return Err(refused(destinations.template(), bad)),
            },
        };
        let open =
            self.open.get_or_insert_with(|| self.units.open(self.fills.iter().map(|fill| fill.decoder.program())));
        let decoder = &mut self.fills[table].decoder;
        if !decoder.is_ready(record) {
            return Ok(Pushed::Later);
        }
        let Err(bad) = open.push(&self.units, table, decoder, owned, record) else { return Ok(Pushed::Done) };
        match self.evolved(table, &bad, record)? {
            Some(program) => Ok(Pushed::Altered(table, program)),
            None => Err(refused(&self.fills[table].decoder.program().layout.table.name, bad)),
        }
    }

    /// What fills the table from now on, if it is another now, so that the record is to be tried again.
    #[cold]
    fn evolved(
        &mut self,
        table: usize,
        bad: &BadRecord,
        record: &Record<'_>,
    ) -> Result<Option<Arc<RowProgram>>, Problem> {
        let TableIntake { decoder, evolver } = &self.fills[table];
        let (Some(evolver), Some(_), Some(_)) = (evolver, record.value, &bad.cure) else { return Ok(None) };
        evolver.evolve(decoder.program(), bad, record)
    }

    /// The record with what else is known of it here.
    #[inline]
    pub(super) fn record<'m>(&self, message: &'m Message<'m>, topic: &'m str, value: Option<&'m [u8]>) -> Record<'m> {
        Record {
            key: message.key(),
            value,
            headers: message,
            topic,
            partition: message.partition(),
            offset: message.offset().0,
            era: self.era.load(Ordering::Relaxed),
        }
    }

    /// Has what was taken written under this token; nothing, where nothing was.
    pub(super) fn write_claimed(&mut self, token: Token) -> bool {
        let Some(open) = self.open.take() else { return false };
        let (claim, claimed) = oneshot::channel();
        // The other end is in the unit.
        let _ = claim.send(token);
        let units: Vec<_> = open.close(false).collect();
        let [mut unit] =
            <[_; 1]>::try_from(units).expect("any number of partitions is one where nothing is to be claimed");
        unit.claimed = Some(claimed);
        self.lane.send(unit);
        true
    }

    /// `aged`: its age alone closes it.
    fn close(&mut self, reports: &Sender<Report>, aged: bool) {
        for mut unit in self.open.take().into_iter().flat_map(|open| open.close(aged)) {
            // The first record that it was opened for had the table altered.
            if unit.spans.is_empty() {
                unit.give_back();
                continue;
            }
            let claim = self.claims.then(|| {
                let (claim, claimed) = oneshot::channel();
                unit.claimed = Some(claimed);
                claim
            });
            // Before the lane can tell that it is written. The coordinator outlives the workers.
            let _ = reports.send(Report::Closed(unit.spans.clone(), claim));
            self.lane.send(unit);
        }
    }
}

/// Why a record cannot go into its table.
#[cold]
pub(super) fn refused(table: &TableName, bad: BadRecord) -> Problem {
    Problem::new(format!("table {table}, {bad}"), bad.hint)
}

impl TableIntake {
    fn new(Fill { program, evolver }: &Fill) -> Self {
        Self { decoder: RowDecoder::new(Arc::clone(program)), evolver: evolver.clone() }
    }
}

impl Intake {
    pub(super) fn new(
        arrivals: Receiver<TopicIntake>,
        limits: BatchLimits,
        largest: usize,
        budget: Arc<Budget>,
        reports: Sender<Report>,
    ) -> Self {
        Self { topics: Vec::new(), arrivals, last: None, limits, largest, budget, reports }
    }

    #[inline]
    fn topic_of(&mut self, owned: &Arc<Owned>) -> usize {
        match &self.last {
            Some((last, index)) if Arc::ptr_eq(last, owned) => *index,
            _ => {
                let index = self.topics.iter().position(|t| t.topic == owned.partition.topic);
                let index = index.expect("only subscribed topics are assigned");
                self.last = Some((Arc::clone(owned), index));
                index
            }
        }
    }
}

impl worker::Intake for Intake {
    #[inline]
    fn record(&mut self, owned: &Arc<Owned>, message: Message<'_>, value: Option<&[u8]>) -> Result<Taken, Problem> {
        let index = self.topic_of(owned);
        let topic = &mut self.topics[index];
        let record = topic.record(&message, &owned.partition.topic, value);
        if topic.take(owned, &record, &self.reports)? == Taken::Later {
            return Ok(Taken::Later);
        }
        let open = topic.open.as_ref().expect("just filled");
        if open.rows() >= self.limits.rows || open.value_bytes() >= self.limits.bytes {
            topic.close(&self.reports, false);
        }
        Ok(Taken::Now)
    }

    fn passed(&mut self, owned: &Arc<Owned>, start: Offset, end: Offset) {
        let index = self.topic_of(owned);
        let extended = self.topics[index].open.as_mut().is_some_and(|open| open.extend(owned, end));
        if !extended {
            let _ = self.reports.send(Report::Passed(Span { owned: Arc::clone(owned), start, end }));
        }
    }

    fn stopped(&mut self, owned: &Arc<Owned>, offset: Offset, why: Problem) {
        let _ = self.reports.send(Report::Stopped(Arc::clone(owned), offset, why));
    }

    fn begins(&mut self, _: &Arc<Owned>) {
        for topic in self.arrivals.try_iter() {
            // One that was created again takes the place of the one before, whose lane ends with its last unit.
            if let Some(before) = self.topics.iter_mut().find(|before| before.topic == topic.topic) {
                before.close(&self.reports, false);
                *before = topic;
            } else {
                self.topics.push(topic);
            }
        }
        self.last = None;
    }

    fn lost_place(&mut self, owned: &Arc<Owned>, offset: Offset, why: Problem) {
        let _ = self.reports.send(Report::LostPlace(Arc::clone(owned), offset, why));
    }

    fn reached_end(&mut self, owned: &Arc<Owned>) {
        let _ = self.reports.send(Report::Ended(Arc::clone(owned)));
    }

    fn tick(&mut self) -> bool {
        let now = Instant::now();
        let mut largest: Option<(usize, usize)> = None;
        for (index, topic) in self.topics.iter_mut().enumerate() {
            let Some(open) = &mut topic.open else { continue };
            let bytes = open.account();
            // Old or not, one that would only wait behind others goes on filling: after an outage a few large units
            // are written instead of many small ones.
            let is_due = now.duration_since(open.opened()) >= topic.pace.age() && topic.lane.is_free();
            if bytes >= self.largest || is_due {
                topic.close(&self.reports, bytes < self.largest);
            } else if largest.is_none_or(|(most, _)| bytes > most) {
                largest = Some((bytes, index));
            }
        }
        if !self.budget.has_room() {
            self.topics.iter().for_each(|topic| topic.units.drop_spares());
        }
        if !self.budget.has_room()
            && let Some((_, index)) = largest
        {
            self.topics[index].close(&self.reports, false);
        }
        self.budget.has_room()
    }

    fn flush(&mut self) {
        for topic in &mut self.topics {
            topic.close(&self.reports, false);
        }
        self.last = None;
    }
}
